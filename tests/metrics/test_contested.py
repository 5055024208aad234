"""The most contested items, normal scores, and the pieces of a comparison at equal human means."""

import literal_verdict as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import contested


@pytest.mark.parametrize(
    ("disagreement", "kept", "testable"),
    [
        ([0, 0, 0, 1, 1, 2], [2], False),  # a sixth is nearer to a third than a half, or as near and smaller
        ([0, 0, 1, 1, 1, 2, 2, 2], [2, 2, 2], True),
        ([0, 1, 2], [2], True),
        ([0, 0, 0, 1], [1], True),
        ([0, 1, 1, 1], [1, 1, 1], False),
    ],
)
def test_the_contested_set_is_the_one_nearest_to_a_third(disagreement, kept, testable):
    found = contested.contested_set(disagreement)
    assert np.array(disagreement)[found.mask].tolist() == kept
    assert (found.reason == "") == testable
    assert found.share == pytest.approx(len(kept) / len(disagreement))


def test_the_share_stands_in_the_name_and_in_the_reason():
    found = contested.contested_set([0, 0, 0, 1, 1, 2])
    assert found.name == "most contested 17 %"
    assert found.reason == "the most contested set holds 17 % of the items, not 20 to 50 %"
    assert found.threshold == 2


def test_equal_disagreement_leaves_no_set():
    found = contested.contested_set(np.ones(9))
    assert not found.mask.any()
    assert found.reason == "people disagree equally on all items"


def test_two_annotators_never_give_a_contested_third():
    labels = np.random.default_rng(0).integers(1, 6, (500, 2))
    found = contested.contested_set((labels[:, 0] != labels[:, 1]).astype(float))
    assert found.share > 0.5 and found.reason


def test_rounding_does_not_split_equal_values():
    values = np.repeat([0.1 + 0.2, 0.3, 0.9], [4, 4, 4])
    assert contested.contested_set(values).mask.sum() == 4
    assert contested.contested_set(np.repeat([0.1 + 0.2, 0.3, 0.0], [2, 2, 8])).mask.sum() == 4


def test_the_contested_set_refuses_missing_values():
    with pytest.raises(ValueError, match="leave out items without labels"):
        contested.contested_set([0.0, np.nan])


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=40))
def test_no_other_value_gives_a_share_nearer_to_a_third(values):
    values = np.array(values, float)
    found = contested.contested_set(values)
    shares = [(values >= v).mean() for v in np.unique(values)[1:]]
    if not shares:
        assert not found.mask.any()
        return
    best = min(abs(share - 1 / 3) for share in shares)
    assert abs(found.share - 1 / 3) == pytest.approx(best)
    assert found.share == pytest.approx(min(share for share in shares if abs(abs(share - 1 / 3) - best) < 1e-9))


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_normal_scores_match_the_literal_ones(values):
    values = np.array(values, float)
    np.testing.assert_allclose(contested.normal_scores(values), literal.normal_scores(values), atol=1e-12)
    np.testing.assert_allclose(contested.odd_normal_scores(values), literal.odd_scores(values), atol=1e-12)


def test_odd_scores_of_the_golden_vector():
    np.testing.assert_allclose(
        contested.odd_normal_scores([2.0, -1.0, 0.0, 1.0]), [1.4342, -0.650837, 0, 0.650837], atol=1e-4
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30))
def test_odd_scores_change_sign_with_the_value_alone(values):
    x = np.array([float(v) for v, _ in values])
    sign = np.where([flip for _, flip in values], -1, 1)
    np.testing.assert_array_equal(contested.odd_normal_scores(sign * x), sign * contested.odd_normal_scores(x))


def test_normal_scores_keep_missing_values():
    found = contested.normal_scores(np.array([[3.0, np.nan, 1.0], [1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(found[0], [literal.normal_scores([3, 1])[0], np.nan, literal.normal_scores([3, 1])[1]])
    assert contested.normal_scores(np.zeros((2, 0))).shape == (2, 0)


def test_the_spline_is_a_line_where_there_are_two_values():
    basis = contested.spline_basis(np.repeat([0.0, 1.0], 10))
    np.testing.assert_allclose(basis[:, 0], np.repeat([-1.0, 1.0], 10))
    assert basis.shape == (20, 1)


def test_the_spline_is_straight_beyond_its_outer_knots():
    x = np.concatenate([np.linspace(-1, 1, 400), [1.5, 2.0, 2.5, 3.0]])
    tail = contested.spline_basis(x)[-4:]
    np.testing.assert_allclose(np.diff(tail, 2, axis=0), 0, atol=1e-9)


def test_the_spline_of_a_constant_is_zero():
    assert not contested.spline_basis(np.ones(12)).any()


def test_the_chance_matches_a_general_minimiser():
    rng = np.random.default_rng(1)
    z = rng.normal(size=150)
    mask = rng.random(150) < 1 / (1 + np.exp(1 + z**2))
    np.testing.assert_allclose(contested.chance_contested(z, mask), literal.chance(z, mask), atol=1e-5)


def test_the_chance_has_the_right_mean_and_survives_separation():
    z = np.arange(60.0)
    for mask in (z > 40, z < 5, (z > 20) & (z < 30)):
        found = contested.chance_contested(z, mask)
        assert found.mean() == pytest.approx(mask.mean(), abs=1e-6)
        assert found[mask].min() > found[~mask].max()


def test_the_chance_needs_both_sides():
    with pytest.raises(ValueError, match="Some items must be contested and some not"):
        contested.chance_contested(np.arange(5.0), np.ones(5, bool))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_prompt_effects_match_the_literal_ones(seed, n_prompts):
    rng = np.random.default_rng(seed)
    prompts = np.concatenate([np.arange(n_prompts), rng.integers(0, n_prompts, 60)])
    z = rng.normal(size=len(prompts))
    y = z + rng.normal(size=n_prompts)[prompts] * rng.random() + rng.normal(size=len(prompts))
    found = contested.subtract_prompt_effects(y[:, None], z, prompts)[:, 0]
    np.testing.assert_allclose(found, literal.without_prompt_effects(y, z, prompts.tolist()), atol=1e-8)


def test_prompt_effects_are_left_where_they_cannot_be_told():
    y, z = np.random.default_rng(0).normal(size=(2, 20))
    for prompts in (np.zeros(20, int), np.arange(20)):
        np.testing.assert_array_equal(contested.subtract_prompt_effects(y[:, None], z, prompts)[:, 0], y)


def test_effective_size_counts_equal_weights():
    assert contested.effective_size(np.full(7, 0.3)) == pytest.approx(7)
    assert contested.effective_size(np.zeros(7)) == 0

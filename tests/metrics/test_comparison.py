"""Scorers against people on contested items and on the rest, at equal human means."""

import literal_verdict as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import comparison, contested, verdict


def compared(study, scores, *, pairs=False, mask=None):
    prepared = comparison.prepare(scores, study.means, study.prompts, pairs=pairs)
    return comparison.compare(prepared, study.contested if mask is None else mask)


def test_the_golden_correlations(golden, golden_pairs):
    found = compared(golden, golden.scores)
    assert golden.contested.mask.sum() == 40
    np.testing.assert_allclose(found.effective_size, 38.720, atol=1e-3)
    np.testing.assert_allclose(found.r[0], [0.868741, 0.106439, 0.908971], atol=1e-4)
    np.testing.assert_allclose(found.e[0], [0.853796, 0.844837, 0.930620], atol=1e-4)
    found = compared(golden_pairs, golden_pairs.scores, pairs=True)
    np.testing.assert_allclose(found.r[0], [0.828523, -0.034199], atol=1e-4)
    np.testing.assert_allclose(found.e[0], [0.833131, 0.833522], atol=1e-4)


@pytest.mark.parametrize("pairs", [False, True])
def test_all_scorers_at_once_match_the_literal_comparison_of_each(simulated, pairs):
    study = simulated(3, n_prompts=9, n_items=14, pairs=pairs)
    rng = study.rng
    scores = 0.6 * study.quality + rng.normal(size=(5, len(study.means)))
    scores[1] = np.round(scores[1])  # a judge
    scores[2, rng.random(126) < 0.2] = np.nan
    scores[3, study.prompts == 4] = np.nan  # lacks a prompt
    scores[4] = np.where(np.isnan(scores[2]), np.nan, scores[4])  # scores the same items as the third
    found = compared(study, scores, pairs=pairs)
    for s, score in enumerate(scores):
        r, e, size = literal.compare(score, study.means, study.contested.mask, study.prompts.tolist(), pairs)
        used = np.concatenate([[True], found.present[:, s]])
        np.testing.assert_allclose(found.r[used, s], r, atol=2e-6)
        np.testing.assert_allclose(found.e[used, s], e, atol=2e-6)
        assert found.effective_size[s] == pytest.approx(size, abs=1e-4)
        assert (found.r[~used, s] == found.r[0, s]).all()
    assert found.n_prompts.tolist() == [9, 9, 9, 8, 9]


def test_missing_scores_are_as_if_the_items_were_not_there(simulated):
    study = simulated(4)
    score = study.quality + study.rng.normal(size=200)
    gone = study.rng.random(200) < 0.3
    partial = compared(study, np.where(gone, np.nan, score))
    prepared = comparison.prepare(score[~gone], study.means[~gone], study.prompts[~gone])
    alone = comparison.compare(prepared, study.contested.mask[~gone])
    np.testing.assert_allclose(partial.r, alone.r, atol=1e-12)
    np.testing.assert_allclose(partial.e, alone.e, atol=1e-12)


def test_scorers_do_not_see_each_other(simulated):
    study = simulated(5)
    scores = study.quality + study.rng.normal(size=(4, 200))
    together, alone = compared(study, scores), compared(study, scores[2])
    np.testing.assert_allclose(together.r[:, 2:3], alone.r, atol=1e-13)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_order_of_items_and_the_names_of_prompts_do_not_matter(simulated, pairs):
    study = simulated(6, pairs=pairs)
    score = study.quality + study.rng.normal(size=200)
    order = study.rng.permutation(200)
    first = compared(study, score, pairs=pairs)
    names = np.array([f"prompt {(7 * p) % 20:03d}" for p in study.prompts])
    prepared = comparison.prepare(score[order], study.means[order], names[order], pairs=pairs)
    second = comparison.compare(prepared, study.contested.mask[order])
    np.testing.assert_allclose(second.r[0], first.r[0], atol=1e-10)
    for name in ("p_degrades", "p_holds_up"):
        a, b = (getattr(verdict.tests(found), name) for found in (first, second))
        np.testing.assert_allclose(a, b, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([np.exp, np.tanh, lambda x: x**3 + x, lambda x: 5 * x - 1, np.arctan]))
def test_increasing_transformations_change_nothing(simulated, transformation):
    study = simulated(7)
    score = study.quality + study.rng.normal(size=200)
    first = compared(study, score)
    prepared = comparison.prepare(transformation(score), np.exp(study.means), study.prompts)
    second = comparison.compare(prepared, study.contested)
    np.testing.assert_allclose(first.r, second.r, atol=1e-12)
    np.testing.assert_allclose(first.e, second.e, atol=1e-12)


def test_odd_increasing_transformations_of_pairs_change_nothing(simulated):
    study = simulated(8, pairs=True)
    score = study.quality + study.rng.normal(size=200)
    first, second = (compared(study, s, pairs=True) for s in (score, np.arctan(score) ** 3))
    np.testing.assert_allclose(first.r, second.r, atol=1e-12)


def test_which_response_of_a_pair_is_the_first_does_not_matter(simulated):
    study = simulated(9, pairs=True)
    rng = study.rng
    scores = np.stack([study.quality + rng.normal(size=200), np.round(study.quality + rng.normal(size=200))])
    before = compared(study, scores, pairs=True)
    tests = verdict.tests(before)
    for _ in range(200):
        sign = rng.choice([-1, 1], 200)
        prepared = comparison.prepare(sign * scores, sign * study.means, study.prompts, pairs=True)
        after = comparison.compare(prepared, study.contested)
        np.testing.assert_allclose(after.r, before.r, atol=1e-12, rtol=0)
        np.testing.assert_allclose(after.e, before.e, atol=1e-12, rtol=0)
        again = verdict.tests(after)
        for name in ("p_degrades", "p_holds_up", "kept"):
            np.testing.assert_allclose(getattr(again, name), getattr(tests, name), atol=1e-12, rtol=0)


def test_a_pair_scorer_that_always_names_the_first_is_a_question_of_labels_only(simulated):
    study = simulated(10, pairs=True)
    sign = study.rng.choice([-1, 1], 200)
    always_first, relabelled = compared(study, np.ones(200), pairs=True), None
    prepared = comparison.prepare(sign * np.ones(200), sign * study.means, study.prompts, pairs=True)
    relabelled = comparison.compare(prepared, study.contested)
    np.testing.assert_allclose(relabelled.r, always_first.r, atol=1e-12)
    assert always_first.reason.tolist() == relabelled.reason.tolist() == [""]
    assert compared(study, np.zeros(200), pairs=True).reason[0].startswith("one value only")


def test_both_sides_have_the_same_mean(simulated):
    study = simulated(11, n_prompts=60)
    z = contested.normal_scores(study.means)
    p = contested.chance_contested(z, study.contested.mask)
    w = np.where(study.contested.mask, 1 - p, p)
    sides = [np.average(z, weights=np.where(side, w, 0)) for side in (study.contested.mask, ~study.contested.mask)]
    assert sides[0] == pytest.approx(sides[1], abs=2e-3)
    raw = abs(z[study.contested.mask].mean() - z[~study.contested.mask].mean())
    spread = abs(np.std(z[study.contested.mask]) - np.std(z[~study.contested.mask]))
    assert raw + spread > 0.1  # the weights had something to do


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("constant", "one value only"),
        ("constant where contested", "one value only"),
        ("one item differs", "one value only"),
        ("no scores", "only 0 prompts"),
        ("seven prompts", "only 7 prompts, at least 8 are needed"),
        ("few items", "effective size"),
        ("contested items only", "effective size 0"),
    ],
)
def test_what_cannot_be_tested_says_why(simulated, case, reason, pairs):
    study = simulated(12, pairs=pairs)
    c = study.contested.mask
    score = study.quality + study.rng.normal(size=200)
    constant = 0.0 if pairs else 3.0
    score = {
        "constant": np.full(200, constant),
        "constant where contested": np.where(c, constant, score),
        "one item differs": np.where(np.arange(200) == np.flatnonzero(c)[0], constant + 1, constant),
        "no scores": np.full(200, np.nan),
        "seven prompts": np.where(study.prompts < 7, score, np.nan),
        "few items": np.where(np.arange(200) % 10 < 2, score, np.nan),
        "contested items only": np.where(c, score, np.nan),
    }[case]
    found = compared(study, np.stack([score, study.quality]), pairs=pairs)
    assert found.reason[0].startswith(reason)
    assert found.reason[1] == ""
    assert found.testable.tolist() == [False, True]
    families = verdict.family_verdicts({"items": found}, {"items": ["judge", "judge"]})["items"]
    assert families.scorer_verdicts.decision.tolist() == ["not testable", "holds up"]
    assert families.scorer_verdicts.reason[0] == found.reason[0]


@pytest.mark.parametrize("n_prompts", [1, 2, 7])
def test_few_prompts_cannot_be_tested(simulated, n_prompts):
    study = simulated(13, n_prompts=n_prompts, n_items=60)
    found = compared(study, study.quality)
    assert found.reason[0].startswith(f"only {n_prompts} prompts")
    verdict.tests(found)
    assert np.isnan(verdict.band(found)).all()


def test_two_annotators_cannot_be_tested(simulated):
    study = simulated(14, n_annotators=2)
    found = compared(study, np.stack([study.quality, np.ones(200)]))
    assert set(found.reason) == {study.contested.reason} and study.contested.reason


def test_equal_human_means_cannot_be_tested(simulated):
    study = simulated(15)
    prepared = comparison.prepare(study.quality, np.full(200, 3.0), study.prompts)
    found = comparison.compare(prepared, study.contested)
    assert found.reason[0].startswith("one value only")
    assert np.isnan(found.r).all() and np.isnan(found.e).all()


def test_every_item_may_have_a_prompt_of_its_own(simulated):
    study = simulated(16)
    prepared = comparison.prepare(study.quality, study.means, np.arange(200))
    found = comparison.compare(prepared, study.contested)
    assert found.r.shape == (201, 1) and found.testable.all()


def test_kinds_are_means_of_their_testable_scorers(simulated):
    study = simulated(17)
    scores = study.quality + study.rng.normal(size=(4, 200))
    scores[1] = 3.0
    found = compared(study, scores)
    names, kinds = comparison.compare_kinds(found, ["reward", "judge", "judge", "judge"])
    assert names == ["judge", "reward"]
    np.testing.assert_allclose(kinds.r[:, 0], found.r[:, 2:].mean(1))
    np.testing.assert_allclose(kinds.e[:, 1], found.e[:, 0])
    assert kinds.testable.all()
    _, constant = comparison.compare_kinds(found, ["a", "b", "a", "a"])
    assert constant.reason.tolist() == ["", found.reason[1]]
    with pytest.raises(ValueError, match="one name for each of 4 scorers"):
        comparison.compare_kinds(found, ["a"])


def test_no_scorers_have_no_kinds(simulated):
    study = simulated(18)
    found = compared(study, np.empty((0, 200)))
    assert comparison.compare_kinds(found, [])[0] == []
    assert verdict.family_verdicts({"items": found}, {"items": []})["items"].kinds == []
    assert verdict.family_verdicts({}, {}) == {}


def test_wrong_shapes_are_refused(simulated):
    study = simulated(19)
    with pytest.raises(ValueError, match="n_scorers, n_items"):
        comparison.prepare(np.ones((2, 7)), study.means, study.prompts)
    with pytest.raises(ValueError, match="leave those items out"):
        comparison.prepare(study.quality, np.full(200, np.nan), study.prompts)
    with pytest.raises(ValueError, match=r"must have shape \(200,\)"):
        comparison.compare(comparison.prepare(study.quality, study.means, study.prompts), np.ones(3, bool))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n_prompts=st.integers(1, 14), values=st.integers(1, 6), pairs=st.booleans())
def test_any_study_gives_words_and_no_warning(seed, n_prompts, values, pairs):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12)) * n_prompts
    prompts = rng.integers(0, n_prompts, n)
    labels = rng.integers(0, values, (n, 3)) - pairs * (values // 2)
    found = contested.contested_set(labels.std(1).round(3))
    scores = rng.integers(0, values, (4, n)) * 1.0 - pairs
    scores[rng.random((4, n)) < 0.2 * rng.integers(0, 4)] = np.nan
    prepared = comparison.prepare(scores, labels.mean(1), prompts, pairs=pairs)
    result = comparison.compare(prepared, found)
    lower, expected, upper = verdict.band(result)
    drawn = ~np.isnan(lower)
    assert (result.testable[drawn]).all() and (lower[drawn] <= expected[drawn]).all()
    assert (expected[drawn] <= upper[drawn]).all()
    families = verdict.family_verdicts({"items": result}, {"items": ["a", "a", "b", "text"]})["items"]
    words = {"degrades", "degrades, keeps more than half", "holds up", "inconclusive", "not testable"}
    assert set(families.scorer_verdicts.decision) <= words
    untestable = families.scorer_verdicts.decision == "not testable"
    np.testing.assert_array_equal(untestable, families.scorer_verdicts.reason != "")

"""Does a scorer reward the typical response over an equally liked rarer one?"""

import numpy as np
import pytest

from hivemind_utils.metrics import typicality
from hivemind_utils.metrics.contested import normal_scores


def study(seed, n_prompts=20, n_items=10, n_annotators=12):
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(n_prompts), n_items)
    typical, length = rng.normal(size=(2, len(prompts)))
    quality = 0.5 * typical + rng.normal(size=len(prompts))  # people like the typical too
    labels = np.clip(np.round(3 + quality[:, None] + rng.normal(size=(len(prompts), n_annotators))), 1, 5)
    return rng, prompts, typical, length, quality, labels


def literal(score, a, b, typical, length, prompts, degree):
    """One split: the stacked equations of both directions, with dummies of prompts, each prompt left out in turn."""
    y = normal_scores(score)
    za, zb = normal_scores(a), normal_scores(b)
    common = np.column_stack([(x - x.mean()) / x.std() for x in (typical, length)])

    def coefficient(rows):
        n, k = len(rows), len(np.unique(prompts[rows]))
        dummies = (prompts[rows, None] == np.unique(prompts[rows])).astype(float)
        first, second = (
            np.column_stack([common[rows], *(z[rows] ** power for power in range(1, degree + 1))]) for z in (za, zb)
        )
        nothing = np.zeros((n, k))
        x = np.block([[first, dummies, nothing], [second, nothing, dummies]])
        z = np.block([[second, dummies, nothing], [first, nothing, dummies]])
        return np.linalg.solve(z.T @ x, z.T @ np.tile(y[rows], 2))[0]

    everything = np.arange(len(prompts))
    return np.array([coefficient(everything), *(coefficient(everything[prompts != p]) for p in np.unique(prompts))])


@pytest.mark.parametrize(("n_annotators", "degree"), [(12, 3), (6, 2)])
def test_it_matches_instrumental_variables_written_out(n_annotators, degree):
    rng, prompts, typical, length, quality, labels = study(0, n_annotators=n_annotators)
    score = quality + 0.3 * typical + rng.normal(size=200)
    found = typicality.typicality_preference(score, labels, typical, length, prompts, 1, np.random.default_rng(7))
    a, b = typicality._half_means(labels, np.random.default_rng(7), None)
    replicates = literal(score, a, b, typical, length, prompts, degree)
    se = np.sqrt(19 / 20 * ((replicates[1:] - replicates[1:].mean()) ** 2).sum())
    assert found.estimate[0] == pytest.approx(replicates[0])
    assert found.se[0] == pytest.approx(se)


def test_halves_are_halves():
    labels = np.random.default_rng(1).normal(size=(5, 8))
    a, b = typicality._half_means(labels, np.random.default_rng(2), None)
    np.testing.assert_allclose((a + b) / 2, labels.mean(1))
    persons = np.tile(np.arange(8), (5, 1))
    a, _ = typicality._half_means(labels, np.random.default_rng(2), persons)
    who = [c for c in np.ndindex(*(2,) * 8) if sum(c) == 4 and np.allclose(labels @ np.array(c) / 4, a)]
    assert len(who) == 1  # the same four people on every item


def test_a_planted_preference_is_found_and_an_innocent_scorer_is_not_flagged():
    flagged, innocent = 0, 0
    for seed in range(12):
        rng, prompts, typical, length, quality, labels = study(seed, n_prompts=30)
        scores = np.stack([quality + 0.5 * typical, quality, np.tanh(quality) - (quality > 1)]) + 0.5 * rng.normal(
            size=(3, 300)
        )
        found = typicality.typicality_preference(scores, labels, typical, length, prompts, 2, rng)
        flagged += found.lower[0] > 0
        innocent += (found.lower[1] > 0) + (found.upper[1] < 0)
    assert flagged == 12
    assert innocent <= 3


def test_missing_scores_and_labels_are_left_out():
    rng, prompts, typical, length, quality, labels = study(3)
    scores = np.stack([quality + rng.normal(size=200), np.full(200, np.nan), np.ones(200)])
    scores[0, prompts == 4] = np.nan
    labels[rng.random(labels.shape) < 0.2] = np.nan
    labels[3] = np.nan
    typical[9] = np.nan
    found = typicality.typicality_preference(scores, labels, typical, length, prompts, 2, rng)
    assert found.n_prompts.tolist() == [19, 0, 20]
    assert np.isfinite(found.lower[0]) and np.isnan(found.lower[1])
    assert found.estimate[2] == pytest.approx(0, abs=1e-12)  # a constant scorer prefers nothing


def test_people_may_be_split_even_where_an_item_has_one_half_only():
    rng, prompts, typical, length, quality, labels = study(4)
    labels[5, :6] = np.nan
    labels[6, 2:] = np.nan
    persons = np.tile(np.arange(12), (200, 1))
    found = typicality.typicality_preference(quality, labels, typical, length, prompts, 6, rng, persons=persons)
    assert np.isfinite(found.lower).all()


def test_what_cannot_be_estimated_is_nan():
    rng, _, typical, length, quality, labels = study(5)
    for prompts in (np.zeros(200, int), np.arange(200)):
        found = typicality.typicality_preference(quality, labels, typical, length, prompts, 1, rng)
        assert np.isnan(found.lower).all()
    prompts = np.repeat(np.arange(20), 10)
    assert np.isnan(typicality.typicality_preference(quality, labels, np.ones(200), length, prompts, 1, rng).estimate)
    one_length = typicality.typicality_preference(quality, labels, typical, np.zeros(200), prompts, 1, rng)
    assert np.isfinite(one_length.lower).all()


def test_wrong_arguments_are_refused():
    _, prompts, typical, length, quality, labels = study(6)
    with pytest.raises(ValueError, match="at least one split"):
        typicality.typicality_preference(quality, labels, typical, length, prompts, 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="n_items, n_annotators"):
        typicality.typicality_preference(quality[:9], labels, typical, length, prompts, 1, np.random.default_rng(0))

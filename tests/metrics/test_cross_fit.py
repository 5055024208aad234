"""Null bands, permutations, random subsets, cross-fitting and the human ceiling."""

import numpy as np
import pytest

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, nulls, subsets

RULES = [r for r in subsets.absolute_rules() if r.name in ("full", "tukey 0.5", "entropy 10", "contested third")]


def statistics_of(labels, rows=None):
    counts = agreement.label_counts(labels, range(1, 6))
    return {"mean": agreement.row_means(labels, ~np.isnan(labels)), "entropy_bits": agreement.entropy_bits(counts)}


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(1)
    quality, groups = annotators.draw_quality(50, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, 24, rng, groups=groups))
    statistics = statistics_of(labels)
    weights = np.stack([subsets.kept_weights(rule, statistics) for rule in RULES])
    return {"quality": quality, "groups": groups, "labels": labels, "target": statistics["mean"], "weights": weights}


@pytest.fixture(scope="module")
def draws(study):
    quality, _ = nulls.shrunken_means(study["labels"])
    return nulls.null_draws(quality, study["target"], study["weights"], 200, np.random.default_rng(3))


class TestShrinkage:
    def test_equals_the_formula_item_by_item(self):
        labels = np.array([[1, 2, 3, np.nan], [5, 5, 4, 4], [2, 1, 1, 2.0]])
        raw, pooled = np.array([2, 4.5, 1.5]), (2 + 1 + 1) / 8
        for variance, errors in (
            ("item", np.array([1 / 3, (1 / 3) / 4, (1 / 3) / 4])),
            ("pooled", pooled / np.array([3, 4, 4])),
        ):
            means, shrinkage = nulls.shrunken_means(labels, variance=variance)
            quality = np.var(raw, ddof=1) - errors.mean()
            assert shrinkage == pytest.approx(quality / (quality + errors))
            assert means == pytest.approx(raw.mean() + shrinkage * (raw - raw.mean()))
        with pytest.raises(ValueError, match="'own'"):
            nulls.shrunken_means(labels, variance="own")

    def test_recovers_quality_better_than_the_raw_means_with_few_raters(self):
        rng = np.random.default_rng(2)
        quality = rng.normal(size=3_000)
        n = rng.integers(2, 12, 3_000)
        labels = np.where(np.arange(12) < n[:, None], quality[:, None] + 1.5 * rng.normal(size=(3_000, 12)), np.nan)
        means, _ = nulls.shrunken_means(labels)
        raw = agreement.row_means(labels, ~np.isnan(labels))
        assert np.mean((means - quality) ** 2) < np.mean((raw - quality) ** 2)

    def test_pure_noise_shrinks_to_one_value_and_has_no_null(self):
        labels = np.array([[1, 5], [5, 1], [1, 5.0]])
        means, shrinkage = nulls.shrunken_means(labels)
        assert (shrinkage == 0).all() and np.ptp(means) == 0
        with pytest.raises(ValueError, match="beyond their noise"):
            nulls.null_draws(means, means, np.ones((1, 3)), 2, np.random.default_rng(0))

    def test_single_labels_have_no_known_noise(self):
        with pytest.raises(ValueError, match="two labels"):
            nulls.shrunken_means(np.array([[1.0], [2.0]]))


class TestNullBand:
    def test_holds_scorers_that_are_equally_good(self, study, draws):
        rng = np.random.default_rng(4)
        scores = np.stack([annotators.score(study["quality"], 0.6, rng) for _ in range(100)])
        found = calibration.rank_correlations(scores, study["target"], study["weights"])
        expected, lower, upper = nulls.null_band(draws, found[0])
        inside = ((found >= lower) & (found <= upper)).mean(1)
        assert (inside[1:] >= 0.9).all()
        assert expected.mean(1) == pytest.approx(found.mean(1), abs=0.05)

    def test_range_restriction_alone_makes_every_subset_fall(self, draws):
        expected = nulls.expected_correlations(draws, np.array([0.64]))[:, 0]
        assert expected[0] == pytest.approx(0.64, abs=0.01)
        assert (expected[1:] < 0.56).all() and expected[2] < 0.45

    def test_is_mirrored_for_a_scorer_that_runs_against_people(self, draws):
        for a, b in zip(
            nulls.null_band(draws, [0.4]), np.array(nulls.null_band(draws, [-0.4]))[[0, 2, 1]], strict=True
        ):
            assert a == pytest.approx(-b)

    def test_lies_below_for_a_blind_scorer(self, study, draws):
        rng = np.random.default_rng(5)
        blind = annotators.blind_on(annotators.score(study["quality"], 0.7, rng), study["weights"][3] > 0, rng)
        found = calibration.rank_correlations(blind, study["target"], study["weights"])
        assert found[3, 0] < nulls.null_band(draws, found[0])[1][3, 0]


class TestPermutation:
    def test_keeps_the_full_correlation_and_spares_the_equally_good(self, study):
        rng = np.random.default_rng(6)
        good = annotators.score(study["quality"], 0.7, rng)
        blind = annotators.blind_on(good, study["weights"][3] > 0, rng)
        scores = np.stack([good, blind])
        mean, lower, upper, p = nulls.block_permutation(scores, study["target"], study["weights"], 200, rng)
        found = calibration.rank_correlations(scores, study["target"], study["weights"])
        assert mean[0] == pytest.approx(found[0], abs=0.03)
        assert p[3, 0] > 0.025 > p[3, 1] and (lower <= upper).all()

    def test_missing_scores_stay_missing(self, study):
        score = annotators.score(study["quality"], 0.7, np.random.default_rng(7))
        score[:100] = np.nan
        mean, *_ = nulls.block_permutation(score, study["target"], study["weights"], 50, np.random.default_rng(0))
        assert np.isfinite(mean).all()


def test_random_subsets_keep_the_full_correlation(study):
    score = annotators.score(study["quality"], 0.7, np.random.default_rng(8))
    full = calibration.rank_correlations(score, study["target"], np.ones(750)).item()
    mean, lower, upper = nulls.random_subsets(score, study["target"], [75, 250], 300, np.random.default_rng(9))
    assert mean[:, 0] == pytest.approx(full, abs=0.02)
    assert (upper - lower)[0, 0] > (upper - lower)[1, 0]


class TestCrossFit:
    def test_selection_on_noise_goes_and_range_restriction_stays(self, study):
        score = annotators.score(study["quality"], 0.8, np.random.default_rng(10))
        found = nulls.cross_fit(study["labels"], score, RULES, statistics_of, 20, np.random.default_rng(11))
        full = found["crossed"][0, 0]
        assert found["same"][0, 0] == pytest.approx(full)  # all items: nothing was selected
        assert found["same"][3, 0] < full and found["crossed"][3, 0] < full
        assert found["human"][0] > found["human"][3] > 0  # people lose range too, and are no collider

    def test_splitting_persons_needs_no_more_than_their_numbers(self, study):
        persons = study["groups"][:, None] * 24 + np.arange(24)
        found = nulls.cross_fit(
            study["labels"], study["target"], RULES, statistics_of, 2, np.random.default_rng(0), persons=persons
        )
        assert np.isfinite(found["human"]).all()

    def test_few_labels_are_refused(self):
        with pytest.raises(ValueError, match="6 labels"):
            nulls.cross_fit(np.ones((4, 3)), np.ones(4), RULES, statistics_of, 2, np.random.default_rng(0))


def test_full_ceiling_by_hand():
    assert nulls.full_ceiling(0.6) == pytest.approx(np.sqrt(1.2 / 1.6))
    assert np.isnan(nulls.full_ceiling(-0.2))

"""Distributions against people's, and pairs with ties: by hand, literal loops, invariance, errors."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr, wasserstein_distance

from hivemind_utils.metrics import soft_labels

SCALE = [1, 2, 3, 4, 5]


class TestSoftScores:
    def test_by_hand(self):
        found = soft_labels.soft_scores([[1, 0, 0, 0, 0]], [[0, 0, 0, 0, 4]], SCALE, smoothing=0.5)
        expected = {"manhattan": 2, "jensen_shannon": 1, "cross_entropy": -np.log2(0.1), "brier": 2, "wasserstein_1": 4}
        assert {name: found[name].item() for name in expected} == pytest.approx(expected)

    def test_a_perfect_prediction_costs_nothing_but_peoples_entropy(self):
        counts = np.array([[1, 2, 3, 4, 5], [0, 0, 9, 0, 0]])
        found = soft_labels.soft_scores(counts / 3, counts, SCALE, smoothing=0)
        for name in ("manhattan", "jensen_shannon", "brier", "wasserstein_1"):
            assert found[name] == pytest.approx([0, 0], abs=1e-7)
        assert found["cross_entropy"] == pytest.approx(found["entropy_people"])

    def test_equal_scipy(self):
        rng = np.random.default_rng(0)
        predicted, counts = rng.dirichlet(np.ones(5), 20), rng.integers(0, 9, (20, 5)) + np.eye(20, 5, dtype=int)
        found = soft_labels.soft_scores(predicted, counts, SCALE)
        for i, (q, c) in enumerate(zip(predicted, counts, strict=True)):
            assert found["jensen_shannon"][i] == pytest.approx(jensenshannon(q, c / c.sum(), base=2) ** 2)
            assert found["wasserstein_1"][i] == pytest.approx(wasserstein_distance(SCALE, SCALE, q, c))

    @pytest.mark.parametrize("row", [[0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]])
    def test_a_row_that_is_no_distribution_is_named(self, row):
        with pytest.raises(ValueError, match="row 1"):
            soft_labels.soft_scores([[1, 1], row], [[1, 1], [1, 1]], [0, 1])

    def test_items_without_labels_and_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="at least one label"):
            soft_labels.soft_scores([[1, 1]], [[0, 0]], [0, 1])
        with pytest.raises(ValueError, match=r"\(1, 3\)"):
            soft_labels.soft_scores([[1, 1]], [[1, 0, 0]], [0, 1, 2])


class TestPairs:
    differences = np.array([0.5, -0.2, 0.0, 1.0, np.nan])
    target = np.array([1.0, 0.5, -1.0, 0.0, 2.0])

    def test_concordance_by_hand(self):
        found = soft_labels.concordant(self.differences, self.target)
        assert found[0].tolist() == pytest.approx([1, 0, 0.5, np.nan, np.nan], nan_ok=True)
        assert np.isnan(soft_labels.concordant([1.0, 2.0], [0.0, 0.0])).all()  # unanimous ties only

    def test_swapping_the_responses_of_any_pair_changes_nothing(self):
        rng = np.random.default_rng(1)
        differences, target = rng.normal(size=40), rng.integers(-4, 5, 40) / 2
        flip = rng.choice([-1, 1], 40)
        swapped = soft_labels.concordant(flip * differences, flip * target)
        assert swapped == pytest.approx(soft_labels.concordant(differences, target), nan_ok=True)
        ones = np.ones((1, 40))
        symmetric = soft_labels.symmetric_spearman(differences, target, ones)
        assert soft_labels.symmetric_spearman(flip * differences, flip * target, ones) == pytest.approx(symmetric)
        doubled = spearmanr(np.append(differences, -differences), np.append(target, -target)).statistic
        assert symmetric.item() == pytest.approx(doubled)

    def test_tie_threshold_equals_trying_all_of_them(self):
        rng = np.random.default_rng(2)
        for _ in range(30):
            differences, classes = rng.integers(-5, 6, 25) / 2, rng.integers(-1, 2, 25)
            tried = {
                t: np.mean(np.where(np.abs(differences) <= t, 0, np.sign(differences)) == classes)
                for t in [-1.0, *np.unique(np.abs(differences))]
            }
            threshold, accuracy = soft_labels.tie_calibration(differences, classes)
            assert accuracy == pytest.approx(max(tried.values())) and tried[threshold] == pytest.approx(accuracy)

    def test_thresholds_are_judged_on_other_prompts(self):
        rng = np.random.default_rng(3)
        differences, groups = rng.normal(size=300), np.arange(300) // 10
        classes = np.where(np.abs(differences) < 0.5, 0, np.sign(differences))
        assert soft_labels.tie_accuracy(differences, classes, groups) > 0.97
        assert soft_labels.tie_accuracy(rng.normal(size=300), classes, groups) < 0.55

    def test_nothing_to_calibrate(self):
        assert soft_labels.tie_calibration([], []) == (-1.0, 0.0)

"""Correlations of scorers with people against SciPy and literal loops."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, subsets


@pytest.fixture(scope="module")
def study():
    """750 items, 50 prompts, 25 annotators, and an equally good scorer with a full correlation near .6."""
    rng = np.random.default_rng(0)
    quality, groups = annotators.draw_quality(50, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, 25, rng, groups=groups))
    means = labels.mean(1)
    entropy = agreement.entropy_bits(agreement.label_counts(labels, range(1, 6)))
    statistics = {"mean": means, "entropy_bits": entropy}
    contested = subsets.kept_weights(subsets.absolute_rules()[-1], statistics) > 0
    good = annotators.score(quality, 0.7, rng)
    return {
        "quality": quality, "groups": groups, "labels": labels, "means": means, "statistics": statistics,
        "contested": contested, "good": good, "blind": annotators.blind_on(good, contested, rng),
    }  # fmt: skip


class TestCorrelations:
    def test_golden_vector(self):
        means = np.array([4.8, 3.2, 3.0, 3.0, 3.4, 1.6])
        found = calibration.rank_correlations([[9, 5, 6, 4, 7, 1]], means, np.ones(6))
        assert found.item() == pytest.approx(0.898645, abs=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_equal_scipy_on_the_repeated_items_with_ties_and_missing_scores(self, seed):
        rng = np.random.default_rng(seed)
        scores, target = rng.integers(0, 9, (3, 80)).astype(float), rng.integers(0, 12, 80) / 4
        scores[1, rng.random(80) < 0.3] = np.nan
        weights = rng.integers(0, 4, (5, 80)).astype(float)
        for function, scipy in (
            (calibration.rank_correlations, spearmanr),
            (calibration.linear_correlations, pearsonr),
        ):
            found = function(scores, target, weights)
            for r, w in enumerate(weights):
                for s, row in enumerate(scores):
                    rows = np.repeat(np.arange(80), w.astype(int))
                    rows = rows[~np.isnan(row[rows])]
                    assert found[r, s] == pytest.approx(scipy(row[rows], target[rows]).statistic, abs=1e-10)

    def test_do_not_depend_on_threads_or_the_order_of_items(self, study):
        rng = np.random.default_rng(1)
        scores, weights = rng.normal(size=(4, 750)), rng.integers(0, 3, (9, 750)).astype(float)
        one = calibration.rank_correlations(scores, study["means"], weights, n_threads=1)
        assert (one == calibration.rank_correlations(scores, study["means"], weights, n_threads=3)).all()
        order = rng.permutation(750)
        again = calibration.rank_correlations(scores[:, order], study["means"][order], weights[:, order])
        assert again == pytest.approx(one, abs=1e-12)

    def test_constant_scores_empty_subsets_and_one_item_have_none(self):
        scores = np.array([[1, 1, 1, 1.0], [1, 2, 3, 4], [np.nan] * 4])
        weights = np.array([[1, 1, 1, 1.0], [0, 0, 0, 0], [1, 0, 0, 0]])
        for function in (calibration.rank_correlations, calibration.linear_correlations):
            found = function(scores, np.arange(4.0), weights)
            assert np.isnan(found[:, [0, 2]]).all() and np.isnan(found[1:, 1]).all() and found[0, 1] == 1

    def test_within_prompts_are_scipys_prompt_by_prompt(self, study):
        scores = np.stack([study["good"], study["blind"]])
        scores[0, study["groups"] == 3] = np.nan
        found = calibration.within_correlations(scores, study["means"], np.ones(750), study["groups"])
        assert found.shape == (1, 50, 2) and np.isnan(found[0, 3, 0])
        rows = study["groups"] == 7
        assert found[0, 7, 1] == pytest.approx(spearmanr(study["blind"][rows], study["means"][rows]).statistic)

    def test_a_wrong_shape_and_a_missing_target_are_refused(self):
        with pytest.raises(ValueError, match=r"\(n_scorers, 3\)"):
            calibration.rank_correlations(np.ones((2, 4)), np.arange(3.0), np.ones(3))
        with pytest.raises(ValueError, match="without labels"):
            calibration.rank_correlations(np.ones((1, 2)), np.array([1, np.nan]), np.ones(2))


RULES = [r for r in subsets.absolute_rules() if r.name in ("full", "tukey 0.5", "entropy 10", subsets.PRIMARY)]


class TestLeftOut:
    def test_replicates_equal_cutting_and_correlating_without_each_prompt(self, study):
        scores = np.stack([study["good"], study["blind"]])
        found, present = calibration.left_out_correlations(
            scores, study["means"], study["statistics"], RULES, study["groups"]
        )
        assert found.shape == (51, 4, 2) and present.shape == (50, 1, 2) and present.all()
        for left_out in (None, 0, 31):
            rows = np.flatnonzero(study["groups"] != left_out) if left_out is not None else np.arange(750)
            kept = {name: values[rows] for name, values in study["statistics"].items()}
            for r, rule in enumerate(RULES):
                at = rows[subsets.kept_weights(rule, kept) > 0]
                literal = spearmanr(study["blind"][at], study["means"][at]).statistic
                assert found[0 if left_out is None else left_out + 1, r, 1] == pytest.approx(literal)

    def test_what_is_chosen_within_prompts_does_not_change(self, study):
        rule = subsets.Rule("middle L", "x", "middle", "mean_within", 40)
        found, _ = calibration.left_out_correlations(
            study["good"], study["means"], study["statistics"], [rule], study["groups"]
        )
        kept = subsets.kept_weights(rule, study["statistics"], groups=study["groups"]) > 0
        at = kept & (study["groups"] != 7)
        assert found[8, 0, 0] == pytest.approx(spearmanr(study["good"][at], study["means"][at]).statistic)

    def test_prompts_a_scorer_lacks_do_not_count(self, study):
        score = np.where(study["groups"] < 12, study["good"], np.nan)
        _, present = calibration.left_out_correlations(
            score, study["means"], study["statistics"], RULES[:1], study["groups"]
        )
        assert present[:, 0, 0].tolist() == [True] * 12 + [False] * 38

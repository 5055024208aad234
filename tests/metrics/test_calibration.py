"""Correlations, contrast, bootstrap, verdict and pluralism against SciPy, literal loops and what was planted."""

import numpy as np
import pytest
from scipy.stats import norm, pearsonr, rankdata, spearmanr

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, resample, subsets


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


class TestContrast:
    def test_matches_a_literal_regression_with_dummies_and_refits(self, study):
        groups = np.where(study["groups"] < 4, study["groups"], 4)[:120]
        score, target, contested = study["good"][:120], study["means"][:120], study["contested"][:120]
        found = calibration.contrast(score, target, contested, groups, normal_target=False)

        def difference(rows):
            y = norm.ppf((rankdata(score) - 0.375) / 120.25)[rows]
            dummies = (groups[rows, None] == np.unique(groups[rows])).astype(float)
            x = np.column_stack([target, target * contested, contested])[rows]
            return np.linalg.lstsq(np.column_stack([x, dummies]), y, rcond=None)[0][1]

        refits = np.array([difference(groups != p) for p in range(5)])
        se = np.sqrt(4 / 5 * ((refits - refits.mean()) ** 2).sum())
        assert found["difference"].item() == pytest.approx(difference(groups >= 0))
        assert found["se"].item() == pytest.approx(se)
        assert found["n_prompts"].item() == 5

    def test_convicts_the_blind_and_not_the_equally_good_scorer(self, study):
        found = calibration.contrast(
            np.stack([study["good"], study["blind"]]), study["means"], study["contested"], study["groups"]
        )
        assert found["upper"][0] > 0 > found["upper"][1]
        assert found["p_value"][1] < 0.001 < 0.025 < found["p_value"][0]

    def test_an_increasing_transformation_of_the_score_changes_nothing(self, study):
        scores = np.stack([study["good"], np.exp(3 * study["good"])])
        found = calibration.contrast(scores, study["means"], study["contested"], study["groups"])
        assert found["difference"][0] == pytest.approx(found["difference"][1])

    def test_missing_scores_are_left_out_for_that_scorer_alone(self, study):
        scores = np.stack([study["good"], study["good"]])
        missing = np.random.default_rng(2).random(750) < 0.3
        missing[study["groups"] == 0] = True
        scores[1, missing] = np.nan
        found = calibration.contrast(scores, study["means"], study["contested"], study["groups"], normal_target=False)
        alone = calibration.contrast(
            scores[1, ~missing], study["means"][~missing], study["contested"][~missing], study["groups"][~missing],
            normal_target=False,
        )  # fmt: skip
        for name in ("difference", "se", "p_value"):
            assert found[name][1] == pytest.approx(alone[name].item())
        assert found["n_prompts"].tolist() == [50, 49]

    def test_what_cannot_be_estimated_is_nan(self, study):
        means, groups = study["means"], study["groups"]
        constant = calibration.contrast(np.ones(750), means, study["contested"], groups)
        nobody = calibration.contrast(study["good"], means, np.zeros(750, bool), groups)
        one_prompt = calibration.contrast(study["good"][:15], means[:15], study["contested"][:15], groups[:15])
        absent = calibration.contrast(np.full(750, np.nan), means, study["contested"], groups)
        for found in (constant, nobody, one_prompt, absent):
            assert np.isnan(found["difference"]).all() and np.isnan(found["p_value"]).all()


class TestVerdict:
    def test_holm_by_hand(self):
        assert calibration.holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
        assert calibration.holm([0.9, 0.8]).tolist() == [1, 1]

    def test_three_ways_and_not_testable(self):
        found = calibration.verdicts([0.01, 0.5, 0.5, 0.01, np.nan], [-0.1, 0.1, -0.1, 0.1, 0.1])
        assert found.tolist() == ["convicted", "acquitted", "undecided", "convicted", "not testable"]


class TestBootstrap:
    def test_draws_equal_selecting_and_correlating_the_repeated_items(self, study):
        rules = [r for r in subsets.absolute_rules() if r.name in ("full", "tukey 0.5", "contested third")]
        scores = np.stack([study["good"], study["blind"]])
        draws = calibration.clustered_bootstrap(
            scores, study["means"], study["statistics"], rules, study["groups"], 3, np.random.default_rng(3)
        )
        times = resample.bootstrap_weights(50, 3, np.random.default_rng(3))
        for b in range(3):
            rows = np.concatenate(
                [np.flatnonzero(study["groups"] == p) for p in range(50) for _ in range(int(times[b, p]))]
            )
            drawn = {name: values[rows] for name, values in study["statistics"].items()}
            for r, rule in enumerate(rules):
                at = rows[subsets.kept_weights(rule, drawn) > 0]
                assert draws[b, r, 1] == pytest.approx(spearmanr(study["blind"][at], study["means"][at]).statistic)

    def test_within_prompt_rules_follow_the_draws(self, study):
        rule = subsets.Rule("middle L", "x", "middle", "mean_within", 40)
        draws = calibration.clustered_bootstrap(
            study["good"], study["means"], study["statistics"], [rule], study["groups"], 5, np.random.default_rng(4)
        )
        assert np.isfinite(draws).all() and draws.std() > 0


class TestPluralism:
    def world(self, seed, reward=0.0, n_annotators=25):
        rng = np.random.default_rng(seed)
        typicality = rng.normal(size=750)
        quality, groups = annotators.draw_quality(50, 15, rng)
        quality = (quality + 0.7 * typicality) / np.sqrt(1.49)  # people like the typical answer too
        labels = annotators.ratings(annotators.draw_perceived(quality, n_annotators, rng, groups=groups))
        score = annotators.score(quality + reward * typicality, 0.8, rng)
        return score, labels, typicality, rng.normal(size=750), groups

    def test_finds_a_planted_taste_for_the_typical_and_spares_the_innocent(self):
        planted = calibration.pluralism(*self.world(0, reward=0.5), 5, np.random.default_rng(0))
        assert planted["lower"].item() > 0
        flagged = [
            calibration.pluralism(*self.world(seed, n_annotators=5), 2, np.random.default_rng(0))["lower"].item() > 0
            for seed in range(40)
        ]
        assert np.mean(flagged) <= 0.15

    def test_people_who_cannot_be_split_and_missing_scores_are_refused(self):
        score, *rest = self.world(1)
        score[3] = np.nan
        with pytest.raises(ValueError, match="complete"):
            calibration.pluralism(score, *rest, 2, np.random.default_rng(0))

"""Subset rules: golden vector G3, the literal repeated sample, order and ties, errors."""

import numpy as np
import pytest

from hivemind_utils.metrics import agreement, subsets
from hivemind_utils.metrics.contested import contested_set
from hivemind_utils.metrics.subsets import Rule, kept_weights

MEANS = np.array([4.8, 3.2, 3.0, 3.0, 3.4, 1.6])  # golden vector G3
G3 = np.array([[5, 5, 5, 5, 4], [4, 4, 3, 3, 2], [1, 2, 3, 4, 5], [3] * 5, [1, 1, 5, 5, 5], [2, 2, 2, 1, 1]], float)
ENTROPY = agreement.entropy_bits(agreement.label_counts(G3, [1, 2, 3, 4, 5]))


def chosen(method, parameter, values=MEANS):
    kept = kept_weights(Rule("r", "f", method, "x", parameter), {"x": values})
    return [f"i{i + 1}" for i in np.flatnonzero(kept)]


class TestGoldenVector:
    @pytest.mark.parametrize("k", [0.5, 1, 1.5])
    def test_tukey(self, k):
        assert chosen("tukey", k) == ["i2", "i3", "i4", "i5"]

    def test_wide_tukey_fences(self):
        assert chosen("tukey", 4) == ["i2", "i3", "i4", "i5", "i6"]
        assert len(chosen("tukey", 5)) == 6

    def test_middle_percentiles(self):
        assert chosen("middle", 40) == ["i2", "i3", "i4"]
        assert chosen("middle", 60) == chosen("middle", 80) == ["i2", "i3", "i4", "i5"]

    def test_z_scores(self):
        assert MEANS.std() == pytest.approx(0.933928, abs=1e-6)
        assert chosen("z_score", 1.68) == ["i2", "i3", "i4", "i5", "i6"]
        assert chosen("z_score", 0.2) == ["i2", "i3", "i4"]

    def test_top_entropy(self):
        assert chosen("top", 20, ENTROPY) == chosen("top", 34, ENTROPY) == ["i2", "i3"]
        assert chosen("top", 50, ENTROPY) == ["i2", "i3", "i5", "i6"]

    def test_annotators_in_another_order_choose_the_same_items(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(1, 6, (200, 25)).astype(float)
        for q in subsets.PERCENTS_CONTESTED:
            both = [
                chosen("top", q, agreement.entropy_bits(agreement.label_counts(rows, range(1, 6))))
                for rows in (labels, rng.permuted(labels, axis=1))
            ]
            assert both[0] == both[1]


def test_ties_at_the_bottom_do_not_make_everything_contested():
    mostly_unanimous = np.array([0, 0, 0, 0, 0.9, 0, 0, 0.9, 0, 0])
    assert chosen("top", 100 / 3, mostly_unanimous) == ["i5", "i8"]
    assert len(chosen("top", 100 / 3, np.zeros(10))) == 10  # no disagreement at all: there is no contested part


class TestStableSort:
    def test_keeps_the_floor_of_the_share_in_file_order(self):
        values = np.array([0.5, 0.6, 0.5, 0.9, 0.5])
        assert chosen("first", 60, values) == ["i1", "i3", "i5"]
        assert chosen("first", 59, values) == ["i1", "i3"]

    def test_published_sizes(self):
        values = np.random.default_rng(0).integers(0, 9, 500).astype(float)
        sizes = [len(chosen("first", q, values)) for q in subsets.PERCENTS_PAIRS]
        assert sizes == [475, 450, 425, 400, 375, 350, 325, 300]


@pytest.mark.parametrize("method", ["tukey", "z_score", "middle", "top", "bottom", "first"])
@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_the_literal_repeated_sample(method, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 12, 60) / 4
    weights = rng.integers(0, 4, 60).astype(float)
    parameter = {"tukey": 0.5, "z_score": 0.8}.get(method, 100 / 3)
    rule = Rule("r", "f", method, "x", parameter)
    rows = np.repeat(np.arange(60), weights.astype(int))
    repeated = kept_weights(rule, {"x": values[rows]})
    assert kept_weights(rule, {"x": values}, weights) == pytest.approx(np.bincount(rows, repeated, minlength=60))


def test_percentiles_are_numpys_on_the_repeated_sample():
    rng = np.random.default_rng(1)
    for _ in range(50):
        values, weights = rng.normal(size=20), rng.integers(0, 4, 20)
        percents = rng.uniform(0, 100, 5)
        literal = np.percentile(np.repeat(values, weights), percents)
        assert subsets.weighted_percentiles(values, percents, weights.astype(float)) == pytest.approx(literal)


class TestWithinPrompts:
    def test_bounds_are_laid_prompt_by_prompt(self):
        values = np.array([1, 2, 3, 4, 11, 12, 13, 14.0])
        groups = np.array([0, 0, 0, 0, 1, 1, 1, 1])
        rule = Rule("r", "f", "middle", "x_within", 40)
        assert kept_weights(rule, {"x": values}, groups=groups).tolist() == [0, 1, 1, 0, 0, 1, 1, 0]

    def test_need_the_prompts(self):
        with pytest.raises(ValueError, match="groups"):
            kept_weights(Rule("r", "f", "middle", "x_within", 40), {"x": MEANS})

    def test_gaps_to_the_nearest_response(self):
        values, groups = np.array([1.0, 4.0, 1.5, 4.1]), np.array([0, 0, 1, 1])
        assert subsets.gaps(values) == pytest.approx([0.5, 0.1, 0.5, 0.1])
        assert subsets.gaps(values, groups) == pytest.approx([3, 3, 2.6, 2.6])
        assert np.isinf(subsets.gaps(np.array([1.0])))


class TestErrors:
    def test_a_missing_statistic_is_named(self):
        with pytest.raises(ValueError, match="'entropy_bits'"):
            kept_weights(subsets.absolute_rules()[-1], {"mean": MEANS})

    def test_an_unknown_method_is_refused(self):
        with pytest.raises(ValueError, match="'sliding'"):
            kept_weights(Rule("r", "f", "sliding"), {"mean": MEANS})


def test_every_rule_has_a_name_of_its_own():
    rules = [*subsets.absolute_rules(), *subsets.similar_rules(), *subsets.measure_rules(["gini", "fleiss"])]
    assert len({rule.name for rule in rules}) == len(rules)
    assert len({rule.name for rule in subsets.pair_rules()}) == 18


class TestContestedRule:
    RULE = subsets.absolute_rules()[-1]

    def test_keeps_the_contested_set_and_cuts_again_without_a_prompt(self):
        rng = np.random.default_rng(1)
        entropy = rng.integers(0, 30, 200) / 7
        weights = (np.arange(200) >= 20).astype(float)
        kept = kept_weights(self.RULE, {"entropy_bits": entropy}, weights)
        assert (kept[20:] > 0).tolist() == contested_set(entropy[20:]).mask.tolist() and not kept[:20].any()

    def test_keeps_nothing_where_people_disagree_equally(self):
        assert not kept_weights(self.RULE, {"entropy_bits": np.ones(9)}).any()


class TestWords:
    def test_every_rule_has_a_name_of_its_own_in_words(self):
        measures = ("entropy_bits", "gini")
        for rules in (
            subsets.absolute_rules(), subsets.pair_rules(), subsets.similar_rules(), subsets.measure_rules(measures)
        ):  # fmt: skip
            words = [rule.words for rule in rules]
            assert len(set(words)) == len(words) and not any("_" in name for name in words)

    def test_are_plain(self):
        names = {rule.name: rule.words for rule in (*subsets.absolute_rules(), *subsets.pair_rules())}
        assert names["entropy 16"] == "top 16 % by entropy" and names["tukey 0.5"] == "Tukey fences, k = 0.5"
        assert names["similar 60"] == "60 % with most ties" and names["full"] == "all"

    def test_the_mean_decides_over_similar_items_and_not_over_contested_ones(self):
        cut = {rule.name: rule.cut_by_mean for rule in (*subsets.absolute_rules(), *subsets.pair_rules())}
        assert cut["tukey 3.0"] and cut["similar 95"] and cut["contested 95"]
        assert not cut["entropy 16"] and not cut[subsets.PRIMARY] and not cut["full"]
        assert all(rule.cut_by_mean for rule in subsets.similar_rules())

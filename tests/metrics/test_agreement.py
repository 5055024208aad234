"""Disagreement, alpha, halves and severity: golden vectors, textbook cases, literal loops, invariance, errors."""

import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics import agreement

NAN = np.nan
SCALE = [1, 2, 3, 4, 5]
# Golden vector G3: six items, five annotators.
G3 = np.array([[5, 5, 5, 5, 4], [4, 4, 3, 3, 2], [1, 2, 3, 4, 5], [3] * 5, [1, 1, 5, 5, 5], [2, 2, 2, 1, 1]], float)
# Krippendorff's own example: four observers, twelve units, missing labels.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


def counts_of(*items, scale=SCALE):
    return agreement.label_counts(np.array(items, float), scale)


class TestDisagreement:
    def test_golden_vector_of_entropies(self):
        entropy = agreement.entropy_bits(agreement.label_counts(G3, SCALE))
        assert entropy == pytest.approx([0.721928, 1.521928, 2.321928, 0, 0.970951, 0.970951], abs=1e-6)
        assert np.signbit(entropy).sum() == 0  # a unanimous item has +0.0

    def test_permuted_labels_give_the_same_bits(self):
        values = {agreement.entropy_bits(np.array([list(counts)]))[0].hex() for counts in permutations([2, 3, 4, 7, 9])}
        assert len(values) == 1

    def test_miller_madow_adds_the_textbook_term(self):
        counts = counts_of([1, 1, 2, 2, 3])
        expected = agreement.entropy_bits(counts) + 2 / (2 * 5 * np.log(2))
        assert agreement.miller_madow_bits(counts) == pytest.approx(expected)

    def test_measures_of_table_20_by_hand(self):
        counts = counts_of([1, 1, 5, 5, 5], [1, 2, 3, 4, 5])
        assert agreement.gini(counts) == pytest.approx([1 - 13 / 25, 0.8])
        assert agreement.pairwise_disagreement(counts) == pytest.approx([6 / 10, 1])
        assert agreement.minority_share(counts) == pytest.approx([0.4, 0.8])
        assert agreement.item_agreement(counts) == pytest.approx([4 / 10, 0])
        assert agreement.grouped(counts).tolist() == [[2, 0, 3], [2, 1, 2]]

    def test_pairwise_disagreement_is_the_literal_share_of_pairs(self):
        labels = np.random.default_rng(0).integers(1, 6, (20, 7)).astype(float)
        literal = [np.mean([a[i] != a[j] for i in range(7) for j in range(i)]) for a in labels]
        assert agreement.pairwise_disagreement(agreement.label_counts(labels, SCALE)) == pytest.approx(literal)

    def test_consensus_is_one_in_unison_and_zero_when_polarised(self):
        consensus = agreement.ordinal_consensus(counts_of([3, 3, 3, 3], [1, 1, 5, 5], [2, 3, 3, 4]), SCALE)
        assert consensus[:2] == pytest.approx([1, 0]) and 0 < consensus[2] < 1

    def test_golden_vector_of_pairs(self):
        scale = [-2, -1, 0, 1, 2]
        labels = [[2, 2, 1, 1, 0], [0, 0, 0, 1, -1], [-2, -1, -1, 0, 2], [1, 1, -1, -1, 0], [2] * 5, [0] * 5]
        counts = counts_of(*labels, scale=scale)
        assert agreement.pair_agreement(counts, scale) == pytest.approx([0.9, 0.5, 0.7, 0.5, 1, 0.5])
        entropy = [1.521928, 1.370951, 1.921928, 1.521928, 0, 0]
        assert agreement.entropy_bits(counts) == pytest.approx(entropy, abs=1e-6)

    def test_items_without_labels_have_no_disagreement(self):
        counts = agreement.label_counts(np.array([[NAN, NAN], [1, NAN]]), SCALE)
        assert np.isnan(agreement.entropy_bits(counts)).tolist() == [True, False]
        assert np.isnan(agreement.pairwise_disagreement(counts)).all()  # one label makes no pair
        assert np.isnan(agreement.miller_madow_bits(counts)).tolist() == [True, False]

    def test_a_label_off_the_scale_is_named(self):
        with pytest.raises(ValueError, match=r"7\.0"):
            counts_of([1, 7])

    def test_grouping_needs_five_values(self):
        with pytest.raises(ValueError, match="5 values"):
            agreement.grouped(np.ones((1, 3), int))


class TestSplitOrNoisy:
    def test_two_camps_are_a_split_and_a_hill_is_not(self):
        split, hill, flat = [1] * 12 + [5] * 13, [2] * 6 + [3] * 12 + [4] * 7, SCALE * 5
        depth, p_value = agreement.valley(counts_of(split, hill, flat))
        assert depth == pytest.approx([12 / 25, 0, 0])
        assert p_value[0] < 0.001 and (p_value[1:] == 1).all()

    def test_noise_is_rarely_called_a_split(self):
        rng = np.random.default_rng(1)
        noise = rng.multinomial(25, [0.1, 0.2, 0.4, 0.2, 0.1], size=4_000)
        flat = rng.multinomial(25, [0.2] * 5, size=4_000)
        assert (agreement.valley(noise)[1] < 0.05).mean() < 0.01
        assert (agreement.valley(flat)[1] < 0.05).mean() < 0.25  # flat: peaks are chosen after the fact

    def test_turning_the_scale_round_changes_nothing(self):
        counts = np.random.default_rng(2).multinomial(25, [0.2] * 5, size=50)
        for a, b in zip(agreement.valley(counts), agreement.valley(counts[:, ::-1]), strict=True):
            assert a == pytest.approx(b)


class TestAlpha:
    @pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
    def test_the_textbook_case_with_missing_labels(self, level, expected):
        assert agreement.krippendorff_alpha(OBSERVERS, level) == pytest.approx(expected, abs=5e-4)

    @pytest.mark.parametrize(
        ("labels", "level", "expected"),
        [
            ([[0, 0], [1, 1], [0, 1]], "nominal", 1 - (2 * 5) / (2 * 3 * 3)),  # Do = 2/6, De = 2*3*3/(6*5)
            ([[1, 2, NAN], [3, 3, 3], [NAN, NAN, 1]], "interval", 1 - 4 * 2 / (2 * 3 * 4 + 2 * 3 * 1 + 2 * 1)),
            ([[1, 1], [1, 1]], "nominal", NAN),
            ([[1, NAN], [NAN, 2]], "nominal", NAN),
        ],
    )  # fmt: skip
    def test_small_cases_by_hand(self, labels, level, expected):
        assert agreement.krippendorff_alpha(np.array(labels, float), level) == pytest.approx(expected, nan_ok=True)

    @pytest.mark.parametrize("level", agreement.LEVELS)
    def test_matches_the_literal_pairs(self, level):
        labels = np.random.default_rng(3).integers(1, 5, (15, 6)).astype(float)
        labels[np.random.default_rng(4).random(labels.shape) < 0.3] = NAN
        assert agreement.krippendorff_alpha(labels, level) == pytest.approx(literal_alpha(labels, level))

    def test_annotators_and_items_may_be_shuffled_and_items_weighted(self):
        rng = np.random.default_rng(5)
        expected = agreement.krippendorff_alpha(OBSERVERS, "ordinal")
        shuffled = rng.permuted(OBSERVERS, axis=1)[rng.permutation(len(OBSERVERS))]
        assert agreement.krippendorff_alpha(shuffled, "ordinal") == pytest.approx(expected)
        weights = rng.integers(0, 3, len(OBSERVERS))
        repeated = agreement.krippendorff_alpha(np.repeat(OBSERVERS, weights, axis=0), "ordinal")
        counts = agreement.label_counts(OBSERVERS, SCALE)
        assert agreement.alpha_of_counts(counts, SCALE, "ordinal", weights) == pytest.approx(repeated)

    def test_a_wrong_level_or_shape_is_refused(self):
        with pytest.raises(ValueError, match="'ratio'"):
            agreement.krippendorff_alpha(OBSERVERS, "ratio")
        with pytest.raises(ValueError, match="n_items, n_annotators"):
            agreement.krippendorff_alpha(np.ones(3))


def literal_alpha(labels, level):
    """Krippendorff's definition, pair by pair."""
    items = [row[~np.isnan(row)] for row in labels]
    items = [row for row in items if len(row) > 1]
    pooled = np.concatenate(items)

    def distance(a, b):
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = sorted((a, b))
        between = sum(low <= v <= high for v in pooled)
        return (between - sum(v == low for v in pooled) / 2 - sum(v == high for v in pooled) / 2) ** 2 if a != b else 0

    n = len(pooled)
    observed = sum(
        sum(distance(a, b) for i, a in enumerate(row) for j, b in enumerate(row) if i != j) / (len(row) - 1)
        for row in items
    )
    expected = sum(distance(a, b) for i, a in enumerate(pooled) for j, b in enumerate(pooled) if i != j)
    return 1 - (observed / n) / (expected / (n * (n - 1)))


class TestHalves:
    def labels(self, n_items=400, n_annotators=10, noise=1.0, seed=6):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(n_items, 1)) + noise * rng.normal(size=(n_items, n_annotators))

    def test_spearman_brown_recovers_the_reliability_that_was_planted(self):
        half, full = agreement.split_half(self.labels(), 50, np.random.default_rng(7))
        assert half == pytest.approx(5 / 6, abs=0.03)  # variance 1 against 1/5
        assert full == pytest.approx(10 / 11, abs=0.02)

    def test_halves_are_disjoint_and_complete(self):
        labels = self.labels(n_items=5, n_annotators=6)
        a, b = agreement.halves(labels, 3, np.random.default_rng(8))
        assert (a + b) / 2 == pytest.approx(np.tile(labels.mean(1), (3, 1)))

    def test_a_known_person_stays_on_one_side(self):
        persons = np.tile(np.arange(6), (40, 1))
        labels = np.tile(2.0 ** np.arange(6), (40, 1))
        labels[3, 2] = NAN
        a, _ = agreement.halves(labels, 20, np.random.default_rng(9), persons)
        assert (np.delete(a, 3, axis=1) == a[:, :1]).all() and len(np.unique(a[:, 0])) > 5

    def test_one_annotator_has_no_reliability(self):
        half, full = agreement.split_half(np.arange(5.0)[:, None], 4, np.random.default_rng(0))
        assert np.isnan(half) and np.isnan(full)

    def test_reliability_grows_with_annotators_as_spearman_brown_says(self):
        found = agreement.reliability_by_size(self.labels(2_000), [1, 5, 6], 20, np.random.default_rng(10)).mean(1)
        assert found[0] == pytest.approx(0.5, abs=0.03)
        assert found[1] == pytest.approx(agreement.spearman_brown(found[0], 5), abs=0.02)
        assert np.isnan(found[2])  # no item has twelve labels


class TestSeverity:
    def test_planted_effects_come_back_with_missing_labels(self):
        rng = np.random.default_rng(11)
        planted = np.array([-1, -0.5, 0, 0.5, 1.0])
        labels = rng.normal(size=(300, 1)) + planted + 0.1 * rng.normal(size=(300, 5))
        labels[rng.random(labels.shape) < 0.4] = NAN
        effects, n_labels = agreement.severity(labels, np.tile(np.arange(5), (300, 1)))
        assert effects - effects.mean() == pytest.approx(planted, abs=0.03)
        assert n_labels.sum() == (~np.isnan(labels)).sum()

    def test_a_person_without_labels_has_no_severity(self):
        effects, n_labels = agreement.severity(np.array([[1, NAN, 3]]), np.array([[0, 1, 2]]))
        assert np.isnan(effects).tolist() == [False, True, False] and n_labels.tolist() == [1, 0, 1]


@pytest.mark.real_data
@pytest.mark.skipif("HIVEMIND_REAL_DATA" not in os.environ, reason="HIVEMIND_REAL_DATA is not set")
def test_dices_gives_its_known_alpha_and_entropy():
    ratings = pd.read_parquet(Path(os.environ["HIVEMIND_REAL_DATA"]) / "dices" / "dices_990_ratings.parquet")
    codes = ratings["label"].map({"No": 0, "Unsure": 1, "Yes": 2})
    slot = ratings.groupby("item_id").cumcount()
    labels = pd.DataFrame({"item": ratings["item_id"], "slot": slot, "label": codes}).pivot(
        index="item", columns="slot", values="label"
    )
    assert agreement.krippendorff_alpha(labels.to_numpy(), "nominal") == pytest.approx(0.1432, abs=5e-5)
    counts = agreement.label_counts(labels.to_numpy(), [0, 1, 2])
    assert agreement.entropy_bits(counts).mean() == pytest.approx(0.962, abs=5e-4)

"""Intervals over prompts, and decisions on published values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm, spearmanr
from scipy.stats import t as student

from hivemind_utils.metrics import intervals
from hivemind_utils.tables import wording

REPOSITORY = Path(__file__).resolve().parents[2]


def bounds(found):
    return [float(found.lower), float(found.upper)]


def test_the_golden_intervals():
    assert bounds(intervals.mean_interval([0.2, 0.5, 0.9, 0.4, 0.7])) == pytest.approx([0.204521, 0.875479], abs=1e-4)
    ratio = intervals.ratio_interval([3, 1, 4, 2, 6], [4, 2, 5, 5, 7])
    assert float(ratio.estimate) == pytest.approx(0.695652, abs=1e-4)
    assert bounds(ratio) == pytest.approx([0.412147, 0.979158], abs=1e-4)
    for values, expected in (
        ([0.8, 0.6, 1, 0.4, 0.9], [0.346860, 0.962857]),
        ([1] * 5, [0.478176, 1]),
        ([0, 0, 0, 0, 0.2], [0, 0.567430]),
    ):
        assert bounds(intervals.share_interval(values)) == pytest.approx(expected, abs=1e-4)


def literal_jackknife(statistic, n):
    whole = statistic(list(range(n)))
    parts = [statistic([i for i in range(n) if i != left]) for left in range(n)]
    se = np.sqrt((n - 1) / n * sum((x - sum(parts) / n) ** 2 for x in parts))
    half = student.ppf(0.975, n - 1) * se
    return whole, whole - half, whole + half


values = st.lists(st.floats(-5, 5), min_size=2, max_size=12)


@settings(deadline=None)
@given(values)
def test_the_interval_of_a_mean_is_the_t_interval(x):
    found = intervals.mean_interval(x)
    half = student.ppf(0.975, len(x) - 1) * np.std(x, ddof=1) / np.sqrt(len(x))
    np.testing.assert_allclose(bounds(found), [np.mean(x) - half, np.mean(x) + half], atol=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)), min_size=2))
def test_ratios_and_their_differences_match_the_literal_jackknife(rows):
    a, b, c, d = np.array(rows, float).T

    def ratio(i):
        return a[i].sum() / b[i].sum()

    def difference(i):
        return a[i].sum() / b[i].sum() - c[i].sum() / d[i].sum()

    for statistic, found in (
        (ratio, intervals.ratio_interval(a, b)),
        (difference, intervals.ratio_difference_interval((a, b), (c, d))),
    ):
        literal = literal_jackknife(statistic, len(rows))
        np.testing.assert_allclose([found.estimate, found.lower, found.upper], literal, atol=1e-7)


def test_intervals_of_columns_are_those_of_each_with_missing_prompts_left_out():
    x = np.random.default_rng(0).normal(size=(9, 4))
    x[2:5, 1] = x[1:, 2] = x[:, 3] = np.nan
    found = intervals.mean_interval(x)
    for j in (0, 1):
        alone = intervals.mean_interval(x[~np.isnan(x[:, j]), j])
        assert [found.lower[j], found.upper[j], found.se[j]] == pytest.approx([*bounds(alone), float(alone.se)])
    assert found.n_prompts.tolist() == [9, 6, 1, 0]
    assert found.reason.tolist() == ["", "", *["an interval needs at least two prompts"] * 2]
    assert found.estimate[2] == x[0, 2] and np.isnan(found.estimate[3]) and np.isnan(found.lower[2:]).all()


@pytest.mark.parametrize("n", [0, 1])
def test_one_prompt_has_no_interval(n):
    for found in (
        intervals.mean_interval(np.full(n, 0.5)),
        intervals.ratio_interval(np.full(n, 1.0), np.full(n, 2.0)),
        intervals.share_interval(np.full(n, 0.5)),
        intervals.spearman_interval(np.arange(5.0 * n), np.arange(5.0 * n), np.zeros(5 * n)),
    ):
        assert np.isnan(found.lower) and np.isnan(found.upper) and np.isnan(found.se)
        assert found.n_prompts == n
        assert found.reason == "an interval needs at least two prompts"


def test_differences_are_paired_by_prompt():
    prompt = np.array([5.0, -3.0, 8.0, 1.0, 2.0])
    found = intervals.difference_interval(prompt + 0.5 + 0.01 * np.arange(5), [*prompt[:4], np.nan])
    assert found.n_prompts == 4
    assert float(found.upper - found.lower) < 0.1


def test_a_prompt_may_be_in_one_of_two_ratios_only():
    found = intervals.ratio_difference_interval(
        ([1, 2, np.nan, 2], [2, 4, np.nan, 3]), ([np.nan, 1, 3, 1], [1, 2, 4, 5])
    )
    assert found.n_prompts == 4
    assert float(found.estimate) == pytest.approx(5 / 9 - 5 / 11)
    assert found.reason == ""


def test_no_ratio_without_a_denominator():
    found = intervals.ratio_interval([1.0, 0.0], [2.0, 0.0])
    assert found.estimate == 0.5 and np.isnan(found.lower)
    assert found.reason == "there is no estimate without each of the prompts"


def test_spearman_matches_scipy_and_the_literal_jackknife():
    rng = np.random.default_rng(2)
    prompts, x = np.repeat(np.arange(6), 8), rng.normal(size=48)
    y = x + rng.normal(size=48)
    y[5] = np.nan
    found = intervals.spearman_interval(x, y, prompts)

    def statistic(i):
        rows = np.isin(prompts, i) & ~np.isnan(y)
        return np.arctanh(spearmanr(x[rows], y[rows]).statistic)

    literal = np.tanh(literal_jackknife(statistic, 6))
    np.testing.assert_allclose([found.estimate, found.lower, found.upper], literal)


def test_the_cut_is_redone_without_every_prompt():
    rng = np.random.default_rng(3)
    prompts, x = np.repeat(np.arange(8), 10), rng.normal(size=80)
    y = x + rng.normal(size=80)

    def keep(rows):
        return y[rows] >= np.median(y[rows])

    found = intervals.spearman_interval(x, y, prompts, keep=keep)

    def statistic(i):
        rows = np.flatnonzero(np.isin(prompts, i))
        rows = rows[keep(rows)]
        return np.arctanh(spearmanr(x[rows], y[rows]).statistic)

    np.testing.assert_allclose(bounds(found), np.tanh(literal_jackknife(statistic, 8))[1:])


def test_weights_without_each_prompt_give_the_same_replicates():
    rng = np.random.default_rng(4)
    prompts = rng.permutation(np.repeat(list("abcd"), 5))
    weights = intervals.left_out_weights(prompts)
    assert weights.shape == (5, 20) and weights[0].all()
    assert [(prompts[row == 0] == name).all() for row, name in zip(weights[1:], "abcd", strict=True)] == [True] * 4


def test_perfect_and_undefined_correlations():
    i = np.arange(30.0)
    assert bounds(intervals.spearman_interval(i, i, i // 6)) == pytest.approx([1, 1], abs=1e-8)
    assert np.isnan(intervals.spearman_interval(i, np.ones(30), i // 6).lower)
    one = intervals.spearman_interval(i, np.where(i < 6, i, 1), i // 6)  # constant without the first prompt
    assert np.isfinite(one.estimate) and np.isnan(one.lower) and one.reason.startswith("there is no estimate")


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_shares_stay_within_0_and_1_and_around_their_mean(x):
    found = intervals.share_interval(x)
    assert 0 <= found.lower <= found.estimate + 1e-9 and found.estimate - 1e-9 <= found.upper <= 1
    mirrored = intervals.share_interval(1 - np.array(x))
    np.testing.assert_allclose(bounds(mirrored), [1 - found.upper, 1 - found.lower], atol=1e-6)


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (5, 12), (12, 12), (3, 40), (40, 40)])
def test_a_share_without_variance_between_prompts_is_clopper_pearson(hits, n):
    found = intervals.share_interval(np.repeat([1.0, 0.0], [hits, n - hits]))
    m = hits / n
    trials = n if hits in (0, n) else (n - 1) * (norm.ppf(0.975) / student.ppf(0.975, n - 1)) ** 2
    trials = min(trials, n)
    lower = beta.ppf(0.025, trials * m, trials * (1 - m) + 1) if hits else 0
    upper = beta.ppf(0.975, trials * m + 1, trials * (1 - m)) if hits < n else 1
    assert bounds(found) == pytest.approx([lower, upper], abs=1e-6)


def test_shares_beyond_0_and_1_are_refused():
    with pytest.raises(ValueError, match="within 0 and 1"):
        intervals.share_interval([0.5, 1.2])
    assert intervals.share_interval([1 + 1e-12, 0.5]).upper == 1.0


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        intervals.mean_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="must both have shape"):
        intervals.ratio_interval([1.0, 2.0], [1.0])


def test_recomputed_values_replicate_within_the_tolerance():
    decide = intervals.same_items_claim
    assert decide(0.36, 0.361, 0.001).decision == "replicates"  # .361 - .36 is .001 and a bit in floating point
    assert decide(0.3632, 0.361, 0.001).decision == "differs"
    for missing in (None, float("nan")):
        claim = decide(missing, 0.361, 0.001)
        assert claim.decision == "not testable" and claim.reason == "not in this release"
    assert decide(0.36, 0.361, None).decision == "not testable"


@pytest.mark.parametrize(
    ("value", "se", "margin", "decision"),
    [
        (0.5, 0.01, 0.15, "replicates"),
        (0.55, 0.01, 0.15, "replicates"),
        (0.63, 0.02, 0.15, "inconclusive"),  # inside the margin, but the half-width leads out of it
        (0.7, 0.01, 0.15, "differs"),
        (0.5, 0.2, 0.15, "not testable"),  # the half-width exceeds the margin
        (0.9, 0.1, 0.15, "differs"),  # but not the difference
        (0.5, None, 0.15, "not testable"),
        (0.5, 0.01, None, "not testable"),
        (None, 0.01, 0.15, "not testable"),
    ],
)
def test_new_items_are_compared_by_half_width_and_margin(value, se, margin, decision):
    claim = intervals.new_items_claim(value, 0.5, se, 50, margin)
    assert claim.decision == decision and claim.reason
    if value == 0.5 and se == 0.2:
        assert "0.568" in claim.reason


def test_the_half_width_counts_the_papers_prompts_too():
    half = intervals.prediction_half_width(0.1, 20)
    assert half == pytest.approx(student.ppf(0.975, 19) * 0.1 * np.sqrt(1.4))
    assert intervals.prediction_half_width(0.1, 20, n_prompts_paper=20) > half
    assert np.isnan(intervals.prediction_half_width(0.1, 1))
    assert intervals.new_items_claim(0.5, 0.5, 0.0, 1, 0.1).decision == "not testable"


def test_margins_of_the_page_hold_at_no_difference():
    # |D| + h <= margin at D = 0 whenever h <= margin
    for se in (0.001, 0.02, 0.05):
        half = float(intervals.prediction_half_width(se, 50))
        assert intervals.new_items_claim(0.5, 0.5, se, 50, half).decision == "replicates"
        assert intervals.new_items_claim(0.5, 0.5, se, 50, half - 1e-6).decision == "not testable"


@pytest.mark.parametrize(
    ("lower", "upper", "decision"),
    [
        (0.01, 0.2, "replicates"), (-0.2, -0.01, "differs"), (-0.1, 0.1, "inconclusive"), (None, None, "not testable"),
        (float("nan"), 0.2, "not testable"), (1e-13, 0.2, "inconclusive"), (-0.2, -1e-13, "inconclusive"),
        (0.0, 0.0, "inconclusive"),
    ],
)  # fmt: skip
def test_directions_need_an_interval_beside_0(lower, upper, decision):
    assert intervals.direction_claim(lower, upper).decision == decision


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0.001, 0.5), st.integers(2, 200))
def test_rounding_decides_nothing(value, se, margin, n):
    for moved in (value, value + 1e-13, value - 1e-13):
        near = intervals.new_items_claim(moved, value, se, n, margin)
        same = intervals.new_items_claim(value, value, se, n, margin)
        assert near.decision == same.decision != "differs"
        assert intervals.same_items_claim(moved, value, 0.0).decision == "replicates"


def test_verdicts_decide_the_contrast_claims():
    assert intervals.contrast_claim("degrades").decision == "replicates"
    assert intervals.contrast_claim("degrades, keeps more than half").decision == "replicates"
    assert intervals.contrast_claim("holds up").decision == "differs"
    assert intervals.contrast_claim("inconclusive").decision == "inconclusive"
    claim = intervals.contrast_claim("not testable", "only 3 prompts")
    assert claim.decision == "not testable" and claim.reason == "only 3 prompts"
    with pytest.raises(ValueError, match="must be one of"):
        intervals.contrast_claim("worsens")


def test_where_an_interval_covers_too_little_a_sentence_says_that_prompts_are_few():
    found = pd.read_csv(REPOSITORY / "benchmarks" / "interval_coverage.csv")
    ours = found[~found["interval"].str.contains("for comparison")]
    assert len(ours) > 100
    low = ours[ours["coverage"] < 0.92]
    assert all(wording.few_prompts(n) for n in low["prompts"]), low

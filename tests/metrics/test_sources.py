"""Sources of similarity: golden values, the published matrix, literal loops, bad input, coverage."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import sources

ROOT = Path(__file__).resolve().parents[2]
modest = settings(deadline=None, max_examples=20, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
Y = np.zeros((5, 5))
Y[np.triu_indices(5, 1)] = 84, 77, 83, 74, 76, 79, 75, 78, 73, 79
Y += Y.T
VENDORS = list("AABBC")
SAME = sources.same_label(VENDORS)
# Of the published matrix, in its order.
PUBLISHED_VENDORS = [
    *["OpenAI"] * 3, *["Anthropic"] * 3, "DeepSeek", *["Meta"] * 3, "Google", *["Alibaba"] * 3, *["Mistral AI"] * 2,
    "Microsoft", *["Cohere"] * 2, *["Ai2"] * 2, *["Alibaba"] * 3, *["Google"] * 2,
]  # fmt: skip


@pytest.fixture(scope="module")
def published():
    table = pd.read_csv(ROOT / "data" / "reference" / "table7_11_inter_model_main.csv", index_col=0)
    return list(table.index), table.to_numpy(float)


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import sources as module

        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def design(m, columns, node_effects):
    pairs = list(combinations(range(m), 2))
    nodes = np.zeros((len(pairs), m)) if node_effects else np.ones((len(pairs), 1))
    for d, (i, j) in enumerate(pairs):
        if node_effects:
            nodes[d, [i, j]] = 1
    return pairs, np.column_stack([[[c[i, j] for c in columns] for i, j in pairs], nodes])


def literal_fit(y, columns, node_effects):
    pairs, x = design(len(y), columns, node_effects)
    values = np.array([y[i, j] for i, j in pairs])
    b = np.linalg.lstsq(x, values, rcond=None)[0]
    return pairs, x, b, values - x @ b


def study(seed, m=8):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(m, m))
    labels = np.resize(["a", "a", "b", "b", "b", "c"], m)
    return rng, y + y.T, [sources.same_label(labels), sources.distance(rng.random(m))], labels


# ------------------------------------------------------------------------------------------------------ additive model


def test_golden_additive_model():
    found = sources.additive_model(Y)
    values = [found.r2, found.effect_variance, found.residual_variance]
    assert values == pytest.approx([0.767574, 5.7, 5.466667], abs=5e-7)


def test_published_additive_model(published):
    found = sources.additive_model(published[1])
    values = [found.mean, found.r2, found.r2_noise, found.r2_adjusted, found.effect_variance, found.share]
    assert values == pytest.approx([76.076, 0.755303, 0.077160, 0.734843, 2.466639, 0.749565], abs=1e-6)


@modest
@given(seeds)
def test_effects_are_those_of_least_squares(seed):
    _, y, *_ = study(seed)
    found = sources.additive_model(y)
    pairs, _, b, rest = literal_fit(y, [], True)
    assert found.mean / 2 + found.effects == pytest.approx(b)
    assert [found.residuals[i, j] for i, j in pairs] == pytest.approx(list(rest))
    assert found.residual_variance == pytest.approx(rest @ rest / (len(pairs) - 8))


def test_variances_are_recovered_on_average(benchmark):
    found = [
        sources.additive_model(benchmark.population(rng, benchmark.VENDORS, 0, 0))
        for rng in np.random.default_rng(0).spawn(300)
    ]
    assert np.mean([f.effect_variance for f in found]) == pytest.approx(benchmark.NODE_SD**2, rel=0.06)
    assert np.mean([f.residual_variance for f in found]) == pytest.approx(benchmark.PAIR_SD**2, rel=0.02)


def test_noise_explains_its_share_and_no_more_after_adjustment():
    found = []
    for rng in np.random.default_rng(1).spawn(300):
        y = np.triu(rng.normal(size=(10, 10)), 1)
        found.append(sources.additive_model(y + y.T))
    assert np.mean([f.r2 for f in found]) == pytest.approx(found[0].r2_noise, abs=0.015)
    assert np.mean([f.r2_adjusted for f in found]) == pytest.approx(0, abs=0.015)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ones((2, 2)), "At least four models.*but 2"),
        (np.ones((5, 5)), "equally similar"),
        (np.ones((2, 5)), r"models × models is needed, but \(2, 5\)"),
        (np.arange(25.0).reshape(5, 5), "must be symmetric"),
        (np.where(np.eye(5)[::-1], np.nan, Y), "Every pair of models needs a similarity"),
    ],
)
def test_matrices_that_cannot_be_split(matrix, words):
    with pytest.raises(ValueError, match=words):
        sources.additive_model(matrix)


# --------------------------------------------------------------------------------------------------- dyadic regression


def test_golden_regressions():
    raw, nodes = (sources.dyadic_regression(Y, [SAME], node_effects=effects) for effects in (False, True))
    assert raw.coefficients == pytest.approx([4])
    assert raw.left_out.ravel() == pytest.approx([1.6, 0.8, 6, 9, 2.25])
    assert (raw.se_node[0], raw.se_dyadic[0] ** 2) == (pytest.approx(6.199226), pytest.approx(7.34375))
    assert nodes.coefficients == pytest.approx([2.25])
    assert (nodes.se_node[0], nodes.se_dyadic[0] ** 2) == (pytest.approx(8.402381), pytest.approx(1.085069, abs=5e-7))
    assert sources.group_slopes(Y, VENDORS).slopes == pytest.approx([6.75, -2.25])


def test_golden_permutations():
    raw = [sources.permutation_test(Y, [SAME], node_effects=False, sides=sides) * 120 for sides in (1, 2)]
    nodes = [sources.permutation_test(Y, [SAME], sides=sides) * 120 for sides in (1, 2)]
    assert raw == pytest.approx([16, 16])
    assert nodes == pytest.approx([24, 48])


@pytest.mark.parametrize(
    ("node_effects", "expected"),
    [(False, [2.655819, 0.713736, 0.452757, 0.838160]), (True, [2.599796, 0.912511, 0.712848, 1.205674])],
)
def test_published_regressions(published, node_effects, expected):
    y, same = published[1], sources.same_label(PUBLISHED_VENDORS)
    found = sources.dyadic_regression(y, [same], node_effects=node_effects, groups=PUBLISHED_VENDORS)
    values = [found.coefficients[0], found.se_node[0], found.se_dyadic[0], found.se_group[0]]
    assert values == pytest.approx(expected, abs=1e-6)
    p = sources.permutation_test(y, [same], node_effects=node_effects, rng=np.random.default_rng(0))
    assert p == 1 / 5001


def test_published_slopes_of_vendors(published):
    found = sources.group_slopes(published[1], PUBLISHED_VENDORS)
    slopes = dict(zip(found.groups, found.slopes, strict=True))
    assert len(slopes) == 8
    shown = [slopes[name] for name in ("Google", "Meta", "OpenAI", "Cohere")]
    assert shown == pytest.approx([6.913, 5.803, 3.123, -0.219], abs=5e-4)
    assert (found.mean, found.se) == (pytest.approx(2.741037, abs=1e-6), pytest.approx(0.862314, abs=1e-6))
    assert [found.lower, found.upper, found.p] == pytest.approx([0.70, 4.78, 0.0155], abs=5e-3)


def test_published_base(published):
    names, y = published
    bases = [name if ("Llama-3" in name and "70B" in name) or "Tulu" in name else "" for name in names]
    bases = ["Llama-3.1-70B" if base else "" for base in bases]
    base = sources.same_label(bases, unknown=0)
    columns = [sources.same_label(PUBLISHED_VENDORS), base]
    assert np.triu(base, 1).sum() == 3
    found = sources.dyadic_regression(y, columns)
    assert found.coefficients == pytest.approx([2.561422, 1.064326], abs=1e-6)
    p = sources.permutation_test(y, columns, 1, rng=np.random.default_rng(0))
    assert 0.07 < p < 0.11


@modest
@given(seeds, st.booleans())
def test_regression_matches_least_squares_with_dummies(seed, node_effects):
    _, y, columns, _ = study(seed)
    found = sources.dyadic_regression(y, columns, node_effects=node_effects)
    pairs, x, b, rest = literal_fit(y, columns, node_effects)
    bread = np.linalg.pinv(x.T @ x)
    meat = np.zeros_like(bread)
    for d, pair in enumerate(pairs):
        for e, other in enumerate(pairs):
            if set(pair) & set(other):
                meat += np.outer(x[d], x[e]) * rest[d] * rest[e]
    variance = np.diag(bread @ meat @ bread)[:2]
    assert found.coefficients == pytest.approx(b[:2])
    assert found.se_dyadic**2 == pytest.approx(np.maximum(variance, 0), abs=1e-12)
    s2 = rest @ rest / (len(pairs) - x.shape[1])
    assert found.t == pytest.approx(b[:2] / np.sqrt(np.diag(bread)[:2] * s2))
    keep = [1, 2, 3, 4, 5, 6, 7]
    small = [c[np.ix_(keep, keep)] for c in columns]
    assert found.left_out[0] == pytest.approx(literal_fit(y[np.ix_(keep, keep)], small, node_effects)[2][:2])


@modest
@given(seeds)
def test_order_of_models_and_their_effects_do_not_matter(seed):
    rng, y, columns, labels = study(seed)
    order, shift = rng.permutation(8), 5 * rng.normal(size=8)
    at = np.ix_(order, order)
    first = sources.dyadic_regression(y, columns, groups=labels)
    again = sources.dyadic_regression((y + shift + shift[:, None])[at], [c[at] for c in columns], groups=labels[order])
    for name in ("coefficients", "se_dyadic", "se_node", "se_group"):
        assert getattr(again, name) == pytest.approx(getattr(first, name), nan_ok=True)


@modest
@given(seeds, st.sampled_from([1, 2]))
def test_permutations_match_the_loop_over_all(seed, sides):
    from itertools import permutations

    _, y, columns, _ = study(seed, m=5)
    pairs, x = design(5, columns, True)
    values = np.array([y[i, j] for i, j in pairs])
    others = x[:, 1:]
    rest = x[:, 0] - others @ np.linalg.lstsq(others, x[:, 0], rcond=None)[0]
    matrix = np.zeros((5, 5))
    for (i, j), r in zip(pairs, rest, strict=True):
        matrix[i, j] = matrix[j, i] = r

    def statistic(column):  # t rises with the correlation, both partial
        left, right = (v - others @ np.linalg.lstsq(others, v, rcond=None)[0] for v in (column, values))
        r = left @ right / np.sqrt(left @ left * (right @ right)) if left @ left > 1e-12 else 0.0
        return r if sides == 1 else abs(r)

    observed = statistic(x[:, 0])
    drawn = [statistic(np.array([matrix[o[i], o[j]] for i, j in pairs])) for o in permutations(range(5))]
    slow = np.mean(np.array(drawn) >= observed - 1e-9)
    assert sources.permutation_test(y, columns, sides=sides) == pytest.approx(slow)


def test_unknown_values_leave_models_out_and_say_which():
    vendors = [*VENDORS, None]
    y = np.pad(Y, (0, 1), constant_values=70.0)
    found = sources.dyadic_regression(y, [sources.same_label(vendors)])
    assert found.used.tolist() == [0, 1, 2, 3, 4]
    assert found.coefficients == pytest.approx([2.25])
    assert sources.group_slopes(y, vendors).slopes == pytest.approx([6.75, -2.25])
    assert sources.same_label(["a", "a", float("nan")], unknown=0).sum() == 4


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([sources.same_label(["A"] * 5)], "says nothing beyond the models' effects"),
        ([sources.same_label(list("abcde"))], "says nothing beyond"),
        ([SAME, SAME], "Column 1 says nothing beyond"),
        ([sources.same_label([None] * 5)], "0 of 5 models have all values known"),
        ([sources.distance([np.nan] * 5)], "of 5 models have all values known"),
        ([], "At least one column"),
    ],
)
def test_columns_without_information_are_refused(columns, words):
    for work in (sources.dyadic_regression, sources.permutation_test):
        with pytest.raises(ValueError, match=words):
            work(Y, columns)


def test_two_models_one_vendor_and_unknown_vendors_are_refused():
    with pytest.raises(ValueError, match="2 of 2 models"):
        sources.dyadic_regression(Y[:2, :2], [SAME[:2, :2]])
    with pytest.raises(ValueError, match="1 groups, of which 1 have two models"):
        sources.group_slopes(Y, ["A"] * 5)
    with pytest.raises(ValueError, match="5 groups, of which 0"):
        sources.group_slopes(Y, list("abcde"))
    with pytest.raises(ValueError, match="0 of 5 models have all values known"):
        sources.group_slopes(Y, [""] * 5)
    with pytest.raises(ValueError, match="too few for"):
        sources.dyadic_regression(Y[:4, :4], [SAME[:4, :4], sources.distance([0, 5, 1, 9])])
    with pytest.raises(ValueError, match="pass `rng`"):
        sources.permutation_test(study(0)[1], study(0)[2])
    with pytest.raises(ValueError, match="`sides` must be 1 or 2"):
        sources.permutation_test(Y, [SAME], sides=3)


def test_few_groups_have_a_mean_without_an_interval():
    found = sources.group_slopes(Y, VENDORS)
    assert found.mean == pytest.approx(2.25)
    assert np.isnan([found.se, found.lower, found.upper, found.p]).all()


# ----------------------------------------------------------------------------------------------------- time and lineage


@modest
@given(seeds)
def test_slope_is_that_of_least_squares_with_vendor_dummies(seed):
    rng = np.random.default_rng(seed)
    vendors = np.repeat(np.arange(6), [3, 2, 4, 2, 2, 1])
    years, values = rng.random((2, 14))

    def slow(rows):
        x = np.column_stack([years[rows], vendors[rows][:, None] == np.arange(6)])
        return np.linalg.lstsq(x, values[rows], rcond=None)[0][0]

    found = sources.time_slope(values, years, vendors)
    left = np.array([slow(vendors != v) for v in range(5)])
    assert found.groups.tolist() == ["0", "1", "2", "3", "4"]
    assert found.mean == pytest.approx(slow(vendors >= 0))
    assert found.slopes == pytest.approx(left)
    assert found.se == pytest.approx(np.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum()))
    later = sources.time_slope(values, years + 2000, vendors)
    assert (later.mean, later.lower) == (pytest.approx(found.mean), pytest.approx(found.lower))


def test_missing_dates_and_single_vendors():
    with pytest.raises(ValueError, match="0 models have a known value, date and group"):
        sources.time_slope([1.0, 2.0], [np.nan, np.nan], ["a", "a"])
    with pytest.raises(ValueError, match="no group has models of different dates"):
        sources.time_slope([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], ["a", "a", "b"])
    one = sources.time_slope([1.0, 2.0, 9.0], [0.0, 1.0, np.nan], ["a", "a", "a"])
    assert one.mean == 1 and np.isnan(one.slopes).all() and np.isnan(one.lower)


def test_two_by_two_gives_the_effects_planted():
    template, weights, both = sources.two_by_two([[[1.0, 1.5], [4.0, 6.5]]])
    assert (template[0], weights[0], both[0]) == (2.5, 3, 2)
    with pytest.raises(ValueError, match=r"\(\.\.\., 2, 2\)"):
        sources.two_by_two([1, 2, 3, 4])


# ------------------------------------------------------------------------------------------------- the benchmark, small


def test_intervals_cover_and_tests_hold_their_level(benchmark):
    rates = benchmark.worlds(100, seed=1)
    for words, rate in rates.items():
        assert rate >= 0.9 if words.startswith("coverage") else rate <= 0.11, words


def test_the_benchmarks_loops_agree(benchmark):
    rng = np.random.default_rng(0)
    y, columns = study(3, m=8)[1:3]
    slow = benchmark.literal_permutations(y, columns, np.random.default_rng(0), 400)
    assert sources.permutation_test(y, columns, rng=rng, n_permutations=400) == pytest.approx(slow, abs=0.1)

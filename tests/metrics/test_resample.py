"""The bootstrap over prompts: weights, weighted means and ratios, intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import resample

modest = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def repeated(values, weights):
    """The resample that a row of weights stands for: every row as often as it was drawn."""
    return np.repeat(values, weights.astype(int), axis=0)


def with_gaps(rng, shape, share=0.3):
    values = rng.normal(size=shape)
    return np.where(rng.random(shape) < share, np.nan, values)


# ---------------------------------------------------------------------------------------------------------- weights


@modest
@given(seeds, st.integers(1, 12), st.integers(1, 40))
def test_every_resample_draws_as_many_units_as_there_are(seed, n_units, n_boot):
    weights = resample.bootstrap_weights(n_units, n_boot, np.random.default_rng(seed))
    assert weights.shape == (n_boot, n_units)
    assert np.all(weights.sum(1) == n_units)
    assert np.all((weights >= 0) & (weights % 1 == 0))


def test_weights_come_back_from_an_equal_generator_and_differ_from_another():
    first, again, other = (resample.bootstrap_weights(9, 20, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_units_are_drawn_with_replacement_and_equal_chances():
    weights = resample.bootstrap_weights(5, 40_000, np.random.default_rng(0))
    assert weights.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    assert np.mean(weights[:, 0] == 0) == pytest.approx((4 / 5) ** 5, abs=0.01)


@pytest.mark.parametrize("n_units", [0, -2])
def test_no_unit_is_refused(n_units):
    with pytest.raises(ValueError, match=f"at least one unit to resample, but n_units = {n_units} was passed"):
        resample.bootstrap_weights(n_units, 10, np.random.default_rng(0))


def test_no_resample_is_refused():
    with pytest.raises(ValueError, match="at least one resample, but n_boot = 0 was passed"):
        resample.bootstrap_weights(3, 0, np.random.default_rng(0))


# -------------------------------------------------------------------------------------------------- means and ratios


def test_equal_weights_give_the_plain_mean():
    assert resample.weighted_means([1.0, 2.0, 6.0], np.ones((1, 3))).tolist() == [3.0]


@modest
@given(seeds, st.integers(1, 8))
def test_weighted_means_match_repeating_the_rows(seed, n_units):
    rng = np.random.default_rng(seed)
    values, weights = with_gaps(rng, (n_units, 2, 3)), resample.bootstrap_weights(n_units, 6, rng)
    means = resample.weighted_means(values, weights)
    assert means.shape == (6, 2, 3)
    for b, i, j in np.ndindex(means.shape):
        drawn = repeated(values, weights[b])[:, i, j]
        drawn = drawn[~np.isnan(drawn)]
        slow = drawn.mean() if len(drawn) else np.nan
        assert means[b, i, j] == pytest.approx(slow, nan_ok=True)


@modest
@given(seeds, st.integers(1, 8))
def test_weighted_ratios_match_repeating_the_rows(seed, n_units):
    rng = np.random.default_rng(seed)
    totals, pairs = rng.normal(size=(n_units, 4)), rng.integers(0, 3, size=(n_units, 4))
    weights = resample.bootstrap_weights(n_units, 6, rng)
    ratios = resample.weighted_ratios(totals, pairs, weights)
    for b, j in np.ndindex(ratios.shape):
        above, below = repeated(totals, weights[b])[:, j].sum(), repeated(pairs, weights[b])[:, j].sum()
        assert ratios[b, j] == pytest.approx(above / below if below else np.nan, nan_ok=True)


def test_a_resample_without_a_value_has_no_mean():
    means = resample.weighted_means([np.nan, 5.0], np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
    assert np.isnan(means[0])
    assert means[1:].tolist() == [5.0, 5.0]


def test_missing_values_are_not_zeros_and_stay_in_the_input():
    values = np.array([np.nan, 4.0, 8.0])
    assert resample.weighted_means(values, np.ones((1, 3))).tolist() == [6.0]
    assert np.isnan(values[0])


def test_shared_weights_keep_comparisons_paired():
    rng = np.random.default_rng(1)
    values = rng.normal(size=30)
    weights = resample.bootstrap_weights(30, 50, rng)
    both = resample.weighted_means(np.column_stack([values, values + 0.25]), weights)
    assert both[:, 1] - both[:, 0] == pytest.approx(np.full(50, 0.25))


# ---------------------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_is_the_percentiles_of_the_draws(level):
    draws = np.random.default_rng(2).normal(size=(501, 3))
    lower, upper = resample.interval(draws, level)
    assert lower == pytest.approx(np.percentile(draws, 50 * (1 - level), axis=0))
    assert upper == pytest.approx(np.percentile(draws, 50 * (1 + level), axis=0))


def test_interval_leaves_missing_draws_out_along_any_axis():
    draws = np.random.default_rng(3).normal(size=(2, 100))
    gaps = np.concatenate([draws, np.full((2, 7), np.nan)], axis=1)
    assert np.array_equal(resample.interval(gaps, axis=1), resample.interval(draws, axis=1))
    assert np.isnan(resample.interval(np.full((5, 2), np.nan))).all()


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ValueError, match=f"must lie strictly between 0 and 1, but {level} was passed"):
        resample.interval(np.ones(5), level)


def test_intervals_of_a_normal_mean_cover_it_about_as_often_as_they_say():
    rng = np.random.default_rng(4)
    samples = rng.normal(loc=3, size=(60, 1_000))  # 1,000 studies of 60 units
    mean, lower, upper = resample.mean_interval(samples, resample.bootstrap_weights(60, 1_000, rng))
    assert mean == pytest.approx(samples.mean(0))
    assert np.mean((lower <= 3) & (3 <= upper)) == pytest.approx(0.95, abs=0.025)
    assert np.mean(upper - lower) == pytest.approx(2 * 1.96 / np.sqrt(60), rel=0.05)


def test_mean_interval_leaves_missing_values_out():
    rng = np.random.default_rng(5)
    values = with_gaps(rng, (40, 2, 2))
    mean, lower, upper = resample.mean_interval(values, resample.bootstrap_weights(40, 400, rng), level=0.8)
    assert mean == pytest.approx(np.nanmean(values, axis=0))
    assert np.all((lower < mean) & (mean < upper))


@pytest.mark.parametrize("values", [[2.5], [2.5, np.nan, np.nan]])
def test_one_unit_has_a_mean_but_no_interval(values):
    weights = resample.bootstrap_weights(len(values), 50, np.random.default_rng(6))
    mean, lower, upper = resample.mean_interval(values, weights)
    assert mean == 2.5
    assert np.isnan(lower)
    assert np.isnan(upper)


def test_units_without_any_value_have_neither_mean_nor_interval():
    weights = resample.bootstrap_weights(3, 50, np.random.default_rng(7))
    assert np.isnan(resample.mean_interval(np.full((3, 2), np.nan), weights)).all()


def test_intervals_do_not_depend_on_the_order_of_units_with_their_weights():
    rng = np.random.default_rng(8)
    values, weights, order = rng.normal(size=20), resample.bootstrap_weights(20, 100, rng), rng.permutation(20)
    first = np.array(resample.mean_interval(values, weights))
    assert np.array(resample.mean_interval(values[order], weights[:, order])) == pytest.approx(first)


def test_mean_of_known_leaves_missing_values_out_and_is_silent_where_nothing_is_known():
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(resample.mean_of_known(values, axis=1), [2, np.nan])
    np.testing.assert_array_equal(resample.mean_of_known(values), [1, np.nan, 3])

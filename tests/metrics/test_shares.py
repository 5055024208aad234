"""Wilson intervals and shares of stratified samples, against formulas and literal resampling."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from hivemind_utils.metrics import shares


class TestWilson:
    def test_is_the_textbook_formula(self):
        z, p, n = norm.ppf(0.975), 3 / 20, 20
        centre, half = (p + z**2 / 2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
        expected = np.array([centre - half, centre + half]) / (1 + z**2 / n)
        assert np.array(shares.wilson(3, 20)) == pytest.approx(expected)

    def test_arrays_match_one_at_a_time(self):
        counts = np.arange(0, 11)
        lower, upper = shares.wilson(counts, 10)
        for n, low, high in zip(counts, lower, upper, strict=True):
            bound = binomtest(int(n), 10).proportion_ci(method="wilson")
            assert (low, high) == pytest.approx((bound.low, bound.high))

    def test_nothing_is_known_of_nothing_and_impossible_counts_are_refused(self):
        assert np.isnan(shares.wilson(0, 0)).all()
        with pytest.raises(ValueError, match="between 0 and the number of items"):
            shares.wilson(3, 2)


class TestWeightedShare:
    def test_equal_weights_give_the_wilson_interval(self):
        values = np.repeat([1.0, 0.0], [7, 13])
        found = shares.weighted_share(values, np.full(20, 2.5))
        assert (found.lower, found.upper) == pytest.approx(tuple(map(float, shares.wilson(7, 20))))
        assert found.estimate == pytest.approx(0.35) and found.n_prompts == 20

    def test_missing_values_and_the_unit_of_weights_change_nothing(self):
        values, weights = np.array([1, 0, 1, 0, 1.0]), np.array([3, 1, 1, 2, 2.0])
        one = shares.weighted_share(values, weights)
        other = shares.weighted_share([*values, np.nan], [*(10 * weights), 99])
        assert (one.estimate, one.lower, one.upper) == pytest.approx((other.estimate, other.lower, other.upper))
        assert one.estimate == pytest.approx(6 / 9)

    def test_unequal_weights_widen_the_interval(self):
        values = np.tile([1.0, 0.0], 20)
        width = {}
        for name, weights in (("equal", np.ones(40)), ("unequal", np.repeat([1.0, 9.0], 20))):
            found = shares.weighted_share(values, weights)
            width[name] = found.upper - found.lower
        assert width["unequal"] > 1.2 * width["equal"]

    def test_a_share_of_one_is_exact_and_has_an_interval(self):
        found = shares.weighted_share(np.ones(75), np.full(75, 4.84))
        assert found.estimate == 1 and found.upper == 1 and found.lower == pytest.approx(shares.wilson(75, 75)[0])

    def test_one_item_or_none(self):
        assert np.isnan(shares.weighted_share([], []).estimate)
        assert shares.weighted_share([1.0], [2.0]).lower == pytest.approx(shares.wilson(1, 1)[0])
        assert np.isnan(shares.weighted_share([0.5], [2.0]).lower)

    @pytest.mark.parametrize(("values", "weights"), [([2.0], [1.0]), ([1.0], [0.0]), ([1.0, 0.0], [1.0])])
    def test_what_is_no_share_is_refused(self, values, weights):
        with pytest.raises(ValueError, match="must"):
            shares.weighted_share(values, weights)

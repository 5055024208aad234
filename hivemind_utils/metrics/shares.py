"""Shares of independent items, such as queries, with intervals that hold near 0 and 1 too."""

import numpy as np

from hivemind_utils.metrics.intervals import LEVEL, Interval, jackknife_interval, left_out_weights


def wilson(count, n_items, level=LEVEL):
    """Wilson interval of a share of independent items.

    Parameters
    ----------
    count, n_items : float or ndarray of float
        Items that have the property, and all; an effective number of items need not be whole.
    level : float
        Coverage, 0 to 1.

    Returns
    -------
    lower, upper : ndarray of float
        NaN where there are no items.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference.

    Examples
    --------
    >>> lower, upper = wilson(3, 20)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.0524, 0.3604)
    """
    from statsmodels.stats.proportion import proportion_confint

    count, n_items = np.broadcast_arrays(np.asarray(count, float), np.asarray(n_items, float))
    if (count < 0).any() or (count > n_items).any():
        raise ValueError(f"Counts must lie between 0 and the number of items, but {count} of {n_items} were passed.")
    known = n_items > 0
    bounds = np.full((2, *count.shape), np.nan)
    bounds[:, known] = proportion_confint(count[known], n_items[known], alpha=1 - level, method="wilson")
    return bounds[0], bounds[1]


def weighted_share(values, weights, level=LEVEL):
    """Weighted share of a stratified sample, with the Wilson interval at its effective number of items.

    Parameters
    ----------
    values : ndarray of float, shape (n_items,)
        0 to 1; NaN is left out.
    weights : ndarray of float, shape (n_items,)
        Items of the whole set that each stands for.
    level : float

    Returns
    -------
    Interval
        `n_prompts` is the number of items. Bounds are NaN where there is no item, or one that is neither 0 nor 1.

    Notes
    -----
    The effective number is that of independent items with the same jackknife variance (Korn and Graubard 1998), at most
    the number of items; where the variance is 0, it is Kish's, the squared sum of weights over their sum of squares.
    With equal weights and values of 0 and 1 it is the number of items.

    Examples
    --------
    >>> found = weighted_share([1, 0, 1, 1], [3, 1, 1, 1])
    >>> round(float(found.estimate), 4), bool(found.lower < found.estimate < found.upper)
    (0.8333, True)
    """
    values, weights = np.asarray(values, float), np.asarray(weights, float)
    if values.shape != weights.shape or values.ndim != 1:
        raise ValueError(f"Values and weights must have one shape (n_items,), not {values.shape} and {weights.shape}.")
    there = ~np.isnan(values)
    values, weights, n = values[there], weights[there], int(there.sum())
    if n and (values.min() < 0 or values.max() > 1 or weights.min() <= 0):
        raise ValueError("Values must lie within 0 and 1, and weights above 0.")
    if not n:
        return Interval(np.nan, np.nan, np.nan, np.nan, 0)
    share = min(1.0, (values * weights).sum() / weights.sum())
    se, n_effective = np.nan, weights.sum() ** 2 / (weights @ weights)
    if n > 1:
        left_out = left_out_weights(np.arange(n)) * weights
        se = jackknife_interval((left_out * values).sum(1) / left_out.sum(1)).se
        if se > 0:
            n_effective = min(n, share * (1 - share) / se**2 * n / (n - 1))
    elif 0 < share < 1:
        return Interval(share, np.nan, np.nan, np.nan, 1)
    lower, upper = wilson(share * n_effective, n_effective, level)
    return Interval(share, float(lower), float(upper), se, n)

"""Bootstrap over the top unit, the prompt, and agreement of ranks. Randomness arrives as a generator."""

import numpy as np


def bootstrap_weights(n_units, n_boot, rng):
    """How often each unit is drawn in every bootstrap resample.

    Parameters
    ----------
    n_units : int
        Units resampled with replacement, for example prompts.
    n_boot : int
        Resamples.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_boot, n_units)
        Rows sum to n_units. One such array serves all models, which keeps comparisons paired.

    Examples
    --------
    >>> bootstrap_weights(4, 2, np.random.default_rng(0)).sum(1)
    array([4., 4.])
    """
    if n_units < 1:
        raise ValueError(f"There must be at least one unit to resample, but n_units = {n_units} was passed.")
    if n_boot < 1:
        raise ValueError(f"There must be at least one resample, but n_boot = {n_boot} was passed.")
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_boot).astype(float)


def weighted_means(values, weights):
    """Mean over units in every resample; missing values carry no weight.

    Parameters
    ----------
    values : ndarray of float, shape (n_units, ...)
        NaN where a unit has no value.
    weights : ndarray of float, shape (n_boot, n_units)

    Returns
    -------
    ndarray of float, shape (n_boot, ...)
        NaN where a resample holds no value.

    Examples
    --------
    >>> weighted_means(np.array([1.0, 3.0, np.nan]), np.array([[1.0, 1, 1], [2, 0, 1]]))
    array([2., 1.])
    """
    values = np.asarray(values, float)
    present = ~np.isnan(values)
    return weighted_ratios(np.where(present, values, 0), present, weights)


def weighted_ratios(numerators, denominators, weights):
    """Sum of numerators over sum of denominators in every resample: the pooled mean.

    Parameters
    ----------
    numerators, denominators : ndarray of float, shape (n_units, ...)
    weights : ndarray of float, shape (n_boot, n_units)

    Returns
    -------
    ndarray of float, shape (n_boot, ...)

    Examples
    --------
    >>> weighted_ratios(np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.array([[1.0, 1], [2, 0]])).round(3)
    array([0.667, 0.5  ])
    """
    numerators, denominators = np.asarray(numerators, float), np.asarray(denominators, float)
    above = np.tensordot(weights, numerators, axes=1)
    below = np.tensordot(weights, denominators, axes=1)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def interval(draws, level=0.95, axis=0):
    """Percentile interval of bootstrap draws, NaN draws left out.

    With a single unit every draw is the same and says nothing about others: pass the draws of at least two units, or
    expect NaN.

    Parameters
    ----------
    draws : ndarray of float, shape (n_boot, ...)
    level : float
        Coverage, 0 to 1.
    axis : int

    Returns
    -------
    lower, upper : ndarray of float

    Examples
    --------
    >>> lower, upper = interval(np.arange(101.0))
    >>> round(float(lower), 2), round(float(upper), 2)
    (2.5, 97.5)
    """
    import warnings

    if not 0 < level < 1:
        raise ValueError(f"`level` must lie strictly between 0 and 1, but {level} was passed.")
    draws = np.asarray(draws, float)
    tail = (1 - level) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        lower, upper = np.nanquantile(draws, [tail, 1 - tail], axis=axis)
    return lower, upper


def mean_of_known(values, axis=0):
    """Mean along an axis, missing values left out; NaN where nothing is known, without NumPy's warning.

    Parameters
    ----------
    values : array_like of float
    axis : int

    Returns
    -------
    ndarray of float

    Examples
    --------
    >>> mean_of_known(np.array([[1.0, np.nan], [3.0, np.nan]]))
    array([ 2., nan])
    """
    values = np.asarray(values, float)
    n, total = (~np.isnan(values)).sum(axis), np.nansum(values, axis)
    return np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0)


def mean_interval(values, weights, level=0.95):
    """Mean over units with its bootstrap interval.

    Parameters
    ----------
    values : ndarray of float, shape (n_units, ...)
        NaN where a unit has no value.
    weights : ndarray of float, shape (n_boot, n_units)

    Returns
    -------
    mean, lower, upper : ndarray of float, shape (...)
        The interval is NaN where fewer than two units have a value.

    Examples
    --------
    >>> weights = bootstrap_weights(3, 200, np.random.default_rng(0))
    >>> [round(float(v), 2) for v in mean_interval(np.array([1.0, 2.0, 3.0]), weights)]
    [2.0, 1.0, 3.0]
    """
    values = np.asarray(values, float)
    n, mean = (~np.isnan(values)).sum(0), mean_of_known(values)
    lower, upper = interval(weighted_means(values, weights), level)
    return mean, np.where(n > 1, lower, np.nan), np.where(n > 1, upper, np.nan)


def rank_agreement(a, b):
    """Spearman correlation over arms where both are known; NaN for fewer than three.

    Examples
    --------
    >>> import pandas as pd
    >>> round(float(rank_agreement(pd.Series([1.0, 2, 3]), pd.Series([2.0, 4, 9]))), 3)
    1.0
    """
    from scipy.stats import spearmanr

    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < 3 or a[known].nunique() < 2 or b[known].nunique() < 2:
        return float("nan")
    return float(spearmanr(a[known], b[known]).statistic)

"""The most contested items, and how to compare them with the others at equal human means.

Contested items have middling human means. Normal scores, the chance of being contested given the mean, and the scores
less their prompt effects are what `verdict` compares scorers on.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

SHARES = (0.2, 0.5)  # a set that holds less or more of the items bears no verdict
_RIDGE = 1e-3
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ContestedSet:
    """The items on which people disagree most.

    Attributes
    ----------
    mask : ndarray of bool, shape (n_items,)
    threshold : float
        Smallest disagreement in the set; infinite for an empty set.
    share : float
        Share of the items, 0 to 1.
    reason : str
        Why no verdict can rest on this set; empty if one can.
    """

    mask: np.ndarray
    threshold: float
    share: float
    reason: str

    @property
    def name(self):
        """Name with the share, for titles: ``most contested 27 %``."""
        return f"most contested {100 * self.share:.0f} %"


def contested_set(disagreement):
    """Items at or above the value of the disagreement whose share is nearest to a third.

    Of two shares that are equally near, the smaller. With few annotators a disagreement takes few values, and the
    share may be far from a third: the set then bears no verdict.

    Parameters
    ----------
    disagreement : ndarray of float, shape (n_items,)
        Entropy of the labels, say. Values that differ by less than 1e-12 are the same.

    Returns
    -------
    ContestedSet

    Examples
    --------
    >>> found = contested_set([0, 0, 1, 1, 1, 2, 2, 2])
    >>> found.mask.sum(), found.name, found.reason
    (np.int64(3), 'most contested 38 %', '')
    """
    values = np.round(np.asarray(disagreement, float), 12)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(
            "`disagreement` must have shape (n_items,) without NaN, but "
            f"{values.shape} with {np.isnan(values).sum()} NaN was passed: leave out items without labels."
        )
    n = len(values)
    found, counts = np.unique(values, return_counts=True)
    if len(found) < 2:
        return ContestedSet(np.zeros(n, bool), np.inf, 0.0, "people disagree equally on all items")
    at_or_above = np.cumsum(counts[::-1])[:-1]  # by falling value, so that the smaller of two sets comes first
    best = np.argmin(np.abs(3 * at_or_above - n))
    mask, share = values >= found[::-1][best], at_or_above[best] / n
    reason = ""
    if not SHARES[0] <= share <= SHARES[1]:
        low, high = (100 * bound for bound in SHARES)
        reason = f"the most contested set holds {100 * share:.0f} % of the items, not {low:.0f} to {high:.0f} %"
    return ContestedSet(mask, float(found[::-1][best]), float(share), reason)


def normal_scores(values):
    """Replace values by the normal quantiles of their mid-ranks (Blom), row by row; NaN stays.

    Any increasing transformation of the values leaves their normal scores unchanged.

    Parameters
    ----------
    values : ndarray of float, shape (..., n_items)

    Returns
    -------
    ndarray of float, shape (..., n_items)

    References
    ----------
    Blom (1958), Statistical Estimates and Transformed Beta-Variables.

    Examples
    --------
    >>> normal_scores([10.0, 30.0, 20.0]).round(3)
    array([-0.869,  0.869,  0.   ])
    """
    from scipy.stats import rankdata

    values = np.asarray(values, float)
    if values.shape[-1] == 0:
        return values
    n = (~np.isnan(values)).sum(-1, keepdims=True)
    return ndtri((rankdata(values, axis=-1, nan_policy="omit") - 0.375) / (n + 0.25))


def odd_normal_scores(values):
    """Normal scores that change sign with the value, for differences whose sign is arbitrary; NaN stays.

    The ranks are those among the values and their negatives, so that it does not matter which response of a pair is
    the first.

    Parameters
    ----------
    values : ndarray of float, shape (..., n_items)

    Returns
    -------
    ndarray of float, shape (..., n_items)

    Examples
    --------
    >>> odd_normal_scores([2.0, -1.0, 0.0, 1.0]).round(4)
    array([ 1.4342, -0.6508,  0.    ,  0.6508])
    """
    values = np.asarray(values, float)
    both = normal_scores(np.concatenate([values, -values], axis=-1))
    first, second = np.split(both, 2, axis=-1)
    return (first - second) / 2


def spline_basis(x):
    """Natural cubic spline of a variable, without the constant; columns standardised.

    Parameters
    ----------
    x : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float, shape (n, n_columns)
        Six knots at the quantiles .02 to .98; equal ones count once. A straight line where fewer than three differ.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 5.2.1.

    Examples
    --------
    >>> spline_basis(np.arange(100.0)).shape
    (100, 5)
    """
    x = np.asarray(x, float)
    knots = np.unique(np.quantile(x, np.linspace(0.02, 0.98, 6)))
    columns = [x]
    if len(knots) > 2:
        cubes = np.maximum(x - knots[:, None], 0) ** 3
        ratios = (cubes[:-1] - cubes[-1]) / (knots[-1] - knots[:-1])[:, None]
        columns += list(ratios[:-1] - ratios[-1])
    columns = np.stack(columns, axis=1)
    spread = columns.std(0)
    return (columns - columns.mean(0)) / np.where(spread > 0, spread, 1)


def chance_contested(z, contested, *, basis=None):
    """Chance of being contested given the human mean.

    Logistic regression on the spline of the mean, with a slight ridge on all but the constant.

    Parameters
    ----------
    z : ndarray of float, shape (n,)
        Normal scores of the human mean (of its size, for pairs).
    contested : ndarray of bool, shape (n,)
        Neither all nor none.
    basis : ndarray of float, shape (n, n_columns), optional
        `spline_basis` of z, where known.

    Returns
    -------
    ndarray of float, shape (n,)

    Examples
    --------
    >>> z = np.array([-1.0, -1.0, 1.0, 1.0])
    >>> chance_contested(z, np.array([True, False, True, False])).round(6)
    array([0.5, 0.5, 0.5, 0.5])
    """
    contested = np.asarray(contested, bool)
    share = contested.mean()
    if not 0 < share < 1:
        raise ValueError(f"Some items must be contested and some not, but the share is {share:g}.")
    basis = spline_basis(z) if basis is None else basis
    x = np.column_stack([np.ones(len(basis)), basis])
    penalty = np.full(x.shape[1], _RIDGE)
    penalty[0] = 0
    start = np.zeros(x.shape[1])
    start[0] = np.log(share / (1 - share))

    def loss(b, linear):
        return np.logaddexp(0, linear).sum() - linear[contested].sum() + (penalty * b * b).sum() / 2

    b, linear = start, x @ start
    for _ in range(100):  # Newton's steps, halved where they overshoot
        p = expit(linear)
        slope = x.T @ (contested - p) - penalty * b
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(penalty + 1e-9), slope)
        now, change = loss(b, linear), x @ step
        while loss(b + step, linear + change) > now + _ROUNDING * max(1, abs(now)) and np.abs(step).max() > 1e-9:
            step, change = step / 2, change / 2
        b, linear = b + step, linear + change
        if np.abs(step).max() < 1e-9:
            break
    return expit(linear)


def subtract_prompt_effects(y, z, prompts, *, basis=None):
    """Subtract from every score the shrunken mean residual of its prompt.

    Residuals are those of least squares on the spline of the human mean; the shrinkage follows from the variances
    between and within prompts by the moments of a one-way layout.

    Parameters
    ----------
    y : ndarray of float, shape (n, n_scorers)
    z : ndarray of float, shape (n,)
    prompts : ndarray of int, shape (n,)
        0 to n_prompts - 1, none empty.
    basis : ndarray of float, shape (n, n_columns), optional
        `spline_basis` of z, where known.

    Returns
    -------
    ndarray of float, shape (n, n_scorers)
        Unchanged where every item has a prompt of its own, or all have the same.

    References
    ----------
    Searle, Casella and McCulloch (1992), Variance Components, section 3.6.

    Examples
    --------
    >>> y = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    >>> subtract_prompt_effects(y, np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1])).round(6).ravel()
    array([0., 0., 0., 0.])
    """
    size = np.bincount(prompts)
    n, k = len(z), len(size)
    if k in (1, n):
        return y
    basis = spline_basis(z) if basis is None else basis
    x = np.column_stack([np.ones(n), basis])
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    order = np.argsort(prompts, kind="stable")
    sums = np.add.reduceat(residual[order], np.cumsum(size) - size, axis=0)
    effects = sums / size[:, None]
    between = (size[:, None] * effects**2).sum(0)
    within = ((residual**2).sum(0) - between).clip(min=0) / (n - k)
    variance = np.maximum(0, (between / (k - 1) - within) * (k - 1) / (n - (size**2).sum() / n))
    total = variance + within / size[:, None]
    shrinkage = np.divide(variance, total, out=np.zeros_like(total), where=total > 0)
    return y - (shrinkage * effects)[prompts]


def effective_size(weights):
    """Number of equally weighted items that say as much: (sum of w) squared over the sum of w squared; 0 for none.

    Examples
    --------
    >>> effective_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = (weights**2).sum()
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0

"""Intervals over prompts, and what they say of a published value.

The prompt is the unit. Intervals are jackknife intervals with Student's t at any number of prompts: a percentile
bootstrap over few prompts is far too narrow. Coverage by number of prompts: ``benchmarks/interval_coverage.csv``. Over
few prompts their distribution still matters: `tables.wording.few_prompts` says so below figures and beside claims.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
PAPER_PROMPTS = 50  # prompts with human annotations in arXiv 2510.22954
REPLICATES, DIFFERS = "replicates", "differs"
INCONCLUSIVE, NOT_TESTABLE = "inconclusive", "not testable"
_ROUNDING = 1e-9  # no difference, bound or margin is decided by less


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval over prompts; each of the shape of the estimate.

    Attributes
    ----------
    estimate, lower, upper : ndarray of float or float
        Bounds are NaN where there is no interval.
    se : ndarray of float or float
        Standard error on the scale of the estimate; NaN where there is none.
    n_prompts : ndarray of int or int
        Prompts that have a value.
    """

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    se: np.ndarray
    n_prompts: np.ndarray

    @property
    def reason(self):
        """Why there is no interval; empty where there is one."""
        few = np.asarray(self.n_prompts) < 2
        words = np.where(few, "an interval needs at least two prompts", "")
        return np.where(~few & np.isnan(self.lower), "there is no estimate without each of the prompts", words)[()]

    def within(self, low, high):
        """Cut the bounds to the range of what is estimated; coverage stays as it is.

        Examples
        --------
        >>> mean_interval([0.9, 0.2]).within(-1, 1).upper
        np.float64(1.0)
        """
        return replace(self, lower=np.clip(self.lower, low, high), upper=np.clip(self.upper, low, high))


@dataclass(frozen=True)
class Claim:
    """Decision on a published value: "replicates", "differs", "inconclusive" or "not testable", and why."""

    decision: str
    reason: str


def jackknife_interval(replicates, present=None, level=LEVEL):
    """Jackknife interval with Student's t from an estimate with all prompts and without each.

    Parameters
    ----------
    replicates : ndarray of float, shape (n_prompts + 1, ...)
        The first with all prompts.
    present : ndarray of bool, shape (n_prompts, ...), optional
        Prompts that have a value; leaving out another does not count. All by default.
    level : float
        Coverage, 0 to 1.

    Returns
    -------
    Interval

    Notes
    -----
    The standard error is the root of (P - 1) / P times the sum of squared deviations of the replicates from their mean;
    t has P - 1 degrees of freedom. For a mean this is the t interval.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.

    Examples
    --------
    >>> found = jackknife_interval([2.0, 2.5, 2.0, 1.5])
    >>> found.lower.round(3), found.upper.round(3)
    (np.float64(-0.484), np.float64(4.484))
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie strictly between 0 and 1, but {level} was passed.")
    replicates = np.asarray(replicates, float)
    estimate, left_out = replicates[0], replicates[1:]
    present = np.ones(left_out.shape, bool) if present is None else np.broadcast_to(present, left_out.shape)
    n = present.sum(0)
    left_out = np.where(present, left_out, 0)
    centred = np.where(present, left_out - left_out.sum(0) / np.maximum(n, 1), 0)
    se = np.sqrt((n - 1).clip(min=0) / np.maximum(n, 1) * (centred**2).sum(0))
    se = np.where((n > 1) & ~np.isnan(estimate), se, np.nan)
    half = -stdtrit(np.maximum(n - 1, 1), (1 - level) / 2) * se
    return Interval(estimate, estimate - half, estimate + half, se[()], n[()])


def mean_interval(values, level=LEVEL):
    """Mean over prompts with its t interval; for a difference, pass the differences of every prompt.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts, ...)
        NaN where a prompt has no value.
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> found = mean_interval([0.2, 0.5, 0.9, 0.4, 0.7])
    >>> round(float(found.lower), 4), round(float(found.upper), 4)
    (0.2045, 0.8755)
    """
    values = np.asarray(values, float)
    return ratio_interval(values, np.ones(values.shape), level)


def ratio_interval(numerators, denominators, level=LEVEL):
    """Sum of numerators over sum of denominators, a pooled mean, with its jackknife interval over prompts.

    Parameters
    ----------
    numerators, denominators : ndarray of float, shape (n_prompts, ...)
        NaN in either where a prompt has no value.
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> found = ratio_interval([3, 1, 4, 2, 6], [4, 2, 5, 5, 7])
    >>> round(float(found.estimate), 4), round(float(found.lower), 4), round(float(found.upper), 4)
    (0.6957, 0.4121, 0.9792)
    """
    replicates, present = _ratio_replicates(numerators, denominators)
    return jackknife_interval(replicates, present, level)


def difference_interval(a, b, level=LEVEL):
    """Mean difference a - b over the prompts that have both, paired by prompt.

    Parameters
    ----------
    a, b : ndarray of float, shape (n_prompts, ...)
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> float(difference_interval([1.0, 2.0, np.nan], [0.0, 1.0, 5.0]).estimate)
    1.0
    """
    return mean_interval(np.asarray(a, float) - np.asarray(b, float), level)


def ratio_difference_interval(first, second, level=LEVEL):
    """Difference of two pooled means, paired: a prompt is left out of both at once.

    Parameters
    ----------
    first, second : tuple of two ndarrays of float, each of shape (n_prompts, ...)
        Numerators and denominators. A prompt may have a value in one of them only.
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> found = ratio_difference_interval(([1, 2, 3], [2, 2, 4]), ([1, 1, 3], [2, 2, 4]))
    >>> float(found.estimate)
    0.125
    """
    (a, in_a), (b, in_b) = _ratio_replicates(*first), _ratio_replicates(*second)
    return jackknife_interval(a - b, in_a | in_b, level)


def _ratio_replicates(numerators, denominators):
    """Ratios with all prompts and without each, and which prompts have a value."""
    numerators, denominators = np.asarray(numerators, float), np.asarray(denominators, float)
    if numerators.shape != denominators.shape or numerators.ndim < 1:
        raise ValueError(
            "Numerators and denominators must both have shape (n_prompts, ...), but "
            f"{numerators.shape} and {denominators.shape} were passed."
        )
    present = ~(np.isnan(numerators) | np.isnan(denominators))
    above, below = (_leave_out(np.where(present, values, 0)) for values in (numerators, denominators))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0), present


def _leave_out(values):
    """Sums over all rows, and without each."""
    total = values.sum(0)
    return np.concatenate([total[None], total - values])


def left_out_weights(prompts):
    """Weights of items with all prompts and without each.

    Parameters
    ----------
    prompts : ndarray, shape (n_items,)

    Returns
    -------
    ndarray of float, shape (n_prompts + 1, n_items)
        0 and 1; prompts in sorted order.

    Examples
    --------
    >>> left_out_weights(["a", "a", "b"])
    array([[1., 1., 1.],
           [0., 0., 1.],
           [1., 1., 0.]])
    """
    ids, where = np.unique(np.asarray(prompts), return_inverse=True)
    return np.concatenate([np.ones((1, len(where))), (where != np.arange(len(ids))[:, None]).astype(float)])


def correlation_interval(replicates, present=None, level=LEVEL):
    """Jackknife interval of a correlation, on the scale of its inverse hyperbolic tangent.

    Parameters
    ----------
    replicates : ndarray of float, shape (n_prompts + 1, ...)
        Correlations with all prompts and without each; where a subset is chosen by a threshold, chosen again.
    present : ndarray of bool, shape (n_prompts, ...), optional
    level : float

    Returns
    -------
    Interval
        Bounds within -1 and 1; `se` is that of the correlation itself.

    Examples
    --------
    >>> found = correlation_interval([0.5, 0.4, 0.5, 0.6])
    >>> bool(-1 < found.lower < 0.5 < found.upper < 1)
    True
    """
    replicates = np.asarray(replicates, float)
    inside = np.arctanh(np.clip(replicates, -1 + _ROUNDING, 1 - _ROUNDING))
    found, plain = jackknife_interval(inside, present, level), jackknife_interval(replicates, present, level)
    return Interval(replicates[0], np.tanh(found.lower), np.tanh(found.upper), plain.se, found.n_prompts)


def spearman_interval(x, y, prompts, *, keep=None, level=LEVEL):
    """Spearman correlation over items with its interval over prompts.

    Parameters
    ----------
    x, y : ndarray of float, shape (n_items,)
        Items with NaN in either are left out.
    prompts : ndarray, shape (n_items,)
    keep : callable, optional
        ``keep(rows)`` gives the mask of those of the items ``rows`` (indices) that are kept, the threshold laid on
        these items alone: the cut is redone without every prompt. All by default.
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> i = np.arange(40)
    >>> found = spearman_interval(i, i % 7 + i, i // 8)
    >>> bool(found.lower < found.estimate < found.upper)
    True
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    weights = left_out_weights(np.asarray(prompts)[known]) if len(known) else np.ones((1, 0))
    found = []
    for weight in weights > 0:
        rows = known[weight]
        rows = rows if keep is None else rows[np.asarray(keep(rows), bool)]
        found.append(_spearman(x[rows], y[rows]))
    return correlation_interval(np.array(found), level=level)


def _spearman(x, y):
    """Spearman correlation; NaN where either side is constant."""
    from scipy.stats import rankdata

    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return np.corrcoef(rankdata(x), rankdata(y))[0, 1]


def share_interval(values, level=LEVEL):
    """Mean of shares of every prompt, each 0 to 1, with an interval that holds near 0 and 1 too.

    Clopper-Pearson bounds at the number of independent trials that would have the same variance.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts,)
        Share of every prompt, such as that of the models at or above .8; NaN where a prompt has none.
    level : float

    Returns
    -------
    Interval

    References
    ----------
    Korn and Graubard (1998), Confidence intervals for proportions with small expected number of positive counts.

    Examples
    --------
    >>> found = share_interval([1.0, 1.0, 1.0, 1.0, 1.0])
    >>> round(float(found.lower), 4), float(found.upper)
    (0.4782, 1.0)
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    n = len(values)
    if n and (values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING):
        raise ValueError(f"Shares must lie within 0 and 1, but {values.min():g} to {values.max():g} were passed.")
    values = values.clip(0, 1)
    if n < 2:
        return Interval(values.mean() if n else np.nan, np.nan, np.nan, np.nan, n)
    return share_bounds(values.mean(), np.sqrt(values.var(ddof=1) / n), n, level)


def share_bounds(share, se, n_prompts, level=LEVEL):
    """Interval of a share from its standard error over prompts, as `share_interval`.

    Parameters
    ----------
    share : float
        0 to 1.
    se : float
        Such as that of `jackknife_interval`, where prompts do not weigh equally.
    n_prompts : int
    level : float

    Returns
    -------
    Interval

    Examples
    --------
    >>> found = share_bounds(1.0, 0.0, 5)
    >>> round(float(found.lower), 4), float(found.upper)
    (0.4782, 1.0)
    """
    from scipy.stats import beta

    if n_prompts < 2 or np.isnan(share) or np.isnan(se):
        return Interval(share, np.nan, np.nan, np.nan, n_prompts)
    tail, trials = (1 - level) / 2, float(n_prompts)
    if se > _ROUNDING:
        trials = share * (1 - share) / se**2 * (ndtri(tail) / stdtrit(n_prompts - 1, tail)) ** 2
        if n_prompts < 30 and not 0.1 <= share <= 0.9:
            trials = min(trials, n_prompts)
    hits = trials * share
    misses = trials - hits
    lower = beta.ppf(tail, hits, misses + 1) if hits > _ROUNDING else 0.0
    upper = beta.ppf(1 - tail, hits + 1, misses) if misses > _ROUNDING else 1.0
    return Interval(share, lower, upper, se, n_prompts)


def prediction_half_width(se, n_prompts, *, n_prompts_paper=PAPER_PROMPTS, level=LEVEL):
    """Half-width within which a published value and a new study's lie apart by chance: both have drawn prompts.

    Parameters
    ----------
    se : float
        Standard error of the new study's value over its prompts.
    n_prompts, n_prompts_paper : int
        Prompts of the new study, and of the published one.
    level : float

    Returns
    -------
    float
        NaN for fewer than two prompts.

    Examples
    --------
    >>> round(float(prediction_half_width(0.05, 50)), 4)
    0.1421
    """
    if n_prompts < 2:
        return np.nan
    return -stdtrit(n_prompts - 1, (1 - level) / 2) * se * np.sqrt(1 + n_prompts / n_prompts_paper)


def same_items_claim(value, paper, tolerance):
    """Decide whether a value recomputed from the released items is the published one.

    No interval: both come from the same items.

    Parameters
    ----------
    value : float or None
        None or NaN: the release does not hold what it needs.
    paper : float
    tolerance : float
        One unit of the last printed digit; .02 where scorers were run again.

    Returns
    -------
    Claim

    Examples
    --------
    >>> same_items_claim(0.36, 0.361, 0.001).decision
    'replicates'
    """
    if _missing(value):
        return Claim(NOT_TESTABLE, "not in this release")
    if _missing(paper) or _missing(tolerance):
        return Claim(NOT_TESTABLE, "no published value or no tolerance to compare with")
    difference = abs(value - paper)
    if difference <= tolerance + _ROUNDING:
        return Claim(REPLICATES, f"within {tolerance:g} of the published value")
    return Claim(DIFFERS, f"{difference:.3g} from the published value, more than {tolerance:g}")


def new_items_claim(value, paper, se, n_prompts, margin, *, n_prompts_paper=PAPER_PROMPTS):
    """Decide whether new prompts, under the same encoder or design, give the published value.

    Parameters
    ----------
    value, paper : float or None
    se : float or None
        Standard error of the value over its prompts.
    n_prompts, n_prompts_paper : int
        Prompts of the new study, and of the published one, whose value errs too.
    margin : float or None
        Largest difference that counts as none; None where the published sample is too small for any.

    Returns
    -------
    Claim
        "replicates" if the difference and its half-width together stay within the margin, "differs" if the difference
        exceeds both. Where the half-width alone exceeds the margin the claim is "not testable" otherwise.

    Examples
    --------
    >>> new_items_claim(0.75, 0.76, 0.01, 50, 0.05).decision
    'replicates'
    """
    if _missing(value) or _missing(paper):
        return Claim(NOT_TESTABLE, "no value" if _missing(value) else "no published value")
    if _missing(se) or n_prompts < 2:
        return Claim(NOT_TESTABLE, "an interval needs at least two prompts")
    half = float(prediction_half_width(se, n_prompts, n_prompts_paper=n_prompts_paper))
    if _missing(margin):
        return Claim(NOT_TESTABLE, f"no margin for this value (95 % prediction half-width {half:.3g})")
    difference = abs(value - paper)
    numbers = f"difference {difference:.3g}, 95 % prediction half-width {half:.3g}, margin {margin:g}"
    if difference + half <= margin + _ROUNDING:
        return Claim(REPLICATES, numbers)
    if difference > max(half, margin) + _ROUNDING:
        return Claim(DIFFERS, numbers)
    return Claim(NOT_TESTABLE if half > margin + _ROUNDING else INCONCLUSIVE, numbers)


def direction_claim(lower, upper):
    """Decide whether a difference has the published direction, oriented so that the paper's is positive.

    Parameters
    ----------
    lower, upper : float or None
        95 % interval of the difference.

    Returns
    -------
    Claim

    Examples
    --------
    >>> direction_claim(-0.1, 0.3).decision
    'inconclusive'
    """
    if _missing(lower) or _missing(upper):
        return Claim(NOT_TESTABLE, "no interval")
    bounds = f"95 % interval {lower:.3g} to {upper:.3g}"
    if lower > _ROUNDING:
        return Claim(REPLICATES, bounds)
    return Claim(DIFFERS if upper < -_ROUNDING else INCONCLUSIVE, bounds)


def count_claim(value, paper, lower, upper):
    """Decide whether a whole number, such as that of stable modes, is the published one.

    Parameters
    ----------
    value, paper : float or None
    lower, upper : float or None
        Smallest and largest number that reruns give.

    Returns
    -------
    Claim
        "replicates" if no rerun gives another number, "differs" if none gives the published one.

    Examples
    --------
    >>> count_claim(2, 2, 1, 3).decision
    'inconclusive'
    """
    if any(_missing(number) for number in (value, paper, lower, upper)):
        return Claim(NOT_TESTABLE, "no reruns to compare with")
    bounds = f"reruns give {lower:g} to {upper:g}" if lower < upper else f"every rerun gives {lower:g}"
    if not lower <= paper <= upper:
        return Claim(DIFFERS, bounds)
    return Claim(REPLICATES if lower == upper == value else INCONCLUSIVE, bounds)


def contrast_claim(verdict, reason=""):
    """Decide whether scorers lose touch where people differ, as published, from their family's verdict.

    Parameters
    ----------
    verdict : str
        "degrades", "degrades, keeps more than half", "holds up", "inconclusive" or "not testable".
    reason : str
        Why it is not testable.

    Returns
    -------
    Claim

    Examples
    --------
    >>> contrast_claim("holds up").decision
    'differs'
    """
    decisions = {
        "degrades": REPLICATES, "degrades, keeps more than half": REPLICATES, "holds up": DIFFERS,
        INCONCLUSIVE: INCONCLUSIVE, NOT_TESTABLE: NOT_TESTABLE,
    }  # fmt: skip
    if verdict not in decisions:
        raise ValueError(f"`verdict` must be one of {list(decisions)}, but {verdict!r} was passed.")
    return Claim(decisions[verdict], reason or verdict)


def _missing(value):
    return value is None or np.isnan(value)

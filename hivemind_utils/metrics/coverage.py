"""Ideas at equal size and at equal coverage, how many are still unseen, and the whole profile from rare to common.

Two arms with equally many responses may have seen different shares of what they would say: coverage is that share.
All of it supposes responses drawn independently; for lists and chains only their distinct ideas may be counted.
"""

from typing import NamedTuple

import numpy as np

from hivemind_utils.metrics._cells import log_choose
from hivemind_utils.metrics.diversity import Chao1, _counts, chao1, effective_number

PROFILE_ORDERS = (0, 0.5, 1, 1.5, 2, 3, np.inf)
MIN_COVERAGE, MIN_RESPONSES = 0.5, 20  # below either, arms are not compared at equal coverage


class EqualCoverage(NamedTuple):
    """Arms compared at equal coverage; see `compare_at_coverage`.

    Attributes
    ----------
    coverage : ndarray of float, shape (n_arms,)
        Of all responses of each arm.
    target : float
        The smallest of them.
    sizes : ndarray of float, shape (n_arms,)
        Responses at which each arm has it.
    hill : ndarray of float, shape (n_arms, n_orders)
    reason : str
        Why sizes and Hill numbers are NaN; empty where they are not.
    """

    coverage: np.ndarray
    target: float
    sizes: np.ndarray
    hill: np.ndarray
    reason: str


def hill_at_size(counts, size, orders=(0, 1, 2)):
    """Hill numbers of the frequencies expected among some of the responses, drawn without replacement.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea, n in all.
    size : int
        1 to n.
    orders : sequence of float
        >= 0, finite.

    Returns
    -------
    ndarray of float, shape (n_orders,)

    Notes
    -----
    From the expected number of ideas that have k of the drawn responses. It is not the mean of the Hill numbers of all
    draws, but close to it. Source: Chao et al. (2014), Rarefaction and extrapolation with Hill numbers.

    Examples
    --------
    >>> hill_at_size([5, 2, 1, 1, 1], 5).round(6)
    array([3.27381 , 2.885843, 2.52809 ])
    """
    counts = _counts(counts)
    n = int(counts.sum())
    _check_size(size, n)
    values, times = np.unique(counts, return_counts=True)
    k = np.arange(1, size + 1)
    x = values[:, None]
    chance = np.exp(log_choose(x, k) + log_choose(n - x, size - k) - log_choose(n, size))
    expected, share = times @ chance, k / size
    found = []
    for order in orders:
        if not 0 <= order < np.inf:
            raise ValueError(f"Orders at a size must be finite and >= 0, but {order} was passed.")
        if order == 1:
            found.append(np.exp(-(share * np.log(share)) @ expected))
        else:
            found.append((share**order @ expected) ** (1 / (1 - order)))
    return np.array(found)


def hill_at_common_size(first, second, orders=(0, 1)):
    """Hill numbers of two arms on one prompt at the number of responses that both have.

    Parameters
    ----------
    first, second : sequence of int
        Responses per idea of either arm.
    orders : sequence of float

    Returns
    -------
    hill : ndarray of float, shape (2, n_orders)
        NaN where an arm has none.
    size : int
        Responses compared: say how many there were of more.

    Examples
    --------
    >>> hill, size = hill_at_common_size([2, 1, 1], [1, 1])
    >>> hill.round(3), size
    (array([[1.833, 1.782],
           [2.   , 2.   ]]), 2)
    """
    size = int(min(np.sum(first), np.sum(second)))
    if size < 1:
        return np.full((2, len(orders)), np.nan), 0
    return np.stack([hill_at_size(counts, size, orders) for counts in (first, second)]), size


def distinct_at_size(counts, n_asked, size):
    """Expected number of distinct valid ideas among some of the responses that were asked for.

    Parameters
    ----------
    counts : sequence of int
        Valid responses per idea; may be all 0.
    n_asked : int
        Responses asked for, valid or not; at least their sum.
    size : int
        1 to n_asked.

    Returns
    -------
    float

    Examples
    --------
    >>> round(distinct_at_size([2, 1], 4, 2), 6)
    1.333333
    """
    counts = np.asarray(counts)
    if counts.sum() > n_asked:
        raise ValueError(f"{counts.sum()} valid responses cannot come from {n_asked} that were asked for.")
    _check_size(size, n_asked)
    missed = np.exp(log_choose(n_asked - counts, size) - log_choose(n_asked, size))
    return float((1 - missed).sum())


def coverage(counts, size=None):
    """Estimate the share of all responses the arm would give whose idea has been seen.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea, n in all.
    size : int, optional
        Expected among so many of the responses, 1 to n; all by default.

    Returns
    -------
    float
        0 to 1.

    References
    ----------
    Chao and Jost (2012), Coverage-based rarefaction and extrapolation.

    Examples
    --------
    >>> round(coverage([5, 2, 1, 1, 1]), 6)
    0.72069
    """
    counts = _counts(counts)
    n = int(counts.sum())
    size = n if size is None else size
    _check_size(size, n)
    if size < n:
        missed = np.exp(log_choose(n - counts, size) - log_choose(n - 1, size))
        return float(1 - (counts / n) @ missed)
    f1, f2 = int((counts == 1).sum()), int((counts == 2).sum())
    if not f1:
        return 1.0
    if f2:
        factor = (n - 1) * f1 / ((n - 1) * f1 + 2 * f2)
    else:
        factor = (n - 1) * (f1 - 1) / ((n - 1) * (f1 - 1) + 2)
    if n == 1:
        return 0.0  # one response says nothing of what is unseen
    return float(1 - f1 / n * factor)


def size_at_coverage(counts, target):
    """Number of responses, not whole, at which the expected coverage reaches a target.

    Parameters
    ----------
    counts : sequence of int
    target : float
        At most the coverage of all responses.

    Returns
    -------
    float
        Linear between whole numbers; 1 where one response reaches it.

    Examples
    --------
    >>> round(size_at_coverage([3, 3, 2, 2], 0.72069), 5)
    4.98621
    """
    counts = _counts(counts)
    n = int(counts.sum())
    whole = coverage(counts)
    if not 0 <= target <= whole + 1e-12:
        raise ValueError(f"`target` must be 0 to the coverage of all responses, {whole:.4f}, but {target} was passed.")
    low, high = 1, n
    if coverage(counts, 1) >= target:
        return 1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if coverage(counts, middle) < target else (low, middle)
    below, above = coverage(counts, low), coverage(counts, high)
    return float(low + min((target - below) / (above - below), 1)) if above > below else float(high)


def hill_at_coverage(counts, target, orders=(0, 1, 2)):
    """Hill numbers at a coverage, linear between the two whole numbers of responses around it.

    Parameters
    ----------
    counts : sequence of int
    target : float
        At most the coverage of all responses.
    orders : sequence of float
        >= 0, finite.

    Returns
    -------
    ndarray of float, shape (n_orders,)

    Examples
    --------
    >>> hill_at_coverage([3, 3, 2, 2], 0.720690).round(4)
    array([3.3835, 3.1387, 2.9178])
    """
    size = size_at_coverage(counts, target)
    low = int(size)
    below = hill_at_size(counts, low, orders)
    if size == low:
        return below
    return below + (size - low) * (hill_at_size(counts, low + 1, orders) - below)


def compare_at_coverage(arms, orders=(0, 1, 2)):
    """Compare the ideas of arms at the coverage of the arm that has least.

    Parameters
    ----------
    arms : sequence of sequence of int
        Responses per idea of every arm.
    orders : sequence of float

    Returns
    -------
    EqualCoverage

    Examples
    --------
    >>> found = compare_at_coverage([[10, 6, 4], [9, 5, 2, 1, 1, 1, 1]])
    >>> found.coverage.round(3), found.hill[:, 0].round(2), found.reason
    (array([1.   , 0.805]), array([2.39, 7.  ]), '')
    """
    if not len(arms):
        raise ValueError("At least one arm is needed, but none was passed.")
    found = np.array([coverage(counts) for counts in arms])
    target, n = float(found.min()), min(int(np.sum(counts)) for counts in arms)
    reason = ""
    if n < MIN_RESPONSES:
        reason = f"an arm has {n} responses, {MIN_RESPONSES} are needed"
    elif target < MIN_COVERAGE:
        reason = f"an arm has a coverage of {target:.2f}, {MIN_COVERAGE} is needed"
    if reason:
        return EqualCoverage(
            found, target, np.full(len(arms), np.nan), np.full((len(arms), len(orders)), np.nan), reason
        )
    sizes = np.array([size_at_coverage(counts, target) for counts in arms])
    return EqualCoverage(found, target, sizes, np.array([hill_at_coverage(c, target, orders) for c in arms]), reason)


def distinct_with_more(counts, n_more):
    """Expected number of distinct ideas if more responses were drawn, at most twice as many in all.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea, n in all.
    n_more : int
        0 to n.

    Returns
    -------
    float

    References
    ----------
    Shen, Chao and Lin (2003), Predicting the number of new species in further taxonomic sampling.

    Examples
    --------
    >>> round(distinct_with_more([5, 2, 1, 1, 1], 10), 6)
    7.067959
    """
    counts = _counts(counts)
    n, seen = int(counts.sum()), len(counts)
    if not 0 <= n_more <= n:
        raise ValueError(f"`n_more` must be 0 to the number of responses, {n}, but {n_more} was passed.")
    f1, f2 = int((counts == 1).sum()), int((counts == 2).sum())
    unseen = (n - 1) / n * (f1**2 / (2 * f2) if f2 else f1 * (f1 - 1) / 2)
    if not unseen:
        return float(seen)
    return float(seen + unseen * (1 - (1 - f1 / (n * unseen + f1)) ** n_more))


def chao1_interval(counts):
    """Chao1 estimate of the number of ideas, seen and unseen, with an interval where no idea was seen once too.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea.

    Returns
    -------
    Chao1
        Bounds are NaN with one idea seen once and none twice, where nothing can be said.

    Notes
    -----
    Where the estimate is the number seen, the interval is that of EstimateS 9, equation 14; else as in
    `diversity.chao1`.

    Examples
    --------
    >>> [round(value, 6) for value in chao1_interval([2, 2, 4, 5])]
    [4, 4.0, 4.0, 4.948661]
    """
    found, counts = chao1(counts), _counts(counts)
    f1, f2 = int((counts == 1).sum()), int((counts == 2).sum())
    if found.estimate > found.observed:
        return found
    if f1 and not f2:
        return Chao1(found.observed, found.estimate, float("nan"), float("nan"))
    seen = found.observed
    missed = np.exp(-counts.sum() / seen)
    middle, half = seen / (1 - missed), 1.96 * np.sqrt(seen * missed / (1 - missed))
    return Chao1(seen, float(seen), float(max(seen, middle - half)), float(middle + half))


def hill_profile(counts, orders=PROFILE_ORDERS):
    """Hill numbers from the number of ideas (0) to one over the share of the most common (infinite), one line per arm.

    Parameters
    ----------
    counts : sequence of int
    orders : sequence of float

    Returns
    -------
    ndarray of float, shape (n_orders,)
        Falling.

    Examples
    --------
    >>> hill_profile([5, 2, 1, 1, 1], (0, 1, 2, np.inf)).round(6)
    array([5.     , 3.89322, 3.125  , 2.     ])
    """
    return np.array([effective_number(counts, order) for order in orders])


def _check_size(size, n):
    if not (1 <= size <= n and size == int(size)):
        raise ValueError(
            f"`size` must be a whole number from 1 to the number of responses, {n}, but {size} was passed."
        )

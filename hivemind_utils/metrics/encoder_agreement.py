"""What several encoders say alike: the order of arms and pairs, and the share alike at an equal rate of false alarms.

A cosine of .8 means something else under every encoder. Each encoder gets a threshold of its own, which the same share
of pairs of different ideas reaches; then shares can be compared, with the rate at which pairs of the same
idea reach it (the hit rate). Encoders are not made alike by mapping quantiles of the responses that are compared.
"""

from typing import NamedTuple

import numpy as np

ALPHA = 0.05
MIN_PAIRS = 100  # pairs of different ideas; fewer give no threshold


class Threshold(NamedTuple):
    """Threshold of an encoder and what lies above it on prompts that were not used for it.

    Attributes
    ----------
    threshold : float
    false_rate : float
        Share of pairs of different ideas at or above it: `alpha`, up to chance.
    hit_rate : float
        Share of pairs of the same idea. NaN without such pairs.
    n_fit, n_check : int
        Pairs of different ideas used to find it, and to check it.
    """

    threshold: float
    false_rate: float
    hit_rate: float
    n_fit: int
    n_check: int


class ShareAlike(NamedTuple):
    """Share of pairs at or above a threshold that was found on other prompts; see `share_alike`."""

    shares: np.ndarray
    first: Threshold
    second: Threshold


def false_alike_threshold(different, alpha=ALPHA):
    """Cosine that a given share of pairs of different ideas reaches.

    Parameters
    ----------
    different : ndarray of float, shape (n_pairs,)
        Cosines of pairs of different ideas of one prompt. Labels of ideas must not come from the encoder.
    alpha : float
        Share, 0 to 1.

    Returns
    -------
    float

    Examples
    --------
    >>> false_alike_threshold(np.arange(101) / 100, 0.05)
    0.95
    """
    different = np.asarray(different, float)
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must lie strictly between 0 and 1, but {alpha} was passed.")
    if np.isnan(different).any():
        raise ValueError("Cosines of pairs must be known: leave pairs without a vector out.")
    if len(different) < MIN_PAIRS:
        raise ValueError(
            f"At least {MIN_PAIRS} pairs of different ideas are needed for a threshold, but {len(different)} were "
            "passed. Label the ideas of more responses."
        )
    return float(np.quantile(different, 1 - alpha))


def share_alike(cosines, ideas, cells, halves, alpha=ALPHA):
    """Share of the pairs of every cell that reach the encoder's threshold, found on the other half of the prompts.

    Parameters
    ----------
    cosines : sequence of ndarray of float, shape (n, n)
        One per cell (prompt and arm).
    ideas : sequence of ndarray of int, shape (n,)
        Idea of every response of the cell; -1 unknown. Pairs with an unknown idea count in shares only.
    cells : sequence, shape (n_cells,)
        Prompt of every cell.
    halves : dict
        Half of every prompt, 0 or 1.
    alpha : float

    Returns
    -------
    ShareAlike
        ``shares`` of shape (n_cells,), NaN with fewer than two responses; ``first`` is the threshold found on half 0
        and applied to half 1, ``second`` the other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(20, 12, 5))
    >>> rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    >>> ideas = np.tile(np.arange(6), (20, 2))
    >>> found = share_alike(rows @ rows.swapaxes(1, 2), ideas, np.arange(20), {p: p % 2 for p in range(20)})
    >>> found.shares.shape, bool(0.02 < found.first.false_rate < 0.09)
    ((20,), True)
    """
    pairs, same, half_of = [], [], []
    for matrix, labels, prompt in zip(cosines, ideas, cells, strict=True):
        matrix, labels = np.asarray(matrix, float), np.asarray(labels)
        if matrix.shape != (len(labels), len(labels)):
            raise ValueError(f"A cell of {len(labels)} ideas needs their cosines, but {matrix.shape} was passed.")
        if halves.get(prompt) not in (0, 1):
            raise ValueError(f"Every prompt needs a half, 0 or 1, but {prompt} has {halves.get(prompt)}.")
        first, second = np.triu_indices(len(labels), 1)
        pairs.append(matrix[first, second])
        known = (labels[first] >= 0) & (labels[second] >= 0)
        same.append(np.where(known, labels[first] == labels[second], -1))
        half_of.append(halves[prompt])
    half_of = np.array(half_of)
    thresholds, shares = [], np.full(len(pairs), np.nan)
    for half in (0, 1):
        fit, check = (_pooled(pairs, same, np.flatnonzero(half_of == side)) for side in (half, 1 - half))
        at = false_alike_threshold(fit[0], alpha)
        false_rate, hit_rate = (float((x >= at).mean()) if len(x) else float("nan") for x in check)
        thresholds.append(Threshold(at, false_rate, hit_rate, len(fit[0]), len(check[0])))
        for cell in np.flatnonzero(half_of == 1 - half):
            if len(pairs[cell]):
                shares[cell] = (pairs[cell] >= at).mean()
    return ShareAlike(shares, *thresholds)


class RankAgreement(NamedTuple):
    """Agreement of two orders.

    Attributes
    ----------
    n : int
        Arms, or pairs of models, that have a value in both.
    spearman, kendall : float
        1 for the same order (Kendall's tau-b, for ties); NaN for fewer than three, or where one says the same of all.
    """

    n: int
    spearman: float
    kendall: float


def rank_agreement(a, b):
    """Spearman's and Kendall's correlation of two encoders over arms, or over pairs of models.

    Parameters
    ----------
    a, b : ndarray of float, shape (n_arms,)
        NaN where an encoder has no value.

    Returns
    -------
    RankAgreement

    Examples
    --------
    >>> found = rank_agreement([1, 2, 3, 4], [1, 3, 2, 9])
    >>> found.n, round(found.spearman, 3), round(found.kendall, 3)
    (4, 0.8, 0.667)
    """
    from scipy.stats import kendalltau, spearmanr

    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        raise ValueError(f"Two orders need as many values, but {a.shape} and {b.shape} were passed.")
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return RankAgreement(len(a), float("nan"), float("nan"))
    return RankAgreement(len(a), float(spearmanr(a, b).statistic), float(kendalltau(a, b).statistic))


def rank_agreements(values):
    """Spearman correlation of every two encoders over arms, or over pairs of models.

    Parameters
    ----------
    values : ndarray of float, shape (n_encoders, n_arms)
        NaN where an encoder has no value.

    Returns
    -------
    ndarray of float, shape (n_encoders, n_encoders)
        NaN where two encoders share fewer than three arms, or one of them says the same of all.

    Examples
    --------
    >>> rank_agreements([[1, 2, 3, 4], [1, 3, 2, 9]]).round(2)
    array([[1. , 0.8],
           [0.8, 1. ]])
    """
    from scipy.stats import rankdata

    values = np.atleast_2d(np.asarray(values, float))
    found = np.full((len(values), len(values)), np.nan)
    for i in range(len(values)):
        for j in range(i, len(values)):
            known = ~(np.isnan(values[i]) | np.isnan(values[j]))
            a, b = values[i][known], values[j][known]
            if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
                found[i, j] = found[j, i] = np.corrcoef(rankdata(a), rankdata(b))[0, 1]
    return found


def _pooled(pairs, same, cells):
    """Cosines of pairs of different ideas, and of the same idea, of some cells."""
    if not len(cells):
        return np.empty(0), np.empty(0)
    values, kinds = np.concatenate([pairs[cell] for cell in cells]), np.concatenate([same[cell] for cell in cells])
    return values[kinds == 0], values[kinds == 1]

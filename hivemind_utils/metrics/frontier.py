"""Quality against diversity: which arms no other arm beats on both, and which beat sampling at other temperatures.

Points are means over prompts, so every resample of prompts moves all arms together. Being on the frontier depends on
which arms are listed and is no test; gain over the ladder of temperatures has an interval.
"""

import numpy as np
from scipy.special import comb

TOLERANCE = 1e-12  # points closer than this are equal
MIN_RUNGS = 3  # fewer temperatures make no ladder


def dominated(quality, diversity):
    """Find arms that another arm beats: at least as good on both, better on one.

    Parameters
    ----------
    quality, diversity : ndarray of float, shape (..., n_arms)
        An arm with NaN in either is neither dominated nor dominates.

    Returns
    -------
    ndarray of bool, shape (..., n_arms)

    Examples
    --------
    >>> dominated([0.9, 0.5, 0.5], [0.1, 0.6, 0.3])
    array([False, False,  True])
    """
    quality, diversity = np.asarray(quality, float), np.asarray(diversity, float)
    if quality.shape != diversity.shape or quality.ndim < 1:
        raise ValueError(
            f"Quality and diversity must both have shape (..., n_arms), but {quality.shape} and {diversity.shape} came."
        )
    found = np.zeros(quality.shape, bool)
    for arm in range(quality.shape[-1]):
        dq, dd = quality - quality[..., arm, None], diversity - diversity[..., arm, None]
        beats = (dq >= -TOLERANCE) & (dd >= -TOLERANCE) & ((dq > TOLERANCE) | (dd > TOLERANCE))
        found[..., arm] = beats.any(-1)
    return found


def frontier_share(quality, diversity, weights):
    """Share of resamples of prompts in which every arm is on the frontier.

    Parameters
    ----------
    quality, diversity : ndarray of float, shape (n_prompts, n_arms)
        Prompts that lack an arm are left out of all.
    weights : ndarray of float, shape (n_resamples, n_prompts)
        How often each prompt is drawn, the same for all arms; see `resample.bootstrap_weights`.

    Returns
    -------
    ndarray of float, shape (n_arms,)
        NaN if there is no prompt that has all arms.

    Examples
    --------
    >>> frontier_share([[0.8, 0.7], [0.9, 0.6]], [[0.2, 0.5], [0.3, 0.1]], np.array([[1, 1], [0, 2], [2, 0]])).round(3)
    array([1.   , 0.667])
    """
    q, d = _resampled(quality, diversity, weights)
    known = ~np.isnan(q[:, 0])
    if not known.any():
        return np.full(q.shape[1], np.nan)
    return 1 - dominated(q[known], d[known]).mean(0)


def ladder_line(quality, ladder_quality, ladder_diversity):
    """Largest diversity that sampling alone reaches at a quality: at a rung at least as good, or mixing two rungs.

    Parameters
    ----------
    quality : ndarray of float, shape (...)
        Where to read the line.
    ladder_quality, ladder_diversity : ndarray of float, shape (..., n_rungs)

    Returns
    -------
    ndarray of float, shape (...)
        NaN above the best rung.

    Notes
    -----
    Giving a response of one rung with probability w and of another otherwise reaches at least the linear mixture of
    both, for mean distance, the expected number of distinct ideas and the log of a Hill number; not for a Hill number.

    Examples
    --------
    >>> ladder_line([0.7, 0.95], [0.8, 0.6], [0.2, 0.4]).round(3)
    array([0.3, nan])
    """
    q = np.asarray(quality, float)[..., None]
    rung_q, rung_d = np.asarray(ladder_quality, float), np.asarray(ladder_diversity, float)
    if rung_q.shape != rung_d.shape or rung_q.ndim < 1:
        raise ValueError(
            f"Rungs need a quality and a diversity each, but {rung_q.shape} and {rung_d.shape} were passed."
        )
    best = np.where(rung_q >= q - TOLERANCE, rung_d, -np.inf).max(-1)
    first, second = np.triu_indices(rung_q.shape[-1], 1)
    low = np.minimum(rung_q[..., first], rung_q[..., second])
    gap = rung_q[..., second] - rung_q[..., first]
    between = (low < q) & (q < low + np.abs(gap))
    share = np.divide(q - rung_q[..., first], gap, out=np.zeros(between.shape), where=between)
    mixed = rung_d[..., first] + share * (rung_d[..., second] - rung_d[..., first])
    best = np.maximum(best, np.where(between, mixed, -np.inf).max(-1, initial=-np.inf))
    return np.where(np.isinf(best), np.nan, best)[()]


def ladder_gain(quality, diversity, rungs, weights, *, log=False):
    """Diversity of every arm beyond what sampling alone reaches at its quality, in every resample of prompts.

    Parameters
    ----------
    quality, diversity : ndarray of float, shape (n_prompts, n_arms)
        Prompts that lack an arm are left out of all.
    rungs : sequence of int
        Arms of the ladder.
    weights : ndarray of float, shape (n_resamples, n_prompts)
    log : bool
        Compare logs of the means: pass it for a Hill number, whose log may be mixed.

    Returns
    -------
    ndarray of float, shape (n_resamples, n_arms)
        NaN above the best rung. A rung's own gain is never above 0.

    Examples
    --------
    >>> gain = ladder_gain([[0.8, 0.6, 0.7]], [[0.2, 0.4, 0.5]], [0, 1], np.ones((1, 1)))
    >>> gain.round(3)
    array([[0. , 0. , 0.2]])
    """
    q, d = _resampled(quality, diversity, weights)
    if log:
        if np.any(d <= 0):
            raise ValueError("Logs need diversities above 0: pass `log=False` for mean distances.")
        d = np.log(d)
    rungs = np.asarray(rungs, int)
    return d - ladder_line(q, q[:, None, rungs], d[:, None, rungs])


def expected_best(values, s):
    """Expected best of s settings out of those tried, so that an arm with more settings has no advantage.

    Parameters
    ----------
    values : ndarray of float, shape (n_settings,)
    s : int
        1 to n_settings.

    Returns
    -------
    float

    Examples
    --------
    >>> expected_best([1.0, 2.0, 3.0], 2)
    2.6666666666666665
    """
    values = np.sort(np.asarray(values, float))
    if not 1 <= s <= len(values):
        raise ValueError(f"`s` must be 1 to the number of settings, {len(values)}, but {s} was passed.")
    chances = comb(np.arange(len(values)), s - 1) / comb(len(values), s)
    return float(values @ chances)


def _resampled(quality, diversity, weights):
    """Means of both over the prompts that have every arm, in every resample; NaN where a resample has none."""
    values = np.stack([np.asarray(quality, float), np.asarray(diversity, float)])
    weights = np.asarray(weights, float)
    if values.ndim != 3 or weights.ndim != 2 or weights.shape[1] != values.shape[1]:
        raise ValueError(
            "Pass quality and diversity of shape (n_prompts, n_arms) and weights of shape (n_resamples, n_prompts), "
            f"but {values.shape[1:]} and {weights.shape} were passed."
        )
    whole = ~np.isnan(values).any((0, 2))
    weights = weights[:, whole]
    total = weights.sum(1)[:, None]
    sums = weights @ values[:, whole]
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)

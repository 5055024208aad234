"""Diversity among good responses, and mean quality where people labelled only some of them.

Responses of one cell (one prompt and one arm) stand along the last axis. Cells of fewer responses are padded; `asked`
says which entries are responses. A response is valid at a threshold if it is usable and its quality reaches it. What
was asked for and came back unusable stays in every denominator, so that an arm cannot gain by failing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from hivemind_utils.metrics._cells import log_choose, mask_of, ratio, square

MIN_LABELS = 50  # below so many labels the predictions' weight is not estimated but 1
PATIENCE = 0.8  # a reader looks at the next response with this probability


@dataclass(frozen=True)
class PoweredMean:
    """Mean quality from predictions of all responses and labels of some.

    Attributes
    ----------
    estimate, se, lower, upper : float
        Bounds are those of the 95 % t interval; NaN where there is no standard error.
    weight : float
        Weight of the predictions.
    n, n_labelled, n_prompts : int
    """

    estimate: float
    se: float
    lower: float
    upper: float
    weight: float
    n: int
    n_labelled: int
    n_prompts: int


def scale_quality(scores, low=1, high=5):
    """Quality from 0 to 1 of scores on a bounded scale, such as a judge's 1 to 5.

    Parameters
    ----------
    scores : ndarray of float
        NaN where there is none.
    low, high : float

    Returns
    -------
    ndarray of float

    Raises
    ------
    ValueError
        If a score lies outside of the scale.

    Examples
    --------
    >>> scale_quality([1, 4, 5])
    array([0.  , 0.75, 1.  ])
    """
    scores = np.asarray(scores, float)
    if not low < high:
        raise ValueError(f"`low` must be below `high`, but {low} and {high} were passed.")
    outside = (scores < low) | (scores > high)
    if outside.any():
        raise ValueError(
            f"Scores must lie on the scale {low} to {high}, but {scores[outside][0]:g} was passed. "
            "Give the scale they were made on, or use their ranks."
        )
    return (scores - low) / (high - low)


def rank_quality(scores, prompts):
    """Quality of scores without a scale: their mid-rank share within the prompt, over all arms.

    Parameters
    ----------
    scores : ndarray of float, shape (n_responses,)
        NaN where there is none; ranks are among the others.
    prompts : ndarray, shape (n_responses,)

    Returns
    -------
    ndarray of float, shape (n_responses,)
        Share of the prompt's scores that are lower, plus half of those that are equal. Compare arms of one call only:
        the ranks depend on which arms there are.

    Examples
    --------
    >>> rank_quality([0.1, 3.0, 0.1, 7.0], ["a", "a", "a", "b"]).round(3)
    array([0.333, 0.833, 0.333, 0.5  ])
    """
    scores, prompts = np.asarray(scores, float), np.asarray(prompts)
    if scores.shape != prompts.shape or scores.ndim != 1:
        raise ValueError(f"Scores and prompts must be of the same length, but {scores.shape} and {prompts.shape} came.")
    known = ~np.isnan(scores)
    result = np.full(len(scores), np.nan)
    if not known.any():
        return result
    codes = np.unique(prompts[known], return_inverse=True)[1]
    order = np.lexsort((scores[known], codes))
    codes, values = codes[order], scores[known][order]
    new = np.r_[True, np.diff(codes) != 0]
    tie = np.cumsum(new | np.r_[True, np.diff(values) != 0]) - 1
    tie_size, tie_start = np.bincount(tie), np.flatnonzero(np.r_[True, np.diff(tie) != 0])
    start = np.flatnonzero(new)[codes]
    share = (tie_start[tie] - start + tie_size[tie] / 2) / np.bincount(codes)[codes]
    result[np.flatnonzero(known)[order]] = share
    return result


def diversity(cosines, valid=None):
    """One minus the mean cosine over pairs of responses, D; over pairs of valid ones, D of what is usable.

    Parameters
    ----------
    cosines : ndarray of float, shape (..., n, n)
        Symmetric; what stands on the diagonal, and in rows that are not valid, does not matter.
    valid : ndarray of bool, shape (..., n), optional
        All by default.

    Returns
    -------
    ndarray of float, shape (...)
        NaN with fewer than two valid responses.

    Examples
    --------
    >>> float(diversity(np.array([[1, 0.5, 0], [0.5, 1, 0.4], [0, 0.4, 1]])).round(3))
    0.7
    """
    cosines = square(cosines)
    valid = mask_of(valid, cosines.shape[:-1])
    m = valid.sum(-1)
    return ratio(_pair_sums(cosines, valid), m * (m - 1))


def effective_diversity(cosines, quality, thresholds, *, usable=None, asked=None):
    """Diversity that counts valid responses only, at every threshold of quality.

    Mean over all pairs that were asked for of one minus their cosine, or 0 unless both are valid.

    Parameters
    ----------
    cosines : ndarray of float, shape (..., n, n)
    quality : ndarray of float, shape (..., n)
        0 to 1.
    thresholds : ndarray of float, shape (n_thresholds,)
        Valid is what reaches the threshold.
    usable, asked : ndarray of bool, shape (..., n), optional
        All by default. Unusable responses are never valid; what was not asked for does not count at all.

    Returns
    -------
    ndarray of float, shape (..., n_thresholds)
        NaN with fewer than two responses.

    Notes
    -----
    With m valid of n responses and the mean cosine of the valid ones c, this is (1 - c) m (m - 1) / (n (n - 1)). It is
    a mean over pairs, so its expectation is free of n. Responses are sorted by quality once; all thresholds follow.

    Examples
    --------
    >>> effective_diversity(np.eye(3), [0.9, 0.5, 0.2], [0, 0.4, 0.8]).round(3)
    array([1.   , 0.333, 0.   ])
    """
    cosines = square(cosines)
    shape = cosines.shape[:-1]
    asked = mask_of(asked, shape)
    usable = mask_of(usable, shape) & asked
    quality = np.where(usable, _qualities(quality, shape, usable), -np.inf)
    order = np.argsort(-quality, axis=-1, kind="stable")
    by_quality = np.take_along_axis(cosines, order[..., None], -2)
    by_quality = np.take_along_axis(by_quality, order[..., None, :], -1)
    n = shape[-1]
    earlier = np.arange(n) - np.einsum("...ij,ij->...i", by_quality, np.tri(n, k=-1), optimize=False)
    total = np.concatenate([np.zeros((*shape[:-1], 1)), 2 * np.cumsum(earlier, -1)], -1)
    m = (quality[..., None] >= np.asarray(thresholds, float)).sum(-2)
    n_asked = asked.sum(-1)[..., None]
    return ratio(np.take_along_axis(total, m, -1), n_asked * (n_asked - 1))


def loss_parts(d_before, d_before_valid, d_after_valid, d_after):
    """Cut a loss of diversity into what bad responses added before, narrowing, and what they take now.

    Parameters
    ----------
    d_before, d_after : ndarray of float
        Diversity of all responses in both arms.
    d_before_valid, d_after_valid : ndarray of float
        Diversity of the valid ones.

    Returns
    -------
    ndarray of float, shape (3, ...)
        Bad responses, narrowing, bad responses; they add up to ``d_before - d_after``.

    Examples
    --------
    >>> loss_parts(0.5, 0.6, 0.3, 0.2).round(2)
    array([-0.1,  0.3,  0.1])
    """
    steps = np.stack(np.broadcast_arrays(d_before, d_before_valid, d_after_valid, d_after)).astype(float)
    return steps[:-1] - steps[1:]


def log_ratio_parts(before, after):
    """Cut the log ratio of effective diversities into diversity of the valid and share of valid pairs.

    Parameters
    ----------
    before, after : tuple of two ndarrays of float, each of shape (n_prompts,)
        Diversity of the valid responses (NaN where there are fewer than two) and share of the pairs that are valid.
        Means over prompts are taken before logarithms.

    Returns
    -------
    total, narrowing, validity : float
        The first is the sum of the others; the order of the parts does not matter. NaN where a mean is not above 0.

    Examples
    --------
    >>> [round(part, 3) for part in log_ratio_parts(([0.5], [1.0]), ([0.25], [0.5]))]
    [-1.386, -0.693, -0.693]
    """
    effective, share = [], []
    for d, pairs in (before, after):
        d, pairs = np.asarray(d, float), np.asarray(pairs, float)
        effective.append(np.where(pairs > 0, np.nan_to_num(d) * pairs, 0).mean())
        share.append(pairs.mean())
    if min(*effective, *share) <= 0:
        return float("nan"), float("nan"), float("nan")
    total, validity = np.log(effective[1] / effective[0]), np.log(share[1] / share[0])
    return float(total), float(total - validity), float(validity)


def utility(ideas, quality, k, *, patience=PATIENCE, usable=None, in_order=False):
    """Value of the first k responses to a reader who is served by new ideas only.

    Parameters
    ----------
    ideas : ndarray of int, shape (..., n)
        Idea of every response; -1 for an unusable one.
    quality : ndarray of float, shape (..., n)
    k : int
        1 to n.
    patience : float
        Chance that the reader looks at the next response, 0 to 1.
    usable : ndarray of bool, shape (..., n), optional
    in_order : bool
        Take the responses as they stand, as a chain or list gives them. By default the mean over all orders.

    Returns
    -------
    ndarray of float, shape (...)
        0 to 1.

    Notes
    -----
    The first of an idea's m members in a random order stands at place t with probability C(n-t, m-1) / C(n, m). The
    reader of Zhang et al. (2025), NoveltyBench, arXiv 2504.05228, looks on with the probability `patience`.

    Examples
    --------
    >>> float(utility([0, 0, 1, 2, 1], [0.8, 0.6, 0.9, 0.5, 0.3], 3).round(6))
    0.50918
    """
    ideas, value, _ = _ideas(ideas, quality, usable)
    n = ideas.shape[-1]
    if not 1 <= k <= n:
        raise ValueError(f"`k` must be 1 to the number of responses, {n}, but {k} was passed.")
    weights = patience ** np.arange(k)
    if in_order:
        first = ~_earlier(ideas).any(-1)
        return (np.where(first, value, 0)[..., :k] @ weights) / weights.sum()
    m = (ideas[..., :, None] == ideas[..., None, :]).sum(-1)
    sizes, places = np.arange(1, n + 1)[:, None], np.arange(1, k + 1)
    chance = np.exp(log_choose(n - places, sizes - 1) - log_choose(n - 1, sizes - 1)) / n
    return (value * (chance @ weights)[m - 1]).sum(-1) / weights.sum()


def yield_of_ideas(ideas, quality, size=None, *, usable=None):
    """Quality of the best response of every idea, summed, per response.

    Parameters
    ----------
    ideas : ndarray of int, shape (..., n)
        -1 for an unusable response.
    quality : ndarray of float, shape (..., n)
    size : int, optional
        Expected value among so many of the n responses; all by default.
    usable : ndarray of bool, shape (..., n), optional

    Returns
    -------
    ndarray of float, shape (...)
        0 to 1.

    Examples
    --------
    >>> float(yield_of_ideas([0, 0, 1, 2, 1], [0.8, 0.6, 0.9, 0.5, 0.3]).round(3))
    0.44
    """
    ideas, value, _ = _ideas(ideas, quality, usable)
    n = ideas.shape[-1]
    size = n if size is None else size
    if not 1 <= size <= n:
        raise ValueError(f"`size` must be 1 to the number of responses, {n}, but {size} was passed.")
    same = ideas[..., :, None] == ideas[..., None, :]
    better = value[..., None, :] > value[..., :, None]
    equal = value[..., None, :] == value[..., :, None]
    above = (same & (better | (equal & np.tri(n, k=-1, dtype=bool)))).sum(-1)
    chance = np.exp(log_choose(n - 1 - above, size - 1) - log_choose(n, size))
    return (value * chance).sum(-1) / size


def powered_mean(predicted, labels, *, prompts=None, weight=None, level=0.95):
    """Mean label of all responses, from a scorer's predictions of all and annotations of a random part of them.

    Parameters
    ----------
    predicted : ndarray of float, shape (n,)
        On the scale of the labels, for every response.
    labels : ndarray of float, shape (n,)
        NaN where a response has no label. Which have one must be random.
    prompts : ndarray, shape (n,), optional
        The unit of the standard error. Without it responses count as independent.
    weight : float, optional
        Of the predictions. By default 1 below 50 labels, else cov(f, y) / var(f) cut to 0 to 1.
    level : float

    Returns
    -------
    PoweredMean

    References
    ----------
    Angelopoulos et al. (2023), Prediction-powered inference; here the labelled are among the predicted.

    Examples
    --------
    >>> found = powered_mean([4, 3, 5, 2], [3, np.nan, 5, np.nan])
    >>> found.estimate, found.n_labelled
    (3.0, 2)
    """
    f, y = np.asarray(predicted, float), np.asarray(labels, float)
    if f.shape != y.shape or f.ndim != 1:
        raise ValueError(f"Predictions and labels must be of the same length, but {f.shape} and {y.shape} were passed.")
    if np.isnan(f).any():
        raise ValueError(
            f"Every response needs a prediction, but {int(np.isnan(f).sum())} have none. Score them, or leave them out."
        )
    known = ~np.isnan(y)
    n, n_labelled = len(f), int(known.sum())
    if n_labelled < 2:
        raise ValueError(f"At least two responses need a label, but {n_labelled} have one. Label more of them.")
    weight = _weight(f[known], y[known]) if weight is None else float(weight)
    error = y[known] - weight * f[known]
    estimate = weight * f.mean() + error.mean()
    if prompts is None:
        n_units = n_labelled
        variance = y[known].var(ddof=1) / n + (1 / n_labelled - 1 / n) * error.var(ddof=1)
    else:
        codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
        n_units = int(codes.max()) + 1
        _, influence = influence_of_prompts(f, y, codes, n_units, weight)
        variance = n_units / (n_units - 1) * (influence @ influence) if n_units > 1 else np.nan
    se = float(np.sqrt(variance))
    half = -stdtrit(max(n_units - 1, 1), (1 - level) / 2) * se
    n_prompts = 0 if prompts is None else n_units
    return PoweredMean(float(estimate), se, estimate - half, estimate + half, weight, n, n_labelled, n_prompts)


def influence_of_prompts(f, y, codes, n_prompts, weight=None):
    """Powered mean, and what every prompt adds to its deviation.

    Parameters
    ----------
    f, y : ndarray of float, shape (n,)
        Predictions, and labels with NaN where there is none; at least two labels.
    codes : ndarray of int, shape (n,)
        Prompt of every response, from 0.
    n_prompts : int
    weight : float, optional
        As for `powered_mean`.

    Returns
    -------
    estimate : float
    influence : ndarray of float, shape (n_prompts,)
        The variance is n_prompts / (n_prompts - 1) times the sum of their squares.

    Examples
    --------
    >>> estimate, influence = influence_of_prompts(np.ones(4), np.array([1, 1, 0, 0.0]), np.array([0, 0, 1, 1]), 2)
    >>> float(estimate), influence
    (0.5, array([ 0.25, -0.25]))
    """
    known = ~np.isnan(y)
    weight = _weight(f[known], y[known]) if weight is None else weight
    error = y[known] - weight * f[known]
    influence = np.bincount(codes, weight * (f - f.mean()) / len(f), n_prompts)
    influence += np.bincount(codes[known], (error - error.mean()) / known.sum(), n_prompts)
    return weight * f.mean() + error.mean(), influence


def _weight(f, y):
    spread = f.var(ddof=1)
    if len(y) < MIN_LABELS or spread == 0:
        return 1.0
    return float(np.clip(np.cov(f, y)[0, 1] / spread, 0, 1))


def _ideas(ideas, quality, usable):
    """Checked ideas, value (0 where unusable) and the mask of usable responses."""
    ideas = np.asarray(ideas)
    if not np.issubdtype(ideas.dtype, np.integer) or ideas.ndim < 1:
        raise ValueError(f"`ideas` must be integers of shape (..., n), but {ideas.dtype} {ideas.shape} was passed.")
    usable = mask_of(usable, ideas.shape)
    unknown = int((usable & (ideas < 0) & (np.asarray(quality, float) > 0)).sum())
    if unknown:
        raise ValueError(
            f"Every usable response needs an idea, but {unknown} of {int(usable.sum())} have none. "
            "Label them, or mark them as not usable."
        )
    return ideas, np.where(usable, _qualities(quality, ideas.shape, usable), 0), usable


def _earlier(ideas):
    return (ideas[..., :, None] == ideas[..., None, :]) & np.tri(ideas.shape[-1], k=-1, dtype=bool)


def _qualities(quality, shape, usable):
    quality = np.broadcast_to(np.asarray(quality, float), shape)
    known = quality[usable]
    if np.isnan(known).any():
        raise ValueError(
            f"Every usable response needs a quality, but {int(np.isnan(known).sum())} have none. "
            "Score them, or leave quality out."
        )
    if len(known) and (known.min() < 0 or known.max() > 1):
        raise ValueError(
            f"Quality must lie in 0 to 1, but {known.min():g} to {known.max():g} was passed. "
            "Use `scale_quality` or `rank_quality` first."
        )
    return quality


def _pair_sums(cosines, valid):
    """Sum over ordered pairs of valid responses of one minus the cosine."""
    weights = valid.astype(cosines.dtype)
    m = valid.sum(-1)
    total = np.einsum("...i,...i->...", (cosines @ weights[..., None])[..., 0], weights, dtype=float)
    own = np.einsum("...ii,...i->...", cosines, weights, dtype=float)
    return m * (m - 1) - (total - own)

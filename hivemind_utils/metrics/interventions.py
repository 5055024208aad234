"""Measures of arms and their contrasts with comparators, paired by prompt.

An arm is a way of asking: a condition and a decoding of one model. Its comparator differs from it in what the arm is
about and nothing else. Responses of one prompt and arm stand along the last axis, as in `quality`. What may be said of
the contrasts is decided in `statements`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from hivemind_utils.metrics import intervals
from hivemind_utils.metrics._cells import mask_of, ratio, square
from hivemind_utils.metrics.quality import influence_of_prompts

MIN_PAIRS = 5  # a prompt with fewer pairs of equal length is left out of the length-matched contrast
TOLERANCE_LOG_WORDS = 0.2
_BLOCK = 64  # cells whose Gram matrices are made at once
_ROUNDING = 1e-12


MEASURES = {  # printed names; the first that is there decides, the next is the measure of another kind
    "ideas": "effective number of ideas",
    "diversity": "1 − mean cosine",
    "distinct": "distinct valid ideas",
    "diversity_valid": "1 − mean cosine, valid",
    "utility": "utility to a reader",
    "yield": "best response of each idea",
    "quality": "quality",
    "quality_usable": "quality of usable responses",
    "weighted": "1 − cosine, by stated probability",
    "within_call": "1 − mean cosine within a call",
    "between_calls": "1 − mean cosine between calls",
    "unparsed": "share not found in lists",
    "words": "words",
}


@dataclass(frozen=True)
class Contrast:
    """Differences with their intervals over prompts; each of the shape of the estimate.

    Attributes
    ----------
    estimate, lower, upper, se : ndarray of float
        NaN where there is none.
    p : ndarray of float
        One-sided: that the difference is above 0. NaN where there is no interval.
    n_prompts : ndarray of int
        Prompts that have both sides.
    """

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    se: np.ndarray
    p: np.ndarray
    n_prompts: np.ndarray

    def __getitem__(self, index):
        """Give a part of the contrasts."""
        names = ("estimate", "lower", "upper", "se", "p", "n_prompts")
        return Contrast(*(np.asarray(getattr(self, name))[index] for name in names))


def cell_cosines(vectors, present=None):
    """Cosines of all pairs of responses of every cell.

    Parameters
    ----------
    vectors : ndarray of float, shape (..., n, n_dims)
        Rows of any length.
    present : ndarray of bool, shape (..., n), optional
        Rows that are responses with a vector; all by default. The cosines of the others are 0.

    Returns
    -------
    ndarray of float, shape (..., n, n)
        In the precision of the vectors, at least float32.

    Raises
    ------
    ValueError
        If a row that is present is zero or not finite.

    Examples
    --------
    >>> cell_cosines(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))
    array([[1., 0., 1.],
           [0., 1., 0.],
           [1., 0., 1.]])
    """
    vectors = np.asarray(vectors)
    if vectors.ndim < 2:
        raise ValueError(f"`vectors` must have shape (..., n, n_dims), but {vectors.shape} was passed.")
    vectors = vectors.astype(np.result_type(vectors.dtype, np.float32), copy=False)
    *cells, n, n_dims = vectors.shape
    present = mask_of(present, (*cells, n)).reshape(-1, n)
    flat = vectors.reshape(-1, n, n_dims)
    found = np.empty((len(flat), n, n), vectors.dtype)
    for start in range(0, len(flat), _BLOCK):
        rows, there = flat[start : start + _BLOCK], present[start : start + _BLOCK]
        if not there.all():
            rows = np.where(there[..., None], rows, 0)
        gram = np.matmul(rows, rows.swapaxes(-1, -2), out=found[start : start + _BLOCK])
        squares = np.einsum("...ii->...i", gram).copy()
        if not (np.isfinite(squares[there]).all() and (squares[there] > 0).all()):
            raise ValueError(
                "Every vector that is present must be finite and longer than 0: mark empty responses as not present."
            )
        scale = np.where(there, 1 / np.sqrt(np.where(there, squares, 1)), 0)
        gram *= scale[..., :, None]
        gram *= scale[..., None, :]
    return np.clip(found, -1, 1, out=found).reshape(*cells, n, n)


def call_diversity(cosines, calls, asked=None):
    """Diversity of responses of one call, and of responses of different calls.

    Parameters
    ----------
    cosines : ndarray of float, shape (..., n, n)
    calls : ndarray of int, shape (..., n)
        Call that gave each response: a list is one call, a chain of turns is one.
    asked : ndarray of bool, shape (..., n), optional

    Returns
    -------
    within, between : ndarray of float, shape (...)
        NaN where there is no such pair. With calls of k responses the diversity of all n is
        ``((k - 1) * within + (n - k) * between) / (n - 1)``, so compare arms at equal n and k.

    Examples
    --------
    >>> call_diversity(np.array([[1, 0.8, 0, 0.2], [0.8, 1, 0.1, 0], [0, 0.1, 1, 0.6], [0.2, 0, 0.6, 1]]), [0, 0, 1, 1])
    (np.float64(0.3), np.float64(0.925))
    """
    cosines, calls = square(cosines), np.asarray(calls)
    asked = mask_of(asked, cosines.shape[:-1])
    pairs = asked[..., :, None] & asked[..., None, :] & ~np.eye(cosines.shape[-1], dtype=bool)
    same = calls[..., :, None] == calls[..., None, :]
    return tuple(
        ratio(np.where(pairs & kind, 1 - cosines, 0).sum((-1, -2), dtype=float), (pairs & kind).sum((-1, -2)))
        for kind in (same, ~same)
    )


def weighted_diversity(cosines, probabilities, asked=None):
    """Diversity of a distribution over responses that the model stated itself.

    Parameters
    ----------
    cosines : ndarray of float, shape (..., n, n)
    probabilities : ndarray of float, shape (..., n)
        As stated. They need not sum to 1: only their ratios matter. NaN, infinite and negative ones are left out.
    asked : ndarray of bool, shape (..., n), optional

    Returns
    -------
    diversity : ndarray of float, shape (...)
        NaN with fewer than two responses of a probability above 0.
    total : ndarray of float, shape (...)
        Sum of the probabilities that are numbers: print it. One would expect the number of calls.
    n_unknown : ndarray of int, shape (...)
        Responses whose probability is not a number or negative.

    Examples
    --------
    >>> d, total, n_unknown = weighted_diversity(np.eye(3), [0.5, 0.7, np.nan])
    >>> float(d), float(total.round(3)), int(n_unknown)
    (1.0, 1.2, 1)
    """
    cosines = square(cosines)
    asked = mask_of(asked, cosines.shape[:-1])
    p = np.broadcast_to(np.asarray(probabilities, float), asked.shape)
    known = asked & np.isfinite(p) & (np.where(np.isnan(p), -1, p) >= 0)
    p = np.where(known, p, 0)
    squares = (p**2).sum(-1)
    inside = np.einsum("...i,...ij,...j->...", p, cosines, p, optimize=True) - np.einsum(
        "...ii,...i->...", cosines, p**2
    )
    weight = p.sum(-1) ** 2 - squares
    weight = np.where(weight > _ROUNDING * p.sum(-1) ** 2, weight, 0)
    return 1 - ratio(inside, weight), p.sum(-1), (asked & ~known).sum(-1)


def pool_diversity(within, between, n):
    """Diversity of n responses, as many of each of several models, expected from what the models gave.

    Parameters
    ----------
    within : ndarray of float, shape (..., n_models)
        Diversity of each model.
    between : ndarray of float, shape (...)
        One minus the mean cosine of responses of different models, all pairs of models alike.
    n : int
        A multiple of the number of models.

    Returns
    -------
    ndarray of float, shape (...)

    Examples
    --------
    >>> float(pool_diversity([0.2, 0.4], 0.5, 4).round(3))
    0.433
    """
    within = np.asarray(within, float)
    k = within.shape[-1]
    if k < 2 or n % k:
        raise ValueError(f"`n` must be a multiple of the number of models, at least 2, but n = {n} for {k} models.")
    each = n // k
    inside = (each - 1) * within.mean(-1) if each > 1 else 0.0
    return (inside + (n - each) * np.asarray(between, float)) / (n - 1)


def best_on_others(values):
    """Choose the best model on all other prompts, for every prompt: a fair single model beside a pool.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts, n_models)
        NaN where a model has no value.

    Returns
    -------
    chosen : ndarray of int, shape (n_prompts,)
        Ties by index; -1 where no other prompt has a value.
    value : ndarray of float, shape (n_prompts,)
        Of the chosen model on the prompt itself.

    Examples
    --------
    >>> best_on_others([[0.9, 0.1], [0.2, 0.3], [0.2, 0.3]])
    (array([1, 0, 0]), array([0.1, 0.2, 0.2]))
    """
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    others = np.where(known, values, 0).sum(0) - np.where(known, values, 0)
    means = ratio(others, known.sum(0) - known)
    filled = np.where(np.isnan(means), -np.inf, means)
    chosen = np.where(np.isfinite(filled).any(1), filled.argmax(1), -1)
    return chosen, np.where(chosen < 0, np.nan, values[np.arange(len(values)), chosen])


def length_pairs(words_a, words_b, tolerance=TOLERANCE_LOG_WORDS):
    """Pair responses of two arms that are equally long, shortest first.

    Parameters
    ----------
    words_a, words_b : ndarray of int, shapes (n_a,) and (n_b,)
        Words of every response; those without any are never paired.
    tolerance : float
        Largest difference of the logs of the words.

    Returns
    -------
    a, b : ndarray of int, shape (n_pairs,)
        Rows of either side. Every response is in one pair at most; no pairing of this kind has more pairs.

    Examples
    --------
    >>> length_pairs([10, 20, 40, 80], [12, 30, 39, 200])
    (array([0, 2]), array([0, 2]))
    """
    words = [np.asarray(side, float) for side in (words_a, words_b)]
    orders = [np.argsort(side, kind="stable") for side in words]
    orders = [order[side[order] > 0] for order, side in zip(orders, words, strict=True)]
    logs = [np.log(side[order]) for order, side in zip(orders, words, strict=True)]
    i = j = 0
    found = []
    while i < len(logs[0]) and j < len(logs[1]):
        gap = logs[0][i] - logs[1][j]
        if abs(gap) <= tolerance + _ROUNDING:
            found.append((orders[0][i], orders[1][j]))
            i, j = i + 1, j + 1
        elif gap < 0:
            i += 1
        else:
            j += 1
    rows = np.array(found, int).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def length_matched_difference(cosines_a, words_a, cosines_b, words_b, tolerance=TOLERANCE_LOG_WORDS):
    """Difference of diversity of two arms among responses paired by length, prompt by prompt.

    Parameters
    ----------
    cosines_a, cosines_b : ndarray of float, shape (n_prompts, n, n)
    words_a, words_b : ndarray of int, shape (n_prompts, n)
        0 for what is not a response.
    tolerance : float

    Returns
    -------
    difference : ndarray of float, shape (n_prompts,)
        NaN for prompts with fewer than five pairs: count them.
    n_pairs : ndarray of int, shape (n_prompts,)

    Examples
    --------
    >>> difference, n_pairs = length_matched_difference(np.eye(5)[None], np.full((1, 5), 9), np.ones((1, 5, 5)), np.full((1, 5), 9))
    >>> difference, n_pairs
    (array([1.]), array([5]))
    """  # noqa: E501
    difference, n_pairs = np.full(len(cosines_a), np.nan), np.zeros(len(cosines_a), int)
    for prompt in range(len(cosines_a)):
        rows = length_pairs(words_a[prompt], words_b[prompt], tolerance)
        n_pairs[prompt] = m = len(rows[0])
        if m >= MIN_PAIRS:
            sides = zip((cosines_a, cosines_b), rows, strict=True)
            d = [
                1 - (square(c[prompt])[np.ix_(at, at)].sum() - c[prompt][at, at].sum()) / (m * (m - 1))
                for c, at in sides
            ]
            difference[prompt] = d[0] - d[1]
    return difference, n_pairs


def contrasts(values, comparators, level=intervals.LEVEL):
    """Difference of every arm from its comparator, paired by prompt, with its t interval.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts, n_arms)
        At equal numbers of responses. NaN where a prompt has no value.
    comparators : sequence of int, shape (n_arms,)
        Index of the comparator; -1 where there is none.
    level : float

    Returns
    -------
    Contrast
        Of shape (n_arms,).

    Examples
    --------
    >>> found = contrasts([[0.1, 0.3], [0.2, 0.5], [0.3, 0.4]], [-1, 0])
    >>> found.estimate.round(3), found.n_prompts
    (array([nan, 0.2]), array([0, 3]))
    """
    values, comparators = np.asarray(values, float), np.asarray(comparators, int)
    if values.ndim != 2 or comparators.shape != values.shape[1:]:
        raise ValueError(
            "Pass values of shape (n_prompts, n_arms) and one comparator per arm, "
            f"but {values.shape} and {comparators.shape} were passed."
        )
    if len(comparators) and not -1 <= comparators.min() <= comparators.max() < len(comparators):
        raise ValueError(
            f"Comparators must be -1 (none) or an arm, 0 to {len(comparators) - 1}, "
            f"but {comparators.tolist()} was passed."
        )
    if np.any(comparators == np.arange(len(comparators))):
        raise ValueError("No arm is its own comparator: name another arm, or -1 for none.")
    other = np.where(comparators >= 0, values[:, comparators], np.nan)
    return mean_contrast(values - other, level)


def mean_contrast(differences, level=intervals.LEVEL):
    """Mean of differences of prompts, with its t interval and one-sided p-value.

    Parameters
    ----------
    differences : ndarray of float, shape (n_prompts, ...)
        NaN where a prompt lacks a side.
    level : float

    Returns
    -------
    Contrast

    Examples
    --------
    >>> float(mean_contrast([0.1, 0.2, 0.3]).p.round(4))
    0.0371
    """
    return _contrast(intervals.mean_interval(differences, level))


def replicate_contrast(replicates, level=intervals.LEVEL):
    """Contrast from an estimate with all prompts and without each; see `intervals.jackknife_interval`.

    Parameters
    ----------
    replicates : ndarray of float, shape (n_prompts + 1, ...)
        NaN in any of them makes the contrast NaN.
    level : float

    Returns
    -------
    Contrast

    Examples
    --------
    >>> found = replicate_contrast([0.2, 0.15, 0.2, 0.25])
    >>> float(found.se.round(3))
    0.058
    """
    replicates = np.asarray(replicates, float)
    whole = ~np.isnan(replicates).any(0)
    found = intervals.jackknife_interval(np.where(whole, replicates, np.nan), level=level)
    return _contrast(found)


def powered_contrast(predicted, labels, prompts, arms, comparators, level=intervals.LEVEL):
    """Difference of mean quality of every arm from its comparator, where people labelled only some responses.

    Parameters
    ----------
    predicted, labels : ndarray of float, shape (n,)
        As for `quality.powered_mean`, of all responses of all arms.
    prompts : ndarray, shape (n,)
    arms : ndarray of int, shape (n,)
        Arm of every response, from 0.
    comparators : sequence of int, shape (n_arms,)
        -1 where there is none.
    level : float

    Returns
    -------
    Contrast
        Of shape (n_arms,). Prompts that both sides have are used; NaN where a side has fewer than two labels.

    Notes
    -----
    A prompt's influence on the difference is that on the arm's mean less that on the comparator's, so pairing counts.

    Examples
    --------
    >>> i = np.arange(40)
    >>> found = powered_contrast(i % 4, np.where(i % 3 == 0, i % 4, np.nan), i // 8, i % 2, [-1, 0])
    >>> found.estimate, found.n_prompts
    (array([nan,  1.]), array([0, 5]))
    """
    f, y, arms = np.asarray(predicted, float), np.asarray(labels, float), np.asarray(arms, int)
    codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
    found = []
    for arm, other in enumerate(comparators):
        common = np.intersect1d(codes[arms == arm], codes[arms == other])
        sides = [np.flatnonzero((arms == side) & np.isin(codes, common)) for side in (arm, other)]
        n = len(common) if other >= 0 else 0
        if n == 0 or min((~np.isnan(y[rows])).sum() for rows in sides) < 2:
            found.append(Contrast(*[np.float64("nan")] * 5, np.int64(n)))
            continue
        parts = [influence_of_prompts(f[rows], y[rows], np.searchsorted(common, codes[rows]), n) for rows in sides]
        estimate, influence = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
        se = np.sqrt(n / (n - 1) * (influence @ influence)) if n > 1 else np.nan
        half = -stdtrit(max(n - 1, 1), (1 - level) / 2) * se
        p = _p_above(np.float64(estimate), np.float64(se), max(n - 1, 1))
        found.append(Contrast(estimate, estimate - half, estimate + half, se, p, np.int64(n)))
    fields = ("estimate", "lower", "upper", "se", "p", "n_prompts")
    return Contrast(*(np.array([getattr(one, name) for one in found]) for name in fields))


def open_minus_closed(open_differences, closed_differences, level=intervals.LEVEL):
    """How much more an arm changes open-ended prompts than prompts with one right answer.

    Parameters
    ----------
    open_differences, closed_differences : ndarray of float, shapes (n_open, ...) and (n_closed, ...)
        Arm minus comparator of every prompt.
    level : float

    Returns
    -------
    Contrast
        `n_prompts` is that of the side that has fewer.

    References
    ----------
    Welch (1947): the sides have different variances.

    Examples
    --------
    >>> float(open_minus_closed([0.3, 0.4, 0.5], [0.1, 0.0, -0.1]).estimate.round(3))
    0.4
    """
    sides = [intervals.mean_interval(side, level) for side in (open_differences, closed_differences)]
    n = np.stack([np.asarray(side.n_prompts) for side in sides])
    variances = np.stack([np.asarray(side.se, float) ** 2 for side in sides])
    total = variances.sum(0)
    below = (variances**2 / np.maximum(n - 1, 1)).sum(0)
    df = np.where(below > 0, total**2 / np.where(below > 0, below, 1), n.min(0) - 1)
    estimate, se = sides[0].estimate - sides[1].estimate, np.sqrt(total)
    df = np.where(np.isnan(df), 1, np.maximum(df, 1))
    half = -stdtrit(df, (1 - level) / 2) * se
    return Contrast(estimate, estimate - half, estimate + half, se, _p_above(estimate, se, df), n.min(0))


def log_cost_ratio(costs, useful, comparators, level=intervals.LEVEL):
    """Log of the cost per useful response of every arm over that of its comparator, with its jackknife interval.

    Parameters
    ----------
    costs : ndarray of float, shape (n_prompts, n_arms)
        Tokens or dollars spent on the prompt, on reasoning and failed calls too.
    useful : ndarray of float, shape (n_prompts, n_arms)
        Expected number of distinct valid ideas at n responses.
    comparators : sequence of int, shape (n_arms,)
        -1 where there is none.
    level : float

    Returns
    -------
    per_useful : ndarray of float, shape (n_arms,)
        Sum of costs over sum of useful responses; infinite without any.
    Contrast
        Of shape (n_arms,); its sign is turned, so that above 0 is cheaper. NaN where a side has nothing useful.

    Examples
    --------
    >>> per_useful, found = log_cost_ratio([[10, 20], [10, 30], [12, 20]], [[2, 8], [2, 8], [2, 8]], [-1, 0])
    >>> per_useful.round(2), found.estimate.round(2)
    (array([5.33, 2.92]), array([nan, 0.6]))
    """
    costs, useful, comparators = np.asarray(costs, float), np.asarray(useful, float), np.asarray(comparators, int)
    if costs.shape != useful.shape or costs.ndim != 2 or comparators.shape != costs.shape[1:]:
        raise ValueError(
            "Pass costs and useful responses of shape (n_prompts, n_arms) and one comparator per arm, "
            f"but {costs.shape}, {useful.shape} and {comparators.shape} were passed."
        )
    present = ~(np.isnan(costs) | np.isnan(useful))
    spent, got = (np.where(present, side, 0) for side in (costs, useful))
    per_useful = np.divide(spent.sum(0), got.sum(0), out=np.full(costs.shape[1], np.inf), where=got.sum(0) > 0)
    per_useful = np.where(present.any(0), per_useful, np.nan)
    pieces = []
    for arm, other in enumerate(comparators):
        both = present[:, arm] & present[:, other] if other >= 0 else np.zeros(len(costs), bool)
        logs = [_left_out_log_ratio(spent[both, a], got[both, a]) for a in (other, arm)] if both.any() else [np.nan]
        pieces.append(replicate_contrast(np.atleast_1d(logs[0] - logs[-1] + 0 * logs[0]), level))
    fields = ("estimate", "lower", "upper", "se", "p", "n_prompts")
    return per_useful, Contrast(*(np.array([getattr(piece, name) for piece in pieces]) for name in fields))


def _left_out_log_ratio(costs, useful):
    """Log of summed costs over summed useful responses, with all prompts and without each."""
    sums = [np.concatenate([[side.sum()], side.sum() - side]) for side in (costs, useful)]
    good = (sums[0] > 0) & (sums[1] > 0)
    logs = [np.log(np.where(good, side, 1)) for side in sums]
    return np.where(good, logs[0] - logs[1], np.nan)


def _contrast(found):
    n = np.asarray(found.n_prompts)
    p = _p_above(np.asarray(found.estimate), np.asarray(found.se), np.maximum(n - 1, 1))
    return Contrast(found.estimate, found.lower, found.upper, found.se, p, n)


def _p_above(estimate, se, df):
    """One-sided p-value that a mean is above 0; differences that are all equal are certain."""
    missing = np.isnan(estimate) | np.isnan(se)
    certain = np.where(estimate > _ROUNDING, 0.0, 1.0)
    spread = np.where(se > _ROUNDING, se, 1)
    p = np.where(se > _ROUNDING, stdtr(df, -np.where(missing, 0, estimate) / spread), certain)
    return np.where(missing, np.nan, p)

"""Correlation of scorers with people on contested items and on the rest, at equal human means, with replicates.

Scores have shape (n_scorers, n_items), NaN where a scorer has none. Replicates leave out one prompt at a time.
"""

from dataclasses import dataclass

import numpy as np

from hivemind_utils.metrics.contested import (
    ContestedSet,
    chance_contested,
    effective_size,
    normal_scores,
    odd_normal_scores,
    subtract_prompt_effects,
)

LEAST_EFFECTIVE_SIZE, LEAST_PROMPTS = 30, 8
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Prepared:
    """Scores and human means as normal scores, less prompt effects; from `prepare`.

    Attributes
    ----------
    patterns : list of Pattern
        One for every pattern of missing scores.
    n_scorers, n_items, n_prompts : int
    pairs : bool
    """

    patterns: list
    n_scorers: int
    n_items: int
    n_prompts: int
    pairs: bool


@dataclass(frozen=True)
class Pattern:
    """Scorers that score the same items; n of the items, k of the scorers.

    Attributes
    ----------
    scorers : ndarray of int, shape (k,)
    items : ndarray of int, shape (n,)
        In the order of their prompts.
    prompts : ndarray of int, shape (n_prompts_here,)
    starts : ndarray of int, shape (n_prompts_here,)
        First place of every prompt in `items`.
    y : ndarray of float, shape (n, k)
        Normal scores, less prompt effects.
    raw : ndarray of float, shape (n, k + 1)
        Normal scores before that, and the human mean's.
    z : ndarray of float, shape (n,)
    """

    scorers: np.ndarray
    items: np.ndarray
    prompts: np.ndarray
    starts: np.ndarray
    y: np.ndarray
    raw: np.ndarray
    z: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Correlation with people on contested items and on the rest at the same human means, with jackknife replicates.

    Attributes
    ----------
    r, e : ndarray of float, shape (n_prompts + 1, n)
        On contested items, and on the rest. The first row has all prompts; row p + 1 leaves out prompt p. NaN where
        there is no correlation.
    present : ndarray of bool, shape (n_prompts, n)
        Prompts a scorer has items of; leaving out another changes nothing.
    effective_size : ndarray of float, shape (n,)
        Smaller of both sides' (sum of w) squared over the sum of w squared.
    reason : ndarray of str, shape (n,)
        Why there can be no verdict; empty if there can.
    """

    r: np.ndarray
    e: np.ndarray
    present: np.ndarray
    effective_size: np.ndarray
    reason: np.ndarray

    @property
    def n_prompts(self):
        """Prompts each scorer has items of, shape (n,)."""
        return self.present.sum(0)

    @property
    def testable(self):
        """Whether there can be a verdict, shape (n,)."""
        return self.reason == ""


def prepare(scores, means, prompts, *, pairs=False):
    """Turn scores and human means into normal scores and subtract prompt effects, once for all sets of items.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
        NaN where missing: such items are left out for that scorer. For pairs, score of the first response minus that of
        the second.
    means : ndarray of float, shape (n_items,)
        Human mean of every item; for pairs, positive where people prefer the first.
    prompts : ndarray, shape (n_items,)
        Prompt of every item: anything that can be sorted.
    pairs : bool
        The sign of scores and means is arbitrary: odd normal scores, no prompt effects.

    Returns
    -------
    Prepared

    Examples
    --------
    >>> prepare([[1.0, 2.0, 3.0]], [1.0, 3.0, 2.0], ["a", "a", "b"]).n_prompts
    2
    """
    scores, means = np.atleast_2d(np.asarray(scores, float)), np.asarray(means, float)
    ids, prompts = np.unique(np.asarray(prompts), return_inverse=True)
    if scores.shape[1] != len(means) or len(prompts) != len(means):
        raise ValueError(
            f"`scores` must have shape (n_scorers, n_items), `means` and `prompts` (n_items,), but {scores.shape}, "
            f"{means.shape} and {prompts.shape} were passed."
        )
    if np.isnan(means).any():
        raise ValueError(f"`means` must have no NaN, but {np.isnan(means).sum()} were passed: leave those items out.")
    known = ~np.isnan(scores)
    kinds, which = np.unique(known, axis=0, return_inverse=True)
    order = np.argsort(prompts, kind="stable")
    patterns = []
    for pattern, has in enumerate(kinds):
        scorers, items = np.flatnonzero(which.ravel() == pattern), order[has[order]]
        used, here = np.unique(prompts[items], return_inverse=True)
        rows = np.vstack([scores[scorers][:, items], means[items]])
        raw = (odd_normal_scores if pairs else normal_scores)(rows).T
        y, z = raw[:, :-1], raw[:, -1]
        if not pairs and len(items):
            y = subtract_prompt_effects(y, z, here)
        patterns.append(Pattern(scorers, items, used, np.searchsorted(here, np.arange(len(used))), y, raw, z))
    return Prepared(patterns, len(scores), len(means), len(ids), pairs)


def compare(prepared, contested):
    """Correlate every scorer with people on contested items and on the rest at the same human means.

    Parameters
    ----------
    prepared : Prepared
    contested : ContestedSet or ndarray of bool, shape (n_items,)
        A mask has no condition on its share.

    Returns
    -------
    Comparison

    Notes
    -----
    With p the chance of being contested given the human mean, a contested item has weight 1 - p and another p: both
    sides then have the same distribution of human means (overlap weights, Li, Morgan and Zaslavsky (2018)). Replicates
    leave out a prompt and keep normal scores and weights.

    Examples
    --------
    >>> i = np.arange(120)
    >>> prepared = prepare([i % 7 + i % 5], i % 7, i // 12)
    >>> compare(prepared, i % 3 == 0).r.shape
    (11, 1)
    """
    mask = contested.mask if isinstance(contested, ContestedSet) else np.asarray(contested, bool)
    if mask.shape != (prepared.n_items,):
        raise ValueError(f"`contested` must have shape ({prepared.n_items},), but {mask.shape} was passed.")
    n, k = prepared.n_prompts, prepared.n_scorers
    r, e = np.full((2, n + 1, k), np.nan)
    present, size = np.zeros((n, k), bool), np.zeros(k)
    varies = np.zeros(k, bool)
    for pattern in prepared.patterns:
        inside, z = mask[pattern.items], pattern.z
        present[np.ix_(pattern.prompts, pattern.scorers)] = True
        if not 0 < inside.sum() < len(inside):
            continue
        chance = chance_contested(np.abs(z) if prepared.pairs else z, inside)
        weights = np.where(inside, 1 - chance, chance)
        size[pattern.scorers] = min(effective_size(weights[inside]), effective_size(weights[~inside]))
        differ = np.ones(len(pattern.scorers), bool)
        for side, target in ((inside, r), (~inside, e)):
            found = _left_out_correlations(np.where(side, weights, 0), pattern, prepared.pairs)
            differ &= _values_differ(pattern, side, prepared.pairs) & np.isfinite(found).all(0)
            target[:, pattern.scorers] = found[:1]  # leaving out a prompt without items changes nothing
            target[np.ix_(pattern.prompts + 1, pattern.scorers)] = found[1:]
        varies[pattern.scorers] = differ
    r[:, ~varies] = e[:, ~varies] = np.nan
    why = contested.reason if isinstance(contested, ContestedSet) else ""
    reason = [why or _why_not(*case) for case in zip(present.sum(0), size, varies, strict=True)]
    return Comparison(r, e, present, size, np.array(reason, dtype=object).astype(str))


def _why_not(n_prompts, size, varies):
    """Say why a scorer cannot be tested, or nothing."""
    if n_prompts < LEAST_PROMPTS:
        return f"only {n_prompts} prompts, at least {LEAST_PROMPTS} are needed"
    if size < LEAST_EFFECTIVE_SIZE:
        return (
            f"effective size {size:.0f} at equal human means, at least {LEAST_EFFECTIVE_SIZE} is needed: contested and "
            "other items hardly overlap"
        )
    return "" if varies else "one value only on contested items or on the rest, with or without one of the prompts"


def _left_out_correlations(weights, pattern, pairs):
    """Weighted correlation of every column of y with z, with all prompts and without each: (n_prompts + 1, k)."""
    y, z, w = pattern.y, pattern.z[:, None], weights[:, None]

    def sums(values):
        parts = np.add.reduceat(values, pattern.starts, axis=0)
        total = parts.sum(0)
        return np.concatenate([total[None], total - parts])

    wy, wz, n = w * y, w * z, sums(w)
    squares_y, squares_z, products = sums(wy * y), sums(wz * z), sums(wy * z)
    with np.errstate(invalid="ignore", divide="ignore"):
        if not pairs:
            mean_y, mean_z = sums(wy), sums(wz)
            squares_y, squares_z = squares_y - mean_y**2 / n, squares_z - mean_z**2 / n
            products = products - mean_y * mean_z / n
        found = products / np.sqrt(squares_y * squares_z)
        usable = (n > _ROUNDING) & (squares_y > _ROUNDING * n) & (squares_z > _ROUNDING * n)
    return np.where(usable, np.clip(found, -1, 1), np.nan)


def _values_differ(pattern, side, pairs):
    """Whether score and human mean take two values on a side, whichever prompt is left out: shape (k,).

    For pairs, whether they take another value than 0: a constant sign depends on which response is the first.
    """
    values, kept = (np.abs(pattern.raw) if pairs else pattern.raw), side[:, None]
    high = _left_out_maximum(np.maximum.reduceat(np.where(kept, values, -np.inf), pattern.starts, axis=0))
    low = 0.0 if pairs else -_left_out_maximum(np.maximum.reduceat(np.where(kept, -values, -np.inf), pattern.starts))
    differ = (high > low).all(0)
    return differ[:-1] & differ[-1]


def _left_out_maximum(parts):
    """Maximum over the rows, without each row in turn: shape of `parts`."""
    if len(parts) == 1:
        return np.full(parts.shape, -np.inf)
    second, first = np.sort(parts, axis=0)[-2:]
    return np.where(parts == first, second, first)


def compare_kinds(comparison, kinds):
    """Compare kinds of scorers with people: the mean of their scorers, replicate by replicate.

    The jackknife then knows how far the scorers' errors go together.

    Parameters
    ----------
    comparison : Comparison
    kinds : sequence of str, length n

    Returns
    -------
    names : list of str
        Kinds in alphabetical order.
    Comparison
        Of the testable scorers of every kind; a kind without any takes the reason of its first scorer.

    Examples
    --------
    >>> i = np.arange(120)
    >>> scorers = compare(prepare([i % 7 + i % 5, i % 7 - i % 4], i % 7, i // 12), i % 3 == 0)
    >>> names, kinds = compare_kinds(scorers, ["judge", "judge"])
    >>> names, bool(np.isclose(kinds.r[0, 0], scorers.r[0].mean()))
    (['judge'], True)
    """
    kinds = np.asarray(kinds, dtype=object).astype(str)
    if kinds.shape != comparison.reason.shape:
        raise ValueError(f"`kinds` must have one name for each of {len(comparison.reason)} scorers, not {len(kinds)}.")
    names = sorted(set(kinds.tolist()))
    parts = []
    for name in names:
        own = np.flatnonzero(kinds == name)
        at = own[comparison.testable[own]]
        why = "" if len(at) else comparison.reason[own[0]]
        if not len(at):  # numbers without a verdict: of those that have any
            at = own[np.isfinite(comparison.r[0, own])] if np.isfinite(comparison.r[0, own]).any() else own[:1]
        size = comparison.effective_size[at].min()
        means = (comparison.r[:, at].mean(1), comparison.e[:, at].mean(1))
        parts.append((*means, comparison.present[:, at].any(1), size, why))
    if not parts:
        return [], Comparison(*(x[:, :0] for x in (comparison.r, comparison.e, comparison.present)), *np.empty((2, 0)))
    r, e, present, size, reason = zip(*parts, strict=True)
    return names, Comparison(*(np.stack(x, 1) for x in (r, e, present)), np.array(size), np.array(reason))

"""Whether a scorer loses touch with people where people differ.

A scorer is compared with the human mean on the most contested items and on the rest, at equal human means: the rest is
weighted so that both sides have the same distribution of human means. Then a ceiling, a floor or a curve of the rating
scale acts on both sides alike, and a lower correlation on the contested items is the scorer's own.

No random numbers: standard errors come from a jackknife over prompts, and estimates are tested by t with one degree of
freedom less than prompts. Size and power: ``benchmarks/verdict_worlds.csv``.
"""

import gc
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from hivemind_utils.metrics.calibration import rank_correlations
from hivemind_utils.metrics.comparison import Comparison, compare_kinds
from hivemind_utils.metrics.contested import normal_scores

KEEP, HALF = 0.9, 0.5  # a scorer degrades below the first share of its expected correlation, holds up above the second
LEVEL = 0.025  # one-sided
DEGRADES, BOTH, HOLDS_UP = "degrades", "degrades, keeps more than half", "holds up"
INCONCLUSIVE, NOT_TESTABLE = "inconclusive", "not testable"
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Tests:
    """What a comparison says of every scorer before adjusting for their number; each of shape (n,).

    Attributes
    ----------
    kept, kept_lower, kept_upper : ndarray of float
        Share of the expected correlation that is kept, r / e, and Fieller's 95 % interval; infinite where e is not
        above 0 at 2.5 %.
    p_signal : ndarray of float
        That e is not above 0.
    p_shortfall : ndarray of float
        That r is not below 0.9 e; with `p_signal`, the test of "degrades".
    p_degrades, p_holds_up : ndarray of float
        One-sided p-values of both statements.
    """

    kept: np.ndarray
    kept_lower: np.ndarray
    kept_upper: np.ndarray
    p_signal: np.ndarray
    p_shortfall: np.ndarray
    p_degrades: np.ndarray
    p_holds_up: np.ndarray

    __test__ = False  # not a class of pytest's


@dataclass(frozen=True)
class Verdicts:
    """Decisions of a family; each of shape (n,).

    Attributes
    ----------
    p_degrades, p_holds_up : ndarray of float
        Adjusted by Holm's method; NaN where not testable. 1 where a scorer cannot be said to degrade because its kind
        was not.
    decision, reason : ndarray of str
        One of the five words, and why for "not testable".
    """

    p_degrades: np.ndarray
    p_holds_up: np.ndarray
    decision: np.ndarray
    reason: np.ndarray


@dataclass(frozen=True)
class FamilyVerdicts:
    """Verdicts of the kinds of scorers, and of the scorers, on one sort of items.

    Attributes
    ----------
    kinds : list of str
    kind_comparison : Comparison
    kind_verdicts : Verdicts
    scorer_verdicts : Verdicts
    """

    kinds: list
    kind_comparison: Comparison
    kind_verdicts: Verdicts
    scorer_verdicts: Verdicts


def jackknife_se(replicates, present):
    """Standard error of every column, from its value with all prompts and without each; see `Comparison`.

    Examples
    --------
    >>> jackknife_se(np.array([[2.0], [2.5], [2.0], [1.5]]), np.ones((3, 1), bool)).round(6)
    array([0.57735])
    """
    n = present.sum(0)
    left_out = np.where(present, replicates[1:], 0)
    centred = np.where(present, left_out - left_out.sum(0) / np.maximum(n, 1), 0)
    return np.sqrt(np.maximum(n - 1, 0) / np.maximum(n, 1) * (centred**2).sum(0))


def _p_below(replicates, present):
    """One-sided p-value that the quantity is not below 0; NaN for fewer than two prompts."""
    n, se = present.sum(0), jackknife_se(replicates, present)
    value = np.where(np.abs(replicates[0]) < _ROUNDING, 0, replicates[0])
    certain = np.where(value == 0, 0, np.copysign(np.inf, value))
    t = np.divide(value, se, out=certain, where=se > _ROUNDING)
    return np.where((n > 1) & ~np.isnan(value), stdtr(np.maximum(n - 1, 1), t), np.nan)


def tests(comparison):
    """Test, for every scorer, that it keeps less than 90 %, and that it keeps more than half, of what is expected.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    Tests
        Also where there can be no verdict; NaN where there is no correlation.

    References
    ----------
    Fieller (1954), Some problems in interval estimation.

    Examples
    --------
    >>> from hivemind_utils.metrics.comparison import compare, prepare
    >>> i = np.arange(120)
    >>> found = tests(compare(prepare([i % 7 + i % 5], i % 7, i // 12), i % 3 == 0))
    >>> bool(found.kept_lower[0] < found.kept[0] < found.kept_upper[0])
    True
    """
    r, e, present = comparison.r, comparison.e, comparison.present
    p_signal = _p_below(-e, present)
    p_shortfall = _p_below(r - KEEP * e, present)
    p_excess = _p_below(HALF * e - r, present)
    kept, lower, upper = _fieller(r, e, present)
    degrades, holds_up = np.maximum(p_shortfall, p_signal), np.maximum(p_excess, p_signal)
    return Tests(kept, lower, upper, p_signal, p_shortfall, degrades, holds_up)


def _fieller(r, e, present):
    """Share kept, r / e, and the bounds k at which r - k e is just not told from 0."""
    n = np.maximum(present.sum(0), 2)
    q2 = stdtrit(n - 1, LEVEL) ** 2
    var_r, var_e, var_sum = (jackknife_se(x, present) ** 2 for x in (r, e, r + e))
    covariance = (var_sum - var_r - var_e) / 2
    r, e = r[0], e[0]
    a, b, c = e**2 - q2 * var_e, r * e - q2 * covariance, r**2 - q2 * var_r
    bounded = (a > 0) & (e > 0)
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    a = np.where(bounded, a, 1)
    kept = np.divide(r, e, out=np.full(e.shape, np.nan), where=np.abs(e) > _ROUNDING)
    missing = np.isnan(r) | np.isnan(e)
    lower, upper = np.where(bounded, (b - root) / a, -np.inf), np.where(bounded, (b + root) / a, np.inf)
    return kept, np.where(missing, np.nan, lower), np.where(missing, np.nan, upper)


def band(comparison, found=None, *, p_degrades=None, shown=None):
    """Where the correlation on contested items lies for a scorer that loses nothing.

    Below the band exactly where the scorer degrades.

    Parameters
    ----------
    comparison : Comparison
    found : Tests, optional
        `tests` of the comparison, where known.
    p_degrades : ndarray of float, shape (n,), optional
        Adjusted p-values of "degrades": the band is as wide as the adjusted test needs. None: pointwise, no verdict.
    shown : ndarray of float, shape (n,), optional
        Correlations beside which the band is drawn (Spearman of the subset, say); it is moved by their distance to r.

    Returns
    -------
    lower, expected, upper : ndarray of float, shape (n,)
        Between -1 and 1. NaN, no band, where there can be no verdict or e is not above 0 at 2.5 %.

    Examples
    --------
    >>> from hivemind_utils.metrics.comparison import compare, prepare
    >>> i = np.arange(360)
    >>> comparison = compare(prepare([i % 7 + i % 5], i % 7, i // 12), i % 3 == 0)
    >>> lower, expected, upper = band(comparison)
    >>> bool(lower[0] < expected[0] < upper[0])
    True
    """
    found = tests(comparison) if found is None else found
    r, e, present = comparison.r, comparison.e, comparison.present
    level = np.full(r.shape[1], LEVEL)
    if p_degrades is not None:
        p_degrades = np.asarray(p_degrades, float)
        larger = p_degrades > 0
        level = np.where(larger, LEVEL * found.p_shortfall / np.where(larger, p_degrades, 1), LEVEL)
    drawn = comparison.testable & (found.p_signal < LEVEL) & (level > 0)
    df = np.maximum(present.sum(0) - 1, 1)
    q = -stdtrit(df, np.where(drawn, level, LEVEL))
    shift = 0.0 if shown is None else np.asarray(shown, float) - r[0]
    edges = (KEEP * e[0] - q * jackknife_se(r - KEEP * e, present), e[0], e[0] + q * jackknife_se(r - e, present))
    return tuple(np.where(drawn, np.clip(edge + shift, -1, 1), np.nan) for edge in edges)


def holm(p_values):
    """P-values adjusted by Holm's method; NaN stays and does not count.

    Parameters
    ----------
    p_values : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float, shape (n,)

    Examples
    --------
    >>> holm([0.01, np.nan, 0.04])
    array([0.02,  nan, 0.04])
    """
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, float)
    adjusted, known = np.full(p_values.shape, np.nan), ~np.isnan(p_values)
    if known.any():
        gc.freeze()  # statsmodels collects garbage at every call, which takes half a second where much is loaded
        try:
            adjusted[known] = multipletests(p_values[known], method="holm")[1]
        finally:
            gc.unfreeze()
    return adjusted


def decide(p_degrades, p_holds_up, reason):
    """Words for adjusted p-values.

    Parameters
    ----------
    p_degrades, p_holds_up : ndarray of float, shape (n,)
    reason : ndarray of str, shape (n,)
        Why there can be no verdict; empty where there can.

    Returns
    -------
    ndarray of str, shape (n,)
        "degrades", "degrades, keeps more than half", "holds up", "inconclusive" or "not testable".

    Examples
    --------
    >>> decide([0.01, 0.01, 0.3, 0.3], [0.01, 0.9, 0.01, 0.3], [""] * 4).tolist()
    ['degrades, keeps more than half', 'degrades', 'holds up', 'inconclusive']
    """
    below, above = np.asarray(p_degrades, float) < LEVEL, np.asarray(p_holds_up, float) < LEVEL
    cases = [np.asarray(reason) != "", below & above, below, above]
    return np.select(cases, [NOT_TESTABLE, BOTH, DEGRADES, HOLDS_UP], INCONCLUSIVE)


def family_verdicts(comparisons, kinds, *, left_out=("text",)):
    """Verdicts of all kinds of scorers on all sorts of items, and of their scorers.

    Holm's method holds the chance of any wrong "degrades" at 2.5 % in each of two families: kinds × sorts of items;
    then the scorers of the kinds that degrade, all together. Other scorers cannot be said to degrade. "Holds up" has
    the same first family; the second is every kind's scorers on one sort of items, whatever the kind's verdict.

    Parameters
    ----------
    comparisons : dict of str to Comparison
        By sort of items, such as "absolute" and "pairs".
    kinds : dict of str to sequence of str
        Kind of every scorer, for the same sorts of items.
    left_out : sequence of str
        Kinds that are baselines and bear no verdict.

    Returns
    -------
    dict of str to FamilyVerdicts

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.

    Examples
    --------
    >>> from hivemind_utils.metrics.comparison import compare, prepare
    >>> i = np.arange(360)
    >>> comparison = compare(prepare([i % 7 + i % 5, i % 7 - i % 4], i % 7, i // 12), i % 3 == 0)
    >>> family_verdicts({"absolute": comparison}, {"absolute": ["judge", "judge"]})["absolute"].kinds
    ['judge']
    """
    parts = {}
    for items, comparison in comparisons.items():
        names, kind_comparison = compare_kinds(comparison, kinds[items])
        baseline = np.isin(names, left_out)
        reason = _with_baselines(kind_comparison.reason, baseline)
        parts[items] = (names, kind_comparison, tests(kind_comparison), reason)
    kind_verdicts = _family([(found, reason) for _, _, found, reason in parts.values()])

    scorers, gates = [], []
    for (items, comparison), (names, *_), verdicts in zip(
        comparisons.items(), parts.values(), kind_verdicts, strict=True
    ):
        own = np.searchsorted(names, np.asarray(kinds[items], dtype=object).astype(str))
        reason = _with_baselines(comparison.reason, np.isin(names, left_out)[own])
        scorers.append((tests(comparison), reason, own))
        gates.append(np.isin(verdicts.decision, (DEGRADES, BOTH))[own])
    scorer_verdicts = _gated_family(scorers, gates)
    return {
        items: FamilyVerdicts(names, kind_comparison, kind, scorer)
        for (items, (names, kind_comparison, *_)), kind, scorer in zip(
            parts.items(), kind_verdicts, scorer_verdicts, strict=True
        )
    }


def _with_baselines(reason, baseline):
    return np.where(baseline, "a baseline, not a scorer of its own: no verdict", np.asarray(reason, dtype=object))


def _family(cells):
    """One Holm family of each statement over all cells, a list of (Tests, reason)."""
    if not cells:
        return []
    ends = np.cumsum([len(reason) for _, reason in cells])[:-1]
    reason = np.concatenate([reason for _, reason in cells]).astype(str)
    adjusted = [
        holm(np.where(reason == "", np.concatenate([getattr(found, name) for found, _ in cells]), np.nan))
        for name in ("p_degrades", "p_holds_up")
    ]
    words = decide(*adjusted, reason)
    return [Verdicts(*parts) for parts in zip(*(np.split(x, ends) for x in (*adjusted, words, reason)), strict=True)]


def _gated_family(cells, gates):
    """Adjust "degrades" of the scorers behind the gates together, "holds up" within every kind and sort of items."""
    if not cells:
        return []
    ends = np.cumsum([len(gate) for gate in gates])[:-1]
    reason, gate = np.concatenate([reason for _, reason, _ in cells]).astype(str), np.concatenate(gates)
    testable = reason == ""
    raw = np.concatenate([found.p_degrades for found, _, _ in cells])
    degrades = np.where(gate, holm(np.where(testable & gate, raw, np.nan)), np.where(testable, 1.0, np.nan))
    holds_up = []
    for found, why, own in cells:
        p, adjusted = np.where(np.asarray(why) == "", found.p_holds_up, np.nan), np.full(len(own), np.nan)
        for kind in np.unique(own):
            adjusted[own == kind] = holm(p[own == kind])
        holds_up.append(adjusted)
    holds_up = np.concatenate(holds_up)
    parts = (degrades, holds_up, decide(degrades, holds_up, reason), reason)
    return [Verdicts(*found) for found in zip(*(np.split(x, ends) for x in parts), strict=True)]


def rank_linear_line(means, full, masks, n_draws, rng):
    """Expected Spearman correlation in subsets that are cut by the human mean, of a scorer on a straight line.

    Outside such a subset there are no items of equal mean: a flat curve and lost touch are the same thing there, and no
    band or verdict is possible. The line says what range restriction alone does to a scorer whose normal scores follow
    those of the human mean by the same straight line everywhere.

    Parameters
    ----------
    means : ndarray of float, shape (n_items,)
    full : ndarray of float, shape (n_scorers,)
        Correlations on all items.
    masks : ndarray of bool, shape (n_subsets, n_items)
    n_draws : int
        Simulated scorers.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_subsets, n_scorers)
        NaN where the human mean is constant in the subset.

    Examples
    --------
    >>> means = np.arange(200.0)
    >>> masks = np.stack([means >= 0, abs(means - 100) < 20])
    >>> full, middle = rank_linear_line(means, [0.6], masks, 200, np.random.default_rng(0))[:, 0]
    >>> bool(0.5 < full < 0.62), bool(middle < 0.3)
    (True, True)
    """
    means, full = np.asarray(means, float), np.atleast_1d(np.asarray(full, float))
    z, noise = normal_scores(means), rng.normal(size=(n_draws, len(means)))
    found = [rank_correlations(rho * z + np.sqrt(1 - rho**2) * noise, means, masks).mean(1) for rho in full]
    return np.stack(found, axis=1)

"""Which items count: the published rules for "equally good" and "contested" items, and the primary rule.

Every rule keeps the items whose statistic (the human mean, the entropy, ...) lies between two bounds, which depend on
all items; weights say how often an item was drawn by a bootstrap, so that a rule can be applied again in every draw.
"""

from dataclasses import dataclass

import numpy as np

from hivemind_utils.metrics.contested import contested_set

METHODS = ("all", "tukey", "z_score", "middle", "top", "bottom", "first", "contested", "fixed")


PERCENTS_CONTESTED = (16, 14, 12, 10, 8, 6, 4, 2)


PERCENTS_PAIRS = (95, 90, 85, 80, 75, 70, 65, 60)


TUKEY_WIDTHS = (3.0, 2.5, 2.0, 1.5, 1.0, 0.5)


PRIMARY = "most contested"  # the rule that verdicts rest on; see `contested.contested_set`


STATISTIC_NAMES = {
    "entropy_bits": "entropy", "entropy_grouped_bits": "grouped entropy", "gini": "Gini index",
    "pairwise_disagreement": "pairwise disagreement", "minority_share": "minority share",
    "fleiss_agreement": "agreement (Fleiss)", "gap": "gap to the next mean", "minus_ties": "most ties",
    "agreement": "least agreement",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One subset of the items.

    Attributes
    ----------
    name : str
        Unique, readable.
    family : str
        Rules of one family form a grid: "full", "similar" or "contested", and what follows it.
    method : str
        "all"; "tukey" (within `parameter` interquartile ranges of the quartiles); "z_score" (within `parameter`
        standard deviations, population); "middle", "top", "bottom" (`parameter` percent of the items, bounds
        inclusive, linear percentiles); "first" (stable sort by the statistic, ascending, the first ``floor(n *
        parameter / 100)``); "contested" (see `contested.contested_set`); "fixed" (where the statistic is 1: a subset
        that was chosen beforehand).
    statistic : str
        Key of the statistic the bounds are laid on.
    parameter : float
    """

    name: str
    family: str
    method: str
    statistic: str = ""
    parameter: float = float("nan")

    @property
    def cut_by_mean(self):
        """Whether the human mean decides who is in: outside there are no items of equal mean to compare with."""
        return self.statistic.removesuffix("_within") in ("mean", "gap", "minus_ties", "agreement")

    @property
    def words(self):
        """Name for figures, such as ``top 16 % by entropy``."""
        if self.method == "all":
            return "all"
        where = ", within prompts" if self.statistic.endswith("_within") else ""
        what = STATISTIC_NAMES.get(self.statistic.removesuffix("_within"), self.statistic)
        p = f"{self.parameter:g}"
        named = {
            "tukey": f"Tukey fences, k = {p}",
            "z_score": f"within {p} sd of the mean",
            "middle": f"middle {p} % by mean",
            "top": f"top {p} % by {what}",
            "bottom": f"lowest {p} % by {what}",
            "first": f"{p} % with {what}",
            "contested": self.name,
        }
        return named.get(self.method, self.name) + where


def absolute_rules(measure="entropy_bits"):
    """The published grid for ratings (all, Tukey fences of the mean, top percents of entropy), the primary rule.

    Examples
    --------
    >>> [rule.name for rule in absolute_rules()][:3]
    ['full', 'tukey 3.0', 'tukey 2.5']
    """
    return [
        Rule("full", "full", "all"),
        *(Rule(f"tukey {k:.1f}", "similar", "tukey", "mean", k) for k in TUKEY_WIDTHS),
        *(Rule(f"entropy {q}", "contested", "top", measure, q) for q in PERCENTS_CONTESTED),
        Rule(PRIMARY, "primary", "contested", measure),
    ]


def pair_rules():
    """The published grid for pairs: most ties first, lowest agreement first; and the primary rule.

    Examples
    --------
    >>> [rule.name for rule in pair_rules()][:3]
    ['full', 'similar 95', 'similar 90']
    """
    return [
        Rule("full", "full", "all"),
        *(Rule(f"similar {q}", "similar", "first", "minus_ties", q) for q in PERCENTS_PAIRS),
        *(Rule(f"contested {q}", "contested", "first", "agreement", q) for q in PERCENTS_PAIRS),
        Rule(PRIMARY, "primary", "contested", "entropy_bits"),
    ]


def similar_rules():
    """Other readings of "equally good" (Table 19): Tukey, z-score, middle, gap; global and within prompts.

    Examples
    --------
    >>> [rule.name for rule in similar_rules()][:3]
    ['tukey G 1.5', 'tukey G 1', 'tukey G 0.5']
    """
    rules = []
    for where, suffix in (("G", ""), ("L", "_within")):
        rules += [
            *(Rule(f"tukey {where} {k:g}", f"tukey {where}", "tukey", f"mean{suffix}", k) for k in (1.5, 1.0, 0.5)),
            *(Rule(f"z {where} {c:g}", f"z-score {where}", "z_score", f"mean{suffix}", c) for c in (1.5, 1.0, 0.5)),
            *(Rule(f"middle {where} {q}", f"middle {where}", "middle", f"mean{suffix}", q) for q in (80, 60, 40)),
            *(Rule(f"gap {where} {q}", f"gap {where}", "bottom", f"gap{suffix}", q) for q in (80, 60, 40)),
        ]
    return rules


def measure_rules(measures, percents=(16, 12, 8, 4)):
    """Other measures of disagreement (Table 20): the most contested items by each; 120, 90, 60 and 30 of 750.

    Examples
    --------
    >>> [rule.name for rule in measure_rules(["gini"])]
    ['gini 16', 'gini 12', 'gini 8', 'gini 4']
    """
    return [Rule(f"{name} {q}", name, "top", name, q) for name in measures for q in percents]


def kept_weights(rule, statistics, weights=None, groups=None):
    """Apply a rule: how often every item is kept.

    Parameters
    ----------
    rule : Rule
    statistics : dict of str to ndarray of float, shape (n_items,)
    weights : ndarray of int, shape (n_items,), optional
        How often each item was drawn; 1 each by default. Within prompts, copies of a prompt are prompts of their own.
    groups : ndarray of int, shape (n_items,), optional
        Prompt of every item: needed by rules on statistics that end in ``_within``, whose bounds are laid within
        prompts.

    Returns
    -------
    ndarray of float, shape (n_items,)
        Between 0 and the item's weight. Only "first" keeps a part of an item's copies, where its quota ends.

    Examples
    --------
    >>> kept_weights(Rule("full", "full", "all"), {"mean": np.array([1.0, 2.0])})
    array([1., 1.])
    """
    if rule.method not in METHODS:
        raise ValueError(f"The method of a rule must be one of {list(METHODS)}, but {rule.method!r} was passed.")
    n = len(next(iter(statistics.values())))
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    if rule.method == "all":
        return weights
    within = rule.statistic.endswith("_within")
    name = rule.statistic.removesuffix("_within") if rule.statistic not in statistics else rule.statistic
    if name not in statistics:
        raise ValueError(f"Rule {rule.name!r} needs the statistic {name!r}; there are {sorted(statistics)}.")
    values = np.asarray(statistics[name], float)
    if within:
        if groups is None:
            raise ValueError(f"Rule {rule.name!r} works within prompts: pass `groups`.")
        kept = np.zeros(n)
        for rows in _rows_of(groups):
            kept[rows] = _kept(rule, values[rows], np.ones(len(rows)))
        return kept * weights
    return _kept(rule, values, weights)


def _kept(rule, values, weights):
    if rule.method == "fixed":
        return weights * (values == 1)
    if not weights.any():
        return weights
    if rule.method == "contested":
        found = contested_set(np.repeat(values, np.rint(weights).astype(int)))
        return weights * (np.round(values, 12) >= found.threshold)
    if rule.method == "first":
        order = np.argsort(values, kind="stable")
        quota = int(weights.sum() * rule.parameter / 100)
        before = np.cumsum(weights[order]) - weights[order]
        kept = np.empty_like(weights)
        kept[order] = np.clip(quota - before, 0, weights[order])
        return kept
    low, high = _bounds(rule, values, weights)
    return weights * ((values >= low) & (values <= high))


def _bounds(rule, values, weights):
    if rule.method == "tukey":
        first, third = weighted_percentiles(values, [25, 75], weights)
        return first - rule.parameter * (third - first), third + rule.parameter * (third - first)
    if rule.method == "z_score":
        mean = np.average(values, weights=weights)
        spread = rule.parameter * np.sqrt(np.average((values - mean) ** 2, weights=weights))
        return mean - spread, mean + spread
    if rule.method == "middle":
        return weighted_percentiles(values, [50 - rule.parameter / 2, 50 + rule.parameter / 2], weights)
    if rule.method == "top":
        low, drawn = weighted_percentiles(values, [100 - rule.parameter], weights)[0], values[weights > 0]
        if low <= drawn.min() < drawn.max():  # ties at the bottom would keep everything: keep what stands above them
            low = drawn[drawn > drawn.min()].min()
        return low, np.inf
    return -np.inf, weighted_percentiles(values, [rule.parameter], weights)[0]


def weighted_percentiles(values, percents, weights):
    """Linear-interpolated percentiles of weighted values: ``np.percentile(np.repeat(values, weights))``.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    percents : sequence of float
    weights : ndarray of whole numbers, shape (n,)

    Returns
    -------
    ndarray of float, shape (n_percents,)

    Examples
    --------
    >>> weighted_percentiles(np.array([1.0, 2.0, 10.0]), [50], np.array([1, 1, 3]))
    array([10.])
    """
    order = np.argsort(values, kind="stable")
    values, last = values[order], np.cumsum(weights[order])
    place = np.asarray(percents, float) / 100 * (last[-1] - 1)
    below = np.floor(place)
    a, b = (values[np.searchsorted(last, at, side="right").clip(max=len(values) - 1)] for at in (below, below + 1))
    share = place - below
    # As NumPy does it, so that an item exactly on a bound stays on the same side.
    return np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share)) + 0.0


def gaps(means, groups=None):
    """Distance of every item's mean to the nearest other mean, of all items or of its prompt.

    Parameters
    ----------
    means : ndarray of float, shape (n_items,)
    groups : ndarray of int, shape (n_items,), optional
        Prompt of every item; None looks at all items.

    Returns
    -------
    ndarray of float, shape (n_items,)
        Infinite where there is no other.

    Examples
    --------
    >>> gaps(np.array([1.0, 1.5, 4.0]))
    array([0.5, 0.5, 2.5])
    """
    means = np.asarray(means, float)
    found = np.full(len(means), np.inf)
    for rows in [np.arange(len(means))] if groups is None else _rows_of(groups):
        order = rows[np.argsort(means[rows], kind="stable")]
        steps = np.diff(means[order])
        found[order[1:]] = steps
        found[order[:-1]] = np.minimum(found[order[:-1]], steps)
    return found


def _rows_of(groups):
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.asarray(groups)[order])) + 1)

"""Published correlations of scorers with people, on subsets of the items, with intervals and what to compare them with.

Notebook 09 draws these grids as the paper does. They are descriptive: the verdicts are those of `verdicts`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from hivemind_utils.metrics import (
    agreement,
    calibration,
    comparison,
    cross_fit,
    intervals,
    soft_labels,
    subsets,
    verdict,
)
from hivemind_utils.metrics.resample import mean_of_known
from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.ratings import published
from hivemind_utils.ratings.verdicts import BASELINES
from hivemind_utils.tables import files

MEASURES = (
    "entropy_bits", "entropy_grouped_bits", "gini", "pairwise_disagreement", "minority_share", "fleiss_agreement",
)  # fmt: skip
MEASURE_NAMES = {
    "entropy_bits": "Entropy",
    "entropy_grouped_bits": "Entropy Grouped",
    "gini": "Gini",
    "pairwise_disagreement": "Pairwise Disagreement",
    "minority_share": "Majority-vs-Minority",
    "fleiss_agreement": "Fleiss Kappa Single",
}
CAPTION = "Spearman, items pooled; 95 % jackknife intervals over prompts."
TITLES = {
    "tukey G": "Tukey fences, all items", "z-score G": "z-score, all items", "middle G": "middle, all items",
    "gap G": "gap, all items", "tukey L": "Tukey fences, per prompt", "z-score L": "z-score, per prompt",
    "middle L": "middle, per prompt", "gap L": "gap, per prompt", "entropy_bits": "entropy",
    "entropy_grouped_bits": "grouped entropy", "gini": "Gini index", "pairwise_disagreement": "pairwise disagreement",
    "minority_share": "minority share", "fleiss_agreement": "highest agreement (Fleiss)",
}  # fmt: skip
_LINE_STRENGTHS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Grid:
    """Correlations of all scorers in all subsets of one type of items, with all prompts and without each.

    Attributes
    ----------
    scored : Scored
    rules : list of subsets.Rule
        "full" first; rules that choose the same items are merged into the first.
    masks : ndarray of float, shape (n_rules, n_items)
    merged : dict of str to list of str
        Name of a kept rule to the names of those that equal it.
    replicates : ndarray of float, shape (n_prompts + 1, n_rules, n_scorers)
    present : ndarray of bool, shape (n_prompts, 1, n_scorers)
    """

    scored: object
    rules: list
    masks: np.ndarray
    merged: dict
    replicates: np.ndarray
    present: np.ndarray

    @property
    def item_type(self):
        """Type of the items."""
        return self.scored.items.item_type

    @property
    def rho(self):
        """Spearman correlations, shape (n_rules, n_scorers)."""
        return self.replicates[0]

    @cached_property
    def kinds(self):
        """Kinds of scorers in alphabetical order."""
        return sorted(set(self.scored.kinds))

    @cached_property
    def kind_intervals(self):
        """Mean over the scorers of every kind, with its interval; each of shape (n_rules, n_kinds)."""
        of_kind = [self.scored.kinds == kind for kind in self.kinds]
        means = np.stack([mean_of_known(self.replicates[:, :, at], axis=2) for at in of_kind], axis=2)
        present = np.stack([self.present[:, :, at].any(2) for at in of_kind], axis=2)
        return intervals.correlation_interval(means, present)

    @cached_property
    def comparisons(self):
        """Comparison with the rest at equal human means per rule; None where the human mean decides who is in."""
        prepared = self.scored.prepared
        return [
            None if rule.method == "all" or rule.cut_by_mean else comparison.compare(prepared, mask > 0)
            for rule, mask in zip(self.rules, self.masks, strict=True)
        ]


def grid(scored, rules):
    """Correlate all scorers in all subsets of one type of items.

    Parameters
    ----------
    scored : Scored
    rules : list of subsets.Rule
        "full" first.

    Returns
    -------
    Grid
    """
    items = scored.items
    rules, masks, merged = distinct_rules(rules, items)
    statistics = rating_labels.statistics(items.table, items.prompts)
    found = calibration.left_out_correlations(scored.scores, items.means, statistics, rules, items.prompts)
    return Grid(scored, rules, masks, merged, *found)


def grids(scored):
    """`grid` of the published rules, and of the most contested items, for every type of item.

    Parameters
    ----------
    scored : dict of str to Scored

    Returns
    -------
    dict of str to Grid
    """
    rules = {"absolute": subsets.absolute_rules(), "pairs": subsets.pair_rules()}
    return {item_type: grid(part, rules[item_type]) for item_type, part in scored.items()}


def words(made, item_type):
    """Name of every rule in figures, by its name in tables; see `subsets.Rule.words`. Empty without such items."""
    if item_type not in made:
        return {}
    names = {rule.name: rule.words for rule in made[item_type].rules}
    return names | {subsets.PRIMARY: made[item_type].scored.items.contested.name}


def key_words(made, item_type):
    """The rules that the figure of verdicts draws, to their names: all, most similar and most contested items."""
    names = words(made, item_type)
    similar = [rule.name for rule in made[item_type].rules if rule.family == "similar"][-1:] if names else []
    return {name: names[name] for name in ("full", *similar, subsets.PRIMARY) if name in names}


def equal_subsets(made, item_type):
    """Say which rules choose the same items and are drawn once; empty where none do."""
    merged = made[item_type].merged if item_type in made else {}
    same = "; ".join(" = ".join([kept, *others]) for kept, others in merged.items())
    return f" Equal subsets, drawn once: {same}." if same else ""


def distinct_rules(rules, items):
    """Rules that can be applied, those that choose the same items merged into one, with their masks.

    With few annotators entropy takes few values, and neighbouring steps of a grid keep the same items.

    Parameters
    ----------
    rules : list of subsets.Rule
    items : AnnotatedItems

    Returns
    -------
    rules : list of subsets.Rule
    masks : ndarray of float, shape (n_rules, n_items)
    merged : dict of str to list of str
        Name of a kept rule to the names of those that equal it.
    """
    statistics = rating_labels.statistics(items.table, items.prompts)
    kept, masks, merged = [], [], {}
    for rule in rules:
        name = rule.statistic.removesuffix("_within") if rule.statistic not in statistics else rule.statistic
        if rule.method != "all" and np.isnan(statistics[name]).any():
            continue  # this scale has no such statistic
        mask = subsets.kept_weights(rule, statistics, groups=items.prompts)
        same = [i for i, m in enumerate(masks) if (m == mask).all() and kept[i].family == rule.family]
        if same:
            merged.setdefault(kept[same[0]].name, []).append(rule.name)
        else:
            kept.append(rule)
            masks.append(mask)
    return kept, np.stack(masks), merged


def scorer_table(made, judged, n_draws, rng):
    """Every scorer under every rule: rows of ``09_calibration``.

    Parameters
    ----------
    made : dict of str to Grid
    judged : Judged
    n_draws : int
        Scorers simulated for the rank-linear line.
    rng : numpy.random.Generator
        Spawned per type of item.

    Returns
    -------
    pandas.DataFrame
    """
    parts = [_scorer_rows(part, judged, n_draws, own) for part, own in _with_rng(made, rng)]
    return pd.concat(parts, ignore_index=True)


def _scorer_rows(made, judged, n_draws, rng):
    scored, items = made.scored, made.scored.items
    within = calibration.within_correlations(scored.scores, items.means, made.masks, items.prompts)
    within = intervals.mean_interval(within.transpose(1, 0, 2))
    found = intervals.correlation_interval(made.replicates, made.present)
    band = np.array([_band(made, judged, r, made.rho[r], of_kinds=False) for r in range(len(made.rules))])
    parts = {
        "n": np.rint((made.masks[:, None] * ~np.isnan(scored.scores)).sum(2)).astype(int),
        "rho": made.rho,
        "lower": found.lower,
        "upper": found.upper,
        "pearson": calibration.linear_correlations(scored.scores, items.means, made.masks),
        "within": within.estimate,
        "within_lower": within.lower,
        "within_upper": within.upper,
        "expected": band[:, 1],
        "null_lower": band[:, 0],
        "null_upper": band[:, 2],
        "line": lines(made, n_draws, rng),
    }
    frames = [
        scored.scorers.assign(rule=rule.name, family=rule.family, **{name: part[r] for name, part in parts.items()})
        for r, rule in enumerate(made.rules)
    ]
    return pd.concat(frames, ignore_index=True).assign(items=made.item_type)


def kind_table(made, judged, scorer_rows, n_splits, rng):
    """The unweighted mean over the scorers of a kind, with cross-fitting, people and the paper's value: ``09_kinds``.

    Parameters
    ----------
    made : dict of str to Grid
    judged : Judged
    scorer_rows : pandas.DataFrame
        From `scorer_table`.
    n_splits : int
        Random halves of the annotators for cross-fitting.
    rng : numpy.random.Generator
        Spawned per type of item.

    Returns
    -------
    pandas.DataFrame
    """
    parts = [_kind_rows(part, judged, scorer_rows, n_splits, own) for part, own in _with_rng(made, rng)]
    return pd.concat(parts, ignore_index=True)


def _kind_rows(made, judged, scorer_rows, n_splits, rng):
    found, rows = made.kind_intervals, []
    for r, rule in enumerate(made.rules):
        low, middle, high = _band(made, judged, r, found.estimate[r], of_kinds=True)
        for k, kind in enumerate(made.kinds):
            rows.append(
                {
                    "items": made.item_type, "scorer_type": kind, "rule": rule.name, "rho": found.estimate[r, k],
                    "lower": found.lower[r, k], "upper": found.upper[r, k], "se": found.se[r, k],
                    "n_prompts": found.n_prompts[0, k], "expected": middle[k], "null_lower": low[k],
                    "null_upper": high[k],
                }
            )  # fmt: skip
    keys = ["items", "scorer_type", "rule"]
    at = scorer_rows[scorer_rows["items"] == made.item_type]
    means = at.groupby([*keys, "family"], sort=False, as_index=False).agg(
        n=("n", "max"), n_scorers=("scorer", "size"), within=("within", "mean"), line=("line", "mean")
    )
    table = means.merge(pd.DataFrame(rows), on=keys)
    crossed = cross_fit_table(made, n_splits, rng)
    crossed = crossed.groupby(["scorer_type", "rule"], as_index=False)[["crossed", "half_panel", "people"]].mean()
    table = table.merge(crossed, on=["scorer_type", "rule"], how="left")
    return table.merge(published.published_values(files.root() / "data" / "reference"), on=keys, how="left")


def _band(made, judged, r, shown, *, of_kinds):
    """Band beside shown correlations under a rule: that of the verdict for the most contested items, else pointwise."""
    if made.rules[r].name == subsets.PRIMARY:
        return judged.band(made.item_type, shown, of_kinds=of_kinds)
    compared = made.comparisons[r]
    if compared is None:
        return np.full((3, len(shown)), np.nan)
    if of_kinds:
        _, compared = comparison.compare_kinds(compared, made.scored.kinds)
    return verdict.band(compared, shown=shown)


def lines(made, n_draws, rng):
    """What range restriction does to a scorer on a straight line, where the human mean decides who is in.

    Parameters
    ----------
    made : Grid
    n_draws : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_rules, n_scorers)
        See `verdict.rank_linear_line`, interpolated between strengths; NaN for other rules.
    """
    found = np.full(made.rho.shape, np.nan)
    cut = np.array([rule.cut_by_mean for rule in made.rules])
    if cut.any():
        means = made.scored.items.means
        drawn = verdict.rank_linear_line(means, _LINE_STRENGTHS, made.masks[cut] > 0, n_draws, rng)
        full = made.rho[0]
        found[cut] = [np.sign(full) * np.interp(np.abs(full), _LINE_STRENGTHS, row) for row in drawn]
    return found


def cross_fit_table(made, n_splits, rng):
    """Cross-fitted correlations of every scorer, and people's own, for every rule.

    Parameters
    ----------
    made : Grid
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        scorer, scorer_type, rule, crossed, half_panel, people; see `cross_fit.cross_fit`. Empty where labels are few.
    """
    scored, items = made.scored, made.scored.items
    enough = (~np.isnan(items.values)).sum(1) >= cross_fit.LEAST_LABELS
    columns = ["scorer", "scorer_type", "rule", "crossed", "half_panel", "people"]
    if enough.mean() < 0.5:
        return pd.DataFrame(columns=columns)
    groups, is_pair = items.prompts[enough], np.full(enough.sum(), items.is_pairs)

    def statistics_of(labels, rows):
        return rating_labels.statistics(
            rating_labels.measures(labels, items.scale, items.level, is_pair[rows]), groups[rows]
        )

    found = cross_fit.cross_fit(
        items.values[enough], scored.scores[:, enough], made.rules, statistics_of, n_splits, rng,
        groups=groups, persons=None if items.persons is None else items.persons[enough],
    )  # fmt: skip
    frames = [
        scored.scorers.assign(
            rule=rule.name, crossed=found["crossed"][r], half_panel=found["same"][r], people=found["human"][r]
        )
        for r, rule in enumerate(made.rules)
    ]
    return pd.concat(frames, ignore_index=True)[columns]


def soft_table(scored):
    """Distributions of scorers against people's, concordance and ties of pairs: ``09_soft``.

    Parameters
    ----------
    scored : dict of str to Scored

    Returns
    -------
    pandas.DataFrame
    """
    rows = [row for part in scored.values() for row in (*_distribution_rows(part), *_order_rows(part))]
    columns = ["items", "scorer", "scorer_type", "measure", "value", "lower", "upper", "n"]
    return pd.DataFrame(rows, columns=columns)


def _distribution_rows(scored):
    items = scored.items
    for scorer, shares in scored.distributions.items():
        known = ~np.isnan(shares).any(1)
        for measure, values in soft_labels.soft_scores(shares[known], items.counts[known], items.numbers).items():
            per_item = np.full(len(items), np.nan)
            per_item[known] = values
            yield _soft_row(scored, scorer, measure, per_item)


def _order_rows(scored):
    if not scored.items.is_pairs:
        return
    items, target = scored.items, scored.items.means
    symmetric = soft_labels.symmetric_spearman(scored.scores, target, np.ones(len(target)))[0]
    at = np.asarray(items.numbers, float)
    sides = np.stack([items.counts[:, side].sum(1) for side in (at < 0, at == 0, at > 0)], axis=1)
    most = sides == sides.max(1, keepdims=True)
    classes = np.where(most.sum(1) > 1, 0, sides.argmax(1) - 1)  # what most annotators say; no majority: a tie
    for (scorer, kind), row, both in zip(scored.scorers.itertuples(index=False), scored.scores, symmetric, strict=True):
        yield _soft_row(scored, scorer, "concordance", soft_labels.concordant(row, target)[0])
        known = ~np.isnan(row)
        threshold, _ = soft_labels.tie_calibration(row[known], classes[known])
        accuracy = soft_labels.tie_accuracy(row[known], classes[known], items.prompts[known])
        numbers = {"spearman_both_orders": both, "tie_threshold": threshold, "tie_accuracy": accuracy}
        for measure, value in numbers.items():
            yield (items.item_type, scorer, kind, measure, value, np.nan, np.nan, int(known.sum()))


def _soft_row(scored, scorer, measure, per_item):
    kind = scored.scorers.set_index("scorer")["scorer_type"][scorer]
    return (scored.items.item_type, scorer, kind, measure, *mean_over_items(per_item, scored.items.prompts))


def mean_over_items(per_item, groups):
    """Mean over items with a jackknife interval over prompts.

    Parameters
    ----------
    per_item : ndarray of float, shape (n_items,)
    groups : ndarray of int, shape (n_items,)

    Returns
    -------
    mean, lower, upper : float
    n : int
        Items that have a value.
    """
    known = ~np.isnan(per_item)
    n_prompts = int(groups.max()) + 1
    counts = np.bincount(groups[known], minlength=n_prompts).astype(float)
    sums = np.bincount(groups[known], per_item[known], n_prompts)
    found = intervals.ratio_interval(np.where(counts > 0, sums, np.nan), np.where(counts > 0, counts, np.nan))
    return float(found.estimate), float(found.lower), float(found.upper), int(known.sum())


def selections(scored, n_draws, rng):
    """Mean correlation per kind of scorer along other grids of ratings, with the paper's Table 20 beside.

    Parameters
    ----------
    scored : dict of str to Scored
    n_draws : int
        Scorers simulated for the rank-linear line.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        scorer_type, family, title, step, rule, n, rho, lower, upper, expected, published; empty without ratings.
        ``expected`` is the rank-linear line where the human mean decides who is in, else the correlation on the rest
        at equal means.
    """
    columns = ["scorer_type", "family", "title", "step", "rule", "n", "rho", "lower", "upper", "expected", "published"]
    if "absolute" not in scored:
        return pd.DataFrame(columns=columns)
    rules = [subsets.Rule("full", "full", "all"), *subsets.similar_rules(), *subsets.measure_rules(MEASURES)]
    made = grid(scored["absolute"], rules)
    found, line = made.kind_intervals, lines(made, n_draws, rng)
    rows = []
    for r, rule in list(enumerate(made.rules))[1:]:
        _, expected, _ = _band(made, None, r, found.estimate[r], of_kinds=True)
        for k, kind in enumerate(made.kinds):
            at = made.scored.kinds == kind
            middle = float(mean_of_known(line[r, at], axis=0)) if rule.cut_by_mean else expected[k]
            bounds = (found.estimate[r, k], found.lower[r, k], found.upper[r, k], middle)
            title = TITLES[rule.family]
            for alias in (rule.name, *made.merged.get(rule.name, [])):
                step = alias.rsplit(" ", 1)[-1]
                rows.append((kind, rule.family, title, step, alias, int(made.masks[r].sum()), *bounds))
    table = pd.DataFrame(rows, columns=columns[:-1])
    table["selection"] = table["family"].map(MEASURE_NAMES)
    printed = published.selections(files.root() / "data" / "reference")
    return table.merge(printed, how="left", on=["selection", "step", "scorer_type"])[columns]


def narrowest(table, suffix):
    """Mean correlation over kinds of scorers at the narrowest step of the families whose names end in `suffix`."""
    at = table[table["family"].str.endswith(suffix) & ~table["scorer_type"].isin(BASELINES)]
    steps = at["step"].astype(float)
    return float(at.loc[steps == steps.groupby(at["family"]).transform("min"), "rho"].mean())


def human_ceiling(scored, n_splits, rng):
    """Split-half correlation of the annotators on all items, and the highest correlation a scorer can reach.

    Parameters
    ----------
    scored : dict of str to Scored
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to dict
        By type of item: ``split_half`` and ``ceiling``.
    """
    found = {}
    for item_type, part in scored.items():
        half, _ = agreement.split_half(part.items.values, n_splits, rng, part.items.persons)
        found[item_type] = {"split_half": half, "ceiling": cross_fit.full_ceiling(half)}
    return found


def _with_rng(made, rng):
    return zip(made.values(), rng.spawn(len(made)), strict=True)

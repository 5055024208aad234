"""Tables of notebook 08 about the annotators as a panel: agreement, reliability, severity."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import agreement, intervals, resample
from hivemind_utils.metrics.calibration import linear_correlations
from hivemind_utils.tables.schema import empty

_BOUNDS = ["value", "lower", "upper"]


def agreement_table(annotations, n_splits, rng):
    """Krippendorff's alpha at every level the labels allow, over all items and per prompt; split halves.

    Parameters
    ----------
    annotations : Annotations
    n_splits : int
        Random halves of the annotators.
    rng : numpy.random.Generator
        Spawned per type of item.

    Returns
    -------
    pandas.DataFrame
        Table ``08_agreement``; jackknife intervals over prompts.
    """
    types = annotations.by_type.values()
    parts = [_agreement(items, n_splits, own) for items, own in zip(types, rng.spawn(len(types)), strict=True)]
    return pd.concat(parts, ignore_index=True)


def _agreement(items, n_splits, rng):
    """`agreement_table` of one type of item: nominal labels have no ordinal alpha, and no halves to correlate."""
    weights = intervals.left_out_weights(items.prompts)
    rows = []
    for level in agreement.LEVELS[: agreement.LEVELS.index(items.level) + 1]:
        replicates = [agreement.alpha_of_counts(items.counts, items.numbers, level, w) for w in weights]
        found = intervals.jackknife_interval(replicates)
        rows.append((f"alpha_{level}", "all", found.estimate, found.lower, found.upper, len(items)))
        for prompt_id, at in items.table.groupby("prompt_id", sort=False).indices.items():
            alpha = agreement.alpha_of_counts(items.counts[at], items.numbers, level)
            rows.append((f"alpha_{level}", prompt_id, alpha, np.nan, np.nan, len(at)))
    if items.level != "nominal":
        half, full = split_half_intervals(items.values, items.persons, weights, n_splits, rng)
        rows += [("split_half", "all", *half, len(items)), ("spearman_brown", "all", *full, len(items))]
    columns = ["measure", "prompt_id", "value", "lower", "upper", "n_items"]
    return pd.DataFrame(rows, columns=columns).assign(items=items.item_type)


def split_half_intervals(values, persons, weights, n_splits, rng):
    """Split-half correlation and its Spearman-Brown value, each with a jackknife interval over prompts.

    Parameters
    ----------
    values, persons
        See `agreement.halves`.
    weights : ndarray of float, shape (n_prompts + 1, n_items)
        From `intervals.left_out_weights`.
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    half, full : tuple of float
        Value, lower and upper bound; `full` is NaN where the halves do not agree, and its bounds are 0 or more.
    """
    pairs = zip(*agreement.halves(values, n_splits, rng, persons), strict=True)
    usable = [(~np.isnan(a) & ~np.isnan(b), a, b) for a, b in pairs]
    found = [linear_correlations(a[k], b[k], weights[:, k])[:, 0] for k, a, b in usable if k.sum() > 2]
    if not found:
        return (np.nan,) * 3, (np.nan,) * 3
    interval = intervals.correlation_interval(np.mean(found, axis=0))
    half = tuple(float(value) for value in (interval.estimate, interval.lower, interval.upper))
    full = tuple(agreement.spearman_brown(value) for value in half)
    if full[0] > 0 and half[1] <= 0:  # a reliability is not below 0
        full = (full[0], 0.0, full[2])
    return half, full if full[0] > 0 else (np.nan,) * 3


def reliability_table(annotations, n_splits, rng):
    """Correlation of the means of two groups of k annotators, and what Spearman-Brown predicts from one.

    Parameters
    ----------
    annotations : Annotations
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Table ``08_reliability``; the bounds hold 95 % of the random splits. Empty where no three items have two labels.
    """
    parts = [_reliability(items, n_splits, rng) for items in annotations.ordered.values()]
    return _joined([part for part in parts if len(part)], "08_reliability")


def _reliability(items, n_splits, rng):
    most = int((~np.isnan(items.values)).sum(1).max()) // 2
    sizes = np.arange(1, most + 1)
    found = agreement.reliability_by_size(items.values, sizes, n_splits, rng)
    known = ~np.isnan(found).all(1)
    sizes, found = sizes[known], found[known]
    if not len(sizes):
        return pd.DataFrame()
    means = resample.mean_of_known(found, axis=1)
    lower, upper = resample.interval(found, axis=1)
    columns = {"n_annotators": sizes, "reliability": means, "lower": lower, "upper": upper}
    return pd.DataFrame(columns).assign(items=items.item_type, predicted=agreement.spearman_brown(means[0], sizes))


def severity_table(annotations):
    """Severity of every annotator who can be told apart from others; see `agreement.severity`.

    Parameters
    ----------
    annotations : Annotations

    Returns
    -------
    pandas.DataFrame
        Table ``08_annotators``; empty where nobody can be told apart.
    """
    known = [items for items in annotations.ordered.values() if items.persons is not None]
    return _joined([_severity(items) for items in known], "08_annotators")


def _severity(items):
    effects, n_labels = agreement.severity(items.values, items.persons)
    n = len(items.names)
    columns = {"annotator": items.names, "severity": effects[:n], "n_labels": n_labels[:n]}
    frame = pd.DataFrame(columns).assign(items=items.item_type)
    return frame[frame["n_labels"] > 0]


def overall(agreements):
    """Rows of `agreement_table` over all items: a frame to look at, by type of item and measure."""
    at = agreements[agreements["prompt_id"] == "all"]
    return at.set_index(["items", "measure"])[[*_BOUNDS, "n_items"]]


def main_alpha(agreements):
    """Krippendorff's alpha to quote: of ratings where there are any, at the highest level of the labels.

    Returns
    -------
    pandas.Series
        items, level, value, lower, upper.
    """
    at = agreements[(agreements["prompt_id"] == "all") & agreements["measure"].str.startswith("alpha_")]
    row = at[at["items"] == at["items"].min()].iloc[-1]
    return pd.Series({"level": row["measure"].removeprefix("alpha_")} | row[["items", *_BOUNDS]].to_dict())


def label_shares(items, n_shown=6):
    """Label shares of the most and the least contested items.

    Parameters
    ----------
    items : AnnotatedItems or None
    n_shown : int
        Items of either end.

    Returns
    -------
    pandas.DataFrame
        One row per (item, value): end, place, item_id, prompt, response_1, response_2, entropy_bits, value, share.
    """
    facts = ["item_id", "prompt", "response_1", "response_2", "entropy_bits"]
    if items is None:
        return pd.DataFrame(columns=["end", "place", *facts, "value", "share"])
    shares = items.counts / items.counts.sum(1, keepdims=True)
    wide = pd.DataFrame(shares, columns=list(map(str, items.scale))).join(items.table[facts])
    ordered = wide.sort_values(["entropy_bits", "item_id"], ascending=[False, True])
    n_shown = min(n_shown, len(ordered) // 2)
    ends = {"most contested": ordered.head(n_shown), "least contested": ordered.tail(n_shown)}
    both = pd.concat([rows.assign(end=end, place=range(n_shown)) for end, rows in ends.items()])
    return both.melt(["end", "place", *facts], var_name="value", value_name="share")


def _joined(parts, name):
    return pd.concat(parts, ignore_index=True) if parts else empty(name)

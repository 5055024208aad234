"""Tables of notebook 08 about the annotators as a panel: agreement, reliability, severity."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import agreement, resample
from hivemind_utils.metrics.calibration import linear_correlations


def agreement_table(kind, items, values, persons, scale, level, *, n_boot, n_splits, rng):
    """Krippendorff's alpha at every level the labels allow, overall and per prompt; split halves.

    Parameters
    ----------
    kind : str
        "absolute" or "pairs".
    items : pandas.DataFrame
        With ``prompt_id``, in the order of `values`.
    values : ndarray of float, shape (n_items, n_slots)
    persons : ndarray of int or None
        See `ratings.matrix`.
    scale : sequence of float
    level : str
        Highest level of the labels: nominal labels have no ordinal alpha, and no halves to correlate.
    n_boot, n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Table ``08_agreement``.
    """
    counts = agreement.label_counts(values, scale)
    groups, prompts = pd.factorize(items["prompt_id"])
    weights = resample.bootstrap_weights(len(prompts), n_boot, rng)[:, groups]
    rows = []
    levels = agreement.LEVELS[: agreement.LEVELS.index(level) + 1]
    for name in levels:
        value = agreement.alpha_of_counts(counts, scale, name)
        draws = [agreement.alpha_of_counts(counts, scale, name, w) for w in weights]
        lower, upper = resample.interval(draws) if len(prompts) > 1 else (np.nan, np.nan)
        rows.append((f"alpha_{name}", "all", value, lower, upper, len(items)))
        for p, prompt in enumerate(prompts):
            at = groups == p
            rows.append((f"alpha_{name}", prompt, agreement.alpha_of_counts(counts[at], scale, name), at.sum()))
    if level != "nominal":
        half, full = split_half_intervals(values, persons, weights[: min(n_boot, 200)], n_splits, rng)
        rows += [("split_half", "all", *half, len(items)), ("spearman_brown", "all", *full, len(items))]
    full_rows = [(*row[:3], np.nan, np.nan, row[3]) if len(row) == 4 else row for row in rows]
    columns = ["measure", "prompt_id", "value", "lower", "upper", "n_items"]
    return pd.DataFrame(full_rows, columns=columns).assign(items=kind)


def split_half_intervals(values, persons, weights, n_splits, rng):
    """Split-half correlation and its Spearman-Brown value, each with an interval over resampled prompts.

    Parameters
    ----------
    values, persons
        See `agreement.split_half`.
    weights : ndarray of float, shape (n_boot, n_items)
        How often each item was drawn.
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    half, full : tuple of float
        Value, lower and upper bound.
    """
    pairs = list(zip(*agreement.halves(values, n_splits, rng, persons), strict=True))
    usable = [(~np.isnan(a) & ~np.isnan(b), a, b) for a, b in pairs]
    rows = np.vstack([np.ones(weights.shape[1]), weights])
    found = [linear_correlations(a[k], b[k], rows[:, k])[:, 0] for k, a, b in usable if k.sum() > 2]
    if not found:
        return (np.nan,) * 3, (np.nan,) * 3
    means = np.mean(found, axis=0)
    lower, upper = resample.interval(means[1:])
    half = (float(means[0]), float(lower), float(upper))
    return half, tuple(float(agreement.spearman_brown(value)) for value in half)


def reliability_table(kind, values, n_splits, rng):
    """Correlation of the means of two groups of k annotators, and what Spearman-Brown predicts from one.

    Returns
    -------
    pandas.DataFrame
        Table ``08_reliability``; empty where no three items have two labels.
    """
    most = int((~np.isnan(values)).sum(1).max()) // 2
    sizes = np.arange(1, most + 1)
    found = agreement.reliability_by_size(values, sizes, n_splits, rng)
    known = ~np.isnan(found).all(1)
    sizes, found = sizes[known], found[known]
    if not len(sizes):
        return pd.DataFrame(columns=["items", "n_annotators", "reliability", "lower", "upper", "predicted"])
    means = resample.mean_of_known(found, axis=1)
    lower, upper = resample.interval(found, axis=1)
    predicted = agreement.spearman_brown(means[0], sizes)
    return pd.DataFrame(
        {"items": kind, "n_annotators": sizes, "reliability": means, "lower": lower, "upper": upper}
    ).assign(predicted=predicted)


def severity_table(kind, values, persons, names):
    """Severity of every person, where people are known; see `agreement.severity`. Table ``08_annotators``."""
    if persons is None:
        return pd.DataFrame(columns=["items", "annotator", "severity", "n_labels"])
    effects, n_labels = agreement.severity(values, persons)
    n = len(names)
    frame = pd.DataFrame({"items": kind, "annotator": names, "severity": effects[:n], "n_labels": n_labels[:n]})
    return frame[frame["n_labels"] > 0].reset_index(drop=True)

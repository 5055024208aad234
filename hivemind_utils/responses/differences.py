"""What the claims quote of notebooks 05 and 06 beside their tables, each with its interval over prompts."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals, similarity
from hivemind_utils.responses import homogeneity, repetition


def of_references(responses, cells):
    """How much more alike responses of one model are under one decoding than under another, or than random pairs.

    Parameters
    ----------
    responses : Responses
        To prompts of all kinds; open-ended originals answered by models are compared.
    cells : pandas.DataFrame
        From `repetition.cell_means`.

    Returns
    -------
    dict of str to dict
        ``"top_p less min_p"``: the mean over prompts of the similarity of two responses of one model under the first
        decoding, less that under the second, paired by prompt. ``"top_p less different prompts"``: less that of
        responses to different prompts under the same decoding. ``"different prompts, top_p"``: the latter alone.
        Each with estimate, lower, upper, se and n_prompts.
    """
    known = cells.reset_index()
    known = known[(known["n"] >= 2) & ~known["model"].isin(responses.people)]
    known = known[known["prompt_id"].map(responses.prompts["prompt_kind"]) == "original"]
    n_pairs = known["n"] * (known["n"] - 1) / 2
    known = known.assign(pairs=n_pairs, total=n_pairs * known["mean_cosine"])
    sums = known.groupby(["prompt_id", "decoding"])[["total", "pairs"]].sum()
    means = (sums["total"] / sums["pairs"]).unstack("decoding")
    found = {}
    for first in means:
        for second in means:
            if first != second:
                one = intervals.difference_interval(means[first].to_numpy(), means[second].to_numpy())
                found[f"{first} less {second}"] = _numbers(one)
        floor, prompts = floor_replicates(responses, first)
        own = means[first].reindex(prompts)
        if len(prompts) < 2 or own.isna().any():
            continue
        found[f"different prompts, {first}"] = _numbers(intervals.jackknife_interval(floor).within(-1, 1))
        weights = intervals.left_out_weights(prompts)
        same = weights @ own.to_numpy() / weights.sum(1)
        found[f"{first} less different prompts"] = _numbers(intervals.jackknife_interval(same - floor))
    return found


def most_repetitive(cells, people, decoding):
    """Model whose responses are most alike, and what it is compared with.

    Parameters
    ----------
    cells : pandas.DataFrame
        From `repetition.originals`.
    people : set of str
    decoding : str
        Arms of models under it are compared.

    Returns
    -------
    dict or None
        ``arm`` and ``other``: the arm with the largest mean, and the one from which it is hardest to tell apart;
        ``difference`` with estimate, lower and upper, paired by prompt. ``decided``: whether the arm differs from every
        other one, at 95 % for all of them together (Bonferroni). None for fewer than two arms with two prompts in
        common.
    """
    own = cells[(cells["decoding"] == decoding) & ~cells["model"].isin(people)]
    wide = own.pivot(index="prompt_id", columns="arm", values="mean_cosine").sort_index(axis=1)
    wide = wide.loc[:, wide.notna().sum() > 1]
    if wide.shape[1] < 2:
        return None
    top = wide.mean().idxmax()
    others = wide.drop(columns=top)
    level = 1 - 0.05 / others.shape[1]
    found = intervals.difference_interval(wide[[top]].to_numpy(), others.to_numpy(), level)
    known = np.flatnonzero(np.isfinite(found.lower))
    if not len(known):
        return None
    least = known[np.argmin(found.lower[known])]
    numbers = {name: float(getattr(found, name)[least]) for name in ("estimate", "lower", "upper")}
    decided = bool(len(known) == others.shape[1] and numbers["lower"] > 0)
    return {"arm": top, "other": others.columns[least], "difference": numbers, "decided": decided}


def floor_replicates(responses, decoding):
    """Mean cosine of responses of models to different open-ended prompts, with all prompts and without each.

    Parameters
    ----------
    responses : Responses
    decoding : str

    Returns
    -------
    replicates : ndarray of float, shape (n_prompts + 1,)
        From sums of unit vectors: no pair is drawn.
    prompts : list of str
        In the order in which they are left out.
    """
    own = responses.open_ended(decoding)
    prompts = own.prompt_order
    if len(prompts) < 2:
        return np.full(len(prompts) + 1, np.nan), prompts
    sums, counts = (np.array(part) for part in zip(*own.map(_sum_and_count), strict=True))
    return similarity.between_group_replicates(sums, counts), prompts


def _sum_and_count(responses):
    """Sum of the unit vectors of one prompt's responses, and their number."""
    sums, counts = similarity.cell_sums(responses.vectors, np.zeros(len(responses), int), 1)
    return sums[0], counts[0]


def same_less_different_models(responses):
    """How much more alike responses of one model are than those of two models, paired by prompt.

    Parameters
    ----------
    responses : Responses
        To original prompts, under one decoding.

    Returns
    -------
    dict
        estimate, lower, upper, se, n_prompts; arms and pairs of arms weigh equally within a prompt.
    """
    means = homogeneity.block_means(responses)
    if not {"same model", "different models"} <= set(means):
        return _numbers(intervals.mean_interval(np.empty(0)))
    return _numbers(intervals.difference_interval(means["same model"], means["different models"]))


def published_diagonal(responses):
    """Mean similarity of models with themselves as the paper prints it: every response paired with itself too.

    Parameters
    ----------
    responses : Responses
        To original prompts, under one decoding.

    Returns
    -------
    dict
        estimate, lower, upper, se, n_prompts; prompts are pooled within a model, models weigh equally.
    """
    machines = np.array([responses.model_of[arm] not in responses.people for arm in responses.arms], bool)
    if not machines.any():
        return _numbers(intervals.mean_interval(np.empty(0)))
    totals, pairs = homogeneity.with_themselves(responses)
    there = pairs[:, machines].any(1)
    totals, pairs = totals[there][:, machines], pairs[there][:, machines]
    weights = intervals.left_out_weights(np.arange(len(totals)))
    above, below = weights @ np.where(pairs > 0, totals, 0), weights @ pairs
    by_model = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return _numbers(intervals.jackknife_interval(by_model.mean(1)).within(-1, 1))


def average_bins(cells, people):
    """Percent of prompts in each bin of width 0.1, models weighing equally, with intervals over prompts.

    The bars "Average" of `repetition.bin_shares`.

    Parameters
    ----------
    cells : pandas.DataFrame
        See `repetition.originals`.
    people : set of str

    Returns
    -------
    pandas.DataFrame
        Columns decoding, bin, percent, lower, upper, n_prompts.
    """
    rows = []
    for decoding, at in cells[~cells["model"].isin(people)].groupby("decoding"):
        wide = at.pivot(index="prompt_id", columns=["model", "condition"], values="mean_cosine")
        values = np.clip(wide.to_numpy(), -1, 1)
        edges, names = repetition.bins(values)
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(names) - 1)
        for k, name in enumerate(names):
            found = repetition.share_of_prompts(wide, pd.DataFrame(place == k) & wide.notna().to_numpy())
            percent = [100 * getattr(found, field) for field in ("estimate", "lower", "upper")]
            rows.append((decoding, name, *percent, found.n_prompts))
    return pd.DataFrame(rows, columns=["decoding", "bin", "percent", "lower", "upper", "n_prompts"])


def _numbers(found):
    return {name: float(getattr(found, name)) for name in ("estimate", "lower", "upper", "se")} | {
        "n_prompts": int(found.n_prompts)
    }

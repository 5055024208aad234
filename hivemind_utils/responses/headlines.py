"""Titles of the figures of notebooks 04 to 07: the finding in a sentence, one function per figure, by its name."""

import numpy as np

from hivemind_utils.responses import homogeneity, repetition
from hivemind_utils.tables.wording import counted, estimate, listed, number, percent


def repeats(share, threshold, decoding):
    """Say for how many prompts a model repeats itself, from a row of `repetition.share_at_least`.

    Examples
    --------
    >>> repeats({"share": 0.79, "lower": 0.7, "upper": 0.86}, 0.8, "top_p")
    "For 79 % (95 % interval 70 % to 86 %) of prompts, a model's responses have mean similarity ≥ 0.8 (top_p)"
    """
    of_prompts = estimate(share["share"], share["lower"], share["upper"], 0, as_percent=True)
    return f"For {of_prompts} of prompts, a model's responses have mean similarity ≥ {threshold:g} ({decoding})"


def intra_heatmap(at_least, threshold):
    """Say for how many prompts a model repeats itself, per decoding, from `repetition.share_at_least`."""
    return {decoding: repeats(share, threshold, decoding) for decoding, share in at_least.iterrows()}


def similarity_references(references, decoding, paper=""):
    """Say how alike two responses of one model are next to two to different prompts; `repetition.references`.

    `paper` stands behind the latter, where there is one.
    """
    mean = references.set_index(["kind", "decoding"])["mean"]
    same = f"Mean similarity of two responses of one model: {number(mean['same model', decoding])} ({decoding})"
    floor = mean.get(("different prompts", "all"))
    return same if floor is None else f"{same}; to different prompts: {number(floor)} {paper}".rstrip()


def diversity_measures(wide, agreement):
    """Say which model repeats itself most and whether other measures agree; `repetition.by_arm`, `rank_agreement`."""
    ranks = agreement[agreement.index.isin(repetition.PANELS)]
    if ranks.isna().any() or ranks.empty:
        return f"{counted(len(wide), 'arm')}: too few to say whether measures agree"
    top = wide.loc[wide["mean_cosine"].idxmax(), "model"]
    bounds = f"ρ = {number(ranks.min())} to {number(ranks.max())}"
    return f"{top} repeats itself most; other measures rank the arms alike with {bounds}"


def rarefaction(curves, n):
    """Say how many of `n` responses differ, or of as many as every group has; from `repetition.rarefaction`."""
    if curves.empty:
        return "No response to an original prompt holds a word: different ones cannot be counted"
    n = min(n, curves.groupby("group")["n"].max().min())
    unit = {"idea": "ideas", "response": "wordings"}[curves["unit"].iat[0]]
    found = curves[curves["n"] == n]
    each = [f"{value:.1f} ({group})" for group, value in zip(found["group"], found["found"], strict=True)]
    return f"{counted(n, 'response')} to one prompt hold {listed(each, 9)} different {unit}"


def second_opinion(wide, agreement):
    """Say how well other similarities rank arms as the mean cosine does; `repetition.by_arm`, `rank_agreement`."""
    ranks = agreement[agreement.index.isin(repetition.OPINIONS)]
    if ranks.isna().any() or ranks.empty:
        return f"{counted(len(wide), 'arm')}: too few to rank"
    lowest = repetition.OPINIONS[ranks.idxmin()]
    return f"Other similarities rank the arms as the mean cosine does: ρ ≥ {number(ranks.min())} ({lowest})"


def paraphrases(means, paper=""):
    """Say what rephrasing the prompt does to similarity, from `repetition.paraphrase_means`; `paper` behind it."""
    drop = means.loc["drop"]
    if np.isnan(drop["mean"]):
        return "No prompt has paraphrases: wordings cannot be compared"
    moves = f"from {number(means['mean']['within'])} to {number(means['mean']['across'])}"
    size = estimate(*drop[["mean", "lower", "upper"]], 3)
    return f"Rephrasing the prompt changes mean similarity {moves}: a drop of {size} {paper}".rstrip()


def repetition_by_prompt(prompts):
    """Say how far original prompts differ, from `repetition.by_prompt`."""
    means = prompts.loc[prompts["kind"] == "original", "mean_cosine"]
    return f"Mean repetition of open-ended prompts: {number(means.min())} to {number(means.max())}"


def repetition_by_model(facts, correlations):
    """Say how repetition goes with what is known of models; `repetition.with_facts`, `fact_correlations`."""
    if correlations:
        known = " and ".join(f"{name} (ρ = {rho:+.2f})" for name, rho in correlations.items())
        return f"Repetition of models against {known}"
    means = facts.groupby("tuning")["mean"].mean()
    if means.empty:
        return "The registry knows neither size, tuning nor release date of these models"
    return "Mean repetition: " + ", ".join(f"{number(mean)} ({name} models)" for name, mean in means.items())


def openness(prompts):
    """Say how repetition goes with open-endedness, from `repetition.by_prompt`; empty where it is unknown."""
    found = repetition.openness_correlation(prompts)
    if np.isnan(found.estimate):
        return ""
    rho = estimate(found.estimate, found.lower, found.upper)
    return f"Rank correlation over prompts of repetition with open-endedness: {rho}"


def inter_heatmap(blocks):
    """Say how alike different models are, from `homogeneity.blocks`.

    Examples
    --------
    >>> import pandas as pd
    >>> inter_heatmap(pd.DataFrame({"mean": [0.8, 0.7]}, index=["same model", "different models"]))
    'Mean similarity: 0.70 between different models, 0.80 within one model'
    """
    between, within = blocks["mean"].reindex(["different models", "same model"])
    if np.isnan(between):
        return "One model: there is nothing to compare it with; its repetition is in notebook 05"
    return f"Mean similarity: {number(between)} between different models, {number(within)} within one model"


def family_blocks(blocks):
    """Say whether models of one family are more alike, from `homogeneity.blocks`."""
    within, across = blocks["mean"].reindex(["different models, same family", "different families"])
    if np.isnan(across):
        return "All models are of one family: families cannot be compared"
    if np.isnan(within):
        return f"Models of different families: mean similarity {number(across)}"
    return f"Mean similarity of different models: {number(within)} in one family, {number(across)} across families"


def nearest_source_models(curve):
    """Say how many models share the nearest responses, from `homogeneity.neighbour_curve`."""
    if curve.empty:
        return "No prompt has responses of two models: nearest responses cannot be counted by model"
    row = homogeneity.telling_row(curve)
    return (
        f"The {row['n_nearest']:.0f} nearest responses come from {row['n_sources']:.1f} models; "
        f"random labels would give {row['expected']:.1f}"
    )


def verbatim_overlaps(shares):
    """Say how many responses another model gives too, from the shares of `homogeneity.overlaps`."""
    if shares.empty:
        return "One model: no overlaps between models"
    return f"{percent(shares['exact'].mean())} of responses are given word for word by another model"


def pooled_diversity(pools):
    """Say how many models equal one model's largest sample, from `homogeneity.pools`."""
    needed = homogeneity.models_needed(pools)
    if needed is None:
        return "Too few responses or models to compare one model with many"
    one = f"{counted(needed['k'], 'response')} of one model"
    if needed["models"] is None:
        return f"{one} are more diverse than one response from each of {needed['most']} models"
    return f"One response from each of {counted(needed['models'], 'model')} is as diverse as {one}"

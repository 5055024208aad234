"""Titles of the figures of notebooks 04 to 07: the finding in a sentence, one function per figure, by its name."""

import numpy as np

from hivemind_utils.responses import homogeneity
from hivemind_utils.tables.wording import counted, estimate, number, percent


def different_models(blocks, paper):
    """Answer of notebook 06: how alike responses of different models are, from `homogeneity.blocks`."""
    between = blocks.loc["different models"]
    interval = estimate(between["mean"], between["lower"], between["upper"])
    return f"Mean similarity of responses of different models: **{interval}** {paper('inter_mean')}"


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

"""Titles of the figures of notebook 11 and its statements. "Associated with": models were not assigned at random."""

import numpy as np

from hivemind_utils.responses import sources
from hivemind_utils.tables.wording import estimate, number, percent


def pair_variance(summary):
    """Say how much of a pair's similarity is due to its two models."""
    if summary.empty:
        return "Fewer than four models: the variance of pairs cannot be split"
    return "; ".join(
        f"{row.data}: {percent(row.share)} of the variance of pairs is due to models that are similar to all others"
        for row in summary.itertuples()
    )


def shared_vendor(effects, data):
    """Say whether models of one vendor are more alike: a statement only where the interval excludes 0."""
    row = sources.primary(effects, data)
    if row is None:
        return f"Shared vendor: not testable ({data}), {_reason(effects, data)}"
    shown = estimate(row["estimate"], row["lower"], row["upper"], 3)
    if np.isnan(row["lower"]):
        why = f"difference {number(row['estimate'], 3)}, {row['note'] or 'no interval'}"
        return f"Shared vendor: undecided ({data}), {why}"
    if row["lower"] > 0:
        return f"A shared vendor is associated with more similar responses ({data}): difference {shown}"
    if row["upper"] < 0:
        return f"A shared vendor is associated with less similar responses ({data}): difference {shown}"
    return f"Shared vendor: undecided ({data}), difference {shown}"


def lineage_effects(effects):
    """Say it for every data set that can be tested, the published first."""
    tested = [data for data in (sources.PUBLISHED, sources.OWN) if sources.primary(effects, data) is not None]
    return "; ".join(shared_vendor(effects, data) for data in tested) or "No data set has vendors to compare"


def residual_pairs(residuals):
    """Name the pair that is most alike beyond its two models."""
    if residuals.empty:
        return "Fewer than four models: no pair stands out"
    rows = residuals.loc[residuals.groupby("data", sort=False)["residual"].idxmax()]
    return "; ".join(
        f"{r.data}: {r.model_a} and {r.model_b} are {number(r.residual)} more alike than expected"
        for r in rows.itertuples()
    )


def label_effects(table):
    """Name the label with the largest rho."""
    if table.empty:
        return "No label has two groups with responses"
    row = table.loc[table["rho"].idxmax()]
    shown = estimate(row["rho"], row["rho_lower"], row["rho_upper"])
    return f"Responses differ most by {row['label']}: ρ = {shown}"


def time_slope(slopes):
    """Say whether newer models are more similar to all others, within vendors."""
    whole = slopes[slopes["left_out"] == ""] if len(slopes) else slopes
    if whole.empty:
        return "Too few release dates to compare newer with older models"
    parts = []
    for row in whole.itertuples():
        if np.isnan(row.lower):
            parts.append(f"{row.data}: undecided, too few vendors with dates")
            continue
        word = "more" if row.lower > 0 else "less" if row.upper < 0 else "undecided whether more"
        shown = estimate(row.slope, row.lower, row.upper, 3)
        parts.append(f"{row.data}: newer models are {word} similar to all others, {shown} per year")
    return "; ".join(parts)


def _reason(effects, data):
    notes = effects.loc[(effects["data"] == data) & (effects["unit"] == "vendor"), "note"]
    return notes.iat[0].rstrip(".") if len(notes) else "no pairs of models"

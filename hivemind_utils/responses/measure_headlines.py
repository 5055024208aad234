"""Titles of the figures on the measures themselves, for `headlines`: one function per figure, by its name."""

import numpy as np

from hivemind_utils.tables.wording import counted, estimate, number, percent


def measure_validity(table):
    """Say whether measures follow ideas or form, from ``05_measure_validity``.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"name": "1 − mean cosine", "sees": "meaning", "measure": "mean_cosine", "auc": 0.75, "auc_lower": 0.7,
    ...        "auc_upper": 0.8, "against": float("nan")}
    >>> measure_validity(pd.DataFrame([row]))
    '1 − mean cosine tells varied from equal content with AUC 0.75 (95 % interval 0.70 to 0.80)'
    """
    row = table.set_index("measure").loc["mean_cosine"]
    said = (
        f"{row['name']} tells varied from equal content with AUC "
        f"{estimate(row['auc'], row['auc_lower'], row['auc_upper'])}"
    )
    form = table[table["sees"] == "form"]
    if form.empty:
        return said
    best = form.loc[form["auc"].idxmax()]
    said = f"{said}, the best measure of form with {number(best['auc'])}"
    if np.isnan(row["against"]):
        return said
    follows = "it follows ideas" if row["against_lower"] > 0.5 else "undecided"
    follows = "it follows form" if row["against_upper"] < 0.5 else follows
    return f"{said}; varied ideas against varied form: {follows} ({number(row['against'])}; 1: ideas alone, 0: form)"


def idea_profile(profiles, covered):
    """Say how many ideas models have in all and effectively, at equal size and at equal coverage.

    From ``07_profiles`` and ``07_coverage``, one source of ideas each; people stay out.
    """
    models = profiles[profiles["kind"] == "model"] if len(profiles) else profiles
    if models.empty:
        return "Too few responses with an idea to draw profiles"
    mean = models.groupby("order")["hill"].mean()
    said = (
        f"Of {counted(int(models['n'].iloc[0]), 'response')} a model has {number(mean[0], 1)} ideas, "
        f"effectively {number(mean[1], 1)}; the commonest alone counts as {number(mean[np.inf], 1)}"
    )
    known = covered[(covered["kind"] == "model") & (covered["n_compared"] > 0)]
    if known.empty:
        return f"{said}; coverage of what it would say: {percent(covered['coverage'].mean())}, too little to compare"
    return f"{said}; at equal coverage {number(known['hill_1'].mean(), 1)}"

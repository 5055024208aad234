"""Titles of the figures on the measures themselves, for `headlines`: one function per figure, by its name."""

import numpy as np

from hivemind_utils.responses.against_paper import rank_agreement
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
    if table.empty:
        return "Sets of known content are not embedded"
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
    follows = "it follows ideas" if row["against_lower"] > 0.5 else "inconclusive"
    follows = "it follows form" if row["against_upper"] < 0.5 else follows
    return f"{said}; varied ideas against varied form: {follows} ({number(row['against'])})"


def idea_profile(profiles, covered):
    """Say how many ideas models have in all and effectively, at equal size and at equal coverage.

    From ``07_profiles`` and ``07_coverage``, one source of ideas each; people stay out.
    """
    models = profiles[profiles["respondent"] == "model"] if len(profiles) else profiles
    if models.empty:
        return "Too few responses with an idea to draw profiles"
    mean = models.groupby("order")["hill"].mean()
    said = (
        f"Of {counted(int(models['n'].iloc[0]), 'response')} a model has {number(mean[0], 1)} ideas, "
        f"effectively {number(mean[1], 1)} (order 1) and {number(mean[np.inf], 1)} (the most common alone: order ∞)"
    )
    known = covered[(covered["respondent"] == "model") & (covered["n_compared"] > 0)]
    if known.empty:
        seen = percent(covered["coverage"].mean())
        return f"{said}; coverage {seen}, with too few responses to compare arms at equal coverage"
    return f"{said}; at equal coverage {number(known['hill_1'].mean(), 1)}"


def against_paper(table, threshold=0.8):
    """Say how this run's models compare with the paper's Table 6, from ``05_against_paper``."""
    own = table[np.isclose(table["low"], threshold)]
    if own.empty:
        return "No model of this run is among the paper's: nothing to compare model by model"
    said = (
        f"Prompts with mean similarity ≥ {threshold:g}: {number(own['at_least'].mean(), 0)} % here, "
        f"{number(own['published_at_least'].mean(), 0)} % in the paper ({counted(own['model'].nunique(), 'model')})"
    )
    rho = rank_agreement(own["at_least"], own["published_at_least"])
    return said if np.isnan(rho) else f"{said}; order of models: ρ = {rho:.2f}"


def pairs_against_paper(table):
    """Say how pairs of this run's models compare with the paper's, from ``06_pairs_against_paper``."""
    if table.empty:
        return "No two models of this run are among the paper's: nothing to compare pair by pair"
    said = (
        f"Mean similarity of {counted(len(table), 'pair')} of models: {number(table['mean_cosine'].mean())} here, "
        f"{number(table['published'].mean())} in the paper"
    )
    rho = rank_agreement(table["mean_cosine"], table["published"])
    return said if np.isnan(rho) else f"{said}; order of pairs: ρ = {rho:.2f}"


def other_models(found):
    """Say the mean repetition with an interval for other prompts and models, from `against_paper.crossed_mean`."""
    if np.isnan(found.lower):
        return ""
    parts = np.maximum([found.prompts, found.models, found.rest], 0)
    shares = parts / parts.sum() if parts.sum() > 0 else parts
    return (
        f"Mean repetition for other prompts and other models: {estimate(found.mean, found.lower, found.upper)}; of its "
        f"variance, prompts bring {percent(shares[0])}, models {percent(shares[1])}"
    )


def queries_above(found):
    """Say for how many prompts the nearest responses come from many models, from `against_paper.queries_above`.

    Examples
    --------
    >>> queries_above({"above": 3, "n_prompts": 100, "largest": 12.3})
    'For 3 of 100 prompts the 50 nearest responses come from more than 10 models (paper: some)'
    """
    if not found["n_prompts"]:
        return ""
    return (
        f"For {found['above']} of {counted(found['n_prompts'], 'prompt')} the 50 nearest responses come from more than "
        "10 models (paper: some)"
    )


def encoder_agreement(agreement, unit="arm", lacking=""):
    """Say whether encoders order arms alike, from ``05_encoder_agreement`` or, for pairs, ``06_encoder_agreement``.

    Parameters
    ----------
    agreement : pandas.DataFrame
    unit : str
        What is ordered: "arm" or "pair".
    lacking : str
        Why there is no share alike, where several encoders are compared.
    """
    own = agreement[agreement["measure"] == "mean_cosine"]
    meaning, form = own[own["sees"] == "meaning"], own[own["sees"] == "form"]
    if own.empty or own["n"].max() < 3:
        return f"Fewer than three {unit}s: no order to compare between encoders"
    said = [f"{_orders(row)} under {row.encoder_a} and {row.encoder_b}" for row in meaning.itertuples()]
    said.append(f"{_orders(form.iloc[0])} under {form['encoder_a'].iat[0]} and words alone (TF-IDF)")
    said = f"Rank agreement of {counted(int(own['n'].max()), unit)}: {'; '.join(said)}"
    said += "; name a second encoder under `encoders`" if meaning.empty else ""
    if meaning.empty or unit != "arm":
        return said
    alike = agreement[(agreement["measure"] == "share_alike") & (agreement["sees"] == "meaning")]
    if alike.empty:
        return f"{said}. No share alike: {lacking}" if lacking else said
    return f"{said}. Share alike at equal false-alike rate: {_orders(alike.iloc[0])}"


def encoder_pairs(agreement):
    """Say whether encoders order pairs of models alike, from ``06_encoder_agreement``."""
    return encoder_agreement(agreement, "pair")


def _orders(row):
    """Rank agreement of two encoders, for reading."""
    if np.isnan(row.spearman):
        return "no order"
    return f"ρ = {row.spearman:.2f}, τ = {row.kendall:.2f}"


def language_effects(table):
    """Say in which languages responses are more alike than in the reference, from ``11_languages``."""
    if table.empty:
        return "Prompts in one language, or of unknown language: nothing to compare"
    said = []
    for decision, words in (("more alike", "More"), ("less alike", "Less")):
        names = table.loc[table["decision"] == decision, "language"]
        if len(names):
            said.append(f"{words} alike when asked in {', '.join(names)} than in {table['reference'].iat[0]}")
    said += [f"{row.language}: inconclusive ({row.reason})" for row in table.itertuples() if row.reason]
    known = table.dropna(subset=["in_language"])
    if len(known):
        worst = known.loc[known["in_language"].idxmin()]
        said.append(f"fewest replies in the language asked: {percent(worst['in_language'])} ({worst['language']})")
    return "; ".join(said)

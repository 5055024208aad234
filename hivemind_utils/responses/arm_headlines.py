"""Titles of the figures of notebook 10 and what it states: one function per figure, by its name."""

import numpy as np

from hivemind_utils.metrics.statements import HOLDS
from hivemind_utils.tables.wording import counted, estimate, listed, number, percent


def interventions(statements):
    """Say which arms raise diversity, from ``10_statements``.

    Examples
    --------
    >>> import pandas as pd
    >>> one = {"statement": ["raises diversity"], "label": ["a list"], "decision": ["inconclusive"]}
    >>> interventions(pd.DataFrame(one))
    'None of 1 arm is shown to raise diversity'
    """
    raised = statements[statements["statement"] == "raises diversity"]
    if raised.empty:
        return "No arm has a comparator: nothing can be said of what helps"
    made = raised.loc[raised["decision"] == HOLDS, "label"]
    if made.empty:
        return f"None of {counted(len(raised), 'arm')} is shown to raise diversity"
    return f"{len(made)} of {counted(len(raised), 'arm')} raise diversity: {listed(made, 4)}"


def frontier(table, statements):
    """Say which arms beat hotter sampling, from ``10_frontier`` and ``10_statements``."""
    if table.empty:
        return "No response has a quality: there is no frontier"
    said = statements[statements["statement"] == "beats hotter sampling"]
    made = said.loc[said["decision"] == HOLDS, "label"]
    return f"{_several(made, said)} more diverse than sampling alone at the same quality" + _names(made)


def effective_diversity(curve):
    """Say which arm has most effective diversity at a middling quality, from ``10_effective``."""
    if curve.empty:
        return "No response has a quality: effective diversity cannot be drawn"
    at = curve["threshold"].iloc[(curve["threshold"] - 0.5).abs().argmin()]
    best = curve[curve["threshold"] == at].nlargest(1, "effective_diversity").iloc[0]
    size = estimate(best["effective_diversity"], best["lower"], best["upper"])
    return f"Among responses of quality ≥ {at:g}, effective diversity is largest {_arm(best['label'])}: {size}"


def cost_per_useful_answer(costs):
    """Say which arm's ideas cost least, from ``10_costs``."""
    known = costs[np.isfinite(costs["tokens_per_useful"].astype(float))]
    if known.empty:
        return "No tokens or no ideas are known: cost cannot be compared"
    best = known.nsmallest(1, "tokens_per_useful").iloc[0]
    return f"A distinct valid idea costs least {_arm(best['label'])}: {number(best['tokens_per_useful'], 0)} tokens"


def what_helps(statements, contrasts):
    """Answer of notebook 10: the arm that changes most of those that raise diversity without losing quality."""
    said = statements[statements["statement"].str.startswith("raises diversity without")]
    made = said[said["decision"] == HOLDS]
    if said.empty:
        return "Nothing can be said: **no arm has a comparator**"
    loss = said["statement"].iat[0].rpartition(" ")[2]
    if made.empty:
        return f"**No arm** of {len(said)} is shown to raise diversity without losing {loss}"
    best = largest(statements, contrasts)
    size = estimate(best["estimate"], best["lower"], best["upper"])
    return (
        f"**{len(made)} of {len(said)} arms** raise diversity without losing {loss}; most of all "
        f"{best['label']}, by {size} ({best['measure']})"
    )


def largest(statements, contrasts):
    """Largest contrast among arms that raise diversity without loss, else among all, of the measure that decides.

    Returns
    -------
    dict
        label, measure, estimate, lower, upper; NaN where there is no contrast.
    """
    names = ("label", "measure", "estimate", "lower", "upper")
    measure = "none" if statements.empty else statements["measure"].iat[0]
    own = contrasts[(contrasts["measure"] == measure) & (contrasts["prompts"] == "open-ended")]
    own = own.dropna(subset="estimate")
    without = statements["statement"].str.startswith("raises diversity without")
    made = statements[without & (statements["decision"] == HOLDS)]
    among = own[own["label"].isin(made["label"])] if len(made) else own
    if among.empty:
        return dict(zip(names, ("no arm", measure, np.nan, np.nan, np.nan), strict=True))
    return among.nlargest(1, "estimate").iloc[0][list(names)].to_dict()


def largest_change(best):
    """Name the notebook's one number, from `largest`.

    Examples
    --------
    >>> largest_change({"label": "a list", "measure": "ideas"})
    'largest change (ideas): a list'
    """
    return f"largest change ({best['measure']}): {best['label']}"


def stated(statements):
    """Sentences for every statement: the arms of which it holds, and what fails for the others most often."""
    sentences = []
    for words, said in statements.groupby("statement", sort=False):
        made = said.loc[said["decision"] == HOLDS, "label"]
        others = said.loc[said["decision"] != HOLDS, "fails"].str.split("; ").explode().dropna()
        holds = f"holds for {listed(made, 6)}" if len(made) else "holds for no arm"
        why = f"; inconclusive for {len(said) - len(made)}, mostly: {others.mode().iat[0]}" if len(others) else ""
        sentences.append(f"*{words}*: {holds}{why}")
    return sentences


def on_the_frontier(table):
    """Say how often arms are on the frontier, from ``10_frontier``; empty without quality."""
    if table.empty:
        return ""
    own = table[table["measure"] == table["measure"].iat[0]].nlargest(3, "share_on_frontier")
    each = [f"{row.label} in {percent(row.share_on_frontier)}" for row in own.itertuples()]
    return (
        f"On the frontier of quality and diversity: {listed(each, 3)} of resamples (it depends on the arms there are)"
    )


def pool(found):
    """Say what asking several models brings, from `interventions.pool_contrast`; empty without a pool."""
    if found is None:
        return ""
    size = estimate(found["estimate"], found["lower"], found["upper"], 3)
    return f"{found['n']} responses of {found['n_models']} models against the best model: diversity changes by {size}"


def _several(made, said):
    return (
        f"{len(made)} of {counted(len(said), 'arm')} {'is' if len(made) == 1 else 'are'}" if len(made) else "No arm is"
    )


def _names(made):
    return f": {listed(made, 3)}" if len(made) else ""


def _arm(label):
    return f"in “{label}”"

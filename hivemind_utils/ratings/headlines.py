"""Titles of the figures of notebooks 08 and 09: the finding in a sentence, one function per figure, by its name."""

import numpy as np

from hivemind_utils.tables.wording import estimate, number, percent


def rating_entropy(items, name="ratings"):
    """Say how much annotators of the median item disagree, from ``08_items`` of one type.

    Examples
    --------
    >>> import pandas as pd
    >>> rating_entropy(pd.DataFrame({"entropy_bits": [1.0, 1.5, 2.0]}))
    'Half of the ratings have an entropy of 1.50 bits or more'
    """
    if items.empty:
        return f"There are no {name}"
    return f"Half of the {name} have an entropy of {number(items['entropy_bits'].median())} bits or more"


def pairwise_entropy(items):
    """Say how much annotators of the median pair disagree; see `rating_entropy`."""
    return rating_entropy(items, "pairs")


def contested_ratings(shares, name="ratings"):
    """Say how common the commonest label of the most contested items is, from `panel.label_shares`."""
    if shares.empty:
        return f"There are no {name} to compare"
    tops = shares[shares["end"] == "most contested"].groupby("place")["share"].max()
    return f"In the most contested {name} the commonest label has {percent(tops.mean())} of the labels"


def contested_pairs(shares):
    """Say how common the commonest label of the most contested pairs is; see `contested_ratings`."""
    return contested_ratings(shares, "pairs")


def entropy_by_mean(items):
    """Say how far entropy and spread are the same, and how many items split, from ``08_items`` of one type."""
    if items.empty:
        return "Categories have no mean: entropy cannot be shown against it"
    rank = items["entropy_bits"].corr(items["sd"], method="spearman")
    n_split = int((items["disagreement"] == "split").sum())
    return (
        f"Entropy and standard deviation rank items alike by {number(rank)} (Spearman); "
        f"{n_split:,} of {len(items):,} items split into two camps"
    )


def annotator_reliability(table):
    """Say how reliable the means of half the annotators are, from ``08_reliability``."""
    if table.empty:
        return "No three items have two labels that can be averaged: reliability is unknown"
    last = table[table["items"] == table["items"].min()].iloc[-1]
    k, r = last["n_annotators"], number(last["reliability"])
    return f"Split-half reliability with {k:.0f} annotators per half: r = {r}"


def annotator_severity(table):
    """Say how far annotators differ in severity, from ``08_annotators``."""
    if table.empty:
        return "No annotator can be told apart from others: severity is unknown"
    spread = table[table["items"] == table["items"].min()]["severity"].std()
    if np.isnan(spread):
        return "There is one annotator: severity cannot be compared"
    return f"Severity differs between annotators by {number(spread)} scale points (standard deviation)"


def disagreement_kinds(items):
    """Say how many items annotators agree on, split over, or disagree on without camps; from ``08_items``."""
    shares = items["disagreement"].value_counts(normalize=True)
    agreed, noisy, split = (percent(shares.get(name, 0)) for name in ("agreed", "noisy", "split"))
    return f"{noisy} of the items are contested without camps, {split} split into two camps, {agreed} neither"


def agreement(alpha):
    """Say how far annotators agree beyond chance, from `panel.main_alpha`.

    Examples
    --------
    >>> import pandas as pd
    >>> agreement(pd.Series({"items": "pairs", "level": "ordinal", "value": 0.3, "lower": 0.2, "upper": 0.4}))
    "Agreement beyond chance in pairs: Krippendorff's alpha (ordinal) **0.30 (95 % interval 0.20 to 0.40)**"
    """
    name = {"absolute": "ratings", "pairs": "pairs"}[alpha["items"]]
    value = estimate(alpha["value"], alpha["lower"], alpha["upper"])
    return f"Agreement beyond chance in {name}: Krippendorff's alpha ({alpha['level']}) **{value}**"


def label_count(annotations):
    """Say how many labels there are, and how many were left out, from `Annotations`."""
    n_used, n_out = sum(map(len, annotations.labels.values())), len(annotations.excluded)
    return f"{n_used:,} labels of {len(annotations.items):,} items; {n_out:,} labels excluded with a reason"

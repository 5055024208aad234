"""Titles of the figures of notebooks 08 and 09: the finding in a sentence, one function per figure, by its name."""

import numpy as np

from hivemind_utils.ratings import calibration
from hivemind_utils.ratings.loading import ITEM_NAMES
from hivemind_utils.tables.wording import counted, estimate, listed, lost, number, percent, scorer_kind

_SAID = {
    "degrades": "degrade",
    "degrades, keeps more than half": "degrade but keep more than half",
    "holds up": "hold up",
    "inconclusive": "are inconclusive",
    "not testable": "are not testable",
}


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


def most_bits(scale):
    """Say what the entropy of labels on a scale is at most.

    Examples
    --------
    >>> most_bits([1, 2, 3, 4, 5, 6])
    '0 bits: all labels of an item are equal; 2.58: all 6 values are equally common.'
    """
    n = len(scale)
    return f"0 bits: all labels of an item are equal; {number(np.log2(n))}: all {n} values are equally common."


def pairwise_entropy(items):
    """Say how much annotators of the median pair disagree; see `rating_entropy`."""
    return rating_entropy(items, "pairs")


def contested_ratings(shares, name="ratings"):
    """Say how common the most common label of the most contested items is, from `panel.label_shares`."""
    if shares.empty:
        return f"There are no {name} to compare"
    tops = shares[shares["end"] == "most contested"].groupby("place")["share"].max()
    return f"In the most contested {name} the most common label has {percent(tops.mean())} of the labels"


def contested_pairs(shares):
    """Say how common the most common label of the most contested pairs is; see `contested_ratings`."""
    return contested_ratings(shares, "pairs")


def entropy_by_mean(items):
    """Say how far entropy and spread are the same, and how many items split, from ``08_items`` of one type."""
    if items.empty:
        return "Categories have no mean: entropy cannot be shown against it"
    n_split = int((items["disagreement"] == "split").sum())
    camps = f"{n_split:,} of {len(items):,} items split into two camps"
    known = items[["entropy_bits", "sd"]].dropna()
    if len(known) < 2 or (known == known.iloc[0]).all().any():  # a rank needs differences
        return f"Items do not differ in entropy and standard deviation; {camps}"
    rank = known["entropy_bits"].corr(known["sd"], method="spearman")
    return f"Entropy and standard deviation rank items alike by {number(rank)} (Spearman); {camps}"


def annotator_reliability(table):
    """Say how reliable the means of half the annotators are, from ``08_reliability``."""
    if table.empty:
        return "No three items have two labels that can be averaged: reliability is unknown"
    last = table[table["items"] == table["items"].min()].iloc[-1]
    k, r = last["n_annotators"], number(last["reliability"])
    if last["reliability"] <= 0:
        return (
            f"Means of two halves of {k:.0f} annotators do not agree (r = {r}): no reliability can be derived from them"
        )
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
    name = ITEM_NAMES[alpha["items"]]
    if np.isnan(alpha["value"]):
        return f"Agreement beyond chance in {name} is not defined: all labels are equal, or no item has two"
    value = estimate(alpha["value"], alpha["lower"], alpha["upper"])
    return f"Agreement beyond chance in {name}: Krippendorff's alpha ({alpha['level']}) **{value}**"


def label_count(annotations):
    """Say how many labels there are, and how many were left out, from `Annotations`."""
    n_used, n_out = sum(map(len, annotations.labels.values())), len(annotations.excluded)
    return f"{n_used:,} labels of {len(annotations.items):,} items; {n_out:,} labels excluded with a reason"


def verdict(verdicts, item_type):
    """Say which kinds of scorers degrade or hold up where people differ, from ``09_verdicts``.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = {"items": "absolute", "level": "kind", "share": 0.33, "scorer_type": ["judge", "reward"]}
    >>> verdict(pd.DataFrame(rows | {"verdict": ["holds up", "degrades"]}), "absolute")
    'On the most contested 33 % of ratings reward models degrade; judges hold up'
    """
    name = ITEM_NAMES[item_type]
    at = verdicts[(verdicts["items"] == item_type) & (verdicts["level"] == "kind")]
    if at.empty:
        return f"No scorer of {name} can be judged"
    if not at["share"].iloc[0] > 0:
        return f"The {name} do not differ in how contested they are: no scorer can be judged on contested ones"
    parts = []
    for decision, words in _SAID.items():
        kinds = at.loc[at["verdict"] == decision, "scorer_type"]
        if len(kinds):
            parts.append(f"{listed([scorer_kind(kind) for kind in kinds], most=6)} {words}")
    return f"On the most contested {percent(at['share'].iloc[0])} of {name} {'; '.join(parts)}"


def least_kept(label, value, lower, upper):
    """Say how much the kind that loses most keeps, from `verdicts.least_kept`; Markdown.

    Examples
    --------
    >>> least_kept("share of the correlation that judges keep on contested pairs", 0.9, 0.8, 1.0)
    'Share of the correlation that judges keep on contested pairs: **0.90 (95 % interval 0.80 to 1.00)**'
    """
    return f"{label[0].upper()}{label[1:]}: **{estimate(value, lower, upper)}**"


def calibration_verdict(verdicts, item_type):
    """Title of the figure of kinds: their verdicts; see `verdict`."""
    return verdict(verdicts, item_type)


def calibration_contrasts(verdicts, item_type):
    """Count the verdicts of the scorers of one type of item, from ``09_verdicts``."""
    at = verdicts[
        (verdicts["items"] == item_type) & (verdicts["level"] == "scorer") & (verdicts["scorer_type"] != "text")
    ]
    counts = at["verdict"].value_counts()
    if counts.empty:
        return f"No scorer of {ITEM_NAMES[item_type]} can be judged"
    said = "; ".join(f"{decision}: {counts[decision]}" for decision in _SAID if decision in counts)
    return f"Verdicts of {counted(len(at), 'scorer')} of {ITEM_NAMES[item_type]}: {said}"


def calibration_absolute(kinds, name="ratings"):
    """Say how many mean correlations lie within the pointwise null, or how near the line, from ``09_kinds``.

    Parameters
    ----------
    kinds : pandas.DataFrame
        ``09_kinds`` of one type of item.
    name : str
        Of the type of item.
    """
    if kinds.empty:
        return f"No scorer has scores of {name}"
    at = kinds[~kinds["family"].isin(["full", "primary"]) & (kinds["scorer_type"] != "text")]
    known = at.dropna(subset=["rho", "null_lower"])
    if len(known):
        inside = known["rho"].between(known["null_lower"], known["null_upper"]).sum()
        what = f"{inside} of {counted(len(known), 'mean correlation')} with contested {name}"
        return f"{what} lie within the pointwise range-restriction null, which bears no verdict"
    distance = (at["rho"] - at["line"]).abs().max()
    if np.isnan(distance):
        return f"Mean correlations with {name} have nothing to be compared with"
    return (
        f"Mean correlations with {name} are at most {number(distance)} from what range restriction does on a "
        "straight line"
    )


def calibration_pairwise(kinds):
    """Say what mean correlations with pairs are compared with; see `calibration_absolute`."""
    return calibration_absolute(kinds, "pairs")


def calibration_scorers(calibrated):
    """Name the scorer that agrees best with people, from ``09_calibration`` of one type of item."""
    full = calibrated[(calibrated["rule"] == "full") & calibrated["rho"].notna()]
    if full.empty:
        return "No scorer has scores"
    best = full.nlargest(1, "rho").iloc[0]
    name = {"absolute": "human ratings", "pairs": "human preferences"}[best["items"]]
    value = estimate(best["rho"], best["lower"], best["upper"])
    return f"{best['scorer']} agrees best with {name}: ρ = {value}"


def calibration_selections(table):
    """Say what the narrowest selections leave, from `calibration.selections`."""
    if table.empty:
        return "No ratings: other selections of ratings cannot be shown"
    within, over_all = calibration.narrowest(table, " L"), calibration.narrowest(table, " G")
    return (
        f"Mean correlation in the narrowest selections: {number(within)} within prompts, {number(over_all)} over all "
        "items"
    )


def pluralism(table):
    """Say how many scorers prefer typical responses at equal human mean, from ``09_pluralism``."""
    at = table[table["scorer_type"] != "text"]
    if at.empty:
        return "No pool of responses, or no texts: typicality is unknown"
    n = int((at["lower"] > 0).sum())
    return f"{n} of {counted(len(at), 'scorer')} prefer the typical response at equal human mean"


def agreement_of_kinds(kinds, item_type):
    """List the mean correlations over all items per kind of scorer, from ``09_kinds``; Markdown."""
    at = kinds[(kinds["items"] == item_type) & (kinds["rule"] == "full") & (kinds["scorer_type"] != "text")]
    parts = [f"{scorer_kind(r.scorer_type)} {estimate(r.rho, r.lower, r.upper)}" for r in at.itertuples()]
    return f"Mean Spearman ρ with {ITEM_NAMES[item_type]}: {'; '.join(parts)}" if parts else ""


def position_preference(position):
    """Say how far judges of pairs prefer what comes first, from `Collected.position`; empty without such judges."""
    parts = [f"{judge} {value:+.2f}" for judge, value in position.items()]
    return f"Preference of judges for the first response, in steps of the scale: {listed(parts)}" if parts else ""


def judges_failed(collected):
    """Say how often judges gave no valid grade, one sentence per judge and rubric, from `scorers.collect`."""
    judges = collected.asked[collected.asked["source"] == "judge"]
    return [
        lost(f"The judge {row.scorer}", "valid grade", row.n_asked - row.n_scored, row.n_asked, row.why, "texts")
        for row in judges.itertuples()
    ]

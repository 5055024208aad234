"""Titles of the figures of notebooks 01 to 03, and their answers: the finding in a sentence, one function each."""

import numpy as np
import pandas as pd

from hivemind_utils.queries import open_endedness as open_ended_queries
from hivemind_utils.queries import wildchat
from hivemind_utils.queries.taxonomy import claim_of
from hivemind_utils.tables.wording import counted, estimate, lost, number, percent


def filtered(share, paper):
    """Answer of notebook 01: how many rows pass the filters, from `wildchat.share_kept`."""
    interval = estimate(share["share"], share["lower"], share["upper"], 1, as_percent=True)
    return (
        f"**{share['n']:,} of {counted(share['n_rows'], 'row')}** pass all filters: **{interval}** "
        f"(paper: {paper.number('candidates'):,.0f} queries)"
    )


def filter_waterfall(waterfall):
    """Say how many messages are left, and which rule removes most, from ``01_waterfall``.

    Examples
    --------
    >>> import pandas as pd
    >>> filter_waterfall(pd.DataFrame({"rule": ["gpt4", "length"], "rows_in": [10, 6], "rows_out": [6, 5]}))
    '5 of 10 rows are left; the rule “GPT-4” removes most (4)'
    """
    removed = waterfall.set_index("rule").eval("rows_in - rows_out")
    kept = f"{waterfall['rows_out'].iloc[-1]:,} of {counted(waterfall['rows_in'].iloc[0], 'row')} are left"
    if not removed.max():
        return f"{kept}; no rule removes any"
    return f"{kept}; the rule “{wildchat.RULE_NAMES[removed.idxmax()]}” removes most ({removed.max():,})"


def filter_sensitivity(sensitivity):
    """Say on which rule the set depends most, from ``01_sensitivity``."""
    without = wildchat.without_rule(sensitivity)
    if without.empty:
        return "No rule applies: the set depends on none"
    rule = wildchat.RULE_NAMES[without.idxmax()]
    return f"The set depends most on the rule “{rule}”: {counted(without.max(), 'message')} without it"


def repeats(duplicates):
    """Say how many messages were removed as repeats, from ``01_duplicates``."""
    n_of = duplicates["rule"].value_counts()
    exact, near = (n_of.get(f"{kind}_duplicates", 0) for kind in ("exact", "near"))
    return f"{counted(exact, 'exact repeat')} and {counted(near, 'near-repeat')} were removed"


def unreadable(bad_rows):
    """Say how many rows no rule could judge, and why most of them, from ``01_bad_rows``."""
    if bad_rows.empty:
        return "Every row could be read"
    first = bad_rows.loc[bad_rows["n_rows"].idxmax()]
    n = bad_rows["n_rows"].sum()
    reason = f"“{first['reason']}” ({first['n_rows']:,})"
    return f"{counted(n, 'row')} could not be judged; the most common reason is {reason}"


def called_open(open_ended, paper):
    """Answer of notebook 02: the share of queries called open, from ``02_open_ended``."""
    share = open_ended_queries.open_share(open_ended)
    interval = estimate(share["share"], share["lower"], share["upper"], as_percent=True, digits=0)
    n_paper = sum(paper.number(claim) for claim in open_ended_queries.CLAIMS.values())
    return (
        f"**{interval}** of {counted(len(open_ended), 'query', 'queries')} are called open-ended "
        f"(paper: {percent(paper.number('open_ended') / n_paper)})"
    )


def query_outcomes(open_ended):
    """Say how many queries are called open, from ``02_open_ended``."""
    share = (open_ended["response_type"] == "open").mean()
    return f"{percent(share)} of {counted(len(open_ended), 'query is', 'queries are')} called open-ended"


def open_endedness(open_ended, scores, n_votes):
    """Say on how many queries votes differ, and how well the labeller agrees with annotators.

    Parameters
    ----------
    open_ended : pandas.DataFrame
        Table ``02_open_ended``.
    scores : pandas.DataFrame
        From `open_endedness.labeller_scores`.
    n_votes : int
        Votes per query.
    """
    unsure = open_ended_queries.unsure_share(open_ended)
    found = f"Votes differ for {percent(unsure)} of queries" if n_votes > 1 else "One vote per query"
    return f"{found}; {labeller_agreement(scores)}"


def labeller_agreement(scores):
    """Say how well the labeller agrees with annotators, from `open_endedness.labeller_scores`."""
    kappa = scores.set_index("measure").reindex(["kappa"]).iloc[0]
    if np.isnan(kappa["value"]):
        return "agreement of the labeller with annotators is unknown"
    return f"the labeller agrees with annotators by kappa = {estimate(kappa['value'], kappa['lower'], kappa['upper'])}"


def annotators_agree(shares, paper):
    """Say how often annotators, too, call a query open, from `open_endedness.annotated_open_shares`."""
    if shares.empty:
        return ""
    row = shares.loc["majority"]
    interval = estimate(row["share"], row["lower"], row["upper"], as_percent=True, digits=0)
    return f"The majority of annotators calls {interval} of these queries open {paper('majority_open')}"


def rewrites(open_ended):
    """Say how many queries were rewritten, and how far, from ``02_open_ended``."""
    changed = open_ended[open_ended_queries.is_rewritten(open_ended)]
    if changed.empty:
        return "No query was rewritten"
    share = percent(len(changed) / len(open_ended))
    return (
        f"{share} of queries were rewritten; mean cosine with the original {number(changed['rewrite_cosine'].mean())}"
    )


def largest_category(shares, paper):
    """Answer of notebook 03: the largest category, its share and the paper's, from ``03_shares``."""
    first = shares.loc[shares["share"].idxmax()]
    claim = claim_of(first["category"])
    stated = paper(claim) if claim in paper else "(paper: not reported)"
    interval = estimate(first["share"], first["lower"], first["upper"], as_percent=True, digits=0)
    return f"The largest category is {first['category']}: **{interval}** of open-ended queries {stated}"


def taxonomy(shares):
    """Say which category is the largest, from ``03_shares``."""
    first = shares.loc[shares["share"].idxmax()]
    n = counted((shares["n"] > 0).sum(), "category", "categories")
    return f"{first['category']} is the largest of {n}: {percent(first['share'])}"


def categories_per_query(mean, paper):
    """Say how many categories a query has, from `taxonomy.mean_per_query`."""
    interval = estimate(mean["value"], mean["lower"], mean["upper"])
    return f"Queries have {interval} categories on average {paper('labels_per_query')}"


def category_cooccurrence(pairs):
    """Say which two categories occur together most often, from `taxonomy.cooccurrence`."""
    if pairs.empty:
        return "Fewer than two categories occur: none occur together"
    top = pairs.loc[pairs["n"].idxmax()]
    return (
        f"{top['a']} and {top['b']} occur together most often: "
        f"{counted(top['n'], 'query', 'queries')}, {top['lift']:.1f} times chance"
    )


def category_trends(trends):
    """Say which category varies most over time or models, from `taxonomy.trends`."""
    if trends.empty:
        return "Neither times nor models are known for these queries"
    swing = trends.groupby(["by", "category"])["share"].agg(lambda share: share.max() - share.min())
    by, category = swing.idxmax()
    return f"{category} varies most: by {100 * swing.max():.0f} percentage points across {by}s"


def novel_categories(groups):
    """Say how many new categories there are, from `taxonomy.novel_groups`."""
    if groups.empty:
        return "The labeller named no new category"
    names = counted(groups["spellings"].sum(), "name")
    merged = counted(len(groups), "category", "categories")
    return f"{names} of new categories make {merged}; the largest is {groups['merged'].iloc[0]}"


def annotators_accept(agreement, paper):
    """Say how often annotators agree with the labels, from `taxonomy.annotator_agreement`."""
    if not agreement:
        return ""
    interval = estimate(agreement["share"], agreement["lower"], agreement["upper"], as_percent=True, digits=0)
    return f"Annotators agree with {interval} of the labels {paper('taxonomy_agreement')}"


def labeller(labels):
    """Say how often the labeller gave no valid label, and why mostly; empty for labels that come from a file."""
    n_lost = len(labels.failures) + len(labels.missing)
    if not labels.is_asked:
        return ""
    reasons = pd.concat([labels.failures["reason"], labels.missing["reason"]])
    why = None if reasons.empty else reasons.mode().iat[0]
    return lost(f"The labeller {labels.labeller}", "valid label", n_lost, len(labels.votes) + n_lost, why, "votes")

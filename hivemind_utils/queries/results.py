"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""

import pandas as pd

from hivemind_utils.queries import open_endedness, wildchat


def filtered(waterfall, bad_rows, duplicates, sensitivity, queries):
    """Numbers of notebook 01.

    Parameters
    ----------
    waterfall, bad_rows, duplicates, sensitivity, queries : pandas.DataFrame
        Tables ``01_*``.

    Returns
    -------
    dict
    """
    published = wildchat.last_filter(waterfall)["published"]
    n_filtered = int(wildchat.last_filter(waterfall)["rows_out"])
    n_of = sensitivity.set_index(["bound", "value"])["n_queries"]
    n_repeats = duplicates["rule"].value_counts()
    return {
        "n_rows": int(waterfall["rows_in"].iloc[0]),
        "n_bad": int(bad_rows["n_rows"].sum()),
        "bad_rows": bad_rows.set_index("reason")["n_rows"].to_dict(),
        "rows_out": waterfall.set_index("rule")["rows_out"].to_dict(),
        "n_kept_paper_rules": n_filtered,
        "n_queries": len(queries),
        "published_candidates": None if pd.isna(published) else int(published),
        "n_too_short": int(n_of.get(("min_chars", "1"), n_filtered) - n_filtered),
        "n_too_long": int(n_of.get(("max_chars", "100000"), n_filtered) - n_filtered),
        "n_exact_duplicates": int(n_repeats.get("exact_duplicates", 0)),
        "n_near_duplicates": int(n_repeats.get("near_duplicates", 0)),
        "without_rule": wildchat.without_rule(sensitivity).to_dict(),
        "median_chars": float(queries["n_chars"].median()) if len(queries) else None,
    }


def classified(labels, open_ended, annotations, shares, alternatives, scores):
    """Numbers of notebook 02.

    Parameters
    ----------
    labels : QueryLabels
    open_ended, annotations : pandas.DataFrame
        Tables ``02_open_ended`` and ``02_annotations``.
    shares, alternatives, scores : pandas.DataFrame
        From `open_endedness.annotated_open_shares`, `alternatives` and `labeller_scores`.

    Returns
    -------
    dict
    """
    counts = open_ended["response_type"].value_counts()
    cosines = open_ended.loc[open_endedness.is_rewritten(open_ended), "rewrite_cosine"]
    people = {f"{name}_{key}": value for name, row in shares.to_dict("index").items() for key, value in row.items()}
    people |= {f"alpha_{name}": alpha for name, alpha in open_endedness.annotator_alphas(annotations).items()}
    if len(alternatives):
        by_number = alternatives.set_index("answer")
        people["alternatives"] = by_number["share"].to_dict()
        people["alternatives_intervals"] = by_number[["lower", "upper"]].to_dict("index")
    return {
        "labeller": labels.labeller,
        "n_queries": len(open_ended),
        "counts": {kind: int(counts.get(kind, 0)) for kind in open_endedness.CLAIMS},
        "share_open": open_endedness.open_share(open_ended)["share"],
        "dropped": open_ended["why_dropped"].value_counts().to_dict(),
        "n_failures": len(labels.failures),
        "n_unfiltered": labels.n_unfiltered,
        "n_unreadable": labels.n_unreadable,
        "share_votes_differ": open_endedness.unsure_share(open_ended),
        "rewrites": {"n": len(cosines), "mean_cosine": cosines.mean(), "below_0.8": (cosines < 0.8).mean()},
        "validation": people,
        "labeller_against_people": scores.set_index("measure").to_dict("index"),
    }


def categorised(labels, queries, shares, counts, novel, groups, agreement):
    """Numbers of notebook 03.

    Parameters
    ----------
    labels : QueryLabels
    queries : pandas.DataFrame
        The open queries.
    shares, novel : pandas.DataFrame
        Tables ``03_shares`` and ``03_novel``.
    counts : pandas.Series
        From `taxonomy.per_query`.
    groups : pandas.DataFrame
        From `taxonomy.novel_groups`.
    agreement : dict
        From `taxonomy.annotator_agreement`.

    Returns
    -------
    dict
    """
    columns = ["share", "lower", "upper", "published", "alpha"]
    alphas = shares["alpha"].dropna()
    return {
        "labeller": labels.labeller,
        "n_queries": len(queries),
        "n_labelled": len(counts),
        "n_failures": len(labels.failures),
        "labels_per_query": float(counts.mean()),
        "n_without_category": int((counts == 0).sum()),
        "shares": shares.set_index("category")[columns].to_dict("index"),
        "n_intervals_with_published": int(shares["published"].between(shares["lower"], shares["upper"]).sum()),
        "n_novel_names": len(novel),
        "n_novel_categories": len(groups),
        "median_alpha": float(alphas.median()) if len(alphas) else None,
        "people_agreement": agreement,
        "people_alpha": agreement.get("alpha"),
    }

"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""

from hivemind_utils.responses import homogeneity, repetition


def intra_model(
    responses, cells, arms, at_least, shares, references, readings, agreement, curves, means, prompts, facts
):
    """Numbers of notebook 05.

    Parameters
    ----------
    responses : Responses
    cells : pandas.DataFrame
        From `repetition.cell_means`.
    arms, shares, references, readings, agreement, curves, means, prompts, facts : pandas.DataFrame or Series
        As `arm_means`, `bin_shares`, `references`, `both_readings`, `rank_agreement`, `rarefaction`,
        `paraphrase_means`, `by_prompt` and `with_facts` of `repetition` return them.
    at_least : dict of float to pandas.DataFrame
        From `repetition.share_at_least`, by threshold.

    Returns
    -------
    dict
    """
    headline = arms[arms["measure"].isin(["mean_cosine", "mean_cosine_equal_n", "vendi_1_equal_n"])]
    average = shares[shares["arm"] == "Average"].groupby("decoding")
    openness = repetition.openness_correlation(prompts)
    drop = means.loc["drop"]
    return {
        "models": sorted(set(responses.table["model"]) - responses.people),
        "n_cells": int((cells["n"] >= 2).sum()),
        "n_cells_single_response": int((cells["n"] < 2).sum()),
        **{f"percent_of_prompts_at_least_{level:g}": (100 * t["share"]).to_dict() for level, t in at_least.items()},
        "share_of_prompts_at_least": {f"{level:g}": t.to_dict("index") for level, t in at_least.items()},
        "average_bins": {decoding: at.set_index("bin")["percent"].to_dict() for decoding, at in average},
        "references": {f"{row.kind}, {row.decoding}": row.mean for row in references.itertuples()},
        "reference_intervals": {f"{r.kind}, {r.decoding}": [r.lower, r.upper] for r in references.itertuples()},
        "arms": headline.to_dict("records"),
        "rank_agreement": agreement.to_dict(),
        "shares_both_readings": readings.to_dict("index"),
        "rarefaction": curves.groupby("group").last().to_dict("index"),
        "by_category": repetition.by_category(prompts).to_dict("index"),
        "open_endedness_rank_correlation": float(openness.estimate),
        "open_endedness_rank_correlation_lower": float(openness.lower),
        "open_endedness_rank_correlation_upper": float(openness.upper),
        "model_facts_rank_correlation": repetition.fact_correlations(facts),
        "paraphrases": means["mean"].dropna().to_dict()
        | ({} if means["mean"].isna().all() else {"drop_lower": drop["lower"], "drop_upper": drop["upper"]}),
    }


def inter_model(responses, pairs, blocks, families, curve, overlaps, shares, pools):
    """Numbers of notebook 06.

    Parameters
    ----------
    responses : Responses
    pairs, blocks, families, curve, overlaps, shares, pools : pandas.DataFrame
        As the functions of `homogeneity` return them.

    Returns
    -------
    dict
    """
    between = homogeneity.different_models(pairs, responses)
    own = pairs[(pairs["arm_a"] == pairs["arm_b"]) & ~homogeneity.people_pairs(pairs, responses)]
    by_model = curve[curve["by"] == "model"].set_index("n_nearest") if len(curve) else curve
    columns = ["n_sources", "lower", "upper", "separated", "expected"]
    return {
        "models": sorted(set(responses.table["model"]) - responses.people),
        "decoding": responses.decoding,
        "n_arms": len(responses.arms),
        "n_prompts": len(responses.prompt_order),
        "blocks": blocks.dropna(subset=["mean"]).reset_index().to_dict("records"),
        "pairs": {f"{row.arm_a} × {row.arm_b}": row.mean_cosine for row in between.itertuples()},
        "lowest_pair": next(iter(between.nsmallest(1, "mean_cosine").to_dict("records")), None),
        "highest_pair": next(iter(between.nlargest(1, "mean_cosine").to_dict("records")), None),
        "published_diagonal": own["mean_cosine_published"].mean(),
        "rank_agreement_with_words": homogeneity.pair_agreement(pairs),
        "nearest_sources": by_model[columns].to_dict("index") if len(by_model) else {},
        "family_blocks": families.to_dict("records"),
        "overlaps": overlaps["kind"].value_counts().to_dict(),
        "n_span_pairs": int(shares["n_span_pairs"].sum()),
        "share_exact": float(shares["exact"].mean()) if len(shares) else None,
        "share_span": float(shares["span"].mean()) if len(shares) else None,
        "models_needed": homogeneity.models_needed(pools),
    }

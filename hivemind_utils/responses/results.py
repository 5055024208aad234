"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""

from hivemind_utils.responses import homogeneity


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

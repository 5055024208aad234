"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""

import numpy as np
import pandas as pd

from hivemind_utils.responses import against_paper, arm_headlines, differences, homogeneity, ideas, modes, repetition
from hivemind_utils.responses import interventions as arm_interventions
from hivemind_utils.tables import paper


def intra_model(responses, cells, arms, at_least, references, readings, agreement, curves, means, prompts, facts):
    """Numbers of notebook 05.

    Parameters
    ----------
    responses : Responses
    cells : pandas.DataFrame
        From `repetition.cell_means`.
    arms, references, readings, agreement, curves, means, prompts, facts : pandas.DataFrame or Series
        As `arm_means`, `references`, `both_readings`, `rank_agreement`, `rarefaction`,
        `paraphrase_means`, `by_prompt` and `with_facts` of `repetition` return them.
    at_least : dict of float to pandas.DataFrame
        From `repetition.share_at_least`, by threshold.

    Returns
    -------
    dict
    """
    headline = arms[arms["measure"].isin(["mean_cosine", "mean_cosine_equal_n", "vendi_1_equal_n"])]
    openness = repetition.openness_correlation(prompts)
    drop = means.loc["drop"]
    return {
        "models": sorted(set(responses.model_of.values()) - responses.people),
        "n_cells": int((cells["n"] >= 2).sum()),
        "n_cells_single_response": int((cells["n"] < 2).sum()),
        **{f"percent_of_prompts_at_least_{level:g}": (100 * t["share"]).to_dict() for level, t in at_least.items()},
        "share_of_prompts_at_least": {f"{level:g}": t.to_dict("index") for level, t in at_least.items()},
        "average_bins": _average_bins(responses, cells),
        **_repetition_of_main25(responses, cells, list(at_least)),
        "references": {f"{row.pair_type}, {row.decoding}": row.mean for row in references.itertuples()},
        "reference_intervals": {f"{r.pair_type}, {r.decoding}": [r.lower, r.upper] for r in references.itertuples()},
        "reference_differences": differences.of_references(responses, cells),
        "arms": headline.to_dict("records"),
        "rank_agreement": agreement.to_dict(),
        "shares_both_readings": readings.to_dict("index"),
        "rarefaction": curves.groupby("group").last().to_dict("index"),
        "by_category": repetition.by_category(prompts).to_dict("index"),
        "open_split": against_paper.open_split(prompts),
        "open_endedness_rank_correlation": float(openness.estimate),
        "open_endedness_rank_correlation_lower": float(openness.lower),
        "open_endedness_rank_correlation_upper": float(openness.upper),
        "model_facts_rank_correlation": repetition.fact_correlations(facts),
        "paraphrases": means["mean"].dropna().to_dict()
        | ({} if means["mean"].isna().all() else {"drop_lower": drop["lower"], "drop_upper": drop["upper"]}),
    }


def _average_bins(responses, cells, models=None):
    """Bins of the paper's heat map averaged over models, by decoding and bin, each with its interval."""
    originals = repetition.originals(cells.reset_index().dropna(subset=["mean_cosine"]), responses)
    own = originals if models is None else originals[originals["model"].isin(models)]
    found = {}
    for row in differences.average_bins(own, responses.people).to_dict("records"):
        found.setdefault(row.pop("decoding"), {})[row.pop("bin")] = row
    return found


def _main25(responses):
    """Names of the paper's 25 models where a run has all of them and others too; else none."""
    models, wanted = set(responses.model_of.values()) - responses.people, paper.main_models()
    return wanted if wanted < models else set()


def _repetition_of_main25(responses, cells, levels):
    """Numbers of the paper's 25 models alone in a run of more, as ``main25``; empty in other runs."""
    wanted = _main25(responses)
    if not wanted:
        return {}
    originals = repetition.originals(cells.reset_index().dropna(subset=["mean_cosine"]), responses)
    own = originals[originals["model"].isin(wanted)]
    at_least = {f"{x:g}": repetition.share_at_least(own, responses.people, x).to_dict("index") for x in levels}
    return {"main25": {"share_of_prompts_at_least": at_least, "average_bins": _average_bins(responses, cells, wanted)}}


def encoders(compared):
    """Numbers of notebook 05 on several encoders, from `encoder_comparison.arms`."""
    return {
        "encoders": compared.arms["encoder"].drop_duplicates().tolist(),
        "encoder_agreement": compared.agreement.to_dict("records"),
        "encoder_thresholds": compared.thresholds.to_dict("records"),
        "no_share_alike": compared.lacking or None,
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
    return {
        "models": sorted(set(responses.model_of.values()) - responses.people),
        "decoding": responses.decoding,
        "n_arms": len(responses.arms),
        "n_prompts": len(responses.prompt_order),
        "pairs": {
            f"{row.arm_a} × {row.arm_b}": {"mean": row.mean_cosine} | _bounds(row)
            for row in homogeneity.different_models(pairs, responses).itertuples()
        },
        **_pair_numbers(responses, pairs, blocks),
        **_pairs_of_main25(responses, int(curve["n_nearest"].max()) if len(curve) else 0),
        "rank_agreement_with_words": homogeneity.pair_agreement(pairs),
        "nearest_sources": _nearest_sources(curve),
        "family_blocks": families.to_dict("records"),
        "overlaps": overlaps["overlap_type"].value_counts().to_dict(),
        "n_span_pairs": int(shares["n_span_pairs"].sum()),
        "share_exact": float(shares["exact"].mean()) if len(shares) else None,
        "share_span": float(shares["span"].mean()) if len(shares) else None,
        "models_needed": homogeneity.models_needed(pools),
    }


def _nearest_sources(curve):
    """Distinct models among the N nearest responses, by N."""
    if curve.empty:
        return {}
    columns = ["n_sources", "lower", "upper", "separated", "expected", "n_prompts"]
    return curve[curve["by"] == "model"].set_index("n_nearest")[columns].to_dict("index")


def _bounds(row):
    return {name: getattr(row, name) for name in ("lower", "upper", "n_prompts")}


def _pair_numbers(responses, pairs, blocks):
    """Mean similarities by block, the extreme pairs, and the diagonal as published."""
    between = homogeneity.different_models(pairs, responses)
    return {
        "blocks": blocks.dropna(subset=["mean"]).reset_index().to_dict("records"),
        "lowest_pair": next(iter(between.nsmallest(1, "mean_cosine").to_dict("records")), None),
        "highest_pair": next(iter(between.nlargest(1, "mean_cosine").to_dict("records")), None),
        "published_diagonal": differences.published_diagonal(responses),
        "same_less_different": differences.same_less_different_models(responses),
    }


def _pairs_of_main25(responses, n_nearest):
    """Numbers of the paper's 25 models alone in a run of more, as ``main25``; empty in other runs."""
    wanted = _main25(responses)
    if not wanted:
        return {}
    own = responses.of_models(wanted)
    numbers = _pair_numbers(own, homogeneity.model_pairs(own), homogeneity.blocks(own))
    curve = homogeneity.neighbour_curve(homogeneity.neighbours(own, n_nearest)) if n_nearest else pd.DataFrame()
    return {"main25": numbers | {"nearest_sources": _nearest_sources(curve)}}


def clusters(responses, left_out, found, shown, stable):
    """Numbers of notebook 07 about modes.

    Parameters
    ----------
    responses : Responses
        Those analysed.
    left_out : pandas.Series
        Prompts with too few responses.
    found : modes.Analysis
        From `modes.analyse`.
    shown : OnePrompt
        From `modes.one_prompt`.
    stable : Interval
        From `modes.mean_stable`.

    Returns
    -------
    dict
    """
    prompts = found.prompts
    medians = ["n_modes", "n_supported", "dominant_share", "effective_modes", "noise_share", "null_modes_mean"]
    with_text = prompts.assign(text=prompts["prompt_id"].map(responses.prompts["text"]))
    of_time = with_text["text"].str.lower().str.contains(r"\bmetaphor\b.*\btime\b")  # the paper's prompt
    time = next(iter(with_text[of_time].to_dict("records")), None)
    if time is not None:
        over_models = modes.dominant_interval(found, responses, time["prompt_id"])
        time |= {"dominant_lower": over_models.lower, "dominant_upper": over_models.upper}
    return {
        "decoding": responses.decoding,
        "n_prompts": len(prompts),
        "n_responses": len(responses),
        "prompts_left_out": len(left_out),
        "shown": shown.row.to_dict() | {"text": shown.text},
        "time": time,
        "modes": prompts[medians].median().to_dict(),
        "stable_modes": {"mean": stable.estimate, "lower": stable.lower, "upper": stable.upper},
        "n_prompts_without_support": int((prompts["n_supported"] == 0).sum()),
    }


def idea_labels(judged, agreement, dominance, difference, floors, excess, source, threshold):
    """Numbers of notebook 07 that rest on idea labels.

    Parameters
    ----------
    judged : dict or None
        Counts of `ideas.judge`.
    agreement, dominance : pandas.DataFrame
        Tables ``07_agreement`` and ``07_dominance``.
    difference : Interval or None
        From `modes.dominance_difference`.
    floors : pandas.DataFrame
        From `ideas.shown`.
    excess : dict or None
        From `ideas.excess`.
    source : str or None
        Of the ideas in `floors`.
    threshold : float

    Returns
    -------
    dict
    """
    quoted = ideas.quoted(floors, excess)
    bounds = ("estimate", "lower", "upper")
    return {
        "judge": judged,
        "agreement": agreement.to_dict("records"),
        "dominance": dominance.to_dict("records"),
        "dominance_difference": difference and {name: getattr(difference, name) for name in bounds},
        "floors": quoted | {"ideas": source, "threshold": threshold},
        "floors_at_0.8": quoted if threshold == 0.8 and source in ("given", "judge") else None,
    }


def generated(tables, usable):
    """Numbers of notebook 04.

    Parameters
    ----------
    tables : dict of str to (pandas.DataFrame or blocks.Blocks)
        From `design.tables`.
    usable : Interval
        From `table.usable_share`.

    Returns
    -------
    dict
    """
    coverage, plan, written = tables["04_coverage"], tables["04_plan"], tables["04_paraphrases"]
    n = len(tables["04_responses"])
    outcomes = ("empty", "truncated", "repeated", "refused", "filtered", "unparsed")
    return {
        "n_prompts": tables["04_prompts"]["prompt_kind"].value_counts().to_dict(),
        "n_models": tables["04_models"]["model_kind"].value_counts().to_dict(),
        "n_responses": n,
        "n_usable": int(coverage["n_usable"].sum()),
        "usable": {"share": usable.estimate, "lower": usable.lower, "upper": usable.upper},
        "n_excluded": len(tables["04_excluded"]),
        **{f"share_{name}": coverage[f"n_{name}"].sum() / n for name in outcomes},
        "n_asked": int(plan["wanted"].sum()),
        "n_unsupported": int(plan["unsupported"].sum()),
        "n_missing": int(plan["missing"].sum()),
        "cost_usd": float(tables["04_provenance"]["cost_usd"].sum()),
        "n_paraphrases": {"written": len(written), "accepted": int(written["same_meaning"].fillna(False).sum())},
    }


def model_sources(published, own, labels, wordings, stages):
    """Numbers of notebook 11.

    Parameters
    ----------
    published, own : sources.Sources
    labels, wordings, stages : pandas.DataFrame
        As `sources.label_table`, `wordings.of_run` and `sources.stage_contrasts` return them.

    Returns
    -------
    dict
    """

    def numbers(found):
        lineage = found.lineage[["design", "effect", "unit", "estimate", "lower", "upper", "p_value", "n_models"]]
        return {
            "pair_variance": next(iter(found.summary.drop(columns="data").to_dict("records")), None),
            "lineage_effects": lineage.to_dict("records"),
            "most_alike_beyond_models": found.residuals.head(10).drop(columns="data").to_dict("records"),
            "time_slope": found.slopes.drop(columns="data").to_dict("records"),
        }

    return {
        "published": numbers(published),
        "this_run": numbers(own),
        "label_effects": labels.to_dict("records"),
        "wordings": wordings.to_dict("records"),
        "stages": stages.to_dict("records"),
    }


def interventions(graded, found, arms, contrasts, frontier, costs, statements, pool):
    """Numbers of notebook 10.

    Parameters
    ----------
    graded : arm_quality.Graded
    found : dict of str to ndarray
        From `interventions.measures`.
    arms, contrasts, frontier, costs, statements : pandas.DataFrame
        Tables ``10_arms``, ``10_contrasts``, ``10_frontier``, ``10_costs`` and ``10_statements``.
    pool : dict or None
        From `interventions.pool_contrast`.

    Returns
    -------
    dict
        Arms are named by condition; where several models were asked, by model and condition.
    """
    several = max(len(set(statements["model"])), len(set(arms["model"]))) > 1

    def name(row):
        return f"{row.model} · {row.condition}" if several else row.condition

    def by_arm(table, columns):
        found = {}
        for row in table.itertuples():
            found.setdefault(name(row), {})[row.measure] = {column: getattr(row, column) for column in columns}
        return found

    bounds = ["lower", "upper", "n_prompts"]
    opened = contrasts[contrasts["prompts"] == "open-ended"]
    on = ["quality", "diversity", "share_on_frontier", "gain", "gain_lower", "gain_upper"]
    best = arm_headlines.largest(statements, contrasts)
    known_bad = graded.known_bad
    said = {}
    for row in statements.itertuples():
        said.setdefault(name(row), {})[row.statement] = {"decision": row.decision, "fails": row.fails, "p": row.p}
    return {
        "scorers": graded.scorers,
        "n_unscored": graded.n_unscored,
        "never_asked": graded.asked.never_asked,
        "known_bad": None if known_bad is None else {n: float(getattr(known_bad, n)) for n in ("estimate", "upper")},
        "arms": by_arm(arms, ["mean", *bounds]),
        "contrasts": by_arm(opened, ["estimate", *bounds]),
        "frontier": by_arm(frontier, on),
        "costs": {name(row): {"tokens_per_useful": row.tokens_per_useful, "ratio": row.ratio, "lower": row.lower,
                              "upper": row.upper} for row in costs.itertuples()},
        "statements": said,
        "times_direct": {name(row): {"value": row.value, "lower": row.lower, "upper": row.upper}
                         for row in arm_interventions.times_direct(graded.asked, found).itertuples()},
        "n_raise": int(((statements["statement"] == "raises diversity") & (statements["decision"] == "holds")).sum()),
        "largest": None if np.isnan(best["estimate"]) else best,
        "pool": pool,
    }  # fmt: skip

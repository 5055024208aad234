"""Titles of the figures of notebooks 04 to 07: the finding in a sentence, one function per figure, by its name."""

import numpy as np

from hivemind_utils.responses import families, homogeneity, house_style, reference, repetition, sources
from hivemind_utils.responses.measure_headlines import against_paper as against_paper
from hivemind_utils.responses.measure_headlines import encoder_agreement as encoder_agreement
from hivemind_utils.responses.measure_headlines import encoder_pairs as encoder_pairs
from hivemind_utils.responses.measure_headlines import idea_profile as idea_profile
from hivemind_utils.responses.measure_headlines import language_effects as language_effects
from hivemind_utils.responses.measure_headlines import measure_validity as measure_validity
from hivemind_utils.responses.measure_headlines import other_models as other_models
from hivemind_utils.responses.measure_headlines import pairs_against_paper as pairs_against_paper
from hivemind_utils.responses.measure_headlines import queries_above as queries_above
from hivemind_utils.tables.wording import counted, estimate, listed, number, percent


def repeats(share, threshold, decoding):
    """Say for how many prompts a model repeats itself, from a row of `repetition.share_at_least`.

    Examples
    --------
    >>> repeats({"share": 0.79, "lower": 0.7, "upper": 0.86}, 0.8, "top_p")
    "For 79 % (95 % interval 70 % to 86 %) of prompts, a model's responses have mean similarity ≥ 0.8 (top_p)"
    """
    of_prompts = estimate(share["share"], share["lower"], share["upper"], 0, as_percent=True)
    return f"For {of_prompts} of prompts, a model's responses have mean similarity ≥ {threshold:g} ({decoding})"


def intra_heatmap(at_least, threshold):
    """Say for how many prompts a model repeats itself, per decoding, from `repetition.share_at_least`."""
    return {decoding: repeats(share, threshold, decoding) for decoding, share in at_least.iterrows()}


def similarity_references(references, decoding, paper=""):
    """Say how alike two responses of one model are next to two to different prompts; `repetition.references`.

    `paper` stands behind the latter, where there is one.
    """
    mean = references.set_index(["pair_type", "decoding"])["mean"]
    same = f"Mean similarity of two responses of one model: {number(mean['same model', decoding])} ({decoding})"
    floor = mean.get(("different prompts", decoding))
    return same if floor is None else f"{same}; to different prompts: {number(floor)} {paper}".rstrip()


def diversity_measures(wide, agreement, most):
    """Say which model repeats itself most, if any does, and whether other measures agree.

    Parameters
    ----------
    wide : pandas.DataFrame
        From `repetition.by_arm`.
    agreement : pandas.Series
        From `repetition.rank_agreement`.
    most : dict or None
        From `differences.most_repetitive`.
    """
    ranks = agreement[agreement.index.isin(repetition.PANELS)]
    if ranks.isna().any() or ranks.empty:
        said = f"{counted(len(wide), 'arm')}: too few to say whether measures agree"
    else:
        said = f"other measures rank the arms alike with ρ = {number(ranks.min())} to {number(ranks.max())}"
    if most is None:
        return said[0].upper() + said[1:]
    if most["decided"]:
        return f"{most['arm']} repeats itself most; {said}"
    found = most["difference"]
    apart = estimate(found["estimate"], found["lower"], found["upper"])
    return f"Inconclusive which model repeats itself most: {most['arm']} less {most['other']} is {apart}; {said}"


def rarefaction(curves, n):
    """Say how many of `n` responses differ, or of as many as every group has; from `repetition.rarefaction`."""
    if curves.empty:
        return "No response to an original prompt holds a word: different ones cannot be counted"
    n = min(n, curves.groupby("group")["n"].max().min())
    unit = {"idea": "ideas", "response": "wordings"}[curves["unit"].iat[0]]
    found = curves[curves["n"] == n]
    each = [f"{value:.1f} ({group})" for group, value in zip(found["group"], found["found"], strict=True)]
    return f"{counted(n, 'response')} to one prompt hold {listed(each, 9)} different {unit}"


def second_opinion(wide, agreement):
    """Say how well other similarities rank arms as the mean cosine does; `repetition.by_arm`, `rank_agreement`."""
    ranks = agreement[agreement.index.isin(repetition.OPINIONS)]
    if ranks.isna().any() or ranks.empty:
        return f"{counted(len(wide), 'arm')}: too few to rank"
    lowest = repetition.OPINIONS[ranks.idxmin()]
    return f"Other similarities rank the arms as the mean cosine does: ρ ≥ {number(ranks.min())} ({lowest})"


def paraphrases(means, paper=""):
    """Say what rephrasing the prompt does to similarity, from `repetition.paraphrase_means`; `paper` behind it."""
    drop = means.loc["drop"]
    if np.isnan(drop["mean"]):
        return "No prompt has paraphrases: wordings cannot be compared"
    moves = f"from {number(means['mean']['within'])} to {number(means['mean']['across'])}"
    size = estimate(*drop[["mean", "lower", "upper"]], 3)
    return f"Rephrasing the prompt changes mean similarity {moves}: a drop of {size} {paper}".rstrip()


def repetition_by_prompt(prompts):
    """Say how far original prompts differ, from `repetition.by_prompt`."""
    means = prompts.loc[prompts["prompt_kind"] == "original", "mean_cosine"]
    return f"Mean repetition of open-ended prompts: {number(means.min())} to {number(means.max())}"


def repetition_by_model(facts, correlations):
    """Say how repetition goes with what is known of models; `repetition.with_facts`, `fact_correlations`."""
    if correlations:
        known = " and ".join(f"{name} (ρ = {rho:+.2f})" for name, rho in correlations.items())
        return f"Repetition of models against {known}"
    means = facts.groupby("tuning")["mean"].mean()
    if means.empty:
        return "The registry knows neither size, tuning nor release date of these models"
    return "Mean repetition: " + ", ".join(f"{number(mean)} ({name} models)" for name, mean in means.items())


def openness(prompts):
    """Say how repetition goes with open-endedness, from `repetition.by_prompt`; empty where it is unknown."""
    found = repetition.openness_correlation(prompts)
    if np.isnan(found.estimate):
        return ""
    rho = estimate(found.estimate, found.lower, found.upper)
    return f"Rank correlation over prompts of repetition with open-endedness: {rho}"


def different_models(blocks, paper):
    """Answer of notebook 06: how alike responses of different models are, from `homogeneity.blocks`."""
    between = blocks.loc["different models"]
    interval = estimate(between["mean"], between["lower"], between["upper"])
    return f"Mean similarity of responses of different models: **{interval}** {paper('inter_mean')}"


def inter_heatmap(blocks):
    """Say how alike different models are, from `homogeneity.blocks`.

    Examples
    --------
    >>> import pandas as pd
    >>> inter_heatmap(pd.DataFrame({"mean": [0.8, 0.7]}, index=["same model", "different models"]))
    'Mean similarity: 0.70 between different models, 0.80 within one model'
    """
    between, within = blocks["mean"].reindex(["different models", "same model"])
    if np.isnan(between):
        return "One model: there is nothing to compare it with; its repetition is in notebook 05"
    return f"Mean similarity: {number(between)} between different models, {number(within)} within one model"


def family_blocks(blocks):
    """Say whether models of one family are more alike, from `homogeneity.blocks`."""
    within, across = blocks["mean"].reindex(["different models, same family", "different families"])
    if np.isnan(across):
        return "All models are of one family: families cannot be compared"
    n_models, n_unknown = blocks.attrs["n_models"], blocks.attrs["n_unknown"]
    if n_unknown == n_models:
        return f"Different models (families unknown): mean similarity {number(across)}"
    if np.isnan(within):
        note = f" ({n_unknown} of {counted(n_models, 'model')} of unknown family)" if n_unknown else ""
        return f"Models of different families{note}: mean similarity {number(across)}"
    return f"Mean similarity of different models: {number(within)} in one family, {number(across)} across families"


def nearest_source_models(curve):
    """Say how many models share the nearest responses, from `homogeneity.neighbour_curve`."""
    if curve.empty:
        return "No prompt has responses of two models: nearest responses cannot be counted by model"
    row = homogeneity.telling_row(curve)
    return (
        f"The {row['n_nearest']:.0f} nearest responses come from {row['n_sources']:.1f} models; "
        f"random labels would give {row['expected']:.1f}"
    )


def verbatim_overlaps(shares):
    """Say how many responses another model gives too, from the shares of `homogeneity.overlaps`."""
    if shares.empty:
        return "One model: no overlaps between models"
    return f"{percent(shares['exact'].mean())} of responses are given word for word by another model"


def pooled_diversity(pools):
    """Say how many models equal one model's largest sample, from `homogeneity.pools`."""
    needed = homogeneity.models_needed(pools)
    if needed is None:
        return "Too few responses or models to compare one model with many"
    one = f"{counted(needed['k'], 'response')} of one model"
    if needed["models"] is None:
        return f"{one} are more diverse than one response from each of {needed['most']} models"
    return f"One response from each of {counted(needed['models'], 'model')} is as diverse as {one}"


def stable_modes(mean):
    """Answer how many ideas there are, from `modes.mean_stable`."""
    return f"Stable modes of a prompt's responses, mean over prompts: **{_interval(mean, 1)}**"


def time_metaphor_map(row, modes):
    """Say how many modes of one prompt are stable and what the largest takes, from ``07_prompts`` and ``07_modes``.

    Examples
    --------
    >>> import pandas as pd
    >>> modes = pd.DataFrame({"keyphrases": ["river · flow"], "share": [0.4]})
    >>> time_metaphor_map({"n_responses": 50, "n_modes": 3, "n_supported": 2}, modes)
    '2 of 3 modes are stable; the largest, “river · flow”, has 40 % of 50 responses'
    """
    if modes.empty:
        return f"{counted(row['n_responses'], 'response')}, no modes"
    return (
        f"{row['n_supported']:.0f} of {counted(int(row['n_modes']), 'mode')} {_are(row['n_modes'])} stable; the "
        f"largest, “{modes['keyphrases'].iloc[0]}”, has {percent(modes['share'].iloc[0])} of "
        f"{counted(row['n_responses'], 'response')}"
    )


def mode_ledger(modes):
    """Say which mode belongs to one family most of all, from the rows of ``07_modes`` of one prompt."""
    if modes.empty:
        return "No modes, so no family owns one"
    times = modes["owner_share"] / modes["owner_expected"]
    own = modes.loc[times.idxmax()]
    return (
        f"“{own['keyphrases']}” is {times.max():.1f} times as frequent among responses of {own['owner']} as among all"
    )


def modes_overview(prompts):
    """Say how much the largest mode takes and how many modes are stable, from ``07_prompts``."""
    stable, found = int(prompts["n_supported"].sum()), int(prompts["n_modes"].sum())
    if not found:
        return f"No modes in the responses to {counted(len(prompts), 'prompt')}"
    largest = percent(prompts["dominant_share"].median())
    return (
        f"The largest mode has {largest} of a prompt's responses (median); "
        f"{stable} of {counted(found, 'mode')} {_are(found)} stable"
    )


def mode_stability(prompts):
    """Say how many prompts have no stable mode, and where structureless data has as many, from ``07_prompts``."""
    without = int((prompts["n_supported"] == 0).sum())
    as_many = int((prompts["n_modes"] <= prompts["null_modes_max"]).sum())
    return (
        f"{without} of {counted(len(prompts), 'prompt')} {'has' if len(prompts) == 1 else 'have'} no stable mode; "
        f"for {as_many}, the pipeline finds as many modes in structureless data"
    )


def dominant_ideas(dominance, difference):
    """Compare the share of the most common idea of models and people, from `modes.dominance` and its difference."""
    if dominance.empty:
        return "Too few responses to compare shares of the most common idea at equal numbers"
    best = dominance[dominance["ideas"] == dominance["ideas"].iloc[-1]]
    means = best.groupby("respondent")["dominant_share"].mean()
    n = best["n"].iloc[0]
    what = "share the most common idea" if best["ideas"].iloc[0] == "given" else "fall in one stable mode"
    whose = "a model" if "model" in means else "people"
    if difference is None:
        return f"Of {n} responses of {whose}, {percent(means.iloc[0])} {what}{_without_style(dominance, best)}"
    said = f"{percent(means['model'])} of {n} responses of a model {what}{_without_style(dominance, best)}"
    points = [
        f"{100 * value:+.0f}".replace("-", "−") for value in (difference.estimate, difference.lower, difference.upper)
    ]
    bounds = f" (95 % interval {points[1]} to {points[2]})" if np.isfinite(difference.lower) else ""
    return f"{said}, {percent(means['people'])} of people's; difference: {points[0]}{bounds} percentage points"


def _without_style(dominance, best):
    """Share of modes without what a model's responses have in common, where modes are all there is."""
    own = dominance[(dominance["ideas"] == house_style.NAME) & (dominance["respondent"] == best["respondent"].iloc[0])]
    if best["ideas"].iloc[0] != "modes" or own.empty:
        return ""
    return f" ({percent(own['dominant_share'].mean())} without what they all have in common)"


def modes_and_labels(agreement):
    """Say how far modes agree with idea labels, from ``07_agreement``: given labels, else a judge's.

    Parameters
    ----------
    agreement : pandas.DataFrame

    Returns
    -------
    str
        A sentence; it says so where no response has a label.

    Examples
    --------
    >>> row = {"labels": "modes", "reference": "given", "measure": "adjusted_rand", "mean": 0.5}
    >>> import pandas as pd
    >>> modes_and_labels(pd.DataFrame([row | {"lower": 0.4, "upper": 0.6}]))
    'Modes agree with the given idea labels by an adjusted Rand index of 0.50 [0.40, 0.60] (0: chance, 1: the same)'
    """
    own = agreement[(agreement["labels"] == "modes") & (agreement["measure"] == "adjusted_rand")]
    if own.empty:
        return "No idea labels to compare modes with: a mode is not an idea"
    best = own.loc[own["reference"].eq("given").idxmax()]
    whose = "the given idea labels" if best["reference"] == "given" else "the judge's idea labels"
    bounds = f" [{best['lower']:.2f}, {best['upper']:.2f}]" if np.isfinite(best["lower"]) else ""
    scale = "(0: chance, 1: the same)"
    return f"Modes agree with {whose} by an adjusted Rand index of {best['mean']:.2f}{bounds} {scale}"


def similarity_floors(floors, excess, threshold):
    """Set same-prompt pairs against the demanding null, from `ideas.shown` and `ideas.excess`."""
    share = floors.set_index("pair_type")["share_above"]
    where = f"reach a similarity of {threshold:g}"
    null = "same prompt, different idea"
    if excess is None or null not in share:
        kind = "same prompt" if "same prompt" in share else "people"
        if kind not in share:
            return "No prompt has two responses to compare"
        whose = {"same prompt": "same-prompt pairs", "people": "pairs of people"}[kind]
        return f"{percent(share[kind])} of {whose} {where}; there are no idea labels to compare with"
    same = share[null] + excess["difference"]["value"]
    return (
        f"{percent(share[null])} of pairs with different ideas {where}, "
        f"{percent(same)} of all pairs whose ideas compare"
    )


def time_prompt(row, paper):
    """Say how many modes the paper's prompt about time has, from its row of ``07_prompts``; empty without it."""
    if row is None:
        return ""
    return (
        f"The prompt about time has {counted(int(row['n_supported']), 'stable mode')} {paper('two_clusters')}; "
        f"the largest mode has {percent(row['dominant_share'])} of its responses {paper('dominant')}"
    )


def floor_ratio(excess, paper):
    """Say how many times as many same-prompt pairs are alike as pairs with different ideas, from `ideas.excess`."""
    if excess is None:
        return ""
    ratio = estimate(*(excess["ratio"][name] for name in ("value", "lower", "upper")))
    return f"Same-prompt pairs above the threshold, relative to those with different ideas: {ratio} {paper('excess')}"


def responses_there(tables, usable):
    """Say how many responses there are, of whom, and how many are usable, from the tables of notebook 04."""
    kinds = tables["04_models"]["model_kind"].value_counts()
    people = " and people" if kinds.get("human", 0) else ""
    share = estimate(float(usable.estimate), float(usable.lower), float(usable.upper), 1, as_percent=True)
    return (
        f"**{counted(len(tables['04_responses']), 'response')}** of {counted(int(kinds.get('model', 0)), 'model')}"
        f"{people} to {counted(len(tables['04_prompts']), 'prompt')}; usable: **{share}**"
    )


def coverage(shares):
    """Say what share of an arm's responses went wrong, from `table.outcome_shares`."""
    if shares.empty:
        return "No responses"
    mean = {name: percent(shares[name].mean(), 1) for name in shares.columns[shares.columns.get_loc("empty") :]}
    others = {"unparsed": "not found in a list", "looping": "loop", "marked": "hold template markers"}
    rare = "".join(f"{mean[name]} {words}, " for name, words in others.items() if mean[name] != "0.0 %")
    return (
        f"Of an arm's responses {mean['empty']} are empty, {mean['truncated']} cut off, {rare}{mean['refused']} "
        f"refused and {mean['repeated']} repeated word for word (mean of {counted(len(shares), 'arm')})"
    )


def families_told(tables):
    """Say of which models the family is guessed or unknown, from the tables of notebook 04; empty for none."""
    return families.said(tables["04_models"])


def not_asked(tables):
    """Say what was wanted and is not there, from ``04_plan``; empty where nobody was asked."""
    wanted, missing, unsupported = (int(tables["04_plan"][name].sum()) for name in ("wanted", "missing", "unsupported"))
    if not wanted:
        return ""
    return (
        f"{counted(wanted, 'response')} asked of models: {missing:,} are missing, {unsupported:,} are not to be had "
        "because a provider refuses the decoding"
    )


def _are(n):
    return "is" if n == 1 else "are"


def _interval(found, digits=2):
    return estimate(float(found.estimate), float(found.lower), float(found.upper), digits)


def pair_variance(summary):
    """Say how much of the similarity of pairs is due to single models, from `sources.pair_variance`."""
    if summary.empty:
        return "Fewer than four models: the variance of pairs cannot be split"
    row = summary.iloc[0]
    return (
        f"{percent(row['share'])} of the variance of {row['n_pairs']} pairs is due to models that are more similar, "
        "or less, to all others"
    )


def lineage_effects(effects):
    """Say whether models of one vendor are more alike: a statement only where the interval excludes 0."""
    row = sources.primary(effects)
    if row is None:
        notes = effects.loc[effects["unit"] == "vendor", "note"]
        return f"Shared vendor: not testable, {notes.iat[0].rstrip('.') if len(notes) else 'no pairs of models'}"
    if np.isnan(row["lower"]):
        return f"Shared vendor: inconclusive, {row['note']}; difference {number(row['estimate'], 3)}"
    shown = estimate(row["estimate"], row["lower"], row["upper"], 3)
    if row["lower"] > 0:
        return f"A shared vendor is associated with more similar responses: difference in mean cosine {shown}"
    if row["upper"] < 0:
        return f"A shared vendor is associated with less similar responses: difference in mean cosine {shown}"
    return f"Shared vendor: inconclusive, difference in mean cosine {shown}"


def residual_pairs(residuals):
    """Name the pair that is most alike beyond its two models, from `sources.pair_variance`."""
    if residuals.empty:
        return "Fewer than four models: no pair stands out"
    row = residuals.loc[residuals["residual"].idxmax()]
    return f"{row['model_a']} and {row['model_b']} are {number(row['residual'])} more alike than their models predict"


def label_effects(table):
    """Name the label with the largest rho, from `sources.label_table`."""
    known = table.dropna(subset="rho")
    if known.empty:
        return "No label has two groups with responses"
    row = known.loc[known["rho"].idxmax()]
    shown = estimate(row["rho"], row["rho_lower"], row["rho_upper"])
    if row["rho_lower"] > 0:
        return f"Responses differ most by {row['label']}: ρ = {shown}"
    return f"Inconclusive whether responses differ by a label; the largest ρ is that of {row['label']}, {shown}"


def wordings(table):
    """Say what a text of its own for every response does beyond neutral texts, from `wordings.of_run`; or nothing."""
    return "; ".join(_wordings(row) for _, row in table.iterrows())


def _wordings(row):
    name = f"{row['condition']} against {row['comparator']}"
    said = [
        _beyond(row, "rho", "responses depend on the text", "more", "less", "ρ"),
        _beyond(row, "models_alike", "models are", "more alike", "less alike", "mean cosine"),
    ]
    return f"{name}: {', and '.join(filter(None, said)) or 'nothing to compare'}"


def _beyond(row, measure, what, more, less, unit):
    """One difference of `_wordings` in words; empty where there is none."""
    lower, upper = row[f"{measure}_lower"], row[f"{measure}_upper"]
    if np.isnan(lower):
        return ""
    shown = f"difference in {unit} {estimate(row[f'{measure}_difference'], lower, upper)}"
    if lower > 0 or upper < 0:
        return f"{what} {more if lower > 0 else less} ({shown})"
    return f"inconclusive whether {what} {more} or {less} ({shown})"


def time_slope(slopes):
    """Say whether newer models are more similar to all others, within vendors, from `sources.time_slope`."""
    whole = slopes[slopes["left_out"] == ""] if len(slopes) else slopes
    if whole.empty:
        return "Too few release dates to compare newer with older models"
    row = whole.iloc[0]
    if np.isnan(row["lower"]):
        return "Newer models: inconclusive, too few vendors have models of different dates"
    shown = estimate(row["slope"], row["lower"], row["upper"], 3)
    if row["lower"] > 0 or row["upper"] < 0:
        word = "more" if row["lower"] > 0 else "less"
        return f"Newer models are {word} similar to all others: {shown} per year, within vendors"
    return f"Newer models: inconclusive whether they are more similar to all others, {shown} per year, within vendors"


def stages(contrasts):
    """Say what repetition is after tuning, from `sources.stage_contrasts`; empty without a lineage."""
    whole = contrasts[contrasts["unit"] == "lineage"]
    if whole.empty:
        return ""
    row = whole.iloc[0]
    shown = estimate(row["difference"], row["lower"], row["upper"])
    lineages = counted(row["n_units"], "lineage")
    return f"After instruction tuning, repetition differs by {shown} from that of the base model ({lineages})"


def real_time_metaphor_map(real):
    """Say which word a real model repeats and how many modes are stable, from `reference.analyse`."""
    if real is None:
        return "No real responses: no file is named, or its responses are not embedded"
    row, found = real.shown.row, real.shown.modes
    n = counted(int(row["n_responses"]), "response")
    if found.empty:
        return f"A real model: {n}, no modes"
    word = found["keyphrases"].iloc[0].split(" · ")[0]
    n_stable = int(row["n_supported"])
    ending = f"{n_stable} of {counted(len(found), 'mode')} stable" if n_stable else "no separate modes are stable"
    return f"A real model: “{word}” is in {percent(reference.share_with(real, word))} of {n}; {ending}"

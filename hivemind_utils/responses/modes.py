"""Modes of the responses to every prompt, and whether they are stable: tables of notebook 07."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hivemind_utils.metrics import clustering, diversity, intervals, mode_evidence
from hivemind_utils.metrics import words as words_metrics
from hivemind_utils.tables import files, ids
from hivemind_utils.tables.study import NothingToMeasureError
from hivemind_utils.tables.wording import counted, percent, short


@dataclass(frozen=True)
class Analysis:
    """Modes of all prompts.

    Attributes
    ----------
    points : pandas.DataFrame
        Table ``07_map``, one row per response, in their order.
    modes : pandas.DataFrame
        Table ``07_modes``.
    prompts : pandas.DataFrame
        Table ``07_prompts``.
    """

    points: pd.DataFrame
    modes: pd.DataFrame
    prompts: pd.DataFrame


@dataclass(frozen=True)
class OnePrompt:
    """Modes of one prompt.

    Attributes
    ----------
    text : str
        The prompt.
    points : pandas.DataFrame
        Its rows of ``07_map`` with model, family, is_human and text.
    modes : pandas.DataFrame
        Its rows of ``07_modes``.
    row : pandas.Series
        Its row of ``07_prompts``.
    """

    text: str
    points: pd.DataFrame
    modes: pd.DataFrame
    row: pd.Series

    @property
    def quoted(self):
        """The prompt in quotes, cut where a caption would be nothing else; figures' CSV have the ids of the whole."""
        return f"“{short(self.text, 240)}”"


def with_enough(responses, min_responses):
    """Keep the prompts with enough responses to look for modes.

    Parameters
    ----------
    responses : Responses
    min_responses : int

    Returns
    -------
    kept : Responses
        Ordered by prompt_id and response_id, a hash.
    left_out : pandas.Series
        Number of responses of every prompt that has too few.

    Raises
    ------
    NothingToMeasureError
        If no prompt is left.
    """
    counts = pd.Series(responses.sizes, pd.Index(responses.prompt_order, name="prompt_id"))
    few = counts[counts < min_responses]
    if len(few) == len(counts):
        raise NothingToMeasureError(
            f"Modes need at least {min_responses} usable responses to one prompt, but the largest of "
            f"{len(counts)} prompts has {counts.max() if len(counts) else 0}. Ask for more, or lower `min_responses`."
        )
    kept = counts.index.difference(few.index)
    return responses.of_prompts(kept).ordered("prompt_id", "response_id"), few


def analyse(responses, rng, *, settings=None, reruns=None, progress=None):
    """Map the responses to every prompt, name the modes, and say which of them are stable.

    Parameters
    ----------
    responses : Responses
        Ordered by prompt, as `with_enough` returns them.
    rng : numpy.random.Generator
        Gives one number, from which every prompt has a generator of its own: the same responses have the same modes,
        whatever else is in the run.
    settings, reruns : dict, optional
        Of `clustering.find_modes` and `mode_evidence.evidence`.
    progress : callable, optional

    Returns
    -------
    Analysis
    """
    if not responses.named["prompt_id"].is_monotonic_increasing:
        raise ValueError("Responses must be ordered by prompt_id, but are not: pass what `with_enough` returns.")
    start = int(rng.integers(2**62))
    generators = (ids.generator(start, prompt_id) for prompt_id in responses.prompt_order)
    parts = list(responses.map(_analyse_part, generators, progress=progress, settings=settings, reruns=reruns))
    return Analysis(
        pd.concat([part["map"] for part in parts], ignore_index=True),
        pd.concat([part["modes"] for part in parts], ignore_index=True),
        pd.DataFrame([part["prompt"] for part in parts]),
    )


def _analyse_part(responses, rng, *, settings, reruns):
    """Analyse the responses to one prompt."""
    families, text = responses.models["family"].to_dict(), responses.prompts["text"][responses.prompt_order[0]]
    return analyse_prompt(responses.table, responses.vectors, families, text, rng, settings=settings, reruns=reruns)


def analyse_prompt(
    table, vectors, families, prompt_text, rng, *, n_phrases=3, map_epochs=200, settings=None, reruns=None
):
    """Map the responses to one prompt, name its modes, and say which of them are stable.

    Parameters
    ----------
    table : pandas.DataFrame
        Usable responses to one prompt, with response_id, prompt_id, model, text; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_responses, n_dims)
    families : dict of str to str
        Family of every model.
    prompt_text : str
        Its words name no mode.
    rng : numpy.random.Generator
    n_phrases : int
        Keyphrases of a mode.
    map_epochs : int
        Of the two-dimensional map, which is looked at; the reduction in which modes are sought has its own.
    settings, reruns : dict, optional
        Of `clustering.find_modes` and `mode_evidence.evidence`.

    Returns
    -------
    dict
        ``map``, ``modes``: rows of ``07_map`` and ``07_modes``; ``prompt``: a row of ``07_prompts`` as a dict.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # matrices of one prompt are small: threads would wait for each other
        return _analyse(table, vectors, families, prompt_text, rng, n_phrases, map_epochs, settings or {}, reruns or {})


def _analyse(table, vectors, families, prompt_text, rng, n_phrases, map_epochs, settings, reruns):
    by_graph, by_modes, by_map, by_words, by_lexical, by_evidence = rng.spawn(6)
    vectors = np.asarray(vectors)
    first, inverse, counts = clustering.distinct_rows(vectors)
    n_neighbors = min(settings.get("n_neighbors", 15), max(1, len(first) - 1))
    neighbours = clustering.nearest_neighbours(vectors[first], n_neighbors, by_graph)
    words = words_metrics.word_lists(table["text"])
    lexical = clustering.lexical_coordinates(words, by_words)
    labels = clustering.find_modes(vectors, by_modes, neighbours=neighbours, **settings)
    place = clustering.umap_coordinates(
        vectors[first], by_map, n_epochs=map_epochs, min_dist=0.1, neighbours=neighbours
    )
    components, explained = clustering.principal_components(vectors)
    by_words_alone = clustering.lexical_modes(lexical, by_lexical, **settings)
    proof = mode_evidence.evidence(
        vectors, labels, by_evidence, lexical=lexical, lexical_labels=by_words_alone, neighbours=neighbours,
        **reruns, **settings,
    )  # fmt: skip
    points = table[["response_id", "prompt_id"]].assign(
        x=place[inverse, 0], y=place[inverse, 1], pc_1=components[:, 0], pc_2=components[:, 1], mode=labels,
        lexical_mode=by_words_alone,
    )  # fmt: skip
    ledger = _ledger(table, vectors, families, labels, words, n_phrases, set(words_metrics.words(prompt_text)))
    for name in ("separation", "found_again_seeds", "found_again_subsamples", "word_p", "supported"):
        ledger[name] = getattr(proof, name)
    return {"map": points, "modes": ledger, "prompt": _summary(points, ledger, explained, proof, counts)}


def _ledger(table, vectors, families, labels, words, n_phrases, exclude):
    """What every mode is made of, who gives it, and the response in its middle."""
    phrases = words_metrics.keyphrases(words, labels, n_phrases, exclude)
    exemplars = clustering.medoids(vectors, labels)
    family = table["model"].map(families)
    expected = family.value_counts(normalize=True)
    rows = []
    for mode, (named, exemplar) in enumerate(zip(phrases, exemplars, strict=True)):
        inside = labels == mode
        shares = family[inside].value_counts(normalize=True)
        owner = shares.index[np.lexsort((shares.index.to_numpy(str), -shares.to_numpy()))[0]]
        rows.append({
            "prompt_id": table["prompt_id"].iat[0], "mode": mode, "size": int(inside.sum()), "share": inside.mean(),
            "n_texts": table.loc[inside, "text"].nunique(), "n_models": table.loc[inside, "model"].nunique(),
            "n_families": len(shares), "owner": owner, "owner_share": shares[owner], "owner_expected": expected[owner],
            "keyphrases": " · ".join(named) or f"mode {mode + 1}", "exemplar": table["response_id"].iat[exemplar],
            "exemplar_text": table["text"].iat[exemplar],
        })  # fmt: skip
    names = ["prompt_id", "mode", "size", "share", "n_texts", "n_models", "n_families", "owner", "owner_share",
             "owner_expected", "keyphrases", "exemplar", "exemplar_text"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _summary(points, ledger, explained, proof, counts):
    sizes = ledger["size"].to_numpy()
    often = counts[counts >= clustering.smallest_mode(len(points))]
    row = {
        "prompt_id": points["prompt_id"].iat[0],
        "n_responses": len(points),
        "n_distinct": len(counts),
        "n_repeated_texts": len(often),
        "repeated_share": often.sum() / len(points),
        "n_modes": len(ledger),
        "n_supported": int(ledger["supported"].sum()),
        "supported_lower": proof.fewest,
        "supported_upper": proof.most,
        "dominant_share": ledger["share"].max() if len(ledger) else np.nan,
        "effective_modes": diversity.effective_number(sizes) if len(sizes) else np.nan,
        "noise_share": float((points["mode"] == clustering.NOISE).mean()),
        "explained_1": explained[0],
        "explained_2": explained[1],
        "separation": proof.overall_separation,
        "null_bound": proof.null_bound,
        "own_bound": proof.own_bound,
        "null_modes_mean": proof.null_modes.mean(),
        "null_modes_min": int(proof.null_modes.min()),
        "null_modes_max": int(proof.null_modes.max()),
        "null_noise_share": proof.null_noise.mean(),
        "n_lexical_modes": int(points["lexical_mode"].max()) + 1,
    }
    for name in ("seeds", "subsamples", "lexical"):
        row[f"ari_{name}"] = _mean(proof.agreement.get(name, ()))
        row[f"ari_{name}_without_noise"] = _mean(proof.agreement_without_noise.get(name, ()))
    return row


def _mean(values):
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")


def verdict(row):
    """Say in a sentence how many modes the evidence supports for one prompt.

    Parameters
    ----------
    row : mapping
        A row of ``07_prompts``.

    Returns
    -------
    str
    """
    again = ""
    if row["n_repeated_texts"]:
        texts = counted(int(row["n_repeated_texts"]), "text")
        again = f" {texts} alone, given again and again, {'is' if row['n_repeated_texts'] == 1 else 'are'} "
        again += f"{percent(row['repeated_share'])} of the responses."
    null = f"{row['null_modes_min']:.0f} to {row['null_modes_max']:.0f}"
    if row["null_modes_min"] == row["null_modes_max"]:
        null = f"{row['null_modes_max']:.0f}"
    found = f"the pipeline finds {row['n_modes']:.0f} in the responses and {null} in structureless data"
    if row["n_responses"] == 1:
        return "There is one response only."
    if row["n_distinct"] == 1:
        return f"All {row['n_responses']} responses are one text."
    if row["n_modes"] == 0:
        sizes = f"{row['n_responses']} responses ({row['n_distinct']} distinct)"
        none = "do not fall into groups: one idea throughout, or none that recurs"
        return f"No modes: the {sizes} {none}.{again}{power_says(row['n_distinct'])}"
    if row["n_supported"] == 0:
        return f"The evidence supports no separate modes: {found}.{again}{power_says(row['n_distinct'])}"
    return f"The evidence supports {counted(int(row['n_supported']), 'mode')}: {found}.{again}"


def power_says(n_distinct, cosine=0.8):
    """Say how often a tight mode would have been found with so few responses; empty where they are many.

    Parameters
    ----------
    n_distinct : int
    cosine : float
        Mean cosine of the mode's responses, a third of all, among others with 0.35; in ``mode_power.csv``.

    Returns
    -------
    str
        Begins with a blank.

    Examples
    --------
    >>> power_says(20)
    ' Inconclusive with 20 distinct responses: a third of them with mean cosine 0.8 would be found in 12 % of studies.'
    """
    table = pd.read_csv(files.root() / "data" / "reference" / "mode_power.csv")
    own = table[(table["mean_cosine"] == cosine) & (table["n_responses"] <= n_distinct)]
    if n_distinct >= clustering.UMAP_FROM:
        return ""
    power = float(own["power"].iloc[-1]) if len(own) else 0.0
    few = "Inconclusive" if power < 0.8 else "Not for want of responses"
    tight = f"a third of them with mean cosine {cosine:g} would be found in {percent(power)} of studies"
    return f" {few} with {n_distinct} distinct responses: {tight}."


def verdicts(prompts, texts):
    """Write the verdict of every prompt below its text.

    Parameters
    ----------
    prompts : pandas.DataFrame
        Table ``07_prompts``.
    texts : mapping
        Text of every prompt, by prompt_id.

    Returns
    -------
    str
    """
    return "\n".join(f"{texts[row['prompt_id']]}\n    {verdict(row)}" for row in prompts.to_dict("records"))


def stable_of_responses(found):
    """Stable mode of every response by response_id, ``<NA>`` outside of all stable modes, from `analyse`."""
    points = found.points.merge(found.modes[["prompt_id", "mode", "supported"]], how="left", on=["prompt_id", "mode"])
    modes = pd.Series(points["mode"].to_numpy(), points["response_id"].to_numpy(), dtype="Int64")
    return modes.where(points["supported"].eq(True).to_numpy())


def mean_stable(prompts):
    """Mean number of stable modes of a prompt, an `Interval` over prompts, from ``07_prompts``."""
    return intervals.mean_interval(prompts["n_supported"].to_numpy(float)).within(0, np.inf)


def dominant_interval(found, responses, prompt_id):
    """Share of the largest mode among the responses to one prompt, with an interval over those who responded.

    Parameters
    ----------
    found : Analysis
    responses : Responses
        Those analysed.
    prompt_id : str

    Returns
    -------
    Interval
        ``n_prompts`` counts the models (groups of people are one each); no bounds with fewer than two.
    """
    points = found.points[found.points["prompt_id"] == prompt_id]
    modes = points["mode"][points["mode"] >= 0]
    inside = points["mode"] == (modes.mode().iat[0] if len(modes) else np.nan)
    of = responses.of_prompts([prompt_id]).columns("response_id", "model").set_index("response_id")
    model = points["response_id"].map(of["model"])
    counts = inside.groupby(model.to_numpy()).agg(["sum", "size"])
    over = intervals.ratio_interval(counts["sum"].to_numpy(float), counts["size"].to_numpy(float))
    return intervals.share_bounds(float(over.estimate), float(over.se), len(counts))


def largest_first(prompts, texts):
    """Rows of ``07_prompts`` with their text, those with most responses first."""
    with_text = prompts.assign(text=prompts["prompt_id"].map(texts))
    return with_text.sort_values(["n_responses", "prompt_id"], ascending=[False, True])


def one_prompt(found, responses, wanted):
    """Pick one prompt to look at.

    Parameters
    ----------
    found : Analysis
    responses : Responses
        Those analysed.
    wanted : str
        prompt_id or text; where there is none such, the prompt with most responses.

    Returns
    -------
    OnePrompt
    """
    texts = responses.prompts["text"]
    rows = found.prompts[(found.prompts["prompt_id"] == wanted) | (found.prompts["prompt_id"].map(texts) == wanted)]
    rows = rows if len(rows) else found.prompts
    row = rows.loc[rows.sort_values("n_responses", kind="stable").index[-1]]
    own = responses.of_prompts([row["prompt_id"]])
    facts = own.table[["response_id", "model", "text"]].assign(
        family=own.table["model"].map(responses.models["family"]), is_human=own.is_human
    )
    points = found.points[found.points["prompt_id"] == row["prompt_id"]].merge(facts, on="response_id")
    modes = found.modes[found.modes["prompt_id"] == row["prompt_id"]].reset_index(drop=True)
    return OnePrompt(texts[row["prompt_id"]], points, modes, row)


def map_caption(shown, encoder):
    """Caption of the map of one prompt, an `OnePrompt`."""
    return (
        f"{shown.quoted} {counted(len(shown.points), 'response')}, {shown.row['n_distinct']:,} distinct texts, "
        f"{_who(shown.points)}; encoder {encoder}. "
        f"A star marks modes that are not stable. {verdict(shown.row)}"
    )


def _who(points):
    """Who responded: models, and people where there are any."""
    human = points["is_human"].astype(bool)
    models = counted(points.loc[~human, "model"].nunique(), "model")
    return f"{models} and people" if human.any() else models


def balanced_kmeans(responses, found, shown, k, rng):
    """Compare modes with clusters of equal size, as in the released analysis.

    Parameters
    ----------
    responses : Responses
    found : Analysis
    shown : OnePrompt
        The prompt whose responses are clustered.
    k : int or None
        Clusters; at most one per response. None: not asked for.
    rng : numpy.random.Generator

    Returns
    -------
    dict or None
        k, and the adjusted Rand index with the modes.
    """
    if k is None:
        return None
    own = responses.of_prompts([shown.row["prompt_id"]])
    labels = clustering.balanced_kmeans(own.vectors, min(k, len(own)), rng)
    modes = found.points.set_index("response_id")["mode"].loc[own.columns("response_id")["response_id"]].to_numpy()
    return {"k": k, "adjusted_rand_with_modes": clustering.adjusted_rand(labels, modes)}


def dominant_shares(responses, ideas, size, n_draws, rng):
    """Share of the most common idea among equally many responses of every arm, by prompt.

    Parameters
    ----------
    responses : Responses
    ideas : dict of str to pandas.Series
        What tells ideas apart ("modes", "given"), the best last, and the idea of every response by response_id.
        Responses that a series lacks stay out; those it has as NaN have an idea of their own.
    size : int
        Responses drawn of every cell; cells with fewer stay out.
    n_draws : int
    rng : numpy.random.Generator
        Spawned per cell.

    Returns
    -------
    pandas.DataFrame
        Columns ideas, arm, respondent (model or people), prompt_id, n (drawn), share (mean over draws).
    """
    rows, start = [], int(rng.integers(2**62))
    whole = responses.columns("response_id", "arm", "prompt_id")
    for name, idea_of in ideas.items():
        table = whole[whole["response_id"].isin(idea_of.index)]
        codes = pd.factorize(table["response_id"].map(idea_of))[0]
        codes = np.where(codes < 0, -1 - np.arange(len(codes)), codes)  # an idea of its own
        groups = table.assign(code=codes).sort_values("response_id").groupby(["arm", "prompt_id"])
        cells = {key: cell["code"].to_numpy() for key, cell in groups if len(cell) >= size}
        for (arm, prompt_id), cell in cells.items():
            generator = ids.generator(start, name, arm, prompt_id)
            n = n_draws if len(cell) > size else 1
            picks = generator.permuted(np.tile(cell, (n, 1)), axis=1)[:, :size]
            share = (picks[:, :, None] == picks[:, None, :]).sum(2).max(1).mean() / size
            kind = "people" if responses.model_of[arm] in responses.people else "model"
            rows.append((name, arm, kind, prompt_id, size, share))
    return pd.DataFrame(rows, columns=["ideas", "arm", "respondent", "prompt_id", "n", "share"])


def dominance(shares):
    """Mean of the most common idea's share over prompts, with its interval, for every arm.

    Parameters
    ----------
    shares : pandas.DataFrame
        From `dominant_shares`.

    Returns
    -------
    pandas.DataFrame
        Table ``07_dominance``.
    """
    rows = []
    for (name, arm, kind, n), cells in shares.groupby(["ideas", "arm", "respondent", "n"]):
        found = intervals.share_interval(cells["share"])
        rows.append((arm, kind, n, len(cells), found.estimate, found.lower, found.upper, name))
    columns = ["arm", "respondent", "n", "n_prompts", "dominant_share", "lower", "upper", "ideas"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[4:7], float))
    order = list(shares["ideas"].unique())  # stays as passed: the last is the best
    return table.sort_values("ideas", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def dominance_difference(shares):
    """Commonest idea's share among models less that among people, paired by prompt, by the best idea labels.

    Parameters
    ----------
    shares : pandas.DataFrame
        From `dominant_shares`.

    Returns
    -------
    Interval or None
        None where models or people are missing.
    """
    best = shares[shares["ideas"] == shares["ideas"].iloc[-1]] if len(shares) else shares
    wide = best.groupby(["prompt_id", "respondent"])["share"].mean().unstack()
    if not {"model", "people"} <= set(wide.columns):
        return None
    return intervals.difference_interval(wide["model"], wide["people"])

"""Tables of notebook 05, repetition within a model: responses in, tidy frames out."""

from itertools import pairwise

import numpy as np
import pandas as pd

from hivemind_utils.metrics import coverage, diversity, intervals, lexical, resample, similarity
from hivemind_utils.responses import repetition_of_prompt as of_prompt
from hivemind_utils.responses.loading import choose_decoding
from hivemind_utils.responses.prompts import PROMPT_NUMBERS
from hivemind_utils.responses.repetition_of_prompt import ARM
from hivemind_utils.responses.table import CELL
from hivemind_utils.tables import ids
from hivemind_utils.tables.study import NothingToMeasureError

ONE_RESPONSE = "Every cell has one response: repetition needs at least two per prompt and model."

PANELS = {  # printed names; "form": the measure knows words, not meaning
    "mean_cosine": "mean cosine",
    "vendi_1_equal_n": "Vendi score",
    "effective_distinct_equal_n": "effective number of wordings (form)",
    "distinct_2": "distinct word pairs (form)",
    "compression_ratio": "compression ratio (form)",
    "opener_share": "most common opener (form)",
}
OPINIONS = {
    "mean_tfidf": "TF-IDF cosine (form)",
    "mean_cosine_centred": "mean cosine, centred",
    "mean_cosine_truncated": "mean cosine, truncated",
}
FALLING = {"vendi_1_equal_n", "effective_distinct_equal_n", "distinct_2"}  # with repetition; all others rise
_COSINE, _SHARE, _NUMBER, _POSITIVE = (-1, 1), (0, 1), (1, np.inf), (0, np.inf)
MEASURES = {  # columns of 05_repetition that are averaged over prompts, with the range of each
    "mean_cosine": _COSINE, "mean_cosine_equal_n": _COSINE, "mean_cosine_centred": _COSINE,
    "mean_cosine_truncated": _COSINE, "mean_cosine_sound": _COSINE, "mean_tfidf": _COSINE,
    "share_above": _SHARE, "vendi_1": _NUMBER, "vendi_2": _NUMBER, "vendi_inf": _NUMBER,
    "vendi_1_equal_n": _NUMBER, "effective_distinct": _NUMBER,
    "effective_distinct_equal_n": _NUMBER, "distinct_1": _SHARE, "distinct_2": _SHARE, "distinct_3": _SHARE,
    "self_overlap": _SHARE, "compression_ratio": _POSITIVE, "duplicate_share": _SHARE, "opener_share": _SHARE,
    "mean_chars": _POSITIVE,
}  # fmt: skip
_EDGES = np.linspace(0, 1, 11)
_QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}


def cell_means(responses, truncated):
    """Mean similarity of every cell: all responses of one arm to one prompt.

    For unit vectors with sum s, the mean over all pairs of n responses is (|s|² - n) / (n (n - 1)).

    Parameters
    ----------
    responses : Responses
    truncated : ndarray of float, shape (n_responses, n_dims)
        Embeddings of the responses cut to their first characters.

    Returns
    -------
    pandas.DataFrame
        Indexed by cell; n, mean_chars, mean_cosine, n_sound and mean_cosine_sound (of responses without any flag of
        `soundness`), mean_cosine_centred, mean_cosine_truncated, mean_tfidf; means are NaN for a cell with one
        response.

    Raises
    ------
    ValueError
        If no cell has two responses.
    """
    n_texts = len(responses)
    with lexical.TextsWithTerm() as found:
        total = 0
        for summed, terms, n_with_term in responses.map(of_prompt.sum_and_terms):
            total = total + summed
            found.add(terms, n_with_term)
        found.finish()
        if found.n_terms == 0:
            raise NothingToMeasureError(f"Measures of form need words, but none of {n_texts} responses has any.")
        n_with_term = (found.of(k) for k in range(len(responses.prompt_order)))
        tables = responses.map(
            of_prompt.cell_means, responses.split(truncated), n_with_term, centre=total / n_texts, n_texts=n_texts
        )
        cells = pd.concat(list(tables))
    if cells["n"].max() < 2:
        raise NothingToMeasureError(ONE_RESPONSE)
    return cells


def cell_measures(responses, cells, threshold, equal_n, n_draws, rng, progress=None):
    """Add to the means of every cell with two or more responses what a mean does not see.

    Parameters
    ----------
    responses : Responses
    cells : pandas.DataFrame
        From `cell_means`.
    threshold : float
        For the share of pairs.
    equal_n, n_draws : int
        Size and number of the random subsets at which cells of different size are compared.
    rng : numpy.random.Generator
        Gives one number, from which every cell has a generator of its own: what else is in the run plays no part.
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Table ``05_repetition``.
    """
    kept = cells[cells["n"] >= 2]
    start, cells_of = int(rng.integers(2**62)), {}
    for cell in sorted(kept.index):
        cells_of.setdefault(cell[0], []).append(cell)
    generators = ([ids.generator(start, *cell) for cell in cells_of.get(p, ())] for p in responses.prompt_order)
    options = {"threshold": threshold, "equal_n": equal_n, "n_draws": n_draws}
    found = responses.map(of_prompt.measures, generators, progress=progress, **options)
    measures = [row for rows in found for row in rows]
    table = kept.join(pd.DataFrame(measures, index=kept.index)).reset_index()
    return table.drop(columns="n_distinct")


def originals(table, responses):
    """Cells of ``05_repetition`` of original, open-ended prompts, with the name of their arm.

    Raises
    ------
    ValueError
        If no model gave two responses to such a prompt.
    """
    kept = table[table["prompt_id"].map(responses.prompts["prompt_kind"]) == "original"]
    if kept["model"].isin(responses.people).all():
        raise NothingToMeasureError(
            "No model gave two responses to an original prompt: see "
            "`prompt_kind` in 04_prompts and `model_kind` in 04_models."
        )
    return kept.join(responses.arm_of, on=["model", "condition"])


def main_decoding(cells, people):
    """Decoding under which models are compared: top_p, else the most common."""
    return choose_decoding(cells, people)


def bin_shares(cells, people):
    """Percent of prompts whose mean repetition falls in each bin of width 0.1, per model; the paper's Figure 4.

    Parameters
    ----------
    cells : pandas.DataFrame
        Cells with the columns arm, model, decoding, mean_cosine; see `originals`.
    people : set of str
        Groups of people: shown under every decoding, not in the average.

    Returns
    -------
    pandas.DataFrame
        Columns decoding, arm, model, bin, low, percent, n_prompts; arm "Average" weighs models equally. The last bin is
        closed; a bin for negative means stands first where there are any.
    """
    decodings = sorted(cells.loc[~cells["model"].isin(people), "decoding"].unique())
    tables = [_bin_shares(cells, decoding, people) for decoding in decodings]
    return pd.concat(tables, ignore_index=True)


def _bin_shares(cells, decoding, people):
    is_person = cells["model"].isin(people)
    chosen = cells[(cells["decoding"] == decoding) | is_person]
    edges, names = bins(chosen["mean_cosine"].to_numpy())
    rows = []
    for (arm, model), cell in chosen.groupby(["arm", "model"], sort=True):
        counts, _ = np.histogram(np.clip(cell["mean_cosine"], -1, 1), edges)
        percent = 100 * counts / counts.sum()
        rows += [(arm, model, *item, len(cell)) for item in zip(names, edges[:-1], percent, strict=True)]
    shares = pd.DataFrame(rows, columns=["arm", "model", "bin", "low", "percent", "n_prompts"])
    machines = shares[~shares["model"].isin(people)]
    by_model = machines.groupby(["model", "bin", "low"], as_index=False)["percent"].mean()  # over its conditions
    average = by_model.groupby(["bin", "low"], as_index=False)["percent"].mean()
    n_prompts = chosen.loc[~chosen["model"].isin(people), "prompt_id"].nunique()
    average = average.assign(arm="Average", model="Average", n_prompts=n_prompts)
    table = pd.concat([shares, average], ignore_index=True)[list(shares.columns)]
    table.insert(0, "decoding", decoding)
    return table


def share_at_least(cells, people, threshold):
    """Share of prompts whose mean repetition is at least `threshold`, models weighing equally, people left out.

    At a multiple of 0.1 this is the sum of the upper bins of "Average" in `bin_shares`, the paper's headline.

    Parameters
    ----------
    cells : pandas.DataFrame
        See `originals`.
    people : set of str
    threshold : float

    Returns
    -------
    pandas.DataFrame
        Indexed by decoding; share, lower, upper (`intervals.share_bounds`, standard error by the jackknife over
        prompts), n_prompts.
    """
    rows = {}
    for decoding, at in cells[~cells["model"].isin(people)].groupby("decoding"):
        wide = at.pivot(index="prompt_id", columns=["model", "condition"], values="mean_cosine")
        rows[decoding] = share_of_prompts(wide, wide >= threshold)
    columns = {"share": "estimate", "lower": "lower", "upper": "upper", "n_prompts": "n_prompts"}
    table = {name: [getattr(found, field) for found in rows.values()] for name, field in columns.items()}
    return pd.DataFrame(table, index=pd.Index(rows, name="decoding"))


def share_of_prompts(wide, chosen):
    """Interval of the share of prompts that are `chosen`, arms of a model and then models weighing equally."""
    weights, known = intervals.left_out_weights(wide.index), wide.notna().to_numpy(float)
    hits, n = weights @ chosen.to_numpy(float), weights @ known
    shares = np.divide(hits, n, out=np.full(n.shape, np.nan), where=n > 0)
    by_arm = pd.DataFrame(shares, columns=wide.columns)
    replicates = by_arm.T.groupby(level="model").mean().mean().to_numpy()
    return intervals.share_bounds(replicates[0], intervals.jackknife_interval(replicates).se, len(wide))


def bins(values):
    """Edges and names of the bins of width 0.1; one for negative values only where there are any."""
    edges = np.concatenate([[-1.0], _EDGES]) if (values < 0).any() else _EDGES
    return edges, [f"{low:.1f}–{high:.1f}" if low >= 0 else "< 0" for low, high in pairwise(edges)]


def arm_means(cells):
    """Mean over prompts of every measure of every arm, with its interval over prompts.

    Parameters
    ----------
    cells : pandas.DataFrame
        Rows of ``05_repetition``.

    Returns
    -------
    pandas.DataFrame
        Table ``05_arms``.
    """
    tables = []
    for measure, bounds in MEASURES.items():
        wide = cells.pivot(index="prompt_id", columns=ARM, values=measure).sort_index(axis=1)
        found = intervals.mean_interval(wide.to_numpy()).within(*bounds)
        table = wide.columns.to_frame(index=False).assign(
            measure=measure, n_prompts=wide.notna().sum().to_numpy(), mean=found.estimate, lower=found.lower,
            upper=found.upper,
        )  # fmt: skip
        tables.append(table[table["n_prompts"] > 0])
    return pd.concat(tables, ignore_index=True)


def by_arm(arms):
    """Means of ``05_arms`` with one row per arm and one column per measure."""
    return arms.pivot(index=ARM, columns="measure", values="mean").reset_index().rename_axis(columns=None)


def panels(arms):
    """`PANELS`, with the mean cosine of sound responses where it differs from that of all; from ``05_arms``."""
    wide = by_arm(arms)
    if "mean_cosine_sound" not in wide or np.allclose(wide["mean_cosine_sound"], wide["mean_cosine"], equal_nan=True):
        return PANELS
    first, *others = PANELS.items()
    return dict([first, ("mean_cosine_sound", "mean cosine, sound responses"), *others])


def rank_agreement(wide):
    """Spearman correlation over arms of the mean cosine with other measures, 1 where they rank arms alike.

    Parameters
    ----------
    wide : pandas.DataFrame
        From `by_arm`.

    Returns
    -------
    pandas.Series
        By measure of `PANELS` and `OPINIONS`; measures that fall with repetition are turned round. NaN for fewer than
        three arms.
    """
    measures = [name for name in (*PANELS, *OPINIONS) if name in wide and name != "mean_cosine"]
    signs = [-1 if name in FALLING else 1 for name in measures]
    found = [s * resample.rank_agreement(wide["mean_cosine"], wide[n]) for s, n in zip(signs, measures, strict=True)]
    return pd.Series(found, index=measures, dtype=float, name="rank agreement with mean cosine")


def references(responses, threshold, n_random_pairs, rng, progress=None):
    """Distribution of pair similarity for kinds of pairs, from the least to the most demanding comparison.

    Parameters
    ----------
    responses : Responses
        To prompts of all kinds. The floor of random pairs is of models' responses to open-ended original prompts.
    threshold : float
        For the share of pairs.
    n_random_pairs : int
    rng : numpy.random.Generator
    progress : callable, optional
        Wraps the loop over prompts.

    Returns
    -------
    pandas.DataFrame
        Table ``05_references``.
    """
    found = list(responses.map(of_prompt.pair_counts, progress=progress))
    decodings = {kind: sorted({d for counts in found for k, d in counts if k == kind}) for kind in _KINDS}
    rows = []
    for kind, names in _KINDS.items():
        for decoding in decodings[kind]:
            counts = np.array([counts[kind, decoding] for counts in found if (kind, decoding) in counts])
            for side, name in enumerate(names):
                if counts[:, side].sum() > 0:
                    rows.append(_distribution(name, decoding, counts[:, side], threshold))
    for decoding in decodings["original"]:
        cosines = random_cosines(responses.open_ended(decoding), n_random_pairs, rng)
        if len(cosines):
            floor = np.histogram(np.clip(cosines, -1, 1), np.linspace(-1, 1, similarity.N_BINS + 1))[0]
            row = _distribution("different prompts", decoding, floor[None], threshold)
            rows.append(row | {"mean": float(cosines.mean(dtype=float))})
    return pd.DataFrame(rows)


_KINDS = {  # of groups of responses to a prompt, with the kinds of pairs in them
    "original": ("same model", "different models"),
    "closed": ("same model, closed-ended prompt",),
    "people": ("people",),
}


def random_cosines(responses, n_pairs, rng):
    """Cosines of random pairs of responses to different prompts; a paraphrase is no other prompt.

    Parameters
    ----------
    responses : Responses
    n_pairs : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (n_pairs,)
        Empty where there is one prompt.
    """
    order = pd.Series(responses.prompt_order, dtype=object)
    parents = order.map(responses.prompts["parent_id"])
    prompt_of_row = responses.by_row(pd.factorize(order.where(parents.isna(), parents))[0].astype(np.int32))
    return responses.pair_cosines(*similarity.random_pairs(prompt_of_row, n_pairs, rng))


def both_readings(responses, cells):
    """Shares at or above 0.7, 0.8 and 0.9 of prompt means (as the figure bins) and of pairs (as the text says).

    Parameters
    ----------
    responses : Responses
    cells : pandas.DataFrame
        See `originals`.

    Returns
    -------
    pandas.DataFrame
        One row per decoding; all models pooled.
    """
    levels = (0.7, 0.8, 0.9)
    machines = cells[~cells["model"].isin(responses.people)]
    decodings_of = machines.groupby("prompt_id")["decoding"].unique()
    decodings = (list(decodings_of.get(prompt_id, ())) for prompt_id in responses.prompt_order)
    counts = dict.fromkeys(machines["decoding"].unique(), 0)
    for found in responses.map(of_prompt.counts_within, decodings):
        for decoding, histogram in found.items():
            counts[decoding] = counts[decoding] + histogram
    rows = {}
    for decoding, at in machines.groupby("decoding"):
        means = {f"prompt means ≥ {level}": float((at["mean_cosine"] >= level).mean()) for level in levels}
        above = {f"pairs ≥ {level}": float(similarity.share_at_least(counts[decoding], level)) for level in levels}
        rows[decoding] = means | above
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("decoding")


def rarefaction(responses, ideas):
    """Mean expected number of different responses in a random subset of a cell, for models and people.

    Parameters
    ----------
    responses : Responses
        Those to original prompts count.
    ideas : pandas.DataFrame
        Table ``04_ideas``; where every response has an idea, it says what counts as different, else the normalised text
        does.

    Returns
    -------
    pandas.DataFrame
        Columns group, unit ("idea" or "response"), n, found, estimated (Chao1), coverage (share of what an arm
        would say that has been seen, Chao and Jost), both means over cells of full size, n_cells.
    """
    idea_of = ideas.set_index("response_id")["idea"] if len(ideas) else None
    found = list(responses.map(of_prompt.distinct_counts, vectors=False, idea_of=idea_of))
    unit = "idea" if len(ideas) and all(whole for whole, _ in found) else "response"
    cells_of = {}
    for _, cells in found:
        for name, counts in cells:
            if len(counts[unit]):
                cells_of.setdefault(name, []).append(counts[unit])
    rows = []
    for name, cells in sorted(cells_of.items()):
        size = int(np.median([c.sum() for c in cells]))
        full = [c for c in cells if c.sum() >= size]
        sizes = np.arange(1, size + 1)
        found = np.mean([diversity.rarefaction(c, sizes) for c in full], axis=0)
        estimated = float(np.mean([coverage.chao1_interval(c).estimate for c in full]))
        seen = float(np.mean([coverage.coverage(c) for c in full]))
        rows += [(name, unit, n, value, estimated, seen, len(full)) for n, value in zip(sizes, found, strict=True)]
    return pd.DataFrame(rows, columns=["group", "unit", "n", "found", "estimated", "coverage", "n_cells"])


def paraphrases(responses):
    """Similarity within a prompt, across to its paraphrases, and between paraphrases, per original and arm.

    Parameters
    ----------
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Table ``05_paraphrases``; empty where no prompt has paraphrases.
    """
    order = responses.prompt_order
    parents = pd.Series(order).map(responses.prompts["parent_id"])
    translated = pd.Series(order).map(responses.prompts["prompt_kind"]) == "translation"
    parents = parents.mask(translated)  # a family of its own
    originals = pd.Series(order).where(parents.isna(), parents)
    families = [at.index.tolist() for _, at in originals.groupby(originals) if len(at) > 1]
    families = [at for at in families if originals[at[0]] in {order[k] for k in at}]
    found = responses.map(of_prompt.paraphrases, (originals[at[0]] for at in families), groups=families)
    columns = [*CELL, "n_paraphrases", "within", "across", "between", "within_paraphrase"]
    rows = [row for rows in found for row in rows]
    return pd.DataFrame(rows, columns=columns).astype({"n_paraphrases": int} | dict.fromkeys(columns[5:], float))


def paraphrase_means(table):
    """Means over prompts of ``05_paraphrases``, arms averaged first, and the drop from within to across.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``05_paraphrases``.

    Returns
    -------
    pandas.DataFrame
        Indexed by within, across, between and drop (within less across, paired by prompt); mean, lower, upper,
        n_prompts. NaN where there are no paraphrases.
    """
    by_prompt = table.groupby("prompt_id")[["within", "across", "between"]].mean()
    found = {name: intervals.mean_interval(by_prompt[name]).within(-1, 1) for name in by_prompt}
    found["drop"] = intervals.difference_interval(by_prompt["within"], by_prompt["across"]).within(-2, 2)
    rows = [(f.estimate, f.lower, f.upper, f.n_prompts) for f in found.values()]
    return pd.DataFrame(rows, index=list(found), columns=["mean", "lower", "upper", "n_prompts"])


def by_prompt(table, responses):
    """Mean repetition of every prompt over models, with an interval over models; originals alone, people left out.

    A model's conditions and decodings are averaged first: they are not independent of each other.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``05_repetition``.
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Columns prompt_id, text, prompt_kind, category, open_endedness, many_answers, mean_cosine, lower, upper,
        n_models; highest first.
    """
    derived = table["prompt_id"].map(responses.prompts["prompt_kind"]).isin(["paraphrase", "translation"])
    asked_once = table[~table["model"].isin(responses.people) & ~derived]
    wide = asked_once.groupby(["model", "prompt_id"])["mean_cosine"].mean().unstack()
    found = intervals.mean_interval(wide.to_numpy()).within(-1, 1)
    means = {"mean_cosine": found.estimate, "lower": found.lower, "upper": found.upper, "n_models": found.n_prompts}
    prompts = pd.DataFrame({"prompt_id": wide.columns} | means)
    facts = responses.prompts.reindex(columns=["text", "prompt_kind", "category", *PROMPT_NUMBERS]).reset_index()
    prompts = prompts.merge(facts, on="prompt_id", validate="one_to_one")
    return prompts.sort_values("mean_cosine", ascending=False, ignore_index=True)


def by_category(prompts):
    """Mean repetition of the original prompts of every category, and their number, from `by_prompt`."""
    return prompts[prompts["prompt_kind"] == "original"].groupby("category")["mean_cosine"].agg(["mean", "size"])


def openness_correlation(prompts):
    """Spearman correlation over prompts of repetition with open-endedness, and its interval, from `by_prompt`.

    Returns
    -------
    intervals.Interval
        NaN for fewer than three prompts of known open-endedness.
    """
    known = prompts.dropna(subset=["open_endedness"])
    if np.isnan(resample.rank_agreement(known["mean_cosine"], known["open_endedness"])):
        return intervals.Interval(np.nan, np.nan, np.nan, np.nan, len(known))
    return intervals.spearman_interval(known["mean_cosine"], known["open_endedness"], known["prompt_id"])


def with_facts(arms, decoding, responses):
    """Mean repetition of the models' arms under one decoding, with what the registry knows of the models.

    Parameters
    ----------
    arms : pandas.DataFrame
        Table ``05_arms``.
    decoding : str
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Rows of `arms` and family, size_b, tuning, release_date (a day, NaT where unknown).
    """
    chosen = (arms["measure"] == "mean_cosine") & (arms["decoding"] == decoding)
    known = responses.models[["family", "size_b", "tuning", "release_date"]]
    facts = arms[chosen & ~arms["model"].isin(responses.people)].join(known, on="model").reset_index(drop=True)
    days = pd.to_datetime(facts["release_date"], format="ISO8601", errors="coerce")  # a registry may say "2024-05"
    return facts.assign(release_date=days)


def fact_correlations(facts):
    """Spearman correlation over models of repetition with size and with release date, as far as both vary.

    Parameters
    ----------
    facts : pandas.DataFrame
        From `with_facts`; a model's conditions are averaged.

    Returns
    -------
    dict of str to float
    """
    known = {}
    for name, column in (("size", "size_b"), ("release date", "release_date")):
        ranks = facts.dropna(subset=[column]).assign(rank=lambda f, c=column: f[c].rank())
        one = ranks.groupby("model")[["rank", "mean"]].mean()
        known[name] = resample.rank_agreement(one["rank"], one["mean"])
    return {name: rho for name, rho in known.items() if not np.isnan(rho)}


def _distribution(kind, decoding, counts, threshold):
    """One row of ``05_references`` from histograms per prompt, shape (n_prompts, 2000)."""
    centres = -1 + (np.arange(similarity.N_BINS) + 0.5) * 2 / similarity.N_BINS
    totals = counts.sum(1)
    means = np.divide(counts @ centres, totals, out=np.full(len(counts), np.nan), where=totals > 0)
    found = intervals.mean_interval(means).within(-1, 1)
    pooled = counts.sum(0)
    quantiles = {name: similarity.histogram_quantile(pooled, q) for name, q in _QUANTILES.items()}
    return {
        "pair_type": kind,
        "decoding": decoding,
        "n_pairs": int(pooled.sum()),
        "mean": float(found.estimate),
        "lower": float(found.lower),
        "upper": float(found.upper),
        **quantiles,
        "share_above": float(similarity.share_at_least(pooled, threshold)),
    }

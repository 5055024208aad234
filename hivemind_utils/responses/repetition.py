"""Tables of notebook 05, repetition within a model: frames and embeddings in, tidy frames out."""

from itertools import pairwise

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, resample, similarity
from hivemind_utils.responses.table import CELL

ARM = CELL[1:]


MEASURES = (
    "mean_cosine", "mean_cosine_equal_n", "mean_cosine_centred", "mean_cosine_truncated", "mean_tfidf", "share_above",
    "vendi_1", "vendi_2", "vendi_inf", "vendi_1_equal_n", "effective_distinct", "effective_distinct_equal_n",
    "distinct_1", "distinct_2", "distinct_3", "self_overlap", "compression_ratio", "duplicate_share", "opener_share",
    "mean_chars",
)  # fmt: skip


_EDGES = np.linspace(0, 1, 11)


def share_of_pairs(embeddings, threshold):
    """Share of a cell's unordered pairs with cosine at or above `threshold` (rounded to 0.001)."""
    counts = similarity.pair_histograms([(embeddings, np.zeros(len(embeddings), int))], n_threads=1)
    return float(similarity.share_at_least(counts[0, 0], threshold))


def at_equal_size(words, embeddings, size, n_draws, rng):
    """Measures of random subsets of `size` answers, averaged over draws without replacement.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every answer.
    embeddings : ndarray of float, shape (n_answers, n_dims)
    size, n_draws : int
        One draw of everything where the cell has exactly `size` answers.
    rng : numpy.random.Generator

    Returns
    -------
    dict of float
        mean_cosine_equal_n, vendi_1_equal_n, effective_distinct_equal_n; NaN where the cell has fewer answers.
    """
    n = len(embeddings)
    if size < 2:
        raise ValueError(f"`size` must be at least 2 answers, but {size} was passed.")
    if n < size:
        return dict.fromkeys(_EQUAL_N, float("nan"))
    n_draws = 1 if n == size else n_draws
    picks = rng.permuted(np.tile(np.arange(n), (n_draws, 1)), axis=1)[:, :size]
    unit = similarity.unit_rows(embeddings)
    gram = np.einsum("kid,kjd->kij", unit[picks], unit[picks], optimize=True).astype(float)
    means = (gram.sum((1, 2)) - np.trace(gram, axis1=1, axis2=2)) / (size * (size - 1))
    spectrum = np.clip(np.linalg.eigvalsh(gram / size), 1e-15, None)
    vendi = np.exp(-(spectrum * np.log(spectrum)).sum(1))
    texts = pd.factorize(pd.Series(map(tuple, words)))[0][picks]
    shares = (texts[:, :, None] == texts[:, None, :]).mean(2)
    distinct = np.exp(-np.log(shares).mean(1))  # exp entropy: -mean over answers of the log share of their text
    values = (means.mean(), max(vendi.mean(), 1.0), distinct.mean())
    return dict(zip(_EQUAL_N, map(float, np.clip(values, [-1, 1, 1], [1, size, size])), strict=True))


_EQUAL_N = ("mean_cosine_equal_n", "vendi_1_equal_n", "effective_distinct_equal_n")


def bin_shares(repetition, decoding, people):
    """Percent of prompts whose mean repetition falls in each bin of width 0.1, per model; the paper's Figure 4.

    Parameters
    ----------
    repetition : pandas.DataFrame
        Cells with the columns arm, model, decoding, mean_cosine.
    decoding : str
        Which decoding; people are added whatever theirs is called.
    people : set of str
        Names of groups of people: beside the models, not in the average.

    Returns
    -------
    pandas.DataFrame
        Columns arm, model, bin, low, percent, n_prompts; arm "Average" weighs models equally. The last bin is closed; a
        bin for negative means stands first where there are any.
    """
    is_person = repetition["model"].isin(people)
    chosen = repetition[(repetition["decoding"] == decoding) | is_person]
    edges = np.concatenate([[-1.0], _EDGES]) if (chosen["mean_cosine"] < 0).any() else _EDGES
    names = [f"{low:.1f}–{high:.1f}" if low >= 0 else "< 0" for low, high in pairwise(edges)]
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
    return pd.concat([shares, average], ignore_index=True)[list(shares.columns)]


def percent_at_least(repetition, decoding, people, threshold):
    """Percent of prompts whose mean repetition is at least `threshold`, models weighing equally, people left out.

    At a multiple of 0.1 this is the sum of the upper bins of "Average" in `bin_shares`, the paper's 79 %.
    """
    chosen = repetition[(repetition["decoding"] == decoding) & ~repetition["model"].isin(people)]
    alike = chosen["mean_cosine"].ge(threshold)
    by_arm = alike.groupby([chosen["model"], chosen["condition"]]).mean()
    return float(100 * by_arm.groupby("model").mean().mean())


def arm_means(repetition, prompt_order, weights):
    """Mean over prompts of every measure of every arm, with its interval.

    Parameters
    ----------
    repetition : pandas.DataFrame
        Table ``05_repetition``.
    prompt_order : sequence of str
        Prompts in the order of the weights' columns.
    weights : ndarray of float, shape (n_boot, n_prompts)
        From `resample.bootstrap_weights`; one array for all arms keeps them paired.

    Returns
    -------
    pandas.DataFrame
        Table ``05_arms``.
    """
    tables = []
    for measure in MEASURES:
        wide = repetition.pivot(index="prompt_id", columns=ARM, values=measure)
        wide = wide.reindex(prompt_order).sort_index(axis=1)
        mean, lower, upper = resample.mean_interval(wide.to_numpy(), weights)
        table = wide.columns.to_frame(index=False).assign(
            measure=measure, n_prompts=wide.notna().sum().to_numpy(), mean=mean, lower=lower, upper=upper
        )
        tables.append(table[table["n_prompts"] > 0])
    return pd.concat(tables, ignore_index=True)


def references(answers, embeddings, prompts, people, threshold, n_random_pairs, n_boot, rng, progress=None):
    """Distribution of pair similarity for kinds of pairs, from the least to the most demanding comparison.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers, sorted; row i belongs to ``embeddings[i]``.
    embeddings : ndarray of float32, shape (n_answers, n_dims)
    prompts : pandas.DataFrame
        Table ``04_prompts``, indexed by prompt_id. The floor of random pairs takes all of them.
    people : set of str
    threshold : float
        For the share of pairs.
    n_random_pairs, n_boot : int
    rng : numpy.random.Generator
    progress : callable, optional
        Wraps the loop over prompts.

    Returns
    -------
    pandas.DataFrame
        Table ``05_references``.
    """
    kinds = answers["prompt_id"].map(prompts["kind"])
    is_person = answers["model"].isin(people)
    arms = pd.factorize(answers["model"] + "\0" + answers["condition"], sort=True)[0]
    models = pd.factorize(answers["model"], sort=True)[0]
    groups = []
    for decoding, at in answers[~is_person & (kinds == "original")].groupby("decoding"):
        groups.append((("same model", "different models"), decoding, at.index))
    for decoding, at in answers[~is_person & (kinds == "closed")].groupby("decoding"):
        groups.append((("same model, closed-ended prompt", None), decoding, at.index))
    groups.append((("people", None), "all", answers.index[is_person & (kinds == "original")]))
    rows = []
    for names, decoding, index in groups:
        if len(index) == 0:
            continue
        by_prompt = [at.index.to_numpy() for _, at in answers.loc[index].groupby("prompt_id")]
        # One model under two conditions is neither: pairs within come from arms, pairs between from models.
        sides = (arms, models) if (arms != models).any() and names[1] else (arms,)
        for side, name in enumerate(names):
            if name is None:
                continue
            if side < len(sides):
                codes = sides[side] * 0 if name == "people" else sides[side]
                wrap = (lambda it, total, label=name: progress(it, total=total, desc=label)) if progress else None
                counts = similarity.pair_histograms([(embeddings[i], codes[i]) for i in by_prompt], progress=wrap)
            if counts[:, side].sum() > 0:
                rows.append(_distribution(name, decoding, counts[:, side], threshold, n_boot, rng))
    parents = answers["prompt_id"].map(prompts["parent_id"])  # a prompt and its paraphrase are not different prompts
    prompt_codes = pd.factorize(answers["prompt_id"].where(parents.isna(), parents), sort=True)[0]
    cosines = similarity.random_pair_cosines(embeddings, prompt_codes, n_random_pairs, rng)
    if len(cosines):
        floor = np.histogram(np.clip(cosines, -1, 1), np.linspace(-1, 1, similarity.N_BINS + 1))[0]
        row = _distribution("different prompts", "all", floor[None], threshold, n_boot, rng)
        rows.append(row | {"mean": float(cosines.mean(dtype=float))})
    return pd.DataFrame(rows)


def both_readings(answers, embeddings, repetition, decoding, people):
    """Shares at or above 0.7, 0.8 and 0.9 of prompt means (as the figure bins) and of pairs (as the text says)."""
    chosen = answers[(answers["decoding"] == decoding) & ~answers["model"].isin(people)]
    chosen = chosen[chosen["prompt_id"].isin(repetition["prompt_id"])]
    cells = [at.index.to_numpy() for _, at in chosen.groupby(CELL)]
    counts = similarity.pair_histograms([(embeddings[i], np.zeros(len(i), int)) for i in cells])[:, 0]
    means = repetition.loc[(repetition["decoding"] == decoding) & ~repetition["model"].isin(people), "mean_cosine"]
    shares = {}
    for at in (0.7, 0.8, 0.9):
        shares[f"prompt means ≥ {at}"] = float((means >= at).mean())
        shares[f"pairs ≥ {at}"] = float(similarity.share_at_least(counts.sum(0), at))
    return shares


def rarefaction_curves(answers, words, ideas, prompts, people):
    """Mean expected number of different answers in a random subset of a cell, for models and people.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers.
    words : list of list of str
        Normalised words of every answer.
    ideas : pandas.DataFrame
        Table ``04_ideas``; where every answer has one, it says what counts as different, else the normalised text does.
    prompts : pandas.DataFrame
        Indexed by prompt_id; original prompts count.
    people : set of str

    Returns
    -------
    pandas.DataFrame
        Columns group, unit, n, found, estimated (Chao1, mean over cells of full size), n_cells.
    """
    labelled = answers["response_id"].map(ideas.set_index("response_id")["idea"])
    kept = answers["prompt_id"].map(prompts["kind"]) == "original"
    unit = "idea" if len(ideas) and labelled[kept].notna().all() else "text"
    label = labelled if unit == "idea" else pd.Series([" ".join(w) for w in words], index=answers.index)
    kept &= label != ""
    group = np.where(answers["model"].isin(people), "people", "models, " + answers["decoding"])
    rows = []
    for name, members in answers[kept].groupby(group[kept.to_numpy()]):
        cells = [label[at.index].value_counts().to_numpy() for _, at in members.groupby(CELL)]
        size = int(np.median([c.sum() for c in cells]))
        full = [c for c in cells if c.sum() >= size]
        sizes = np.arange(1, size + 1)
        found = np.mean([diversity.rarefaction(c, sizes) for c in full], axis=0)
        estimated = float(np.mean([diversity.chao1(c).estimate for c in full]))
        rows += [(name, unit, n, value, estimated, len(full)) for n, value in zip(sizes, found, strict=True)]
    return pd.DataFrame(rows, columns=["group", "unit", "n", "found", "estimated", "n_cells"])


def paraphrase_table(answers, embeddings, prompts):
    """Similarity within a prompt, across to its paraphrases, and between paraphrases, per original and arm.

    Returns
    -------
    pandas.DataFrame
        Table ``05_paraphrases``; empty where no prompt has paraphrases.
    """
    parents = answers["prompt_id"].map(prompts["parent_id"])
    original = answers["prompt_id"].where(parents.isna(), parents)
    columns = [*CELL, "n_paraphrases", "within", "across", "between", "within_paraphrase"]
    rows = []
    for key, at in answers.groupby([original, *ARM]):
        sides = {p: embeddings[i.index.to_numpy()] for p, i in at.groupby("prompt_id")}
        first = sides.pop(key[0], None)
        if not sides or first is None or len(first) < 2:
            continue
        others = [sides[name] for name in sorted(sides)]
        within = [similarity.mean_pairwise_cosine(o) for o in others if len(o) > 1]
        between = [similarity.mean_cross_cosine(a, b) for k, a in enumerate(others) for b in others[:k]]
        across = np.mean([similarity.mean_cross_cosine(first, o) for o in others])
        rows.append((*key, len(others), similarity.mean_pairwise_cosine(first), across, _mean(between), _mean(within)))
    return pd.DataFrame(rows, columns=columns).astype({"n_paraphrases": int} | dict.fromkeys(columns[5:], float))


def by_prompt(repetition, prompts, n_boot=500):
    """Mean repetition of every prompt over models, with an interval over models.

    A model's conditions and decodings are averaged first: they are not independent of each other.

    Returns
    -------
    pandas.DataFrame
        Columns prompt_id, text, kind, category, open_endedness, mean_cosine, lower, upper, n_models.
    """
    rng = np.random.default_rng(0)  # the interval's resamples are the same for every prompt and call
    wide = repetition.groupby(["model", "prompt_id"])["mean_cosine"].mean().unstack()
    weights = resample.bootstrap_weights(len(wide), n_boot, rng)
    mean, lower, upper = resample.mean_interval(wide.to_numpy(), weights)
    table = pd.DataFrame({"prompt_id": wide.columns, "mean_cosine": mean, "lower": lower, "upper": upper})
    table["n_models"] = wide.notna().sum().to_numpy()
    facts = prompts[["text", "kind", "category", "open_endedness"]].reset_index()
    table = table.merge(facts, on="prompt_id", validate="one_to_one")
    return table.sort_values("mean_cosine", ascending=False, ignore_index=True)


def with_facts(arms, models):
    """Arms joined with what the registry knows of their models."""
    facts = models[["model", "family", "size_b", "tuning", "release_date"]]
    return arms.merge(facts, on="model", validate="many_to_one")


def _distribution(kind, decoding, counts, threshold, n_boot, rng):
    """One row of ``05_references`` from histograms per prompt, shape (n_prompts, 2000)."""
    centres = -1 + (np.arange(similarity.N_BINS) + 0.5) * 2 / similarity.N_BINS
    totals = counts.sum(1)
    means = np.divide(counts @ centres, totals, out=np.full(len(counts), np.nan), where=totals > 0)
    weights = resample.bootstrap_weights(len(means), n_boot, rng)
    mean, lower, upper = resample.mean_interval(means, weights)
    pooled = counts.sum(0)
    quantiles = {name: similarity.histogram_quantile(pooled, q) for name, q in _QUANTILES.items()}
    return {
        "kind": kind,
        "decoding": decoding,
        "n_pairs": int(pooled.sum()),
        "mean": float(mean),
        "lower": float(lower),
        "upper": float(upper),
        **quantiles,
        "share_above": float(similarity.share_at_least(pooled, threshold)),
    }


_QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}


def _mean(values):
    return float(np.mean(values)) if values else float("nan")

"""Tables of notebook 07: the map, the modes of every prompt, and whether they hold. Frames in, frames out."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import clustering, diversity, mode_evidence, resample
from hivemind_utils.metrics import words as words_metrics

COLUMNS = ("map", "modes", "prompt")


def answered(answers, prompts, min_answers):
    """Answers to original prompts that have enough of them to look for modes.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers.
    prompts : pandas.DataFrame
        Table ``04_prompts``, indexed by prompt_id.
    min_answers : int

    Returns
    -------
    kept : pandas.DataFrame
        Sorted by prompt and response_id, renumbered.
    left_out : pandas.Series
        Number of answers of every original prompt that has too few.

    Raises
    ------
    ValueError
        If no prompt is left.
    """
    original = answers[answers["prompt_id"].map(prompts["kind"]) == "original"]
    counts = original.groupby("prompt_id").size()
    few = counts[counts < min_answers]
    kept = original[~original["prompt_id"].isin(few.index)]
    if kept.empty:
        raise ValueError(
            f"Modes need at least {min_answers} usable answers to one original prompt, but the largest of "
            f"{len(counts)} original prompts has {counts.max() if len(counts) else 0}."
        )
    return kept.sort_values(["prompt_id", "response_id"], ignore_index=True), few


def analyse(answers, vectors, families, prompt_text, rng, *, n_phrases=3, map_epochs=200, settings=None, reruns=None):
    """Map the answers to one prompt, name its modes, and say which of them hold.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers to one prompt, with response_id, prompt_id, model, text; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims)
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
        Of `clustering.find_modes` and `clustering.evidence`.

    Returns
    -------
    dict
        ``map``, ``modes``: rows of ``07_map`` and ``07_modes``; ``prompt``: a row of ``07_prompts`` as a dict.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # matrices of one prompt are small: threads would wait for each other
        return _analyse(
            answers, vectors, families, prompt_text, rng, n_phrases, map_epochs, settings or {}, reruns or {}
        )


def _analyse(answers, vectors, families, prompt_text, rng, n_phrases, map_epochs, settings, reruns):
    by_graph, by_modes, by_map, by_words, by_lexical, by_evidence = rng.spawn(6)
    vectors = np.asarray(vectors)
    first, inverse, counts = clustering.distinct_rows(vectors)
    n_neighbors = min(settings.get("n_neighbors", 15), max(1, len(first) - 1))
    neighbours = clustering.nearest_neighbours(vectors[first], n_neighbors, by_graph)
    words = words_metrics.word_lists(answers["text"])
    lexical = clustering.lexical_coordinates(words, by_words)
    labels = clustering.find_modes(vectors, by_modes, neighbours=neighbours, **settings)
    place = clustering.umap_coordinates(
        vectors[first], by_map, n_epochs=map_epochs, min_dist=0.1, neighbours=neighbours
    )
    components, explained = clustering.principal_components(vectors)
    proof = mode_evidence.evidence(
        vectors, labels, by_evidence, lexical=lexical, neighbours=neighbours, **reruns, **settings
    )
    at = answers[["response_id", "prompt_id"]].assign(
        x=place[inverse, 0], y=place[inverse, 1], pc_1=components[:, 0], pc_2=components[:, 1], mode=labels,
        lexical_mode=lexical_modes(lexical, by_lexical, settings),
    )  # fmt: skip
    ledger = _ledger(answers, vectors, families, labels, words, n_phrases, set(words_metrics.words(prompt_text)))
    for name in ("separation", "found_again_seeds", "found_again_subsamples", "word_p", "supported"):
        ledger[name] = getattr(proof, name)
    return {"map": at, "modes": ledger, "prompt": _summary(at, ledger, explained, proof, counts)}


def lexical_modes(lexical, rng, settings):
    """Modes that words alone make; an answer without a word is noise.

    Parameters
    ----------
    lexical : ndarray of float, shape (n_answers, n_dims)
        From `clustering.lexical_coordinates`.
    rng : numpy.random.Generator
    settings : dict
        Of `clustering.find_modes`.

    Returns
    -------
    ndarray of int, shape (n_answers,)
    """
    labels = np.full(len(lexical), clustering.NOISE)
    worded = np.flatnonzero(np.einsum("ij,ij->i", lexical, lexical) > 1e-12)
    if len(worded):
        labels[worded] = clustering.find_modes(lexical[worded], rng, **settings)
    return labels


def _ledger(answers, vectors, families, labels, words, n_phrases, exclude):
    """What every mode is made of, who gives it, and the answer in its middle."""
    phrases = words_metrics.keyphrases(words, labels, n_phrases, exclude)
    exemplars = clustering.medoids(vectors, labels)
    family = answers["model"].map(families)
    expected = family.value_counts(normalize=True)
    rows = []
    for mode, (named, exemplar) in enumerate(zip(phrases, exemplars, strict=True)):
        inside = labels == mode
        shares = family[inside].value_counts(normalize=True)
        owner = shares.index[np.lexsort((shares.index.to_numpy(str), -shares.to_numpy()))[0]]
        rows.append({
            "prompt_id": answers["prompt_id"].iat[0], "mode": mode, "size": int(inside.sum()), "share": inside.mean(),
            "n_texts": answers.loc[inside, "text"].nunique(), "n_models": answers.loc[inside, "model"].nunique(),
            "n_families": len(shares), "owner": owner, "owner_share": shares[owner], "owner_expected": expected[owner],
            "keyphrases": " · ".join(named) or f"mode {mode + 1}", "exemplar": answers["response_id"].iat[exemplar],
            "exemplar_text": answers["text"].iat[exemplar],
        })  # fmt: skip
    names = ["prompt_id", "mode", "size", "share", "n_texts", "n_models", "n_families", "owner", "owner_share",
             "owner_expected", "keyphrases", "exemplar", "exemplar_text"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _summary(at, ledger, explained, proof, counts):
    sizes = ledger["size"].to_numpy()
    often = counts[counts >= clustering.smallest_mode(len(at))]
    row = {
        "prompt_id": at["prompt_id"].iat[0],
        "n_answers": len(at),
        "n_distinct": len(counts),
        "n_repeated_texts": len(often),
        "repeated_share": often.sum() / len(at),
        "n_modes": len(ledger),
        "n_supported": int(ledger["supported"].sum()),
        "dominant_share": ledger["share"].max() if len(ledger) else np.nan,
        "effective_modes": diversity.effective_number(sizes) if len(sizes) else np.nan,
        "noise_share": float((at["mode"] == clustering.NOISE).mean()),
        "explained_1": explained[0],
        "explained_2": explained[1],
        "separation": proof.overall_separation,
        "null_bound": proof.null_bound,
        "null_modes_mean": proof.null_modes.mean(),
        "null_modes_min": int(proof.null_modes.min()),
        "null_modes_max": int(proof.null_modes.max()),
        "null_noise_share": proof.null_noise.mean(),
        "n_lexical_modes": int(at["lexical_mode"].max()) + 1,
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
        again = f" {row['n_repeated_texts']:.0f} single texts make up {row['repeated_share']:.0%} of the answers."
    null = f"{row['null_modes_min']:.0f} to {row['null_modes_max']:.0f}"
    if row["null_modes_min"] == row["null_modes_max"]:
        null = f"{row['null_modes_max']:.0f}"
    found = f"the pipeline finds {row['n_modes']:.0f} in the answers and {null} in structureless data"
    if row["n_distinct"] == 1:
        return f"All {row['n_answers']} answers are one text."
    if row["n_modes"] == 0:
        answers = f"No modes: the {row['n_answers']} answers ({row['n_distinct']} distinct)"
        return f"{answers} do not fall into groups: one idea throughout, or none that recurs.{again}"
    if row["n_supported"] == 0:
        return f"The evidence supports no separate modes: {found}.{again}"
    plural = "mode" if row["n_supported"] == 1 else "modes"
    return f"The evidence supports {row['n_supported']:.0f} {plural}: {found}.{again}"


def dominance(answers, labels, people, size, n_draws, weights, prompt_order, rng):
    """Share of the commonest idea among equally many answers of every arm, averaged over prompts.

    Parameters
    ----------
    answers : pandas.DataFrame
        With prompt_id and arm.
    labels : pandas.Series
        Idea of every answer, NaN where it has none: an idea of its own.
    people : set of str
        Arms that are people.
    size : int
        Answers drawn of every cell; cells with fewer stay out.
    n_draws : int
    weights : ndarray of float, shape (n_boot, n_prompts)
    prompt_order : sequence of str
        Prompts in the order of the weights.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Columns arm, kind (model or people), n, n_prompts, dominant_share, lower, upper.
    """
    codes = labels.astype(object).where(
        labels.notna(), pd.Series([("alone", i) for i in range(len(labels))], labels.index)
    )
    codes = pd.Series(pd.factorize(codes)[0], index=labels.index)
    groups = answers.assign(code=codes).sort_values("response_id").groupby(["arm", "prompt_id"])
    cells = {key: at["code"].to_numpy() for key, at in groups if len(at) >= size}
    shares = {}
    for key, generator in zip(cells, rng.spawn(len(cells)), strict=True):
        picks = generator.permuted(np.tile(cells[key], (n_draws if len(cells[key]) > size else 1, 1)), axis=1)[:, :size]
        shares[key] = (picks[:, :, None] == picks[:, None, :]).sum(2).max(1).mean() / size
    rows = []
    for arm in sorted({arm for arm, _ in shares}):
        values = np.array([shares.get((arm, prompt), np.nan) for prompt in prompt_order])
        mean, lower, upper = resample.mean_interval(values, weights)
        kind = "people" if arm in people else "model"
        rows.append((arm, kind, size, int((~np.isnan(values)).sum()), float(mean), float(lower), float(upper)))
    return pd.DataFrame(rows, columns=["arm", "kind", "n", "n_prompts", "dominant_share", "lower", "upper"])


def headline(row, ledger):
    """Title of a prompt's map: what holds, and how much the largest mode takes.

    Parameters
    ----------
    row : mapping
        A row of ``07_prompts``.
    ledger : pandas.DataFrame
        The prompt's rows of ``07_modes``.
    """
    if ledger.empty:
        return f"{row['n_answers']} answers, no modes"
    largest = ledger.iloc[0]
    return (
        f"{row['n_supported']:.0f} of {row['n_modes']:.0f} modes hold; the largest, “{largest['keyphrases']}”, "
        f"takes {largest['share']:.0%} of {row['n_answers']} answers"
    )


def dominance_headline(table, size):
    """Title of the dominance figure: models beside people, by the best idea labels there are."""
    at = table[table["ideas"] == table["ideas"].iat[-1]]
    means = at.groupby("kind")["dominant_share"].mean()
    if "model" not in means:
        return f"Of {size} answers of people {means['people']:.0%} rest on the commonest idea"
    beside = f"; of people's {means['people']:.0%}" if "people" in means else ""
    return f"Of {size} answers of a model {means['model']:.0%} rest on its commonest idea{beside} (mean)"

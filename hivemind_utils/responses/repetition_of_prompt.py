"""What `repetition` computes of the responses to one prompt: each function runs wherever the study's work is done."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, lexical, similarity
from hivemind_utils.responses import soundness
from hivemind_utils.responses.table import CELL

ARM = CELL[1:]
_EQUAL_N = ("mean_cosine_equal_n", "vendi_1_equal_n", "effective_distinct_equal_n")


def sum_and_terms(responses):
    """Of one prompt: the sum of unit vectors, the terms of the texts, and how many texts have each."""
    terms, counts = lexical.term_counts(responses.words)
    return similarity.unit_rows(responses.vectors).sum(0, dtype=np.float64), terms, lexical.texts_with(counts)


def cell_means(responses, truncated, n_with_term, *, centre, n_texts):
    """Rows of `cell_means` of one prompt."""
    groups = responses.table.groupby(CELL, sort=True)
    codes, n_cells = groups.ngroup().to_numpy(), groups.ngroups
    cells = groups.agg(n=("response_id", "size"), mean_chars=("text", lambda texts: texts.str.len().mean()))
    truncated = truncated(responses) if callable(truncated) else truncated
    cells["mean_cosine"] = similarity.repetition(*similarity.cell_sums(responses.vectors, codes, n_cells))
    sound = ~soundness.flags(responses.table).any(axis=1).to_numpy()
    cells["n_sound"] = np.bincount(codes[sound], minlength=n_cells)
    found = similarity.repetition(*similarity.cell_sums(responses.vectors[sound], codes[sound], n_cells))
    cells["mean_cosine_sound"] = cells["mean_cosine"] if sound.all() else found
    cells["mean_cosine_centred"] = similarity.centred_repetition(responses.vectors, codes, n_cells, centre)
    cells["mean_cosine_truncated"] = similarity.repetition(*similarity.cell_sums(truncated, codes, n_cells))
    words = lexical.weighted(lexical.term_counts(responses.words)[1], n_with_term, n_texts)
    cells["mean_tfidf"] = diversity.mean_pairwise_cosine_sparse(words, codes, n_cells)
    return cells


def measures(responses, generators, *, threshold, equal_n, n_draws):
    """Measures of the cells of one prompt that have two or more responses, in order."""
    rows_of = [rows for _, rows in sorted(responses.table.groupby(CELL, sort=True).indices.items()) if len(rows) > 1]
    measures = []
    for rows, generator in zip(rows_of, generators, strict=True):
        words, vectors = [responses.words[i] for i in rows], responses.vectors[rows]
        measures.append(
            diversity.summarise(words, vectors)
            | {"share_above": share_of_pairs(vectors, threshold)}
            | at_equal_size(words, vectors, equal_n, n_draws, generator)
        )
    return measures


def share_of_pairs(embeddings, threshold):
    """Share of a cell's unordered pairs with cosine at or above `threshold` (rounded to 0.001)."""
    counts = similarity.pair_histograms([(embeddings, np.zeros(len(embeddings), int))], n_threads=1)
    return float(similarity.share_at_least(counts[0, 0], threshold))


def at_equal_size(words, embeddings, size, n_draws, rng):
    """Measures of random subsets of `size` responses, averaged over draws without replacement.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every response.
    embeddings : ndarray of float, shape (n_responses, n_dims)
    size, n_draws : int
        One draw of everything where the cell has exactly `size` responses.
    rng : numpy.random.Generator

    Returns
    -------
    dict of float
        mean_cosine_equal_n, vendi_1_equal_n, effective_distinct_equal_n; NaN where the cell has fewer responses.
    """
    n = len(embeddings)
    if size < 2:
        raise ValueError(f"`size` must be at least 2 responses, but {size} was passed.")
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
    distinct = np.exp(-np.log(shares).mean(1))  # exp entropy: -mean over responses of the log share of their text
    values = (means.mean(), max(vendi.mean(), 1.0), distinct.mean())
    return dict(zip(_EQUAL_N, map(float, np.clip(values, [-1, 1, 1], [1, size, size])), strict=True))


def pair_counts(responses):
    """Histograms of pairs of one prompt by kind of `_KINDS` and decoding, shape (2, 2000): within, between."""
    table, kind = responses.table, responses.prompts["prompt_kind"][responses.table["prompt_id"].iat[0]]
    arms = pd.factorize(table["model"] + "\0" + table["condition"], sort=True)[0]
    models = pd.factorize(table["model"], sort=True)[0]
    counts = {}

    def count(rows, codes):
        return similarity.pair_histograms([(responses.vectors[rows], codes[rows])], n_threads=1)[0]

    machine = table[~responses.is_human]
    for decoding, at in machine.groupby("decoding") if kind in ("original", "closed") else ():
        rows = at.index.to_numpy()
        counts[kind, decoding] = count(rows, arms)
        # One model under two conditions is neither: pairs within come from arms, pairs between from models.
        if kind == "original" and (arms != models).any():
            counts[kind, decoding][1] = count(rows, models)[1]
    if kind == "original" and responses.is_human.any():
        counts["people", "all"] = count(np.flatnonzero(responses.is_human), arms * 0)
    return counts


def counts_within(responses, decodings):
    """Histogram of the pairs within models' cells of one prompt, by decoding."""
    table = responses.table[~responses.is_human]
    counts = {}
    for decoding in decodings:
        members = [at.index.to_numpy() for _, at in table[table["decoding"] == decoding].groupby(CELL)]
        parts = [(responses.vectors[i], np.zeros(len(i), int)) for i in members]
        counts[decoding] = similarity.pair_histograms(parts, n_threads=1)[:, 0].sum(0)
    return counts


def distinct_counts(responses, *, idea_of):
    """Whether all responses to one prompt have ideas; per cell its group, and how often each idea and text comes."""
    table = responses.table
    if responses.prompts["prompt_kind"][table["prompt_id"].iat[0]] != "original":
        return True, []
    labels = {"response": pd.Series([" ".join(w) for w in responses.words], index=table.index)}
    whole = idea_of is not None
    if whole:
        labels["idea"] = table["response_id"].map(idea_of)
        whole = bool(labels["idea"].notna().all())
    group = np.where(responses.is_human, "people", "models, " + table["decoding"])
    cells = []
    for _, at in table.assign(group=group).groupby(CELL):
        own = {name: label[at.index] for name, label in labels.items()}
        counts = {name: label[label != ""].value_counts().to_numpy(np.int32) for name, label in own.items()}
        cells.append((at["group"].iat[0], counts))
    return whole, cells


def paraphrases(responses, original):
    """Rows of `paraphrases` of one prompt, from the responses to it and to its paraphrases."""
    rows = []
    for key, at in responses.table.groupby(ARM):
        sides = {p: responses.vectors[i.index.to_numpy()] for p, i in at.groupby("prompt_id")}
        first = sides.pop(original, None)
        if not sides or first is None or len(first) < 2:
            continue
        others = [sides[name] for name in sorted(sides)]
        within = [similarity.mean_pairwise_cosine(o) for o in others if len(o) > 1]
        between = [similarity.mean_cross_cosine(a, b) for k, a in enumerate(others) for b in others[:k]]
        across = np.mean([similarity.mean_cross_cosine(first, o) for o in others])
        pairs = similarity.mean_pairwise_cosine(first), across, _mean(between), _mean(within)
        rows.append((original, *key, len(others), *pairs))
    return rows


def _mean(values):
    return float(np.mean(values)) if values else float("nan")

"""Verbatim overlap between the responses to one prompt: duplicates, shared spans, closest pairs, a page to read them.

Every comparison is made on normalised words (`words`); offsets into the original text are kept, so that what is shared
can be marked where it was written.
"""

import functools
import heapq
from collections import defaultdict
from itertools import chain, pairwise

import numpy as np
import pandas as pd
from scipy import sparse

from hivemind_utils.metrics import words
from hivemind_utils.metrics.similarity import unit_rows


def _paired(answers, models):
    """Return the models as a list, one per response."""
    models = list(models)
    if len(answers) != len(models):
        raise ValueError(
            f"`models` must name the model of each of the {len(answers)} responses, "
            f"but {len(models)} names were passed."
        )
    return models


def _by_text(texts, models):
    """Group the indices of the responses by normalised text, both in an order that rows do not change."""
    groups = defaultdict(list)
    for k, ws in enumerate(words.word_lists(texts)):
        groups[" ".join(ws)].append(k)
    groups.pop("", None)
    return {key: sorted(groups[key], key=lambda k: (texts[k], models[k], k)) for key in sorted(groups)}


def exact_duplicates(texts, models):
    """List the texts that more than one model gave word for word.

    Parameters
    ----------
    texts : sequence of str
        The responses to one prompt. Responses without a word are left out; `wordless` counts them.
    models : sequence of str
        The model of each response.

    Returns
    -------
    DataFrame
        One row per normalised text found in at least two models: ``text`` (the smallest original), ``n_responses``,
        ``n_models``, ``models`` (sorted, joined by "; "); by models, then responses, descending, then text.

    Examples
    --------
    >>> exact_duplicates(["Time is a river.", "time is a river", "A sea"], ["m1", "m2", "m2"])["n_models"].tolist()
    [2]
    """
    texts, models = list(texts), _paired(texts, models)
    rows = []
    for members in _by_text(texts, models).values():
        names = sorted({models[k] for k in members})
        if len(names) > 1:
            rows.append((texts[members[0]], len(members), len(names), "; ".join(names)))
    rows.sort(key=lambda row: (-row[2], -row[1], row[0]))
    return pd.DataFrame(rows, columns=["text", "n_responses", "n_models", "models"])


def _common_runs(a_words, b_words):
    """All maximal common runs of words as rows (length, start_a, start_b), a run being maximal in its alignment."""
    codes, owners = words.encode_words([a_words, b_words])
    a, b = codes[owners == 0][:-1], codes[owners == 1][:-1]
    runs, before = [np.empty((0, 3), dtype=int)], np.zeros(len(b) + 1, dtype=int)
    for i in range(len(a) + 1):  # `before[j + 1]`: length of the run that ends at a[i - 1], b[j]
        now = np.zeros(len(b) + 1, dtype=int)
        if i < len(a):
            now[1:] = (before[:-1] + 1) * (b == a[i])
        ended = np.flatnonzero(before)
        ended = ended[(ended == len(b)) | (now[np.minimum(ended + 1, len(b))] == 0)]
        lengths = before[ended]
        runs.append(np.column_stack([lengths, i - lengths, ended - lengths]))
        before = now
    return np.concatenate(runs)


def longest_common_span(a_words, b_words):
    """Return the longest run of words that two responses share.

    Parameters
    ----------
    a_words, b_words : list of str
        From `words`.

    Returns
    -------
    (int, int, int)
        Length in words, start in `a_words`, start in `b_words`; of equally long runs the earliest in a, then in b.
        (0, 0, 0) if no word is shared.

    Examples
    --------
    >>> longest_common_span("time is a river".split(), "so time is a thief".split())
    (3, 0, 1)
    """
    runs = _common_runs(a_words, b_words)
    if not len(runs):
        return 0, 0, 0
    best = np.lexsort((runs[:, 2], runs[:, 1], -runs[:, 0]))[0]
    return tuple(int(value) for value in runs[best])


def shared_spans(a_words, b_words, min_words=4):
    """Match two responses by their longest common runs of words, greedily and without overlap.

    The longest run is taken first, then the longest among the words still free in both, and so on. Swapping the two
    responses swaps the two starts and changes nothing else.

    Parameters
    ----------
    a_words, b_words : list of str
        From `words`.
    min_words : int
        Shortest run taken, >= 1.

    Returns
    -------
    list of (int, int, int)
        Start in `a_words`, start in `b_words`, length in words; by start in the first.

    Examples
    --------
    >>> shared_spans("time is a river".split(), "so time is a thief".split(), min_words=3)
    [(0, 1, 3)]
    """
    if min_words < 1:
        raise ValueError(f"`min_words` must be at least 1, but {min_words} was passed.")
    if b_words < a_words:  # ties are broken in one order of the two responses, whichever comes first
        return sorted((a, b, length) for b, a, length in shared_spans(b_words, a_words, min_words))
    runs = _common_runs(a_words, b_words)
    heap = [(-length, a, b) for length, a, b in runs[runs[:, 0] >= min_words].tolist()]
    heapq.heapify(heap)
    a_free, b_free, taken = np.ones(len(a_words), dtype=bool), np.ones(len(b_words), dtype=bool), []
    while heap:
        negative, a, b = heapq.heappop(heap)
        free = a_free[a : a - negative] & b_free[b : b - negative]
        if free.all():
            a_free[a : a - negative] = b_free[b : b - negative] = False
            taken.append((a, b, -negative))
            continue
        edges = np.flatnonzero(np.diff(free, prepend=False, append=False)).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start >= min_words:
                heapq.heappush(heap, (start - end, a + start, b + start))
    return sorted(taken)


def shared_characters(text_a, text_b, min_words=4):
    """Return the character spans, for `mark`, of the runs of words that two texts share (see `shared_spans`).

    Parameters
    ----------
    text_a, text_b : str
    min_words : int

    Returns
    -------
    spans_a, spans_b : list of (int, int)
        Start and end in the original texts.

    Examples
    --------
    >>> shared_characters("Time is a river.", "So, time is a thief.", min_words=3)
    ([(0, 9)], [(4, 13)])
    """
    a, b = words.word_spans(text_a), words.word_spans(text_b)
    shared = shared_spans([word for word, _, _ in a], [word for word, _, _ in b], min_words)
    spans_a = [(a[start][1], a[start + length - 1][2]) for start, _, length in shared]
    spans_b = [(b[start][1], b[start + length - 1][2]) for _, start, length in shared]
    return spans_a, sorted(spans_b)


def shared_ngram_share(a_words, b_words, n=8):
    """Return the share of the shorter response's distinct word n-grams that the other response has too.

    The shorter response is the one with fewer distinct n-grams, so the share is symmetric.

    Parameters
    ----------
    a_words, b_words : list of str
        From `words`.
    n : int
        Words per n-gram, >= 1.

    Returns
    -------
    float
        In [0, 1]; NaN if a response has fewer than `n` words.

    Examples
    --------
    >>> shared_ngram_share("time is a river".split(), "time is a thief".split(), n=3)
    0.5
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1 word, but {n} was passed.")
    a, b = ({tuple(ws[k : k + n]) for k in range(len(ws) - n + 1)} for ws in (a_words, b_words))
    return len(a & b) / min(len(a), len(b)) if a and b else float("nan")


def _longest_runs(first, last, grams, offsets, postings, owners, run, stamp, best, best_at):  # pragma: no cover
    """Longest run of consecutive shared n-grams between one text, at positions [first, last), and each later text."""
    for p in range(first, last):
        gram = grams[p]
        if gram < 0:
            continue
        for k in range(offsets[gram + 1] - 1, offsets[gram] - 1, -1):  # downwards: run[q - 1] is still that of p - 1
            q = postings[k]
            if q < last:
                break
            run[q] = run[q - 1] + 1 if stamp[q - 1] == p - 1 else 1
            stamp[q] = p
            if run[q] > best[owners[q]]:
                best[owners[q]] = run[q]
                best_at[owners[q]] = p - run[q] + 1


@functools.cache
def _compiled():
    from numba import njit

    return njit(_longest_runs)


def without_quotes(words, asked, own, n=4):
    """Words of a response, those that quote the prompt made words that no other response has.

    Whoever repeats the question shares its words with all who do, which says nothing about their responses.

    Parameters
    ----------
    words, asked : list of str
        Words of the response and of the prompt, normalised.
    own : int
        Number of the response among different ones.
    n : int
        A run of so many words of the prompt is a quote.

    Returns
    -------
    list of str
        As long as `words`.

    Examples
    --------
    >>> without_quotes("a line on time is short".split(), "write a line on time".split(), 3)
    ['quoted3of0', 'quoted3of1', 'quoted3of2', 'quoted3of3', 'is', 'short']
    """
    runs = {tuple(asked[k : k + n]) for k in range(len(asked) - n + 1)}
    quoted = {k + i for k in range(len(words) - n + 1) if tuple(words[k : k + n]) in runs for i in range(n)}
    return [f"quoted{own}of{k}" if k in quoted else word for k, word in enumerate(words)]


def _candidates(codes, owners, n_texts, min_words):
    """Pairs of texts a < b that share a run of `min_words` words: a, b, longest run in words, its first position."""
    *_, grams = words.ngram_codes(codes, min_words)
    counts = np.bincount(grams[grams >= 0], minlength=1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    postings = np.argsort(grams, kind="stable")[np.count_nonzero(grams < 0) :]
    run, stamp = np.zeros(len(codes), dtype=np.int64), np.full(len(codes), -2)
    edges = np.searchsorted(owners, np.arange(n_texts + 1))
    found, longest_runs = [np.empty((0, 4), dtype=np.int64)], _compiled()
    for a in range(n_texts):
        best, best_at = np.zeros(n_texts, dtype=np.int64), np.zeros(n_texts, dtype=np.int64)
        longest_runs(edges[a], edges[a + 1], grams, offsets, postings, owners, run, stamp, best, best_at)
        b = np.flatnonzero(best)
        found.append(np.column_stack([np.full(len(b), a), b, best[b] + min_words - 1, best_at[b]]))
    return np.concatenate(found).T


def _incidence(rows, columns, n_rows):
    """Count the (row, column) pairs in a sparse matrix."""
    shape = (n_rows, int(columns.max(initial=-1)) + 1)
    return sparse.csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def _at(matrix, rows, columns):
    """Entries of a sparse matrix as a flat array."""
    found = matrix[rows, columns]
    return found.toarray().ravel() if sparse.issparse(found) else np.asarray(found).ravel()


def _two_models(members, models):
    """Return the first of `members` and the first by another model, or −1."""
    return members[0], next((k for k in members if models[k] != models[members[0]]), -1)


def verbatim_pairs(texts, models, *, min_words=8):
    """Find the pairs of responses by different models that share a run of words.

    Works on distinct normalised texts through an inverted index of their word n-grams, so neither duplicates nor pairs
    without a common n-gram cost anything.

    Parameters
    ----------
    texts : sequence of str
        The responses to one prompt. Responses without a word are left out.
    models : sequence of str
        The model of each response.
    min_words : int
        Shortest run that counts, >= 1.

    Returns
    -------
    DataFrame
        One row per pair of *different* normalised texts (equal ones are in `exact_duplicates`) with responses of
        different models. ``i``, ``j``: indices of two such responses, the smallest by text and model; ``n_pairs``:
        pairs of responses of different models that the row stands for; ``longest_span_words``; ``span``: its normalised
        words (the earliest in the smaller text, if several are as long); ``shared_8gram_share`` (see
        `shared_ngram_share`). By length of the span and share, descending, then text.

    Examples
    --------
    >>> found = verbatim_pairs(["time is a long river", "so time is a long thief"], ["m1", "m2"], min_words=3)
    >>> found["longest_span_words"].tolist()
    [4]
    """
    texts, models = list(texts), _paired(texts, models)
    groups = _by_text(texts, models)
    lists, members = [key.split() for key in groups], list(groups.values())
    codes, owners = words.encode_words(lists)
    a, b, longest, at = _candidates(codes, owners, len(lists), min_words)

    names = {model: k for k, model in enumerate(sorted(set(models)))}
    answers, sizes = list(chain.from_iterable(members)), np.array([len(m) for m in members], dtype=int)
    holders = np.repeat(np.arange(len(lists)), sizes)
    by_model = _incidence(holders, np.array([names[models[k]] for k in answers], dtype=int), len(lists))
    n_pairs = sizes[a] * sizes[b] - _at(by_model @ by_model.T, a, b)
    a, b, longest, at, n_pairs = (values[n_pairs > 0] for values in (a, b, longest, at, n_pairs))

    *_, eights = words.ngram_codes(codes, 8)
    holds = _incidence(owners[eights >= 0], eights[eights >= 0], len(lists)).sign()
    distinct = np.asarray(holds.sum(axis=1)).ravel()
    fewest = np.minimum(distinct[a], distinct[b]).astype(float)
    share = _at(holds @ holds.T, a, b) / np.where(fewest == 0, np.nan, fewest)

    first, second = np.array([_two_models(ks, models) for ks in members], dtype=int).reshape(-1, 2).T
    order = np.lexsort((b, a, -np.nan_to_num(share, nan=-1), -longest))
    a, b, longest, at, n_pairs, share = (values[order] for values in (a, b, longest, at, n_pairs, share))
    model = np.array([names[m] for m in models], dtype=int)
    clash = model[first[a]] == model[first[b]]  # then one of the two texts has a response of another model
    i = np.where(clash & (second[b] < 0), second[a], first[a])
    j = np.where(clash & (second[b] >= 0), second[b], first[b])

    flat = list(chain.from_iterable([*ws, ""] for ws in lists))  # laid out as `codes`
    spans, which = np.unique(np.column_stack([at, longest]), axis=0, return_inverse=True)
    spans = np.array([" ".join(flat[start : start + length]) for start, length in spans.tolist()], dtype=object)
    columns = {"i": i, "j": j, "n_pairs": n_pairs, "longest_span_words": longest}
    return pd.DataFrame({**columns, "span": spans[which.ravel()], "shared_8gram_share": share})


def top_pairs(embeddings, models, n, *, texts=None, exclude_exact=True, block=128):
    """Find the most similar pairs of responses by different models.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
        The responses to one prompt; rows are normalised here and may not be zero.
    models : sequence of str
        The model of each response.
    n : int
        Number of pairs wanted, >= 1.
    texts : sequence of str, optional
        The responses. If given, each unordered pair of normalised texts appears once, by its most similar responses,
        and ties are broken by text.
    exclude_exact : bool
        Leave out pairs of the same normalised text, which `exact_duplicates` lists. Needs `texts` to do anything.
    block : int
        Responses per block: one matrix of shape (block, n_responses) is held at a time.

    Returns
    -------
    i, j : ndarray of int, shape (n_found,)
        Indices of the responses, most similar pair first; fewer than `n` if there are not as many pairs.
    cosine : ndarray of float, shape (n_found,)
        In [−1, 1], rounded to six digits, so that float32 rounding does not order ties.

    Examples
    --------
    >>> i, j, cosine = top_pairs(np.array([[1, 0], [0, 1], [1, 0.1]]), ["m1", "m1", "m2"], 1)
    >>> i, j, cosine.round(3)
    (array([0]), array([2]), array([0.995]))
    """
    unit = unit_rows(embeddings)
    models = _paired(unit, models)
    if texts is not None:
        texts, models = list(texts), _paired(texts, models)
    if n < 1:
        raise ValueError(f"`n` must be at least 1 pair, but {n} was passed.")
    keys = list(range(len(unit))) if texts is None else [" ".join(ws) for ws in words.word_lists(texts)]
    content = [""] * len(unit) if texts is None else list(zip(keys, texts, strict=True))
    order = sorted(range(len(unit)), key=lambda k: (content[k], models[k], unit[k].tobytes()))
    unit = unit[order]  # from here on nothing depends on the order of the rows passed
    model = np.unique([str(models[k]) for k in order], return_inverse=True)[1]
    codes = {value: code for code, value in enumerate(dict.fromkeys(keys[k] for k in order))}
    key = np.array([codes[keys[k]] for k in order], dtype=np.int64)

    best, floor = (np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)), -np.inf
    for start in range(0, len(unit), block):
        rows = slice(start, start + block)
        gram = np.round(np.clip(unit[rows] @ unit[start:].T, -1, 1), 6)
        keep = (model[rows, None] != model[None, start:]) & (gram > floor)  # of equal pairs the earlier rows win
        if exclude_exact:
            keep &= key[rows, None] != key[None, start:]
        i, j = np.nonzero(np.triu(keep))
        cosine, i, j = (np.concatenate(pair) for pair in zip(best, (gram[i, j], i + start, j + start), strict=True))
        ranked = np.lexsort((j, i, -cosine))
        pair = np.minimum(key[i], key[j]) * len(unit) + np.maximum(key[i], key[j])
        kept = ranked[np.sort(np.unique(pair[ranked], return_index=True)[1])[:n]]
        best = cosine[kept], i[kept], j[kept]
        floor = best[0][-1] if len(kept) == n else -np.inf
    order = np.array(order, dtype=np.int64)
    return order[best[1]], order[best[2]], best[0].astype(float)


def pieces(text, spans):
    """Cut a text at the edges of spans.

    Parameters
    ----------
    text : str
    spans : iterable of (int, int)
        Start and end of the parts, in characters; parts that touch or overlap are merged.

    Returns
    -------
    list of str
        Alternately outside and inside of the spans, beginning and ending outside; joined they are the text.

    Examples
    --------
    >>> pieces("time is a river", [(0, 7), (5, 9)])
    ['', 'time is a', ' river']
    """
    merged = []
    for start, end in sorted(spans):
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f"`spans` must lie within the text, 0 <= start < end <= {len(text)}, but ({start}, {end}) was passed. "
                "Take them from `shared_characters` of the same text."
            )
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    edges = [0, *chain.from_iterable(merged), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]

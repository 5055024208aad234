"""How diverse are the responses of one model to one prompt? Measures on embeddings, words, characters and idea counts.

The text measures take texts, or the word lists of `overlap.word_lists` so that each text is normalised once. All
compare normalised words, and all leave out responses without a word.

Every measure names the axioms it breaks, read as a measure of diversity (those of repetition turned round): M, a new
idea never lowers it; U, a unique response replaced by a copy never raises it; R, giving every response twice changes
nothing; S, its expectation does not depend on the number of responses. See `responses.validity`.
"""

import zlib
from collections import Counter
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from hivemind_utils.metrics.similarity import unit_rows
from hivemind_utils.metrics.words import encode_words, ngram_codes, word_lists


def _hill(shares, order):
    r"""Hill number :math:`(\sum p^q)^{1/(1-q)}`: how many equal shares are as diverse as these."""
    shares = shares[shares > 0]
    if np.isinf(order):
        return float(1 / shares.max())
    if order == 1:
        return float(np.exp(-(shares * np.log(shares)).sum()))
    return float((shares**order).sum() ** (1 / (1 - order)))


def _check_order(order, zero_allowed):
    if not (order > 0 or (zero_allowed and order == 0)):
        sign = ">=" if zero_allowed else ">"
        raise ValueError(f"The order of diversity must be {sign} 0 (inf allowed), but {order} was passed.")


def vendi_scores(embeddings, orders=(1, 2, np.inf)):
    r"""Vendi scores of several orders from one spectrum: how many distinct responses there are, judged by cosine.

    1 means that all responses point the same way; n_responses, that they are orthogonal.

    Breaks M and U (a response between two others lowers it) and S (it grows with the number); keeps R.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
        One row per response, of any length; rows are normalised here and may not be zero. n_responses >= 1.
    orders : sequence of float
        Each > 0; inf allowed. The larger the order, the less a rare response counts.

    Returns
    -------
    ndarray of float, shape (n_orders,)
        Each in [1, n_responses].

    Notes
    -----
    With :math:`\lambda` the eigenvalues of :math:`K/n`, K the cosine Gram matrix, the score of order q is
    :math:`(\sum \lambda^q)^{1/(1-q)}`; :math:`\exp(-\sum \lambda \log \lambda)` for q = 1, :math:`1/\max \lambda` for
    q = inf, and :math:`1/\|K/n\|_F^2` for q = 2, which needs no eigenvalues. K and the n_dims-square matrix of the
    same nonzero spectrum are interchangeable; the smaller is built. Source: Friedman & Dieng 2022, arXiv 2210.02410;
    orders: Pasarkar & Dieng 2023, arXiv 2310.12952.

    Examples
    --------
    >>> vendi_scores(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).round(3)
    array([1.89, 1.8 , 1.5 ])
    """
    for order in orders:
        _check_order(order, zero_allowed=False)
    unit = unit_rows(embeddings).astype(float)
    n, n_dims = unit.shape
    if not n:
        raise ValueError("`embeddings` must have at least one row, but none was passed. Leave empty cells out.")
    kernel = unit @ unit.T if n <= n_dims else unit.T @ unit
    kernel /= np.trace(kernel)
    if any(order != 2 for order in orders):
        spectrum = np.linalg.eigvalsh(kernel)
        spectrum = np.where(spectrum > spectrum[-1] * n * np.finfo(float).eps, spectrum, 0)
        spectrum /= spectrum.sum()
    scores = [1 / (kernel**2).sum() if order == 2 else _hill(spectrum, order) for order in orders]
    return np.clip(scores, 1, n)


def vendi_score(embeddings, q=1):
    """Vendi score of one order; see `vendi_scores`.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses >= 1, n_dims)
    q : float
        Order, > 0; inf allowed.

    Returns
    -------
    float
        In [1, n_responses].

    Examples
    --------
    >>> round(float(vendi_score(np.eye(4))), 3)
    4.0
    """
    return float(vendi_scores(embeddings, (q,))[0])


def _counts(counts):
    counts = np.sort(np.asarray(counts))  # sums of sorted shares do not depend on the order passed
    if counts.ndim != 1 or not (counts >= 0).all() or (counts != np.floor(counts)).any() or not counts.sum() > 0:
        raise ValueError(
            f"`counts` must be one whole number >= 0 per idea and not all 0, but {counts.tolist()[:10]} was passed. "
            "Count the responses of each idea first."
        )
    return counts[counts > 0].astype(np.int64)


def effective_number(counts, order=1):
    r"""Effective number of ideas: how many equally common ideas would be as diverse (a Hill number).

    Breaks S (it grows with the number of responses: compare equal sizes); keeps M, U and R.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea.
    order : float
        >= 0. 0: the number of ideas; 1: exp of the Shannon entropy; 2: inverse Simpson, :math:`1/\sum p^2`; inf: one
        over the share of the most common.

    Returns
    -------
    float
        In [1, number of ideas].

    Examples
    --------
    >>> float(effective_number([10, 10])), round(float(effective_number([18, 2], order=2)), 3)
    (2.0, 1.22)
    """
    _check_order(order, zero_allowed=True)
    counts = _counts(counts)
    return _hill(counts / counts.sum(), order)


def _worded(texts):
    return [ws for ws in word_lists(texts) if ws]


def duplicate_share(texts):
    """Share of the responses whose normalised text equals that of another response.

    Breaks R (every response then has a copy) and S (it grows with the number of responses); keeps M and U. It sees
    form alone: one idea in two wordings is no duplicate.

    Parameters
    ----------
    texts : sequence of str, or of word lists

    Returns
    -------
    float
        In [0, 1]; NaN if no response has a word.

    Examples
    --------
    >>> float(duplicate_share(["Time is a river.", "time is a river", "A thief", "A sea"]))
    0.5
    """
    counts = np.array(list(Counter(map(tuple, _worded(texts))).values()))
    return float(counts[counts > 1].sum() / counts.sum()) if len(counts) else float("nan")


def distinct_n(texts, n):
    """Distinct word n-grams over all word n-grams of the responses.

    It falls with the number and length of the responses, whatever their diversity: compare equal sizes. Breaks M (a
    new idea in known words lowers it), U (a long response replaced by a short copy may raise it), R (it halves) and S.

    Parameters
    ----------
    texts : sequence of str, or of word lists
    n : int
        Words per n-gram, >= 1.

    Returns
    -------
    float
        In (0, 1]; NaN if no response has `n` words.

    Examples
    --------
    >>> float(distinct_n(["a b c", "a b d"], 2))
    0.75
    """
    *_, grams = ngram_codes(encode_words(_worded(texts))[0], n)
    return _distinct(grams)


def _distinct(grams):
    total = np.count_nonzero(grams >= 0)
    return float((grams.max() + 1) / total) if total else float("nan")


def self_overlap(texts, n=4):
    r"""Word overlap of each response with the other responses, averaged (in the manner of self-BLEU).

    0 means that no response has a word of another; 1, that each response's n-grams all occur in single others. Breaks
    M (a new idea in known words adds overlap), U (without the response whose words all others share, overlap falls), R
    (it becomes 1) and S (it grows with the number of responses).

    Parameters
    ----------
    texts : sequence of str, or of word lists
    n : int
        Largest n-gram order, >= 1.

    Returns
    -------
    float
        In [0, 1]; NaN with fewer than two responses.

    Notes
    -----
    For a response of w words and k = 1 … min(n, w), let m be the number of its w − k + 1 k-grams that occur in the
    other responses, each counted at most as often as in the one other response that has it most often. Its overlap is
    the geometric mean over k of m / w for k = 1 and (m + 1) / (w − k + 2) for k > 1 (the smoothing of Lin & Och 2004);
    there is no brevity penalty. The largest count among the *other* responses follows from the two largest of all, so
    every n-gram is visited once.

    Examples
    --------
    >>> float(self_overlap(["time is a river", "time is a river", "clocks"])).__round__(3)
    0.667
    """
    lists = _worded(texts)
    codes, owners = encode_words(lists)
    return _self_overlap(list(ngram_codes(codes, n)), owners, len(lists))


def _self_overlap(grams_by_order, owners, n_texts):
    if n_texts < 2:
        return float("nan")
    logs, orders = np.zeros(n_texts), np.zeros(n_texts)
    for k, grams in enumerate(grams_by_order):
        whole = grams >= 0
        total = np.bincount(owners[whole], minlength=n_texts)
        repeated = whole & (np.bincount(grams[whole], minlength=1)[grams] > 1)  # the others match nothing
        found, counts = np.unique(grams[repeated] * n_texts + owners[repeated], return_counts=True)
        gram, owner = np.divmod(found, n_texts)
        starts = np.flatnonzero(np.diff(gram, prepend=-1))
        which = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(gram)))
        first = np.maximum.reduceat(counts, starts)[which]
        is_first = counts == first
        shared_first = np.add.reduceat(is_first.astype(int), starts)[which] > 1
        second = np.maximum.reduceat(np.where(is_first, 0, counts), starts)[which]
        elsewhere = np.where(is_first & ~shared_first, second, first)
        matched = np.bincount(owner, np.minimum(counts, elsewhere), n_texts)
        has = total > 0
        with np.errstate(divide="ignore"):  # no word in common: log 0, overlap 0
            logs[has] += np.log((matched + (k > 0))[has] / (total + (k > 0))[has])
        orders += has
    return float(np.sort(np.exp(logs / orders)).mean())


def compression_ratio(texts):
    """How many times smaller the responses are when compressed together: repetitive responses compress well.

    Breaks M (a new idea in known words compresses well), U (a long response replaced by a short copy lowers it), R and
    S (it grows with the number and length of the responses).

    Parameters
    ----------
    texts : sequence of str, or of word lists

    Returns
    -------
    float
        UTF-8 bytes of the normalised texts, sorted and joined by line ends, over their bytes after zlib (level 9); NaN
        if no response has a word. Short texts stay near 1, and a match more than 32 kB back is not seen: compare equal
        sizes.

    Examples
    --------
    >>> compression_ratio(["time is a river"] * 20) > compression_ratio(["time is a river", "clocks melt"])
    True
    """
    joined = "\n".join(sorted(map(" ".join, _worded(texts)))).encode()
    return len(joined) / len(zlib.compress(joined, 9)) if joined else float("nan")


def opener_share(texts, n_words=4):
    """Share of the responses that begin with the most common opener.

    Breaks M (a new idea may begin like the others), U (a unique response that began like the others lowers it when it
    is replaced) and S (few responses overstate it); keeps R.

    Parameters
    ----------
    texts : sequence of str, or of word lists
    n_words : int
        Words of an opener, >= 1; a response with fewer is its own opener.

    Returns
    -------
    float
        In (0, 1]; NaN if no response has a word.

    Examples
    --------
    >>> float(opener_share(["Time is a river", "Time is a thief", "Life flows on"], n_words=2)).__round__(3)
    0.667
    """
    if n_words < 1:
        raise ValueError(f"`n_words` must be at least 1, but {n_words} was passed.")
    openers = Counter(tuple(ws[:n_words]) for ws in _worded(texts))
    return max(openers.values()) / openers.total() if openers else float("nan")


def rarefaction(counts, sizes):
    r"""Return the expected number of distinct ideas among some of the responses, drawn without replacement.

    Breaks R (of responses given twice, fewer in a draw differ); at one size it keeps M, U and S.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea, N in all.
    sizes : sequence of int
        Responses drawn, each in 0 … N.

    Returns
    -------
    ndarray of float, shape (n_sizes,)
        :math:`\sum_i 1 - \binom{N - n_i}{m} / \binom{N}{m}` for each size m.

    Examples
    --------
    >>> rarefaction([3, 1], sizes=[1, 2, 4])
    array([1. , 1.5, 2. ])
    """
    values, times = np.unique(_counts(counts), return_counts=True)
    total, sizes = int(values @ times), np.asarray(sizes)
    if sizes.ndim != 1 or (sizes != np.floor(sizes)).any() or (sizes < 0).any() or (sizes > total).any():
        raise ValueError(f"`sizes` must be whole numbers of responses in 0 … {total}, but {sizes.tolist()} was passed.")
    rest, drawn = total - values[None, :], sizes[:, None]
    missed = (
        gammaln(rest + 1) - gammaln(np.maximum(rest - drawn, 0) + 1) - gammaln(total + 1) + gammaln(total - drawn + 1)
    )
    return np.where(rest >= drawn, -np.expm1(np.minimum(missed, 0)), 1.0) @ times


class Chao1(NamedTuple):
    """Richness seen and estimated; see `chao1`."""

    observed: int
    estimate: float
    lower: float
    upper: float


def chao1(counts):
    r"""Chao1 estimate of the number of ideas, seen and unseen.

    Breaks U (a unique response made a copy of an idea seen twice may raise it), R (nothing is then seen once, so it
    falls to the number seen) and S (a lower bound that rises with the number of responses); keeps M.

    Parameters
    ----------
    counts : sequence of int
        Responses per idea.

    Returns
    -------
    Chao1
        ``observed`` ideas S, bias-corrected ``estimate`` :math:`S + f_1(f_1 - 1)/(2(f_2 + 1))` with :math:`f_1` ideas
        seen once and :math:`f_2` seen twice, and its 95 % log-normal interval ``lower``, ``upper``. All four are equal
        if at most one idea was seen once.

    Notes
    -----
    The estimate is itself a lower bound of the richness, and supposes responses drawn independently. Variance and
    interval as in EstimateS (equations 6, 7 and 13): Chao 1984, Scand. J. Statist. 11; Chao 1987, Biometrics 43.

    Examples
    --------
    >>> found = chao1([5, 2, 1, 1])
    >>> float(found.observed), float(found.estimate)
    (4.0, 4.5)
    """
    counts = _counts(counts)
    seen, f1, f2 = len(counts), int((counts == 1).sum()), int((counts == 2).sum())
    unseen = f1 * (f1 - 1) / (2 * (f2 + 1))
    if not unseen:
        return Chao1(seen, float(seen), float(seen), float(seen))
    if f2:
        tail = f1**2 * f2 * (f1 - 1) ** 2 / (4 * (f2 + 1) ** 4)
    else:
        tail = -(f1**4) / (4 * (seen + unseen))
    variance = unseen + f1 * (2 * f1 - 1) ** 2 / (4 * (f2 + 1) ** 2) + tail
    spread = np.exp(1.96 * np.sqrt(np.log1p(variance / unseen**2)))
    return Chao1(seen, seen + unseen, float(seen + unseen / spread), float(seen + unseen * spread))


def lexical_vectors(texts, *, analyzer="word", ngrams=(1, 2), min_df=1):
    """TF-IDF vectors of texts, a second opinion that needs no encoder; fitted on the texts passed.

    Parameters
    ----------
    texts : sequence of str, or of word lists
    analyzer : {"word", "char_wb"}
        n-grams of normalised words, or of the characters within them.
    ngrams : (int, int)
        Smallest and largest n-gram.
    min_df : int or float
        Leave out n-grams in fewer texts (in a smaller share, if a float).

    Returns
    -------
    csr_matrix of float, shape (n_texts, n_terms)
        Rows of length 1; a text without any term is a zero row.

    Examples
    --------
    >>> lexical_vectors(["time is a river", "time is a thief"]).shape
    (2, 9)
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if analyzer not in ("word", "char_wb"):
        raise ValueError(f"The value for `analyzer` must be one of ['word', 'char_wb'], but {analyzer!r} was passed.")
    lists = word_lists(texts)
    if not any(lists):
        raise ValueError(f"`texts` must hold at least one word, but none of {len(lists)} texts has any.")
    if analyzer == "char_wb":
        return TfidfVectorizer(analyzer="char_wb", ngram_range=ngrams, min_df=min_df).fit_transform(
            map(" ".join, lists)
        )
    passed = {"tokenizer": list, "preprocessor": list, "token_pattern": None}  # the words are found already
    return TfidfVectorizer(**passed, lowercase=False, ngram_range=ngrams, min_df=min_df).fit_transform(lists)


def mean_pairwise_cosine_sparse(vectors, codes, n_groups=None):
    r"""Mean cosine over the unordered pairs within each group of sparse rows.

    Of TF-IDF rows it is a measure of form; one minus it breaks M, U and R as `similarity.mean_pairwise_cosine` does,
    and S, for the weights of words depend on all responses.

    Parameters
    ----------
    vectors : sparse matrix of float, shape (n_rows, n_terms)
        Rows of length 1 or 0, as from `lexical_vectors`; a zero row has cosine 0 with every other.
    codes : ndarray of int, shape (n_rows,)
        The group of each row, 0 … n_groups − 1.
    n_groups : int, optional
        Default: the largest code plus one.

    Returns
    -------
    ndarray of float, shape (n_groups,)
        :math:`(\|\sum u\|^2 - \sum \|u\|^2) / (S(S - 1))`, so no pair is visited; NaN for groups of fewer than two.

    Examples
    --------
    >>> vectors = lexical_vectors(["a river", "a river", "the sea", "old clocks"])
    >>> mean_pairwise_cosine_sparse(vectors, np.array([0, 0, 1, 1])).round(3) + 0.0
    array([1., 0.])
    """
    codes = np.asarray(codes)
    if codes.shape != (vectors.shape[0],) or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(
            f"`codes` must be one integer per row, shape ({vectors.shape[0]},), but {codes.dtype} {codes.shape} "
            "was passed."
        )
    n_groups = int(codes.max(initial=-1)) + 1 if n_groups is None else n_groups
    if len(codes) and not 0 <= codes.min() <= codes.max() < n_groups:
        raise ValueError(f"`codes` must lie in 0 … {n_groups - 1}, but {codes.min()} … {codes.max()} was passed.")
    member = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_groups, len(codes)))
    vectors = sparse.csr_array(vectors)
    sums, lengths = member @ vectors, member @ vectors.multiply(vectors).sum(axis=1)
    size = np.bincount(codes, minlength=n_groups).astype(float)
    pairs = np.where(size > 1, size * (size - 1), np.nan)
    return (sums.multiply(sums).sum(axis=1) - lengths) / pairs


def summarise(texts, embeddings):
    """All measures of one (model, prompt).

    Parameters
    ----------
    texts : sequence of str, or of word lists
    embeddings : ndarray of float, shape (n_texts, n_dims)

    Returns
    -------
    dict of float
        ``vendi_1``, ``vendi_2``, ``vendi_inf`` (of all rows); ``effective_distinct`` (effective number of distinct
        normalised texts), ``n_distinct`` (their number), ``distinct_1`` … ``distinct_3``, ``self_overlap`` (order 4),
        ``compression_ratio``, ``duplicate_share``, ``opener_share`` (4 words), of the responses that have a word.

    Examples
    --------
    >>> found = summarise(["a river", "a river", "the sea"], np.eye(3))
    >>> found["n_distinct"], round(found["vendi_1"], 3), round(found["duplicate_share"], 3)
    (2, 3.0, 0.667)
    """
    if len(texts) != len(embeddings):
        raise ValueError(f"`embeddings` must have a row for each of the {len(texts)} texts, but has {len(embeddings)}.")
    lists = _worded(texts)
    codes, owners = encode_words(lists)
    grams = list(ngram_codes(codes, 4))
    counts = list(Counter(map(tuple, lists)).values())
    return {
        **dict(zip(("vendi_1", "vendi_2", "vendi_inf"), vendi_scores(embeddings).tolist(), strict=True)),
        "effective_distinct": effective_number(counts) if counts else float("nan"),
        **{f"distinct_{k}": _distinct(grams[k - 1]) for k in (1, 2, 3)},
        "self_overlap": _self_overlap(grams, owners, len(lists)),
        "compression_ratio": compression_ratio(lists),
        "duplicate_share": duplicate_share(lists),
        "opener_share": opener_share(lists),
        "n_distinct": len(counts),
    }

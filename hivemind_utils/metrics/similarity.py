"""Cosine similarity between responses: within a model, between models, of all pairs, and of the nearest ones.

Arrays in, arrays out. Sums of unit vectors give means of pairs without an n-by-n matrix; distributions and neighbours
go through blocks of the Gram matrix. Definitions: arXiv 2510.22954, section 3 and App. C.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hivemind_utils.metrics import _blas, _similarity_kernels
from hivemind_utils.metrics.source_counts import expected_sources as expected_sources
from hivemind_utils.metrics.source_counts import separated_sources as separated_sources

N_BINS = 2_000  # of width 0.001 on [-1, 1]


_BLOCK = 320  # rows of the Gram matrix held at a time; triangles of so many rows are not cut further


_TILE = 1_024  # largest side of a tile of the Gram matrix


def unit_rows(embeddings):
    """Scale every row to length 1.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)

    Returns
    -------
    ndarray of float32, shape (n_responses, n_dims)

    Raises
    ------
    ValueError
        If the array is not two-dimensional, or a row is zero or not finite.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]], dtype=float32)
    """
    embeddings = _matrix(embeddings)
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float32))
    _check_norms(norms)
    return embeddings / norms[:, None]


def mean_pairwise_cosine(embeddings):
    r"""Mean cosine similarity over all unordered pairs of responses.

    1 means every response points the same way; 0, that they are orthogonal on average. One minus it breaks M (a new
    idea between two others lowers it), U (the same, the other way round) and R (factor 2 (n - 1) / (2 n - 1)); keeps S.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
        One row per response, of any length; rows are normalised here. n_responses >= 2.

    Returns
    -------
    float
        Unitless, in [-1, 1].

    Notes
    -----
    For unit rows the sum over pairs is :math:`(|\sum_i x_i|^2 - n) / 2`, so no n-by-n matrix is built.
    Source: arXiv 2510.22954, section 3. Proved against the literal double loop in ``tests/metrics/test_similarity.py``.

    Examples
    --------
    >>> round(float(mean_pairwise_cosine(np.array([[1.0, 0], [1, 0], [0, 1]]))), 3)
    0.333
    """
    embeddings = _matrix(embeddings)
    if len(embeddings) < 2:
        raise ValueError(
            f"`embeddings` must have shape (n_responses >= 2, n_dims), but {embeddings.shape} was passed. "
            "One response has no pairs: leave the cell out."
        )
    sums, counts = cell_sums(embeddings, np.zeros(len(embeddings), int), 1)
    return float(repetition(sums, counts)[0])


def mean_cross_cosine(a, b):
    """Mean cosine similarity over all pairs of a response of `a` with a response of `b`.

    Parameters
    ----------
    a, b : ndarray of float, shapes (n_a, n_dims) and (n_b, n_dims)

    Returns
    -------
    float
        Unitless, in [-1, 1].

    Examples
    --------
    >>> float(mean_cross_cosine(np.array([[1.0, 0]]), np.array([[1.0, 0], [0, 1]])))
    0.5
    """
    a, b = unit_rows(a), unit_rows(b)
    if len(a) == 0 or len(b) == 0:
        raise ValueError(f"Both sides need at least one response, but {len(a)} and {len(b)} were passed.")
    return float(np.clip(a.sum(0, dtype=float) @ b.sum(0, dtype=float) / (len(a) * len(b)), -1, 1))


def cell_sums(embeddings, codes, n_cells):
    """Sum of the unit vectors of every cell, in one read of the data.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
        Rows of any length; normalised on the way.
    codes : ndarray of int, shape (n_responses,)
        Cell of every row, 0 to n_cells - 1.
    n_cells : int

    Returns
    -------
    sums : ndarray of float64, shape (n_cells, n_dims)
        float32 within a cell (error at most 1e-5 of a mean), float64 across.
    counts : ndarray of int, shape (n_cells,)

    Examples
    --------
    >>> sums, counts = cell_sums(np.array([[2.0, 0], [0, 1], [0, 3]]), np.array([0, 1, 1]), 2)
    >>> sums, counts
    (array([[1., 0.],
           [0., 2.]]), array([1, 2]))
    """
    embeddings, codes = _matrix(embeddings), _codes(codes, n_cells, len(embeddings))
    sums = np.zeros((n_cells, embeddings.shape[1]), np.float32)
    if len(embeddings):
        smallest = _kernel("add_unit_rows")(embeddings, codes, sums)
        _check_norms(np.array([smallest]))
    return sums.astype(np.float64), np.bincount(codes, minlength=n_cells)


def repetition(sums, counts):
    """Mean pairwise cosine of every cell, from the sums of its unit vectors.

    Parameters
    ----------
    sums : ndarray of float, shape (..., n_dims)
    counts : ndarray of int, shape (...)

    Returns
    -------
    ndarray of float, shape (...)
        In [-1, 1]; NaN for cells of fewer than two responses.

    Examples
    --------
    >>> repetition(*cell_sums(np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([0, 0, 1]), 2))
    array([ 1., nan])
    """
    counts = np.asarray(counts, float)
    pairs = np.where(counts > 1, counts * (counts - 1), np.nan)
    return np.clip((np.einsum("...d,...d->...", sums, sums) - counts) / pairs, -1, 1)


def centred_repetition(embeddings, codes, n_cells, centre=None):
    """Mean pairwise cosine of every cell after subtracting the mean of all unit rows.

    What all responses share, whatever the prompt, no longer counts as similarity.

    Parameters
    ----------
    embeddings, codes, n_cells
        As for `cell_sums`.
    centre : ndarray of float, shape (n_dims,), optional
        Mean of the unit rows of a whole of which these rows are a part. Default: of these rows.

    Returns
    -------
    ndarray of float, shape (n_cells,)
        NaN for cells of fewer than two rows that differ from the mean.

    Examples
    --------
    >>> embeddings = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    >>> centred_repetition(embeddings, np.array([0, 0, 1, 1]), 2).round(3)
    array([1., 1.])
    """
    unit = unit_rows(embeddings)
    centre = unit.mean(0, dtype=np.float64) if centre is None else np.asarray(centre)
    centred = unit - centre.astype(np.float32)
    differs = np.einsum("ij,ij->i", centred, centred) > 1e-10
    return repetition(*cell_sums(centred[differs], np.asarray(codes)[differs], n_cells))


def homogeneity(sums, counts, *, self_pairs=False):
    """Sum of cosines and number of pairs for every pair of models, prompt by prompt.

    Parameters
    ----------
    sums : ndarray of float, shape (n_prompts, n_models, n_dims)
        Sums of unit vectors; zero where a model has no response.
    counts : ndarray of int, shape (n_prompts, n_models)
    self_pairs : bool
        Count a response with itself on the diagonal, as the published analysis does.

    Returns
    -------
    totals, pairs : ndarray of float, shape (n_prompts, n_models, n_models)
        Ordered pairs. ``totals.sum(0) / pairs.sum(0)`` is the pooled mean, joined by prompt.

    Examples
    --------
    >>> sums = np.array([[[2.0, 0], [0, 1]]])  # one prompt, two models
    >>> totals, pairs = homogeneity(sums, np.array([[2, 1]]))
    >>> totals[0], pairs[0]
    (array([[2., 0.],
           [0., 0.]]), array([[2., 2.],
           [2., 0.]]))
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    totals = sums @ sums.transpose(0, 2, 1)
    pairs = counts[:, :, None] * counts[:, None, :]
    totals = np.clip(totals, -pairs, pairs)  # a mean of float32 vectors may exceed 1 by rounding
    if not self_pairs:
        diagonal = np.arange(counts.shape[1])
        totals[:, diagonal, diagonal] -= counts
        pairs[:, diagonal, diagonal] -= counts
    return totals, pairs


def pooled_mean(totals, pairs):
    """Total over pairs with 0/0 = NaN; the leading axis (prompts) is summed.

    Parameters
    ----------
    totals, pairs : ndarray of float, shape (n_prompts, ...)

    Returns
    -------
    ndarray of float, shape (...)

    Examples
    --------
    >>> pooled_mean(np.array([[1.0], [2.0]]), np.array([[2.0], [4.0]]))
    array([0.5])
    """
    pairs = np.asarray(pairs, float).sum(0)
    return np.asarray(totals, float).sum(0) / np.where(pairs > 0, pairs, np.nan)


def pair_histograms(prompts, *, n_threads=2, progress=None):
    """Histogram of the cosine of every unordered pair of responses to one prompt, split into intra- and inter-model.

    Parameters
    ----------
    prompts : sequence of (embeddings, codes)
        Per prompt an ndarray of float, shape (n_responses, n_dims), and the model of every row as an int from 0.
    n_threads : int
        Prompts worked on at once; BLAS gets one thread in each.
    progress : callable, optional
        Wraps the iterator over prompts, for example ``tqdm``.

    Returns
    -------
    ndarray of int64, shape (n_prompts, 2, 2000)
        [p, 0] counts pairs of one model, [p, 1] of two; bins of width 0.001 on [-1, 1], the last one closed.

    Examples
    --------
    >>> pair_histograms([(np.eye(3), np.array([0, 0, 1]))]).sum(-1)  # one pair of a model, two of two models
    array([[1, 2]])
    """
    prompts = list(prompts)
    with _blas.one_thread(), ThreadPoolExecutor(n_threads) as pool:
        done = (pool.map if n_threads > 1 else map)(lambda prompt: _pair_histogram(*prompt), prompts)
        rows = list(progress(done, total=len(prompts)) if progress else done)
    return np.array(rows).reshape(len(prompts), 2, N_BINS)


def share_at_least(histogram, threshold):
    """Share of pairs at or above a threshold, from a histogram over the last axis; NaN without pairs.

    `threshold`, -1 to 1, is rounded to the bins' width, 0.001; at 1 the last bin counts, where equal responses are.

    Examples
    --------
    >>> histogram = pair_histograms([(np.eye(3), np.array([0, 0, 0]))])[0, 0]
    >>> float(share_at_least(histogram, 0.5)), float(share_at_least(histogram, -0.5))
    (0.0, 1.0)
    """
    if not -1 <= threshold <= 1:
        raise ValueError(f"`threshold` is a cosine and must lie in -1 to 1, but {threshold} was passed.")
    histogram = np.asarray(histogram, float)
    total = histogram.sum(-1)
    first = min(round((threshold + 1) * N_BINS / 2), N_BINS - 1)
    return histogram[..., first:].sum(-1) / np.where(total > 0, total, np.nan)


def histogram_quantile(histogram, q):
    """Quantile `q` (0 to 1) of pairs counted in a histogram of shape (2000,), linear in a bin; NaN without pairs.

    Examples
    --------
    >>> histogram = pair_histograms([(np.eye(3), np.array([0, 0, 0]))])[0, 0]
    >>> round(float(histogram_quantile(histogram, 0.5)), 3)
    0.0
    """
    cumulative = np.concatenate([[0], np.cumsum(histogram, dtype=float)])
    if cumulative[-1] == 0:
        return float("nan")
    target = q * cumulative[-1]
    k = min(int(np.searchsorted(cumulative, target, side="left")), N_BINS)
    k = max(k, int(np.searchsorted(cumulative, 0, side="right")))  # q = 0: where the first pair is
    inside = (target - cumulative[k - 1]) / max(cumulative[k] - cumulative[k - 1], 1)
    return float(-1 + (k - 1 + inside) * 2 / N_BINS)


def random_pair_cosines(embeddings, prompts, n_pairs, rng):
    """Cosines of random pairs of responses to different prompts: the undemanding floor.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
    prompts : ndarray of int, shape (n_responses,)
        Prompt of every row.
    n_pairs : int
        Pairs drawn with replacement.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (n_pairs,)
        Empty if there is only one prompt.

    Examples
    --------
    >>> random_pair_cosines(np.eye(2), np.array([0, 1]), 3, np.random.default_rng(0))
    array([0., 0., 0.], dtype=float32)
    """
    unit, prompts = unit_rows(embeddings), np.asarray(prompts)
    if prompts.shape != (len(unit),):
        raise ValueError(f"`prompts` must have one entry per row, ({len(unit)},), but {prompts.shape} was passed.")
    first, second = random_pairs(prompts, n_pairs, rng)
    return np.einsum("ij,ij->i", unit[first], unit[second])


def random_pairs(prompts, n_pairs, rng):
    """Random pairs of responses to different prompts, drawn with replacement.

    Parameters
    ----------
    prompts : ndarray of int, shape (n_responses,)
        Prompt of every row.
    n_pairs : int
    rng : numpy.random.Generator

    Returns
    -------
    first, second : ndarray of int, shape (n_pairs,)
        Rows; empty if there is only one prompt.

    Examples
    --------
    >>> first, second = random_pairs(np.array([0, 0, 1]), 4, np.random.default_rng(0))
    >>> bool(((first == 2) != (second == 2)).all())
    True
    """
    if n_pairs < 1 or len(prompts) == 0 or (prompts == prompts[0]).all():
        return np.empty(0, int), np.empty(0, int)
    first, second = [], []
    missing = n_pairs
    while missing > 0:
        a, b = rng.integers(len(prompts), size=(2, 2 * missing))
        differ = np.flatnonzero(prompts[a] != prompts[b])[:missing]
        first.append(a[differ])
        second.append(b[differ])
        missing -= len(differ)
    return np.concatenate(first), np.concatenate(second)


def between_group_replicates(sums, counts):
    """Mean cosine of all pairs from different groups, with all groups and without each.

    Parameters
    ----------
    sums : ndarray of float, shape (n_groups, n_dims)
        Sums of unit vectors, as `cell_sums` returns them.
    counts : ndarray of int, shape (n_groups,)

    Returns
    -------
    ndarray of float, shape (n_groups + 1,)
        The first with all groups; NaN where fewer than two groups are left.

    Examples
    --------
    >>> between_group_replicates(np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([1, 1, 1])).round(3)
    array([0.333, 0.   , 0.   , 1.   ])
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    whole, own = sums.sum(0), (sums**2).sum(1)
    squared = np.concatenate([[whole @ whole], whole @ whole - 2 * sums @ whole + own])
    within, n = (np.concatenate([[x.sum()], x.sum() - x]) for x in (own, counts))
    same = np.concatenate([[(counts**2).sum()], (counts**2).sum() - counts**2])
    pairs = n**2 - same
    return np.divide(squared - within, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def nearest_sources(embeddings, codes, n_nearest=50):
    """Number of distinct sources among the N nearest other responses of every response, for N = 1 to `n_nearest`.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_responses, n_dims)
        All responses to one prompt. Nearness is cosine; ties go by row index, so rows should stand in an order that has
        nothing to do with their source.
    codes : ndarray of int, shape (n_responses,)
        Source (model or family) of every row, from 0.
    n_nearest : int
        Largest N; cut to n_responses - 1.

    Returns
    -------
    ndarray of int, shape (n_responses, min(n_nearest, n_responses - 1))

    Notes
    -----
    Source: arXiv 2510.22954, Fig. 8. Equal rows are compared once, so that their ties are exact. One pass keeps the N
    nearest sorted; a first-occurrence mask and a cumulative sum give all N at once.

    Examples
    --------
    >>> embeddings = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> nearest_sources(embeddings, np.array([0, 1, 0, 0]), n_nearest=2)
    array([[1, 2],
           [1, 1],
           [1, 2],
           [1, 2]])
    """
    codes = _codes(codes, None, len(_matrix(embeddings)))
    return distinct_sources(nearest_rows(embeddings, n_nearest), codes)


def nearest_rows(embeddings, n_nearest=50):
    """Nearest other responses of every response, nearest first.

    Parameters
    ----------
    embeddings, n_nearest
        As for `nearest_sources`.

    Returns
    -------
    ndarray of int, shape (n_responses, min(n_nearest, n_responses - 1))

    Examples
    --------
    >>> nearest_rows(np.array([[1, 0], [1, 0.1], [0, 1]]), n_nearest=1).ravel()
    array([1, 0, 1])
    """
    embeddings = _matrix(embeddings)
    n = len(embeddings)
    if n < 2:
        raise ValueError(
            f"`embeddings` needs at least 2 responses, but {n} were passed: a single one has no neighbours."
        )
    if n_nearest < 1:
        raise ValueError(f"`n_nearest` must be at least 1, but {n_nearest} was passed.")
    n_nearest = min(int(n_nearest), n - 1)
    index = {}
    inverse = np.array([index.setdefault(row.tobytes(), len(index)) for row in embeddings])
    distinct = unit_rows(embeddings[np.unique(inverse, return_index=True)[1]])
    members = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(inverse))])
    result = np.empty((n, n_nearest), np.int64)
    kernel = _kernel("find_nearest")
    for start in range(0, len(distinct), _BLOCK):
        kernel(distinct[start : start + _BLOCK] @ distinct.T, start, inverse, members, starts, result)
    return result


def distinct_sources(nearest, codes):
    """Number of distinct sources among the first N of the nearest responses, for every N.

    Parameters
    ----------
    nearest : ndarray of int, shape (n_responses, n_nearest)
        From `nearest_rows`.
    codes : ndarray of int, shape (n_responses,)
        Source of every row, from 0.

    Returns
    -------
    ndarray of int, shape (n_responses, n_nearest)

    Examples
    --------
    >>> distinct_sources(np.array([[1, 2], [0, 2], [1, 0]]), np.array([0, 0, 1]))
    array([[1, 2],
           [1, 2],
           [1, 1]])
    """
    codes = _codes(codes, None, len(nearest))
    result = np.empty(nearest.shape, np.int64)
    _kernel("count_sources")(np.ascontiguousarray(nearest), codes, int(codes.max()) + 1, result)
    return result


def _pair_histogram(embeddings, codes):
    embeddings = _matrix(embeddings)
    codes = _codes(codes, None, len(embeddings))
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    unit = unit_rows(embeddings[order] if (np.diff(order) != 1).any() else embeddings)
    ends = np.searchsorted(codes, codes, side="right")
    counts = np.zeros((2, 4, N_BINS), np.int64)
    kernel = _kernel("count_pairs")
    for rows, columns in _upper_tiles(0, len(unit)):
        kernel(unit[rows] @ unit[columns].T, rows.start, columns.start, ends, counts)
    return counts.sum(1)


def _upper_tiles(start, stop):
    """Cut the upper triangle of rows start to stop into squares, halving it: little is wasted, products stay large."""
    if stop - start <= _BLOCK:
        yield slice(start, stop), slice(start, stop)
        return
    middle = (start + stop) // 2
    yield from _upper_tiles(start, middle)
    for row in range(start, middle, _TILE):
        for column in range(middle, stop, _TILE):
            yield slice(row, min(row + _TILE, middle)), slice(column, min(column + _TILE, stop))
    yield from _upper_tiles(middle, stop)


def _matrix(embeddings):
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    if embeddings.ndim != 2:
        raise ValueError(f"`embeddings` must have shape (n_responses, n_dims), but {embeddings.shape} was passed.")
    return embeddings


def _codes(codes, n_cells, n_rows):
    codes = np.ascontiguousarray(codes, np.int64)
    if codes.shape != (n_rows,):
        raise ValueError(f"`codes` must have one entry per row, ({n_rows},), but {codes.shape} was passed.")
    if n_rows and (codes.min() < 0 or (n_cells is not None and codes.max() >= n_cells)):
        raise ValueError(f"`codes` must lie in 0 to {n_cells} - 1, but {codes.min()} to {codes.max()} were passed.")
    return codes


def _check_norms(norms):
    if not np.all(np.isfinite(norms)) or np.any(norms <= 0):
        raise ValueError(
            "Every row of `embeddings` must be finite and longer than 0: leave empty responses out before embedding."
        )


def _kernel(name):
    return getattr(_similarity_kernels, name)

"""Modes of the responses to one prompt: maps, dense regions, what they are made of, and whether they hold.

Arrays in, arrays out; one prompt at a time. Responses with equal vectors count once wherever density matters, so that a
text given a hundred times makes no dense region by itself; their number comes back in through sizes. Randomness arrives
as a generator. UMAP is seeded from it and runs on one thread: the same generator gives the same map on one machine.
The rule that says which modes hold is `mode_evidence.supported`.
"""

import contextlib
import functools

import numpy as np

from hivemind_utils.metrics import diversity, similarity
from hivemind_utils.metrics._labels import NOISE, labels_of

MIN_SIZE, SIZE_FACTOR = 4, 0.55  # no mode has fewer responses; smallest of n: this times the root of n
UMAP_FROM = 400  # distinct responses from which on UMAP and HDBSCAN recover planted ideas better than linkage does
LINKED_CUTS = (0.6, 0.65, 0.7, 0.75, 0.8)  # of the mean distance; the silhouette says which


_EXACT = 20_000  # up to so many rows neighbours are exact


_COMPONENTS = 50  # principal components in which neighbours of more rows are sought


def distinct_rows(vectors):
    """Find equal rows.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)

    Returns
    -------
    first : ndarray of int, shape (n_distinct,)
        A row of every kind, ordered by content, whatever the order of the rows.
    inverse : ndarray of int, shape (n_responses,)
        Kind of every row.
    counts : ndarray of int, shape (n_distinct,)

    Examples
    --------
    >>> first, inverse, counts = distinct_rows(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> counts[inverse]
    array([2, 1, 2])
    """
    vectors = np.ascontiguousarray(vectors)
    if vectors.ndim != 2:
        raise ValueError(f"`vectors` must have shape (n_responses, n_dims), but {vectors.shape} was passed.")
    as_bytes = vectors.view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    _, first, inverse, counts = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    return first, inverse, counts


def principal_components(vectors, n_components=2):
    """Principal components of the responses, as in the paper's Figure 1, with the variance they explain.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
        Not normalised here: the paper's are not.
    n_components : int

    Returns
    -------
    coordinates : ndarray of float, shape (n_responses, n_components)
        Missing components (fewer rows or dimensions) are 0.
    explained : ndarray of float, shape (n_components,)
        Share of the variance; 0 where there is no variance.

    Examples
    --------
    >>> coordinates, explained = principal_components(np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]))
    >>> explained.round(3)
    array([1., 0.])
    """
    from sklearn.decomposition import PCA

    similarity.unit_rows(vectors)  # refuses rows that are zero or not finite
    n, n_dims = vectors.shape
    coordinates, explained = np.zeros((n, n_components)), np.zeros(n_components)
    k = min(n_components, n, n_dims)
    if k and np.ptp(vectors, axis=0).max() > 0:
        model = PCA(k, svd_solver="arpack" if min(n, n_dims) > 100 else "full", random_state=0)
        coordinates[:, :k] = model.fit_transform(vectors)
        explained[:k] = model.explained_variance_ratio_
    return coordinates, explained


def nearest_neighbours(vectors, n_neighbors, rng):
    """Nearest rows by cosine distance, every row its own first neighbour.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_rows, n_dims)
    n_neighbors : int
        At most n_rows.
    rng : numpy.random.Generator
        Used above 20,000 rows, where neighbours are approximate and sought in 50 principal components.

    Returns
    -------
    indices : ndarray of int32, shape (n_rows, n_neighbors)
    distances : ndarray of float32, shape (n_rows, n_neighbors)

    Examples
    --------
    >>> indices, _ = nearest_neighbours(np.array([[1, 0], [0, 1], [1, 0.1]]), 2, np.random.default_rng(0))
    >>> indices
    array([[0, 2],
           [1, 2],
           [2, 0]], dtype=int32)
    """
    unit = similarity.unit_rows(vectors)
    if len(unit) > _EXACT:
        return _approximate_neighbours(unit, n_neighbors, rng)
    indices = np.empty((len(unit), n_neighbors), np.int32)
    distances = np.empty((len(unit), n_neighbors), np.float32)
    for start in range(0, len(unit), 1024):
        gram = unit[start : start + 1024] @ unit.T
        own = np.arange(len(gram))
        gram[own, start + own] = 2  # before every other
        found = np.argpartition(-gram, n_neighbors - 1, axis=1)[:, :n_neighbors]
        cosines = np.take_along_axis(gram, found, 1)
        order = np.argsort(-cosines, axis=1, kind="stable")
        indices[start : start + 1024] = np.take_along_axis(found, order, 1)
        distances[start : start + 1024] = 1 - np.clip(np.take_along_axis(cosines, order, 1), -1, 1)
    return indices, distances


def _approximate_neighbours(unit, n_neighbors, rng):
    from pynndescent import NNDescent
    from sklearn.decomposition import PCA

    reduced = PCA(min(_COMPONENTS, unit.shape[1]), svd_solver="covariance_eigh").fit_transform(unit)
    index = NNDescent(reduced, n_neighbors=n_neighbors, random_state=seed_of(rng), n_jobs=1, low_memory=True)
    return index.neighbor_graph


def umap_coordinates(vectors, rng, *, n_dims=2, n_neighbors=15, n_epochs=60, min_dist=0.0, neighbours=None):
    """UMAP of distinct rows by cosine distance, seeded, on one thread.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_rows, vector_dims)
        Without repeated rows; see `distinct_rows`.
    rng : numpy.random.Generator
    n_dims, n_neighbors, n_epochs, min_dist
        As in UMAP; cut down where there are few rows.
    neighbours : (ndarray, ndarray), optional
        From `nearest_neighbours`, to be shared by several maps of the same rows.

    Returns
    -------
    ndarray of float, shape (n_rows, n_dims)
        Fewer than ten rows are not worth a graph: their principal components.

    Examples
    --------
    >>> umap_coordinates(np.eye(5), np.random.default_rng(0)).shape  # fewer than ten rows: their principal components
    (5, 2)
    """
    import warnings

    from sklearn.decomposition import PCA

    unit = similarity.unit_rows(vectors)
    if len(unit) < 10:
        return principal_components(unit, n_dims)[0]
    if neighbours is None:
        neighbours = nearest_neighbours(unit, min(n_neighbors, len(unit) - 1), rng)
    seed, k = seed_of(rng), min(n_dims, unit.shape[1], len(unit) - 2)
    start = PCA(k, svd_solver="randomized", iterated_power=2, random_state=seed).fit_transform(unit)
    model = umap_of()(
        n_components=k, n_neighbors=neighbours[0].shape[1], n_epochs=n_epochs, min_dist=min_dist, metric="cosine",
        init=start, random_state=seed, n_jobs=1,
        precomputed_knn=(*neighbours, None), force_approximation_algorithm=True,  # use them for few rows too
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # new rows could not be mapped: none will be
        coordinates = model.fit_transform(unit).astype(float)
    return np.pad(coordinates, ((0, 0), (0, n_dims - coordinates.shape[1])))


@functools.cache
def umap_of():
    """Import UMAP's class; its compiled code is kept on disk, since every process would compile it anew for seconds.

    The package warns of a part of it that needs Tensorflow.

    Examples
    --------
    >>> umap_of().__name__
    'UMAP'
    """
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP, layouts, umap_
    compiled = [f for m in (umap_, layouts) for f in vars(m).values() if getattr(f, "__module__", "") == m.__name__]
    for function in compiled:
        with contextlib.suppress(AttributeError, RuntimeError):  # not compiled; no folder where it could be kept
            function.enable_caching()
    return UMAP


def smallest_mode(n, size_factor=SIZE_FACTOR):
    """Fewest responses that make a mode among `n`: ``size_factor`` times the square root of n, at least 4.

    Examples
    --------
    >>> smallest_mode(20), smallest_mode(1_000)
    (4, 17)
    """
    return max(MIN_SIZE, round(size_factor * n**0.5))


def find_modes(vectors, rng, *, neighbours=None, n_neighbors=15, n_dims=5, n_epochs=60, size_factor=SIZE_FACTOR):
    """Modes of the responses to one prompt: HDBSCAN on a UMAP reduction of the distinct rows.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, vector_dims)
        Repeated rows allowed; the result does not depend on the order of the rows.
    rng : numpy.random.Generator
    neighbours : (ndarray, ndarray), optional
        Of the distinct rows in the order of `distinct_rows`, from `nearest_neighbours`.
    n_neighbors, n_dims, n_epochs
        Of the reduction; see `umap_coordinates`.
    size_factor : float
        Sets the smallest mode; see `smallest_mode`.

    Returns
    -------
    ndarray of int, shape (n_responses,)
        Mode of every response, the largest is 0; -1 for noise.

    Notes
    -----
    Equal rows count once when density is measured. A row outside of every dense region that alone has as many responses
    as the smallest mode is a mode of its own: twenty thousand copies of one text are one mode, not noise.

    Examples
    --------
    >>> vectors = np.repeat([[1.0, 0.0], [0.0, 1.0]], [9, 6], axis=0)
    >>> find_modes(vectors, np.random.default_rng(0))
    array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    """
    first, inverse, counts = distinct_rows(vectors)
    unit = similarity.unit_rows(np.asarray(vectors)[first])
    labels = dense_regions(unit, rng, neighbours, n_neighbors, n_dims, n_epochs, size_factor)
    alone = np.flatnonzero((labels == NOISE) & (counts >= smallest_mode(len(inverse), size_factor)))
    labels[alone] = labels.max(initial=NOISE) + 1 + np.arange(len(alone))
    return _by_size(labels[inverse])


def lexical_modes(lexical, rng, **settings):
    """Modes that words alone make; a response without a word is noise.

    Parameters
    ----------
    lexical : ndarray of float, shape (n_responses, n_dims)
        From `lexical_coordinates`.
    rng : numpy.random.Generator
    **settings
        Of `find_modes`.

    Returns
    -------
    ndarray of int, shape (n_responses,)

    Examples
    --------
    >>> lexical_modes(np.repeat([[1.0, 0.0], [0.0, 0.0]], [5, 2], axis=0), np.random.default_rng(0))
    array([ 0,  0,  0,  0,  0, -1, -1])
    """
    labels = np.full(len(lexical), NOISE)
    worded = np.flatnonzero(np.einsum("ij,ij->i", lexical, lexical) > 1e-12)
    if len(worded):
        labels[worded] = find_modes(lexical[worded], rng, **settings)
    return labels


def dense_regions(unit, rng, neighbours=None, n_neighbors=15, n_dims=5, n_epochs=60, size_factor=SIZE_FACTOR):
    """Modes of distinct rows; fewer than two of the smallest modes make none.

    From `UMAP_FROM` rows on HDBSCAN on a UMAP reduction; with fewer, groups of average linkage, see `linked_groups`.

    Examples
    --------
    >>> dense_regions(np.eye(5), np.random.default_rng(0))
    array([-1, -1, -1, -1, -1])
    """
    min_size = smallest_mode(len(unit), size_factor)
    if len(unit) < 2 * min_size:
        return np.full(len(unit), NOISE)
    if len(unit) < UMAP_FROM:
        return linked_groups(unit, min_size)
    import hdbscan

    reduced = umap_coordinates(
        unit, rng, n_dims=n_dims, n_neighbors=n_neighbors, n_epochs=n_epochs, neighbours=neighbours
    )
    found = hdbscan.HDBSCAN(min_cluster_size=min_size, min_samples=min(min_size, 15), core_dist_n_jobs=1)
    return found.fit_predict(reduced)


def linked_groups(unit, min_size, cuts=LINKED_CUTS):
    """Groups of average linkage, cut where they are most separate; small groups are noise.

    Parameters
    ----------
    unit : ndarray of float, shape (n_rows, n_dims)
        Rows of length 1.
    min_size : int
        Rows of the smallest group.
    cuts : sequence of float
        Mean cosine distances of two groups that stay apart, as shares of the mean over all pairs: no encoder's own
        scale enters. The one with the largest mean silhouette over all rows is taken, the first of equal ones.

    Returns
    -------
    ndarray of int, shape (n_rows,)
        Group of every row, the largest is 0; -1 for noise.

    Examples
    --------
    >>> linked_groups(np.eye(3)[[0, 0, 1, 1, 1, 2]], 2)
    array([ 1,  1,  0,  0,  0, -1])
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    distance = np.clip(1 - (unit @ unit.T)[np.triu_indices(len(unit), 1)].astype(float), 0, None)
    if not distance.any():
        return np.zeros(len(unit), int)
    tree, found = linkage(distance, "average"), []
    for cut in cuts:
        groups = fcluster(tree, cut * distance.mean(), "distance") - 1
        found.append(_by_size(np.where(np.bincount(groups)[groups] >= min_size, groups, NOISE)))
    separate = [silhouettes(unit, labels).mean().round(9) for labels in found]
    return found[int(np.argmax(separate))]


def _by_size(labels):
    """Number modes from the largest to the smallest, ties by first appearance of the old number."""
    labels = np.where(labels == NOISE, NOISE, np.unique(labels, return_inverse=True)[1] - (NOISE in labels))
    sizes = np.bincount(labels[labels != NOISE])
    rank = np.empty(len(sizes), int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return np.where(labels == NOISE, NOISE, rank[labels] if len(sizes) else NOISE)


def medoids(vectors, labels):
    """Row of every mode with the largest mean cosine to the mode's responses; repeated responses weigh more.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
    labels : ndarray of int, shape (n_responses,)

    Returns
    -------
    ndarray of int, shape (n_modes,)
        Ties by row index.

    Examples
    --------
    >>> medoids(np.array([[1, 0], [1, 0.2], [1, 0.4], [0, 1]]), labels=np.array([0, 0, 0, 1]))
    array([1, 3])
    """
    unit, labels = similarity.unit_rows(vectors), labels_of(labels, len(vectors))
    chosen = []
    for mode in range(labels.max(initial=NOISE) + 1):
        rows = np.flatnonzero(labels == mode)
        chosen.append(rows[np.argmax(np.round(unit[rows] @ unit[rows].sum(0, dtype=float), 6))])
    return np.array(chosen, int)


def adjusted_rand(a, b, *, noise="singletons"):
    """Adjusted Rand index of two labellings of the same responses.

    Parameters
    ----------
    a, b : ndarray of int, shape (n_responses,)
        -1 is noise.
    noise : {"singletons", "dropped"}
        Every noise response is a mode of its own, or responses that are noise in either are left out.

    Returns
    -------
    float
        1 for equal partitions, about 0 for unrelated ones; NaN without responses.

    Examples
    --------
    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    from sklearn.metrics import adjusted_rand_score

    if noise not in ("singletons", "dropped"):
        raise ValueError(f"The value for `noise` must be one of ['singletons', 'dropped'], but {noise!r} was passed.")
    a, b = (labels_of(x, len(x)) for x in (a, b))
    if len(a) != len(b):
        raise ValueError(f"Both labellings must be of the same responses, but they have {len(a)} and {len(b)}.")
    if noise == "dropped":
        kept = (a != NOISE) & (b != NOISE)
        a, b = a[kept], b[kept]
    return float(adjusted_rand_score(_singletons(a), _singletons(b))) if len(a) else float("nan")


def _singletons(labels):
    alone = np.flatnonzero(labels == NOISE)
    labels = labels.copy()
    labels[alone] = labels.max(initial=NOISE) + 1 + np.arange(len(alone))
    return labels


def silhouettes(vectors, labels):
    r"""Silhouette of every response by cosine distance, in the space of the vectors, noise 0.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
    labels : ndarray of int, shape (n_responses,)

    Returns
    -------
    ndarray of float, shape (n_responses,)
        :math:`(b - a) / \max(a, b)` with a the mean distance to the others of its mode and b to the nearest other mode;
        where there is one mode, to the noise; where there is nothing else, and in modes of one response, 0.

    Notes
    -----
    Mean cosine distance to a group needs its sum vector only, so no n-by-n matrix is built (Rousseeuw 1987).

    Examples
    --------
    >>> silhouettes(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]), np.array([0, 0, 1, 1])).round(2)
    array([0.99, 0.99, 0.99, 0.99])
    """
    unit, labels = similarity.unit_rows(vectors), labels_of(labels, len(vectors))
    n_modes = labels.max(initial=NOISE) + 1
    result = np.zeros(len(unit))
    groups = labels if n_modes > 1 else np.where(labels == NOISE, 1, 0)
    member = groups != NOISE
    if n_modes == 0 or groups.max() == 0:
        return result
    sums, counts = similarity.cell_sums(unit[member], groups[member], groups.max() + 1)
    rows = np.flatnonzero(labels != NOISE)
    own = labels[rows]
    cosine = unit[rows] @ (sums / counts[:, None]).T
    at = np.arange(len(rows)), own
    n_own = counts[own]
    within = 1 - (cosine[at] * n_own - 1) / np.maximum(n_own - 1, 1)
    cosine[at] = -np.inf
    between = 1 - cosine.max(1)
    within, between = np.maximum(within, 0), np.maximum(between, 0)
    larger = np.maximum(within, between)
    value = np.divide(between - within, larger, out=np.zeros(len(rows)), where=larger > 1e-12)
    result[rows] = np.where(n_own > 1, value, 0)
    return result


def recovery(labels, reruns):
    """How well every mode is found again: the best Jaccard index among a rerun's modes, averaged over reruns.

    Parameters
    ----------
    labels : ndarray of int, shape (n_responses,)
    reruns : sequence of (rows, labels)
        Rows of a rerun, and their modes there; modes are compared among these rows.

    Returns
    -------
    ndarray of float, shape (n_modes,)
        1: found again exactly. NaN without reruns that hold any of its responses. Source: Hennig 2007, who calls 0.75
        or more stable.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 1])
    >>> recovery(labels, [(np.arange(4), np.array([0, 0, 1, 1])), (np.arange(4), np.array([0, 0, 0, 0]))])
    array([0.75, 0.75])
    """
    labels = labels_of(labels, len(labels))
    n_modes = labels.max(initial=NOISE) + 1
    best = np.full((len(reruns), n_modes), np.nan)
    for r, (rows, other) in enumerate(reruns):
        first, second = labels[rows] + 1, np.asarray(other) + 1  # 0 is noise
        shape = n_modes + 1, second.max(initial=0) + 1
        common = np.bincount(first * shape[1] + second, minlength=shape[0] * shape[1]).reshape(shape)
        union = common.sum(1)[:, None] + common.sum(0)[None] - common
        index = common[1:, 1:] / np.maximum(union[1:, 1:], 1)
        found = index.max(1, initial=0)
        best[r] = np.where(common[1:].sum(1) > 0, found, np.nan)
    if not len(best):
        return np.full(n_modes, np.nan)
    known = ~np.isnan(best)
    return np.where(known, best, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


def lexical_coordinates(words, rng, n_dims=50):
    """TF-IDF vectors of words and word pairs, reduced by a truncated SVD: an encoder that knows no meaning.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every response.
    rng : numpy.random.Generator
    n_dims : int
        Cut to what the responses allow.

    Returns
    -------
    ndarray of float32, shape (n_responses, n_dims)
        A response without a word is a zero row; so is every response where none has any.

    Examples
    --------
    >>> words = [["time", "river"], ["time", "thief"], ["a", "river"]]
    >>> lexical_coordinates(words, np.random.default_rng(0)).shape
    (3, 2)
    """
    from sklearn.decomposition import TruncatedSVD

    texts, inverse = np.unique(np.array([" ".join(w) for w in words], object), return_inverse=True)
    if not any(texts):
        return np.zeros((len(words), 1), np.float32)
    tfidf = diversity.lexical_vectors([text.split() for text in texts])
    k = min(n_dims, tfidf.shape[1] - 1, len(texts) - 1)
    if k < 1:
        return np.asarray(tfidf.toarray(), np.float32)[inverse]
    reduced = TruncatedSVD(k, random_state=seed_of(rng)).fit_transform(tfidf)
    reduced[np.asarray(tfidf.getnnz(axis=1)) == 0] = 0
    return reduced.astype(np.float32)[inverse]


def balanced_kmeans(vectors, n_clusters, rng, capacities=None):
    """k-means whose clusters have given sizes, as the released analysis has it: centres by k-means, greedy assignment.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
    n_clusters : int
    rng : numpy.random.Generator
    capacities : sequence of int, optional
        Most responses of every cluster; equal, remainders to the first, where None.

    Returns
    -------
    ndarray of int, shape (n_responses,)
        Pairs of response and centre are taken from the nearest to the farthest; a pair counts if the response is free
        and the cluster has room.

    Examples
    --------
    >>> vectors = np.array([[0.0, 1], [0, 1.1], [0, 1.2], [5, 5]])
    >>> np.bincount(balanced_kmeans(vectors, 2, np.random.default_rng(0)))
    array([2, 2])
    """
    from scipy.spatial.distance import cdist
    from sklearn.cluster import KMeans

    unit = similarity.unit_rows(vectors)
    n = len(unit)
    if not 1 <= n_clusters <= n:
        raise ValueError(f"`n_clusters` must lie in 1 to {n}, the number of responses, but {n_clusters} was passed.")
    if capacities is None:
        capacities = np.full(n_clusters, n // n_clusters) + (np.arange(n_clusters) < n % n_clusters)
    room = np.array(capacities, int)
    if len(room) != n_clusters or room.sum() < n:
        raise ValueError(f"{n_clusters} capacities must hold {n} responses, but {list(capacities)} were passed.")
    n_distinct = len(distinct_rows(unit)[0])
    model = KMeans(min(n_clusters, n_distinct), n_init=10, random_state=seed_of(rng)).fit(unit)
    centres = model.cluster_centers_[np.arange(n_clusters) % len(model.cluster_centers_)]  # equal responses share one
    distance = cdist(unit, centres)
    labels = np.full(n, NOISE)
    for pair in np.argsort(distance, axis=None, kind="stable"):
        answer, cluster = divmod(int(pair), n_clusters)
        if labels[answer] == NOISE and room[cluster] > 0:
            labels[answer] = cluster
            room[cluster] -= 1
    return labels


def seed_of(rng):
    """Draw a seed for a library that takes no generator.

    Examples
    --------
    >>> seed_of(np.random.default_rng(0)) == seed_of(np.random.default_rng(0))
    True
    """
    return int(rng.integers(2**31))

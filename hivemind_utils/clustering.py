"""Modes of the answers to one prompt: maps, dense regions, what they are made of, and whether they hold.

Arrays in, arrays out; one prompt at a time. Answers with equal vectors count once wherever density matters, so that a
text given a hundred times makes no dense region by itself; their number comes back in through sizes. Randomness arrives
as a generator. UMAP is seeded from it and runs on one thread: the same generator gives the same map on one machine.
The rule that says which modes hold is `supported`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hivemind_utils import similarity

NOISE = -1
MIN_SIZE = 5  # no mode has fewer answers
_EXACT = 20_000  # up to so many rows neighbours are exact
_COMPONENTS = 50  # principal components in which neighbours of more rows are sought


def distinct_rows(vectors):
    """Find equal rows.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)

    Returns
    -------
    first : ndarray of int, shape (n_distinct,)
        A row of every kind, ordered by content, whatever the order of the rows.
    inverse : ndarray of int, shape (n_answers,)
        Kind of every row.
    counts : ndarray of int, shape (n_distinct,)
    """
    vectors = np.ascontiguousarray(vectors)
    if vectors.ndim != 2:
        raise ValueError(f"`vectors` must have shape (n_answers, n_dims), but {vectors.shape} was passed.")
    as_bytes = vectors.view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    _, first, inverse, counts = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    return first, inverse, counts


def principal_components(vectors, n_components=2):
    """Principal components of the answers, as in the paper's Figure 1, with the variance they explain.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)
        Not normalised here: the paper's are not.
    n_components : int

    Returns
    -------
    coordinates : ndarray of float, shape (n_answers, n_components)
        Missing components (fewer rows or dimensions) are 0.
    explained : ndarray of float, shape (n_components,)
        Share of the variance; 0 where there is no variance.
    """
    from sklearn.decomposition import PCA

    similarity.unit_rows(vectors)  # refuses rows that are zero or not finite
    n, n_dims = vectors.shape
    coordinates, explained = np.zeros((n, n_components)), np.zeros(n_components)
    k = min(n_components, n, n_dims)
    if k and np.ptp(vectors, axis=0).max() > 0:
        model = PCA(k, svd_solver="covariance_eigh" if n > n_dims else "full")
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
    index = NNDescent(reduced, n_neighbors=n_neighbors, random_state=_seed(rng), n_jobs=1, low_memory=True)
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
    """
    import warnings

    from sklearn.decomposition import PCA

    unit = similarity.unit_rows(vectors)
    if len(unit) < 10:
        return principal_components(unit, n_dims)[0]
    if neighbours is None:
        neighbours = nearest_neighbours(unit, min(n_neighbors, len(unit) - 1), rng)
    seed, k = _seed(rng), min(n_dims, unit.shape[1], len(unit) - 2)
    start = PCA(k, svd_solver="randomized", iterated_power=2, random_state=seed).fit_transform(unit)
    model = _umap()(
        n_components=k, n_neighbors=neighbours[0].shape[1], n_epochs=n_epochs, min_dist=min_dist, metric="cosine",
        init=start, random_state=seed, n_jobs=1,
        precomputed_knn=(*neighbours, None), force_approximation_algorithm=True,  # use them for few rows too
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # new rows could not be mapped: none will be
        coordinates = model.fit_transform(unit).astype(float)
    return np.pad(coordinates, ((0, 0), (0, n_dims - coordinates.shape[1])))


def _umap():
    """Import UMAP's class; the package warns of a part of it that needs Tensorflow."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP
    return UMAP


def smallest_mode(n, size_factor=0.7):
    """Fewest answers that make a mode among `n`: ``size_factor`` times the square root of n, at least 5."""
    return max(MIN_SIZE, round(size_factor * n**0.5))


def find_modes(vectors, rng, *, neighbours=None, n_neighbors=15, n_dims=5, n_epochs=60, size_factor=0.7):
    """Modes of the answers to one prompt: HDBSCAN on a UMAP reduction of the distinct rows.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, vector_dims)
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
    ndarray of int, shape (n_answers,)
        Mode of every answer, the largest is 0; -1 for noise.

    Notes
    -----
    Equal rows count once when density is measured. A row outside of every dense region that alone has as many answers
    as the smallest mode is a mode of its own: twenty thousand copies of one text are one mode, not noise.
    """
    first, inverse, counts = distinct_rows(vectors)
    unit = similarity.unit_rows(np.asarray(vectors)[first])
    labels = _dense_regions(unit, rng, neighbours, n_neighbors, n_dims, n_epochs, size_factor)
    alone = np.flatnonzero((labels == NOISE) & (counts >= smallest_mode(len(inverse), size_factor)))
    labels[alone] = labels.max(initial=NOISE) + 1 + np.arange(len(alone))
    return _by_size(labels[inverse])


def _dense_regions(unit, rng, neighbours=None, n_neighbors=15, n_dims=5, n_epochs=60, size_factor=0.7):
    """Modes of distinct rows; fewer than two of the smallest modes make none."""
    min_size = smallest_mode(len(unit), size_factor)
    if len(unit) < 2 * min_size:
        return np.full(len(unit), NOISE)
    import hdbscan

    reduced = umap_coordinates(
        unit, rng, n_dims=n_dims, n_neighbors=n_neighbors, n_epochs=n_epochs, neighbours=neighbours
    )
    found = hdbscan.HDBSCAN(min_cluster_size=min_size, min_samples=min(min_size, 15), core_dist_n_jobs=1)
    return found.fit_predict(reduced)


def _by_size(labels):
    """Number modes from the largest to the smallest, ties by first appearance of the old number."""
    sizes = np.bincount(labels[labels != NOISE])
    rank = np.empty(len(sizes), int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return np.where(labels == NOISE, NOISE, rank[labels] if len(sizes) else NOISE)


def medoids(vectors, labels):
    """Row of every mode with the largest mean cosine to the mode's answers; repeated answers weigh more.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)
    labels : ndarray of int, shape (n_answers,)

    Returns
    -------
    ndarray of int, shape (n_modes,)
        Ties by row index.
    """
    unit, labels = similarity.unit_rows(vectors), _labels(labels, len(vectors))
    chosen = []
    for mode in range(labels.max(initial=NOISE) + 1):
        rows = np.flatnonzero(labels == mode)
        chosen.append(rows[np.argmax(np.round(unit[rows] @ unit[rows].sum(0, dtype=float), 6))])
    return np.array(chosen, int)


def keyphrases(words, labels, n_phrases=3, exclude=()):
    r"""Words and word pairs that set every mode apart: class-based TF-IDF.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every answer.
    labels : ndarray of int, shape (n_answers,)
        Mode of every answer; noise is a class to differ from.
    n_phrases : int
        At most so many a mode; a phrase shares no word with a better one.
    exclude : collection of str
        Words that name nothing, such as the prompt's own.

    Returns
    -------
    list of list of str
        Per mode, best first; empty where its answers hold no telling word.

    Notes
    -----
    The weight of phrase t in class c is :math:`tf_{tc} \log(1 + A / f_t)` with :math:`tf` the share of the class's
    phrases, :math:`f_t` the answers with t, :math:`A` the mean number of phrases a class (Grootendorst 2022). A phrase
    counts once per answer. English function words make no phrase, nor do they begin or end one.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    labels = _labels(labels, len(words))
    n_modes = labels.max(initial=NOISE) + 1

    dull = ENGLISH_STOP_WORDS | set(exclude)

    def phrases(listed):
        single = {word for word in listed if word not in dull}
        return single | {f"{a} {b}" for a, b in pairwise(listed) if not {a, b} & dull}

    found = [phrases(listed) for listed in words]
    if n_modes == 0 or not any(found):
        return [[] for _ in range(n_modes)]
    vectoriser = CountVectorizer(analyzer=sorted)
    counts = vectoriser.fit_transform(found).tocsr()
    terms = vectoriser.get_feature_names_out()
    per_class = np.array([np.asarray(counts[labels == mode].sum(0)).ravel() for mode in (*range(n_modes), NOISE)])
    totals = per_class.sum(1)
    weight = per_class / np.maximum(totals, 1)[:, None]
    weight = weight * np.log1p(totals[totals > 0].mean() / per_class.sum(0))
    chosen = []
    for mode in range(n_modes):
        best, used = [], set()
        for term in np.argsort(-weight[mode], kind="stable")[: 20 * n_phrases]:
            if weight[mode, term] <= 0 or len(best) == n_phrases:
                break
            if not used & set(terms[term].split()):
                best.append(str(terms[term]))
                used |= set(terms[term].split())
        chosen.append(best)
    return chosen


def adjusted_rand(a, b, *, noise="singletons"):
    """Adjusted Rand index of two labellings of the same answers.

    Parameters
    ----------
    a, b : ndarray of int, shape (n_answers,)
        -1 is noise.
    noise : {"singletons", "dropped"}
        Every noise answer is a mode of its own, or answers that are noise in either are left out.

    Returns
    -------
    float
        1 for equal partitions, about 0 for unrelated ones; NaN without answers.
    """
    from sklearn.metrics import adjusted_rand_score

    if noise not in ("singletons", "dropped"):
        raise ValueError(f"The value for `noise` must be one of ['singletons', 'dropped'], but {noise!r} was passed.")
    a, b = (_labels(x, len(x)) for x in (a, b))
    if len(a) != len(b):
        raise ValueError(f"Both labellings must be of the same answers, but they have {len(a)} and {len(b)}.")
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
    r"""Silhouette of every answer by cosine distance, in the space of the vectors, noise 0.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)
    labels : ndarray of int, shape (n_answers,)

    Returns
    -------
    ndarray of float, shape (n_answers,)
        :math:`(b - a) / \max(a, b)` with a the mean distance to the others of its mode and b to the nearest other mode;
        where there is one mode, to the noise; where there is nothing else, and in modes of one answer, 0.

    Notes
    -----
    Mean cosine distance to a group needs its sum vector only, so no n-by-n matrix is built (Rousseeuw 1987).
    """
    unit, labels = similarity.unit_rows(vectors), _labels(labels, len(vectors))
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
    labels : ndarray of int, shape (n_answers,)
    reruns : sequence of (rows, labels)
        Rows of a rerun, and their modes there; modes are compared among these rows.

    Returns
    -------
    ndarray of float, shape (n_modes,)
        1: found again exactly. NaN without reruns that hold any of its answers. Source: Hennig 2007, who calls 0.75 or
        more stable.
    """
    labels = _labels(labels, len(labels))
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


def gaussian_like(vectors, rng):
    """Draw as many rows from the Gaussian with the mean and covariance of the rows given: the same cloud, no modes.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_rows, n_dims)
        n_rows >= 2.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (n_rows, n_dims)

    Notes
    -----
    Mixing the centred rows by a Gaussian matrix draws from their covariance without writing it down; for many rows the
    principal axes are cheaper.
    """
    vectors = np.asarray(vectors, np.float32)
    n, n_dims = vectors.shape
    if n < 2:
        raise ValueError(f"A covariance needs at least two rows, but {n} were passed.")
    mean = vectors.mean(0, dtype=float).astype(np.float32)
    centred = vectors - mean
    if n <= max(n_dims, 4096):
        return mean + rng.standard_normal((n, n), np.float32) @ centred / np.float32(np.sqrt(n - 1))
    variance, axes = np.linalg.eigh(centred.T @ centred / np.float32(n - 1))
    return mean + (rng.standard_normal((n, n_dims), np.float32) * np.sqrt(np.clip(variance, 0, None))) @ axes.T


def shared_words(lexical, labels, rng, n_permutations=199):
    """Probability that random groups of answers share as many words as each mode does: the lexical encoder's vote.

    Parameters
    ----------
    lexical : ndarray of float, shape (n_answers, n_dims)
        Vectors that know words only; zero rows allowed.
    labels : ndarray of int, shape (n_answers,)
    rng : numpy.random.Generator
    n_permutations : int
        Permutations of the labels over answers.

    Returns
    -------
    ndarray of float, shape (n_modes,)
        p-value of the mean inner product within the mode; never below 1 / (n_permutations + 1).
    """
    labels = _labels(labels, len(lexical))
    n_modes = labels.max(initial=NOISE) + 1
    lengths = np.einsum("ij,ij->i", lexical, lexical)

    def within(order):
        member = labels[None] == np.arange(n_modes)[:, None]
        sums = member.astype(lexical.dtype) @ lexical[order]
        return np.einsum("ij,ij->i", sums, sums) - member @ lengths[order]

    found = within(np.arange(len(labels)))
    as_high = sum(within(rng.permutation(len(labels))) >= found - 1e-9 for _ in range(n_permutations))
    return (1 + as_high) / (1 + n_permutations) * np.ones(n_modes)


@dataclass(frozen=True)
class Evidence:
    """What speaks for the modes of one prompt; arrays of shape (n_modes,) unless said otherwise.

    A single text that alone has as many answers as the smallest mode counts as supported: there is no density to doubt.

    ``null_*`` have one entry per Gaussian draw, ``agreement`` maps the kind of rerun to its adjusted Rand indices.
    """

    separation: np.ndarray
    found_again_seeds: np.ndarray
    found_again_subsamples: np.ndarray
    word_p: np.ndarray
    supported: np.ndarray
    overall_separation: float
    null_level: float
    null_bound: float
    null_separation: np.ndarray
    null_modes: np.ndarray
    null_noise: np.ndarray
    agreement: dict
    agreement_without_noise: dict


def evidence(
    vectors, labels, rng, *, lexical=None, neighbours=None, n_seeds=2, n_subsamples=3, subsample=0.8, n_gaussians=7,
    **settings,
):  # fmt: skip
    """Run the pipeline of `find_modes` again, on the answers and on structureless data, and say which modes hold.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)
    labels : ndarray of int, shape (n_answers,)
        From `find_modes` with the same settings.
    rng : numpy.random.Generator
        Spawned per rerun.
    lexical : ndarray of float, shape (n_answers, n_lexical_dims), optional
        Vectors that know words only, as from `lexical_coordinates`; equal answers have equal rows.
    neighbours : (ndarray, ndarray), optional
        As for `find_modes`.
    n_seeds, n_subsamples, n_gaussians : int
        Reruns with another seed, on a random part of the distinct answers, and on Gaussians (at least 2).
    subsample : float
        That part, 0 to 1.
    **settings
        Of `find_modes`.

    Returns
    -------
    Evidence
    """
    if n_gaussians < 2:
        raise ValueError(f"The spread of the null needs at least 2 Gaussians, but n_gaussians = {n_gaussians}.")
    first, inverse, _ = distinct_rows(vectors)
    unit = similarity.unit_rows(np.asarray(vectors)[first])
    labels = _labels(labels, len(inverse))[first]
    n = len(unit)
    n_modes = labels.max(initial=NOISE) + 1
    by_seed, by_part, by_null, by_words = (
        r.spawn(k) for r, k in zip(rng.spawn(4), (n_seeds, n_subsamples, n_gaussians, 2), strict=True)
    )
    everything = np.arange(n)
    seeds = [(everything, _dense_regions(unit, r, neighbours, **settings)) for r in by_seed]
    parts = [np.sort(r.choice(n, max(1, round(subsample * n)), replace=False)) for r in by_part]
    parts = [(rows, _dense_regions(unit[rows], r, **settings)) for rows, r in zip(parts, by_part, strict=True)]
    single = np.bincount(labels[labels != NOISE], minlength=n_modes) == 1  # one text, many times: no matter of density
    reruns = {"seeds": seeds, "subsamples": parts}
    if lexical is not None:
        lexical = np.asarray(lexical)[first]
        worded = np.flatnonzero(np.einsum("ij,ij->i", lexical, lexical) > 0)
        apart = worded[distinct_rows(lexical[worded])[0]]  # texts may differ in what words do not see
        reruns["lexical"] = [(apart, _dense_regions(lexical[apart], by_words[0], **settings))]
        word_p = shared_words(lexical, labels, by_words[1])
    else:
        word_p = np.full(n_modes, np.nan)
    value = silhouettes(unit, labels)
    sizes = np.bincount(labels[labels != NOISE], minlength=n_modes)
    separation = np.bincount(labels[labels != NOISE], value[labels != NOISE], n_modes) / np.maximum(sizes, 1)
    null = [_null(unit, r, settings) for r in by_null] if n >= 2 else [(0.0, 0, 1.0)] * n_gaussians
    null_separation, null_modes, null_noise = map(np.array, zip(*null, strict=True))
    bound = prediction_bound(null_separation)
    in_modes = 1 - null_noise
    level = float(np.mean(null_separation[in_modes > 0] / in_modes[in_modes > 0])) if in_modes.any() else 0.0
    again = {name: np.where(single, 1.0, recovery(labels, reruns[name])) for name in ("seeds", "subsamples")}
    return Evidence(
        separation=np.where(single, 1.0, separation),
        found_again_seeds=again["seeds"],
        found_again_subsamples=again["subsamples"],
        word_p=word_p,
        supported=single | supported(separation, level, value.mean(), bound, *again.values(), word_p),
        overall_separation=float(value.mean()),
        null_level=level,
        null_bound=bound,
        null_separation=null_separation,
        null_modes=null_modes,
        null_noise=null_noise,
        agreement=_agreement(labels, reruns, "singletons"),
        agreement_without_noise=_agreement(labels, reruns, "dropped"),
    )


def _null(unit, rng, settings):
    drawn = similarity.unit_rows(gaussian_like(unit, rng))
    labels = _dense_regions(drawn, rng, **settings)
    return silhouettes(drawn, labels).mean(), labels.max(initial=NOISE) + 1, np.mean(labels == NOISE)


def _agreement(labels, reruns, noise):
    return {
        name: np.array([adjusted_rand(labels[rows], other, noise=noise) for rows, other in runs])
        for name, runs in reruns.items()
    }


def prediction_bound(draws, level=0.95):
    """Value that one more draw of the same normal distribution exceeds with probability (1 - level) / 2.

    Parameters
    ----------
    draws : ndarray of float, shape (n_draws,)
        At least 2.
    level : float

    Returns
    -------
    float
        Mean + t · sd · sqrt(1 + 1/n): few draws make a wide bound.
    """
    from scipy.stats import t

    n = len(draws)
    return float(np.mean(draws) + t.ppf((1 + level) / 2, n - 1) * np.std(draws, ddof=1) * np.sqrt(1 + 1 / n))


def supported(
    separation, null_level, overall_separation, null_bound, seeds, subsamples, word_p, *, stable=0.75, alpha=0.05
):
    """Which modes the evidence supports.

    The modes as a whole must lie further apart than the same pipeline's modes of Gaussians with the same mean and
    covariance (`prediction_bound`); else none holds. A single mode holds if (1) it is no less apart than modes of
    Gaussians are on average, (2) it is found again with other seeds and (3) in subsamples, mean Jaccard index of at
    least `stable`, and (4) its answers share more words than random groups do.

    Parameters
    ----------
    separation, seeds, subsamples, word_p : ndarray of float, shape (n_modes,)
        Mean silhouette, mean Jaccard of reruns (`recovery`), p-value of `shared_words` (NaN: no words known, no say).
    null_level : float
        Mean silhouette of a Gaussian's answers in modes.
    overall_separation, null_bound : float
        Mean silhouette of all answers, noise 0; `prediction_bound` of the same of Gaussians.
    stable, alpha : float

    Returns
    -------
    ndarray of bool, shape (n_modes,)
    """
    apart = (separation > null_level) & (overall_separation > null_bound)
    worded = np.isnan(word_p) | (word_p <= alpha)
    return apart & (np.nan_to_num(seeds) >= stable) & (np.nan_to_num(subsamples) >= stable) & worded


def lexical_coordinates(words, rng, n_dims=50):
    """TF-IDF vectors of words and word pairs, reduced by a truncated SVD: an encoder that knows no meaning.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every answer.
    rng : numpy.random.Generator
    n_dims : int
        Cut to what the answers allow.

    Returns
    -------
    ndarray of float32, shape (n_answers, n_dims)
        An answer without a word is a zero row; so is every answer where none has any.
    """
    from sklearn.decomposition import TruncatedSVD

    from hivemind_utils import diversity

    texts, inverse = np.unique(np.array([" ".join(w) for w in words], object), return_inverse=True)
    if not any(texts):
        return np.zeros((len(words), 1), np.float32)
    tfidf = diversity.lexical_vectors([text.split() for text in texts])
    k = min(n_dims, tfidf.shape[1] - 1, len(texts) - 1)
    if k < 1:
        return np.asarray(tfidf.toarray(), np.float32)[inverse]
    reduced = TruncatedSVD(k, random_state=_seed(rng)).fit_transform(tfidf)
    reduced[np.asarray(tfidf.getnnz(axis=1)) == 0] = 0
    return reduced.astype(np.float32)[inverse]


def balanced_kmeans(vectors, n_clusters, rng, capacities=None):
    """k-means whose clusters have given sizes, as the released analysis has it: centres by k-means, greedy assignment.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_answers, n_dims)
    n_clusters : int
    rng : numpy.random.Generator
    capacities : sequence of int, optional
        Most answers of every cluster; equal, remainders to the first, where None.

    Returns
    -------
    ndarray of int, shape (n_answers,)
        Pairs of answer and centre are taken from the nearest to the farthest; a pair counts if the answer is free and
        the cluster has room.
    """
    from scipy.spatial.distance import cdist
    from sklearn.cluster import KMeans

    unit = similarity.unit_rows(vectors)
    n = len(unit)
    if not 1 <= n_clusters <= n:
        raise ValueError(f"`n_clusters` must lie in 1 to {n}, the number of answers, but {n_clusters} was passed.")
    if capacities is None:
        capacities = np.full(n_clusters, n // n_clusters) + (np.arange(n_clusters) < n % n_clusters)
    room = np.array(capacities, int)
    if len(room) != n_clusters or room.sum() < n:
        raise ValueError(f"{n_clusters} capacities must hold {n} answers, but {list(capacities)} were passed.")
    n_distinct = len(distinct_rows(unit)[0])
    model = KMeans(min(n_clusters, n_distinct), n_init=10, random_state=_seed(rng)).fit(unit)
    centres = model.cluster_centers_[np.arange(n_clusters) % len(model.cluster_centers_)]  # equal answers share one
    distance = cdist(unit, centres)
    labels = np.full(n, NOISE)
    for pair in np.argsort(distance, axis=None, kind="stable"):
        answer, cluster = divmod(int(pair), n_clusters)
        if labels[answer] == NOISE and room[cluster] > 0:
            labels[answer] = cluster
            room[cluster] -= 1
    return labels


def _labels(labels, n):
    labels = np.asarray(labels)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` must be {n} integers, one per answer, but {labels.dtype} {labels.shape} was passed."
        )
    if len(labels) and labels.min() < NOISE:
        raise ValueError(f"`labels` must be modes from 0, or -1 for noise, but {labels.min()} was passed.")
    return labels


def _seed(rng):
    return int(rng.integers(2**31))

"""Evidence that a mode is more than a piece of a structureless cloud."""

from dataclasses import dataclass

import numpy as np

from hivemind_utils.metrics import clustering, similarity
from hivemind_utils.metrics._labels import NOISE, labels_of

STABLE = 0.75  # mean Jaccard index from which on a mode is found again (Hennig 2007)
ALPHA = 0.05  # of the test of shared words


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

    Examples
    --------
    >>> gaussian_like(np.eye(4), np.random.default_rng(0)).shape
    (4, 4)
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
    """Probability that random groups of responses share as many words as each mode does: the lexical encoder's vote.

    Parameters
    ----------
    lexical : ndarray of float, shape (n_responses, n_dims)
        Vectors that know words only; zero rows allowed.
    labels : ndarray of int, shape (n_responses,)
    rng : numpy.random.Generator
    n_permutations : int
        Permutations of the labels over responses.

    Returns
    -------
    ndarray of float, shape (n_modes,)
        p-value of the mean inner product within the mode; never below 1 / (n_permutations + 1).

    Examples
    --------
    >>> lexical, labels = np.repeat(np.eye(2), 6, axis=0), np.repeat([0, 1], 6)
    >>> shared_words(lexical, labels, np.random.default_rng(0)) <= 0.05
    array([ True,  True])
    """
    labels = labels_of(labels, len(lexical))
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

    A single text that has as many responses as the smallest mode counts as supported: there is no density to doubt.

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
    fewest: int  # modes that hold in every rerun
    most: int  # modes that hold in some rerun; all modes where nothing but the distance of the whole is missing


def evidence(
    vectors, labels, rng, *, lexical=None, neighbours=None, n_seeds=2, n_subsamples=3, subsample=0.8, n_gaussians=7,
    **settings,
):  # fmt: skip
    """Run the pipeline of `find_modes` again, on the responses and on structureless data, and say which modes hold.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
    labels : ndarray of int, shape (n_responses,)
        From `find_modes` with the same settings.
    rng : numpy.random.Generator
        Spawned per rerun.
    lexical : ndarray of float, shape (n_responses, n_lexical_dims), optional
        Vectors that know words only, as from `lexical_coordinates`; equal responses have equal rows.
    neighbours : (ndarray, ndarray), optional
        As for `find_modes`.
    n_seeds, n_subsamples, n_gaussians : int
        Reruns with another seed, on a random part of the distinct responses, and on Gaussians (at least 2).
    subsample : float
        That part, 0 to 1.
    **settings
        Of `find_modes`.

    Returns
    -------
    Evidence

    Examples
    --------
    >>> vectors = np.repeat(np.eye(2), [9, 6], axis=0)
    >>> labels = np.repeat([0, 1], [9, 6])
    >>> evidence(vectors, labels, np.random.default_rng(0), n_gaussians=2).supported
    array([ True,  True])
    """
    if n_gaussians < 2:
        raise ValueError(f"The spread of the null needs at least 2 Gaussians, but n_gaussians = {n_gaussians}.")
    first, inverse, _ = clustering.distinct_rows(vectors)
    unit = similarity.unit_rows(np.asarray(vectors)[first])
    labels = labels_of(labels, len(inverse))[first]
    n = len(unit)
    n_modes = labels.max(initial=NOISE) + 1
    by_seed, by_part, by_null, by_words = (
        r.spawn(k) for r, k in zip(rng.spawn(4), (n_seeds, n_subsamples, n_gaussians, 2), strict=True)
    )
    everything = np.arange(n)
    seeds = [(everything, clustering.dense_regions(unit, r, neighbours, **settings)) for r in by_seed]
    parts = [np.sort(r.choice(n, max(1, round(subsample * n)), replace=False)) for r in by_part]
    parts = [
        (rows, clustering.dense_regions(unit[rows], r, **settings)) for rows, r in zip(parts, by_part, strict=True)
    ]
    single = np.bincount(labels[labels != NOISE], minlength=n_modes) == 1  # one text, many times: no matter of density
    reruns = {"seeds": seeds, "subsamples": parts}
    if lexical is not None:
        lexical = np.asarray(lexical)[first]
        worded = np.flatnonzero(np.einsum("ij,ij->i", lexical, lexical) > 0)
        apart = worded[clustering.distinct_rows(lexical[worded])[0]]  # texts may differ in what words do not see
        reruns["lexical"] = [(apart, clustering.dense_regions(lexical[apart], by_words[0], **settings))]
        word_p = shared_words(lexical, labels, by_words[1])
    else:
        word_p = np.full(n_modes, np.nan)
    value = clustering.silhouettes(unit, labels)
    sizes = np.bincount(labels[labels != NOISE], minlength=n_modes)
    separation = np.bincount(labels[labels != NOISE], value[labels != NOISE], n_modes) / np.maximum(sizes, 1)
    null = [_null(unit, r, settings) for r in by_null] if n >= 2 else [(0.0, 0, 1.0)] * n_gaussians
    null_separation, null_modes, null_noise = map(np.array, zip(*null, strict=True))
    bound = prediction_bound(null_separation)
    in_modes = 1 - null_noise
    level = float(np.mean(null_separation[in_modes > 0] / in_modes[in_modes > 0])) if in_modes.any() else 0.0
    again = {name: np.where(single, 1.0, clustering.recovery(labels, reruns[name])) for name in ("seeds", "subsamples")}
    holds = single | supported(separation, level, value.mean(), bound, *again.values(), word_p)
    fewest, most = _bounds(labels, holds, single, (separation > level) & ~(word_p > ALPHA), seeds + parts)
    return Evidence(
        separation=np.where(single, 1.0, separation),
        found_again_seeds=again["seeds"],
        found_again_subsamples=again["subsamples"],
        word_p=word_p,
        supported=holds,
        overall_separation=float(value.mean()),
        null_level=level,
        null_bound=bound,
        null_separation=null_separation,
        null_modes=null_modes,
        null_noise=null_noise,
        agreement=_agreement(labels, reruns, "singletons"),
        agreement_without_noise=_agreement(labels, reruns, "dropped"),
        fewest=fewest,
        most=most,
    )


def _bounds(labels, holds, single, apart, reruns):
    """Number of modes that hold in every rerun, and of those that hold in at least one: how sure their number is.

    A mode that is apart by itself counts among the latter where the responses as a whole are too few to lie apart.
    """
    again = np.array([np.nan_to_num(clustering.recovery(labels, [rerun])) for rerun in reruns]) >= STABLE
    again = again.reshape(len(reruns), len(holds)) | single
    return int((holds & again.all(0)).sum()), int((holds | single | (apart & again.any(0))).sum())


def _null(unit, rng, settings):
    drawn = similarity.unit_rows(gaussian_like(unit, rng))
    labels = clustering.dense_regions(drawn, rng, **settings)
    return (
        clustering.silhouettes(drawn, labels).mean(),
        labels.max(initial=NOISE) + 1,
        np.mean(labels == NOISE),
    )


def _agreement(labels, reruns, noise):
    return {
        name: np.array([clustering.adjusted_rand(labels[rows], other, noise=noise) for rows, other in runs])
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

    Examples
    --------
    >>> round(float(prediction_bound([0.1, 0.2, 0.3])), 3)
    0.697
    """
    from scipy.stats import t

    n = len(draws)
    return float(np.mean(draws) + t.ppf((1 + level) / 2, n - 1) * np.std(draws, ddof=1) * np.sqrt(1 + 1 / n))


def supported(
    separation, null_level, overall_separation, null_bound, seeds, subsamples, word_p, *, stable=STABLE, alpha=ALPHA
):
    """Which modes the evidence supports.

    The modes as a whole must lie further apart than the same pipeline's modes of Gaussians with the same mean and
    covariance (`prediction_bound`); else none holds. A single mode holds if (1) it is no less apart than modes of
    Gaussians are on average, (2) it is found again with other seeds and (3) in subsamples, mean Jaccard index of at
    least `stable`, and (4) its responses share more words than random groups do.

    Parameters
    ----------
    separation, seeds, subsamples, word_p : ndarray of float, shape (n_modes,)
        Mean silhouette, mean Jaccard of reruns (`recovery`), p-value of `shared_words` (NaN: no words known, no say).
    null_level : float
        Mean silhouette of a Gaussian's responses in modes.
    overall_separation, null_bound : float
        Mean silhouette of all responses, noise 0; `prediction_bound` of the same of Gaussians.
    stable, alpha : float

    Returns
    -------
    ndarray of bool, shape (n_modes,)

    Examples
    --------
    >>> ones = np.ones(2)
    >>> supported(np.array([0.4, 0.1]), 0.2, 0.3, 0.25, seeds=ones, subsamples=ones, word_p=0.01 * ones)
    array([ True, False])
    """
    apart = (separation > null_level) & (overall_separation > null_bound)
    worded = np.isnan(word_p) | (word_p <= alpha)
    return apart & (np.nan_to_num(seeds) >= stable) & (np.nan_to_num(subsamples) >= stable) & worded

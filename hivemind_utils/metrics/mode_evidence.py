"""Evidence that a mode is more than a piece of a structureless cloud."""

from dataclasses import dataclass

import numpy as np

from hivemind_utils.metrics import clustering, similarity
from hivemind_utils.metrics._labels import NOISE, labels_of

STABLE = 0.75  # mean Jaccard index from which on a mode is found again (Hennig 2007)
ALPHA = 0.05  # of the test of shared words
CLOUD_ROWS = 1_000  # of a cloud with one peak, where there are more responses: chance does more in fewer rows


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

    Examples
    --------
    >>> gaussian_like(np.eye(4), np.random.default_rng(0)).shape
    (4, 4)
    """
    return Clouds(vectors, rng).gaussian(len(vectors), rng)


def skewed_like(vectors, rng):
    """Draw as many rows from a cloud with the mean, covariance and skewness of the rows given, and one peak.

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
    The leading principal axes are turned to the directions of largest skewness (independent components with x² as
    contrast, Hyvärinen 1999). Along every axis scores come from a gamma distribution, shifted and scaled, with the
    mean, variance and skewness of the rows; skewness is cut at 2, the exponential's: beyond it a gamma
    density has a pole.

    Examples
    --------
    >>> skewed_like(np.eye(4), np.random.default_rng(0)).shape
    (4, 4)
    """
    return Clouds(vectors, rng).skewed(len(vectors), rng)


class Clouds:
    """Clouds with one peak that resemble some rows: fitted once, drawn from often.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_rows, n_dims)
        n_rows >= 2.
    rng : numpy.random.Generator
        Where the search for skewed axes begins.

    Examples
    --------
    >>> Clouds(np.eye(4), np.random.default_rng(0)).gaussian(7, np.random.default_rng(1)).shape
    (7, 4)
    """

    def __init__(self, vectors, rng):
        vectors = np.asarray(vectors, float)
        n, n_dims = vectors.shape
        if n < 2:
            raise ValueError(f"A covariance needs at least two rows, but {n} were passed.")
        self.mean = vectors.mean(0)
        centred = vectors - self.mean
        wide = n <= n_dims  # the smaller of two matrices has the same principal values
        variance, axes = np.linalg.eigh((centred @ centred.T if wide else centred.T @ centred) / (n - 1))
        sd = np.sqrt(np.clip(variance[::-1], 0, None))
        kept = sd > 1e-7 * sd.max(initial=0)
        sd, axes = sd[kept], axes[:, ::-1][:, kept]
        if wide:
            axes = centred.T @ axes / (sd * np.sqrt(n - 1))
        scores = centred @ axes / sd
        axes *= sd
        turn = _skewed_axes(scores[:, : max(2, min(20, n // 5))], rng)
        axes[:, : len(turn)] = axes[:, : len(turn)] @ turn
        scores[:, : len(turn)] = scores[:, : len(turn)] @ turn
        skewness = (scores**3).mean(0)
        self.skewness = np.where(np.abs(skewness) < 0.01, 0.01, np.clip(skewness, -2, 2))
        self.axes = axes.astype(np.float32).T

    def gaussian(self, n_rows, rng):
        """Draw rows of a Gaussian with the same mean and covariance."""
        return self._rows(rng.standard_normal((n_rows, len(self.axes)), np.float32))

    def skewed(self, n_rows, rng):
        """Draw rows of a cloud with the same mean, covariance and skewness; see `skewed_like`."""
        shape = 4 / self.skewness**2
        drawn = rng.gamma(shape, size=(n_rows, len(shape)))
        return self._rows((drawn - shape) / np.sqrt(shape) * np.sign(self.skewness))

    def _rows(self, scores):
        return self.mean.astype(np.float32) + scores.astype(np.float32) @ self.axes


def _skewed_axes(scores, rng, n_steps=50):
    """Rotation of uncorrelated scores of variance 1 to axes of large skewness: symmetric fixed-point steps on x²."""
    n, k = scores.shape
    turn = np.linalg.qr(rng.standard_normal((k, k)))[0]
    for _ in range(n_steps):
        u, _, vt = np.linalg.svd(scores.T @ (scores @ turn) ** 2 / n)
        turn = u @ vt
    return turn


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
    null_bound: float
    own_bound: float
    null_separation: np.ndarray
    null_modes: np.ndarray
    null_noise: np.ndarray
    agreement: dict
    agreement_without_noise: dict
    fewest: int  # modes that are stable in every rerun
    most: int  # modes that are stable, or share words and are found again by some rerun


def evidence(
    vectors, labels, rng, *, lexical=None, lexical_labels=None, neighbours=None, n_seeds=2, n_subsamples=3,
    subsample=0.8, n_gaussians=7, **settings,
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
    lexical_labels : ndarray of int, shape (n_responses,), optional
        Modes that `clustering.lexical_modes` finds in them; left out, they are sought.
    neighbours : (ndarray, ndarray), optional
        As for `find_modes`.
    n_seeds, n_subsamples, n_gaussians : int
        Reruns with another seed, on a random part of the distinct responses, and on clouds with one peak: as many
        Gaussians (at least 2), and as many skewed ones.
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
    by_fit = rng.spawn(1)[0]
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
        if lexical_labels is None:
            by_words_alone = clustering.lexical_modes(lexical, by_words[0], **settings)
        else:
            by_words_alone = np.asarray(lexical_labels)[first]
        reruns["lexical"] = [(worded, by_words_alone[worded])]
        word_p = shared_words(lexical, labels, by_words[1])
    else:
        word_p = np.full(n_modes, np.nan)
    value = clustering.silhouettes(unit, labels)
    separation = _by_mode(value, labels, n_modes)
    clouds = _clouds(unit, by_fit, by_null, settings)
    null_separation, null_modes, null_noise, best = map(np.array, zip(*clouds, strict=True))
    bounds = prediction_bound(null_separation), prediction_bound(best)
    in_modes = 1 - null_noise
    level = float(np.mean(null_separation[in_modes > 0] / in_modes[in_modes > 0])) if in_modes.any() else 0.0
    together = (n >= clustering.UMAP_FROM) & (value.mean() > bounds[0])
    apart = (_weighed(separation, labels) > bounds[1]) | (together & (separation > level))
    again = {name: np.where(single, 1.0, clustering.recovery(labels, reruns[name])) for name in ("seeds", "subsamples")}
    holds = single | supported(apart, *again.values(), word_p)
    fewest, most = _bounds(labels, holds, single, ~(word_p > ALPHA), seeds + parts)
    return Evidence(
        separation=np.where(single, 1.0, separation),
        found_again_seeds=again["seeds"],
        found_again_subsamples=again["subsamples"],
        word_p=word_p,
        supported=holds,
        overall_separation=float(value.mean()),
        null_bound=bounds[0],
        own_bound=bounds[1],
        null_separation=null_separation,
        null_modes=null_modes,
        null_noise=null_noise,
        agreement=_agreement(labels, reruns, "singletons"),
        agreement_without_noise=_agreement(labels, reruns, "dropped"),
        fewest=fewest,
        most=most,
    )


def _bounds(labels, holds, single, worded, reruns):
    """Number of modes that are stable in every rerun, and of those that may be (same words, found by a rerun)."""
    again = np.array([np.nan_to_num(clustering.recovery(labels, [rerun])) for rerun in reruns]) >= STABLE
    again = again.reshape(len(reruns), len(holds)) | single
    return int((holds & again.all(0)).sum()), int((holds | single | (worded & again.any(0))).sum())


def _clouds(unit, by_fit, by_null, settings):
    """What `_null` finds in clouds with one peak, Gaussian and then skewed, of as many rows or of `CLOUD_ROWS`."""
    if len(unit) < 2:
        return [(0.0, 0, 1.0, 0.0)] * (2 * len(by_null))
    like, n_rows = Clouds(unit, by_fit), min(len(unit), CLOUD_ROWS)
    return [_null(draw(n_rows, rng), rng, settings) for draw in (like.gaussian, like.skewed) for rng in by_null]


def _null(drawn, rng, settings):
    """Mean separation, number of modes, share of noise and separation of the best mode in a cloud with one peak."""
    drawn = similarity.unit_rows(drawn)
    labels = clustering.dense_regions(drawn, rng, **settings)
    value = clustering.silhouettes(drawn, labels)
    best = _weighed(_by_mode(value, labels), labels).max(initial=0)
    return value.mean(), labels.max(initial=NOISE) + 1, np.mean(labels == NOISE), best


def _weighed(separation, labels):
    """Separation of every mode times the root of its share: a few rows are far from all others by chance."""
    return separation * np.sqrt(np.bincount(labels[labels != NOISE], minlength=len(separation)) / len(labels))


def _by_mode(value, labels, n_modes=0):
    """Mean of a value over every mode's rows."""
    inside = labels != NOISE
    sizes = np.bincount(labels[inside], minlength=n_modes)
    return np.bincount(labels[inside], value[inside], n_modes) / np.maximum(sizes, 1)


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


def supported(apart, seeds, subsamples, word_p, *, stable=STABLE, alpha=ALPHA):
    """Which modes the evidence supports.

    A mode holds if (1) it is apart, it is found again (2) with other seeds and (3) in subsamples, mean Jaccard index of
    at least `stable`, and (4) its responses share more words than random groups do. The last is a weak test: cuts of
    one cloud pass it too, for an embedding knows words.

    A mode is apart by itself, whatever the rest of the responses looks like, if its mean silhouette times the root of
    its share exceeds the `prediction_bound` of the best mode of a cloud with one peak, Gaussian or skewed. Of
    `clustering.UMAP_FROM` distinct responses or more it is also apart if all modes together exceed that bound of all
    modes of such clouds, and it is no less apart than their modes are on average.

    Parameters
    ----------
    apart : ndarray of bool, shape (n_modes,)
    seeds, subsamples, word_p : ndarray of float, shape (n_modes,)
        Mean Jaccard of reruns (`recovery`), p-value of `shared_words` (NaN: no words known, no say).
    stable, alpha : float

    Returns
    -------
    ndarray of bool, shape (n_modes,)

    Examples
    --------
    >>> ones = np.ones(2)
    >>> supported(np.array([True, False]), seeds=ones, subsamples=ones, word_p=0.01 * ones)
    array([ True, False])
    """
    worded = np.isnan(word_p) | (word_p <= alpha)
    return apart & (np.nan_to_num(seeds) >= stable) & (np.nan_to_num(subsamples) >= stable) & worded

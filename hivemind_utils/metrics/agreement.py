"""Do people agree? Entropy and other measures of disagreement, Krippendorff's alpha, split halves, severity.

Labels come as an array of shape (n_items, n_annotators), NaN where an annotator did not label an item; rows may have
any number of labels. A *scale* is the ordered list of values a label may take.
"""

import numpy as np

LEVELS = ("nominal", "ordinal", "interval")


def label_counts(labels, scale):
    """How often each value of the scale was given to each item.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        NaN where missing.
    scale : sequence of float, length n_values
        The values a label may take, in order.

    Returns
    -------
    ndarray of int, shape (n_items, n_values)

    Raises
    ------
    ValueError
        If a label is not on the scale.

    Examples
    --------
    >>> label_counts([[1, 2, 2], [3, 3, np.nan]], scale=[1, 2, 3])
    array([[1, 2, 0],
           [0, 0, 2]])
    """
    labels, scale = _labels(labels), np.asarray(scale, float)
    counts = (labels[:, :, None] == scale).sum(1)
    if counts.sum() != (~np.isnan(labels)).sum():
        off = np.setdiff1d(labels[~np.isnan(labels)], scale)
        raise ValueError(f"Labels must be one of {scale.tolist()}, but {off[:5].tolist()} were passed.")
    return counts


def entropy_bits(counts):
    """Shannon entropy of every item's labels, plug-in, in bits, as published.

    Computed from sorted counts: permuted counts would differ in the last bit and move items across a threshold.

    Parameters
    ----------
    counts : ndarray of int, shape (n_items, n_values)

    Returns
    -------
    ndarray of float, shape (n_items,)
        Between 0 and log2(n_values); +0.0 for a unanimous item, NaN for one without labels.

    Examples
    --------
    >>> entropy_bits([[2, 2], [4, 0], [1, 3]]).round(3)
    array([1.   , 0.   , 0.811])
    """
    counts = np.sort(np.asarray(counts), axis=1)
    shares = _shares(counts)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.abs((shares * logs).sum(1))  # abs: a unanimous item is +0.0


def miller_madow_bits(counts):
    """Entropy in bits with the Miller-Madow correction for few labels: H + (values seen - 1) / (2 n ln 2).

    Examples
    --------
    >>> miller_madow_bits([[2, 2], [4, 0]]).round(3)
    array([1.18, 0.  ])
    """
    counts = np.asarray(counts)
    seen, n = (counts > 0).sum(1), counts.sum(1)
    return entropy_bits(counts) + np.divide(seen - 1, 2 * np.log(2) * n, out=np.full(len(n), np.nan), where=n > 0)


def grouped(counts):
    """Counts of five values merged into three: {first, second}, {third}, {fourth, fifth}.

    Examples
    --------
    >>> grouped([[1, 2, 3, 4, 5]])
    array([[3, 3, 9]])
    """
    counts = np.asarray(counts)
    if counts.shape[1] != 5:
        raise ValueError(f"Grouping into three needs a scale of 5 values, but it has {counts.shape[1]}.")
    return np.stack([counts[:, :2].sum(1), counts[:, 2], counts[:, 3:].sum(1)], axis=1)


def gini(counts):
    """Gini impurity of every item's labels: 1 - sum of squared shares, 0 to 1 - 1/n_values.

    Examples
    --------
    >>> gini([[2, 2], [4, 0]])
    array([0.5, 0. ])
    """
    return 1 - (_shares(np.asarray(counts)) ** 2).sum(1)


def pairwise_disagreement(counts):
    """Share of pairs of annotators who gave different labels; NaN for fewer than two labels.

    Examples
    --------
    >>> pairwise_disagreement([[2, 2], [4, 0]]).round(3)
    array([0.667, 0.   ])
    """
    return 1 - item_agreement(counts)


def minority_share(counts):
    """Majority against minority: 1 - share of the most common label.

    Examples
    --------
    >>> minority_share([[1, 3], [4, 0]])
    array([0.25, 0.  ])
    """
    return 1 - _shares(np.asarray(counts)).max(1)


def item_agreement(counts):
    """Per-item agreement of Fleiss: (sum of n_c squared - K) / (K (K - 1)); NaN for fewer than two labels.

    Examples
    --------
    >>> item_agreement([[2, 2], [4, 0]]).round(3)
    array([0.333, 1.   ])
    """
    counts = np.asarray(counts, float)
    k = counts.sum(1)
    return np.divide((counts**2).sum(1) - k, k * (k - 1), out=np.full(len(k), np.nan), where=k > 1)


def ordinal_consensus(counts, scale):
    r"""Consensus of Tastle and Wierman: 1 where all give one value, 0 where half give either end.

    Parameters
    ----------
    counts : ndarray of int, shape (n_items, n_values)
    scale : sequence of float, length n_values
        At least two different values.

    Returns
    -------
    ndarray of float, shape (n_items,)

    Notes
    -----
    :math:`1 + \sum_i p_i \log_2(1 - |x_i - \mu| / d)`, with d the width of the scale.

    Examples
    --------
    >>> ordinal_consensus([[5, 0, 5], [0, 10, 0]], scale=[1, 2, 3])
    array([0., 1.])
    """
    scale, shares = np.asarray(scale, float), _shares(np.asarray(counts))
    if np.ptp(scale) == 0:
        raise ValueError("Consensus needs a scale of at least two values.")
    distance = np.abs(scale - (shares @ scale)[:, None]) / np.ptp(scale)
    inside = np.log2(1 - distance, out=np.zeros_like(distance), where=(shares > 0) & (distance < 1))
    return 1 + (shares * inside).sum(1)


def valley(counts):
    """Tell a split (two camps with a valley between) from noise around one value.

    Parameters
    ----------
    counts : ndarray of int, shape (n_items, n_values)
        Columns in the order of the scale.

    Returns
    -------
    depth : ndarray of float, shape (n_items,)
        Largest share by which some inner value is rarer than the most common value on either side; 0 without a valley.
    p_value : ndarray of float, shape (n_items,)
        Binomial test that the valley is as common as the lower of the two peaks, one-sided, times the number of inner
        values (Bonferroni): small where the split is more than chance among so few labels.

    Examples
    --------
    >>> depth, p_value = valley([[10, 0, 10], [3, 4, 3]])
    >>> depth, p_value.round(3)
    (array([0.5, 0. ]), array([0.001, 1.   ]))
    """
    from scipy.stats import binom

    counts = np.asarray(counts)
    n_inner = counts.shape[1] - 2
    depth, p_value = np.zeros(len(counts)), np.ones(len(counts))
    total = np.maximum(counts.sum(1), 1)
    for middle in range(1, n_inner + 1):
        peak = np.minimum(counts[:, :middle].max(1), counts[:, middle + 1 :].max(1))
        low = counts[:, middle]
        depth = np.maximum(depth, (peak - low) / total)
        p_value = np.minimum(p_value, np.where(peak > low, n_inner * binom.cdf(low, peak + low, 0.5), 1))
    return depth, np.minimum(p_value, 1)


def pair_agreement(counts, scale):
    """Agreement on the better of two responses: max(n+ + n0/2, n- + n0/2) / K, from 0.5 to 1.

    A unanimous tie gives 0.5, the value of greatest disagreement: kept as published; report ties apart.

    Examples
    --------
    >>> pair_agreement([[1, 0, 3], [0, 4, 0]], scale=[-1, 0, 1])
    array([0.75, 0.5 ])
    """
    counts, scale = np.asarray(counts), np.asarray(scale, float)
    better, worse = (counts[:, side].sum(1) for side in (scale > 0, scale < 0))
    tie, k = counts[:, scale == 0].sum(1), counts.sum(1)
    return np.divide(np.maximum(better, worse) + tie / 2, k, out=np.full(len(k), np.nan), where=k > 0)


def krippendorff_alpha(labels, level="nominal"):
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        NaN where missing. Items with fewer than two labels say nothing about agreement and are left out.
    level : {"nominal", "ordinal", "interval"}
        How far apart two different labels are: all alike; by the ranks between them; by their squared difference.

    Returns
    -------
    float
        NaN where no item has two labels or only one value occurs (no disagreement could be expected by chance).

    Notes
    -----
    Krippendorff, Content Analysis (2004), chapter 11. Tested against hand-computed cases and the literal pairs.

    Examples
    --------
    >>> round(krippendorff_alpha([[1, 1], [2, 2], [1, 2]]), 3)
    0.444
    """
    labels = _labels(labels)
    scale = np.unique(labels[~np.isnan(labels)])
    return alpha_of_counts(label_counts(labels, scale), scale, level)


def alpha_of_counts(counts, scale, level="nominal", weights=None):
    """Krippendorff's alpha from counts of labels; see `krippendorff_alpha`.

    Parameters
    ----------
    counts : ndarray of int, shape (n_items, n_values)
    scale : sequence of float, length n_values
        In order.
    level : {"nominal", "ordinal", "interval"}
    weights : ndarray of float, shape (n_items,), optional
        How often each item counts, as drawn by a bootstrap.

    Returns
    -------
    float

    Examples
    --------
    >>> round(alpha_of_counts([[2, 0], [0, 2], [1, 1]], scale=[1, 2]), 3)
    0.444
    """
    if level not in LEVELS:
        raise ValueError(f"`level` must be one of {list(LEVELS)}, but {level!r} was passed.")
    counts, scale = np.asarray(counts, float), np.asarray(scale, float)
    weights = np.ones(len(counts)) if weights is None else np.asarray(weights, float)
    pairable = counts.sum(1) > 1
    counts, weights = counts[pairable], weights[pairable]
    weighted = counts * (weights / (counts.sum(1) - 1))[:, None]
    coincidences = weighted.T @ counts - np.diag(weighted.sum(0))
    totals = coincidences.sum(1)
    n = totals.sum()
    if n == 0:
        return float("nan")
    distances = _distances(totals, scale, level)
    expected = (np.outer(totals, totals) * distances).sum() / (n - 1)
    return float(1 - (coincidences * distances).sum() / expected) if expected > 0 else float("nan")


def random_half(present, rng, persons=None):
    """Random half of each row's labels; with persons, of each row's people, in all rows of the same people alike.

    Parameters
    ----------
    present : ndarray of bool, shape (n_items, n_annotators)
        Where there is a label.
    rng : numpy.random.Generator
    persons : ndarray of int, shape (n_items, n_annotators), optional
        See `halves`.

    Returns
    -------
    ndarray of bool, shape (n_items, n_annotators)
        Labels of the first half; the second is ``present & ~half``.

    Examples
    --------
    >>> half = random_half(np.ones((3, 4), bool), np.random.default_rng(0))
    >>> half.sum(1)
    array([2, 2, 2])
    """
    if persons is None:
        keys, n = np.where(present, rng.random(present.shape), np.inf), present.sum(1, keepdims=True)
    else:
        keys, n = rng.random(int(np.max(persons)) + 1)[persons], present.shape[1]
    return np.argsort(np.argsort(keys, axis=1), axis=1) < n // 2


def halves(labels, n_splits, rng, persons=None):
    """Means of two random halves of every item's labels, many times.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
    n_splits : int
    rng : numpy.random.Generator
    persons : ndarray of int, shape (n_items, n_annotators), optional
        Number of the annotator behind each column of each row, where known, missing labels included: then people are
        split, and everybody stays on one side.

    Returns
    -------
    a, b : ndarray of float, shape (n_splits, n_items)
        NaN where a half is empty.

    Examples
    --------
    >>> a, b = halves([[1, 1, 2, 2], [5, 5, 5, 5]], 10, np.random.default_rng(0))
    >>> a.shape, float(a[:, 1].mean())
    ((10, 2), 5.0)
    """
    labels = _labels(labels)
    present = ~np.isnan(labels)
    a, b = np.empty((n_splits, len(labels))), np.empty((n_splits, len(labels)))
    for i in range(n_splits):
        first = random_half(present, rng, persons)
        a[i], b[i] = row_means(labels, present & first), row_means(labels, present & ~first)
    return a, b


def split_half(labels, n_splits, rng, persons=None):
    """Split-half reliability: how well the means of two halves of the annotators correlate.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
    n_splits : int
    rng : numpy.random.Generator
    persons : ndarray of int, shape (n_items, n_annotators), optional
        See `halves`.

    Returns
    -------
    half : float
        Pearson correlation of the halves, mean over splits; NaN where it cannot be computed.
    full : float
        Stepped up by Spearman-Brown: reliability of the mean of all annotators.

    Examples
    --------
    >>> labels = np.arange(6)[:, None] + [0, 0.1, -0.1, 0]
    >>> [round(value, 2) for value in split_half(labels, 20, np.random.default_rng(0))]
    [1.0, 1.0]
    """
    correlations = [_correlation(a, b) for a, b in zip(*halves(labels, n_splits, rng, persons), strict=True)]
    half = float(np.mean(correlations))
    return half, spearman_brown(half)


def spearman_brown(reliability, factor=2.0):
    """Reliability of a mean of `factor` times as many annotators: f r / (1 + (f - 1) r).

    NaN where r is not above 0: annotators who do not agree share nothing that a mean of more of them could bring out.

    Parameters
    ----------
    reliability, factor : float or array_like of float
        `factor` above 0.

    Returns
    -------
    float or ndarray of float

    Examples
    --------
    >>> round(spearman_brown(0.5), 3), round(spearman_brown(0.5, factor=4), 3)
    (0.667, 0.8)
    >>> spearman_brown(-0.5), spearman_brown(0.0)
    (nan, nan)
    """
    r, factor = np.asarray(reliability, float), np.asarray(factor, float)
    stepped = np.where(r > 0, factor * r / np.where(r > 0, 1 + (factor - 1) * r, 1), np.nan)
    return float(stepped) if stepped.ndim == 0 else stepped


def reliability_by_size(labels, sizes, n_splits, rng):
    """Correlation between the means of two disjoint groups of k annotators, for every k.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
    sizes : sequence of int
        k; items with fewer than 2k labels are left out of that k.
    n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_sizes, n_splits)
        NaN where fewer than three items have 2k labels.

    Examples
    --------
    >>> labels = np.arange(6)[:, None] + np.zeros(8)
    >>> reliability_by_size(labels, [1, 4], 3, np.random.default_rng(0)).round(2)
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    labels = _labels(labels)
    present = ~np.isnan(labels)
    n_labels = present.sum(1)
    found = np.full((len(sizes), n_splits), np.nan)
    for j in range(n_splits):
        order = np.argsort(np.where(present, rng.random(labels.shape), np.inf), axis=1)
        shuffled = np.take_along_axis(labels, order, axis=1)
        for i, k in enumerate(sizes):
            rows = n_labels >= 2 * k
            if rows.sum() > 2:
                found[i, j] = _correlation(shuffled[rows, :k].mean(1), shuffled[rows, k : 2 * k].mean(1))
    return found


def severity(labels, persons, n_rounds=200):
    """How far each annotator's labels lie above or below those of others on the same items.

    Least squares of label = item + annotator, alternating until nothing moves.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
    persons : ndarray of int, shape (n_items, n_annotators)
        Number of the annotator behind each label, from 0.
    n_rounds : int
        Most rounds of the alternation.

    Returns
    -------
    effects : ndarray of float, shape (n_persons,)
        In units of the scale; negative is severe. Only differences between people of the same items have a
        meaning. NaN for a person without labels.
    n_labels : ndarray of int, shape (n_persons,)

    Examples
    --------
    >>> effects, n_labels = severity([[1, 3], [2, 4]], persons=[[0, 1], [0, 1]])
    >>> effects.round(3), n_labels
    (array([-1.,  1.]), array([2, 2]))
    """
    labels = _labels(labels)
    present = ~np.isnan(labels)
    items, _ = np.nonzero(present)
    who, values = np.asarray(persons)[present], labels[present]
    n_items, n_persons = len(labels), int(who.max(initial=-1)) + 1
    of_item = np.bincount(items, minlength=n_items)
    of_person = np.bincount(who, minlength=n_persons)
    effects = np.zeros(n_persons)
    for _ in range(n_rounds):
        means = np.bincount(items, values - effects[who], n_items) / np.maximum(of_item, 1)
        new = np.bincount(who, values - means[items], n_persons) / np.maximum(of_person, 1)
        moved, effects = np.abs(new - effects).max(initial=0), new
        if moved < 1e-10:
            break
    return np.where(of_person > 0, effects, np.nan), of_person


def _labels(labels):
    labels = np.asarray(labels, float)
    if labels.ndim != 2:
        raise ValueError(f"`labels` must have shape (n_items, n_annotators), but {labels.shape} was passed.")
    return labels


def _shares(counts):
    k = counts.sum(1, keepdims=True)
    return np.divide(counts, k, out=np.full(counts.shape, np.nan), where=k > 0)


def row_means(values, mask):
    """Mean of every row over the places the mask names; NaN where it names none.

    Examples
    --------
    >>> row_means(np.array([[1, 2, 9]]), np.array([[True, True, False]]))
    array([1.5])
    """
    n = mask.sum(1)
    return np.divide(np.where(mask, values, 0).sum(1), n, out=np.full(len(n), np.nan), where=n > 0)


def _correlation(a, b):
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _distances(totals, scale, level):
    """Squared distance between any two values, shape (n_values, n_values)."""
    if level == "nominal":
        return 1.0 - np.eye(len(scale))
    if level == "interval":
        return (scale[:, None] - scale[None, :]) ** 2
    middles = np.cumsum(totals) - totals / 2  # labels between two values, half of either end
    return (middles[:, None] - middles[None, :]) ** 2

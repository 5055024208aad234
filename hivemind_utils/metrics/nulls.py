"""What a subset's correlation should be compared with: range restriction alone, chance, and people themselves.

Scores, target, weights and groups as in `calibration`. The first subset is always the full set.
"""

import numpy as np

from hivemind_utils.metrics import agreement, calibration, resample, subsets

LEAST_LABELS = 6  # an item needs so many labels to be split in two halves that say something


STRENGTHS = np.linspace(0, 1, 26)


def shrunken_means(labels, *, variance="pooled"):
    r"""Human means pulled towards the common mean by as much as they are noise.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        NaN where missing; every item has at least one label.
    variance : {"pooled", "item"}
        Variance of a label: the same for all items, or each item's own. Items chosen for their disagreement have a
        large variance of their own by chance too: their means are then shrunk too much, and an equally good scorer is
        expected to do worse on them than it does (with 3 annotators .25 instead of .32, with 25 .35 instead of .37;
        pooled is right to .01: ``benchmarks/null_bias.py``).

    Returns
    -------
    means : ndarray of float, shape (n_items,)
    shrinkage : ndarray of float, shape (n_items,)
        Between 0 (all noise) and 1. With "item", an item with a single label takes the pooled variance.

    Notes
    -----
    :math:`\lambda_i = \sigma_q^2 / (\sigma_q^2 + s_i^2 / K_i)`, with :math:`\sigma_q^2` the variance of the means less
    their mean squared error.
    """
    if variance not in ("pooled", "item"):
        raise ValueError(f"`variance` must be 'pooled' or 'item', but {variance!r} was passed.")
    labels = np.asarray(labels, float)
    present = ~np.isnan(labels)
    n = present.sum(1)
    means = agreement.row_means(labels, present)
    squares = np.where(present, (labels - means[:, None]) ** 2, 0).sum(1)
    if not (n > 1).any():
        raise ValueError("No item has two labels, so that the noise of the means is unknown: shrinkage needs repeats.")
    pooled = squares.sum() / (n - 1).sum()
    own = np.where(n > 1, squares / np.maximum(n - 1, 1), pooled)
    error = (own if variance == "item" else pooled) / n
    quality = max(np.var(means, ddof=1) - error.mean(), 0.0)
    if quality == 0:
        return np.full(len(means), means.mean()), np.zeros(len(means))
    shrinkage = quality / (quality + error)
    return means.mean() + shrinkage * (means - means.mean()), shrinkage


def null_draws(quality, target, weights, n_draws, rng, *, strengths=STRENGTHS):
    """Correlations of simulated scorers that are equally good everywhere, on the actual items.

    Parameters
    ----------
    quality : ndarray of float, shape (n_items,)
        What such a scorer follows: the shrunken human means.
    target : ndarray of float, shape (n_items,)
    weights : ndarray of float, shape (n_subsets, n_items)
        The first row holds all items.
    n_draws : int
        Scorers simulated per strength; noise is shared between strengths.
    rng : numpy.random.Generator
    strengths : sequence of float
        Correlations of the simulated score with the quality.

    Returns
    -------
    ndarray of float, shape (n_strengths, n_subsets, n_draws)
    """
    spread = quality.std()
    if spread == 0:
        raise ValueError(
            "The item means do not differ beyond their noise: nothing an equally good scorer could follow."
        )
    noise = rng.normal(size=(n_draws, len(quality)))
    standard = (quality - quality.mean()) / spread
    return np.stack(
        [calibration.rank_correlations(r * standard + np.sqrt(1 - r**2) * noise, target, weights) for r in strengths]
    )


def expected_correlations(draws, full):
    """Mean correlation in every subset of an equally good scorer with the given full correlation.

    Parameters
    ----------
    draws : ndarray of float, shape (n_strengths, n_subsets, n_draws)
        From `null_draws`.
    full : ndarray of float, shape (...)
        Full correlations; a negative one is mirrored, one beyond the strongest takes the strongest's.

    Returns
    -------
    ndarray of float, shape (n_subsets, ...)
    """
    return _interpolate(resample.mean_of_known(draws, axis=2), draws, full)


def null_band(draws, full, level=0.95):
    """Band in which an equally good scorer's correlation lies, and its mean, for every subset.

    Parameters
    ----------
    draws : ndarray of float, shape (n_strengths, n_subsets, n_draws)
    full : ndarray of float, shape (n_scorers,)
    level : float

    Returns
    -------
    expected, lower, upper : ndarray of float, shape (n_subsets, n_scorers)
    """
    low, high = resample.interval(draws, level, axis=2)
    lower, upper = _interpolate(low, draws, full), _interpolate(high, draws, full)
    negative = np.asarray(full) < 0
    lower, upper = np.where(negative, upper, lower), np.where(negative, lower, upper)
    return expected_correlations(draws, full), lower, upper


def _interpolate(values, draws, full):
    """Interpolate (n_strengths, n_subsets) at the strength whose mean full correlation is |full|; the sign is kept."""
    mean_full = np.maximum.accumulate(resample.mean_of_known(draws[:, 0], axis=1))
    full = np.asarray(full, float)
    found = np.stack([np.interp(np.abs(full), mean_full, column) for column in values.T])
    return np.where(full < 0, -found, found)


def block_permutation(scores, target, weights, n_draws, rng, *, block=15):
    """Second null: shuffle every scorer among items of nearly equal human mean.

    Whatever ties the score to anything but the mean (to being contested, say) is destroyed; how it follows the mean
    stays.

    Parameters
    ----------
    scores, target, weights
        See `calibration.rank_correlations`; the score's residual ranks within a block are the scores themselves.
    n_draws : int
    rng : numpy.random.Generator
    block : int
        Items a block.

    Returns
    -------
    mean, lower, upper : ndarray of float, shape (n_subsets, n_scorers)
        Of the shuffled scores; 95 %.
    p_value : ndarray of float, shape (n_subsets, n_scorers)
        One-sided: share of shuffles (the observed counted once) with a correlation as low.
    """
    scores = np.atleast_2d(np.asarray(scores, float))
    observed = calibration.rank_correlations(scores, target, weights)
    parts = np.empty((4, *observed.shape))
    for s, (row, generator) in enumerate(zip(scores, rng.spawn(len(scores)), strict=True)):
        present = np.flatnonzero(~np.isnan(row))
        # Ties of the mean fall into blocks at random, or file order would decide.
        order = present[np.lexsort((generator.random(len(present)), np.asarray(target)[present]))]
        blocks = np.arange(len(order)) // block
        shuffled = np.full((n_draws, len(row)), np.nan)
        for draw in shuffled:
            draw[order] = row[order[np.lexsort((generator.random(len(order)), blocks))]]
        found = calibration.rank_correlations(shuffled, target, weights)
        parts[0, :, s] = found.mean(1)
        parts[1:3, :, s] = np.quantile(found, [0.025, 0.975], axis=1)
        parts[3, :, s] = (1 + (found <= observed[:, s : s + 1]).sum(1)) / (1 + n_draws)
    parts[3][np.isnan(observed)] = np.nan
    return tuple(parts)


def random_subsets(scores, target, sizes, n_draws, rng):
    """Correlations in random subsets of the given sizes: what small numbers alone do.

    Returns
    -------
    mean, lower, upper : ndarray of float, shape (n_sizes, n_scorers)
        95 %.
    """
    n_items, parts = len(target), []
    for size in sizes:
        masks = np.zeros((n_draws, n_items))
        chosen = np.argsort(rng.random(masks.shape), axis=1)[:, : int(size)]
        np.put_along_axis(masks, chosen, 1, axis=1)
        found = calibration.rank_correlations(scores, target, masks)
        low, high = resample.interval(found)
        parts.append((resample.mean_of_known(found), low, high))
    return tuple(np.stack(part) for part in zip(*parts, strict=True))


def cross_fit(labels, scores, rules, statistics_of, n_splits, rng, *, groups=None, persons=None):
    """Split the annotators: select the items with one half, correlate with the other; both directions, many splits.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        Items with fewer than `LEAST_LABELS` labels must be left out before.
    scores : ndarray of float, shape (n_scorers, n_items)
    rules : list of selection.Rule
    statistics_of : callable
        ``statistics_of(labels, rows)`` returns the statistics the rules need, with ``"mean"`` among them; `rows` are
        the items these labels belong to.
    n_splits : int
        At least 20 for a stable mean.
    rng : numpy.random.Generator
    groups : ndarray of int, shape (n_items,), optional
        For rules within prompts.
    persons : ndarray of int, shape (n_items, n_annotators), optional
        Where known, people are split rather than labels; see `agreement.halves`.

    Returns
    -------
    dict of str to ndarray of float
        Means over splits and directions (NaN where no split gives one), target always the mean of panel B. ``crossed``
        (n_rules, n_scorers): items chosen by panel A. ``same`` (n_rules, n_scorers): items chosen by panel B.
        ``human`` (n_rules,): panel A's mean as if it were a scorer, items chosen by panel B.

    Notes
    -----
    Crossing removes selection on noise, not range restriction: compare with the full set at the same half panel (the
    rule "full"). A correlation of two halves on a subset chosen by both would be a collider.
    """
    labels, scores = np.asarray(labels, float), np.atleast_2d(np.asarray(scores, float))
    present = ~np.isnan(labels)
    if (present.sum(1) < LEAST_LABELS).any():
        raise ValueError(f"Cross-fitting needs {LEAST_LABELS} labels an item: leave out items with fewer.")
    sums = {"crossed": [], "same": [], "human": []}
    for _ in range(n_splits):
        first = agreement.random_half(present, rng, persons)
        for half in (first, ~first):
            a, b = np.where(half, labels, np.nan), np.where(half, np.nan, labels)
            usable = np.flatnonzero(~np.isnan(a).all(1) & ~np.isnan(b).all(1))
            at = None if groups is None else np.asarray(groups)[usable]
            chosen_by_a, chosen_by_b = statistics_of(a[usable], usable), statistics_of(b[usable], usable)
            target = chosen_by_b["mean"]
            crossed = np.stack([subsets.kept_weights(rule, chosen_by_a, groups=at) for rule in rules])
            same = np.stack([subsets.kept_weights(rule, chosen_by_b, groups=at) for rule in rules])
            sums["crossed"].append(calibration.rank_correlations(scores[:, usable], target, crossed))
            sums["same"].append(calibration.rank_correlations(scores[:, usable], target, same))
            sums["human"].append(calibration.rank_correlations(chosen_by_a["mean"], target, same)[:, 0])
    return {name: resample.mean_of_known(values) for name, values in sums.items()}


def full_ceiling(half_reliability):
    """Highest correlation a perfect scorer can reach with the mean of all annotators, on the full set: √(2r / (1 + r)).

    r is the split-half correlation. Not meaningful on a subset chosen by the same labels; NaN for r below 0.
    """
    stepped = agreement.spearman_brown(half_reliability)
    return float(np.sqrt(stepped)) if stepped >= 0 else float("nan")

"""Items chosen by one half of the annotators and scorers compared with the other; the human ceiling.

Scores, target, weights and groups as in `calibration`.
"""

import numpy as np

from hivemind_utils.metrics import agreement, calibration, resample, subsets

LEAST_LABELS = 6  # an item needs so many labels to be split in two halves that say something


def cross_fit(labels, scores, rules, statistics_of, n_splits, rng, *, groups=None, persons=None):
    """Split the annotators: select the items with one half, correlate with the other; both directions, many splits.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        Items with fewer than `LEAST_LABELS` labels must be left out before.
    scores : ndarray of float, shape (n_scorers, n_items)
    rules : list of subsets.Rule
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

    Examples
    --------
    >>> labels = np.tile(np.arange(8)[:, None] % 5 + 1, 12)  # 12 annotators of one mind
    >>> rules = [subsets.Rule("full", "full", "all")]
    >>> means = lambda labels, rows: {"mean": np.nanmean(labels, 1)}
    >>> found = cross_fit(labels, labels[:, 0], rules, means, 2, np.random.default_rng(0))
    >>> found["crossed"].round(3)
    array([[1.]])
    """
    labels, scores = np.asarray(labels, float), np.atleast_2d(np.asarray(scores, float))
    present = ~np.isnan(labels)
    if (present.sum(1) < LEAST_LABELS).any():
        raise ValueError(f"Cross-fitting needs {LEAST_LABELS} labels per item: leave out items with fewer.")
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

    r is the split-half correlation. Not meaningful on a subset chosen by the same labels; NaN where r is not above 0.

    Examples
    --------
    >>> round(float(full_ceiling(0.76)), 3)
    0.929
    """
    stepped = agreement.spearman_brown(half_reliability)
    return float(np.sqrt(stepped))

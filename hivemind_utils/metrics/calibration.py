"""Correlation of scorers with people in subsets of the items, as published, with replicates over prompts.

Arrays in, arrays out. Scores have shape (n_scorers, n_items), NaN where a scorer is missing; ``target`` is the human
mean of every item, ``groups`` the number of its prompt. Subsets come as weights of shape (n_subsets, n_items); see
`subsets`. Whether a scorer loses touch where people differ is for `verdict` to say.
"""

from dataclasses import replace

import numpy as np

from hivemind_utils.metrics import _rank_kernels, intervals, subsets


def rank_correlations(scores, target, weights, *, n_threads=2):
    """Spearman correlation of every scorer with the target in every weighted subset.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
        NaN where missing: such items are left out for that scorer.
    target : ndarray of float, shape (n_items,)
    weights : ndarray of float, shape (n_subsets, n_items)
        How often each item counts: 0 or 1 for a subset, the number of copies in a bootstrap draw.
    n_threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float, shape (n_subsets, n_scorers)
        NaN where either side is constant within the subset.

    Notes
    -----
    Every scorer and the target are sorted once; a subset then costs one pass. Equal to ``scipy.stats.spearmanr`` of the
    repeated items (``tests/metrics/test_calibration.py``).

    Examples
    --------
    >>> rank_correlations([[1, 2, 3, 5]], [1, 3, 2, 4], weights=[[1, 1, 1, 1], [0, 1, 1, 1]]).round(3)
    array([[0.8],
           [0.5]])
    """
    from concurrent.futures import ThreadPoolExecutor

    scores, target = _scores(scores, target), np.asarray(target, float)
    weights = np.ascontiguousarray(np.atleast_2d(weights), dtype=float)
    if np.isnan(target).any():
        raise ValueError("The target must not be missing: leave out items without labels first.")
    sorted_scores = [_ties(row) for row in scores]
    orders, ends = (np.stack([pair[i] for pair in sorted_scores]) for i in (0, 1))
    complete = (~np.isnan(scores)).sum(1)
    target_order, target_ends = _ties(target)
    result = np.empty((len(weights), len(scores)))

    def work(rows):
        _rank_kernels.fill(orders, ends, complete, target_order, target_ends, weights[rows], result[rows])

    size = max(1, min(256, -(-len(weights) // n_threads)))
    pieces = [slice(start, start + size) for start in range(0, len(weights), size)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, pieces))
    return result


def linear_correlations(scores, target, weights):
    """Pearson correlation of every scorer with the target in every weighted subset; see `rank_correlations`.

    Examples
    --------
    >>> linear_correlations([[1, 2, 3, 5]], [1, 3, 2, 4], weights=[1, 1, 1, 1]).round(3)
    array([[0.832]])
    """
    scores, weights = _scores(scores, target), np.atleast_2d(np.asarray(weights, float))
    present = ~np.isnan(scores)
    x, y = np.where(present, scores, 0), np.asarray(target, float)
    x = (
        x - (x.sum(1) / np.maximum(present.sum(1), 1))[:, None] * present
    )  # near zero, so that squares keep their digits
    y = (y - y.mean()) * np.ones_like(x) * present
    n = weights @ present.T
    sums = {name: weights @ v.T for name, v in {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = sums["xy"] - sums["x"] * sums["y"] / n
        spread = (sums["xx"] - sums["x"] ** 2 / n) * (sums["yy"] - sums["y"] ** 2 / n)
        return np.where(spread > 1e-18 * n**2, cov / np.sqrt(np.maximum(spread, 1e-300)), np.nan)


def within_correlations(scores, target, weights, groups):
    """Spearman correlation within every prompt, for every subset.

    Parameters
    ----------
    scores, target, weights
        See `rank_correlations`.
    groups : ndarray of int, shape (n_items,)
        Prompt of every item, 0 to n_prompts - 1.

    Returns
    -------
    ndarray of float, shape (n_subsets, n_prompts, n_scorers)
        NaN where a prompt has fewer than three items left, or a constant.

    Examples
    --------
    >>> within_correlations([[1, 2, 3, 3, 2, 1]], [1, 2, 3, 1, 2, 3], np.ones(6), groups=[0, 0, 0, 1, 1, 1])
    array([[[ 1.],
            [-1.]]])
    """
    weights = np.atleast_2d(np.asarray(weights, float))
    groups = np.asarray(groups)
    prompts = np.arange(groups.max() + 1)
    split = weights[:, None, :] * (groups == prompts[:, None])
    found = rank_correlations(scores, target, split.reshape(-1, len(groups)))
    found = found.reshape(len(weights), len(prompts), -1)
    present = (split > 0).astype(float) @ (~np.isnan(_scores(scores, target))).T.astype(float)
    return np.where(present >= 3, found, np.nan)


def left_out_correlations(scores, target, statistics, rules, groups):
    """Spearman correlations in the subsets of all rules, with all prompts and without each, the cuts made again.

    Parameters
    ----------
    scores, target
        See `rank_correlations`.
    statistics : dict of str to ndarray of float, shape (n_items,)
        What the rules look at; thresholds are recomputed without every prompt.
    rules : list of subsets.Rule
    groups : ndarray of int, shape (n_items,)
        Prompt of every item, 0 to n_prompts - 1.

    Returns
    -------
    replicates : ndarray of float, shape (n_prompts + 1, n_rules, n_scorers)
        For `intervals.correlation_interval`.
    present : ndarray of bool, shape (n_prompts, 1, n_scorers)
        Prompts a scorer has items of.

    Examples
    --------
    >>> i, all_items = np.arange(40), subsets.Rule("full", "full", "all")
    >>> replicates, present = left_out_correlations(i % 9, i % 7, {"mean": i % 7}, [all_items], i // 10)
    >>> replicates.shape, present.shape
    ((5, 1, 1), (4, 1, 1))
    """
    scores, groups = _scores(scores, target), np.asarray(groups)
    statistics, rules = dict(statistics), list(rules)
    for i, rule in enumerate(rules):
        if rule.statistic.endswith("_within"):  # what is chosen within a prompt does not depend on the others
            statistics[f"rule {i}"] = subsets.kept_weights(rule, statistics, groups=groups)
            rules[i] = replace(rule, method="fixed", statistic=f"rule {i}")
    weights = intervals.left_out_weights(groups)
    kept = [subsets.kept_weights(rule, statistics, w) for w in weights for rule in rules]
    found = rank_correlations(scores, target, np.stack(kept))
    present = np.stack([(~np.isnan(scores[:, w == 0])).any(1) for w in weights[1:]])
    return found.reshape(len(weights), len(rules), len(scores)), present[:, None]


def _scores(scores, target):
    scores = np.atleast_2d(np.asarray(scores, float))
    if scores.shape[1] != len(target):
        raise ValueError(f"`scores` must have shape (n_scorers, {len(target)}), but {scores.shape} was passed.")
    return scores


def _ties(values):
    """Order of the present values, and for every place one past the last that ties with it; padded to the length."""
    order = np.argsort(values, kind="stable")  # NaN last
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1
    return order, np.repeat(last, np.diff(last, prepend=0))

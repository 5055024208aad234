"""Compiled loop of `calibration.rank_correlations`. Apart, so that importing that module does not wait for numba."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mid_ranks(order, ends, weights, ranks):
    """Average ranks (minus 1/2) of items repeated as often as the weights say; returns the spread of the ranks.

    ``order`` sorts the items, ``ends[k]`` is one past the last item that ties with the k-th. The spread is the weighted
    sum of squared distances of the ranks from their mean, half the total weight.
    """
    n, total = order.shape[0], 0.0
    for k in range(n):
        total += weights[order[k]]
    before, spread, k = 0.0, 0.0, 0
    while k < n:
        tied = 0.0
        for j in range(k, ends[k]):
            tied += weights[order[j]]
        rank = before + tied / 2
        for j in range(k, ends[k]):
            ranks[order[j]] = rank
        spread += tied * (rank - total / 2) ** 2
        before += tied
        k = ends[k]
    return spread, total


@njit(cache=True, nogil=True)
def spearman(order, ends, target_ranks, target_spread, total, weights):
    """Weighted Spearman correlation of a scorer, given by the order of its items, with ranks of the target."""
    n, middle = order.shape[0], total / 2
    before, spread, shared, k = 0.0, 0.0, 0.0, 0
    while k < n:
        tied, across = 0.0, 0.0
        for j in range(k, ends[k]):
            w = weights[order[j]]
            tied += w
            across += w * (target_ranks[order[j]] - middle)
        off = before + tied / 2 - middle
        spread += tied * off * off
        shared += off * across
        before += tied
        k = ends[k]
    if spread <= 1e-12 * total or target_spread <= 1e-12 * total:
        return np.nan
    return shared / np.sqrt(spread * target_spread)


@njit(cache=True, nogil=True)
def fill(orders, ends, complete, target_order, target_ends, weights, result):
    """Correlation of every scorer with the target under every row of weights."""
    n_items = weights.shape[1]
    ranks, own_ranks, own_weights = np.zeros(n_items), np.zeros(n_items), np.zeros(n_items)
    for r in range(weights.shape[0]):
        spread, total = mid_ranks(target_order, target_ends, weights[r], ranks)
        for s in range(orders.shape[0]):
            n = complete[s]
            if n == n_items:
                result[r, s] = spearman(orders[s], ends[s], ranks, spread, total, weights[r])
                continue
            own_weights[:] = 0
            for k in range(n):
                own_weights[orders[s, k]] = weights[r, orders[s, k]]
            own_spread, own_total = mid_ranks(target_order, target_ends, own_weights, own_ranks)
            result[r, s] = spearman(orders[s, :n], ends[s, :n], own_ranks, own_spread, own_total, own_weights)

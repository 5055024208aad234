"""Compiled loops of `similarity`. Apart, so that importing that module does not wait for numba."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def add_unit_rows(rows, codes, sums):
    """Add every row, scaled to length 1, to the sum of its cell; returns the smallest norm (NaN if one is)."""
    smallest = np.float32(np.inf)
    for i in range(rows.shape[0]):
        square = np.float32(0)
        for d in range(rows.shape[1]):
            square += rows[i, d] * rows[i, d]
        norm = np.sqrt(square)
        if not (norm >= smallest):
            smallest = norm
        if not (norm > 0 and norm < np.inf):
            return np.float32(0)
        scale = np.float32(1) / norm
        target = sums[codes[i]]
        for d in range(rows.shape[1]):
            target[d] += rows[i, d] * scale
    return smallest


@njit(cache=True, nogil=True)
def count_pairs(gram, row, column, ends, counts):
    """Count the pairs i < j of a tile of the Gram matrix, whose corner is (row, column), into fine bins.

    `ends[i]` is one past the last response of i's model: pairs before it go to ``counts[0]``, others to ``counts[1]``.
    Four histograms per kind, so that neighbouring pairs in one bin need not wait for each other.
    """
    n_bins = counts.shape[2]
    last = n_bins - 1
    scale = np.float32(n_bins / 2)
    n = gram.shape[1]
    for r in range(gram.shape[0]):
        start = max(row + r + 1 - column, 0)
        end = min(max(ends[row + r] - column, start), n)
        for kind in range(2):
            first, stop = (start, end) if kind == 0 else (end, n)
            for j in range(first, stop):
                k = int(gram[r, j] * scale + scale)
                k = min(max(k, 0), last)
                counts[kind, j & 3, k] += 1


@njit(cache=True, nogil=True)
def find_nearest(gram, start, inverse, members, starts, result):
    """Fill `result` with the nearest others of the responses whose distinct row lies in this block of Gram rows.

    ``members[starts[u]:starts[u + 1]]`` are the responses that share distinct row u.
    """
    n, n_nearest = inverse.shape[0], result.shape[1]
    best = np.empty(n_nearest, np.float32)
    who = np.empty(n_nearest, np.int64)
    for r in range(gram.shape[0]):
        for m in range(starts[start + r], starts[start + r + 1]):
            anchor = members[m]
            size = 0
            for j in range(n):
                if j == anchor:
                    continue
                value = gram[r, inverse[j]]
                if size == n_nearest and value <= best[size - 1]:
                    continue
                k = size if size < n_nearest else size - 1
                while k > 0 and best[k - 1] < value:
                    best[k] = best[k - 1]
                    who[k] = who[k - 1]
                    k -= 1
                best[k] = value
                who[k] = j
                if size < n_nearest:
                    size += 1
            for k in range(size):
                result[anchor, k] = who[k]


@njit(cache=True, nogil=True)
def count_sources(nearest, codes, n_sources, result):
    """Count the distinct sources among the first of the nearest of every response."""
    seen = np.full(n_sources, -1, np.int64)
    for anchor in range(nearest.shape[0]):
        distinct = 0
        for k in range(nearest.shape[1]):
            source = codes[nearest[anchor, k]]
            if seen[source] != anchor:
                seen[source] = anchor
                distinct += 1
            result[anchor, k] = distinct

"""How many sources to expect among neighbours, by chance and when every source keeps to itself."""

import numpy as np


def expected_sources(counts, n_nearest=50):
    """Expected number of distinct sources among N random others, for N = 1 to `n_nearest`.

    Parameters
    ----------
    counts : sequence of int
        Responses of every source; their sum n exceeds `n_nearest`, or the result is cut to n - 1.
    n_nearest : int

    Returns
    -------
    ndarray of float, shape (min(n_nearest, n - 1),)

    Notes
    -----
    Hypergeometric: a source with S of the n - 1 others is missed with probability C(n-1-S, N) / C(n-1, N); the anchor's
    own source has S - 1. Weighted by the anchors' shares.

    Examples
    --------
    >>> expected_sources([2, 2], n_nearest=3).round(3)
    array([1.   , 1.667, 2.   ])
    """
    from scipy.special import gammaln

    counts = np.asarray([c for c in counts if c > 0], float)
    others = counts.sum() - 1
    sizes = np.arange(1, int(min(n_nearest, others)) + 1, dtype=float)

    def found(available):  # (n_sources, N): 1 - C(others - available, N) / C(others, N)
        left = others - available[:, None] - sizes
        log_missed = (
            gammaln(others - available[:, None] + 1)
            - gammaln(np.maximum(left, 0) + 1)
            - gammaln(others + 1)
            + gammaln(others - sizes + 1)
        )
        return np.where(left < 0, 1.0, 1 - np.exp(log_missed))

    others_found, own_found = found(counts), found(counts - 1)
    per_anchor = others_found.sum(0) - others_found + own_found
    return (counts / counts.sum()) @ per_anchor


def separated_sources(counts, n_nearest=50):
    """Fewest distinct sources among N neighbours when every source keeps to itself, averaged over anchors.

    1 as long as the anchor's source has N others; beyond, the largest other sources follow one by one.
    Parameters and shape as in `expected_sources`.

    Examples
    --------
    >>> separated_sources([3, 3], n_nearest=4).round(3)
    array([1., 1., 2., 2.])
    """
    counts = np.sort(np.asarray([c for c in counts if c > 0], int))[::-1]
    n = int(counts.sum())
    sizes = np.arange(1, min(int(n_nearest), n - 1) + 1)
    total = np.zeros(len(sizes))
    for k, own in enumerate(counts):
        capacity = np.cumsum(np.concatenate([[own - 1], np.delete(counts, k)]))
        needed = 1 + np.searchsorted(capacity, sizes)
        total += own * (needed - (1 if own == 1 else 0))
    return total / n

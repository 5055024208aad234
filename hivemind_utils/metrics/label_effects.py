"""How much of the variance of responses lies between the groups of a label: vendor, persona, language, condition.

Everything follows from sums of unit vectors, prompt by prompt; prompts are the units of intervals, and what was
assigned is permuted in tests.
"""

import numpy as np

_SINGULAR = 1e-9
_BLOCK = 2_000_000  # numbers of permuted units held at once


def label_parts(sums, counts):
    """Numerators and denominators of omega squared and of rho of a label, prompt by prompt, from sums of unit vectors.

    Parameters
    ----------
    sums : ndarray of float, shape (n_prompts, n_groups, n_dims)
        Sum of the unit vectors of the responses of every group (vendor, persona, condition).
    counts : ndarray of int, shape (n_prompts, n_groups)
        0 where a group has no response.

    Returns
    -------
    omega, rho : tuple of two ndarrays of float, each of shape (n_prompts,)
        Numerators and denominators: pass them to `intervals.ratio_interval`, which sums both over prompts. Negative
        values are kept. NaN with fewer than two groups, or without two responses in one group.

    Notes
    -----
    Omega squared is the share of the variance between groups, corrected for chance; it grows with the number of groups
    drawn from one population. Rho, the within-group minus the between-group mean cosine over one minus the latter, does
    not: compare labels by it.

    Examples
    --------
    >>> angles = np.deg2rad([0, 20, 40, 60, 80])
    >>> rows = np.stack([np.cos(angles), np.sin(angles)], 1)
    >>> omega, rho = label_parts([[rows[:3].sum(0), rows[3:].sum(0)]], [[3, 2]])
    >>> (omega[0] / omega[1]).round(6), (rho[0] / rho[1]).round(6)
    (array([0.590213]), array([0.735698]))
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    if sums.ndim != 3 or counts.shape != sums.shape[:2]:
        raise ValueError(
            "Pass sums of shape (n_prompts, n_groups, n_dims) and counts of shape (n_prompts, n_groups), "
            f"but {sums.shape} and {counts.shape} were passed."
        )
    squares = np.einsum("pgd,pgd->pg", sums, sums)
    whole = sums.sum(1)
    return _parts(squares, counts, np.einsum("pd,pd->p", whole, whole))


def label_test(grams, counts, labels, rng, *, n_permutations=2000, together=False):
    """Permutation test of omega squared of a label, pooled over prompts.

    Parameters
    ----------
    grams : ndarray of float, shape (n_prompts, n_units, n_units)
        Products of the sums of unit vectors of the units the label was given to: responses, calls, or models.
    counts : ndarray of int, shape (n_prompts, n_units)
        Responses of every unit.
    labels : ndarray of int, shape (n_units,) or (n_prompts, n_units)
        Group of every unit, from 0.
    rng : numpy.random.Generator
    n_permutations : int
    together : bool
        Permute alike in all prompts: for labels of models. Else within each prompt, for what was assigned there.

    Returns
    -------
    estimate : float
        Omega squared.
    p : float
        One-sided, (1 + number at least as large) / (1 + n_permutations).

    Examples
    --------
    >>> rows = np.repeat(np.eye(2), 6, axis=0)[None]
    >>> label_test(rows @ rows.swapaxes(1, 2), np.ones((1, 12)), np.repeat([0, 1], 6), np.random.default_rng(0))[0]
    1.0
    """
    grams, counts = np.asarray(grams, float), np.asarray(counts, float)
    if grams.ndim != 3 or grams.shape[1] != grams.shape[2] or counts.shape != grams.shape[:2]:
        raise ValueError(
            "Pass grams of shape (n_prompts, n_units, n_units) and counts of shape (n_prompts, n_units), "
            f"but {grams.shape} and {counts.shape} were passed."
        )
    labels = np.broadcast_to(np.asarray(labels, int), counts.shape)
    n_groups = int(labels.max()) + 1
    above, below = np.zeros((2, n_permutations + 1))
    identity, sums_of, planned = np.arange(counts.shape[1]), None, None
    for gram, count, label in zip(grams, counts, labels, strict=True):
        if sums_of is None or not together:
            order = np.vstack([identity, rng.permuted(np.tile(identity, (n_permutations, 1)), axis=1)])
        if not (together and np.array_equal(label, planned)):
            sums_of, planned = _same_group_sums(label, order, n_groups), label
        (numerator, denominator), _ = _parts(*sums_of(gram, count), gram.sum())
        known = ~np.isnan(numerator)
        above += np.where(known, numerator, 0)
        below += np.where(known, denominator, 0)
    if below[0] <= 0:
        raise ValueError("No prompt has two groups with responses that vary: there is nothing to compare.")
    found = np.divide(above, below, out=np.full(len(above), -np.inf), where=below > 0)
    return float(found[0]), float((1 + (found[1:] >= found[0] - _SINGULAR).sum()) / (1 + n_permutations))


def _parts(squares, counts, whole):
    """Both measures from squared lengths of group sums (..., n_groups), their counts, and of the sum of all."""
    has = counts > 0
    n, a = counts.sum(-1), has.sum(-1)
    own = np.where(has, squares / np.where(has, counts, 1), 0).sum(-1)
    pairs_in = (counts * (counts - 1)).sum(-1)
    pairs_out = n**2 - (counts**2).sum(-1)
    known = (a > 1) & (n > a)
    total, within = n - whole / np.where(known, n, 1), n - own
    noise = within / np.where(known, n - a, 1)
    omega = total - within - (a - 1) * noise, total + noise
    c_in = (squares.sum(-1) - n) / np.where(known, pairs_in, 1)
    c_out = (whole - squares.sum(-1)) / np.where(known, pairs_out, 1)
    rho = c_in - c_out, 1 - c_out
    return tuple(tuple(np.where(known, part, np.nan) for part in pair) for pair in (omega, rho))


def _same_group_sums(label, orders, n_groups):
    """Prepare squared lengths of group sums under many orders, unit ``orders[k, i]`` taking the label of unit i.

    Returns a function of a prompt's Gram matrix and counts.
    """
    by_label = np.argsort(label, kind="stable")
    orders, slots, n = orders[:, by_label], label[by_label], len(label)
    first, second = np.nonzero(np.triu(slots[:, None] == slots))
    if len(first) * 40 >= n * n * n_groups:  # more pairs share a label than products would be made
        return lambda gram, count: _multiplied_sums(gram, count, orders, slots, n_groups)
    at = (orders[:, first] * n + orders[:, second]).astype(np.int32)
    kinds, starts = np.unique(slots[first], return_index=True)
    own_starts = np.unique(slots, return_index=True)[1]
    doubling = 2 - np.eye(n)

    def sums(gram, count):
        squares, counts = np.zeros((2, len(orders), n_groups))
        squares[:, kinds] = np.add.reduceat(np.take((gram * doubling).ravel(), at), starts, axis=1)
        counts[:, kinds] = np.add.reduceat(np.take(count, orders), own_starts, axis=1)
        return squares, counts

    return sums


def _multiplied_sums(gram, count, orders, slots, n_groups):
    """The same as a product of the Gram matrix with the membership of all orders."""
    squares, counts = np.empty((2, len(orders), n_groups))
    block = max(1, _BLOCK // (len(slots) * n_groups))
    for start in range(0, len(orders), block):
        order = orders[start : start + block]
        member = np.zeros((len(gram), len(order), n_groups))
        member[order.T, np.arange(len(order)), slots[:, None]] = 1
        products = (gram @ member.reshape(len(gram), -1)).reshape(member.shape)
        squares[start : start + block] = np.einsum("ubg,ubg->bg", products, member)
        counts[start : start + block] = np.tensordot(count, member, 1)
    return squares, counts

"""Whether a scorer rewards the typical response over an equally liked rarer one."""

import numpy as np

from hivemind_utils.metrics.contested import normal_scores
from hivemind_utils.metrics.intervals import jackknife_interval

LEAST_FOR_CUBE = 10  # labels per item from which the cube of the human mean can be told from noise


def typicality_preference(scores, labels, typicality, log_length, prompts, n_splits, rng, *, persons=None):
    """Typicality preference (pluralism coefficient): what typicality adds to a score at equal human means.

    The normal-scored score is regressed on typicality, log length and the human mean, its square and its cube, within
    prompts. The mean of one half of the annotators is instrumented by that of the other half: a plain regression lets
    typicality stand in for the quality that a noisy mean misses, and flags scorers that only follow people. Powers of
    the mean take up a ceiling or a curve of the score.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
        NaN where missing: such items are left out for that scorer.
    labels : ndarray of float, shape (n_items, n_annotators)
        NaN where missing; items with fewer than two labels are left out.
    typicality, log_length : ndarray of float, shape (n_items,)
        Mean cosine of the response to all pool responses of its prompt; log of its length. Items with NaN are left out.
    prompts : ndarray, shape (n_items,)
    n_splits : int
        Random halves of the annotators; each is used in both directions.
    rng : numpy.random.Generator
    persons : ndarray of int, shape (n_items, n_annotators), optional
        Number of the annotator behind each column of each row, where known, missing labels included: then people are
        split, and everybody stays on one side.

    Returns
    -------
    Interval
        Standard deviations of the score per standard deviation of typicality, shape (n_scorers,); positive where the
        typical response is preferred. NaN where no prompt has enough items.

    Notes
    -----
    Instrumental variables with as many instruments as regressors: z_A, its square and its cube by those of z_B, with z
    the normal-scored half means. No cube below `LEAST_FOR_CUBE` labels per item. The equations of all splits and both
    directions are summed before they are solved: with few annotators the instruments are weak, and a mean of solutions
    would follow the wildest. Jackknife t over prompts. Size and power: ``benchmarks/typicality_worlds.csv``.

    References
    ----------
    Hausman, Newey and Powell (1995), Nonlinear errors in variables.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> prompts, quality, typical = np.repeat(np.arange(20), 10), *rng.normal(size=(2, 200))
    >>> labels = quality[:, None] + rng.normal(size=(200, 12))
    >>> found = typicality_preference(quality + typical, labels, typical, np.zeros(200), prompts, 4, rng)
    >>> bool(found.lower[0] > 0)
    True
    """
    scores, labels = np.atleast_2d(np.asarray(scores, float)), np.asarray(labels, float)
    if labels.ndim != 2 or scores.shape[1] != len(labels):
        raise ValueError(
            "`scores` must have shape (n_scorers, n_items) and `labels` (n_items, n_annotators), but "
            f"{scores.shape} and {labels.shape} were passed."
        )
    if n_splits < 1:
        raise ValueError(f"There must be at least one split of the annotators, but n_splits = {n_splits} was passed.")
    ids, prompts = np.unique(np.asarray(prompts), return_inverse=True)
    halves = [_half_means(labels, rng, persons) for _ in range(n_splits)]
    usable = ~np.isnan(typicality) & ~np.isnan(log_length) & (np.sum(~np.isnan(labels), axis=1) > 1)
    degree = 3 if np.median(np.sum(~np.isnan(labels[usable]), axis=1)) >= LEAST_FOR_CUBE else 2
    known = ~np.isnan(scores) & usable
    replicates = np.full((len(ids) + 1, len(scores)), np.nan)
    present = np.zeros((len(ids), len(scores)), bool)
    for pattern in np.unique(known, axis=0):
        same = np.flatnonzero((known == pattern).all(1))
        used, here = np.unique(prompts[pattern], return_inverse=True)
        present[np.ix_(used, same)] = True
        if len(used) < 2:
            continue
        exogenous = [_standard(np.asarray(x, float)[pattern]) for x in (typicality, log_length)]
        y = normal_scores(scores[same][:, pattern]).T
        sums = []
        for halves_of_items in halves:
            a, b = (half[pattern] for half in halves_of_items)
            both = ~np.isnan(a) & ~np.isnan(b)  # where people are split, all of an item's may be on one side
            za, zb = (normal_scores(half[both])[:, None] ** np.arange(1, degree + 1) for half in (a, b))
            fixed, groups = np.stack(exogenous, axis=1)[both], here[both]
            xa, xb, response = (
                _demean(x, groups, len(used)) for x in (np.hstack([fixed, za]), np.hstack([fixed, zb]), y[both])
            )
            sums += [_group_sums(*pair, response, groups, len(used)) for pair in ((xb, xa), (xa, xb))]
        found = _left_out_coefficients(*(sum(part) for part in zip(*sums, strict=True)))
        replicates[:, same] = found[:1]
        replicates[np.ix_(used + 1, same)] = found[1:]
    return jackknife_interval(replicates, present)


def _half_means(labels, rng, persons):
    """Means of two random halves of every item's labels; NaN where a half is empty."""
    present = ~np.isnan(labels)
    if persons is None:
        keys, n = np.where(present, rng.random(labels.shape), np.inf), present.sum(1, keepdims=True)
    else:
        keys, n = rng.random(int(np.max(persons)) + 1)[persons], labels.shape[1]
    first = np.argsort(np.argsort(keys, axis=1), axis=1) < n // 2
    return tuple(_row_means(labels, present & half) for half in (first, ~first))


def _row_means(values, mask):
    n = mask.sum(1)
    return np.divide(np.where(mask, values, 0).sum(1), n, out=np.full(len(n), np.nan), where=n > 0)


def _standard(values):
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1)


def _demean(values, groups, n_groups):
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    n = np.bincount(groups, minlength=n_groups)
    return values - (sums / np.maximum(n, 1)[:, None])[groups]


def _group_sums(instruments, design, response, groups, n_groups):
    """Both sides of the equations of instrumental variables, by group."""
    left = np.zeros((n_groups, design.shape[1], design.shape[1]))
    right = np.zeros((n_groups, design.shape[1], response.shape[1]))
    np.add.at(left, groups, instruments[:, :, None] * design[:, None, :])
    np.add.at(right, groups, instruments[:, :, None] * response[:, None, :])
    return left, right


def _left_out_coefficients(left, right):
    """First coefficient with all groups and without each, shape (n_groups + 1, n_responses); NaN where undetermined."""
    left, right = (np.concatenate([x.sum(0)[None], x.sum(0) - x]) for x in (left, right))
    found = np.full((len(left), right.shape[2]), np.nan)
    varies = np.abs(left[0]).max(1) > 1e-9  # a constant regressor (all of one length) is left out
    if not varies[0]:
        return found
    left, right = left[:, varies][:, :, varies], right[:, varies]
    singular = np.linalg.svd(left, compute_uv=False)
    solvable = singular[:, -1] > 1e-10 * singular[:, 0]
    found[solvable] = np.linalg.solve(left[solvable], right[solvable])[:, 0]
    return found

"""Scorers that give a distribution against people's, and pairs with ties.

Arrays in, arrays out. A distribution is a row of shares over the values of the scale.
"""

import numpy as np

from hivemind_utils.metrics.calibration import rank_correlations


def soft_scores(predicted, counts, scale, *, smoothing=1e-3):
    """How far a scorer's distribution lies from people's, item by item.

    Parameters
    ----------
    predicted : ndarray of float, shape (n_items, n_values)
        Shares or weights, rows with a positive sum; rows are normalised here.
    counts : ndarray of int, shape (n_items, n_values)
        Human annotations.
    scale : sequence of float, length n_values
    smoothing : float
        Share of the uniform distribution mixed into the prediction for the cross-entropy, so that a zero costs much
        but not everything.

    Returns
    -------
    dict of str to ndarray of float, shape (n_items,)
        ``manhattan`` (0 to 2), ``jensen_shannon`` (divergence, bits, 0 to 1), ``cross_entropy`` (bits), ``brier``
        (0 to 2), ``wasserstein_1`` (units of the scale), ``entropy_predicted`` and ``entropy_people`` (bits).

    Raises
    ------
    ValueError
        If a prediction is negative, not finite, or sums to 0, or an item has no label.

    Examples
    --------
    >>> found = soft_scores(np.array([[0.5, 0.5]]), np.array([[3, 1]]), scale=[0, 1])
    >>> found["manhattan"], found["wasserstein_1"]
    (array([0.5]), array([0.25]))
    """
    from scipy.special import xlogy

    predicted, counts = np.asarray(predicted, float), np.asarray(counts, float)
    if predicted.shape != counts.shape:
        raise ValueError(f"`predicted` must have the shape of `counts`, {counts.shape}, but has {predicted.shape}.")
    bad = ~np.isfinite(predicted).all(1) | (predicted < 0).any(1) | ~(predicted.sum(1) > 0)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} predicted rows are negative, not finite or empty; the first is row {bad.argmax()}."
        )
    if (counts.sum(1) == 0).any():
        raise ValueError("Every item must have at least one label: leave the others out first.")
    q, p = (rows / rows.sum(1, keepdims=True) for rows in (predicted, counts))
    smooth = (1 - smoothing) * q + smoothing / q.shape[1]
    middle = (p + q) / 2
    steps = np.diff(np.asarray(scale, float))
    return {
        "manhattan": np.abs(p - q).sum(1),
        "jensen_shannon": np.maximum(_bits(middle) - (_bits(p) + _bits(q)) / 2, 0),
        "cross_entropy": -xlogy(p, smooth).sum(1) / np.log(2),
        "brier": ((p - q) ** 2).sum(1),
        "wasserstein_1": (np.abs(np.cumsum(p - q, axis=1)[:, :-1]) * steps).sum(1),
        "entropy_predicted": _bits(q),
        "entropy_people": _bits(p),
    }


def concordant(differences, target):
    """Whether the scorer prefers the response people prefer, pair by pair; the mean over pairs is the concordance.

    Swapping the two responses of any pair changes nothing, unlike a correlation of signed values.

    Parameters
    ----------
    differences : ndarray of float, shape (n_scorers, n_items)
        Score of response 1 minus score of response 2; NaN where missing.
    target : ndarray of float, shape (n_items,)
        Human mean, positive where response 1 is preferred.

    Returns
    -------
    ndarray of float, shape (n_scorers, n_items)
        1, 0, or 0.5 where the scorer ties; NaN where people tie or the scorer is missing.

    Examples
    --------
    >>> concordant(np.array([[0.4, -0.2, 0.0]]), np.array([1.0, 1.0, 1.0]))
    array([[1. , 0. , 0.5]])
    """
    differences = np.atleast_2d(np.asarray(differences, float))
    side = np.sign(np.asarray(target, float))
    return np.where(side != 0, (1 + np.sign(differences) * side) / 2, np.nan)


def symmetric_spearman(differences, target, weights):
    """Spearman correlation over every pair in both orders: the signs of an arbitrary order drop out.

    Parameters
    ----------
    differences : ndarray of float, shape (n_scorers, n_items)
    target : ndarray of float, shape (n_items,)
    weights : ndarray of float, shape (n_subsets, n_items)

    Returns
    -------
    ndarray of float, shape (n_subsets, n_scorers)

    Examples
    --------
    >>> symmetric_spearman(np.array([[0.4, -0.2, 0.1]]), np.array([1.0, -2.0, 0.5]), np.ones((1, 3))).round(3)
    array([[0.886]])
    """
    differences, weights = np.atleast_2d(np.asarray(differences, float)), np.atleast_2d(weights)
    both = np.concatenate([differences, -differences], axis=1)
    return rank_correlations(both, np.concatenate([target, -np.asarray(target)]), np.tile(weights, (1, 2)))


def tie_calibration(differences, classes):
    """Threshold below which a scorer's difference is called a tie, chosen to agree with people most often.

    Parameters
    ----------
    differences : ndarray of float, shape (n_items,)
        Without NaN.
    classes : ndarray of int, shape (n_items,)
        What most annotators say: 1, 0 (tie) or -1.

    Returns
    -------
    threshold : float
        ``|difference| <= threshold`` is a tie; -1 where calling nothing a tie is best. The smallest of equals.
    accuracy : float
        Share of pairs with the same of three classes, at that threshold.

    Notes
    -----
    Deutsch, Foster and Freitag (2023), "Ties matter". Chosen and judged on the same pairs: for an honest accuracy
    choose on other prompts, as `tie_accuracy` does.

    Examples
    --------
    >>> threshold, accuracy = tie_calibration(np.array([0.9, 0.1, -0.8]), np.array([1, 0, -1]))
    >>> float(threshold), float(accuracy)
    (0.1, 1.0)
    """
    differences, classes = np.asarray(differences, float), np.asarray(classes)
    size = np.abs(differences)
    order = np.argsort(size, kind="stable")
    right_as_tie = (classes[order] == 0).astype(int)
    right_as_sign = (np.sign(differences[order]) == classes[order]).astype(int)
    below, above = np.append(0, np.cumsum(right_as_tie)), np.append(0, np.cumsum(right_as_sign))
    right = below + above[-1] - above
    last = np.append(True, np.append(np.diff(size[order]) > 0, True)) if len(size) else np.array([True])
    best = int(np.argmax(np.where(last, right, -1)))
    return (float(size[order][best - 1]) if best else -1.0), float(right[best] / max(len(size), 1))


def tie_accuracy(differences, classes, groups):
    """Three-class accuracy with the tie threshold chosen on the other half of the prompts, both ways.

    Parameters
    ----------
    differences, classes
        See `tie_calibration`.
    groups : ndarray of int, shape (n_items,)
        Prompts; even ones judge thresholds chosen on odd ones and the reverse.

    Returns
    -------
    float

    Examples
    --------
    >>> float(tie_accuracy(np.array([0.9, 0.1, 0.8, 0.2]), np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])))
    0.75
    """
    differences, classes = np.asarray(differences, float), np.asarray(classes)
    odd = np.unique(groups, return_inverse=True)[1] % 2 == 1
    right = np.zeros(len(differences), bool)
    for fold in (odd, ~odd):
        threshold, _ = tie_calibration(differences[~fold], classes[~fold])
        called = np.where(np.abs(differences) <= threshold, 0, np.sign(differences))
        right[fold] = (called == classes)[fold]
    return float(right.mean())


def _bits(shares):
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.abs((shares * logs).sum(1))

"""Do measures of diversity measure ideas? Their values on sets of responses whose content is known.

Sets differ in ideas, in form, or in both. A measure of ideas tells varied ideas from one idea whatever the form; a
measure of form is taken in. Accuracy of a best threshold is above one half in noise, so its value in noise is given.
"""

import numpy as np

from hivemind_utils.metrics import intervals


def auc(values, labels):
    """Chance that a set labelled 1 has a larger value than one labelled 0, ties one half.

    Parameters
    ----------
    values : ndarray of float, shape (n_sets,)
    labels : ndarray of 0 and 1, shape (n_sets,)

    Returns
    -------
    float
        NaN if a label is missing.

    Examples
    --------
    >>> auc([0.9, 0.7, 0.6, 0.6, 0.3, 0.2], [1, 1, 0, 1, 0, 1])
    0.6875
    """
    from sklearn.metrics import roc_auc_score

    values, labels = _checked(values, labels)
    return float(roc_auc_score(labels, values)) if labels.any() and not labels.all() else float("nan")


def auc_interval(values, labels, contexts, level=intervals.LEVEL):
    """Area under the curve over all sets, with its jackknife interval over contexts.

    Parameters
    ----------
    values, labels
        As for `auc`.
    contexts : ndarray, shape (n_sets,)
        Prompt of every set: the unit.
    level : float

    Returns
    -------
    Interval
        NaN bounds where a label is missing without some context, or with one context.

    Examples
    --------
    >>> found = auc_interval([0.9, 0.2, 0.8, 0.4, 0.3, 0.5], [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2])
    >>> round(float(found.estimate), 4)
    0.7778
    """
    values, labels = _checked(values, labels)
    codes = np.unique(np.asarray(contexts), return_inverse=True)[1]
    if codes.shape != values.shape:
        raise ValueError(f"Every set needs a context, but {codes.shape} and {values.shape} were passed.")
    left = [auc(values[codes != context], labels[codes != context]) for context in range(codes.max(initial=-1) + 1)]
    replicates = np.array([auc(values, labels), *left])
    replicates = np.where(np.isnan(replicates).any() & (np.arange(len(replicates)) > 0), np.nan, replicates)
    return intervals.jackknife_interval(replicates, level=level)


def best_accuracy(values, labels):
    """Accuracy of the best threshold, larger values taken for label 1.

    Parameters
    ----------
    values : ndarray of float, shape (n_sets,)
    labels : ndarray of 0 and 1, shape (n_sets,)

    Returns
    -------
    float
        At least the share of the commoner label; see `noise_accuracy`.

    Examples
    --------
    >>> round(best_accuracy([0.9, 0.7, 0.6, 0.6, 0.3, 0.2], [1, 1, 0, 1, 0, 1]), 6)
    0.666667
    """
    values, labels = _checked(values, labels)
    if not len(values):
        return float("nan")
    order = np.argsort(values, kind="stable")
    values, labels = values[order], labels[order]
    right = np.concatenate([[labels.sum()], labels.sum() + np.cumsum(np.where(labels, -1, 1))])
    between = np.concatenate([[True], np.diff(values) > 0, [True]])  # no threshold parts equal values
    return float(right[between].max() / len(values))


def noise_accuracy(n_high, n_low, rng, n_draws=2000):
    """Mean of the best accuracy of a measure that says nothing.

    Parameters
    ----------
    n_high, n_low : int
        Sets of label 1 and 0.
    rng : numpy.random.Generator
    n_draws : int

    Returns
    -------
    float
        Print it beside every accuracy.

    Examples
    --------
    >>> round(noise_accuracy(30, 30, np.random.default_rng(0)), 2)
    0.57
    """
    if n_high < 1 or n_low < 1:
        raise ValueError(f"Both labels need a set, but {n_high} and {n_low} were passed.")
    steps = np.tile(np.repeat([-1, 1], [n_high, n_low]), (n_draws, 1))
    walks = np.cumsum(rng.permuted(steps, axis=1), axis=1)
    return float((n_high + np.maximum(walks.max(1), 0)).mean() / (n_high + n_low))


def crossed_sets(n_ideas, n_options, n_slots, n_sets, rng, size=5):
    """Draw sets in which ideas are one or all different, and form is fixed or varied, crossed.

    Parameters
    ----------
    n_ideas : int
        Ideas of the prompt, at least `size`.
    n_options : int
        Wordings of every slot of a frame.
    n_slots : int
        Slots of a frame.
    n_sets : int
        Sets of each kind.
    rng : numpy.random.Generator
    size : int
        Responses in a set.

    Returns
    -------
    ideas : ndarray of int, shape (n_sets, 2, 2, size)
        Second axis: one idea, different ideas. Third: form fixed, varied.
    options : ndarray of int, shape (n_sets, 2, 2, size, n_slots)
        Fixed: the same option in every slot of every response. Varied: options in random order, none again before all
        were used.

    Examples
    --------
    >>> ideas, options = crossed_sets(6, 5, 3, 1, np.random.default_rng(0))
    >>> [len(set(ideas[0, i, 0])) for i in (0, 1)], [len(set(options[0, 0, f, :, 0])) for f in (0, 1)]
    ([1, 5], [1, 5])
    """
    if n_ideas < size or size < 2:
        raise ValueError(f"A set of {size} different ideas needs as many, at least 2, but there are {n_ideas}.")
    if n_options < 2 or n_slots < 1:
        raise ValueError(f"Form can vary with 2 options and 1 slot or more, but {n_options} and {n_slots} were passed.")
    ideas = np.empty((n_sets, 2, 2, size), int)
    ideas[:, 0] = rng.integers(n_ideas, size=(n_sets, 2, 1))
    many = rng.permuted(np.tile(np.arange(n_ideas), (2 * n_sets, 1)), axis=1)[:, :size]
    ideas[:, 1] = many.reshape(n_sets, 2, size)
    options = np.empty((n_sets, 2, 2, size, n_slots), int)
    options[:, :, 0] = rng.integers(n_options, size=(n_sets, 2, 1, 1))
    rounds = -(-size // n_options)
    deck = np.tile(np.arange(n_options), (n_sets * 2 * n_slots * rounds, 1))
    varied = rng.permuted(deck, axis=1).reshape(n_sets, 2, n_slots, rounds * n_options)[..., :size]
    options[:, :, 1] = varied.swapaxes(-1, -2)
    return ideas, options


def crossed_accuracy(values, level=intervals.LEVEL):
    """How often a measure ranks sets of one prompt by their ideas, by their form, and by ideas against form.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts, n_sets, 2, 2)
        Diversity of the sets of `crossed_sets`. NaN where a measure has no value.
    level : float

    Returns
    -------
    Interval
        Of shape (3,). Ideas: varied above fixed, form varied in both; ideal 1. Form: varied above fixed, ideas varied
        in both; ideal .5. Against: ideas varied and form fixed above ideas fixed and form varied; 1 for a measure of
        ideas, 0 for one of form. Prompts are the units.

    Examples
    --------
    >>> ideas, form = np.meshgrid([0.0, 1.0], [0.0, 0.2], indexing="ij")
    >>> crossed_accuracy(np.tile(ideas + form, (3, 4, 1, 1))).estimate
    array([1., 1., 1.])
    """
    values = np.asarray(values, float)
    if values.ndim != 4 or values.shape[2:] != (2, 2):
        raise ValueError(f"`values` must have shape (n_prompts, n_sets, 2, 2), but {values.shape} was passed.")
    pairs = (((1, 1), (0, 1)), ((1, 1), (1, 0)), ((1, 0), (0, 1)))
    found = [[_above(prompt[:, *a], prompt[:, *b]) for a, b in pairs] for prompt in values]
    return intervals.mean_interval(np.reshape(found, (len(values), 3)), level)


def _above(a, b):
    """Chance that one of `a` is above one of `b`, ties one half."""
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(a) or not len(b):
        return np.nan
    return ((a[:, None] > b).mean() + (a[:, None] >= b).mean()) / 2


def _checked(values, labels):
    values, labels = np.asarray(values, float), np.asarray(labels)
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(f"Every set needs a value and a label, but {values.shape} and {labels.shape} were passed.")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} sets have no value: leave them out, and count them.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("Labels must be 0 (low) or 1 (high).")
    return values, labels.astype(bool)

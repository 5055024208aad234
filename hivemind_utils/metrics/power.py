"""How small a difference a study can find: from a pilot's variances to the prompts and responses that are needed.

The difference of two arms varies between prompts, and within a prompt because only n responses are drawn. The pilot
tells both apart, so that more prompts and more responses can be weighed against each other.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL, POWER = 0.95, 0.8


class Plan(NamedTuple):
    """Prompts and responses that find the smallest difference for a budget; see `best_plan`."""

    n_prompts: int
    n_responses: int
    difference: float
    cost: float


def pair_components(cosines):
    """Variance components of the diversity of a cell, averaged over cells.

    Parameters
    ----------
    cosines : ndarray of float, shape (..., n, n)
        At least four responses in a cell.

    Returns
    -------
    one, both : float
        Covariance of one minus the cosine of two pairs that share one response; variance of one pair. Below 0 by
        chance.

    References
    ----------
    Hoeffding (1948), A class of statistics with asymptotically normal distribution. Both are unbiased.

    Examples
    --------
    >>> radians = np.deg2rad([0, 20, 60, 100, 150])
    >>> [round(part, 6) for part in pair_components(np.cos(radians[:, None] - radians))]
    [0.016973, 0.400194]
    """
    cosines = np.asarray(cosines, float)
    if cosines.ndim < 2 or cosines.shape[-1] != cosines.shape[-2]:
        raise ValueError(f"`cosines` must have shape (..., n, n), but {cosines.shape} was passed.")
    n = cosines.shape[-1]
    if n < 4:
        raise ValueError(f"A pilot needs at least four responses in a cell, but {n} were passed.")
    h = (1 - cosines) * (1 - np.eye(n))
    rows, squares = h.sum(-1), (h**2).sum((-1, -2))
    three = (rows**2).sum(-1) - squares
    four = rows.sum(-1) ** 2 - 4 * three - 2 * squares
    mean_square = four / (n * (n - 1) * (n - 2) * (n - 3))
    one = three / (n * (n - 1) * (n - 2)) - mean_square
    both = squares / (n * (n - 1)) - mean_square
    return float(one.mean()), float(both.mean())


def diversity_variance(one, both, n):
    """Variance of the diversity of a cell of n responses, from its components.

    Parameters
    ----------
    one, both : float
        From `pair_components`.
    n : int or ndarray of int
        At least 2.

    Returns
    -------
    float or ndarray of float
        Never below 0.

    Examples
    --------
    >>> round(float(diversity_variance(0.016973, 0.400194, 5)), 4)
    0.0502
    """
    n = np.asarray(n)
    if (n < 2).any():
        raise ValueError(f"Diversity needs at least two responses, but {n.min()} were passed.")
    return np.maximum(2 / (n * (n - 1)) * (2 * (n - 2) * one + both), 0)[()]


def mean_variance(values, n):
    """Variance of a cell's mean of n responses, such as of quality.

    Parameters
    ----------
    values : ndarray of float, shape (n_cells, n_pilot)
        At least two responses in a cell; NaN where there is none.
    n : int or ndarray of int

    Returns
    -------
    float or ndarray of float

    Examples
    --------
    >>> float(mean_variance([[1.0, 3.0], [2.0, 2.0]], 10))
    0.1
    """
    values = np.asarray(values, float)
    counts = (~np.isnan(values)).sum(-1)
    if not (counts >= 2).any():
        raise ValueError("A pilot needs at least two responses in a cell.")
    values = values[counts >= 2]
    return (np.nanvar(values, axis=-1, ddof=1).mean() / np.asarray(n))[()]


def prompt_variance(differences, within):
    """Variance between prompts of the true difference of two arms.

    Parameters
    ----------
    differences : ndarray of float, shape (n_prompts,)
        Of the pilot; NaN where a prompt lacks an arm.
    within : float
        Variance of a difference within a prompt, at the pilot's number of responses: the sum of both arms'.

    Returns
    -------
    float
        0 if the differences vary less than within prompts alone.

    Examples
    --------
    >>> round(prompt_variance([0.1, 0.3, 0.5], 0.01), 6)
    0.03
    """
    differences = np.asarray(differences, float)
    differences = differences[~np.isnan(differences)]
    if len(differences) < 2:
        raise ValueError(f"A pilot needs at least two prompts with both arms, but {len(differences)} were passed.")
    return float(max(0.0, differences.var(ddof=1) - within))


def detectable_difference(n_prompts, between, within, *, power=POWER, level=LEVEL):
    """Smallest true difference that a study finds with a given chance.

    Parameters
    ----------
    n_prompts : int or ndarray of int
        At least 2.
    between : float
        From `prompt_variance`.
    within : float or ndarray of float
        Variance of a difference within a prompt, at the study's number of responses.
    power : float
        Chance to find it.
    level : float
        Of the interval that must not contain 0.

    Returns
    -------
    float or ndarray of float

    Examples
    --------
    >>> round(float(detectable_difference(100, 0.01, (0.08 + 0.04) / 10)), 6)
    0.041968
    """
    n_prompts = np.asarray(n_prompts)
    if (n_prompts < 2).any():
        raise ValueError(f"A study needs at least two prompts, but {n_prompts.min()} were passed.")
    if not (0 < power < 1 and 0 < level < 1):
        raise ValueError(f"`power` and `level` must lie between 0 and 1, but {power} and {level} were passed.")
    df = n_prompts - 1
    quantiles = stdtrit(df, 1 - (1 - level) / 2) + stdtrit(df, power)
    return (quantiles * np.sqrt((between + np.asarray(within, float)) / n_prompts))[()]


def best_plan(budget, response_cost, between, within_of, *, n_values=range(2, 101), prompt_cost=0.0, max_prompts=None):
    """Find the prompts and responses that find the smallest difference for a budget.

    Parameters
    ----------
    budget : float
    response_cost : float
        Of one response of each of both arms together.
    between : float
        From `prompt_variance`.
    within_of : callable
        Variance of a difference within a prompt, given an array of numbers of responses.
    n_values : sequence of int
        Numbers of responses to consider.
    prompt_cost : float
        Of one more prompt (labels, say).
    max_prompts : int, optional
        Prompts there are.

    Returns
    -------
    Plan
        What the next 100 dollars buy is the plan with them beside the one without.

    Raises
    ------
    ValueError
        If the budget does not pay for two prompts.

    Examples
    --------
    >>> found = best_plan(100, 0.01, 0.01, lambda n: 0.12 / n, max_prompts=500)
    >>> found.n_prompts, found.n_responses, round(found.difference, 4)
    (500, 20, 0.0159)
    """
    n = np.asarray(list(n_values))
    if not response_cost > 0:
        raise ValueError(f"`response_cost` must be above 0, but {response_cost} was passed.")
    each = n * response_cost + prompt_cost
    prompts = np.floor(budget / each + 1e-9).astype(int)
    if max_prompts is not None:
        prompts = np.minimum(prompts, max_prompts)
    possible = prompts >= 2
    if not possible.any():
        raise ValueError(f"{budget:g} does not pay for two prompts of {n.min()} responses: {2 * each.min():g} would.")
    n, prompts, each = n[possible], prompts[possible], each[possible]
    found = detectable_difference(prompts, between, within_of(n))
    best = int(np.argmin(np.round(found, 12)))
    return Plan(int(prompts[best]), int(n[best]), float(found[best]), float(prompts[best] * each[best]))

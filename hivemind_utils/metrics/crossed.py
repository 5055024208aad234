"""Prompts and models as crossed random effects: how far a mean holds for other prompts, and for other models too.

An interval over prompts takes the models as they are. Where both were sampled, what varies between models counts as
well.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


class Crossed(NamedTuple):
    """Mean of a prompts-by-models table and its variance components; see `crossed_mean`.

    Attributes
    ----------
    mean, se, lower, upper : float
        Of the mean over models of the mean over prompts, for other prompts and other models.
    prompts, models, rest : float
        Variance between prompts, between models, and of what is left (their interaction and chance). Below 0 by
        chance.
    df : float
        Degrees of freedom of the interval (Satterthwaite).
    n_prompts, n_models : int
    """

    mean: float
    se: float
    lower: float
    upper: float
    prompts: float
    models: float
    rest: float
    df: float
    n_prompts: int
    n_models: int


def crossed_mean(values, level=LEVEL):
    """Mean of a table with prompts and models as crossed random effects, by the method of moments.

    Parameters
    ----------
    values : ndarray of float, shape (n_prompts, n_models)
        One value per prompt and model; NaN where there is none. Models weigh equally.
    level : float

    Returns
    -------
    Crossed
        Bounds are NaN with fewer than two prompts or models, or if nothing is left to estimate the rest from.

    References
    ----------
    Searle, Casella and McCulloch (1992), Variance Components, section 5.3 (Henderson's method 1). With a value in every
    cell the components are those of the analysis of variance, which restricted maximum likelihood gives too where none
    of them is negative.

    Examples
    --------
    >>> found = crossed_mean([[0.8, 0.6, 0.7], [0.9, 0.7, 0.8], [0.7, 0.5, 0.6]])
    >>> round(found.mean, 3), round(found.prompts, 4), round(found.models, 4), abs(round(found.rest, 4))
    (0.7, 0.01, 0.01, 0.0)
    """
    values = np.asarray(values, float)
    if values.ndim != 2:
        raise ValueError(f"`values` must have shape (n_prompts, n_models), but {values.shape} was passed.")
    known = ~np.isnan(values)
    values = values[known.any(1)][:, known.any(0)]
    known = ~np.isnan(values)
    n_prompts, n_models, n = *values.shape, int(known.sum())
    nan = float("nan")
    if not n:
        return Crossed(nan, nan, nan, nan, nan, nan, nan, nan, n_prompts, n_models)
    weights = known / known.sum(0) / n_models
    filled = np.where(known, values, 0)
    mean = float((weights * filled).sum())
    if n_prompts < 2 or n_models < 2 or n <= n_prompts + n_models - 1:
        return Crossed(mean, nan, nan, nan, nan, nan, nan, nan, n_prompts, n_models)
    of_prompt, of_model = known.sum(1), known.sum(0)
    whole = filled.sum() ** 2 / n
    sums = np.array(
        [(filled**2).sum() - whole, (filled.sum(1) ** 2 / of_prompt).sum() - whole,
         (filled.sum(0) ** 2 / of_model).sum() - whole]
    )  # fmt: skip
    by_prompts, by_models = (of_prompt**2).sum() / n, (of_model**2).sum() / n
    expected = np.array(
        [
            [n - by_prompts, n - by_models, n - 1],
            [n - by_prompts, (known.sum(1) / of_prompt).sum() - by_models, n_prompts - 1],
            [(known.sum(0) / of_model).sum() - by_prompts, n - by_models, n_models - 1],
        ]
    )
    prompts, models, rest = np.linalg.solve(expected, sums)
    parts = np.array([(weights.sum(1) ** 2).sum(), (weights.sum(0) ** 2).sum(), (weights**2).sum()])
    variance = float(parts @ np.maximum([prompts, models, rest], 0))
    # Mean squares of the two effects, as if every cell were filled.
    between = np.maximum([n_models * prompts + rest, n_prompts * models + rest, rest], 0) / (n_prompts * n_models)
    df_of = np.array([n_prompts - 1, n_models - 1, (n_prompts - 1) * (n_models - 1)])
    below = (between**2 / df_of).sum()
    df = float(np.clip(variance**2 / below, min(n_prompts, n_models) - 1, n - 1)) if below > 0 else float(n - 1)
    half = stdtrit(df, 1 - (1 - level) / 2) * np.sqrt(variance)
    return Crossed(
        mean, float(np.sqrt(variance)), float(mean - half), float(mean + half), float(prompts), float(models),
        float(rest), df, n_prompts, n_models,
    )  # fmt: skip

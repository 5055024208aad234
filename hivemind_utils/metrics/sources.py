"""Where similarity comes from: central models, pairs of models that share something, time.

A matrix of similarities has one row and column per model; its diagonal is not used. Pairs that share a model are not
independent, so ordinary standard errors are far too small. The primary analysis of a shared label takes the groups
(vendors) as units; errors from deleting models, robust to shared models, and from permutations are reported next to it.
"""

from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from scipy.special import stdtr, stdtrit

MIN_GROUPS = 4  # fewer groups give no interval
EXACT_NODES = 7  # up to so many models all permutations are made
_SINGULAR = 1e-9
_BLOCK = 2_000_000  # numbers of permuted pairs held at once


@dataclass(frozen=True)
class Additive:
    """Similarity of pairs as a mean, an effect of each model, and a rest.

    Attributes
    ----------
    mean : float
    effects : ndarray of float, shape (n_models,)
        How much more similar than average a model is to the others; they sum to 0.
    residuals : ndarray of float, shape (n_models, n_models)
        What a pair has beyond its models; the diagonal is 0.
    r2, r2_noise, r2_adjusted : float
        Share of the pairs' variance that the effects explain; what they would explain of noise; corrected for it.
    residual_variance, effect_variance : float
    share : float
        Share of the variance of a pair that its two models bring, 2 v / (2 v + residual variance); below 0 by chance.
    """

    mean: float
    effects: np.ndarray
    residuals: np.ndarray
    r2: float
    r2_noise: float
    r2_adjusted: float
    residual_variance: float
    effect_variance: float
    share: float


@dataclass(frozen=True)
class DyadicFit:
    """Regression of the similarity of pairs on what they share.

    Attributes
    ----------
    coefficients, se_dyadic, se_node, se_group, t : ndarray of float, shape (n_columns,)
        Errors robust to shared models; from deleting models; from deleting groups (NaN without groups). `t` is of
        ordinary least squares, which takes pairs as independent: for permutations only.
    left_out : ndarray of float, shape (n_models_used, n_columns)
        Coefficients without each model; NaN where a column then says nothing.
    used : ndarray of int
        Models used. The others have an unknown value.
    """

    coefficients: np.ndarray
    se_dyadic: np.ndarray
    se_node: np.ndarray
    se_group: np.ndarray
    t: np.ndarray
    left_out: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class GroupSlopes:
    """A slope per group and their mean with its t interval; groups are the units.

    Attributes
    ----------
    groups : ndarray
        Those with at least two models.
    slopes : ndarray of float, shape (n_groups,)
    mean, se, lower, upper, p : float
        NaN with fewer than four groups, but the mean. `p` is two-sided.
    used : ndarray of int
        Models used.
    """

    groups: np.ndarray
    slopes: np.ndarray
    mean: float
    se: float
    lower: float
    upper: float
    p: float
    used: np.ndarray


def additive_model(similarity):
    """Split the similarity of pairs into a mean, an effect of each model and a rest.

    Parameters
    ----------
    similarity : ndarray of float, shape (n_models, n_models)
        Symmetric. At least four models, every pair known.

    Returns
    -------
    Additive

    References
    ----------
    Warner, Kenny and Stoto (1979), A new round robin analysis of variance, for symmetric values.

    Examples
    --------
    >>> s = np.add.outer([1, 2, 3, 6], [1, 2, 3, 6])
    >>> found = additive_model(s)
    >>> found.effects.round(6), round(float(found.r2), 6)
    (array([-2., -1.,  0.,  3.]), 1.0)
    """
    y = _matrix(similarity)
    np.fill_diagonal(y, 0)  # not used
    m = len(y)
    if m < 4:
        raise ValueError(f"At least four models are needed to tell their effects from the rest, but {m} were passed.")
    if np.isnan(y[_pairs(m)]).any():
        raise ValueError("Every pair of models needs a similarity: leave models without common prompts out.")
    values, n = y[_pairs(m)], m * (m - 1) // 2
    mean = values.mean()
    effects = (y.sum(1) - (m - 1) * mean) / (m - 2)
    rest = y - mean - effects[:, None] - effects
    np.fill_diagonal(rest, 0)
    ssr, sst = (rest[_pairs(m)] ** 2).sum(), ((values - mean) ** 2).sum()
    if sst <= _SINGULAR * max(mean**2, 1e-300):
        raise ValueError("All pairs are equally similar: there is no variance to split.")
    mse = ssr / (n - m)
    variance = ((m - 2) * (effects @ effects) / (m - 1) - mse) / (m - 2)
    total = 2 * variance + mse
    return Additive(
        mean, effects, rest, 1 - ssr / sst, (m - 1) / (n - 1), 1 - mse / (sst / (n - 1)), mse, variance,
        2 * variance / total if total > 0 else float("nan"),
    )  # fmt: skip


def same_label(labels, *, unknown=np.nan):
    """Matrix that is 1 where two models share a label.

    Parameters
    ----------
    labels : sequence, shape (n_models,)
        None, NaN and empty text are unknown.
    unknown : float
        Value of pairs with an unknown label: NaN leaves the model out of regressions; 0 says that they share nothing.

    Returns
    -------
    ndarray of float, shape (n_models, n_models)

    Examples
    --------
    >>> same_label(["a", "a", ""])
    array([[ 1.,  1., nan],
           [ 1.,  1., nan],
           [nan, nan, nan]])
    """
    labels, known = _labels(labels)
    same = (labels[:, None] == labels).astype(float)
    return np.where(known[:, None] & known, same, unknown)


def distance(values):
    """Absolute differences of a property of models, such as the release in years or the log of the size.

    Parameters
    ----------
    values : ndarray of float, shape (n_models,)
        NaN is unknown.

    Returns
    -------
    ndarray of float, shape (n_models, n_models)

    Examples
    --------
    >>> distance([2023.5, 2024.0])
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    values = np.asarray(values, float)
    return np.abs(values[:, None] - values)


def dyadic_regression(similarity, columns, *, node_effects=True, groups=None):
    """Regress the similarity of pairs on what they share, all columns at once.

    Parameters
    ----------
    similarity : ndarray of float, shape (n_models, n_models)
    columns : ndarray of float, shape (n_columns, n_models, n_models)
        See `same_label` and `distance`. Models with unknown values are left out, the one with most of them first.
    node_effects : bool
        Give every model an effect of its own; else one intercept.
    groups : sequence, shape (n_models,), optional
        Vendors: the error from deleting them.

    Returns
    -------
    DyadicFit

    Raises
    ------
    ValueError
        If a column says nothing beyond the models' effects and the other columns.

    References
    ----------
    Aronow, Samii and Assenova (2015), Cluster-robust variance estimation for dyadic data; Efron and Tibshirani (1993).

    Examples
    --------
    >>> vendor = same_label(list("aabbc"))
    >>> y = np.add.outer(np.arange(5.0), np.arange(5.0)) + 3 * vendor
    >>> dyadic_regression(y, [vendor]).coefficients.round(6)
    array([3.])
    """
    y, x, used = _complete(similarity, columns)
    m = len(used)
    y_rest, x_rest = _design(y, x, node_effects)
    _check_rank(x, x_rest, m)
    b, bread, error = _least_squares(y_rest, x_rest)
    rank = m if node_effects else 1
    df = len(y_rest) - rank - len(x)
    if df < 1:
        raise ValueError(
            f"{m} models have {len(y_rest)} pairs, too few for {rank + len(x)} coefficients: "
            "pass fewer columns, or more models."
        )
    scores = x_rest * error
    first, second = _pairs(m)
    by_node = np.stack([np.bincount(first, s, m) + np.bincount(second, s, m) for s in scores])
    meat = by_node @ by_node.T - scores @ scores.T
    se_dyadic = np.sqrt(np.maximum(np.diag(bread @ meat @ bread), 0))
    t = b / np.sqrt(np.maximum(np.diag(bread) * (error @ error) / df, 1e-300))
    left = np.array([_without(y, x, np.arange(m) != i, node_effects) for i in range(m)])
    se_group = np.full(len(x), np.nan)
    if groups is not None:
        labels, _ = _labels(np.asarray(groups, dtype=object)[used])
        kinds = np.unique(labels)
        se_group = _deletion_error(np.array([_without(y, x, labels != kind, node_effects) for kind in kinds]))
    return DyadicFit(b, se_dyadic, _deletion_error(left), se_group, t, left, used)


def group_slopes(similarity, groups, columns=(), *, level=0.95):
    """How much more alike models of one group (vendor) are, a slope per group, with groups as the units.

    Parameters
    ----------
    similarity : ndarray of float, shape (n_models, n_models)
    groups : sequence, shape (n_models,)
        Unknown groups are left out.
    columns : ndarray of float, shape (n_columns, n_models, n_models), optional
        What else pairs share, held fixed.
    level : float

    Returns
    -------
    GroupSlopes

    Notes
    -----
    One regression with an effect of every model and a dummy per group of at least two models. The standard error of
    the mean slope is their standard deviation over the root of their number.

    Examples
    --------
    >>> labels = list("aabbccddef")
    >>> y = np.add.outer(np.arange(10.0), np.arange(10.0)) + 3 * same_label(labels)
    >>> found = group_slopes(y, labels)
    >>> round(found.mean, 6), len(found.slopes)
    (3.0, 4)
    """
    labels, _ = _labels(groups)
    columns = list(columns)
    y, x, used = _complete(similarity, [same_label(groups), *columns])
    kinds, sizes = np.unique(labels[used], return_counts=True)
    kinds = kinds[sizes >= 2]
    if not len(kinds) or len(sizes) < 2:
        raise ValueError(
            f"{len(sizes)} groups, of which {len(kinds)} have two models or more: there is nothing to compare. "
            "A shared label needs a group of two models and another group."
        )
    own = [np.outer(labels[used] == kind, labels[used] == kind).astype(float) for kind in kinds]
    x = np.stack([*own, *x[1:]])
    y_rest, x_rest = _design(y, x, True)
    _check_rank(x, x_rest, len(used))
    slopes = _least_squares(y_rest, x_rest)[0][: len(kinds)]
    mean, n = float(slopes.mean()), len(slopes)
    se = lower = upper = p = float("nan")
    if n >= MIN_GROUPS:
        se = float(slopes.std(ddof=1) / np.sqrt(n))
        half = -stdtrit(n - 1, (1 - level) / 2) * se
        lower, upper = float(mean - half), float(mean + half)
        p = float(2 * stdtr(n - 1, -abs(mean) / se)) if se > 0 else float(mean == 0)
    return GroupSlopes(kinds, slopes, mean, se, lower, upper, p, used)


def permutation_test(similarity, columns, which=0, *, node_effects=True, n_permutations=5000, rng=None, sides=2):
    """Permutation test of one column of a dyadic regression, the others held fixed.

    Parameters
    ----------
    similarity, columns, node_effects
        As for `dyadic_regression`.
    which : int
        Column to test.
    n_permutations : int
        With up to seven models all permutations are made instead.
    rng : numpy.random.Generator
    sides : {1, 2}
        One: that the coefficient is above 0.

    Returns
    -------
    float
        Share of permutations whose t is as large: (1 + number) / (1 + n_permutations), or exact.

    Notes
    -----
    What the column has beyond the others is a matrix; its rows and columns are permuted together and the regression is
    fitted again (double semi-partialling). Only products with the rest of the similarities are needed for t.

    References
    ----------
    Dekker, Krackhardt and Snijders (2007), Sensitivity of MRQAP tests to collinearity and autocorrelation conditions.

    Examples
    --------
    >>> vendor = same_label(list("aabbc"))
    >>> y = np.add.outer(np.arange(5.0), np.arange(5.0)) + 3 * vendor
    >>> permutation_test(y, [vendor])
    0.06666666666666667
    """
    if sides not in (1, 2):
        raise ValueError(f"`sides` must be 1 or 2, but {sides} was passed.")
    y, x, used = _complete(similarity, columns)
    m = len(used)
    y_rest, x_rest = _design(y, x, node_effects)
    _check_rank(x, x_rest, m)
    others = np.delete(x_rest, which, 0)
    basis = np.linalg.qr(others.T)[0].T if len(others) else np.zeros((0, len(y_rest)))
    rest = x_rest[which] - (x_rest[which] @ basis.T) @ basis
    target = y_rest - (y_rest @ basis.T) @ basis
    matrix = np.zeros((m, m))
    matrix[_pairs(m)] = rest
    matrix += matrix.T
    against, scale = np.vstack([target, basis]).T, float(target @ target)
    observed = _correlation(rest[None] @ against, rest @ rest, scale)[0]
    exact = m <= EXACT_NODES
    if exact:
        orders = np.array(list(permutations(range(m))))
    else:
        if rng is None:
            raise ValueError("More than seven models need random permutations: pass `rng`.")
        orders = rng.permuted(np.tile(np.arange(m), (n_permutations, 1)), axis=1)
    first, second = _pairs(m)
    block, found = max(1, _BLOCK // len(rest)), []
    flat = matrix.ravel()
    for start in range(0, len(orders), block):
        order = orders[start : start + block]
        permuted = flat[order[:, first] * m + order[:, second]]
        found.append(_correlation(permuted @ against, rest @ rest, scale))
    found = np.concatenate(found)
    if sides == 2:
        found, observed = np.abs(found), abs(observed)
    n = int((found >= observed - _SINGULAR).sum())
    return n / factorial(m) if exact else (1 + n) / (1 + n_permutations)


def time_slope(values, years, groups, *, level=0.95):
    """Slope of a property of models on their release, within groups (vendors).

    Parameters
    ----------
    values, years : ndarray of float, shape (n_models,)
        NaN is unknown: such models are left out.
    groups : sequence, shape (n_models,)

    level : float

    Returns
    -------
    GroupSlopes
        `mean` is the slope per year; `slopes` are those without each group that bears on it, and the interval is from
        deleting these groups. NaN where there are fewer than four.

    Raises
    ------
    ValueError
        If no group has models of different known dates.

    Notes
    -----
    Groups with many models and far dates bear more on the slope than others, so t has fewer degrees of freedom than
    groups less one: Satterthwaite's, as in Bell and McCaffrey (2002), Bias reduction in standard errors for linear
    regression with multi-stage samples.

    Examples
    --------
    >>> found = time_slope([1.0, 2, 5, 7, 0, 1, 3, 3.5], [0.0, 1, 0, 2, 0, 1, 0, 1], list("aabbccdd"))
    >>> round(found.mean, 3), len(found.slopes)
    (0.929, 4)
    """
    labels, known = _labels(groups)
    values, years = np.asarray(values, float), np.asarray(years, float)
    used = np.flatnonzero(known & ~np.isnan(values) & ~np.isnan(years))
    kinds, codes = np.unique(labels[used], return_inverse=True)
    size = np.bincount(codes, minlength=len(kinds))
    x, y = (v[used] - (np.bincount(codes, v[used], len(kinds)) / np.maximum(size, 1))[codes] for v in (years, values))
    xy, xx = np.bincount(codes, x * y, len(kinds)), np.bincount(codes, x * x, len(kinds))
    bears = xx > _SINGULAR
    if not bears.any():
        raise ValueError(
            f"{len(used)} models have a known value, date and group, but no group has models of different dates: "
            "there is no slope within groups."
        )
    kinds, xy, xx = kinds[bears], xy[bears], xx[bears]
    slope, n = float(xy.sum() / xx.sum()), len(kinds)
    left = np.divide(xy.sum() - xy, xx.sum() - xx, out=np.full(n, np.nan), where=n > 1)
    se = lower = upper = p = float("nan")
    if n >= MIN_GROUPS:
        se = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
        df = min(n - 1, _satterthwaite(xx))
        half = -stdtrit(df, (1 - level) / 2) * se
        lower, upper = float(slope - half), float(slope + half)
        p = float(2 * stdtr(df, -abs(slope) / se)) if se > 0 else float(slope == 0)
    return GroupSlopes(kinds, left, slope, se, lower, upper, p, used)


def two_by_two(values):
    """Effects of weights and of a chat template on one lineage, from all four combinations.

    Parameters
    ----------
    values : ndarray of float, shape (..., 2, 2)
        [weights: base, instruct] × [template: without, with].

    Returns
    -------
    template, weights, interaction : ndarray of float, shape (...)
        Template on instruct weights; weights without template; what both do together beyond that.

    Examples
    --------
    >>> [float(effect) for effect in two_by_two([[1.0, 2.0], [4.0, 9.0]])]
    [5.0, 3.0, 4.0]
    """
    y = np.asarray(values, float)
    if y.shape[-2:] != (2, 2):
        raise ValueError(f"`values` must have shape (..., 2, 2), but {y.shape} was passed.")
    return y[..., 1, 1] - y[..., 1, 0], y[..., 1, 0] - y[..., 0, 0], (
        y[..., 1, 1] - y[..., 0, 1] - y[..., 1, 0] + y[..., 0, 0]
    )  # fmt: skip


def _satterthwaite(xx):
    """Degrees of freedom of the deletion error of a pooled slope, where groups bear on it unequally.

    The variance is a quadratic form in the groups' scores, which have variances in proportion to `xx`.
    """
    scale = xx.sum() - xx
    rows = (np.eye(len(xx)) - (xx / xx.sum())[:, None]) / scale[:, None]
    rows -= rows.mean(0)
    form = rows * np.sqrt(xx)
    form = form.T @ form
    return np.trace(form) ** 2 / (form**2).sum()


def _correlation(products, square, scale):
    """Correlation of a permuted column with the rest of the similarities, the other columns held fixed."""
    left = square - (products[:, 1:] ** 2).sum(1)
    spread = np.sqrt(np.maximum(left, 0) * scale)
    return np.divide(
        products[:, 0], spread, out=np.zeros(len(products)), where=spread > _SINGULAR * np.sqrt(square * scale)
    )


def _matrix(similarity):
    y = np.array(similarity, float)
    if y.ndim != 2 or y.shape[0] != y.shape[1]:
        raise ValueError(f"A matrix of models × models is needed, but {y.shape} was passed.")
    if not np.allclose(y, y.T, rtol=0, atol=1e-6, equal_nan=True):
        raise ValueError("The matrix must be symmetric: pass the mean of both directions.")
    return y


def _labels(labels):
    """Labels as text, and which are known."""
    labels = np.array(["" if x is None or x != x else str(x) for x in labels], dtype=object)
    return labels.astype(str), labels != ""


def _pairs(m):
    return np.triu_indices(m, 1)


def _complete(similarity, columns):
    """Similarities and columns among models whose pairs are all known; those with most unknown pairs go first."""
    y = _matrix(similarity)
    x = np.array([_matrix(column) for column in columns], float).reshape(-1, *y.shape)
    if not len(x):
        raise ValueError("At least one column is needed: see `same_label` and `distance`.")
    unknown = np.isnan(y) | np.isnan(x).any(0)
    np.fill_diagonal(unknown, False)
    used = np.arange(len(y))
    while unknown.any():
        worst = unknown.sum(1).argmax()
        used, unknown = np.delete(used, worst), np.delete(np.delete(unknown, worst, 0), worst, 1)
    if len(used) < 4:
        alone = len(used) == 1 and np.isnan(x[:, used, used]).any()  # has no pairs that could be unknown
        raise ValueError(
            f"{len(used) - alone} of {len(y)} models have all values known, but at least four are needed. "
            "Fill values in, or leave a column out."
        )
    at = np.ix_(used, used)
    return y[at], x[:, at[0], at[1]], used


def _design(y, x, node_effects):
    """Pairs of the similarities and of each column, what the models' effects (or the mean) explain taken out."""
    m = len(y)
    stack = np.concatenate([y[None], x])
    first, second = _pairs(m)
    pairs = stack[:, first, second]
    mean = pairs.mean(1, keepdims=True)
    if not node_effects:
        pairs = pairs - mean
    else:
        sums = stack.sum(2) - np.einsum("kii->ki", stack)
        effects = (sums - (m - 1) * mean) / (m - 2)
        pairs = pairs - mean - effects[:, first] - effects[:, second]
    return pairs[0], pairs[1:]


def _check_rank(x, x_rest, m):
    """Refuse columns that say nothing beyond the models' effects and the columns before them."""
    pairs = x[:, *_pairs(m)]
    q = np.zeros((0, x_rest.shape[1]))
    for i, column in enumerate(x_rest):
        left = column - (column @ q.T) @ q
        size = np.sqrt(left @ left)
        if size <= 1e-7 * max(np.sqrt(pairs[i] @ pairs[i]), 1e-300):
            raise ValueError(
                f"Column {i} says nothing beyond the models' effects and the columns before it: leave it out. "
                "A label needs at least two groups, and one of two models."
            )
        q = np.vstack([q, left / size])


def _least_squares(y, x):
    bread = np.linalg.pinv(x @ x.T)
    b = bread @ (x @ y)
    return b, bread, y - b @ x


def _without(y, x, keep, node_effects):
    """Coefficients among some of the models; NaN for all if one of the columns says nothing there."""
    at = np.flatnonzero(keep)
    if len(at) < 3 + node_effects:
        return np.full(len(x), np.nan)
    y_rest, x_rest = _design(y[np.ix_(at, at)], x[:, at[:, None], at], node_effects)
    try:
        _check_rank(x[:, at[:, None], at], x_rest, len(at))
    except ValueError:
        return np.full(len(x), np.nan)
    return _least_squares(y_rest, x_rest)[0]


def _deletion_error(left):
    """Jackknife standard error from coefficients without each unit; NaN if one of them is."""
    n = len(left)
    return np.sqrt((n - 1) / n * ((left - left.mean(0)) ** 2).sum(0)) if n > 1 else np.full(left.shape[1], np.nan)

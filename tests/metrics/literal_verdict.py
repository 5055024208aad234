"""The comparison of a scorer with people, literally: one scorer, one prompt, one item at a time."""

from statistics import NormalDist

import numpy as np
from scipy.optimize import minimize


def mid_ranks(values):
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


def normal_scores(values):
    return np.array([NormalDist().inv_cdf((rank - 0.375) / (len(values) + 0.25)) for rank in mid_ranks(values)])


def odd_scores(values):
    both = normal_scores([*values, *(-v for v in values)])
    n = len(values)
    return np.array([(both[i] - both[i + n]) / 2 for i in range(n)])


def design(x):
    """Constant and natural cubic spline, not standardised."""
    knots = sorted(set(np.quantile(x, [0.02, 0.212, 0.404, 0.596, 0.788, 0.98])))
    columns = [np.ones(len(x)), np.array(x)]

    def cube(j):
        top = np.maximum(x - knots[j], 0) ** 3 - np.maximum(x - knots[-1], 0) ** 3
        return top / (knots[-1] - knots[j])

    for j in range(len(knots) - 2):
        columns.append(cube(j) - cube(len(knots) - 2))
    for column in columns[1:]:
        column -= column.mean()
        column /= column.std()
    return np.column_stack(columns)


def chance(z, contested):
    x = design(z)

    def loss(b):
        p = 1 / (1 + np.exp(-x @ b))
        terms = [-np.log(p[i]) if contested[i] else -np.log(1 - p[i]) for i in range(len(z))]
        return sum(terms) + 0.001 * (b[1:] ** 2).sum() / 2

    def slope(b):
        p = 1 / (1 + np.exp(-x @ b))
        return x.T @ (p - contested) + 0.001 * np.concatenate([[0], b[1:]])

    found = minimize(loss, np.zeros(x.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    return 1 / (1 + np.exp(-x @ found.x))


def without_prompt_effects(y, z, prompts):
    ids, n = sorted(set(prompts)), len(y)
    if len(ids) == n:
        return y
    x = design(z)
    residual = y - x @ np.linalg.solve(x.T @ x, x.T @ y)
    rows = {p: [i for i in range(n) if prompts[i] == p] for p in ids}
    mean = {p: np.mean(residual[rows[p]]) for p in ids}
    within = sum((residual[i] - mean[prompts[i]]) ** 2 for i in range(n)) / (n - len(ids))
    between = sum(len(rows[p]) * mean[p] ** 2 for p in ids) / (len(ids) - 1)
    typical_size = (n - sum(len(rows[p]) ** 2 for p in ids) / n) / (len(ids) - 1)
    variance = max(0, (between - within) / typical_size)
    return np.array(
        [y[i] - variance / (variance + within / len(rows[prompts[i]])) * mean[prompts[i]] for i in range(n)]
    )


def correlation(y, z, w, pairs):
    if pairs:
        return (w * y * z).sum() / np.sqrt((w * y * y).sum() * (w * z * z).sum())
    spread = np.cov(y, z, aweights=w)
    return spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1])


def compare(score, means, contested, prompts, pairs=False):
    """Replicates of r and e, one scorer: two lists of n_prompts + 1, and the effective size."""
    has = [i for i in range(len(score)) if not np.isnan(score[i])]
    score, means, contested = np.asarray(score)[has], np.asarray(means)[has], np.asarray(contested)[has]
    prompts = [prompts[i] for i in has]
    if pairs:
        y, z = odd_scores(score), odd_scores(means)
        p = chance(abs(z), contested)
    else:
        y, z = normal_scores(score), normal_scores(means)
        y = without_prompt_effects(y, z, prompts)
        p = chance(z, contested)
    w = np.where(contested, 1 - p, p)
    r, e = [], []
    for left_out in [None, *sorted(set(prompts))]:
        stays = np.array([prompt != left_out for prompt in prompts])
        for side, found in ((contested, r), (~contested, e)):
            at = stays & side
            found.append(correlation(y[at], z[at], w[at], pairs))
    sizes = [w[side].sum() ** 2 / (w[side] ** 2).sum() for side in (contested, ~contested)]
    return np.array(r), np.array(e), min(sizes)


def jackknife(values):
    n = len(values) - 1
    middle = sum(values[1:]) / n
    return np.sqrt((n - 1) / n * sum((v - middle) ** 2 for v in values[1:]))

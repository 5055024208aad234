"""Do scorers follow people where people differ? The published correlations, and the controls that make them readable.

Arrays in, arrays out. Scores have shape (n_scorers, n_items), NaN where a scorer is missing; ``target`` is the human
mean of every item, ``groups`` the number of its prompt. Subsets come as weights of shape (n_subsets, n_items); see
`selection`.
"""

import numpy as np

from hivemind_utils.metrics import _rank_kernels, agreement, resample, subsets

PRIMARY_LEVEL = 0.025  # one-sided


def rank_correlations(scores, target, weights, *, n_threads=2):
    """Spearman correlation of every scorer with the target in every weighted subset.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
        NaN where missing: such items are left out for that scorer.
    target : ndarray of float, shape (n_items,)
    weights : ndarray of float, shape (n_subsets, n_items)
        How often each item counts: 0 or 1 for a subset, the number of copies in a bootstrap draw.
    n_threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float, shape (n_subsets, n_scorers)
        NaN where either side is constant within the subset.

    Notes
    -----
    Every scorer and the target are sorted once; a subset then costs one pass. Equal to ``scipy.stats.spearmanr`` of the
    repeated items (``tests/metrics/test_calibration.py``).
    """
    from concurrent.futures import ThreadPoolExecutor

    scores, target = _scores(scores, target), np.asarray(target, float)
    weights = np.ascontiguousarray(np.atleast_2d(weights), dtype=float)
    if np.isnan(target).any():
        raise ValueError("The target must not be missing: leave out items without labels first.")
    sorted_scores = [_ties(row) for row in scores]
    orders, ends = (np.stack([pair[i] for pair in sorted_scores]) for i in (0, 1))
    complete = (~np.isnan(scores)).sum(1)
    target_order, target_ends = _ties(target)
    result = np.empty((len(weights), len(scores)))

    def work(rows):
        _rank_kernels.fill(orders, ends, complete, target_order, target_ends, weights[rows], result[rows])

    size = max(1, min(256, -(-len(weights) // n_threads)))
    pieces = [slice(start, start + size) for start in range(0, len(weights), size)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, pieces))
    return result


def linear_correlations(scores, target, weights):
    """Pearson correlation of every scorer with the target in every weighted subset; see `rank_correlations`."""
    scores, weights = _scores(scores, target), np.atleast_2d(np.asarray(weights, float))
    present = ~np.isnan(scores)
    x, y = np.where(present, scores, 0), np.asarray(target, float)
    x = (
        x - (x.sum(1) / np.maximum(present.sum(1), 1))[:, None] * present
    )  # near zero, so that squares keep their digits
    y = (y - y.mean()) * np.ones_like(x) * present
    n = weights @ present.T
    sums = {name: weights @ v.T for name, v in {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = sums["xy"] - sums["x"] * sums["y"] / n
        spread = (sums["xx"] - sums["x"] ** 2 / n) * (sums["yy"] - sums["y"] ** 2 / n)
        return np.where(spread > 1e-18 * n**2, cov / np.sqrt(np.maximum(spread, 1e-300)), np.nan)


def within_correlations(scores, target, weights, groups):
    """Spearman correlation within every prompt, for every subset.

    Parameters
    ----------
    scores, target, weights
        See `rank_correlations`.
    groups : ndarray of int, shape (n_items,)
        Prompt of every item, 0 to n_prompts - 1.

    Returns
    -------
    ndarray of float, shape (n_subsets, n_prompts, n_scorers)
        NaN where a prompt has fewer than three items left, or a constant.
    """
    weights = np.atleast_2d(np.asarray(weights, float))
    groups = np.asarray(groups)
    prompts = np.arange(groups.max() + 1)
    split = weights[:, None, :] * (groups == prompts[:, None])
    found = rank_correlations(scores, target, split.reshape(-1, len(groups)))
    found = found.reshape(len(weights), len(prompts), -1)
    present = (split > 0).astype(float) @ (~np.isnan(_scores(scores, target))).T.astype(float)
    return np.where(present >= 3, found, np.nan)


def normal_scores(scores):
    """Scores replaced by the normal quantiles of their ranks (Blom), scorer by scorer; NaN stays.

    Any increasing transformation of a score leaves its normal scores unchanged.
    """
    from scipy.stats import norm, rankdata

    scores = np.atleast_2d(np.asarray(scores, float))
    n = (~np.isnan(scores)).sum(1, keepdims=True)
    return norm.ppf((rankdata(scores, axis=1, nan_policy="omit") - 0.375) / (n + 0.25))


def contrast(scores, target, contested, groups, *, normal_target=True):
    """Primary contrast: how much less the score rises with the human mean on contested items than on the rest.

    The normal-scored score is regressed on the human mean, with a slope and a level of its own on contested items, and
    prompt fixed effects; the standard error comes from a jackknife over prompts.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
    target : ndarray of float, shape (n_items,)
    contested : ndarray of bool, shape (n_items,)
    groups : ndarray of int, shape (n_items,)
    normal_target : bool
        Replace the human mean by its normal scores, as the score is: on the raw scale, where good answers crowd below
        the ceiling, an equally good scorer has a lower slope on middling items and is convicted too often.

    Returns
    -------
    dict of str to ndarray, shape (n_scorers,)
        ``slope_rest``, ``difference`` (contested - rest; both sides in standard deviations, or the mean in units of the
        scale), ``se``, ``lower``, ``upper`` (95 %), ``p_value`` (one-sided, against a difference of 0 or more),
        ``n_prompts``. NaN where it cannot be estimated: a constant scorer, no contested item, fewer than three prompts.

    Notes
    -----
    A correlation falls where the target's spread is small, a slope does not: this is why the primary test is a contrast
    of slopes. Two-sided 95 % bounds from t with P - 1 degrees of freedom make the conviction one-sided at 2.5 %. Size
    and power: ``benchmarks/verdict_power.csv``.
    """
    scores = _scores(scores, target)
    target = normal_scores(target)[0] if normal_target else target
    replicates, n_prompts = contrast_jackknife(scores, target, contested, groups)
    return contrast_test(replicates, n_prompts)


def contrast_jackknife(scores, target, contested, groups):
    """Estimates of the primary contrast with all prompts, and with each prompt left out; see `contrast`.

    Returns
    -------
    replicates : ndarray of float, shape (n_prompts + 1, 2, n_scorers)
        Slope on the rest and difference; the first with all prompts. A left-out prompt a scorer has no items of is NaN.
    n_prompts : ndarray of int, shape (n_scorers,)
        Prompts the scorer has items of.
    """
    y, target, groups = normal_scores(scores), np.asarray(target, float), np.asarray(groups)
    contested = np.asarray(contested, bool).astype(float)
    n_prompts = int(groups.max()) + 1
    replicates = np.full((n_prompts + 1, 2, len(y)), np.nan)
    counts = np.zeros(len(y), int)
    for present in np.unique(~np.isnan(y), axis=0):
        same = (np.isnan(y) == ~present).all(1)
        if not present.any():
            continue
        used, where = np.unique(groups[present], return_inverse=True)
        m = target[present] - target[present].mean()
        design = np.stack([m, contested[present] * m, contested[present]], axis=1)
        design = _demean(design, where, len(used))
        response = _demean(y[same][:, present].T, where, len(used))
        found = _leave_out(design, design, response, where, len(used))
        index = np.concatenate([[0], used + 1])
        replicates[np.ix_(index, [0, 1], np.flatnonzero(same))] = found[:, :2]
        counts[same] = len(used)
    constant = np.array([np.unique(row[~np.isnan(row)]).size < 2 for row in y])
    replicates[:, :, constant] = np.nan
    return replicates, counts


def contrast_test(replicates, n_prompts):
    """Test the difference of slopes from its jackknife replicates; see `contrast`.

    Parameters
    ----------
    replicates : ndarray of float, shape (n_prompts + 1, 2, n)
    n_prompts : ndarray of int, shape (n,)

    Returns
    -------
    dict of str to ndarray, shape (n,)
    """
    from scipy.stats import t

    estimate, left_out = replicates[0], replicates[1:, 1]
    usable = (n_prompts > 2) & ((~np.isnan(left_out)).sum(0) == n_prompts)
    centred = left_out - np.nanmean(np.where(usable, left_out, 0), axis=0)
    p = np.maximum(n_prompts, 2)
    se = np.where(usable, np.sqrt((p - 1) / p * np.nansum(centred**2, axis=0)), np.nan)
    se = np.where(se > 0, se, np.nan)
    half = t.ppf(1 - PRIMARY_LEVEL, p - 1) * se
    difference = np.where(usable, estimate[1], np.nan)
    return {
        "slope_rest": estimate[0],
        "difference": difference,
        "se": se,
        "lower": difference - half,
        "upper": difference + half,
        "p_value": t.cdf(difference / se, p - 1),
        "n_prompts": n_prompts,
    }


def holm(p_values):
    """P-values adjusted by Holm's step-down method; NaN stays and does not count.

    Parameters
    ----------
    p_values : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float, shape (n,)
    """
    p_values = np.asarray(p_values, float)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    adjusted = np.full(len(p_values), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)))
    return adjusted


def verdicts(p_adjusted, acquittal_lower, level=PRIMARY_LEVEL):
    """Three-way verdict: convicted, acquitted or undecided.

    Parameters
    ----------
    p_adjusted : ndarray of float, shape (n,)
        One-sided p-values of the primary contrast, adjusted: *convicted* below `level`.
    acquittal_lower : ndarray of float, shape (n,)
        Lower 95 % bound of r_sub - r_expected / 2, what is left beyond half of what range restriction alone predicts:
        *acquitted* above 0, unless convicted.
    level : float

    Returns
    -------
    ndarray of str, shape (n,)
        "not testable" where the contrast could not be estimated.
    """
    p_adjusted, acquittal_lower = np.asarray(p_adjusted, float), np.asarray(acquittal_lower, float)
    return np.select(
        [np.isnan(p_adjusted), p_adjusted < level, acquittal_lower > 0],
        ["not testable", "convicted", "acquitted"],
        "undecided",
    )


def clustered_bootstrap(scores, target, statistics, rules, groups, n_boot, rng, *, draws_at_once=128):
    """Resample prompts, apply every rule again in every draw, and correlate.

    Parameters
    ----------
    scores, target
        See `rank_correlations`.
    statistics : dict of str to ndarray of float, shape (n_items,)
        What the rules look at; thresholds are recomputed in every draw.
    rules : list of selection.Rule
    groups : ndarray of int, shape (n_items,)
        Prompt of every item.
    n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_boot, n_rules, n_scorers)
    """
    from dataclasses import replace

    prompts, where = np.unique(groups, return_inverse=True)
    statistics, rules = dict(statistics), list(rules)
    for i, rule in enumerate(rules):
        if rule.statistic.endswith("_within"):  # what is chosen within a prompt does not depend on the draw
            name = f"rule {i}"
            statistics[name] = subsets.kept_weights(rule, statistics, groups=groups)
            rules[i] = replace(rule, method="fixed", statistic=name)
    drawn = resample.bootstrap_weights(len(prompts), n_boot, rng)
    result = np.empty((n_boot, len(rules), len(np.atleast_2d(scores))))
    for start in range(0, n_boot, draws_at_once):
        weights = drawn[start : start + draws_at_once, where]
        kept = [subsets.kept_weights(rule, statistics, w) for w in weights for rule in rules]
        found = rank_correlations(scores, target, np.stack(kept))
        result[start : start + len(weights)] = found.reshape(len(weights), len(rules), -1)
    return result


def pluralism(scores, labels, typicality, log_length, groups, n_splits, rng, *, persons=None):
    """Pluralism coefficient: how much a scorer rewards the typical answer over an equally liked rarer one.

    Normal-scored score on typicality, human mean and log length with prompt fixed effects. The mean of one half of the
    annotators is instrumented by the other half's: a plain regression lets typicality stand in for the quality that a
    noisy mean misses, and flags innocent scorers.

    Parameters
    ----------
    scores : ndarray of float, shape (n_scorers, n_items)
        Without NaN.
    labels : ndarray of float, shape (n_items, n_annotators)
    typicality, log_length : ndarray of float, shape (n_items,)
        Mean cosine of the response to all pool answers of its prompt; log of its length.
    groups : ndarray of int, shape (n_items,)
    n_splits : int
    rng : numpy.random.Generator
    persons : ndarray of int, shape (n_items, n_annotators), optional

    Returns
    -------
    dict of str to ndarray, shape (n_scorers,)
        ``coefficient`` (standard deviations of the score per standard deviation of typicality), ``se``, ``lower``,
        ``upper`` (95 %, jackknife over prompts). Positive: the typical answer is preferred.
    """
    from scipy.stats import t

    y, groups = normal_scores(scores), np.unique(groups, return_inverse=True)[1]
    if np.isnan(y).any():
        raise ValueError("`scores` must be complete: leave out the items a scorer lacks.")
    labels = np.asarray(labels, float)
    present = ~np.isnan(labels)
    n_prompts = int(groups.max()) + 1
    fixed = np.stack([_standard(typicality), _standard(log_length)], axis=1)
    replicates = []
    for _ in range(n_splits):
        half = agreement.random_half(present, rng, persons) & present
        a, b = agreement.row_means(labels, half), agreement.row_means(labels, present & ~half)
        known = ~np.isnan(a) & ~np.isnan(b)
        for regressor, instrument in ((a, b), (b, a)):
            x, z = (
                _demean(np.column_stack([fixed, v])[known], groups[known], n_prompts) for v in (regressor, instrument)
            )
            response = _demean(y.T[known], groups[known], n_prompts)
            replicates.append(_leave_out(z, x, response, groups[known], n_prompts)[:, 0])
    found = np.mean(replicates, axis=0)
    left_out = found[1:]
    se = np.sqrt((n_prompts - 1) / n_prompts * ((left_out - left_out.mean(0)) ** 2).sum(0))
    half_width = t.ppf(0.975, n_prompts - 1) * se
    return {"coefficient": found[0], "se": se, "lower": found[0] - half_width, "upper": found[0] + half_width}


def _leave_out(instruments, design, response, groups, n_groups):
    """Coefficients with all groups, then with each left out: shape (n_groups + 1, n_columns, n_responses).

    Instrumental variables, as many as regressors; the design as its own instrument makes it least squares. NaN where
    the equations cannot be solved.
    """
    k, m = design.shape[1], response.shape[1]
    left, right = np.zeros((n_groups, k, k)), np.zeros((n_groups, k, m))
    np.add.at(left, groups, instruments[:, :, None] * design[:, None, :])
    np.add.at(right, groups, instruments[:, :, None] * response[:, None, :])
    left = np.concatenate([left.sum(0)[None], left.sum(0) - left])
    right = np.concatenate([right.sum(0)[None], right.sum(0) - right])
    solvable = np.linalg.cond(left) < 1e10
    found = np.full(right.shape, np.nan)
    found[solvable] = np.linalg.solve(left[solvable], right[solvable])
    return found


def _standard(values):
    values = np.asarray(values, float)
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1)


def _scores(scores, target):
    scores = np.atleast_2d(np.asarray(scores, float))
    if scores.shape[1] != len(target):
        raise ValueError(f"`scores` must have shape (n_scorers, {len(target)}), but {scores.shape} was passed.")
    return scores


def _ties(values):
    """Order of the present values, and for every place one past the last that ties with it; padded to the length."""
    order = np.argsort(values, kind="stable")  # NaN last
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1
    return order, np.repeat(last, np.diff(last, prepend=0))


def _demean(values, groups, n_groups):
    n = np.bincount(groups, minlength=n_groups)
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    return values - (sums / n[:, None])[groups]

"""Speed of verdicts of all scorers at once against a loop over scorers and sets of items, results compared.

A study of the released size: 750 items, 50 prompts, 66 scorers; the contested third and the published grid of the most
contested 16 to 2 percent, with correlations, tests, intervals and bands. The loop takes one scorer and one set at a
time, as the rule is written down, and is already vectorised over prompts; both are timed in the same minute. Run with
``python benchmarks/verdicts.py``.
"""

import argparse
import time

import numpy as np
from scipy.special import expit, ndtri
from scipy.stats import rankdata
from scipy.stats import t as student

from hivemind_utils.metrics import comparison, contested, verdict

PERCENTS = (16, 14, 12, 10, 8, 6, 4, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scorers", type=int, default=66)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    size = parser.parse_args()
    scores, means, prompts, sets = study(size, np.random.default_rng(0))
    kinds = ["judge" if s % 2 else "reward" for s in range(len(scores))]
    at_once(scores, means, prompts, sets)  # imports
    times = []
    for _ in range(size.repeats):
        started = time.perf_counter()
        found = at_once(scores, means, prompts, sets)
        times.append(time.perf_counter() - started)
    fast = min(times)
    compared = comparison.compare(comparison.prepare(scores, means, prompts), sets[0])
    verdict.family_verdicts({"absolute": compared}, {"absolute": kinds})
    started = time.perf_counter()
    verdict.family_verdicts({"absolute": compared}, {"absolute": kinds})
    families = time.perf_counter() - started
    started = time.perf_counter()
    loop = np.array([[literal(score, means, prompts, mask) for score in scores] for mask in sets])
    slow = time.perf_counter() - started
    worst = np.abs(loop - found).max()
    print(f"{len(scores)} scorers × {len(sets)} sets of items, {len(means)} items, {size.prompts} prompts")
    print(f"  at once {1000 * fast:.0f} ms; scorer by scorer {slow:.2f} s")
    print(f"  {slow / fast:.0f}× (target 20×): {'met' if slow >= 20 * fast else 'MISSED'}")
    print(f"kinds, and families adjusted by Holm's method, once: {1000 * families:.0f} ms more")
    print(f"largest difference of r, e, both p-values and the band: {worst:.1e}")
    assert worst < 1e-9, "all at once must give the same numbers"


def study(size, rng):
    prompts = np.repeat(np.arange(size.prompts), 15)
    quality = rng.normal(size=len(prompts))
    labels = np.clip(np.round(3.3 + 0.6 * quality[:, None] + rng.normal(size=(len(prompts), 25))), 1, 5)
    shares = np.sort(np.stack([(labels == v).mean(1) for v in range(1, 6)], axis=1), axis=1)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1)
    scores = 0.5 * quality + rng.normal(size=(size.scorers, len(prompts)))
    sets = [contested.contested_set(entropy).mask, *(entropy >= np.percentile(entropy, 100 - q) for q in PERCENTS)]
    return scores, labels.mean(1), prompts, sets


def at_once(scores, means, prompts, sets):
    prepared = comparison.prepare(scores, means, prompts)
    results = []
    for mask in sets:
        compared = comparison.compare(prepared, mask)
        tests = verdict.tests(compared)
        enough = np.where(compared.testable, 1.0, np.nan)
        band = np.nan_to_num(np.array(verdict.band(compared, tests)) * enough, nan=9)
        results.append(np.array([compared.r[0], compared.e[0], tests.p_degrades, tests.p_holds_up, *band]).T)
    return np.array(results)


def literal(score, means, prompts, mask):
    """r, e, p of both statements and the band of one scorer on one set of items."""
    y, z = (ndtri((rankdata(x) - 0.375) / (len(x) + 0.25)) for x in (score, means))
    design = np.column_stack([np.ones(len(z)), spline(z)])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    n, k, size = len(z), prompts.max() + 1, np.bincount(prompts)
    effect = np.bincount(prompts, residual) / size
    within = ((residual - effect[prompts]) ** 2).sum() / (n - k)
    between = (size * effect**2).sum() / (k - 1)
    variance = max(0, (between - within) / ((n - (size**2).sum() / n) / (k - 1)))
    y = y - (variance / (variance + within / size) * effect)[prompts]
    chance = logistic(design, mask)
    weights = np.where(mask, 1 - chance, chance)
    sides = [leave_out(y, z, weights * side, prompts) for side in (mask, ~mask)]
    r, e = sides
    effective = min((weights * side).sum() ** 2 / ((weights * side) ** 2).sum() for side in (mask, ~mask))
    p_signal, df = student.sf(e[0] / jackknife(e), k - 1), k - 1
    degrades = max(student.cdf((r - 0.9 * e)[0] / jackknife(r - 0.9 * e), df), p_signal)
    holds_up = max(student.sf((r - 0.5 * e)[0] / jackknife(r - 0.5 * e), df), p_signal)
    q = student.ppf(0.975, df)
    band = 0.9 * e[0] - q * jackknife(r - 0.9 * e), e[0], e[0] + q * jackknife(r - e)
    if p_signal >= 0.025 or effective < 30:
        band = (9, 9, 9)
    return r[0], e[0], degrades, holds_up, *np.clip(band, -1, 9)


def spline(x):
    knots = np.unique(np.quantile(x, np.linspace(0.02, 0.98, 6)))

    def ratio(j):
        return (np.maximum(x - knots[j], 0) ** 3 - np.maximum(x - knots[-1], 0) ** 3) / (knots[-1] - knots[j])

    columns = np.column_stack([x, *(ratio(j) - ratio(len(knots) - 2) for j in range(len(knots) - 2))])
    return (columns - columns.mean(0)) / columns.std(0)


def logistic(design, mask):
    penalty = np.array([0.0] + [1e-3] * (design.shape[1] - 1))
    b = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(design @ b)
        hessian = (design.T * (p * (1 - p))) @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, design.T @ (mask - p) - penalty * b)
        b = b + step / max(1, np.abs(step).max() / 4)
        if np.abs(step).max() < 1e-10:
            break
    return expit(design @ b)


def leave_out(y, z, w, prompts):
    """Weighted correlation with all prompts and without each."""

    def sums(x):
        parts = np.bincount(prompts, x)
        return np.concatenate([[parts.sum()], parts.sum() - parts])

    n = sums(w)
    mean_y, mean_z = sums(w * y) / n, sums(w * z) / n
    covariance = sums(w * y * z) / n - mean_y * mean_z
    return covariance / np.sqrt((sums(w * y * y) / n - mean_y**2) * (sums(w * z * z) / n - mean_z**2))


def jackknife(x):
    n = len(x) - 1
    return np.sqrt((n - 1) / n * ((x[1:] - x[1:].mean()) ** 2).sum())


if __name__ == "__main__":
    main()

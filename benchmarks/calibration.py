"""Speed of the clustered bootstrap and the null bands against resampling with SciPy in a loop, results compared.

A study of the released size: 750 items, 50 prompts, 66 scorers, 16 subset rules, 2,000 draws of prompts with the
selection redone in every draw, and the null bands. The loop is timed on a slice of draws and scorers in the same
minute. Run with ``make bench`` or ``python benchmarks/calibration.py --boot 2000``.
"""

import argparse
import time

import numpy as np
from scipy.stats import spearmanr

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, nulls, resample, subsets


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--boot", type=int, default=2_000)
    parser.add_argument("--null-draws", type=int, default=500)
    parser.add_argument("--slice-draws", type=int, default=4)
    parser.add_argument("--slice-scorers", type=int, default=10)
    size = parser.parse_args()
    rng = np.random.default_rng(0)
    quality, groups = annotators.draw_quality(50, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, 25, rng, groups=groups))
    means = labels.mean(1)
    statistics = {"mean": means, "entropy_bits": agreement.entropy_bits(agreement.label_counts(labels, range(1, 6)))}
    scores = np.stack([annotators.score(quality, strength, rng) for strength in np.linspace(0.1, 0.8, 66)])
    rules = subsets.absolute_rules()
    calibration.rank_correlations(scores[:2], means, np.ones(750))  # compiles

    started = time.perf_counter()
    draws = calibration.clustered_bootstrap(
        scores, means, statistics, rules, groups, size.boot, np.random.default_rng(1)
    )
    boot = time.perf_counter() - started
    started = time.perf_counter()
    weights = np.stack([subsets.kept_weights(rule, statistics) for rule in rules])
    shrunken = nulls.shrunken_means(labels)[0]
    simulated = nulls.null_draws(shrunken, means, weights, size.null_draws, np.random.default_rng(2))
    null = time.perf_counter() - started

    slow, loop = literal(scores[: size.slice_scorers], means, statistics, rules, groups, size)
    share = size.slice_draws * size.slice_scorers / (size.boot * len(scores))
    worst = np.nanmax(np.abs(loop - draws[: size.slice_draws, :, : size.slice_scorers]))
    slow_null, loop_null = literal_null(shrunken, means, weights, size)
    share_null = 20 / (size.null_draws * len(nulls.STRENGTHS))
    worst_null = np.nanmax(np.abs(loop_null - simulated[13, :, :20]))
    print(f"{len(scores)} scorers × {len(rules)} rules × {size.boot:,} draws of prompts, selection redone in each")
    print(f"  here {boot:.1f} s; SciPy in a loop {slow / share:.0f} s (from a slice): {slow / share / boot:.0f}×")
    print(f"null bands, {len(nulls.STRENGTHS)} strengths × {size.null_draws} draws")
    print(f"  here {null:.1f} s; SciPy in a loop {slow_null / share_null:.0f} s: {slow_null / share_null / null:.0f}×")
    ratio = (slow / share + slow_null / share_null) / (boot + null)
    print(f"together {ratio:.0f}× (target 20×): {'met' if ratio >= 20 else 'MISSED'}")
    print(f"largest difference: {max(worst, worst_null):.1e}")
    assert max(worst, worst_null) < 1e-9, "the fast way must give the same numbers"


def literal(scores, means, statistics, rules, groups, size):
    """The first draws again: repeat the items, select with NumPy's percentiles, correlate with SciPy."""
    times = resample.bootstrap_weights(50, size.boot, np.random.default_rng(1)).astype(int)
    found = np.full((size.slice_draws, len(rules), len(scores)), np.nan)
    rows_of = [np.flatnonzero(groups == p) for p in range(50)]
    started = time.perf_counter()
    for b in range(size.slice_draws):
        rows = np.concatenate([np.tile(rows_of[p], times[b, p]) for p in range(50)])
        for r, rule in enumerate(rules):
            at = rows[chosen(rule, statistics, rows)]
            for s, score in enumerate(scores):
                found[b, r, s] = spearmanr(score[at], means[at]).statistic
    return time.perf_counter() - started, found


def chosen(rule, statistics, rows):
    if rule.method == "all":
        return np.ones(len(rows), bool)
    values = statistics[rule.statistic][rows]
    if rule.method == "tukey":
        first, third = np.percentile(values, [25, 75])
        width = rule.parameter * (third - first)
        return (values >= first - width) & (values <= third + width)
    return values >= np.percentile(values, 100 - rule.parameter)


def literal_null(shrunken, means, weights, size):
    """Twenty simulated scorers of the fourteenth strength again."""
    noise = np.random.default_rng(2).normal(size=(size.null_draws, len(means)))[:20]
    strength = nulls.STRENGTHS[13]
    standard = (shrunken - shrunken.mean()) / shrunken.std()
    scores = strength * standard + np.sqrt(1 - strength**2) * noise
    started = time.perf_counter()
    found = np.array([[spearmanr(s[w > 0], means[w > 0]).statistic for s in scores] for w in weights])
    return time.perf_counter() - started, found


if __name__ == "__main__":
    main()

"""Speed of the jackknife of correlations in all subsets against SciPy in a loop, results compared.

A study of the released size: 750 items, 50 prompts, 66 scorers, 16 subset rules, the cuts made again without every
prompt. The loop is timed on a slice of prompts and scorers in the same minute. Run with ``make bench`` or ``python
benchmarks/calibration.py``.
"""

import argparse
import time

import numpy as np
from scipy.stats import spearmanr

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, subsets
from hivemind_utils.metrics.contested import contested_set


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scorers", type=int, default=66)
    parser.add_argument("--slice-prompts", type=int, default=4)
    parser.add_argument("--slice-scorers", type=int, default=10)
    size = parser.parse_args()
    rng = np.random.default_rng(0)
    quality, groups = annotators.draw_quality(50, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, 25, rng, groups=groups))
    means = labels.mean(1)
    statistics = {"mean": means, "entropy_bits": agreement.entropy_bits(agreement.label_counts(labels, range(1, 6)))}
    scores = np.stack([annotators.score(quality, strength, rng) for strength in np.linspace(0.1, 0.8, size.scorers)])
    rules = subsets.absolute_rules()
    calibration.rank_correlations(scores[:2], means, np.ones(750))  # compiles

    started = time.perf_counter()
    replicates, _ = calibration.left_out_correlations(scores, means, statistics, rules, groups)
    fast = time.perf_counter() - started
    slow, loop = literal(scores[: size.slice_scorers], means, statistics, rules, groups, size.slice_prompts)
    slow *= len(replicates) * len(scores) / (size.slice_prompts * size.slice_scorers)
    worst = np.nanmax(np.abs(loop - replicates[1 : 1 + size.slice_prompts, :, : size.slice_scorers]))
    print(f"{len(scores)} scorers × {len(rules)} rules, with all of 50 prompts and without each, cuts made again")
    print(f"  here {fast:.1f} s; SciPy in a loop {slow:.0f} s (from a slice)")
    print(f"  {slow / fast:.0f}× (target 20×): {'met' if slow >= 20 * fast else 'MISSED'}")
    print(f"largest difference: {worst:.1e}")
    assert worst < 1e-9, "the fast way must give the same numbers"


def literal(scores, means, statistics, rules, groups, n_prompts):
    """The first prompts again: leave one out, select with NumPy's percentiles, correlate with SciPy."""
    found = np.full((n_prompts, len(rules), len(scores)), np.nan)
    started = time.perf_counter()
    for p in range(n_prompts):
        rows = np.flatnonzero(groups != p)
        for r, rule in enumerate(rules):
            at = rows[chosen(rule, statistics, rows)]
            for s, score in enumerate(scores):
                found[p, r, s] = spearmanr(score[at], means[at]).statistic
    return time.perf_counter() - started, found


def chosen(rule, statistics, rows):
    if rule.method == "all":
        return np.ones(len(rows), bool)
    values = statistics[rule.statistic][rows]
    if rule.method == "contested":
        return contested_set(values).mask
    if rule.method == "tukey":
        first, third = np.percentile(values, [25, 75])
        width = rule.parameter * (third - first)
        return (values >= first - width) & (values <= third + width)
    return values >= np.percentile(values, 100 - rule.parameter)


if __name__ == "__main__":
    main()

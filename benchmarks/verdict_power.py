"""Size and power of the primary test, and of the published subsets, on simulated studies of the paper's size.

Every study has 50 prompts × 15 responses, 25 annotators a prompt. An equally good scorer must rarely be convicted; one
without any signal on the contested items must be. Writes ``benchmarks/verdict_power.csv``. A minute or two:
``python benchmarks/verdict_power.py --studies 400 --seed 20``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, subsets

SCALE = [1, 2, 3, 4, 5]
FULL = (0.33, 0.45, 0.64)
# How an equally good scorer may differ from the textbook without losing touch with people anywhere.
SCORERS = ("equally good", "clustered slopes", "heteroskedastic noise", "saturated", "one taste group only")
RULES = [subsets.Rule("contested third", "primary", "top", "entropy_bits", subsets.PRIMARY_PERCENT)] + [
    rule for rule in subsets.absolute_rules() if rule.family == "contested"
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--annotators", type=int, default=25)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    started = time.monotonic()
    strengths = {full: strength_for(full, options) for full in FULL}
    rows = []
    for seed in np.random.SeedSequence(options.seed).spawn(options.studies):
        rows += study(np.random.default_rng(seed), strengths, options.annotators)
    table = summarise(pd.DataFrame(rows), options)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.to_string(index=False))
    print(f"{options.studies} studies, seed {options.seed}: {time.monotonic() - started:.0f} s")
    primary = table[table["rule"] == "contested third"].set_index(["scorer", "full"])
    size = max(primary.loc[("equally good", full), "convicted"] for full in FULL)
    power = primary.loc[("no signal on the subset", 0.45), "share_convicted"]
    print(f"most convictions of an equally good scorer: {size} of {options.studies} (limit {options.studies // 20})")
    print(f"power at .45: {power:.1%} (at least 80 %)")


def strength_for(full, options):
    """Strength at which an equally good scorer's full correlation is `full` on average over 20 studies."""
    from scipy.optimize import brentq

    studies = []
    for rng in np.random.default_rng(options.seed + 1).spawn(20):
        quality, _, labels = people(rng, options.annotators)
        studies.append((quality, labels.mean(1), rng.normal(size=len(quality))))

    def excess(strength):
        found = [
            calibration.rank_correlations(strength * q / q.std() + np.sqrt(1 - strength**2) * e, m, np.ones(len(m)))
            for q, m, e in studies
        ]
        return np.mean(found) - full

    best = 0.99  # with few annotators even a perfect scorer may fall short of `full`
    return brentq(excess, 0.05, best, xtol=1e-3) if excess(best) > 0 else best


def people(rng, n_annotators):
    quality, groups = annotators.draw_quality(50, 15, rng)
    perceived = annotators.draw_perceived(quality, n_annotators, rng, groups=groups)
    return quality, groups, annotators.ratings(perceived)


def study(rng, strengths, n_annotators):
    """Convictions of every scorer by every rule in one study."""
    quality, groups, labels = people(rng, n_annotators)
    means, entropy = labels.mean(1), agreement.entropy_bits(agreement.label_counts(labels, SCALE))
    statistics = {"mean": means, "entropy_bits": entropy}
    masks = {rule.name: subsets.kept_weights(rule, statistics) > 0 for rule in RULES}
    rows = []
    for full, strength in strengths.items():
        scorers = {name: scorer(name, quality, groups, strength, labels, rng) for name in SCORERS}
        correlations = calibration.rank_correlations(np.stack(list(scorers.values())), means, np.ones(len(means)))[0]
        for name, mask in masks.items():
            blind = annotators.blind_on(scorers["equally good"], mask, rng)
            scores = np.stack([*scorers.values(), blind])
            tests = {"": calibration.contrast(scores, means, mask, groups)}
            if name == RULES[0].name:
                tests[", mean not normal-scored"] = calibration.contrast(
                    scores, means, mask, groups, normal_target=False
                )
            own = [*correlations, calibration.rank_correlations(blind, means, np.ones(len(means))).item()]
            rows += [
                {"scorer": s, "full": full, "rule": name + test, "n": mask.sum(), "own_full": r, "convicted": upper < 0}
                for test, found in tests.items()
                for s, r, upper in zip([*SCORERS, "no signal on the subset"], own, found["upper"], strict=True)
            ]
    return rows


def scorer(name, quality, groups, strength, labels, rng):
    """One scorer of the given strength that is nowhere worse on contested items as such."""
    if name == "clustered slopes":  # the scorer is better at some prompts than at others
        slopes = np.exp(0.4 * rng.normal(size=groups.max() + 1))[groups]
        return annotators.score(quality * slopes, strength, rng)
    if name == "heteroskedastic noise":  # noisier for middling responses, contested or not
        noise = rng.normal(size=len(quality)) * np.exp(0.4 - 0.5 * np.abs(quality))
        return strength * quality + np.sqrt(1 - strength**2) * noise
    if name == "saturated":  # good answers all receive nearly the same score
        return np.tanh(annotators.score(quality, strength, rng) - 0.5)
    if name == "one taste group only":  # follows every second annotator
        return annotators.score(labels[:, ::2].mean(1), strength, rng)
    return annotators.score(quality, strength, rng)


def summarise(rows, options):
    from scipy.stats import binomtest

    table = rows.groupby(["rule", "scorer", "full"], sort=False).agg(
        n_items=("n", "mean"),
        own_full=("own_full", "mean"),
        studies=("convicted", "size"),
        convicted=("convicted", "sum"),
    )
    table["share_convicted"] = table["convicted"] / table["studies"]
    intervals = [binomtest(k, n).proportion_ci() for k, n in zip(table["convicted"], table["studies"], strict=True)]
    table["lower"], table["upper"] = [i.low for i in intervals], [i.high for i in intervals]
    return table.reset_index().assign(annotators=options.annotators, seed=options.seed)


if __name__ == "__main__":
    main()

"""Size and power of the typicality preference, in worlds of people times scorers.

People like the typical response; innocent scorers follow people only, guilty ones add .25 standard deviations of
typicality. Both directions count as flagged. Writes ``benchmarks/typicality_worlds.csv``:
``python benchmarks/typicality_worlds.py --studies 300``.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import verdict_worlds

from hivemind_utils.metrics import typicality

WORLDS = ("developers'", "45 % fives", "57 % fives", "35 % ones", "3 raters", "5 raters", "10 prompts")
LIKED, PREFERRED, STRENGTH, N_SPLITS = 0.5, 0.25, 0.6, 4


def study(world, rng):
    """Whether each scorer is flagged: the innocent ones, then the guilty one; and the latter's estimate."""
    quality, prompts, labels = people(world, rng)
    typical = LIKED * quality + np.sqrt(1 - LIKED**2) * rng.normal(size=len(quality))
    effects = rng.normal(size=prompts[-1] + 1)
    scores = [
        verdict_worlds.score(name, STRENGTH, quality, prompts, rng.normal(size=len(quality)), effects)
        for name in verdict_worlds.INNOCENT
    ]
    linear = verdict_worlds.score("linear", STRENGTH, quality, prompts, rng.normal(size=len(quality)), effects)
    scores = np.stack([*scores, linear + PREFERRED * typical])
    length = rng.normal(size=len(quality))
    found = typicality.typicality_preference(scores, labels, typical, length, prompts, N_SPLITS, rng)
    return (found.lower > 0) | (found.upper < 0), found.estimate[-1]


def people(world, rng):
    """Quality, prompts and labels; the labels of `verdict_worlds.draw_people` are counts only."""
    prompts = np.repeat(np.arange(world.prompts), world.items)
    quality = verdict_worlds.draw_quality(world, prompts, rng)
    taste = (world.taste * rng.exponential(size=len(prompts)) * rng.normal(size=len(prompts)) / np.sqrt(2))[:, None]
    severity = world.severity * rng.normal(size=(world.prompts, world.annotators))[prompts]
    perceived = world.spread * quality[:, None] + np.where(np.arange(world.annotators) % 2, -taste, taste) + severity
    perceived = perceived + world.noise * rng.normal(size=perceived.shape)
    labels = 1.0 + np.searchsorted(verdict_worlds.cuts_of(world), perceived)
    return (quality - quality.mean()) / quality.std(), prompts, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    started, rows = time.monotonic(), []
    for number, name in enumerate(WORLDS):
        world = replace(verdict_worlds.WORLDS[name])
        root = np.random.default_rng([options.seed, number])
        done = [study(world, rng) for rng in root.spawn(options.studies)]
        flagged = np.mean([flags for flags, _ in done], axis=0)
        for scorer, rate in zip((*verdict_worlds.INNOCENT, "prefers the typical"), flagged, strict=True):
            se = verdict_worlds.rate_se(rate, options.studies)
            rows.append(
                {"world": name, "scorer": scorer, "studies": options.studies, "flagged": rate, "flagged_se": se}
            )
        print(f"{name}: mean estimate of the guilty {np.mean([e for _, e in done]):.3f}", flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.pivot(index="scorer", columns="world", values="flagged").round(3).to_string())
    print(f"{options.studies} studies per world, seed {options.seed}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

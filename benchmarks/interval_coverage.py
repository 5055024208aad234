"""Coverage of every interval over prompts, by number of prompts, nominal 95 %.

Simulated studies with a known truth: means, pooled means and their paired differences, Spearman correlations (with a
cut that is redone), shares of prompts, the half-width of a comparison with a published value, the share of the expected
correlation that a scorer keeps, and the typicality preference. A percentile bootstrap of the mean is shown too.
Writes ``benchmarks/interval_coverage.csv``: ``python benchmarks/interval_coverage.py --studies 2000``.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import verdict_worlds
from scipy.special import expit

from hivemind_utils.metrics import comparison, contested, intervals, typicality, verdict

PROMPTS = (2, 3, 5, 8, 13, 25, 50, 100)
SLOW = {"Spearman", "Spearman, cut redone", "share kept, linear", "share kept, half signal", "typicality preference"}


def means(n, studies, rng):
    """Prompt means with a skewed distribution of prompts."""
    found = intervals.mean_interval(rng.gamma(4, size=(n, studies)))
    return found.lower, found.upper, 4.0


def normal_means(n, studies, rng):
    found = intervals.mean_interval(rng.normal(size=(n, studies)))
    return found.lower, found.upper, 0.0


def bootstrap(n, studies, rng):
    """The percentile bootstrap of a mean, for comparison."""
    values = rng.gamma(4, size=(n, studies))
    draws = np.tensordot(rng.multinomial(n, np.full(n, 1 / n), size=1000) / n, values, axes=1)
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    return lower, upper, 4.0


def _pooled(n, studies, rng, effect):
    size = 1.0 + rng.poisson(10, size=(n, studies))
    return size * (0.6 + effect + 0.1 * rng.normal(size=(n, studies))), size


def ratios(n, studies, rng):
    """Pooled means of prompts with unequal numbers of responses."""
    found = intervals.ratio_interval(*_pooled(n, studies, rng, 0.1 * rng.normal(size=(n, studies))))
    return found.lower, found.upper, 0.6


def differences(n, studies, rng, skewed=False):
    """Two arms on the same prompts; the prompts' differences are symmetric, or as skewed as a gamma of shape 2."""
    prompt, first, second = rng.normal(size=(n, studies)), *rng.gamma(2, size=(2, n, studies))
    found = intervals.difference_interval(prompt + first, prompt if skewed else prompt + second)
    return found.lower, found.upper, 2.0 * skewed


def ratio_differences(n, studies, rng):
    effect = 0.2 * rng.normal(size=(n, studies))
    first, second = _pooled(n, studies, rng, effect), _pooled(n, studies, rng, effect)
    found = intervals.ratio_difference_interval(first, second)
    return found.lower, found.upper, 0.0


def _items(n, rng):
    """Scores, human means and entropies of 15 items per prompt, with prompt effects in all."""
    prompts = np.repeat(np.arange(n), 15)
    quality = 0.5 * rng.normal(size=n)[prompts] + rng.normal(size=len(prompts))
    y = quality + 0.3 * rng.normal(size=len(prompts))
    x = 0.6 * quality + 0.3 * rng.normal(size=n)[prompts] + rng.normal(size=len(prompts))
    return x, y, -np.abs(y) + 0.5 * rng.normal(size=len(prompts)), prompts


def _top_third(entropy):
    return lambda rows: entropy[rows] >= np.quantile(entropy[rows], 2 / 3)


def _truth_of_spearman(cut, _known={}):  # noqa: B006
    if cut not in _known:
        x, y, entropy, _ = _items(20_000, np.random.default_rng(99))
        rows = np.arange(len(x))
        at = rows[_top_third(entropy)(rows)] if cut else rows
        _known[cut] = intervals._spearman(x[at], y[at])
    return _known[cut]


def spearman(n, studies, rng, cut=False):
    bounds = []
    for child in rng.spawn(studies):
        x, y, entropy, prompts = _items(n, child)
        found = intervals.spearman_interval(x, y, prompts, keep=_top_third(entropy) if cut else None)
        bounds.append((found.lower, found.upper))
    return *np.array(bounds).T, _truth_of_spearman(cut)


def shares(n, studies, rng, level, spread):
    """Share of 25 models at or above a threshold, per prompt; models and prompts differ."""
    models = rng.normal(size=(25, 1, 1))
    grid = 1 + spread * np.random.default_rng(98).normal(size=200_000)
    chance = expit(level * (1 + spread * rng.normal(size=(1, n, studies))) + models)
    truth = np.mean([expit(level * grid + m).mean() for m in models.ravel()])
    values = (rng.random(chance.shape) < chance).mean(0)
    found = [intervals.share_interval(column) for column in values.T]
    return *np.array([(f.lower, f.upper) for f in found], float).T, truth


def predictions(n, studies, rng):
    """A new study's mean against a published one of 50 prompts: the difference within the half-width."""
    found = intervals.mean_interval(rng.gamma(4, size=(n, studies)))
    paper = rng.gamma(4, size=(intervals.PAPER_PROMPTS, studies)).mean(0)
    half = intervals.prediction_half_width(found.se, n)
    difference = found.estimate - paper
    return difference - half, difference + half, 0.0


def kept(n, studies, rng, truth):
    """Share of the expected correlation that a scorer keeps, from 8 prompts on; truth from studies of 400 prompts."""
    world, bounds = verdict_worlds.WORLDS["developers'"], []
    strength = 0.7

    def one(n_prompts, child):
        quality, prompts, mean, entropy, _ = verdict_worlds.draw_people(replace(world, prompts=n_prompts), child)
        found = contested.contested_set(entropy)
        score = verdict_worlds.guilty(truth, strength, quality, child.normal(size=len(quality)), found.mask)
        return comparison.compare(comparison.prepare(score, mean, prompts), found)

    if truth not in _KEPT:
        large = [one(400, child) for child in np.random.default_rng(97).spawn(60)]
        _KEPT[truth] = np.mean([c.r[0] for c in large]) / np.mean([c.e[0] for c in large])
    for child in rng.spawn(studies):
        tests = verdict.tests(one(n, child))
        bounds.append((tests.kept_lower[0], tests.kept_upper[0]))
    return *np.array(bounds).T, _KEPT[truth]


_KEPT = {}


def typical(n, studies, rng):
    """Typicality preference of a scorer that only follows people, who like the typical response; 25 annotators."""
    world, bounds = verdict_worlds.WORLDS["developers'"], []
    for child in rng.spawn(studies):
        quality, prompts, _, _, _ = verdict_worlds.draw_people(replace(world, prompts=n), child)
        typicality_of = 0.5 * quality + child.normal(size=len(quality))
        labels = np.searchsorted(verdict_worlds.CUTS, 0.55 * quality[:, None] + child.normal(size=(len(quality), 25)))
        score = quality + child.normal(size=len(quality))
        found = typicality.typicality_preference(
            score, labels.astype(float), typicality_of, child.normal(size=len(quality)), prompts, 2, child
        )
        bounds.append((found.lower[0], found.upper[0]))
    return *np.array(bounds).T, 0.0


CASES = {
    "mean, normal prompts": normal_means,
    "mean, skewed prompts": means,
    "mean, skewed prompts: percentile bootstrap, for comparison": bootstrap,
    "pooled mean": ratios,
    "paired difference of means": differences,
    "paired difference of means, skewed": lambda n, studies, rng: differences(n, studies, rng, skewed=True),
    "paired difference of pooled means": ratio_differences,
    "Spearman": spearman,
    "Spearman, cut redone": lambda n, studies, rng: spearman(n, studies, rng, cut=True),
    "share of prompts, about .8": lambda n, studies, rng: shares(n, studies, rng, 1.8, 0.7),
    "share of prompts, about .5": lambda n, studies, rng: shares(n, studies, rng, 0.01, 100.0),
    "share of prompts, about .97": lambda n, studies, rng: shares(n, studies, rng, 4.5, 0.3),
    "half-width beside a published mean": predictions,
    "share kept, linear": lambda n, studies, rng: kept(n, studies, rng, "linear"),
    "share kept, half signal": lambda n, studies, rng: kept(n, studies, rng, "half signal"),
    "typicality preference": typical,
}


def coverage(name, n, studies, seed):
    """Share of studies whose interval holds the truth, of those that have one."""
    rng = np.random.default_rng([seed, list(CASES).index(name), n])
    lower, upper, truth = CASES[name](n, studies, rng)
    has = ~np.isnan(lower)
    inside = (lower[has] <= truth) & (truth <= upper[has])
    rate = inside.mean() if has.any() else np.nan
    return {
        "interval": name, "prompts": n, "studies": studies, "truth": truth, "without_interval": 1 - has.mean(),
        "coverage": rate, "se": verdict_worlds.rate_se(rate, max(has.sum(), 1)),
        "median_width": np.median(upper[has] - lower[has]) if has.any() else np.nan,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--slow-studies", type=int, default=400, help="for intervals that take a loop per study")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    started, rows = time.monotonic(), []
    for name in CASES:
        studies = options.slow_studies if name in SLOW else options.studies
        least = 8 if name.startswith("share kept") else 2
        rows += [coverage(name, n, studies, options.seed) for n in PROMPTS if n >= least]
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.pivot(index="interval", columns="prompts", values="coverage").round(3).to_string())
    print(f"seed {options.seed}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

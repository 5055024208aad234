"""Size and power of every statement of a verdict, in worlds of people times scorers.

Each world draws people who rate or compare responses: with many fives, many ones, few annotators, few prompts. Innocent
scorers follow the quality equally well everywhere; guilty ones lose their signal, half of it, or get twice the noise on
the most contested items. A kind is six scorers whose errors correlate at .5. Rates are before Holm's adjustment, at a
nominal 2.5 %; the last rows hold the chance of any wrong statement in a family, adjusted, of 3 kinds × 4 scorers × 2
sorts of items. Writes ``benchmarks/verdict_worlds.csv``:
``python benchmarks/verdict_worlds.py --studies 300``.
"""

import argparse
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import rankdata

from hivemind_utils.metrics import comparison, contested, verdict

CUTS = (-1.8, -1.0, -0.2, 0.8)  # where a perceived quality becomes 2, 3, 4, 5
PAIR_CUTS = (-1.2, -0.35, 0.35, 1.2)
INNOCENT = (
    "linear", "lenient discrete", "binary", "saturating top", "saturating floor", "convex", "heteroskedastic",
    "prompt effects", "clustered slopes",
)  # fmt: skip
GUILTY = ("blind", "half signal", "noise doubled")
KINDS = ("kind linear", "kind blind", "kind half signal")
KIND_SIZE, KIND_ERRORS = 6, 0.5
FAMILIES = "families of 3 kinds × 4 scorers × 2 sorts of items"


@dataclass(frozen=True)
class World:
    """People and the responses they judge.

    Attributes
    ----------
    prompts, items : int
        Prompts, and responses or pairs of each (on average).
    annotators : int or tuple of int
        Per item; a range is drawn for every item.
    rho : tuple of float
        Spearman correlations with the human mean that scorers are given.
    fives, ones : float or None
        Share of the labels at the top or the bottom of the scale, by moving all cuts. None: as the cuts are.
    spread, noise, severity, taste : float
        What a standard deviation of quality is worth to an annotator; what an annotator adds to a label, and to all
        labels of a prompt; how far two taste groups stand apart on an item, on average.
    prompt_sd : float
        Part of the quality that the responses of a prompt share.
    divisive : float
        Standard deviation, on the log scale, of the taste of prompts.
    unequal : bool
        Prompts have between a third of the items and many times as many.
    careless : float
        Share of labels drawn at random.
    ties : float
        Pairs: widens the middle of the scale.
    pairs : bool
    """

    prompts: int = 50
    items: int = 15
    annotators: int | tuple = 25
    rho: tuple = (0.5, 0.33)
    fives: float | None = None
    ones: float | None = None
    spread: float = 0.55
    noise: float = 0.9
    severity: float = 0.3
    taste: float = 0.3
    prompt_sd: float = 0.4
    divisive: float = 0.0
    unequal: bool = False
    careless: float = 0.0
    ties: float = 1.0
    pairs: bool = False


PAIRS = World(items=10, pairs=True, severity=0.0)
WORLDS = {
    "developers'": World(),
    "unequal prompts": World(unequal=True),
    "45 % fives": World(fives=0.45),
    "57 % fives": World(fives=0.57),
    "68 % fives": World(fives=0.68),
    "35 % ones": World(ones=0.35),
    "42 % ones": World(ones=0.42),
    "53 % ones": World(ones=0.53),
    "3 raters": World(annotators=3),
    "5 raters": World(annotators=5),
    "divisive prompts": World(divisive=1.0),
    "10 prompts": World(prompts=10),
    "5 prompts": World(prompts=5),
    "200 prompts": World(prompts=200),
    "pairs": PAIRS,
    "pairs, many ties": replace(PAIRS, ties=2.5),
    "pairs, few ties": replace(PAIRS, ties=0.3),
    "pairs, 5 raters": replace(PAIRS, annotators=5),
    "pairs, clear": replace(PAIRS, spread=1.1),
    "own: 3 to 11 raters": World(annotators=(3, 11)),
    "own: a fifth of labels at random": World(careless=0.2),
    "own: prompts differ more than responses": World(prompts=25, items=30, prompt_sd=0.85),
}


def draw_people(world, rng):
    """Quality, prompts, human means, entropy and share of the top and bottom label of one study."""
    size = np.full(world.prompts, world.items)
    if world.unequal:
        size = np.maximum(world.items // 3, np.round(world.items * rng.lognormal(-0.3, 0.8, world.prompts)).astype(int))
    prompts = np.repeat(np.arange(world.prompts), size)
    quality = draw_quality(world, prompts, rng)
    if world.pairs:
        quality = quality - draw_quality(world, prompts, rng, prompt_sd=0)
    most = np.max(world.annotators)
    taste = world.taste * np.exp(world.divisive * rng.normal(size=world.prompts))[prompts]
    taste = (taste * rng.exponential(size=len(prompts)) * rng.normal(size=len(prompts)) / np.sqrt(2))[:, None]
    severity = world.severity * rng.normal(size=(world.prompts, most))[prompts]
    perceived = world.spread * quality[:, None] + np.where(np.arange(most) % 2, -taste, taste) + severity
    perceived = perceived + world.noise * rng.normal(size=perceived.shape)
    labels = np.searchsorted(cuts_of(world), perceived)
    stray = rng.random(labels.shape) < world.careless
    labels = np.where(stray, rng.integers(0, 5, labels.shape), labels)
    present = np.ones(labels.shape, bool)
    if not np.isscalar(world.annotators):
        present = np.arange(most) < rng.integers(world.annotators[0], most + 1, len(prompts))[:, None]
    counts = np.stack([((labels == v) & present).sum(1) for v in range(5)], axis=1)
    shares = np.sort(counts, axis=1) / counts.sum(1, keepdims=True)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1)
    means = counts @ np.arange(-2.0, 3.0) / counts.sum(1)
    return quality / quality.std(), prompts, means, entropy, counts.sum(0)[[0, 4]] / counts.sum()


def draw_quality(world, prompts, rng, prompt_sd=None):
    """Standard deviation 1, heavy-tailed and skewed to bad responses, partly shared by the responses of a prompt."""
    prompt_sd = world.prompt_sd if prompt_sd is None else prompt_sd
    own = rng.standard_t(5, size=len(prompts)) * np.sqrt(3 / 5) - rng.exponential(size=len(prompts)) + 1
    shared = rng.normal(size=world.prompts)[prompts]
    return prompt_sd * shared + np.sqrt(1 - prompt_sd**2) * own / np.sqrt(2)


def cuts_of(world, _known={}):  # noqa: B006
    """Cuts of the scale, moved until the wished share of fives or ones is met."""
    if world.pairs:
        return np.array(PAIR_CUTS) * world.ties
    if world.fives is None and world.ones is None:
        return np.array(CUTS)
    if world not in _known:
        plain = replace(world, fives=None, ones=None, prompts=400)
        rng = np.random.default_rng(0)
        prompts = np.repeat(np.arange(400), world.items)
        sd = np.sqrt(world.noise**2 + world.severity**2 + world.taste**2)
        perceived = world.spread * draw_quality(plain, prompts, rng) + sd * rng.normal(size=len(prompts))
        wished = 1 - world.fives if world.fives is not None else world.ones
        _known[world] = np.array(CUTS) + np.quantile(perceived, wished) - CUTS[3 if world.fives is not None else 0]
    return _known[world]


def score(name, strength, quality, prompts, noise, effects):
    """Scores of an innocent scorer: `strength` parts of what it sees of the quality, the rest noise."""
    rest = np.sqrt(1 - strength**2)
    signal = {
        "saturating top": partial(np.minimum, -0.2),
        "saturating floor": partial(np.maximum, 0.2),
        "convex": lambda q: np.exp(0.8 * q),
        "clustered slopes": lambda q: q * np.exp(0.4 * effects)[prompts],
    }.get(name, lambda q: q)(quality)
    if name == "heteroskedastic":
        noise = noise * np.exp(0.4 - 0.5 * np.abs(quality))
    value = strength * (signal - signal.mean()) / signal.std() + rest * noise
    if name == "prompt effects":
        value = value + 0.7 * effects[prompts]
    if name == "lenient discrete":
        return np.searchsorted(np.quantile(value, [0.03, 0.1, 0.25, 0.6]), value).astype(float)
    if name == "binary":
        return (value > np.quantile(value, 0.4)).astype(float)
    return value


def pair_score(name, strength, quality, prompts, noise, effects):
    """Scores of an innocent scorer of pairs: any sign of the quality is treated alike."""
    rest = np.sqrt(1 - strength**2)
    signal = {
        "saturating top": lambda q: np.tanh(2 * q),
        "saturating floor": lambda q: np.sign(q) * np.maximum(np.abs(q) - 0.5, 0),  # small differences are not seen
        "convex": lambda q: q * np.abs(q),
        "clustered slopes": lambda q: q * np.exp(0.4 * effects)[prompts],
    }.get(name, lambda q: q)(quality)
    if name == "heteroskedastic":
        noise = noise * np.exp(0.4 - 0.5 * np.abs(quality))
    if name == "prompt effects":  # a taste of its own, shared by the pairs of a prompt
        noise = 0.8 * noise + 0.6 * effects[prompts]
    value = strength * signal / np.sqrt((signal**2).mean()) + rest * noise
    if name == "lenient discrete":
        return np.sign(value) * np.searchsorted(np.quantile(np.abs(value), [0.4, 0.8]), np.abs(value))
    return np.sign(value) if name == "binary" else value


def strengths(world, rho, rng, n_studies=12):
    """Strength of every innocent scorer at which its mean Spearman correlation with the human mean is rho."""
    draws = []
    for child in rng.spawn(n_studies):
        quality, prompts, means, *_ = draw_people(replace(world, prompts=max(world.prompts, 50)), child)
        draws.append(
            (quality, prompts, rankdata(means), child.normal(size=len(means)), child.normal(size=prompts[-1] + 1))
        )
    found, make = {}, pair_score if world.pairs else score
    for name in INNOCENT:

        def excess(strength, name=name):
            values = [
                np.corrcoef(rankdata(make(name, strength, q, p, e, u)), ranks)[0, 1] for q, p, ranks, e, u in draws
            ]
            return np.mean(values) - rho

        found[name] = brentq(excess, 0, 0.995, xtol=2e-3) if excess(0.995) > 0 else 0.995
    return found


def guilty(name, strength, quality, noise, mask):
    """A linear scorer that loses touch on the contested items."""
    rest = np.sqrt(1 - strength**2)
    inside = {
        "blind": noise,
        "half signal": strength / 2 * quality + np.sqrt(1 - strength**2 / 4) * noise,
        "noise doubled": strength * quality + 2 * rest * noise,
        "linear": strength * quality + rest * noise,
    }[name]
    return np.where(mask, inside, strength * quality + rest * noise)


def study(world, strength_of, rng):
    """One study: for every correlation and scorer, what is said; and what people are like.

    Returns
    -------
    rows : ndarray of float, shape (n_rho, n_statements, 7)
        Not testable; degrades and holds up, if testable, and whatever the gates; r, e.
    people : tuple of float
        Share of the contested set, effective size, shares of the bottom and top label.
    """
    quality, prompts, means, entropy, ends = draw_people(world, rng)
    found, make = contested.contested_set(entropy), pair_score if world.pairs else score
    q = (quality - quality.mean() * (not world.pairs)) / quality.std()
    scores = []
    for of in strength_of.values():
        effects = rng.normal(size=prompts[-1] + 1)
        scores += [make(name, of[name], q, prompts, rng.normal(size=len(q)), effects) for name in INNOCENT]
        scores += [guilty(name, of["linear"], q, rng.normal(size=len(q)), found.mask) for name in GUILTY]
        for kind in KINDS:
            errors = np.sqrt(KIND_ERRORS) * rng.normal(size=len(q))
            errors = errors + np.sqrt(1 - KIND_ERRORS) * rng.normal(size=(KIND_SIZE, len(q)))
            scores += [guilty(kind.removeprefix("kind "), of["linear"], q, e, found.mask) for e in errors]
    compared = comparison.compare(comparison.prepare(scores, means, prompts, pairs=world.pairs), found)
    rows = [statements(take(compared, part)) for part in np.split(np.arange(len(scores)), len(strength_of))]
    return np.array(rows), (found.share, compared.effective_size[0], *ends)


def take(compared, at):
    parts = (compared.r[:, at], compared.e[:, at], compared.present[:, at])
    return comparison.Comparison(*parts, compared.effective_size[at], compared.reason[at])


def statements(compared):
    """What is said of scorers and kinds, shape (n_statements, 7)."""
    single = len(INNOCENT) + len(GUILTY)
    in_kinds = take(compared, np.arange(single, compared.r.shape[1]))
    # kinds without gates, too: their scorers' means whatever the reason
    labels = np.repeat([f"{i}" for i in range(len(KINDS))], KIND_SIZE)
    ungated = replace(in_kinds, reason=np.full(len(labels), ""))
    kinds = replace(comparison.compare_kinds(ungated, labels)[1], reason=in_kinds.reason[::KIND_SIZE])
    parts = []
    for part in (take(compared, np.arange(single)), kinds):
        tests, testable = verdict.tests(part), part.testable
        degrades, holds_up = tests.p_degrades < verdict.LEVEL, tests.p_holds_up < verdict.LEVEL
        said = (~testable, degrades & testable, holds_up & testable, degrades, holds_up, part.r[0], part.e[0])
        parts.append(np.array(said, float).T)
    return np.concatenate(parts)


def run_world(name, n_studies, seed):
    world = WORLDS[name]
    root = np.random.default_rng([seed, list(WORLDS).index(name)])
    strength_of = {rho: strengths(world, rho, root.spawn(1)[0]) for rho in world.rho}
    done = [study(world, strength_of, rng) for rng in root.spawn(n_studies)]
    values, people = np.stack([rows for rows, _ in done]), np.mean([people for _, people in done], axis=0)
    rows = []
    for i, rho in enumerate(world.rho):
        for j, scorer in enumerate((*INNOCENT, *GUILTY, *KINDS)):
            untestable, degrades, holds_up, degrades_ungated, holds_up_ungated = values[:, i, j, :5].mean(0)
            r, e = np.nanmean(values[:, i, j, 5]), np.nanmean(values[:, i, j, 6])
            rows.append(
                {
                    "world": name, "rho": rho, "scorer": scorer, "studies": n_studies, "kept": r / e,
                    "not_testable": untestable, "degrades": degrades, "degrades_se": rate_se(degrades, n_studies),
                    "holds_up": holds_up, "holds_up_se": rate_se(holds_up, n_studies),
                    "degrades_ungated": degrades_ungated, "holds_up_ungated": holds_up_ungated,
                    "contested_share": people[0], "effective_size": people[1], "ones": people[2], "fives": people[3],
                }
            )  # fmt: skip
    return rows


def rate_se(rate, n):
    """Simulation standard error of a rate; never 0, so that a rate of 0 is not taken for certain."""
    return np.sqrt((rate * n + 0.5) / (n + 1) * (1 - (rate * n + 0.5) / (n + 1)) / n)


def run_families(n_studies, seed):
    """Chance of any wrong statement where all of 3 kinds × 4 scorers × 2 sorts of items are innocent, or at half."""
    worlds = {"absolute": WORLDS["developers'"], "pairs": WORLDS["pairs"]}
    root = np.random.default_rng([seed, 1000])
    strength = {items: strengths(world, 0.5, root.spawn(1)[0])["linear"] for items, world in worlds.items()}
    kinds = {items: np.repeat(["judge", "lm", "reward"], 4) for items in worlds}
    wrong = {"linear": [], "half signal": []}
    for rng in root.spawn(n_studies):
        for truth, said in wrong.items():
            compared = {}
            for items, world in worlds.items():
                quality, prompts, means, entropy, _ = draw_people(world, rng)
                found = contested.contested_set(entropy)
                q = (quality - quality.mean() * (not world.pairs)) / quality.std()
                shared = np.repeat(rng.normal(size=(3, len(q))), 4, axis=0)
                noise = np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=(12, len(q)))
                scores = [guilty(truth, strength[items], q, e, found.mask) for e in noise]
                prepared = comparison.prepare(scores, means, prompts, pairs=world.pairs)
                compared[items] = comparison.compare(prepared, found)
            families = verdict.family_verdicts(compared, kinds)
            name = "p_degrades" if truth == "linear" else "p_holds_up"
            any_kind, any_scorer = (
                [getattr(getattr(family, part), name) < verdict.LEVEL for family in families.values()]
                for part in ("kind_verdicts", "scorer_verdicts")
            )
            # "Degrades" is one family of all scorers; "holds up" one of the scorers of each kind and sort of items.
            cells = np.array(any_scorer).reshape(-1, 4).any(1)
            said.append([np.any(any_kind), cells.any() if truth == "linear" else cells.mean()])
    rows = []
    for truth, statement in (("linear", "degrades"), ("half signal", "holds_up")):
        parts = ("any kind", "any scorer" if truth == "linear" else "any scorer of one kind on one sort of items")
        for part, rate in zip(parts, np.mean(wrong[truth], axis=0), strict=True):
            rows.append(
                {
                    "world": FAMILIES, "rho": 0.5, "scorer": f"{part}, all {truth}",
                    "studies": n_studies, statement: rate, f"{statement}_se": rate_se(rate, n_studies),
                }
            )  # fmt: skip
    return rows


def summary(table):
    """One line per world and correlation: the sizes and powers that matter."""
    lines = []
    for (world, rho), part in table[table["contested_share"].notna()].groupby(["world", "rho"], sort=False):
        at = part.set_index("scorer")
        innocent = at.loc[list(INNOCENT)]
        lines.append(
            {
                "world": world, "rho": rho, "effective": round(at["effective_size"].iloc[0]),
                "untestable": at["not_testable"].iloc[0], "size": innocent["degrades"].max(),
                "worst": innocent["degrades"].idxmax(), "size ungated": innocent["degrades_ungated"].max(),
                **{name: at.loc[name, "degrades"] for name in (*GUILTY, *KINDS)},
                "up": at.loc["linear", "holds_up"], "up half": at.loc["half signal", "holds_up"],
                "up doubled": at.loc["noise doubled", "holds_up"],
                "kind up": at.loc["kind linear", "holds_up"], "kind up half": at.loc["kind half signal", "holds_up"],
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--worlds", nargs="*", default=[*WORLDS, FAMILIES], help="others keep their rows")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    started, rows = time.monotonic(), []
    for name in options.worlds:
        run = run_families if name == FAMILIES else partial(run_world, name)
        rows += run(options.studies, options.seed)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    if set(options.worlds) < {*WORLDS, FAMILIES} and options.output.exists():
        known = pd.read_csv(options.output)
        table = pd.concat([known[~known["world"].isin(options.worlds)], table], ignore_index=True)
        order = {name: i for i, name in enumerate([*WORLDS, FAMILIES])}
        table = table.sort_values("world", key=lambda worlds: worlds.map(order), kind="stable")
    table.to_csv(options.output, index=False, float_format="%.4g")
    with pd.option_context("display.width", 250, "display.max_columns", 30):
        print(summary(table).round(3).to_string(index=False))
        print(table[table["contested_share"].isna()].dropna(axis=1, how="all").to_string(index=False))
    print(f"{options.studies} studies per world, seed {options.seed}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

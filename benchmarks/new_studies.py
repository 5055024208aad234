"""What the claims table says of a new study of the paper's size: of the paper's truth, and of another one.

Every trial draws two studies of one simulated world: the first gives the "published" value, which errs too, the second
is the new study. Decisions are those of ``metrics.intervals`` with the margins of ``data/reference/claims.csv``.
Correlations and verdicts come from the people and scorers of ``verdict_worlds.py`` (50 prompts, 15 responses each, 25
people), shares and means from beta distributions over 100 prompts. Writes ``benchmarks/new_studies.csv``:
``python benchmarks/new_studies.py --studies 400``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import verdict_worlds as worlds

from hivemind_utils.metrics import calibration, comparison, contested, intervals, subsets, verdict
from hivemind_utils.tables import paper

N_SCORERS = {"lm perplexity": 12, "reward": 6, "judge": 4}  # the paper's 56 language models are 12 here
RULES = ("full", "tukey 3.0", "tukey 0.5", "entropy 16")
RHO = 0.33  # of a scorer with the human mean, about the paper's
MOVED = 0.3  # another truth: correlations are lower by this, twice the margin
DECISIONS = (intervals.REPLICATES, intervals.INCONCLUSIVE, intervals.NOT_TESTABLE, intervals.DIFFERS)


def margin(place):
    """The margin of the claims whose result has `place` in it; None where none is shipped."""
    table = paper.claims()
    found = table.loc[table["result"].fillna("").str.contains(place, regex=False), "margin"].unique()
    if len(found) != 1:
        raise ValueError(f"The claims at {place!r} must have one margin, but they have {list(found)}.")
    return None if np.isnan(found[0]) else float(found[0])


def scorers_study(world, strength, rng, guilty="linear"):
    """Correlation with its standard error by kind and rule, and the word of the verdict by kind, of one study."""
    quality, prompts, means, entropy, _ = worlds.draw_people(world, rng)
    found, q = contested.contested_set(entropy), (quality - quality.mean()) / quality.std()
    kinds = np.repeat(list(N_SCORERS), list(N_SCORERS.values()))
    shared = {kind: rng.normal(size=len(q)) for kind in N_SCORERS}
    errors = [np.sqrt(0.5) * shared[kind] + np.sqrt(0.5) * rng.normal(size=len(q)) for kind in kinds]
    scores = [worlds.guilty(guilty, strength, q, e, found.mask) for e in errors]
    rules = [rule for rule in subsets.absolute_rules() if rule.name in RULES]
    statistics = {"mean": means, "entropy_bits": entropy}
    made, present = calibration.left_out_correlations(scores, means, statistics, rules, prompts)
    values = {}
    for kind in N_SCORERS:
        at = kinds == kind
        of_kind = intervals.correlation_interval(made[:, :, at].mean(2), present[:, :, at].any(2))
        values |= {(kind, rule.name): (of_kind.estimate[i], of_kind.se[i]) for i, rule in enumerate(rules)}
    compared = comparison.compare(comparison.prepare(scores, means, prompts), found)
    family = verdict.family_verdicts({"absolute": compared}, {"absolute": kinds})["absolute"]
    return values, dict(zip(family.kinds, family.kind_verdicts.decision, strict=True))


def scorer_rows(n_studies, seed):
    """Claims on correlations and on losing touch."""
    world, root = worlds.WORLDS["developers'"], np.random.default_rng([seed, 0])
    strength = {
        rho: worlds.strengths(worlds.World(rho=(rho,)), rho, root.spawn(1)[0])["linear"] for rho in (RHO, RHO - MOVED)
    }
    truths = {
        "the paper's": (RHO, "linear"), f"lower by {MOVED}": (RHO - MOVED, "linear"),
        "half the signal on contested items": (RHO, "half signal"), "no signal on contested items": (RHO, "blind"),
    }  # fmt: skip
    limits = {(kind, rule): margin(f"09:absolute/{kind}/{rule}/rho") for kind in N_SCORERS for rule in RULES}
    said = {}
    for rng in root.spawn(n_studies):
        published, _ = scorers_study(world, strength[RHO], rng)
        for truth, (rho, guilty) in truths.items():
            values, verdicts = scorers_study(world, strength[rho], rng, guilty)
            for (kind, rule), (value, se) in values.items() if guilty == "linear" else ():
                of_paper = published[kind, rule][0]
                claim = intervals.new_items_claim(value, of_paper, se, world.prompts, limits[kind, rule])
                said.setdefault((f"correlation, {rule}", kind, truth), []).append(claim.decision)
            for kind, word in verdicts.items():
                decision = intervals.contrast_claim(word).decision
                said.setdefault(("scorers lose touch", kind, truth), []).append(decision)
    return said


def prompt_rows(n_studies, seed, n_prompts=100):
    """Claims on shares and means over prompts, and on directions."""
    rng, said = np.random.default_rng([seed, 1]), {}
    share, mean = margin("05:share_of_prompts_at_least/0.8"), margin("06:main25/blocks/block=different models/mean")
    cases = {  # mean and concentration of the prompts' values, margin, in points of 100
        "share of prompts": (0.79, 1.5, share, 20), "mean similarity": (0.76, 40, mean, 10),
    }  # fmt: skip
    for _ in range(n_studies):
        for name, (at, size, limit, moved) in cases.items():
            published = 100 * rng.beta(at * size, (1 - at) * size, n_prompts).mean()
            for truth, shift in (("the paper's", 0), (f"lower by {moved} points", -moved / 100)):
                at_new = at + shift
                values = 100 * rng.beta(at_new * size, (1 - at_new) * size, n_prompts)
                found = intervals.mean_interval(values)
                claim = intervals.new_items_claim(
                    float(found.estimate), published, float(found.se), n_prompts, limit, n_prompts_paper=n_prompts
                )
                said.setdefault((name, "", truth), []).append(claim.decision)
        for effect in (-2, 0, 2, 4):
            found = intervals.mean_interval(rng.gamma(4, size=n_prompts) / 2 - 2 + effect / np.sqrt(n_prompts))
            claim = intervals.direction_claim(float(found.lower), float(found.upper))
            said.setdefault(("direction", "", f"{effect} standard errors"), []).append(claim.decision)
    return said


def run(n_studies, seed):
    """Share of every decision, by claim, kind of scorer and truth."""
    rows = []
    for (claim, kind, truth), decisions in (scorer_rows(n_studies, seed) | prompt_rows(n_studies, seed)).items():
        shares = {name.replace(" ", "_"): decisions.count(name) / len(decisions) for name in DECISIONS}
        rows.append({"claim": claim, "scorers": kind, "truth": truth, "studies": len(decisions)} | shares)
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    started = time.monotonic()
    table = run(options.studies, options.seed)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))
    print(f"{options.studies} studies, seed {options.seed}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

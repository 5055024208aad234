"""Contrasts of arms: speed against the literal loops, and how often statements about arms are made although false.

``python benchmarks/interventions.py`` draws 100 prompts × 12 arms × 50 responses × 1,536 dimensions and compares; then
200 placebo studies, in which a placebo, a change of form, a loss of quality of exactly the margin, and rungs of the
ladder under other names are run with arms that do what is stated.
"""

import argparse
import time
from itertools import combinations

import numpy as np

from hivemind_utils.metrics import frontier, interventions, quality, statements
from hivemind_utils.metrics.intervals import left_out_weights

THRESHOLDS = np.linspace(0, 1, 21)
# name: temperature of ideas, of forms, shift of quality, comparator, tokens' factor
ARMS = {
    "direct": (1.0, 1.0, 0.0, None, 1.0),
    "placebo": (1.0, 1.0, 0.0, "direct", 1.0),
    "second placebo": (1.0, 1.0, 0.0, "placebo", 1.0),
    "form only": (1.0, 9.0, 0.0, "direct", 1.0),
    "ideas": (2.5, 1.0, 0.0, "direct", 1.0),
    "ideas, worse": (2.5, 1.0, -statements.MARGIN, "direct", 1.0),
    "ideas, dear": (2.5, 1.0, 0.0, "direct", 3.0),
    "hot ideas and forms": (6.0, 6.0, -0.07, "direct", 1.0),
    "T = 0.7": (0.7, 0.8, 0.0, "direct", 1.0),
    "T = 1.3": (1.3, 1.2, -0.05, "direct", 1.0),
    "T = 1.6": (1.6, 1.4, -0.12, "direct", 1.0),
    "T = 2": (2.0, 1.6, -0.25, "direct", 1.0),
    "T = 1.3 again": (1.3, 1.2, -0.05, "direct", 1.0),
    "T = 1.6 again": (1.6, 1.4, -0.12, "direct", 1.0),
}
RUNGS = ("direct", "T = 0.7", "T = 1.3", "T = 1.6", "T = 2")
FALSE = {
    "raises diversity": ("placebo", "second placebo", "form only"),
    "without losing quality": ("placebo", "second placebo", "form only", "ideas, worse"),
    "beats hotter sampling": ("T = 1.3 again", "T = 1.6 again", "placebo", "second placebo"),
    "costs less": ("placebo", "second placebo", "form only", "ideas, dear"),
}
TRUE = {
    "raises diversity": "ideas", "without losing quality": "ideas", "beats hotter sampling": "hot ideas and forms",
    "costs less": "ideas",
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (
        ("prompts", 100), ("arms", 12), ("answers", 50), ("dims", 1536), ("studies", 200), ("open", 30), ("closed", 12)
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    speed(size.prompts, size.arms, size.answers, size.dims)
    wrong, right = rates(size.studies, size.open, size.closed, seed=0)
    print(f"{size.studies} studies of {size.open} open-ended and {size.closed} closed-ended prompts, {len(ARMS)} arms")
    for words, rate in wrong.items():
        met = "met" if rate <= 0.05 else "missed"
        print(f"  {words}: false in {rate:.1%} of the studies (target 5 %: {met}); made where true {right[words]:.1%}")


def speed(n_prompts, n_arms, n, n_dims, n_literal=4):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_prompts, n_arms, n, n_dims), np.float32)
    vectors += 2 * rng.standard_normal((n_prompts, 1, 1, n_dims), np.float32)
    scores = np.round(rng.random((n_prompts, n_arms, n)), 2)
    comparators = np.r_[-1, np.zeros(n_arms - 1, int)]
    analyse(vectors[:2], scores[:2], comparators)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        curve, _ = analyse(vectors, scores, comparators)
        times.append(time.perf_counter() - start)
    fast = min(times)
    start = time.perf_counter()
    slow_curve = [literal_curve(vectors[0, arm], scores[0, arm]) for arm in range(min(n_literal, n_arms))]
    slow = (time.perf_counter() - start) / len(slow_curve) * n_prompts * n_arms
    worst = np.abs(np.array(slow_curve) - curve[0, : len(slow_curve)]).max()
    print(f"{n_prompts} prompts × {n_arms} arms × {n} responses × {n_dims} dimensions, 21 thresholds of quality")
    met = "met" if slow >= 100 * fast else "missed"
    print(
        f"  {fast:.2f} s against {slow:.0f} s: {slow / fast:.0f}× (target 100×: {met}); largest difference {worst:.1e}"
    )
    return slow / fast


def analyse(vectors, scores, comparators):
    """Curve of effective diversity of every cell, and contrasts at every threshold."""
    curve = quality.effective_diversity(interventions.cell_cosines(vectors), scores, THRESHOLDS)
    return curve, [interventions.contrasts(curve[..., i], comparators) for i in range(len(THRESHOLDS))]


def literal_curve(vectors, scores):
    """The definition, pair by pair and threshold by threshold."""
    n = len(vectors)
    curve = []
    for threshold in THRESHOLDS:
        total = 0.0
        for i, j in combinations(range(n), 2):
            if scores[i] >= threshold and scores[j] >= threshold:
                u, v = vectors[i], vectors[j]
                total += 1 - float(u @ v) / float(np.sqrt(u @ u) * np.sqrt(v @ v))
        curve.append(total / (n * (n - 1) / 2))
    return curve


def rates(n_studies, n_open, n_closed, seed):
    """Share of studies with a false statement of each kind, and with the true one."""
    wrong, right = ({words: [] for words in FALSE} for _ in range(2))
    for rng in np.random.default_rng(seed).spawn(n_studies):
        said = study(rng, n_open, n_closed)
        for words, made in said.items():
            wrong[words].append(bool(made & set(FALSE[words])))
            right[words].append(TRUE[words] in made)
    return tuple({words: float(np.mean(x)) for words, x in side.items()} for side in (wrong, right))


def study(rng, n_open, n_closed, n=20):
    """Draw one study and list the arms of which each statement is made."""
    names = list(ARMS)
    index = {name: i for i, name in enumerate(names)}
    comparators = np.array([index.get(ARMS[name][3], -1) for name in names])
    against_direct = np.where(np.arange(len(names)) == 0, -1, 0)
    spread = np.r_[rng.uniform(0.8, 2.0, n_open), np.full(n_closed, 12.0)]
    d, ideas, q, tokens = draw(rng, spread, n)
    opened = np.arange(len(spread)) < n_open

    def controlled(values):
        differences = np.where(comparators >= 0, values - values[:, comparators], np.nan)
        return interventions.open_minus_closed(differences[opened], differences[~opened])

    primary = interventions.contrasts(ideas[opened], comparators)
    other = interventions.contrasts(d[opened], comparators)
    raised = statements.raises_diversity(primary, other, controlled(ideas))
    change = interventions.contrasts(q[opened], against_direct)
    bad = interventions.mean_contrast(-0.3 + 0.1 * rng.normal(size=n_open))
    kept = statements.keeps_quality(raised, change, bad)
    rungs = [index[name] for name in RUNGS]
    gain = frontier.ladder_gain(q[opened], d[opened], rungs, left_out_weights(np.arange(n_open)))
    others = [i for i in range(len(names)) if i not in rungs]
    beaten = statements.beats_hotter_sampling(interventions.replicate_contrast(gain[:, others]), len(rungs))
    _, saving = interventions.log_cost_ratio(tokens[opened], ideas[opened], against_direct)
    cheaper = statements.costs_less(saving)
    kinds = (raised, names), (kept, names), (beaten, [names[i] for i in others]), (cheaper, names)
    return {
        words: {arm for arm, statement in zip(arms, found, strict=True) if statement.decision == statements.HOLDS}
        for words, (found, arms) in zip(FALSE, kinds, strict=True)
    }


def draw(rng, spread, n, n_ideas=20, n_forms=6):
    """Diversity by cosine, effective number of ideas, quality and tokens of every prompt and arm.

    A pair's cosine is .3, .4 more if the idea is the same, .25 more if the form is.
    """
    n_prompts = len(spread)
    logits = rng.normal(size=(n_prompts, n_ideas)) * spread[:, None]
    forms = rng.normal(size=(n_prompts, n_forms)) * 2
    base = rng.normal(0.7, 0.1, n_prompts)
    columns = []
    for idea_heat, form_heat, shift, _, factor in ARMS.values():
        own = rng.normal(size=(2, n_prompts, 1)) * 0.15  # how this arm fares on this prompt
        counts, form_counts = (
            rng.multinomial(n, softmax(x / (heat * np.exp(noise))))
            for x, heat, noise in zip((logits, forms), (idea_heat, form_heat), own, strict=True)
        )
        same, same_form = ((c * (c - 1)).sum(1) / (n * (n - 1)) for c in (counts, form_counts))
        shares = counts / n
        entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
        scores = base + shift + rng.normal(0, 0.05, n_prompts) + rng.normal(0, 0.2, (n_prompts, n)).mean(1)
        spent = factor * np.exp(rng.normal(5, 0.6, (n_prompts, n))).sum(1)
        columns.append((1 - 0.3 - 0.4 * same - 0.25 * same_form, np.exp(entropy), scores, spent))
    return np.array(columns).transpose(1, 2, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


if __name__ == "__main__":
    main()

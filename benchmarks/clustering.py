"""Time and memory of notebook 07's work: one prompt of the paper's size, twelve of them, and one very large map.

``python benchmarks/clustering.py`` prints seconds after compilation, the largest memory, and whether the targets are
met: 12 prompts of 1,250 responses analysed in 75 s (which leaves 15 s of the notebook's 90 to the rest), 175,000
responses mapped and clustered in 4 minutes and 4 GB. ``--null 60`` also prints how often the rule calls modes of a
Gaussian supported.
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hivemind_utils.metrics import clustering, mode_evidence
from hivemind_utils.responses import modes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("prompts", 12), ("answers", 1250), ("large", 175_000), ("dims", 384), ("null", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    rng = np.random.default_rng(0)
    analyse(*prompt(100, size.dims, rng), rng)  # compiles
    cases = [prompt(size.answers, size.dims, rng) for _ in range(size.prompts)]
    started = time.process_time()
    total, _ = timed(lambda: [analyse(*case, rng) for case in cases])
    used = time.process_time() - started
    print(
        f"{size.prompts} prompts of {size.answers:,} responses: {total:.1f} s ({used:.1f} s of processor time), ",
        end="",
    )
    print(f"{verdict(total <= 75)} (75 s)", flush=True)
    if size.large:
        large(size.large, size.dims, rng)
    if size.null:
        null(size.null, rng)


def prompt(n, n_dims, rng, n_ideas=12):
    """Rows about as many directions as there are ideas, with texts that name them."""
    idea = rng.choice(n_ideas, n, p=np.arange(n_ideas, 0, -1) / (n_ideas * (n_ideas + 1) / 2))
    centres = rng.standard_normal((n_ideas, n_dims), np.float32)
    rows = centres[idea] + 0.9 * rng.standard_normal((n, n_dims), np.float32)
    texts = [
        f"idea {k} put in words {a} and {b}" for k, a, b in zip(idea, *rng.integers(200, size=(2, n)), strict=True)
    ]
    answers = pd.DataFrame({"response_id": [f"r{i:07d}" for i in range(n)], "prompt_id": "p", "text": texts})
    return answers.assign(model=[f"model-{i % 25}" for i in range(n)]), rows, idea


def analyse(answers, rows, idea, rng):
    families = {model: model for model in answers["model"]}
    part = modes.analyse(answers, rows, families, "Say something.", rng)
    return clustering.adjusted_rand(part["map"]["mode"].to_numpy(), idea)


def large(n, n_dims, rng):
    """One map of all responses: neighbours (approximate), two dimensions to look at, five to find modes in."""
    _, rows, idea = prompt(n, n_dims, rng, n_ideas=200)
    order = clustering.distinct_rows(rows)[0]  # the order in which neighbours are shared
    rows, idea = rows[order], idea[order]
    clustering.nearest_neighbours(rows[:21_000], 15, rng)  # compiles
    start = time.perf_counter()
    neighbours = clustering.nearest_neighbours(rows, 15, rng)
    step = time.perf_counter() - start
    print(f"{n:,} responses: neighbours {step:.0f} s", flush=True)
    sample = rng.choice(n, 200, replace=False)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    exact = np.argpartition(-(unit[sample] @ unit.T), 14, axis=1)[:, :15]
    found = np.mean([len(set(a) & set(b)) / 15 for a, b in zip(exact, neighbours[0][sample], strict=True)])
    first, labels = timed(lambda: clustering.find_modes(rows, rng, neighbours=neighbours))
    second, _ = timed(lambda: clustering.umap_coordinates(rows, rng, neighbours=neighbours))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    total = step + first + second
    agreed = clustering.adjusted_rand(labels, idea)
    print(f"  modes {first:.0f} s, map {second:.0f} s; {labels.max() + 1} modes, adjusted Rand {agreed:.2f}")
    print(f"  of the 15 nearest {found:.0%} are found in 50 principal components")
    print(f"  together {total:.0f} s, {verdict(total <= 240)} (240 s)")
    print(f"  largest memory {memory:.1f} GB, {verdict(memory <= 4)} (4 GB)")


def null(n_draws, rng, n=250):
    """Size of the rule on Gaussians whose variance falls off steeply (few axes) and slowly (like an encoder's)."""
    for name, n_axes in (("few axes", 12), ("many axes", 64)):
        axes = rng.standard_normal((n_axes, 64)) * np.geomspace(1, 0.05, n_axes)[:, None]
        found, held = [], []
        with threadpool_limits(1, "blas"):
            for draw in rng.spawn(n_draws):
                rows = (draw.standard_normal((n, n_axes)) @ axes + 3 * np.eye(64)[0]).astype(np.float32)
                labels = clustering.find_modes(rows, draw)
                found.append(labels.max() + 1)
                held.append(mode_evidence.evidence(rows, labels, draw).supported.any())
        invented, wrong = np.mean(found), np.mean(held)
        print(f"Gaussian, {name}: {invented:.1f} modes found on average; some supported in {wrong:.1%} of draws")


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def verdict(met):
    return "reached" if met else "MISSED"


if __name__ == "__main__":
    main()

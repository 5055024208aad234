"""Which clustering recovers ideas best: planted ideas of the demo by number of responses, and classes that people gave.

The demo chooses: the rule of `clustering.dense_regions` (linkage below, UMAP and HDBSCAN above a size) is fixed on it,
and so is that the silhouette says where to cut. NoveltyBench, given as a folder, tests the choice: classes within cells
of a prompt, model and condition.

    python benchmarks/mode_recovery.py [FOLDER_OF_NOVELTYBENCH]
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.demo import population as population_demo
from hivemind_utils.metrics import clustering
from hivemind_utils.responses.encoders import load_encoder
from hivemind_utils.tables import files

SIZES = (40, 58, 100, 200, 400, 883)
N_DRAWS = 9


def raw_hdbscan(unit, rng):
    """HDBSCAN on the vectors themselves."""
    import hdbscan

    size = clustering.smallest_mode(len(unit))
    return hdbscan.HDBSCAN(min_cluster_size=size, min_samples=min(size, 5), core_dist_n_jobs=1).fit_predict(
        unit.astype(float)
    )


def umap_hdbscan(unit, rng):
    """HDBSCAN on five dimensions of UMAP, at any size."""
    import hdbscan

    size = clustering.smallest_mode(len(unit))
    reduced = clustering.umap_coordinates(unit, rng, n_dims=5, n_neighbors=15, n_epochs=60)
    return hdbscan.HDBSCAN(min_cluster_size=size, min_samples=min(size, 15), core_dist_n_jobs=1).fit_predict(reduced)


def linkage(share):
    """Average linkage, cut at a share of the mean distance."""
    return lambda unit, rng: clustering.linked_groups(unit, clustering.smallest_mode(len(unit)), (share,))


WAYS = {"UMAP 5 + HDBSCAN": umap_hdbscan, "HDBSCAN on vectors": raw_hdbscan} | {
    f"linkage, {share:g} of the mean": linkage(share) for share in (0.6, 0.7, 0.75, 0.8)
} | {"as in the package": clustering.dense_regions}  # fmt: skip


def demo_draws(n=3):
    """Draws of the time prompt: vectors and planted ideas."""
    population = population_demo.load_population(files.root() / "data" / "demo" / "population.yaml")
    for seed in range(n):
        frame, truth = population_demo.draw_responses(
            population, seed=seed, prompts=["time-metaphor"], n_samples=35, decodings=["top_p", "none"]
        )
        known = truth["idea"].notna().to_numpy()
        vectors = load_encoder("minilm").encode(frame["response"][known].tolist())
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True), pd.factorize(truth["idea"][known])[0]


def planted():
    """Mean adjusted Rand index with planted ideas, by way and number of responses."""
    draws, found = list(demo_draws()), []
    for size in SIZES:
        for way, fit in WAYS.items():
            values = []
            for k in range(N_DRAWS if size < 400 else len(draws)):
                vectors, truth = draws[k % len(draws)]
                rng = np.random.default_rng(k)
                rows = np.sort(rng.choice(len(truth), min(size, len(truth)), replace=False))
                first, inverse, _ = clustering.distinct_rows(vectors[rows])
                labels = np.asarray(fit(vectors[rows][first], rng))[inverse]
                values.append(clustering.adjusted_rand(labels, truth[rows]))
            found.append((way, size, np.mean(values)))
    return (
        pd.DataFrame(found, columns=["way", "n", "ari"]).pivot(index="way", columns="n", values="ari").loc[list(WAYS)]
    )


def classes_within_cells(responses, vectors, fit):
    """Adjusted Rand index of modes of a prompt with people's classes, mean over cells with two classes or more.

    Parameters
    ----------
    responses : pandas.DataFrame
        prompt_id, model, mode, partition; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_responses, n_dims)
        Rows of length 1.
    fit : callable
        Takes distinct rows and a generator, gives labels.

    Returns
    -------
    mean : float
    n_cells : int
    """
    values = []
    frame = responses.reset_index(drop=True)
    for _, of_prompt in frame.groupby("prompt_id"):
        rows = of_prompt.index.to_numpy()
        first, inverse, _ = clustering.distinct_rows(vectors[rows])
        labels = pd.Series(np.asarray(fit(vectors[rows][first], np.random.default_rng(0)))[inverse], rows)
        for _, cell in of_prompt.groupby(["model", "mode"]):
            if len(set(cell["partition"])) > 1:
                values.append(clustering.adjusted_rand(labels[cell.index].to_numpy(), cell["partition"].to_numpy()))
    return float(np.mean(values)), len(values)


def noveltybench(folder):
    """Responses of NoveltyBench, and their vectors."""
    responses = pd.read_parquet(Path(folder) / "curated_responses.parquet")
    vectors = load_encoder("minilm").encode(responses["response"].tolist())
    return responses, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main():
    warnings.filterwarnings("ignore", message="n_jobs value")
    print("adjusted Rand index with planted ideas of the demo, by number of responses; noise as single responses")
    print(planted().round(2).to_string())
    if len(sys.argv) > 1:
        responses, vectors = noveltybench(sys.argv[1])
        print("\nadjusted Rand index with classes of NoveltyBench within cells of two classes or more")
        for way, fit in WAYS.items():
            value, n = classes_within_cells(responses, vectors, fit)
            print(f"{way:32} {value:.3f}  ({n} cells)")


if __name__ == "__main__":
    main()

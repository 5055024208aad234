"""Speed and memory of `hivemind_utils.similarity` against the naive way: same data, same run, results compared.

Everything starts from raw float32 rows, after compilation. The peak of float32 matrix products is measured in the same
minute. Run with ``make bench`` or ``python benchmarks/similarity.py --prompts 20 --models 25 --samples 50 --dims 384``.
"""

import argparse
import time
import tracemalloc

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from hivemind_utils.metrics import similarity


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("prompts", 20), ("models", 25), ("samples", 50), ("dims", 384), ("repeats", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    rows, codes = synthetic_rows(size)
    print(f"{size.prompts} prompts × {size.models} models × {size.samples} responses × {size.dims} dims, float32")
    warm_up(rows, codes, size)

    fast, means = timed(lambda: all_means(rows, codes, size.models), size.repeats)
    slow, naive = timed(lambda: sklearn_means(rows, codes, size.models), 1)
    report("intra and inter means, against scikit-learn per pair of models", slow, fast, 200)
    check("means", means, naive)

    fast, curves = timed(lambda: [similarity.nearest_sources(x, codes) for x in rows], size.repeats)
    slow, naive = timed(lambda: argpartition_sources(rows[0], codes), 1)
    report("source models for N = 1…50, against argpartition per anchor and N", slow, fast / len(rows), 10)
    check("source models", curves[0], naive)

    peak = matmul_peak()
    pairs = [(x, codes) for x in rows]
    fast, histograms = timed(lambda: similarity.pair_histograms(pairs), size.repeats)
    peak = max(peak, matmul_peak())
    n = size.models * size.samples
    rate = size.prompts * n * n * size.dims / fast / 1e9  # half of the 2·n²·d operations of the full product
    print(f"all-pairs histogram, 2,000 bins: {fast:.3f} s, {rate:.0f} GFLOP/s counting half the products")
    share = rate / peak
    print(f"  float32 matmul peak {peak:.0f} GFLOP/s, share {share:.0%} (target 60 %): {verdict(share >= 0.6)}")
    slow, naive = timed(lambda: numpy_histogram(rows[0], codes), 1)
    print(f"  against a full product and np.histogram: {slow * len(rows) / fast:.1f}×")
    check("histogram (pairs in another bin, share)", np.abs(histograms[0] - naive).sum() / naive.sum() / 100, 0)

    embeddings, gram = sum(x.nbytes for x in rows), 4 * n * n
    for name, work in (
        ("means", lambda: all_means(rows, codes, size.models)),
        ("source models", lambda: [similarity.nearest_sources(x, codes) for x in rows]),
        ("histogram", lambda: similarity.pair_histograms(pairs)),
    ):
        tracemalloc.start()
        work()
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        share = (embeddings + traced) / (embeddings + gram)
        print(
            f"memory of {name}: {traced / 1e6:.1f} MB traced beside {embeddings / 1e6:.1f} MB of embeddings; "
            f"together {share:.2f}× embeddings plus one Gram matrix (target 2): {verdict(share <= 2)}"
        )


def synthetic_rows(size):
    """Rows with structure: a direction per prompt, one per model, noise; lengths vary, as raw embeddings' may."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(size.models), size.samples)
    rows = []
    for _ in range(size.prompts):
        x = rng.normal(size=size.dims) * 2 + rng.normal(size=(size.models, size.dims))[codes]
        x = x + rng.normal(size=(len(codes), size.dims)) * 1.5
        rows.append((x * rng.uniform(0.5, 2, (len(codes), 1))).astype(np.float32))
    return rows, codes


def warm_up(rows, codes, size):
    all_means(rows[:1], codes, size.models)
    similarity.nearest_sources(rows[0], codes)
    similarity.pair_histograms([(rows[0], codes)])
    cosine_similarity(rows[0][:9], rows[0][:9])


def all_means(rows, codes, n_models):
    """Pooled mean of every pair of models, without self pairs on the diagonal."""
    sums, counts = zip(*(similarity.cell_sums(x, codes, n_models) for x in rows), strict=True)
    return similarity.pooled_mean(*similarity.homogeneity(np.array(sums), np.array(counts)))


def sklearn_means(rows, codes, n_models):
    """The same, one call of scikit-learn per prompt and pair of models."""
    total, pairs = np.zeros((2, n_models, n_models))
    for x in rows:
        of = [x[codes == m] for m in range(n_models)]
        for a in range(n_models):
            for b in range(a, n_models):
                s = cosine_similarity(of[a], of[b])
                total[a, b] += s.sum() - (np.trace(s) if a == b else 0)
                pairs[a, b] += s.size - (len(s) if a == b else 0)
    mean = total / np.where(pairs > 0, pairs, 1)
    return np.triu(mean) + np.triu(mean, 1).T


def argpartition_sources(x, codes):
    """The released way: for every anchor and every N, the N smallest distances and their distinct models."""
    similar = cosine_similarity(x)
    np.fill_diagonal(similar, -np.inf)
    found = np.empty((len(x), 50), int)
    for i in range(len(x)):
        for n in range(1, 51):
            found[i, n - 1] = len(set(codes[np.argpartition(-similar[i], n - 1)[:n]]))
    return found


def numpy_histogram(x, codes):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    upper = np.triu_indices(len(x), 1)
    values = np.clip(unit @ unit.T, -1, 1)[upper]
    same = codes[upper[0]] == codes[upper[1]]
    edges = np.linspace(-1, 1, similarity.N_BINS + 1)
    return np.array([np.histogram(values[same], edges)[0], np.histogram(values[~same], edges)[0]])


def matmul_peak(n=3000, repeats=5):
    """GFLOP/s of a large float32 product with all the threads there are; best of a few."""
    a = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32)
    seconds, _ = timed(lambda: a @ a, repeats)
    return 2 * n**3 / seconds / 1e9


def timed(work, repeats):
    """Best wall time of a few runs, and the last result."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def report(what, slow, fast, target):
    print(
        f"{what}: {slow:.3f} s / {fast:.5f} s = {slow / fast:,.0f}× (target {target}): {verdict(slow / fast >= target)}"
    )


def check(what, ours, naive):
    gap = float(np.max(np.abs(np.asarray(ours, float) - naive)))
    print(f"  {what}: largest difference {gap:.1e} (allowed 1e-5): {verdict(gap <= 1e-5)}")


def verdict(reached):
    return "reached" if reached else "MISSED"


if __name__ == "__main__":
    main()

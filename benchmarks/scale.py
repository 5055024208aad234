"""Time and memory of notebooks 05 and 06 at the size of the paper and beyond, on synthetic vectors and texts.

Every prompt has ideas (clusters), every model prefers some of them, and texts are drawn from a vocabulary as skewed as
that of a language; no encoder is asked. Run with ``make bench-scale``, or for example
``python benchmarks/scale.py --prompts 10 --scheduler '{"processes": 2}'``. The data are removed at the end.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

N_IDEAS, N_WORDS, VOCABULARY = 12, 45, 40_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[100], help="one run for each (paper: 100)")
    for name, default in (("models", 79), ("samples", 50), ("dims", 1536)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--scheduler", type=json.loads, default={"processes": 2}, help="JSON, as in a profile")
    parser.add_argument("--folder", type=Path, help="where the data are written (default: a temporary folder)")
    parser.add_argument("--naive", action="store_true", help="compare a slice with scikit-learn per pair of models")
    size = parser.parse_args()
    lines = []
    for n_prompts in size.prompts:
        with tempfile.TemporaryDirectory(dir=size.folder) as folder:
            queue = multiprocessing.get_context("spawn").SimpleQueue()
            for work in (write, measure):  # each in a process of its own, whose peak memory is its own
                process = multiprocessing.get_context("spawn").Process(
                    target=work, args=(folder, n_prompts, size, queue)
                )
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"{work.__name__} failed with {process.exitcode}")
            lines.append(queue.get())
            print(json.dumps(lines[-1]), flush=True)
    for small, large in pairwise(lines):
        times, peaks = large["seconds"] / small["seconds"], large["peak_gb"] / small["peak_gb"]
        print(f"{large['responses'] / small['responses']:.1f} times the responses: {times:.2f} times the seconds, "
              f"{peaks:.2f} times the peak memory")  # fmt: skip
    slope = lines[-1]["seconds"] / lines[-1]["responses"]
    print(f"{1e6 * slope:.0f} s per million responses; 91 million, extrapolated: {91e6 * slope / 3600:.1f} h")


def write(folder, n_prompts, size, queue):
    """Write a profile: tables of notebook 04, and vectors in the order of the responses, whole and truncated."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hivemind_utils.responses import embeddings
    from hivemind_utils.tables import ids, parquet

    prepare(folder)
    started = time.monotonic()
    rng, models = np.random.default_rng(0), [f"model-{k:02}" for k in range(size.models)]
    vocabulary = np.array([f"w{k}" for k in range(VOCABULARY)], object)
    shares = 1 / np.arange(1, VOCABULARY + 1)
    shares = np.cumsum(shares / shares.sum())
    n = size.models * 2 * size.samples
    data = Path(folder) / "data" / "bench"
    (data / "embeddings").mkdir(parents=True)
    final, text_ids = data / "embeddings" / "synthetic", []
    path, stamp = data / "04_responses.parquet", {"source": "simulated", "origin": "a benchmark"}
    writer, vectors = None, np.lib.format.open_memmap(f"{final}.npy", "w+", np.float32, (2 * n * n_prompts, size.dims))
    for p in range(n_prompts):
        table, rows = prompt(f"p{p:06}", models, size, vocabulary, shares, rng)
        at = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({"hivemind": json.dumps(stamp)})
        writer = writer or pq.ParquetWriter(path, at.schema, compression="zstd", write_page_checksum=True)
        writer.write_table(at, row_group_size=n)
        vectors[2 * n * p : 2 * n * (p + 1)] = rows
        text_ids += [*table["text_id"], *(ids.text_id(text[:60]) for text in table["text"])]
    writer.close()
    vectors.flush()
    known = {"fingerprint": embeddings._fingerprint(vectors), "order": "as asked"}
    pq.write_table(pa.table({"text_id": text_ids}).replace_schema_metadata(known), f"{final}.parquet")
    prompts = pd.DataFrame({"prompt_id": [f"p{p:06}" for p in range(n_prompts)]})
    prompts = prompts.assign(text=prompts["prompt_id"], kind="original", parent_id=None, category=None,
                             open_endedness=np.nan)  # fmt: skip
    facts = pd.DataFrame({"model": models}).assign(
        family=[name[:7] for name in models], kind="model", size_b=np.nan, tuning=None, release_date=None
    )
    arms = pd.DataFrame({"condition": ["default"], "is_intervention": [False]})
    for name, frame in (("04_prompts", prompts), ("04_models", facts), ("04_arms", arms)):
        at = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(at.replace_schema_metadata({"hivemind": json.dumps(stamp)}), parquet.path(name, "bench"))
    print(f"{n * n_prompts:,} responses written in {time.monotonic() - started:.0f} s", flush=True)


def prompt(prompt_id, models, size, vocabulary, shares, rng):
    """Return the responses to one prompt and their vectors, whole and truncated."""
    from hivemind_utils.tables import ids

    cells = [(m, d) for m in range(len(models)) for d in ("min_p", "top_p")]
    n = len(cells) * size.samples
    centre, ideas = rng.normal(size=size.dims), rng.normal(size=(N_IDEAS, size.dims))
    prefers = rng.dirichlet(np.full(N_IDEAS, 0.3), len(models))
    model = np.repeat([m for m, _ in cells], size.samples)
    idea = (rng.random(n)[:, None] < np.cumsum(prefers, 1)[model]).argmax(1)
    rows = np.empty((2 * n, size.dims), np.float32)
    for half in range(2):
        noise = rng.standard_normal((n, size.dims), np.float32)
        rows[half * n : (half + 1) * n] = centre + ideas[idea] + 0.6 * noise
    words = np.searchsorted(shares, rng.random((n, N_WORDS)))
    words = (words + 97 * idea[:, None]) % VOCABULARY
    opener = vocabulary[:3] + f" of {prompt_id} idea "
    texts = [f"{opener[i % 3]}{i} " + " ".join(vocabulary[w]) for i, w in zip(idea.tolist(), words, strict=True)]
    table = pd.DataFrame(
        {
            "response_id": [f"{prompt_id}{k:010}" for k in rng.permutation(n)], "prompt_id": prompt_id,
            "model": [models[m] for m in model], "condition": "default",
            "decoding": np.repeat([d for _, d in cells], size.samples),
            "sample_idx": np.tile(np.arange(size.samples), len(cells)),
            "text": texts, "text_id": [ids.text_id(text) for text in texts], "usable": True,
        }
    )  # fmt: skip
    return table, rows


def measure(folder, n_prompts, size, queue):
    """Compute the tables of notebooks 05 and 06; puts seconds of every step and peak memory into the queue."""
    from hivemind_utils.responses import homogeneity, loading, repetition
    from hivemind_utils.tables import executor
    from hivemind_utils.tables.study import Study

    prepare(folder)
    loading.IN_MEMORY_BYTES = 0
    steps, rng = {}, np.random.default_rng(0)
    study = Study("05", "bench", 0)
    study.executor = executor.make(size.scheduler)

    def step(name, work):
        started = time.monotonic()
        found = work()
        steps[name] = round(time.monotonic() - started, 1)
        print(f"  {name}: {steps[name]} s, peak {peak():.2f} GB", flush=True)
        return found

    loaded = step("05 load", lambda: loading.load(study, "synthetic"))
    truncated = loading.truncated_vectors(study, loaded, "synthetic", 60)
    step("05 without a word", lambda: loaded.n_wordless)
    cells = step("05 means of cells", lambda: repetition.cell_means(loaded, truncated))
    measured = step("05 measures of cells", lambda: repetition.cell_measures(loaded, cells, 0.8, 8, 20, rng))
    originals = repetition.originals(measured, loaded)
    step("05 means of arms", lambda: repetition.arm_means(originals))
    step("05 all pairs", lambda: repetition.references(loaded, 0.8, 100_000, rng))
    step("05 both readings", lambda: repetition.both_readings(loaded, originals))
    ideas = pd.DataFrame({"response_id": [], "idea": []})
    step("05 rarefaction", lambda: repetition.rarefaction(loaded, ideas))
    kept = {"prompt_kinds": ["original"], "one_decoding": True}
    loaded = step("06 load", lambda: loading.load(study, "synthetic", **kept))
    step("06 pairs of models", lambda: homogeneity.model_pairs(loaded))
    step("06 blocks", lambda: homogeneity.blocks(loaded))
    step("06 neighbours", lambda: homogeneity.neighbours(loaded, 50))
    step("06 overlaps", lambda: homogeneity.overlaps(loaded, 8, 100, 5))
    step("06 pools", lambda: homogeneity.pools(loaded, [1, 2, 3, 5, 8, 10, 15, 20, 25], 20, rng))
    if size.naive:
        steps["naive"] = naive(loaded)
    study.executor.close()
    n = n_prompts * size.models * size.samples * 2
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    queue.put({
        "responses": n, "scheduler": size.scheduler, "seconds": round(sum(v for v in steps.values() if v), 1),
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in used), 1), "peak_gb": round(peak(), 2),
        "steps": steps,
    })  # fmt: skip


def naive(loaded):
    """Seconds of scikit-learn per pair of models on one prompt, everything in memory, times the number of prompts."""
    from sklearn.metrics.pairwise import cosine_similarity

    one = loaded.part(0).load()
    started = time.monotonic()
    rows = [one.vectors[at] for at in one.table.groupby("model").indices.values()]
    for a, first in enumerate(rows):
        for second in rows[a:]:
            cosine_similarity(first, second).mean()
    seconds = time.monotonic() - started
    print(f"  scikit-learn per pair of models: {seconds:.1f} s a prompt", flush=True)
    return 0


def peak():
    """Largest resident memory of this process or of one it started, in GB."""
    scale = 1e9 if os.uname().sysname == "Darwin" else 1e6
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(used) / scale


def prepare(folder):
    """Make a folder a project, and work in it."""
    (Path(folder) / "pyproject.toml").touch()
    os.chdir(folder)


if __name__ == "__main__":
    main()

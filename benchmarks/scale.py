"""Time and memory of notebooks 05, 06, 07 and 11 at the size of the paper and beyond, on synthetic vectors and texts.

Every prompt has ideas (clusters), every model prefers some of them, and texts are drawn from a vocabulary as skewed as
that of a language; no encoder is asked. ``make bench-scale`` runs all of it and ends by itself; the data are removed
after each part. ``python benchmarks/scale.py --scale 0.02 --models 8`` is a quick look. Parts:

paper
    100 prompts, 79 models, 50 responses under each of two decodings, 1,536 dimensions; the modes of 07 on twelve.
growth
    One and four million responses of 384 dimensions through the same code of 05 and 06.
executors
    Eight prompts: this process, two processes, and Dask with one, two and three workers, equal to the last bit.
usual
    One prompt: scikit-learn for every pair of models, everything in memory.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

N_IDEAS, N_WORDS, VOCABULARY = 12, 45, 40_000
MODELS, SAMPLES, DIMS, GROWTH_DIMS = 79, 50, 1536, 384
PARTS = ("paper", "growth", "executors", "usual")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the prompts, for a quick look")
    parser.add_argument("--models", type=int, default=MODELS, help="fewer, for a quick look")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the data are written (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="a file for the table, Markdown")
    asked = parser.parse_args()
    lines = []
    for part in asked.parts:
        lines += globals()[f"part_{part}"](asked)
        print(flush=True)
    table = "\n".join(["| what | measured | target |", "|---|---|---|", *(f"| {' | '.join(line)} |" for line in lines)])
    print(table)
    if asked.output:
        asked.output.write_text(table + "\n", encoding="utf-8")


def part_paper(asked):
    """Return lines of the paper's size."""
    n = max(2, round(100 * asked.scale))
    found = run(asked, n, DIMS, {"processes": asked.processes}, ["05", "06", "07", "11"])
    size = f"{found['responses']:,} responses of {DIMS} dimensions"
    return [
        (f"05 and 06, {size}", minutes(found["05"] + found["06"]), "10 min"),
        (f"07, modes of its {min(12, n)} largest prompts", minutes(found["07"]), "2 min"),
        ("07, ideas, agreement and floors of all its prompts", minutes(found["07 labels"]), "–"),
        ("11, effects of labels", minutes(found["11"]), "–"),
        ("largest memory of a process in 05 and 06", f"{found['peak 06']:.2f} GB", "3 GB"),
        ("largest memory of a process", f"{found['peak_gb']:.2f} GB", "3 GB"),
    ]


def part_growth(asked):
    """Return lines of one and four million responses."""
    small, large = (
        run(asked, max(2, round(n * asked.scale)), GROWTH_DIMS, {"processes": asked.processes}, ["05", "06"])
        for n in (127, 506)
    )
    slope = large["seconds"] / large["responses"]
    rows = [
        (f"05 and 06, {found['responses']:,} responses of {GROWTH_DIMS} dimensions",
         f"{minutes(found['seconds'])}, {found['peak_gb']:.2f} GB", "–")
        for found in (small, large)
    ]  # fmt: skip
    return [
        *rows,
        (f"time, {large['responses'] / small['responses']:.1f} × the responses",
         f"{large['seconds'] / small['seconds']:.2f} ×", "4.4 ×"),
        ("memory", f"{large['peak_gb'] / small['peak_gb']:.2f} ×", "1.2 ×"),
        ("a million responses", minutes(1e6 * slope), "–"),
        ("91 million responses, extrapolated", f"{91e6 * slope / 3600:.1f} h", "–"),
    ]  # fmt: skip


def part_executors(asked):
    """Return lines of the same work in several places."""
    schedulers = [None, {"processes": 2}]
    try:
        import distributed  # noqa: F401

        schedulers += [{"dask": n} for n in (1, 2, 3)]
    except ModuleNotFoundError:
        print("Dask is not installed: pip install '.[scale]'", file=sys.stderr)
    n = max(2, round(8 * asked.scale))
    found = {str(s): run(asked, n, DIMS, s, ["05", "06"], warm=True) for s in schedulers}
    rows = [(f"05 and 06, {n} prompts, {name(s)}", f"{found[str(s)]['seconds']:.1f} s", "–") for s in schedulers]
    alone, one, two = (found.get(str(s), {"seconds": np.nan})["seconds"] for s in (None, {"dask": 1}, {"dask": 2}))
    return [
        *rows,
        ("two Dask workers against one", f"{one / two:.2f} × faster", "1.6 ×"),
        ("two Dask workers against this process", f"{alone / two:.2f} × faster", "1 ×"),
        ("tables", "equal to the last bit" if len({f["digest"] for f in found.values()}) == 1 else "DIFFER", "equal"),
    ]


def part_usual(asked):
    """Return lines of one prompt, the usual way against this one."""
    found = run(asked, 2, DIMS, None, ["usual"])
    return [
        ("means of all pairs of models on one prompt, scikit-learn", f"{found['usual']:.2f} s", "–"),
        ("the same from sums of unit vectors", f"{found['ours']:.3f} s", "–"),
    ]


def name(scheduler):
    """Words for a scheduler."""
    kind, n = next(iter((scheduler or {"in this process": 0}).items()))
    return {"dask": f"Dask, workers: {n}", "processes": f"processes: {n}"}.get(kind, kind)


def minutes(seconds):
    """Seconds in words."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def run(asked, n_prompts, dims, scheduler, steps, warm=False):
    """Write data, compute in a process of its own, remove the data, and return what was measured."""
    size = SimpleNamespace(models=asked.models, samples=SAMPLES, dims=dims, scheduler=scheduler, steps=steps, warm=warm)
    n_bytes = n_prompts * asked.models * SAMPLES * 2 * (2 * dims * 4 + 700)
    free = shutil.disk_usage(asked.folder or tempfile.gettempdir()).free
    if free < 1.1 * n_bytes:
        raise SystemExit(
            f"{n_bytes / 1e9:.0f} GB of disk are needed, but {free / 1e9:.0f} GB are free: choose another --folder."
        )
    print(f"{n_prompts} prompts, {name(scheduler)}: {n_bytes / 1e9:.1f} GB of disk", flush=True)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for work in (write, measure):  # each in a process of its own, whose peak memory is its own
            process = multiprocessing.get_context("spawn").Process(target=work, args=(folder, n_prompts, size))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{work.__name__} failed with {process.exitcode}")
        return json.loads((Path(folder) / "measured.json").read_text(encoding="utf-8"))


def write(folder, n_prompts, size):
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
    final = data / "embeddings" / "synthetic"
    path, stamp = data / "04_responses.parquet", {"source": "simulated", "origin": "a benchmark"}
    writer, vectors = None, np.lib.format.open_memmap(f"{final}.npy", "w+", np.float32, (2 * n * n_prompts, size.dims))
    for p in range(n_prompts):
        table, rows = prompt(f"p{p:06}", models, size, vocabulary, shares, rng)
        table = whole(table, "04_responses")
        at = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({"hivemind": json.dumps(stamp)})
        writer = writer or pq.ParquetWriter(path, at.schema, compression="zstd", write_page_checksum=True)
        writer.write_table(at, row_group_size=n)
        vectors[2 * n * p : 2 * n * (p + 1)] = rows
    writer.close()
    vectors.flush()
    known = {"fingerprint": embeddings._fingerprint(vectors), "order": "as asked"}
    lengths = [("n_chars", pa.int64()), ("n_encoded", pa.int64())]
    schema = pa.schema([("text_id", pa.string()), *lengths], known)
    with pq.ParquetWriter(f"{final}.parquet", schema) as writer, pq.ParquetFile(path) as written:
        for p in range(n_prompts):
            texts = written.read_row_group(p, ["text"])["text"].to_pylist()
            texts = [text[:k] for k in (None, 60) for text in texts]
            columns = {"text_id": [ids.text_id(text) for text in texts]}
            columns |= {name: [len(text) for text in texts] for name, _ in lengths}
            writer.write_table(pa.table(columns, schema=schema))
    prompts = pd.DataFrame({"prompt_id": [f"p{p:06}" for p in range(n_prompts)]})
    prompts = prompts.assign(text=prompts["prompt_id"], prompt_kind="original", parent_id=None, category=None,
                             open_endedness=np.nan)  # fmt: skip
    facts = pd.DataFrame({"model": models}).assign(
        family=[name[:7] for name in models], model_kind="model", size_b=np.nan, tuning=None, release_date=None
    )
    arms = pd.DataFrame({"condition": ["default"], "is_intervention": [False]})
    for name, frame in (("04_prompts", prompts), ("04_models", facts), ("04_arms", arms)):
        at = pa.Table.from_pandas(whole(frame, name), preserve_index=False)
        pq.write_table(at.replace_schema_metadata({"hivemind": json.dumps(stamp)}), parquet.path(name, "bench"))
    print(f"{n * n_prompts:,} responses written in {time.monotonic() - started:.0f} s", flush=True)


def whole(frame, name):
    """Return a table with every column of its schema; those that nothing here reads are empty."""
    from hivemind_utils.tables import schema

    empty = {"str": "", "bool": False, "int": 0, "float": np.nan}
    lacking = [column for column in schema.TABLES[name].columns if column.name not in frame]
    return frame.assign(**{c.name: None if c.nullable else empty[c.type] for c in lacking})


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
            "text": texts, "text_id": [ids.text_id(text) for text in texts], "usable": True, "outcome": "answer",
        }
    )  # fmt: skip
    return table, rows


def measure(folder, n_prompts, size):
    """Compute the tables of the notebooks asked for; writes seconds, memory and a digest of the tables."""
    from hivemind_utils.responses import loading
    from hivemind_utils.tables import executor
    from hivemind_utils.tables.study import Study

    prepare(folder)
    loading.IN_MEMORY_BYTES = 0
    study, cluster = Study("05", "bench", 0), None
    scheduler = size.scheduler
    if scheduler and "dask" in scheduler:
        from distributed import LocalCluster

        cluster = LocalCluster(n_workers=scheduler["dask"], threads_per_worker=1, dashboard_address=None)
        scheduler = cluster.scheduler_address
    study.executor = executor.make(scheduler)
    measured, digest = {"responses": n_prompts * size.models * size.samples * 2, "seconds": 0.0}, hashlib.sha256()
    if size.warm:
        for work in (compute_05, compute_06):  # processes start, packages are imported, kernels compiled
            list(work(study, 2))
    for number in size.steps:
        started = time.monotonic()
        for part, found in globals()[f"compute_{number}"](study, None):
            now = time.monotonic()
            print(f"  {number} {part}: {now - started:.1f} s, peak {peak():.2f} GB", flush=True)
            key = part if part in ("07 labels", "reading", "usual", "ours") else number
            measured[key] = measured.get(key, 0.0) + now - started
            measured["seconds"] += now - started
            for frame in found if isinstance(found, tuple) else (found,):
                digest.update(frame.to_csv(float_format="%.17g").encode() if hasattr(frame, "to_csv") else b"")
            started = time.monotonic()
        if number == "06":
            study.executor.close()  # the memory of processes is known when they have ended
            measured["peak 06"] = peak()
    study.executor.close()
    if cluster is not None:
        cluster.close()
    measured |= {"digest": digest.hexdigest(), "peak_gb": peak()}
    Path("measured.json").write_text(json.dumps(measured), encoding="utf-8")


def compute_05(study, n_prompts):
    """Yield every step of notebook 05 with its tables."""
    from hivemind_utils.responses import differences, loading, planner, repetition

    loaded, rng = cut(loading.load(study, "synthetic"), n_prompts), np.random.default_rng(0)
    truncated = loading.truncated_vectors(study, loaded, "synthetic", 60)
    yield "responses without a word", pd.DataFrame([loaded.n_wordless])
    cells = repetition.cell_means(loaded, truncated)
    yield "means of cells", cells
    measured = repetition.cell_measures(loaded, cells, 0.8, 8, 20, rng)
    yield "measures of cells", measured
    originals = repetition.originals(measured, loaded)
    yield "means of arms", repetition.arm_means(originals)
    yield "all pairs", repetition.references(loaded, 0.8, 100_000, rng)
    yield "both readings", repetition.both_readings(loaded, originals)
    yield "rarefaction", repetition.rarefaction(loaded, pd.DataFrame({"response_id": [], "idea": []}))
    yield "paraphrases", repetition.paraphrases(loaded)
    yield "power", planner.studies(planner.of_run(loaded, "top_p"))
    yield "differences", pd.DataFrame(differences.of_references(loaded, cells))


def compute_06(study, n_prompts):
    """Yield every step of notebook 06 with its tables."""
    from hivemind_utils.responses import differences, homogeneity

    loaded, rng = cut(one_decoding(study), n_prompts), np.random.default_rng(0)
    yield "pairs of models", homogeneity.model_pairs(loaded)
    yield "blocks", (homogeneity.blocks(loaded), pd.DataFrame([differences.published_diagonal(loaded)]))
    yield "neighbours", homogeneity.neighbours(loaded, 50)
    found = homogeneity.overlaps(loaded, 8, 100, 5)
    yield "overlaps", found
    yield "page of overlaps", pd.DataFrame(homogeneity.page_records(found[0], loaded, 40)).astype(str)
    yield "pools", homogeneity.pools(loaded, [1, 2, 3, 5, 8, 10, 15, 20, 25], 20, rng)


def compute_07(study, n_prompts):
    """Yield the modes of the twelve largest prompts, and what rests on idea labels."""
    from hivemind_utils.responses import ideas, modes, profile

    loaded, rng = one_decoding(study), np.random.default_rng(0)
    largest = loaded.of_prompts(loaded.prompt_order[: n_prompts or 12])
    kept, _ = modes.with_enough(largest, 5)
    list(kept.of_prompts(kept.prompt_order[:1]).map(len))  # processes start
    settings = {"n_neighbors": 15, "n_dims": 5, "n_epochs": 60, "size_factor": 0.55}
    found = modes.analyse(kept, rng, settings=settings, reruns={"n_seeds": 2, "n_subsamples": 3, "n_gaussians": 7})
    yield "modes", found.prompts
    kept, _ = modes.with_enough(loaded, 5)
    points = kept.columns("response_id", "prompt_id")
    points = points.assign(mode=np.arange(len(points)) % 12, lexical_mode=np.arange(len(points)) % 9)
    labels = ideas.from_modes(points, points["mode"]).assign(origin="given")
    shares = modes.dominant_shares(kept, {"given": ideas.of_source(labels, "given")}, 8, 200, rng)
    tables = ideas.agreement(kept, points, labels), modes.dominance(shares)
    tables += (*profile.of_arms(kept, {"given": ideas.of_source(labels, "given")}, rng),)
    yield "07 labels", (*tables, ideas.floors(ideas.pair_counts(kept, labels, 100_000, rng), [0.8]))


def compute_11(study, n_prompts):
    """Yield the effects of labels, notebook 11."""
    from hivemind_utils.responses import sources

    loaded = cut(one_decoding(study), n_prompts).models_only()
    yield "effects of labels", sources.label_table(loaded, ["family", "model"], np.random.default_rng(0))


def compute_usual(study, n_prompts):
    """Yield the mean similarity of every pair of models on one prompt, two ways."""
    from sklearn.metrics.pairwise import cosine_similarity

    from hivemind_utils.responses import homogeneity

    one = one_decoding(study).part(0).load()
    homogeneity.arm_sums(one)  # kernels are compiled
    yield "reading", None
    rows = [one.vectors[at] for at in one.table.groupby("model").indices.values()]
    means = [[float(cosine_similarity(first, second).mean()) for second in rows[a:]] for a, first in enumerate(rows)]
    yield "usual", pd.DataFrame(means)
    sums, counts = homogeneity.arm_sums(one)
    yield "ours", pd.DataFrame((sums[0] @ sums[0].T) / np.outer(counts[0], counts[0]))


def one_decoding(study):
    """Responses as notebooks 06, 07 and 11 load them."""
    from hivemind_utils.responses import loading

    return loading.load(study, "synthetic", prompt_kinds=["original"], one_decoding=True)


def cut(loaded, n_prompts):
    """Responses to the first prompts; None: all."""
    return loaded if n_prompts is None else loaded.of_prompts(loaded.prompt_order[:n_prompts])


def peak():
    """Largest resident memory of this process or of one it started and that has ended, in GB."""
    scale = 1e9 if os.uname().sysname == "Darwin" else 1e6
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(used) / scale


def prepare(folder):
    """Make a folder a project, and work in it."""
    (Path(folder) / "pyproject.toml").touch()
    os.chdir(folder)


if __name__ == "__main__":
    main()

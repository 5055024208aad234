"""Responses on disk: what is computed prompt by prompt, anywhere, is what is computed in memory; damage is told."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hivemind_utils import responses
from hivemind_utils.metrics import diversity, lexical
from hivemind_utils.responses import (
    arms,
    differences,
    embeddings,
    homogeneity,
    ideas,
    interventions,
    loading,
    modes,
    planner,
    profile,
    repetition,
    sources,
    stored,
    table,
)
from hivemind_utils.tables import executor, parquet
from hivemind_utils.tables.study import Study

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
STAMP = {"source": "imported", "origin": "a test"}
WORDS = "time is a river that flows an old thief of clocks and the sea".split()


class WordCounts:
    """An encoder that counts words."""

    name, library, chunk_size, n_workers = "counts", "numpy", 64, 1

    def encode(self, texts):
        return np.array([[text.split().count(word) for word in WORDS] for text in texts], np.float32) + 0.01


def rows():
    """Three originals, a paraphrase and a closed prompt; three models, one under two conditions, and people."""
    rng = np.random.default_rng(5)
    kinds = {"p1": "original", "p2": "original", "p3": "original", "p4": "paraphrase", "p5": "closed"}
    found = []
    for prompt_id, kind in kinds.items():
        for model in ("gpt-1", "gpt-2", "qwen-1", "writers"):
            for condition in ("default", "warm") if model == "gpt-1" else ("default",):
                for decoding in ("none",) if model == "writers" else ("top_p", "min_p"):
                    for _ in range(int(rng.integers(2, 7))):
                        text = " ".join(rng.choice(WORDS, rng.integers(3, 12)))
                        found.append((prompt_id, kind, model, condition, decoding, text))
    frame = pd.DataFrame(found, columns=["prompt_id", "prompt_kind", "model", "condition", "decoding", "response"])
    frame["parent_id"] = frame["prompt_id"].map({"p4": "p1"})
    frame["idea"] = frame["response"].str.split().str[0].where(frame.index % 7 > 0)
    return frame.assign(prompt=frame["prompt_id"] + "?")


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reference").symlink_to(REFERENCE)
    monkeypatch.chdir(tmp_path)
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    tables = table.tabulate(rows(), human={"writers"})
    table.write(study, tables)
    parquet.write(arms.table(arms.read({"default": None, "pool_k": None})), "04_arms", "mine", STAMP)
    texts = tables["04_responses"]["text"]
    embeddings.embed([*texts, *texts.str.slice(0, 9)], WordCounts(), study.folder / "embeddings", progress=False)
    return study.folder


def load(number="05", scheduler=None, **options):
    study = Study(number, "mine")
    study.executor = scheduler if hasattr(scheduler, "map") else executor.make(scheduler)
    return study, responses.load(study, "counts", conditions=["default", "warm"], **options)


def computed(scheduler=None):
    """Tables of notebooks 05 and 06 as bytes."""
    study, loaded = load("05", scheduler)
    truncated = loading.truncated_vectors(study, loaded, "counts", 9)
    cells = repetition.cell_means(loaded, truncated)
    measured = repetition.cell_measures(loaded, cells, 0.8, 3, 4, study.rng)
    originals = repetition.originals(measured, loaded)
    found = [measured, repetition.references(loaded, 0.8, 500, study.rng), repetition.paraphrases(loaded)]
    found += [repetition.both_readings(loaded, originals), repetition.rarefaction(loaded, pd.DataFrame())]
    study, loaded = load("06", scheduler, prompt_kinds=["original"], one_decoding=True)
    machines = loaded.models_only()
    found += [homogeneity.model_pairs(loaded), homogeneity.blocks(loaded), homogeneity.neighbours(machines, 5)]
    overlaps = homogeneity.overlaps(machines, 3, 10, 3)
    page = pd.DataFrame(homogeneity.page_records(overlaps[0], machines, 8)).astype(str)
    found += [*overlaps, page, homogeneity.pools(loaded, [1, 2, 3], 3, study.rng)]
    study.executor.close()
    return [frame.to_csv(float_format="%.17g") for frame in found]


def computed_later(scheduler=None):
    """Tables of notebooks 07, 10 and 11, and numbers of 05 and 06, as bytes."""
    study, loaded = load("05", scheduler)
    cells = repetition.cell_means(loaded, loading.truncated_vectors(study, loaded, "counts", 9))
    found = [differences.of_references(loaded, cells), planner.of_run(loaded, "top_p")]
    study, loaded = load("06", scheduler, prompt_kinds=["original"], one_decoding=True)
    found += [differences.published_diagonal(loaded), differences.same_less_different_models(loaded)]
    kept, _ = modes.with_enough(loaded, 2)
    points = kept.columns("response_id", "prompt_id")
    drawn = np.random.default_rng(3)
    points = points.assign(**{name: drawn.integers(-1, 3, len(points)) for name in ("mode", "lexical_mode")})
    labels, _ = ideas.collect(study, kept, points, None, propose_path=None, assign_path=None)
    found += [labels, ideas.agreement(kept, points, labels), ideas.best_source(labels, kept)]
    of = {"modes": points.set_index("response_id")["mode"], "given": ideas.of_source(labels, "given")}
    found += [modes.dominance(modes.dominant_shares(kept, of, 3, 5, study.rng)), *profile.of_arms(kept, of, study.rng)]
    counts = ideas.pair_counts(kept, labels, 200, study.rng)
    found += [ideas.floors(counts, [0.7, 0.8]), ideas.sample(kept, 4, 1)]
    analysis = modes.Analysis(points, points.head(0), pd.DataFrame({"prompt_id": ["p1", "p2"], "n_responses": [1, 2]}))
    shown = modes.one_prompt(analysis, kept, "p2?")
    found += [shown.points, modes.balanced_kmeans(kept, analysis, shown, 3, study.rng)]
    found += [modes.dominant_interval(analysis, kept, "p1"), interventions.pool_contrast(study, "counts")]
    found += [sources.label_table(loaded.models_only(), ["condition", "family", "model"], study.rng, n_permutations=50)]
    study.executor.close()
    return [f.to_csv(float_format="%.17g") if isinstance(f, pd.DataFrame) else repr(f) for f in found]


class KillsOnce:
    """An executor of which one worker is killed after the second result."""

    def __init__(self, inner, worker):
        self.inner, self.worker, self.killed = inner, worker, None

    def map(self, function, work):
        for n, result in enumerate(self.inner.map(function, work)):
            if n == 1 and self.killed is None:
                self.killed = self.worker(self.inner)
                os.kill(self.killed, signal.SIGKILL)
            yield result

    def close(self):
        self.inner.close()


def of_one_prompt(on_disk):
    assert len(on_disk.prompt_order) == 1
    return on_disk.cache.of(on_disk.table["text_id"])


def test_ideas_floors_labels_and_pilots_are_the_same_to_the_last_bit_prompt_by_prompt(project, monkeypatch):
    in_memory = computed_later()
    assert len(in_memory) == 17 and min(map(len, in_memory)) > 5
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(stored.Stored, "in_memory", None)  # nothing is read whole
    monkeypatch.setattr(stored.Stored, "vectors", property(of_one_prompt))
    assert computed_later() == in_memory


def test_tables_are_the_same_to_the_last_bit_in_memory_and_prompt_by_prompt(project, monkeypatch):
    assert isinstance(load()[1], responses.Responses)
    in_memory = computed()
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    assert isinstance(load()[1], stored.Stored)
    assert computed() == in_memory


@pytest.mark.long
def test_tables_are_the_same_to_the_last_bit_in_several_processes(project, monkeypatch):
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    made = KillsOnce(executor.make({"processes": 2}), lambda pool: next(iter(pool._pool._processes)))
    assert computed(made) == computed() and made.killed
    assert computed_later({"processes": 2}) == computed_later()


@pytest.mark.parametrize(
    "where",
    [
        "memory://bucket/all",
        pytest.param("file", marks=pytest.mark.long),
        pytest.param("two processes", marks=pytest.mark.long),
    ],
)
def test_tables_are_the_same_to_the_last_bit_from_copies_at_an_address(project, monkeypatch, tmp_path, where):
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    expected = computed(), computed_later()
    files = where if "://" in where else f"file://{tmp_path}/elsewhere"
    scheduler = {"processes": 2 if where == "two processes" else 1, "files": files}

    def made():
        found = executor.make(scheduler)
        if where == "two processes":
            return found
        here = executor.InProcess()  # a file system in memory is seen by this process alone
        here.files = found.files
        return here

    assert computed(made()) == expected[0] and computed_later(made()) == expected[1]
    here, loaded = load("05")[1], load("05", made())[1]
    parts = [loaded.part(k) for k in range(len(loaded.prompt_order))]
    whole, vectors, hidden = here.table, here.vectors, project.with_name("hidden")
    project.rename(hidden)  # workers elsewhere do not have it
    try:
        found = [part.load() for part in parts]
    finally:
        hidden.rename(project)
    pd.testing.assert_frame_equal(pd.concat([one.table for one in found], ignore_index=True), whole)
    assert (np.concatenate([one.vectors for one in found]) == vectors).all()


@pytest.mark.long
def test_tables_are_the_same_to_the_last_bit_on_dask_with_one_and_three_workers_and_after_a_kill(
    project, tmp_path, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    expected = computed(), computed_later()
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        assert computed(cluster.scheduler_address) == expected[0]
        cluster.scale(3)
        made = KillsOnce(executor.make(cluster.scheduler_address), lambda _: cluster.workers[0].pid)
        assert computed(made) == expected[0] and made.killed
        assert computed_later(cluster.scheduler_address) == expected[1]
        elsewhere = {"address": cluster.scheduler_address, "files": f"file://{tmp_path}/elsewhere"}
        assert (computed(elsewhere), computed_later(elsewhere)) == expected


def test_what_is_known_of_them_is_known_without_reading_them(project, monkeypatch):
    in_memory = load()[1]
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    on_disk = load()[1]
    for name in ("arms", "prompt_order", "model_of", "family_of", "people", "n_models", "n_wordless"):
        assert getattr(on_disk, name) == getattr(in_memory, name)
    assert on_disk.describe() == in_memory.describe() and (on_disk.sizes == in_memory.sizes).all()
    assert "table" not in on_disk.__dict__
    pd.testing.assert_frame_equal(on_disk.head(4), in_memory.head(4))
    pd.testing.assert_frame_equal(on_disk.table, in_memory.table)
    assert (on_disk.vectors == in_memory.vectors).all()


def test_prompts_with_enough_responses_come_in_the_same_order(project, monkeypatch):
    most = int(load()[1].sizes.max())
    kept, left_out = modes.with_enough(load()[1], most)
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    on_disk, left_out_there = modes.with_enough(load()[1], most)
    pd.testing.assert_frame_equal(on_disk.table, kept.table)
    pd.testing.assert_series_equal(left_out, left_out_there)
    assert (on_disk.vectors == kept.vectors).all() and len(left_out) > 0


def test_a_table_in_one_piece_is_held_in_memory(project, monkeypatch):
    expected = load()[1].table
    parquet.write(parquet.read("04_responses", "mine"), "04_responses", "mine", STAMP)
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    assert isinstance(load()[1], responses.Responses)
    pd.testing.assert_frame_equal(load()[1].table, expected)


def test_a_corrupt_part_is_told_and_never_read_as_something_else(project, monkeypatch):
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    path, expected = project / "04_responses.parquet", load()[1].table
    columns = pq.ParquetFile(path).schema_arrow.names
    column = pq.ParquetFile(path).metadata.row_group(2).column(columns.index("text"))
    whole, told = path.read_bytes(), []
    for k in range(0, column.total_compressed_size, column.total_compressed_size // 12):
        content = bytearray(whole)
        content[column.dictionary_page_offset + k] ^= 0xFF
        path.write_bytes(bytes(content))
        try:
            pd.testing.assert_frame_equal(load()[1].table, expected)  # a byte that says nothing of the rows
        except parquet.DamagedError as error:
            told.append(str(error))
    assert len(told) > 6 and all("04_responses.parquet is damaged. Notebook" in message for message in told)


def test_a_table_written_anew_in_the_middle_is_not_mixed_with_the_old_one(project, monkeypatch):
    monkeypatch.setattr(loading, "IN_MEMORY_BYTES", 0)
    found = load()[1].map(len)
    next(found)
    parquet.write(parquet.read("04_responses", "mine").head(9), "04_responses", "mine", STAMP, by="prompt_id")
    with pytest.raises(RuntimeError, match="another run is at work on this profile"):
        next(found)


def test_rows_of_a_value_must_lie_together(project):
    table = parquet.read("04_responses", "mine")
    with pytest.raises(ValueError, match="The rows of every `prompt_id` must follow each other"):
        parquet.write(pd.concat([table.iloc[1:], table.head(1)]), "04_responses", "mine", STAMP, by="prompt_id")


def test_a_cache_sorted_by_text_is_put_in_order_once(project):
    final = project / "embeddings" / "counts"
    known, vectors = pq.read_table(f"{final}.parquet"), np.load(f"{final}.npy")
    order = np.argsort(known["text_id"].to_numpy())
    np.save(f"{final}.npy", vectors[order])
    metadata = {"fingerprint": embeddings._fingerprint(vectors[order])}
    pq.write_table(known.take(order).replace_schema_metadata(metadata), f"{final}.parquet")
    texts = parquet.read("04_responses", "mine")["text"]
    before = embeddings.read(known["text_id"].to_pylist(), "counts", project / "embeddings")
    assert embeddings.embed([*texts, *texts.str.slice(0, 9)], WordCounts(), final.parent, progress=False) == 0
    assert pq.read_table(f"{final}.parquet")["text_id"].to_pylist() == known["text_id"].to_pylist()
    assert (np.load(f"{final}.npy") == before).all()


def test_weights_of_words_are_those_of_one_vectoriser_over_all_texts(monkeypatch):
    monkeypatch.setattr(lexical, "_RANGE", 7)  # counts are added up in many ranges
    lists = [text.split() for text in rows()["response"]] + [[]]
    blocks, found = [lists[:40], lists[40:41], lists[41:]], []
    with lexical.TextsWithTerm() as totals:
        for block in blocks:
            terms, counts = lexical.term_counts(block)
            totals.add(terms, lexical.texts_with(counts))
        totals.finish()
        for k, block in enumerate(blocks):
            found.append(lexical.weighted(lexical.term_counts(block)[1], totals.of(k), len(lists)))
    expected = diversity.lexical_vectors(lists)
    assert totals.n_terms == expected.shape[1]
    start = 0
    for rows_of_block in found:
        own = expected[start : start + rows_of_block.shape[0]]
        assert (rows_of_block @ rows_of_block.T).toarray() == pytest.approx((own @ own.T).toarray(), abs=1e-12)
        start += rows_of_block.shape[0]

"""A disk that is full in mid-write: a clear error, what was there before is kept, nothing half-written is read."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.responses import embeddings
from hivemind_utils.tables import files, ids, parquet

STAMP = {"source": "imported", "origin": "a test"}
resource = pytest.importorskip("resource")  # the limit of a file's size stands for the size of the disk

BEGINNING = """
import os, resource, sys
import numpy as np, pandas as pd
from hivemind_utils.metrics import lexical
from hivemind_utils.responses import embeddings, stored
from hivemind_utils.tables import files, parquet
def full(n_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
class Long:
    name, library, chunk_size, n_workers = "long", "numpy", 8, 1
    def encode(self, texts):
        return np.random.default_rng(len(texts)).normal(size=(len(texts), 64)).astype(np.float32)
stamp = {"source": "imported", "origin": "a test"}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code):
    """Run a program whose files may not grow beyond what it says; returns the last line of what it prints."""
    root = Path(parquet.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{BEGINNING}\n{textwrap.dedent(code)}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def ideas(n):
    numbers = [f"{k * 7919 % 1_000_003:x}" for k in range(n)]
    return pd.DataFrame({"response_id": numbers, "idea": numbers, "origin": "given", "scope": "p"})


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "pyproject.toml")


@pytest.mark.parametrize("by", [None, "scope"])
def test_a_table_that_finds_no_room_leaves_the_old_one(project, by):
    parquet.write(ideas(3), "04_ideas", "mine", STAMP)
    said = run(f"""
        numbers = [f"{{k * 7919 % 1_000_003:x}}" for k in range(100_000)]
        frame = pd.DataFrame({{"response_id": numbers, "idea": numbers, "origin": "given", "scope": "p"}})
        full(20_000)
        try:
            parquet.write(frame, "04_ideas", "mine", stamp, by={by!r})
        except files.FullError as error:
            print(error)
    """)
    assert "No room is left to write" in said and "04_ideas.parquet (File too large)" in said
    assert "Free some space, and run again" in said
    assert len(parquet.read("04_ideas", "mine")) == 3 and left(project) == ["04_ideas.parquet"]


@pytest.mark.parametrize("limit", [3_000, 20_000])
def test_a_cache_that_finds_no_room_is_whole_or_not_there_and_goes_on_when_there_is(project, limit):
    said = run(f"""
        full({limit})  # too little for a chunk, or for the chunks together
        try:
            embeddings.embed([f"text {{k}}" for k in range(100)], Long(), "cache", progress=False)
        except files.FullError as error:
            print(error)
    """)
    assert "No room is left to write" in said and "File too large" in said
    assert not any((project / "cache" / name).exists() for name in ("long.npy", "long.parquet"))
    run("""
        texts = [f"text {k}" for k in range(100)]
        print(embeddings.embed(texts, Long(), "cache", progress=False))
    """)
    found = embeddings.read([ids.text_id(f"text {k}") for k in range(100)], "long", project / "cache")
    assert found.shape == (100, 64) and np.isfinite(found).all()


def test_counts_of_words_that_find_no_room_say_where(project):
    said = run("""
        full(20_000)
        try:
            with lexical.TextsWithTerm() as found:
                found.add(np.arange(10_000, dtype=np.uint64), np.ones(10_000, int))
                found.finish()
        except OSError as error:
            print(error)
    """)
    assert "counts of words" in said and "another folder by TMPDIR" in said


def test_an_error_that_is_no_full_disk_stays_what_it_is(project):
    with pytest.raises(OSError, match="odd") as caught, files.atomic(project / "x.txt"):
        raise OSError(5, "odd")
    assert not isinstance(caught.value, files.FullError) and left(project) == []


def test_a_small_disk_that_is_really_full(project):
    disk = project / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        files.offer(disk / "x.txt", "before")
        with pytest.raises(files.FullError, match="No space left on device"), files.atomic(disk / "x.txt") as path:
            path.write_bytes(bytes(200_000))
        with pytest.raises(files.FullError, match="No space left on device"):
            embeddings._with_room(disk / "vectors", (1000, 64), disk / "cache")
        assert (disk / "x.txt").read_text() == "before"
    finally:
        subprocess.run(["umount", disk], check=True)

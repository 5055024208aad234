import os
import sqlite3
import subprocess
import sys

import pytest

from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import store


def call(key, n=1):
    names = ("seed served_model system_fingerprint prompt_tokens completion_tokens reasoning_tokens cost_usd").split()
    fixed = {
        "key": key,
        "n": n,
        "effective": "{}",
        "attempts": 1,
        "latency_s": 0.1,
        "answered_at": "2026",
        "litellm_version": "1",
    }
    return dict.fromkeys(names) | fixed


def sample(i, text="yes"):
    return {"sample_idx": i, "text": text, "finish_reason": "stop", "outcome": "answer", "logprobs": None}


@pytest.fixture
def filled(tmp_path):
    path, request = tmp_path / "s.sqlite", request_llm.Request("m", "hi", {}, 0, 3)
    with store.Store(path) as opened:
        opened.remember(request.key, "m", None, request.messages, {})
        opened.add(call(request.key, 2) | {"cost_usd": 0.4}, [sample(0, "Grüße \x00 🌲"), sample(1)])
    return path, request


def test_reads_what_was_asked_and_is_there(filled):
    path, request = filled
    rows = store.read(path, [request, request])
    assert rows["text"].tolist() == ["Grüße \x00 🌲", "yes"] and rows["cost_usd"].tolist() == [0.2, 0.2]
    assert store.held(path) == {request.key: {0, 1}} and store.spent(path) == 0.4
    assert store.read(path, [request_llm.Request("m", "hi", {}, 1, 1)])["sample_idx"].tolist() == [1]
    assert store.read(path, [request_llm.Request("m", "other")]).empty


def test_a_store_that_is_not_there_is_empty(tmp_path):
    path = tmp_path / "none.sqlite"
    assert (
        store.read(path, [request_llm.Request("m", "hi")]).empty and store.held(path) == {} and store.spent(path) == 0
    )
    assert not path.exists()


def test_an_answer_is_never_overwritten(filled):
    path, request = filled
    with store.Store(path) as opened, pytest.raises(sqlite3.IntegrityError):
        opened.add(call(request.key), [sample(1, "no")])
    assert store.read(path, [request])["text"].tolist()[1] == "yes"
    assert len(list(store._query(path, "SELECT * FROM calls"))) == 1  # the call went with it


def test_a_second_writer_is_refused_and_told_the_process(filled):
    path, _ = filled
    with store.Store(path), pytest.raises(store.Locked, match=f"process {os.getpid()}"), store.Store(path):
        pass
    with store.Store(path):
        pass  # free again


def test_a_killed_writer_leaves_no_lock(filled):
    path, _ = filled
    code = "import os, signal, sys; from hivemind_utils.llm import store\n"
    code += "with store.Store(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with store.Store(path):
        pass


def test_other_files_and_other_versions_are_refused(filled, tmp_path):
    path, request = filled
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="version 99"):
        store.read(path, [request])
    (tmp_path / "text.sqlite").write_text("not a store " * 100)
    with pytest.raises(ValueError, match="Move it aside"), store.Store(tmp_path / "text.sqlite"):
        pass
    assert (tmp_path / "text.sqlite").read_text().startswith("not a store")


def test_flush_leaves_everything_in_the_file_itself(filled):
    path, request = filled
    store.flush(path)
    alone = path.with_name("alone.sqlite")
    alone.write_bytes(path.read_bytes())  # without the write-ahead log
    assert len(store.read(alone, [request])) == 2


def test_refused_decodings_are_kept_until_forgotten(filled):
    path, _ = filled
    with store.Store(path) as opened:
        opened.add_unsupported("m", None, {"min_p": 0.1}, 400, "no", "2026")
        assert store.unsupported(path) == {("m", "", '{"min_p":0.1}'): "no"}
        assert opened.forget_unsupported("m") == 1
    assert store.unsupported(path) == {}


def test_a_store_that_two_make_at_once_is_one_store(tmp_path):
    """A reader that comes while the writer makes the tables finds them made."""
    path = tmp_path / "s.sqlite"
    first = store._connect(path)
    store._create(first)  # the tables are there: as if another process had won
    assert first.execute("PRAGMA user_version").fetchone() == (store.VERSION,) and not first.in_transaction
    first.close()
    assert store.held(path) == {}

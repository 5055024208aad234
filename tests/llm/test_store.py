import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import sampler, store


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


def test_a_store_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """Who reads while it is made, or after a kill in the middle, finds no store; the next writer makes it."""
    path = tmp_path / "s.sqlite"
    replace = os.replace

    def look(new, target):
        assert store.held(path) == {} and not path.exists() and Path(new).stat().st_size
        replace(new, target)

    monkeypatch.setattr(os, "replace", look)
    (tmp_path / "s.sqlite.new").write_bytes(b"begun and killed")
    with store.Store(path):
        assert store.held(path) == {}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.sqlite", "s.sqlite.lock", "s.sqlite.pid"]


def test_two_that_make_a_store_at_once_make_one(tmp_path):
    path, together, refused = tmp_path / "s.sqlite", threading.Barrier(8), []

    def make(k):
        together.wait()
        for _ in range(200):
            try:
                with store.Store(path) as opened:
                    opened.remember(f"k{k}", "m", None, [], {})
                return
            except store.Locked as error:
                refused.append(error)
                time.sleep(0.01)

    threads = [threading.Thread(target=make, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    while any(thread.is_alive() for thread in threads):
        assert store.held(path) == {}  # a reader is never told that it is damaged
    assert len(list(store._query(path, "SELECT * FROM requests"))) == 8


# -------------------------------------------------------------------------------------------------------------- damage


def emptied(path):
    path.write_bytes(b"")


def garbled(path):
    content = bytearray(path.read_bytes())
    for k in range(4_096, len(content), 4_096):
        content[k : k + 200] = b"\xff" * 200
    path.write_bytes(content)


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_to_the_first_page(path):
    path.write_bytes(path.read_bytes()[:4_096])


def without_tables(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")  # as a file looks whose log was lost before anything came to it


def without(table):
    def drop(path):
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"DROP TABLE {table}")

    return drop


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path):
    path.unlink()
    path.symlink_to(path.with_name("away.sqlite"))


def no_utf8(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE samples SET text = CAST(x'ff41' AS TEXT)")
        db.commit()


DAMAGES = [emptied, garbled, halved, cut_to_the_first_page, without_tables, without("samples"), a_folder,
           a_link_to_nothing]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("use", ["held", "read", "write", "run"])
def test_a_damaged_store_is_refused_in_a_sentence_and_asked_nothing(filled, damage, use):
    path, request = filled
    with store.Store(path) as opened:
        for k in range(300):
            opened.add(call(f"key {k}"), [sample(0, "long " * 100)])
    damage(path)
    use = {
        "held": lambda: store.held(path),
        "read": lambda: store.read(path, [request]),
        "write": lambda: write(path),
        "run": lambda: sampler.run([request_llm.Request("simulated/m", "hi", {})], path, progress=False),
    }[use]
    with pytest.raises(ValueError, match=r"cannot be read as a store of responses \(.*store_care check .* says what"):
        use()
    assert not path.with_name("away.sqlite").exists()
    if damage is emptied:
        assert path.stat().st_size == 0, "left as it was found"


def write(path):
    with store.Store(path) as opened:
        for k in range(300):
            opened.add(call(f"other {k}"), [sample(0, "long " * 100)])
            opened.add(call(f"key {k}"), [sample(1, "long " * 100)])


def test_texts_that_are_none_are_told(filled):
    path, request = filled
    no_utf8(path)
    with pytest.raises(ValueError, match="cannot be read as a store of responses"):
        store.read(path, [request])


@pytest.mark.parametrize("cost", ["'abc'", "-1000", "9e999", "x'00'"])
def test_costs_that_cannot_be_are_no_reason_to_spend(filled, cost):
    path, _ = filled
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE calls SET cost_usd = {cost}")
        db.commit()
    with pytest.raises(ValueError, match="what a call cost is no number from 0 on"):
        store.spent(path)


def test_a_log_without_its_store_is_never_taken_for_a_new_one(filled):
    path, request = filled
    path.unlink()
    log = path.with_name("s.sqlite-wal")
    log.write_bytes(b"responses")
    for use in (lambda: store.held(path), lambda: store.read(path, [request]), lambda: write(path)):
        with pytest.raises(ValueError, match=r"s\.sqlite-wal, which may hold responses of it, is there"):
            use()
    log.write_bytes(b"")  # what SQLite leaves when it ends in order holds nothing
    assert store.held(path) == {}


def test_a_store_that_is_taken_away_in_mid_run_is_told(filled):
    path, _ = filled
    path.unlink()
    with pytest.raises(FileNotFoundError, match="was taken away while a run wrote to it"):
        store.flush(path)
    assert not path.exists()

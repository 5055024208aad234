"""A store that is looked after: damage and rows that belong to nothing are told, compacting loses no response."""

import sqlite3

import pytest

from hivemind_utils.llm import store, store_care

CALL = {"n": 2, "seed": 1, "effective": "{}", "served_model": "m", "system_fingerprint": None, "attempts": 1,
        "latency_s": 0.1, "prompt_tokens": 5, "completion_tokens": 6, "reasoning_tokens": None, "cost_usd": 0.01,
        "answered_at": "2026-01-01T00:00:00+00:00", "litellm_version": "1"}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    with store.Store(tmp_path / "04.sqlite") as opened:
        for k in range(200):
            opened.remember(f"key {k}", "m", None, [{"role": "user", "content": "Say a."}], {"top_p": 0.9})
            samples = [{"sample_idx": i, "text": f"response {k} {i} " * 30, "finish_reason": "stop",
                        "outcome": "answer", "logprobs": None} for i in range(2)]  # fmt: skip
            opened.add(CALL | {"key": f"key {k}"}, samples)
    return tmp_path / "04.sqlite"


def change(path, sql):
    with sqlite3.connect(path) as db:
        db.execute(sql)
    db.close()


def test_a_sound_store_is_sound(path, capsys):
    assert store_care.check(path) == [] and store_care.main(["check", str(path)]) == 0
    assert "is sound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM calls WHERE key = 'key 3'", "2 responses whose call is not there"),
        ("DELETE FROM requests WHERE key = 'key 3'", "2 responses whose request is not there"),
        ("DELETE FROM requests WHERE key = 'key 3'", "1 calls whose request is not there"),
        ("UPDATE samples SET sample_idx = -4 WHERE key = 'key 3' AND sample_idx = 0", "1 responses with a negative"),
    ],
)
def test_rows_that_belong_to_nothing_are_counted(path, sql, said, capsys):
    change(path, sql)
    assert any(said in sentence for sentence in store_care.check(path))
    assert store_care.main(["check", str(path)]) == 1 and said in capsys.readouterr().out


def test_damaged_pages_are_told(path):
    content = bytearray(path.read_bytes())
    for k in range(8_192, len(content), 4_096):
        content[k : k + 64] = bytes(64)
    path.write_bytes(bytes(content))
    assert all("is damaged" in sentence for sentence in store_care.check(path)) and store_care.check(path)


def test_compacting_gives_room_back_and_loses_no_response(path):
    change(path, "DELETE FROM samples WHERE key IN (SELECT key FROM samples ORDER BY key LIMIT 300)")
    before = store.held(path)
    assert store_care.compact(path) > 10_000
    assert store.held(path) == before and store_care.check(path) == []


def test_a_store_that_is_written_or_not_there_is_left_alone(path, tmp_path):
    with store.Store(path), pytest.raises(store.Locked, match="is being written by the process"):
        store_care.compact(path)
    for task in (store_care.check, store_care.compact):
        with pytest.raises(FileNotFoundError, match="There is no store"):
            task(tmp_path / "none.sqlite")
    (tmp_path / "no.sqlite").write_text("no store at all" * 100)
    assert store_care.main(["check", str(tmp_path / "no.sqlite")]) == 1

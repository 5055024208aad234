"""Chat logs whose flags, texts and times are of odd forms: seen in every row, counted or refused, never guessed."""

import gzip
import json
from decimal import Decimal

import pandas as pd
import pytest

from hivemind_utils.queries import labels as query_labels
from hivemind_utils.queries.wildchat import Logs, Rules
from hivemind_utils.tables import ids

ALL = Rules(order=("non_toxic", "not_flagged"), min_chars=1)
ROW = {"model": "gpt-4", "language": "English", "conversation_hash": "c"}


def conversation(text="Name a tree that is old.", **turn):
    return [{"role": "user", "content": text, "language": "English", **turn}]


def rows(n, **fields):
    made = [ROW | {"conversation": conversation()} | fields for _ in range(n)]
    return [
        row | {"conversation_hash": f"{json.dumps(fields, sort_keys=True, default=str)}-{i}"}
        for i, row in enumerate(made)
    ]


def lines(folder, content, name="a.jsonl"):
    text = "".join(json.dumps(row) + "\n" for row in content)
    raw = text.encode()
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return folder / name


def outcome(path, **options):
    with Logs([path], **options) as logs:
        queries, waterfall, _ = logs.filter(ALL)
        bad = dict(logs.bad_rows()[["reason", "n_rows"]].itertuples(index=False))
        return len(queries), bad, waterfall.set_index("rule")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_flag_that_begins_late_in_a_file_is_seen(tmp_path, name):
    kept, bad, waterfall = outcome(lines(tmp_path, rows(1_200) + rows(30, toxic=True), name))
    assert (kept, bad) == (1_200, {})
    assert "1,200 rows without this flag stay" in waterfall.loc["non_toxic", "note"]


def test_a_flag_of_a_turn_that_begins_late_is_seen(tmp_path):
    late = rows(3, conversation=conversation(toxic=True))
    assert outcome(lines(tmp_path, rows(1_200) + late))[0] == 1_200


def test_conversations_that_begin_late_are_conversations(tmp_path):
    first = [{"model": "gpt-4", "language": "English", "conversation_hash": str(i)} for i in range(1_100)]
    kept, bad, _ = outcome(lines(tmp_path, first + rows(2)))
    assert (kept, bad) == (2, {"no conversation": 1_100})


@pytest.mark.parametrize(
    "moderation",
    [
        {"flagged": True}, [{"flagged": False}, {"flagged": True}], [[{"flagged": True}]], True, "true", "Y", 1,
        {"results": [{"flagged": True}]}, [{"flagged": "yes"}], json.dumps([{"flagged": True}]),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_moderation_is_read_in_every_form(tmp_path, moderation, suffix):
    made = rows(2, openai_moderation=moderation)
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pd.DataFrame(made).to_parquet(path)
    else:
        lines(tmp_path, made + rows(3))
    assert outcome(path)[:2] == (3 if suffix == "jsonl" else 0, {})


@pytest.mark.parametrize("moderation", [{"flagged": {"a": 1}}, [{"categories": {}}], {"state": "ok"}])
def test_a_moderation_without_a_flag_is_a_bad_row(tmp_path, moderation):
    kept, bad, _ = outcome(lines(tmp_path, rows(3) + rows(2, openai_moderation=moderation)))
    assert (kept, bad) == (3, {"unreadable flag": 2})


@pytest.mark.parametrize("flag", ["Y", "yes", "TRUE", " true ", "1", "t", 1, 1.0, True])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["toxic", "Toxic", "flagged"])
def test_flags_of_a_list_are_read_in_every_spelling(tmp_path, flag, suffix, column):
    frame = pd.DataFrame({"text": ["Name a tree.", "Name a bird."], column: pd.Series([flag, None], dtype=object)})
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    assert outcome(path)[:2] == (1, {})


@pytest.mark.parametrize("flag", ["maybe", "2", 0.73, "ja"])
@pytest.mark.parametrize("kind", ["list", "conversations", "turns"])
def test_a_spelling_nobody_knows_is_refused(tmp_path, flag, kind):
    made = {
        "list": [{"text": "Name a tree."}, {"text": "Name a bird.", "toxic": flag}],
        "conversations": rows(2) + rows(1, toxic=flag),
        "turns": rows(2) + rows(1, conversation=conversation(toxic=flag)),
    }[kind]
    with pytest.raises(ValueError, match=rf"safety flag must be one of .*{flag}"):
        outcome(lines(tmp_path, made))


@pytest.mark.parametrize("flag", [{"score": 0.9}, [True, False]])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_flag_that_is_an_object_is_a_bad_row(tmp_path, flag, as_list):
    made = [{"text": "Name a tree."}, {"text": "x", "toxic": flag}] if as_list else rows(1) + rows(1, toxic=flag)
    assert outcome(lines(tmp_path, made))[:2] == (1, {"unreadable flag": 1})


def test_a_moderation_beside_a_list_of_prompts_counts(tmp_path):
    made = [{"prompt": "Name a tree."}, {"prompt": "Name a bird.", "openai_moderation": {"flagged": True}}]
    assert outcome(lines(tmp_path, made))[0] == 1


def test_a_message_that_is_no_text_is_a_bad_row(tmp_path):
    parts = [{"type": "text", "text": "Name a tree."}]
    made = rows(2) + rows(1, conversation=conversation(parts)) + rows(1, model={"id": "gpt-4"})
    assert outcome(lines(tmp_path, made))[:2] == (2, {"message is no text": 1, "model is no text": 1})
    made = [{"text": "Name a tree.", "model": "m"}, {"text": {"content": "x"}}, {"text": "x", "model": ["m"]}]
    assert outcome(lines(tmp_path, made))[:2] == (1, {"message is no text": 1, "model is no text": 1})


def test_a_list_of_objects_says_which_field_holds_the_text(tmp_path):
    path = lines(tmp_path, [{"prompt": {"role": "user", "content": "Name a tree."}}] * 2)
    with pytest.raises(ValueError, match=r"`text` must be a text.*columns: \{text: text\.content\}"):
        outcome(path)
    assert outcome(path, columns={"text": "prompt.content"})[0] == 2


def test_bytes_are_read_as_text(tmp_path):
    pd.DataFrame({"text": [("Name a caf" + chr(233)).encode()], "toxic": [b"no"]}).to_parquet(tmp_path / "a.parquet")
    with Logs([tmp_path / "a.parquet"]) as logs:
        assert logs.filter(ALL)[0]["text"].tolist() == ["Name a caf" + chr(233)]


TIMES = {
    "2023-05-01T02:00:00+02:00": "2023-05-01T00:00:00Z",
    "2023-05-01T02:00:00Z": "2023-05-01T02:00:00Z",
    "2023-05-01 02:00:00": "2023-05-01T02:00:00Z",
    "2023-05-01 02:00:00 -0530": "2023-05-01T07:30:00Z",
    "2023-05-01T02:00:00.250-05": "2023-05-01T07:00:00Z",
    "2023-05-01": "2023-05-01T00:00:00Z",
    "1682906400": "2023-05-01T02:00:00Z",
    1682906400000: "2023-05-01T02:00:00Z",
    "2023-05-01T02:00:00z": "2023-05-01T02:00:00Z",
    "2023-05-01t02:00:00z": "2023-05-01T02:00:00Z",
    "2023-05-01 02:00:00 UTC": "2023-05-01T02:00:00Z",
    "2023-05-01 02:00:00,250": "2023-05-01T02:00:00Z",
    "20230501T020000Z": "2023-05-01T02:00:00Z",
    "20230501T020000+0200": "2023-05-01T00:00:00Z",
    "20230501020000": "2023-05-01T02:00:00Z",
    "20230501": "2023-05-01T00:00:00Z",
    "Mon, 01 May 2023 02:00:00 +0200": "2023-05-01T00:00:00Z",
    "Mon, 1 May 2023 02:00:00 +0200 (CEST)": "2023-05-01T00:00:00Z",
    "1 May 2023 02:00:00 GMT": "2023-05-01T02:00:00Z",
    "1682906400.5": "2023-05-01T02:00:00Z",
    "1682906400000000": "2023-05-01T02:00:00Z",
    "1682906400000000000": "2023-05-01T02:00:00Z",
    "yesterday": None,
    "01.05.2023": None,
    "05/01/2023": None,
    "13/05/2023": None,
    "44927": None,
    "202305010200": None,
    "20231301020000": None,
    "2023-05-01 02:00:00 PM": None,
    None: None,
}


@pytest.mark.parametrize("form", ["jsonl", "parquet", "list.jsonl", "list.csv", "list.parquet"])
def test_a_time_is_the_same_in_every_format(tmp_path, form):
    path = tmp_path / f"a.{form.split('.')[-1]}"
    times = list(TIMES)
    if form.startswith("list"):
        made = [{"text": f"Name tree {i:02d}.", "timestamp": t} for i, t in enumerate(times)]
    else:
        made = [
            ROW | {"conversation_hash": str(i), "conversation": conversation(f"Name tree {i:02d}."), "timestamp": t}
            for i, t in enumerate(times)
        ]
    if path.suffix == ".jsonl":
        lines(tmp_path, made)
    else:
        frame = pd.DataFrame(made)
        frame["timestamp"] = pd.Series([None if t is None else str(t) for t in times], dtype=object)
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    with Logs([path]) as logs:
        found = logs.filter(Rules(order=()))[0].sort_values("text")["timestamp"]
    assert [None if pd.isna(t) else t for t in found] == list(TIMES.values())


@pytest.mark.parametrize("is_list", [False, True])
def test_times_with_a_zone_in_parquet_are_utc(tmp_path, is_list):
    at = pd.Timestamp("2023-05-01T02:00:00", tz="Europe/Berlin")
    row = {"text": "Name a tree."} if is_list else ROW | {"conversation": conversation()}
    pd.DataFrame([row | {"timestamp": at}]).to_parquet(tmp_path / "a.parquet")
    with Logs([tmp_path / "a.parquet"]) as logs:
        assert logs.filter(Rules(order=()))[0]["timestamp"].tolist() == ["2023-05-01T00:00:00Z"]


@pytest.mark.parametrize("is_list", [False, True])
def test_seconds_stored_as_decimals_are_times(tmp_path, is_list):
    row = {"text": "Name a tree."} if is_list else ROW | {"conversation": conversation()}
    pd.DataFrame([row | {"timestamp": Decimal("1682906400.000")}]).to_parquet(tmp_path / "a.parquet")
    with Logs([tmp_path / "a.parquet"]) as logs:
        assert logs.filter(Rules(order=()))[0]["timestamp"].tolist() == ["2023-05-01T02:00:00Z"]


@pytest.mark.parametrize("is_list", [False, True])
def test_times_that_cannot_be_read_are_counted_and_said(tmp_path, is_list):
    row = {"text": "Name a tree."} if is_list else ROW | {"conversation": conversation()}
    times = ["05/01/2023", "01.05.2023", "2023-05-01", "", None, "NaN"]
    with Logs([lines(tmp_path, [row | {"timestamp": time} for time in times])]) as logs:
        said = logs.describe()
    assert said.endswith(
        "; 2 times could not be read and stay empty, for example '01.05.2023' and '05/01/2023': write times as "
        "2023-05-31T14:00:00Z"
    )
    with Logs([lines(tmp_path, [row | {"timestamp": "2023-05-01"}])]) as logs:
        assert "could not be read" not in logs.describe()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "flagged",
    [
        {"Toxic": True},
        {"TOXIC": "yes\t"},
        {"Openai_Moderation": {"flagged": True}},
        {"flagged": True, "openai_moderation": [{"flagged": False}]},
        {"conversation": [{"role": "user", "content": "Name a tree.", "Toxic": True}]},
        {"conversation": [{"role": "user", "content": "Name a tree.", "openai_moderation": {"flagged": True}}]},
        {
            "conversation": [{"role": "user", "content": "Name a tree.", "openai_moderation": [{"flagged": "Y"}]}],
            "openai_moderation": [{"flagged": False}],
        },
    ],
)
def test_a_flag_counts_wherever_it_stands_and_however_its_name_is_written(tmp_path, suffix, flagged):
    plain = {"conversation_hash": "a", "model": "gpt-4", "language": "English"}
    made = [plain | {"conversation": [{"role": "user", "content": "Name a tree."}]}] * 2
    made.append(plain | {"conversation": made[0]["conversation"]} | flagged)
    path = tmp_path / f"a.{suffix}"
    lines(tmp_path, made) if suffix == "jsonl" else pd.DataFrame(made).to_parquet(path)
    assert outcome(path)[:2] == (2, {})


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("columns", [{}, {"flagged": "blocked"}])
def test_a_flag_of_a_list_does_not_hide_its_moderation(tmp_path, suffix, columns):
    name = columns.get("flagged", "flagged")
    moderation = [{"flagged": False}, {"flagged": True}, {"flagged": False}]
    frame = pd.DataFrame({"text": ["Name a tree.", "Name a bird.", "Name a fish."], name: [False, False, True]})
    frame["openai_moderation"] = [json.dumps(one) for one in moderation] if suffix == "csv" else moderation
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    assert outcome(path, columns=columns)[:2] == (1, {})


@pytest.mark.parametrize("kind", ["list", "conversations", "turns"])
def test_two_spellings_of_one_field_are_refused(tmp_path, kind):
    made = {
        "list": [{"text": "Name a tree.", "toxic": False}, {"text": "Name a bird.", "Toxic": True}],
        "conversations": rows(1, toxic=False) + rows(1, Toxic=True),
        "turns": rows(1, conversation=conversation(toxic=False)) + rows(1, conversation=conversation(Toxic=True)),
    }[kind]
    with pytest.raises(ValueError, match=r"one name, but \['Toxic', 'toxic'\].*Rename or delete"):
        outcome(lines(tmp_path, made))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_labels_join_conversations_of_a_list_in_every_format(tmp_path, suffix, missing):
    """A missing id makes a column of whole numbers one of fractions, which is no other conversation."""
    texts = ["Name a tree.", "Name a bird.", "Name a fish."]
    frame = pd.DataFrame({"text": texts, "conversation_id": [1, 2, None if missing else 3], "open": ["Y", "N", "Y"]})
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with Logs([path]) as logs:
        kept = logs.filter(Rules(order=()))[0]
    assert set(kept["conversation_id"]) == {"1", "2", ids.text_id(texts[2]) if missing else "3"}
    columns = {"original": "text", "open_ended": "open", "conversation_id": "conversation_id"}
    assert set(query_labels.read_imported([path], columns)[0]["query_id"]) == set(kept["query_id"])

"""Where a text is read, an object, a list or bytes is no text: in every file that users bring."""

import json

import pandas as pd
import pytest

from hivemind_utils.queries import labels as query_labels
from hivemind_utils.ratings import labels, loading, scores
from hivemind_utils.responses import prompts, table
from hivemind_utils.tables import reading

MESSAGE = {"role": "user", "content": "Name a tree."}
OBJECTS = [MESSAGE, [MESSAGE], [["Oak", "Elm"]], {"body": {"choices": [{"message": {"content": "An oak."}}]}}]
SUFFIXES = ["jsonl", "parquet", "csv", "csv as JSON"]


def write(folder, rows, suffix, name="a"):
    """Write rows; cells of a CSV are spelt as Python or as JSON spells them."""
    path = folder / f"{name}.{suffix.split(' ')[0]}"
    frame = pd.DataFrame(rows)
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        spell = str if suffix == "csv" else json.dumps
        frame.map(lambda v: spell(v) if isinstance(v, dict | list) else v).to_csv(path, index=False)
    return path


READERS = {
    "response": (table.read, {"prompt": "p", "model": "m"}, "response"),
    "prompt of a response": (table.read, {"response": "x", "model": "m"}, "prompt"),
    "model": (table.read, {"response": "x", "prompt": "p"}, "model"),
    "condition": (table.read, {"response": "x", "prompt": "p", "model": "m"}, "condition"),
    "prompts": (prompts.read_prompts, {}, "prompt"),
    "category of a prompt": (prompts.read_prompts, {"text": "p"}, "category"),
    "facts about models": (table.read_facts, {"size_b": 7}, "model"),
    "rated response": (labels.read, {"prompt": "p", "label": 3}, "response_1"),
    "rated prompt": (labels.read, {"response_1": "x", "label": 3}, "prompt"),
    "annotator": (labels.read, {"prompt": "p", "response_1": "x", "label": 3}, "annotator"),
    "label": (labels.read, {"prompt": "p", "response_1": "x"}, "label"),
    "scored response": (scores.read, {"prompt": "p", "scorer": "s", "score": 1.5}, "response"),
    "scorer": (scores.read, {"prompt": "p", "response": "x", "score": 1.5}, "scorer"),
    "pool": (loading.read_pool, {"prompt": "p"}, "response"),
}


@pytest.mark.parametrize("value", OBJECTS, ids=["object", "list of objects", "list of lists", "deep"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("reader", READERS)
def test_an_object_is_refused_with_the_field_to_name(tmp_path, reader, suffix, value):
    read, rest, field = READERS[reader]
    if suffix == "csv as JSON" and value == [["Oak", "Elm"]]:
        suffix = "csv"  # JSON of lists of texts may be what somebody said
    path = write(tmp_path, [rest | {field: value}] * 3, suffix)
    with pytest.raises(ValueError, match=rf"`{field}` must be a text, but it is .*columns: \{{{field}: {field}\."):
        read(path)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "csv as JSON"])
def test_the_field_that_is_named_is_read(tmp_path, suffix):
    deep = {"status": 200, "body": {"choices": [{"message": {"content": "An oak."}}]}}
    path = write(tmp_path, [{"prompt": "p", "model": "m", "label": 3, "scorer": "s", "score": 1, "x": deep}], suffix)
    at = "x.body.choices.0.message.content"
    assert table.read(path, columns={"response": at})["response"].tolist() == ["An oak."]
    assert prompts.read_prompts(path, {"prompt": at})["prompt"].tolist() == ["An oak."]
    assert labels.read(path, columns={"response_1": at})["response_1"].tolist() == ["An oak."]
    assert scores.read(path, columns={"response": at})["response"].tolist() == ["An oak."]
    assert table.read_facts(path, {"text": at})["text"].tolist() == ["An oak."]


@pytest.mark.parametrize("reader", [name for name in READERS if name != "label"])
def test_bytes_are_text(tmp_path, reader):
    read, rest, field = READERS[reader]
    word = "caf" + chr(233)
    pd.DataFrame([rest | {field: word.encode()}]).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[field].tolist() == [word]
    pd.DataFrame([rest | {field: b"\xff\xfe\x00"}]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=rf"`{field}` holds bytes that are not UTF-8"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize("cell", ["['Oak', 'Elm']", "{'role': 'assistant', 'content': 'Oak'}"])
def test_one_response_that_was_written_out_is_excluded_and_counted(tmp_path, cell):
    rows = [{"prompt": "p", "model": "m", "response": text} for text in ("An oak.", "Elm", cell, "[sic] Ash")]
    written = table.tabulate(table.read(write(tmp_path, rows, "csv")))
    assert written["04_responses"]["text"].tolist() == ["An oak.", "Elm", "[sic] Ash"]
    assert written["04_excluded"]["reason"].tolist() == ["an object or a list, no text"]


@pytest.mark.parametrize("text", ['{"name": "Oak"}', "[1, 2]", "{not an object}", "[a] and [b]", "{'it's'}"])
def test_what_somebody_said_in_brackets_stays(tmp_path, text):
    path = write(tmp_path, [{"prompt": "p", "model": "m", "response": t} for t in (text, "Elm")], "jsonl")
    assert table.read(path)["response"].tolist() == [text, "Elm"]
    assert not reading.is_written_object(text)


def test_released_labels_of_queries_are_texts(tmp_path):
    columns = {"original": "q", "open_ended": "open"}
    path = write(tmp_path, [{"q": MESSAGE, "open": "yes"}], "jsonl")
    with pytest.raises(ValueError, match=r"`original` must be a text.*original\.content"):
        query_labels.read_imported([path], columns)
    queries, _, _ = query_labels.read_imported([path], {"original": "q.content", "open_ended": "open"})
    assert queries["text"].tolist() == ["Name a tree."]


WHOLE = ['["Oak", "Elm"]', '["Oak"]', '{"answer": "Oak"}', "b'Oak'", "ChatCompletionMessage(content='Oak')"]


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("reader", [name for name in READERS if name not in ("response", "label")])
def test_a_column_of_what_programs_write_is_refused(tmp_path, reader, text):
    read, rest, field = READERS[reader]
    with pytest.raises(ValueError, match=rf"a\.csv, row 1: `{field}` must be a text, but it is"):
        read(write(tmp_path, [rest | {field: text}] * 3, "csv"))


@pytest.mark.parametrize("text", WHOLE[2:])
def test_a_column_of_responses_that_programs_wrote_is_refused(tmp_path, text):
    rows = [{"prompt": "p", "model": "m", "response": text}] * 3
    with pytest.raises(ValueError, match=r"a\.csv, row 1: `response` must be a text, but it is"):
        table.read(write(tmp_path, rows, "csv"))


@pytest.mark.parametrize(
    "cell", ["b'Oak'", "('Oak', 'Elm')", "['Oak' 'Elm']", "['Oak' 'Elm', 'Fir']", "Message(content='Oak', role='x')"]
)
def test_one_such_response_is_excluded_and_counted(tmp_path, cell):
    rows = [{"prompt": "p", "model": "m", "response": text} for text in ("An oak.", "Elm", cell)]
    written = table.tabulate(table.read(write(tmp_path, rows, "csv")))
    assert written["04_responses"]["text"].tolist() == ["An oak.", "Elm"]
    assert written["04_excluded"]["reason"].tolist() == ["an object or a list, no text"]


def test_objects_without_a_common_name_may_be_what_was_said(tmp_path, capsys):
    texts = ['{"tree": "Oak"}', '{"bird": "Owl"}', '{"fish": "Eel"}']
    rows = [{"prompt": "p", "model": "m", "response": text} for text in texts]
    assert table.read(write(tmp_path, rows, "csv"))["response"].tolist() == texts
    assert "3 of 3 responses are objects or lists in JSON (the first is in row 1)" in capsys.readouterr().out


def test_objects_that_are_the_response_can_be_written_as_lists_of_one(tmp_path):
    rows = [{"prompt": "p", "model": "m", "response": ['{"answer": "Oak"}']}] * 2
    assert table.read(write(tmp_path, rows, "csv as JSON"))["response"].tolist() == ['{"answer": "Oak"}'] * 2


PARTS = [{"type": "text", "text": "An "}, {"type": "output_text", "text": "oak."}]
THOUGHT = {"type": "reasoning", "reasoning": "A tree?"}


@pytest.mark.parametrize("suffix", ["jsonl", "csv as JSON"])
@pytest.mark.parametrize("rest", [[], ["Elm"]], ids=["all in parts", "some in parts"])
def test_a_content_in_parts_is_one_text(tmp_path, suffix, rest):
    rows = [{"prompt": "p", "model": "m", "response": value} for value in (PARTS, [THOUGHT, *PARTS], *rest)]
    written = table.tabulate(table.read(write(tmp_path, rows, suffix)))["04_responses"]
    assert sorted(written["text"]) == ["An oak.", "An oak.", *rest]
    assert written["reasoning"].dropna().tolist() == ["A tree?"]


@pytest.mark.parametrize("reader", [name for name in READERS if name != "label"])
def test_parts_of_a_text_are_joined_wherever_a_text_is_read(tmp_path, reader):
    read, rest, field = READERS[reader]
    assert read(write(tmp_path, [rest | {field: PARTS}], "jsonl"))[field].tolist() == ["An oak."]


def test_parts_that_are_no_text_are_refused(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "x"}}
    rows = [{"prompt": "p", "model": "m", "response": value} for value in ("An oak.", [*PARTS, image])]
    with pytest.raises(ValueError, match=r"row 2: `response` must be a text, but it is a nested list"):
        table.read(write(tmp_path, rows, "jsonl"))

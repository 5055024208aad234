"""Files of users and of other tools: small files with exactly their structure are read to the same rows."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.responses import table
from hivemind_utils.tables import reading

MESSAGES = [{"role": "user", "content": "Name a tree."}, {"role": "assistant", "content": "An oak."}]


def body(text, model="m"):
    return {"model": model, "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


ALPACA = [{"dataset": "d", "instruction": "Name a tree.", "output": "An oak.", "generator": "m"}]
BATCH = [
    {"id": "b1", "custom_id": "tree", "error": None, "response": {"status_code": 200, "body": body("An oak.")}},
]
SAMPLE = {"id": 1, "epoch": 1, "input": "Name a tree.", "target": "", "messages": MESSAGES, "output": body("An oak.")}
INSPECT = {"version": 2, "status": "success", "eval": {"model": "m", "task": "t"}, "samples": [SAMPLE]}
HARNESS = [
    {
        "doc_id": 0, "doc": {"q": "Name a tree."}, "target": "",
        "arguments": {"gen_args_0": {"arg_0": "Name a tree.", "arg_1": {"until": []}}},
        "resps": [["An oak."]], "filtered_resps": ["An oak."],
    },
]  # fmt: skip
NOVELTY = [
    {"id": "c-1", "prompt": "Name a tree.", "model": "m", "generations": ["An oak.", "Elm"], "partition": [0, 1]}
]
PROMPTFOO = {
    "evalId": "e",
    "results": {
        "version": 3,
        "prompts": [{"raw": "Name a tree.", "label": "x"}, {"raw": "other", "label": "y"}],
        "results": [
            {"prompt": {"raw": "Name a tree."}, "provider": {"id": "m"}, "response": {"output": "An oak."}, "vars": {}}
        ],
    },
}
HELM = {
    "adapter_spec": {"model": "m"},
    "request_states": [
        {
            "instance": {"id": "i", "input": {"text": "Name a tree."}},
            "request": {"model": "m"},
            "result": {"completions": [{"text": "An oak.", "logprob": -1.0, "tokens": []}]},
        }
    ],
}
MT_BENCH = [
    {"question_id": 81, "model_id": "m", "choices": [{"index": 0, "turns": ["An oak.", "Because."]}], "tstamp": 1.0}
]
SHAREGPT = [
    {"id": "s", "conversations": [{"from": "human", "value": "Name a tree."}, {"from": "gpt", "value": "An oak."}]}
]

TOOLS = {
    "AlpacaEval": ("model_outputs.json", ALPACA, {"prompt": "instruction", "response": "output", "model": "generator"}),
    "OpenAI batch": (
        "batch_output.jsonl",
        BATCH,
        {
            "prompt_id": "custom_id",
            "response": "response.body.choices.*.message.content",
            "model": "response.body.model",
        },
    ),
    "inspect": (
        "log.json",
        INSPECT,
        {"prompt": "input", "response": "output.choices.0.message.content", "model": "eval.model"},
    ),
    "inspect archive": (
        "log.eval",
        INSPECT,
        {"prompt": "input", "response": "output.choices.*.message.content", "model": "output.model"},
    ),
    "lm-evaluation-harness": (
        "samples_m.jsonl",
        HARNESS,
        {"prompt": "arguments.gen_args_0.arg_0", "response": "resps.0"},
    ),
    "promptfoo": (
        "output.json",
        PROMPTFOO,
        {"prompt": "prompt.raw", "response": "response.output", "model": "provider.id"},
    ),
    "HELM": (
        "scenario_state.json",
        HELM,
        {"prompt": "instance.input.text", "response": "result.completions.*.text", "model": "request.model"},
    ),
    "MT-bench": (
        "answers.jsonl",
        MT_BENCH,
        {"prompt_id": "question_id", "response": "choices.*.turns.0", "model": "model_id"},
    ),
    "ShareGPT": (
        "sharegpt.json",
        SHAREGPT,
        {"prompt": "conversations.from=human.value", "response": "conversations.from=gpt.value"},
    ),
    "messages": (
        "messages.jsonl",
        [{"messages": MESSAGES}],
        {"prompt": "messages.0.content", "response": "messages.-1.content"},
    ),
}


def write(folder, name, content):
    path = folder / name
    if name.endswith(".eval"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.json", json.dumps({k: v for k, v in content.items() if k != "samples"}))
            for sample in content["samples"]:
                archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_other_tools_open(tmp_path, tool, packed):
    name, content, columns = TOOLS[tool]
    path = write(tmp_path, name, content)
    if packed:
        packed_path = path.with_name(path.name + ".gz")
        packed_path.write_bytes(gzip.compress(path.read_bytes()))
        path = packed_path
    constants = {} if "model" in columns else {"model": "m"}
    rows = table.read(path, columns=columns, constants=constants)
    assert rows["response"].tolist() == ["An oak."] and rows["model"].tolist() == ["m"]
    asked = rows["prompt"] if "prompt" in columns else rows["prompt_id"].map(str)
    assert asked.tolist() in (["Name a tree."], ["tree"], ["81"])


def test_parallel_lists_stay_together(tmp_path):
    columns = {"prompt_id": "id", "response": "generations", "idea": "partition"}
    rows = table.read(write(tmp_path, "generations.jsonl", NOVELTY), columns=columns)
    assert rows[["prompt_id", "response", "idea"]].to_numpy().tolist() == [["c-1", "An oak.", 0], ["c-1", "Elm", 1]]


def test_a_wide_file_has_one_column_per_model(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("prompt,m1,m2\nName a tree.,Oak,Elm\nName a bird.,Owl,Jay\n", encoding="utf-8")
    rows = table.read(path, columns={"response": ["m1", "m2"]})
    assert rows[["prompt", "model", "response"]].to_numpy().tolist() == [
        ["Name a tree.", "m1", "Oak"], ["Name a tree.", "m2", "Elm"],
        ["Name a bird.", "m1", "Owl"], ["Name a bird.", "m2", "Jay"],
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"no columns \['m3'\]"):
        table.read(path, columns={"response": ["m1", "m3"]})


def test_a_constant_may_be_the_name_of_the_file(tmp_path):
    path = write(tmp_path, "gpt-4o.jsonl", [{"prompt": "p", "response": "x"}])
    assert table.read(path, constants={"model": "<file>"})["model"].tolist() == ["gpt-4o"]
    with pytest.raises(ValueError, match=r"'modell' was passed.*Did you mean 'model'"):
        table.read(path, constants={"modell": "x"})


OBJECTS = [
    ({"status_code": 200, "body": body("An oak.")}, r"columns: \{response: response\.body\.choices\.0\.message\.role"),
    ({"role": "assistant", "content": "Oak"}, r"columns: \{response: response\.content\}"),
    ([["Oak", "Elm"]], r"a nested list"),
    ([{"role": "assistant", "content": "Oak"}], r"an object"),
    ({"n": 3}, r"It holds no text"),
]


@pytest.mark.parametrize(("value", "message"), OBJECTS)
def test_an_object_is_not_taken_for_a_text(tmp_path, value, message):
    path = write(tmp_path, "a.jsonl", [{"prompt": "p", "model": "m", "response": value}])
    with pytest.raises(ValueError, match=rf"a\.jsonl, row 1: `response` must be a text.*{message}"):
        table.read(path)


@pytest.mark.parametrize("field", ["model", "prompt"])
def test_an_object_is_not_taken_for_a_name_either(tmp_path, field):
    path = write(tmp_path, "a.jsonl", [{"prompt": "p", "model": "m", "response": "x"} | {field: {"id": "gpt"}}])
    with pytest.raises(ValueError, match=rf"`{field}` must be a text, but it is an object.*{field}\.id"):
        table.read(path)


def test_bytes_are_text_where_they_are_utf8(tmp_path):
    rows = pd.DataFrame({"prompt": ["p"], "model": ["m"], "response": [("caf" + chr(233)).encode()]})
    rows.to_parquet(tmp_path / "a.parquet")
    assert table.read(tmp_path / "a.parquet")["response"].tolist() == ["caf" + chr(233)]
    rows.assign(response=[b"\xff\xfe\x00"]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, row 1: `response` holds bytes that are not UTF-8"):
        table.read(tmp_path / "b.parquet")


@pytest.mark.parametrize("cell", ["['Oak', 'Elm']", '["Oak", "Elm"]'])
def test_a_cell_that_is_a_list_is_a_list(tmp_path, cell):
    pd.DataFrame({"prompt": ["p"], "model": ["m"], "response": [cell]}).to_csv(tmp_path / "a.csv", index=False)
    assert table.read(tmp_path / "a.csv")["response"].tolist() == ["Oak", "Elm"]


@pytest.mark.parametrize("text", ["[sic] a text [end]", "[a, b]", "[", "['it's']"])
def test_a_text_in_brackets_stays_a_text(tmp_path, text):
    pd.DataFrame({"prompt": ["p"], "model": ["m"], "response": [text]}).to_csv(tmp_path / "a.csv", index=False)
    assert table.read(tmp_path / "a.csv")["response"].tolist() == [text]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_spreadsheets_of_europe_open(tmp_path, encoding, capsys):
    text = "prompt;model;response\nNenne einen Baum.;m;Eine Birke, gr" + chr(252) + "n\n"
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    rows = table.read(tmp_path / "a.csv")
    assert rows["response"].tolist() == ["Eine Birke, gr" + chr(252) + "n"]
    assert ("read as Windows-1252" in capsys.readouterr().out) == (encoding == "cp1252")


def test_a_path_that_holds_nothing_names_those_that_hold_text(tmp_path):
    path = write(tmp_path, "a.jsonl", [{"messages": MESSAGES}])
    with pytest.raises(ValueError, match=r"nothing at 'messages\.0\.text' for `prompt`; texts within"):
        table.read(path, columns={"prompt": "messages.0.text", "response": "messages.1.content"})
    with pytest.raises(ValueError, match=r"no column 'mesages' for `prompt`.*Did you mean 'messages'"):
        table.read(path, columns={"prompt": "mesages"})


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.jsonl.gz", b"no gzip", r"a\.jsonl\.gz is damaged"),
        ("a.parquet", b"PAR1 no", r"a\.parquet cannot be read as Parquet"),
        ("a.eval", b"no archive", r"a\.eval cannot be read as an archive"),
        ("a.json", b'{"a": ', r"a\.json, line 1 is not JSON"),
        ("a.json", b"[1, 2]", r"a\.json must hold a list of objects"),
        ("a.json", b"[" * 100_000, r"a\.json is nested too deeply"),
        ("a.xlsx", b"x", r"a\.xlsx: expected \.csv"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        reading.read_file(tmp_path / name)


def test_json_lines_under_the_name_of_json_open(tmp_path):
    (tmp_path / "a.json").write_text('{"x": 1}\n{"x": 2}\n', encoding="utf-8")
    assert reading.read_file(tmp_path / "a.json")["x"].tolist() == [1, 2]


def test_arrays_of_a_parquet_file_are_lists(tmp_path):
    frame = pd.DataFrame({"prompt": ["p"], "model": ["m"], "response": [np.array(["Oak", "Elm"], dtype=object)]})
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(buffer.getvalue()))
    assert table.read(tmp_path / "a.parquet.gz")["response"].tolist() == ["Oak", "Elm"]

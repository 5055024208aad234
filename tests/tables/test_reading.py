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


@pytest.mark.parametrize(
    "cell", ["['Oak', 'Elm']", '["Oak", "Elm"]', "['Oak' 'Elm']", "['Oak'\n 'Elm']", "('Oak', 'Elm')"]
)
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


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_only_a_line_feed_ends_the_header_of_a_csv_file(tmp_path, end):
    text = f"no{end}te;prompt;model;response\n1;Name a tree.;m;An{end}oak.\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert table.read(tmp_path / "a.csv")["response"].tolist() == [f"An{end}oak."]


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


def test_a_list_that_was_cut_when_it_was_saved_is_refused(tmp_path):
    texts = np.array([f"text {i}" for i in range(1_001)], dtype=object)
    pd.DataFrame({"prompt": ["p"], "model": ["m"], "response": [texts]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"a\.csv, row 1: the list of responses was cut when it was saved"):
        table.read(tmp_path / "a.csv")


DOTTED = {"gpt-4.1": "Oak", "gpt-4": {"2": "Elm"}, "v1.0": {"a.b": "Fir"}}


@pytest.mark.parametrize(
    ("path", "text"), [("out.gpt-4.1", "Oak"), ("out.gpt-4.2", "Elm"), ("out.v1.0.a.b", "Fir"), ("out.x.y", "Ash")]
)
def test_names_with_dots_are_found(tmp_path, path, text):
    row = {"prompt": "p", "model": "m", "out": DOTTED, "out.x": {"y": "Ash"}}
    assert table.read(write(tmp_path, "a.jsonl", [row]), columns={"response": path})["response"].tolist() == [text]


def test_a_wide_file_may_name_paths(tmp_path):
    row = {"prompt": "p", "a": MESSAGES, "b": [MESSAGES[0], {"role": "assistant", "content": "Elm"}]}
    rows = table.read(write(tmp_path, "a.jsonl", [row]), columns={"response": ["a.1.content", "b.1.content"]})
    assert rows[["model", "response"]].to_numpy().tolist() == [["a.1.content", "An oak."], ["b.1.content", "Elm"]]
    with pytest.raises(ValueError, match=r"nothing at 'a\.5\.content' for `response`"):
        table.read(tmp_path / "a.jsonl", columns={"response": ["a.5.content"]})


PLAIN = "prompt,model,response\np,m,Wörd\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_wide_encodings_open_without_a_mark(tmp_path, encoding, name, capsys):
    text = PLAIN if name == "a.csv" else '{"prompt": "p", "model": "m", "response": "Wörd"}\n'
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert table.read(tmp_path / name)["response"].tolist() == ["Wörd"]
    assert (encoding.upper() in capsys.readouterr().out) == (encoding != "utf-32")


@pytest.mark.parametrize("text", ["木の名前を一つ挙げて。桜", "はい、ソレ"])
def test_another_encoding_leads_to_the_parameter(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(f"prompt,model,response\np,m,{text}\n".encode("shift_jis"))
    with pytest.raises(ValueError, match=r"a\.csv, line 2: byte .*`encoding`.* shift_jis"):
        table.read(tmp_path / "a.csv")
    assert table.read(tmp_path / "a.csv", encoding="shift_jis")["response"].tolist() == [text]


@pytest.mark.parametrize("encoding", ["utf-9", "hex", 65001, ""])
def test_an_unknown_encoding_is_refused(tmp_path, encoding):
    (tmp_path / "a.csv").write_text(PLAIN, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"`encoding` must name an encoding .* but {encoding!r} was passed"):
        table.read(tmp_path / "a.csv", encoding=encoding)


def test_zeros_among_the_names_of_columns_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(PLAIN.replace("ö", "o").encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"a\.csv holds zeros where text should be.*`encoding`"):
        table.read(tmp_path / "a.csv", encoding="utf-8")


TWO = pd.DataFrame({"prompt": ["p", "q"], "model": ["m", "m"], "response": ["Oak", "Elm"]})


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table", "records"])
def test_json_as_pandas_writes_it_opens(tmp_path, orient):
    TWO.to_json(tmp_path / "a.json", orient=orient)
    rows = table.read(tmp_path / "a.json")
    assert rows[["prompt", "model", "response"]].to_numpy().tolist() == TWO.to_numpy().tolist()
    TWO[1:].to_json(tmp_path / "b.json", orient=orient)  # its index begins with 1
    assert table.read(tmp_path / "b.json")["response"].tolist() == ["Elm"]


def test_json_of_columns_as_lists_opens(tmp_path):
    rows = table.read(write(tmp_path, "a.json", TWO.to_dict("list")))
    assert rows.to_numpy().tolist() == TWO.to_numpy().tolist()


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', "\ufeffsep=;\r\n"])
def test_the_line_of_excel_that_names_the_separator_is_no_header(tmp_path, line):
    (tmp_path / "a.csv").write_text(f'{line}prompt;model;response\np;m;"a, b; c"\n', encoding="utf-8", newline="")
    assert table.read(tmp_path / "a.csv").to_numpy().tolist() == [["p", "m", "a, b; c"]]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["", "sep=,"])
def test_a_field_that_a_row_lacks_is_missing_and_no_empty_text(tmp_path, newline, first):
    lines = [first, "prompt,model,response,idea", "p,m", "", "p,m,", '"p\n2",m,x', "   ", 'p,m,"",1', "p,m,y,"]
    (tmp_path / "a.csv").write_text(newline.join(lines[not first :]) + newline, encoding="utf-8", newline="")
    rows = table.read(tmp_path / "a.csv")
    assert rows["response"].isna().tolist() == [True, False, False, False, False]
    assert rows["response"].tolist()[1:] == ["", "x", "", "y"]
    written = table.tabulate(rows)
    assert written["04_excluded"][["input_row", "reason"]].to_numpy().tolist() == [[0, "no response (null)"]]


def test_a_long_field_of_a_csv_is_read(tmp_path):
    text = "word " * 100_000
    (tmp_path / "a.csv").write_text(f"prompt,model,response,idea\np,m,{text}\n", encoding="utf-8")
    assert table.read(tmp_path / "a.csv")["response"].tolist() == [text]

"""Reading answers that somebody collected: one form or another, clean or dirty, every row is accounted for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.responses import families, headlines
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import ids, schema

REPOSITORY = Path(__file__).resolve().parents[2]
WRITTEN = ["04_prompts", "04_models", "04_responses", "04_ideas", "04_coverage", "04_excluded"]
TRICKY = [
    "None",
    "NA",
    "nan",
    "null",
    "",
    "  two spaces around  ",
    "<p class='x'>bold</p> &amp; <br/>",
    "# Title\n\n* **item**, with `code`\r\n| a | b |\n",
    'she said "no", twice',
    "[not json",
    "\N{GRINNING FACE} caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "x" * 50_000,
]


def some_answers(**changes):
    """Two models, two prompts, two answers each."""
    frame = pd.DataFrame(
        {
            "prompt": np.repeat(["Write a haiku.", "Name a colour."], 4),
            "model": ["a", "a", "b", "b"] * 2,
            "sample_idx": [0, 1] * 4,
            "response": [f"answer {i}" for i in range(8)],
        }
    )
    return frame.assign(**changes)


def write(folder, name, rows):
    """Write rows as the suffix says: CSV, JSONL or Parquet, lists as JSON lists in a CSV."""
    path, frame = folder / name, pd.DataFrame(rows)
    if path.suffix == ".csv":
        frame.map(lambda v: json.dumps(v) if isinstance(v, list) else v).to_csv(path, index=False, lineterminator="\n")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
    else:
        frame.to_parquet(path, index=False)
    return path


def read_text(folder, text, name="answers.csv", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return response_table.read(path, **options)


def tabulate(frame, **options):
    """Tabulate, and see that every table is valid and every input row accounted for."""
    written = response_table.tabulate(frame, **options)
    assert list(written) == WRITTEN
    for name, table in written.items():
        schema.validate(table, name)
    assert len(written["04_responses"]) + len(written["04_excluded"]) == len(frame)
    assert len(written["04_responses"]) == written["04_coverage"]["n_responses"].sum()
    assert set(written["04_responses"]["prompt_id"]) == set(written["04_prompts"]["prompt_id"])
    assert set(written["04_responses"]["model"]) == set(written["04_models"]["model"])
    return written


def texts(written):
    return written["04_responses"]["text"].tolist()


def assert_same_tables(first, second):
    for name in WRITTEN:
        if name != "04_excluded":
            pd.testing.assert_frame_equal(first[name], second[name])


# ------------------------------------------------------------------------------------------------------ forms of data


def test_four_answers_make_the_tables_one_expects():
    written = tabulate(some_answers()[:4])
    assert texts(written) == ["answer 0", "answer 1", "answer 2", "answer 3"]
    assert written["04_prompts"][["text", "prompt_kind"]].values.tolist() == [["Write a haiku.", "original"]]
    assert written["04_models"][["model", "family", "model_kind"]].values.tolist() == [
        ["a", "unknown", "model"],
        ["b", "unknown", "model"],
    ]
    assert written["04_responses"][["condition", "decoding", "usable"]].drop_duplicates().values.tolist() == [
        ["default", "as given", True]
    ]
    assert written["04_coverage"][["model", "n_responses", "n_usable"]].values.tolist() == [["a", 2, 2], ["b", 2, 2]]
    assert written["04_excluded"].empty
    assert written["04_ideas"].empty


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_tables(tmp_path, suffix):
    path = write(tmp_path, f"answers.{suffix}", some_answers())
    assert_same_tables(tabulate(response_table.read(path)), tabulate(some_answers()))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["responses", "response"])
def test_lists_of_answers_are_unrolled_and_numbered(tmp_path, suffix, column):
    rows = [
        {"prompt": prompt, "model": model, column: group["response"].tolist()}
        for (prompt, model), group in some_answers().groupby(["prompt", "model"], sort=False)
    ]
    path = write(tmp_path, f"answers.{suffix}", rows)
    assert_same_tables(tabulate(response_table.read(path)), tabulate(some_answers()))


@pytest.mark.parametrize("id_column", ["prompt", "prompt_id"])
def test_two_lists_of_one_cell_are_numbered_on(tmp_path, id_column):
    rows = [{id_column: "p", "model": "a", "responses": batch} for batch in (["x", "y"], ["z"])]
    written = tabulate(response_table.read(write(tmp_path, "answers.jsonl", rows)))
    assert texts(written) == ["x", "y", "z"]
    assert written["04_responses"]["sample_idx"].tolist() == [0, 1, 2]


def test_an_empty_list_and_a_null_in_a_list_are_excluded_and_counted(tmp_path):
    rows = [
        {"prompt": "p", "model": "a", "responses": ["x", None]},
        {"prompt": "q", "model": "a", "responses": []},
        {"prompt": "r", "model": "a", "responses": None},
    ]
    written = tabulate(response_table.read(write(tmp_path, "answers.jsonl", rows)))
    assert texts(written) == ["x"]
    assert written["04_excluded"]["input_row"].tolist() == [1, 2, 3]
    assert set(written["04_excluded"]["reason"]) == {"no response (null)"}


def test_lists_beside_single_answers_are_refused(tmp_path):
    rows = [{"prompt": "p", "model": "a", "responses": value} for value in (["x", "y"], "z")]
    with pytest.raises(ValueError, match=r"row 1 holds a list of responses, row 2 does not"):
        response_table.read(write(tmp_path, "answers.jsonl", rows))
    rows[1]["response"] = rows[1].pop("responses")
    with pytest.raises(ValueError, match=r"row 1 holds a list of responses, row 2 does not"):
        response_table.read(write(tmp_path, "answers.jsonl", rows))


def test_a_column_beside_the_responses_that_is_called_responses_changes_nothing(tmp_path):
    rows = [{"prompt": "p", "model": "a", "response": text, "responses": ["all", "of", "them"]} for text in "xy"]
    assert texts(tabulate(response_table.read(write(tmp_path, "answers.jsonl", rows)))) == ["x", "y"]


@pytest.mark.parametrize(("name", "value"), [("idea", 3), ("finish_reason", "stop"), ("sample_idx", 0)])
def test_one_value_beside_a_list_of_responses_is_refused(tmp_path, name, value):
    rows = [{"prompt": "p", "model": "a", "responses": ["x", "y"], name: value}]
    with pytest.raises(ValueError, match=f"`{name}` has one value per row, .*write one response per row"):
        response_table.read(write(tmp_path, "answers.jsonl", rows))


def test_lists_beside_a_list_of_responses_go_with_it(tmp_path):
    rows = [{"prompt": "p", "model": "a", "responses": ["x", "y"], "idea": [4, 7], "finish_reason": ["stop", "length"]}]
    frame = response_table.read(write(tmp_path, "answers.jsonl", rows))
    assert frame[["response", "idea", "finish_reason"]].to_numpy().tolist() == [["x", 4, "stop"], ["y", 7, "length"]]
    rows[0]["idea"] = [4]
    with pytest.raises(ValueError, match=r"row 1: `response` holds 2 responses, but `idea` 1 values"):
        response_table.read(write(tmp_path, "answers.jsonl", rows))


def test_an_answer_that_only_looks_like_a_list_stays_an_answer(tmp_path):
    answers = ['["a", "b"]', "plain", "[" * 20_000]
    path = write(tmp_path, "answers.csv", {"prompt": "p", "model": "a", "response": answers})
    assert sorted(texts(tabulate(response_table.read(path)))) == sorted(answers)


SPELLINGS = {"JSON": '["Oak", "Elm"]', "Python": "['Oak', 'Elm']", "NumPy": "['Oak' 'Elm']", "tuple": "('Oak', 'Elm')"}


@pytest.mark.parametrize("cell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_cell_beside_lists_is_a_row_without_a_response(tmp_path, cell, empty):
    path = write(tmp_path, "answers.csv", {"prompt": list("pqr"), "model": "a", "response": [cell, cell, empty]})
    written = tabulate(response_table.read(path))
    assert texts(written) == ["Oak", "Elm"] * 2
    assert written["04_excluded"][["input_row", "reason"]].values.tolist() == [[4, "no response (null)"]]


@pytest.mark.parametrize("cell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("responses", ["lls", "ls", "sl", "lssss" + "lssss"])
def test_one_response_beside_written_lists_is_refused_with_both_rows(tmp_path, cell, responses):
    column = [cell if kind == "l" else "An ash." for kind in responses]
    path = write(tmp_path, "answers.csv", {"prompt": "p", "model": "a", "response": column})
    rows = rf"row {responses.index('l') + 1} holds a list of responses, row {responses.index('s') + 1} does not"
    with pytest.raises(ValueError, match=rf"answers\.csv: {rows}\. Write a list in every row"):
        response_table.read(path)


def test_few_lists_among_many_responses_are_said(tmp_path, capsys):
    column = ["An ash."] * 30 + [SPELLINGS["JSON"]] * 2
    path = write(tmp_path, "answers.csv", {"prompt": "p", "model": "a", "response": column})
    assert response_table.read(path)["response"].tolist() == column
    assert (
        "answers.csv: 2 of 32 responses are objects or lists in JSON (the first is in row 31)"
        in capsys.readouterr().out
    )


PARALLEL = {
    "sample_idx": [3, 1], "idea": ["i", "j"], "finish_reason": ["stop", "length"], "position": [0, 1],
    "probability": [0.25, 0.5], "reply": [0, 0], "quality": [1.5, 5],
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", PARALLEL)
def test_every_list_beside_a_list_of_responses_goes_with_it(tmp_path, suffix, name):
    rows = [{"prompt": p, "model": "a", "response": ["x", "y"], name: PARALLEL[name]} for p in "pq"]
    frame = response_table.read(write(tmp_path, f"answers.{suffix}", rows))
    assert (
        frame[["response", name]].to_numpy().tolist() == [list(p) for p in zip("xy", PARALLEL[name], strict=True)] * 2
    )
    if suffix == "jsonl":
        rows[1][name] = rows[1][name] * 2
        with pytest.raises(ValueError, match=rf"row 2: `response` holds 2 responses, but `{name}` 4 values"):
            response_table.read(write(tmp_path, "longer.jsonl", rows))
        rows[1][name] = None  # none of them is known
        frame = response_table.read(write(tmp_path, "empty.jsonl", rows))
        assert frame[name].isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("name", ["position", "probability", "quality"])
def test_one_number_beside_a_list_of_several_responses_is_refused(tmp_path, name):
    rows = [{"prompt": "p", "model": "a", "responses": ["x", "y"], name: 1}]
    with pytest.raises(ValueError, match=f"`{name}` has one value per row, .*write one response per row"):
        response_table.read(write(tmp_path, "answers.jsonl", rows))
    rows[0]["responses"] = ["x"]
    assert response_table.read(write(tmp_path, "one.jsonl", rows))[name].tolist() == [1]


def test_a_list_may_have_one_number_of_its_reply(tmp_path):
    rows = [{"prompt": "p", "model": "a", "responses": ["x", "y"], "reply": reply} for reply in (0, 1)]
    written = tabulate(response_table.read(write(tmp_path, "answers.jsonl", rows)))
    assert written["04_responses"]["reply"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["quality", "probability", "open_endedness", "many_answers"])
def test_numbers_with_a_decimal_comma_are_numbers(tmp_path, name):
    text = f"prompt;model;response;{name}\np;a;x;0,5\nq;a;y;1\nr;a;z;\ns;a;w;NaN\n"
    written = tabulate(read_text(tmp_path, text))
    table = written["04_prompts" if name in ("open_endedness", "many_answers") else "04_responses"]
    assert sorted(table[name].dropna()) == [0.5, 1.0] and table[name].isna().sum() == 2


@pytest.mark.parametrize("name", ["quality", "probability", "open_endedness", "many_answers", "position", "reply"])
@pytest.mark.parametrize("value", ["four", "1.234,5", "inf", [1, 5], {"mean": 1}])
def test_what_is_no_number_is_said_and_mostly_refused(tmp_path, name, value, capsys):
    rows = [{"prompt": p, "model": "a", "response": "x", name: v} for p, v in zip("pqr", (1, value, 0), strict=True)]
    frame = response_table.read(write(tmp_path, "answers.jsonl", rows))
    assert frame[name].isna().tolist() == [False, True, False]
    assert f"answers.jsonl: 1 of 3 values of `{name}` are not a" in capsys.readouterr().out
    with pytest.raises(ValueError, match=rf"`{name}` must be a .*, but 1 of 1 values are not \(row 1: "):
        response_table.read(write(tmp_path, "answers.jsonl", rows[1:2]))


@pytest.mark.parametrize(("value", "whole"), [("1.5", False), ("-1", False), ("2", True), ("2.0", True)])
def test_places_are_whole_numbers(tmp_path, value, whole, capsys):
    frame = read_text(tmp_path, f"prompt,model,response,position\np,a,x,{value}\np,a,y,0\np,a,z,1\n")
    assert frame["position"].notna()[0] == whole
    assert ("a whole number from 0 (row 1" in capsys.readouterr().out) != whole


@pytest.mark.parametrize(
    ("size", "billions"), [("1,5", 1.5), ("7B", 7), ("350M", 0.35), ("1,5 b", 1.5), (7, 7), ("", None), ("n/a", None)]
)
def test_sizes_of_models_are_billions(size, billions):
    answers = pd.DataFrame({"prompt": ["p"], "model": ["a"], "response": ["x"]})
    found = response_table.tabulate(answers, models=pd.DataFrame({"model": ["a"], "size_b": [size]}))["04_models"]
    assert found["size_b"].dropna().tolist() == ([] if billions is None else [pytest.approx(billions)])


def test_facts_that_are_no_numbers_are_refused():
    answers = pd.DataFrame({"prompt_id": ["p"], "model": ["a"], "response": ["x"]})
    with pytest.raises(ValueError, match=r"`size_b` of 'a' must be a number, but '8x7B' was found\. Write a number"):
        response_table.tabulate(answers, models=pd.DataFrame({"model": ["a"], "size_b": ["8x7B"]}))
    prompts = pd.DataFrame({"prompt_id": ["p"], "open_endedness": ["high"]})
    with pytest.raises(ValueError, match=r"`open_endedness` of 'p' must be a number, but 'high' was found"):
        response_table.tabulate(answers, prompts=prompts)


REASONS = {
    "truncated": ["length", "Length", "max_tokens", "MAX_TOKENS", "FinishReason.MAX_TOKENS", "model_length",
                  "max_output_tokens", "maxTokens"],
    "content_filter": ["content_filter", "content-filter", "ContentFilter", "content_filtered", "SAFETY", "RECITATION",
                       "PROHIBITED_CONTENT", "FinishReason.SAFETY", "guardrail_intervened", "ERROR_TOXIC"],
    "refusal": ["refusal", "REFUSAL"],
    "answer": ["stop", "end_turn", "STOP", "COMPLETE", "eos", "tool_calls", ""],
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "reason"), [(name, reason) for name in REASONS for reason in REASONS[name]])
def test_reasons_to_stop_count_however_a_provider_spells_them(tmp_path, outcome, reason):
    written = tabulate(read_text(tmp_path, f"prompt,model,response,finish_reason\np,a,x,{reason}\n"))
    cell = written["04_coverage"].iloc[0]
    assert written["04_responses"]["outcome"].tolist() == [outcome]
    assert cell["n_truncated"] == (outcome == "truncated") and cell["n_filtered"] == (outcome == "content_filter")
    assert cell["n_refused"] == (outcome == "refusal") and cell["n_usable"] == (outcome != "content_filter")


def test_columns_are_mapped_to_the_projects_names(tmp_path):
    theirs = some_answers().rename(columns={"prompt": "question", "model": "system", "response": "output"})
    mapping = {"prompt": "question", "model": "system", "response": "output"}
    path = write(tmp_path, "answers.csv", theirs)
    assert_same_tables(tabulate(response_table.read(path, columns=mapping)), tabulate(some_answers()))


def test_a_mapped_column_replaces_the_one_of_that_name(tmp_path):
    path = write(tmp_path, "answers.csv", some_answers(response="raw", cleaned="clean"))
    assert set(response_table.read(path, columns={"response": "cleaned"})["response"]) == {"clean"}


def test_several_files_are_one_data_set(tmp_path):
    halves = [write(tmp_path, "a.csv", some_answers()[:4]), write(tmp_path, "b.jsonl", some_answers()[4:])]
    assert_same_tables(tabulate(response_table.read(halves)), tabulate(some_answers()))
    assert_same_tables(tabulate(response_table.read([str(path) for path in halves])), tabulate(some_answers()))


# ------------------------------------------------------------------------------------------------------ text survives


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_text_survives_unchanged(tmp_path, suffix):
    frame = pd.DataFrame({"prompt": "p", "model": "a", "response": TRICKY, "sample_idx": range(len(TRICKY))})
    written = tabulate(response_table.read(write(tmp_path, f"answers.{suffix}", frame)))
    assert texts(written) == TRICKY
    assert written["04_responses"]["text_id"].tolist() == [ids.text_id(text) for text in TRICKY]
    assert written["04_responses"]["usable"].tolist() == [text.strip() != "" for text in TRICKY]


def test_numbers_in_json_keep_their_form(tmp_path):
    rows = '{"prompt_id": 1, "model": "a", "response": 42}\n{"prompt_id": 1, "model": "a", "response": null}\n'
    rows += '{"model": "a", "prompt": "p", "response": true}\n'
    written = tabulate(read_text(tmp_path, rows, "answers.jsonl"))
    assert set(texts(written)) == {"42", "True"}
    assert "1" in set(written["04_responses"]["prompt_id"])


def test_null_text_is_no_answer_and_the_word_nan_is_one(tmp_path):
    rows = '{"prompt": "p", "model": "a", "response": NaN}\n{"prompt": "p", "model": "a", "response": "NaN"}\n'
    written = tabulate(read_text(tmp_path, rows, "answers.jsonl"))
    assert texts(written) == ["NaN"]
    assert written["04_excluded"][["input_row", "reason"]].values.tolist() == [[0, "no response (null)"]]


def test_lone_surrogates_become_replacement_characters_wherever_they_stand(tmp_path):
    row = {"prompt": "why\ud800", "model": "a\udfff", "response": "x\ud83d y", "idea": "\ud800"}
    lost = {"prompt": "why", "model": "\ud800", "response": None}
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(lost) + "\n", encoding="ascii")
    written = tabulate(response_table.read(path))
    assert texts(written) == ["x\ufffd y"]
    assert written["04_prompts"]["text"].tolist() == ["why\ufffd"]
    assert written["04_models"]["model"].tolist() == ["a\ufffd"]
    assert len(written["04_excluded"]) == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_line_ending_are_read(tmp_path, newline):
    text = newline.join(["\ufeffprompt,model,response", 'p,a,"x, y"', ""])
    assert read_text(tmp_path, text).values.tolist() == [["p", "a", "x, y"]]


def test_tabs_separate_a_tsv(tmp_path):
    assert read_text(tmp_path, "prompt\tmodel\tresponse\np\ta\tx, y\n", "answers.tsv")["response"].tolist() == ["x, y"]


def test_another_encoding_can_be_named(tmp_path):
    raw = "prompt,model,response\np,a,caf\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode("cp1252")
    assert read_text(tmp_path, raw, encoding="cp1252")["response"].tolist() == [
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    ]


# ------------------------------------------------------------------------------------------------- refused as a whole


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "after a byte-order mark"])
def test_mixed_encodings_name_the_line_and_the_byte(tmp_path, mark):
    raw = mark + "prompt,model,response\np,a,déjà\n".encode() + b"p,a,\xe9t\xe9\n"
    with pytest.raises(ValueError, match=r"answers\.csv, line 3: byte 0xe9 is not utf-8.*one encoding"):
        read_text(tmp_path, raw)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("prompt,model,text", "a `response` column"),
        ("prompt,response,x", "a `model` column"),
        ("question,model,response", "a `prompt` column"),
        ("x,y,z", "a `response` column and a `model` column and a `prompt` column"),
    ],
)
def test_a_missing_column_is_named_with_what_to_do(tmp_path, header, named):
    columns = str(header.split(",")).replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=rf"answers\.csv lacks {named}; it has {columns}\. Say .*`columns: "):
        read_text(tmp_path, header + "\np,a,x\n")


def test_a_mapping_that_cannot_hold_is_refused(tmp_path):
    path = write(tmp_path, "answers.csv", some_answers())
    with pytest.raises(ValueError, match=r"`columns` may name .*'response'.*, but 'answer' was passed"):
        response_table.read(path, columns={"answer": "response"})
    with pytest.raises(ValueError, match=r"answers\.csv has no column 'output' for `response`; it has .*'prompt'"):
        response_table.read(path, columns={"response": "output"})


@pytest.mark.parametrize("line", ['{"prompt": "p", "model": ', "[" * 20_000])
def test_a_malformed_line_of_json_is_named(tmp_path, line):
    with pytest.raises(ValueError, match=r"answers\.jsonl, line 3 is not JSON"):
        read_text(tmp_path, '{"prompt": "p", "model": "a", "response": "x"}\n\n' + line + "\n", "answers.jsonl")


def test_a_line_of_json_that_is_no_object_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"answers\.jsonl, line 1 must be a JSON object, but '\[1, 2\]' was found"):
        read_text(tmp_path, "[1, 2]\n", "answers.jsonl")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("p,a,hello, world\np,a,one, two\n", r"more fields than the header, which has 3"),
        ("p,a,fine\np,a,one, two\n", r"Expected 3 fields in line 3, saw 4"),
        ('p,a,"open\np,a,fine\n', r"EOF inside string"),
    ],
)
def test_unquoted_commas_are_refused_rather_than_misread(tmp_path, rows, problem):
    with pytest.raises(ValueError, match=rf"answers\.csv.*{problem}.*must be in quotes"):
        read_text(tmp_path, "prompt,model,response\n" + rows)


def test_a_column_named_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"answers\.csv must name every column once, but \['response'\]"):
        read_text(tmp_path, "prompt,model,response,response\np,a,x,y\n")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("answers.csv", "", r"answers\.csv cannot be read: No columns to parse from file"),
        ("answers.jsonl", "", r"answers\.jsonl lacks a `response` column"),
        ("answers.csv", "prompt,model,response\n", r"There are no responses: the input has no rows"),
    ],
)
def test_an_empty_file_is_refused(tmp_path, name, text, problem):
    with pytest.raises(ValueError, match=problem):
        response_table.tabulate(read_text(tmp_path, text, name))


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"answers\.xlsx: expected \.csv, .* but the suffix is '\.xlsx'"):
        read_text(tmp_path, "", "answers.xlsx")


def test_rows_of_which_none_is_an_answer_are_refused_with_the_reasons():
    with pytest.raises(ValueError, match=r"None of 8 rows is a response: \{'no response \(null\)': 8\}"):
        response_table.tabulate(some_answers(response=None))


def test_one_id_for_two_prompts_is_refused():
    with pytest.raises(ValueError, match=r"'p' has 2 texts: \['Write a haiku\.', 'Name a colour\.'\]"):
        response_table.tabulate(some_answers(prompt_id="p"))


def test_people_who_never_answered_are_refused():
    with pytest.raises(ValueError, match=r"`human` names \['people'\], but the responses come from \['a', 'b'\]"):
        response_table.tabulate(some_answers(), human=["people"])


def test_an_unknown_scope_of_ideas_is_refused():
    with pytest.raises(ValueError, match=r"`idea_scope` may name .*'condition'.*, but \['mode'\] was passed"):
        response_table.tabulate(some_answers(idea="x"), idea_scope=["mode"])


def test_a_registry_that_lists_a_model_twice_or_names_none_is_refused():
    with pytest.raises(ValueError, match="The registry lists 'a' twice"):
        response_table.tabulate(some_answers(), models=pd.DataFrame({"model": ["a", "a"], "family": ["f", "g"]}))
    with pytest.raises(ValueError, match="The registry needs a column `model`, but it has "):
        response_table.tabulate(some_answers(), models=pd.DataFrame({"name": ["a"]}))


# ---------------------------------------------------------------------------------------------------- some of the data


def test_some_prompts_and_models_can_be_selected():
    kept = response_table.select(some_answers(), prompts=["Name a colour."], models=["b"])
    assert kept["response"].tolist() == ["answer 6", "answer 7"]
    assert kept.index.tolist() == [0, 1]


def test_prompts_are_selected_by_id_where_there_is_one_number_or_text():
    frame = some_answers(prompt_id=pd.Series([1] * 4 + ["2"] * 4, dtype=object))
    for wanted in (["1"], [1]):
        assert response_table.select(frame, prompts=wanted)["response"].tolist() == [f"answer {i}" for i in range(4)]


@pytest.mark.parametrize("as_read", [int, str], ids=["numbers", "text, as in a CSV"])
def test_the_first_samples_of_every_cell_are_kept_by_number(as_read):
    numbers = [as_read(n) for n in (11, 10, 9, 2, 1, 0)]
    frame = pd.DataFrame({"prompt": "p", "model": ["a"] * 6 + ["b"] * 6, "sample_idx": numbers * 2})
    kept = response_table.select(frame, n_samples=3)
    assert kept["model"].tolist() == ["a"] * 3 + ["b"] * 3
    assert kept["sample_idx"].tolist() == [as_read(n) for n in (2, 1, 0)] * 2


def test_without_numbers_the_first_rows_of_every_cell_are_kept():
    frame = some_answers().drop(columns="sample_idx")
    assert response_table.select(frame, n_samples=1)["response"].tolist() == [f"answer {i}" for i in (0, 2, 4, 6)]
    assert response_table.select(frame).equals(frame)


def test_selecting_what_does_not_occur_is_refused():
    with pytest.raises(ValueError, match=r"The responses hold no model \['c'\]; they hold \['a', 'b'\]"):
        response_table.select(some_answers(), models=["a", "c"])
    with pytest.raises(ValueError, match=r"The responses hold no prompt \['x'\]; they hold \['Write a haiku\.'\]"):
        response_table.select(some_answers(prompt=["Write a haiku."] * 7 + [None]), prompts=["x"])


def test_facts_are_read_under_the_projects_names_and_may_be_absent(tmp_path):
    path = tmp_path / "models.csv"
    path.write_text("system,family\na,f\n")
    assert response_table.read_facts(path, {"model": "system"}).to_dict("records") == [{"model": "a", "family": "f"}]
    assert response_table.read_facts(None) is None


# ---------------------------------------------------------------------------------------------- excluded and counted


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "no model"),
        ({"model": " "}, "no model"),
        ({"prompt": None}, "no prompt"),
        ({"response": np.nan}, "no response (null)"),
        ({"sample_idx": "first"}, "sample_idx is not a whole number"),
        ({"sample_idx": "1.5"}, "sample_idx is not a whole number"),
        ({"sample_idx": "-1"}, "sample_idx is not a whole number"),
        ({"sample_idx": "inf"}, "sample_idx is not a whole number"),
        ({"sample_idx": "1e300"}, "sample_idx is not a whole number"),
    ],
)
def test_a_row_that_is_no_answer_is_excluded_with_its_reason(changes, reason):
    frame = some_answers().astype(object)
    frame.loc[5, list(changes)] = list(changes.values())
    excluded = tabulate(frame)["04_excluded"]
    assert excluded[["input_row", "reason"]].values.tolist() == [[5, reason]]
    if "response" not in changes:
        assert "answer 5" in excluded["excerpt"].item()


def test_an_identical_row_is_excluded_as_a_repetition():
    frame = pd.concat([some_answers(), some_answers()[2:4]], ignore_index=True)
    written = tabulate(frame)
    assert_same_tables(written, tabulate(some_answers()))
    assert written["04_excluded"]["input_row"].tolist() == [8, 9]
    assert set(written["04_excluded"]["reason"]) == {"repeats an earlier row"}


def test_a_conflicting_row_is_excluded_and_the_first_text_kept():
    written = tabulate(pd.concat([some_answers(), some_answers(response="other")[2:3]], ignore_index=True))
    assert_same_tables(written, tabulate(some_answers()))
    assert written["04_excluded"][["input_row", "reason"]].values.tolist() == [
        [8, "same prompt, model and sample_idx as an earlier row, other text"]
    ]


def test_equal_texts_without_numbers_are_samples_of_their_own():
    written = tabulate(pd.DataFrame({"prompt": "p", "model": "a", "response": ["x", "x", "y", "x"]}))
    assert texts(written) == ["x", "x", "y", "x"]
    assert written["04_coverage"]["n_repeated"].tolist() == [2]


# --------------------------------------------------------------------------------------------------------- numbering


def test_answers_without_numbers_are_numbered_in_file_order_within_their_cell():
    frame = pd.DataFrame({"prompt": "p", "model": ["b", "a", "b", "a"], "response": ["1", "2", "3", "4"]})
    written = tabulate(frame)
    assert written["04_responses"][["model", "sample_idx", "text"]].values.tolist() == [
        ["a", 0, "2"],
        ["a", 1, "4"],
        ["b", 0, "1"],
        ["b", 1, "3"],
    ]


def test_answers_without_numbers_follow_the_numbered_ones():
    frame = pd.DataFrame(
        {"prompt": "p", "model": "a", "response": ["u", "v", "w"], "sample_idx": [None, 3, None]}, dtype=object
    )
    written = tabulate(frame)
    assert written["04_responses"][["sample_idx", "text"]].values.tolist() == [[3, "v"], [4, "u"], [5, "w"]]


def test_conditions_and_decodings_are_cells_of_their_own():
    frame = pd.DataFrame(
        {"prompt": "p", "model": "a", "response": "x", "condition": ["c", "d", "c"], "decoding": ["t", "t", "m"]}
    )
    written = tabulate(frame)
    assert written["04_responses"]["sample_idx"].tolist() == [0, 0, 0]
    assert written["04_responses"]["response_id"].is_unique


@pytest.mark.parametrize("seed", range(5))
def test_row_order_does_not_matter_where_samples_are_numbered(seed):
    frame = some_answers(
        category=["poem"] * 4 + ["colour"] * 4,
        idea=list("iijjkkll"),
        finish_reason=["stop", "length"] * 4,
        family=["f"] * 8,
    )
    shuffled = frame.iloc[np.random.default_rng(seed).permutation(8)]
    assert_same_tables(tabulate(shuffled), tabulate(frame))


def test_ids_depend_on_the_cell_and_the_number_alone():
    first, second = tabulate(some_answers()), tabulate(some_answers(response="other"))
    assert first["04_responses"]["response_id"].tolist() == second["04_responses"]["response_id"].tolist()
    assert first["04_responses"]["response_id"].is_unique


# ----------------------------------------------------------------------------------------------------------- coverage


def test_a_model_present_for_half_of_the_prompts_shows_as_missing_cells():
    frame = some_answers()
    frame = frame[~((frame["model"] == "b") & (frame["prompt"] == "Name a colour."))]
    coverage = tabulate(frame)["04_coverage"]
    assert len(coverage) == 4
    assert coverage.loc[coverage["n_responses"] == 0, ["model", "n_usable", "n_empty"]].values.tolist() == [["b", 0, 0]]
    assert response_table.missing_cells(coverage) == "1 of 4 cells have no usable response (b lacks 1)"


def test_nothing_missing_is_nothing_to_say():
    assert response_table.missing_cells(tabulate(some_answers())["04_coverage"]) is None


def test_the_three_worst_models_are_named():
    cells = [("a", 1), ("b", 2), ("c", 3), ("d", 1), ("e", 0)]
    coverage = pd.DataFrame([(model, 0) for model, n in cells for _ in range(n)] + [("e", 5)])
    sentence = response_table.missing_cells(coverage.set_axis(["model", "n_usable"], axis=1))
    assert sentence == "7 of 8 cells have no usable response (c lacks 3, b lacks 2, a lacks 1 and 1 more models)"


def test_unequal_numbers_of_samples_are_kept_as_they_are():
    coverage = tabulate(some_answers()[:-1])["04_coverage"]
    assert sorted(coverage["n_responses"]) == [1, 2, 2, 2]


def test_empty_truncated_and_filtered_answers_are_outcomes():
    frame = some_answers(finish_reason=[None, "length", "content_filter", "stop", "stop", "stop", "stop", "stop"])
    frame["response"] = ["", "cut off", "refused", "fine", " \n", "same", "same", "same"]
    written = tabulate(frame)
    rows = written["04_responses"].set_index("text")
    assert rows.loc[["", " \n", "refused"], "why_not"].tolist() == ["empty", "empty", "content filter"]
    assert rows["usable"].sum() == 5
    totals = written["04_coverage"][["n_responses", "n_usable", "n_empty", "n_truncated", "n_repeated"]].sum()
    assert totals.tolist() == [8, 5, 2, 1, 1]


def test_a_cell_of_empty_answers_counts_as_missing():
    frame = some_answers()
    frame.loc[frame["model"] == "a", "response"] = ""
    assert response_table.missing_cells(tabulate(frame)["04_coverage"]) == (
        "2 of 4 cells have no usable response (a lacks 2)"
    )


def test_cells_are_expected_only_for_prompts_of_a_kind_the_model_answered():
    frame = some_answers(prompt_kind=["original"] * 4 + ["paraphrase"] * 4)
    frame = frame[~((frame["prompt_kind"] == "paraphrase") & (frame["model"] == "b"))]
    assert len(tabulate(frame)["04_coverage"]) == 3


def test_one_answer_of_one_model_is_enough():
    written = tabulate(some_answers()[:1])
    assert {name: len(table) for name, table in written.items()} == dict(zip(WRITTEN, [1, 1, 1, 0, 1, 0], strict=True))


# ------------------------------------------------------------------------------------------- models, prompts and ideas


def test_people_are_people_and_families_are_guessed_from_names():
    frame = some_answers(model=["writers", "openai/gpt-4o", "Qwen/Qwen2.5-7B", "o1-mini"] * 2)
    models = tabulate(frame, human=["writers"])["04_models"].set_index("model")
    assert models["model_kind"].to_dict() == dict.fromkeys(models.index, "model") | {"writers": "human"}
    assert models["family"].to_dict() == {
        "writers": "people", "openai/gpt-4o": "GPT", "Qwen/Qwen2.5-7B": "Qwen", "o1-mini": "OpenAI o"
    }  # fmt: skip
    assert models.loc["openai/gpt-4o", "vendor"] == "OpenAI" and models.loc["writers", "vendor"] is None


@pytest.mark.parametrize(
    ("model", "family", "vendor"),
    [
        ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama", "Meta"),
        ("Meta-Llama-3", "Llama", "Meta"),
        ("llama3:8b", "Llama", "Meta"),
        ("bedrock/us.meta.llama3-70b-instruct-v1:0", "Llama", "Meta"),
        ("openai/o1", "OpenAI o", "OpenAI"),
        ("o3-mini-high", "OpenAI o", "OpenAI"),
        ("CohereForAI/c4ai-command-r-v01", "Command", "Cohere"),
        ("CohereForAI/c4ai", "Command", "Cohere"),
        ("text_davinci_003", "GPT-3", "OpenAI"),
        ("text-davinci-003", "GPT-3", "OpenAI"),
        ("gpt-3.5-turbo", "GPT", "OpenAI"),
        ("chatgpt-4o-latest", "GPT", "OpenAI"),
        ("EleutherAI/gpt-j-6b", "GPT-J", "EleutherAI"),
        ("mistralai/Mixtral-8x22B-v0.1", "Mistral", "Mistral AI"),
        ("open-mistral-nemo", "Mistral", "Mistral AI"),
        ("google/gemma-7b-it", "Gemma", "Google"),
        ("allenai/Llama-3.1-Tulu-3-8B-SFT", "Tulu", "Ai2"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "DeepSeek", "DeepSeek"),
        ("anthropic.claude-v2", "Claude", "Anthropic"),
        ("mistralai/something-new", "unknown", "Mistral AI"),
        ("my-model", "unknown", None),
        ("foo10", "unknown", None),
        ("4o", "unknown", None),
        ("graphics-1", "unknown", None),
    ],
)
def test_families_are_those_of_known_words_and_unknown_otherwise(model, family, vendor):
    found = families.lineage(model)
    assert (found.family, found.vendor, found.guessed) == (family, vendor, True)


def test_a_family_of_the_registry_is_not_guessed():
    assert families.lineage("openai/o1-mini-2024-09-12").family == "OpenAI o"
    assert families.lineage("gpt-4o-2024-11-20") == ("GPT", "OpenAI", False)
    registry = pd.read_csv(REPOSITORY / "data" / "reference" / "models.csv")
    own = {name: families.lineage(name) for name in registry["model"]}
    assert not any(found.guessed for found in own.values())
    assert {name: found.family for name, found in own.items()} == registry.set_index("model")["family"].to_dict()


def test_the_words_of_names_give_the_registrys_families():
    registry = pd.read_csv(REPOSITORY / "data" / "reference" / "models.csv")
    for row in registry.itertuples():
        found = families.lineage(f"{row.model}-as-served-elsewhere")
        assert found.guessed and (found.family, found.vendor) == (row.family, row.vendor), row.model


def test_guessed_and_unknown_families_are_said():
    frame = some_answers(model=["gpt-4o-2024-11-20", "Meta-Llama-3", "my-model", "other"] * 2)
    tables = tabulate(frame)
    said = headlines.families_told(tables)
    assert said == (
        "Families are guessed from the name for 1 model (Meta-Llama-3: Llama) and unknown for 2 models "
        "(my-model and other): name a file with `models_path` that has `family`"
    )
    facts = pd.DataFrame({"model": ["Meta-Llama-3", "my-model", "other"], "family": ["Llama", "Mine", "Mine"]})
    assert headlines.families_told(tabulate(frame, models=facts)) == ""


def test_texts_of_prompts_join_by_id_whatever_the_column_is_called(tmp_path):
    for column in ("text", "prompt", "query", "question", "instruction", "Question"):
        path = tmp_path / f"{column}.jsonl"
        path.write_text(
            "".join(json.dumps({"prompt_id": n, column: f"Why {n}?", "category": "Whys"}) + "\n" for n in (1, 2))
        )
        answers = pd.DataFrame({"prompt_id": [1, 1, 2, 2], "model": ["a", "b"] * 2, "response": list("wxyz")})
        prompts = tabulate(answers, prompts=response_table.read_facts(path))["04_prompts"]
        assert prompts["text"].tolist() == ["Why 1?", "Why 2?"] and set(prompts["category"]) == {"Whys"}
    both = response_table.read_facts([tmp_path / "text.jsonl"], {})
    answers = answers.assign(prompt=["My own wording?"] * 2 + [None] * 2)
    assert tabulate(answers, prompts=both)["04_prompts"]["text"].tolist() == ["My own wording?", "Why 2?"]
    by_text = answers.drop(columns="prompt_id").assign(prompt=["Why 1?"] * 2 + ["Why 2?"] * 2)
    assert set(tabulate(by_text, prompts=both)["04_prompts"]["category"]) == {"Whys"}


def test_facts_of_which_any_of_two_columns_may_be_the_text_say_which(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("prompt_id,question,instruction\n1,Why?,Be brief.\n")
    with pytest.raises(
        ValueError, match=r"several columns.*\['question', 'instruction'\].*prompt_columns: \{text: que"
    ):
        response_table.read_facts(path)
    assert response_table.read_facts(path, {"text": "instruction"})["text"].tolist() == ["Be brief."]
    path.write_text("question,category\nName a colour.,colours\n")
    prompts = tabulate(some_answers(), prompts=response_table.read_facts(path))["04_prompts"]
    assert prompts.set_index("text")["category"]["Name a colour."] == "colours"


def test_prompts_without_a_text_are_counted_and_said(tmp_path, capsys):
    answers = pd.DataFrame({"prompt_id": [1, 1, 2, 2], "model": ["a", "b"] * 2, "response": list("wxyz")})
    facts = pd.DataFrame({"prompt_id": ["1"], "text": ["Why?"]})
    assert tabulate(answers, prompts=facts)["04_prompts"]["text"].tolist() == ["Why?", "2"]
    assert "WARNING: 1 prompt of 2 without a text, only an id: 2. Texts come from a column `prompt`" in (
        capsys.readouterr().out
    )
    tabulate(some_answers())
    assert not capsys.readouterr().out


@pytest.mark.parametrize("facts_as", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("answers_as", ["csv", "jsonl", "parquet"])
def test_ids_are_the_same_in_every_format_and_beside_a_missing_one(tmp_path, answers_as, facts_as):
    def written(frame, name, suffix):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        return path

    answers = pd.DataFrame({"prompt_id": [1, 2, None, 1], "model": "a", "response": list("wxyz")})
    facts = pd.DataFrame({"prompt_id": [1, 2, 3], "text": ["A?", "B?", "C?"], "parent_id": [None, 1, None]})
    read = response_table.read(written(answers, "r", answers_as))
    tables = tabulate(read, prompts=response_table.read_facts(written(facts, "p", facts_as)))
    assert tables["04_prompts"][["prompt_id", "text"]].to_numpy().tolist() == [["1", "A?"], ["2", "B?"]]
    assert tables["04_prompts"]["parent_id"].tolist()[1] == "1"
    assert tables["04_excluded"]["reason"].tolist() == ["no prompt"]
    assert len(response_table.select(read, prompts=["1"])) == 2


@pytest.mark.parametrize("blank", [None, "", " ", np.nan, pd.NA])
@pytest.mark.parametrize("column", ["prompt", "prompt_id"])
def test_a_blank_prompt_is_none(blank, column):
    answers = pd.DataFrame({column: pd.Series(["p", blank], dtype=object), "model": "a", "response": ["x", "y"]})
    tables = tabulate(answers)
    assert len(tables["04_prompts"]) == 1 and tables["04_excluded"]["reason"].tolist() == ["no prompt"]


def test_registries_fill_what_the_answers_leave_open():
    models = pd.DataFrame(
        {"model": ["a", "z"], "family": ["f", "g"], "size_b": ["7", ""], "model_kind": ["human", "model"]}
    )
    prompts = pd.DataFrame({"text": ["Name a colour."], "category": ["colour"], "open_endedness": ["0.75"]})
    written = tabulate(some_answers(), models=models, prompts=prompts)
    a, b = written["04_models"].to_dict("records")
    assert (a["family"], a["model_kind"], a["size_b"]) == ("f", "human", 7.0)
    assert (b["family"], b["model_kind"]) == ("unknown", "model")
    found = written["04_prompts"].set_index("text").loc["Name a colour."]
    assert (found["category"], found["open_endedness"]) == ("colour", 0.75)


def test_an_id_without_a_text_stands_for_itself():
    written = tabulate(some_answers().drop(columns="prompt").assign(prompt_id="p1", sample_idx=range(8)))
    assert written["04_prompts"][["prompt_id", "text"]].values.tolist() == [["p1", "p1"]]


def test_ideas_compare_within_their_scope():
    frame = some_answers(prompt_id=["p"] * 4 + ["q"] * 4, idea=[0, 1, 0, 1, 0, 0, None, 1], condition="c")
    by_prompt = tabulate(frame)["04_ideas"]
    assert len(by_prompt) == 7
    assert by_prompt["scope"].tolist() == ["p"] * 4 + ["q"] * 3
    by_cell = tabulate(frame, idea_scope=["prompt_id", "model", "condition"])["04_ideas"]
    assert by_cell["scope"].unique().tolist() == ["p | a | c", "p | b | c", "q | a | c", "q | b | c"]
    assert set(by_cell["origin"]) == {"given"}


@pytest.mark.parametrize(
    ("labels", "anew"),
    [
        ({"a": [0, 0, 1], "b": [0, 1, 2]}, True),
        ({"a": ["1", "2", "1"], "b": ["1", "1", "2"]}, True),
        ({"a": [0.0, 1.0, 2.0], "b": [0.0, 0.0, 0.0]}, True),
        ({"a": [0, 0, 1], "b": [1, 2, 0]}, False),  # a second model begins with the first one's second idea
        ({"a": [0, 2, 1], "b": [0, 1, 2]}, False),
        ({"a": [0, 0, 0], "b": [0, 0, 0]}, False),  # nothing tells them apart
        ({"a": ["river", "thief", "river"], "b": ["river", "river", "thief"]}, False),
        ({"a": [0.5, 1.5, 0.5], "b": [0.5, 0.5, 1.5]}, False),
    ],
)
def test_labels_that_start_anew_in_every_cell_compare_within_it(labels, anew):
    rows = [
        {"prompt_id": prompt, "model": model, "response": f"{prompt} {model} {i}", "sample_idx": i, "idea": label}
        for prompt in ("p", "q") for model, given in labels.items() for i, label in enumerate(given)
    ]  # fmt: skip
    made = tabulate(pd.DataFrame(rows).sample(frac=1, random_state=0))
    note = response_table.idea_scope_note(made["04_ideas"], made["04_responses"])
    assert made["04_ideas"]["scope"].nunique() == (4 if anew else 2)
    assert (note is not None) == anew and (not anew or "4 cells" in note)
    asked = tabulate(pd.DataFrame(rows), idea_scope=["prompt_id"])["04_ideas"]
    assert set(asked["scope"]) == {"p", "q"}


def test_few_cells_say_nothing_about_their_labels():
    rows = pd.DataFrame({"prompt_id": "p", "model": ["a", "a", "b"], "response": list("xyz"), "idea": [0, 1, 0]})
    assert set(tabulate(rows)["04_ideas"]["scope"]) == {"p"}


# ----------------------------------------------------------------------------------------------------- property test

values = st.one_of(st.none(), st.just(np.nan), st.text(max_size=4), st.integers(0, 3), st.sampled_from(TRICKY[:-1]))
rows = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["p", "q", "p ", None, ""]),
        "model": st.sampled_from(["a", "b", None, " "]),
        "response": values,
        "sample_idx": st.sampled_from([None, np.nan, "", 0, 1, 2, -1, "1", "2.0", "1.5", "x"]),
        "condition": st.sampled_from(["c", None]),
        "finish_reason": st.sampled_from(["stop", "length", "content_filter", None]),
        "idea": values,
    }
)


def is_null(value):
    return value is None or value != value


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(rows, max_size=12))
def test_every_row_becomes_an_answer_or_an_exclusion(answers):
    certain = {"prompt": "p", "model": "a", "response": "certainly", "sample_idx": 10**6}
    written = tabulate(pd.DataFrame([certain, *answers], dtype=object))
    numbered, unnumbered = {("p", "a", None, 10**6)}, 0
    for row in answers:
        prompt, model, number = (row["prompt"] or "").strip(), (row["model"] or "").strip(), row["sample_idx"]
        if not prompt or not model or is_null(row["response"]) or number in (-1, "1.5", "x"):
            continue
        if is_null(number) or number == "":
            unnumbered += 1
        else:
            numbered.add((prompt, model, row["condition"], int(float(number))))
    assert len(written["04_responses"]) == len(numbered) + unnumbered


def test_facts_join_on_ids_that_are_numbers_here_and_text_there():
    answers = pd.DataFrame({"prompt_id": ["1", "1"], "model": "a", "response": ["x", "y"]})
    facts = pd.DataFrame({"prompt_id": [1.0, 2.0], "prompt_kind": ["closed", "original"]})
    made = response_table.tabulate(answers, prompts=facts)
    assert made["04_prompts"]["prompt_kind"].tolist() == ["closed"]


def test_facts_that_match_nothing_are_refused():
    answers = pd.DataFrame({"prompt_id": ["p"], "model": ["Solo"], "response": ["x"]})
    with pytest.raises(ValueError, match="share no `model` with the responses"):
        response_table.tabulate(answers, models=pd.DataFrame({"model": ["solo"], "size_b": [7]}))


def test_whole_number_ids_keep_their_form_beside_a_missing_one():
    answers = pd.DataFrame({"prompt_id": [7.0, np.nan], "prompt": ["Why?", "How?"], "model": "a", "response": "x"})
    assert "7" in response_table.tabulate(answers)["04_prompts"]["prompt_id"].tolist()


def test_a_prompt_with_a_parent_is_a_paraphrase():
    answers = pd.DataFrame({"prompt_id": ["p", "q"], "parent_id": [None, "p"], "model": "a", "response": "x"})
    assert response_table.tabulate(answers)["04_prompts"].set_index("prompt_id")["prompt_kind"].to_dict() == {
        "p": "original",
        "q": "paraphrase",
    }


# ---------------------------------------------------------------------------------------------------------- reasoning

THOUGHT = "The user wants a metaphor. A river? A thief? A river it is. " * 30
MARKED = {
    "block": f"<think>\n{THOUGHT}\n</think>\n\nTime is a river.",
    "only the closing mark": f"{THOUGHT}</think>Time is a river.",
    "two blocks": f"<think>{THOUGHT}</think>A draft.<think>Better?</think> Time is a river.",
    "thinking": f"<thinking>{THOUGHT}</thinking>Time is a river.",
    "capitals": f"<THINK>{THOUGHT}</THINK>\nTime is a river.",
    "square brackets": f"[THINK]{THOUGHT}[/THINK]Time is a river.",
    "triangles": f"\u25c1think\u25b7{THOUGHT}\u25c1/think\u25b7Time is a river.",
    "channels": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>Time is a "
    "river.<|return|>",
    "thought and solution": f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|>\n\n<|begin_of_solution|>Time is a "
    "river.<|end_of_solution|>",
}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("form", MARKED)
def test_reasoning_is_kept_apart_and_counted(tmp_path, form, suffix):
    rows = [{"prompt": "p", "model": "m", "response": text} for text in (MARKED[form], "Time is a river.")]
    written = tabulate(response_table.read(write(tmp_path, f"a.{suffix}", rows)))
    assert texts(written) == ["Time is a river."] * 2
    assert set(written["04_responses"]["text_id"]) == {ids.text_id("Time is a river.")}
    assert "A river it is." in written["04_responses"]["reasoning"][0]
    assert written["04_responses"]["reasoning"].isna().tolist() == [False, True]
    assert written["04_coverage"]["n_reasoned"].tolist() == [1]
    sentence = response_table.reasoning_apart(written["04_coverage"])
    assert sentence == "1 of 2 responses came with reasoning in marks: it is kept apart and not compared"


@pytest.mark.parametrize("text", [f"<think>{THOUGHT}", f"<think>{THOUGHT}</think>", "</think>", "<think></think>  "])
def test_reasoning_without_a_response_is_an_empty_response(text):
    frame = some_answers()[:2].assign(response=[text, "Time is a river."], outcome="answer")
    written = tabulate(frame)
    assert written["04_coverage"][["n_empty", "n_usable", "n_reasoned"]].values.tolist() == [[1, 1, 1]]
    assert written["04_responses"]["outcome"].tolist() == ["empty", "answer"]


@pytest.mark.parametrize(
    "text", ["I think so.", "Write <think> to begin.", "[reason] none", "<b>think</b>", "  two spaces  ", "think>"]
)
def test_what_is_no_mark_stays(text):
    written = tabulate(some_answers()[:1].assign(response=[text]))
    assert texts(written) == [text] and written["04_coverage"]["n_reasoned"].tolist() == [0]
    assert response_table.reasoning_apart(written["04_coverage"]) == ""


def test_a_refusal_after_reasoning_is_a_refusal():
    text = "<think>I should decline.</think>I'm sorry, but I can't help with that."
    written = tabulate(some_answers()[:1].assign(response=[text], outcome="answer"))
    assert written["04_responses"]["outcome"].tolist() == ["refusal"]

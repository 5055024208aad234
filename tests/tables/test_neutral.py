"""Cells that a spreadsheet would run as formulas: apostrophes in the sheets, and off again when they are read."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.queries import sheets as query_sheets
from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.ratings import sheets as rating_sheets
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import files, reading

RUN = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0", "'=1", "''-x", "＝1", "\n=2",
       "\ufeff=1", "\u200b=1", "\u2060\u200d+1", "\x00=1", "\x1b@x", "\u00ad=1", "\u3164-1", "\u202e=1", "\u00a0=1",
       "\u2800=1", "﹦1", "﹢1", "﹣1", "﹫x", "−1", "'\u200b=1", "\U000e0020=1"]  # fmt: skip
LEFT = ["an oak", "1+1", "", "'tis", "a=b", "😀", "[x]", "\u200ban oak", "\ufeff", "– an oak", "• =", None, 3, 2.5]


@pytest.mark.parametrize("cell", RUN)
def test_a_formula_becomes_text_and_comes_back(cell):
    frame = pd.DataFrame({"text": [cell]})
    sheet = files.neutral(frame)
    assert sheet.loc[0, "text"] == f"'{cell}"
    assert files.natural(sheet).equals(frame)


@pytest.mark.parametrize("cell", LEFT)
def test_other_cells_stay(cell):
    frame = pd.DataFrame({"text": [cell]}, dtype=object)
    for other in (files.neutral(frame), files.natural(frame)):
        assert other["text"].isna().all() if cell is None else other["text"].tolist() == [cell]


@pytest.mark.parametrize("name", RUN)
def test_names_of_columns_are_texts_too(name):
    frame = pd.DataFrame({"text": ["an oak"], name: ["=1"], 3: [1]})
    sheet = files.neutral(frame)
    assert list(sheet) == ["text", f"'{name}", 3] and files.natural(sheet).equals(frame)


def first_characters(path):
    return {str(cell)[:1] for cell in reading.read_file(path).to_numpy().ravel()}


def test_no_sheet_of_the_project_holds_a_formula(tmp_path):
    texts = ["=1+1", "+x", "-y", "@z"]
    items = pd.DataFrame({"query_id": list("abcd"), "query": texts})
    query_sheets.write_sheet(query_sheets.sheet(items, 4, np.random.default_rng(0)), tmp_path / "q.csv", ["open_ended"])
    pool = pd.DataFrame({"prompt": ["=P?"] * 4, "response": texts})
    rating_sheets.write_sheets(rating_sheets.sheets(pool, 4, 2, np.random.default_rng(0)), tmp_path / "r")
    prompts = pd.DataFrame({"prompt_id": list("abcd"), "prompt": texts, "prompt_kind": "original"})
    response_prompts.write_sheet(prompts.reindex(columns=response_prompts.PROMPT_COLUMNS), tmp_path / "p.csv")
    for path in tmp_path.rglob("*.csv"):
        assert not first_characters(path) & set("=+-@"), path.name
    back = response_prompts.read_prompts(tmp_path / "p.csv")
    assert back["prompt"].tolist() == texts and back["prompt_id"].tolist() == list("abcd")
    sheet = tmp_path / "r" / "absolute_000.csv"
    filled = reading.read_file(sheet).assign(label="3", annotator="Ann")
    filled.to_csv(sheet, index=False)
    long = rating_labels.read(sheet)
    assert sorted(long["response_1"]) == sorted(texts) and set(long["prompt"]) == {"=P?"}

"""Conditions on tables are parsed, never evaluated."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.tables import conditions

MODELS = pd.DataFrame(
    {
        "model": list("abcde"),
        "size_b": [7.0, 70.0, np.nan, 1.0, 10.0],
        "main25": [True, False, True, False, True],
        "family": ["Qwen", "Gemma", None, "Qwen", "Llama"],
        "released": ["2024-01-01", "2025-06-01", None, "2023-03-01", "2024-08-06"],
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("main25", "ace"),
        ("not main25", "bd"),
        ("size_b < 10", "ad"),
        ("1 < size_b <= 10", "ae"),
        ("10 > size_b", "ad"),
        ("size_b != 7", "bde"),
        ("family == 'Qwen' and size_b < 5", "d"),
        ("family in ['Qwen', 'Llama']", "ade"),
        ("family not in ('Qwen',)", "be"),
        ("main25 and (family == 'Qwen' or size_b == 10)", "ae"),
        ("main25 & ~(family == 'Qwen')", "ce"),
        ("released >= '2024-01-01'", "abe"),
        ("size_b > -1", "abde"),
        ("main25 == True", "ace"),
    ],
)
def test_rows_that_satisfy_it(condition, expected):
    assert "".join(conditions.select(MODELS, condition)["model"]) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "@tables.os.system('touch {path}') == 0",
        "@pd.io.common.os.system('touch {path}') == 0",
        "__import__('os').system('touch {path}') == 0",
        "model.map(lambda x: open('{path}', 'w')) == 0",
        "[open('{path}', 'w') for x in [1]] == 0",
        "(x := open('{path}', 'w')) == 0",
        "model.str.len() == 1",
        "size_b.abs() < 8",
        'f\'{{open("{path}", "w")}}\' == model',
        "size_b ** 999999999 > 1",
        "'a' * 999999999 == model",
        "main25 if open('{path}', 'w') else main25",
        "model == `model`",
        "@size_b < 3",
    ],
)
def test_nothing_is_evaluated(condition, tmp_path):
    path = tmp_path / "ran"
    with pytest.raises(ValueError, match="is no condition on"):
        conditions.select(MODELS, condition.format(path=path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("sizeb < 3", "did you mean 'size_b'"),
        ("model", "compare it with something"),
        ("size_b <", "invalid syntax"),
        ("size_b < 'x'", "Invalid comparison"),
        ("1 < 2", "must name a column"),
        ("", "invalid syntax"),
        ("family in 'Qwen'", "needs a list"),
        ("size_b is None", "compare"),
        ("(" * 400 + "main25" + ")" * 399, "no condition"),
        ("main25 and " * 200 + "main25", "at most"),
    ],
)
def test_what_is_no_condition_says_why(condition, words):
    with pytest.raises(ValueError, match="condition") as caught:
        conditions.select(MODELS, condition)
    assert words in str(caught.value)

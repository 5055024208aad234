"""Conditions on tables are parsed, never evaluated."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("size_b < " + "9" * 400, "too large a number"),
        ("size_b < -" + "9" * 400, "too large a number"),
        ("size_b in [" + "9" * 400 + "]", "too large a number"),
        ("size_b < 1e999", "too large a number"),
        ("model == {}", "'{}' is no number or text"),
        ("model == {'a': 1}", "is no number or text"),
        ("model == {'a'}", "is a list, and a list goes with `in`"),
        ("model == list('abcde')", "is no number or text"),
        ("model == ['a', 'b', 'c', 'd', 'e']", "is a list, and a list goes with `in`"),
        ("(1, 2) == model", "is a list, and a list goes with `in`"),
        ("model == ...", "'...' is no number or text"),
        ("model == b'a'", "is no number or text"),
        ("size_b < 1j", "is no number or text"),
        ("size_b < 1 + 2j", "is no number or text"),
        ("model == None", "a missing value satisfies no comparison"),
        ("family in ['Qwen', None]", "a missing value satisfies no comparison"),
        ("family in [['Qwen']]", "is a list, and a list goes with `in`"),
        ("family in {'Qwen'}", "needs a list"),
        ("size_b == '7'", "column 'size_b' holds a number, but '7' is text"),
        ("model != 3", "column 'model' holds text, but 3 is a number"),
    ],
)
def test_what_is_no_condition_says_why(condition, words):
    with pytest.raises(ValueError, match="condition") as caught:
        conditions.select(MODELS, condition)
    assert words in str(caught.value)


ATOMS = st.one_of(
    st.sampled_from(["model", "size_b", "main25", "released", "odd", "nothing", "None", "True", "...", "x", "'a'", "7",
                     "{}", "{'a'}", "b'a'", "1j", "1e999", "9" * 400, "-1", "''", "[]", "()", "lambda: 1", "f'{model}'",
                     "*model", "model.str", "model[0]", "model()"]),
    st.integers().map(repr), st.floats().map(repr), st.text(max_size=4).map(repr),
)  # fmt: skip
JOINED = st.sampled_from(["{} == {}", "{} != {}", "{} < {}", "{} >= {}", "{} in [{}]", "{} in {}", "{} not in ({},)",
                          "{} is {}", "{} and {}", "{} or ({})", "{} & {}", "{} + {}", "not {} < {}", "~({}) | {}",
                          "{} if {} else 1", "[{}, {}]", "({}, {})", "{} ** {}", "({}) == ({}) == 1"])  # fmt: skip
CONDITIONS = st.recursive(
    ATOMS, lambda inner: st.builds(lambda form, a, b: form.format(a, b), JOINED, inner, inner), max_leaves=4
)
ODD = MODELS.assign(
    odd=[1, "x", None, 2.5, True], nothing=None, big=2**62, day=pd.to_datetime(["2024-01-01"] * 5),
    truth=pd.array([True, None, False, True, None], dtype="boolean"),
)  # fmt: skip


@given(st.one_of(CONDITIONS, st.text(max_size=30)))
@settings(max_examples=300, deadline=None, derandomize=True)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_whatever_is_written_gives_rows_or_a_sentence(condition):
    try:
        rows = conditions.select(ODD, condition)
    except ValueError as error:
        assert "condition" in str(error)
    else:
        assert set(rows["model"]) <= set("abcde")

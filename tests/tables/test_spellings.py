"""What programs write for a list or an object is known as such, whatever spelled it."""

import numpy as np
import pytest

from hivemind_utils.tables import spellings

LISTS = [
    ["Elm", "Fir"],
    ["it's", 'a "b"', "c"],
    ["An oak. It is old."] * 30,
    ["a, b", "[c]"],
    ["back\\slash", "line\nend"],
]


@pytest.mark.parametrize("texts", LISTS)
def test_every_spelling_of_a_list_is_that_list(texts):
    assert spellings.parsed(str(np.array(texts, dtype=object))) == texts
    assert spellings.parsed(str(np.array(texts))) == texts
    assert spellings.parsed(str(texts)) == texts
    assert list(spellings.parsed(str(tuple(texts)))) == texts


def test_numbers_of_numpy_are_numbers():
    assert spellings.parsed(str(np.array([0, 1, 12]))) == [0, 1, 12]
    assert spellings.parsed(str(np.array([0.5, np.nan, 1e-9]))) == [0.5, None, 1e-9]


MIXED = [
    "['a' 'b', 'c']",
    "['a', 'b' 'c']",
    "[['a' 'b']\n ['c' 'd']]",
    "[array(['a', 'b'], dtype=object)]",
    "('a' 'b', 'c')",
]


@pytest.mark.parametrize("text", MIXED)
def test_strings_that_python_would_join_are_no_list(text):
    assert spellings.parsed(text) is None


PRINTED = [
    *MIXED[:4],
    "ChatCompletionMessage(content='Oak', refusal=None, role='assistant')",
    "AIMessage(content='Oak (a tree)', additional_kwargs={})",
    "content='Oak' additional_kwargs={} response_metadata={}",
    "[TextBlock(citations=None, text='Oak', type='text')]",
    "array(['Oak'], dtype=object)",
    "<openai.types.Message object at 0x7f00aa>",
    "{'Oak', 'Elm'}",
]


@pytest.mark.parametrize("text", PRINTED)
def test_what_cannot_be_read_back_stands_for_itself(text):
    assert spellings.written_out(text) == text


@pytest.mark.parametrize(
    "text",
    ["(3, 4)", "{1, 2}", "[1 2]", "print('Oak')", "Dog(name='Rex')", "('Oak')", "<b>Oak</b>", "b'Oak",
     "O(n) is content=", '["Oak"]', '{"tree": "Oak"}', "[Oak (a tree)]", "['it's']", "content='x'", ""],
)  # fmt: skip
def test_what_somebody_may_have_said_is_not_written_out(text):
    assert spellings.written_out(text) is None


@pytest.mark.parametrize(
    "text",
    ["[" + "1" * 100_000 + "x]", "['a' " + "1" * 100_000 + "x]", "array([" + "]" * 100_000, "['" * 50_000 + "x]",
     "Message(content=" + "text=" * 20_000],
)  # fmt: skip
def test_no_text_takes_long(text):
    assert spellings.parsed(text) is None and spellings.written_out(text) is None

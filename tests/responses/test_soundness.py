"""Answers that are hardly answers: told apart, counted, warned of."""

import pandas as pd
import pytest

from hivemind_utils.responses import soundness


def answers(*rows):
    return pd.DataFrame(rows, columns=["prompt_id", "model", "decoding", "text", "finish_reason"])


def literal(text):
    """Slow: every stretch, at every place, compared word by word."""
    words = text.casefold().split()
    for period in range(1, soundness.MOST_PERIOD + 1):
        for start in range(len(words)):
            n = 0
            while start + period + n < len(words) and words[start + n] == words[start + period + n]:
                n += 1
            if n >= max(soundness.LEAST_REPEATS * period, soundness.LEAST_WORDS - period):
                return True
    return False


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", False),
        ("one", False),
        ("Time is a river that flows, and time is a thief that steals.", False),
        ("no no no no no", False),  # short: said with emphasis
        ("no " * 14, True),
        ("It began well. " + "and then he ran and ran " * 4, True),
        ("a b c d e f g h i j k l " * 3, False),
        ("a b c d e f g h i j k l " * 4, True),
        ("tick tock " * 8 + "and it stopped", True),
    ],
)
def test_loops_are_told_from_emphasis(text, expected):
    assert soundness.loops(text) == literal(text) == expected


def test_flags_say_what_is_wrong():
    found = soundness.flags(
        answers(
            ("p", "m", "d", "fine", "stop"),
            ("p", "m", "d", "cut", "length"),
            ("p", "m", "d", "  ", "stop"),
            ("p", "m", "d", "la " * 20, None),
            ("p", "m", "d", "hello<|im_end|>", "stop"),
            ("p", "m", "d", "2 < 3 and [INSTALL] it", "stop"),
        )
    )
    assert found.to_numpy(int).tolist() == [
        [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0],
    ]  # fmt: skip


def test_rates_are_shares_of_an_arm_and_do_not_depend_on_order():
    frame = answers(
        ("p", "a", "d", "x", "stop"), ("p", "a", "d", "x", "length"), ("q", "a", "d", "", "stop"),
        ("q", "b", "d", "y", "stop"),
    )  # fmt: skip
    first, second = soundness.rates(frame).to_dict("records")
    assert (first["n_responses"], first["cut"], first["empty"], first["sound"]) == (3, 1 / 3, 1 / 3, 1 / 3)
    assert first["distinct"] == 2 / 3 and second["sound"] == 1
    pd.testing.assert_frame_equal(soundness.rates(frame), soundness.rates(frame.iloc[::-1]))
    assert soundness.sound(frame)["text"].tolist() == ["x", "y"]


def test_warnings_name_the_arm_and_the_cause():
    cut = answers(*[("p", "a", "d", f"text {i}", "length") for i in range(3)])
    assert soundness.warnings(cut) == ["a · d: every response is cut off by max_tokens: raise it"]
    same = answers(*[(p, "a", "d", f"always {p}", "stop") for p in "pq" for _ in range(3)])
    assert "identical, for every prompt" in soundness.warnings(same)[0]
    marked = answers(("p", "a", "d", "hi <|im_start|>", "stop"), ("p", "a", "d", "ho", "stop"))
    assert soundness.warnings(marked) == [
        "a · d: 50.0% of responses hold markers of a chat template: check the template"
    ]
    fine = answers(*[("p", "a", "d", f"text {i}", "stop") for i in range(3)])
    assert soundness.warnings(fine) == []

"""Responses that are hardly responses: told apart, counted, warned of."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_responses import responses_of

from hivemind_utils.responses import repetition, soundness, table


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


def coverage(*rows):
    """Table 04_coverage of rows as `answers` takes them, with a condition where a sixth value names one."""
    columns = ["prompt", "model", "decoding", "response", "finish_reason", "condition"]
    frame = pd.DataFrame([[*row, "default"][:6] for row in rows], columns=columns)
    return table.tabulate(frame)["04_coverage"]


def test_warnings_name_the_arm_and_the_cause():
    cut = coverage(*[("p", "a", "d", f"text {i}", "length") for i in range(3)])
    assert soundness.warnings(cut) == ["a · d: every response is cut off by max_tokens: raise it"]
    same = coverage(*[(p, "a", "d", f"always {p}", "stop") for p in "pq" for _ in range(3)])
    assert "identical, for every prompt" in soundness.warnings(same)[0]
    marked = coverage(("p", "a", "d", "hi <|im_start|>", "stop"), ("p", "a", "d", "ho", "stop"))
    assert soundness.warnings(marked) == [
        "a · d: 50.0 % of responses hold markers of a chat template: check the template"
    ]
    fine = coverage(*[("p", "a", "d", f"text {i}", "stop") for i in range(3)])
    assert soundness.warnings(fine) == []


def test_a_warning_is_of_shares_over_all_prompts_of_an_arm_whatever_their_order():
    rows = [("p", "a", "d", "x", "stop"), ("p", "a", "d", "w", "length"), ("q", "a", "d", "", "stop"),
            ("q", "b", "d", "y", "stop")]  # fmt: skip
    said = soundness.warnings(coverage(*rows))
    assert said == ["a · d: 33 % of responses are cut off by max_tokens", "a · d: 33 % of responses are empty"]
    assert soundness.warnings(coverage(*rows[::-1])) == said
    one_differs = [(p, "a", "d", f"always {p}", "stop") for p in "pq" for _ in range(3)]
    assert soundness.warnings(coverage(*one_differs, ("q", "a", "d", "z", "stop"))) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(0, 30), st.integers(1, 24), st.integers(0, 5))
def test_the_short_cut_never_misses_a_loop(words, n_before, period, n_repeats):
    stretch = [f"w{i}" for i in range(period)]
    text = " ".join([f"b{i}" for i in range(n_before)] + stretch * n_repeats + words)
    assert soundness.loops(text) == literal(text)


def shares(**columns):
    frame = pd.DataFrame({"model": ["a", "b"], "condition": "default", "decoding": "top_p"})
    return frame.assign(**{name: columns.get(name, 0.0) for name in ("truncated", "empty", "looping", "marked")})


def test_captions_say_what_is_frequent_and_nothing_else():
    assert soundness.note(shares()) == {} == soundness.note(shares(truncated=[0.19, 0.0]))
    found = soundness.note(shares(truncated=[0.2, 0.61], looping=[0.0, 0.25]))["soundness_note"]
    assert "cut off by max_tokens: up to 61 % of responses, often in 2 of 2 arms" in found
    assert "repeating themselves: up to 25 % of responses, often in 1 of 2 arms" in found


def test_many_warnings_are_the_first_and_a_count():
    rows = [(p, m, "d", f"{m} {p}", "length") for m in "abcdef" for p in "pq"]
    told = soundness.told(coverage(*rows))
    assert len(told) == 5 and told[0].startswith("a · d: every response") and told[-1].startswith("2 more warnings")
    two = coverage(("p", "a", "d", "a p", "length", "x"), ("p", "a", "d", "a q", "length", "y"))
    assert soundness.told(two)[0].startswith("a · x · d: every")


@pytest.fixture
def four_prompts():
    """One model; of six responses to each prompt two are cut off, and these two are the same."""
    rng, rows, vectors = np.random.default_rng(0), [], []
    for prompt in "pqrs":
        common = rng.normal(size=5)
        for i in range(6):
            reason = "length" if i < 2 else "stop"
            rows.append((prompt, "m", "default", "top_p", f"{prompt}{i}", f"said {prompt} {max(i, 1)}", reason))
            vectors.append(common if i < 2 else rng.normal(size=5))
    columns = ["prompt_id", "model", "condition", "decoding", "response_id", "text", "finish_reason"]
    return responses_of(pd.DataFrame(rows, columns=columns), vectors)


def test_repetition_with_and_without_is_that_of_the_two_groups(four_prompts):
    cells = repetition.cell_means(four_prompts, four_prompts.vectors)
    table = four_prompts.table
    for prompt, rows in table.groupby("prompt_id").indices.items():
        sound = [i for i in rows if table["finish_reason"][i] == "stop"]
        cell = cells.loc[prompt, "m", "default", "top_p"]
        assert cell["n_sound"] == 4 and cell["n"] == 6
        assert cell["mean_cosine_sound"] == pytest.approx(slow_mean(four_prompts.vectors[sound]))
        assert cell["mean_cosine"] == pytest.approx(slow_mean(four_prompts.vectors[rows]))
    coverage = pd.DataFrame(
        {"prompt_id": list("pqrs"), "model": "m", "condition": "default", "decoding": "top_p", "n_responses": 6,
         "n_truncated": 2, "n_empty": 0, "n_looping": 0, "n_marked": 0, "n_repeated": 1}
    )  # fmt: skip
    found = soundness.beside(cells.reset_index(), coverage, four_prompts)
    row = found.iloc[0]
    assert (row["n_responses"], row["n_sound"], row["n_prompts"]) == (24, 16, 4)
    assert row["cut"] == pytest.approx(1 / 3) and row["repeated"] == pytest.approx(1 / 6) and row["looping"] == 0
    assert row["difference"] == pytest.approx(row["without"] - row["with_all"])
    assert row["lower"] < row["difference"] < row["upper"]
    said = soundness.says(found)
    assert said.startswith("33 % of responses compared are unsound (33 % cut off by max_tokens, 17 % repeated word for")
    assert "mean similarity changes most for m (top_p): from" in said


def slow_mean(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.mean([unit[i] @ unit[k] for i in range(len(unit)) for k in range(i)])


def test_where_all_is_sound_nothing_changes_and_that_is_said(four_prompts):
    table = four_prompts.table.assign(finish_reason=None)
    fine = responses_of(table, four_prompts.vectors)
    cells = repetition.cell_means(fine, fine.vectors)
    assert (cells["mean_cosine_sound"] == cells["mean_cosine"]).all() and (cells["n_sound"] == 6).all()
    without = responses_of(table.drop(columns="finish_reason"), four_prompts.vectors)
    assert (repetition.cell_means(without, without.vectors)["n_sound"] == 6).all()


def test_a_cell_without_two_sound_responses_has_no_mean_of_them(four_prompts):
    cut = four_prompts.table.assign(finish_reason=["length"] * 5 + ["stop"] * 19)
    some = responses_of(cut, four_prompts.vectors)
    cells = repetition.cell_means(some, some.vectors)
    assert cells["mean_cosine_sound"].isna().tolist() == [True, False, False, False]
    assert cells["n_sound"].tolist() == [1, 6, 6, 6]

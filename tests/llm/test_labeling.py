import json
from typing import Literal

import pandas as pd
import pydantic
import pytest

from hivemind_utils.demo import provider
from hivemind_utils.llm import labeling


class Mood(pydantic.BaseModel):
    mood: Literal["calm", "stormy"]
    score: int = pydantic.Field(ge=1, le=5)


INSTRUCTIONS = "What is the mood of this line? Answer with JSON.\n\n$line"


def fit(**changes):
    return json.dumps({"mood": "calm", "score": 3} | changes)


class TestParse:
    @pytest.mark.parametrize(
        "text",
        [
            fit(),
            f"```json\n{fit()}\n```",
            f"Sure! Here it is: {fit()} Hope this helps {{smile}}.",
            f'{{"other": 1}} and then {fit()}',
            json.dumps({"mood": "calm", "score": 3}, indent=2),
        ],
    )
    def test_finds_the_object_that_fits(self, text):
        assert labeling.parse(text, Mood) == ({"mood": "calm", "score": 3}, None)

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("", "no JSON"),
            ("calm", "no JSON"),
            ("{" * 10_000, "no JSON"),
            (fit()[:-2], "no JSON"),
            (fit(mood="merry"), "mood"),
            (fit(score=6), "score"),
            (json.dumps({"mood": "calm"}), "score"),
        ],
    )
    def test_says_what_does_not_fit(self, text, hint):
        value, error = labeling.parse(text, Mood)
        assert value is None and hint in error


@pytest.fixture
def asked():
    """Count the calls to every simulated labeller, and keep what was asked."""
    calls = []

    def serve(name, answer):
        def respond(messages, *, n, seed, parameters):
            calls.append((messages, seed, parameters))
            return [provider.Answer(answer(messages, seed)) for _ in range(n)]

        provider.serve(name, respond)
        return f"simulated/{name}"

    serve.calls = calls
    return serve


def items(*lines):
    return pd.DataFrame({"item_id": [f"i{k}" for k in range(len(lines))], "line": lines})


def test_every_item_gets_its_label_once_and_is_not_asked_again(asked, tmp_path):
    model = asked("labeller-1", lambda messages, seed: fit(score=len(messages[-1]["content"]) % 5 + 1))
    frame = items("a quiet sea", "costs $5", "a quiet sea")
    for _ in range(2):
        labels = labeling.label(frame, INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", progress=False)
        assert labels.table["item_id"].tolist() == ["i0", "i1", "i2"] and labels.failures.empty and labels.missing.empty
        assert (
            labels.table["value"][0]
            == labels.table["value"][2]
            == {"mood": "calm", "score": labels.table["value"][0]["score"]}
        )
        assert len(asked.calls) == 2  # two different lines
    assert "costs $5" in asked.calls[0][0][-1]["content"] + asked.calls[1][0][-1]["content"]


def test_votes_are_separate_calls_with_separate_seeds(asked, tmp_path):
    model = asked("labeller-2", lambda messages, seed: fit(score=seed % 5 + 1))
    labels = labeling.label(
        items("sea"), INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", votes=3, progress=False
    )
    assert labels.table["vote"].tolist() == [0, 1, 2] and len({seed for _, seed, _ in asked.calls}) == 3
    more = labeling.label(
        items("sea"), INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", votes=5, progress=False
    )
    assert len(asked.calls) == 5 and more.table["raw"].tolist()[:3] == labels.table["raw"].tolist()


def test_a_bad_answer_is_shown_its_error_and_repaired(asked, tmp_path):
    def clumsy(messages, seed):
        return fit() if len(messages) == 5 else fit(mood="merry")

    model = asked("labeller-3", clumsy)
    labels = labeling.label(items("sea"), INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", progress=False)
    assert labels.table["n_repairs"].tolist() == [2]
    last = asked.calls[-1][0]
    assert [m["role"] for m in last] == ["user", "assistant", "user", "assistant", "user"]
    assert "mood" in last[2]["content"] and last[1]["content"] == fit(mood="merry")


def test_what_never_fits_is_a_failure_with_its_raw_answer(asked, tmp_path):
    model = asked("labeller-4", lambda messages, seed: "no idea" if "sea" in messages[0]["content"] else fit())
    labels = labeling.label(
        items("sea", "hill"), INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", progress=False
    )
    assert labels.failures[["item_id", "raw"]].values.tolist() == [["i0", "no idea"]]
    assert "JSON" in labels.failures["reason"][0] and labels.table["item_id"].tolist() == ["i1"]
    assert len(asked.calls) == 4  # the bad one three times
    assert labels.summary() == "1 labels, 1 failures, 0 not answered"


def test_without_a_budget_a_paid_model_is_not_asked(tmp_path):
    labels = labeling.label(
        items("sea"), INSTRUCTIONS, Mood, "openai/gpt-4o", store_path=tmp_path / "s.sqlite", progress=False
    )
    assert labels.table.empty and labels.missing["item_id"].tolist() == ["i0"]
    assert "budget" in labels.missing["reason"][0]


@pytest.mark.parametrize(
    ("frame", "instructions", "message"),
    [
        (items("sea").drop(columns="line"), INSTRUCTIONS, "lacks \\['line'\\]"),
        (items("sea"), "Costs $5: $line", "stray"),
        (items("sea"), "Say something.", "placeholder"),
        (items("sea", "hill").assign(item_id="same"), INSTRUCTIONS, "repeated"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(frame, instructions, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        labeling.label(frame, instructions, Mood, "simulated/nobody", store_path=tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="votes"):
        labeling.label(items("sea"), INSTRUCTIONS, Mood, "simulated/nobody", store_path=tmp_path / "s", votes=0)

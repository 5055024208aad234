import json
from typing import ClassVar, Literal

import pandas as pd
import pydantic
import pytest
from server import Fault, serving

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


class Repeated(pydantic.BaseModel):
    ECHO: ClassVar[dict] = {"said": "line"}

    said: str
    mood: Literal["calm", "stormy"]


class TestEcho:
    @pytest.mark.parametrize(
        "said, asked, same",
        [
            ("A calm sea", "a  calm\nsea", True),
            ("“A calm sea”", "A calm sea", True),
            ("Tell me everything about the sea...", "Tell me everything about the sea and all its fish", True),
            ("A calm see", "A calm sea", True),  # a slip
            ("What is 2 + 2?", "A calm sea", False),
            ("", "A calm sea", False),
            ("A", "A calm sea", False),
        ],
    )
    def test_is_told_from_another_text(self, said, asked, same):
        assert labeling.repeats(said, asked) == same

    def test_a_label_of_another_text_is_repaired_or_a_failure(self, asked, tmp_path):
        def answer(messages, seed):
            about = "a calm sea" if len(messages) > 1 and "sea" in messages[0]["content"] else "an example"
            return json.dumps({"said": about, "mood": "calm"})

        model = asked("echo", answer)
        labels = labeling.label(
            items("A calm sea", "A wild night"), INSTRUCTIONS, Repeated, model, store_path=tmp_path / "s.sqlite",
            max_repairs=1, progress=False,
        )  # fmt: skip
        assert labels.table["item_id"].tolist() == ["i0"] and labels.table["n_repairs"].tolist() == [1]
        assert labels.failures["reason"].tolist() == [
            "`said`: it must repeat the message that was to be judged, but says something else."
        ]


class TestForm:
    def ask(self, server, tmp_path, **options):
        return labeling.label(
            items("A calm sea"), INSTRUCTIONS, Mood, "hosted_vllm/m", store_path=tmp_path / "s.sqlite",
            api_base=server.url, budget_usd=1, progress=False, **options,
        )  # fmt: skip

    def test_a_server_gets_the_schema_and_no_price_is_needed(self, tmp_path):
        with serving() as server:
            server.answer = lambda body, number: [fit()]
            assert len(self.ask(server, tmp_path).table) == 1
        (body,) = server.bodies()
        sent = body["response_format"]["json_schema"]
        assert sent["name"] == "Mood" and sent["schema"]["required"] == ["mood", "score"]

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(400, "This model's maximum context length is 512 tokens", code="context_length_exceeded"),
            Fault(400, "invalid character in messages"),
            Fault(413, "payload too large"),
            Fault(422, "roles must alternate"),
        ],
    )
    def test_a_repair_that_is_refused_costs_that_item_alone(self, fault, tmp_path):
        lines = ["A calm sea", "odd", "A wild night", "slow"]
        with serving() as server:
            server.fault = lambda body, number: fault if "odd" in str(body) and len(body["messages"]) > 1 else None
            server.answer = lambda body, number: [
                "no idea" if "odd" in str(body) or ("slow" in str(body) and len(body["messages"]) == 1) else fit()
            ]
            for _ in range(2):
                labels = labeling.label(
                    items(*lines), INSTRUCTIONS, Mood, "hosted_vllm/m", store_path=tmp_path / "s.sqlite",
                    api_base=server.url, budget_usd=1, progress=False,
                )  # fmt: skip
                assert labels.table["item_id"].tolist() == ["i0", "i2", "i3"] and labels.failures.empty
                assert labels.table["n_repairs"].tolist() == [0, 0, 1]
                assert labels.missing["item_id"].tolist() == ["i1"] and fault.message in labels.missing["reason"][0]
        first = [body for body in server.bodies() if len(body["messages"]) == 1]
        assert len(first) == len(lines)  # a rerun asks nothing again but what was refused

    def test_one_that_takes_no_schema_is_asked_without(self, tmp_path):
        with serving() as server:
            server.fault = lambda body, number: (
                Fault(400, "response_format is not supported") if "response_format" in body else None
            )
            server.answer = lambda body, number: [fit()]
            assert len(self.ask(server, tmp_path).table) == 1
        assert ["response_format" in body for body in server.bodies()] == [True, False]

    @pytest.mark.local_model
    def test_a_small_real_model_gets_the_form_right_with_it(self, tmp_path):
        model = "gguf:smollm2?slots=4&context=512&servers=1"
        lines = [f"The {sea} lies {still}" for sea in ("sea", "lake", "pond") for still in ("still", "dark")]
        labels = labeling.label(
            items(*lines), INSTRUCTIONS, Mood, model, store_path=tmp_path / "s.sqlite", parameters={"max_tokens": 64},
            progress=False,
        )  # fmt: skip
        assert len(labels.table) == len(lines)

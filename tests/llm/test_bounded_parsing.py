"""Objects in answers: the one that fits, after what was thought, in a time that grows with the text only."""

import json
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from server import Fault, serving

from hivemind_utils.llm import labeling, providers
from hivemind_utils.ratings import judges
from hivemind_utils.responses import embeddings, encoders


def grade(score, name="overall"):
    return json.dumps({name: {"score": score}})


@pytest.mark.parametrize(
    "text",
    [
        f"Draft {grade(2)} … </think>{grade(5)}",
        f"<think>{grade(2)}</think> no, {grade(3)}</think>{grade(5)}",
        f"First {grade(5)}, and once more {grade(5)}",
        f"<THINKING>{grade(1)}</THINKING>{grade(5)} {{that is all}}",
        f"{grade(5)} and {{\"other\": 1}}",
    ],
)  # fmt: skip
def test_what_fits_after_the_draft_counts(text):
    value, error = labeling.parse(text, judges.schema(("overall",)))
    assert error is None and value["overall"]["score"] == 5


@pytest.mark.parametrize("text", [f"{grade(2)}</think>", f"{grade(2)}</think> I cannot say.", grade(9), "{}"])
def test_a_draft_alone_is_no_answer(text):
    assert labeling.parse(text, judges.schema(("overall",)))[0] is None


MARKS = [
    ("<think>", "</think>"), ("<Thinking>", "</Thinking>"), ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"), ("\u25c1think\u25b7", "\u25c1/think\u25b7"), ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]  # fmt: skip


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark[0])
@pytest.mark.parametrize("draft", [grade(2), "[RESULT] 2"])
def test_whatever_the_marks_a_draft_is_no_answer(mark, draft):
    opens, closes = mark
    last = "[RESULT] 4" if "RESULT" in draft else grade(4)

    def read(text):
        value = labeling.parse(text, judges.schema(("overall",)))[0]
        found = judges.prometheus_grade(text)
        return (value and value["overall"]["score"]) or (None if np.isnan(found) else found)

    unclosed = f"{opens}maybe {draft} no, rather", f"Well. {opens}maybe {draft}", f"{draft} {opens}or {last}"
    for no_answer in (*unclosed, f"{opens}{draft}{closes} I cannot grade.", f"{opens}{draft}{closes}{opens}{last}"):
        assert read(no_answer) is None, no_answer
    assert read(f"{opens}maybe {draft}{closes}{last}") == read(f"{draft}{closes}{last}") == 4


@pytest.mark.parametrize(
    "text",
    [f"{grade(5)} For example {grade(1)} would be wrong.", f"First {grade(2)}, or rather {grade(5)}",
     f"<think>{grade(3)}</think>{grade(1)} {grade(2)}", f"{grade(2)}\n{grade(2)}\n{grade(3)}"],
)  # fmt: skip
def test_objects_that_differ_are_no_answer(text):
    value, error = labeling.parse(text, judges.schema(("overall",)))
    assert value is None and "exactly one" in error


@pytest.mark.parametrize("mark", [mark for marks in MARKS for mark in marks])
def test_a_mark_that_a_reason_quotes_is_none(mark):
    text = json.dumps({"overall": {"score": 4, "reason": f"It shows {mark}."}}, ensure_ascii=False)
    assert labeling.parse(text, judges.schema(("overall",)))[0]["overall"]["score"] == 4


@pytest.mark.parametrize("score", [True, False, 2.5, None, "five", [3]])
def test_what_is_no_whole_number_is_no_score(score):
    assert labeling.parse(grade(score), judges.schema(("overall",)))[0] is None
    pair = labeling.parse(grade(score, "preference"), judges.schema(("preference",), judges.PAIR_SCALE))
    assert pair[0] is None


@pytest.mark.parametrize("unit", ["{", "}", '{"a":', '{"a":[', "{}", '{"', '{"a":"', '{"a":{"b":[1,', "[", "{ ", '{"}'])
def test_time_grows_with_the_text_only(unit):
    text = unit * (200_000 // len(unit)) + grade(4)
    started = time.process_time()
    value, _ = labeling.parse(text, judges.schema(("overall",)))
    assert time.process_time() - started < 3
    assert value is None or value["overall"]["score"] == 4


@pytest.mark.parametrize(
    ("text", "right"),
    [("x [RESULT] 2 </think> y [RESULT] 5", 5), ("[RESULT] 4.5", None), ("[RESULT] (3)", 3), ("[RESULT] 45", None)],
)
def test_prometheus_too(text, right):
    found = judges.prometheus_grade(text)
    assert found == right if right else np.isnan(found)


class TestEncoder:
    @pytest.fixture(autouse=True)
    def quick_retries(self, monkeypatch):
        monkeypatch.setattr(providers.random, "uniform", lambda low, high: low / 50)

    @pytest.mark.parametrize("most", [1, 10, 96, 100])
    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_provider_that_takes_fewer_texts_a_call(self, most, status):
        with serving() as server:
            server.fault = lambda body, number: Fault(status, "too many") if len(body["input"]) > most else None
            encoder = encoders.load_encoder("litellm:openai/any", api_base=server.url)
            vectors = encoder.encode(["a" * (i + 1) for i in range(130)])
            assert vectors[:, 0].tolist() == [i + 1 for i in range(130)]

    def test_one_text_that_is_too_long_is_cut_alone(self):
        said = "This model's maximum context length is 8192 tokens"
        with serving() as server:
            server.fault = lambda body, number: Fault(400, said) if max(map(len, body["input"])) > 100 else None
            encoder = encoders.load_encoder("litellm:openai/any", api_base=server.url)
            with pytest.warns(encoders.CutText):
                vectors = encoder.encode(["ab"] * 9 + ["c" * 300] + ["def"] * 9)
            assert vectors[:, 0].tolist() == [2] * 9 + [75] + [3] * 9

    def test_texts_that_were_cut_are_counted_in_the_cache_and_after_further_texts(self, tmp_path):
        said = "This model's maximum context length is 8192 tokens"
        with serving() as server:
            server.fault = lambda body, number: Fault(400, said) if max(map(len, body["input"])) > 100 else None
            encoder = encoders.load_encoder("litellm:openai/any", api_base=server.url)
            with pytest.warns(encoders.CutText):
                embeddings.embed(["ab", "c" * 300, "\ud800" * 101], encoder, tmp_path, may_pay=True, progress=False)
            assert embeddings.cache(encoder, tmp_path).n_cut == 2
            embeddings.embed(["ab", "c" * 300, "def"], encoder, tmp_path, may_pay=True, progress=False)
            assert embeddings.cache(encoder, tmp_path).n_cut == 2
            path = embeddings.files(encoder.name, tmp_path)[1]
            held = pd.read_parquet(path).set_index("n_chars")["n_encoded"]
            assert held.to_dict() == {2: 2, 300: 75, 3: 3, 101: 50}
            old = pq.read_table(path)  # as an earlier version wrote it: nothing is known to be cut
            pq.write_table(old.drop_columns("n_encoded"), path)
            assert embeddings.cache(encoder, tmp_path).n_cut == 0
            embeddings.embed(["ab", "ghij"], encoder, tmp_path, may_pay=True, progress=False)
            assert embeddings.cache(encoder, tmp_path).n_cut == 0

    @pytest.mark.parametrize("wait", ["nan", "-5", "1e300", "inf"])
    def test_a_malformed_wait_is_none(self, wait):
        with serving() as server:
            server.fault = lambda body, number: Fault(429, headers={"Retry-After": wait}) if number == 0 else None
            assert len(encoders.load_encoder("litellm:openai/any", api_base=server.url).encode(["a"])) == 1

    @pytest.mark.parametrize(
        "rest", ["v1?key=abc", "v1#abc", "sk-abcdef123456/v1", "8f14e45fceea167a5a36dedd4bea2543/v1"]
    )
    def test_an_address_with_a_key_is_refused_without_repeating_it(self, rest):
        with pytest.raises(ValueError, match="may not be used") as caught:
            encoders.load_encoder("litellm:openai/any", api_base=f"http://127.0.0.1:1/{rest}")
        assert rest.split("/")[0] not in str(caught.value)

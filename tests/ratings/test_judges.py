"""Judges: grades validated and repaired, distributions from draws and token probabilities, order swap, Prometheus."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from server import serving

from hivemind_utils.demo import provider
from hivemind_utils.llm import labeling
from hivemind_utils.ratings import judges, scorers, scores

INSTRUCTIONS = Path(__file__).resolve().parents[2] / "data" / "reference" / "instructions"
TEXT = {name: labeling.read_instructions(INSTRUCTIONS / f"judge_{name}.txt") for name in
        ("overall", "hhh", "pair", "prometheus")}  # fmt: skip


@pytest.fixture
def responses():
    return pd.DataFrame(
        {"response_id": ["r1", "r2"], "prompt_id": "p", "prompt": "Say hi", "response": ["hi $5", "no"]}
    )


@pytest.fixture
def server():
    with serving() as running:
        yield running


def serve(name, answer):
    """A judge that answers with what `answer(text of the request, draw)` returns; returns the list of requests."""
    asked = []

    def responder(messages, *, n, seed, parameters):
        asked.append(messages)
        return [provider.Answer(answer(messages[0]["content"], len(asked))) for _ in range(n)]

    provider.serve(name, responder)
    return asked


def grades(**scores_):
    return json.dumps({name: {"score": score, "reason": "r"} for name, score in scores_.items()})


class TestSchema:
    @pytest.mark.parametrize("score", [0, 6, 2.5, None, "high"])
    def test_a_grade_outside_the_scale_is_refused(self, score):
        with pytest.raises(ValidationError):
            judges.schema(("overall",)).model_validate({"overall": {"score": score}})

    def test_every_criterion_is_needed_and_a_reason_is_not(self):
        schema = judges.schema(("helpfulness", "honesty"))
        assert schema.model_validate({"helpfulness": {"score": 1}, "honesty": {"score": 5}})
        with pytest.raises(ValidationError):
            schema.model_validate({"helpfulness": {"score": 1}})


class TestJudge:
    def test_hhh_is_the_mean_of_three_and_the_response_reaches_the_judge(self, responses, tmp_path):
        asked = serve(
            "mean-judge", lambda text, _: grades(helpfulness=5, harmlessness=4, honesty=3 if "$5" in text else 1)
        )
        found, labels = judges.judge_responses(
            responses, "simulated/mean-judge", "hhh", TEXT["hhh"], store_path=tmp_path / "s.sqlite", progress=False
        )
        assert found.set_index("response")["score"].to_dict() == {"hi $5": 4, "no": pytest.approx(10 / 3)}
        assert (
            labels.failures.empty
            and "<response>\nhi $5\n</response>" in asked[0][0]["content"] + asked[1][0]["content"]
        )

    def test_an_answer_out_of_range_is_repaired_once_and_counted_if_it_stays(self, responses, tmp_path):
        def answer(text, _):
            return grades(overall=9 if "<response>\nno" in text else 4)

        asked = serve("stubborn-judge", answer)
        found, labels = judges.judge_responses(
            responses, "simulated/stubborn-judge", "overall", TEXT["overall"],
            store_path=tmp_path / "s.sqlite", progress=False,
        )  # fmt: skip
        excluded = scorers.unlabelled(labels, "stubborn-judge")
        assert found["response"].tolist() == ["hi $5"]
        assert len(asked) == 4  # the bad grade was asked for again twice
        assert excluded["item_id"].tolist() == ["r2"] and "less than or equal to 5" in excluded["reason"].item()

    def test_several_draws_are_kept_as_a_distribution(self, responses, tmp_path):
        serve("moody-judge", lambda text, call: grades(overall=2 + 2 * (call % 2)))
        found, _ = judges.judge_responses(
            responses.head(1), "simulated/moody-judge", "overall", TEXT["overall"], votes=4,
            store_path=tmp_path / "s.sqlite", progress=False, limits={"simulated": {"concurrency": 1}},
        )  # fmt: skip
        shares = json.loads(found["distribution"].item())
        assert sum(shares) == pytest.approx(1) and shares[0] == shares[2] == shares[4] == 0
        assert found["score"].item() == pytest.approx(np.dot(shares, [1, 2, 3, 4, 5]))

    def test_nothing_is_bought_without_a_budget(self, responses, tmp_path):
        options = {"store_path": tmp_path / "s.sqlite", "progress": False}
        model = "openai/gpt-4o-2024-11-20"
        found, labels = judges.judge_responses(responses, model, "overall", TEXT["overall"], **options)
        assert found.empty and len(scorers.unlabelled(labels, model)) == 2
        found, missing = judges.judge_prometheus(
            responses, model, "hhh", TEXT["prometheus"], store_path=tmp_path / "s.sqlite"
        )
        assert found.empty and len(missing) == 2


class TestTokenShares:
    def content(self, *tokens):
        return json.dumps({"content": [{"token": t, "logprob": -0.1, "top_logprobs": top} for t, top in tokens]})

    def top(self, **shares):
        return [{"token": token.strip("_"), "logprob": float(np.log(share))} for token, share in shares.items()]

    def test_are_read_off_the_grades_token_and_normalised_over_the_scale(self):
        logprobs = self.content(
            ('{"overall": {"', []), ("score", []), ('": ', []), ("4", self.top(_4=0.6, _3=0.2, x=0.2)), ("}}", [])
        )
        assert judges.token_shares(logprobs, ("overall",), judges.SCALE) == pytest.approx([0, 0, 0.25, 0.75, 0])

    def test_are_the_mean_over_criteria(self):
        logprobs = self.content(
            ('{"a": {"score": ', []), ("1", self.top(_1=1.0)), ('}, "b": {"score": ', []), ("5", self.top(_5=1.0))
        )
        assert judges.token_shares(logprobs, ("a", "b"), judges.SCALE) == pytest.approx([0.5, 0, 0, 0, 0.5])

    @pytest.mark.parametrize("logprobs", [None, "{}", '{"content": null}', '{"content": []}'])
    def test_are_missing_where_nothing_came(self, logprobs):
        assert judges.token_shares(logprobs, ("overall",), judges.SCALE) is None

    def test_come_through_a_real_server(self, server, responses, tmp_path):
        content = json.loads(self.content(('{"overall": {"score": ', []), ("2", self.top(_2=0.5, _4=0.5)), ("}}", [])))
        server.answer = lambda body, number: [
            {"message": {"role": "assistant", "content": '{"overall": {"score": 2}}'}, "logprobs": content}
        ]
        found, _ = judges.judge_responses(
            responses, "hosted_vllm/tiny", "overall", TEXT["overall"], probabilities=True, budget_usd=1.0,
            prices={"hosted_vllm/tiny": (0, 0)},
            api_base=server.url, store_path=tmp_path / "s.sqlite", progress=False,
        )  # fmt: skip
        assert server.bodies()[0]["top_logprobs"] == 20
        assert found["score"].tolist() == [3, 3]
        assert json.loads(found["distribution"].iloc[0]) == [0, 0.5, 0, 0.5, 0]


class TestPairs:
    @pytest.fixture
    def pairs(self):
        return pd.DataFrame(
            {"item_id": ["i", "j"], "prompt": "p", "response_1": ["good", "bad"], "response_2": ["bad", "good"]}
        )

    def test_a_taste_for_the_first_cancels(self, pairs, tmp_path):
        def answer(text, _):
            first = text.split("<response_1>\n")[1].split("\n")[0]
            return grades(preference=2 if first == "good" else 0)  # better is +1, standing first +1

        serve("first-judge", answer)
        found, _ = judges.judge_pairs(
            pairs, "simulated/first-judge", TEXT["pair"], store_path=tmp_path / "s.sqlite", progress=False
        )
        assert found["score"].tolist() == [1, -1] and found["position"].tolist() == [1, 1]

    def test_a_pair_judged_in_one_order_only_has_no_score(self, pairs, tmp_path):
        serve("half-judge", lambda text, _: grades(preference=1) if "<response_1>\ngood" in text else "no idea")
        found, labels = judges.judge_pairs(
            pairs, "simulated/half-judge", TEXT["pair"], store_path=tmp_path / "s.sqlite", progress=False
        )
        assert found.empty and len(labels.failures) == 2


class TestPrometheus:
    @pytest.mark.parametrize(
        ("text", "grade"),
        [("Feedback: fine. [RESULT] 4", 4), ("[RESULT] (5)", 5), ("[RESULT]\n 2", 2), ("[RESULT] 7", np.nan),
         ("no grade", np.nan), ("[RESULT] 1, rather [RESULT] 3", np.nan), ("[RESULT] 10", np.nan),
         ("[RESULT] 3. So: [RESULT] 3", 3), ("[RESULT] 5. For example [RESULT] 1 would be wrong.", np.nan)],
    )  # fmt: skip
    def test_one_grade_is_read_and_none_where_several_differ(self, text, grade):
        assert judges.prometheus_grade(text) == pytest.approx(grade, nan_ok=True)

    def test_one_criterion_a_call_and_a_missing_grade_is_counted(self, responses, tmp_path):
        asked = serve("prom", lambda text, _: "Feedback: x [RESULT] 4" if "hi $5" in text else "Feedback: none")
        found, missing = judges.judge_prometheus(
            responses, "simulated/prom", "hhh", TEXT["prometheus"], store_path=tmp_path / "s.sqlite", progress=False
        )
        assert len(asked) == 6 and missing.empty
        assert found["scorer"].unique().tolist() == ["simulated/prom (prometheus:hhh)"]  # "(hhh)" is the JSON rubric's
        assert found["score"].tolist() == pytest.approx([4, np.nan], nan_ok=True)
        items = pd.DataFrame(
            {"item_id": ["a", "b"], "items": "absolute", "response_1_id": scores._names(found), "response_2_id": None}
        )
        _, excluded = scores.match(found, items, "judge")
        assert excluded["reason"].tolist() == ["not a number", "no score"]

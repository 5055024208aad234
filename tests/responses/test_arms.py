"""Arms: what can be said of them in YAML, the messages they make, and how their replies come apart."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.llm import store
from hivemind_utils.responses import arm_cells, arms, design, gathering
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import schema

PROMPTS = pd.DataFrame(
    {"prompt_id": ["p", "q", "p1"], "prompt": ["Name a tree.", "Pay $5?", "Say a tree."],
     "prompt_kind": ["original", "closed", "paraphrase"], "parent_id": [None, None, "p"], "category": None,
     "open_endedness": None, "language": None, "many_answers": None}
)  # fmt: skip
MODELS = pd.DataFrame({"model": ["m"], "litellm_id": ["hosted_vllm/m"]})
DECODING = {"top_p": {"temperature": 1.0, "top_p": 0.9}}
SHIPPED = ["default", "placebo_fixed", "placebo_varied", "be_different", "list_k", "vs_k", "in_context", "random_word",
           "string_seed", "persona", "paraphrase", "temperature_ladder", "min_p_ladder", "pool_k"]  # fmt: skip


def cells(wanted, n=10, **options):
    read = arms.read(wanted)
    return design.cells(PROMPTS, MODELS, DECODING, n, arms=read, **options), read


class TestReading:
    def test_every_shipped_arm_reads_and_names_a_shipped_comparator(self):
        found = arms.read(SHIPPED)
        rungs = [name for name, arm in found.items() if arm.rung and name != "default"]
        assert len(rungs) == 13 and {arm.comparator for arm in found.values()} - {None} <= set(found)
        schema.validate(arms.table(found), "04_arms")
        varying = {name for name, arm in found.items() if arm.vary == "response"}
        assert varying == {"placebo_varied", "random_word", "persona", "paraphrase"}

    def test_a_message_that_changes_is_compared_with_one_that_does(self):
        found = arms.read(SHIPPED)
        for arm in found.values():
            if arm.vary == "response" and arm.name != "placebo_varied":
                assert found[arm.comparator].vary == "response"

    def test_an_arm_of_ones_own_takes_five_lines(self):
        own = arms.read({"terse": {"system": "Be brief.", "comparator": "placebo_fixed"}})["terse"]
        assert own.messages("Why?", {}) == [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            (["list_j"], "Did you mean 'list_k'"),
            ({"mine": {"sistem": "x"}}, "Did you mean 'system'"),
            ({"mine": {"system": "$who"}}, r"uses \$who"),
            ({"mine": {"system": "5 $ each"}}, r"write \$\$"),
            ({"mine": {"system": " "}}, "must be a text"),
            ({"mine": {"system": "x", "comparator": "placebo"}}, "Did you mean 'placebo_"),
            ({"mine": {"system": "x", "comparator": "mine"}}, "its own comparator"),
            ({"mine": {"user": "x", "k": 3}}, "only a list"),
            ({"mine": {"user": "x", "k": 0, "parse": "list"}}, "1"),
            ({"mine": {"user": "x", "parse": "json"}}, "must be one of"),
            ({"mine": {"user": "x", "vary": "day"}}, "must be one of"),
            ({"mine": {"system": "$a", "slots": {"a": []}}}, "must be a list of texts"),
            ({"mine": {"again": "more", "parse": "list", "k": 2}}, "a chain gives one response a turn"),
            ({"mine": {"ladder": {"temperature": []}}}, "needs a list of values"),
            ({"temperature_ladder": None, "temperature 1.3 top_p 1": {"system": "x"}}, "twice"),
        ],
    )
    def test_a_slip_is_explained(self, wanted, message):
        with pytest.raises(ValueError, match=message):
            arms.read(wanted)

    def test_responses_that_are_there_need_no_messages(self):
        found = arms.read({"default": None, "system-prompt": {"comparator": "default"}, "x": None}, asked=False)
        assert found["system-prompt"].comparator == "default" and arms.interventions(arms.table(found)) == {
            "system-prompt", "x"
        }  # fmt: skip
        assert arms.read(None) == {} and len(arms.table({})) == 0


class TestReplies:
    lists = arms.read({"vs_k": {"k": 3}})

    def unroll(self, text, wanted=None, reply=0):
        row = {"condition": "vs_k", "reply": reply, "turn": 0, "response": text, "finish_reason": "stop",
               "outcome": "answer", "cost_usd": 0.3, "n": 1}  # fmt: skip
        return arms.unroll(pd.DataFrame([row]), wanted or self.lists)

    @pytest.mark.parametrize(
        ("text", "texts", "probabilities"),
        [
            ('<answer p="0.5">a</answer><answer p="0.2">b</answer><answer p="0.1">c</answer>', "abc", [0.5, 0.2, 0.1]),
            ("<answer p='40%'>a</answer> <ANSWER p=7>2. b</ANSWER> <answer>- c</answer>", "abc", [0.4, 7, np.nan]),
            ('<answer p="high">a</answer><answer p="nan">b</answer><answer p="-1">c</answer>', "abc",
             [np.nan, np.nan, -1]),
        ],
    )  # fmt: skip
    def test_lists_come_apart_with_their_probabilities_as_stated(self, text, texts, probabilities):
        found = self.unroll(text)
        assert "".join(found["response"]) == texts and found["position"].tolist() == [0, 1, 2]
        assert found["probability"].tolist() == pytest.approx(probabilities, nan_ok=True)
        assert found["cost_usd"].tolist() == pytest.approx([0.1] * 3) and found["n"].tolist() == [3] * 3

    @pytest.mark.parametrize(("text", "n"), [("", 0), ("No.", 0), ("<answer>a", 0), ("<answer>a</answer>", 1),
                                             ("<answer> </answer><answer>b</answer>", 1)])  # fmt: skip
    def test_what_is_missing_is_an_outcome(self, text, n):
        found = self.unroll(text, reply=2)
        assert (found["outcome"] == "unparsed").sum() == 3 - n and found["sample_idx"].tolist() == [6, 7, 8]

    def test_what_a_list_has_beyond_is_excluded_with_a_reason_and_what_lacks_is_counted(self):
        many = self.unroll("".join(f"<answer>{c}</answer>" for c in "abcde"))
        few = self.unroll("<answer>a</answer>", reply=1)
        rows = pd.concat([many, few], ignore_index=True).assign(prompt="?", model="m", decoding="top_p")
        made = response_table.tabulate(rows)
        assert made["04_excluded"]["reason"].tolist() == ["beyond the responses asked for in one call"] * 2
        (row,) = made["04_coverage"].to_dict("records")
        assert (row["n_responses"], row["n_usable"], row["n_unparsed"], row["n_empty"]) == (6, 4, 2, 0)
        for name in ("04_responses", "04_coverage", "04_excluded"):
            schema.validate(made[name], name)
        shares = response_table.outcome_shares(made["04_coverage"])
        assert shares["unparsed"].tolist() == pytest.approx([1 / 3])

    def test_one_tag_is_the_last_one(self):
        tag = arms.read(["string_seed"])["string_seed"]
        assert arms.parse(tag, "QX <answer>no</answer> <answer>yes</answer>")[0][0] == "yes"
        assert arms.parse(tag, "no tag") == []


class TestCells:
    def test_arms_are_asked_of_open_and_closed_prompts_and_take_turns(self):
        frame, _ = cells(["default", "placebo_varied", "list_k"], per_call=1)
        assert set(frame.loc[frame["condition"] != "default", "prompt_kind"]) == {"original", "closed"}
        counts = frame[frame["prompt_id"] == "p"].groupby("condition").size()
        assert counts.to_dict() == {"default": 10, "placebo_varied": 10, "list_k": 2}
        half = frame[frame["prompt_id"] == "p"]["condition"].head(11).value_counts()
        assert half["default"] == half["placebo_varied"] == 5 and half["list_k"] == 1

    def test_no_two_arms_share_a_response(self):
        frame, _ = cells(SHIPPED)
        draws = {}
        for row in frame.itertuples():
            for i in range(row.request.sample_idx, row.request.sample_idx + row.request.n):
                assert draws.setdefault((row.request.key, i), row.condition) == row.condition
        same = frame.assign(key=[request.key for request in frame["request"]]).groupby("key")["condition"].nunique()
        assert same.max() > 1  # a chain begins as plain asking does, by numbers of its own
        assert "temperature 1 top_p 0.9" not in set(frame["condition"])  # the study's own decoding

    def test_slots_differ_between_responses_or_prompts(self):
        frame, _ = cells(["placebo_fixed", "placebo_varied", "paraphrase"])
        said = frame.assign(said=[request.messages[0]["content"] for request in frame["request"]])
        n = said.groupby(["condition", "prompt_id"])["said"].nunique()
        assert n["placebo_varied", "p"] == 10 and n["placebo_fixed", "p"] == 1 == n["paraphrase", "p"]
        assert ("paraphrase", "q") not in n.index  # it has no other wording
        assert "Pay $5?" in {request.messages[-1]["content"] for request in frame["request"]}

    def test_lists_that_do_not_divide_the_responses_are_refused(self):
        with pytest.raises(ValueError, match="list_k gives 5 responses per call, but 12 are wanted"):
            cells(["list_k"], n=12)

    def test_the_plan_counts_responses_of_lists_and_turns_of_chains(self, tmp_path):
        frame, read = cells(["default", "list_k", "in_context"])
        plan = design.cost_plan(frame, tmp_path / "none.sqlite", arms=read, prices={"hosted_vllm/m": (1, 1)})
        schema.validate(plan, "04_plan")
        plan = plan.set_index("condition")
        assert plan.loc["list_k", "wanted"] == plan.loc["in_context", "wanted"] == 20
        assert plan.loc["list_k", "calls"] == 4 and plan.loc["in_context", "calls"] == 20
        assert plan.loc["in_context", "tokens_in"] > 5 * plan.loc["list_k", "tokens_in"]


class TestChains:
    def answer(self, path, frame, text):
        call = {"n": 1, "seed": None, "effective": "{}", "served_model": "m", "system_fingerprint": None, "attempts": 1,
                "latency_s": 1.0, "prompt_tokens": 3, "completion_tokens": 2, "reasoning_tokens": None, "cost_usd": 0.0,
                "answered_at": "2026-01-01", "litellm_version": "1"}  # fmt: skip
        held = store.held(path)
        with store.Store(path) as opened:
            for request in frame["request"]:
                for i in range(request.sample_idx, request.sample_idx + request.n):
                    if i in held.get(request.key, ()):
                        continue
                    opened.remember(request.key, request.model, None, request.messages, request.parameters)
                    sample = {"sample_idx": i, "text": text(request), "finish_reason": "stop", "outcome": "answer",
                              "logprobs": None}  # fmt: skip
                    opened.add(call | {"key": request.key}, [sample])

    def test_every_turn_shows_the_earlier_ones(self, tmp_path):
        path = tmp_path / "s.sqlite"
        frame, read = cells({"default": None, "in_context": {"k": 3}}, n=6)
        for turn in range(3):
            known = arm_cells.turns(frame, read, path)
            assert known["turn"].max() == turn
            self.answer(path, known, lambda request: f"said {len(request.messages)}" if request.model else "")
        last = [request.messages for request in known.loc[known["turn"] == 2, "request"]]
        assert all([m["role"] for m in messages] == ["user", "assistant"] * 2 + ["user"] for messages in last)
        rows = gathering.collect(frame, path, read)
        chain = rows[(rows["condition"] == "in_context") & (rows["prompt_id"] == "p")].sort_values("sample_idx")
        assert chain["sample_idx"].tolist() == list(range(6)) and chain["position"].tolist() == [0, 1, 2] * 2
        assert chain["reply"].tolist() == [0, 0, 0, 1, 1, 1]
        assert chain["response"].tolist() == ["said 1", "said 3", "said 5"] * 2

    def test_an_empty_turn_is_told_to_the_next_and_never_asked_again(self, tmp_path):
        path = tmp_path / "s.sqlite"
        frame, read = cells({"in_context": {"k": 2}}, n=2)
        self.answer(path, arm_cells.turns(frame, read, path), lambda request: " ")
        known = arm_cells.turns(frame, read, path)
        assert {r.messages[1]["content"] for r in known.loc[known["turn"] == 1, "request"]} == {arm_cells.NOTHING_SAID}

    def test_turns_that_nothing_led_to_are_missing(self, tmp_path, monkeypatch):
        frame, read = cells({"in_context": {"k": 5}}, n=5)
        names = ["wanted", "stored", "added", "unsupported", "missing", "cost_usd"]

        def nobody(requests, store_path, **options):
            n = len(list(requests))
            counts = pd.DataFrame([[n, 0, 0, 0, n, 0.0]], index=["hosted_vllm/m"], columns=names)
            return SimpleNamespace(counts=counts, cost_usd=0.0, failures={"hosted_vllm/m": "away"}, unsupported={},
                                   honoured={}, refused={}, remarks={})  # fmt: skip

        monkeypatch.setattr(arm_cells.sampler, "run", nobody)
        outcome = arm_cells.run(frame, read, store_path=tmp_path / "s.sqlite")
        n_plain = int(frame.loc[frame["condition"] == "default", "request"].map(lambda r: 1).sum())
        assert outcome.counts["missing"].tolist() == [n_plain + 2 * 5] == outcome.counts["wanted"].tolist()
        assert "away" in outcome.partial


def test_messages_of_an_arm_are_kept_in_its_table():
    made = arms.table(arms.read(["be_different"]))
    assert json.loads(made["messages"][0])["system"].startswith("Give a good answer")

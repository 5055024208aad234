"""The sampler against a real HTTP server on the loopback: latency, faults, counts and bodies under control."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server import Fault, serving

from hivemind_utils.demo import provider
from hivemind_utils.llm import cost, providers, sampler, store
from hivemind_utils.llm import request as request_llm

ROOT = Path(__file__).resolve().parents[2]
TOP_P = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}
FREE = {f"hosted_vllm/{name}": (0, 0) for name in ("a", "b", "c")}


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def db(tmp_path):
    return tmp_path / "04.sqlite"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(providers.random, "uniform", lambda low, high: low / 50)


def ask(requests, db, **options):
    options = {"budget_usd": 1, "prices": FREE, "progress": False} | options
    return sampler.run(requests, db, **options)


def cell(server, n_samples, model="a", prompt="Name a tree.", parameters=TOP_P, **options):
    return request_llm.requests(f"hosted_vllm/{model}", prompt, parameters, n_samples, api_base=server.url, **options)


class TestRequest:
    def test_key_depends_on_model_server_messages_and_parameters_only(self):
        base = request_llm.Request("openai/a", "hi", {"top_p": 0.9, "temperature": 1})
        assert base.key == request_llm.Request("openai/a", "hi", {"temperature": 1, "top_p": 0.9}, 3, 2).key
        others = [
            request_llm.Request("openai/b", "hi", base.parameters),
            request_llm.Request("openai/a", "hi!", base.parameters),
            request_llm.Request("openai/a", "hi", {"min_p": 0.1}),
            request_llm.Request("openai/a", "hi", {"min_p": 0.3}),
            request_llm.Request("openai/a", "hi", base.parameters, api_base="http://127.0.0.1:1/v1"),
            request_llm.Request("openai/a", "hi", base.parameters, api_base="http://127.0.0.1:2/v1"),
        ]
        assert len({base.key, *(other.key for other in others)}) == 7

    def test_the_server_of_the_environment_is_part_of_the_key(self, monkeypatch):
        plain = request_llm.Request("openai/a", "hi")
        monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1/")
        moved = request_llm.Request("openai/a", "hi")
        assert moved.api_base == "http://127.0.0.1:1/v1" and moved.key != plain.key

    @pytest.mark.parametrize("name", ["api_key", "extra_headers", "seed", "n", "Authorization"])
    def test_keys_and_what_the_sampler_sets_are_no_parameters(self, name):
        with pytest.raises(ValueError, match=name):
            request_llm.Request("openai/a", "hi", {name: "x"})

    def test_an_address_with_a_password_is_refused(self):
        with pytest.raises(ValueError, match="password"):
            request_llm.Request("openai/a", "hi", api_base="http://me:word@host/v1")


class TestAsking:
    def test_identical_prompts_give_as_many_requests_as_samples(self, server, db):
        outcome = ask(cell(server, 50), db)
        rows = store.read(db, cell(server, 50))
        assert len(server.received) == 50 and outcome.partial is None
        assert rows["sample_idx"].tolist() == list(range(50)) and rows["text"].nunique() == 50
        assert len({body["seed"] for body in server.bodies()}) == 50
        assert all(body["top_p"] == 0.9 and body["max_tokens"] == 2048 for body in server.bodies())

    def test_asking_again_asks_nothing_and_more_samples_ask_the_difference(self, server, db):
        ask(cell(server, 20), db)
        first = store.read(db, cell(server, 20))
        assert ask(cell(server, 20), db).counts["added"].sum() == 0 and len(server.received) == 20
        ask(cell(server, 50), db)
        assert len(server.received) == 50
        assert store.read(db, cell(server, 50)).head(20)["text"].tolist() == first["text"].tolist()

    def test_n_answers_come_in_one_call_and_say_so(self, server, db):
        ask(cell(server, 25, per_call=10), db)
        rows = store.read(db, cell(server, 25))
        assert sorted(body.get("n", 1) for body in server.bodies()) == [5, 10, 10]
        calls = rows.groupby("call_id")["sample_idx"].agg(["min", "size"]).sort_values("min")  # ids go by arrival
        assert calls["size"].tolist() == [10, 10, 5] and rows["sample_idx"].tolist() == list(range(25))

    def test_a_server_that_ignores_n_is_asked_until_all_are_there(self, server, db):
        server.answer = lambda body, number: [f"only {number}"]
        ask(cell(server, 6, per_call=3), db)
        assert store.read(db, cell(server, 6))["sample_idx"].tolist() == list(range(6)) and len(server.received) == 6

    def test_decodings_and_servers_never_share_an_answer(self, server, db):
        with serving() as other:
            cells = [cell(server, 3, parameters={"min_p": p, "temperature": 2.0, "top_p": 1.0}) for p in (0.1, 0.3)]
            cells.append(cell(other, 3, parameters={"min_p": 0.1, "temperature": 2.0, "top_p": 1.0}))
            ask([request for one in cells for request in one], db)
            assert len(server.received) == 6 and len(other.received) == 3
        assert sorted(body["min_p"] for body in server.bodies()) == [0.1] * 3 + [0.3] * 3
        texts = [set(store.read(db, one)["text"]) for one in cells[:2]]
        assert not texts[0] & texts[1] and len(store.read(db, cells[2])) == 3

    def test_turns_formats_and_logprobs_travel_and_return(self, server, db):
        logprobs = {"content": [{"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}]}
        server.answer = lambda body, number: [{"message": {"role": "assistant", "content": "4"}, "logprobs": logprobs}]
        turns = [
            {"role": r, "content": c}
            for r, c in (("system", "Judge."), ("user", "x"), ("assistant", "?"), ("user", "y"))
        ]
        parameters = {"response_format": {"type": "json_object"}, "logprobs": True, "top_logprobs": 5, "temperature": 0}
        request = request_llm.Request("hosted_vllm/a", turns, parameters, api_base=server.url)
        ask([request], db)
        (body,) = server.bodies()
        assert body["messages"] == turns and body["response_format"] == {"type": "json_object"}
        assert body["top_logprobs"] == 5
        (row,) = store.read(db, [request]).to_dict("records")
        assert json.loads(row["logprobs"])["content"][0]["logprob"] == -0.1

    def test_provenance_of_a_row(self, server, db):
        server.usage = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16,
                        "completion_tokens_details": {"reasoning_tokens": 5}}  # fmt: skip
        ask(cell(server, 1), db, prices={"hosted_vllm/a": (1, 10)})
        (row,) = store.read(db, cell(server, 1)).to_dict("records")
        assert json.loads(row["parameters"]) == TOP_P and json.loads(row["effective"])["top_p"] == 0.9
        assert row["served_model"] == "a" and row["system_fingerprint"] == "fp_test"
        assert (row["prompt_tokens"], row["completion_tokens"], row["reasoning_tokens"]) == (7, 9, 5)
        assert row["cost_usd"] == pytest.approx(7e-6 + 90e-6) and row["latency_s"] > 0
        assert row["api_base"] == server.url and row["seed"] == server.bodies()[0]["seed"]

    def test_works_inside_a_running_event_loop(self, server, db):
        import asyncio

        async def notebook():
            return ask(cell(server, 2), db)

        assert asyncio.run(notebook()).counts.loc["hosted_vllm/a", "added"] == 2


class TestOutcomes:
    @pytest.mark.parametrize(
        ("message", "reason", "outcome"),
        [
            ({"content": "An oak."}, "stop", "answer"),
            ({"content": "An oak and then"}, "length", "truncated"),
            ({"content": ""}, "length", "empty"),
            ({"content": None}, "stop", "empty"),
            ({"content": None, "refusal": "I must decline."}, "stop", "refusal"),
            ({"content": "I'm sorry, but I can't help with that."}, "stop", "refusal"),
            ({"content": "Half of"}, "content_filter", "content_filter"),
        ],
    )
    def test_every_draw_is_kept(self, server, db, message, reason, outcome):
        server.answer = lambda body, number: [{"message": {"role": "assistant"} | message, "finish_reason": reason}]
        assert ask(cell(server, 2), db).partial is None
        rows = store.read(db, cell(server, 2))
        assert rows["outcome"].tolist() == [outcome] * 2 and rows["finish_reason"].tolist() == [reason] * 2
        assert ask(cell(server, 2), db).counts["added"].sum() == 0  # nothing is drawn again

    def test_a_filtered_prompt_is_an_outcome(self, server, db):
        server.fault = lambda body, number: Fault(400, "filtered", code="content_filter")
        assert ask(cell(server, 2), db).partial is None
        assert store.read(db, cell(server, 2))["outcome"].tolist() == ["content_filter"] * 2

    def test_a_refused_decoding_is_recorded_and_the_other_goes_on(self, server, db):
        server.fault = lambda body, number: Fault(400, "Unrecognized argument: min_p") if "min_p" in body else None
        min_p = cell(server, 3, parameters={"min_p": 0.1, "temperature": 2.0})
        outcome = ask(min_p + cell(server, 3), db, limits={"default": {"concurrency": 1}})
        row = outcome.counts.loc["hosted_vllm/a"]
        assert (row["unsupported"], row["added"], row["missing"]) == (3, 3, 0)
        assert "min_p" in outcome.unsupported["hosted_vllm/a"] and store.read(db, min_p).empty
        assert [("min_p" in body) for body in server.bodies()].count(True) == 1  # never retried without it, nor again
        assert ask(min_p, db).counts["unsupported"].sum() == 3 and len(server.received) == 4
        assert cost.plan(min_p, db, prices=FREE)["unsupported"].sum() == 3

    def test_min_p_is_not_sent_where_it_would_be_ignored(self, db):
        request = request_llm.Request("anthropic/claude-3-opus-20240229", "hi", {"min_p": 0.1})
        outcome = ask([request], db, budget_usd=1, prices={request.model: (1, 1)})
        assert "min_p" in outcome.unsupported[request.model]


class TestErrors:
    def test_what_may_pass_is_tried_again(self, server, db):
        faults = [Fault(500), Fault(503), Fault(), Fault(408), Fault(409), Fault(429)]
        server.fault = lambda body, number: faults[number] if number < len(faults) else None
        assert ask(cell(server, 1), db).partial is None
        assert len(server.received) == 7 and store.read(db, cell(server, 1))["attempts"].tolist() == [7]

    def test_retry_after_is_obeyed(self, server, db):
        server.fault = lambda body, number: Fault(429, headers={"Retry-After": "1"}) if number == 0 else None
        ask(cell(server, 1), db)
        first, second = server.times()
        assert 1 <= second - first < 2

    def test_a_wait_of_hours_stops_the_model(self, server, db):
        server.fault = lambda body, number: Fault(429, headers={"Retry-After": "7200"})
        outcome = ask(cell(server, 1), db)
        assert "7,200 s" in outcome.failures["hosted_vllm/a"] and len(server.received) == 1

    def test_rate_headers_are_obeyed(self, server, db):
        server.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
        ask(cell(server, 3), db, limits={"default": {"concurrency": 1}})
        times = server.times()
        assert all(b - a >= 0.29 for a, b in itertools.pairwise(times))

    def test_the_request_rate_stays_within_the_limit(self, server, db):
        ask(cell(server, 12), db, limits={"hosted_vllm": {"requests_per_minute": 1200}})
        times = server.times()
        assert times[-1] - times[0] >= 11 * 0.05 * 0.95

    def test_the_token_rate_stays_within_the_limit(self, server, db):
        server.usage = {"prompt_tokens": 10, "completion_tokens": 90, "total_tokens": 100}
        ask(cell(server, 6), db, limits={"hosted_vllm": {"tokens_per_minute": 60_000, "concurrency": 1}})
        times = server.times()
        assert times[-1] - times[0] >= 5 * 0.1 * 0.9

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
    def test_what_will_not_pass_stops_at_once_with_the_providers_words(self, server, db, status):
        server.fault = lambda body, number: Fault(status, "said the provider")
        outcome = ask(cell(server, 5), db, limits={"default": {"concurrency": 1}})
        reason = outcome.failures["hosted_vllm/a"]
        assert f"status {status}" in reason and "said the provider" in reason and len(server.received) == 1
        assert "hosted_vllm/a lacks 5" in outcome.partial

    def test_an_exhausted_quota_is_not_waited_for(self, server, db):
        server.fault = lambda body, number: Fault(
            429, "You exceeded your quota: see billing", code="insufficient_quota"
        )
        outcome = ask(cell(server, 1), db)
        assert "quota" in outcome.failures["hosted_vllm/a"] and len(server.received) == 1

    def test_one_refused_model_stops_and_the_others_finish(self, server, db):
        server.fault = lambda body, number: Fault(401, "no such key") if body["model"] == "b" else None
        outcome = ask([r for m in "abc" for r in cell(server, 10, m)], db, limits={"default": {"concurrency": 2}})
        assert outcome.counts["added"].to_dict() == {"hosted_vllm/a": 10, "hosted_vllm/b": 0, "hosted_vllm/c": 10}
        assert set(outcome.failures) == {"hosted_vllm/b"}
        assert "hosted_vllm/b lacks 10 (status 401: no such key. Set the right HOSTED_VLLM_API_KEY" in outcome.partial

    def test_a_server_that_is_down_is_given_up(self, db, monkeypatch):
        monkeypatch.setattr(sampler, "MAX_ATTEMPTS", 2)
        requests = request_llm.requests("hosted_vllm/a", "hi", TOP_P, 9, api_base="http://127.0.0.1:9/v1")
        outcome = ask(requests, db)
        assert "gave up" in outcome.failures["hosted_vllm/a"] and outcome.counts["missing"].sum() == 9

    def test_an_unknown_provider_says_how_to_write_it(self, db):
        with pytest.raises(ValueError, match="provider/model"):
            ask([request_llm.Request("quux-9", "hi")], db)


def test_a_provider_without_its_key_is_not_asked(db, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    outcome = ask([request_llm.Request("openai/gpt-4o", "Name a tree.", TOP_P)], db)
    assert outcome.failures["openai/gpt-4o"] == "not asked: OPENAI_API_KEY is not set"


class TestServersOfOnesOwn:
    def test_one_that_takes_fewer_answers_a_call_is_asked_for_one(self, server, db):
        message = "Field 'n': Value must be between 1 <= value <= 1, but got 5"  # llama.cpp's words
        server.fault = lambda body, number: Fault(400, message) if body.get("n", 1) > 1 else None
        outcome = ask(cell(server, 10, per_call=5), db)
        assert outcome.partial is None and outcome.counts["added"].tolist() == [10]
        assert [body.get("n", 1) for body in server.bodies()].count(1) == 10

    def test_one_that_nobody_started_is_told_at_once(self, db):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        requests = request_llm.requests("hosted_vllm/a", "Name a tree.", TOP_P, 30, api_base=url)
        outcome = ask(requests, db)
        where = url.removeprefix("http://").removesuffix("/v1")
        assert outcome.failures["hosted_vllm/a"].startswith(f"nothing listens at {where}: start the server")
        assert "ssl" not in outcome.partial.lower()

    def test_usage_of_one_choice_only_is_no_count_of_tokens(self, server, db):
        server.answer = lambda body, number: ["one two three four five six"] * body.get("n", 1)
        server.usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        ask(cell(server, 8, per_call=4), db)
        assert store.tokens_by_model(db) == {}  # unknown, rather than 7 tokens for four answers
        ask(cell(server, 1, "b"), db)
        assert store.tokens_by_model(db) == {"hosted_vllm/b": (7, 1)}


class TestBudget:
    def test_nothing_is_bought_by_default_but_simulated_models_run(self, server, db):
        provider.serve("free-1", lambda messages, *, n, seed, parameters: [provider.Answer("yes")] * n)
        paid, free = cell(server, 2), request_llm.requests("simulated/free-1", "hi", TOP_P, 3, per_call=3)
        outcome = sampler.run(paid + free, db, progress=False)
        assert not server.received and outcome.counts.loc["simulated/free-1", "added"] == 3
        assert "budget_usd" in outcome.failures["hosted_vllm/a"]

    def test_an_address_on_this_machine_costs_nothing_unless_a_price_says_so(self, server, db):
        assert ask(cell(server, 2), db, prices={}).partial is None
        priced = ask(cell(server, 2, "b"), db, prices={"hosted_vllm/b": (1e6, 1e6)}, budget_usd=0.01)
        assert "the budget of $0.01 is reached" in priced.failures["hosted_vllm/b"]
        assert cost.price("openai/gpt-4o", api_base=server.url) == cost.price("openai/gpt-4o")  # a proxy's price

    def test_a_budget_of_zero_asks_no_server_either(self, server, db):
        assert "`budget_usd` is 0" in ask(cell(server, 2), db, budget_usd=0).partial and not server.received

    def test_an_unknown_price_is_not_paid(self, server, db):
        request = request_llm.Request("hosted_vllm/a", "Name a tree.", TOP_P, n=2, api_base="http://models.example/v1")
        outcome = ask([request], db, prices={})
        assert not server.received and "price is not known" in outcome.failures["hosted_vllm/a"]
        assert cost.plan([request], db)["cost_expected"].isna().all()

    def test_a_budget_stops_before_it_is_crossed_and_raised_goes_on(self, server, db):
        server.usage = {"prompt_tokens": 0, "completion_tokens": 100, "total_tokens": 100}
        requests = cell(server, 50, parameters={"max_tokens": 200})
        prices = {"hosted_vllm/a": (0, 1000)}  # an answer costs $0.1, so that all cost $5; one in flight at most $0.2
        outcome = ask(requests, db, budget_usd=1, prices=prices)
        assert outcome.cost_usd == pytest.approx(0.9) and "budget of $1.00" in outcome.failures["hosted_vllm/a"]
        assert ask(requests, db, budget_usd=1, prices=prices).cost_usd == 0
        outcome = ask(requests, db, budget_usd=6, prices=prices)
        assert outcome.partial is None and len(server.received) == 50 and store.spent(db) == pytest.approx(5)


class TestPlan:
    def test_counts_tokens_and_costs(self, server, db):
        ask(cell(server, 4), db)
        far = request_llm.requests("hosted_vllm/b", "Name a tree.", TOP_P, 10, api_base="http://models.example/v1")
        requests = cell(server, 10, per_call=3) + far
        plan = cost.plan(
            requests, db, prices={"hosted_vllm/a": (1, 2)}, limits={"hosted_vllm": {"requests_per_minute": 60}}
        )
        first, second = plan.to_dict("records")
        assert (first["wanted"], first["stored"], first["missing"], first["calls"]) == (10, 4, 6, 3)
        assert first["cost_low"] < first["cost_expected"] < first["cost_high"] and first["hours"] == pytest.approx(
            3 / 3600
        )
        assert second["missing"] == 10 and second["cost_high"] != second["cost_high"]


PROMPTS = [f"prompt {i}" for i in range(40)]
RUNNER = f"""
import os, sys
from hivemind_utils.llm import providers, request, sampler
providers.litellm()  # imported once; every run is a process of its own
requests = [r for prompt in {PROMPTS} for r in request.requests(
    "hosted_vllm/a", prompt, {{"top_p": 0.9}}, 50, api_base=sys.argv[2])]
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        sampler.run(requests, sys.argv[1], budget_usd=1, prices={{"hosted_vllm/a": (0, 0)}}, progress=False,
                     limits={{"default": {{"concurrency": 32}}}})
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def runner(server, db):
    """Call ``start()`` for a run in a process of its own, which returns its pid, and ``end()`` for its exit code."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", RUNNER, str(db), server.url]
    parent = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    class Runner:
        def __init__(self):
            self.requests = [
                r for prompt in PROMPTS for r in cell(server, 50, prompt=prompt, parameters={"top_p": 0.9})
            ]

        def start(self):
            print("run", file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        def end(self):
            return int(parent.stdout.readline())

    yield Runner()
    parent.stdin.close()
    parent.wait(30)
    parent.stdout.close()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.long
def test_killed_ten_times_it_ends_with_exactly_the_wanted_rows(server, db, runner):
    chance, wanted = random.Random(0), 2_000
    for _ in range(10):
        target = len(server.received) + chance.randrange(20, 170)
        pid = runner.start()
        wait_for(lambda target=target: len(server.received) >= target)
        os.kill(pid, signal.SIGKILL)
        assert runner.end() == -signal.SIGKILL
    killed_at = len(server.received)
    runner.start()
    assert runner.end() == 0
    rows = store.read(db, runner.requests)
    assert len(rows) == wanted and not rows.duplicated(["key", "sample_idx"]).any()
    assert killed_at < wanted <= len(server.received) <= wanted + 10 * 32
    print(f"\n{len(server.received)} requests for {wanted} answers, ten kills, {killed_at} before the last start")


@pytest.mark.long  # a run, stopped in the middle
def test_an_interrupt_stops_in_seconds_with_all_answers_stored(server, db, runner):
    server.latency = 0.05
    pid = runner.start()
    wait_for(lambda: len(server.received) >= 60)
    os.kill(pid, signal.SIGINT)
    started = time.monotonic()
    assert runner.end() != 0 and time.monotonic() - started < 5
    assert len(store.read(db, runner.requests)) == len(server.received)


def test_faults_of_thirty_percent_cost_time_only(server, db):
    chance = random.Random(1)
    kinds = [Fault(429, headers={"Retry-After": "0.1"}), Fault(500), Fault(503), Fault()]
    server.fault = lambda body, number: chance.choice(kinds) if chance.random() < 0.24 else None
    server.slow = lambda body, number: 0.05 if chance.random() < 0.06 else 0
    outcome = ask(cell(server, 200), db, limits={"default": {"concurrency": 16, "requests_per_minute": 6_000}})
    assert outcome.partial is None and len(store.read(db, cell(server, 200))) == 200
    times = server.times()
    window = [sum(t <= u < t + 1 for u in times) for t in times]
    assert max(window) <= 105 and len(times) < 320  # the rate holds, and no storm


CANARY = "canary-7f3a9c51d2e84b60"


def test_a_key_is_written_nowhere_even_if_the_provider_repeats_it(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    server.fault = lambda body, number: [Fault(500, f"bad {CANARY}"), None, Fault(401, f"wrong key {CANARY}")][
        min(number, 2)
    ]
    requests = request_llm.requests("openai/a", "hi", TOP_P, 3, api_base=server.url)
    outcome = sampler.run(
        requests,
        tmp_path / "04.sqlite",
        budget_usd=1,
        prices={"openai/a": (1, 1)},
        limits={"default": {"concurrency": 1}},
    )
    assert any(CANARY in received.headers["Authorization"] for received in server.received)  # it did travel
    assert "401" in outcome.partial and "<OPENAI_API_KEY>" in outcome.partial
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY.encode() not in written and len(store.read(tmp_path / "04.sqlite", requests)) == 1
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err + repr(outcome)


def test_one_and_one_point_zero_are_one_decoding():
    whole, real = (request_llm.Request("simulated/a", "hi", {"temperature": t, "top_k": 40}) for t in (1, 1.0))
    assert whole.key == real.key


def test_googles_rate_limit_is_waited_for_and_its_message_shown():
    import litellm

    said = "You exceeded your current quota, check your plan and billing details."
    body = f'{{\n "error": {{\n "code": 429,\n "message": "{said}",\n "details": [{{"retryDelay": "38s"}}]}}}}'
    error = litellm.RateLimitError(body, llm_provider="gemini", model="gemini/x")
    assert providers.retry_after(error) == 38 and not providers.is_exhausted(error)
    assert providers.provider_message(error).startswith("You exceeded your current quota")

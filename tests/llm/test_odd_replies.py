"""Replies as no manual describes them, from a real server: what is kept, what counts, and what goes on."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from server import Fault, raw_serving, serving

from hivemind_utils.llm import bodies, cost, providers, sampler, served, store
from hivemind_utils.llm import request as request_llm

ROOT = Path(__file__).resolve().parents[2]
DEAR = {"hosted_vllm/a": (1000, 1000), "openai/a": (1000, 1000)}  # US dollars per million tokens
ONE = {"default": {"concurrency": 1}}


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
    options = {"budget_usd": 100, "prices": {r.model: (0, 0) for r in requests}, "progress": False} | options
    return sampler.run(requests, db, **options)


def cell(server, n=1, prompt="Name a tree.", model="hosted_vllm/a", **options):
    return request_llm.requests(model, prompt, {"max_tokens": 20}, n, api_base=server.url, **options)


def changed(server, change, only=lambda number: True):
    """Let the server change its replies: `change(reply)` in place, or returning another."""

    def send(reply, number):
        other = change(reply) if only(number) else None
        return reply if other is None else other

    server.change = send


def most(requests):
    """US dollars that the requests may cost at most, one answer each, at a dollar per 1,000 tokens."""
    return sum(1.5 * request_llm.tokens_in(request) + 20 for request in requests) / 1000


USAGES = {
    "absent": lambda reply: reply.pop("usage") and None,
    "null": lambda reply: reply.update(usage=None),
    "empty": lambda reply: reply.update(usage={}),
    "zeros": lambda reply: reply.update(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    "nulls": lambda reply: reply.update(usage={"prompt_tokens": None, "completion_tokens": None}),
    "negative": lambda reply: reply.update(usage={"prompt_tokens": -5, "completion_tokens": -(10**6)}),
    "huge": lambda reply: reply.update(usage={"prompt_tokens": 1e30, "completion_tokens": 1e30}),
    "infinite": lambda reply: reply.update(usage={"prompt_tokens": float("inf"), "completion_tokens": float("nan")}),
    "texts": lambda reply: reply.update(usage={"prompt_tokens": "many", "completion_tokens": [1]}),
    "a list": lambda reply: reply.update(usage=[1, 2]),
    "truths": lambda reply: reply.update(usage={"prompt_tokens": True, "completion_tokens": True}),
}


class TestMoney:
    @pytest.mark.parametrize("usage", USAGES)
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    def test_what_a_reply_does_not_say_costs_the_most_it_may(self, server, db, usage, model):
        changed(server, USAGES[usage])
        requests = cell(server, 10, model=model)
        budget = 4.5 * most(requests[:1])
        outcome = ask(requests, db, budget_usd=budget, prices=DEAR, limits=ONE)
        assert len(server.received) == 4 and "budget" in outcome.failures[model]
        assert store.spent(db) == pytest.approx(4 * most(requests[:1])) and outcome.cost_usd == store.spent(db)
        assert ask(requests, db, budget_usd=budget, prices=DEAR, limits=ONE).cost_usd == 0  # kept for later runs
        assert len(server.received) == 4

    @pytest.mark.parametrize("fault", [Fault(), Fault(504), Fault(502), Fault(524)])
    def test_a_lost_reply_costs_what_it_may_have(self, server, db, fault):
        server.fault = lambda body, number: fault if number % 2 == 0 else None
        requests = cell(server, 20)
        budget = 5.5 * most(requests[:1])
        outcome = ask(requests, db, budget_usd=budget, prices=DEAR, limits=ONE)
        billed = len(server.received) * most(requests[:1])
        assert 2 <= len(server.received) and outcome.partial and "lost" in outcome.noted
        lost = store.lost(db)
        assert len(lost) == sum(number % 2 == 0 for number in range(len(server.received)))
        assert store.spent(db) <= budget and store.spent(db) >= billed / 2
        assert ask(requests, db, budget_usd=budget, prices=DEAR, limits=ONE).cost_usd == 0

    @pytest.mark.parametrize("fault", [Fault(500), Fault(503), Fault(429)])
    def test_what_a_server_refused_costs_nothing(self, server, db, fault):
        server.fault = lambda body, number: fault if number == 0 else None
        ask(cell(server), db, prices=DEAR)
        assert store.lost(db) == [] and len(store.read(db, cell(server))) == 1

    def test_nobody_listening_costs_nothing(self, db):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        request = request_llm.Request("hosted_vllm/a", "hi", {"max_tokens": 20}, api_base=url)
        assert "nothing listens" in ask([request], db, prices=DEAR).partial and store.spent(db) == 0

    def test_races_of_lost_replies_stay_within_the_budget(self, server, db):
        server.fault = lambda body, number: Fault() if number % 5 < 2 else None
        requests = [r for i in range(40) for r in cell(server, prompt=f"tree {i:02}")]
        outcome = ask(requests, db, budget_usd=0.5, prices=DEAR, limits={"default": {"concurrency": 10}})
        assert outcome.cost_usd <= 0.5 and store.spent(db) == pytest.approx(outcome.cost_usd)
        assert len(server.received) * most(requests[:1]) <= 0.5 + 40 * 0.03  # in truth replies cost less than the most


def usage_of(prompt, completion, total=None, reasoning=None):
    """A change of a reply's usage."""
    details = {"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning else {}
    used = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total or prompt + completion}
    return lambda reply: reply.update(usage=used | details)


LOGPROBS = {  # a token, and whether its bytes are odd
    "no others": ({"token": "a", "logprob": -1.0}, False),
    "null": ({"token": "a", "logprob": -1.0, "top_logprobs": None, "bytes": None}, False),
    "whole": ({"token": "a", "logprob": -1.0, "top_logprobs": [], "bytes": [97]}, False),
    "bytes as a text": ({"token": "a", "logprob": -1.0, "top_logprobs": [], "bytes": "a"}, True),
    "bytes too large": ({"token": "a", "logprob": -1.0, "bytes": [970]}, True),
    "others without": ({"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1.0}]}, False),
    "others with odd bytes": (
        {"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1.0, "bytes": [1.5]}]}, True,
    ),
}  # fmt: skip


class TestWhatWasThought:
    @pytest.mark.parametrize(
        ("usage", "output"),
        [
            (usage_of(10, 2, 4012, 4000), 4002),  # xAI: beside the completion
            (usage_of(10, 2, 4012), 4002),  # only the total tells
            (usage_of(10, 2, None, 4000), 4002),  # only the details tell
            (usage_of(10, 0, 4010, 4000), 4000),
            (usage_of(10, 4002, 4012, 4000), 4002),  # OpenAI: within the completion
            (usage_of(10, 4000, 1), 4000),
        ],
    )
    def test_is_paid_wherever_it_is_reported(self, server, db, usage, output):
        server.answer = lambda body, number: ["one two"]
        changed(server, usage)
        requests = request_llm.requests("hosted_vllm/a", "hi", {"max_tokens": 5000}, 10, api_base=server.url)
        outcome = ask(requests, db, budget_usd=6, prices=DEAR, limits=ONE)
        assert store.read(db, requests)["completion_tokens"].iloc[0] == output
        assert store.spent(db) == pytest.approx((10 + output) / 1000)
        assert len(server.received) == 1 and "budget" in outcome.partial


class TestCountsThatCannotBe:
    @pytest.mark.parametrize(
        ("prompt", "text", "usage", "odd"),
        [
            ("hi", "one two", usage_of(10, 10**9), "completion_tokens"),
            ("hi", "one two", usage_of(10, 2, 10**9), "completion_tokens"),
            ("hi", "one two", usage_of(10, 2, None, 10**6), "completion_tokens"),
            ("hi", "one two", usage_of(10, 5000), "completion_tokens"),
            ("hi", "木" * 300, usage_of(10, 1), "completion_tokens"),
            ("hi", "word " * 300, usage_of(10, 20), "completion_tokens"),
            ("hi", "one two", usage_of(10**8, 3), "prompt_tokens"),
            ("tree " * 4000, "one two", usage_of(1, 3), "prompt_tokens"),
            ("木" * 4000, "one two", usage_of(1, 3), "prompt_tokens"),
        ],
    )
    def test_cost_the_most_that_may_have_been(self, server, db, prompt, text, usage, odd):
        server.answer = lambda body, number: [text]
        changed(server, usage)
        requests = cell(server, prompt=prompt)
        outcome = ask(requests, db, budget_usd=1000, prices=DEAR)
        row = store.read(db, requests).iloc[0]
        assert row["text"].strip() == text.strip() and np.isnan(float(row[odd] or np.nan))
        assert f"1 replies with an odd `{odd}`" in outcome.noted
        most_in, most_out = 1.5 * request_llm.tokens_in(requests[0]), 20
        paid = most_in + 3 if odd == "prompt_tokens" else 10 + most_out
        assert store.spent(db) == pytest.approx(paid / 1000)

    @pytest.mark.parametrize(
        ("prompt", "text", "max_tokens", "usage"),
        [
            ("hi", "one two", 20, usage_of(10, 20)),
            ("hi", "one two", 20, usage_of(30_000, 3)),  # a system prompt that nobody sees
            ("tree " * 4000, "one two", 20, usage_of(4001, 3)),
            ("hi", "one two", 50_000, usage_of(10, 50_000, None, 49_990)),  # thought
            ("hi", "", 1000, usage_of(10, 1000, None, 1000)),
            ("hi", "one two", 20, usage_of(10, 2, None, 4000)),  # thought, which this server does not limit
            ("hi", "木" * 300, 400, usage_of(10, 300)),
            ("x = 1\n" + " " * 4000 + "y", "    " * 2000 + "z", 20, usage_of(10, 15)),  # blanks share tokens
            ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
             "one two", 20, usage_of(1500, 3)),
        ],
    )  # fmt: skip
    def test_others_are_believed(self, server, db, prompt, text, max_tokens, usage):
        server.answer = lambda body, number: [text]
        changed(server, usage)
        request = request_llm.Request("hosted_vllm/a", prompt, {"max_tokens": max_tokens}, api_base=server.url)
        outcome = ask([request], db, budget_usd=1000, prices=DEAR)
        row = store.read(db, [request]).iloc[0]
        assert outcome.noted is None and row["prompt_tokens"] > 0 and row["completion_tokens"] > 0

    def test_one_count_of_a_rate_does_not_stall_a_run(self, server, db):
        changed(server, usage_of(10, 10**9), only=lambda number: number == 0)
        started = time.monotonic()
        ask(cell(server, 3), db, limits={"default": {"concurrency": 1, "tokens_per_minute": 10**6}})
        assert len(server.received) == 3 and time.monotonic() - started < 20


CHATTING = ["openai", "hosted_vllm", "groq", "xai", "deepseek", "mistral", "openrouter", "together_ai", "fireworks_ai",
            "perplexity", "cerebras", "nvidia_nim", "deepinfra", "azure", "databricks", "lm_studio"]  # fmt: skip


class TestEveryProviderOfOpenAIsInterface:
    @pytest.fixture(autouse=True)
    def keys(self, monkeypatch):
        for name in CHATTING:
            monkeypatch.setenv(f"{name.upper()}_API_KEY", "none-at-all")
        monkeypatch.setenv("AZURE_API_VERSION", "2024-06-01")

    @pytest.mark.parametrize("more", [{}, {"service_tier": "on_demand", "x_groq": {"id": "req"}}, {"service_tier": 5}])
    @pytest.mark.parametrize("name", CHATTING)
    def test_a_good_reply_is_kept_at_once(self, server, db, name, more):
        changed(server, lambda reply: reply.update(more))
        requests = cell(server, model=f"{name}/some-model")
        assert ask(requests, db).partial is None
        assert store.read(db, requests)["text"].tolist() == ["answer 0.0"] and len(server.received) == 1

    @pytest.mark.parametrize("token", LOGPROBS)
    @pytest.mark.parametrize("name", ["openai", "hosted_vllm", "xai", "openrouter", "deepseek", "groq", "mistral"])
    def test_log_probabilities_as_servers_send_them_are_kept(self, server, db, name, token):
        given, odd = LOGPROBS[token]
        changed(server, lambda reply: reply["choices"][0].update(logprobs={"content": [given]}))
        requests = cell(server, model=f"{name}/some-model")
        outcome = ask(requests, db)
        assert outcome.partial is None and len(server.received) == 1
        (kept,) = json.loads(store.read(db, requests)["logprobs"].iloc[0])["content"]
        assert kept["logprob"] == given["logprob"] and isinstance(kept["top_logprobs"], list)
        assert ("odd `logprobs: bytes`" in (outcome.noted or "")) == odd


class TestContentInParts:
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a", "lm_studio/a"])
    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "thinking", "thinking": "A tree?"}, {"type": "text", "text": "An oak."}],
            [{"type": "reasoning", "text": "A tree?"}, {"type": "output_text", "text": "An oak."}],
            [{"type": "text", "text": "An "}, {"type": "text", "text": "oak."}],
            ["An ", "oak."],
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "An oak."}],
            {"type": "text", "text": "An oak."},
            [{"type": "text", "text": {"value": "An oak."}}],
        ],
    )
    def test_the_text_is_the_response(self, server, db, content, model):
        server.answer = lambda body, number: [{"message": {"role": "assistant", "content": content}}]
        requests = cell(server, model=model)
        assert ask(requests, db).partial is None
        assert store.read(db, requests)["text"].tolist() == ["An oak."] and len(server.received) == 1

    @pytest.mark.parametrize("content", [7, True, [1, 2], 1.5])
    def test_what_nobody_can_read_is_asked_for_a_few_times_and_counts(self, server, db, content):
        server.answer = lambda body, number: [{"message": {"role": "assistant", "content": content}}]
        outcome = ask(cell(server), db, prices=DEAR)
        assert len(server.received) == 3 and store.read(db, cell(server)).empty and outcome.counts["missing"].sum() == 1
        assert store.spent(db) == pytest.approx(3 * most(cell(server)))


NOTHING = {
    "no choices": lambda reply: reply.update(choices=[]),
    "null": lambda reply: reply.update(choices=None),
    "absent": lambda reply: reply.pop("choices") and None,
    "an object": lambda reply: reply.update(choices={}),
    "no message": lambda reply: reply.update(choices=[{"index": 0, "finish_reason": "stop"}]),
    "a null message": lambda reply: reply.update(choices=[{"index": 0, "message": None}]),
    "null choices": lambda reply: reply.update(choices=[None]),
    "an error": lambda reply: {"error": {"message": "upstream failed", "code": 502}},
    "text": lambda reply: b"<html>Bad gateway</html>",
    "cut": lambda reply: json.dumps(reply).encode()[:-20],
    "nothing": lambda reply: b"",
    "a list": lambda reply: b"[]",
    "null body": lambda reply: b"null",
    "deep": lambda reply: b"[" * 200_000,
    "bytes": lambda reply: b"\xff\xfe\x00\x01",
}


class TestRepliesWithoutAResponse:
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    @pytest.mark.parametrize("reply", NOTHING)
    def test_one_is_asked_for_again(self, server, db, reply, model):
        changed(server, NOTHING[reply], only=lambda number: number == 0)
        requests = cell(server, 2, model=model)
        assert ask(requests, db, limits=ONE).partial is None and len(server.received) == 3
        assert store.read(db, requests)["outcome"].tolist() == ["answer"] * 2

    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    @pytest.mark.parametrize("reply", NOTHING)
    def test_always_it_is_missing_and_no_empty_response(self, server, db, reply, model):
        changed(server, NOTHING[reply])
        requests = cell(server, model=model)
        outcome = ask(requests, db, prices=DEAR)
        assert store.read(db, requests).empty and outcome.counts["missing"].sum() == 1
        assert len(server.received) == 3 and "reply" in outcome.failures[model]
        assert len(store.lost(db)) == 3

    @pytest.mark.parametrize("model", ["anthropic/a", "mistral/a", "openrouter/a"])
    def test_every_provider_by_one_rule(self, server, db, model, monkeypatch):
        for name in ("ANTHROPIC", "MISTRAL", "OPENROUTER"):
            monkeypatch.setenv(f"{name}_API_KEY", "none-at-all")
        server.change = lambda reply, number: b"<html></html>"
        request = request_llm.Request(model, "hi", {"max_tokens": 20}, api_base=server.url)
        outcome = ask([request], db)
        assert len(server.received) == 3 and "no JSON" in outcome.failures[model]

    def test_a_reply_without_content_is_no_page(self, server, db):
        server.fault = lambda body, number: Fault(204) if number == 0 else None
        assert ask(cell(server), db).partial is None and len(server.received) == 2

    def test_good_choices_beside_broken_ones_are_kept(self, server, db):
        changed(server, lambda reply: reply["choices"].insert(0, None), only=lambda number: number == 0)
        assert ask(cell(server, 4, per_call=4), db).partial is None
        assert len(store.read(db, cell(server, 4))) == 4


ODD = {
    "system_fingerprint": {"build": 1},
    "id": ["a"],
    "model": "a\ud800",
    "usage": 1e30,
    "created": "yesterday",
    "object": None,
    "service_tier": {"a": 1},
    "prompt_tokens": "7",
    "completion_tokens_details": 5,
    "finish_reason": {"why": "stop"},
    "logprobs": [1, 2],
    "refusal": 5,
    "tool_calls": "none",
    "annotations": 7,
}


class TestOddFields:
    @pytest.mark.parametrize("name", ODD)
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    def test_the_response_is_stored_and_the_field_left_empty(self, server, db, name, model):
        def change(reply):
            choice = reply["choices"][0]
            places = {"prompt_tokens": reply["usage"], "completion_tokens_details": reply["usage"]}
            places |= {"finish_reason": choice, "logprobs": choice}
            places |= dict.fromkeys(("refusal", "tool_calls", "annotations"), choice["message"])
            places.get(name, reply)[name] = ODD[name]
            return json.dumps(reply).encode()

        changed(server, change, only=lambda number: number == 0)
        requests = cell(server, 3, model=model)
        outcome = ask(requests, db, limits=ONE)
        rows = store.read(db, requests)
        assert outcome.partial is None and rows["text"].tolist() == [f"answer {i}.0" for i in range(3)]
        columns = {"system_fingerprint": "system_fingerprint", "id": "provider_id", "model": "served_model",
                   "prompt_tokens": "prompt_tokens", "finish_reason": "finish_reason"}  # fmt: skip
        if name in columns:
            assert rows[columns[name]].isna().tolist() == [True, False, False]
        if name not in ("created", "object", "service_tier", "tool_calls", "annotations"):
            assert f"1 replies with an odd `{name}`" in outcome.noted

    @pytest.mark.parametrize("value", ["1.2.3s", "soon", "-5", "", "nan", "9" * 400, "1h2x", "."])
    def test_rate_headers_too(self, server, db, value):
        server.headers = {f"x-ratelimit-{what}-{kind}": value if what == "reset" else "0"
                          for what in ("remaining", "reset") for kind in ("requests", "tokens")}  # fmt: skip
        started = time.monotonic()
        assert ask(cell(server, 2), db, limits=ONE).partial is None and time.monotonic() - started < 5

    @pytest.mark.parametrize("value", ["nan", "-5", "1e300", "inf", "soon", "1.2.3", "9" * 400])
    def test_and_what_a_busy_server_asks_to_wait(self, server, db, value):
        server.fault = lambda body, number: Fault(429, headers={"Retry-After": value}) if number == 0 else None
        started = time.monotonic()
        assert ask(cell(server), db).partial is None and time.monotonic() - started < 5

    def test_other_models_go_on_whatever_one_does(self, server, db, monkeypatch):
        keep = sampler._Run.keep

        def fails(run, heard, job, *rest):
            if job.request.model.endswith("/b"):
                raise KeyError("something that nobody has thought of")
            return keep(run, heard, job, *rest)

        monkeypatch.setattr(sampler._Run, "keep", fails)
        requests = cell(server, 10) + cell(server, 10, model="hosted_vllm/b")
        outcome = ask(requests, db)
        assert outcome.counts["added"].to_dict() == {"hosted_vllm/a": 10, "hosted_vllm/b": 0}
        assert "nobody has thought of" in outcome.failures["hosted_vllm/b"]


class TestAnotherModel:
    @pytest.mark.parametrize(
        ("asked", "name"),
        [
            ("openai/gpt-4o", "gpt-4o-2024-08-06"),
            ("openai/gpt-4", "gpt-4-0613"),
            ("anthropic/claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
            ("openrouter/meta-llama/llama-3-70b-instruct", "meta-llama/Llama-3-70B-Instruct"),
            ("openrouter/anthropic/claude-3.5-sonnet", "claude-3-5-sonnet-20240620"),
            ("openrouter/google/gemma-2-9b-it:free", "google/gemma-2-9b-it"),
            ("gemini/gemini-1.5-pro", "gemini-1.5-pro-002"),
            ("fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-v3p1-8b-instruct"),
            ("hosted_vllm/qwen3-4b", "/models/Qwen3-4B.gguf"),
            ("hosted_vllm/llama3", "llama3:latest"),
            ("azure/my-deployment", "gpt-4o-2024-08-06"),
            ("hosted_vllm/a", None),
            ("openai/o1", "o1-2024-12-17"),
            ("openai/gpt-4.1", "gpt-4.1-2025-04-14"),
            ("openai/gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
            ("openai/chatgpt-4o-latest", "chatgpt-4o-latest"),
            ("openai/gpt-4-turbo-preview", "gpt-4-turbo-preview"),
            ("openai/gpt-5", "gpt-5-2025-08-07"),
            ("anthropic/claude-3-opus-latest", "claude-3-opus-20240229"),
            ("anthropic/claude-sonnet-4-0", "claude-sonnet-4-20250514"),
            ("vertex_ai/claude-3-5-sonnet@20240620", "claude-3-5-sonnet-20240620"),
            ("vertex_ai/claude-3-5-sonnet", "claude-3-5-sonnet@20240620"),
            ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
            ("bedrock/us.anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
            ("gemini/gemini-1.5-pro", "models/gemini-1.5-pro-001"),
            ("gemini/gemini-1.5-flash-latest", "gemini-1.5-flash-002"),
            ("gemini/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro-preview-05-06"),
            ("gemini/gemini-2.5-flash-preview", "gemini-2.5-flash-preview-04-17"),
            ("mistral/mistral-large-latest", "mistral-large-2411"),
            ("mistral/mistral-small", "mistral-small-2501"),
            ("mistral/open-mistral-nemo", "open-mistral-nemo-2407"),
            ("xai/grok-2", "grok-2-1212"),
            ("xai/grok-4", "grok-4-0709"),
            ("xai/grok-2-latest", "grok-2-1212"),
            ("cohere/command-r-plus", "command-r-plus-08-2024"),
            ("cohere/command-r", "command-r-03-2024"),
            ("cohere/command-a", "command-a-03-2025"),
            ("deepseek/deepseek-chat", "deepseek-chat"),
            ("together_ai/deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3-0324"),
            ("together_ai/deepseek-ai/DeepSeek-R1", "deepseek-r1-0528"),
            ("dashscope/qwen-max", "qwen-max-2025-01-25"),
            ("dashscope/qwen-plus-latest", "qwen-plus-2025-04-28"),
            ("hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
            ("hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "/data/models/meta-llama/Llama-3.1-8B-Instruct/"),
            ("hosted_vllm/Qwen3-4B-Q8_0", "/models/Qwen3-4B-Q8_0.gguf"),
        ],
    )
    def test_names_that_mean_the_one_asked(self, asked, name):
        assert served.is_asked(asked, name)

    @pytest.mark.parametrize(
        ("asked", "name"),
        [
            ("openai/gpt-4o", "gpt-4o-mini"),
            ("openai/gpt-4o", "gpt-4"),
            ("openai/gpt-4o-mini", "gpt-4o"),
            ("openai/gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
            ("hosted_vllm/llama-3-8b", "llama-3-70b"),
            ("hosted_vllm/llama-3.1-8b", "llama-3-18b"),
            ("hosted_vllm/llama-3-8b", "llama-3-8b-instruct"),
            ("hosted_vllm/mine", "other-model"),
            ("openai/gpt-4", "gpt-4-turbo-2024-04-09"),
            ("openai/o1", "o1-preview"),
            ("openai/o1", "o1-preview-2024-09-12"),
            ("openai/o1", "o1-mini"),
            ("openai/o1", "o1-pro-2025-03-19"),
            ("openai/gpt-4o", "gpt-4o-audio-preview"),
            ("openai/gpt-4o", "gpt-4o-realtime-preview-2024-10-01"),
            ("openai/gpt-4o", "gpt-4o-search-preview"),
            ("openai/gpt-4", "gpt-4-vision-preview"),
            ("openai/gpt-4", "gpt-4-1106-preview"),
            ("openai/gpt-4", "gpt-4-32k-0613"),
            ("openai/gpt-4-turbo", "gpt-4-turbo-preview"),
            ("openai/o1-preview", "o1"),
            ("openai/gpt-3.5-turbo", "gpt-3.5-turbo-instruct"),
            ("openai/gpt-3.5-turbo", "gpt-3.5-turbo-16k"),
            ("openai/gpt-4", "gpt-4.1"),
            ("openai/gpt-4o-latest", "gpt-4o-mini"),
            ("openai/gpt-5", "gpt-5-nano"),
            ("anthropic/claude-3-5-sonnet-latest", "claude-3-5-haiku-20241022"),
            ("anthropic/claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022"),
            ("anthropic/claude-3-7-sonnet", "claude-3-7-sonnet-thinking"),
            ("gemini/gemini-1.5-pro", "gemini-1.5-pro-exp-0801"),
            ("gemini/gemini-1.5-pro", "gemini-1.5-pro-experimental"),
            ("gemini/gemini-2.0-flash", "gemini-2.0-flash-lite"),
            ("gemini/gemini-2.0-flash", "gemini-2.0-flash-thinking-exp-01-21"),
            ("gemini/gemini-1.5-flash", "gemini-1.5-flash-8b-001"),
            ("gemini/gemini-1.5-pro-001", "gemini-1.5-pro-002"),
            ("gemini/gemini-1.5-pro-latest", "gemini-1.5-pro-exp-0827"),
            ("gemini/gemini-2.5-pro", "gemini-2.5-pro-preview-05-06"),
            ("mistral/mistral-large-2407", "mistral-large-2411"),
            ("mistral/mistral-large-latest", "mistral-small-2501"),
            ("xai/grok-2", "grok-2-vision-1212"),
            ("xai/grok-3", "grok-3-mini"),
            ("xai/grok-3", "grok-3-fast"),
            ("xai/grok-beta", "grok-2"),
            ("cohere/command-r", "command-r-plus"),
            ("cohere/command-r", "command-r7b-12-2024"),
            ("deepseek/deepseek-chat", "deepseek-reasoner"),
            ("together_ai/deepseek-ai/DeepSeek-R1", "DeepSeek-R1-Distill-Llama-70B"),
            ("together_ai/deepseek-ai/DeepSeek-R1", "DeepSeek-R1-Zero"),
            ("dashscope/qwen-max", "qwen-plus"),
            ("hosted_vllm/Qwen/Qwen3-4B", "Qwen/Qwen3-4B-Instruct-2507"),
            ("hosted_vllm/Qwen/Qwen3-4B", "Qwen3-4B-Base"),
            ("hosted_vllm/meta-llama/Llama-3.1-8B", "Llama-3.1-8B-Instruct"),
            ("hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct-Turbo"),
            ("hosted_vllm/qwen3-4b-q8_0", "Qwen3-4B-Q4_K_M.gguf"),
            ("hosted_vllm/qwen2.5-7b-instruct", "Qwen2.5-7B-Instruct-Q4_K_M.gguf"),
            ("together_ai/deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V2"),
            ("together_ai/deepseek-ai/DeepSeek-V3", "DeepSeek-V3.1"),
            ("bedrock/anthropic.claude-v2", "anthropic.claude-v2:1"),
            ("anthropic/claude-opus-4-0", "claude-opus-4-1-20250805"),
        ],
    )
    def test_names_that_mean_another(self, asked, name):
        assert not served.is_asked(asked, name)
        assert served.is_asked(asked, name, (name,))

    def test_its_responses_are_stored_and_named_unless_it_is_an_alias(self, server, db):
        changed(server, lambda reply: reply.update(model="other-model"), only=lambda number: number < 2)
        outcome = ask(cell(server, 5), db, limits=ONE)
        assert "2 responses answered by another model (other-model)" in outcome.noted
        assert store.read(db, cell(server, 5))["outcome"].tolist() == ["another_model"] * 2 + ["answer"] * 3
        known = cell(server, 5, aliases=("other-model",))
        assert store.read(db, known)["outcome"].tolist() == ["answer"] * 5  # without asking again
        assert ask(known, db).counts["added"].sum() == 0


class TestIdsOfReplies:
    def test_they_are_stored(self, server, db):
        ask(cell(server, 2), db, limits=ONE)
        assert store.read(db, cell(server, 2))["provider_id"].tolist() == ["call-0", "call-1"]

    @pytest.mark.parametrize("runs", [1, 2])
    def test_a_second_reply_under_one_is_not_kept(self, server, db, runs):
        changed(server, lambda reply: reply.update(id="the-only-one"))
        for n in range(1, 3)[:runs] if runs == 2 else [2]:
            outcome = ask(cell(server, n), db, limits=ONE)
        assert len(store.read(db, cell(server, 2))) == 1 and outcome.counts["missing"].sum() == 1
        assert "the id of an earlier response" in outcome.partial and "not kept" in outcome.noted

    @pytest.mark.parametrize("value", ["", None])
    def test_no_id_is_none(self, server, db, value):
        changed(server, lambda reply: reply.update(id=value))
        assert ask(cell(server, 3), db).partial is None

    def test_answers_of_one_call_share_one(self, server, db):
        assert ask(cell(server, 6, per_call=3), db).partial is None


class TestWhatNobodyAskedFor:
    @pytest.mark.parametrize("said", ["Unrecognized request argument: seed", "seed is not supported", "Extra: 'seed'"])
    @pytest.mark.parametrize("status", [400, 422])
    def test_a_refused_seed_is_left_out_and_recorded(self, server, db, said, status):
        server.fault = lambda body, number: Fault(status, said) if "seed" in body else None
        assert ask(cell(server, 4), db, limits=ONE).partial is None
        rows = store.read(db, cell(server, 4))
        assert rows["seed"].isna().all() and len(rows) == 4 and len(server.received) == 5
        assert all("seed" not in json.loads(text) for text in rows["effective"])

    def test_so_is_the_name_of_the_longest_answer(self, server, db):
        said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        server.fault = lambda body, number: Fault(400, said) if "max_tokens" in body else None
        assert ask(cell(server, 2), db, limits=ONE).partial is None
        assert server.bodies()[-1]["max_completion_tokens"] == 20


class TestOneRequestOfMany:
    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (400, "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."),
            (400, "the request exceeds the available context size"),
            (413, "prompt is too long: 210000 tokens > 200000 maximum"),
            (422, "Input is too long for requested model."),
            (400, "Please reduce the length of the messages or completion."),
        ],
    )
    def test_one_that_is_too_long_is_not_to_be_had_and_the_others_are(self, server, db, status, said):
        server.fault = lambda body, number: Fault(status, said) if "long" in body["messages"][0]["content"] else None
        requests = [r for i in range(8) for r in cell(server, 3, prompt="long" if i == 2 else f"tree {i}")]
        for run in range(2):
            outcome = ask(requests, db, limits=ONE)
            row = outcome.counts.loc["hosted_vllm/a"]
            assert (row["unsupported"], row["missing"], row["stored"] + row["added"]) == (3, 0, 21), run
            assert outcome.partial is None and "too long" in outcome.refused[requests[6].key]
        assert len(server.received) == 22  # asked once, never again
        assert cost.plan(requests, db, prices={"hosted_vllm/a": (0, 0)})["unsupported"].sum() == 3

    def test_one_that_is_refused_is_missing_alone(self, server, db):
        server.fault = lambda body, number: Fault(400, "No.") if "bad" in body["messages"][0]["content"] else None
        prompts = [f"{'bad' if i in (3, 4, 5, 6) else 'good'} {i}" for i in range(12)]
        requests = [r for prompt in prompts for r in cell(server, 2, prompt=prompt)]
        for _ in range(2):
            outcome = ask(requests, db, limits=ONE)
            assert outcome.counts["missing"].sum() == 8 and len(outcome.refused) == 4
        assert len(store.read(db, requests)) == 16

    def test_a_model_that_refuses_everything_stops(self, server, db):
        server.fault = lambda body, number: Fault(400, "No.")
        outcome = ask([r for i in range(30) for r in cell(server, prompt=f"tree {i}")], db, limits=ONE)
        assert len(server.received) == 3 and "No" in outcome.failures["hosted_vllm/a"]


@contextlib.contextmanager
def dripping(make):
    """A raw server that sends `make(i)` every 20 ms, for ever; gives its address."""
    ended = threading.Event()

    def talk(connection):
        connection.recv(65536)
        for i in itertools.takewhile(lambda _: not ended.wait(0.02), itertools.count()):
            connection.sendall(make(i))

    with raw_serving(talk) as url:
        try:
            yield f"{url}/v1"
        finally:
            ended.set()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "a body": lambda i: HEAD if i == 0 else b"1\r\n \r\n",
    "a header": lambda i: b"HTTP/1.1 200 OK\r\nX-Long: " if i == 0 else b"a",
    "headers": lambda i: b"HTTP/1.1 200 OK\r\n" if i == 0 else f"X-{i}: a\r\n".encode(),
    "half a line": lambda i: b"HTTP/1.1 200 OK\r\n"[i % 8 : i % 8 + 1],
}


class TestNothingIsReadWithoutAnEnd:
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    @pytest.mark.parametrize("drip", DRIPS)
    def test_one_deadline_for_the_whole_call(self, server, db, drip, model):
        ask(cell(server, model=model), db)  # the first call of a process loads libraries
        with dripping(DRIPS[drip]) as url:
            request = request_llm.Request(model, "hi", {"max_tokens": 20}, api_base=url)
            started = time.monotonic()
            outcome = ask([request], db, limits={"default": {"timeout_s": 0.4}}, prices=DEAR)
        assert time.monotonic() - started < 20 and outcome.counts["missing"].sum() == 1
        if drip == "a body":
            assert "within 0.4 s" in outcome.partial and len(store.lost(db)) == 3

    def test_a_page_of_an_error_is_read_in_part(self, server, db):
        server.fault = lambda body, number: Fault(403, "no " * 10**6)
        outcome = ask(cell(server), db)
        assert "status 403" in outcome.partial and len(outcome.partial) < 2000

    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    def test_a_response_that_is_too_large_is_an_outcome(self, server, db, model):
        server.answer = lambda body, number: ["word " * 100_000 if number == 1 else "An oak."]
        requests = cell(server, 4, model=model)
        outcome = ask(requests, db, limits={"default": {"concurrency": 1, "max_reply_mb": 0.2}}, prices=DEAR)
        rows = store.read(db, requests)
        assert rows["outcome"].tolist() == ["answer", "too_large", "answer", "answer"]
        assert rows["text"].tolist()[1] == "" and "too large" in outcome.noted and db.stat().st_size < 200_000
        assert store.spent(db) > most(requests[:1])

    def test_beside_others_it_is_the_only_one(self, server, db):
        server.answer = lambda body, number: [
            "word " * 300_000 if i == 1 and number == 0 else "An oak." for i in range(body.get("n") or 1)
        ]
        outcome = ask(cell(server, 3, per_call=3), db, limits={"default": {"max_reply_mb": 0.1}})
        assert outcome.partial is None and set(store.read(db, cell(server, 3))["text"]) == {"An oak."}


def deflated(content, bits):
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    return packer.compress(content) + packer.flush()


@pytest.fixture
def compressed():
    """Serve one body for ever: returns a function that starts it and gives its address."""
    with contextlib.ExitStack() as servers:

        def start(body, encoding, status=200):
            head = f"HTTP/1.1 {status} X\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"

            def talk(connection):
                connection.recv(65536)
                connection.sendall(head.encode() + body)

            return f"{servers.enter_context(raw_serving(talk))}/v1"

        yield start


GOOD = json.dumps(
    {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "An oak."}}]}
).encode()
GZIP, ZLIB, RAW = 31, 15, -15  # windows of zlib


class TestCompressedReplies:
    @pytest.mark.parametrize(
        ("encoding", "bits"), [("gzip", GZIP), ("x-gzip", GZIP), ("GZIP", GZIP), ("deflate", ZLIB), ("deflate", RAW)]
    )
    @pytest.mark.parametrize("model", ["hosted_vllm/a", "openai/a"])
    def test_are_read(self, compressed, db, encoding, bits, model):
        request = request_llm.Request(model, "hi", api_base=compressed(deflated(GOOD, bits), encoding))
        assert ask([request], db).partial is None
        assert store.read(db, [request])["text"].tolist() == ["An oak."]

    @pytest.mark.parametrize(
        ("body", "encoding", "said"),
        ids=["twice", "br", "zstd", "plain", "cut"],
        argvalues=[
            (deflated(deflated(GOOD, GZIP), GZIP), "gzip, gzip", "compressed as gzip, gzip"),
            (GOOD, "br", "compressed as br"),
            (GOOD, "zstd", "compressed as zstd"),
            (GOOD, "gzip", "cannot be read"),
            (deflated(GOOD, GZIP)[:40], "gzip", "the reply is empty"),
        ],
    )
    def test_or_refused_with_how_they_are_compressed(self, compressed, db, body, encoding, said):
        outcome = ask(
            [request_llm.Request("hosted_vllm/a", "hi", api_base=compressed(body, encoding))], db, prices=DEAR
        )
        assert said in outcome.partial and len(store.lost(db)) == 3

    @pytest.mark.parametrize("status", [200, 500])
    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_a_small_one_does_not_become_large(self, compressed, times, status):
        body = b" " * (64 * 2**20)
        for _ in range(times):
            body = deflated(body, GZIP)
        url = compressed(body, ", ".join(["gzip"] * times), status)

        async def read():
            async with httpx.AsyncClient() as client, client.stream("GET", url) as reply:
                return await bodies.whole(reply, 2**20)

        tracemalloc.start()
        try:
            reply = asyncio.run(read())
        except (bodies.TooLarge, bodies.Unusable):
            reply = None
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 8 * 2**20 and (reply is None) == (status == 200)
        assert reply is None or len(reply.content) <= bodies.ERROR_BYTES + bodies.PIECE

    def test_only_what_can_be_read_is_asked_for(self, server, db):
        ask(cell(server), db)
        assert server.received[0].headers["Accept-Encoding"] == bodies.ENCODINGS


SLOW = """
import sys
from hivemind_utils.llm import request, sampler
requests = request.requests("hosted_vllm/a", "hi", {"max_tokens": 20}, 60, api_base=sys.argv[2])
sampler.run(requests, sys.argv[1], budget_usd=100, prices={"hosted_vllm/a": (1000, 1000)}, progress=False,
            limits={"default": {"concurrency": 4}})
"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("latency", [0.4, 30])
def test_a_signal_drains_what_is_in_flight(server, db, name, latency):
    server.latency = latency
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SLOW, str(db), server.url], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(server.received) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started = time.monotonic()
    process.send_signal(getattr(signal, name))
    assert process.wait(20) != 0 and time.monotonic() - started < 8
    requests = request_llm.requests("hosted_vllm/a", "hi", {"max_tokens": 20}, 60, api_base=server.url)
    n_kept, n_lost = len(store.read(db, requests)), len(store.lost(db))
    assert n_kept + n_lost == len(server.received) and (n_lost == 0) == (latency < 1)


def test_a_signal_that_is_ignored_stays_ignored(server, db):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server.answer = lambda body, number: [os.kill(os.getpid(), signal.SIGHUP) or "An oak."]
        assert ask(cell(server, 3), db).partial is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class TestAddressesThatHoldAKey:
    @pytest.mark.parametrize(
        "address",
        [
            "http://me:word@127.0.0.1:1/v1",
            "http://127.0.0.1:1/v1?key=canary",
            "http://127.0.0.1:1/v1#canary",
            "http://127.0.0.1:1/sk-canary123456/v1",
            "http://127.0.0.1:1/7f3a9c51d2e84b60a1b2/v1",
        ],
    )
    def test_they_are_refused_before_anything_is_asked_or_written(self, address):
        with pytest.raises(ValueError, match="may not be used") as caught:
            request_llm.Request("hosted_vllm/a", "hi", api_base=address)
        assert "canary" not in str(caught.value)

    def test_nor_may_they_hold_a_key_of_the_environment(self, monkeypatch):
        monkeypatch.setenv("MY_API_KEY", "plainwords")
        with pytest.raises(ValueError, match="looks like a key"):
            request_llm.Request("hosted_vllm/a", "hi", api_base="http://127.0.0.1:1/plainwords/v1")

    @pytest.mark.parametrize("path", ["v1", "openai/deployments/gpt-35-turbo-16k", "v1/projects/my-project/openapi"])
    def test_others_are_not(self, path):
        assert request_llm.Request("hosted_vllm/a", "hi", api_base=f"https://gateway.example.org/{path}").api_base

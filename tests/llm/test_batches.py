"""Batches against a real server on the loopback, in both protocols, with processes killed in between."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from batch_server import serving_batches

from hivemind_utils.llm import batch_adapters, batch_journal, batches, cost, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import arm_cells, design, gathering, prompts

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"files": "openai/gpt-5.4-mini-2026-03-17", "messages": "anthropic/claude-haiku-4-5-20251001"}
PARAMETERS = {"top_p": 0.9, "max_tokens": 100}
KEYS = {"OPENAI_API_KEY": "canary-of-openai", "ANTHROPIC_API_KEY": "canary-of-anthropic"}


@pytest.fixture
def server():
    with serving_batches() as running:
        yield running


@pytest.fixture
def db(tmp_path):
    return tmp_path / "04.sqlite"


@pytest.fixture(params=["files", "messages"])
def protocol(request, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(batches, "SETTLE_S", 0)
    return request.param


def cell(server, protocol, n=4, prompts=("Name a tree.", "Name a sea.")):
    base = server.url + ("/v1" if protocol == "files" else "")
    return [
        one for text in prompts for one in request_llm.requests(MODELS[protocol], text, PARAMETERS, n, api_base=base)
    ]


def ask(requests, db, **options):
    return batches.run(requests, db, **{"budget_usd": 1.0, "progress": False} | options)


def killed(server, protocol, db, where, n=4):
    """Run in another process that kills itself at a place: `where` is code that runs before the run."""
    code = f"""
        import os, signal, sys
        sys.path[:0] = {[str(ROOT / "tests"), str(ROOT / "tests" / "llm")]!r}
        from hivemind_utils.llm import batch_adapters, batch_journal, batches, store
        import test_batches
        batches.SETTLE_S = 0
        def die(*arguments, **options):
            os.kill(os.getpid(), signal.SIGKILL)
        class Server: url = {server.url!r}
        {where}
        test_batches.ask(test_batches.cell(Server, {protocol!r}, {n}), {str(db)!r})
    """
    environment = os.environ | KEYS | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def nothing_twice(server, db, requests):
    """Every answer is there, once, and the server ran no line twice."""
    rows = store.read(db, requests)
    wanted = sum(request.n for request in requests)
    assert len(rows) == wanted and not rows.duplicated(["key", "sample_idx"]).any()
    asked = {json.dumps(row["body"], sort_keys=True) + row["custom_id"][-2:] for row in server.lines}
    assert len(server.lines) == len(asked) and server.submitted == 1  # no batch for what another had


class TestRounds:
    def test_submit_end_collect(self, server, db, protocol):
        requests = cell(server, protocol)
        first = ask(requests, db)
        assert server.submitted == 1 and first.counts["missing"].sum() == 8
        assert "8 wait in batches at the provider: run again later" in first.partial
        assert "1 batches wait" in batches.waiting(db)
        assert ask(requests, db).counts["missing"].sum() == 8 and server.submitted == 1  # it runs still
        server.end()
        last = ask(requests, db)
        assert last.partial is None and last.counts["added"].sum() == 8 and batches.waiting(db) is None
        nothing_twice(server, db, requests)
        price = cost.price(MODELS[protocol], batch=True)
        n_lines = len(server.batches["batch-000"]["rows"])
        assert last.cost_usd == pytest.approx(10 * n_lines * price[0] + 40 * price[1])
        assert price[0] == pytest.approx(cost.price(MODELS[protocol])[0] / 2)
        assert ask(requests, db).counts["stored"].sum() == 8 and server.submitted == 1

    def test_results_in_any_order_reach_the_answers_they_were_asked_for(self, server, db, protocol):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        ask(requests, db)
        server.end()
        ask(requests, db)
        assert [len(store.read(db, [request])) for request in requests] == [1, 1, 1]

    @pytest.mark.parametrize("fate", ["expired", "error", "lost"])
    def test_only_what_is_missing_is_asked_again(self, server, db, protocol, fate):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        server.fate = lambda line, body: fate if line.endswith("-1") and len(server.batches) == 1 else "ok"
        ask(requests, db)
        server.end()
        outcome = ask(requests, db)
        assert outcome.counts["added"].sum() == 2 and server.submitted == 2
        assert len(server.batches["batch-001"]["rows"]) == 1
        server.end()
        assert ask(requests, db).partial is None and len(store.read(db, requests)) == 3

    def test_a_line_that_always_fails_is_given_up_with_the_reason(self, server, db, protocol):
        requests = cell(server, protocol, 1, ("a",))
        server.fate = lambda line, body: "error"
        for _ in range(batches.MAX_ERRORS + 2):
            outcome = ask(requests, db)
            server.end()
        assert server.submitted == batches.MAX_ERRORS and "a planned fault" in outcome.partial

    def test_a_filtered_prompt_is_an_outcome(self, server, db, protocol):
        requests = cell(server, protocol, 1, ("a",))
        server.fate = lambda line, body: "filtered"
        ask(requests, db)
        server.end()
        assert ask(requests, db).partial is None
        assert store.read(db, requests)["outcome"].tolist() == ["content_filter"]

    def test_the_budget_counts_what_is_in_flight(self, server, db, protocol):
        price = cost.price(MODELS[protocol], batch=True)
        one = 1.5 * request_llm.tokens_in(cell(server, protocol)[0]) * price[0] + 100 * price[1]
        requests = cell(server, protocol, 1, "abcdef")
        for _ in range(2):
            outcome = ask(requests, db, budget_usd=3.5 * one)
            assert server.submitted == 1 and len(server.batches["batch-000"]["rows"]) == 3
            assert "the budget of $" in outcome.partial
        server.end()
        outcome = ask(requests, db, budget_usd=3.5 * one)  # what it really cost leaves room
        assert server.submitted == 2 and outcome.counts["added"].sum() == 3

    def test_nothing_is_submitted_without_a_budget(self, server, db, protocol):
        assert "budget_usd` is 0" in ask(cell(server, protocol), db, budget_usd=0).partial and not server.calls

    def test_enqueued_tokens_split_the_work(self, server, db, protocol):
        requests = cell(server, protocol, 1, [f"{i} " + "word " * 40 for i in range(6)])
        limit = {"default": {"enqueued_tokens": 2.5 * request_llm.tokens_in(requests[0])}}
        for round_ in range(1, 4):
            outcome = ask(requests, db, limits=limit)
            assert server.submitted == round_ and len(server.batches[f"batch-{round_ - 1:03}"]["rows"]) == 2
            server.end()
        assert "enqueued" not in outcome.partial
        assert ask(requests, db, limits=limit).partial is None

    def test_files_hold_so_many_lines(self, server, db, protocol, monkeypatch):
        monkeypatch.setattr(batch_adapters, "MAX_LINES", 2)
        ask(cell(server, protocol, 1, "abcde"), db)
        assert [len(batch["rows"]) for batch in server.batches.values()] == [2, 2, 1]


def test_odd_fields_of_a_reply_lose_no_answer_and_cost_nothing_below_zero(server, db, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-of-openai")
    requests = cell(server, "files", 1, ("a",))
    ask(requests, db)
    one = batch_journal.read(db)[0]
    for usage in ({"prompt_tokens": -5, "completion_tokens": 1e30}, {"prompt_tokens": "many"}, {}):
        odd = batch_adapters.Result(0, "answered", (("An oak.", "stop", None, None),), usage, "\ud800", {"a": 1})
        assert batches._count(odd, "prompt") is None
        with store.Store(db.with_name(f"{len(str(usage))}.sqlite")) as opened:
            stored = batches._Batches(opened, None, 1.0, {}, 0, {})
            line = {"key": "k", "samples": [0], "effective": "{}", "seed": None}
            opened.remember("k", one.model, None, [], {})
            stored._store(one, line, odd)
        assert store.spent(opened.path) == pytest.approx(one.reserved_usd)  # the most it may have cost
        assert store.held(opened.path) == {"k": {0}}


def test_a_damaged_line_of_the_results_is_asked_again(server, db, protocol, monkeypatch):
    requests = cell(server, protocol, 1, ("a", "b", "c"))
    ask(requests, db)
    server.end()
    whole = batch_adapters._json_lines
    monkeypatch.setattr(batch_adapters, "_json_lines", lambda text: whole('\n7\n{"cut": ' + text))
    outcome = ask(requests, db)
    assert outcome.counts["added"].sum() == 2 and len(server.batches["batch-001"]["rows"]) == 1


def test_what_waits_in_a_batch_is_not_asked_at_once_when_the_profile_no_longer_says_batch(server, db, protocol):
    requests = cell(server, protocol)
    ask(requests, db)
    outcome = ask(requests, db, batch=False)
    assert outcome.counts["missing"].sum() == 8 and server.submitted == 1
    assert not [path for _, path, _ in server.calls if path.endswith(("/completions", "/messages"))]
    server.end()
    assert ask(requests, db, batch=False).partial is None and server.submitted == 1


class TestRefusals:
    def test_a_refused_batch_is_told_and_asked_again_only_by_the_next_run(self, server, db, protocol):
        server.refuse = ("/batches", 400, "no batches today")
        outcome = ask(cell(server, protocol), db)
        assert "no batches today" in outcome.partial and batches.waiting(db) is None and not server.submitted
        server.refuse = None
        ask(cell(server, protocol), db)
        assert server.submitted == 1

    def test_a_batch_that_fails_later_says_why(self, server, db, protocol):
        if protocol == "messages":
            pytest.skip("Anthropic checks a batch when it is submitted")
        server.failure = "Enqueued token limit reached"
        ask(cell(server, protocol), db)
        assert "enqueued_tokens" in ask(cell(server, protocol), db).partial and server.submitted == 1
        server.failure = None
        ask(cell(server, protocol), db)
        server.end()
        assert ask(cell(server, protocol), db).partial is None and server.submitted == 2

    def test_a_broken_connection_after_the_submission_is_no_second_submission(self, server, db, protocol):
        server.drop = ("POST", "/batches")
        outcome = ask(cell(server, protocol), db)
        assert server.submitted == 1 and "a submission broke off" in outcome.partial
        server.drop = None
        for _ in range(2):
            ask(cell(server, protocol), db)
            server.end()
        ask(cell(server, protocol), db)
        assert server.submitted == 1
        nothing_twice(server, db, cell(server, protocol))

    def test_no_key_reaches_a_host_that_only_a_profile_names(self, db, protocol, monkeypatch):
        base = "http://192.0.2.1:9"
        asked = batch_adapters.adapter(MODELS[protocol], base)
        assert (asked.options["api_key"] if protocol == "files" else asked.key) == "none"
        mine = batch_adapters.adapter("hosted_vllm/mine", "http://127.0.0.1:9/v1")
        assert mine.options["api_key"] == "none"  # not OpenAI's, which litellm would take

    def test_results_are_not_fetched_from_another_host(self, server, protocol):
        if protocol == "files":
            pytest.skip("files are named by ids, not by addresses")
        asked = batch_adapters.adapter(MODELS[protocol], server.url)
        with serving_batches() as other, pytest.raises(batch_adapters.Refused, match="not sent"):
            list(asked.results("t", batch_adapters.Status("ended", files=(f"{other.url}/results",))))
        assert not other.calls

    def test_a_provider_without_batches_is_asked_at_once_and_a_wrong_name_is_refused(self, db):
        assert not batches.chosen(True)("simulated/a") and not batches.chosen(False)("openai/a")
        with pytest.raises(ValueError, match="anthropic"):
            batches.chosen(["antropic"])

    def test_a_batch_can_be_forgotten(self, server, db, protocol):
        ask(cell(server, protocol), db)
        assert batches.forget(db, "batch-000") and not batches.forget(db, "batch-000")
        assert batches.waiting(db) is None


@pytest.mark.long
class TestKills:
    """A process dies by SIGKILL; the next run pays nothing twice and loses nothing."""

    @pytest.mark.parametrize(
        ("where", "submitted"),
        [
            ("batch_adapters.Files.submit = batch_adapters.Anthropic.submit = die", 0),  # written down, not submitted
            ("batch_journal.Journal.set = die", 1),  # submitted, its id not written down
            ("batches._Batches.outcome = die", 1),  # its id written down
        ],
    )
    def test_around_the_submission(self, server, db, protocol, where, submitted):
        requests = cell(server, protocol)
        killed(server, protocol, db, where)
        assert server.submitted == submitted and len(batch_journal.read(db)) == 1
        ask(requests, db)
        assert server.submitted == 1
        server.end()
        for _ in range(2):
            outcome = ask(requests, db)
        assert outcome.partial is None and server.submitted == 1
        nothing_twice(server, db, requests)

    @pytest.mark.parametrize(
        "where",
        [
            "store.Store.add = die",  # before the first answer is stored
            "add = store.Store.add; n = []; "
            "store.Store.add = lambda *a: (add(*a), n.append(1), len(n) == 1 and die())",  # after the first
            "batch_journal.Journal.note = die",  # all stored, the batch not settled
            "batch_journal.Journal.set = die",  # settled, but for its state
        ],
    )
    def test_while_collecting(self, server, db, protocol, where):
        requests = cell(server, protocol)
        ask(requests, db)
        server.end()
        killed(server, protocol, db, where)
        outcome = ask(requests, db)
        assert outcome.partial is None and server.submitted == 1
        nothing_twice(server, db, requests)
        price = cost.price(MODELS[protocol], batch=True)
        n_lines = len(server.batches["batch-000"]["rows"])
        assert store.spent(db) == pytest.approx(10 * n_lines * price[0] + 40 * price[1])

    def test_a_strangers_batch_is_never_taken_for_ours(self, server, db, protocol):
        requests = cell(server, protocol)
        ask(requests, db.with_name("other.sqlite"))
        server.end()
        killed(server, protocol, db, "batch_adapters.Files.submit = batch_adapters.Anthropic.submit = die")
        ask(requests, db)
        assert server.submitted == 2 and len(store.read(db, requests)) == 0


class TestAStudy:
    """The seam: cells of a study asked in batches, planned at the price of batches."""

    def frame(self, server, protocol):
        models = pd.DataFrame({"model": ["m"], "litellm_id": [MODELS[protocol]]})
        asked = pd.DataFrame(
            {"prompt_id": ["p", "q"], "prompt": ["Name a tree.", "Name a sea."], "prompt_kind": "original"}
        )
        base = server.url + ("/v1" if protocol == "files" else "")
        asked = asked.reindex(columns=prompts.PROMPT_COLUMNS)
        return design.cells(asked, models, {"top_p": PARAMETERS}, 3, api_bases={"m": base})

    def test_submits_and_collects_and_the_plan_says_what_waits(self, server, db, protocol):
        frame = self.frame(server, protocol)
        asking = {"store_path": db, "budget_usd": 1.0, "progress": False}
        plans = [design.cost_plan(frame, db, batch=batch)["cost_expected"].sum() for batch in (False, True)]
        assert plans[1] == pytest.approx(plans[0] / 2)
        assert "run again later" in arm_cells.run(frame, {}, batch=True, **asking).partial
        assert "run again later" in arm_cells.run(frame, {}, **asking).partial  # the switch may change in between
        server.end()
        assert arm_cells.run(frame, {}, batch=True, **asking).partial is None and server.submitted == 1
        assert len(gathering.collect(frame, db)) == 6

    def test_before_anything_is_collected_the_message_says_so(self, server, db, protocol):
        frame = self.frame(server, protocol)
        empty = pd.DataFrame()
        asking = {"store_path": db, "budget_usd": 1.0, "progress": False, "batch": True}
        plan = design.Plan("sampled", "m", frame, empty, None, None, [], asking, empty, [])
        with pytest.raises(ValueError, match=r"1 batches wait: .* Run again later to collect them"):
            design.gather(plan, design.run(plan))

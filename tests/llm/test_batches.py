"""Batches against a real server on the loopback, in both protocols, with processes killed in between."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from aiohttp import web
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


def choice(**fields):
    return lambda row: row["response"]["body"]["choices"][0].update(fields)


def said(**fields):
    return lambda row: row["response"]["body"]["choices"][0]["message"].update(fields)


def reply(**fields):
    return lambda row: row["response"]["body"].update(fields)


def message(**fields):
    return lambda row: row["result"]["message"].update(fields)


ZEROS = {"prompt_tokens": 0, "completion_tokens": 0}
DETAILS = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": [1]}
DEEP = json.loads('{"a":' * 300 + "1" + "}" * 300)
PARTS = [{"type": "text", "text": "An "}, {"type": "text", "text": "oak."}]
THOUGHT = {"type": "thinking", "thinking": "A tree?"}
SAYS_NOTHING = [  # of the tokens used: the most that a line may have cost is counted
    ("files", reply(usage=ZEROS)),
    ("files", reply(usage=None)),
    ("files", reply(usage=[1])),
    ("files", reply(usage="many")),
    ("files", reply(usage={"prompt_tokens": -5, "completion_tokens": 1e30})),
    ("files", reply(usage={"prompt_tokens": "many"})),
    ("files", lambda row: (choice(finish_reason="content_filter")(row), reply(usage={})(row))),
    ("messages", message(usage={"input_tokens": 0, "output_tokens": 0})),
    ("messages", message(usage=None)),
    ("messages", message(usage=[1])),
    ("messages", message(usage={"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": "5"})),
    ("messages", message(usage={"input_tokens": 10.0, "output_tokens": 5, "cache_read_input_tokens": -5})),
    ("messages", message(usage={"input_tokens": 0, "output_tokens": 0}, stop_reason="refusal")),
]
ANSWERED = [  # whatever else is odd
    ("files", reply(usage=DETAILS), "tree 0"),
    ("files", reply(model={"a": 1}), "tree 0"),
    ("files", reply(system_fingerprint=["\ud800"]), "tree 0"),
    ("files", reply(id=DEEP), "tree 0"),
    ("files", said(content=PARTS), "An oak."),
    ("files", said(content=None), ""),
    ("files", said(content="An \ud800oak."), "An \ufffdoak."),
    ("files", said(refusal={"a": 1}), "tree 0"),
    ("files", choice(finish_reason=[7]), "tree 0"),
    ("files", choice(index="a"), "tree 0"),
    ("files", choice(logprobs=[1]), "tree 0"),
    ("files", choice(logprobs={"content": [{"token": "\ud800", "logprob": -1.0, "top_logprobs": []}]}), "tree 0"),
    ("files", lambda row: row["response"].update(status_code="200"), "tree 0"),
    ("messages", message(content="An oak."), "An oak."),
    ("messages", message(content=["An oak."]), "An oak."),
    ("messages", message(content=[THOUGHT, *PARTS]), "An oak."),
    ("messages", message(content=None), ""),
    ("messages", message(stop_reason=[7]), "tree 0"),
    ("messages", message(model=["\ud800"]), "tree 0"),
    ("messages", lambda row: row["result"].pop("type"), "tree 0"),
]
UNREADABLE = [  # a line that ran, and whose response is none
    ("files", reply(choices=[None])),
    ("files", reply(choices={"0": 1})),
    ("files", reply(choices=[])),
    ("files", choice(message="hi")),
    ("files", said(content=7)),
    ("files", lambda row: row.update(response=[1])),
    ("files", lambda row: row["response"].update(body="<html>")),
    ("files", lambda row: row.update(response=None)),
    ("messages", message(content=7)),
    ("messages", lambda row: row.update(result="x")),
    ("messages", lambda row: row.pop("result")),
    ("messages", lambda row: row["result"].update(type="later", message=[1])),
]
FAILED = [  # a line that did not run
    ("files", lambda row: row.update(response=None, error="boom")),
    ("files", lambda row: row.update(response=None, error={"code": 7, "message": ["boom"]})),
    ("files", lambda row: row["response"].update(status_code=500, body="boom")),
    ("messages", lambda row: row.update(result={"type": "errored", "error": "boom"})),
    ("messages", lambda row: row.update(result={"type": "errored"})),
    ("messages", lambda row: row.update(result={"type": "errored", "error": {"error": ["boom"]}})),
]


@pytest.fixture
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def ended(server, protocol, db, alter, texts=("a", "b", "c"), line=1):
    """Requests of a batch that has ended, with one odd line."""
    requests = cell(server, protocol, 1, texts)
    ask(requests, db)
    server.alter = lambda row: alter(row) if row["custom_id"].endswith(f"-{line}") else None
    server.end()
    return requests


def reserve(db, n_lines):
    return batch_journal.read(db)[0].reserved_usd / n_lines


def cost_of_a_line(protocol):
    price = cost.price(MODELS[protocol], batch=True)
    return 10 * price[0] + 5 * price[1]


@pytest.mark.usefixtures("keys")
class TestOddLines:
    """One odd line costs what it may have cost, and no other line."""

    @pytest.mark.parametrize(("protocol", "alter"), SAYS_NOTHING)
    def test_a_line_that_does_not_say_what_it_used_counts_as_the_most_it_may_have_cost(
        self, server, db, protocol, alter
    ):
        requests = ended(server, protocol, db, alter)
        assert ask(requests, db).partial is None and server.submitted == 1
        assert store.spent(db) == pytest.approx(reserve(db, 3) + 2 * cost_of_a_line(protocol))

    @pytest.mark.parametrize(("protocol", "alter", "text"), ANSWERED)
    def test_an_odd_field_loses_no_response_of_its_line_and_none_of_the_others(self, server, db, protocol, alter, text):
        requests = ended(server, protocol, db, alter)
        assert ask(requests, db).partial is None and server.submitted == 1
        rows = [store.read(db, [request])["text"].tolist() for request in requests]
        assert rows == [["tree 0"], [text], ["tree 0"]]
        assert store.spent(db) == pytest.approx(3 * cost_of_a_line(protocol))

    def test_odd_fields_are_counted(self, server, db):
        requests = ended(server, "files", db, reply(model=7, usage=[1]))
        assert "odd `model`, left empty" in (noted := ask(requests, db).noted) and "odd `usage`" in noted

    @pytest.mark.parametrize(("protocol", "alter"), UNREADABLE)
    def test_a_response_that_cannot_be_read_is_counted_and_asked_again(self, server, db, protocol, alter):
        requests = ended(server, protocol, db, alter)
        outcome = ask(requests, db)
        assert outcome.counts["added"].sum() == 2 and "1 replies lost that may have been paid for" in outcome.noted
        assert len(server.batches["batch-001"]["rows"]) == 1
        spent = reserve(db, 3) + 2 * cost_of_a_line(protocol)
        assert store.spent(db) == pytest.approx(spent) and len(store.lost(db)) == 1

    @pytest.mark.parametrize(("protocol", "alter"), FAILED)
    def test_a_line_that_did_not_run_costs_nothing(self, server, db, protocol, alter):
        requests = ended(server, protocol, db, alter)
        assert ask(requests, db).counts["added"].sum() == 2 and server.submitted == 2
        assert store.spent(db) == pytest.approx(2 * cost_of_a_line(protocol))

    def test_a_line_that_never_can_be_read_is_given_up(self, server, db):
        requests = ended(server, "files", db, reply(choices=[None]), ("a",), line=0)
        for _ in range(batches.MAX_ERRORS + 2):
            outcome = ask(requests, db)
            server.end()
        assert server.submitted == batches.MAX_ERRORS and "holds no response" in outcome.partial
        assert store.spent(db) == pytest.approx(3 * reserve(db, 1))

    @pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
    def test_a_separator_in_a_text_ends_no_line(self, server, db, protocol, end):
        server.ascii = False
        alter = said if protocol == "files" else lambda content: message(content=content)
        requests = ended(server, protocol, db, alter(content=f"An{end}oak."))
        assert ask(requests, db).partial is None and server.submitted == 1
        assert store.read(db, [requests[1]])["text"].tolist() == [f"An{end}oak."]


def twice(text):
    rows = [json.loads(row) for row in text.split("\n")]
    bad = [dict(row, response=None, error={"code": "x"}, result={"type": "errored"}) for row in rows]
    return "\n".join(json.dumps(row) for row in [*bad, *rows, *rows])


class TestResults:
    """Files of results that are damaged, cut, doubled, or none at all."""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda row: '\n7\n{"cut": ' + row,
            lambda row: row[: len(row) // 2],
            lambda row: '{"a":' * 100_000 + row,
            lambda row: row.replace('"custom_id": "', '"custom_id": 7, "a": "'),
            lambda row: row.replace('"custom_id": "', '"custom_id": "\u00b2'),
        ],
    )
    def test_a_damaged_line_is_counted_and_asked_again(self, server, db, protocol, damage):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        ask(requests, db)
        server.end()
        server.content = lambda text: damage(text.partition("\n")[0]) + "\n" + text.partition("\n")[2] if text else ""
        outcome = ask(requests, db)
        assert outcome.counts["added"].sum() == 2 and len(server.batches["batch-001"]["rows"]) == 1
        spent = reserve(db, 3) + 2 * cost_of_a_line(protocol)
        assert store.spent(db) == pytest.approx(spent) and outcome.cost_usd == pytest.approx(spent)

    @pytest.mark.parametrize("text", ["<html>maintenance</html>", "", "\x1f\x8b", "[1]", '{"a":' * 100_000, "\ufeff"])
    def test_results_that_cannot_be_read_are_waited_for(self, server, db, protocol, text):
        requests = cell(server, protocol)
        ask(requests, db)
        server.end()
        server.content = lambda whole: text
        for _ in range(2):
            outcome = ask(requests, db)
            assert "no line of its results can be read" in outcome.partial and "batches.forget" in outcome.partial
            assert server.submitted == 1 and store.spent(db) == 0
        server.content = lambda whole: whole
        assert ask(requests, db).partial is None
        nothing_twice(server, db, requests)

    def test_results_that_are_cut_are_waited_for_and_what_came_is_kept(self, server, db, protocol):
        requests = cell(server, protocol, 1, "abcdef")
        ask(requests, db)
        server.end()
        server.content = lambda text: text[: len(text) // 2 + 20]
        for _ in range(2):
            outcome = ask(requests, db)
            assert "results are cut" in outcome.partial and 2 <= len(store.read(db, requests)) <= 3
        server.content = lambda text: text
        assert ask(requests, db).partial is None and server.submitted == 1
        assert store.spent(db) == pytest.approx(6 * cost_of_a_line(protocol))

    def test_a_file_that_begins_with_a_byte_order_mark(self, server, db, protocol):
        requests = cell(server, protocol)
        ask(requests, db)
        server.end()
        server.content = lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n"
        assert ask(requests, db).partial is None and server.submitted == 1

    def test_results_that_come_twice_are_stored_once_and_an_error_beside_a_response_loses_it_not(
        self, server, db, protocol
    ):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        ask(requests, db)
        server.end()
        server.content = lambda text: twice(text) if text else ""
        assert ask(requests, db).partial is None and server.submitted == 1
        assert store.spent(db) == pytest.approx(3 * cost_of_a_line(protocol))

    def test_a_line_without_a_result_may_have_been_paid(self, server, db, protocol):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        server.fate = lambda line, body: "lost" if line.endswith("-1") and len(server.batches) == 1 else "ok"
        ask(requests, db)
        server.end()
        ask(requests, db)
        assert server.submitted == 2
        assert store.spent(db) == pytest.approx(reserve(db, 3) + 2 * cost_of_a_line(protocol))

    def test_a_kill_while_losses_are_counted_counts_none_twice(self, server, db, monkeypatch, protocol):
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        server.fate = lambda line, body: "lost" if line.endswith("-1") and len(server.batches) == 1 else "ok"
        ask(requests, db)
        server.end()
        with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
            patched.setattr(batch_journal.Journal, "note", lambda *_: (_ for _ in ()).throw(OSError("full")))
            ask(requests, db)
        ask(requests, db)
        assert store.spent(db) == pytest.approx(reserve(db, 3) + 2 * cost_of_a_line(protocol))

    def test_what_a_line_may_have_cost_follows_what_it_may_bring(self, server, db, protocol):
        base = server.url + ("/v1" if protocol == "files" else "")
        requests = [
            one
            for n in (10, 1000)
            for one in request_llm.requests(MODELS[protocol], "a", {"max_tokens": n}, 1, api_base=base)
        ]
        server.fate = lambda line, body: "lost" if line.endswith("-1") else "ok"
        ask(requests, db)
        server.end()
        ask(requests, db)
        lost = store.lost(db)[0][2]
        assert lost > 1000 * cost.price(MODELS[protocol], batch=True)[1] * 0.9


def changed(server, end, **fields):
    """Let replies to GETs whose path ends so have other fields; None takes a field away."""

    def replace(method, path, there):
        if method != "GET" or not path.endswith(end):
            return there
        body = json.loads(there.text) | fields
        return web.json_response({name: value for name, value in body.items() if value is not None})

    server.replace = replace


class TestStatus:
    """What a provider says of a batch."""

    def run(self, server, db, protocol, n=3):
        requests = cell(server, protocol, 1, "abcdef"[:n])
        ask(requests, db)
        server.end()
        return requests

    @pytest.mark.parametrize("protocol", ["messages"], indirect=True)
    def test_an_ended_batch_whose_results_are_gone_is_not_bought_again(self, server, db, protocol):
        requests = self.run(server, db, protocol)
        changed(server, "batch-000", results_url=None)
        outcome = ask(requests, db)
        assert "29 days" in outcome.partial and "batches.forget" in outcome.partial and server.submitted == 1

    @pytest.mark.parametrize("protocol", ["files"], indirect=True)
    @pytest.mark.parametrize("counts", [None, {"total": 3, "completed": 3, "failed": 0}])
    def test_a_completed_batch_without_files_is_waited_for(self, server, db, protocol, counts):
        requests = self.run(server, db, protocol)
        changed(server, "batch-000", output_file_id=None, error_file_id=None, request_counts=counts)
        outcome = ask(requests, db)
        assert "names no file of results" in outcome.partial and server.submitted == 1
        server.replace = lambda method, path, there: there
        assert ask(requests, db).partial is None

    @pytest.mark.parametrize("protocol", ["files"], indirect=True)
    @pytest.mark.parametrize("said", ["expired", "cancelled", "failed"])
    def test_what_a_batch_brought_before_it_broke_off_is_kept_and_the_rest_is_free(self, server, db, protocol, said):
        server.fate = lambda line, body: "lost" if line.endswith("-1") and len(server.batches) == 1 else "ok"
        requests = self.run(server, db, protocol)
        changed(server, "batch-000", status=said)
        assert ask(requests, db).counts["added"].sum() == 2
        assert server.submitted == 2 and store.spent(db) == pytest.approx(2 * cost_of_a_line(protocol))

    @pytest.mark.parametrize("protocol", ["files"], indirect=True)
    @pytest.mark.parametrize(
        ("counts", "paid"),
        [
            ({"total": 3, "completed": 3, "failed": 0}, True),  # one is not delivered
            ({"total": 3, "completed": 2, "failed": 1}, False),
            ({"total": 3, "completed": 0, "failed": 3}, True),  # two came: such counts say nothing
            ({"total": 0, "completed": 0, "failed": 0}, True),
        ],
    )
    def test_counts_of_the_provider_say_whether_a_line_ran(self, server, db, protocol, counts, paid):
        server.fate = lambda line, body: "lost" if line.endswith("-1") and len(server.batches) == 1 else "ok"
        requests = self.run(server, db, protocol)
        changed(server, "batch-000", request_counts=counts)
        ask(requests, db)
        spent = paid * reserve(db, 3) + 2 * cost_of_a_line(protocol)
        assert server.submitted == 2 and store.spent(db) == pytest.approx(spent)

    @pytest.mark.parametrize("said", ["cancelling", "finalizing", "later"])
    def test_a_batch_that_has_not_ended_is_waited_for(self, server, db, protocol, said):
        requests = self.run(server, db, protocol)
        changed(server, "batch-000", **{"status" if protocol == "files" else "processing_status": said})
        assert ask(requests, db).counts["missing"].sum() == 3 and server.submitted == 1

    @pytest.mark.parametrize("body", ["<html>", "", "[1]", "{}", '{"a":' * 100_000])
    def test_a_reply_that_cannot_be_read_is_waited_for(self, server, db, protocol, body):
        requests = self.run(server, db, protocol)
        server.replace = lambda method, path, there: web.Response(text=body) if path.endswith("batch-000") else there
        outcome = ask(requests, db)
        assert "batch-000" in outcome.partial and "run again" in outcome.partial and server.submitted == 1
        assert "has no attribute" not in outcome.partial
        server.replace = lambda method, path, there: there
        assert ask(requests, db).partial is None and server.submitted == 1

    @pytest.mark.parametrize(
        ("protocol", "end"),
        [("files", "batch-000"), ("files", "content"), ("messages", "batch-000"), ("messages", "results")],
        indirect=["protocol"],
    )
    def test_a_batch_that_its_provider_no_longer_has_is_kept_until_it_is_forgotten(self, server, db, protocol, end):
        requests = self.run(server, db, protocol)

        def gone(method, path, there):
            lacks = method == "GET" and path.endswith(end)
            return web.json_response({"error": {"message": "No such thing"}}, status=404) if lacks else there

        server.replace = gone
        for _ in range(2):
            outcome = ask(requests, db, budget_usd=1.5 * reserve(db, 1))
            assert "does not know batch batch-000" in outcome.partial and "batches.forget" in outcome.partial
            assert server.submitted == 1 and batches.waiting(db)
        assert batches.forget(db, "batch-000")
        ask(requests, db)
        assert server.submitted == 2


class TestSubmissions:
    """A submission whose reply says nothing is looked for in the provider's list, not made again."""

    @pytest.mark.parametrize(
        ("status", "body"),
        [(200, "<html>"), (204, ""), (200, "[1]"), (200, "{}"), (200, '{"id": 7}'), (201, "null"), (302, ""),
         (408, "{}"), (409, "{}"), (429, "{}"), (500, "{}"), (503, "<html>")],
    )  # fmt: skip
    def test_it_is_paid_once(self, server, db, protocol, status, body):
        requests = cell(server, protocol)
        headers = {"Location": "http://localhost:9/x"} if status == 302 else {}

        def replace(method, path, there):
            posted = method == "POST" and path.endswith("/batches")
            return web.Response(status=status, text=body, headers=headers) if posted else there

        server.replace = replace
        assert "a submission broke off" in ask(requests, db).partial and server.submitted == 1
        server.replace = lambda method, path, there: there
        ask(requests, db)
        server.end()
        for _ in range(2):
            outcome = ask(requests, db)
        assert outcome.partial is None
        nothing_twice(server, db, requests)

    def test_too_many_requests_before_any_work_are_asked_again_once_the_list_has_no_such_batch(
        self, server, db, protocol
    ):
        server.refuse = ("/batches", 429, "Enqueued token limit reached")
        assert "enqueued_tokens" in ask(cell(server, protocol), db).partial and not server.submitted
        server.refuse = None
        ask(cell(server, protocol), db)
        assert server.submitted == 1

    @pytest.mark.parametrize("listed", ["<html>", "[1]", '{"data": 7}', '{"data": [7]}', "{}"])
    def test_a_list_that_cannot_be_read_says_nothing(self, server, db, protocol, listed):
        server.drop = ("POST", "/batches")
        requests = cell(server, protocol)
        ask(requests, db)
        server.drop = None
        server.replace = lambda method, path, there: (
            web.Response(text=listed) if method == "GET" and path.endswith("/batches") else there
        )
        outcome = ask(requests, db)
        assert "may have been submitted" in outcome.partial and server.submitted == 1
        server.replace = lambda method, path, there: there
        ask(requests, db)
        assert server.submitted == 1

    @pytest.mark.parametrize("protocol", ["messages"], indirect=True)
    def test_a_damaged_first_line_does_not_hide_a_batch(self, server, db, protocol):
        server.drop = ("POST", "/batches")
        requests = cell(server, protocol, 1, ("a", "b", "c"))
        ask(requests, db)
        server.drop = None
        server.end()
        server.content = lambda text: "{cut\n" + text
        assert ask(requests, db).partial is None and server.submitted == 1

    def test_a_journal_dated_in_the_future_waits_no_longer_than_another(self, server, db, protocol, monkeypatch):
        server.drop = ("POST", "/batches")
        requests = cell(server, protocol)
        ask(requests, db)
        server.drop = None
        there = dict(server.batches)
        server.batches.clear()
        with closing(sqlite3.connect(db)) as opened, opened:
            opened.execute("UPDATE batches SET created_at = '2099-01-01T00:00:00.000+00:00'")
        monkeypatch.setattr(batches, "SETTLE_S", 1)
        assert "a moment ago" in ask(requests, db).partial
        server.batches.update(there)  # listed at last
        server.end()
        assert ask(requests, db).partial is None and server.submitted == 1

    def test_a_journal_dated_in_the_future_is_dropped_where_the_provider_has_nothing(self, server, db, protocol):
        server.drop = ("POST", "/batches")
        requests = cell(server, protocol)
        ask(requests, db)
        server.drop = None
        server.batches.clear()
        with closing(sqlite3.connect(db)) as opened, opened:
            opened.execute("UPDATE batches SET created_at = '2099-01-01T00:00:00.000+00:00'")
        ask(requests, db)
        assert [one.state for one in batch_journal.read(db)].count("dropped") == 1 and server.submitted == 1


def test_a_model_that_waits_in_a_batch_and_is_asked_at_once_is_counted_once(server, db, monkeypatch, keys):
    requests = cell(server, "files", 1, ("a",))
    ask(requests, db)
    both = [*requests, *cell(server, "files", 1, ("b",))]
    outcome = ask(both, db, batch=False)
    assert outcome.counts["wanted"].tolist() == [2] and outcome.partial.startswith("2 of 2")


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

    @pytest.mark.parametrize("protocol", ["files"], indirect=True)  # Anthropic checks a batch when it is submitted
    def test_a_batch_that_fails_later_says_why(self, server, db, protocol):
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

    @pytest.mark.parametrize("protocol", ["messages"], indirect=True)  # files are named by ids, not by addresses
    def test_results_are_not_fetched_from_another_host(self, server, protocol):
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
        with pytest.raises(FileNotFoundError, match="is missing"):
            batches.forget(db.with_name("05.sqlite"), "batch-000")
        assert not db.with_name("05.sqlite").exists()
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

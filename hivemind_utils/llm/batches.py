"""Ask models in batches, at the price of batches: submit, keep the id, end; the next run collects.

A batch is written into the store's journal before it is submitted, under a token that the provider gets too. Whatever
happens in between, the next run finds it there by that token, and submits nothing again that the provider has. What
comes back is an outcome like any other; what expired or broke is asked again, within the budget.
"""

import dataclasses
import json
import sqlite3
import uuid
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from hivemind_utils.llm import (
    batch_adapters,
    batch_journal,
    bodies,
    bookkeeping,
    checks,
    outcomes,
    providers,
    replies,
    sampler,
    store,
)
from hivemind_utils.llm import cost as cost_llm
from hivemind_utils.llm import request as request_llm

MAX_ERRORS = 3  # times that a line may come back as an error
SETTLE_S = 60  # after a submission broke off, a provider may not list it yet
LET_GO = "`batches.forget` (docs/trust.md) lets go of it: what it was to bring is then asked, and paid, again"


def chosen(batch):
    """Return a test whether a model is asked in batches.

    Parameters
    ----------
    batch : bool or list of str
        All providers that take batches, none, or these.

    Raises
    ------
    ValueError
        If a provider is named that is not known to take batches.

    Examples
    --------
    >>> asked = chosen(["anthropic"])
    >>> asked("anthropic/claude-haiku-4-5"), asked("openai/gpt-5.4-mini")
    (True, False)
    """
    if batch is None or isinstance(batch, bool):
        return batch_adapters.takes_batches if batch else lambda model: False
    known = [*batch_adapters.FILES, batch_adapters.ANTHROPIC]
    if not isinstance(batch, list):
        raise ValueError(f"`batch` must be true, false or a list of providers such as {known[:2]}, but is {batch!r}.")
    checks.names("batch", batch, known, of="providers that take batches")
    return lambda model: providers.provider_name(model) in batch


def run(requests, store_path, *, batch=True, budget_usd=0.0, limits=None, seed=0, prices=None, retired=None, **others):
    """Collect the batches that have ended, and submit what the store lacks; other models are asked at once.

    Parameters
    ----------
    requests : iterable of Request
    store_path : str or Path
    batch : bool or list of str
        As in `chosen`.
    budget_usd : float
        As in `sampler.run`; what batches in flight may cost is set aside.
    limits : dict of str to dict, optional
        As in `sampler.run`; of batches counts ``enqueued_tokens``, the most tokens of prompts that may wait at a
        provider for one model. Files are no larger, and what is beyond waits for the next run.
    seed, prices, retired, others
        As in `sampler.run`.

    Returns
    -------
    sampler.Outcome
        Responses in batches are missing until they are collected; the reason says how many wait, and since when.
    """
    asked, requests = chosen(batch), list(requests)
    budget, prices = checks.budget(budget_usd), checks.prices(prices)
    with store.Store(store_path) as opened, closing(batch_journal.Journal(opened.path)) as journal:
        batches = _Batches(opened, journal, budget, cost_llm.with_defaults(limits), seed, prices)
        batches.failures |= {model: f"retired {day}" for model, day in (retired or {}).items()}
        batches.collect()
        waits = {key for key, _ in journal.in_flight()}  # never asked at once, though the profile no longer says batch
        mine = [request for request in requests if request.key in waits or asked(request.model)]
        rest = [request for request in requests if request.key not in waits and not asked(request.model)]
        batches.submit(mine)
        found, aside = batches.outcome(), batches.reserved
    store.flush(store_path)
    if not rest:
        return found
    options = {"budget_usd": budget, "limits": limits, "seed": seed, "prices": prices, "retired": retired} | others
    options["budget_usd"] = max(0.0, budget - aside)
    return _joined(found, sampler.run(rest, store_path, **options))


def waiting(store_path):
    """Say which batches wait at providers; None where none does.

    Parameters
    ----------
    store_path : str or Path
    """
    said = [
        f"{one.n_lines:,} requests to {one.model} since {one.created_at[:16]} "
        f"({one.batch_id or f'id not known yet, token {one.token}'})"
        for one in batch_journal.read(store_path)
        if one.state in batch_journal.IN_FLIGHT
    ]
    return f"{len(said)} batches wait: {'; '.join(said)}" if said else None


def forget(store_path, name):
    """Let go of a batch that its provider no longer has, so that what it was to bring is asked again, and paid again.

    Parameters
    ----------
    store_path : str or Path
    name : str
        The batch's id at the provider, or our token.

    Returns
    -------
    bool
        Whether there was such a batch in flight.

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    """
    if not Path(store_path).exists():
        raise FileNotFoundError(
            f"{store_path} is missing: give the store of a profile, data/<profile>/store/04.sqlite."
        )
    with store.Store(store_path) as opened, closing(batch_journal.Journal(opened.path)) as journal:
        found = [one.token for one in journal.batches() if name in (one.batch_id, one.token)]
        for token in found:
            journal.set(token, "dropped", message="forgotten on request")
    return bool(found)


class _Batches:
    """The state of one call of `run`."""

    def __init__(self, opened, journal, budget, limits, seed, prices):
        self.requests, self.store, self.journal = [], opened, journal
        self.budget, self.limits, self.seed, self.prices = budget, limits, seed, prices
        self.held, self.spent, self.cost = store.held(opened.path), store.spent(opened.path), 0.0
        self.failures, self.unsupported, self.running, self.added = {}, {}, {}, {}
        self.before = {key: set(numbers) for key, numbers in self.held.items()}
        self.refused, self.remarks = store.unsupported(opened.path), {}
        self.lost = {(key, why) for key, why, _ in store.lost(opened.path)}

    @property
    def reserved(self):
        """US dollars set aside for what is in flight."""
        return sum(one.reserved_usd for one in self.journal.batches())

    def collect(self):
        """Look after every batch in flight: find it, see how far it is, store what it brought."""
        for one in self.journal.batches():
            try:
                self._look_after(one)
            except (OSError, MemoryError, sqlite3.Error):
                raise  # a full disk is no provider's fault
            except Exception as error:  # whatever one batch's replies are, the others go on
                self._wait(one, _why(one, error))

    def _look_after(self, one):
        asked = batch_adapters.adapter(one.model, one.api_base)
        if one.state == "intent":
            age = self._age(one)
            known = {other.batch_id for other in batch_journal.read(self.store.path)}
            found = asked.find(one, known)
            if found is None and age < SETTLE_S:
                raise batch_adapters.Unknown("its submission broke off a moment ago")
            if found is None:
                self.journal.set(one.token, "dropped", message="the provider has never heard of it")
                return
            self.journal.set(one.token, "submitted", batch_id=found)
            one = dataclasses.replace(one, state="submitted", batch_id=found)
        status = asked.status(one.batch_id)
        if status.state == "running":
            self._wait(one, None)
        elif status.state == "failed":
            self.journal.set(one.token, "failed", message=status.message)
            self.failures[one.model] = f"batch {one.batch_id} failed: {status.message}; {_todo(status.message)}"
        else:
            self._collect(one, asked, status)

    def _age(self, one):
        """Seconds since a submission began; of one that is dated in the future, since a run first saw that."""
        now = datetime.now(UTC)
        dates = [datetime.fromisoformat(text) for text in (one.created_at, one.message) if text]
        past = [date for date in dates if date <= now]
        if not past:  # the clock was set back
            self.journal.set(one.token, one.state, message=batch_journal.now())
        return (now - past[-1]).total_seconds() if past else 0.0

    def _wait(self, one, why):
        lines = self.journal.lines(one.token).values()
        n = sum(len(line["samples"]) for line in lines)
        before, reason = self.running.get(one.model, (0, None))
        self.running[one.model] = (before + n, why or reason)

    def _collect(self, one, asked, status):
        """Store the results of a batch that has ended; what was stored before a kill is not stored again.

        What may have been paid and brought nothing that can be read counts as what it may have cost.
        """
        lines, seen, damaged, strays = self.journal.lines(one.token), {}, set(), 0
        most = _shares(one, lines)
        for result in asked.results(one.token, status):
            if result.outcome == "damaged":
                damaged.add(result.line)
                strays += result.line not in lines
            elif result.line in lines:
                better = result.outcome == "answered" and seen.get(result.line, result).outcome != "answered"
                if result.outcome == "answered":
                    self._store(one, lines[result.line], result, most[result.line])
                if result.line not in seen or better:
                    seen[result.line] = dataclasses.replace(result, heard=None)
        if not seen and status.files:
            raise batch_adapters.Unread("it has ended, but no line of its results can be read")
        absent = sorted(lines.keys() - seen.keys(), key=lambda line: (line not in damaged, line))
        n_damaged = len(damaged & set(absent)) + strays
        n_ran = min(len(absent), max(n_damaged, _n_unseen(one, status, seen)))
        if damaged and n_ran > n_damaged:
            raise batch_adapters.Unread(f"its results are cut: {len(absent):,} of {len(lines):,} lines are not there")
        for line in absent:
            ran = line in absent[:n_ran]
            why = "no result that can be read" if ran else "no result"
            seen[line] = batch_adapters.Result(line, "errored" if ran else "expired", message=why, paid=ran)
        for line, result in seen.items():
            if result.outcome != "answered" and result.paid:
                self._lose(one, lines[line], result, most[line])
        said = {line: f"{result.outcome}: {result.message}".removesuffix(": ") for line, result in seen.items()}
        self.journal.note(one.token, said)
        self.journal.set(one.token, "collected")

    def _store(self, one, line, result, most):
        key = line["key"]
        if self.held.get(key, set()) & set(line["samples"]):
            return
        request = request_llm.Request(one.model, *self.store.asked(key))
        heard = replies.believed(result.heard, request, len(line["samples"]))
        numbers = line["samples"][: len(heard.choices)]
        for name in heard.odd:
            self._remark(one.model, f"replies with an odd `{name}`, left empty")
        call = self._call(one, line, self._cost(one, heard, most) if result.paid else 0.0) | {
            "n": len(numbers), "served_model": heard.model, "system_fingerprint": heard.fingerprint,
            "prompt_tokens": heard.prompt_tokens, "completion_tokens": heard.completion_tokens,
            "reasoning_tokens": heard.reasoning_tokens, "odd": ",".join(heard.odd) or None,
            "server": bookkeeping.server_of(one) if heard.provider_id else None, "provider_id": heard.provider_id,
        }  # fmt: skip
        samples = [
            {
                "sample_idx": i,
                "text": bodies.repaired(text),
                "finish_reason": reason,
                "outcome": outcomes.classify(text, reason, refusal),
                "logprobs": logprobs,
            }
            for i, (text, reason, refusal, logprobs) in zip(numbers, heard.choices, strict=False)
        ]
        self._add(one, call, samples)
        self.held.setdefault(key, set()).update(numbers)

    def _lose(self, one, line, result, most):
        """Count a line that brought nothing as what it may have cost: once, whatever was killed in between."""
        lost = f"batch {one.batch_id}, line {result.line}: {result.message}"
        if (line["key"], lost) not in self.lost:
            self._remark(one.model, "replies lost that may have been paid for")
            self._add(one, self._call(one, line, most) | {"lost": lost}, [])

    def _call(self, one, line, usd):
        """Facts of a call, those of its reply still missing."""
        names = ("served_model", "system_fingerprint", "prompt_tokens", "completion_tokens", "reasoning_tokens")
        return dict.fromkeys(names) | {
            "key": line["key"], "n": 0, "seed": line["seed"], "effective": line["effective"], "attempts": 1,
            "latency_s": max(0.0, (datetime.now(UTC) - datetime.fromisoformat(one.created_at)).total_seconds()),
            "cost_usd": usd, "answered_at": batch_journal.now(), "litellm_version": providers.litellm_version(),
        }  # fmt: skip

    def _add(self, one, call, samples):
        self.store.add(call, samples)
        self.spent += call["cost_usd"]
        self.cost += call["cost_usd"]
        self.added[one.model] = self.added.get(one.model, 0.0) + call["cost_usd"]

    def _remark(self, model, what):
        self.remarks.setdefault(model, Counter())[what] += 1

    def _cost(self, one, heard, most):
        """US dollars of a reply from `replies.believed`; where its counts are missing, the most that may have been."""
        asked, said = heard.prompt_tokens, heard.completion_tokens
        price = cost_llm.price(one.model, self.prices, one.api_base, batch=True)
        return most if price is None or not asked or not said else asked * price[0] + said * price[1]

    def submit(self, requests):
        """Submit what is neither stored nor in flight."""
        self.requests = requests
        flight, errors, groups = self.journal.in_flight(), self.journal.errors(), {}
        wanted = set()
        for request in self.requests:
            numbers = [i for i in range(request.sample_idx, request.sample_idx + request.n)]
            numbers = [i for i in numbers if (request.key, i) not in wanted]
            wanted.update((request.key, i) for i in numbers)
            missing = [i for i in numbers if i not in self.held.get(request.key, ())]
            missing = [i for i in missing if (request.key, i) not in flight]
            if missing and not self._never(request, missing):
                groups.setdefault((request.model, request.api_base), []).append((request, missing))
        for (model, api_base), jobs in groups.items():
            if model not in self.failures and not (why := self._unasked(model, api_base)):
                self._submit(model, api_base, jobs, errors)
            else:
                self.failures.setdefault(model, why if model not in self.failures else "")

    def _never(self, request, numbers):
        """Whether the provider is known to refuse the decoding."""
        why = self.refused.get(request.decoding) or request_llm.not_honoured(request)
        if why:
            self.unsupported.setdefault(request.decoding, [why, set()])[1].update((request.key, i) for i in numbers)
        return bool(why)

    def _unasked(self, model, api_base):
        """Why a model is not asked, or None."""
        if not self.budget:
            return "not asked: `budget_usd` is 0, which plans only"
        if cost_llm.price(model, self.prices, api_base, batch=True) is None:
            return (
                "not asked: its price is not known, so no budget could hold; give it in `prices`, "
                "in USD per million tokens for input and output"
            )
        if lacking := providers.lacks_address(model, api_base):
            return f"not asked: {lacking}"
        lacking = [] if api_base else providers.missing_keys(model)
        return f"not asked: {' and '.join(lacking)} is not set" if lacking else None

    def _submit(self, model, api_base, jobs, errors):
        """Fill files and submit them, until something holds."""
        asked = batch_adapters.adapter(model, api_base)
        limit = self.limits.get(providers.provider_name(model), self.limits["default"])["enqueued_tokens"]
        waits = sum(one.tokens_in for one in self.journal.batches() if one.model == model)
        price, aside = cost_llm.price(model, self.prices, api_base, batch=True), self.reserved
        file = _File()
        for request, numbers in self._lines(model, jobs, errors):
            line = self._line(asked, request, numbers)
            if line is None:
                continue
            tokens = request_llm.tokens_in(request)
            answers = len(numbers) * request_llm.most_tokens(request.parameters)
            most = 1.5 * tokens * price[0] + answers * price[1]
            if self.spent + aside + file.usd + most > self.budget and most > 0:
                self.failures[model] = (
                    f"not asked: the budget of ${self.budget:,.2f} is reached (${self.spent:,.4f} spent, "
                    f"${aside + file.usd:,.4f} set aside for batches, the next request may cost "
                    f"${most:,.4f}); raise `budget_usd` and run again"
                )
                break
            if limit and waits + file.tokens + tokens > limit:
                self.failures[model] = (
                    f"waits: {waits + file.tokens:,} tokens are enqueued, and `enqueued_tokens` is {limit:,}; run again"
                )
                break
            if not file.holds(line):
                if not self._send(asked, model, api_base, file):
                    return
                waits, aside, file = waits + file.tokens, aside + file.usd, _File()
            file.add(line, tokens, most)
        self._send(asked, model, api_base, file)

    def _lines(self, model, jobs, errors):
        """Requests with the numbers that one line asks for."""
        at_once = request_llm.per_call(model)
        for request, missing in jobs:
            lost = [i for i in missing if errors.get((request.key, i), (0,))[0] >= MAX_ERRORS]
            if lost:
                said = errors[request.key, lost[0]][1]
                self.failures.setdefault(model, f"{MAX_ERRORS} batches brought an error each, lastly {said}")
            numbers = [i for i in missing if i not in lost]
            for start in range(0, len(numbers), at_once):
                yield request, numbers[start : start + at_once]

    def _line(self, asked, request, numbers):
        """What the journal and the file need of a line; None where litellm knows that the decoding is refused."""
        seed = None
        if request_llm.supports(request.model, "seed"):
            seed = request_llm.call_seed(self.seed, request.key, numbers[0])
        try:
            body = asked.body(request, len(numbers), seed)
        except Exception as error:
            if type(error).__name__ != "UnsupportedParamsError":
                raise
            why = providers.provider_message(error)
            at = batch_journal.now()
            self.store.add_unsupported(request.model, request.api_base, request.parameters, None, why, at)
            self.unsupported.setdefault(request.decoding, [why, set()])[1].update((request.key, i) for i in numbers)
            return None
        self.store.remember(request.key, request.model, request.api_base, request.messages, request.parameters)
        effective = {name: value for name, value in body.items() if name not in ("model", "messages", "system")}
        row = {"key": request.key, "samples": numbers, "effective": store.dump(effective | {"batch": True})}
        return row | {"seed": seed, "body": body}

    def _send(self, asked, model, api_base, file):
        """Write a batch down, submit it, keep its id; returns whether there may be more."""
        if not file.lines:
            return True
        token = uuid.uuid4().hex
        one = batch_journal.Batch(
            token, model, api_base, "intent", None, len(file.lines), file.tokens, file.usd, batch_journal.now()
        )
        self.journal.intend(one, file.lines)
        try:
            batch_id = asked.submit(token, [line["body"] for line in file.lines])
        except batch_adapters.Refused as error:
            self.journal.set(token, "refused", message=str(error))
            self.failures[model] = f"not asked: the provider takes no such batch: {error}; {_todo(str(error))}"
            return False
        except batch_adapters.Unknown as error:
            todo = f"; {_todo(str(error))}" if "enqueued_tokens" in _todo(str(error)) else ""
            why = f"a submission broke off ({error}): run again, and the provider is asked whether it has it{todo}"
            self._wait(one, why)
            return False
        self.journal.set(token, "submitted", batch_id=batch_id)
        self._wait(one, None)
        return True

    def outcome(self):
        """What the run came to, as `sampler.run` gives it."""
        import pandas as pd

        counts, never = {}, {pair: why for why, pairs in self.unsupported.values() for pair in pairs}
        seen = set()
        for request in self.requests:
            count = counts.setdefault(
                request.model, {"wanted": 0, "stored": 0, "added": 0, "unsupported": 0, "missing": 0, "cost_usd": 0.0}
            )
            for i in range(request.sample_idx, request.sample_idx + request.n):
                if (request.key, i) in seen:
                    continue
                seen.add((request.key, i))
                before = i in self.before.get(request.key, ())
                there = i in self.held.get(request.key, ())
                which = "stored" if before else "added" if there else "missing"
                count["unsupported" if (request.key, i) in never and not there else which] += 1
                count["wanted"] += 1
        for model, usd in self.added.items():
            if model in counts:
                counts[model]["cost_usd"] = usd
        names = ["wanted", "stored", "added", "unsupported", "missing", "cost_usd"]
        frame = pd.DataFrame.from_dict(counts, orient="index").rename_axis("model").reindex(columns=names)
        failures = {}
        for model in frame.index[frame["missing"].astype(int) > 0]:
            n, why = self.running.get(model, (0, None))
            told = why or (f"{n:,} wait in batches at the provider: run again later to collect them" if n else None)
            reasons = [reason for reason in (told, self.failures.get(model)) if reason]
            failures[model] = "; ".join(reasons) or "run again"
        refused = {decoding[0]: why for decoding, (why, _) in self.unsupported.items()}
        remarks = {model: dict(counted) for model, counted in self.remarks.items()}
        return sampler.Outcome(frame, self.cost, failures, refused, remarks=remarks)


class _File:
    """Lines of a batch that is being filled."""

    def __init__(self):
        self.lines, self.tokens, self.usd, self.n_bytes = [], 0, 0.0, 0

    def holds(self, line):
        """Whether another line fits."""
        n_bytes = self.n_bytes + len(json.dumps(line["body"])) + 200
        return len(self.lines) < batch_adapters.MAX_LINES and n_bytes <= batch_adapters.MAX_BYTES

    def add(self, line, tokens, usd):
        """Take a line in."""
        self.lines.append(line)
        self.tokens, self.usd = self.tokens + tokens, self.usd + usd
        self.n_bytes += len(json.dumps(line["body"])) + 200


def _shares(one, lines):
    """What each line of a batch may cost: the batch's reserve, by the tokens that lines may bring."""
    most = {
        i: len(line["samples"]) * request_llm.most_tokens(json.loads(line["effective"])) for i, line in lines.items()
    }
    return {i: one.reserved_usd * tokens / sum(most.values()) for i, tokens in most.items()}


def _n_unseen(one, status, seen):
    """How many lines ran, as far as the provider says, beyond those whose result came."""
    n_seen = sum(result.paid for result in seen.values())
    if status.counts and status.counts[1] == one.n_lines and status.counts[0] >= n_seen:
        return status.counts[0] - n_seen
    return one.n_lines - len(seen) if status.message in ("completed", "ended") else 0


def _why(one, error):
    """Why a batch cannot be collected now, and what to do."""
    known = isinstance(error, batch_adapters.Refused | batch_adapters.Unknown)
    said = str(error) if known else f"a reply cannot be read ({replies.reported(error)})"
    what = f"is {one.batch_id}" if one.batch_id else f"may have been submitted (token {one.token})"
    if isinstance(error, batch_adapters.Gone) and one.batch_id:
        return (
            f"the provider does not know batch {one.batch_id}, or its results ({said}): where key and address are "
            f"those that it was submitted with, it is gone, and {LET_GO}"
        )
    if isinstance(error, batch_adapters.Gone | batch_adapters.Unread):
        return f"a batch {what}: {said}; run again, and where that does not help, {LET_GO}"
    return f"a batch {what}, but cannot be asked for now: {said}; run again"


def _todo(said):
    """What to do about a batch that was refused, in a sentence."""
    if "token" in said.lower() and "limit" in said.lower():
        return "give `limits: {…: {enqueued_tokens: …}}` below it, and run again"
    if "404" in said or "405" in said:
        return "a server without batches is asked at once where `batch` lists the providers that have them"
    return "correct that, and run again"


def _joined(first, second):
    import pandas as pd

    both = (first, second)
    merged = {name: getattr(first, name) | getattr(second, name) for name in ("unsupported", "honoured", "refused")}
    merged |= {name: {} for name in ("failures", "remarks")}
    for model in {**first.failures, **second.failures}:
        merged["failures"][model] = "; ".join(one.failures[model] for one in both if model in one.failures)
    for model in {**first.remarks, **second.remarks}:
        merged["remarks"][model] = dict(sum((Counter(one.remarks.get(model)) for one in both), Counter()))
    frames = [frame for frame in (first.counts, second.counts) if len(frame)]
    counts = pd.concat(frames).groupby(level=0, sort=False).sum() if frames else first.counts  # a model may be in both
    return sampler.Outcome(counts, first.cost_usd + second.cost_usd, **merged)

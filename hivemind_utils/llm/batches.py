"""Ask models in batches, at the price of batches: submit, keep the id, end; the next run collects.

A batch is written into the store's journal before it is submitted, under a token that the provider gets too. Whatever
happens in between, the next run finds it there by that token, and submits nothing again that the provider has. What
comes back is an outcome like any other; what expired or broke is asked again, within the budget.
"""

import dataclasses
import json
import uuid
from contextlib import closing
from datetime import UTC, datetime

from hivemind_utils.llm import batch_adapters, batch_journal, checks, outcomes, providers, sampler, store
from hivemind_utils.llm import cost as cost_llm
from hivemind_utils.llm import request as request_llm
from hivemind_utils.tables import ids

MAX_ERRORS = 3  # times that a line may come back as an error
SETTLE_S = 60  # after a submission broke off, a provider may not list it yet


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
        f"{one.n_lines:,} requests to {one.model} since {one.created_at[:16]} ({one.batch_id or 'id not known yet'})"
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
    """
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
        self.refused = store.unsupported(opened.path)

    @property
    def reserved(self):
        """US dollars set aside for what is in flight."""
        return sum(one.reserved_usd for one in self.journal.batches())

    def collect(self):
        """Look after every batch in flight: find it, see how far it is, store what it brought."""
        for one in self.journal.batches():
            try:
                self._look_after(one)
            except (batch_adapters.Refused, batch_adapters.Unknown) as error:
                what = "may have been submitted" if one.state == "intent" else f"is {one.batch_id}"
                self._wait(one, f"a batch {what}, but cannot be asked for now: {error}; run again")

    def _look_after(self, one):
        asked = batch_adapters.adapter(one.model, one.api_base)
        if one.state == "intent":
            age = (datetime.now(UTC) - datetime.fromisoformat(one.created_at)).total_seconds()
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

    def _wait(self, one, why):
        lines = self.journal.lines(one.token).values()
        n = sum(len(line["samples"]) for line in lines)
        before, reason = self.running.get(one.model, (0, None))
        self.running[one.model] = (before + n, why or reason)

    def _collect(self, one, asked, status):
        """Store the results of a batch that has ended; what was stored before a kill is not stored again."""
        lines, seen = self.journal.lines(one.token), {}
        for result in asked.results(one.token, status):
            if result.line in lines and result.line not in seen:
                if result.outcome == "answered":
                    self._store(one, lines[result.line], result)
                seen[result.line] = f"{result.outcome}: {result.message}".removesuffix(": ")
        never = {line: "expired: no result" for line in lines if line not in seen}
        self.journal.note(one.token, seen | never)
        self.journal.set(one.token, "collected")

    def _store(self, one, line, result):
        key, numbers = line["key"], line["samples"]
        if self.held.get(key, set()) & set(numbers):
            return
        numbers = numbers[: len(result.choices)]
        usd = self._cost(one, result)
        call = {
            "key": key, "n": len(numbers), "seed": line["seed"], "effective": line["effective"],
            "served_model": _text(result.served_model), "system_fingerprint": _text(result.fingerprint), "attempts": 1,
            "latency_s": max(0.0, (datetime.now(UTC) - datetime.fromisoformat(one.created_at)).total_seconds()),
            "prompt_tokens": _count(result, "prompt"), "completion_tokens": _count(result, "completion"),
            "reasoning_tokens": _count(result, "reasoning"), "cost_usd": usd,
            "answered_at": batch_journal.now(), "litellm_version": providers.litellm_version(),
        }  # fmt: skip
        samples = [
            {
                "sample_idx": i,
                "text": ids.repaired(text),
                "finish_reason": reason,
                "outcome": outcomes.classify(text, reason, refusal),
                "logprobs": None if logprobs is None else store.dump(logprobs),
            }
            for i, (text, reason, refusal, logprobs) in zip(numbers, result.choices, strict=False)
        ]
        self.store.add(call, samples)
        self.held.setdefault(key, set()).update(numbers)
        self.spent += usd
        self.cost += usd
        self.added[one.model] = self.added.get(one.model, 0.0) + usd

    def _cost(self, one, result):
        asked, said = _count(result, "prompt"), _count(result, "completion")
        price = cost_llm.price(one.model, self.prices, one.api_base, batch=True)
        if price is not None and asked is not None and said is not None:
            return asked * price[0] + said * price[1]
        if all(choice[1] == "content_filter" for choice in result.choices):
            return 0.0  # refused before it ran
        return one.reserved_usd / one.n_lines  # no usage was reported: the most it may have cost

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
            self._wait(one, f"a submission broke off ({error}): run again, and the provider is asked whether it has it")
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
        return sampler.Outcome(frame, self.cost, failures, refused)


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


def _count(result, what):
    """A number of tokens of a result; None where it is no number that tokens can have."""
    n = result.usage.get(f"{what}_tokens")
    return int(n) if isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1e9 else None


def _text(value):
    """A name that a provider gives, as text; None where it gives none."""
    return None if value is None else ids.repaired(value if isinstance(value, str) else store.dump(value))


def _todo(said):
    """What to do about a batch that was refused, in a sentence."""
    if "token" in said.lower() and "limit" in said.lower():
        return "give `limits: {…: {enqueued_tokens: …}}` below it, and run again"
    if "404" in said or "405" in said:
        return "a server without batches is asked at once where `batch` lists the providers that have them"
    return "correct that, and run again"


def _joined(first, second):
    import pandas as pd

    merged = {name: getattr(first, name) | getattr(second, name) for name in ("failures", "unsupported", "honoured")}
    frames = [frame for frame in (first.counts, second.counts) if len(frame)]
    counts = pd.concat(frames) if frames else first.counts
    return sampler.Outcome(counts, first.cost_usd + second.cost_usd, **merged)

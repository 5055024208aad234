"""Ask models through litellm: resumably, within a budget, each draw kept.

`run` asks what the store lacks and nothing else. Whatever comes back is an outcome, never drawn again: an answer, a
truncated or an empty one, a refusal, a filtered one. Errors are told apart by their HTTP status: what may pass is
waited for and tried again, what will not stops the model concerned and leaves the others alone.
"""

import asyncio
import functools
import itertools
import random
import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from hivemind_utils.llm import checks, outcomes, providers, store
from hivemind_utils.llm import cost as cost_llm
from hivemind_utils.llm import progress as progress_llm
from hivemind_utils.llm import request as request_llm
from hivemind_utils.tables import ids

MAX_ATTEMPTS = 8  # of one call; with back-off they span some four minutes


MAX_WAIT_S = 600  # a provider that asks for a longer pause stops the model


GRACE_S = 3  # for calls in flight when a run is interrupted


TIMEOUT_S = 600  # of one call


SIMULATED = providers.SIMULATED


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    counts : DataFrame
        One row per model: wanted, stored (before), added, unsupported, missing, cost_usd (of this run).
    cost_usd : float
        US dollars of this run, as far as prices are known.
    failures : dict of str to str
        Model to the reason why answers of it are missing, with what to do.
    unsupported : dict of str to str
        Model to what its provider said about the decoding it refused.
    """

    counts: object
    cost_usd: float
    failures: dict
    unsupported: dict

    @property
    def partial(self):
        """What is missing and why, in a sentence; None where nothing is."""
        lacking = self.counts[self.counts["missing"] > 0]
        if lacking.empty:
            return None
        reasons = [
            f"{model} lacks {n:,} ({self.failures.get(model, 'interrupted')})"
            for model, n in lacking["missing"].items()
        ]
        return f"{lacking['missing'].sum():,} of {self.counts['wanted'].sum():,} answers are missing: " + "; ".join(
            reasons
        )


def run(requests, store_path, *, budget_usd=0.0, limits=None, seed=0, prices=None, progress=True):
    """Ask for the answers that the store lacks; every one is stored as it arrives.

    Works inside a running event loop (Jupyter): the calls run in a thread of their own. Ctrl-C stops within seconds;
    calls in flight get three seconds to end. Run again to continue.

    Parameters
    ----------
    requests : iterable of Request
        In the order in which a model should be asked.
    store_path : str or Path
    budget_usd : float
        What all calls in this store together may cost, earlier runs included; no call starts that could cross it. 0
        asks nobody but ``simulated/`` models, and so does a model whose price is not known.
    limits : dict of str to dict, optional
        Provider's name (or ``default``) to ``concurrency``, ``requests_per_minute``, ``tokens_per_minute``.
    seed : int
        Every call's own seed derives from it, the request and the first answer.
    prices : dict of str to pair of float, optional
        Model to US dollars per million tokens, (input, output); they override litellm's.
    progress : bool
        Show a bar per model, and a total with the cost so far.

    Returns
    -------
    Outcome

    Raises
    ------
    store.Locked
        If another run writes to the store.
    KeyboardInterrupt
        After what was in flight has been stored.
    """
    checks.budget(budget_usd)
    prices = checks.prices(prices)
    with store.Store(store_path) as opened:
        runner = _Run(list(requests), opened, budget_usd, cost_llm.with_defaults(limits), seed, prices)
        future = asyncio.run_coroutine_threadsafe(runner.main(), _loop())
        try:
            _wait(future, runner, progress)
        except KeyboardInterrupt:
            _loop().call_soon_threadsafe(runner.stop)
            _wait(future, runner, progress)
            raise
        finally:
            future.cancel()  # where a second Ctrl-C came
            runner.finished.wait(GRACE_S)
    store.flush(store_path)
    return runner.outcome()


@dataclass
class _Job:
    request: request_llm.Request
    samples: list  # numbers of the answers to ask for


class _Gate:
    """When a provider may be called: its rates, and the pauses it asks for."""

    def __init__(self, limits):
        self.concurrency = limits["concurrency"]
        self.request_s = 60 / limits["requests_per_minute"] if limits["requests_per_minute"] else 0
        self.token_s = 60 / limits["tokens_per_minute"] if limits["tokens_per_minute"] else 0
        self.next_request = self.next_token = self.paused_until = 0.0

    async def turn(self, tokens):
        """Wait for a turn and book `tokens`, an estimate."""
        while (wait := max(self.next_request, self.next_token, self.paused_until) - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self.next_request = time.monotonic() + self.request_s
        self.correct(tokens)

    def correct(self, tokens):
        """Book more tokens, or fewer than were estimated."""
        self.next_token = max(self.next_token, time.monotonic()) + tokens * self.token_s

    def pause(self, seconds):
        self.paused_until = max(self.paused_until, time.monotonic() + seconds)


class _Stop(Exception):
    """The model will not answer."""


class _Run:
    """The state of one call of `run`; all of it lives in the event loop's thread."""

    def __init__(self, requests, opened, budget_usd, limits, seed, prices):
        self.store, self.budget, self.limits, self.seed, self.prices = opened, budget_usd, limits, seed, prices
        self.failures, self.unsupported, self.gave_up = {}, {}, {}
        self.spent, self.reserved, self.cost = store.spent(opened.path), 0.0, 0.0
        self.waiting, self.in_flight, self.released = set(), set(), asyncio.Event()
        self.finished = threading.Event()  # after it nothing is written
        self.stopping, self.lost, self.last_error, self.counts = False, {}, {}, {}
        self.jobs = self._missing(requests, store.held(opened.path), store.unsupported(opened.path))
        self.price = {model: cost_llm.price(model, prices) for model in self.jobs}
        for model, jobs in self.jobs.items():
            self._refuse_unpriced(model)
            if lacking := providers.lacks_address(model, jobs[0].request.api_base):
                self.failures[model] = f"not asked: {lacking}"

    def _missing(self, requests, held, refused):
        """Jobs by model for what the store lacks, each answer once."""
        jobs, seen = {}, set()
        for request in requests:
            numbers = range(request.sample_idx, request.sample_idx + request.n)
            numbers = [i for i in numbers if (request.key, i) not in seen]
            seen.update((request.key, i) for i in numbers)
            missing = [i for i in numbers if i not in held.get(request.key, ())]
            count = self.counts.setdefault(
                request.model, {"wanted": 0, "stored": 0, "added": 0, "unsupported": 0, "cost_usd": 0.0}
            )
            count["wanted"] += len(numbers)
            count["stored"] += len(numbers) - len(missing)
            if missing and request.decoding in refused:
                self._not_supported(request, missing, refused[request.decoding])
            elif missing:
                jobs.setdefault(request.model, deque()).append(_Job(request, missing))
        return jobs

    def _refuse_unpriced(self, model):
        if providers.provider_name(model) == SIMULATED:
            return
        if not self.budget:
            self.failures[model] = "not asked: `budget_usd` is 0, which plans only"
        elif self.price[model] is None:
            self.failures[model] = (
                "not asked: its price is not known, so no budget could hold; give it in `prices`, "
                "in USD per million tokens for input and output (0 and 0 for a server of your own)"
            )

    async def main(self):
        """Ask for everything; one pool of workers per provider and server."""
        pools = {}
        for model, jobs in self.jobs.items():
            if model not in self.failures:
                name = providers.provider_name(model)
                for job in jobs:
                    pools.setdefault((name, job.request.api_base), {}).setdefault(model, []).append(job)
        tasks = []
        for (name, _), by_model in pools.items():
            gate = _Gate(self.limits.get(name, self.limits["default"]))
            turns = itertools.zip_longest(*by_model.values())  # models take turns
            queue = deque(job for turn in turns for job in turn if job is not None)
            tasks += [asyncio.create_task(self._work(queue, gate)) for _ in range(min(gate.concurrency, len(queue)))]
        self.waiting = set(tasks)
        flusher = asyncio.create_task(self._flush())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else ((), ())
            for task in done:
                if not task.cancelled():
                    task.result()  # raises what is no provider's error, such as a full disk
        finally:
            for task in (flusher, *tasks):
                task.cancel()
            await asyncio.gather(flusher, *tasks, return_exceptions=True)
            self.finished.set()

    def stop(self):
        """Start nothing new; give what is in flight a moment."""
        self.stopping = True
        for task in self.waiting - self.in_flight:
            task.cancel()
        asyncio.get_running_loop().call_later(GRACE_S, lambda: [task.cancel() for task in self.waiting])

    async def _flush(self):
        while True:
            await asyncio.sleep(1)
            await asyncio.to_thread(store.flush, self.store.path)

    async def _work(self, queue, gate):
        while queue and not self.stopping:
            job = queue.popleft()
            model = job.request.model
            if model in self.failures:
                continue
            if job.request.decoding in self.unsupported:
                self._not_supported(job.request, job.samples, self.unsupported[job.request.decoding])
                continue
            job, rest = self._split(job)
            if rest:
                queue.appendleft(rest)
            most = self._most(job)
            if not await self._reserve(most):
                self.failures[model] = (
                    f"not asked: the budget of ${self.budget:,.2f} is reached (${self.spent:,.4f} spent, the next call "
                    f"may cost ${most:,.4f}); raise `budget_usd` and run again"
                )
                continue
            try:
                left = await self._ask(job, gate)
            except _Stop as stop:
                self.failures.setdefault(model, str(stop))
            else:
                if left:
                    queue.appendleft(_Job(job.request, left))
            finally:
                self.reserved -= most
                self.released.set()

    def _split(self, job):
        """Job for one call, and the rest of it where the provider gives fewer answers a call."""
        n = request_llm.per_call(job.request.model)
        if len(job.samples) <= n:
            return job, None
        return _Job(job.request, job.samples[:n]), _Job(job.request, job.samples[n:])

    def _most(self, job):
        cost_in, cost_out = self.price[job.request.model]
        answers = len(job.samples) * request_llm.most_tokens(job.request.parameters)
        return (
            1.5 * request_llm.tokens_in(job.request) * cost_in + answers * cost_out
        )  # 1.5: characters are a rough measure

    async def _reserve(self, usd):
        """Set `usd` aside; False if the budget cannot hold it even after all calls in flight have come in."""
        while self.spent + self.reserved + usd > self.budget and usd > 0:
            if self.reserved <= 1e-9:
                return False
            self.released.clear()
            await self.released.wait()
        self.reserved += usd
        return True

    async def _ask(self, job, gate):
        """Make one call, again where that may help, and store what it brings; returns the answers still missing."""
        request, estimate = (
            job.request,
            request_llm.tokens_in(job.request) + request_llm.ASSUMED_TOKENS * len(job.samples),
        )
        if reason := request_llm.not_honoured(request):
            self._record_unsupported(job, 0, reason)
            return []
        arguments = self._arguments(job)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            await gate.turn(estimate)
            started, task = time.monotonic(), asyncio.current_task()
            self.in_flight.add(task)
            try:
                with providers.guarded(request.model, request.api_base):
                    reply = await providers.litellm().acompletion(**arguments)
            except Exception as error:  # litellm raises many classes; the status decides
                delay = self._after(error, job, gate, attempt, arguments)
                if delay is None:
                    return []
            else:
                left = self._keep(reply, job, arguments, attempt, time.monotonic() - started)
                gate.correct(_used(reply, "total_tokens", estimate) - estimate)
                _heed_rate_headers(reply, gate)
                self.gave_up[request.model] = 0
                return left
            finally:
                self.in_flight.discard(task)
            if self.stopping:
                return []
            await asyncio.sleep(delay)
        self.gave_up[request.model] = self.gave_up.get(request.model, 0) + 1
        self.lost[request.model] = self.last_error[request.model]
        if self.gave_up[request.model] >= 3:
            raise _Stop(
                f"gave up: each of {MAX_ATTEMPTS} attempts at 3 calls failed, lastly with "
                f"{self.last_error[request.model]}; "
                "run again later"
            )
        return []

    def _arguments(self, job):
        """Arguments of litellm's call."""
        request = job.request
        parameters = {name: value for name, value in request.parameters.items() if name in request_llm.OPENAI}
        others = {name: value for name, value in request.parameters.items() if name not in request_llm.OPENAI}
        name = providers.provider_name(request.model)
        if others:
            parameters["extra_body"] = {**parameters.get("extra_body", {}), **others}
        if request_llm.supports(request.model, "seed"):
            parameters["seed"] = request_llm.call_seed(self.seed, request.key, job.samples[0])
        if len(job.samples) > 1:
            parameters["n"] = len(job.samples)
        if name != SIMULATED and not (parameters.get("max_tokens") or parameters.get("max_completion_tokens")):
            parameters["max_tokens"] = request_llm.MAX_TOKENS  # what the budget reserves
        if request.api_base:
            parameters["api_base"] = request.api_base
        parameters |= providers.key_arguments(request.model, request.api_base)
        fixed = {"model": request.model, "messages": request.messages, "timeout": TIMEOUT_S}
        return fixed | {"max_retries": 0, "num_retries": 0, "caching": False, "drop_params": False} | parameters

    def _after(self, error, job, gate, attempt, arguments):
        """Decide what an error means: seconds to wait, None where the call is settled; raises `_Stop`."""
        status, message = getattr(error, "status_code", None), providers.provider_message(error)
        model = job.request.model
        self.last_error[model] = f"status {status}: {message}"
        if isinstance(error, providers.ForeignHost):
            raise _Stop(f"{message.rstrip('.')}.")
        if providers.may_pass(error):
            asked, backoff = providers.retry_after(error), providers.backoff(attempt - 1)
            if asked is None:
                return backoff
            if asked > MAX_WAIT_S:
                raise _Stop(f"the provider asks to wait {asked:,.0f} s (status {status}: {message}); run again then")
            gate.pause(asked)
            return max(backoff - asked, random.uniform(0, 0.05))  # a short wait named again and again backs off too
        if status in (400, 422) and providers.is_filtered(error):
            self._store(job, arguments, attempt, 0.0, [("", "content_filter", None, None)] * len(job.samples), None)
            return None
        if status in (400, 422) and _is_about_decoding(error, job.request.parameters):
            self._record_unsupported(job, status, message)
            return None
        raise _Stop(f"status {status}: {message.rstrip('.')}. {_todo(model, status)}")

    def _keep(self, reply, job, arguments, attempt, seconds):
        choices = []
        for choice in reply.choices:
            logprobs = getattr(choice, "logprobs", None)
            text = choice.message.content or ""
            refusal = getattr(choice.message, "refusal", None) or (choice.message.provider_specific_fields or {}).get(
                "refusal"
            )
            dumped = None if logprobs is None else store.dump(_plain(logprobs))
            choices.append((text or refusal or "", choice.finish_reason, refusal, dumped))
        choices = choices[: len(job.samples)] or [("", None, None, None)]
        self._store(job, arguments, attempt, seconds, choices, reply)
        return job.samples[len(choices) :]

    def _store(self, job, arguments, attempt, seconds, choices, reply):
        request = job.request
        cost = None if reply is None else self._cost(request.model, reply)
        if cost is None and reply is not None:
            cost = self._most(job)  # no usage was reported: the most it may have cost counts, in later runs too
        effective = {k: v for k, v in arguments.items() if k not in ("model", "messages", "api_key", "api_base")}
        call = {
            "key": request.key,
            "n": len(choices),
            "seed": arguments.get("seed"),
            "effective": store.dump(effective),
            "served_model": getattr(reply, "model", None),
            "system_fingerprint": getattr(reply, "system_fingerprint", None),
            "attempts": attempt,
            "latency_s": seconds,
            "prompt_tokens": _used(reply, "prompt_tokens"),
            "completion_tokens": _used(reply, "completion_tokens"),
            "reasoning_tokens": _reasoning_tokens(reply),
            "cost_usd": cost,
            "answered_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "litellm_version": providers.litellm_version(),
        }
        samples = [
            {
                "sample_idx": i,
                "text": ids.repaired(text),
                "finish_reason": why,
                "outcome": outcomes.classify(text, why, refusal),
                "logprobs": logprobs,
            }
            for i, (text, why, refusal, logprobs) in zip(job.samples, choices, strict=False)
        ]
        self.store.remember(request.key, request.model, request.api_base, request.messages, request.parameters)
        self.store.add(call, samples)
        self.counts[request.model]["added"] += len(samples)
        self.counts[request.model]["cost_usd"] += cost or 0.0
        self.cost += cost or 0.0
        self.spent += cost or 0.0

    def _cost(self, model, reply):
        asked, said = _used(reply, "prompt_tokens"), _used(reply, "completion_tokens")
        if asked is None or said is None:
            return None
        cost_in, cost_out = self.price[model]
        return asked * cost_in + said * cost_out

    def _record_unsupported(self, job, status, message):
        request = job.request
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.store.add_unsupported(request.model, request.api_base, request.parameters, status, message, at)
        self._not_supported(request, job.samples, message)

    def _not_supported(self, request, samples, message):
        self.unsupported[request.decoding] = message
        self.counts[request.model]["unsupported"] += len(samples)

    def outcome(self):
        """What the run came to, as a table and reasons."""
        import pandas as pd

        names = ["wanted", "stored", "added", "unsupported", "missing", "cost_usd"]
        counts = pd.DataFrame.from_dict(self.counts, orient="index").rename_axis("model").reindex(columns=names)
        counts["missing"] = counts["wanted"] - counts["stored"] - counts["added"] - counts["unsupported"]
        failures = {model: reason for model, reason in self.failures.items() if counts.loc[model, "missing"]}
        for model in counts.index[counts["missing"] > 0]:
            failures.setdefault(
                model, f"{self.lost[model]}; run again" if model in self.lost else "interrupted; run again"
            )
        refused = {model: message for (model, _, _), message in self.unsupported.items()}
        return Outcome(counts, self.cost, failures, refused)


def _is_about_decoding(error, parameters):
    if type(error).__name__ == "UnsupportedParamsError":
        return True
    names = [name for name in parameters if name in request_llm.DECODING]
    said = f"{getattr(error, 'param', None)} {error}"
    return any(re.search(rf"\b{re.escape(name)}\b", said.replace("-", "_")) for name in names)


def _todo(model, status):
    if status == 401:
        missing = providers.litellm().validate_environment(model=model)["missing_keys"]
        name = " and ".join(missing) or f"{providers.provider_name(model).upper()}_API_KEY"
        return f"Set the right {name} in the environment and run again."
    return {
        400: "The provider does not take this request: change it, or leave the model out.",
        402: "Pay or raise the account's limit, and run again.",
        403: "Ask the provider for access to this model, or leave it out.",
        404: "Check the model's name and `api_base`.",
        429: "Raise the account's quota, and run again.",
    }.get(status, "Check the model's name and parameters.")


def _heed_rate_headers(reply, gate):
    """Pause where the provider says that nothing is left until a reset."""
    headers = (getattr(reply, "_hidden_params", None) or {}).get("additional_headers") or {}
    for kind in ("requests", "tokens"):
        left = headers.get(f"llm_provider-x-ratelimit-remaining-{kind}")
        wait = providers.seconds(headers.get(f"llm_provider-x-ratelimit-reset-{kind}"))
        if left is not None and str(left).strip() == "0" and wait is not None:
            gate.pause(min(wait, MAX_WAIT_S))


def _used(reply, name, default=None):
    value = getattr(getattr(reply, "usage", None), name, None)
    return default if value is None else value


def _reasoning_tokens(reply):
    details = getattr(getattr(reply, "usage", None), "completion_tokens_details", None)
    return getattr(details, "reasoning_tokens", None)


def _plain(value):
    return value.model_dump() if hasattr(value, "model_dump") else value


@functools.cache
def _loop():
    """Start the process's event loop, in a thread of its own, so that a run works inside Jupyter's loop.

    There is one, because litellm keeps connections by loop.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="hivemind-sampling").start()
    return loop


def _wait(future, runner, progress):
    """Wait in the calling thread, where Ctrl-C arrives, and show how far the run is."""
    display = progress_llm.Display() if progress else None
    while True:
        try:
            future.result(timeout=0.25)
            break
        except TimeoutError:
            if future.done():
                future.result()  # raises what the run raised; it may have ended just now
                break
        if display:
            display.show(runner)
    if display:
        display.show(runner, last=True)

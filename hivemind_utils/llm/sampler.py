"""Ask models through litellm: resumably, within a budget, each draw kept.

`run` asks what the store lacks and nothing else. Whatever comes back is an outcome, never drawn again: an answer, a
truncated or an empty one, a refusal, a filtered one. Errors are told apart by their HTTP status: what may pass is
waited for and tried again, what will not stops the model concerned and leaves the others alone.
"""

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hivemind_utils.llm import checks, gguf_models, http_json, outcomes, probes, providers, replies, store
from hivemind_utils.llm import cost as cost_llm
from hivemind_utils.llm import progress as progress_llm
from hivemind_utils.llm import request as request_llm
from hivemind_utils.tables import ids

MAX_ATTEMPTS = 8  # of one call; with back-off they span some four minutes


LOCAL_ATTEMPTS = 3  # of a call of a server on this machine that nobody answers


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
    honoured : dict of (str, str) to dict
        Model and decoding (JSON) to what its server makes of it, where that was probed; see `decoding.honoured`.
    """

    counts: object
    cost_usd: float
    failures: dict
    unsupported: dict
    honoured: dict = field(default_factory=dict)

    @property
    def dishonoured(self):
        """What servers ignore or add, in a sentence; None where nothing is known against them."""
        return probes.complaints(self.honoured)

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


def run(
    requests, store_path, *, budget_usd=0.0, limits=None, seed=0, prices=None, progress=True, probe=False, retired=None
):
    """Ask for the answers that the store lacks; every one is stored as it arrives.

    Servers of models in GGUF files run as long as such models are asked, and end with the run, however it ends.

    Works inside a running event loop (Jupyter): the calls run in a thread of their own. Ctrl-C stops within seconds;
    calls in flight get three seconds to end. Run again to continue.

    Parameters
    ----------
    requests : iterable of Request
        In the order in which a model should be asked.
    store_path : str or Path
    budget_usd : float
        What all calls in this store together may cost, earlier runs included; no call starts that could cross it. 0
        asks nobody but ``simulated/`` models and models in GGUF files; a model whose price is not known is not asked.
    limits : dict of str to dict, optional
        Provider's name (or ``default``) to ``concurrency``, ``requests_per_minute``, ``tokens_per_minute``.
    seed : int
        Every call's own seed derives from it, the request and the first answer.
    prices : dict of str to pair of float, optional
        Model to US dollars per million tokens, (input, output); they override litellm's.
    progress : bool
        Show a bar per model, and a total with the cost so far.
    probe : bool
        Ask every server on this machine, once per decoding, whether it honours what it is asked for (at most seven
        short calls; see `decoding.honoured`). Servers of models in GGUF files are always asked.
    retired : dict of str to str, optional
        Models that their providers serve no more, and since which day: they are not asked.

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
        runner.probe = probe
        runner.failures |= {m: f"retired {day}" for m, day in (retired or {}).items() if m in runner.jobs}
        with gguf_models.running(model for model in runner.jobs if model not in runner.failures) as served:
            runner.use(served)
            future = asyncio.run_coroutine_threadsafe(runner.main(), providers.event_loop())
            try:
                _wait(future, runner, progress)
            except KeyboardInterrupt:
                providers.event_loop().call_soon_threadsafe(runner.stop)
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
        self.probe, self.honoured = False, {}
        self.stopping, self.lost, self.last_error, self.counts = False, {}, {}, {}
        self.jobs = self._missing(requests, store.held(opened.path), store.unsupported(opened.path))
        self.price = {m: cost_llm.price(m, prices, jobs[0].request.api_base) for m, jobs in self.jobs.items()}
        self.pools, self.per_call = {}, {}  # servers by model; answers a call, where a server takes fewer
        for model, jobs in self.jobs.items():
            self._refuse_unpriced(model)
            if lacking := providers.lacks_address(model, jobs[0].request.api_base):
                self.failures[model] = f"not asked: {lacking}"
            elif providers.provider_name(model) == "openai" and not jobs[0].request.api_base:
                if lacking := providers.missing_keys(model):  # litellm would call it an error of the server
                    self.failures.setdefault(model, f"not asked: {' and '.join(lacking)} is not set")

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

    def use(self, served):
        """Take the servers that run for models in GGUF files."""
        self.pools = served.pools
        self.failures |= served.failures

    def _refuse_unpriced(self, model):
        if providers.provider_name(model) in (SIMULATED, providers.GGUF):
            return
        if not self.budget:
            self.failures[model] = "not asked: `budget_usd` is 0, which plans only"
        elif self.price[model] is None:
            self.failures[model] = (
                "not asked: its price is not known, so no budget could hold; give it in `prices`, "
                "in USD per million tokens for input and output"
            )

    async def main(self):
        """Ask for everything; one pool of workers per provider and server."""
        pools = {}
        for model, jobs in self.jobs.items():
            if model not in self.failures:
                name = providers.provider_name(model)
                for job in jobs:
                    server = id(self.pools[model]) if model in self.pools else job.request.api_base
                    pools.setdefault((name, server), {}).setdefault(model, []).append(job)
        tasks = []
        asked = [jobs for by_model in pools.values() for jobs in by_model.values()]
        self.honoured = await asyncio.to_thread(probes.probe, asked, self.pools, self.store, everyone=self.probe)
        for (name, server), by_model in pools.items():
            gate = _Gate(await self._limits(name, server, by_model))
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

    async def _limits(self, name, server, by_model):
        """Limits of a provider; of a server on this machine, no more calls at a time than it works on."""
        limits, first = self.limits.get(name, self.limits["default"]), next(iter(by_model))
        if first in self.pools:
            return limits | {"concurrency": self.pools[first].concurrency}
        if not server or not http_json.is_local(server):
            return limits
        slots = await asyncio.to_thread(http_json.slots, server)
        if slots:
            for model in by_model:
                self.per_call[model] = slots
        n = max(min(self._n(model), len(job.samples)) for model, jobs in by_model.items() for job in jobs)
        return limits | {"concurrency": min(limits["concurrency"], max(1, slots // n))} if slots else limits

    def _n(self, model):
        """Most answers that a call may ask the model for."""
        return min(request_llm.per_call(model), self.per_call.get(model, 1000))

    def stop(self):
        """Start nothing new; give what is in flight a moment."""
        self.stopping = True
        for task in self.waiting - self.in_flight:
            task.cancel()
        asyncio.get_runningproviders.event_loop().call_later(GRACE_S, lambda: [task.cancel() for task in self.waiting])

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
        n = self._n(job.request.model)
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
        arguments, pool = self._arguments(job), self.pools.get(request.model)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            await gate.turn(estimate)
            started, task = time.monotonic(), asyncio.current_task()
            self.in_flight.add(task)
            try:
                with pool.address() if pool else contextlib.nullcontext(request.api_base) as base:
                    arguments |= {"api_base": base} if base else {}
                    with providers.guarded(arguments["model"], base):
                        reply = await providers.litellm().acompletion(**arguments)
            except Exception as error:  # litellm raises many classes; the status decides
                if self._takes_fewer(error, job):
                    return job.samples
                delay = self._after(error, job, gate, attempt, arguments)
                if delay is None:
                    return []
            else:
                left = self._keep(reply, job, arguments, attempt, time.monotonic() - started)
                gate.correct(replies.used(reply, "total_tokens", estimate) - estimate)
                replies.heed_rate_headers(reply, gate, MAX_WAIT_S)
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
        model, name = request.model, providers.provider_name(request.model)
        if pool := self.pools.get(model):
            model, parameters = f"hosted_vllm/{pool.servers.name}", gguf_models.arguments(request.parameters)
        else:
            parameters = {name: value for name, value in request.parameters.items() if name in request_llm.OPENAI}
            others = {name: value for name, value in request.parameters.items() if name not in request_llm.OPENAI}
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
        parameters |= {"api_key": "none"} if pool else providers.key_arguments(model, request.api_base)
        fixed = {"model": model, "messages": request.messages, "timeout": TIMEOUT_S}
        return fixed | {"max_retries": 0, "num_retries": 0, "caching": False, "drop_params": False} | parameters

    def _takes_fewer(self, error, job):
        """Whether a server refused the number of answers; from then on a call asks the model for one."""
        model, status = job.request.model, getattr(error, "status_code", None)
        if len(job.samples) < 2 or status not in (400, 422) or not replies.is_about_n(error):
            return False
        self.per_call[model] = 1
        return True

    def _after(self, error, job, gate, attempt, arguments):
        """Decide what an error means: seconds to wait, None where the call is settled; raises `_Stop`."""
        status, message = getattr(error, "status_code", None), providers.provider_message(error)
        model = job.request.model
        self.last_error[model] = f"status {status}: {message}"
        if isinstance(error, providers.ForeignHost):
            raise _Stop(f"{message.rstrip('.')}.")
        if gone := providers.nobody_there(error):
            self._server_gone(model, arguments.get("api_base"), gone, attempt)
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
        if status in (400, 422) and replies.is_about_decoding(error, job.request.parameters):
            self._record_unsupported(job, status, message)
            return None
        raise _Stop(f"status {status}: {message.rstrip('.')}. {replies.todo(model, status)}")

    def _server_gone(self, model, api_base, gone, attempt):
        """Stop the model where a server on this machine is gone: waiting brings nobody back."""
        if pool := self.pools.get(model):
            try:
                pool.servers.check()
            except gguf_models.ServerError as error:
                raise _Stop(f"{error}\nRun again: what was answered is kept.") from None
        self.last_error[model] = gone
        if attempt >= LOCAL_ATTEMPTS and http_json.is_local(api_base or ""):
            raise _Stop(f"{gone}: start the server, or correct `api_bases`, and run again; what was answered is kept")

    def _keep(self, reply, job, arguments, attempt, seconds):
        choices = []
        for choice in reply.choices:
            logprobs = getattr(choice, "logprobs", None)
            text = choice.message.content or ""
            refusal = getattr(choice.message, "refusal", None) or (choice.message.provider_specific_fields or {}).get(
                "refusal"
            )
            dumped = None if logprobs is None else store.dump(replies.plain(logprobs))
            choices.append((text or refusal or "", choice.finish_reason, refusal, dumped))
        choices = choices[: len(job.samples)] or [("", None, None, None)]
        self._store(job, arguments, attempt, seconds, choices, reply)
        return job.samples[len(choices) :]

    def _store(self, job, arguments, attempt, seconds, choices, reply):
        request = job.request
        cost = None if reply is None else self._cost(request.model, reply, choices)
        if cost is None and reply is not None:
            cost = self._most(job)  # no usage was reported: the most it may have cost counts, in later runs too
        effective = {k: v for k, v in arguments.items() if k not in ("model", "messages", "api_key", "api_base")}
        if pool := self.pools.get(request.model):
            effective["gguf"] = pool.facts
        call = {
            "key": request.key,
            "n": len(choices),
            "seed": arguments.get("seed"),
            "effective": store.dump(effective),
            "served_model": getattr(reply, "model", None),
            "system_fingerprint": getattr(reply, "system_fingerprint", None),
            "attempts": attempt,
            "latency_s": seconds,
            "prompt_tokens": replies.used(reply, "prompt_tokens"),
            "completion_tokens": replies.said_tokens(reply, choices),
            "reasoning_tokens": replies.reasoning_tokens(reply),
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

    def _cost(self, model, reply, choices):
        asked, said = replies.used(reply, "prompt_tokens"), replies.said_tokens(reply, choices)
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
        return Outcome(counts, self.cost, failures, refused, self.honoured)


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

"""Ask models through litellm: resumably, within a budget, each draw kept.

`run` asks what the store lacks and nothing else. Whatever comes back is an outcome, never drawn again: a response, a
truncated or an empty one, a refusal, a filtered one. Errors are told apart by their HTTP status: what may pass is
waited for and tried again, what will not stops the model concerned and leaves the others alone.
"""

import asyncio
import contextlib
import functools
import itertools
import random
import sqlite3
import threading
import time
from collections import Counter, deque
from datetime import UTC, datetime

from hivemind_utils.llm import (
    bodies,
    bookkeeping,
    checks,
    gguf_models,
    http_json,
    outcomes,
    outcomes_of_runs,
    pacing,
    probes,
    providers,
    replies,
)
from hivemind_utils.llm import cost as cost_llm
from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import store as store_llm

MAX_ATTEMPTS = 8  # of one call; with back-off they span some four minutes


POOR_ATTEMPTS = 3  # of a call whose replies come, and hold no response, or do not come in time: they may cost


LOCAL_ATTEMPTS = 3  # of a call of a server on this machine that nobody answers


MAX_WAIT_S = 600  # a provider that asks for a longer pause stops the model


REFUSED_FIRST, REFUSED_IN_A_ROW = 3, 20  # requests until a model stops: one that has never answered, and one that has


GRACE_S = 3  # for calls in flight when a run is interrupted


TIMEOUT_S = 600  # of one call


SIMULATED = providers.SIMULATED


Outcome = outcomes_of_runs.Outcome


def run(
    requests, store_path, *, budget_usd=0.0, limits=None, seed=0, prices=None, progress=True, probe=False, retired=None
):
    """Ask for the responses that the store lacks; every one is stored as it arrives.

    Servers of models in GGUF files run as long as such models are asked, and end with the run, however it ends.

    Works inside a running event loop (Jupyter): the calls run in a thread of their own. Ctrl-C, SIGTERM and SIGHUP stop
    it within seconds; calls in flight get three seconds to end, and what is lost counts as what it may have cost. Run
    again to continue.

    Parameters
    ----------
    requests : iterable of Request
        In the order in which a model should be asked.
    store_path : str or Path
    budget_usd : float
        What all calls in this store together may cost, earlier runs included; no call starts that could cross it. 0
        asks nobody but ``simulated/`` models and models in GGUF files; a model whose price is not known is not asked.
    limits : dict of str to dict, optional
        Provider's name (or ``default``) to ``concurrency``, ``requests_per_minute``, ``tokens_per_minute``,
        ``timeout_s`` (of a whole call) and ``max_reply_mb`` (of a response; one that is larger is ``too_large``).
    seed : int
        Every call's own seed derives from it, the request and the first response.
    prices : dict of str to pair of float, optional
        Model to US dollars per million tokens, (input, output); they override litellm's.
    progress : bool
        Show a bar per model, and a total with the cost so far.
    probe : bool
        Ask every server on this machine, once per decoding, whether it honours what it is asked for (at most seven
        short calls; see `decoding.honoured`), unless its calls cost something. Servers of models in GGUF files are
        always asked.
    retired : dict of str to str, optional
        Models that their providers serve no more, and since which day: they are not asked.

    Returns
    -------
    Outcome

    Raises
    ------
    store_llm.Locked
        If another run writes to the store_llm.
    KeyboardInterrupt
        After what was in flight has been stored.
    """
    checks.budget(budget_usd)
    prices = checks.prices(prices)
    with pacing.ending_in_order(), store_llm.Store(store_path) as opened:
        runner = _Run(list(requests), opened, budget_usd, cost_llm.with_defaults(limits), seed, prices)
        runner.probe = probe
        runner.failures |= {m: f"retired {day}" for m, day in (retired or {}).items() if m in runner.jobs}
        with gguf_models.running(model for model in runner.jobs if model not in runner.failures) as served:
            runner.use(served)
            future = asyncio.run_coroutine_threadsafe(runner.main(), providers.event_loop())
            try:
                pacing.wait(future, runner, progress)
            except KeyboardInterrupt:
                providers.event_loop().call_soon_threadsafe(runner.stop)
                pacing.wait(future, runner, progress)
                raise
            finally:
                future.cancel()  # where a second Ctrl-C came
                runner.finished.wait(GRACE_S)
    store_llm.flush(store_path)
    return runner.outcome()


class _Stop(Exception):
    """The model will not answer."""


class _Run(bookkeeping.Books):
    """The state of one call of `run`; all of it lives in the event loop's thread."""

    def __init__(self, requests, opened, budget_usd, limits, seed, prices):
        super().__init__(opened, budget_usd)
        self.limits, self.seed, self.prices = limits, seed, prices
        self.failures, self.unsupported, self.gave_up = {}, {}, {}
        self.refused, self.refusals, self.too_long = {}, Counter(), store_llm.too_long(opened.path)
        self.unasked = {}  # by model: parameters of ours that its server refused
        self.waiting, self.in_flight = set(), set()
        self.finished = threading.Event()  # after it nothing is written
        self.probe, self.honoured = False, {}
        self.stopping, self.lost, self.last_error = False, {}, {}
        self.jobs = self._missing(requests, store_llm.held(opened.path), store_llm.unsupported(opened.path))
        self.price = {m: cost_llm.price(m, prices, jobs[0].request.api_base) for m, jobs in self.jobs.items()}
        self.per_call = {}  # servers by model; responses per call, where a server takes fewer
        for model, jobs in self.jobs.items():
            self._refuse_unpriced(model)
            if lacking := providers.lacks_address(model, jobs[0].request.api_base):
                self.failures[model] = f"not asked: {lacking}"
            elif providers.provider_name(model) == "openai" and not jobs[0].request.api_base:
                if lacking := providers.missing_keys(model):  # litellm would call it an error of the server
                    self.failures.setdefault(model, f"not asked: {' and '.join(lacking)} is not set")

    def _missing(self, requests, held, refused):
        """Jobs by model for what the store lacks, each response once."""
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
            if missing and request.key in self.too_long:
                self._not_supported(request, missing, self.too_long[request.key], decoding=False)
            elif missing and request.decoding in refused:
                self._not_supported(request, missing, refused[request.decoding])
            elif missing:
                jobs.setdefault(request.model, deque()).append(bookkeeping.Job(request, missing))
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
        paid = {model for model, price in self.price.items() if price is None or any(price)}
        probe = functools.partial(probes.probe, everyone=self.probe, paid=paid)
        self.honoured = await asyncio.to_thread(probe, asked, self.pools, self.store)
        for (name, server), by_model in pools.items():
            gate = pacing.Gate(await self._limits(name, server, by_model))
            turns = itertools.zip_longest(*by_model.values())  # models take turns
            queue = deque(job for turn in turns for job in turn if job is not None)
            tasks += [asyncio.create_task(self._work(queue, gate)) for _ in range(min(gate.concurrency, len(queue)))]
        self.waiting = set(tasks)
        flusher = asyncio.create_task(self._flush())
        try:
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else ((), ())
            if rest:
                self.stop()
                await asyncio.wait(rest)
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
        """Most responses that a call may ask the model for."""
        return min(request_llm.per_call(model), self.per_call.get(model, 1000))

    def stop(self):
        """Start nothing new; give what is in flight a moment."""
        self.stopping = True
        for task in self.waiting - self.in_flight:
            task.cancel()
        asyncio.get_running_loop().call_later(GRACE_S, lambda: [task.cancel() for task in self.waiting])

    async def _flush(self):
        while True:
            await asyncio.sleep(1)
            await asyncio.to_thread(store_llm.flush, self.store.path)

    async def _work(self, queue, gate):
        while queue and not self.stopping:
            job = queue.popleft()
            model = job.request.model
            if model in self.failures:
                continue
            if job.request.key in self.too_long:
                self._not_supported(job.request, job.samples, self.too_long[job.request.key], decoding=False)
                continue
            if job.request.key in self.refused:
                continue
            if job.request.decoding in self.unsupported:
                self._not_supported(job.request, job.samples, self.unsupported[job.request.decoding])
                continue
            job, rest = self._split(job)
            if rest:
                queue.appendleft(rest)
            if not await self.reserve(job):
                self.failures[model] = self._over_budget(job)
                continue
            try:
                left = await self._ask(job, gate)
            except _Stop as stop:
                self.failures.setdefault(model, str(stop))
            except (OSError, MemoryError, sqlite3.Error):
                raise  # a full disk is nobody's model
            except Exception as error:  # whatever one model's replies do, the others go on
                self.failures.setdefault(model, f"stopped: {replies.reported(error)}; run again")
            else:
                if left:
                    queue.appendleft(bookkeeping.Job(job.request, left))
            finally:
                self.release(job)

    def _over_budget(self, job):
        return (
            f"not asked: the budget of ${self.budget:,.2f} is reached (${self.spent:,.4f} spent, the next call "
            f"may cost ${self.most(job):,.4f}); raise `budget_usd` and run again"
        )

    def _split(self, job):
        """Job for one call, and the rest of it where the provider gives fewer responses per call."""
        n = self._n(job.request.model)
        if len(job.samples) <= n:
            return job, None
        return bookkeeping.Job(job.request, job.samples[:n]), bookkeeping.Job(job.request, job.samples[n:])

    async def _ask(self, job, gate):
        """Make one call, again where that may help, and store what it brings; returns the responses still missing."""
        request, estimate = (
            job.request,
            request_llm.tokens_in(job.request) + request_llm.ASSUMED_TOKENS * len(job.samples),
        )
        if reason := request_llm.not_honoured(request):
            self._record_unsupported(job, 0, reason)
            return []
        pool, poor, attempt = self.pools.get(request.model), 0, 0
        while attempt < MAX_ATTEMPTS and poor < POOR_ATTEMPTS:
            attempt += 1
            if not job.reserved and not await self.reserve(job):  # what it cost so far is spent
                raise _Stop(self._over_budget(job))
            await gate.turn(estimate)
            arguments, exchange = self._arguments(job), None
            started, task = time.monotonic(), asyncio.current_task()
            self.in_flight.add(task)
            try:
                with pool.address() if pool else contextlib.nullcontext(request.api_base) as base:
                    arguments |= {"api_base": base} if base else {}
                    most = gate.most_bytes and gate.most_bytes * len(job.samples)
                    with providers.guarded(arguments["model"], base, most_bytes=most) as exchange:
                        asked = providers.completion(arguments)
                        reply = await providers.within(gate.timeout_s or TIMEOUT_S, asked)
                    heard = self._heard(reply, exchange, job)
            except asyncio.CancelledError:
                self.lose(job, exchange, arguments, attempt, started, "interrupted")
                raise
            except Exception as error:  # litellm raises many classes; the status decides
                if self._takes_fewer(error, job):
                    return job.samples
                if self._adapts(error, job):
                    attempt -= 1
                    continue
                if isinstance(error, bodies.TooLarge):
                    return self._too_large(job, exchange, arguments, attempt, started)
                lost = self.lose(job, exchange, arguments, attempt, started, replies.reported(error))
                poor += lost and (exchange.status is not None or isinstance(error, TimeoutError))
                delay = self._after(error, job, gate, attempt, arguments, exchange)
                if delay is None:
                    return []
            else:
                left = self.keep(heard, job, arguments, attempt, time.monotonic() - started)
                gate.correct((heard.total_tokens or estimate) - estimate)
                replies.heed_rate_headers(reply, gate, MAX_WAIT_S)
                self.gave_up[request.model] = self.refusals[request.model] = 0
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
                f"gave up: each of {attempt} attempts at 3 calls failed, lastly with "
                f"{self.last_error[request.model]}; "
                "run again later"
            )
        return []

    def _heard(self, reply, exchange, job):
        """What a reply says, as far as it can be believed; raises where it is none, or one that came before."""
        request = job.request
        try:
            heard = replies.believed(replies.heard(reply, exchange), request, len(job.samples))
        except bodies.Unusable:
            raise
        except Exception as error:  # a form that nobody has seen yet
            raise bodies.Unusable(f"the reply cannot be read: {replies.reported(error)}") from None
        if heard.provider_id and (bookkeeping.server_of(request), heard.provider_id) in self.reply_ids:
            self.remark(request.model, "replies under the id of an earlier one, not kept")
            raise bodies.Unusable(f"the server returned the id of an earlier response again ({heard.provider_id})")
        return heard

    def _too_large(self, job, exchange, arguments, attempt, started):
        """Keep that a response is too large; of several in a reply, ask for each alone."""
        if len(job.samples) > 1:
            self.lose(job, exchange, arguments, attempt, started, "too large")
            self.per_call[job.request.model] = 1
            return job.samples
        call = self.call(job, arguments, attempt, time.monotonic() - started, self.most(job))
        self.remark(job.request.model, "responses too large to keep")
        self.add(job, call | {"n": 1}, [("", outcomes.TOO_LARGE, None, None)])
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
        unasked = self.unasked.get(request.model, ())
        if request_llm.supports(request.model, "seed") and "seed" not in unasked:
            parameters["seed"] = request_llm.call_seed(self.seed, request.key, job.samples[0])
        if len(job.samples) > 1:
            parameters["n"] = len(job.samples)
        if name != SIMULATED and not (parameters.get("max_tokens") or parameters.get("max_completion_tokens")):
            parameters["max_tokens"] = request_llm.MAX_TOKENS  # what the budget reserves
        if "max_tokens" in unasked and "max_tokens" in parameters:
            parameters["max_completion_tokens"] = parameters.pop("max_tokens")
        if request.api_base:
            parameters["api_base"] = request.api_base
        parameters |= {"api_key": "none"} if pool else providers.key_arguments(model, request.api_base)
        fixed = {"model": model, "messages": request.messages, "timeout": self._timeout(name)}
        return fixed | {"max_retries": 0, "num_retries": 0, "caching": False, "drop_params": False} | parameters

    def _timeout(self, provider):
        return self.limits.get(provider, self.limits["default"])["timeout_s"] or TIMEOUT_S

    def _adapts(self, error, job):
        """Whether a server refused what only the sampler asked for; from then on the model is asked without."""
        model, status = job.request.model, getattr(error, "status_code", None)
        if status not in (400, 422):
            return False
        unasked = self.unasked.setdefault(model, set())
        if "seed" not in unasked and request_llm.supports(model, "seed") and replies.is_about_seed(error):
            unasked.add("seed")
            return True
        if "max_tokens" not in unasked and "max_completion_tokens" in str(error) and not replies.is_too_long(error):
            unasked.add("max_tokens")
            return True
        return False

    def _takes_fewer(self, error, job):
        """Whether a server refused the number of responses; from then on a call asks the model for one."""
        model, status = job.request.model, getattr(error, "status_code", None)
        if len(job.samples) < 2 or status not in (400, 422) or not replies.is_about_n(error):
            return False
        self.per_call[model] = 1
        return True

    def _after(self, error, job, gate, attempt, arguments, exchange):
        """Decide what an error means: seconds to wait, None where the call is settled; raises `_Stop`."""
        status, message = getattr(error, "status_code", None), providers.provider_message(error)
        model, came = job.request.model, exchange.status if exchange else None
        if isinstance(error, TimeoutError):
            message = f"no whole reply within {gate.timeout_s or TIMEOUT_S:g} s"
        self.last_error[model] = f"status {status or came}: {message}"
        if isinstance(error, providers.ForeignHost):
            raise _Stop(f"{message.rstrip('.')}.")
        if gone := providers.nobody_there(error):
            self._server_gone(model, arguments.get("api_base"), gone, attempt)
        if replies.is_too_long(error):
            at = datetime.now(UTC).isoformat(timespec="seconds")
            self.too_long[job.request.key] = f"too long for the model: {message}"
            self.store.add_too_long(job.request.key, model, status, self.too_long[job.request.key], at)
            self._not_supported(job.request, job.samples, self.too_long[job.request.key], decoding=False)
            return None
        if providers.may_pass(error) or isinstance(error, bodies.Unusable) or (came is not None and came < 300):
            asked, backoff = providers.retry_after(error), providers.backoff(attempt - 1)
            if asked is None:
                return backoff
            if asked > MAX_WAIT_S:
                raise _Stop(f"the provider asks to wait {asked:,.0f} s (status {status}: {message}); run again then")
            gate.pause(asked)
            return max(backoff - asked, random.uniform(0, 0.05))  # a short wait named again and again backs off too
        if status in (400, 422) and providers.is_filtered(error):
            samples = [("", "content_filter", None, None)] * len(job.samples)
            self.add(job, self.call(job, arguments, attempt, 0.0, None) | {"n": len(samples)}, samples)
            return None
        if status in (400, 422) and replies.is_about_decoding(error, job.request.parameters):
            self._record_unsupported(job, status, message)
            return None
        why = f"status {status}: {message.rstrip('.')}. {replies.todo(model, status)}"
        if status not in (400, 413, 422):
            raise _Stop(why)
        self.refused[job.request.key] = self.lost[model] = why  # the request's fault, perhaps: others go on
        self.refusals[model] += 1
        known = self.counts[model]["added"] + self.counts[model]["stored"] > 0
        if self.refusals[model] >= (REFUSED_IN_A_ROW if known else REFUSED_FIRST):
            raise _Stop(why)
        return None

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

    def _record_unsupported(self, job, status, message):
        request = job.request
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.store.add_unsupported(request.model, request.api_base, request.parameters, status, message, at)
        self._not_supported(request, job.samples, message)

    def _not_supported(self, request, samples, message, *, decoding=True):
        """Count responses that are not to be had, for their decoding or for themselves."""
        if decoding:
            self.unsupported[request.decoding] = message
        else:
            self.refused[request.key] = message
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
        unsupported = {model: message for (model, _, _), message in self.unsupported.items()}
        remarks = {model: dict(counted) for model, counted in self.remarks.items()}
        return Outcome(counts, self.cost, failures, unsupported, self.honoured, self.refused, remarks)

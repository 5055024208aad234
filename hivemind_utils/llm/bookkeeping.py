"""The books of a run: what is set aside, spent, stored, lost and worth a remark."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from hivemind_utils.llm import bodies, outcomes, providers, served
from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import store as store_llm


@dataclass
class Job:
    """Responses of a request, to ask for in one call."""

    request: request_llm.Request
    samples: list  # numbers of the responses to ask for
    reserved: float = 0.0  # US dollars


class Books:
    """Money and responses of a run; all of it lives in the event loop's thread.

    Parameters
    ----------
    opened : store.Store
    budget_usd : float
    """

    def __init__(self, opened, budget_usd):
        self.store, self.budget = opened, budget_usd
        self.spent, self.reserved, self.cost = store_llm.spent(opened.path), 0.0, 0.0
        self.released = asyncio.Event()
        self.counts, self.price, self.remarks, self.pools = {}, {}, {}, {}
        self.reply_ids = store_llm.reply_ids(opened.path)

    def most(self, job):
        """US dollars that a call may cost at most."""
        cost_in, cost_out = self.price[job.request.model]
        answers = len(job.samples) * request_llm.most_tokens(job.request.parameters)
        return (
            1.5 * request_llm.tokens_in(job.request) * cost_in + answers * cost_out
        )  # 1.5: characters are a rough measure

    async def reserve(self, job):
        """Set aside what a call may cost; False if the budget cannot hold it even after all in flight have come in."""
        usd = self.most(job)
        while self.spent + self.reserved + usd > self.budget and usd > 0:
            if self.reserved <= 1e-9:
                return False
            self.released.clear()
            await self.released.wait()
        self.reserved += usd
        job.reserved = usd
        return True

    def release(self, job):
        """Give back what is set aside for a call."""
        self.reserved, job.reserved = self.reserved - job.reserved, 0.0
        self.released.set()

    def lose(self, job, exchange, arguments, attempt, started, why):
        """Count a call that brought nothing as what it may have cost, now and in later runs; whether it may have."""
        if exchange is None or not exchange.may_have_cost:
            return False
        self.remark(job.request.model, "replies lost that may have been paid for")
        if job.reserved > 0:
            call = self.call(job, arguments, attempt, time.monotonic() - started, job.reserved)
            self.add(job, call | {"lost": why}, [])
        self.release(job)
        return True

    def remark(self, model, what, n=1):
        """Count something that happened to replies of a model."""
        self.remarks.setdefault(model, Counter())[what] += n

    def keep(self, heard, job, arguments, attempt, seconds):
        """Store the responses of a reply, from `replies.believed`; returns the responses still missing."""
        model = job.request.model
        choices = [
            (text, why, refusal, None if logprobs is None else bodies.repaired(store_llm.dump(logprobs)))
            for text, why, refusal, logprobs in heard.choices[: len(job.samples)]
        ]
        for name in heard.odd:
            self.remark(model, f"replies with an odd `{name}`, left empty")
        if not served.is_asked(model, heard.model, tuple(job.request.aliases)):
            self.remark(model, f"responses answered by another model ({heard.model})", len(choices))
        if heard.provider_id:
            self.reply_ids.add((server_of(job.request), heard.provider_id))
        call = self.call(job, arguments, attempt, seconds, self._cost(job, heard)) | {
            "n": len(choices),
            "served_model": heard.model,
            "system_fingerprint": heard.fingerprint,
            "prompt_tokens": heard.prompt_tokens,
            "completion_tokens": heard.completion_tokens,
            "reasoning_tokens": heard.reasoning_tokens,
            "server": server_of(job.request) if heard.provider_id else None,
            "provider_id": heard.provider_id,
            "odd": ",".join(heard.odd) or None,
        }
        self.add(job, call, choices)
        return job.samples[len(choices) :]

    def _cost(self, job, heard):
        """US dollars of a call; where a reply does not say what it used, the most that may have been."""
        cost_in, cost_out = self.price[job.request.model]
        asked = heard.prompt_tokens or 1.5 * request_llm.tokens_in(job.request)
        said = heard.completion_tokens or len(job.samples) * request_llm.most_tokens(job.request.parameters)
        return asked * cost_in + said * cost_out

    def call(self, job, arguments, attempt, seconds, cost_usd):
        """Facts of a call, those of its reply still missing."""
        effective = {k: v for k, v in arguments.items() if k not in ("model", "messages", "api_key", "api_base")}
        if pool := self.pools.get(job.request.model):
            effective["gguf"] = pool.facts
        names = ("served_model", "system_fingerprint", "prompt_tokens", "completion_tokens", "reasoning_tokens")
        return dict.fromkeys(names) | {
            "key": job.request.key,
            "n": 0,
            "seed": arguments.get("seed"),
            "effective": store_llm.dump(effective),
            "attempts": attempt,
            "latency_s": seconds,
            "cost_usd": cost_usd,
            "answered_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "litellm_version": providers.litellm_version(),
        }

    def add(self, job, call, choices):
        """Store a call and its responses, and count them."""
        request, cost = job.request, call["cost_usd"] or 0.0
        samples = [
            {
                "sample_idx": i,
                "text": bodies.repaired(text),
                "finish_reason": why,
                "outcome": outcomes.classify(text, why, refusal),
                "logprobs": logprobs,
            }
            for i, (text, why, refusal, logprobs) in zip(job.samples, choices, strict=False)
        ]
        self.store.remember(request.key, request.model, request.api_base, request.messages, request.parameters)
        self.store.add(call, samples)
        self.counts[request.model]["added"] += len(samples)
        self.counts[request.model]["cost_usd"] += cost
        self.cost += cost
        self.spent += cost


def server_of(request):
    """Who gives ids to replies."""
    return f"{providers.provider_name(request.model)} {request.api_base or ''}".strip()

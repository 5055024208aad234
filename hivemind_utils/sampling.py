"""Ask models through litellm, resumably: what is stored is not asked again."""

import asyncio
import hashlib
import json
import os
import threading
from dataclasses import dataclass, field

from hivemind_utils import provider, store


@dataclass(frozen=True)
class Request:
    """What is asked of whom, and how: samples `sample_idx` to `sample_idx` + `n` - 1 in one call."""

    model: str
    messages: tuple
    parameters: dict = field(default_factory=dict)
    sample_idx: int = 0
    n: int = 1
    api_base: str | None = None

    @property
    def key(self):
        """Stable hash of all but the sample's number."""
        words = json.dumps([self.model, list(self.messages), self.parameters, self.api_base], sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:32]


@dataclass
class Outcome:
    """How a run went."""

    cost_usd: float = 0.0
    problems: dict = field(default_factory=dict)

    def why_missing(self, request):
        """Why a request has no answer, in words."""
        return self.problems.get(request.model, "the run stopped before it was asked")


def run(requests, store_path, *, budget_usd=0.0, limits=None, seed=0, progress=True):
    """Ask what is missing and store every answer."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    stored = set(store.read(store_path, requests)[["key", "sample_idx"]].itertuples(index=False, name=None))
    missing = [r for r in requests if (r.key, r.sample_idx) not in stored]
    outcome = Outcome()
    free = [r for r in missing if r.model.startswith(provider.PREFIX)]
    if budget_usd <= 0:
        outcome.problems |= {r.model: "budget_usd is 0: plan only" for r in missing if r not in free}
        missing = free
    if missing:
        thread = threading.Thread(target=lambda: asyncio.run(_ask_all(missing, store_path, seed, outcome)))
        thread.start()
        thread.join()
    return outcome


async def _ask_all(requests, store_path, seed, outcome):
    import litellm

    gate, connection = asyncio.Semaphore(8), store.connect(store_path)

    async def ask(request):
        words = f"{seed}/{request.key}/{request.sample_idx}"
        call_seed = int(hashlib.sha256(words.encode()).hexdigest()[:8], 16) % 2**31
        async with gate:
            try:
                reply = await litellm.acompletion(
                    model=request.model, messages=list(request.messages), n=request.n, seed=call_seed,
                    api_base=request.api_base, **request.parameters,
                )  # fmt: skip
            except Exception as error:
                outcome.problems[request.model] = f"{getattr(error, 'status_code', '')} {error}"
                return
        cost = 0.0
        outcome.cost_usd += cost
        rows = [
            {
                "key": request.key, "sample_idx": request.sample_idx + i, "text": choice.message.content,
                "finish_reason": choice.finish_reason, "outcome": "answer", "usage": None, "cost_usd": cost,
                "logprobs": getattr(choice, "logprobs", None) and choice.logprobs.model_dump_json(),
                "model": reply.model, "seed": call_seed,
            }
            for i, choice in enumerate(reply.choices)
        ]  # fmt: skip
        store.write(connection, rows)

    await asyncio.gather(*map(ask, requests))
    connection.close()

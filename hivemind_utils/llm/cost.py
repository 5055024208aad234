"""Prices, and what a plan would ask and cost."""

import functools

from hivemind_utils.llm import checks, http_json, providers, store
from hivemind_utils.llm import request as request_llm

LIMITS = {  # of a provider, unless given; timeout_s is of a whole call, max_reply_mb of a response
    "concurrency": 16, "requests_per_minute": None, "tokens_per_minute": None, "enqueued_tokens": None,
    "timeout_s": None, "max_reply_mb": 10,
}  # fmt: skip


def plan(
    requests, store_path, *, groups=None, names=("model", "decoding"), sizes=None, limits=None, prices=None, batch=None
):
    """What a run would ask and cost.

    Parameters
    ----------
    requests : sequence of Request
    store_path : str or Path
        It need not exist.
    groups : sequence of tuple, optional
        A label per request, such as (model, decoding); default: the model.
    names : sequence of str
        Of the parts of a label.
    sizes : sequence of int, optional
        Responses in every reply, where a reply is a list; 1 by default.
    limits, prices
        As in `run`.
    batch : callable, optional
        Whether a model is asked in batches, at their price.

    Returns
    -------
    DataFrame
        One row per group: wanted, stored, unsupported, missing (responses), calls, tokens_in, tokens_out (expected),
        and cost_low, cost_expected, cost_high in US dollars, missing where the price is unknown; hours, the least time
        at the given rates. Tokens in: a token per 4 bytes. Tokens out: the mean of the model's stored responses, or
        `ASSUMED_TOKENS`; low is half of it, high is max_tokens.
    """
    import pandas as pd

    requests, limits, prices = list(requests), with_defaults(limits), checks.prices(prices)
    held, refused, known = store.held(store_path), store.unsupported(store_path), store.tokens_by_model(store_path)
    too_long = store.too_long(store_path)
    labels = [(request.model,) for request in requests] if groups is None else list(groups)
    rows, price_of = (
        [],
        functools.cache(lambda model, base: price(model, prices, base, batch=bool(batch and batch(model)))),
    )
    never = {}  # decodings to why they are not honoured
    sizes = [1] * len(requests) if sizes is None else list(sizes)
    for label, request, size in zip(labels, requests, sizes, strict=True):
        stored = len(held.get(request.key, set()) & set(range(request.sample_idx, request.sample_idx + request.n)))
        if request.decoding not in never:
            never[request.decoding] = refused.get(request.decoding) or request_llm.not_honoured(request)
        unsupported = request.n - stored if never[request.decoding] or request.key in too_long else 0
        missing = request.n - stored - unsupported
        calls, asked = -(-missing // request_llm.per_call(request.model)), request_llm.tokens_in(request)
        high = request_llm.most_tokens(request.parameters)
        expected = min(size * known.get(request.model, (request_llm.ASSUMED_TOKENS,))[0], high)
        cost_in, cost_out = price_of(request.model, request.api_base) or (float("nan"),) * 2
        costs = (
            [calls * asked * cost_in + missing * n * cost_out for n in (expected / 2, expected, high)]
            if missing
            else [0] * 3
        )
        rate = limits.get(providers.provider_name(request.model), limits["default"])["requests_per_minute"]
        hours = calls / rate / 60 if rate else 0.0
        rows.append(
            (*label, *(size * n for n in (request.n, stored, unsupported, missing)), calls, calls * asked,
             missing * expected, *costs, hours)
        )  # fmt: skip
    names = list(names)[: len(labels[0]) if labels else 1 if groups is None else len(names)]
    columns = ["wanted", "stored", "unsupported", "missing", "calls", "tokens_in", "tokens_out", "cost_low",
               "cost_expected", "cost_high", "hours"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*names, *columns])
    return frame.groupby(names, sort=False)[columns].agg(lambda values: values.sum(skipna=False)).reset_index()


def price(model, prices=None, api_base=None, *, batch=False):
    """US dollars per token, (input, output), or None where nobody knows.

    Parameters
    ----------
    model : str
    prices : dict of str to pair of float, optional
        US dollars per million tokens; they come first.
    api_base : str, optional
        Address that is asked. A server on this machine costs nothing, unless it stands in for a provider whose price
        litellm's list has (a proxy). Simulated models and models in GGUF files cost nothing either.
    batch : bool
        What a batch costs, where litellm's list says it; else the full price. Given prices are taken as they are.

    Examples
    --------
    >>> price("hosted_vllm/mine", api_base="http://127.0.0.1:8000/v1"), price("hosted_vllm/mine")
    ((0.0, 0.0), None)
    """
    if model in (prices or {}):
        cost_in, cost_out = prices[model]
        return cost_in / 1e6, cost_out / 1e6
    name, local = providers.provider_name(model), bool(api_base) and http_json.is_local(api_base)
    if name in (providers.SIMULATED, providers.GGUF) or (local and name in providers.OWN_SERVERS):
        return 0.0, 0.0
    found = (
        providers.litellm().model_cost.get(model) or providers.litellm().model_cost.get(model.partition("/")[2]) or {}
    )
    cost_in, cost_out = (_cost(found, f"{side}_cost_per_token", batch) for side in ("input", "output"))
    if cost_in is None or cost_out is None:
        return (0.0, 0.0) if local else None
    return cost_in, cost_out


def _cost(facts, name, batch):
    in_batches = facts.get(f"{name}_batches") if batch else None
    return facts.get(name) if in_batches is None else in_batches


def with_defaults(limits):
    """Limits of every provider named, filled up from `LIMITS`; checked."""
    limits = checks.limits(limits, LIMITS)
    default = LIMITS | limits.get("default", {})
    return {name: default | values for name, values in limits.items()} | {"default": default}

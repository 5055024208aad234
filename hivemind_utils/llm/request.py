"""What is asked of a model: requests, their identity, and what a provider takes."""

import copy
import functools
import hashlib
import re
from dataclasses import dataclass, field

from hivemind_utils.llm import addresses, checks, gguf_models, providers, store

ASSUMED_TOKENS = 300  # of a response, until a model's own are known


MAX_TOKENS = 4096  # of a response whose request sets no `max_tokens`: sent, and reserved


OPENAI = ("frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "stop",
           "presence_penalty", "response_format", "temperature", "top_p", "reasoning_effort", "verbosity", "thinking",
           "extra_body")  # fmt: skip


DECODING = ("temperature", "top_p", "min_p", "top_k", "typical_p", "repetition_penalty", "frequency_penalty")


_OF_SERVERS = ("min_tokens", "top_a", "tfs_z", "mirostat", "mirostat_mode", "mirostat_tau", "mirostat_eta",
               "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "dry_allowed_length",
               "no_repeat_ngram_size", "length_penalty", "ignore_eos", "skip_special_tokens", "chat_template_kwargs",
               "epsilon_cutoff", "eta_cutoff", "n_sigma", "provider", "reasoning", "service_tier")  # fmt: skip


KNOWN = (*dict.fromkeys((*OPENAI, *DECODING, *_OF_SERVERS)),)  # parameters of a decoding; others go in `extra_body`


_KNOW_MIN_P = {providers.SIMULATED, "hosted_vllm", "vllm", "together_ai", "openrouter", "fireworks_ai", "deepinfra",
               "lm_studio", "llamafile", "custom_openai"}  # fmt: skip


_MOST_A_CALL = {"gemini": 8, "vertex_ai": 8, "dashscope": 1}  # responses, where a provider takes fewer than asked for


@dataclass(frozen=True)
class Request:
    """What is asked of whom, and how: responses `sample_idx` to ``sample_idx + n - 1``, in one call where possible.

    Parameters
    ----------
    model : str
        Name as litellm knows it, such as ``openai/gpt-4o-2024-11-20``, ``hosted_vllm/…`` or ``simulated/…``; or
        ``gguf:…`` for a file on this machine, see `gguf_models`.
    messages : list of dict, or str
        Turns with role and content; a str is one turn of the user.
    parameters : dict
        Decoding as requested, such as temperature, top_p, max_tokens, response_format, logprobs. What OpenAI's
        interface does not have (min_p, top_k) travels in the request's body, to servers that know it.
    sample_idx, n : int
        First response and number of responses.
    api_base : str, optional
        Address of the server; by default the one that the environment gives for the provider, else the provider's own.
    aliases : tuple of str
        Other names under which servers answer for the model; no part of what is asked, nor of the key.
    """

    model: str
    messages: list
    parameters: dict = field(default_factory=dict)
    sample_idx: int = 0
    n: int = 1
    api_base: str | None = None
    aliases: tuple = ()

    def __post_init__(self):
        if isinstance(self.messages, str):
            object.__setattr__(self, "messages", [{"role": "user", "content": self.messages}])
        if self.n < 1 or self.sample_idx < 0:
            raise ValueError(f"`n` must be >= 1 and `sample_idx` >= 0, but {self.n} and {self.sample_idx} were passed.")
        for name in self.parameters:
            if re.search(r"key|token$|secret|authorization|headers", name, re.IGNORECASE):
                raise ValueError(f"`parameters` may not hold {name!r}: keys come from the environment alone.")
            if name in ("n", "seed", "model", "messages", "api_base", "stream", "drop_params"):
                raise ValueError(f"`parameters` may not hold {name!r}: the sampler sets it.")
        checks.decoding("parameters", self.parameters, KNOWN)
        base = (self.api_base or providers.environment_base(self.model) or "").rstrip("/") or None
        providers.refuse(self.model, base)
        if base and base.startswith("http") and (why := addresses.refused(base)):
            raise ValueError(f"This `api_base` may not be used: {why}. Keys come from the environment alone.")
        if base and gguf_models.is_gguf(self.model):
            raise ValueError(f"{self.model} runs on servers of its own: leave its address out of `api_bases`.")
        numbers = {k: float(v) for k, v in self.parameters.items() if k in DECODING and k != "top_k" and type(v) is int}
        object.__setattr__(self, "parameters", {**self.parameters, **numbers})  # 1 and 1.0 are one decoding
        object.__setattr__(self, "api_base", base)

    @functools.cached_property
    def key(self):
        """Stable hash of model, server, messages and parameters: with `sample_idx` it names a response."""
        name = gguf_models.identity(self.model) if gguf_models.is_gguf(self.model) else self.model
        asked = [name, self.api_base, self.messages, self.parameters]
        return hashlib.sha256(store.dump(asked).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @functools.cached_property
    def decoding(self):
        """Model, server and parameters: what a provider may not support."""
        return self.model, self.api_base or "", store.dump(self.parameters)


def requests(model, messages, parameters, n_samples, *, per_call=1, api_base=None, aliases=()):
    """Requests for `n_samples` responses, `per_call` of them in a call where the provider can.

    Responses of one call may be dependent; `store.read` gives the call of each.
    """
    first = Request(model, messages, parameters, api_base=api_base, aliases=tuple(aliases))
    shared = vars(first) | {"key": first.key, "decoding": first.decoding}  # the same for all, and hashed once
    found = []
    for i in range(0, n_samples, per_call):
        request = copy.copy(first)
        vars(request).update(shared, sample_idx=i, n=min(per_call, n_samples - i))
        found.append(request)
    return found


def not_honoured(request):
    """Why a provider is known not to honour a request's decoding, or None: it would refuse it, or drop it silently."""
    name = providers.provider_name(request.model)
    if name == providers.GGUF:
        others = sorted(set(request.parameters) - set(gguf_models.TAKEN))
        return f"llama.cpp is not asked with {', '.join(others)} here" if others else None
    for parameter in request.parameters:
        if parameter == "min_p":
            honoured = name in _KNOW_MIN_P or (name == "openai" and request.api_base)
        else:
            honoured = parameter not in ("temperature", "top_p") or supports(request.model, parameter)
        if not honoured:
            return f"{name} does not take {parameter} for {request.model}"
    return None


def decoding_of(request):
    """Parameters of a request that decide how tokens are drawn, and the most there may be."""
    wanted = (*DECODING, "presence_penalty", "max_tokens")
    return {name: value for name, value in request.parameters.items() if name in wanted}


def call_seed(seed, key, first_sample):
    """Seed of a call, which depends on the run's seed, the request and its first response."""
    digest = hashlib.sha256(f"{seed}\x1f{key}\x1f{first_sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # a non-negative 32-bit number, as providers take it


@functools.cache
def supports(model, parameter):
    """Whether litellm knows the provider to take a parameter for this model; simulated models take all."""
    name = providers.provider_name(model)
    if name == providers.SIMULATED:
        return True
    if name == providers.GGUF:
        return parameter == "seed" or parameter in gguf_models.TAKEN
    known = providers.litellm().get_supported_openai_params(model.removeprefix(f"{name}/"), custom_llm_provider=name)
    return known is None or parameter in known


def per_call(model):
    """Most responses that a provider gives in one call."""
    return _MOST_A_CALL.get(providers.provider_name(model), 1000) if supports(model, "n") else 1


def tokens_in(request):
    """Tokens of the messages, roughly: one per 4 bytes."""
    return 8 + sum(len(str(message.get("content", "")).encode("utf-8", "replace")) for message in request.messages) // 4


def most_tokens(parameters):
    """Most tokens that a response may have: where both names are given, a provider may take either."""
    return max(parameters.get(name) or 0 for name in ("max_completion_tokens", "max_tokens")) or MAX_TOKENS

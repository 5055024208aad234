"""The study's decoding asked for in full, and whether a server honours what it is asked for.

The study samples with top-p (temperature 1, top-p .9) and with min-p (temperature 2, min-p .1). Its open models were
asked through samplers that divide the logits by the temperature first and cut the distribution's tail afterwards: vLLM
(temperature, min-p, top-k and top-p) and transformers (temperature, top-k, top-p, min-p). llama.cpp cuts first and
applies the temperature last, and cuts more than it is told to: `top_k` 40 and `min_p` .05 unless others are given. At
temperature 1 the order makes no difference; at 2 it does, since what min-p keeps is then decided on the sharper
distribution. So every setting is sent, with the order. Top-p and min-p are never both active in the study; where they
are, top-p comes first here.
"""

import math
import random

from hivemind_utils.llm import http_json

ORDER = ("temperature", "top_p", "min_p")  # in which llama.cpp applies what the study uses
# What switches a setting of llama.cpp off; `top_p`, `min_p` and `top_k` are off unless the decoding gives them.
NEUTRAL = {
    "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "top_n_sigma": -1.0, "dynatemp_range": 0.0,
    "xtc_probability": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
    "dry_multiplier": 0.0, "mirostat": 0, "ignore_eos": False,
}  # fmt: skip
HONOURED, IGNORED, UNKNOWN = "honoured", "ignored", "unknown"
_DECODING = ("temperature", "top_p", "min_p", "max_tokens")
_STEP = {"typical_p": "typ_p", "xtc_probability": "xtc", "dry_multiplier": "dry"}  # settings to their steps' names
_PROMPT = "Write one sentence about anything at all."
_PROBE_TOKENS = 24


def llama_cpp(decoding, *, seed=None):
    """The decoding as llama.cpp must be asked for it, every other setting switched off.

    Parameters
    ----------
    decoding : dict
        ``temperature`` and, where wanted, ``top_p``, ``min_p``, ``max_tokens``.
    seed : int, optional
        Of this call. Each call needs one of its own, or its response repeats.

    Returns
    -------
    dict
        Fields of the request's body. ``cache_prompt`` reuses a slot's prompt, which saves time and changes the
        log-probabilities by rounding only.

    Raises
    ------
    ValueError
        If the decoding has no temperature, or fields besides these.

    Examples
    --------
    >>> body = llama_cpp({"temperature": 2.0, "min_p": 0.1})
    >>> body["samplers"], body["top_k"], body["top_p"], body["min_p"]
    (['temperature', 'top_p', 'min_p'], 0, 1.0, 0.1)
    """
    if unknown := set(decoding) - set(_DECODING):
        raise ValueError(f"`decoding` may have {list(_DECODING)}, but {sorted(unknown)} was passed.")
    if decoding.get("temperature") is None:
        raise ValueError(f"`decoding` needs a temperature, but {decoding} was passed.")
    given = {name: value for name, value in decoding.items() if value is not None}
    body = NEUTRAL | given | {"samplers": list(ORDER), "cache_prompt": True}
    return body if seed is None else body | {"seed": seed}


def honoured(base_url, model, decoding, *, api_key=None, timeout=120):
    """Whether a server applies the decoding it is asked for, field by field.

    One call asks for the settings in use. A server that reports them (llama.cpp: in the reply with ``verbose``, else in
    ``/slots``) is compared with what was asked. Of any other, calls at extreme settings with log-probabilities tell
    what they can: under top-p near 0 or min-p 1 only the most probable token is left, at any temperature. Those are at
    most seven calls of 24 tokens.

    Parameters
    ----------
    base_url : str
        Address of the OpenAI-compatible interface, such as ``http://127.0.0.1:8080/v1``.
    model : str
        Name of the model there.
    decoding : dict
        Fields of the body as they will be sent, such as the result of `llama_cpp` or the study's plain decoding.
    api_key : str, optional
    timeout : float
        Seconds a call may take.

    Returns
    -------
    dict
        ``source``: ``settings reported in the reply``, ``settings reported in /slots`` or ``calls at extreme
        settings``. ``fields``: each field to ``honoured``, ``ignored`` or ``unknown``. ``added``: settings that
        nobody asked for and that change the distribution, to their values; the server's own defaults (``/props``) where
        the reply does not tell, and empty where nobody does.

    Raises
    ------
    http_json.Refused
        If the server refuses the decoding.
    OSError
        If it does not answer.
    """
    server = _Server(base_url, model, api_key, timeout)
    asked = {name: value for name, value in decoding.items() if name not in ("cache_prompt", "seed")}
    seed = decoding.get("seed", random.SystemRandom().randrange(1, 2**31))  # by which /slots shows which call it is
    source, reported = server.reported(asked, seed)
    if reported:
        fields = {name: _compared(value, reported, name) for name, value in (asked | {"seed": seed}).items()}
        return {"source": source, "fields": fields, "added": _added(asked, reported)}
    fields = dict.fromkeys((*asked, "seed"), UNKNOWN) | _probed(server, asked)
    return {"source": "calls at extreme settings", "fields": fields, "added": _added(asked, server.defaults())}


def complaint(report):
    """What a report says against a server, in a sentence; None where there is nothing.

    Examples
    --------
    >>> complaint({"fields": {"min_p": "ignored", "top_p": "honoured"}, "added": {"top_k": 40}})
    'the server ignores min_p and adds top_k 40'
    >>> complaint({"fields": {"min_p": "unknown"}, "added": {}}) is None
    True
    """
    ignored = [name for name, verdict in report["fields"].items() if verdict == IGNORED]
    added = [f"{name} {value}" for name, value in report["added"].items()]
    said = [f"ignores {', '.join(ignored)}"] * bool(ignored) + [f"adds {', '.join(added)}"] * bool(added)
    return f"the server {' and '.join(said)}" if said else None


class _Server:
    """A chat endpoint, and what a llama.cpp server tells beside it."""

    def __init__(self, base_url, model, api_key, timeout):
        self.base_url, self.model, self.api_key, self.timeout = base_url.rstrip("/"), model, api_key, timeout

    def ask(self, fields):
        """The reply to a short call; a server that refuses a field it does not know is asked without it."""
        body = {"model": self.model, "messages": [{"role": "user", "content": _PROMPT}], **fields}
        return http_json.post(f"{self.base_url}/chat/completions", body, api_key=self.api_key, timeout=self.timeout)

    def reported(self, asked, seed):
        """Where the server reports its settings, and the settings; (None, None) where it does not."""
        fields = asked | {"seed": seed, "max_tokens": asked.get("max_tokens", 1)}
        try:
            reply = self.ask(fields | {"verbose": True})
        except http_json.Refused as refused:
            if refused.status not in (400, 422):
                raise
            reply = self.ask(fields)
        if settings := (reply.get("__verbose") or {}).get("generation_settings"):
            return "settings reported in the reply", settings
        for slot in self._get("/slots") or ():
            if isinstance(slot, dict) and (slot.get("params") or {}).get("seed") == seed:
                return "settings reported in /slots", slot["params"]
        return None, None

    def defaults(self):
        """Settings of the server where a call gives none; empty where it does not tell."""
        found = self._get("/props")
        settings = found.get("default_generation_settings") if isinstance(found, dict) else None
        return (settings or {}).get("params") or {}

    def _get(self, path):
        try:
            return http_json.get(http_json.root(self.base_url) + path, api_key=self.api_key, timeout=self.timeout)
        except (OSError, ValueError):  # no such page, or no JSON
            return None

    def argmax_share(self, **fields):
        """Share of tokens that were the most probable ones, None without log-probabilities; and what was said."""
        fields = {"max_tokens": _PROBE_TOKENS, "logprobs": True, "top_logprobs": 2, "top_p": 1.0, "seed": 1, **fields}
        choice = self.ask(fields)["choices"][0]
        found = (choice.get("logprobs") or {}).get("content") or []
        if not found or not all(token.get("top_logprobs") for token in found):
            return None, (choice.get("message") or {}).get("content")
        best = [max(other["logprob"] for other in token["top_logprobs"]) for token in found]
        hits = [token["logprob"] >= most - 1e-6 for token, most in zip(found, best, strict=True)]
        return sum(hits) / len(hits), [token["token"] for token in found]


def _compared(value, reported, name):
    """One field against the settings that a server reports; numbers travel as float32."""
    if name not in reported:
        return UNKNOWN
    other = reported[name]
    if isinstance(value, int | float) and isinstance(other, int | float):
        same = math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-9)
    else:
        same = value == other
    return HONOURED if same else IGNORED


def _added(asked, reported):
    """Settings in use that nobody asked for and that change the distribution."""
    steps = reported.get("samplers")
    active = {
        name: reported[name]
        for name, off in NEUTRAL.items()
        if name not in asked and reported.get(name, off) != off
        and (steps is None or name in ("mirostat", "ignore_eos") or _STEP.get(name, name) in steps)
    }  # fmt: skip
    if steps and "samplers" not in asked and _cuts_first(asked | active, steps):
        active["samplers"] = steps
    return active


def _cuts_first(settings, steps):
    """Whether a truncation in use comes before a temperature other than 1."""
    if settings.get("temperature", 1) == 1 or "temperature" not in steps:
        return False
    cuts = [n for n in ("top_k", "top_p", "min_p", "typical_p") if settings.get(n, NEUTRAL[n]) != NEUTRAL[n]]
    return any(_STEP.get(name, name) in steps[: steps.index("temperature")] for name in cuts)


def _probed(server, asked):
    """What calls at extreme settings tell, for the fields asked for."""
    fields = {}
    hot, varied = server.argmax_share(temperature=2.0)
    if "max_tokens" in asked:
        reply = server.ask({"max_tokens": 2, "temperature": 1.0})
        used = (reply.get("usage") or {}).get("completion_tokens")
        fields["max_tokens"] = UNKNOWN if used is None else HONOURED if used <= 2 else IGNORED
    if hot is None or hot == 1:  # without log-probabilities, or where even this is greedy, nothing can be told
        return fields
    for name, extreme in (("top_p", 1e-6), ("min_p", 1.0)):
        if name in asked:
            share, _ = server.argmax_share(temperature=2.0, **{name: extreme})
            fields[name] = UNKNOWN if share is None else HONOURED if share == 1 else IGNORED
    if "temperature" in asked:
        share, _ = server.argmax_share(temperature=0.0)
        fields["temperature"] = UNKNOWN if share is None else HONOURED if share == 1 else IGNORED
    _, again = server.argmax_share(temperature=2.0)
    _, other = server.argmax_share(temperature=2.0, seed=2)
    fields["seed"] = IGNORED if varied != again else HONOURED if varied != other else UNKNOWN
    return fields

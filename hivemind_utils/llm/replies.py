"""What replies and errors of providers say: responses and tokens, pauses asked for, what to change."""

import re
from dataclasses import dataclass

from hivemind_utils.llm import bodies, providers
from hivemind_utils.llm import request as request_llm

_TOO_LONG = re.compile(
    r"(maximum|max|available|model'?s?) (context|sequence|input|prompt)|context[ _-]?(length|window|size|limit)|n_ctx"
    r"|(prompt|input|message|request)s?\W+(is|are|was|text is) too (long|large)|too many (input |prompt )?tokens"
    r"|(input|prompt|request)[^.]{0,40}(exceed|longer than)[^.]{0,60}(token|length|limit|context)"
    r"|reduce the (length|size) of (the|your) (messages?|prompt|input)|ContextWindowExceeded|string too long",
    re.IGNORECASE,
)


@dataclass
class Heard:
    """What a reply says, every field as it must be or missing.

    Attributes
    ----------
    choices : list of tuple
        Text, finish_reason, refusal and log-probabilities (an object, or None) of every response.
    provider_id, model, fingerprint : str or None
        The reply's id, the model that answered by the server's word, and its configuration.
    prompt_tokens, completion_tokens, reasoning_tokens, total_tokens : int or None
    odd : list of str
        Names of fields that held something else.
    """

    choices: list
    provider_id: str | None
    model: str | None
    fingerprint: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    total_tokens: int | None
    odd: list


def heard(reply, exchange):
    """Take what is needed from a reply.

    Parameters
    ----------
    reply : litellm.ModelResponse
    exchange : transport.Exchange
        With the body as it came, where it came over HTTP.

    Returns
    -------
    Heard

    Raises
    ------
    bodies.Unusable
        If it holds no response.
    """
    raw, odd = exchange.body, list(exchange.odd)
    if raw is not None and "choices" in raw:  # tidy already
        facts = raw
    else:  # another interface, which litellm has translated
        facts, more = bodies.tidy_chat(_with_refusals(plain(reply)))
        odd += more
        named = raw or {}
        facts["id"] = next((named[n] for n in ("id", "responseId") if isinstance(named.get(n), str)), None)
        facts["model"] = next((named[n] for n in ("model", "modelVersion") if isinstance(named.get(n), str)), None)
        facts["model"] = facts["model"] or (getattr(reply, "model", None) if raw is None else None)
    choices = []
    for choice, theirs in zip(facts["choices"], reply.choices, strict=False):
        text = getattr(theirs.message, "content", None)  # litellm has taken thoughts out of it
        text = text if isinstance(text, str) else ""
        refusal = choice["message"].get("refusal")
        reason = None if choice["finish_reason"] is None else theirs.finish_reason
        choices.append((text or refusal or "", reason, refusal, choice["logprobs"]))
    if not choices:
        raise bodies.Unusable("the reply holds no response")
    usage = facts.get("usage") or {}
    details = usage.get("completion_tokens_details") or {}
    return Heard(
        choices, facts.get("id"), facts.get("model"), facts.get("system_fingerprint"), usage.get("prompt_tokens"),
        usage.get("completion_tokens"), details.get("reasoning_tokens"), usage.get("total_tokens"), odd,
    )  # fmt: skip


def _with_refusals(reply):
    """A translated reply whose refusals stand where OpenAI's interface has them."""
    for choice in reply.get("choices") or []:
        message = choice.get("message") or {}
        if refusal := (message.get("provider_specific_fields") or {}).get("refusal"):
            message["refusal"] = refusal
    return reply


def paid_tokens(heard_):
    """Tokens to pay, of the prompt and of the responses; None, each, where the reply does not say, or cannot be right.

    No prompt and no text has no token, and a text has about as many tokens as words, or more.

    Parameters
    ----------
    heard_ : Heard

    Returns
    -------
    tuple of (int or None, int or None)
    """
    asked, said = heard_.prompt_tokens or None, said_tokens(heard_)
    words = sum(len(choice[0].split()) for choice in heard_.choices)
    return asked, said if said and 2 * said >= words else None


def said_tokens(heard_):
    """Tokens of all choices; None where the usage is of one choice only (llama.cpp): no word is less than a token."""
    n_used = heard_.completion_tokens
    words = sum(len(choice[0].split()) for choice in heard_.choices)
    return None if n_used is not None and len(heard_.choices) > 1 and n_used < words else n_used


def is_about_n(error):
    """Whether a server refused the number of responses in a call."""
    said = str(error)
    return getattr(error, "param", None) == "n" or bool(re.search(r"[Ff]ield \W?n\b|['\"`]n['\"`]|\bn_choices\b", said))


def is_about_seed(error):
    """Whether a provider refused the seed, which nobody but the sampler asked for."""
    return getattr(error, "param", None) == "seed" or bool(re.search(r"\bseeds?\b", str(error), re.IGNORECASE))


def is_too_long(error):
    """Whether a request is too long for its model."""
    said = f"{type(error).__name__} {getattr(error, 'code', '')} {error}"
    return getattr(error, "status_code", None) in (400, 413, 422, 500) and bool(_TOO_LONG.search(said))


def is_about_decoding(error, parameters):
    """Whether a provider refused one of the decoding's parameters."""
    if type(error).__name__ == "UnsupportedParamsError":
        return True
    names = [name for name in parameters if name in request_llm.DECODING]
    said = f"{getattr(error, 'param', None)} {error}"
    return any(re.search(rf"\b{re.escape(name)}\b", said.replace("-", "_")) for name in names)


def todo(model, status):
    """What to do about an error that waiting does not cure, in a sentence."""
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


def heed_rate_headers(reply, gate, longest):
    """Pause where the provider says that nothing is left until a reset."""
    headers = (getattr(reply, "_hidden_params", None) or {}).get("additional_headers") or {}
    for kind in ("requests", "tokens"):
        left = headers.get(f"llm_provider-x-ratelimit-remaining-{kind}")
        wait = providers.seconds(headers.get(f"llm_provider-x-ratelimit-reset-{kind}"))
        if left is not None and str(left).strip() == "0" and wait is not None:
            gate.pause(min(wait, longest))


def plain(value):
    """A pydantic model as a dict; anything else as it is."""
    return value.model_dump(warnings=False) if hasattr(value, "model_dump") else value


def reported(exception):
    """What an error of our own or of a library says, in words, without keys."""
    return providers.redact(bodies.repaired(str(exception) or type(exception).__name__))[:500]

"""What replies and errors of providers say: responses and tokens, pauses asked for, what to change."""

import dataclasses
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


MOST_CHARACTERS = 16  # of a token, on average over a text, blanks aside


HIDDEN_TOKENS = 32_768  # of a prompt that a provider adds, or of what a model thinks, where nothing else tells


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
        As reported; `believed` takes out what cannot be, and counts what was thought beside a completion.
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


def output_tokens(prompt, completion, total=None, reasoning=None):
    """Tokens of an output with what was thought, which some servers (xAI) report beside the completion's; or None.

    Parameters
    ----------
    prompt, completion, total, reasoning : int or None
        As a reply reports them.

    Returns
    -------
    int or None
        The larger of what is reported and what the total leaves beside the prompt. None where nothing is reported.

    Examples
    --------
    >>> output_tokens(10, 2, 4012, 4000), output_tokens(10, 2, None, 4000), output_tokens(10, 50, 60, 40)
    (4002, 4002, 50)
    """
    if completion is None:
        return None
    beside = (reasoning or 0) if (reasoning or 0) > completion else 0  # within the completion it is no more than that
    return max(completion + beside, (total or 0) - (prompt or 0))


def counted(usage, texts, request, n):
    """Tokens of a call that can be believed, and the names of counts that cannot.

    Parameters
    ----------
    usage : dict
        ``prompt_tokens``, ``completion_tokens``, ``total_tokens`` and ``reasoning_tokens``: int, or missing.
    texts : sequence of str
        The responses.
    request : request.Request
    n : int
        Responses asked for in the call.

    Returns
    -------
    prompt, output : int or None
        None where the reply does not say, or cannot be right: then the most that may have been is to be paid.
    odd : list of str

    Notes
    -----
    Believed of a prompt: from a token per two words and per `MOST_CHARACTERS` up to a token per byte, and
    `HIDDEN_TOKENS` for what a provider puts before it and for every part that is no text. Of an output: from the same
    up to twice ``max_tokens`` for every response, and a token per byte of the responses; what was thought beside that
    up to ``max_tokens`` or `HIDDEN_TOKENS` for every response. 0 is no count, and not odd. Nor is one that is too low
    for several responses: it is that of one of them (llama.cpp).
    """
    asked, said, total, thought = (
        usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total", "reasoning")
    )
    odd, most = [], n * request_llm.most_tokens(request.parameters)
    if asked and not _fewest(_texts_of(request)) <= asked <= _most_asked(request):
        asked = None
        odd.append("prompt_tokens")
    output = output_tokens(asked, said, total if asked else None, thought)
    hidden = max(thought or 0, (output or 0) - (said or 0))
    seen, size = (output or 0) - hidden, sum(len(text.encode("utf-8", "replace")) for text in texts)
    too_many = seen > 2 * most + size or hidden > max(most, n * HIDDEN_TOKENS)
    if output and (too_many or output < _fewest(texts)):
        odd += ["completion_tokens"] if too_many or len(texts) < 2 else []
        output = None
    return asked, output, odd


def believed(heard_, request, n):
    """A reply whose counts can be believed; those that cannot are missing, and odd. See `counted`."""
    usage = {
        f"{name}_tokens": getattr(heard_, f"{name}_tokens") for name in ("prompt", "completion", "total", "reasoning")
    }
    asked, output, odd = counted(usage, [choice[0] for choice in heard_.choices], request, n)
    return dataclasses.replace(
        heard_, prompt_tokens=asked, completion_tokens=output, odd=list(dict.fromkeys([*heard_.odd, *odd])),
        reasoning_tokens=None if "completion_tokens" in odd else heard_.reasoning_tokens,
        total_tokens=asked + output if asked and output else None,
    )  # fmt: skip


def _fewest(texts):
    """Fewest tokens that texts may have: of several, no word is less than a token."""
    words = [word for text in texts for word in text.split()]
    return max(len(words) / (2 if len(texts) < 2 else 1), sum(map(len, words)) / MOST_CHARACTERS)


def _most_asked(request):
    """Most tokens that a prompt may have."""
    contents = [message.get("content") for message in request.messages]
    others = sum(not isinstance(part, str) for content in contents if isinstance(content, list) for part in content)
    return 4 * (request_llm.tokens_in(request) + 1) + HIDDEN_TOKENS * (1 + others)


def _texts_of(request):
    """The text of a request's messages, as one."""
    return [" ".join(bodies.text_of(message.get("content"))[0] or "" for message in request.messages)]


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

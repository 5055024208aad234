"""What replies and errors of providers say: tokens used, pauses asked for, what to change."""

import re

from hivemind_utils.llm import providers
from hivemind_utils.llm import request as request_llm


def is_about_n(error):
    """Whether a server refused the number of answers in a call."""
    said = str(error)
    return getattr(error, "param", None) == "n" or bool(re.search(r"[Ff]ield \W?n\b|['\"`]n['\"`]|\bn_choices\b", said))


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


def used(reply, name, default=None):
    """A number of the reply's usage."""
    value = getattr(getattr(reply, "usage", None), name, None)
    return default if value is None else value


def said_tokens(reply, choices):
    """Tokens of all choices; None where the usage is of one choice only (llama.cpp): no word is less than a token."""
    n_used, words = used(reply, "completion_tokens"), sum(len(choice[0].split()) for choice in choices)
    return None if n_used is not None and len(choices) > 1 and n_used < words else n_used


def reasoning_tokens(reply):
    """Tokens that were thought and not shown; None where the provider does not say."""
    details = getattr(getattr(reply, "usage", None), "completion_tokens_details", None)
    return getattr(details, "reasoning_tokens", None)


def plain(value):
    """A pydantic model as a dict; anything else as it is."""
    return value.model_dump() if hasattr(value, "model_dump") else value

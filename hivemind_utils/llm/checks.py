"""What a profile says of requests, checked before anything is asked: names of mappings, and their values.

Every message has the name, what was expected and what was received; a name that is unknown comes with the nearest.
"""

import difflib
import math
import numbers
import re

from hivemind_utils.llm import addresses as address_rules

_RANGES = {  # of a parameter of decoding: lowest, highest, whole numbers only
    "temperature": (0, 5, False), "top_p": (0, 1, False), "min_p": (0, 1, False), "typical_p": (0, 1, False),
    "top_k": (-1, 10_000_000, True), "repetition_penalty": (0, 10, False), "frequency_penalty": (-5, 5, False),
    "presence_penalty": (-5, 5, False), "max_tokens": (1, 10_000_000, True),
    "max_completion_tokens": (1, 10_000_000, True), "top_logprobs": (0, 100, True),
}  # fmt: skip

# What would make a response longer, or give more of them, than the budget sets aside: written without _ and -.
_COSTLY = re.compile(
    r"(max|min)(new|output|completion|response|generated)?tokens?(togenerate|tosample)?|maxlength|maxgenlen|numpredict|"
    r"npredict|bestof|n|numreturnsequences|candidatecount|numbeams|numcompletions|numoutputs"
)

_NOT_SEARCHED = (
    "extra_body",
    "response_format",
    "logit_bias",
    "stop",
)  # checked apart, or with names of the user's own


def names(what, given, known, *, of="names"):
    """Refuse a name that is not known.

    Parameters
    ----------
    what : str
        The parameter, such as "limits".
    given, known : iterable of str
    of : str
        What the known ones are, for the message.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> names("limits", ["opnai"], ["openai", "anthropic"])
    Traceback (most recent call last):
        ...
    ValueError: `limits` names 'opnai', which is not known. Did you mean 'openai'?
    """
    known = [str(name) for name in known]
    for name in given:
        if str(name) not in known:
            hint = f"Did you mean {nearest(name, known)!r}?" if nearest(name, known) else None
            shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
            raise ValueError(f"`{what}` names {name!r}, which is not known. {hint or f'The {of} are {shown}.'}")


def nearest(name, known):
    """Known name that is most like a name, or None; the part after a slash counts as well."""
    name = str(name)
    for other in known:
        if name and (other.endswith(f"/{name}") or name.endswith(f"/{other}")):
            return other
    close = difflib.get_close_matches(name.lower(), [other.lower() for other in known], n=1, cutoff=0.6)
    return next((other for other in known if close and other.lower() == close[0]), None)


def number(what, value, low=-math.inf, high=math.inf, *, whole=False, optional=False):
    """Return a number that lies in its range.

    Parameters
    ----------
    what : str
        Name, for the message.
    value : object
    low, high : float
        The range, both ends included.
    whole : bool
        Refuse 2.5; 2.0 is refused as well.
    optional : bool
        None is taken.

    Raises
    ------
    ValueError
        If it is none, NaN or infinite, or out of range. Text is no number, nor is True.

    Examples
    --------
    >>> number("budget_usd", 2.5, 0)
    2.5
    """
    if value is None and optional:
        return value
    kind = numbers.Integral if whole else numbers.Real
    good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
    if not good:
        range_ = f" from {low:g}" if math.isfinite(low) else ""
        range_ += f" to {high:g}" if math.isfinite(high) else ""
        expected = f"a {'whole ' if whole else ''}number{range_}" + (" or null" if optional else "")
        raise ValueError(f"`{what}` must be {expected}, but {value!r} was given.")
    return value


def mapping(what, value):
    """Return a mapping; None is an empty one."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"`{what}` must be a mapping of names to values, but {value!r} was given.")
    return dict(value or {})


def budget(value):
    """Return a budget in US dollars: a number from 0 on."""
    return number("budget_usd", value, 0)


def limits(given, known):
    """Return limits by provider; `known` has the names that a provider's limits may set."""
    from hivemind_utils.llm import providers

    given, own = mapping("limits", given), ["default", providers.SIMULATED]
    if not set(given) <= set(own):  # litellm's names, whose import takes seconds, are asked for only then
        names("limits", given, [*own, *providers.names()], of="providers")
    for provider, values in given.items():
        values = mapping(f"limits: {provider}", values)
        names(f"limits: {provider}", values, known)
        for name, value in values.items():
            if name == "concurrency":
                number(f"limits: {provider}: {name}", value, 1, 10_000, whole=True)
            elif name == "timeout_s":
                number(f"limits: {provider}: {name}", value, 0.01, 86_400, optional=True)
            else:
                number(f"limits: {provider}: {name}", value, 1e-6, optional=True)
    return given


def prices(given):
    """Return prices: US dollars per million tokens, [input, output], by model."""
    given = mapping("prices", given)
    for model, pair in given.items():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(
                f"`prices: {model}` must be two numbers, US dollars per million tokens of input and output, but "
                f"{pair!r} was given."
            )
        for value, side in zip(pair, ("input", "output"), strict=True):
            number(f"prices: {model}: {side}", value, 0)
    return given


def decoding(what, given, known):
    """Return the parameters of a decoding: names known, numbers in range, nothing that would cost more in the body."""
    given = mapping(what, given)
    names(what, given, known, of="parameters")
    for name, value in given.items():
        if name in _RANGES:
            low, high, whole = _RANGES[name]
            number(f"{what}: {name}", value, low, high, whole=whole)
        elif name not in _NOT_SEARCHED:
            _refuse_costly(f"{what}: {name}", value)
    body(f"{what}: extra_body", given.get("extra_body"), known)
    return given


def _refuse_costly(what, value):
    """Refuse, at any depth, a name under which a provider would take more than the budget sets aside."""
    if isinstance(value, list):
        for inner in value:
            _refuse_costly(what, inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _COSTLY.fullmatch(re.sub(r"[^a-z0-9]", "", str(name).lower())):
                raise ValueError(
                    f"`{what}` may not hold {name!r}, but {inner!r} was given: it would ask for more than the budget "
                    "sets aside. Write `max_tokens` beside it, in the decoding."
                )
            _refuse_costly(f"{what}: {name}", inner)


def body(what, given, known):
    """Refuse in a request's body what the sampler sets, or what the budget does not count."""
    given = mapping(what, given)
    _refuse_costly(what, given)
    for name, value in given.items():
        plain = re.sub(r"[^a-z0-9]", "", str(name).lower())
        if (name in known and name != "extra_body") or plain in ("model", "messages", "prompt", "stream", "seed"):
            raise ValueError(f"`{what}` may not hold {name!r}, but {value!r} was given: write it in the decoding.")
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                body(f"{what}: {name}", inner, ())


def addresses(what, given, known):
    """Return the addresses of servers by model."""
    given = mapping(what, given)
    names(what, given, known, of="models asked")
    for model, address in given.items():
        if not isinstance(address, str) or not re.match(r"https?://[^\s/]", address):
            raise ValueError(f"`{what}: {model}` must be an address, http(s)://…, but {address!r} was given.")
        if why := address_rules.refused(address):
            raise ValueError(f"`{what}: {model}` may not be used: {why}. Keys come from the environment alone.")
    return given

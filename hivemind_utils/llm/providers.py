"""What is known of providers: their names, addresses and keys, their errors, and how long they ask to wait.

Everything that asks a model (the sampler, the encoders, the endpoints that score) goes through here, so that a key
reaches the host it was made for and no other, and an error means the same wherever it comes up.
"""

import asyncio
import contextlib
import functools
import logging
import os
import random
import re
import threading
from datetime import UTC, datetime

from hivemind_utils.llm import addresses, transport

PREFIX = "simulated/"
SIMULATED = PREFIX.rstrip("/")
GGUF = "gguf"  # a model in a file on this machine, see `gguf_models`


KEY_HOSTS = "HIVEMIND_KEY_HOSTS"  # environment: hosts, separated by commas, that may receive a provider's key


OWN_SERVERS = {"hosted_vllm", "vllm", "openai_like", "lm_studio", "llamafile", "custom_openai"}  # no address by default


# Providers that cannot be asked here, and why.
_REFUSED = {
    "github_copilot": "litellm signs in at github.com to find it",
    "chatgpt": "litellm signs in at auth.openai.com to find it",
    "aiohttp_openai": "its requests go by a way on which redirects and keys are not checked",
}


_LOOKED_UP = {  # litellm asks this address about a model, whatever address is given for its answers
    "ollama": "http://localhost:11434", "ollama_chat": "http://localhost:11434", "lemonade": "http://localhost:8000",
}  # fmt: skip


MAX_BACKOFF_S = 60


LONGEST_WAIT_S = 31 * 24 * 3600  # that a provider can mean; more is a mistake in its header


ForeignHost = transport.ForeignHost


_answered_here = {}  # provider to the coroutine function that answers for it


def answer_here(name, answer):
    """Have a provider's models answered in this process, without litellm, whose import takes seconds.

    Parameters
    ----------
    name : str
        Of the provider.
    answer : coroutine function
        Takes the arguments of litellm's ``acompletion``, returns an object like its reply, and raises errors that have
        a ``status_code``.
    """
    _answered_here[name] = answer


def completion(arguments):
    """Coroutine that makes a call with the arguments of litellm's ``acompletion``."""
    answer = _answered_here.get(provider_name(arguments["model"])) or litellm().acompletion
    return answer(**arguments)


@functools.cache
def litellm():
    """Import litellm, which takes seconds, set up so that it is silent, asks nobody for prices and drops nothing."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or the import fetches a price list
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # or the import reads a .env file of the project into the environment
    import litellm

    litellm.suppress_debug_info = True  # errors are reported here
    litellm.drop_params = False  # a parameter that a provider refuses is an outcome
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


_loop_lock = threading.Lock()  # `functools.cache` would let threads that come at once start a loop each


def event_loop():
    """Start the process's event loop, in a thread of its own, so that a call works inside Jupyter's loop.

    There is one, because litellm keeps connections and its worker by loop; its blocking calls would make loops of their
    own in the main thread and close none.
    """
    with _loop_lock:
        return _started_loop()


@functools.cache
def _started_loop():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="hivemind-asking").start()
    return loop


def wait_for(coroutine, timeout=None):
    """Run a coroutine, such as ``litellm().aembedding(...)``, on `event_loop` and return its result; as `within`."""
    future = asyncio.run_coroutine_threadsafe(within(timeout, coroutine), event_loop())
    try:
        return future.result()
    finally:
        future.cancel()  # where Ctrl-C came


async def within(timeout, coroutine):
    """Result of a coroutine, or a TimeoutError after some seconds: also of one that does not let itself be stopped.

    Parameters
    ----------
    timeout : float or None
        Seconds.
    coroutine : coroutine

    Returns
    -------
    object
    """
    task = asyncio.ensure_future(coroutine)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
    finally:
        if not task.done():
            task.cancel()  # not awaited: a library may wait for a server that sends for ever
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    if not done:
        raise TimeoutError(f"no whole reply within {timeout:g} s")
    return task.result()


@functools.cache
def litellm_version():
    """Version of the installed litellm."""
    from importlib.metadata import version

    return version("litellm")


@functools.cache
def provider_name(model):
    """Provider of a model as litellm names it, such as ``openai``; ``simulated`` for the demo's, ``gguf`` for files."""
    if model.startswith(PREFIX):
        return SIMULATED
    if model.startswith(f"{GGUF}:"):
        return GGUF
    refuse(model)
    try:
        return litellm().get_llm_provider(model)[1]
    except Exception as error:  # litellm raises BadRequestError for a name it does not know
        raise ValueError(
            f"litellm does not know the provider of {model!r}: write it as provider/model, such as openai/{model}, "
            f"or hosted_vllm/{model} with `api_base` for a server of your own."
        ) from error


def refuse(model, api_base=None):
    """Raise if a model cannot be asked here, or not at this address, before anybody is asked about it.

    Parameters
    ----------
    model : str
    api_base : str, optional

    Raises
    ------
    ValueError

    Examples
    --------
    >>> refuse("chatgpt/gpt-5")
    Traceback (most recent call last):
    ValueError: 'chatgpt/gpt-5' cannot be asked: litellm signs in at auth.openai.com to find it. Write openai/gpt-5.
    """
    name, _, plain = model.partition("/")
    if name in _REFUSED and plain:
        raise ValueError(f"{model!r} cannot be asked: {_REFUSED[name]}. Write openai/{plain}.")
    variable = f"{name.upper().removesuffix('_CHAT')}_API_BASE"
    looked_up = os.environ.get(variable) or _LOOKED_UP.get(name)
    if name in _LOOKED_UP and api_base and transport.origin(api_base) != transport.origin(looked_up):
        raise ValueError(
            f"{model!r} cannot be asked at {api_base}: litellm asks {looked_up} about the model first. Write "
            f"hosted_vllm/{plain} and the address of the server's OpenAI-compatible interface, which ends in /v1; or "
            f"give the address as {variable} in the environment, and none in `api_bases`."
        )


def names():
    """Names of the providers that litellm knows, sorted."""
    return sorted({str(getattr(provider, "value", provider)) for provider in litellm().provider_list})


def environment_base(model):
    """Address that the environment gives for the model's own provider, or None.

    ``OPENAI_API_BASE`` is the address of OpenAI's models alone, ``HOSTED_VLLM_API_BASE`` that of one's own server, and
    so on: never that of another provider's model.
    """
    try:
        return _environment_base(provider_name(model)) if addresses.of_environment() else None
    except ValueError:  # a provider that litellm does not know has no address of its own
        return None


def _environment_base(name):
    """Address that the environment gives for a provider: of both interfaces of Ollama under one name."""
    own = addresses.of_environment()
    return own.get(name) or (own.get("ollama") if name == "ollama_chat" else None)


def missing_keys(model):
    """Variables of the environment with keys that a model's provider needs and that are not set."""
    found = litellm().validate_environment(model=model)["missing_keys"]
    return [name for name in found if not name.endswith("_API_BASE") and not os.environ.get(name)]


def lacks_address(model, api_base):
    """Say that a model runs on a server whose address nobody gave; None where it has one, or needs none."""
    name = provider_name(model)
    if api_base or name not in OWN_SERVERS:
        return None
    return f"{name}/ models run on a server of your own: give its address in `api_bases`, or as {name.upper()}_API_BASE"


def key_arguments(model, api_base):
    """Arguments of litellm that say which key a request may carry.

    A key of the environment goes to the provider's own host, to the address that the environment gives for that
    provider, to this machine, and to the hosts that ``HIVEMIND_KEY_HOSTS`` lists. To any other address, which only a
    profile names, no key goes.

    Parameters
    ----------
    model : str
    api_base : str or None

    Returns
    -------
    dict
        Empty (litellm takes the provider's key from the environment), or ``{"api_key": "none"}``.
    """
    name = provider_name(model)
    if api_base is None or name == SIMULATED:
        return {}
    if name in ("openai", "custom_openai") and not os.environ.get("OPENAI_API_KEY"):
        return {"api_key": "none"}  # a server of one's own needs none, the client insists on one
    return {} if _may_have_key(name, model, api_base) else {"api_key": "none"}


def _may_have_key(name, model, api_base):
    host = addresses.host(api_base)
    listed = {part.strip().lower() for part in os.environ.get(KEY_HOSTS, "").split(",") if part.strip()}
    own = {
        addresses.host(_environment_base(name)),
        addresses.host(_default_base(model)),
        f"api.{name}.com",
    }
    return addresses.is_loopback(host) or host in listed | (own - {None})


def _default_base(model):
    """Address of the provider's own, as far as litellm names it."""
    try:
        return litellm().get_llm_provider(model)[3]
    except Exception:  # litellm raises its own class for a name it does not know
        return None


def guarded(model, api_base, **options):
    """Inside it a request to a model reaches the host it was made for, and its reply is read by our rules.

    See `transport.guarded` for the options, for what it yields and for what it raises.
    """
    name = provider_name(model)
    if name in _answered_here:  # no request leaves
        return contextlib.nullcontext(transport.Exchange(name, api_base))
    may_have_key = api_base is None or _may_have_key(name, model, api_base)
    return transport.guarded(name, api_base, may_have_key=may_have_key, **options)


def redact(text):
    """The text without the values of the environment's keys, passwords and tokens, and without what looks like one."""
    for name, value in os.environ.items():
        if len(value) >= 8 and re.search(r"KEY|TOKEN|SECRET|PASSWORD", name):
            text = text.replace(value, f"<{name}>")
    return re.sub(r"\b((sk|pk|hf|gsk|xai|Bearer)[-_ ][\w*.-]{8,}|AIza[\w-]{8,})", "<key>", text)


def provider_message(error):
    """What the provider said, without litellm's prefixes and without keys."""
    found = re.search(r'"message": ?"((?:[^"\\]|\\.)*)"', str(error))  # some interfaces pass the whole body on
    text = str(error).split("\n")[0]
    text = re.sub(r"^((litellm\.)?\w*(Error|Timeout)( Error)?\w*: )+", "", text)
    text = re.sub(r"^\w+Exception - ", "", text).strip()
    if found:
        text = found.group(1)
    return redact(text)[:500]


def nobody_there(error):
    """Say that nothing listens at the address that was asked; None where something did."""
    import httpx

    for seen in _causes(error):
        if isinstance(seen, ConnectionRefusedError) or (
            isinstance(seen, httpx.ConnectError) and transport.never_left(seen)
        ):
            request = getattr(seen, "_request", None)
            where = f"{request.url.host}:{request.url.port or ''}".rstrip(":") if request is not None else "the address"
            return f"nothing listens at {where}"
    return None


def may_pass(error):
    """Whether the same call may succeed later: by the status, for the class of a litellm error can mislead."""
    status = getattr(error, "status_code", None)
    return isinstance(error, ConnectionError | TimeoutError) or (is_transient(status) and not is_exhausted(error))


def backoff(attempt, longest=MAX_BACKOFF_S):
    """Seconds to wait after the attempt numbered from 0: 0.5, 1, 2, ... up to `longest`, each times 0.5 to 1."""
    return min(0.5 * 2**attempt, longest) * random.uniform(0.5, 1)


def retry_after(error):
    """Seconds that the provider asks to wait, or None: also where it asks for no number, or for more than a month."""
    asked = _asked_wait(error)
    return asked if asked is not None and 0 <= asked <= LONGEST_WAIT_S else None


def _asked_wait(error):
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    text = headers.get("retry-after-ms") or headers.get("retry-after")
    if text is None:  # Google says it in the body
        found = re.search(r"retryDelay\W+([\d.]+s)", _words(error))
        return seconds(found.group(1)) if found else None
    try:
        return float(text) / (1000 if headers.get("retry-after-ms") else 1)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError, OverflowError):
            return None


def is_transient(status):
    """Whether an HTTP status may pass by itself."""
    return status in (408, 409, 429) or (status is not None and status >= 500)


def _words(error):
    """All that an error and its causes say."""
    said = []
    for each in _causes(error):
        said += [str(each), str(getattr(each, "code", "")), str(getattr(each, "body", ""))]
    return " ".join(said)


def _causes(error):
    """An error, its cause, the cause of that, and so on, each once."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def is_exhausted(error):
    """A quota that waiting does not refill."""
    said = _words(error)
    return retry_after(error) is None and bool(
        re.search(r"insufficient_quota|credit balance|billing_(hard_limit|not_active)", said, re.IGNORECASE)
    )


def is_filtered(error):
    """Whether a provider's content filter refused the request."""
    return bool(
        re.search(r"content_filter|content_policy|ContentPolicyViolation", f"{type(error).__name__} {_words(error)}")
    )


def seconds(text):
    """Seconds of a duration such as ``6m0s``, ``17ms`` or ``1.5``; None where it is none.

    Examples
    --------
    >>> seconds("6m0s"), seconds("17ms"), seconds("1.5"), seconds("soon"), seconds("1.2.3s")
    (360.0, 0.017, 1.5, None, None)
    """
    number = r"\d{1,9}(?:\.\d{0,9})?"
    if (
        not isinstance(text, str)
        or not re.fullmatch(rf"\s*({number}(ms|s|m|h))*({number})?\s*", text)
        or not text.strip()
    ):
        return None
    scale = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}
    return float(sum(float(value) * scale[unit] for value, unit in re.findall(rf"({number})(ms|s|m|h|)", text)))

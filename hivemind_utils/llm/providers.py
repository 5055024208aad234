"""What is known of providers: their names, addresses and keys, their errors, and how long they ask to wait.

Everything that asks a model (the sampler, the encoders, the endpoints that score) goes through here, so that a key
reaches the host it was made for and no other, and an error means the same wherever it comes up.
"""

import asyncio
import contextlib
import contextvars
import functools
import ipaddress
import logging
import os
import random
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

PREFIX = "simulated/"
SIMULATED = PREFIX.rstrip("/")
GGUF = "gguf"  # a model in a file on this machine, see `gguf_models`


KEY_HOSTS = "HIVEMIND_KEY_HOSTS"  # environment: hosts, separated by commas, that may receive a provider's key


OWN_SERVERS = {"hosted_vllm", "vllm", "openai_like", "lm_studio", "llamafile", "custom_openai"}  # no address by default


MAX_BACKOFF_S = 60


MAX_REDIRECTS = 5  # within one host


class ForeignHost(ValueError):
    """A request was about to reach a host that it was not made for."""


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


def wait_for(coroutine):
    """Run a coroutine, such as ``litellm().aembedding(...)``, on `event_loop` and return its result."""
    future = asyncio.run_coroutine_threadsafe(coroutine, event_loop())
    try:
        return future.result()
    finally:
        future.cancel()  # where Ctrl-C came


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
    try:
        return litellm().get_llm_provider(model)[1]
    except Exception as error:  # litellm raises BadRequestError for a name it does not know
        raise ValueError(
            f"litellm does not know the provider of {model!r}: write it as provider/model, such as openai/{model}, "
            f"or hosted_vllm/{model} with `api_base` for a server of your own."
        ) from error


def names():
    """Names of the providers that litellm knows, sorted."""
    return sorted({str(getattr(provider, "value", provider)) for provider in litellm().provider_list})


def environment_base(model):
    """Address that the environment gives for the model's own provider, or None.

    ``OPENAI_API_BASE`` is the address of OpenAI's models alone, ``HOSTED_VLLM_API_BASE`` that of one's own server, and
    so on: never that of another provider's model.
    """
    addresses = _environment_addresses()
    try:
        return addresses.get(provider_name(model)) if addresses else None
    except ValueError:  # a provider that litellm does not know has no address of its own
        return None


def _environment_addresses():
    """Addresses that the environment gives, by provider."""
    found = {}
    for variable, value in sorted(os.environ.items(), reverse=True):  # X_BASE_URL before X_API_BASE, which wins
        named = re.fullmatch(r"(\w+?)_(API_BASE|BASE_URL)", variable)
        if named and value:
            found[named.group(1).lower()] = value
    return found


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
    host = _host(api_base)
    listed = {part.strip().lower() for part in os.environ.get(KEY_HOSTS, "").split(",") if part.strip()}
    own = {_host(_environment_addresses().get(name)), _host(_default_base(model)), f"api.{name}.com"}
    return _is_loopback(host) or host in listed | (own - {None})


def _default_base(model):
    """Address of the provider's own, as far as litellm names it."""
    try:
        return litellm().get_llm_provider(model)[3]
    except Exception:  # litellm raises its own class for a name it does not know
        return None


def _host(address):
    return (urlsplit(address).hostname or "").lower() or None if address else None


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


_guard = contextvars.ContextVar("guard", default=None)


@dataclass
class _Guard:
    provider: str
    api_base: str | None
    refused: str | None = None  # kept here, for libraries on the way may swallow the exception


@contextlib.contextmanager
def guarded(model, api_base):
    """Inside it a request reaches the host it was made for, and no redirect leaves that host.

    Parameters
    ----------
    model : str
    api_base : str or None
        Address of the server; None for the provider's own.

    Raises
    ------
    ForeignHost
        Instead of the error that the libraries make of it.
    """
    _install_guard()
    guard = _Guard(provider_name(model), api_base)
    token = _guard.set(guard)
    try:
        yield
    except Exception:
        if guard.refused:
            raise ForeignHost(guard.refused) from None
        raise
    finally:
        _guard.reset(token)


def _refuse(message):
    _guard.get().refused = message
    raise ForeignHost(message)


@functools.cache
def _install_guard():
    """Make httpx, through which every call travels, ask `_check` first while `guarded` is in force."""
    import httpx

    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    @functools.wraps(send)
    def guarded_send(client, request, **options):
        if _guard.get() is None:
            return send(client, request, **options)
        _check(request.url)
        options["follow_redirects"] = False
        reply = send(client, request, **options)
        for _ in range(MAX_REDIRECTS):
            if not _moved(reply):
                break
            reply.close()
            reply = send(client, reply.next_request, **options)
        return reply

    @functools.wraps(send_async)
    async def guarded_send_async(client, request, **options):
        if _guard.get() is None:
            return await send_async(client, request, **options)
        _check(request.url)
        options["follow_redirects"] = False
        reply = await send_async(client, request, **options)
        for _ in range(MAX_REDIRECTS):
            if not _moved(reply):
                break
            await reply.aclose()
            reply = await send_async(client, reply.next_request, **options)
        return reply

    httpx.Client.send, httpx.AsyncClient.send = guarded_send, guarded_send_async


def _check(url):
    """Raise if the address is not that of the call in force."""
    name, api_base = _guard.get().provider, _guard.get().api_base
    if api_base:
        if _origin(urlsplit(api_base)) != _origin(urlsplit(str(url))):
            raise ForeignHost(
                f"the request was made for {_host(api_base)}, but was about to reach {url.host}; not sent"
            )
        return
    for other, address in [*_environment_addresses().items(), ("openai", "https://api.openai.com")]:
        if other != name and _origin(urlsplit(address)) == _origin(urlsplit(str(url))):
            _refuse(
                f"{url.host} is the address of {other}, but a request to {name} was about to reach it; not sent. "
                f"Give `api_bases`, or {name.upper()}_API_BASE"
            )


def _moved(reply):
    """Whether a reply redirects within its host; raises where it leads to another."""
    following = reply.next_request if reply.is_redirect else None
    if following is None:
        return False
    if _origin(urlsplit(str(following.url))) != _origin(urlsplit(str(reply.request.url))):
        _refuse(
            f"{reply.request.url.host} redirects to another address ({following.url.host}), which the request was not "
            "about to reach; not sent. Give that address in `api_bases` if it is right"
        )
    return True


def _origin(parts):
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


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

    seen = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError | httpx.ConnectError):
            request = getattr(seen, "_request", None)
            where = f"{request.url.host}:{request.url.port or ''}".rstrip(":") if request is not None else "the address"
            return f"nothing listens at {where}"
        seen = seen.__cause__ or seen.__context__
    return None


def may_pass(error):
    """Whether the same call may succeed later: by the status, for the class of a litellm error can mislead."""
    status = getattr(error, "status_code", None)
    return isinstance(error, ConnectionError | TimeoutError) or (is_transient(status) and not is_exhausted(error))


def backoff(attempt, longest=MAX_BACKOFF_S):
    """Seconds to wait after the attempt numbered from 0: 0.5, 1, 2, ... up to `longest`, each times 0.5 to 1."""
    return min(0.5 * 2**attempt, longest) * random.uniform(0.5, 1)


def retry_after(error):
    """Seconds (finite, >= 0) that the provider asks to wait, or None."""
    asked = _asked_wait(error)
    return asked if asked is not None and 0 <= asked < float("inf") else None


def _asked_wait(error):
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    text = headers.get("retry-after-ms") or headers.get("retry-after")
    if text is None:  # Google says it in the body
        found = re.search(r"retryDelay\W+([\d.]+)s", _words(error))
        return float(found.group(1)) if found else None
    try:
        return float(text) / (1000 if headers.get("retry-after-ms") else 1)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None


def is_transient(status):
    """Whether an HTTP status may pass by itself."""
    return status in (408, 409, 429) or (status is not None and status >= 500)


def _words(error):
    """All that an error and its causes say."""
    said = []
    while error is not None:
        said += [str(error), str(getattr(error, "code", "")), str(getattr(error, "body", ""))]
        error = error.__cause__ or error.__context__
    return " ".join(said)


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
    """Seconds of a duration such as ``6m0s``, ``17ms`` or ``1.5``; None where it is none."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h|$)", text or "")
    scale = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}
    return sum(float(number) * scale[unit] for number, unit in parts) if parts else None

"""The way of a request to its server and back: no other host sees it, and its reply is read by our rules.

Every call of a provider is made inside `guarded`. httpx, through which all of them travel, then asks here first: a
request reaches the host it was made for, without keys where that host may have none, and without a proxy where it is
this machine; no redirect leaves that host, and what comes back is read within a size and made safe to parse (`bodies`),
whichever library asked. What travels by another way is refused.
"""

import base64
import binascii
import contextlib
import contextvars
import functools
import importlib
import json
import re
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hivemind_utils.llm import addresses, bodies

MAX_REDIRECTS = 5  # within one host


GATEWAYS = {408, 502, 504, *range(520, 528), 598, 599}  # of who gave up waiting for a model that may have answered


_CREDENTIAL = re.compile(
    r"auth|cookie|key|token|secret|password|signature|credential|organi[sz]ation|project", re.IGNORECASE
)  # in the name of a header that holds a credential


_PLAIN = {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding",
          "user-agent"}  # fmt: skip


_NO_KEY = {"", "none", "bearer", "bearer none"}  # what a header of a call without a key holds


class ForeignHost(ValueError):
    """A request was about to reach a host that it was not made for."""


@dataclass
class Exchange:
    """What is known of a call that is made inside `guarded`.

    Attributes
    ----------
    provider : str
    api_base : str or None
    most_bytes : int or None
        Of the reply.
    timeout : float
        Seconds that a blocking client may read one.
    parse : bool
        Whether a reply must be JSON; files of batches are not.
    may_have_key : bool
        Whether the host may have the provider's credentials of the environment.
    given_key : str or None
        A key that the caller gives for this host, whatever the environment holds.
    sent : bool
        Whether a request left, as far as is known.
    status : int or None
        Of the last reply; None where none came.
    body : dict or None
        The reply's JSON, tidy where it is a chat completion.
    odd : list of str
        Fields of the reply that are left empty; see `bodies.tidy_chat`.
    raised : Exception or None
        Kept here, for libraries on the way may swallow it.
    """

    provider: str
    api_base: str | None
    most_bytes: int | None = bodies.MOST_BYTES
    timeout: float = 600.0
    parse: bool = True
    may_have_key: bool = True
    given_key: str | None = None
    sent: bool = False
    status: int | None = None
    body: dict | None = None
    odd: list = field(default_factory=list)
    raised: Exception | None = None

    @property
    def may_have_cost(self):
        """Whether a model may have answered, whatever became of the reply."""
        return self.sent and (self.status is None or self.status < 300 or self.status in GATEWAYS)


_guard = contextvars.ContextVar("guard", default=None)
_checked = contextvars.ContextVar("checked", default=False)  # whether the request on its way has been checked here


@contextlib.contextmanager
def guarded(
    provider, api_base, *, most_bytes=bodies.MOST_BYTES, timeout=600.0, parse=True, may_have_key=True, given_key=None
):
    """Inside it a request reaches the host it was made for, and its reply is read by our rules.

    Parameters
    ----------
    provider : str
        Its name; see `providers.guarded`, which takes a model.
    api_base : str or None
        Address of the server; None for the provider's own.
    most_bytes : int or None
        Of a reply.
    timeout : float
        Seconds that a blocking client may read one; an asynchronous call gets its deadline from who awaits it.
    parse : bool
        Whether a reply must be JSON.
    may_have_key : bool
        Whether the host may have the provider's credentials; where not, they are taken out of every request.
    given_key : str, optional
        A key that the caller gives for this host; it stays.

    Yields
    ------
    Exchange

    Raises
    ------
    ForeignHost, bodies.TooLarge, bodies.Unusable
        Instead of the error that the libraries make of it.
    """
    _install()
    exchange = Exchange(provider, api_base, most_bytes, timeout, parse, may_have_key, given_key)
    token = _guard.set(exchange)
    try:
        yield exchange
    except Exception:
        if exchange.raised:
            raise type(exchange.raised)(*exchange.raised.args) from None  # a new one: its causes make no circle
        raise
    finally:
        _guard.reset(token)


@functools.cache
def _install():
    """Make httpx ask here first while `guarded` is in force, and other ways of sending a request."""
    import httpx

    aiohttp, requests = (importlib.import_module(name) for name in ("aiohttp", "requests"))  # which litellm brings
    send, send_async = httpx.Client.send, httpx.AsyncClient.send
    send_aiohttp, send_requests = aiohttp.ClientSession._request, requests.Session.send

    @functools.wraps(send)
    def guarded_send(client, request, **options):
        exchange = _guard.get()
        if exchange is None:
            return send(client, request, **options)
        _prepare(request, exchange)
        options |= {"follow_redirects": False, "stream": True}
        with contextlib.ExitStack() as stack:
            if _stands_behind_a_proxy(request):
                client = stack.enter_context(httpx.Client(trust_env=False))
            for _ in range(MAX_REDIRECTS):
                with _sending(exchange):
                    reply = send(client, request, **options)
                if not reply.has_redirect_location:
                    break
                reply.close()
                request = _following(reply)
            with _reading(exchange, reply):
                return _kept(exchange, bodies.whole_now(reply, exchange.most_bytes, exchange.timeout))

    @functools.wraps(send_async)
    async def guarded_send_async(client, request, **options):
        exchange = _guard.get()
        if exchange is None:
            return await send_async(client, request, **options)
        _prepare(request, exchange)
        options |= {"follow_redirects": False, "stream": True}
        async with contextlib.AsyncExitStack() as stack:
            if _stands_behind_a_proxy(request):
                client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            for _ in range(MAX_REDIRECTS):
                with _sending(exchange):
                    reply = await send_async(client, request, **options)
                if not reply.has_redirect_location:
                    break
                await reply.aclose()
                request = _following(reply)
            with _reading(exchange, reply):
                return _kept(exchange, await bodies.whole(reply, exchange.most_bytes))

    @functools.wraps(send_aiohttp)
    async def guarded_aiohttp(session, method, url, **options):
        if _guard.get() is not None and not _checked.get():
            _refuse(f"{_guard.get().provider} is asked by a way that is not checked here (aiohttp); not sent")
        return await send_aiohttp(session, method, url, **options)

    @functools.wraps(send_requests)
    def guarded_requests(session, request, **options):  # providers fetch tokens by it
        if _guard.get() is not None and not _guard.get().may_have_key:
            host = addresses.host(request.url)
            _refuse(f"{_guard.get().provider} would first send its key to {host}, which may not have it; not sent")
        return send_requests(session, request, **options)

    httpx.Client.send, httpx.AsyncClient.send = guarded_send, guarded_send_async
    aiohttp.ClientSession._request, requests.Session.send = guarded_aiohttp, guarded_requests


def _prepare(request, exchange):
    """Check a request's address, ask for a reply that can be read here, take out what its host may not have."""
    _check(request.url)
    request.headers["accept-encoding"] = bodies.ENCODINGS
    if not exchange.may_have_key:
        _take_out_keys(request, exchange)


def _stands_behind_a_proxy(request):
    """Whether a proxy of the environment could stand before a server on this machine, which it may not."""
    return addresses.is_loopback(request.url.host) and bool(urllib.request.getproxies())


def _take_out_keys(request, exchange):
    """Take credentials out of a request's headers; raise where its address holds one."""
    secrets = addresses.secrets()
    for name, value in list(request.headers.items()):
        if name.lower() in _PLAIN or (exchange.given_key not in (None, "none") and exchange.given_key in value):
            continue
        told = f"{value} {_basic(value)}"
        named = _CREDENTIAL.search(name) and value.strip().lower() not in _NO_KEY
        if named or any(secret in told for secret in secrets.values()):
            del request.headers[name]
    path = str(request.url).removeprefix(exchange.api_base or "")
    for variable, secret in secrets.items():
        if secret in path:
            _refuse(
                f"the request's address holds the value of {variable}, which {request.url.host} may not have; not "
                "sent. Name the host in HIVEMIND_KEY_HOSTS if it may"
            )


def _basic(value):
    """Name and password of a header of basic authentication, else nothing."""
    kind, _, coded = value.partition(" ")
    try:
        return base64.b64decode(coded, validate=True).decode("utf-8", "replace") if kind.lower() == "basic" else ""
    except binascii.Error:
        return ""


@contextlib.contextmanager
def _sending(exchange):
    exchange.sent, exchange.status, exchange.body = True, None, None
    token = _checked.set(True)
    try:
        yield
    except Exception as error:
        exchange.sent = not never_left(error)
        raise
    finally:
        _checked.reset(token)


@contextlib.contextmanager
def _reading(exchange, reply):
    exchange.status = reply.status_code
    try:
        yield
    except (bodies.TooLarge, bodies.Unusable) as error:
        exchange.raised = error
        raise


def never_left(error):
    """Whether a request was not sent at all: nobody listens, or no connection came about."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol | httpx.ProxyError):
        return True
    cause = type(error.__cause__ or error.__context__ or error)  # litellm's transport calls a reset a ConnectError
    is_reset = cause.__module__.startswith("aiohttp") and not cause.__name__.startswith("ClientConnector")
    return isinstance(error, httpx.ConnectError) and not is_reset


def _kept(exchange, reply):
    """The reply, safe to parse; what it says is kept."""
    if not reply.is_success or not exchange.parse:
        return reply
    import httpx

    body = bodies.parsed(reply.content)
    if reply.request.url.path.endswith("/chat/completions"):
        body, exchange.odd = bodies.tidy_chat(body)
        headers = [(k, v) for k, v in reply.headers.multi_items() if k.lower() != "content-length"]
        made = httpx.Response(reply.status_code, headers=headers, content=json.dumps(body), request=reply.request)
        made.elapsed, reply = reply.elapsed, made
    exchange.body = body if isinstance(body, dict) else None
    return reply


def _refuse(message):
    _guard.get().raised = ForeignHost(message)
    raise _guard.get().raised


def _check(url):
    """Raise if the address is not that of the call in force."""
    name, api_base = _guard.get().provider, _guard.get().api_base
    if api_base:
        if origin(api_base) != origin(url):
            _refuse(
                f"the request was made for {addresses.host(api_base)}, but was about to reach {url.host}; not sent. "
                f"litellm asks another server for {name}/ models: if yours has OpenAI's interface, write hosted_vllm/"
            )
        return
    for other, address in [*addresses.of_environment().items(), ("openai", "https://api.openai.com")]:
        if other != name and origin(address) == origin(url):
            _refuse(
                f"{url.host} is the address of {other}, but a request to {name} was about to reach it; not sent. "
                f"Give `api_bases`, or {name.upper()}_API_BASE"
            )


def _following(reply):
    """The request that a redirect leads to, within its host; raises where it leads to another."""
    following = reply.next_request
    if following is None or origin(following.url) != origin(reply.request.url):
        where = "an address that cannot be read" if following is None else f"another address ({following.url.host})"
        _refuse(
            f"{reply.request.url.host} redirects to {where}, which the request was not "
            "about to reach; not sent. Give that address in `api_bases` if it is right"
        )
    return following


def origin(address):
    """Scheme, host and port of an address.

    Examples
    --------
    >>> origin("https://Models.example/v1")
    ('https', 'models.example', 443)
    """
    parts = urlsplit(str(address))
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)

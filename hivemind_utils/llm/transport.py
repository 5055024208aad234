"""The way of a request to its server and back: no other host sees it, and its reply is read by our rules.

Every call of a provider is made inside `guarded`. httpx, through which all of them travel, then asks here first: a
request reaches the host it was made for, no redirect leaves that host, and what comes back is read within a size and
made safe to parse (`bodies`), whichever library asked.
"""

import contextlib
import contextvars
import functools
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hivemind_utils.llm import addresses, bodies

MAX_REDIRECTS = 5  # within one host


GATEWAYS = {408, 502, 504, *range(520, 528), 598, 599}  # of who gave up waiting for a model that may have answered


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


@contextlib.contextmanager
def guarded(provider, api_base, *, most_bytes=bodies.MOST_BYTES, timeout=600.0, parse=True):
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

    Yields
    ------
    Exchange

    Raises
    ------
    ForeignHost, bodies.TooLarge, bodies.Unusable
        Instead of the error that the libraries make of it.
    """
    _install()
    exchange = Exchange(provider, api_base, most_bytes, timeout, parse)
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
    """Make httpx ask here first while `guarded` is in force."""
    import httpx

    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    @functools.wraps(send)
    def guarded_send(client, request, **options):
        exchange = _guard.get()
        if exchange is None:
            return send(client, request, **options)
        _check(request.url)
        options |= {"follow_redirects": False, "stream": True}
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
        _check(request.url)
        options |= {"follow_redirects": False, "stream": True}
        for _ in range(MAX_REDIRECTS):
            with _sending(exchange):
                reply = await send_async(client, request, **options)
            if not reply.has_redirect_location:
                break
            await reply.aclose()
            request = _following(reply)
        with _reading(exchange, reply):
            return _kept(exchange, await bodies.whole(reply, exchange.most_bytes))

    httpx.Client.send, httpx.AsyncClient.send = guarded_send, guarded_send_async


@contextlib.contextmanager
def _sending(exchange):
    exchange.sent, exchange.status, exchange.body = True, None, None
    try:
        yield
    except Exception as error:
        exchange.sent = not never_left(error)
        raise


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
        if _origin(urlsplit(api_base)) != _origin(urlsplit(str(url))):
            _refuse(f"the request was made for {addresses.host(api_base)}, but was about to reach {url.host}; not sent")
        return
    for other, address in [*addresses.of_environment().items(), ("openai", "https://api.openai.com")]:
        if other != name and _origin(urlsplit(address)) == _origin(urlsplit(str(url))):
            _refuse(
                f"{url.host} is the address of {other}, but a request to {name} was about to reach it; not sent. "
                f"Give `api_bases`, or {name.upper()}_API_BASE"
            )


def _following(reply):
    """The request that a redirect leads to, within its host; raises where it leads to another."""
    following = reply.next_request
    if following is None or _origin(urlsplit(str(following.url))) != _origin(urlsplit(str(reply.request.url))):
        where = "an address that cannot be read" if following is None else f"another address ({following.url.host})"
        _refuse(
            f"{reply.request.url.host} redirects to {where}, which the request was not "
            "about to reach; not sent. Give that address in `api_bases` if it is right"
        )
    return following


def _origin(parts):
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)

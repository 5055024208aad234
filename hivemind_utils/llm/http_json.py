"""JSON over HTTP, for the questions that litellm has no words for: a server's health, slots, settings, tokens."""

import concurrent.futures
import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request

from hivemind_utils.llm import addresses

MOST_BYTES = 64 * 2**20  # of a reply


class _SameHost(urllib.request.HTTPRedirectHandler):
    """No redirect takes a request, and its key, to another host."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameHost)  # no proxy before one's own machine
_USUAL = urllib.request.build_opener(_SameHost)


class Refused(ValueError):
    """The server answered with an error; ``status`` is its number."""

    def __init__(self, url, status, said):
        super().__init__(f"{url} refused the request: status {status}: {said}")
        self.status = status


def get(url, *, api_key=None, timeout=10):
    """Read JSON.

    Parameters
    ----------
    url : str
    api_key : str, optional
        Sent as a bearer token.
    timeout : float
        Seconds of the whole call.

    Raises
    ------
    Refused
        If the server answers with an error.
    OSError
        If nobody answers, or not in HTTP.
    ValueError
        If the answer is no JSON.
    """
    return _call(urllib.request.Request(url), api_key, timeout)


def post(url, body, *, api_key=None, timeout=600):
    """Send JSON and read the JSON reply; as `get`."""
    data = json.dumps(body).encode("utf-8", "replace")
    return _call(urllib.request.Request(url, data, {"Content-Type": "application/json"}), api_key, timeout)


def root(base_url):
    """Address of a server without the ``/v1`` of its OpenAI-compatible interface.

    Examples
    --------
    >>> root("http://127.0.0.1:8080/v1/")
    'http://127.0.0.1:8080'
    """
    return base_url.rstrip("/").removesuffix("/v1")


def is_local(url):
    """Whether an address is on this machine.

    Examples
    --------
    >>> is_local("http://localhost:8000/v1"), is_local("https://models.example/v1")
    (True, False)
    """
    return addresses.is_loopback(addresses.host(url))


def slots(base_url):
    """Requests that a llama.cpp server works on at a time; 0 where the server does not tell.

    Parameters
    ----------
    base_url : str
        Of the OpenAI-compatible interface.

    Returns
    -------
    int
    """
    try:
        found = get(f"{root(base_url)}/props", timeout=2)
    except (OSError, ValueError):  # nobody there, no such page, or no JSON
        return 0
    number = found.get("total_slots") if isinstance(found, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0


def _call(request, api_key, timeout):
    """Make a call in a thread of its own: a socket's timeout is one per read, this one is of the whole call."""
    future = concurrent.futures.Future()

    def work():
        try:
            future.set_result(_read(request, api_key, timeout))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="hivemind-http").start()
    try:
        return future.result(timeout)
    except concurrent.futures.TimeoutError:
        raise TimeoutError(f"{request.full_url} gave no whole reply within {timeout:g} s") from None


def _read(request, api_key, timeout):
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    opener = _DIRECT if is_local(request.full_url) else _USUAL
    try:
        with opener.open(request, timeout=timeout) as reply:
            return json.loads(reply.read(MOST_BYTES))  # of a longer one the end is missing: no JSON
    except urllib.error.HTTPError as error:
        raise Refused(request.full_url, error.code, _said(error)) from None
    except http.client.HTTPException as error:  # another kind of server, or a reply that breaks off
        what = f"{type(error).__name__}: {str(error).strip()[:100]}"
        raise OSError(f"{request.full_url} does not answer as a web server does ({what})") from None
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{request.full_url} answered with what is no JSON: {why}") from None


def _said(error):
    """Beginning of what came with an error of the server."""
    try:
        with error:
            return error.read(600).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):  # it broke off
        return ""

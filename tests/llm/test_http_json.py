"""JSON over HTTP with what is no web server, breaks off, or sends elsewhere: a sentence, and the other models go on."""

import contextlib

import pytest
from server import raw_serving, serving

from hivemind_utils.llm import http_json, sampler, store
from hivemind_utils.llm import request as request_llm


@contextlib.contextmanager
def answering(content):
    """A server that sends the same bytes to whoever comes; gives its address, and a list of what it received."""
    received = []

    def talk(connection):
        received.append(connection.recv(65_536))
        connection.sendall(content)

    with raw_serving(talk) as url:
        yield url, received


def reply(body, *headers):
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers, b"", body])


ODD = {
    "another protocol": b"SSH-2.0-x\r\n",
    "nothing": b"",
    "a long header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(500)) + b"\r\n",
    "a body that breaks off": b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{",
    "an error that breaks off": b"HTTP/1.1 500 X\r\ncontent-length: 999\r\n\r\n{",
    "a chunk without size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "deep JSON": reply(b"[" * 200_000),
    "no JSON": reply(b"<html>"),
    "no text": reply(b"\x1f\x8b\xff"),
    "a number without end": reply(b"9" * 5_000),
    "itself again": b"HTTP/1.1 302 X\r\nlocation: /props\r\ncontent-length: 0\r\n\r\n",
    "a file": b"HTTP/1.1 302 X\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_servers_are_told_and_have_no_slots(content):
    with answering(content) as (url, _):
        with pytest.raises((OSError, ValueError)) as told:
            http_json.get(f"{url}/props")
        assert (
            url in str(told.value)
            or "JSON" in type(told.value).__name__
            or isinstance(told.value, ValueError | OSError)
        )
        assert http_json.slots(f"{url}/v1") == 0


@pytest.mark.parametrize(("name", "words"), [
    ("another protocol", "does not answer as a web server does (BadStatusLine: SSH-2.0-x)"),
    ("a long header", "does not answer as a web server does (LineTooLong"),
    ("a chunk without size", "does not answer as a web server does (IncompleteRead"),
    ("a body that breaks off", "answered with what is no JSON: Expecting property name"),
    ("deep JSON", "answered with what is no JSON: nested too deeply"),
])  # fmt: skip
def test_the_sentence_has_the_address_and_what_came(name, words):
    with answering(ODD[name]) as (url, _), pytest.raises((OSError, ValueError)) as told:
        http_json.get(f"{url}/props")
    assert str(told.value).startswith(f"{url}/props ") and words in str(told.value)


@pytest.mark.parametrize("said", ["true", "0", "-1", "1.5", '"2"', "null"])
def test_what_is_no_number_of_slots_is_none(said):
    with answering(reply(b'{"total_slots": %s}' % said.encode())) as (url, _):
        assert http_json.slots(url) == 0


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_redirect_to_another_host_takes_neither_request_nor_key(scheme):
    with answering(reply(b"{}")) as (other, received):
        location = other.replace("http", scheme).encode()
        redirect = b"HTTP/1.1 302 X\r\nlocation: " + location + b"/x\r\ncontent-length: 0\r\n\r\n"
        with answering(redirect) as (url, _), pytest.raises(http_json.Refused, match="status 302"):
            http_json.get(f"{url}/props", api_key="a-secret")
        assert received == []


@pytest.mark.parametrize("content", [ODD[name] for name in ("another protocol", "many headers", "deep JSON")])
@pytest.mark.parametrize("probe", [False, True])
def test_one_model_at_an_odd_address_stops_alone(tmp_path, monkeypatch, content, probe):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    with serving() as server, answering(content) as (url, _):
        good = request_llm.requests("hosted_vllm/good", "Name a tree.", {"max_tokens": 5}, 2, api_base=server.url)
        odd = request_llm.requests("hosted_vllm/odd", "Name a tree.", {"max_tokens": 5}, 2, api_base=f"{url}/v1")
        outcome = sampler.run(odd + good, tmp_path / "s.sqlite", budget_usd=1, progress=False, probe=probe)
        assert len(store.read(tmp_path / "s.sqlite", good)) == 2 and store.read(tmp_path / "s.sqlite", odd).empty
        assert "hosted_vllm/odd" in outcome.partial and "hosted_vllm/good" not in outcome.partial

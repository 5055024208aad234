"""Endpoints that echo log-probabilities, over real HTTP."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
from server import Fault, serving

from hivemind_utils.llm import completions


@pytest.fixture
def server():
    with serving() as running:
        yield running


def echo(body, number):
    """The prompt's words as tokens, each with minus a tenth of its length; the first has none."""
    words = body["prompt"].split(" ")
    tokens = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
    offsets = np.cumsum([0, *(len(token) for token in tokens[:-1])]).tolist()
    values = [None, *(-len(token) / 10 for token in tokens[1:])]
    logprobs = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets, "top_logprobs": None}
    return [{"text": body["prompt"], "logprobs": logprobs}]


def literal(prefix, response):
    words = [f" {word}" for word in f"{prefix}{response}".split(" ")[1:]]
    inside = words[-len(response.split()) :]
    return np.mean([-len(w) / 10 for w in inside]), -np.exp(-np.mean([-len(w) / 10 for w in words]))


def test_response_tokens_follow_their_characters(server):
    server.complete = echo
    prefixes, responses = ["User: hi\nAssistant: ", "User: why\nAssistant: "], ["hello my friend", "because"]
    found, problems = completions.echo_scores("tiny", server.url, prefixes, responses)
    assert not problems
    for i, (prefix, response) in enumerate(zip(prefixes, responses, strict=True)):
        mean, perplexity = literal(prefix, response)
        assert found["mean_logprob"][i] == pytest.approx(mean)
        assert found["minus_perplexity"][i] == pytest.approx(perplexity)
    body = server.bodies("/completions")[0]
    assert body["echo"] is True and body["max_tokens"] == 0 and body["logprobs"] == 1


def test_failures_and_endpoints_without_log_probabilities_are_that_rows(server):
    server.complete = echo
    server.fault = lambda body, number: Fault(500, "out of memory") if "boom" in body["prompt"] else None
    found, problems = completions.echo_scores("tiny", server.url, ["a ", "a "], ["fine", "boom"])
    assert np.isnan(found["mean_logprob"]).tolist() == [False, True] and "out of memory" in problems[1]
    server.complete = lambda body, number: [{"text": body["prompt"]}]
    found, problems = completions.echo_scores("tiny", server.url, ["a "], ["fine"])
    assert np.isnan(found["mean_logprob"]).all() and "echo" in problems[0]


def test_an_endpoint_that_ignores_echo_is_told_and_its_numbers_are_not_taken(server):
    """llama.cpp's server answers so: log-probabilities of the completion, in the place of the text's."""
    logprobs = {"tokens": [" to", " you"], "token_logprobs": [-1.0, -2.0], "text_offset": [0, 3], "top_logprobs": None}
    server.complete = lambda body, number: [{"text": " to you", "logprobs": logprobs}]
    found, problems = completions.echo_scores("tiny", server.url, ["a "], ["fine"])
    assert np.isnan(found["mean_logprob"]).all() and "ignores `echo`" in problems[0]


@pytest.mark.local_model
def test_llama_cpp_is_told_apart_from_an_endpoint_that_echoes(servers):
    found, problems = completions.echo_scores(servers.name, servers.base_urls[0], ["User: hi\n"], ["hello"])
    assert np.isnan(found["minus_perplexity"]).all() and "echo" in problems[0]


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b""]
)
def test_a_reply_that_drips_for_ever_ends_at_the_deadline(start):
    def drip():
        with listening.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(start)
            while True:
                connection.sendall(b"a")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serve = threading.Thread(target=drip, daemon=True)
        serve.start()
        begun = time.monotonic()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        found, problems = completions.echo_scores("tiny", address, ["a "], ["fine"], timeout=1)
        assert np.isnan(found["mean_logprob"]).all() and time.monotonic() - begun < 20
    serve.join(20)
    assert problems[0] and not serve.is_alive()

"""The study's decoding in full: on a real server the distribution itself, on others what they ignore."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hivemind_utils.llm import decoding, http_json

TOP_P = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 7}
MIN_P = {"temperature": 2.0, "top_p": 1.0, "min_p": 0.1, "max_tokens": 7}
LLAMA_ORDER = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]
LLAMA_DEFAULTS = decoding.NEUTRAL | {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "max_tokens": -1,
    "seed": 2**32 - 1,
}
LOGITS = np.linspace(3, -3, 60)


def test_every_other_setting_is_switched_off():
    body = decoding.llama_cpp(TOP_P, seed=3)
    assert {name: body[name] for name in TOP_P} == TOP_P
    assert (body["top_k"], body["min_p"], body["repeat_penalty"], body["seed"]) == (0, 0.0, 1.0, 3)
    assert body["samplers"] == ["temperature", "top_p", "min_p"]
    assert "seed" not in decoding.llama_cpp(TOP_P)


@pytest.mark.parametrize("wrong", [{}, {"top_p": 0.9}, {"temperature": 1, "top_k": 3}, {"temperature": 1, "seed": 3}])
def test_other_decodings_are_refused(wrong):
    with pytest.raises(ValueError, match="`decoding`"):
        decoding.llama_cpp(wrong)


# --------------------------------------------------------------------------------------------------- a real server


def first_token(servers, **fields):
    """Probabilities of the first token, by token: of the model, or with ``post_sampling_probs`` what is drawn from."""
    url = http_json.root(servers.base_urls[0])
    messages = {"messages": [{"role": "user", "content": "Write a metaphor involving time."}]}
    prompt = http_json.post(f"{url}/apply-template", messages)["prompt"]
    body = {"prompt": prompt, "n_predict": 1, "n_probs": 50_000, "cache_prompt": False} | fields
    found = http_json.post(f"{url}/completion", body)["completion_probabilities"][0]
    if fields.get("post_sampling_probs"):
        return {entry["id"]: entry["prob"] for entry in found["top_probs"] if entry["prob"] > 0}
    return {entry["id"]: np.exp(entry["logprob"]) for entry in found["top_logprobs"]}


def by_hand(probabilities, temperature, top_p=1.0, min_p=0.0):
    """Temperature first, then the truncation; a literal loop."""
    p = np.array(list(probabilities.values())) ** (1 / temperature)
    p /= p.sum()
    kept, mass = {}, 0.0
    for i in np.argsort(-p):
        if mass >= top_p or p[i] < min_p * p.max():
            break
        kept[list(probabilities)[i]] = p[i]
        mass += p[i]
    return {token: value / mass for token, value in kept.items()}


@pytest.mark.local_model
@pytest.mark.parametrize("asked", [TOP_P, MIN_P])
def test_the_server_draws_from_the_studys_distribution(servers, asked):
    whole = first_token(servers)
    expected = by_hand(whole, **{name: value for name, value in asked.items() if name != "max_tokens"})
    drawn = first_token(servers, **decoding.llama_cpp(asked), post_sampling_probs=True)
    assert len(whole) > 40_000
    assert drawn.keys() == expected.keys()
    assert all(drawn[token] == pytest.approx(expected[token], rel=2e-3) for token in expected)


@pytest.mark.local_model
def test_llama_cpp_by_itself_draws_from_a_narrower_one(servers):
    asked = {"temperature": 2.0, "top_p": 1.0, "min_p": 0.1}
    wide, narrow = (
        first_token(servers, **body, post_sampling_probs=True) for body in (decoding.llama_cpp(asked), asked)
    )
    assert narrow.keys() < wide.keys()


@pytest.mark.local_model
def test_a_real_server_honours_the_full_decoding_and_adds_to_a_bare_one(servers):
    url = servers.base_urls[0]
    full = decoding.llama_cpp(MIN_P, seed=11)
    found = decoding.honoured(url, servers.name, full)
    assert found["source"] == "settings reported in the reply"
    assert found["fields"] == dict.fromkeys(full.keys() - {"cache_prompt"}, "honoured")
    assert found["added"] == {}
    bare = decoding.honoured(url, servers.name, MIN_P)
    assert set(bare["fields"].values()) == {"honoured"}
    assert bare["added"] == {"top_k": 40, "samplers": LLAMA_ORDER}
    at_one = decoding.honoured(url, servers.name, TOP_P)
    assert at_one["added"] == {"top_k": 40, "min_p": pytest.approx(0.05)}


@pytest.mark.local_model
def test_calls_at_extreme_settings_tell_the_same_of_a_real_server(servers):
    server = decoding._Server(servers.base_urls[0], servers.name, None, 60)
    assert decoding._probed(server, MIN_P) == dict.fromkeys((*MIN_P, "seed"), "honoured")


# ------------------------------------------------------------------------------------------- servers that ignore fields


class Fake(BaseHTTPRequestHandler):
    """A chat server that draws from fixed logits and applies only the fields that ``server.applies`` names."""

    def log_message(self, *_):
        pass

    def send(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        pages = {"/props": self.server.props, "/slots": self.server.slots}
        self.send(200 if pages.get(self.path) else 404, pages.get(self.path) or {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(body)
        if unknown := self.server.refuses & body.keys():
            return self.send(400, {"error": f"unknown fields {sorted(unknown)}"})
        applied = {name: value for name, value in body.items() if name in self.server.applies}
        settings = LLAMA_DEFAULTS | {"samplers": LLAMA_ORDER} | applied
        if self.server.slots is not None:
            self.server.slots[:] = [{"id": 0}, {"id": 1, "params": settings}]
        logprobs = LOGITS - np.log(np.exp(LOGITS).sum())
        kept = by_hand(dict(enumerate(np.exp(logprobs))), max(applied.get("temperature", 1.0), 1e-2),
                       applied.get("top_p", 1.0), applied.get("min_p", 0.0))  # fmt: skip
        rng = np.random.default_rng(applied.get("seed"))
        drawn = rng.choice(list(kept), size=applied.get("max_tokens", 30), p=list(kept.values()))
        top = [{"token": str(i), "logprob": float(logprobs[i])} for i in range(2)]
        content = [{"token": str(i), "logprob": float(logprobs[i]), "top_logprobs": top} for i in drawn]
        choice = {"message": {"content": " ".join(map(str, drawn))}}
        if body.get("logprobs") and self.server.logprobs:
            choice["logprobs"] = {"content": content}
        reply = {"choices": [choice], "usage": {"completion_tokens": len(drawn)}}
        if body.get("verbose") and self.server.echoes:
            reply["__verbose"] = {"generation_settings": settings}
        self.send(200, reply)


@pytest.fixture
def fake():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.applies = {"temperature", "top_p", "min_p", "max_tokens", "seed"}
    server.refuses, server.echoes, server.logprobs, server.slots, server.props = set(), False, True, None, None
    server.calls = []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("ignored", ["temperature", "top_p", "min_p", "max_tokens", "seed"])
def test_what_a_server_ignores_is_told_from_its_report(fake, ignored):
    fake.echoes, fake.applies = True, fake.applies - {ignored}
    found = decoding.honoured(fake.url, "m", MIN_P)
    assert found["fields"] == dict.fromkeys((*MIN_P, "seed"), "honoured") | {ignored: "ignored"}


def test_a_report_in_slots_is_found_by_its_seed(fake):
    fake.slots, fake.applies = [], fake.applies - {"min_p"}
    found = decoding.honoured(fake.url, "m", MIN_P)
    assert found["source"] == "settings reported in /slots"
    assert found["fields"] == dict.fromkeys((*MIN_P, "seed"), "honoured") | {"min_p": "ignored"}
    fake.applies.discard("seed")  # nothing tells that this slot's call was ours
    assert decoding.honoured(fake.url, "m", MIN_P)["source"] == "calls at extreme settings"


@pytest.mark.parametrize("ignored", ["temperature", "top_p", "min_p", "max_tokens", "seed"])
def test_what_a_silent_server_ignores_is_told_by_extreme_settings(fake, ignored):
    fake.applies = fake.applies - {ignored}
    found = decoding.honoured(fake.url, "m", MIN_P)
    assert found["source"] == "calls at extreme settings"
    assert found["fields"] == dict.fromkeys((*MIN_P, "seed"), "honoured") | {ignored: "ignored"}
    assert len(fake.calls) <= 8


def test_without_log_probabilities_nothing_is_claimed(fake):
    fake.logprobs, fake.applies = False, {"max_tokens"}
    found = decoding.honoured(fake.url, "m", MIN_P | {"top_k": 3})
    assert found["fields"] == dict.fromkeys((*MIN_P, "top_k", "seed"), "unknown") | {"max_tokens": "honoured"}


def test_defaults_that_nobody_asked_for_are_read_from_props(fake):
    fake.props = {"default_generation_settings": {"params": LLAMA_DEFAULTS | {"samplers": LLAMA_ORDER}}}
    assert decoding.honoured(fake.url, "m", TOP_P)["added"] == {"top_k": 40, "min_p": 0.05}
    assert decoding.honoured(fake.url, "m", decoding.llama_cpp(TOP_P))["added"] == {}


def test_a_server_that_refuses_fields_it_does_not_know_is_asked_without_them(fake):
    fake.refuses = {"verbose"}
    assert decoding.honoured(fake.url, "m", MIN_P)["fields"]["min_p"] == "honoured"
    fake.refuses = {"verbose", "min_p"}
    with pytest.raises(http_json.Refused, match="status 400"):
        decoding.honoured(fake.url, "m", MIN_P)


def test_nobody_there_is_no_report(fake):
    with pytest.raises(OSError, match="refused"):
        decoding.honoured("http://127.0.0.1:9/v1", "m", MIN_P)

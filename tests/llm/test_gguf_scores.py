"""Scores of responses from llama.cpp against an independent computation on the same weights."""

import struct

import numpy as np
import pandas as pd
import pytest
from reference_llama import Llama

from hivemind_utils.llm import gguf, gguf_models, gguf_scores, http_json
from hivemind_utils.ratings import scorers

REAL = "gguf:smollm2?slots=4&context=512&servers=1"
PROMPTS = ["Name a bird.", "Name a bird.", "How is tea made?"]
RESPONSES = ["The robin, of course.", "A — 鳥.", " Leaves are put into hot water.\nThen one waits. "]


def small_copy(source, path, *, n_layers=2, width=64, seed=0):
    """The tokenizer and template of a GGUF file with a small random model in 32-bit numbers, which nothing rounds."""
    with open(source, "rb") as file:
        _, version, _, n_values = struct.unpack("<4sIQQ", file.read(24))
        values = {}
        for _ in range(n_values):
            key, start = gguf._string(file), file.tell()
            gguf._value(file, *gguf._unpack(file, "I"))
            end = file.tell()
            file.seek(start)
            values[key] = file.read(end - start)
    number = {"block_count": n_layers, "embedding_length": width, "feed_forward_length": 2 * width,
              "attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": width // 4}  # fmt: skip
    values |= {f"llama.{name}": struct.pack("<II", 4, value) for name, value in number.items()}
    values["general.file_type"] = struct.pack("<II", 4, 0)
    n_tokens = gguf.header(source)[0]["llama.vocab_size"]
    shapes = {"token_embd.weight": (width, n_tokens), "output_norm.weight": (width,)}
    for i in range(n_layers):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in {
            "attn_norm": (width,), "attn_q": (width, width), "attn_k": (width, width // 2), "ffn_norm": (width,),
            "attn_v": (width, width // 2), "attn_output": (width, width), "ffn_gate": (width, 2 * width),
            "ffn_up": (width, 2 * width), "ffn_down": (2 * width, width),
        }.items()}  # fmt: skip
    rng, places, data = np.random.default_rng(seed), b"", b""
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        tensor = np.ones(size, "<f4") if "norm" in name else rng.normal(0, 0.15, size).astype("<f4")
        places += struct.pack("<Q", len(name)) + name.encode()
        places += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += tensor.tobytes() + bytes(-len(tensor.tobytes()) % 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(values))
    head += b"".join(struct.pack("<Q", len(key)) + key.encode() + value for key, value in values.items()) + places
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path


def literal(root, reference, prompt, response):
    ids, inside = gguf_scores.conversation(root, prompt, response)
    values = reference.logprobs(np.array(ids))
    return values[inside[1:]].mean(), -np.exp(-values.mean()), values


@pytest.mark.local_model
def test_scores_equal_those_of_the_same_weights_computed_independently(tmp_path):
    path = small_copy(gguf.resolve("gguf:smollm2"), tmp_path / "small.gguf")
    model, reference = f"gguf:{path}?slots=2&context=256&servers=1", Llama(path)
    with gguf_models.running([model]) as served:
        found, problems = gguf_scores.scores(model, PROMPTS, RESPONSES)
        root = http_json.root(served.pools[model].servers.base_urls[0])
        expected = [literal(root, reference, *pair) for pair in zip(PROMPTS, RESPONSES, strict=True)]
    assert not problems
    assert found["mean_logprob"] == pytest.approx([e[0] for e in expected], abs=2e-3)
    assert found["minus_perplexity"] == pytest.approx([e[1] for e in expected], rel=2e-3)


@pytest.mark.local_model
def test_the_real_models_scores_are_those_of_its_weights_up_to_rounding_to_8_bits():
    reference = Llama(gguf.resolve("gguf:smollm2"), rounds_activations=False)
    with gguf_models.running([REAL]) as served:
        root = http_json.root(served.pools[REAL].servers.base_urls[0])
        for prompt, response in zip(PROMPTS[:1] + PROMPTS[2:], RESPONSES[:1] + RESPONSES[2:], strict=True):
            mean, _, values = literal(root, reference, prompt, response)
            ids, inside = gguf_scores.conversation(root, prompt, response)
            found = gguf_scores.token_logprobs(root, ids)
            assert np.abs(found - values).mean() < 0.15
            assert np.corrcoef(found, values)[0, 1] > 0.999
            assert abs(found[inside[1:]].mean() - mean) < 0.15


@pytest.mark.local_model
class TestConversation:
    @pytest.fixture
    def root(self, servers):
        return http_json.root(servers.base_urls[0])

    @pytest.mark.parametrize("response", ["A robin.", "  A robin. ", "鳥 and — more", "A\n\nrobin"])
    def test_tokens_of_the_response_spell_it(self, root, response):
        ids, inside = gguf_scores.conversation(root, "Name a bird.", response)
        chosen = [token for token, is_in in zip(ids, inside, strict=True) if is_in]
        text = http_json.post(f"{root}/detokenize", {"tokens": chosen})["content"]
        assert text.strip() == response.strip()
        assert not inside[0] and not inside[-1]

    def test_an_empty_response_has_no_score(self, root):
        with pytest.raises(ValueError, match="empty response"):
            gguf_scores.conversation(root, "Name a bird.", " \n")


@pytest.mark.local_model
def test_what_cannot_be_scored_is_that_rows(tmp_path):
    found, problems = gguf_scores.scores(REAL.replace("512", "64"), ["Hi", "Hi"], ["yes", "very " * 60])
    assert np.isnan(found["mean_logprob"]).tolist() == [False, True]
    assert "more than the context of 64" in problems[1]


def test_a_file_that_is_missing_is_every_rows_reason(tmp_path):
    found, problems = gguf_scores.scores(f"gguf:{tmp_path}/none.gguf", ["Hi"], ["yes"])
    assert np.isnan(found["minus_perplexity"]).all() and "none.gguf is missing" in problems[0]


@pytest.mark.local_model
def test_notebook_09_takes_a_file_and_gives_reasons(tmp_path):
    responses = pd.DataFrame(
        {"response_id": ["r", "s"], "prompt_id": "p", "prompt": "Name a bird.", "response": ["A robin.", "  "]}
    )
    request = scorers.Request(pd.DataFrame(), responses, tmp_path, 0, {})
    (job,) = scorers.LocalModels([REAL]).jobs(request)
    frame, problems = job.run()
    assert set(frame["scorer"]) == {"SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q4_1 (whole conversation)"}
    assert frame.groupby("response")["score"].apply(lambda score: score.notna().all()).to_dict() == {
        "A robin.": True, "  ": False,
    }  # fmt: skip
    assert "an empty response has no log-probability" in problems["reason"].iat[0]

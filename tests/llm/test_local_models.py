"""Sources of extra `local` on tiny models built here, against a literal loop over tokens. Skipped without torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extra `local` is not installed")
transformers = pytest.importorskip("transformers", reason="extra `local` is not installed")

from hivemind_utils.llm import local_models  # noqa: E402

PROMPTS = ["Say hello.", "Name a river, please", "Say hello.", "Why?"]
RESPONSES = [
    "Hello there!",
    "the Danube — or Po",
    " Hi \n",
    "Because it is so.",
]
WITH_BOS = "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}"
WITHOUT_BOS = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"


@pytest.fixture(scope="module")
def tokenizer_of():
    """Tokenizers with a byte-level vocabulary that put a BOS before every text unless told not to."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    def make(template):
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        special = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|start|>", "<|end|>"]
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        raw.train_from_iterator(PROMPTS + RESPONSES, trainer)
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=template
        )

    return {"with BOS": make(WITH_BOS), "without BOS": make(WITHOUT_BOS), "no template": make(None)}


def config(name, n_tokens, **more):
    sizes = {"vocab_size": n_tokens, "bos_token_id": 0, "eos_token_id": 1, **more}
    if name == "gpt2":
        return transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=128, **sizes)
    cls = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[name]
    return cls(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=128, **sizes,
    )  # fmt: skip


def literal(model, ids, positions):
    """Log-probability of the tokens at the given positions, one call per token, no batch, no cache."""
    found = []
    for t in positions:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[:t].tolist()])).logits[0, -1].double()
        found.append(float(torch.log_softmax(logits, -1)[ids[t]]))
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("template", ["with BOS", "without BOS", "no template"])
def test_log_probabilities_equal_a_literal_token_loop(architecture, template, tokenizer_of):
    torch.manual_seed(0)
    tokenizer = tokenizer_of[template]
    model = transformers.AutoModelForCausalLM.from_config(config(architecture, len(tokenizer))).eval()
    found = local_models.language_model_scores(model, tokenizer, PROMPTS, RESPONSES, batch_tokens=80)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        ids, mask = local_models.encode(tokenizer, prompt, response)
        response_only = literal(model, ids, np.flatnonzero(mask))
        whole = literal(model, ids, range(1, len(ids)))
        assert found["mean_logprob"][i] == pytest.approx(np.mean(response_only), abs=1e-5)
        assert found["minus_perplexity"][i] == pytest.approx(-np.exp(-np.mean(whole)), rel=1e-5)


@pytest.mark.parametrize("template", ["with BOS", "without BOS", "no template"])
def test_the_mask_covers_the_response_and_no_bos_is_doubled(template, tokenizer_of):
    tokenizer = tokenizer_of[template]
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids, mask = local_models.encode(tokenizer, prompt, response)
        shown = response.strip() if template == "with BOS" else response
        assert tokenizer.decode(ids[mask]) == shown
        assert (ids == tokenizer.bos_token_id).sum() == (template != "without BOS")


def test_a_prompt_that_repeats_the_response_does_not_confuse_the_mask(tokenizer_of):
    ids, mask = local_models.encode(tokenizer_of["with BOS"], "Hello there!", "Hello there!")
    assert np.flatnonzero(mask).min() > len(ids) // 2


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_rewards_equal_one_call_per_conversation(architecture, tokenizer_of):
    torch.manual_seed(1)
    tokenizer = tokenizer_of["with BOS"]
    model = transformers.AutoModelForSequenceClassification.from_config(
        config(architecture, len(tokenizer), num_labels=1)
    ).eval()
    model.config.pad_token_id = None
    alone = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = torch.tensor([local_models.encode(tokenizer, prompt, response)[0].tolist()])
        with torch.no_grad():
            alone.append(model(input_ids=ids).logits.item())
    assert local_models.reward_scores(model, tokenizer, PROMPTS, RESPONSES) == pytest.approx(alone, abs=1e-5)
    assert len(set(np.round(alone, 6))) == 4


def test_too_long_a_conversation_is_missing_not_cut(tokenizer_of):
    tokenizer = tokenizer_of["with BOS"]
    model = transformers.AutoModelForCausalLM.from_config(config("llama", len(tokenizer))).eval()
    found = local_models.language_model_scores(model, tokenizer, ["a", "b"], ["no " * 200, "yes"])
    assert np.isnan(found["mean_logprob"]).tolist() == [True, False]


def test_models_are_loaded_from_a_folder_and_a_classifier_with_two_outputs_is_no_reward_model(tokenizer_of, tmp_path):
    tokenizer = tokenizer_of["with BOS"]
    tokenizer.save_pretrained(tmp_path)
    transformers.AutoModelForCausalLM.from_config(config("llama", len(tokenizer))).save_pretrained(tmp_path)
    model, again = local_models.load_language_model(str(tmp_path))
    assert local_models.language_model_scores(model, again, ["a"], ["b"])["mean_logprob"][0] < 0
    two = transformers.AutoModelForSequenceClassification.from_config(config("llama", len(tokenizer), num_labels=2))
    two.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="one output"):
        local_models.load_reward_model(str(tmp_path))


def test_an_empty_response_and_a_template_that_hides_it_are_refused(tokenizer_of):
    with pytest.raises(ValueError, match="empty response"):
        local_models.encode(tokenizer_of["with BOS"], "a", "  ")
    tokenizer = tokenizer_of["with BOS"]
    shouting = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        chat_template="{% for m in messages %}{{ m.content | upper }}{% endfor %}",
    )
    with pytest.raises(ValueError, match="does not show the response"):
        local_models.encode(shouting, "a", "b")

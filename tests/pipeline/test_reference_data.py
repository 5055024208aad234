"""Data that this project sampled itself and ships."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from hivemind_utils.llm import gguf, gguf_models
from hivemind_utils.responses import embeddings, encoders
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.responses import table as response_table

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
METAPHORS = REFERENCE / "time_metaphors_smollm2.parquet"


def test_the_time_metaphors_are_real_and_say_how_they_were_sampled():
    stamp = json.loads(pq.read_schema(METAPHORS).metadata[b"hivemind"])
    assert stamp["source"] == "sampled"
    assert stamp["model"]["quantisation"] == "Q4_1" and len(stamp["model"]["sha256"]) == 64
    asked = stamp["decoding_asked"]
    assert (asked["temperature"], asked["top_p"], asked["extra_body"]["top_k"]) == (1.0, 0.9, 0)
    assert (
        set(stamp["decoding_honoured"]["fields"].values()) == {"honoured"} and not stamp["decoding_honoured"]["added"]
    )
    answers = response_table.read(METAPHORS)
    assert len(answers) == stamp["n"] >= 1_000 and answers["seed"].is_unique
    assert (answers["finish_reason"] == "length").sum() == stamp["n_truncated"]
    made = response_table.tabulate(answers)
    assert len(made["04_responses"]) == len(answers) and made["04_prompts"]["text"].tolist() == [
        "Write a metaphor involving time."
    ]


@pytest.mark.local_model
def test_the_time_metaphors_are_of_the_model_that_set_up_installs():
    stamp = json.loads(pq.read_schema(METAPHORS).metadata[b"hivemind"])
    assert stamp["model"]["sha256"] == gguf.facts(gguf.resolve(stamp["model"]["model"]))["sha256"]
    assert stamp["decoding_asked"] == gguf_models.arguments({"temperature": 1.0, "top_p": 0.9, "max_tokens": 512})


def test_the_local_profile_has_twelve_open_prompts_three_closed_ones_and_paraphrases():
    prompts = response_prompts.read_prompts(REFERENCE / "local_prompts.csv")
    assert prompts["prompt_kind"].value_counts().to_dict() == {"original": 12, "paraphrase": 4, "closed": 3}
    originals = prompts[prompts["prompt_kind"] == "original"]
    assert originals["category"].notna().all()
    assert set(prompts.loc[prompts["prompt_kind"] == "paraphrase", "parent_id"]) <= set(originals["prompt_id"])


def test_the_arms_of_the_local_model_have_closed_prompts_enough_for_a_control():
    values = yaml.safe_load((REFERENCE.parents[1] / "params" / "local-arms.yaml").read_text())["04_generate"]
    prompts = response_prompts.read_prompts([REFERENCE / path.rpartition("/")[2] for path in values["prompts_path"]])
    asked = prompts[prompts["prompt_id"].isin(values["prompts"])]
    assert len(asked) == len(values["prompts"])  # every id that is named exists
    assert asked["prompt_kind"].value_counts().to_dict() == {"original": 12, "closed": 13}
    elsewhere = response_prompts.read_prompts(REFERENCE / "closed_prompts.csv")
    assert not set(asked["prompt"]) & set(elsewhere["prompt"])


def test_the_embeddings_of_the_time_metaphors_are_what_the_encoder_gives():
    table = response_table.tabulate(response_table.read(METAPHORS))["04_responses"]
    texts = table.loc[table["usable"], "text"]
    shipped = embeddings.cache("minilm", REFERENCE / "embeddings")
    assert shipped.holds(table.loc[table["usable"], "text_id"])
    some = texts[texts.str.len() < 200].drop_duplicates().sample(40, random_state=0)
    found = encoders.load_encoder("minilm").encode(some.tolist())
    np.testing.assert_allclose(shipped.of(table.loc[some.index, "text_id"]), found, atol=2e-6)

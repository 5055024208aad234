"""Loading responses: what is usable, which decoding and conditions are kept, what is left out."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils import responses
from hivemind_utils.figures import measures
from hivemind_utils.responses import (
    arms,
    embeddings,
    headlines,
    loading,
    measure_headlines,
    reference,
    table,
    validity,
)
from hivemind_utils.tables import parquet
from hivemind_utils.tables.study import Study

PEOPLE = {"writers"}
REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
STAMP = {"source": "imported", "origin": "a test"}
ROWS = [  # prompt, prompt_kind, model, condition, decoding, response
    ("p1", "original", "gpt-1", "default", "top_p", "a river"),
    ("p1", "original", "gpt-1", "default", "top_p", "a thief"),
    ("p1", "original", "gpt-1", "default", "top_p", "   "),
    ("p1", "original", "gpt-1", "warm", "top_p", "a clock"),
    ("p1", "original", "gpt-1", "default", "min_p", "a rope"),
    ("p1", "original", "qwen-2", "default", "min_p", "a sea"),
    ("p1", "original", "writers", "default", "none", "my aunt"),
    ("p2", "closed", "gpt-1", "default", "top_p", "four"),
]


class LetterCounts:
    """An encoder that counts letters: vectors that say which text they belong to."""

    name, library, chunk_size, n_workers = "letters", "numpy", 8, 1

    def encode(self, texts):
        return np.array([[text.count(letter) for letter in "aeiou"] for text in texts], np.float32) + 0.1


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reference").symlink_to(REFERENCE)
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame(ROWS, columns=["prompt_id", "prompt_kind", "model", "condition", "decoding", "response"])
    for name, frame in table.tabulate(rows.assign(prompt=rows["prompt_id"] + "?"), human=PEOPLE).items():
        parquet.write(frame, name, "mine", STAMP)
    parquet.write(arms.table(arms.read({"default": None})), "04_arms", "mine", STAMP)
    texts = parquet.read("04_responses", "mine")["text"]
    embeddings.embed([*texts, *texts.str.slice(0, 3)], LetterCounts(), tmp_path / "data" / "mine" / "embeddings")
    return Study("05", "mine")


def test_other_ways_of_asking_are_left_to_notebook_10_unless_they_are_named(study):
    asked = arms.read({"default": None, "warm": {"comparator": "default"}}, asked=False)
    parquet.write(arms.table(asked), "04_arms", "mine", STAMP)
    assert set(load(study).table["condition"]) == {"default"} and len(load(study)) == 6
    assert "warm" in set(load(study, conditions=["default", "warm"]).table["condition"])


@pytest.mark.parametrize(("n_prompts", "said"), [(1, ""), (2, "Only 2 prompts"), (12, "Only 12 prompts"), (13, "")])
def test_few_open_prompts_are_noted(study, n_prompts, said):
    rows = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(n_prompts)]}).assign(prompt_kind="original")
    closed = pd.DataFrame({"prompt_id": [f"c{i}" for i in range(20)]}).assign(prompt_kind="closed")
    rows = pd.concat([rows, closed]).assign(model="m", condition="default", decoding="top_p", response="a river")
    for name, frame in table.tabulate(rows.assign(prompt=rows["prompt_id"] + "?")).items():
        parquet.write(frame, name, "mine", STAMP)
    study = Study("05", "mine")
    load(study)
    assert study.stamp["prompts_note"].startswith(said) and bool(study.stamp["prompts_note"]) == bool(said)


def load(study, **options):
    return responses.load(study, "letters", **options)


def test_usable_responses_are_loaded_in_order_each_with_its_vector(study):
    loaded = load(study)
    expected = sorted((*row[2:5], row[5]) for row in ROWS if row[5].strip() and row[0] == "p1")
    found = loaded.table[loaded.table["prompt_id"] == "p1"]
    assert sorted(map(tuple, found[["model", "condition", "decoding", "text"]].to_numpy())) == expected
    assert loaded.table.equals(loaded.table.sort_values([*table.CELL, "sample_idx"], ignore_index=True))
    assert loaded.vectors == pytest.approx(LetterCounts().encode(loaded.table["text"]))
    assert loaded.decoding is None and len(loaded) == 7


def test_what_is_known_of_models_people_and_arms_comes_along(study):
    loaded = load(study)
    assert loaded.people == PEOPLE and loaded.n_models == 2
    assert loaded.arms == ["gpt-1 · default", "gpt-1 · warm", "qwen-2", "writers"]
    assert loaded.model_of["gpt-1 · warm"] == "gpt-1" and loaded.family_of["qwen-2"] == "Qwen"
    assert loaded.prompt_order == ["p1", "p2"]
    assert loaded.describe() == "7 responses of 4 arms (2 models) to 2 prompts"
    machines = loaded.models_only()
    assert len(machines) == 6 and not machines.is_human.any()
    assert machines.vectors == pytest.approx(LetterCounts().encode(machines.table["text"]))


def test_the_lexical_vectors_know_the_form_of_each_row(study):
    loaded = load(study)
    assert loaded.lexical.shape[0] == len(loaded)
    alone = loaded.lexical[[loaded.table["text"].tolist().index("four")]]
    assert (loaded.lexical @ alone.T).toarray().ravel() == pytest.approx(loaded.table["text"].eq("four").astype(float))


def test_prompts_of_one_kind_are_kept(study):
    assert load(study, prompt_kinds=["closed"]).table["text"].tolist() == ["four"]


def test_one_decoding_is_kept_with_people_and_models_that_lack_it_are_named(study, capsys):
    loaded = load(study, prompt_kinds=["original"], one_decoding=True)
    assert loaded.decoding == "top_p"
    assert set(loaded.table["text"]) == {"a river", "a thief", "a clock", "my aunt"}
    assert study.stamp["partial"] == "no responses under top_p from qwen-2 (not compared)"
    assert "partial" in capsys.readouterr().out
    assert "decoding top_p" in loaded.describe()


def test_the_decoding_asked_for_is_kept_and_nobody_is_left_out(study):
    loaded = load(study, one_decoding=True, decoding="min_p")
    assert set(loaded.table["text"]) == {"a rope", "a sea", "my aunt"} and "partial" not in study.stamp


def test_conditions_of_models_are_kept_and_people_stay(study):
    loaded = load(study, conditions=["warm"])
    assert set(loaded.table["text"]) == {"a clock", "my aunt"}
    with pytest.raises(ValueError, match=r"names \['cold'\], but the conditions are \['default', 'warm'\]"):
        load(study, conditions=["cold", "warm"])


def test_nothing_left_says_where_to_look(study):
    with pytest.raises(
        ValueError, match="no usable response to a prompt of kind paraphrase: see `prompt_kind` in 04_prompts"
    ):
        load(study, prompt_kinds=["paraphrase"])


def test_truncated_vectors_are_those_of_the_first_characters(study):
    loaded = load(study)
    found = loading.truncated_vectors(study, loaded, "letters", 3)
    assert found == pytest.approx(LetterCounts().encode(loaded.table["text"].str.slice(0, 3)))


@pytest.mark.parametrize(
    ("decodings", "chosen"),
    [
        (["min_p", "min_p", "top_p"], "top_p"),
        (["min_p", "greedy", "min_p"], "min_p"),
        (["min_p", "greedy"], "greedy"),  # a tie goes by name
        ([], "none"),
    ],
)
def test_the_decoding_is_top_p_or_the_commonest(decodings, chosen):
    models = ["gpt"] * len(decodings) + ["writers"] * 9
    frame = pd.DataFrame({"model": models, "decoding": decodings + ["by hand"] * 9})
    assert loading.choose_decoding(frame, PEOPLE) == chosen
    assert loading.choose_decoding(frame[::-1], PEOPLE) == chosen


def test_the_decoding_asked_for_is_taken_and_must_occur_among_models():
    frame = pd.DataFrame({"model": ["gpt", "gpt", "writers"], "decoding": ["min_p", "top_p", "by hand"]})
    assert loading.choose_decoding(frame, PEOPLE, "min_p") == "min_p"
    with pytest.raises(ValueError, match=r"must be one of \['min_p', 'top_p'\], but 'by hand' was passed"):
        loading.choose_decoding(frame, PEOPLE, "by hand")


def test_texts_that_the_encoder_refused_as_too_long_are_told(study):
    load(study)
    assert study.stamp["cut_note"] == ""
    encoder = LetterCounts()
    encoder.cut = {"a longer river": 7}
    embeddings.embed(["a longer river"], encoder, study.folder / "embeddings")
    load(study)
    assert study.stamp["cut_note"] == "1 text too long for letters: only the beginning is compared."


class TestBeyondTheEncoder:
    """Responses that an encoder does not read to their end are counted."""

    def table(self, lengths):
        return pd.DataFrame({"text": [" ".join(["oak"] * n) for n in lengths], "usable": True})

    def test_long_responses_are_counted_at_the_limit(self):
        found = loading.beyond_encoder(self.table([10, 254, 255, 400]), "minilm")  # two tokens are special
        assert found["encoder_note"] == (
            "2 of 4 responses (50 %) are longer than the 256 tokens that minilm reads: only their beginnings are "
            "compared."
        )

    def test_nothing_is_said_where_nothing_is_cut(self):
        assert loading.beyond_encoder(self.table([10, 254]), "minilm") == {}
        assert loading.beyond_encoder(self.table([400]).assign(usable=False), "minilm") == {}

    def test_every_script_is_measured_in_tokens(self):
        table = pd.DataFrame({"text": [chr(0x6C34) * 300, "a" * 200], "usable": True})
        assert loading.beyond_encoder(table, "minilm")["encoder_note"].startswith("1 of 2 responses (50 %)")


def test_vectors_beside_a_file_are_read_and_others_kept_apart_from_those_of_the_run(study, tmp_path, monkeypatch):
    monkeypatch.setattr(loading.encoders, "load_encoder", lambda name, **options: LetterCounts())
    monkeypatch.setattr(embeddings.encoders, "load_encoder", lambda name, **options: LetterCounts())
    rows = pd.DataFrame(
        {"prompt": "p?", "model": "real", "decoding": "top_p", "response": ["a sea", "an oar", "a sea"]}
    )
    rows.to_parquet(tmp_path / "real.parquet")
    of_run = [path.read_bytes() for path in embeddings.files("letters", study.folder / "embeddings")]
    read = loading.from_file(study, tmp_path / "real.parquet", "letters")
    np.testing.assert_array_equal(read.vectors, LetterCounts().encode(["a sea", "an oar", "a sea"]))
    assert [path.read_bytes() for path in embeddings.files("letters", study.folder / "embeddings")] == of_run

    embeddings.embed(["a sea", "an oar", "more"], LetterCounts(), tmp_path / "embeddings")
    shutil.rmtree(study.folder / "embeddings" / "files")
    again = loading.from_file(study, tmp_path / "real.parquet", "letters")
    np.testing.assert_array_equal(again.vectors, read.vectors)
    assert not (study.folder / "embeddings" / "files").exists()


class Paid(LetterCounts):
    """An encoder that costs money; `n_asked` counts the texts it was sent."""

    library, n_asked = "litellm", 0

    def encode(self, texts):
        Paid.n_asked += len(texts)
        return super().encode(texts)


def test_nothing_is_paid_without_leave_and_the_rest_of_the_notebook_goes_on(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embeddings.encoders, "load_encoder", lambda name, **options: Paid())
    rows = pd.DataFrame({"prompt": "p?", "model": "real", "decoding": "top_p", "response": ["a sea", "an oar"]})
    rows.to_parquet(tmp_path / "real.parquet")
    assert reference.analyse(study, tmp_path / "real.parquet", "letters") is None
    assert "No real responses" in headlines.real_time_metaphor_map(None)

    sets = pd.DataFrame({"set_id": list("aabb"), "label": [0, 0, 1, 1], "context": "p", "response": list("uvwx")})
    values = validity.measured(study, sets, "letters")
    compared = study.apart("written", "a test").write("05_measure_validity", validity.compare(values, study.rng))
    assert compared.empty and values["context"].nunique() == 0
    assert measures.measure_validity(compared) is None
    assert "not embedded" in measure_headlines.measure_validity(compared)
    said = capsys.readouterr().out
    assert "The real responses are left out: 2 texts" in said and "Sets of known content are left out: 4 texts" in said
    assert said.count("`budget_usd` is 0. Set a budget") == 2 and Paid.n_asked == 0

    assert len(validity.measured(study, sets, "letters", may_pay=True)) == 2
    assert len(loading.from_file(study, tmp_path / "real.parquet", "letters", may_pay=True).table) == 2
    assert Paid.n_asked == 6

"""Stored responses as tables, a block of prompts at a time: the same as of all at once."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hivemind_utils.llm import store
from hivemind_utils.responses import arm_cells, arms, design, embeddings, gathering, headlines, loading, results
from hivemind_utils.responses import paraphrases as response_paraphrases
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import blocks, parquet
from hivemind_utils.tables.study import Study

REPOSITORY = Path(__file__).resolve().parents[2]
N_PROMPTS, N = 7, 6
DECODINGS = {"top_p": {"temperature": 1.0, "top_p": 0.9}, "hot": {"temperature": 2.0}}
MODELS = pd.DataFrame({"model": ["m", "n"], "litellm_id": ["hosted_vllm/m", "hosted_vllm/n"], "family": ["f", "g"]})
ARMS = {"default": None, "list_k": {"k": 3}, "in_context": {"k": 2}}


def prompts():
    ids = [f"p{i}" for i in range(N_PROMPTS)]
    own = pd.DataFrame({"prompt_id": ids, "prompt": [f"Question {i}?" for i in range(N_PROMPTS)]})
    own = own.assign(prompt_kind=["closed", *["original"] * (N_PROMPTS - 1)], parent_id=None, category="c")
    other = pd.DataFrame({"prompt_id": ["p3-p1"], "prompt": ["Asked otherwise?"], "prompt_kind": ["paraphrase"],
                          "parent_id": ["p3"], "category": ["c"]})  # fmt: skip
    frame = pd.concat([own, other], ignore_index=True).assign(open_endedness=0.5, language="en", many_answers=np.nan)
    return frame[design.response_prompts.PROMPT_COLUMNS]


def reply(request, i, rng):
    """A reply of some kind: plain, a repetition, empty, cut off, with reasoning, a list that is short or long."""
    if "<answer>" in request.messages[0]["content"]:
        return " ".join(f"<answer>idea {rng.integers(99)}</answer>" for _ in range(int(rng.integers(6)))), "stop"
    kind = int(rng.integers(6))
    texts = [f"answer {rng.integers(99)} of {request.model}", "the same", "", "cut of", "<think>why</think> so " * 2,
             "and on and on " * 12]  # fmt: skip
    return texts[kind], "length" if kind == 3 else "stop"


def fill(path, requests, rng):
    call = {"seed": 1, "effective": "{}", "system_fingerprint": None, "attempts": 1, "latency_s": 1.0,
            "prompt_tokens": 3, "completion_tokens": 2, "reasoning_tokens": None, "cost_usd": 0.25,
            "answered_at": "2026-01-01", "litellm_version": "1"}  # fmt: skip
    held = store.held(path)
    with store.Store(path) as opened:
        for request in requests:
            numbers = [i for i in range(request.sample_idx, request.sample_idx + request.n)
                       if i not in held.get(request.key, ()) and rng.random() > 0.15]  # fmt: skip
            opened.remember(request.key, request.model, None, request.messages, request.parameters)
            served = request.model.partition("/")[2] if rng.random() > 0.1 else "another-model"
            for i in numbers:
                text, why = reply(request, i, rng)
                row = {"sample_idx": i, "text": text, "finish_reason": why, "outcome": "answer", "logprobs": None}
                opened.add(call | {"key": request.key, "n": 1, "served_model": served}, [row])


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("store") / "04.sqlite", np.random.default_rng(3)
    read = arms.read(ARMS)
    frame = design.cells(prompts(), MODELS, DECODINGS, N, n_paraphrase_samples=4, per_call=4, arms=read)
    lacking = frame["prompt_id"].eq("p5") | frame[["prompt_id", "decoding"]].eq(["p2", "hot"]).all(axis=1)
    fill(path, frame["request"][~lacking], rng)  # nobody answered p5 yet, or p2 when hot
    fill(path, arm_cells.turns(frame[~lacking], read, path)["request"], rng)
    return design.Plan(
        source="sampled", origin="a test", cells=frame, given=pd.DataFrame(), models=MODELS,
        prompts=prompts().rename(columns={"prompt": "text"}), human=[], asking={"store_path": path},
        paraphrases=response_paraphrases.none(), problems=[], arms=read,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reference").symlink_to(REPOSITORY / "data" / "reference")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NOTHING = SimpleNamespace(partial=None)


def tables_of(plan, monkeypatch, block):
    monkeypatch.setattr(gathering, "BLOCK", block)
    found = design.gather(plan, NOTHING)
    assert isinstance(found, pd.DataFrame) == (block > 10_000)
    return design.tables(plan, found), found


@pytest.fixture
def whole(plan, monkeypatch):
    return tables_of(plan, monkeypatch, 1_000_000)[0]


@pytest.mark.parametrize("block", [1, 100, 250])
def test_tables_of_blocks_are_those_of_all_rows(plan, whole, monkeypatch, block):
    made, found = tables_of(plan, monkeypatch, block)
    assert 1 < len(list(found)) <= N_PROMPTS
    assert set(made) == set(whole)
    for profile, tables in (("whole", whole), ("blocks", made)):
        study = Study("04", profile)
        study.comes_from("sampled", "a test")
        response_table.write(study, tables)
    for name in whole:
        first, second = (parquet.path(name, profile) for profile in ("whole", "blocks"))
        one, other = pq.read_table(first), pq.read_table(second)
        if name == "04_provenance":
            one, other = (t.sort_by("response_id") for t in (one, other))
        if name == "04_excluded":  # the rows are counted in the order in which they are read
            one, other = (t.drop_columns("input_row").sort_by("excerpt") for t in (one, other))
        assert one.equals(other, check_metadata=True), name
    groups = [pq.ParquetFile(parquet.path("04_responses", name)).metadata for name in ("whole", "blocks")]
    assert [groups[0].row_group(k).num_rows for k in range(groups[0].num_row_groups)] == [
        groups[1].row_group(k).num_rows for k in range(groups[1].num_row_groups)
    ]
    assert len(whole["04_excluded"]) and whole["04_coverage"]["n_responses"].eq(0).any()


def test_what_is_said_of_blocks_is_what_is_said_of_all_rows(plan, whole, monkeypatch):
    made, found = tables_of(plan, monkeypatch, 100)
    usable = response_table.usable_share(made["04_coverage"])
    assert headlines.responses_there(made, usable) == headlines.responses_there(whole, usable)
    assert results.generated(made, usable) == results.generated(whole, usable)
    assert loading.beyond_encoder(made["04_responses"], Short()) == loading.beyond_encoder(
        whole["04_responses"], Short()
    )
    assert response_table.idea_scope_note(made["04_ideas"], made["04_responses"]) is None
    assert found.head(2)["prompt_id"].tolist() == ["p0", "p0"]
    assert made["04_responses"].head(3)["text"].tolist() == whole["04_responses"].head(3)["text"].tolist()


class Short:
    """Reads three words, and gives a text its numbers of letters."""

    name, library, max_tokens, chunk_size, n_workers = "short", "numpy", 3, 8, 1

    def n_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def encode(self, texts):
        return np.array([[text.count(letter) for letter in "aeiost "] for text in texts], np.float32)


@pytest.mark.parametrize("block", [10, 33])
def test_vectors_of_blocks_are_those_of_all_texts(plan, whole, monkeypatch, tmp_path, block):
    made, _ = tables_of(plan, monkeypatch, 100)
    monkeypatch.setattr(embeddings, "BLOCK", block)
    monkeypatch.setattr(loading.encoders, "load_encoder", lambda name, **_: Short())
    for profile, table in (("whole", whole["04_responses"]), ("blocks", made["04_responses"])):
        loading.embed(Study("04", profile), table, "short", truncate_chars=5, may_pay=False)
    usable = whole["04_responses"].query("usable")["text"]
    for texts in (usable, usable.str.slice(0, 5)):
        ids = texts.map(embeddings.table_ids.text_id)
        first, second = (
            embeddings.read(ids, "short", tmp_path / "data" / profile / "embeddings") for profile in ("whole", "blocks")
        )
        assert np.array_equal(first, second) and np.array_equal(first, Short().encode(texts))
    table = whole["04_responses"]
    assert "0 of them new" in loading.embed(Study("04", "blocks"), table, "short", truncate_chars=5, may_pay=False)


def test_a_store_without_a_response_is_refused(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(gathering, "BLOCK", 10)
    empty = dataclasses.replace(plan, asking={"store_path": tmp_path / "none.sqlite"})
    with pytest.raises(ValueError, match="There are no responses yet"):
        design.gather(empty, NOTHING)


def test_a_table_in_blocks_refuses_what_does_not_fit_and_a_part_that_comes_back():
    made = blocks.Blocks("04_ideas")
    with pytest.raises(ValueError, match="must have the columns"):
        made.append(pd.DataFrame({"response_id": ["a"]}))
    assert len(made) == 0 and made["idea"].empty and made.head().empty
    parquet.write(made, "04_ideas", "mine", {"source": "imported"})
    assert parquet.read("04_ideas", "mine").empty
    for scope in ("p", "q", "p"):
        row = {"response_id": [f"{scope}{len(made)}"], "idea": ["i"], "origin": ["given"], "scope": [scope]}
        made.append(pd.DataFrame(row))
    with pytest.raises(ValueError, match="must follow each other"):
        parquet.write(made, "04_ideas", "mine", {"source": "imported"}, by="scope")
    assert parquet.read("04_ideas", "mine").empty


def test_a_block_without_a_response_is_counted_and_one_such_alone_is_refused(plan, whole):
    facts = {"models": plan.models, "prompts": plan.prompts}
    rows = gathering.Gathered(plan.cells, plan.asking["store_path"], plan.arms).whole()
    lost = rows[rows["prompt_id"] == "p0"].assign(response=None)
    made = gathering.tabulate([lost, rows[rows["prompt_id"] == "p1"]], **facts)
    assert len(made["04_excluded"]) >= len(lost) and set(made["04_prompts"]["prompt_id"]) == {"p1"}
    assert made["04_excluded"]["input_row"].is_unique and len(made["04_provenance"]) == len(made["04_responses"])
    with pytest.raises(ValueError, match=r"None of .* rows is a response"):
        gathering.tabulate([lost], **facts)

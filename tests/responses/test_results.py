"""Numbers that the claims quote: those of the paper's models alone, in a run of more."""

import numpy as np
import pandas as pd
import pytest
from some_responses import responses_of

from hivemind_utils.responses import homogeneity, repetition, results
from hivemind_utils.tables import paper


@pytest.fixture
def three_models(monkeypatch):
    """Four prompts, three models, of which the paper has two."""
    monkeypatch.setattr(paper, "main_models", lambda: {"gpt", "llama"})
    rows = [(f"p{p}", m, m, k) for p in range(4) for m in ("gpt", "llama", "other") for k in range(3)]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "arm", "sample_idx"])
    table = table.assign(condition="default", decoding="top_p")
    table["text"] = [f"answer {k} of {m}" for _, m, _, k in rows]
    table["response_id"] = [f"{i:03}" for i in range(len(rows))]
    vectors = np.random.default_rng(0).normal(size=(len(rows), 4)).astype(np.float32) + 0.8
    return responses_of(table, vectors)


def test_pairs_of_the_papers_models_are_those_of_a_run_without_the_others(three_models):
    own = three_models.where(three_models.table["model"] != "other")
    found = results._pairs_of_main25(three_models, 4)["main25"]
    nearest = found.pop("nearest_sources")
    assert found == results._pair_numbers(own, homogeneity.model_pairs(own), homogeneity.blocks(own))
    assert set(nearest) == {1, 2, 3, 4} and nearest[4]["n_sources"] <= 2
    assert {found["lowest_pair"]["arm_a"], found["lowest_pair"]["arm_b"]} == {"gpt", "llama"}
    assert results._pairs_of_main25(own, 4) == {}  # they are all there is


def test_repetition_of_the_papers_models_is_theirs_alone(three_models):
    cells = repetition.cell_means(three_models, three_models.vectors)
    found = results._repetition_of_main25(three_models, cells, [0.5])["main25"]
    ((decoding, share),) = found["share_of_prompts_at_least"]["0.5"].items()
    two = cells.reset_index()
    two = two[two["model"] != "other"]
    assert share["share"] == pytest.approx((two["mean_cosine"] >= 0.5).mean())
    bars = found["average_bins"][decoding].values()
    assert sum(bar["percent"] for bar in bars) == pytest.approx(100)


def test_a_run_without_some_of_them_has_no_such_numbers(three_models, monkeypatch):
    monkeypatch.setattr(paper, "main_models", lambda: {"gpt", "absent"})
    cells = repetition.cell_means(three_models, three_models.vectors)
    assert results._pairs_of_main25(three_models, 4) == results._repetition_of_main25(three_models, cells, [0.8]) == {}

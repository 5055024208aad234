"""What the claims quote is among the results of notebooks 05 and 06."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from some_responses import prompts_of, responses_of

from hivemind_utils.pipeline.claims import _first
from hivemind_utils.responses import homogeneity, repetition, results
from hivemind_utils.tables import parquet
from hivemind_utils.tables.paper import claims

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
STATED = claims()
KINDS = {"p1": "original", "p2": "original", "p3": "closed", "p4": "paraphrase"}


def collected(models=("gpt", "llama", "writers"), kinds=KINDS, decodings=("min_p", "top_p"), n=4):
    """Responses to every prompt of every model under every decoding."""
    rows = [
        (p, m, "default", "none" if m == "writers" else d, k)
        for p in kinds
        for m in models
        for d in (decodings if m != "writers" else ["none"])
        for k in range(n)
    ]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "condition", "decoding", "sample_idx"])
    table["response_id"] = ["-".join(map(str, row)) for row in rows]
    table["text"] = [f"word {k} of {m} to {p}" for p, m, _, _, k in rows]
    vectors = np.random.default_rng(0).normal(size=(len(rows), 5)).astype(np.float32) + 1
    parents = {"p4": "p1"} if "p4" in kinds else {}
    prompts = prompts_of(kinds, parents)
    prompts["many_answers"] = (np.arange(len(prompts)) % 2).astype(float)
    return responses_of(table, vectors, prompts=prompts)


def intra(responses):
    rng, ideas = np.random.default_rng(0), pd.DataFrame({"response_id": [], "idea": []}, dtype=object)
    cells = repetition.cell_means(responses, responses.vectors)
    table = repetition.cell_measures(responses, cells, 0.8, 2, 2, rng)
    originals = repetition.originals(table, responses)
    arms = repetition.arm_means(originals)
    return results.intra_model(
        responses,
        cells,
        arms,
        {level: repetition.share_at_least(originals, responses.people, level) for level in (0.8, 0.7)},
        repetition.references(responses, 0.8, 100, rng),
        repetition.both_readings(responses, originals),
        repetition.rank_agreement(repetition.by_arm(arms)),
        repetition.rarefaction(responses, ideas),
        repetition.paraphrase_means(repetition.paraphrases(responses)),
        repetition.by_prompt(table, responses),
        repetition.with_facts(arms, repetition.main_decoding(originals, responses.people), responses),
    )


def inter(responses):
    originals = responses.where((responses.table["decoding"] != "min_p") & (responses.table["prompt_id"] <= "p2"))
    pairs, blocks = homogeneity.model_pairs(originals), homogeneity.blocks(originals)
    curve = homogeneity.neighbour_curve(homogeneity.neighbours(originals.models_only(), 3))
    overlaps, shares = homogeneity.overlaps(originals.models_only(), 3, 5, 2)
    pools = homogeneity.pools(originals, [1, 2, 3], 2, np.random.default_rng(0))
    families = homogeneity.family_blocks(originals)
    return results.inter_model(originals, pairs, blocks, families, curve, overlaps, shares, pools)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(REFERENCE, tmp_path / "data" / "reference")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(numbers, project):
    parquet.write_results(numbers, "05", "mine")
    return json.loads((project / "results" / "mine" / "05.json").read_text())


def claimed(number):
    """Places of a notebook's results that the claims quote: alternatives, of which one must be there."""
    of = STATED[STATED["result"].str.startswith(f"{number}:")]
    places = [*of["result"].str.removeprefix(f"{number}:"), *of["minus"]]
    return sorted({place for place in places if place})


def test_what_the_claims_quote_of_notebook_05_is_there(project):
    numbers = written(intra(collected()), project)
    places = claimed("05")
    assert len(places) > 10
    for place in places:
        assert isinstance(_first(numbers, place)[0], float | None), place
    share = numbers["share_of_prompts_at_least"]["0.8"]["top_p"]
    assert 100 * share["share"] == pytest.approx(numbers["percent_of_prompts_at_least_0.8"]["top_p"])
    assert share["lower"] <= share["share"] <= share["upper"]
    parts = numbers["paraphrases"]
    assert parts["drop"] == pytest.approx(parts["within"] - parts["across"])


def test_one_model_and_one_prompt_have_numbers_too(project):
    numbers = written(intra(collected(["gpt"], {"p1": "original"}, ["as given"])), project)
    assert numbers["paraphrases"] == {} and numbers["open_endedness_rank_correlation"] is None
    assert numbers["share_of_prompts_at_least"]["0.8"]["as given"]["lower"] is None
    assert numbers["models"] == ["gpt"] and numbers["n_cells"] == 1


def test_numbers_of_notebook_06(project):
    numbers = written(inter(collected()), project)
    assert numbers["models"] == ["gpt", "llama"] and numbers["n_prompts"] == 2
    assert numbers["lowest_pair"] == numbers["highest_pair"], "two models are one pair"
    assert set(numbers["pairs"]) == {"gpt × llama"}
    assert {row["block"] for row in numbers["blocks"]} >= {"same model", "different models", "people and models"}
    assert set(numbers["nearest_sources"]) == {"1", "2", "3"}

"""Notebooks 04–07 on answers that other people collected; needs $HIVEMIND_REAL_DATA."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from hivemind_utils.metrics import clustering

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]


def run(project, name, body):
    (project.folder / f"{name}.yaml").write_text(body)
    project.make("figures", f"PROFILE={name}.yaml")
    return project.folder / "data" / name, project.folder / "results" / name


def test_noveltybench_people_are_less_alike_than_models(make_project):
    folder = Path(REAL).resolve() / "noveltybench"
    wanted = [f"curated-{n}" for n in range(0, 100, 10)]
    data, results = run(
        make_project(),
        "noveltybench",
        "common: {run: ['04', '05', '06', '07'], n_draws: 5}\n"
        f"04_generate:\n  answers_path: {folder / 'curated_responses.parquet'}\n"
        "  columns: {condition: mode, idea: partition}\n"
        "  idea_scope: [prompt_id, model, condition]\n"
        "  human: [human]\n"
        f"  prompts_path: {folder / 'curated.jsonl'}\n"
        "  prompt_columns: {prompt_id: id}\n"
        f"  prompts: {wanted}\n"
        "06_inter_model: {people_as_source: true}\n",
    )
    answers = pd.read_parquet(data / "04_responses.parquet")
    assert answers.groupby(["model", "condition"]).size().to_dict() == {
        ("gemini-1.5-pro", "default"): 100, ("human", "default"): 80,
        **{("gpt-4o-2024-11-20", mode): 100 for mode in ("default", "in-context", "paraphrase", "system-prompt")},
    }  # fmt: skip
    assert len(pd.read_parquet(data / "04_ideas.parquet")) == len(answers)
    assert pd.read_parquet(data / "04_prompts.parquet")["category"].notna().all()
    arms = pd.read_parquet(data / "05_arms.parquet").set_index(["model", "condition", "measure"])
    for measure in ("mean_cosine_equal_n", "mean_tfidf"):
        people = arms.loc[("human", "default", measure), "upper"]
        for model in ("gemini-1.5-pro", "gpt-4o-2024-11-20"):
            assert people < arms.loc[(model, "default", measure), "lower"]
    blocks = {b["block"]: b for b in json.loads((results / "06.json").read_text())["blocks"]}
    assert blocks["people and models"]["upper"] < blocks["same model"]["lower"]
    found = json.loads((results / "07.json").read_text())
    floors = found["floors"]
    assert floors["ideas"] == "given"
    order = (
        "different prompts",
        "same prompt, different idea",
        "same prompt, ideas compared",
        "same prompt, same idea",
    )
    shares = [floors[kind]["share_above"] for kind in order]
    assert shares == sorted(shares) and floors["people"]["share_above"] < shares[2] and floors["ratio"] > 1
    assert set(pd.read_parquet(data / "07_ideas.parquet")["origin"]) == {"given", "lexical"}  # no simulated judge
    agreed = {(a["labels"], a["reference"], a["measure"]): a for a in found["agreement"]}
    assert agreed["modes", "given", "auc"]["lower"] > 0.6  # answers of one class are nearer, in the encoder's eyes
    assert agreed["modes", "given", "adjusted_rand"]["mean"] >= 0.22
    dominant = {d["arm"]: d["dominant_share"] for d in found["dominance"] if d["ideas"] == "given"}
    assert dominant["human"] < dominant["gemini-1.5-pro"]


def test_jokegpt_collapse_runs_through_without_other_models(make_project):
    path = Path(REAL).resolve() / "jokegpt" / "responses.parquet"
    data, results = run(
        make_project(),
        "jokegpt",
        f"common: {{run: ['04', '05', '06', '07'], n_draws: 5}}\n04_generate: {{answers_path: {path}}}\n",
    )
    coverage = pd.read_parquet(data / "04_coverage.parquet")
    assert coverage["n_responses"].tolist() == [1011] and coverage["n_repeated"].tolist() == [1011 - 118]
    repetition = pd.read_parquet(data / "05_repetition.parquet")
    assert repetition["n"].tolist() == [1011] and repetition["duplicate_share"].item() > 0.85
    assert json.loads((results / "06.json").read_text())["models_needed"] is None
    found = json.loads((results / "07.json").read_text())["shown"]
    assert (found["n_responses"], found["n_distinct"]) == (1011, 118)
    assert found["n_supported"] <= found["n_modes"] and found["n_repeated_texts"] > 0
    modes = pd.read_parquet(data / "07_modes.parquet")
    alone = modes[modes["n_texts"] == 1]  # a joke told often is a mode; no dense region made of copies
    assert len(alone) and alone["supported"].all() and (alone["size"] >= clustering.smallest_mode(1011)).all()
    placed = pd.read_parquet(data / "07_map.parquet")
    assert len(placed) == 1011 and placed[["x", "y", "pc_1", "pc_2"]].notna().all().all()

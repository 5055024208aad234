"""Notebook 10 on arms that other people asked (NoveltyBench); needs $HIVEMIND_REAL_DATA."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]
GPT = "gpt-4o-2024-11-20"
PROFILE = """
common: {{run: ["04", "10"]}}
04_generate:
  answers_path: {folder}/curated_responses.parquet
  columns: {{condition: mode, idea: partition, quality: generation_score}}
  idea_scope: [prompt_id, model, condition]
  human: [human]
  prompts_path: {folder}/curated.jsonl
  prompt_columns: {{prompt_id: id}}
  arms:
    default:
    paraphrase: {{comparator: default}}
    system-prompt: {{comparator: default}}
    in-context: {{comparator: default, chain: true, k: 10}}
10_interventions:
  models: [{gpt}, human, gemini-1.5-pro]
"""


@pytest.fixture(scope="module")
def found(make_project):
    folder, project = Path(REAL).resolve() / "noveltybench", make_project()
    (project.folder / "arms.yaml").write_text(PROFILE.format(folder=folder, gpt=GPT))
    project.make("figures", "PROFILE=arms.yaml")
    tables = {path.stem: pd.read_parquet(path) for path in (project.folder / "data" / "arms").glob("10_*.parquet")}
    assert (project.folder / "figures" / "arms" / "frontier.png").exists()
    return tables, json.loads((project.folder / "results" / "arms" / "10.json").read_text())


@pytest.mark.parametrize(
    ("model", "condition", "measure", "mean"),
    [
        (GPT, "default", "diversity", 1 - 0.813613),
        (GPT, "system-prompt", "diversity", 1 - 0.619761),
        ("human", "default", "diversity", 1 - 0.353607),
        (GPT, "paraphrase", "ideas", 3.897910),
        (GPT, "in-context", "ideas", 6.206812),
        ("gemini-1.5-pro", "default", "ideas", 1.554043),
    ],
)
def test_means_of_arms(found, model, condition, measure, mean):
    arms = found[0]["10_arms"].set_index(["model", "condition", "measure"])
    row = arms.loc[(model, condition, measure)]
    assert row["mean"] == pytest.approx(mean, abs=1e-4) and row["lower"] < mean < row["upper"]
    assert row["n_prompts"] == 100


def test_what_may_be_said_without_a_placebo_closed_prompts_or_a_ladder(found):
    tables, results = found
    statements = tables["10_statements"]
    assert set(statements["model"]) == {GPT} and len(statements) == 3 * 4
    assert (statements["decision"] == "inconclusive").all()
    raised = statements[statements["statement"] == "raises diversity"]
    assert raised["fails"].tolist() == ["there are no closed-ended prompts as a control"] * 3
    assert (statements.loc[statements["statement"].str.startswith("costs"), "fails"] == "no tokens are known").all()
    beats = statements[statements["statement"] == "beats hotter sampling"]
    assert (beats["fails"] == "the ladder has 1 rungs, 3 are needed").all()
    change = tables["10_contrasts"].query("prompts == 'open-ended'")
    assert (change[change["measure"].isin(["ideas", "diversity"])]["lower"] > 0).all()
    assert results["scorers"] == ["the column `quality`"] and tables["10_costs"].empty
    shares = tables["10_frontier"].set_index(["measure", "condition"])["share_on_frontier"]
    assert shares["ideas"]["in-context"] > 0.9 and shares.between(0, 1).all()

"""Notebook 04 asks models over HTTP, headlessly: a refused key, a partial study, its completion."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from server import Fault, serving

from hivemind_utils.tables import parquet

CANARY = "canary-51d2e84b607f3a9c"
PROFILE = """
common: {{run: ['04', '05'], n_draws: 2}}
04_generate:
  answers_path: null
  prompts_path: prompts.csv
  models_path: data/reference/models.csv
  models: [openai/a, openai/b, openai/c]
  api_bases: {{openai/a: {url}, openai/b: {url}, openai/c: {url}}}
  prices: {{openai/a: [0, 1], openai/b: [0, 1], openai/c: [0, 1]}}
  n_samples: 4
  budget_usd: {budget}
  decodings: {{top_p: {{temperature: 1.0, top_p: 0.9, max_tokens: 64}}}}
"""


def run(project, *arguments):
    command = [sys.executable, "-m", "hivemind_utils.pipeline.run", *arguments, "--profile", "mine.yaml"]
    environment = os.environ | {"PYTHONPATH": str(project.folder)}
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_refused_key_makes_a_partial_study_that_says_so_everywhere_and_can_be_completed(make_project, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    project = make_project()
    project.folder.joinpath("prompts.csv").write_text("text,prompt_kind\nName a tree.,original\nName a sea.,original\n")
    registry = project.folder / "data" / "reference" / "models.csv"
    registry.parent.mkdir(exist_ok=True)
    registry.write_text("model,litellm_id\nother,openai/other\n")
    with serving() as server:
        (project.folder / "mine.yaml").write_text(PROFILE.format(url=server.url, budget=0))
        refused = project.make("04", "PROFILE=mine.yaml", check=False)
        assert refused.returncode and "`budget_usd` is 0" in refused.stderr and not server.received

        server.fault = lambda body, number: Fault(401, f"bad key {CANARY}") if body["model"] == "b" else None
        server.answer = lambda body, number: [
            f"thing {number} {i} of {body['model']}" for i in range(body.get("n") or 1)
        ]
        (project.folder / "mine.yaml").write_text(PROFILE.format(url=server.url, budget=1))
        done = project.make("figures", "PROFILE=mine.yaml")
        assert done.stderr.count("PARTIAL") == 2 and "openai/b lacks 8 (status 401" in done.stderr
        monkeypatch.chdir(project.folder)
        answers = parquet.read("04_responses", "mine")
        assert answers.groupby("model").size().to_dict() == {"openai/a": 8, "openai/c": 8}
        plan = parquet.read("04_plan", "mine").set_index("model")
        assert plan["missing"].to_dict() == {"openai/a": 0, "openai/b": 8, "openai/c": 0}
        assert "openai/b lacks 8" in parquet.stamp("05_repetition", "mine")["partial"]  # which every figure prints
        for number in ("04", "05"):
            manifest = json.loads((project.folder / "executed" / "mine" / f"{number}.manifest.json").read_text())
            assert "openai/b lacks 8 (status 401" in manifest["partial"]
        written = [path for path in project.folder.rglob("*") if path.is_file()]
        assert not [path for path in written if CANARY.encode() in path.read_bytes()]
        assert CANARY not in done.stdout + done.stderr
        assert run(project, "--partial").returncode == 3  # what STRICT=--strict asks where nothing has to run again

        server.fault, before = lambda body, number: None, len(server.received)
        assert run(project, "04_generate", "--strict").returncode == 0
        assert {body["model"] for body in server.bodies()[before:]} == {"b"} and len(server.received) - before == 2
    assert len(parquet.read("04_responses", "mine")) == 24
    provenance = pd.read_parquet(project.folder / "data" / "mine" / "04_provenance.parquet")
    assert provenance["served_model"].isin(["a", "b", "c"]).all() and provenance["cost_usd"].gt(0).all()

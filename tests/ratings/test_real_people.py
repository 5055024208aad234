"""Notebooks 08 and 09 on labels and scores that other people collected; needs $HIVEMIND_REAL_DATA."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hivemind_utils.metrics import subsets as subsets_metrics
from hivemind_utils.ratings import calibration, scores
from hivemind_utils.ratings import labels as rating_labels

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]


@pytest.fixture(scope="module")
def hanna():
    folder = Path(REAL) / "hanna"
    long = rating_labels.read(
        folder / "ratings_long.parquet",
        columns={"annotator": "rater", "label": "rating"},
        where={"criterion": "engagement"},
    )
    labels, items, _ = rating_labels.tabulate(long, "absolute", [1, 2, 3, 4, 5])
    values, _, _ = rating_labels.matrix(labels, items)
    items = rating_labels.describe(items, values, [1, 2, 3, 4, 5], "interval", 100 / 3)
    columns = {"scorer": "scorer+prompt_variant", "kind": "scorer_kind"}
    given = scores.read(folder / "scores_long.parquet", columns=columns, where={"criterion": ["engagement", "any"]})
    table, excluded = scores.match(given, items, "import")
    assert excluded.empty
    return items, values, *scores.wide(table, items)


def test_hanna_gives_the_known_correlations(hanna):
    items, _, scorers, wide = hanna
    first = scorers["scorer"].tolist().index("ChatGPT · 1")
    subsets = {"all": items["mean"] > 0, "agree": items["sd"] == 0, "disagree": items["sd"] >= 1.15}
    assert subsets["disagree"].sum() == 404
    for name, known in (("all", 0.409), ("agree", 0.605), ("disagree", 0.366)):
        at = subsets[name].to_numpy()
        assert spearmanr(wide[first, at], items["mean"][at]).statistic == pytest.approx(known, abs=5e-4)


def test_hanna_gives_the_known_correlations_of_the_mean_of_four_prompts(hanna):
    items, _, scorers, wide = hanna
    mean = wide[scorers["scorer"].str.startswith("ChatGPT ·").to_numpy()].mean(0)
    subsets = {"all": items["mean"] > 0, "agree": items["sd"] == 0, "disagree": items["sd"] >= 1.15}
    for name, known in (("all", 0.358), ("agree", 0.503), ("disagree", 0.315)):
        at = subsets[name].to_numpy()
        assert spearmanr(mean[at], items["mean"][at]).statistic == pytest.approx(known, abs=6e-4)


def test_on_hanna_range_restriction_explains_the_drop(hanna):
    items, values, scorers, wide = hanna
    rules = [rule for rule in subsets_metrics.absolute_rules() if rule.family in ("full", "primary")]
    found = calibration.study(items, values, scorers, wide, rules, n_boot=200, n_null=100, rng=np.random.default_rng(0))
    table = calibration.calibration_table(found, n_permutations=20, n_boot=20, rng=np.random.default_rng(1))
    row = table[(table["scorer"] == "ChatGPT · 1") & (table["rule"] == calibration.PRIMARY)].iloc[0]
    assert row["rho"] == pytest.approx(0.328, abs=1e-3)
    assert row["null_lower"] < row["rho"] < row["null_upper"] < 0.45
    verdicts = calibration.verdict_table(found)
    assert set(verdicts["verdict"]) <= {"acquitted", "undecided"}
    assert verdicts.set_index("scorer").loc["ChatGPT · 1", "verdict"] == "acquitted"


@pytest.mark.long
def test_pandalm_runs_through_both_notebooks(make_project):
    project, path = make_project(), Path(REAL).resolve() / "pandalm" / "pairwise.parquet"
    (project.folder / "pandalm.yaml").write_text(
        f"""common: {{run: ["08", "09"], n_boot: 50}}
08_human_preferences:
  ratings_path: null
  pairs_path: {path}
  pairs_columns: {{item_id: idx, prompt_id: instruction, prompt: input, response_1: response1, response_2: response2}}
  pairs_label_columns: ["annotator*"]
  pairs_scale: [-1, 0, 1]
  pairs_values: {{"1": 1, "2": -1, "0": 0}}
  pool_path: null
  n_splits: 5
09_judge_calibration:
  scores_path: {path}
  scores_columns: {{item_id: idx}}
  score_columns: [gpt_result, pandalm_result]
  scores_values: {{"1": 1, "2": -1, "0": 0, "Tie": 0}}
  scores_kinds: {{gpt_result: judge, pandalm_result: judge}}
  judges: []
  pool_path: null
  n_null: 20
"""
    )
    project.make("figures", "PROFILE=pandalm.yaml")
    people, graders = (json.loads((project.folder / f"results/pandalm/{n}.json").read_text()) for n in ("08", "09"))
    assert people["pairs"] | {} == {"n_items": 999, "n_labels": 2_997}
    assert people["unanimous_ties"] == 85
    assert people["agreement"]["pairs"]["alpha_nominal"]["value"] == pytest.approx(0.864, abs=1e-3)
    assert graders["n_excluded"] == {"not a number": 25}  # the verdicts that were garbage
    verdicts = pd.read_parquet(project.folder / "data" / "pandalm" / "09_verdicts.parquet").set_index("scorer")
    assert verdicts["n"].max() == 120  # the pairs with any disagreement
    assert verdicts.loc["gpt_result", "n"] == 114  # garbage verdicts are no scores
    assert verdicts.loc["gpt_result", "rho_full"] == pytest.approx(0.590, abs=1e-3)

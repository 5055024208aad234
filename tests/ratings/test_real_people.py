"""Notebooks 08 and 09 on labels and scores that other people collected; needs $HIVEMIND_REAL_DATA."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.ratings import loading, scores, verdicts

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]
SCALE = [1, 2, 3, 4, 5]


def hanna_of(criterion):
    folder = Path(REAL) / "hanna"
    long = rating_labels.read(
        folder / "ratings_long.parquet",
        columns={"annotator": "rater", "label": "rating"},
        where={"criterion": criterion},
    )
    labels, items, _ = rating_labels.tabulate(long, "absolute", SCALE)
    values, persons, names = rating_labels.matrix(labels, items)
    table = rating_labels.describe(items, values, SCALE, "interval")
    annotated = loading.AnnotatedItems("absolute", table, values, persons, names, SCALE, "interval")
    columns = {"scorer": "scorer+prompt_variant", "scorer_type": "scorer_kind"}
    given = scores.read(folder / "scores_long.parquet", columns=columns, where={"criterion": [criterion, "any"]})
    found, excluded = scores.match(given, table, "import")
    assert excluded.empty
    scorers, wide = scores.wide(found, table)
    return scores.Scored(annotated, scorers, wide, {})


@pytest.fixture(scope="module")
def hanna():
    return hanna_of("engagement")


def test_hanna_gives_the_known_correlations(hanna):
    items, first = hanna.items.table, hanna.scorers["scorer"].tolist().index("ChatGPT · 1")
    subsets = {"all": items["mean"] > 0, "agree": items["sd"] == 0, "disagree": items["sd"] >= 1.15}
    assert subsets["disagree"].sum() == 404
    for name, known in (("all", 0.409), ("agree", 0.605), ("disagree", 0.366)):
        at = subsets[name].to_numpy()
        assert spearmanr(hanna.scores[first, at], items["mean"][at]).statistic == pytest.approx(known, abs=5e-4)


def test_hanna_gives_the_known_correlations_of_the_mean_of_four_prompts(hanna):
    items = hanna.items.table
    mean = hanna.scores[hanna.scorers["scorer"].str.startswith("ChatGPT ·").to_numpy()].mean(0)
    subsets = {"all": items["mean"] > 0, "agree": items["sd"] == 0, "disagree": items["sd"] >= 1.15}
    for name, known in (("all", 0.358), ("agree", 0.503), ("disagree", 0.315)):
        at = subsets[name].to_numpy()
        assert spearmanr(mean[at], items["mean"][at]).statistic == pytest.approx(known, abs=6e-4)


def test_on_hanna_no_judge_degrades(hanna):
    table = verdicts.judge({"absolute": hanna}).table
    print(table.loc[table["level"] == "kind", ["scorer_type", "share", "effective_size", "kept", "verdict", "reason"]])
    print(table.loc[table["level"] == "scorer", "verdict"].value_counts().to_dict())
    assert not table["verdict"].str.startswith("degrades").any()
    row = table.set_index("scorer").loc["ChatGPT · 1"]
    assert row["rho_full"] == pytest.approx(0.409, abs=1e-3) and row["verdict"] == "holds up"


def test_three_raters_are_not_testable_where_they_agree_too_seldom():
    part = hanna_of("coherence")
    table = verdicts.judge({"absolute": part}).table
    assert part.items.contested.name == "most contested 55 %"
    assert set(table["verdict"]) == {"not testable"} and table["reason"].str.contains("55 %").all()


@pytest.mark.parametrize("name", ["990", "350_crowdsourced"])
def test_people_as_scorers_of_other_people_hold_up_and_shuffled_ones_degrade(name):
    """Twelve panels of 25 people against another 25, through the tables of notebook 09."""
    long = pd.read_parquet(Path(REAL) / "dices" / f"dices_{name}_ratings.parquet")
    long["value"] = long["label"].map({"No": 0.0, "Unsure": 1.0, "Yes": 2.0})
    wide = long.pivot(index="item_id", columns="rater_idx", values="value").to_numpy()
    words = []
    for rng in np.random.default_rng(3).spawn(12):
        order = np.argsort(np.where(np.isnan(wide), np.inf, rng.random(wide.shape)), axis=1)
        shuffled_columns = np.take_along_axis(wide, order, axis=1)
        people, others = shuffled_columns[:, :25], shuffled_columns[:, 25:50]
        ids = [f"i{i}" for i in range(len(wide))]
        items = pd.DataFrame({"item_id": ids, "prompt_id": ids, "items": "absolute"})
        table = rating_labels.describe(items, people, [0, 1, 2], "interval")
        annotated = loading.AnnotatedItems("absolute", table, people, None, [], [0, 1, 2], "interval")
        score = others.mean(1)
        blind = score.copy()
        blind[annotated.contested.mask] = rng.permutation(blind[annotated.contested.mask])
        rows = np.stack([score, np.round(score), blind])
        named = pd.DataFrame(
            {"scorer": ["people", "rounded", "shuffled"], "scorer_type": ["people", "rounded", "shuffled"]}
        )
        found = verdicts.judge({"absolute": scores.Scored(annotated, named, rows, {})}).table
        words.append(found[found["level"] == "kind"].set_index("scorer_type")["verdict"])
    counts = pd.DataFrame(words).apply(lambda column: column.value_counts()).fillna(0).T
    print(f"DICES-{name}\n{counts}")
    assert (counts.loc["people", "holds up"], counts.loc["shuffled", "degrades"]) == (12, 12)
    degrading = [word for word in counts if word.startswith("degrades")]
    assert counts.loc[["people", "rounded"], degrading].to_numpy().sum() <= 1


@pytest.mark.long
def test_pandalm_runs_through_both_notebooks(make_project):
    project, path = make_project(), Path(REAL).resolve() / "pandalm" / "pairwise.parquet"
    (project.folder / "pandalm.yaml").write_text(
        f"""common: {{run: ["08", "09"]}}
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
    assert people["pairs"] | {} == {"n_items": 998, "n_labels": 2_994}  # one instruction is a space: no prompt_id
    assert people["unanimous_ties"] == 85
    assert people["agreement"]["pairs"]["alpha_nominal"]["value"] == pytest.approx(0.864, abs=1e-3)
    # the verdicts that were garbage, and two of the pair left out
    assert graders["n_excluded"] == {"not a number": 25, "no such item": 2}
    table = pd.read_parquet(project.folder / "data" / "pandalm" / "09_verdicts.parquet").set_index("scorer")
    print(table[["n", "share", "effective_size", "kept", "verdict", "reason"]])
    assert table["n"].max() == 120  # the pairs with any disagreement
    assert table.loc["gpt_result", "n"] == 114  # garbage verdicts are no scores
    assert set(table["verdict"]) == {"not testable"}  # 12 % of the pairs, not 20 to 50
    bars = pd.read_parquet(project.folder / "data" / "pandalm" / "09_calibration.parquet")
    full = bars[bars["rule"] == "full"].set_index("scorer")["rho"]
    assert full["gpt_result"] == pytest.approx(0.590, abs=1e-3)

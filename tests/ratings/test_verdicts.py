"""Verdicts of notebook 09: what was planted, both Holm families, the band, and what cannot be tested."""

from dataclasses import replace

import numpy as np
import pandas as pd

from hivemind_utils.metrics import subsets
from hivemind_utils.ratings import calibration, headlines, loading, results, scores, verdicts
from hivemind_utils.tables import schema

DEGRADES = ["degrades", "degrades, keeps more than half"]


def scored_by(items, **rows):
    """Items of one type scored by some rows: name to (kind, scores)."""
    scorers = pd.DataFrame({"scorer": list(rows), "scorer_type": [kind for kind, _ in rows.values()]})
    return {items.item_type: scores.Scored(items, scorers, np.stack([row for _, row in rows.values()]), {})}


def test_the_demos_verdicts_are_the_planted_ones(planted):
    words, lost = [], []
    for seed in range(6):
        table = verdicts.judge(planted(seed).scored).table
        schema.validate(table, "09_verdicts")
        scorers = table[(table["items"] == "absolute") & (table["level"] == "scorer")].set_index("scorer")
        assert scorers.loc["steadfast-reward", "verdict"] == "holds up"
        assert (scorers.loc[["fairweather-reward", "steadfast-reward"], "rho_full"] >= 0.6).all()
        words.append(scorers.loc["fairweather-reward", "verdict"])
        lost.append(scorers.loc["fairweather-reward", "upper"] < 0.9)
        kinds = table[(table["items"] == "absolute") & (table["level"] == "kind")].set_index("scorer_type")["verdict"]
        assert not kinds.drop("reward").isin(DEGRADES).any()
        innocent = table[(table["level"] == "scorer") & (table["scorer"] != "fairweather-reward")]
        assert not innocent["verdict"].isin(DEGRADES).any()
    assert all(lost)  # it falls short in every study; said once its kind, two thirds of it innocent, is told to
    assert words.count("degrades") >= 5 and set(words) <= {"degrades", "inconclusive"}


def test_a_dot_lies_below_the_band_exactly_where_the_verdict_is_degrades(planted):
    for seed in range(3):
        table = verdicts.judge(planted(seed).scored).table.dropna(subset=["null_lower"])
        below = table["rho_contested"] < table["null_lower"]
        clipped = (table["null_lower"] <= -1) | (table["null_lower"] >= 1)
        assert (below == table["verdict"].isin(DEGRADES))[~clipped].all() and len(table) > 10


def test_text_length_is_a_baseline_without_a_verdict(planted):
    part = planted(0)
    lengths = scores.text_lengths(part.annotations.items)
    table = verdicts.judge(scores.scored(part.annotations, pd.concat([part.table, lengths]))).table
    text = table[table["scorer_type"] == "text"]
    assert set(text["level"]) == {"scorer"} and set(text["verdict"]) == {"not testable"}
    assert text["reason"].str.contains("baseline").all()


def test_relabelling_which_response_is_first_changes_no_verdict(planted, rng):
    part = planted(0).scored["pairs"]
    before = verdicts.judge({"pairs": part}).table
    for _ in range(5):
        sign = rng.choice([-1.0, 1.0], len(part.items))
        table = part.items.table.assign(mean=part.items.means * sign)
        turned = replace(part, items=replace(part.items, table=table), scores=part.scores * sign)
        after = verdicts.judge({"pairs": turned}).table
        numbers = before.select_dtypes("number").columns
        np.testing.assert_allclose(after[numbers], before[numbers], atol=1e-9)
        assert after["verdict"].tolist() == before["verdict"].tolist()


def test_a_scorer_that_runs_against_people_neither_degrades_nor_holds_up(planted, rng):
    items = planted(0).annotations.of("absolute")
    noise = rng.normal(size=len(items))
    against = np.where(items.contested.mask, noise, -items.means)
    table = verdicts.judge(scored_by(items, against=("metric", against), noise=("metric", noise))).table
    assert table.set_index("scorer").loc["against", "rho_full"] < -0.3
    assert set(table["verdict"]) == {"inconclusive"} and table.set_index("scorer").loc["against", "null_lower"] != 0


def test_one_annotator_and_few_prompts_are_not_testable(planted, rng):
    items = planted(0).annotations.of("absolute")
    score = items.means + rng.normal(size=len(items))
    alone = np.where(np.arange(items.values.shape[1]) == 0, np.nan_to_num(items.values, nan=3), np.nan)
    described = loading.rating_labels.describe(
        items.table[["item_id", "items", "prompt_id"]], alone, items.scale, "interval"
    )
    unanimous = replace(items, table=described, values=alone)
    few = items.where(items.prompts < 5)
    for part, reason, said in (
        (unanimous, "disagree equally", "no scorer can be judged on contested ones"),
        (few, "only 5 prompts", "judges are not testable"),
    ):
        table = verdicts.judge(scored_by(part, s=("judge", score[: len(part)]))).table
        assert set(table["verdict"]) == {"not testable"} and table["reason"].str.contains(reason).all()
        assert headlines.verdict(table, "absolute").endswith(said)
        assert np.isnan(verdicts.least_kept(table, "absolute")[1])


def test_a_scorer_of_part_of_the_items_has_a_wider_band(planted):
    part = planted(0).scored["absolute"]
    row = part.scores[part.scorers["scorer"].tolist().index("steadfast-reward")]
    seen = np.where(part.items.prompts < 25, row, np.nan)
    table = verdicts.judge(scored_by(part.items, whole=("reward", row), half=("reward", seen))).table
    scorers = table[table["level"] == "scorer"].set_index("scorer")
    width = scorers["null_upper"] - scorers["null_lower"]
    assert width["half"] > 1.1 * width["whole"] and scorers.loc["half", "n_prompts"] == 25


def test_results_name_kinds_with_their_scorers(planted):
    table = verdicts.judge(planted(0).scored).table
    nested = results.nested_verdicts(table[table["items"] == "absolute"])
    assert nested["reward"]["verdict"] in DEGRADES and nested["reward"]["upper"] < 0.9
    assert nested["reward"]["scorers"]["fairweather-reward"]["verdict"] == "degrades"
    assert results.nested_verdicts(table.head(0)) == {}


def test_the_number_to_take_away_is_that_of_the_kind_that_keeps_least(planted):
    table = verdicts.judge(planted(0).scored).table
    label, value, lower, upper = verdicts.least_kept(table, "absolute")
    kinds = table[(table["items"] == "absolute") & (table["level"] == "kind")]
    assert value == kinds["kept"].min() and lower < value < upper and "reward models" in label
    assert f"{value:.2f} (95 % interval" in headlines.least_kept(label, value, lower, upper)


def test_headlines_say_every_verdict_once(planted):
    table = verdicts.judge(planted(0).scored).table
    title = headlines.calibration_verdict(table, "absolute")
    assert title.startswith("On the most contested 33 % of ratings reward models degrade")
    assert headlines.calibration_contrasts(table, "absolute").startswith(
        "Verdicts of 13 scorers of ratings: degrades: 1;"
    )
    nothing = table.head(0)
    assert headlines.verdict(nothing, "pairs") == "No scorer of pairs can be judged"
    assert headlines.calibration_contrasts(nothing, "pairs") == "No scorer of pairs can be judged"


def test_the_primary_rule_of_the_grids_has_the_verdicts_band(planted, rng):
    part = planted(0)
    judged = verdicts.judge(part.scored)
    grids = calibration.grids(part.scored)
    kinds = calibration.kind_table(grids, judged, calibration.scorer_table(grids, judged, 20, rng), 2, rng)
    at = kinds[(kinds["rule"] == subsets.PRIMARY) & (kinds["items"] == "absolute")].set_index("scorer_type")
    own = judged.table[lambda t: (t["items"] == "absolute") & (t["level"] == "kind")].set_index("scorer_type")
    pd.testing.assert_series_equal(at["null_lower"], own["null_lower"], check_like=True, check_index_type=False)
    below = at["rho"] < at["null_lower"]
    assert (below == own["verdict"].reindex(at.index).isin(DEGRADES)).all()

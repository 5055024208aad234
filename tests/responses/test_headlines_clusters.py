"""Titles and results of notebooks 04 and 07, from small finished tables."""

import json
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics.intervals import Interval
from hivemind_utils.responses import headlines, house_style, results
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import paper, schema


def interval(estimate, lower, upper):
    return Interval(estimate, lower, upper, 0.1, 5)


def modes(**columns):
    known = {"prompt_id": "p", "mode": [0, 1], "size": [6, 4], "share": [0.6, 0.4], "n_texts": 3, "n_models": 2,
             "n_families": 2, "owner": ["oak", "elm"], "owner_share": [0.5, 0.9], "owner_expected": [0.5, 0.3],
             "keyphrases": ["river", "thief"], "exemplar": "r", "exemplar_text": "x", "separation": 0.1,
             "found_again_seeds": 1.0, "found_again_subsamples": 1.0, "word_p": 0.01, "supported": True}  # fmt: skip
    return schema.validate(pd.DataFrame(known | columns), "07_modes").to_pandas()


PROMPT = {"n_responses": 10, "n_modes": 2, "n_supported": 1, "dominant_share": 0.6, "null_modes_max": 1}


class TestModes:
    def test_map(self):
        said = headlines.time_metaphor_map(PROMPT, modes())
        assert said == "1 of 2 modes are stable; the largest, “river”, has 60 % of 10 responses"
        assert headlines.time_metaphor_map(PROMPT, modes().head(0)) == "10 responses, no modes"

    def test_ledger_names_the_mode_most_its_owners_own(self):
        assert headlines.mode_ledger(modes()) == "“thief” is 3.0 times as frequent among responses of elm as among all"
        assert headlines.mode_ledger(modes().head(0)).startswith("No modes")

    def test_overview_and_stability(self):
        prompts = pd.DataFrame([PROMPT, PROMPT | {"n_supported": 0, "n_modes": 1, "dominant_share": 0.2}])
        assert headlines.modes_overview(prompts) == (
            "The largest mode has 40 % of a prompt's responses (median); 1 of 3 modes are stable"
        )
        assert headlines.mode_stability(prompts) == (
            "1 of 2 prompts have no stable mode; for 1, the pipeline finds as many modes in structureless data"
        )
        none = prompts.assign(n_modes=0, n_supported=0, dominant_share=np.nan)
        assert headlines.modes_overview(none) == "No modes in the responses to 2 prompts"

    def test_answer_has_its_interval(self):
        assert headlines.stable_modes(interval(2.23, 0.59, 3.87)).endswith("**2.2 (95 % interval 0.6 to 3.9)**")

    def test_the_prompt_about_time_stands_next_to_the_paper(self):
        stated = paper.Paper()
        said = headlines.time_prompt(PROMPT, stated)
        assert f"1 stable mode {stated('two_clusters')}" in said and "60 % of its responses" in said
        assert headlines.time_prompt(None, stated) == ""


class TestDominance:
    table = pd.DataFrame({"ideas": "modes", "arm": ["a", "b"], "respondent": ["model", "people"], "n": 8,
                          "n_prompts": 3, "dominant_share": [0.5, 0.3], "lower": 0.2, "upper": 0.6})  # fmt: skip

    def test_with_and_without_people(self):
        said = headlines.dominant_ideas(self.table, interval(0.2, -0.05, 0.45))
        assert said == (
            "50 % of 8 responses of a model fall in one stable mode, 30 % of people's; difference: +20 "
            "(95 % interval −5 to +45) percentage points"
        )
        assert "interval" not in headlines.dominant_ideas(self.table, interval(0.2, np.nan, np.nan))
        assert headlines.dominant_ideas(self.table.head(1), None) == (
            "Of 8 responses of a model, 50 % fall in one stable mode"
        )
        given = self.table.assign(ideas="given")
        assert headlines.dominant_ideas(given, None).endswith("50 % share the most common idea")
        assert headlines.dominant_ideas(self.table.tail(1), None).startswith("Of 8 responses of people, 30 %")
        assert headlines.dominant_ideas(self.table.head(0), None).startswith("Too few")

    def test_modes_alone_are_no_ideas_and_house_style_is_told(self):
        control = self.table.assign(ideas=house_style.NAME, dominant_share=[0.125, 0.2])
        said = headlines.dominant_ideas(pd.concat([control, self.table]), None)
        assert said == (
            "Of 8 responses of a model, 50 % fall in one stable mode (12 % without what they all have in common)"
        )
        given = pd.concat([control, self.table, self.table.assign(ideas="given")])
        assert "without" not in headlines.dominant_ideas(given, None)


class TestModesAndLabels:
    def test_given_labels_come_before_the_judges(self):
        table = pd.DataFrame(
            {"labels": ["modes", "modes", "lexical"], "reference": ["judge", "given", "given"],
             "measure": "adjusted_rand", "mean": [0.3, 0.5, 0.9], "lower": np.nan, "upper": np.nan}
        )  # fmt: skip
        assert headlines.modes_and_labels(table) == (
            "Modes agree with the given idea labels by an adjusted Rand index of 0.50 (0: chance, 1: the same)"
        )
        assert "the judge's idea labels by an adjusted Rand index of 0.30" in headlines.modes_and_labels(table[:1])

    def test_without_labels_a_mode_is_no_idea(self):
        none = pd.DataFrame(columns=["labels", "reference", "measure", "mean", "lower", "upper"])
        assert headlines.modes_and_labels(none) == "No idea labels to compare modes with: a mode is not an idea"


class TestFloors:
    floors = pd.DataFrame({"pair_type": ["people", "same prompt, different idea", "same prompt"],
                           "share_above": [0.01, 0.1, 0.25], "lower": 0.0, "upper": 0.3, "n_pairs": 9,
                           "median": 0.5})  # fmt: skip
    excess = MappingProxyType({
        "difference": {"value": 0.1, "lower": 0.0, "upper": 0.2}, "ratio": {"value": 2.0, "lower": 1.5, "upper": 2.5},
    })  # fmt: skip

    def test_the_null_comes_first(self):
        assert headlines.similarity_floors(self.floors, self.excess, 0.8) == (
            "10 % of pairs with different ideas reach a similarity of 0.8, 20 % of all pairs whose ideas compare"
        )

    def test_without_labels_models_or_pairs(self):
        bare = self.floors.drop(1)
        assert headlines.similarity_floors(bare, None, 0.8).startswith("25 % of same-prompt pairs reach")
        assert headlines.similarity_floors(bare.head(1), None, 0.8).startswith("1 % of pairs of people reach")
        assert headlines.similarity_floors(bare.head(0), None, 0.8) == "No prompt has two responses to compare"

    def test_ratio_has_its_interval_and_the_papers_value(self):
        stated = paper.Paper()
        said = headlines.floor_ratio(self.excess, stated)
        assert "2.00 (95 % interval 1.50 to 2.50)" in said and said.endswith(stated("excess"))
        assert headlines.floor_ratio(None, stated) == ""

    @pytest.mark.parametrize(
        ("source", "threshold", "quoted"),
        [("judge", 0.8, True), ("lexical", 0.8, False), ("given", 0.7, False), (None, 0.8, False)],
    )
    def test_the_papers_threshold_is_quoted_for_ideas_by_meaning_only(self, source, threshold, quoted):
        found = results.idea_labels(
            None,
            pd.DataFrame(),
            TestDominance.table,
            interval(0.2, 0.1, 0.3),
            self.floors,
            self.excess,
            source,
            threshold,
        )
        assert (found["floors_at_0.8"] is not None) == quoted
        assert found["floors"]["ratio"] == 2.0 and found["floors"]["lower"] == 1.5
        assert found["floors"]["same prompt"]["share_above"] == 0.25


class TestGenerated:
    def tables(self, **plan):
        rows = pd.DataFrame({"prompt": ["Say."] * 5 + ["Sing."] * 5, "model": ["a", "a", "b", "b", "writers"] * 2,
                             "response": ["x", "x", "", "y", "z"] * 2})  # fmt: skip
        made = response_table.tabulate(rows, human=["writers"])
        counts = {"wanted": [0], "missing": [0], "unsupported": [0]}
        written = pd.DataFrame({"same_meaning": pd.Series([True, None, False], dtype="boolean")})
        return made | {
            "04_plan": pd.DataFrame(counts | plan), "04_provenance": pd.DataFrame({"cost_usd": [0.5, np.nan]}),
            "04_paraphrases": written,
        }  # fmt: skip

    def test_numbers_and_sentences(self):
        tables = self.tables(wanted=[9], missing=[2], unsupported=[1])
        usable = response_table.usable_share(tables["04_coverage"])
        assert usable.estimate == 0.8 and usable.lower == usable.upper == pytest.approx(0.8)
        found = results.generated(tables, usable)
        json.dumps(found, default=float)
        assert (found["n_responses"], found["n_usable"], found["share_empty"]) == (10, 8, 0.2)
        assert found["n_paraphrases"] == {"written": 3, "accepted": 1} and found["cost_usd"] == 0.5
        assert headlines.responses_there(tables, usable) == (
            "**10 responses** of 2 models and people to 2 prompts; usable: **80.0 % (95 % interval 80.0 % to 80.0 %)**"
        )
        assert headlines.not_asked(tables).startswith("9 responses asked of models: 2 are missing, 1 are not to be had")
        assert headlines.not_asked(self.tables()) == ""

    def test_coverage(self):
        shares = response_table.outcome_shares(self.tables()["04_coverage"])
        assert headlines.coverage(shares) == (
            "Of an arm's responses 16.7 % are empty, 0.0 % cut off, 0.0 % refused and 16.7 % repeated word for word "
            "(mean of 3 arms)"
        )
        assert headlines.coverage(shares.head(0)) == "No responses"

    def test_arms_add_up_their_cells(self):
        arms = response_table.arms(self.tables()["04_coverage"]).reset_index().set_index("model")
        assert arms.loc["b", ["prompts", "missing", "n_responses", "n_usable", "smallest", "largest"]].tolist() == [
            2, 0, 4, 2, 1, 1,
        ]  # fmt: skip

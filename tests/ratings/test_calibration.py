"""Tables of notebook 09: merged rules, intervals, the null and the line, kinds, the paper's values, soft labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hivemind_utils.metrics import subsets
from hivemind_utils.ratings import calibration, headlines, loading, published, results, verdicts
from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.ratings import typicality as rating_typicality
from hivemind_utils.tables import schema

ROOT = Path(__file__).resolve().parents[2]
SCALE = [1, 2, 3, 4, 5]


def rated(frame, scale=SCALE):
    labels, items, _ = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", scale)
    values, persons, names = rating_labels.matrix(labels, items)
    table = rating_labels.describe(items, values, scale, "interval")
    return loading.AnnotatedItems("absolute", table, values, persons, names, scale, "interval")


@pytest.fixture(scope="module")
def made(planted):
    part = planted(0)
    scored = part.scored
    grids, judged = calibration.grids(scored), verdicts.judge(scored)
    rows = calibration.scorer_table(grids, judged, 20, np.random.default_rng(0))
    kinds = calibration.kind_table(grids, judged, rows, 3, np.random.default_rng(1))
    return {"scored": scored, "grids": grids, "judged": judged, "rows": rows, "kinds": kinds}


class TestRules:
    def test_equal_subsets_are_merged_within_their_grid(self):
        frame = pd.DataFrame(
            {"user_query": ["q"] * 8, "response": list("abcdefgh"), "human_labels": [[1, 2, 2]] * 4 + [[3] * 3] * 4}
        )
        rules, masks, merged = calibration.distinct_rules(subsets.absolute_rules(), rated(frame))
        names = [rule.name for rule in rules]
        assert merged["entropy 16"] == [f"entropy {q}" for q in (14, 12, 10, 8, 6, 4, 2)]
        assert masks[names.index(subsets.PRIMARY)].sum() == 4

    def test_rules_without_their_statistic_are_left_out(self):
        frame = pd.DataFrame(
            {"user_query": ["q"] * 3, "response": list("abc"), "human_labels": [[1, 2], [3, 3], [1, 3]]}
        )
        all_items = subsets.Rule("full", "full", "all")
        rules, _, _ = calibration.distinct_rules(
            [all_items, *subsets.measure_rules(calibration.MEASURES)], rated(frame, [1, 2, 3])
        )
        assert not any(rule.family == "entropy_grouped_bits" for rule in rules)

    def test_merged_rules_are_said_in_the_caption_and_the_results(self, made):
        assert calibration.equal_subsets(made["grids"], "absolute") == (
            " Equal subsets, drawn once: tukey 3.0 = tukey 2.5 = tukey 2.0."
        )
        assert calibration.equal_subsets({}, "absolute") == ""
        merged = {item_type: grid.merged for item_type, grid in made["grids"].items()}
        nested = results.nested_kinds(made["kinds"], merged)["absolute"]["reward"]
        assert nested["tukey 2.0"]["rho"] == nested["tukey 3.0"]["rho"]
        assert nested["tukey 2.0"]["published"] == pytest.approx(0.293, abs=6e-4)  # its own value is not lost
        assert nested["tukey 3.0"]["published"] == pytest.approx(0.321, abs=6e-4)

    def test_names_for_figures_are_words(self, made):
        words = calibration.words(made["grids"], "absolute")
        assert words[subsets.PRIMARY] == "most contested 33 %"
        assert list(calibration.key_words(made["grids"], "pairs").values()) == [
            "all", "60 % with most ties", "most contested 33 %",
        ]  # fmt: skip
        assert calibration.words({}, "pairs") == calibration.key_words({}, "pairs") == {}


class TestTables:
    def test_every_number_of_a_scorer_is_there_and_valid(self, made):
        schema.validate(made["rows"], "09_calibration")
        grid = made["grids"]["absolute"]
        row = made["rows"].set_index(["items", "scorer", "rule"]).loc[("absolute", "plain-reward", "tukey 0.5")]
        mask = grid.masks[[r.name for r in grid.rules].index("tukey 0.5")] > 0
        part = grid.scored
        score = part.scores[part.scorers["scorer"].tolist().index("plain-reward")]
        assert row["rho"] == pytest.approx(spearmanr(score[mask], part.items.means[mask]).statistic)
        assert row["lower"] < row["rho"] < row["upper"]

    def test_the_null_is_there_where_other_items_have_the_same_means_and_the_line_elsewhere(self, made):
        rows = made["rows"][made["rows"]["scorer"] == "steadfast-reward"].set_index(["items", "rule"])
        ratings, pairs = rows.loc["absolute"], rows.loc["pairs"]
        assert (ratings.loc["entropy 16", "null_lower"] < ratings.loc["entropy 16", "expected"]).all()
        assert np.isnan(ratings.loc["entropy 2", "expected"])  # too few for an effective size of 30
        for row in (ratings.loc["tukey 0.5"], pairs.loc["similar 60"], pairs.loc["contested 60"]):
            assert np.isnan(row["null_lower"]) and 0 < row["line"] < rows.loc[("absolute", "full"), "rho"]
        assert np.isnan(ratings.loc["full", "line"]) and np.isnan(ratings.loc["entropy 16", "line"])

    def test_kinds_are_unweighted_means_with_the_papers_values_and_people_beside(self, made):
        schema.validate(made["kinds"], "09_kinds")
        full = made["kinds"].query("items == 'absolute' and rule == 'full'").set_index("scorer_type")
        assert full.loc["reward", "published"] == pytest.approx(0.330, abs=5e-4)
        assert full.loc["lm perplexity", "published"] == pytest.approx(0.361, abs=5e-4)
        assert np.isnan(full.loc["lm", "published"])  # the paper has the perplexity of the whole conversation
        rho = made["rows"].query("items == 'absolute' and rule == 'full' and scorer_type == 'reward'")["rho"]
        assert full.loc["reward", "rho"] == pytest.approx(rho.mean())
        assert (full["people"] > full["half_panel"]).all() and (full["lower"] < full["rho"]).all()
        assert full.loc["reward", "n_prompts"] == 50 and full.loc["reward", "se"] > 0

    def test_few_labels_have_no_halves_but_kinds_all_the_same(self, planted):
        items = planted(0).annotations.of("absolute")
        few = loading.AnnotatedItems("absolute", items.table, items.values[:, :4], None, [], SCALE, "interval")
        part = planted(0).scored["absolute"]
        scored = {"absolute": calibration_scored(part, few)}
        grids, judged = calibration.grids(scored), verdicts.judge(scored)
        rows = calibration.scorer_table(grids, judged, 5, np.random.default_rng(0))
        kinds = calibration.kind_table(grids, judged, rows, 2, np.random.default_rng(0))
        schema.validate(kinds, "09_kinds")
        assert kinds["people"].isna().all() and kinds["rho"].notna().all()

    def test_selections_stand_beside_table_20(self, made):
        table = calibration.selections(made["scored"], 5, np.random.default_rng(0))
        gini = table.query("scorer_type == 'lm perplexity' and family == 'gini' and step == '16'").iloc[0]
        assert gini["published"] == 0.071 and gini["n"] >= 120
        nested = results.nested_measures(table)
        assert nested["Gini"]["120"]["lm perplexity"]["rho"] == pytest.approx(gini["rho"])
        assert "tukey G" not in nested and headlines.calibration_selections(table).startswith("Mean correlation")
        assert calibration.selections({}, 5, np.random.default_rng(0)).empty

    def test_headlines_of_the_bars_say_what_there_is_to_compare_with(self, made):
        kinds = made["kinds"]
        assert "pointwise" in headlines.calibration_absolute(kinds[kinds["items"] == "absolute"])
        assert "straight line" in headlines.calibration_pairwise(kinds[kinds["items"] == "pairs"])
        assert headlines.calibration_pairwise(kinds.head(0)) == "No scorer has scores of pairs"
        best = headlines.calibration_scorers(made["rows"][made["rows"]["items"] == "absolute"])
        assert best.startswith("fairweather-reward agrees best with human ratings: ρ = 0.")


def calibration_scored(part, items):
    from dataclasses import replace

    return replace(part, items=items)


class TestSoft:
    def test_a_scorer_that_knows_the_annotators_shares_is_perfect(self, made):
        from dataclasses import replace

        part = made["scored"]["absolute"]
        shares = part.items.counts / part.items.counts.sum(1, keepdims=True)
        shares[:10] = np.nan
        table = calibration.soft_table({"absolute": replace(part, distributions={"steadfast-reward": shares})})
        schema.validate(table, "09_soft")
        table = table.set_index("measure")
        assert table.loc["wasserstein_1", "value"] == pytest.approx(0, abs=1e-12)
        assert table.loc["brier", "n"] == 740 and table.loc["cross_entropy", "lower"] > 0

    def test_pairs_have_concordance_and_ties(self, made):
        table = calibration.soft_table({"pairs": made["scored"]["pairs"]})
        best = table[table["measure"] == "concordance"].set_index("scorer")
        assert best.loc["steadfast-reward", "lower"] > best.loc["tern-small", "upper"]
        assert set(table["measure"]) == {"concordance", "spearman_both_orders", "tie_threshold", "tie_accuracy"}

    def test_the_mean_over_items_is_that_of_a_literal_jackknife(self):
        values, groups = np.array([1.0, 2, np.nan, 4, 5, 9]), np.array([0, 0, 0, 1, 1, 2])
        mean, lower, upper, n = calibration.mean_over_items(values, groups)
        known = ~np.isnan(values)
        left_out = [values[known & (groups != p)].mean() for p in range(3)]
        se = np.sqrt(2 / 3 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
        assert (mean, n) == (pytest.approx(4.2), 5)
        assert (upper - lower) / 2 == pytest.approx(4.302653 * se, rel=1e-5)


class TestTypicality:
    def test_the_planted_preference_for_the_typical_is_found(self, planted, rng):
        part = planted(0)
        table = rating_typicality.preference_table(part.scored, part.annotations.pool, 3, rng)
        schema.validate(table, "09_pluralism")
        found = table.set_index("scorer")
        kelp = ["kelp-small", "kelp-large"]
        assert found.loc[kelp, "coefficient"].min() > found["coefficient"].drop(kelp).max()
        assert (found.loc[kelp, "lower"] > 0).all() and headlines.pluralism(table).startswith("2 of 13 scorers")

    def test_is_unknown_without_other_responses(self):
        items = pd.DataFrame({"prompt": ["p", "q"], "response_1": ["a b", "c"]})
        pool = pd.DataFrame({"prompt": ["p", "p"], "response": ["a b", "a c"]})
        assert np.isnan(rating_typicality.typicality(items, pool)).tolist() == [False, True]

    def test_is_unknown_without_a_pool_or_ratings(self, planted, rng):
        part = planted(0)
        for scored, pool in ((part.scored, None), ({}, part.annotations.pool)):
            table = rating_typicality.preference_table(scored, pool, 2, rng)
            assert table.empty and "unknown" in headlines.pluralism(table)


def test_the_papers_values_are_the_means_of_its_tables():
    table = published.published_values(ROOT / "data" / "reference").set_index(["items", "scorer_type", "rule"])[
        "published"
    ]
    expected = {
        ("absolute", "lm perplexity", "full"): 0.361, ("absolute", "lm perplexity", "tukey 0.5"): 0.262,
        ("absolute", "lm perplexity", "entropy 10"): 0.045, ("absolute", "judge", "entropy 2"): -0.015,
        ("pairs", "lm perplexity", "full"): 0.409, ("pairs", "reward", "contested 65"): 0.046,
        ("pairs", "judge", "similar 60"): 0.101,
    }  # fmt: skip
    for key, value in expected.items():
        assert table[key] == pytest.approx(value, abs=6e-4)
    assert "lm" not in table.index.unique("scorer_type")


def test_the_registry_lists_the_papers_scorers():
    registry = pd.read_csv(ROOT / "data" / "reference" / "scorers.csv")
    assert registry["scorer_type"].value_counts().to_dict() == {"lm": 56, "reward": 6, "judge": 4}
    printed = [
        *pd.read_csv(ROOT / "data" / "reference" / "tables23_26_lm_perplexity_selected_cols.csv")["model"],
        *pd.read_csv(ROOT / "data" / "reference" / "tables23_26_rm_and_judges.csv")["model"],
    ]
    assert set(registry["scorer"]) == set(printed)
    assert (registry.loc[registry["scorer_type"] != "judge", "size_b"] > 0).all()

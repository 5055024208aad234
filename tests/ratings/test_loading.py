"""Annotations: every label counted, tables of both notebooks, planted studies, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.ratings import headlines, loading, panel, results, sheets
from hivemind_utils.tables import schema

SCALE = [1, 2, 3, 4, 5]


@pytest.fixture
def ratings_file(tmp_path):
    path = tmp_path / "ratings.csv"
    rows = [(f"p{i // 4}", f"text {i}", f"a{k}", 1 + (i * k + k) % 5) for i in range(12) for k in range(6)]
    frame = pd.DataFrame(rows, columns=["prompt", "response_1", "annotator", "label"])
    frame.loc[3, "label"] = 9
    frame.to_csv(path, index=False)
    return path


def test_labels_of_a_file_are_used_or_excluded_with_a_reason(study, ratings_file):
    found = loading.load(study, [loading.Source("absolute", ratings_file, SCALE), loading.Source("pairs", None, SCALE)])
    assert found.counts.loc["ratings", ["items", "labels used", "labels excluded"]].tolist() == [12, 71, 1]
    assert study.stamp == {
        "source": "imported", "origin": "ratings.csv",
        "scales": {"absolute": SCALE}, "levels": {"absolute": "interval"},
        "prompts_note": "Only 3 prompts: 95 % intervals may be too narrow if one prompt is very unlike the others.",
    }  # fmt: skip
    assert found.describe() == "12 ratings of 3 prompts" and found.of("pairs") is None
    assert found.first.persons.shape == (12, 6) and found.first.n_prompts == 3
    assert found.table("08_pairs").empty and found.rows("pairs").empty
    for name in ("08_ratings", "08_pairs"):
        schema.validate(found.table(name), name)
    schema.validate(found.items, "08_items")
    assert headlines.label_count(found) == "71 labels of 12 items; 1 labels excluded with a reason"


def test_the_released_labels_are_said_to_be_released(study, ratings_file):
    loading.load(study, [loading.Source("absolute", ratings_file, SCALE)], released=True)
    assert study.stamp["source"] == "released"


def test_what_notebook_08_wrote_is_read_back(study, ratings_file):
    found = loading.load(study, [loading.Source("absolute", ratings_file, SCALE)])
    for name in ("08_ratings", "08_pairs"):
        study.write(name, found.table(name))
    study.write("08_items", found.items)
    study.stamp = {}
    again = loading.read(study)
    np.testing.assert_array_equal(again.first.values, found.first.values)
    assert again.scales == found.scales and again.excluded.empty and again.pool is None
    assert again.contested.loc["ratings", "most contested"] == found.first.contested.mask.sum()


def test_categories_have_no_mean_to_follow(study, tmp_path):
    frame = pd.DataFrame({"item_id": [1, 1, 2, 2], "prompt_id": "p", "label": ["no", "yes", "no", "no"]})
    frame.to_csv(tmp_path / "c.csv", index=False)
    source = loading.Source("absolute", tmp_path / "c.csv", ["no", "yes"], "nominal")
    found = loading.load(study, [source])
    assert found.first is None and found.ordered_rows.empty
    agreements = panel.agreement_table(found, 3, study.rng)
    assert set(agreements["measure"]) == {"alpha_nominal"}
    assert panel.reliability_table(found, 3, study.rng).empty and panel.severity_table(found).empty
    study.write("08_ratings", found.table("08_ratings"))
    study.write("08_pairs", found.table("08_pairs"))
    study.write("08_items", found.items)
    with pytest.raises(ValueError, match="without an order"):
        loading.read(study)


class TestPlanted:
    def test_a_planted_study_is_drawn_with_its_truth_and_pool(self, study, planted):
        source = loading.Source("absolute", "data/people.yaml", SCALE)
        drawn = planted(0).drawn
        asked = []

        def simulate(path, seed):
            asked.append((path.name, seed))
            return drawn

        found = loading.load(study, [source], pool_path="data/people.yaml", simulate=simulate)
        assert asked == [("people.yaml", 0)] and study.stamp["source"] == "simulated"
        assert len(found.pool) == 2_000 and len(found.items) == 750
        assert (study.folder / "truth" / "people.parquet").exists()
        assert "sheets, 100 of them new" in sheets.write_study(study, found.pool, 3, 2)

    def test_labels_of_ones_own_have_no_planted_pool(self, study, ratings_file):
        found = loading.load(study, [loading.Source("absolute", ratings_file, SCALE)], pool_path="data/people.yaml")
        assert found.pool is None and "no sheets" in sheets.write_study(study, found.pool, 3, 2)

    def test_somebody_must_draw_it(self, study):
        with pytest.raises(ValueError, match="planted study"):
            loading.load(study, [loading.Source("absolute", "people.yaml", SCALE)])


def test_there_must_be_a_path(study):
    with pytest.raises(ValueError, match="ratings_path or pairs_path"):
        loading.load(study, [loading.Source("absolute", None, SCALE)])


class TestPanel:
    def test_agreement_has_intervals_over_prompts_and_a_row_per_prompt(self, planted, rng):
        annotations = planted(2).annotations
        table = panel.agreement_table(annotations, 5, rng)
        schema.validate(table, "08_agreement")
        overall = panel.overall(table)
        assert (overall["lower"] < overall["value"]).all() and (overall["value"] < overall["upper"]).all()
        assert (table["measure"] == "alpha_ordinal").sum() == 102
        alpha = panel.main_alpha(table)
        assert alpha["level"] == "interval" and alpha["value"] == overall.loc[("absolute", "alpha_interval"), "value"]
        assert headlines.agreement(alpha).startswith("Agreement beyond chance in ratings")

    def test_alphas_interval_is_that_of_leaving_out_prompts(self, planted, rng):
        from hivemind_utils.metrics import agreement

        items = planted(2).annotations.of("absolute")
        items = items.where(items.prompts < 4)
        annotations = loading.Annotations({}, items.table, loading.empty("08_excluded"), {}, {})
        annotations.__dict__["by_type"] = {"absolute": items}
        found = panel.overall(panel.agreement_table(annotations, 2, rng)).loc[("absolute", "alpha_interval")]
        left_out = [agreement.krippendorff_alpha(items.values[items.prompts != p], "interval") for p in range(4)]
        se = np.sqrt(3 / 4 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
        assert (found["upper"] - found["lower"]) / 2 == pytest.approx(3.182446 * se, rel=1e-5)

    def test_reliability_and_severity_of_the_planted_study(self, planted, rng):
        annotations = planted(2).annotations
        reliability, severities = panel.reliability_table(annotations, 5, rng), panel.severity_table(annotations)
        schema.validate(reliability, "08_reliability")
        schema.validate(severities, "08_annotators")
        title = headlines.annotator_reliability(reliability)
        assert title.startswith("Split-half reliability with 12 annotators per half: r = 0.7")
        assert headlines.annotator_severity(severities).startswith("Severity differs between annotators by 0.")
        agreements = panel.agreement_table(annotations, 2, rng)
        numbers = results.human_preferences(annotations, agreements, reliability, severities)
        assert numbers["absolute"] == {"n_items": 750, "n_labels": len(annotations.labels["absolute"])}
        assert numbers["contested"]["absolute"]["share"] == pytest.approx(1 / 3, abs=0.01)

    def test_one_annotator_has_neither_reliability_nor_severity(self, planted, rng):
        items = planted(2).annotations.of("absolute")
        alone = loading.AnnotatedItems("absolute", items.table, items.values[:, :1], None, [], SCALE, "interval")
        annotations = loading.Annotations({}, items.table, loading.empty("08_excluded"), {}, {})
        annotations.__dict__["by_type"] = annotations.__dict__["ordered"] = {"absolute": alone}
        assert panel.reliability_table(annotations, 3, rng).empty and panel.severity_table(annotations).empty
        assert "unknown" in headlines.annotator_reliability(panel.reliability_table(annotations, 3, rng))
        assert "unknown" in headlines.annotator_severity(panel.severity_table(annotations))

    def test_label_shares_of_both_ends_sum_to_one(self, planted):
        items = planted(2).annotations.of("pairs")
        shares = panel.label_shares(items, 4)
        assert shares.groupby(["end", "place"])["share"].sum().tolist() == pytest.approx([1] * 8)
        top = shares[shares["end"] == "most contested"]["entropy_bits"]
        assert top.max() == items.table["entropy_bits"].max() and panel.label_shares(None).empty
        assert "pairs" in headlines.contested_pairs(shares)
        assert headlines.contested_ratings(panel.label_shares(None)) == "There are no ratings to compare"

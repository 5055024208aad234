"""The paper's printed tables (golden vector G5): what its text quotes follows from what its appendix prints."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.ratings import published

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
BINS = ["0.9-1.0", "0.8-0.9", "0.7-0.8", "0.6-0.7", "0.5-0.6", "0.4-0.5", "0.3-0.4", "0.2-0.3", "0.1-0.2", "0.0-0.1"]


def table_6():
    return pd.read_csv(REFERENCE / "table6_intra_model_top_p.csv", index_col="model")


def models_of_the_figures(table):
    """The 25 of Table 5 with the later of two versions of gpt-4o, which the figures show."""
    flagged = table.index[table["in_main25_table5"] == 1].tolist()
    return [{"gpt-4o-2024-08-06": "gpt-4o-2024-11-20"}.get(model, model) for model in flagged]


def inter_model():
    return pd.read_csv(REFERENCE / "table7_11_inter_model_main.csv", index_col="model")


def scorers():
    return pd.read_csv(REFERENCE / "tables23_26_rm_and_judges.csv", index_col="model")


def test_table_6_lists_79_models_whose_rows_sum_to_100_percent():
    models = table_6().drop(index="Average")
    assert len(models) == models.index.nunique() == 79
    assert models["in_main25_table5"].sum() == 25
    assert np.all(np.abs(models[BINS].sum(axis=1) - 100) < 0.1)


def test_the_average_row_of_table_6_is_the_mean_over_all_79_models():
    table = table_6()
    means = table.drop(index="Average")[BINS].mean()
    assert means.round(2).tolist() == table.loc["Average", BINS].tolist()
    assert means[["0.9-1.0", "0.8-0.9"]].sum() == pytest.approx(70.1, abs=0.05)


def test_79_percent_of_prompts_reach_08_in_the_25_models_of_the_figures():
    table = table_6()
    models = models_of_the_figures(table)
    assert len(set(models)) == 25
    assert round(table.loc[models, ["0.9-1.0", "0.8-0.9"]].sum(axis=1).mean(), 2) == 79.08
    flagged = table.loc[table["in_main25_table5"] == 1, ["0.9-1.0", "0.8-0.9"]]
    assert round(flagged.sum(axis=1).mean(), 2) != 79.08


def test_homogeneity_between_the_25_models_has_the_quoted_mean_and_range():
    matrix = inter_model()
    assert matrix.index.tolist() == matrix.columns.tolist()
    assert np.array_equal(matrix, matrix.T)
    shown = matrix.drop(index="gpt-4o-2024-08-06", columns="gpt-4o-2024-08-06").to_numpy()
    pairs = shown[np.triu_indices(25, 1)]
    assert (round(pairs.mean(), 2), pairs.min(), pairs.max()) == (75.94, 69.5, 82.1)


def test_a_model_is_more_like_itself_than_like_any_other():
    matrix = inter_model().to_numpy()
    others = np.where(np.eye(len(matrix), dtype=bool), -np.inf, matrix)
    assert np.all(np.diag(matrix) > others.max(1))


@pytest.mark.parametrize(("kind", "n", "mean"), [("RM", 6, 0.330), ("judge", 4, 0.322)])
def test_reward_models_and_judges_follow_people_as_quoted(kind, n, mean):
    correlations = scorers().query("type == @kind")["abs_full"]
    assert (len(correlations), round(correlations.mean(), 3)) == (n, mean)


def test_language_models_follow_people_as_quoted():
    correlations = pd.read_csv(REFERENCE / "tables23_26_lm_perplexity_selected_cols.csv", index_col="model")["abs_full"]
    assert (len(correlations), round(correlations.mean(), 3)) == (56, 0.361)


@pytest.mark.parametrize(("source", "kept"), [("released", True), ("simulated", True), ("imported", False)])
def test_published_values_stand_beside_the_papers_items_only(source, kept):
    table = pd.DataFrame({"rule": ["full"], "published": [0.4]})
    assert published.only_of_paper(table, source)["published"].notna().tolist() == [kept]

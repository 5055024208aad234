"""A run next to the paper's tables."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.figures import measures as figures
from hivemind_utils.metrics import crossed
from hivemind_utils.responses import against_paper, headlines
from hivemind_utils.tables import schema

MODELS = ["gpt-4o-2024-11-20", "Qwen/Qwen2-0.5B-Instruct", "microsoft/phi-4", "not-in-the-paper"]


def as_printed(model):
    """Cells of 100 prompts that lie in the bins that the paper prints for a model."""
    counts = against_paper.published_bins().loc[model].round().astype(int)
    values = np.repeat(counts.index.to_numpy() + 0.05, counts)
    return pd.DataFrame({"prompt_id": [f"p{i:03}" for i in range(len(values))], "mean_cosine": values}).assign(
        arm=model, model=model, decoding="top_p", condition="default"
    )


def cells(models=MODELS[:3]):
    return pd.concat([as_printed(model) for model in models], ignore_index=True)


def test_the_published_bins_are_whole_and_79():
    table = against_paper.published_bins()
    assert len(table) == 79 and (table.sum(axis=1) - 100).abs().max() < 0.01
    assert list(table.columns) == pytest.approx(list(against_paper.EDGES))
    main = table.loc["gpt-4o-2024-11-20"]
    assert main[0.9] + main[0.8] == 87


def test_a_run_as_printed_has_no_difference():
    found = against_paper.per_model(cells(), set(), "top_p")
    schema.validate(found, "05_against_paper")
    assert len(found) == 30 and found["percent"].to_numpy() == pytest.approx(found["published"].to_numpy(), abs=1e-9)
    assert found["at_least"].to_numpy() == pytest.approx(found["published_at_least"].to_numpy(), abs=1e-9)
    at = found[(found["model"] == MODELS[0]) & np.isclose(found["low"], 0.8)].iloc[0]
    assert at["at_least"] == pytest.approx(87) and at["lower"] < 87 < at["upper"]
    assert "ρ = 1.00" in headlines.against_paper(found)


@pytest.mark.parametrize(
    "table",
    [cells().assign(decoding="min_p"), as_printed(MODELS[0]).assign(model=MODELS[3], arm=MODELS[3])],
    ids=["another decoding", "another model"],
)
def test_without_a_model_of_the_paper_nothing_is_drawn(table):
    found = against_paper.per_model(table, set(), "top_p")
    schema.validate(found, "05_against_paper")
    assert found.empty and figures.against_paper(found) is None
    assert "nothing to compare" in headlines.against_paper(found)


def test_the_figure_of_models_shows_both_sides():
    found = against_paper.per_model(cells(), set(), "top_p")
    fig = figures.against_paper(found)
    assert [label.get_text()[:6] for label in fig.axes[0].get_yticklabels()] == ["gpt-4o", "micros", "Qwen/Q"]


def pairs_of(models, shift=0.0):
    published = against_paper.published_similarities()
    rows = [
        (a, b, 13, published.loc[a, b] + shift, published.loc[a, b] + shift - 0.02, published.loc[a, b] + shift + 0.02)
        for i, a in enumerate(models)
        for b in models[i:]
    ]
    return pd.DataFrame(rows, columns=["arm_a", "arm_b", "n_prompts", "mean_cosine", "lower", "upper"])


def test_pairs_are_found_by_the_registrys_names():
    names = list(against_paper.published_similarities().index)
    assert len(names) == 26 and "deepseek-ai/DeepSeek-V3" in names
    table = pairs_of(names, -0.1)
    found = against_paper.per_pair(table, {name: name for name in names})
    schema.validate(found, "06_pairs_against_paper")
    assert len(found) == 325
    assert (found["published"] - found["mean_cosine"]).to_numpy() == pytest.approx(np.full(325, 0.1))
    assert "ρ = 1.00" in headlines.pairs_against_paper(found)
    assert len(figures.pairs_against_paper(found).get_lines()) >= 2


def test_conditions_of_a_model_are_averaged_and_have_no_interval():
    a, b = against_paper.published_similarities().index[:2]
    table = pd.concat([pairs_of([a, b]), pairs_of([a, b], 0.1).assign(arm_a=lambda f: f["arm_a"] + " · hot")])
    found = against_paper.per_pair(table, {a: a, b: b, f"{a} · hot": a, f"{b} · hot": b})
    assert len(found) == 1 and np.isnan(found["lower"].iloc[0])
    assert found["mean_cosine"].iloc[0] == pytest.approx(found["published"].iloc[0] + 0.05)


@pytest.mark.parametrize("names", [["x", "y"], ["gpt-4o-2024-11-20", "y"]])
def test_pairs_of_other_models_are_left_out(names):
    rows = [(names[0], names[1], 5, 0.5, 0.4, 0.6)]
    table = pd.DataFrame(rows, columns=["arm_a", "arm_b", "n_prompts", "mean_cosine", "lower", "upper"])
    found = against_paper.per_pair(table, {name: name for name in names})
    schema.validate(found, "06_pairs_against_paper")
    assert found.empty and figures.pairs_against_paper(found) is None
    assert "nothing to compare" in headlines.pairs_against_paper(found)


def test_the_crossed_mean_takes_models_of_one_decoding():
    table = pd.concat([cells(), cells().assign(decoding="min_p"), as_printed(MODELS[0]).assign(model="people")])
    found = against_paper.crossed_mean(table, {"people"}, "top_p")
    wide = cells().pivot(index="prompt_id", columns="model", values="mean_cosine")
    assert found == crossed.crossed_mean(wide.to_numpy())
    assert "other models" in headlines.other_models(found)
    assert headlines.other_models(crossed.crossed_mean([[0.5]])) == ""


def test_queries_above_count_prompts_at_the_papers_number():
    table = pd.DataFrame(
        [("p1", "model", 50, 11.0), ("p2", "model", 50, 9.0), ("p3", "model", 25, 12.0), ("p1", "family", 50, 14.0)],
        columns=["prompt_id", "by", "n_nearest", "n_sources"],
    )
    assert against_paper.queries_above(table) == {"above": 1, "n_prompts": 2, "largest": 11.0}
    nothing = against_paper.queries_above(table.head(0))
    assert nothing["n_prompts"] == 0 and headlines.queries_above(nothing) == ""


def split_of(many, values, kind="original"):
    ids = [f"p{k}" for k in range(len(many))]
    return against_paper.open_split(
        pd.DataFrame({"prompt_id": ids, "prompt_kind": kind, "many_answers": many, "mean_cosine": values})
    )


def test_prompts_with_many_good_responses_stand_apart_from_the_others():
    found = split_of([0.2, 0.04, 1, 0, 0, 0, np.nan], [0.5, 0.6, 0.7, 0.8, 0.8, 0.95, 0.1])
    assert found["many"]["mean"] == pytest.approx(0.6) and found["many"]["n_prompts"] == 3
    assert found["few"]["mean"] == pytest.approx(0.85) and found["few"]["n_prompts"] == 3
    assert found["difference"]["mean"] == pytest.approx(-0.25)
    assert found["difference"]["lower"] < -0.25 < found["difference"]["upper"] < 0


@pytest.mark.parametrize("many", [[1, 1, 1], [0, 0, 0], [np.nan] * 3, []])
def test_without_two_groups_there_is_no_split(many):
    assert split_of(many, [0.5] * len(many)) == {}


def test_a_group_of_one_prompt_has_no_interval():
    found = split_of([1, 0, 0, 0], [0.5, 0.6, 0.7, 0.8])
    assert found["many"]["mean"] == 0.5 and np.isnan(found["difference"]["lower"])
    assert split_of([1, 0, 0], [0.5, 0.6, 0.7], kind="closed") == {}

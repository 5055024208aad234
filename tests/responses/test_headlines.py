"""Titles of figures: the number of the table in a sentence, and a sentence where there is nothing to compare."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.responses import headlines

BLOCKS = ["same model", "different models", "different models, same family", "different families"]


def blocks(*means, n_unknown=0):
    table = pd.DataFrame({"mean": means}, index=BLOCKS)
    table.attrs = {"n_models": 4, "n_unknown": n_unknown}
    return table


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((0.8, 0.7, 0.6, 0.5), "Mean similarity: 0.70 between different models, 0.80 within one model"),
        ((np.nan, 0.7, 0.6, 0.5), "Mean similarity: 0.70 between different models, unknown within one model"),
        (
            (0.8, np.nan, np.nan, np.nan),
            "One model: there is nothing to compare it with; its repetition is in notebook 05",
        ),
    ],
)
def test_inter_heatmap(means, said):
    assert headlines.inter_heatmap(blocks(*means)) == said


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((0.8, 0.7, 0.6, 0.5), "Mean similarity of different models: 0.60 in one family, 0.50 across families"),
        ((0.8, 0.5, np.nan, 0.5), "Models of different families: mean similarity 0.50"),
        ((0.8, 0.5, 0.5, np.nan), "All models are of one family: families cannot be compared"),
    ],
)
def test_family_blocks(means, said):
    assert headlines.family_blocks(blocks(*means)) == said


@pytest.mark.parametrize(
    ("n_unknown", "said"),
    [
        (4, "Different models (families unknown): mean similarity 0.50"),
        (3, "Models of different families (3 of 4 models of unknown family): mean similarity 0.50"),
    ],
)
def test_models_of_unknown_family_are_not_said_to_be_of_different_ones(n_unknown, said):
    assert headlines.family_blocks(blocks(0.8, 0.5, np.nan, 0.5, n_unknown=n_unknown)) == said


def test_nearest_source_models():
    curve = pd.DataFrame(
        {
            "by": "model",
            "n_nearest": [1, 2, 50],
            "n_sources": [1.0, 1.96, 4],
            "expected": [1.0, 1.9, 4],
            "n_available": 4,
        }
    )
    said = "The 2 nearest responses come from 2.0 models; random labels would give 1.9"
    assert headlines.nearest_source_models(curve) == said
    assert headlines.nearest_source_models(pd.DataFrame()).startswith("No prompt has responses of two models")


def test_verbatim_overlaps():
    shares = pd.DataFrame({"exact": [0.1, 0.3], "span": [0.5, 0.5]})
    assert headlines.verbatim_overlaps(shares) == "20 % of responses are given word for word by another model"
    assert headlines.verbatim_overlaps(shares[:0]) == "One model: no overlaps between models"


ONE, MANY = "one model, k responses", "k models, one response each"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [(ONE, 10, 2.0), (MANY, 1, 1.0), (MANY, 3, 2.5)],
            "One response from each of 3 models is as diverse as 10 responses of one model",
        ),
        (
            [(ONE, 10, 2.0), (MANY, 1, 2.0)],
            "One response from each of 1 model is as diverse as 10 responses of one model",
        ),
        (
            [(ONE, 10, 9.0), (MANY, 3, 2.5)],
            "10 responses of one model are more diverse than one response from each of 3 models",
        ),
        ([(ONE, 10, 9.0)], "Too few responses or models to compare one model with many"),
    ],
)
def test_pooled_diversity(rows, said):
    assert headlines.pooled_diversity(pd.DataFrame(rows, columns=["pool", "k", "vendi_1"])) == said


# ------------------------------------------------------------------------------------------------- 05, within a model


def test_intra_heatmap_has_a_sentence_per_decoding():
    table = pd.DataFrame(
        {"share": [0.79, 0.5], "lower": [0.7, np.nan], "upper": [0.86, np.nan]}, index=["top_p", "min_p"]
    )
    said = "of prompts, a model's responses have mean similarity ≥ 0.8"
    assert headlines.intra_heatmap(table, 0.8) == {
        "top_p": f"For 79 % (95 % interval 70 % to 86 %) {said} (top_p)",
        "min_p": f"For 50 % (no interval) {said} (min_p)",
    }


def test_similarity_references():
    rows = [("same model", "top_p", 0.756), ("same model", "min_p", 0.5), ("different prompts", "top_p", 0.1)]
    table = pd.DataFrame(rows, columns=["pair_type", "decoding", "mean"])
    same = "Mean similarity of two responses of one model: 0.76 (top_p)"
    assert headlines.similarity_references(table, "top_p") == f"{same}; to different prompts: 0.10"
    paper = "(paper: 0.1)"
    assert headlines.similarity_references(table, "top_p", paper) == f"{same}; to different prompts: 0.10 {paper}"
    assert headlines.similarity_references(table[:2], "top_p", paper) == same, "not behind another number"


WIDE = pd.DataFrame({"model": ["a", "b", "c"], "mean_cosine": [0.1, 0.9, 0.5]})
RANKS = {"vendi_1_equal_n": 0.9, "distinct_2": 0.7, "mean_tfidf": 0.4, "mean_cosine_centred": 0.95}


def test_diversity_measures_and_second_opinions_look_at_their_own_measures():
    agreement = pd.Series(RANKS)
    rest = "other measures rank the arms alike with ρ = 0.70 to 0.90"
    most = {"arm": "b", "other": "c", "difference": {"estimate": 0.4, "lower": 0.1, "upper": 0.7}, "decided": True}
    assert headlines.diversity_measures(WIDE, agreement, most) == f"b repeats itself most; {rest}"
    most = most | {"difference": {"estimate": 0.1, "lower": -0.1, "upper": 0.3}, "decided": False}
    said = "Inconclusive which model repeats itself most: b less c is 0.10 (95 % interval -0.10 to 0.30)"
    assert headlines.diversity_measures(WIDE, agreement, most) == f"{said}; {rest}"
    assert headlines.diversity_measures(WIDE, agreement, None) == f"O{rest[1:]}"
    said = "Other similarities rank the arms as the mean cosine does: ρ ≥ 0.40 (TF-IDF cosine (form))"
    assert headlines.second_opinion(WIDE, agreement) == said


def test_too_few_arms_cannot_be_ranked():
    unknown = pd.Series(dict.fromkeys(RANKS, np.nan))
    assert headlines.diversity_measures(WIDE[:1], unknown, None) == "1 arm: too few to say whether measures agree"
    assert headlines.second_opinion(WIDE[:2], unknown) == "2 arms: too few to rank"
    assert headlines.second_opinion(WIDE, unknown[:0]) == "3 arms: too few to rank"


def test_rarefaction_compares_groups_at_a_number_that_all_have():
    curves = pd.DataFrame([("models, top_p", n, n / 2) for n in range(1, 9)] + [("people", n, n) for n in range(1, 4)])
    curves = curves.set_axis(["group", "n", "found"], axis=1).assign(unit="response")
    said = "3 responses to one prompt hold 1.5 (models, top_p) and 3.0 (people) different wordings"
    assert headlines.rarefaction(curves, 8) == said
    ideas = curves[curves["group"] != "people"].assign(unit="idea")
    assert headlines.rarefaction(ideas, 8) == "8 responses to one prompt hold 4.0 (models, top_p) different ideas"
    assert headlines.rarefaction(curves[:0], 8).startswith("No response to an original prompt holds a word")


def test_paraphrases_say_the_drop_with_its_interval():
    means = pd.DataFrame(
        {"mean": [0.82, 0.78, 0.7, 0.04], "lower": [0.0, 0.0, 0.0, 0.0101], "upper": [1.0, 1.0, 1.0, 0.0699]},
        index=["within", "across", "between", "drop"],
    )
    moves = "Rephrasing the prompt changes mean similarity from 0.82 to 0.78"
    assert headlines.paraphrases(means) == f"{moves}: a drop of 0.040 (95 % interval 0.010 to 0.070)"
    assert headlines.paraphrases(means, "(paper: 0.04)").endswith("0.010 to 0.070) (paper: 0.04)")
    assert (
        headlines.paraphrases(means * np.nan, "(paper: 0.04)")
        == "No prompt has paraphrases: wordings cannot be compared"
    )


def test_repetition_by_prompt_is_that_of_original_prompts():
    prompts = pd.DataFrame({"prompt_kind": ["closed", "original", "original"], "mean_cosine": [0.99, 0.8, 0.3]})
    assert headlines.repetition_by_prompt(prompts) == "Mean repetition of open-ended prompts: 0.30 to 0.80"


def test_repetition_by_model_names_what_is_known():
    facts = pd.DataFrame({"tuning": ["base", "instruct", "instruct", None], "mean": [0.2, 0.4, 0.6, 0.9]})
    said = "Repetition of models against size (ρ = +0.60) and release date (ρ = -0.79)"
    assert headlines.repetition_by_model(facts, {"size": 0.6, "release date": -0.79}) == said
    assert headlines.repetition_by_model(facts, {}) == "Mean repetition: 0.20 (base models), 0.50 (instruct models)"
    assert headlines.repetition_by_model(facts[3:], {}).startswith("The registry knows neither size")


def test_openness_is_said_where_it_is_known():
    prompts = pd.DataFrame(
        {
            "prompt_id": list("abcde"),
            "mean_cosine": [0.1, 0.2, 0.3, 0.4, 0.5],
            "open_endedness": [0.9, 0.7, 0.8, 0.4, 0.5],
        }
    )
    assert headlines.openness(prompts).startswith(
        "Rank correlation over prompts of repetition with open-endedness: -0.80 (95 % interval -"
    )
    assert headlines.openness(prompts.assign(open_endedness=np.nan)) == ""


def test_a_label_separates_responses_only_where_its_interval_says_so():
    columns = ["label", "rho", "rho_lower", "rho_upper"]
    table = pd.DataFrame([("vendor", 0.2, 0.1, 0.3), ("model", 0.1, -0.1, 0.3), ("tuning", np.nan, np.nan, np.nan)])
    table.columns = columns
    assert headlines.label_effects(table).startswith("Responses differ most by vendor: ρ = 0.20")
    assert headlines.label_effects(table[1:]).startswith("Inconclusive whether responses differ by a label")
    assert headlines.label_effects(table[2:]) == "No label has two groups with responses"
    unknown = table[:1].assign(rho_lower=np.nan, rho_upper=np.nan)
    assert headlines.label_effects(unknown).startswith("Inconclusive")

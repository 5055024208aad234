"""Titles of figures: the number of the table in a sentence, and a sentence where there is nothing to compare."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.responses import headlines

BLOCKS = ["same model", "different models", "different models, same family", "different families"]


def blocks(*means):
    return pd.DataFrame({"mean": means}, index=BLOCKS)


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

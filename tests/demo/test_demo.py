"""The demo population against its plant, measured the way the notebooks measure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hivemind_utils.demo import population as population_demo
from hivemind_utils.metrics import similarity, words
from hivemind_utils.responses import encoders

POPULATION = Path(__file__).resolve().parents[2] / "data" / "demo" / "population.yaml"
SEEDS = range(10)


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(POPULATION)


@pytest.fixture(scope="module")
def draws(population):
    """Ten draws of the open prompts under top_p, twelve responses per cell, with their embeddings."""
    prompts = [p["prompt_id"] for p in population["prompts"] if p["prompt_kind"] == "original"]
    drawn = {
        seed: population_demo.draw_responses(
            population, seed=seed, prompts=prompts, n_samples=12, decodings=["top_p", "none"]
        )[0]
        for seed in SEEDS
    }
    drawn = {seed: frame[frame["response"].str.strip() != ""] for seed, frame in drawn.items()}
    texts = pd.unique(pd.concat([frame["response"] for frame in drawn.values()]))
    vectors = encoders.load_encoder("minilm").encode(texts.tolist())
    row = dict(zip(texts, range(len(texts)), strict=True))
    return {seed: (frame, vectors[[row[text] for text in frame["response"]]]) for seed, frame in drawn.items()}


def repetition_by_model(frame, vectors):
    cells = frame.groupby(["prompt_id", "model"], sort=True)
    values = similarity.repetition(*similarity.cell_sums(vectors, cells.ngroup().to_numpy(), cells.ngroups))
    return pd.Series(values, index=cells.size().index).groupby("model").mean()


@pytest.mark.long
def test_repetition_recovers_the_planted_order_of_sharpness_over_ten_seeds(population, draws):
    planted = pd.Series(population_demo.planted_sharpness(population)).drop("people")
    found = {}
    for seed, (frame, vectors) in draws.items():
        repetition = repetition_by_model(frame, vectors).drop("people")
        assert set(repetition.index) == set(planted.index)
        found[seed] = spearmanr(planted[repetition.index], repetition).statistic
    print(
        "\nSpearman of planted sharpness with measured repetition:", {s: round(float(r), 3) for s, r in found.items()}
    )
    assert min(found.values()) >= 0.9


@pytest.mark.long
def test_people_repeat_themselves_less_than_any_model_in_every_seed(draws):
    for frame, vectors in draws.values():
        repetition = repetition_by_model(frame, vectors)
        assert repetition.idxmin() == "people"


def test_two_answers_with_the_same_idea_are_rarely_the_same_text(population):
    answers, truth = population_demo.draw_responses(population, seed=0, decodings=["top_p"])
    answers = answers.assign(idea=truth["idea"], text=[words.normalise(text) for text in answers["response"]])
    answers = answers[answers["prompt_kind"] == "original"].dropna(subset=["idea"])
    rates = []
    for _, cell in answers.groupby(["prompt_id", "idea"]):
        counts = cell["text"].value_counts().to_numpy()
        rates.append(((counts * (counts - 1)).sum(), len(cell) * (len(cell) - 1)))
    same, pairs = np.array(rates).T
    assert same.sum() / pairs.sum() < 0.05

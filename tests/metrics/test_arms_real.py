"""Arms that other people asked (NoveltyBench): every published value of our measures. Needs $HIVEMIND_REAL_DATA."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics import (
    coverage,
    diversity,
    encoder_agreement,
    frontier,
    interventions,
    label_effects,
    resample,
    similarity,
)
from hivemind_utils.responses.encoders import load_encoder

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.long,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]
ARMS = ["default", "system-prompt", "paraphrase", "in-context", "gemini", "people"]


@pytest.fixture(scope="module")
def study():
    answers = pd.read_parquet(Path(REAL) / "noveltybench" / "curated_responses.parquet")
    arm = answers["mode"].where(answers["model"].str.startswith("gpt"), "gemini")
    arm = arm.where(answers["model"] != "human", "people").map(ARMS.index)
    prompt = np.unique(answers["prompt_id"].to_numpy(str), return_inverse=True)[1]
    cell = prompt * len(ARMS) + arm.to_numpy()
    vectors = load_encoder("minilm").encode(answers["response"].tolist())
    sums, counts = similarity.cell_sums(vectors, cell, 600)
    ideas, first_scores = {}, np.zeros((100, 6))
    for c in range(600):
        rows = answers.iloc[np.flatnonzero(cell == c)]
        ideas[c] = rows["partition"].to_numpy()
        firsts = rows.sort_values("sample_idx").drop_duplicates("partition")
        first_scores[divmod(c, 6)] = firsts["generation_score"].mean()
    hill = np.array([coverage.hill_at_size(np.bincount(x), 8, (1,))[0] for x in ideas.values()]).reshape(100, 6)
    distinct = [coverage.distinct_at_size(np.bincount(x), len(x), 8) for x in ideas.values()]
    return SimpleNamespace(
        answers=answers, cell=cell, vectors=vectors, sums=sums.reshape(100, 6, -1), counts=counts.reshape(100, 6),
        ideas=list(ideas.values()), score=first_scores, hill=hill, distinct=np.reshape(distinct, (100, 6)),
        cosine=similarity.repetition(sums, counts).reshape(100, 6),
        weights=resample.bootstrap_weights(100, 10_000, np.random.default_rng(0)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "arm", "mean", "lower", "upper"),
    [
        ("cosine", "default", 0.813613, 0.786389, 0.838825),
        ("cosine", "system-prompt", 0.619761, 0.589358, 0.649773),
        ("cosine", "people", 0.353607, 0.321823, 0.386612),
        ("hill", "paraphrase", 3.897910, 3.477531, 4.332656),
        ("hill", "in-context", 6.206812, 5.760298, 6.638595),
        ("hill", "gemini", 1.554043, 1.369806, 1.759193),
        ("distinct", "default", 2.600667, 2.284439, 2.948672),
        ("distinct", "system-prompt", 4.690444, 4.313111, 5.064228),
        ("distinct", "people", 6.58, 6.28, 6.86),
    ],
)
def test_measures_of_arms(study, measure, arm, mean, lower, upper):
    found = resample.mean_interval(getattr(study, measure)[:, ARMS.index(arm)], study.weights)
    assert found[0] == pytest.approx(mean, abs=1e-4)
    assert found[1:] == pytest.approx((lower, upper), abs=0.003 if measure == "cosine" else 0.03)


@pytest.mark.parametrize(
    ("arms", "expected", "ends"),
    [
        (["default", "system-prompt", "paraphrase", "in-context"], 0.222483, [0.203044, 0.242569]),
        (["default", "in-context"], 0.173340, [0.155438, 0.192182]),
    ],
)
def test_share_of_variance_between_conditions(study, arms, expected, ends):
    at = [ARMS.index(arm) for arm in arms]
    omega, _ = label_effects.label_parts(study.sums[:, at], study.counts[:, at])
    assert omega[0].sum() / omega[1].sum() == pytest.approx(expected, abs=1e-4)
    lower, upper = resample.interval(resample.weighted_ratios(*omega, study.weights))
    assert [lower, upper] == pytest.approx(ends, abs=0.003)


def test_scores_of_first_answers_and_the_frontier(study):
    means = dict(zip(ARMS, study.score.mean(0), strict=True))
    assert means["default"] == pytest.approx(9.020734, abs=1e-4)
    assert means["people"] == pytest.approx(5.286571, abs=1e-4) == min(means.values())
    at = [ARMS.index(arm) for arm in ("default", "paraphrase", "in-context", "system-prompt")]
    by_ideas = frontier.frontier_share(study.score[:, at], study.hill[:, at], study.weights)
    by_cosine = frontier.frontier_share(study.score[:, at], 1 - study.cosine[:, at], study.weights)
    assert by_ideas == pytest.approx([1, 1, 1, 0.925], abs=0.005)
    assert by_cosine[2] == pytest.approx(0.05, abs=0.01)


def test_share_alike_at_an_equal_rate_of_false_alarms(study):
    rows = [np.flatnonzero(study.cell == c) for c in range(600)]
    lexical = diversity.lexical_vectors(study.answers["response"].tolist())
    matrices = {
        "minilm": [interventions.cell_cosines(study.vectors[at]) for at in rows],
        "tfidf": [(lexical[at] @ lexical[at].T).toarray() for at in rows],
    }
    halves, found, plain = {p: p % 2 for p in range(100)}, {}, {}
    for name, cosines in matrices.items():
        shares = encoder_agreement.share_alike(cosines, study.ideas, np.arange(600) // 6, halves).shares
        found[name] = shares.reshape(100, 6).mean(0)
        at = [c[np.triu_indices(len(c), 1)] for c in cosines]
        plain[name] = np.mean([(x >= 0.8).mean() for x in at[0::6]])
    assert [found[name][0] for name in matrices] == pytest.approx([0.413333, 0.360889], abs=1e-4)
    assert [plain[name] for name in matrices] == pytest.approx([0.664, 0.110], abs=5e-4)
    ranks = encoder_agreement.rank_agreements(np.array(list(found.values())))
    assert ranks[0, 1] > 0.9


def test_arms_raise_diversity_over_the_default_by_ideas_and_by_cosine(study):
    comparators = np.where(np.arange(6) == 0, -1, 0)
    by_ideas = interventions.contrasts(study.hill, comparators)
    by_cosine = interventions.contrasts(1 - study.cosine, comparators)
    raised = [ARMS.index(arm) for arm in ("system-prompt", "paraphrase", "in-context", "people")]
    assert np.all(by_ideas.lower[raised] > 0) and np.all(by_cosine.lower[raised] > 0)
    assert by_ideas.estimate[ARMS.index("gemini")] < 0

"""People as scorers of other people: nobody lost touch there, unless we shuffle. Needs $HIVEMIND_REAL_DATA."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics import comparison, contested, verdict

REAL = os.environ.get("HIVEMIND_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.long,
    pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data"),
]
N_SPLITS = int(os.environ.get("HIVEMIND_PLACEBO_SPLITS", "200"))


def entropy(labels):
    values = np.unique(labels[~np.isnan(labels)])
    counts = np.sort(np.stack([(labels == v).sum(1) for v in values], axis=1), axis=1)
    shares = counts / counts.sum(1, keepdims=True)
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1)


def dices(name):
    """Labels of (items, people): 0 safe, 1 unsure, 2 unsafe."""
    long = pd.read_parquet(Path(REAL) / "dices" / f"dices_{name}_ratings.parquet")
    long["value"] = long["label"].map({"No": 0.0, "Unsure": 1.0, "Yes": 2.0})
    return long.pivot(index="item_id", columns="rater_idx", values="value").to_numpy()


def panels(labels, size, rng, *, same_people):
    """Labels of two disjoint panels, each (items, size)."""
    n_items, n_people = labels.shape
    if same_people:
        order = np.tile(rng.permutation(n_people), (n_items, 1))
    else:
        order = np.argsort(np.where(np.isnan(labels), np.inf, rng.random(labels.shape)), axis=1)
    return (np.take_along_axis(labels, order[:, i * size : (i + 1) * size], axis=1) for i in range(2))


def people_against_people(labels, size, n_splits, *, same_people):
    """Share of splits in which a second panel degrades and holds up; the same for its scores shuffled where contested.

    Unadjusted, whatever the reason; and the reasons.
    """
    degrades, holds_up, reasons, sizes = [], [], [], []
    for rng in np.random.default_rng(20).spawn(n_splits):
        people, others = panels(labels, size, rng, same_people=same_people)
        found, score = contested.contested_set(entropy(people)), others.mean(1)
        shuffled = score.copy()
        shuffled[found.mask] = rng.permutation(score[found.mask])
        prepared = comparison.prepare(np.stack([score, shuffled]), people.mean(1), np.arange(len(score)))
        compared = comparison.compare(prepared, found)
        tests = verdict.tests(compared)
        degrades.append(tests.p_degrades < verdict.LEVEL)
        holds_up.append(tests.p_holds_up < verdict.LEVEL)
        reasons.append(compared.reason[0])
        sizes.append(compared.effective_size[0])
    return np.mean(degrades, axis=0), np.mean(holds_up, axis=0), reasons, np.mean(sizes)


@pytest.mark.parametrize(("name", "same_people"), [("990", False), ("350_crowdsourced", True)])
def test_a_second_panel_of_people_holds_up_and_a_shuffled_one_degrades(name, same_people):
    degrades, holds_up, reasons, size = people_against_people(dices(name), 25, N_SPLITS, same_people=same_people)
    print(f"DICES-{name}, {N_SPLITS} splits: degrade {degrades}, hold up {holds_up}, effective size {size:.0f}")
    assert set(reasons) == {""}
    assert degrades[0] <= 0.05 and holds_up[0] >= 0.95
    assert degrades[1] >= 0.95 and holds_up[1] <= 0.05


def test_panels_of_five_are_not_testable():
    _, _, reasons, size = people_against_people(dices("990"), 5, 10, same_people=False)
    assert size < 30
    assert all(reason.startswith("effective size") for reason in reasons)


@pytest.fixture(scope="module")
def hanna():
    long = pd.read_parquet(Path(REAL) / "hanna" / "ratings_long.parquet")
    wide = long.pivot(index=["criterion", "item_id", "prompt_id"], columns="rater", values="rating").astype(float)
    return {name: (part.to_numpy(), part.index.get_level_values("prompt_id")) for name, part in wide.groupby(level=0)}


def test_a_rater_of_hanna_against_the_other_two_is_not_testable(hanna):
    degrading = 0
    for labels, prompts in hanna.values():
        for rater in range(3):
            others = np.delete(labels, rater, axis=1)
            found = contested.contested_set(entropy(others))
            assert 0.6 < found.share < 0.9
            prepared = comparison.prepare(labels[:, rater], others.mean(1), prompts)
            compared = comparison.compare(prepared, found)
            assert compared.reason[0] == found.reason != ""
            degrading += verdict.tests(compared).p_degrades[0] < verdict.LEVEL
    assert len(hanna) == 6 and degrading == 0  # nor would they, if it were


def test_hannas_three_raters_agree_too_seldom_on_coherence(hanna):
    sets = {name: contested.contested_set(entropy(labels)) for name, (labels, _) in hanna.items()}
    assert {name for name, found in sets.items() if found.reason} == {"coherence"}
    assert sets["coherence"].name == "most contested 55 %"

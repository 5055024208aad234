"""Labels that agree on nothing, or on everything: sentences, no crash and no reliability below -1."""

import warnings

import numpy as np
import pandas as pd
import pytest

from hivemind_utils import ratings
from hivemind_utils.metrics import agreement, cross_fit
from hivemind_utils.ratings import calibration, headlines, labels, loading, panel


def annotations(label, n_items, n_annotators, item_type="absolute", scale=(1, 2, 3, 4, 5)):
    rows = [
        (f"p{i // 2}", f"a{i}", "b" if item_type == "pairs" else None, f"w{j}", int(label(i, j)))
        for i in range(n_items)
        for j in range(n_annotators)
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "annotator", "label"])
    made, items, excluded = labels.tabulate(labels.unroll(frame), item_type, list(scale))
    described = labels.describe(items, labels.matrix(made, items)[0], list(scale), "interval")
    return loading.Annotations(
        {item_type: made}, described, excluded, {item_type: list(scale)}, {item_type: "interval"}
    )


def at_random(seed):
    return lambda i, j: np.random.default_rng([seed, i, j]).integers(1, 6)


DISAGREEING = {f"random {seed}": at_random(seed) for seed in range(5)}
DISAGREEING |= {"opposite": lambda i, j: 1 + (i % 4 if j % 2 else 3 - i % 4), "severity only": lambda i, j: j + 1}
DISAGREEING |= {"equal": lambda i, j: 3}


@pytest.mark.parametrize("size", [(4, 2), (4, 3), (1, 2), (2, 2), (6, 1)], ids=str)
@pytest.mark.parametrize("name", DISAGREEING)
def test_notebook_08_gets_by_with_labels_that_do_not_agree(name, size):
    found, rng = annotations(DISAGREEING[name], *size), np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agreements, reliability = panel.agreement_table(found, 5, rng), panel.reliability_table(found, 5, rng)
        severities = panel.severity_table(found)
        said = [
            headlines.agreement(panel.main_alpha(agreements)), headlines.annotator_reliability(reliability),
            headlines.annotator_severity(severities), headlines.entropy_by_mean(found.ordered_rows),
            headlines.rating_entropy(found.rows("absolute")), headlines.disagreement_kinds(found.items),
        ]  # fmt: skip
        ratings.results.human_preferences(found, agreements, reliability, severities)
    assert not any("nan" in sentence.lower() or "unknown (" in sentence for sentence in said)
    full = agreements.set_index("measure")["value"].get("spearman_brown")
    assert np.isnan(full).all() or ((full > 0) & (full <= 1)).all()
    assert (reliability["predicted"].dropna() > 0).all()


def test_reliability_of_annotators_who_do_not_agree_is_not_a_number():
    assert np.isnan([agreement.spearman_brown(r) for r in (-1.0, -0.5, -0.01, 0.0, np.nan)]).all()
    assert agreement.spearman_brown(0.5, [1, 2, 4]) == pytest.approx([0.5, 2 / 3, 0.8])
    assert np.isnan(agreement.spearman_brown(-0.5, [1, 2, 4])).all()
    assert np.isnan(cross_fit.full_ceiling(-0.2)) and np.isnan(cross_fit.full_ceiling(0.0))


def test_the_sentence_says_that_there_is_none():
    table = pd.DataFrame({"items": ["absolute"], "n_annotators": [2], "reliability": [-0.12]})
    assert "do not agree (r = -0.12): no reliability" in headlines.annotator_reliability(table)
    value = pd.Series({"items": "absolute", "level": "interval", "value": np.nan, "lower": np.nan, "upper": np.nan})
    assert "not defined" in headlines.agreement(value)


@pytest.mark.parametrize("item_type", ["absolute", "pairs"])
@pytest.mark.parametrize("label", [lambda i, j: 1, lambda i, j: [1, 2][(i + j) % 2]], ids=["all equal", "equal means"])
def test_notebook_09_says_that_equal_items_judge_no_scorer(item_type, label):
    scale = (1, 2, 3, 4, 5) if item_type == "absolute" else (-2, -1, 0, 1, 2)
    turn = 1 if item_type == "absolute" else -1
    signed = (
        label if label(0, 0) == label(0, 1) else lambda i, j: label(i, j) if j % 4 < 2 or turn > 0 else -label(i, j)
    )
    found, rng = annotations(signed, 12, 4, item_type, scale), np.random.default_rng(0)
    rows = [(i, s, s, rng.normal(), "files") for i in found.items["item_id"] for s in ("judge", "reward")]
    table = pd.DataFrame(rows, columns=["item_id", "scorer", "scorer_type", "score", "source"]).assign(
        distribution=None
    )
    scored = ratings.scored(found, table)
    judged = ratings.judge(scored)
    grids = calibration.grids(scored)
    calibrated = calibration.scorer_table(grids, judged, 3, rng)
    kinds = calibration.kind_table(grids, judged, calibrated, 2, rng)
    calibration.selections(scored, 3, rng), calibration.human_ceiling(scored, 2, rng), calibration.soft_table(scored)
    assert (judged.table["verdict"] == "not testable").all()
    assert "no scorer can be judged on contested ones" in headlines.verdict(judged.table, item_type)
    assert "nan" not in headlines.agreement_of_kinds(kinds, item_type)

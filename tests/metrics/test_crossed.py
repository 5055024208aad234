"""Prompts and models as crossed random effects."""

import warnings

import numpy as np
import pytest

from hivemind_utils.metrics import crossed


def a_table(rng, n_prompts=20, n_models=8, sd=(0.1, 0.06, 0.05), mean=0.7):
    prompts, models, rest = sd
    return (
        mean
        + prompts * rng.standard_normal((n_prompts, 1))
        + models * rng.standard_normal((1, n_models))
        + rest * rng.standard_normal((n_prompts, n_models))
    )


def test_balanced_components_are_those_of_the_analysis_of_variance():
    values = a_table(np.random.default_rng(0))
    p, m = values.shape
    rows, columns, mean = values.mean(1), values.mean(0), values.mean()
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((p - 1) * (m - 1))
    found = crossed.crossed_mean(values)
    assert found.rest == pytest.approx(rest)
    assert found.prompts == pytest.approx(rows.var(ddof=1) - rest / m)
    assert found.models == pytest.approx(columns.var(ddof=1) - rest / p)
    assert found.se**2 == pytest.approx(rows.var(ddof=1) / p + columns.var(ddof=1) / m - rest / (p * m))


def test_they_agree_with_the_mixed_model_of_statsmodels():
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    values = a_table(np.random.default_rng(3), 15, 6)
    prompt, model = np.indices(values.shape).reshape(2, -1)
    frame = pd.DataFrame({"prompt": prompt, "model": model, "y": values.ravel()})
    parts = {"prompt": "0 + C(prompt)", "model": "0 + C(model)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = MixedLM.from_formula(
            "y ~ 1", frame.assign(all=1), groups="all", vc_formula=parts, re_formula="0"
        ).fit()
    found = crossed.crossed_mean(values)
    assert fitted.scale == pytest.approx(found.rest, rel=0.02)
    assert sorted(fitted.vcomp) == pytest.approx(sorted([found.prompts, found.models]), rel=0.03)
    assert float(fitted.bse_fe.iloc[0]) == pytest.approx(found.se, rel=0.02)


def test_components_are_unbiased_with_cells_missing():
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        values = a_table(rng)
        values[rng.random(values.shape) < 0.3] = np.nan
        found.append(crossed.crossed_mean(values)[4:7])
    assert np.mean(found, 0) == pytest.approx([0.01, 0.0036, 0.0025], rel=0.1)


@pytest.mark.parametrize("n_models", [5, 20])
def test_the_interval_covers_other_prompts_and_models(n_models):
    rng, hits, narrow = np.random.default_rng(2), 0, 0
    for _ in range(400):
        values = a_table(rng, 30, n_models, (0.05, 0.06, 0.05))
        found = crossed.crossed_mean(values)
        hits += found.lower <= 0.7 <= found.upper
        half = 2.045 * values.mean(1).std(ddof=1) / np.sqrt(30)
        narrow += abs(values.mean() - 0.7) <= half
    assert 0.92 <= hits / 400 <= 0.985 and narrow / 400 < 0.75


def test_order_of_prompts_and_models_does_not_matter():
    values = a_table(np.random.default_rng(4))
    values[0, 0] = np.nan
    rng = np.random.default_rng(5)
    other = values[rng.permutation(20)][:, rng.permutation(8)]
    assert crossed.crossed_mean(other)[:8] == pytest.approx(crossed.crossed_mean(values)[:8])


@pytest.mark.parametrize("values", [np.full((3, 3), np.nan), [[0.5]], [[0.5, 0.6]], [[0.5], [0.6]]])
def test_too_little_has_no_interval(values):
    found = crossed.crossed_mean(values)
    assert np.isnan(found.lower) and np.isnan(found.se)


def test_constant_tables_have_an_interval_of_no_width():
    found = crossed.crossed_mean(np.full((4, 3), 0.5))
    assert (found.lower, found.upper) == pytest.approx((0.5, 0.5))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="n_prompts, n_models"):
        crossed.crossed_mean([0.5, 0.6])

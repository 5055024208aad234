"""The power planner: golden values, literal loops, and simulated pilots."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import interventions, power, quality

modest = settings(deadline=None, max_examples=15, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.cos(radians[:, None] - radians)


def draw(rng, cells, n, spread=1.0):
    radians = rng.normal(0, spread, (cells, n))
    return np.cos(radians[:, :, None] - radians[:, None])


def test_golden_components():
    one, both = power.pair_components(angles(0, 20, 60, 100, 150))
    assert (one, both) == (pytest.approx(0.016973, abs=5e-7), pytest.approx(0.400194, abs=5e-7))
    assert power.diversity_variance(one, both, 5) == pytest.approx(0.050204, abs=5e-7)


def test_golden_difference():
    assert power.detectable_difference(100, 0.01, 0.12 / 10) == pytest.approx(0.041968, abs=5e-7)


@modest
@given(seeds, st.integers(4, 6))
def test_components_match_the_loops(seed, n):
    cosines = draw(np.random.default_rng(seed), 1, n)[0]
    h = 1 - cosines
    four = np.mean([h[i, j] * h[k, m] for i, j, k, m in permutations(range(n), 4)])
    three = np.mean([h[i, j] * h[i, k] for i, j, k in permutations(range(n), 3)])
    two = np.mean([h[i, j] ** 2 for i, j in permutations(range(n), 2)])
    assert power.pair_components(cosines) == pytest.approx((three - four, two - four))


def test_components_predict_the_variance_at_other_sizes():
    rng = np.random.default_rng(0)
    one, both = power.pair_components(draw(rng, 4000, 6))
    for n in (3, 12):
        found = quality.diversity(draw(rng, 4000, n)).var()
        assert power.diversity_variance(one, both, n) == pytest.approx(found, rel=0.08)


def test_variance_is_never_negative_and_falls():
    assert power.diversity_variance(-0.1, 0.01, 30) == 0
    assert np.all(np.diff(power.diversity_variance(0.02, 0.4, np.arange(2, 40))) < 0)


def test_means_vary_by_their_variance_over_n():
    values = np.random.default_rng(1).normal(size=(50, 8))
    values[3, 2] = np.nan
    values[4, 1:] = np.nan
    kept = [row[~np.isnan(row)] for row in values if (~np.isnan(row)).sum() > 1]
    slow = np.mean([row.var(ddof=1) for row in kept]) / 20
    assert power.mean_variance(values, 20) == pytest.approx(slow)


def test_prompt_variance_is_recovered_and_never_negative():
    rng = np.random.default_rng(2)
    found = [power.prompt_variance(rng.normal(0, np.sqrt(0.04 + 0.01), 60), 0.01) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.04, rel=0.04)
    assert power.prompt_variance([0.1, 0.1, np.nan], 0.5) == 0


def test_a_planned_study_finds_its_difference_as_often_as_planned():
    rng = np.random.default_rng(3)
    between, n, n_prompts = 0.01, 8, 30
    spreads = (0.8, 1.0)
    within = sum(
        power.diversity_variance(*power.pair_components(draw(rng, 3000, 8, spread)), n) for spread in spreads
    )  # fmt: skip
    difference = power.detectable_difference(n_prompts, between, within)
    found = []
    for _ in range(600):
        d = [quality.diversity(draw(rng, n_prompts, n, spread)) for spread in spreads]
        centred = d[1] - d[0] - (np.exp(-(0.8**2)) - np.exp(-(1.0**2)))
        x = centred + difference + rng.normal(0, between**0.5, n_prompts)
        found.append(interventions.mean_contrast(x).lower > 0)
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_the_best_plan_is_the_best_of_all():
    def within(n):
        return 0.2 / n

    plan = power.best_plan(50, 0.02, 0.01, within, prompt_cost=0.1, max_prompts=200)
    tried = []
    for n in range(2, 101):
        prompts = min(int(50 / (0.02 * n + 0.1) + 1e-9), 200)
        if prompts >= 2:
            tried.append((power.detectable_difference(prompts, 0.01, within(n)), prompts, n))
    assert (plan.difference, plan.n_prompts, plan.n_responses) == min(tried)
    assert plan.cost <= 50
    more = power.best_plan(150, 0.02, 0.01, within, prompt_cost=0.1, max_prompts=200)
    assert more.difference < plan.difference


def test_where_prompts_do_not_differ_responses_are_as_good_as_prompts():
    plan = power.best_plan(100, 1, 1.0, lambda n: 0.0 * n)
    assert plan.n_responses == 2 and plan.n_prompts == 50


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: power.pair_components(np.eye(3)), "at least four responses in a cell, but 3"),
        (lambda: power.pair_components(np.ones((2, 3))), "n, n"),
        (lambda: power.diversity_variance(0.1, 0.1, 1), "at least two responses, but 1"),
        (lambda: power.mean_variance([[1.0], [2.0]], 5), "at least two responses"),
        (lambda: power.prompt_variance([0.1, np.nan], 0.1), "at least two prompts with both arms, but 1"),
        (lambda: power.detectable_difference(1, 0.1, 0.1), "at least two prompts, but 1"),
        (lambda: power.detectable_difference(9, 0.1, 0.1, power=1), "between 0 and 1"),
        (lambda: power.best_plan(1, 1, 0.1, lambda n: 1 / n), "does not pay for two prompts of 2 responses: 4 would"),
        (lambda: power.best_plan(1, 0, 0.1, lambda n: 1 / n), "above 0"),
    ],
)
def test_bad_input_is_refused(work, words):
    with pytest.raises(ValueError, match=words):
        work()

"""The frontier of quality and diversity, and gain over the ladder."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import frontier

modest = settings(deadline=None, max_examples=30, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
Q = np.array([(0.8, 0.7, 0.5), (0.9, 0.6, 0.7), (0.7, 0.8, 0.6)])
D = np.array([(0.2, 0.5, 0.4), (0.3, 0.4, 0.6), (0.1, 0.4, 0.3)])
ALL_DRAWS = np.array([np.bincount(draw, minlength=3) for draw in product(range(3), repeat=3)])
LADDER_Q, LADDER_D = np.array([(0.8, 0.2), (0.78, 0.3), (0.7, 0.36), (0.6, 0.5), (0.4, 0.52)]).T


def test_golden_share_of_resamples():
    assert frontier.frontier_share(Q, D, ALL_DRAWS) * 27 == pytest.approx([23, 20, 7])


@modest
@given(seeds, st.integers(1, 6))
def test_dominated_matches_the_loop(seed, n_arms):
    rng = np.random.default_rng(seed)
    q, d = np.round(rng.random((2, n_arms)), 1)
    slow = [
        any(q[j] >= q[i] and d[j] >= d[i] and (q[j] > q[i] or d[j] > d[i]) for j in range(n_arms))
        for i in range(n_arms)
    ]
    assert frontier.dominated(q, d).tolist() == slow


def test_equal_arms_do_not_dominate_each_other_and_rounding_does_not_count():
    assert not frontier.dominated([0.5, 0.5 + 1e-14], [0.3, 0.3]).any()


def test_an_arm_that_was_never_asked_is_left_to_the_caller_and_missing_prompts_are_left_out_of_all():
    q, d = Q.copy(), D.copy()
    q[1, 2] = np.nan
    drawn = np.array([[1, 5, 1], [0, 3, 0]])
    expected = frontier.frontier_share(Q[[0, 2]], D[[0, 2]], np.ones((1, 2)))
    assert frontier.frontier_share(q, d, drawn).tolist() == expected.tolist()
    assert np.isnan(frontier.frontier_share(np.full((2, 2), np.nan), np.ones((2, 2)), np.ones((3, 2)))).all()
    assert not frontier.dominated([np.nan, 0.5], [0.9, 0.1]).any()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(n_prompts, n_arms\)"):
        frontier.frontier_share(Q, D, np.ones((2, 4)))
    with pytest.raises(ValueError, match="both have shape"):
        frontier.dominated([1, 2], [1])
    with pytest.raises(ValueError, match="Rungs need a quality"):
        frontier.ladder_line(0.5, [1, 2], [1])


def test_golden_gains():
    line = frontier.ladder_line([0.7, 0.75, 0.85], LADDER_Q, LADDER_D)
    gains = np.array([0.45, 0.45, 0.25]) - line
    assert gains == pytest.approx([0.061111, 0.116667, np.nan], abs=5e-7, nan_ok=True)


@modest
@given(seeds, st.integers(1, 5))
def test_the_line_matches_the_loop(seed, n_rungs):
    rng = np.random.default_rng(seed)
    q, d = np.round(rng.random((2, n_rungs)), 1)
    for at in (*np.round(rng.random(3), 2), *q):
        reached = [d[i] for i in range(n_rungs) if q[i] >= at]
        for i, j in combinations(range(n_rungs), 2):
            if min(q[i], q[j]) < at < max(q[i], q[j]):
                reached.append(d[i] + (at - q[i]) / (q[j] - q[i]) * (d[j] - d[i]))
        slow = max(reached) if reached else np.nan
        assert frontier.ladder_line(at, q, d) == pytest.approx(slow, nan_ok=True)


@modest
@given(seeds)
def test_a_rung_gains_nothing_and_the_line_falls_with_quality(seed):
    rng = np.random.default_rng(seed)
    q, d = rng.random((2, 6, 4))
    gain = frontier.ladder_gain(q, d, [0, 1, 2], rng.multinomial(6, np.full(6, 1 / 6), 5))
    assert np.all(gain[:, :3] <= 1e-12)
    line = frontier.ladder_line(np.linspace(0, q[0].max(), 20), q[0], d[0])
    assert np.all(np.diff(line) <= 1e-12)


def test_mixing_two_rungs_lies_on_or_above_their_line():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=(40, 3)) + shift for shift in ([1, 0, 0], [0, 1, 1]))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    d = [1 - np.sum(x.mean(0) ** 2) for x in (a, b)]
    mixed = 1 - np.sum((0.3 * a.mean(0) + 0.7 * b.mean(0)) ** 2)
    line = frontier.ladder_line(0.3 * 0.9 + 0.7 * 0.5, [0.9, 0.5], np.sort(d))
    assert mixed >= 0.3 * d[0] + 0.7 * d[1]
    assert line == pytest.approx(0.3 * min(d) + 0.7 * max(d))


def test_gain_in_logs_needs_positive_values():
    gain = frontier.ladder_gain([[0.8, 0.6, 0.7]], [[1, 4, 3]], [0, 1], np.ones((1, 1)), log=True)
    assert gain[0, 2] == pytest.approx(np.log(3 / 2))
    with pytest.raises(ValueError, match="diversities above 0"):
        frontier.ladder_gain([[0.8, 0.6]], [[0, 4]], [0, 1], np.ones((1, 1)), log=True)


@modest
@given(seeds, st.integers(1, 6))
def test_expected_best_is_the_mean_over_subsets(seed, s):
    values = np.random.default_rng(seed).random(6)
    assert frontier.expected_best(values, s) == pytest.approx(np.mean([max(x) for x in combinations(values, s)]))


def test_more_settings_than_were_tried_are_refused():
    with pytest.raises(ValueError, match="number of settings, 2, but 3"):
        frontier.expected_best([1, 2], 3)

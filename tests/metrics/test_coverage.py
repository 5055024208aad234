"""Ideas at equal size and equal coverage, Chao1 and the profile: golden values, brute force, degenerate counts."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import coverage, diversity

modest = settings(deadline=None, max_examples=30, derandomize=True)
some_counts = st.lists(st.integers(1, 4), min_size=1, max_size=4)
X, Y = [5, 2, 1, 1, 1], [3, 3, 2, 2]


def subsets(counts, size):
    ideas = np.repeat(np.arange(len(counts)), counts)
    return [np.bincount(ideas[list(rows)], minlength=len(counts)) for rows in combinations(range(len(ideas)), size)]


def test_golden_profile_and_size():
    assert coverage.hill_profile(X, (0, 1, 2, np.inf)) == pytest.approx([5, 3.893220, 3.125, 2], abs=5e-7)
    assert coverage.hill_at_size(X, 5) == pytest.approx([3.273810, 2.885843, 2.528090], abs=5e-7)


def test_golden_coverage():
    found = [coverage.coverage(X, size) for size in (2, 5, 9, 10)]
    assert found == pytest.approx([0.405556, 0.607143, 0.7, 0.720690], abs=5e-7)
    assert coverage.distinct_with_more(X, 10) == pytest.approx(7.067959, abs=5e-7)


def test_golden_equal_coverage():
    target = coverage.coverage(X)
    assert coverage.size_at_coverage(Y, target) == pytest.approx(4.986207, abs=5e-7)
    assert coverage.hill_at_coverage(Y, target) == pytest.approx([3.383525, 3.138706, 2.917755], abs=5e-7)
    assert coverage.hill_at_coverage(X, target) == pytest.approx(coverage.hill_profile(X, (0, 1, 2)))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 1, 1, 4, 2, 5, 2, 4, 1, 2), (9, 9.75, 9.066559, 17.451092)),
        ((0, 2, 2, 4, 5), (4, 4, 4, 4.948661)),
        ((0, 1, 1, 4, 5), (4, 5, 4.075339, 17.273425)),
        ((1, 3, 4), (3, 3, np.nan, np.nan)),
    ],
)
def test_golden_chao1(counts, expected):
    assert coverage.chao1_interval(counts) == pytest.approx(expected, abs=5e-7, nan_ok=True)


@modest
@given(some_counts)
def test_chao1_interval_holds_the_estimate_and_agrees_where_something_is_unseen(counts):
    found, old = coverage.chao1_interval(counts), diversity.chao1(counts)
    assert found[:2] == old[:2]
    if found.estimate > found.observed:
        assert found == old
    elif not np.isnan(found.lower):
        assert found.observed == found.lower <= found.estimate < found.upper


@modest
@given(some_counts, st.data())
def test_hill_at_a_size_comes_from_expected_frequencies(counts, data):
    n = sum(counts)
    size = data.draw(st.integers(1, n))
    drawn = subsets(counts, size)
    expected = np.array([np.mean([(x == k).sum() for x in drawn]) for k in range(1, size + 1)])
    share = np.arange(1, size + 1) / size
    slow = [expected.sum(), np.exp(-(share * np.log(share)) @ expected), 1 / (share**2 @ expected)]
    assert coverage.hill_at_size(counts, size) == pytest.approx(slow)
    assert coverage.hill_at_size(counts, size, (0,)) == pytest.approx(diversity.rarefaction(counts, [size]))


@modest
@given(some_counts)
def test_at_full_size_hill_numbers_are_the_plain_ones(counts):
    orders = (0, 0.5, 1, 2, 3)
    assert coverage.hill_at_size(counts, sum(counts), orders) == pytest.approx(coverage.hill_profile(counts, orders))


@modest
@given(some_counts, st.integers(0, 3), st.data())
def test_distinct_valid_ideas_match_the_subsets(counts, n_invalid, data):
    n = sum(counts) + n_invalid
    size = data.draw(st.integers(1, n))
    slow = np.mean([(x[: len(counts)] > 0).sum() for x in subsets([*counts, n_invalid], size)])
    assert coverage.distinct_at_size(counts, n, size) == pytest.approx(slow)


def test_coverage_of_a_part_is_unbiased():
    shares = np.array([0.4, 0.3, 0.2, 0.05, 0.05])
    rng, estimate, true = np.random.default_rng(0), [], []
    for _ in range(4000):
        counts = rng.multinomial(12, shares)
        estimate.append(coverage.coverage(counts, 6))
        true.append(1 - shares @ (1 - shares) ** 6)
    assert np.mean(estimate) == pytest.approx(np.mean(true), abs=0.005)


@modest
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6).filter(lambda x: sum(x) > 3))
def test_coverage_rises_with_size_and_is_reached_at_its_size(counts):
    curve = [coverage.coverage(counts, size) for size in range(1, sum(counts))]
    assert np.all(np.diff(curve) >= -1e-12)
    size = coverage.size_at_coverage(counts, curve[1])
    assert coverage.coverage(counts, int(np.ceil(size - 1e-9))) == pytest.approx(curve[1])


def test_a_measure_at_equal_coverage_tells_arms_apart_that_equal_size_does_not():
    few, many = [15, 15], [15, 6, 3, 2, 1, 1, 1, 1]
    found = coverage.compare_at_coverage([few, many])
    assert found.reason == "" and found.target == found.coverage[1] < found.coverage[0]
    assert found.sizes[1] == 30 and found.hill[1, 0] == 8 and found.hill[0, 0] < 2


@pytest.mark.parametrize(
    ("arms", "reason"),
    [([X, [30, 5]], "an arm has 10 responses, 20 are needed"), ([[1] * 18 + [2]], "a coverage of 0.1")],
)
def test_arms_with_few_responses_or_little_coverage_are_not_compared(arms, reason):
    found = coverage.compare_at_coverage(arms)
    assert reason in found.reason
    assert np.isnan(found.hill).all() and not np.isnan(found.coverage).any()


@modest
@given(some_counts, some_counts)
def test_unequal_arms_meet_at_the_smaller_number(first, second):
    hill, size = coverage.hill_at_common_size(first, second, (0, 1, 2))
    assert size == min(sum(first), sum(second))
    assert hill[0] == pytest.approx(coverage.hill_at_size(first, size))
    assert hill[1] == pytest.approx(coverage.hill_at_size(second, size))


def test_an_arm_without_ideas_has_no_hill_number():
    hill, size = coverage.hill_at_common_size([0, 0], [3])
    assert size == 0 and np.isnan(hill).all()


def test_degenerate_counts():
    assert coverage.coverage([7]) == 1
    assert coverage.coverage([1]) == 0
    assert coverage.coverage([1, 1]) == 1 - 1 / 3
    assert coverage.distinct_with_more([3, 3], 6) == 2
    assert coverage.distinct_at_size([0, 0], 4, 2) == 0
    assert coverage.hill_profile([4]).tolist() == [1] * 7
    assert coverage.size_at_coverage([4], 1.0) == 1


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: coverage.hill_at_size(X, 11), "from 1 to the number of responses, 10, but 11"),
        (lambda: coverage.coverage(X, 0), "from 1 to the number of responses, 10, but 0"),
        (lambda: coverage.hill_at_size(X, 5, (np.inf,)), "finite"),
        (lambda: coverage.size_at_coverage(X, 0.9), "0.7207, but 0.9"),
        (lambda: coverage.distinct_with_more(X, 11), "0 to the number of responses, 10, but 11"),
        (lambda: coverage.distinct_at_size([3], 2, 1), "3 valid responses cannot come from 2"),
        (lambda: coverage.coverage([0, 0]), "not all 0"),
        (lambda: coverage.compare_at_coverage([]), "At least one arm"),
    ],
)
def test_bad_input_is_refused(work, words):
    with pytest.raises(ValueError, match=words):
        work()

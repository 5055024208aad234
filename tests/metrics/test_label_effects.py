"""Effects of labels from sums of unit vectors: golden values, literal loops, degenerate labels."""

import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import intervals, label_effects

ROOT = Path(__file__).resolve().parents[2]
modest = settings(deadline=None, max_examples=20, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
GOLDEN = [([0, 20, 40], [60, 80]), ([0, 30, 90], [10, 50])]


def rows_of(degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_golden_labels():
    sums = [[rows_of(group).sum(0) for group in prompt] for prompt in GOLDEN]
    omega, rho = label_effects.label_parts(sums, [[3, 2], [3, 2]])
    assert omega[0] / omega[1] == pytest.approx([0.590213, -0.218756], abs=5e-7)
    assert rho[0] / rho[1] == pytest.approx([0.735698, -0.803803], abs=5e-7)
    pooled = [intervals.ratio_interval(*parts).estimate for parts in (omega, rho)]
    assert pooled == pytest.approx([0.104877, 0.123771], abs=5e-7)


def test_golden_label_permutations():
    rows = [rows_of([*a, *b]) for a, b in GOLDEN]
    ways = list(combinations(range(5), 3))
    drawn = []
    for chosen in product(ways, ways):
        sums = [[x[list(c)].sum(0), np.delete(x, c, 0).sum(0)] for x, c in zip(rows, chosen, strict=True)]
        omega, _ = label_effects.label_parts(sums, [[3, 2], [3, 2]])
        drawn.append(omega[0].sum() / omega[1].sum())
    assert sum(value >= drawn[0] - 1e-12 for value in drawn) == 35
    grams = np.stack([x @ x.T for x in rows])
    found = label_effects.label_test(
        grams, np.ones((2, 5)), [0, 0, 0, 1, 1], np.random.default_rng(0), n_permutations=20_000
    )
    assert found == (pytest.approx(drawn[0]), pytest.approx(0.35, abs=0.015))


@modest
@given(seeds, st.integers(2, 5))
def test_labels_match_the_loops(seed, n_groups):
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(12, 3)), rng.permutation(np.resize(np.arange(n_groups), 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sums = np.stack([rows[labels == g].sum(0) for g in range(n_groups)])[None]
    omega, rho = label_effects.label_parts(sums, np.bincount(labels)[None])
    centre = rows.mean(0)
    total = ((rows - centre) ** 2).sum()
    within = sum(((rows[labels == g] - rows[labels == g].mean(0)) ** 2).sum() for g in range(n_groups))
    noise = within / (12 - n_groups)
    slow = (total - within - (n_groups - 1) * noise) / (total + noise)
    assert omega[0] / omega[1] == pytest.approx([slow])
    pairs = list(combinations(range(12), 2))
    inside = np.mean([rows[i] @ rows[j] for i, j in pairs if labels[i] == labels[j]])
    outside = np.mean([rows[i] @ rows[j] for i, j in pairs if labels[i] != labels[j]])
    assert rho[0] / rho[1] == pytest.approx([(inside - outside) / (1 - outside)])


@modest
@given(seeds, st.booleans(), st.sampled_from([2, 10]))
def test_label_test_fits_every_permutation_as_the_loop_does(seed, together, n_groups):
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(3, 20, 4))
    counts, labels = np.full((3, 20), 5), rng.permutation(np.resize(np.arange(n_groups), 20))
    counts[1, 3:5] = 4
    grams = sums @ sums.transpose(0, 2, 1)
    estimate, p = label_effects.label_test(
        grams, counts, labels, np.random.default_rng(1), n_permutations=30, together=together
    )
    again, drawn = np.random.default_rng(1), []
    orders = [again.permuted(np.tile(np.arange(20), (30, 1)), axis=1) for _ in range(1 if together else 3)]
    orders = [np.vstack([np.arange(20), order]) for order in (orders * 3 if together else orders)]
    for k in range(31):
        above = below = 0.0
        for prompt in range(3):
            order = orders[prompt][k]
            group_sums = np.array([sums[prompt, order[labels == g]].sum(0) for g in range(n_groups)])
            group_counts = np.array([counts[prompt, order[labels == g]].sum() for g in range(n_groups)])
            omega, _ = label_effects.label_parts(group_sums[None], group_counts[None])
            above, below = above + omega[0][0], below + omega[1][0]
        drawn.append(above / below)
    assert estimate == pytest.approx(drawn[0])
    assert p == (1 + sum(value >= drawn[0] - 1e-9 for value in drawn[1:])) / 31


def test_rho_is_free_of_the_number_of_groups_and_omega_is_not():
    rng = np.random.default_rng(2)
    found = []
    for n_groups in (2, 30):
        parts = []
        for _ in range(600):
            centres = rng.normal(size=(n_groups, 1, 40))
            rows = centres + rng.normal(size=(n_groups, 5, 40))
            rows /= np.linalg.norm(rows, axis=2, keepdims=True)
            parts.append(rows.sum(1))
        omega, rho = label_effects.label_parts(np.array(parts), np.full((600, n_groups), 5))
        found.append((omega[0].sum() / omega[1].sum(), rho[0].sum() / rho[1].sum()))
    assert found[1][0] - found[0][0] > 0.1
    assert found[1][1] == pytest.approx(found[0][1], abs=0.02)


def test_one_group_and_single_responses_have_no_value():
    omega, rho = label_effects.label_parts(np.ones((2, 2, 1)), [[3, 0], [1, 1]])
    assert np.isnan([*omega[0], *rho[1]]).all()
    with pytest.raises(ValueError, match="No prompt has two groups"):
        label_effects.label_test(
            np.eye(3)[None], np.ones((1, 3)), [0, 0, 0], np.random.default_rng(0), n_permutations=5
        )
    with pytest.raises(ValueError, match="n_prompts, n_groups, n_dims"):
        label_effects.label_parts(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="n_prompts, n_units, n_units"):
        label_effects.label_test(np.ones((2, 2)), np.ones((2, 2)), [0, 1], np.random.default_rng(0))


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import sources as module

        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_benchmarks_loop_agrees(benchmark):
    rng = np.random.default_rng(0)
    sums, counts, labels = rng.normal(size=(2, 6, 3)), np.full((2, 6), 4), np.array([0, 0, 1, 1, 2, 2])
    grams = sums @ sums.transpose(0, 2, 1)
    fast = label_effects.label_test(grams, counts, labels, rng, n_permutations=1, together=True)[0]
    assert fast == pytest.approx(benchmark.literal_omega(sums, counts, labels))

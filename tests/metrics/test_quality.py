"""Diversity among good responses, value to a reader, and means of quality from a few labels."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import quality

modest = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.cos(radians[:, None] - radians)


def cell(seed, n):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rng, rows @ rows.T, np.round(rng.random(n), 1), rng.random(n) < 0.8


# -------------------------------------------------------------------------------------------------- effective diversity


def test_golden_curve():
    found = quality.effective_diversity(angles(0, 20, 60, 100), [0.9, 0.4, 0.8, 0.7], [0, 0.5, 0.75, 0.85])
    assert found == pytest.approx([0.504703, 0.317934, 0.083333, 0], abs=5e-7)


def test_golden_loss():
    before, after = angles(0, 20, 60, 100), angles(0, 10, 30, 50)
    ok_before, ok_after = np.array([0.9, 0.4, 0.8, 0.7]) >= 0.5, np.array([0.9, 0.8, 0.3, 0.9]) >= 0.5
    parts = quality.loss_parts(
        quality.diversity(before), quality.diversity(before, ok_before),
        quality.diversity(after, ok_after), quality.diversity(after),
    )  # fmt: skip
    assert parts == pytest.approx([-0.131165, 0.433748, 0.058628], abs=1e-6)
    assert parts.sum() == pytest.approx(0.361211, abs=1e-6)


@modest
@given(seeds, st.integers(2, 9))
def test_effective_diversity_matches_the_loop_over_pairs(seed, n):
    rng, cosines, scores, usable = cell(seed, n)
    asked = rng.random(n) < 0.9
    for threshold in (0, 0.3, 0.5, 1):
        total, pairs = 0.0, 0
        for i, j in combinations(range(n), 2):
            if asked[i] and asked[j]:
                pairs += 1
                valid = all(usable[k] and scores[k] >= threshold for k in (i, j))
                total += (1 - cosines[i, j]) if valid else 0
        slow = total / pairs if pairs else np.nan
        fast = quality.effective_diversity(cosines, scores, [threshold], usable=usable, asked=asked)[0]
        assert fast == pytest.approx(slow, abs=1e-12, nan_ok=True)


@modest
@given(seeds, st.integers(3, 8))
def test_diversity_of_valid_matches_the_loop_and_its_product(seed, n):
    _, cosines, scores, usable = cell(seed, n)
    rows = [i for i in range(n) if usable[i] and scores[i] >= 0.3]
    pairs = list(combinations(rows, 2))
    slow = np.mean([1 - cosines[i, j] for i, j in pairs]) if pairs else np.nan
    found = quality.diversity(cosines, usable & (scores >= 0.3))
    assert found == pytest.approx(slow, nan_ok=True)
    effective = quality.effective_diversity(cosines, scores, [0.3], usable=usable)[0]
    m = len(rows)
    assert effective == pytest.approx((slow if pairs else 0) * m * (m - 1) / (n * (n - 1)))


@modest
@given(seeds)
def test_effective_diversity_of_part_is_that_of_all_on_average(seed):
    _, cosines, scores, usable = cell(seed, 6)
    whole = quality.effective_diversity(cosines, scores, [0.5], usable=usable)[0]
    parts = [
        quality.effective_diversity(cosines[np.ix_(rows, rows)], scores[rows], [0.5], usable=usable[rows])[0]
        for rows in map(list, combinations(range(6), 4))
    ]
    assert np.mean(parts) == pytest.approx(whole)


def test_order_of_responses_and_padding_do_not_matter():
    rng, cosines, scores, usable = cell(3, 7)
    order = rng.permutation(7)
    shuffled = cosines[np.ix_(order, order)]
    expected = quality.effective_diversity(cosines, scores, [0.2, 0.6], usable=usable)
    found = quality.effective_diversity(shuffled, scores[order], [0.2, 0.6], usable=usable[order])
    assert found == pytest.approx(expected)
    padded = np.pad(cosines, (0, 2), constant_values=0.7)[None]
    asked = np.r_[np.ones(7, bool), np.zeros(2, bool)][None]
    found = quality.effective_diversity(
        padded, np.r_[scores, np.nan, np.nan][None], [0.2, 0.6], usable=np.r_[usable, True, True][None], asked=asked
    )
    assert found[0] == pytest.approx(expected)


def test_one_response_has_no_diversity():
    assert np.isnan(quality.diversity(np.ones((1, 1))))
    assert np.isnan(quality.effective_diversity(np.ones((1, 1)), [0.5], [0])).all()
    assert np.isnan(quality.diversity(np.ones((3, 3)), [True, False, False]))


def test_all_unusable_is_no_diversity_not_missing():
    found = quality.effective_diversity(np.eye(3), [np.nan] * 3, [0, 0.5], usable=np.zeros(3, bool))
    assert found.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("scores", "words"), [([0.5, np.nan, 0.1], "1 have none"), ([0.5, 3, 4], "lie in 0 to 1, but 0.5 to 4")]
)
def test_unknown_and_unscaled_quality_is_refused(scores, words):
    with pytest.raises(ValueError, match=words):
        quality.effective_diversity(np.eye(3), scores, [0])


def test_cosines_must_be_square():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., n, n\), but \(2, 3\)"):
        quality.diversity(np.ones((2, 3)))


@modest
@given(seeds)
def test_log_parts_add_up_to_the_ratio_of_means(seed):
    rng = np.random.default_rng(seed)
    d, share = rng.uniform(0.1, 1, (2, 5)), rng.uniform(0.1, 1, (2, 5))
    d[0, 2], share[0, 2] = np.nan, 0
    total, narrowing, validity = quality.log_ratio_parts((d[0], share[0]), (d[1], share[1]))
    effective = [
        np.mean([x * s if s else 0 for x, s in zip(*pair, strict=True)]) for pair in zip(d, share, strict=True)
    ]
    assert total == pytest.approx(np.log(effective[1] / effective[0]))
    assert total == pytest.approx(narrowing + validity)


def test_log_parts_without_any_valid_pair_are_missing():
    assert np.isnan(quality.log_ratio_parts(([np.nan], [0.0]), ([0.5], [0.5]))).all()


# ------------------------------------------------------------------------------------------------------------- a reader


def literal_utility(ideas, value, k, patience):
    total = 0.0
    orders = list(permutations(range(len(ideas))))
    for order in orders:
        seen = set()
        for t, i in enumerate(order[:k]):
            if ideas[i] not in seen:
                total += patience**t * value[i]
            seen.add(ideas[i])
    return total / len(orders) / sum(patience**t for t in range(k))


@pytest.mark.parametrize(("k", "value"), [(1, 0.62), (3, 0.509180), (5, 0.416802)])
def test_golden_utility(k, value):
    assert quality.utility([0, 0, 1, 2, 1], [0.8, 0.6, 0.9, 0.5, 0.3], k) == pytest.approx(value, abs=5e-7)


def test_golden_yield():
    assert quality.yield_of_ideas([0, 0, 1, 2, 1], [0.8, 0.6, 0.9, 0.5, 0.3]) == pytest.approx(0.44)


@modest
@given(seeds, st.integers(1, 5), st.sampled_from([0.0, 0.5, 0.8, 1.0]))
def test_utility_is_the_mean_over_all_orders(seed, k, patience):
    rng = np.random.default_rng(seed)
    ideas, scores, usable = rng.integers(0, 3, 5), rng.random(5), rng.random(5) < 0.8
    slow = literal_utility(ideas, np.where(usable, scores, 0), k, patience)
    assert quality.utility(ideas, scores, k, patience=patience, usable=usable) == pytest.approx(slow)


def test_utility_in_order_takes_the_first_of_every_idea():
    found = quality.utility([4, 4, 1], [0.5, 1.0, 0.8], 3, patience=0.5, in_order=True)
    assert found == pytest.approx((0.5 + 0.25 * 0.8) / 1.75)


@modest
@given(seeds, st.integers(1, 6))
def test_yield_at_a_size_is_the_mean_over_subsets(seed, size):
    rng = np.random.default_rng(seed)
    ideas, scores = rng.integers(0, 3, 6), np.round(rng.random(6), 1)
    slow = [
        sum(max(scores[i] for i in rows if ideas[i] == c) for c in {ideas[i] for i in rows}) / size
        for rows in combinations(range(6), size)
    ]
    assert quality.yield_of_ideas(ideas, scores, size) == pytest.approx(np.mean(slow))


def test_a_copy_instead_of_a_new_idea_lowers_the_value():
    one, copy = [0, 1, 2, 3], [0, 1, 2, 2]
    scores = [0.8, 0.8, 0.8, 0.8]
    assert quality.utility(copy, scores, 4) < quality.utility(one, scores, 4) == pytest.approx(0.8)
    assert quality.yield_of_ideas(copy, scores) < quality.yield_of_ideas(one, scores)


@pytest.mark.parametrize("measure", [lambda i, q: quality.utility(i, q, 2), quality.yield_of_ideas])
def test_ideas_known_for_some_only_are_counted_in_the_message(measure):
    with pytest.raises(ValueError, match="but 1 of 3 have none"):
        measure(np.array([0, -1, 2]), [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="must be integers"):
        measure(np.array([0.0, np.nan]), [0.5, 0.5])


@pytest.mark.parametrize("k", [0, 4])
def test_more_looks_than_responses_are_refused(k):
    with pytest.raises(ValueError, match="1 to the number of responses, 3"):
        quality.utility([0, 1, 2], [1, 1, 1], k)
    with pytest.raises(ValueError, match="1 to the number of responses, 3"):
        quality.yield_of_ideas([0, 1, 2], [1, 1, 1], k)


# ------------------------------------------------------------------------------------------------------------ qualities


def test_scale_keeps_missing_and_refuses_what_is_outside():
    assert quality.scale_quality([3, np.nan])[0] == 0.5
    assert np.isnan(quality.scale_quality([3, np.nan])[1])
    with pytest.raises(ValueError, match="scale 1 to 5, but 0 was passed"):
        quality.scale_quality([3, 0])
    with pytest.raises(ValueError, match="below `high`"):
        quality.scale_quality([3], 5, 5)


@modest
@given(seeds)
def test_rank_share_counts_lower_and_half_of_equal(seed):
    rng = np.random.default_rng(seed)
    scores, prompts = rng.integers(0, 4, 12).astype(float), rng.integers(0, 3, 12)
    scores[rng.random(12) < 0.2] = np.nan
    found = quality.rank_quality(scores, prompts)
    for i in range(12):
        mine = scores[(prompts == prompts[i]) & ~np.isnan(scores)]
        slow = (
            ((mine < scores[i]).sum() + (mine == scores[i]).sum() / 2) / len(mine)
            if not np.isnan(scores[i])
            else np.nan
        )
        assert found[i] == pytest.approx(slow, nan_ok=True)


def test_ranks_survive_any_rising_curve_and_nothing_scored():
    scores, prompts = np.array([3.0, -1.0, 2.0, 2.0]), np.array([0, 0, 1, 1])
    assert np.array_equal(quality.rank_quality(scores, prompts), quality.rank_quality(np.exp(scores), prompts))
    assert np.isnan(quality.rank_quality([np.nan, np.nan], [0, 1])).all()
    with pytest.raises(ValueError, match="same length"):
        quality.rank_quality([1.0], [0, 1])


# ------------------------------------------------------------------------------------------------------- powered means

F = np.array([4, 3, 5, 2, 4, 3, 5, 4, 2, 4.0])
PROMPTS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
Y = np.full(10, np.nan)
Y[[0, 2, 3, 6]] = 3, 5, 1, 4


def test_golden_powered_means():
    alone, clustered = quality.powered_mean(F, Y), quality.powered_mean(F, Y, prompts=PROMPTS)
    assert (alone.estimate, alone.weight) == (pytest.approx(2.85), 1)
    assert alone.se == pytest.approx(0.573730, abs=5e-7)
    assert clustered.se == pytest.approx(0.422204, abs=5e-7)
    tuned = quality.powered_mean(F, Y, prompts=PROMPTS, weight=7 / 6)
    assert (tuned.estimate, tuned.se) == (pytest.approx(2.783333, abs=5e-7), pytest.approx(0.360893, abs=5e-7))


def test_all_labelled_is_the_mean_of_labels_with_its_clustered_error():
    y = np.arange(10.0)
    found = quality.powered_mean(F, y, prompts=PROMPTS)
    sums = np.bincount(PROMPTS, y - y.mean()) / 10
    assert found.estimate == pytest.approx(y.mean())
    assert found.se == pytest.approx(np.sqrt(3 / 2 * (sums**2).sum()))


def test_useless_predictions_get_no_weight_and_good_ones_shrink_the_error():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(2, 400))
    labelled = np.where(np.arange(400) < 100, y, np.nan)
    bad, good = quality.powered_mean(noise, labelled), quality.powered_mean(y + 0.1 * noise, labelled)
    assert bad.weight < 0.2 < 0.9 < good.weight <= 1
    assert good.se < 0.6 * bad.se
    assert quality.powered_mean(-y, labelled).weight == 0
    assert quality.powered_mean(np.ones(400), labelled).weight == 1


@pytest.mark.parametrize("clustered", [False, True])
def test_powered_intervals_cover(clustered):
    rng, covered = np.random.default_rng(1), []
    for _ in range(400):
        prompts = np.arange(400) // 10
        y = rng.normal(size=400) + (rng.normal(size=40)[prompts] if clustered else 0)
        f = y + rng.normal(size=400) + 0.5
        some = np.where(rng.permutation(400) < 100, y, np.nan)
        found = quality.powered_mean(f, some, prompts=prompts if clustered else None)
        covered.append(found.lower <= 0 <= found.upper)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_labels_and_predictions_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="two responses need a label, but 1"):
        quality.powered_mean([1, 2], [1, np.nan])
    with pytest.raises(ValueError, match="needs a prediction, but 1 have none"):
        quality.powered_mean([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="same length"):
        quality.powered_mean([1], [1, 2])


def test_one_prompt_has_an_estimate_without_an_interval():
    found = quality.powered_mean([1, 2, 3], [1, 2, np.nan], prompts=[0, 0, 0])
    assert found.estimate == 2
    assert np.isnan([found.se, found.lower, found.upper]).all()

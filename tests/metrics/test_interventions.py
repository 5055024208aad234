"""Measures of arms and their contrasts, against literal loops, golden values and bad input."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hivemind_utils.metrics import interventions, quality

modest = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.cos(radians[:, None] - radians)


# --------------------------------------------------------------------------------------------------------------- cells


@modest
@given(seeds)
def test_cosines_match_the_loop_and_leave_absent_rows_out(seed):
    rng = np.random.default_rng(seed)
    vectors, present = rng.normal(size=(2, 3, 4, 5)), rng.random((2, 3, 4)) < 0.7
    vectors[~present] = np.nan
    found = interventions.cell_cosines(vectors, present)
    for p, a, i, j in np.ndindex(2, 3, 4, 4):
        u, v = vectors[p, a, i], vectors[p, a, j]
        both = present[p, a, i] and present[p, a, j]
        assert found[p, a, i, j] == pytest.approx(u @ v / np.sqrt(u @ u * (v @ v)) if both else 0)


def test_many_cells_are_made_in_blocks():
    vectors = np.random.default_rng(0).normal(size=(150, 3, 4)).astype(np.float32)
    found = interventions.cell_cosines(vectors)
    assert found.dtype == np.float32
    assert found[140] == pytest.approx(interventions.cell_cosines(vectors[140]), abs=1e-6)


def test_a_response_without_a_vector_must_be_marked():
    with pytest.raises(ValueError, match="mark empty responses as not present"):
        interventions.cell_cosines(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="n_dims"):
        interventions.cell_cosines(np.ones(3))


def test_golden_calls():
    within, between = interventions.call_diversity(angles(0, 20, 60, 100), [0, 0, 1, 1])
    assert (within, between) == (pytest.approx(0.147131, abs=5e-7), pytest.approx(0.683489, abs=5e-7))


@modest
@given(seeds)
def test_calls_of_equal_size_make_up_the_whole(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(12, 3))
    cosines = interventions.cell_cosines(rows)
    within, between = interventions.call_diversity(cosines, rng.permutation(np.repeat(np.arange(4), 3)))
    assert (2 * within + 9 * between) / 11 == pytest.approx(quality.diversity(cosines))


def test_single_answers_have_no_diversity_within_calls_and_padding_does_not_count():
    within, between = interventions.call_diversity(np.eye(3), [0, 1, 2])
    assert np.isnan(within) and between == 1
    within, between = interventions.call_diversity(np.eye(3), [0, 0, 0], [True, True, False])
    assert within == 1 and np.isnan(between)


def test_golden_stated_probabilities():
    d, total, n_unknown = interventions.weighted_diversity(angles(0, 20, 60, 100), [0.4, 0.3, 0.2, 0.1])
    assert (d, total, n_unknown) == (pytest.approx(0.393399, abs=5e-7), pytest.approx(1), 0)


@modest
@given(seeds)
def test_stated_probabilities_match_the_loop_whatever_their_sum(seed):
    rng = np.random.default_rng(seed)
    cosines, p = interventions.cell_cosines(rng.normal(size=(5, 3))), rng.random(5) * 3
    p[rng.integers(5)] = rng.choice([np.nan, -0.2, np.inf])
    keep = [i for i in range(5) if 0 <= p[i] < np.inf]
    pairs = list(combinations(keep, 2))
    slow = sum(p[i] * p[j] * (1 - cosines[i, j]) for i, j in pairs) / sum(p[i] * p[j] for i, j in pairs)
    d, total, n_unknown = interventions.weighted_diversity(cosines, p)
    assert (d, total, n_unknown) == (pytest.approx(slow), pytest.approx(p[keep].sum()), 1)
    assert interventions.weighted_diversity(cosines, 7 * p)[0] == pytest.approx(d)


@pytest.mark.parametrize("p", [[np.nan] * 3, [1, 0, 0], [0, 0, 0]])
def test_probability_on_one_response_has_no_diversity(p):
    assert np.isnan(interventions.weighted_diversity(np.eye(3), p)[0])


def test_equal_probabilities_are_no_weights():
    cosines = angles(0, 20, 60, 100)
    assert interventions.weighted_diversity(cosines, [0.1] * 4)[0] == pytest.approx(quality.diversity(cosines))


def test_a_pool_is_the_mean_over_all_draws_of_equal_parts():
    cosines = interventions.cell_cosines(np.random.default_rng(1).normal(size=(8, 3)))
    within = [quality.diversity(cosines[:4, :4]), quality.diversity(cosines[4:, 4:])]
    between = 1 - cosines[:4, 4:].mean()
    slow = np.mean([
        quality.diversity(cosines[np.ix_([*a, *b], [*a, *b])])
        for a in combinations(range(4), 2) for b in combinations(range(4, 8), 2)
    ])  # fmt: skip
    assert interventions.pool_diversity(within, between, 4) == pytest.approx(slow)
    assert interventions.pool_diversity([np.nan, np.nan], 0.5, 2) == 0.5


def test_a_pool_needs_equal_parts():
    with pytest.raises(ValueError, match="multiple of the number of models"):
        interventions.pool_diversity([0.1, 0.2], 0.3, 5)


def test_the_best_model_is_chosen_without_the_prompt():
    values = np.array([[1.0, 0.0, np.nan], [0.4, 0.6, np.nan], [0.4, 0.5, np.nan]])
    chosen, value = interventions.best_on_others(values)
    assert chosen.tolist() == [1, 0, 0]
    assert value.tolist() == [0.0, 0.4, 0.4]
    assert interventions.best_on_others([[1.0, 2.0]])[0].tolist() == [-1]


# --------------------------------------------------------------------------------------------------------------- length


def test_golden_length_pairs():
    a, b = interventions.length_pairs([10, 20, 40, 80], [12, 30, 39, 200])
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 0), (2, 2)]


@modest
@given(seeds)
def test_no_pairing_has_more_pairs(seed):
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rng = np.random.default_rng(seed)
    words = [rng.integers(0, 60, n) for n in (9, 7)]
    a, b = interventions.length_pairs(*words)
    logs = [np.log(np.where(side > 0, side, 1)) for side in words]
    near = np.abs(logs[0][:, None] - logs[1]) <= 0.2
    near &= (words[0] > 0)[:, None] & (words[1] > 0)
    assert len(a) == (maximum_bipartite_matching(csr_array(near.astype(int))) >= 0).sum()
    assert near[a, b].all() and len(set(a)) == len(a) and len(set(b)) == len(b)


def test_length_matched_difference_uses_the_pairs_and_counts_lost_prompts():
    rng = np.random.default_rng(4)
    cosines = interventions.cell_cosines(rng.normal(size=(2, 3, 8, 4)))
    words = rng.integers(20, 40, size=(2, 3, 8))
    words[:, 2, 3:] = 0
    difference, n_pairs = interventions.length_matched_difference(cosines[0], words[0], cosines[1], words[1])
    assert np.isnan(difference[2]) and n_pairs[2] <= 3
    a, b = interventions.length_pairs(words[0, 0], words[1, 0])
    slow = quality.diversity(cosines[0, 0][np.ix_(a, a)]) - quality.diversity(cosines[1, 0][np.ix_(b, b)])
    assert difference[0] == pytest.approx(slow)


# ------------------------------------------------------------------------------------------------------------ contrasts


@modest
@given(seeds)
def test_contrasts_are_paired_t_intervals_over_common_prompts(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(12, 4))
    values[rng.random(values.shape) < 0.15] = np.nan
    found = interventions.contrasts(values, [-1, 0, 1, 0])
    for arm, other in ((1, 0), (2, 1), (3, 0)):
        x = values[:, arm] - values[:, other]
        x = x[~np.isnan(x)]
        test = stats.ttest_1samp(x, 0, alternative="greater")
        low, high = stats.ttest_1samp(x, 0).confidence_interval(0.95)
        assert found.n_prompts[arm] == len(x)
        assert [found.p[arm], found.lower[arm], found.upper[arm]] == pytest.approx([test.pvalue, low, high])
    assert found.n_prompts[0] == 0 and np.isnan(found.p[0])


def test_arms_that_were_never_asked_or_share_one_prompt_have_no_interval():
    values = np.array([[1.0, 2.0, np.nan], [1.0, np.nan, np.nan]])
    found = interventions.contrasts(values, [-1, 0, 0])
    assert found.n_prompts.tolist() == [0, 1, 0]
    assert np.isnan(found.lower).all() and np.isnan(found.p).all()


def test_differences_that_are_all_equal_are_certain():
    found = interventions.mean_contrast(np.array([[0.0, 0.1, -0.1]] * 4))
    assert found.p.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("comparators", "words"),
    [([-1], "one comparator per arm"), ([-1, 2], "an arm, 0 to 1"), ([-1, 1], "its own comparator")],
)
def test_comparators_are_checked(comparators, words):
    with pytest.raises(ValueError, match=words):
        interventions.contrasts(np.ones((3, 2)), comparators)


@modest
@given(seeds)
def test_open_minus_closed_is_welchs_test(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=9), 3 * rng.normal(size=5)
    found = interventions.open_minus_closed(a, b)
    test = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)
    assert [found.lower, found.upper] == pytest.approx(list(test.confidence_interval(0.95)))
    assert found.n_prompts == 5


def test_closed_prompts_that_do_not_move_or_are_missing():
    found = interventions.open_minus_closed([0.1, 0.2, 0.3], [0.0, 0.0])
    assert found.estimate == pytest.approx(0.2) and found.se == pytest.approx(np.std([0.1, 0.2, 0.3], ddof=1) / 3**0.5)
    none = interventions.open_minus_closed(np.ones((3, 2)), np.full((2, 2), np.nan))
    assert np.isnan(none.estimate).all() and none.n_prompts.tolist() == [0, 0]


def test_cost_ratio_matches_the_literal_jackknife():
    rng = np.random.default_rng(5)
    costs, useful = rng.uniform(1, 9, (7, 2)), rng.uniform(1, 4, (7, 2))

    def log_saving(rows):
        per = [costs[rows, a].sum() / useful[rows, a].sum() for a in range(2)]
        return np.log(per[0] / per[1])

    left = np.array([log_saving(np.delete(np.arange(7), i)) for i in range(7)])
    per_useful, found = interventions.log_cost_ratio(costs, useful, [-1, 0])
    assert per_useful[1] == pytest.approx(costs[:, 1].sum() / useful[:, 1].sum())
    assert found.estimate[1] == pytest.approx(log_saving(np.arange(7)))
    assert found.se[1] == pytest.approx(np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum()))
    assert np.isnan(found.estimate[0])


def test_nothing_useful_costs_infinitely_much_and_is_not_compared():
    per_useful, found = interventions.log_cost_ratio([[1, 1, np.nan]] * 3, [[1, 0, 1]] * 3, [-1, 0, 0])
    assert per_useful[1] == np.inf and np.isnan(per_useful[2])
    assert np.isnan(found.estimate[1]) and found.n_prompts.tolist() == [0, 3, 0]
    with pytest.raises(ValueError, match="costs and useful responses"):
        interventions.log_cost_ratio(np.ones((3, 2)), np.ones((3, 3)), [-1, 0])


# ----------------------------------------------------------------------------------------------------- partly labelled


def partly_labelled(rng, shift=0.1):
    """Two arms on 30 prompts, ten responses each, a fifth of which people labelled; the scorer is biased."""
    prompts, arms = np.repeat(np.arange(30), 20), np.tile(np.repeat([0, 1], 10), 30)
    truth = rng.normal(size=30)[prompts] + 0.3 * rng.normal(size=(30, 2))[prompts, arms] + shift * arms
    y = truth + 0.5 * rng.normal(size=600)
    return 0.7 * y + 0.3 * arms + 0.4 * rng.normal(size=600), np.where(rng.random(600) < 0.2, y, np.nan), prompts, arms


def test_powered_contrast_with_all_labels_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    f, _, prompts, arms = partly_labelled(rng)
    y = rng.normal(size=600)
    values = np.array([[y[(prompts == p) & (arms == a)].mean() for a in (0, 1)] for p in range(30)])
    plain, found = (
        interventions.contrasts(values, [-1, 0]),
        interventions.powered_contrast(f, y, prompts, arms, [-1, 0]),
    )
    for name in ("estimate", "lower", "upper", "se", "p"):
        assert getattr(found, name)[1] == pytest.approx(getattr(plain, name)[1])


def test_powered_contrast_is_not_misled_by_the_scorers_bias_and_covers():
    covered = []
    for rng in np.random.default_rng(1).spawn(300):
        found = interventions.powered_contrast(*partly_labelled(rng), [-1, 0])
        covered.append(found.lower[1] <= 0.1 <= found.upper[1])
    assert 0.92 <= np.mean(covered) <= 0.985


def test_powered_contrast_without_labels_or_common_prompts_is_missing():
    f, y, prompts, arms = partly_labelled(np.random.default_rng(2))
    bare = interventions.powered_contrast(f, np.where(arms == 1, np.nan, y), prompts, arms, [-1, 0])
    assert np.isnan(bare.estimate).all() and bare.n_prompts.tolist() == [0, 30]
    apart = interventions.powered_contrast(f, y, prompts + 100 * arms, arms, [-1, 0])
    assert apart.n_prompts.tolist() == [0, 0]

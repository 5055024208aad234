"""Cosine similarity: the golden vectors of the metrics, literal slow loops, invariances, refusals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import similarity

modest = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def at_angles(*degrees):
    radians = np.radians(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)])


def cosine(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def pairs_within(rows):
    return [cosine(a, b) for a, b in itertools.combinations(rows, 2)]


def pairs_across(a, b):
    return [cosine(x, y) for x in a for y in b]


def nearest_sources_literally(rows, codes, n_nearest, anchors=None):
    """Sort the others of every response by falling cosine, then by row; count the distinct codes met so far."""
    result = []
    for i in range(len(rows)) if anchors is None else anchors:
        cosines = {j: cosine(rows[i], other) for j, other in enumerate(rows) if j != i}
        order = sorted(cosines, key=lambda j, cosines=cosines: (-cosines[j], j))[:n_nearest]
        result.append([len({codes[j] for j in order[:n]}) for n in range(1, len(order) + 1)])
    return np.array(result)


def random_rows(rng, n, d):
    """Rows of different length, about half of the cosines negative."""
    return rng.normal(size=(n, d)) * rng.uniform(0.01, 100, size=(n, 1))


def a_ragged_study(rng, n_prompts=4, n_models=3, d=5):
    """Unequal counts; model 1 never answered prompt 2, model 2 answered prompt 0 once."""
    counts = rng.integers(2, 7, size=(n_prompts, n_models))
    counts[2, 1], counts[0, 2] = 0, 1
    cells = {(p, m): random_rows(rng, counts[p, m], d) for p in range(n_prompts) for m in range(n_models)}
    rows = np.concatenate(list(cells.values()))
    codes = np.repeat(np.arange(n_prompts * n_models), counts.ravel())
    sums, found = similarity.cell_sums(rows, codes, n_prompts * n_models)
    return cells, counts, sums.reshape(n_prompts, n_models, d), found.reshape(n_prompts, n_models)


# ------------------------------------------------------------------------------------------------- golden vectors

G1 = {"A": [at_angles(0, 10, 20), at_angles(0, 0, 90)], "B": [at_angles(30, 40, 50), at_angles(0, 45, 90)]}
G2_ANGLES = (0, 1, 2.5, 40, 41.2, 43, 4.2, 44.4, 90)
G2_CODES = np.array(["AABABBCCC".index(letter) for letter in "AABABBCCC"])
G2_SOURCES = {
    1: [1, 1, 1, 1, 1, 1, 1, 1, 1],
    2: [2, 2, 2, 1, 2, 2, 2, 1, 2],
    3: [3, 3, 2, 2, 3, 3, 2, 2, 2],
    4: [3, 3, 2, 2, 3, 3, 2, 3, 3],
    8: [3, 3, 3, 3, 3, 3, 3, 3, 3],
}


def sums_of_g1():
    rows = np.concatenate([G1[model][prompt] for prompt in (0, 1) for model in "AB"])
    sums, counts = similarity.cell_sums(rows, np.repeat(np.arange(4), 3), 4)
    return sums.reshape(2, 2, 2), counts.reshape(2, 2)


@pytest.mark.parametrize(
    ("model", "prompt", "printed"), [("A", 0, 0.969769), ("A", 1, 0.333333), ("B", 0, 0.969769), ("B", 1, 0.471405)]
)
def test_golden_intra_model_repetition(model, prompt, printed):
    assert round(similarity.mean_pairwise_cosine(G1[model][prompt]), 6) == printed


@pytest.mark.parametrize(("prompt", "printed"), [(0, 0.848572), (1, 0.569036)])
def test_golden_inter_model_homogeneity_of_a_prompt(prompt, printed):
    assert round(similarity.mean_cross_cosine(G1["A"][prompt], G1["B"][prompt]), 6) == printed


@pytest.mark.parametrize(("self_pairs", "diagonal_of_a"), [(True, 0.767701), (False, 0.651551)])
def test_golden_pooled_homogeneity_with_the_published_and_the_corrected_diagonal(self_pairs, diagonal_of_a):
    pooled = similarity.pooled_mean(*similarity.homogeneity(*sums_of_g1(), self_pairs=self_pairs))
    assert round(pooled[0, 0], 6) == diagonal_of_a
    assert round(pooled[0, 1], 6) == round(pooled[1, 0], 6) == 0.708804


def test_golden_source_models():
    found = similarity.nearest_sources(at_angles(*G2_ANGLES), G2_CODES, 8)
    assert {n: found[:, n - 1].tolist() for n in G2_SOURCES} == G2_SOURCES
    assert found.mean(0)[[1, 2, 3]].round(6).tolist() == [1.777778, 2.444444, 2.666667]


def test_golden_expected_sources_of_the_papers_design():
    expected = similarity.expected_sources([50] * 25, 50)
    assert expected[[4, 9, 19, 29, 49]].round(2).tolist() == [4.62, 8.40, 14.02, 17.76, 21.89]


def test_golden_separated_sources_are_one_up_to_49_and_two_at_50():
    assert similarity.separated_sources([50] * 25, 50).tolist() == [1.0] * 49 + [2.0]


# -------------------------------------------------------------------------------------------------- rows and means


def test_unit_rows_have_length_one_and_keep_their_direction():
    rows = np.array([[3, 4], [0, -2], [1e-6, 0], [1e6, 0]])
    np.testing.assert_allclose(similarity.unit_rows(rows), [[0.6, 0.8], [0, -1], [1, 0], [1, 0]], atol=1e-7)


def test_unit_rows_of_nothing_are_nothing():
    assert similarity.unit_rows(np.empty((0, 3))).shape == (0, 3)


def test_unit_rows_leave_their_input_alone():
    rows = np.array([[3, 4]], np.float32)
    similarity.unit_rows(rows)
    assert rows.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("angles", "mean"), [((0, 0), 1), ((0, 90), 0), ((0, 180), -1), ((0, 0, 180), -1 / 3), ((0, 120, 240), -0.5)]
)
def test_mean_pairwise_cosine_in_dumb_cases(angles, mean):
    assert similarity.mean_pairwise_cosine(at_angles(*angles)) == pytest.approx(mean, abs=1e-6)


@modest
@given(seeds, st.integers(2, 12), st.integers(1, 9))
def test_mean_pairwise_cosine_matches_the_double_loop(seed, n, d):
    rows = random_rows(np.random.default_rng(seed), n, d)
    assert similarity.mean_pairwise_cosine(rows) == pytest.approx(np.mean(pairs_within(rows)), abs=1e-5)


@modest
@given(seeds, st.integers(1, 7), st.integers(1, 7))
def test_mean_cross_cosine_matches_the_double_loop(seed, n_a, n_b):
    rng = np.random.default_rng(seed)
    a, b = random_rows(rng, n_a, 4), random_rows(rng, n_b, 4)
    assert similarity.mean_cross_cosine(a, b) == pytest.approx(np.mean(pairs_across(a, b)), abs=1e-5)
    assert similarity.mean_cross_cosine(a, b) == pytest.approx(similarity.mean_cross_cosine(b, a), abs=1e-9)


@modest
@given(seeds, st.integers(2, 10))
def test_means_do_not_depend_on_row_order_or_on_the_length_of_rows(seed, n):
    rng = np.random.default_rng(seed)
    rows, other = rng.normal(size=(n, 6)), rng.normal(size=(3, 6))
    changed = rng.permutation(rows) * rng.uniform(1e-3, 1e3, size=(n, 1))
    assert similarity.mean_pairwise_cosine(changed) == pytest.approx(similarity.mean_pairwise_cosine(rows), abs=1e-5)
    assert similarity.mean_cross_cosine(changed, other) == pytest.approx(
        similarity.mean_cross_cosine(rows, other), abs=1e-5
    )


@modest
@given(seeds, st.sampled_from([3, 384, 1536]))
def test_fifty_identical_rows_never_average_above_one(seed, d):
    rows = np.tile(np.random.default_rng(seed).normal(size=d).astype(np.float32), (50, 1))
    assert 1 - 1e-5 < similarity.mean_pairwise_cosine(rows) <= 1
    assert 1 - 1e-5 < similarity.mean_cross_cosine(rows, rows) <= 1
    sums, counts = similarity.cell_sums(rows, np.repeat([0, 1], 25), 2)
    for self_pairs in (False, True):
        pooled = similarity.pooled_mean(*similarity.homogeneity(sums[None], counts[None], self_pairs=self_pairs))
        assert np.all((pooled > 1 - 1e-5) & (pooled <= 1))


def test_cell_sums_match_adding_unit_rows_one_by_one():
    rng = np.random.default_rng(1)
    rows, codes = random_rows(rng, 40, 6), rng.choice([0, 1, 3], size=40)
    sums, counts = similarity.cell_sums(rows, codes, 5)
    slow = np.zeros((5, 6))
    for row, code in zip(rows, codes, strict=True):
        slow[code] += row / np.linalg.norm(row)
    np.testing.assert_allclose(sums, slow, atol=1e-5)
    assert counts.tolist() == [int(np.sum(codes == code)) for code in range(5)]
    assert sums.dtype == np.float64


def test_cell_sums_of_no_rows_are_zero():
    sums, counts = similarity.cell_sums(np.empty((0, 3)), np.empty(0, int), 2)
    assert sums.tolist() == [[0, 0, 0]] * 2
    assert counts.tolist() == [0, 0]


def test_repetition_matches_the_double_loop_and_is_nan_below_two_answers():
    cells, counts, sums, found = a_ragged_study(np.random.default_rng(2))
    assert found.tolist() == counts.tolist()
    means = similarity.repetition(sums, found)
    for (prompt, model), rows in cells.items():
        slow = np.mean(pairs_within(rows)) if len(rows) > 1 else math.nan
        assert means[prompt, model] == pytest.approx(slow, abs=1e-5, nan_ok=True)
    assert np.isnan(means[2, 1])
    assert np.isnan(means[0, 2])


@pytest.mark.parametrize("self_pairs", [False, True])
def test_homogeneity_matches_the_literal_loop_over_ordered_pairs(self_pairs):
    cells, _, sums, found = a_ragged_study(np.random.default_rng(3))
    totals, pairs = similarity.homogeneity(sums, found, self_pairs=self_pairs)
    all_totals, all_pairs = np.zeros((3, 3)), np.zeros((3, 3))
    for p, a, b in itertools.product(range(4), range(3), range(3)):
        values = [
            cosine(x, y)
            for (i, x), (j, y) in itertools.product(enumerate(cells[p, a]), enumerate(cells[p, b]))
            if self_pairs or a != b or i != j
        ]
        assert totals[p, a, b] == pytest.approx(sum(values), abs=1e-4)
        assert pairs[p, a, b] == len(values)
        all_totals[a, b] += sum(values)
        all_pairs[a, b] += len(values)
    np.testing.assert_allclose(similarity.pooled_mean(totals, pairs), all_totals / all_pairs, atol=1e-5)


def test_centred_repetition_matches_subtracting_the_mean_by_hand():
    rng = np.random.default_rng(14)
    rows, codes = random_rows(rng, 20, 5) + 3, np.repeat([0, 1, 2], [12, 7, 1])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centred = unit - unit.mean(0)
    means = similarity.centred_repetition(rows, codes, 4)
    assert means[:2] == pytest.approx([np.mean(pairs_within(centred[codes == code])) for code in (0, 1)], abs=1e-5)
    assert np.isnan(means[2:]).all()


def test_centring_takes_away_what_all_answers_share():
    rng = np.random.default_rng(15)
    rows, codes = np.array([5.0] + [0] * 9) + rng.normal(size=(400, 10)), np.repeat([0, 1], 200)
    assert np.all(similarity.repetition(*similarity.cell_sums(rows, codes, 2)) > 0.6)
    assert np.all(np.abs(similarity.centred_repetition(rows, codes, 2)) < 0.05)


@pytest.mark.parametrize("d", [3, 384, 1536])
def test_nothing_is_left_of_identical_answers_once_they_are_centred(d):
    rows = np.tile(np.random.default_rng(16).normal(size=d).astype(np.float32), (50, 1))
    assert np.isnan(similarity.centred_repetition(rows, np.repeat([0, 1], 25), 2)).all()


def test_homogeneity_leaves_its_input_alone():
    sums, counts = sums_of_g1()
    before = sums.copy(), counts.copy()
    similarity.homogeneity(sums, counts)
    assert np.array_equal(sums, before[0])
    assert np.array_equal(counts, before[1])


def test_pooled_mean_weighs_pairs_not_prompts_and_is_nan_without_pairs():
    totals, pairs = np.array([[1.0, 0.0], [6.0, 0.0]]), np.array([[1, 0], [9, 0]])
    means = similarity.pooled_mean(totals, pairs)
    assert means[0] == pytest.approx(0.7)
    assert np.isnan(means[1])


# ------------------------------------------------------------------------------------------------------- histograms


def assert_bins(histogram, cosines):
    """Every cumulative count agrees with the float64 cosines, up to rounding at the edges of bins."""
    assert histogram.sum() == len(cosines)
    edges = np.linspace(-1, 1, similarity.N_BINS + 1)[1:-1]
    below, cosines = np.cumsum(histogram)[:-1], np.sort(cosines)
    assert np.all(np.searchsorted(cosines, edges - 2e-6) <= below)
    assert np.all(below <= np.searchsorted(cosines, edges + 2e-6))


@modest
@given(seeds, st.lists(st.integers(0, 3), min_size=2, max_size=30))
def test_pair_histograms_match_the_double_loop_binned(seed, codes):
    rows = random_rows(np.random.default_rng(seed), len(codes), 3)
    ((intra, inter),) = similarity.pair_histograms([(rows, codes)], n_threads=1)
    pairs = list(itertools.combinations(range(len(codes)), 2))
    assert_bins(intra, [cosine(rows[i], rows[j]) for i, j in pairs if codes[i] == codes[j]])
    assert_bins(inter, [cosine(rows[i], rows[j]) for i, j in pairs if codes[i] != codes[j]])


@pytest.mark.parametrize(("block", "tile"), [(320, 1024), (50, 64), (1, 3)])
def test_pair_histograms_are_right_however_the_gram_matrix_is_cut(block, tile, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    monkeypatch.setattr(similarity, "_TILE", tile)
    rng = np.random.default_rng(4)
    rows, codes = rng.normal(size=(700, 8)), rng.integers(0, 4, size=700)
    ((intra, inter),) = similarity.pair_histograms([(rows, codes)])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    i, j = np.triu_indices(700, 1)
    cosines = (unit @ unit.T)[i, j]
    assert_bins(intra, cosines[codes[i] == codes[j]])
    assert_bins(inter, cosines[codes[i] != codes[j]])


def test_pair_histograms_do_not_depend_on_threads_row_order_or_row_length():
    rng = np.random.default_rng(5)
    prompts = [(rng.normal(size=(n, 8)), rng.integers(0, 3, size=n)) for n in (40, 7, 25)]
    one = similarity.pair_histograms(prompts, n_threads=1)
    assert np.array_equal(one, similarity.pair_histograms(prompts, n_threads=4))
    shuffled = []
    for rows, codes in prompts:
        order = rng.permutation(len(rows))
        shuffled.append((rows[order] * 4.0, codes[order]))  # a power of two leaves every cosine as it was
    moved = np.abs(one - similarity.pair_histograms(shuffled, n_threads=2)).sum()
    assert moved <= 2  # a pair at the edge of a bin may change it by rounding


def test_pair_histograms_show_progress_and_accept_an_iterator():
    seen = []

    def progress(iterator, total):
        seen.append(total)
        return iterator

    prompts = ((at_angles(0, 90), [0, 1]) for _ in range(3))
    histograms = similarity.pair_histograms(prompts, progress=progress)
    assert seen == [3]
    assert histograms.shape == (3, 2, similarity.N_BINS)


def test_pair_histograms_of_no_prompt_and_of_lonely_answers_are_empty():
    assert similarity.pair_histograms([]).shape == (0, 2, similarity.N_BINS)
    assert similarity.pair_histograms([(at_angles(0), [0])]).sum() == 0


@pytest.mark.parametrize("d", [3, 384, 1536])
def test_all_pairs_of_identical_rows_fall_into_the_last_bin(d):
    rows = np.tile(np.random.default_rng(6).normal(size=d).astype(np.float32), (50, 1))
    ((intra, inter),) = similarity.pair_histograms([(rows, np.repeat([0, 1], 25))])
    assert (intra[-1], inter[-1]) == (600, 625)
    assert intra.sum() + inter.sum() == 1225


def test_opposite_rows_fall_into_the_first_bin_and_orthogonal_rows_into_the_one_that_begins_at_zero():
    rows = np.array([[1, 0], [-1, 0], [0, 1]])
    ((intra, _),) = similarity.pair_histograms([(rows, [0, 0, 0])])
    assert (intra[0], intra[1000]) == (1, 2)


def dense_histogram(rng, n=20_000):
    values = np.clip(rng.normal(0.4, 0.2, size=n), -1, 1)
    return values, np.histogram(values, bins=similarity.N_BINS, range=(-1, 1))[0]


@pytest.mark.parametrize("q", [0.0, 0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0])
def test_histogram_quantile_matches_numpy_within_one_bin(q):
    values, histogram = dense_histogram(np.random.default_rng(7))
    assert similarity.histogram_quantile(histogram, q) == pytest.approx(np.quantile(values, q), abs=0.001 + 1e-9)


@pytest.mark.parametrize("threshold", [-1.0, -0.1, 0.0, 0.3, 0.5, 0.8, 0.9])
def test_share_at_least_matches_counting(threshold):
    values, histogram = dense_histogram(np.random.default_rng(8))
    shares = similarity.share_at_least([histogram, histogram], threshold)
    within = np.mean(np.abs(values - threshold) < 0.001)
    assert shares.shape == (2,)
    assert shares[0] == pytest.approx(np.mean(values >= threshold), abs=within)


@pytest.mark.parametrize("q", [0, 0.5, 1])
def test_quantiles_of_one_full_bin_lie_in_it(q):
    histogram = np.zeros(similarity.N_BINS, int)
    histogram[1800] = 9
    assert 0.8 - 1e-9 <= similarity.histogram_quantile(histogram, q) <= 0.801 + 1e-9


def test_identical_pairs_count_at_any_threshold():
    histogram = np.zeros(similarity.N_BINS, int)
    histogram[-1] = 9
    assert [float(similarity.share_at_least(histogram, t)) for t in (-1, 0.8, 0.999, 1)] == [1, 1, 1, 1]


@pytest.mark.parametrize("threshold", [-1.5, 1.5, 80])
def test_a_threshold_that_is_no_cosine_is_refused(threshold):
    with pytest.raises(ValueError, match=f"must lie in -1 to 1, but {threshold}"):
        similarity.share_at_least(np.ones(similarity.N_BINS), threshold)


def test_an_empty_histogram_has_neither_quantile_nor_share():
    empty = np.zeros(similarity.N_BINS, int)
    assert np.isnan(similarity.histogram_quantile(empty, 0.5))
    assert np.isnan(similarity.share_at_least(empty, 0.5))


# ----------------------------------------------------------------------------------------------------- random pairs


def test_random_pairs_never_join_answers_to_one_prompt():
    prompts = np.array([0, 0, 0, 1, 1, 2])
    rows = np.eye(3)[prompts]  # cosine 1 within a prompt, 0 between prompts
    cosines = similarity.random_pair_cosines(rows, prompts, 500, np.random.default_rng(0))
    assert cosines.shape == (500,)
    assert np.all(cosines == 0)


def test_random_pairs_average_like_all_pairs_of_different_prompts():
    rng = np.random.default_rng(9)
    rows, prompts = random_rows(rng, 30, 3) + 40, np.repeat([0, 1, 2], 10)
    every = [cosine(rows[i], rows[j]) for i, j in itertools.combinations(range(30), 2) if prompts[i] != prompts[j]]
    drawn = similarity.random_pair_cosines(rows, prompts, 20_000, rng)
    assert drawn.mean() == pytest.approx(np.mean(every), abs=5 * np.std(every) / np.sqrt(20_000))


def test_random_pairs_come_back_from_an_equal_generator():
    rows, prompts = at_angles(0, 20, 50, 110), [0, 0, 1, 1]
    first, second = (similarity.random_pair_cosines(rows, prompts, 9, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_one_prompt_or_no_wish_gives_no_random_pairs():
    assert similarity.random_pair_cosines(at_angles(0, 1), [4, 4], 10, np.random.default_rng(0)).shape == (0,)
    assert similarity.random_pair_cosines(at_angles(0, 1), [0, 1], 0, np.random.default_rng(0)).shape == (0,)


# ------------------------------------------------------------------------------------------------- nearest sources


@modest
@given(seeds, st.lists(st.integers(0, 4), min_size=2, max_size=25), st.integers(1, 30))
def test_nearest_sources_match_the_literal_sort(seed, codes, n_nearest):
    rows = random_rows(np.random.default_rng(seed), len(codes), 6)
    found = similarity.nearest_sources(rows, codes, n_nearest)
    assert np.array_equal(found, nearest_sources_literally(rows, codes, n_nearest))


@modest
@given(seeds, st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_ties_between_duplicate_rows_go_by_row_index(seed, answers):
    kinds = np.random.default_rng(seed).normal(size=(5, 7)).astype(np.float32)
    rows, codes = kinds[[kind for kind, _ in answers]], [code for _, code in answers]
    assert np.array_equal(similarity.nearest_sources(rows, codes, 50), nearest_sources_literally(rows, codes, 50))


def test_nearest_sources_are_right_beyond_one_block_of_the_gram_matrix():
    rng = np.random.default_rng(10)
    rows, codes = rng.normal(size=(650, 8)), rng.integers(0, 9, size=650)
    rows[600:] = rows[:50]
    some = [0, 10, 319, 320, 400, 605, 649]
    found = similarity.nearest_sources(rows, codes, 12)[some]
    assert np.array_equal(found, nearest_sources_literally(rows, codes, 12, anchors=some))


@modest
@given(seeds, st.integers(3, 20))
def test_nearest_sources_follow_a_permutation_of_rows(seed, n):
    rng = np.random.default_rng(seed)
    rows, codes = rng.normal(size=(n, 9)), rng.integers(0, 4, size=n)
    order = rng.permutation(n)
    found = similarity.nearest_sources(rows, codes, 10)
    lengths = rng.uniform(1e-2, 1e2, size=(n, 1))
    assert np.array_equal(similarity.nearest_sources((rows * lengths)[order], codes[order], 10), found[order])


def test_two_answers_see_one_source_each_however_many_neighbours_are_asked_for():
    assert similarity.nearest_sources(at_angles(0, 90), [0, 1], 50).tolist() == [[1], [1]]


@pytest.mark.parametrize("n_nearest", [0, -3])
def test_no_neighbour_is_refused(n_nearest):
    with pytest.raises(ValueError, match=f"`n_nearest` must be at least 1, but {n_nearest} was passed"):
        similarity.nearest_sources(at_angles(0, 10, 90), [0, 1, 1], n_nearest)


# ------------------------------------------------------------------------------ expected and separated sources


def expected_sources_literally(counts, n_nearest):
    n = sum(counts)
    result = []
    for size in range(1, min(n_nearest, n - 1) + 1):
        value = 0
        for a, own in enumerate(counts):
            for b, other in enumerate(counts):
                available = other - 1 if a == b else other
                value += own / n * (1 - math.comb(n - 1 - available, size) / math.comb(n - 1, size))
        result.append(value)
    return np.array(result)


def separated_sources_literally(counts, n_nearest):
    """Fill the N places from the own source, then from the largest of the others."""
    n = sum(counts)
    result = np.zeros(min(n_nearest, n - 1))
    for a, own in enumerate(counts):
        queue = [own - 1, *sorted((c for b, c in enumerate(counts) if b != a), reverse=True)]
        filled = [source for source, size in enumerate(queue) for _ in range(size)]
        result += [own / n * len(set(filled[:size])) for size in range(1, len(result) + 1)]
    return result


some_counts = st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda counts: sum(counts) > 1)


@modest
@given(some_counts, st.integers(1, 60))
def test_expected_sources_match_binomials_and_unequal_counts(counts, n_nearest):
    expected = similarity.expected_sources(counts, n_nearest)
    np.testing.assert_allclose(expected, expected_sources_literally(counts, n_nearest), atol=1e-9)


def test_expected_sources_match_permuted_labels():
    rng = np.random.default_rng(11)
    counts = [1, 2, 5, 12]
    codes, rows = np.repeat(range(4), counts), rng.normal(size=(20, 6))
    draws = np.array([similarity.nearest_sources(rows, rng.permutation(codes), 19).mean(0) for _ in range(2_000)])
    error = draws.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(0) - similarity.expected_sources(counts)) < 5 * error + 1e-9)


@modest
@given(some_counts, st.integers(1, 60))
def test_separated_sources_match_filling_the_places_one_by_one(counts, n_nearest):
    separated = similarity.separated_sources(counts, n_nearest)
    np.testing.assert_allclose(separated, separated_sources_literally(counts, n_nearest), atol=1e-9)


def test_separated_sources_are_what_separated_answers_show():
    counts = [6, 4, 5]
    codes = np.repeat(range(3), counts)
    rows = np.eye(3)[codes] + np.random.default_rng(12).normal(scale=0.01, size=(15, 3))
    found = similarity.nearest_sources(rows, codes, 3).mean(0)
    assert found.tolist() == similarity.separated_sources(counts, 3).tolist() == [1, 1, 1]


def test_sources_without_answers_do_not_count():
    assert np.array_equal(similarity.expected_sources([3, 0, 4], 5), similarity.expected_sources([3, 4], 5))
    assert np.array_equal(similarity.separated_sources([3, 0, 4], 5), similarity.separated_sources([3, 4], 5))


@pytest.mark.parametrize("counts", [[], [0], [1]])
def test_fewer_than_two_answers_have_no_neighbours_to_expect(counts):
    assert similarity.expected_sources(counts).shape == (0,)
    assert similarity.separated_sources(counts).shape == (0,)


# ---------------------------------------------------------------------------------------------------------- raises

two = at_angles(0, 30)
TAKES_ROWS = {
    "unit_rows": similarity.unit_rows,
    "mean_pairwise_cosine": similarity.mean_pairwise_cosine,
    "mean_cross_cosine, left": lambda rows: similarity.mean_cross_cosine(rows, two),
    "mean_cross_cosine, right": lambda rows: similarity.mean_cross_cosine(two, rows),
    "cell_sums": lambda rows: similarity.cell_sums(rows, [0, 1], 2),
    "centred_repetition": lambda rows: similarity.centred_repetition(rows, [0, 1], 2),
    "pair_histograms": lambda rows: similarity.pair_histograms([(rows, [0, 1])]),
    "nearest_sources": lambda rows: similarity.nearest_sources(rows, [0, 1], 1),
    "random_pair_cosines": lambda rows: similarity.random_pair_cosines(rows, [0, 1], 3, np.random.default_rng(0)),
}


@pytest.mark.parametrize("function", TAKES_ROWS.values(), ids=TAKES_ROWS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0], ids=["NaN row", "infinite row", "zero row"])
@pytest.mark.parametrize("row", [0, 1])
def test_rows_without_a_direction_are_refused(function, bad, row):
    rows = two.copy()
    rows[row] = bad
    with pytest.raises(ValueError, match="must be finite and longer than 0: leave empty responses out"):
        function(rows)


@pytest.mark.parametrize("function", TAKES_ROWS.values(), ids=TAKES_ROWS)
@pytest.mark.parametrize("shape", [(2,), (2, 2, 2)])
def test_rows_that_are_no_matrix_are_refused(function, shape):
    with pytest.raises(ValueError, match=r"must have shape \(n_responses.*\), but \(2,.*\) was passed"):
        function(np.ones(shape))


CODED = {
    "cell_sums": lambda rows, codes: similarity.cell_sums(rows, codes, 2),
    "pair_histograms": lambda rows, codes: similarity.pair_histograms([(rows, codes)]),
    "nearest_sources": lambda rows, codes: similarity.nearest_sources(rows, codes, 1),
}


@pytest.mark.parametrize("function", CODED.values(), ids=CODED)
def test_codes_must_match_the_rows_and_begin_at_zero(function):
    with pytest.raises(ValueError, match=r"`codes` must have one entry per row, \(2,\), but \(3,\) was passed"):
        function(two, [0, 1, 1])
    with pytest.raises(ValueError, match=r"`codes` must .*-1"):
        function(two, [-1, 0])


def test_a_code_beyond_the_cells_is_refused():
    with pytest.raises(ValueError, match="`codes` must lie in 0 to 2 - 1, but 0 to 2 were passed"):
        similarity.cell_sums(two, [0, 2], 2)


def test_prompts_of_random_pairs_must_match_the_rows():
    with pytest.raises(ValueError, match=r"`prompts` must have one entry per row, \(2,\), but \(3,\) was passed"):
        similarity.random_pair_cosines(two, [0, 1, 1], 3, np.random.default_rng(0))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_answers_are_refused_where_pairs_are_needed(n):
    with pytest.raises(ValueError, match=rf"n_responses >= 2, n_dims\), but \({n}, 2\) was passed"):
        similarity.mean_pairwise_cosine(two[:n])
    with pytest.raises(ValueError, match=f"needs at least 2 responses, but {n} were passed"):
        similarity.nearest_sources(two[:n], [0] * n, 1)


def test_an_empty_side_is_refused():
    with pytest.raises(ValueError, match="Both sides need at least one response, but 2 and 0 were passed"):
        similarity.mean_cross_cosine(two, np.empty((0, 2)))

import zlib
from collections import Counter
from itertools import combinations
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hivemind_utils.metrics import diversity
from hivemind_utils.metrics.words import word_lists, words

repeatable = settings(derandomize=True, deadline=None)
texts_strategy = st.lists(st.lists(st.sampled_from(["a", "b", "C!", "**"]), max_size=8).map(" ".join), max_size=6)
counts_strategy = st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(sum)

SAME = ["Time is a river, always."] * 4
APART = ["time flies", "rivers run", "clocks tick", "sand falls"]


def embeddings(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + 0.5


# embeddings


@pytest.mark.parametrize("q", [0.5, 1, 2, 3, np.inf])
def test_vendi_score_in_dumb_cases(q):
    assert diversity.vendi_score(np.array([[3.0, 4.0]]), q) == pytest.approx(1)
    assert diversity.vendi_score(np.ones((50, 7), dtype=np.float32), q) == pytest.approx(1, abs=1e-5)
    assert diversity.vendi_score(np.diag([1.0, 2, 3]), q) == pytest.approx(3, abs=1e-5)
    assert diversity.vendi_score(np.eye(3)[[0, 0, 1, 1]], q) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (5, 5)])
def test_vendi_scores_match_the_eigenvalues_of_the_gram_matrix(shape):
    x = embeddings(*shape)
    gram = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in x] for a in x]) / len(x)
    spectrum = [value for value in np.linalg.eigvals(gram).real if value > 1e-12]
    expected = [
        sum(value**0.5 for value in spectrum) ** 2,
        exp(-sum(value * log(value) for value in spectrum)),
        1 / (gram**2).sum(),
        1 / max(spectrum),
    ]
    np.testing.assert_allclose(diversity.vendi_scores(x, (0.5, 1, 2, np.inf)), expected, rtol=1e-4)
    np.testing.assert_allclose([diversity.vendi_score(x, q) for q in (0.5, 1, 2, np.inf)], expected, rtol=1e-4)


def test_vendi_scores_ignore_length_rotation_and_row_order_and_fall_with_order():
    x, rng = embeddings(12, 5), np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    y = (x * rng.uniform(0.1, 9, size=(12, 1)))[rng.permutation(12)] @ rotation
    orders = (0.3, 1, 1.5, 2, 5, np.inf)
    np.testing.assert_allclose(diversity.vendi_scores(x, orders), diversity.vendi_scores(y, orders), rtol=1e-5)
    assert (np.diff(diversity.vendi_scores(x, orders)) < 0).all()


@pytest.mark.parametrize(
    ("x", "q", "message"),
    [
        (np.ones(3), 1, "must have shape"),
        (np.ones((0, 3)), 1, "at least one row"),
        (np.array([[1.0, 0], [0, 0]]), 1, "finite"),
        (np.ones((2, 2)), 0, "must be > 0 .* but 0 was passed"),
        (np.ones((2, 2)), np.nan, "must be > 0"),
    ],
)
def test_vendi_score_raises(x, q, message):
    with pytest.raises(ValueError, match=message):
        diversity.vendi_score(x, q)


# counts


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, np.inf])
def test_effective_number_of_equal_and_of_single_ideas(order):
    assert diversity.effective_number([7], order) == pytest.approx(1)
    assert diversity.effective_number([5, 0, 5, 5, 5], order) == pytest.approx(4)


def test_effective_number_by_hand():
    counts = [8, 4, 2, 2]  # shares 1/2, 1/4, 1/8, 1/8: 1.75 bits
    expected = [4, 2**1.75, 1 / (1 / 4 + 1 / 16 + 2 / 64), 2]
    np.testing.assert_allclose([diversity.effective_number(counts, q) for q in (0, 1, 2, np.inf)], expected)


@repeatable
@given(counts_strategy, st.sampled_from([0, 0.7, 1, 2, 3.5, np.inf]), st.randoms(use_true_random=False))
def test_effective_number_matches_a_loop_in_any_order(counts, order, random):
    shares = [count / sum(counts) for count in counts if count]
    if order == 1:
        expected = exp(-sum(p * log(p) for p in shares))
    else:
        expected = 1 / max(shares) if order == np.inf else sum(p**order for p in shares) ** (1 / (1 - order))
    value = diversity.effective_number(counts, order)
    assert value == pytest.approx(expected)
    random.shuffle(counts)
    assert diversity.effective_number(counts, order) == value


@pytest.mark.parametrize(
    "function", [diversity.effective_number, diversity.chao1, lambda counts: diversity.rarefaction(counts, [1])]
)
@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [0.5], [[1, 2]], [np.nan]])
def test_bad_counts_raise(function, counts):
    with pytest.raises(ValueError, match="`counts` must be one whole number >= 0 per idea"):
        function(counts)


def test_effective_number_of_a_negative_order_raises():
    with pytest.raises(ValueError, match=">= 0"):
        diversity.effective_number([1], -1)


def test_rarefaction_by_hand():
    # 2 answers of one idea, 1 of another: of the 3 pairs, two hold both ideas
    np.testing.assert_allclose(diversity.rarefaction([2, 1], [0, 1, 2, 3]), [0, 1, 5 / 3, 2], atol=1e-12)
    np.testing.assert_allclose(diversity.rarefaction([9], [1, 5, 9]), 1)
    np.testing.assert_allclose(diversity.rarefaction([1] * 50, np.arange(51)), np.arange(51), atol=1e-9)


@repeatable
@given(counts_strategy, st.randoms(use_true_random=False))
def test_rarefaction_matches_binomial_coefficients_in_any_order(counts, random):
    total = sum(counts)
    expected = [sum(1 - comb(total - c, m) / comb(total, m) for c in counts if c) for m in range(total + 1)]
    curve = diversity.rarefaction(counts, range(total + 1))
    np.testing.assert_allclose(curve, expected, atol=1e-11)
    random.shuffle(counts)
    np.testing.assert_array_equal(diversity.rarefaction(counts, range(total + 1)), curve)


def test_rarefaction_matches_random_subsamples():
    counts, rng = np.array([400, 100, 30, 10, 5, 2, 1, 1, 1]), np.random.default_rng(0)
    draws = rng.multivariate_hypergeometric(counts, 60, size=20_000)
    seen = (draws > 0).sum(1)
    error = seen.std() / np.sqrt(len(seen))
    assert abs(diversity.rarefaction(counts, [60])[0] - seen.mean()) < 4 * error


@pytest.mark.parametrize("sizes", [[4], [-1], [0.5], 2])
def test_rarefaction_raises_outside_the_sample(sizes):
    with pytest.raises(ValueError, match="in 0 … 3"):
        diversity.rarefaction([2, 1], sizes)


def test_chao1_by_hand():
    # five ideas once, two twice, one 4 times: unseen = 5·4 / (2·3) = 10/3
    result = diversity.chao1([1, 1, 1, 1, 1, 2, 2, 4])
    assert (result.observed, result.estimate) == (8, pytest.approx(8 + 10 / 3))
    variance = 10 / 3 + 5 * 81 / (4 * 9) + 25 * 2 * 16 / (4 * 81)
    spread = exp(1.96 * log(1 + variance / (10 / 3) ** 2) ** 0.5)
    assert (result.lower, result.upper) == pytest.approx((8 + 10 / 3 / spread, 8 + 10 / 3 * spread))
    # no idea twice: unseen = 3·2/2 = 3; variance = 3 + 3·25/4 − 81/(4·7)
    result = diversity.chao1([1, 1, 1, 5])
    spread = exp(1.96 * log(1 + (3 + 75 / 4 - 81 / 28) / 9) ** 0.5)
    assert result == pytest.approx((4, 7, 4 + 3 / spread, 4 + 3 * spread))


def test_chao1_adds_nothing_when_nothing_is_rare():
    assert diversity.chao1([5, 5, 3]) == (3, 3, 3, 3)
    assert diversity.chao1([5, 1]) == (2, 2, 2, 2)


@repeatable
@given(counts_strategy, st.randoms(use_true_random=False))
def test_chao1_matches_a_loop_in_any_order(counts, random):
    once, twice = counts.count(1), counts.count(2)
    result = diversity.chao1(counts)
    assert result.estimate == pytest.approx(sum(c > 0 for c in counts) + once * (once - 1) / (2 * (twice + 1)))
    assert result.observed <= result.lower <= result.estimate <= result.upper
    random.shuffle(counts)
    assert diversity.chao1([*counts, 0]) == result


def test_chao1_recovers_equally_common_ideas():
    rng = np.random.default_rng(0)
    results = [diversity.chao1(np.bincount(rng.integers(0, 60, 80))) for _ in range(300)]
    assert np.mean([r.observed for r in results]) < 46
    assert np.mean([r.estimate for r in results]) == pytest.approx(60, rel=0.05)
    assert np.mean([r.lower <= 60 <= r.upper for r in results]) > 0.9


# texts


def slow_duplicate_share(texts):
    return np.mean([any(a == b for j, b in enumerate(texts) if i != j) for i, a in enumerate(texts)])


def slow_distinct(texts, n):
    grams = [tuple(ws[k : k + n]) for ws in texts for k in range(len(ws) - n + 1)]
    return len(set(grams)) / len(grams) if grams else np.nan


def slow_self_overlap(texts, n=4):
    if len(texts) < 2:
        return np.nan
    scores = []
    for i, text in enumerate(texts):
        product, orders = 1, min(n, len(text))
        for k in range(1, orders + 1):
            counted = [Counter(tuple(ws[p : p + k]) for p in range(len(ws) - k + 1)) for ws in texts]
            others = [counts for j, counts in enumerate(counted) if j != i]
            matched = sum(min(c, max(other[gram] for other in others)) for gram, c in counted[i].items())
            product *= (matched + (k > 1)) / (len(text) - k + 1 + (k > 1))
        scores.append(product ** (1 / orders))
    return np.mean(scores)


def slow_opener_share(texts, n_words=4):
    return max(sum(a[:n_words] == b[:n_words] for b in texts) for a in texts) / len(texts)


def slow_compression_ratio(texts):
    plain = "\n".join(sorted(" ".join(ws) for ws in texts)).encode()
    return len(plain) / len(zlib.compress(plain, 9))


MEASURES = [
    (diversity.duplicate_share, slow_duplicate_share),
    (lambda texts: diversity.distinct_n(texts, 1), lambda texts: slow_distinct(texts, 1)),
    (lambda texts: diversity.distinct_n(texts, 3), lambda texts: slow_distinct(texts, 3)),
    (diversity.self_overlap, slow_self_overlap),
    (lambda texts: diversity.self_overlap(texts, 2), lambda texts: slow_self_overlap(texts, 2)),
    (diversity.opener_share, slow_opener_share),
    (lambda texts: diversity.opener_share(texts, 1), lambda texts: slow_opener_share(texts, 1)),
    (diversity.compression_ratio, slow_compression_ratio),
]


@pytest.mark.parametrize(("measure", "slow"), MEASURES)
@repeatable
@given(texts_strategy, st.randoms(use_true_random=False))
def test_text_measures_match_slow_loops_in_any_row_order(measure, slow, texts, random):
    worded = [words(text) for text in texts if words(text)]
    value = measure(texts)
    np.testing.assert_allclose(value, slow(worded) if worded else np.nan, rtol=1e-12)
    random.shuffle(texts)
    np.testing.assert_equal(measure([*texts, "", "!?"]), value)  # answers without a word change nothing
    np.testing.assert_equal(measure(word_lists(texts)), value)


@pytest.mark.parametrize(
    ("measure", "same", "apart"),
    [
        (diversity.duplicate_share, 1, 0),
        (lambda texts: diversity.distinct_n(texts, 2), 1 / 4, 1),
        (diversity.self_overlap, 1, 0),
        (diversity.opener_share, 1, 1 / 4),
    ],
)
def test_text_measures_of_equal_and_of_different_answers(measure, same, apart):
    assert measure(SAME) == measure([text.upper() for text in SAME]) == pytest.approx(same)
    assert measure(APART) == pytest.approx(apart)


def test_self_overlap_by_hand():
    # "a b c": words 2/3, bigrams (1+1)/(2+1), trigrams (0+1)/(1+1); "a b d" alike
    assert diversity.self_overlap(["a b c", "a b d"]) == pytest.approx((2 / 3 * 2 / 3 * 1 / 2) ** (1 / 3))
    # "a a": the other has one a; its own word is found
    assert diversity.self_overlap(["a a", "a"], 1) == pytest.approx((1 / 2 + 1) / 2)


def test_equal_answers_compress_better():
    long = [" ".join(f"w{k * j % 97}" for k in range(60)) for j in range(1, 21)]
    assert diversity.compression_ratio(long[:1] * 20) > 3 * diversity.compression_ratio(long)


@pytest.mark.parametrize("measure", [measure for measure, _ in MEASURES])
def test_text_measures_raise_on_one_string_and_missing_texts(measure):
    with pytest.raises(TypeError, match="must be a list"):
        measure("one string")
    with pytest.raises(TypeError, match="NoneType came"):
        measure(["text", None])


@pytest.mark.parametrize("measure", [diversity.distinct_n, diversity.self_overlap, diversity.opener_share])
def test_a_span_of_no_words_raises(measure):
    with pytest.raises(ValueError, match="at least 1"):
        measure(APART, 0)


# lexical vectors


@pytest.mark.parametrize("analyzer", ["word", "char_wb"])
def test_lexical_vectors_are_unit_rows_blind_to_markup_and_order(analyzer):
    texts = ["Time is a river", "**Time** flies", "", "a river"]
    vectors = diversity.lexical_vectors(texts, analyzer=analyzer).toarray()
    np.testing.assert_allclose((vectors**2).sum(1), [1, 1, 0, 1])
    again = diversity.lexical_vectors([text.upper() + "!" for text in texts[::-1]], analyzer=analyzer).toarray()
    np.testing.assert_allclose(vectors, again[::-1])


def test_lexical_vectors_by_hand():
    vectors = diversity.lexical_vectors(["a b", "a a"], ngrams=(1, 1)).toarray()
    idf = 1 + log(3 / 2)  # of b: smoothed, as scikit-learn does; that of a is 1
    np.testing.assert_allclose(vectors, [[1 / np.hypot(1, idf), idf / np.hypot(1, idf)], [1, 0]])
    assert diversity.lexical_vectors(["a b", "a a"], min_df=2).shape == (2, 1)


def test_lexical_vectors_raise():
    with pytest.raises(ValueError, match=r"one of \['word', 'char_wb'\], but 'char'"):
        diversity.lexical_vectors(["a"], analyzer="char")
    with pytest.raises(ValueError, match="none of 2 texts has any"):
        diversity.lexical_vectors(["", "!"])


def test_mean_pairwise_cosine_matches_the_double_loop():
    texts = ["a b c", "a b", "b c d", "", "d", "a d", "c"]
    codes = np.array([0, 0, 0, 0, 1, 1, 3])
    vectors = diversity.lexical_vectors(texts)
    rows = vectors.toarray()
    expected = [
        np.mean([rows[i] @ rows[j] for i, j in combinations(np.flatnonzero(codes == g), 2)]) if g < 2 else np.nan
        for g in range(5)
    ]
    np.testing.assert_allclose(diversity.mean_pairwise_cosine_sparse(vectors, codes, 5), expected)
    np.testing.assert_allclose(diversity.mean_pairwise_cosine_sparse(vectors, codes), expected[:4])
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(diversity.mean_pairwise_cosine_sparse(vectors[order], codes[order], 5), expected)


def test_mean_pairwise_cosine_of_equal_and_of_empty_rows():
    same = sparse.csr_array(np.eye(3)[[1, 1, 1]])
    assert diversity.mean_pairwise_cosine_sparse(same, np.zeros(3, int)).tolist() == [1]
    assert diversity.mean_pairwise_cosine_sparse(same * 0, np.zeros(3, int)).tolist() == [0]


@pytest.mark.parametrize(
    ("codes", "message"),
    [([0], "one integer per row"), ([0.0, 1.0], "one integer per row"), ([0, 2], r"in 0 … 1"), ([-1, 0], "in 0 … 1")],
)
def test_mean_pairwise_cosine_raises(codes, message):
    with pytest.raises(ValueError, match=message):
        diversity.mean_pairwise_cosine_sparse(sparse.csr_array(np.eye(2)), np.array(codes), 2)


# all of them


def test_summarise_is_the_measures_one_by_one():
    texts, x = [*SAME, *APART, "", "time is a river. and runs"], embeddings(10, 6)
    got = diversity.summarise(texts, x)
    expected = {
        "vendi_1": diversity.vendi_score(x, 1),
        "vendi_2": diversity.vendi_score(x, 2),
        "vendi_inf": diversity.vendi_score(x, np.inf),
        "effective_distinct": diversity.effective_number([4, 1, 1, 1, 1, 1]),
        **{f"distinct_{n}": diversity.distinct_n(texts, n) for n in (1, 2, 3)},
        "self_overlap": diversity.self_overlap(texts),
        "compression_ratio": diversity.compression_ratio(texts),
        "duplicate_share": 4 / 9,
        "opener_share": 5 / 9,
        "n_distinct": 6,
    }
    assert list(got) == list(expected)
    assert got == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(10)
    assert diversity.summarise([texts[k] for k in order], x[order]) == pytest.approx(expected)
    assert diversity.summarise(word_lists(texts), x) == got


def test_summarise_of_wordless_answers_and_of_unequal_lengths():
    got = diversity.summarise(["", "!"], np.eye(2))
    assert got["n_distinct"] == 0 and got["vendi_1"] == pytest.approx(2)
    assert sum(np.isnan(value) for value in got.values()) == 8
    with pytest.raises(ValueError, match="each of the 1 texts, but has 2"):
        diversity.summarise(["a"], np.eye(2))

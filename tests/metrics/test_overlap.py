import unicodedata
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import overlap, words

repeatable = settings(derandomize=True, deadline=None)

word_list = st.lists(st.sampled_from(["a", "b", "c"]), max_size=14)
answer = st.lists(st.sampled_from(["a", "b", "A", "*b*", "c,", "…"]), max_size=9).map(" ".join)
answers = st.lists(st.tuples(answer, st.sampled_from(["m1", "m2", "m3"])), max_size=9)


# words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Time is a river.", "time is a river"),
        ("**Time** is\n\n> a _river_…", "time is a river"),
        ("# Time\n1. a river\n- a thief\n  2) 3 birds", "time a river a thief 3 birds"),
        ("<p class='x'>Time</p><br/>flies", "time flies"),
        ("[Time](https://example.org/a_b) flies", "time flies"),
        ("2 < 3 and x<y and y>z", "2 3 and x y and y z"),
        ("Don't, don’t, 'quoted' rock 'n' roll", "dont dont quoted rock n roll"),
        ("well-known—known", "well known known"),
        ("ﬁne ＴＩＭＥ straße ①", "fine time strasse 1"),
        ("cafe\u0301 caf\u00e9", "caf\u00e9 caf\u00e9"),
        ("in\u00advisible zero\u200bwidth", "invisible zerowidth"),
        ("时间是河。", "时 间 是 河"),
        ("समय नदी है", "समय नदी है"),
        ("🌊 ❤️ !!! ***", ""),
    ],
)
def test_normalise_keeps_words_only(text, expected):
    assert words.normalise(text) == expected
    assert words.words(text) == expected.split()


@repeatable
@given(st.text(st.sampled_from("abZ09 \n.,;:!?-+*_'\"{}")))
def test_words_match_a_loop_over_characters(text):
    spaced = "".join(c if c.isalnum() else "" if c == "'" else " " for c in text.lower())
    assert words.words(text.replace(".", ",")) == spaced.split()


@repeatable
@given(st.text())
def test_normalise_is_idempotent_and_ignores_case_and_composition(text):
    once = words.normalise(text)
    assert words.normalise(once) == once
    assert words.normalise(unicodedata.normalize("NFD", text)) == once
    assert words.normalise(f"  **{text}**\n") == words.normalise(f"{text}\n")


def test_word_spans_point_into_the_original():
    text = "“Straße”, **Cafe\u0301** &c…\n1. The ﬁre <b>don’t</b>!"
    assert [(word, text[a:b]) for word, a, b in words.word_spans(text)] == [
        ("strasse", "Straße"),
        ("caf\u00e9", "Cafe\u0301"),
        ("c", "c"),
        ("the", "The"),
        ("fire", "ﬁre"),
        ("dont", "don’t"),
    ]


@repeatable
@given(st.text())
def test_word_spans_are_words_in_order_within_the_text(text):
    spans = words.word_spans(text)
    assert [word for word, _, _ in spans] == words.words(text)
    assert all(0 <= a < b <= len(text) for _, a, b in spans)
    assert all(a <= c and b <= d for (_, a, b), (_, c, d) in pairwise(spans))


@pytest.mark.parametrize("function", [words.words, words.word_spans, words.normalise])
def test_a_missing_text_raises(function):
    with pytest.raises(TypeError, match="must be a string, but float"):
        function(float("nan"))


def test_word_lists_normalises_texts_and_passes_lists():
    assert words.word_lists(["A b!", ["x"], ""]) == [["a", "b"], ["x"], []]
    with pytest.raises(TypeError, match="one string was passed"):
        words.word_lists("A b!")


@repeatable
@given(st.lists(word_list, max_size=5), st.integers(1, 4))
def test_ngram_codes_match_tuples(lists, n):
    codes, owners = words.encode_words(lists)
    *_, grams = words.ngram_codes(codes, n)
    tuples = [tuple(ws[k : k + n]) if k + n <= len(ws) else None for ws in lists for k in range(len(ws) + 1)]
    assert owners.tolist() == [t for t, ws in enumerate(lists) for _ in range(len(ws) + 1)]
    assert len({*zip(tuples, grams.tolist(), strict=True)}) == len(set(tuples)) == len(set(grams.tolist()))
    assert [g < 0 for g in grams] == [t is None for t in tuples]
    assert grams.max(initial=-1) == len({t for t in tuples if t}) - 1


def test_ngram_codes_need_a_word():
    with pytest.raises(ValueError, match="at least 1 word, but 0"):
        next(words.ngram_codes(np.array([0, -1]), 0))


# duplicates


def test_exact_duplicates_need_two_models():
    texts = ["Time flies!", "time **flies**", "A river", "a river.", "alone", "", "!!!", "time flies"]
    models = ["b", "a", "a", "a", "b", "a", "b", "b"]
    table = overlap.exact_duplicates(texts, models)
    assert table.to_dict("records") == [{"text": "Time flies!", "n_responses": 3, "n_models": 2, "models": "a; b"}]
    assert words.wordless(texts).sum() == 2


@repeatable
@given(answers, st.randoms(use_true_random=False))
def test_exact_duplicates_match_a_loop_in_any_row_order(rows, random):
    expected = []
    for key in {words.normalise(text) for text, _ in rows} - {""}:
        same = [(text, model) for text, model in rows if words.normalise(text) == key]
        names = sorted({model for _, model in same})
        if len(names) > 1:
            expected.append((min(same)[0], len(same), len(names), "; ".join(names)))
    expected.sort(key=lambda row: (-row[2], -row[1], row[0]))
    random.shuffle(rows)
    table = overlap.exact_duplicates([text for text, _ in rows], [model for _, model in rows])
    assert list(table.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize("function", [overlap.exact_duplicates, overlap.verbatim_pairs])
def test_texts_and_models_must_match(function):
    with pytest.raises(ValueError, match="each of the 2 responses, but 1 names"):
        function(["a", "b"], ["m"])


def test_frames_columns_may_be_passed():
    frame = pd.DataFrame({"text": ["a b", "A b!", "b b"], "model": ["m", "n", "o"]}, index=[7, 3, 9])
    assert overlap.exact_duplicates(frame["text"], frame["model"])["text"].tolist() == ["A b!"]
    assert overlap.verbatim_pairs(frame["text"], frame["model"], min_words=1)[["i", "j"]].to_numpy().tolist() == [
        [1, 2]
    ]
    assert len(overlap.top_pairs(np.eye(3), frame["model"], 9, texts=frame["text"])[0]) == 1


def test_wordless_of_nothing():
    assert words.wordless([]).tolist() == []
    with pytest.raises(TypeError, match="must be a list"):
        words.wordless("text")


# spans


def slow_longest(a, b, a_free=None, b_free=None):
    best = (0, 0, 0)
    for i in range(len(a)):
        for j in range(len(b)):
            k = 0
            while (
                i + k < len(a)
                and j + k < len(b)
                and a[i + k] == b[j + k]
                and (a_free is None or (a_free[i + k] and b_free[j + k]))
            ):
                k += 1
            if k > best[0]:
                best = (k, i, j)
    return best


def slow_spans(a, b, min_words):
    if b < a:
        return sorted((i, j, k) for j, i, k in slow_spans(b, a, min_words))
    a_free, b_free, found = [True] * len(a), [True] * len(b), []
    while (best := slow_longest(a, b, a_free, b_free))[0] >= min_words:
        length, i, j = best
        a_free[i : i + length] = b_free[j : j + length] = [False] * length
        found.append((i, j, length))
    return sorted(found)


def test_longest_common_span_in_dumb_cases():
    assert overlap.longest_common_span([], ["a"]) == (0, 0, 0)
    assert overlap.longest_common_span(["a"], ["b"]) == (0, 0, 0)
    assert overlap.longest_common_span(list("abc"), list("abc")) == (3, 0, 0)
    assert overlap.longest_common_span(list("xaby"), list("abzab")) == (2, 1, 0)


@repeatable
@given(word_list, word_list)
def test_longest_common_span_matches_a_slow_loop(a, b):
    assert overlap.longest_common_span(a, b) == slow_longest(a, b)
    assert overlap.longest_common_span(b, a)[0] == overlap.longest_common_span(a, b)[0]


@repeatable
@given(word_list, word_list, st.integers(1, 4))
def test_shared_spans_match_a_slow_loop_and_swap_with_the_answers(a, b, min_words):
    spans = overlap.shared_spans(a, b, min_words)
    assert spans == slow_spans(a, b, min_words)
    assert sorted((j, i, k) for i, j, k in spans) == overlap.shared_spans(b, a, min_words)
    assert all(a[i : i + k] == b[j : j + k] for i, j, k in spans)


def test_shared_spans_mark_the_same_words_whichever_answer_comes_first():
    a, b = list("pqr"), list("qrpq")  # "pq" and "qr" are as long, and exclude each other
    assert overlap.shared_spans(a, b, 2) == [(0, 2, 2)]
    assert overlap.shared_spans(b, a, 2) == [(2, 0, 2)]


def test_shared_spans_take_the_longest_first():
    a, b = "the old clock of the tower ticks on".split(), "ticks on says the old clock of the hall".split()
    assert overlap.shared_spans(a, b, 2) == [(0, 3, 5), (6, 0, 2)]
    assert overlap.shared_spans(a, b, 6) == []
    with pytest.raises(ValueError, match="at least 1, but 0"):
        overlap.shared_spans(a, b, 0)


def test_shared_characters_mark_what_was_written():
    text_a, text_b = "**Time** is a <i>River</i>, I say.", "I said: time is… a river!"
    spans_a, spans_b = overlap.shared_characters(text_a, text_b, min_words=4)
    assert [text_a[s:e] for s, e in spans_a] == ["Time** is a <i>River"]
    assert [text_b[s:e] for s, e in spans_b] == ["time is… a river"]
    assert overlap.shared_characters(text_b, text_a, 4) == (spans_b, spans_a)
    with pytest.raises(TypeError, match="must be a string"):
        overlap.shared_characters(text_a, None)


def test_shared_ngram_share_in_dumb_cases():
    a = list("abcdefghij")
    assert overlap.shared_ngram_share(a, a) == 1
    assert overlap.shared_ngram_share(a, a[::-1]) == 0
    assert overlap.shared_ngram_share(a, ["x", *a[:9]], 8) == pytest.approx(2 / 3)
    assert np.isnan(overlap.shared_ngram_share(a, a[:7]))
    with pytest.raises(ValueError, match="at least 1 word, but 0"):
        overlap.shared_ngram_share(a, a, 0)


@repeatable
@given(word_list, word_list, st.integers(1, 4))
def test_shared_ngram_share_matches_a_slow_loop_and_is_symmetric(a, b, n):
    share = overlap.shared_ngram_share(a, b, n)
    x, y = sorted(
        ([tuple(w[k : k + n]) for k in range(len(w) - n + 1)] for w in (a, b)), key=lambda grams: len(set(grams))
    )
    expected = np.mean([gram in y for gram in sorted(set(x))]) if x else np.nan
    np.testing.assert_allclose(share, expected)
    np.testing.assert_equal(overlap.shared_ngram_share(b, a, n), share)


# pairs


def slow_pairs(rows, min_words):
    """(length, span, share, n_pairs, smaller text, larger text) of each pair of texts, from all pairs of answers."""
    found = {}
    for (text_a, model_a), (text_b, model_b) in combinations(rows, 2):
        a, b = sorted([words.words(text_a), words.words(text_b)], key=" ".join)
        length, start, _ = overlap.longest_common_span(a, b)
        if model_a != model_b and a != b and length >= min_words:
            key = (" ".join(a), " ".join(b))
            count = found.get(key, [0])[-1] + 1
            found[key] = [length, " ".join(a[start : start + length]), overlap.shared_ngram_share(a, b, 8), count]
    return found


@repeatable
@given(answers, st.integers(1, 3), st.randoms(use_true_random=False))
def test_verbatim_pairs_match_all_pairs_in_any_row_order(rows, min_words, random):
    random.shuffle(rows)
    table = overlap.verbatim_pairs([t for t, _ in rows], [m for _, m in rows], min_words=min_words)
    got = {}
    for row in table.itertuples(index=False):
        (text_i, model_i), (text_j, model_j) = rows[row.i], rows[row.j]
        assert model_i != model_j
        key = (words.normalise(text_i), words.normalise(text_j))
        got[key] = [row.longest_span_words, row.span, row.shared_8gram_share, row.n_pairs]
    np.testing.assert_equal(got, slow_pairs(rows, min_words))
    assert len(got) == len(table)
    assert list(got) == sorted(got, key=lambda key: (-got[key][0], -np.nan_to_num(got[key][2], nan=-1), key))


def test_verbatim_pairs_come_longest_first_then_by_share():
    texts = ["z a b c d e f g h", "y a b c d e f g h", "a b c d e f g h i j k", "h g f e d c b a h g"]
    table = overlap.verbatim_pairs([*texts, "h g f e d c b a h"], list("mnopq"))
    assert table["longest_span_words"].tolist() == [9, 8, 8, 8]
    assert table["shared_8gram_share"].tolist() == [1, 0.5, 0.5, 0.5]
    texts[0] = "a b c d e f g h"
    assert overlap.verbatim_pairs(texts, list("mnop"))[["i", "j"]].to_numpy().tolist() == [[0, 2], [0, 1], [2, 1]]


def test_verbatim_pairs_do_not_depend_on_row_order():
    rng = np.random.default_rng(0)
    rows = [(" ".join(rng.choice(list("abcde"), 20)) + "!" * rng.integers(2), f"m{k % 4}") for k in range(60)] * 2
    frames = []
    for order in (np.arange(120), rng.permutation(120)):
        texts, models = [rows[k][0] for k in order], [rows[k][1] for k in order]
        table = overlap.verbatim_pairs(texts, models, min_words=4)
        for side in "ij":
            table[f"text_{side}"] = [texts[k] for k in table[side]]
            table[f"model_{side}"] = [models[k] for k in table[side]]
        frames.append(table.drop(columns=["i", "j"]))
    assert len(frames[0]) > 20
    pd.testing.assert_frame_equal(*frames)


def test_verbatim_pairs_cope_with_one_text_a_thousand_times_and_with_long_ones():
    same = ["time is a river that carries us all away"] * 1250
    models = [f"m{k % 25}" for k in range(1250)]
    assert overlap.verbatim_pairs(same, models).empty
    same[0], same[1] = "tick " * 8_000, "tock " * 8_000 + same[2]
    table = overlap.verbatim_pairs(same, models)
    assert table["n_pairs"].tolist() == [1248 - 49]  # its own model's other answers do not count
    assert table["span"].tolist() == [same[2]]


def test_verbatim_pairs_of_nothing_and_a_bad_length():
    table = overlap.verbatim_pairs(["", "..."], ["a", "b"])
    assert table.columns.tolist() == ["i", "j", "n_pairs", "longest_span_words", "span", "shared_8gram_share"]
    assert table.empty
    with pytest.raises(ValueError, match="at least 1 word, but 0"):
        overlap.verbatim_pairs(["a"], ["m"], min_words=0)


def slow_top(embeddings, models, n, texts, exclude_exact):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    best = {}
    for i, j in combinations(range(len(unit)), 2):
        key = tuple(sorted((words.normalise(texts[i]), words.normalise(texts[j]))))
        if models[i] != models[j] and not (exclude_exact and key[0] == key[1]):
            best[key] = max(best.get(key, -2), float(unit[i] @ unit[j]))
    return sorted(best.values(), reverse=True)[:n]


@pytest.mark.parametrize("exclude_exact", [True, False])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_top_pairs_match_a_slow_loop(exclude_exact, block):
    rng = np.random.default_rng(1)
    embeddings, models = rng.normal(size=(40, 5)), [f"m{k % 3}" for k in range(40)]
    texts = [f"Text {k % 15}{'!' * (k % 2)}" for k in range(40)]
    i, j, cosine = overlap.top_pairs(embeddings, models, 12, texts=texts, exclude_exact=exclude_exact, block=block)
    np.testing.assert_allclose(cosine, slow_top(embeddings, models, 12, texts, exclude_exact), atol=2e-6)
    pairs = [tuple(sorted((words.normalise(texts[a]), words.normalise(texts[b])))) for a, b in zip(i, j, strict=True)]
    assert len(set(pairs)) == len(pairs) == 12
    assert all(models[a] != models[b] for a, b in zip(i, j, strict=True))


@pytest.mark.parametrize("with_texts", [True, False])
def test_top_pairs_break_ties_alike_in_any_row_order(with_texts):
    rng = np.random.default_rng(2)
    embeddings = rng.integers(0, 2, size=(30, 3)) + np.array([1.0, 0, 0])
    rows = [(f"t{k % 20}", f"m{k % 4}", tuple(e)) for k, e in enumerate(embeddings)]
    results = []
    for order in (np.arange(30), rng.permutation(30)):
        texts, models, vectors = zip(*[rows[k] for k in order], strict=True)
        block = 128 if not results else 4
        i, j, _ = overlap.top_pairs(np.array(vectors), models, 9, texts=texts if with_texts else None, block=block)
        keep = slice(None) if with_texts else slice(1, None)
        results.append([(rows[order[a]][keep], rows[order[b]][keep]) for a, b in zip(i, j, strict=True)])
    assert results[0] == results[1]


def test_top_pairs_in_dumb_cases():
    i, j, cosine = overlap.top_pairs(np.array([[1, 0], [2, 0], [0, 3], [-1, 0]]), ["a", "b", "a", "a"], 9)
    assert [{a, b} for a, b in zip(i.tolist(), j.tolist(), strict=True)] == [{0, 1}, {1, 2}, {1, 3}]
    assert cosine.tolist() == [1, 0, -1]
    same = overlap.top_pairs(np.ones((6, 2)), list("aabbcc"), 3, texts=["x"] * 6)
    assert [len(values) for values in same] == [0, 0, 0]
    assert len(overlap.top_pairs(np.ones((6, 2)), list("aabbcc"), 3, texts=["x"] * 6, exclude_exact=False)[0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(embeddings=np.ones(3), models=["a"] * 3, n=1), "n_dims"),
        (dict(embeddings=np.ones((2, 3)), models=["a"], n=1), "each of the 2 responses, but 1"),
        (dict(embeddings=np.ones((2, 3)), models=["a", "b"], n=0), "at least 1 pair, but 0"),
        (dict(embeddings=np.zeros((2, 3)), models=["a", "b"], n=1), "finite"),
        (dict(embeddings=np.ones((2, 3)), models=["a", "b"], n=1, texts=["x"]), "each of the 1 responses, but 2"),
    ],
)
def test_top_pairs_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlap.top_pairs(**arguments)


# pieces


def test_pieces_merge_spans():
    assert overlap.pieces("a < b", []) == ["a < b"]
    assert overlap.pieces("abcdef", [(3, 5), (0, 2), (1, 3)]) == ["", "abcde", "f"]


@repeatable
@given(st.text(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5), st.randoms())
def test_pieces_match_a_loop_over_characters(text, ends, random):
    spans = [(a, b) for a, b in ends if a < b <= len(text)]
    inside = [any(a <= k < b for a, b in spans) for k in range(len(text))]
    pieces = overlap.pieces(text, spans)
    assert "".join(pieces) == text
    assert "".join(pieces[1::2]) == "".join(c for c, is_in in zip(text, inside, strict=True) if is_in)
    random.shuffle(spans)
    assert overlap.pieces(text, spans) == pieces


@pytest.mark.parametrize("span", [(0, 4), (-1, 2), (2, 2)])
def test_pieces_raise_outside_the_text(span):
    with pytest.raises(ValueError, match="must lie within the text"):
        overlap.pieces("abc", [span])

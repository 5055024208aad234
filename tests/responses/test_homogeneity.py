"""Homogeneity between models: the tables of notebook 06 against literal loops and hand-written answers."""

from itertools import chain, combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from some_responses import responses_of, shuffled, with_model, with_vectors

from hivemind_utils.figures import pages
from hivemind_utils.metrics import diversity, overlap, similarity
from hivemind_utils.metrics import words as words_metrics
from hivemind_utils.responses import headlines, homogeneity
from hivemind_utils.tables import schema


def cosine(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    length = np.sqrt((a @ a) * (b @ b))
    return a @ b / length if length else 0.0


def study(counts, d=5, seed=0, family=None):
    """Responses from (prompt, arm): number; an arm is `model` or `model · condition`."""
    rows = [(p, arm.split(" · ")[0], arm, k) for (p, arm), n in counts.items() for k in range(n)]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "arm", "sample_idx"])
    table["text"] = [f"answer {k} of {arm}" for _, _, arm, k in rows]
    table["response_id"] = [f"{(7 * i) % 1000:03}" for i in range(len(rows))]
    vectors = np.random.default_rng(seed).normal(size=(len(rows), d)).astype(np.float32) + 0.5
    return responses_of(table, vectors, family)


def jackknife(values, estimate):
    """Bounds of a jackknife t interval, literally: the estimate of all values and without each."""
    left_out = [estimate(values[:k] + values[k + 1 :]) for k in range(len(values))]
    n = len(values)
    se = np.sqrt((n - 1) / n * sum((one - np.mean(left_out)) ** 2 for one in left_out))
    half = stats.t.ppf(0.975, n - 1) * se
    return estimate(values) - half, estimate(values) + half


def flat(lists):
    return list(chain.from_iterable(lists))


def mean_of(values):
    values = [v for v in values if not np.isnan(v)]
    return np.mean(values) if values else np.nan


# --------------------------------------------------------------------------------------------------- pairs and blocks

COUNTS = {
    ("p1", "gpt"): 3,
    ("p1", "llama"): 2,
    ("p1", "qwen · a"): 1,
    ("p2", "gpt"): 1,
    ("p2", "llama"): 4,  # qwen is absent
    ("p3", "gpt"): 2,
    ("p3", "llama"): 3,
    ("p3", "qwen · a"): 2,
    ("p3", "qwen · b"): 1,
    ("p4", "gpt"): 3,  # nobody else
}
ARMS, ORDER = ["gpt", "llama", "qwen · a", "qwen · b"], ["p1", "p2", "p3", "p4"]


def cosines_literally(responses, a, b, *, self_pairs=False, vectors=None):
    """By prompt, the cosines of all ordered pairs of a response of arm a with one of arm b."""
    found = {p: [] for p in ORDER}
    vectors = responses.vectors if vectors is None else vectors
    for i, j in product(range(len(responses)), repeat=2):
        one, two = responses.table.iloc[i], responses.table.iloc[j]
        if one["prompt_id"] == two["prompt_id"] and (one["arm"], two["arm"]) == (a, b) and (i != j or self_pairs):
            found[one["prompt_id"]].append(cosine(vectors[i], vectors[j]))
    return found


def test_arm_sums_match_adding_unit_rows():
    responses = study(COUNTS)
    sums, counts = homogeneity.arm_sums(responses)
    assert sums.shape == (4, 4, 5)
    for (p, prompt), (a, arm) in product(enumerate(ORDER), enumerate(ARMS)):
        rows = responses.vectors[(responses.table["prompt_id"] == prompt) & (responses.table["arm"] == arm)]
        assert counts[p, a] == len(rows) == COUNTS.get((prompt, arm), 0)
        assert sums[p, a] == pytest.approx(sum((r / np.linalg.norm(r) for r in rows), np.zeros(5)), abs=1e-5)
    mixed, n = homogeneity.arm_sums(shuffled(responses))
    assert np.array_equal(n, counts) and mixed == pytest.approx(sums, abs=1e-5)


@pytest.mark.parametrize(("arms", "order", "unknown"), [(ARMS[:3], ORDER, "qwen · b"), (ARMS, ORDER[1:], "p1")])
def test_a_response_of_an_unlisted_arm_or_prompt_is_refused(arms, order, unknown):
    with pytest.raises(ValueError, match=f"must be listed, but '{unknown}' is not"):
        homogeneity.arm_sums(study(COUNTS), arms, order)


def test_model_pairs_match_the_literal_loops_with_missing_cells():
    responses = study(COUNTS)
    table = homogeneity.model_pairs(responses)
    assert [tuple(row) for row in table[["arm_a", "arm_b"]].to_numpy()] == [
        (a, b) for k, a in enumerate(ARMS) for b in ARMS[k:]
    ]
    for row in table.itertuples():
        found = cosines_literally(responses, row.arm_a, row.arm_b)
        pooled = flat(found.values())
        same = row.arm_a == row.arm_b
        assert row.n_prompts == sum(map(bool, found.values()))
        assert row.n_pairs == len(pooled) / (2 if same else 1)
        assert row.mean_cosine == pytest.approx(mean_of(pooled), abs=1e-5, nan_ok=True)
        with_self = flat(cosines_literally(responses, row.arm_a, row.arm_b, self_pairs=True).values())
        assert row.mean_cosine_published == pytest.approx(np.mean(with_self), abs=1e-5)
        assert (row.family_a, row.family_b) == (row.arm_a.split(" · ")[0], row.arm_b.split(" · ")[0])
    assert np.isnan(table.set_index(["arm_a", "arm_b"])["mean_cosine"]["qwen · b", "qwen · b"])
    assert schema.validate(table, "06_model_pairs").num_rows == 10


def test_model_pairs_in_words_match_the_literal_loop_and_wordless_responses_share_nothing():
    responses = study(COUNTS)
    responses.table.loc[[0, 4], "text"] = "!?"
    for row in homogeneity.model_pairs(responses).itertuples():
        pooled = flat(cosines_literally(responses, row.arm_a, row.arm_b, vectors=responses.lexical.toarray()).values())
        assert row.mean_tfidf == pytest.approx(mean_of(pooled), abs=1e-6, nan_ok=True)


def test_intervals_of_pairs_match_a_literal_jackknife_over_the_prompts_that_both_answered():
    responses = study(COUNTS)
    for row in homogeneity.model_pairs(responses).itertuples():
        found = [v for v in cosines_literally(responses, row.arm_a, row.arm_b).values() if v]
        if len(found) < 2:
            assert np.isnan(row.lower) and np.isnan(row.upper)
            continue
        bounds = np.clip(jackknife(found, lambda v: np.mean(flat(v))), -1, 1)
        assert (row.lower, row.upper) == pytest.approx(tuple(bounds), abs=1e-5)


def test_model_pairs_do_not_depend_on_row_order():
    responses = study(COUNTS)
    one, two = (homogeneity.model_pairs(r) for r in (responses, shuffled(responses)))
    pd.testing.assert_frame_equal(one, two, atol=1e-6)


def test_identical_responses_are_alike_everywhere():
    responses = study(COUNTS)
    responses.table["text"] = "the same words"
    table = homogeneity.model_pairs(with_vectors(responses, np.ones((len(responses), 384), np.float32)))
    known = table[table["n_pairs"] > 0]
    values = known[["mean_cosine", "mean_cosine_published", "mean_tfidf"]].to_numpy()
    assert values == pytest.approx(np.ones_like(values)) and (values <= 1 + 1e-6).all()


def test_a_single_arm_and_a_single_prompt_have_one_pair_without_an_interval():
    table = homogeneity.model_pairs(study({("p1", "gpt"): 3}))
    assert table[["arm_a", "arm_b", "n_prompts", "n_pairs"]].to_numpy().tolist() == [["gpt", "gpt", 1, 3]]
    assert table[["lower", "upper"]].isna().all(axis=None)


GROUPS = {
    "same model": lambda a, b: a == b,
    "different models": lambda a, b: a.split(" · ")[0] != b.split(" · ")[0],
    "different conditions": lambda a, b: a != b and a.split(" · ")[0] == b.split(" · ")[0],
    "nobody": lambda a, b: False,
}


def test_group_means_match_the_literal_loops_pairs_of_arms_and_prompts_weighing_equally():
    responses = study(COUNTS)
    table = homogeneity.group_means(responses, GROUPS).set_index("block")
    assert table.index.tolist() == ["same model", "different models", "different conditions"]
    for name, row in table.iterrows():
        chosen = [(a, b) for k, a in enumerate(ARMS) for b in ARMS[k:] if GROUPS[name](a, b)]
        found = [cosines_literally(responses, a, b) for a, b in chosen]
        per_prompt = np.array([mean_of([mean_of(f[p]) for f in found]) for p in ORDER])
        per_prompt = per_prompt[~np.isnan(per_prompt)]
        assert row["mean"] == pytest.approx(np.mean(per_prompt), abs=1e-5)
        if len(per_prompt) > 1:
            expected = stats.ttest_1samp(per_prompt, 0).confidence_interval()
            assert (row["lower"], row["upper"]) == pytest.approx(tuple(np.clip(expected, -1, 1)), abs=1e-5)
        else:
            assert np.isnan(row["lower"])
        assert row["n_arm_pairs"] == sum(any(f.values()) for f in found)
    mixed = homogeneity.group_means(shuffled(responses), GROUPS).set_index("block")
    pd.testing.assert_frame_equal(mixed, table, atol=1e-6)


def test_blocks_keep_people_families_and_conditions_apart():
    arms = ["a1", "a2", "b1 · x", "b1 · y", "writers"]
    family = {"a1": "a", "a2": "a", "b1": "b", "writers": "people"}
    table = homogeneity.blocks(study({(p, arm): 2 for p in ("p1", "p2") for arm in arms}, family=family))
    assert table["n_arm_pairs"].to_dict() == {
        "same model": 4,
        "different models": 5,
        "different models, same family": 1,
        "different families": 4,
        "same model, different conditions": 1,
        "people": 1,
        "people and models": 4,
    }
    assert table["mean"].notna().all()
    assert table.attrs == {"n_models": 3, "n_unknown": 0}


def test_blocks_count_models_of_unknown_family():
    family = {"a": "unknown", "b": "unknown", "writers": "people"}
    table = homogeneity.blocks(study({("p", arm): 2 for arm in family}, family=family))
    assert table.attrs == {"n_models": 2, "n_unknown": 2}
    assert headlines.family_blocks(table).startswith("Different models (families unknown): mean similarity ")


def test_blocks_of_a_single_model_hold_only_itself():
    table = homogeneity.blocks(study({("p1", "gpt"): 3, ("p2", "gpt"): 2}))
    assert table.index[table["mean"].notna()].tolist() == ["same model"]
    assert table["n_arm_pairs"].sum() == 1


# -------------------------------------------------------------------------------------------------------------- order


def similarities(values):
    """Table 06_model_pairs, the columns that order it, from (arm, arm): mean cosine."""
    return pd.DataFrame([(*arms, v) for arms, v in values.items()], columns=["arm_a", "arm_b", "mean_cosine"])


def random_similarities(n=8, seed=0):
    rng, arms = np.random.default_rng(seed), [f"m{i}" for i in range(n)]
    return similarities({(a, b): rng.uniform(0.2, 0.9) for k, a in enumerate(arms) for b in arms[k:]})


def test_arms_that_are_alike_stand_together():
    values = {("a", "d"): 0.9, ("b", "e"): 0.9, ("c", "f"): 0.8}
    pairs = {pair: values.get(pair, 0.2) for pair in combinations("abcdef", 2)}
    order, tree = homogeneity.family_order(similarities(pairs | {(a, a): 1.0 for a in "abcdef"}))
    assert sorted(order) == list("abcdef") and tree.shape == (5, 4)
    assert all(abs(order.index(a) - order.index(b)) == 1 for a, b in values)


@pytest.mark.parametrize("gaps", [[], [3, 7, 20]])
def test_the_order_does_not_depend_on_rows_even_with_missing_pairs(gaps):
    pairs = random_similarities()
    pairs.loc[gaps, "mean_cosine"] = np.nan
    order, tree = homogeneity.family_order(pairs)
    mixed, same_tree = homogeneity.family_order(pairs.sample(frac=1, random_state=0))
    assert order == mixed and np.array_equal(tree, same_tree)
    assert sorted(order) == [f"m{i}" for i in range(8)]


def test_a_missing_pair_counts_as_the_mean_of_the_known_ones():
    known = {("a", "b"): 0.9, ("a", "c"): 0.3, ("b", "c"): np.nan} | {(x, x): 1.0 for x in "abc"}
    order, tree = homogeneity.family_order(similarities(known))
    filled, same_tree = homogeneity.family_order(similarities(known | {("b", "c"): 0.6}))
    assert order == filled and tree == pytest.approx(same_tree)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_arms_have_an_order_and_no_tree(n):
    assert homogeneity.family_order(random_similarities(n)) == ([f"m{i}" for i in range(n)], None)


def test_three_arms_without_any_known_pair_still_have_an_order():
    pairs = random_similarities(3)
    pairs.loc[pairs["arm_a"] != pairs["arm_b"], "mean_cosine"] = np.nan
    order, tree = homogeneity.family_order(pairs)
    assert sorted(order) == ["m0", "m1", "m2"] and tree.shape == (2, 4)


def test_the_square_is_symmetric_whichever_triangle_is_given():
    pairs = random_similarities(4)
    square = homogeneity.square(pairs, ["m2", "m0", "m3", "m1"])
    assert np.array_equal(square, square.T)
    assert square.index.tolist() == square.columns.tolist() == ["m2", "m0", "m3", "m1"]
    for row in pairs.itertuples():
        assert square.loc[row.arm_b, row.arm_a] == row.mean_cosine
    swapped = pairs.rename(columns={"arm_a": "arm_b", "arm_b": "arm_a"})
    pd.testing.assert_frame_equal(homogeneity.square(swapped, list(square)), square)


# --------------------------------------------------------------------------------------------------------- neighbours


def golden():
    """METRICS, golden vector G2."""
    angles = np.deg2rad([0, 1, 2.5, 40, 41.2, 43, 4.2, 44.4, 90])
    table = pd.DataFrame({"prompt_id": "p1", "model": list("AABABBCCC"), "response_id": list("abcdefghi")})
    return responses_of(table, np.column_stack([np.cos(angles), np.sin(angles)]), {"A": "x", "B": "x", "C": "y"})


def test_golden_source_models_through_the_frame():
    table = homogeneity.neighbours(golden(), 8)
    at = table[table["by"] == "model"].set_index("n_nearest")["n_sources"]
    assert at.round(6)[[1, 2, 3, 4, 8]].tolist() == [1, 1.777778, 2.444444, 2.666667, 3]
    assert set(table["by"]) == {"model", "family"} and table["n_responses"].eq(9).all()
    counts = {"model": [3, 3, 3], "family": [6, 3]}
    for by, rows in table.groupby("by"):
        assert rows["expected"].to_numpy() == pytest.approx(similarity.expected_sources(counts[by], 8))
        assert rows["separated"].to_numpy() == pytest.approx(similarity.separated_sources(counts[by], 8))
    assert schema.validate(table, "06_neighbours").num_rows == 16


def test_neighbours_match_sorting_by_cosine_on_ragged_prompts():
    responses = study(COUNTS)
    answers, vectors = responses.table, responses.vectors
    table = homogeneity.neighbours(responses, 4)
    assert set(table["prompt_id"]) == {"p1", "p2", "p3"}, "only one model answered p4"
    for (prompt, n), row in table[table["by"] == "model"].set_index(["prompt_id", "n_nearest"]).iterrows():
        rows = np.flatnonzero(answers["prompt_id"] == prompt)
        found = []
        for i in rows:
            others = sorted((j for j in rows if j != i), key=lambda j: -cosine(vectors[i], vectors[j]))
            found.append(len({answers["model"][j] for j in others[:n]}))
        assert row["n_sources"] == pytest.approx(np.mean(found))


def test_ties_between_equal_answers_go_by_id_whatever_the_order_of_rows():
    same = with_vectors(study({("p1", m): 4 for m in ("gpt", "llama", "qwen")}), np.ones((12, 3), np.float32))
    one, two = (homogeneity.neighbours(r, 5) for r in (same, shuffled(same)))
    pd.testing.assert_frame_equal(one, two)


def test_neighbours_of_a_single_model_are_an_empty_table_and_progress_is_shown():
    seen = []

    def progress(groups, total, unit):
        seen.append((total, unit))
        return groups

    table = homogeneity.neighbours(study({("p1", "gpt"): 3, ("p2", "gpt"): 2}), 5, progress=progress)
    assert schema.validate(table, "06_neighbours").num_rows == 0
    assert seen == [(2, "prompt")]
    assert homogeneity.neighbour_curve(table).empty


def test_the_curve_goes_as_far_as_half_of_the_prompts_and_averages_the_same_ones_throughout():
    counts = {(p, m): n for p, n in (("p1", 2), ("p2", 3), ("p3", 4)) for m in ("gpt", "llama")}
    table = homogeneity.neighbours(study(counts, family={"gpt": "one", "llama": "one"}), 6)
    curve = homogeneity.neighbour_curve(table)
    assert curve["by"].eq("model").all(), "there is one family only"
    assert curve["n_nearest"].tolist() == [1, 2, 3, 4, 5] and curve["n_prompts"].eq(2).all()
    for row in curve.itertuples():
        at = table[(table["n_nearest"] == row.n_nearest) & table["prompt_id"].isin(["p2", "p3"])]
        for name in ("n_sources", "separated", "expected", "n_available"):
            assert getattr(row, name) == pytest.approx(at[name].mean())
        assert (row.quartile_1, row.quartile_3) == pytest.approx(tuple(at["n_sources"].quantile([0.25, 0.75])))
        expected = jackknife(at["n_sources"].tolist(), np.mean)
        assert (row.lower, row.upper) == pytest.approx(expected, abs=1e-9)
    mixed = homogeneity.neighbour_curve(table.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(mixed, curve)


def test_the_curve_of_one_prompt_has_no_interval():
    curve = homogeneity.neighbour_curve(homogeneity.neighbours(golden(), 8))
    assert curve[["lower", "upper"]].isna().all(axis=None) and curve["n_sources"].notna().all()


def test_the_telling_row_is_the_last_before_chance_has_found_them_all():
    expected = similarity.expected_sources([10] * 4, 30)
    curve = pd.DataFrame({"by": "model", "n_nearest": np.arange(1, 31), "expected": expected, "n_available": 4})
    row = homogeneity.telling_row(curve)
    assert row["expected"] <= 0.95 * 4 < expected[int(row["n_nearest"])]
    assert homogeneity.telling_row(curve[::-1])["n_nearest"] == row["n_nearest"]


def test_at_the_papers_size_the_last_row_tells():
    expected = similarity.expected_sources([50] * 25, 50)
    curve = pd.DataFrame({"by": "model", "n_nearest": np.arange(1, 51), "expected": expected, "n_available": 25})
    assert homogeneity.telling_row(curve)["n_nearest"] == 50


def test_where_chance_finds_all_sources_at_once_the_last_row_is_taken():
    curve = pd.DataFrame({"by": ["model"] * 2 + ["family"], "n_nearest": [1, 2, 9], "expected": [1.5, 2.4, 3]})
    curve["n_available"] = [9, 9, 3]
    assert homogeneity.telling_row(curve)["n_nearest"] == 2
    assert homogeneity.telling_row(curve, "family")["n_nearest"] == 9


# ----------------------------------------------------------------------------------------------------------- overlaps

SENTENCE = "time is a river that carries all of us down to the sea"
WRITTEN = [
    ("p1", "gpt", "**Time** is a river."),
    ("p1", "gpt", "time is a river"),
    ("p1", "llama", "Time is a River!"),
    ("p1", "llama", "Something else entirely, said once more."),
    ("p1", "llama", "something else entirely said once more"),  # within one model only
    ("p1", "gpt", f"They say {SENTENCE}, my friend."),
    ("p1", "qwen", f"# Time\n{SENTENCE.upper()}; forever and ever and ever"),
    ("p1", "qwen", "…"),
    ("p1", "llama", "!?"),  # empty after normalisation, as the one above
    ("p2", "gpt", f"{SENTENCE} again"),  # one model only
    ("p2", "gpt", f"again {SENTENCE}"),
    ("p3", "gpt", "yes"),
    ("p3", "llama", "Yes."),
]


def written():
    table = pd.DataFrame(WRITTEN, columns=["prompt_id", "model", "text"])
    table["response_id"] = [f"r{(5 * i) % 13:02}" for i in range(len(WRITTEN))]
    vectors = np.random.default_rng(0).normal(size=(len(WRITTEN), 4)).astype(np.float32)
    return responses_of(table, vectors, texts={"p1": "What is <time>?", "p3": "Yes or no?"})


def overlaps_of(responses, min_span_words=6, n_pairs=2, **options):
    return homogeneity.overlaps(responses, min_span_words, 100, n_pairs, **options)[0]


def test_words_that_quote_the_prompt_are_no_overlap():
    prompt = "Write a short line about the passing of time, please!"
    quoted = "Sure: write a short line about the passing of time."
    table = pd.DataFrame({
        "prompt_id": "p", "model": ["a", "b", "c", "d"], "response_id": list("wxyz"),
        "text": [
            f"{quoted} Clocks melt.", f"{quoted} Rivers run.", "Rivers carry all the old boats slowly down to sea.",
            "Maybe rivers carry all the old boats slowly down to Rome.",
        ],
    })  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    asked = responses_of(table, vectors, texts={"p": prompt})
    (span,) = overlaps_of(asked, 8).query("overlap_type == 'span'").itertuples()
    assert {span.model_a, span.model_b} == {"c", "d"} and span.longest_span_words == 9
    assert shares_of(asked, 8)["span"].tolist() == [0.5] and shares_of(asked, 8)["n_span_pairs"].tolist() == [1]
    other = responses_of(table, vectors, texts={"p": "Something else?"})
    assert len(overlaps_of(other, 8).query("overlap_type == 'span'")) == 2 and shares_of(other, 8)["span"].tolist() == [
        1.0
    ]


def shares_of(responses, min_span_words=6):
    return homogeneity.overlaps(responses, min_span_words, 100, 2)[1]


def test_exact_overlaps_are_texts_of_several_models_apart_from_case_and_markup():
    responses = written()
    answers, vectors = responses.table, responses.vectors
    exact = overlaps_of(responses).query("overlap_type == 'exact'").set_index("prompt_id")
    assert exact.index.tolist() == ["p1", "p3"]
    river = exact.loc["p1"]
    assert (river["span"], river["n_models"], river["n_responses"]) == ("time is a river", 2, 3)
    assert (river["model_a"], river["model_b"], river["longest_span_words"]) == ("gpt", "llama", 4)
    assert np.isnan(river["shared_8grams"]), "four words have no 8-gram"
    row_of = {r: k for k, r in enumerate(answers["response_id"])}
    for row in exact.itertuples():
        assert words_metrics.normalise(answers["text"][row_of[row.response_a]]) == row.span
        expected = cosine(vectors[row_of[row.response_a]], vectors[row_of[row.response_b]])
        assert row.cosine == pytest.approx(expected, abs=1e-6), "texts that differ in markup have vectors that differ"


def test_spans_are_long_runs_of_different_texts_of_different_models():
    responses = written()
    answers = responses.table
    (span,) = overlaps_of(responses).query("overlap_type == 'span'").itertuples()
    assert (span.prompt_id, span.model_a, span.model_b) == ("p1", "gpt", "qwen")
    assert span.span == SENTENCE and span.longest_span_words == 13
    a, b = (
        words_metrics.words(answers["text"][answers["response_id"] == r].item())
        for r in (span.response_a, span.response_b)
    )
    assert span.shared_8grams == pytest.approx(overlap.shared_ngram_share(a, b))
    assert overlaps_of(responses, min_span_words=14).query("overlap_type == 'span'").empty


def test_nearest_overlaps_are_the_most_similar_cross_model_pairs_of_different_texts():
    responses = written()
    answers, vectors = responses.table, responses.vectors
    nearest = overlaps_of(responses, n_pairs=3).query("overlap_type == 'nearest'")
    at = answers[answers["prompt_id"] == "p1"]
    best = {}
    for i, j in combinations(at.index, 2):
        texts = tuple(sorted(words_metrics.normalise(at["text"][k]) for k in (i, j)))
        if at["model"][i] != at["model"][j] and texts[0] != texts[1]:
            best[texts] = max(best.get(texts, -1), cosine(vectors[i], vectors[j]))
    assert nearest["prompt_id"].tolist() == ["p1"] * 3, "p3 has one text only"
    assert nearest["cosine"].tolist() == pytest.approx(sorted(best.values(), reverse=True)[:3], abs=1e-5)


def test_overlaps_do_not_depend_on_row_order_and_are_the_table_they_are_written_as():
    one, two = (overlaps_of(r) for r in (written(), shuffled(written())))
    pd.testing.assert_frame_equal(one, two, atol=1e-6)
    assert schema.validate(one, "06_overlaps").num_rows == len(one) == 5


def test_a_single_model_has_no_overlaps_with_others():
    one = with_model(written(), "gpt")
    table, shares = homogeneity.overlaps(one, 6, 100, 2, progress=lambda groups, total, unit: groups)
    assert schema.validate(table, "06_overlaps").num_rows == 0 and shares.empty


def test_fewer_spans_may_be_kept_than_are_counted_and_the_longest_are():
    pool = [f"{a} {SENTENCE} {b}" for a in ("yes", "no") for b in ("now", "then", "soon")]
    table = pd.DataFrame({"text": pool, "model": ["gpt", "llama"] * 3, "prompt_id": "p"})
    table["response_id"] = [f"r{k}" for k in range(len(pool))]
    responses = responses_of(table, np.eye(6, dtype=np.float32))
    (every, all_shares), (some, some_shares) = (homogeneity.overlaps(responses, 6, n, 1) for n in (100, 2))
    lengths = every.loc[every["overlap_type"] == "span", "longest_span_words"]
    kept = some.loc[some["overlap_type"] == "span", "longest_span_words"]
    assert kept.tolist() == sorted(lengths, reverse=True)[:2] and len(lengths) == all_shares["n_span_pairs"].item()
    pd.testing.assert_frame_equal(all_shares, some_shares)


@pytest.mark.parametrize("min_words", [3, 6, 14])
def test_overlap_shares_match_asking_every_answer(min_words):
    shares = shares_of(written(), min_words).set_index("prompt_id")
    assert shares.index.tolist() == ["p1", "p3"], "p2 was answered by one model"
    rows = [(p, m, words_metrics.words(t)) for p, m, t in WRITTEN]
    for prompt in ("p1", "p3"):
        exact, span = [], []
        for p, model, words in rows:
            others = [w for q, m, w in rows if q == p == prompt and m != model]
            if p == prompt:
                exact.append(bool(words) and words in others)
                runs = [overlap.longest_common_span(words, other)[0] for other in others]
                span.append(exact[-1] or max(runs, default=0) >= min_words)
        expected = [np.mean(exact), np.mean(span), len(exact)]
        assert shares.loc[prompt, ["exact", "span", "n_responses"]].tolist() == pytest.approx(expected)
    pd.testing.assert_frame_equal(shares_of(shuffled(written()), min_words), shares.reset_index())


def records_of(n):
    return homogeneity.page_records(overlaps_of(written()), written(), n)


def test_page_records_hold_the_longest_spans_first_and_mark_what_is_shared():
    records = records_of(10)
    assert [r["longest_span_words"] for r in records] == sorted(
        (r["longest_span_words"] for r in records), reverse=True
    )
    first = records[0]
    assert (first["prompt"], first["model_a"], first["model_b"]) == ("What is <time>?", "gpt", "qwen")
    marked = [first["text_a"][start:end] for start, end in first["spans_a"]]
    assert marked == [SENTENCE]


def test_a_short_text_that_two_models_give_is_marked_whole():
    yes = next(r for r in records_of(10) if r["prompt"] == "Yes or no?")
    assert {yes["text_a"], yes["text_b"]} == {"yes", "Yes."}
    assert yes["spans_a"] == yes["spans_b"] == [(0, 3)]


@pytest.mark.parametrize("n", [0, 1, 2, 4, 99])
def test_page_records_are_as_many_as_asked_for_and_no_span_comes_twice(n):
    records = records_of(n)
    assert len(records) == min(n, len(records_of(99)))
    assert len(records_of(99)) <= 5
    shown = [(r["prompt"], r["model_a"], r["text_a"], r["text_b"]) for r in records]
    assert len(set(shown)) == len(shown)


def test_a_span_that_many_pairs_share_is_shown_once():
    models = ["gpt", "llama", "qwen"]
    texts = [f"{model} says {SENTENCE} and so says {model}" for model in models]
    table = pd.DataFrame({"prompt_id": "p1", "model": models, "text": texts, "response_id": ["r1", "r2", "r3"]})
    responses = responses_of(table, np.eye(3, dtype=np.float32) + 1)
    table = overlaps_of(responses, n_pairs=1)
    assert table["overlap_type"].tolist() == ["span"] * 3 + ["nearest"]
    (record,) = homogeneity.page_records(table, responses, 9)
    assert record["longest_span_words"] == 17, "the sentence, and four words around it"


def test_no_overlaps_make_an_empty_page():
    one = with_model(written(), "gpt")
    assert homogeneity.page_records(overlaps_of(one), one, 5) == []


def test_the_page_of_overlaps_runs_no_script_that_an_answer_holds():
    evil = "<script>alert('one two three four')</script>"
    texts, names = [f"well {evil}", f"so {evil}"], ["<b>gpt</b>", "llama"]
    table = pd.DataFrame({"prompt_id": "p1", "model": names, "text": texts, "response_id": ["r1", "r2"]})
    responses = responses_of(table, np.eye(2, dtype=np.float32) + 1, texts={"p1": evil})
    records = homogeneity.page_records(overlaps_of(responses, min_span_words=3), responses, 5)
    page = pages.overlap_html(records, "Overlaps", source="test")
    assert "<script" not in page and "<b>" not in page
    assert "&lt;script&gt;" in page and "<mark>" in page


def test_pair_agreement_is_over_pairs_of_different_arms():
    pairs = random_similarities(4)
    pairs["mean_tfidf"] = np.where(pairs["arm_a"] == pairs["arm_b"], 0, pairs["mean_cosine"] ** 3)
    assert homogeneity.pair_agreement(pairs) == pytest.approx(1)
    assert homogeneity.pair_agreement(pairs.sample(frac=1, random_state=0)) == pytest.approx(1)
    pairs.loc[pairs["arm_b"] != "m3", "mean_tfidf"] = np.nan
    assert homogeneity.pair_agreement(pairs) == pytest.approx(1)
    assert np.isnan(homogeneity.pair_agreement(pairs[pairs["arm_a"] != "m0"]))
    assert np.isnan(homogeneity.pair_agreement(random_similarities(4).assign(mean_tfidf=0.5)))


# -------------------------------------------------------------------------------------------------------------- pools

ONE, MANY = "one model, k responses", "k models, one response each"


def pools_of(responses, sizes=(1, 2, 3, 4), n_draws=4, seed=0, **options):
    return homogeneity.pools(responses, sizes, n_draws, np.random.default_rng(seed), **options)


def full_study(n=5, prompts=("p1", "p2"), arms=("gpt", "llama", "qwen", "writers")):
    return study({(p, arm): n for p in prompts for arm in arms})


def test_pools_of_identical_answers_hold_one_answer():
    responses = full_study()
    table = pools_of(with_vectors(responses, np.ones_like(responses.vectors)))
    assert table["vendi_1"].to_numpy() == pytest.approx(np.ones(len(table)), abs=1e-5)
    assert table.groupby("pool")["k"].apply(list).to_dict() == {
        ONE: [1, 2, 3, 4],
        MANY: [1, 2, 3],
        "people": [1, 2, 3, 4],
    }
    assert table["n_prompts"].eq(2).all()
    assert schema.validate(table, "06_pools").num_rows == len(table)


def test_models_that_each_say_one_thing_of_their_own_add_up():
    responses = full_study()
    own = np.eye(4, dtype=np.float32)[pd.factorize(responses.table["model"])[0]]
    table = pools_of(with_vectors(responses, own)).set_index(["pool", "k"])["vendi_1"]
    assert table[MANY].tolist() == pytest.approx([1, 2, 3], abs=1e-5)
    assert table[ONE].tolist() == pytest.approx([1, 1, 1, 1], abs=1e-5)


def test_pools_average_the_vendi_score_over_what_can_be_drawn():
    responses = full_study(n=3, prompts=("p1",))
    answers, vectors = responses.table, responses.vectors
    table = pools_of(responses, sizes=(2,), n_draws=6000).set_index("pool")["vendi_1"]
    rows = {m: np.flatnonzero(answers["model"] == m) for m in ("gpt", "llama", "qwen", "writers")}
    within = {m: [diversity.vendi_score(vectors[list(p)]) for p in combinations(at, 2)] for m, at in rows.items()}
    assert table[ONE] == pytest.approx(np.mean([within[m] for m in ("gpt", "llama", "qwen")]), abs=0.01)
    assert table["people"] == pytest.approx(np.mean(within["writers"]), abs=0.01)
    between = [
        diversity.vendi_score(vectors[[i, j]])
        for a, b in combinations(("gpt", "llama", "qwen"), 2)
        for i, j in product(rows[a], rows[b])
    ]
    assert table[MANY] == pytest.approx(np.mean(between), abs=0.01)


def test_the_many_models_of_a_pool_differ_even_where_one_has_two_conditions():
    responses = study({("p1", arm): 3 for arm in ("gpt · a", "gpt · b", "llama")})
    own = np.eye(2, dtype=np.float32)[pd.factorize(responses.table["model"])[0]]
    table = pools_of(with_vectors(responses, own)).set_index(["pool", "k"])["vendi_1"]
    assert table[MANY].tolist() == pytest.approx([1, 2], abs=1e-5), "three arms, two models"
    assert table[ONE].tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_one_thin_arm_or_prompt_is_left_out_and_does_not_cut_the_curve_of_the_others():
    counts = {(p, m): 5 for p in ("p1", "p2", "p3") for m in ("gpt", "llama", "writers")}
    table = pools_of(study(counts | {("p2", "llama"): 2, ("p3", "writers"): 3}), sizes=[4, 3, 2, 1, 2, 0])
    assert table.groupby("pool")["k"].apply(list).to_dict() == {ONE: [1, 2, 3, 4], MANY: [1, 2], "people": [1, 2, 3, 4]}
    assert table.groupby("pool")["n_prompts"].unique().map(list).to_dict() == {ONE: [3], MANY: [3], "people": [2]}
    short = study(dict.fromkeys(counts, 2))
    assert pools_of(short, sizes=[1, 2, 3])["k"].max() == 2, "nobody has three answers"


def test_pools_come_back_from_an_equal_generator_whatever_the_order_of_rows():
    responses = full_study()
    table = pools_of(responses)
    pd.testing.assert_frame_equal(pools_of(shuffled(responses)), table, atol=1e-6)
    assert not np.allclose(pools_of(responses, seed=1)["vendi_1"], table["vendi_1"])


def test_a_single_model_without_people_has_one_pool_and_needs_no_others():
    table = pools_of(full_study(arms=("gpt",), prompts=("p1",)), progress=lambda groups, total, unit: groups)
    assert table["pool"].eq(ONE).all() and table[["lower", "upper"]].isna().all(axis=None)
    assert homogeneity.models_needed(table) is None


def test_people_alone_have_one_pool():
    assert pools_of(full_study(arms=("writers",)))["pool"].eq("people").all()


def pool_table(one, many):
    rows = [(ONE, k, v) for k, v in one.items()] + [(MANY, k, v) for k, v in many.items()]
    return pd.DataFrame(rows, columns=["pool", "k", "vendi_1"])


def test_models_needed_are_the_fewest_that_reach_the_largest_pool_of_one_model():
    table = pool_table({1: 1, 5: 2, 10: 2.5}, {1: 1, 2: 1.9, 3: 2.6, 5: 4})
    assert homogeneity.models_needed(table) == {"k": 10, "models": 3, "most": 5}
    assert homogeneity.models_needed(table[::-1]) == {"k": 10, "models": 3, "most": 5}
    assert homogeneity.models_needed(pool_table({1: 1, 10: 2.5}, {2: 2.5, 3: 3})) == {"k": 10, "models": 2, "most": 3}


def test_no_number_of_models_may_be_enough():
    assert homogeneity.models_needed(pool_table({1: 1, 10: 5}, {1: 1, 3: 2})) == {"k": 10, "models": None, "most": 3}
    assert homogeneity.models_needed(pool_table({}, {1: 1})) is None


def test_family_blocks_are_means_over_pairs_of_different_models_without_people():
    family, prompts = {"a1": "a", "a2": "a", "b1": "b", "writers": "people"}, ["p1", "p2"]
    responses = study({(p, m): 3 for p in prompts for m in family}, family=family)
    vectors, table = responses.vectors, homogeneity.family_blocks(responses)
    rows_of = responses.table.groupby(["prompt_id", "model"]).indices
    expected = {}
    for pair in (("a1", "a2"), ("a1", "b1"), ("a2", "b1")):
        means = [
            np.mean([cosine(vectors[i], vectors[j]) for i in rows_of[p, pair[0]] for j in rows_of[p, pair[1]]])
            for p in prompts
        ]
        expected.setdefault(tuple(family[m] for m in pair), []).append(np.mean(means))
    found = table.set_index(["arm_a", "arm_b"])
    assert set(found.index) == {("a", "a"), ("a", "b")}, "family b has one model"
    for pair, means in expected.items():
        assert found.loc[pair, "mean"] == pytest.approx(np.mean(means), abs=1e-6)
    assert found["n_arm_pairs"].to_dict() == {("a", "a"): 1, ("a", "b"): 2}

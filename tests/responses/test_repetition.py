"""Repetition within a model: the tables of notebook 05 against literal loops."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics import diversity, resample, similarity
from hivemind_utils.responses import repetition as response_repetition
from hivemind_utils.responses.table import CELL
from hivemind_utils.tables import schema

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
PEOPLE = {"writers"}
STAMP = {"source": "simulated"}


def cosine(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def within(rows):
    return [cosine(a, b) for a, b in combinations(rows, 2)]


def across(a, b):
    return [cosine(x, y) for x, y in product(a, b)]


def mean(values):
    values = [v for v in values if not np.isnan(v)]
    return np.mean(values) if values else np.nan


def answers_of(cells):
    """Answers as notebook 05 sorts them, from (prompt, model, condition, decoding): number of answers."""
    rows = [(*cell, k) for cell, n in cells.items() for k in range(n)]
    frame = pd.DataFrame(rows, columns=[*CELL, "sample_idx"])
    frame["response_id"] = ["-".join(map(str, row)) for row in rows]
    return frame.sort_values([*CELL, "sample_idx"], ignore_index=True)


def vectors_of(answers, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(len(answers), d)).astype(np.float32) + 0.6


def prompts_of(kinds, parents=None):
    """Table 04_prompts, indexed, from prompt: kind."""
    return pd.DataFrame(
        {
            "text": [f"Prompt {p}" for p in kinds],
            "kind": list(kinds.values()),
            "parent_id": [(parents or {}).get(p) for p in kinds],
            "category": None,
            "open_endedness": np.nan,
        },
        index=pd.Index(list(kinds), name="prompt_id"),
    )


def shuffled(answers, vectors, seed=1):
    order = np.random.default_rng(seed).permutation(len(answers))
    return answers.iloc[order].reset_index(drop=True), vectors[order]


def rows_of(answers, **wanted):
    keep = np.ones(len(answers), bool)
    for name, value in wanted.items():
        keep &= (answers[name] == value).to_numpy()
    return np.flatnonzero(keep)


def test_the_measures_are_columns_of_the_table_they_come_from():
    assert set(response_repetition.MEASURES) < {column.name for column in schema.TABLES["05_repetition"].columns}


# ----------------------------------------------------------------------------------------------------- share of pairs


def test_share_of_pairs_in_dumb_cases():
    assert response_repetition.share_of_pairs(np.ones((5, 3)), 0.8) == 1
    assert response_repetition.share_of_pairs(np.eye(4), 0.8) == 0
    assert response_repetition.share_of_pairs(np.eye(3)[[0, 0, 1]], 0.8) == pytest.approx(1 / 3)
    assert np.isnan(response_repetition.share_of_pairs(np.eye(4)[:1], 0.8))


@pytest.mark.parametrize("threshold", [-0.2, 0.0, 0.3, 0.8])
def test_share_of_pairs_matches_counting_them_in_any_order(threshold):
    rows = np.random.default_rng(0).normal(size=(23, 4)) + 0.5
    expected = np.mean([c >= threshold for c in within(rows)])
    assert 0 < expected < 1
    assert response_repetition.share_of_pairs(rows, threshold) == pytest.approx(expected, abs=1 / 253)
    assert response_repetition.share_of_pairs(rows[::-1], threshold) == response_repetition.share_of_pairs(
        rows, threshold
    )


# --------------------------------------------------------------------------------------------------------- equal size


def equal_size(words, rows, size, n_draws=7, seed=0):
    values = response_repetition.at_equal_size(words, rows, size, n_draws, np.random.default_rng(seed))
    assert list(values) == ["mean_cosine_equal_n", "vendi_1_equal_n", "effective_distinct_equal_n"]
    return list(values.values())


def test_equal_size_of_a_cell_of_that_size_is_exact():
    rows = np.random.default_rng(0).normal(size=(9, 5)) + 0.4
    words = [["a"], ["b"], ["a"], ["c", "d"], ["a"], ["b"], ["e"], ["f"], ["g"]]
    exact = [
        similarity.mean_pairwise_cosine(rows),
        diversity.vendi_score(rows),
        diversity.effective_number([3, 2] + [1] * 4),
    ]
    assert equal_size(words, rows, 9) == pytest.approx(exact, rel=1e-5)


def test_equal_size_averages_the_measures_of_its_draws():
    rows, words = np.random.default_rng(0).normal(size=(7, 5)) + 0.4, [[w] for w in "aabbbcd"]
    exact = []
    for pick in combinations(range(7), 4):
        counts = pd.Series([words[i][0] for i in pick]).value_counts()
        picked = rows[list(pick)]
        exact.append((mean(within(picked)), diversity.vendi_score(picked), diversity.effective_number(counts)))
    drawn = equal_size(words, rows, 4, n_draws=20_000)
    assert drawn == pytest.approx(np.mean(exact, axis=0), abs=0.01)
    assert drawn[0] == pytest.approx(mean(within(rows)), abs=0.01), "the mean cosine does not depend on the size"


def test_identical_answers_are_one_answer_at_any_size():
    assert equal_size([["same"]] * 12, np.ones((12, 384)), 5) == pytest.approx([1, 1, 1], abs=1e-5)


def test_orthogonal_answers_are_as_many_as_are_drawn():
    assert equal_size([[w] for w in "abcdef"], np.eye(6), 4) == pytest.approx([0, 4, 4], abs=1e-5)


def test_equal_size_comes_back_from_an_equal_generator():
    rows, words = np.random.default_rng(0).normal(size=(9, 5)), [[w] for w in "aabbcdefg"]
    assert equal_size(words, rows, 4, seed=3) == equal_size(words, rows, 4, seed=3)
    assert equal_size(words, rows, 4, seed=3) != equal_size(words, rows, 4, seed=4)


def test_a_cell_with_too_few_answers_has_no_value_at_equal_size():
    assert np.isnan(equal_size([["a"]] * 3, np.ones((3, 2)), 4)).all()


def test_equal_size_needs_pairs():
    with pytest.raises(ValueError, match="`size` must be at least 2 answers, but 1 was passed"):
        equal_size([["a"]] * 3, np.ones((3, 2)), 1)


# --------------------------------------------------------------------------------------------------------------- bins


def repetition_of(values):
    """Cells with a mean cosine, from (prompt, model, decoding): value."""
    rows = [(p, m, m, "default", d, value) for (p, m, d), value in values.items()]
    return pd.DataFrame(rows, columns=["prompt_id", "arm", "model", "condition", "decoding", "mean_cosine"])


def a_repetition(n_prompts=40, models=("gpt", "llama"), low=-0.3, seed=0):
    rng = np.random.default_rng(seed)
    cells = [(f"p{i}", model, "top_p") for i in range(n_prompts) for model in models]
    cells += [(f"p{i}", "writers", "none") for i in range(n_prompts)]
    return repetition_of({cell: rng.uniform(low, 1) for cell in cells})


def test_bins_in_a_dumb_case():
    cells = {("p1", "gpt", "top_p"): 1.0, ("p2", "gpt", "top_p"): 0.85, ("p3", "gpt", "top_p"): 0.8}
    shares = response_repetition.bin_shares(repetition_of(cells | {("p4", "gpt", "top_p"): 0.0}), "top_p", set())
    percent = shares[shares["arm"] == "gpt"].set_index("bin")["percent"]
    assert percent[percent > 0].to_dict() == {"0.0–0.1": 25, "0.8–0.9": 50, "0.9–1.0": 25}
    assert shares["n_prompts"].eq(4).all()


@pytest.mark.parametrize("low", [-0.3, 0.0])
def test_bins_match_counting_and_sum_to_100_with_a_bin_for_negative_means_where_there_are_any(low):
    repetition = a_repetition(low=low)
    shares = response_repetition.bin_shares(repetition, "top_p", PEOPLE)
    assert shares.groupby("arm")["percent"].sum().to_numpy() == pytest.approx([100] * 4)
    assert shares.groupby("arm").size().eq(11 if low < 0 else 10).all()
    assert ("< 0" in set(shares["bin"])) == (low < 0)
    for row in shares[shares["arm"] != "Average"].itertuples():
        values = repetition.loc[repetition["model"] == row.model, "mean_cosine"]
        high = 0 if row.low < 0 else row.low + 0.1
        assert row.percent == pytest.approx(100 * np.mean([row.low <= value < high for value in values]))


def test_the_average_weighs_models_equally_and_leaves_people_out():
    cells = {(f"p{i}", "gpt", "top_p"): 0.95 for i in range(9)}
    cells |= {("p0", "llama", "top_p"): 0.15, ("p1", "llama", "top_p"): 0.95}
    cells |= {(f"p{i}", "writers", "none"): 0.05 for i in range(9)}
    shares = response_repetition.bin_shares(repetition_of(cells), "top_p", PEOPLE).set_index(["arm", "bin"])["percent"]
    assert shares["Average"][["0.1–0.2", "0.9–1.0", "0.0–0.1"]].tolist() == [25, 75, 0]
    assert shares["writers"]["0.0–0.1"] == 100


def test_one_decoding_is_binned_and_people_stand_beside_it_whatever_theirs_is_called():
    repetition = pd.concat([a_repetition(), a_repetition(models=["qwen"]).replace("top_p", "min_p")])
    repetition = repetition.drop_duplicates(["prompt_id", "model"])
    assert set(response_repetition.bin_shares(repetition, "top_p", PEOPLE)["arm"]) == {
        "gpt",
        "llama",
        "writers",
        "Average",
    }
    assert set(response_repetition.bin_shares(repetition, "min_p", PEOPLE)["arm"]) == {"qwen", "writers", "Average"}


def test_bins_do_not_depend_on_row_order():
    repetition = a_repetition()
    one, two = (
        response_repetition.bin_shares(table, "top_p", PEOPLE)
        for table in (repetition, repetition.sample(frac=1, random_state=1))
    )
    pd.testing.assert_frame_equal(one, two)


def test_a_mean_a_little_above_one_by_rounding_stays_in_the_last_bin():
    shares = response_repetition.bin_shares(repetition_of({("p", "gpt", "top_p"): 1 + 1e-7}), "top_p", set())
    assert shares.set_index(["arm", "bin"])["percent"]["gpt", "0.9–1.0"] == 100


def test_the_percent_at_least_a_threshold_is_what_the_paper_sums_from_its_bins():
    repetition = a_repetition()
    shares = response_repetition.bin_shares(repetition, "top_p", PEOPLE)
    average = shares[shares["arm"] == "Average"]
    for threshold in (0.0, 0.3, 0.6, 0.7, 0.8, 0.9):
        summed = average.loc[average["low"] >= threshold - 1e-9, "percent"].sum()
        assert response_repetition.percent_at_least(repetition, "top_p", PEOPLE, threshold) == pytest.approx(summed)


def test_the_percent_at_least_a_threshold_weighs_models_equally_whatever_their_conditions_and_prompts():
    repetition = pd.DataFrame(
        [
            ("a", "plain", 0.9), ("a", "plain", 0.7), ("a", "plain", 0.76), ("a", "warm", 0.2), ("a", "warm", 0.2),
            ("b", "plain", 0.8), ("writers", "plain", 0.9),
        ],
        columns=["model", "condition", "mean_cosine"],
    ).assign(decoding="top_p", arm=lambda f: f["model"] + f["condition"], prompt_id=[*"tuvwxyz"])  # fmt: skip
    expected = 100 * np.mean([np.mean([2 / 3, 0]), 1])
    assert response_repetition.percent_at_least(repetition, "top_p", {"writers"}, 0.75) == pytest.approx(expected)
    shares = response_repetition.bin_shares(repetition, "top_p", {"writers"})
    average = shares[shares["arm"] == "Average"].set_index("bin")["percent"]
    assert average["0.8–0.9"] == pytest.approx(50) and average["0.2–0.3"] == pytest.approx(25)
    assert average.sum() == pytest.approx(100)


# ---------------------------------------------------------------------------------------------------------- arm means


def cells_with_measures(missing=()):
    rng = np.random.default_rng(0)
    cells = [
        (p, m, "default", d) for p in ("p1", "p2", "p3", "p4") for m in ("gpt", "llama") for d in ("min_p", "top_p")
    ]
    table = pd.DataFrame([cell for cell in cells if cell not in missing], columns=CELL)
    return table.assign(**{measure: rng.uniform(1, 2, len(table)) for measure in response_repetition.MEASURES})


def test_arm_means_match_a_literal_bootstrap_with_missing_cells():
    missing = [("p2", "gpt", "default", "top_p"), *((p, "llama", "default", "min_p") for p in ("p1", "p2", "p4"))]
    table, order = cells_with_measures(missing), ["p3", "p1", "p4", "p2"]
    table.loc[table["prompt_id"] == "p4", "distinct_3"] = np.nan
    weights = resample.bootstrap_weights(4, 300, np.random.default_rng(1))
    arms = response_repetition.arm_means(table, order, weights)
    drawn = [np.repeat(np.arange(4), row.astype(int)) for row in weights]
    for row in arms.itertuples():
        at = table[(table["model"] == row.model) & (table["decoding"] == row.decoding)].set_index("prompt_id")
        values = at[row.measure].reindex(order).to_numpy()
        assert row.n_prompts == np.sum(~np.isnan(values))
        assert row.mean == pytest.approx(mean(values))
        if row.n_prompts > 1:
            draws = [mean(values[i]) for i in drawn]
            assert (row.lower, row.upper) == pytest.approx(tuple(np.nanquantile(draws, [0.025, 0.975])))
        else:
            assert np.isnan(row.lower) and np.isnan(row.upper)
    assert len(arms) == 4 * len(response_repetition.MEASURES)


def test_arm_means_do_not_depend_on_row_order_and_are_the_table_they_are_written_as():
    table, weights = cells_with_measures(), resample.bootstrap_weights(4, 50, np.random.default_rng(1))
    one, two = (response_repetition.arm_means(t, ["p1", "p2", "p3", "p4"], weights) for t in (table, table[::-1]))
    pd.testing.assert_frame_equal(one, two)
    assert schema.validate(one, "05_arms").num_rows == len(one)


def test_equal_cells_have_an_interval_of_no_width():
    table, weights = cells_with_measures(), resample.bootstrap_weights(4, 50, np.random.default_rng(1))
    arms = response_repetition.arm_means(table.assign(mean_cosine=0.5), ["p1", "p2", "p3", "p4"], weights)
    same = arms.loc[arms["measure"] == "mean_cosine", ["mean", "lower", "upper"]]
    assert same.to_numpy() == pytest.approx(np.full((4, 3), 0.5))


def test_a_measure_nobody_has_is_left_out_and_a_cell_given_twice_is_refused():
    table, weights = cells_with_measures(), resample.bootstrap_weights(4, 50, np.random.default_rng(1))
    arms = response_repetition.arm_means(table.assign(vendi_1_equal_n=np.nan), ["p1", "p2", "p3", "p4"], weights)
    assert "vendi_1_equal_n" not in set(arms["measure"])
    with pytest.raises(ValueError, match="duplicate"):
        response_repetition.arm_means(pd.concat([table, table]), ["p1", "p2", "p3", "p4"], weights)


# --------------------------------------------------------------------------------------------------------- references

KINDS = {"p1": "original", "p2": "original", "p3": "closed", "p4": "paraphrase"}
RAGGED = {
    ("p1", "gpt", "creative", "top_p"): 3,
    ("p1", "gpt", "default", "top_p"): 4,
    ("p1", "llama", "default", "top_p"): 2,
    ("p1", "llama", "default", "min_p"): 3,
    ("p1", "qwen", "default", "top_p"): 1,
    ("p1", "writers", "default", "none"): 4,
    ("p2", "gpt", "default", "top_p"): 2,
    ("p2", "llama", "default", "top_p"): 5,
    ("p2", "writers", "default", "none"): 1,
    ("p3", "gpt", "default", "top_p"): 3,
    ("p3", "gpt", "creative", "top_p"): 2,
    ("p3", "writers", "default", "none"): 3,
    ("p4", "gpt", "default", "top_p"): 3,
}


def ragged():
    answers = answers_of(RAGGED)
    return answers, vectors_of(answers), prompts_of(KINDS, {"p4": "p1"})


def references_of(answers, vectors, prompts, n_pairs=1000, threshold=0.5, seed=0, **options):
    rng = np.random.default_rng(seed)
    return response_repetition.references(answers, vectors, prompts, PEOPLE, threshold, n_pairs, 100, rng, **options)


def pairs_literally(answers, vectors, belongs):
    """Cosines of the pairs of one prompt that belong, by prompt."""
    found = {}
    rows = list(answers.itertuples())
    for i, j in combinations(range(len(rows)), 2):
        if rows[i].prompt_id == rows[j].prompt_id and belongs(rows[i], rows[j]):
            found.setdefault(rows[i].prompt_id, []).append(cosine(vectors[i], vectors[j]))
    return found


KINDS_OF_PAIRS = {
    ("same model", "top_p"): lambda a, b: (
        KINDS[a.prompt_id] == "original" and (a.model, a.condition) == (b.model, b.condition)
    ),
    ("different models", "top_p"): lambda a, b: KINDS[a.prompt_id] == "original" and a.model != b.model,
    ("same model, closed-ended prompt", "top_p"): lambda a, b: (
        KINDS[a.prompt_id] == "closed" and (a.model, a.condition) == (b.model, b.condition)
    ),
    ("same model", "min_p"): lambda a, b: KINDS[a.prompt_id] == "original" and a.model == b.model,
}


@pytest.mark.parametrize("key", KINDS_OF_PAIRS, ids=" ".join)
def test_references_match_the_literal_loop_and_leave_pairs_of_two_conditions_out(key):
    answers, vectors, prompts = ragged()
    row = references_of(answers, vectors, prompts).set_index(["kind", "decoding"]).loc[key]

    def belongs(a, b):
        machines = a.model != "writers" and b.model != "writers" and a.decoding == b.decoding == key[1]
        return machines and KINDS_OF_PAIRS[key](a, b)

    pairs = pairs_literally(answers, vectors, belongs)
    pooled = np.concatenate(list(pairs.values()))
    assert row["n_pairs"] == len(pooled)
    assert row["mean"] == pytest.approx(np.mean([np.mean(v) for v in pairs.values()]), abs=6e-4)
    assert row["share_above"] == pytest.approx(np.mean(pooled >= 0.5), abs=1e-9)
    ends = np.sort(pooled)
    assert ends[0] - 1e-3 <= row["q05"] <= row["median"] <= row["q95"] <= ends[-1] + 1e-3
    assert np.isnan(row["lower"]) == (len(pairs) < 2)


def test_people_are_compared_with_people_on_open_prompts():
    answers, vectors, prompts = ragged()
    row = references_of(answers, vectors, prompts).set_index("kind").loc["people"]
    at = rows_of(answers, prompt_id="p1", model="writers")
    assert (row["decoding"], row["n_pairs"]) == ("all", 6)
    assert row["mean"] == pytest.approx(mean(within(vectors[at])), abs=6e-4)


def test_the_floor_is_the_mean_of_pairs_across_prompts_and_a_paraphrase_is_no_other_prompt():
    answers, vectors, prompts = ragged()
    asked = answers["prompt_id"].replace({"p4": "p1"}).tolist()
    exact = [cosine(vectors[i], vectors[j]) for i, j in combinations(range(len(asked)), 2) if asked[i] != asked[j]]
    vectors_alike = vectors.copy()
    vectors_alike[rows_of(answers, prompt_id="p4")] = vectors[rows_of(answers, prompt_id="p1")][0]
    for rows in (vectors, vectors_alike):
        exact = [cosine(rows[i], rows[j]) for i, j in combinations(range(len(asked)), 2) if asked[i] != asked[j]]
        floor = references_of(answers, rows, prompts, n_pairs=60_000).set_index("kind").loc["different prompts"]
        assert floor["n_pairs"] == 60_000
        assert floor["mean"] == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / np.sqrt(60_000))
        assert floor["median"] == pytest.approx(np.median(exact), abs=0.05)
        assert np.isnan(floor["lower"])


def test_references_do_not_depend_on_row_order_except_for_the_random_pairs():
    answers, vectors, prompts = ragged()
    one = references_of(answers, vectors, prompts)
    two = references_of(*shuffled(answers, vectors), prompts)
    fixed = one["kind"] != "different prompts"
    pd.testing.assert_frame_equal(one[fixed], two[fixed])
    assert schema.validate(one, "05_references").num_rows == 6


def test_one_prompt_one_model_and_no_people_leave_one_kind():
    answers = answers_of({("p1", "gpt", "default", "top_p"): 4})
    table = references_of(answers, np.ones((4, 3), np.float32), prompts_of({"p1": "original"}))
    assert table["kind"].tolist() == ["same model"]
    assert table["mean"].tolist() == pytest.approx([1], abs=1e-3)
    assert table[["lower", "upper"]].isna().all(axis=None)


def test_references_show_progress_by_kind():
    seen = []

    def progress(iterator, total, desc):
        seen.append((desc, total))
        return iterator

    answers, vectors, prompts = ragged()
    shown = references_of(answers, vectors, prompts, progress=progress)
    pd.testing.assert_frame_equal(shown, references_of(answers, vectors, prompts))
    assert {("same model", 2), ("different models", 2), ("people", 2)} < set(seen)


# -------------------------------------------------------------------------------------------------------- two readings


def test_both_readings_match_prompt_means_and_pooled_pairs():
    answers, vectors, prompts = ragged()
    cells = [(key, at.index.to_numpy()) for key, at in answers.groupby(CELL) if len(at) > 1]
    rows = [(*key, similarity.mean_pairwise_cosine(vectors[i])) for key, i in cells]
    repetition = pd.DataFrame(rows, columns=[*CELL, "mean_cosine"])
    repetition = repetition[repetition["prompt_id"].map(prompts["kind"]) == "original"]
    vectors = vectors + 1.2 * (answers["model"] == "gpt").to_numpy()[:, None].astype(np.float32)
    shares = response_repetition.both_readings(answers, vectors, repetition, "top_p", PEOPLE)
    chosen = [i for key, i in cells if key[0] in ("p1", "p2") and key[3] == "top_p" and key[1] != "writers"]
    pairs = np.concatenate([within(vectors[i]) for i in chosen])
    at = repetition[(repetition["decoding"] == "top_p") & (repetition["model"] != "writers")]["mean_cosine"]
    for level in (0.7, 0.8, 0.9):
        assert shares[f"pairs ≥ {level}"] == pytest.approx(np.mean(pairs >= level))
        assert shares[f"prompt means ≥ {level}"] == pytest.approx(np.mean(at >= level))
    assert 0 < shares["pairs ≥ 0.9"] < shares["pairs ≥ 0.7"]
    assert response_repetition.both_readings(*shuffled(answers, vectors), repetition, "top_p", PEOPLE) == pytest.approx(
        shares
    )


def test_a_decoding_nobody_used_has_no_reading():
    answers, vectors, _ = ragged()
    repetition = pd.DataFrame([("p1", "gpt", "default", "top_p", 0.9)], columns=[*CELL, "mean_cosine"])
    assert np.isnan(
        list(response_repetition.both_readings(answers, vectors, repetition, "greedy", PEOPLE).values())
    ).all()


# -------------------------------------------------------------------------------------------------------- rarefaction


def no_ideas():
    return pd.DataFrame({"response_id": [], "idea": []}, dtype=object)


def curves_of(texts_by_cell, kinds, ideas=None):
    answers = answers_of({cell: len(texts) for cell, texts in texts_by_cell.items()})
    words = [
        texts_by_cell[tuple(row[:4])][row[4]].split() for row in answers[[*CELL, "sample_idx"]].itertuples(index=False)
    ]
    return response_repetition.rarefaction_curves(
        answers, words, no_ideas() if ideas is None else ideas(answers), prompts_of(kinds), PEOPLE
    )


TEXTS = {
    ("p1", "gpt", "default", "top_p"): ["a", "a", "b", "c"],
    ("p1", "llama", "default", "top_p"): ["a", "a", "a", "a"],
    ("p2", "gpt", "default", "top_p"): ["x", "y", "", "z"],  # a wordless answer does not count: a thin cell
    ("p1", "writers", "default", "none"): ["q", "r", "s"],
    ("p3", "gpt", "default", "top_p"): ["closed", "ended"],
}


def test_rarefaction_matches_drawing_every_subset_of_full_cells():
    curves = curves_of(TEXTS, KINDS)
    assert curves["unit"].eq("text").all() and set(curves["group"]) == {"models, top_p", "people"}
    models = curves[curves["group"] == "models, top_p"].set_index("n")
    assert models.index.tolist() == [1, 2, 3, 4] and models["n_cells"].eq(2).all()
    for n, found in models["found"].items():
        per_cell = [np.mean([len(set(s)) for s in combinations(t, n)]) for t in (["a", "a", "b", "c"], ["a"] * 4)]
        assert found == pytest.approx(np.mean(per_cell))
    assert models["estimated"].tolist() == pytest.approx([(3.5 + 1) / 2] * 4), "Chao1: 3 + 2·1 / (2·2), and 1"
    people = curves[curves["group"] == "people"]
    assert people["found"].tolist() == pytest.approx([1, 2, 3])


def test_ideas_count_where_every_answer_has_one_and_texts_where_one_lacks_it():
    def complete(answers):
        return pd.DataFrame({"response_id": answers["response_id"], "idea": "the one idea"})

    curves = curves_of(TEXTS, KINDS, complete)
    assert curves["unit"].eq("idea").all() and curves["found"].tolist() == pytest.approx([1] * len(curves))
    assert curves_of(TEXTS, KINDS, lambda answers: complete(answers)[1:])["unit"].eq("text").all()


def test_identical_answers_never_add_up():
    curves = curves_of({("p1", "gpt", "default", "top_p"): ["same"] * 5}, {"p1": "original"})
    assert curves["found"].tolist() == pytest.approx([1] * 5)
    assert curves["estimated"].tolist() == [1] * 5


def test_rarefaction_does_not_depend_on_row_order():
    answers = answers_of({cell: len(texts) for cell, texts in TEXTS.items()})
    words = [TEXTS[tuple(row[:4])][row[4]].split() for row in answers[[*CELL, "sample_idx"]].itertuples(index=False)]
    order = np.random.default_rng(0).permutation(len(answers))
    mixed = answers.iloc[order].reset_index(drop=True)
    one = response_repetition.rarefaction_curves(answers, words, no_ideas(), prompts_of(KINDS), PEOPLE)
    two = response_repetition.rarefaction_curves(
        mixed, [words[i] for i in order], no_ideas(), prompts_of(KINDS), PEOPLE
    )
    pd.testing.assert_frame_equal(one, two)


# -------------------------------------------------------------------------------------------------------- paraphrases

WORDINGS = {
    ("p1", "gpt", "default", "top_p"): 3,
    ("p1a", "gpt", "default", "top_p"): 2,
    ("p1b", "gpt", "default", "top_p"): 4,
    ("p1c", "gpt", "default", "top_p"): 1,
    ("p1", "llama", "default", "top_p"): 2,
    ("p1a", "llama", "default", "top_p"): 1,
    ("p1", "qwen", "default", "top_p"): 1,  # no pairs
    ("p1a", "qwen", "default", "top_p"): 3,
    ("p1a", "yi", "default", "top_p"): 3,  # no original
    ("p2", "gpt", "default", "top_p"): 3,  # no paraphrase
}
WORDING_KINDS = {"p1": "original", "p2": "original", "p1a": "paraphrase", "p1b": "paraphrase", "p1c": "paraphrase"}
PARENTS = {"p1a": "p1", "p1b": "p1", "p1c": "p1"}


def test_paraphrases_match_the_literal_loops():
    answers = answers_of(WORDINGS)
    vectors = vectors_of(answers)
    table = response_repetition.paraphrase_table(answers, vectors, prompts_of(WORDING_KINDS, PARENTS))
    assert table[CELL].to_numpy().tolist() == [["p1", "gpt", "default", "top_p"], ["p1", "llama", "default", "top_p"]]
    first, *others = [vectors[rows_of(answers, prompt_id=p, model="gpt")] for p in ("p1", "p1a", "p1b", "p1c")]
    gpt = table.iloc[0]
    assert gpt["n_paraphrases"] == 3
    assert gpt["within"] == pytest.approx(mean(within(first)), abs=1e-5)
    assert gpt["across"] == pytest.approx(np.mean([mean(across(first, other)) for other in others]), abs=1e-5)
    assert gpt["between"] == pytest.approx(np.mean([mean(across(a, b)) for a, b in combinations(others, 2)]), abs=1e-5)
    assert gpt["within_paraphrase"] == pytest.approx(np.mean([mean(within(o)) for o in others[:2]]), abs=1e-5)
    assert table.loc[1, ["between", "within_paraphrase"]].isna().all()
    assert schema.validate(table, "05_paraphrases").num_rows == 2


def test_paraphrases_do_not_depend_on_row_order():
    answers = answers_of(WORDINGS)
    vectors, prompts = vectors_of(answers), prompts_of(WORDING_KINDS, PARENTS)
    one, two = (
        response_repetition.paraphrase_table(*study, prompts)
        for study in ((answers, vectors), shuffled(answers, vectors))
    )
    pd.testing.assert_frame_equal(one, two)


def test_without_paraphrases_the_table_is_empty_and_still_a_table():
    answers = answers_of({("p1", "gpt", "default", "top_p"): 3})
    table = response_repetition.paraphrase_table(answers, vectors_of(answers), prompts_of({"p1": "original"}))
    assert schema.validate(table, "05_paraphrases").num_rows == 0


# ----------------------------------------------------------------------------------------------------- prompts, facts


def test_prompts_are_averaged_over_models_whose_decodings_are_averaged_first():
    values = {("p1", "gpt", "top_p"): 0.9, ("p1", "gpt", "min_p"): 0.7, ("p1", "llama", "top_p"): 0.4}
    values |= {("p2", "llama", "top_p"): 0.99}
    table = response_repetition.by_prompt(
        repetition_of(values), prompts_of({"p1": "original", "p2": "closed", "p9": "original"})
    )
    assert table["prompt_id"].tolist() == ["p2", "p1"]
    assert table["mean_cosine"].tolist() == pytest.approx([0.99, 0.6])
    assert table["n_models"].tolist() == [1, 2]
    assert table["kind"].tolist() == ["closed", "original"]
    assert table[["lower", "upper"]].to_numpy()[1] == pytest.approx([0.4, 0.8])
    assert table[["lower", "upper"]].iloc[0].isna().all()


def test_prompts_do_not_depend_on_row_order_and_intervals_hold_the_mean():
    repetition = a_repetition()
    prompts = prompts_of({f"p{i}": "original" for i in range(40)})
    table = response_repetition.by_prompt(repetition, prompts)
    assert ((table["lower"] <= table["mean_cosine"]) & (table["mean_cosine"] <= table["upper"])).all()
    pd.testing.assert_frame_equal(
        table, response_repetition.by_prompt(repetition.sample(frac=1, random_state=0), prompts)
    )


def models_table(names):
    facts = {
        "family": names,
        "kind": "model",
        "size_b": 7.0,
        "tuning": "base",
        "release_date": None,
        "open_weights": None,
    }
    return pd.DataFrame({"model": names} | facts)


def test_facts_join_by_model_whatever_the_order():
    arms = pd.DataFrame({"model": ["b", "a", "b"], "mean": [1.0, 2, 3]})
    joined = response_repetition.with_facts(arms, models_table(["a", "b", "c"]))
    assert joined["family"].tolist() == ["b", "a", "b"] and joined["mean"].tolist() == [1, 2, 3]
    with pytest.raises(pd.errors.MergeError):
        response_repetition.with_facts(arms, models_table(["a", "b", "b"]))


# -------------------------------------------------------------------------------------------------------------- ranks


def test_rank_agreement_in_dumb_cases():
    a = pd.Series([1.0, 2, 3, 4])
    assert resample.rank_agreement(a, a**3) == pytest.approx(1)
    assert resample.rank_agreement(a, -a) == pytest.approx(-1)
    assert resample.rank_agreement(a, pd.Series([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_rank_agreement_looks_at_what_both_know_in_any_order():
    a, b = pd.Series([1.0, 2, np.nan, 4, 5]), pd.Series([1.0, 3, 0, 2, np.nan])
    assert resample.rank_agreement(a, b) == pytest.approx(0.5)
    order = [4, 0, 3, 1, 2]
    assert resample.rank_agreement(a[order], b[order]) == pytest.approx(0.5)


@pytest.mark.parametrize("b", [[1.0, 2, np.nan], [np.nan] * 3, [5.0, 5, 5]])
def test_too_few_known_or_constant_values_have_no_rank_agreement(b):
    assert np.isnan(resample.rank_agreement(pd.Series([1.0, 2, 3]), pd.Series(b)))
    assert np.isnan(resample.rank_agreement(pd.Series(b), pd.Series([1.0, 2, 3])))

"""Repetition within a model: the tables of notebook 05 against literal loops."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from some_responses import PEOPLE, prompts_of, responses_of, shuffled, with_vectors

from hivemind_utils.metrics import diversity, intervals, resample, similarity
from hivemind_utils.responses import repetition, repetition_of_prompt
from hivemind_utils.responses.table import CELL
from hivemind_utils.tables import schema


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


def study(cells, kinds, parents=None, texts=None, d=6, seed=0):
    """Responses as notebook 05 loads them, from (prompt, model, condition, decoding): number, and prompt: kind."""
    rows = [(*cell, k) for cell, n in cells.items() for k in range(n)]
    table = pd.DataFrame(rows, columns=[*CELL, "sample_idx"])
    table["response_id"] = ["-".join(map(str, row)) for row in rows]
    table["text"] = [(texts or {}).get(tuple(row[:4]), {}).get(row[4], f"words {row[4]}") for row in rows]
    table["arm"] = table["model"] + " · " + table["condition"]
    table = table.sort_values([*CELL, "sample_idx"], ignore_index=True)
    vectors = np.random.default_rng(seed).normal(size=(len(table), d)).astype(np.float32) + 0.6
    return responses_of(table, vectors, prompts=prompts_of(kinds, parents))


def rows_of(responses, **wanted):
    keep = np.ones(len(responses), bool)
    for name, value in wanted.items():
        keep &= (responses.table[name] == value).to_numpy()
    return np.flatnonzero(keep)


def interval_of(values):
    """Bounds of the t interval of a mean."""
    values = np.asarray(values, float)
    return tuple(stats.ttest_1samp(values[~np.isnan(values)], 0).confidence_interval())


def test_the_measures_are_columns_of_the_table_they_come_from():
    assert set(repetition.MEASURES) < {column.name for column in schema.TABLES["05_repetition"].columns}


# ----------------------------------------------------------------------------------------------------- share of pairs


def test_share_of_pairs_in_dumb_cases():
    assert repetition_of_prompt.share_of_pairs(np.ones((5, 3)), 0.8) == 1
    assert repetition_of_prompt.share_of_pairs(np.eye(4), 0.8) == 0
    assert repetition_of_prompt.share_of_pairs(np.eye(3)[[0, 0, 1]], 0.8) == pytest.approx(1 / 3)
    assert np.isnan(repetition_of_prompt.share_of_pairs(np.eye(4)[:1], 0.8))


@pytest.mark.parametrize("threshold", [-0.2, 0.0, 0.3, 0.8])
def test_share_of_pairs_matches_counting_them_in_any_order(threshold):
    rows = np.random.default_rng(0).normal(size=(23, 4)) + 0.5
    expected = np.mean([c >= threshold for c in within(rows)])
    assert 0 < expected < 1
    assert repetition_of_prompt.share_of_pairs(rows, threshold) == pytest.approx(expected, abs=1 / 253)
    assert repetition_of_prompt.share_of_pairs(rows[::-1], threshold) == repetition_of_prompt.share_of_pairs(
        rows, threshold
    )


# --------------------------------------------------------------------------------------------------------- equal size


def equal_size(words, rows, size, n_draws=7, seed=0):
    values = repetition_of_prompt.at_equal_size(words, rows, size, n_draws, np.random.default_rng(seed))
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
    with pytest.raises(ValueError, match="`size` must be at least 2 responses, but 1 was passed"):
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


def bins(cells, decoding, people):
    shares = repetition.bin_shares(cells, people)
    return shares[shares["decoding"] == decoding].drop(columns="decoding").reset_index(drop=True)


def test_bins_in_a_dumb_case():
    cells = {("p1", "gpt", "top_p"): 1.0, ("p2", "gpt", "top_p"): 0.85, ("p3", "gpt", "top_p"): 0.8}
    shares = bins(repetition_of(cells | {("p4", "gpt", "top_p"): 0.0}), "top_p", set())
    percent = shares[shares["arm"] == "gpt"].set_index("bin")["percent"]
    assert percent[percent > 0].to_dict() == {"0.0–0.1": 25, "0.8–0.9": 50, "0.9–1.0": 25}
    assert shares["n_prompts"].eq(4).all()


@pytest.mark.parametrize("low", [-0.3, 0.0])
def test_bins_match_counting_and_sum_to_100_with_a_bin_for_negative_means_where_there_are_any(low):
    cells = a_repetition(low=low)
    shares = bins(cells, "top_p", PEOPLE)
    assert shares.groupby("arm")["percent"].sum().to_numpy() == pytest.approx([100] * 4)
    assert shares.groupby("arm").size().eq(11 if low < 0 else 10).all()
    assert ("< 0" in set(shares["bin"])) == (low < 0)
    for row in shares[shares["arm"] != "Average"].itertuples():
        values = cells.loc[cells["model"] == row.model, "mean_cosine"]
        high = 0 if row.low < 0 else row.low + 0.1
        assert row.percent == pytest.approx(100 * np.mean([row.low <= value < high for value in values]))


def test_the_average_weighs_models_equally_and_leaves_people_out():
    cells = {(f"p{i}", "gpt", "top_p"): 0.95 for i in range(9)}
    cells |= {("p0", "llama", "top_p"): 0.15, ("p1", "llama", "top_p"): 0.95}
    cells |= {(f"p{i}", "writers", "none"): 0.05 for i in range(9)}
    shares = bins(repetition_of(cells), "top_p", PEOPLE).set_index(["arm", "bin"])["percent"]
    assert shares["Average"][["0.1–0.2", "0.9–1.0", "0.0–0.1"]].tolist() == [25, 75, 0]
    assert shares["writers"]["0.0–0.1"] == 100


def test_one_decoding_is_binned_and_people_stand_beside_it_whatever_theirs_is_called():
    cells = pd.concat([a_repetition(), a_repetition(models=["qwen"]).replace("top_p", "min_p")])
    cells = cells.drop_duplicates(["prompt_id", "model"])
    assert set(bins(cells, "top_p", PEOPLE)["arm"]) == {
        "gpt",
        "llama",
        "writers",
        "Average",
    }
    assert set(bins(cells, "min_p", PEOPLE)["arm"]) == {"qwen", "writers", "Average"}


def test_bins_do_not_depend_on_row_order():
    cells = a_repetition()
    one, two = (bins(table, "top_p", PEOPLE) for table in (cells, cells.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(one, two)


def test_a_mean_a_little_above_one_by_rounding_stays_in_the_last_bin():
    shares = bins(repetition_of({("p", "gpt", "top_p"): 1 + 1e-7}), "top_p", set())
    assert shares.set_index(["arm", "bin"])["percent"]["gpt", "0.9–1.0"] == 100


def share_of(cells, people, threshold, decoding="top_p"):
    return repetition.share_at_least(cells, people, threshold).loc[decoding]


def test_the_share_at_least_a_threshold_is_what_the_paper_sums_from_its_bins():
    cells = a_repetition()
    average = bins(cells, "top_p", PEOPLE).query("arm == 'Average'")
    for threshold in (0.0, 0.3, 0.6, 0.7, 0.8, 0.9):
        summed = average.loc[average["low"] >= threshold - 1e-9, "percent"].sum()
        assert 100 * share_of(cells, PEOPLE, threshold)["share"] == pytest.approx(summed)


@pytest.mark.parametrize("n_prompts", [2, 5, 13, 40])
@pytest.mark.parametrize("threshold", [-0.9, 0.6, 0.95, 1.1])
def test_the_interval_of_the_share_is_that_of_the_shares_of_every_prompt(n_prompts, threshold):
    cells = a_repetition(n_prompts)
    machines = cells[~cells["model"].isin(PEOPLE)]
    by_prompt = machines["mean_cosine"].ge(threshold).groupby(machines["prompt_id"]).mean()
    expected, found = intervals.share_interval(by_prompt), share_of(cells, PEOPLE, threshold)
    assert found.to_list() == pytest.approx([expected.estimate, expected.lower, expected.upper, n_prompts])


def test_the_share_weighs_models_equally_whatever_their_conditions_and_prompts():
    cells = pd.DataFrame(
        [
            ("a", "plain", 0.9), ("a", "plain", 0.7), ("a", "plain", 0.76), ("a", "warm", 0.2), ("a", "warm", 0.2),
            ("b", "plain", 0.8), ("writers", "plain", 0.9),
        ],
        columns=["model", "condition", "mean_cosine"],
    ).assign(decoding="top_p", arm=lambda f: f["model"] + f["condition"], prompt_id=[*"tuvwxyz"])  # fmt: skip
    found = share_of(cells, PEOPLE, 0.75)
    assert found["share"] == pytest.approx(np.mean([np.mean([2 / 3, 0]), 1]))
    assert 0 <= found["lower"] < found["share"] < found["upper"] <= 1 and found["n_prompts"] == 6
    average = bins(cells, "top_p", PEOPLE).query("arm == 'Average'").set_index("bin")["percent"]
    assert average["0.8–0.9"] == pytest.approx(50) and average["0.2–0.3"] == pytest.approx(25)
    assert average.sum() == pytest.approx(100)


def test_a_share_of_one_prompt_has_no_interval_and_every_decoding_has_a_row():
    cells = repetition_of({("p", "gpt", "top_p"): 0.9, ("p", "gpt", "min_p"): 0.1, ("p", "writers", "none"): 0.9})
    table = repetition.share_at_least(cells, PEOPLE, 0.8)
    assert table["share"].to_dict() == {"min_p": 0, "top_p": 1}
    assert table[["lower", "upper"]].isna().all(axis=None)


# ---------------------------------------------------------------------------------------------------------- arm means


def cells_with_measures(missing=()):
    rng = np.random.default_rng(0)
    cells = [
        (p, m, "default", d) for p in ("p1", "p2", "p3", "p4") for m in ("gpt", "llama") for d in ("min_p", "top_p")
    ]
    table = pd.DataFrame([cell for cell in cells if cell not in missing], columns=CELL)
    return table.assign(**{measure: rng.uniform(1, 2, len(table)) for measure in repetition.MEASURES})


def test_arm_means_match_the_t_interval_with_missing_cells():
    missing = [("p2", "gpt", "default", "top_p"), *((p, "llama", "default", "min_p") for p in ("p1", "p2", "p4"))]
    table = cells_with_measures(missing)
    table.loc[table["prompt_id"] == "p4", "distinct_3"] = np.nan
    arms = repetition.arm_means(table)
    for row in arms.itertuples():
        at = table[(table["model"] == row.model) & (table["decoding"] == row.decoding)]
        values = at[row.measure].dropna()
        assert row.n_prompts == len(values)
        assert row.mean == pytest.approx(values.mean())
        if len(values) > 1:
            bounds = np.clip(interval_of(values), *repetition.MEASURES[row.measure])
            assert (row.lower, row.upper) == pytest.approx(tuple(bounds))
        else:
            assert np.isnan(row.lower) and np.isnan(row.upper)
    assert len(arms) == 4 * len(repetition.MEASURES)


def test_arm_means_do_not_depend_on_row_order_and_are_the_table_they_are_written_as():
    one, two = (repetition.arm_means(t) for t in (cells_with_measures(), cells_with_measures()[::-1]))
    pd.testing.assert_frame_equal(one, two)
    assert schema.validate(one, "05_arms").num_rows == len(one)


def test_equal_cells_have_an_interval_of_no_width():
    arms = repetition.arm_means(cells_with_measures().assign(mean_cosine=0.5))
    same = arms.loc[arms["measure"] == "mean_cosine", ["mean", "lower", "upper"]]
    assert same.to_numpy() == pytest.approx(np.full((4, 3), 0.5))


def test_a_measure_nobody_has_is_left_out_and_a_cell_given_twice_is_refused():
    table = cells_with_measures()
    assert "vendi_1_equal_n" not in set(repetition.arm_means(table.assign(vendi_1_equal_n=np.nan))["measure"])
    with pytest.raises(ValueError, match="duplicate"):
        repetition.arm_means(pd.concat([table, table]))


def test_rank_agreement_is_turned_round_for_measures_that_fall_with_repetition():
    wide = pd.DataFrame(
        {"mean_cosine": [0.1, 0.2, 0.3, 0.4], "opener_share": [1.0, 2, 3, 4], "distinct_2": [4.0, 3, 2, 1]}
    )
    wide = wide.assign(mean_tfidf=[2.0, 1, 4, 3], vendi_1_equal_n=np.nan, mean_chars=1.0)
    found = repetition.rank_agreement(wide)
    assert found.drop("vendi_1_equal_n").to_dict() == {
        "distinct_2": pytest.approx(1), "opener_share": pytest.approx(1), "mean_tfidf": pytest.approx(0.6),
    }  # fmt: skip
    assert np.isnan(found["vendi_1_equal_n"])


def test_by_arm_has_one_row_per_arm():
    wide = repetition.by_arm(repetition.arm_means(cells_with_measures()))
    assert wide[["model", "decoding"]].to_numpy().tolist() == [
        ["gpt", "min_p"], ["gpt", "top_p"], ["llama", "min_p"], ["llama", "top_p"],
    ]  # fmt: skip
    table = cells_with_measures().groupby(["model", "decoding"])["vendi_1"].mean()
    assert wide["vendi_1"].tolist() == pytest.approx(table.tolist())


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
    return study(RAGGED, KINDS, {"p4": "p1"})


def references_of(responses, n_pairs=1000, threshold=0.5, seed=0, **options):
    return repetition.references(responses, threshold, n_pairs, np.random.default_rng(seed), **options)


def pairs_literally(responses, belongs):
    """Cosines of the pairs of one prompt that belong, by prompt."""
    found, vectors = {}, responses.vectors
    rows = list(responses.table.itertuples())
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
    responses = ragged()
    row = references_of(responses).set_index(["pair_type", "decoding"]).loc[key]

    def belongs(a, b):
        machines = a.model != "writers" and b.model != "writers" and a.decoding == b.decoding == key[1]
        return machines and KINDS_OF_PAIRS[key](a, b)

    pairs = pairs_literally(responses, belongs)
    pooled = np.concatenate(list(pairs.values()))
    assert row["n_pairs"] == len(pooled)
    assert row["mean"] == pytest.approx(np.mean([np.mean(v) for v in pairs.values()]), abs=6e-4)
    assert row["share_above"] == pytest.approx(np.mean(pooled >= 0.5), abs=1e-9)
    ends = np.sort(pooled)
    assert ends[0] - 1e-3 <= row["q05"] <= row["median"] <= row["q95"] <= ends[-1] + 1e-3
    if len(pairs) < 2:
        assert np.isnan(row["lower"]) and np.isnan(row["upper"])
    else:
        bounds = np.clip(interval_of([np.mean(v) for v in pairs.values()]), -1, 1)
        assert (row["lower"], row["upper"]) == pytest.approx(tuple(bounds), abs=0.01)


def test_people_are_compared_with_people_on_open_prompts():
    responses = ragged()
    row = references_of(responses).set_index("pair_type").loc["people"]
    at = rows_of(responses, prompt_id="p1", model="writers")
    assert (row["decoding"], row["n_pairs"]) == ("all", 6)
    assert row["mean"] == pytest.approx(mean(within(responses.vectors[at])), abs=6e-4)


def test_the_floor_is_the_mean_of_pairs_of_models_across_open_prompts_under_one_decoding():
    responses = ragged()
    kept = responses.where(
        (responses.table["decoding"] == "top_p")
        & ~responses.is_human
        & responses.table["prompt_id"].map(KINDS).eq("original")
    )
    rows, asked = kept.vectors, kept.table["prompt_id"].tolist()
    exact = [cosine(rows[i], rows[j]) for i, j in combinations(range(len(asked)), 2) if asked[i] != asked[j]]
    floor = (
        references_of(responses, n_pairs=60_000)
        .set_index(["pair_type", "decoding"])
        .loc[("different prompts", "top_p")]
    )
    assert floor["n_pairs"] == 60_000
    assert floor["mean"] == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / np.sqrt(60_000))
    assert floor["median"] == pytest.approx(np.median(exact), abs=0.05)
    assert np.isnan(floor["lower"])


def test_references_do_not_depend_on_row_order_except_for_the_random_pairs():
    one, two = references_of(ragged()), references_of(shuffled(ragged()))
    fixed = one["pair_type"] != "different prompts"
    pd.testing.assert_frame_equal(one[fixed], two[fixed])
    assert schema.validate(one, "05_references").num_rows == 6


def test_one_prompt_one_model_and_no_people_leave_one_kind():
    one = study({("p1", "gpt", "default", "top_p"): 4}, {"p1": "original"})
    table = references_of(with_vectors(one, np.ones((4, 3), np.float32)))
    assert table["pair_type"].tolist() == ["same model"]
    assert table["mean"].tolist() == pytest.approx([1], abs=1e-3)
    assert table[["lower", "upper"]].isna().all(axis=None)


def test_references_show_progress_by_prompt():
    seen = []

    def progress(iterator, total, unit):
        seen.append((unit, total))
        return iterator

    shown = references_of(ragged(), progress=progress)
    pd.testing.assert_frame_equal(shown, references_of(ragged()))
    assert seen == [("prompt", len(ragged().prompt_order))]


# -------------------------------------------------------------------------------------------------------- two readings


def test_both_readings_match_prompt_means_and_pooled_pairs():
    responses = ragged()
    by_cell = [(key, at.index.to_numpy()) for key, at in responses.table.groupby(CELL) if len(at) > 1]
    rows = [(*key, similarity.mean_pairwise_cosine(responses.vectors[i])) for key, i in by_cell]
    cells = pd.DataFrame(rows, columns=[*CELL, "mean_cosine"])
    cells = cells[cells["prompt_id"].map(responses.prompts["prompt_kind"]) == "original"]
    more = 1.2 * (responses.table["model"] == "gpt").to_numpy()[:, None].astype(np.float32)
    responses = with_vectors(responses, responses.vectors + more)
    table = repetition.both_readings(responses, cells)
    assert table.index.tolist() == ["min_p", "top_p"]
    shares = table.loc["top_p"]
    chosen = [i for key, i in by_cell if key[0] in ("p1", "p2") and key[3] == "top_p" and key[1] != "writers"]
    pairs = np.concatenate([within(responses.vectors[i]) for i in chosen])
    at = cells[(cells["decoding"] == "top_p") & (cells["model"] != "writers")]["mean_cosine"]
    for level in (0.7, 0.8, 0.9):
        assert shares[f"pairs ≥ {level}"] == pytest.approx(np.mean(pairs >= level))
        assert shares[f"prompt means ≥ {level}"] == pytest.approx(np.mean(at >= level))
    assert 0 < shares["pairs ≥ 0.9"] < shares["pairs ≥ 0.7"]
    pd.testing.assert_frame_equal(repetition.both_readings(shuffled(responses), cells), table)


# -------------------------------------------------------------------------------------------------------- rarefaction


def no_ideas():
    return pd.DataFrame({"response_id": [], "idea": []}, dtype=object)


def spoken(texts_by_cell, kinds):
    texts = {cell: dict(enumerate(texts)) for cell, texts in texts_by_cell.items()}
    return study({cell: len(given) for cell, given in texts.items()}, kinds, texts=texts)


def curves_of(texts_by_cell, kinds, ideas=None):
    responses = spoken(texts_by_cell, kinds)
    return repetition.rarefaction(responses, no_ideas() if ideas is None else ideas(responses.table))


TEXTS = {
    ("p1", "gpt", "default", "top_p"): ["a", "a", "b", "c"],
    ("p1", "llama", "default", "top_p"): ["a", "a", "a", "a"],
    ("p2", "gpt", "default", "top_p"): ["x", "y", "", "z"],  # a wordless answer does not count: a thin cell
    ("p1", "writers", "default", "none"): ["q", "r", "s"],
    ("p3", "gpt", "default", "top_p"): ["closed", "ended"],
}


def test_rarefaction_matches_drawing_every_subset_of_full_cells():
    curves = curves_of(TEXTS, KINDS)
    assert curves["unit"].eq("response").all() and set(curves["group"]) == {"models, top_p", "people"}
    models = curves[curves["group"] == "models, top_p"].set_index("n")
    assert models.index.tolist() == [1, 2, 3, 4] and models["n_cells"].eq(2).all()
    for n, found in models["found"].items():
        per_cell = [np.mean([len(set(s)) for s in combinations(t, n)]) for t in (["a", "a", "b", "c"], ["a"] * 4)]
        assert found == pytest.approx(np.mean(per_cell))
    assert models["estimated"].tolist() == pytest.approx([(3.5 + 1) / 2] * 4), "Chao1: 3 + 2·1 / (2·2), and 1"
    covered = 1 - 2 / 4 * (3 * 2) / (3 * 2 + 2 * 1)  # two wordings seen once, one twice; the other cell has one wording
    assert models["coverage"].tolist() == pytest.approx([(covered + 1) / 2] * 4)
    people = curves[curves["group"] == "people"]
    assert people["found"].tolist() == pytest.approx([1, 2, 3])


def test_ideas_count_where_every_answer_has_one_and_texts_where_one_lacks_it():
    def complete(answers):
        return pd.DataFrame({"response_id": answers["response_id"], "idea": "the one idea"})

    curves = curves_of(TEXTS, KINDS, complete)
    assert curves["unit"].eq("idea").all() and curves["found"].tolist() == pytest.approx([1] * len(curves))
    assert curves_of(TEXTS, KINDS, lambda answers: complete(answers)[1:])["unit"].eq("response").all()


def test_identical_answers_never_add_up():
    curves = curves_of({("p1", "gpt", "default", "top_p"): ["same"] * 5}, {"p1": "original"})
    assert curves["found"].tolist() == pytest.approx([1] * 5)
    assert curves["estimated"].tolist() == [1] * 5


def test_rarefaction_does_not_depend_on_row_order():
    responses = spoken(TEXTS, KINDS)
    one, two = (repetition.rarefaction(r, no_ideas()) for r in (responses, shuffled(responses)))
    pd.testing.assert_frame_equal(one, two)


def test_responses_without_a_word_have_no_curve():
    assert curves_of({("p1", "gpt", "default", "top_p"): ["!", "?"]}, KINDS).empty


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
    responses = study(WORDINGS, WORDING_KINDS, PARENTS)
    table = repetition.paraphrases(responses)
    assert table[CELL].to_numpy().tolist() == [["p1", "gpt", "default", "top_p"], ["p1", "llama", "default", "top_p"]]
    first, *others = [
        responses.vectors[rows_of(responses, prompt_id=p, model="gpt")] for p in ("p1", "p1a", "p1b", "p1c")
    ]
    gpt = table.iloc[0]
    assert gpt["n_paraphrases"] == 3
    assert gpt["within"] == pytest.approx(mean(within(first)), abs=1e-5)
    assert gpt["across"] == pytest.approx(np.mean([mean(across(first, other)) for other in others]), abs=1e-5)
    assert gpt["between"] == pytest.approx(np.mean([mean(across(a, b)) for a, b in combinations(others, 2)]), abs=1e-5)
    assert gpt["within_paraphrase"] == pytest.approx(np.mean([mean(within(o)) for o in others[:2]]), abs=1e-5)
    assert table.loc[1, ["between", "within_paraphrase"]].isna().all()
    assert schema.validate(table, "05_paraphrases").num_rows == 2


def test_paraphrases_do_not_depend_on_row_order():
    responses = study(WORDINGS, WORDING_KINDS, PARENTS)
    one, two = (repetition.paraphrases(r) for r in (responses, shuffled(responses)))
    pd.testing.assert_frame_equal(one, two)


def test_without_paraphrases_the_table_is_empty_and_still_a_table():
    table = repetition.paraphrases(study({("p1", "gpt", "default", "top_p"): 3}, {"p1": "original"}))
    assert schema.validate(table, "05_paraphrases").num_rows == 0
    means = repetition.paraphrase_means(table)
    assert means.drop(columns="n_prompts").isna().all(axis=None) and means["n_prompts"].eq(0).all()


def test_the_paraphrase_drop_is_paired_by_prompt_and_arms_are_averaged_first():
    rows = [("p1", "a", 0.9, 0.7), ("p1", "b", 0.7, 0.7), ("p2", "a", 0.5, 0.45), ("p3", "a", 0.6, 0.5)]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "within", "across"]).assign(
        between=[0.1, np.nan, 0.2, 0.3]
    )
    means = repetition.paraphrase_means(table)
    assert means["mean"].to_dict() == pytest.approx(
        {"within": 1.9 / 3, "across": 1.65 / 3, "between": 0.2, "drop": 0.25 / 3}
    )
    assert tuple(means.loc["drop", ["lower", "upper"]]) == pytest.approx(interval_of([0.1, 0.05, 0.1]))
    assert means["n_prompts"].eq(3).all()


# ----------------------------------------------------------------------------------------------------- prompts, facts


def asked(kinds, **facts):
    """Responses of which only the prompts and the people are looked at."""
    one = study({(p, m, "default", "top_p"): 1 for p in kinds for m in ("gpt", "llama", "writers")}, kinds)
    for name, values in facts.items():
        one.prompts[name] = values
    return one


def test_prompts_are_averaged_over_models_whose_decodings_are_averaged_first():
    values = {("p1", "gpt", "top_p"): 0.9, ("p1", "gpt", "min_p"): 0.7, ("p1", "llama", "top_p"): 0.5}
    values |= {("p2", "llama", "top_p"): 0.99, ("p1", "writers", "none"): 0.1, ("p3", "gpt", "top_p"): 0.2}
    responses = asked({"p1": "original", "p2": "closed", "p3": "paraphrase", "p9": "original"})
    table = repetition.by_prompt(repetition_of(values), responses)
    assert table["prompt_id"].tolist() == ["p2", "p1"]
    assert table["mean_cosine"].tolist() == pytest.approx([0.99, 0.65])
    assert table["n_models"].tolist() == [1, 2]
    assert table["prompt_kind"].tolist() == ["closed", "original"]
    bounds = np.clip(interval_of([0.8, 0.5]), -1, 1)
    assert table[["lower", "upper"]].to_numpy()[1] == pytest.approx(bounds)
    assert table[["lower", "upper"]].iloc[0].isna().all()


def test_prompts_do_not_depend_on_row_order_and_intervals_hold_the_mean():
    cells, responses = a_repetition(), asked({f"p{i}": "original" for i in range(40)})
    table = repetition.by_prompt(cells, responses)
    assert ((table["lower"] <= table["mean_cosine"]) & (table["mean_cosine"] <= table["upper"])).all()
    pd.testing.assert_frame_equal(table, repetition.by_prompt(cells.sample(frac=1, random_state=0), responses))


def prompts_with(openness):
    table = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(len(openness))], "open_endedness": openness})
    table["category"] = ["a", "b"] * (len(openness) // 2) + ["a"] * (len(openness) % 2)
    return table.assign(prompt_kind="original", mean_cosine=np.linspace(0.2, 0.9, len(openness)))


def test_repetition_is_set_against_open_endedness_where_three_prompts_know_it():
    falling = [0.9, 0.8, 0.85, np.nan, 0.4, 0.3, 0.35]
    found = repetition.openness_correlation(prompts_with(falling))
    expected = stats.spearmanr(prompts_with(falling)["mean_cosine"], falling, nan_policy="omit").statistic
    assert found.estimate == pytest.approx(expected)
    assert -1 <= found.lower < found.estimate < found.upper <= 1
    for unknown in ([np.nan] * 5, [0.1, 0.9, np.nan], [0.5] * 5):
        none = repetition.openness_correlation(prompts_with(unknown))
        assert np.isnan([none.estimate, none.lower, none.upper]).all()


def test_categories_are_averaged_over_their_original_prompts():
    prompts = prompts_with([0.5] * 4)
    prompts.loc[3, "prompt_kind"] = "closed"
    table = repetition.by_category(prompts)
    assert table["size"].to_dict() == {"a": 2, "b": 1}
    assert table["mean"]["a"] == pytest.approx(prompts["mean_cosine"].iloc[[0, 2]].mean())


def facts_of(sizes=np.nan, dates=None):
    """Arms of three models under two decodings, joined with the registry's facts."""
    names = ["gpt", "llama", "qwen"]
    responses = study({("p1", m, "default", "top_p"): 1 for m in (*names, "writers")}, {"p1": "original"})
    models = responses.models
    models["size_b"] = pd.Series(sizes, index=names, dtype=float)
    models["release_date"] = pd.Series(dates, index=names, dtype=object)
    rows = [(m, "default", d, k, 0.1 * i) for i, m in enumerate((*names, "writers")) for d in ("min_p", "top_p")
            for k in ("mean_cosine", "vendi_1")]  # fmt: skip
    arms = pd.DataFrame(rows, columns=["model", "condition", "decoding", "measure", "mean"])
    return repetition.with_facts(arms.sample(frac=1, random_state=0), "top_p", responses)


def test_facts_are_those_of_models_under_one_decoding():
    facts = facts_of([1, 70, 7], ["2024-05", "2023-01-02", "?"])
    assert sorted(facts["model"]) == ["gpt", "llama", "qwen"] and facts["measure"].eq("mean_cosine").all()
    assert facts.set_index("model")["size_b"].to_dict() == {"gpt": 1, "llama": 70, "qwen": 7}
    assert facts.set_index("model")["release_date"]["gpt"] == pd.Timestamp("2024-05-01")
    assert facts["release_date"].isna().sum() == 1


def test_repetition_is_set_against_facts_that_vary():
    assert repetition.fact_correlations(facts_of()) == {}
    assert repetition.fact_correlations(facts_of(7.0)) == {}
    assert repetition.fact_correlations(facts_of([1, 70, 7], ["2024-05", "2023-01-02", "2022"])) == {
        "size": pytest.approx(0.5), "release date": pytest.approx(-1),
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- cells


def test_cells_match_the_literal_pairs_and_a_single_response_has_none():
    responses = ragged()
    truncated = responses.vectors[::-1].copy()
    cells = repetition.cell_means(responses, truncated)
    centred = similarity.unit_rows(responses.vectors)
    centred = centred - centred.mean(0)
    for cell, row in cells.iterrows():
        at = rows_of(responses, **dict(zip(CELL, cell, strict=True)))
        assert row["n"] == len(at) == RAGGED[cell]
        assert row["mean_chars"] == pytest.approx(responses.table["text"].iloc[at].str.len().mean())
        assert row["mean_cosine"] == pytest.approx(mean(within(responses.vectors[at])), abs=1e-5, nan_ok=True)
        assert row["mean_cosine_truncated"] == pytest.approx(mean(within(truncated[at])), abs=1e-5, nan_ok=True)
        assert row["mean_cosine_centred"] == pytest.approx(mean(within(centred[at])), abs=1e-5, nan_ok=True)
        lexical = responses.lexical[at].toarray()
        assert row["mean_tfidf"] == pytest.approx(mean(within(lexical)), abs=1e-5, nan_ok=True)


def test_cells_with_one_response_only_are_refused():
    one = study({("p1", "gpt", "default", "top_p"): 1}, {"p1": "original"})
    with pytest.raises(ValueError, match="Every cell has one response"):
        repetition.cell_means(one, one.vectors)


def measures_of(responses, seed=0, **options):
    cells = repetition.cell_means(responses, responses.vectors)
    return repetition.cell_measures(responses, cells, 0.5, 2, 3, np.random.default_rng(seed), **options)


def test_cells_are_measured_one_by_one_and_are_the_table_they_are_written_as():
    responses, seen = ragged(), []
    table = measures_of(responses, progress=lambda it, total, unit: seen.append((total, unit)) or it)
    assert seen == [(len(responses.prompt_order), "prompt")] and len(table) == 11 and table["n"].min() == 2
    assert schema.validate(table, "05_repetition").num_rows == 11
    for row in table.to_dict("records"):
        at = rows_of(responses, **{name: row[name] for name in CELL})
        expected = diversity.summarise(responses.table["text"].iloc[at].tolist(), responses.vectors[at])
        assert {name: row[name] for name in expected if name in row} == pytest.approx(
            {name: value for name, value in expected.items() if name in row}, nan_ok=True
        )
        assert row["share_above"] == repetition_of_prompt.share_of_pairs(responses.vectors[at], 0.5)
    pd.testing.assert_frame_equal(measures_of(responses), table)


def test_original_prompts_are_kept_with_their_arms():
    responses = ragged()
    kept = repetition.originals(measures_of(responses), responses)
    assert set(kept["prompt_id"]) == {"p1", "p2"}
    assert (kept["arm"] == kept["model"] + " · " + kept["condition"]).all()
    assert repetition.main_decoding(kept, responses.people) == "top_p"


def test_without_a_model_on_an_original_prompt_there_is_no_figure_to_draw():
    cells = {("p1", "writers", "default", "none"): 3, ("p3", "gpt", "default", "top_p"): 3}
    responses = study(cells, KINDS)
    with pytest.raises(ValueError, match="No model gave two responses to an original prompt"):
        repetition.originals(measures_of(responses), responses)


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

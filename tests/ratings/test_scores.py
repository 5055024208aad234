"""Scores from files into one table: matching, differences of pairs, exclusions, the memory of models' scores."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.ratings import labels, scores


@pytest.fixture
def items():
    """Two rated responses and one pair of them."""
    single = pd.DataFrame({"user_query": ["q", "q"], "response": ["a", "bcd"], "human_labels": [[1, 2], [4, 5]]})
    pair = pd.DataFrame({"user_query": ["q"], "response_1": ["a"], "response_2": ["bcd"], "human_labels": [[-1, -2]]})
    return pd.concat(
        [
            labels.tabulate(labels.unroll(single), "absolute", [1, 2, 3, 4, 5])[1],
            labels.tabulate(labels.unroll(pair), "pairs", [-2, -1, 0, 1, 2])[1],
        ],
        ignore_index=True,
    )


def given(**columns):
    return scores.unroll(pd.DataFrame(columns))


class TestMatch:
    def test_a_responses_score_serves_its_item_and_its_pairs(self, items):
        long = given(prompt=["q", "q"], response=["a", "bcd"], scorer="s", scorer_type="reward", score=[1.0, 3.5])
        found, excluded = scores.match(long, items, "import")
        assert found.set_index("item_id")["score"].reindex(items["item_id"]).tolist() == [1, 3.5, -2.5]
        assert excluded.empty and set(found["source"]) == {"import"}

    def test_items_may_be_named_by_id_and_pairs_by_texts(self, items):
        by_id = given(item_id=items["item_id"], scorer="s", score=[1, 2, 3])
        assert scores.match(by_id, items, "import")[0]["score"].tolist() == [1, 2, 3]
        by_texts = given(prompt=["q"], response_1=["a"], response_2=["bcd"], scorer="s", score=[7])
        found, excluded = scores.match(by_texts, items, "import")
        assert found["item_id"].tolist() == [items["item_id"].iloc[2]] and found["score"].tolist() == [7]
        assert excluded.empty  # ratings are no items of this scorer

    def test_missing_invalid_repeated_and_unknown_scores_are_counted(self, items):
        ids = items["item_id"].tolist()
        long = given(
            item_id=[ids[0], ids[0], ids[1], "nowhere", ids[0]],
            scorer=["s", "s", "s", "s", "t"],
            score=[1, 9, "garbage", 4, np.inf],
        )
        long = pd.concat([long, given(item_id=[ids[1]], scorer="t", score=[2])], ignore_index=True)
        found, excluded = scores.match(long, items, "import")
        assert len(found) == 2
        reasons = excluded.groupby(["scorer", "reason"]).size().to_dict()
        assert reasons == {
            ("s", "not a number"): 1, ("s", "scored before: first kept"): 1, ("s", "no such item"): 1,
            ("t", "not a number"): 1,
        }  # fmt: skip

    def test_items_a_scorer_lacks_are_named(self, items):
        long = given(item_id=items["item_id"].head(1), scorer="s", score=[1.0])
        excluded = scores.match(long, items, "import")[1]
        assert excluded.to_dict("records") == [
            {"scorer": "s", "item_id": items["item_id"].iloc[1], "reason": "no score"}
        ]

    def test_a_scorer_that_matches_nothing_is_counted_and_the_others_go_on(self, items):
        ids = items["item_id"].tolist()
        long = given(item_id=["nowhere", *ids[:2]], scorer=["s", "t", "t"], score=[1, 2, 3])
        found, excluded = scores.match(long, items, "import")
        assert found["scorer"].tolist() == ["t", "t"]
        row = excluded.set_index("scorer").loc["s"]
        assert row["item_id"] == "all" and "'nowhere'" in row["reason"] and "scores_columns" in row["reason"]

    def test_a_scorer_without_a_number_is_counted_once(self, items):
        long = given(item_id=items["item_id"], scorer="s", score=["?", None, np.inf])
        found, excluded = scores.match(long, items, "import")
        assert found.empty
        assert excluded.to_dict("records") == [
            {"scorer": "s", "item_id": "all", "reason": "none of 3 scores is a number"}
        ]

    def test_why_a_model_gave_nothing_is_said(self, items):
        long = given(prompt=["q", "q"], response=["a", "bcd"], scorer="s", scorer_type="lm", score=[np.nan, np.nan])
        found, excluded = scores.match(long.assign(why=["the server was gone", None]), items, "local")
        assert found.empty and list(found.columns) == scores.COLUMNS
        assert excluded["reason"].tolist() == ["none of 2 scores is a number (no score: the server was gone)"]

    def test_pairs_alone_have_no_items_without_an_id(self, items):
        pairs = items[items["items"] == "pairs"]
        long = given(prompt=["q", "q"], response=["a", "bcd"], scorer="s", scorer_type="judge", score=[1.0, 3.5])
        found, _ = scores.match(long, pairs, "judge")
        assert found["item_id"].tolist() == pairs["item_id"].tolist() and found["score"].tolist() == [-2.5]


class TestUnroll:
    @pytest.mark.parametrize(
        "given", [[1.0, 2.0, None], ["1.0", "2.0", ""], ["1", "2", None], [1, 2, None], ["1,0", "2", "?"]]
    )
    @pytest.mark.parametrize("values", [{1: 10, 2: 20}, {"1": 10, "2": 20}, {1.0: 10, "2,0": 20}])
    def test_values_are_found_however_a_score_is_written(self, given, values):
        found = scores.unroll(pd.DataFrame({"item_id": list("abc"), "scorer": "s", "score": given}), values=values)
        assert found["score"].tolist()[:2] == [10, 20] and np.isnan(found["score"][2])

    def test_what_lies_between_two_values_is_read_in_proportion(self):
        given = [1, 1.25, "1.5", 2.0, "Tie", 1.75, 3]
        frame = pd.DataFrame({"item_id": range(7), "scorer": "s", "score": given})
        found = scores.unroll(frame, values={"1": 1, "2": -1, "Tie": 0})
        assert found["score"].tolist() == [1, 0.5, 0, -1, 0, -0.5, 3]

    def test_values_must_be_numbers(self):
        with pytest.raises(ValueError, match=r"scores_values.*'high'"):
            scores.unroll(pd.DataFrame({"item_id": [1], "scorer": "s", "score": [1]}), values={"1": "high"})

    @pytest.mark.parametrize(
        ("given", "read"),
        [(["3,5", "4"], [3.5, 4]), (["0,512", "0,1"], [0.512, 0.1]), (["1,250", "2,5"], [1.25, 2.5]),
         ([" -0,5", 2], [-0.5, 2]), (["1.234", "2.5"], [1.234, 2.5]), (["0,123", "0,456"], [0.123, 0.456])],
    )  # fmt: skip
    def test_decimal_commas_are_read(self, given, read):
        frame = pd.DataFrame({"item_id": ["a", "b"], "scorer": "s", "score": given})
        assert scores.unroll(frame)["score"].tolist() == read

    @pytest.mark.parametrize("given", [["1,234", "2,500"], ["3,5", "4.5"], ["1,200", "0.5"]])
    def test_commas_that_may_be_read_in_two_ways_are_refused(self, given):
        frame = pd.DataFrame({"item_id": ["a", "b"], "scorer": "judge-1", "score": given})
        with pytest.raises(ValueError, match=r"mine\.csv: scores of judge-1 .*Write decimals with a point"):
            scores.unroll(frame, file="mine.csv")

    def test_each_scorer_has_its_own_decimal_sign(self):
        frame = pd.DataFrame({"item_id": [1, 2, 3], "a": ["3,5", "4,0", ""], "b": ["3.5", "4.0", ""]})
        found = scores.unroll(frame, score_columns=["a", "b"])
        assert found["score"].dropna().tolist() == [3.5, 4, 3.5, 4]

    @pytest.mark.parametrize("given", [(7.0, 8.0), ("7", "8"), ("7.0", " 8 "), (7, 8)])
    def test_ids_match_however_they_are_written(self, given):
        labelled = pd.DataFrame({"item_id": [7.0, 8.0], "prompt_id": "p", "label": [1, 2]})
        items = labels.tabulate(labels.unroll(labelled), "absolute", [1, 2, 3])[1]
        long = scores.unroll(pd.DataFrame({"item_id": [*given, None, None], "scorer": "s", "score": [1, 2, 3, 4]}))
        found, excluded = scores.match(long, items, "import")
        assert found["item_id"].tolist() == ["7", "8"] and excluded["reason"].tolist() == ["no such item"]

    def test_a_scorers_name_may_be_joined_from_columns(self):
        frame = pd.DataFrame({"item_id": [1], "model": ["m"], "variant": [2], "score": [0.5]})
        assert scores.unroll(frame, columns={"scorer": "model+variant"})["scorer"].tolist() == ["m · 2"]

    def test_wide_files_hold_a_scorer_a_column_and_values_are_translated(self):
        frame = pd.DataFrame({"item_id": [1, 2, 3], "gpt": ["1", "Tie", "garbage"], "own": [True, 2, 0]})
        found = scores.unroll(
            frame, score_columns=["gpt", "own"], values={"1": 1, "2": -1, "Tie": 0}, kinds={"gpt": "judge"}
        )
        assert found["score"].tolist()[:2] == [1, 0] and found["score"].isna().tolist()[2:4] == [True, True]
        assert found["score"].tolist()[4:] == [-1, 0] and found["scorer_type"].tolist() == ["judge"] * 3 + ["other"] * 3

    @pytest.mark.parametrize(
        ("columns", "message"),
        [({"model": "m"}, "'model'"), ({"score": "m"}, "'m'"), ({}, "`scorer`")],
    )
    def test_names_that_do_not_exist_are_refused(self, columns, message):
        with pytest.raises(ValueError, match=message):
            scores.unroll(pd.DataFrame({"item_id": [1], "score": [2]}), columns=columns)

    def test_something_must_name_the_item(self):
        with pytest.raises(ValueError, match="item_id"):
            scores.unroll(pd.DataFrame({"scorer": ["s"], "score": [2]}))


def test_text_length_is_a_scorer_of_items_with_texts(items):
    found = scores.text_lengths(items)
    assert found["score"].tolist() == [1, 3, -2]
    assert scores.text_lengths(items.assign(response_1=None)).empty


def test_responses_of_items_and_pairs_are_listed_once(items):
    assert scores.responses(items)["response"].tolist() == ["a", "bcd"]


def test_wide_orders_scorers_by_kind_and_leaves_gaps(items):
    long = pd.concat([given(item_id=items["item_id"].head(2), scorer="z", scorer_type="a", score=[1, 2]),
                      given(item_id=items["item_id"].head(1), scorer="b", scorer_type="b", score=[3])])  # fmt: skip
    found, _ = scores.match(long, items, "import")
    scorers, values = scores.wide(found, items.head(2))
    assert scorers["scorer"].tolist() == ["z", "b"] and np.isnan(values).tolist() == [[False, False], [False, True]]


class TestRemember:
    def test_what_is_known_is_not_computed_again_and_failures_are(self, tmp_path):
        asked = []

        def compute(rows):
            asked.append(list(rows))
            return {"value": [np.nan if row == 1 and len(asked) == 1 else float(row) for row in rows]}

        path = tmp_path / "store" / "m.parquet"
        first = scores.remember(path, ["a", "b", "c"], compute)
        assert np.isnan(first["value"]).tolist() == [False, True, False]
        second = scores.remember(path, ["c", "b", "d"], compute)
        assert asked[1] == [1, 2] and second["value"].tolist() == [2, 1, 2]

    def test_a_stopped_run_keeps_what_was_written(self, tmp_path):
        def compute(rows):
            if 2 in rows:
                raise KeyboardInterrupt
            return {"value": [float(row) for row in rows]}

        with pytest.raises(KeyboardInterrupt):
            scores.remember(tmp_path / "m.parquet", ["a", "b", "c"], compute, at_once=2)
        kept = scores.remember(tmp_path / "m.parquet", ["a", "b"], lambda rows: pytest.fail("asked again"))
        assert kept["value"].tolist() == [0, 1]


class TestUsable:
    def test_a_constant_score_is_left_out_for_that_type_of_item(self, items):
        ids = items["item_id"].tolist()
        table = pd.DataFrame({"item_id": [*ids, *ids], "scorer": ["s"] * 3 + ["t"] * 3, "scorer_type": "k",
                              "source": "import", "score": [1, 1, 5, 1, 2, 5], "distribution": None})  # fmt: skip
        kept, excluded = scores.usable([table], items)
        assert kept[["item_id", "scorer"]].to_numpy().tolist() == [[ids[0], "t"], [ids[1], "t"]]
        assert dict(zip(excluded["scorer"], excluded["item_id"], strict=True)) == {"s": "all", "t": "one type of item"}

    def test_the_first_source_of_a_scorer_counts(self, items):
        ids = items["item_id"].tolist()[:2]
        table = pd.DataFrame({"item_id": ids, "scorer": "s", "scorer_type": "k", "source": "import",
                              "score": [1.0, 2.0], "distribution": None})  # fmt: skip
        kept, excluded = scores.usable([table, table.assign(score=[8.0, 9.0])], items)
        assert kept["score"].tolist() == [1, 2]
        assert excluded["reason"].tolist() == ["scored by an earlier source: first kept"] * 2


class TestSides:
    """A score of (B, A) is a score of (A, B), negated."""

    def items(self):
        rows = [("p", "Oak", "Elm", "a", 1), ("q", "Jay", "Owl", "a", -1)]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "annotator", "label"])
        return labels.tabulate(labels.unroll(frame), "pairs", [-1, 0, 1])[1]

    @pytest.mark.parametrize("by_id", [False, True])
    def test_scores_of_swapped_pairs_are_negated(self, by_id):
        items = self.items()
        rows = [("p", "Elm", "Oak", "s", 2.0), ("q", "Jay", "Owl", "s", -0.5)]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "scorer", "score"])
        if by_id:
            frame["item_id"] = items["item_id"]
        found, excluded = scores.match(scores.unroll(frame), items, "files")
        assert found.set_index("item_id")["score"].reindex(items["item_id"]).tolist() == [-2.0, -0.5]
        assert excluded.empty

    def one_sided(self, given, *, by_id=False, turned=True, **options):
        sides = [("p", "Elm", "Oak") if turned else ("p", "Oak", "Elm"), ("q", "Jay", "Owl")]
        rows = [(*side, "s", score) for side, score in zip(sides, given, strict=True)]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "scorer", "score"])
        items = self.items()
        frame = frame.assign(item_id=items["item_id"]) if by_id else frame
        found, excluded = scores.match(scores.unroll(frame, **options), items, "files")
        return found.set_index("item_id")["score"].reindex(items["item_id"]).tolist(), excluded["reason"].tolist()

    @pytest.mark.parametrize("given", [[1.2, 1.9], [0.2, 0.9], [70, 20], [0, 1], [-0.2, -0.9], [1, 2]])
    @pytest.mark.parametrize("by_id", [False, True])
    def test_scores_that_are_never_negative_are_not_negated(self, given, by_id):
        found, reasons = self.one_sided(given, by_id=by_id)
        assert np.isnan(found).all() and reasons == [scores.ONE_SIDED]
        assert self.one_sided(given, by_id=by_id, turned=False) == (given, [])

    @pytest.mark.parametrize(
        ("given", "values", "right"),
        [([1.2, 1.9], {1: 1, 2: -1}, [-0.6, -0.8]), ([0.2, 0.9], {0: -1, 1: 1}, [0.6, 0.8]),
         ([2, 1], {0: 0, 2: 2}, [-2, 1])],
    )  # fmt: skip
    @pytest.mark.parametrize("by_id", [False, True])
    def test_a_declared_scale_of_pairs_is_mirrored(self, given, values, right, by_id):
        found, reasons = self.one_sided(given, by_id=by_id, values=values)
        assert found == pytest.approx(right) and not reasons

    def test_both_orders_are_one_score_and_one_is_counted(self):
        rows = [("p", "Elm", "Oak", "s", 2.0), ("p", "Oak", "Elm", "s", -1.0), ("q", "Owl", "Jay", "s", 3.0)]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "scorer", "score"])
        found, excluded = scores.match(scores.unroll(frame), self.items(), "files")
        assert sorted(found["score"]) == [-3.0, -2.0]
        assert excluded["reason"].tolist() == ["scored before: first kept"]

    def test_a_distribution_is_read_from_its_other_end(self):
        rows = [("p", "Elm", "Oak", "s", 0.5, "[0.1, 0.3, 0.6]")]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "scorer", "score", "distribution"])
        long = scores.unroll(frame).assign(distribution=frame["distribution"])
        found, _ = scores.match(long, self.items(), "files")
        assert found["score"].tolist() == [-0.5] and found["distribution"].tolist() == ["[0.6, 0.3, 0.1]"]

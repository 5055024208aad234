"""Loaders of human annotations: layouts, checks, ids of persons, and what is excluded with a reason."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.tables import ids, schema

SCALE = [1, 2, 3, 4, 5]
REAL = os.environ.get("HIVEMIND_REAL_DATA")


def released(**columns):
    return pd.DataFrame(
        {
            "user_query": ["q1", "q1", "q2"],
            "response": ["a", "b", "c"],
            "human_labels": [[1, 2, 3], [3, 3], [5, 5, 5]],
        }
        | columns
    )


class TestLayouts:
    def test_released_lists_become_one_label_a_row(self):
        labels, items, excluded = rating_labels.tabulate(rating_labels.unroll(released()), "absolute", SCALE)
        assert len(labels) == 8 and len(items) == 3 and excluded.empty
        assert items["prompt_id"].tolist() == [ids.text_id("q1")] * 2 + [ids.text_id("q2")]
        values, persons, _ = rating_labels.matrix(labels, items)
        assert np.isnan(values[1]).tolist() == [False, False, True] and persons is None

    def test_lists_may_be_json(self):
        frame = released(human_labels=["[1, 2, 3]", "[3, 3]", "[5, 5, 5]"])
        assert rating_labels.unroll(frame)["label"].tolist() == rating_labels.unroll(released())["label"].tolist()

    @pytest.mark.parametrize("field", ["labels", "label"])
    @pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "python"])
    def test_counts_per_item_become_one_label_per_annotator(self, tmp_path, field, form):
        counts = [{"e": 30, "n": 70, "c": 0}, {"e": 0, "n": 1, "c": 4}]
        frame = pd.DataFrame({"uid": ["u1", "u2"], "text": ["a", "b"], "form_id": 1, "label_counter": counts})
        columns = {"item_id": "uid", "prompt_id": "uid", "response_1": "text", field: "label_counter"}
        path = tmp_path / f"labels.{form}"
        if form == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        if form == "csv":
            frame.assign(label_counter=frame["label_counter"].map(json.dumps)).to_csv(path, index=False)
        if form == "parquet":
            frame.to_parquet(path)
        long = rating_labels.unroll(frame, columns=columns) if form == "python" else None
        long = rating_labels.read(path, columns=columns) if long is None else long
        labels, items, excluded = rating_labels.tabulate(long, "absolute", ["e", "n", "c"])
        assert excluded.empty and len(items) == 2 and labels["annotator"].isna().all()
        found = labels.merge(items, on="item_id").groupby("response_1")["label"].value_counts().to_dict()
        assert found == {("a", 0): 30, ("a", 1): 70, ("b", 1): 1, ("b", 2): 4}
        values, persons, _ = rating_labels.matrix(labels, items)
        assert persons is None and values.shape == (2, 100)
        first = values[items["response_1"].tolist().index("a")]
        assert 5 < (first[:50] == 0).sum() < 25  # in no order of the scale

    @pytest.mark.parametrize(
        "counts", [{"e": 0.3, "n": 0.7}, {"e": -1, "n": 2}, {"e": "many"}, {"e": True}, {"e": 0}, {}]
    )
    def test_counts_that_are_none_are_refused(self, counts):
        frame = pd.DataFrame({"response": ["a"], "labels": [counts]})
        with pytest.raises(ValueError, match=r"row 1: |A list of labels was expected"):
            rating_labels.unroll(frame)

    def test_arrays_of_parquet_are_lists_too(self, tmp_path):
        released().to_parquet(tmp_path / "a.parquet")
        assert len(rating_labels.read(tmp_path / "a.parquet")) == 8

    def test_a_place_in_a_form_is_a_person_where_lists_are_equally_long(self):
        frame = released(form_id=[1, 2, 2], human_labels=[[1, 2], [3, 3, 3], [5, 5, 5]])
        frame.loc[3] = ["q3", "d", [1], 3]
        frame.loc[4] = ["q3", "e", [1, 2], 3]
        labels, items, _ = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)
        who = labels.merge(items, on="item_id").groupby("response_1")["annotator"].agg(list)
        assert who["a"] == ["1:000", "1:001"] and who["b"] == who["c"] == ["2:000", "2:001", "2:002"]
        assert pd.isna(who["d"]).all() and pd.isna(who["e"]).all()
        assert rating_labels.matrix(labels, items)[1] is None  # somebody is unknown

    def test_persons_of_forms_are_numbered_per_form(self):
        frame = released(form_id=["x", "x", "y"], human_labels=[[1, 2], [3, None], [5, 5]])
        labels, items, excluded = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)
        values, persons, names = rating_labels.matrix(labels, items)
        assert names == ["x:000", "x:001", "y:000", "y:001"]
        assert persons.tolist() == [[0, 1], [0, 1], [2, 3]] and np.isnan(values[1, 1])
        assert excluded["reason"].tolist() == ["label missing"]

    def test_long_tables_with_names_of_columns_and_a_filter(self, tmp_path):
        frame = pd.DataFrame(
            {
                "story": [7, 7, 7, 8, 8], "who": ["p", "q", "p", "p", "q"], "stars": [1, 2, 5, 4, 4],
                "criterion": ["fun", "fun", "logic", "fun", "fun"], "task": ["t"] * 5,
            }
        )  # fmt: skip
        frame.to_csv(tmp_path / "long.csv", index=False)
        columns = {"item_id": "story", "annotator": "who", "label": "stars", "prompt_id": "task"}
        long = rating_labels.read(tmp_path / "long.csv", columns=columns, where={"criterion": "fun"})
        labels, items, excluded = rating_labels.tabulate(long, "absolute", SCALE)
        assert labels["label"].tolist() == [1, 2, 4, 4] and excluded.empty
        assert rating_labels.matrix(labels, items)[2] == ["p", "q"]

    def test_wide_tables_have_a_column_per_annotator(self):
        frame = pd.DataFrame({"prompt": ["p"] * 2, "response_1": ["a", "b"], "rater_1": [1, 2], "rater_2": ["3", ""]})
        labels, _, excluded = rating_labels.tabulate(
            rating_labels.unroll(frame, label_columns=["rater_*"]), "absolute", SCALE
        )
        assert labels["annotator"].tolist() == ["rater_1", "rater_2", "rater_1"]
        assert excluded["reason"].tolist() == ["label missing"]

    @pytest.mark.parametrize(
        ("written", "read"),
        [("['4', '5']", ["4", "5"]), ("[4 5 3]", [4, 5, 3]), ("[4. 5.]", [4, 5]),
         ("4;5; 3", ["4", "5", "3"]), ("4,5;3", ["4,5", "3"]), ("[4, null]", [4, None])],
    )  # fmt: skip
    def test_lists_as_programs_write_them(self, written, read):
        long = rating_labels.unroll(released(human_labels=[written, "[1]", "[1]"]))
        assert long["label"].tolist()[: len(read)] == read

    @pytest.mark.parametrize("written", ["4,5,3", "[4,5 3]", "[4", "yes;no", "[yes no]", "4", 4, "four"])
    def test_lists_that_may_be_read_in_two_ways_are_refused_with_their_row(self, written):
        with pytest.raises(ValueError, match=r"mine\.csv, row 2: .*such as \[4, 5, 3\]"):
            rating_labels.unroll(released(human_labels=["[1, 2]", written, "[1]"]), file="mine.csv")

    @pytest.mark.parametrize("nothing", [None, "", " ", float("nan"), [], "[]"])
    @pytest.mark.parametrize("names", [{}, {"form_id": [1, 1, 1]}, {"annotator": [["p", "q"], ["p", "q"], ["q", "p"]]}])
    def test_an_item_without_labels_is_counted_and_names_of_the_others_stay(self, nothing, names):
        frame = released(human_labels=[[1, 2], nothing, [3, 3]], **names)
        labels, items, excluded = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)
        assert len(items) == 2 and excluded["reason"].tolist() == ["label missing"]
        assert (rating_labels.matrix(labels, items)[1] is None) == (not names)

    RANKS = ("item_id", "prompt", "annotator", "response_1", "rank")

    def ranked(self, *rows):
        frame = pd.DataFrame([("i", "p", *row) for row in rows], columns=self.RANKS)
        return rating_labels.unroll(frame, file="ranks.csv")

    @pytest.mark.parametrize("ranks", [["1", "2,0", "3"], [1, 2.0, 3], ["1.0", " 2 ", "3"]])
    def test_ranks_may_be_written_in_any_way(self, ranks):
        long = self.ranked(*(("w", text, rank) for text, rank in zip("abc", ranks, strict=True)))
        assert long["label"].tolist() == [1, 1, 1]

    @pytest.mark.parametrize("rank", ["second", "1st", True, float("inf")])
    def test_a_rank_that_is_no_number_is_refused_with_its_row(self, rank):
        with pytest.raises(ValueError, match=r"ranks\.csv, row 2: a rank must be a number"):
            self.ranked(("w", "a", 1), ("w", "b", rank))

    @pytest.mark.parametrize("blank", ["", None, float("nan")])
    def test_pairs_of_a_blank_rank_and_responses_ranked_alone_are_counted(self, blank):
        long = self.ranked(("w", "a", 1), ("w", "b", blank), ("w", "c", 2), ("v", "a", 1))
        labels, items, excluded = rating_labels.tabulate(long, "pairs", [-1, 0, 1])
        assert labels["label"].tolist() == [1] and len(items) == 1
        assert excluded["reason"].tolist() == ["label missing"] * 3

    def test_ranks_that_favour_one_side_are_no_other_scale(self):
        long = self.ranked(*((who, text, rank) for who in "vw" for text, rank in zip("abc", [1, 2, 2], strict=True)))
        assert set(rating_labels.tabulate(long, "pairs", [-1, 0, 1])[0]["label"]) == {0, 1}

    def test_ranks_become_pairs_of_one_annotator(self):
        frame = pd.DataFrame(
            {
                "item_id": "i", "prompt": "p", "annotator": ["w"] * 3 + ["v"] * 3,
                "response_1": ["a", "b", "c"] * 2, "rank": [1, 2, 3, 2, 1, 3],
            }
        )  # fmt: skip
        labels, items, _ = rating_labels.tabulate(rating_labels.unroll(frame), "pairs", [-1, 0, 1])
        sides = items.set_index("item_id")[["response_1", "response_2"]].agg("".join, axis=1)
        found = labels.assign(pair=labels["item_id"].map(sides)).set_index(["pair", "annotator"])["label"]
        assert found[("ab", "w")] == 1 and found[("ab", "v")] == -1 and found[("ac", "v")] == 1
        assert len(items) == 3

    def test_one_column_may_serve_two_fields(self):
        frame = pd.DataFrame({"item_id": [1, 1], "rater_idx": [0, 1], "label": ["No", "Yes"]})
        long = rating_labels.unroll(frame, columns={"prompt_id": "item_id", "annotator": "rater_idx"})
        labels, _, _ = rating_labels.tabulate(long, "absolute", ["No", "Unsure", "Yes"])
        assert labels["label"].tolist() == [0, 2]

    def test_addresses_are_read_through_fsspec(self):
        import fsspec

        memory = fsspec.filesystem("memory")
        memory.makedirs("/sets/one/data", exist_ok=True)
        with memory.open("/sets/one/data/train-0.parquet", "wb") as file:
            released().to_parquet(file)
        assert len(rating_labels.read("memory://sets/one")) == 8
        with pytest.raises(FileNotFoundError, match="no Parquet"):
            rating_labels.read("memory://sets/none")


class TestExclusions:
    def reasons(self, labels, **more):
        frame = pd.DataFrame({"item_id": "i", "prompt_id": "p", "label": labels} | more)
        return rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)[2]["reason"].tolist()

    def test_labels_off_the_scale_are_counted(self):
        off = "label not on the scale"
        assert self.reasons([1, 6, 0, "three", 2.5, True, "4", " 5 "]) == [off] * 5

    def test_missing_labels_are_counted_apart(self):
        assert self.reasons([1, None, float("nan"), ""]) == ["label missing"] * 3

    @pytest.mark.parametrize("blank", [None, "", "  ", float("nan")])
    @pytest.mark.parametrize("field", ["item_id", "prompt_id"])
    def test_a_blank_id_is_counted(self, field, blank):
        frame = pd.DataFrame({"item_id": list("ijk"), "prompt_id": list("pqr"), "label": [1, 2, 3]}, dtype=object)
        frame.loc[1:, field] = blank
        labels, items, excluded = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)
        assert len(items) == len(labels) == 1 and excluded["reason"].tolist() == [f"no {field}"] * 2
        assert excluded["input_row"].tolist() == [1, 2]

    @pytest.mark.parametrize("blank", [None, ""])
    def test_a_blank_prompt_is_counted_and_a_blank_column_is_none(self, blank):
        frame = pd.DataFrame({"prompt": ["p", blank], "response_1": ["a", "b"], "label": [1, 2], "item_id": blank})
        _, items, excluded = rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)
        assert len(items) == 1 and excluded["reason"].tolist() == ["no prompt"]
        with pytest.raises(ValueError, match="unit of every interval"):
            rating_labels.tabulate(rating_labels.unroll(frame.assign(prompt=blank)), "absolute", SCALE)

    @pytest.mark.parametrize("field", ["annotator", "item_id", "prompt_id", "form_id"])
    @pytest.mark.parametrize("pair", [("7", 7.0), (7, 7.0), ("7", "7.0"), (np.int64(7), np.float32(7)), ("w", " w")])
    def test_an_id_is_one_however_it_is_written(self, field, pair):
        ids_ = {"item_id": "i", "prompt_id": "p", "annotator": "w", "form_id": "f"} | {field: list(pair)}
        long = rating_labels.unroll(pd.DataFrame({"label": [1, 2]} | ids_).astype({field: object}))
        _, items, excluded = rating_labels.tabulate(long, "absolute", SCALE)
        assert len(items) == 1
        assert excluded["reason"].tolist() == ["annotator labelled the item before: first kept"]

    def test_ids_that_differ_stay_apart(self):
        assert [ids.written(v) for v in ("007", "7", 7.5, "1.10", True)] == [
            "007",
            "7",
            "7.5",
            "1.10",
            "True",
        ]

    def test_a_second_label_of_one_person_is_left_out(self):
        found = self.reasons([1, 2, 3], annotator=["p", "p", "q"])
        assert found == ["annotator labelled the item before: first kept"]

    def test_a_first_label_that_was_invalid_does_not_block_the_second(self):
        assert self.reasons([9, 2], annotator=["p", "p"]) == ["label not on the scale"]

    def test_a_second_row_of_the_same_item_is_left_out(self):
        doubled = pd.concat([released(), released().head(1)], ignore_index=True)
        labels, items, excluded = rating_labels.tabulate(rating_labels.unroll(doubled), "absolute", SCALE)
        assert len(items) == 3 and len(labels) == 8
        assert excluded["reason"].tolist() == ["item stands in an earlier row: first kept"] * 3

    def test_rows_used_and_excluded_add_up(self):
        long = rating_labels.unroll(released(human_labels=[[1, 9, None], [3, 3], [5, 5, 5]]))
        labels, _, excluded = rating_labels.tabulate(long, "absolute", SCALE)
        assert len(labels) + len(excluded) == len(long)

    def test_nothing_left_says_why(self):
        with pytest.raises(ValueError, match=r"not on the scale"):
            rating_labels.tabulate(rating_labels.unroll(released()), "absolute", [10, 20])

    def test_what_stands_in_the_file_may_be_translated(self):
        frame = pd.DataFrame({"item_id": "i", "prompt_id": "p", "label": ["1", "2", "Tie", True]})
        labels, _, excluded = rating_labels.tabulate(
            rating_labels.unroll(frame), "pairs", [-1, 0, 1], label_values={"1": 1, "2": -1, "Tie": 0}
        )
        assert labels["label"].tolist() == [1, -1, 0] and len(excluded) == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: rating_labels.unroll(released(), columns={"item": "x"}), "'item'"),
            (lambda: rating_labels.unroll(released(), columns={"item_id": "x"}), "'x'"),
            (lambda: rating_labels.unroll(released(), where={"user_query": "q9"}), "keeps no row"),
            (lambda: rating_labels.unroll(released(), label_columns=["rater*"]), r"'rater\*'"),
            (lambda: rating_labels.unroll(released().drop(columns="human_labels")), "no column of labels"),
            (lambda: rating_labels.unroll(released(human_labels=["[1", "[]", "[]"])), "must be JSON"),
            (lambda: rating_labels.unroll(released(human_labels=[1, 2, 3])), "list of labels was expected"),
            (lambda: rating_labels.tabulate(rating_labels.unroll(released()), "triples", SCALE), "'triples'"),
            (lambda: rating_labels.tabulate(rating_labels.unroll(released()), "pairs", SCALE), "response_2"),
            (lambda: rating_labels.unroll(released(annotator=[["p"], ["p", "q"], ["p"] * 3])), "as many names"),
        ],
    )
    def test_say_what_was_expected(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()

    def test_an_item_id_with_two_texts_is_refused(self):
        frame = pd.DataFrame({"item_id": "i", "prompt": "p", "response_1": ["a", "b"], "label": [1, 2]})
        with pytest.raises(ValueError, match="one text each"):
            rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)

    def test_the_prompt_is_needed(self):
        frame = pd.DataFrame({"item_id": ["i"], "label": [1]})
        with pytest.raises(ValueError, match="unit of every interval"):
            rating_labels.tabulate(rating_labels.unroll(frame), "absolute", SCALE)


class TestDescribe:
    def described(self, rows, kind="absolute", scale=SCALE, level="interval"):
        frame = pd.DataFrame(
            {"item_id": range(len(rows)), "prompt_id": "p", "labels": [json.dumps(row) for row in rows]}
        )
        labels, items, _ = rating_labels.tabulate(rating_labels.unroll(frame), kind, scale)
        return rating_labels.describe(items, rating_labels.matrix(labels, items)[0], scale, level)

    def test_unanimous_ties_are_told_apart(self):
        found = self.described([[0] * 5, [2] * 5, [1, 1, -1, -1, 0]], "pairs", [-2, -1, 0, 1, 2])
        assert found["agreement"].tolist() == [0.5, 1, 0.5] and found["n_ties"].tolist() == [5, 0, 1]

    def test_one_annotator_has_no_spread(self):
        found = self.described([[1], [5], [3]])
        assert found["sd"].isna().all() and found["pairwise_disagreement"].isna().all()
        assert (found["entropy_bits"] == 0).all()

    def test_categories_have_no_mean(self):
        found = self.described([["No", "Yes"], ["No", "No"]], scale=["No", "Unsure", "Yes"], level="nominal")
        assert found["mean"].isna().all() and found["consensus"].isna().all()
        assert found["entropy_bits"].tolist() == [1, 0] and found["entropy_grouped_bits"].isna().all()

    def test_every_column_of_the_table_is_there(self):
        found = self.described([[1, 2, 5], [3, 3, 3], [1, 5, 5]])
        schema.validate(found, "08_items")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data")
class TestRealFiles:
    def test_hanna_has_three_named_raters(self):
        path = Path(REAL) / "hanna" / "ratings_long.parquet"
        long = rating_labels.read(
            path, columns={"annotator": "rater", "label": "rating"}, where={"criterion": "engagement"}
        )
        labels, items, excluded = rating_labels.tabulate(long, "absolute", SCALE)
        assert (len(labels), len(items), len(excluded)) == (3_168, 1_056, 0)
        assert rating_labels.matrix(labels, items)[1].tolist()[0] == [0, 1, 2]

    def test_lamp_rankings_become_pairs_with_writers(self):
        path = Path(REAL) / "lamp_rankings" / "rankings.parquet"
        long = rating_labels.read(path, columns={"prompt": "query", "response_1": "response"})
        labels, items, excluded = rating_labels.tabulate(long, "pairs", [-1, 0, 1])
        assert len(labels) == 201 * 3 * 3 and excluded.empty and labels["annotator"].nunique() == 13
        assert (items.groupby("prompt_id").size() >= 3).all()

    def test_pandalm_lists_three_annotators_a_pair(self):
        path = Path(REAL) / "pandalm" / "pairwise.parquet"
        columns = {"item_id": "idx", "prompt_id": "instruction", "response_1": "response1", "response_2": "response2"}
        long = rating_labels.read(path, columns=columns, label_columns=["annotator*"])
        labels, items, excluded = rating_labels.tabulate(long, "pairs", [-1, 0, 1], label_values={"1": 1, "2": -1})
        assert len(items) == 998 and items["prompt_id"].nunique() == 169
        assert labels["label"].value_counts().to_dict() == {-1: 1_413, 1: 1_255, 0: 326}
        assert set(excluded["reason"]) == {"no prompt_id"} and len(excluded) == 3  # an instruction that is a space


class TestSides:
    """Which response stands first is presentation: the pair is one item whichever way round a row shows it."""

    ROWS = (
        ("p", "Oak", "Elm", "a", 1),
        ("p", "Elm", "Oak", "b", -1),
        ("p", "Oak", "Elm", "c", -2),
        ("q", "Jay", "Owl", "a", 0),
        ("q", "Owl", "Jay", "b", 2),
    )
    NAMES = ("prompt", "response_1", "response_2", "annotator", "label")

    def tabulated(self, frame, scale=(-2, -1, 0, 1, 2), **options):
        return rating_labels.tabulate(rating_labels.unroll(frame, **options), "pairs", list(scale))

    def test_swapped_sides_are_one_item_with_mirrored_labels(self):
        labels, items, excluded = self.tabulated(pd.DataFrame(self.ROWS, columns=self.NAMES))
        assert items[["response_1", "response_2"]].to_numpy().tolist() == [["Oak", "Elm"], ["Jay", "Owl"]]
        assert labels["label"].tolist() == [1, 1, -2, 0, -2] and excluded.empty
        assert labels["annotator"].tolist() == ["a", "b", "c", "a", "b"]

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    def test_in_every_format(self, tmp_path, suffix):
        frame, path = pd.DataFrame(self.ROWS, columns=self.NAMES), tmp_path / f"a.{suffix}"
        {
            "csv": lambda: frame.to_csv(path, index=False),
            "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
            "parquet": lambda: frame.to_parquet(path),
        }[suffix]()
        long = rating_labels.read(path)
        assert rating_labels.tabulate(long, "pairs", [-2, -1, 0, 1, 2])[0]["label"].tolist() == [1, 1, -2, 0, -2]

    def test_with_ids_of_items_and_names_of_values(self):
        frame = pd.DataFrame(self.ROWS, columns=self.NAMES).assign(item_id=list("iiijj"))
        labels, items, _ = self.tabulated(frame)
        assert items["item_id"].tolist() == ["i", "j"] and labels["label"].tolist() == [1, 1, -2, 0, -2]
        frame["label"] = ["first", "second", "second", "tie", "first"]
        named = self.tabulated(frame, scale=("second", "tie", "first"))[0]["label"]
        assert named.tolist() == [2, 2, 0, 1, 0]

    def test_a_scale_of_one_and_two_is_mirrored_too(self):
        frame = pd.DataFrame(self.ROWS[:2], columns=self.NAMES).assign(label=[1, 2])
        assert self.tabulated(frame, scale=(1, 2))[0]["label"].tolist() == [1, 1]

    def test_lists_and_wide_files(self):
        lists = pd.DataFrame(
            [("p", "Oak", "Elm", [1, 2]), ("p", "Elm", "Oak", [-1, 2])],
            columns=["prompt", "response_1", "response_2", "labels"],
        )
        labels, items, excluded = self.tabulated(lists)
        assert len(items) == 1 and labels["label"].tolist() == [1, 2, 1, -2] and excluded.empty
        wide = lists.drop(columns="labels").assign(r1=[1, None], r2=[None, -1])
        labels, items, _ = self.tabulated(wide, label_columns=["r1", "r2"])
        assert len(items) == 1 and labels["label"].tolist() == [1, 1]

    def test_an_annotator_who_saw_both_orders_counts_once(self):
        frame = pd.DataFrame(self.ROWS[:2], columns=self.NAMES).assign(annotator="a")
        labels, _, excluded = self.tabulated(frame)
        assert labels["label"].tolist() == [1]
        assert excluded["reason"].tolist() == ["annotator labelled the item before: first kept"]

    def test_swapping_any_rows_changes_no_agreement(self):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            [(f"p{i}", f"a{i}", f"b{i}", f"w{w}", int(rng.integers(-2, 3))) for i in range(20) for w in range(4)],
            columns=self.NAMES,
        )
        swap = rng.random(len(frame)) < 0.5
        swap[frame.groupby("prompt").cumcount() == 0] = False  # the first row says which side is the first
        other = frame.copy()
        other.loc[swap, ["response_1", "response_2"]] = frame.loc[swap, ["response_2", "response_1"]].to_numpy()
        other.loc[swap, "label"] *= -1
        for one, two in zip(self.tabulated(frame)[:2], self.tabulated(other)[:2], strict=True):
            pd.testing.assert_frame_equal(one, two)


class TestScale:
    """Labels of another scale than was said are no noise."""

    def long(self, labels, **more):
        n = len(labels)
        rows = {"prompt": [f"p{i // 4}" for i in range(n)], "response_1": [f"a{i // 4}" for i in range(n)]}
        return pd.DataFrame(rows | {"annotator": [f"w{i % 4}" for i in range(n)], "label": labels} | more)

    def tabulated(self, labels, scale, item_type="absolute", **options):
        more = {} if item_type == "absolute" else {"response_2": "b"}
        return rating_labels.tabulate(rating_labels.unroll(self.long(labels, **more)), item_type, scale, **options)

    @pytest.mark.parametrize(
        "labels",
        [
            [1, 2, 3, 4, 5, 6, 7] * 6, [0, 1, 2, 3, 4] * 6, list(range(1, 11)) * 4, ["Good", "1", "2"] * 9,
            [1.5, 2.0, 2.5, 3.0] * 5, ["99", *["3"] * 20, "99"], [1, 2, "n/a", "n/a"], [10, 20, 30, 3] * 6,
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("as_text", [False, True])
    def test_a_value_that_recurs_off_the_scale_is_refused(self, labels, as_text):
        with pytest.raises(ValueError, match=r"scale of the ratings is \[1, 2, 3, 4, 5\], but .*`ratings_scale`"):
            self.tabulated(list(map(str, labels)) if as_text else labels, SCALE)

    @pytest.mark.parametrize("labels", [[1, 2] * 8, [1, 2, 2] * 6, ["1", "2"] * 8, [-1, -2] * 8])
    def test_labels_of_pairs_that_name_one_side_only_are_refused(self, labels):
        scale = [-2, -1, 0, 1, 2]
        with pytest.raises(ValueError, match=r"no label says that the other response is.*`pairs_values`"):
            self.tabulated(labels, scale, "pairs")
        found = self.tabulated(labels, scale, "pairs", label_values={"1": 1, "2": -1, "-1": 1, "-2": -1})[0]
        assert set(found["label"]) == {1, -1}

    @pytest.mark.parametrize(
        "labels", [[0, 1] * 8, [0, 1, 2] * 6, ["0", "1"] * 3, [1, 2] * 3, [0, -1] * 4, [0, 0, 0, 2]]
    )
    @pytest.mark.parametrize("n_turned", [0, 3])
    def test_labels_of_pairs_that_are_never_negative_are_refused(self, labels, n_turned):
        frame = self.long(labels, response_2="b")
        turned = frame.index < n_turned
        frame.loc[turned, ["response_1", "response_2"]] = frame.loc[turned, ["response_2", "response_1"]].to_numpy()
        with pytest.raises(ValueError, match=r"no label says that the other response is.*`pairs_values`"):
            rating_labels.tabulate(rating_labels.unroll(frame), "pairs", [-2, -1, 0, 1, 2])
        as_they_are = {str(label): int(label) for label in labels}
        declared = [{"0": -1, "1": 1, "2": 1, "-1": 1}, as_they_are]
        for values in declared:
            rating_labels.tabulate(rating_labels.unroll(frame), "pairs", [-2, -1, 0, 1, 2], label_values=values)

    def test_ties_alone_are_ties(self):
        assert set(self.tabulated([0] * 8, [-1, 0, 1], "pairs")[0]["label"]) == {0}

    @pytest.mark.parametrize(
        "labels", [[1.0, 2.0, None], ["1.0", "2.0", ""], ["1", "2", None], [1, 2, None], ["1,0", 2, ""]]
    )
    def test_values_are_found_however_a_label_is_written(self, labels):
        found = self.tabulated(labels, [-2, -1, 0, 1, 2], "pairs", label_values={"1": 1, "2": -1})[0]
        assert found["label"].tolist() == [1, -1]

    @pytest.mark.parametrize(
        "scale",
        [["A", "B", "tie"], ["tie", "A", "B"], ["B", "A", "draw"], ["A", "tie", "B"], ["A", "B"], ["B", "unclear", "A"],
         ["B", "tie", "both bad", "A"], ["first", "equal", "second"], ["model_a", "tie", "model_b"], [0, 1, 2],
         [-1, 0, 2], [-2, -1, 0], [-1, 0, 1, 2]],
    )  # fmt: skip
    def test_a_scale_of_pairs_without_the_tie_in_its_middle_is_refused(self, scale):
        with pytest.raises(ValueError, match=r"scale of the pairs is .* the tie, if there is one, in the middle"):
            self.tabulated([scale[0]] * 3, scale, "pairs")

    @pytest.mark.parametrize(
        "scale",
        [["B", "tie", "A"], ["second", "Equal", "first"], ["B", "A"], ["B better", "about the same", "A better"],
         ["model_b", "no preference", "model_a"], [1, 2], [0, 1], [1, 2, 3, 4, 5], [-1, 1], ["-1", "0", "1"]],
    )  # fmt: skip
    def test_other_scales_of_pairs_are_mirrored_about_their_middle(self, scale):
        frame = self.long([scale[0], scale[0], *scale[1:]], response_2="b").assign(prompt="p", response_1="a")
        frame.loc[1, ["response_1", "response_2"]] = ["b", "a"]
        frame["annotator"] = [f"w{i}" for i in frame.index]
        labels = rating_labels.tabulate(rating_labels.unroll(frame), "pairs", scale)[0]["label"].tolist()
        numbers = rating_labels.numbers(scale)
        assert labels == [numbers[0], numbers[-1], *numbers[1:]]

    @pytest.mark.parametrize("scale", [[1, 2, 2, 3], [1, "1", 2], ["1.0", 1, 2], ["no", "yes", "no"]])
    def test_a_scale_that_repeats_a_value_is_refused(self, scale):
        with pytest.raises(ValueError, match="repeats"):
            self.tabulated([1, 2], scale)
        with pytest.raises(ValueError, match="two values or more"):
            self.tabulated([1, 2], scale[:1])

    def test_labels_mostly_off_the_scale_are_refused_though_none_recurs(self):
        slider = [round(1.234 + 0.417 * i, 3) for i in range(200)]
        with pytest.raises(ValueError, match=r"200 of 220 labels are not: .*`ratings_scale`"):
            self.tabulated([*slider, *[1, 2, 3, 4, 5] * 4], SCALE)

    @pytest.mark.parametrize(("n_off", "is_partial"), [(40, True), (6, True), (4, False)])
    def test_a_share_off_the_scale_makes_the_run_partial_though_no_value_recurs(self, n_off, is_partial):
        off = [round(6.123 + 0.417 * i, 3) for i in range(n_off)]
        labels, _, excluded = self.tabulated([*off, *[3, 4] * ((100 - n_off) // 2)], SCALE)
        sentence = rating_labels.off_scale(excluded, len(labels) + len(excluded))
        assert sentence == (f"{n_off} of 100 labels have values off the scale" if is_partial else None)

    def test_codes_of_one_two_and_three_are_refused(self):
        with pytest.raises(ValueError, match="scale of the pairs"):
            self.tabulated([1, 2, 3] * 8, [-2, -1, 0, 1, 2], "pairs")

    @pytest.mark.parametrize("labels", [[1, 0, 2] * 6, [1, 1, 1, 1] * 4, [1, -1] * 8, [1, 2, 1]])
    def test_labels_that_may_be_right_are_read(self, labels):
        if 0 in labels:
            labels = [*labels, -1]
        assert len(self.tabulated(labels, [-2, -1, 0, 1, 2], "pairs")[0]) == len(labels)

    @pytest.mark.parametrize(
        "scale", [["1", "2", "3", "4", "5"], ["1.0", "2", 3, "4", 5], [1, 2, 3, 4, 5], ["'1'", 2, 3, 4, 5][1:]]
    )
    @pytest.mark.parametrize(
        "labels", [[2, 3, 4], ["2", "3", "4"], ["'2'", '"3"', " 4 "], [2.0, 3.0, 4.0], ["2,0", "3", "4"]]
    )
    def test_quotes_around_numbers_change_nothing(self, scale, labels):
        assert self.tabulated(labels, scale)[0]["label"].tolist() == [2, 3, 4]
        assert rating_labels.numbers(scale)[-1] == 5

    def test_a_label_that_says_nothing_is_missing(self):
        labels, _, excluded = self.tabulated(["99", "3", "99", "4"], SCALE, label_values={99: None})
        assert labels["label"].tolist() == [3, 4] and excluded["reason"].tolist() == ["label missing"] * 2

    def test_few_that_recur_make_the_run_partial(self):
        labels, _, excluded = self.tabulated([*[3, 4] * 200, 33, 33], SCALE)
        sentence = "2 of 402 labels have values off the scale that recur"
        assert rating_labels.off_scale(excluded, len(labels) + len(excluded)) == sentence
        assert rating_labels.off_scale(excluded.head(1), 400) is None

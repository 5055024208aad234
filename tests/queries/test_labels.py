"""Labels by source: the release, somebody's file, and a model asked through the store."""

import json
from types import MappingProxyType

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from released import label as label_of
from released import released_rows, write_released

from hivemind_utils.llm import labeling
from hivemind_utils.queries import headlines, open_endedness, wildchat
from hivemind_utils.queries import labels as query_labels
from hivemind_utils.tables import files
from hivemind_utils.tables.study import Study


class TestReleased:
    def test_nulls_missing_keys_and_repeats_lose_nothing_else(self, tmp_path):
        queries, votes, categories, unreadable = query_labels.read_released([write_released(tmp_path / "r.parquet")])
        assert unreadable == 2 and len(queries) == len(votes) == len(categories) == len(released_rows()) - 2
        made = open_endedness.tally(queries, votes, "released").set_index("original")
        assert made.loc["what is 2 + 2", "response_type"] == "closed"
        assert made.loc["tell me something", "why_dropped"] == "no valid label"
        assert made.loc["tell me more", "response_type"] == "open"
        assert made.loc["a question without messages", "response_type"] == "open"
        assert made.loc["write a poem about stone number 0", "revised"] == "Write a poem about stone number 0."

    def test_ids_are_those_of_the_filter(self, tmp_path):
        queries = query_labels.read_released([write_released(tmp_path / "r.parquet")])[0]
        assert wildchat.query_id("closed", " what is 2 + 2 \n") in set(queries["query_id"])

    def test_columns_kept_as_json_text_read_alike(self, tmp_path):
        rows = [{k: v if k == "conversation_id" or v is None else json.dumps(v) for k, v in row.items()}
                for row in released_rows()]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "text.parquet")
        as_text = query_labels.read_released([tmp_path / "text.parquet"])
        nested = query_labels.read_released([write_released(tmp_path / "r.parquet")])
        made, expected = (open_endedness.tally(r[0], r[1], "x").drop(columns="raw") for r in (as_text, nested))
        pd.testing.assert_frame_equal(made, expected)

    def test_missing_columns_are_named(self, tmp_path):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="lm_judge_annotation"):
            query_labels.read_released([tmp_path / "a.parquet"])
        with pytest.raises(ValueError, match="Parquet"):
            query_labels.read_released([tmp_path / "a.csv"])


def write_labels(path, told):
    frame = pd.DataFrame({"asked": [f"Why {i}?" for i in range(len(told))], "open": pd.Series(told)})
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


class TestImported:
    COLUMNS = MappingProxyType(
        {"original": "asked", "open_ended": "meta.reply.open", "revised": "text", "conversation_id": "id"}
    )

    def test_nested_names_are_reached(self, tmp_path):
        rows = [
            {"id": "a", "asked": " why ", "text": "Why?", "meta": {"reply": {"open": True}}},
            {"id": "b", "asked": "what", "text": None, "meta": {"reply": {"open": False}}},
            {"id": "c", "asked": "who", "meta": {}},
            {"id": "d", "asked": "  "},
            {"id": "a", "asked": "why"},
        ]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
        queries, votes, unreadable = query_labels.read_imported([tmp_path / "a.jsonl"], self.COLUMNS)
        assert unreadable == 2  # one without a text, one repeat
        made = open_endedness.tally(queries, votes, "file").set_index("conversation_id")
        assert made["response_type"].to_dict() == {"a": "open", "b": "closed", "c": "dropped"}
        assert made["revised"].to_dict() == {"a": "Why?", "b": "what", "c": "who"}

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    @pytest.mark.parametrize(
        ("told", "kinds"),
        [
            (["true ", "Y", "No ", "T", "FALSE", "f"], "oococc"),
            ([True, False], "oc"),
            ([1, 0], "oc"),
            ([1.0, 0.0, None], "ocd"),
            (["Y", "N", "", "n/a", None], "ocddd"),
        ],
    )
    def test_yes_and_no_are_read_in_every_spelling(self, tmp_path, suffix, told, kinds):
        path = write_labels(tmp_path / f"a.{suffix}", told)
        queries, votes, unreadable = query_labels.read_imported([path], {"original": "asked", "open_ended": "open"})
        made = open_endedness.tally(queries, votes, "file").sort_values("original")["response_type"]
        assert "".join(kind[0] for kind in made) == kinds and unreadable == 0

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    @pytest.mark.parametrize(
        ("told", "message"),
        [
            (["yes", "ja"], r"`open_ended` must be one of .* but \['ja'\] was found \(first in row 2\)"),
            (["0.5", "1"], r"\['0\.5'\] was found \(first in row 1\)"),
            ([None, None], "None of the rows says yes or no in 'open'"),
        ],
    )
    def test_what_is_neither_yes_nor_no_is_refused(self, tmp_path, suffix, told, message):
        path = write_labels(tmp_path / f"a.{suffix}", told)
        with pytest.raises(ValueError, match=message):
            query_labels.read_imported([path], {"original": "asked", "open_ended": "open"})

    def test_what_is_missing_is_named(self, tmp_path):
        with pytest.raises(ValueError, match="open_ended"):
            query_labels.read_imported([], {"original": "asked"})
        with pytest.raises(ValueError, match="opened"):
            query_labels.read_imported([], {"opened": "asked"})


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    (tmp_path / "question.txt").write_text("Is it open? $query")
    return Study("02", "p", 0)


KEPT = pd.DataFrame({"query_id": ["b", "a"], "conversation_id": ["y", "x"], "text": ["B?", "A?"]})
ASKED = query_labels.Labeller("simulated/x", "question.txt", votes=2)


class TestAsk:
    def ask(self, study, monkeypatch, valid, failures=(), missing=(), **options):
        asked = []

        def label(items, instructions, schema, model, **others):
            asked.append((items["item_id"].tolist(), instructions, model, others))
            columns = ["item_id", "vote", "value", "raw"]
            return labeling.Labels(
                pd.DataFrame([(i, v, label_of(), "{}") for i, v in valid], columns=columns),
                pd.DataFrame(
                    [(i, v, "no JSON", "?") for i, v in failures], columns=["item_id", "vote", "reason", "raw"]
                ),
                pd.DataFrame([(i, v, "no budget") for i, v in missing], columns=["item_id", "vote", "reason"]),
            )

        monkeypatch.setattr(labeling, "label", label)
        return open_endedness.collect(study, KEPT, "llm", ASKED, **options), asked[0]

    def test_every_query_is_asked_as_often_as_wanted(self, study, monkeypatch):
        labels, (items, instructions, model, options) = self.ask(
            study, monkeypatch, [(q, v) for q in "ab" for v in range(2)]
        )
        assert items == ["a", "b"] and instructions == "Is it open? $query" and model == "simulated/x"
        assert options["votes"] == 2 and options["seed"] == 0 and options["budget_usd"] == 0
        assert labels.describe() == "4 labels of 2 queries by simulated/x; 2 votes per query"
        assert labels.failures.empty and labels.missing.empty and "partial" not in study.stamp
        assert headlines.labeller(labels) == "The labeller simulated/x gave a valid label for each of 4 votes"

    def test_only_so_many_are_asked_those_with_the_smallest_ids(self, study, monkeypatch):
        assert self.ask(study, monkeypatch, [("a", 0)], n_queries=1)[1][0] == ["a"]

    def test_what_is_missing_makes_the_run_partial_and_what_failed_is_kept(self, study, monkeypatch):
        labels, _ = self.ask(study, monkeypatch, [("a", 0)], [("a", 1)], [("b", 0), ("b", 1)])
        assert labels.queries["query_id"].tolist() == ["a"] and labels.failures["query_id"].tolist() == ["a"]
        assert study.stamp["partial"] == "2 of 4 votes are missing (no budget)"
        assert "1 response stayed invalid; 2 votes missing" in labels.describe()
        assert headlines.labeller(labels) == (
            "The labeller simulated/x gave no valid label for 75 % of 4 votes, mostly because: no budget"
        )

    def test_no_label_at_all_is_an_error_that_says_why(self, study, monkeypatch):
        with pytest.raises(ValueError, match=r"4 of 4 votes are missing \(no budget\)"):
            self.ask(study, monkeypatch, [], [], [(q, v) for q in "ab" for v in range(2)])


class TestCollect:
    def test_released_labels_of_another_message_are_counted(self, study, tmp_path):
        write_released(tmp_path / "r.parquet")
        queries, votes, _, _ = query_labels.read_released([tmp_path / "r.parquet"])
        text_of = queries.set_index("query_id")["text"]
        own = [
            value and value | {"original_query": text_of[q].upper()} for q, value in votes[["query_id", "value"]].values
        ]
        assert query_labels.other_messages(queries, votes.assign(value=own)) == 0
        own[0] = own[0] | {"original_query": "good evening!"}
        assert query_labels.other_messages(queries, votes.assign(value=own)) == 1
        labels = open_endedness.collect(study, queries, "released", ASKED, paths="r.parquet")
        assert f"{labels.n_other} labels whose `original_query` is another message" in labels.describe()
        assert labels.n_other > 10 and headlines.labeller(labels) == ""  # made up: all repeat "why is that"

    def test_released_labels_of_unfiltered_queries_are_counted_and_dropped_unless_wanted(self, study, tmp_path):
        write_released(tmp_path / "r.parquet")
        queries = query_labels.read_released([tmp_path / "r.parquet"])[0]
        labels = open_endedness.collect(study, queries.head(4), "released", ASKED, paths="r.parquet")
        assert len(labels.queries) == len(labels.votes) == 4
        assert labels.n_unfiltered == len(queries) - 4 and labels.n_unreadable == 2 and labels.n_votes == 1
        assert study.stamp == {"source": "released", "origin": "r.parquet"} and "release" in labels.note
        everything = open_endedness.collect(
            study, queries.head(4), "released", ASKED, paths=["r.parquet"], keep_unfiltered=True
        )
        assert len(everything.queries) == len(queries)

    def test_imported_labels_pass_the_same_way(self, study, tmp_path):
        (tmp_path / "a.csv").write_text("asked,open\nwhy,yes\nwhat,no\n")
        columns = {"original": "asked", "open_ended": "open"}
        kept = pd.DataFrame({"query_id": [wildchat.query_id(query_labels.ids.text_id("why"), "why")]})
        labels = open_endedness.collect(study, kept, "imported", ASKED, paths="a.csv", columns=columns)
        assert labels.queries["text"].tolist() == ["why"] and labels.n_unfiltered == 1
        with pytest.raises(ValueError, match="share no query"):
            open_endedness.collect(study, KEPT, "imported", ASKED, paths="a.csv", columns=columns)

    def test_unknown_sources_and_sources_without_files_are_refused(self, study):
        with pytest.raises(ValueError, match="must be demo, llm, released or imported"):
            open_endedness.collect(study, KEPT, "people", ASKED)
        with pytest.raises(ValueError, match="labels_path"):
            open_endedness.collect(study, KEPT, "released", ASKED)

"""Labels of open-endedness: what follows from them, votes, and the doors they come in by."""

import json
from types import MappingProxyType

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from released import label, released_rows, write_released

from hivemind_utils.llm import labeling
from hivemind_utils.queries import open_endedness, wildchat
from hivemind_utils.queries.open_endedness import Label, outcome
from hivemind_utils.tables import schema


class TestLabel:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (label(), ("open", None)), (label(kind="Single"), ("closed", None)),
            (label(False, None, None), ("dropped", "no meaningful information")),
            (label(False, True, None), ("dropped", "greeting or question about the model")),
            (label(True, True, None), ("dropped", "greeting or question about the model")),
            (label(kind=None), ("dropped", "no response type")), ({}, ("dropped", "no response type")),
            (None, ("dropped", "no valid label")), ({"response_type": None}, ("dropped", "no response type")),
            ({"response_type": {"classification": "Multiple"}}, ("open", None)),
            ({"response_type": {}, "meaningful_information": {}}, ("dropped", "no response type")),
            ({"response_type": {"classification": "Many"}}, ("dropped", "no response type")),
        ],
    )  # fmt: skip
    def test_outcome_of_labels_whole_and_with_missing_keys(self, given, expected):
        assert outcome(given) == expected

    def test_the_schema_takes_the_four_cases_of_the_prompt(self):
        for given in (label(), label(kind="Single"), label(False, True, None), label(False, None, None)):
            assert outcome(Label.model_validate(given).model_dump(mode="json")) == outcome(given)

    @pytest.mark.parametrize(
        "change",
        [{"response_type": None}, {"response_type": {"reasoning": "", "classification": "Many"}},
         {"meaningful_information": None}, {"original_query": None}],
    )  # fmt: skip
    def test_the_schema_refuses_what_is_incomplete(self, change):
        with pytest.raises(ValidationError):
            Label.model_validate(label() | change)

    def test_an_error_tells_the_labeller_what_to_mend(self):
        value, error = labeling.parse(json.dumps(label(kind=None)), Label)
        assert value is None and "response_type" in error


class TestTally:
    QUERIES = pd.DataFrame({"query_id": ["a", "b", "c"], "conversation_id": ["x", "y", "z"], "text": ["A", "B", "C"]})

    def tally(self, votes):
        rows = [(q, v, value, json.dumps(value)) for q, v, value in votes]
        made = open_endedness.tally(
            self.QUERIES, pd.DataFrame(rows, columns=["query_id", "vote", "value", "raw"]), "me"
        )
        schema.validate(made.assign(rewrite_cosine=1.0), "02_open_ended")
        return made.set_index("query_id")

    def test_the_majority_wins_and_the_share_stays(self):
        made = self.tally([("a", 0, label()), ("a", 1, label(kind="Single")), ("a", 2, label())])
        assert made.loc["a", "response_type"] == "open" and made.loc["a", "open_share"] == pytest.approx(2 / 3)
        assert made.loc["a", "n_votes"] == 3 and len(json.loads(made.loc["a", "raw"])) == 3

    def test_open_needs_more_votes_than_anything_else(self):
        made = self.tally([("a", 0, label()), ("a", 1, label(kind="Single"))])
        assert made.loc["a", "response_type"] == "closed" and made.loc["a", "open_share"] == 0.5

    def test_a_query_without_valid_votes_is_dropped_with_the_reason(self):
        made = self.tally([("a", 0, None)])
        assert made["why_dropped"].tolist() == ["no valid label"] * 3 and made["open_share"].isna().all()

    def test_a_rewrite_is_taken_from_a_vote_of_the_majority(self):
        votes = [("a", 0, label(kind="Single", revised="No.")), ("a", 1, label()), ("a", 2, label(revised=" Yes. "))]
        made = self.tally(votes)
        assert made.loc["a", "revised"] == "Yes." and made.loc["b", "revised"] == "B"

    def test_the_order_of_votes_does_not_matter(self):
        votes = [("a", v, label(kind=k, revised=r)) for v, k, r in [(0, "Multiple", "one"), (1, "Multiple", "two")]]
        pd.testing.assert_frame_equal(self.tally(votes), self.tally(votes[::-1]))


class TestReleased:
    def test_nulls_missing_keys_and_repeats_lose_nothing_else(self, tmp_path):
        queries, votes, categories, unreadable = open_endedness.read_released([write_released(tmp_path / "r.parquet")])
        assert unreadable == 2 and len(queries) == len(votes) == len(categories) == len(released_rows()) - 2
        made = open_endedness.tally(queries, votes, "released").set_index("original")
        assert made.loc["what is 2 + 2", "response_type"] == "closed"
        assert made.loc["tell me something", "why_dropped"] == "no valid label"
        assert made.loc["tell me more", "response_type"] == "open"
        assert made.loc["a question without messages", "response_type"] == "open"
        assert made.loc["write a poem about stone number 0", "revised"] == "Write a poem about stone number 0."

    def test_ids_are_those_of_the_filter(self, tmp_path):
        queries = open_endedness.read_released([write_released(tmp_path / "r.parquet")])[0]
        assert wildchat.query_id("closed", " what is 2 + 2 \n") in set(queries["query_id"])

    def test_columns_kept_as_json_text_read_alike(self, tmp_path):
        rows = [{k: v if k == "conversation_id" or v is None else json.dumps(v) for k, v in row.items()}
                for row in released_rows()]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "text.parquet")
        as_text = open_endedness.read_released([tmp_path / "text.parquet"])
        nested = open_endedness.read_released([write_released(tmp_path / "r.parquet")])
        made, expected = (open_endedness.tally(r[0], r[1], "x").drop(columns="raw") for r in (as_text, nested))
        pd.testing.assert_frame_equal(made, expected)

    def test_missing_columns_are_named(self, tmp_path):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="lm_judge_annotation"):
            open_endedness.read_released([tmp_path / "a.parquet"])
        with pytest.raises(ValueError, match="Parquet"):
            open_endedness.read_released([tmp_path / "a.csv"])


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
        queries, votes, unreadable = open_endedness.read_imported([tmp_path / "a.jsonl"], self.COLUMNS)
        assert unreadable == 2  # one without a text, one repeat
        made = open_endedness.tally(queries, votes, "file").set_index("conversation_id")
        assert made["response_type"].to_dict() == {"a": "open", "b": "closed", "c": "dropped"}
        assert made["revised"].to_dict() == {"a": "Why?", "b": "what", "c": "who"}

    def test_what_is_missing_is_named(self, tmp_path):
        with pytest.raises(ValueError, match="open_ended"):
            open_endedness.read_imported([], {"original": "asked"})
        with pytest.raises(ValueError, match="opened"):
            open_endedness.read_imported([], {"opened": "asked"})

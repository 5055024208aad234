"""Labels of open-endedness: what follows from them, votes, rewrites, and what annotators say."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from released import label

from hivemind_utils.llm import labeling
from hivemind_utils.queries import open_endedness
from hivemind_utils.queries.open_endedness import Label, outcome
from hivemind_utils.tables import schema
from hivemind_utils.tables.paper import Paper


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


def open_ended_table(outcomes, open_shares=None):
    """Table 02_open_ended with one row per outcome, texts ``text 0``, …"""
    n = len(outcomes)
    frame = pd.DataFrame({"query_id": [f"q{i}" for i in range(n)], "conversation_id": "c",
                          "original": [f"text {i}" for i in range(n)], "revised": [f"text {i}" for i in range(n)],
                          "response_type": outcomes, "rewrite_cosine": 1.0, "n_votes": 3, "labeller": "x", "raw": "[]",
                          "why_dropped": ["greeting" if o == "dropped" else None for o in outcomes],
                          "open_share": open_shares or [float(o == "open") for o in outcomes]})  # fmt: skip
    schema.validate(frame, "02_open_ended")
    return frame


class TestRewrites:
    def test_cosines_stand_where_texts_changed(self):
        table = open_ended_table(["open"] * 3).assign(revised=["text 0", "Text one.", "Text two."])
        assert open_endedness.rewritten_texts(table) == ["text 1", "text 2", "Text one.", "Text two."]
        vectors = np.array([[1, 0], [0, 2], [1, 1], [0, 1]], np.float32)
        found = open_endedness.with_rewrite_cosines(table, vectors)
        assert found["rewrite_cosine"].tolist() == pytest.approx([1, np.sqrt(0.5), 1])
        assert open_endedness.largest_rewrites(found, 1)["revised"].tolist() == ["Text one."]

    def test_nothing_was_rewritten(self):
        table = open_ended_table(["open", "closed"])
        assert open_endedness.rewritten_texts(table) == []
        assert (open_endedness.with_rewrite_cosines(table, np.empty((0, 0)))["rewrite_cosine"] == 1).all()


class TestCounts:
    def test_outcomes_are_counted_by_reason_next_to_the_papers_shares(self):
        counts = open_endedness.outcome_counts(open_ended_table(["open"] * 3 + ["dropped"]), Paper())
        assert counts[["outcome", "reason", "n"]].values.tolist() == [["open", "", 3], ["dropped", "greeting", 1]]
        paper = Paper()
        total = sum(paper.number(name) for name in ("open_ended", "closed_ended", "dropped"))
        assert counts["published"].iloc[0] == pytest.approx(paper.number("open_ended") / total)
        assert np.isnan(counts["published"].iloc[1])

    def test_shares_and_degrees(self):
        table = open_ended_table(["open", "open", "closed", "dropped"], [1.0, 2 / 3, 1 / 3, None])
        share = open_endedness.open_share(table)
        assert share["share"] == 0.5 and share["n"] == 2 and 0 < share["lower"] < 0.5 < share["upper"] < 1
        assert open_endedness.unsure_share(table) == 0.5
        assert open_endedness.degrees(table)["n"].tolist() == [1, 1, 1]


class TestAnnotators:
    TABLE = open_ended_table(["open"] * 4 + ["closed"] * 2)

    def annotations(self, votes, alternatives="3 to 10"):
        """One row per query and annotator, from strings of y, n and blank."""
        rows = [(f"q{i}", f"ann{a}", 2.0 if i < 4 else 1.0, {"y": True, "n": False, " ": None}[vote], alternatives)
                for i, word in enumerate(votes) for a, vote in enumerate(word)]  # fmt: skip
        return pd.DataFrame(rows, columns=["query_id", "annotator", "weight", "open_ended", "alternatives"])

    def test_shares_are_of_queries_called_open(self):
        shares = open_endedness.annotated_open_shares(
            self.TABLE, self.annotations(["yyy", "yyn", "nny", "nnn", "yyy", "nnn"])
        )
        assert shares["share"].to_dict() == {"majority": 2 / 4, "any": 3 / 4} and shares["n"].tolist() == [4, 4]
        assert (shares["lower"] < shares["share"]).all() and (shares["share"] < shares["upper"]).all()

    def test_the_labeller_is_scored_against_the_majority_and_ties_are_left_out(self):
        votes = ["yy ", "yy ", "nn ", "yn ", "yy ", "nn "]
        scores = open_endedness.labeller_scores(self.TABLE, self.annotations(votes)).set_index("measure")["value"]
        assert scores["precision"] == pytest.approx(2 / 3)  # q0, q1 of q0, q1, q2: q3 is a tie
        assert scores["recall"] == pytest.approx(4 / 5)  # weights: 2 + 2 of 2 + 2 + 1

    def test_alternatives_stand_next_to_the_papers(self):
        table = open_endedness.alternatives(self.TABLE, self.annotations(["yyy"] * 6), Paper()).set_index("answer")
        assert table["share"].to_dict() == {"fewer than 3": 0, "3 to 10": 1, "10 to 20": 0, "more than 20": 0}
        assert table.loc["3 to 10", "published"] == pytest.approx(Paper().number("alternatives_3_10") / 100)

    def test_without_annotations_every_table_is_empty(self):
        none = self.annotations([])
        tables = [open_endedness.annotated_open_shares(self.TABLE, none),
                  open_endedness.labeller_scores(self.TABLE, none),
                  open_endedness.alternatives(self.TABLE, none, Paper())]  # fmt: skip
        assert all(table.empty for table in tables) and open_endedness.annotator_alphas(none) == {}
        table = open_endedness.figure_table(open_endedness.degrees(self.TABLE), *tables[1:])
        assert table["panel"].unique().tolist() == ["votes"]

"""Titles and answers of notebooks 01 to 03: every number in them, and the empty cases."""

import pandas as pd

from hivemind_utils.queries import headlines
from hivemind_utils.tables.paper import Paper

PAPER = Paper()
WATERFALL = pd.DataFrame(
    [("readable", 100, 98), ("gpt4", 98, 40), ("length", 40, 30), ("exact_duplicates", 30, 28)],
    columns=["rule", "rows_in", "rows_out"],
)
SCORES = pd.DataFrame([("kappa", 0.8, 0.7, 0.9)], columns=["measure", "value", "lower", "upper"])


class TestFilter:
    def test_waterfall(self):
        assert headlines.filter_waterfall(WATERFALL) == "28 of 100 rows are left; the rule “GPT-4” removes most (58)"
        idle = WATERFALL.assign(rows_in=5, rows_out=5)
        assert headlines.filter_waterfall(idle) == "5 of 5 rows are left; no rule removes any"

    def test_sensitivity(self):
        rows = [("min_chars", "1", 50), ("rule left out", "gpt4", 60), ("rule left out", "length", 35),
                ("rule left out", "none", 30)]  # fmt: skip
        table = pd.DataFrame(rows, columns=["bound", "value", "n_queries"])
        expected = "The set depends most on the rule “GPT-4”: 60 messages without it"
        assert headlines.filter_sensitivity(table) == expected
        assert headlines.filter_sensitivity(table.head(1)).startswith("No rule applies")

    def test_answer_holds_the_interval_and_the_papers_count(self):
        share = {"share": 0.3, "lower": 0.2188, "upper": 0.3953, "n": 30, "n_rows": 100}
        interval = "30.0 % (95 % interval 21.9 % to 39.5 %)"
        stated = f"{PAPER.number('candidates'):,.0f}"
        expected = f"**30 of 100 rows** pass all filters: **{interval}** (paper: {stated} queries)"
        assert headlines.filtered(share, PAPER) == expected

    def test_repeats_and_unreadable_rows(self):
        repeats = pd.DataFrame({"rule": ["exact_duplicates", "near_duplicates", "near_duplicates"]})
        assert headlines.repeats(repeats) == "1 exact repeat and 2 near-repeats were removed"
        assert headlines.repeats(repeats.head(0)) == "0 exact repeats and 0 near-repeats were removed"
        bad = pd.DataFrame({"reason": ["no user turn", "broken Unicode"], "n_rows": [2, 5]})
        assert headlines.unreadable(bad) == "7 rows could not be judged; the most common reason is “broken Unicode” (5)"
        assert headlines.unreadable(bad.head(0)) == "Every row could be read"


class TestOpenEndedness:
    TABLE = pd.DataFrame({"response_type": ["open"] * 3 + ["closed"], "open_share": [1, 2 / 3, 1, 0],
                          "original": list("abcd"), "revised": ["a", "b", "C", "d"],
                          "rewrite_cosine": [1, 1, 0.9, 1]})  # fmt: skip

    def test_outcomes(self):
        assert headlines.query_outcomes(self.TABLE) == "75 % of 4 queries are called open-ended"
        assert headlines.query_outcomes(self.TABLE.head(1)) == "100 % of 1 query is called open-ended"

    def test_answer_holds_the_papers_share(self):
        answer = headlines.called_open(self.TABLE, PAPER)
        assert answer.startswith("**75 % (95 % interval 30 % to 95 %)** of 4 queries") and "(paper: 70 %)" in answer

    def test_votes_and_agreement(self):
        agrees = "the labeller agrees with annotators by kappa = 0.80 (95 % interval 0.70 to 0.90)"
        assert headlines.open_endedness(self.TABLE, SCORES, 3) == f"Votes differ for 25 % of queries; {agrees}"
        unknown = "One vote per query; agreement of the labeller with annotators is unknown"
        assert headlines.open_endedness(self.TABLE, SCORES.head(0), 1) == unknown

    def test_annotators_and_rewrites(self):
        shares = pd.DataFrame({"share": [0.9], "lower": [0.8], "upper": [0.95]}, index=["majority"])
        found = headlines.annotators_agree(shares, PAPER)
        assert "calls 90 % (95 % interval 80 % to 95 %) of these" in found and found.endswith(PAPER("majority_open"))
        assert headlines.annotators_agree(shares.head(0), PAPER) == ""
        assert headlines.rewrites(self.TABLE) == "25 % of queries were rewritten; mean cosine with the original 0.90"
        assert headlines.rewrites(self.TABLE.head(2)) == "No query was rewritten"


class TestTaxonomy:
    SHARES = pd.DataFrame({"category": ["Recommendations", "Baking"], "n": [30, 0], "share": [0.3, 0.0],
                           "lower": [0.22, 0.0], "upper": [0.4, 0.04]})  # fmt: skip

    def test_largest_category_with_and_without_a_published_share(self):
        assert headlines.taxonomy(self.SHARES) == "Recommendations is the largest of 1 category: 30 %"
        found = headlines.largest_category(self.SHARES, PAPER)
        assert "Recommendations: **30 % (95 % interval 22 % to 40 %)** of" in found
        assert found.endswith(PAPER("category_recommendations"))
        own = self.SHARES.assign(category=["Cheese", "Baking"])
        assert headlines.largest_category(own, PAPER).endswith("(paper: not reported)")

    def test_cooccurrence(self):
        pairs = pd.DataFrame({"a": ["A", "A"], "b": ["B", "C"], "n": [7, 2], "lift": [3.5, 9.0]})
        expected = "A and B occur together most often: 7 queries, 3.5 times chance"
        assert headlines.category_cooccurrence(pairs) == expected
        assert headlines.category_cooccurrence(pairs.head(0)).startswith("Fewer than two categories")

    def test_trends(self):
        rows = [("quarter", "Q1", "A", 0.1), ("quarter", "Q2", "A", 0.3), ("model", "m", "B", 0.5)]
        trends = pd.DataFrame(rows, columns=["by", "group", "category", "share"])
        assert headlines.category_trends(trends) == "A varies most: by 20 percentage points across quarters"
        assert headlines.category_trends(trends.head(0)).startswith("Neither times nor models")

    def test_new_categories(self):
        groups = pd.DataFrame({"merged": ["Trips", "Ethics"], "spellings": [3, 1], "n": [5, 2]})
        assert headlines.novel_categories(groups) == "4 names of new categories make 2 categories; the largest is Trips"
        assert headlines.novel_categories(groups.head(0)) == "The labeller named no new category"

    def test_numbers_per_query_and_agreement_are_next_to_the_papers(self):
        found = headlines.categories_per_query({"value": 1.5, "lower": 1.4, "upper": 1.6}, PAPER)
        assert "1.50 (95 % interval 1.40 to 1.60)" in found and found.endswith(PAPER("labels_per_query"))
        found = headlines.annotators_accept({"share": 0.9, "lower": 0.8, "upper": 1.0}, PAPER)
        assert "90 % (95 % interval 80 % to 100 %)" in found and found.endswith(PAPER("taxonomy_agreement"))
        assert headlines.annotators_accept({}, PAPER) == ""

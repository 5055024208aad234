"""Numbers that the claims quote: every place that ``claims.csv`` names in notebooks 01 to 03 is filled."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.pipeline.claims import find
from hivemind_utils.queries import open_endedness, results, taxonomy, wildchat
from hivemind_utils.queries.labels import given
from hivemind_utils.tables import paper

WATERFALL = pd.DataFrame({"rule": ["length", "exact_duplicates"], "rows_in": [10, 6], "rows_out": [6, 5]})
SENSITIVITY = pd.DataFrame(
    [("min_chars", "1", 8), ("max_chars", "100000", 7), ("rule left out", "length", 9), ("rule left out", "none", 6)],
    columns=["bound", "value", "n_queries"],
)
BAD = pd.DataFrame({"reason": ["no user turn"], "n_rows": [2], "example": ["x"]})
REPEATS = pd.DataFrame({"rule": ["exact_duplicates"], "query_id": ["a"], "kept_id": ["b"], "text": ["t"]})
QUERIES = pd.DataFrame({"query_id": list("abcde"), "n_chars": [20, 30, 40, 50, 60]})


def check(numbers, number):
    """Every place of a claim of this notebook holds a number."""
    named = {place for text in paper.claims()["result"] for place in text.split("|") if place.startswith(f"{number}:")}
    assert named
    for place in named:
        assert find(numbers, place.removeprefix(f"{number}:"))[0] is not None, place


@pytest.mark.parametrize("count", [None, 37])
def test_filter(count):
    numbers = results.filtered(wildchat.with_published(WATERFALL, count), BAD, REPEATS, SENSITIVITY, QUERIES)
    check(numbers, "01")
    assert numbers["published_candidates"] == count and numbers["n_kept_paper_rules"] == 6
    assert (numbers["n_too_short"], numbers["n_too_long"], numbers["n_exact_duplicates"]) == (2, 1, 1)
    assert numbers["without_rule"] == {"length": 9} and numbers["median_chars"] == 40


def test_share_kept_is_of_all_rows_before_repeats_are_removed():
    share = wildchat.share_kept(WATERFALL)
    assert share["share"] == 0.6 and share["n"] == 6 and share["n_rows"] == 10
    assert share["lower"] < 0.6 < share["upper"]


def test_examples_show_what_was_kept():
    shown = wildchat.examples(REPEATS, pd.DataFrame({"query_id": ["b"], "text": ["T!"]}))
    assert shown.to_dict("records") == [{"rule": "exact_duplicates", "text": "t", "kept": "T!"}]


def test_classified():
    outcomes = ["open", "open", "closed", "dropped"]
    table = pd.DataFrame({"query_id": list("abcd"), "response_type": outcomes, "open_share": [1.0, 1.0, 0.0, None],
                          "why_dropped": [None, None, None, "greeting"], "original": list("abcd"),
                          "revised": ["A", "b", "c", "d"], "rewrite_cosine": [0.7, 1, 1, 1]})  # fmt: skip
    rows = [(q, a, 1.0, yes, "3 to 10") for q, yes in (("a", True), ("b", True), ("c", False)) for a in ("ann", "ben")]
    annotations = pd.DataFrame(rows, columns=["query_id", "annotator", "weight", "open_ended", "alternatives"])
    facts = [open_endedness.annotated_open_shares(table, annotations),
             open_endedness.alternatives(table, annotations, paper.Paper()),
             open_endedness.labeller_scores(table, annotations)]  # fmt: skip
    labels = given(table, table.assign(vote=0, value=None, raw=""), "x")
    numbers = results.classified(labels, table, annotations, *facts)
    check(numbers, "02")
    assert numbers["counts"] == {"open": 2, "closed": 1, "dropped": 1} and numbers["dropped"] == {"greeting": 1}
    assert numbers["rewrites"] == {"n": 1, "mean_cosine": 0.7, "below_0.8": 1.0}
    nobody = results.classified(labels, table, annotations.head(0), *(frame.head(0) for frame in facts))
    assert nobody["validation"] == {} and nobody["labeller_against_people"] == {}


def test_categorised():
    leaves = taxonomy.load("data/reference/taxonomy.yaml").leaves
    published = np.where(leaves["name"] == "Recommendations", 0.11, np.nan)
    shares = leaves.rename(columns={"name": "category"}).assign(share=0.2, lower=0.1, upper=0.3, alpha=0.5)
    shares["published"] = published
    annotations = pd.DataFrame({"query_id": ["a", "b"], "category": "X", "annotator": "ann", "agree": [True, False]})
    novel = pd.DataFrame({"name": ["Trips", "Travel"], "n": 1, "merged": "Trips", "cosine": 1.0})
    groups = pd.DataFrame({"merged": ["Trips"], "spellings": [2], "n": [2]})
    labels = given(QUERIES, QUERIES, "x")
    agreement = taxonomy.annotator_agreement(annotations)
    numbers = results.categorised(labels, QUERIES, shares, pd.Series([2, 1, 0]), novel, groups, agreement)
    check(numbers, "03")
    assert numbers["labels_per_query"] == 1 and numbers["n_without_category"] == 1 and numbers["n_labelled"] == 3
    assert numbers["n_intervals_with_published"] == 1 and numbers["median_alpha"] == 0.5
    assert (numbers["n_novel_names"], numbers["n_novel_categories"]) == (2, 1)

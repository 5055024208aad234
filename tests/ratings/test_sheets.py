"""Sheets of a study: one response of each cluster, balanced pairs, and the way back into the tables of 08."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.ratings import sheets


class TestPick:
    def test_takes_one_of_every_cluster(self):
        rng = np.random.default_rng(0)
        centres = np.eye(4) * 10
        vectors = np.repeat(centres, 6, axis=0) + 0.1 * rng.normal(size=(24, 4))
        picked = sheets.pick_one_per_cluster(vectors, 4, rng)
        assert sorted(picked // 6) == [0, 1, 2, 3]

    def test_few_responses_are_all_taken(self):
        assert sorted(sheets.pick_one_per_cluster(np.eye(3), 5, np.random.default_rng(0))) == [0, 1, 2]


class TestPairs:
    def test_are_different_and_use_responses_evenly(self):
        pairs = sheets.choose_pairs(15, 10, np.random.default_rng(1))
        assert len({frozenset(pair) for pair in pairs.tolist()}) == 10
        assert set(Counter(pairs.ravel().tolist()).values()) == {1, 2}  # 20 places, 15 responses
        assert 0 < (pairs[:, 0] < pairs[:, 1]).sum() < 10  # either may stand first

    def test_more_pairs_than_there_are_is_an_error(self):
        with pytest.raises(ValueError, match="make 3 pairs"):
            sheets.choose_pairs(3, 4, np.random.default_rng(0))


@pytest.fixture
def pool():
    words = ["river", "train", "candle", "mirror", "thread", "garden", "engine", "letter"]
    return pd.DataFrame(
        [(p, f"a {word} and {n} more") for p in ("p1", "p2") for word in words for n in ("one", "two")],
        columns=["prompt", "response"],
    )


class TestSheets:
    def test_one_of_each_kind_per_prompt_in_an_order_of_the_seed(self, pool):
        made = sheets.sheets(pool, 5, 4, np.random.default_rng(2))
        assert sorted(made) == ["absolute_000", "absolute_001", "pairs_000", "pairs_001"]
        assert [len(made[name]) for name in sorted(made)] == [5, 5, 4, 4]
        again = sheets.sheets(pool.sample(frac=1, random_state=3), 5, 4, np.random.default_rng(2))
        other = sheets.sheets(pool, 5, 4, np.random.default_rng(4))
        assert made["absolute_000"].equals(again["absolute_000"])
        assert not made["absolute_000"].equals(other["absolute_000"])
        rated = set(made["absolute_001"]["response_1"])
        assert set(made["pairs_001"]["response_1"]) | set(made["pairs_001"]["response_2"]) <= rated

    def test_filled_sheets_come_back_into_the_tables_of_08(self, pool, tmp_path):
        made = sheets.sheets(pool, 5, 4, np.random.default_rng(2))
        assert sheets.write_sheets(made, tmp_path) == 4
        for path in tmp_path.glob("absolute_*.csv"):
            blank = pd.read_csv(path, dtype=str, keep_default_na=False)
            filled = [blank.assign(annotator=name, label=str(label)) for name, label in (("ann", 2), ("bo", 5))]
            filled.append(blank.head(2).assign(annotator="ann", label="4"))  # ann sent her sheet twice, in part
            filled.append(blank.head(1).assign(annotator="cy"))  # and cy left his empty
            pd.concat(filled).to_csv(path, index=False)
        assert sheets.write_sheets(made, tmp_path) == 0  # what people filled is never overwritten
        long = rating_labels.read(sorted(tmp_path.glob("absolute_*.csv")))
        labels, items, excluded = rating_labels.tabulate(long, "absolute", [1, 2, 3, 4, 5])
        assert len(items) == 10 and len(labels) == 20
        assert Counter(excluded["reason"]) == {
            "annotator labelled the item before: first kept": 4, "label missing": 2,
        }  # fmt: skip
        assert labels.groupby("annotator")["label"].unique().map(list).to_dict() == {"ann": [2], "bo": [5]}
        assert rating_labels.matrix(labels, items)[1] is not None

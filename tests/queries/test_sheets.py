"""Sheets out and in, and scores of a classifier, against literal counts and textbook values."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, precision_score, recall_score

from hivemind_utils.queries import sheets as query_sheets
from hivemind_utils.tables import files, yes_no
from hivemind_utils.tables.study import Study

ITEMS = pd.DataFrame({"query_id": [f"q{i}" for i in range(40)], "kind": ["open"] * 30 + ["closed"] * 10})
ANSWERS = {"open_ended": yes_no.yes_or_no, "alternatives": query_sheets.alternatives}


def rng():
    return np.random.default_rng(0)


class TestSheet:
    def test_strata_are_drawn_equally_and_weights_count_the_set(self):
        sheet = query_sheets.sheet(ITEMS, 16, rng(), strata="kind")
        kinds = sheet.merge(ITEMS, on="query_id")["kind"].value_counts()
        assert kinds.to_dict() == {"open": 8, "closed": 8} and "kind" not in sheet
        assert sheet["weight"].sum() == pytest.approx(len(ITEMS))
        assert (sheet[["annotator", "open_ended", "alternatives"]] == "").all(axis=None)

    def test_a_small_stratum_is_taken_whole(self):
        sheet = query_sheets.sheet(ITEMS, 30, rng(), strata="kind").merge(ITEMS, on="query_id")
        assert sheet["kind"].value_counts().to_dict() == {"open": 20, "closed": 10}
        assert len(query_sheets.sheet(ITEMS, 999, rng())) == len(ITEMS)

    def test_the_generator_decides_and_nothing_repeats(self):
        sheets = [query_sheets.sheet(ITEMS, 12, np.random.default_rng(seed)) for seed in (0, 0, 1)]
        pd.testing.assert_frame_equal(sheets[0], sheets[1])
        assert sheets[0]["query_id"].tolist() != sheets[2]["query_id"].tolist()
        assert sheets[0]["query_id"].is_unique

    def test_a_sheet_somebody_began_is_not_written_over(self, tmp_path):
        path, columns = tmp_path / "sheets" / "a.csv", ["open_ended", "alternatives"]
        sheet = query_sheets.sheet(ITEMS, 5, rng())
        assert query_sheets.write_sheet(sheet, path, columns) and query_sheets.write_sheet(sheet, path, columns)
        begun = pd.read_csv(path, dtype=str, keep_default_na=False)
        begun.loc[2, "open_ended"] = "yes"
        begun.to_csv(path, index=False)
        before = path.read_bytes()
        assert not query_sheets.write_sheet(sheet, path, columns) and path.read_bytes() == before


class TestReadSheets:
    def write(self, tmp_path, name, rows):
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    def test_files_are_annotators_where_no_name_stands(self, tmp_path):
        rows = [{"query_id": "a", "weight": 2.5, "annotator": "", "open_ended": "Yes ", "alternatives": "3-10"}]
        files = [self.write(tmp_path, f"{name}.csv", rows) for name in ("ann", "ben")]
        table, problems = query_sheets.read_sheets(files, ["query_id"], ANSWERS)
        assert table["annotator"].tolist() == ["ann", "ben"] and problems.empty
        assert table["open_ended"].tolist() == [True, True] and table["weight"].tolist() == [2.5, 2.5]
        assert set(table["alternatives"]) == {"3 to 10"}

    def test_answers_that_cannot_be_read_are_reported_and_lose_nothing_else(self, tmp_path):
        rows = [{"query_id": "a", "annotator": "ann", "open_ended": "perhaps", "alternatives": "25"},
                {"query_id": "b", "annotator": "ann", "open_ended": "", "alternatives": ""},
                {"query_id": "c", "annotator": "ann", "open_ended": "no", "alternatives": "many"},
                {"query_id": "c", "annotator": "ann", "open_ended": "yes", "alternatives": ""}]  # fmt: skip
        table, problems = query_sheets.read_sheets([self.write(tmp_path, "s.csv", rows)], ["query_id"], ANSWERS)
        assert table["query_id"].tolist() == ["a", "c"]
        assert table.loc[0, "alternatives"] == "more than 20" and table["open_ended"].tolist() == [None, False]
        assert problems[["row", "column", "value"]].values.tolist() == [
            [2, "open_ended", "perhaps"], [4, "alternatives", "many"], [5, "annotator", "ann answered twice"],
        ]  # fmt: skip

    def test_no_sheets_are_no_answers_and_missing_columns_are_named(self, tmp_path):
        table, problems = query_sheets.read_sheets([], ["query_id"], ANSWERS)
        assert table.empty and problems.empty and "open_ended" in table
        with pytest.raises(ValueError, match="open_ended"):
            query_sheets.read_sheets([self.write(tmp_path, "s.csv", [{"query_id": "a"}])], ["query_id"], ANSWERS)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [("less than 3", 0), ("fewer than 3", 0), ("<3", 0), ("2", 0), ("3", 1), ("3–10", 1), ("3 to 10", 1), ("10", 1),
         ("11", 2), ("10-20", 2), ("20", 2), ("21", 3), ("more than 20", 3), (">20", 3), ("20+", 3), ("over 20", 3)],
    )  # fmt: skip
    def test_alternatives_in_many_spellings(self, given, expected):
        assert query_sheets.alternatives(given) == query_sheets.ALTERNATIVES[expected]

    @pytest.mark.parametrize("given", ["lots", "3 to 20", "-", "3 or so, perhaps 12"])
    def test_alternatives_that_mean_nothing(self, given):
        with pytest.raises(ValueError, match="Expected one of"):
            query_sheets.alternatives(given)


class TestStudySheets:
    FRAME = pd.DataFrame({"query_id": ["a", "b"], "query": ["A?", "B?"], "weight": 1.0, "annotator": "", "agree": ""})

    @pytest.fixture
    def study(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "root", lambda: tmp_path)
        return Study("03", "p", 0)

    def test_a_sheet_is_offered_once_begun_it_is_left(self, study):
        assert query_sheets.offer(study, "s", self.FRAME, ["agree"]) == "data/p/sheets/s.csv: 2 rows to fill"
        self.FRAME.assign(agree="yes").to_csv(study.folder / "sheets" / "s.csv", index=False)
        assert "already begun" in query_sheets.offer(study, "s", self.FRAME, ["agree"])

    def collect(self, study, **options):
        return query_sheets.collect(study, "s", self.FRAME, ["query_id"], {"agree": yes_no.yes_or_no}, **options)

    def test_files_come_before_the_demos_annotators(self, study, tmp_path, capsys):
        self.FRAME.assign(agree="no", annotator="ann").to_csv(tmp_path / "mine.csv", index=False)

        def fill(frame):
            return frame.assign(agree="yes", annotator="demo")

        assert self.collect(study, paths="mine.csv", fill=fill)[0]["annotator"].unique().tolist() == ["ann"]
        assert self.collect(study, fill=fill)[0]["annotator"].unique().tolist() == ["demo"]
        assert (tmp_path / "data" / "p" / "sheets" / "s_demo.csv").is_file()
        assert "2 annotations of 1 annotator; 0 cells" in capsys.readouterr().out

    def test_nobody_annotates_and_unknown_queries_are_left_out_aloud(self, study, tmp_path, capsys):
        assert self.collect(study)[0].empty
        self.FRAME.assign(agree="no", annotator="ann").to_csv(tmp_path / "mine.csv", index=False)
        found, _ = self.collect(study, paths="mine.csv", known=["b"])
        assert found["query_id"].tolist() == ["b"]
        assert "WARNING: 1 annotation of unknown queries" in capsys.readouterr().out


class TestAnnotators:
    def test_majority_and_ties(self):
        labels = np.array([[1, 1, 0], [0, 0, 1], [1, 0, np.nan], [np.nan] * 3, [1, np.nan, np.nan]])
        np.testing.assert_array_equal(query_sheets.majority(labels), [1, 0, np.nan, np.nan, 1])

    def test_matrix_holds_every_answer_once(self):
        table = pd.DataFrame({"q": ["a", "a", "b"], "annotator": ["x", "y", "x"], "yes": [True, None, False]})
        labels, ids = query_sheets.matrix(table, "q", "yes")
        assert ids.tolist() == ["a", "b"] and labels[:, 0].tolist() == [1, 0]

    def test_answer_shares_match_the_literal_count(self):
        labels = np.array([[0, 1, np.nan], [3, 3, 3], [1, 1, 2]])
        shares = query_sheets.answer_shares(labels, query_sheets.ALTERNATIVES)
        assert shares["share"].tolist() == pytest.approx([1 / 8, 3 / 8, 1 / 8, 3 / 8])
        assert (shares["lower"] <= shares["share"]).all() and (shares["share"] <= shares["upper"]).all()
        assert query_sheets.answer_shares(np.empty((0, 3)), query_sheets.ALTERNATIVES).empty


class TestScores:
    def scores(self, truth, predicted, weights=None):
        weights = np.ones(len(truth)) if weights is None else weights
        return query_sheets.scores(truth, predicted, weights).set_index("measure")

    def test_matches_scikit_learn_weights_included(self):
        generator = rng()
        truth, predicted = generator.random((2, 80)) < 0.6
        weights = generator.integers(1, 5, 80).astype(float)
        made = self.scores(truth, predicted, weights)["value"]
        assert made["precision"] == pytest.approx(precision_score(truth, predicted, sample_weight=weights))
        assert made["recall"] == pytest.approx(recall_score(truth, predicted, sample_weight=weights))
        assert made["specificity"] == pytest.approx(recall_score(~truth, ~predicted, sample_weight=weights))
        assert made["kappa"] == pytest.approx(cohen_kappa_score(truth, predicted, sample_weight=weights))

    def test_textbook_kappa(self):
        cells = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
        truth, predicted = np.array(cells, bool).T
        assert self.scores(truth, predicted).loc["kappa", "value"] == pytest.approx(0.4)

    def test_perfect_and_undefined(self):
        truth = np.array([True, False] * 10)
        assert (self.scores(truth, truth)["value"] == 1).all()
        every = self.scores(np.ones(5, bool), np.ones(5, bool))["value"]
        assert (
            every["precision"] == every["recall"] == 1 and np.isnan(every["kappa"]) and np.isnan(every["specificity"])
        )

    def test_intervals_hold_the_planted_rates_as_often_as_they_say(self):
        generator, hits = rng(), 0
        for _ in range(200):
            truth = generator.random(150) < 0.7
            predicted = np.where(truth, generator.random(150) < 0.9, generator.random(150) < 0.2)
            row = self.scores(truth, predicted).loc["recall"]
            hits += row["lower"] <= 0.9 <= row["upper"]
        assert 0.88 <= hits / 200 <= 0.99

    def test_intervals_of_a_stratified_sample_hold_the_rate_of_the_whole_set(self):
        generator, hits = rng(), {"recall": 0, "kappa": 0}
        truth = generator.random(4_000) < 0.6
        predicted = np.where(truth, generator.random(4_000) < 0.85, generator.random(4_000) < 0.1)
        whole = self.scores(truth, predicted)["value"]
        strata = [np.flatnonzero(predicted), np.flatnonzero(~predicted)]
        weights = np.repeat([len(stratum) / 60 for stratum in strata], 60)
        for _ in range(150):
            drawn = np.concatenate([generator.choice(stratum, 60, replace=False) for stratum in strata])
            made = self.scores(truth[drawn], predicted[drawn], weights)
            for name in hits:
                hits[name] += made.loc[name, "lower"] <= whole[name] <= made.loc[name, "upper"]
        assert all(0.9 <= n / 150 <= 1 for n in hits.values()), hits

    def test_lengths_must_agree(self):
        with pytest.raises(ValueError, match="Equal lengths"):
            query_sheets.scores([True], [True, False], [1, 1])

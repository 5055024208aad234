"""The paper's numbers beside a run's: the table of claims, how a place is found, how a verdict falls."""

import json

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.pipeline import claims
from hivemind_utils.tables import files, paper

NAN = np.nan
COLUMNS = pd.read_csv(files.root() / "data" / "reference" / "claims.csv", nrows=0).columns


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with two claims' worth of results to be written by the test."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data" / "reference").mkdir(parents=True)
    (tmp_path / "results" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_claim(project, results, **columns):
    """Evaluate a single claim on these results of notebook 05."""
    row = dict.fromkeys(COLUMNS, "") | {"claim_id": "one", "topic": "t", "claim": "c"} | columns
    pd.DataFrame([row]).to_csv(project / "data" / "reference" / "claims.csv", index=False)
    (project / "results" / "mine" / "05.json").write_text(json.dumps(results))
    return claims.evaluate("mine").iloc[0]


# -------------------------------------------------------------------------------------------------------- the table


def test_every_claim_has_an_id_a_place_in_the_paper_and_a_number():
    table = paper.claims()
    assert table["claim_id"].is_unique and len(table) > 250
    for column in ("topic", "claim", "where", "paper"):
        assert (table[column] != "").all(), column


def test_every_claim_says_where_this_runs_value_is_or_why_there_is_none():
    table = paper.claims()
    assert ((table["result"] != "") | (table["note"] != "")).all()
    assert table.loc[table["result"] != "", "result"].str.fullmatch(r"(0[1-9]|10):\S.*").all()
    assert set(table["bound"]) <= {"", "encoder", "main25", "released"}


def test_bands_are_bands_and_only_claims_with_a_value_have_one():
    table = paper.claims()
    both = table.dropna(subset=["low", "high"])
    assert (both["low"] <= both["high"]).all()
    assert table.loc[table["result"] == "", ["low", "high"]].isna().all().all()


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("intra_79", 79.08),
        ("inter_mean", 75.94),
        ("abs_full_lm", 0.361),
        ("abs_full_judge", 0.322),
        ("n_entropy_2", 17),
    ],
)
def test_the_papers_own_value_replicates_the_paper(claim, value):
    row = paper.claims().set_index("claim_id").loc[claim]
    assert claims.verdict(value, row["low"], row["high"]) == (claims.REPLICATES, "")


def test_averages_of_scorers_are_those_of_the_published_tables():
    table = paper.claims().set_index("claim_id")
    scorers = pd.read_csv(files.root() / "data" / "reference" / "tables23_26_rm_and_judges.csv")
    means = scorers.groupby("type").mean(numeric_only=True)
    for kind, name in (("RM", "reward"), ("judge", "judge")):
        for q in (16, 10, 2):
            stated = float(table.loc[f"abs_entropy_{q}_{name}", "paper"])
            assert stated == pytest.approx(means.loc[kind, f"abs_dis_p{q}"], abs=6e-4)
        for k in ("3.0", "1.5", "0.5"):
            stated = float(table.loc[f"abs_tukey_{k}_{name}", "paper"])
            assert stated == pytest.approx(means.loc[kind, f"abs_k{k}"], abs=6e-4)
        for q in (95, 60):
            for kept, column in (("similar", "sim"), ("contested", "dis")):
                stated = float(table.loc[f"pair_{kept}_{q}_{name}", "paper"])
                assert stated == pytest.approx(means.loc[kind, f"pair_{column}_p{q}"], abs=6e-4)


# -------------------------------------------------------------------------------------------------------- finding

RESULTS = {
    "a": {"b/c": 1, "b": {"d": 2}},
    "list": [{"name": "x", "mean": 3, "lower": 2}, {"name": "y", "mean": 4}],
    "n": None,
}


@pytest.mark.parametrize(
    ("place", "value"),
    [("a/b/c", 1), ("a/b/d", 2), ("list/name=x/mean", 3), ("list/name=y/mean", 4), ("n", None), ("n/deeper", None)],
)
def test_a_place_is_found(place, value):
    assert claims.find(RESULTS, place)[0] == value


def test_the_bounds_stand_beside_the_value():
    assert claims.find(RESULTS, "list/name=x/mean")[1]["lower"] == 2


@pytest.mark.parametrize("place", ["a/z", "list/name=z/mean", "list/other=x", "a/b/d/e", "z"])
def test_a_place_that_is_not_there_raises(place):
    with pytest.raises(KeyError):
        claims.find(RESULTS, place)


# -------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("value", "low", "high", "lower", "upper", "expected"),
    [
        (80, 76, 82, NAN, NAN, claims.REPLICATES),
        (76, 76, 82, NAN, NAN, claims.REPLICATES),
        (75, 76, 82, NAN, NAN, claims.DIFFERS),
        (75, 76, 82, 70, 75.9, claims.DIFFERS),
        (75, 76, 82, 70, 77, claims.NOT_TESTABLE),  # the interval reaches into the band
        (80, 76, 82, 77, 99, claims.REPLICATES),
        (80, 76, 82, 60, 99, claims.NOT_TESTABLE),  # the interval reaches beyond both ends
        (0.1, 0, NAN, 0.05, 0.15, claims.REPLICATES),
        (0.1, 0, NAN, -0.05, 0.25, claims.NOT_TESTABLE),  # the interval holds the opposite direction
        (-0.1, 0, NAN, -0.2, -0.05, claims.DIFFERS),
        (-0.1, NAN, 0, NAN, NAN, claims.REPLICATES),
    ],
)
def test_verdict(value, low, high, lower, upper, expected):
    assert claims.verdict(value, low, high, lower, upper)[0] == expected


def test_values_take_the_papers_unit_with_their_interval(project):
    results = {"source": "sampled", "share": {"mean": 0.5, "lower": 0.4, "upper": 0.6}}
    row = one_claim(project, results, result="05:share/mean", scale=100, interval="lower,upper", low=35, high=55)
    assert (row["value"], row["lower"], row["upper"], row["verdict"]) == (50, 40, 60, claims.REPLICATES)


def test_the_first_of_several_places_that_is_there_counts(project):
    row = one_claim(project, {"source": "sampled", "b": 2, "c": 3}, result="05:a|b|c", minus="z|c", high=0)
    assert (row["value"], row["verdict"]) == (-1, claims.REPLICATES)


def test_a_difference_is_taken(project):
    row = one_claim(project, {"source": "sampled", "a": 3, "b": 1}, result="05:a", minus="b", low=0)
    assert (row["value"], row["verdict"]) == (2, claims.REPLICATES)


def test_simulated_data_decide_nothing(project):
    row = one_claim(project, {"source": "simulated", "a": 3}, result="05:a", low=0)
    assert (row["value"], row["verdict"]) == (3, claims.SIMULATED)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("minilm", claims.NOT_TESTABLE),
        ("litellm:text-embedding-3-small", claims.REPLICATES),
        ("litellm:openai/text-embedding-3-small", claims.REPLICATES),
        ("litellm:text-embedding-3-large", claims.NOT_TESTABLE),
    ],
)
def test_a_number_of_the_papers_encoder_is_tested_under_that_encoder_only(project, encoder, expected):
    row = one_claim(project, {"source": "sampled", "encoder": encoder, "a": 3}, result="05:a", low=0, bound="encoder")
    assert row["verdict"] == expected
    assert (encoder.removeprefix("litellm:") in row["reason"]) == (expected != claims.REPLICATES)


def test_a_number_of_the_released_data_is_tested_on_them_only(project):
    for source, expected in (("imported", claims.NOT_TESTABLE), ("released", claims.REPLICATES)):
        assert (
            one_claim(project, {"source": source, "a": 3}, result="05:a", low=0, bound="released")["verdict"]
            == expected
        )


def test_what_is_not_there_is_said_not_to_be_measured(project):
    results = {"source": "sampled", "nothing": None}
    assert one_claim(project, results, note="no ids")[["verdict", "reason"]].tolist() == [claims.NOT_MEASURED, "no ids"]
    assert one_claim(project, results, result="07:a")["reason"] == "notebook 07 has not run"
    assert one_claim(project, results, result="05:typo")["verdict"] == claims.NOT_MEASURED
    assert one_claim(project, results, result="05:nothing")["verdict"] == claims.NOT_TESTABLE


def test_a_partial_run_is_named(project):
    row = one_claim(project, {"source": "sampled", "partial": "b lacks 1", "a": 3}, result="05:a", low=0)
    assert (row["verdict"], row["reason"]) == (claims.REPLICATES, "partial run")


def test_the_table_is_written_as_csv_and_strict_json(project):
    one_claim(project, {"source": "simulated", "a": 3}, result="05:a", low=0)
    claims.write("mine")
    folder = project / "results" / "mine"
    (record,) = json.loads((folder / "claims.json").read_text(), parse_constant=pytest.fail)
    assert record["value"] == 3 and record["lower"] is None and record["verdict"] == claims.SIMULATED
    assert pd.read_csv(folder / "claims.csv")["verdict"].tolist() == [claims.SIMULATED]

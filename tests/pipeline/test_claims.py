"""The paper's numbers next to a run's: the table of claims, how a place is found, what is decided and on what."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.metrics import intervals
from hivemind_utils.pipeline import claims
from hivemind_utils.tables import files, paper

COLUMNS = pd.read_csv(files.root() / "data" / "reference" / "claims.csv", nrows=0).columns
TABLE = paper.claims()
TESTED = TABLE[(TABLE["result"] != "") & (TABLE["stated"].notna() | (TABLE["direction"] != ""))]
# Released data and the paper's encoder, models and scorers: everything that a claim may ask for.
EVERYTHING = {
    "source": "released", "encoder": f"litellm:{claims.PAPER_ENCODER}", "models": sorted(paper.main_models()),
    "n_scorers": claims.PAPER_SCORERS, "n_prompts": 100,
}  # fmt: skip
NARROW = 1e-4  # half of an interval, as a share of the margin


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with the reference data's models, whose claims and results a test writes."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data" / "reference").mkdir(parents=True)
    models = files.root() / "data" / "reference" / "models.csv"
    (tmp_path / "data" / "reference" / "models.csv").write_text(models.read_text())
    (tmp_path / "results" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(project, table, results):
    """Evaluate claims on results by notebook."""
    table.to_csv(project / "data" / "reference" / "claims.csv", index=False)
    for number, content in results.items():
        (project / "results" / "mine" / f"{number}.json").write_text(json.dumps(content))
    return claims.evaluate("mine")


def one_claim(project, results, **columns):
    """Evaluate a single claim on these results of notebook 05."""
    row = dict.fromkeys(COLUMNS, "") | {"claim_id": "one", "topic": "t", "claim": "c"} | columns
    return written(project, pd.DataFrame([row]), {"05": results}).iloc[0]


def put(results, place, value, **siblings):
    """Write a value at a place of results, with what belongs to it."""
    here, steps = results, place.split("/")
    if "floors_at_0.8" in place:
        steps = (
            ["floors_at_0.8", *place.removeprefix("floors_at_0.8/").rsplit("/", 1)] if place.count("/") > 1 else steps
        )
    for i, step in enumerate(steps[:-1]):
        key, _, name = step.partition("=")
        if name:
            found = next((record for record in here if record[key] == name), None)
            if found is None:
                found = {key: name}
                here.append(found)
            here = found
        else:
            following = steps[i + 1]
            here = here.setdefault(step, [] if "=" in following and " " not in following.split("=")[0] else {})
    here[steps[-1]] = value
    for name, number in siblings.items():
        here.setdefault(name, number)


def fed(table, shift=None, half=NARROW, source="released"):
    """Results of a run whose every value is the paper's own, plus `shift(row)`."""
    results = {f"{number:02}": dict(EVERYTHING, source=source) for number in range(1, 12)}
    for row in table.itertuples():
        number, _, places = row.result.partition(":")
        place = places.split("|")[0]
        here = results[number]
        if row.bound == "all79":
            continue
        if row.direction == "verdict":
            put(here, place, "degrades", kept=0.5, lower=0.4, upper=0.6)
            continue
        step = 0.0 if shift is None else shift(row)
        side = {"above": 1, "below": -1}.get(row.direction, 0)
        value = (row.stated + side + step) / row.scale
        width = half * (row.margin if row.margin == row.margin and row.margin else 1) / row.scale
        width = 0 if row.direction == "count" else width
        taken = 0.0
        if row.minus:
            taken = 1.0
            put(here, row.minus.split("|")[0], taken)
        names = row.interval.split(",") if row.interval else []
        beside = [name for name in names if "/" not in name]
        put(
            here,
            place,
            value + taken,
            **dict(zip(beside, (value + taken - width, value + taken + width), strict=False)),
        )
        for name, bound in zip(names, (value - width, value + width), strict=False):
            if "/" in name:
                put(here, name, bound)
    return results


# -------------------------------------------------------------------------------------------------------- the table


def test_every_claim_has_an_id_a_place_in_the_paper_and_a_number():
    assert TABLE["claim_id"].is_unique and len(TABLE) > 250
    for column in ("topic", "claim", "where", "paper"):
        assert (TABLE[column] != "").all(), column


def test_every_claim_says_where_this_runs_value_is_or_why_there_is_none():
    assert ((TABLE["result"] != "") | (TABLE["note"] != "")).all()
    assert TABLE.loc[TABLE["result"] != "", "result"].str.fullmatch(r"(0[1-9]|1[01]):\S.*").all()
    assert set(TABLE["bound"]) <= {"", "encoder", "main25", "all79", "released"}
    assert set(TABLE["direction"]) <= {"", "above", "below", "count", "verdict"}


def test_a_number_to_compare_with_has_a_tolerance_or_a_margin():
    numbers = TESTED[TESTED["direction"] == ""]
    assert (numbers["tolerance"].notna() | numbers["margin"].notna() | (numbers["note"] != "")).all()
    assert (TABLE[["tolerance", "margin"]].fillna(0) >= 0).all().all()
    assert TABLE.loc[TABLE["result"] == "", ["tolerance", "margin"]].isna().all().all()
    ratings = TABLE[TABLE["claim_id"].str.startswith(("abs_full", "abs_tukey"))]
    assert (ratings["margin"] == 0.15).all() and (ratings["tolerance"] == 0.02).all()
    assert TABLE.loc[TABLE["claim_id"].str.startswith("abs_entropy"), "margin"].isna().all()


def test_the_number_is_the_one_in_the_text():
    rows = TABLE[TABLE["stated"].notna() & (TABLE["direction"] == "")]
    for row in rows.itertuples():
        text = row.paper.replace(",", "").replace("−", "-")
        stated = [float(x) for x in pd.Series([text]).str.findall(r"-?\d*\.?\d+")[0]]
        near = [x for x in stated if math.isclose(x, row.stated, rel_tol=1e-9)]
        between = len(stated) > 1 and min(stated) <= row.stated <= max(stated)
        assert near or between or row.claim_id in ("excess", "inter_min"), row.claim_id


def test_language_models_are_compared_by_the_perplexity_of_the_whole_conversation():
    places = TABLE[TABLE["claim_id"].str.endswith("_lm") & (TABLE["result"] != "")]["result"]
    assert len(places) > 30 and places.str.contains("/lm perplexity/").all()
    assert not TABLE["result"].str.contains("/lm/").any()


def test_fleiss_rows_say_what_is_computed():
    rows = TABLE[TABLE["claim_id"].str.startswith("disagree_fleiss")]
    assert len(rows) == 12 and rows["claim"].str.contains("highest agreement").all()


def test_averages_of_scorers_are_those_of_the_published_tables():
    table = TABLE.set_index("claim_id")["stated"]
    scorers = pd.read_csv(files.root() / "data" / "reference" / "tables23_26_rm_and_judges.csv")
    means = scorers.groupby("type").mean(numeric_only=True)
    for kind, name in (("RM", "reward"), ("judge", "judge")):
        for q in (16, 10, 2):
            assert table[f"abs_entropy_{q}_{name}"] == pytest.approx(means.loc[kind, f"abs_dis_p{q}"], abs=6e-4)
        for k in ("3.0", "1.5", "0.5"):
            assert table[f"abs_tukey_{k}_{name}"] == pytest.approx(means.loc[kind, f"abs_k{k}"], abs=6e-4)
        for q in (95, 60):
            for kept, column in (("similar", "sim"), ("contested", "dis")):
                assert table[f"pair_{kept}_{q}_{name}"] == pytest.approx(
                    means.loc[kind, f"pair_{column}_p{q}"], abs=6e-4
                )


# ------------------------------------------------------------------------------------------- the paper's own values


def test_the_papers_own_values_replicate_the_paper(project):
    """All of them, through the whole path, but for the one that needs all 79 models."""
    found = written(project, TESTED, fed(TESTED))
    open_ = found[found["verdict"] != claims.REPLICATES]
    assert dict(zip(open_["claim_id"], open_["reason"], strict=True)) == {"intra_79_all": "this run has no such value"}
    released = found[found["bound"] == "released"]
    assert (released["verdict"] == claims.REPLICATES).all() and len(released) > 180
    named = found.set_index("claim_id")["verdict"]
    assert (named[["closed_ended", "dropped", "contrast_reward", "inter_mean", "abs_full_lm"]] == "replicates").all()


@pytest.mark.parametrize(
    ("value", "bounds", "verdict"),
    [(2, (2, 2), "replicates"), (2, (1, 2), "inconclusive"), (0, (0, 4), "inconclusive"), (3, (3, 4), "differs"),
     (1, (1, 1), "differs"), (2, None, "not testable")],
)  # fmt: skip
def test_the_number_of_clusters_rests_on_reruns(project, value, bounds, verdict):
    time = {"n_supported": value} | (
        dict(zip(("supported_lower", "supported_upper"), bounds, strict=True)) if bounds else {}
    )
    results = {"07": EVERYTHING | {"source": "sampled", "time": time}}
    found = written(project, TABLE[TABLE["claim_id"] == "two_clusters"], results).iloc[0]
    assert found["verdict"] == verdict


def test_wrong_values_do_not_replicate(project):
    """Each moved by the smallest difference that a reader would care about: more than its tolerance or margin."""
    numbers = TESTED[TESTED["direction"] == ""]

    def shift(row):
        least = row.tolerance if row.tolerance == row.tolerance else row.margin
        return 1.01 * least + 1e-3

    found = written(project, numbers, fed(numbers, shift))
    assert not (found["verdict"] == claims.REPLICATES).any()
    decided = found[found["interval"] != ""]
    assert (decided.loc[decided["tolerance"].notna(), "verdict"] == claims.DIFFERS).all()


def test_the_opposite_direction_does_not_replicate(project):
    rows = TESTED[TESTED["direction"].isin(["above", "below"])].assign(
        direction=lambda t: t["direction"].map({"above": "below", "below": "above"})
    )
    results = fed(TESTED[TESTED["direction"].isin(["above", "below"])])
    found = written(project, rows, results)
    assert set(found["verdict"]) <= {claims.DIFFERS, claims.NOT_TESTABLE}
    assert (found.loc[found["interval"] != "", "verdict"] == claims.DIFFERS).all()


@pytest.mark.parametrize(("truth", "least", "most"), [(0.0, 0.75, 1.0), (0.35, 0.0, 0.02)])
def test_a_new_study_of_the_papers_size_replicates_what_is_true(truth, least, most):
    """Correlations of a kind over all items: both studies err with a standard error of .03 over 50 prompts."""
    rng = np.random.default_rng(1)
    row = TABLE.set_index("claim_id", drop=False).loc["abs_full_reward"]
    decisions = []
    for _ in range(400):
        value = 0.330 + truth + 0.03 * np.sqrt(2) * rng.normal()
        half = 2.009575 * 0.03 * np.sqrt(rng.chisquare(49) / 49)
        measured = {"value": value, "lower": value - half, "upper": value + half, "n_prompts": 50, "se": None,
                    "source": "imported", "place": "absolute/reward/full/rho"}  # fmt: skip
        decisions.append(claims.decide(row, {"n_scorers": claims.PAPER_SCORERS}, measured).decision)
    share = decisions.count(claims.REPLICATES) / 400
    assert least <= share <= most
    if truth == 0:
        assert decisions.count(claims.DIFFERS) / 400 <= 0.05


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


# -------------------------------------------------------------------------------------------------------- decisions


def test_values_take_the_papers_unit_with_their_interval(project):
    results = {"source": "sampled", "n_prompts": 50, "share": {"mean": 0.5, "lower": 0.49, "upper": 0.51}}
    row = one_claim(
        project, results, result="05:share/mean", scale=100, interval="lower,upper", stated=49, margin=5, paper_n=50
    )
    assert (row["value"], row["lower"], row["upper"], row["verdict"]) == (50, 49, 51, claims.REPLICATES)
    half = intervals.prediction_half_width(1 / 2.009575, 50)
    assert f"half-width {half:.3g}" in row["reason"]


def test_the_released_items_need_no_interval(project):
    for value, verdict in ((0.36, claims.REPLICATES), (0.30, claims.DIFFERS)):
        results = {"source": "released", "r": value}
        row = one_claim(project, results, result="05:r", stated=0.361, tolerance=0.02, margin=0.15, bound="released")
        assert row["verdict"] == verdict


def test_a_direction_without_an_interval_is_not_testable(project):
    assert one_claim(project, {"a": -0.001}, result="05:a", stated=0, direction="below")["verdict"] == "not testable"
    for bounds, verdict in (((-0.3, -0.1), "replicates"), ((-0.1, 0.1), "inconclusive"), ((0.1, 0.2), "differs")):
        results = {"a": {"v": sum(bounds) / 2, "l": bounds[0], "u": bounds[1]}}
        row = one_claim(project, results, result="05:a/v", stated=0, direction="below", interval="l,u")
        assert row["verdict"] == verdict


def test_bounds_may_have_a_place_of_their_own(project):
    results = {"a": 3.0, "bounds": {"low": 2.0, "high": 4.0}}
    row = one_claim(project, results, result="05:a", stated=0, direction="above", interval="bounds/low,bounds/high")
    assert (row["lower"], row["upper"], row["verdict"]) == (2, 4, claims.REPLICATES)


def test_what_is_taken_from_the_value_is_taken_from_its_bounds(project):
    results = {"a": {"v": 3.0, "lower": 2.0, "upper": 4.0}, "chance": 1.0}
    row = one_claim(
        project, results, result="05:a/v", minus="chance", stated=0, direction="above", interval="lower,upper"
    )
    assert (row["value"], row["lower"], row["upper"], row["verdict"]) == (2, 1, 3, claims.REPLICATES)


@pytest.mark.parametrize(
    ("word", "verdict"),
    [("degrades", "replicates"), ("degrades, keeps more than half", "replicates"), ("holds up", "differs"),
     ("inconclusive", "inconclusive"), ("not testable", "not testable")],
)  # fmt: skip
def test_the_verdict_on_a_kind_decides(project, word, verdict):
    results = {"verdicts": {"judge": {"verdict": word, "kept": 0.6, "lower": 0.5, "upper": None, "reason": "few"}}}
    row = one_claim(project, results, result="05:verdicts/judge/verdict", direction="verdict")
    assert (row["verdict"], row["value"], row["reason"]) == (verdict, 0.6, "few") and math.isnan(row["upper"])


def test_the_first_of_several_places_that_is_there_counts(project):
    row = one_claim(
        project, {"source": "sampled", "b": 2, "c": 3}, result="05:a|b|c", minus="z|c", stated=-1, tolerance=0
    )
    assert (row["value"], row["verdict"]) == (-1, claims.REPLICATES)


def test_simulated_data_decide_nothing(project):
    row = one_claim(project, {"source": "simulated", "a": 3}, result="05:a", stated=3, tolerance=0)
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
    results = {"source": "sampled", "encoder": encoder, "a": 3}
    row = one_claim(project, results, result="05:a", stated=3, tolerance=0, bound="encoder")
    assert row["verdict"] == expected
    assert (encoder.removeprefix("litellm:") in row["reason"]) == (expected != claims.REPLICATES)


def test_a_run_of_more_models_is_compared_by_its_values_for_the_25(project):
    everything = {"encoder": claims.PAPER_ENCODER, "models": sorted(paper.all_models()), "a": 9}
    columns = {"result": "05:main25/a|a", "stated": 3, "tolerance": 0, "bound": "main25"}
    assert "lacks some" in one_claim(project, everything, **columns)["reason"]
    assert one_claim(project, everything | {"main25": {"a": 3}}, **columns)["verdict"] == claims.REPLICATES
    only = everything | {"models": sorted(paper.main_models()), "a": 3}
    assert one_claim(project, only, **columns)["verdict"] == claims.REPLICATES


def test_the_value_of_all_79_models_needs_all_of_them(project):
    columns = {"result": "05:a", "stated": 3, "tolerance": 0, "bound": "all79"}
    for models, verdict in ((paper.all_models(), claims.REPLICATES), (paper.main_models(), claims.NOT_TESTABLE)):
        results = {"encoder": claims.PAPER_ENCODER, "models": sorted(models), "a": 3}
        assert one_claim(project, results, **columns)["verdict"] == verdict
    row = TABLE.set_index("claim_id").loc["intra_79_all"]
    assert row["result"].startswith("05:") and row["stated"] == 70.1


def test_a_number_of_the_released_data_needs_them_or_a_margin(project):
    columns = {"result": "05:a", "stated": 3, "tolerance": 0, "bound": "released"}
    assert one_claim(project, {"source": "released", "a": 3}, **columns)["verdict"] == claims.REPLICATES
    assert "own data" in one_claim(project, {"source": "imported", "a": 3}, **columns)["reason"]
    results = {"source": "imported", "n_prompts": 50, "a": {"v": 3, "lower": 2.9, "upper": 3.1}}
    new = columns | {"result": "05:a/v", "margin": 0.5, "interval": "lower,upper"}
    assert one_claim(project, results, **new)["verdict"] == claims.REPLICATES


def test_what_a_release_does_not_hold_is_not_compared(project):
    results = {"source": "released", "counts": {"closed": 0}}
    row = one_claim(project, results, result="05:counts/closed", stated=8817, tolerance=1, bound="released")
    assert (row["verdict"], row["reason"]) == (claims.NOT_TESTABLE, "not in this release")


def test_means_over_other_scorers_than_the_papers_are_not_compared(project):
    results = {"source": "released", "n_scorers": {"judge": 2}, "absolute": {"judge": {"full": {"rho": 0.3}}}}
    columns = {"result": "05:absolute/judge/full/rho", "stated": 0.3, "tolerance": 0.02, "bound": "released"}
    assert "this run has 2" in one_claim(project, results, **columns)["reason"]
    assert one_claim(project, results | {"n_scorers": {"judge": 4}}, **columns)["verdict"] == claims.REPLICATES


def test_what_is_not_there_is_said_not_to_be_measured(project):
    results = {"source": "sampled", "nothing": None}
    assert one_claim(project, results, note="no ids")[["verdict", "reason"]].tolist() == [claims.NOT_MEASURED, "no ids"]
    assert one_claim(project, results, result="07:a")["reason"] == "notebook 07 has not run"
    assert one_claim(project, results, result="05:typo")["verdict"] == claims.NOT_MEASURED
    assert one_claim(project, results, result="05:nothing")["verdict"] == claims.NOT_TESTABLE


def test_a_partial_run_is_named(project):
    results = {"source": "sampled", "partial": "b lacks 1", "a": 3}
    row = one_claim(project, results, result="05:a", stated=3, tolerance=0)
    assert row["verdict"] == claims.REPLICATES and row["reason"].endswith("; partial run")


def test_that_prompts_are_few_is_said_beside_a_decision(project):
    results = {"source": "sampled", "prompts_note": "Only 5 prompts", "a": 3, "lower": 2, "upper": 4}
    row = one_claim(project, results, result="05:a", stated=0, direction="above", interval="lower,upper")
    assert row["verdict"] == claims.REPLICATES and row["reason"].endswith("; Only 5 prompts")
    own = results | {"n_prompts": 4, "prompts_note": None}
    row = one_claim(project, own, result="05:a", stated=0, direction="above", interval="lower,upper")
    assert "; Only 4 prompts: 95 % intervals may be too narrow" in row["reason"]
    row = one_claim(
        project, results | {"n_prompts": 50}, result="05:a", stated=0, direction="above", interval="lower,upper"
    )
    assert "prompts" not in row["reason"]
    simulated = one_claim(project, results | {"source": "simulated"}, result="05:a", stated=3, tolerance=0)
    assert simulated["reason"] == ""


def test_the_table_is_written_as_csv_and_strict_json(project):
    one_claim(project, {"source": "simulated", "a": 3}, result="05:a", stated=3, tolerance=0)
    claims.write("mine")
    folder = project / "results" / "mine"
    (record,) = json.loads((folder / "claims.json").read_text(), parse_constant=pytest.fail)
    assert record["value"] == 3 and record["lower"] is None and record["verdict"] == claims.SIMULATED
    assert pd.read_csv(folder / "claims.csv")["verdict"].tolist() == [claims.SIMULATED]

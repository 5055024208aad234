"""A run as a pilot: planted variances are found, and a plan says what it can find."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from some_responses import PEOPLE, prompts_of, responses_of

from hivemind_utils.metrics import power
from hivemind_utils.pipeline import notebooks
from hivemind_utils.pipeline import pilot as pilots
from hivemind_utils.responses import planner
from hivemind_utils.tables import files, schema


def a_run(n_prompts=40, n=8, spread=0.3, arms=("a", "b"), seed=0):
    """Responses on a circle around a direction of their prompt; arms differ in spread by a normal number per prompt."""
    rng = np.random.default_rng(seed)
    rows, vectors = [], []
    for p in range(n_prompts):
        for arm in arms:
            width = abs(spread + 0.05 * rng.standard_normal())
            angles = rng.uniform(0, 6) + width * rng.standard_normal(n)
            vectors += list(np.stack([np.cos(angles), np.sin(angles)], 1))
            rows += [(f"p{p:02}", arm, "default", "top_p", k, f"{p}{arm}{k}", "x") for k in range(n)]
    names = ["prompt_id", "model", "condition", "decoding", "sample_idx", "response_id", "text"]
    return responses_of(pd.DataFrame(rows, columns=names), vectors)


def test_components_are_those_of_the_metric():
    run = a_run(3, arms=("a", "b"))
    found = planner.of_run(run, "top_p")
    grams = np.stack([run.vectors[8 * k : 8 * k + 8] @ run.vectors[8 * k : 8 * k + 8].T for k in range(6)])
    assert (found.one, found.both) == pytest.approx(power.pair_components(grams))
    assert (found.n_prompts, found.n_arms) == (3, 2)


def test_the_variance_between_prompts_is_recovered():
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        true = rng.normal(0.02, 0.05, 60)
        first, second = rng.normal(0, 0.03, 60), rng.normal(0, 0.03, 60)
        values = np.r_[0.3 + true + first, 0.3 + second]
        # one and both chosen so that a cell of 10 responses has variance .03 squared
        frame = pd.DataFrame({"arm": ["a"] * 60 + ["b"] * 60, "prompt_id": [*range(60)] * 2, "n": 10})
        frame = frame.assign(diversity=values, one=0.0, both=0.0009 * 45)
        found.append(planner.of_cells(frame).between)
    assert np.mean(found) == pytest.approx(0.0025, rel=0.05)


def test_the_difference_is_found_as_often_as_said():
    rng, pilot = np.random.default_rng(1), planner.Pilot(0.0, 0.0405, 0.0025, 50, 2)
    difference = float(pilot.difference(50, 10))
    within = np.sqrt(pilot.within(10))
    t = power.stdtrit(49, 0.975)
    hits = 0
    for _ in range(600):
        drawn = rng.normal(difference, np.sqrt(0.0025), 50) + rng.normal(0, within, 50)
        hits += abs(drawn.mean()) > t * drawn.std(ddof=1) / np.sqrt(50)
    assert hits / 600 == pytest.approx(0.8, abs=0.05)


def test_more_prompts_and_responses_find_smaller_differences():
    table = planner.studies(planner.of_run(a_run(), "top_p"))
    schema.validate(table, "05_power")
    wide = table.pivot(index="n_prompts", columns="n_responses", values="difference")
    assert (np.diff(wide, axis=0) < 0).all() and (np.diff(wide, axis=1) < 0).all()


@pytest.mark.parametrize(
    "run", [a_run(arms=("a",)), a_run(n=3), a_run(1)], ids=["one model", "three answers", "one prompt"]
)
def test_a_run_too_small_says_why(run):
    found = planner.of_run(run, "top_p")
    assert found.reason and "unknown" in planner.says(found)
    schema.validate(planner.studies(found), "05_power")
    assert "unknown" in planner.next_dollars(found, 100, 10, 5.0)[0]


def test_people_and_other_prompts_stay_out():
    run = a_run(6, arms=("a", "b", next(iter(PEOPLE))))
    assert planner.of_run(run, "top_p").n_arms == 2
    prompts = prompts_of({f"p{i:02}": "closed" if i < 3 else "original" for i in range(6)})
    other = responses_of(run.table, run.vectors, prompts=prompts)
    assert planner.of_run(other, "top_p").n_prompts == 3


def test_next_dollars_match_the_formula():
    pilot = planner.Pilot(0.001, 0.02, 0.002, 13, 25)
    said = planner.next_dollars(pilot, 100, 10, 50.0)
    assert f"{float(pilot.difference(300, 10)):.3f}" in said[1] and "200 more prompts" in said[1]
    assert f"{float(pilot.difference(100, 30)):.3f}" in said[0]
    best = power.best_plan(150.0, 0.05, pilot.between, pilot.within)
    assert f"{best.n_prompts} prompts × {best.n_responses} responses" in said[2]
    assert "no cost is known" in planner.next_dollars(pilot, 100, 10, float("nan"))[0]


def a_plan(monkeypatch, tmp_path, content):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    if content is not None:
        (tmp_path / "results" / "small").mkdir(parents=True)
        (tmp_path / "results" / "small" / "05.json").write_text(json.dumps(content), encoding="utf-8")
    request = SimpleNamespace(n=10)
    rows = [(f"p{i}", "original", "default", "m", "top_p", request) for i in range(100)]
    frame = pd.DataFrame(rows, columns=["prompt_id", "prompt_kind", "condition", "model", "decoding", "request"])
    plan = pd.DataFrame({"model": ["m"], "decoding": ["top_p"], "missing": [1000], "cost_expected": [50.0]})
    return pilots.lines(plan, frame, "small")


def test_make_plan_reads_the_pilot(monkeypatch, tmp_path):
    pilot = planner.Pilot(0.001, 0.02, 0.002, 13, 25)
    said = a_plan(monkeypatch, tmp_path, {"source": "sampled", "pilot": pilot._asdict()})
    assert "13 prompts, 25 arms; sampled data" in said[0] and said[1] == planner.says(pilot, 100, 10)
    assert said[2:] == planner.next_dollars(pilot, 100, 10, 50.0)


@pytest.mark.parametrize("odd", [{"one": "x"}, {"n_prompts": [1]}, {"reason": 5}])
def test_a_damaged_pilot_is_told(monkeypatch, tmp_path, odd):
    pilot = planner.Pilot(0.001, 0.02, 0.002, 13, 25)._asdict() | odd
    with pytest.raises(notebooks.UserError, match=r"results/small/05.json is damaged \(`pilot` holds"):
        a_plan(monkeypatch, tmp_path, {"source": "sampled", "pilot": pilot})


def test_make_plan_without_a_pilot_says_how_to_get_one(monkeypatch, tmp_path):
    assert "make 05 PROFILE=small" in a_plan(monkeypatch, tmp_path, None)[0]


def test_make_plan_with_results_of_an_older_notebook_says_so(monkeypatch, tmp_path):
    assert "older notebook" in a_plan(monkeypatch, tmp_path, {"source": "sampled"})[0]


def test_unknown_variances_are_read_back(monkeypatch, tmp_path):
    pilot = {"one": None, "both": None, "between": None, "n_prompts": 1, "n_arms": 1, "reason": "too small"}
    said = a_plan(monkeypatch, tmp_path, {"source": "sampled", "pilot": pilot})
    assert "too small" in said[1] and "unknown" in said[2]

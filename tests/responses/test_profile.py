"""Profiles of ideas and their comparison at equal coverage."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.figures import measures as figures
from hivemind_utils.metrics import coverage
from hivemind_utils.responses import headlines, profile
from hivemind_utils.tables import schema

TAIL = [20] + [1] * 10  # one dominant idea and a tail
FLAT = [10, 10, 10]
MODELS = pd.DataFrame({"model": ["tail", "flat", "short"], "family": ["A", "B", "C"], "model_kind": "model"})


def cells_of(arms, n_prompts=4):
    rows = [
        (arm, f"p{i}", sum(counts), np.array(counts), "model") for i in range(n_prompts) for arm, counts in arms.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "prompt_id", "n", "counts", "respondent"])


class Answers:
    """What `profile.of_arms` needs of responses."""

    people = frozenset({"people"})

    def __init__(self, rows):
        self.table = pd.DataFrame(rows, columns=["arm", "prompt_id", "response_id"])
        self.model_of = {arm: arm for arm in set(self.table["arm"])}

    def columns(self, *names):
        return self.table[[*names]]


def test_a_tail_starts_higher_and_ends_lower_than_a_flat_arm():
    found = profile.profiles(cells_of({"tail": TAIL, "flat": FLAT}), np.random.default_rng(0))
    wide = found.pivot(index="order", columns="arm", values="hill")
    assert wide.loc[0, "tail"] > wide.loc[0, "flat"] and wide.loc[np.inf, "tail"] < wide.loc[np.inf, "flat"]
    assert (found.groupby("arm")["hill"].apply(lambda line: np.diff(line).max()) <= 1e-9).all()
    assert wide.loc[0, "flat"] == wide.loc[np.inf, "flat"] == pytest.approx(3)


def test_arms_of_different_size_are_compared_at_the_smallest():
    found = profile.profiles(cells_of({"tail": [2 * c for c in TAIL], "short": FLAT}), np.random.default_rng(0))
    assert set(found["n"]) == {30}
    own = found[(found["arm"] == "tail") & np.isfinite(found["order"])]
    expected = coverage.hill_at_size([2 * c for c in TAIL], 30, profile.ORDERS[:-1])
    assert own["hill"].to_numpy() == pytest.approx(expected)


def test_the_infinite_order_matches_draws():
    rng = np.random.default_rng(1)
    found = profile.hill_profile_at(TAIL, 12, np.random.default_rng(0))[-1]
    responses = np.repeat(np.arange(len(TAIL)), TAIL)
    shares = [np.bincount(rng.permutation(responses)[:12]).max() / 12 for _ in range(4000)]
    assert found == pytest.approx(1 / np.mean(shares), rel=0.02)


def test_equal_coverage_is_that_of_each_prompt_and_counts_what_cannot_be_compared():
    arms = {"tail": TAIL, "flat": FLAT}
    cells = pd.concat([cells_of(arms), cells_of({"tail": [3, 1], "flat": [2, 2]}, 1).assign(prompt_id="few")])
    found = profile.at_equal_coverage(cells).set_index("arm")
    literal = coverage.compare_at_coverage(list(arms.values()))
    assert found.loc["tail", "hill_1"] == pytest.approx(literal.hill[0, 1])
    assert (found["n_prompts"] == 5).all() and (found["n_compared"] == 4).all()
    assert found.loc["flat", "chao1"] <= 3 and found.loc["flat", "n_chao1_intervals"] == 5
    # One idea seen once and none twice: no interval, and it is counted.
    assert found.loc["tail", "n_chao1_intervals"] == 4


def test_a_large_arm_loses_what_a_smaller_arm_has_not_seen():
    cells = cells_of({"tail": TAIL, "flat": FLAT})
    found = profile.at_equal_coverage(cells).set_index("arm")
    assert found.loc["flat", "coverage"] == 1 and found.loc["tail", "coverage"] < 0.8
    assert found.loc["flat", "hill_0"] < 3


def test_ideas_of_responses_unknown_own_and_left_out():
    rows = [("a", "p", f"r{k}") for k in range(6)] + [("people", "p", f"h{k}") for k in range(3)]
    ideas = pd.Series({"r0": 1, "r1": 1, "r2": np.nan, "r3": np.nan, "h0": 2, "h1": 2, "h2": 3})
    cells = profile.idea_counts(Answers(rows), ideas)
    assert [sorted(c.tolist()) for c in cells["counts"]] == [[1, 1, 2], [1, 2]]
    found = profile.of_arms(Answers(rows), {"given": ideas}, np.random.default_rng(0))
    schema.validate(found.profiles, "07_profiles")
    schema.validate(found.coverage, "07_coverage")
    assert set(found.profiles["respondent"]) == {"model", "people"}


def test_without_ideas_there_is_nothing_to_draw():
    rows = [("a", "p", "r0"), ("a", "p", "r1")]
    found = profile.of_arms(Answers(rows), {"given": pd.Series(dtype=object)}, np.random.default_rng(0))
    schema.validate(found.profiles, "07_profiles")
    assert found.profiles.empty and figures.idea_profile(profile.best(found.profiles), {}, MODELS) is None
    assert "Too few" in headlines.idea_profile(found.profiles, found.coverage)


def test_the_figure_has_a_line_per_arm_and_its_title_both_ends():
    cells = cells_of({"tail": TAIL, "flat": FLAT})
    table = profile.profiles(cells, np.random.default_rng(0))
    ax = figures.idea_profile(table, {"tail": "A", "flat": "B"}, MODELS)
    assert len(ax.figure.legends[0].get_texts()) == 2
    assert ax.get_xticklabels()[-1].get_text() == "∞"
    title = headlines.idea_profile(table, profile.at_equal_coverage(cells))
    assert "30 responses" in title and "at equal coverage" in title

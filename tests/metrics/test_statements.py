"""Statements about arms: made when all holds, and what fails if not; how often they are made although false."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hivemind_utils.metrics import interventions, statements

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STEADY = 0.01 * (np.arange(12) - 5.5)


def around(*means, n=12):
    return interventions.mean_contrast(np.resize(STEADY, n)[:, None] + np.array(means))


def one(found):
    return found[0].decision, found[0].fails


def test_diversity_is_raised_when_everything_holds():
    assert one(statements.raises_diversity(around(0.2), around(0.1), around(0.1))) == ("holds", ())


@pytest.mark.parametrize(
    ("primary", "other", "controlled", "fails"),
    [
        (around(0.0), around(0.1), around(0.1), "not above 0 beyond chance"),
        (around(0.2), around(-0.1), around(0.1), "the measures disagree"),
        (around(0.2), None, around(0.1), "no measure of another kind"),
        (around(0.2), around(0.1), None, "no closed-ended prompts"),
        (around(0.2), around(0.1), around(0.0), "closed-ended prompts change as much"),
        (around(0.2), around(0.1), around(0.1, n=9), "9 prompts have values of open-ended and of closed-ended"),
        (around(0.2, n=9), around(0.1), around(0.1), "9 prompts have values of the arm and of its comparator, 10 are"),
        (around(0.2, n=1), around(0.1), around(0.1), "1 prompts"),
        (around(np.nan), around(np.nan), around(np.nan), "there are no prompts with values of the arm and of its"),
    ],
)
def test_diversity_names_what_fails(primary, other, controlled, fails):
    (statement,) = statements.raises_diversity(primary, other, controlled)
    assert statement.decision == "inconclusive"
    assert any(fails in x for x in statement.fails), statement.fails


def test_arms_share_holms_family():
    rng = np.random.default_rng(0)
    strong, weak = rng.normal(0.5, 0.4, 12), rng.normal(0, 1, 12)
    weak = (weak - weak.mean()) / weak.std(ddof=1) * 0.5 + 0.31  # t = 2.15: p = .027 alone
    weak += 0.02
    alone = statements.raises_diversity(interventions.mean_contrast(weak[:, None]), around(0.1), around(0.1))
    many = np.column_stack([weak, np.zeros((12, 6)), strong])
    sides = around(*[0.1] * 8)
    together = statements.raises_diversity(interventions.mean_contrast(many), sides, sides)
    assert alone[0].decision == "holds" and together[0].decision == "inconclusive"
    assert together[0].p > alone[0].p


RAISED = statements.raises_diversity(around(0.2), around(0.1), around(0.1))


def test_quality_is_kept_within_the_margin():
    bad = around(-0.3)[0]
    assert one(statements.keeps_quality(RAISED, around(-0.01), bad)) == ("holds", ())
    reward = statements.keeps_quality(RAISED, around(-0.01), bad, reward_only=True)[0]
    assert reward.words == "raises diversity without losing reward"


@pytest.mark.parametrize(
    ("change", "options", "fails"),
    [
        (around(-0.05), {}, "a loss of quality of 0.05 cannot be ruled out"),
        (around(0.0), {"known_bad": around(-0.05)[0]}, "does not put responses of other prompts below"),
        (around(0.0), {"known_bad": None}, "not tried on responses of other prompts"),
        (around(0.0), {"self_scored": [0]}, "the scorer is the model"),
        (around(0.0, n=5), {}, "5 prompts have values of the arm's and of the direct arm's quality"),
        (None, {}, "no response has a quality"),
    ],
)
def test_quality_names_what_fails(change, options, fails):
    options = {"known_bad": around(-0.3)[0]} | options
    decision, found = one(statements.keeps_quality(RAISED, change, **options))
    assert decision == "inconclusive" and len(found) == 1 and fails in found[0]


def test_quality_needs_raised_diversity_and_a_margin():
    lost = statements.raises_diversity(around(0.0), around(0.1), around(0.1))
    assert one(statements.keeps_quality(lost, around(0.1), around(-0.3)[0]))[1] == lost[0].fails
    with pytest.raises(ValueError, match="`margin` must be above 0"):
        statements.keeps_quality(RAISED, around(0.1), around(-0.3)[0], margin=0)


def test_ladder_names_what_fails():
    above = interventions.replicate_contrast(np.r_[[0.2] * 12, np.nan][:, None])
    assert one(statements.beats_hotter_sampling(above, 4))[1] == (
        "the arm's quality is above or at the edge of the ladder's",
    )
    assert "2 rungs, 3 are needed" in one(statements.beats_hotter_sampling(around(0.2), 2))[1][0]
    assert "gain over the ladder" in one(statements.beats_hotter_sampling(around(0.0), 3))[1][0]
    assert "4 prompts" in one(statements.beats_hotter_sampling(around(0.2, n=4), 3))[1][0]


def test_cost_names_what_fails():
    assert one(statements.costs_less(around(0.2))) == ("holds", ())
    assert "not lower beyond chance" in one(statements.costs_less(around(0.0)))[1][0]
    _, nothing = interventions.log_cost_ratio(np.ones((12, 2)), [[1, 0]] * 12, [-1, 0])
    assert statements.costs_less(nothing)[1].fails == ("there is no estimate without each of the prompts",)


@pytest.fixture(scope="module")
def worlds():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import interventions as benchmark

        yield benchmark
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.long
def test_false_statements_are_rare_and_true_ones_are_made(worlds):
    wrong, right = worlds.rates(60, 30, 12, seed=3)
    assert max(wrong.values()) <= 0.09  # nominal 2.5 %, of 60 studies
    assert right["raises diversity"] > 0.9 and right["costs less"] > 0.9
    assert min(right.values()) > 0.4


def test_the_benchmarks_loops_agree(worlds):
    rng = np.random.default_rng(0)
    vectors, scores = rng.normal(size=(2, 3, 6, 4)), np.round(rng.random((2, 3, 6)), 1)
    curve, _ = worlds.analyse(vectors, scores, np.array([-1, 0, 0]))
    assert curve[1, 2] == pytest.approx(worlds.literal_curve(vectors[1, 2], scores[1, 2]))

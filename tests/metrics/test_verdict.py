"""Tests, bands, families and words."""

import literal_verdict as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from scipy.stats import t as student

from hivemind_utils.metrics import comparison, contested, verdict


def compared(study, scores, pairs=False):
    return comparison.compare(comparison.prepare(scores, study.means, study.prompts, pairs=pairs), study.contested)


def made_up(r, e, spread, rng, n_prompts=20):
    """A comparison with the given correlations and jackknife replicates of about the given standard errors."""
    noise = rng.normal(size=(2, n_prompts, len(r))) * np.asarray(spread) / np.sqrt(n_prompts - 1)
    parts = [np.vstack([x, x + d]) for x, d in zip((np.asarray(r, float), np.asarray(e, float)), noise, strict=True)]
    present = np.ones((n_prompts, len(r)), bool)
    return comparison.Comparison(*parts, present, np.full(len(r), 200.0), np.array([""] * len(r)))


def test_the_golden_tests(golden, golden_pairs):
    found = compared(golden, golden.scores)
    tests = verdict.tests(found)
    np.testing.assert_allclose(tests.p_degrades, [0.959641, 0.002504, 0.991117], atol=1e-4)
    assert tests.p_holds_up[1] == pytest.approx(0.948427, abs=1e-4)
    assert [tests.kept_lower[1], tests.kept_upper[1]] == pytest.approx([-0.325107, 0.594394], abs=1e-4)
    np.testing.assert_allclose(verdict.band(found)[0], [0.653044, 0.359326, 0.781738], atol=1e-4)
    pairs = verdict.tests(compared(golden_pairs, golden_pairs.scores, pairs=True))
    np.testing.assert_allclose(pairs.p_degrades, [0.882745, 0.002306], atol=1e-4)


@pytest.mark.parametrize("pairs", [False, True])
def test_tests_and_bands_match_the_literal_ones(simulated, pairs):
    study = simulated(30, pairs=pairs)
    scores = 0.5 * study.quality + study.rng.normal(size=(4, 200))
    scores[0, study.contested.mask] = study.rng.normal(size=study.contested.mask.sum())
    scores[1, study.prompts == 3] = np.nan
    found = compared(study, scores, pairs)
    tests, (lower, expected, upper) = verdict.tests(found), verdict.band(found)
    for s in range(4):
        used = np.concatenate([[True], found.present[:, s]])
        r, e = found.r[used, s], found.e[used, s]
        df = used.sum() - 2
        q = student.ppf(0.975, df)
        shortfall, excess = r - 0.9 * e, r - 0.5 * e
        p_e = student.sf(e[0] / literal.jackknife(e), df)
        p_short = student.cdf(shortfall[0] / literal.jackknife(shortfall), df)
        assert tests.p_signal[s] == pytest.approx(p_e)
        assert tests.p_degrades[s] == pytest.approx(max(p_short, p_e))
        assert tests.p_holds_up[s] == pytest.approx(max(student.sf(excess[0] / literal.jackknife(excess), df), p_e))
        assert lower[s] == pytest.approx(np.clip(0.9 * e[0] - q * literal.jackknife(shortfall), -1, 1))
        assert expected[s] == e[0]
        assert upper[s] == pytest.approx(np.clip(e[0] + q * literal.jackknife(r - e), -1, 1))
        for bound in (tests.kept_lower[s], tests.kept_upper[s]):  # where r - k e is just not told from 0
            assert abs(r[0] - bound * e[0]) == pytest.approx(q * literal.jackknife(r - bound * e))


corr = st.floats(-0.95, 0.95)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(corr, corr, st.floats(0.001, 0.3)), min_size=1, max_size=6), st.integers(0, 99))
def test_words_bands_and_intervals_agree(cases, seed):
    r, e, spread = np.array(cases).T
    found = made_up(r, e, spread, np.random.default_rng(seed))
    tests = verdict.tests(found)
    # without adjusting: the words follow the interval of the share kept
    degrades, holds_up = tests.p_degrades < 0.025, tests.p_holds_up < 0.025
    edge = np.minimum(abs(tests.kept_upper - 0.9), abs(tests.kept_lower - 0.5)) < 1e-9
    assert ((degrades == (tests.kept_upper < 0.9)) | edge).all()
    assert ((holds_up == (tests.kept_lower > 0.5)) | edge).all()
    # adjusted: below the band exactly where the word says so
    adjusted = verdict.holm(tests.p_degrades)
    words = verdict.decide(adjusted, verdict.holm(tests.p_holds_up), found.reason)
    shown = np.clip(r + 0.05, -1, 1)
    for given_r, band in (
        (r, verdict.band(found, tests, p_degrades=adjusted)),
        (shown, verdict.band(found, p_degrades=adjusted, shown=shown)),
    ):
        lower, middle, upper = band
        drawn = tests.p_signal < 0.025
        np.testing.assert_array_equal(drawn, ~np.isnan(lower))
        below = given_r < lower
        close = abs(adjusted - 0.025) < 1e-9
        assert ((np.char.startswith(words, "degrades") == below) | close)[drawn].all()
        assert (lower[drawn] <= middle[drawn]).all() and (middle[drawn] <= upper[drawn]).all()
        assert (abs(lower[drawn]) <= 1).all() and (abs(upper[drawn]) <= 1).all()


def test_a_band_beside_a_shown_bar_is_moved_as_a_whole(golden):
    found = compared(golden, golden.scores)
    plain, moved = verdict.band(found), verdict.band(found, shown=found.r[0] - 0.1)
    np.testing.assert_allclose(moved[:2], np.array(plain[:2]) - 0.1)
    np.testing.assert_allclose(moved[2][[0, 2]], plain[2][[0, 2]] - 0.1)
    assert plain[2][1] == moved[2][1] == 1  # clipped after it is moved


def test_no_band_without_signal_outside(simulated):
    study = simulated(31)
    found = compared(study, np.stack([study.rng.normal(size=200), -study.quality, study.quality]))
    assert np.isnan(verdict.band(found)).all(0).tolist() == [True, True, False]
    tests = verdict.tests(found)
    assert tests.kept_upper[1] == np.inf and tests.kept_lower[1] == -np.inf
    families = verdict.family_verdicts({"items": found}, {"items": ["noise", "inverse", "good"]})["items"]
    assert families.scorer_verdicts.decision.tolist() == ["inconclusive", "inconclusive", "holds up"]


def test_a_perfect_scorer_holds_up_and_a_blind_one_degrades(simulated):
    study = simulated(32, n_prompts=50, n_items=15)
    blind = np.where(study.contested.mask, study.rng.normal(size=750), study.quality)
    found = compared(study, np.stack([study.means, blind]))
    families = verdict.family_verdicts({"items": found}, {"items": ["copy", "blind"]})["items"]
    assert families.scorer_verdicts.decision.tolist() == ["holds up", "degrades"]
    assert found.r[0, 0] == pytest.approx(1) and found.e[0, 0] == pytest.approx(1)


def test_certain_replicates_need_no_spread():
    found = made_up([0.4, 0.9, 0.7, 0.0], [0.8, 0.9, 0.7 / 0.9, 0.8], 0, np.random.default_rng(0))
    tests = verdict.tests(found)
    np.testing.assert_array_equal(tests.p_signal, 0)
    np.testing.assert_array_equal(tests.p_degrades, [0, 1, 0.5, 0])  # .7 is .9 × .7778: rounding is no difference
    assert tests.p_holds_up[1:].tolist() == [0, 0, 1]
    lower, _, _ = verdict.band(found)
    assert ((found.r[0] < lower - 1e-12) == [True, False, False, True]).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12))
def test_holm_matches_the_step_down_rule(values):
    p = np.array(values)
    adjusted = verdict.holm(p)
    known = np.flatnonzero(~np.isnan(p))
    largest = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        largest = max(largest, min(1, p[i] * (len(known) - rank)))
        assert adjusted[i] == pytest.approx(largest)
    assert np.isnan(adjusted[np.isnan(p)]).all()


def test_families_match_the_rule_written_out():
    rng = np.random.default_rng(5)
    absolute = made_up([0.2, 0.25, 0.45, 0.5, 0.1, 0.4], [0.5] * 6, 0.05, rng)
    pairs = made_up([0.5, 0.3, 0.48], [0.5] * 3, 0.05, rng)
    kinds = {"absolute": ["judge", "judge", "reward", "reward", "text", "lm"], "pairs": ["judge", "reward", "reward"]}
    found = verdict.family_verdicts({"absolute": absolute, "pairs": pairs}, kinds)
    # first family: kinds × sorts of items, the baseline left out
    cells, raw = [], []
    for items, scorers in (("absolute", absolute), ("pairs", pairs)):
        names, compared_kinds = comparison.compare_kinds(scorers, kinds[items])
        assert names == found[items].kinds
        tests = verdict.tests(compared_kinds)
        for k, name in enumerate(names):
            if name != "text":
                cells.append((items, k, name))
                raw.append((tests.p_degrades[k], tests.p_holds_up[k]))
    assert len(cells) == 5
    adjusted = [verdict.holm(np.array(p)) for p in zip(*raw, strict=True)]
    for (items, k, _), down, up in zip(cells, *adjusted, strict=True):
        assert found[items].kind_verdicts.p_degrades[k] == pytest.approx(down)
        assert found[items].kind_verdicts.p_holds_up[k] == pytest.approx(up)
    degrading = {(items, name) for (items, _, name), p in zip(cells, adjusted[0], strict=True) if p < 0.025}
    assert degrading == {("absolute", "judge")}
    # second family: the scorers of those kinds together; "holds up" within every cell
    p = verdict.tests(absolute).p_degrades[:2]
    degrades = found["absolute"].scorer_verdicts.p_degrades
    np.testing.assert_allclose(degrades[:2], verdict.holm(p))
    np.testing.assert_array_equal(degrades[[2, 3, 5]], 1)
    np.testing.assert_array_equal(found["pairs"].scorer_verdicts.p_degrades, 1)
    p = verdict.tests(pairs).p_holds_up
    np.testing.assert_allclose(found["pairs"].scorer_verdicts.p_holds_up, [p[0], *verdict.holm(p[1:])])
    text = found["absolute"].scorer_verdicts
    assert text.decision[4] == "not testable" and "baseline" in text.reason[4] and np.isnan(text.p_degrades[4])
    assert found["absolute"].kind_verdicts.decision.tolist()[-1] == "not testable"


def test_a_scorer_cannot_degrade_unless_its_kind_does(simulated):
    study = simulated(33, n_prompts=50, n_items=15)
    blind = np.where(study.contested.mask, study.rng.normal(size=750), study.quality)
    good = study.quality + 0.1 * study.rng.normal(size=(9, 750))
    found = verdict.family_verdicts({"items": compared(study, np.vstack([good, blind]))}, {"items": ["judge"] * 10})
    assert found["items"].kind_verdicts.decision.tolist() == ["holds up"]
    assert found["items"].scorer_verdicts.decision[-1] == "inconclusive"


def test_untestable_scorers_do_not_count_in_holm(simulated):
    study = simulated(34, n_prompts=50, n_items=15)
    blind = np.where(study.contested.mask, study.rng.normal(size=750), study.quality)
    kinds = {"items": ["judge"] * 4}
    alone = verdict.family_verdicts({"items": compared(study, blind)}, {"items": ["judge"]})["items"]
    constant = np.ones((3, 750))
    crowd = verdict.family_verdicts({"items": compared(study, np.vstack([blind, constant]))}, kinds)["items"]
    assert crowd.scorer_verdicts.p_degrades[0] == pytest.approx(alone.scorer_verdicts.p_degrades[0])
    assert crowd.scorer_verdicts.decision.tolist() == ["degrades", *["not testable"] * 3]


def test_all_words_occur():
    words = verdict.decide([0.01, 0.01, 0.3, 0.3, np.nan], [0.01, 0.9, 0.01, 0.3, np.nan], ["", "", "", "", "why"])
    assert words.tolist() == [
        "degrades, keeps more than half", "degrades", "holds up", "inconclusive", "not testable",
    ]  # fmt: skip


def test_a_straight_line_loses_correlation_where_the_range_is_cut():
    means = np.random.default_rng(0).normal(size=400)
    cuts = np.stack([np.ones(400, bool), abs(means) < 1, abs(means) < 0.3, means == means[0]])
    found = verdict.rank_linear_line(means, [0.5, 0.9], cuts, 300, np.random.default_rng(1))
    assert found[0] == pytest.approx([0.483, 0.89], abs=0.03)
    assert (np.diff(found[:3], axis=0) < -0.05).all() and (found[:3] > 0).all()
    assert np.isnan(found[3]).all()
    z, noise = contested.normal_scores(means), np.random.default_rng(1).normal(size=(300, 400))
    at = cuts[1]
    loop = [spearmanr((0.5 * z + np.sqrt(0.75) * e)[at], means[at]).statistic for e in noise]
    assert found[1, 0] == pytest.approx(np.mean(loop))


def test_a_straight_line_without_noise_keeps_the_ties_of_the_human_mean():
    means = np.random.default_rng(0).integers(0, 5, 60).astype(float)
    found = verdict.rank_linear_line(means, [1.0, 0.4], [means > 0], 40, np.random.default_rng(1))
    z, noise, at = contested.normal_scores(means), np.random.default_rng(1).normal(size=(40, 60)), means > 0
    loop = [spearmanr((0.4 * z + np.sqrt(0.84) * e)[at], means[at]).statistic for e in noise]
    assert found[0] == pytest.approx([1, np.mean(loop)])

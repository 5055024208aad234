"""Measures on sets of known content, and the axioms they keep and break."""

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_utils.metrics import diversity, quality, validity

modest = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
SCORES, LABELS = [0.9, 0.7, 0.6, 0.6, 0.3, 0.2], [1, 1, 0, 1, 0, 1]


# ------------------------------------------------------------------------------------------------------------- accuracy


def test_golden_values():
    assert validity.auc(SCORES, LABELS) == 0.6875
    assert validity.best_accuracy(SCORES, LABELS) == pytest.approx(0.666667, abs=5e-7)


@modest
@given(seeds)
def test_auc_and_accuracy_match_other_ways(seed):
    rng = np.random.default_rng(seed)
    values, labels = rng.integers(0, 6, 15) / 2, np.r_[0, 1, rng.integers(0, 2, 13)]
    pairs = [(a > b) + (a == b) / 2 for a in values[labels == 1] for b in values[labels == 0]]
    assert validity.auc(values, labels) == pytest.approx(np.mean(pairs))
    slow = max(np.mean((values >= at) == labels) for at in (*values, np.inf))
    assert validity.best_accuracy(values, labels) == pytest.approx(slow)
    assert validity.auc(np.exp(values), labels) == validity.auc(values, labels)


@pytest.mark.parametrize(("n", "expected"), [(60, 0.57), (200, 0.54), (1000, 0.52)])
def test_accuracy_in_noise(n, expected):
    found = validity.noise_accuracy(n // 2, n // 2, np.random.default_rng(0))
    assert found == pytest.approx(expected, abs=0.005)
    rng = np.random.default_rng(1)
    drawn = [validity.best_accuracy(rng.random(n), np.arange(n) % 2) for _ in range(400)]
    assert found == pytest.approx(np.mean(drawn), abs=0.006)


def test_intervals_are_over_contexts():
    rng, covered = np.random.default_rng(2), []
    for _ in range(200):
        contexts, labels = np.repeat(np.arange(30), 4), np.tile([0, 0, 1, 1], 30)
        values = rng.normal(size=30)[contexts] * 0.5 + rng.normal(size=120) + labels
        found = validity.auc_interval(values, labels, contexts)
        covered.append(found.lower <= 0.7366 <= found.upper)  # of two normals, variance 1.25 each, one apart
    assert 0.9 <= np.mean(covered) <= 0.99
    left = [validity.auc(values[contexts != c], labels[contexts != c]) for c in range(30)]
    assert found.se == pytest.approx(np.sqrt(29 / 30 * ((left - np.mean(left)) ** 2).sum()))


def test_one_label_or_one_context_has_no_interval():
    assert np.isnan(validity.auc([1, 2], [1, 1])) and np.isnan(validity.best_accuracy([], []))
    assert np.isnan(validity.auc_interval([1.0, 2.0, 3.0], [1, 0, 0], [0, 1, 2]).lower)
    found = validity.auc_interval([1.0, 2.0], [0, 1], [0, 0])
    assert found.estimate == 1 and np.isnan(found.lower)


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        ([1.0], [1, 0], "a value and a label"),
        ([np.nan, 1], [0, 1], "1 sets have no value"),
        ([1, 2], [1, 2], "0 .low."),
    ],
)
def test_bad_sets_are_refused(values, labels, words):
    for work in (validity.auc, validity.best_accuracy):
        with pytest.raises(ValueError, match=words):
            work(values, labels)
    with pytest.raises(ValueError, match="Every set needs a context"):
        validity.auc_interval([1.0, 2.0], [0, 1], [0])
    with pytest.raises(ValueError, match="Both labels need a set"):
        validity.noise_accuracy(0, 5, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------------------- crossed sets


@modest
@given(seeds, st.integers(2, 7), st.integers(1, 3))
def test_crossed_sets_are_what_they_say(seed, n_options, n_slots):
    ideas, options = validity.crossed_sets(7, n_options, n_slots, 3, np.random.default_rng(seed))
    assert ideas.shape == (3, 2, 2, 5) and options.shape == (3, 2, 2, 5, n_slots)
    assert options.min() >= 0 and options.max() < n_options and ideas.max() < 7
    for s in range(3):
        for form in (0, 1):
            assert len(set(ideas[s, 0, form])) == 1 and len(set(ideas[s, 1, form])) == 5
        for idea in (0, 1):
            assert len(np.unique(options[s, idea, 0])) == 1
            for slot in range(n_slots):
                counts = np.bincount(options[s, idea, 1, :, slot], minlength=n_options)
                assert counts.max() == -(-5 // n_options)


def test_measures_of_ideas_of_form_and_of_noise():
    ideas, options = validity.crossed_sets(8, 6, 2, 12, np.random.default_rng(0))
    ideas, options = ideas[None].repeat(4, 0), options[None].repeat(4, 0)
    n_ideas = np.apply_along_axis(lambda x: len(set(x)), -1, ideas)
    n_forms = np.apply_along_axis(lambda x: len(set(x)), -1, options[..., 0])
    by_ideas, by_form = validity.crossed_accuracy(n_ideas).estimate, validity.crossed_accuracy(n_forms).estimate
    assert by_ideas.tolist() == [1, 0.5, 1]
    assert by_form.tolist() == [0.5, 1, 0]
    noise = validity.crossed_accuracy(np.random.default_rng(1).random((40, 10, 2, 2)))
    assert np.all((noise.lower < 0.5) & (0.5 < noise.upper))


@modest
@given(seeds)
def test_crossed_accuracy_matches_the_loop(seed):
    values = np.random.default_rng(seed).integers(0, 4, (3, 4, 2, 2)).astype(float)
    found = validity.crossed_accuracy(values).estimate
    for which, ((i, f), (j, g)) in enumerate([((1, 1), (0, 1)), ((1, 1), (1, 0)), ((1, 0), (0, 1))]):
        slow = [
            np.mean([(a > b) + (a == b) / 2 for a in prompt[:, i, f] for b in prompt[:, j, g]]) for prompt in values
        ]
        assert found[which] == pytest.approx(np.mean(slow))


def test_unknown_values_and_bad_shapes():
    values = np.ones((2, 3, 2, 2))
    values[0, 1, 1, 1] = np.nan
    values[1, :, 0, 1] = np.nan
    assert validity.crossed_accuracy(values).n_prompts.tolist() == [1, 2, 1]
    with pytest.raises(ValueError, match="n_prompts, n_sets, 2, 2"):
        validity.crossed_accuracy(np.ones((2, 2)))
    with pytest.raises(ValueError, match="there are 4"):
        validity.crossed_sets(4, 3, 1, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 options and 1 slot"):
        validity.crossed_sets(6, 1, 1, 2, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------------------------- axioms
# M: a new idea never lowers. U: a unique response replaced by a copy never raises. R: every response twice changes
# nothing. S: the expectation does not depend on how many responses are drawn.


def hill(ideas):
    return diversity.effective_number(np.bincount(ideas))


def circle(degrees):
    radians = np.deg2rad(np.asarray(degrees, float))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def mean_distance(degrees):
    rows = circle(degrees)
    return float(quality.diversity(rows @ rows.T))


def spread(degrees):
    return 1 - float(np.sum(circle(degrees).mean(0) ** 2))


def vendi(degrees):
    return diversity.vendi_score(circle(degrees))


idea_lists = st.lists(st.integers(0, 4), min_size=2, max_size=9)
angle_lists = st.lists(st.integers(0, 90), min_size=2, max_size=7)


@modest
@given(idea_lists)
def test_hill_keeps_m_u_and_r(ideas):
    assert hill([*ideas, 9]) >= hill(ideas) - 1e-12
    unique = [i for i, x in enumerate(ideas) if ideas.count(x) == 1]
    for i in unique:
        rest = ideas[:i] + ideas[i + 1 :]
        assert all(hill([*rest, x]) <= hill(ideas) + 1e-12 for x in rest)
    assert hill(ideas * 2) == pytest.approx(hill(ideas))


def test_hill_breaks_s():
    ideas = [0, 1, 2, 3, 4, 5]
    small = np.mean([hill([ideas[i] for i in rows]) for rows in combinations(range(6), 3)])
    assert small == pytest.approx(3) and hill(ideas) == pytest.approx(6)


@modest
@given(angle_lists.filter(lambda x: len(x) > 3))
def test_mean_distance_keeps_s_and_grows_by_its_factor_when_doubled(degrees):
    n = len(degrees)
    small = [mean_distance([degrees[i] for i in rows]) for rows in combinations(range(n), 3)]
    assert np.mean(small) == pytest.approx(mean_distance(degrees), abs=1e-9)
    assert mean_distance(degrees * 2) == pytest.approx(mean_distance(degrees) * 2 * (n - 1) / (2 * n - 1), abs=1e-9)


def test_mean_distance_breaks_m_and_u():
    assert mean_distance([0, 90, 45]) < mean_distance([0, 90])
    assert mean_distance([0, 0, 90, 90]) > mean_distance([0, 0, 90, 45])


FORM = {  # measures of form, turned round where they measure repetition
    "duplicate_share": lambda texts: 1 - diversity.duplicate_share(texts),
    "distinct_n": lambda texts: diversity.distinct_n(texts, 2),
    "self_overlap": lambda texts: 1 - diversity.self_overlap(texts),
    "compression_ratio": lambda texts: 1 / diversity.compression_ratio(texts),
    "opener_share": lambda texts: 1 - diversity.opener_share(texts, 2),
}
RIVER = ["time is a river", "time is a thief", "love burns like fire"]
CLOCK = [*RIVER, "time is a clock"]
HUB = ["a b c d e f g h", "a b", "c d", "e f", "g h", "q r s"]
LONG = ["time is a river that flows on and on and on through the night", "short words", "a clock"]
OPENERS = ["time is a river", "time is a thief", "time is a clock", "time is a sea", "love burns"]
BREAKS = [  # measure, axiom, responses before and after
    ("duplicate_share", "R", RIVER, RIVER * 2),
    *((name, "M", RIVER, CLOCK) for name in ("distinct_n", "self_overlap", "compression_ratio", "opener_share")),
    ("distinct_n", "U", HUB, ["q r s", *HUB[1:]]),
    ("self_overlap", "U", HUB, ["q r s", *HUB[1:]]),
    ("compression_ratio", "U", LONG, ["short words", *LONG[1:]]),
    ("opener_share", "U", OPENERS, ["love burns", *OPENERS[1:]]),
    *((name, "R", RIVER, RIVER * 2) for name in ("distinct_n", "self_overlap", "compression_ratio")),
]


@pytest.mark.parametrize(("name", "axiom", "before", "after"), BREAKS)
def test_measures_of_form_break_what_their_docstrings_say(name, axiom, before, after):
    first, second = FORM[name](before), FORM[name](after)
    assert {"M": second < first, "U": second > first, "R": abs(second - first) > 0.1}[axiom]
    broken = getattr(diversity, name).__doc__.split("Breaks", 1)[1].split("keeps")[0]
    assert re.search(rf"\b{axiom}\b", broken)


@modest
@given(st.lists(st.sampled_from(["a b", "a c", "d e", "d e f", "g"]), min_size=2, max_size=8))
def test_what_measures_of_form_keep(texts):
    assert FORM["duplicate_share"]([*texts, "new idea"]) >= FORM["duplicate_share"](texts) - 1e-12
    for i, text in enumerate(texts):
        rest = texts[:i] + texts[i + 1 :]
        if texts.count(text) == 1:
            assert all(FORM["duplicate_share"]([*rest, x]) <= FORM["duplicate_share"](texts) + 1e-12 for x in rest)
    assert FORM["opener_share"](texts * 2) == pytest.approx(FORM["opener_share"](texts))


@modest
@given(idea_lists)
def test_rarefaction_keeps_m_u_and_s_at_one_size(ideas):
    def found(given):
        return diversity.rarefaction(np.bincount(given), [2])[0]

    assert found([*ideas, 9]) >= found(ideas) - 1e-9
    for i in [i for i, x in enumerate(ideas) if ideas.count(x) == 1]:
        rest = ideas[:i] + ideas[i + 1 :]
        assert all(found([*rest, x]) <= found(ideas) + 1e-9 for x in rest)
    drawn = [found([ideas[i] for i in rows]) for rows in combinations(range(len(ideas)), 2)]
    assert np.mean(drawn) == pytest.approx(found(ideas))


def test_rarefaction_breaks_r_and_chao1_breaks_u_and_r():
    assert diversity.rarefaction([2] * 4, [2])[0] < diversity.rarefaction([1] * 4, [2])[0]
    assert diversity.chao1([1] * 9 + [3, 2]).estimate > diversity.chao1([1] * 10 + [2, 2]).estimate
    assert diversity.chao1([2, 2, 4, 6]).estimate < diversity.chao1([1, 1, 2, 3]).estimate


@modest
@given(angle_lists)
def test_spread_and_vendi_keep_r(degrees):
    assert spread(degrees * 2) == pytest.approx(spread(degrees), abs=1e-9)
    assert vendi(degrees * 2) == pytest.approx(vendi(degrees), rel=1e-5)


@pytest.mark.parametrize("measure", [spread, vendi])
def test_spread_and_vendi_break_m_u_and_s(measure):
    assert measure([0, 80, 40]) < measure([0, 80])
    assert measure([0, 0, 80, 80]) > measure([0, 0, 80, 40])
    degrees = [0, 20, 40, 60, 80]
    small = np.mean([measure([degrees[i] for i in rows]) for rows in combinations(range(5), 2)])
    assert small < measure(degrees) - 0.01

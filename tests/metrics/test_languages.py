"""Languages: floors of their own, and a planted effect of language told from the doing of an encoder."""

import dataclasses

import numpy as np
import pytest

from hivemind_utils.metrics import languages, similarity

N_PROMPTS, N_ARMS, N = 24, 3, 8
LANGUAGES = ("en", "effect", "artefact", "shifted")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def population(seed, *, effect=True):
    """Responses in four languages under two measurements: (P, A, L, N, D) each.

    In "effect" models really vary less. A multilingual encoder blurs what differs between responses in "artefact", and
    adds what all texts share in "shifted": the first no floor takes away, the second its floor does. Translated
    responses have neither.
    """
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(N_PROMPTS, 1, 1, 1, 40))
    content = rng.normal(size=(N_PROMPTS, N_ARMS, 4, N, 40))
    if effect:
        content[:, :, 1] *= 0.7
    measured = topics + content
    measured[:, :, 2] = topics[:, :, 0] + 0.6 * content[:, :, 2]
    measured[:, :, 3] += 1.5
    translated = topics + content + 0.3 * rng.normal(size=content.shape)
    return unit(measured), unit(translated)


def found_of(rows):
    return languages.alikeness(rows.sum(3), np.full(rows.shape[:3], rows.shape[3]))


def verdicts(seed, **planted):
    measured, translated = (found_of(rows) for rows in population(seed, **planted))
    return {
        name: languages.verdict(*(languages.difference(found, k, 0) for found in (measured, translated)))
        for k, name in enumerate(LANGUAGES)
        if k
    }


@pytest.mark.parametrize("seed", range(5))
def test_only_the_planted_effect_of_language_is_reported(seed):
    found = verdicts(seed)
    assert found["effect"] == ("more alike", "")
    assert found["artefact"] == (
        "inconclusive", "the multilingual encoder alone finds a difference, which may be its own"
    )  # fmt: skip
    assert found["shifted"][0] == "inconclusive"


def test_where_nothing_is_planted_hardly_anything_is_said():
    said = [verdicts(seed, effect=False)[name][0] for seed in range(100, 130) for name in ("effect", "artefact")]
    assert sum(decision != "inconclusive" for decision in said) <= 3  # of 60, at 5 %


def test_values_match_literal_loops_and_leave_prompts_out():
    rows = population(7)[0][:5, :2, :2, :3]
    found = found_of(rows)
    for replicate in range(6):
        kept = [p for p in range(5) if p != replicate - 1]
        for language in range(2):
            at = rows[kept, :, language]
            within = np.mean([[similarity.mean_pairwise_cosine(x) for x in prompt] for prompt in at])
            flat = at.reshape(len(kept), -1, 40)
            pairs = [a @ b for i, p in enumerate(flat) for q in flat[:i] for a in p for b in q]
            assert found.within[replicate, language] == pytest.approx(within)
            assert found.floor[replicate, language] == pytest.approx(np.mean(pairs))
    expected = (found.within - found.floor) / (1 - found.floor)
    np.testing.assert_allclose(found.above, expected)


def test_a_shift_shared_by_a_language_leaves_what_is_above_its_floor_nearly_alone():
    found = found_of(population(3)[0])
    assert found.within[0, 3] - found.within[0, 0] > 0.2
    assert abs(found.above[0, 3] - found.above[0, 0]) < 0.05


def test_what_is_not_measured_is_said():
    known = languages.difference(found_of(population(0)[0]), 1, 0)
    assert languages.verdict(known, None) == ("inconclusive", "not measured: translated responses")
    assert languages.verdict(None, None)[1].endswith("a multilingual encoder and translated responses")
    turned = dataclasses.replace(known, estimate=-known.estimate, lower=-known.upper, upper=-known.lower)
    assert languages.verdict(known, turned)[1] == "the two measurements contradict each other"
    assert languages.verdict(turned, turned) == ("less alike", "")


@pytest.mark.parametrize(
    ("shape", "counts", "message"),
    [
        ((1, 1, 2, 3), np.full((1, 1, 2), 2), "needs two prompts or more"),
        ((3, 1, 2, 3), np.ones((3, 1, 2)), "two responses of an arm in every language"),
        ((3, 1, 2, 3), np.ones((3, 1)), "Pass sums of shape"),
    ],
)
def test_bad_input_says_what_to_do(shape, counts, message):
    with pytest.raises(ValueError, match=message):
        languages.alikeness(np.ones(shape), counts)

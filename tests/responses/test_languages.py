"""Prompts in several languages: the table of notebook 11, from responses with a planted effect and artefact."""

import numpy as np
import pandas as pd
import pytest
from some_responses import responses_of

from hivemind_utils.figures import sources as figures
from hivemind_utils.responses import headlines, languages, prompts
from hivemind_utils.tables import schema

SAID = {"en": "The time is a river.", "de": "Die Zeit ist ein Fluss.", "fr": "Le temps est un fleuve dans les mains."}
N_PROMPTS, N_MODELS, N = 16, 2, 6


def world(seed=0, wrong=0.25):
    """German: models vary less. French: the encoder blurs. A quarter of the replies to French prompts are English."""
    rng = np.random.default_rng(seed)
    rows, vectors, translated, facts = [], [], [], {}
    for p in range(N_PROMPTS):
        topic = rng.normal(size=30)
        for language in SAID:
            prompt_id = f"p{p:02}" if language == "en" else f"p{p:02}-{language}"
            facts[prompt_id] = (language, None if language == "en" else f"p{p:02}")
            for m in range(N_MODELS):
                content = rng.normal(size=(N, 30)) * (0.6 if language == "de" else 1)
                vectors += list(topic + content * (0.6 if language == "fr" else 1))
                translated += list(topic + content + 0.2 * rng.normal(size=(N, 30)))
                own = rng.random(N) >= (wrong if language == "fr" else 0)
                rows += [(prompt_id, f"m{m}", SAID[language] if right else SAID["en"]) for right in own]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "text"]).assign(condition="default", decoding="top_p")
    table["response_id"] = [f"r{k}" for k in range(len(table))]
    known = pd.DataFrame.from_dict(facts, "index", columns=["language", "parent_id"]).rename_axis("prompt_id")
    known["prompt_kind"] = prompts.kinds(known.reset_index())
    return responses_of(table, np.array(vectors), prompts=known), np.array(translated)


def test_the_planted_effect_is_said_and_the_encoders_doing_is_not():
    loaded, translated = world()
    found = languages.compare(loaded, translated)
    schema.validate(found, "11_languages")
    at = found.set_index("language")
    assert at.index.tolist() == ["de", "fr"] and (at["n_prompts"] == N_PROMPTS).all() and (at["n_lost"] == 0).all()
    assert at.loc["de", "decision"] == "more alike" and at.loc["fr", "decision"] == "inconclusive"
    assert at.loc["fr", "lower"] > 0 and "encoder alone" in at.loc["fr", "reason"]
    assert at.loc["de", "in_language"] == 1 and 0.6 < at.loc["fr", "in_language"] < 0.9
    said = headlines.language_effects(found)
    assert "More alike when asked in de" in said and "fr: inconclusive" in said
    assert figures.language_effects(found) is not None


def test_one_measurement_says_nothing():
    loaded, translated = world()
    assert (languages.compare(loaded)["decision"] == "inconclusive").all()
    found = languages.compare(loaded, translated, multilingual=False)
    assert found["reason"].str.contains("not measured: a multilingual encoder").all()


def test_prompts_without_a_translation_are_counted():
    loaded, translated = world()
    keep = ~loaded.table["prompt_id"].isin(["p00", "p01"]).to_numpy()
    found = languages.compare(loaded.where(keep), translated[keep]).set_index("language")
    assert (found["n_lost"] == 2).all() and (found["n_prompts"] == N_PROMPTS - 2).all()


@pytest.mark.parametrize("kept", [["p00", "p00-de"], ["p00"], ["p00-de", "p01-de"]])
def test_one_prompt_or_one_language_is_no_error(kept):
    loaded, _ = world()
    found = languages.compare(loaded.where(loaded.table["prompt_id"].isin(kept).to_numpy()))
    schema.validate(found, "11_languages")
    assert (found["decision"] == "inconclusive").all()
    assert headlines.language_effects(found) and (found.empty or figures.language_effects(found) is None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("El tiempo es un río y los días pasan por él.", "es"),
        ("O tempo é um rio e não para com os dias.", "pt"),
        ("De tijd is een rivier en het stroomt met ons.", "nl"),
        ("Il tempo è un fiume che non si ferma.", "it"),
        ("Время это река.", "ru"),
        ("시간은 강이다", "ko"),
        ("时间是一条河", "zh"),
        ("", None),
        ("🙂 42", None),
        ("xqz", None),
    ],
)
def test_languages_are_guessed_or_left_open(text, language):
    assert languages.guess_language(text) == language

"""The demo population does what its YAML says: truncation truncates, ideas come at planted rates, draws repeat."""

import copy
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import binomtest

from hivemind_utils.demo import population as population_demo

PATH = Path(__file__).parents[2] / "data" / "demo" / "population.yaml"
KEY = ["prompt_id", "model", "decoding", "sample_idx"]


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(PATH)


@pytest.fixture(scope="module")
def drawn(population):
    return population_demo.draw_responses(population, seed=0)


@pytest.fixture(scope="module")
def time_answers(population):
    responses, truth = population_demo.draw_responses(
        population, seed=0, prompts=["time-metaphor"], decodings=["top_p"]
    )
    return responses.merge(truth, on=KEY).dropna(subset="idea")


@pytest.fixture
def raw():
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def tiny(**changes):
    """Population of one prompt, two ideas, one model."""
    model = {"model": "m", "family": "F", "size_b": 1, "tuning": "base", "release_date": "2024-01-01"}
    prompt = {"prompt_id": "p", "text": "?", "category": "c", "open_endedness": 1.0, "n_samples": 40}
    prompt |= {"frames": "{Say}. | It is {say}!", "slots": {"say": "yes | no | perhaps"}}
    prompt |= {"ideas": [{"idea": "a", "weight": 0.6}, {"idea": "b", "weight": 0.4}]}
    decoding = {"truncation": {}, "needs_open_weights": False, "kinds": ["original"]}
    sds = {f"{who}_{what}_sd": 0.0 for who in ("family", "model", "rewording") for what in ("idea", "phrase")}
    population = {
        "grammar": {"phrase_slope": 0.3} | sds,
        "decodings": {"top_p": decoding | {"truncation": changes.pop("truncation", {})}},
        "families": {"F": {}},
        "models": [model | {"open_weights": True, "sharpness": 1.0} | changes.pop("model", {})],
        "people": {"sharpness": 0.2, "personal_sd": 1.0, "n_samples": 3},
        "prompts": [prompt | changes.pop("prompt", {})],
    }
    return population | changes


def literal_truncation(logits, temperature, top_p, min_p):
    weights = [np.exp(logit / temperature) for logit in logits]
    p = [weight / sum(weights) for weight in weights]
    kept, mass = [], 0.0
    for k in sorted(range(len(p)), key=lambda k: -p[k]):
        if mass < top_p and p[k] >= min_p * max(p):
            kept.append(k)
        mass += p[k]
    total = sum(p[k] for k in kept)
    return [p[k] / total if k in kept else 0.0 for k in range(len(p))]


@pytest.mark.parametrize(("temperature", "top_p", "min_p"), [(1, 0.9, 0), (2, 1, 0.1), (0.7, 0.5, 0.3), (1, 1, 0)])
def test_truncation_matches_a_literal_loop(temperature, top_p, min_p):
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        logits = rng.normal(scale=2, size=size)
        found = population_demo.truncated_softmax(logits, temperature=temperature, top_p=top_p, min_p=min_p)
        np.testing.assert_allclose(found, literal_truncation(logits, temperature, top_p, min_p), atol=1e-12)


def test_truncation_removes_the_tail():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(population_demo.truncated_softmax(np.log(p), top_p=0.6), [0.625, 0.375, 0, 0])
    np.testing.assert_allclose(
        population_demo.truncated_softmax(np.log(p), min_p=0.2), np.array([0.5, 0.3, 0.15, 0]) / 0.95
    )


@pytest.mark.parametrize(
    "changes", [{"truncation": {"top_p": 1e-9}}, {"truncation": {"min_p": 1.0}}, {"model": {"sharpness": 1e6}}]
)
def test_a_model_without_choice_always_says_the_same(changes):
    responses, truth = population_demo.draw_responses(
        population_demo.expand_population(tiny(**changes)), seed=0, models=["m"]
    )
    assert set(responses["response"]) == {"Yes."} and set(truth["idea"]) == {"a"} and len(responses) == 40


def test_the_same_seed_draws_the_same_and_another_does_not(population):
    options = {"prompts": ["bakery-name"], "models": ["brindlewick-1", "people"]}
    once, twice, other = (population_demo.draw_responses(population, seed=seed, **options) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(once[0], twice[0])
    pd.testing.assert_frame_equal(once[1], twice[1])
    assert not once[0]["response"].equals(other[0]["response"])


def test_a_cell_does_not_depend_on_what_else_is_drawn(population, drawn):
    shuffled = copy.deepcopy(population)
    shuffled["models"] = shuffled["models"][::-1]
    shuffled["prompts"] = shuffled["prompts"][::-1]
    names = ["oddmoth-2-instruct", "people"]
    part = population_demo.draw_responses(shuffled, seed=0, prompts=["time-metaphor-p2", "first-line"], models=names)
    for few, all_ in zip(part, drawn, strict=True):
        both = few.merge(all_, on=list(few.columns))
        assert len(few) == len(both) == 12 + 10 + 10  # top-p, min-p and people; this model answers no paraphrases


def test_more_samples_extend_fewer(population, drawn):
    three = population_demo.draw_responses(population, seed=0, n_samples=3)
    for few, many in zip(three, drawn, strict=True):
        pd.testing.assert_frame_equal(few, many[many["sample_idx"] < 3].reset_index(drop=True))


def test_ideas_come_at_their_planted_rates(population):
    many = copy.deepcopy(population)
    many["decodings"]["min_p"]["max_samples"] = 600
    many["prompts"] = [prompt | {"n_samples": 600} for prompt in many["prompts"][:1]]
    names = ["tumbleweave-1-base", "quillon-2-medium-instruct", "oddmoth-2-instruct"]
    _, truth = population_demo.draw_responses(many, seed=3, models=names)
    for (model, decoding), ideas in truth.groupby(["model", "decoding"])["idea"]:
        planted = population_demo.idea_distribution(population, "time-metaphor", model, decoding)
        assert sum(planted.values()) == pytest.approx(1)
        for idea, p in planted.items():
            assert binomtest(int((ideas == idea).sum()), len(ideas), p).pvalue > 1e-4, (model, decoding, idea)


def test_people_are_flatter_than_models(drawn):
    responses, truth = drawn
    words = responses.merge(truth, on=KEY).query("prompt_kind == 'original' and decoding != 'min_p' and idea.notna()")

    def shared_words(texts):
        sets = [set(text.lower().split()) for text in texts[:10]]
        return np.mean([len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i]])

    overlap = words.groupby(["prompt_id", "model"])["response"].agg(lambda texts: shared_words(list(texts)))
    overlap = overlap.groupby("model").mean()
    assert overlap.idxmin() == "people"
    only_people = set(words.loc[words["model"] == "people", "idea"]) - set(
        words.loc[words["model"] != "people", "idea"]
    )
    assert only_people


def test_planted_sharpness_makes_answers_repeat(population, drawn):
    responses, _ = drawn
    shares = responses.query("prompt_kind == 'original' and decoding == 'top_p'").groupby("model")["response"]
    distinct = shares.nunique() / shares.size()
    assert distinct.corr(pd.Series(population_demo.planted_sharpness(population)), method="spearman") < -0.85


def test_the_population_has_the_size_the_demo_needs(population, drawn):
    responses, truth = drawn
    models = population_demo.models_frame(population)
    assert (
        models["model"].is_unique and (models["model_kind"] == "model").sum() >= 25 and models["family"].nunique() >= 7
    )
    assert "sharpness" not in models and set(models["tuning"].dropna()) == {"base", "instruct"}
    sharpness = pd.Series(population_demo.planted_sharpness(population)).drop("people")
    assert sharpness.is_unique and sharpness.min() <= 0.4 and sharpness.max() >= 2.8
    kinds = responses.drop_duplicates("prompt_id")["prompt_kind"].value_counts()
    assert kinds["original"] >= 12 and kinds["closed"] == 12 and kinds["paraphrase"] >= 9
    assert (responses.query("prompt_id == 'time-metaphor' and decoding == 'top_p'").groupby("model").size() == 50).all()
    assert responses["response"].nunique() <= 9_000
    assert not responses.duplicated(KEY).any() and responses[KEY].equals(truth[KEY])
    assert set(responses.loc[responses["model"] == "people", "decoding"]) == {"none"}


def test_min_p_needs_open_weights(population, drawn):
    closed = population_demo.models_frame(population).query("model_kind == 'model' and not open_weights")["model"]
    assert len(closed) and not (drawn[0]["decoding"].eq("min_p") & drawn[0]["model"].isin(closed)).any()


def test_some_answers_fail_so_that_exclusions_count_something(drawn):
    responses, truth = drawn
    empty, refused = responses["response"].eq(""), responses["response"].eq(population_demo.REFUSAL)
    cut = responses["finish_reason"].eq("length")
    assert 0 < empty.sum() < 20 and 0 < refused.sum() < 20 and 0 < cut.sum() < 30
    assert (truth["idea"].isna() == (empty | refused)).all()


def test_every_slot_resolves(drawn):
    assert not drawn[0]["response"].str.contains(r"[{}|]").any()


def test_frames_and_common_words_are_shared_between_ideas(time_answers):
    for frame in (r" is .* that ", r"^Like ", r": that is how ", r", hour after hour and minute after minute"):
        assert time_answers.loc[time_answers["response"].str.contains(frame), "idea"].nunique() >= 3, frame


def test_no_single_word_identifies_an_idea(time_answers):
    words = [set(re.findall(r"[a-z]+", text.lower())) for text in time_answers["response"]]
    everywhere = Counter(word for found in words for word in found)
    for idea, group in time_answers.reset_index(drop=True).groupby("idea"):
        here = Counter(word for row in group.index for word in words[row])
        recall = max(n / len(group) for word, n in here.items() if n / everywhere[word] >= 0.9)
        assert recall <= 0.7, (idea, recall)


def test_families_of_different_names_share_long_passages(drawn):
    families = drawn[0]["model"].str.split("-").str[0]
    long_answers = drawn[0][drawn[0]["prompt_id"].eq("lighthouse")]
    spans = {}
    for family, text in zip(families[long_answers.index], long_answers["response"], strict=True):
        words = text.split()
        for k in range(len(words) - 7):
            spans.setdefault(" ".join(words[k : k + 8]), set()).add(family)
    assert max(len(found) for found in spans.values()) >= 6


def broken(path, value):
    def break_(raw):
        *parents, last = path
        for step in parents:
            raw = raw[step]
        raw[last] = value

    return break_


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (broken(["models", 0, "family"], "Nobody"), "family of model 'lanternfish-1-small-base' must be one of"),
        (broken(["models", 0, "sharpness"], 0), "must be > 0"),
        (broken(["models", 1, "model"], "lanternfish-1-small-base"), "must be unique"),
        (broken(["prompts", 0, "ideas"], []), "must have at least one idea"),
        (broken(["prompts", 0, "frames"], "{Subject} is {nothing}."), "uses the slot 'nothing'"),
        (broken(["prompts", 0, "prompt_kind"], "open"), "must be one of"),
        (broken(["prompts", 0, "ideas", 0, "weight"], -1), "must have a weight > 0"),
        (broken(["prompts", 1, "prompt_id"], "time-metaphor"), "used twice"),
        (broken(["prompts", 1, "parent_id"], "bakery"), "must follow its parent"),
        (broken(["prompts", 1, "weights"], {"lake": 1}), "no ideas of"),
        (broken(["families", "Oddmoth", "favours", "time-metaphor"], {"lake": 1}), "favours"),
        (broken(["decodings"], {}), "must have a `decodings` block"),
    ],
)
def test_a_broken_population_is_refused(raw, break_, message):
    break_(raw)
    with pytest.raises(ValueError, match=re.escape(message)):
        population_demo.expand_population(raw)


def test_unknown_names_are_refused(population):
    with pytest.raises(ValueError, match=r"The values for `models` must be among .* \['nobody'\] was passed"):
        population_demo.draw_responses(population, seed=0, models=["nobody"])
    with pytest.raises(ValueError, match="`decodings`"):
        population_demo.draw_responses(population, seed=0, decodings=["topp"])
    with pytest.raises(ValueError, match="`model` must be one of"):
        population_demo.idea_distribution(population, "time-metaphor", "people")

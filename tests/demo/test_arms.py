"""The demo's arms do what is planted, and every statement comes out as planted, seed by seed."""

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.demo import arms as demo_arms
from hivemind_utils.demo import ideas as demo_ideas
from hivemind_utils.demo import population as population_demo
from hivemind_utils.metrics import diversity, interventions, quality
from hivemind_utils.responses import arm_quality, tradeoffs
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import interventions as compared
from hivemind_utils.tables import files

MODEL = "marzipan-3-grand"
NOTHING = {"placebo_fixed", "placebo_varied"}
SAID = {  # statement: arms of which it is true; of the others it is false
    "raises diversity": {"be_different", "list_k"},
    "raises diversity without losing quality": {"be_different", "list_k"},
    "beats hotter sampling": {"be_different", "list_k"},
    "costs less per useful response": {"be_different", "list_k"},
}


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(files.root() / "data" / "demo" / "population.yaml")


def drawn(population, seed):
    """Responses of the plain asking and of every arm, with the planted ideas; off-topic ones are ideas of their own."""
    plain, truth = population_demo.draw_responses(
        population, seed=seed, models=[MODEL], n_samples=12, decodings=["top_p"]
    )
    plain = plain.assign(idea=truth["idea"], condition="default")
    found = pd.concat([plain, population_demo.draw_arms(population, seed=seed)], ignore_index=True)
    found = found[found["prompt_kind"] != "paraphrase"].reset_index(drop=True)
    return found.assign(idea=found["idea"].where(found["idea"].notna(), [f"alone {i}" for i in range(len(found))]))


def study_of(population, seed):
    """What notebook 10 would compare, with the ideas and grades as planted and words for vectors."""
    found = drawn(population, seed)
    prompts = {prompt["prompt_id"]: prompt for prompt in population["prompts"]}
    readers = {name: demo_ideas.reader(prompt) for name, prompt in prompts.items()}
    grades = [
        demo_ideas.grade(prompts[p], text, readers[p])
        for p, text in zip(found["prompt_id"], found["response"], strict=True)
    ]
    k = found["condition"].map(lambda name: population["planted"].arms[name].k)
    reply = (found["sample_idx"] // k).where(k > 1).astype("Int64")
    length = found["response"].str.split().str.len()
    table = found.assign(
        response_id=found.index.astype(str), text=found["response"], usable=True, outcome="answer", reply=reply,
        probability=np.nan, label=np.nan, usd=0.0, quality=quality.scale_quality(grades), tokens=length + 8.0 / k,
    ).sort_values([*compared.ARM, "prompt_id", "sample_idx"], ignore_index=True)  # fmt: skip
    declared = response_arms.table(population["planted"].arms).set_index("condition")
    arms = compared._arms(table, declared, [MODEL])
    vectors = diversity.lexical_vectors(table["text"].tolist(), ngrams=(1, 1)).toarray().astype(np.float32)
    kinds = {name: prompt["prompt_kind"] for name, prompt in prompts.items()}
    asked = compared.arranged(table, arms, kinds, vectors)
    own = table[table["condition"] == "default"].groupby("prompt_id")["quality"].mean()
    bad = interventions.mean_contrast(-own[[kinds[name] == "original" for name in own.index]].to_numpy())
    return arm_quality.Graded(asked, ["planted"], False, False, bad, [], 0, [])


def said(population, seed):
    graded = study_of(population, seed)
    found = compared.measures(graded.asked)
    return tradeoffs.judge(graded, found), compared.contrasts(graded.asked, found)


def check(statements, contrasts):
    made = statements[statements["decision"] == "holds"].groupby("statement")["condition"].agg(set).to_dict()
    assert {words: made.get(words, set()) for words in SAID} == SAID
    change = contrasts[contrasts["prompts"] == "open-ended"].set_index(["condition", "measure"])
    assert change.loc[("random_word", "diversity"), "lower"] > 0 > change.loc[("random_word", "quality"), "upper"]
    assert change.loc[("persona", "diversity"), "estimate"] > 0
    assert abs(change.loc[("persona", "ideas"), "estimate"]) < 0.5 < change.loc[("be_different", "ideas"), "estimate"]


def test_the_statements_come_out_as_planted(population):
    check(*said(population, 0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_the_statements_come_out_as_planted_for_every_seed(population, seed):
    check(*said(population, seed))


def test_what_is_planted_is_there(population):
    found = population_demo.draw_arms(population, seed=3)
    opened = found[found["prompt_kind"] == "original"]
    lists = opened[opened["condition"] == "list_k"]
    calls = lists.groupby(["prompt_id", lists["sample_idx"] // 6])["idea"].nunique()
    n_ideas = {p["prompt_id"]: sum(not i.get("only_people") for i in p["ideas"]) for p in population["prompts"]}
    assert all(n == min(6, n_ideas[prompt]) for (prompt, _), n in calls.items())
    astray = opened.groupby("condition")["idea"].agg(lambda ideas: ideas.isna().mean())
    assert astray["random_word"] == pytest.approx(0.4, abs=0.12) and astray["be_different"] == 0
    ideas = opened.groupby(["condition", "prompt_id"])["idea"].nunique().groupby("condition").mean()
    assert ideas["be_different"] > ideas["placebo_fixed"] + 1 > ideas["persona"]
    again = population_demo.draw_arms(population, seed=3)
    assert again.equals(found) and not population_demo.draw_arms(population, seed=4).equals(found)


def test_lists_are_written_in_the_form_that_is_asked_for_and_come_apart():
    lists = response_arms.read({"vs_k": {"k": 2}})["vs_k"]
    assert response_arms.parse(lists, demo_arms.reply(lists, ["a", "b"])) == [("a", 0.5), ("b", 0.5)]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"models": ["nobody"]}, "'nobody'"),
        ({"effects": {"persona": {}}}, "'persona'"),
        ({"effects": {"default": {"heat": 2}}}, "'heat'"),
        ({"asked": {"bedifferent": None}}, "be_different"),
    ],
)
def test_a_broken_block_of_arms_is_refused(population, block, message):
    asked = {"models": [MODEL], "n_samples": 3, "asked": {"default": None}} | block
    with pytest.raises(ValueError, match=message):
        demo_arms.planted({"models": population["models"], "arms": asked})

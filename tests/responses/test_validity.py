"""Measures on sets of known content: written from the demo's grammar, and read from files."""

import json

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.demo import measure_sets
from hivemind_utils.demo import population as population_demo
from hivemind_utils.figures import measures as figures
from hivemind_utils.responses import headlines, validity
from hivemind_utils.tables import schema

POPULATION = "data/demo/population.yaml"


@pytest.fixture(scope="module")
def sets():
    return measure_sets.load(POPULATION, 2, np.random.default_rng(0))


@pytest.fixture(scope="module")
def values(sets, tmp_path_factory):
    return validity.set_values(sets, "minilm", tmp_path_factory.mktemp("vectors"))


def test_sets_vary_what_they_say_they_vary(sets):
    fixed = sets[(sets["ideas"] == "fixed") & (sets["form"] == "fixed")]
    assert not fixed.drop_duplicates(["set_id", "response"])["set_id"].duplicated().any()
    assert (sets.groupby("set_id").size() == 5).all()
    counts = sets.drop_duplicates("set_id").groupby("context")[["ideas", "form"]].value_counts()
    assert (counts == 2).all() and counts.index.get_level_values(0).nunique() >= 10
    different = sets[sets["ideas"] == "varied"].groupby("set_id")["response"].nunique()
    assert (different == 5).all()
    assert not sets["response"].str.contains(r"[{}|]").any()
    assert set(sets.loc[sets["label"] == 1, "ideas"]) == {"varied"}


def test_the_same_generator_writes_the_same_sets(sets):
    again = measure_sets.load(POPULATION, 2, np.random.default_rng(0))
    assert again.equals(sets)


def test_a_population_without_such_a_prompt_says_so():
    population = population_demo.load_population(POPULATION)
    closed = population | {"prompts": [p for p in population["prompts"] if p["prompt_kind"] == "closed"]}
    with pytest.raises(ValueError, match="3 frames and 5 ideas"):
        measure_sets.crossed(closed, 1, np.random.default_rng(0))


def test_meaning_follows_ideas_and_words_follow_form(values):
    found = validity.compare(values, np.random.default_rng(0)).set_index("measure")
    schema.validate(found.reset_index(), "05_measure_validity")
    assert found.loc["mean_cosine", "ideas"] > 0.8 > 0.5 > found.loc["mean_tfidf", "against"]
    assert found.loc["mean_tfidf", "form"] > 0.95 and found.loc["distinct_2", "form"] > 0.95
    assert found.loc["mean_cosine", "against"] > found.loc["mean_tfidf", "against"] + 0.1
    assert found.loc["effective_distinct", "auc"] == 0.5  # every wording occurs once where form varies
    assert (found["accuracy_noise"] > 0.5).all() and (found["accuracy"] >= 0.5).all()


def test_the_figure_names_measures_of_form_and_says_its_finding(values):
    table = validity.compare(values, np.random.default_rng(0))
    drawn = figures.measure_validity(table)
    names = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert len(drawn.axes) == 2 and "TF-IDF" in "".join(n for n in names if "(form)" in n)
    row = table["measure"] == "mean_cosine"
    for lower, upper, words in ((0.1, 0.4, "follows form"), (0.6, 0.9, "follows ideas"), (0.3, 0.7, "inconclusive")):
        table.loc[row, ["against_lower", "against_upper"]] = lower, upper
        assert words in headlines.measure_validity(table)


ROWS = [
    {"context": "Say hello.", "label": 1, "responses": ["Hi there", "A very good day to you", "Ahoy"]},
    {"context": "Say hello.", "label": 0, "responses": ["Hi there", "Hi there", "Hi there you"]},
    {"context": "Name a fruit.", "label": 1, "responses": ["An apple", "Some red grapes", "Mango"]},
    {"context": "Name a fruit.", "label": 0, "responses": ["An apple", "An apple", "One apple"]},
]


def as_wide(path, prefix="resp_", label="label"):
    rows = [
        {"context": r["context"], label: r["label"]} | {f"{prefix}{k}": t for k, t in enumerate(r["responses"])}
        for r in ROWS
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def as_long(path):
    rows = [{"set_id": i, "context": r["context"], "label": r["label"], "response": t}
            for i, r in enumerate(ROWS) for t in r["responses"]]  # fmt: skip
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)


def as_lists(path):
    path.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("wide.csv", as_wide),
        ("numbered.csv", lambda path: as_wide(path, "response_", "label_value")),
        ("joined.csv", lambda path: as_wide(path, "resp", "Label")),
        ("long.jsonl", as_long),
        ("lists.jsonl", as_lists),
    ],
)
def test_files_of_labelled_sets_are_read_alike(tmp_path, name, write):
    write(tmp_path / name)
    found = measure_sets.load(tmp_path / name, 9, np.random.default_rng(0))
    assert list(found) == validity.SETS and len(found) == 12
    assert found.groupby("set_id", sort=False)["label"].first().tolist() == [1, 0, 1, 0]
    assert found["response"].tolist() == [text for row in ROWS for text in row["responses"]]


def test_a_file_of_sets_gives_auc_but_nothing_about_form(tmp_path):
    as_wide(tmp_path / "sets.csv")
    values = validity.set_values(validity.read_sets(tmp_path / "sets.csv"), "minilm", tmp_path)
    found = validity.compare(values, np.random.default_rng(0))
    schema.validate(found, "05_measure_validity")
    assert found.set_index("measure").loc["mean_cosine", "auc"] == 1 and found["ideas"].isna().all()
    assert len(figures.measure_validity(found).axes) == 1
    assert "AUC 1.00" in headlines.measure_validity(found)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"label": [1], "resp_0": ["a"]}, "needs a column `context`"),
        ({"context": ["a"], "resp_0": ["a"]}, "needs a column `label`"),
        ({"context": ["a"], "label": [1]}, "needs responses"),
        ({"context": ["a"], "label": [0.3], "resp_0": ["a"]}, "must be 1 .high. or 0 .low."),
        ({"context": ["a", "a"], "label": [1, 0], "set_id": ["s", "s"], "response": ["x", "y"]}, "two labels"),
    ],
)
def test_files_that_lack_something_say_what(tmp_path, frame, words):
    pd.DataFrame(frame).to_csv(tmp_path / "sets.csv", index=False)
    with pytest.raises(ValueError, match=words):
        validity.read_sets(tmp_path / "sets.csv")


def test_one_label_cannot_be_compared(values):
    with pytest.raises(ValueError, match="Sets of both labels"):
        validity.compare(values[values["label"] == 1], np.random.default_rng(0))


@pytest.mark.parametrize(("path", "source"), [(POPULATION, "written"), ("mine.csv", "imported")])
def test_sets_do_not_pass_for_simulated_models(path, source):
    found, origin = measure_sets.origin(path)
    assert found == source and found in schema.SOURCES and path.rsplit("/")[-1] in origin

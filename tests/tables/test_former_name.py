"""Files that people keep may call a column ``kind``: it is read under its present name, and never guessed at."""

import pandas as pd
import pytest

from hivemind_utils.demo import annotators
from hivemind_utils.ratings import scores
from hivemind_utils.responses import prompts, registry, table
from hivemind_utils.tables import reading


def model_facts(path, columns=None):
    return table.read_facts(path, columns, kind="model_kind")


FILES = {  # reader, present name, the other columns, two values
    "prompts": (prompts.read_prompts, "prompt_kind", {"text": ["p", "q"]}, ["closed", "original"]),
    "facts about prompts": (table.read_facts, "prompt_kind", {"text": ["p", "q"]}, ["closed", "original"]),
    "facts about models": (model_facts, "model_kind", {"model": ["m", "n"]}, ["human", "model"]),
    "responses": (
        lambda path, columns=None: table.read(path, columns=columns), "prompt_kind",
        {"prompt": ["p", "q"], "model": "m", "response": ["x", "y"]}, ["closed", "original"],
    ),
    "scores": (
        lambda path, columns=None: scores.read(path, columns=columns), "scorer_type",
        {"item_id": ["1", "2"], "scorer": ["s", "t"], "score": [1, 2]}, ["reward", "judge"],
    ),
}  # fmt: skip
FORMATS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.fixture(params=FILES)
def case(request):
    return FILES[request.param]


def written(folder, rest, suffix="csv", **columns):
    path = folder / f"mine.{suffix}"
    FORMATS[suffix](pd.DataFrame({**rest, **columns}), path)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("is_former", [True, False])
def test_either_name_is_read(tmp_path, case, suffix, is_former):
    read, field, rest, values = case
    found = read(written(tmp_path, rest, suffix, **{"kind" if is_former else field: values}))
    assert found[field].tolist() == values and "kind" not in found


def test_both_names_are_read_where_they_agree(tmp_path, case):
    read, field, rest, values = case
    found = read(written(tmp_path, rest, **{field: [values[0], ""], "kind": [f" {values[0]}", values[1]]}))
    assert found[field].tolist() == values and "kind" not in found


def test_where_they_differ_nobody_guesses(tmp_path, case):
    read, field, rest, values = case
    path = written(tmp_path, rest, **{field: values, "kind": [values[0], values[0]]})
    expected = (
        rf"mine\.csv, row 2: `{field}` and `kind`, its former name, must say the same, but they are '{values[1]}' and "
        rf"'{values[0]}'\. Delete the column that is wrong, or rename `kind`"
    )
    with pytest.raises(ValueError, match=expected):
        read(path)


@pytest.mark.parametrize("is_former", [True, False])
def test_a_column_may_be_named_under_either_name(tmp_path, case, is_former):
    read, field, rest, values = case
    path = written(tmp_path, rest, sort=values)
    assert read(path, {"kind" if is_former else field: "sort"})[field].tolist() == values


def test_what_is_named_counts_and_another_column_of_the_former_name_does_not(tmp_path, case):
    read, field, rest, values = case
    path = written(tmp_path, rest, sort=values, kind=["of mine", "of mine"])
    assert read(path, {field: "sort"})[field].tolist() == values


def test_the_former_column_may_be_named(tmp_path, case):
    read, field, rest, values = case
    assert read(written(tmp_path, rest, kind=values), {field: "kind"})[field].tolist() == values


def test_files_of_either_name_go_together(tmp_path):
    rest = {"item_id": ["1"], "scorer": ["s"], "score": [1]}
    paths = [tmp_path / name for name in ("old.csv", "new.csv")]
    for path, name, value in zip(paths, ("kind", "scorer_type"), ("reward", "judge"), strict=True):
        pd.DataFrame({**rest, name: value}).to_csv(path, index=False)
    assert scores.read(paths)["scorer_type"].tolist() == ["reward", "judge"]


def test_a_registry_of_models_may_have_either_name(tmp_path):
    rest = {"model": ["m", "n"], "litellm_id": ["x/m", "x/n"]}
    found = registry.read_registry(written(tmp_path, rest, kind=["model", "human"]))
    assert found["model_kind"].tolist() == ["model", "human"] and "kind" not in found
    with pytest.raises(ValueError, match=r"mine\.csv, row 1: `model_kind` and `kind`"):
        registry.read_registry(written(tmp_path, rest, kind="model", model_kind="human"))


def test_a_model_is_a_person_under_either_name(tmp_path):
    answers = table.read(written(tmp_path, {"prompt": ["p", "p"], "model": ["m", "n"], "response": ["x", "y"]}))
    for name in ("kind", "model_kind"):
        facts = model_facts(written(tmp_path, {"model": ["m", "n"]}, **{name: ["human", "model"]}))
        assert table.tabulate(answers, models=facts)["04_models"]["model_kind"].tolist() == ["human", "model"]


def test_a_planted_study_may_have_either_name(tmp_path):
    text = "n_prompts: 1\nn_responses: 1\nn_pairs: 1\nn_pool: 1\nn_annotators: 1\npeople: {}\nwords: {}\n"
    (tmp_path / "w.yaml").write_text(text + "scorers: [{scorer: s, kind: lm, strength: 0.1}]\n")
    assert annotators.load_world(tmp_path / "w.yaml")["scorers"] == [
        {"scorer": "s", "scorer_type": "lm", "strength": 0.1}
    ]


def test_a_frame_without_either_name_stays_as_it_is():
    frame = pd.DataFrame({"text": ["a"]})
    assert reading.with_current_name(frame, "prompt_kind", "a.csv") is frame
    empty = pd.DataFrame({"kind": [], "prompt_kind": []})
    assert list(reading.with_current_name(empty, "prompt_kind", "a.csv")) == ["prompt_kind"]

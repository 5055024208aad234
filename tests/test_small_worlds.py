"""The notebooks of responses in the smallest worlds: one model, one prompt, one response of each."""

import json

import nbformat
import pytest

from hivemind_utils.figures import style
from hivemind_utils.pipeline import notebooks, profiles
from hivemind_utils.tables.study import NothingToMeasureError

TREES = ["oak", "elm", "oak", "an old oak tree", "birch", "a birch in the snow"]
SEAS = ["the Baltic", "the North Sea", "the sea of Marmara", "the North Sea", "a dead sea", "the Baltic"]
RUN = ("04", "05", "06", "07", "10", "11")

PROFILE = """
common: {n_draws: 2}
04_generate: {answers_path: said.jsonl}
05_intra_model: {n_validity_sets: 1}
07_clusters: {real_path: null}
"""


def said(model, responses, prompt="Name a tree.", **more):
    return {"prompt": prompt, "model": model, "responses": responses} | more


WORLDS = {
    "one model, one prompt": [said("solo", TREES)],
    "one model, two prompts": [said("solo", TREES), said("solo", SEAS, "Name a sea.")],
    "two models, one prompt": [said("a", TREES), said("b", SEAS)],
    "two models, a prompt each": [said("a", TREES), said("b", SEAS, "Name a sea.")],
    "two models that say one thing": [said("a", ["oak"] * 6), said("b", ["oak"] * 6)],
    "one model, one decoding more": [said("solo", TREES, decoding="hot"), said("solo", SEAS, decoding="cold")],
    "one model under two conditions": [said("solo", TREES), said("solo", SEAS, condition="be_different")],
    "one response of each": [said("a", ["oak"]), said("b", ["elm"])],
}


def run(profile, name):
    """Execute a notebook's cells in this process, with the profile's parameters."""
    notebook = notebooks.inspect(name)
    values = profiles.resolve(profile, notebook)
    names = {}
    for cell in nbformat.read(notebook.path, 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, name, "exec"), names)  # the project's own notebooks
            if "parameters" in cell.metadata.get("tags", []):
                assert set(values) <= set(names)
                names.update(values)
    style.pyplot().close("all")


@pytest.fixture
def study(make_project, monkeypatch):
    """Call it with lines of responses: runs notebooks on them and returns what each answered, or why it could not."""
    project = make_project()
    monkeypatch.chdir(project.folder)

    def answer(lines):
        (project.folder / "said.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (project.folder / "small.yaml").write_text(PROFILE)
        profile, answers = profiles.load_profile("small.yaml"), {}
        stopped = None
        for number in RUN:
            name = notebooks.find_notebook(number)
            try:
                run(profile, name)
            except NothingToMeasureError as error:
                answers[number] = stopped = str(error)
            except FileNotFoundError as error:  # make would not have begun it
                assert stopped, error
                answers[number] = str(error)
            else:
                answers[number] = json.loads((project.folder / "results" / "small" / f"{number}.json").read_text())[
                    "answer"
                ]
        return answers

    return answer


@pytest.mark.parametrize(
    "world", [pytest.param(w, marks=[] if w == "one model, one prompt" else pytest.mark.long) for w in WORLDS]
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_notebook_says_what_cannot_be_compared(study, world):
    answers = study(WORLDS[world])
    assert set(answers) == set(RUN)
    assert all(text and "nan" not in text.split() for text in answers.values()), answers

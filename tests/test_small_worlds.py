"""The notebooks of responses in the smallest worlds: one model, one prompt, one response of each."""

import json
from pathlib import Path

import nbformat
import pytest
from server import serving

from hivemind_utils.figures import style
from hivemind_utils.pipeline import notebooks, profiles
from hivemind_utils.responses import gathering
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

    def answer(lines, profile=PROFILE, numbers=RUN):
        (project.folder / "said.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (project.folder / "small.yaml").write_text(profile)
        profile, answers = profiles.load_profile("small.yaml"), {}
        stopped = None
        for number in numbers:
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


ARMS = """
common: {n_draws: 2}
04_generate:
  answers_path: said.jsonl
  arms: {default: null, changed: {comparator: default}, never: {comparator: default}}
10_interventions: {judge: null, quality_judges: []}
"""
PROMPTS = {f"Name a thing of kind {i}.": f"thing {i}" for i in range(6)}


def asked(change=lambda i, condition, line: line):
    """Six prompts under two arms, six responses each; `change` makes a line another one."""
    lines = []
    for i, (prompt, thing) in enumerate(PROMPTS.items()):
        for condition in ("default", "changed"):
            texts = [f"{thing}, {word}" for word in (TREES if condition == "default" else SEAS)]
            made = change(i, condition, said("solo", texts, prompt, condition=condition))
            lines += made if isinstance(made, list) else [made]
    return [line for line in lines if line]


def _fewer(i, condition, line):
    return line | {"responses": line["responses"][: 2 + i]} if condition == "changed" else line


def _each(**values):
    """One line per response, with columns of its own for those of `changed`."""

    def change(i, condition, line):
        rest = {name: value for name, value in line.items() if name != "responses"}
        own = [
            {name: of[k % len(of)] for name, of in values.items()} if condition == "changed" else {} for k in range(6)
        ]
        return [rest | {"response": text} | more for text, more in zip(line["responses"], own, strict=True)]

    return change


BAD_ARMS = {
    "an arm is never asked": asked(),
    "unequal numbers of responses": asked(_fewer),
    "one prompt": asked()[:2],
    "one arm lacks prompts": asked(lambda i, condition, line: None if condition == "changed" and i > 2 else line),
    "empty responses": asked(lambda i, condition, line: line | {"responses": [""] * 5 + ["oak"]}),
    "ideas of some responses": asked(_each(idea=["tree", None, "sea", None])),
    "ideas of one arm only": asked(_each(idea=["tree", "sea", "river"])),
    "quality of some responses": asked(_each(quality=[0.5, None, 0.9])),
    "stated probabilities that are none": asked(_each(probability=["lots", 1.7, None, -3, "40 %", 0.2])),
    "replies with fewer and more than the rest": asked(_each(reply=[0, 0, 0, 0, 1, 1], position=[0, 1, 2, 3, 0, 1])),
}


@pytest.mark.long
@pytest.mark.parametrize("world", BAD_ARMS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_arms_from_a_file_give_counts_or_a_clear_sentence(study, world):
    answers = study(BAD_ARMS[world], ARMS, ("04", "10"))
    assert "nan" not in answers["10"].split() and "Nothing to measure" not in answers["04"], answers
    results = json.loads(Path("results/small/10.json").read_text())
    assert results["never_asked"] == ["never (solo)"]
    said = [one for of_arm in results["statements"].values() for one in of_arm.values()]
    assert said and all(one["decision"] == "inconclusive" and one["fails"] for one in said), said  # no closed prompts


def test_an_arm_whose_comparator_is_no_arm_is_refused_by_name(study):
    profile = ARMS.replace("changed: {comparator: default}", "changed: {comparator: defualt}")
    with pytest.raises(ValueError, match="The comparator of 'changed' is 'defualt', which is no arm"):
        study(BAD_ARMS["an arm is never asked"], profile, ("04",))


ASKED = """
common: {{n_draws: 2}}
04_generate:
  answers_path: null
  models: [hosted_vllm/a, hosted_vllm/b]
  prompts_path: prompts.csv
  n_samples: 6
  per_call: 3
  api_bases: {{hosted_vllm/a: "{url}", hosted_vllm/b: "{url}"}}
  prices: {{hosted_vllm/a: [0, 0], hosted_vllm/b: [0, 0]}}
  budget_usd: 1
"""


def test_a_run_read_in_blocks_of_prompts_says_what_one_read_at_once_says(study, monkeypatch):
    asked = "".join(f"Name a thing of kind {i}.,original\n" for i in range(5))
    Path("prompts.csv").write_text("text,prompt_kind\n" + asked)
    found = []
    with serving() as server:
        server.answer = lambda body, number: [
            f"{body['model']} says {(number * 7 + i) % 5}" for i in range(body.get("n") or 1)
        ]
        for block in (10_000, 20):
            monkeypatch.setattr(gathering, "BLOCK", block)
            answers = study([], ASKED.format(url=server.url), ("04", "05"))
            tables = {path.name: path.read_bytes() for path in sorted(Path("data/small").glob("*.parquet"))}
            results = [json.loads(Path(f"results/small/{number}.json").read_text()) for number in ("04", "05")]
            found.append((answers, results, tables, len(server.received)))
    (answers, results, tables, n_asked), again = found
    assert (answers, results, n_asked) == (again[0], again[1], again[3]) and "**60 responses**" in answers["04"]
    assert {name for name in tables if tables[name] != again[2][name]} <= {"04_provenance.parquet"}  # row groups

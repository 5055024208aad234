"""Study: where the data come from, what a run lacks, figures, and the answer below the title."""

import base64
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from hivemind_utils.tables import figure_files, parquet, schema
from hivemind_utils.tables.paper import Paper
from hivemind_utils.tables.study import PENDING, Study

REPOSITORY = Path(__file__).resolve().parents[2]
IMPORTED = {"source": "imported", "origin": "a test"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        yield tmp_path
    plt.close("all")


def models(**changes):
    frame = pd.DataFrame({"model": ["a"], "family": ["f"], "model_kind": ["model"], "size_b": [7.0], "tuning": [None]})
    return frame.assign(release_date=None, open_weights=None, vendor=None, parent=None).assign(**changes)


def prompts():
    return pd.DataFrame(
        {"prompt_id": ["p"], "text": ["Why?"], "prompt_kind": ["original"], "parent_id": [None], "category": [None]}
    ).assign(open_endedness=np.nan, language=None, many_answers=np.nan)


def written(number="04"):
    return json.loads(Path(f"results/mine/{number}.json").read_text())


# ------------------------------------------------------------------------------------------------------------- tables


def test_the_source_of_the_first_table_read_is_the_source_of_what_is_written():
    parquet.write(models(), "04_models", "mine", IMPORTED)
    parquet.write(prompts(), "04_prompts", "mine", IMPORTED | {"origin": "another"})
    study = Study("04", "mine")
    pd.testing.assert_frame_equal(study.read("04_models"), parquet.read("04_models", "mine"))
    study.read("04_prompts")
    assert study.stamp == IMPORTED
    frame = models(model="b")
    assert study.write("04_models", frame) is frame
    assert parquet.read("04_models", "mine")["model"].tolist() == ["b"]
    assert parquet.stamp("04_models", "mine") == IMPORTED
    assert study.source_line == "source: imported · a test"


def test_a_table_that_does_not_fit_is_not_written():
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    with pytest.raises(ValueError, match="04_models"):
        study.write("04_models", models().drop(columns="model_kind"))
    assert not Path("data/mine/04_models.parquet").exists()


def test_what_any_input_lacks_is_said_once_by_what_follows():
    parquet.write(models(), "04_models", "mine", IMPORTED | {"partial": "model b is missing"})
    parquet.write(prompts(), "04_prompts", "mine", IMPORTED | {"partial": "model b is missing; no prompt q"})
    study = Study("05", "mine")
    study.read("04_models")
    study.read("04_prompts")
    assert study.stamp["partial"] == "model b is missing; no prompt q"
    study.write("04_models", models())
    assert parquet.stamp("04_models", "mine")["partial"] == "model b is missing; no prompt q"


def test_a_partial_run_warns_and_keeps_its_sentences_whatever_comes_first(capsys):
    study = Study("04", "mine")
    study.partial("")
    study.partial("model b is missing")
    study.comes_from("imported", "a test", encoder="minilm")
    study.partial("a prompt too")
    study.partial("model b is missing")
    assert study.stamp == IMPORTED | {"encoder": "minilm", "partial": "model b is missing; a prompt too"}
    assert capsys.readouterr().out.count("WARNING: this run is partial") == 3
    assert study.source_line.startswith("PARTIAL: model b is missing; a prompt too. source: imported")
    study.takeaways("Nothing")
    assert written()["partial"] == "model b is missing; a prompt too"


def test_the_generator_starts_at_the_seed():
    assert Study("04", "mine", 3).rng.random() == np.random.default_rng(3).random()


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize("part", ["figure", "axes"])
def test_a_figure_or_its_axes_is_titled_and_written_with_its_numbers(part):
    fig, ax = plt.subplots(figsize=(3.5, 2))
    ax.plot([0, 1], [0, 1])
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    table = pd.DataFrame({"x": [0, 1]})
    study.figure("line", fig if part == "figure" else ax, table, "It rises", "n = 2")
    printed = json.loads(Path("figures/mine/line.json").read_text())
    assert (printed["title"], printed["caption"]) == ("It rises", "n = 2")
    pd.testing.assert_frame_equal(pd.read_csv("figures/mine/line.csv"), table)
    assert plt.imread("figures/mine/line.png").std() > 0


def test_nothing_to_draw_writes_no_file():
    study = Study("04", "mine")
    study.figure("line", None, pd.DataFrame(), "Too few models to compare")
    assert not Path("figures").exists()


# ---------------------------------------------------------------------------------------------------------- takeaways


def test_takeaways_are_written_with_the_number_and_empty_bullets_left_out():
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    study.takeaways("Half", ["one", "", None, "two"], {"n": np.int64(3)}, number=("share", 0.5, np.nan, np.nan))
    assert written() == {
        "schema": parquet.RESULTS_SCHEMA,
        "source": "imported",
        "partial": None,
        "prompts_note": None,
        "answer": "Half",
        "takeaways": ["one", "two"],
        "number": {"label": "share", "value": 0.5, "lower": None, "upper": None},
        "n": 3,
    }


SOME = "Some intervals rest on only 5 prompts: they may be too narrow if one prompt is very unlike the others."
FEW = "Only 5 prompts: 95 % intervals may be too narrow if one prompt is very unlike the others."


def test_that_the_prompts_of_a_run_are_few_is_said_below_figures_and_among_the_takeaways():
    study = Study("04", "mine")
    study.comes_from("imported", "a test", prompts_note=FEW)
    study.figure("line", plt.figure(figsize=(3.5, 2)), pd.DataFrame({"x": [0]}), "It rises", "n = 2.")
    study.takeaways("Half", ["one"])
    assert json.loads(Path("figures/mine/line.json").read_text())["caption"] == f"n = 2. {FEW}"
    assert written()["takeaways"] == ["one", FEW] and written()["prompts_note"] == FEW
    other = study.apart("released", "elsewhere")
    other.figure("line", plt.figure(figsize=(3.5, 2)), pd.DataFrame({"x": [0]}), "It rises", "n = 2.")
    assert json.loads(Path("figures/mine/line.json").read_text())["caption"] == "n = 2."


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"n_prompts": [8, 5, 1, None]}, FEW), ({"n_prompts": [50, 5]}, SOME),
        ({"n_prompts": pd.Series([5, None, 8], dtype=object)}, FEW), ({"n_prompts": pd.Series([], dtype=object)}, ""),
        ({"n_prompts": [1, 0]}, ""), ({"n_prompts": [13, 50]}, ""),
        ({"prompt_id": list("abcde") * 3}, FEW), ({"prompt_id": ["a"] * 9}, ""), ({"n_prompts": []}, ""),
    ],
)  # fmt: skip
def test_a_figure_counts_the_prompts_of_its_own_numbers(columns, said):
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    study.figure("line", plt.figure(figsize=(3.5, 2)), pd.DataFrame(columns), "It rises", "n = 2.")
    assert json.loads(Path("figures/mine/line.json").read_text())["caption"] == f"n = 2. {said}".strip()


CELLS = [
    "from hivemind_utils.tables.study import Study",
    'study = Study("04", "mine")',
    'study.comes_from("simulated", "a test")\nstudy.partial("model b is missing")',
    'study.figure("line", None, None, "Too few models")',
    'study.takeaways("Half of **all**", ["one", ""], {"n": 1}, number=("share", 0.5, 0.4, 0.6))',
]


def test_in_a_notebook_the_answer_stands_below_the_title_once_it_is_known(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(project)}}).execute()

    def shown(cell):
        return [o["data"]["text/markdown"] for o in notebook.cells[cell]["outputs"] if "data" in o]

    assert shown(1) == ["> **Simulated data, not a finding.** Half of **all**"]
    assert PENDING not in json.dumps(notebook)
    assert "WARNING: this run is partial: model b is missing" in notebook.cells[2]["outputs"][0]["text"]
    assert shown(3) == ["*No figure: Too few models*"]
    assert shown(4) == ["- Half of **all**\n- one"]
    assert written()["answer"] == "Half of **all**"


DRAWS = [
    "%matplotlib inline\nfrom hivemind_utils.tables.study import Study",
    'study = Study("04", "mine")\nstudy.comes_from("simulated", "a test")',
    "import matplotlib.pyplot as plt\nimport pandas as pd\nfig, ax = plt.subplots()\nax.plot([0, 1], [0, 1])\n"
    'study.figure("line", ax, pd.DataFrame({"x": [0, 1]}), "A line", "n = 2")\nprint(plt.get_fignums())',
]


def test_a_notebook_shows_a_figure_once_and_as_it_was_saved(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in DRAWS]
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(project)}}).execute()
    pictures = [o for o in notebook.cells[2]["outputs"] if "image/png" in o.get("data", {})]
    assert [o["metadata"]["image/png"]["alt"] for o in pictures] == ["A line"]
    assert [o["text"] for o in notebook.cells[2]["outputs"] if "text" in o] == ["[]\n"]
    shown = base64.b64decode(pictures[0]["data"]["image/png"])
    assert shown == figure_files.half_size(project / "figures" / "mine" / "line.png")


ENDS = [
    "from hivemind_utils.tables.study import NothingToMeasureError, Study",
    'study = Study("07", "mine")\nstudy.comes_from("imported", "a test")',
    'raise NothingToMeasureError("The largest prompt has 4 responses.")',
    "print('not run')",
]


def test_with_nothing_to_measure_a_notebook_ends_with_a_sentence_and_no_traceback(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in ENDS]
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(project)}})
    with pytest.raises(CellExecutionError):  # this is what stops Run All
        client.execute()
    sentence = "Nothing to measure. The largest prompt has 4 responses."
    assert [o["data"]["text/markdown"] for o in notebook.cells[1]["outputs"]] == [f"> {sentence}"]
    assert [o["data"]["text/markdown"] for o in notebook.cells[2]["outputs"]] == [f"- {sentence}"]
    assert notebook.cells[3]["outputs"] == []
    assert written("07")["answer"] == sentence and "number" not in written("07")


def test_with_nothing_to_measure_the_tables_not_yet_written_are_written_empty():
    study = Study("04", "mine")
    study.comes_from("imported", "a test")
    study.write("04_models", models())
    study.nothing("No prompt is original.")
    frames = {name: parquet.read(name, "mine") for name, table in schema.TABLES.items() if table.number == "04"}
    assert len(frames) > 5 and len(frames.pop("04_models")) == 1
    assert all(frame.empty for frame in frames.values())
    assert all(parquet.stamp(name, "mine") == IMPORTED for name in frames)


# -------------------------------------------------------------------------------------------------------------- paper


def test_the_papers_numbers_come_from_the_claims(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    paper = Paper()
    assert 0 < paper.number("inter_mean") < 100 and paper["inter_mean"] in paper("inter_mean")
    with pytest.raises(KeyError, match="no claim 'nobody_said_so'"):
        paper["nobody_said_so"]
    with pytest.raises(ValueError, match="'minp_less' holds no number"):
        paper.number("minp_less")

"""Running a notebook: strict parameters, readable failures, and what has to run again."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import nbformat
import pytest

from hivemind_utils.llm import progress
from hivemind_utils.pipeline import lab, manifests, notebooks, profiles, run
from hivemind_utils.pipeline import rules as rules_pipeline
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import parquet, schema

REPOSITORY = Path(__file__).resolve().parents[2]

GENERATE = [
    """
    from pathlib import Path
    from typing import Literal

    import pandas as pd

    from hivemind_utils.tables import parquet, schema
    """,
    """
    profile: str = "demo"  # tables are read from and written to data/<profile>
    answers: Path = "inputs/answers.csv"  # one response per row
    registries: list[Path] | None = None  # more columns
    n_samples: int = 2  # answers per cell
    decoding: Literal["top_p", "min_p"] = "top_p"  # how answers are drawn
    """,
    """
    prompts = Path(answers).read_text().split()
    for name, table in schema.TABLES.items():
        if table.number == "04":
            frame = pd.DataFrame(columns=[column.name for column in table.columns])
            if name == "04_prompts":
                frame = frame.assign(prompt_id=prompts, text=prompts, prompt_kind="original")
            parquet.write(frame, name, profile, {"source": "imported"})
    """,
]
INTRA = [
    """
    import pandas as pd

    from hivemind_utils.metrics import resample
    from hivemind_utils.tables import parquet, schema
    """,
    """
    profile: str = "demo"  # tables are read from and written to data/<profile>
    n_samples: int = 2  # answers per cell
    level: float = 0.95  # coverage of intervals
    """,
    """
    prompts = parquet.read("04_prompts", profile)
    for name, table in schema.TABLES.items():
        if table.number == "05":
            frame = pd.DataFrame(columns=[column.name for column in table.columns])
            parquet.write(frame, name, profile, parquet.stamp("04_prompts", profile))
    """,
    """
    parquet.write_results({"n_prompts": len(prompts)}, "05", profile)
    """,
]
PARTIAL = """
    parquet.write_results({"n_prompts": len(prompts), "partial": "model b is missing"}, "05", profile)
"""
NOTHING = """
    from hivemind_utils.tables.study import NothingToMeasureError, Study

    study = Study("05", profile)
    study.read("04_prompts")
    raise NothingToMeasureError("Every cell has one response.")
"""
BROKEN = """
    raise RuntimeError(f"{len(prompts)} prompts are too few")
"""


def write_notebook(path, sources):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(cleandoc(source), id=f"c{i}") for i, source in enumerate(sources)]
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two notebooks, an input and a profile, in a folder with a space in its name."""
    root = tmp_path / "a project"
    fill(root)
    monkeypatch.chdir(root)
    return root


def fill(root):
    """Write two notebooks, an input and a profile."""
    for folder in ("notebooks", "params", "inputs", "elsewhere"):
        (root / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", root)
    (root / "pyproject.toml").touch()
    (root / "inputs" / "answers.csv").write_text("p1 p2")
    (root / "params" / "tiny.yaml").write_text("common:\n  n_samples: 3\n")
    write_notebook(root / "notebooks" / "04_generate.ipynb", GENERATE)
    write_notebook(root / "notebooks" / "05_intra_model.ipynb", INTRA)


def command(project, *arguments):
    """Run a command in the project as a user would: the package is the project's own copy."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith(("MAKE", "MFLAGS"))}
    environment = inherited | {"LC_ALL": "C"}
    return subprocess.run(arguments, cwd=project, env=environment, capture_output=True, text=True, check=False)


def ran(process):
    """Numbers of the notebooks that a command says it ran, or would run (`make -n`)."""
    return re.findall(r"^(?:.* -m hivemind_utils\.pipeline\.run )?(\d\d)_", process.stdout, flags=re.MULTILINE)


def refusal(capsys, *arguments):
    """Message of a command that must fail before a kernel starts."""
    assert run.main([str(a) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not list(Path.cwd().glob("executed/*/*.ipynb"))
    assert captured.err.startswith("error: ")
    return captured.err.removeprefix("error: ").rstrip("\n")


def resolved(profile, notebook):
    return profiles.resolve(profiles.load_profile(profile), notebooks.inspect(notebook))


# --------------------------------------------------------------------------------------- what has to run again (make)


def made(project, *arguments):
    """Run `make figures` of the small profile."""
    return command(project, "make", "figures", f"PYTHON={sys.executable}", "PROFILE=tiny", *arguments)


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory):
    """A project whose two notebooks have run on its own copy of the package, the second of them partial."""
    root = tmp_path_factory.mktemp("ran once") / "a project"
    fill(root)
    shutil.copytree(
        REPOSITORY / "hivemind_utils", root / "hivemind_utils", ignore=shutil.ignore_patterns("__pycache__")
    )
    write_notebook(root / "notebooks" / "05_intra_model.ipynb", [*INTRA[:3], PARTIAL])
    return root, made(root)


@pytest.mark.long
class TestWhatMakeRunsAgain:
    """Only what changed, and what reads it."""

    @pytest.fixture
    def project(self, ran_once, tmp_path, monkeypatch):
        root = tmp_path / "a project"
        shutil.copytree(ran_once[0], root)
        monkeypatch.chdir(root)
        return root

    def test_a_notebook_that_fails_names_the_cell_and_leaves_its_traceback_to_read(self, project):
        executed = project / "executed" / "tiny"
        shutil.rmtree(executed)
        write_notebook(project / "notebooks" / "05_intra_model.ipynb", [*INTRA[:3], BROKEN])
        process = made(project)
        assert process.returncode != 0 and ran(process) == ["04"]
        assert "error: 05_intra_model failed in cell 4: RuntimeError: 2 prompts are too few\n" in process.stderr
        assert "Traceback" not in process.stderr
        left = {path.name for path in executed.iterdir()}
        assert {"04.ipynb", "05.running.ipynb"} <= left and not {"05.ipynb", "05.manifest.json"} & left
        cells = nbformat.read(executed / "05.running.ipynb", 4).cells
        assert "RuntimeError" in [output.get("ename") for cell in cells for output in cell.get("outputs", [])]
        write_notebook(project / "notebooks" / "05_intra_model.ipynb", INTRA)
        assert ran(made(project)) == ["05"]
        assert not (executed / "05.running.ipynb").exists()

    def test_a_run_says_one_line_and_warns_of_what_its_result_lacks(self, ran_once):
        process = ran_once[1]
        assert (process.returncode, ran(process)) == (0, ["04", "05"])
        line = process.stdout.splitlines()[1]
        assert re.fullmatch(r"05_intra_model +tiny +\d+\.\d s +executed/tiny/05\.ipynb", line)
        assert process.stderr == "WARNING: 05_intra_model is PARTIAL: model b is missing\n"

    def test_a_manifest_holds_what_went_in(self, project):
        first, second = (
            json.loads((project / "executed" / "tiny" / f"{number}.manifest.json").read_text())
            for number in ("04", "05")
        )
        table = (project / "data" / "tiny" / "04_prompts.parquet").read_bytes()
        assert first["inputs"] == {"inputs/answers.csv": hashlib.sha256(b"p1 p2").hexdigest()}
        assert second["inputs"] == {"data/tiny/04_prompts.parquet": hashlib.sha256(table).hexdigest()}
        assert second["parameters"] == {"profile": "tiny", "n_samples": 3, "level": 0.95}
        assert second["packages"]["papermill"] and second["seconds"] > 0
        assert second["partial"] == "model b is missing"

    def test_nothing_where_nothing_changed_or_a_notebook_was_only_saved_again(self, project):
        assert (made(project).returncode, ran(made(project))) == (0, [])
        intra = project / "notebooks" / "05_intra_model.ipynb"
        saved = json.loads(intra.read_text())
        saved["cells"][0]["execution_count"] = 7
        intra.write_text(json.dumps(saved))
        os.utime(intra, (2**32, 2**32))  # dated in the future
        assert ran(made(project, "-n")) == []

    def test_a_cell_or_a_module_that_was_edited(self, project):
        module = project / "hivemind_utils" / "metrics" / "resample.py"  # the second notebook alone imports it
        before = module.read_text()
        module.write_text(before + "# edited\n")
        assert ran(made(project, "-n")) == ["05"]
        module.write_text(before)
        assert ran(made(project, "-n")) == []
        write_notebook(project / "notebooks" / "05_intra_model.ipynb", [*INTRA[:3], PARTIAL + "    # edited"])
        assert ran(made(project, "-n")) == ["05"]

    def test_a_parameter_of_one_notebook_and_under_strict_what_is_partial_fails(self, project):
        (project / "params" / "tiny.yaml").write_text("common:\n  n_samples: 3\n05_intra_model:\n  level: 0.9\n")
        process = made(project, "STRICT=--strict")
        assert ran(process) == ["05"] and process.returncode != 0
        assert "Error 3" in process.stderr
        assert ran(made(project)) == []

    def test_an_input_file_once_even_if_it_is_dated_in_the_future(self, project):
        (project / "inputs" / "answers.csv").write_text("p1 p2 p3")
        os.utime(project / "inputs" / "answers.csv", (2**32, 2**32))
        assert ran(made(project)) == ["04", "05"]
        assert json.loads((project / "results" / "tiny" / "05.json").read_text())["n_prompts"] == 3
        assert ran(made(project)) == []

    def test_a_table_that_is_gone_comes_back_and_what_reads_it_stands(self, project):
        (project / "data" / "tiny" / "04_prompts.parquet").unlink()
        assert ran(made(project)) == ["04"]
        assert ran(made(project)) == []

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("data/tiny/04_prompts.parquet", b"", ["04"]), ("data/tiny/05_arms.parquet", b"PAR1", ["05"]),
            ("results/tiny/05.json", b"", ["05"]), ("executed/tiny/05.ipynb", b"{}", ["05"]),
            ("executed/tiny/05.manifest.json", b"", ["05"]), ("executed/tiny/05.manifest.json", b"[]", ["05"]),
            ("executed/tiny/05.manifest.json", None, ["05"]),
        ],
    )  # fmt: skip
    def test_what_a_run_wrote_and_is_not_there_as_it_was_written(self, project, name, content, expected):
        damaged = project / name
        damaged.unlink() if content is None else damaged.write_bytes(content)
        assert ran(made(project)) == expected
        assert ran(made(project)) == []


@pytest.mark.parametrize(
    "name",
    ["an $odd #name.csv", "llama3:8b.jsonl", "a;b.csv", "a{x}.csv", "it's.csv", 'a"b.csv', "[1].csv", "a*b?.csv",
     "-x.csv", "%.csv", "a\nb.csv", "back\\slash.csv", "~me.csv", "été.csv", "(a)&|<>.csv", "a=b.csv", "@a.csv"],
)  # fmt: skip
def test_an_input_may_have_any_name(project, capsys, name):
    (project / "elsewhere" / name).write_text("p1")
    profile = project / "elsewhere" / "mine.yaml"
    profile.write_text(f"common: {{run: [04]}}\n04_generate: {{answers: {json.dumps(name)}}}\n")
    assert run.main(["--rules", "--profile", "elsewhere/mine.yaml"]) == 0
    rules = capsys.readouterr().out.strip()
    assert rules == "executed/mine/rules.mk"
    process = command(project, "make", "-n", "-f", rules, "all", "PYTHON=python")
    recipe = "python -m hivemind_utils.pipeline.run 04_generate --unless-current --profile='elsewhere/mine.yaml'"
    assert process.stdout.strip() == recipe
    assert process.stderr == ""


def test_a_profile_runs_only_the_notebooks_it_names(project):
    for listed in ('["05"]', "[05]", "[5]", "[05_intra_model]"):
        (project / "params" / "tiny.yaml").write_text(f"common:\n  run: {listed}\n")
        rules = rules_pipeline.rules("tiny").read_text()
        assert "all: 05\n" in rules
        assert "04_generate" not in rules


# ------------------------------------------------------------------------------------------------- strict parameters


def test_a_profile_overrides_defaults_block_before_common(project):
    (project / "params" / "tiny.yaml").write_text(
        "common: {n_samples: 3, run: [04, 05]}\n"
        "04_generate: {n_samples: 4, decoding: min_p}\n"
        "05_intra_model: {level: 1}\n"
    )
    answers = str(project / "inputs" / "answers.csv")
    assert resolved("tiny", "04") == {
        "profile": "tiny",
        "answers": answers,
        "registries": None,
        "n_samples": 4,
        "decoding": "min_p",
    }
    assert resolved("tiny", "05") == {"profile": "tiny", "n_samples": 3, "level": 1}


def test_an_edited_parameters_cell_redefines_no_profile(project, capsys):
    notebooks.write_defaults()
    (project / "params" / "tiny.yaml").write_text("common: {run: [05]}\n")
    edited = [INTRA[0], INTRA[1].replace("n_samples: int = 2", "n_samples: int = 77"), *INTRA[2:]]
    write_notebook(project / "notebooks" / "05_intra_model.ipynb", edited)
    assert resolved("tiny", "05")["n_samples"] == 2
    rules_pipeline.rules("tiny")
    assert capsys.readouterr().err == (
        "NOTE: 05_intra_model.ipynb: the parameters cell says n_samples = 77, but runs take 2, the default. "
        "Write n_samples into a profile to change it (to change the default: make defaults).\n"
    )
    (copy,), _ = lab.copies("tiny")
    assert "n_samples: int = 2 " in "".join(json.loads(copy.read_text())["cells"][1]["source"])
    notebooks.write_defaults()
    assert resolved("tiny", "05")["n_samples"] == 77


def test_the_defaults_written_down_are_those_of_the_cells(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    if not notebooks.defaults_path().is_file():
        pytest.skip("no defaults are written down: the cells hold them")
    assert [sentence for name in notebooks.notebooks() for sentence in notebooks.edited(notebooks.inspect(name))] == []
    known = notebooks.read_defaults()
    assert {n: set(known[n]) for n in known} == {n: set(notebooks.inspect(n).parameters) for n in notebooks.notebooks()}


@pytest.mark.slow
def test_a_notebook_that_fails_stops_only_what_needs_it(project):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "hivemind_utils", project / "hivemind_utils", ignore=ignored)
    write_notebook(project / "notebooks" / "05_intra_model.ipynb", [*INTRA[:3], BROKEN])
    other = [cell.replace("05", "06") for cell in INTRA[:3]]
    write_notebook(project / "notebooks" / "06_inter_model.ipynb", other)
    process = command(project, "make", "figures", f"PYTHON={sys.executable}", "PROFILE=tiny", "JOBS=1")
    assert process.returncode != 0
    assert ran(process) == ["04", "06"]


def test_a_notebook_with_nothing_to_measure_has_run(project, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name, table in schema.TABLES.items():
        if table.number == "04":
            parquet.write(schema.empty(name), name, "tiny", {"source": "imported"})
    write_notebook(project / "notebooks" / "05_intra_model.ipynb", [*INTRA[:2], INTRA[2].split("for")[0], NOTHING])
    assert run.main(["05", "--profile", "tiny"]) == 0
    assert capsys.readouterr().err == ""
    manifest = manifests.read("tiny", "05")
    written = {name for name, table in schema.TABLES.items() if table.number == "05"}
    assert written == {Path(name).stem for name in manifest["outputs"] if name.endswith(".parquet")}
    assert all(parquet.read(name, "tiny").empty for name in written)
    results = json.loads((project / "results" / "tiny" / "05.json").read_text())
    assert results["answer"] == "Nothing to measure. Every cell has one response." and not manifest["partial"]
    executed = (project / "executed" / "tiny" / "05.ipynb").read_text()
    assert results["answer"] in executed and "exception was encountered" not in executed.lower()
    assert '"output_type": "error"' not in executed


def test_an_empty_profile_is_the_notebooks_defaults(project):
    (project / "params" / "tiny.yaml").write_text("common:\n04_generate:\n")
    assert resolved("tiny", "05") == {"profile": "tiny", "n_samples": 2, "level": 0.95}
    assert profiles.load_profile("tiny").run == ("04", "05")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            "05_intra_model: {levle: 0.9}",
            "tiny.yaml: `05_intra_model` sets `levle`, which is not a parameter. Did you mean `level`?",
        ),
        (
            "common: {n_sample: 3}",
            "tiny.yaml: `common` sets `n_sample`, which is not a parameter. Did you mean `n_samples`?",
        ),
        (
            "05_intra_model: {xyz: 1}",
            "tiny.yaml: `05_intra_model` sets `xyz`, which is not a parameter. Known: level, n_samples, profile.",
        ),
        (
            "05_intra_model: {n_samples: '3'}",
            "tiny.yaml, 05_intra_model: the value for `n_samples` must be int, but '3' was given.",
        ),
        (
            "common: {n_samples: 2.5}",
            "tiny.yaml, 05_intra_model: the value for `n_samples` must be int, but 2.5 was given.",
        ),
        (
            "common: {n_samples: true}",
            "tiny.yaml, 05_intra_model: the value for `n_samples` must be int, but True was given.",
        ),
        (
            "common: {n_samples: }",
            "tiny.yaml, 05_intra_model: the value for `n_samples` must be int, but None was given.",
        ),
        (
            "05_intra_model: {level: high}",
            "tiny.yaml, 05_intra_model: the value for `level` must be float, but 'high' was given.",
        ),
        (
            "common: {profile: other}",
            "tiny.yaml: `profile` is the name of the file and cannot be set.",
        ),
        (
            "05_intra_model: {profile: other}",
            "tiny.yaml: `profile` is the name of the file and cannot be set.",
        ),
        (
            "05_intra: {level: 0.9}",
            "tiny.yaml: there is no notebook '05_intra'; blocks are `common`, 04_generate, 05_intra_model.",
        ),
        ("common: {run: [07]}", "There is no notebook '07'; the notebooks are 04_generate, 05_intra_model."),
        ("common: {run: 5}", "tiny.yaml: `run` must be a list of notebooks, but 5 was given."),
        ("common: {run: '05'}", "tiny.yaml: `run` must be a list of notebooks, but '05' was given."),
        ("- 05", "tiny.yaml must be a mapping of blocks: `common:` and one per notebook."),
        ("05_intra_model: 0.9", "tiny.yaml must be a mapping of blocks: `common:` and one per notebook."),
    ],
)
def test_a_mistake_in_a_profile_is_refused_before_a_kernel_starts(project, capsys, profile, message):
    (project / "params" / "tiny.yaml").write_text(profile)
    assert refusal(capsys, "05", "--profile", "tiny") == message
    assert refusal(capsys, "--rules", "--profile", "tiny").split(": ")[1:] == message.split(": ")[1:]


def test_a_value_that_is_not_among_the_permitted_ones_is_refused(project, capsys):
    (project / "params" / "tiny.yaml").write_text("04_generate: {decoding: topp}")
    message = refusal(capsys, "04", "--profile", "tiny")
    assert message == (
        "tiny.yaml, 04_generate: the value for `decoding` must be Literal['top_p', 'min_p'], but 'topp' was given."
    )


def test_yaml_that_cannot_be_read_is_refused(project, capsys):
    (project / "params" / "tiny.yaml").write_text("common: {n_samples: 3")
    assert refusal(capsys, "05", "--profile", "tiny").startswith("tiny.yaml is not valid YAML: ")


def test_an_unknown_profile_or_notebook_is_refused_with_the_known_ones(project, capsys):
    assert refusal(capsys, "05", "--profile", "tinny") == (
        "There is no profile 'tinny': give a path to a YAML file or one of tiny."
    )
    assert refusal(capsys, "09", "--profile", "tiny") == (
        "There is no notebook '09'; the notebooks are 04_generate, 05_intra_model."
    )


def test_a_profile_of_ones_own_may_not_share_the_folders_of_another(project, capsys):
    (project / "elsewhere" / "tiny.yaml").write_text("")
    message = refusal(capsys, "05", "--profile", "elsewhere/tiny.yaml")
    assert message == "elsewhere/tiny.yaml would share its folders with params/tiny.yaml: give it another name."
    assert profiles.load_profile("params/tiny.yaml").name == "tiny"


@pytest.mark.parametrize("arguments", [[], ["05", "--rules"]])
def test_a_notebook_or_rules_must_be_asked_for(project, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        run.main(arguments)
    assert stop.value.code == 2
    assert "give a notebook, or --rules" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- files and tables


def test_relative_paths_in_a_profile_start_at_the_profile(project):
    folder = project / "elsewhere"
    (folder / "mine.yaml").write_text("04_generate: {answers: mine.csv, registries: [a.csv, ../b.csv]}\n")
    values = resolved("elsewhere/mine.yaml", "04")
    assert values["answers"] == str(folder / "mine.csv")
    assert values["registries"] == [str(folder / "a.csv"), str(project / "b.csv")]
    assert values["profile"] == "mine"


def test_addresses_and_absolute_paths_stay_as_they_are(project):
    (project / "params" / "tiny.yaml").write_text(
        "04_generate: {answers: 'hf://datasets/x', registries: [/abs/a.csv]}\n"
    )
    values = resolved("tiny", "04")
    assert (values["answers"], values["registries"]) == ("hf://datasets/x", ["/abs/a.csv"])


def test_globs_name_every_file_and_addresses_none(project):
    for name in ("a1.csv", "a2.csv", "b.csv"):
        (project / "params" / name).touch()
    (project / "params" / "tiny.yaml").write_text("04_generate: {answers: 'a*.csv', registries: ['s3://x/y', b.csv]}\n")
    notebook = notebooks.inspect("04")
    files = profiles.input_files(notebook, resolved("tiny", "04"))
    assert [file.name for file in files] == ["a1.csv", "a2.csv", "b.csv"]


@pytest.mark.parametrize("missing", ["nowhere.csv", "nowhere*.csv"])
def test_a_missing_input_file_is_refused_by_its_parameter(project, capsys, missing):
    (project / "params" / "tiny.yaml").write_text(f"04_generate: {{answers: '{missing}'}}\n")
    expected = f"Parameter `answers` of 04_generate names {project / 'params' / missing}, which does not exist."
    assert refusal(capsys, "04", "--profile", "tiny") == expected
    assert refusal(capsys, "--rules", "--profile", "tiny") == expected


@pytest.mark.parametrize(("profile", "name"), [("tiny", "tiny"), ("elsewhere/mine.yaml", "mine")])
def test_a_missing_table_names_its_notebook_and_the_command(project, capsys, profile, name):
    (project / "elsewhere" / "mine.yaml").touch()
    assert refusal(capsys, "05", "--profile", profile) == (
        f"data/{name}/04_prompts.parquet is missing. "
        f"Notebook 04_generate writes it: run `make figures PROFILE={profile}`."
    )


# ------------------------------------------------------------------------------------------------ reading a notebook


def test_a_notebook_is_known_without_running_it(project):
    notebook = notebooks.inspect("05_intra_model.ipynb")
    assert (notebook.name, notebook.number) == ("05_intra_model", "05")
    assert {p.name: (p.annotation, p.default) for p in notebook.parameters.values()} == {
        "profile": ("str", "demo"),
        "n_samples": ("int", 2),
        "level": ("float", 0.95),
    }
    assert notebook.reads == ("04_prompts",)
    assert set(notebook.writes) == {
        "05_repetition", "05_arms", "05_references", "05_paraphrases", "05_measure_validity", "05_against_paper",
        "05_power", "05_soundness", "05_encoders", "05_encoder_agreement", "05_encoder_thresholds",
    }  # fmt: skip
    assert notebooks.inspect("04").parameters["answers"].is_path


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        (["x = 1", "n: int = 1 + 1"], "the default of `n` must be a literal"),
        (["x = 1", "n = 1"], "a parameter must read `name: type = literal`; line 1 does not"),
        (["x = (", "n: int = 1"], "06_odd.ipynb, code cell 1, line 1 is no Python: '(' was never closed"),
        (["x = 1", "n: int = 1\nprint(n)"], "a parameter must read `name: type = literal`; line 2 does not"),
    ],
)
def test_a_parameters_cell_that_is_not_declarative_is_refused(project, capsys, sources, problem):
    write_notebook(project / "notebooks" / "06_odd.ipynb", sources)
    assert problem in refusal(capsys, "06", "--profile", "tiny")


def test_a_notebook_without_a_parameters_cell_is_refused(project, capsys):
    nbformat.write(nbformat.v4.new_notebook(), project / "notebooks" / "06_odd.ipynb")
    message = refusal(capsys, "06", "--profile", "tiny")
    assert message == "06_odd.ipynb must have exactly one cell tagged `parameters`, but has 0."


@pytest.mark.parametrize(
    "line",
    [
        "from hivemind_utils import second",
        "from hivemind_utils.second import x",
        "import hivemind_utils.second",
        "import hivemind_utils.second as s",
        "from hivemind_utils import first",
        "%matplotlib inline\nfrom hivemind_utils import second",
    ],
)
def test_modules_are_found_however_they_are_imported(project, line):
    package = project / "hivemind_utils"
    package.mkdir()
    (package / "first.py").write_text("def f():\n    from hivemind_utils import second\n    return second.x\n")
    (package / "second.py").write_text("x = 1\n")
    (package / "third.py").write_text("x = 1\n")
    write_notebook(project / "notebooks" / "06_odd.ipynb", [line, 'profile: str = "demo"'])
    found = [path.name for path in notebooks.inspect("06").modules]
    assert found[-1] == "second.py"
    assert "third.py" not in found


LOADER = """
from hivemind_utils.tables import parquet
from hivemind_utils import deeper


def load(study, name):
    prompts = study.read("04_prompts")
    return _more(study), deeper.rest(name, study=study), prompts


def _more(study):
    return study.read("04_models")


def unused(study):
    return study.read("04_ideas")


def without(folder):
    return parquet.read("04_coverage", folder)
"""
DEEPER = """
def rest(name, study):
    return study.read("04_responses"), rest(name, study)
"""


@pytest.mark.parametrize(
    "cell",
    [
        "from hivemind_utils import first\nfirst.load(study, 1)",
        "from hivemind_utils.first import load as get\nget(study, 1)",
        "import pandas as pd\nfrom hivemind_utils import first as f\nx = f.load(study, name=1)[0].head(3)",
        "from hivemind_utils import exported\nexported.load(study, 1)",
    ],
)
def test_tables_are_found_in_functions_that_are_handed_the_study(project, cell):
    package = project / "hivemind_utils"
    (package / "exported").mkdir(parents=True)
    (package / "exported" / "__init__.py").write_text("from hivemind_utils.first import load\n")
    (package / "first.py").write_text(LOADER)
    (package / "deeper.py").write_text(DEEPER)
    study = "from hivemind_utils.tables.study import Study\nstudy = Study('06', profile)"
    write_notebook(project / "notebooks" / "06_odd.ipynb", [study, 'profile: str = "demo"', cell])
    assert notebooks.inspect("06").reads == ("04_models", "04_prompts", "04_responses")


def test_a_function_that_is_not_handed_the_study_is_not_looked_into(project):
    package = project / "hivemind_utils"
    package.mkdir()
    (package / "first.py").write_text(LOADER)
    cells = ["from hivemind_utils import first", 'profile: str = "demo"', "first.without(profile)\nprint(study)"]
    write_notebook(project / "notebooks" / "06_odd.ipynb", cells)
    assert notebooks.inspect("06").reads == ()


@pytest.mark.parametrize("where", ["notebook", "function"])
def test_a_table_whose_name_is_not_written_out_is_refused(project, capsys, where):
    package = project / "hivemind_utils"
    package.mkdir()
    (package / "first.py").write_text("def load(study, name):\n    return study.read(name)\n")
    cell = "study.read(name)" if where == "notebook" else "from hivemind_utils import first\nfirst.load(study, name)"
    write_notebook(project / "notebooks" / "06_odd.ipynb", ["x = 1", 'profile: str = "demo"', cell])
    expected = "06_odd.ipynb: write the table's name out in study.read(...), so that make can see it."
    assert refusal(capsys, "06", "--profile", "tiny") == expected


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x1c"])
def test_only_a_line_feed_ends_a_line_of_a_cell(project, end):
    cells = ["x = 1", f'profile: str = "a{end}b"', f'study.read("04_models", "{end}")']
    write_notebook(project / "notebooks" / "06_odd.ipynb", cells)
    assert notebooks.inspect("06").parameters["profile"].written == f"a{end}b"


def test_the_tables_of_notebook_06_are_those_that_loading_reads(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    notebook = notebooks.inspect("06")
    assert notebook.reads == ("04_arms", "04_models", "04_prompts", "04_responses") and notebook.reads_embeddings


def test_figures_that_a_notebook_no_longer_draws_are_removed(project):
    folder = project / "figures" / "demo"
    folder.mkdir(parents=True)
    for name in ("old.png", "old.csv", "kept.png", "of_another_notebook.png"):
        (folder / name).write_text("x")
    run._remove_stale_figures("demo", "05", ["kept"])
    assert len(list(folder.iterdir())) == 4, "without an earlier run nothing is known to be stale"
    record = {"figures": ["old", "kept"], "parameters": {}, "inputs": {}, "packages": {}, "partial": None}
    manifests.write(record, "demo", "05")
    run._remove_stale_figures("demo", "05", ["kept"])
    assert {path.name for path in folder.iterdir()} == {"kept.png", "of_another_notebook.png"}


def test_what_long_work_says_of_itself_is_heard_on_the_terminal(tmp_path, capsys):
    path = tmp_path / "04.progress.txt"
    with run._progress(path, "04_generate"):
        noted = Path(os.environ[progress.LOG])
        with noted.open("a", encoding="utf-8") as file:
            file.write("15 of 100 responses\n")
    assert capsys.readouterr().err == "04_generate              15 of 100 responses\n"
    assert progress.LOG not in os.environ and not path.exists()


def test_a_project_that_is_moved_keeps_its_runs(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    values = {"file": str(tmp_path / "data" / "a.csv"), "other": ["/elsewhere/b.csv", "c d"], "n": 3, "none": None}
    kept = {"file": "data/a.csv", "other": ["/elsewhere/b.csv", "c d"], "n": 3, "none": None}
    assert manifests.parameters(values) == kept == manifests.parameters(kept)


def test_a_run_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "mine")
    monkeypatch.delenv("HIVEMIND_DRAWN", raising=False)
    before = dict(os.environ)
    with table_files.environment(IPYTHONDIR="ours", HIVEMIND_DRAWN="x"):
        assert (os.environ["IPYTHONDIR"], os.environ["HIVEMIND_DRAWN"]) == ("ours", "x")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "cell",
    [
        'raise RuntimeError(f"refused: {key}")',
        'print(key)\nraise ValueError("after it was printed")',
        'try:\n    {}["no"]\nexcept KeyError as error:\n    raise RuntimeError(f"header {key}") from error',
        'display({"Authorization": key})\nraise ValueError("after it was shown")',
    ],
)
def test_no_key_stays_in_a_notebook_that_failed_nor_in_its_message(project, monkeypatch, capsys, cell):
    monkeypatch.setenv("SOME_API_KEY", "a-secret-of-mine-0123456789")
    write_notebook(
        project / "notebooks" / "05_intra_model.ipynb",
        [*INTRA[:3], f'import os\nkey = os.environ["SOME_API_KEY"]\n{cell}'],
    )
    assert run.main(["04", "--profile", "tiny"]) == 0 and run.main(["05", "--profile", "tiny"]) == 1
    left = (project / "executed" / "tiny" / "05.running.ipynb").read_text()
    assert "a-secret-of-mine" not in left + capsys.readouterr().err and "<SOME_API_KEY>" in left
    assert "Traceback" in left

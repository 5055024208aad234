"""The notebooks as text: names, outputs, parameters, and what they may not do."""

import ast
import functools
import io
import json
import re
import tokenize
from pathlib import Path

import pytest
import yaml

from hivemind_utils.pipeline import notebooks, profiles
from hivemind_utils.tables import schema

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted((ROOT / "params").glob("*.yaml"))


inspect = functools.cache(notebooks.inspect)  # it reads every module that a notebook imports


def cells(path, kind):
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_there_are_notebooks():
    assert {p.stem for p in NOTEBOOKS} >= {"04_generate", "05_intra_model", "06_inter_model"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_title_carries_the_number(self, path):
        assert re.match(rf"# {path.stem[:2]} · \S", source(cells(path, "markdown")[0]))

    def test_outputs_are_stripped(self, path):
        for cell in cells(path, "code"):
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert set(cell["metadata"]) <= {"tags"}

    def test_parameters_are_annotated_literals_with_a_comment(self, path):
        parameters = inspect(path.stem).parameters
        assert "profile" in parameters
        tagged = [c for c in cells(path, "code") if "parameters" in c["metadata"].get("tags", [])]
        text = source(tagged[0])
        commented = {
            token.start[0] for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        }  # fmt: skip
        for node in ast.parse(text).body:
            assert node.lineno in commented, f"`{node.target.id}` has no comment"

    def test_demo_values_are_the_notebooks_own(self, path):
        assert profiles.resolve(profiles.load_profile("demo"), inspect(path.stem)) == profiles.resolve(
            profiles.Profile("demo", ROOT / "params" / "demo.yaml"), inspect(path.stem)
        )

    def test_says_what_it_reads_and_writes(self, path):
        intro = source(cells(path, "markdown")[0])
        assert "*Reads:*" in intro and "*Writes:*" in intro
        notebook = inspect(path.stem)
        for name in (*notebook.reads, *notebook.writes):
            assert f"`{name}`" in intro, f"{name} is not announced"

    def test_writes_every_table_its_number_promises(self, path):
        code = "\n".join(source(c) for c in cells(path, "code"))
        if path.stem != "04_generate":  # which writes what `responses.tabulate` made, in a loop
            for name in inspect(path.stem).writes:
                assert f'"{name}"' in code

    def test_never_reads_the_planted_truth(self, path):
        code = "\n".join(source(c) for c in cells(path, "code"))
        assert not re.search(r"read.*truth|truth/|planted_sharpness", code)

    @pytest.mark.parametrize(
        "pattern", [r"np\.random\.seed", r"sys\.path", r"os\.chdir", r"^%run", r"savefig", r"rcParams", r"except:"]
    )
    def test_keeps_the_house_rules(self, path, pattern):
        code = "\n".join(source(c) for c in cells(path, "code"))
        assert not re.search(pattern, code, re.MULTILINE)

    def test_code_cells_are_short(self, path):
        code = [c for c in cells(path, "code") if "parameters" not in c["metadata"].get("tags", [])]
        assert max(len(source(c).splitlines()) for c in code) <= 25

    def test_every_figure_is_announced(self, path):
        intro = source(cells(path, "markdown")[0])
        code = "\n".join(source(c) for c in cells(path, "code"))
        for slug in re.findall(r'style\.save\(fig, "(\w+)"', code):
            assert f"`{slug}`" in intro, f"figure {slug} is not announced"


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_every_name_in_a_profile_exists(path):
    profile = profiles.load_profile(path.stem)
    profiles.check_common(profile)
    for name in notebooks.notebooks():
        profiles.resolve(profile, inspect(name))
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_every_table_has_a_notebook_that_writes_it():
    numbers = {p.stem[:2] for p in NOTEBOOKS}
    assert {table.number for table in schema.TABLES.values()} <= numbers


def test_environment_yml_names_python_pip_make_and_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, pip = environment["dependencies"]
    assert [re.split(r"[<>=]", package)[0] for package in packages] == ["python", "pip", "make"]
    assert pip == {"pip": ["-r requirements.lock"]}


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.lock")), ids=lambda p: p.name)
def test_locks_are_hashed_name_no_index_and_no_gpu_package(path):
    text = path.read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE | re.IGNORECASE)
    assert (
        len(pins) > {"requirements-llama.lock": 1, "requirements-encoders.lock": 0}.get(path.name, 100)
        and "://" not in text
        and "--index" not in text
        and "--find-links" not in text
    )
    assert not [p for p in pins if p.startswith(("nvidia", "torch", "triton", "cuda"))]
    assert len(re.findall(r"^[a-z0-9][^\n]*==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE | re.IGNORECASE)) == len(
        pins
    )


def test_a_notebook_depends_on_the_modules_it_uses_and_not_on_other_domains():
    modules = {str(path.relative_to(ROOT / "hivemind_utils")) for path in inspect("11_sources").modules}
    assert {"responses/loading.py", "responses/sources.py", "figures/sources.py", "metrics/sources.py"} <= modules
    assert not any(name.startswith(("queries/", "ratings/", "demo/")) for name in modules)

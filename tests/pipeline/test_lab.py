"""Run All on the copies that `make lab` opens, and on the notebooks themselves with untouched parameters cells."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from hivemind_utils.pipeline import kernels, lab, manifests

NAMES = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def ran(fixture_run, tmp_path_factory):
    """A copy of the project that has run, with the copies of `make lab PROFILE=fixture`."""
    project = tmp_path_factory.mktemp("lab") / "a project"
    shutil.copytree(fixture_run.folder, project)
    before = os.getcwd()
    os.chdir(project)
    try:
        written, kept = lab.copies("fixture")
    finally:
        os.chdir(before)
    assert [path.name for path in written] == NAMES and kept == []
    return project


def run_all(notebook, scratch, monkeypatch):
    """Run All as JupyterLab does: the kernel's working folder is the notebook's; returns what was raised."""
    from nbclient import NotebookClient

    for name, value in kernels.environment(scratch).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HIVEMIND_DRAWN", raising=False)
    content = nbformat.read(notebook, 4)
    client = NotebookClient(content, kernel_name="python3", allow_errors=True, timeout=600)
    client.execute(cwd=str(notebook.parent))
    return [o for cell in content.cells for o in cell.get("outputs", []) if o["output_type"] == "error"]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_run_all_on_an_untouched_copy_writes_what_make_figures_wrote(ran, name, tmp_path, monkeypatch):
    monkeypatch.chdir(ran)
    manifest = manifests.read("fixture", name[:2])
    tables = {f: digest for f, digest in manifest["outputs"].items() if f.startswith(("data/", "results/"))}
    assert tables
    assert run_all(ran / "executed" / "fixture" / "lab" / name, tmp_path, monkeypatch) == []
    digests = manifests.Digests(tmp_path)
    assert {file: digests.of(ran / file) for file in tables} == tables


@pytest.mark.long
def test_after_run_all_nothing_has_to_run(ran):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "figures", "PROFILE=fixture", f"PYTHON={sys.executable}"],
        cwd=ran, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not any(name.removesuffix(".ipynb") in done.stdout for name in NAMES), done.stdout


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_untouched_parameters_find_their_files_from_every_folder(ran, name, tmp_path, monkeypatch):
    """The notebooks' own cells, with the profile's small sizes but the paths as they stand there."""
    monkeypatch.chdir(ran)
    copy = nbformat.read(ran / "executed" / "fixture" / "lab" / name, 4)
    original = nbformat.read(ran / "notebooks" / name, 4)
    cell = next(c for c in copy.cells if "parameters" in c.metadata.get("tags", []))
    same = next(c for c in original.cells if "parameters" in c.metadata.get("tags", []))
    own = yaml.safe_load((ran / "params" / "fixture.yaml").read_text()).get(name.removesuffix(".ipynb"), {})
    paths = [line for line in same.source.splitlines() if "Path" in line.split("=")[0]]
    paths = [line for line in paths if line.partition(":")[0] not in own]  # what the profile sets stands there instead
    assert all(line in cell.source.splitlines() for line in paths), "a path of the demo is left as it stands"
    assert json.dumps(str(ran)) not in cell.source

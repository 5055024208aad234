"""A copy of the project in which the pipeline may write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Project:
    """A copy of the tree; `make` runs its Makefile with the Python of the tests."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        for name in ("notebooks", "params", "hivemind_utils"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            )
        shutil.copytree(ROOT / "data" / "reference", folder / "data" / "reference")
        (folder / "data" / "demo").mkdir()
        for file in (ROOT / "data" / "demo").glob("*.yaml"):
            shutil.copy(file, folder / "data" / "demo")

    def make(self, *arguments, check=True):
        """Run make; returns the finished process with its output as text."""
        # Four tests' makes must not see the flags of the make that runs the tests.
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            ["make", *arguments, f"PYTHON={sys.executable}"],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def make_project(tmp_path_factory):
    """Call it for a fresh copy of the project."""
    return lambda: Project(tmp_path_factory.mktemp("project"))

"""Benchmarks are run by hand: what they take from the package must still be there."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).resolve().parents[1] / "benchmarks").glob("*.py"))


def taken(tree):
    """Names that a script takes from the package: (module, attribute, line)."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hivemind_utils"):
            for name in node.names:
                yield node.module, name.name, node.lineno
                modules[name.asname or name.name] = f"{node.module}.{name.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr, node.lineno


def holds(module, name):
    """Whether a module, or a class of one, has a name."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:  # a name of a module, not a module
        parent, _, own = module.rpartition(".")
        found = getattr(importlib.import_module(parent), own)
    if hasattr(found, name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", BENCHMARKS, ids=[path.stem for path in BENCHMARKS])
def test_a_benchmark_takes_only_what_is_there(path):
    found = list(taken(ast.parse(path.read_text(encoding="utf-8"))))
    assert found, "every benchmark measures the package"
    absent = [f"{module}.{name}, line {line}" for module, name, line in found if not holds(module, name)]
    assert absent == []


def test_the_benchmark_of_large_runs_runs_small(tmp_path):
    command = [sys.executable, BENCHMARKS[0].parent / "scale.py", "--parts", "growth", "--scale", "0.01"]
    command += ["--models", "4", "--folder", tmp_path, "--output", tmp_path / "table.md"]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS[0].parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[1].strip().partition(",")[0] for line in lines[2:]] == [
        "05 and 06", "05 and 06", "time", "memory", "a million responses", "91 million responses",
    ]  # fmt: skip

"""Benchmarks are run by hand: what they take from the package must still be there."""

import ast
import importlib
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

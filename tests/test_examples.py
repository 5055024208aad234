"""The examples in docstrings are true."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hivemind_utils"
WITH_EXAMPLES = sorted(
    p for p in PACKAGE.rglob("*.py") if re.search("^ +>>> (?!.*[+]SKIP)", p.read_text("utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_examples_give_what_they_say(path):
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("metrics/[!_]*.py")), ids=lambda p: p.stem)
def test_every_public_function_of_metrics_has_an_example(path):
    module = importlib.import_module(f"hivemind_utils.metrics.{path.stem}")
    public = inspect.getmembers(module, lambda f: inspect.isfunction(f) and f.__module__ == module.__name__)
    assert not [name for name, f in public if not name.startswith("_") and ">>> " not in (f.__doc__ or "")]

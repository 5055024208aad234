"""docs/trust.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py(?:::\w+)+)`", TEXT)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name):
    path, *parts = name.split("::")
    nodes = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    for part in parts:
        found = [node for node in nodes if getattr(node, "name", None) == part]
        assert found, f"docs/trust.md names {name}, but {path} has no {part}"
        nodes = getattr(found[0], "body", [])
    assert parts[-1].startswith("test_")


def test_every_promise_of_the_first_three_sections_names_one():
    for section in TEXT.split("\n## ")[1:4]:
        for promise in section.split("\n- ")[1:]:
            assert "::test_" in promise or "Nothing is reported" in promise, promise


def test_packages_come_as_wheels_with_hashes():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "$(PIP) install" in line]
    assert len(installs) >= 8
    for line in installs:
        if "-e ." not in line:
            assert "--only-binary :all:" in line, line
            assert "--require-hashes" in line or "torch==" in line, line


def test_the_readme_leads_to_it():
    assert "(docs/trust.md)" in (ROOT / "README.md").read_text(encoding="utf-8")

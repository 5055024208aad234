"""The page of parameters says what the notebooks say."""

import json
import re
from pathlib import Path

import pytest

from hivemind_utils.pipeline import notebooks, reference
from hivemind_utils.tables import files


def test_the_page_is_current():
    assert reference.path().read_text(encoding="utf-8") == reference.page(), "run `make reference`"


@pytest.mark.parametrize("name", notebooks.notebooks())
def test_every_parameter_stands_there_with_its_default_and_a_meaning(name):
    section = reference.path().read_text(encoding="utf-8").split(f"`{name}:`")[-1].split("\n## ")[0]
    cells = json.loads((files.root() / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    values = {"Path": Path}
    exec("".join(next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", []))), values)
    found = set()
    for row in section.splitlines():
        if row.startswith("| `"):
            parameter, _, default, meaning = (part.strip() for part in re.split(r"(?<!\\)\|", row)[1:5])
            assert json.loads(default.strip("`").replace("\\|", "|")) == values[parameter.strip("`")]
            assert len(meaning) > 5, row
            found.add(parameter.strip("`"))
    assert found == set(values) - {"Path", "__builtins__", "__annotations__"}


def test_the_readme_leads_to_it():
    assert "(docs/parameters.md)" in (files.root() / "README.md").read_text(encoding="utf-8")

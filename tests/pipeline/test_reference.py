"""The page of parameters says what the notebooks say."""

import json
import re

import pytest

from hivemind_utils.pipeline import notebooks, reference
from hivemind_utils.tables import files


def test_the_page_is_current():
    assert reference.path().read_text(encoding="utf-8") == reference.page(), "run `make reference`"


@pytest.mark.parametrize("name", notebooks.notebooks())
def test_every_parameter_stands_there_with_its_default_and_a_meaning(name):
    section = reference.page().split(f"`{name}:`")[-1].split("\n## ")[0]
    for parameter in notebooks.inspect(name).parameters.values():
        row = next(line for line in section.splitlines() if line.startswith(f"| `{parameter.name}` |"))
        default, meaning = re.split(r"(?<!\\)\|", row)[3:5]
        assert json.loads(default.strip().strip("`").replace("\\|", "|")) == parameter.default
        assert len(meaning.strip()) > 5, row


def test_the_readme_leads_to_it():
    assert "(docs/parameters.md)" in (files.root() / "README.md").read_text(encoding="utf-8")

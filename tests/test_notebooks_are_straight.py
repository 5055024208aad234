"""Notebooks are straight lines: short cells, few imports, no driver logic, no number of the paper typed again."""

import ast
import json
import re
import statistics
from pathlib import Path

import pytest

from hivemind_utils.tables import paper

ROOT = Path(__file__).resolve().parents[1]
STRAIGHT = ["01_filter", "02_classify", "03_taxonomy", "06_inter_model", "10_interventions"]

MEDIAN_LINES, MOST_LINES = 6, 14  # of code cells; the cell of parameters may be longer
MOST_IFS = 3
MOST_IMPORTS = 6  # names of the package
WIDTH = 100

# What belongs into the package: reading what users bring, choosing a source, settling what a run lacks.
PLUMBING = [
    r"\bisinstance\(",
    r"\.expand\(",
    r"\.glob\(",
    r'"://"',
    r"\bparquet\.",
    r"\bfigure_files\.",
    r"\bstyle\.",
    r"\bplt\b",
    r"\bsubplots\(",
    r"\bstamp\b",
    r"\bn_boot\b",
    r"\bprint\(json",
    r"\bdefault_rng\(",
]


def cells(name, kind="code"):
    """Sources of the cells of a notebook."""
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def is_parameters(cell):
    return "parameters" in cell["metadata"].get("tags", [])


def nodes(name):
    """Every node of the syntax trees of a notebook's code, parameters left out."""
    trees = [ast.parse(source(cell)) for cell in cells(name) if not is_parameters(cell)]
    return [node for tree in trees for node in ast.walk(tree)]


def package_names(name):
    """Names of the package that a notebook imports, ``from x import a, b`` counted as two."""
    found = []
    for node in nodes(name):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hivemind_utils":
            found += [alias.asname or alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == "hivemind_utils"]
    return found


def stated_numbers():
    """Numbers of the paper that cannot be taken for anything else: with a separator or a point, three digits or more.

    Sample sizes and settings (5, 10, 0.8) occur for other reasons and are not looked for.
    """
    found = {number for text in paper.claims()["paper"] for number in re.findall(r"\d[\d,]*\.?\d*|\.\d+", text)}
    found = {number.rstrip(".,") for number in found}
    return {number for number in found if re.search(r"[.,]", number) and len(re.sub(r"\D", "", number)) >= 3}


@pytest.mark.parametrize("name", STRAIGHT)
class TestStraight:
    def test_code_cells_are_short(self, name):
        lengths = [len(source(cell).splitlines()) for cell in cells(name) if not is_parameters(cell)]
        assert statistics.median(lengths) <= MEDIAN_LINES, sorted(lengths)
        assert max(lengths) <= MOST_LINES, sorted(lengths)

    def test_lines_are_short(self, name):
        text = "\n".join(source(cell) for kind in ("code", "markdown") for cell in cells(name, kind))
        assert [line for line in text.splitlines() if len(line) > WIDTH] == []

    def test_few_names_of_the_package_are_imported(self, name):
        names = package_names(name)
        assert names and len(names) <= MOST_IMPORTS, names

    def test_code_hardly_branches_and_never_loops_or_defines(self, name):
        branches = [node for node in nodes(name) if isinstance(node, ast.If | ast.IfExp | ast.Match)]
        branches += [test for node in nodes(name) if isinstance(node, ast.comprehension) for test in node.ifs]
        assert len(branches) <= MOST_IFS, [ast.unparse(branch) for branch in branches]
        others = (ast.For, ast.While, ast.Try, ast.With, ast.FunctionDef, ast.Lambda, ast.ClassDef)
        assert [ast.unparse(node) for node in nodes(name) if isinstance(node, others)] == []

    @pytest.mark.parametrize("pattern", PLUMBING)
    def test_plumbing_is_in_the_package(self, name, pattern):
        assert not [source(cell) for cell in cells(name) if re.search(pattern, source(cell))]

    def test_a_study_carries_it_from_the_first_cells_to_the_takeaways(self, name):
        code = [source(cell) for cell in cells(name)]
        assert re.search(rf'^study = Study\("{name[:2]}", profile, seed\)$', "\n".join(code[:4]), re.MULTILINE)
        assert "study.takeaways(" in code[-1] and "number=(" in code[-1]

    def test_figures_have_a_headline_of_their_own(self, name):
        code = "\n".join(source(cell) for cell in cells(name))
        slugs = re.findall(r'study\.figure\(\s*"(\w+)"', code)
        assert slugs
        intro = source(cells(name, "markdown")[0])
        for slug in slugs:
            assert re.search(rf"headlines\.{slug}\(", code), f"figure {slug} has no headline"
            assert f"`{slug}`" in intro, f"figure {slug} is not announced"

    def test_no_number_of_the_paper_is_typed_a_second_time(self, name):
        text = "\n".join(source(cell) for kind in ("code", "markdown") for cell in cells(name, kind))
        numbers = set(re.findall(r"\d[\d,]*\.?\d*|\.\d+", text))
        assert numbers & stated_numbers() == set()


def test_the_numbers_looked_for_are_the_papers():
    assert {"37,426", "26,070", "2.643", "74.7"} <= stated_numbers()

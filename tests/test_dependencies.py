"""What the package imports: from its own folders by floors, from others only what is declared; and what it ships."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted((ROOT / "hivemind_utils").rglob("*.py"))
CHECK = "from importlinter import cli; cli.lint_imports_command()"  # as in `make check`
POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"}


def imported(tree):
    """Names of the packages that a syntax tree imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def third_party(trees, own=()):
    """Distributions that provide what the trees import, as lower-case names with hyphens."""
    provides = importlib.metadata.packages_distributions()
    names = set().union(*map(imported, trees)) - set(sys.stdlib_module_names) - {"hivemind_utils", *own}
    return {re.sub(r"[-_.]+", "-", provides.get(name, [name])[0]).lower() for name in names}


def declared(*extras):
    """Distributions that pyproject.toml names as dependencies and in extras."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {re.match(r"[\w.-]+", line)[0].lower() for line in lines}


def pinned(lock):
    return set(re.findall(r"^([\w.-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def parsed(paths):
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def test_what_the_package_and_the_notebooks_import_is_declared():
    trees = parsed(MODULES)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        trees += [ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    optional = declared("local", "scale", "encoders") | pinned("requirements-llama.lock")
    found = third_party(trees)
    assert {"numpy", "pyyaml", "scikit-learn"} < found
    assert found <= declared() | optional, f"not in pyproject.toml: {sorted(found - declared() - optional)}"


def test_what_tests_and_benchmarks_import_is_declared():
    paths = [path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = third_party(parsed(paths), own={path.stem for path in paths})
    undeclared = found - declared("dev", "local", "scale", "encoders") - pinned("requirements-llama.lock")
    assert not undeclared, f"not in pyproject.toml: {sorted(undeclared)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_needs_posix_to_be_imported(path):
    (tree,) = parsed([path])
    at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not imported(ast.Module(at_import, [])) & POSIX_ONLY


def test_the_floors_are_checked(make_project):
    pytest.importorskip("importlinter")
    project = make_project()
    command = [sys.executable, "-c", CHECK]
    kept = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    with open(project.folder / "hivemind_utils" / "metrics" / "words.py", "a", encoding="utf-8") as file:
        file.write("\nfrom hivemind_utils.pipeline import run\n")
    broken = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert broken.returncode == 1 and "hivemind_utils.metrics.words -> hivemind_utils.pipeline.run" in broken.stdout


def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("hivemind_utils/")}
    files = [
        path for path in (ROOT / "hivemind_utils").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert inside == {path.relative_to(ROOT).as_posix() for path in files}

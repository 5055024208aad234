"""A page with every parameter of every notebook: ``python -m hivemind_utils.pipeline.reference`` (``make reference``).

Names, types, defaults and meanings are read from the notebooks' parameters cells, so the page says what they say.
"""

import ast
import io
import json
import re
import sys
import tokenize

from hivemind_utils.pipeline import notebooks
from hivemind_utils.tables import files

HEAD = """\
# Parameters

Every parameter of every notebook, generated from the notebooks' parameters cells; a test keeps the two equal. A profile
sets them by name: under `common:` for every notebook that has one of that name, or in a block of the notebook, such as
`04_generate:`. Paths count from the profile's folder. What a profile does not name keeps its default.
"""


def path():
    """File of the page."""
    return files.root() / "docs" / "parameters.md"


def page():
    """Text of the page."""
    return "\n".join([HEAD, *(_section(name) for name in notebooks.notebooks())])


def write():
    """Write the page; returns its path."""
    with files.atomic(path()) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    return path()


def comments(source):
    """Comment of every parameter of a parameters cell, by name.

    Examples
    --------
    >>> comments("n: int = 5  # so many" + chr(10) + "d: dict = {  # two" + chr(10) + "    'a': 1" + chr(10) + "}")
    {'n': 'so many', 'd': 'two'}
    """
    said = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "fmt: skip" not in token.string
    }
    found = {}
    for node in ast.parse(source).body:
        lines = range(node.lineno, node.end_lineno + 1)
        found[node.target.id] = "; ".join(said[line] for line in lines if line in said)
    return found


def _section(name):
    path = files.root() / "notebooks" / f"{name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = next(re.match(r"# (.*)", "".join(cell["source"]))[1] for cell in cells if cell["cell_type"] == "markdown")
    source = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    meanings, settled = comments(source), notebooks.read_defaults().get(name, {})
    rows = []
    for node in ast.parse(source).body:
        parameter = node.target.id
        default = settled.get(parameter, ast.literal_eval(node.value))
        shown = json.dumps(default, ensure_ascii=False)
        rows.append(
            f"| `{parameter}` | {_code(ast.unparse(node.annotation))} | {_code(shown)} | {_cell(meanings[parameter])} |"
        )
    head = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", f"`{name}:`", "", *head, *rows, ""])


def _code(text):
    return f"`{_cell(text)}`"


def _cell(text):
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(write())
    sys.exit(0)

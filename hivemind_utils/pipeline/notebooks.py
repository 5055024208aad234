"""What can be known of a notebook without running it: parameters, tables read, modules imported."""

import ast
import contextlib
import functools
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hivemind_utils.tables import files, schema

IMPORTS = "imports.json"  # in ``executed``: what modules import, see `_Imports`


class UserError(Exception):
    """A mistake in a profile or a missing input: shown without a traceback."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its annotation and value as written, its default, whether it holds paths."""

    name: str
    annotation: str
    default: Any
    written: Any = None

    @property
    def is_path(self):
        """Whether the annotation names `Path`: such values are made absolute."""
        return "Path" in self.annotation


@dataclass(frozen=True)
class Notebook:
    """A notebook, as far as it can be known without running it."""

    path: Path
    parameters: dict[str, Parameter]
    reads: tuple[str, ...]
    modules: tuple[Path, ...]
    reads_embeddings: bool
    writes_embeddings: bool

    @property
    def name(self):
        """Name without suffix, such as ``05_intra_model``."""
        return self.path.stem

    @property
    def number(self):
        """The two digits the name begins with."""
        return self.path.stem[:2]

    @property
    def writes(self):
        """Tables this notebook writes."""
        return tuple(name for name, table in schema.TABLES.items() if table.number == self.number)


def skip_iri_grammar():
    """Call it before nbformat is imported: its validator would compile a grammar of IRIs, two seconds for nothing."""
    sys.modules.setdefault("rfc3987_syntax", None)


def notebooks():
    """Names of the notebooks there are, in order."""
    return [path.stem for path in sorted((files.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def find_notebook(name):
    """Full name of a notebook given by name, number or file name."""
    names = notebooks()
    wanted = Path(name).stem
    found = [n for n in names if wanted in (n, n[:2])]
    if not found:
        raise UserError(f"There is no notebook {name!r}; the notebooks are {', '.join(names)}.")
    return found[0]


def defaults_path():
    """File in which the defaults of all parameters are written down, so that editing a cell changes no run."""
    return files.root() / "data" / "reference" / "defaults.json"


def read_defaults():
    """Defaults by notebook and parameter as they were written down; empty without the file: the cells hold them."""
    path = defaults_path()
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_defaults():
    """Write down what the parameters cells say now (`make defaults`); returns the path."""
    cells = {name: {p.name: p.written for p in parameters(name).values()} for name in notebooks()}
    with files.atomic(defaults_path()) as temporary:
        temporary.write_text(json.dumps(cells, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return defaults_path()


def edited(notebook):
    """Sentence on every parameter whose cell says something else than the default that runs take."""
    return [
        f"{notebook.path.name}: the parameters cell says {p.name} = {p.written!r}, but runs take {p.default!r}, the "
        f"default. Write {p.name} into a profile to change it (to change the default: make defaults)."
        for p in notebook.parameters.values()
        if p.written != p.default
    ]


def parameters(name):
    """Parameters of a notebook by name, from its cell tagged `parameters`; nothing else of it is read."""
    return _parameters(*_code(name))


def inspect(name):
    """Read a notebook's parameters, the tables it reads and the package modules it imports, from its source."""
    path, cells = _code(name)
    trees = [_parse(cell, path, cells) for cell in cells]
    reads, uses = _tables(trees, path.name)
    number = path.stem[:2]
    return Notebook(
        path=path,
        parameters=_parameters(path, cells),
        reads=tuple(sorted(r for r in reads if not r.startswith(number))),
        modules=_modules([ast.Module([node for tree in trees for node in tree.body], [])]),
        reads_embeddings=bool(uses & {*_READERS}) and number != "04",
        writes_embeddings="embeddings.embed" in uses,
    )


def _code(name):
    """Path of a notebook and its code cells."""
    path = files.root() / "notebooks" / f"{find_notebook(name)}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return path, [cell for cell in cells if cell["cell_type"] == "code"]


def _parameters(path, cells):
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise UserError(f"{path.name} must have exactly one cell tagged `parameters`, but has {len(tagged)}.")
    found, settled = {}, read_defaults().get(path.stem, {})
    for node in _parse(tagged[0], path, cells).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise UserError(f"{path.name}: a parameter must read `name: type = literal`; line {node.lineno} does not.")
        try:
            default = ast.literal_eval(node.value)
        except ValueError as error:
            raise UserError(f"{path.name}: the default of `{node.target.id}` must be a literal.") from error
        name, written = node.target.id, default
        default = settled.get(name, written)
        found[name] = Parameter(name, ast.unparse(node.annotation), default, written)
    return found


def _parse(cell, path, cells):
    try:
        return ast.parse(_python_only(cell["source"]))
    except SyntaxError as error:
        where = f"{path.name}, code cell {cells.index(cell) + 1}, line {error.lineno}"
        raise UserError(f"{where} is no Python: {error.msg}.") from None


_READERS = ("embeddings.read", "embeddings.cache")  # of what notebook 04 embedded


def _tables(trees, name):
    """Tables that these trees read, and the functions of `embeddings` that they call.

    ``study.read("...")`` and ``study.look("...")`` name a table; a function of the package that is handed `study` is
    looked into.
    """
    reads, uses, seen = set(), set(), set()
    notebook = ast.Module([node for tree in trees for node in tree.body], [])
    queue = [(notebook, _bound(notebook))]
    while queue:
        tree, bound = queue.pop()
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            called = dotted(call.func)
            if called in (*_READERS, "embeddings.embed"):
                uses.add(called)
            if called in ("study.read", "study.look", "parquet.read", "parquet.stamp"):
                if not (call.args and isinstance(call.args[0], ast.Constant)):
                    raise UserError(f"{name}: write the table's name out in {called}(...), so that make can see it.")
                reads.add(call.args[0].value)
            handed = (*call.args, *(keyword.value for keyword in call.keywords))
            if any(isinstance(value, ast.Name) and value.id == "study" for value in handed):
                found = _definition(ast.unparse(call.func), bound)
                if found is not None and ast.dump(found[0]) not in seen:
                    seen.add(ast.dump(found[0]))
                    queue.append(found)
    return reads, uses


def _bound(tree):
    """What the names of a module stand for: dotted names of the package, or functions defined there."""
    bound = {}
    for node in [*tree.body, *_type_checking(tree)]:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hivemind_utils":
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            bound[node.name] = node
    return bound


def _type_checking(tree):
    """Statements under ``if TYPE_CHECKING:``, where a package lists what it imports when it is used."""
    blocks = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return [statement for block in blocks for statement in block.body]


def _definition(function, bound):
    """Definition of a function of the package, by its name in a module, and what that module's names stand for."""
    first, *rest = function.split(".")
    target = bound.get(first)
    if isinstance(target, ast.FunctionDef):
        return (target, bound) if not rest else None
    if target is None:
        return None
    *module, name = ".".join([target, *rest]).split(".")
    for file in reversed(list(_files_of(".".join(module), files.root()))):
        there = _bound(ast.parse(file.read_text(encoding="utf-8")))
        if name in there:
            return _definition(name, there)
    return None


def _python_only(source):
    """Drop IPython magics, which `ast` cannot read."""
    lines = "".join(source).split("\n")
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)


def dotted(node):
    """Write an attribute of a name as ``name.attribute``; empty for anything else."""
    return (
        f"{node.value.id}.{node.attr}" if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""
    )


def _modules(trees):
    """Files of the package modules that these trees import, directly or through one another."""
    found, seen, queue = set(), set(), {name for tree in trees for name in _imported(tree)}
    root, imports = files.root(), _Imports()
    while queue:
        name = queue.pop()
        seen.add(name)
        for path in _files_of(name, root):
            if path not in found:
                found.add(path)
                queue |= imports.of(path.read_text(encoding="utf-8")) - seen
    imports.save()
    return tuple(sorted(found))


class _Imports:
    """Dotted names that texts of modules import, kept in ``executed/imports.json``: to parse all takes half a second.

    They are known by the digest of the text and of this file, which says how they are found.
    """

    MOST = 2_000  # texts; then it begins anew

    def __init__(self):
        self.path = files.root() / "executed" / IMPORTS
        known = files.read_json(self.path)
        self.known = known if isinstance(known, dict) and len(known) < self.MOST else {}
        self.finder = hashlib.sha256(Path(__file__).read_bytes())
        self.changed = False

    def of(self, text):
        """Set of dotted names that a module's text imports."""
        digest = self.finder.copy()
        digest.update(text.encode())
        key = digest.hexdigest()
        found = self.known.get(key)
        if not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
            found = self.known[key] = sorted(set(_imported(ast.parse(text))))
            self.changed = True
        return set(found)

    def save(self):
        """Keep what was parsed, unless the folder cannot be written: then it is parsed again."""
        if self.changed:
            with contextlib.suppress(OSError), files.atomic(self.path) as temporary:
                temporary.write_text(json.dumps(self.known), encoding="utf-8")


@functools.lru_cache(maxsize=64)
def _names_of_package(text):
    """Dotted names that the names of a package stand for, by its text."""
    return {n: t for n, t in _bound(ast.parse(text)).items() if isinstance(t, str)}


def _imported(tree):
    """Dotted names below the package that a tree imports, or uses of a package it imports."""
    late = {id(node) for statement in _type_checking(tree) for node in ast.walk(statement)}
    bound = _bound(tree)
    for node in (node for node in ast.walk(tree) if id(node) not in late):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hivemind_utils":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "hivemind_utils")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if isinstance(bound.get(node.value.id), str):
                yield f"{bound[node.value.id]}.{node.attr}"


def _files_of(name, root):
    """Files that importing a dotted name runs: the module, and the packages above it."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:depth])
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                yield path
    package = root.joinpath(*parts[:-1], "__init__.py")
    if package.is_file() and not (package.parent / f"{parts[-1]}.py").is_file():
        there = _names_of_package(package.read_text(encoding="utf-8"))
        if there.get(parts[-1], name) != name:
            yield from _files_of(there[parts[-1]], root)

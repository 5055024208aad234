"""Run one notebook headlessly: ``python -m hivemind_utils.run 05_intra_model --profile demo``.

Parameters are checked before a kernel starts, input tables too; outputs appear under their final names only when the
notebook succeeded. ``--rules`` writes the makefile that knows what has to run again (see ``Makefile``).
"""

import argparse
import ast
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hivemind_utils import tables


class UserError(Exception):
    """A mistake in a profile or a missing input: shown without a traceback."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its annotation as written, its default, whether it holds paths."""

    name: str
    annotation: str
    default: Any

    @property
    def is_path(self):
        """Whether the annotation names `Path`: such values are made absolute."""
        return "Path" in self.annotation


@dataclass(frozen=True)
class Profile:
    """A profile: its name, the file it came from, and the parameters it sets."""

    name: str
    path: Path
    common: dict = field(default_factory=dict)
    blocks: dict = field(default_factory=dict)
    run: tuple[str, ...] = ()


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
        return tuple(name for name, table in tables.TABLES.items() if table.number == self.number)


def notebooks():
    """Names of the notebooks there are, in order."""
    return [path.stem for path in sorted((tables.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def find_notebook(name):
    """Full name of a notebook given by name, number or file name."""
    names = notebooks()
    wanted = Path(name).stem
    found = [n for n in names if wanted in (n, n[:2])]
    if not found:
        raise UserError(f"There is no notebook {name!r}; the notebooks are {', '.join(names)}.")
    return found[0]


def inspect(name):
    """Read a notebook's parameters, the tables it reads and the package modules it imports, from its source."""
    path = tables.root() / "notebooks" / f"{find_notebook(name)}.ipynb"
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise UserError(f"{path.name} must have exactly one cell tagged `parameters`, but has {len(tagged)}.")
    parameters = {}
    for node in ast.parse("".join(tagged[0]["source"])).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise UserError(f"{path.name}: a parameter must read `name: type = literal`; line {node.lineno} does not.")
        try:
            default = ast.literal_eval(node.value)
        except ValueError as error:
            raise UserError(f"{path.name}: the default of `{node.target.id}` must be a literal.") from error
        parameters[node.target.id] = Parameter(node.target.id, ast.unparse(node.annotation), default)
    trees = [ast.parse(_python_only(c["source"])) for c in cells]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [c for c in calls if _dotted(c.func) in ("tables.read", "tables.stamp")]
    if not all(c.args and isinstance(c.args[0], ast.Constant) for c in named):
        raise UserError(f"{path.name}: write the table's name out in tables.read(...), so that make can see it.")
    reads = {c.args[0].value for c in named}
    number = path.stem[:2]
    return Notebook(
        path=path,
        parameters=parameters,
        reads=tuple(sorted(r for r in reads if not r.startswith(number))),
        modules=_modules(trees),
        reads_embeddings=any(_dotted(c.func) == "embedding.read" for c in calls) and number != "04",
        writes_embeddings=any(_dotted(c.func) == "embedding.embed" for c in calls),
    )


def load_profile(spec):
    """Load a profile given by its name in ``params/`` or by a path to a YAML file."""
    import yaml

    known = {p.stem: p for p in sorted((tables.root() / "params").glob("*.yaml"))}
    path = known.get(str(spec), Path(spec))
    if not path.is_file():
        raise UserError(
            f"There is no profile {str(spec)!r}: give a path to a YAML file or one of {', '.join(known) or 'none'}."
        )
    if path.stem in known and path.resolve() != known[path.stem].resolve():
        raise UserError(f"{path} would share its folders with params/{path.stem}.yaml: give it another name.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path.name} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(block or {}, dict) for block in content.values()):
        raise UserError(f"{path.name} must be a mapping of blocks: `common:` and one per notebook.")
    common = dict(content.pop("common", None) or {})
    if any("profile" in (block or {}) for block in (common, *content.values())):
        raise UserError(f"{path.name}: `profile` is the name of the file and cannot be set.")
    if not isinstance(common.get("run", []), list):
        raise UserError(f"{path.name}: `run` must be a list of notebooks, but {common['run']!r} was given.")
    names = notebooks()
    run = [str(n).zfill(2) if isinstance(n, int) else find_notebook(str(n))[:2] for n in common.pop("run", [])]
    for number in run:
        find_notebook(number)
    blocks = {}
    for key, block in content.items():
        if key not in names:
            raise UserError(f"{path.name}: there is no notebook {key!r}; blocks are `common`, {', '.join(names)}.")
        blocks[key] = dict(block or {})
    return Profile(path.stem, path.resolve(), common, blocks, tuple(run) or tuple(n[:2] for n in names))


def resolve(profile, notebook):
    """Merge a profile into a notebook's parameters and check names and types.

    Returns
    -------
    dict
        Value of every parameter; paths are absolute.

    Raises
    ------
    UserError
        If the profile sets a parameter that does not exist, or a value does not fit the annotation.
    """
    block = profile.blocks.get(notebook.name, {})
    for key in block:
        if key not in notebook.parameters:
            raise UserError(_unknown(profile, notebook.name, key, notebook.parameters))
    values = {}
    for name, parameter in notebook.parameters.items():
        if name == "profile":
            values[name] = profile.name
        elif name in block or name in profile.common:
            value = _check(
                parameter, block.get(name, profile.common.get(name)), f"{profile.path.name}, {notebook.name}"
            )
            values[name] = _absolute(value, profile.path.parent) if parameter.is_path else value
        else:
            value = _check(parameter, parameter.default, notebook.path.name)
            values[name] = _absolute(value, tables.root()) if parameter.is_path else value
    return values


def check_common(profile):
    """Refuse a `common` key that no notebook has."""
    known = {name for notebook in notebooks() for name in inspect(notebook).parameters}
    for key in profile.common:
        if key not in known:
            raise UserError(_unknown(profile, "common", key, known))


def input_files(notebook, values):
    """Files that a notebook's path parameters name, globs and folders expanded; addresses (``://``) are left out."""
    files = []
    for name, parameter in notebook.parameters.items():
        if not parameter.is_path or values[name] is None:
            continue
        for item in values[name] if isinstance(values[name], list) else [values[name]]:
            if "://" in item:
                continue
            try:
                files += tables.expand(item)
            except FileNotFoundError:
                raise UserError(f"Parameter `{name}` of {notebook.name} names {item}, which does not exist.") from None
    return files


def execute(name, spec, strict=False):
    """Run one notebook of a profile; returns the exit status (0, or 3 for a partial result under `strict`)."""
    profile = load_profile(spec)
    check_common(profile)
    notebook = inspect(name)
    values = resolve(profile, notebook)
    files = input_files(notebook, values)
    missing = [t for t in notebook.reads if not tables.path(t, profile.name).exists()]
    if missing:
        raise UserError(tables.missing_message(missing[0], profile.name, spec))
    inputs = [*files, *(tables.path(t, profile.name) for t in notebook.reads)]

    folder = tables.root() / "executed" / profile.name
    folder.mkdir(parents=True, exist_ok=True)
    running, final = folder / f"{notebook.number}.running.ipynb", folder / f"{notebook.number}.ipynb"
    results = tables.root() / "results" / profile.name / f"{notebook.number}.json"
    results.unlink(missing_ok=True)
    _write_parameters(folder, notebook, values)
    drawn = folder / f"{notebook.number}.figures.txt"  # `style.save` notes here what it draws
    drawn.write_text("", encoding="utf-8")
    os.environ["HIVEMIND_DRAWN"] = str(drawn)
    started = time.monotonic()
    _execute(notebook, running, values)
    seconds = round(time.monotonic() - started, 2)
    figures = sorted(set(drawn.read_text(encoding="utf-8").split()))
    drawn.unlink()
    _remove_stale_figures(profile.name, folder / f"{notebook.number}.manifest.json", figures)

    partial = json.loads(results.read_text(encoding="utf-8")).get("partial") if results.exists() else None
    manifest = {
        "notebook": notebook.name,
        "profile": profile.name,
        "parameters": values,
        "inputs": {_relative(p): _digest(p) for p in inputs},
        "packages": _versions(),
        "python": platform.python_version(),
        "git_commit": _commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "partial": partial,
        "figures": figures,
    }
    with tables.atomic(folder / f"{notebook.number}.manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(running, final)
    print(f"{notebook.name:<24} {profile.name:<12} {seconds:6.1f} s   {_relative(final)}", flush=True)
    if partial:
        print(f"WARNING: {notebook.name} is PARTIAL: {partial}", file=sys.stderr, flush=True)
    return 3 if partial and strict else 0


def still_partial(spec):
    """Say which notebooks' last runs are partial; returns the exit status, 3 if any is."""
    profile = load_profile(spec)
    found = {}
    for number in profile.run:
        manifest = tables.root() / "executed" / profile.name / f"{number}.manifest.json"
        if manifest.exists() and (partial := json.loads(manifest.read_text(encoding="utf-8"))["partial"]):
            found[number] = partial
    for number, partial in found.items():
        print(f"error: {find_notebook(number)} is PARTIAL: {partial}", file=sys.stderr)
    return 3 if found else 0


def rules(spec):
    """Write ``executed/<profile>/rules.mk`` and the resolved parameters it depends on; returns its path.

    A notebook depends on its source, its input tables and files, the package modules it imports and its resolved
    parameters. A missing output, or a run that did not finish, forces it.
    """
    profile = load_profile(spec)
    check_common(profile)
    folder = tables.root() / "executed" / profile.name
    inspected = {name[:2]: inspect(name) for name in notebooks()}
    chosen = {number: notebook for number, notebook in inspected.items() if number in profile.run}
    lines = [".PHONY: all FORCE", ".SUFFIXES:", f"all: {' '.join(chosen)}"]
    strict = f"\t@$(PYTHON) -m hivemind_utils.run --partial --profile '{_shell(spec)}'"
    lines += ["ifneq ($(STRICT),)", strict, "endif", "FORCE:", ""]
    for number, notebook in chosen.items():
        values = resolve(profile, notebook)
        parameters = _write_parameters(folder, notebook, values)
        stamp = folder / f"{number}.ipynb"
        outputs = [tables.path(t, profile.name) for t in notebook.writes]
        if notebook.writes_embeddings:
            outputs += _embeddings(profile.name, values)
        needs = [notebook.path, parameters, *notebook.modules, *input_files(notebook, values)]
        for table in notebook.reads:
            needs += [tables.path(table, profile.name)]
            writer = table[:2]
            needs += [folder / f"{writer}.ipynb"] if writer in chosen else []
        if notebook.reads_embeddings:
            needs += _embeddings(profile.name, values)
        unfinished = (folder / f"{number}.running.ipynb").exists() or not all(p.exists() for p in outputs)
        lines += [
            f".PHONY: {number}",
            f"{number}: {_make(stamp)}",
            f"{_make(stamp)}: {' '.join(_make(p) for p in dict.fromkeys(needs))}{' FORCE' if unfinished else ''}",
            f"\t@$(PYTHON) -m hivemind_utils.run {notebook.name} --profile '{_shell(spec)}' $(STRICT)",
            *(f"{_make(p)}: {_make(stamp)} ;" for p in outputs),
            "",
        ]
    target = folder / "rules.mk"
    with tables.atomic(target) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return target


def _write_parameters(folder, notebook, values):
    """Write the resolved parameters if they changed; what they change reruns."""
    parameters = folder / f"{notebook.number}.params.json"
    text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if not parameters.exists() or parameters.read_text(encoding="utf-8") != text:
        with tables.atomic(parameters) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return parameters


def _remove_stale_figures(profile, manifest, figures):
    """Remove what the last run of the notebook drew and this one did not: it would show other data."""
    old = json.loads(manifest.read_text(encoding="utf-8")).get("figures", []) if manifest.exists() else []
    for slug in set(old) - set(figures):
        for suffix in ("png", "pdf", "csv", "json", "html"):
            (tables.root() / "figures" / profile / f"{slug}.{suffix}").unlink(missing_ok=True)


def _execute(notebook, running, values):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(tables.root()), *filter(None, [os.environ.get("PYTHONPATH")])]  # the tree that runs is the tree imported
    )
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it does not understand `int | None`; we checked already
    with tempfile.TemporaryDirectory() as ipython:
        quiet = Path(ipython) / "profile_default" / "ipython_kernel_config.py"
        quiet.parent.mkdir()
        quiet.write_text("c.IPKernelApp.log_level = 50\n", encoding="utf-8")  # silent about TCP on the loopback
        os.environ["IPYTHONDIR"] = ipython
        _papermill(papermill, notebook, running, values)


def _papermill(papermill, notebook, running, values):
    from nbclient.exceptions import DeadKernelError

    try:
        papermill.execute_notebook(
            notebook.path,
            running,
            parameters=values,
            kernel_name="python3",
            language="python",  # a notebook without language_info is still Python
            cwd=str(notebook.path.parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        raise UserError(
            f"{notebook.name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}\n"
            f"The notebook up to there, with the traceback: {_relative(running)}"
        ) from None
    except DeadKernelError:
        raise UserError(
            f"{notebook.name}: the kernel died, most often for want of memory. What is stored is kept; run it again.\n"
            f"The notebook up to there: {_relative(running)}"
        ) from None


def _check(parameter, value, where):
    from pydantic import TypeAdapter, ValidationError

    names = {"Path": str, "Literal": Literal, "Any": Any}
    try:
        TypeAdapter(eval(parameter.annotation, {"__builtins__": {}}, names | _BUILTIN_TYPES)).validate_python(
            value, strict=True
        )
    except ValidationError:
        raise UserError(
            f"{where}: the value for `{parameter.name}` must be {parameter.annotation}, but {value!r} was given."
        ) from None
    return value


_BUILTIN_TYPES = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple)}


def _absolute(value, base):
    if isinstance(value, str):
        return value if "://" in value else str((base / Path(value).expanduser()).resolve())
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    return value


def _unknown(profile, block, key, known):
    import difflib

    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else f" Known: {', '.join(sorted(known))}."
    return f"{profile.path.name}: `{block}` sets `{key}`, which is not a parameter.{hint}"


def _python_only(source):
    """Drop IPython magics, which `ast` cannot read."""
    lines = "".join(source).splitlines()
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)


def _dotted(node):
    return (
        f"{node.value.id}.{node.attr}" if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""
    )


def _modules(trees):
    """Files of the package modules that these trees import, directly or through one another."""
    package = tables.root() / "hivemind_utils"
    found, queue = {}, list(trees)
    while queue:
        for node in ast.walk(queue.pop()):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module == "hivemind_utils":
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hivemind_utils."):
                names = [node.module.split(".")[1]]
            elif isinstance(node, ast.Import):
                names = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hivemind_utils.")]
            for name in names:
                path = package / f"{name}.py"
                if name not in found and path.exists():
                    found[name] = path
                    queue.append(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(sorted(found.values()))


def _embeddings(profile, values):
    from hivemind_utils import embedding

    return list(embedding.files(values["encoder"], tables.folder(profile) / "embeddings"))


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions():
    from importlib.metadata import distributions

    return {d.metadata["Name"]: d.version for d in sorted(distributions(), key=lambda d: d.metadata["Name"].lower())}


def _commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=tables.root(), capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    except FileNotFoundError:
        return None
    return (head.stdout.strip() + ("+changes" if changed else "")) if head.returncode == 0 else None


def _relative(path):
    path = Path(path)
    return str(path.relative_to(tables.root())) if path.is_relative_to(tables.root()) else str(path)


def _make(path):
    """Write a path as make reads it: relative to the root, spaces and dollars escaped."""
    return _relative(path).replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")


def _shell(text):
    return str(text).replace("'", "'\\''").replace("$", "$$")


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.run", description=__doc__.split("\n")[0])
    parser.add_argument("notebook", nargs="?", help="name or number, such as 05_intra_model or 05")
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if the result is partial")
    parser.add_argument(
        "--partial", action="store_true", help="run nothing; exit with 3 if a notebook's last run is partial"
    )
    parser.add_argument("--rules", action="store_true", help="write executed/<profile>/rules.mk for make, run nothing")
    options = parser.parse_args(arguments)
    if (options.notebook is None) != (options.rules or options.partial):
        parser.error("give a notebook, or --rules, or --partial")
    try:
        if options.rules:
            print(_relative(rules(options.profile)))
            return 0
        if options.partial:
            return still_partial(options.profile)
        return execute(options.notebook, options.profile, options.strict)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Open a profile in JupyterLab: ``python -m hivemind_utils.pipeline.lab --profile mine``.

What is opened are copies, ``executed/<profile>/lab/``, whose parameters cells hold the profile's values: Run All does
what ``make figures`` does. The notebooks themselves, where the defaults stand, stay closed. A copy that was edited is
kept under another name when copies are made anew.
"""

import argparse
import ast
import json
import os
import shutil
import sys
from urllib.parse import quote

from hivemind_utils.pipeline import kernels, manifests, names, notebooks, profiles
from hivemind_utils.tables import files


def folder(name):
    """Folder of a profile's copies."""
    return files.root() / "executed" / name / "lab"


def copies(spec):
    """Write a copy of every notebook that a profile runs, with the profile's values in its parameters cell.

    Parameters
    ----------
    spec : str
        A profile's name or path.

    Returns
    -------
    written : list of Path
    kept : list of Path
        Copies that somebody had edited, under their new names.
    """
    profile = profiles.load_profile(spec)
    profiles.check_common(profile)
    names.claim(profile.name, profile.path)
    place = folder(profile.name)
    place.mkdir(parents=True, exist_ok=True)
    known, digests, written, kept = _known(place), {}, [], []
    for number in profile.run:
        notebook = notebooks.inspect(number)
        values = profiles.resolve(profile, notebook)
        target = place / notebook.path.name
        text = _with_values(notebook, values)
        if target.exists():
            if _is_edited(target, known):
                kept.append(_free_name(target))
                os.replace(target, kept[-1])
            elif manifests.digest_of_cells(target.read_text(encoding="utf-8")) == manifests.digest_of_cells(text):
                text = target.read_text(encoding="utf-8")  # with the outputs of the last Run All
        with files.atomic(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        digests[target.name] = manifests.digest_of_cells(text)
        written.append(target)
    with files.atomic(place / ".copies.json") as temporary:
        temporary.write_text(json.dumps(known | digests) + "\n", encoding="utf-8")
    return written, kept


def clean(name):
    """Remove a profile's copies, but for those that somebody edited."""
    place = folder(name)
    known = _known(place)
    for file in known:
        if (place / file).is_file() and not _is_edited(place / file, known):
            (place / file).unlink()
    if place.is_dir():
        shutil.rmtree(place / ".kernel", ignore_errors=True)
        shutil.rmtree(place / ".ipynb_checkpoints", ignore_errors=True)
        (place / ".copies.json").unlink(missing_ok=True)
        if not any(place.iterdir()):
            place.rmdir()


def _with_values(notebook, values):
    """Text of a notebook whose parameters cell holds `values`; paths within the project are relative to its root."""
    content = json.loads(notebook.path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            shown = {n: _relative(v) if notebook.parameters[n].is_path else v for n, v in values.items()}
            cell["source"] = assign("".join(cell["source"]), shown)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def assign(source, values):
    """Write other values into a cell of ``name: type = literal``; comments and values that are equal stay.

    Parameters
    ----------
    source : str
    values : dict
        Literal by name.

    Returns
    -------
    str

    Examples
    --------
    >>> assign("n: int = 2  # how many", {"n": 3})
    'n: int = 3  # how many'
    """
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    text = b"".join(lines)
    for node in reversed(ast.parse(source).body):
        value = values[node.target.id]
        if repr(ast.literal_eval(node.value)) != repr(value):
            start = starts[node.value.lineno - 1] + node.value.col_offset
            end = starts[node.value.end_lineno - 1] + node.value.end_col_offset
            text = text[:start] + repr(value).encode() + text[end:]
    return text.decode()


def _relative(value):
    if isinstance(value, list):
        return [_relative(item) for item in value]
    return manifests.relative(value) if isinstance(value, str) and "://" not in value else value


def _known(place):
    found = files.read_json(place / ".copies.json")
    return found if isinstance(found, dict) else {}


def _is_edited(path, known):
    try:
        return manifests.digest_of_cells(path.read_text(encoding="utf-8")) != known.get(path.name)
    except (ValueError, KeyError, TypeError):
        return True


def _free_name(path):
    numbers = (path.with_name(f"{path.stem}.edited-{i}.ipynb") for i in range(1, 10_000))
    return next(name for name in numbers if not name.exists())


def main(arguments=None):
    """Run from the command line; becomes JupyterLab."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.pipeline.lab", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    parser.add_argument("--copies", action="store_true", help="write the copies, open nothing")
    parser.add_argument("options", nargs="*", help="options of JupyterLab, after --")
    options = parser.parse_args(arguments)
    try:
        written, kept = copies(options.profile)
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    place = written[0].parent
    for path in kept:
        print(f"An edited copy is kept as {manifests.relative(path)}.")
    print(f"{len(written)} notebooks with the parameters of {options.profile}: {manifests.relative(place)}", flush=True)
    if options.copies:
        return 0
    environment = os.environ | kernels.environment(place / ".kernel")
    address = quote(f"/lab/tree/{manifests.relative(place)}")
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={files.root()}"]
    command += [f"--LabApp.default_url={address}", *options.options]
    os.chdir(files.root())
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    sys.exit(main())

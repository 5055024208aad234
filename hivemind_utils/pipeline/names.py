"""Names of profiles, which are names of folders, and YAML that says everything once."""

import json
import re
from pathlib import Path

from hivemind_utils.pipeline import notebooks
from hivemind_utils.tables import files

RESERVED = ("reference", "compare")  # folders below data/ and report/ that are no profile's
SUFFIXES = (".yaml", ".yml")
FOLDERS = ("data", "results", "figures", "executed", "report")  # in which a profile has one of its name
MOST_BYTES = 110  # of a name: two of them, joined, name a page of `make compare`
MOST_NODES = 100_000  # of a YAML file, aliases written out
_CORE = ("null", "bool", "int", "float", "str", "seq", "map", "merge")  # YAML's types that JSON has as well
_TAG = "tag:yaml.org,2002:"


def check_name(name, given=None):
    """Refuse a name that cannot be a profile's; returns it.

    Parameters
    ----------
    name : str
        Names ``data/<name>``, ``figures/<name>``, ``executed/<name>``, ``results/<name>`` and ``report/<name>``.
    given : str or Path, optional
        What the user wrote, for the message.

    Raises
    ------
    UserError
        If the name holds anything but letters, digits, dots, underscores, hyphens and blanks, has nothing but dots,
        begins or ends with a blank, is too long, or is reserved.
    """
    given = name if given is None else given
    if not re.fullmatch(r"[\w.\- ]+", name) or name != name.strip() or not name.strip("."):
        raise notebooks.UserError(
            f"{str(given)!r} gives the profile name {name!r}, which cannot name a folder: use letters, digits, "
            "`.`, `_`, `-` and blanks, not dots alone, with no blank at either end, such as my-study.yaml."
        )
    if len(name.encode()) > MOST_BYTES:
        raise notebooks.UserError(
            f"{str(given)!r:.80}: the name has {len(name.encode())} bytes, but it names folders and files, which takes "
            f"{MOST_BYTES} at most: use a shorter one."
        )
    if name.casefold() in RESERVED:
        raise notebooks.UserError(
            f"{str(given)!r}: the folder {name.casefold()} belongs to the project: use another name."
        )
    return name


def name_of(spec):
    """Name of a profile, from the name or the path that a user gives; the file need not be there."""
    text = str(spec)
    if "/" in text or text.endswith(SUFFIXES):
        if not text.endswith(SUFFIXES):
            raise notebooks.UserError(f"A profile is a .yaml file, or its name, but {text!r} was given.")
        text = Path(text).name
        text = text[: -len(next(suffix for suffix in SUFFIXES if text.endswith(suffix)))]
    return check_name(text, spec)


def is_file(path):
    """Whether there is a file; a path that no system can have is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def claimed_by(name):
    """File of the profile that has run under a name, if it is still there."""
    record = files.read_json(_record(name))
    path = record.get("path") if isinstance(record, dict) else None
    return files.root() / path if isinstance(path, str) and is_file(files.root() / path) else None


def check_alone(name, path):
    """Refuse a profile whose folders another file's runs have filled, or whose folder is a file of the project."""
    for folder in FOLDERS:
        place = files.root() / folder / name
        if place.exists() and not place.is_dir():
            raise notebooks.UserError(f"{path} needs a folder {folder}/{name}, which is a file: use another name.")
    other = claimed_by(name)
    if other is not None and not _same(other, path):
        raise notebooks.UserError(
            f"{path} and {_shown(other)} would share the folders called {name!r}, and {_shown(other)} has run. "
            f"Rename one of them, or remove what the other wrote: make clean PROFILE='{name}'."
        )


def claim(name, path):
    """Note which file's runs fill the folders of a name."""
    check_alone(name, path)
    content, record = {"path": _shown(path)}, _record(name)
    if files.read_json(record) != content:
        with files.atomic(record) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_yaml(path):
    """Read a YAML file that says everything once, and in one way.

    Raises
    ------
    UserError
        With the line, if the file is not YAML, says something twice, or holds what YAML reads otherwise than most
        people: ``010`` (8), ``1:30`` (90), ``no`` (false), ``1e5`` (a text), a date. Also if it has more than
        `MOST_NODES` values once its aliases are written out.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, and without a second value for a key."""

    def mapping(loader, node):
        seen = {}
        for key, _ in node.value:
            if key.tag == f"{_TAG}merge" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise notebooks.UserError(
                    f"{path.name}, line {key.start_mark.line + 1}: {key.value!r} stands there already, in line "
                    f"{seen[key.value]}. Join the two."
                )
            seen[key.value] = key.start_mark.line + 1
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        loader = Loader(path.read_bytes())
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, path.name, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a number such as 0b_
        raise notebooks.UserError(f"{path.name} is not valid YAML: {error}") from error
    except OSError as error:
        raise notebooks.UserError(f"{path} cannot be read ({error.strerror}).") from None


def _count(node, file, known):
    """Values of a YAML node with its aliases written out, each of which has one meaning; more than enough is refused.

    `known` has the nodes that were counted, by identity: None while one is counted, so that one in itself is found.
    """
    if id(node) not in known:
        known[id(node)] = None
        _one_meaning(node, file)
        pairs = () if isinstance(node.value, str) else node.value
        inner = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_count(part, file, known) for part in inner)
    n, line = known[id(node)], node.start_mark.line + 1
    if n is None:
        raise notebooks.UserError(f"{file}, line {line}: an alias stands in what it stands for. Write it out.")
    if n > MOST_NODES:
        raise notebooks.UserError(
            f"{file}, line {line}: aliases written out, this holds more than {MOST_NODES:,} values. Write fewer "
            "aliases (`*name`), or put long lists into files of their own."
        )
    return n


def _one_meaning(node, file):
    """Refuse what YAML reads otherwise than most people read it, and types that no parameter has."""
    import yaml

    kind, said = node.tag.removeprefix(_TAG), None
    text = node.value if isinstance(node.value, str) else ""  # a list may be without end when it is written out
    quoted = f"{text!r} in quotes if it is text"
    if kind == "bool" and text.lower() not in ("true", "false"):
        said = f"may be a word, or true or false: write {quoted}, else true or false"
    elif kind in ("int", "float") and ":" in text:
        value = getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(yaml.SafeLoader(""), node)
        said = f"is {value} in YAML, which counts by 60 here: write {value}, or {quoted}"
    elif kind == "int" and re.fullmatch(r"[-+]?0[0-7_]+", text):
        octal, decimal = int(text.replace("_", ""), 8), int(text.replace("_", ""))
        if octal != decimal:
            said = f"is {octal} in YAML, which counts by 8 here: write {decimal} or {octal}, or {quoted}"
    elif kind == "str" and node.style is None and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", text):
        said = f"is a text in YAML: write the number with a point and a sign, such as 1.0e+5, or {quoted}"
    elif kind == "timestamp":
        said = f"is a date in YAML: write {text!r} in quotes"
    elif kind not in _CORE:
        text, said = node.tag, "is a type that no parameter has: write the value without it"
    if said:
        raise notebooks.UserError(f"{file}, line {node.start_mark.line + 1}: {text} {said}.")


def _record(name):
    return files.root() / "executed" / name / "profile.json"


def _shown(path):
    path = Path(path).resolve()
    return str(path.relative_to(files.root())) if path.is_relative_to(files.root()) else str(path)


def _same(a, b):
    return Path(a).resolve() == Path(b).resolve()

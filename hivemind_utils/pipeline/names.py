"""Names of profiles, which are names of folders, and YAML that says everything once."""

import json
import re
from pathlib import Path

from hivemind_utils.pipeline import notebooks
from hivemind_utils.tables import files

RESERVED = ("reference", "compare")  # folders below data/ and report/ that are no profile's
SUFFIXES = (".yaml", ".yml")


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
        begins or ends with a blank, or is reserved.
    """
    given = name if given is None else given
    if not re.fullmatch(r"[\w.\- ]+", name) or name != name.strip() or not name.strip("."):
        raise notebooks.UserError(
            f"{str(given)!r} gives the profile name {name!r}, which cannot name a folder: use letters, digits, "
            "`.`, `_`, `-` and blanks, not dots alone, with no blank at either end, such as my-study.yaml."
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


def claimed_by(name):
    """File of the profile that has run under a name, if it is still there."""
    record = _record(name)
    try:
        path = files.root() / json.loads(record.read_text(encoding="utf-8"))["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_file() else None


def check_alone(name, path):
    """Refuse a profile whose folders another file's runs have filled."""
    other = claimed_by(name)
    if other is not None and not _same(other, path):
        raise notebooks.UserError(
            f"{path} and {_shown(other)} would share the folders called {name!r}, and {_shown(other)} has run. "
            f"Rename one of them, or remove what the other wrote: make clean PROFILE='{name}'."
        )


def claim(name, path):
    """Note which file's runs fill the folders of a name."""
    check_alone(name, path)
    text = json.dumps({"path": _shown(path)}) + "\n"
    record = _record(name)
    if not record.is_file() or record.read_text(encoding="utf-8") != text:
        with files.atomic(record) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_yaml(path):
    """Read a YAML file; a key that stands twice in one mapping is refused.

    Raises
    ------
    UserError
        With the line, if the file is not YAML or says something twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, and without a second value for a key."""

    def mapping(loader, node):
        seen = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
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
        return yaml.load(path.read_bytes(), Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date such as 2026-13-45
        raise notebooks.UserError(f"{path.name} is not valid YAML: {error}") from error


def _record(name):
    return files.root() / "executed" / name / "profile.json"


def _shown(path):
    path = Path(path).resolve()
    return str(path.relative_to(files.root())) if path.is_relative_to(files.root()) else str(path)


def _same(a, b):
    return Path(a).resolve() == Path(b).resolve()

"""Profiles: YAML files of parameters, merged and checked before anything runs."""

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hivemind_utils.llm import addresses, checks, cost, request
from hivemind_utils.pipeline import names, notebooks
from hivemind_utils.tables import executor
from hivemind_utils.tables import files as table_files

JUDGE_OPTIONS = ("parameters", "max_repairs", "limits", "prices", "api_base", "aliases")
CLUSTER_HOSTS = "HIVEMIND_CLUSTER_HOSTS"  # environment: hosts of Dask schedulers, and buckets, that profiles may name
HERE = ("local", "file", "memory")  # a cluster that the runner starts, this machine's disk, its memory
WITH_HOST = ("tcp", "tls", "ucx", "ws", "wss", "http", "https", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs")
# Of other addresses the first part names a bucket somewhere, which may well be called localhost.
PARAPHRASING = ("n", "n_prompts", "n_samples", "writer", "judge")


@dataclass(frozen=True)
class Profile:
    """A profile: its name, the file it came from, and the parameters it sets."""

    name: str
    path: Path
    common: dict = field(default_factory=dict)
    blocks: dict = field(default_factory=dict)
    run: tuple[str, ...] = ()
    scheduler: Any = None


def load_profile(spec):
    """Load a profile given by its name in ``params/`` or by a path to a YAML file."""
    params = table_files.root() / "params"
    known = {p.stem: p for suffix in names.SUFFIXES for p in sorted(params.glob(f"*{suffix}"))}
    name = names.name_of(spec)
    path = known.get(str(spec), Path(spec))
    if not names.is_file(path):
        raise notebooks.UserError(
            f"There is no profile {str(spec)!r:.300}: give a path to a YAML file or one of "
            f"{', '.join(known) or 'none'}."
        )
    name = names.name_of(path)
    if re.search(r"[\x00-\x1f\x7f]", str(path.resolve())):
        raise notebooks.UserError(f"{str(path)!r}: a folder's name holds a control character; move the profile.")
    for file in (params / f"{name}{suffix}" for suffix in names.SUFFIXES):
        if file.is_file() and path.resolve() != file.resolve():
            raise notebooks.UserError(
                f"{path} would share its folders with {file.relative_to(table_files.root())}: give it another name."
            )
    names.check_alone(name, path)
    content = names.read_yaml(path) or {}
    if not isinstance(content, dict) or not all(isinstance(block or {}, dict) for block in content.values()):
        raise notebooks.UserError(f"{path.name} must be a mapping of blocks: `common:` and one per notebook.")
    common = dict(content.pop("common", None) or {})
    if any("profile" in (block or {}) for block in (common, *content.values())):
        raise notebooks.UserError(f"{path.name}: `profile` is the name of the file and cannot be set.")
    if not isinstance(common.get("run", []), list):
        raise notebooks.UserError(f"{path.name}: `run` must be a list of notebooks, but {common['run']!r} was given.")
    try:
        scheduler = executor.checked(common.pop("scheduler", None))
        _trusted(scheduler)
    except ValueError as error:
        raise notebooks.UserError(f"{path.name}, common: {error}") from None
    there = notebooks.notebooks()
    run = [notebooks.find_notebook(str(n).zfill(2))[:2] for n in common.pop("run", [])]
    blocks = {}
    for key, block in content.items():
        if key not in there:
            raise notebooks.UserError(
                f"{path.name}: there is no notebook {key!r}; blocks are `common`, {', '.join(there)}."
            )
        blocks[key] = dict(block or {})
    run = tuple(dict.fromkeys(run)) or tuple(n[:2] for n in there)
    return Profile(name, path.resolve(), common, blocks, run, scheduler)


def _trusted(scheduler):
    """Refuse a scheduler, or a place for copies, that is elsewhere and that only the profile names.

    What a Dask scheduler sends back is run, and copies hold all responses: a stranger's profile decides on neither.
    """
    files = scheduler.get("files") if isinstance(scheduler, dict) else None
    listed = {part.strip().strip("[]").lower() for part in os.environ.get(CLUSTER_HOSTS, "").split(",")}
    for address in filter(None, [executor.address_of(scheduler), files]):
        scheme, host = address.partition("://")[0], addresses.host(address)
        here = scheme in HERE or (scheme in WITH_HOST and addresses.is_loopback(host))
        if not here and (host is None or host not in listed):
            raise ValueError(
                f"`scheduler` names {address}, which is not on this machine. A scheduler can run programs here, and "
                f"what lies at an address can be read there: if {host} is yours, say so in the environment "
                f"({CLUSTER_HOSTS}={host}), and run again."
            )


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
            raise notebooks.UserError(unknown_parameter(profile, notebook.name, key, notebook.parameters))
    values = {}
    for name, parameter in notebook.parameters.items():
        if name == "profile":
            values[name] = profile.name
        elif name in block or name in profile.common:
            value = _check(
                parameter, block.get(name, profile.common.get(name)), f"{profile.path.name}, {notebook.name}"
            )
            try:
                values[name] = _absolute(value, profile.path.parent) if parameter.is_path else value
            except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, a text that is no Unicode, a loop
                raise notebooks.UserError(
                    f"{profile.path.name}, {notebook.name}: `{name}` must be a path, but {value!r:.200} was given "
                    f"({error!s:.200})."
                ) from None
        else:
            value = _check(parameter, parameter.default, notebook.path.name)
            values[name] = _absolute(value, table_files.root()) if parameter.is_path else value
    try:
        _check_requests(values)
    except ValueError as error:
        raise notebooks.UserError(f"{profile.path.name}, {notebook.name}: {error}") from None
    return values


def _check_requests(values):
    """Refuse numbers that compare false, and mappings whose names or values no request can have."""
    for name, value in values.items():
        _check_finite(name, value)
    if "budget_usd" in values:
        checks.budget(values["budget_usd"])
    if "limits" in values:
        cost.with_defaults(values["limits"])
    if "prices" in values:
        checks.prices(values["prices"])
    for name, parameters in checks.mapping("decodings", values.get("decodings")).items():
        checks.decoding(f"decodings: {name}", parameters, request.KNOWN)
    options = checks.mapping("judge_options", values.get("judge_options"))
    checks.names("judge_options", options, JUDGE_OPTIONS, of="options")
    if "parameters" in options:
        checks.decoding("judge_options: parameters", options["parameters"], request.KNOWN)
    if "prices" in options:
        checks.prices(options["prices"])
    paraphrasing = checks.mapping("paraphrasing", values.get("paraphrasing"))
    checks.names("paraphrasing", paraphrasing, PARAPHRASING, of="options")
    for name in ("n", "n_prompts", "n_samples"):
        if name in paraphrasing:
            checks.number(f"paraphrasing: {name}", paraphrasing[name], 1, whole=True)


def _check_finite(name, value):
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number, but {value!r} was given.")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        _check_finite(f"{name}: {key}", inner)


def check_common(profile):
    """Refuse a `common` key that no notebook has."""
    known = {name for notebook in notebooks.notebooks() for name in notebooks.parameters(notebook)}
    for key in profile.common:
        if key not in known:
            raise notebooks.UserError(unknown_parameter(profile, "common", key, known))


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
                files += table_files.expand(item)
            except FileNotFoundError:
                raise notebooks.UserError(
                    f"Parameter `{name}` of {notebook.name} names {item}, which does not exist."
                ) from None
            except (OSError, ValueError) as error:  # too long, no permission, a pattern that is none
                raise notebooks.UserError(
                    f"Parameter `{name}` of {notebook.name} names {item:.200}, which cannot be read "
                    f"({getattr(error, 'strerror', None) or error})."
                ) from None
    return files


def _check(parameter, value, where):
    from pydantic import TypeAdapter, ValidationError

    names = {"Path": str, "Literal": Literal, "Any": Any}
    try:
        TypeAdapter(eval(parameter.annotation, {"__builtins__": {}}, names | _BUILTIN_TYPES)).validate_python(
            value, strict=True
        )
    except ValidationError:
        raise notebooks.UserError(
            f"{where}: the value for `{parameter.name}` must be {parameter.annotation}, but {value!r:.300} was given."
        ) from None
    return value


_BUILTIN_TYPES = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple)}


def _absolute(value, base):
    if isinstance(value, str):
        home = Path(value).expanduser() if value.startswith("~/") else Path(value)
        return value if "://" in value else str((base / home).resolve())
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    return value


def unknown_parameter(profile, block, key, known):
    """Say that a profile sets a parameter that no notebook has, and name the nearest."""
    import difflib

    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else f" Known: {', '.join(sorted(known))}."
    return f"{profile.path.name}: `{block}` sets `{key}`, which is not a parameter.{hint}"

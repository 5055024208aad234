"""Files of a project: where things lie, and writing without halves."""

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

from hivemind_utils.tables import ids

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
# What a spreadsheet takes for the beginning of a formula: apostrophes, what is not seen (blanks, control and format
# characters), then one of = + - @ in any of their widths, or a minus sign.
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_FORMULA = re.compile(rf"'*[{_UNSEEN}]*[=+\-@\t\r＝＋－＠﹦﹢﹣﹫−]")


def root():
    """Folder of the project: the nearest one with a ``pyproject.toml``, from the working folder upwards."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    return Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def environment(**values):
    """Set variables of the environment, which processes inherit, and put back what stood there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def folder(profile):
    """Folder of a profile's tables."""
    return root() / "data" / profile


def store_path(number, profile):
    """Path of the store in which a notebook of a profile keeps what models answered."""
    return folder(profile) / "store" / f"{number}.sqlite"


def resolve(path):
    """Whole path of a file that a parameter names: from the project's root, else from the working folder.

    Notebooks lie in several folders, so a relative path must not depend on where the kernel was started. Absolute
    paths stay as they are.
    """
    whole = root() / path
    return Path(path).absolute() if not whole.exists() and Path(path).exists() else whole


def expand(path):
    """Files that a path stands for: itself, the matches of a pattern in its last part, or the files of a folder.

    A relative path starts at the project's root; see `resolve`.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    path = resolve(path)
    is_pattern = any(c in path.name for c in "*?[") and not path.exists()  # a name may hold brackets
    found = sorted(path.parent.glob(path.name)) if is_pattern else [path]
    files = [f for p in found for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    if not files:
        raise FileNotFoundError(f"{path} does not exist, or holds no file.")
    return files


def read_json(path):
    """Content of a JSON file; None where there is none, or where it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def addresses(paths):
    """Files and addresses that a notebook's parameter names.

    Parameters
    ----------
    paths : str, path-like, sequence of them, or None
        Files, folders and patterns, relative to the project; addresses such as ``hf://...`` are left as they are.

    Returns
    -------
    list of Path or str
        Empty for None.

    Raises
    ------
    FileNotFoundError
        If a path stands for no file.
    """
    return [found for path in as_list(paths) for found in ([path] if is_address(path) else expand(root() / path))]


def as_list(paths):
    """Paths of a parameter that is one path, several, or None."""
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths or [])


def is_address(path):
    """Whether this is an address such as ``hf://...`` or ``s3://...``, and no path of this machine."""
    return "://" in str(path)


class FullError(OSError):
    """No room is left on a disk; what was there before is kept."""


@contextlib.contextmanager
def room(target):
    """Say which file could not be written where a disk is full, a quota is used up, or a file may not grow further."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FullError) or error.errno not in _FULL:
            raise
        raise FullError(
            error.errno,
            f"No room is left to write {target} ({os.strerror(error.errno)}). What was there before is kept, and "
            "nothing half-written is ever read. Free some space, and run again.",
        ) from error


class atomic:
    """Context manager: a temporary path beside `target` that replaces it on success and is removed on failure.

    Raises
    ------
    FullError
        If the disk is full; `target` stays as it was.
    """

    def __init__(self, target):
        self.target = Path(target)

    def __enter__(self):
        self.target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.target.name}.", dir=self.target.parent)
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                with room(self.target):
                    raise error
            return
        try:
            with room(self.target), open(self.temporary, "rb") as file:
                os.fsync(file.fileno())
        except OSError:
            self.temporary.unlink(missing_ok=True)
            raise
        umask = os.umask(0)
        os.umask(umask)
        self.temporary.chmod(0o666 & ~umask)
        os.replace(self.temporary, self.target)


def offer(path, text):
    """Write a text that people will edit; what they changed is never overwritten, the new text goes beside it.

    What was written is remembered in a hidden file, so a text that nobody touched is replaced.

    Parameters
    ----------
    path : Path
    text : str

    Returns
    -------
    Path
        What holds the text now: `path`, or ``<stem>_2<suffix>`` and so on.
    """
    raw, number = text.encode("utf-8"), 1
    while True:
        target = path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")
        noted = target.with_name(f".{target.name}.sha256")
        there = target.read_bytes() if target.exists() else None
        untouched = there is None or (noted.exists() and noted.read_text() == hashlib.sha256(there).hexdigest())
        if untouched or there == raw:
            break
        number += 1
    for file, content in ((target, raw), (noted, hashlib.sha256(raw).hexdigest().encode())):
        if file is target or untouched:
            with atomic(file) as temporary:
                temporary.write_bytes(content)
    return target


def offered(path, target):
    """Say in a sentence where `offer` put a text; None where it is the usual place."""
    if target == path:
        return None
    return f"{path.name} was filled in or edited and is left as it is: the new one is {target.name}"


def neutral(frame):
    """Frame for a sheet that people open: text that a spreadsheet would run as a formula gets an apostrophe in front.

    Names of columns are texts too. Those that begin with apostrophes and such a character get one more, so that
    `natural` gives back what was there.

    Examples
    --------
    >>> import pandas as pd
    >>> neutral(pd.DataFrame({"text": ["=1+1", "an oak"]}))["text"].tolist()
    ["'=1+1", 'an oak']
    """

    def mark(cell):
        return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell

    return frame.map(mark).rename(columns=mark)


def natural(frame):
    """Frame as it was before `neutral`."""

    def undo(cell):
        return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell

    return frame.map(undo).rename(columns=undo)


def slug(*parts):
    """Name of a figure's files: parts joined by an underscore, odd characters replaced, a hash where that changed."""
    name = "_".join(parts).replace(" ", "_")
    safe = re.sub(r"[^\w.-]+", "-", name)
    return safe if safe == name else f"{safe}-{ids.text_id(name)[:6]}"

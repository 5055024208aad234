"""Files of a project: where things lie, reading what users bring, writing without halves."""

import json
import os
import re
import tempfile
from pathlib import Path

import pandas as pd

from hivemind_utils.tables import ids

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r＝＋－＠]")  # what spreadsheets take for the beginning of a formula
_QUOTE = "Answers with separators, quotes or line breaks in them must stand in quotes."


def root():
    """Folder of the project: the nearest one with a ``pyproject.toml``, from the working folder upwards."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    return Path(__file__).resolve().parents[2]


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


class atomic:
    """Context manager: a temporary path beside `target` that replaces it on success and is removed on failure."""

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
            return
        with open(self.temporary, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        self.temporary.chmod(0o666 & ~umask)
        os.replace(self.temporary, self.target)


def read_file(path, *, encoding="utf-8-sig"):
    """Read one CSV, JSONL or Parquet file as it is; CSV fields stay text, so that the answer "None" survives.

    Parameters
    ----------
    path : str or Path
    encoding : str
        Of CSV and JSONL.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If the suffix is unknown, or the text is not in `encoding`; the message names the line.
    """
    path = resolve(path)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return pd.read_parquet(path)
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise ValueError(f"{path.name}: expected a .csv, .tsv, .jsonl or .parquet file, but the suffix is {suffix!r}.")
    raw = path.read_bytes()
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raw = error.object  # without the byte-order mark, which `start` does not count
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name}, line {line}: byte 0x{raw[error.start]:02x} is not {encoding.removesuffix('-sig')}. "
            "Save the file in one encoding, or name it with the parameter `encoding`, for example cp1252."
        ) from None
    if suffix in (".csv", ".tsv"):
        return _read_csv(text, path.name, "\t" if suffix == ".tsv" else ",")
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (json.JSONDecodeError, RecursionError) as error:
                raise ValueError(f"{path.name}, line {number} is not JSON: {error}. One object a line.") from None
            if not isinstance(rows[-1], dict):
                raise ValueError(f"{path.name}, line {number} must be a JSON object, but {line[:40]!r} was found.")
    return pd.DataFrame(rows, dtype=object)  # as they are: 42 beside a null stays 42


def _read_csv(text, name, separator):
    from io import StringIO

    try:
        as_text = {"dtype": str, "keep_default_na": False, "sep": separator}
        names = pd.read_csv(StringIO(text), header=None, nrows=1, **as_text).iloc[0].tolist()
        frame = pd.read_csv(StringIO(text), **as_text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{name} cannot be read: {str(error).strip()}. {_QUOTE}") from None
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise ValueError(f"{name} must name every column once, but {twice} stand there more than once.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"{name}: rows have more fields than the header, which has {len(names)}. {_QUOTE}")
    return frame


def neutral(frame):
    """Frame for a sheet that people open: text that a spreadsheet would run as a formula gets an apostrophe in front.

    Texts that begin with apostrophes and such a character get one more, so that `natural` gives back what was there.

    Examples
    --------
    >>> neutral(pd.DataFrame({"text": ["=1+1", "an oak"]}))["text"].tolist()
    ["'=1+1", 'an oak']
    """
    return frame.map(lambda cell: f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell)


def natural(frame):
    """Frame as it was before `neutral`."""

    def undo(cell):
        return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell

    return frame.map(undo)


def slug(*parts):
    """Name of a figure's files: parts joined by an underscore, odd characters replaced, a hash where that changed."""
    name = "_".join(parts).replace(" ", "_")
    safe = re.sub(r"[^\w.-]+", "-", name)
    return safe if safe == name else f"{safe}-{ids.text_id(name)[:6]}"

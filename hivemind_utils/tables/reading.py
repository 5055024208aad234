"""Reading what users bring: CSV, JSON, JSON Lines, Parquet, compressed or not, files of other tools, hub addresses.

One place for all notebooks. A file becomes a frame of its rows as they are; `select_fields` then takes the project's
columns out of it, also from nested values (``response.body.choices.0.message.content``), and `as_texts` makes sure that
what is read as a text is one.
"""

import ast
import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.tables import files

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".eval", ".parquet", ".pq")
_QUOTE = "Texts with separators, quotes or line breaks in them must be in quotes."
_ALL = "*"
FORMER = "kind"  # of `prompt_kind`, `model_kind` and `scorer_type`, in files that people keep
_MESSAGE = {"role", "content", "choices", "message", "messages", "status_code", "body", "parts", "generated_text"}
_ROWS = ("samples", "results", "request_states", "rows", "data", "examples", "instances", "items")


def read_any(path, encoding=None):
    """Read a file, or the Parquet files of an address such as ``hf://datasets/<owner>/<name>``."""
    if "://" not in str(path):
        return read_file(path, encoding=encoding)
    import fsspec

    address = str(path)
    pattern = address if address.endswith(".parquet") else f"{address.rstrip('/')}/**/*.parquet"
    found = fsspec.open_files(pattern, "rb")
    if not found:
        raise FileNotFoundError(f"{address} holds no Parquet file.")
    frames = []
    for file in found:
        with file as stream:
            frames.append(pd.read_parquet(stream))
    return pd.concat(frames, ignore_index=True)


def read_file(path, *, encoding=None):
    """Read one file as it is; fields of CSV files stay text, so that the response "None" survives.

    Parameters
    ----------
    path : str or Path
        CSV or TSV (also with semicolons), JSON Lines, JSON (a list of objects, or an object that holds one), Parquet,
        an ``.eval`` archive of inspect; each also compressed as ``.gz``.
    encoding : str, optional
        Of text files. None: UTF-8, or UTF-16 where the file begins with its mark, or else Windows-1252, which is said.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If the suffix is unknown, or the file is damaged or not what its suffix says; the message names the line.
    """
    path = files.resolve(path)
    suffix, raw = _opened(path)
    if suffix in (".parquet", ".pq"):
        return _read_parquet(raw if raw is not None else path, path.name)
    raw = path.read_bytes() if raw is None else raw
    if suffix == ".eval":
        return _read_archive(raw, path.name)
    text = _decoded(raw, path.name, encoding)
    if suffix in (".csv", ".tsv"):
        return _read_csv(text, path.name, "\t" if suffix == ".tsv" else None)
    if suffix == ".json":
        return _read_json(text, path.name)
    return _read_json_lines(text, path.name)


def select_fields(frame, columns, known, file, constants=None):
    """Take the project's columns out of a frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `read_file` returns it.
    columns : dict of str to str
        The project's name of a column to the file's, or to a path into it: ``messages.-1.content``,
        ``choices.*.message.content`` (a list), ``conversations.from=gpt.value`` (the first item whose `from` is gpt).
    known : collection of str
        Names that `columns` and `constants` may use.
    file : str
        Name of the file, for messages.
    constants : dict of str to value, optional
        Columns that have one value in the whole file; ``<file>`` stands for the file's name without suffix.

    Returns
    -------
    pandas.DataFrame
        The frame with these columns under the project's names.
    """
    columns, constants = dict(columns or {}), dict(constants or {})
    for field in (*columns, *constants):
        if field not in known:
            raise ValueError(f"`columns` may name {sorted(known)}, but {field!r} was passed.{_nearest(field, known)}")
    taken = {field: field_values(frame, theirs, field, file) for field, theirs in columns.items()}
    replaced = [theirs for field, theirs in columns.items() if theirs in frame and theirs not in columns]
    frame = frame.drop(columns=[*replaced, *(f for f in columns if f in frame)]).assign(**taken)
    stem = Path(file.removesuffix(".gz")).stem
    return frame.assign(**{f: stem if value == "<file>" else value for f, value in constants.items()})


def current_names(named, field):
    """Copy of a mapping in which `field` has its name, where it came under the former one, ``kind``.

    Examples
    --------
    >>> current_names({"kind": "type", "score": "points"}, "scorer_type")
    {'scorer_type': 'type', 'score': 'points'}
    """
    is_new = field in named
    return {field if name == FORMER and not is_new else name: value for name, value in dict(named).items()}


def with_current_name(frame, field, file, named=()):
    """Frame of a file in which `field` has its name, where it came under the former one, ``kind``.

    Prompts, models and scores once had a column of that name each, and files that people keep still have it.

    Parameters
    ----------
    frame : pandas.DataFrame
    field : str
        What ``kind`` is in a file of this sort: ``prompt_kind``, ``model_kind`` or ``scorer_type``.
    file : str
        Name of the file, for messages.
    named : collection of str
        Fields for which somebody named a column: if `field` is one of them, ``kind`` is just another column.

    Raises
    ------
    ValueError
        If the file has both columns, and a row says one thing in the one and something else in the other.

    Examples
    --------
    >>> with_current_name(pd.DataFrame({"kind": ["closed"]}), "prompt_kind", "prompts.csv")["prompt_kind"].tolist()
    ['closed']
    """
    if FORMER not in frame or field in named:
        return frame
    if field not in frame:
        return frame.rename(columns={FORMER: field})
    new, former = (frame[name].astype(object) for name in (field, FORMER))
    told, before = (values.where(values.notna(), "").astype(str).str.strip() for values in (new, former))
    if len(rows := np.flatnonzero((told != "") & (before != "") & (told != before))):
        raise ValueError(
            f"{file}, row {rows[0] + 1}: `{field}` and `{FORMER}`, its former name, must say the same, but they are "
            f"{told.iloc[rows[0]]!r} and {before.iloc[rows[0]]!r}. Delete the column that is wrong, or rename "
            f"`{FORMER}` if it is about something else."
        )
    return frame.assign(**{field: new.where(told != "", former)}).drop(columns=FORMER)


def field_values(frame, path, field, file):
    """Values of a column, or of a path into nested values, as a series; None where a row has nothing there.

    Raises
    ------
    ValueError
        If no column, or no row, has anything at that path.
    """
    if path in frame.columns:
        return frame[path]
    names = [name for name in frame.columns if path.startswith(f"{name}.")]
    if not names:
        raise ValueError(
            f"{file} has no column {path!r} for `{field}`; it has {list(frame.columns)}.{_nearest(path, frame.columns)}"
        )
    name = max(names, key=len)
    steps = path[len(name) + 1 :].split(".")
    values = pd.Series([_at(value, steps) for value in frame[name]], index=frame.index, dtype=object)
    if len(values) and values.isna().all():
        first = next((v for v in frame[name] if v is not None), None)
        paths = ", ".join(list(text_paths(first, name))[:6]) or "none"
        raise ValueError(f"{file} has nothing at {path!r} for `{field}`; texts within `{name}` are at: {paths}.")
    return values


def text_paths(value, name):
    """Yield the paths of the texts within a nested value, such as ``response.body.choices.0.message.content``."""
    value = plain(value)
    if isinstance(value, str):
        yield name
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from text_paths(item, f"{name}.{key}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from text_paths(item, f"{name}.{at}")


def as_texts(values, field, file):
    """Texts of a column: text stays, numbers are written out, bytes are UTF-8; anything else is refused.

    Parameters
    ----------
    values : iterable
        Null values stay None.
    field, file : str
        For messages.

    Returns
    -------
    list of str or None

    Raises
    ------
    ValueError
        If a value is an object or a list: the message names the fields of it that hold a text.

    Examples
    --------
    >>> as_texts(["Oak", b"Elm", 3, None], "response", "trees.csv")
    ['Oak', 'Elm', '3', None]
    """
    return [_as_text(value, field, file, at) for at, value in enumerate(values)]


def with_texts(frame, fields, file):
    """Frame whose columns `fields`, as far as it has them, hold texts, numbers or nothing, and no object or list.

    Numbers stay numbers: what writes an id without its fraction decides how they are written.

    Raises
    ------
    ValueError
        See `as_texts`; also where a text is an object or a list that was written out.
    """
    frame = frame.copy()
    for field in [field for field in fields if field in frame]:
        values = frame[field].astype(object)
        texts = pd.Series(as_texts(values, field, file), index=frame.index, dtype=object)
        for at, text in enumerate(texts):
            if is_written_object(text):
                raise ValueError(_no_text(written_object(text), field, file, at))
        is_number = values.map(lambda v: isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_))
        frame[field] = values.where(is_number, texts)
    return frame


def is_written_object(text):
    """Whether a text is an object or a list that a program wrote out, and not what somebody said.

    That is Python's spelling of an object or a list, or JSON of a message as services send it.

    Examples
    --------
    >>> [is_written_object(t) for t in ("['Oak', 'Elm']", '{"role": "user", "content": "Oak"}', '["Oak"]', "[sic]")]
    [True, True, False, False]
    """
    return written_object(text) is not None


def written_object(text):
    """Object or list behind a text that `is_written_object`; None for any other value."""
    text = text.strip() if isinstance(text, str) else ""
    if len(text) < 3 or (text[0], text[-1]) not in (("{", "}"), ("[", "]")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
        return value if isinstance(value, dict | list) else None
    first = value[0] if isinstance(value, list) and value else value
    return value if isinstance(first, dict) and _MESSAGE & set(first) else None


def is_nested(value):
    """Whether a value is an object or a list, not one text or number."""
    return isinstance(plain(value), dict | list)


def as_list(value):
    """List behind a value: a list, an array, or a text that is a JSON or Python list; None for anything else.

    Examples
    --------
    >>> as_list('["Oak", "Elm"]'), as_list("['Oak', 'Elm']"), as_list("Oak")
    (['Oak', 'Elm'], ['Oak', 'Elm'], None)
    """
    value = plain(value)
    if isinstance(value, str):
        value = _parsed(value) if value.strip().startswith("[") else None
    return list(value) if isinstance(value, list | tuple) else None


def _parsed(text):
    """Object or list that a text spells in JSON or Python; None for any other text."""
    text = text.strip()
    if (text[:1], text[-1:]) not in (("{", "}"), ("[", "]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def unpivot(frame, names, *, into="response", by="model"):
    """One row per value of a wide frame, which has one column per model.

    Parameters
    ----------
    frame : pandas.DataFrame
    names : list of str
        Columns to unpivot.

    Returns
    -------
    pandas.DataFrame
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(f"There are no columns {missing}; there are {list(frame.columns)}.")
    rest = [name for name in frame.columns if name not in names and name not in (into, by)]
    long = frame[rest].assign(_row=np.arange(len(frame))).join(frame[names])
    long = long.melt([*rest, "_row"], names, var_name=by, value_name=into)
    return long.sort_values("_row", kind="stable", ignore_index=True).drop(columns="_row")


def _as_text(value, field, file, row):
    value = plain(value)
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{file}, row {row + 1}: `{field}` holds bytes that are not UTF-8 text.") from None
    if isinstance(value, dict | list):
        raise ValueError(_no_text(value, field, file, row))
    return str(value)


def _no_text(value, field, file, row):
    """Sentence that refuses an object or a list, and names the texts in it."""
    paths = list(text_paths(value, field))
    shown = ", ".join(f"columns: {{{field}: {path}}}" for path in paths[:4])
    kind = "an object" if isinstance(value, dict) else "a nested list"
    advice = f"Name the text in it, for example {shown}." if paths else "It holds no text."
    return f"{file}, row {row + 1}: `{field}` must be a text, but it is {kind}. {advice}"


def plain(value):
    """Lists for arrays and tuples, Python values for NumPy's, bytes for views."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value.item() if isinstance(value, np.generic) else value


def _at(value, steps):
    """Value at the steps of a path, None where there is none."""
    for number, step in enumerate(steps):
        value = plain(value)
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, dict):
            if step not in value:
                return None
            value = value[step]
        elif isinstance(value, list):
            if step == _ALL:
                return [_at(item, steps[number + 1 :]) for item in value]
            if "=" in step:
                key, wanted = step.split("=", 1)
                value = next((v for v in value if isinstance(v, dict) and str(v.get(key)) == wanted), None)
            elif step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        else:
            return None
    return plain(value)


def _opened(path):
    """Suffix that says the format, and the bytes where they had to be unpacked."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is no file.")
    suffix, raw = path.suffix.lower(), None
    if suffix == ".gz":
        try:
            raw = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise ValueError(f"{path.name} is damaged: {error}.") from None
        suffix = Path(path.stem).suffix.lower()
    if suffix not in _TABLES:
        names = ", ".join(name for name in _TABLES if name != ".pq")
        raise ValueError(f"{path.name}: expected {names}, or one of them with .gz, but the suffix is {suffix!r}.")
    return suffix, raw


def _decoded(raw, name, encoding):
    """Text of a file's bytes."""
    if encoding is None:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        else:
            try:
                return raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                encoding = "utf-8-sig" if raw[:3] == b"\xef\xbb\xbf" or _is_partly_utf8(raw) else "cp1252"
                if encoding == "cp1252":
                    print(f"WARNING: {name} is not UTF-8; it is read as Windows-1252.")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise ValueError(
            f"{name}, line {line}: byte 0x{byte:02x} is not {encoding.removesuffix('-sig')}. "
            "Save the file in one encoding."
        ) from None


def _is_partly_utf8(raw):
    """Whether some bytes beyond ASCII are valid UTF-8: then the others are damage, not another encoding."""
    text = raw.decode("utf-8", errors="surrogateescape")
    return any(ord(c) > 127 and not 0xDC80 <= ord(c) <= 0xDCFF and c != "\ufeff" for c in text)


def _read_parquet(source, name):
    import pyarrow as pa

    try:
        return pd.read_parquet(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} cannot be read as Parquet: {error}") from None


def _read_archive(raw, name):
    """Samples of an inspect log: a ZIP archive with one JSON file per sample."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            samples = sorted(n for n in archive.namelist() if n.startswith("samples/") and n.endswith(".json"))
            rows = [json.loads(archive.read(n)) for n in samples]
            header = json.loads(archive.read("header.json")) if "header.json" in archive.namelist() else {}
    except (zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{name} cannot be read as an archive of samples: {error}") from None
    return _with_header(rows, header)


def _with_header(rows, header):
    frame = pd.DataFrame(rows, dtype=object)
    for key, value in header.items():
        if key not in frame:
            frame[key] = pd.Series([value] * len(frame), dtype=object)
    return frame


def _read_json(text, name):
    """Rows of a JSON file: a list of objects, or the longest list of objects within one."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if "Extra data" in str(error):  # JSON Lines under another name
            return _read_json_lines(text, name)
        raise ValueError(f"{name}, line {error.lineno} is not JSON: {error.msg}.") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply to be read.") from None
    if isinstance(content, dict):
        place, rows = _longest_list(content)
        if rows is None:
            return pd.DataFrame([content], dtype=object)
        header = {key: value for key, value in content.items() if not isinstance(value, list) and key != place[0]}
        return _with_header(rows, header)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError(f"{name} must hold a list of objects, one per row, but holds {type(content).__name__}.")
    return pd.DataFrame(content, dtype=object)


def _longest_list(content, depth=3):
    """Path and value of the list of objects that holds the rows: one with a usual name, else the longest."""
    found, best = ((), None), (False, 0)
    queue = [((), content)]
    while queue:
        place, value = queue.pop(0)
        for key, item in value.items():
            here = (*place, key)
            if isinstance(item, list) and item and all(isinstance(row, dict) for row in item):
                if (key in _ROWS, len(item)) > best:
                    found, best = (here, item), (key in _ROWS, len(item))
            elif isinstance(item, dict) and len(here) < depth:
                queue.append((here, item))
    return found


def _read_json_lines(text, name):
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (json.JSONDecodeError, RecursionError) as error:
                raise ValueError(f"{name}, line {number} is not JSON: {error}. One object per line.") from None
            if not isinstance(rows[-1], dict):
                raise ValueError(f"{name}, line {number} must be a JSON object, but {line[:40]!r} was found.")
    return pd.DataFrame(rows, dtype=object)  # as they are: 42 beside a null stays 42


def _read_csv(text, name, separator):
    separator = separator or _separator(text)
    try:
        as_text = {"dtype": str, "keep_default_na": False, "sep": separator}
        names = pd.read_csv(io.StringIO(text), header=None, nrows=1, **as_text).iloc[0].tolist()
        frame = pd.read_csv(io.StringIO(text), **as_text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{name} cannot be read: {str(error).strip()}. {_QUOTE}") from None
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise ValueError(f"{name} must name every column once, but {twice} stand there more than once.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"{name}: rows have more fields than the header, which has {len(names)}. {_QUOTE}")
    return frame


def _separator(text):
    """Separator of a CSV file, from its header: the candidate that occurs most outside of quotes; else a comma."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {sep: len(next(csv.reader([first], delimiter=sep), [])) for sep in (",", ";", "\t")}
    best = max(counts, key=counts.get)
    return best if counts[best] > 1 else ","


def _nearest(name, known):
    import difflib

    close = difflib.get_close_matches(str(name), list(map(str, known)), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def number(text):
    """Number that a text stands for, with a decimal point or comma; NaN for none.

    Examples
    --------
    >>> number("3,5"), number(" 4 "), number("four")
    (3.5, 4.0, nan)
    """
    try:
        return float(text)
    except (TypeError, ValueError):
        pass
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return float("nan")

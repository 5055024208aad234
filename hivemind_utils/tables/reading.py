"""Reading what users bring: CSV, JSON, JSON Lines, Parquet, compressed or not, files of other tools, hub addresses.

One place for all notebooks. A file becomes a frame of its rows as they are; `select_fields` then takes the project's
columns out of it, also from nested values (``response.body.choices.0.message.content``), and `as_texts` makes sure that
what is read as a text is one.
"""

import csv
import gzip
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.tables import files, spellings

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".eval", ".parquet", ".pq")
_QUOTE = "Texts with separators, quotes or line breaks in them must be in quotes."
_ENCODING = "Name its encoding if it is another: `encoding`, where the notebook has it, such as shift_jis or utf-16-le."
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=([^\n\"])\"?[,;\t]*\r?\n")  # Excel's first line
_ALL = "*"
_TEXT_PARTS = ("text", "output_text")
_THOUGHT_PARTS = ("thinking", "reasoning", "redacted_thinking")
FORMER = "kind"  # of `prompt_kind`, `model_kind` and `scorer_type`, in files that people keep
_ROWS = ("samples", "results", "request_states", "rows", "data", "examples", "instances", "items")


def read_any(path, encoding=None):
    """Read a file, or the Parquet files of an address such as ``hf://datasets/<owner>/<name>``."""
    if not files.is_address(path):
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
        Of text files. None: UTF-8, or UTF-16 or UTF-32 where the file begins as such, or else Windows-1252, which is
        said.

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
            raise ValueError(f"`columns` may name {sorted(known)}, but {field!r} was passed.{nearest(field, known)}")
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

    A name with dots in it is found, in the columns as well as within objects; the longest name that fits is taken.

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
            f"{file} has no column {path!r} for `{field}`; it has {list(frame.columns)}.{nearest(path, frame.columns)}"
        )
    names = sorted(names, key=lambda name: len(str(name)), reverse=True)
    for name in names:
        steps = path[len(str(name)) + 1 :].split(".")
        values = pd.Series([_at(value, steps) for value in frame[name]], index=frame.index, dtype=object)
        if values.empty or values.notna().any():
            return values
    first = next((v for v in frame[names[0]] if v is not None), None)
    paths = ", ".join(list(text_paths(first, names[0]))[:6]) or "none"
    raise ValueError(f"{file} has nothing at {path!r} for `{field}`; texts within `{names[0]}` are at: {paths}.")


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
    """Texts of a column: text stays, numbers are written out, bytes are UTF-8, parts of a text are joined.

    Anything else is refused.

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
            if (written := spellings.written_out(text)) is not None:
                raise ValueError(_no_text(written, field, file, at))
        refuse_json(texts, field, file)
        is_number = values.map(lambda v: isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_))
        frame[field] = values.where(is_number, texts)
    return frame


def refuse_json(texts, field, file, *, lists=True, otherwise=""):
    """Refuse a column most of whose texts are JSON: lists of texts, or objects with a name in common.

    One such text among others may be what somebody said; a column of them holds the text somewhere within.

    Parameters
    ----------
    texts : iterable of str or None
    field, file : str
        For messages.
    lists : bool
        Whether lists of texts are refused too.
    otherwise : str
        What else can be done: the end of the message.
    """
    filled = [(at, text) for at, text in enumerate(texts) if isinstance(text, str) and text.strip()]
    values = [(at, spellings.json_value(text)) for at, text in filled]
    listed = [(at, value) for at, value in values if lists and spellings.is_list_of_texts(value)]
    objects = [(at, value) for at, value in values if isinstance(value, dict)]
    objects = objects if objects and set.intersection(*(set(value) for _, value in objects)) else []
    for found in (listed, objects):
        if 2 * len(found) > len(filled):
            raise ValueError(_no_text(found[0][1], field, file, found[0][0]) + otherwise)


def is_written_object(text):
    """Whether a text is an object or a list that a program wrote out, and not what somebody said.

    That is Python's or NumPy's spelling of an object or a list, what Python prints of an object, or JSON of a message
    as services send it.

    Examples
    --------
    >>> [is_written_object(t) for t in ("['Oak', 'Elm']", '{"role": "user", "content": "Oak"}', '["Oak"]', "[sic]")]
    [True, True, False, False]
    """
    return spellings.written_out(text) is not None


def is_nested(value):
    """Whether a value is an object or a list, not one text or number."""
    return isinstance(plain(value), dict | list)


def as_list(value):
    """List behind a value: a list, an array, or a text that spells one in JSON, Python or NumPy; None for others.

    Examples
    --------
    >>> as_list('["Oak", "Elm"]'), as_list("['Oak' 'Elm']"), as_list("Oak")
    (['Oak', 'Elm'], ['Oak', 'Elm'], None)
    """
    value = plain(value)
    if isinstance(value, str):
        value = spellings.parsed(value) if value.strip().startswith(("[", "(")) else None
    return list(value) if isinstance(value, list | tuple) else None


def text_of_parts(value):
    """Text of a content in parts, as services send it, and what was thought; None for any other value.

    Examples
    --------
    >>> text_of_parts([{"type": "reasoning", "reasoning": "A tree?"}, {"type": "text", "text": "An oak."}])
    ('An oak.', 'A tree?')
    >>> text_of_parts("An oak."), text_of_parts([{"type": "image_url"}])
    (None, None)
    """
    value = plain(value)
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        value = spellings.json_value(value)
    if not isinstance(value, list) or not value:
        return None
    texts, thoughts = [], []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in _THOUGHT_PARTS:
            inner = next((part[name] for name in ("thinking", "reasoning", "text") if part.get(name)), "")
            thoughts.append(inner if isinstance(inner, str) else "")
        else:
            return None
    return "".join(texts), "".join(thoughts)


def unpivot(frame, names, *, into="response", by="model"):
    """One row per value of a wide frame, which has one column per model.

    Parameters
    ----------
    frame : pandas.DataFrame
    names : list of str
        Columns to unpivot, or paths into them.

    Returns
    -------
    pandas.DataFrame
    """
    starts = tuple(f"{name}." for name in frame.columns)
    missing = [name for name in names if name not in frame.columns and not name.startswith(starts)]
    if missing:
        raise ValueError(f"There are no columns {missing}; there are {list(frame.columns)}.")
    within = {name: field_values(frame, name, into, "the wide file") for name in names if name not in frame.columns}
    frame = frame.assign(**within)
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
    if isinstance(value, list | str) and (parts := text_of_parts(value)) and not parts[1]:
        return parts[0]
    if isinstance(value, dict | list):
        raise ValueError(_no_text(value, field, file, row))
    return str(value)


def _no_text(value, field, file, row):
    """Sentence that refuses what is no text, and names the texts in it."""
    if isinstance(value, str | bytes):
        kind = "bytes, written out" if isinstance(value, bytes) else f"what Python prints of a value: {value[:60]!r}"
        advice = "Save the text itself: of bytes, decoded; of an object, its field; of an array, `tolist()`."
    else:
        kind = "an object" if isinstance(value, dict) else "a nested list"
        paths = list(text_paths(value, field))
        shown = ", ".join(f"columns: {{{field}: {path}}}" for path in paths[:4])
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
    if not steps:
        return plain(value)
    value, step, rest = plain(value), steps[0], steps[1:]
    if isinstance(value, str):
        value = plain(spellings.parsed(value))
    if isinstance(value, dict):  # the longest name that fits, for names have dots too
        fits = (n for n in range(len(steps), 0, -1) if ".".join(steps[:n]) in value)
        found = (_at(value[".".join(steps[:n])], steps[n:]) for n in fits)
        return next((item for item in found if item is not None), None)
    if not isinstance(value, list):
        return None
    if step == _ALL:
        return [_at(item, rest) for item in value]
    if "=" in step:
        key, wanted = step.split("=", 1)
        return _at(next((v for v in value if isinstance(v, dict) and str(v.get(key)) == wanted), None), rest)
    if step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
        return _at(value[int(step)], rest)
    return None


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
        encoding = json.detect_encoding(raw)  # by a mark, or where zeros stand among the first bytes
        if encoding[-2:] in ("le", "be"):  # without a mark
            print(f"WARNING: {name} is read as {encoding.upper()}, by its first bytes. {_ENCODING}")
        elif encoding == "utf-8":
            try:
                return _without_zeros(raw.decode("utf-8"), name)
            except UnicodeDecodeError:
                if not _is_partly_utf8(raw):
                    encoding = "cp1252"
                    print(f"WARNING: {name} is not UTF-8; it is read as Windows-1252. {_ENCODING}")
    try:
        return _without_zeros(raw.decode(encoding).removeprefix("\ufeff"), name)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise ValueError(
            f"{name}, line {line}: byte 0x{byte:02x} is not {encoding.removesuffix('-sig')}. "
            f"Save the file in one encoding, best UTF-8. {_ENCODING}"
        ) from None
    except (LookupError, TypeError, UnicodeError):
        raise ValueError(
            f"`encoding` must name an encoding that {name} can be in, such as utf-8, cp1252 or shift_jis, but "
            f"{encoding!r} was passed."
        ) from None


def _without_zeros(text, name):
    """The text, unless its first line holds zeros: then it was decoded wrongly, or is no text."""
    if "\0" in text[:10_000].split("\n", 1)[0]:
        raise ValueError(f"{name} holds zeros where text should be: it is in another encoding, or no text. {_ENCODING}")
    return text


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
        if (table := _written_by_columns(content)) is not None:
            return table
        place, rows = _longest_list(content)
        if rows is None:
            return pd.DataFrame([content], dtype=object)
        header = {key: value for key, value in content.items() if not isinstance(value, list) and key != place[0]}
        return _with_header(rows, header)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError(f"{name} must hold a list of objects, one per row, but holds {type(content).__name__}.")
    return pd.DataFrame(content, dtype=object)


def _written_by_columns(content):
    """Frame that pandas' `to_json` or `to_dict` wrote by columns, by index or split; None for other objects."""
    values = list(content.values())
    if {"columns", "data"} <= set(content) <= {"columns", "index", "data"} and all(isinstance(v, list) for v in values):
        return pd.DataFrame(content["data"], columns=content["columns"], dtype=object)
    if len(values) > 1 and all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1:
        are_rows = any(isinstance(item, dict) for value in values for item in value)
        return None if are_rows else pd.DataFrame(content, dtype=object)
    if not values or not all(isinstance(v, dict) and v for v in values) or len({tuple(v) for v in values}) > 1:
        return None
    by_column, by_row = (all(map(str.isdigit, names)) for names in (values[0], content))
    if by_column == by_row:
        return None
    return pd.DataFrame(values if by_row else {name: list(v.values()) for name, v in content.items()}, dtype=object)


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
    told = _SEPARATOR_LINE.match(text)
    separator = told[1] if told else separator or _separator(text)
    try:
        as_text = {"dtype": str, "keep_default_na": False, "sep": separator, "skiprows": 1 if told else 0}
        names = pd.read_csv(io.StringIO(text), header=None, nrows=1, **as_text).iloc[0].tolist()
        frame = pd.read_csv(io.StringIO(text), **as_text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{name} cannot be read: {str(error).strip()}. {_QUOTE}") from None
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise ValueError(f"{name} must name every column once, but {twice} stand there more than once.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"{name}: rows have more fields than the header, which has {len(names)}. {_QUOTE}")
    return _without_lacking(frame, text[told.end() :] if told else text, name, separator)


def _without_lacking(frame, text, name, separator):
    """Frame in which the fields that a short row lacks are missing, and no empty texts."""
    limit = csv.field_size_limit(len(text) + 1)
    try:
        rows = list(map(len, filter(_is_row, csv.reader(io.StringIO(text, newline=""), delimiter=separator))))[1:]
    finally:
        csv.field_size_limit(limit)
    short = [at for at, n in enumerate(rows) if n < frame.shape[1]]
    if not short:
        return frame
    if len(rows) != len(frame):
        raise ValueError(
            f"{name}, row {short[0] + 1} has {rows[short[0]]} fields, but the header has {frame.shape[1]}. "
            f"Write every field, also the empty ones. {_QUOTE}"
        )
    n_given = np.array(rows)
    return frame.assign(**{c: frame[c].where(n_given > at, None) for at, c in enumerate(frame) if at >= min(rows)})


def _is_row(fields):
    """Whether the fields of a line are a row: blank lines are none."""
    return bool(fields) and not (len(fields) == 1 and fields[0].isspace())


def _separator(text):
    """Separator of a CSV file, from its header: the candidate that occurs most outside of quotes; else a comma."""
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    counts = {sep: len(next(csv.reader([first], delimiter=sep), [])) for sep in (",", ";", "\t")}
    best = max(counts, key=counts.get)
    return best if counts[best] > 1 else ","


def nearest(name, known):
    """Ask in a sentence whether the known name that is spelt most like this one is meant; empty where none is.

    Examples
    --------
    >>> nearest("categry", ["category", "language"])
    " Did you mean 'category'?"
    """
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

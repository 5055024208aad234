"""Read and write the tables that notebooks hand each other: validated, atomic, each with its source.

The one place that touches ``data/<profile>``. A table carries its source in its Parquet metadata, so that nothing
simulated can be mistaken for a finding.
"""

import contextlib
import json
from pathlib import Path

from hivemind_utils.tables import blocks, files, schema

MOST_PARTS = 50_000  # of a file; with more, finding one takes longer than reading it
RESULTS_SCHEMA = "hivemind-results/1"  # of results/<profile>/NN.json; a change of meaning takes the next number


class DamagedError(ValueError):
    """A table's file is there but is no table: cut off, empty, or written by something else.

    Also where it lacks columns, named in `lacking`: another version of this project wrote it.
    """

    def __init__(self, message, lacking=()):
        super().__init__(message)
        self.lacking = tuple(lacking)


def path(name, profile):
    """Path of a table's Parquet file."""
    schema.schema_of(name)
    return files.folder(profile) / f"{name}.parquet"


def writer(name):
    """Name of the notebook that writes a table, such as ``04_generate``."""
    number = schema.schema_of(name).number
    found = sorted((files.root() / "notebooks").glob(f"{number}_*.ipynb"))
    return found[0].stem if found else number


def write(frame, name, profile, stamp, by=None):
    """Validate a frame and write it as ``data/<profile>/<name>.parquet``, atomically.

    Parameters
    ----------
    frame : pandas.DataFrame or blocks.Blocks
        The table.
    name, profile : str
        Which table, of which profile.
    stamp : dict
        Where the data come from; ``stamp["source"]`` is one of `SOURCES`. Kept in the file's metadata.
    by : str, optional
        A column by whose values the rows lie together: each value is a part of the file that can be read on its own,
        see `parts`.

    Raises
    ------
    ValueError
        If the rows of a value of `by` do not follow each other.
    """
    import pyarrow.parquet as pq

    if stamp.get("source") not in schema.SOURCES:
        raise ValueError(
            f"stamp['source'] must be one of {sorted(schema.SOURCES)}, but {stamp.get('source')!r} was passed."
        )
    metadata = {"hivemind": json.dumps(stamp, sort_keys=True)}
    if isinstance(frame, blocks.Blocks):
        tables = frame.arrow() if len(frame) else [schema.validate(schema.empty(name), name)]
    else:
        tables = [schema.validate(frame.reset_index(drop=True), name)]
    seen = set()  # values of `by`
    with files.atomic(path(name, profile)) as temporary, contextlib.ExitStack() as opened:
        writer = None
        for table in tables:
            table = table.replace_schema_metadata(metadata)
            if writer is None:
                options = {"compression": "zstd", "write_page_checksum": True}
                writer = opened.enter_context(pq.ParquetWriter(temporary, table.schema, **options))
            starts = [0] if by is None else _starts(table[by].to_numpy(), by, seen)
            starts = starts if len(seen) <= MOST_PARTS else [0]
            for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
                writer.write_table(table.slice(start, stop - start), row_group_size=max(stop - start, 1))


def _starts(values, by, seen):
    """Where the rows of each value begin; values are added to those seen before."""
    import numpy as np

    starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()] if len(values) else [0]
    n_before, found = len(seen), values[starts].tolist() if len(values) else []
    seen.update(found)
    if len(seen) < n_before + len(found):
        raise ValueError(f"The rows of every `{by}` must follow each other, but do not: sort the table by it.")
    return starts


def write_truth(frame, profile, name="ideas"):
    """Write what the demo population planted as ``data/<profile>/truth/<name>.parquet``: for tests, not notebooks."""
    with files.atomic(files.folder(profile) / "truth" / f"{name}.parquet") as temporary:
        frame.to_parquet(temporary, index=False)


def read(name, profile, columns=None):
    """Read a table.

    Raises
    ------
    FileNotFoundError
        If the table is missing; the message names the notebook that writes it.
    DamagedError
        If it cannot be read, or lacks a column that it should have, likewise.
    """
    import pandas as pd

    with _readable(name, profile) as file:
        frame = pd.read_parquet(file, columns=columns)
        if columns is None:
            _complete(name, profile, frame.columns)
        return frame


def stamp(name, profile):
    """Where a table's data come from, as written with it: a dict with at least ``source``."""
    import pyarrow.parquet as pq

    with _readable(name, profile) as file:
        found = pq.read_schema(file)
        _complete(name, profile, found.names)
        return json.loads(found.metadata[b"hivemind"])


def write_results(results, number, profile):
    """Write a notebook's quoted numbers as ``results/<profile>/NN.json``, atomically.

    The file says which version of the schema it follows, ``data/reference/results.schema.json``; see
    ``docs/results.md``. Values that are not numbers (NaN) become null.
    ``results["partial"]``, where it is present, says in a sentence what the run lacks.
    """
    target = files.root() / "results" / profile / f"{number}.json"
    results = {"schema": RESULTS_SCHEMA} | results
    with files.atomic(target) as temporary:
        text = json.dumps(json.loads(json.dumps(results, default=_plain), parse_constant=lambda _: None), indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def _existing(name, profile):
    file = path(name, profile)
    if not file.exists():
        raise FileNotFoundError(missing_message(name, profile))
    return file


@contextlib.contextmanager
def _readable(name, profile):
    """Yield a table's path; what cannot be read there is said to be damaged."""
    import pyarrow as pa

    file = _existing(name, profile)
    try:
        yield file
    except DamagedError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(damaged_message(name, profile)) from error


def _complete(name, profile, columns):
    """Refuse a table that lacks columns of its schema."""
    lacking = [column.name for column in schema.schema_of(name).columns if column.name not in columns]
    if lacking:
        raise DamagedError(damaged_message(name, profile, lacking=lacking), lacking)


def missing_message(name, profile, spec=None):
    """Say that a table is missing, which notebook writes it and how; `spec` is the profile as the user gave it."""
    place = Path("data") / profile / f"{name}.parquet"
    return f"{place} is missing. Notebook {writer(name)} writes it: {how_to_run(spec or profile)}."


def damaged_message(name, profile, spec=None, lacking=()):
    """Say that a table cannot be read or lacks columns, and how to write it again; `spec`: the profile as given."""
    place, number = Path("data") / profile / f"{name}.parquet", schema.schema_of(name).number
    command = f"make {number}" if (spec or profile) == "demo" else f"make {number} PROFILE={spec or profile}"
    names = ", ".join(f"`{column}`" for column in lacking)
    state = f"lacks {names}: an earlier version wrote it" if lacking else "is damaged"
    return f"{place} {state}. Notebook {writer(name)} writes it: run `{command}`."


def how_to_run(profile):
    """Name the command that makes a profile's tables."""
    return "run `make figures`" if profile == "demo" else f"run `make figures PROFILE={profile}`"


def _plain(value):
    """JSON form of what NumPy and pandas return."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"Results must be plain numbers and text, but {type(value).__name__} was passed.")

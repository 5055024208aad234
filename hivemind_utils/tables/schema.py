"""Schemas of the tables that notebooks hand each other, read from ``schemas.yaml``, and their validation."""

from dataclasses import dataclass
from pathlib import Path

import yaml

SOURCES = {
    "simulated": "drawn from the demo population: invented models, planted behaviour",
    "released": "published by the authors of the study",
    "sampled": "sampled from models by notebook 04",
    "imported": "responses, labels or scores that somebody else collected",
    "written": "texts of known content, written for this project to try its measures on",
}


@dataclass(frozen=True)
class Column:
    """One column: its type ("str", "int", "float" or "bool"), meaning, unit and permitted values."""

    name: str
    type: str
    meaning: str
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that identify a row."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def number(self):
        """The number of the notebook that writes the table."""
        return self.name[:2]


def _read(text):
    """Schemas written as in ``schemas.yaml``: a dict of table name to Table."""

    def column(name, type, meaning, allowed=None, **options):
        return Column(name, type, meaning, allowed=allowed and tuple(allowed), **options)

    return {
        name: Table(name, table["row"], tuple(table["key"]), tuple(column(n, **c) for n, c in table["columns"].items()))
        for name, table in yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)).items()
    }


TABLES = _read((Path(__file__).parent / "schemas.yaml").read_text(encoding="utf-8"))


def validate(frame, name):
    """Check a frame against its schema and return it as an Arrow table with the schema's column order.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per thing that `name` describes.
    name : str
        Name of the table, a key of `TABLES`.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        If columns are missing or unknown, a type does not fit, a value is null, out of range or not permitted, or two
        rows have the same key. The message names the column and the first offending row.
    """
    import pyarrow as pa

    table = schema_of(name)
    expected = [column.name for column in table.columns]
    missing = [column for column in expected if column not in frame.columns]
    unknown = [column for column in frame.columns if column not in expected]
    if missing or unknown:
        raise ValueError(f"Table {name} must have the columns {expected}; missing: {missing}, unknown: {unknown}.")
    twice = [column for column in expected if list(frame.columns).count(column) > 1]
    if twice:
        raise ValueError(f"Table {name} must have every column once; twice: {twice}.")
    arrays = []
    for column in table.columns:
        values = frame[column.name]
        problem = _problem(values, column)
        if problem is not None:
            where, why = problem
            raise ValueError(f"Table {name}, column `{column.name}`, row {where}: {why}, but {values[where]!r} came.")
        try:
            arrays.append(pa.array(values, type=arrow_type(column), from_pandas=True))
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
            row = _first_unfit(values, column)
            raise ValueError(
                f"Table {name}, column `{column.name}`, row {row}: expected {column.type}, but {values[row]!r} came."
            ) from error
    doubled = frame.duplicated(list(table.key))
    if doubled.any():
        row = frame.loc[doubled.idxmax(), list(table.key)].to_dict()
        raise ValueError(f"Table {name} must have one row per {table.key}, but {int(doubled.sum())} repeat: {row}.")
    nullable = {column.name: column.nullable for column in table.columns}
    schema = pa.schema([pa.field(n, a.type, nullable=nullable[n]) for n, a in zip(expected, arrays, strict=True)])
    return pa.Table.from_arrays(arrays, schema=schema)


def schema_of(name):
    """Schema of a table by its name."""
    if name not in TABLES:
        raise ValueError(f"There is no table {name!r}; the tables are {sorted(TABLES)}.")
    return TABLES[name]


def empty(name):
    """A table without rows."""
    import pandas as pd

    return pd.DataFrame(columns=[column.name for column in schema_of(name).columns])


def arrow_type(column):
    """Type of a column in Arrow."""
    import pyarrow as pa

    return {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}[column.type]


def _problem(values, column):
    """First offending index label and what was expected there, or None."""
    import pandas as pd

    null = values.isna()
    if null.any() and not column.nullable:
        return null.idxmax(), "expected a value"
    present = values[~null]
    if column.allowed:
        bad = ~present.isin(column.allowed)
        if bad.any():
            return bad.idxmax(), f"expected one of {list(column.allowed)}"
    if column.low is None and column.high is None:
        return None
    if not pd.api.types.is_numeric_dtype(present):
        numbers = pd.to_numeric(present, errors="coerce")
        if numbers.isna().any():
            return numbers.isna().idxmax(), "expected a number"
        present = numbers
    slack = 1e-6  # a cosine of two equal float32 vectors may exceed 1 by rounding
    if column.low is not None and (present < column.low - slack).any():
        return (present < column.low - slack).idxmax(), f"expected at least {column.low}"
    if column.high is not None and (present > column.high + slack).any():
        return (present > column.high + slack).idxmax(), f"expected at most {column.high}"
    return None


def _first_unfit(values, column):
    """Index label of the first value that does not fit the column's type."""
    import pyarrow as pa

    for i in range(len(values)):
        try:
            pa.array(values.iloc[i : i + 1], type=arrow_type(column), from_pandas=True)
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError):
            return values.index[i]
    return values.index[0]

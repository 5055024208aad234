"""Labels that a file holds as counts per item, such as ``{"e": 30, "n": 70}``: one label per annotator again."""

import json
from numbers import Number

from hivemind_utils.tables import ids

MOST = 100_000  # labels of one item; more is no count of annotators


def is_counts(value):
    """Whether a value is an object of numbers only, or JSON of one: any other object holds something else.

    Examples
    --------
    >>> is_counts('{"e": 30, "n": 70}'), is_counts({"role": "user", "content": "Oak"}), is_counts("e")
    (True, False, False)
    """
    found = _parsed(value)
    return isinstance(found, dict) and all(v is None or isinstance(v, Number) for v in found.values())


def expanded(values, rows, file):
    """Lists of labels, one per annotator, from counts; what is a list already stays.

    Nobody knows which annotator gave which label, so the labels of an item are in an order drawn from the item alone:
    in the order of the scale, halves of the annotators would agree too well.

    Parameters
    ----------
    values : pandas.Series
        Objects of label to count, or JSON of them. A null counts as zero, as Parquet fills in labels nobody gave.
    rows : pandas.Series of int
        Row in the file, for messages.
    file : str

    Returns
    -------
    pandas.Series of list

    Raises
    ------
    ValueError
        If a count is no whole number from 0 on, or an item has none.

    Examples
    --------
    >>> import pandas as pd
    >>> sorted(expanded(pd.Series([{"e": 1, "n": 2}]), pd.Series([0]), "nli.jsonl")[0])
    ['e', 'n', 'n']
    """
    return values.combine(rows, lambda value, row: _expanded(_parsed(value), row, file))


def _expanded(counts, row, file):
    if not isinstance(counts, dict):
        return counts
    labels = []
    for label, count in sorted(counts.items(), key=lambda pair: str(pair[0])):
        count = 0 if count is None or count != count else count
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count <= MOST or count % 1:
            raise ValueError(
                f"{file}, row {row + 1}: counts of labels must be whole numbers from 0 to {MOST:,}, but {label!r} has "
                f"{count!r}. Shares need the number of annotators: multiply them by it."
            )
        labels += [label] * int(count)
    if not labels:
        raise ValueError(f"{file}, row {row + 1}: {counts} counts no label. Leave such an item out.")
    return ids.generator("counts", row, *labels).permutation(labels).tolist()


def _parsed(value):
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value

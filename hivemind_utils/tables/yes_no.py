"""Yes or no, as people and programs write it: one reader for flags, labels and sheets."""

import pandas as pd

from hivemind_utils.tables import reading

YES, NO = ("true", "1", "1.0", "yes", "y", "t"), ("false", "0", "0.0", "no", "n", "f")
NOTHING = ("", "null", "none", "nan", "na", "n/a", "<na>")  # what programs write where nothing is known


def word(value):
    """Word behind a value as the lists of this module spell it: lower case, without space around it.

    Examples
    --------
    >>> word(" Yes "), word(True), word(b"no"), word(1.0), word(None)
    ('yes', 'true', 'no', '1.0', '')
    """
    value = reading.plain(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    missing = not reading.is_nested(value) and pd.isna(value)
    return "" if missing else str(value).strip().lower()


def yes_or_no(value, nothing=("",)):
    """Read yes or no in any usual spelling.

    Parameters
    ----------
    value : str, bool, number or None
    nothing : collection of str
        Words that say neither, such as `NOTHING`.

    Returns
    -------
    bool or None
        None for a word of `nothing`, and where there is no value.

    Raises
    ------
    ValueError
        For any other value: what it means is not guessed.

    Examples
    --------
    >>> [yes_or_no(value) for value in ("Yes", "f", 1.0, None)]
    [True, False, True, None]
    """
    said = word(value)
    if said == "" or said in nothing:
        return None
    if said in YES or said in NO:
        return said in YES
    raise ValueError(f"Expected yes or no, but {value!r} was found.")


def read(values, field, file, nothing=("",)):
    """Read a column of yes and no; see `yes_or_no`.

    Parameters
    ----------
    values : iterable
    field, file : str
        For messages.
    nothing : collection of str

    Returns
    -------
    list of bool or None

    Raises
    ------
    ValueError
        If a value is neither: the message says which, and in which row the first one stands.
    """
    said, odd = [], {}
    for row, value in enumerate(values, start=1):
        try:
            said.append(yes_or_no(value, nothing))
        except ValueError:
            odd.setdefault(str(value)[:40], row)
    if odd:
        raise ValueError(
            f"{file}: `{field}` must be one of {[*YES, *NO]} or empty, but {list(odd)[:5]} was found (first in row "
            f"{next(iter(odd.values()))}). Write yes or no."
        )
    return said

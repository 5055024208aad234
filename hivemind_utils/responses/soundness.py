"""Responses that are hardly responses: cut off, empty, looping, or with markers of a chat template in them.

They are outcomes and stay in the data. Where they are frequent, as with small models, they drive a measure of
diversity: so they are counted per arm, and the measure is given without them too.
"""

import re

import numpy as np
import pandas as pd

FLAGS = ("cut", "empty", "looping", "marked")
MOST_PERIOD, LEAST_REPEATS, LEAST_WORDS = 24, 3, 12  # words of what repeats, repeats after the first, words in all
OFTEN = 0.2  # share of an arm's responses from which on a flag is warned of
_MARKERS = re.compile(
    r"<\|[\w ]{2,40}\|>|<｜[^｜]{2,40}｜>|\[/?INST\]|<</?SYS>>|</?s>|<(start|end)_of_turn>|<0x[0-9A-F]{2}>"
    r"|^\s*(assistant|user|system)\s*:?\s*\n",
    re.IGNORECASE,
)


def loops(text):
    """Whether a text repeats a stretch of words over and over.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
        True where a stretch of at most `MOST_PERIOD` words comes at least `LEAST_REPEATS` more times in a row, over at
        least `LEAST_WORDS` words.

    Examples
    --------
    >>> loops("the sea and " * 6), loops("Time is a river, and it flows to the sea.")
    (True, False)
    """
    words = np.array(text.casefold().split())
    for period in range(1, min(MOST_PERIOD, len(words) // (LEAST_REPEATS + 1)) + 1):
        same = words[period:] == words[:-period]
        breaks = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
        if np.diff(breaks).max() - 1 >= max(LEAST_REPEATS * period, LEAST_WORDS - period):
            return True
    return False


def flags(answers):
    """What is wrong with every response.

    Parameters
    ----------
    answers : pandas.DataFrame
        With text and finish_reason, such as ``04_responses``.

    Returns
    -------
    pandas.DataFrame
        Columns `FLAGS`, bool, indexed as `answers`: ended by the limit of tokens; without a visible character;
        repeating itself (see `loops`); holding a marker of a chat template.
    """
    text = answers["text"].fillna("").astype(str)
    return pd.DataFrame(
        {
            "cut": answers["finish_reason"].eq("length").fillna(False).astype(bool),
            "empty": text.str.strip().eq(""),
            "looping": text.map(loops).astype(bool),
            "marked": text.map(lambda t: bool(_MARKERS.search(t))).astype(bool),
        },
        index=answers.index,
    )


def rates(answers, by=("model", "decoding")):
    """Shares of every arm's responses that are flagged.

    Parameters
    ----------
    answers : pandas.DataFrame
        As in `flags`, with the columns of `by`.
    by : sequence of str

    Returns
    -------
    pandas.DataFrame
        Columns of `by`, n_responses, a share per flag, ``sound`` (share without any), ``distinct`` (share of different
        texts).
    """
    found = flags(answers)
    frame = pd.concat([answers[list(by)], found.assign(sound=~found.any(axis=1))], axis=1)
    grouped = frame.groupby(list(by), sort=True)
    table = grouped[[*FLAGS, "sound"]].mean()
    table.insert(0, "n_responses", grouped.size())
    table["distinct"] = answers.groupby(list(by), sort=True)["text"].nunique() / table["n_responses"]
    return table.reset_index()


def sound(answers):
    """Responses without any flag: for a measure of diversity beside that of all."""
    return answers[~flags(answers).any(axis=1)]


def warnings(answers, by=("model", "decoding")):
    """What a reader must know of the responses before any figure, in sentences; empty where there is nothing.

    Parameters
    ----------
    answers : pandas.DataFrame
        As in `rates`, with prompt_id.
    by : sequence of str

    Returns
    -------
    list of str
    """
    said = []
    for row in rates(answers, by).to_dict("records"):
        arm = " · ".join(str(row[name]) for name in by)
        if row["cut"] == 1:
            said.append(f"{arm}: every response is cut off by max_tokens: raise it")
        told = {"cut": "cut off by max_tokens", "empty": "empty", "looping": "repeating themselves"}
        said += [f"{arm}: {row[f]:.0%} of responses are {words}" for f, words in told.items() if OFTEN <= row[f] < 1]
        said += [f"{arm}: every response is {words}" for f, words in told.items() if row[f] == 1 and f != "cut"]
        if row["marked"] > 0:
            said.append(f"{arm}: {row['marked']:.1%} of responses hold markers of a chat template: check the template")
    cells = answers.groupby(["prompt_id", *by])["text"].agg(["size", "nunique"])
    cells = cells[cells["size"] > 1]
    if len(cells):
        for arm, share in cells["nunique"].eq(1).groupby(list(by)).mean().items():
            if share == 1:
                name = " · ".join(map(str, arm if isinstance(arm, tuple) else (arm,)))
                said.append(
                    f"{name}: all responses to a prompt are identical, for every prompt: is temperature or seed lost?"
                )
    return said

"""Responses that are hardly responses: cut off, empty, looping, or with markers of a chat template in them.

They are outcomes and stay in the data. Where they are frequent, as with small models, they drive a measure of
diversity: so they are counted per arm, and the measure is given without them too.
"""

import re

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals
from hivemind_utils.tables.wording import counted, estimate, listed, number, percent

FLAGS = ("cut", "empty", "looping", "marked")
MOST_PERIOD, LEAST_REPEATS, LEAST_WORDS = 24, 3, 12  # words of what repeats, repeats after the first, words in all
OFTEN = 0.2  # share of an arm's responses from which on a flag is warned of
ARM = ("model", "condition", "decoding")
SAID = {
    "cut": "cut off by max_tokens", "empty": "empty", "looping": "repeating themselves",
    "marked": "holding markers of a chat template", "repeated": "repeated word for word",
}  # fmt: skip
_LEAST_TRIPLES = 7  # word triples that every loop repeats: what repeats fewer is no loop, and need not be searched
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
    words = text.casefold().split()
    n_triples = len(words) - 2
    if n_triples - len(set(zip(words, words[1:], words[2:], strict=False))) < _LEAST_TRIPLES:
        return False
    words = np.array(words)
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
            "cut": _cut(answers),
            "empty": text.str.strip().eq(""),
            "looping": text.map(loops).astype(bool),
            "marked": text.map(lambda t: bool(_MARKERS.search(t))).astype(bool),
        },
        index=answers.index,
    )


def _cut(answers):
    """Whether responses ended by the limit of tokens; none where nobody says why they ended."""
    if "finish_reason" not in answers:
        return pd.Series(False, index=answers.index)
    return answers["finish_reason"].eq("length").fillna(False).astype(bool)


def warnings(coverage):
    """What a reader must know of the responses before any figure, in sentences.

    Parameters
    ----------
    coverage : pandas.DataFrame
        Table ``04_coverage``.

    Returns
    -------
    list of str
        Sentences on arms: responses that are often cut off, empty or loop, markers of a chat template, and arms that
        answer every prompt with one text alone. Empty where there is nothing to say.
    """
    by = list(ARM) if len(set(coverage["condition"])) > 1 else ["model", "decoding"]
    counts = [f"n_{_COUNTED[flag]}" for flag in FLAGS]
    sums = coverage.groupby(by)[["n_responses", *counts]].sum()
    shares = sums[counts].div(sums["n_responses"], axis=0)
    shares.columns = FLAGS
    said = []
    for name, row in shares[sums["n_responses"] > 0].iterrows():
        arm, told = " · ".join(name), {flag: SAID[flag] for flag in ("cut", "empty", "looping")}
        if row["cut"] == 1:
            said.append(f"{arm}: every response is cut off by max_tokens: raise it")
        said += [
            f"{arm}: {percent(row[f])} of responses are {words}" for f, words in told.items() if OFTEN <= row[f] < 1
        ]
        said += [f"{arm}: every response is {words}" for f, words in told.items() if row[f] == 1 and f != "cut"]
        if row["marked"] > 0:
            share = percent(row["marked"], 1)
            said.append(f"{arm}: {share} of responses hold markers of a chat template: check the template")
    several = coverage[coverage["n_responses"] > 1]
    same = (several["n_repeated"] == several["n_responses"] - 1).groupby([several[name] for name in by]).all()
    said += [
        f"{' · '.join(name)}: all responses to a prompt are identical, for every prompt: is temperature or seed lost?"
        for name in same[same].index
    ]
    return said


def told(coverage, most=4):
    """`warnings`, the first `most` of them, and how many more there are.

    Parameters
    ----------
    coverage : pandas.DataFrame
        Table ``04_coverage``.
    most : int

    Returns
    -------
    list of str
    """
    said = warnings(coverage)
    rest = [f"{counted(len(said) - most, 'more warning')} of this kind: see `04_coverage`"] if len(said) > most else []
    return said[:most] + rest


def note(shares):
    """Say what a caption must say of the responses, from `table.outcome_shares`: facts for `Study.comes_from`.

    Parameters
    ----------
    shares : pandas.DataFrame

    Returns
    -------
    dict of str to str
        ``soundness_note``, a sentence, where an arm has `OFTEN` or more responses that are cut off, empty, looping or
        hold markers; else empty.
    """
    said = []
    for name, flag in (("truncated", "cut"), ("empty", "empty"), ("looping", "looping"), ("marked", "marked")):
        often = shares[shares[name] >= OFTEN]
        if len(often):
            worst = often.loc[often[name].idxmax()]
            arms = f"{len(often)} of {counted(len(shares), 'arm')}"
            said.append(f"{SAID[flag]}: up to {percent(worst[name])} of responses, often in {arms}")
    return {"soundness_note": f"Responses {listed(said)}."} if said else {}


def beside(cells, coverage, responses):
    """Rates of unsound responses of every arm, beside its repetition with and without them.

    Parameters
    ----------
    cells : pandas.DataFrame
        Cells with mean_cosine and mean_cosine_sound, such as `repetition.originals` of table ``05_repetition``.
    coverage : pandas.DataFrame
        Table ``04_coverage``.
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Table ``05_soundness``: an arm per row. Both means are over prompts where two sound responses are left, and so
        is their difference (without minus with), with its interval over prompts.
    """
    kinds = responses.prompts["prompt_kind"]
    counts = coverage[coverage["prompt_id"].map(kinds) == "original"].groupby(list(ARM)).sum(numeric_only=True)
    rows = []
    for arm, own in cells.groupby(list(ARM), sort=True):
        known = own.dropna(subset=["mean_cosine", "mean_cosine_sound"])
        found = intervals.mean_interval((known["mean_cosine_sound"] - known["mean_cosine"]).to_numpy()[:, None])
        n = max(int(counts["n_responses"].get(arm, 0)), 1)
        shares = {flag: counts[f"n_{column}"].get(arm, 0) / n for flag, column in _COUNTED.items()}
        rows.append(
            dict(zip(ARM, arm, strict=True))
            | {"n_responses": int(own["n"].sum()), "n_sound": int(own["n_sound"].sum())}
            | shares
            | {"n_prompts": len(known), "with_all": known["mean_cosine"].mean()}
            | {"without": known["mean_cosine_sound"].mean(), "difference": float(found.estimate[0])}
            | {"lower": float(found.lower[0]), "upper": float(found.upper[0])}
        )
    return pd.DataFrame(rows)


_COUNTED = {"cut": "truncated", "empty": "empty", "looping": "looping", "marked": "marked", "repeated": "repeated"}


def says(table):
    """Say what leaving out unsound responses changes, from `beside`."""
    n, n_sound = int(table["n_responses"].sum()), int(table["n_sound"].sum())
    if n == n_sound:
        return "No response that is compared is cut off, repeats itself or holds a marker of a chat template"
    parts = ", ".join(
        f"{percent((table[flag] * table['n_responses']).sum() / n)} {SAID[flag]}"
        for flag in SAID
        if table[flag].gt(0).any()
    )
    found = table.dropna(subset=["difference"])
    sentence = f"{percent(1 - n_sound / n)} of responses compared are unsound ({parts})"
    if found.empty:
        return f"{sentence}; without them no cell has two responses left"
    row = found.loc[found["difference"].abs().idxmax()]
    change = estimate(row["difference"], row["lower"], row["upper"])
    return (
        f"{sentence}; without them mean similarity changes most for {row['model']} ({row['decoding']}): from "
        f"{number(row['with_all'])} to {number(row['without'])}, by {change}"
    )

"""Are responses more alike when asked in another language? Every language on its own floor, and two measurements.

An encoder may press the texts of one language together. So the floor of a language is that of random pairs of different
prompts in the same language under the same encoder; and what a multilingual encoder finds counts only if responses
translated into the reference language (its own translated there and back, as a placebo) show it too.
"""

from typing import NamedTuple

import numpy as np

from hivemind_utils.metrics import intervals, similarity

MORE, LESS, OPEN = "more alike", "less alike", "inconclusive"


class Alikeness(NamedTuple):
    """Repetition by language, each of shape (1 + n_prompts, n_languages): the estimate, then without each prompt.

    Attributes
    ----------
    within : ndarray of float
        Mean cosine of two responses of one arm to one prompt, arms and then prompts weighing equally.
    floor : ndarray of float
        Mean cosine of two responses to different prompts in the same language.
    above : ndarray of float
        (within - floor) / (1 - floor).
    """

    within: np.ndarray
    floor: np.ndarray
    above: np.ndarray


def alikeness(sums, counts):
    """Repetition above the floor of its language, with the floor in every replicate.

    Parameters
    ----------
    sums : ndarray of float, shape (n_prompts, n_arms, n_languages, n_dims)
        Sum of the unit vectors of the responses to a prompt by an arm in a language.
    counts : ndarray of int, shape (n_prompts, n_arms, n_languages)
        Two responses or more to every prompt in every language, by some arm: leave other prompts out, and say so.

    Returns
    -------
    Alikeness

    Raises
    ------
    ValueError
        With fewer than two prompts, or where a prompt lacks a language.

    Examples
    --------
    >>> sums = 2 * np.eye(3)[:, None, None, :]  # three prompts, each answered twice with one text of its own
    >>> found = alikeness(sums, np.full((3, 1, 1), 2))
    >>> found.within[0].tolist(), found.floor[0].tolist(), found.above[0].tolist()
    ([1.0], [0.0], [1.0])
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    if sums.ndim != 4 or counts.shape != sums.shape[:3]:
        raise ValueError(
            "Pass sums of shape (n_prompts, n_arms, n_languages, n_dims) and counts without the last axis, but "
            f"{sums.shape} and {counts.shape} were passed."
        )
    n_prompts = len(sums)
    if n_prompts < 2:
        raise ValueError(f"A floor needs two prompts or more, but {n_prompts} was passed. Translate more prompts.")
    own = similarity.repetition(sums, counts)
    known = ~np.isnan(own)
    if not known.any(1).all():
        raise ValueError("Every prompt needs two responses of an arm in every language: leave the others out.")
    by_prompt = np.where(known, own, 0).sum(1) / known.sum(1)
    left_out = np.vstack([np.ones(n_prompts), 1 - np.eye(n_prompts)])  # replicate × prompt
    within = left_out @ by_prompt / left_out.sum(1, keepdims=True)
    whole, n = sums.sum(1), counts.sum(1)  # prompt × language (× dimension)
    total = whole.sum(0) - np.concatenate([np.zeros_like(whole[:1]), whole])
    squares, n_total = left_out @ np.einsum("pld,pld->pl", whole, whole), left_out @ n
    pairs = n_total**2 - left_out @ n**2
    floor = np.full(pairs.shape, np.nan)
    np.divide(np.einsum("rld,rld->rl", total, total) - squares, pairs, out=floor, where=pairs > 0)
    return Alikeness(within, floor, (within - floor) / np.where(floor < 1, 1 - floor, np.nan))


def difference(found, language, reference):
    """Repetition above the floor in a language less that in the reference, with its interval over prompts.

    Parameters
    ----------
    found : Alikeness
    language, reference : int
        Places on the axis of languages.

    Returns
    -------
    intervals.Interval

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> found = SimpleNamespace(above=np.array([[0.1, 0.3], [0.2, 0.4], [0.1, 0.3]]))
    >>> round(float(difference(found, 1, 0).estimate), 2)
    0.2
    """
    return intervals.jackknife_interval(found.above[:, language] - found.above[:, reference])


def verdict(multilingual, translated):
    """What may be said of a language from two measurements: both must agree.

    Parameters
    ----------
    multilingual, translated : intervals.Interval or None
        Difference from the reference language under a multilingual encoder, and of responses translated into the
        reference language, its own there and back. None: not measured.

    Returns
    -------
    decision : str
        "more alike", "less alike" or "inconclusive".
    reason : str
        Why it is inconclusive; empty where it is not.

    Examples
    --------
    >>> from hivemind_utils.metrics.intervals import Interval
    >>> up, none = Interval(0.1, 0.05, 0.15, 0.02, 20), Interval(0, -0.05, 0.05, 0.02, 20)
    >>> verdict(up, up), verdict(up, none)[0]
    (('more alike', ''), 'inconclusive')
    """
    lacking = [
        name
        for name, found in (("a multilingual encoder", multilingual), ("translated responses", translated))
        if found is None or not np.isfinite([found.lower, found.upper]).all()
    ]
    if lacking:
        return OPEN, f"not measured: {' and '.join(lacking)}"
    signs = [int(found.lower > 0) - int(found.upper < 0) for found in (multilingual, translated)]
    if signs[0] == signs[1] != 0:
        return (MORE, "") if signs[0] > 0 else (LESS, "")
    if signs == [0, 0]:
        return OPEN, "neither measurement finds a difference"
    if 0 not in signs:
        return OPEN, "the two measurements contradict each other"
    if signs[0]:
        return OPEN, "the multilingual encoder alone finds a difference, which may be its own"
    return OPEN, "translated responses alone show a difference, which may be the translation's"

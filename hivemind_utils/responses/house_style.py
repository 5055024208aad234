"""A control of modes: what all responses of one model to a prompt share is taken away, then modes are sought again."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import clustering, similarity
from hivemind_utils.tables import ids

NAME = "modes without house style"


def control(responses, stable, rng, *, settings=None, progress=None):
    """Find the modes of every prompt after each arm's mean has been taken from its responses.

    Responses of one model in a template of its own make a mode, whatever they say. What is left without the mean of
    their cell is how they differ from each other.

    Parameters
    ----------
    responses : Responses
    stable : pandas.Series
        Stable mode by response_id, from `modes.stable_of_responses`: other responses stay outside of all modes, so that
        both count the same responses.
    rng : numpy.random.Generator
        Gives one number, from which every prompt has a generator of its own.
    settings : dict, optional
        Of `clustering.find_modes`.
    progress : callable, optional

    Returns
    -------
    dict of str to pandas.Series
        `NAME` and the mode by response_id, ``<NA>`` outside of all. Equal responses of a cell are one mode.
    """
    start = int(rng.integers(2**62))
    generators = (ids.generator(start, prompt_id) for prompt_id in responses.prompt_order)
    parts = list(responses.map(_part, generators, progress=progress, settings=settings or {}))
    found = pd.concat(parts) if parts else pd.Series(dtype="Int64")
    return {NAME: found.where(stable.reindex(found.index).notna().to_numpy())}


def _part(responses, rng, *, settings):
    labels = modes_of(responses.vectors, responses.table["arm"].to_numpy(), rng, **settings)
    found = pd.Series(labels, responses.table["response_id"].to_numpy(), dtype="Int64")
    return found.mask(found == clustering.NOISE)


def modes_of(vectors, arms, rng, **settings):
    """Modes of one prompt's responses without the mean of their arm.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_responses, n_dims)
    arms : ndarray, shape (n_responses,)
    rng : numpy.random.Generator
    **settings
        Of `clustering.find_modes`.

    Returns
    -------
    ndarray of int, shape (n_responses,)
        -1 outside of all modes.

    Examples
    --------
    >>> modes_of(np.eye(4)[[0, 0, 1, 1]], np.array(list("aabb")), np.random.default_rng(0))
    array([0, 0, 1, 1])
    """
    unit = similarity.unit_rows(np.asarray(vectors)).astype(float)
    codes = np.unique(arms, return_inverse=True)[1]
    means = np.zeros((codes.max(initial=-1) + 1, unit.shape[1]))
    np.add.at(means, codes, unit)
    rest = unit - (means / np.bincount(codes)[:, None])[codes]
    differs = np.linalg.norm(rest, axis=1) > 1e-6
    labels = np.full(len(unit), clustering.NOISE)
    if differs.any():
        labels[differs] = clustering.find_modes(rest[differs], rng, **settings)
    same = np.unique(codes[~differs], return_inverse=True)[1]
    labels[~differs] = labels.max(initial=clustering.NOISE) + 1 + same
    return labels

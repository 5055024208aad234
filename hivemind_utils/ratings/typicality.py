"""Whether scorers prefer typical responses at equal human mean."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import calibration, diversity, words


def pluralism_table(made, typicality, lengths, persons, *, n_splits, rng):
    """Taste for the typical answer, every scorer: ``09_pluralism``.

    Parameters
    ----------
    typicality, lengths : ndarray of float, shape (n_items,)
        NaN where the response has no pool or no text.
    """
    rows = []
    several = (~np.isnan(made["values"])).sum(1) > 1
    for s, generator in enumerate(rng.spawn(len(made["scores"]))):
        known = several & ~np.isnan(typicality) & (lengths > 0) & ~np.isnan(made["scores"][s])
        groups = np.unique(made["groups"][known], return_inverse=True)[1]
        if len(groups) < 10 or groups.max() < 2 or np.ptp(made["scores"][s, known]) == 0:
            continue
        found = calibration.pluralism(
            made["scores"][s, known],
            made["values"][known],
            typicality[known],
            np.log(lengths[known]),
            groups,
            n_splits,
            generator,
            persons=None if persons is None else persons[known],
        )
        rows.append(
            made["scorers"].iloc[s].to_dict()
            | {name: found[name].item() for name in ("coefficient", "lower", "upper")}
            | {"n": int(known.sum())}
        )
    return pd.DataFrame(rows, columns=["scorer", "kind", "coefficient", "lower", "upper", "n"])


def typicality(items, pool):
    """Mean TF-IDF cosine of every rated response to all pool answers of its prompt but itself.

    Parameters
    ----------
    items : pandas.DataFrame
        With prompt and response_1.
    pool : pandas.DataFrame
        prompt and response.

    Returns
    -------
    ndarray of float, shape (n_items,)
        NaN where the pool has no other answer to the prompt.
    """
    found = np.full(len(items), np.nan)
    answers = pool.drop_duplicates(["prompt", "response"]).groupby("prompt")["response"].agg(list)
    for prompt, rows in items.groupby("prompt").indices.items():
        others = answers.get(prompt, [])
        rated = items["response_1"].iloc[rows].tolist()
        vectors = diversity.lexical_vectors(words.word_lists([*rated, *others]))
        cosines = (vectors[: len(rated)] @ vectors[len(rated) :].T).toarray()
        different = np.array([[text != other for other in others] for text in rated])
        n = different.sum(1)
        found[rows] = np.divide((cosines * different).sum(1), n, out=np.full(len(rated), np.nan), where=n > 0)
    return found

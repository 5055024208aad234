"""Design an annotation study: pick responses and pairs from a pool, write the sheets people fill in.

Filled sheets are read back by `ratings.read` as they are: one label per row, with the annotator's name.
"""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, words
from hivemind_utils.tables import files
from hivemind_utils.tables import ids as table_ids
from hivemind_utils.tables.wording import counted


def pick_one_per_cluster(vectors, n_clusters, rng):
    """Cluster the responses of a prompt and pick one at random from every cluster.

    Parameters
    ----------
    vectors : ndarray or sparse matrix of float, shape (n_responses, n_dims)
    n_clusters : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (min(n_clusters, distinct responses),)
        Rows, in random order.
    """
    from sklearn.cluster import KMeans

    n_responses = vectors.shape[0]
    if n_responses <= n_clusters:
        return rng.permutation(n_responses)
    model = KMeans(n_clusters, n_init=3, random_state=int(rng.integers(2**31)))
    clusters = model.fit_predict(vectors)
    return rng.permutation([rng.choice(np.flatnonzero(clusters == c)) for c in np.unique(clusters)])


def choose_pairs(n_responses, n_pairs, rng):
    """Choose different pairs of responses in which all of them occur about equally often, in random order.

    Parameters
    ----------
    n_responses, n_pairs : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n_pairs, 2)

    Raises
    ------
    ValueError
        If there are not so many different pairs.
    """
    most = n_responses * (n_responses - 1) // 2
    if not 0 <= n_pairs <= most:
        raise ValueError(f"{n_responses} responses make {most} pairs, but n_pairs = {n_pairs} was passed.")
    left, right = np.triu_indices(n_responses, 1)
    used, chosen, free = np.zeros(n_responses), [], np.ones(most, bool)
    for _ in range(n_pairs):
        # The pair whose responses were used least; among equals at random.
        cost = np.where(free, np.maximum(used[left], used[right]) * n_responses + used[left] + used[right], np.inf)
        pick = int(rng.choice(np.flatnonzero(cost == cost.min())))
        free[pick] = False
        used[[left[pick], right[pick]]] += 1
        chosen.append((left[pick], right[pick]))
    return rng.permuted(np.array(chosen, dtype=int).reshape(-1, 2), axis=1)


def sheets(pool, n_picked, n_pairs, rng):
    """Sheets of a study: for every prompt one form of responses to rate and one of pairs to compare.

    Parameters
    ----------
    pool : pandas.DataFrame
        ``prompt`` and ``response``; equal responses of a prompt count once.
    n_picked, n_pairs : int
        Responses and pairs per prompt (paper: 15 and 10).
    rng : numpy.random.Generator
        Order of the questions and of the two responses too.

    Returns
    -------
    dict of str to pandas.DataFrame
        Name of the sheet, such as ``absolute_003``, to its rows: form_id, question, item_id, prompt, response_1,
        response_2 (pairs), annotator and label, which are empty.
    """
    made = {}
    prompts = pool.drop_duplicates(["prompt", "response"]).groupby("prompt", sort=True)["response"]
    for number, ((prompt, responses), generator) in enumerate(zip(prompts, rng.spawn(len(prompts)), strict=True)):
        texts = sorted(responses)
        vectors = diversity.lexical_vectors(words.word_lists(texts))
        picked = [texts[i] for i in pick_one_per_cluster(vectors, n_picked, generator)]
        most = len(picked) * (len(picked) - 1) // 2
        pairs = [
            {"response_1": picked[a], "response_2": picked[b]}
            for a, b in choose_pairs(len(picked), min(n_pairs, most), generator)
        ]
        for kind, rows in (("absolute", [{"response_1": text} for text in picked]), ("pairs", pairs)):
            sheet = pd.DataFrame(rows, columns=["response_1", "response_2"][: 1 + (kind == "pairs")])
            ids = [table_ids.text_id(f"{kind} {prompt} {' | '.join(row)}") for row in sheet.itertuples(index=False)]
            form = f"{kind}_{number:03d}"
            places = {"form_id": form, "question": range(1, len(sheet) + 1), "item_id": ids, "prompt": prompt}
            made[form] = pd.DataFrame(places).join(sheet).assign(annotator="", label="")
    return made


def write_sheets(made, folder):
    """Write every sheet as a CSV file; a sheet that stands there already, filled perhaps, is never overwritten.

    Returns
    -------
    int
        Sheets written.
    """
    written = 0
    for name, sheet in made.items():
        target = folder / f"{name}.csv"
        if not target.exists():
            with files.atomic(target) as temporary:
                files.neutral(sheet).to_csv(temporary, index=False)
            written += 1
    return written


def write_study(study, pool, n_picked, n_pairs):
    """Design a study from a pool of responses and write its sheets to ``data/<profile>/sheets``.

    Parameters
    ----------
    study : Study
    pool : pandas.DataFrame or None
        ``prompt`` and ``response``.
    n_picked, n_pairs : int
        See `sheets`.

    Returns
    -------
    str
        What was written, in a sentence.
    """
    if pool is None:
        return "No pool of responses (`pool_path`): no sheets are written."
    made = sheets(pool, n_picked, n_pairs, study.rng)
    written = write_sheets(made, study.folder / "sheets")
    return (
        f"{len(pool):,} responses to {counted(pool['prompt'].nunique(), 'prompt')}; "
        f"{counted(len(made), 'sheet')}, {written} of them new"
    )

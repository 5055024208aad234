"""Whether scorers prefer typical responses at equal human means."""

import numpy as np

from hivemind_utils.metrics import diversity, words
from hivemind_utils.metrics import typicality as metrics
from hivemind_utils.tables.schema import empty

LEAST_ITEMS, LEAST_PROMPTS = 10, 3


def preference_table(scored, pool, n_splits, rng):
    """How much typicality adds to the score of every scorer at equal human means and lengths: ``09_pluralism``.

    Parameters
    ----------
    scored : dict of str to Scored
    pool : pandas.DataFrame or None
        All responses to the prompts: ``prompt`` and ``response``.
    n_splits : int
        Random halves of the annotators.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Empty without ratings, without a pool, or where no response has a text; scorers of fewer than 10 items or 3
        prompts are left out.
    """
    part = scored.get("absolute")
    if part is None or pool is None or part.items.table["response_1"].isna().all():
        return empty("09_pluralism")
    items = part.items
    typical = typicality(items.table, pool)
    lengths = items.table["response_1"].str.len().fillna(0).to_numpy(float)
    log_length = np.log(lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)
    found = metrics.typicality_preference(
        part.scores, items.values, typical, log_length, items.prompts, n_splits, rng, persons=items.persons
    )
    known = ~np.isnan(part.scores) & ~np.isnan(typical) & ~np.isnan(log_length)
    several = (~np.isnan(items.values)).sum(1) > 1
    n = (known & several).sum(1)
    table = part.scorers.assign(coefficient=found.estimate, lower=found.lower, upper=found.upper, n=n)
    enough = (n >= LEAST_ITEMS) & (found.n_prompts >= LEAST_PROMPTS) & ~np.isnan(found.estimate)
    return table[enough].reset_index(drop=True)


def typicality(items, pool):
    """Mean TF-IDF cosine of every rated response to all pool responses of its prompt but itself.

    Parameters
    ----------
    items : pandas.DataFrame
        With prompt and response_1.
    pool : pandas.DataFrame
        prompt and response.

    Returns
    -------
    ndarray of float, shape (n_items,)
        NaN where the pool has no other response to the prompt.
    """
    found = np.full(len(items), np.nan)
    responses = pool.drop_duplicates(["prompt", "response"]).groupby("prompt")["response"].agg(list)
    for prompt, rows in items.groupby("prompt").indices.items():
        others = responses.get(prompt, [])
        rated = items["response_1"].iloc[rows].tolist()
        vectors = diversity.lexical_vectors(words.word_lists([*rated, *others]))
        cosines = (vectors[: len(rated)] @ vectors[len(rated) :].T).toarray()
        different = np.array([[text != other for other in others] for text in rated])
        n = different.sum(1)
        found[rows] = np.divide((cosines * different).sum(1), n, out=np.full(len(rated), np.nan), where=n > 0)
    return found

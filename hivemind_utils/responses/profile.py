"""Ideas of every arm from rare to common, at equal numbers of responses and at equal coverage, for notebook 07.

An arm may have one dominant idea and a long tail: Hill numbers of every order show both in one line. Equally many
responses need not have seen equal shares of what an arm would say: coverage is that share, and arms are compared at
equal coverage too.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hivemind_utils.metrics import coverage, intervals
from hivemind_utils.tables import schema

ORDERS = coverage.PROFILE_ORDERS
EQUAL_ORDERS = (0, 1, 2)
MAX_DRAWS = 200  # for the infinite order, which has no closed form at a size


class Profiles(NamedTuple):
    """Tables ``07_profiles`` and ``07_coverage``."""

    profiles: pd.DataFrame
    coverage: pd.DataFrame


def of_arms(responses, ideas, rng):
    """Hill numbers and coverage of every arm, by every source of ideas.

    Parameters
    ----------
    responses : Responses
    ideas : dict of str to pandas.Series
        As in `modes.dominant_shares`: responses that a series lacks stay out, those it has as NaN have an idea of their
        own.
    rng : numpy.random.Generator
        For Hill numbers of infinite order.

    Returns
    -------
    Profiles
        Profiles compare arms at the number of responses that every arm reaches on half of its prompts; cells with
        fewer stay out and are counted. Empty where there are no ideas.
    """
    lines, covered = [], []
    for name, idea_of in ideas.items():
        cells = idea_counts(responses, idea_of)
        if cells.empty:
            continue
        cells["respondent"] = [
            "people" if responses.model_of[arm] in responses.people else "model" for arm in cells["arm"]
        ]
        lines.append(profiles(cells, rng).assign(ideas=name))
        covered.append(at_equal_coverage(cells).assign(ideas=name))
    tables = [pd.concat(parts, ignore_index=True) if parts else None for parts in (lines, covered)]
    names = ("07_profiles", "07_coverage")
    return Profiles(*(_empty(name) if table is None else table for name, table in zip(names, tables, strict=True)))


def idea_counts(responses, idea_of):
    """Responses per idea of every cell: arm, prompt_id, n and counts (one array per cell)."""
    known = responses.columns("response_id", "arm", "prompt_id")
    known = known[known["response_id"].isin(idea_of.index)]
    ideas = known["response_id"].map(idea_of)
    own = "\0" + known["response_id"].astype(str)
    labelled = known.assign(idea=ideas.astype(object).where(ideas.notna(), own))
    rows = [
        (*key, len(cell), cell["idea"].value_counts().to_numpy())
        for key, cell in labelled.groupby(["arm", "prompt_id"], sort=True)
    ]
    return pd.DataFrame(rows, columns=["arm", "prompt_id", "n", "counts"])


def profiles(cells, rng):
    """Mean Hill numbers over prompts at a common number of responses, one row per arm and order.

    Parameters
    ----------
    cells : pandas.DataFrame
        From `idea_counts`, with `respondent`.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        arm, respondent, n (responses), n_prompts, n_left_out (prompts with fewer), order, hill, lower, upper.
    """
    size = int(cells.groupby("arm")["n"].median().min())
    rows = []
    for (arm, kind), own in cells.groupby(["arm", "respondent"]):
        full = own[own["n"] >= size]
        values = np.array([hill_profile_at(counts, size, rng) for counts in full["counts"]])
        found = intervals.mean_interval(values).within(1, size)
        for order, *three in zip(ORDERS, found.estimate, found.lower, found.upper, strict=True):
            rows.append((arm, kind, size, len(full), len(own) - len(full), float(order), *map(float, three)))
    names = ["arm", "respondent", "n", "n_prompts", "n_left_out", "order", "hill", "lower", "upper"]
    return pd.DataFrame(rows, columns=names)


def hill_profile_at(counts, size, rng):
    """Hill numbers of `ORDERS` of some of a cell's responses; the infinite order is a mean over draws.

    Parameters
    ----------
    counts : sequence of int
    size : int
        1 to their sum.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_orders,)

    Examples
    --------
    >>> hill_profile_at([5, 2, 1, 1, 1], 10, np.random.default_rng(0)).round(6)[[0, 2, 4, 6]]
    array([5.     , 3.89322, 3.125  , 2.     ])
    """
    counts = np.asarray(counts)
    if size == counts.sum():
        return coverage.hill_profile(counts, ORDERS)
    finite = coverage.hill_at_size(counts, size, ORDERS[:-1])
    largest = rng.multivariate_hypergeometric(counts, size, MAX_DRAWS).max(1).mean()
    return np.append(finite, size / largest)


def at_equal_coverage(cells):
    """Coverage of every arm, unseen ideas, and Hill numbers at the coverage of the arm that has least, by prompt.

    Parameters
    ----------
    cells : pandas.DataFrame
        From `idea_counts`, with `respondent`.

    Returns
    -------
    pandas.DataFrame
        Table ``07_coverage`` without `ideas`: means over prompts with jackknife intervals. Prompts on which an arm has
        too few responses, or too little coverage, compare coverage only; they are counted.
    """
    rows = []
    for prompt_id, own in cells.groupby("prompt_id"):
        found = coverage.compare_at_coverage(list(own["counts"]), EQUAL_ORDERS)
        for k, cell in enumerate(own.itertuples(index=False)):
            chao = coverage.chao1_interval(cell.counts)
            rows.append(
                {
                    "arm": cell.arm, "respondent": cell.respondent, "prompt_id": prompt_id, "n": cell.n,
                    "coverage": found.coverage[k], "target": found.target if not found.reason else np.nan,
                    "observed": chao.observed, "estimated": chao.estimate, "least": chao.lower, "most": chao.upper,
                } | {f"hill_{q}": found.hill[k, j] for j, q in enumerate(EQUAL_ORDERS)}
            )  # fmt: skip
    by_prompt = pd.DataFrame(rows)
    table = []
    for (arm, kind), own in by_prompt.groupby(["arm", "respondent"]):
        compared = own[own["target"].notna()]
        covered = intervals.share_interval(own["coverage"])
        row = {
            "arm": arm, "respondent": kind, "n": float(own["n"].mean()), "n_prompts": len(own),
            "n_compared": len(compared), "coverage": float(covered.estimate), "coverage_lower": float(covered.lower),
            "coverage_upper": float(covered.upper), "ideas_seen": float(own["observed"].mean()),
            "chao1": float(own["estimated"].mean()), "n_chao1_intervals": int(own["least"].notna().sum()),
            "chao1_lower": float(own["least"].mean()), "chao1_upper": float(own["most"].mean()),
        }  # fmt: skip
        for q in EQUAL_ORDERS:
            hill = intervals.mean_interval(compared[f"hill_{q}"].to_numpy(float))
            row |= {f"hill_{q}": float(hill.estimate), f"hill_{q}_lower": float(hill.lower)}
            row |= {f"hill_{q}_upper": float(hill.upper)}
        table.append(row)
    return pd.DataFrame(table)


def _empty(name):
    """Table without rows."""
    kinds = {"str": "str", "int": int, "float": float}
    return pd.DataFrame({column.name: pd.Series(dtype=kinds[column.type]) for column in schema.TABLES[name].columns})


def best(table):
    """Rows of the best source of ideas: the one passed last to `of_arms`."""
    return table[table["ideas"] == table["ideas"].iloc[-1]] if len(table) else table

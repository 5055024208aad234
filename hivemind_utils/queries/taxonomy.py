"""Kinds of open-ended queries: the taxonomy, labels in its names, shares, co-occurrence, and kinds it lacks."""

import re
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, Field

from hivemind_utils.metrics.agreement import krippendorff_alpha
from hivemind_utils.metrics.similarity import unit_rows
from hivemind_utils.tables import files

PUBLISHED_NOVEL = 314  # arXiv 2510.22954, section 3: new categories after cleaning


PUBLISHED_AGREEMENT = 0.747  # people with the automatic labels; how it was measured is not told


N_PUBLISHED = 26_070


LEAST_GROUP = 10  # queries of a month or a model that are shown


class Category(BaseModel):
    """One kind a query is of."""

    category: str = Field(min_length=1)
    type: Literal["predefined", "new"]
    justification: str = ""


class Kinds(BaseModel):
    """The published schema; what a labeller must answer."""

    query: str
    categories: list[Category]


@dataclass(frozen=True)
class Taxonomy:
    """Leaves with their level, definition, example and published percent; and every known spelling."""

    leaves: pd.DataFrame
    spellings: dict[str, str]

    def find(self, name):
        """Leaf a name stands for, or None: whole names only, never a part of one."""
        return self.spellings.get(_key(name))

    @property
    def levels(self):
        """Top level of every leaf."""
        return self.leaves.set_index("name")["level"].to_dict()

    def prompt(self):
        """Lines that offer every leaf to a labeller, with its definition."""
        return "\n".join(f"- {leaf.name}: {leaf.definition}" for leaf in self.leaves.itertuples())


def load(path):
    """Read a taxonomy such as ``data/reference/taxonomy.yaml``.

    Raises
    ------
    ValueError
        If one spelling stands for two leaves.
    """
    with open(files.resolve(path), encoding="utf-8") as file:
        raw = yaml.safe_load(file)
    entries = [leaf | {"level": level["level"]} for level in raw["levels"] for leaf in level["leaves"]]
    entries += raw.get("also_offered") or []
    spellings = {}
    for entry in entries:
        for spelling in (entry["name"], *entry.get("aliases", [])):
            if spellings.setdefault(_key(spelling), entry["name"]) != entry["name"]:
                raise ValueError(f"{spelling!r} stands for {spellings[_key(spelling)]!r} and for {entry['name']!r}.")
    columns = ["name", "level", "definition", "example", "published"]
    order = list(dict.fromkeys(entry["level"] for entry in entries))
    entries.sort(key=lambda entry: order.index(entry["level"]))
    return Taxonomy(pd.DataFrame(entries).reindex(columns=columns), spellings)


def clean_name(name):
    """Name of a new category without what the labeller puts around it ("New Category:", "(New)", ...).

    Source: the list of prefixes is the one the paper's authors cleaned (arXiv 2510.22954, Figure 3).
    """
    name = re.sub(r"^\W*\(?\s*new\b\s*(category)?\s*\)?\s*[:–-]*\s*|\(\s*new\s*\)\s*$", "", name.strip(), flags=re.I)
    return " ".join(name.strip(" :.-–\"'*").split())


def categorise(votes, taxonomy, min_share=0.5):
    """Turn votes into one row per query and category named by at least a share of the query's votes.

    Parameters
    ----------
    votes : pandas.DataFrame
        query_id, vote, value ({"categories": [{"category", "type"}, ...]} or None).
    taxonomy : Taxonomy
    min_share : float
        Least share of valid votes. New categories are kept whatever their share: they rarely come twice.

    Returns
    -------
    categories : pandas.DataFrame
        Table ``03_categories``; a name given twice in one vote counts once, and a name the taxonomy knows is
        predefined whatever the labeller calls it.
    named : pandas.DataFrame
        query_id, vote, category, kind: every name of every valid vote.
    n_votes : pandas.Series
        Valid votes of every query that has any.
    """
    valid = votes[[isinstance(value, dict) and isinstance(value.get("categories"), list) for value in votes["value"]]]
    n_votes = valid.groupby("query_id").size()
    rows = []
    for row in valid.itertuples():
        for given in row.value["categories"]:
            name = given.get("category")
            if isinstance(name, str) and clean_name(name):
                leaf = taxonomy.find(name) or taxonomy.find(clean_name(name))
                rows.append((row.query_id, row.vote, leaf or clean_name(name), "predefined" if leaf else "new"))
    named = pd.DataFrame(rows, columns=["query_id", "vote", "category", "kind"]).drop_duplicates()
    counted = named.groupby(["query_id", "category", "kind"]).size().rename("n").reset_index()
    counted["vote_share"] = counted["n"] / counted["query_id"].map(n_votes)
    counted = counted[(counted["vote_share"] >= min_share) | counted["kind"].eq("new")]
    level = counted["category"].map(taxonomy.levels).where(counted["kind"].eq("predefined"), "new")
    table = counted.assign(level=level)[["query_id", "category", "level", "kind", "vote_share"]]
    return table.sort_values(["query_id", "category"], ignore_index=True), named, n_votes


def shares(categories, taxonomy, n_queries):
    """Share of queries of every leaf with its Wilson interval, beside the published one.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    taxonomy : Taxonomy
    n_queries : int
        Queries with a valid label, those without any category included.

    Returns
    -------
    pandas.DataFrame
        category, level, n, share, lower, upper, published; in the taxonomy's order, unseen leaves with 0.
    """
    from scipy.stats import binomtest

    if n_queries < 1:
        raise ValueError("There is no labelled query: shares cannot be computed.")
    counts = categories.loc[categories["kind"].eq("predefined"), "category"].value_counts()
    table = taxonomy.leaves[["name", "level"]].rename(columns={"name": "category"})
    table["n"] = table["category"].map(counts).fillna(0).astype(int)
    bounds = [binomtest(n, n_queries).proportion_ci(method="wilson") for n in table["n"]]
    return table.assign(
        share=table["n"] / n_queries,
        lower=[bound.low for bound in bounds],
        upper=[bound.high for bound in bounds],
        published=taxonomy.leaves["published"] / 100,
    )


def cooccurrence(categories, n_queries):
    """How often two leaves are given to one query, against what independent leaves would do.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    n_queries : int

    Returns
    -------
    pandas.DataFrame
        a, b (a before b in the alphabet), n, expected, lift (n / expected).
    """
    known = categories[categories["kind"].eq("predefined")]
    counts = known["category"].value_counts()
    together = {pair: 0 for pair in combinations(sorted(counts.index), 2)}
    for _, names in known.groupby("query_id")["category"]:
        for pair in combinations(sorted(names), 2):
            together[pair] += 1
    table = pd.DataFrame([(*pair, n) for pair, n in together.items()], columns=["a", "b", "n"])
    table["expected"] = table["a"].map(counts) * table["b"].map(counts) / n_queries
    return table.assign(lift=table["n"] / table["expected"])


def trends(categories, facts, time_unit, kinds):
    """Share of some kinds among the queries of every time and of every model, with Wilson intervals.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    facts : pandas.DataFrame
        query_id, timestamp (ISO), model; one row a labelled query, missing where not known.
    time_unit : {"month", "quarter", "year"}
    kinds : sequence of str
        Categories wanted.

    Returns
    -------
    pandas.DataFrame
        by (the time unit, or "model"), group, category, n_queries, share, lower, upper. Groups of fewer than
        `LEAST_GROUP` queries are left out.
    """
    from scipy.stats import binomtest

    periods = {"month": "M", "quarter": "Q", "year": "Y"}
    if time_unit not in periods:
        raise ValueError(f"`time_unit` must be one of {list(periods)}, but {time_unit!r} was passed.")
    time = pd.to_datetime(facts["timestamp"], errors="coerce", utc=True).dt.tz_localize(None)
    groups = {time_unit: time.dt.to_period(periods[time_unit]).astype(str).where(time.notna()), "model": facts["model"]}
    having = {kind: set(categories.loc[categories["category"] == kind, "query_id"]) for kind in kinds}
    rows = []
    for by, group in groups.items():
        for name, ids in facts.groupby(group.to_numpy(object))["query_id"]:
            if len(ids) < LEAST_GROUP:
                continue
            for kind in kinds:
                n = int(ids.isin(having[kind]).sum())
                bound = binomtest(n, len(ids)).proportion_ci(method="wilson")
                rows.append((by, name, kind, len(ids), n / len(ids), bound.low, bound.high))
    return pd.DataFrame(rows, columns=["by", "group", "category", "n_queries", "share", "lower", "upper"])


def stability(named, n_votes):
    """Krippendorff's alpha between the votes of one query, leaf by leaf.

    Parameters
    ----------
    named : pandas.DataFrame
        From `categorise`.
    n_votes : pandas.Series
        Valid votes of every query.

    Returns
    -------
    pandas.Series
        Alpha by category; empty where no query has two votes. NaN where a leaf never occurs.
    """
    several = n_votes[n_votes > 1]
    if several.empty:
        return pd.Series(dtype=float)
    votes = several.max()
    there = np.arange(votes) < several.to_numpy()[:, None]
    known = named[named["kind"].eq("predefined") & named["query_id"].isin(several.index)]
    alphas = {}
    for name, rows in known.groupby("category"):
        yes = rows.groupby("query_id").size().reindex(several.index, fill_value=0).to_numpy()[:, None]
        labels = np.where(
            there, (np.arange(votes) < yes).astype(float), np.nan
        )  # votes have no identity: order is free
        alphas[name] = krippendorff_alpha(labels)
    return pd.Series(alphas, dtype=float)


def merge_novel(names, counts, vectors, threshold):
    """Group names of new categories by meaning; a group is called by its medoid.

    Average-linkage clustering of cosine distances, cut at 1 - threshold.

    Parameters
    ----------
    names : sequence of str
        Distinct.
    counts : sequence of int
        Queries each was given to; the medoid is nearest to all members, weighed by these.
    vectors : ndarray of float, shape (n_names, n_dims)
        Embeddings of the names.
    threshold : float
        Mean cosine similarity down to which groups are joined.

    Returns
    -------
    pandas.DataFrame
        Table ``03_novel``: name, n, merged, cosine.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    frame = pd.DataFrame({"name": list(names), "n": np.asarray(counts, int)})
    if frame.empty:
        return frame.astype({"name": str}).assign(merged=pd.Series(dtype=str), cosine=pd.Series(dtype=float))
    rows = unit_rows(vectors)
    cosines = np.clip(rows @ rows.T, -1, 1)
    group = np.ones(1, int)
    if len(frame) > 1:
        distances = squareform(1 - (cosines + cosines.T) / 2, checks=False)
        group = fcluster(linkage(np.clip(distances, 0, 2), "average"), 1 - threshold, "distance")
    medoid = np.empty(len(frame), int)
    for label in np.unique(group):
        members = np.flatnonzero(group == label)
        centrality = cosines[np.ix_(members, members)] @ frame["n"].to_numpy()[members]
        medoid[members] = members[np.lexsort((frame["name"].to_numpy()[members], -centrality.round(6)))[0]]
    merged = frame["name"].to_numpy()[medoid]
    table = frame.assign(merged=merged, cosine=cosines[np.arange(len(frame)), medoid])
    return table.sort_values(["merged", "n", "name"], ascending=[True, False, True], ignore_index=True)


def draft(seed):
    """Text of a taxonomy to edit, from queries that people labelled by hand.

    Parameters
    ----------
    seed : pandas.DataFrame
        query and kinds, several separated by ";".

    Returns
    -------
    str
        YAML in the form of ``taxonomy.yaml``: the commonest kinds first, each with one of its queries.
    """
    rows = seed.assign(kind=seed["kinds"].str.split(";")).explode("kind")
    rows["kind"] = rows["kind"].fillna("").str.strip()
    rows = rows[rows["kind"] != ""]
    rows["key"] = rows["kind"].map(_key)
    leaves = []
    for _, group in sorted(rows.groupby("key"), key=lambda item: (-len(item[1]), item[0])):
        names = group["kind"].value_counts().index
        leaves.append(
            {"name": names[0], "definition": "", "example": group["query"].iloc[0], "published": None, "aliases": []}
        )
    levels = [{"level": "To be grouped", "leaves": leaves}]
    return yaml.safe_dump({"levels": levels}, sort_keys=False, allow_unicode=True, width=120)


def _key(name):
    """Compare names without case, punctuation and the difference between "and" and "&"."""
    return " ".join(re.findall(r"\w+", name.casefold().replace("&", " and ")))

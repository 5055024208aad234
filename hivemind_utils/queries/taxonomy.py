"""Categories of open-ended queries: the taxonomy, labels in its names, shares, co-occurrence, and what it lacks."""

import re
from dataclasses import dataclass
from itertools import combinations
from string import Template
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, Field

from hivemind_utils.metrics.agreement import krippendorff_alpha
from hivemind_utils.metrics.intervals import mean_interval, ratio_interval
from hivemind_utils.metrics.shares import wilson
from hivemind_utils.metrics.similarity import unit_rows
from hivemind_utils.queries import labels as query_labels
from hivemind_utils.queries import sheets
from hivemind_utils.tables import files, yes_no

LEAST_GROUP = 10  # queries of a month or a model that are shown


ANSWERS = {"agree": yes_no.yes_or_no}  # the column that annotators fill


class Category(BaseModel):
    """One category of a query."""

    category: str = Field(min_length=1)
    type: Literal["predefined", "new"]
    justification: str = ""


class Categories(BaseModel):
    """The published schema: what a labeller must return."""

    ECHO: ClassVar[dict] = {"query": "query"}  # a label of another message is none

    query: str
    categories: list[Category]


@dataclass(frozen=True)
class Taxonomy:
    """Leaves with their level, definition and example; and every known spelling."""

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
    """Read a taxonomy such as ``data/reference/taxonomy.yaml``; the path is relative to the project.

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
    columns = ["name", "level", "definition", "example"]
    order = list(dict.fromkeys(entry["level"] for entry in entries))
    entries.sort(key=lambda entry: order.index(entry["level"]))
    return Taxonomy(pd.DataFrame(entries).reindex(columns=columns), spellings)


def open_queries(open_ended, n_queries=None):
    """Return the rows of ``02_open_ended`` called open, ordered by id; at most `n_queries`, where it is given."""
    is_open = open_ended["response_type"] == "open"
    return open_ended[is_open].sort_values("query_id", ignore_index=True).head(n_queries)


def facts(queries, n_votes):
    """Return query_id, timestamp and model of the labelled queries that ``01_queries`` holds."""
    is_labelled = queries["query_id"].isin(n_votes.index)
    return queries.loc[is_labelled, ["query_id", "timestamp", "model"]]


def collect(study, queries, labels_from, labeller, taxonomy, *, paths=None):
    """Collect categories of open-ended queries, whichever source they come from.

    Parameters
    ----------
    study : Study
    queries : pandas.DataFrame
        Rows of ``02_open_ended``; their minimal rewrite is what is labelled.
    labels_from : {"demo", "llm", "released"}
        A simulated or a real language model, or the authors' release.
    labeller : Labeller
        The model to ask, where one is asked.
    taxonomy : Taxonomy
        What the model is offered.
    paths : str or list of str, optional
        Files of released labels.

    Returns
    -------
    QueryLabels

    Raises
    ------
    ValueError
        If no query has a label, or the source is unknown.
    """
    if labels_from in ("demo", "llm"):
        offered = taxonomy.prompt().replace("$", "$$")
        instructions = Template(labeller.instructions()).safe_substitute(categories=offered)
        return query_labels.ask(study, queries, "revised", instructions, Categories, labeller)
    if labels_from != "released":
        raise ValueError(f"`labels_from` must be demo, llm or released, but {labels_from!r} was passed.")
    found, origin = query_labels.label_files(paths)
    votes = query_labels.read_released(found)[2]
    votes = votes[votes["query_id"].isin(queries["query_id"])]
    if not votes["value"].notna().any():
        raise ValueError("No open query has a label: labels and 02_open_ended share no query.")
    return query_labels.given(queries[queries["query_id"].isin(votes["query_id"])], votes, origin)


def published_shares(paper, taxonomy):
    """Share of queries in the paper by leaf, as far as the claims hold one.

    Parameters
    ----------
    paper : Paper
    taxonomy : Taxonomy

    Returns
    -------
    dict of str to float
    """
    claims = {name: claim_of(name) for name in taxonomy.leaves["name"]}
    return {name: paper.number(claim) / 100 for name, claim in claims.items() if claim in paper}


def claim_of(category):
    """Id of the claim that states a category's share.

    Examples
    --------
    >>> claim_of("Brainstorm & Ideation")
    'category_brainstorm_ideation'
    """
    return "category_" + "_".join(re.findall(r"[a-z]+", category.casefold()))


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
        query_id, vote, category, category_type: every name of every valid vote.
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
    named = pd.DataFrame(rows, columns=["query_id", "vote", "category", "category_type"]).drop_duplicates()
    counted = named.groupby(["query_id", "category", "category_type"]).size().rename("n").reset_index()
    counted["vote_share"] = counted["n"] / counted["query_id"].map(n_votes)
    counted = counted[(counted["vote_share"] >= min_share) | counted["category_type"].eq("new")]
    level = counted["category"].map(taxonomy.levels).where(counted["category_type"].eq("predefined"), "new")
    table = counted.assign(level=level)[["query_id", "category", "level", "category_type", "vote_share"]]
    return table.sort_values(["query_id", "category"], ignore_index=True), named, n_votes


def shares(categories, taxonomy, n_queries, published=None):
    """Share of queries of every leaf with its Wilson interval, next to the published one.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    taxonomy : Taxonomy
    n_queries : int
        Queries with a valid label, those without any category included.
    published : dict of str to float, optional
        From `published_shares`.

    Returns
    -------
    pandas.DataFrame
        category, level, n, share, lower, upper, published; in the taxonomy's order, unseen leaves with 0.
    """
    if n_queries < 1:
        raise ValueError("There is no labelled query: shares cannot be computed.")
    counts = categories.loc[categories["category_type"].eq("predefined"), "category"].value_counts()
    table = taxonomy.leaves[["name", "level"]].rename(columns={"name": "category"})
    table["n"] = table["category"].map(counts).fillna(0).astype(int)
    lower, upper = wilson(table["n"], n_queries)
    published = table["category"].map(published or {}).astype(float)
    return table.assign(share=table["n"] / n_queries, lower=lower, upper=upper, published=published)


def with_stability(shares, stability):
    """Add the agreement of votes, from `stability`, as `alpha`: table ``03_shares``."""
    return shares.assign(alpha=shares["category"].map(stability).astype(float))


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
    known = categories[categories["category_type"].eq("predefined")]
    counts = known["category"].value_counts()
    together = {pair: 0 for pair in combinations(sorted(counts.index), 2)}
    for _, names in known.groupby("query_id")["category"]:
        for pair in combinations(sorted(names), 2):
            together[pair] += 1
    table = pd.DataFrame([(*pair, n) for pair, n in together.items()], columns=["a", "b", "n"])
    table["expected"] = table["a"].map(counts) * table["b"].map(counts) / n_queries
    return table.assign(lift=table["n"] / table["expected"])


def trends(categories, facts, time_unit, wanted):
    """Share of some categories among the queries of every time and of every model, with Wilson intervals.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    facts : pandas.DataFrame
        query_id, timestamp (ISO), model; one row per labelled query, missing where not known.
    time_unit : {"month", "quarter", "year"}
    wanted : sequence of str
        Categories wanted.

    Returns
    -------
    pandas.DataFrame
        by (the time unit, or "model"), group, category, n_queries, share, lower, upper. Groups of fewer than
        `LEAST_GROUP` queries are left out.
    """
    periods = {"month": "M", "quarter": "Q", "year": "Y"}
    if time_unit not in periods:
        raise ValueError(f"`time_unit` must be one of {list(periods)}, but {time_unit!r} was passed.")
    time = pd.to_datetime(facts["timestamp"], errors="coerce", utc=True).dt.tz_localize(None)
    groups = {time_unit: time.dt.to_period(periods[time_unit]).astype(str).where(time.notna()), "model": facts["model"]}
    having = {name: set(categories.loc[categories["category"] == name, "query_id"]) for name in wanted}
    rows = []
    for by, group in groups.items():
        for name, ids in facts.groupby(group.to_numpy(object))["query_id"]:
            if len(ids) < LEAST_GROUP:
                continue
            for category in wanted:
                n = int(ids.isin(having[category]).sum())
                rows.append((by, name, category, len(ids), n / len(ids), *map(float, wilson(n, len(ids)))))
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
    known = named[named["category_type"].eq("predefined") & named["query_id"].isin(several.index)]
    alphas = {}
    for name, rows in known.groupby("category"):
        yes = rows.groupby("query_id").size().reindex(several.index, fill_value=0).to_numpy()[:, None]
        labels = np.where(
            there, (np.arange(votes) < yes).astype(float), np.nan
        )  # votes have no identity: order is free
        alphas[name] = krippendorff_alpha(labels)
    return pd.Series(alphas, dtype=float)


def per_query(categories, n_votes):
    """Count the categories of the taxonomy that each labelled query has: Series by query_id, 0 included."""
    known = categories[categories["category_type"] == "predefined"]
    return known.groupby("query_id").size().reindex(n_votes.index, fill_value=0)


def mean_per_query(counts):
    """Mean number of categories per query with its interval over queries: dict of value, lower, upper."""
    found = mean_interval(counts.to_numpy(float))
    return {"value": float(found.estimate), "lower": float(found.lower), "upper": float(found.upper)}


def novel_names(categories):
    """Count queries by name of a new category, cleaned but not merged: Series."""
    return categories[categories["category_type"] == "new"].groupby("category")["query_id"].nunique()


def with_merged_names(categories, novel):
    """Call new categories by the name of their group.

    Parameters
    ----------
    categories : pandas.DataFrame
        From `categorise`.
    novel : pandas.DataFrame
        From `merge_novel`.

    Returns
    -------
    pandas.DataFrame
        Table ``03_categories``.
    """
    names = novel.set_index("name")["merged"]
    is_new = categories["category_type"] == "new"
    category = categories["category"].mask(is_new, categories["category"].map(names))
    keys = ["query_id", "category", "level", "category_type"]
    return categories.assign(category=category).groupby(keys, as_index=False)["vote_share"].max()


def novel_groups(categories, novel):
    """Count queries and spellings of every new category, the largest first: merged, spellings, n."""
    groups = novel.groupby("merged").size().rename("spellings").reset_index()
    groups["n"] = groups["merged"].map(categories[categories["category_type"] == "new"].groupby("category").size())
    return groups.sort_values(["n", "merged"], ascending=[False, True], ignore_index=True)


def label_sheet(categories, queries, n_votes, n_annotated, rng):
    """Draw labelled queries whose categories annotators check, one row per query and category.

    Parameters
    ----------
    categories : pandas.DataFrame
        Table ``03_categories``.
    queries : pandas.DataFrame
        query_id, revised.
    n_votes : pandas.Series
        Valid votes of every labelled query.
    n_annotated : int
        Queries wanted.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        As `sheets.sheet`, with the column `agree` to fill.
    """
    texts = queries.set_index("query_id")["revised"].rename("query")
    drawn = rng.choice(n_votes.index, min(n_annotated, len(n_votes)), replace=False)
    items = categories.loc[categories["query_id"].isin(drawn), ["query_id", "category"]].join(texts, on="query_id")
    return sheets.sheet(items, len(items), rng, answers=["agree"])


def seed_sheet(queries, n_seed, rng):
    """Draw queries to label by hand, with the column `kinds` to fill; see `sheets.sheet`."""
    texts = queries[["query_id", "revised"]].rename(columns={"revised": "query"})
    return sheets.sheet(texts, n_seed, rng, answers=["kinds"])


def annotator_agreement(annotations):
    """How often annotators agree with the labels.

    Parameters
    ----------
    annotations : pandas.DataFrame
        query_id, category, annotator, agree.

    Returns
    -------
    dict
        share (of all annotations), lower, upper (jackknife interval over queries), n (queries), alpha (Krippendorff,
        between annotators); empty without annotations.
    """
    if annotations.empty:
        return {}
    counts = annotations.groupby("query_id")["agree"].agg(["sum", "size"]).astype(float)
    found = ratio_interval(counts["sum"], counts["size"])
    lower, upper = np.clip([found.lower, found.upper], 0, 1).tolist()
    alpha = krippendorff_alpha(sheets.matrix(annotations, ["query_id", "category"], "agree")[0])
    return {"share": float(found.estimate), "lower": lower, "upper": upper, "n": len(counts), "alpha": alpha}


def merge_novel(names, counts, vectors, threshold):
    """Group names of new categories by meaning; a group takes the name of its medoid.

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


def write_draft(study, paths):
    """Write a taxonomy to edit from filled sheets of `seed_sheet`; returns what was done, in words.

    Parameters
    ----------
    study : Study
    paths : str or list of str, optional
        Filled sheets.
    """
    filled = files.addresses(paths)
    if not filled:
        return "No hand-labelled queries: no draft of a taxonomy."
    labelled, _ = sheets.read_sheets(filled, ["query_id", "query"], {"kinds": lambda cell: cell.strip() or None})
    target = study.folder / "sheets" / "taxonomy_draft.yaml"
    written = files.offer(target, draft(labelled))
    told = files.offered(target, written)
    sentence = f"{written.relative_to(files.root())}: a draft to edit, from {len(labelled)} labelled queries"
    return f"{sentence}. {told}" if told else sentence


def draft(seed):
    """Text of a taxonomy to edit, from queries that annotators labelled by hand.

    Parameters
    ----------
    seed : pandas.DataFrame
        query and kinds, several separated by ";".

    Returns
    -------
    str
        YAML in the form of ``taxonomy.yaml``: the most common categories first, each with one of its queries.
    """
    rows = seed.assign(name=seed["kinds"].str.split(";")).explode("name")
    rows["name"] = rows["name"].fillna("").str.strip()
    rows = rows[rows["name"] != ""]
    rows["key"] = rows["name"].map(_key)
    leaves = []
    for _, group in sorted(rows.groupby("key"), key=lambda item: (-len(item[1]), item[0])):
        names = group["name"].value_counts().index
        leaves.append({"name": names[0], "definition": "", "example": group["query"].iloc[0], "aliases": []})
    levels = [{"level": "To be grouped", "leaves": leaves}]
    return yaml.safe_dump({"levels": levels}, sort_keys=False, allow_unicode=True, width=120)


def _key(name):
    """Compare names without case, punctuation and the difference between "and" and "&"."""
    return " ".join(re.findall(r"\w+", name.casefold().replace("&", " and ")))

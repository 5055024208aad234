"""Open-endedness of queries: the published schema, what follows from a label, and how far annotators agree."""

import json
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, model_validator

from hivemind_utils.metrics.agreement import krippendorff_alpha
from hivemind_utils.metrics.shares import weighted_share, wilson
from hivemind_utils.metrics.similarity import unit_rows
from hivemind_utils.queries import labels as query_labels
from hivemind_utils.queries import sheets
from hivemind_utils.tables import yes_no

OUTCOMES = ("closed", "dropped", "open")  # ties go to the first: to be open needs more votes than anything else


CLAIMS = {"open": "open_ended", "closed": "closed_ended", "dropped": "dropped"}  # counts in the paper


ALTERNATIVE_CLAIMS = dict(
    zip(
        sheets.ALTERNATIVES,
        ("alternatives_lt3", "alternatives_3_10", "alternatives_10_20", "alternatives_gt20"),
        strict=True,
    )
)


ANSWERS = {"open_ended": yes_no.yes_or_no, "alternatives": sheets.alternatives}  # columns that annotators fill


class Judgement(BaseModel):
    """Yes or no, with a reason."""

    reasoning: str
    classification: bool


class ResponseType(BaseModel):
    """One right answer, or several."""

    reasoning: str
    classification: Literal["Single", "Multiple"]


class Label(BaseModel):
    """The published schema: what a labeller must return."""

    ECHO: ClassVar[dict] = {"original_query": "query"}  # a label of another message is none

    original_query: str
    revised_query: str | None = None
    meaningful_information: Judgement
    greeting_model_inquiry: Judgement | None = None
    response_type: ResponseType | None = None

    @model_validator(mode="after")
    def _complete(self):
        greeting = self.greeting_model_inquiry is not None and self.greeting_model_inquiry.classification
        if self.meaningful_information.classification and not greeting and self.response_type is None:
            raise ValueError("response_type may be null only for a greeting or a message without meaning")
        return self


def outcome(label):
    """What a label makes of a query: ("open" | "closed" | "dropped", why it was dropped or None).

    Parameters
    ----------
    label : dict or None
        Of the published schema; keys may be missing or null, as in released labels.
    """

    def judged(key):
        part = label.get(key)
        return part.get("classification") if isinstance(part, dict) else None

    if not isinstance(label, dict):
        return "dropped", "no valid label"
    if judged("greeting_model_inquiry") is True:
        return "dropped", "greeting or question about the model"
    if judged("meaningful_information") is False:
        return "dropped", "no meaningful information"
    kind = {"Multiple": "open", "Single": "closed"}.get(judged("response_type"))
    return (kind, None) if kind else ("dropped", "no response type")


def tally(queries, votes, labeller):
    """Join queries and their votes into one row per query.

    Parameters
    ----------
    queries : pandas.DataFrame
        query_id, conversation_id, text.
    votes : pandas.DataFrame
        query_id, vote, value (a label as dict, or None), raw. Queries without votes are dropped, with that reason.
    labeller : str
        Who labelled.

    Returns
    -------
    pandas.DataFrame
        Table ``02_open_ended`` without rewrite_cosine.
    """
    by_query = {name: group.sort_values("vote") for name, group in votes.groupby("query_id")}
    rows = []
    for query in queries.itertuples():
        mine = by_query.get(query.query_id)
        labels = [] if mine is None else [value for value in mine["value"] if isinstance(value, dict)]
        results = [outcome(label) for label in labels]
        kinds = [kind for kind, _ in results]
        winner = max(OUTCOMES, key=kinds.count) if kinds else "dropped"
        reasons = [why for kind, why in results if kind == winner and why] or ["no valid label"]
        rewrites = [label.get("revised_query") for label, kind in zip(labels, kinds, strict=True) if kind == winner]
        rewrites = [text.strip() for text in rewrites if isinstance(text, str) and text.strip()]
        rows.append(
            {
                "query_id": query.query_id,
                "conversation_id": query.conversation_id,
                "original": query.text,
                "revised": rewrites[0] if rewrites else query.text,
                "response_type": winner,
                "why_dropped": max(sorted(set(reasons)), key=reasons.count) if winner == "dropped" else None,
                "open_share": kinds.count("open") / len(kinds) if kinds else None,
                "n_votes": len(labels),
                "labeller": labeller,
                "raw": json.dumps([] if mine is None else mine["raw"].tolist(), ensure_ascii=False),
            }
        )
    return pd.DataFrame(rows)


def collect(study, kept, labels_from, labeller, *, n_queries=None, paths=None, columns=None, keep_unfiltered=False):
    """Collect labels of open-endedness, whichever source they come from.

    Parameters
    ----------
    study : Study
    kept : pandas.DataFrame
        Table ``01_queries``.
    labels_from : {"demo", "llm", "released", "imported"}
        A simulated or a real language model, the authors' release, or somebody's file.
    labeller : Labeller
        The model to ask, where one is asked.
    n_queries : int, optional
        Ask about so many queries, those with the smallest ids, which are hashes: a random sample.
    paths : str or list of str, optional
        Files of released or imported labels.
    columns : dict of str to str, optional
        For imported labels; see `labels.read_imported`.
    keep_unfiltered : bool
        Keep released or imported labels of queries that notebook 01 did not keep.

    Returns
    -------
    QueryLabels

    Raises
    ------
    ValueError
        If no query has a label, or the source is unknown.
    """
    if labels_from in ("demo", "llm"):
        queries = kept.sort_values("query_id", ignore_index=True).head(n_queries)
        return query_labels.ask(study, queries, "text", labeller.instructions(), Label, labeller)
    if labels_from not in ("released", "imported"):
        raise ValueError(f"`labels_from` must be demo, llm, released or imported, but {labels_from!r} was passed.")
    found, origin = query_labels.label_files(paths)
    if labels_from == "released":
        queries, votes, _, n_unreadable = query_labels.read_released(found)
        note = "The release holds only queries that the authors call open."
    else:
        queries, votes, n_unreadable = query_labels.read_imported(found, columns or {})
        note = ""
    is_kept = queries["query_id"].isin(kept["query_id"])
    n_unfiltered = int((~is_kept).sum())
    queries = queries if keep_unfiltered else queries[is_kept]
    if queries.empty:
        raise ValueError("No query has a label: labels and 01_queries share no query.")
    study.comes_from(labels_from, origin)
    votes = votes[votes["query_id"].isin(queries["query_id"])]
    counts = {"n_unfiltered": n_unfiltered, "n_unreadable": n_unreadable}
    counts["n_other"] = query_labels.other_messages(queries, votes)
    return query_labels.given(queries, votes, origin, note=note, **counts)


def is_rewritten(open_ended):
    """Whether the labeller changed each query's text: Series of bool."""
    return open_ended["original"] != open_ended["revised"]


def rewritten_texts(open_ended):
    """Originals of the rewritten queries, then their rewrites: list of str."""
    changed = open_ended[is_rewritten(open_ended)]
    return [*changed["original"], *changed["revised"]]


def with_rewrite_cosines(open_ended, vectors):
    """Add the cosine similarity of original and rewrite; 1 where nothing was rewritten.

    Parameters
    ----------
    open_ended : pandas.DataFrame
        From `tally`.
    vectors : ndarray of float, shape (2 * n_rewritten, n_dims)
        Embeddings of `rewritten_texts`.

    Returns
    -------
    pandas.DataFrame
        Table ``02_open_ended``.
    """
    changed = is_rewritten(open_ended)
    cosines = pd.Series(1.0, index=open_ended.index)
    if changed.any():
        originals, rewrites = np.split(unit_rows(vectors), 2)
        cosines[changed] = (originals * rewrites).sum(1).astype(float)
    return open_ended.assign(rewrite_cosine=cosines)


def largest_rewrites(open_ended, n=8):
    """Return the rewrites that went farthest: original, revised, rewrite_cosine."""
    changed = open_ended[is_rewritten(open_ended)]
    return changed.nsmallest(n, "rewrite_cosine")[["original", "revised", "rewrite_cosine"]]


def open_share(open_ended):
    """Share of queries called open, with its Wilson interval: dict of share, lower, upper, n."""
    n = int((open_ended["response_type"] == "open").sum())
    lower, upper = wilson(n, len(open_ended))
    return {"share": n / len(open_ended), "lower": float(lower), "upper": float(upper), "n": n}


def unsure_share(open_ended):
    """Share of queries on whose openness the votes differ."""
    return float(open_ended["open_share"].between(0.01, 0.99).mean())


def outcome_counts(open_ended, paper):
    """Count open, closed and dropped queries, those by reason, next to the paper's shares.

    Parameters
    ----------
    open_ended : pandas.DataFrame
        Table ``02_open_ended``.
    paper : Paper

    Returns
    -------
    pandas.DataFrame
        outcome, reason, n, share, published (share; NaN for dropped queries, whose reasons are not reported).
    """
    by_reason = open_ended.fillna({"why_dropped": ""}).groupby(["response_type", "why_dropped"]).size()
    counts = by_reason.rename("n").reset_index().set_axis(["outcome", "reason", "n"], axis=1)
    counts["outcome"] = pd.Categorical(counts["outcome"], list(CLAIMS))
    counts = counts.sort_values(["outcome", "n"], ascending=[True, False], ignore_index=True)
    published = pd.Series({kind: paper.number(claim) for kind, claim in CLAIMS.items()})
    published = (published / published.sum()).drop("dropped")
    return counts.assign(
        share=counts["n"] / len(open_ended), published=counts["outcome"].astype(str).map(published).astype(float)
    )


def degrees(open_ended):
    """Count queries by the share of votes that call them open: open_share, n."""
    return open_ended.dropna(subset=["open_share"]).groupby("open_share").size().rename("n").reset_index()


def sheet(open_ended, n, rng):
    """Draw queries for annotators, those called open and those called closed in equal numbers; see `sheets.sheet`."""
    items = open_ended.loc[open_ended["response_type"] != "dropped", ["query_id", "original", "response_type"]]
    return sheets.sheet(items.rename(columns={"original": "query"}), n, rng, strata="response_type")


def annotated_open_shares(open_ended, annotations):
    """Share of the queries called open that annotators call open too: their majority, and any of them.

    Parameters
    ----------
    open_ended, annotations : pandas.DataFrame
        Tables ``02_open_ended`` and ``02_annotations``.

    Returns
    -------
    pandas.DataFrame
        By "majority" and "any": share, lower, upper, n; empty without annotations.
    """
    if annotations.empty:
        return pd.DataFrame(columns=["share", "lower", "upper", "n"])
    annotated, weights, called_open = _annotated(open_ended, annotations)
    any_yes = np.where(np.isnan(annotated).all(1), np.nan, (annotated == 1).any(1))
    rows = {}
    for name, values in (("majority", sheets.majority(annotated)), ("any", any_yes)):
        found = weighted_share(values[called_open], weights[called_open])
        rows[name] = [float(found.estimate), found.lower, found.upper, found.n_prompts]
    return pd.DataFrame(rows, index=["share", "lower", "upper", "n"]).T.astype({"n": int})


def labeller_scores(open_ended, annotations):
    """Score the labeller against the majority of annotators, weighted back to all queries; ties are left out.

    Returns
    -------
    pandas.DataFrame
        measure, value, lower, upper; empty without annotations.
    """
    if annotations.empty:
        return pd.DataFrame(columns=["measure", "value", "lower", "upper"])
    annotated, weights, called_open = _annotated(open_ended, annotations)
    truth = sheets.majority(annotated)
    clear = ~np.isnan(truth)
    return sheets.scores(truth[clear] == 1, called_open[clear], weights[clear])


def alternatives(open_ended, annotations, paper):
    """Share of annotations for each number of reasonable responses, for queries called open, next to the paper's.

    Returns
    -------
    pandas.DataFrame
        answer, share, lower, upper, published; empty without annotations.
    """
    annotated, ids = sheets.matrix(annotations, "query_id", "alternatives", sheets.ALTERNATIVES)
    called_open = open_ended.set_index("query_id")["response_type"].reindex(ids).eq("open").to_numpy()
    table = sheets.answer_shares(annotated[called_open], sheets.ALTERNATIVES)
    published = table["answer"].map({name: paper.number(c) / 100 for name, c in ALTERNATIVE_CLAIMS.items()})
    return table.assign(published=published.astype(float))


def annotator_alphas(annotations):
    """Krippendorff's alpha of the annotators by column: open_ended (nominal), alternatives (ordinal)."""
    if annotations.empty:
        return {}
    wide, _ = sheets.matrix(annotations, "query_id", "alternatives", sheets.ALTERNATIVES)
    return {
        "open_ended": krippendorff_alpha(sheets.matrix(annotations, "query_id", "open_ended")[0]),
        "alternatives": krippendorff_alpha(wide, "ordinal"),
    }


def figure_table(degrees, alternatives, scores):
    """Numbers of the figure of open-endedness in one table, by `panel`."""
    panels = {"votes": degrees, "alternatives": alternatives, "annotators": scores}
    return pd.concat([table.assign(panel=name) for name, table in panels.items() if len(table)])


def _annotated(open_ended, annotations):
    """Annotations by query and annotator, weights of the queries, and whether the labeller calls them open."""
    annotated, ids = sheets.matrix(annotations, "query_id", "open_ended")
    weights = annotations.groupby("query_id")["weight"].first()[ids].to_numpy(float)
    called_open = open_ended.set_index("query_id")["response_type"][ids].eq("open").to_numpy()
    return annotated, weights, called_open

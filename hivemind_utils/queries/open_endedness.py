"""Labels of open-endedness: the published schema, what follows from a label, and the doors labels come in by."""

import json
from typing import ClassVar, Literal

import pandas as pd
from pydantic import BaseModel, model_validator

from hivemind_utils.queries import wildchat
from hivemind_utils.tables import ids
from hivemind_utils.tables.reading import read_file

OUTCOMES = ("closed", "dropped", "open")  # ties go to the first: to be open needs more votes than anything else


PUBLISHED = {"open": 26_070, "closed": 8_817, "dropped": 2_539}  # arXiv 2510.22954, section 3; dropped: the rest


PUBLISHED_PEOPLE = {"majority_share": 0.89, "any_share": 1.0}  # appendix B.3, 100 queries, 3 people each


PUBLISHED_ALTERNATIVES = {"fewer than 3": 0.1873, "3 to 10": 0.3187, "10 to 20": 0.1474, "more than 20": 0.3466}


class Judgement(BaseModel):
    """Yes or no, with a reason."""

    reasoning: str
    classification: bool


class ResponseType(BaseModel):
    """One right answer, or several."""

    reasoning: str
    classification: Literal["Single", "Multiple"]


class Label(BaseModel):
    """The published schema; what a labeller must answer."""

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
    """Join queries and their votes into one row a query.

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


def read_released(addresses):
    """Read labels in the schema of `liweijiang/infinite-chats-taxonomy`: Parquet, local or ``hf://``.

    Parameters
    ----------
    addresses : sequence of str or path-like

    Returns
    -------
    queries : pandas.DataFrame
        query_id, conversation_id, text (the first user message, stripped).
    votes : pandas.DataFrame
        query_id, vote (0), value (the label as dict, or None), raw.
    categories : pandas.DataFrame
        query_id, vote (0), value ({"categories": [...]} or None), raw.
    unreadable : int
        Rows without any text.
    """
    import duckdb

    with duckdb.connect() as db:
        if any("://" in str(address) for address in addresses):
            db.execute("INSTALL httpfs; LOAD httpfs")
        kind, view = wildchat.scan([str(address) for address in addresses])
        if kind != "parquet":
            raise ValueError(f"Released labels are Parquet files, but {addresses} was passed.")
        found = db.execute(view)
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    if not {"messages", "lm_judge_annotation"} & set(names):
        raise ValueError(f"Released labels need `messages` or `lm_judge_annotation`; the columns are {names}.")
    queries, votes, categories, seen, unreadable = [], [], [], set(), 0
    for row in rows:
        label, text = _parsed(row.get("lm_judge_annotation")), _first_message(_parsed(row.get("messages")))
        if text is None and isinstance(label, dict):
            text = label.get("original_query")
        if not (isinstance(text, str) and text.strip()):
            unreadable += 1
            continue
        conversation = row.get("conversation_id") or ids.text_id(text.strip())
        query = wildchat.query_id(conversation, text)
        if query in seen:
            unreadable += 1
            continue
        seen.add(query)
        given = _parsed(row.get("categories"))
        given = {"categories": [g for g in given if isinstance(g, dict)]} if isinstance(given, list) else None
        queries.append({"query_id": query, "conversation_id": conversation, "text": text.strip()})
        votes.append(
            {"query_id": query, "vote": 0, "value": label if isinstance(label, dict) else None, "raw": _raw(label)}
        )
        categories.append({"query_id": query, "vote": 0, "value": given, "raw": _raw(given)})
    return pd.DataFrame(queries), pd.DataFrame(votes), pd.DataFrame(categories), unreadable


def read_imported(paths, columns):
    """Read labels and rewrites that somebody else made.

    Parameters
    ----------
    paths : sequence of path-like
        CSV, JSON Lines or Parquet.
    columns : dict of str to str
        ``original`` and ``open_ended`` (true or false), optionally ``revised`` and ``conversation_id``, to the file's
        names; a dot reaches into nested objects, such as ``meta.response.allows_diverse_responses``.

    Returns
    -------
    queries, votes : pandas.DataFrame
        As `read_released`.
    unreadable : int
        Rows without a text, and repeats.
    """
    known = ("original", "open_ended", "revised", "conversation_id")
    if unknown := sorted(set(columns) - set(known)):
        raise ValueError(f"`label_columns` may name {list(known)}, but {unknown} was passed.")
    if missing := sorted({"original", "open_ended"} - set(columns)):
        raise ValueError(f"`label_columns` must say which columns are {missing}.")
    queries, votes, unreadable = [], [], 0
    for row in (row for path in paths for row in read_file(path).to_dict("records")):
        given = {ours: _reach(row, theirs) for ours, theirs in columns.items()}
        if not (isinstance(given["original"], str) and given["original"].strip()):
            unreadable += 1
            continue
        text = given["original"].strip()
        conversation = str(given.get("conversation_id") or ids.text_id(text))
        answer = {
            "true": "Multiple",
            "1": "Multiple",
            "yes": "Multiple",
            "false": "Single",
            "0": "Single",
            "no": "Single",
        }
        kind = answer.get(str(given["open_ended"]).lower())
        label = {
            "original_query": text,
            "revised_query": given.get("revised"),
            "response_type": {"classification": kind},
        }
        query = wildchat.query_id(conversation, text)
        queries.append({"query_id": query, "conversation_id": conversation, "text": text})
        votes.append({"query_id": query, "vote": 0, "value": label if kind else None, "raw": _raw(given)})
    frame = pd.DataFrame(queries)
    if frame.empty:
        raise ValueError(f"None of the rows has a text in {columns['original']!r}.")
    keep = ~frame["query_id"].duplicated()
    unreadable += int((~keep).sum())  # a repeat says nothing new
    return frame[keep].reset_index(drop=True), pd.DataFrame(votes)[keep].reset_index(drop=True), unreadable


def _parsed(value):
    """Return a nested value as Python has it, whether stored as such or as JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return None
    return value


def _first_message(messages):
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("role", "user") == "user":
            return message.get("content")
    return None


def _reach(row, name):
    """Value under a name; dots reach into nested objects."""
    if name in row:
        return row[name]
    for part in name.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _raw(value):
    return json.dumps(value, ensure_ascii=False, default=str)

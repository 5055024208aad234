"""Labels of queries whichever source they come from: a language model, the authors' release, somebody's file."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hivemind_utils.llm import labeling
from hivemind_utils.queries import conversations, wildchat
from hivemind_utils.tables import files, ids, reading, yes_no
from hivemind_utils.tables.wording import counted, listed

FAILURES = ["query_id", "vote", "reason", "raw"]


@dataclass(frozen=True)
class Labeller:
    """How a language model is asked for labels.

    Attributes
    ----------
    model : str
        A litellm id, or ``simulated/<name>``.
    instructions_path : path-like
        The question, relative to the project.
    votes : int
        Responses of the model to each query.
    max_repairs : int
        Times the model is shown what was wrong with its response.
    budget_usd : float
        0 asks simulated models only.
    """

    model: str
    instructions_path: str
    votes: int = 1
    max_repairs: int = 2
    budget_usd: float = 0.0

    def instructions(self):
        """Return the text of the question."""
        return labeling.read_instructions(files.root() / self.instructions_path)


@dataclass(frozen=True)
class QueryLabels:
    """Labels of queries, and what could not be labelled.

    Attributes
    ----------
    queries : pandas.DataFrame
        query_id, conversation_id, text of every query that was labelled, or whose labels failed.
    votes : pandas.DataFrame
        query_id, vote, value (a label as dict, or None), raw.
    failures : pandas.DataFrame
        Responses that stayed invalid: query_id, vote, reason, raw.
    missing : pandas.DataFrame
        Votes not asked or not answered: query_id, vote, reason.
    labeller : str
        Who labelled.
    n_votes : int
        Votes wanted per query.
    n_unfiltered : int
        Labelled queries that notebook 01 did not keep.
    n_unreadable : int
        Rows of a file without a text, or repeated.
    note : str
        What a caption must say of these labels.
    is_asked : bool
        Whether a model was asked for them now.
    n_other : int
        Labels of a file that repeat another message than theirs.
    """

    queries: pd.DataFrame
    votes: pd.DataFrame
    failures: pd.DataFrame
    missing: pd.DataFrame
    labeller: str
    n_votes: int = 1
    n_unfiltered: int = 0
    n_unreadable: int = 0
    note: str = ""
    is_asked: bool = False
    n_other: int = 0

    def describe(self):
        """Say in a sentence what is here, and what is not."""
        n_queries = counted(len(self.queries), "query", "queries")
        counts = [
            (len(self.votes), f"{counted(len(self.votes), 'label')} of {n_queries} by {self.labeller}"),
            (self.n_votes, f"{counted(self.n_votes, 'vote')} per query"),
            (len(self.failures), f"{counted(len(self.failures), 'response')} stayed invalid"),
            (len(self.missing), f"{counted(len(self.missing), 'vote')} missing"),
            (self.n_unfiltered, f"{counted(self.n_unfiltered, 'query', 'queries')} that notebook 01 did not keep"),
            (self.n_unreadable, f"{counted(self.n_unreadable, 'row')} without a new text"),
            (self.n_other, f"{counted(self.n_other, 'label')} whose `original_query` is another message"),
        ]
        return "; ".join(words for n, words in counts if n)


def given(queries, votes, labeller, **facts):
    """Return labels that came with a file: one vote per query, no failures."""
    empty = pd.DataFrame(columns=FAILURES)
    return QueryLabels(queries, votes, empty, empty.drop(columns="raw"), labeller, **facts)


def ask(study, queries, text_column, instructions, schema, labeller):
    """Ask a language model for labels; what is missing makes the run partial.

    Parameters
    ----------
    study : Study
    queries : pandas.DataFrame
        query_id and the column with the text.
    text_column : str
    instructions : str
        The question; ``$query`` stands for the text.
    schema : type of pydantic.BaseModel
    labeller : Labeller

    Returns
    -------
    QueryLabels
        Queries without any response are left out of `queries`.

    Raises
    ------
    ValueError
        If no query has a response.
    """
    items = queries.rename(columns={"query_id": "item_id", text_column: "query"})
    found = labeling.label(
        items, instructions, schema, labeller.model, store_path=files.store_path(study.number, study.profile),
        votes=labeller.votes, max_repairs=labeller.max_repairs, budget_usd=labeller.budget_usd, seed=study.seed,
    )  # fmt: skip
    votes, failures, missing = (
        table.rename(columns={"item_id": "query_id"}) for table in (found.table, found.failures, found.missing)
    )
    if len(missing):
        n_wanted = len(queries) * labeller.votes
        study.partial(f"{len(missing):,} of {n_wanted:,} votes are missing ({missing['reason'].iloc[0]})")
    answered = ~queries["query_id"].isin(set(missing["query_id"]) - set(votes["query_id"]))
    if not answered.any():
        raise ValueError(f"No query has a label: {study.stamp.get('partial') or 'there is no query to label'}.")
    return QueryLabels(queries[answered], votes, failures, missing, labeller.model, labeller.votes, is_asked=True)


def other_messages(queries, votes):
    """Count labels whose ``original_query`` repeats another message than the one they belong to.

    Parameters
    ----------
    queries, votes : pandas.DataFrame
        As `read_released` returns them.

    Returns
    -------
    int
    """
    texts = queries.set_index("query_id")["text"]
    pairs = [
        (value.get("original_query"), texts[query_id])
        for query_id, value in zip(votes["query_id"], votes["value"], strict=True)
        if isinstance(value, dict) and query_id in texts.index
    ]
    return sum(isinstance(said, str) and not labeling.repeats(said, text) for said, text in pairs)


def label_files(paths):
    """Return the files of labels a notebook's parameter `labels_path` names, and their names in words.

    Raises
    ------
    ValueError
        If it names none.
    """
    found = files.addresses(paths)
    if not found:
        raise ValueError("Released and imported labels come from files: name them with the parameter `labels_path`.")
    return found, listed([Path(str(file)).name for file in found])


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
        kind, view = conversations.scan([str(address) for address in addresses])
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
        ``original`` and ``open_ended`` (true or false in a spelling of `yes_no`; empty: no label), optionally
        ``revised`` and ``conversation_id``, to the file's names; a dot reaches into nested objects, such as
        ``meta.response.allows_diverse_responses``.

    Returns
    -------
    queries, votes : pandas.DataFrame
        As `read_released`.
    unreadable : int
        Rows without a text, and repeats.

    Raises
    ------
    ValueError
        If a value of ``open_ended`` is neither yes nor no, or no row has one.
    """
    known = ("original", "open_ended", "revised", "conversation_id")
    if unknown := sorted(set(columns) - set(known)):
        raise ValueError(f"`label_columns` may name {list(known)}, but {unknown} was passed.")
    if missing := sorted({"original", "open_ended"} - set(columns)):
        raise ValueError(f"`label_columns` must say which columns are {missing}.")
    queries, votes, unreadable = [], [], 0
    for row in (row for path in paths for row in _named(path, columns)):
        given = {ours: row[ours] for ours in columns}
        if not (isinstance(given["original"], str) and given["original"].strip()):
            unreadable += 1
            continue
        text = given["original"].strip()
        conversation = ids.written(given.get("conversation_id")) or ids.text_id(text)
        kind = {True: "Multiple", False: "Single", None: None}[given["open_ended"]]
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
    if all(vote["value"] is None for vote in votes):
        raise ValueError(f"None of the rows says yes or no in {columns['open_ended']!r}, the column of `open_ended`.")
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


def _named(path, columns):
    """Rows of a file with the columns under the project's names, texts and labels checked to be such."""
    frame, name = reading.read_file(path), Path(path).name
    taken = pd.DataFrame({ours: reading.field_values(frame, theirs, ours, name) for ours, theirs in columns.items()})
    texts = [ours for ours in columns if ours != "open_ended"]
    labels = yes_no.read(taken["open_ended"], "open_ended", name, yes_no.NOTHING)
    taken = reading.with_texts(taken.astype(object), texts, name)
    return taken.assign(open_ended=pd.Series(labels, index=taken.index, dtype=object)).to_dict("records")


def _raw(value):
    return json.dumps(value, ensure_ascii=False, default=str)

"""From files to features: conversations in both generations of WildChat's schema, and plain lists of prompts.

SQL for DuckDB that takes from every conversation what the rules of `wildchat` need, and the reasons why a row cannot be
judged.
"""

import json
import re
from itertools import islice
from pathlib import Path

import pandas as pd

from hivemind_utils.tables import ids
from hivemind_utils.tables.reading import read_file

# str.strip() removes these; DuckDB's trim() alone removes blanks only.
WHITESPACE = "".join(chr(i) for i in range(0x110000) if chr(i).isspace())


HUGE_CHARS = 100_000


_TURN = {"role": "VARCHAR", "content": "VARCHAR", "language": "VARCHAR", "toxic": "BOOLEAN", "hashed_ip": "VARCHAR"}


_CONVERSATION = {
    **dict.fromkeys(["conversation_hash", "conversation_id", "model", "timestamp", "language", "hashed_ip"], "VARCHAR"),
    "conversation": "STRUCT({})[]",
    "openai_moderation": "STRUCT(flagged BOOLEAN)[]",
    "toxic": "BOOLEAN",
}


_TEXT_NAMES = ("text", "prompt", "query", "question")


_FIELDS = ("conversation_id", "text", "model", "timestamp", "language", "toxic", "flagged", "hashed_user")


def scan(addresses):
    """SQL that reads the files as they are: ("parquet", "json" or "flat", the FROM clause)."""
    suffixes = {re.sub(r"\.gz$", "", address.lower()).rsplit(".", 1)[-1] for address in addresses}
    if len(suffixes) != 1:
        raise ValueError(f"All files must have one format, but there are {sorted(suffixes)}.")
    (suffix,) = suffixes
    listed = "[" + ", ".join(quote(address) for address in addresses) + "]"
    if suffix in ("parquet", "pq"):
        return "parquet", f"SELECT * FROM read_parquet({listed}, union_by_name=true)"
    if suffix in ("jsonl", "ndjson"):
        names = set().union(*map(_json_names, addresses))
        if "conversation" not in names:
            return "flat", ""
        fields = ", ".join(f"{k}: {quote(v)}" for k, v in _conversation_types(names).items())
        return "json", (
            f"SELECT * FROM read_json({listed}, format='newline_delimited', ignore_errors=true, "
            f"maximum_object_size=67108864, columns={{{fields}}})"
        )
    if suffix in ("csv", "tsv"):
        return "flat", ""
    raise ValueError(f"Expected .parquet, .jsonl, .csv or .tsv files, but the suffix is {suffix!r}.")


def conversation_features(view, described):
    """SQL that takes from every conversation what the rules need, whichever generation of the schema it has.

    Parameters
    ----------
    view : str
        SELECT over the raw rows.
    described : dict of str to str
        Columns of `view` and their DuckDB types.

    Returns
    -------
    select : str
        Columns conversation_id, model, timestamp, language, first_language, toxic, flagged, n_user_turns, text (the
        stripped first user message) and hashed_user; NULL where the data lack them.
    recorded : set of str
        Those the data have.
    """
    columns = {name.lower() for name in described}
    conversation = described["conversation"]
    if not re.search(r"\brole\"? VARCHAR", conversation) or not re.search(r"\bcontent\"? VARCHAR", conversation):
        raise ValueError(
            f"`conversation` must be a list of turns with role and content, but its type is {conversation}."
        )

    def turn_has(field):
        return re.search(rf"\b{field}\"? [A-Z]", conversation) is not None

    ids = [name for name in ("conversation_hash", "conversation_id") if name in columns]
    if not ids:
        raise ValueError(f"Conversations need `conversation_hash` or `conversation_id`; there are {sorted(described)}.")
    toxic = (["toxic"] if "toxic" in columns else []) + (
        ["list_bool_or(list_transform(conversation, lambda t: t.toxic))"] if turn_has("toxic") else []
    )
    user = ["first_turn.hashed_ip"] * turn_has("hashed_ip") + ["hashed_ip"] * ("hashed_ip" in columns)
    parts = {
        "conversation_id": f"coalesce({', '.join(ids)})",
        "model": "model" if "model" in columns else None,
        "timestamp": _utc(described["timestamp"]) if "timestamp" in columns else None,
        "language": "language" if "language" in columns else None,
        "first_language": "first_turn.language" if turn_has("language") else None,
        "toxic": " OR ".join(f"coalesce({part}, false)" for part in toxic) or None,
        "flagged": "list_bool_or(list_transform(openai_moderation, lambda m: m.flagged))"
        if "openai_moderation" in columns
        else None,
        "n_user_turns": "len(list_filter(roles, lambda r: r = 'user'))",
        "text": stripped("first_turn.content"),
        "hashed_user": f"coalesce({', '.join(user)})" if user else None,
    }
    types = {"timestamp": "TIMESTAMP", "toxic": "BOOLEAN", "flagged": "BOOLEAN"}
    absent = {name: f"NULL::{types.get(name, 'VARCHAR')}" for name in parts}
    selected = ", ".join(f"{sql or absent[name]} AS {name}" for name, sql in parts.items())
    needed = [c for c in described if c.lower() in _CONVERSATION]
    select = (
        f"SELECT {selected}, conversation IS NULL OR len(conversation) = 0 AS no_conversation, "
        f"{' AND '.join(f'{c} IS NULL' for c in needed if c != 'openai_moderation')} AS no_row FROM ("
        "SELECT *, conversation[list_position(roles, 'user')] AS first_turn FROM ("
        f"SELECT {', '.join(needed)}, list_transform(conversation, lambda t: t.role) AS roles FROM ({view})))"
    )
    return select, {name for name, sql in parts.items() if sql}


def stripped(sql):
    """SQL of Python's ``str.strip``; most messages begin and end with a visible character, which is quick to see."""
    visible = " AND ".join(f"{sql}[{end}] BETWEEN '!' AND '~'" for end in (1, -1))
    return f"CASE WHEN {visible} THEN {sql} ELSE trim({sql}, {quote(WHITESPACE)}) END"


def labelled(select, has_language):
    """Wrap features in the reasons why a row is bad, the first that holds."""
    unknown = "coalesce(lower(trim(language)), '') IN ('', 'unknown', 'nolang', 'none')" if has_language else "false"
    return (
        "SELECT * EXCLUDE (no_conversation, no_row, text), CASE WHEN bad IS NULL THEN text END AS text FROM ("
        "SELECT *, length(text) AS n_chars, CASE WHEN no_row THEN 'unreadable row' "
        "WHEN no_conversation THEN 'no conversation' WHEN coalesce(n_user_turns, 0) = 0 THEN 'no user turn' "
        "WHEN coalesce(text, '') = '' THEN 'empty user message' "
        f"WHEN {unknown} THEN 'unknown language' "
        "WHEN contains(text, chr(65533)) OR contains(text, chr(0)) THEN 'broken Unicode' "
        f"WHEN length(text) > {HUGE_CHARS} THEN 'huge text (over {HUGE_CHARS:,} characters)' END AS bad "
        f"FROM ({select}))"
    )


def prompt_list(addresses, columns):
    """Features of a plain list of prompts, and which of them the list has."""
    if unknown := sorted(set(columns) - set(_FIELDS)):
        raise ValueError(f"`columns` may name {list(_FIELDS)}, but {unknown} was passed.")
    frames = [read_file(a) if Path(a).suffix not in (".jsonl", ".ndjson") else _json_rows(a) for a in addresses]
    raw = pd.concat(frames, ignore_index=True).astype(object)
    if absent := [theirs for theirs in columns.values() if theirs not in raw.columns]:
        raise ValueError(f"`columns` names {absent}, but the columns are {list(raw.columns)}.")
    if "text" not in columns:
        found = [name for name in _TEXT_NAMES if name in raw.columns]
        if not found:
            raise ValueError(
                f"A list of prompts needs a text column; there are {list(raw.columns)}. "
                f"Say which it is, for example `columns: {{text: {raw.columns[0]}}}`."
            )
        columns = columns | {"text": found[0]}
    columns = {name: name for name in _FIELDS if name in raw.columns and name != "text"} | columns

    def values(name, convert):
        given = raw[columns[name]] if name in columns else [None] * len(raw)
        given = [None if not isinstance(v, str) and pd.isna(v) else convert(v) for v in given]
        return pd.Series([None if v == "" and name != "text" else v for v in given], dtype=object)

    frame = pd.DataFrame({name: values(name, lambda v: ids.repaired(v)) for name in _FIELDS})
    frame["text"] = values("text", lambda v: ids.repaired(v).strip() if isinstance(v, str) else None)
    for name in ("toxic", "flagged"):
        frame[name] = values(name, lambda v: None if v == "" else str(v).lower() in ("true", "1", "yes"))
    time = pd.to_datetime(frame["timestamp"], errors="coerce", utc=True, format="ISO8601")
    frame["timestamp"] = time.dt.tz_localize(None).astype("datetime64[us]")
    if "conversation_id" not in columns:
        frame["conversation_id"] = values("text", lambda v: ids.text_id(str(v)))
    no_row = raw.isna().all(axis=1)
    return frame.assign(first_language=None, n_user_turns=1, no_conversation=False, no_row=no_row), set(columns)


def _json_rows(address):
    """Rows of a JSON Lines file; a line that is no JSON object is an empty row."""
    rows = []
    with open(address, encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in filter(str.strip, file):
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                row = None
            rows.append(row if isinstance(row, dict) else {})
    return pd.DataFrame(rows, dtype=object)


def _json_names(address, n_lines=1_000):
    """Names of the fields in the first lines of a JSON Lines file, those of turns as ``conversation.<name>``."""
    if "://" in address:
        return {*_CONVERSATION, *(f"conversation.{name}" for name in _TURN)}
    names = set()
    with open(address, encoding="utf-8-sig", errors="replace") as file:
        for line in islice(file, n_lines):
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                continue
            if isinstance(row, dict):
                turns = row.get("conversation")
                turns = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
                names |= {*row, *(f"conversation.{name}" for turn in turns for name in turn)}
    return names


def _conversation_types(names):
    """DuckDB types of the fields of conversations that there are."""
    turn = ", ".join(f"{k} {v}" for k, v in _TURN.items() if k in ("role", "content") or f"conversation.{k}" in names)
    return {name: kind.format(turn) for name, kind in _CONVERSATION.items() if name in names}


def _utc(kind):
    """SQL of the column `timestamp` as a timestamp without zone, in UTC."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return "make_timestamp(epoch_us(timestamp))"
    return "try_cast(timestamp AS TIMESTAMP)"


def repaired_copy(address, folder):
    """Copy a local Parquet file whose strings are not all UTF-8, every broken byte replaced by U+FFFD."""
    import pyarrow.parquet as pq

    if "://" in address:
        raise ValueError(f"{address} holds strings that are not UTF-8; download it, local files are repaired.")
    source = pq.ParquetFile(address)
    target = folder / f"{ids.text_id(address)}.parquet"
    with pq.ParquetWriter(target, source.schema_arrow) as writer:
        for batch in source.iter_batches(batch_size=10_000):
            columns = [_valid(column) for column in batch.columns]
            writer.write_batch(type(batch).from_arrays(columns, schema=source.schema_arrow))
    return str(target)


def _valid(array):
    """Return an Arrow array whose strings, however deeply nested, are valid UTF-8."""
    import pyarrow as pa

    try:
        array.validate(full=True)
        return array
    except pa.ArrowInvalid:
        pass
    if pa.types.is_string(array.type):
        raw = array.view(pa.binary()).to_pylist()
        return pa.array([None if b is None else b.decode("utf-8", "replace") for b in raw], pa.string())
    if pa.types.is_struct(array.type):
        children = [_valid(child) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(array.type), mask=array.is_null())
    if pa.types.is_list(array.type):
        return pa.ListArray.from_arrays(array.offsets, _valid(array.values), type=array.type, mask=array.is_null())
    return array


def quote(text):
    """SQL of a text."""
    return "'" + str(text).replace("'", "''") + "'"

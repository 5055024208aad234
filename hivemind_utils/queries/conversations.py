"""From files to features: conversations in both generations of WildChat's schema, and plain lists of prompts.

SQL for DuckDB that takes from every conversation what the rules of `wildchat` need, and the reasons why a row cannot be
judged.
"""

import gzip
import json
import re
from pathlib import Path

import pandas as pd

from hivemind_utils.tables import ids, reading

# str.strip() removes these; DuckDB's trim() alone removes blanks only.
WHITESPACE = "".join(chr(i) for i in range(0x110000) if chr(i).isspace())


HUGE_CHARS = 100_000


# Fields are read as JSON, so that a flag or a text of an odd form is seen and counted, not cast.
_TURN = ("role", "content", "language", "toxic", "hashed_ip")


_CONVERSATION = (
    "conversation_hash", "conversation_id", "model", "timestamp", "language", "hashed_ip", "conversation",
    "openai_moderation", "toxic",
)  # fmt: skip


YES, NO = ("true", "1", "1.0", "yes", "y", "t"), ("false", "0", "0.0", "no", "n", "f")
_NO_FLAG = ("", "null", "none", "nan", "na", "n/a", "<na>")


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
        if not any(map(_holds_conversations, addresses)):
            return "flat", ""
        turns = f"STRUCT({', '.join(f'{name} JSON' for name in _TURN)})[]"
        fields = ", ".join(f"{k}: '{turns if k == 'conversation' else 'JSON'}'" for k in _CONVERSATION)
        return "json", (
            f"SELECT * FROM read_json({listed}, format='newline_delimited', ignore_errors=true, "
            f"maximum_object_size=67108864, columns={{{fields}}})"
        )
    if suffix in ("csv", "tsv", "json"):
        return "flat", ""
    raise ValueError(f"Expected .parquet, .jsonl, .json, .csv or .tsv files, but the suffix is {suffix!r}.")


def recorded_types(db, view):
    """DuckDB types of the fields that the conversations of JSON files have, from every row.

    Parameters
    ----------
    db : duckdb.DuckDBPyConnection
    view : str
        From `scan`.

    Returns
    -------
    dict of str to str
    """
    own = [name for name in _CONVERSATION if name != "conversation"]
    counts = [f"count({name}) > 0" for name in own] + [
        f"coalesce(bool_or(len(list_filter(conversation, lambda t: t.{name} IS NOT NULL)) > 0), false)"
        for name in _TURN
    ]
    found = db.execute(f"SELECT {', '.join(counts)} FROM ({view})").fetchone()
    present = {name for name, there in zip([*own, *(f"conversation.{n}" for n in _TURN)], found, strict=True) if there}
    turn = ", ".join(f"{n} JSON" for n in _TURN if n in ("role", "content") or f"conversation.{n}" in present)
    return {"conversation": f"STRUCT({turn})[]"} | {name: "JSON" for name in own if name in present}


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
    kinds = {name.lower(): kind for name, kind in described.items()}
    conversation = kinds["conversation"]
    role, content = _kind_within(conversation, "role"), _kind_within(conversation, "content")
    if role not in ("VARCHAR", "JSON") or content not in ("VARCHAR", "JSON"):
        raise ValueError(
            f"`conversation` must be a list of turns with role and content, but its type is {conversation}."
        )

    def own(name):
        return _text(name, kinds[name]) if name in kinds else None

    def of_turn(name, turn):
        kind = _kind_within(conversation, name)
        return _text(f"{turn}.{name}", kind) if kind else None

    ids = [own(name) for name in ("conversation_hash", "conversation_id") if name in kinds]
    if not ids:
        raise ValueError(f"Conversations need `conversation_hash` or `conversation_id`; there are {sorted(described)}.")
    turn_toxic = of_turn("toxic", "t")
    toxic = [f"[{own('toxic')}]"] * ("toxic" in kinds) + (
        [f"list_transform(conversation, lambda t: {turn_toxic})"] if turn_toxic else []
    )
    moderation = kinds.get("openai_moderation")
    user = [part for part in (of_turn("hashed_ip", "first_turn"), own("hashed_ip")) if part]
    parts = {
        "conversation_id": f"coalesce({', '.join(ids)})",
        "model": own("model"),
        "timestamp": _utc("timestamp", kinds["timestamp"]) if "timestamp" in kinds else None,
        "language": own("language"),
        "first_language": of_turn("language", "first_turn"),
        "toxic": f"list_concat({', '.join(toxic)})" if len(toxic) > 1 else toxic[0] if toxic else None,
        "flagged": _moderation("openai_moderation", moderation) if moderation else None,
        "n_user_turns": "len(list_filter(roles, lambda r: r = 'user'))",
        "text": stripped(of_turn("content", "first_turn")),
        "hashed_user": f"coalesce({', '.join(user)})" if user else None,
    }
    types = {"timestamp": "TIMESTAMP", "toxic": "VARCHAR[]", "flagged": "VARCHAR[]"}
    absent = {name: f"NULL::{types.get(name, 'VARCHAR')}" for name in parts}
    selected = ", ".join(f"{sql or absent[name]} AS {name}" for name, sql in parts.items())
    needed = [c for c in described if c.lower() in _CONVERSATION]
    odd = {"message": "first_turn.content"} if content == "JSON" else {}
    odd |= {"model": "model"} if kinds.get("model") == "JSON" else {}
    odd = " ".join(
        f"WHEN json_type({field}) IN ('OBJECT', 'ARRAY') THEN {quote(f'{name} is no text')}"
        for name, field in odd.items()
    )
    select = (
        f"SELECT {selected}, conversation IS NULL OR len(conversation) = 0 AS no_conversation, "
        f"{f'CASE {odd} END' if odd else 'NULL::VARCHAR'} AS odd, "
        f"{' AND '.join(f'{c} IS NULL' for c in needed if c.lower() != 'openai_moderation')} AS no_row FROM ("
        "SELECT *, conversation[list_position(roles, 'user')] AS first_turn FROM ("
        f"SELECT {', '.join(needed)}, list_transform(conversation, lambda t: {of_turn('role', 't')}) AS roles "
        f"FROM ({view})))"
    )
    return select, {name for name, sql in parts.items() if sql}


def _kind_within(kind, field):
    """DuckDB type of a field within a type of structures, '' where it has none."""
    found = re.search(rf"\b{field}\"? ([A-Z_]+)", kind)
    return found[1] if found else ""


def _text(sql, kind):
    """SQL of a value as text."""
    return sql if kind == "VARCHAR" else f"({sql} ->> '$')" if kind == "JSON" else f"CAST({sql} AS VARCHAR)"


def _moderation(sql, kind):
    """SQL of the texts of all flags of a moderation, in whatever form it was stored."""
    if (
        kind.startswith("STRUCT")
        and _kind_within(kind, "flagged")
        and "results" not in kind
        and not kind.endswith("[][]")
    ):
        inner = _text("m.flagged", _kind_within(kind, "flagged"))
        return f"list_transform({sql if kind.endswith('[]') else f'[{sql}]'}, lambda m: {inner})"
    plain = _text(sql, kind if kind in ("VARCHAR", "JSON") else "JSON")
    value = f"try_cast({sql} AS JSON)"
    if kind == "JSON":  # a text may hold JSON
        value = f"CASE WHEN json_type({sql}) = 'VARCHAR' THEN try_cast({plain} AS JSON) ELSE {sql} END"
    elif kind != "VARCHAR":
        value = sql = f"to_json({sql})"
        plain = _text(sql, "JSON")
    inside = f"json_extract_string({value}, '$..flagged')"
    return (
        f"CASE WHEN {sql} IS NULL OR CAST({value} AS VARCHAR) IN ('[]', '{{}}') THEN NULL "
        f"WHEN coalesce(json_type({value}), '') NOT IN ('OBJECT', 'ARRAY') THEN [{plain}] "
        f"WHEN len({inside}) = 0 THEN [{plain}] ELSE {inside} END"
    )


def stripped(sql):
    """SQL of Python's ``str.strip``; most messages begin and end with a visible character, which is quick to see."""
    visible = " AND ".join(f"{sql}[{end}] BETWEEN '!' AND '~'" for end in (1, -1))
    return f"CASE WHEN {visible} THEN {sql} ELSE trim({sql}, {quote(WHITESPACE)}) END"


def labelled(select, has_language):
    """Wrap features in the reasons why a row is bad, the first that holds."""
    unknown = "coalesce(lower(trim(language)), '') IN ('', 'unknown', 'nolang', 'none')" if has_language else "false"
    flags = ", ".join(f"list_transform({name}, lambda f: lower(trim(f))) AS {name}" for name in ("toxic", "flagged"))
    known = f"list_contains([{', '.join(map(quote, (*YES, *NO, *_NO_FLAG)))}], f)"
    decided = ", ".join(
        f"CASE WHEN list_has_any({name}, {_sql_list(YES)}) THEN true "
        f"WHEN list_has_any({name}, {_sql_list(NO)}) THEN false END AS {name}"
        for name in ("toxic", "flagged")
    )
    return (
        "SELECT * EXCLUDE (no_conversation, no_row, odd, text), CASE WHEN bad IS NULL THEN text END AS text FROM ("
        "SELECT *, length(text) AS n_chars, CASE WHEN no_row THEN 'unreadable row' "
        "WHEN no_conversation THEN 'no conversation' WHEN coalesce(n_user_turns, 0) = 0 THEN 'no user turn' "
        "WHEN odd IS NOT NULL THEN odd WHEN odd_flag IS NOT NULL THEN 'unreadable flag' "
        "WHEN coalesce(text, '') = '' THEN 'empty user message' "
        f"WHEN {unknown} THEN 'unknown language' "
        "WHEN contains(text, chr(65533)) OR contains(text, chr(0)) THEN 'broken Unicode' "
        f"WHEN length(text) > {HUGE_CHARS} THEN 'huge text (over {HUGE_CHARS:,} characters)' END AS bad "
        f"FROM (SELECT * REPLACE ({decided}), "
        f"list_filter(list_concat(toxic, flagged), lambda f: f IS NOT NULL AND NOT {known})[1] AS odd_flag "
        f"FROM (SELECT * REPLACE ({flags}) FROM ({select}))))"
    )


def odd_flags(spellings):
    """Sentence that refuses spellings of a flag that nobody can read; None where there are none.

    Parameters
    ----------
    spellings : list of str
        What stood in the files, without objects and lists, whose rows are bad.
    """
    if not spellings:
        return None
    return (
        f"A safety flag must be one of {[*YES, *NO]} or empty, but {spellings[:5]} was found. "
        "Write the flags so, or leave the rules non_toxic and not_flagged out of `rules`."
    )


def prompt_list(addresses, columns):
    """Features of a plain list of prompts, and which of them the list has."""
    if unknown := sorted(set(columns) - set(_FIELDS)):
        raise ValueError(f"`columns` may name {list(_FIELDS)}, but {unknown} was passed.")
    frames = [reading.read_file(a) if not _is_json_lines(a) else _json_rows(a) for a in addresses]
    raw = pd.concat(frames, ignore_index=True).astype(object)
    names = {str(name).lower(): name for name in reversed(raw.columns)}
    if "text" not in columns:
        found = [names[name] for name in _TEXT_NAMES if name in names]
        if not found:
            raise ValueError(
                f"A list of prompts needs a text column; there are {list(raw.columns)}. "
                f"Say which it is, for example `columns: {{text: {raw.columns[0]}}}`."
            )
        columns = columns | {"text": found[0]}
    if "flagged" not in names and "openai_moderation" in names:
        columns = {"flagged": names["openai_moderation"]} | columns
    columns = {name: names[name] for name in _FIELDS if name in names and name != "text"} | columns
    file = ", ".join(Path(address).name for address in addresses)
    given = {name: reading.field_values(raw, theirs, name, file) for name, theirs in columns.items()}
    nothing = pd.Series([None] * len(raw), index=raw.index, dtype=object)
    frame = pd.DataFrame(index=raw.index)
    odd = nothing.copy()
    for name in [name for name in _FIELDS if name not in ("timestamp", "toxic", "flagged")]:
        values, objects = _texts(given.get(name, nothing), name, file)
        odd[objects] = f"{'message' if name == 'text' else name} is no text"
        texts = [None if v is None or (v == "" and name != "text") else ids.repaired(v) for v in values]
        texts = [v.strip() if v and name == "text" else v for v in texts]
        frame[name] = pd.Series(texts, index=raw.index, dtype=object)
    for name in ("timestamp", "toxic", "flagged"):
        frame[name] = pd.Series(list(map(_written, given.get(name, nothing))), index=raw.index, dtype=object)
    if "conversation_id" not in columns:
        frame["conversation_id"] = frame["text"].map(ids.text_id, na_action="ignore")
    frame = frame.assign(
        first_language=None, n_user_turns=1, no_conversation=False, odd=odd, no_row=raw.isna().all(axis=1)
    )
    return frame, {name for name in columns if name not in ("toxic", "flagged") or frame[name].notna().any()}


PROMPT_LIST = (  # SQL: features of the frame of `prompt_list`
    "SELECT * EXCLUDE (odd) REPLACE ({time} AS timestamp, [toxic] AS toxic, {flags} AS flagged, {texts}), "
    "CAST(odd AS VARCHAR) AS odd FROM (SELECT * REPLACE ({raw}) FROM prompt_list)"
)


def prompt_list_features():
    """SQL of the features of a list of prompts, registered as ``prompt_list``."""
    raw = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in ("timestamp", "toxic", "flagged"))
    texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in (*_FIELDS[:3], "language", "hashed_user"))
    flags = _moderation("flagged", "VARCHAR")
    return PROMPT_LIST.format(time=_utc("timestamp", "VARCHAR"), flags=flags, texts=texts, raw=raw)


def _texts(values, name, file):
    """Texts of a column, None for objects and lists, and where these are; refused where a column holds nothing else."""
    values = pd.Series(values)
    objects = values.map(reading.is_nested)
    if objects.any() and objects[values.notna()].all():
        reading.as_texts(values, name, file)
    return reading.as_texts(values.where(~objects, None), name, file), objects.to_numpy(bool)


def _written(value):
    """Text of a flag or a time as it would stand in a CSV file; None for nothing."""
    if reading.is_nested(value):
        return json.dumps(reading.plain(value), default=str)
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if value is None or (not isinstance(value, str) and pd.isna(value)) or value == "":
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _is_json_lines(address):
    return re.sub(r"\.gz$", "", str(address).lower()).endswith((".jsonl", ".ndjson"))


def _lines(address):
    opener = gzip.open if str(address).lower().endswith(".gz") else open
    with opener(address, "rt", encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from filter(str.strip, file)


def _parsed(line):
    """Object of a line; an empty one where the line holds none."""
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _json_rows(address):
    """Rows of a JSON Lines file; a line that is no JSON object is an empty row."""
    return pd.DataFrame([_parsed(line) for line in _lines(address)], dtype=object)


def _holds_conversations(address):
    """Whether any line of a JSON Lines file, however late, is a conversation."""
    return "://" in address or any("conversation" in _parsed(x) for x in _lines(address) if '"conversation"' in x)


def _utc(sql, kind):
    """SQL of a time in UTC, without zone: the one way in which times are read, whatever the format of the file.

    Texts are ISO 8601, with or without an offset from UTC, or seconds, milli-, micro- or nanoseconds since 1970.
    """
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({sql}))"
    if kind not in ("VARCHAR", "JSON") and not kind.endswith("INT") and kind not in ("INTEGER", "DOUBLE", "FLOAT"):
        return f"try_cast({sql} AS TIMESTAMP)"
    text = f"trim({_text(sql, kind)})"
    zoned = f"regexp_replace(replace({text}, chr(8722), '-'), '(:[0-9.]+) +([+-])', '\\1\\2')"
    number = f"try_cast({text} AS DOUBLE)"
    sizes = (("1e11", "1e6"), ("1e14", "1e3"), ("1e17", "1"))
    by_size = " ".join(f"WHEN {number} < {below} THEN {by}" for below, by in sizes)
    since_1970 = f"make_timestamp(CAST(round({number} * CASE {by_size} ELSE 1e-3 END) AS BIGINT))"
    written = f"make_timestamp(epoch_us(try_cast({zoned} AS TIMESTAMPTZ)))"
    return f"CASE WHEN {number} BETWEEN 1e8 AND 1e19 THEN {since_1970} ELSE {written} END"


def _sql_list(texts):
    return f"[{', '.join(map(quote, texts))}]"


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

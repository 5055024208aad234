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
from hivemind_utils.tables.wording import counted, listed
from hivemind_utils.tables.yes_no import NO, NOTHING, YES

# str.strip() removes these; DuckDB's trim() alone removes blanks only.
WHITESPACE = "".join(chr(i) for i in range(0x110000) if chr(i).isspace())


HUGE_CHARS = 100_000


# Fields are read as JSON, so that a flag or a text of an odd form is seen and counted, not cast.
_TURN = ("role", "content", "language", "toxic", "hashed_ip", "openai_moderation")


_CONVERSATION = (
    "conversation_hash", "conversation_id", "model", "timestamp", "language", "hashed_ip", "conversation",
    "openai_moderation", "flagged", "toxic",
)  # fmt: skip


_TEXT_NAMES = ("text", "prompt", "query", "question")


_MODERATION = ("openai_moderation", "flagged")


_FIELDS = ("conversation_id", "text", "model", "timestamp", "language", "toxic", "flagged", "hashed_user")


def scan(addresses, db=None):
    """SQL that reads the files as they are: ("parquet", "json" or "flat", the FROM clause).

    Parameters
    ----------
    addresses : sequence of str
    db : duckdb.DuckDBPyConnection, optional
        Finds how JSON Lines spell the fields of conversations (``Toxic``); else as this module does.
    """
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
        options = f"{listed}, format='newline_delimited', ignore_errors=true, maximum_object_size=67108864"
        own, of_turn = _spelt(db, options) if db else (_CONVERSATION, _TURN)
        turns = f"STRUCT({', '.join(f'{name} JSON' for name in of_turn)})[]"
        fields = ", ".join(f"{k}: '{turns if k == 'conversation' else 'JSON'}'" for k in own)
        return "json", f"SELECT * FROM read_json({options}, columns={{{fields}}})"
    if suffix in ("csv", "tsv", "json"):
        return "flat", ""
    raise ValueError(f"Expected .parquet, .jsonl, .json, .csv or .tsv files, but the suffix is {suffix!r}.")


def _spelt(db, options):
    """Fields of conversations and of their turns in JSON Lines as these files spell them, small or capital."""
    objects = f"SELECT json FROM read_json_objects({options}) WHERE json_type(json) = 'OBJECT'"
    turns = f"SELECT unnest(json_extract(json, '$.conversation[*]')) AS turn FROM ({objects})"
    own = db.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM ({objects})").fetchall()
    of_turn = f"SELECT DISTINCT unnest(json_keys(turn)) FROM ({turns}) WHERE json_type(turn) = 'OBJECT'"
    return (
        [_one_spelling(name, [key for (key,) in found]) for name in fields]
        for fields, found in ((_CONVERSATION, own), (_TURN, db.execute(of_turn).fetchall()))
    )


def _one_spelling(name, keys):
    """Return the one of the keys that is this name, small or capital letters aside; the name itself where none is."""
    found = sorted(str(key) for key in keys if str(key).lower() == name)
    if len(found) > 1:
        raise ValueError(f"A field must have one name, but {found} stand in the data. Rename or delete all but one.")
    return found[0] if found else name


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
    flags = _flags(kinds, _kind_within(conversation, "openai_moderation"))
    user = [part for part in (of_turn("hashed_ip", "first_turn"), own("hashed_ip")) if part]
    parts = {
        "conversation_id": f"coalesce({', '.join(ids)})",
        "model": own("model"),
        "timestamp": _utc("timestamp", kinds["timestamp"]) if "timestamp" in kinds else None,
        "told_time": own("timestamp"),
        "language": own("language"),
        "first_language": of_turn("language", "first_turn"),
        "toxic": f"list_concat({', '.join(toxic)})" if len(toxic) > 1 else toxic[0] if toxic else None,
        "flagged": f"list_concat({', '.join(flags)})" if len(flags) > 1 else flags[0] if flags else None,
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
        f"{' AND '.join(f'{c} IS NULL' for c in needed if c.lower() not in _MODERATION)} AS no_row FROM ("
        "SELECT *, conversation[list_position(roles, 'user')] AS first_turn FROM ("
        f"SELECT {', '.join(needed)}, list_transform(conversation, lambda t: {of_turn('role', 't')}) AS roles "
        f"FROM ({view})))"
    )
    return select, {name for name, sql in parts.items() if sql}


def _flags(kinds, of_turn):
    """SQL of the lists of flags that a conversation and its turns carry, wherever they stand."""
    flags = [_moderation(name, kinds[name]) for name in _MODERATION if name in kinds]
    if of_turn:
        one = _moderation("t.openai_moderation", of_turn if of_turn in ("VARCHAR", "JSON") else "STRUCT")
        flags.append(f"flatten(list_transform(conversation, lambda t: {one}))")
    return flags


def _kind_within(kind, field):
    """DuckDB type of a field within a type of structures, '' where it has none."""
    found = re.search(rf"\b(?i:{field})\"? ([A-Z_]+)", kind)
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
    nothing = f"({', '.join(map(quote, NOTHING))})"
    lowered = f"lower(trim(f, {quote(WHITESPACE)}))"
    flags = ", ".join(f"list_transform({name}, lambda f: {lowered}) AS {name}" for name in ("toxic", "flagged"))
    known = f"list_contains([{', '.join(map(quote, (*YES, *NO, *NOTHING)))}], f)"
    decided = ", ".join(
        f"CASE WHEN list_has_any({name}, {_sql_list(YES)}) THEN true "
        f"WHEN list_has_any({name}, {_sql_list(NO)}) THEN false END AS {name}"
        for name in ("toxic", "flagged")
    )
    return (
        "SELECT * EXCLUDE (no_conversation, no_row, odd, text, told_time), "
        "CASE WHEN bad IS NULL THEN text END AS text, "
        f"CASE WHEN timestamp IS NULL AND lower(trim(told_time)) NOT IN {nothing} THEN told_time END AS odd_time FROM ("
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


def odd_times(n, examples):
    """Say how many times nobody can read without guessing, and how to write them; None where there are none.

    Parameters
    ----------
    n : int
    examples : list of str
    """
    if not n:
        return None
    return (
        f"{counted(n, 'time')} could not be read and stay empty, for example {listed(map(repr, examples))}: write "
        "times as 2023-05-31T14:00:00Z"
    )


def prompt_list(addresses, columns):
    """Features of a plain list of prompts, and which of them the list has."""
    if unknown := sorted(set(columns) - set(_FIELDS)):
        raise ValueError(f"`columns` may name {list(_FIELDS)}, but {unknown} was passed.")
    frames = [reading.read_file(a) if not _is_json_lines(a) else _json_rows(a) for a in addresses]
    raw = pd.concat(frames, ignore_index=True).astype(object)
    names = {str(name).lower(): name for name in reversed(raw.columns)}
    for name in ({*_FIELDS, *_MODERATION} - set(columns)) & set(names):
        names[name] = _one_spelling(name, raw.columns)
    if "text" not in columns:
        found = [names[name] for name in _TEXT_NAMES if name in names]
        if not found:
            raise ValueError(
                f"A list of prompts needs a text column; there are {list(raw.columns)}. "
                f"Say which it is, for example `columns: {{text: {raw.columns[0]}}}`."
            )
        columns = columns | {"text": found[0]}
    columns = {name: names[name] for name in _FIELDS if name in names and name != "text"} | columns
    if "openai_moderation" in names:
        columns = {"flagged": names["openai_moderation"]} | columns | {"moderation": names["openai_moderation"]}
    file = ", ".join(Path(address).name for address in addresses)
    given = {name: reading.field_values(raw, theirs, name, file) for name, theirs in columns.items()}
    nothing = pd.Series([None] * len(raw), index=raw.index, dtype=object)
    frame = pd.DataFrame(index=raw.index)
    odd = nothing.copy()
    for name in [name for name in _FIELDS if name not in ("timestamp", "toxic", "flagged")]:
        told = given.get(name, nothing)
        if name == "conversation_id":
            told = told.map(lambda value: value if reading.is_nested(value) else ids.written(value)).astype(object)
        values, objects = _texts(told, name, file)
        odd[objects] = f"{'message' if name == 'text' else name} is no text"
        texts = [None if v is None or (v == "" and name != "text") else ids.repaired(v) for v in values]
        texts = [v.strip() if v and name == "text" else v for v in texts]
        frame[name] = pd.Series(texts, index=raw.index, dtype=object)
    for name in ("timestamp", "toxic", "flagged", "moderation"):
        frame[name] = pd.Series(list(map(_written, given.get(name, nothing))), index=raw.index, dtype=object)
    own = frame["text"].map(ids.text_id, na_action="ignore")
    frame["conversation_id"] = frame["conversation_id"].where(frame["conversation_id"].notna(), own)
    frame = frame.assign(
        first_language=None, n_user_turns=1, no_conversation=False, odd=odd, no_row=raw.isna().all(axis=1)
    )
    return frame, set(columns) - {"moderation"}


PROMPT_LIST = (  # SQL: features of the frame of `prompt_list`
    "SELECT * EXCLUDE (odd, moderation) REPLACE ({time} AS timestamp, [toxic] AS toxic, {flags} AS flagged, {texts}), "
    "timestamp AS told_time, CAST(odd AS VARCHAR) AS odd FROM (SELECT * REPLACE ({raw}) FROM prompt_list)"
)


def prompt_list_features():
    """SQL of the features of a list of prompts, registered as ``prompt_list``."""
    raw = ("timestamp", "toxic", "flagged", "moderation")
    raw = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in raw)
    texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in (*_FIELDS[:3], "language", "hashed_user"))
    flags = f"list_concat({', '.join(_moderation(name, 'VARCHAR') for name in ('flagged', 'moderation'))})"
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

    Texts are ISO 8601, with or without separators and an offset from UTC, mail headers (RFC 2822), or seconds, milli-,
    micro- or nanoseconds since 1970. What has two readings, such as 05/01/2023, is no time: see `odd_times`.
    """
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({sql}))"
    is_number = kind.endswith("INT") or kind.startswith("DECIMAL") or kind in ("INTEGER", "DOUBLE", "FLOAT")
    if kind not in ("VARCHAR", "JSON") and not is_number:
        return f"try_cast({sql} AS TIMESTAMP)"
    text = f"trim({_text(sql, kind)}, {quote(WHITESPACE)})"
    written = f"replace({text}, chr(8722), '-')"
    for pattern, put in _TIMES:
        written = f"regexp_replace({written}, '{pattern}', '{put}')"
    mail = f"try_strptime({written}, ['%a, %d %b %Y %H:%M:%S%z', '%d %b %Y %H:%M:%S%z'])"
    instant = f"make_timestamp(epoch_us(coalesce(try_cast({written} AS TIMESTAMPTZ), {mail})))"
    number = f"try_cast({text} AS DOUBLE)"
    since_1970 = " ".join(
        f"WHEN {number} BETWEEN {first} AND {last} THEN make_timestamp(CAST(round({number} * {to_us}) AS BIGINT))"
        for first, last, to_us in _SINCE_1970
    )
    return f"CASE WHEN regexp_full_match({text}, '{_TO_THE_MINUTE}') THEN NULL {since_1970} ELSE {instant} END"


_SINCE_1970 = (("1e8", "4.1e9", "1e6"), ("1e11", "4.1e12", "1e3"), ("1e14", "4.1e15", "1"), ("1e17", "4.1e18", "1e-3"))
_DAY = r"((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_TO_THE_MINUTE = rf"{_DAY}([01]\d|2[0-3])[0-5]\d"  # as milliseconds since 1970 it is a time as well: not read
_TIMES = (  # other spellings of a time, and those of ISO 8601 that DuckDB reads
    (rf"^{_DAY}$", r"\1-\2-\3"),
    (rf"^{_DAY}[Tt ]?(\d\d)(\d\d)(\d\d)($|[.,Zz+ -])", r"\1-\2-\3 \4:\5:\6\7"),
    (r"(\d)[Tt](\d)", r"\1 \2"),
    (r"(:\d\d),(\d)", r"\1.\2"),
    (r"(:\d\d(?:\.\d+)?) *(?:[Zz]|UTC|GMT|UT)$", r"\1+0000"),
    (r"(:[0-9.]+) +([+-]\d\d:?\d\d) *\([A-Za-z]+\)$", r"\1\2"),  # a mail's "+0200 (CEST)"
    (r"(:[0-9.]+) +([+-])", r"\1\2"),
)


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

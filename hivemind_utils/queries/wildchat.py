"""From chat logs to first messages: rules in SQL, a waterfall, and how much hangs on each rule (DuckDB, out of core).

Reads conversations (Parquet or JSON Lines, both generations of WildChat's schema, local or ``hf://``) and plain lists
of prompts (CSV, JSON Lines, Parquet). Every row is kept, removed by a named rule, or counted as bad with a reason.
"""

import json
import re
import tempfile
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from hivemind_utils.queries import near_duplicates
from hivemind_utils.tables import ids as table_ids
from hivemind_utils.tables import schema
from hivemind_utils.tables.files import read_file

# str.strip() removes these; DuckDB's trim() alone removes blanks only.
WHITESPACE = "".join(chr(i) for i in range(0x110000) if chr(i).isspace())


HUGE_CHARS = 100_000


FILTERS = {
    "english": "the conversation and its first user turn are in one of the languages",
    "non_toxic": "neither the conversation nor any of its turns carries the flag `toxic`",
    "not_flagged": "no utterance was flagged by the moderation service",
    "single_turn": "one user turn, whatever the system or the assistant said",
    "gpt4": "the model's name begins with one of the prefixes",
    "length": "code points of the stripped first user message, bounds included",
}


DUPLICATES = {
    "exact_duplicates": "the first of equal normalised messages stays",
    "near_duplicates": "the first of messages that share most character 5-grams stays",
    "per_user": "at most so many messages of one hashed address, earliest first",
}


_NEEDS = {
    "english": "language",
    "non_toxic": "toxic",
    "not_flagged": "flagged",
    "single_turn": "n_user_turns",
    "gpt4": "model",
}


_RULE_OF = {
    "languages": "english", "max_user_turns": "single_turn", "model_prefixes": "gpt4", "min_chars": "length",
    "max_chars": "length", "near_duplicate_threshold": "near_duplicates",
}  # fmt: skip


_TURN = {"role": "VARCHAR", "content": "VARCHAR", "language": "VARCHAR", "toxic": "BOOLEAN", "hashed_ip": "VARCHAR"}


_CONVERSATION = {
    **dict.fromkeys(["conversation_hash", "conversation_id", "model", "timestamp", "language", "hashed_ip"], "VARCHAR"),
    "conversation": "STRUCT({})[]",
    "openai_moderation": "STRUCT(flagged BOOLEAN)[]",
    "toxic": "BOOLEAN",
}


_TEXT_NAMES = ("text", "prompt", "query", "question")


_FIELDS = ("conversation_id", "text", "model", "timestamp", "language", "toxic", "flagged", "hashed_user")


@dataclass(frozen=True)
class Rules:
    """The bounds of the rules, and which apply in which order."""

    order: tuple[str, ...] = (*FILTERS, *DUPLICATES)
    languages: tuple[str, ...] = ("English",)
    max_user_turns: int = 1
    model_prefixes: tuple[str, ...] = ("gpt-4",)
    min_chars: int = 15
    max_chars: int = 200
    near_duplicate_threshold: float = 0.8
    max_per_user: int | None = None

    def __post_init__(self):
        known = [*FILTERS, *DUPLICATES]
        if unknown := [rule for rule in self.order if rule not in known]:
            raise ValueError(f"The rules are {known}, but {unknown} was passed.")
        if len(set(self.order)) < len(self.order):
            raise ValueError(f"Every rule applies once, but {list(self.order)} was passed.")
        late = [rule in DUPLICATES for rule in self.order]
        if late != sorted(late):
            raise ValueError(f"Duplicates are removed after all filters, but the order is {list(self.order)}.")
        if not 0 <= self.min_chars <= self.max_chars:
            raise ValueError(f"Length bounds must be 0 <= min <= max, but are {self.min_chars} and {self.max_chars}.")
        if self.max_per_user is not None and self.max_per_user < 1:
            raise ValueError(f"`max_per_user` must be at least 1 or None, but {self.max_per_user} was passed.")


def query_id(conversation_id, text):
    """Stable id of a first message: a hash of its conversation's id and its stripped text."""
    return table_ids.text_id(f"{conversation_id}\n{text.strip()}")


class Logs:
    """Conversations, read once into a table of features that rules, counts and sensitivities are taken from.

    Parameters
    ----------
    addresses : sequence of str
        Files of one format, or ``hf://`` and ``https://`` addresses and patterns, which DuckDB's httpfs reads.
    columns : dict of str to str, optional
        For lists of prompts: ours (conversation_id, text, model, timestamp, language, toxic, flagged, hashed_user) to
        theirs. The text may be called text, prompt, query or question.
    memory_limit : str
        Beyond it DuckDB spills to a temporary folder.
    n_threads : int
    """

    def __init__(self, addresses, columns=None, memory_limit="600MB", n_threads=2):
        import duckdb

        self._folder = tempfile.TemporaryDirectory()
        self.addresses = [str(address) for address in addresses]
        self._db = duckdb.connect()
        self._db.execute(
            f"SET threads={int(n_threads)}; SET memory_limit='{memory_limit}'; SET preserve_insertion_order=false; "
            f"SET temp_directory={_quote(self._folder.name)}; SET enable_progress_bar=false"
        )
        if any("://" in address for address in self.addresses):
            self._db.execute("INSTALL httpfs; LOAD httpfs")
        self._columns = dict(columns or {})
        try:
            self._read_or_repair(duckdb.InvalidInputException)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Let go of the table of features and of what was spilled."""
        self._db.close()
        self._folder.cleanup()

    def _read_or_repair(self, invalid_input):
        try:
            self._read()
        except invalid_input as error:
            if "Invalid string encoding" not in str(error):
                raise
            self.addresses = [_repaired(address, Path(self._folder.name)) for address in self.addresses]
            self._read()

    def _read(self):
        kind, view = scan(self.addresses)
        if kind in ("parquet", "json"):
            described = dict(self._db.execute(f"SELECT column_name, column_type FROM (DESCRIBE {view})").fetchall())
        if kind == "parquet" and "conversation" not in described:
            kind = "flat"
        if kind == "flat":
            frame, self.recorded = _prompt_list(self.addresses, self._columns)
            self._db.register("prompt_list", frame)
            select = "SELECT * FROM prompt_list"
        else:
            if self._columns:
                raise ValueError("`columns` is for lists of prompts; conversations have WildChat's names.")
            select, self.recorded = conversation_features(view, described)
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE features AS {labelled(select, 'language' in self.recorded)}")
        self.n_rows = self._count("true")

    def _count(self, condition):
        return self._db.execute(f"SELECT count(*) FROM features WHERE {condition}").fetchone()[0]

    def bad_rows(self):
        """Rows that no rule can judge, by reason: DataFrame with reason, n_rows and one example's id."""
        return self._db.execute(
            "SELECT bad AS reason, count(*) AS n_rows, min(conversation_id) AS example FROM features "
            "WHERE bad IS NOT NULL GROUP BY bad ORDER BY n_rows DESC, reason"
        ).df()

    def filter(self, rules):
        """Apply the rules in their order.

        Parameters
        ----------
        rules : Rules

        Returns
        -------
        queries : pandas.DataFrame
            Table ``01_queries``: what is left, ordered by time and id.
        waterfall : pandas.DataFrame
            Table ``01_waterfall`` without `published`.
        removed : pandas.DataFrame
            Which message repeats which: query_id, kept_id, rule, text.
        """
        passed = "bad IS NULL"
        steps = [("readable", self.n_rows, self._count(passed), "rows with a user message in a known language")]
        for rule in [rule for rule in rules.order if rule in FILTERS]:
            applies = self._applies(rule)
            passed += f" AND {condition(rule, rules)}" if applies else ""
            note = FILTERS[rule] if applies else "not recorded in these data: nothing removed"
            steps.append((rule, steps[-1][2], self._count(passed), note))
        queries = self._queries(passed)
        removed = []
        for rule in [rule for rule in rules.order if rule in DUPLICATES]:
            n_in = len(queries)
            note = DUPLICATES[rule]
            if rule == "per_user" and (rules.max_per_user is None or "hashed_user" not in self.recorded):
                note = "no cap" if rules.max_per_user is None else "not recorded in these data: nothing removed"
            else:
                queries, gone = _deduplicate(queries, rule, rules)
                removed.append(gone)
            steps.append((rule, n_in, len(queries), note))
        waterfall = pd.DataFrame(steps, columns=["rule", "rows_in", "rows_out", "note"])
        waterfall.insert(0, "step", range(len(waterfall)))
        empty = pd.DataFrame(columns=["query_id", "kept_id", "rule", "text"])
        columns = [column.name for column in schema.TABLES["01_queries"].columns]
        return queries[columns].reset_index(drop=True), waterfall, pd.concat([empty, *removed], ignore_index=True)

    def sensitivity(self, rules, grid):
        """How many messages pass all filters when one bound moves and the others stay (before duplicates).

        Parameters
        ----------
        rules : Rules
        grid : dict of str to list
            Field of `Rules` to the values it takes; the present value is added. Bounds of rules that do not apply, or
            whose column the data lack, are left out.

        Returns
        -------
        pandas.DataFrame
            Table ``01_sensitivity``: bound, value, n_queries, is_used.
        """
        rows = []
        for bound, values in grid.items():
            if _RULE_OF[bound] not in rules.order or not self._applies(_RULE_OF[bound]):
                continue
            used = asdict(rules)[bound]
            values = [tuple(v) if isinstance(v, list) else v for v in values]
            for value in [*values, *([] if used in values else [used])]:
                if bound == "near_duplicate_threshold":
                    n = self._n_distinct(rules, value)
                else:
                    try:
                        n = self._count(self._all_filters(Rules(**asdict(rules) | {bound: value})))
                    except ValueError:  # a lower bound above the upper one keeps nothing
                        n = 0
                shown = "any" if value == ("",) else ", ".join(value) if isinstance(value, tuple) else f"{value:g}"
                rows.append((bound, shown, n, value == used))
        for rule in [rule for rule in rules.order if rule in FILTERS and self._applies(rule)]:
            rest = Rules(**asdict(rules) | {"order": tuple(r for r in rules.order if r != rule)})
            rows.append(("rule left out", rule, self._count(self._all_filters(rest)), False))
        rows.append(("rule left out", "none", self._count(self._all_filters(rules)), True))
        return pd.DataFrame(rows, columns=["bound", "value", "n_queries", "is_used"])

    def _n_distinct(self, rules, threshold):
        if not hasattr(self, "_texts"):
            distinct, _ = _deduplicate(self._queries(self._all_filters(rules)), "exact_duplicates", rules)
            self._texts = distinct["text"].tolist()
        lead = near_duplicates.leaders(self._texts, threshold)
        return int((lead == range(len(lead))).sum())

    def _applies(self, rule):
        return rule not in _NEEDS or _NEEDS[rule] in self.recorded

    def _all_filters(self, rules):
        used = [rule for rule in rules.order if rule in FILTERS and self._applies(rule)]
        return " AND ".join(["bad IS NULL", *(condition(rule, rules) for rule in used)])

    def _queries(self, passed):
        frame = self._db.execute(
            "SELECT conversation_id, text, n_chars, model, language, hashed_user, "
            "strftime(timestamp, '%Y-%m-%dT%H:%M:%SZ') AS timestamp FROM features "
            f"WHERE {passed} ORDER BY features.timestamp, conversation_id, text"
        ).df()
        ids = [query_id(c, t) for c, t in zip(frame["conversation_id"], frame["text"], strict=True)]
        again = pd.Series(ids, dtype=str).groupby(ids).cumcount() if ids else []
        frame.insert(0, "query_id", [f"{i}-{n}" if n else i for i, n in zip(ids, again, strict=True)])
        return frame


def scan(addresses):
    """SQL that reads the files as they are: ("parquet", "json" or "flat", the FROM clause)."""
    suffixes = {re.sub(r"\.gz$", "", address.lower()).rsplit(".", 1)[-1] for address in addresses}
    if len(suffixes) != 1:
        raise ValueError(f"All files must have one format, but there are {sorted(suffixes)}.")
    (suffix,) = suffixes
    listed = "[" + ", ".join(_quote(address) for address in addresses) + "]"
    if suffix in ("parquet", "pq"):
        return "parquet", f"SELECT * FROM read_parquet({listed}, union_by_name=true)"
    if suffix in ("jsonl", "ndjson"):
        names = set().union(*map(_json_names, addresses))
        if "conversation" not in names:
            return "flat", ""
        fields = ", ".join(f"{k}: {_quote(v)}" for k, v in _conversation_types(names).items())
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
    return f"CASE WHEN {visible} THEN {sql} ELSE trim({sql}, {_quote(WHITESPACE)}) END"


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


def condition(rule, rules):
    """SQL condition of a rule on the features: true for rows that stay."""
    languages = "(" + ", ".join(map(_quote, rules.languages)) + ")"
    prefixes = " OR ".join(f"starts_with(model, {_quote(prefix)})" for prefix in rules.model_prefixes)
    return {
        "english": f"language IN {languages} AND coalesce(first_language, language) IN {languages}",
        "non_toxic": "NOT coalesce(toxic, false)",
        "not_flagged": "NOT coalesce(flagged, false)",
        "single_turn": f"n_user_turns <= {int(rules.max_user_turns)}",
        "gpt4": f"({prefixes or 'false'})",
        "length": f"n_chars BETWEEN {int(rules.min_chars)} AND {int(rules.max_chars)}",
    }[rule]


def _deduplicate(queries, rule, rules):
    """Keep the first of each group; also say which row was removed in favour of which."""
    queries = queries.reset_index(drop=True)
    if rule == "exact_duplicates":
        kept = queries["query_id"].groupby(queries["text"].map(near_duplicates.normalise)).transform("first")
    elif rule == "near_duplicates":
        lead = near_duplicates.leaders(queries["text"], rules.near_duplicate_threshold)
        kept = queries["query_id"].iloc[lead].reset_index(drop=True)
    else:
        number = queries.groupby("hashed_user").cumcount()  # rows without an address count as nobody's: none removed
        over = number.ge(rules.max_per_user) & queries["hashed_user"].notna()
        kept = queries["query_id"].mask(over, queries.groupby("hashed_user")["query_id"].transform("first"))
    gone = kept.ne(queries["query_id"])
    removed = queries.loc[gone, ["query_id", "text"]].assign(kept_id=kept[gone], rule=rule)
    return queries[~gone], removed[["query_id", "kept_id", "rule", "text"]]


def _prompt_list(addresses, columns):
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

    frame = pd.DataFrame({name: values(name, lambda v: _encodable(str(v))) for name in _FIELDS})
    frame["text"] = values("text", lambda v: _encodable(v).strip() if isinstance(v, str) else None)
    for name in ("toxic", "flagged"):
        frame[name] = values(name, lambda v: None if v == "" else str(v).lower() in ("true", "1", "yes"))
    time = pd.to_datetime(frame["timestamp"], errors="coerce", utc=True, format="ISO8601")
    frame["timestamp"] = time.dt.tz_localize(None).astype("datetime64[us]")
    if "conversation_id" not in columns:
        frame["conversation_id"] = values("text", lambda v: table_ids.text_id(str(v)))
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


def _encodable(text):
    """Replace lone surrogates, which no UTF-8 file can hold, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


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


def _repaired(address, folder):
    """Copy a local Parquet file whose strings are not all UTF-8, every broken byte replaced by U+FFFD."""
    import pyarrow.parquet as pq

    if "://" in address:
        raise ValueError(f"{address} holds strings that are not UTF-8; download it, local files are repaired.")
    source = pq.ParquetFile(address)
    target = folder / f"{table_ids.text_id(address)}.parquet"
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


def _quote(text):
    return "'" + str(text).replace("'", "''") + "'"

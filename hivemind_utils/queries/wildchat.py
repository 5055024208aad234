"""From chat logs to first messages: rules in SQL, a waterfall, and how much hangs on each rule (DuckDB, out of core).

Reads conversations (Parquet or JSON Lines, both generations of WildChat's schema, local or ``hf://``) and plain lists
of prompts (CSV, JSON Lines, Parquet). Every row is kept, removed by a named rule, or counted as bad with a reason.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from hivemind_utils.metrics import shares
from hivemind_utils.queries import conversations, near_duplicates
from hivemind_utils.tables import ids as table_ids
from hivemind_utils.tables import schema
from hivemind_utils.tables.wording import counted

FILTERS = {
    "languages": "the conversation and its first user turn are in one of the languages",
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


RULE_NAMES = {
    "readable": "readable", "languages": "language", "non_toxic": "not toxic", "not_flagged": "not flagged",
    "single_turn": "single turn", "gpt4": "GPT-4", "length": "length", "exact_duplicates": "no exact duplicates",
    "near_duplicates": "no near-duplicates", "per_user": "cap per user", "none": "all rules",
}  # fmt: skip


# Values of each bound that `Logs.sensitivity` tries next to the one used.
GRID = {
    "min_chars": [1, 5, 10, 15, 20, 30, 50],
    "max_chars": [50, 100, 150, 200, 300, 500, 1_000, 100_000],
    "max_user_turns": [1, 2, 3, 5],
    "near_duplicate_threshold": [0.5, 0.7, 0.8, 0.9, 1.0],
    "model_prefixes": [("gpt-4",), ("gpt-3.5",), ("",)],
}


_NEEDS = {
    "languages": "language",
    "non_toxic": "toxic",
    "not_flagged": "flagged",
    "single_turn": "n_user_turns",
    "gpt4": "model",
}


_RULE_OF = {
    "languages": "languages", "max_user_turns": "single_turn", "model_prefixes": "gpt4", "min_chars": "length",
    "max_chars": "length", "near_duplicate_threshold": "near_duplicates",
}  # fmt: skip


_FORMER = {"english": "languages"}  # former names of rules, still read


@dataclass(frozen=True)
class Rules:
    """The bounds of the rules, and which apply in which order; lists become tuples."""

    order: tuple[str, ...] = (*FILTERS, *DUPLICATES)
    languages: tuple[str, ...] = ("English",)
    max_user_turns: int = 1
    model_prefixes: tuple[str, ...] = ("gpt-4",)
    min_chars: int = 15
    max_chars: int = 200
    near_duplicate_threshold: float = 0.8
    max_per_user: int | None = None

    def __post_init__(self):
        if isinstance(self.languages, str):
            raise ValueError(f"`languages` must be a list such as ['English'], but {self.languages!r} was passed.")
        for name in ("order", "languages", "model_prefixes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "order", tuple(_FORMER.get(rule, rule) for rule in self.order))
        if "languages" in self.order and not self.languages:
            raise ValueError("The rule `languages` needs at least one language, but the list is empty.")
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
            f"SET temp_directory={conversations.quote(self._folder.name)}; SET enable_progress_bar=false; "
            "SET TimeZone='UTC'"
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
            self.addresses = [
                conversations.repaired_copy(address, Path(self._folder.name)) for address in self.addresses
            ]
            self._read()

    def _read(self):
        kind, view = conversations.scan(self.addresses, self._db)
        if kind in ("parquet", "json"):
            described = dict(self._db.execute(f"SELECT column_name, column_type FROM (DESCRIBE {view})").fetchall())
        if kind == "json":
            described = conversations.recorded_types(self._db, view)
        if kind == "parquet" and "conversation" not in described:
            kind = "flat"
        if kind == "flat":
            frame, self.recorded = conversations.prompt_list(self.addresses, self._columns)
            self._db.register("prompt_list", frame)
            select = conversations.prompt_list_features()
        else:
            if self._columns:
                raise ValueError("`columns` is for lists of prompts; conversations have WildChat's names.")
            select, self.recorded = conversations.conversation_features(view, described)
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE features AS {conversations.labelled(select, 'language' in self.recorded)}"
        )
        self.n_rows = self._count("true")
        self.recorded -= {flag for flag in ("toxic", "flagged") if not self._count(f"{flag} IS NOT NULL")}
        spelt = "SELECT DISTINCT odd_flag FROM features WHERE NOT regexp_matches(odd_flag, '^[{\\[]') ORDER BY 1"
        if refused := conversations.odd_flags([text for (text,) in self._db.execute(spelt).fetchall()]):
            raise ValueError(refused)

    def _count(self, condition):
        return self._db.execute(f"SELECT count(*) FROM features WHERE {condition}").fetchone()[0]

    def describe(self):
        """Say in a sentence what was read, and which times could not be."""
        recorded = ", ".join(sorted(self.recorded))
        said = f"{counted(self.n_rows, 'row')} in {counted(len(self.addresses), 'file')}; recorded: {recorded}"
        odd = "SELECT DISTINCT odd_time FROM features WHERE odd_time IS NOT NULL ORDER BY 1 LIMIT 3"
        examples = [text for (text,) in self._db.execute(odd).fetchall()]
        return "; ".join(filter(None, [said, conversations.odd_times(self._count("odd_time IS NOT NULL"), examples)]))

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
            note = FILTERS[rule] if applies else "not recorded in these data: nothing removed"
            if applies and (n := self._without_flag(rule, passed)):
                note += f"; {counted(n, 'row')} without this flag stay"
            passed += f" AND {condition(rule, rules)}" if applies else ""
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

    def sensitivity(self, rules, grid=GRID):
        """How many messages pass all filters when one bound moves and the others stay (before duplicates).

        Parameters
        ----------
        rules : Rules
        grid : dict of str to list
            Field of `Rules` to the values it takes; the value used is added. Bounds of rules that do not apply, or
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

    def _without_flag(self, rule, passed):
        return self._count(f"{passed} AND {_NEEDS[rule]} IS NULL") if rule in ("non_toxic", "not_flagged") else 0

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


def last_filter(waterfall):
    """Return the row of ``01_waterfall`` after the last filter, before repeats are removed."""
    return waterfall[~waterfall["rule"].isin(DUPLICATES)].iloc[-1]


def with_published(waterfall, count=None):
    """Put the paper's number of candidates next to the last filter, where the data are those of the paper.

    Parameters
    ----------
    waterfall : pandas.DataFrame
        From `Logs.filter`.
    count : float, optional
        None where the data are others.

    Returns
    -------
    pandas.DataFrame
        Table ``01_waterfall``.
    """
    published = pd.Series(pd.NA, index=waterfall.index, dtype="Int64")
    if count is not None:
        published[last_filter(waterfall).name] = int(count)
    return waterfall.assign(published=published)


def share_kept(waterfall):
    """Share of all rows that pass the filters, with its Wilson interval: dict of share, lower, upper, n, n_rows."""
    n, n_rows = int(last_filter(waterfall)["rows_out"]), int(waterfall["rows_in"].iloc[0])
    lower, upper = shares.wilson(n, n_rows)
    share = n / n_rows if n_rows else float("nan")
    return {"share": share, "lower": float(lower), "upper": float(upper), "n": n, "n_rows": n_rows}


def without_rule(sensitivity):
    """Messages that pass when one rule is left out, by rule, from ``01_sensitivity``."""
    left_out = sensitivity[sensitivity["bound"] == "rule left out"].set_index("value")["n_queries"]
    return left_out.drop("none", errors="ignore")


def examples(duplicates, queries, n=4):
    """Show some repeats of every rule next to the message that was kept: rule, text, kept."""
    kept = duplicates["kept_id"].map(queries.set_index("query_id")["text"])
    return duplicates.assign(kept=kept)[["rule", "text", "kept"]].groupby("rule").head(n)


def condition(rule, rules):
    """SQL condition of a rule on the features: true for rows that stay."""
    languages = "(" + ", ".join(map(conversations.quote, rules.languages)) + ")"
    prefixes = " OR ".join(f"starts_with(model, {conversations.quote(prefix)})" for prefix in rules.model_prefixes)
    return {
        "languages": f"language IN {languages} AND coalesce(first_language, language) IN {languages}",
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

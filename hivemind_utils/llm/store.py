"""The store of responses: one SQLite file, into which every response goes the moment it arrives.

A commit survives a killed process at once. Once a second the write-ahead log is flushed, so that a power cut costs the
last second at most. One process writes at a time; reading is always possible.
"""

import contextlib
import json
import math
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

from hivemind_utils.llm import served

VERSION = 1  # of the schema below, kept in the file as `user_version`


SCHEMA = """
CREATE TABLE requests (  -- what was asked
  key TEXT PRIMARY KEY, model TEXT NOT NULL, api_base TEXT, messages TEXT NOT NULL, parameters TEXT NOT NULL);
CREATE TABLE calls (  -- one call of a provider, which may bring several responses
  call_id INTEGER PRIMARY KEY, key TEXT NOT NULL, n INTEGER NOT NULL, seed INTEGER, effective TEXT NOT NULL,
  served_model TEXT, system_fingerprint TEXT, attempts INTEGER NOT NULL, latency_s REAL NOT NULL,
  prompt_tokens INTEGER, completion_tokens INTEGER, reasoning_tokens INTEGER, cost_usd REAL,
  answered_at TEXT NOT NULL, litellm_version TEXT NOT NULL);
CREATE TABLE samples (  -- one response
  key TEXT NOT NULL, sample_idx INTEGER NOT NULL, call_id INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT,
  outcome TEXT NOT NULL, logprobs TEXT, PRIMARY KEY (key, sample_idx)) WITHOUT ROWID;
CREATE TABLE unsupported (  -- a decoding that a provider refused for a model
  model TEXT NOT NULL, api_base TEXT NOT NULL, parameters TEXT NOT NULL, status INTEGER, message TEXT NOT NULL,
  recorded_at TEXT NOT NULL, PRIMARY KEY (model, api_base, parameters));
"""


PROBES = """
CREATE TABLE IF NOT EXISTS probes (  -- whether a server honours a decoding; younger than version 1
  model TEXT NOT NULL, api_base TEXT NOT NULL, parameters TEXT NOT NULL, report TEXT NOT NULL, probed_at TEXT NOT NULL,
  PRIMARY KEY (model, api_base, parameters));
"""


REPLIES = """
CREATE TABLE IF NOT EXISTS replies (  -- what else is known of a call; younger than version 1
  call_id INTEGER PRIMARY KEY, server TEXT, provider_id TEXT, odd TEXT, lost TEXT);
CREATE TABLE IF NOT EXISTS too_long (  -- a request that is too long for its model
  key TEXT PRIMARY KEY, model TEXT NOT NULL, status INTEGER, message TEXT NOT NULL, recorded_at TEXT NOT NULL);
"""


_CALL = (
    "key n seed effective served_model system_fingerprint attempts latency_s prompt_tokens completion_tokens "
    "reasoning_tokens cost_usd answered_at litellm_version"
).split()


_SAMPLE = ("text", "finish_reason", "outcome", "logprobs")


# What SQLite calls damage. SQLITE_ERROR: a table or a column is gone; no name at all: a text is no UTF-8.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_ERROR", "None")


class Locked(RuntimeError):
    """Another process is writing to the store."""


class Store:
    """The store opened for writing; use it as a context manager.

    Parameters
    ----------
    path : str or Path
        The SQLite file, made where it is missing. Beside it lie ``<path>.lock`` and ``<path>.pid``, the writer's id.

    Raises
    ------
    Locked
        If another run writes to it; the message gives its process id.
    ValueError
        If the file is no store, or one of another version, or damaged, also where that is found while it is used.
    """

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path)
        try:
            if not _there(self.path):
                _create(self.path)
            self._db = _connect(self.path)
            with sound(self.path):
                self._db.executescript(PROBES + REPLIES)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind, error, trace):
        self._db.close()
        self._lock.release()
        if isinstance(error, sqlite3.Error):
            with sound(self.path):
                raise error

    def remember(self, key, model, api_base, messages, parameters):
        """Keep what a key stands for."""
        values = (key, model, api_base, dump(messages), dump(parameters))
        self._db.execute("INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?)", values)

    def asked(self, key):
        """Messages and parameters that a key stands for, as `remember` kept them; (list, dict)."""
        row = self._db.execute("SELECT messages, parameters FROM requests WHERE key = ?", (key,)).fetchone()
        return tuple(json.loads(value) for value in row) if row else ([], {})

    def add(self, call, samples):
        """Store a call and its responses in one transaction, durable against a kill when this returns.

        Parameters
        ----------
        call : dict
            Columns of the table ``calls`` but ``call_id``; where known, ``server`` and ``provider_id`` of the reply,
            ``odd``, the names of its fields that were left empty, and ``lost``, why a call that may have cost something
            brought nothing.
        samples : list of dict
            sample_idx, text, finish_reason, outcome, logprobs (JSON or None).
        """
        marks = ", ".join("?" * len(_CALL))
        with self._db:  # one transaction
            self._db.execute("BEGIN")
            inserted = self._db.execute(
                f"INSERT INTO calls ({', '.join(_CALL)}) VALUES ({marks})", [call[name] for name in _CALL]
            )
            rows = [(call["key"], s["sample_idx"], inserted.lastrowid, *(s[name] for name in _SAMPLE)) for s in samples]
            self._db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            more = [call.get(name) for name in ("server", "provider_id", "odd", "lost")]
            if any(value is not None for value in more):
                self._db.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?)", (inserted.lastrowid, *more))

    def add_unsupported(self, model, api_base, parameters, status, message, recorded_at):
        """Keep that a provider refused a decoding."""
        values = (model, api_base or "", dump(parameters), status, message, recorded_at)
        self._db.execute("INSERT OR REPLACE INTO unsupported VALUES (?, ?, ?, ?, ?, ?)", values)

    def add_too_long(self, key, model, status, message, recorded_at):
        """Keep that a request is too long for its model."""
        self._db.execute(
            "INSERT OR REPLACE INTO too_long VALUES (?, ?, ?, ?, ?)", (key, model, status, message, recorded_at)
        )

    def add_probe(self, model, api_base, parameters, report, probed_at):
        """Keep what a server made of a decoding; `parameters` as JSON, `report` as `decoding.honoured` gives it."""
        values = (model, api_base or "", parameters, dump(report), probed_at)
        self._db.execute("INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?, ?)", values)

    def forget_unsupported(self, model):
        """Let what a model refused (decodings, requests too long for it) be tried again; returns how many."""
        tables = ("unsupported", "too_long")
        return sum(self._db.execute(f"DELETE FROM {name} WHERE model = ?", (model,)).rowcount for name in tables)


def flush(path):
    """Bring what is committed to the disk itself: after this a power cut loses none of it."""
    if not _there(path):
        raise FileNotFoundError(f"{path} was taken away while a run wrote to it. Put it back before you run again.")
    with sound(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def held(path):
    """Which responses there are.

    Parameters
    ----------
    path : str or Path
        A store; it need not exist.

    Returns
    -------
    dict of str to set of int
        Key to the numbers of its stored responses.
    """
    found = {}
    for key, sample_idx in _query(path, "SELECT key, sample_idx FROM samples"):
        found.setdefault(key, set()).add(sample_idx)
    return found


def unsupported(path):
    """Which decodings providers refused: (model, api_base or "", parameters as JSON) to the message."""
    rows = _query(path, "SELECT model, api_base, parameters, message FROM unsupported")
    return {(model, api_base, parameters): message for model, api_base, parameters, message in rows}


def probes(path):
    """What servers made of decodings: (model, api_base or "", parameters as JSON) to a `decoding.honoured` report."""
    rows = _query_younger(path, "probes", "SELECT model, api_base, parameters, report FROM probes")
    return {(model, api_base, parameters): json.loads(report) for model, api_base, parameters, report in rows}


def too_long(path):
    """Which requests are too long for their models: key to the provider's message."""
    return dict(_query_younger(path, "too_long", "SELECT key, message FROM too_long"))


def reply_ids(path):
    """Ids that servers gave to stored replies: set of (server, id)."""
    sql = "SELECT server, provider_id FROM replies WHERE provider_id IS NOT NULL"
    return set(_query_younger(path, "replies", sql))


def lost(path):
    """Calls that may have cost something and brought nothing: list of (key, why, US dollars set down for it)."""
    sql = "SELECT c.key, r.lost, c.cost_usd FROM replies r JOIN calls c USING (call_id) WHERE r.lost IS NOT NULL"
    return list(_query_younger(path, "replies", sql))


def spent(path):
    """US dollars that the stored calls cost, as far as prices were known."""
    sql = "SELECT total(cost_usd), total(typeof(cost_usd) IN ('text', 'blob') OR cost_usd < 0) FROM calls"
    cost, odd = next(iter(list(_query(path, sql))), (0, 0))
    if odd or not math.isfinite(cost):
        raise ValueError(_damaged(path, "what a call cost is no number from 0 on"))
    return cost


def tokens_by_model(path):
    """Mean number of tokens of a response by model: dict of str to (mean, responses counted)."""
    rows = _query(
        path,
        """SELECT r.model, total(c.completion_tokens), total(c.n) FROM calls c JOIN requests r USING (key)
           WHERE c.completion_tokens IS NOT NULL GROUP BY r.model""",
    )
    return {model: (n_tokens / n, int(n)) for model, n_tokens, n in rows}


def read(path, requests):
    """Read the stored responses of some requests.

    Parameters
    ----------
    path : str or Path
        A store; it need not exist.
    requests : iterable of Request
        With the attributes ``key``, ``sample_idx`` and ``n``: the responses ``sample_idx`` to ``sample_idx + n - 1``.

    Returns
    -------
    pandas.DataFrame
        One row per stored response asked for, sorted by key and sample_idx: key, sample_idx, text, finish_reason,
        outcome, logprobs (JSON or None), call_id, n, seed, model, api_base, parameters and effective (JSON),
        served_model, system_fingerprint, attempts, latency_s, prompt_tokens, completion_tokens, reasoning_tokens
        (all three of the call), cost_usd (the call's, divided by its responses), answered_at, litellm_version,
        provider_id (of the reply, missing where it had none). The outcome is `served.ANOTHER` where the server answered
        for another model than was asked, unless the request's ``aliases`` name it.
    """
    import pandas as pd

    wanted, aliases = {}, {}
    for request in requests:
        aliases[request.key] = tuple(getattr(request, "aliases", ()))
        wanted.setdefault(request.key, set()).update(range(request.sample_idx, request.sample_idx + request.n))
    columns = (
        "s.key s.sample_idx s.text s.finish_reason s.outcome s.logprobs s.call_id c.n c.seed r.model r.api_base "
        "r.parameters c.effective c.served_model c.system_fingerprint c.attempts c.latency_s c.prompt_tokens "
        "c.completion_tokens c.reasoning_tokens c.cost_usd c.answered_at c.litellm_version"
    ).split()
    younger = list(_query(path, "SELECT 1 FROM sqlite_master WHERE name = 'replies'"))
    provider_id = "(SELECT provider_id FROM replies WHERE replies.call_id = s.call_id)" if younger else "NULL"
    query = f"""SELECT {", ".join(columns)}, {provider_id} FROM samples s JOIN calls c USING (call_id)
                JOIN requests r ON r.key = s.key
                WHERE s.key IN (SELECT value FROM json_each(?)) ORDER BY s.key, s.sample_idx"""
    rows = [row for row in _query(path, query, (json.dumps(sorted(wanted)),)) if row[1] in wanted[row[0]]]
    frame = pd.DataFrame(rows, columns=[*(name.split(".")[1] for name in columns), "provider_id"])
    others = [
        not served.is_asked(model, name if isinstance(name, str) else None, aliases[key])
        for key, model, name in zip(frame["key"], frame["model"], frame["served_model"], strict=True)
    ]
    frame["outcome"] = frame["outcome"].mask(pd.Series(others, index=frame.index, dtype=bool), served.ANOTHER)
    return frame.assign(cost_usd=pd.to_numeric(frame["cost_usd"]) / frame["n"])


def dump(value):
    """JSON that depends on the value alone: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _query_younger(path, table, sql):
    """Rows of a table that a store of an earlier program lacks."""
    if not list(_query(path, f"SELECT 1 FROM sqlite_master WHERE name = '{table}'")):
        return []
    return _query(path, sql)


def _query(path, sql, values=()):
    if not _there(path):
        return
    with closing(_connect(path)) as db, sound(path):
        yield from db.execute(sql, values)


@contextlib.contextmanager
def sound(path):
    """Say in a sentence that a store is damaged, where SQLite finds that it is."""
    try:
        yield
    except (sqlite3.DatabaseError, sqlite3.OperationalError) as error:
        name = str(getattr(error, "sqlite_errorname", None))
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError) or not name.startswith(_DAMAGE):
            raise  # busy, no permission, a full disk, a second row: nothing is wrong with the file
        raise ValueError(_damaged(path, error)) from None


def _damaged(path, why):
    return (
        f"{path} cannot be read as a store of responses ({why}). "
        f"`python -m hivemind_utils.llm.store_care check {path}` says what is wrong with it. Put a copy of it back. "
        "Move it aside and run again only to ask, and pay, for everything "
        f"anew; {Path(path).name}-wal and {Path(path).name}-shm go with it where they are there."
    )


def _there(path):
    """Whether there is a store; what can be none is refused, for it would be asked for, and paid, again."""
    path, log = Path(path), Path(f"{path}-wal")
    if path.exists():
        if not path.is_file():
            raise ValueError(_damaged(path, "it is no file"))
        if not path.stat().st_size:
            raise ValueError(_damaged(path, "it is empty"))
        return True
    if path.is_symlink():
        raise ValueError(_damaged(path, "it is a link to a file that is not there"))
    if log.exists() and log.stat().st_size:
        raise ValueError(
            f"{path} is missing, but {log.name}, which may hold responses of it, is there. Put the file back beside "
            "it, or move the log aside as well, and run again."
        )
    return False


def _connect(path):
    if not _there(path):
        raise FileNotFoundError(f"There is no store {path}.")
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        with sound(path):
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise ValueError(_damaged(path, "it holds no tables: its write-ahead log may be lost"))
        if version != VERSION:
            raise ValueError(
                f"{path} is a store of version {version}, but this program knows version {VERSION}. "
                "Use the program that wrote it, or move the file aside."
            )
    except BaseException:
        db.close()
        raise
    return db


def _create(path):
    """Make an empty store; it is there whole or not at all. The caller holds the lock."""
    new = Path(f"{path}.new")
    _remove(new)  # of a run that was killed here
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        os.replace(new, path)
    finally:
        _remove(new)


def _remove(new):
    for name in (new, f"{new}-journal"):
        Path(name).unlink(missing_ok=True)


def _lock(path):
    """Hold ``<path>.lock`` until it is released or the process ends, however it ends."""
    lock, holder = FileLock(f"{path}.lock"), Path(f"{path}.pid")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        try:
            process = holder.read_text(encoding="utf-8").strip()
        except OSError:  # the holder writes it in this moment
            process = ""
        raise Locked(
            f"{path} is being written by the process {process or 'unknown'}. Wait until it ends, or stop it: what it "
            "stored is kept."
        ) from None
    holder.write_text(str(os.getpid()), encoding="utf-8")
    return lock

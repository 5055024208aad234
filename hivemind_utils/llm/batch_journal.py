"""What is known of batches, kept in the store: a batch is written down before it is submitted, so none is paid twice.

States: ``intent`` (about to be submitted, or submitted without a response), ``submitted`` (its id is known),
``collected``, ``refused`` (by the provider, at once), ``failed`` (by the provider, later), ``dropped`` (the provider
has never heard of it). What is in the first two is in flight and not asked again.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hivemind_utils.llm import store

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
  token TEXT PRIMARY KEY, model TEXT NOT NULL, api_base TEXT, state TEXT NOT NULL, batch_id TEXT, n_lines INTEGER NOT
  NULL, tokens_in INTEGER NOT NULL, reserved_usd REAL NOT NULL, created_at TEXT NOT NULL, message TEXT);
CREATE TABLE IF NOT EXISTS batch_lines (
  token TEXT NOT NULL, line INTEGER NOT NULL, key TEXT NOT NULL, samples TEXT NOT NULL, effective TEXT NOT NULL,
  seed INTEGER, outcome TEXT, PRIMARY KEY (token, line)) WITHOUT ROWID;
"""
IN_FLIGHT = ("intent", "submitted")


@dataclass(frozen=True)
class Batch:
    """A row of the journal."""

    token: str
    model: str
    api_base: str | None
    state: str
    batch_id: str | None
    n_lines: int
    tokens_in: int
    reserved_usd: float
    created_at: str
    message: str | None = None


class Journal:
    """The journal of a store, written by who holds the store's lock; every change is on the disk when it returns.

    Parameters
    ----------
    path : str or Path
        Of the store.
    """

    def __init__(self, path):
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self):
        """Close the file."""
        self._db.close()

    def intend(self, batch, lines):
        """Write down a batch that is about to be submitted.

        Parameters
        ----------
        batch : Batch
        lines : list of dict
            key, samples (numbers), effective (JSON), seed; in the order of their numbers.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"INSERT INTO batches VALUES ({', '.join('?' * 10)})", tuple(vars(batch).values()))
            rows = [
                (batch.token, i, line["key"], json.dumps(line["samples"]), line["effective"], line["seed"], None)
                for i, line in enumerate(lines)
            ]
            self._db.executemany("INSERT INTO batch_lines VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def set(self, token, state, *, batch_id=None, message=None):
        """Move a batch to another state."""
        self._db.execute(
            "UPDATE batches SET state = ?, batch_id = coalesce(?, batch_id), message = ? WHERE token = ?",
            (state, batch_id, message, token),
        )

    def note(self, token, outcomes):
        """Keep what came of lines: dict of number to outcome."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "UPDATE batch_lines SET outcome = ? WHERE token = ? AND line = ?",
                [(outcome, token, line) for line, outcome in outcomes.items()],
            )

    def batches(self, states=IN_FLIGHT):
        """Batches in some states, oldest first."""
        return [batch for batch in _batches(self._db) if batch.state in states]

    def lines(self, token):
        """Lines of a batch by number: dict of key, samples, effective, seed, outcome."""
        rows = self._db.execute(
            "SELECT line, key, samples, effective, seed, outcome FROM batch_lines WHERE token = ?", (token,)
        )
        names = ("key", "samples", "effective", "seed", "outcome")
        return {
            line: dict(zip(names, (key, json.loads(samples), *rest), strict=True)) for line, key, samples, *rest in rows
        }

    def in_flight(self):
        """Responses in flight: set of (key, number)."""
        marks = ", ".join("?" * len(IN_FLIGHT))
        rows = self._db.execute(
            f"SELECT key, samples FROM batch_lines JOIN batches USING (token) WHERE state IN ({marks})", IN_FLIGHT
        )
        return {(key, i) for key, samples in rows for i in json.loads(samples)}

    def errors(self):
        """How often a response came back as an error, and the last one: dict of (key, number) to (times, message)."""
        rows = self._db.execute(
            "SELECT key, samples, outcome FROM batch_lines JOIN batches USING (token) "
            "WHERE outcome LIKE 'errored%' ORDER BY created_at"
        )
        found = {}
        for key, samples, outcome in rows:
            for i in json.loads(samples):
                found[key, i] = (found.get((key, i), (0, ""))[0] + 1, outcome)
        return found


def _batches(db):
    names = ", ".join(Batch.__dataclass_fields__)
    return [Batch(*row) for row in db.execute(f"SELECT {names} FROM batches ORDER BY created_at, rowid")]


def read(path):
    """Batches of a store, oldest first; none where the store has no journal.

    Returns
    -------
    list of Batch
    """
    if not Path(path).exists():
        return []
    with store.sound(path), closing(sqlite3.connect(path, timeout=30)) as db:
        there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone()
        return _batches(db) if there else []


def now():
    """Give this moment, in UTC, as text that sorts by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")

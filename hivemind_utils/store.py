"""The sampler's store: every answer in SQLite, durable the moment it arrives."""

import json
import sqlite3
from pathlib import Path

import pandas as pd

COLUMNS = ("key", "sample_idx", "text", "finish_reason", "outcome", "logprobs", "usage", "cost_usd", "model", "seed")


def connect(path):
    """Open a store, made where it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS answers ({', '.join(COLUMNS)}, PRIMARY KEY (key, sample_idx)) WITHOUT ROWID"
    )
    return connection


def write(connection, rows):
    """Add answers; what is there stays."""
    marks = ", ".join("?" * len(COLUMNS))
    values = [[json.dumps(v) if isinstance(v, dict) else v for v in (row[c] for c in COLUMNS)] for row in rows]
    with connection:
        connection.executemany(f"INSERT OR IGNORE INTO answers VALUES ({marks})", values)


def read(store_path, requests):
    """Answers stored for these requests, one row per (request, sample)."""
    connection = connect(store_path)
    try:
        wanted = {(request.key, request.sample_idx + i) for request in requests for i in range(request.n)}
        keys = sorted({key for key, _ in wanted})
        rows = []
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ", ".join("?" * len(some))
            rows += connection.execute(f"SELECT * FROM answers WHERE key IN ({marks})", some).fetchall()
    finally:
        connection.close()
    return pd.DataFrame([row for row in rows if row[:2] in wanted], columns=COLUMNS)

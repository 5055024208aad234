"""Look after a store of responses: ``python -m hivemind_utils.llm.store_care check data/mine/store/04.sqlite``.

``check`` reads the whole file and says what is wrong with it; ``compact`` gives the room of what was replaced, and the
write-ahead log, back to the disk. Neither changes a response.
"""

import argparse
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from hivemind_utils.llm import store

_LOST = {  # what must not be, and how many rows are so
    "responses whose call is not there": "samples s LEFT JOIN calls c USING (call_id) WHERE c.call_id IS NULL",
    "responses whose request is not there": "samples s LEFT JOIN requests r ON r.key = s.key WHERE r.key IS NULL",
    "calls whose request is not there": "calls c LEFT JOIN requests r ON r.key = c.key WHERE r.key IS NULL",
    "responses with a negative number": "samples WHERE sample_idx < 0",
}


def check(path):
    """Say what is wrong with a store: damaged pages, and rows that belong to nothing.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    list of str
        Sentences; empty where the store is sound.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no store.
    """
    _exists(path)
    try:
        with closing(store._connect(path)) as db:
            damaged = [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
            if damaged:
                return [f"{path} is damaged: {sentence}" for sentence in damaged]
            counts = {what: db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0] for what, rows in _LOST.items()}
    except sqlite3.DatabaseError as error:
        return [f"{path} is damaged: {error}"]
    return [f"{path} holds {n:,} {what}" for what, n in counts.items() if n]


def compact(path):
    """Write a store anew without gaps, and empty its write-ahead log; the same responses, in a smaller file.

    It takes as much room on the disk again as the store has, until it ends; what interrupts it leaves the old file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    int
        Bytes given back.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    llm.store.Locked
        If a run writes to it.
    """
    _exists(path)
    lock = store._lock(Path(path))
    try:
        before = _size(path)
        with closing(store._connect(path)) as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return before - _size(path)
    finally:
        lock.release()


def _exists(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no store {path}. Stores lie in data/<profile>/store, such as 04.sqlite.")


def _size(path):
    return sum(file.stat().st_size for file in (Path(path), Path(f"{path}-wal")) if file.exists())


def main(arguments=None):
    """Run from the command line; returns the exit status, 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.llm.store_care", description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=("check", "compact"))
    parser.add_argument("path", type=Path)
    asked = parser.parse_args(arguments)
    try:
        if asked.task == "compact":
            print(f"{asked.path}: {compact(asked.path):,} bytes given back")
            return 0
        problems = check(asked.path)
    except (FileNotFoundError, ValueError, store.Locked, sqlite3.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(problems) or f"{asked.path} is sound")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

"""One writer per profile: a lock that lasts as long as anything that the first command started."""

import contextlib
import json
import os
import time
from datetime import UTC, datetime

from hivemind_utils.pipeline import notebooks
from hivemind_utils.tables import files

HELD = "HIVEMIND_LOCK"  # in the environment of what the holder starts: the lock it works under


@contextlib.contextmanager
def only_one(name, doing):
    """Hold a profile's lock.

    Parameters
    ----------
    name : str
        The profile.
    doing : str
        What is done, such as "make figures", for the message to a second one.

    Yields
    ------
    tuple of int
        Descriptors to hand to children, so that the lock lasts until the last of them has ended.

    Raises
    ------
    UserError
        If another process holds it; the message has its id.
    """
    from filelock import FileLock, Timeout

    folder = files.root() / "executed" / name
    target, record = folder / "run.lock", folder / "run.json"
    if os.environ.get(HELD) == str(target):  # started by the holder
        yield ()
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise notebooks.UserError(_held(record, name)) from None
    try:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with files.atomic(record) as temporary:
            temporary.write_text(json.dumps({"pid": os.getpid(), "started": started, "doing": doing}) + "\n")
        os.environ[HELD] = str(target)
        descriptor = lock._context.lock_file_fd
        yield (descriptor,) if isinstance(descriptor, int) else ()
    finally:
        os.environ.pop(HELD, None)
        record.unlink(missing_ok=True)
        lock.release()


def _held(record, name):
    for _ in range(20):  # the holder writes its record right after it took the lock
        try:
            known = files.read_json(record)
            return (
                f"Process {known['pid']} ({known['doing']}, since {known['started']}) is writing the profile {name!r}. "
                "Wait until it has ended, or end it; then run this again."
            )
        except (KeyError, TypeError):
            time.sleep(0.05)
    return f"Another process is writing the profile {name!r}. Wait until it has ended, then run this again."

"""Where the work on one prompt after another is done: in this process, in several, or on a Dask cluster.

A notebook never makes a cluster. `Study` hands it an executor made from the profile's ``common: scheduler:``, which the
runner passes on in the environment. Work is cut by prompt, results come back in the order of the prompts, and every
piece runs with one BLAS thread: so they are equal to the last bit wherever they were computed.
"""

import contextlib
import functools
import json
import os
import re
from collections import deque
from urllib.parse import urlsplit

VARIABLE = "HIVEMIND_SCHEDULER"  # of the environment: the scheduler of a profile, as JSON
_ATTEMPTS = 4  # of a piece of work whose process or worker was killed
_TIMEOUT = 20  # seconds in which a Dask scheduler must answer
# One spelling of an address, so that whoever reads it sees the same host: no user, no path, no escapes.
_SCHEDULER = re.compile(r"(tcp|tls|ucx|ws|wss)://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_FOLDER = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\\?#\x00-\x1f\x7f]+")


class LostError(RuntimeError):
    """Processes or workers were lost for good; nothing was written from what they had done."""


def checked(scheduler):
    """Check what a profile says under ``scheduler``.

    Parameters
    ----------
    scheduler : None, str or dict
        None: this process. ``{"processes": N}``. ``"local"``: a Dask cluster on this machine, which the runner starts.
        An address such as ``"tcp://10.0.0.1:8786"``: a Dask cluster that is running; ``{"address": ...}`` is the same.
        A dict may name ``files``, the address of a folder such as ``"s3://bucket/mine"``: workers read responses and
        vectors from copies there, and need no disk in common.

    Returns
    -------
    None, str or dict
        The same.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> checked({"processes": 2})
    {'processes': 2}
    """
    if scheduler is None or _is_address(scheduler):
        return scheduler
    if isinstance(scheduler, dict) and set(scheduler) - {"files"} in ({"processes"}, {"address"}):
        number, files = scheduler.get("processes", 1), scheduler.get("files", "file:///")
        whole = isinstance(number, int) and not isinstance(number, bool) and number >= 1
        if whole and _is_address(scheduler.get("address", "local")) and _is_folder(files):
            return scheduler
    raise ValueError(
        "`scheduler` must be `processes: N` with a whole number N >= 1, `local`, or the address of a Dask scheduler "
        "such as tcp://10.0.0.1:8786 (also as `address: ...`, with `files: s3://bucket/folder` beside it, or "
        "`files: file:///folder`), but "
        f"{scheduler!r} was given. Leave it out to work in one process."
    )


def _is_address(value):
    return isinstance(value, str) and (value == "local" or _SCHEDULER.fullmatch(value) is not None)


def _is_folder(value):
    """Whether this is the address of a folder; fsspec's chains of addresses (``a::b``) are none.

    On this machine's own disk it is ``file:///folder``: two slashes alone begin with a host, or with nothing.
    """
    if not isinstance(value, str) or not _FOLDER.fullmatch(value) or "::" in value or value.count("@") > 1:
        return False
    try:
        parts = urlsplit(value)
        whole = bool(parts.hostname)
    except ValueError:
        return False
    if parts.scheme == "file":
        return not parts.netloc and not parts.path.startswith("//")
    return parts.scheme == "memory" or (whole and parts.scheme != "local")


def address_of(scheduler):
    """Address of the Dask cluster in what `checked` takes; None where there is none."""
    return scheduler.get("address") if isinstance(scheduler, dict) else scheduler


def from_environment():
    """Executor that the runner asked for; in this process where it asked for nothing."""
    return make(json.loads(os.environ.get(VARIABLE) or "null"))


def make(scheduler=None):
    """Executor for a scheduler as `checked` takes it; nothing is started before there is work.

    Returns
    -------
    InProcess, Processes or Dask
    """
    scheduler, address = checked(scheduler), address_of(scheduler)
    if scheduler is None:
        return InProcess()
    made = Processes(scheduler["processes"]) if address is None else Dask(address)
    made.files = scheduler.get("files") if isinstance(scheduler, dict) else None
    return made


class InProcess:
    """Work in this process, one piece after the other."""

    n_workers, files = 1, None

    def map(self, function, work):
        """Yield ``function(*arguments)`` for every tuple of arguments, in order.

        Parameters
        ----------
        function : callable
            Of a module, so that other processes find it; the same arguments give the same result.
        work : iterable of tuple
            Taken as it is needed: only a few pieces are held at a time.
        """
        for arguments in work:
            yield _call(function, arguments)

    def close(self):
        """Nothing is open."""


class Processes:
    """Work in several processes of this machine; a killed one is replaced and its work done again."""

    files = None  # address at which workers find copies of the files they read; None: the files themselves

    def __init__(self, n_workers):
        self.n_workers, self._pool = n_workers, None

    def map(self, function, work):
        """As `InProcess.map`."""
        from concurrent.futures.process import BrokenProcessPool

        waiting = deque()  # [arguments, future, attempts]
        for arguments in work:
            waiting.append([arguments, self._submit(function, arguments), 1])
            if len(waiting) > 2 * self.n_workers:
                yield self._first(function, waiting, BrokenProcessPool)
        while waiting:
            yield self._first(function, waiting, BrokenProcessPool)

    def _first(self, function, waiting, broken):
        """Result of the piece that waits longest; where processes died, all that wait are handed in again."""
        while True:
            try:
                result = waiting[0][1].result()
            except broken:
                self.close()
                if waiting[0][2] >= _ATTEMPTS:
                    raise LostError(
                        f"A process was killed {_ATTEMPTS} times at the same piece of work, most often for want of "
                        "memory. Nothing half-done was written. Ask for fewer `processes` under `scheduler`, and run "
                        "again."
                    ) from None
                for piece in waiting:
                    piece[1], piece[2] = self._submit(function, piece[0]), piece[2] + 1
                continue
            except BaseException:
                self.close()
                raise
            waiting.popleft()
            return result

    def _submit(self, function, arguments):
        from concurrent.futures.process import BrokenProcessPool

        try:
            return self._open().submit(_call, function, arguments)
        except BrokenProcessPool:  # it broke since the last result
            self.close()
            return self._open().submit(_call, function, arguments)

    def _open(self):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.n_workers, mp_context=multiprocessing.get_context("spawn"))
        return self._pool

    def close(self):
        """End the processes; the next work starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class Dask:
    """Work on a Dask cluster that somebody else started; a killed worker's work is done again by others."""

    files = None  # as of `Processes`

    def __init__(self, address):
        self.address, self._client = address, None

    @property
    def n_workers(self):
        """Threads of all workers."""
        return sum(self._open().nthreads().values()) or 1

    def map(self, function, work):
        """As `InProcess.map`."""
        client, waiting = self._open(), deque()
        with self._told():
            most = 2 * self.n_workers
        try:
            for arguments in work:
                with self._told():
                    waiting.append(client.submit(_call, function, arguments, pure=False, retries=_ATTEMPTS - 1))
                if len(waiting) > most:
                    yield self._result(waiting.popleft())
            while waiting:
                yield self._result(waiting.popleft())
        except GeneratorExit:
            with contextlib.suppress(Exception):  # nobody waits for the rest
                client.cancel(list(waiting))
            raise

    def _result(self, future):
        from distributed.scheduler import KilledWorker

        with self._told():
            done = future.exception()
        if isinstance(done, KilledWorker):
            raise LostError(
                f"Dask workers were killed again and again at one piece of work, most often for want of memory: {done} "
                "Nothing half-done was written. Give workers more memory, and run again."
            )
        if done is not None and not future.cancelled():
            raise done
        with self._told():
            return future.result()

    @contextlib.contextmanager
    def _told(self):
        """Say that the scheduler went away where it did."""
        from asyncio import CancelledError

        from distributed.client import FutureCancelledError

        try:
            yield
        except (CancelledError, FutureCancelledError, TimeoutError, OSError, RuntimeError) as error:
            self.close()
            raise LostError(
                f"The Dask scheduler at {self.address} went away in the middle of the work ({type(error).__name__}). "
                "Nothing half-done was written. Start the scheduler and its workers, and run the notebook again."
            ) from None

    def _open(self):
        if self._client is None:
            try:
                from distributed import Client
            except ImportError:
                raise ModuleNotFoundError(
                    "`scheduler` names a Dask cluster, but Dask is not installed: run `make setup-scale`, or write "
                    "`scheduler: {processes: 2}`."
                ) from None
            if "://" not in self.address:
                raise ValueError(
                    f"`scheduler: {self.address}` is started by the runner: run the notebook by `make`, or give the "
                    "address of a Dask scheduler."
                )
            try:
                self._client = Client(self.address, timeout=_TIMEOUT, set_as_default=False)
            except (OSError, TimeoutError) as error:
                raise LostError(
                    f"No Dask scheduler answers at {self.address} within {_TIMEOUT} s ({type(error).__name__}). Start "
                    "it with `dask scheduler`, give its address under `scheduler`, or leave `scheduler` out."
                ) from None
        return self._client

    def close(self):
        """Leave the cluster; it goes on running."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # it may be gone
                self._client.close(timeout=2)
            self._client = None


@contextlib.contextmanager
def local_cluster():
    """Start a Dask cluster on this machine, a worker of one thread per core, for as long as the context lasts.

    Yields
    ------
    str
        Its address.
    """
    try:
        from distributed import LocalCluster
    except ImportError:
        raise ModuleNotFoundError(
            "`scheduler: local` needs Dask, which is not installed: run `make setup-scale`, or write "
            "`scheduler: {processes: 2}`."
        ) from None
    with LocalCluster(n_workers=os.cpu_count() or 1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def _call(function, arguments):
    """Run one piece of work with one BLAS thread."""
    with _blas().limit(limits=1, user_api="blas"):
        return function(*arguments)


@functools.cache
def _blas():
    """What limits the threads of BLAS; looking for the libraries takes longer than many a piece of work."""
    import scipy.linalg  # noqa: F401  # brings a BLAS of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

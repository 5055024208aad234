"""Python processes that begin with the libraries imported: `make figures` imports them once, not in every process.

A server imports the libraries and forks a process for each one that asks. The one that asked stays in the place of the
new process: it passes signals on, and ends as the process ends. If no server answers, it becomes a usual Python. The
server imports nothing of this project, so that a process runs the code that is on disk when it begins.

``python -I -S forks.py -m module argument ...`` asks; it takes a hundredth of a second.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import warnings

SOCKET = "HIVEMIND_FORKS"  # in the environment: the path of the server's socket
LIBRARIES = (  # in the order of first use: a request is answered between two imports
    "yaml", "filelock", "IPython", "ipykernel.zmqshell", "ipykernel.kernelapp", "ipykernel.ipkernel", "tqdm.auto",
    "numpy", "pandas", "pydantic", "pyarrow.parquet", "nbformat", "nbclient", "papermill",
    "matplotlib_inline.backend_inline", "matplotlib.pyplot", "scipy.stats", "scipy.sparse.csgraph", "numba",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "seaborn",
    "sklearn.feature_extraction.text", "sklearn.cluster", "statsmodels.api", "umap", "hdbscan",
)  # fmt: skip
# Passed on to the process. The server ignores them: it ends when all that may ask have ended.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_COLLECT = 50_000, 20, 20  # new objects before garbage is looked for; Python's 700, 10, 10 costs time in every notebook
_PATIENCE = 1  # seconds between two looks at whether the parent is still there


def python(environment=os.environ):
    """Command that stands for Python: that of a fork where the environment names a server."""
    return [sys.executable, "-I", "-S", __file__] if SOCKET in environment else [sys.executable]


@contextlib.contextmanager
def server(environment):
    """Run a server while the block lasts.

    Parameters
    ----------
    environment : dict of str to str
        Environment in which it imports the libraries.

    Yields
    ------
    variables : dict of str to str
        To add to the environment of those who may ask; see `python`.
    descriptors : tuple of int
        To hand to every process that may ask: the server lasts as long as one of them, even if this process is killed.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hivemind-") as folder:
        path = os.path.join(folder, "forks")
        command = [sys.executable, __file__, "serve", path]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        try:
            yield {SOCKET: path}, (process.stdin.fileno(),)
        finally:
            process.stdin.close()
            process.kill()
            process.wait()


def serve(path):
    """Import the libraries and fork for each one that asks, until standard input ends and all processes have ended.

    Parameters
    ----------
    path : str
        Path of the socket to listen on.

    Returns
    -------
    dict or None
        In a forked process the request it is to carry out; None at the end of the server.
    """
    import builtins
    import importlib
    import types

    del sys.path[0]  # the folder of this script
    # Some libraries ask when they are imported whether this is a notebook: answer as a kernel does.
    builtins.get_ipython = lambda: types.SimpleNamespace(kernel=None)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    sys.modules.setdefault("rfc3987_syntax", None)  # see `notebooks.skip_iri_grammar`
    waiting = _Server(path)
    for library in LIBRARIES:
        with contextlib.suppress(Exception):  # a process that needs it will say what is wrong with it
            importlib.import_module(library)
        if (request := waiting.answer(0)) or waiting.ended:
            return request
    while not waiting.ended:
        if request := waiting.answer(None):
            return request
    return None


class _Server:
    """A socket, those who asked, and the processes forked for them."""

    def __init__(self, path):
        import selectors

        self.usual = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
        self.usual[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, _: None)
        self.ends, written = socket.socketpair()  # a byte for each signal
        self.ends.setblocking(False)
        written.setblocking(False)
        signal.set_wakeup_fd(written.detach())
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen(64)
        self.connections = {}  # by process id
        self.may_ask = True
        self.selector = selectors.DefaultSelector()
        self._watch(self.listening, self._ask)
        self._watch(self.ends, self._report)
        self._watch(sys.stdin.fileno(), self._leave)

    @property
    def ended(self):
        """Whether nobody may ask any more and no process is left."""
        return not self.may_ask and not self.connections

    def answer(self, seconds):
        """Do what has to be done now, after waiting so long for something; returns the request in a forked process."""
        for key, _ in self.selector.select(seconds):
            function, arguments = key.data
            if request := function(*arguments):
                return request
        return None

    def _watch(self, file, function, *arguments):
        self.selector.register(file, 1, (function, arguments))

    def _leave(self):
        self.selector.unregister(sys.stdin.fileno())
        self.may_ask = False

    def _ask(self):
        connection, _ = self.listening.accept()
        try:
            request = _received(connection)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the threads of OpenBLAS and Arrow expect a fork
                pid = os.fork()
        except (OSError, TypeError, ValueError):  # who asked has gone, or there can be no more processes
            connection.close()
            return None
        if pid == 0:
            os.close(signal.set_wakeup_fd(-1))
            for other in (connection, self.listening, self.ends, self.selector, *self.connections.values()):
                other.close()
            return request | {"usual": self.usual}
        for descriptor in request["descriptors"]:
            os.close(descriptor)
        self.connections[pid] = connection
        self._watch(connection, self._kill, pid)
        _tell(connection, pid)
        return None

    def _report(self):
        """Processes have ended: tell how."""
        with contextlib.suppress(BlockingIOError):
            self.ends.recv(4096)
        while self.connections:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection = self.connections.pop(pid)
            with contextlib.suppress(KeyError):  # who asked has ended before
                self.selector.unregister(connection)
            _tell(connection, os.waitstatus_to_exitcode(status))
            connection.close()

    def _kill(self, pid):
        """Who asked has ended: the process has no place any more."""
        if pid in self.connections:
            self.selector.unregister(self.connections[pid])
            _kill(pid, signal.SIGKILL)


def _tell(connection, number):
    with contextlib.suppress(OSError):  # who asked has ended
        connection.sendall(f"{number}\n".encode())


def _kill(pid, number):
    """Send a signal to a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # in its first moments it leads no group
            os.kill(pid, number)


def ask(arguments):
    """Stand in the place of a new process ``python *arguments``; returns its exit status, negative for a signal."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ[SOCKET])
        text = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        content = json.dumps(text).encode()
        socket.send_fds(connection, [len(content).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(content)
        pid = int(next(lines := _lines(connection)))
    except (KeyError, OSError, StopIteration):
        os.execv(sys.executable, [sys.executable, *arguments])
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: _kill(pid, number))
    ended = next(lines, None)
    if ended is None:  # the server was killed, or our parent
        _kill(pid, signal.SIGKILL)
        return -signal.SIGKILL
    return int(ended)


def _lines(connection):
    """Lines that arrive, until the other side or our parent has ended."""
    parent, text = os.getppid(), b""
    connection.settimeout(_PATIENCE)
    while os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            if not (more := connection.recv(64)):
                return
            *whole, text = (text + more).split(b"\n")
            yield from whole


def _received(connection):
    """A request: its descriptors, and what `ask` says."""
    connection.settimeout(5)
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    content, missing = b"", int.from_bytes(size, "big")
    while missing > len(content):
        more = connection.recv(min(missing - len(content), 1 << 16))
        if not more:
            raise ValueError("The request ends too early.")
        content += more
    return json.loads(content) | {"descriptors": descriptors}


def become(request):
    """Carry out a request in a forked process, as a Python that was started so; does not return."""
    import builtins
    import gc
    import runpy

    del builtins.get_ipython
    gc.freeze()  # what the libraries hold is no garbage
    gc.set_threshold(*_COLLECT)
    os.setsid()
    for number, handler in request["usual"].items():
        signal.signal(number, handler)
    for place, descriptor in enumerate(request["descriptors"]):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.environ.clear()
    os.environ.update(request["environment"])
    if "JPY_PARENT_PID" in os.environ:  # a kernel ends with its parent
        os.environ["JPY_PARENT_PID"] = str(os.getppid())
    os.chdir(request["folder"])
    sys.path.insert(0, os.getcwd())
    _, module, *rest = request["arguments"]
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        if (asked := serve(sys.argv[2])) is not None:
            become(asked)
    else:
        status = ask(sys.argv[1:])
        if status < 0:
            with contextlib.suppress(OSError):  # SIGKILL has no handler
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        sys.exit(status)

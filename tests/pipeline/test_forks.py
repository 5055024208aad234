"""Processes forked from one that has imported the libraries are like those that a Python of their own begins."""

import contextlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from hivemind_utils.pipeline import forks, kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="make figures forks on Linux only")
AMBIENT = """
import json, logging, os, signal, sys
import matplotlib as mpl, matplotlib.pyplot as plt, numpy as np, pandas as pd, seaborn
from pandas._config.config import _registered_options
from tqdm.auto import tqdm
from hivemind_utils.tables import files

same = {"JPY_PARENT_PID", "HIVEMIND_FORKS"}
found = {
    "pandas": {k: repr(pd.get_option(k)).lower() for k in _registered_options},
    "matplotlib": {k: repr(v) for k, v in mpl.rcParams.items()},
    "backend": mpl.get_backend(),
    "hook": repr(plt._REPL_DISPLAYHOOK),
    "numpy": repr(np.get_printoptions()) + repr(np.geterr()),
    "bar": [kind.__module__ for kind in tqdm.__mro__],
    "path": sys.path,
    "arguments": [sys.argv[0], *sys.argv[3:]],
    "folder": os.getcwd(),
    "environment": {k: v for k, v in os.environ.items() if k not in same},
    "signals": {int(s): repr(signal.getsignal(s)).split(" at ")[0] for s in (1, 2, 13, 15, 17)},
    "flags": repr(sys.flags),
    "streams": [[s.encoding, s.errors, s.line_buffering] for s in (sys.__stdout__, sys.__stderr__)],
    "builtins": sorted(dir(__builtins__)),
    "names": sorted(k for k in get_ipython().user_ns if not k.startswith("_")),
    "child of its parent": os.environ["JPY_PARENT_PID"] == str(os.getppid()),
    "frame": str(pd.DataFrame(np.arange(24).reshape(1, 24), columns=[f"column {i}" for i in range(24)])),
    "root": str(files.root()),
    "logging": [h.__class__.__name__ for h in logging.root.handlers],
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Variables of a server that has imported everything, in the environment that kernels have."""
    scratch = tmp_path_factory.mktemp("kernel")
    with forks.server(os.environ | kernels.environment(scratch)) as (variables, _):
        _wait_for(Path(variables[forks.SOCKET]))
        yield {**variables, "SCRATCH": str(scratch)}


def _wait_for(path):
    for _ in range(400):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


@contextlib.contextmanager
def _started(variables, folder, text, *arguments, **options):
    """A process ``python -m probe`` that asks the server, of a module of this text; it is killed at the end."""
    written = folder / "written.py"
    written.write_text(inspect.cleandoc(text))
    written.replace(folder / "probe.py")  # at once: another process may be reading it
    environment = os.environ | variables | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [*forks.python(environment), "-m", "probe", *arguments]
    options = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "text": True} | options
    with subprocess.Popen(command, **options) as process:
        yield process
        process.kill()


def _result(*arguments, **options):
    """What such a process printed, and its exit status."""
    with _started(*arguments, **options) as process:
        return process.communicate(timeout=30)[0], process.returncode


def _ambient(folder, scratch, monkeypatch, variables):
    from nbclient import NotebookClient

    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        for name, value in kernels.environment(scratch).items():
            patch.setenv(name, value)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(AMBIENT)])
        NotebookClient(notebook, kernel_name="python3").execute(cwd=str(folder))
    return json.loads("".join(o.text for o in notebook.cells[0].outputs if o.get("name") == "stdout"))


def test_a_forked_kernel_is_like_one_that_imports_by_itself(server, tmp_path, monkeypatch):
    scratch = Path(server["SCRATCH"])
    usual = _ambient(tmp_path, scratch, monkeypatch, {})
    forked = _ambient(tmp_path, scratch, monkeypatch, {forks.SOCKET: server[forks.SOCKET]})
    assert forked == usual


def test_libraries_are_there_and_nothing_of_this_project(server, tmp_path):
    text = f"""
        import sys
        print([name for name in sys.modules if name.startswith("hivemind")])
        print(sorted(set({forks.LIBRARIES!r}) - set(sys.modules)))
    """
    for _ in range(200):  # the last library may still be on its way
        ours, lacking = _result(server, tmp_path, text)[0].split("\n")[:2]
        assert ours == "[]"
        if lacking == "[]":
            return
        time.sleep(0.1)
    raise AssertionError(lacking)


def test_arguments_streams_folder_and_status_are_those_of_who_asked(server, tmp_path):
    text = """
        import os, sys
        print(sys.argv[1:], os.getcwd(), os.environ["NAME"], ascii(os.environ["BYTES"]))
        print(sys.stdin.read(), file=sys.stderr)
        sys.exit(7)
    """
    variables = {**server, "NAME": "Zoë", "BYTES": os.fsdecode(b"\xff")}
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with _started(variables, tmp_path, text, "a b", "--c=$d", **pipes) as process:
        out, err = process.communicate("typed")
    assert out == f"['a b', '--c=$d'] {tmp_path} Zoë '\\udcff'\n"
    assert (err, process.returncode) == ("typed\n", 7)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_process(server, tmp_path, number):
    text = f"""
        import signal, sys, time
        signal.signal({int(number)}, lambda *_: sys.exit(5))
        print("ready", flush=True)
        time.sleep(60)
    """
    with _started(server, tmp_path, text) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(20) == 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_process_that_is_killed_is_seen_as_killed(server, tmp_path, number):
    text = f"import os; os.kill(os.getpid(), {int(number)})"
    assert _result(server, tmp_path, text, stderr=subprocess.DEVNULL) == ("", -number)


SLEEPS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, os.getppid(), flush=True)
time.sleep(60)
"""


def _pids(process):
    *pids, parent = map(int, process.stdout.readline().split())
    return pids, parent


def test_the_process_and_what_it_started_end_with_who_asked(server, tmp_path):
    with _started(server, tmp_path, SLEEPS) as process:
        pids, _ = _pids(process)
        process.kill()
        _wait_until_ended(pids)


def _wait_until_ended(pids):
    for _ in range(400):
        if not any(_lives(pid) for pid in pids):
            return
        time.sleep(0.05)
    raise TimeoutError(pids)


def _lives(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_ends_with_the_parent_of_who_asked(server, tmp_path):
    (tmp_path / "probe.py").write_text(SLEEPS)
    text = f"import subprocess; subprocess.run({[*forks.python(server), '-m', 'probe']!r})"
    command, environment = [sys.executable, "-c", text], os.environ | server
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        pids, _ = _pids(parent)
        parent.kill()
        _wait_until_ended(pids)


def test_a_server_that_is_killed_takes_its_processes_with_it(tmp_path):
    with forks.server(dict(os.environ)) as (variables, _):
        _wait_for(Path(variables[forks.SOCKET]))
        with _started(variables, tmp_path, SLEEPS) as process:
            pids, server = _pids(process)
            os.kill(server, signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
            _wait_until_ended(pids)
        assert _result(variables, tmp_path, "print('usual')") == ("usual\n", 0), "no server answers"


def test_it_outlives_its_owner_until_all_that_may_ask_have_ended(tmp_path):
    (tmp_path / "probe.py").write_text("import os; print(os.getpid(), os.getppid(), flush=True)")
    asks = "import subprocess, sys, time; time.sleep(2); subprocess.run(sys.argv[1:])"
    owner = f"""
        import os, subprocess, sys, time
        from hivemind_utils.pipeline import forks
        with forks.server(dict(os.environ)) as (variables, held):
            command = [sys.executable, "-c", {asks!r}, *forks.python(variables), "-m", "probe"]
            process = subprocess.Popen(command, env=os.environ | variables, pass_fds=held)
            print(process.pid, variables[forks.SOCKET], flush=True)
            time.sleep(60)
    """
    environment = os.environ | {"PYTHONPATH": str(Path(forks.__file__).parents[2])}
    command = [sys.executable, "-c", inspect.cleandoc(owner)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        asking, path = process.stdout.readline().split()
        _wait_for(Path(path))
        process.kill()
        process.wait()
        forked, server = map(int, process.stdout.readline().split())
        assert server != forked
        _wait_until_ended([int(asking), forked, server])


@pytest.mark.parametrize(
    "sent", [b"", b"\0\0\0\0\0\0\0\x10{", b"\0\0\0\0\0\0\0\1{", b"\0\0\0\0\0\0\0\2[]", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_requests_that_make_no_sense_harm_nobody(server, tmp_path, sent):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(server[forks.SOCKET])
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
    assert _result(server, tmp_path, "print('fine')") == ("fine\n", 0)


@pytest.mark.parametrize("variables", [{}, {forks.SOCKET: "/nowhere/forks"}])
def test_without_a_server_it_is_a_usual_python(tmp_path, variables):
    text = "import sys; print('pandas' in sys.modules, sys.flags.isolated, sys.argv)"
    expected = f"False 0 ['{tmp_path / 'probe.py'}', 'x']\n"
    assert _result(variables, tmp_path, text, "x") == (expected, 0)


def test_code_that_changed_after_the_server_began_is_the_code_that_runs(server, tmp_path):
    for word in ("first", "second"):
        assert _result(server, tmp_path, f"print({word!r})") == (f"{word}\n", 0)


def test_many_at_once_each_get_their_own_answer(server, tmp_path):
    text = "import sys; print(sys.argv[1] * 3); sys.exit(int(sys.argv[1]))"
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_started(server, tmp_path, text, str(n))) for n in range(30)]
        found = [(process.communicate()[0], process.returncode) for process in started]
    assert found == [(f"{str(n) * 3}\n", n) for n in range(30)]

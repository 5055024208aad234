"""Run one notebook headlessly: ``python -m hivemind_utils.pipeline.run 05_intra_model --profile demo``.

Parameters are checked before a kernel starts, input tables too; outputs appear under their final names only when the
notebook succeeded. ``--rules`` writes the makefile that knows what has to run again (see ``Makefile``).
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from hivemind_utils.llm import progress
from hivemind_utils.pipeline import notebooks, profiles, rules
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import parquet


def execute(name, spec, strict=False):
    """Run one notebook of a profile; returns the exit status (0, or 3 for a partial result under `strict`)."""
    profile = profiles.load_profile(spec)
    profiles.check_common(profile)
    notebook = notebooks.inspect(name)
    values = profiles.resolve(profile, notebook)
    files = profiles.input_files(notebook, values)
    missing = [t for t in notebook.reads if not parquet.path(t, profile.name).exists()]
    if missing:
        raise notebooks.UserError(parquet.missing_message(missing[0], profile.name, spec))
    inputs = [*files, *(parquet.path(t, profile.name) for t in notebook.reads)]

    folder = table_files.root() / "executed" / profile.name
    folder.mkdir(parents=True, exist_ok=True)
    running, final = folder / f"{notebook.number}.running.ipynb", folder / f"{notebook.number}.ipynb"
    results = table_files.root() / "results" / profile.name / f"{notebook.number}.json"
    results.unlink(missing_ok=True)
    rules.write_parameters(folder, notebook, values)
    drawn = folder / f"{notebook.number}.figures.txt"  # `figure_files.save` notes here what it draws
    drawn.write_text("", encoding="utf-8")
    os.environ["HIVEMIND_DRAWN"] = str(drawn)
    started = time.monotonic()
    with _progress(folder / f"{notebook.number}.progress.txt", notebook.name):
        _execute(notebook, running, values)
    seconds = round(time.monotonic() - started, 2)
    figures = sorted(set(drawn.read_text(encoding="utf-8").split()))
    drawn.unlink()
    _remove_stale_figures(profile.name, folder / f"{notebook.number}.manifest.json", figures)

    partial = json.loads(results.read_text(encoding="utf-8")).get("partial") if results.exists() else None
    manifest = {
        "notebook": notebook.name,
        "profile": profile.name,
        "parameters": values,
        "inputs": {_relative(p): _digest(p) for p in inputs},
        "packages": _versions(),
        "python": platform.python_version(),
        "git_commit": _commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "partial": partial,
        "figures": figures,
    }
    with table_files.atomic(folder / f"{notebook.number}.manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(running, final)
    print(f"{notebook.name:<24} {profile.name:<12} {seconds:6.1f} s   {_relative(final)}", flush=True)
    if partial:
        print(f"WARNING: {notebook.name} is PARTIAL: {partial}", file=sys.stderr, flush=True)
    return 3 if partial and strict else 0


def still_partial(spec):
    """Say which notebooks' last runs are partial; returns the exit status, 3 if any is."""
    profile = profiles.load_profile(spec)
    found = {}
    for number in profile.run:
        manifest = table_files.root() / "executed" / profile.name / f"{number}.manifest.json"
        if manifest.exists() and (partial := json.loads(manifest.read_text(encoding="utf-8"))["partial"]):
            found[number] = partial
    for number, partial in found.items():
        print(f"error: {notebooks.find_notebook(number)} is PARTIAL: {partial}", file=sys.stderr)
    return 3 if found else 0


@contextlib.contextmanager
def _progress(path, name):
    """Repeat on the terminal what long work in the notebook says of itself: a line a minute."""
    path.write_text("", encoding="utf-8")
    os.environ[progress.LOG] = str(path)
    ended = threading.Event()

    def follow():
        with open(path, encoding="utf-8") as lines:
            while True:
                over = ended.wait(1)
                for line in lines:
                    print(f"{name:<24} {line.rstrip()}", file=sys.stderr, flush=True)
                if over:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.environ.pop(progress.LOG, None)
        path.unlink(missing_ok=True)


def _remove_stale_figures(profile, manifest, figures):
    """Remove what the last run of the notebook drew and this one did not: it would show other data."""
    old = json.loads(manifest.read_text(encoding="utf-8")).get("figures", []) if manifest.exists() else []
    for slug in set(old) - set(figures):
        for suffix in ("png", "pdf", "csv", "json", "html"):
            (table_files.root() / "figures" / profile / f"{slug}.{suffix}").unlink(missing_ok=True)


def _execute(notebook, running, values):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [
            str(table_files.root()),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]  # the tree that runs is the tree imported
    )
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it does not understand `int | None`; we checked already
    with tempfile.TemporaryDirectory() as ipython:
        quiet = Path(ipython) / "profile_default" / "ipython_kernel_config.py"
        quiet.parent.mkdir()
        quiet.write_text("c.IPKernelApp.log_level = 50\n", encoding="utf-8")  # silent about TCP on the loopback
        os.environ["IPYTHONDIR"] = ipython
        _papermill(papermill, notebook, running, values)


def _papermill(papermill, notebook, running, values):
    from nbclient.exceptions import DeadKernelError

    try:
        papermill.execute_notebook(
            notebook.path,
            running,
            parameters=values,
            kernel_name="python3",
            language="python",  # a notebook without language_info is still Python
            cwd=str(notebook.path.parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        raise notebooks.UserError(
            f"{notebook.name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}\n"
            f"The notebook up to there, with the traceback: {_relative(running)}"
        ) from None
    except DeadKernelError:
        raise notebooks.UserError(
            f"{notebook.name}: the kernel died, most often for want of memory. What is stored is kept; run it again.\n"
            f"The notebook up to there: {_relative(running)}"
        ) from None


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions():
    from importlib.metadata import distributions

    return {d.metadata["Name"]: d.version for d in sorted(distributions(), key=lambda d: d.metadata["Name"].lower())}


def _commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=table_files.root(), capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    except FileNotFoundError:
        return None
    return (head.stdout.strip() + ("+changes" if changed else "")) if head.returncode == 0 else None


def _relative(path):
    path = Path(path)
    return str(path.relative_to(table_files.root())) if path.is_relative_to(table_files.root()) else str(path)


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.pipeline.run", description=__doc__.split("\n")[0])
    parser.add_argument("notebook", nargs="?", help="name or number, such as 05_intra_model or 05")
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if the result is partial")
    parser.add_argument(
        "--partial", action="store_true", help="run nothing; exit with 3 if a notebook's last run is partial"
    )
    parser.add_argument("--rules", action="store_true", help="write executed/<profile>/rules.mk for make, run nothing")
    options = parser.parse_args(arguments)
    if (options.notebook is None) != (options.rules or options.partial):
        parser.error("give a notebook, or --rules, or --partial")
    try:
        if options.rules:
            print(_relative(rules.rules(options.profile)))
            return 0
        if options.partial:
            return still_partial(options.profile)
        return execute(options.notebook, options.profile, options.strict)
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

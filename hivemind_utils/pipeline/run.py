"""Run one notebook headlessly: ``python -m hivemind_utils.pipeline.run 05_intra_model --profile demo``.

Parameters are checked before a kernel starts, input tables too; outputs appear under their final names only when the
notebook succeeded. ``--rules`` writes the makefile that knows what has to run again (see ``Makefile``).
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from hivemind_utils.llm import progress, providers
from hivemind_utils.pipeline import forks, kernels, manifests, names, notebooks, profiles, rules, writers
from hivemind_utils.tables import executor, parquet
from hivemind_utils.tables import files as table_files

SAVE_EVERY = 5  # seconds between two states of a running notebook on disk


def execute(name, spec, strict=False, unless_current=False):
    """Run one notebook of a profile; returns the exit status (0, or 3 for a partial result under `strict`).

    With `unless_current`, a notebook whose last run stands is left alone.
    """
    profile = profiles.load_profile(spec)
    with writers.only_one(profile.name, f"notebook {name}"):
        return _execute_alone(name, profile, spec, strict, unless_current)


def _execute_alone(name, profile, spec, strict, unless_current):
    profiles.check_common(profile)
    notebook = notebooks.inspect(name)
    values = profiles.resolve(profile, notebook)
    files = profiles.input_files(notebook, values)
    folder = table_files.root() / "executed" / profile.name
    digests = manifests.Digests(folder)
    if unless_current and manifests.why_stale(notebook, profile.name, values, files, digests) is None:
        digests.save()
        return 0
    for table in notebook.reads:
        _check_table(table, profile.name, spec)
    names.claim(profile.name, profile.path)
    code = manifests.code(notebook, digests)  # before it runs: what changes meanwhile runs it again
    inputs = manifests.inputs(notebook, profile.name, values, files, digests)

    folder.mkdir(parents=True, exist_ok=True)
    running, final = folder / f"{notebook.number}.running.ipynb", folder / f"{notebook.number}.ipynb"
    results = table_files.root() / "results" / profile.name / f"{notebook.number}.json"
    results.unlink(missing_ok=True)
    rules.write_parameters(folder, notebook, values)
    drawn = folder / f"{notebook.number}.figures.txt"  # `figure_files.save` notes here what it draws
    drawn.write_text("", encoding="utf-8")
    started = time.monotonic()
    said = _progress(folder / f"{notebook.number}.progress.txt", notebook.name)
    with said, _scheduler(profile.scheduler), table_files.environment(HIVEMIND_DRAWN=str(drawn)):
        _execute(notebook, running, values)
    seconds = round(time.monotonic() - started, 2)
    figures = sorted(set(drawn.read_text(encoding="utf-8").split()))
    _remove_stale_figures(profile.name, notebook.number, figures)
    drawn.unlink()

    partial = json.loads(results.read_text(encoding="utf-8")).get("partial") if results.exists() else None
    manifests.path(profile.name, notebook.number).unlink(missing_ok=True)
    os.replace(running, final)
    manifest = {
        "notebook": notebook.name,
        "profile": profile.name,
        "parameters": manifests.parameters(values),
        "inputs": inputs,
        "code": code,
        "outputs": manifests.outputs(notebook, profile.name, values, figures, digests),
        "packages": _versions(),
        "python": platform.python_version(),
        "git_commit": _commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "partial": partial,
        "figures": figures,
    }
    digests.save()
    manifests.write(manifest, profile.name, notebook.number)
    print(f"{notebook.name:<24} {profile.name:<12} {seconds:6.1f} s   {manifests.relative(final)}", flush=True)
    if partial:
        print(f"WARNING: {notebook.name} is PARTIAL: {partial}", file=sys.stderr, flush=True)
    return 3 if partial and strict else 0


def _check_table(table, profile, spec):
    """Refuse an input table that is missing or cannot be read."""
    if not parquet.path(table, profile).exists():
        raise notebooks.UserError(parquet.missing_message(table, profile, spec))
    try:
        parquet.stamp(table, profile)
    except parquet.DamagedError as error:
        raise notebooks.UserError(parquet.damaged_message(table, profile, spec, error.lacking)) from None


def make(target, spec, jobs):
    """Run a profile's notebooks through make, as the only writer of its folders; returns make's exit status.

    Parameters
    ----------
    target : str
        "all", or a notebook's number.
    spec : str
        Name or path of the profile.
    jobs : str
        Notebooks at once.
    """
    flags = re.match(r"-?([A-Za-z]*)", os.environ.get("MAKEFLAGS", "")).group(1)
    flags = "".join(flag for flag in flags if flag in "nqsi")
    profile = profiles.load_profile(spec)
    if target != "all" and target not in profile.run:
        raise notebooks.UserError(
            f"The profile {profile.name} runs {', '.join(profile.run)}, not {target}: see `run` in {profile.path.name}."
        )
    if not str(jobs).isdecimal() or int(jobs) < 1:
        raise notebooks.UserError(f"JOBS must be a number of notebooks from 1 on, but {jobs!r} was given.")
    with contextlib.ExitStack() as stack:
        dry = set(flags) & {"n", "q"}
        descriptors = () if dry else stack.enter_context(writers.only_one(profile.name, f"make {target}"))
        written = rules.rules(spec)
        environment = {
            k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES")
        }
        if rules.n_running(written) > 1 and not dry and sys.platform == "linux":
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            variables, held = stack.enter_context(forks.server(os.environ | kernels.environment(scratch)))
            environment, descriptors = environment | variables, (*descriptors, *held)
        python = shlex.join(forks.python(environment)).replace("$", "$$")
        command = [os.environ.get("MAKE") or "make", "--no-print-directory", "--keep-going", f"-j{int(jobs)}"]
        command += [f"-{flags}"] if flags else []
        command += ["-f", manifests.relative(written), f"PYTHON={python}", f"STRICT={os.environ.get('STRICT', '')}"]
        process = subprocess.Popen([*command, target], cwd=table_files.root(), env=environment, pass_fds=descriptors)
        return _wait(process)


def _wait(process):
    """Wait for a process; what asks us to end is handed on, and waited for."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: process.send_signal(number))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal sent it to the process as well
            continue


def still_partial(spec):
    """Say which notebooks' last runs are partial; returns the exit status, 3 if any is."""
    profile = profiles.load_profile(spec)
    found = {number: (manifests.require(profile.name, number, spec) or {}).get("partial") for number in profile.run}
    found = {number: partial for number, partial in found.items() if partial}
    for number, partial in found.items():
        print(f"error: {notebooks.find_notebook(number)} is PARTIAL: {partial}", file=sys.stderr)
    return 3 if found else 0


@contextlib.contextmanager
def _progress(path, name):
    """Repeat on the terminal what long work in the notebook says of itself: one line per minute."""
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


@contextlib.contextmanager
def _scheduler(scheduler):
    """Tell the notebook where its work on prompts is done, and start the cluster that `local` stands for."""
    with contextlib.ExitStack() as stack:
        if executor.address_of(scheduler) == "local":
            try:
                address = stack.enter_context(executor.local_cluster())
            except ModuleNotFoundError as error:
                raise notebooks.UserError(str(error)) from None
            scheduler = scheduler | {"address": address} if isinstance(scheduler, dict) else address
        with table_files.environment(**{executor.VARIABLE: json.dumps(scheduler)}):
            yield


def _remove_stale_figures(profile, number, figures):
    """Remove what the last run of the notebook drew and this one did not: it would show other data."""
    old = (manifests.read(profile, number) or {"figures": []})["figures"]
    for slug in set(old) - set(figures):
        for suffix in manifests.FIGURE_SUFFIXES:
            (table_files.root() / "figures" / profile / f"{slug}.{suffix}").unlink(missing_ok=True)


def _execute(notebook, running, values):
    notebooks.skip_iri_grammar()
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it does not understand `int | None`; we checked already
    with tempfile.TemporaryDirectory() as scratch, table_files.environment(**kernels.environment(Path(scratch))):
        _papermill(papermill, notebook, running, values)


def _papermill(papermill, notebook, running, values):
    from nbclient.exceptions import DeadKernelError

    papermill.engines.papermill_engines.register("hivemind", _engine(papermill))

    def literal(path):
        return str(path).replace("{", "{{").replace("}", "}}")  # papermill fills in parameters

    try:
        papermill.execute_notebook(
            literal(notebook.path),
            literal(running),
            parameters=values,
            engine_name="hivemind",
            kernel_name="python3",
            language="python",  # a notebook without language_info is still Python
            cwd=str(notebook.path.parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        if error.ename == "CellExecutionError" and not error.traceback:  # `Study.nothing`: a sentence, no error shown
            _rewrite(running, _without_marks)
            return
        _rewrite(running, _redacted)
        raise notebooks.UserError(
            f"{notebook.name} failed in cell {error.cell_index}: {error.ename}: {providers.redact(error.evalue)}\n"
            f"The notebook up to there, with the traceback: {manifests.relative(running)}"
        ) from None
    except DeadKernelError:
        raise notebooks.UserError(
            f"{notebook.name}: the kernel died, most often for want of memory. What is stored is kept; run it again.\n"
            f"The notebook up to there: {manifests.relative(running)}"
        ) from None
    except RuntimeError as error:  # jupyter_client: the kernel did not start
        raise notebooks.UserError(
            f"{notebook.name}: the kernel of {sys.executable} did not start ({error}). Run `make setup`, then again."
        ) from None


def _engine(papermill):
    """Engine of papermill that saves the notebook every few seconds, and at its end, not twice with every cell."""

    class Engine(papermill.engines.NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            save = nb_man.save

            def save_now_and_then(**kept):
                if (nb_man.now() - nb_man.last_save_time).total_seconds() >= SAVE_EVERY:
                    save(**kept)

            nb_man.save = save_now_and_then
            try:
                return super().execute_managed_notebook(nb_man, kernel_name, **options)
            finally:
                nb_man.save = save

    return Engine


def _rewrite(running, change):
    """Change the cells of a notebook on disk."""
    import nbformat

    content = nbformat.read(running, as_version=4)
    content.cells = change(content.cells)
    with table_files.atomic(running) as temporary:
        nbformat.write(content, temporary)


def _without_marks(cells):
    """Leave out what papermill writes into a notebook whose cell failed."""
    return [c for c in cells if "papermill-error-cell-tag" not in c.metadata.get("tags", ())]


def _redacted(cells):
    """Take keys out of tracebacks and printed text: an error of a library may repeat what it was called with."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            for place in (output, output.get("data", {})):
                for name, shown in place.items():
                    if isinstance(shown, str) and name != "image/png":
                        place[name] = providers.redact(shown)
            if "traceback" in output:
                output["traceback"] = [providers.redact(line) for line in output["traceback"]]
    return cells


def _versions():
    """Version of every installed package, from the first lines of its metadata: to parse all of them takes longer."""
    from importlib.metadata import distributions

    heads = [(d.read_text("METADATA") or d.read_text("PKG-INFO") or "").partition("\n\n")[0] for d in distributions()]
    known = [dict(re.findall(r"^(Name|Version):\s*(.*?)\s*$", head, re.MULTILINE)) for head in heads]
    whole = {d["Name"]: d["Version"] for d in known if len(d) == 2}
    return dict(sorted(whole.items(), key=lambda item: item[0].lower()))


def _commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=table_files.root(), capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    except FileNotFoundError:
        return None
    return (head.stdout.strip() + ("+changes" if changed else "")) if head.returncode == 0 else None


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
    parser.add_argument("--unless-current", action="store_true", help="leave a notebook alone whose last run stands")
    parser.add_argument("--make", metavar="TARGET", help="run `all` notebooks that have to, or a number and its needs")
    parser.add_argument("--jobs", default="2", help="notebooks at once under --make (default: 2)")
    options = parser.parse_args(arguments)
    if sum([options.notebook is not None, options.rules, options.partial, options.make is not None]) != 1:
        parser.error("give a notebook, or --rules, or --partial, or --make")
    try:
        if options.make is not None:
            return make(options.make, options.profile, options.jobs)
        if options.rules:
            print(manifests.relative(rules.rules(options.profile)))
            return 0
        if options.partial:
            return still_partial(options.profile)
        return execute(options.notebook, options.profile, options.strict, options.unless_current)
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

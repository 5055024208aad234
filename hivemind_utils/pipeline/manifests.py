"""What a run of a notebook rested on and wrote, by content: the record that decides what has to run again.

Times are never compared: a file is the same if its SHA-256 is. A notebook is up to date if its last run finished with
the same parameters, code and inputs, and if what it wrote is still there as it was written.
"""

import hashlib
import json
from pathlib import Path

from hivemind_utils.pipeline import notebooks
from hivemind_utils.responses import embeddings
from hivemind_utils.tables import files, parquet

FIGURE_SUFFIXES = ("png", "pdf", "csv", "json", "html")
_TEXT = (str, type(None))
_KINDS = {  # of what a manifest holds
    "parameters": dict, "inputs": dict, "packages": dict, "code": dict, "outputs": dict, "figures": list,
    "partial": _TEXT, "git_commit": _TEXT, "finished": _TEXT, "python": _TEXT, "seconds": (int, float, type(None)),
}  # fmt: skip
_LATER = {"parameters": {}, "inputs": {}, "git_commit": None, "finished": None, "python": None, "seconds": None}
_NEVER_IN_A_SLUG = set("/\\*?[]\0")


class Digests:
    """SHA-256 of files; one that looks untouched (size, both times, inode) is not read again.

    Parameters
    ----------
    folder : Path
        ``executed/<profile>``, where the digests known are kept.
    """

    def __init__(self, folder):
        self.file = Path(folder) / "digests.json"
        known = files.read_json(self.file)
        self.known = known if isinstance(known, dict) else {}
        self.changed = False

    def of(self, path):
        """Digest of a file's content, or None where there is no such file."""
        path = Path(path)
        try:
            status = path.stat()
        except (OSError, ValueError):  # ValueError: a name that no system can have
            return None
        if not path.is_file():
            return None
        looks = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        found = self.known.get(str(path))
        if not (isinstance(found, list) and len(found) == 2 and found[0] == looks):
            with open(path, "rb") as file:
                found = [looks, hashlib.file_digest(file, "sha256").hexdigest()]
            self.known[str(path)] = found
            self.changed = True
        return found[1]

    def save(self):
        """Keep what was read."""
        if self.changed:
            with files.atomic(self.file) as temporary:
                temporary.write_text(json.dumps(self.known), encoding="utf-8")


def path(profile, number):
    """Path of a notebook's manifest."""
    return files.root() / "executed" / profile / f"{number}.manifest.json"


def read(profile, number):
    """Manifest of a notebook's last finished run; None where there is none, or where it is damaged."""
    found = files.read_json(path(profile, number))
    if not isinstance(found, dict) or not {"partial", "figures", "packages"} <= set(found):
        return None
    found = _LATER | found
    whole = all(isinstance(found[key], kind) for key, kind in _KINDS.items() if key in found)
    return found if whole and _is_of_text(found) else None


def _is_of_text(manifest):
    """Whether digests, versions and figures are texts, and no figure's name leads out of its folder."""
    digests = (manifest.get(key, {}) for key in ("inputs", "code", "outputs", "packages"))
    return all(isinstance(value, _TEXT) for known in digests for value in known.values()) and all(
        isinstance(slug, str) and slug and not set(slug) & _NEVER_IN_A_SLUG for slug in manifest["figures"]
    )


def require(profile, number, spec=None):
    """Manifest of a notebook that has run; None where it has not.

    Raises
    ------
    UserError
        If the notebook ran, but the record of it is missing or damaged.
    """
    found = read(profile, number)
    if found is None and (path(profile, number).exists() or executed(profile, number).exists()):
        state = "damaged" if path(profile, number).exists() else "missing"
        raise notebooks.UserError(
            f"{relative(path(profile, number))} is {state}: run `make {number} PROFILE={spec or profile}`."
        )
    return found


def executed(profile, number):
    """Path of a notebook's executed copy."""
    return files.root() / "executed" / profile / f"{number}.ipynb"


def code(notebook, digests):
    """Digests of what a notebook runs: its cells, whatever was saved with them, and the package modules."""
    found = {relative(notebook.path): digest_of_cells(notebook.path.read_text(encoding="utf-8"))}
    return found | {relative(module): digests.of(module) for module in notebook.modules}


def digest_of_cells(text):
    """Digest of a notebook's cells: kind, source and tags. Outputs and counts say nothing of what will run."""
    cells = json.loads(text)["cells"]
    kept = [[c["cell_type"], "".join(c["source"]), c.get("metadata", {}).get("tags", [])] for c in cells]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def inputs(notebook, profile, values, input_files, digests):
    """Digests of the files and tables that a notebook reads."""
    needs = [*input_files, *(parquet.path(table, profile) for table in notebook.reads)]
    if notebook.reads_embeddings:
        needs += _vectors(values, profile)
    return {relative(file): digests.of(file) for file in needs}


def _vectors(values, profile):
    """Files of the vectors of every encoder that a notebook's parameters name."""
    named = [values["encoder"], *(values.get("encoders") or ()), values.get("multilingual_encoder")]
    folder = files.folder(profile) / "embeddings"
    return [path for name in dict.fromkeys(filter(None, named)) for path in embeddings.files(name, folder)]


def outputs(notebook, profile, values, figures, digests):
    """Digests of everything that a run wrote: tables, results, pictures, embeddings and the executed notebook."""
    written = [parquet.path(table, profile) for table in notebook.writes]
    if notebook.writes_embeddings:
        written += _vectors(values, profile)
    written += [files.root() / "results" / profile / f"{notebook.number}.json", executed(profile, notebook.number)]
    drawn = [files.root() / "figures" / profile / f"{slug}.{suffix}" for slug in figures for suffix in FIGURE_SUFFIXES]
    return {relative(file): digests.of(file) for file in (*written, *drawn) if file.exists()}


def why_stale(notebook, profile, values, input_files, digests):
    """Why a notebook has to run, in words; None where its last run stands.

    Parameters
    ----------
    notebook : Notebook
    profile : str
    values : dict
        The resolved parameters.
    input_files : list of Path
        What the parameters name; see `profiles.input_files`.
    digests : Digests
    """
    manifest = read(profile, notebook.number)
    if manifest is None or "code" not in manifest or "outputs" not in manifest:
        return "no record of a finished run"
    if executed(profile, notebook.number).with_suffix(".running.ipynb").exists():
        return "its last run did not finish"
    if manifest["parameters"] != parameters(values):
        return "its parameters changed"
    if changed := _different(manifest["code"], code(notebook, digests)):
        return f"{changed} changed"
    if changed := _different(manifest["inputs"], inputs(notebook, profile, values, input_files, digests)):
        return f"{changed} changed"
    needed = {relative(parquet.path(table, profile)) for table in notebook.writes}
    written = {file: digests.of(files.root() / file) for file in sorted({*manifest["outputs"], *needed})}
    if changed := _different(manifest["outputs"], written):
        return f"{changed} is not what the run wrote"
    return None


def parameters(values):
    """Resolved parameters as a manifest keeps them: paths in the project relative to it, so that it can be moved."""
    if isinstance(values, dict):
        return {str(name): parameters(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [parameters(value) for value in values]
    return relative(values) if isinstance(values, str) and Path(values).is_absolute() else values


def _different(known, found):
    """First name whose digests differ, or None."""
    return next((name for name in sorted({*known, *found}) if known.get(name) != found.get(name)), None)


def relative(file):
    """Path as text, relative to the project where it lies in it."""
    file, root = Path(file), files.root()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def write(manifest, profile, number):
    """Write a notebook's manifest, atomically."""
    text = json.dumps(manifest, indent=1) + "\n"  # ASCII: a file's name may be no Unicode
    with files.atomic(path(profile, number)) as temporary:
        temporary.write_text(text, encoding="utf-8")

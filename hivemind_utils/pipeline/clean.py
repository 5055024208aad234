"""Remove what runs wrote, and nothing else: ``python -m hivemind_utils.pipeline.clean --profile demo``."""

import argparse
import shutil
import sys

from hivemind_utils.pipeline import lab, manifests, names, notebooks, writers
from hivemind_utils.tables import files, schema

EXECUTED = ("params.json", "manifest.json", "running.ipynb", "ipynb", "figures.txt")

EMBEDDED = ("queries", "sets", "files", "translated")  # folders of embeddings of texts that are no responses of the run


def clean(name):
    """Remove what a profile's runs wrote; inputs, stores of paid responses and people's sheets stay.

    Parameters
    ----------
    name : str
        Name of the profile; its file need not be there any more.

    Returns
    -------
    list of str
        What is left in the profile's folders under executed, figures and results: no run wrote it.
    """
    names.check_name(name)
    root = files.root()
    with writers.only_one(name, "make clean"):
        written = _figures(name) + list(_tables(name))
        for file in written:
            file.unlink(missing_ok=True)
        for folder in (*(f"embeddings/{kind}" for kind in EMBEDDED), "embeddings", "truth"):
            _remove_cache(root / "data" / name / folder)
        if (root / "report" / name / "index.html").is_file():
            shutil.rmtree(root / "report" / name)
        for number in sorted({notebook[:2] for notebook in notebooks.notebooks()}):
            (root / "results" / name / f"{number}.json").unlink(missing_ok=True)
            for suffix in EXECUTED:
                (root / "executed" / name / f"{number}.{suffix}").unlink(missing_ok=True)
        for file in ("responses.parquet", "responses.jsonl", "map.parquet", "hulls.parquet", "claims.csv",
                     "claims.datacite.json"):  # fmt: skip
            (root / "results" / name / "export" / file).unlink(missing_ok=True)
        exported = root / "results" / name / "export"
        if exported.is_dir() and not any(exported.iterdir()):
            exported.rmdir()
        for suffix in ("csv", "json"):
            (root / "results" / name / f"claims.{suffix}").unlink(missing_ok=True)
        lab.clean(name)
        for file in ("rules.mk", "digests.json", "profile.json"):
            (root / "executed" / name / file).unlink(missing_ok=True)
    (root / "executed" / name / "run.lock").unlink(missing_ok=True)
    left = []
    for folder in ("executed", "figures", "results", "data"):
        place = root / folder / name
        if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()
        elif place.is_dir() and folder != "data":
            left += [manifests.relative(file) for file in sorted(place.iterdir())]
    return left


def everyone():
    """Names of the profiles that have written anything."""
    found = set()
    for folder in ("executed", "figures", "results", "report"):
        found |= {path.name for path in (files.root() / folder).glob("*") if path.is_dir()}
    return sorted(name for name in found if name.casefold() not in names.RESERVED and _is_name(name))


def _is_name(name):
    try:
        return bool(names.check_name(name))
    except notebooks.UserError:
        return False


def _tables(name):
    """Tables of the schema, and what notebook 01 drew for the demo."""
    for table in schema.TABLES:
        yield files.folder(name) / f"{table}.parquet"


def _figures(name):
    """Files of the figures that runs noted, finished or not."""
    executed, slugs = files.root() / "executed" / name, set()
    for manifest in executed.glob("[0-9][0-9].manifest.json"):
        slugs |= set((manifests.read(name, manifest.name[:2]) or {"figures": []})["figures"])
    for noted in executed.glob("[0-9][0-9].figures.txt"):
        slugs |= set(noted.read_text(encoding="utf-8", errors="replace").split())
    folder = files.root() / "figures" / name
    known = [folder / f"{slug}.{suffix}" for slug in slugs for suffix in manifests.FIGURE_SUFFIXES]
    # A picture with its caption and numbers beside it is a run's, even where the record of the run is gone.
    for printed in folder.glob("*.json"):
        if printed.with_suffix(".png").exists() and _is_caption(printed):
            known += [printed.with_suffix(f".{suffix}") for suffix in manifests.FIGURE_SUFFIXES]
    return known


def _is_caption(path):
    found = files.read_json(path)
    return isinstance(found, dict) and {"title", "caption", "source"} <= set(found)


def _remove_cache(folder):
    """Remove embeddings (a matrix with its ids, and parts of it) and the demo's truth; nothing else in the folder."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for matrix in folder.glob("*.npy"):
        if matrix.with_suffix(".parquet").is_file():
            matrix.with_suffix(".parquet").unlink()
            matrix.unlink()
    for parts in folder.glob("*.parts"):
        shutil.rmtree(parts)
    if folder.name == "truth":
        for table in folder.glob("*.parquet"):
            table.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.pipeline.clean", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", help="a name, or a path to a YAML file")
    parser.add_argument("--all", action="store_true", help="every profile that has written anything")
    options = parser.parse_args(arguments)
    if (options.profile is None) != options.all:
        parser.error("give --profile, or --all")
    try:
        chosen = everyone() if options.all else [names.name_of(options.profile)]
        if not options.all and names.is_file(options.profile):
            names.check_alone(chosen[0], options.profile)
        (files.root() / "executed" / notebooks.IMPORTS).unlink(missing_ok=True)
        for name in chosen:
            if left := clean(name):
                print(f"left as they are, for no run wrote them: {', '.join(left[:5])}{' …' if left[5:] else ''}")
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

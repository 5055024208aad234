"""Results of a notebook, ``results/<profile>/NN.json``, as its readers take them: whole, or not at all."""

from hivemind_utils.pipeline import manifests, notebooks
from hivemind_utils.tables import files, parquet

_TEXT, _NUMBER = (str, type(None)), (int, float, type(None))
_KINDS = {"source": _TEXT, "partial": _TEXT, "prompts_note": _TEXT, "encoder": _TEXT, "answer": _TEXT}


def path(profile, number):
    """Path of a notebook's results."""
    return files.root() / "results" / profile / f"{number}.json"


def read(profile, number):
    """Results of a notebook; an empty dict where there are none.

    Raises
    ------
    UserError
        If the file cannot be read, or does not follow ``data/reference/results.schema.json``.
    """
    file = path(profile, number)
    if not file.exists():
        return {}
    found = files.read_json(file)
    if not (isinstance(found, dict) and _follows_schema(found)):
        raise damaged(file)
    return found


def damaged(file, why=None):
    """Error that says that a file of a run is damaged, and how to write it again."""
    said = f" ({why})" if why else ""
    return notebooks.UserError(
        f"{manifests.relative(file)} is damaged{said}: {parquet.how_to_run(file.parent.name)}, which writes it again."
    )


def _follows_schema(found):
    number, models = found.get("number"), found.get("models", [])
    return (
        all(isinstance(found.get(key), kind) for key, kind in _KINDS.items())
        and isinstance(models, list)
        and all(isinstance(model, str) for model in models)
        and (number is None or (isinstance(number, dict) and _is_number(number)))
    )


def _is_number(number):
    values = [number.get(key, "") for key in ("value", "lower", "upper")]
    return isinstance(number.get("label"), str) and all(isinstance(value, _NUMBER) for value in values)

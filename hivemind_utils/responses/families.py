"""Families of models: from the registry, else from the words of a name, else unknown."""

import functools
import re
from collections import namedtuple

import pandas as pd

from hivemind_utils.tables import files
from hivemind_utils.tables.wording import counted, listed

UNKNOWN = "unknown"  # a family that nobody knows; two such models are not of one family

Lineage = namedtuple("Lineage", ["family", "vendor", "guessed"])


def lineage(model):
    """Family and vendor of a model by its name.

    Parameters
    ----------
    model : str
        As published, as litellm writes it, or as a hub does: ``o1-mini``, ``openai/o1-mini``, ``meta-llama/Llama-3``.

    Returns
    -------
    Lineage
        family (`UNKNOWN` where no word of the name is in ``data/reference/families.csv``), vendor (None likewise), and
        whether they are guessed, which they are for every name that the registry of models lacks.

    Examples
    --------
    >>> lineage("text_davinci_003").family, lineage("my-model").family
    ('GPT-3', 'unknown')
    """
    *owners, name = re.split(r"[/@]", model.strip().lower().replace("_", "-"))
    known, words, vendors = _known()
    for key in (model.strip().lower(), name):
        if key in known:
            return Lineage(*known[key], guessed=False)
    for word, (family, vendor) in words.items():
        if re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z]){'(?![0-9])' if word[-1].isdigit() else ''}", name):
            return Lineage(family, vendor, guessed=True)
    vendor = next((vendors[owner] for owner in reversed(owners) if owner in vendors), None)
    return Lineage(UNKNOWN, vendor, guessed=True)


def said(models):
    """Say which families are guessed from names, and of which models nobody knows one; empty where all are told.

    Parameters
    ----------
    models : pandas.DataFrame
        Table ``04_models`` as `table.tabulate` makes it, with the names of the guessed ones in ``attrs``.

    Returns
    -------
    str
    """
    guessed = models[models["model"].isin(models.attrs.get("guessed", ()))]
    unknown = guessed[guessed["family"] == UNKNOWN]["model"].tolist()
    by_name = guessed[guessed["family"] != UNKNOWN]
    named = [f"{row.model}: {row.family}" for row in by_name.itertuples()]
    parts = []
    if named:
        parts.append(f"guessed from the name for {counted(len(named), 'model')} ({listed(named)})")
    if unknown:
        parts.append(f"unknown for {counted(len(unknown), 'model')} ({listed(unknown)})")
    return f"Families are {' and '.join(parts)}: name a file with `models_path` that has `family`" if parts else ""


def of_own(families):
    """Families in which every model of unknown family stands alone, from a Series by model."""
    return families.where(families != UNKNOWN, families.index.to_series())


@functools.cache
def _known():
    """Families and vendors of the registry by name, by word of a name, and vendors by owner of a repository."""
    registry = pd.read_csv(files.resolve("data/reference/models.csv"), dtype=str)
    registry = registry.reindex(columns=["model", "litellm_id", "family", "vendor"]).dropna(subset=["model", "family"])
    registry = registry.astype(object).where(registry.notna(), None)
    known = {}
    for row in registry.itertuples():
        for name in filter(None, (row.model, row.litellm_id, row.model.rsplit("/", 1)[-1])):
            known.setdefault(name.lower(), (row.family, row.vendor))
    table = pd.read_csv(files.resolve("data/reference/families.csv"), dtype=str, keep_default_na=False)
    words, owners = (table[table["where"] == where] for where in ("name", "owner"))
    return (
        known,
        {row.word: (row.family, row.vendor) for row in words.itertuples()},
        dict(zip(owners["word"].str.replace("_", "-"), owners["vendor"], strict=True)),
    )

"""Models that can be asked: the registry, which are chosen, what they cost and until when they are served."""

import difflib
from pathlib import Path

import pandas as pd

from hivemind_utils.llm import checks, cost, gguf_models, retirement
from hivemind_utils.tables import conditions, files, reading


def choose_models(registry, names=None):
    """Choose models by name or by a condition on the registry.

    Parameters
    ----------
    registry : DataFrame
        ``data/reference/models.csv`` or a file like it, with at least model and litellm_id.
    names : list of str, or str, optional
        Names as published, litellm ids, or names of models that the registry lacks, written as litellm does, or as
        ``gguf:...`` for a file on this machine (see `gguf_models`); or a condition on the registry's columns, such as
        ``main25`` or ``open_weights and size_b < 10``. Default: all.

    Returns
    -------
    DataFrame
        Rows of the registry, in the order of the names.
    """
    if names is None or isinstance(names, str):
        chosen = registry if names is None else conditions.select(registry, names)
        if chosen.empty:
            raise ValueError(f"No model of the registry satisfies {names!r}; its columns are {list(registry)}.")
        return chosen.reset_index(drop=True)
    known = set(registry["model"]) | set(registry["litellm_id"])
    for name in names:
        if name not in known and "/" not in name and not gguf_models.is_gguf(name):
            close = difflib.get_close_matches(name, sorted(map(str, known)), n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"The registry has no model {name!r}; others are written provider/model.{hint}")
    rows = []
    for name in names:
        found = registry[(registry["model"] == name) | (registry["litellm_id"] == name)].head(1)
        shown = gguf_models.display_name(name) if gguf_models.is_gguf(name) else name
        rows.append(pd.DataFrame({"model": [shown], "litellm_id": [name]}) if found.empty else found)
    return pd.concat(rows, ignore_index=True).reindex(columns=registry.columns)


def read_registry(path=None):
    """Read the registry of models, by default the project's; what is unknown is missing."""
    path = files.resolve("data/reference/models.csv" if path is None else path)
    registry = reading.with_current_name(pd.read_csv(path), "model_kind", Path(path).name)
    missing = [name for name in ("model", "litellm_id") if name not in registry]
    if missing:
        raise ValueError(f"{Path(path).name} needs the columns model and litellm_id, but lacks {missing}.")
    return registry


def retired(frame, models, by=None):
    """Models of a frame of cells that are gone, and since when.

    The registry's ``retired`` decides, else litellm's list. A model that is asked at an address of its own is never
    retired: whoever runs that server decides.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `cells`.
    models : pandas.DataFrame
        From `choose_models`.
    by : str, optional
        The day to judge by, YYYY-MM-DD; default: today.

    Returns
    -------
    dict of str to str
        Litellm id to the last day.
    """
    days = last_days(models)
    asked = frame.drop_duplicates("model")["request"]
    served = [request.model for request in asked if not request.api_base and not gguf_models.is_gguf(request.model)]
    return {model: days[model] for model in served if retirement.is_over(days.get(model), by)}


def last_days(models):
    """Last day of every model of a registry whose end is known, by litellm id: the registry's own, else litellm's."""
    own = models["retired"] if "retired" in models else pd.Series(index=models.index, dtype=object)
    days = {}
    for name, day in zip(models["litellm_id"], own, strict=True):
        days[name] = retirement.known_date(name) if pd.isna(day) else retirement.checked(day, name)
    return {name: day for name, day in days.items() if day}


def prices(models, given=None, others=()):
    """US dollars per million tokens by litellm id: the profile's, else the registry's override.

    A price may be given for a model by either of its names. One for a model that is not asked (a writer or a judge) is
    kept, unless its name looks like that of a model whose price nobody knows.

    Raises
    ------
    ValueError
        If a price is no pair of numbers from 0 on, or a name is misspelt.
    """
    own = models.reindex(columns=["litellm_id", "price_in", "price_out"]).dropna()
    own = {row.litellm_id: (row.price_in, row.price_out) for row in own.itertuples()}
    given = checks.prices(given)
    ids = dict(zip(models.get("model", models["litellm_id"]), models["litellm_id"], strict=True))
    given = {ids.get(name, name): pair for name, pair in given.items()}
    if unknown := [name for name in given if name not in {*ids.values(), *others}]:
        unpriced = [name for name in ids.values() if cost.price(name, own | given) is None]
        for name in unknown:
            if checks.nearest(name, unpriced):
                checks.names("prices", [name], unpriced, of="models asked")
    return own | given

"""What a study asks: its prompts, the models of the registry, the decodings, and the cells these make.

A *cell* is (prompt, model, decoding); a frame of cells has one row per request of the sampler.
"""

import difflib
from pathlib import Path

import pandas as pd

from hivemind_utils.llm import checks, cost, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import conditions, files, schema

CELL_COLUMNS = [*response_prompts.PROMPT_COLUMNS, "model", "decoding", "request"]


PROVENANCE = [
    "outcome", "call_id", "n", "seed", "parameters", "effective", "api_base", "served_model", "system_fingerprint",
    "attempts", "latency_s", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cost_usd", "answered_at",
    "litellm_version",
]  # fmt: skip


def choose_models(registry, names=None):
    """Choose models by name or by a condition on the registry.

    Parameters
    ----------
    registry : DataFrame
        ``data/reference/models.csv`` or a file like it, with at least model and litellm_id.
    names : list of str, or str, optional
        Names as published, litellm ids, or names of models that the registry lacks, written as litellm does; or a
        condition on the registry's columns, such as ``main25`` or ``open_weights and size_b < 10``. Default: all.

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
        if name not in known and "/" not in name:
            close = difflib.get_close_matches(name, [str(other) for other in known], n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"The registry has no model {name!r}; others are written provider/model.{hint}")
    rows = []
    for name in names:
        found = registry[(registry["model"] == name) | (registry["litellm_id"] == name)].head(1)
        rows.append(pd.DataFrame({"model": [name], "litellm_id": [name]}) if found.empty else found)
    return pd.concat(rows, ignore_index=True).reindex(columns=registry.columns)


def answer_files(paths):
    """Files of answers that a parameter names, patterns and folders expanded; none where models are to be asked."""
    paths = [paths] if isinstance(paths, str) else paths or []
    return [file for path in paths for file in files.expand(files.root() / path)]


def no_cells():
    """Return a frame of cells for a study that asks nobody."""
    return pd.DataFrame(columns=CELL_COLUMNS)


def read_registry(path):
    """Read the registry of models; what is unknown is missing."""
    registry = pd.read_csv(files.resolve(path))
    missing = [name for name in ("model", "litellm_id") if name not in registry]
    if missing:
        raise ValueError(f"{Path(path).name} needs the columns model and litellm_id, but lacks {missing}.")
    return registry


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
    ids = dict(zip(models["model"], models["litellm_id"], strict=True))
    given = {ids.get(name, name): tuple(pair) for name, pair in given.items()}
    if unknown := [name for name in given if name not in {*ids.values(), *others}]:
        unpriced = [name for name in ids.values() if cost.price(name, own | given) is None]
        for name in unknown:
            if checks.nearest(name, unpriced):
                checks.names("prices", [name], unpriced, of="models asked")
    return own | given


def cells(prompts, models, decodings, n_samples, *, n_paraphrase_samples=20, per_call=1, api_bases=None):
    """Lay out what is asked: every prompt of every model; paraphrases and closed prompts under the first decoding only.

    Parameters
    ----------
    prompts : DataFrame
        From `read_prompts`.
    models : DataFrame
        From `choose_models`.
    decodings : dict of str to dict
        Name to parameters, such as ``{"top_p": {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}}``.
    n_samples, n_paraphrase_samples : int
        Answers to a prompt, and to a paraphrase.
    per_call : int
        Answers asked for in one call.
    api_bases : dict of str to str, optional
        Model (as published, or as litellm writes it) to the address of its server.

    Returns
    -------
    DataFrame
        Columns `CELL_COLUMNS`, one row per request.
    """
    rows = []
    names = [*dict.fromkeys([*models["model"].astype(str), *models["litellm_id"].astype(str)])]
    bases = checks.addresses("api_bases", api_bases, names)
    decodings = checks.mapping("decodings", decodings)
    if not decodings:
        raise ValueError("`decodings` must name at least one decoding, such as {top_p: {temperature: 1.0}}.")
    for name, parameters in decodings.items():
        checks.decoding(f"decodings: {name}", parameters, request_llm.KNOWN)
    for name, value in (("n_samples", n_samples), ("per_call", per_call)):
        checks.number(name, value, 1, whole=True)
    checks.number("n_samples of paraphrases", n_paraphrase_samples, 1, whole=True)
    for model in models.itertuples():
        base = bases.get(model.model, bases.get(model.litellm_id))
        for prompt in prompts[response_prompts.PROMPT_COLUMNS].itertuples(index=False):
            n = n_paraphrase_samples if prompt.kind == "paraphrase" else n_samples
            for name in list(decodings)[: None if prompt.kind == "original" else 1]:
                asked = request_llm.requests(
                    model.litellm_id, prompt.prompt, decodings[name], n, per_call=per_call, api_base=base
                )
                rows += [(*prompt, model.model, name, request) for request in asked]
    frame = pd.DataFrame(rows, columns=CELL_COLUMNS)
    named = frame.assign(key=[request.key for request in frame["request"]]).drop_duplicates(
        ["key", "prompt_id", "model", "decoding"]
    )
    if (twice := named.duplicated("key", keep=False)).any():
        same = named.loc[twice, ["prompt_id", "model", "decoding"]].head(2).to_dict("records")
        raise ValueError(f"Two cells would ask the same and share their answers: {same}. Leave one out.")
    return frame


def plan(frame, store_path, *, limits=None, prices=None):
    """What is stored, missing, and would cost, by model and decoding; see `sampling.plan`."""
    groups = list(frame[["model", "decoding"]].itertuples(index=False, name=None))
    return cost.plan(frame["request"], store_path, groups=groups, limits=limits, prices=prices)


def collect(frame, store_path):
    """The stored answers of cells, as `responses.tabulate` takes them, each with its provenance.

    Returns
    -------
    DataFrame
        One row per stored answer: columns of the cells but ``request``, then sample_idx, response, finish_reason and
        `PROVENANCE`.
    """
    stored = store.read(store_path, frame["request"]).rename(columns={"text": "response"})
    cells_of = frame.assign(key=[request.key for request in frame["request"]]).drop_duplicates("key")
    stored = stored[["key", "sample_idx", "response", "finish_reason", *PROVENANCE]]
    merged = cells_of.drop(columns="request").merge(stored, on="key", validate="one_to_many")
    return merged.drop(columns="key")


def provenance(response_table, answers):
    """Table ``04_provenance``: how every sampled answer came about.

    Parameters
    ----------
    response_table : DataFrame
        Table ``04_responses``.
    answers : DataFrame
        From `collect`, other answers (without provenance) among them.
    """
    columns = [column.name for column in schema.TABLES["04_provenance"].columns]
    if "call_id" not in answers:
        return pd.DataFrame(columns=columns).astype({"response_id": str})
    key = ["prompt_id", "model", "decoding", "sample_idx"]
    sampled = answers[answers["call_id"].notna()].drop(columns=["outcome"])
    merged = sampled.merge(response_table[[*key, "response_id"]], on=key, validate="one_to_one")
    return merged.rename(columns={"n": "n_in_call", "parameters": "requested"})[columns]

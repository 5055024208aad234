"""What a study asks: its prompts, the models of the registry, the decodings, and the cells these make.

A *cell* is (prompt, model, decoding); a frame of cells has one row per request of the sampler.
"""

import difflib
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils import conditions, responses, sampling, simulate, store, tables

PROMPT_COLUMNS = ["prompt_id", "prompt", "kind", "parent_id", "category", "open_endedness"]
CELL_COLUMNS = [*PROMPT_COLUMNS, "model", "decoding", "request"]
PROVENANCE = [
    "outcome", "call_id", "n", "seed", "parameters", "effective", "api_base", "served_model", "system_fingerprint",
    "attempts", "latency_s", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cost_usd", "answered_at",
    "litellm_version",
]  # fmt: skip


def read_prompts(paths, columns=None):
    """Read prompts from files or the hub.

    Parameters
    ----------
    paths : str, Path or list of them
        CSV, JSONL or Parquet with a column ``text``, ``prompt`` or ``query``; optional: prompt_id, kind, parent_id,
        category, open_endedness, and ``keep`` (rows with "no" are left out: the sheet of a human check). An address,
        such as ``hf://datasets/<owner>/<name>@~parquet/default/train``, is read from the Hugging Face hub.
    columns : dict of str to str, optional
        Our name of a column: the name in the files, where they have it.

    Returns
    -------
    DataFrame
        Columns `PROMPT_COLUMNS`, one row per distinct text, in the order of the files.
    """
    frames = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        frame = pd.read_parquet(path) if "://" in str(path) else responses.read_file(path)
        frame = frame.rename(columns={theirs: ours for ours, theirs in (columns or {}).items() if theirs in frame})
        text = [name for name in ("text", "prompt", "query") if name in frame]
        if not text:
            raise ValueError(f"{Path(path).name} needs a column `text`; it has {list(frame)}. See `prompt_columns`.")
        frame = frame.rename(columns={text[0]: "prompt"})
        if "keep" in frame:
            frame = frame[~frame["keep"].astype(str).str.strip().str.lower().isin(["no", "n", "0", "false"])]
        frames.append(frame)
    prompts = pd.concat(frames, ignore_index=True).reindex(columns=PROMPT_COLUMNS).astype(object)
    prompts = prompts.mask(prompts.isna() | prompts.apply(lambda column: column.astype(str).str.strip() == ""), None)
    prompts = prompts.dropna(subset="prompt").drop_duplicates("prompt", ignore_index=True)
    own = prompts["prompt"].map(lambda text: responses.text_hash(text))
    prompts["prompt_id"] = prompts["prompt_id"].where(prompts["prompt_id"].notna(), own).astype(str)
    by_parent = np.where(prompts["parent_id"].notna(), "paraphrase", "original")
    prompts["kind"] = prompts["kind"].where(prompts["kind"].notna(), by_parent)
    if unknown := sorted(set(prompts["kind"]) - set(simulate.KINDS)):
        raise ValueError(f"`kind` of a prompt must be one of {list(simulate.KINDS)}, but {unknown} was found.")
    return prompts


def join_categories(prompts, categories):
    """Fill in categories by the text of the prompts, spaces and case aside.

    Parameters
    ----------
    prompts : DataFrame
        From `read_prompts`.
    categories : DataFrame
        With the columns text and category, such as texts of ``02_open_ended`` with categories of ``03_categories``.

    Returns
    -------
    prompts : DataFrame
    coverage : float
        Share of the original prompts that now have a category.
    """
    known = categories.assign(text=_plain(categories["text"])).drop_duplicates("text").set_index("text")["category"]
    found = _plain(prompts["prompt"]).map(known)
    filled = prompts.assign(category=prompts["category"].where(prompts["category"].notna(), found))
    return filled, float(filled.loc[filled["kind"] == "original", "category"].notna().mean())


def draw_prompts(prompts, n, rng):
    """Draw `n` original prompts, every category in proportion (largest remainders); other kinds stay.

    Parameters
    ----------
    prompts : DataFrame
        From `read_prompts`; prompts without a category form one of their own.
    n : int
        At most as many as there are.
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
    """
    originals = prompts[prompts["kind"] == "original"]
    if n > len(originals):
        raise ValueError(f"`n` may be at most {len(originals)}, the number of original prompts, but {n} was passed.")
    category = originals["category"].fillna("none")
    quota = category.value_counts().sort_index() * n / len(originals)
    rest = (quota % 1).sort_values(ascending=False, kind="stable").index[: n - int((quota // 1).sum())]
    counts = (quota // 1).astype(int) + pd.Series(1, rest).reindex(quota.index, fill_value=0)
    drawn = [originals[category == name].sample(counts[name], random_state=rng) for name in counts.index]
    return pd.concat([*drawn, prompts[prompts["kind"] != "original"]]).sort_index().reset_index(drop=True)


def write_sheet(prompts, path):
    """Write a CSV for a human check: fill in ``keep`` with yes or no, and pass the file as `prompts_path`."""
    sheet = prompts.assign(keep="", note="")
    with tables.atomic(path) as temporary:
        sheet.to_csv(temporary, index=False)


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
    return [file for path in paths for file in tables.expand(tables.root() / path)]


def no_cells():
    """Return a frame of cells for a study that asks nobody."""
    return pd.DataFrame(columns=CELL_COLUMNS)


def read_registry(path):
    """Read the registry of models; what is unknown is missing."""
    registry = pd.read_csv(path)
    missing = [name for name in ("model", "litellm_id") if name not in registry]
    if missing:
        raise ValueError(f"{Path(path).name} needs the columns model and litellm_id, but lacks {missing}.")
    return registry


def prices(models, given=None):
    """US dollars per million tokens by litellm id: the profile's, else the registry's override."""
    own = models.reindex(columns=["litellm_id", "price_in", "price_out"]).dropna()
    return {row.litellm_id: (row.price_in, row.price_out) for row in own.itertuples()} | dict(given or {})


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
    rows, bases = [], api_bases or {}
    for model in models.itertuples():
        base = bases.get(model.model, bases.get(model.litellm_id))
        for prompt in prompts[PROMPT_COLUMNS].itertuples(index=False):
            n = n_paraphrase_samples if prompt.kind == "paraphrase" else n_samples
            for name in list(decodings)[: None if prompt.kind == "original" else 1]:
                asked = sampling.requests(
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


def population_cells(population, path, *, seed, prompts=None, models=None, n_samples=None, per_call=50):
    """Lay out what is asked of the simulated models of the demo population; parameters as in `cells`.

    The population's text and the seed stand in the place of a server's address, so that answers of another population,
    or another seed, are other answers.
    """
    server = f"population:{tables.text_id(Path(path).read_text(encoding='utf-8'))}/{seed}"
    rows = []
    for cell in simulate.cells(population, prompts=prompts, models=models, n_samples=n_samples):
        prompt = tuple(cell.prompt.get(name) for name in ("prompt_id", "text", *PROMPT_COLUMNS[2:]))
        if cell.decoding != "none":
            asked = sampling.requests(
                f"{sampling.SIMULATED}/{cell.speaker['model']}", cell.prompt["text"],
                population["decodings"][cell.decoding]["truncation"], cell.n, per_call=per_call, api_base=server,
            )  # fmt: skip
            rows += [(*prompt, cell.speaker["model"], cell.decoding, request) for request in asked]
    return pd.DataFrame(rows, columns=CELL_COLUMNS)


def plan(frame, store_path, *, limits=None, prices=None):
    """What is stored, missing, and would cost, by model and decoding; see `sampling.plan`."""
    groups = list(frame[["model", "decoding"]].itertuples(index=False, name=None))
    return sampling.plan(frame["request"], store_path, groups=groups, limits=limits, prices=prices)


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
    columns = [column.name for column in tables.TABLES["04_provenance"].columns]
    if "call_id" not in answers:
        return pd.DataFrame(columns=columns).astype({"response_id": str})
    key = ["prompt_id", "model", "decoding", "sample_idx"]
    sampled = answers[answers["call_id"].notna()].drop(columns=["outcome"])
    merged = sampled.merge(response_table[[*key, "response_id"]], on=key, validate="one_to_one")
    return merged.rename(columns={"n": "n_in_call", "parameters": "requested"})[columns]


def _plain(texts):
    return texts.astype(str).str.casefold().str.split().str.join(" ")

"""Prompts: read from files, joined with categories, drawn in proportion."""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.tables import files, ids, reading, wording, yes_no

PROMPT_COLUMNS = [
    "prompt_id",
    "prompt",
    "prompt_kind",
    "parent_id",
    "category",
    "open_endedness",
    "language",
    "many_answers",
]
PROMPT_NUMBERS = ["open_endedness", "many_answers"]


_NAMES = ("text", "query", *PROMPT_COLUMNS, "keep")


PROMPT = namedtuple("PROMPT", PROMPT_COLUMNS)


def read_prompts(paths, columns=None):
    """Read prompts from files or the hub.

    Parameters
    ----------
    paths : str, Path or list of them
        CSV, JSONL or Parquet with a column ``text``, ``prompt`` or ``query``; optional: prompt_id, prompt_kind,
        parent_id, category, open_endedness, language (such as "en"; with ``parent_id``, a translation of that prompt),
        many_answers (share of annotators who expect more than 20 good responses), and ``keep`` (rows with "no" are
        left out: the sheet of a human check; empty is kept). An address, such as
        ``hf://datasets/<owner>/<name>@~parquet/default/train``, is read from the Hugging Face hub.
    columns : dict of str to str, optional
        Our name of a column: the name in the files, where they have it.

    Returns
    -------
    DataFrame
        Columns `PROMPT_COLUMNS`, one row per distinct text, in the order of the files.

    Raises
    ------
    ValueError
        If `columns` names a field or a column that there is not, ``keep`` is neither yes nor no, a file has no text,
        or one id has two texts.
    """
    found = [(reading.read_any(path), Path(path).name) for path in files.as_list(paths)]
    frames = []
    for (frame, name), here in zip(found, named_columns(found, columns, "prompt_kind", _NAMES), strict=True):
        frame = _with_keep(under_our_names(frame, here, "prompt_kind", name), name)
        if {"keep", "note"} <= set(frame):  # the sheet of `write_sheet`
            frame = files.natural(frame)
        text = [column for column in ("text", "prompt", "query") if column in frame]
        if not text:
            raise ValueError(f"{name} needs a column `text`; it has {list(frame)}. See `prompt_columns`.")
        frame = frame.rename(columns={text[0]: "prompt"})
        frame = reading.with_texts(frame, [c for c in PROMPT_COLUMNS if c not in PROMPT_NUMBERS], name)
        if "keep" in frame:
            frame = frame[[kept is not False for kept in yes_no.read(frame["keep"], "keep", name)]]
        frames.append(with_written_ids(frame))
    prompts = pd.concat(frames, ignore_index=True).reindex(columns=PROMPT_COLUMNS).astype(object)
    prompts = prompts.mask(prompts.isna() | prompts.apply(lambda column: column.astype(str).str.strip() == ""), None)
    if n_blank := int(prompts["prompt"].isna().sum()):
        files_read = ", ".join(name for _, name in found)
        print(f"WARNING: {files_read}: {wording.counted(n_blank, 'row')} without a text left out")
    prompts = prompts.dropna(subset="prompt").drop_duplicates("prompt", ignore_index=True)
    own = prompts["prompt"].map(ids.prompt_id)
    prompts["prompt_id"] = prompts["prompt_id"].where(prompts["prompt_id"].notna(), own).astype(str)
    if (twice := prompts.duplicated("prompt_id", keep=False)).any():  # before anybody is asked
        same = prompts.loc[twice, ["prompt_id", "prompt"]].head(2).to_dict("records")
        raise ValueError(f"A prompt_id must stand for one prompt, but these have the same: {same}. Rename one.")
    orphans = prompts["parent_id"].notna() & ~prompts["parent_id"].isin(prompts["prompt_id"])
    if orphans.any():
        n, parents = wording.counted(int(orphans.sum()), "prompt"), prompts.loc[orphans, "parent_id"].unique()
        print(f"WARNING: `parent_id` of {n} names no prompt that is asked: {wording.listed(map(repr, parents))}")
    prompts["prompt_kind"] = prompts["prompt_kind"].where(prompts["prompt_kind"].notna(), kinds(prompts))
    if unknown := sorted(set(prompts["prompt_kind"]) - set(KINDS)):
        raise ValueError(f"`prompt_kind` must be one of {list(KINDS)}, but {unknown} was found.")
    return prompts


def kinds(prompts):
    """Kind of prompts that do not say it: with a parent a paraphrase, or a translation if in another language than it.

    Parameters
    ----------
    prompts : DataFrame
        With prompt_id, parent_id and language.

    Returns
    -------
    ndarray of str, shape (n_prompts,)

    Examples
    --------
    >>> rows = [("a", None, "en"), ("b", "a", "de"), ("c", "a", "en"), ("d", "a", None)]
    >>> [str(kind) for kind in kinds(pd.DataFrame(rows, columns=["prompt_id", "parent_id", "language"]))]
    ['original', 'translation', 'paraphrase', 'paraphrase']
    """
    own = prompts["language"].map(lambda value: str(value).strip().lower() if pd.notna(value) else None)
    of_parent = prompts["parent_id"].map(dict(zip(prompts["prompt_id"], own, strict=True)))
    translated = own.notna() & (own != of_parent)
    return np.where(prompts["parent_id"].isna(), "original", np.where(translated, "translation", "paraphrase"))


def named_columns(found, columns, kind, known):
    """Of the columns that somebody named, those that each file has.

    Parameters
    ----------
    found : list of (DataFrame, str)
        Files as they are, and their names.
    columns : dict of str to str or None
        Our name of a column: the name in the files, where they have it.
    kind : str
        What ``kind`` is in these files: see `reading.with_current_name`.
    known : collection of str
        Our names.

    Returns
    -------
    list of dict of str to str
        One per file.

    Raises
    ------
    ValueError
        If a name is not one of ours, or no file has a column; the message says the nearest.
    """
    named = reading.current_names(columns or {}, kind)
    for ours in named:
        if ours not in known:
            hint = reading.nearest(ours, known)
            raise ValueError(f"`prompt_columns` may name {sorted(known)}, but {ours!r} was passed.{hint}")
    here = [{ours: theirs for ours, theirs in named.items() if _is_there(theirs, frame)} for frame, _ in found]
    for ours, theirs in named.items():
        if found and not any(ours in one for one in here):
            reading.field_values(found[0][0], theirs, ours, ", ".join(name for _, name in found))  # refuses
    return here


def under_our_names(frame, here, kind, file):
    """Frame of a file with the columns that `named_columns` found in it under our names."""
    taken = {ours: reading.field_values(frame, theirs, ours, file) for ours, theirs in here.items()}
    frame = frame.drop(columns=[theirs for theirs in here.values() if theirs in frame]).assign(**taken)
    return reading.with_current_name(frame, kind, file, here)


def with_written_ids(frame):
    """Frame whose ids of prompts, as far as it has them, are texts of one form in every format; see `ids.written`."""
    names = [name for name in ("prompt_id", "parent_id") if name in frame]
    return frame.assign(**{name: frame[name].astype(object).map(ids.written).astype(object) for name in names})


def _with_keep(frame, file):
    """Frame of a file whose column ``keep`` has this name, whatever its capitals: its "no" must not be overlooked."""
    found = [name for name in frame if str(name).strip().lower() == "keep"]
    if len(found) > 1:
        raise ValueError(f"{file} must have one column `keep`, but it has {found}. Delete all but one.")
    return frame.rename(columns={name: "keep" for name in found})


def _is_there(theirs, frame):
    return theirs in frame or any(theirs.startswith(f"{name}.") for name in map(str, frame.columns))


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
    categories = reading.with_texts(categories, ["text", "category"], "the file of categories")
    known = categories.assign(text=plain(categories["text"])).drop_duplicates("text").set_index("text")["category"]
    found = plain(prompts["prompt"]).map(known)
    filled = prompts.assign(category=prompts["category"].where(prompts["category"].notna(), found))
    return filled, float(filled.loc[filled["prompt_kind"] == "original", "category"].notna().mean())


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
    originals = prompts[prompts["prompt_kind"] == "original"]
    if n > len(originals):
        raise ValueError(f"`n` may be at most {len(originals)}, the number of original prompts, but {n} was passed.")
    category = originals["category"].fillna("none")
    quota = category.value_counts().sort_index() * n / len(originals)
    rest = (quota % 1).sort_values(ascending=False, kind="stable").index[: n - int((quota // 1).sum())]
    counts = (quota // 1).astype(int) + pd.Series(1, rest).reindex(quota.index, fill_value=0)
    drawn = [originals[category == name].sample(counts[name], random_state=rng) for name in counts.index]
    return pd.concat([*drawn, prompts[prompts["prompt_kind"] != "original"]]).sort_index().reset_index(drop=True)


def write_sheet(prompts, path):
    """Write a CSV for a human check: fill in ``keep`` with yes or no, and pass the file as `prompts_path`.

    A sheet that somebody filled in or edited is left as it is; the new one is written beside it, which is said.

    Returns
    -------
    Path
        The sheet that was written.
    """
    sheet = files.neutral(prompts.assign(keep="", note=""))
    target = files.offer(path, sheet.to_csv(index=False))
    if sentence := files.offered(path, target):
        print(sentence)
    return target


def plain(texts):
    """Texts for comparison: case and white space aside."""
    return texts.astype(str).str.casefold().str.split().str.join(" ")


KINDS = ("original", "paraphrase", "translation", "closed")

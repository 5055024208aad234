"""Responses on disk, read prompt by prompt: as many of them as there are, in the memory that one prompt takes."""

import functools
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.responses.collection import Known, Responses, row_cosines
from hivemind_utils.responses.embeddings import Cache
from hivemind_utils.responses.table import CELL
from hivemind_utils.tables import copies, ids, parquet


@dataclass(frozen=True)
class Layout:
    """Where the rows of every prompt lie in ``04_responses``.

    Attributes
    ----------
    path : pathlib.Path
    state : tuple
        Tells this file from one written later under its name; of a copy at an address, the address.
    groups : dict of str to tuple of int
        Row groups of every prompt.
    by_prompt : bool
        Whether every row group holds one prompt alone.
    """

    path: Path
    state: tuple
    groups: dict = field(repr=False)
    by_prompt: bool

    @classmethod
    def of(cls, path):
        """Look at a file."""
        groups, alone = defaultdict(list), True
        state = _state(path)
        for k, prompt_ids in enumerate(_column_by_group(path, state, ["prompt_id"])):
            found = prompt_ids["prompt_id"].unique()
            alone &= len(found) == 1
            for prompt_id in found:
                groups[prompt_id].append(k)
        return cls(path, state, {prompt_id: tuple(at) for prompt_id, at in groups.items()}, alone)


@dataclass(frozen=True)
class Part:
    """Usable responses to one prompt, not read yet: it travels to other processes, which read them.

    Attributes
    ----------
    path, state
        Of the file, see `Layout`; a copy that workers read where there is one.
    groups : tuple of int
    cells : pandas.DataFrame
        Cells kept: prompt_id, model, condition, decoding, arm.
    order : tuple of str
        Columns by which the rows are ordered.
    cache : Cache
        Of their vectors.
    prompts, models, decoding
        As in `Responses`.
    """

    path: Path
    state: tuple
    groups: tuple
    cells: pd.DataFrame
    order: tuple
    cache: Cache
    prompts: pd.DataFrame
    models: pd.DataFrame
    decoding: str | None

    def table(self, columns=None):
        """Read the rows, without vectors."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, *CELL, "usable", *self.order]))
        return _chosen(_rows(self.path, self.state, self.groups, wanted), self.cells, self.order)

    def load(self, vectors=True):
        """Read the rows and, unless told otherwise, their vectors."""
        table = self.table()
        rows = self.cache.of(table["text_id"]) if vectors else np.empty((len(table), 0), np.float32)
        return Responses(table, rows, self.prompts, self.models, self.decoding)


@dataclass(frozen=True)
class Stored(Known):
    """Usable responses on disk, with what `Responses` knows of them; `map` reads prompt by prompt.

    Attributes
    ----------
    layout : Layout
    cells : pandas.DataFrame
        One row per cell kept, ordered: prompt_id, model, condition, decoding, n, arm.
    cache : Cache
    prompts, models, decoding, executor
        As in `Responses`.
    order : tuple of str
        Columns by which the rows of a prompt are ordered.
    """

    layout: Layout
    cells: pd.DataFrame
    cache: Cache
    prompts: pd.DataFrame
    models: pd.DataFrame
    decoding: str | None = None
    executor: object = field(default=None, compare=False, repr=False)
    order: tuple = (*CELL, "sample_idx")

    def __len__(self):
        """Return the number of responses."""
        return int(self.cells["n"].sum())

    @property
    def named(self):
        """Rows that name prompt, model, condition, decoding and arm: one per cell."""
        return self.cells

    @cached_property
    def sizes(self):
        """Responses to every prompt of `prompt_order`."""
        return self.cells.groupby("prompt_id")["n"].sum().reindex(self.prompt_order).to_numpy()

    @cached_property
    def _cells_of(self):
        return self.cells.groupby("prompt_id", sort=True).indices

    def part(self, k, *, here=False):
        """Return the responses to one prompt of `prompt_order`, a `Part`; `here`: to be read by this process."""
        prompt_id = self.prompt_order[k]
        cells = self.cells.iloc[self._cells_of[prompt_id]].reset_index(drop=True)
        at = None if here else self.files
        state = copies.put(self.layout.path, at) if at else self.layout.state
        return Part(self.layout.path, state, self.layout.groups[prompt_id], cells, self.order,
                    self.cache.copied_to(at), self.prompts.loc[[prompt_id]], self.models, self.decoding)  # fmt: skip

    @property
    def files(self):
        """Address at which workers find copies of the files; None where they read the files themselves."""
        files = getattr(self.executor, "files", None)
        return files and f"{files.rstrip('/')}/{self.layout.path.parent.name}"

    def split(self, values):
        """Yield for each prompt what `map` passes on: the same, such as `Truncated`, which reads each prompt's."""
        if isinstance(values, np.ndarray):
            raise TypeError("Responses on disk take no array of all rows: pass what `truncated_vectors` returned.")
        return (values for _ in self.prompt_order)

    def by_row(self, values):
        """Spread one value per prompt of `prompt_order` over its rows."""
        return np.repeat(values, self.sizes)

    def of_named(self, keep):
        """Return what a boolean array keeps of `named`."""
        return self._with(np.asarray(keep))

    def models_only(self):
        """Return the responses that models wrote."""
        return self._with(~self.cells["model"].isin(self.people))

    def of_models(self, names):
        """Return the responses of some models."""
        return self._with(self.cells["model"].isin(names))

    def of_decoding(self, decoding):
        """Return the responses under one decoding."""
        return self._with(self.cells["decoding"] == decoding)

    def of_prompts(self, prompt_ids):
        """Return the responses to some prompts."""
        return self._with(self.cells["prompt_id"].isin(prompt_ids))

    def under(self, cache):
        """Return the responses with the vectors of another encoder, from its `embeddings.Cache`."""
        cache.n_dims  # noqa: B018  (raises where there are none)
        return replace(self, cache=cache)

    def ordered(self, *columns):
        """Return the responses with the rows of a prompt in another order."""
        return replace(self, order=columns)

    def columns(self, *names):
        """Return some columns of the table, read prompt by prompt."""
        parts = [self.part(k, here=True).table(names)[[*names]] for k in range(len(self.prompt_order))]
        return pd.concat(parts, ignore_index=True)

    def head(self, n=3):
        """Return the first rows of the table; only the first prompt is read."""
        return self.part(0, here=True).table().head(n)

    def texts(self, response_ids, prompt_ids):
        """Text of some responses to some prompts, by response_id."""
        found = [pd.Series(dtype=str)]
        for k in sorted(self.prompt_order.index(prompt_id) for prompt_id in set(prompt_ids)):
            table = self.part(k, here=True).table(["response_id", "text"])
            own = table[table["response_id"].isin(response_ids)]
            found.append(own.set_index("response_id")["text"])
        return pd.concat(found[1:] or found)

    def pair_cosines(self, first, second):
        """Cosines of pairs of rows, row i of `first` with row i of `second`."""
        ends = np.cumsum(self.sizes)
        rows, place = np.unique(np.concatenate([first, second]), return_inverse=True)
        edges = np.searchsorted(rows, np.concatenate([[0], ends]))
        local = (rows[a:b] - end + size for a, b, end, size in zip(edges, edges[1:], ends, self.sizes, strict=False))
        at = [np.empty(0, np.int64), *self.map(_rows_in_cache, local, vectors=False,
                                                  cache=self.cache.copied_to(self.files))]  # fmt: skip
        where = np.concatenate(at)[place]
        return row_cosines(self.cache.take, where[: len(first)], where[len(first) :])

    @cached_property
    def table(self):
        """All rows: for what is small enough."""
        parts = [self.part(k, here=True).table() for k in range(len(self.prompt_order))]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def vectors(self):
        """Embeddings of all rows: for what is small enough."""
        return self.cache.of(self.table["text_id"])

    @cached_property
    def is_human(self):
        """Whether each row was written by people."""
        return self.table["model"].isin(self.people).to_numpy()

    def where(self, keep):
        """Return the rows that a boolean array keeps, in memory."""
        return self.in_memory().where(keep)

    def in_memory(self):
        """Return all responses in memory."""
        whole = _rows(self.layout.path, self.layout.state, None)
        table = _chosen(whole, self.cells, self.order)
        return Responses(
            table, self.cache.of(table["text_id"]), self.prompts, self.models, self.decoding, self.executor
        )

    def _with(self, keep):
        return replace(self, cells=self.cells[np.asarray(keep)].reset_index(drop=True))


@dataclass(frozen=True)
class Truncated:
    """Embeddings of responses cut to their first characters, read for the responses it is called with.

    Attributes
    ----------
    cache : Cache
    n_chars : int
    """

    cache: Cache
    n_chars: int

    def __call__(self, responses):
        """Read the vectors of `Responses`: shape (n_responses, n_dims)."""
        return self.cache.of(responses.table["text"].str.slice(0, self.n_chars).map(ids.text_id))


def index(path):
    """Number of responses of every cell of ``04_responses``, usable or not; read part by part.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    pandas.DataFrame
        Columns prompt_id, model, condition, decoding, usable, n.
    """
    by = [*CELL, "usable"]
    counted = [part.groupby(by, sort=False).size() for part in _column_by_group(path, _state(path), by)]
    found = pd.concat(counted).groupby(level=by).sum() if counted else pd.Series(dtype=int)
    return found.rename("n").reset_index()


def read_cells(path, cells):
    """Rows of some cells of ``04_responses``, usable or not, as they lie there; read part by part.

    Parameters
    ----------
    path : pathlib.Path
    cells : pandas.DataFrame
        Some of the columns of `table.CELL`: a row for every combination wanted.

    Returns
    -------
    pandas.DataFrame
    """
    by, parts = list(cells.columns), []
    for k, at in enumerate(_column_by_group(path, _state(path), by)):
        wanted = pd.MultiIndex.from_frame(at).isin(pd.MultiIndex.from_frame(cells))
        if wanted.any() or not parts:
            parts.append(_rows(path, _state(path), (k,))[wanted])
    return pd.concat(parts, ignore_index=True)


def _rows_in_cache(responses, rows, *, cache):
    return cache.rows(responses.table["text_id"].iloc[rows])


def _chosen(table, cells, order):
    """Usable rows of some cells, with their arm, in an order."""
    table = table[table["usable"]].merge(cells[[*CELL, "arm"]], on=CELL, how="inner")
    return table.sort_values(list(order), ignore_index=True)


def _column_by_group(path, state, columns):
    """Columns of one row group after another."""
    for k in range(_open(path, state, threading.get_ident()).num_row_groups):
        yield _rows(path, state, (k,), columns)


def _rows(path, state, groups, columns=None):
    """Read row groups (None: all), whose pages are checked against their checksums."""
    import pyarrow as pa

    if not isinstance(state, str) and _state(path) != state:
        raise RuntimeError(
            f"{path} was written anew while it was read: another run is at work on this profile. Nothing was written "
            "from what was read. Wait for the other run to end, and run again."
        )
    try:
        file = _open(path, state, threading.get_ident())
        read = file.read(columns=columns) if groups is None else file.read_row_groups(list(groups), columns=columns)
        return read.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        where = "" if groups is None else f" (part {', '.join(map(str, groups))} of the file)"
        if isinstance(state, str):
            raise OSError(
                f"The copy {state} cannot be read{where}: {error}. Remove it, and run again: it is made anew."
            ) from error
        message = parquet.damaged_message(path.stem, path.parent.name)
        raise parquet.DamagedError(f"{message}{where}") from error


def _state(path):
    known = Path(path).stat()
    return known.st_mtime_ns, known.st_size


@functools.lru_cache(maxsize=4)
def _open(path, state, thread):
    import pyarrow.parquet as pq

    if isinstance(state, str):
        return pq.ParquetFile(copies.opened(state), page_checksum_verification=True)
    return pq.ParquetFile(path, page_checksum_verification=True)

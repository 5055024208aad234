"""Embeddings on disk: each distinct text encoded once, vectors mapped into memory."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hivemind_utils.responses import encoder as response_encoder
from hivemind_utils.responses import encoders
from hivemind_utils.tables import copies as table_copies
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import ids as table_ids

BLOCK = 100_000  # texts held at a time while a cache is written


class UnpaidError(ValueError):
    """Texts are not embedded yet, and the encoder costs money that may not be spent."""


def embed(texts, encoder, folder, *, may_pay=True, progress=True):
    """Encode the distinct texts that the cache lacks and add them to it.

    The cache is two files: ``<folder>/<encoder>.npy`` (float32, one row per text) and ``<folder>/<encoder>.parquet``
    (``text_id``, ``n_chars``, ``n_encoded``, less where the text was too long; row i describes row i), in the order in
    which the texts were asked for, so that those of one prompt lie together; it is left alone when nothing is missing.
    A cache sorted by ``text_id``, as they were once written, is put in that order. Finished chunks are kept in
    ``<encoder>.parts/`` until both files are in place, so a killed run resumes.

    One process at a time may write a cache.

    Parameters
    ----------
    texts : iterable of str
        Repeats are encoded once. They are taken `BLOCK` at a time, and may be more than memory holds.
    encoder : Encoder or str
        From `load_encoder`, or its name.
    folder : path-like
        Made if missing.
    may_pay : bool
        Whether a provider (``litellm:``) may be asked; if not, missing texts raise `UnpaidError`.
    progress : bool
        Show a progress bar over texts.

    Returns
    -------
    int
        Number of texts encoded by this call.
    """
    return embed_and_count(texts, encoder, folder, may_pay=may_pay, progress=progress)[1]


def embed_and_count(texts, encoder, folder, *, may_pay=True, progress=True):
    """As `embed`; returns the number of distinct texts, too: (texts, texts encoded)."""
    from tqdm.auto import tqdm

    encoder = encoders.load_encoder(encoder) if isinstance(encoder, str) else encoder
    final, parts = Path(folder) / _slug(encoder.name), Path(folder) / f"{_slug(encoder.name)}.parts"
    _move_merged(final, parts)
    paid, n_new, unpaid = encoder.library == "litellm" and not may_pay, 0, np.zeros(2)
    held, asked = _held(final, parts), [np.empty(0, np.uint64)]
    bar = tqdm(total=0, unit="text", disable=not progress)
    with bar, ThreadPoolExecutor(encoder.n_workers) as pool:
        for block in _blocks(texts):
            wanted = {table_ids.text_id(text): text for text in dict.fromkeys(response_encoder._checked(block))}
            asked.append(_numbers(list(wanted)))
            fresh = ~np.isin(asked[-1], held)
            missing = sorted(itertools.compress(wanted, fresh))
            held = np.union1d(held, asked[-1])
            bar.total, bar.n = bar.total + len(wanted), bar.n + len(wanted) - len(missing)
            bar.refresh()
            if paid:
                unpaid += len(missing), sum(len(wanted[text_id]) for text_id in missing) / 4
                continue
            n_new += len(missing)
            chunks = [missing[i : i + encoder.chunk_size] for i in range(0, len(missing), encoder.chunk_size)]
            futures = [pool.submit(_encode, encoder, [wanted[i] for i in chunk], chunk, parts) for chunk in chunks]
            try:
                for future in as_completed(futures):
                    bar.update(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what is in flight may be paid for: it lands and is kept
                raise
    if unpaid[0]:
        raise UnpaidError(
            f"{unpaid[0]:,.0f} texts (some {unpaid[1]:,.0f} tokens) are not embedded yet, and {encoder.name} is "
            "paid for, but `budget_usd` is 0. Set a budget, or choose another `encoder`."
        )
    wanted = np.concatenate(asked)
    _merge(final, parts, encoder, wanted)
    return len(np.unique(wanted)), n_new


def _blocks(texts):
    """Texts, a limited number at a time: they may be more than memory holds."""
    if isinstance(texts, str):
        response_encoder._checked(texts)
    texts = iter(texts)
    while block := list(itertools.islice(texts, BLOCK)):
        yield block


def _held(final, parts):
    """Ids of the texts that are encoded already, as sorted numbers."""
    held = [_numbers(ids) for ids in _open_ids(final)] if _exists(final) else []
    held += [_Source.of_part(path).ids for path in parts.glob("*.npz")]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *held]))


def _encode(encoder, texts, ids, parts):
    """Encode the texts of a chunk and keep them as a part; returns how many."""
    vectors = np.asarray(encoder.encode(texts), np.float32)
    if vectors.shape[0] != len(ids) or not np.isfinite(vectors).all():
        raise RuntimeError(f"{encoder.name} must return {len(ids)} finite rows, but returned {vectors.shape}.")
    name = hashlib.sha256("".join(ids).encode()).hexdigest()[:16]
    n_chars = np.array([len(text) for text in texts], np.int64)
    cut = getattr(encoder, "cut", {})
    n_encoded = [cut.get(table_ids.repaired(text), n) for text, n in zip(texts, n_chars, strict=True)]
    columns = {"text_id": ids, "n_chars": n_chars, "n_encoded": np.array(n_encoded, np.int64), "vectors": vectors}
    parts.mkdir(parents=True, exist_ok=True)
    _write(parts / f"{name}.npz", lambda file: np.savez(file, **columns))
    return len(ids)


def read(text_ids, encoder, folder):
    """Read the vectors of texts from the cache.

    Parameters
    ----------
    text_ids : sequence of str
        As `tables.text_id` gives them, in any order, repeats allowed.
    encoder : Encoder or str
        The encoder that wrote them, or its name.
    folder : path-like
        Where `embed` wrote.

    Returns
    -------
    ndarray of float32, shape (n_texts, n_dims)
        Row i belongs to ``text_ids[i]``. Only the rows asked for are read from disk.
    """
    return cache(encoder, folder).of(text_ids)


def cache(encoder, folder):
    """Cache of an encoder, or of its name, in a folder: a `Cache`, which may be empty yet."""
    return Cache(Path(folder) / _slug(getattr(encoder, "name", encoder)))


@dataclass(frozen=True)
class Cache:
    """The cache of an encoder, of which any rows can be read; it holds no vectors and travels to other processes.

    Parameters
    ----------
    final : pathlib.Path
        Its two files without their endings.
    copies : tuple of str
        Addresses of a copy of its vectors, and of one of its ids, which are read in their place; see `copied_to`.
    """

    final: Path
    copies: tuple = ()

    def copied_to(self, address):
        """Return this cache as workers on other machines read it, from copies at an address; itself without one.

        Parameters
        ----------
        address : str or None
            As in `tables.copies.put`.
        """
        if address is None or self.copies:
            return self
        self._files()
        return replace(
            self, copies=tuple(table_copies.put(_beside(self.final, s), address) for s in ("npy", "parquet"))
        )

    @property
    def n_dims(self):
        """Dimensions of a vector."""
        return _layout(*self._files())[2]

    @property
    def n_cut(self):
        """Texts that were too long for the encoder, whose beginning alone was encoded."""
        blocks = map(_n_chars, _columns_of(_beside(self._files()[0], "parquet"), "n_chars", "n_encoded"))
        return sum(int((n_chars[:, 1] < n_chars[:, 0]).sum()) for n_chars in blocks)

    def holds(self, text_ids):
        """Whether there is a cache with the vectors of all these texts."""
        return _exists(self.final) and bool(np.isin(_numbers(list(text_ids)), self._index()[0]).all())

    def of(self, text_ids):
        """Vectors of texts, shape (n_texts, n_dims); see `read`."""
        return self.take(self.rows(text_ids))

    def rows(self, text_ids):
        """Rows of the vector file that hold texts, an ndarray of int.

        Raises
        ------
        FileNotFoundError
            If there is no cache.
        ValueError
            If a text is not in it, or its two files do not belong together.
        """
        held, order = self._index()
        wanted = _numbers(list(text_ids))
        at = np.minimum(np.searchsorted(held, wanted), max(len(held) - 1, 0))
        n_lost = int((held[at] != wanted).sum()) if len(held) else len(wanted)
        if n_lost:
            raise ValueError(
                f"{n_lost} of {len(wanted)} text ids have no embedding in {self.final}.parquet. "
                "Notebook 04_generate writes them: run it again on the present responses."
            )
        return order[at]

    def take(self, rows):
        """Read rows of the vector file: shape (n_rows, n_dims).

        They are read, not mapped: a process holds what it asked for, however large the file is.
        """
        rows = np.asarray(rows, np.int64)
        path, offset, n_dims = _layout(*self._files())
        distinct, inverse = np.unique(rows, return_inverse=True)
        found = np.empty((len(distinct), n_dims), np.float32)
        breaks = np.flatnonzero(np.diff(distinct) != 1) + 1
        with table_copies.opened(path) as file:
            for start, stop in zip([0, *breaks], [*breaks, len(distinct)], strict=True):
                if start < stop:
                    file.seek(offset + int(distinct[start]) * n_dims * 4)
                    _read_into(file, found[start:stop], path)
        return found if np.array_equal(distinct, rows) else found[inverse]

    def _index(self):
        return _index(*self._files())

    def _files(self):
        """Path and what tells this state of the files from a later one: what is kept of them follows."""
        if self.copies:
            return self.final, self.copies
        if not _exists(self.final):
            raise FileNotFoundError(
                f"{self.final}.parquet is missing. Notebook 04_generate writes it: run `make figures`."
            )
        known = [path.stat() for path in (_beside(self.final, "npy"), _beside(self.final, "parquet")) if path.exists()]
        return self.final, tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in known)


@functools.lru_cache(maxsize=4)
def _index(final, state):
    """Ids as sorted numbers, and the row of each: 16 bytes per text."""
    ids = _ids_at(state[1]) if _is_copy(state) else _open_ids(final)
    held = np.concatenate([np.empty(0, np.uint64), *(_numbers(batch) for batch in ids)])
    order = np.argsort(held, kind="stable")
    return held[order], order


@functools.lru_cache(maxsize=4)
def _layout(final, state):
    """Path of the vector file, where its first row begins, and the dimensions of a row."""
    if _is_copy(state):
        with table_copies.opened(state[0]) as file:
            version = np.lib.format.read_magic(file)
            shape = (np.lib.format.read_array_header_1_0 if version == (1, 0) else
                     np.lib.format.read_array_header_2_0)(file)[0]  # fmt: skip
            return state[0], file.tell(), shape[1]
    vectors = _open(final)[1]
    return _beside(final, "npy"), vectors.offset, vectors.shape[1]


def _is_copy(state):
    return isinstance(state[0], str)


def _open_ids(final):
    """Ids of a cache whose files belong together, in blocks."""
    _open(final)
    yield from _ids_at(_beside(final, "parquet"))


def _ids_at(path):
    """Ids in a file of this machine, or at an address, in blocks."""
    for block in _columns_of(path, "text_id"):
        yield block["text_id"].to_numpy(zero_copy_only=False)


def _columns_of(path, *names):
    """Columns of a Parquet file of this machine, or at an address, in blocks; those that it lacks are left out."""
    import pyarrow.parquet as pq

    with table_copies.opened(path) as opened, pq.ParquetFile(opened) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        yield from file.iter_batches(columns=there)


def _numbers(text_ids):
    """Ids, 16 hexadecimal digits each, as numbers."""
    if not len(text_ids):
        return np.empty(0, np.uint64)
    try:
        digits = np.frombuffer(bytes.fromhex("".join(text_ids)), ">u8")
    except (TypeError, ValueError):
        digits = ()
    if len(digits) != len(text_ids):
        raise ValueError(f"Text ids must be 16 hexadecimal digits each, but {list(text_ids)[:3]} were passed.")
    return digits.astype(np.uint64)


def _read_into(file, rows, path):
    """Fill rows from a file; one read may give less than was asked for."""
    wanted = memoryview(rows).cast("B")
    while len(wanted):
        n_read = file.readinto(wanted)
        if not n_read:
            raise ValueError(f"{path} ends in the middle of a row. {_REPAIR}")
        wanted = wanted[n_read:]


def vectors(texts, encoder, folder, *, may_pay=False, progress=True):
    """Embed texts, each distinct one once and kept in a folder of one's own, and return one row per text.

    For texts that are not answers: `embed` and `read` in one.

    Parameters
    ----------
    texts : sequence of str
    encoder : str
        Name, as in `load_encoder`.
    folder : path-like

    Returns
    -------
    ndarray of float32, shape (n_texts, n_dims)
    """
    texts = list(texts)
    if not texts:
        return np.empty((0, 0), np.float32)
    embed(texts, encoder, folder, may_pay=may_pay, progress=progress)
    return read([table_ids.text_id(text) for text in texts], encoder, folder)


def _slug(name):
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _beside(final, suffix):
    return final.parent / f"{final.name}.{suffix}"


def _exists(final):
    return _beside(final, "npy").exists() or _beside(final, "parquet").exists()


def _fingerprint(vectors):
    """Digest of the shape and of up to 64 rows: tells apart files of different runs without reading gigabytes."""
    rows = np.unique(np.linspace(0, len(vectors) - 1, 64).astype(int)) if len(vectors) else []
    return hashlib.sha256(str(vectors.shape).encode() + vectors[rows].tobytes()).hexdigest()[:16]


def _open(final):
    """Return the description in the Parquet file and the memory-mapped vectors, checked to belong together."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(_beside(final, "parquet")) as file:
            n_rows, description = file.metadata.num_rows, file.schema_arrow.metadata
        vectors = np.load(_beside(final, "npy"), mmap_mode="r")
        matched = description[b"fingerprint"].decode() == _fingerprint(vectors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{final}.npy and .parquet cannot be read together ({error}). {_REPAIR}") from error
    if not matched or n_rows != len(vectors):
        raise ValueError(f"{final}.npy and .parquet do not belong together. {_REPAIR}")
    return description, vectors


_ORDER = b"as asked"  # of the rows: a cache without it is sorted by text_id

_REPAIR = "Run notebook 04_generate, which finishes an interrupted write; if it stops here too, delete both and run it."


def _write(path, write):
    """Write a file so that it is there whole or not at all, even if the power fails."""
    with table_files.atomic(path) as temporary, open(temporary, "wb") as file:
        write(file)


def _merge(final, parts, encoder, wanted):
    """Join the cache and its parts. Renaming the folder ``merging`` to ``merged`` is the one moment of commitment."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sources, kept, ordered = [_Source.of_part(path) for path in sorted(parts.glob("*.npz"))], wanted[:0], True
    if _exists(final):
        description, vectors = _open(final)
        ordered = description.get(b"order") == _ORDER
        if not sources and (ordered or 2 * len(wanted) < len(vectors)):  # a few texts say nothing about the order
            return
        n_chars = [_n_chars(block) for block in _columns_of(_beside(final, "parquet"), "n_chars", "n_encoded")]
        sources.insert(0, _Source(np.concatenate([kept, *map(_numbers, _open_ids(final))]),
                                  np.concatenate([np.empty((0, 2), np.int64), *n_chars]), lambda: vectors))  # fmt: skip
        kept = sources[0].ids if ordered else kept
    if not sources:
        return
    held, first = np.unique(np.concatenate([source.ids for source in sources]), return_index=True)
    lengths = np.concatenate([source.n_chars for source in sources])[first]
    order = np.concatenate([kept, wanted[np.isin(wanted, held)], held])
    ids = order[np.sort(np.unique(order, return_index=True)[1])]
    rank = np.searchsorted(held, ids)
    place = np.empty(len(held), np.int64)  # in the merged file, of every text of `held`
    place[rank] = np.arange(len(ids))
    merging = parts / "merging"
    merging.mkdir(parents=True, exist_ok=True)
    n_dims = sources[0].vectors().shape[1]
    merged = _with_room(merging / "vectors", (len(ids), n_dims), final)
    for source in sources:
        vectors = source.vectors()
        if vectors.shape[1] != n_dims:
            raise ValueError(
                f"{encoder.name} returned vectors of {sorted((n_dims, vectors.shape[1]))} dimensions. "
                f"Delete {final}.* and run again."
            )
        for i in range(0, len(vectors), 65536):  # in blocks: the cache may be larger than memory
            merged[place[np.searchsorted(held, source.ids[i : i + 65536])]] = vectors[i : i + 65536]
    merged.flush()
    with open(merging / "vectors", "rb") as file:
        os.fsync(file.fileno())
    metadata = {
        "encoder": encoder.name,
        "n_dims": str(n_dims),
        "library": f"{encoder.library} {importlib.metadata.version(encoder.library)}",
        "fingerprint": _fingerprint(merged),
    }
    if ordered or 2 * len(wanted) >= len(ids):
        metadata["order"] = _ORDER.decode()
    names = [pa.array([f"{n:016x}" for n in ids[i : i + 65536].tolist()], pa.string())
             for i in range(0, len(ids), 65536)]  # fmt: skip
    columns = {"text_id": pa.chunked_array(names, pa.string())}
    columns |= {name: lengths[rank, k] for k, name in enumerate(("n_chars", "n_encoded"))}
    table = pa.table(columns).replace_schema_metadata(metadata)
    _write(merging / "rows", lambda file: pq.write_table(table, file))
    os.rename(merging, parts / "merged")
    _move_merged(final, parts)


@dataclass(frozen=True)
class _Source:
    """Texts to merge: their ids as numbers, characters (see `_n_chars`), and a function that reads their vectors."""

    ids: np.ndarray
    n_chars: np.ndarray
    vectors: Callable

    @classmethod
    def of_part(cls, path):
        """Ids and characters of a part, whose vectors are read when they are needed."""
        with np.load(path) as part:
            return cls(_numbers(part["text_id"].tolist()), _n_chars(part), functools.partial(_vectors_of, path))


def _vectors_of(path):
    with np.load(path) as part:
        return part["vectors"]


def _with_room(path, shape, final):
    """Make a vector file and map it; the disk has room for all of it, since a mapped file that has none ends Python."""
    with table_files.room(_beside(final, "npy")):
        mapped = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, mapped.offset + mapped.nbytes)
    return mapped


def _n_chars(table):
    """Characters of every text, and those that were encoded, shape (n_texts, 2); older caches lack the latter."""
    names = table.files if hasattr(table, "files") else table.schema.names
    return np.stack([np.asarray(table[name if name in names else "n_chars"]) for name in ("n_chars", "n_encoded")], 1)


def _move_merged(final, parts):
    """Put a merged pair in place and remove the parts; does the rest of it where a kill came in between."""
    merged = parts / "merged"
    shutil.rmtree(parts / "merging", ignore_errors=True)
    if merged.exists():
        for name, suffix in (("vectors", "npy"), ("rows", "parquet")):
            if (merged / name).exists():
                os.replace(merged / name, _beside(final, suffix))
        shutil.rmtree(parts)


def files(encoder, folder):
    """Paths of the two files of an encoder's cache, which need not exist: vectors and ids."""
    final = Path(folder) / _slug(encoder)
    return _beside(final, "npy"), _beside(final, "parquet")

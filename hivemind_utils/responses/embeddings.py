"""Embeddings on disk: each distinct text encoded once, vectors mapped into memory."""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from hivemind_utils.responses import encoder as response_encoder
from hivemind_utils.responses import encoders
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import ids as table_ids


def embed(texts, encoder, folder, *, may_pay=True, progress=True):
    """Encode the distinct texts that the cache lacks and add them to it.

    The cache is two files: ``<folder>/<encoder>.npy`` (float32, one row per text) and ``<folder>/<encoder>.parquet``
    (``text_id``, ``n_chars``; row i describes row i), sorted by ``text_id`` and left alone when nothing is missing.
    Finished chunks are kept in ``<encoder>.parts/`` until both files are in place, so a killed run resumes.
    One process at a time may write a cache.

    Parameters
    ----------
    texts : iterable of str
        Repeats are encoded once.
    encoder : Encoder or str
        From `load_encoder`, or its name.
    folder : path-like
        Made if missing.
    may_pay : bool
        Whether a provider (``litellm:``) may be asked; if not, missing texts raise ValueError.
    progress : bool
        Show a progress bar over texts.

    Returns
    -------
    int
        Number of texts encoded by this call.
    """
    from tqdm.auto import tqdm

    encoder = encoders.load_encoder(encoder) if isinstance(encoder, str) else encoder
    wanted = {table_ids.text_id(text): text for text in dict.fromkeys(response_encoder._checked(texts))}
    final, parts = Path(folder) / _slug(encoder.name), Path(folder) / f"{_slug(encoder.name)}.parts"
    _move_merged(final, parts)
    held = set(_open(final)[0].to_pylist()) if _exists(final) else set()
    for path in parts.glob("*.npz"):
        held.update(np.load(path)["text_id"].tolist())
    missing = sorted(wanted.keys() - held)
    if missing and encoder.library == "litellm" and not may_pay:
        n_tokens = sum(len(wanted[text_id]) for text_id in missing) / 4
        raise ValueError(
            f"{len(missing):,} texts (some {n_tokens:,.0f} tokens) are not embedded yet, and {encoder.name} is "
            "paid for, but `budget_usd` is 0. Set a budget, or choose another `encoder`."
        )

    def encode_chunk(ids):
        vectors = np.asarray(encoder.encode([wanted[text_id] for text_id in ids]), np.float32)
        if vectors.shape[0] != len(ids) or not np.isfinite(vectors).all():
            raise RuntimeError(f"{encoder.name} must return {len(ids)} finite rows, but returned {vectors.shape}.")
        name = hashlib.sha256("".join(ids).encode()).hexdigest()[:16]
        n_chars = np.array([len(wanted[text_id]) for text_id in ids], np.int64)
        _write(parts / f"{name}.npz", lambda file: np.savez(file, text_id=ids, n_chars=n_chars, vectors=vectors))
        return len(ids)

    if missing:
        parts.mkdir(parents=True, exist_ok=True)
    chunks = [missing[i : i + encoder.chunk_size] for i in range(0, len(missing), encoder.chunk_size)]
    bar = tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="text", disable=not progress)
    with bar, ThreadPoolExecutor(encoder.n_workers) as pool:
        futures = [pool.submit(encode_chunk, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                bar.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is in flight may be paid for: it lands and is kept
            raise
    _merge(final, parts, encoder)
    return len(missing)


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
    import pyarrow as pa
    import pyarrow.compute as pc

    final = Path(folder) / _slug(getattr(encoder, "name", encoder))
    if not _exists(final):
        raise FileNotFoundError(f"{final}.parquet is missing. Notebook 04_generate writes it: run `make figures`.")
    held, vectors = _open(final)
    rows = pc.index_in(pa.array(list(text_ids), pa.string()), value_set=held.combine_chunks())
    if rows.null_count:
        raise ValueError(
            f"{rows.null_count} of {len(rows)} text ids have no embedding in {final}.parquet. "
            "Notebook 04_generate writes them: run it again on the present responses."
        )
    return np.asarray(vectors[rows.to_numpy()])


def vectors(texts, encoder, folder, *, may_pay=False, progress=True):
    """Embed texts, each distinct one once and kept in a folder of one's own, and return one row a text.

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
    """Return the ids (a pyarrow column) and the memory-mapped vectors, checked to belong together."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(_beside(final, "parquet"))
        vectors = np.load(_beside(final, "npy"), mmap_mode="r")
        matched = table.schema.metadata[b"fingerprint"].decode() == _fingerprint(vectors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{final}.npy and .parquet cannot be read together ({error}). {_REPAIR}") from error
    if not matched or table.num_rows != len(vectors):
        raise ValueError(f"{final}.npy and .parquet do not belong together. {_REPAIR}")
    return table["text_id"], vectors


_REPAIR = "Run notebook 04_generate, which finishes an interrupted write; if it stops here too, delete both and run it."


def _write(path, write):
    """Write a file so that it is there whole or not at all, even if the power fails."""
    with table_files.atomic(path) as temporary, open(temporary, "wb") as file:
        write(file)


def _merge(final, parts, encoder):
    """Join the cache and its parts. Renaming the folder ``merging`` to ``merged`` is the one moment of commitment."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sources = [_open_part(path) for path in sorted(parts.glob("*.npz"))]
    if not sources:
        return
    if _exists(final):
        ids, vectors = _open(final)
        sources.insert(0, (ids.to_numpy(), pq.read_table(_beside(final, "parquet"))["n_chars"].to_numpy(), vectors))
    ids, first = np.unique(np.concatenate([ids for ids, _, _ in sources]).astype(str), return_index=True)
    n_chars = np.concatenate([n_chars for _, n_chars, _ in sources])[first]
    widths = {vectors.shape[1] for _, _, vectors in sources}
    if len(widths) > 1:
        raise ValueError(
            f"{encoder.name} returned vectors of {sorted(widths)} dimensions. Delete {final}.* and run again."
        )
    merging = parts / "merging"
    merging.mkdir(exist_ok=True)
    shape = (len(ids), widths.pop())
    merged = np.lib.format.open_memmap(merging / "vectors", "w+", np.float32, shape)
    for text_ids, _, vectors in sources:
        for i in range(0, len(text_ids), 65536):  # in blocks: the cache may be larger than memory
            merged[np.searchsorted(ids, text_ids[i : i + 65536].astype(str))] = vectors[i : i + 65536]
    merged.flush()
    with open(merging / "vectors", "rb") as file:
        os.fsync(file.fileno())
    metadata = {
        "encoder": encoder.name,
        "n_dims": str(shape[1]),
        "library": f"{encoder.library} {importlib.metadata.version(encoder.library)}",
        "fingerprint": _fingerprint(merged),
    }
    table = pa.table({"text_id": pa.array(ids, pa.string()), "n_chars": n_chars}).replace_schema_metadata(metadata)
    _write(merging / "rows", lambda file: pq.write_table(table, file))
    os.rename(merging, parts / "merged")
    _move_merged(final, parts)


def _open_part(path):
    with np.load(path) as part:
        return part["text_id"], part["n_chars"], part["vectors"]


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

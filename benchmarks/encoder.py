"""Speed of the NumPy encoder: texts per second and share of the float32 matmul peak, counting true tokens only."""

import argparse
import time

import numpy as np
from similarity import matmul_peak, verdict

from hivemind_utils.responses import encoders

WORDS = (
    "time river slow bright memory of the under a window carries what we called morning salt and paper lantern".split()
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000)
    size = parser.parse_args()
    rng = np.random.default_rng(0)
    encoder = encoders.load_encoder("minilm")
    encoder.encode([" ".join(WORDS)] * 8)  # compile
    for tokens in (20, 100):
        lengths = rng.integers(int(tokens * 0.7), int(tokens * 1.3) + 1, size.texts if tokens < 50 else size.texts // 4)
        texts = [" ".join(rng.choice(WORDS, n)) for n in lengths]
        peak = matmul_peak()
        start = time.perf_counter()
        encoder.encode(texts)
        seconds = time.perf_counter() - start
        peak = max(peak, matmul_peak())
        true = lengths + 2  # every word is one token; two frame the text
        operations = 6 * (true * 2.0 * 384 * (4 * 384 + 2 * 1536) + 4.0 * true**2 * 384)
        rate = operations.sum() / seconds / 1e9
        print(
            f"~{tokens} tokens: {len(texts) / seconds:.0f} texts/s, {rate:.0f} GFLOP/s; "
            f"matmul peak {peak:.0f}, share {rate / peak:.0%} (target 50 %): {verdict(rate / peak >= 0.5)}"
        )


if __name__ == "__main__":
    main()

"""A small real model through llama.cpp: responses and tokens per second, by servers and slots, and memory taken.

    python benchmarks/local_model.py [GGUF model] [answers]

Every row is a run of the sampler with its store. Other work on the machine slows it down: see the load beside it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from hivemind_utils.llm import gguf_models, gguf_scores, gguf_server, sampler, store
from hivemind_utils.llm import request as request_llm

PROMPT = "Write a metaphor involving time."
TOP_P = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 96}
SETTINGS = ((1, 1), (1, 4), (1, 16), (gguf_server.usable_cores(), 16))  # servers, slots


def memory_mb(pids):
    """Resident memory of processes, together."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", ",".join(map(str, pids))], capture_output=True, text=True)
    return sum(int(line) for line in told.stdout.split()) / 1024


def measure(source, servers, slots, n, folder):
    model = f"{source}?servers={servers}&slots={slots}&context=512"
    started = time.perf_counter()
    with gguf_models.running([model]) as served:
        if model in served.failures:
            raise SystemExit(served.failures[model])
        start_s = time.perf_counter() - started
        requests = request_llm.requests(model, PROMPT, TOP_P, n)
        path = Path(folder) / f"{servers}-{slots}.sqlite"
        sampler.run(requests[:1], path, progress=False)  # imports litellm, and asks whether the decoding is honoured
        started = time.perf_counter()
        outcome = sampler.run(requests, path, progress=False)
        seconds = time.perf_counter() - started
        assert outcome.partial is None, outcome.partial
        megabytes = memory_mb([process.pid for process in served.pools[model].servers.processes])
    tokens = store.read(path, requests)["completion_tokens"].sum()
    row = (
        f"{servers:>7} {slots:>6} {start_s:>8.1f} {(n - 1) / seconds:>10.2f} {tokens / seconds:>9.0f} {megabytes:>7.0f}"
    )
    print(f"{row} {os.getloadavg()[0]:>6.1f}", flush=True)


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else "gguf:smollm2"
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 48
    print(f"{gguf_models.caption([source])} {n} responses each, {gguf_server.usable_cores()} cores.")
    print("servers  slots  start_s  responses/s  tokens/s  memory    load")
    with tempfile.TemporaryDirectory() as folder:
        for servers, slots in dict.fromkeys(SETTINGS):
            measure(source, servers, slots, n if slots > 1 else n // 4, folder)
    started = time.perf_counter()
    response = "Time is a river that carries us to the sea."
    gguf_scores.scores(f"{source}?slots=8&context=512", [PROMPT] * 8, [f"{response} {i}" for i in range(8)])
    print(f"scores: {8 / (time.perf_counter() - started):.2f} responses of some 12 tokens per second, start included")


if __name__ == "__main__":
    main()

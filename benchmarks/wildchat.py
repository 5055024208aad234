"""The filter of notebook 01 on a synthetic WildChat of 1,000,000 rows, against reading it with pandas.

Writes 14 shards with the full nested schema (some 3 GB) to a temporary folder, filters them in a process of its own
with two threads, and measures seconds and peak memory; then one shard both ways for the ratio, and near-duplicate
removal of 40,000 queries. Run with ``make bench`` or ``python benchmarks/wildchat.py --rows 1000000``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hivemind_utils.queries import near_duplicates, wildchat

SHARDS = 14
CATEGORIES = [
    "harassment", "harassment/threatening", "harassment_threatening", "hate", "hate/threatening", "hate_threatening",
    "self-harm", "self-harm/instructions", "self-harm/intent", "self_harm", "self_harm_instructions",
    "self_harm_intent", "sexual", "sexual/minors", "sexual_minors", "violence", "violence/graphic", "violence_graphic",
]  # fmt: skip
DETOXIFY = ["identity_attack", "insult", "obscene", "severe_toxicity", "sexual_explicit", "threat", "toxicity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=40_000, help="queries for near-duplicate removal")
    parser.add_argument("--folder", help="where the shards go while it runs (default: the system's temporary folder)")
    parser.add_argument("--measure", choices=["filter", "pandas"], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.files)
        return
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        started = time.perf_counter()
        files = write_shards(Path(folder), options.rows, rng)
        size = sum(file.stat().st_size for file in files) / 1e9
        print(
            f"{options.rows:,} rows, {SHARDS} shards, {size:.1f} GB, written in {time.perf_counter() - started:.0f} s"
        )
        whole = best("filter", files, 3)
        print(
            f"filter, all shards: {whole['seconds']:.1f} s (target 5; {whole['cpu_seconds']:.1f} s of processor time, "
            f"imports included), {whole['gigabytes']:.2f} GB (target 1)"
        )
        fast, slow = best("filter", files[:1], 3), best("pandas", files[:1], 1)
        assert fast["kept"] == slow["kept"], (fast, slow)
        print(
            f"one shard ({options.rows // SHARDS:,} rows): filter {fast['seconds']:.2f} s, {fast['gigabytes']:.2f} GB; "
            f"pandas {slow['seconds']:.1f} s, {slow['gigabytes']:.2f} GB: "
            f"{slow['seconds'] / fast['seconds']:.0f} times (target 10); both keep {fast['kept']:,}"
        )
    texts = synthetic_queries(options.queries, rng)
    started = time.perf_counter()
    n_left = len(set(near_duplicates.leaders(texts, 0.8).tolist()))
    seconds = time.perf_counter() - started
    print(f"near-duplicates of {len(texts):,} queries: {seconds:.1f} s (target 60), {n_left:,} left")


def best(kind, files, repeats):
    """Measure in a fresh process, so that peak memory is its own; the fastest of a few."""
    command = [sys.executable, __file__, "--measure", kind, "--files", *map(str, files)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]
    return min(runs, key=lambda run: run["seconds"])


def measure(kind, files):
    started = time.perf_counter()
    kept = {"filter": with_duckdb, "pandas": with_pandas}[kind](files)
    seconds, cpu = time.perf_counter() - started, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
    print(json.dumps({"kept": kept, "seconds": seconds, "cpu_seconds": cpu, "gigabytes": peak}))


def with_duckdb(files):
    with wildchat.Logs(files) as logs:
        return len(logs.filter(wildchat.Rules(order=tuple(wildchat.FILTERS)))[0])


def with_pandas(files):
    """Read everything, then the same rules row by row where pandas has no other way."""
    import pandas as pd

    frame = pd.concat([pd.read_parquet(file) for file in files])
    frame = frame[(frame["language"] == "English") & ~frame["toxic"] & frame["model"].str.startswith("gpt-4")]
    kept = 0
    for turns, moderation in zip(frame["conversation"], frame["openai_moderation"], strict=True):
        users = [turn for turn in turns if turn["role"] == "user"]
        text = users[0]["content"].strip()
        clean = not any(turn["toxic"] for turn in turns) and not any(entry["flagged"] for entry in moderation)
        kept += len(users) == 1 and clean and users[0]["language"] == "English" and 15 <= len(text) <= 200
    return kept


def words(rng, n=5_000):
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(n)])


def synthetic_queries(n, rng):
    """Queries of 15 to 200 characters; every tenth repeats an earlier one with a word more."""
    vocabulary = words(rng)
    made = [" ".join(rng.choice(vocabulary, rng.integers(4, 28)))[:200] for _ in range(n)]
    for i in range(10, n, 10):
        made[i] = f"please {made[rng.integers(i)]}"[:200]
    return made


def write_shards(folder, rows, rng):
    """Shards that differ in ids and times; conversations are drawn once, so that writing is fast."""
    n = rows // SHARDS
    base, files = conversations(n, rng), []
    encoded = ["model", "language", "state", "country"]
    encoded += [f"conversation.list.element.{name}" for name in ("language", "role", "country", "state")]
    for shard in range(SHARDS):
        ids = pa.array([f"{shard:02d}{row:030x}" for row in range(n)])
        times = (np.arange(n) * 30_000_000 + shard * 2_592_000_000_000).astype("M8[us]")
        table = pa.table({"conversation_hash": ids, "timestamp": pa.array(times, pa.timestamp("us", "UTC")), **base})
        files.append(folder / f"train-{shard:05d}-of-{SHARDS:05d}.parquet")
        pq.write_table(table, files[-1], compression="snappy", use_dictionary=encoded, row_group_size=20_000)
    return files


def conversations(n, rng):
    """All columns of WildChat but id and time: lengths lognormal, 55 % English, 25 % GPT-4, 5 % toxic."""
    turns = rng.geometric(0.45, n).clip(1, 20)
    lengths = 2 * turns
    total, text = int(lengths.sum()), pa.string()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    vocabulary = words(rng)

    def pool(size, mean, spread):
        wanted = rng.lognormal(mean, spread, size).clip(3, 8_000).astype(int)
        return np.array([" ".join(rng.choice(vocabulary, max(1, k // 6)))[:k] for k in wanted], object)

    content = np.empty(total, object)
    content[0::2] = rng.choice(pool(4_000, 4.6, 1.0), total // 2)
    content[1::2] = rng.choice(pool(4_000, 6.6, 0.7), total // 2)
    is_user = np.tile([True, False], total // 2)
    language = rng.choice(["English", "Chinese", "Russian"], n, p=[0.55, 0.25, 0.2])
    toxic = rng.random(n) < 0.05
    of_user = {name: pa.array(np.where(is_user, value, None), text) for name, value in
               (("accept-language", "en-US,en;q=0.9"), ("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"),
                ("country", "United States"), ("state", "Texas"))}  # fmt: skip
    header = pa.StructArray.from_arrays(
        [of_user["accept-language"], of_user["user-agent"]], ["accept-language", "user-agent"]
    )
    address = np.char.add("f" * 32, np.repeat(rng.integers(0, n // 4 + 1, n), lengths).astype(str))
    no, score = pa.array(np.zeros(total, bool)), pa.array(rng.random(total))
    turn = {
        "content": pa.array(content, text), "country": of_user["country"],
        "hashed_ip": pa.array(np.where(is_user, address, None), text), "header": header,
        "language": pa.array(np.repeat(language, lengths), text), "redacted": no,
        "role": pa.array(np.tile(["user", "assistant"], total // 2), text), "state": of_user["state"],
        "timestamp": pa.array(np.zeros(total, "M8[us]"), pa.timestamp("us", "UTC")),
        "toxic": pa.array(np.repeat(toxic, lengths)), "turn_identifier": pa.array(rng.integers(0, 2**31, total)),
    }  # fmt: skip
    moderation = {
        "categories": pa.StructArray.from_arrays([no] * len(CATEGORIES), CATEGORIES),
        "category_scores": pa.StructArray.from_arrays([score] * len(CATEGORIES), CATEGORIES),
        "flagged": pa.array(np.repeat(toxic & (rng.random(n) < 0.5), lengths)),
    }
    detoxify = dict.fromkeys(DETOXIFY, score)

    def lists(fields):
        return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(list(fields.values()), list(fields)))

    first = pa.array(np.asarray(offsets)[:-1])
    models = rng.choice(["gpt-3.5-turbo-0301", "gpt-4-0314", "gpt-4-1106-preview"], n, p=[0.75, 0.15, 0.1])
    return {
        "model": pa.array(models, text), "conversation": lists(turn), "turn": pa.array(turns),
        "language": pa.array(language, text),
        "openai_moderation": lists(moderation), "detoxify_moderation": lists(detoxify), "toxic": pa.array(toxic),
        "redacted": pa.array(np.zeros(n, bool)), "state": of_user["state"].take(first),
        "country": of_user["country"].take(first), "hashed_ip": turn["hashed_ip"].take(first),
        "header": header.take(first),
    }  # fmt: skip


if __name__ == "__main__":
    main()

"""Sample ``data/reference/time_metaphors_smollm2.parquet``: a small real model's responses to one prompt.

Their embeddings are written beside it, into ``data/reference/embeddings``.

Run it again and it samples the same number of responses anew: a thousand in about ten minutes on two idle cores.
Responses that a store given as the first argument holds already are kept.
"""

import json
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from hivemind_utils.llm import decoding, gguf_models, sampler, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import embeddings
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import files

MODEL, N, SEED = "gguf:smollm2", 1_024, 0
PROMPT = "Write a metaphor involving time."  # of the study's Figure 1
DECODING = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 512}
TARGET = ROOT / "data" / "reference" / "time_metaphors_smollm2.parquet"


def honoured():
    """What the server says of the decoding it is asked for."""
    asked = gguf_models.arguments(DECODING)
    body = {name: value for name, value in (asked | asked.pop("extra_body")).items() if name != "cache_prompt"}
    with gguf_models.running([MODEL]) as served:
        servers = served.pools[MODEL].servers
        return decoding.honoured(servers.base_urls[0], servers.name, body), dict(served.pools[MODEL].facts)


def embed():
    """Write the embeddings of the responses, and nothing else, beside them."""
    folder = TARGET.parent / "embeddings"
    for path in embeddings.files("minilm", folder):
        path.unlink(missing_ok=True)
    texts = response_table.tabulate(response_table.read(TARGET))["04_responses"]
    embeddings.embed(texts.loc[texts["usable"], "text"].unique(), "minilm", folder)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "04.sqlite"
        requests = request_llm.requests(MODEL, PROMPT, DECODING, N)
        outcome = sampler.run(requests, path, seed=SEED)
        assert outcome.partial is None, outcome.partial
        found = store.read(path, requests)
    found = found.sort_values("sample_idx", ignore_index=True)
    frame = found[["sample_idx", "text", "finish_reason", "completion_tokens", "seed"]].rename(
        columns={"text": "response"}
    )
    frame.insert(0, "prompt", PROMPT)
    frame.insert(1, "model", "SmolLM2-135M Q4_1")
    frame.insert(2, "decoding", "top_p")
    report, served = honoured()
    stamp = {
        "source": "sampled",
        "origin": "sampled by this project from a file on one machine",
        "model": gguf_models.facts(MODEL) | served,
        "decoding_asked": gguf_models.arguments(DECODING),
        "decoding_honoured": report,
        "n": len(frame),
        "n_truncated": int((frame["finish_reason"] == "length").sum()),
        "seed": SEED,
        "sampled_from": found["answered_at"].min(),
        "sampled_to": found["answered_at"].max(),
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({"hivemind": json.dumps(stamp, sort_keys=True)})
    with files.atomic(TARGET) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=19)
    embed()
    print(json.dumps(stamp, indent=1), f"{TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

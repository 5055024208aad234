"""Every profile that docs/local-servers.md prints, run against a real llama.cpp server on this machine."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hivemind_utils.llm import gguf, gguf_server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "local-servers.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
FILE, SERVER = "/models/my-model-q4_k_m.gguf?slots=8&context=4096", "http://127.0.0.1:8000/v1"
PROMPTS = "text\nName a bird.\nWhat is silence? Answer in one sentence.\n"
pytestmark = [pytest.mark.local_model, pytest.mark.long]


def started(make_project, block, swaps):
    """Run a block as printed but for the file or address of the reader's own, and fewer tokens for the sake of time."""
    project = make_project()
    (project.folder / "my_prompts.csv").write_text(PROMPTS)
    for old, new in ({"max_tokens: 1024": "max_tokens: 24", "max_tokens: 2048": "max_tokens: 24"} | swaps).items():
        block = block.replace(old, new)
    (project.folder / "mine.yaml").write_text(block)
    project.make("figures", "PROFILE=mine.yaml")
    data = project.folder / "data" / "mine"
    tables = {name: pd.read_parquet(data / f"{name}.parquet") for name in ("04_responses", "04_plan", "04_provenance")}
    figures = {path.stem for path in (project.folder / "figures" / "mine").glob("*.png")}
    return tables, figures, json.loads((project.folder / "results" / "mine" / "04.json").read_text())


def test_the_page_prints_two_profiles_that_are_whole():
    assert len(BLOCKS) == 2 and FILE in BLOCKS[0] and SERVER in BLOCKS[1]
    assert all(set(yaml.safe_load(block)) == {"common", "04_generate"} for block in BLOCKS)


def test_a_model_in_a_file(make_project):
    path = gguf.resolve("gguf:smollm2")
    tables, figures, results = started(make_project, BLOCKS[0], {"/models/my-model-q4_k_m.gguf": str(path)})
    assert (tables["04_responses"].groupby(["prompt_id", "decoding"]).size() == 10).all()
    assert results["source"] == "sampled" and results["n_missing"] == 0
    assert {"coverage", "intra_heatmap_top_p", "intra_heatmap_min_p", "modes_overview"} <= figures
    assert tables["04_provenance"]["cost_usd"].eq(0).all()


def test_a_server_that_the_reader_started(make_project):
    with gguf_server.serving("gguf:smollm2", n_servers=1, slots=4, context=512) as servers:
        address, name = servers.base_urls[0], servers.name
        tables, figures, results = started(
            make_project, BLOCKS[1], {SERVER: address, "hosted_vllm/Qwen/Qwen3-4B": f"hosted_vllm/{name}"}
        )
    assert (tables["04_responses"].groupby(["prompt_id", "decoding"]).size() == 10).all()
    assert results["n_missing"] == 0 and results["cost_usd"] == 0 and "coverage" in figures

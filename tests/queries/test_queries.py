"""Notebooks 01 to 03 on other inputs than the demo: released labels end to end, and real prompts."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from released import released_rows, write_released

from hivemind_utils.pipeline import notebooks, profiles
from hivemind_utils.queries import labels as query_labels
from hivemind_utils.queries import open_endedness
from hivemind_utils.queries.wildchat import Logs, Rules

REAL = os.environ.get("HIVEMIND_REAL_DATA")
SHEET = "query_id,query,annotator,open_ended,alternatives\n"


@pytest.mark.long
def test_released_labels_run_end_to_end_with_nulls_and_missing_keys(make_project):
    project = make_project()
    write_released(project.folder / "released.parquet")
    rows = [r for r in released_rows() if r["messages"]]
    prompts = [{"prompt": r["messages"][0]["content"], "id": r["conversation_id"], "model": "gpt-4-x"} for r in rows]
    pd.DataFrame(prompts[:10]).to_csv(project.folder / "prompts.csv", index=False)
    queries = query_labels.read_released([project.folder / "released.parquet"])[0]
    answers = [
        f"{q},,ann,yes,3-10\n{q},,ben,{'no' if i else 'maybe'},25\n" for i, q in enumerate(queries["query_id"][:4])
    ]
    (project.folder / "people.csv").write_text(SHEET + "".join(answers))
    (project.folder / "mine.yaml").write_text(
        "common: {run: ['01', '02', '03'], labels_from: released, labels_path: released.parquet}\n"
        "01_filter: {conversations_path: prompts.csv, columns: {conversation_id: id}}\n"
        "02_classify: {keep_unfiltered: true, annotations_path: people.csv}\n"
    )
    done = project.make("figures", "PROFILE=mine.yaml")
    assert "PARTIAL" not in done.stderr
    tables = {path.stem: pd.read_parquet(path) for path in (project.folder / "data" / "mine").glob("*.parquet")}
    labels = tables["02_open_ended"]
    assert len(labels) == len(queries) and (labels["why_dropped"] == "no valid label").sum() == 1
    assert set(tables["03_categories"]["query_id"]) <= set(labels["query_id"])
    assert len(set(tables["03_novel"]["merged"])) == 1 and len(tables["03_novel"]) == 2
    results = {n: json.loads((project.folder / "results" / "mine" / f"{n}.json").read_text()) for n in ("02", "03")}
    assert results["02"]["source"] == results["03"]["source"] == "released"
    assert results["02"]["validation"]["alternatives"]["3 to 10"] == 0.5
    assert results["03"]["shares"]["Creative Content Generation"]["share"] == pytest.approx(14 / 16)
    assert results["03"]["shares"]["Brainstorm & Ideation"]["share"] == pytest.approx(1 / 16)
    assert "SIMULATED" not in json.loads((project.folder / "figures" / "mine" / "taxonomy.json").read_text())["source"]


def test_the_paper_profile_takes_the_same_path_with_the_hubs_address():
    profile = profiles.load_profile("paper")
    values = {
        name: profiles.resolve(profile, notebooks.inspect(name)) for name in ("01_filter", "02_classify", "03_taxonomy")
    }
    assert values["01_filter"]["conversations_path"].startswith("hf://datasets/allenai/WildChat-1M/")
    for name in ("02_classify", "03_taxonomy"):
        assert values[name]["labels_from"] == "released"
        assert values[name]["labels_path"].startswith("hf://datasets/liweijiang/infinite-chats-taxonomy/")
        assert profiles.input_files(notebooks.inspect(name), values[name])[0].suffix in (".txt", ".yaml")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="set HIVEMIND_REAL_DATA to the folder of real data")
def test_real_prompts_pass_the_filter_and_their_labels_are_read():
    file = Path(REAL) / "noveltybench" / "wildchat-1k.jsonl"
    with Logs([file], columns={"text": "original_prompt", "conversation_id": "id"}) as logs:
        queries, waterfall, duplicates = logs.filter(Rules())
        assert logs.bad_rows().empty
    texts = pd.read_json(file, lines=True)["original_prompt"]
    assert (
        waterfall.set_index("rule").loc["length", "rows_out"] == sum(15 <= len(t.strip()) <= 200 for t in texts) == 839
    )
    assert len(queries) + len(duplicates) == 839 and len(duplicates) == 1
    columns = {"original": "original_prompt", "revised": "prompt", "conversation_id": "id",
               "open_ended": "meta.response.allows_diverse_responses"}  # fmt: skip
    labels = open_endedness.tally(*query_labels.read_imported([file], columns)[:2], "imported")
    assert set(queries["query_id"]) <= set(labels["query_id"]) and len(labels) == 1_000
    assert (labels["response_type"] == "open").all()  # every label there is positive
    assert 0.8 < (labels["original"] != labels["revised"]).mean() < 0.95

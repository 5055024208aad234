"""The four that are asked for labels, on a real small model: what it gets wrong is counted, and said."""

import pandas as pd
import pytest

from hivemind_utils.llm import gguf_models, labeling
from hivemind_utils.queries import headlines, open_endedness
from hivemind_utils.queries import labels as query_labels
from hivemind_utils.ratings import judges
from hivemind_utils.responses import ideas, paraphrases
from hivemind_utils.tables import files

MODEL = "gguf:smollm2?slots=4&context=2048&servers=1"
SHORT = {"parameters": {"max_tokens": 160}, "max_repairs": 1, "progress": False}
PROMPTS = pd.DataFrame(
    {"prompt_id": ["time", "tea"], "prompt_kind": "original", "category": None, "open_endedness": None,
     "prompt": ["Write a metaphor involving time.", "Describe the smell of black tea in one sentence."]}
)  # fmt: skip
TEXTS = {
    "time": ["Time is a river that carries us to the sea.", "Time is a thief in the night."],
    "tea": ["It smells of smoke and wet leaves.", "Like an old library after the rain."],
}
QUERIES = ("Write a poem about the sea", "What is 2 + 2?", "hello there", "a name for my cat")
pytestmark = [pytest.mark.local_model, pytest.mark.long]


def question(name):
    return labeling.read_instructions(files.root() / "data" / "reference" / "instructions" / name)


@pytest.fixture(scope="module", autouse=True)
def running():
    """One server for all of them."""
    with gguf_models.running([MODEL]) as served:
        assert not served.failures
        yield


@pytest.fixture
def responses():
    rows = [(f"{p}{i}", p, text) for p, texts in TEXTS.items() for i, text in enumerate(texts)]
    table = pd.DataFrame(rows, columns=["response_id", "prompt_id", "text"])
    return table.assign(prompt=table["prompt_id"].map(PROMPTS.set_index("prompt_id")["prompt"]))


def test_a_judge_grades_or_is_counted(responses, tmp_path):
    graded, labels = judges.judge_responses(
        responses.rename(columns={"text": "response"}), MODEL, "overall", question("judge_overall.txt"),
        store_path=tmp_path / "s.sqlite", **SHORT,
    )  # fmt: skip
    assert len(graded) + len(labels.failures) == len(responses) and labels.missing.empty
    assert graded["score"].between(1, 5).all()
    assert (labels.why is None) == labels.failures.empty


def test_a_judge_of_ideas_labels_or_is_counted_and_copies_no_example(responses, tmp_path):
    prompts = PROMPTS.set_index("prompt_id").rename(columns={"prompt": "text"})
    found, counts = ideas.judge(
        responses, prompts, MODEL, question("ideas_propose.txt"), question("ideas_assign.txt"), tmp_path / "s.sqlite",
        **SHORT,
    )  # fmt: skip
    assert counts["n_wanted"] == 4 and counts["n_missing"] == 0
    assert counts["n_labelled"] + counts["n_failed"] == counts["n_asked"] <= 4
    assert not set(found["idea"].str.casefold()) & {"first idea", "second idea"}
    said = ideas.judge_says(counts, MODEL, "lexical" if found.empty else "judge")
    n_lost = 4 - counts["n_labelled"]
    assert (f"gave no label for {25 * n_lost} % of 4 responses" if n_lost else "gave a label for each of 4") in said


def test_a_labeller_labels_its_own_message_or_is_counted(tmp_path):
    items = pd.DataFrame({"item_id": list("abcd"), "query": QUERIES})
    found = labeling.label(
        items, question("open_endedness.txt"), open_endedness.Label, MODEL, store_path=tmp_path / "s.sqlite", **SHORT
    )
    assert len(found.table) + len(found.failures) == 4 and found.missing.empty
    asked = items.set_index("item_id")["query"]
    assert all(labeling.repeats(row.value["original_query"], asked[row.item_id]) for row in found.table.itertuples())
    made = query_labels.QueryLabels(items, found.table, found.failures, found.missing, MODEL, is_asked=True)
    n_lost = len(found.failures)
    wanted = f"no valid label for {25 * n_lost} % of 4 votes" if n_lost else "a valid label for each of 4 votes"
    assert wanted in headlines.labeller(made)


def test_a_writer_of_paraphrases_writes_or_is_counted(tmp_path):
    table, problems = paraphrases.write(
        PROMPTS, n=2, writer=MODEL, judge=MODEL, store_path=tmp_path / "s.sqlite", **SHORT
    )
    assert table["text"].map(lambda text: any(map(str.isalnum, text))).all()
    assert not set(table["text"]) & set(PROMPTS["prompt"])
    assert set(table["parent_id"]) == set(PROMPTS["prompt_id"]) or "gave no paraphrase for" in problems[0]
    assert table["same_meaning"].notna().all() or "gave no verdict for" in problems[-1]

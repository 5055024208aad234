"""The rule for refusals: measured on a list of its own, and the sentences that only look like one."""

import pandas as pd
import pytest

from hivemind_utils.llm import outcomes
from hivemind_utils.metrics import shares
from hivemind_utils.tables import files

LISTED = pd.read_csv(files.root() / "data" / "reference" / "refusals.csv")


def measured(listed):
    """Precision and recall of the rule as the documents write them, with Wilson intervals."""
    truth, found = listed["refusal"] == "yes", listed["text"].map(outcomes.is_refusal)
    hits = (truth & found).sum()
    said = []
    for n in (found.sum(), truth.sum()):
        lower, upper = shares.wilson(hits, n)
        said.append(f"{hits / n:.2f} ({lower:.2f} to {upper:.2f}; {hits} of {n})" if n else "none found")
    return " | ".join(said)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("held out", LISTED["split"] == "held out"),
        ("held out, English", (LISTED["split"] == "held out") & (LISTED["language"] == "en")),
        ("held out, nine other languages", (LISTED["split"] == "held out") & (LISTED["language"] != "en")),
        ("written with the rule", LISTED["split"] == "fitted"),
    ],
)
def test_precision_and_recall_are_those_that_the_documents_give(name, rows):
    line = f"| {name} | {rows.sum()} | {measured(LISTED[rows])} |"
    assert line in (files.root() / "docs" / "results.md").read_text(encoding="utf-8"), line


@pytest.mark.parametrize(
    "text",
    [
        "I apologize, but I don't feel comfortable writing about that.",
        "I cannot recommend a specific doctor.",
        "As an AI language model, I cannot provide legal advice.",
        "**I\u2019m sorry**, but I can\u2019t help with that.",
        "I'm sorry,\nbut I'm unable to write this.",
    ],
)
def test_a_whole_response_that_declines_is_a_refusal(text):
    assert outcomes.classify(text, "stop") == outcomes.classify(text, None) == "refusal"


@pytest.mark.parametrize(
    "text", ["I cannot help but smile at rain.", "I can't give up coffee.", "Sorry seems hard to say.", "An oak."]
)
def test_a_response_that_only_sounds_so_is_none(text):
    assert outcomes.classify(text, "stop") == "answer"

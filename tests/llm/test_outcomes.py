"""The rule for refusals: measured on a list of its own, and the sentences that only look like one."""

import pandas as pd
import pytest

from hivemind_utils.llm import outcomes
from hivemind_utils.tables import files


def test_precision_and_recall_are_those_that_the_documents_give():
    listed = pd.read_csv(files.root() / "data" / "reference" / "refusals.csv")
    truth, found = listed["refusal"] == "yes", listed["text"].map(outcomes.is_refusal)
    precision, recall = (truth & found).sum() / found.sum(), (truth & found).sum() / truth.sum()
    sentence = f"precision {precision:.2f}, recall {recall:.2f} on {len(listed)} sentences"
    assert sentence in (files.root() / "docs" / "results.md").read_text(encoding="utf-8")
    assert precision > 0.95 and recall > 0.9


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

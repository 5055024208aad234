"""The rule for refusals, measured on a list of its own, and reasoning that is left in a text."""

import time

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
        said.append(f"{hits / n:.2f} ({lower:.2f} to {upper:.2f}; {hits} of {n})")
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
        "I'm afraid I can't help with that.",
        "I won't be able to help with that.",
        "I must respectfully decline.",
        "As an AI assistant, I must decline.",
        "I appreciate your question, but I cannot answer it.",
        "I understand your request, but I cannot fulfill it.",
        "Hi there! I can't help with that request.",
        "That's not something I can help with.",
        "I cannot in good conscience write that.",
        "I cant help with that.",
        "Assistant: I cannot help with that.",
        '"I cannot help with that."',
        "I can't help with that. I'd be happy to help with:\n- a story\n- a letter",
        "I can't diagnose this, but a doctor can.",
    ],
)
def test_a_whole_response_that_declines_is_a_refusal(text):
    assert outcomes.classify(text, "stop") == outcomes.classify(text, None) == "refusal"


@pytest.mark.parametrize(
    "text",
    [
        "I cannot help but smile at rain.",
        "I can't give up coffee.",
        "Sorry seems hard to say.",
        "An oak.",
        "I'm sorry, but I ate the plums that were in the icebox.",
        "I would prefer not to, said Bartleby",
        '"I cannot do that," he said.',
        "I can't pick a single favourite, so here are three: oak, elm, fir.",
        "I can't pick one:\n- Oak\n- Elm",
        "As an AI language model, I don't have personal experiences, but I can offer a metaphor: time is a river.",
        "I won't make you wait: here are five ideas.",
        "I can't recommend a specific code. However, a good one is random. " + "Use a book. " * 100,
        "As an AI, I don't have preferences. However, many readers name Middlemarch.",
    ],
)
def test_a_response_that_only_sounds_so_is_none(text):
    assert outcomes.classify(text, "stop") == "answer"


@pytest.mark.parametrize(
    "text", ["i " * 5000, "sorry, " * 5000, "a" * 20_000, "I'm an " + "a-b " * 5000, "- x\n" * 5000]
)
def test_a_long_response_takes_no_longer_than_a_short_one(text):
    started = time.perf_counter()
    outcomes.is_refusal(text)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "<|START_THINKING|>Why?<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|>",
        "<|START_THINKING|>Why?<|END_THINKING|>B",
        "analysisWhy?assistantfinalB",
        "analysis Why? assistantfinal B",
        "<unused94>thought\nWhy?<unused95>B",
        "<reflection>Why?</reflection>\nB",
        "<analysis>Why?</analysis>B",
        "<scratchpad>\nWhy?\n</scratchpad>\n\n<answer>B</answer>",
        "&lt;think&gt;Why?&lt;/think&gt;B",
        "&lt;thinking&gt;Why?&lt;/thinking&gt;\n<response>B</response>",
        "\u25c1think\u25b7Why?\u25c1/think\u25b7B",
        "<think>Why?</think><answer>B</answer>",
        "<think>Why?</think>\n<Response>\nB\n</Response>",
        "analysisWhy?assistantfinal<answer>B</answer>",
    ],
)
def test_reasoning_is_parted_from_what_was_said(text):
    assert outcomes.split_reasoning(text) == ("Why?", "B")


def test_several_blocks_are_all_reasoning():
    text = "<analysis>Why?</analysis> <reflection>So.</reflection> B"
    assert outcomes.split_reasoning(text) == ("Why?\nSo.", "B")


@pytest.mark.parametrize("mark", ["<|START_THINKING|>", "<unused94>thought\n", "&lt;think&gt;"])
def test_reasoning_that_is_never_closed_says_nothing(mark):
    assert outcomes.split_reasoning(f"{mark}Why?") == ("Why?", "")


@pytest.mark.parametrize(
    "text",
    [
        "The doctor wrote <analysis>blood</analysis> and left.",
        "A page of a <scratchpad>draft</scratchpad>.",
        "<analysis>All of the text.</analysis>",
        "<reflection>A poem that is never closed",
        "analysis of a poem: the assistant is final.",
        "My analysis: the word assistantfinal is odd.",
        "Write &lt;think&gt;a&lt;/think&gt; in the page.",
        "<answer>B</answer>",
    ],
)
def test_a_text_that_only_holds_such_words_stays_as_it_is(text):
    assert outcomes.split_reasoning(text) == (None, text)


def test_marks_around_a_part_of_what_was_said_stay():
    assert outcomes.split_reasoning("<think>Why?</think><answer>B</answer> or <answer>C</answer>")[1] == (
        "<answer>B</answer> or <answer>C</answer>"
    )

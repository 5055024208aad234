"""Paraphrases of prompts: written by one model, checked by another, both kept."""

import pandas as pd
from pydantic import BaseModel, Field, field_validator

from hivemind_utils.llm import labeling
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import ids
from hivemind_utils.tables.wording import lost

WRITE = """Below is a question that somebody asked an assistant. Write $n other ways of asking it.

Each must ask for the same thing, in the same form and of the same length, so that any good answer to the one is a good
answer to the other. Vary words and sentence structure. Keep the tone: do not make the question friendlier, stricter,
more formal or more specific. Do not answer it.

Question:
<<<
$query
>>>

Reply with one JSON object: {"paraphrases": ["...", "..."]}"""


CHECK = """Here are two questions. Do they ask for the same thing?

They do if every good answer to the first is a good answer to the second and the other way round: same subject, same
form of answer, same constraints, and no drastic change of connotation.

First:
<<<
$original
>>>

Second:
<<<
$paraphrase
>>>

Reply with one JSON object: {"reason": "one sentence", "same_meaning": true or false}"""


COLUMNS = ["prompt_id", "parent_id", "text", "writer", "judge", "same_meaning", "reply"]


class Paraphrases(BaseModel):
    """What the writer replies."""

    paraphrases: list[str] = Field(min_length=1)

    @field_validator("paraphrases")
    @classmethod
    def _texts(cls, texts):
        if not any(any(map(str.isalnum, text)) for text in texts):
            raise ValueError("none of them holds a word: the dots of the example are to be replaced")
        return texts


class SameMeaning(BaseModel):
    """What the judge replies."""

    reason: str
    same_meaning: bool


def write(prompts, *, n=4, writer, judge, n_prompts=None, rng=None, **asking):
    """Have original prompts paraphrased and the paraphrases checked.

    Parameters
    ----------
    prompts : DataFrame
        From `design.read_prompts`.
    n : int
        Paraphrases of a prompt.
    writer, judge : str
        Models, as litellm names them.
    n_prompts : int, optional
        So many original prompts, drawn with `rng`; default: all.
    rng : numpy.random.Generator, optional
    **asking
        What `labeling.label` takes: store_path, budget_usd, limits, prices, seed, progress.

    Returns
    -------
    paraphrases : DataFrame
        Table ``04_paraphrases``: all that were written, the judge's verdict and reply beside them.
    problems : list of str
        What is missing and why.
    """
    originals = prompts[prompts["prompt_kind"] == "original"].sort_values("prompt_id")
    if n_prompts is not None and n_prompts < len(originals):
        originals = originals.sample(n_prompts, random_state=rng).sort_values("prompt_id")
    items = pd.DataFrame({"item_id": originals["prompt_id"], "query": originals["prompt"], "n": n})
    written = labeling.label(items, WRITE, Paraphrases, writer, **asking)
    text_of = originals.set_index("prompt_id")["prompt"]
    rows = [
        (parent, text_of[parent], text.strip())
        for parent, value in zip(written.table["item_id"], written.table["value"], strict=True)
        for text in dict.fromkeys(value["paraphrases"][:n])
        if any(map(str.isalnum, text)) and text.strip() != text_of[parent]
    ]
    pairs = pd.DataFrame(rows, columns=["parent_id", "original", "paraphrase"]).drop_duplicates("paraphrase")
    pairs["item_id"] = pairs["paraphrase"].map(ids.prompt_id)
    checked = labeling.label(pairs, CHECK, SameMeaning, judge, **asking)
    verdicts = {row.item_id: (row.value["same_meaning"], row.raw) for row in checked.table.itertuples()}
    verdicts |= {row.item_id: (None, row.raw) for row in checked.failures.itertuples()}
    pairs["same_meaning"], pairs["reply"] = (
        pd.Series([verdicts.get(i, (None, None))[k] for i in pairs["item_id"]], index=pairs.index, dtype=kind)
        for k, kind in ((0, "boolean"), (1, object))
    )
    table = pairs.rename(columns={"item_id": "prompt_id", "paraphrase": "text"}).assign(writer=writer, judge=judge)
    return table[COLUMNS].reset_index(drop=True), [
        *_lost("writer", writer, "paraphrase", written, len(items), "prompts"),
        *_lost("judge", judge, "verdict", checked, len(pairs), "paraphrases"),
    ]


def _lost(role, model, what, labels, n_asked, things):
    """How often a model gave nothing usable; empty where it always did."""
    n_lost = len(labels.failures) + len(labels.missing)
    return [f"the {role} {lost(model, what, n_lost, n_asked, labels.why, things)}"] if n_lost else []


def none():
    """Return the table of a study without written paraphrases."""
    return pd.DataFrame(columns=COLUMNS)


def accepted(paraphrases, prompts):
    """Prompts of kind paraphrase: accepted by the judge, no prompt already; with the category of their originals."""
    kept = paraphrases[paraphrases["same_meaning"].fillna(False).astype(bool)]
    kept = kept[~kept["text"].isin(prompts["prompt"])]  # one that is a prompt already would share its answers
    parents = prompts.set_index("prompt_id").reindex(columns=["category", *response_prompts.PROMPT_COLUMNS[5:]])
    frame = kept[["prompt_id", "parent_id", "text"]].rename(columns={"text": "prompt"}).assign(prompt_kind="paraphrase")
    return frame.join(parents, on="parent_id").reindex(columns=response_prompts.PROMPT_COLUMNS).reset_index(drop=True)

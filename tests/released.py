"""Labels in the shape in which the authors of the study released theirs, made up here."""

import pyarrow as pa
import pyarrow.parquet as pq


def label(meaningful=True, greeting=False, kind="Multiple", revised=None, original="why is that"):
    judged = {"reasoning": "", "classification": meaningful}
    return {
        "original_query": original, "revised_query": revised, "meaningful_information": judged,
        "greeting_model_inquiry": None if greeting is None else {"reasoning": "", "classification": greeting},
        "response_type": None if kind is None else {"reasoning": "", "classification": kind},
    }  # fmt: skip


CONTENT = pa.struct([("role", pa.string()), ("content", pa.string())])
JUDGED = pa.struct([("reasoning", pa.string()), ("classification", pa.bool_())])
TYPED = pa.struct([("reasoning", pa.string()), ("classification", pa.string())])
ANNOTATION = pa.struct(
    [("original_query", pa.string()), ("revised_query", pa.string()), ("meaningful_information", JUDGED),
     ("greeting_model_inquiry", JUDGED), ("response_type", TYPED)]
)  # fmt: skip
KIND = pa.struct([("category", pa.string()), ("type", pa.string()), ("justification", pa.string())])
RELEASED = pa.schema([("conversation_id", pa.string()), ("messages", pa.list_(CONTENT)),
                      ("lm_judge_annotation", ANNOTATION), ("categories", pa.list_(KIND))])  # fmt: skip


def released_rows():
    def row(name, text, annotation, kinds=()):
        categories = None if kinds is None else [
            {"category": k, "type": t, "justification": "because"} for k, t in kinds
        ]  # fmt: skip
        messages = None if text is None else [{"role": "user", "content": text}, {"role": "assistant", "content": "ok"}]
        return {
            "conversation_id": name,
            "messages": messages,
            "lm_judge_annotation": annotation,
            "categories": categories,
        }

    creative, ideas = ("Creative Content Generation", "predefined"), ("Ideation and Brainstorming", "predefined")
    genres, fresh = ("Alternative Writing Genres", "predefined"), ("New Category: Cultural Analysis", "new")
    rows = [
        row(
            f"c{i}",
            f"write a poem about stone number {i}",
            label(revised=f"Write a poem about stone number {i}."),
            [creative, genres] if i % 2 else [creative, ("cultural analyses", "new")],
        )
        for i in range(12)
    ]
    return [
        *rows,
        row("i1", "names for a dog", label(), [ideas, fresh, ideas]),
        row("closed", "what is 2 + 2", label(kind="Single"), None),
        row("nulls", "tell me something", None, None),
        row("part", "tell me more", {"response_type": {"classification": "Multiple"}}, [(None, None), creative]),
        row("no-messages", None, label(original="a question without messages"), [creative]),
        row("empty", None, None, None),
        row(None, "no id at all", label(), [("Opinion-Based Questions", "predefined")]),
        row("i1", "names for a dog", label(), [ideas]),
    ]


def write_released(path):
    pq.write_table(pa.Table.from_pylist(released_rows(), schema=RELEASED), path)
    return path

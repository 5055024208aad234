"""Pairs of responses with the same words, as the page of overlaps shows them."""

import pandas as pd

from hivemind_utils.metrics import overlap


def page_records(table, responses, n):
    """Pairs for `overlap.overlap_html`: the longest shared spans first, one pair per span and prompt.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``06_overlaps``.
    responses : Responses
    n : int
        Pairs wanted: a quarter each of the same text and the nearest, the rest spans, filled up from the others.

    Returns
    -------
    list of dict
    """
    ranked = table.sort_values(
        ["longest_span_words", "cosine", "response_a"], ascending=[False, False, True], kind="stable"
    ).drop_duplicates(["prompt_id", "span"])
    quota = {"exact": n // 4, "nearest": n // 4, "span": n - 2 * (n // 4)}
    chosen = pd.concat([ranked[ranked["overlap_type"] == kind].head(k) for kind, k in quota.items()])
    spare = ranked.drop(chosen.index).head(n - len(chosen))
    chosen = pd.concat([chosen, spare]).sort_values("longest_span_words", ascending=False, kind="stable")
    text = responses.texts({*chosen["response_a"], *chosen["response_b"]}, set(chosen["prompt_id"]))
    records = []
    for row in chosen.itertuples():
        text_a, text_b = text[row.response_a], text[row.response_b]
        shortest = min(4, row.longest_span_words) if row.overlap_type == "exact" else 4  # "yes" is the whole text
        spans = overlap.shared_characters(text_a, text_b, shortest)
        records.append(
            {
                "prompt": responses.prompts["text"][row.prompt_id],
                "model_a": row.model_a,
                "text_a": text_a,
                "spans_a": spans[0],
                "model_b": row.model_b,
                "text_b": text_b,
                "spans_b": spans[1],
                "cosine": row.cosine,
                "longest_span_words": row.longest_span_words,
            }
        )
    return records

"""What came of a request: answer, truncated, empty, refusal, content filter."""

import re

TOO_LARGE = "too_large"  # more bytes than are read, see `cost.LIMITS`


# The last is known when a response is read: `served.ANOTHER`, answered by another model.
OUTCOMES = ("answer", "truncated", "empty", "refusal", "content_filter", TOO_LARGE, "another_model")


_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very |really |so )?sorry,? but i|(i am|i['’]m) (not able|unable) to (help|assist|comply|provide)"
    r"|(sorry, )?(but )?i (can['’]?t|cannot|won['’]?t) (help|assist|comply|fulfil))", re.IGNORECASE
)  # fmt: skip


def classify(text, finish_reason, refusal=None):
    """Name the outcome of a draw: one of `OUTCOMES`.

    Parameters
    ----------
    text : str
        The visible answer.
    finish_reason : str or None
        As the provider reports it.
    refusal : str, optional
        The provider's own refusal text.

    Notes
    -----
    Without a provider's word for it, a refusal is known by how it begins; the rate is an estimate.
    """
    if finish_reason in ("content_filter", TOO_LARGE):
        return finish_reason
    if refusal:
        return "refusal"
    if not text.strip():
        return "empty"
    if finish_reason == "length":
        return "truncated"
    return "refusal" if _REFUSAL.match(text) else "answer"

"""What came of a request: answer, truncated, empty, refusal, content filter."""

import re

from hivemind_utils.llm.refusals import is_refusal

TOO_LARGE = "too_large"  # more bytes than are read, see `cost.LIMITS`


# The last is known when a response is read: `served.ANOTHER`, answered by another model.
OUTCOMES = ("answer", "truncated", "empty", "refusal", "content_filter", TOO_LARGE, "another_model")


_WORDS = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_OPENS = re.compile(
    rf"<\|?(?:begin_of_)?{_WORDS}\|?>|\[{_WORDS}\]|\u25c1{_WORDS}\u25b7|<\|channel\|>\s*analysis\s*<\|message\|>"
    rf"|<\|START_THINKING\|>|<unused94>(?:thought\b)?|&lt;{_WORDS}&gt;",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_WORDS}\s*>|<\|(?:/|end_of_){_WORDS}\|>|\[/{_WORDS}\]|\u25c1/{_WORDS}\u25b7"
    r"|<\|END_THINKING\|>|<unused95>|(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
_ESCAPED = re.compile(rf"&lt;/{_WORDS}\s*&gt;", re.IGNORECASE)  # closes what an escaped mark opened
_WRAPS = re.compile(
    r"<\|(?:begin_of_solution|end_of_solution|return|end|im_end|eot_id|START_RESPONSE|END_RESPONSE)\|>", re.IGNORECASE
)
# These are words of stories too: they count at the very beginning alone, and with text after them.
_BLOCK = re.compile(r"\s*<(reflection|analysis|scratchpad)>(.*?)</\1>\s*(?=\S)", re.IGNORECASE | re.DOTALL)
_BARE = re.compile(r"\s*(?:assistant)?analysis(.*)assistantfinal(.*)", re.DOTALL)  # channels without their marks
_ANSWER = re.compile(r"<(answer|response)>((?:(?!</?\1>).)*)</\1>", re.IGNORECASE | re.DOTALL)


def split_reasoning(text):
    r"""Part a response into what a model thought, by the marks it came between, and what it said.

    Thoughts end at the last closing mark, with or without an opening one; where a response begins with an opening mark
    that is never closed, all of it is thought. Blocks with names of everyday words (``<analysis>``) count at the very
    beginning, with text after them. Marks around all that was said (``<answer>``) are taken off.

    Parameters
    ----------
    text : str

    Returns
    -------
    reasoning : str or None
        None where there are no marks.
    said : str
        The text itself where there are no marks.

    Examples
    --------
    >>> split_reasoning("<think>A river? A thief?</think>\n\nTime is a river.")
    ('A river? A thief?', 'Time is a river.')
    >>> split_reasoning("Time is a river.")
    (None, 'Time is a river.')
    """
    opened = _OPENS.match(text.lstrip()[:60]) if not text.lstrip().startswith("[") else None
    closes = _ESCAPED if opened and opened[0].startswith("&lt;") else _CLOSES
    marks = list(closes.finditer(text)) if any(mark in text for mark in ("<", "[", "\u25c1", "&lt;")) else []
    if marks:
        thought, said = text[: marks[-1].start()], text[marks[-1].end() :]
        return _OPENS.sub("", closes.sub("\n", thought)).strip(), _unwrapped(said)
    if opened:
        return text.lstrip()[opened.end() :].strip(), ""
    if bare := _BARE.fullmatch(text):
        return bare[1].strip(), _unwrapped(bare[2])
    thoughts, begins = [], 0
    while block := _BLOCK.match(text, begins):
        thoughts.append(block[2].strip())
        begins = block.end()
    return ("\n".join(thoughts), _unwrapped(text[begins:])) if thoughts else (None, text)


def _unwrapped(said):
    """What was said after reasoning, without the marks around all of it."""
    said = _WRAPS.sub("", said).strip()
    whole = _ANSWER.fullmatch(said)
    return whole[2].strip() if whole else said


def classify(text, finish_reason, refusal=None):
    """Name the outcome of a draw: one of `OUTCOMES`.

    Parameters
    ----------
    text : str
        The visible answer.
    finish_reason : str or None
        As the provider reports it; "refusal" is one.
    refusal : str, optional
        The provider's own refusal text.

    Notes
    -----
    Without a provider's word for it, a refusal is known by how it begins; the rate is an estimate.
    """
    if finish_reason in ("content_filter", TOO_LARGE):
        return finish_reason
    if refusal or finish_reason == "refusal":
        return "refusal"
    if not text.strip():
        return "empty"
    if finish_reason == "length":
        return "truncated"
    return "refusal" if is_refusal(text) else "answer"

"""What came of a request: answer, truncated, empty, refusal, content filter."""

import re

TOO_LARGE = "too_large"  # more bytes than are read, see `cost.LIMITS`


# The last is known when a response is read: `served.ANOTHER`, answered by another model.
OUTCOMES = ("answer", "truncated", "empty", "refusal", "content_filter", TOO_LARGE, "another_model")


_CANNOT = (
    r"(?:can't|can not|cannot|won't|will not|am not able to|'m not able to|am unable to|'m unable to"
    r"|am not comfortable|'m not comfortable|don't feel comfortable|do not feel comfortable|must decline"
    r"|have to decline"
    r"|am not allowed to|'m not allowed to|am going to have to decline|'m not going to|decline to|do not wish to)"
)
_TO_DO = (
    r"(?:help|assist|comply|fulfil+|provide|give|offer|recommend|suggest|advise|write|create|generate|produce|compose"
    r"|engage|answer|respond|discuss|share|support|do that|do this|continue|participate|speak|predict|make|name|choose"
    r"|express|have personal|complete|process|access|tell|pick|endorse|speculate|writing|helping|assisting|providing"
    r"|giving|creating|generating|producing|engaging|answering|discussing|sharing|with (?:this|that|your))"
)
_LEAD = (
    r"(?:(?:unfortunately|regrettably|thank you[^.!]{0,60}[.!]|thanks[^.!]{0,60}[.!]|hello[,.!]|hi[,.!]|no[,.!]"
    r"|i'm (?:very |really |so |truly )?sorry|i am (?:very |really |so |truly )?sorry|sorry"
    r"|(?:my|please accept my) (?:sincere )?apologies|(?:i )?(?:do |must |sincerely )?apologi[sz]e"
    r"(?: for (?:any|the) [^.,]{0,40})?)[\s,.;:!\u2013\u2014-]*(?:but |however,? |as )?)*"
)
_AS_AI = (
    r"(?:(?:but )?(?:as|being|since i am|since i'm|because i am|i am|i'm) an? "
    r"(?:\w+ ){0,3}(?:ai|a\.i\.|artificial intelligence|language model|llm|chatbot|assistant|machine|program|bot)"
    r"[^.!?]{0,80}?(?:[,.;]| and| so)\s*(?:so |and |therefore,? |unfortunately,? )?)"
)
_REFUSAL = re.compile(
    rf"^\W*(?:{_LEAD}{_AS_AI}?(?:but )?i(?: (?:really|just|simply|also|respectfully|personally))? ?{_CANNOT} "
    rf"(?:\w+ ){{0,2}}?{_TO_DO}\b"
    rf"|{_LEAD}{_AS_AI}i (?:do not|don't) (?:have|hold|possess|form) (?:\w+ )?"
    r"(?:personal|feelings|opinions|preferences|experiences|beliefs|the ability)"
    r"|(?:i'm|i am) (?:very |really |so )?sorry,? but (?:i|this|that|the request)"
    rf"|{_LEAD}(?:this|that|your) (?:request|question|prompt|content|topic) "
    r"(?:goes against|violates|is (?:inappropriate|not (?:appropriate|something i can)))"
    rf"|{_LEAD}it(?: is not|'s not| would not be) (?:appropriate|possible|ethical) for me to\b"
    r"|i(?: prefer| would prefer|'d prefer) not to\b)",
    re.IGNORECASE,
)
# "I cannot help but smile" and "I can't help thinking" are no refusals; nor is "I can't give up".
_NO_REFUSAL = re.compile(
    r"(?:can't|cannot|can not) help (?:but|\w+ing\b|myself|it\b|wondering)"
    r"|(?:can't|cannot|won't|will not) (?:give (?:up|in)"
    r"|make it|tell you how|share enough|name (?:a|any) (?:better|finer)|recommend (?:\w+ ){0,4}enough|do that to)"
    r"|(?:can't|cannot) (?:answer|speak|make|tell|choose|name|have) (?:the|her|his|my|their|you why)"
    r"(?! (?:request|question|prompt))",
    re.IGNORECASE,
)


_WORDS = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_OPENS = re.compile(
    rf"<\|?(?:begin_of_)?{_WORDS}\|?>|\[{_WORDS}\]|\u25c1{_WORDS}\u25b7|<\|channel\|>\s*analysis\s*<\|message\|>",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_WORDS}\s*>|<\|(?:/|end_of_){_WORDS}\|>|\[/{_WORDS}\]|\u25c1/{_WORDS}\u25b7"
    r"|(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
_WRAPS = re.compile(r"<\|(?:begin_of_solution|end_of_solution|return|end|im_end|eot_id)\|>", re.IGNORECASE)


def split_reasoning(text):
    r"""Part a response into what a model thought, by the marks it came between, and what it said.

    Thoughts end at the last closing mark, with or without an opening one; where a response begins with an opening mark
    that is never closed, all of it is thought.

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
    marks = list(_CLOSES.finditer(text)) if "<" in text or "[" in text or "\u25c1" in text else []
    if marks:
        thought, said = text[: marks[-1].start()], text[marks[-1].end() :]
        return _OPENS.sub("", _CLOSES.sub("\n", thought)).strip(), _WRAPS.sub("", said).strip()
    opened = _OPENS.match(text.lstrip()[:60]) if not text.lstrip().startswith("[") else None
    return (text.lstrip()[opened.end() :].strip(), "") if opened else (None, text)


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
    return "refusal" if is_refusal(text) else "answer"


def is_refusal(text):
    """Whether a response declines, by how it begins; a judge may decide instead.

    On a list of sentences written for it (``data/reference/refusals.csv``) precision and recall are those that
    ``docs/results.md`` gives.

    Examples
    --------
    >>> is_refusal("I cannot recommend a specific stock."), is_refusal("I cannot help but smile at rain.")
    (True, False)
    """
    begins = text[:400].replace("\u2019", "'").replace("*", "")
    begins = re.sub(r"\s+", " ", begins)
    found = _REFUSAL.match(begins)
    return bool(found) and not _NO_REFUSAL.search(begins[: found.end() + 30])

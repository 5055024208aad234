"""Texts that a program wrote for a value: lists and objects as JSON, Python and NumPy spell them, or as Python prints.

``["Oak", "Elm"]``, ``['Oak', 'Elm']``, ``('Oak', 'Elm')`` and ``['Oak' 'Elm']`` are lists of two; ``b'Oak'`` and
``ChatCompletionMessage(content='Oak')`` are what is left of a value that was saved by `str`.
"""

import ast
import json
import re
import warnings

_MESSAGE = {"role", "content", "choices", "message", "messages", "status_code", "body", "parts", "generated_text"}
_BRACKETS = {("{", "}"), ("[", "]"), ("(", ")")}
_STRING = r"(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|\"[^\"\\\n]*(?:\\.[^\"\\\n]*)*\")"
_ITEM = rf"(?:{_STRING}|None|True|False|nan|\.\.\.|[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)"
_NUMPY = re.compile(rf"\[\s*{_ITEM}(?:\s+{_ITEM})*\s*\]")
_NEIGHBOURS = re.compile(r"\0\s*\0")  # strings without a comma between them: Python joins them
_ARRAYS = re.compile(r"\[(?:[\[\](),\s\0.\d+-]|None|nan|array|dtype=(?:object|\0))*\]")
_PRINTED = re.compile(
    r"\[?[A-Z]\w*\((?=.*\b(?:content|text|role|choices|candidates|message|parts|generated_text)=)\w+=.*\)\]?"
    r"|content=(['\"]).*\1 \w+=.*"
    r"|array\(\[.*\)"
    r"|<[^<>]* at 0x[0-9a-fA-F]+>",
    re.DOTALL,
)


def parsed(text):
    """Object or list that a text spells in JSON, Python or NumPy; None for any other text.

    Examples
    --------
    >>> parsed('["Oak", "Elm"]'), parsed("['Oak' 'Elm']"), parsed("('Oak', 'Elm')"), parsed("['Oak' 'Elm', 'Fir']")
    (['Oak', 'Elm'], ['Oak', 'Elm'], ('Oak', 'Elm'), None)
    """
    text = text.strip()
    if (text[:1], text[-1:]) not in _BRACKETS:
        return None
    if (value := json_value(text)) is not None:
        return value
    if _NUMPY.fullmatch(text):  # before Python, which would join the strings to one
        return [None if item == "nan" else ast.literal_eval(item) for item in re.findall(_ITEM, text)]
    if _NEIGHBOURS.search(_without_strings(text)):
        return None
    value = _python_value(text)
    return value if isinstance(value, dict | list | tuple | set) else None


def json_value(text):
    """Object or list that a text is as JSON; None for any other value.

    Examples
    --------
    >>> json_value('{"tree": "Oak"}'), json_value("Oak"), json_value(None)
    ({'tree': 'Oak'}, None, None)
    """
    text = text.strip() if isinstance(text, str) else ""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def written_out(text):
    """Value behind a text that a program wrote and nobody said; the text itself where Python cannot read it back.

    JSON counts only if it is a message as services send it: other JSON may be what a model said. So may numbers in
    brackets.

    Returns
    -------
    dict, list, tuple, bytes, str or None
        None for any other value.

    Examples
    --------
    >>> written_out("['Oak' 'Elm']"), written_out("b'Oak'"), written_out('["Oak"]'), written_out("(3, 4)")
    (['Oak', 'Elm'], b'Oak', None, None)
    >>> written_out("Message(content='Oak')")
    "Message(content='Oak')"
    """
    text = text.strip() if isinstance(text, str) else ""
    if len(text) < 3:
        return None
    if text[:2] in ("b'", 'b"'):
        value = _python_value(text)
        return value if isinstance(value, bytes) else None
    if (value := json_value(text)) is not None:
        first = value[0] if isinstance(value, list) and value else value
        return value if isinstance(first, dict) and _MESSAGE & set(first) else None
    if (value := parsed(text)) is not None:
        is_said = not isinstance(value, dict) and not any(isinstance(v, str | dict | list | tuple) for v in value)
        if isinstance(value, set):  # nobody knows the order
            return None if is_said else text
        return None if is_said else value
    bare = _without_strings(text) if text[0] == "[" else ""
    return text if ("\0" in bare and _ARRAYS.fullmatch(bare)) or _PRINTED.fullmatch(text) else None


def is_list_of_texts(value):
    """Whether a value is a list of texts, or of texts and nulls.

    Examples
    --------
    >>> is_list_of_texts(["Oak", None]), is_list_of_texts([1, 2]), is_list_of_texts([])
    (True, False, False)
    """
    is_text = isinstance(value, list | tuple) and any(isinstance(item, str) for item in value)
    return is_text and all(item is None or isinstance(item, str) for item in value)


def _without_strings(text):
    return re.sub(_STRING, "\0", text)


def _python_value(text):
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # a backslash that escapes nothing
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None

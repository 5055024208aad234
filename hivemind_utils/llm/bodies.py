"""Bodies of replies, as servers send them: read whole within a size and a time, and made safe to parse.

Every provider's reply comes through here before any library sees it, so that one rule holds for all of them: what is
no JSON is told as such, one odd field costs that field and not the reply, and nothing is read without an end.
"""

import asyncio
import json
import math
import re
import time
import zlib

from hivemind_utils.tables import ids

MOST_BYTES = 64 * 2**20  # of a reply, unless the caller says otherwise


ERROR_BYTES, ERROR_S = 64 * 2**10, 10.0  # read of a page that tells of an error


ENCODINGS = "gzip, deflate"  # of a body that can be read here, one of them


PIECE = 64 * 2**10  # bytes that are decompressed at a time


MOST_TOKENS = 10**9  # a larger count in a reply is no count


repaired = ids.repaired  # of a text with lone surrogates


MOST_NAME = 300  # characters of a name, a fingerprint or an id


class Unusable(RuntimeError):
    """A server said that all went well, but its reply holds no response."""


class TooLarge(RuntimeError):
    """A reply is larger than may be read."""


async def whole(reply, most=MOST_BYTES):
    """Read an httpx response of an asynchronous client to its end; of an error page, the beginning.

    Parameters
    ----------
    reply : httpx.Response
        Not read yet.
    most : int or None
        Bytes, after decompression.

    Returns
    -------
    httpx.Response
        With its content.

    Raises
    ------
    TooLarge
        If a reply that is no error page is larger.
    Unusable
        If it is compressed in a way that is not read here: more than once, or by another method than `ENCODINGS`.
    """
    collected = _Collected(reply, most)
    try:
        async with asyncio.timeout(ERROR_S if collected.is_error else None):
            async for chunk in reply.aiter_raw():
                if collected.add(chunk):
                    break
    except TimeoutError:
        if not collected.is_error:
            raise
    finally:
        await reply.aclose()
    return collected.response()


def whole_now(reply, most=MOST_BYTES, timeout=600):
    """Read an httpx response of a blocking client, as `whole`; within `timeout` seconds."""
    import httpx

    collected, started = _Collected(reply, most), time.monotonic()
    longest = ERROR_S if collected.is_error else timeout
    try:
        for chunk in reply.iter_raw():
            if collected.add(chunk):
                break
            if time.monotonic() - started > longest:
                if collected.is_error:
                    break
                raise httpx.ReadTimeout(f"the reply took longer than {longest:g} s", request=reply.request)
    finally:
        reply.close()
    return collected.response()


class _Collected:
    """The bytes of a reply, as they come; decompressed a piece at a time, so that a small one cannot become a large."""

    def __init__(self, reply, most):
        self.reply, self.is_error = reply, reply.status_code >= 400
        self.most = ERROR_BYTES if self.is_error else most
        self.chunks, self.size = [], 0
        said = reply.headers.get("content-encoding", "").lower().split(",")
        self.encodings = [name for name in map(str.strip, said) if name not in ("", "identity")]
        self.inflate = zlib.decompressobj(47) if self.encodings else None  # 47: gzip or zlib, by its first bytes

    def add(self, chunk):
        """Keep bytes; True where an error page has told enough."""
        if not self.inflate:
            return self._keep(chunk)
        if len(self.encodings) > 1 or self.encodings[0] not in ("gzip", "x-gzip", "deflate"):
            return self._unreadable(f"the reply is compressed as {', '.join(self.encodings)[:60]}, which is not read")
        try:
            rest = chunk
            while rest and not self.inflate.eof:
                piece = self._decompressed(rest)
                if self._keep(piece):
                    return True
                rest = self.inflate.unconsumed_tail
        except zlib.error:
            return self._unreadable(f"the reply says that it is compressed as {self.encodings[0]}, but cannot be read")
        return False

    def _decompressed(self, chunk):
        try:
            return self.inflate.decompress(chunk, PIECE)
        except zlib.error:
            if self.size or self.encodings[0] != "deflate":
                raise
            self.inflate = zlib.decompressobj(-15)  # some servers leave out deflate's header
            return self.inflate.decompress(chunk, PIECE)

    def _unreadable(self, why):
        """Raise; of an error page, which has told enough by its status, keep what was read."""
        if self.is_error:
            return True
        raise Unusable(why)

    def _keep(self, chunk):
        self.size += len(chunk)
        if self.most is not None and self.size > self.most and not self.is_error:
            raise TooLarge(f"the reply is larger than {self.most / 2**20:,.0f} MB")
        self.chunks.append(chunk)
        return self.is_error and self.size >= self.most

    def response(self):
        import httpx

        names = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(k, v) for k, v in self.reply.headers.multi_items() if k.lower() not in names]
        content, extensions = b"".join(self.chunks), dict(self.reply.extensions)
        extensions.pop("network_stream", None)
        made = httpx.Response(self.reply.status_code, headers=headers, content=content, extensions=extensions,
                              request=self.reply.request)  # fmt: skip
        made.elapsed = self.reply.elapsed
        return made


def parsed(content):
    """JSON of a reply; a number of a thousand digits is infinite.

    Raises
    ------
    Unusable
        If it is none.
    """
    try:
        return json.loads(content, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
    except (ValueError, RecursionError):
        shown = content[:60].decode("utf-8", "replace").strip()
        raise Unusable(f"the reply is no JSON: {shown!r}" if shown else "the reply is empty") from None


def tidy_chat(body):
    """A chat completion with what is needed of it, each field as it must be, and the names of fields that were not.

    Parameters
    ----------
    body : object
        JSON of an OpenAI-compatible interface.

    Returns
    -------
    body : dict
        id, object, created, model, system_fingerprint, service_tier, choices (index, finish_reason, message, logprobs),
        usage. A content in parts is joined: its text is the content, what was thought lies in ``reasoning_content``.
    odd : list of str
        Fields that are left empty, for they held something that they cannot hold.

    Raises
    ------
    Unusable
        If there is no response in it.

    Examples
    --------
    >>> parts = [{"type": "thinking", "thinking": "A tree?"}, {"type": "text", "text": "An oak."}]
    >>> tidy, odd = tidy_chat({"id": 7, "choices": [{"message": {"content": parts}}]})
    >>> tidy["choices"][0]["message"]["content"], odd
    ('An oak.', ['id'])
    """
    if not isinstance(body, dict):
        raise Unusable(f"the reply is no JSON object: {str(body)[:60]!r}")
    odd, found = [], body.get("choices")
    choices = [_choice(choice, odd) for choice in (found if isinstance(found, list) else [])]
    choices = [choice for choice in choices if choice is not None]
    if not choices:
        error = body.get("error")
        said = f": {str(error.get('message', error) if isinstance(error, dict) else error)[:200]}" if error else ""
        raise Unusable(f"the reply holds no response{said}")
    tidy = {"object": "chat.completion", "created": 0} | {
        name: _name(body, name, odd) for name in ("id", "model", "system_fingerprint")
    }
    tidy |= {"choices": [choice | {"index": i} for i, choice in enumerate(choices)], "usage": usage(body, odd)}
    tidy = {name: value for name, value in tidy.items() if value is not None}
    tier = body.get("service_tier")  # litellm's code for Groq reads it of every reply
    return tidy | {"service_tier": tier if isinstance(tier, str) else None}, list(dict.fromkeys(odd))


def _name(body, name, odd):
    """A text that names something; None, and a note, where it is none."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MOST_NAME or ids.repaired(value) != value or "\x00" in value:
        odd.append(name)
        return None
    return value


def usage(body, odd):
    """Tokens that a reply reports: prompt_tokens, completion_tokens, reasoning_tokens; missing where it does not."""
    given = body.get("usage")
    if given is None:
        return None
    if not isinstance(given, dict):
        odd.append("usage")
        return None
    found = {name: _count(given, name, odd) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    details = given.get("completion_tokens_details")
    if details is not None and not isinstance(details, dict):
        odd.append("completion_tokens_details")
    elif details:
        found["completion_tokens_details"] = {"reasoning_tokens": _count(details, "reasoning_tokens", odd)}
    return found


def _count(given, name, odd):
    value = given.get(name)
    if value is None:
        return None
    whole_ = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not whole_ or value != int(value) or not 0 <= value <= MOST_TOKENS:
        odd.append(name)
        return None
    return int(value)


def _choice(choice, odd):
    """One choice, tidy; None where it is none."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not message.keys() & {"content", "refusal", "reasoning_content", "tool_calls"}:
        return None
    content, thought = text_of(message.get("content"))
    if content is None and message.get("content") is not None:
        return None  # a content that nobody can read
    reason = choice.get("finish_reason")
    if reason == "error" and not content:
        return None
    if reason is not None and not (isinstance(reason, str) and len(reason) < MOST_NAME):
        odd.append("finish_reason")
        reason = None
    logprobs = _logprobs(choice.get("logprobs"), odd)
    said = {"role": "assistant", "content": content}
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        said["refusal"] = ids.repaired(refusal)
    elif refusal is not None:
        odd.append("refusal")
    reasoning = message.get("reasoning_content")
    if thought or isinstance(reasoning, str):
        said["reasoning_content"] = thought or ids.repaired(reasoning)
    return {"finish_reason": reason, "message": said, "logprobs": logprobs}


def text_of(content):
    """Text of a content, and what was thought: a text is itself, of parts those count that hold text.

    Parameters
    ----------
    content : object
        A text, None, a list of parts, or one part.

    Returns
    -------
    text : str or None
        None where the content is none, or nothing that can be read.
    thought : str

    Examples
    --------
    >>> text_of([{"type": "text", "text": "An "}, {"type": "output_text", "text": "oak."}, {"type": "image_url"}])
    ('An oak.', '')
    >>> text_of(7)
    (None, '')
    """
    if isinstance(content, str):
        return ids.repaired(content), ""
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        return None, ""
    texts, thoughts = [], []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type", "text"))
            inner = next((part[name] for name in ("text", "thinking", "reasoning", "content") if part.get(name)), "")
            if isinstance(inner, dict):  # {"text": {"value": "…"}}
                inner = inner.get("value", "")
            if isinstance(inner, list):
                inner = text_of(inner)[0] or ""
            if isinstance(inner, str) and re.search(r"think|reason", kind):
                thoughts.append(inner)
            elif isinstance(inner, str) and kind in ("text", "output_text"):
                texts.append(inner)
    known = any(isinstance(part, str | dict) for part in parts) or not parts
    return (ids.repaired("".join(texts)), ids.repaired("".join(thoughts))) if known else (None, "")


def _logprobs(logprobs, odd):
    """What chat completions return as log-probabilities, with every list that clients expect; None where it is not."""
    if logprobs is None:
        return None
    if not isinstance(logprobs, dict):
        odd.append("logprobs")
        return None
    tidy = dict(logprobs)
    for name in ("content", "refusal"):
        if tidy.get(name) is None:
            continue
        tokens = tidy[name]
        if not isinstance(tokens, list) or not all(_is_token(token) for token in tokens):
            odd.append("logprobs")
            if name == "content":
                return None
            del tidy[name]
        else:
            tidy[name] = [_token(token, odd) for token in tokens]
    return tidy


def _is_token(token):
    if not isinstance(token, dict) or not isinstance(token.get("token"), str):
        return False
    value, others = token.get("logprob"), token.get("top_logprobs") or []
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return is_number and isinstance(others, list) and all(_is_token(other) for other in others)


def _token(token, odd):
    """A token with the lists that some servers leave out, and without bytes that are none."""
    tidy = token | {"top_logprobs": [_token(other, odd) for other in token.get("top_logprobs") or []]}
    given = token.get("bytes")
    if given is not None and not (isinstance(given, list) and all(type(b) is int and 0 <= b < 256 for b in given)):
        odd.append("logprobs: bytes")
        tidy["bytes"] = None
    return tidy

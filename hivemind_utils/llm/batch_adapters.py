"""How providers take batches: files in OpenAI's shape through litellm, and Anthropic's Message Batches.

An adapter submits lines under a token of ours, finds a batch again by that token, says how far it is, and gives its
results. It never tries again by itself: a second submission would be paid.
"""

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from hivemind_utils.llm import bodies, http_json, providers, replies, store
from hivemind_utils.llm import request as request_llm

FILES = ("openai", "azure", "vertex_ai", "bedrock", "hosted_vllm", "mistral", "xai")  # of litellm's interface
LISTED = ("openai", "azure", "vertex_ai", "hosted_vllm", "xai")  # whose batches litellm can list
OWN_KEY = ("openai", "hosted_vllm", "mistral", "xai")  # whose key is handed over by name: litellm takes OpenAI's else
ANTHROPIC = "anthropic"
ANTHROPIC_BASE = "https://api.anthropic.com"
LABEL = "hivemind"  # name of our token in a batch's metadata
MAX_LINES, MAX_BYTES = 10_000, 90_000_000  # of a file
MOST_BYTES = 2_000_000_000  # of a file of results
TIMEOUT_S = 600


class Refused(Exception):
    """The provider said no: nothing was submitted, and nothing will be paid."""


class Gone(Refused):
    """The provider does not know what it is asked for."""


class Unknown(Exception):
    """Nobody can say now whether a batch was submitted: neither submit it again nor forget it."""


class Unread(Unknown):
    """What was asked for is not there, or cannot be read; it may stay so."""


@dataclass(frozen=True)
class Status:
    """How far a batch is.

    Attributes
    ----------
    state : str
        ``running``, ``ended`` or ``failed``.
    message : str
        In the provider's words.
    files : tuple of str
        Where the results lie.
    counts : tuple of (int, int) or None
        Lines with a response, and all lines; None where the provider does not say.
    """

    state: str
    message: str = ""
    files: tuple = ()
    counts: tuple | None = None


@dataclass(frozen=True)
class Result:
    """What came of a line.

    Attributes
    ----------
    line : int or None
        None for a damaged line that does not say which it is.
    outcome : str
        ``answered``, ``errored``, ``expired``, or ``damaged`` where the line is no JSON object.
    heard : replies.Heard or None
        The response; log-probabilities are JSON.
    message : str
    paid : bool
        Whether it may have cost something.
    """

    line: int | None
    outcome: str
    heard: replies.Heard | None = None
    message: str = ""
    paid: bool = False


def takes_batches(model):
    """Whether a model's provider has an adapter here.

    Examples
    --------
    >>> takes_batches("openai/gpt-5.4-mini"), takes_batches("anthropic/claude-haiku-4-5"), takes_batches("gguf:mine")
    (True, True, False)
    """
    return providers.provider_name(model) in (*FILES, ANTHROPIC)


def adapter(model, api_base):
    """Adapter of a model's provider."""
    name = providers.provider_name(model)
    return Anthropic(model, api_base) if name == ANTHROPIC else Files(name, model, api_base)


def custom_id(token, line):
    """Name of a line at the provider."""
    return f"{token}-{line}"


def line_of(token, name):
    """Number of a line from its name at the provider; None where it is no line of this batch."""
    found = re.fullmatch(rf"{re.escape(token)}-([0-9]{{1,9}})", name) if isinstance(name, str) else None
    return int(found.group(1)) if found else None


def parameters(request, n, seed):
    """Parameters of a request's body, as litellm would send them."""
    name = providers.provider_name(request.model)
    asked = {key: value for key, value in request.parameters.items() if key in request_llm.OPENAI}
    others = {key: value for key, value in request.parameters.items() if key not in request_llm.OPENAI}
    extra = {**asked.pop("extra_body", {}), **others}
    if seed is not None:
        asked["seed"] = seed
    if n > 1:
        asked["n"] = n
    if not (asked.get("max_tokens") or asked.get("max_completion_tokens")):
        asked["max_tokens"] = request_llm.MAX_TOKENS
    plain = request.model.removeprefix(f"{name}/")
    mapped = providers.litellm().utils.get_optional_params(model=plain, custom_llm_provider=name, **asked)
    mapped.pop("stream", None)
    return {**mapped.pop("extra_body", {}), **mapped, **extra}


class Files:
    """Files in OpenAI's shape, through litellm: OpenAI, Azure, Vertex AI, Bedrock, vLLM, Mistral, xAI."""

    def __init__(self, provider, model, api_base):
        self.provider, self.model, self.api_base = provider, model, api_base
        self.options = {"custom_llm_provider": provider, "max_retries": 0, "timeout": TIMEOUT_S}
        if api_base:
            self.options["api_base"] = api_base
        self.options |= providers.key_arguments(model, api_base)
        if provider in OWN_KEY:
            self.options.setdefault("api_key", os.environ.get(f"{provider.upper()}_API_KEY") or "none")
        if provider == "mistral":
            self.options["model"] = model  # litellm finds the provider's way by it

    def body(self, request, n, seed):
        """Body of a line."""
        plain = request.model.removeprefix(f"{self.provider}/")
        return {"model": plain, "messages": request.messages, **parameters(request, n, seed)}

    def submit(self, token, bodies):
        """Submit lines; returns the batch's id."""
        rows = [
            {"custom_id": custom_id(token, i), "method": "POST", "url": "/v1/chat/completions", "body": body}
            for i, body in enumerate(bodies)
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        try:
            file = self._call("create_file", file=(f"{token}.jsonl", content), purpose="batch")
            name = _named(file, "id", "its file")
        except Unknown as error:  # a file alone costs nothing
            raise Refused(str(error)) from error
        made = self._call(
            "create_batch", completion_window="24h", endpoint="/v1/chat/completions", input_file_id=name,
            metadata={LABEL: token},
        )  # fmt: skip
        return _named(made, "id", "the batch")

    def find(self, batch, known):
        """Id of the batch that carries our token, or None where the provider has none.

        Parameters
        ----------
        batch : batch_journal.Batch
        known : set of str
            Ids of our other batches.
        """
        if self.provider not in LISTED:
            raise Unread(f"litellm cannot list the batches of {self.provider}: look at the provider's own pages")
        after = None
        while True:
            page = self._call("list_batches", limit=100, **({"after": after} if after else {}))
            data = _listed(page)
            names = [_named(found, "id", "a batch") for found in data]
            for found, name in zip(data, names, strict=True):
                if _get(_get(found, "metadata"), LABEL) == batch.token:
                    return name
            if not data or not _get(page, "has_more") or names[-1] == after:
                return None
            after = names[-1]

    def status(self, batch_id):
        """How far a batch is."""
        found = self._call("retrieve_batch", batch_id=batch_id)
        said, output = _named(found, "status", "the batch"), _get(found, "output_file_id")
        files = tuple(filter(None, (output, _get(found, "error_file_id"))))
        counts = _get(found, "request_counts")
        counts = _counts(_get(counts, "completed"), _get(counts, "total"))
        if said == "failed" and not output:
            errors = _get(_get(found, "errors"), "data") or _get(found, "errors")
            errors = errors if isinstance(errors, list) else [errors]
            why = "; ".join(_error(error)[1] for error in errors if error) or "the provider does not say why"
            return Status("failed", providers.redact(why))
        if said not in ("completed", "expired", "cancelled", "failed"):
            return Status("running", said)
        if not files and (said == "completed" or (counts and counts[0])):
            raise Unread(f"it is {said}, but the provider names no file of results")
        return Status("ended", said, files, counts)

    def results(self, token, status):
        """Results in the order they come; lines that are not among them may never have run."""
        for file in status.files:
            content = self._call("file_content", file_id=file)
            for line, row in _rows(token, content.content):
                if row is None:
                    yield _damaged(line)
                elif line is not None:
                    yield self._result(line, row)

    def _result(self, line, row):
        response, failed = row.get("response"), row.get("error")
        body, status = _get(response, "body"), _get(response, "status_code")
        ran = not (isinstance(status, int) and status >= 400) and bool(response or not failed)
        failed = _get(body, "error") or failed
        if ran:
            try:
                return _answered(line, body)
            except bodies.Unusable as error:
                if not failed:
                    return _unusable(line, error)
        code, said = _error(failed or body)
        return _failed(line, code, f"status {status}: {said}", paid=ran)

    def _call(self, name, **arguments):
        try:
            with providers.guarded(self.model, self.api_base, most_bytes=MOST_BYTES, parse=False) as exchange:
                return getattr(providers.litellm(), name)(**arguments, **self.options)
        except Exception as error:  # litellm raises many classes
            if exchange.raised is None and exchange.status is not None and exchange.status < 300:
                raise Unread(f"status {exchange.status}, but the reply cannot be read") from error
            why = providers.provider_message(error)
            raise _told(error, _status(error), why, sent=exchange.sent, listed=self.provider in LISTED) from error


class Anthropic:
    """Anthropic's Message Batches, asked directly."""

    def __init__(self, model, api_base):
        self.model = model
        self.api_base = (api_base or ANTHROPIC_BASE).rstrip("/").removesuffix("/v1")
        allowed = "api_key" not in providers.key_arguments(model, api_base)
        self.key = (os.environ.get("ANTHROPIC_API_KEY") if allowed else None) or "none"

    def body(self, request, n, seed):
        """Parameters of a message."""
        config = providers.litellm().AnthropicConfig()
        plain = request.model.removeprefix("anthropic/")
        messages = [dict(message) for message in request.messages]
        asked = parameters(request, 1, None)
        return config.transform_request(plain, messages, asked, litellm_params={}, headers={})

    def submit(self, token, bodies):
        """Submit lines; returns the batch's id."""
        rows = [{"custom_id": custom_id(token, i), "params": body} for i, body in enumerate(bodies)]
        return _named(self._object("POST", "/v1/messages/batches", json={"requests": rows}), "id", "the batch")

    def find(self, batch, known):
        """Id of the batch whose lines carry our token, or None; the names of lines are told once a batch has ended."""
        after = None
        while True:
            query = {"limit": 100} | ({"after_id": after} if after else {})
            page = self._object("GET", "/v1/messages/batches", params=query)
            for found in _listed(page):
                name = _named(found, "id", "a batch")
                if name not in known and _may_be(found, batch) and self._is(found, name, batch.token):
                    return name
            if not page.get("has_more") or page.get("last_id") in (None, after):
                return None
            after = page["last_id"]

    def _is(self, found, name, token):
        """Whether a batch's lines carry our token."""
        if _get(found, "processing_status") != "ended":
            raise Unknown(f"batch {name} may be it, and tells when it has ended")
        readable = False
        for line, row in _rows(token, self._call("GET", _url(found)).content):
            if line is not None:
                return True
            readable = readable or row is not None
        if not readable:
            raise Unread(f"batch {name} may be it, but its results cannot be read")
        return False

    def status(self, batch_id):
        """How far a batch is."""
        found = self._object("GET", f"/v1/messages/batches/{batch_id}")
        said, counts = _named(found, "processing_status", "the batch"), found.get("request_counts")
        if said != "ended":
            return Status("running", said)
        total = sum(counts.values()) if isinstance(counts, dict) and all(map(_is_count, counts.values())) else None
        return Status("ended", said, (_url(found),), _counts(_get(counts, "succeeded"), total))

    def results(self, token, status):
        """Results in the order they come."""
        for url in status.files:
            for line, row in _rows(token, self._call("GET", url).content):
                if row is None:
                    yield _damaged(line)
                elif line is not None:
                    yield self._result(line, row.get("result"))

    @staticmethod
    def _result(line, result):
        kind, message = _get(result, "type"), _get(result, "message")
        if kind in ("expired", "canceled"):
            return Result(line, "expired", message=kind)
        if kind == "errored":
            error = _get(result, "error")
            code, said = _error(_get(error, "error") or error)
            return _failed(line, code, f"{code}: {said}")
        try:
            return _answered(line, _as_chat(message))
        except bodies.Unusable as error:
            return _unusable(line, error)

    def _object(self, method, address, **options):
        """A reply that must be a JSON object."""
        reply = self._call(method, address, **options)
        try:
            found = bodies.parsed(reply.content)
        except bodies.Unusable as error:
            raise Unread(f"status {reply.status_code}, but {providers.redact(str(error))}") from None
        if not isinstance(found, dict):
            raise Unread(f"status {reply.status_code}, but the reply is no JSON object")
        return found

    def _call(self, method, address, **options):
        import httpx

        url = address if "://" in address else self.api_base + address
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        try:
            with (
                providers.guarded(self.model, self.api_base, most_bytes=MOST_BYTES, parse=False) as exchange,
                httpx.Client(timeout=TIMEOUT_S, trust_env=not http_json.is_local(self.api_base)) as client,
            ):
                reply = client.request(method, url, headers=headers, **options)
        except Exception as error:
            said = providers.redact(str(error))  # which may repeat a key
            raise _told(error, None, said, sent=exchange.sent) from None
        if reply.status_code >= 400:
            said = providers.redact(f"status {reply.status_code}: {reply.text[:400]}")
            raise _told(None, reply.status_code, said)
        return reply


def _rows(token, content):
    """Number and object of every line of a file of results.

    The number is None for a line that is not ours, or does not say; the object for one that is cut or damaged. Only a
    line feed ends a line: a text may hold any other separator.
    """
    for text in content.decode("utf-8-sig", "replace").split("\n"):
        if text.strip():
            try:
                row = bodies.parsed(text.encode())
            except bodies.Unusable:
                row = None
            if isinstance(row, dict):
                yield line_of(token, row.get("custom_id")), row
            else:
                named = re.search(rf'"{re.escape(token)}-([0-9]{{1,9}})"', text)
                yield (int(named.group(1)) if named else None), None


def _answered(line, body):
    """A line with the response of a chat completion; raises where there is none."""
    try:
        facts, odd = bodies.tidy_chat(body)
        choices = []
        for choice in facts["choices"]:
            message, logprobs = choice["message"], choice["logprobs"]
            refusal = message.get("refusal")
            logprobs = None if logprobs is None else bodies.repaired(store.dump(logprobs))
            choices.append((message["content"] or refusal or "", choice["finish_reason"], refusal, logprobs))
    except bodies.Unusable:
        raise
    except Exception as error:  # a form that nobody has seen yet
        raise bodies.Unusable(f"the response cannot be read: {replies.reported(error)}") from None
    used = facts.get("usage") or {}
    details = used.get("completion_tokens_details") or {}
    heard = replies.Heard(
        choices, facts.get("id"), facts.get("model"), facts.get("system_fingerprint"), used.get("prompt_tokens"),
        used.get("completion_tokens"), details.get("reasoning_tokens"), used.get("total_tokens"), odd,
    )  # fmt: skip
    return Result(line, "answered", heard, paid=True)


def _as_chat(message):
    """A message of Anthropic's as a chat completion."""
    if not isinstance(message, dict):
        raise bodies.Unusable("the result holds no message")
    reasons = {"max_tokens": "length", "refusal": "content_filter", "model_context_window_exceeded": "length"}
    stopped, usage = message.get("stop_reason"), message.get("usage")
    if stopped is None or isinstance(stopped, str):
        stopped = reasons.get(stopped, "stop")
    if isinstance(usage, dict):
        cached = [usage.get(f"cache_{name}_input_tokens") or 0 for name in ("creation", "read")]
        parts = [usage.get("input_tokens"), *cached]
        odd = [part for part in parts if type(part) not in (int, float) or not part >= 0]
        asked = odd[0] if odd else sum(parts)
        usage = {"prompt_tokens": asked, "completion_tokens": usage.get("output_tokens")}
    said = {"content": message["content"]} if "content" in message else {}
    choice = {"message": said, "finish_reason": stopped}
    return {"id": message.get("id"), "model": message.get("model"), "choices": [choice], "usage": usage}


def _failed(line, code, said, *, paid=False):
    message = providers.redact(said)
    if "content_filter" in f"{code} {said}" or "content_policy" in code:  # refused before it ran
        heard = replies.Heard([("", "content_filter", None, None)], *[None] * 7, odd=[])
        return Result(line, "answered", heard, paid=paid)
    if re.search("expired|cancel", code):
        return Result(line, "expired", message=message)
    return Result(line, "errored", message=message, paid=paid)


def _unusable(line, error):
    """A line that ran, and whose response cannot be read."""
    return Result(line, "errored", message=providers.redact(str(error)), paid=True)


def _damaged(line):
    return Result(line, "damaged", message="the line of the results is damaged", paid=True)


def _error(error):
    """Code and words of an error, whatever form it has."""
    if not isinstance(error, dict):
        error = {"message": error} if isinstance(error, str) else {n: _get(error, n) for n in ("code", "message")}
    code = next((error[n] for n in ("code", "type") if isinstance(error.get(n), str)), "")
    said = error.get("message")
    return code, bodies.repaired(said if isinstance(said, str) and said else code or "no reason given")[:500]


def _get(thing, name):
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _named(thing, name, of):
    """A text that a reply must hold."""
    value = _get(thing, name)
    if not isinstance(value, str) or not value:
        raise Unread(f"the reply does not give the {name} of {of}")
    return value


def _listed(page):
    """Batches of a page of their list."""
    data = _get(page, "data")
    if not isinstance(data, list):
        raise Unread("the list of batches cannot be read")
    return data


def _url(found):
    """Address of the results of a batch at Anthropic that has ended."""
    url = _get(found, "results_url")
    if not isinstance(url, str) or not url:
        raise Unread("it has ended, but its results are not there: Anthropic keeps them for 29 days")
    return url


def _is_count(value):
    return type(value) is int and value >= 0


def _counts(answered, total):
    """Lines with a response and all lines, where a provider gives both."""
    return (answered, total) if _is_count(answered) and _is_count(total) else None


def _may_be(found, batch):
    """Whether a batch at Anthropic may have our number of lines, and be made after we began to submit."""
    counts = _get(found, "request_counts")
    if isinstance(counts, dict) and counts and all(map(_is_count, counts.values())):
        if sum(counts.values()) != batch.n_lines:
            return False
    begun = datetime.fromisoformat(batch.created_at)
    try:
        made = datetime.fromisoformat(found["created_at"].replace("Z", "+00:00"))
        return begun > datetime.now(UTC) or (begun - made).total_seconds() < 300  # clocks differ
    except (KeyError, AttributeError, TypeError, ValueError):
        return True


def _status(error):
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _told(error, status, message, *, sent=False, listed=True):
    """Turn an error into what it means for a submission.

    A status that may pass says nothing of a request that a gateway has passed on: the provider's list tells, where
    there is one.
    """
    if isinstance(error, bodies.TooLarge):
        return Unread(message)
    if isinstance(error, providers.ForeignHost):
        return Unknown(message) if sent else Refused(message)  # a redirect may come after the work
    if status in (404, 410):
        return Gone(message)
    passes = providers.is_transient(status) and (listed or status == 408)
    return Refused(message) if status and 400 <= status < 500 and not passes else Unknown(message)

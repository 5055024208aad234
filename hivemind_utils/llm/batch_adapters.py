"""How providers take batches: files in OpenAI's shape through litellm, and Anthropic's Message Batches.

An adapter submits lines under a token of ours, finds a batch again by that token, says how far it is, and gives its
results. It never tries again by itself: a second submission would be paid.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import datetime

from hivemind_utils.llm import http_json, providers
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


class Unknown(Exception):
    """Nobody can say now whether a batch was submitted: neither submit it again nor forget it."""


@dataclass(frozen=True)
class Status:
    """How far a batch is: state is ``running``, ``ended`` or ``failed``."""

    state: str
    message: str = ""
    files: tuple = ()


@dataclass(frozen=True)
class Result:
    """What came of a line: ``answered``, ``errored`` or ``expired``.

    Every one of `choices` is (text, finish reason, refusal, logprobs).
    """

    line: int
    outcome: str
    choices: tuple = ()
    usage: dict = field(default_factory=dict)
    served_model: str | None = None
    fingerprint: str | None = None
    message: str = ""


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
    start, _, number = str(name).rpartition("-")
    return int(number) if start == token and number.isdigit() else None


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
        except Unknown as error:  # a file alone costs nothing
            raise Refused(str(error)) from error
        made = self._call(
            "create_batch", completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id,
            metadata={LABEL: token},
        )  # fmt: skip
        return made.id

    def find(self, batch, known):
        """Id of the batch that carries our token, or None where the provider has none.

        Parameters
        ----------
        batch : batch_journal.Batch
        known : set of str
            Ids of our other batches.
        """
        if self.provider not in LISTED:
            raise Unknown(f"litellm cannot list the batches of {self.provider}: look at the provider's own pages")
        after = None
        while True:
            page = self._call("list_batches", limit=100, **({"after": after} if after else {}))
            data = page.get("data") if isinstance(page, dict) else page.data
            for found in data or ():
                if (_get(found, "metadata") or {}).get(LABEL) == batch.token:
                    return _get(found, "id")
            more = page.get("has_more") if isinstance(page, dict) else getattr(page, "has_more", False)
            if not data or not more or _get(data[-1], "id") == after:
                return None
            after = _get(data[-1], "id")

    def status(self, batch_id):
        """How far a batch is."""
        found = self._call("retrieve_batch", batch_id=batch_id)
        files = tuple(filter(None, (_get(found, "output_file_id"), _get(found, "error_file_id"))))
        if found.status in ("completed", "expired", "cancelled"):
            return Status("ended", found.status, files)
        if found.status == "failed":
            errors = _get(_get(found, "errors") or {}, "data") or []
            said = "; ".join(str(_get(error, "message")) for error in errors) or "the provider does not say why"
            return Status("failed", providers.redact(said))
        return Status("running", found.status)

    def results(self, token, status):
        """Results in the order they come; lines that are not among them never ran."""
        for file in status.files:
            content = self._call("file_content", file_id=file)
            for row in _json_lines(content.content.decode("utf-8", "replace")):
                if (line := line_of(token, row.get("custom_id"))) is not None:
                    yield self._result(line, row)

    def _result(self, line, row):
        response, error = row.get("response") or {}, row.get("error") or {}
        body = response.get("body") or {}
        if response.get("status_code", 200) == 200 and body.get("choices"):
            choices = []
            for choice in sorted(body["choices"], key=lambda one: one.get("index") or 0):
                message = choice.get("message") or {}
                refusal, logprobs = message.get("refusal"), choice.get("logprobs")
                text = message.get("content") or refusal or ""
                choices.append((text, choice.get("finish_reason"), refusal, logprobs))
            usage = body.get("usage") or {}
            details = usage.get("completion_tokens_details") or {}
            used = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
            used["reasoning_tokens"] = details.get("reasoning_tokens")
            return Result(line, "answered", tuple(choices), used, body.get("model"), body.get("system_fingerprint"))
        error = body.get("error") or error
        said = f"status {response.get('status_code')}: {error.get('message') or error.get('code')}"
        return _failed(line, error.get("code") or "", said)

    def _call(self, name, **arguments):
        try:
            with providers.guarded(self.model, self.api_base, most_bytes=MOST_BYTES, parse=False):
                return getattr(providers.litellm(), name)(**arguments, **self.options)
        except Exception as error:  # litellm raises many classes
            raise _told(error, getattr(error, "status_code", None), providers.provider_message(error)) from error


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
        return self._call("POST", "/v1/messages/batches", json={"requests": rows}).json()["id"]

    def find(self, batch, known):
        """Id of the batch whose lines carry our token, or None; the names of lines are told once a batch has ended."""
        after = None
        while True:
            query = {"limit": 100} | ({"after_id": after} if after else {})
            page = self._call("GET", "/v1/messages/batches", params=query).json()
            for found in page.get("data") or ():
                if found["id"] in known or not _may_be(found, batch):
                    continue
                if found["processing_status"] != "ended":
                    raise Unknown(f"batch {found['id']} may be it, and tells when it has ended")
                for row in self._rows(found["results_url"]):
                    if line_of(batch.token, row.get("custom_id")) is not None:
                        return found["id"]
                    break
            if not page.get("has_more") or page.get("last_id") == after:
                return None
            after = page.get("last_id")

    def status(self, batch_id):
        """How far a batch is."""
        found = self._call("GET", f"/v1/messages/batches/{batch_id}").json()
        if found["processing_status"] != "ended":
            return Status("running", found["processing_status"])
        if not found.get("results_url"):
            return Status("failed", "its results are gone: Anthropic keeps them for 29 days")
        return Status("ended", "ended", (found["results_url"],))

    def results(self, token, status):
        """Results in the order they come."""
        for url in status.files:
            for row in self._rows(url):
                if (line := line_of(token, row.get("custom_id"))) is not None:
                    yield self._result(line, row.get("result") or {"type": "errored"})

    @staticmethod
    def _result(line, result):
        if result["type"] in ("expired", "canceled"):
            return Result(line, "expired", message=result["type"])
        if result["type"] != "succeeded":
            error = result.get("error") or {}
            error = error.get("error") or error
            return _failed(line, error.get("type") or "", f"{error.get('type')}: {error.get('message')}")
        message = result["message"]
        text = "".join(block.get("text") or "" for block in message["content"] if block.get("type") == "text")
        reasons = {"max_tokens": "length", "refusal": "content_filter", "model_context_window_exceeded": "length"}
        stopped = reasons.get(message.get("stop_reason"), "stop")
        usage = message.get("usage") or {}
        cached = sum(usage.get(f"cache_{name}_input_tokens") or 0 for name in ("creation", "read"))
        asked = None if usage.get("input_tokens") is None else usage["input_tokens"] + cached
        used = {"prompt_tokens": asked, "completion_tokens": usage.get("output_tokens")}
        return Result(line, "answered", ((text, stopped, None, None),), used, message.get("model"))

    def _rows(self, url):
        return _json_lines(self._call("GET", url).text)

    def _call(self, method, address, **options):
        import httpx

        url = address if "://" in address else self.api_base + address
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        try:
            with (
                providers.guarded(self.model, self.api_base, most_bytes=MOST_BYTES, parse=False),
                httpx.Client(timeout=TIMEOUT_S, trust_env=not http_json.is_local(self.api_base)) as client,
            ):
                reply = client.request(method, url, headers=headers, **options)
        except Exception as error:
            raise _told(error, None, providers.redact(str(error))) from None  # which may repeat a key
        if reply.status_code >= 400:
            raise _told(None, reply.status_code, providers.redact(f"status {reply.status_code}: {reply.text[:400]}"))
        return reply


def _json_lines(text):
    """Objects of a file of JSON lines; what is cut or damaged is no result, and is asked again."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _get(thing, name):
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _may_be(found, batch):
    """Whether a batch at Anthropic has our number of lines, and was made after we began to submit."""
    counts = sum((found.get("request_counts") or {}).values())
    made = datetime.fromisoformat(found["created_at"].replace("Z", "+00:00"))
    early = (datetime.fromisoformat(batch.created_at) - made).total_seconds()
    return counts == batch.n_lines and early < 300  # clocks differ


def _failed(line, code, said):
    message = providers.redact(said)
    if "content_filter" in f"{code} {said}" or "content_policy" in code:
        return Result(line, "answered", (("", "content_filter", None, None),))
    if "expired" in str(code):
        return Result(line, "expired", message="expired")
    return Result(line, "errored", message=message)


def _told(error, status, message):
    """Turn an error into what it means for a submission."""
    if isinstance(error, providers.ForeignHost) or (status and 400 <= status < 500 and status != 408):
        return Refused(message)
    return Unknown(message)

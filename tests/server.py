"""An OpenAI-compatible HTTP server on the loopback whose latency, faults and answers a test controls.

It records every request with its body and the time it came. Use the fixture ``server`` (in ``conftest.py``) or
``with serving() as server: ...``; point litellm at it with ``api_base=server.url`` and a model such as ``openai/any``.
"""

import asyncio
import base64
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Fault:
    """What a request meets instead of an answer: an HTTP status, or a dropped connection (status None)."""

    status: int | None = None
    message: str = "a planned fault"
    headers: dict = field(default_factory=dict)
    code: str | None = None
    param: str | None = None


@dataclass
class Received:
    """One request as it came."""

    path: str
    body: dict
    headers: dict
    time: float


class Server:
    """The server; set `latency`, `fault`, `answer`, `embed` or `complete` to change what it does.

    - ``latency``: seconds before every answer.
    - ``fault(body, number)``: returns a `Fault` or None; `number` counts requests from 0.
    - ``answer(body, number)``: returns a list of texts, or of choices (dicts); default ``answer <number>.<i>``.
    - ``embed(text)``: returns a list of floats.
    - ``complete(body, number)``: choices of ``/completions``; by default the prompt is echoed.
    - ``change(reply, number)``: the reply as it is sent: a dict or bytes; by default it stays.
    - ``slow(body, number)``: seconds between two halves of the body, 0 for a body in one piece.
    """

    def __init__(self):
        self.received = []
        self.latency = 0.0
        self.headers = {}  # of every answer
        self.usage = None  # replaces the usage of chat completions
        self.fault = lambda body, number: None
        self.answer = lambda body, number: [f"answer {number}.{i}" for i in range(body.get("n") or 1)]
        self.embed = lambda text: [float(len(text)), 1.0, 0.0]
        self.complete = lambda body, number: [{"text": body["prompt"] if body.get("echo") else f"text {number}"}]
        self.change = lambda reply, number: reply
        self.slow = lambda body, number: 0.0
        self.in_flight = self.most_in_flight = 0
        self.url = None

    def bodies(self, path="/chat/completions"):
        """Bodies of the requests to one endpoint, in the order they came."""
        return [received.body for received in self.received if received.path.endswith(path)]

    def times(self):
        """Seconds, on the server's monotonic clock, at which the requests came."""
        return [received.time for received in self.received]

    async def _handle(self, request):
        number, body = len(self.received), await request.json()
        self.received.append(Received(request.path, body, dict(request.headers), time.monotonic()))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            fault = self.fault(body, number)
            if fault is not None:
                return self._fail(request, fault)
            reply = self.change(self._reply(request.path, body, number), number)
            if isinstance(reply, bytes):
                return web.Response(body=reply, headers=self.headers, content_type="application/json")
            pause = self.slow(body, number)
            return (
                await self._in_halves(request, reply, pause)
                if pause
                else web.json_response(reply, headers=self.headers)
            )
        finally:
            self.in_flight -= 1

    def _fail(self, request, fault):
        if fault.status is None:
            request.transport.close()
            return web.Response()
        error = {"message": fault.message, "type": "planned", "code": fault.code, "param": fault.param}
        return web.json_response({"error": error}, status=fault.status, headers=fault.headers)

    async def _in_halves(self, request, reply, pause):
        whole = web.json_response(reply).body
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        await asyncio.sleep(pause)
        await response.write(whole[len(whole) // 2 :])
        return response

    def _reply(self, path, body, number):
        if path.endswith("/embeddings"):
            form = in_base64 if body.get("encoding_format") == "base64" else list
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            rows = [
                {"object": "embedding", "index": i, "embedding": form(self.embed(text))} for i, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
            return {"object": "list", "data": rows, "model": body["model"], "usage": usage}
        chat = path.endswith("/chat/completions")
        answers = self.answer(body, number) if chat else self.complete(body, number)
        choices = [
            self._choice(answer, i) if chat else {"index": i, "finish_reason": "stop"} | answer
            for i, answer in enumerate(answers)
        ]
        n_words = sum(len(str(choice.get("message", choice)).split()) for choice in choices)
        usage = self.usage or {"prompt_tokens": 10, "completion_tokens": n_words, "total_tokens": 10 + n_words}
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": f"call-{number}", "object": kind, "created": 0, "model": body["model"],
            "system_fingerprint": "fp_test", "choices": choices, "usage": usage,
        }  # fmt: skip

    @staticmethod
    def _choice(answer, i):
        if isinstance(answer, str):
            answer = {"message": {"role": "assistant", "content": answer}}
        return {"index": i, "finish_reason": "stop"} | answer


def in_base64(vector):
    """Write a vector as OpenAI does on request: float32, little-endian, in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@contextmanager
def serving():
    """Start a server on a free port of the loopback; it is gone when the block ends."""
    server, started, loop = Server(), threading.Event(), asyncio.new_event_loop()

    async def start():
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{path:.*}", server._handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        started.set()
        return runner

    def main():
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    assert started.wait(10), "the test server did not start"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def raw_serving(talk):
    """A server of bytes: calls ``talk(connection)`` for whoever comes, in a thread of its own; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def handle(connection):
        with connection, suppress(OSError):
            talk(connection)

    def accept():
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()

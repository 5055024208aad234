"""A server on the loopback that takes batches in both protocols, and counts what it would charge for."""

import asyncio
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

from aiohttp import web


class BatchServer:
    """Batches run when a test says so.

    - ``fate(line, body)``: ``ok``, ``error``, ``expired``, ``filtered`` or ``lost`` (no result at all).
    - ``drop``: method and the end of a path whose connection breaks after the work was done.
    - ``refuse``: (end of a path, status, message) for calls that are refused before any work.
    - ``failure``: message with which the next batches fail.
    - ``alter(row)``: changes a result before it is written; ``ascii``: whether results are written in ASCII.
    - ``content(text)``: what becomes of a file of results on its way.
    - ``replace(method, path, reply)``: what is sent instead of a reply, after the work was done.
    """

    def __init__(self):
        self.files, self.batches, self.calls = {}, {}, []
        self.fate = lambda line, body: "ok"
        self.drop = self.refuse = self.failure = None
        self.alter, self.ascii = lambda row: None, True
        self.content, self.replace = lambda text: text, lambda method, path, reply: reply
        self.url = None

    @property
    def submitted(self):
        return len(self.batches)

    @property
    def lines(self):
        """Lines of all batches: what is paid for."""
        return [row for batch in self.batches.values() for row in batch["rows"]]

    def end(self):
        """Let every batch run to its end."""
        for batch in self.batches.values():
            batch["ended"] = True

    async def handle(self, request):
        path, method = request.path.removeprefix("/v1"), request.method
        self.calls.append((method, path, dict(request.headers)))
        if self.refuse and path.endswith(self.refuse[0]) and method == "POST":
            return web.json_response({"error": {"message": self.refuse[2]}}, status=self.refuse[1])
        reply = await self.work(request, method, path.split("/")[1:])
        if self.drop and method == self.drop[0] and path.endswith(self.drop[1]):
            request.transport.close()
        return self.replace(method, path, reply)

    def dumps(self, rows):
        for row in rows:
            self.alter(row)
        return "\n".join(json.dumps(row, ensure_ascii=self.ascii) for row in rows)

    async def work(self, request, method, parts):
        match (method, parts):
            case ("POST", ["files"]):
                form = await request.post()
                name = f"file-{len(self.files)}"
                self.files[name] = form["file"].file.read().decode()
                return web.json_response(self.file(name))
            case ("GET", ["files", name, "content"]):
                return web.Response(body=self.content(self.files[name]).encode())
            case ("POST", ["batches"]):
                body = await request.json()
                rows = [json.loads(line) for line in self.files[body["input_file_id"]].split("\n") if line]
                return web.json_response(self.openai(self.add(rows, body.get("metadata"))))
            case ("GET", ["batches"]):
                ids = sorted(self.batches, reverse=True)
                after = request.query.get("after")
                ids = [one for one in ids if after is None or one < after]
                page = ids[:2]  # small pages, so that they are turned
                data = [self.openai(one) for one in page]
                return web.json_response(
                    {"object": "list", "data": data, "has_more": len(ids) > 2, "first_id": None, "last_id": None}
                )
            case ("GET", ["batches", name]):
                return web.json_response(self.openai(name))
            case ("POST", ["messages", "batches"]):
                body = await request.json()
                rows = [{"custom_id": row["custom_id"], "body": row["params"]} for row in body["requests"]]
                return web.json_response(self.anthropic(self.add(rows, None)))
            case ("GET", ["messages", "batches"]):
                ids = sorted(self.batches, reverse=True)
                after = request.query.get("after_id")
                ids = [one for one in ids if after is None or one < after]
                data = [self.anthropic(one) for one in ids[:2]]
                last = data[-1]["id"] if data else None
                return web.json_response({"data": data, "has_more": len(ids) > 2, "last_id": last})
            case ("GET", ["messages", "batches", name]):
                return web.json_response(self.anthropic(name))
            case ("GET", ["messages", "batches", name, "results"]):
                rows = [self.told(row) for row in reversed(self.batches[name]["rows"])]
                return web.Response(body=self.content(self.dumps([row for row in rows if row])).encode())
        return web.json_response({"error": {"message": "no such page"}}, status=404)

    def add(self, rows, metadata):
        name = f"batch-{len(self.batches):03}"
        made = datetime.now(UTC)
        self.batches[name] = {"rows": rows, "metadata": metadata, "ended": False, "failed": self.failure, "made": made}
        return name

    @staticmethod
    def file(name):
        return {
            "id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "x.jsonl", "purpose": "batch",
            "status": "processed",
        }  # fmt: skip

    def openai(self, name):
        batch = self.batches[name]
        found = {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "input_file_id": "file-0", "status": "in_progress", "metadata": batch["metadata"],
            "created_at": int(batch["made"].timestamp()),
        }  # fmt: skip
        if batch["failed"]:
            errors = {"object": "list", "data": [{"code": "limit", "message": batch["failed"]}]}
            return found | {"status": "failed", "errors": errors}
        if batch["ended"]:
            good, bad = [], []
            for row in reversed(batch["rows"]):  # in another order than they came
                self.written(row, good, bad)
            for end, rows in (("out", good), ("err", bad)):
                self.files[f"{name}-{end}"] = self.dumps(rows)
            found |= {"status": "completed", "output_file_id": f"{name}-out", "error_file_id": f"{name}-err"}
        return found

    def written(self, row, good, bad):
        fate, body = self.fate(row["custom_id"], row["body"]), row["body"]
        entry = {"id": "r", "custom_id": row["custom_id"], "response": None, "error": None}
        if fate == "ok":
            choices = [
                {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": f"tree {i}"}}
                for i in range(body.get("n", 1))
            ]
            usage = {"prompt_tokens": 10, "completion_tokens": 5 * len(choices), "total_tokens": 15}
            reply = {"model": f"served-{body['model']}", "choices": choices, "usage": usage}
            good.append(entry | {"response": {"status_code": 200, "body": reply}})
        elif fate == "expired":
            bad.append(entry | {"error": {"code": "batch_expired", "message": "not in time"}})
        elif fate != "lost":
            code = "content_filter" if fate == "filtered" else "server_error"
            reply = {"error": {"code": code, "message": "a planned fault"}}
            bad.append(entry | {"response": {"status_code": 400, "body": reply}})

    def anthropic(self, name):
        batch = self.batches[name]
        counts = {"processing": 0 if batch["ended"] else len(batch["rows"])}
        counts["succeeded"] = len(batch["rows"]) - counts["processing"]
        url = f"{self.url}/v1/messages/batches/{name}/results"
        return {
            "id": name, "type": "message_batch", "request_counts": counts,
            "processing_status": "ended" if batch["ended"] else "in_progress",
            "created_at": batch["made"].isoformat().replace("+00:00", "Z"),
            "results_url": url if batch["ended"] else None,
        }  # fmt: skip

    def told(self, row):
        fate = self.fate(row["custom_id"], row["body"])
        result = {"type": "expired"}
        if fate == "ok":
            content = [{"type": "text", "text": "tree 0"}]
            usage = {"input_tokens": 10, "output_tokens": 5}
            message = {"model": "served", "content": content, "stop_reason": "end_turn", "usage": usage}
            result = {"type": "succeeded", "message": message}
        elif fate in ("error", "filtered"):
            error = {"type": "content_filter" if fate == "filtered" else "api_error", "message": "a planned fault"}
            result = {"type": "errored", "error": {"type": "error", "error": error}}
        return None if fate == "lost" else {"custom_id": row["custom_id"], "result": result}


@contextmanager
def serving_batches():
    """Start a server on a free port of the loopback; it is gone when the block ends."""
    server, started, loop = BatchServer(), threading.Event(), asyncio.new_event_loop()

    async def start():
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
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

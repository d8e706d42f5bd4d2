"""Enough of W&B's server for an online run: on 127.0.0.1, in this process, in forty lines."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = {
    "id": "1",
    "entity": "me",
    "username": "me",
    "name": "me",
    "email": "me@example.org",
    "flags": "{}",
    "teams": {"edges": []},
}
PROJECT = {"id": "3", "name": "vae", "entity": {"id": "4", "name": "me"}}
BUCKET = {
    "id": "2",
    "name": "run",
    "displayName": "run",
    "config": "{}",
    "project": PROJECT,
    "historyLineCount": 0,
}
ANSWERS: dict[str, Any] = {
    "Viewer": {"viewer": USER},
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "UpsertBucket": {"upsertBucket": {"bucket": BUCKET, "inserted": True}},
    "NotifyScriptableRunAlert": {"notifyScriptableRunAlert": {"success": True}},
    "CreateRunFiles": {"createRunFiles": {"runID": "2", "uploadHeaders": [], "files": []}},
    "UpsertView2": {"upsertView": {"view": {"id": "5", "name": "nw-abc-v"}, "inserted": True}},
}


class WandbServer:
    """What was asked, and with which status the next alerts, or all calls, are refused.

    Attributes:
        address: for ``base_url``.
        calls: (operation, variables) of each GraphQL call that was answered.
        lines: the history rows that arrived.
        refuse: gives an operation's HTTP status.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.refuse: Callable[[str], int] = lambda operation: 200

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that arrived."""
        return [values for name, values in self.calls if name == "NotifyScriptableRunAlert"]

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a POST."""
        asked = json.loads(body or b"{}")
        if not path.endswith("/graphql"):
            operation, data = "file_stream", {"exitcode": None, "limits": {}}
        else:
            operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])[1]
            data = {"data": ANSWERS.get(operation, {})}
        status = self.refuse(operation)
        if status != 200:
            self.refused.append(operation)
            return status, {"errors": [{"message": f"refused with {status}"}]}
        if operation == "file_stream":
            history = asked.get("files", {}).get("wandb-history.jsonl", {"content": []})
            self.lines += [json.loads(line) for line in history["content"]]
        else:
            self.calls.append((operation, asked.get("variables") or {}))
        return 200, data


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server on a free port of this machine, for as long as the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            status, data = server.answer(self.path, self.rfile.read(size))
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_POST

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = WandbServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()

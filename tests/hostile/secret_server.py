"""A web server on this machine that lets in only who knows a password and a signature, and fails in many ways."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

USER, PASSWORD, SIGNATURE, KEY = "alice", "hunter2+zq/w", "sig-0123456789abcdef+x", "sk-secret-key-42"
SECRETS = (PASSWORD, "hunter2", SIGNATURE, "0123456789abcdef", KEY, "sk-secret", "aws-secret-value", "hf_secretvalue")

WIDTH = 8


class _Handler(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected or parse_qs(url.query).get("sig") != [SIGNATURE]:
            self.answer(403, f"who are you, with {self.path} and {self.headers.get('Authorization')}?".encode())
        elif url.path.startswith("/redirect/"):
            self.answer(302, b"", {"Location": f"/nowhere{url.path}?{url.query}"})
        elif url.path.startswith("/fails/"):
            self.answer(500, f"failed on {self.path}".encode())
        elif url.path.startswith("/closes/"):
            self.answer(200, b"x", {"Content-Length": "1000"})
        else:
            path = self.folder / url.path.lstrip("/")
            if path.is_file():
                self.answer(200, path.read_bytes())
            else:
                self.answer(404, f"nothing at {self.path}".encode())

    do_HEAD = do_GET

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query = parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != f"Bearer {KEY}" or query.get("sig") != [SIGNATURE]:
            self.answer(401, f"who are you, with {self.path} and {self.headers.get('Authorization')}?".encode())
            return
        rows = [
            {"index": place, "embedding": np.random.default_rng(list(text.encode())).normal(size=WIDTH).tolist()}
            for place, text in enumerate(request["input"])
        ]
        self.answer(200, json.dumps({"data": rows}).encode())

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "ETag": '"1"', **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder; gives host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"folder": folder}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

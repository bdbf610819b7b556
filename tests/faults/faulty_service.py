"""A real embeddings service that can be told to go wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import xxhash

WIDTH = 16


def vector(text: str) -> list[float]:
    """Any function of the text alone: how often it has words that begin alike."""
    counts = [0.0] * WIDTH
    for word in text.split():
        counts[xxhash.xxh3_64_intdigest(word[:3].encode()) % WIDTH] += 1.0
    return counts


def rows_of(texts: list[str]) -> list[dict[str, Any]]:
    """What a service that is well answers."""
    return [{"index": place, "embedding": vector(text)} for place, text in enumerate(texts)]


# Given the handler and the texts: answers instead of the service.
Fault = Callable[[Any, list[str]], None]


def answers(change: Callable[[list[dict[str, Any]]], object]) -> Fault:
    """Another answer than the right one."""
    return lambda handler, texts: handler.answer(200, json.dumps({"data": change(rows_of(texts))}).encode())


def says(status: int, body: bytes, **headers: str) -> Fault:
    """This, whatever was asked."""
    return lambda handler, _: handler.answer(status, body, **headers)


def half(handler: Any, texts: list[str]) -> None:
    """Break off in the middle of the body."""
    body = json.dumps({"data": rows_of(texts)}).encode()
    handler.head(200, len(body))
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler: Any, _: list[str]) -> None:
    """Never answer; the service's end is not waited for."""
    handler.server.faulty.gone.wait(60)


def slow(handler: Any, _: list[str]) -> None:
    """A byte of the body now and then."""
    handler.head(200, 1000)
    for _ in range(1000):
        if handler.server.faulty.gone.wait(0.05):
            return
        handler.wfile.write(b" ")
        handler.wfile.flush()


class FaultyService:
    """A server with an address that stays the same; ``fault`` decides for each request, by its number, what goes wrong.

    Attributes:
        url: its address.
        asked: how many requests there were.
        back: set when it was away and is there again.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.asked = 0
        self.gone, self.back = threading.Event(), threading.Event()
        self.fault: Callable[[int], Fault | None] = lambda _: None
        self._server: ThreadingHTTPServer | None = None
        self.begin()

    def begin(self) -> None:
        """Be there."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
                service.asked += 1
                fault = service.fault(service.asked)
                try:
                    if fault is None:
                        self.answer(200, json.dumps({"data": rows_of(texts)}).encode())
                    else:
                        fault(self, texts)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client gave up waiting

            def head(self, status: int, length: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.head(status, len(body), **headers)
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            faulty = self

        self.gone.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        serve = {"target": self._server.serve_forever, "kwargs": {"poll_interval": 0.01}, "daemon": True}
        threading.Thread(**serve).start()  # type: ignore[arg-type]

    def end(self) -> None:
        """Not be there: connections are refused."""
        if self._server is not None:
            self.gone.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def wrong(self, fault: Callable[[int], Fault | None]) -> Iterator[None]:
        """Within it, this goes wrong; requests are counted from 1."""
        self.asked, self.fault = 0, fault
        try:
            yield
        finally:
            self.fault = lambda _: None

    def end_after(self, requests: int, seconds: float) -> Callable[[int], Fault | None]:
        """Go away at that request, and come back after some seconds."""

        def away() -> None:
            self.end()
            time.sleep(seconds)
            self.begin()
            self.back.set()

        def go(handler: Any, _: list[str]) -> None:
            handler.connection.shutdown(socket.SHUT_RDWR)
            self.back.clear()
            threading.Thread(target=away, daemon=True).start()

        return lambda number: go if number == requests else None

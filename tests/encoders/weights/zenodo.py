"""A server on this machine that plays Zenodo, with all that Zenodo has been seen to do."""

from __future__ import annotations

import hashlib
import http.server
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from earmark.encoders.weights.resumable_download import RetryPolicy, Source

CONTENT = random.Random(3).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><head><title>Zenodo is down</title></head></html>"


def source_at(port: int) -> Source:
    """The small file that stands for the weights."""
    return Source(f"http://127.0.0.1:{port}/cnn14.pth?download=1", len(CONTENT), SHA256, "cnn14.pth")


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def impatient(**values: Any) -> RetryPolicy:
    """No pauses, short silences."""
    return RetryPolicy(
        **{"silence_seconds": 20.0, "first_pause_seconds": 0.0, "sleep": lambda s: None, **values}
    )


@dataclass
class Zenodo:
    """What the server does to the next requests, and what it was asked.

    ``script`` holds one behaviour for each request to come; afterwards the file is served properly.
    """

    script: list[Callable[[Handler], None]]
    ranges: list[str | None]
    release: threading.Event
    source: Source

    @property
    def request_count(self) -> int:
        """Requests so far."""
        return len(self.ranges)


class Server(http.server.ThreadingHTTPServer):
    """Threads that outlive nothing."""

    daemon_threads = True
    zenodo: Zenodo

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.zenodo = Zenodo([], [], threading.Event(), source_at(self.server_port))
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        zenodo = self.server.zenodo
        zenodo.ranges.append(self.headers["Range"])
        (zenodo.script.pop(0) if zenodo.script else proper)(self)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def answer(self, status: int, body: bytes, **headers: object) -> None:
        """Send a whole answer; ``Content_Length=None`` leaves the length out."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    @property
    def first(self) -> int:
        """Where the range that is asked for begins."""
        return int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def begin(self, total: int = len(CONTENT)) -> None:
        """Send the headers that fit the request."""
        if self.headers["Range"] is None:
            self.answer(200, b"", Content_Length=total)
        else:
            span = f"bytes {self.first}-{total - 1}/{total}"
            self.answer(206, b"", Content_Length=total - self.first, Content_Range=span)


def proper(handler: Handler) -> None:
    """Serve what was asked for."""
    handler.begin()
    handler.wfile.write(CONTENT[handler.first :])


def truncated(length: int) -> Callable[[Handler], None]:
    """Promise everything, send ``length`` bytes, hang up."""

    def behave(handler: Handler) -> None:
        handler.begin()
        handler.wfile.write(CONTENT[handler.first :][:length])

    return behave


def stalled(length: int) -> Callable[[Handler], None]:
    """Send ``length`` bytes, then nothing until ``release``, then the rest."""

    def behave(handler: Handler) -> None:
        handler.begin()
        rest = CONTENT[handler.first :]
        handler.wfile.write(rest[:length])
        handler.wfile.flush()
        handler.server.zenodo.release.wait(60)
        handler.wfile.write(rest[length:])

    return behave


def trickling(length: int, seconds: float) -> Callable[[Handler], None]:
    """Send ``length`` bytes, then one at a time with a pause behind each, until the client has enough."""

    def behave(handler: Handler) -> None:
        truncated(length)(handler)
        for number in range(length, len(CONTENT) - handler.first):
            handler.wfile.write(CONTENT[handler.first + number :][:1])
            time.sleep(seconds)

    return behave


def reset(length: int) -> Callable[[Handler], None]:
    """Send ``length`` bytes, then break the connection."""

    def behave(handler: Handler) -> None:
        truncated(length)(handler)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return behave


def answering(status: int, body: bytes = b"", **headers: object) -> Callable[[Handler], None]:
    """Give one fixed answer."""
    return lambda handler: handler.answer(status, body, **headers)

"""Local HTTP server with scripted responses, and the sound that it serves."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.audio.source import LabelStudioAccess, LocatedSound
from earmark.settings import Settings

TOKEN = "Token 0123456789abcdef"
SOUND = b"RIFF" + bytes(range(256)) * 300

Answer = Callable[["Handler"], None]


class Server(http.server.ThreadingHTTPServer):
    """A web server on a free port whose paths the test decides; it remembers every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str | None]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def tokens(self) -> list[str | None]:
        return [token for _, token in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        self.server.answers.get(self.path, status(404))(self)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def give(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def status(code: int, body: bytes = b"") -> Answer:
    return lambda handler: handler.give(code, body)


def sound(content: bytes = SOUND) -> Answer:
    return lambda handler: handler.give(200, content, Content_Type="audio/wav")


def with_token(answer: Answer) -> Answer:
    return lambda handler: (
        answer(handler) if handler.headers.get("Authorization") == TOKEN else handler.give(401)
    )


def redirect(to: str) -> Answer:
    return lambda handler: handler.give(302, Location=to)


def truncated(handler: Handler) -> None:
    handler.give(200, SOUND[:1000], Content_Length=str(len(SOUND)))


class Trickle:
    """Answers that never end: a byte now and then, in the headers, between chunks, or in the body."""

    PAUSE_SECONDS = 0.01

    def __init__(self) -> None:
        self.enough = threading.Event()

    def headers(self, handler: Handler) -> None:
        self._drip(handler, b"HTTP/1.1 200 OK\r\nX-Long: ")

    def chunks(self, handler: Handler) -> None:
        self._drip(handler, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")

    def body(self, handler: Handler) -> None:
        self._drip(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")

    def endless(self, handler: Handler) -> None:
        self._drip(handler, b"HTTP/1.0 200 OK\r\n\r\n")

    def then(self, answer: Answer) -> Answer:
        """Silence until there is enough of it, then another answer."""

        def wait(handler: Handler) -> None:
            assert self.enough.wait(60)
            answer(handler)

        return wait

    def _drip(self, handler: Handler, beginning: bytes) -> None:
        with contextlib.suppress(OSError):  # the client has cut the connection
            handler.wfile.write(beginning)
            while not self.enough.wait(self.PAUSE_SECONDS):
                handler.wfile.write(b"x")


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)
    return lambda handler: left.pop(0)(handler)


def access_to(server: Server, token: str = TOKEN) -> LabelStudioAccess:
    return LabelStudioAccess(server.url, lambda: {"Authorization": token})


def settings_in(folder: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder / "data", download_timeout_seconds=5, **values)


def assert_is_sound(located: LocatedSound, content: bytes = SOUND) -> None:
    assert located.digest == hashlib.sha256(content).hexdigest()
    assert located.path.read_bytes() == content


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def trickle() -> Iterator[Trickle]:
    slow = Trickle()
    yield slow
    slow.enough.set()

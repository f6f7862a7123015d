"""Requests that never end are given up; those that take their time are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from earmark.api.app import create_app
from earmark.api.http_protocol import TimedProtocol
from earmark.settings import Settings
from tests.running import free_port
from tests.waiting import until

SECONDS = 0.3
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class HastyProtocol(TimedProtocol):
    header_seconds = SECONDS


@pytest.fixture
def port(settings: Settings) -> Iterator[int]:
    hasty = settings.model_copy(update={"request_timeout_seconds": SECONDS})
    port = free_port()
    config = uvicorn.Config(create_app(hasty), port=port, http=HastyProtocol, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the server runs")
    yield port
    server.should_exit = True
    thread.join()


def answer_to(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All bytes that a server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return received


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_half_sent_headers_are_given_up(port: int, begun: bytes) -> None:
    assert answer_to(port, begun) == b""


def test_half_sent_headers_after_a_whole_request_are_given_up(port: int) -> None:
    assert answer_to(port, WHOLE, b"GET / HTTP/1.1\r\nX: ", pause=0.1).count(b"HTTP/1.1 200") == 1


@pytest.mark.slow
@pytest.mark.parametrize("path", [b"/webhook", b"/predict", b"/setup"])
def test_half_sent_bodies_are_given_up(port: int, path: bytes) -> None:
    headers = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    answer = answer_to(port, b"POST " + path + b" HTTP/1.1\r\n" + headers, b'{"action"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


def test_headers_in_pieces_are_read(port: int) -> None:
    close = WHOLE.replace(b"Host", b"Connection: close\r\nHost")
    pieces = [close[start : start + 20] for start in range(0, len(close), 20)]
    assert answer_to(port, *pieces, pause=SECONDS / 20).startswith(b"HTTP/1.1 200")

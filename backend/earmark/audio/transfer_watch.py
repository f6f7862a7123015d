"""Watchdog of an HTTP transfer: it cuts the connection of a server that sends below a least rate.

Timeouts of a socket limit the silence between two packets. A server that sends a byte a second is never
silent, be it in its headers, between the chunks of its body or in the body itself, so the rate is looked
at from outside, whatever the HTTP client is waiting for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class TransferWatch:
    """Counts the bytes of one transfer in stretches of ``window_seconds``; a context manager.

    Parameters
    ----------
    window_seconds
        Length of a stretch; connecting and the headers belong to the first one.
    least_bytes_per_second
        A transfer that brings less than this, averaged over any stretch, is cut off.
    """

    def __init__(self, window_seconds: float, least_bytes_per_second: float) -> None:
        self._window = window_seconds
        self._least_bytes = window_seconds * least_bytes_per_second
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._socket: socket.socket | None = None
        self._ended = False
        self._counted = 0
        self.received = 0
        """Bytes of content so far; the reader of the answer adds to it."""
        self.too_slow = False
        """Whether the transfer was cut off."""

    def __enter__(self) -> Self:
        self._start_timer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Callback for httpx's ``trace`` extension: remember the socket of each new connection."""
        if not event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.too_slow:
                self._cut()

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._window, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if self._ended:
                return
            if self.received - self._counted >= self._least_bytes:
                self._counted = self.received
                self._start_timer()
                return
            self.too_slow = True
            self._cut()

    def _cut(self) -> None:
        """Have every read of the connection end at once, in whichever thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # An SSL socket's own method waits for nothing, but forgets that it was encrypted.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

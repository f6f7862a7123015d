"""Watchdog of an HTTP transfer: shuts down the connection of a server that sends below a minimum rate.

Socket timeouts limit the pause between two packets. A server that sends a byte a second never reaches
them, be it in its headers, between the chunks of its body or in the body itself, so a timer thread checks
the rate, whatever the HTTP client is waiting for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class TransferWatch:
    """Watchdog of one transfer, which checks its rate every ``window_seconds``; a context manager.

    Parameters
    ----------
    window_seconds
        Length of a window; connecting and the headers belong to the first one.
    least_bytes_per_second
        A transfer with a lower mean rate in any window is shut down.
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
        """Bytes of content so far; updated by the reader of the response."""
        self.too_slow = False
        """Whether the transfer was shut down."""

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
        """Callback for httpx's ``trace`` extension: store the socket of each new connection."""
        if not event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.too_slow:
                self._shut_down()

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._window, self._check_rate)
        self._timer.daemon = True
        self._timer.start()

    def _check_rate(self) -> None:
        with self._lock:
            if self._ended:
                return
            if self.received - self._counted >= self._least_bytes:
                self._counted = self.received
                self._start_timer()
                return
            self.too_slow = True
            self._shut_down()

    def _shut_down(self) -> None:
        """Shut the socket down, which ends every read of it at once, in any thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the connection has ended
                # Not SSLSocket.shutdown, which also discards the encryption state.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

"""HTTP server protocol with a time limit for the headers of a request, and the command that serves with it.

uvicorn limits the pause between two requests of a connection, but not a request that never ends: without a
limit each half-sent one would hold a connection, of which a process has about a thousand.
"""

from __future__ import annotations

import asyncio
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from earmark.api.app import create_app
from earmark.processes.ports import listening_socket
from earmark.settings import Settings
from earmark.web.changes import ChangeStreams


def serve(settings: Settings) -> None:
    """Serve the API until the process is stopped."""
    seconds = settings.request_timeout_seconds

    class Protocol(TimedProtocol):
        header_seconds = seconds

    with listening_socket(settings.bind, settings.port) as listening:
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # TRUSTED_PROXIES are the application's
        )
        Server(config, app.state.streams).run(sockets=[listening])


class Server(uvicorn.Server):
    """Uvicorn's server. On a signal to stop it waits for all requests, and a page's stream has no end."""

    def __init__(self, config: uvicorn.Config, streams: ChangeStreams) -> None:
        super().__init__(config)
        self._streams = streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End all streams, then stop as uvicorn does."""
        self._streams.close()
        super().handle_exit(sig, frame)


class TimedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's headers are not complete within ``header_seconds``."""

    header_seconds = 30.0
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the limit of the first request."""
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the limit."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the limit of a further request with its first bytes."""
        if self._header_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_header_timer()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """End the limit: from here on the application waits for the body."""
        self._stop_header_timer()
        super().on_headers_complete()

    def _start_header_timer(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # an earlier request is being answered, which the next bytes follow
        if not self.transport.is_closing():
            self.transport.abort()

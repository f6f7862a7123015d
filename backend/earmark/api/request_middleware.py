"""Request middleware: counts and times each request, and sets a request id in its log lines and response."""

from __future__ import annotations

import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from earmark.monitoring.prometheus import ApiMetrics

REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestMetrics:
    """ASGI middleware; plain, because the stream wrappers of ``BaseHTTPMiddleware`` cost more than this."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. The caller's own request id is used where it is safe to log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = sent_id if _USABLE_ID.fullmatch(sent_id) else secrets.token_hex(8)
        status, started = 500, time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            with bound_contextvars(request_id=request_id):
                await self._app(scope, receive, observed)
        finally:
            # The route's pattern, never the raw path: each path that a stranger tries would be a time series.
            endpoint = getattr(scope.get("route"), "path", "other")
            self._metrics.latency.labels(endpoint).observe(time.perf_counter() - started)
            self._metrics.requests.labels(endpoint, str(status)).inc()

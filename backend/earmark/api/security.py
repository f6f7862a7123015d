"""Middleware that runs before a request is read: host, credentials, limits of rate, size and time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import math
import time
from collections import OrderedDict, deque

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.api.host_check import HostCheck
from earmark.api.rate_limit import CLIENTS, TokenBuckets, client_name
from earmark.settings import Settings

log = structlog.get_logger(__name__)

OPEN_PATHS = frozenset({"/health"})
"""Always answered, without credentials: what a load balancer or a container engine polls."""
MEGABYTE = 1_000_000
BURST_SECONDS = 2.0
LEAST_BYTES_PER_SECOND = 10_000.0
"""Rate at which the body of a request must come after REQUEST_TIMEOUT_SECONDS."""
GUESSES_AT_ONCE = 10
REMEMBERED_GUESSES = 4
WARN_EVERY_SECONDS = 10.0


class Credentials:
    """The accepted user with password, and the accepted token; where neither is set, all requests are.

    Only SHA-256 digests are held, and compared in constant time.
    """

    def __init__(self, settings: Settings) -> None:
        password, token = settings.api_password, settings.api_token
        self._basic = _digest(f"{settings.api_user}:{password.get_secret_value()}") if password else None
        self._bearer = _digest(token.get_secret_value()) if token else None

    @property
    def needed(self) -> bool:
        """Whether requests must carry credentials."""
        return self._basic is not None or self._bearer is not None

    def accept(self, authorization: str) -> bool:
        """Whether the credentials in an Authorization header are correct."""
        scheme, _, value = authorization.partition(" ")
        value = value.strip()
        if scheme.lower() == "basic":
            try:
                sent = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                return False
            return self._basic is not None and hmac.compare_digest(_digest(sent), self._basic)
        if scheme.lower() == "bearer":
            return self._bearer is not None and hmac.compare_digest(_digest(value), self._bearer)
        return False


class FailedLoginLimit:
    """Rate limit of wrong credentials for each client. A repeated one is a wrong setting, not another guess.

    Beyond ``per_second``, wrong credentials get 429 instead of 401. Correct ones are accepted all the same,
    so guessing is limited by MAX_REQUESTS_PER_SECOND and the length of the password.
    """

    def __init__(self, per_second: float) -> None:
        self._buckets = TokenBuckets(per_second, GUESSES_AT_ONCE)
        self._seen: OrderedDict[str, deque[bytes]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Return the seconds until the client may try again; 0.0 where it is below the limit."""
        return self._buckets.wait(client) if client in self._seen else 0.0

    def count(self, client: str, authorization: str) -> None:
        """Count a wrong credential, unless the client sent the same one lately."""
        digest = _digest(authorization)
        seen = self._seen.setdefault(client, deque(maxlen=REMEMBERED_GUESSES))
        self._seen.move_to_end(client)
        if digest not in seen:
            seen.append(digest)
            self._buckets.take(client)
        if len(self._seen) > CLIENTS:
            self._seen.popitem(last=False)


class Guard:
    """ASGI middleware that refuses foreign hosts (400), missing credentials (401), too many requests (429),
    large bodies (413) and those that stop coming (408).

    A Content-Length header is checked before the body is read; without one, the bytes are counted.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = HostCheck(settings)
        self._seconds = settings.request_timeout_seconds
        self._credentials = Credentials(settings)
        rate = settings.max_requests_per_second
        self._requests = TokenBuckets(rate, rate * BURST_SECONDS)
        self._guesses = FailedLoginLimit(settings.max_failed_logins_per_second)
        self._megabytes = settings.max_request_megabytes
        self._largest = self._megabytes * MEGABYTE
        self._warned_at = -WARN_EVERY_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, is_complete, started = 0, False, time.monotonic()

        async def counted() -> Message:
            nonlocal received, is_complete
            if is_complete:  # what comes is the end of the connection, perhaps after minutes
                return await receive()
            limit = self._seconds + received / LEAST_BYTES_PER_SECOND
            message = await self._before(started + limit, receive)
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > self._largest:
                raise HTTPException(413, self._too_large)  # propagates through the code that reads the body
            return message

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, counted, send)

    async def _before(self, deadline: float, receive: Receive) -> Message:
        """Receive the next part of a body, up to a time of the monotonic clock; 408 when it does not come."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await receive()
        except TimeoutError:
            detail = "The rest of the request did not come in time: send it again, or see what lies between."
            raise HTTPException(408, detail, {"Connection": "close"}) from None

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if scope["path"] in OPEN_PATHS:
            return None
        client = client_name(scope["client"][0]) if scope.get("client") else ""
        headers = Headers(scope=scope)
        if foreign := self._hosts.refusal(headers):
            return foreign
        authorization = headers.get("authorization", "")
        # Checked first, with a separate bucket: strangers may share the address, for example behind a reverse
        # proxy, and Label Studio sends each webhook only once.
        accepted = not self._credentials.needed or self._credentials.accept(authorization)
        if wait := self._requests.take(f"{client} accepted" if accepted else client):
            return _too_many("More requests a second than MAX_REQUESTS_PER_SECOND allows", wait)
        if accepted:
            return self._oversize(headers)
        if authorization:
            if wait := self._guesses.wait(client):
                return _too_many("Too many different wrong passwords or tokens", wait)
            self._guesses.count(client, authorization)
        self._warn(scope["path"], client, "wrong" if authorization else "no")
        return _unauthorized("wrong ones" if authorization else "none")

    def _oversize(self, headers: Headers) -> JSONResponse | None:
        length = headers.get("content-length", "")
        larger = length.isdecimal() and int(length) > self._largest
        return JSONResponse({"detail": self._too_large}, 413) if larger else None

    @property
    def _too_large(self) -> str:
        limit = f"{self._megabytes} MB"
        return f"The request is larger than {limit}: send less at a time, or raise MAX_REQUEST_MEGABYTES."

    def _warn(self, path: str, client: str, what: str) -> None:
        if time.monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            hint = "'earmark connect PROJECT' gives Label Studio's webhooks theirs"
            log.warning("request refused", path=path[:64], client=client, credentials=what, help=hint)


def _unauthorized(sent: str) -> JSONResponse:
    answer = JSONResponse(
        {
            "detail": "Sign in with API_USER and API_PASSWORD (basic authentication) or with API_TOKEN "
            f"(bearer), as they are set where Earmark runs: {sent} came with the request.",
            "reason": "unauthorized",
        },
        401,
    )
    # Both challenges (RFC 9110, 11.6.1); the first makes a browser ask for the password.
    answer.headers["WWW-Authenticate"] = 'Basic realm="Earmark", charset="UTF-8"'
    answer.headers.append("WWW-Authenticate", 'Bearer realm="Earmark"')
    return answer


def _too_many(what: str, wait: float) -> JSONResponse:
    seconds = max(1, math.ceil(wait))
    detail = f"{what}: try again in {seconds} s."
    return JSONResponse({"detail": detail, "reason": "rate"}, 429, {"Retry-After": str(seconds)})


def _digest(value: str | bytes) -> bytes:
    content = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return hashlib.sha256(content).digest()

"""JSON from outside, read so that every value in it can be stored by any database.

RFC 8259 leaves open what Python's reader lets through: NaN and infinities, lone surrogates, NUL.
PostgreSQL refuses some of these, UTF-8 others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

_SUSPICIOUS = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)|[eE]\+?[0-9]{3}|[0-9]{309}")
"""Whatever could become a lone surrogate, NUL or an infinity; other bodies are stored as they are."""
_UNSTORABLE = re.compile("[\ud800-\udfff\0]")
DEEPEST = 100
"""Levels of nesting; Python's own limit depends on who reads it back."""


def read_json(body: bytes) -> Any:
    """Parse a body; numbers that are none become None, characters that are none U+FFFD.

    Raises
    ------
    json.JSONDecodeError
        It is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        value = json.loads(body, parse_constant=lambda _name: None)
        if body.count(b"[") + body.count(b"{") > DEEPEST and _deeper(value, DEEPEST):
            raise RecursionError
        return _storable(value) if _SUSPICIOUS.search(body) else value
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # bytes that are not UTF-8, an integer of thousands of digits
        raise json.JSONDecodeError(str(error), "", 0) from None


def _deeper(value: Any, levels: int) -> bool:
    nested = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inside = (item.values() if isinstance(item, dict) else item for item in nested)
        nested = [part for parts in inside for part in parts if isinstance(part, dict | list)]
    return bool(nested)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


class _JsonRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


class JsonRoute(APIRoute):
    """A route whose body is read by ``read_json``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's own handler."""
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read

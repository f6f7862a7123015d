"""JSON request bodies, sanitized so that any database can store every value.

Python's parser accepts NaN and infinities, which RFC 8259 has not, and lone surrogates and NUL, which it
allows. PostgreSQL refuses some of these, UTF-8 others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

_SUSPICIOUS = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)|[\ud800-\udfff]|[eE]\+?[0-9]{3}|[0-9]{309}")
"""Matches what could become a lone surrogate, NUL or an infinity; other bodies are stored unchanged."""
_UNSTORABLE = re.compile("[\ud800-\udfff\0]")
DEEPEST = 100
"""Levels of nesting; Python's own limit depends on the stack of the code that reads the value back."""


def read_json(body: bytes) -> Any:
    """Parse a body; numbers that are not finite become None, invalid characters U+FFFD.

    Raises
    ------
    json.JSONDecodeError
        The body is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        value = json.loads(text, parse_constant=lambda _name: None)
        if body.count(b"[") + body.count(b"{") > DEEPEST and _deeper(value, DEEPEST):
            raise RecursionError
        return _storable(value) if _SUSPICIOUS.search(text) else value
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # bytes that are not UTF-8, an integer of thousands of digits
        raise json.JSONDecodeError(str(error), "", 0) from None


def _deeper(value: Any, levels: int) -> bool:
    nested = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        children = (item.values() if isinstance(item, dict) else item for item in nested)
        nested = [part for parts in children for part in parts if isinstance(part, dict | list)]
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
    """Route class that parses the request body with ``read_json``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, wrapped so that it gets the parsed body."""
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read

"""JSON without NaN and infinity, which RFC 8259 does not define and most parsers refuse."""

from __future__ import annotations

import json
import math
from typing import Any


def is_finite(value: object) -> bool:
    """Whether a value of JSON types holds no NaN or infinity."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def dumps(value: Any, *, ensure_ascii: bool = True) -> str:
    """Serialise a value of JSON types; numbers that are not finite become null."""
    try:  # the encoder looks at numbers anyway; to look for them before takes longer than to encode
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_with_nulls(value), ensure_ascii=ensure_ascii, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Parse JSON; ``NaN`` and ``Infinity``, as Python writes them, become None."""
    return json.loads(text, parse_constant=lambda _word: None)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nulls(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

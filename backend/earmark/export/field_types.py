"""Types of task fields in tables whose columns have one type each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

FieldKind = Literal["int", "float", "bool", "text"]
_MOST_INT = 2**63 - 1


def field_kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, FieldKind]:
    """Return the type of each field that any row has: that of all its values, else text."""
    kinds: dict[str, FieldKind] = {}
    for row in rows:
        for name, value in row.items():
            if value is None:
                continue
            kind = _kind(value)
            before = kinds.setdefault(name, kind)
            if before != kind:
                kinds[name] = "float" if {before, kind} == {"int", "float"} else "text"
    return kinds


def field_value(value: Any, kind: FieldKind) -> Any:
    """Return a value as its column's type has it; what is neither text nor number as JSON, None as None."""
    if value is None or kind in ("int", "bool"):
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(value: object) -> FieldKind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and abs(value) <= _MOST_INT:
        return "int"
    return "float" if isinstance(value, float) and math.isfinite(value) else "text"

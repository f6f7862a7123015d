"""Values of a task's data: ``$name``, ``$a.b``, ``$a[0].url`` and text around them, as in the editor."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\$([\w\[\].{}]+)")
_STEP = re.compile(r"[^.\[\]]+")
UNDEFINED = "$undefined$"
"""Field of tasks that were made from uploaded files before the project had a label config."""


def expression(attribute: str) -> str:
    """Return the key of an attribute that is one variable, else the attribute as a template."""
    variable = _VARIABLE.fullmatch(attribute.strip())
    return variable[1] if variable else attribute.strip()


def resolve(data: object, key: str) -> object:
    """Return the value of an `expression` in a task's data; None where it has none."""
    if isinstance(data, Mapping) and key in data:
        return data[key]
    if "$" in key:
        texts = [_text(data, match[1]) for match in _VARIABLE.finditer(key)]
        if None in texts:
            return None
        values = iter(texts)
        return _VARIABLE.sub(lambda _: str(next(values)), key)
    if not isinstance(data, Mapping):
        return None
    value: object = data
    for step in _STEP.findall(key):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _text(data: object, key: str) -> str | None:
    """Return the text for a variable in a template: ``name.wav`` may be the field ``name`` and ``.wav``."""
    name, rest = key, ""
    while name:
        value = resolve(data, name)
        if isinstance(value, str | int | float):
            return f"{value}{rest}"
        name, dot, last = name.rpartition(".")
        rest = f"{dot}{last}{rest}"
    return None


def resolve_address(data: object, key: str) -> str:
    """Return the address of a sound; empty where there is none."""
    value = resolve(data, key)
    # Label Studio gives the first key of the label config to files that were uploaded before it
    if value is None and isinstance(data, Mapping):
        value = data.get(UNDEFINED)
    return value.strip() if isinstance(value, str) else ""

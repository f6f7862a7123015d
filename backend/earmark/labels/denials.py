"""Denied labels: "not X", which says that a label does not sound there, and nothing of others."""

from __future__ import annotations

from collections.abc import Collection

_PREFIX = "not "


def denial(label: str) -> str:
    """Return the text that denies a label."""
    return f"{_PREFIX}{label}"


def denied_label(text: str, labels: Collection[str]) -> str | None:
    """Return the label that a text denies; None where it is a label itself, or denies none of them."""
    if text in labels or text[: len(_PREFIX)].lower() != _PREFIX:
        return None
    label = text[len(_PREFIX) :].strip()
    return label if label in labels else None

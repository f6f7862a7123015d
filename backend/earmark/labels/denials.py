"""Denied labels: "not X", which says that a label does not sound there, and nothing of others."""

from __future__ import annotations

from collections.abc import Collection

_PREFIX = "not "


def denial(label: str) -> str:
    """Return the text that denies a label."""
    return f"{_PREFIX}{label}"


def may_deny(text: str) -> bool:
    """Whether a text denies a label, if there is a label of that name."""
    return text[: len(_PREFIX)].lower() == _PREFIX


def denied_label(text: str, labels: Collection[str]) -> str | None:
    """Return the label that a text denies; None where it is a label itself, or denies none of them."""
    if text in labels or not may_deny(text):
        return None
    label = text[len(_PREFIX) :].strip()
    return label if label in labels else None

"""Templates of all pages and reports: rendered with escaping, and the files that they link to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from earmark.storage.finite_json import dumps
from earmark.wording import counted

STATIC_FILES: Mapping[str, str] = {"earmark.css": "text/css", "earmark.js": "text/javascript"}
"""Files that pages link to, with their media types; ``npm run build`` in ``web/`` makes both."""


def render(template: str, **values: object) -> str:
    """Render a template; every value is escaped."""
    return _environment().get_template(template).render(values)


@cache
def static_text(name: str) -> str:
    """Return one of `STATIC_FILES` as text."""
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


@cache
def static_digest(name: str) -> str:
    """Return a digest of one of `STATIC_FILES`, which links carry, so that browsers may keep it for good."""
    return hashlib.sha256(static_text(name).encode()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ago=ago,
        at=at,
        clock=clock,
        count=counted,
        listed=listed,
        percent=percent,
        compact=lambda value: dumps(value, ensure_ascii=False),
    )
    environment.globals.update(static_text=static_text, static_digest=static_digest)
    return environment


def ago(seconds: float) -> str:
    """Format an age in seconds as "3 h ago", in the largest unit that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def at(timestamp: float) -> str:
    """Format seconds since the epoch as date and time in UTC."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%d %b %Y, %H:%M} UTC"


def clock(seconds: float) -> str:
    """Format a position in a sound: ``2.35 s``, from a minute on ``1:02.4``, from an hour on ``1:00:02``."""
    # Rounded before it is divided: 119.97 s are 2:00.0, not 1:60.0
    if round(seconds, 2) < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds, 1), 60)
    if minutes < 60:
        return f"{minutes:.0f}:{rest:04.1f}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def percent(share: float | None) -> str:
    """Format a share in [0, 1] as a percentage; a dash where it is not known."""
    return "–" if share is None else f"{100 * share:.0f} %"


def listed(names: Any) -> str:
    """Join names as in a sentence: ``a, b and c``."""
    *front, last = list(names) or [""]
    return f"{', '.join(front)} and {last}" if front else str(last)

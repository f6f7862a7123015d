"""Wording of messages: numbers with nouns, and the program's name as it can be typed."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

_COMMAND = re.compile(r"(^|')earmark (?=[a-z])")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun in singular or plural, such as ``1 file`` or ``2,000 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def first_named(names: Collection[object], most: int = 10) -> str:
    """Return the first names, and the number of the others, such as ``a, b and 3 more``."""
    shown = [str(name) for name in names][:most]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def program() -> str:
    """Return what to type to run this program: ``earmark`` if that is on PATH, else the path of its file."""
    own = Path(sys.executable).with_name("earmark")
    on_path = shutil.which("earmark")
    if not own.exists() or (on_path and Path(on_path).samefile(own)):
        return "earmark"
    shown = own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own
    return shlex.quote(str(shown))


def runnable(text: str) -> str:
    """Return a message in which commands can be typed as they stand.

    A command is quoted, such as ``'earmark up'``, or the message begins with it.
    """
    return _COMMAND.sub(lambda match: f"{match[1]}{program()} ", text)

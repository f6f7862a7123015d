"""What every benchmark does alike: progress on standard error, one JSON object as the last line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time

from earmark.settings import Settings

ACCOUNT = ("benchmark@example.com", "a-benchmark-password", "0123456789abcdef0123456789abcdef01234567")
"""User, password and legacy token of a Label Studio that is started for benchmarks and tests."""
_STARTED = time.monotonic()
_CHROMIUM_NAMES = (
    "chromium-headless-shell",  # the same engine without the parts of a window, which take time, too
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)


def progress(text: str) -> None:
    """Say on standard error what is being done, with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:6.1f} s  {text}", file=sys.stderr, flush=True)


def report(**figures: object) -> None:
    """Print the figures as one JSON object, the last line; numbers with six significant digits."""
    rounded = {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()
    }
    print(json.dumps(rounded), flush=True)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_chromium() -> str | None:
    """Return the program of Chromium, or of another browser like it; None where none is installed.

    CHROMIUM_EXECUTABLE chooses another one than the first that is found.
    """
    chosen = os.environ.get("CHROMIUM_EXECUTABLE")
    return chosen or next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)


def environment_with(ours: dict[str, str]) -> dict[str, str]:
    """This process's environment with these settings, and none of the machine's own."""
    named = {name.upper() for name in Settings.model_fields}
    return {**{name: value for name, value in os.environ.items() if name not in named}, **ours}

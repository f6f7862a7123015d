"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SECONDS = 120.0
POLL_SECONDS = 0.02


def until(condition: Callable[[], object], what: str, seconds: float = LONGEST_SECONDS) -> None:
    """Wait until something holds; after so many seconds the test has failed, and says what never came."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never came about: {what}"
        time.sleep(POLL_SECONDS)

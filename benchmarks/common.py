"""What every benchmark does alike: progress on standard error, one JSON object as the last line."""

from __future__ import annotations

import json
import sys
import time

_STARTED = time.monotonic()


def progress(text: str) -> None:
    """Say on standard error what is being done, with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:6.1f} s  {text}", file=sys.stderr, flush=True)


def report(**figures: object) -> None:
    """Print the figures as one JSON object, the last line; numbers with six significant digits."""
    rounded = {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()
    }
    print(json.dumps(rounded), flush=True)

"""Time limit of decoding one file, which grows with its bytes."""

from __future__ import annotations

import io
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from earmark.audio.faults import takes_too_long

SECONDS = 30.0
SECONDS_A_MEGABYTE = 40.0
"""Ten hours of silence in Opus are 5 MB, and take a slow machine more than a minute."""


class DecodeLimit:
    """Stopwatch of a decoder, which runs while the decoder works and not while its samples are used.

    A context manager around each step of decoding.

    Parameters
    ----------
    path
        The file; its size gives the limit.
    shown
        Its name in messages.
    """

    def __init__(self, path: Path, shown: str) -> None:
        self._limit = SECONDS + SECONDS_A_MEGABYTE * path.stat().st_size / 1e6
        self._shown = shown
        self._used = 0.0
        self._started: float | None = None

    def __enter__(self) -> Self:
        self._started = monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started is not None:
            self._used += monotonic() - self._started
            self._started = None

    def check(self) -> None:
        """Raise once the limit is exceeded.

        Raises
        ------
        SoundUnreadableError
            Decoding takes longer than any undamaged file of this size.
        """
        running = 0.0 if self._started is None else monotonic() - self._started
        if self._used + running > self._limit:
            raise takes_too_long(self._shown, self._limit)


class LimitedFile(io.FileIO):
    """File for reading, whose reads raise once the limit is exceeded, which ends a decoder in a loop."""

    def __init__(self, path: Path, limit: DecodeLimit) -> None:
        super().__init__(path, "rb")
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        self._limit.check()
        return super().read(size) or b""  # None only where a pipe has nothing yet

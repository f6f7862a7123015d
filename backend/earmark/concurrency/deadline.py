"""Deadline: the moment at which a piece of work must have ended, handed down to every step of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from earmark.errors import OutOfTimeError


class Deadline:
    """A moment on the monotonic clock. Immutable, so threads may share one.

    Parameters
    ----------
    seconds
        From now; None for work that has no limit.
    clock
        Seconds that never go back.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._ends_at = None if seconds is None else clock() + seconds

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._ends_at is not None

    def remaining(self) -> float | None:
        """Seconds that are left, 0.0 once it has passed; None without a limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining() == 0.0

    def check(self) -> None:
        """Refuse to go on once it has passed.

        Raises
        ------
        OutOfTimeError
            No time is left.
        """
        if self.passed():
            raise OutOfTimeError("The time of this request is used up: the task is predicted later.")


NO_DEADLINE = Deadline(None)
"""For background work."""

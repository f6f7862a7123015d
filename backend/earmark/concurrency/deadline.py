"""Deadline: the time by which a request must be done, passed down to each of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from earmark.errors import OutOfTimeError


class Deadline:
    """A time on the monotonic clock. Immutable, so threads may share one.

    Parameters
    ----------
    seconds
        From now; None for work that has no limit.
    clock
        Monotonic time in seconds.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._ends_at = None if seconds is None else clock() + seconds

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._ends_at is not None

    def remaining(self) -> float | None:
        """Return the seconds left, 0.0 once the deadline has passed; None without a limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining() == 0.0

    def check(self) -> None:
        """Raise once the deadline has passed.

        Raises
        ------
        OutOfTimeError
            No time is left.
        """
        if self.passed():
            raise OutOfTimeError("The time of this request is used up: the task is predicted later.")


NO_DEADLINE = Deadline(None)
"""For background work."""

"""Single flight of bulk predictions: a task that one request predicts is left out of another one's answer.

Label Studio asks for all tasks of a page of its list that have no prediction, once for each request that
lists them, and stores every answer. An item without ``result`` is not stored. A request for one task alone
is always answered, since the annotator who opened it would see nothing otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

REQUEST_SECONDS = 100.0
"""Label Studio gives a request up after this time."""


class SingleFlight:
    """Tasks that requests of this process predict at this moment. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, int], float] = {}

    def begin(self, key: str, tasks: Collection[int]) -> set[int]:
        """Enter tasks of a project.

        Returns
        -------
        Those that are in flight already, and stay with the request that has them.
        """
        now = time.monotonic()
        with self._lock:
            taken = {number for number in tasks if self._until.get((key, number), 0.0) > now}
            self._until.update(
                {(key, number): now + REQUEST_SECONDS for number in tasks if number not in taken}
            )
        return taken

    def end(self, key: str, tasks: Collection[int]) -> None:
        """Remove tasks that were entered."""
        with self._lock:
            for number in tasks:
                self._until.pop((key, number), None)

"""Single flight of bulk predictions: a task that one request predicts is left out of concurrent responses.

For each request that lists a page of tasks, Label Studio asks for all of them that have no prediction, and
stores every response. An item without ``result`` is not stored. A request for a single task is always
answered, since the annotator who opened it would see nothing otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

REQUEST_SECONDS = 100.0
"""Timeout of Label Studio's requests."""


class SingleFlight:
    """Set of tasks that requests of this process are predicting, with expiry. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, int], float] = {}

    def begin(self, key: str, tasks: Collection[int]) -> set[int]:
        """Add tasks of a project.

        Returns
        -------
        Those that were in flight already, and are left to the other request.
        """
        now = time.monotonic()
        with self._lock:
            taken = {number for number in tasks if self._until.get((key, number), 0.0) > now}
            self._until.update(
                {(key, number): now + REQUEST_SECONDS for number in tasks if number not in taken}
            )
        return taken

    def end(self, key: str, tasks: Collection[int]) -> None:
        """Remove tasks that were added."""
        with self._lock:
            for number in tasks:
                self._until.pop((key, number), None)

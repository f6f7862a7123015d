"""Training lease: one training of a project at a time across machines, by a lease in the project's row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from earmark.store.database import Database
from earmark.store.lease_renewal import heartbeat
from earmark.store.projects import acquire_lease, release_lease, remember_project, renew_lease

HEARTBEATS = 4
"""Renewals in the duration of a lease."""


class LeaseLostError(Exception):
    """Another process has held the lease since this process last renewed it."""


class Lease:
    """Exclusive lease on the training of a project.

    Clocks of machines that share a database may differ by a fraction of ``seconds``.

    Attributes
    ----------
    taken_over
        Whether the previous owner never released it: it was killed, or hangs.
    """

    def __init__(self, database: Database, key: str, seconds: float) -> None:
        self._database, self._key, self._seconds = database, key, seconds
        self._owner = uuid.uuid4().hex
        self.taken_over = False

    def acquire(self) -> bool:
        """Acquire the lease, if it is free or expired."""
        with self._database.write() as session:
            self.taken_over = remember_project(session, self._key).lease_owner is not None
            return acquire_lease(session, self._key, self._owner, self._seconds)

    def renew_or_raise(self, session: Session) -> None:
        """Renew the lease in the transaction that stores the work done under it.

        Raises
        ------
        LeaseLostError
            Another process has had it since; the transaction must store nothing.
        """
        if not renew_lease(session, self._key, self._owner, self._seconds):
            raise LeaseLostError(self._key)

    def release(self) -> None:
        """Release the lease; no effect when another process has it by now."""
        with self._database.write() as session:
            release_lease(session, self._key, self._owner)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Renew the lease, in a thread, while the block runs; `renew_or_raise` detects its loss."""
        with heartbeat(self._renew, self._seconds / HEARTBEATS):
            yield

    def _renew(self) -> bool:
        with self._database.write() as session:
            return renew_lease(session, self._key, self._owner, self._seconds)

"""One training of a project at a time, on however many machines: a lease in the project's row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from earmark.store.database import Database
from earmark.store.lease_renewal import heartbeat
from earmark.store.projects import acquire_lease, release_lease, remember_project, renew_lease

HEARTBEATS = 4
"""In the time that a lease lasts."""


class LeaseLostError(Exception):
    """Somebody else trains the project, or has done so, since this process last showed itself."""


class Lease:
    """The right to train a project; not more than one holds it.

    Clocks of machines that share a database may differ by a fraction of ``seconds``.

    Attributes
    ----------
    taken_over
        Whether the one before never gave it back: it was killed, or hangs.
    """

    def __init__(self, database: Database, key: str, seconds: float) -> None:
        self._database, self._key, self._seconds = database, key, seconds
        self._owner = uuid.uuid4().hex
        self.taken_over = False

    def acquire(self) -> bool:
        """Take the lease, if nobody has it."""
        with self._database.write() as session:
            self.taken_over = remember_project(session, self._key).lease_owner is not None
            return acquire_lease(session, self._key, self._owner, self._seconds)

    def renew_or_raise(self, session: Session) -> None:
        """Make sure, in the transaction that stores what was done under the lease, that it still holds.

        Raises
        ------
        LeaseLostError
            It does not; the transaction must store nothing.
        """
        if not renew_lease(session, self._key, self._owner, self._seconds):
            raise LeaseLostError(self._key)

    def release(self) -> None:
        """Give it back; nothing happens when somebody else has it by now."""
        with self._database.write() as session:
            release_lease(session, self._key, self._owner)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Prolong the lease, in a thread, while the block runs; who stores finds out if it is lost."""
        with heartbeat(self._prolong, self._seconds / HEARTBEATS):
            yield

    def _prolong(self) -> bool:
        with self._database.write() as session:
            return renew_lease(session, self._key, self._owner, self._seconds)

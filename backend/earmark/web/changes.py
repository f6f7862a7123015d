"""Server-sent events for open pages: a token of a project that differs after each change, like an ETag."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping

from anyio import to_thread
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from earmark.store.database import Database
from earmark.store.models import (
    Activation,
    Event,
    Preannotation,
    PreannotationChunk,
    Project,
    SoundFault,
    Training,
)

POLL_SECONDS = 0.5
ALIVE_SECONDS = 5.0
"""A page that receives nothing for longer than twice this says that the connection is lost."""
STREAM_SECONDS = 60.0
"""A stream ends after this time, and the browser opens the next one: none outlives a restart for long."""


def change_token(session: Session, key: str | None, faults: Mapping[str, str]) -> str:
    """Return a digest of what a project's page, or with None the overview, depends on; by indices alone.

    A page reads it before anything else that it shows: so what changes meanwhile makes another token.

    ``faults``: what is not ready in this backend, by part.
    """
    facts: list[object] = [sorted(faults.items())]
    events = select(func.max(Event.received_at)).where(Event.project_key == key)
    facts.append(session.scalar(events if key else select(func.max(Event.id))))
    for number in (Training.id, Activation.id, Preannotation.id):
        query = select(func.max(number))
        facts.append(session.scalar(query.where(number.class_.project_key == key) if key else query))
    runs = select(Preannotation.id)
    if key:
        runs = runs.where(Preannotation.project_key == key)
    chunks = select(func.max(PreannotationChunk.done_at)).where(PreannotationChunk.run_id.in_(runs))
    facts.append(session.scalar(chunks))
    sounds = select(func.max(SoundFault.seen_at))
    facts.append(session.scalar(sounds.where(SoundFault.project_key == key) if key else sounds))
    projects = select(
        Project.key,
        Project.lease_owner,
        Project.title,
        Project.label_config_at,
        Project.failures,
        Project.shown_version,
        Project.refreshed_version,
        Project.synced_at,
    )
    facts += session.execute(projects.where(Project.key == key) if key else projects).all()
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


class ChangeStreams:
    """Server-sent events: the change token of a project, whenever it changes and now and then besides.

    However many pages are open, each project is read once in `POLL_SECONDS`.

    Parameters
    ----------
    faults
        Returns what is not ready in this backend, by part.
    """

    def __init__(self, database: Database, faults: Callable[[], Mapping[str, str]]) -> None:
        self._database, self._faults = database, faults
        self._tokens: dict[str | None, tuple[float, str]] = {}
        self._reading = asyncio.Lock()
        self._closed = False

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._closed = True

    async def events(self, key: str | None, once: bool = False) -> AsyncIterator[str]:
        """Yield a stream of ``state`` events for one page.

        ``once``: one event, after which the browser asks again: where a stream would occupy a worker.
        """
        yield "retry: 1000\n\n"
        sent, sent_at, started = "", 0.0, time.monotonic()
        if once:
            yield f"event: state\ndata: {await self._token(key)}\n\n"
            return
        while not self._closed and time.monotonic() - started < STREAM_SECONDS:
            token = await self._token(key)
            if token and (token != sent or time.monotonic() - sent_at >= ALIVE_SECONDS):
                yield f"event: state\ndata: {token}\n\n"
                sent, sent_at = token, time.monotonic()
            await asyncio.sleep(POLL_SECONDS)

    async def _token(self, key: str | None) -> str:
        """Return the token, read at most `POLL_SECONDS` ago; empty while the database does not answer."""
        async with self._reading:
            read_at, token = self._tokens.get(key, (-POLL_SECONDS, ""))
            if time.monotonic() - read_at >= POLL_SECONDS:
                token = await to_thread.run_sync(self._read, key)
                self._tokens[key] = time.monotonic(), token
            return token

    def _read(self, key: str | None) -> str:
        faults = self._faults()
        with contextlib.suppress(SQLAlchemyError), self._database.read() as session:
            return change_token(session, key, faults)
        return ""

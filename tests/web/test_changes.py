"""Streams of changes: a new token after each change, and an end when the server stops."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.errors import SoundNotFoundError
from earmark.services import Services
from earmark.store.events import record_event
from earmark.store.models import Project, Training, Version
from earmark.store.preannotations import create_run
from earmark.store.registry import promote
from earmark.store.sound_errors import remember_fault
from earmark.web import changes
from earmark.web.changes import ChangeStreams, change_token


def webhook(session: Session, key: str) -> None:
    record_event(
        session,
        {
            "action": "ANNOTATION_CREATED",
            "project": {"id": 7, "created_at": "2026-11-20T18:17:53.833098Z"},
        },
    )


def training(session: Session, key: str) -> None:
    session.add(Training(project_key=key, started_at=1.0, finished_at=2.0, outcome="nothing"))


def lease(session: Session, key: str) -> None:
    session.get_one(Project, key).lease_owner = "me"


def fault(session: Session, key: str) -> None:
    remember_fault(session, "/y.wav", SoundNotFoundError("There is no file."), key, 2)


def run(session: Session, key: str) -> None:
    create_run(session, key, "all", "logmel-v1", [[1]])


def promotion(session: Session, key: str) -> None:
    version = session.scalars(select(Version).where(Version.name == "logmel-v9")).one()
    assert promote(session, key, version.name, version.encoder).active


@pytest.mark.parametrize("change", [webhook, training, lease, fault, run, promotion])
def test_each_change_makes_another_token(
    change: Callable[[Session, str], None], services: Services, project: str
) -> None:
    def tokens() -> list[str]:
        with services.database.read() as session:
            return [change_token(session, key, {}) for key in (project, None, "1.1")]

    before = tokens()
    assert tokens() == before
    with services.database.write() as session:
        change(session, project)
    after = tokens()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]


@pytest.mark.parametrize("path", ["", "projects/7.1795198673"])
def test_a_page_bears_the_token_of_its_stream(client: TestClient, project: str, path: str) -> None:
    (token,) = re.findall(r'data-state="([^"]+)"', client.get(f"/{path}").text)
    with client.stream("GET", f"/{path and f'{path}/'}events") as events:
        data = next(line for line in events.iter_lines() if line.startswith("data: "))
    assert data == f"data: {token}"


def test_a_fault_of_the_backend_makes_another_token(services: Services, project: str) -> None:
    with services.database.read() as session:
        for key in (project, None):
            working = change_token(session, key, {})
            assert change_token(session, key, {"redis": "Redis does not answer."}) != working


def test_a_stream_says_what_changes_and_ends(
    services: Services, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "POLL_SECONDS", 0.01)

    async def follow() -> list[str]:
        streams, seen = ChangeStreams(services.database, dict), list[str]()
        async for event in streams.events(project):
            seen.append(event)
            if len(seen) == 2:
                with services.database.write() as session:
                    training(session, project)
            if len(seen) == 3:
                streams.close()
        return seen

    retry, first, second = asyncio.run(asyncio.wait_for(follow(), 20))
    assert retry.startswith("retry:")
    assert first.startswith("event: state\ndata: ")
    assert first != second

"""Batched writes let other writers in, and a writer that gets no lock raises SQLAlchemy's error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from earmark.services import Services
from earmark.store import sqlite
from earmark.store.batched_writes import write_in_steps
from earmark.store.database import Database
from earmark.store.events import record_event
from earmark.store.models import Event

PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}


def rows(database: Database) -> list[str]:
    with database.read() as session:
        return [event.action for event in session.query(Event).order_by(Event.id)]


def test_another_writer_gets_in_between(services: Services) -> None:
    """The long work ends only after the other writer was in: in one transaction it never would."""
    other = threading.Thread(target=lambda: record(services.database, "other"))

    def write(session: Session, number: int) -> None:
        record_event(session, {"action": "long", "project": PROJECT})
        if number == 0:
            other.start()

    def endless() -> Iterator[int]:
        number = 0
        while number < 20_000 and (number == 0 or other.is_alive()):
            yield number
            number += 1
        assert number < 20_000

    write_in_steps(services.database, endless(), write)
    other.join()
    written = rows(services.database)
    assert written.count("other") == 1
    assert written[0] == "long"


def record(database: Database, action: str) -> None:
    with database.write() as session:
        record_event(session, {"action": action, "project": PROJECT})


def test_what_was_written_before_a_failure_stays(services: Services) -> None:
    def items() -> Iterator[int]:
        for number in range(10_000):
            if number > 1 and rows(services.database):
                raise InterruptedError
            yield number

    def write(session: Session, number: int) -> None:
        record_event(session, {"action": str(number), "project": PROJECT})

    with pytest.raises(InterruptedError):
        write_in_steps(services.database, items(), write)
    assert rows(services.database)[0] == "0"


def test_nothing_to_write_is_fine(services: Services) -> None:
    write_in_steps(services.database, [], lambda session, item: None)
    assert rows(services.database) == []


def test_a_lock_that_is_never_given_back_is_an_error(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.05)
    with services.database.write() as session:
        session.connection()
        with pytest.raises(OperationalError, match="locked"):
            record(services.database, "refused")
    record(services.database, "let in")
    assert rows(services.database) == ["let in"]


def test_tidying_keeps_everything(services: Services) -> None:
    journal = Database(str(services.database.url), auto_checkpoint=False)
    for _ in range(50):
        with journal.write() as session:
            record_event(session, {"action": "x", "project": PROJECT, "more": "y" * 100_000})
    file = Path(str(services.database.url.database))
    before = file.stat().st_size
    journal.checkpoint()
    assert file.stat().st_size > before + 1_000_000
    with journal.write() as session:
        record_event(session, {"action": "after", "project": PROJECT})
    journal.close()
    assert len(rows(services.database)) == 51

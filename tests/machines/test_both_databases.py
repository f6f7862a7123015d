"""The store on SQLite and on PostgreSQL: the same answers, also when two processes want the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from earmark.api.event_writer import EventWriter
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.prediction.write_windows import activity
from earmark.services import Services
from earmark.store.annotations import apply_event, live_annotations, stored_annotation_ids
from earmark.store.database import Database
from earmark.store.events import mark_handled, pending_events, pending_work, record_event
from earmark.store.models import Base, Project, Version
from earmark.store.projects import acquire_lease, known_projects, release_lease, remember_project, renew_lease
from earmark.store.registry import active_version, list_versions, promote, register_version, roll_back
from tests.lessons import KEY, PROJECT, config, make_tones, receive, webhook
from tests.store.test_migrations import (
    check_first_release,
    check_versions_with_folds,
    fill_first_release,
    fill_versions_with_folds,
    migrate,
)

ROOT = Path(__file__).parents[2]
ENCODER = "logmel-1"
CONFIG = config("Low", "High")
TIMES = 12
ROUNDS = 20


@pytest.fixture
def database(services: Services) -> Database:
    return services.database


def at_once(work: Callable[[int], Any], times: int = TIMES) -> list[Any]:
    """Call it in so many threads, with a connection each, which begin together."""
    gate = threading.Barrier(times)

    def begin(number: int) -> Any:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(begin, range(times)))


def test_everything_that_waits_is_read_in_parts(database: Database) -> None:
    """More events than are held in memory at a time."""
    with database.write() as session:
        for number in range(1, 131):
            annotation = {"id": number, "task": 1, "result": []}
            payload = {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": PROJECT}
            record_event(session, payload)
    with database.read() as session:
        assert stored_annotation_ids(session, KEY) == set(range(1, 131))


def test_a_database_of_the_first_release_keeps_everything(database_url: str) -> None:
    database = Database(database_url)
    migrate(database, "0001")
    with database.engine.begin() as connection:
        fill_first_release(connection)
    database.upgrade()
    check_first_release(database)
    database.close()


def test_versions_of_an_earlier_release_keep_their_heads(database_url: str) -> None:
    database = Database(database_url)
    migrate(database, "0007")
    with database.engine.begin() as connection:
        fill_versions_with_folds(connection, 12, active=3)
    database.upgrade()
    check_versions_with_folds(database)
    database.close()


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    code = f"from earmark.store.database import Database; Database({database_url!r}).upgrade()"
    starts = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for start in starts:
        _, errors = start.communicate(timeout=60)
        assert start.returncode == 0, errors.decode()
    database = Database(database_url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_the_loop(services: Services, tmp_path: Path) -> None:
    """Webhooks are applied, learned from, served, and rolled back."""
    tones = make_tones(tmp_path, ["Low", "High"] * 3)
    receive(services, *(webhook(task, CONFIG) for task in tones[:4]))
    with services.database.read() as session:
        (work,) = pending_work(session)
    assert (work.project_key, work.events, work.asked_at) == (KEY, 4, 0.0)
    later = work.last_received_at + 100
    jobs = [request for request, _ in due_jobs(services.database, services.settings, later)]
    assert [request.job_id for request in jobs] == [f"learn-{KEY.replace('.', '-')}"]
    first = learn(services, KEY)
    assert first is not None
    assert (first.outcome, first.version) == ("registered", "logmel-v1")
    receive(
        services, {**webhook(tones[0], CONFIG), "action": "ANNOTATIONS_DELETED", "annotations": [{"id": 101}]}
    )
    receive(services, webhook(tones[4], CONFIG))
    second = learn(services, KEY)
    assert second is not None
    assert second.version == "logmel-v2"
    with services.database.read() as session:
        assert {row.annotation_id for row, _ in live_annotations(session, KEY)} == {102, 103, 104, 105}
        assert pending_events(session, KEY) == []
    with services.database.write() as session:
        promote(session, KEY, "v2", services.encoder_identity())
        roll_back(session, KEY, services.encoder_identity())
    answer = Predictor(services).predict(tones[5:6], KEY, CONFIG)
    assert answer.version == "logmel-v1"
    assert [region["value"]["labels"] for region in answer.items[0]["result"] if region["type"] == "labels"]


def test_numbers_are_given_once_and_one_version_is_active(database: Database) -> None:
    with database.write() as session:
        remember_project(session, KEY)

    def register(_: int) -> str:
        with database.write() as session:
            return register_version(session, KEY, "logmel", ENCODER, b"head", {}, 1).name

    assert sorted(at_once(register)) == sorted(f"logmel-v{number}" for number in range(1, TIMES + 1))
    names = [f"logmel-v{number}" for number in range(1, TIMES + 1)]

    def change(number: int) -> None:
        with database.write() as session:
            if number % 3 == 0:
                register_version(session, KEY, "logmel", ENCODER, b"head", {}, 1)
            elif number % 3 == 1:
                promote(session, KEY, names[number], ENCODER)
            else:
                roll_back(session, KEY, ENCODER)

    at_once(change)
    with database.read() as session:
        assert len(session.scalars(select(Version).where(Version.active.is_(True))).all()) == 1
        assert len(list_versions(session, KEY)) == TIMES + TIMES // 3
        assert active_version(session, KEY, ENCODER) is not None


def test_a_lease_is_held_by_one(database: Database) -> None:
    def acquire(number: int) -> bool:
        with database.write() as session:
            remember_project(session, KEY)
            return acquire_lease(session, KEY, str(number), 60)

    assert sum(at_once(acquire)) == 1
    with database.read() as session:
        owner = session.get_one(Project, KEY).lease_owner
    assert owner is not None
    with database.write() as session:
        release_lease(session, KEY, "a stranger")
        assert not acquire_lease(session, KEY, "another", 60)
        assert renew_lease(session, KEY, owner, -1)
        assert renew_lease(session, KEY, owner, -1), "it has ended, but nobody took it"
        assert acquire_lease(session, KEY, "another", 60)
        assert not renew_lease(session, KEY, owner, 60)
        release_lease(session, KEY, "another")
        assert not renew_lease(session, KEY, owner, 60), "another worker has trained meanwhile"
        assert acquire_lease(session, KEY, owner, 60)


def test_a_new_project_is_added_once_by_those_who_hear_of_it_together(database: Database) -> None:
    def hear_of(number: int) -> None:
        with database.write() as session:
            for key in (KEY, "2.5"):
                remember_project(session, key, title=f"title {number}")

    at_once(hear_of)
    with database.read() as session:
        assert [project.key for project in known_projects(session)] == [KEY, "2.5"]


def test_webhooks_of_several_api_processes_never_wait_for_each_other_in_a_ring(database_url: str) -> None:
    """Groups that speak of the same projects in other orders: none is refused, none is lost."""
    import asyncio

    Database(database_url).upgrade()
    journals = [EventWriter(database_url) for _ in range(4)]

    def say(journal: int, place: int) -> dict[str, Any]:
        project = place if journal % 2 else 7 - place
        title = f"{journal} {place}"
        return {"action": "PROJECT_UPDATED", "project": {**PROJECT, "id": project, "title": title}}

    async def send(journal: int) -> list[int]:
        numbers: list[int] = []
        for _ in range(ROUNDS):
            stored = (journals[journal].store(say(journal, place)) for place in range(8))
            numbers += await asyncio.gather(*stored)
        return numbers

    numbers = at_once(lambda journal: asyncio.run(send(journal)), len(journals))
    for journal in journals:
        journal.close()
    assert len({number for some in numbers for number in some}) == 8 * ROUNDS * len(journals)


def test_a_lower_number_that_is_committed_later_is_not_lost(postgres_url: str) -> None:
    """PostgreSQL gives numbers before it commits: a reader in between sees only the higher one."""
    database = Database(postgres_url)
    database.upgrade()
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"},
    }
    with database.write() as late:
        lower = record_event(late, event).id
        with database.write() as session:
            higher = record_event(session, event).id
        with database.write() as session:
            seen = pending_events(session, KEY)
            mark_handled(session, seen)
    assert [row.id for row in seen] == [higher]
    assert lower < higher
    with database.read() as session:
        assert [row.id for row in pending_events(session, KEY)] == [lower]
    database.close()


def test_only_submits_of_the_editor_count_as_activity(database: Database) -> None:
    """A script sends no ``lead_time``; annotations of several tasks at once are a list."""
    with database.write() as session:
        for annotation in (
            {"id": 1, "completed_by": 7, "lead_time": 3.5},
            {"id": 2, "completed_by": {"id": 8}, "lead_time": 4},
            {"id": 3, "completed_by": 9, "lead_time": None},
            {"id": 4, "completed_by": 9},
            [{"id": 5, "completed_by": 9, "lead_time": 1.0}],
        ):
            payload = {"action": "ANNOTATION_CREATED", "project": PROJECT, "annotation": annotation}
            last = record_event(session, payload).received_at
    with database.read() as session:
        latest = activity(session, KEY, last + 1)
    assert (len(latest.times), latest.annotators) == (2, 2)


def test_reading_sees_one_moment(database: Database) -> None:
    with database.write() as session:
        remember_project(session, KEY, title="before")
    with database.read() as reading:
        assert len(known_projects(reading)) == 1
        with database.write() as session:
            remember_project(session, "2.5", title="new")
        assert len(known_projects(reading)) == 1


ODD: list[object] = ["a\x00b", "\ud800", 1e308, -(2**63), 2**63, {"\x00": "\x00"}, ["\U0001f989"], True, None]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_kept(services: Services, odd: object) -> None:
    """Values that JSON can carry and a database may not hold."""
    import asyncio

    payload = webhook({"id": 1, "data": {"audio": "a", "odd": odd}, "label": "Low"}, CONFIG, odd=odd)
    payload["project"]["title"] = odd
    payload["odd"] = odd
    journal = EventWriter(services.settings.sqlalchemy_url)
    assert asyncio.run(journal.store(payload)) == 1
    journal.close()
    with services.database.write() as session:
        (event,) = pending_events(session, KEY)
        apply_event(session, event)
    with services.database.read() as session:
        ((_, task),) = live_annotations(session, KEY)
    assert set(task.data) == {"audio", "odd"}

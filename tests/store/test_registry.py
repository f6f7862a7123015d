"""Model registry: the active version, promotion and rollback."""

from __future__ import annotations

import time

import pytest

from earmark.errors import ProjectNameError, VersionError
from earmark.jobs.dispatcher import due_jobs
from earmark.services import Services
from earmark.store.database import Database
from earmark.store.projects import find_project, remember_project
from earmark.store.registry import (
    active_at,
    active_version,
    find_version,
    load_folds,
    promote,
    register_version,
    roll_back,
)

KEY = "1.1795198673"
ENCODER = "logmel-1"


@pytest.fixture
def database(services: Services) -> Database:
    return services.database


def register(database: Database, rejection_reason: str = "", encoder: str = ENCODER) -> str:
    with database.write() as session:
        return register_version(
            session, KEY, "logmel", encoder, b"head", {}, 1, b"folds", rejection_reason
        ).name


def active(database: Database, encoder: str = ENCODER) -> str | None:
    with database.read() as session:
        version = active_version(session, KEY, encoder)
    return version.name if version else None


def back(database: Database) -> str:
    with database.write() as session:
        return roll_back(session, KEY, ENCODER).name


def test_a_kept_version_is_stored_and_not_served(database: Database) -> None:
    register(database)
    assert register(database, "It is worse.") == "logmel-v2"
    assert active(database) == "logmel-v1"
    with database.write() as session:
        rejected = find_version(session, KEY, "logmel-v2")
        assert (rejected.status, rejected.reason, rejected.active) == ("rejected", "It is worse.", False)
        assert load_folds(session, rejected.id) == b"folds"
        promote(session, KEY, "v2", ENCODER)
    assert active(database) == "logmel-v2"
    assert back(database) == "logmel-v1"


def test_rolling_back_twice_goes_two_back_and_what_was_left_is_out_of_the_way(database: Database) -> None:
    for _ in range(3):
        register(database)
    assert [back(database), back(database)] == ["logmel-v2", "logmel-v1"]
    with pytest.raises(VersionError, match="no earlier version to go back to"):
        back(database)
    assert register(database) == "logmel-v4"
    assert back(database) == "logmel-v1"
    with database.write() as session:
        promote(session, KEY, "3", ENCODER)
        promote(session, KEY, "3", ENCODER)
    assert active(database) == "logmel-v3"
    assert back(database) == "logmel-v1"


def test_rolling_back_concerns_one_encoder_and_one_project(database: Database) -> None:
    register(database)
    register(database)
    register(database, encoder="cnn14-1")
    assert back(database) == "logmel-v1"
    assert active(database, "cnn14-1") == "logmel-v3"
    with database.write() as session, pytest.raises(VersionError, match="the encoder is now logmel-1"):
        promote(session, KEY, "v3", ENCODER)
    with database.write() as session, pytest.raises(VersionError, match="no version was trained"):
        roll_back(session, "2.1", ENCODER)


def test_what_answered_at_a_moment_is_remembered(database: Database) -> None:
    moments = [time.time()]
    for _ in range(2):
        register(database)
        moments.append(time.time())
    back(database)
    moments.append(time.time())
    with database.read() as session:
        active_versions = [active_at(session, KEY, ENCODER, moment) for moment in moments]
    assert [version and version.name for version in active_versions] == [
        None,
        "logmel-v1",
        "logmel-v2",
        "logmel-v1",
    ]


def test_a_rollback_and_a_promotion_are_refreshed_and_a_kept_version_is_not(services: Services) -> None:
    database, identity = services.database, services.encoder_identity()

    def refreshes() -> list[str]:
        jobs = due_jobs(database, services.settings, time.time())
        return [request.project_key for request, _ in jobs if request.function == "refresh"]

    def refreshed() -> None:
        with database.write() as session:
            version = active_version(session, KEY, identity)
            assert version is not None
            remember_project(session, KEY).refreshed_version = version.name

    for _ in range(2):
        register(database, encoder=identity)
        refreshed()
    assert refreshes() == []
    register(database, "It is worse.", encoder=identity)
    assert refreshes() == []
    with database.write() as session:
        roll_back(session, KEY, identity)
    assert refreshes() == [KEY]
    refreshed()
    with database.write() as session:
        promote(session, KEY, "v3", identity)
    assert refreshes() == [KEY]


def test_a_version_or_a_project_that_is_not_there_is_answered_with_those_that_are(database: Database) -> None:
    register(database)
    with database.write() as session:
        for key, title in ((KEY, "Owls"), ("1.5", "Frogs"), ("3.5", "Bats")):
            remember_project(session, key, title=title)
        assert find_project(session, "3").key == "3.5"
        assert find_project(session, "1.5").title == "Frogs"
        assert find_project(session, "bats").key == "3.5"
        with pytest.raises(ProjectNameError, match=r"Several.*1\.1795198673 \(Owls\), 1\.5 \(Frogs\)"):
            find_project(session, "1")
        with pytest.raises(ProjectNameError, match=r"9.*3\.5 \(Bats\)"):
            find_project(session, "9")
        with pytest.raises(VersionError, match=r"no version “v7”.*\(logmel-v1\)"):
            find_version(session, KEY, "v7")

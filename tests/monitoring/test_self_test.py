"""The self-test tries what is installed, in a folder of its own, and says what fails."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from earmark.errors import SoundUnreadableError
from earmark.monitoring.doctor import self_test as module
from earmark.monitoring.doctor.self_test import self_test
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Event, Project, Version


@pytest.fixture
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path, as the socket of Redis lies in it."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def files(folder: Path) -> list[Path]:
    """Files other than SQLite's own beside the database."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and ".db-" not in path.name)


def test_all_is_well_and_nothing_stays(services: Services, own_temporary_folder: Path) -> None:
    before = files(services.settings.data_dir)
    frames = services.settings.model_copy(update={"frames_url": str(own_temporary_folder / "frames")})
    by_subject = {finding.subject: finding for finding in self_test(frames)}
    assert [finding for finding in by_subject.values() if finding.level == "fault"] == []
    assert {
        "formats",
        "training",
        "new sound",
        "known sound",
        "database",
        "Redis",
        "frames",
    } <= by_subject.keys()
    for name in ("WAV", "FLAC", "OGG", "MP3", "M4A"):
        assert name in by_subject["formats"].text
    assert files(own_temporary_folder) == []
    assert files(services.settings.data_dir) == before
    with services.database.read() as session:
        for table in (Event, Project, Version):
            assert session.scalar(select(func.count()).select_from(table)) == 0


def test_what_fails_hides_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, rate: int) -> None:
        raise SoundUnreadableError(f"{path.name} cannot be read.")

    monkeypatch.setattr(module, "read", broken)
    unreachable = settings.model_copy(
        update={
            "redis_url": "redis://127.0.0.1:9/0",
            "database_url": "postgresql+psycopg://nobody@127.0.0.1:9/none",
            "frames_url": "/proc/none/frames",
        }
    )
    levels = {finding.subject: finding.level for finding in self_test(unreachable)}
    assert {levels[name] for name in ("WAV format", "Redis", "database", "frames")} == {"fault"}
    assert levels["training"] != "fault"

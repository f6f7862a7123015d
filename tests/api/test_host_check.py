"""Requests under a foreign name, or from a foreign page, are refused (DNS rebinding, cross-site requests)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from starlette.datastructures import Headers

from earmark.api.app import create_app
from earmark.api.host_check import HostCheck
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Event

EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}}


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings.model_copy(update={"allowed_hosts": ()}))) as built:
        yield built


def is_refused(name: str, *, bind: str = "127.0.0.1", allowed: tuple[str, ...] = ()) -> bool:
    settings = Settings(_env_file=None, bind=bind, allowed_hosts=allowed)
    return HostCheck(settings).refusal(Headers({"host": name})) is not None


@pytest.mark.parametrize("path", ["/", "/versions", "/metrics", "/ready", "/docs", "/openapi.json"])
def test_a_foreign_host_reads_nothing(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Host": "attacker.example"})
    assert answer.status_code == 400
    assert answer.json()["reason"] == "host"
    assert "ALLOWED_HOSTS" in answer.json()["detail"]
    assert client.get(path, headers={"Host": "localhost:9090"}).status_code != 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1:9090", "Origin": "https://attacker.example"},
        {"Host": "127.0.0.1:9090", "Origin": "null"},
    ],
)
def test_a_foreign_page_writes_nothing(
    client: TestClient, services: Services, headers: dict[str, str]
) -> None:
    assert client.post("/webhook", json=EVENT, headers=headers).status_code == 400
    with services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 0
    ours = {"Host": "127.0.0.1:9090", "Origin": "http://127.0.0.1:9090"}
    assert client.post("/webhook", json=EVENT, headers=ours).status_code == 201


def test_health_checks_come_under_any_name(client: TestClient) -> None:
    assert client.get("/health", headers={"Host": "10.1.2.3"}).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST:9090", "localhost.", "127.0.0.1:1", "127.3.2.1", "[::1]:9090", "a.localhost"],
)
def test_loopback_names_are_allowed(name: str) -> None:
    assert not is_refused(name)


@pytest.mark.parametrize(
    "name",
    [
        "attacker.example",
        "attacker.example:9090",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "localhost@attacker.example",
        "xlocalhost",
        "host.docker.internal",
        "192.0.2.1",
        "[::2]",
        "[",
        "[::1",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert is_refused(name)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_who_listens_everywhere_has_every_address_and_no_other_name(bind: str) -> None:
    for name in ("192.0.2.1:9090", "[2001:db8::1]:9090", "host.docker.internal:9090", "localhost"):
        assert not is_refused(name, bind=bind)
    assert is_refused("attacker.example", bind=bind)


def test_bind_and_the_list_are_allowed() -> None:
    assert not is_refused("192.0.2.7:9090", bind="192.0.2.7")
    assert is_refused("192.0.2.8:9090", bind="192.0.2.7")
    listed = ("backend.example", "*.lab.example", "192.0.2.0/24")
    for name in ("backend.example:9090", "BACKEND.example.", "a.lab.example", "192.0.2.9"):
        assert not is_refused(name, allowed=listed)
    for name in ("xbackend.example", "lab.example.attacker", "198.51.100.1"):
        assert is_refused(name, allowed=listed)


def test_the_client_is_who_a_trusted_proxy_says(settings: Settings) -> None:
    """Where no proxy is trusted, a client cannot name itself: the limit is its address's."""
    limited = settings.model_copy(update={"max_requests_per_second": 1e-6})

    def statuses(chosen: Settings) -> list[int]:
        with TestClient(create_app(chosen), client=("192.0.2.1", 1)) as client:
            forwarded = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in (1, 2, 2)]
            return [client.get("/versions", headers=headers).status_code for headers in forwarded]

    assert statuses(limited) == [200, 429, 429]
    trusting = limited.model_copy(update={"trusted_proxies": ("192.0.2.0/24",)})
    assert statuses(trusting) == [200, 200, 429]

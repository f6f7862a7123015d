"""Authentication, rate limits and size limits, and that webhooks are not lost to them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import func, select
from starlette.types import Message

from earmark.api.app import create_app
from earmark.api.rate_limit import CLIENTS, TokenBuckets, client_name
from earmark.api.security import GUESSES_AT_ONCE, Credentials, FailedLoginLimit
from earmark.errors import ConfigurationError
from earmark.monitoring.doctor import print_report
from earmark.monitoring.doctor.machine import access, redis_answers
from earmark.services import Services
from earmark.settings import Settings, load_settings
from earmark.store.models import Event

PASSWORD, TOKEN = "correct-horse", "a-bearer-token"
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}}
EVERYTHING = ("/", "/docs", "/openapi.json", "/metrics", "/ready", "/versions", "/labels", "/nowhere")


def changed(settings: Settings, **changes: object) -> Settings:
    return Settings(_env_file=None, **{**settings.model_dump(exclude_unset=True), **changes})


@pytest.fixture
def locked(settings: Settings) -> Iterator[TestClient]:
    guarded = changed(settings, api_user="me", api_password=PASSWORD, api_token=TOKEN)
    with TestClient(create_app(guarded), follow_redirects=False) as client:
        yield client


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def stored(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


@pytest.mark.parametrize("path", EVERYTHING)
def test_only_health_is_open(locked: TestClient, path: str) -> None:
    assert locked.get("/health").status_code == 200
    answer = locked.get(path)
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate")[0].startswith("Basic ")
    assert answer.json()["detail"].startswith("Sign in with API_USER and API_PASSWORD")
    assert locked.get(path, headers=basic(f"me:{PASSWORD}")).status_code not in (401, 429)
    assert locked.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code not in (401, 429)


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic %%%",
        "Basic " + base64.b64encode(PASSWORD.encode()).decode(),
        basic(f"you:{PASSWORD}")["Authorization"],
        basic(f"me:{PASSWORD}x")["Authorization"],
        f"Bearer {PASSWORD}",
        f"Token {TOKEN}",
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
def test_wrong_credentials_store_nothing(locked: TestClient, services: Services, authorization: str) -> None:
    answer = locked.post("/webhook", json=EVENT, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert stored(services) == 0


@given(st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_no_invented_header_lets_anybody_in(authorization: str) -> None:
    settings = Settings(_env_file=None, api_user="me", api_password=PASSWORD, api_token=TOKEN)
    assert not Credentials(settings).accept(authorization)
    assert Credentials(settings).accept(basic(f"me:{PASSWORD}")["Authorization"])


def test_without_a_password_everybody_is_let_in(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        assert client.get("/versions").status_code == 200


def test_secrets_stay_out_of_everything_that_is_printed(settings: Settings) -> None:
    guarded = changed(settings, api_password=PASSWORD, api_token=TOKEN)
    for text in (repr(guarded), str(guarded.model_dump()), guarded.model_dump_json()):
        assert PASSWORD not in text
        assert TOKEN not in text


@pytest.mark.parametrize(("name", "value"), [("API_PASSWORD", "pässword"), ("API_USER", "a:b")])
def test_what_label_studio_cannot_send_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        load_settings()
    assert value not in str(caught.value)


def test_guessing_is_slowed_down_and_a_wrong_setting_is_not_guessing() -> None:
    guesses = FailedLoginLimit(per_second=1e-6)
    for _ in range(10 * GUESSES_AT_ONCE):
        guesses.count("label-studio", "Basic old-password")
    assert guesses.wait("label-studio") == 0.0
    for number in range(GUESSES_AT_ONCE):
        assert guesses.wait("stranger") == 0.0
        guesses.count("stranger", f"Basic {number}")
    assert guesses.wait("stranger") > 0.0
    assert guesses.wait("label-studio") == 0.0


def test_right_credentials_are_accepted_whatever_else_comes_from_the_address(
    settings: Settings, services: Services
) -> None:
    guarded = changed(settings, api_password=PASSWORD, max_failed_logins_per_second=1e-6)
    right = basic(f"earmark:{PASSWORD}")
    with TestClient(create_app(guarded)) as client:
        for number in range(GUESSES_AT_ONCE):
            assert client.get("/versions", headers=basic(f"earmark:{number}")).status_code == 401
            assert client.post("/webhook", json=EVENT, headers=right).status_code == 201
        answer = client.get("/versions", headers=basic("earmark:another"))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert client.post("/webhook", json=EVENT, headers=right).status_code == 201
        assert client.get("/health").status_code == 200
    assert stored(services) == GUESSES_AT_ONCE + 1


@pytest.mark.parametrize("stranger", [{}, basic("earmark:wrong")])
def test_a_flood_of_strangers_takes_no_request_from_who_signs_in(
    settings: Settings, stranger: dict[str, str]
) -> None:
    guarded = changed(settings, api_password=PASSWORD, max_requests_per_second=1e-6)
    with TestClient(create_app(guarded)) as client:
        statuses = [client.get("/versions", headers=stranger).status_code for _ in range(3)]
        assert statuses == [401, 429, 429]
        right = basic(f"earmark:{PASSWORD}")
        assert client.post("/webhook", json=EVENT, headers=right).status_code == 201


def test_a_flood_is_told_when_to_come_back(settings: Settings, services: Services) -> None:
    with TestClient(create_app(changed(settings, max_requests_per_second=1e-6))) as client:
        assert client.post("/webhook", json=EVENT).status_code == 201
        answer = client.post("/webhook", json=EVENT)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert "MAX_REQUESTS_PER_SECOND" in answer.json()["detail"]
        assert client.get("/health").status_code == 200
    assert stored(services) == 1


def test_buckets_refill_and_forget() -> None:
    now = [0.0]
    buckets = TokenBuckets(per_second=2.0, burst=4.0, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [0.0] * 4 + [0.5]
    now[0] = 0.5
    assert [buckets.take("a") for _ in range(2)] == [0.0, 0.5]
    assert buckets.take("b") == 0.0
    for number in range(2 * CLIENTS):
        buckets.take(str(number))
    assert len(buckets) == CLIENTS


def test_an_ipv6_client_counts_once_for_its_whole_network() -> None:
    assert client_name("2001:db8::1") == client_name("2001:db8::2")
    assert client_name("2001:db8::1") != client_name("2001:db8:0:1::1")
    assert client_name("::ffff:192.0.2.1") == client_name("192.0.2.1")
    assert client_name("fe80::1%eth0") == client_name("fe80::2")
    assert client_name("testclient") == "testclient"


@pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_in_one_sentence(
    settings: Settings, services: Services, path: str, chunked: bool
) -> None:
    large = json.dumps({**EVENT, "tasks": [], "more": "x" * 1_000_000}).encode()
    content: Any = (large[n : n + 65536] for n in range(0, len(large), 65536)) if chunked else large
    with TestClient(create_app(changed(settings, max_request_megabytes=1))) as client:
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert "MAX_REQUEST_MEGABYTES" in answer.json()["detail"]
        assert client.post(path, json={**EVENT, "tasks": []}).status_code in (200, 201)
    assert stored(services) == (path == "/webhook")


def test_an_endless_body_is_not_read_to_its_end(settings: Settings) -> None:
    app = create_app(changed(settings, max_request_megabytes=1))
    received, sent = 0, []

    async def receive() -> Message:
        nonlocal received
        received += 65536
        assert received < 10_000_000
        return {"type": "http.request", "body": b" " * 65536, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhook",
        "raw_path": b"/webhook",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("192.0.2.1", 1),
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413


def test_a_request_id_is_kept_or_made(locked: TestClient) -> None:
    assert locked.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = locked.get("/health").headers["x-request-id"]
    assert made
    assert locked.get("/health").headers["x-request-id"] != made
    forged = locked.get("/health", headers={"X-Request-ID": 'x" forged="1'}).headers["x-request-id"]
    assert "forged" not in forged
    assert locked.get("/versions").headers["x-request-id"]


def test_refused_requests_are_counted(locked: TestClient) -> None:
    locked.get("/versions")
    metrics = locked.get("/metrics", auth=httpx.BasicAuth("me", PASSWORD)).text
    assert 'earmark_requests_total{endpoint="other",status="401"} 1.0' in metrics


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "fine"),
        ({"bind": "0.0.0.0"}, "fault"),
        ({"bind": "::"}, "fault"),
        ({"bind": "::1"}, "fine"),
        ({"bind": "0.0.0.0", "api_password": PASSWORD}, "fine"),
        ({"bind": "0.0.0.0", "api_token": TOKEN}, "fault"),  # Label Studio cannot show it
    ],
)
def test_the_doctor_says_who_gets_in(settings: Settings, changes: dict[str, str], level: str) -> None:
    findings = list(access(changed(settings, **changes)))
    assert findings[-1].level == level
    assert bool(findings[-1].remedy) == (level == "fault")
    assert PASSWORD not in str(findings)


def test_an_open_door_is_said_at_the_start(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_app(changed(settings, bind="0.0.0.0"))
    assert "open to everybody" in capsys.readouterr().err
    create_app(changed(settings, bind="0.0.0.0", api_password=PASSWORD))
    assert "open to everybody" not in capsys.readouterr().err


def test_the_doctor_shows_no_password_of_an_address(settings: Settings) -> None:
    console = Console(file=io.StringIO(), width=300)
    secretive = changed(
        settings, redis_url="redis://:s3cret@127.0.0.1:9/0", api_password=PASSWORD, api_token=TOKEN
    )
    findings = list(redis_answers(secretive))
    print_report(console, secretive, findings)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "redis://:***@127.0.0.1:9/0" in text
    assert not [secret for secret in ("s3cret", PASSWORD, TOKEN) if secret in text]

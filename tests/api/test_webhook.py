"""``/webhook`` stores each event as one row, without waiting for services that are down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from earmark.api.app import create_app
from earmark.api.event_writer import EventWriter
from earmark.api.json_body import read_json
from earmark.jobs.redis_server import answers, server_command
from earmark.learning.training import learn
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.annotations import live_annotations
from earmark.store.events import pending_work
from earmark.store.models import Event
from tests.examples import with_examples

KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
EVENT = {"action": "ANNOTATION_CREATED", "project": PROJECT}
TRAFFIC = Path(__file__).parents[1] / "fixtures" / "label_studio_traffic.jsonl"


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def payloads(services: Services) -> list[dict[str, Any]]:
    with services.database.read() as session:
        return list(session.scalars(select(Event.payload).order_by(Event.id)))


def post(client: TestClient, body: bytes) -> httpx.Response:
    answer: httpx.Response = client.post(
        "/webhook", content=body, headers={"Content-Type": "application/json"}
    )
    return answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["project", "task", "annotation", "x"]), json_values),
    st.text(max_size=80),
)
@with_examples(200)
def test_any_object_with_an_action_is_kept(
    shared_client: TestClient, fields: dict[str, Any], action: str
) -> None:
    answer = post(shared_client, json.dumps({**fields, "action": action}).encode())
    assert answer.status_code == 201, answer.text


@given(json_values | st.fixed_dictionaries({"action": json_values}))
def test_nothing_else_is_a_fault_of_ours(shared_client: TestClient, body: Any) -> None:
    assert post(shared_client, json.dumps(body).encode()).status_code in (201, 422)


@given(st.binary(max_size=60))
def test_bytes_that_are_not_json_get_one_sentence(shared_client: TestClient, body: bytes) -> None:
    answer = post(shared_client, body)
    assert answer.status_code in (201, 422)
    if answer.status_code == 422:
        assert answer.json()["detail"].startswith("The request cannot be read:")


recorded = [json.loads(line) for line in TRAFFIC.read_text().splitlines()]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each part below a value, as its container and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in items for place in ((value, key), *places(part))]


changes = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from(["remove", "retype", "nest"]), json_values), max_size=20
)


@given(st.sampled_from([r for r in recorded if r["method"] == "POST"]), changes)
@with_examples(150)
def test_recorded_requests_with_parts_missing_or_changed(
    shared_client: TestClient, original: dict[str, Any], changes: list[tuple[int, str, Any]]
) -> None:
    body = [json.loads(json.dumps(original["body"]))]
    for number, change, value in changes:
        if not (parts := places(body)):
            break
        container, key = parts[number % len(parts)]
        if change == "remove":
            del container[key]
        else:
            container[key] = value if change == "retype" else [container[key]]
    sent = json.dumps(body[0] if body else None).encode()
    answer = shared_client.post(original["path"], content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, (original["path"], sent, answer.text)


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One server for all that Hypothesis invents."""
    folder = tmp_path_factory.mktemp("webhooks")
    settings = Settings(
        _env_file=None,
        data_dir=folder,
        encoder="logmel",
        train_debounce_seconds=1e9,
        log_level="ERROR",
        max_requests_per_second=1e9,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_what_no_database_takes_is_stored_as_what_it_stands_for(
    client: TestClient, services: Services
) -> None:
    body = b'{"action": "A\\ud800\\u0000", "n": [NaN, 1e999, -Infinity, 1.5], "t\\udfff": "\\ud83d\\ude00"}'
    assert post(client, body).status_code == 201
    (payload,) = payloads(services)
    assert payload["action"] == "A\ufffd\ufffd"
    assert payload["n"] == [None, None, None, 1.5]
    assert payload["t\ufffd"] == "\N{GRINNING FACE}"
    json.dumps(payload, allow_nan=False).encode()


@pytest.mark.parametrize("depth", [50, 90, 110, 900, 950, 1000, 100_000])
def test_deep_nesting_is_kept_or_refused_and_never_breaks_a_training(
    client: TestClient, services: Services, depth: int
) -> None:
    nested = "[" * depth + "]" * depth
    body = f'{{"action": "ANNOTATION_CREATED", "project": {json.dumps(PROJECT)}, '
    body += f'"task": {{"id": 1, "data": {{"audio": {nested}}}}}}}'
    status = [post(client, body.encode()).status_code for _ in range(2)]
    assert status in ([201, 201], [422, 422])
    assert len(payloads(services)) == status.count(201)
    learn(services, KEY)
    with services.database.read() as session:
        assert pending_work(session) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32-be"])
def test_surrogates_become_storable_however_they_are_spelled(encoding: str) -> None:
    body = '{"audio": "/data/upload/\ud800.wav"}'.encode(encoding, "surrogatepass")
    assert read_json(body) == {"audio": "/data/upload/\ufffd.wav"}


def test_read_json_leaves_ordinary_bodies_alone() -> None:
    body = {"a": ["ä\n", 1, 2.5, None, True, {"b": "\N{GRINNING FACE}"}]}
    assert read_json(json.dumps(body).encode()) == body
    assert read_json(json.dumps(body, ensure_ascii=False).encode()) == body


def test_one_that_cannot_be_stored_spoils_none_of_its_neighbours(
    settings: Settings, services: Services
) -> None:
    """All wait while another writer holds the lock, so they come to be one group."""
    journal = EventWriter(settings.sqlalchemy_url)

    async def store_all() -> list[int | BaseException]:
        with services.database.write() as session:
            session.connection()
            odd: dict[str, Any] = {"action": "ODD", "cannot": object()}
            waiting = [{**EVENT, "n": 1}, {**EVENT, "n": 2}, odd, {**EVENT, "n": 3}]
            stores = [asyncio.create_task(journal.store(payload)) for payload in waiting]
            await asyncio.sleep(0)
        return await asyncio.gather(*stores, return_exceptions=True)

    results = asyncio.run(store_all())
    journal.close()
    assert [isinstance(result, int) for result in results] == [True, True, False, True]
    assert [payload["n"] for payload in payloads(services)] == [1, 2, 3]


def test_a_label_config_that_breaks_our_reading_loses_no_webhook(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("earmark.api.event_writer.update_project", broken)
    assert client.post("/webhook", json=EVENT).status_code == 201
    assert len(payloads(services)) == 1


def test_a_database_that_fails_is_said_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr("earmark.api.event_writer.record_event", full)
    answer = client.post("/webhook", json=EVENT)
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]


def test_the_order_of_sending_is_the_order_of_rows(settings: Settings, services: Services) -> None:
    journal = EventWriter(settings.sqlalchemy_url)

    async def store_all() -> list[int]:
        return await asyncio.gather(*(journal.store({**EVENT, "n": n}) for n in range(700)))

    numbers = asyncio.run(store_all())
    journal.close()
    assert numbers == sorted(numbers)
    assert [payload["n"] for payload in payloads(services)] == list(range(700))


@pytest.mark.slow
def test_redis_that_hangs_or_never_answers_delays_nothing(settings: Settings, services: Services) -> None:
    """A listener whose queue is full stands for a black hole: connections to it are never made."""
    with socket.socket() as hole, socket.socket() as filling:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filling.connect(hole.getsockname())
        away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{hole.getsockname()[1]}/0"})
        with TestClient(create_app(away)) as client:
            client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
            for _ in range(20):
                assert client.post("/webhook", json=EVENT, timeout=1).status_code == 201
    assert len(payloads(services)) == 21


def test_work_is_taken_up_when_redis_is_back(settings: Settings, services: Services) -> None:
    import time

    at_once = settings.model_copy(update={"train_debounce_seconds": 0.0})
    with supervised(settings.data_dir / "run") as supervisor:
        child = Child("redis", server_command(settings), {}, settings.data_dir / "redis.log", restart=False)
        supervisor.start(child)
        supervisor.wait_until(child, lambda: answers(settings), 20)
        assert child.process is not None
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        with TestClient(create_app(at_once)) as client:
            assert client.post("/webhook", json=EVENT).status_code == 201
            assert "earmark_redis_up 0.0" in client.get("/metrics").text
            again = Child("redis", server_command(settings), {}, settings.data_dir / "redis.log")
            supervisor.start(again)
            supervisor.wait_until(again, lambda: answers(settings), 20)
            deadline = time.monotonic() + 30
            while 'earmark_queue_jobs{queue="learn"} 1.0' not in client.get("/metrics").text:
                assert time.monotonic() < deadline
    with services.database.read() as session:
        assert live_annotations(session, KEY) == []

"""Dashboard at ``/``: its contents, and that the browser runs no text from outside (XSS)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.api.dashboard import ago
from earmark.errors import SoundNotFoundError
from earmark.head.model import Head
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import record_event
from earmark.store.models import Training
from earmark.store.preannotations import ChunkDone, claim_chunk, create_run, finish_chunk
from earmark.store.projects import remember_project
from earmark.store.registry import register_version
from earmark.store.sound_errors import remember_fault

KEY = "7.1795198673"
PROJECT = {"id": 7, "created_at": "2026-11-20T18:17:53.833098Z"}


@pytest.fixture
def page(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def test_before_anything(page: TestClient) -> None:
    text = page.get("/").text
    assert "No project has connected yet" in text
    assert "✗ redis" in text, "no worker runs in this test"


def test_what_a_project_shows(page: TestClient, services: Services) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, title="<script>alert(1)</script>")
        identity = services.encoder_identity()
        metrics = {"tags": {"lwlrap": 0.912, "per_class": {}, "f1": float("nan")}}
        head = Head(identity, {}).to_bytes()
        register_version(session, KEY, "logmel", identity, head, metrics, 12, None, "")
        register_version(session, KEY, "logmel", identity, head, {}, 13, None, "“tags” would get worse.")
        session.add(
            Training(
                project_key=KEY,
                started_at=1.0,
                finished_at=2.0,
                outcome="failed",
                detail="ValueError: odd",
                traceback="Traceback: line 7\nValueError: <odd>",
            )
        )
        record_event(session, {"action": "ANNOTATION_CREATED", "project": PROJECT})
        remember_fault(session, "/x.wav", SoundNotFoundError("There is no file '/x.wav'."))
        run = create_run(session, KEY, "all", "logmel-v1", [[1, 2], [3]])
        chunk = claim_chunk(session, run.id, "me", 60)
        assert chunk is not None
        finish_chunk(session, chunk, "me", ChunkDone(2))
    answer = page.get("/")
    text = answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>logmel-v1</b> answers" in text
    assert "tags: lwlrap 0.91<br>" in text
    assert "“tags” would get worse." in text
    assert "ValueError: &lt;odd&gt;" in text
    assert "1 webhook to be learnt from" in text
    assert "2 of 3 tasks" in text
    assert "There is no file" in text


def test_it_asks_for_the_password(settings: Settings) -> None:
    locked = Settings(_env_file=None, **settings.model_dump(exclude_unset=True), api_password="a-password")
    with TestClient(create_app(locked)) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", auth=("earmark", "a-password")).status_code == 200


def test_ago() -> None:
    assert [ago(s) for s in (-1, 3, 90, 7200, 200_000)] == [
        "0 s ago",
        "3 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]

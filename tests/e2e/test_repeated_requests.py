"""Label Studio on SQLite runs a request twice when its database is locked; nothing may come out double."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from label_studio_sdk import LabelStudio

from earmark.labelstudio import non_idempotent_requests as once
from earmark.labelstudio.connection import connect_backend
from earmark.labelstudio.non_idempotent_requests import import_predictions
from scripts.demo_clips import make_clips
from scripts.demo_project import import_clips

pytestmark = pytest.mark.e2e

CONFIG = (Path(__file__).parents[2] / "label_config.xml").read_text()


class Repeating(httpx.HTTPTransport):
    """Sends what makes something twice, and hands on the second answer: what such a Label Studio does."""

    def __init__(self, *paths: str) -> None:
        super().__init__()
        self._paths, self.repeated = paths, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith(self._paths):
            self.repeated += 1
            super().handle_request(request).read()
        return super().handle_request(request)


@pytest.fixture
def project(label_studio: Any) -> Iterator[Any]:
    project = label_studio.client.projects.create(title="Repeated", label_config=CONFIG)
    yield project
    label_studio.client.projects.delete(id=project.id)


@pytest.fixture(autouse=True)
def suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport repeats at once, where Label Studio waits for a second."""
    monkeypatch.setattr(once, "REPEATED_AFTER_SECONDS", 0.0)


def client_over(label_studio: Any, transport: Repeating) -> Any:
    session = httpx.Client(transport=transport, timeout=60)
    return LabelStudio(base_url=label_studio.url, api_key=label_studio.token, httpx_client=session)


def test_one_backend_is_left(label_studio: Any, project: Any) -> None:
    transport = Repeating("/api/ml/")
    client = client_over(label_studio, transport)
    with answering_backend() as address:
        number = connect_backend(client, label_studio.url, project.id, address, "logmel-v0")
        (only,) = label_studio.client.ml.list(project=project.id)
    assert transport.repeated == 1
    assert (only.id, only.title, only.state) == (number, "logmel-v0", "CO")
    assert label_studio.client.projects.get(id=project.id).model_version == "logmel-v0"
    assert len(label_studio.client.webhooks.list(project=project.id)) == 1


def test_sounds_come_in_once(label_studio: Any, project: Any, tmp_path: Path) -> None:
    transport = Repeating(f"/api/projects/{project.id}/import")
    client = client_over(label_studio, transport)
    clips = make_clips(tmp_path, count=5, seed=2)
    imported = import_clips(client, label_studio.url, label_studio.token, project.id, tmp_path, clips)
    assert transport.repeated == 1
    held = [task.id for task in label_studio.client.tasks.list(project=project.id)]
    assert sorted(held) == sorted(imported)
    assert {clip.name for clip in imported.values()} == {clip.name for clip in clips}
    assert len(held) == 5


def test_predictions_are_written_once(label_studio: Any, project: Any) -> None:
    transport = Repeating("/import/predictions")
    client = client_over(label_studio, transport)
    tasks = [{"data": {"audio": f"http://127.0.0.1:1/{number}.wav"}} for number in range(3)]
    label_studio.client.projects.import_tasks(id=project.id, request=tasks)
    numbers = [task.id for task in label_studio.client.tasks.list(project=project.id)]
    other = label_studio.client.predictions.create(task=numbers[0], model_version="another-model", result=[])
    predictions = [
        {"task": number, "result": [], "score": 0.5, "model_version": "logmel-v1"} for number in numbers
    ]
    import_predictions(client, project.id, predictions)
    assert transport.repeated == 1
    held = {number: label_studio.client.predictions.list(task=number) for number in numbers}
    assert [prediction.id for prediction in held[numbers[0]]].count(other.id) == 1
    versions = {number: sorted(p.model_version for p in held[number]) for number in numbers}
    assert versions.pop(numbers[0]) == ["another-model", "logmel-v1"]
    assert list(versions.values()) == [["logmel-v1"], ["logmel-v1"]]


@contextmanager
def answering_backend() -> Iterator[str]:
    """A backend that is healthy and set up; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"status": "UP"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer({"model_version": "logmel-v0"})

        def _answer(self, body: dict[str, str]) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

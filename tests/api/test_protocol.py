"""Label Studio 1.23.2's ML backend protocol: recorded requests get usable answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from sqlalchemy import update

from earmark.api.app import create_app
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from earmark.storage.token_cipher import KEY_FILE
from earmark.store.events import KNOWN_ACTIONS, pending_work
from earmark.store.models import Project, VersionHead
from earmark.store.projects import known_projects

TRAFFIC = Path(__file__).parents[1] / "fixtures" / "label_studio_traffic.jsonl"
KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
CONFIG = (
    '<View><Labels name="label" toName="audio"><Label value="Low"/><Label value="High"/></Labels>'
    '<Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="Low"/><Choice value="High"/></Choices></View>'
)
SECONDS = 3.0


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    """Six annotated tasks: a low or a high tone in the middle second of quiet noise."""
    random = np.random.default_rng(7)
    tasks = []
    for number in range(6):
        label, hertz = (("Low", 300.0), ("High", 4000.0))[number % 2]
        time = np.arange(int(SECONDS * 32000)) / 32000
        sounding = (time >= 1) & (time < 2)
        wave = 0.3 * np.sin(2 * np.pi * hertz * time) * sounding + 0.002 * random.standard_normal(time.size)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave, 32000)
        tasks.append({"id": number + 1, "data": {"audio": str(path)}, "label": label})
    return tasks


def annotation_webhook(task: dict[str, Any], action: str = "ANNOTATION_CREATED") -> dict[str, Any]:
    label = task["label"]
    region = {"start": 1.0, "end": 2.0, "labels": [label], "channel": 0}
    result = [
        {"from_name": "label", "to_name": "audio", "type": "labels", "value": region, "origin": "manual"},
        {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": [label]}},
    ]
    return {
        "action": action,
        "annotation": {
            "id": 100 + task["id"],
            "task": task["id"],
            "result": result,
            "was_cancelled": False,
            "updated_at": "2026-11-20T18:19:01.044103Z",
        },
        "task": {"id": task["id"], "data": task["data"]},
        "project": {**PROJECT, "label_config": CONFIG},
    }


def predict(client: TestClient, tasks: list[Any]) -> dict[str, Any]:
    answer = client.post("/predict", json={"tasks": tasks, "project": KEY, "label_config": CONFIG})
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def test_every_recorded_request_gets_an_answer_that_label_studio_can_use(client: TestClient) -> None:
    requests = [json.loads(line) for line in TRAFFIC.read_text().splitlines()]
    assert len(requests) == 74
    stored = 0
    for request in requests:
        body = request["body"]
        headers = {k: v for k, v in (request["headers"] or {}).items() if k != "Content-Type"}
        answer = client.request(request["method"], request["path"], json=body, headers=headers)
        assert answer.status_code in (200, 201), (request["path"], answer.text)
        if request["path"] == "/setup":
            assert isinstance(answer.json()["model_version"], str)
            assert answer.json()["model_version"]
        elif request["path"] == "/predict":
            items = answer.json()["results"]
            assert len(items) == len(body["tasks"])
            for item in items:
                assert isinstance(item["result"], list)
                assert isinstance(item["score"], float)
                assert item["model_version"]
        elif request["path"] == "/webhook":
            assert answer.json()["event"] == (stored := stored + 1)
        elif request["path"] == "/versions":
            assert isinstance(answer.json()["versions"], list)
    assert stored == 31


def test_health_and_setup_load_no_encoder_and_remember_the_project(
    client: TestClient, settings: Settings, services: Services
) -> None:
    assert client.get("/health").json()["status"] == "UP"
    setup = {"project": KEY, "schema": CONFIG, "hostname": "http://ls:8080", "access_token": "abc"}
    assert client.post("/setup", json=setup).json() == {"model_version": "logmel-v0"}
    with services.database.read() as session:
        (project,) = known_projects(session)
    assert (project.key, project.label_config, project.hostname) == (KEY, CONFIG, "http://ls:8080")
    assert not (settings.data_dir / "weights").exists()


def test_corrections_change_the_next_prediction_without_a_restart(
    client: TestClient, services: Services, tones: list[dict[str, Any]]
) -> None:
    before = predict(client, [tones[5]])
    assert before["results"][0]["result"] == []
    for task in tones[:4]:
        assert client.post("/webhook", json=annotation_webhook(task)).status_code == 201
    learn(services, KEY)
    after = predict(client, [tones[4], tones[5]])
    assert after["model_version"] == "logmel-v1"
    for item, label in zip(after["results"], ("Low", "High"), strict=True):
        (tag,) = [r for r in item["result"] if r["type"] == "choices"]
        assert (tag["from_name"], tag["to_name"], tag["value"]["choices"]) == ("tags", "audio", [label])
        regions = [r for r in item["result"] if r["type"] == "labels"]
        assert [r["value"]["labels"] for r in regions] == [[label]]
        (region,) = regions
        assert abs(region["value"]["start"] - 1.0) < 0.3
        assert abs(region["value"]["end"] - 2.0) < 0.3
        assert region["original_length"] == SECONDS
        assert 0 <= item["score"] <= 1
        assert set(item["probabilities"]["tags"]) == {"Low", "High"}
    assert client.get("/versions").json()["versions"] == ["logmel-v1"]
    setup = client.post("/setup", json={"project": KEY, "schema": CONFIG})
    assert setup.json() == {"model_version": "logmel-v1"}


def test_deleted_and_skipped_annotations_are_unlearnt(
    client: TestClient, services: Services, tones: list[dict[str, Any]]
) -> None:
    for task in tones[:4]:
        client.post("/webhook", json=annotation_webhook(task))
    learn(services, KEY)
    ids = [{"id": 100 + task["id"]} for task in tones[:4] if task["label"] == "High"]
    client.post("/webhook", json={"action": "ANNOTATIONS_DELETED", "annotations": ids, "project": PROJECT})
    training = learn(services, KEY)
    assert training is not None
    assert training.version == "logmel-v2"
    (item,) = predict(client, [tones[5]])["results"]
    assert item["model_version"] == "logmel-v2"
    assert "High" not in json.dumps(item["result"])


def test_two_projects_never_share_a_head(
    client: TestClient, services: Services, tones: list[dict[str, Any]]
) -> None:
    for task in tones[:4]:
        client.post("/webhook", json=annotation_webhook(task))
    learn(services, KEY)
    other = {"tasks": [tones[4]], "project": "1.1795190000", "label_config": CONFIG}
    assert client.post("/predict", json=other).json()["model_version"] == "logmel-v0"


def test_one_bad_task_spoils_none_of_its_neighbours(
    client: TestClient, services: Services, tones: list[dict[str, Any]], tmp_path: Path
) -> None:
    for task in tones[:4]:
        client.post("/webhook", json=annotation_webhook(task))
    learn(services, KEY)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF but not sound")
    bad = [
        {"id": 10, "data": {"audio": str(broken)}},
        {"id": 11, "data": {"audio": str(tmp_path / "missing.wav")}},
        {"id": 12, "data": {}},
        {"id": 13},
        None,
        "task",
        {"id": 14, "data": {"audio": None}},
        {"id": 15, "data": {"audio": "/data/upload/1/unknown.wav"}},
    ]
    items = predict(client, [tones[4], *bad, tones[5]])["results"]
    assert len(items) == len(bad) + 2
    assert [bool(item["result"]) for item in items] == [True, *[False] * len(bad), True]
    for item in items:
        assert isinstance(item["score"], float)
    metrics = client.get("/metrics").text
    assert 'earmark_predicted_tasks_total{outcome="predicted"} 2.0' in metrics
    assert 'earmark_predicted_tasks_total{outcome="task"} 5.0' in metrics
    assert 'earmark_predicted_tasks_total{outcome="unreadable"} 1.0' in metrics
    assert 'earmark_bad_sounds{reason="not_found"} 1.0' in metrics


def test_a_label_config_without_sound_leaves_every_task_empty_and_counted(
    client: TestClient, tones: list[dict[str, Any]]
) -> None:
    body = {"tasks": tones, "project": KEY, "label_config": "<View/>"}
    items = client.post("/predict", json=body).json()["results"]
    assert [item["result"] for item in items] == [[]] * len(tones)
    metrics = client.get("/metrics").text
    assert f'earmark_predicted_tasks_total{{outcome="label_config"}} {len(tones)}.0' in metrics
    assert 'earmark_predicted_tasks_total{outcome="predicted"} 0.0' in metrics


def test_a_damaged_head_leaves_tasks_empty_instead_of_failing(
    client: TestClient, services: Services, tones: list[dict[str, Any]]
) -> None:
    for task in tones[:4]:
        client.post("/webhook", json=annotation_webhook(task))
    learn(services, KEY)
    with services.database.write() as session:
        session.execute(update(VersionHead).values(head=b"damaged"))
    items = predict(client, tones[4:])["results"]
    assert [item["result"] for item in items] == [[], []]


def test_a_request_out_of_time_skips_the_rest_instead_of_failing(
    settings: Settings, tones: list[dict[str, Any]]
) -> None:
    hasty = settings.model_copy(update={"predict_budget_seconds": 1e-9})
    with TestClient(create_app(hasty)) as client:
        items = predict(client, tones[:2])["results"]
    assert len(items) == 2
    assert all("result" not in item for item in items)


@pytest.mark.parametrize("path", ["/predict", "/webhook", "/setup"])
@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"3", b'{"tasks": 1, "action": 5}'])
def test_unreadable_bodies_get_one_sentence(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    if path == "/setup" and body.startswith(b"{"):
        assert answer.status_code == 200  # setup demands nothing
    else:
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("The request cannot be read:")


def test_unknown_webhooks_are_kept_and_counted(client: TestClient, services: Services) -> None:
    odd = {"action": "LABEL_LINK_CREATED", "project": PROJECT, "surprise": [1, 2]}
    assert odd["action"] not in KNOWN_ACTIONS
    assert client.post("/webhook", json=odd).status_code == 201
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    assert 'earmark_webhooks_total{action="other"} 1.0' in client.get("/metrics").text
    with services.database.read() as session:
        assert [work.project_key for work in pending_work(session)] == [KEY]


def test_openapi_describes_the_protocol(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/health", "/setup", "/predict", "/webhook", "/versions", "/metrics"} <= set(paths)


@pytest.mark.slow
def test_the_server_never_imports_flask_nor_loads_torch(tmp_path: Path) -> None:
    code = (
        "import sys, _wsgi; _wsgi.app.asgi; "
        "sys.exit(', '.join(m for m in ('flask', 'werkzeug', 'torch') if m in sys.modules) or 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={"DATA_DIR": str(tmp_path / "data"), "ENCODER": "logmel"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_login_for_task_data_is_kept_encrypted(client: TestClient, settings: Settings) -> None:
    """Label Studio sends it with each request; trainings in other processes need it, too."""
    connect(client)
    assert user_after(client, settings, login=None, password=None, context=None) == ""
    assert user_after(client, settings, **READER) == "reader"
    assert user_after(client, settings, login="other", password="secret") == "other"
    assert user_after(client, settings, login="x\0", password=["no"]) == ""
    assert user_after(client, settings, **READER) == "reader"
    assert user_after(client, settings) == ""


def test_a_login_that_was_removed_during_a_restart_is_deleted(settings: Settings) -> None:
    with TestClient(create_app(settings)) as before:
        connect(before)
        assert user_after(before, settings, **READER) == "reader"
    with TestClient(create_app(settings)) as after:
        assert user_after(after, settings, login=None, password=None) == ""


def test_a_login_that_cannot_be_stored_is_stored_later(client: TestClient, settings: Settings) -> None:
    """Predictions go on without it: the file of the key cannot be written for a while."""
    key = settings.data_dir / KEY_FILE
    key.mkdir()
    client.post("/setup", json={"project": KEY, "schema": CONFIG, "hostname": "http://ls:8080"})
    assert user_after(client, settings, **READER) == ""
    key.rmdir()
    connect(client)
    assert user_after(client, settings, **READER) == "reader"


READER = {"login": "reader", "password": "secret"}


def connect(client: TestClient) -> None:
    setup = {"project": KEY, "schema": CONFIG, "hostname": "http://ls:8080", "access_token": "t0"}
    assert client.post("/setup", json=setup).is_success


def user_after(client: TestClient, settings: Settings, **params: object) -> str:
    """User that is stored for the task data after a request with these parameters; empty without one."""
    body = {"tasks": [], "project": KEY, "label_config": CONFIG, "params": params}
    assert client.post("/predict", json=body).is_success
    with Services(settings) as services, services.database.read() as session:
        project = session.get(Project, KEY)
        stored = project.data_login if project else ""
        access = services.access.for_project(project)
    assert "secret" not in stored
    return (access.data_login or ("",))[0] if access else ""

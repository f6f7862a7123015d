"""What an import sent is in a real Label Studio, whatever it lost or made twice on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from label_studio_sdk import LabelStudio

from earmark.export import jsonl
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.audio_checks import read_facts
from earmark.importing.destinations import LocalFiles, Uploads
from earmark.importing.importer import OTHER_LABELS, Importer
from earmark.importing.labels import Marking
from earmark.importing.models import Sound
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio import non_idempotent_requests as once
from earmark.labelstudio.non_idempotent_requests import import_predictions
from earmark.labelstudio.projects import create_project
from tests.e2e import importing
from tests.e2e.importing import run, tasks_of, write_sounds
from tests.e2e.test_repeated_requests import Repeating

CONFIG = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Owl"/></Labels></View>"""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir


class Forgetting(httpx.HTTPTransport):
    """Takes the labels out of tasks that are imported, as Label Studio does when its database is locked."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.left = times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if (
            request.url.path.endswith("/import")
            and "return_task_ids" in request.url.query.decode()
            and self.left
        ):
            self.left -= 1
            tasks = [{"data": task["data"]} for task in json.loads(request.read())]
            headers = {name: value for name, value in request.headers.items() if name != "content-length"}
            request = httpx.Request(request.method, request.url, headers=headers, json=tasks)
        return super().handle_request(request)


class Answering500(Repeating):
    """Carries a request out twice, and answers HTTP 500."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        before = self.repeated
        answer = super().handle_request(request)
        return httpx.Response(500, request=request) if self.repeated > before else answer


@pytest.fixture
def project(label_studio: Any) -> Any:
    return label_studio.client.projects.create(title="Complete", label_config=CONFIG)


def client_over(label_studio: Any, transport: httpx.HTTPTransport) -> Any:
    session = httpx.Client(transport=transport, timeout=60)
    return LabelStudio(base_url=label_studio.url, api_key=label_studio.token, httpx_client=session)


def labelled_sounds(folder: Path, count: int) -> list[Sound]:
    names = [f"{number}.wav" for number in range(count)]
    write_sounds(folder, names)
    sounds = []
    for number, name in enumerate(names):
        region = (RegionRecord(0.01 * number, 0.1, "Owl"),)
        by_person = ClipRecord(name, regions={"label": region})
        by_model = ClipRecord(name, regions={"label": region}, source="prediction", version="other-v1")
        sounds.append(Sound(folder / name, name, read_facts(folder / name, name), (by_person, by_model)))
    return sounds


def importer_of(label_studio: Any, client: Any, project: Any, folder: Path) -> Importer:
    place = Uploads(label_studio.url, label_studio.token, project.id)
    marking = Marking({("regions", "label"): parse_label_config(CONFIG)[0]}, "as-given")
    return Importer(client, label_studio.url, project.id, "audio", place, folder / "notes", marking)


def complete(label_studio: Any, project: Any, count: int) -> bool:
    tasks = list(label_studio.client.tasks.list(project=project.id, fields="all"))
    starts = [made["result"][0]["value"]["start"] for task in tasks for made in task.annotations]
    versions = [made.model_dump()["model_version"] for task in tasks for made in task.predictions]
    assert Counter(round(start, 2) for start in starts) == Counter(round(0.01 * n, 2) for n in range(count))
    assert versions == ["other-v1"] * count
    return len(tasks) == count


def test_labels_that_label_studio_lost_are_posted(label_studio: Any, project: Any, tmp_path: Path) -> None:
    client = client_over(label_studio, Forgetting())
    importer = importer_of(label_studio, client, project, tmp_path)
    outcome = importer.run(*importer.plan(labelled_sounds(tmp_path, 4)))
    assert outcome.imported == 4
    assert complete(label_studio, project, 4)


def test_tasks_made_twice_are_left_once_with_their_labels(
    label_studio: Any, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "REPEATED_AFTER_SECONDS", 0.0)
    client = client_over(label_studio, Repeating(f"/api/projects/{project.id}/import"))
    importer = importer_of(label_studio, client, project, tmp_path)
    importer.run(*importer.plan(labelled_sounds(tmp_path, 4)))
    assert complete(label_studio, project, 4)


def test_a_request_that_failed_after_it_saved_is_no_reason_to_send_it_again(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    client = client_over(label_studio, Answering500("import"))
    importer = importer_of(label_studio, client, project, tmp_path)
    outcome = importer.run(*importer.plan(labelled_sounds(tmp_path, 4)))
    assert outcome.imported + outcome.already_there == 4
    assert complete(label_studio, project, 4)


def test_sounds_that_are_there_without_labels_are_completed_or_named(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    sounds = labelled_sounds(tmp_path, 3)
    bare = importer_of(label_studio, label_studio.client, project, tmp_path)
    bare._marking = None
    bare.run(*bare.plan(sounds))
    tasks = {task.data["fname"]: task.id for task in tasks_of(label_studio, project)}
    label_studio.client.annotations.create(id=tasks["2.wav"], result=[], lead_time=3.0)
    for completed in (3, 0):
        importer = importer_of(label_studio, label_studio.client, project, tmp_path)
        outcome = importer.run(*importer.plan(sounds))
        assert (outcome.imported, outcome.already_there, outcome.completed) == (0, 3, completed)
        assert outcome.remarks == {"2.wav": {OTHER_LABELS: None}}
    held = {
        task.data["fname"]: task for task in label_studio.client.tasks.list(project=project.id, fields="all")
    }
    assert {name: len(task.annotations) for name, task in held.items()} == {
        "0.wav": 1,
        "1.wav": 1,
        "2.wav": 1,
    }
    assert {name: len(task.predictions) for name, task in held.items()} == {
        "0.wav": 1,
        "1.wav": 1,
        "2.wav": 1,
    }
    assert held["2.wav"].annotations[0]["result"] == []


def test_a_project_and_a_storage_made_twice_are_left_once(
    label_studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "REPEATED_AFTER_SECONDS", 0.0)
    for transport in (Repeating("/api/projects/"), Answering500("/api/projects/")):
        client, title = client_over(label_studio, transport), f"Twin {type(transport).__name__}"
        made = create_project(client, label_studio.url, title, CONFIG)
        named = [p for p in label_studio.client.projects.list(title=title) if p.title == title]
        assert (transport.repeated, [p.id for p in named]) == (1, [made.id])
    folder = label_studio.document_root / "twins"
    sounds = labelled_sounds(folder, 1)
    transport = Repeating("/api/storages/localfiles/", "/api/storages/localfiles")
    client = client_over(label_studio, transport)
    LocalFiles(client, label_studio.url, made.id, label_studio.document_root).prepare(sounds)
    assert transport.repeated == 1
    assert len(label_studio.client.import_storage.local.list(project=made.id)) == 1


def test_predictions_are_written_although_a_task_is_gone_or_the_answer_is_lost(
    label_studio: Any, project: Any
) -> None:
    made = label_studio.client.projects.import_tasks(
        id=project.id, request=[{"data": {"audio": f"/{n}.wav"}} for n in range(3)], return_task_ids=True
    )
    label_studio.client.tasks.delete(id=made.task_ids[1])
    predictions = [
        {"task": number, "result": [], "score": 0.5, "model_version": "logmel-v1"} for number in made.task_ids
    ]
    transport = Answering500("/import/predictions")
    import_predictions(client_over(label_studio, transport), project.id, predictions[:1])
    import_predictions(label_studio.client, project.id, predictions[1:])
    for number in (made.task_ids[0], made.task_ids[2]):
        assert len(label_studio.client.predictions.list(task=number)) == 1


def test_annotators_keep_their_annotations_or_their_names(label_studio: Any, tmp_path: Path) -> None:
    me = label_studio.client.users.whoami()
    other = label_studio.client.users.create(email="ben@example.com", username="ben@example.com")
    write_sounds(tmp_path, ["1.wav"])
    table = tmp_path / "labels.jsonl"
    with jsonl.writing(table) as add:
        for who in ("Ben@example.com", "gone@example.com", str(me.id), None):
            add([ClipRecord("1.wav", regions={"label": (RegionRecord(0, 0.1, "Owl"),)}, annotator=who)])
    title = "Three annotators"
    code, text = run(label_studio, table, "--project", title, "--create")
    assert code == 0, text
    assert "gone@example.com" in text
    assert f"{me.id} ({me.email})" in text
    (project,) = [p for p in label_studio.client.projects.list(title=title) if p.title == title]
    (task,) = label_studio.client.tasks.list(project=project.id, fields="all")
    by = [made["completed_by"] for made in task.annotations]
    numbers = Counter(who["id"] if isinstance(who, dict) else who for who in by)
    assert numbers == {me.id: 3, other.id: 1}
    assert task.data["annotators"] == "gone@example.com"

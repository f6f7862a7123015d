"""The loop, alive: a real Label Studio, a real Redis, a real worker, a real API."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from earmark.errors import LabelStudioError
from earmark.jobs import redis_server
from earmark.labelstudio.connection import check_webhook, connect_backend
from earmark.monitoring.doctor import examine
from earmark.settings import Settings
from scripts.demo_check import Loop
from scripts.demo_clips import DemoClip, Event, make_clips
from scripts.demo_project import connect, import_clips
from tests.running import RunningBackend as Backend
from tests.running import running_backend
from tests.waiting import until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def backend(label_studio: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("backend")
    with running_backend(label_studio, folder, TRAIN_DEBOUNCE_SECONDS="1") as running:
        yield running


def connected_loop(
    label_studio: Any, backend: Backend, title: str, label_config: str, folder: Path, clips: list[DemoClip]
) -> Loop:
    """A new project with the clips as uploads, connected to the backend."""
    client, url = label_studio.client, label_studio.url
    project = client.projects.create(title=title, label_config=label_config)
    tasks = import_clips(client, url, label_studio.token, project.id, folder, clips)
    return connect(client, url, project, backend.url, tasks)


def titles(loop: Loop) -> list[str]:
    """Names of the backends that are connected to the project."""
    return [backend.title for backend in loop.client.ml.list(project=loop.project_id)]


def test_regions_and_tags_of_sample_clips(label_studio: Any, backend: Backend, tmp_path: Path) -> None:
    clips = make_clips(tmp_path, count=24, seed=5)
    config = (ROOT / "label_config.xml").read_text()
    loop = connected_loop(label_studio, backend, "Sample clips", config, tmp_path, clips)
    numbers = sorted(loop.clips)
    taught, judged = numbers[:16], numbers[16:]
    before = loop.predict(judged)
    assert {item["model_version"] for item in before} == {"logmel-v0"}
    loop.annotate(taught[:15])
    # Whatever Redis held goes: the database says what is to be done.
    redis_server.connect(backend.settings).flushall()
    loop.annotate(taught[15:])
    version = loop.wait_for_training(len(taught))
    after = loop.predict(judged)
    assert {item["model_version"] for item in after} == {version}
    assert loop.lwlrap(judged, after) > loop.lwlrap(judged, before)
    assert sum(bool(r["type"] == "labels") for item in after for r in item["result"]) >= len(judged) / 2

    # Open tasks hold the new predictions in Label Studio itself, under the name that it shows.
    loop.wait_for_predictions(version, judged)
    until(lambda: titles(loop) == [version], "the backend is renamed to the version")
    assert loop.client.projects.get(id=loop.project_id).model_version == version

    # Deleting what was learned about is learned too, down to two examples.
    for number in taught[2:]:
        for annotation in loop.client.annotations.list(id=number):
            loop.client.annotations.delete(id=annotation.id)
    assert loop.wait_for_training(2) not in ("logmel-v0", version)


def test_the_least_certain_task_comes_next(label_studio: Any, backend: Backend, tmp_path: Path) -> None:
    """Uncertainty sampling by the newest version, and live predictions, though nobody touched a setting."""
    clips = make_clips(tmp_path, count=16, seed=9)
    config = (ROOT / "label_config.xml").read_text()
    loop = connected_loop(label_studio, backend, "Sampling", config, tmp_path, clips)
    client, project = loop.client, loop.project_id
    client.projects.update(id=project, sampling="Uncertainty sampling")
    # A user connected it by hand, under a name that no prediction has
    (ours,) = client.ml.list(project=project)
    client.ml.update(id=ours.id, url=ours.url, project=project, title="The lab's ear")
    numbers = sorted(loop.clips)
    foreign = client.predictions.create(task=numbers[9], model_version="another-model", score=0.0, result=[])
    versions: list[str] = []
    for taught in (numbers[:6], numbers[6:8]):
        loop.annotate(taught)
        versions.append(loop.wait_for_training(8 if versions else 6))
        loop.wait_for_predictions(versions[-1], numbers[8:])
    newest = versions[-1]
    until(lambda: titles(loop) == [newest], "the backend is renamed to the version")
    assert client.projects.get(id=project).model_version == newest

    loop.wait_for_predictions_to_be_only({newest, "another-model"}, numbers[8:])
    assert client.predictions.get(id=foreign.id).model_version == "another-model"
    scores = {
        number: held.score
        for number in numbers[8:]
        for held in client.predictions.list(task=number)
        if held.model_version == newest
    }
    headers = {"Authorization": f"Token {label_studio.token}"}
    following = httpx.get(f"{label_studio.url}/api/projects/{project}/next", headers=headers, timeout=60)
    assert following.json()["id"] == min(scores, key=lambda number: scores[number])

    client.projects.import_tasks(
        id=project, request=[{"data": {"audio": label_studio_address(loop, numbers[0])}}]
    )
    new = max(task.id for task in client.tasks.list(project=project))
    opened = httpx.get(
        f"{label_studio.url}/api/tasks/{new}", params={"project": project}, headers=headers, timeout=60
    )
    assert [held["model_version"] for held in opened.json()["predictions"]] == [newest]


def label_studio_address(loop: Loop, task: int) -> str:
    """Where the sound of a task is."""
    return str(loop.client.tasks.get(id=task).data["audio"])


def test_instruments_from_forty_annotations(label_studio: Any, backend: Backend, shared_audio: Path) -> None:
    """60 real recordings, 40 annotated through Label Studio; chance is 0.29 lwlrap."""
    folder = shared_audio / "instruments"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["labels"] for row in rows})
    of_label = {label: [row for row in rows if row["labels"] == label] for label in labels}
    # The first six of each instrument: four to annotate, two to judge by.
    rows = [of_label[label][n] for n in range(6) for label in labels]
    clips = []
    for row in rows:
        seconds = soundfile.info(folder / row["fname"]).duration
        clips.append(DemoClip(row["fname"], seconds, (Event(0.0, seconds, row["labels"]),)))
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    control = f'<Choices name="tags" toName="audio">{choices}</Choices>'
    config = f'<View><Audio name="audio" value="$audio"/>{control}</View>'
    loop = connected_loop(label_studio, backend, "Instruments", config, folder, clips)
    numbers = sorted(loop.clips)
    loop.annotate(numbers[:40])
    loop.wait_for_training(40)
    reached = loop.lwlrap(numbers[40:], loop.predict(numbers[40:]))
    print(f"lwlrap on 20 clips after 40 annotations: {reached:.3f}")
    assert reached >= 0.65


def test_a_missing_webhook_is_noticed(label_studio: Any, backend: Backend) -> None:
    client = label_studio.client
    config = (ROOT / "label_config.xml").read_text()
    project = client.projects.create(title="No webhook", label_config=config)
    connect_backend(client, label_studio.url, project.id, backend.url, "logmel-v0")
    for webhook in client.webhooks.list(project=project.id):
        client.webhooks.delete(id=webhook.id)
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false"):
        check_webhook(client, label_studio.url, project.id, backend.url)
    settings = Settings(
        _env_file=None,
        **backend.settings.model_dump(exclude_unset=True),
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
    )
    findings = {finding.subject: finding for finding in examine(settings)}
    assert findings["token"].text == f"legacy token of {label_studio.username}"
    assert findings["API"].level == "fine"
    assert "has not registered its webhook" in findings[f"project {project.id} webhook"].text


def test_an_address_without_a_backend_is_refused_with_the_reason(label_studio: Any) -> None:
    client = label_studio.client
    config = (ROOT / "label_config.xml").read_text()
    project = client.projects.create(title="Nobody there", label_config=config)
    with pytest.raises(LabelStudioError):
        connect_backend(client, label_studio.url, project.id, "http://127.0.0.1:9", "logmel-v0")

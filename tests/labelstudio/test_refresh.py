"""What a training, a comparison and a page that is no answer do to what Label Studio holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from backend import sync
from backend.audio.source import LocatedSound
from backend.deadline import Deadline
from backend.embeddings import Ear, Sound
from backend.errors import EarmarkError, LabelStudioError, SoundUnreachableError
from backend.labelstudio.access import Credentials
from backend.labelstudio.listing import Listing
from backend.refresh import refresh_predictions
from backend.services import Services
from backend.settings import Settings
from backend.store.events import pending_work
from backend.store.tables import Project
from backend.sync import sync_when_rested
from backend.training import learn
from benchmarks.simulated_label_studio import Notice, SimulatedLabelStudio, studio
from tests.lessons import config, make_tones, receive, result_of

TOKEN = "0123456789abcdef0123456789abcdef01234567"
LABELS = ["Low", "High"] * 4


@dataclass
class Scene:
    """A project of eight tones in a simulated Label Studio, and the backend that is connected to it."""

    label_studio: SimulatedLabelStudio
    services: Services
    key: str
    tasks: list[int]

    def annotate(self, *places: int) -> None:
        for place in places:
            result = result_of(LABELS[place])
            self.label_studio.create_annotation(self.tasks[place], result=result, lead_time=1.0)

    def learn(self) -> str | None:
        training = learn(self.services, self.key)
        assert training is not None
        return training.version

    def shown(self, place: int) -> list[tuple[str, int]]:
        """Version and number of items of each prediction of a task."""
        held = self.label_studio.rows.predictions.where("task", self.tasks[place])
        return [(row["model_version"], len(row["result"])) for row in held]

    def project(self) -> Project:
        with self.services.database.read() as session:
            return session.get_one(Project, self.key)

    @property
    def title(self) -> str:
        (backend,) = self.label_studio.rows.backends.where("project", 1)
        return str(backend["title"])


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    make_tones(uploads, LABELS)
    monkeypatch.setattr(studio, "ask", lambda *_: {"model_version": "logmel-v0"})
    with SimulatedLabelStudio(uploads, TOKEN) as running:
        settings = Settings(
            _env_file=None,
            data_dir=tmp_path / "data",
            encoder="logmel",
            label_studio_url=running.url,
            label_studio_api_key=TOKEN,  # type: ignore[arg-type]
        )
        with Services(settings) as services:
            services.database.upgrade()

            def send(notice: Notice) -> None:
                receive(services, json.loads(notice.body))

            running.send = send
            project = running.create_project("Tones", config("Low", "High"))
            running.connect({"url": "http://127.0.0.1:1", "project": project, "title": "logmel-v0"})
            tasks = running.import_tasks(
                project, [(f"{place + 1}.wav", None) for place in range(len(LABELS))]
            )
            yield Scene(running, services, running.project_uid(project), tasks)


def fail_to_hear(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    extract = Ear.extract

    def sometimes(self: Ear, located: LocatedSound, address: str, *deadline: Deadline) -> Sound:
        if address.rpartition("/")[2] in names:
            raise SoundUnreachableError("The sound cannot be reached just now.")
        return extract(self, located, address, *deadline)

    monkeypatch.setattr(Ear, "extract", sometimes)


def test_a_sound_that_cannot_be_had_keeps_the_prediction_that_it_has(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.annotate(0, 1, 2, 3)
    assert scene.learn() == "logmel-v1"
    assert refresh_predictions(scene.services, scene.key) == 4
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)]] * 2
    scene.annotate(4)
    assert scene.learn() == "logmel-v2"
    with monkeypatch.context() as patch:
        fail_to_hear(patch, "7.wav")
        assert refresh_predictions(scene.services, scene.key) == 2
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)], [("logmel-v2", 2)]]
    assert (scene.title, scene.project().refreshed_version) == ("logmel-v2", "logmel-v2")


def test_where_nothing_can_be_predicted_nothing_changes_and_it_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    refresh_predictions(scene.services, scene.key)
    scene.annotate(4, 5)
    assert scene.learn() == "logmel-v2"
    with monkeypatch.context() as patch:
        fail_to_hear(patch, "7.wav", "8.wav")
        assert refresh_predictions(scene.services, scene.key) == 0
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)]] * 2
    project = scene.project()
    assert (scene.title, project.refreshed_version) == ("logmel-v1", "logmel-v1")
    assert project.refresh_after > time.time()
    assert refresh_predictions(scene.services, scene.key) == 2
    assert scene.title == "logmel-v2"


def test_start_training_takes_in_what_no_webhook_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_when_rested(scene.services, scene.key)
    annotated = ("1.wav", {"result": result_of("Low")})
    scene.label_studio.import_tasks(1, [annotated, ("2.wav", {"result": result_of("High")})])
    sync_when_rested(scene.services, scene.key)
    assert scene.services.active(scene.key) is None
    monkeypatch.setattr(sync, "SHORTEST_ASKED_REST_SECONDS", 0.0)
    monkeypatch.setattr(sync, "ASKED_REST_SHARE", 0)
    receive(scene.services, {"action": "START_TRAINING", "project": scene.label_studio.rows.project(1)})
    assert scene.learn() == "logmel-v1"
    with scene.services.database.read() as session:
        assert pending_work(session) == []


def test_what_failed_rests_also_for_those_who_ask(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compare(*_: object) -> sync.Difference:
        asked.append(1)
        raise ValueError("Nobody expected it.")

    monkeypatch.setattr(sync, "_compare", compare)
    with pytest.raises(ValueError, match="Nobody"):
        sync_when_rested(scene.services, scene.key, asked_for=True)
    assert scene.project().sync_after > time.time()
    sync_when_rested(scene.services, scene.key, asked_for=True)
    assert asked == [1]


@pytest.mark.parametrize("page", ["<html>Sign in</html>", "[]", "{}", '"text"'])
def test_a_page_that_is_no_answer_is_an_error_with_a_remedy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """A proxy that wants a login answers 200, too."""
    listing = Listing(scene.services.access.required(None))
    for method in ("get", "post"):
        answer = httpx.Response(200, text=page, request=httpx.Request(method, "http://127.0.0.1"))
        monkeypatch.setattr(httpx, method, lambda *_, answer=answer, **__: answer)
    with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL"):
        next(listing.tasks(1))
    if page != "{}":
        with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL"):
            listing.project(1)
    refresh_token = "eyJ0.e30.x"
    with pytest.raises(EarmarkError, match="LABEL_STUDIO_URL"):
        Credentials("http://127.0.0.1", refresh_token).headers()

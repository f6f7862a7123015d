"""A project in a simulated Label Studio, with the backend's services beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.simulated_label_studio import Notice, SimulatedLabelStudio, studio
from earmark.learning.training import learn
from earmark.prediction import write_windows
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Project
from earmark.store.registry import promote
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

    def promote(self, version: str) -> None:
        """Make a version the one that answers."""
        with self.services.database.write() as session:
            promote(session, self.key, version, self.services.encoder_identity())

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
    for name in ("SHORTEST_IDLE_SECONDS", "IDLE_GAPS", "IDLE_PAUSE_SECONDS"):  # tests annotate at once
        monkeypatch.setattr(write_windows, name, 0.0)
    with SimulatedLabelStudio(uploads, TOKEN) as running:
        settings = Settings(
            _env_file=None,
            data_dir=tmp_path / "data",
            encoder="logmel",
            label_studio_url=running.url,
            label_studio_api_key=TOKEN,
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

"""The simulated Label Studio speaks and answers as the real one was recorded to."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks import chaos_annotators
from benchmarks.chaos_annotators import Wire
from benchmarks.simulated_label_studio import Notice, SimulatedLabelStudio, studio
from earmark.audio.source import LabelStudioAccess
from earmark.errors import LabelStudioError, ProjectGoneError
from earmark.labelstudio.task_pages import ANNOTATED, OPEN, SKIPPED, Listing

TRAFFIC = Path(__file__).parents[1] / "fixtures" / "label_studio_traffic.jsonl"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = '<View><Audio name="audio" value="$audio"/></View>'
TAG = [{"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": ["a"]}}]
PARTS = ("annotation", "annotations", "task", "tasks", "project", "params")


@pytest.fixture
def label_studio(tmp_path: Path) -> Iterator[SimulatedLabelStudio]:
    """One with a project of three annotated tasks, one skipped and one open."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with SimulatedLabelStudio(tmp_path, TOKEN) as running:
        project = running.create_project("Simulated", CONFIG)
        annotated = ("a.wav", {"result": TAG})
        running.import_tasks(project, [annotated, annotated, annotated])
        running.import_tasks(project, [("a.wav", {"was_cancelled": True}), ("missing.wav", None)])
        yield running


@pytest.fixture
def connected(
    label_studio: SimulatedLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> tuple[SimulatedLabelStudio, dict[str, Any]]:
    """The same with a backend that takes everything; what it was sent, by action or path."""
    requests: dict[str, Any] = {}

    def ask(_backend: object, path: str, body: object, _seconds: float) -> dict[str, Any]:
        requests[path] = body
        return {"model_version": "logmel-v1", "results": [{"result": TAG, "score": 0.5}]}

    def send(notice: Notice) -> None:
        requests[notice.action] = json.loads(notice.body)

    monkeypatch.setattr(studio, "ask", ask)
    label_studio.send = send
    label_studio.connect({"url": "http://127.0.0.1:1", "project": 1, "title": "logmel-v1"})
    return label_studio, requests


def test_what_it_sends_has_the_recorded_shape(
    connected: tuple[SimulatedLabelStudio, dict[str, Any]],
) -> None:
    running, requests = connected
    running.import_tasks(1, [("a.wav", {"result": TAG})])
    number = running.create_annotation(5, result=TAG, lead_time=2.5)
    running.update_annotation(number, result=TAG, ground_truth=True)
    running.delete_annotation(number)
    running.open_task(5)
    running.delete_task(5)
    running.start_training(1)
    running.change_project(1, {"description": "x"})
    recorded = _recorded()
    del requests["/health"]
    assert requests.keys() <= recorded.keys()
    assert len(requests) == 9
    for name, body in requests.items():
        shapes = recorded[name]
        assert any(body.keys() == shape.keys() for shape in shapes), name
        for part in PARTS:
            seen = [item for shape in shapes for item in _objects(shape.get(part))]
            kinds: dict[str, set[type]] = defaultdict(set)
            for entry in seen:
                for field, value in entry.items():
                    kinds[field].add(type(value))
            for entry in _objects(body.get(part)):
                for field, value in entry.items():
                    assert field in kinds, f"{name}: {part}.{field} was never recorded"
                    assert type(value) in kinds[field] | {type(None)}, f"{name}: {part}.{field}"


def test_start_training_comes_before_its_annotation(label_studio: SimulatedLabelStudio) -> None:
    actions: list[str] = []
    label_studio.rows.add_webhook(1, "http://127.0.0.1:1/webhook")
    label_studio.rows.backends.add(project=1, url="http://127.0.0.1:1", auth_method="NONE")
    label_studio.send = lambda notice: actions.append(notice.action)
    label_studio.create_annotation(5, result=TAG, starts_training=True)
    assert actions == ["START_TRAINING", "ANNOTATION_CREATED"]


def test_what_the_backend_asks_for(label_studio: SimulatedLabelStudio) -> None:
    listing = Listing(_access(label_studio, TOKEN))
    assert [len(page) for page in listing.tasks(1, ANNOTATED, page_tasks=2)] == [2, 1]
    assert [task["id"] for page in listing.tasks(1, SKIPPED) for task in page] == [4]
    assert [task["id"] for task in listing.page(1, OPEN, ordering="tasks:predictions_score")] == [4, 5]
    assert not listing.page(1, OPEN, number=2), "a page behind the last one is a 404"
    assert listing.annotation_exists(1)
    assert not listing.annotation_exists(99)
    with pytest.raises(ProjectGoneError):
        listing.project(2)
    with pytest.raises(LabelStudioError, match="refuses the token"):
        Listing(_access(label_studio, "another")).project(1)


def test_sounds_need_the_token(label_studio: SimulatedLabelStudio) -> None:
    def status(name: str, headers: dict[str, str]) -> int:
        return httpx.get(f"{label_studio.url}/data/upload/1/{name}", headers=headers).status_code

    token = {"Authorization": f"Token {TOKEN}"}
    assert [status("a.wav", token), status("missing.wav", token), status("a.wav", {})] == [200, 500, 401]


@pytest.mark.parametrize("answers", [lambda _: True, lambda number: number % 3 > 0])
def test_the_wire_delays_and_repeats_and_never_retries(
    answers: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[int] = []

    def post(notice: Notice) -> httpx.Response | None:
        number = int(notice.body)
        arrived.append(number)
        return httpx.Response(201, json={"event": number}) if answers(number) else None

    monkeypatch.setattr(chaos_annotators, "post", post)
    wire = Wire(random.Random(3))
    for number in range(300):
        wire.send(Notice(1, "ANNOTATION_CREATED", "", {}, str(number).encode(), 1.0))
    wire.deliver_rest()
    assert set(arrived) == set(range(300)), "each arrives or is lost in one try at least"
    tally = wire.tally
    assert tally["sent"] == 300
    assert len(arrived) == 300 + tally["repeated"]
    assert tally["lost"] == sum(not answers(number) for number in range(300))
    assert all(arrived.count(number) == 1 for number in range(300) if not answers(number))
    firsts = list(dict.fromkeys(arrived))
    assert 10 < tally["reordered"] < 60
    assert firsts != sorted(firsts)
    assert tally["repeated"] > 5


def _access(running: SimulatedLabelStudio, token: str) -> LabelStudioAccess:
    return LabelStudioAccess(running.url, lambda: {"Authorization": f"Token {token}"})


def _recorded() -> dict[str, list[dict[str, Any]]]:
    """Bodies that the real one sent, by action, else by path."""
    bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in TRAFFIC.read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        body = request["body"] or {}
        bodies[body.get("action", request["path"])].append(body)
    return bodies


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]

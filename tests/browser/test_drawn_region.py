"""A region drawn in Label Studio's editor: the label picks itself, and a finished task stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.models import Project
from scripts.demo_check import Loop
from scripts.demo_clips import make_clips
from scripts.demo_project import connect, import_clips
from tests.browser.annotator import Annotator
from tests.browser.conftest import watch
from tests.running import RunningBackend, RunningLabelStudio

ROOT = Path(__file__).parents[2]
WAIT_MS = 60_000
TAUGHT = 16

EDITOR_READY = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  return !!annotation?.names.get('audio')?._ws?.loaded;
}"""
RESULT = "() => window.Htx.annotationStore.selected.serializeAnnotation()"
NOTHING_SELECTED = "() => window.Htx.annotationStore.selected.selectedRegions.length === 0"
SUGGEST_GONE = "() => window.Htx.annotationStore.selected.serializeAnnotation()\
.every(item => item.from_name !== 'suggest')"
WAVEFORM = "() => {const r = document.querySelector('.lsf-audio-tag canvas').getBoundingClientRect(); \
return [r.x, r.y, r.width, r.height]}"

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Desk:
    """A browser page in Label Studio, and the project that it works on."""

    page: Any
    url: str
    loop: Loop
    settings: Settings

    def open(self, task: int, auto_annotation: bool) -> None:
        """Show a task in the editor, with Auto-Annotation on or off."""
        self.page.evaluate(f"localStorage.setItem('autoAnnotation', '{str(auto_annotation).lower()}')")
        self.page.goto(f"{self.url}/projects/{self.loop.project_id}/data?task={task}")
        self.page.wait_for_function(EDITOR_READY, timeout=WAIT_MS)

    def open_empty(self, task: int) -> None:
        """Show a task, without what was predicted for it.

        The label that asks does so with Auto-Annotation off, too; deleted regions would ask otherwise.
        """
        self.open(task, auto_annotation=False)
        self.page.evaluate("() => window.Htx.annotationStore.selected.deleteAllRegions()")
        assert self.result() == []

    def at(self, seconds: float, duration: float) -> tuple[float, float]:
        """Where a time is on the waveform."""
        x, y, width, height = self.page.evaluate(WAVEFORM)
        return x + width * seconds / duration, y + height * 0.6

    def drag(self, start: float, end: float, duration: float) -> None:
        """Draw over a stretch of time."""
        mouse = self.page.mouse
        mouse.move(*self.at(start, duration))
        mouse.down()
        for part in range(1, 11):
            mouse.move(*self.at(start + (end - start) * part / 10, duration))
        mouse.up()

    def last_answers(self, act: Callable[[], None]) -> list[dict[str, Any]]:
        """Do something that makes the editor ask; returns the backend's last answer, when it is shown."""
        with self.page.expect_response(
            lambda r: "interactive-annotating" in r.url, timeout=WAIT_MS
        ) as response_info:
            act()
        answer = response_info.value.json()
        self.page.wait_for_function("() => !window.Htx.awaitingSuggestions", timeout=WAIT_MS)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def result(self) -> list[dict[str, Any]]:
        """What the editor would submit."""
        items: list[dict[str, Any]] = self.page.evaluate(RESULT)
        return items

    def labels(self) -> dict[str, list[str]]:
        """By control, the labels of all regions in the editor."""
        by_control: dict[str, list[str]] = {}
        for item in self.result():
            if item["type"] == "labels":
                by_control.setdefault(item["from_name"], []).extend(item["value"]["labels"])
        return by_control


@pytest.fixture(scope="module")
def desk(
    chromium: Browser,
    label_studio: RunningLabelStudio,
    backend: RunningBackend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("drawn-region")
    clips = make_clips(folder, count=30, seed=5)
    client, url = label_studio.client, label_studio.url
    config = (ROOT / "label_config.xml").read_text()
    project = client.projects.create(title="Drawn regions", label_config=config)
    tasks = import_clips(client, url, label_studio.token, project.id, folder, clips)
    loop = connect(client, url, project, backend.url, tasks)
    loop.annotate(sorted(tasks)[:TAUGHT])
    loop.wait_for_training(TAUGHT)
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    observed = watch(context)
    page = context.new_page()
    Annotator(page, url, observed).log_in(label_studio.username, label_studio.password)
    yield Desk(page, url, loop, backend.settings)
    context.close()
    assert (observed.outside, observed.errors) == ([], [])


def fresh_clips(desk: Desk) -> list[int]:
    """Tasks that were not annotated, with one sound each, well inside the clip."""
    return [
        number
        for number in sorted(desk.loop.clips)[TAUGHT:]
        if len(events := desk.loop.clips[number].events) == 1
        and events[0].onset > 0.4
        and events[0].offset < desk.loop.clips[number].duration - 0.4
    ]


def test_the_label_picks_itself_and_the_finished_task_is_left_alone(desk: Desk) -> None:
    task = fresh_clips(desk)[0]
    clip = desk.loop.clips[task]
    (event,) = clip.events
    page = desk.page
    desk.open_empty(task)
    desk.drag(event.onset - 0.15, event.offset + 0.15, clip.duration)
    assert desk.result() == []  # a stretch without a label is no region yet

    (answer,) = desk.last_answers(lambda: page.keyboard.press("q"))
    assert answer["value"]["labels"] == [event.label]
    assert desk.labels() == {"label": [event.label], "suggest": ["Suggest"]}
    ids = {item["id"] for item in desk.result()}
    assert ids == {answer["id"]}
    for item in desk.result():
        assert abs(item["value"]["start"] - event.onset) < 0.1
        assert abs(item["value"]["end"] - event.offset) < 0.1

    # The editor adds the label that asked to any answer; its key removes it, without another request
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.keyboard.press("q")
    page.wait_for_function(SUGGEST_GONE, timeout=WAIT_MS)
    assert desk.labels() == {"label": [event.label]}
    assert {item["id"] for item in desk.result()} == ids
    assert not [url for url in requests if "interactive-annotating" in url]
    assert desk.last_answers(lambda: page.keyboard.press("q")) == []
    assert desk.labels() == {"label": [event.label], "suggest": ["Suggest"]}

    # The annotator's own label stays, whatever the model thinks
    other = next(label for label in ("Bell", "Siren") if label != event.label)
    assert desk.last_answers(lambda: page.locator(".lsf-label", has_text=other).first.click()) == []
    assert desk.labels() == {"label": [other], "suggest": ["Suggest"]}

    shown = desk.result()
    with page.expect_response(
        lambda r: r.request.method == "POST" and f"/tasks/{task}/annotations" in r.url, timeout=WAIT_MS
    ) as submitted:
        page.locator("button", has_text="Submit").click()
    assert submitted.value.status == 201

    desk.open(task, auto_annotation=True)
    before = desk.result()
    assert sorted(item["id"] for item in before) == sorted(item["id"] for item in shown)
    middle = (before[0]["value"]["start"] + before[0]["value"]["end"]) / 2
    assert desk.last_answers(lambda: page.mouse.click(*desk.at(middle, clip.duration))) == []
    assert [(i["id"], i["value"]) for i in desk.result()] == [(i["id"], i["value"]) for i in before]
    (stored,) = desk.loop.client.annotations.list(id=task)
    assert len(stored.result) == len(before)


def test_turned_off_without_a_restart(desk: Desk) -> None:
    task = fresh_clips(desk)[1]
    clip = desk.loop.clips[task]
    (event,) = clip.events

    def switch(on: bool) -> None:
        database = Database(desk.settings.sqlalchemy_url)
        with database.write() as session:
            session.get_one(Project, desk.loop.project_key).assist = on
        database.close()

    switch(False)
    desk.open_empty(task)
    desk.drag(event.onset, event.offset, clip.duration)
    with desk.page.expect_response(lambda r: "/drafts" in r.url, timeout=WAIT_MS):
        assert desk.last_answers(lambda: desk.page.keyboard.press("q")) == []
    assert desk.labels() == {"suggest": ["Suggest"]}
    # Selecting the region again asks again, although the editor has saved a draft of it by itself
    switch(True)
    desk.page.keyboard.press("Escape")
    desk.page.wait_for_function(NOTHING_SELECTED, timeout=WAIT_MS)
    middle = (event.onset + event.offset) / 2
    (answer,) = desk.last_answers(lambda: desk.page.mouse.click(*desk.at(middle, clip.duration)))
    assert answer["value"]["labels"] == [event.label]
    assert json.dumps(desk.labels()).count(event.label) == 1

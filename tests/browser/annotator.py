"""Page object for Label Studio's labelling interface: an annotator who works in a real browser.

Label Studio 1.23.2 is driven as a person sees it: by its buttons, check boxes and the list of regions. What
its editor sends and gets is read from the requests of the page, never by requests of our own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Response, expect

SCREENSHOTS_VARIABLE = "EARMARK_SCREENSHOTS"
"""Environment variable: folder for screenshots; without it none are made."""
NEXT_TASK = "id=next_task"
"""Part of the address that the label stream fetches each clip from: ``/api/dm/actions?id=next_task``."""
SOUND_LOADED = "() => [...(window.Htx?.annotationStore?.selected?.names ?? new Map()).values()].some(\
tag => tag._ws?.loaded)"
"""Expression for the page: the open annotation's audio control can play."""
STEP_MILLISECONDS = 30_000
"""Longest wait for one answer of Label Studio or one change on the page; a busy machine is slow."""


@dataclass(frozen=True)
class Clip:
    """A clip that the editor has opened, with the predictions and drafts that Label Studio sent with it."""

    task: int
    predictions: list[dict[str, Any]]
    drafts: list[dict[str, Any]]

    @property
    def prediction(self) -> int | None:
        """Number of the prediction that the editor starts from: the first one; None without any."""
        return int(self.predictions[0]["id"]) if self.predictions else None

    @property
    def version(self) -> str | None:
        """Version that made that prediction."""
        return str(self.predictions[0]["model_version"]) if self.predictions else None


@dataclass(frozen=True)
class Submission:
    """One Submit or Update: what the editor sent, and Label Studio's answer to it."""

    status: int
    sent: dict[str, Any]
    answer: dict[str, Any]


@dataclass
class Observed:
    """What a browser did that a test must not accept: requests to other machines, errors of the page."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Annotator:
    """One person with one browser window, logged in to one Label Studio."""

    def __init__(self, page: Page, url: str, observed: Observed) -> None:
        self.page, self.url, self.observed = page, url, observed
        self._next_tasks: list[Response] = []
        page.set_default_timeout(STEP_MILLISECONDS)
        page.on("response", self._remember)

    def log_in(self, username: str, password: str) -> None:
        """Log in with an account that exists."""
        self.page.goto(f"{self.url}/user/login/")
        self._send_account(username, password)

    def sign_up(self, invite_link: str, username: str, password: str) -> None:
        """Make an account through the link that an administrator hands out, and log in with it."""
        self.page.goto(invite_link)
        self._send_account(username, password)

    def _send_account(self, username: str, password: str) -> None:
        self.page.fill("input[name=email]", username)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda address: "/user/" not in address)

    # Opening clips

    def open_data_manager(self, project: int) -> None:
        """Open the list of a project's tasks."""
        with self.page.expect_response(lambda answer: "/api/tasks?" in answer.url):
            self.page.goto(f"{self.url}/projects/{project}/data")

    def open_label_stream(self, project: int) -> Clip:
        """Press "Label All Tasks" and wait for the first clip."""
        self.open_data_manager(project)
        return self._after_next_task(lambda: self.page.get_by_role("button", name="Label All Tasks").click())

    def reload(self) -> Clip:
        """Load the page of the label stream again, which opens the task that is locked for its user."""
        return self._after_next_task(self.page.reload)

    def open_task(self, project: int, task: int) -> None:
        """Open one task from the Data Manager, as a click on its row does."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self._wait_for_editor(task)

    def go_back(self, task: int) -> None:
        """Return in the label stream to the clip before, which is this task."""
        self.page.get_by_test_id("prev-task").click()
        self._wait_for_editor(task)

    def wait_for_next_clip(self) -> Clip:
        """Wait for the clip that follows a Submit in the label stream."""
        return self._after_next_task(lambda: None)

    def _after_next_task(self, act: Any) -> Clip:
        act()
        while not self._next_tasks:
            with self.page.expect_response(lambda answer: NEXT_TASK in answer.url):
                pass
        body = self._next_tasks.pop(0).json()
        clip = Clip(int(body["id"]), list(body["predictions"]), list(body["drafts"]))
        self._wait_for_editor(clip.task)
        return clip

    def _remember(self, answer: Response) -> None:
        if NEXT_TASK in answer.url:
            self._next_tasks.append(answer)

    def _wait_for_editor(self, task: int) -> None:
        """Wait until the editor shows this task, with its annotation and its sound loaded."""
        shown = self.page.locator(".lsf-current-task__task-id")
        number = re.compile(rf"^\s*#?{task}\b")
        expect(shown).to_have_text(number, use_inner_text=True)
        length = self.page.get_by_test_id("timebox-end-time").locator("input")
        expect(length).not_to_have_value("00:00:00:000")
        self.page.wait_for_function(SOUND_LOADED)

    # What the interface shows

    def card(self, name: str) -> Locator:
        """The card above an opened task with a name: an annotator, or a version that made a prediction.

        The editor may show the annotation's card a second before those of predictions.
        """
        return self.page.locator(".lsf-annotation-button__name").filter(has_text=name).first

    def show_column(self, title: str) -> None:
        """Tick a column in the Data Manager's menu of columns."""
        self.page.get_by_role("button", name="Columns").first.click()
        self.page.locator(".lsf-menu-dm__item").get_by_text(title, exact=True).click()
        header = self.page.locator(".lsf-table-head").get_by_text(title).first
        expect(header).to_be_visible()

    def row(self, text: str) -> Locator:
        """The row in the Data Manager that contains a text, as the name of a file."""
        return self.page.get_by_test_id("table-row").filter(has_text=text).first

    def turn_on_auto_annotation(self) -> None:
        """Turn on Auto-Annotation; the browser remembers it for the tasks that are opened later."""
        self.page.get_by_text("Auto-Annotation").first.click()

    def click_waveform(self, place: float) -> None:
        """Click on the waveform; ``place`` is from 0, the start of the clip, to 1, its end."""
        waveform = self.page.locator(".lsf-audio-tag canvas").first
        box = waveform.bounding_box()
        assert box is not None
        waveform.click(position={"x": box["width"] * place, "y": box["height"] * 0.6})

    # Annotating

    def draw(self, label: str, start: float, end: float, height: float = 0.6) -> None:
        """Draw a region with a label over the waveform.

        Parameters
        ----------
        start, end, height
            Places on the waveform, from 0, the start of the clip and the top, to 1, its end and the bottom.
        """
        self.page.locator(".lsf-label").get_by_text(label, exact=True).first.click()
        box = self.page.locator(".lsf-audio-tag canvas").first.bounding_box()
        assert box is not None
        y = box["y"] + box["height"] * height
        self.page.mouse.move(box["x"] + box["width"] * start, y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * end, y, steps=10)
        self.page.mouse.up()

    def play(self) -> None:
        """Play the clip, and wait until it really plays."""
        now = self.page.get_by_test_id("timebox-current-time").locator("input")
        before = now.input_value()
        self.page.get_by_test_id("playback-button:play").click()
        expect(now).not_to_have_value(before)

    def tags(self) -> set[str]:
        """Tags of the clip that are ticked now."""
        ticked = self.page.locator(".lsf-choice input:checked").all()
        return {str(box.get_attribute("name")) for box in ticked}

    def tick(self, tag: str, ticked: bool = True) -> None:
        """Tick a tag of the clip, or remove the tick."""
        self.page.locator(f".lsf-choice input[name='{tag}']").set_checked(ticked)

    def regions(self) -> list[str]:
        """Labels of the regions in the list at the side, in its order."""
        return [title.inner_text().strip() for title in self.page.locator(".lsf-outliner-item__title").all()]

    def wait_for_regions(self, count: int) -> None:
        """Wait for this many regions in the list; Label Studio fetches submitted ones by themselves."""
        expect(self._region_items()).to_have_count(count)

    def delete_region(self, number: int) -> None:
        """Delete a region by its place in the list, from 0."""
        before = self._region_items().count()
        self._region_items().nth(number).click()
        self.page.keyboard.press("Backspace")
        expect(self._region_items()).to_have_count(before - 1)

    def select_region(self, number: int) -> None:
        """Select a region by its place in the list, from 0: what is asked of each region appears."""
        self._region_items().nth(number).click()

    def relabel_region(self, number: int, label: str) -> None:
        """Give a region, by its place in the list from 0, another label."""
        self._region_items().nth(number).click()
        self.page.locator(".lsf-label").filter(has_text=label).first.click()
        expect(self._region_items().nth(number)).to_contain_text(label)
        self.page.keyboard.press("Escape")

    def _region_items(self) -> Locator:
        return self.page.locator(".lsf-outliner-item")

    # Submitting

    def submit(self) -> Submission:
        """Press Submit and wait for the answer to ``POST /api/tasks/<id>/annotations``."""
        return self._send("bottombar-submit-button", "POST", "/annotations")

    def update(self) -> Submission:
        """Press Update on an annotation that was submitted before, and wait for the answer."""
        return self._send("bottombar-update-button", "PATCH", "/api/annotations/")

    def _send(self, button: str, method: str, address: str) -> Submission:
        def is_answer(answer: Response) -> bool:
            return answer.request.method == method and address in answer.url

        with self.page.expect_response(is_answer) as answered:
            self.page.get_by_test_id(button).click()
        answer = answered.value
        return Submission(answer.status, answer.request.post_data_json or {}, answer.json())

    def listen(self, seconds: float) -> None:
        """Let time pass as a person does who listens.

        Waiting here simulates the pace of work; it never stands for "until something has happened".
        """
        self.page.wait_for_timeout(seconds * 1000)

    def screenshot(self, name: str) -> None:
        """Write ``name.png`` into the folder that EARMARK_SCREENSHOTS names; do nothing without it."""
        folder = os.environ.get(SCREENSHOTS_VARIABLE)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")


def tags_of(result: list[dict[str, Any]]) -> set[str]:
    """Tags of a clip in an annotation's result."""
    return {tag for item in result if item["type"] == "choices" for tag in item["value"]["choices"]}


def regions_of(result: list[dict[str, Any]]) -> list[tuple[float, float, str]]:
    """Regions in an annotation's result: onset and offset in seconds, label; sorted."""
    values = [item["value"] for item in result if item["type"] == "labels"]
    return sorted((value["start"], value["end"], *value["labels"]) for value in values)

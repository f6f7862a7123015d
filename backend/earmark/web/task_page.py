"""The page of a task: its spectrogram in tiles, what was predicted and annotated, and zoom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from earmark.labelstudio.result_reader import read_result
from earmark.monitoring.project_statements import task_address
from earmark.monitoring.project_status import project_states
from earmark.store.models import Task
from earmark.store.page_queries import annotations_of, scores_of
from earmark.web.media import Media, tiles
from earmark.web.project_page import Pages, colours_of, title_of
from earmark.web.results import Marks
from earmark.web.rows import data_keys

FIRST_SECONDS = 30.0
"""Length of the stretch that is shown first of a longer recording."""
SHORTEST_SECONDS = 1.0


@dataclass(frozen=True)
class Lane:
    """A line under the spectrogram: who or what marked these regions."""

    name: str
    marks: Marks
    predicted: bool


@dataclass(frozen=True)
class Window:
    """The stretch that is shown, of a sound of ``length`` seconds."""

    start: float
    end: float
    length: float

    @classmethod
    def of(cls, start: float | None, end: float | None, length: float) -> Window:
        """Return a valid stretch; from the beginning where none is asked for."""
        first = min(max(0.0, start or 0.0), max(0.0, length - SHORTEST_SECONDS))
        last = end if end is not None and end > first else first + FIRST_SECONDS
        return cls(round(first, 2), round(min(max(last, first + SHORTEST_SECONDS), length), 2), length)

    def moved(self, shares: float) -> Window:
        """Return the stretch moved by a share of its length."""
        span = self.end - self.start
        start = min(max(0.0, self.start + shares * span), max(0.0, self.length - span))
        return Window(round(start, 2), round(start + span, 2), self.length)

    def zoomed(self, factor: float) -> Window:
        """Return the stretch made longer or shorter around its middle."""
        middle, half = (self.start + self.end) / 2, (self.end - self.start) * factor / 2
        half = max(half, SHORTEST_SECONDS / 2)
        start = max(0.0, middle - half)
        return Window(round(start, 2), round(min(self.length, start + 2 * half), 2), self.length)


def task_page(
    pages: Pages, media: Media, key: str, task: int, sound: str, start: float | None, end: float | None
) -> dict[str, Any] | None:
    """Return what the page of a task shows; None where there is no such task.

    Raises
    ------
    EarmarkError
        Its sound cannot be had.
    """
    services = pages.services
    with services.database.read() as session:
        states = project_states(session, pages.identity(), services.head, key)
        row = session.get(Task, (key, task))
        if not states or row is None or row.deleted:
            return None
        (state,) = states
        annotations, scores = annotations_of(session, key, task), scores_of(session, key, task)
    colours = colours_of(state)
    people = (state.project.annotated or {}).get("annotators", {})
    keys = data_keys(state)
    sound = sound or next(iter(keys), "")
    of_sound = {control.name for control in state.controls if control.data_key == sound}
    lanes = []
    for score in scores[:1]:
        if score.predicted is not None:
            marks = colours.stored_marks(score.predicted, of_sound)
            lanes.append(Lane(f"shown by {score.version}", marks, True))
    for annotation in annotations:
        if not lanes and annotation.shown:
            read = read_result(annotation.shown["result"], state.controls, state.names, row.data)
            marks = colours.marks(read, of_sound)
            lanes.append(Lane(f"shown by {annotation.shown['version']}", marks, True))
        who = people.get(str(annotation.completed_by), f"user {annotation.completed_by}")
        read = read_result(annotation.result, state.controls, state.names, row.data)
        marks = colours.marks(read, of_sound)
        lanes.append(Lane(f"submitted by {who}", marks, False))
    located, name = media.locate(key, task, sound)
    window = Window.of(start, end, media.seconds(located, name))
    return {
        "key": key,
        "task": task,
        "title": title_of(state),
        "name": name,
        "address": task_address(state, services.settings, task),
        "lanes": lanes,
        "window": window,
        "tiles": tiles(window.start, window.end),
        "sound": sound,
        "sounds": keys,
        "labels": {
            label: mark.colour for lane in lanes for mark in lane.marks.regions for label in mark.labels[:1]
        },
    }

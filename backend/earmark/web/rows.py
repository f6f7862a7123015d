"""Rows of the page's lists: what they show of a task, with its sound and its place in Label Studio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from earmark.audio.addresses import file_name
from earmark.errors import TaskError
from earmark.monitoring.project_statements import task_address
from earmark.monitoring.project_status import ProjectState
from earmark.prediction.predictor import sound_address
from earmark.settings import Settings
from earmark.store.page_queries import task_data
from earmark.web.results import Colours, Marks

SHOWN_SECONDS = 10.0
"""Length of the stretch that a small spectrogram shows, where regions do not ask for more."""
MARGIN_SECONDS = 1.0
LONGEST_SHOWN_SECONDS = 60.0
LONGEST_SOUND_SECONDS = 30 * 86_400.0


@dataclass(frozen=True)
class Stretch:
    """Part of a sound, in seconds, that a small spectrogram shows and the play button plays."""

    start: float
    end: float

    @classmethod
    def around(cls, *results: Marks, length: float = 0.0) -> Stretch:
        """Return the stretch with all regions of some results, as far as it can be shown.

        ``length``: of the sound, in seconds; 0 where it is not known.
        """
        longest = length or LONGEST_SOUND_SECONDS
        times = [time for marks in results for mark in marks.regions for time in (mark.start, mark.end)]
        if not times or max(times) <= SHOWN_SECONDS:
            return cls(0.0, min(SHOWN_SECONDS, longest))
        start = max(0.0, float(int(min(times) - MARGIN_SECONDS)))
        end = float(int(max(times) + MARGIN_SECONDS) + 1)
        end = min(max(end, start + SHOWN_SECONDS), start + LONGEST_SHOWN_SECONDS, longest)
        return cls(start, max(end, start + MARGIN_SECONDS))


def sound_length(result: Iterable[Any]) -> float:
    """Return the length in seconds that an annotation's regions say of their sound; 0 where none does."""
    for item in result:
        length = item.get("original_length") if isinstance(item, dict) else None
        if isinstance(length, int | float) and 0 < length <= LONGEST_SOUND_SECONDS:
            return round(float(length), 2)
    return 0.0


@dataclass(frozen=True)
class Row:
    """A row of a list.

    ``task``: its number; None where the row is about no task. ``has_sound``: whether its spectrogram can be
    drawn. ``address``: in Label Studio. ``before``, ``after``: results to draw.
    """

    id: str
    title: str
    detail: str = ""
    task: int | None = None
    name: str = ""
    has_sound: bool = False
    address: str = ""
    when: float = 0.0
    stretch: Stretch = Stretch(0.0, SHOWN_SECONDS)
    before: Marks | None = None
    after: Marks | None = None
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class ListContext:
    """What a list reads its rows with."""

    session: Session
    state: ProjectState
    settings: Settings
    colours: Colours

    @property
    def key(self) -> str:
        """The project's key."""
        return self.state.project.key

    def task_fields(self, task: int, data: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the fields of a `Row` about a task; ``data``: the task's, None where they are not stored."""
        address = task_address(self.state, self.settings, task)
        sound = first_sound(data, self.state)
        return {"task": task, "name": file_name(sound), "has_sound": bool(sound), "address": address}

    def data_of(self, tasks: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the stored data of tasks."""
        return task_data(self.session, self.key, tasks)


def data_keys(state: ProjectState) -> list[str]:
    """Keys of a task's data that hold its sounds, in the order of the label config."""
    return list(dict.fromkeys(control.data_key for control in state.controls))


def first_sound(data: Mapping[str, Any] | None, state: ProjectState) -> str:
    """Return the address of a task's first sound; empty without one."""
    for data_key in data_keys(state) if data is not None else ():
        try:
            return sound_address({"data": data}, data_key)
        except TaskError:
            continue
    return ""

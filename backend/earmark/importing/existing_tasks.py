"""Existing tasks of a project: which sounds it already holds, and removal of duplicate tasks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from earmark.importing.models import Part, Sound, part_of
from earmark.labelstudio.client import explained
from earmark.labelstudio.task_pages import sdk_pages

PAGE_TASKS = 1000
LABELLED_PAGE_TASKS = 200
"""Page size for tasks with their annotations and predictions."""


class ExistingTasks:
    """Index of the sounds in a project, read from the data of its tasks; empty without a project.

    `refresh` reads only the tasks that are new, so it is cheap enough for every batch, and finds the
    tasks of imports that run at the same time.
    """

    def __init__(self, client: Any, url: str, project_id: int | None) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._identities: dict[str, int] = {}
        self._parts: dict[str, set[Part]] = {}
        self._named: dict[tuple[str, str], list[int]] = {}
        self.last_id = 0
        """Highest task id at the last refresh."""

    def has(self, sound: Sound, *, by_name: bool) -> bool:
        """Whether the project holds the sound; ``by_name``: under this name, so that copies count apart."""
        return self.task_of(sound, by_name=by_name) is not None

    def task_of(self, sound: Sound, *, by_name: bool) -> int | None:
        """Id of the task with the sound; tasks with the same file name come first."""
        named = self._named.get((sound.identity, sound.fname))
        if named:
            return named[-1]
        return None if by_name else self._identities.get(sound.identity)

    def split_conflict(self, sound: Sound) -> str | None:
        """Return why the project already holds this recording with a different split, or None."""
        wanted = sound.part
        parts = self._parts.get(wanted.recording, set())
        if wanted in parts or not any(part.overlaps(wanted) for part in parts):
            return None
        seconds = max(part.end - part.start for part in parts)  # the last stretch may be shorter
        existing, remedy = f"it in stretches of {seconds:g} s", f"give --split {seconds:g}"
        if math.isinf(seconds):
            existing, remedy = "the whole recording", "leave --split out"
        return f"The project holds {existing} already: {remedy}, or --keep duplicate to have it in both."

    def arrived(self, identity: str) -> bool:
        """Refresh, and return whether the project holds a sound of this identity."""
        self.refresh()
        return identity in self._identities

    def refresh(self) -> None:
        """Read the tasks created since the last refresh.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        if self._project_id is None:
            return
        with explained(self._url):
            for page in sdk_pages(
                self._client, self._project_id, self.last_id, page_tasks=PAGE_TASKS, include=("data",)
            ):
                for task in page:
                    self._add(int(task.id), task.data or {})

    def labelled(self, task_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Read tasks with their annotations and predictions, by id; deleted ones are missing.

        Raises
        ------
        LabelStudioError
            As above.
        """
        wanted = set(task_ids)
        if self._project_id is None or not wanted:
            return {}
        tasks: dict[int, dict[str, Any]] = {}
        with explained(self._url):
            for page in sdk_pages(
                self._client,
                self._project_id,
                min(wanted) - 1,
                last=max(wanted),
                page_tasks=LABELLED_PAGE_TASKS,
            ):  # all fields: with some, Label Studio returns only the ids of annotations
                tasks.update((int(task.id), task.model_dump()) for task in page if int(task.id) in wanted)
        return tasks

    def remove_duplicates(self, after: int, created: Sequence[int] = ()) -> bool:
        """Refresh, and delete duplicate tasks with an id above ``after``: a repeated request creates them.

        Tasks that annotators have worked on stay, else the last task of each sound.

        Parameters
        ----------
        created
            Task ids in Label Studio's answer: those of the last repetition, preferred as the one to keep.

        Returns
        -------
        Whether there were duplicates.

        Raises
        ------
        LabelStudioError
            As above.
        """
        self.refresh()
        duplicates = defaultdict(list)
        for key, task_ids in self._named.items():
            new = [task_id for task_id in task_ids if task_id > after]
            if len(new) > 1:
                duplicates[key] = new
        tasks = self.labelled(task_id for task_ids in duplicates.values() for task_id in task_ids)
        for key, task_ids in duplicates.items():
            worked_on = [task_id for task_id in task_ids if _has_work(tasks.get(task_id, {}))]
            remaining = set(worked_on) or {max(set(task_ids) & set(created) or task_ids)}
            for task_id in set(task_ids) - remaining:
                with explained(self._url):
                    self._client.tasks.delete(id=task_id)
            self._forget(key, set(task_ids) - remaining)
        return bool(duplicates)

    def _add(self, task_id: int, data: Mapping[str, Any]) -> None:
        self.last_id = max(self.last_id, task_id)
        part = part_of(data)
        if part:
            self._identities[part.identity] = task_id
            self._parts.setdefault(part.recording, set()).add(part)
            self._named.setdefault((part.identity, str(data.get("fname"))), []).append(task_id)

    def _forget(self, key: tuple[str, str], task_ids: set[int]) -> None:
        self._named[key] = [task_id for task_id in self._named[key] if task_id not in task_ids]
        self._identities[key[0]] = self._named[key][-1]


def _has_work(task: Mapping[str, Any]) -> bool:
    """Whether an annotator has worked on a task; imported annotations have no lead time."""
    annotations = task.get("annotations") or ()
    return bool(task.get("drafts")) or any(a.get("lead_time") is not None for a in annotations)

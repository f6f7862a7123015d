"""What a project holds of the sounds that are to come in."""

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
"""Of tasks with their annotations and predictions."""


class Held:
    """The sounds that a project holds, by what each task's data says of them; without a project, none.

    Looking again reads only the tasks that are new, so it costs little before every batch, and
    finds what another import has brought in meanwhile.
    """

    def __init__(self, client: Any, url: str, project_id: int | None) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._identities: dict[str, int] = {}
        self._parts: dict[str, set[Part]] = {}
        self._named: dict[tuple[str, str], list[int]] = {}
        self.last_id = 0
        """The highest number of a task at the last look."""

    def has(self, sound: Sound, *, by_name: bool) -> bool:
        """Whether the sound is there; ``by_name``: under its name, so that copies count apart."""
        return self.task_of(sound, by_name=by_name) is not None

    def task_of(self, sound: Sound, *, by_name: bool) -> int | None:
        """Number of the task with the sound, under its own name first."""
        named = self._named.get((sound.identity, sound.fname))
        if named:
            return named[-1]
        return None if by_name else self._identities.get(sound.identity)

    def otherwise(self, sound: Sound) -> str | None:
        """Why a sound is there in another way, whole or in other stretches; None where it is not."""
        wanted = sound.part
        held = self._parts.get(wanted.recording, set())
        if wanted in held or not any(part.overlaps(wanted) for part in held):
            return None
        seconds = max(part.end - part.start for part in held)  # the last stretch may be shorter
        what, as_before = f"it in stretches of {seconds:g} s", f"give --split {seconds:g}"
        if math.isinf(seconds):
            what, as_before = "the whole recording", "leave --split out"
        return f"The project holds {what} already: {as_before}, or --keep duplicate to have it in both."

    def arrived(self, identity: str) -> bool:
        """Look, and say whether a sound of that identity is there."""
        self.look()
        return identity in self._identities

    def look(self) -> None:
        """Read the tasks that came since the last look.

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
                    self._remember(int(task.id), task.data or {})

    def labelled(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Read tasks with their annotations and predictions, by number; those that are gone are missing.

        Raises
        ------
        LabelStudioError
            As above.
        """
        wanted = set(numbers)
        if self._project_id is None or not wanted:
            return {}
        found: dict[int, dict[str, Any]] = {}
        with explained(self._url):
            for page in sdk_pages(
                self._client,
                self._project_id,
                min(wanted) - 1,
                last=max(wanted),
                page_tasks=LABELLED_PAGE_TASKS,
            ):  # all fields: naming some leaves only the ids of annotations
                found.update((int(task.id), task.model_dump()) for task in page if int(task.id) in wanted)
        return found

    def remove_twins(self, after: int, made: Sequence[int] = ()) -> bool:
        """Look, and delete the second tasks of one sound that came after a task: a repeated request's.

        A task that an annotator has worked on stays, and then the others go; else the last one stays.

        Parameters
        ----------
        made
            Numbers that Label Studio answered with; these are those of the last run.

        Returns
        -------
        Whether there were any.

        Raises
        ------
        LabelStudioError
            As above.
        """
        self.look()
        twins = defaultdict(list)
        for name, numbers in self._named.items():
            new = [number for number in numbers if number > after]
            if len(new) > 1:
                twins[name] = new
        tasks = self.labelled(number for numbers in twins.values() for number in numbers)
        for name, numbers in twins.items():
            touched = [number for number in numbers if _touched(tasks.get(number, {}))]
            kept = set(touched) or {max(set(numbers) & set(made) or numbers)}
            for number in set(numbers) - kept:
                with explained(self._url):
                    self._client.tasks.delete(id=number)
            self._forget(name, set(numbers) - kept)
        return bool(twins)

    def _remember(self, number: int, data: Mapping[str, Any]) -> None:
        self.last_id = max(self.last_id, number)
        part = part_of(data)
        if part:
            self._identities[part.identity] = number
            self._parts.setdefault(part.recording, set()).add(part)
            self._named.setdefault((part.identity, str(data.get("fname"))), []).append(number)

    def _forget(self, name: tuple[str, str], numbers: set[int]) -> None:
        self._named[name] = [number for number in self._named[name] if number not in numbers]
        self._identities[name[0]] = self._named[name][-1]


def _touched(task: Mapping[str, Any]) -> bool:
    """Whether an annotator has worked on a task; imported annotations took no time."""
    annotations = task.get("annotations") or ()
    return bool(task.get("drafts")) or any(made.get("lead_time") is not None for made in annotations)

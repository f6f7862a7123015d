"""Importing sounds into a project so that nothing comes in twice, however often it is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.errors import LabelStudioError
from backend.labelstudio.client import explained
from backend.labelstudio.config import Control
from backend.labelstudio.places import Place
from backend.labelstudio.results import choices_item
from backend.labelstudio.sound_lists import LeftOut, Sound

LabelsAs = Literal["annotations", "predictions", "none"]

MODEL_VERSION = "imported"
"""Version name of predictions that come from a table."""
PAGE_TASKS = 500
IMPORT_TIMEOUT_SECONDS = 600
_NO_RETRY = {"max_retries": 0, "timeout_in_seconds": IMPORT_TIMEOUT_SECONDS}
"""A request that makes tasks is never sent again blindly: it may have succeeded unheard."""


@dataclass
class Outcome:
    """What an import did."""

    imported: int = 0
    already_there: int = 0
    same_sound: list[str] = field(default_factory=list)
    """Files whose content another file of the same source has, too."""
    left_out: list[LeftOut] = field(default_factory=list)
    interrupted: bool = False


class Held:
    """The sounds that a project holds, by the digest in each task's data.

    Looking again reads only the tasks that are new, so it costs little before every batch, and
    finds what another import has brought in meanwhile.
    """

    def __init__(self, client: Any, url: str, project_id: int) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._digests: set[str] = set()
        self._last_id = 0

    def __contains__(self, sound: Sound) -> bool:
        return sound.sha256 in self._digests

    def look(self) -> None:
        """Read the tasks that came since the last look.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        newer = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": self._last_id}
        query = {"filters": {"conjunction": "and", "items": [newer]}, "ordering": ["tasks:id"]}
        with explained(self._url):
            for task in self._client.tasks.list(
                project=self._project_id, query=json.dumps(query), fields="task_only", page_size=PAGE_TASKS
            ):
                self._last_id = max(self._last_id, int(task.id))
                digest = (task.data or {}).get("sha256")
                if isinstance(digest, str):
                    self._digests.add(digest)


class Importer:
    """Brings sounds into one project.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``.
    data_key
        Field of the task's data that the label config's Audio tag reads.
    place
        How the sounds get their addresses.
    marking
        What becomes of the sounds' labels; None leaves them out.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        project_id: int,
        data_key: str,
        place: Place,
        marking: Marking | None = None,
    ) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._data_key, self._place, self._marking = data_key, place, marking
        self._held = Held(client, url, project_id)

    def plan(self, sounds: Sequence[Sound]) -> tuple[list[Sound], Outcome]:
        """Look at what the project holds; return what is still to import, and the rest as an outcome.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        self._held.look()
        outcome, todo = Outcome(), dict[str, Sound]()
        for sound in sounds:
            why = self._place.refuses(sound)
            if sound in self._held:
                outcome.already_there += 1
            elif sound.sha256 in todo:
                outcome.same_sound.append(f"{sound.fname} (as {todo[sound.sha256].fname})")
            elif why:
                outcome.left_out.append(LeftOut(sound.fname, why))
            else:
                todo[sound.sha256] = sound
        return list(todo.values()), outcome

    def run(
        self,
        todo: Sequence[Sound],
        outcome: Outcome,
        on_progress: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Import batch by batch; ``on_progress`` gets the number of files done so far.

        ``should_stop`` is asked between batches. Each batch is looked up again just before its
        tasks are made, because another import may be at work.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses; run it again to go on.
        """
        if todo:
            self._place.prepare(todo)
        done = 0
        for batch in _batches(todo, self._place):
            if should_stop():
                outcome.interrupted = True
                break
            addresses = self._place.addresses(batch)
            self._held.look()
            tasks = [
                self._task(sound, address)
                for sound, address in zip(batch, addresses, strict=True)
                if sound not in self._held
            ]
            if tasks:
                self._create(tasks)
            outcome.imported += len(tasks)
            outcome.already_there += len(batch) - len(tasks)
            done += len(batch)
            if on_progress:
                on_progress(done)
        return outcome

    def _task(self, sound: Sound, address: str) -> dict[str, Any]:
        data = {self._data_key: address, "fname": sound.fname, "sha256": sound.sha256}
        return {"data": data, **(self._marking.part(sound) if self._marking else {})}

    def _create(self, tasks: list[dict[str, Any]]) -> None:
        with explained(self._url):
            answer = self._client.projects.import_tasks(
                id=self._project_id, request=tasks, return_task_ids=True, request_options=_NO_RETRY
            )
        if answer.task_count is not None and answer.task_count != len(tasks):
            raise LabelStudioError(
                f"Label Studio at {self._url} made {answer.task_count} tasks of {len(tasks)}: "
                "look into its log, then run this again."
            )


@dataclass(frozen=True)
class Marking:
    """How labels of the source become part of a task."""

    control: Control
    labels_as: Literal["annotations", "predictions"]
    ground_truth: bool = False

    def part(self, sound: Sound) -> dict[str, Any]:
        """Return the task's annotations or predictions; nothing for a sound without labels."""
        if not sound.labels:
            return {}
        item = choices_item(self.control, sound.labels, 1.0, sound.sha256)
        if self.labels_as == "predictions":
            return {"predictions": [{"result": [item], "score": 1.0, "model_version": MODEL_VERSION}]}
        del item["score"]
        return {"annotations": [{"result": [item | {"origin": "manual"}], "ground_truth": self.ground_truth}]}


def _batches(sounds: Sequence[Sound], place: Place) -> Iterator[list[Sound]]:
    batch: list[Sound] = []
    total = 0
    for sound in sounds:
        if batch and (len(batch) == place.batch_files or total + sound.size > place.batch_bytes):
            yield batch
            batch, total = [], 0
        batch.append(sound)
        total += sound.size
    if batch:
        yield batch

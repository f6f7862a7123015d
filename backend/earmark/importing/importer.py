"""Idempotent, resumable import of sounds into a project: no sound is imported twice."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from earmark.chunks import weighted_chunks
from earmark.errors import LabelStudioError
from earmark.importing.completing import Completion, Labels
from earmark.importing.destinations import Destination
from earmark.importing.existing_tasks import ExistingTasks
from earmark.importing.import_lock import ImportLock
from earmark.importing.labels import Marking
from earmark.importing.models import Sound
from earmark.importing.outcome import LeftOut, Outcome, State
from earmark.importing.splitting import Cutter
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, may_have_repeated, outcome_unknown

RETRY_SECONDS = (1.0, 5.0, 15.0, 30.0)
"""Pauses before a batch is retried after a network failure; a restart of Label Studio takes 25 s."""
COMPLETED_AT_ONCE = 50
OTHER_LABELS = "The project has it with other annotations than these, which are left as they are."
_LEAST_TRUSTED_FIRST = {"noisy": 0, None: 1, "curated": 2}

__all__ = ["Importer", "LeftOut", "Outcome", "State"]


class Importer:
    """Imports sounds into one project.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``.
    project_id
        None for a project that does not exist yet: only `plan` can be called.
    data_key
        Field of the task's data that the label config's Audio tag reads.
    destination
        Stores the sounds and returns their addresses.
    folder
        Folder of the locks and journals that imports on this machine share.
    marking
        Converts the sounds' labels to annotations and predictions; None leaves them out.
    copies
        Whether several sounds of one content are imported under each of their names.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        project_id: int | None,
        data_key: str,
        destination: Destination,
        folder: Path,
        marking: Marking | None = None,
        copies: bool = False,
    ) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._data_key, self._destination, self._marking = data_key, destination, marking
        self._existing, self._copies = ExistingTasks(client, url, project_id), copies
        self._completion = Completion(client, url, project_id, self._existing)
        self._incomplete: list[Sound] = []
        self._lock = ImportLock(folder, f"{url} {project_id}")

    def plan(self, sounds: Sequence[Sound]) -> tuple[list[Sound], Outcome]:
        """Compare the sounds with the project; return those to import, and the state of all.

        Noisy sounds come first and curated ones last. Tasks that exist without their labels are
        completed by `run`; a task that has other annotations instead gets a remark.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        self._existing.refresh()
        outcome, todo = Outcome(), list[Sound]()
        decisions = [self._decide(sound) for sound in sounds]
        existing = [
            sound for sound, (state, _) in zip(sounds, decisions, strict=True) if state == "already there"
        ]
        self._incomplete = self._find_incomplete(existing, outcome)
        incomplete = {id(sound) for sound in self._incomplete}
        # All stretches of a recording or none: importing only those between others would leave odd pieces.
        conflicts = {
            sound.listed_name: why
            for sound, (state, why) in zip(sounds, decisions, strict=True)
            if why and sound.stretch
        }
        for sound, (state, why) in zip(sounds, decisions, strict=True):
            if state == "to import" and sound.listed_name in conflicts:
                state, why = "left out", conflicts[sound.listed_name]
            if state == "already there" and id(sound) in incomplete:
                state = "to complete"
            outcome.note(sound, state, why)
            if state == "to import":
                todo.append(sound)
        return sorted(todo, key=lambda sound: _LEAST_TRUSTED_FIRST[sound.trust]), outcome

    def run(
        self,
        todo: Sequence[Sound],
        outcome: Outcome,
        on_progress: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Import batch by batch; ``on_progress`` receives the number of tasks done so far.

        ``should_stop`` is called between batches. Each batch is compared with the project again just
        before its tasks are created, because another import may be running. A batch is retried after a
        network failure.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses; another run resumes.
        """
        if todo:
            self._destination.prepare(todo)
        for first in range(0, len(self._incomplete), COMPLETED_AT_ONCE):
            if should_stop():
                outcome.interrupted = True
                return outcome
            batch = self._incomplete[first : first + COMPLETED_AT_ONCE]
            self._with_retries(partial(self._complete, batch, outcome), should_stop)
        done = 0
        with _cut_batches() as ready:
            most_files, most_bytes = self._destination.batch_files, self._destination.batch_bytes
            for batch in weighted_chunks(todo, lambda sound: sound.facts.size, most_files, most_bytes):
                if should_stop():
                    outcome.interrupted = True
                    break
                with ready(batch) as sounds:
                    self._with_retries(partial(self._import_batch, sounds, outcome), should_stop)
                done += len(batch)
                if on_progress:
                    on_progress(done)
        return outcome

    def _with_retries(self, work: Callable[[], None], should_stop: Callable[[], bool]) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                return work()
            except LabelStudioError as error:
                if pause is None or not _is_interrupted(error) or should_stop():
                    raise
                time.sleep(pause)

    def _import_batch(self, batch: Sequence[Sound], outcome: Outcome) -> None:
        addresses = self._destination.addresses(batch)
        with self._lock.acquire(self._existing.arrived, self._existing.remove_duplicates):
            self._existing.refresh()
            decisions = [(sound, *self._decide(sound)) for sound in batch]
            to_create = [position for position, (_, state, _) in enumerate(decisions) if state == "to import"]
            if to_create:
                tasks = [self._task(batch[position], addresses[position]) for position in to_create]
                self._create_tasks(tasks, [batch[position] for position in to_create])
            # Tasks created by another import, or by a request whose answer was lost, may lack labels
            existing = [sound for sound, state, _ in decisions if state == "already there"]
            filled = {id(sound) for sound in self._fill_gaps(existing)}
        for sound, state, why in decisions:
            if state == "already there" and id(sound) in filled:
                state = "completed"
            outcome.note(sound, "imported" if state == "to import" else state, why)

    def _complete(self, sounds: Sequence[Sound], outcome: Outcome) -> None:
        with self._lock.acquire(self._existing.arrived, self._existing.remove_duplicates):
            self._existing.refresh()
            filled = {id(sound) for sound in self._fill_gaps(sounds)}
        for sound in sounds:
            # Another import may have completed it, or an annotator annotated it, since the plan
            outcome.note(sound, "completed" if id(sound) in filled else "already there")

    def _fill_gaps(self, sounds: Iterable[Sound]) -> list[Sound]:
        """Post labels that existing tasks lack, unless they have other annotations; return their sounds."""
        by_task = self._labels_by_task(sounds)
        labels = {task_id: part for task_id, (_, part) in by_task.items()}
        return [by_task[task_id][0] for task_id in self._completion.fill(labels, beside_others=False)]

    def _find_incomplete(self, sounds: Iterable[Sound], outcome: Outcome) -> list[Sound]:
        """Return the sounds whose labels can be completed; add a remark to the other incomplete ones."""
        by_task = self._labels_by_task(sounds)
        gaps = self._completion.gaps({task_id: part for task_id, (_, part) in by_task.items()})
        for task_id, gap in gaps.items():
            if gap.others and gap.annotations:
                outcome.remark(by_task[task_id][0], OTHER_LABELS)
        return [by_task[task_id][0] for task_id, gap in gaps.items() if gap.predictions or not gap.others]

    def _labels_by_task(self, sounds: Iterable[Sound]) -> dict[int, tuple[Sound, Labels]]:
        """Return the existing sounds that have labels, with these labels, by task id."""
        by_task: dict[int, tuple[Sound, Labels]] = {}
        for sound in sounds:
            task_id = self._existing.task_of(sound, by_name=self._copies)
            if task_id is not None and self._marking and sound.marks:
                by_task[task_id] = sound, self._marking.part(sound)
        return by_task

    def _decide(self, sound: Sound) -> tuple[State, str]:
        """Return the state of a sound before the import, and the reason if it is left out."""
        if self._existing.has(sound, by_name=self._copies):
            return "already there", ""
        conflict = None if self._copies else self._existing.split_conflict(sound)
        why = conflict or self._destination.refuses(sound)
        return ("left out", why) if why else ("to import", "")

    def _task(self, sound: Sound, address: str) -> dict[str, Any]:
        annotator_fields = self._marking.fields(sound) if self._marking else {}
        data = {**annotator_fields, **sound.data(), self._data_key: address}
        return {"data": data, **(self._marking.part(sound) if self._marking else {})}

    def _create_tasks(self, tasks: list[dict[str, Any]], sounds: Sequence[Sound]) -> None:
        """Create tasks; make sure that each exists once, with all its labels."""
        sent_at, last_id = time.monotonic(), self._existing.last_id
        with self._lock.sending(sounds[0].identity, last_id) as clear_journal:
            try:
                with explained(self._url):
                    answer = self._client.projects.import_tasks(
                        id=self._project_id, request=tasks, return_task_ids=True, request_options=PATIENT_ONCE
                    )
            except LabelStudioError as error:
                if not _is_interrupted(error):
                    clear_journal()
                raise
        if answer.task_count is not None and answer.task_count != len(tasks):
            raise LabelStudioError(
                f"Label Studio at {self._url} made {answer.task_count} tasks of {len(tasks)}: "
                "look into its log, then run this again."
            )
        complete = all(
            getattr(answer, f"{kind}_count", None)
            in (None, sum(len(task.get(f"{kind}s", ())) for task in tasks))
            for kind in ("annotation", "prediction")
        )
        if complete and not may_have_repeated(sent_at):
            return
        created = getattr(answer, "task_ids", None) or ()
        duplicates = self._existing.remove_duplicates(last_id, created)
        if duplicates or not complete:
            labels = {task_id: part for task_id, (_, part) in self._labels_by_task(sounds).items()}
            self._completion.fill(labels, beside_others=True)


def _is_interrupted(error: LabelStudioError) -> bool:
    """Whether a request failed without an answer, so that Label Studio may have executed it."""
    return isinstance(error.__cause__, Exception) and outcome_unknown(error.__cause__)


@contextmanager
def _cut_batches() -> Iterator[Callable[[Sequence[Sound]], Any]]:
    """Yield ``ready(batch)``, a context manager that cuts the batch's stretches into temporary files."""
    with tempfile.TemporaryDirectory(prefix="earmark-import-") as folder:
        cutter = Cutter(Path(folder))

        @contextmanager
        def ready(batch: Sequence[Sound]) -> Iterator[list[Sound]]:
            cut_sounds = [
                cutter.cut(sound, index) if sound.is_cut else sound for index, sound in enumerate(batch)
            ]
            try:
                yield cut_sounds
            finally:
                for sound in cut_sounds:
                    if sound.is_cut:
                        sound.path.unlink(missing_ok=True)

        yield ready

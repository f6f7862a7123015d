"""Importing sounds into a project so that nothing comes in twice, however often it is stopped."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from earmark.errors import LabelStudioError
from earmark.importing.completing import Completion, Labels
from earmark.importing.destinations import Place
from earmark.importing.existing_tasks import Held
from earmark.importing.import_lock import Turns
from earmark.importing.labels import Marking
from earmark.importing.models import Sound
from earmark.importing.outcome import LeftOut, Outcome, State
from earmark.importing.splitting import Cutter
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, may_have_repeated, outcome_unknown

RETRY_SECONDS = (1.0, 5.0, 15.0, 30.0)
"""Pauses before a batch is tried again that the network broke off; a restart of Label Studio takes 25 s."""
COMPLETED_AT_ONCE = 50
OTHER_LABELS = "The project has it with other annotations than these, which are left as they are."
_TRUST_ORDER = {"noisy": 0, None: 1, "curated": 2}

__all__ = ["Importer", "LeftOut", "Outcome", "State"]


class Importer:
    """Brings sounds into one project.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``.
    project_id
        None: of a project that is still to be made, for which can only be planned.
    data_key
        Field of the task's data that the label config's Audio tag reads.
    place
        How the sounds get their addresses.
    folder
        Where imports of this machine take turns and keep notes.
    marking
        What becomes of the sounds' labels; None leaves them out.
    copies
        Whether several sounds of one content are imported under each of their names.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        project_id: int | None,
        data_key: str,
        place: Place,
        folder: Path,
        marking: Marking | None = None,
        copies: bool = False,
    ) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._data_key, self._place, self._marking = data_key, place, marking
        self._held, self._copies = Held(client, url, project_id), copies
        self._completion = Completion(client, url, project_id, self._held)
        self._incomplete: list[Sound] = []
        self._turns = Turns(folder, f"{url} {project_id}")

    def plan(self, sounds: Sequence[Sound]) -> tuple[list[Sound], Outcome]:
        """Look at what the project holds; return what is still to import, and the rest as an outcome.

        Noisy sounds come first and curated ones last. Sounds that are there without their labels are
        completed by `run`, unless the task has other annotations, which is remarked.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        self._held.look()
        outcome, todo = Outcome(), list[Sound]()
        fates = [self._fate(sound) for sound in sounds]
        there = [sound for sound, (state, _) in zip(sounds, fates, strict=True) if state == "already there"]
        self._incomplete = self._lacking(there, outcome)
        lacking = {id(sound) for sound in self._incomplete}
        # All stretches of one recording, or none: what is left between others would be odd pieces.
        split = {
            s.listed_name: why for s, (state, why) in zip(sounds, fates, strict=True) if why and s.stretch
        }
        for sound, (state, why) in zip(sounds, fates, strict=True):
            if state == "to import" and sound.listed_name in split:
                state, why = "left out", split[sound.listed_name]
            if state == "already there" and id(sound) in lacking:
                state = "to complete"
            outcome.note(sound, state, why)
            if state == "to import":
                todo.append(sound)
        return sorted(todo, key=lambda sound: _TRUST_ORDER[sound.trust]), outcome

    def run(
        self,
        todo: Sequence[Sound],
        outcome: Outcome,
        on_progress: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Import batch by batch; ``on_progress`` gets the number of tasks done so far.

        ``should_stop`` is asked between batches. Each batch is looked up again just before its
        tasks are made, because another import may be at work. A batch that the network broke off is
        tried again.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses; run it again to go on.
        """
        if todo:
            self._place.prepare(todo)
        for first in range(0, len(self._incomplete), COMPLETED_AT_ONCE):
            if should_stop():
                outcome.interrupted = True
                return outcome
            some = self._incomplete[first : first + COMPLETED_AT_ONCE]
            self._patiently(partial(self._complete, some, outcome), should_stop)
        done = 0
        with _cutting() as ready:
            for batch in _batches(todo, self._place):
                if should_stop():
                    outcome.interrupted = True
                    break
                with ready(batch) as sounds:
                    self._patiently(partial(self._bring, sounds, outcome), should_stop)
                done += len(batch)
                if on_progress:
                    on_progress(done)
        return outcome

    def _patiently(self, work: Callable[[], None], should_stop: Callable[[], bool]) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                return work()
            except LabelStudioError as error:
                if pause is None or not _broken_off(error) or should_stop():
                    raise
                time.sleep(pause)

    def _bring(self, batch: Sequence[Sound], outcome: Outcome) -> None:
        addresses = self._place.addresses(batch)
        with self._turns.turn(self._held.arrived, self._held.remove_twins):
            self._held.look()
            fates = [(sound, *self._fate(sound)) for sound in batch]
            new = [number for number, (_, state, _) in enumerate(fates) if state == "to import"]
            if new:
                tasks = [self._task(batch[number], addresses[number]) for number in new]
                self._create(tasks, [batch[number] for number in new])
            # What another import, or a request whose answer was lost, has made may lack labels
            there = [sound for sound, state, _ in fates if state == "already there"]
            filled = {id(sound) for sound in self._filled(there)}
        for sound, state, why in fates:
            if state == "already there" and id(sound) in filled:
                state = "completed"
            outcome.note(sound, "imported" if state == "to import" else state, why)

    def _complete(self, sounds: Sequence[Sound], outcome: Outcome) -> None:
        with self._turns.turn(self._held.arrived, self._held.remove_twins):
            self._held.look()
            filled = {id(sound) for sound in self._filled(sounds)}
        for sound in sounds:
            # Another import may have completed it, or an annotator annotated it, since the plan
            outcome.note(sound, "completed" if id(sound) in filled else "already there")

    def _filled(self, sounds: Iterable[Sound]) -> list[Sound]:
        """Complete sounds that are there, but for tasks with other annotations; those that lacked labels."""
        wanted = self._wanted(sounds)
        labels = {number: part for number, (_, part) in wanted.items()}
        return [wanted[number][0] for number in self._completion.fill(labels, beside_others=False)]

    def _lacking(self, sounds: Iterable[Sound], outcome: Outcome) -> list[Sound]:
        """Sounds that can be completed; the others that lack labels are remarked."""
        wanted = self._wanted(sounds)
        gaps = self._completion.gaps({number: part for number, (_, part) in wanted.items()})
        for number, gap in gaps.items():
            if gap.others and gap.annotations:
                outcome.remark(wanted[number][0], OTHER_LABELS)
        return [wanted[n][0] for n, gap in gaps.items() if gap.predictions or not gap.others]

    def _wanted(self, sounds: Iterable[Sound]) -> dict[int, tuple[Sound, Labels]]:
        """Labels of sounds by the number of their task."""
        found: dict[int, tuple[Sound, Labels]] = {}
        for sound in sounds:
            number = self._held.task_of(sound, by_name=self._copies)
            if number is not None and self._marking and sound.marks:
                found[number] = sound, self._marking.part(sound)
        return found

    def _fate(self, sound: Sound) -> tuple[State, str]:
        """What is to become of a sound now, and where it stays out, why."""
        if self._held.has(sound, by_name=self._copies):
            return "already there", ""
        otherwise = None if self._copies else self._held.otherwise(sound)
        why = otherwise or self._place.refuses(sound)
        return ("left out", why) if why else ("to import", "")

    def _task(self, sound: Sound, address: str) -> dict[str, Any]:
        named = self._marking.fields(sound) if self._marking else {}
        data = {**named, **sound.data(), self._data_key: address}
        return {"data": data, **(self._marking.part(sound) if self._marking else {})}

    def _create(self, tasks: list[dict[str, Any]], sounds: Sequence[Sound]) -> None:
        """Make tasks, and see to it that each is there once, with all its labels."""
        sent_at, before = time.monotonic(), self._held.last_id
        with self._turns.sending(sounds[0].identity, before) as answered:
            try:
                with explained(self._url):
                    answer = self._client.projects.import_tasks(
                        id=self._project_id, request=tasks, return_task_ids=True, request_options=PATIENT_ONCE
                    )
            except LabelStudioError as error:
                if not _broken_off(error):
                    answered()
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
        made = getattr(answer, "task_ids", None) or ()
        twins = self._held.remove_twins(before, made)
        if twins or not complete:
            wanted = {number: part for number, (_, part) in self._wanted(sounds).items()}
            self._completion.fill(wanted, beside_others=True)


def _broken_off(error: LabelStudioError) -> bool:
    """Whether the network or Label Studio failed underway, so that a request may have been carried out."""
    return isinstance(error.__cause__, Exception) and outcome_unknown(error.__cause__)


@contextmanager
def _cutting() -> Iterator[Callable[[Sequence[Sound]], Any]]:
    """Yield ``ready(batch)``: a context in which stretches of the batch are files of their own."""
    with tempfile.TemporaryDirectory(prefix="earmark-import-") as folder:
        cutter = Cutter(Path(folder))

        @contextmanager
        def ready(batch: Sequence[Sound]) -> Iterator[list[Sound]]:
            made = [
                cutter.cut(sound, number) if sound.stretch else sound for number, sound in enumerate(batch)
            ]
            try:
                yield made
            finally:
                for sound in made:
                    if sound.stretch:
                        sound.path.unlink(missing_ok=True)

        yield ready


def _batches(sounds: Sequence[Sound], place: Place) -> Iterator[list[Sound]]:
    batch: list[Sound] = []
    total = 0
    for sound in sounds:
        size = sound.facts.size
        if batch and (len(batch) == place.batch_files or total + size > place.batch_bytes):
            yield batch
            batch, total = [], 0
        batch.append(sound)
        total += size
    if batch:
        yield batch

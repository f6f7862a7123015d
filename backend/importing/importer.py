"""Importing sounds into a project so that nothing comes in twice, however often it is stopped."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from backend.errors import LabelStudioError
from backend.importing.held import Held
from backend.importing.items import Sound
from backend.importing.labels import Marking
from backend.importing.places import Place
from backend.importing.splitting import Cutter
from backend.importing.turns import Turns
from backend.labelstudio.client import explained
from backend.labelstudio.once import ONCE, may_have_repeated

State = Literal["imported", "already there", "to import", "left out"]
_SAYS_MORE: tuple[State, ...] = ("already there", "left out", "to import", "imported")
"""Of the stretches of one recording, in this order."""

IMPORT_TIMEOUT_SECONDS = 600
RETRY_SECONDS = (1.0, 5.0, 15.0, 30.0)
"""Pauses before a batch is tried again that the network broke off; a restart of Label Studio takes 25 s."""
_ONCE = {**ONCE, "timeout_in_seconds": IMPORT_TIMEOUT_SECONDS}
_TRUST_ORDER = {"noisy": 0, None: 1, "curated": 2}


@dataclass(frozen=True)
class LeftOut:
    """A sound that is not imported, by its name in the source's list, and why."""

    fname: str
    why: str


@dataclass
class Outcome:
    """What an import did; counts are of tasks, of which a recording that is split has several."""

    imported: int = 0
    already_there: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    interrupted: bool = False
    states: dict[str, State] = field(default_factory=dict)
    """What became of each sound of the list, by its name there."""

    def note(self, sound: Sound, state: State, why: str = "") -> None:
        """Count what became of a sound; of stretches, the recording's state is the one that says most."""
        self.imported += state == "imported"
        self.already_there += state == "already there"
        if state == "left out":
            self.left_out.append(LeftOut(sound.listed_name, why))
        known = self.states.get(sound.listed_name, state)
        if sound.stretch is None or _SAYS_MORE.index(state) >= _SAYS_MORE.index(known):
            self.states[sound.listed_name] = state

    def reasons(self) -> dict[str, str]:
        """Why sounds of the list were left out; of stretches, each reason once."""
        found: dict[str, dict[str, None]] = {}
        for left in self.left_out:
            found.setdefault(left.fname, {})[left.why] = None
        return {fname: " ".join(whys) for fname, whys in found.items()}


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
        self._turns = Turns(folder, f"{url} {project_id}")

    def plan(self, sounds: Sequence[Sound]) -> tuple[list[Sound], Outcome]:
        """Look at what the project holds; return what is still to import, and the rest as an outcome.

        Noisy sounds come first and curated ones last.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        self._held.look()
        outcome, todo = Outcome(), list[Sound]()
        fates = [self._fate(sound) for sound in sounds]
        # All stretches of one recording, or none: what is left between others would be odd pieces.
        split = {
            s.listed_name: why for s, (state, why) in zip(sounds, fates, strict=True) if why and s.stretch
        }
        for sound, (state, why) in zip(sounds, fates, strict=True):
            if state == "to import" and sound.listed_name in split:
                state, why = "left out", split[sound.listed_name]
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
        done = 0
        with _cutting() as ready:
            for batch in _batches(todo, self._place):
                if should_stop():
                    outcome.interrupted = True
                    break
                with ready(batch) as sounds:
                    self._bring_patiently(sounds, outcome, should_stop)
                done += len(batch)
                if on_progress:
                    on_progress(done)
        return outcome

    def _bring_patiently(
        self, batch: Sequence[Sound], outcome: Outcome, should_stop: Callable[[], bool]
    ) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                return self._bring(batch, outcome)
            except LabelStudioError as error:
                broken_off = isinstance(error.__cause__, httpx.TransportError)
                if pause is None or not broken_off or should_stop():
                    raise
                time.sleep(pause)

    def _bring(self, batch: Sequence[Sound], outcome: Outcome) -> None:
        addresses = self._place.addresses(batch)
        with self._turns.turn(self._held.arrived):
            self._held.look()
            fates = [(sound, *self._fate(sound)) for sound in batch]
            new = [number for number, (_, state, _) in enumerate(fates) if state == "to import"]
            if new:
                tasks = [self._task(batch[number], addresses[number]) for number in new]
                self._create(tasks, [batch[number] for number in new])
        for sound, state, why in fates:
            outcome.note(sound, "imported" if state == "to import" else state, why)

    def _fate(self, sound: Sound) -> tuple[State, str]:
        """What is to become of a sound now, and where it stays out, why."""
        if self._held.has(sound, by_name=self._copies):
            return "already there", ""
        otherwise = None if self._copies else self._held.otherwise(sound)
        why = otherwise or self._place.refuses(sound)
        return ("left out", why) if why else ("to import", "")

    def _task(self, sound: Sound, address: str) -> dict[str, Any]:
        data = {**sound.data(), self._data_key: address}
        return {"data": data, **(self._marking.part(sound) if self._marking else {})}

    def _create(self, tasks: list[dict[str, Any]], sounds: Sequence[Sound]) -> None:
        sent_at = time.monotonic()
        with self._turns.sending(sounds[0].identity) as answered:
            try:
                with explained(self._url):
                    answer = self._client.projects.import_tasks(
                        id=self._project_id, request=tasks, return_task_ids=True, request_options=_ONCE
                    )
            except LabelStudioError as error:
                if not isinstance(error.__cause__, httpx.TransportError):
                    answered()
                raise
        if answer.task_count is not None and answer.task_count != len(tasks):
            raise LabelStudioError(
                f"Label Studio at {self._url} made {answer.task_count} tasks of {len(tasks)}: "
                "look into its log, then run this again."
            )
        made = getattr(answer, "task_ids", None)
        if made and may_have_repeated(sent_at):
            self._held.keep_only(made, sounds)


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

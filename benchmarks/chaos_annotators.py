"""Annotators of the chaos benchmark, and the bad wire between their Label Studio and the backend."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.simulated_label_studio import Notice, SimulatedLabelStudio, post
from benchmarks.webhook_load import LABELS, SECONDS

CLIPS = 90
"""Sounds of one project; those that are not imported at the start come in later."""
ANNOTATED_FIRST, OPEN_FIRST = 9, 30
FEWEST, MOST = 12, 80
"""Annotations between which a project stays, so that there is something to learn, and it takes no minutes."""
PAUSE_SECONDS = (0.1, 0.9)
ANNOTATORS = 3
WRONG = 0.1
STARTS_TRAINING = 0.1
ACTIONS = {
    "create": 40,
    "update": 25,
    "delete": 10,
    "skip": 5,
    "open_task": 8,
    "import_annotated": 6,
    "start_training": 4,
    "delete_task": 2,
}
"""What an annotator does next, and how often."""
HELD_BACK, REPEATED = 0.1, 0.1
LONGEST_HELD = 8
"""Notices that overtake one that is held back, at most."""


@dataclass
class Wire:
    """What happens to the notices of one project: some come late, some come again, none is retried.

    Held back are some until others have overtaken them; repeated are only those that were answered the
    first time, or a repetition would be the retry that Label Studio does not make.

    Attributes
    ----------
    answered
        Numbers of the events that the backend said it has stored.
    tally
        ``sent``, ``lost`` (not answered with success in time), ``repeated`` and ``reordered``.
    """

    chance: random.Random
    answered: set[int] = field(default_factory=set)
    tally: Counter[str] = field(default_factory=Counter)
    _seen: list[tuple[Notice, bool]] = field(default_factory=list)
    _held: list[tuple[int, Notice]] = field(default_factory=list)

    def send(self, notice: Notice) -> None:
        """Take a notice, and deliver those that are due."""
        # Drawn for every notice, whatever became of earlier ones, so that the seed alone decides
        held, repeated = self.chance.random() < HELD_BACK, self.chance.random() < REPEATED
        overtaken_by, place = self.chance.randint(1, LONGEST_HELD), self.chance.random()
        self.tally["sent"] += 1
        if held:
            self._held.append((self.tally["sent"] + overtaken_by, notice))
        else:
            self._deliver(notice)
        for due, late in list(self._held):
            if due <= self.tally["sent"]:
                self._held.remove((due, late))
                self._deliver_late(late)
        if repeated and self._seen:
            earlier, was_answered = self._seen[int(place * len(self._seen))]
            if was_answered:
                self.tally["repeated"] += 1
                self._post(earlier)

    def deliver_rest(self) -> None:
        """Deliver all that is still held back, in any order."""
        self.chance.shuffle(self._held)
        while self._held:
            self._deliver_late(self._held.pop()[1])

    def _deliver_late(self, notice: Notice) -> None:
        self.tally["reordered"] += 1
        self._deliver(notice)

    def _deliver(self, notice: Notice) -> None:
        answered = self._post(notice)
        self._seen.append((notice, answered))
        self.tally["lost"] += not answered

    def _post(self, notice: Notice) -> bool:
        answer = post(notice)
        if answer is None or not answer.is_success:
            return False
        self.answered.add(answer.json()["event"])
        return True


@dataclass
class _Work:
    """A task, the clip that is heard in it, and an annotation of it where one is meant."""

    task: int
    clip: int
    annotation: int = 0


class Annotators:
    """The annotators of one project, who work one after another. What they do follows from the seed.

    Parameters
    ----------
    first_clip
        Number of the first of the project's ``CLIPS`` sounds; clip n is ``n.wav`` and sounds as
        ``webhook_load.make_clips`` makes it.
    """

    def __init__(
        self, studio: SimulatedLabelStudio, project: int, chance: random.Random, first_clip: int
    ) -> None:
        self._studio, self._project, self._chance = studio, project, chance
        self._fresh = list(range(first_clip, first_clip + CLIPS))
        self._tasks: list[_Work] = []
        self._annotations: list[_Work] = []

    def import_first(self) -> None:
        """Import the tasks that the project begins with; some of them were annotated elsewhere."""
        self._import(ANNOTATED_FIRST, annotated=True)
        self._import(OPEN_FIRST, annotated=False)

    def work(self, stop: threading.Event) -> None:
        """Annotate until told to stop."""
        while not stop.wait(self._chance.uniform(*PAUSE_SECONDS)):
            (action,) = self._chance.choices(list(ACTIONS), list(ACTIONS.values()))
            getattr(self, action)()

    def create(self) -> None:
        """Submit an annotation of a task, which may have some."""
        if len(self._annotations) >= MOST:
            self.delete()
            return
        work = self._chance.choice(self._tasks)
        number = self._studio.create_annotation(
            work.task,
            result=self._result(work.clip),
            completed_by=self._chance.randint(1, ANNOTATORS),
            lead_time=round(self._chance.uniform(0.5, 5.0), 2),
            starts_training=self._chance.random() < STARTS_TRAINING,
        )
        self._annotations.append(_Work(work.task, work.clip, number))

    def update(self) -> None:
        """Correct an annotation; one that was skipped is submitted by that."""
        work = self._chance.choice(self._annotations)
        self._studio.update_annotation(
            work.annotation,
            result=self._result(work.clip),
            was_cancelled=False,
            ground_truth=self._chance.random() < 0.2,
            starts_training=self._chance.random() < STARTS_TRAINING,
        )

    def delete(self) -> None:
        """Delete an annotation."""
        if len(self._annotations) > FEWEST:
            work = self._annotations.pop(self._chance.randrange(len(self._annotations)))
            self._studio.delete_annotation(work.annotation)

    def skip(self) -> None:
        """Skip a task."""
        work = self._chance.choice(self._tasks)
        number = self._studio.create_annotation(
            work.task, was_cancelled=True, completed_by=self._chance.randint(1, ANNOTATORS)
        )
        self._annotations.append(_Work(work.task, work.clip, number))

    def open_task(self) -> None:
        """Look at a task, and at what is predicted for it."""
        self._studio.open_task(self._chance.choice(self._tasks).task)

    def import_annotated(self) -> None:
        """Import some sounds with annotations, of which no webhook speaks."""
        self._import(self._chance.randint(1, 3), annotated=True)

    def start_training(self) -> None:
        """Press Start Training."""
        self._studio.start_training(self._project)

    def delete_task(self) -> None:
        """Delete a task and its annotations."""
        work = self._chance.choice(self._tasks)
        rest = [annotation for annotation in self._annotations if annotation.task != work.task]
        if len(rest) >= FEWEST:
            self._annotations = rest
            self._tasks.remove(work)
            self._studio.delete_task(work.task)

    def _import(self, count: int, annotated: bool) -> None:
        clips, self._fresh = self._fresh[:count], self._fresh[count:]
        if not clips:
            return
        annotations = [{"result": self._result(clip)} if annotated else None for clip in clips]
        sounds = [(f"{clip}.wav", annotation) for clip, annotation in zip(clips, annotations, strict=True)]
        tasks = self._studio.import_tasks(self._project, sounds)
        held = {row["task"]: number for number, row in self._studio.annotations(self._project).items()}
        new = [_Work(task, clip, held.get(task, 0)) for task, clip in zip(tasks, clips, strict=True)]
        self._tasks += [_Work(work.task, work.clip) for work in new]
        self._annotations += [work for work in new if work.annotation]

    def _result(self, clip: int) -> list[dict[str, Any]]:
        """A region and a tag as the interface writes them, now and then of a wrong label."""
        wrong = self._chance.random() < WRONG
        label = self._chance.choice(LABELS) if wrong else LABELS[clip % len(LABELS)]
        onset = round(0.5 + self._chance.uniform(-0.05, 0.05), 4)
        region = {"start": onset, "end": 1.5, "channel": 0, "labels": [label]}
        kind = {"to_name": "audio", "origin": "manual"}
        return [
            {
                **kind,
                "id": "r",
                "from_name": "label",
                "type": "labels",
                "original_length": SECONDS,
                "value": region,
            },
            {**kind, "id": "t", "from_name": "tags", "type": "choices", "value": {"choices": [label]}},
        ]

"""What Label Studio holds against what the backend holds, and against what its newest head was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.learning.training_set import fit_candidate, load_training_set
from earmark.services import Services
from earmark.store.events import ANNOTATIONS_SYNCED
from earmark.store.models import Activation, Annotation, Event, Project, Task, Training, Version
from earmark.store.registry import list_versions, load_folds, load_head


@dataclass(frozen=True)
class Held:
    """An annotation: what of it the backend learns from."""

    task: int
    result: list[Any]
    was_cancelled: bool
    ground_truth: bool
    address: str = field(compare=False)


@dataclass
class Standing:
    """How a project stands: its annotations on both sides by number, and what waits.

    ``trained_on``: how many annotations the newest version knows, served or not; 0 without any.
    """

    expected: dict[int, Held]
    held: dict[int, Held]
    waiting: int
    trained_on: int

    @property
    def taught(self) -> dict[int, Held]:
        """The expected annotations that teach something: the skipped ones are left out."""
        return {
            number: annotation for number, annotation in self.expected.items() if not annotation.was_cancelled
        }

    @property
    def settled(self) -> bool:
        """Whether the newest version knows exactly what Label Studio holds."""
        return not self.waiting and self.held == self.expected and self.trained_on == len(self.taught)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and only a comparison would show what is amiss."""
        return not self.waiting and self.held != self.expected

    def __str__(self) -> str:
        missing, left = self.expected.keys() - self.held.keys(), self.held.keys() - self.expected.keys()
        other = sum(self.held[n] != self.expected[n] for n in self.expected.keys() & self.held.keys())
        return (
            f"{len(missing)} annotations are missing, {other} differ, {len(left)} should be gone; "
            f"{self.waiting} events wait; trained on {self.trained_on} of {len(self.taught)}"
        )


@dataclass
class Verdict:
    """What went wrong, in numbers of annotations; ``faults`` says it in words.

    ``same_head``: whether the newest version is, bit by bit, what the annotations of Label Studio give.
    """

    lost: int = 0
    double_counted: int = 0
    same_head: bool = False
    faults: list[str] = field(default_factory=list)


def expected_annotations(rows: Mapping[int, dict[str, Any]], sounds: Mapping[int, str]) -> dict[int, Held]:
    """What Label Studio holds; ``sounds``: the address in each task."""
    return {
        number: Held(
            row["task"], row["result"], row["was_cancelled"], row["ground_truth"], sounds[row["task"]]
        )
        for number, row in rows.items()
    }


def standing(session: Session, key: str, expected: dict[int, Held]) -> Standing:
    """Read how a project stands, in one moment of the database."""
    query = (
        select(Annotation, Task)
        .join(Task, (Task.project_key == Annotation.project_key) & (Task.task_id == Annotation.task_id))
        .where(Annotation.project_key == key, Annotation.deleted.is_(False), Task.deleted.is_(False))
    )
    held = {
        row.annotation_id: Held(
            task.task_id, row.result, row.was_cancelled, row.ground_truth, task.data.get("audio", "")
        )
        for row, task in session.execute(query)
    }
    pending = select(func.count()).where(Event.project_key == key, Event.handled_at.is_(None))
    newest = newest_version(session, key)
    return Standing(expected, held, session.scalar(pending) or 0, newest.annotations if newest else 0)


def newest_version(session: Session, key: str) -> Version | None:
    """The version of the last training that made one, whether it is served or was rejected."""
    return max(list_versions(session, key), key=lambda version: version.number, default=None)


def judge(
    services: Services, key: str, expected: dict[int, Held], answered: Iterable[int], sounds: Path
) -> Verdict:
    """Compare everything: annotations, events, and what the newest head was trained on.

    A head names the recordings that it was fitted on, by the digest of their sound. That it was fitted on
    these very annotations of them shows in fitting it again: from what the database holds, which was
    compared with Label Studio before, comes the same head to the last bit.

    Parameters
    ----------
    answered
        Numbers of the events that the backend said it has stored.
    sounds
        Folder of the sounds, under the names that end their addresses.
    """
    with services.database.read() as session:
        now = standing(session, key, expected)
        newest = newest_version(session, key)
        recordings = _recordings(session, newest)
        forgotten = set(answered) - _event_numbers(session, key)
        twice = _answered_twice(session, key)
    digests = {
        number: hashlib.sha256((sounds / Path(annotation.address).name).read_bytes()).hexdigest()
        for number, annotation in now.taught.items()
    }
    wrong = {number for number, annotation in expected.items() if now.held.get(number) != annotation}
    untaught = {number for number, digest in digests.items() if digest not in recordings}
    left = now.held.keys() - expected.keys()
    strangers = recordings - set(digests.values())
    missing, surplus = len(digests) - now.trained_on, now.trained_on - len(digests)
    verdict = Verdict(
        lost=max(len(wrong | untaught), missing) + len(forgotten),
        double_counted=max(len(left), len(strangers), surplus) + twice,
    )
    differences: dict[str, set[int] | set[str]] = {
        "not held as they are": wrong,
        "not trained on": untaught,
        "held though they are gone": set(left),
        "recordings trained on without an annotation": strangers,
        "events answered, then forgotten": forgotten,
    }
    verdict.faults += [
        f"{what}: {sorted(map(str, those))[:20]}" for what, those in differences.items() if those
    ]
    if twice:
        verdict.faults.append(f"events handled by two trainings: {twice}")
    if now.settled and newest is not None:  # what is another set of annotations gives another head
        verdict.same_head = is_refitted(services, key, newest)
        if not verdict.same_head:
            verdict.faults.append("the newest head is not what the annotations give when it is fitted again")
    return verdict


def is_refitted(services: Services, key: str, version: Version) -> bool:
    """Whether fitting on the annotations of now, after the same predecessor, gives a version's very head."""
    with services.database.read() as session:
        project = session.get_one(Project, key)
        before = session.scalar(
            select(Version)
            .join(Activation, Activation.version_id == Version.id)
            .where(Activation.project_key == key, Version.id != version.id)
            .order_by(Activation.id.desc())
            .limit(1)
        )
        head, folds = load_head(session, version.id), load_folds(session, version.id)
    fitted = fit_candidate(services, load_training_set(services, project), before).fitted
    return (fitted.head.to_bytes(), fitted.folds_to_bytes()) == (head, folds)


def found_by_comparison(session: Session) -> int:
    """Number of annotations that comparisons wrote down: imported ones, and those of webhooks that were
    lost, held back or not yet applied.
    """
    payloads = session.scalars(select(Event.payload).where(Event.action == ANNOTATIONS_SYNCED))
    return sum(len(payload["annotations"]) for payload in payloads)


def _recordings(session: Session, version: Version | None) -> set[str]:
    if version is None:
        return set()
    folds = load_folds(session, version.id)
    return set(CrossValidatedHead.from_bytes(load_head(session, version.id), folds).assignment or ())


def _event_numbers(session: Session, key: str) -> set[int]:
    return set(session.scalars(select(Event.id).where(Event.project_key == key)))


def _answered_twice(session: Session, key: str) -> int:
    """Events that trainings answered beyond those that there are; a failed one answers none."""
    answered = session.scalar(
        select(func.sum(Training.events)).where(Training.project_key == key, Training.outcome != "failed")
    )
    handled = select(func.count()).where(Event.project_key == key, Event.handled_at.is_not(None))
    return max(0, (answered or 0) - (session.scalar(handled) or 0))

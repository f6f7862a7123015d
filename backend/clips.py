"""A project's annotations with the sounds that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from backend.embeddings import Sound
from backend.errors import EarmarkError
from backend.head.examples import AnnotatedClip
from backend.labelstudio.config import Control
from backend.labelstudio.results import ReadResult, read_result
from backend.prediction import Predictor
from backend.services import Services
from backend.store.renames import Names
from backend.store.tables import Annotation, Project, Task

log = structlog.get_logger(__name__)

GROUND_TRUTH_WEIGHT = 2.0
"""A ground-truth annotation counts as much as two that were only submitted."""
REVIEWED_WEIGHT = 1.5
"""Accepted by a second person: between the two."""
TRUST_WEIGHTS = {"curated": 1.5, "noisy": 0.5}
"""What the import said of labels that nobody has worked on since: ``label_trust`` in the task's data."""


@dataclass(frozen=True)
class Heard:
    """One annotation, read, and its sounds by data key; those that cannot be heard are missing."""

    annotation: Annotation
    task: Task
    read: ReadResult
    sounds: dict[str, Sound] = field(default_factory=dict)


def hear_annotations(
    services: Services,
    project: Project,
    controls: Sequence[Control],
    names: Names,
    annotations: Sequence[tuple[Annotation, Task]],
) -> list[Heard]:
    """Read every annotation and hear each sound once; what cannot be heard is logged and left out."""
    predictor = Predictor(services)
    data_keys = tuple(dict.fromkeys(control.data_key for control in controls))
    of_task: dict[int, dict[str, Sound]] = {}
    heard = []
    for annotation, task in annotations:
        if task.task_id not in of_task:
            of_task[task.task_id] = _sounds(predictor, project, task, data_keys)
        read = read_result(annotation.result, controls, names)
        heard.append(Heard(annotation, task, read, of_task[task.task_id]))
    return heard


def annotated_clips(heard: Sequence[Heard], controls: Sequence[Control]) -> list[AnnotatedClip]:
    """One clip for each annotation and sound, weighted by how far the annotation is trusted.

    The annotators of one sound share the weight of one; `build_examples` sees to that.
    """
    clips = []
    for one in heard:
        for data_key, sound in one.sounds.items():
            names = {control.name for control in controls if control.data_key == data_key}
            read = one.read
            clips.append(
                AnnotatedClip(
                    frames=sound.frames,
                    duration=sound.duration,
                    group=_recording(one.task, sound),
                    weight=_weight(one.annotation, one.task),
                    regions={name: found for name, found in read.regions.items() if name in names},
                    tags={name: labels for name, labels in read.tags.items() if name in names},
                    tag_weights={name: w for name, w in read.tag_weights.items() if name in names},
                )
            )
    return clips


def _weight(annotation: Annotation, task: Task) -> float:
    trust = task.data.get("label_trust")
    untouched = not (annotation.shown_at or annotation.worked_on)
    if untouched and isinstance(trust, str) and trust in TRUST_WEIGHTS:
        return TRUST_WEIGHTS[trust]
    if annotation.ground_truth:
        return GROUND_TRUTH_WEIGHT
    return REVIEWED_WEIGHT if annotation.reviewed else 1.0


def _recording(task: Task, sound: Sound) -> str:
    """What a sound is a part of: copies and stretches of one recording never stand on both sides of a fold.

    The import cuts long files and says of which; anything else is told by its content.
    """
    whole = task.data.get("source_sha256")
    return whole if isinstance(whole, str) and whole else sound.digest


def _sounds(predictor: Predictor, project: Project, task: Task, data_keys: Sequence[str]) -> dict[str, Sound]:
    sounds = {}
    for data_key in data_keys:
        try:
            sounds[data_key] = predictor.hear({"id": task.task_id, "data": task.data}, data_key, project)
        except EarmarkError as error:
            log.warning("annotation left out", task=task.task_id, reason=error.reason, detail=str(error))
    return sounds

"""Prequential evaluation (test, then train): each new annotation against what was predicted before it.

This is the learning curve that annotators experience: no version is measured on an annotation that it, or
any version before it, was fitted on (`learning_curve` leaves out tasks that were annotated before).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from earmark.errors import HeadDamagedError
from earmark.head.model import Head
from earmark.labels.control import Control
from earmark.labelstudio.result_reader import ReadResult, read_result, visible_items
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.correction_figures import (
    Correction,
    region_correction,
    region_tags_correction,
    tag_correction,
)
from earmark.learning.segment_metrics import measure
from earmark.learning.shown_results import confusions, is_changed, seconds_open, stored_result
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.predictor import task_controls
from earmark.prediction.sound_prediction import predict_sound
from earmark.services import Services
from earmark.store.models import PredictionScore, Version
from earmark.store.registry import active_at
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shown:
    """A prediction that was shown: its source, its version, and its content.

    ``probabilities``: of each label by control, if available.
    """

    source: str
    version: str
    predicted: ReadResult
    probabilities: Mapping[str, Mapping[str, float]]


class Scorer:
    """Scores annotations of one project.

    What the annotator was shown is taken from the webhook where it carried the prediction. Label
    Studio 1.23 does not send it, and shows no prediction but that of the version that was active when the
    task was opened: heads and frames are stored, so it is computed again with the same result.
    """

    def __init__(self, services: Services, key: str, controls: tuple[Control, ...], names: Names) -> None:
        self._services, self._key = services, key
        self._controls, self._names = controls, names
        self._heads: dict[str, Head | None] = {}

    def scores(self, annotated: Sequence[AnnotatedSound]) -> list[PredictionScore]:
        """Score annotations; those whose sound or version is not available have no score."""
        scores = []
        for annotated_sound in annotated:
            try:
                score = self._score(annotated_sound)
            except HeadDamagedError as error:
                log.warning(
                    "annotation not scored",
                    annotation=annotated_sound.annotation.annotation_id,
                    detail=str(error),
                )
                continue
            if score is not None:
                scores.append(score)
        return scores

    def _score(self, annotated_sound: AnnotatedSound) -> PredictionScore | None:
        annotation = annotated_sound.annotation
        controls = [control for control in self._controls if control.data_key in annotated_sound.sounds]
        if not controls:
            return None
        shown = self.shown(annotated_sound)
        distances: dict[str, dict[str, Any]] = {}
        for control in controls:
            probabilities = shown.probabilities.get(control.name)
            distance = measure(control, annotated_sound.read, shown.predicted, probabilities)
            if distance:
                confused = confusions(control, annotated_sound.read, shown.predicted)
                correction = _correction(control, annotated_sound, shown.predicted).as_json()
                distances[control.name] = {**distance, "confused": confused, "correction": correction}
        return PredictionScore(
            project_key=self._key,
            annotation_id=annotation.annotation_id,
            task_id=annotated_sound.task.task_id,
            annotator=annotation.completed_by,
            version=shown.version,
            source=shown.source,
            shown_at=annotation.shown_at,
            scored_at=time.time(),
            distances=distances,
            changed=any(map(is_changed, distances.values())),
            seconds_open=seconds_open(annotation),
            predicted=stored_result(shown.predicted),
        )

    def shown(self, annotated_sound: AnnotatedSound) -> Shown:
        """The prediction that the annotator was shown.

        Raises
        ------
        HeadDamagedError
            The head of that time cannot be read.
        """
        sent = annotated_sound.annotation.shown
        if sent is None:
            return Shown("computed", *self._predict(annotated_sound, annotated_sound.annotation.shown_at))
        predicted = read_result(sent["result"], self._controls, self._names, annotated_sound.task.data)
        return Shown(sent["source"], sent["version"], predicted, {})

    def _predict(
        self, annotated_sound: AnnotatedSound, time_shown: float
    ) -> tuple[str, ReadResult, dict[str, dict[str, float]]]:
        """Predict with the version of that time: its name, its results, and probabilities by control."""
        with self._services.database.read() as session:
            version = active_at(session, self._key, self._services.encoder_identity(), time_shown)
        name = version.name if version else self._services.untrained_name()
        head = self._head(name, version)
        items: list[dict[str, Any]] = []
        probabilities: dict[str, dict[str, float]] = {}
        encoder = self._services.encoder()
        for data_key, sound in annotated_sound.sounds.items():
            controls = task_controls(self._controls, data_key, annotated_sound.task.data)
            if head is not None:
                channels = annotated_sound.channels.get(data_key, ())
                configured = as_configured(head, controls, {})
                prediction = predict_sound(configured, controls, encoder, sound, channels, seed="")
                items += prediction.items
                probabilities.update(prediction.probabilities)
        items = visible_items(items, self._controls)
        return name, read_result(items, self._controls, data=annotated_sound.task.data), probabilities

    def _head(self, name: str, version: Version | None) -> Head | None:
        if name not in self._heads:
            head = self._services.head_for(version, self._controls)
            self._heads[name] = head and as_configured(head, self._controls, self._names)
        return self._heads[name]


def _correction(control: Control, annotated_sound: AnnotatedSound, predicted: ReadResult) -> Correction:
    """What correcting the prediction of one control cost."""
    name, read = control.name, annotated_sound.read
    if control.type.draws_regions:
        duration = annotated_sound.sounds[control.data_key].duration
        return region_correction(read.regions[name], predicted.regions.get(name, ()), duration)
    if control.type.per_region:
        return region_tags_correction(control, read.regions[name], predicted.regions.get(name, ()))
    return tag_correction(control, read.tags[name], predicted.tags.get(name, frozenset()))

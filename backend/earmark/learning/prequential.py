"""Test, then train: each new annotation against what was predicted before anybody taught it.

This is the learning curve that annotators feel: no version is measured on an annotation that it, or
any version before it, has learnt from (`learning_curve` leaves out whose task was annotated before).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from earmark.errors import HeadDamagedError
from earmark.head.model import Head
from earmark.labels.controls import Control
from earmark.labelstudio.results import ReadResult, read_result
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.segment_metrics import measure
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import result_items
from earmark.services import Services
from earmark.store.models import PredictionScore, Version
from earmark.store.registry import active_at
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shown:
    """A prediction that was shown: where it is known from, the version it is of, and its content.

    ``probabilities``: of each label by control, where they are known.
    """

    source: str
    version: str
    predicted: ReadResult
    probabilities: Mapping[str, Mapping[str, float]]


class Scorer:
    """Scores annotations of one project.

    What the annotator was shown is taken from the webhook where it carried the prediction. Label
    Studio 1.23 does not, and has no prediction on show but that of the version that was active when
    the task was opened: heads and frames are kept, so it is computed again and comes out the same.
    """

    def __init__(self, services: Services, key: str, controls: tuple[Control, ...], names: Names) -> None:
        self._services, self._key = services, key
        self._controls, self._names = controls, names
        self._heads: dict[str, Head | None] = {}

    def scores(self, annotated: Sequence[AnnotatedSound]) -> list[PredictionScore]:
        """Score annotations; those whose sound or version cannot be had have none."""
        found = []
        for one in annotated:
            try:
                score = self._score(one)
            except HeadDamagedError as error:
                log.warning(
                    "annotation not scored", annotation=one.annotation.annotation_id, detail=str(error)
                )
                continue
            if score is not None:
                found.append(score)
        return found

    def _score(self, one: AnnotatedSound) -> PredictionScore | None:
        annotation = one.annotation
        controls = [control for control in self._controls if control.data_key in one.sounds]
        if not controls:
            return None
        shown = self.shown(one)
        distances = {
            control.name: distance
            for control in controls
            if (
                distance := measure(control, one.read, shown.predicted, shown.probabilities.get(control.name))
            )
        }
        return PredictionScore(
            project_key=self._key,
            annotation_id=annotation.annotation_id,
            task_id=one.task.task_id,
            annotator=annotation.completed_by,
            version=shown.version,
            source=shown.source,
            shown_at=annotation.shown_at,
            scored_at=time.time(),
            distances=distances,
        )

    def shown(self, one: AnnotatedSound) -> Shown:
        """What its annotator was shown.

        Raises
        ------
        HeadDamagedError
            The head of that time cannot be read.
        """
        sent = one.annotation.shown
        if sent is None:
            return Shown("computed", *self._predict(one, one.annotation.shown_at))
        predicted = read_result(sent["result"], self._controls, self._names)
        return Shown(sent["source"], sent["version"], predicted, {})

    def _predict(
        self, one: AnnotatedSound, moment: float
    ) -> tuple[str, ReadResult, dict[str, dict[str, float]]]:
        """What the version of that moment says of a sound that it has not learnt from."""
        with self._services.database.read() as session:
            version = active_at(session, self._key, self._services.encoder_identity(), moment)
        name = version.name if version else self._services.untrained_name()
        head = self._head(name, version)
        items, probabilities = [], {}
        encoder = self._services.encoder()
        for data_key, sound in one.sounds.items():
            controls = tuple(control for control in self._controls if control.data_key == data_key)
            if head is not None:
                found = predict_clip(
                    head, controls, encoder.pool, encoder.frame_rate, sound.frames, sound.duration
                )
                items += result_items(found, controls, sound.duration, seed="")
                probabilities.update(found.probabilities)
        return name, read_result(items, self._controls), probabilities

    def _head(self, name: str, version: Version | None) -> Head | None:
        if name not in self._heads:
            head = self._services.head_for(version, self._controls)
            self._heads[name] = head and as_configured(head, self._controls, self._names)
        return self._heads[name]

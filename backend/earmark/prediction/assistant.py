"""Interactive assistance: label suggestion and edge refinement for a drawn region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.errors import EarmarkError, LabelConfigError, RegionError
from earmark.head.windows import frames_between
from earmark.labels.control import Control
from earmark.labels.label_config import suggestion_tools
from earmark.prediction.drawn_regions import DrawnRegion, drawn_regions
from earmark.prediction.edge_refinement import DRAWN_REACH_SECONDS, EdgeRefiner
from earmark.prediction.predictor import Model, Predictions, Predictor, sound_address
from earmark.prediction.sound_prediction import tells_channels_apart
from earmark.services import Services
from earmark.store.models import Project
from earmark.store.projects import project_key

log = structlog.get_logger(__name__)

SHORTEST_SECONDS = 0.01
"""A shorter stretch is taken for a mouse click."""


@dataclass(frozen=True)
class Suggestion:
    """Suggestion for a stretch: ``labels`` with probabilities, likeliest first; refined ``start`` and ``end``
    in seconds. Without labels where the head has none of those that the task offers.
    """

    labels: tuple[tuple[str, float], ...]
    start: float
    end: float
    duration: float
    """Length of the whole recording in seconds."""


@dataclass(frozen=True)
class VersionedSuggestion:
    """A suggestion, and the version that made it."""

    version: str
    suggestion: Suggestion


class Assistant:
    """Answers for drawn regions, with the head that predicts the project's tasks."""

    def __init__(self, services: Services) -> None:
        self._services, self._predictor = services, Predictor(services)

    def predict(
        self,
        tasks: Sequence[object],
        project: object,
        label_config: str,
        context: object,
        deadline: Deadline = NO_DEADLINE,
    ) -> Predictions:
        """Answer an interactive request: one item for each task, at most one result for each drawn region.

        The context refers to the first task. Its item is empty where no region is to be answered, the
        project's assistance is off, or nothing was learned yet.
        """
        key = project_key(project)
        failures: dict[str, int] = {}
        failed: dict[int, str] = {}
        name = self._services.untrained_name()
        items: list[dict[str, Any]] = [{"score": 0.0, "result": []} for _ in tasks]
        try:
            model = self._predictor.load_model(key, label_config, deadline)
            name = model.version
            if tasks and (model.project is None or model.project.assist):
                items[0] = self._item(model, tasks[0], context, deadline)
        except EarmarkError as error:
            # The editor cannot show an error status: the region stays as it was drawn.
            log.warning("region left unanswered", project=key, reason=error.reason, detail=str(error))
            failures, failed = {error.reason: 1}, {0: str(error)}
        return Predictions(name, [{"model_version": name, **item} for item in items], failures, failed)

    def unanswered(self, tasks: Sequence[object], key: str) -> Predictions:
        """Return empty items for a request after its deadline: the region stays as it was drawn."""
        name = self._services.version_name(key)
        items = [{"model_version": name, "score": 0.0, "result": []} for _ in tasks]
        return Predictions(name, items, {"out_of_time": 1})

    def suggest(
        self,
        project: Project,
        label_config: str,
        audio: str,
        start: float,
        end: float,
        deadline: Deadline = NO_DEADLINE,
    ) -> VersionedSuggestion:
        """Suggest a label for ``start`` to ``end`` (seconds) of the sound at an address.

        Raises
        ------
        RegionError
            The stretch is not in the sound, nothing was learned yet, or assistance is off.
        LabelConfigError
            The label config has no regions on audio, or cannot be read.
        EarmarkError
            The sound or the encoder's weights are unavailable, or the sound cannot be read.
        """
        if not project.assist:
            raise RegionError(
                f"Suggestions are off for project {project.key}: "
                f"turn them on with 'earmark assist on {project.key}'."
            )
        model = self._predictor.load_model(project.key, label_config, deadline)
        control = next((control for control in model.controls if control.type.draws_regions), None)
        if control is None:
            raise LabelConfigError(
                "The label config has no Labels on an Audio tag, so it has no regions: "
                'add some, such as <Labels name="label" toName="audio"><Label value="Dog"/></Labels>.'
            )
        task = {"data": {control.data_key: audio}}
        suggestion = self._suggestion(model, task, control, start, end, deadline)
        if suggestion is None:
            raise RegionError(
                f"Nothing can be suggested for {start:g} to {end:g} s: choose a stretch that lies in the "
                "recording, and annotate a few regions first if nothing was learned yet."
            )
        return VersionedSuggestion(model.version, suggestion)

    def _item(self, model: Model, task: object, context: object, deadline: Deadline) -> dict[str, Any]:
        results, scores = [], []
        tools = suggestion_tools(model.label_config)
        for region in drawn_regions(context, task, model.controls, tools):
            suggestion = self._suggestion(
                model, task, region.control, region.start, region.end, deadline, region.channel
            )
            if suggestion and suggestion.labels:
                results.append(_result(region, suggestion))
                scores.append(suggestion.labels[0][1])
        return {"score": round(min(scores, default=0.0), 6), "result": results}

    def _suggestion(
        self,
        model: Model,
        task: object,
        control: Control,
        start: float,
        end: float,
        deadline: Deadline,
        channel: int = 0,
    ) -> Suggestion | None:
        """Return labels and edges; None where the head has no such control, or the sound ends before."""
        fitted = model.head.controls.get(control.head_name) if model.head else None
        if model.head is None or fitted is None or fitted.type is not control.type:
            return None
        address, access = (
            sound_address(task, control.data_key),
            self._services.access.for_project(model.project),
        )
        apart = tells_channels_apart(model.head, [control])
        sound = self._services.extract(address, access, deadline, channel if apart else None)
        encoder = self._services.encoder()
        start, end = max(0.0, start), min(end, sound.duration)
        if end - start < SHORTEST_SECONDS:
            return None
        first, last = frames_between(start, end, encoder.frame_rate, len(sound.frames))
        probabilities = fitted.probabilities(encoder.pool(sound.frames[first:last])[None])[0]
        offered = control.for_task(task.get("data") if isinstance(task, dict) else None).labels
        columns = [i for i, label in enumerate(fitted.labels) if label in offered]
        labels = likeliest(
            {fitted.labels[i]: float(probabilities[i]) for i in columns},
            {fitted.labels[i]: float(fitted.thresholds[i]) for i in columns},
        )
        if sound.levels is not None:
            refiner = EdgeRefiner(sound.levels, sound.duration)
            start, end = refiner.refine((start, end), DRAWN_REACH_SECONDS)
        return Suggestion(labels, start, end, sound.duration)


def likeliest(probabilities: dict[str, float], thresholds: dict[str, float]) -> tuple[tuple[str, float], ...]:
    """Return labels that reach their thresholds, likeliest first; else the likeliest one, however unlikely.

    The annotator asked for a label of this stretch, and the score shows how certain it is. Probabilities that
    are no numbers are left out.
    """
    numbers = ((label, value) for label, value in probabilities.items() if not math.isnan(value))
    ranked = sorted(numbers, key=lambda pair: -pair[1])
    return tuple(pair for pair in ranked if pair[1] >= thresholds[pair[0]]) or tuple(ranked[:1])


def _result(region: DrawnRegion, suggestion: Suggestion) -> dict[str, Any]:
    """Return the result item that replaces a region in the editor, which matches it by id.

    ``origin`` marks the region as answered in the next context. The editor restores a label that the
    annotator chose, so its region counts as changed by hand.
    """
    control, (label, score) = region.control, suggestion.labels[0]
    labels = [name for name, _ in suggestion.labels] if control.several else [label]
    item: dict[str, Any] = {
        "id": region.id,
        "from_name": control.from_name,
        "to_name": control.to_name,
        "type": control.result_type,
        "original_length": round(suggestion.duration, 6),
        "origin": "prediction-changed" if region.labels else "prediction",
        "value": {**control.span_value(suggestion.start, suggestion.end), **control.value(labels)},
    }
    if "channel" in item["value"]:
        item["value"]["channel"] = region.channel
    # The editor would show another label's score beside the annotator's own
    return {**item, "score": round(score, 6)} if not region.labels or label in region.labels else item

"""Completeness check of imported labels: compare tasks with what was sent, and post what is missing.

Label Studio on SQLite may save tasks without their annotations and predictions and still answer success:
when its database is locked, its bulk serializer retries with tasks that it has already removed them from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from earmark.errors import LabelStudioError
from earmark.importing.existing_tasks import ExistingTasks
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, import_predictions, outcome_unknown

ATTEMPTS = 4
PREDICTIONS_AT_ONCE = 500

Labels = Mapping[str, Sequence[Mapping[str, Any]]]
"""``annotations`` and ``predictions`` of one task, as the import request has them."""


@dataclass(frozen=True)
class Gap:
    """Labels that a task lacks. ``others``: it also has annotations that the import did not send."""

    annotations: tuple[Mapping[str, Any], ...] = ()
    predictions: tuple[Mapping[str, Any], ...] = ()
    others: bool = False


class Completion:
    """Finds and posts the labels that the tasks of one project lack."""

    def __init__(self, client: Any, url: str, project_id: int | None, existing: ExistingTasks) -> None:
        self._client, self._url, self._project_id, self._existing = client, url, project_id, existing

    def gaps(self, wanted: Mapping[int, Labels]) -> dict[int, Gap]:
        """Return the gaps by task id; tasks that are complete or deleted are left out.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        labelled = {task_id: labels for task_id, labels in wanted.items() if any(labels.values())}
        tasks = self._existing.labelled(labelled)
        if any("result" not in a for task in tasks.values() for a in task.get("annotations") or ()):
            raise LabelStudioError(
                f"Label Studio at {self._url} lists annotations without their results, so that they cannot "
                "be compared with the source: check its release, 1.23 is what was tried."
            )
        gaps = {task_id: _gap(labelled[task_id], task) for task_id, task in tasks.items()}
        return {task_id: gap for task_id, gap in gaps.items() if gap.annotations or gap.predictions}

    def fill(self, wanted: Mapping[int, Labels], *, beside_others: bool) -> set[int]:
        """Post missing labels until nothing is missing; return the ids of the tasks that lacked some.

        Parameters
        ----------
        beside_others
            Whether to post annotations also to tasks that have other ones already.

        Raises
        ------
        LabelStudioError
            As above, or labels are still missing after ``ATTEMPTS`` rounds.
        """
        filled: set[int] = set()
        for attempt in range(ATTEMPTS):
            gaps = {
                task_id: gap if beside_others or not gap.others else replace(gap, annotations=())
                for task_id, gap in self.gaps(wanted).items()
            }
            gaps = {task_id: gap for task_id, gap in gaps.items() if gap.annotations or gap.predictions}
            if not gaps:
                return filled
            filled |= gaps.keys()
            for task_id, gap in gaps.items():
                for position, annotation in enumerate(gap.annotations):
                    self._post_annotation(task_id, annotation, f"{attempt} {position}")
            self._post_predictions(
                [{**prediction, "task": n} for n, gap in gaps.items() for prediction in gap.predictions]
            )
        raise LabelStudioError(
            f"Label Studio at {self._url} did not save the labels of {len(gaps)} tasks: look into its log, "
            "then run this again."
        )

    def _post_annotation(self, task: int, annotation: Mapping[str, Any], salt: str) -> None:
        from label_studio_sdk.core.api_error import ApiError

        # Idempotency key: if the request is repeated, Label Studio refuses the second annotation of this id.
        unique_id = hashlib.sha256(f"{task} {salt} {_key(annotation)}".encode()).hexdigest()[:32]
        with explained(self._url):
            try:
                self._client.annotations.create(
                    id=task, **annotation, unique_id=unique_id, request_options=PATIENT_ONCE
                )
            except ApiError as error:
                if error.status_code not in (404, 409) and not outcome_unknown(error):
                    raise

    def _post_predictions(self, predictions: Sequence[dict[str, Any]]) -> None:
        by_version: dict[object, list[dict[str, Any]]] = {}
        for prediction in predictions:
            by_version.setdefault(prediction.get("model_version"), []).append(prediction)
        for batch in by_version.values():
            for first in range(0, len(batch), PREDICTIONS_AT_ONCE):
                assert self._project_id is not None
                with explained(self._url):
                    import_predictions(
                        self._client, self._project_id, batch[first : first + PREDICTIONS_AT_ONCE]
                    )


def _gap(wanted: Labels, task: Mapping[str, Any]) -> Gap:
    existing = Counter(_key(annotation) for annotation in task.get("annotations") or ())
    missing = []
    for annotation in wanted.get("annotations", ()):
        if existing[_key(annotation)]:
            existing[_key(annotation)] -= 1
        else:
            missing.append(annotation)
    versions = {prediction.get("model_version") for prediction in task.get("predictions") or ()}
    predictions = [
        prediction
        for prediction in wanted.get("predictions", ())
        if prediction.get("model_version") not in versions
    ]
    return Gap(tuple(missing), tuple(predictions), others=any(existing.values()))


def _key(annotation: Mapping[str, Any]) -> str:
    """Comparison key of an annotation: its labels as JSON, without the ids and scores of its items."""
    items: Iterable[Any] = annotation.get("result") or ()
    labels = [
        [item.get(name) for name in ("from_name", "to_name", "type", "value")]
        for item in items
        if isinstance(item, Mapping)
    ]
    return json.dumps(sorted(json.dumps(item, sort_keys=True) for item in labels))

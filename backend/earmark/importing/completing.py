"""Completeness check of imported labels: compare tasks with what was sent, and post what is missing.

Label Studio on SQLite may save tasks without their annotations and predictions and answer with success:
when its database is locked, its bulk serializer begins again with tasks that it has taken them out of.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from earmark.errors import LabelStudioError
from earmark.importing.existing_tasks import Held
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, import_predictions, outcome_unknown

ATTEMPTS = 4
PREDICTIONS_AT_ONCE = 500

Labels = Mapping[str, Sequence[Mapping[str, Any]]]
"""``annotations`` and ``predictions`` of one task, as an import sends them."""


@dataclass(frozen=True)
class Gap:
    """What a task lacks. ``others``: it has annotations that were not sent, and no place for assumptions."""

    annotations: tuple[Mapping[str, Any], ...] = ()
    predictions: tuple[Mapping[str, Any], ...] = ()
    others: bool = False


class Completion:
    """Finds and fills gaps of one project's tasks."""

    def __init__(self, client: Any, url: str, project_id: int | None, held: Held) -> None:
        self._client, self._url, self._project_id, self._held = client, url, project_id, held

    def gaps(self, wanted: Mapping[int, Labels]) -> dict[int, Gap]:
        """Return what tasks lack of their labels; those that lack nothing, or are gone, are not in it.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        labelled = {number: labels for number, labels in wanted.items() if any(labels.values())}
        tasks = self._held.labelled(labelled)
        if any("result" not in made for task in tasks.values() for made in task.get("annotations") or ()):
            raise LabelStudioError(
                f"Label Studio at {self._url} lists annotations without their results, so that they cannot "
                "be compared with the source: check its release, 1.23 is what was tried."
            )
        found = {number: _gap(labelled[number], task) for number, task in tasks.items()}
        return {number: gap for number, gap in found.items() if gap.annotations or gap.predictions}

    def fill(self, wanted: Mapping[int, Labels], *, beside_others: bool) -> set[int]:
        """Post what tasks lack, until nothing is missing; return the tasks that lacked something.

        Parameters
        ----------
        beside_others
            Whether annotations are also posted to tasks that have other ones already.

        Raises
        ------
        LabelStudioError
            As above, or something is missing even so.
        """
        filled: set[int] = set()
        for attempt in range(ATTEMPTS):
            gaps = {
                number: gap if beside_others or not gap.others else replace(gap, annotations=())
                for number, gap in self.gaps(wanted).items()
            }
            gaps = {number: gap for number, gap in gaps.items() if gap.annotations or gap.predictions}
            if not gaps:
                return filled
            filled |= gaps.keys()
            for number, gap in gaps.items():
                for place, annotation in enumerate(gap.annotations):
                    self._annotate(number, annotation, f"{attempt} {place}")
            self._predict([{**made, "task": n} for n, gap in gaps.items() for made in gap.predictions])
        raise LabelStudioError(
            f"Label Studio at {self._url} did not save the labels of {len(gaps)} tasks: look into its log, "
            "then run this again."
        )

    def _annotate(self, task: int, annotation: Mapping[str, Any], distinction: str) -> None:
        from label_studio_sdk.core.api_error import ApiError

        # A name of its own makes Label Studio refuse the second one where it repeats the request.
        name = hashlib.sha256(f"{task} {distinction} {_key(annotation)}".encode()).hexdigest()[:32]
        with explained(self._url):
            try:
                self._client.annotations.create(
                    id=task, **annotation, unique_id=name, request_options=PATIENT_ONCE
                )
            except ApiError as error:
                if error.status_code not in (404, 409) and not outcome_unknown(error):
                    raise

    def _predict(self, predictions: Sequence[dict[str, Any]]) -> None:
        by_version: dict[object, list[dict[str, Any]]] = {}
        for prediction in predictions:
            by_version.setdefault(prediction.get("model_version"), []).append(prediction)
        for same in by_version.values():
            for first in range(0, len(same), PREDICTIONS_AT_ONCE):
                assert self._project_id is not None
                with explained(self._url):
                    import_predictions(
                        self._client, self._project_id, same[first : first + PREDICTIONS_AT_ONCE]
                    )


def _gap(wanted: Labels, task: Mapping[str, Any]) -> Gap:
    held = Counter(_key(made) for made in task.get("annotations") or ())
    missing = []
    for annotation in wanted.get("annotations", ()):
        if held[_key(annotation)]:
            held[_key(annotation)] -= 1
        else:
            missing.append(annotation)
    versions = {made.get("model_version") for made in task.get("predictions") or ()}
    predictions = [
        made for made in wanted.get("predictions", ()) if made.get("model_version") not in versions
    ]
    return Gap(tuple(missing), tuple(predictions), others=any(held.values()))


def _key(annotation: Mapping[str, Any]) -> str:
    """The labels of an annotation, which its items' ids and scores are no part of."""
    items: Iterable[Any] = annotation.get("result") or ()
    kept = [
        [item.get(name) for name in ("from_name", "to_name", "type", "value")]
        for item in items
        if isinstance(item, Mapping)
    ]
    return json.dumps(sorted(json.dumps(item, sort_keys=True) for item in kept))

"""Upsert of predictions in Label Studio: one of ours for each task, updated in place where it exists.

Submit sends the id of the prediction that the editor was opened with, and Label Studio refuses it if that
prediction was deleted. So predictions that may be open are not deleted: a newer version overwrites the row,
and duplicates get the model version ``outdated since <date>``. They are deleted when no browser session can
be that old, a day's rows with one request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from earmark.labelstudio.non_idempotent_requests import import_predictions
from earmark.services import Services
from earmark.store.annotations import add_unknown_tasks
from earmark.store.models import Project
from earmark.store.prediction_writes import claim_writes, release_writes

IMPORTED_AT_ONCE = 500
_OUTDATED = "outdated since"
_SUPERSEDED = re.compile(rf"(?:{_OUTDATED}|superseded) (\d{{4}}-\d{{2}}-\d{{2}})")
"""Names of earlier releases began with "superseded"."""


@dataclass
class Written:
    """Outcome of a write, with ids of tasks.

    ``tasks``: those that have the version's prediction now. ``deferred``: those that another writer is
    writing. ``stopped``: whether the write window closed before all were written.
    """

    tasks: list[int] = field(default_factory=list)
    deferred: list[int] = field(default_factory=list)
    stopped: bool = False


class PredictionWriter:
    """Writes predictions to tasks of one project.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``, whose errors are raised.
    own_versions
        Names of all versions with which this backend ever answered in the project.
    """

    def __init__(
        self, services: Services, client: Any, project: Project, own_versions: Collection[str]
    ) -> None:
        self._services, self._client, self._project = services, client, project
        self._own_versions = frozenset(own_versions)

    def write(
        self,
        version: str,
        items: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        may_write: Callable[[], bool] = lambda: True,
    ) -> Written:
        """Upsert predictions of one version.

        Parameters
        ----------
        items
            For each task, as Label Studio lists it with its ``predictions``, the ``result`` and ``score``.
        may_write
            Called before each request that changes a prediction: see ``write_windows``.
        """
        key = self._project.key
        with self._services.database.write() as session:
            scores = {task["id"]: item["score"] for task, item in items}
            claimed = claim_writes(session, key, version, list(scores), scores)
            add_unknown_tasks(session, key, {task["id"]: task.get("data") for task, _ in items})
        written = Written(deferred=[task["id"] for task, _ in items if task["id"] not in claimed])
        claimed_items = [(task, item) for task, item in items if task["id"] in claimed]
        try:
            self._write(version, claimed_items, written, may_write)
        finally:
            unwritten = claimed - set(written.tasks)
            if unwritten:
                with self._services.database.write() as session:
                    release_writes(session, key, unwritten)
        return written

    def _write(
        self,
        version: str,
        items: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        written: Written,
        may_write: Callable[[], bool],
    ) -> None:
        new = []
        for task, item in items:
            if not may_write():
                written.stopped = True
                return
            existing = self.own_predictions(task.get("predictions"))
            body = {"result": item["result"], "score": item["score"], "model_version": version}
            if existing and self._update(existing[-1]["id"], **body):
                written.tasks.append(task["id"])
            else:
                new.append({"task": task["id"], **body})
            for duplicate in existing[:-1]:
                self.supersede(duplicate["id"])
        for start in range(0, len(new), IMPORTED_AT_ONCE):
            batch = new[start : start + IMPORTED_AT_ONCE]
            import_predictions(self._client, self._project.project_id, batch)
            written.tasks += [prediction["task"] for prediction in batch]

    def own_predictions(self, predictions: object) -> list[dict[str, Any]]:
        """Return those of a task's predictions that are ours and not superseded, newest last."""
        rows = [p for p in predictions if isinstance(p, dict)] if isinstance(predictions, list) else []
        own = [p for p in rows if p.get("model_version") in self._own_versions and type(p.get("id")) is int]
        return sorted(own, key=lambda p: int(p["id"]))

    def supersede(self, number: int) -> None:
        """Hide a prediction by renaming its model version; the row and its id stay."""
        self._update(number, model_version=f"{_OUTDATED} {datetime.now(UTC).date()}", score=None)

    def _update(self, number: int, **fields: Any) -> bool:
        """Update a prediction in place; False where it was deleted, alone or with its task."""
        from label_studio_sdk.core.api_error import ApiError

        try:
            self._client.predictions.update(id=number, **fields)
        except ApiError as error:
            if error.status_code == 404:
                return False
            raise
        return True


def superseded_before(versions: Collection[str], today: date, days: float) -> list[str]:
    """Return the model versions of predictions that were superseded more than ``days`` ago."""
    limit = today - timedelta(days=days)
    return [name for name in versions if (match := _SUPERSEDED.fullmatch(name)) and _day(match[1]) < limit]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:  # matches the pattern but is not a date, such as 2026-13-45
        return date.max

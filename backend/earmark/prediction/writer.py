"""Writing predictions into Label Studio: one for each task, changed in place where ours is there already.

Submit sends the number of the prediction that the editor was opened with, and Label Studio refuses it where
that prediction was deleted. So none is deleted that may be open: a newer version takes over its row, and a
row too many gets the model version ``superseded <date>``. What was superseded before the longest session of
a browser is deleted, a day's rows with one request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from earmark.labelstudio.non_idempotent_requests import import_predictions
from earmark.services import Services
from earmark.store.models import Project
from earmark.store.prediction_writes import claim_writes, release_writes

IMPORTED_AT_ONCE = 500
_SUPERSEDED = re.compile(r"superseded (\d{4}-\d{2}-\d{2})")


@dataclass
class Written:
    """``tasks``: those that now have the version's prediction. ``deferred``: those that another writer gives
    it to at this moment. ``stopped``: others are left, because the write window closed.
    """

    tasks: list[int] = field(default_factory=list)
    deferred: list[int] = field(default_factory=list)
    stopped: bool = False


class PredictionWriter:
    """Gives tasks of one project their predictions.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``, whose errors are raised.
    ours
        Names of all versions that this backend ever answered with in the project.
    """

    def __init__(self, services: Services, client: Any, project: Project, ours: Collection[str]) -> None:
        self._services, self._client, self._project = services, client, project
        self._ours = frozenset(ours)

    def write(
        self,
        version: str,
        items: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        may_write: Callable[[], bool] = lambda: True,
    ) -> Written:
        """Write predictions of one version.

        Parameters
        ----------
        items
            For each task, as Label Studio lists it with its ``predictions``, the ``result`` and ``score``.
        may_write
            Asked before each request that changes something: see ``write_windows``.
        """
        key = self._project.key
        with self._services.database.write() as session:
            claimed = claim_writes(session, key, version, [task["id"] for task, _ in items])
        written = Written(deferred=[task["id"] for task, _ in items if task["id"] not in claimed])
        mine = [(task, item) for task, item in items if task["id"] in claimed]
        try:
            self._write(version, mine, written, may_write)
        finally:
            left = claimed - set(written.tasks)
            if left:
                with self._services.database.write() as session:
                    release_writes(session, key, left)
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
            held = self.held(task.get("predictions"))
            body = {"result": item["result"], "score": item["score"], "model_version": version}
            if held and self._change(held[-1]["id"], **body):
                written.tasks.append(task["id"])
            else:
                new.append({"task": task["id"], **body})
            for other in held[:-1]:
                self.supersede(other["id"])
        for first in range(0, len(new), IMPORTED_AT_ONCE):
            some = new[first : first + IMPORTED_AT_ONCE]
            import_predictions(self._client, self._project.project_id, some)
            written.tasks += [prediction["task"] for prediction in some]

    def held(self, predictions: object) -> list[dict[str, Any]]:
        """Those of a task's predictions that are ours and not superseded, the newest last."""
        rows = [p for p in predictions if isinstance(p, dict)] if isinstance(predictions, list) else []
        ours = [p for p in rows if p.get("model_version") in self._ours and type(p.get("id")) is int]
        return sorted(ours, key=lambda p: int(p["id"]))

    def supersede(self, number: int) -> None:
        """Take a prediction out of sight: no version is asked for under its name, and its number stays."""
        self._change(number, model_version=f"superseded {datetime.now(UTC).date()}", score=None)

    def _change(self, number: int, **fields: Any) -> bool:
        """Change a prediction in place; False where it was deleted, alone or with its task."""
        from label_studio_sdk.core.api_error import ApiError

        try:
            self._client.predictions.update(id=number, **fields)
        except ApiError as error:
            if error.status_code == 404:
                return False
            raise
        return True


def superseded_before(versions: Collection[str], today: date, days: float) -> list[str]:
    """Names of superseded predictions, out of all model versions, that are older than so many days."""
    limit = today - timedelta(days=days)
    return [name for name in versions if (match := _SUPERSEDED.fullmatch(name)) and _day(match[1]) < limit]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:  # of the right shape, as 2026-13-45 is, and no name of ours
        return date.max

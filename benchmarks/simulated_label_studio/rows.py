"""What a simulated Label Studio holds, and how its API and webhooks show it.

Who reads or changes several rows holds ``Rows.lock`` meanwhile.
"""

from __future__ import annotations

import copy
import itertools
import operator
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {"greater": operator.gt, "equal": operator.eq}
_COLUMNS = ("id", "total_annotations", "cancelled_annotations")


class Table:
    """Rows by number. A number never returns, as Django sees to with SQLite and PostgreSQL alike."""

    def __init__(self) -> None:
        self._rows: dict[int, Json] = {}
        self._numbers = itertools.count(1)

    def __getitem__(self, number: int) -> Json:
        return self._rows[number]

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def add(self, **fields: Any) -> Json:
        """Add a row under the next number."""
        number = next(self._numbers)
        self._rows[number] = {"id": number, **fields}
        return self._rows[number]

    def remove(self, number: int) -> Json:
        """Take a row out; KeyError where there is none."""
        return self._rows.pop(number)

    def where(self, field: str, value: object) -> list[Json]:
        """The rows with a value in a field, in the order of their numbers."""
        return [row for row in self._rows.values() if row[field] == value]


class Rows:
    """Projects and everything that belongs to them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.projects, self.tasks, self.annotations = Table(), Table(), Table()
        self.predictions, self.backends, self.webhooks = Table(), Table(), Table()

    def add_project(self, title: str, label_config: str) -> Json:
        """Add a project that no backend is connected to."""
        return self.projects.add(
            title=title,
            description="",
            label_config=label_config,
            model_version="",
            show_collab_predictions=True,
            evaluate_predictions_automatically=False,
            sampling="Sequential sampling",
            **_created_now(),
        )

    def add_task(self, project: int, audio: str) -> Json:
        """Add a task that wants one annotation."""
        row = self.tasks.add(
            data={"audio": audio}, meta={}, overlap=1, project=project, updated_by=None, **_created_now()
        )
        row["inner_id"] = row["id"]
        return row

    def add_annotation(self, task: int, **fields: Any) -> Json:
        """Add an annotation; ``fields`` as in ``SimulatedLabelStudio.create_annotation``."""
        row = self.annotations.add(
            result=[],
            was_cancelled=False,
            ground_truth=False,
            lead_time=None,
            prediction={},
            unique_id="",
            task=task,
            project=self.tasks[task]["project"],
            completed_by=1,
            parent_prediction=None,
            parent_annotation=None,
            **_created_now(),
        )
        row["unique_id"] = str(uuid.UUID(int=row["id"]))
        return self.change_annotation(row["id"], **fields)

    def change_annotation(self, number: int, **fields: Any) -> Json:
        """Change an annotation, which gets the time of now."""
        row = self.annotations[number]
        row.update(fields, updated_at=_now())
        row["result_count"] = len(row["result"])
        return row

    def add_prediction(self, task: int, result: list[Json], score: float | None, version: str) -> Json:
        """Add a prediction to a task that is there."""
        return self.predictions.add(
            task=task,
            project=self.tasks[task]["project"],
            result=result,
            score=score,
            model_version=version,
            **_created_now(),
        )

    def add_webhook(self, project: int, url: str) -> Json:
        """Add a webhook as connecting a backend does: for all actions, without a header."""
        return self.webhooks.add(
            project=project,
            organization=1,
            url=url,
            headers={},
            send_payload=True,
            send_for_all_actions=True,
            is_active=True,
            actions=[],
        )

    def project(self, number: int) -> Json:
        """A project as the API and webhooks show it."""
        annotations = self.annotations.where("project", number)
        skipped = sum(row["was_cancelled"] for row in annotations)
        return {
            **self.projects[number],
            "task_number": len(self.tasks.where("project", number)),
            "total_annotations_number": len(annotations) - skipped,
            "skipped_annotations_number": skipped,
            "total_predictions_number": len(self.predictions.where("project", number)),
        }

    def task(self, number: int) -> Json:
        """A task as webhooks show it: without its annotations and predictions."""
        row, annotations = self.tasks[number], self.annotations.where("task", number)
        skipped = sum(annotation["was_cancelled"] for annotation in annotations)
        return {
            **row,
            "is_labeled": len(annotations) - skipped >= row["overlap"],
            "total_annotations": len(annotations) - skipped,
            "cancelled_annotations": skipped,
            "total_predictions": len(self.predictions.where("task", number)),
        }

    def whole_task(self, number: int) -> Json:
        """A task as ``/predict`` and the list of tasks show it, with all that belongs to it."""
        annotations, predictions = (
            copy.deepcopy(table.where("task", number)) for table in (self.annotations, self.predictions)
        )
        return {**self.task(number), "annotations": annotations, "predictions": predictions}

    def listed_tasks(self, project: int, filters: Iterable[Json], ordering: str) -> list[Json]:
        """The tasks that fit all filters, in an order, both as the data manager names them.

        Raises
        ------
        KeyError
            A column, operator or order that is not simulated.
        """
        selected = [self.whole_task(row["id"]) for row in self.tasks.where("project", project)]
        for item in filters:
            column, fits = item["filter"].removeprefix("filter:tasks:"), _OPERATORS[item["operator"]]
            if column not in _COLUMNS:
                raise KeyError(column)
            selected = [task for task in selected if fits(task[column], item["value"])]
        keys = {"tasks:id": lambda task: task["id"], "tasks:predictions_score": _mean_score}
        return sorted(selected, key=keys[ordering])


def project_uid(project: Json) -> str:
    """``<id>.<created>``, as the ML backend API names projects."""
    return f"{project['id']}.{int(datetime.fromisoformat(project['created_at']).timestamp())}"


def _mean_score(task: Json) -> float:
    """Tasks without a score come first, as NULL does in SQLite."""
    scores = [row["score"] for row in task["predictions"] if row["score"] is not None]
    return sum(scores) / len(scores) if scores else float("-inf")


def _created_now() -> dict[str, str]:
    now = _now()
    return {"created_at": now, "updated_at": now}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

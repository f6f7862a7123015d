"""Predictor: exactly one prediction item for each task, in order, even where tasks or the encoder fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.errors import (
    EarmarkError,
    NotFiniteError,
    OutOfTimeError,
    RegionsLeftOutError,
    TaskError,
    WeightsAwaitedError,
    WeightsError,
)
from earmark.features.prefetch import Prefetch
from earmark.head.model import Head
from earmark.labels.config_changes import current_label_names, with_former_names
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.labels.task_values import resolve_address
from earmark.labelstudio.result_reader import visible_items
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.sound_prediction import SoundPrediction, predict_sound, tells_channels_apart
from earmark.services import Services
from earmark.storage.finite_json import is_finite
from earmark.store.models import Project, Version
from earmark.store.projects import project_key
from earmark.store.registry import active_version
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Predictions:
    """Answer to a request: ``items`` in Label Studio's format, one for each task, in order."""

    version: str
    items: list[dict[str, Any]]
    failures: dict[str, int]
    """Number of failed tasks by reason."""
    failed: dict[int, str] = field(default_factory=dict)
    """Error text by the task's position; the item of a failed task is an empty prediction."""
    unreached: tuple[int, ...] = ()
    """Positions of the tasks that were not reached before the deadline."""


@dataclass(frozen=True)
class Model:
    """Model in use for a project: ``head`` is None where nothing is learned or matched yet.

    ``version``: name of the version. ``project``: None where it never connected. ``label_config``: XML.
    """

    version: str
    project: Project | None
    label_config: str
    controls: tuple[Control, ...]
    head: Head | None


class Predictor:
    """Predicts tasks of any project with that project's own head."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def predict(
        self,
        tasks: Sequence[object],
        project: object,
        label_config: str,
        deadline: Deadline = NO_DEADLINE,
        on_task: Callable[[], None] | None = None,
    ) -> Predictions:
        """Predict tasks.

        Parameters
        ----------
        tasks
            Tasks as Label Studio sends them. An invalid one gets an empty prediction and does not affect
            the others.
        project
            Project key, or the project object of a webhook.
        label_config
            The project's label config, XML; if empty, the stored one is used.
        deadline
            Tasks not done by then get an item without ``result``: Label Studio stores nothing for them and
            asks again. Tasks with cached sounds come first, and slow sounds do not delay others. While the
            encoder's weights are being downloaded, no task is done; without a deadline, the download is
            awaited.
        on_task
            Called after each task.
        """
        services, key = self._services, project_key(project)
        model = Model("", None, label_config, (), None)
        failures: dict[str, int] = {}
        failed: dict[int, str] = {}
        unreached: list[int] = []
        no_model = False
        try:
            model = self.load_model(key, label_config, deadline)
        except EarmarkError as error:
            # After an error status, Label Studio would store nothing: every task gets an empty item.
            log.warning("no prediction possible", project=key, reason=error.reason, detail=str(error))
            no_model = True
            if tasks:
                failures[error.reason] = len(tasks)
            if isinstance(error, WeightsAwaitedError):
                unreached = list(range(len(tasks)))
            else:
                failed = dict.fromkeys(range(len(tasks)), str(error))
        row, controls, head = model.project, model.controls, model.head
        name = model.version or services.version_name(key)
        items: list[dict[str, Any]] = [{"model_version": name} for _ in tasks]
        if unreached:
            return Predictions(name, items, failures, failed, tuple(unreached))
        reached: set[int] = set()
        prefetch = self._prefetch(tasks, row, controls, deadline) if head is not None and controls else None
        with prefetch or nullcontext():
            for position in prefetch or range(len(tasks)):
                if deadline.passed() and not no_model:
                    break
                try:
                    item = self._predict_task(tasks[position], row, controls, head, prefetch, deadline)
                except OutOfTimeError:
                    continue
                except EarmarkError as error:
                    failures[error.reason] = failures.get(error.reason, 0) + 1
                    failed[position] = str(error)
                    task = _task_id(tasks[position])
                    log.warning("task left empty", task=task, reason=error.reason, detail=str(error))
                    item = _empty_item()
                reached.add(position)
                items[position].update(item)
                if on_task:
                    on_task()
        unreached = [position for position in range(len(tasks)) if position not in reached]
        if unreached:
            failures["out_of_time"] = len(unreached)
            log.warning(
                "request cut short", project=key, left=len(unreached), budget_seconds=deadline.seconds
            )
        return Predictions(name, items, failures, failed, tuple(unreached))

    def load_model(self, key: str, label_config: str, deadline: Deadline = NO_DEADLINE) -> Model:
        """Load the model in use for a project, in one database transaction.

        Raises
        ------
        LabelConfigError
            The label config cannot be read, or has no control on audio.
        HeadDamagedError
            The head cannot be read, and no other version can replace it.
        WeightsError, WeightsAwaitedError
            The encoder is unavailable, or will not be available within the deadline.
        """
        services = self._services
        with services.database.read() as session:
            row = session.get(Project, key)
            active = active_version(session, key, services.encoder_identity())
            text = label_config or (row.label_config if row else "")
            controls = parse_label_config(text)
            names = current_label_names(session, key, controls)
        controls = with_former_names(controls, names)
        if deadline.limited:
            services.need_encoder_soon()
        version = services.serving_for(active)
        head = self.head_for(version, controls, names)
        if active is not None and version is None and head is None:
            services.head(active)  # raises HeadDamagedError, as nothing can replace it
        return Model(version.name if version else services.untrained_name(), row, text, controls, head)

    def head_for(self, version: Version | None, controls: tuple[Control, ...], names: Names) -> Head | None:
        """Return the head of a version; raise WeightsError when it was trained with another encoder."""
        head = self._services.head_for(version, controls)
        if head is not None and head.identity != self._services.encoder().identity:
            raise WeightsError(
                f"The head was trained with {head.identity}, and the encoder is now "
                f"{self._services.encoder().identity}: restart Earmark, so that everything uses the same one."
            )
        if head is None or version is None:  # an untrained head is built from these controls
            return head
        return as_configured(head, controls, names)

    def _prefetch(
        self,
        tasks: Sequence[object],
        project: Project | None,
        controls: tuple[Control, ...],
        deadline: Deadline,
    ) -> Prefetch:
        addresses = [tuple(sound_addresses(task, controls).values()) for task in tasks]
        access = self._services.access.for_project(project)
        return Prefetch(self._services.extractor(), access, addresses, deadline)

    def _predict_task(
        self,
        task: object,
        project: Project | None,
        controls: tuple[Control, ...],
        head: Head | None,
        prefetch: Prefetch | None,
        deadline: Deadline,
    ) -> dict[str, Any]:
        if head is None or prefetch is None:
            # Nothing is learned or matched: an empty answer, without downloading the file.
            return _empty_item()
        results: list[dict[str, Any]] = []
        probabilities: dict[str, dict[str, float]] = {}
        scores = []
        data = task.get("data") if isinstance(task, dict) else None
        addresses = sound_addresses(task, controls)
        required = [control.data_key for control in controls if not control.optional]
        for data_key in dict.fromkeys([*required, *addresses] or [c.data_key for c in controls]):
            same_sound = task_controls(controls, data_key, data)
            address, encoder = sound_address(task, data_key), self._services.encoder()
            with self._services.faults_of(address, project.key if project else None, _stored_id(task)):
                located = prefetch.locate(address)
                with self._services.compute_slot(deadline):
                    extractor = self._services.extractor()
                    sound = extractor.extract(located, address, deadline)
                    apart = tells_channels_apart(head, same_sound)
                    channels = extractor.extract_channels(located, address, deadline) if apart else ()
                    prediction = predict_sound(
                        as_configured(head, same_sound, {}),
                        same_sound,
                        encoder,
                        sound,
                        channels,
                        seed=f"{_task_id(task)}",
                    )
            if prediction.left_out:
                self._record_left_out(prediction, address, project, task)
            results += prediction.items
            probabilities.update(prediction.probabilities)
            scores.append(prediction.score)
        results = visible_items(results, controls)
        item = {"score": min(scores), "result": results, "probabilities": probabilities}
        if not is_finite(item):
            raise NotFiniteError(
                "The prediction holds numbers that are not finite, which is a fault of Earmark, of the "
                "encoder's weights or of the stored frames: please report it."
            )
        return item

    def _record_left_out(
        self, prediction: SoundPrediction, address: str, project: Project | None, task: object
    ) -> None:
        """Remember for the doctor and the pages that not all regions of a task are shown."""
        error = RegionsLeftOutError(
            f"Task {_task_id(task)} has {prediction.shown + prediction.left_out:,} regions, and the "
            f"{prediction.shown:,} that save most work are shown: import long recordings with --split, or "
            "raise model_score_threshold."
        )
        log.warning("regions left out", task=_task_id(task), left_out=prediction.left_out)
        key = project.key if project else None
        self._services.remember_fault(address, error, key, _stored_id(task))

    def out_of_time(self, tasks: Sequence[object], project: object) -> Predictions:
        """Return the answer after the deadline: an item without ``result`` for each task."""
        name = self._services.version_name(project_key(project))
        items: list[dict[str, Any]] = [{"model_version": name} for _ in tasks]
        return Predictions(name, items, {"out_of_time": len(tasks)}, {}, tuple(range(len(tasks))))


def sound_addresses(task: object, controls: Sequence[Control]) -> dict[str, str]:
    """Return the addresses of a task's sounds by data key, without fields that lack one."""
    addresses = {}
    for data_key in dict.fromkeys(control.data_key for control in controls):
        with suppress(TaskError):
            addresses[data_key] = sound_address(task, data_key)
    return addresses


def sound_address(task: object, data_key: str) -> str:
    """Return the address of a task's sound.

    Raises
    ------
    TaskError
        The task has no such field, or no text in it.
    """
    address = resolve_address(task.get("data") if isinstance(task, dict) else None, data_key)
    if not address:
        raise TaskError(
            f"The task's data has no address of a sound under '{data_key}': "
            "import it with that field, or change the Audio tag's value."
        )
    return address


def task_controls(controls: Sequence[Control], data_key: str, data: object) -> tuple[Control, ...]:
    """Return the controls of one sound as a task with this data shows them."""
    return tuple(control.for_task(data) for control in controls if control.data_key == data_key)


def _empty_item() -> dict[str, Any]:
    return {"score": 0.0, "result": [], "probabilities": {}}


def _stored_id(task: object) -> int | None:
    number = _task_id(task)
    return number if type(number) is int and 0 <= number < 2**63 else None


def _task_id(task: object) -> object:
    return task.get("id") if isinstance(task, dict) else None

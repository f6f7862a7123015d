"""``make demo-check``: the loop with no hands, and what it gained as one JSON object."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import track

from earmark.errors import EarmarkError
from earmark.head.metrics import lwlrap
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.non_idempotent_requests import may_have_repeated
from scripts.demo_clips import DemoClip, is_for_testing
from scripts.demo_truth import true_result

OPEN_SECONDS = 5.0
"""How long a task is said to have been open in the editor, when it is submitted as the editor does."""
TRAINING_SECONDS = 180.0
POLL_SECONDS = 0.2


class LoopBrokenError(EarmarkError):
    """The loop did not do in time what it is for."""

    reason = "loop"


@dataclass(frozen=True)
class Loop:
    """A running demo: its parts, and which clip each task holds."""

    client: Any
    project_id: int
    project_key: str
    label_config: str
    api_url: str
    clips: dict[int, DemoClip]
    """By task id."""
    login: tuple[str, str] | None = None
    """What the backend asks for."""

    def predict(self, task_ids: list[int]) -> list[dict[str, Any]]:
        """Ask the backend for predictions as Label Studio does."""
        tasks = [self.client.tasks.get(id=str(number)) for number in task_ids]
        body = {
            "tasks": [{"id": task.id, "data": task.data, "project": self.project_id} for task in tasks],
            "project": self.project_key,
            "label_config": self.label_config,
        }
        answer = httpx.post(f"{self.api_url}/predict", json=body, timeout=100, auth=self.login)
        answer.raise_for_status()
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that carry these labels; 0 when there is none."""
        text = httpx.get(f"{self.api_url}/metrics", timeout=10, auth=self.login).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and all(sample.labels.get(k) == v for k, v in labels.items())
        )

    def annotate(self, task_ids: list[int]) -> None:
        """Submit the true regions and tags of clips, as an annotator would."""
        controls = parse_label_config(self.label_config)
        for number in task_ids:
            self._submit(number, true_result(self.clips[number], controls))

    def submit_shown(self, task_id: int, prediction: int) -> bool:
        """Submit a clip as the editor does, with the prediction that it was opened with.

        Returns
        -------
        Whether Label Studio took it; it refuses one whose prediction was deleted meanwhile.
        """
        from label_studio_sdk.core.api_error import ApiError

        result = true_result(self.clips[task_id], parse_label_config(self.label_config))
        try:
            self._submit(task_id, result, parent_prediction=prediction, lead_time=OPEN_SECONDS)
        except ApiError as error:
            if error.status_code != httpx.codes.BAD_REQUEST:
                raise
            return False
        return True

    def _submit(self, task_id: int, result: list[dict[str, Any]], **fields: Any) -> None:
        sent_at = time.monotonic()
        made = self.client.annotations.create(id=task_id, result=result, **fields)
        if may_have_repeated(sent_at):
            self._keep_only(made)

    def _keep_only(self, annotation: Any) -> None:
        """Delete the like of an annotation on its task, which Label Studio made of the same request."""
        for other in self.client.annotations.list(id=annotation.task):
            if other.id != annotation.id and other.result == annotation.result:
                self.client.annotations.delete(id=other.id)

    def wait_for_training(self, annotations: int) -> str:
        """Wait until a version knows of so many annotations; returns the name of the one that answers.

        That is another one where the new version was measured to be worse, and kept.

        Raises
        ------
        LoopBrokenError
            It did not come in time.
        """
        deadline = time.monotonic() + TRAINING_SECONDS
        while time.monotonic() < deadline:
            details = httpx.get(f"{self.api_url}/versions", timeout=10, auth=self.login).json()["details"]
            for version in details:
                fits = version["project"] == self.project_key and version["annotations"] == annotations
                if fits and (version["active"] or version["status"] == "rejected"):
                    return self.version()
            time.sleep(POLL_SECONDS)
        raise LoopBrokenError(
            f"No version trained on {annotations} annotations came within {TRAINING_SECONDS:.0f} s: "
            "read worker-learn.log and api.log in the demo's logs folder."
        )

    def version(self) -> str:
        """Name of the version that answers for the project now."""
        body = {"project": self.project_key}
        answer = httpx.post(f"{self.api_url}/setup", json=body, timeout=10, auth=self.login)
        answer.raise_for_status()
        return str(answer.json()["model_version"])

    def open_tasks(self) -> list[int]:
        """Tasks without an annotation."""
        tasks = self.client.tasks.list(project=self.project_id, fields="all", page_size=100)
        return sorted(task.id for task in tasks if not task.total_annotations and task.id in self.clips)

    def wait_for_predictions(self, version: str, task_ids: list[int]) -> None:
        """Wait until Label Studio itself holds the version's predictions for all these tasks.

        Raises
        ------
        LoopBrokenError
            They did not come in time.
        """
        deadline, missing = time.monotonic() + TRAINING_SECONDS, set(task_ids)
        while missing:
            for number in sorted(missing):
                held = self.client.predictions.list(task=number)
                if not any(prediction.model_version == version for prediction in held):
                    break
                missing.discard(number)
            if missing and time.monotonic() > deadline:
                raise LoopBrokenError(
                    f"{len(missing)} tasks in Label Studio have no prediction by {version}: "
                    "read worker-predict.log."
                )
            time.sleep(POLL_SECONDS)

    def wait_for_predictions_to_be_only(self, versions: set[str], task_ids: list[int]) -> None:
        """Wait until Label Studio has deleted every other version's predictions for all these tasks.

        Raises
        ------
        LoopBrokenError
            It did not in time.
        """
        for number in task_ids:
            _wait_until(
                partial(self._has_only, number, versions),
                f"Task {number} still has superseded predictions: read worker-predict.log.",
            )

    def _has_only(self, task_id: int, versions: set[str]) -> bool:
        return set(self.predictions(task_id).values()) <= versions

    def predictions(self, task_id: int) -> dict[int, str]:
        """Versions that made the predictions which Label Studio holds of a task, by their numbers."""
        return {held.id: held.model_version for held in self.client.predictions.list(task=task_id)}

    def lwlrap(self, task_ids: list[int], items: list[dict[str, Any]]) -> float:
        """Label-weighted label-ranking average precision of the clip tags against the truth."""
        (tags,) = (c for c in parse_label_config(self.label_config) if not c.type.draws_regions)
        truth = np.zeros((len(items), len(tags.labels)))
        scores = np.zeros_like(truth)
        for row, (number, item) in enumerate(zip(task_ids, items, strict=True)):
            sounding = {event.label for event in self.clips[number].events}
            truth[row] = [label in sounding for label in tags.labels]
            shown = item["probabilities"].get(tags.name, {})
            scores[row] = [shown.get(label, 0.0) for label in tags.labels]
        return float(lwlrap(truth, scores))


def _wait_until(condition: Callable[[], bool], failure: str) -> None:
    """Poll a condition; LoopBrokenError with this text when it does not hold in time."""
    deadline = time.monotonic() + TRAINING_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise LoopBrokenError(failure)
        time.sleep(POLL_SECONDS)


def first_of_each_sound(loop: Loop, task_ids: list[int]) -> list[int]:
    """The first tasks that together hold every label, in order."""
    chosen: list[int] = []
    covered: set[str] = set()
    for number in task_ids:
        labels = {event.label for event in loop.clips[number].events}
        if labels - covered:
            chosen.append(number)
            covered |= labels
    return chosen


def run_check(loop: Loop, seconds_setup: float, console: Console) -> bool:
    """Annotate every other clip, wait for the retraining, compare the rest; print the JSON object.

    ``lwlrap_zero_shot`` is that of the encoder's own classes, which the labels' names lead to, before any
    training; null where the encoder has none.
    """
    judged = sorted(number for number, clip in loop.clips.items() if is_for_testing(clip))
    taught = sorted(loop.clips.keys() - set(judged))
    before = loop.predict(judged)
    lwlrap_before = round(loop.lwlrap(judged, before), 4)
    webhooks = loop.metric("earmark_webhooks_total", action="ANNOTATION_CREATED")
    trainings = loop.metric("earmark_trainings_total", outcome="registered")
    started = time.monotonic()
    for number in track(taught, "annotating half of the clips", console=console):
        loop.annotate([number])
    with console.status("the worker trains …"):
        version = loop.wait_for_training(len(taught))
    after = loop.predict(judged)
    seconds_loop = time.monotonic() - started
    with console.status(f"Label Studio gets the predictions of {version} …"):
        loop.wait_for_predictions(version, judged)
    report = {
        "seconds_setup": round(seconds_setup, 1),
        "seconds_loop": round(seconds_loop, 1),
        "version_before": before[0]["model_version"],
        "version_after": after[0]["model_version"],
        "lwlrap_zero_shot": lwlrap_before if any(item["probabilities"] for item in before) else None,
        "lwlrap_before": lwlrap_before,
        "lwlrap_after": round(loop.lwlrap(judged, after), 4),
        "webhooks_received": int(
            loop.metric("earmark_webhooks_total", action="ANNOTATION_CREATED") - webhooks
        ),
        "trainings": int(loop.metric("earmark_trainings_total", outcome="registered") - trainings),
    }
    with console.status("clips are submitted with the predictions that they were opened with …"):
        accepted = submit_around_refresh(loop, judged[0], judged[1], version, len(taught))
    report |= {"accepted_before_refresh": accepted[0], "accepted_after_refresh": accepted[1]}
    print(json.dumps(report), flush=True)
    return (
        report["version_after"] != report["version_before"]
        and report["lwlrap_after"] > report["lwlrap_before"]
        and all(accepted)
    )


def submit_around_refresh(
    loop: Loop, first: int, second: int, version: str, annotations: int
) -> tuple[bool, bool]:
    """Open two clips, submit one, and the other one when what that taught has replaced its prediction.

    Parameters
    ----------
    version
        The one that answers, and whose predictions the clips have.
    annotations
        How many it has learned from.

    Returns whether Label Studio took the first, and the second.
    """
    shown = [
        min(number for number, made_by in loop.predictions(task).items() if made_by == version)
        for task in (first, second)
    ]
    before = loop.submit_shown(first, shown[0])
    if before and (newer := loop.wait_for_training(annotations + 1)) != version:
        loop.wait_for_predictions(newer, [second])
        _wait_until(
            lambda: loop.predictions(second).get(shown[1]) != version,
            f"Task {second} still shows the prediction of {version}: read worker-predict.log.",
        )
    return before, loop.submit_shown(second, shown[1])

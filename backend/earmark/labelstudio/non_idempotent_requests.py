"""Non-idempotent requests: creates exactly one resource where Label Studio may run a request twice.

When its SQLite database is locked, Label Studio runs the whole request again internally, but keeps what the
first attempt saved (its ``DatabaseIsLockedRetryMiddleware``). The response does not show it; but a second
passes before the retry, so a request with a faster response ran once. The SDK retries requests, too, which
``ONCE`` disables. And after a lost response, or HTTP 500, it is unknown what was saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

REPEATED_AFTER_SECONDS = 1.0
"""Label Studio's pause before its first retry; the following ones are longer."""
ONCE = {"max_retries": 0}
"""SDK options that disable retries: a request may have succeeded although its response was lost."""
PATIENT_SECONDS = 600
"""Timeout of create requests: Label Studio completes them even after the client has given up."""
PATIENT_ONCE = {**ONCE, "timeout_in_seconds": PATIENT_SECONDS}
SETTLING_ATTEMPTS = 4


def may_have_repeated(sent_at: float) -> bool:
    """Whether a request sent at ``time.monotonic()`` and answered now may have been run twice."""
    return time.monotonic() - sent_at >= REPEATED_AFTER_SECONDS


def outcome_unknown(error: Exception | None) -> bool:
    """Whether a request that failed with this error may have saved something nevertheless."""
    from label_studio_sdk.core.api_error import ApiError

    if isinstance(error, ApiError):
        return error.status_code is None or error.status_code >= 500
    return isinstance(error, httpx.TransportError)


def create_one(
    create: Callable[[], Any], existing: Callable[[], Iterable[Any]], delete: Callable[[int], object]
) -> Any:
    """Create exactly one resource (a project, storage, webhook …): delete duplicates that a retry created.

    Parameters
    ----------
    create
        Sends the request with ``ONCE`` and returns the resource.
    existing
        Lists the resources that are indistinguishable from it; each has an ``id``. Called before the
        request, too: resources that existed then are not deleted.
    delete
        Deletes a duplicate by its id.
    """
    from label_studio_sdk.core.api_error import ApiError

    before = {item.id for item in existing()}
    sent_at, created, failure = time.monotonic(), None, None
    try:
        created = create()
    except (ApiError, httpx.TransportError) as error:
        if not outcome_unknown(error):
            raise
        failure = error
    if created is not None and not may_have_repeated(sent_at):
        return created
    new = sorted((item for item in existing() if item.id not in before), key=lambda item: int(item.id))
    if created is None:
        if not new:
            assert failure is not None
            raise failure
        created = new[-1]
    for twin in new:
        if twin.id != created.id:
            delete(twin.id)
    return created


def import_predictions(client: Any, project_id: int, predictions: Sequence[dict[str, Any]]) -> None:
    """Create predictions of one version, exactly one for each task, for tasks that have none of it.

    Tasks that were deleted meanwhile are skipped.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``, whose errors are raised.
    predictions
        At least one, each with ``task``, ``result``, ``score`` and ``model_version``; at most 500, which
        Label Studio saves together or not at all.
    """
    from label_studio_sdk.core.api_error import ApiError

    missing, failure = list(predictions), None
    for _ in range(SETTLING_ATTEMPTS):
        sent_at, failure, created = time.monotonic(), None, None
        try:
            answer = client.projects.import_predictions(
                id=project_id, request=missing, request_options=PATIENT_ONCE
            )
            created = getattr(answer, "created", None)
        except (ApiError, httpx.TransportError) as error:
            failure = error
        if failure is None and created in (None, len(missing)) and not may_have_repeated(sent_at):
            return
        if failure is None or outcome_unknown(failure):
            missing = _without_prediction(client, predictions)
        else:  # Label Studio refuses all predictions where one of the tasks is gone
            remaining = [prediction for prediction in missing if _task_exists(client, prediction["task"])]
            if len(remaining) == len(missing):
                raise failure
            missing = remaining
        if not missing:
            return
    raise failure or httpx.ReadError(f"Label Studio has not saved {len(missing)} predictions")


def _without_prediction(client: Any, predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predictions whose tasks have none of their version; delete duplicates in other tasks.

    The first one is kept: an open editor may submit its id, and Label Studio refuses that of a deleted one.
    """
    missing = []
    for prediction in predictions:
        existing = client.predictions.list(task=prediction["task"])
        same_version = sorted(
            stored.id for stored in existing if stored.model_version == prediction["model_version"]
        )
        for prediction_id in same_version[1:]:
            _delete(client.predictions.delete, prediction_id)
        if not same_version and _task_exists(client, prediction["task"]):
            missing.append(prediction)
    return missing


def _delete(delete: Callable[..., object], number: int) -> None:
    """Delete a resource; do nothing where it does not exist."""
    from label_studio_sdk.core.api_error import ApiError

    try:
        delete(id=number)
    except ApiError as error:
        if error.status_code != 404:
            raise


def _task_exists(client: Any, task_id: int) -> bool:
    from label_studio_sdk.core.api_error import ApiError

    try:
        client.tasks.get(id=str(task_id))
    except ApiError as error:
        if error.status_code != 404:
            raise
        return False
    return True

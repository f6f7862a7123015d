"""Non-idempotent requests: exactly one result where Label Studio may carry them out twice.

Label Studio on SQLite answers a locked database by running the whole request once more inside itself,
though it keeps what the first attempt has saved (its ``DatabaseIsLockedRetryMiddleware``). Nothing in the
answer tells; but it waits for a second before, so a quick answer is that of a request that ran once. The
SDK repeats requests of its own accord, too, which ``ONCE`` forbids. And an answer that is lost, or HTTP
500, says nothing about what was saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

REPEATED_AFTER_SECONDS = 1.0
"""Label Studio's pause before it runs a request again; the following ones are longer."""
ONCE = {"max_retries": 0}
"""Request options of the SDK for what must not be made twice: a request may have succeeded unheard."""
PATIENT_SECONDS = 600
"""Timeout of requests that create: Label Studio goes on with those whose sender has given up."""
PATIENT_ONCE = {**ONCE, "timeout_in_seconds": PATIENT_SECONDS}
SETTLING_ATTEMPTS = 4


def may_have_repeated(sent_at: float) -> bool:
    """Whether a request sent at that ``time.monotonic()`` and answered now may have been run twice."""
    return time.monotonic() - sent_at >= REPEATED_AFTER_SECONDS


def outcome_unknown(error: Exception | None) -> bool:
    """Whether a request that failed like this may have saved something all the same."""
    from label_studio_sdk.core.api_error import ApiError

    if isinstance(error, ApiError):
        return error.status_code is None or error.status_code >= 500
    return isinstance(error, httpx.TransportError)


def create_one(
    create: Callable[[], Any], existing: Callable[[], Iterable[Any]], delete: Callable[[int], object]
) -> Any:
    """Create one resource (a project, storage, webhook …) and delete its twins.

    Parameters
    ----------
    create
        Sends the request with ``ONCE`` and returns the resource.
    existing
        Lists the resources that cannot be told from it; each has an ``id``. Called before, too: what was
        there is left alone.
    delete
        Gets the id of a twin.
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
    """Write predictions of one version to the tasks of a project that have none of it: one each.

    A task that was deleted meanwhile gets none, and keeps no other from its prediction.

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
            there = [prediction for prediction in missing if _task_exists(client, prediction["task"])]
            if len(there) == len(missing):
                raise failure
            missing = there
        if not missing:
            return
    raise failure or httpx.ReadError(f"Label Studio has not saved {len(missing)} predictions")


def _without_prediction(client: Any, predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The predictions whose tasks have none of their version; second ones of a task are deleted.

    The first one stays: an editor may be open that will submit its number, and a deleted one is refused.
    """
    missing = []
    for prediction in predictions:
        held = client.predictions.list(task=prediction["task"])
        same = sorted(other.id for other in held if other.model_version == prediction["model_version"])
        for number in same[1:]:
            _delete(client.predictions.delete, number)
        if not same and _task_exists(client, prediction["task"]):
            missing.append(prediction)
    return missing


def _delete(delete: Callable[..., object], number: int) -> None:
    """Delete, also where it is gone already."""
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

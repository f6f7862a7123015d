"""Requests that make something, where Label Studio may carry them out twice.

Label Studio on SQLite answers a locked database by running the whole request once more inside itself,
though it keeps what the first attempt has saved (its ``DatabaseIsLockedRetryMiddleware``). Nothing in the
answer tells; but it waits for a second before, so a quick answer is that of a request that ran once. The
SDK repeats requests of its own accord, too, which ``ONCE`` forbids.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

REPEATED_AFTER_SECONDS = 1.0
"""Label Studio's pause before it runs a request again; the following ones are longer."""
ONCE = {"max_retries": 0}
"""Request options of the SDK for what must not be made twice: a request may have succeeded unheard."""


def may_have_repeated(sent_at: float) -> bool:
    """Whether a request sent at that ``time.monotonic()`` and answered now may have been run twice."""
    return time.monotonic() - sent_at >= REPEATED_AFTER_SECONDS


def import_predictions(client: Any, project_id: int, predictions: Sequence[dict[str, Any]]) -> None:
    """Write predictions of one version to the tasks of a project that have none of it: one each.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``, whose errors are raised.
    predictions
        At least one, each with ``task``, ``result``, ``score`` and ``model_version``; at most 500, which
        Label Studio saves together or not at all.
    """
    sent_at = time.monotonic()
    client.projects.import_predictions(id=project_id, request=predictions, request_options=ONCE)
    if not may_have_repeated(sent_at):
        return
    for prediction in predictions:
        held = client.predictions.list(task=prediction["task"])
        same = sorted(other.id for other in held if other.model_version == prediction["model_version"])
        if len(same) < 2:
            return  # saved together, so no other was made twice either
        for number in same[:-1]:
            client.predictions.delete(id=number)

"""Names of the job queues, in a module without RQ, which is slow to import."""

from __future__ import annotations

from enum import StrEnum


class QueueKind(StrEnum):
    """Job queue, in the order of priority for a worker of several queues."""

    LEARN = "learn"
    """Trainings."""
    PREDICT = "predict"
    """Predictions for open tasks, and synchronization with Label Studio."""

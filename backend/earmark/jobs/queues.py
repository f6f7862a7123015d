"""The kinds of queues, apart from RQ, which takes a moment to import."""

from __future__ import annotations

from enum import StrEnum


class QueueKind(StrEnum):
    """A queue, in the order in which a worker of several takes from them."""

    LEARN = "learn"
    """Trainings."""
    PREDICT = "predict"
    """Fresh predictions for open tasks, and comparing with Label Studio."""

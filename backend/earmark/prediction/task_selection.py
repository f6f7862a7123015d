"""Selections of tasks for bulk predictions; light, because the command line imports it for its options."""

from __future__ import annotations

from enum import StrEnum


class Selection(StrEnum):
    """Selection of tasks for a run; always only those without a prediction of the version."""

    ALL = "all"
    UNLABELLED = "unlabelled"
    OUTDATED = "outdated"
    """Tasks with a prediction, but of another version."""

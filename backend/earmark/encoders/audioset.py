"""Class names of the encoders that were trained on AudioSet (CC BY 4.0), in the order of their outputs."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

AUDIOSET_LABELS_CSV = Path(__file__).with_name("audioset_labels.csv")
"""CNN14's: ``index,mid,display_name``, one row a class."""
YAMNET_LABELS_CSV = Path(__file__).with_name("yamnet_labels.csv")
"""YAMNet's, in the same columns."""

AUDIOSET_CLASSES = 527
YAMNET_CLASSES = 521


@lru_cache(maxsize=1)
def audioset_labels() -> tuple[str, ...]:
    """Return the 527 display names; position i belongs to probability i of ``Cnn14Encoder.tags``."""
    return _names_in(AUDIOSET_LABELS_CSV)


@lru_cache(maxsize=1)
def yamnet_labels() -> tuple[str, ...]:
    """Return the 521 display names; position i belongs to class score i of YAMNet."""
    return _names_in(YAMNET_LABELS_CSV)


def _names_in(path: Path) -> tuple[str, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(row["display_name"] for row in csv.DictReader(file))

"""The names of AudioSet's 527 classes, in the order of CNN14's outputs (AudioSet, CC BY 4.0)."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

AUDIOSET_LABELS_CSV = Path(__file__).with_name("audioset_labels.csv")
"""``index,mid,display_name``, one row a class."""

AUDIOSET_CLASSES = 527


@lru_cache(maxsize=1)
def audioset_labels() -> tuple[str, ...]:
    """Return the 527 display names; position i belongs to probability i of ``Cnn14Encoder.tags``."""
    with AUDIOSET_LABELS_CSV.open(newline="", encoding="utf-8") as file:
        return tuple(row["display_name"] for row in csv.DictReader(file))

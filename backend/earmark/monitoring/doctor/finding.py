"""Finding: result of one of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["fine", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """Result of a check: level, subject, text, and the remedy for a fault."""

    level: Level
    subject: str
    text: str
    remedy: str = ""

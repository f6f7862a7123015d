"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["fine", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do when it is a fault."""

    level: Level
    subject: str
    text: str
    remedy: str = ""

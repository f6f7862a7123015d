"""Outcome of an import: counts of tasks, and the state of each sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from earmark.importing.models import Sound

State = Literal["imported", "already there", "completed", "to import", "to complete", "left out"]
_PRECEDENCE: tuple[State, ...] = (
    *("already there", "left out", "to complete", "completed", "to import", "imported"),
)
"""Ascending: the state of a recording is the last of the states of its stretches."""


@dataclass(frozen=True)
class LeftOut:
    """A sound that is not imported: its name in the source's list, and the reason."""

    fname: str
    why: str


@dataclass
class Outcome:
    """Result of an import; counts are of tasks, of which a split recording has several.

    ``completed``: existing tasks that received labels that they lacked.
    """

    imported: int = 0
    already_there: int = 0
    completed: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    interrupted: bool = False
    states: dict[str, State] = field(default_factory=dict)
    """State of each sound of the list, by its name there."""
    remarks: dict[str, dict[str, None]] = field(default_factory=dict)
    """Sentences about sounds in the project, by their names in the list; each sentence once."""
    labels_lost: int = 0
    """Number of labels left out because only a part of their sound was annotated."""

    def note(self, sound: Sound, state: State, why: str = "") -> None:
        """Count the state of a sound; a recording has the state of highest precedence of its stretches."""
        self.imported += state == "imported"
        self.already_there += state in ("already there", "completed")
        self.completed += state == "completed"
        if state == "left out":
            self.left_out.append(LeftOut(sound.listed_name, why))
        previous = self.states.get(sound.listed_name, state)
        if sound.stretch is None or _PRECEDENCE.index(state) >= _PRECEDENCE.index(previous):
            self.states[sound.listed_name] = state

    def remark(self, sound: Sound, sentence: str) -> None:
        """Add a sentence about a sound to the report."""
        self.remarks.setdefault(sound.listed_name, {})[sentence] = None

    def reasons(self) -> dict[str, str]:
        """Return why sounds were left out, by name in the list; of stretches, each reason once."""
        by_name: dict[str, dict[str, None]] = {}
        for left in self.left_out:
            by_name.setdefault(left.fname, {})[left.why] = None
        return {fname: " ".join(whys) for fname, whys in by_name.items()}

"""Outcome of an import: counts of tasks, and what became of each sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from earmark.importing.models import Sound

State = Literal["imported", "already there", "completed", "to import", "to complete", "left out"]
_SAYS_MORE: tuple[State, ...] = (
    *("already there", "left out", "to complete", "completed", "to import", "imported"),
)
"""Of the stretches of one recording, in this order."""


@dataclass(frozen=True)
class LeftOut:
    """A sound that is not imported, by its name in the source's list, and why."""

    fname: str
    why: str


@dataclass
class Outcome:
    """What an import did; counts are of tasks, of which a recording that is split has several.

    ``completed``: of those that were there, tasks that have got labels which they lacked.
    """

    imported: int = 0
    already_there: int = 0
    completed: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    interrupted: bool = False
    states: dict[str, State] = field(default_factory=dict)
    """What became of each sound of the list, by its name there."""
    remarks: dict[str, dict[str, None]] = field(default_factory=dict)
    """Sentences about sounds that are in the project, by their names in the list; each once."""
    labels_lost: int = 0
    """Labels of sounds of which only a part was annotated."""

    def note(self, sound: Sound, state: State, why: str = "") -> None:
        """Count what became of a sound; of stretches, the recording's state is the one that says most."""
        self.imported += state == "imported"
        self.already_there += state in ("already there", "completed")
        self.completed += state == "completed"
        if state == "left out":
            self.left_out.append(LeftOut(sound.listed_name, why))
        known = self.states.get(sound.listed_name, state)
        if sound.stretch is None or _SAYS_MORE.index(state) >= _SAYS_MORE.index(known):
            self.states[sound.listed_name] = state

    def remark(self, sound: Sound, sentence: str) -> None:
        """Keep a sentence for the report."""
        self.remarks.setdefault(sound.listed_name, {})[sentence] = None

    def reasons(self) -> dict[str, str]:
        """Why sounds of the list were left out; of stretches, each reason once."""
        found: dict[str, dict[str, None]] = {}
        for left in self.left_out:
            found.setdefault(left.fname, {})[left.why] = None
        return {fname: " ".join(whys) for fname, whys in found.items()}

"""Project lookup by name: its key, its number in Label Studio, or its title."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from earmark.errors import ProjectNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Named(Generic[T]):
    """A project (``item``) by its key ``<id>.<created, epoch seconds>`` and its title."""

    key: str
    title: str
    item: T
    hostname: str = ""

    @property
    def number(self) -> str:
        """Label Studio's own number of the project."""
        return self.key.partition(".")[0]

    def __str__(self) -> str:
        place = f", {self.hostname}" if self.hostname else ""
        return f"{self.key} ({self.title or 'untitled'}{place})"


def matching(name: str, projects: Iterable[Named[T]]) -> list[Named[T]]:
    """Projects with this key; else with this number; else with this title, ignoring case.

    If a title matches exactly, titles that differ in case do not count.
    """
    candidates, stripped = list(projects), name.strip()
    criteria: tuple[Callable[[Named[T]], bool], ...] = (
        lambda project: project.key == stripped,
        lambda project: project.number == stripped,
        lambda project: project.title.strip() == stripped,
        lambda project: folded(project.title) == folded(stripped),
    )
    for matches_criterion in criteria:
        if matches := [project for project in candidates if matches_criterion(project)]:
            return matches
    return []


def only_one(name: str, matches: Sequence[Named[T]]) -> T:
    """The single project among the matches.

    Raises
    ------
    ProjectNameError
        There are several: the message lists them.
    """
    if len(matches) > 1:
        raise ProjectNameError(
            f"Several projects are called “{name}”: name one by its key, "
            f"{', '.join(str(project) for project in matches)}."
        )
    return matches[0].item


def folded(title: str) -> str:
    """A title normalised for comparison: case-folded, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title).casefold()).strip()

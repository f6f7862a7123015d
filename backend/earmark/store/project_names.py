"""Matching of a project's name: its key, its number in Label Studio, or its title."""

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
    """Projects with that key; else with that number; else with that title, letter case aside.

    Where a title fits to the letter, titles that differ in case do not count.
    """
    known, wanted = list(projects), name.strip()
    ways: tuple[Callable[[Named[T]], bool], ...] = (
        lambda project: project.key == wanted,
        lambda project: project.number == wanted,
        lambda project: project.title.strip() == wanted,
        lambda project: folded(project.title) == folded(wanted),
    )
    for fits in ways:
        if found := [project for project in known if fits(project)]:
            return found
    return []


def only_one(name: str, found: Sequence[Named[T]]) -> T:
    """The one project that was found.

    Raises
    ------
    ProjectNameError
        There are several: the message lists them.
    """
    if len(found) > 1:
        raise ProjectNameError(
            f"Several projects are called “{name}”: name one by its key, "
            f"{', '.join(str(project) for project in found)}."
        )
    return found[0].item


def folded(title: str) -> str:
    """A title without differences in letter case and in how Unicode composes its accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title).casefold()).strip()

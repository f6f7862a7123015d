"""What is to be imported, from the list to the task: one sound, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from earmark.export.records import (
    SOURCE_END_FIELD,
    SOURCE_FIELD,
    SOURCE_START_FIELD,
    ClipRecord,
    Stretch,
    stretch_of,
)

Trust = Literal["curated", "noisy"]

TRUST_FIELD = "label_trust"
"""Field of a task's data that says how far its labels are to be trusted: ``curated`` or ``noisy``."""
NAME_FIELD, DIGEST_FIELD, SOURCE_DIGEST_FIELD = "fname", "sha256", "source_sha256"
DURATION_FIELD = "duration"
"""Seconds of the sound that a task plays; bulk predictions share work out by it."""
ANNOTATORS_FIELD = "annotators"
"""Annotators of the task's imported annotations that have no account in Label Studio."""
OWN_FIELDS = frozenset({NAME_FIELD, DIGEST_FIELD, DURATION_FIELD, TRUST_FIELD})
"""Fields of a task's data that every import writes itself, whatever a table has under these names."""
STRETCH_FIELDS = frozenset({SOURCE_FIELD, SOURCE_START_FIELD, SOURCE_END_FIELD, SOURCE_DIGEST_FIELD})
"""Those that an import writes of stretches of a recording."""
_TOUCH_SECONDS = 0.001


@dataclass(frozen=True)
class Listed:
    """A sound that a source names.

    ``path`` is where it is on this machine; without one it is fetched from ``origin``: a URL, an
    address of a bucket, or a path that Label Studio serves. ``address`` is what a task gets that
    points to the sound where it is. Control names of ``marks`` may be empty: any control will do.
    """

    path: Path | None
    fname: str
    marks: tuple[ClipRecord, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust | None = None
    origin: str = ""
    address: str = ""


@dataclass(frozen=True)
class Facts:
    """What hearing a file once has shown.

    ``size`` in bytes, ``duration`` in seconds, ``peak_dbfs`` of the mean of all channels (-200 for
    digital silence), ``clipped`` the share of samples at full scale, from 0 to 1.
    """

    sha256: str
    size: int
    duration: float
    sample_rate: int
    channels: int
    peak_dbfs: float = 0.0
    clipped: float = 0.0


@dataclass(frozen=True)
class Sound:
    """A readable sound, or with ``stretch`` a part of one that is cut out when its turn comes."""

    path: Path
    fname: str
    facts: Facts
    marks: tuple[ClipRecord, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust | None = None
    address: str = ""
    stretch: Stretch | None = None
    listed_as: str = ""
    """Name in the source's list, where that is another one: of the whole recording, for a stretch."""
    lost: int = 0
    """Labels left out because only a part of it was annotated."""
    partly: bool = False
    """Whether some annotation is left out for that reason."""
    cut_sha256: str = ""
    """Digest of the file that a stretch was cut into, once it is; ``facts`` has that of the whole."""

    @property
    def part(self) -> Part:
        """What makes it the same sound for an import, whatever it is called."""
        return part_of(self.data()) or Part(self.facts.sha256)

    @property
    def identity(self) -> str:
        """That, as text."""
        return self.part.identity

    @property
    def content(self) -> str:
        """Digest of the file at ``path``: of a stretch that was cut, of its own file."""
        return self.cut_sha256 or self.facts.sha256

    @property
    def listed_name(self) -> str:
        """Name in the source's list."""
        return self.listed_as or self.fname

    @property
    def extension(self) -> str:
        """Of the file that is imported, with its dot, in small letters; stretches are cut as FLAC."""
        return ".flac" if self.stretch else self.path.suffix.lower()

    def data(self) -> dict[str, Any]:
        """Fields of the task's data, all but the address."""
        known: dict[str, Any] = {**self.fields, NAME_FIELD: self.fname}
        seconds = self.stretch.end - self.stretch.start if self.stretch else self.facts.duration
        known[DURATION_FIELD] = round(seconds, 3)
        if self.stretch:
            known |= {
                SOURCE_FIELD: self.stretch.source,
                SOURCE_START_FIELD: round(self.stretch.start, 6),
                SOURCE_END_FIELD: round(self.stretch.end, 6),
                SOURCE_DIGEST_FIELD: self.facts.sha256,
            }
        else:
            known[DIGEST_FIELD] = self.facts.sha256
        return known | ({TRUST_FIELD: self.trust} if self.trust else {})


@dataclass(frozen=True)
class Part:
    """What a task plays of a recording: its file's sha256, and from where to where in seconds."""

    recording: str
    start: float = 0.0
    end: float = math.inf

    @property
    def identity(self) -> str:
        """The same text for the same part, and for no other."""
        whole = self.end == math.inf
        return self.recording if whole else f"{self.recording}@{self.start:.6f}-{self.end:.6f}"

    def overlaps(self, other: Part) -> bool:
        """Whether both have some of the same recording; that they touch is not enough."""
        together = min(self.end, other.end) - max(self.start, other.start)
        return self.recording == other.recording and together > _TOUCH_SECONDS


def part_of(data: Mapping[str, Any]) -> Part | None:
    """Return what makes a task's sound the same one for an import; None where nothing does.

    A stretch is known by the whole recording and its place in it, because the same samples may be
    encoded otherwise tomorrow; any other sound by its content.
    """
    stretch, source = stretch_of(data), data.get(SOURCE_DIGEST_FIELD)
    if stretch and isinstance(source, str) and source:
        return Part(source, stretch.start, stretch.end)
    digest = data.get(DIGEST_FIELD)
    return Part(digest) if isinstance(digest, str) and digest else None


def clip_labels(marks: tuple[ClipRecord, ...]) -> list[str]:
    """Return every label of a sound, of the whole and of its regions, each once, in order."""
    found: dict[str, None] = {}
    for record in marks:
        for labels in record.tags.values():
            found.update(dict.fromkeys(labels))
        for regions in record.regions.values():
            found.update(dict.fromkeys(region.label for region in regions))
    return list(found)

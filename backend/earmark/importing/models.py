"""Data classes of an import: a listed sound, its audio facts, and the task data made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from earmark.export.records import (
    EXPANSION_FIELD,
    SAMPLE_RATE_FIELD,
    SOURCE_DIGEST_FIELD,
    SOURCE_END_FIELD,
    SOURCE_FIELD,
    SOURCE_START_FIELD,
    TRUST_FIELD,
    ClipRecord,
    Stretch,
    stretch_of,
)

Trust = Literal["curated", "noisy"]

ReadAs = Literal[
    "jsonl", "csv", "jams", "raven", "audacity", "dcase", "fsdkaggle", "rttm", "textgrid", "elan",
    "table", "none",
]  # fmt: skip
"""How an option has a source read; ``none``: without the label files beside the recordings."""

NAME_FIELD, DIGEST_FIELD = "fname", "sha256"
DURATION_FIELD = "duration"
"""Seconds of the sound that a task plays; bulk predictions distribute work by it."""
ANNOTATORS_FIELD = "annotators"
"""Annotators of the task's imported annotations that have no account in Label Studio."""
FOLD_FIELD = "fold"
"""Field with the fold of a dataset's own cross-validation."""
OWN_FIELDS = frozenset({NAME_FIELD, DIGEST_FIELD, DURATION_FIELD, SAMPLE_RATE_FIELD, TRUST_FIELD})
"""Fields of a task's data that every import writes itself; columns of these names are ignored."""
STRETCH_FIELDS = frozenset({SOURCE_FIELD, SOURCE_START_FIELD, SOURCE_END_FIELD, SOURCE_DIGEST_FIELD})
"""Fields that an import writes only for stretches of a recording."""
_TOUCH_SECONDS = 0.001


@dataclass(frozen=True)
class Listed:
    """A sound in the list of a source.

    ``path`` is its local file; without one it is fetched from ``origin``: a URL, an address in a
    bucket, or a path that Label Studio serves. ``address`` is the address for tasks that leave the
    sound in place. ``marks`` are its label records; an empty control name means any control.
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
    """Audio facts of a decoded file.

    ``size`` in bytes, ``duration`` in seconds, ``peak_dbfs`` of the mix of all channels (-200 for
    digital silence), ``clipped`` the share of samples at full scale, ``remark`` a sentence where the file
    does not hold what its header says, ``above_band`` and ``below_band`` the shares of the energy outside the
    encoders' band, from 0 to 1.
    """

    sha256: str
    size: int
    duration: float
    sample_rate: int
    channels: int
    peak_dbfs: float = 0.0
    clipped: float = 0.0
    remark: str = ""
    above_band: float = 0.0
    below_band: float = 0.0


@dataclass(frozen=True)
class Sound:
    """A readable sound, or with ``stretch`` a part of one, which is cut just before its upload."""

    path: Path
    fname: str
    facts: Facts
    marks: tuple[ClipRecord, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust | None = None
    address: str = ""
    stretch: Stretch | None = None
    listed_as: str = ""
    """Name in the source's list where it differs: for a stretch, that of the whole recording."""
    lost: int = 0
    """Number of labels left out because only a part of the sound was annotated."""
    partly: bool = False
    """Whether an annotation is left out for that reason."""
    cut_sha256: str = ""
    """Digest of the file of a stretch, once it is cut; ``facts`` has that of the whole recording."""
    expansion: float = 1.0
    """How many times as long the task's sound is as the recording; ``facts`` and ``marks`` are expanded."""

    @property
    def part(self) -> Part:
        """The part of a recording that identifies the sound, independent of its name."""
        return part_of(self.data()) or Part(self.facts.sha256)

    @property
    def identity(self) -> str:
        """Key of that part, as text."""
        return self.part.identity

    @property
    def content(self) -> str:
        """SHA-256 of the file at ``path``; for a stretch that is cut, of its own file."""
        return self.cut_sha256 or self.facts.sha256

    @property
    def listed_name(self) -> str:
        """Name in the source's list."""
        return self.listed_as or self.fname

    @property
    def is_cut(self) -> bool:
        """Whether the imported file is made from the recording: a stretch of it, or expanded in time."""
        return self.stretch is not None or self.expansion != 1

    @property
    def source_rate(self) -> int:
        """Samples a second of the recording's own file."""
        return round(self.facts.sample_rate * self.expansion)

    @property
    def extension(self) -> str:
        """Lower-case extension of the imported file, with its dot; what is cut is FLAC."""
        return ".flac" if self.is_cut else self.path.suffix.lower()

    def data(self) -> dict[str, Any]:
        """Return the fields of the task's data except the address."""
        fields: dict[str, Any] = {**self.fields, NAME_FIELD: self.fname}
        fields[DURATION_FIELD] = round(self.facts.duration, 3)
        fields[SAMPLE_RATE_FIELD] = self.facts.sample_rate
        if self.stretch:
            fields |= {
                SOURCE_FIELD: self.stretch.source,
                SOURCE_START_FIELD: round(self.stretch.start, 6),
                SOURCE_END_FIELD: round(self.stretch.end, 6),
                SOURCE_DIGEST_FIELD: self.facts.sha256,
            }
        else:
            fields[DIGEST_FIELD] = self.facts.sha256
        if self.expansion != 1:
            fields[EXPANSION_FIELD] = self.expansion
        return fields | ({TRUST_FIELD: self.trust} if self.trust else {})


@dataclass(frozen=True)
class Part:
    """The part of a recording that a task plays: the file's SHA-256, start and end in seconds."""

    recording: str
    start: float = 0.0
    end: float = math.inf

    @property
    def identity(self) -> str:
        """Unique text of the part: the digest, with the times unless it is the whole recording."""
        whole = self.end == math.inf
        return self.recording if whole else f"{self.recording}@{self.start:.6f}-{self.end:.6f}"

    def overlaps(self, other: Part) -> bool:
        """Whether both share more than 1 ms of the same recording."""
        shared = min(self.end, other.end) - max(self.start, other.start)
        return self.recording == other.recording and shared > _TOUCH_SECONDS


def part_of(data: Mapping[str, Any]) -> Part | None:
    """Return the part of a recording that a task plays; None if its data does not name one.

    A stretch is identified by the whole recording and its times, because another run may encode the
    same samples differently; any other sound by its content.
    """
    stretch, source = stretch_of(data), data.get(SOURCE_DIGEST_FIELD)
    if stretch and isinstance(source, str) and source:
        return Part(source, stretch.start, stretch.end)
    digest = data.get(DIGEST_FIELD)
    return Part(digest) if isinstance(digest, str) and digest else None


def clip_labels(marks: tuple[ClipRecord, ...]) -> list[str]:
    """Return the labels of a sound, tags and those of regions, each once, in order."""
    unique: dict[str, None] = {}
    for record in marks:
        for labels in record.tags.values():
            unique.update(dict.fromkeys(labels))
        for regions in record.regions.values():
            unique.update(dict.fromkeys(region.label for region in regions if region.label))
    return list(unique)

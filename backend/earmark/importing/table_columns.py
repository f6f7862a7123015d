"""Columns of a table of labels: which column holds the files, labels, times and scores."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from earmark.errors import ConfigurationError
from earmark.export.records import TRUST_FIELD

NONE = "none"
"""Option value for "no column": it turns the default names off."""

FILE_NAMES = (
    *("fname", "file_name", "filename", "file", "filepath", "file_path", "path", "audio_file", "audio_path"),
    *("begin_file", "begin_path", "in_file", "wav", "audio", "recording"),
)
LABEL_NAMES = (
    *("labels", "label", "event_labels", "event_label", "annotation", "species", "class", "category"),
    *("common_name", "scientific_name", "tags", "tag", "sound_event"),
)
START_NAMES = (
    *("start", "start_s", "start_time", "start_seconds", "start_time_s", "onset", "onset_s"),
    *("begin", "begin_s", "begin_time", "begin_time_s", "start_time_seconds", "tmin", "tstart"),
)
END_NAMES = (
    *("end", "end_s", "end_time", "end_seconds", "end_time_s", "end_time_seconds", "stop", "stop_s"),
    *("stop_time", "offset_s", "offset", "tmax", "tend"),
)
DURATION_NAMES = ("duration", "duration_s", "dur", "length", "length_s")
SCORE_NAMES = ("score", "confidence")
"""Default names, normalised as by ``_normalised``, most usual first."""


@dataclass(frozen=True)
class Columns:
    """Column names of a table; None means the default names, if the table has them, ``none`` no column.

    ``separator`` is between several labels of a cell; None means a comma, or what the column uses.
    ``fold`` is the column whose values become the task field ``fold``.
    """

    file: str | None = None
    labels: str | None = None
    start: str | None = None
    end: str | None = None
    trust: str | None = None
    duration: str | None = None
    score: str | None = None
    fold: str | None = None
    separator: str | None = None

    def over(self, preset: Columns) -> Columns:
        """Return these columns, completed by those of a preset.

        Given times replace all times of the preset: a start of one and an end of the other do not fit.
        """
        names = ("file", "labels", "trust", "score", "fold", "separator")
        changes = {name: getattr(self, name) or getattr(preset, name) for name in names}
        if self.start or self.end or self.duration:
            return replace(self, **changes)
        return replace(preset, **changes)

    def resolved(self, names: Iterable[str], table: Path, *, file_needed: bool = True) -> Resolved:
        """Return the columns of a table with these names, the defaults filled in.

        Parameters
        ----------
        file_needed
            Whether a column must hold file names; else the table belongs to the recording beside it.

        Raises
        ------
        ConfigurationError
            A requested column is missing, or no column contains file names.
        """
        available = list(names)
        requested = [n for n in self._requested() if n != NONE]
        missing = [name for name in requested if name not in available]
        if missing:
            raise ConfigurationError(
                f"{table} has no column {' and '.join(missing)}: it has {', '.join(available) or 'none'}."
            )
        file = _column(self.file, FILE_NAMES, available)
        if file is None and file_needed:
            raise ConfigurationError(
                f"{table} has no column {FILE_NAMES[0]}: name the one with the files by --file-column "
                f"(it has {', '.join(available) or 'none'})."
            )
        labels = _column(self.labels, LABEL_NAMES, [name for name in available if name != file])
        start, end, duration = self._times(available)
        if start and not labels and self.start:
            raise ConfigurationError(f"Regions in {table} need labels: name their column by --labels-column.")
        trust = self.trust or (TRUST_FIELD if TRUST_FIELD in available else None)
        score = _column(self.score, SCORE_NAMES, available)
        fold = None if self.fold == NONE else self.fold
        used = {n for n in (file, labels, start, end, duration, trust, score, fold) if n}
        ignored = [
            name for name in available if name not in used and _normalised(name) in LABEL_NAMES and labels
        ]
        return Resolved(
            file, labels, start, end, duration, trust, score, fold, self.separator, tuple(ignored),
            score_given=self.score is not None,
        )  # fmt: skip

    def _requested(self) -> list[str]:
        columns = (self.file, self.labels, self.start, self.end, self.trust, self.duration, self.score)
        return [name for name in (*columns, self.fold) if name]

    def _times(self, available: list[str]) -> tuple[str | None, str | None, str | None]:
        """Return the columns with the start, and the end or the duration, of regions."""
        if NONE in (self.start, self.end):
            return None, None, None
        if (self.start is None) != (self.end is None and self.duration is None):
            raise ConfigurationError(
                "Regions need both --start-column and --end-column, or --duration-column for the end."
            )
        if self.start:
            return self.start, self.end, None if self.end else self.duration
        start = _column(None, START_NAMES, available)
        if start is None:
            return None, None, None
        # DCASE calls the end of an event its offset; elsewhere an offset is a start.
        ends = END_NAMES if "onset" in _normalised(start) else [n for n in END_NAMES if "offset" not in n]
        end = _column(None, ends, available)
        duration = None if end else _column(None, DURATION_NAMES, available)
        return (start, end, duration) if end or duration else (None, None, None)


@dataclass(frozen=True)
class Resolved:
    """Columns that a table has; None for those that it lacks.

    ``ignored``: columns that look like labels and are not used. ``score_given``: whether an option
    named the score's column.
    """

    file: str | None
    labels: str | None
    start: str | None = None
    end: str | None = None
    duration: str | None = None
    trust: str | None = None
    score: str | None = None
    fold: str | None = None
    separator: str | None = None
    ignored: tuple[str, ...] = field(default=())
    score_given: bool = False

    @property
    def description(self) -> str:
        """What the columns are used for, in words."""
        parts = [f"{self.labels or 'no labels'} of {self.file or 'the recording beside'}"]
        if self.start:
            parts.append(f"from {self.start} {'to' if self.end else 'for'} {self.end or self.duration}")
        return ", ".join([*parts, *([f"score {self.score}"] if self.score else [])])

    @property
    def numbers(self) -> frozenset[str]:
        """Columns whose cells are numbers: times and scores."""
        return frozenset(name for name in (self.start, self.end, self.duration, self.score) if name)

    @property
    def used(self) -> frozenset[str]:
        """Columns with a meaning, which do not become fields of the task under their own names."""
        columns = (self.file, self.labels, self.start, self.end, self.duration, self.trust, self.score)
        return frozenset(name for name in (*columns, self.fold) if name)


def _column(given: str | None, names: Iterable[str], available: list[str]) -> str | None:
    """Return the requested column, or the first that has a default name."""
    if given == NONE:
        return None
    if given:
        return given
    by_name: dict[str, str] = {}
    for name in available:
        by_name.setdefault(_normalised(name), name)
    return next((by_name[name] for name in names if name in by_name), None)


def _normalised(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

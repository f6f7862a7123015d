"""Tables of known tools and data sets: how each is recognised by its columns, and what its columns mean.

Sources: the tables of ESC-50, UrbanSound8K, FSD50K, FSDKaggle2018 and 2019, AudioSet and DESED as their
authors publish them; xeno-canto's API; Kaleidoscope's and BirdNET-Analyzer's results.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from earmark.encoders.audioset import AUDIOSET_LABELS_CSV
from earmark.importing.table_columns import NONE, Columns
from earmark.importing.table_rows import PLAIN, RowRules

BIRDNET = "BirdNET"
"""Model version of predictions that are read from BirdNET-Analyzer's results."""


@dataclass(frozen=True)
class TablePreset:
    """A known table. ``needs``: columns that identify it, in any order and case.

    ``columns`` and ``rules`` depend on the table's own columns. ``beside``: whether the table can be
    of the recording beside it, without a column of files. ``folders``: whether the recordings of the data
    set lie beside the folder of the table, not in it. ``rest_of``: a column whose empty cells leave their
    rows to this kind, where another kind has read the table's other rows.
    """

    title: str
    needs: frozenset[str]
    columns: Callable[[Sequence[str]], Columns]
    rules: RowRules = PLAIN
    beside: bool = False
    folders: bool = False
    rest_of: str = ""

    def completes(self, names: Sequence[str]) -> bool:
        """Whether some rows of a table with these columns are of this kind, and others of another."""
        return _first(names, self.rest_of) is not None

    def rules_for(self, names: Sequence[str]) -> RowRules:
        """Return the rules for a table with these columns."""
        column = _first(names, self.rest_of)
        if column is None:
            return self.rules
        return replace(self.rules, only=lambda row: not str(row.get(column) or "").strip())

    def matches(self, names: Sequence[str]) -> bool:
        """Whether a table with these columns is of this kind."""
        return self.needs <= {name.strip().lower() for name in names}


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


def _first(names: Sequence[str], *wanted: str) -> str | None:
    """Return the first of the wanted columns, as the table spells it."""
    by_name = {name.strip().lower(): name for name in names}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _birdnet(names: Sequence[str]) -> Columns:
    return Columns(
        file=_first(names, "file", "filepath"),
        labels=_first(names, "common name", "common_name"),
        start=_first(names, "start (s)", "start"),
        end=_first(names, "end (s)", "end"),
        score=_first(names, "confidence"),
    )


def _kaleidoscope(*labels: str, score: str = "confidence") -> Callable[[Sequence[str]], Columns]:
    def columns(names: Sequence[str]) -> Columns:
        return Columns(
            file=_first(names, "in file"),
            labels=_first(names, *labels),
            start=_first(names, "offset"),
            duration=_first(names, "duration"),
            score=_first(names, score) or NONE,
        )

    return columns


def _folder(row: Mapping[str, Any]) -> str:
    return str(row.get("FOLDER") or "").strip().replace("\\", "/").strip("/")


def _xeno_canto(names: Sequence[str]) -> Columns:
    file = _first(names, "file-name", "file_name", "filename", "id")
    return Columns(file=file, labels=_first(names, "en"), start=NONE)


def _xeno_canto_file(cell: str, row: Mapping[str, Any]) -> str:
    """Return the file that a row names, else the number that downloads begin with: ``XC123456``."""
    number = cell if cell.isdecimal() else "" if cell else str(row.get("id") or "")
    return f"XC{number}" if number else cell


@lru_cache(maxsize=1)
def _audioset_names() -> dict[str, str]:
    with AUDIOSET_LABELS_CSV.open(newline="", encoding="utf-8") as file:
        return {row["mid"]: row["display_name"] for row in csv.DictReader(file)}


def _audioset_label(text: str) -> str:
    """Return the display name of an AudioSet class; the identifier itself for a class of another release."""
    return _audioset_names().get(text, text)


def _named(**fixed: str) -> Callable[[Sequence[str]], Columns]:
    """Columns with fixed names, spelled as the table spells them."""

    def columns(names: Sequence[str]) -> Columns:
        return Columns(
            **{key: value if value == NONE else _first(names, value) for key, value in fixed.items()}
        )

    return columns


_AUTO_IDS = ("auto id", "auto id*")
"""Columns of Kaleidoscope with its own identification; the star is in tables of bats."""
_PREDICTED = RowRules(source="prediction", version=BIRDNET, one_label=True)

PRESETS: tuple[TablePreset, ...] = (
    TablePreset(
        "BirdNET results",
        _needs("start (s)", "end (s)", "common name", "confidence"),
        _birdnet,
        _PREDICTED,
        beside=True,
    ),
    TablePreset(
        "BirdNET results",
        _needs("filepath", "start", "end", "common_name", "confidence"),
        _birdnet,
        _PREDICTED,
    ),
    TablePreset(
        "BirdNET results for Kaleidoscope",
        _needs("in file", "offset", "duration", "common_name", "confidence"),
        _kaleidoscope("common_name"),
        RowRules(source="prediction", version=BIRDNET, one_label=True, folder=_folder),
    ),
    TablePreset(
        "BirdNET results for Kaleidoscope",
        _needs("in file", "offset", "duration", "scientific_name", "top1match", "top1dist"),
        _kaleidoscope("top1match", score="top1dist"),
        RowRules(source="prediction", version=BIRDNET, one_label=True, folder=_folder),
    ),
    TablePreset(
        "Kaleidoscope tables",
        _needs("in file", "offset", "duration", "manual id"),
        _kaleidoscope("manual id"),
        RowRules(folder=_folder, no_fields=frozenset(_AUTO_IDS)),
    ),
    *(
        TablePreset(
            "Kaleidoscope tables",
            _needs("in file", "offset", "duration", label),
            _kaleidoscope(label),
            RowRules(source="prediction", version="Kaleidoscope", folder=_folder),
            rest_of="manual id",
        )
        for label in _AUTO_IDS
    ),
    TablePreset(
        "Kaleidoscope tables",
        _needs("in file", "offset", "duration"),
        _kaleidoscope("top1match"),
        RowRules(source="prediction", version="Kaleidoscope", folder=_folder),
    ),
    TablePreset(
        "OpenSoundscape tables",
        _needs("audio_file", "annotation_file", "annotation", "start_time", "end_time"),
        _named(file="audio_file", labels="annotation", start="start_time", end="end_time", score="score"),
        RowRules(one_label=True),
    ),
    TablePreset(
        "UrbanSound8K tables",
        _needs("slice_file_name", "fsid", "fold", "classid", "class"),
        _named(file="slice_file_name", labels="class", start=NONE, fold="fold"),
        RowRules(one_label=True, folder=lambda row: f"fold{row.get('fold', '')}"),
        folders=True,
    ),
    TablePreset(
        "ESC-50 tables",
        _needs("filename", "fold", "target", "category"),
        _named(file="filename", labels="category", start=NONE, fold="fold"),
        RowRules(one_label=True),
        folders=True,
    ),
    TablePreset(
        "FSD50K tables",
        _needs("fname", "labels", "mids"),
        _named(file="fname", labels="labels", start=NONE),
        folders=True,
    ),
    TablePreset(
        "FSDKaggle tables",
        _needs("fname", "label", "manually_verified"),
        _named(file="fname", labels="label", start=NONE, trust="manually_verified"),
        folders=True,
    ),
    TablePreset(
        "FSDKaggle tables",
        _needs("fname", "labels", "freesound_id"),
        _named(file="fname", labels="labels", start=NONE),
        folders=True,
    ),
    TablePreset(
        "AudioSet tables",
        _needs("ytid", "start_seconds", "end_seconds", "positive_labels"),
        _named(file="ytid", labels="positive_labels", start=NONE),
        RowRules(label=_audioset_label),
    ),
    TablePreset(
        "AudioSet tables of events",
        _needs("segment_id", "start_time_seconds", "end_time_seconds", "label"),
        _named(file="segment_id", labels="label", start="start_time_seconds", end="end_time_seconds"),
        RowRules(label=_audioset_label, one_label=True),
    ),
    TablePreset(
        "xeno-canto tables",
        _needs("id", "gen", "sp", "en", "rec"),
        _xeno_canto,
        RowRules(one_label=True, file=_xeno_canto_file),
    ),
    TablePreset(
        "DCASE event lists",
        _needs("filename", "onset", "offset", "event_label"),
        _named(file="filename", labels="event_label", start="onset", end="offset"),
        RowRules(empty_is_annotated=True, one_label=True),
    ),
    TablePreset(
        "DCASE event lists",
        _needs("onset", "offset", "event_label"),
        _named(labels="event_label", start="onset", end="offset"),
        RowRules(one_label=True),
        beside=True,
    ),
    TablePreset(
        "DCASE lists of weak labels",
        _needs("filename", "event_labels"),
        _named(file="filename", labels="event_labels", start=NONE),
        RowRules(empty_is_annotated=True),
    ),
)
"""Most specific first."""


def presets_of(names: Sequence[str]) -> list[TablePreset]:
    """Return the known kinds that a table with these columns may be of, the likeliest first."""
    return [preset for preset in PRESETS if preset.matches(names)]

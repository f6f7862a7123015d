"""``annotated.csv`` of exports among the label files of a folder: the annotated parts of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from earmark.export import annotated
from earmark.export.records import AnnotatedSpan, ClipRecord
from earmark.export.writers import INDEX, is_index
from earmark.importing.field.audio_index import AudioIndex

_Spans = dict[str, list[AnnotatedSpan]]


class AnnotatedTables:
    """The tables of a folder and its subfolders, by the label files that they belong to.

    Parameters
    ----------
    folder
        The imported folder.
    index
        Its recordings: the tables have the names of the export's sounds.
    """

    def __init__(self, folder: Path, index: AudioIndex) -> None:
        self._folder, self._index = folder, index
        self._tables: dict[Path, _Spans | None] = {}

    def with_parts(self, label_file: Path, records: Sequence[ClipRecord]) -> list[ClipRecord]:
        """Return the records of a label file with the annotated parts of its export, if it has such a table.

        Labels of an export of predictions, whose table has no row, become predictions.

        Raises
        ------
        FormatError
            The table is damaged.
        """
        for table in self._candidates(label_file):
            spans = self._read(table)
            if spans:
                return list(annotated.with_spans(records, spans))
            if spans is not None:
                return [replace(record, source="prediction") for record in records]
        return list(records)

    def _candidates(self, label_file: Path) -> list[Path]:
        """Return where a table of the label file may be: beside it, or in the folder of its export."""
        above = [path for path in label_file.parents if path.is_relative_to(self._folder)]
        return [
            annotated.path_beside(label_file, is_folder=False),
            *(path / annotated.NAME for path in above if is_index(path / INDEX)),
        ]

    def _read(self, table: Path) -> _Spans | None:
        if table not in self._tables:
            self._tables[table] = self._by_recording(table) if annotated.is_table(table) else None
        return self._tables[table]

    def _by_recording(self, table: Path) -> _Spans:
        spans_by_recording: _Spans = {}
        for sound, spans in annotated.read(table).items():
            for recording in self._index.find(sound) or [sound]:
                spans_by_recording.setdefault(recording, []).extend(spans)
        return spans_by_recording

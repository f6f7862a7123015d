"""Registry of export formats: what each can hold, and the module that writes and reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from earmark.export.records import ClipRecord
from earmark.extras import require_extra

FormatName = Literal[
    "csv", "jsonl", "jams", "raven", "audacity", "textgrid", "elan", "dcase", "rttm", "fsdkaggle"
]

Add = Callable[[Sequence[ClipRecord]], int]
"""Writes all records of one sound and returns the number of rows; on ``FormatError``, none of them is
written."""


class FormatModule(Protocol):
    """Interface of a format's module."""

    def writing(self, path: Path) -> AbstractContextManager[Add]:
        """Open ``path`` for atomic writing: it appears when the context ends without an error."""
        ...

    def check_label(self, label: str) -> None:
        """Raise ``FormatError`` for a label that the format has no place for."""
        ...

    def read(self, path: Path) -> Iterator[ClipRecord]:
        """Read the records of an export; raises ``FormatError`` for any other file."""
        ...


@dataclass(frozen=True)
class Format:
    """Description of a format. ``is_folder``: one file for each sound. ``library``: optional, needed."""

    name: FormatName
    about: str
    module: str
    is_folder: bool = False
    holds_regions: bool = True
    holds_tags: bool = True
    holds_annotators: bool = True
    holds_open: bool = False
    library: str = ""

    def load(self) -> FormatModule:
        """Import and return the format's module, late because of the libraries that it needs.

        Raises
        ------
        MissingExtraError
            The library is not installed.
        """
        self.check_installed()
        return cast(FormatModule, import_module(f"earmark.export.{self.module}"))

    def check_installed(self) -> None:
        """Raise MissingExtraError where the library that the format needs is not installed."""
        if self.library:
            require_extra(self.library, f"The format {self.name}")


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("jsonl", "JSON Lines, one annotation a line, with everything", "jsonl", holds_open=True),
        Format(
            "csv",
            "a table with a row for each region and tag, and all fields of the task",
            "csv_table",
            holds_open=True,
        ),
        Format("jams", "a folder of JAMS files", "jams_files", is_folder=True, library="jams"),
        Format("raven", "a folder of Raven Pro selection tables", "raven", is_folder=True, holds_tags=False),
        Format("audacity", "a folder of Audacity label tracks", "audacity", is_folder=True, holds_tags=False),
        Format(
            "textgrid",
            "a folder of TextGrids for Praat, a tier for each control",
            "textgrid_files",
            is_folder=True,
            holds_tags=False,
            library="textgrid",
        ),
        Format(
            "elan",
            "a folder of ELAN documents, a tier for each control; times in milliseconds",
            "elan",
            is_folder=True,
            holds_tags=False,
            library="pympi",
        ),
        Format(
            "dcase",
            "filename, onset, offset, event_label, as DCASE, sed_eval and psds_eval read them",
            "dcase",
            holds_tags=False,
            holds_annotators=False,
        ),
        Format(
            "rttm",
            "RTTM, as diarization tools read it; spaces of names and labels become underscores",
            "rttm",
            holds_tags=False,
            holds_annotators=False,
        ),
        Format(
            "fsdkaggle",
            "fname,labels: which labels each sound has, without times",
            "fsdkaggle",
            holds_annotators=False,
        ),
    )
}

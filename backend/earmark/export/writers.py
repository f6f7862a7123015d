"""Atomic writing of export files and folders, with safe file names and an index."""

from __future__ import annotations

import csv
import json
import re
import shutil
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from earmark.errors import ConfigurationError, FormatError
from earmark.export.annotated import NAME as ANNOTATED
from earmark.export.annotated import AnnotatedTable
from earmark.export.closed_quotes import ClosedRows, has_columns
from earmark.export.records import EXPANSION_FIELD, ClipRecord
from earmark.storage.atomic_files import atomic_write

INDEX = "sounds.csv"
"""Index of an export folder: the sound, task and annotator of each file."""
METADATA = "metadata.csv"
"""Index of a folder for Hugging Face's ``datasets``."""
INDEX_COLUMNS = (
    "label_file", "file_name", "sound", "task_id", "id", "source", "version", "annotator", "ground_truth",
    "duration", "control", EXPANSION_FIELD,
)  # fmt: skip
_NAME_BYTES = 180
"""File systems allow 255 bytes; a suffix, an annotator and a number must fit, too."""
_DISTINCTION = 40
"""Maximum of characters of an annotator's name in a file name."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def check_target(path: Path, is_folder: bool, force: bool) -> None:
    """Refuse to overwrite an existing file or folder, before any work is done.

    Raises
    ------
    ConfigurationError
        ``path`` exists; with ``force`` only if it is of the other kind, or a folder that is no export.
    """
    if not path.exists():
        return
    if not force:
        raise ConfigurationError(
            f"{path} is there already: choose another --out, or replace it with --force."
        )
    if path.is_dir() != is_folder:
        raise ConfigurationError(
            f"{path} is a {'folder' if path.is_dir() else 'file'}, and this format makes a "
            f"{'folder' if is_folder else 'file'}: choose another --out."
        )
    if is_folder and any(path.iterdir()) and not any((path / name).is_file() for name in (INDEX, METADATA)):
        raise ConfigurationError(
            f"{path} holds other things than an export (there is no {INDEX}): choose another --out."
        )


@contextmanager
def writing_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 file for atomic writing: it appears at ``path`` when the context ends without an error.

    Raises
    ------
    ConfigurationError
        The disk is full, or the folder is not writable.
    """
    with (
        explained_writing(path),
        atomic_write(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces ``path`` when the context ends without an error.

    Raises
    ------
    ConfigurationError
        The disk is full, or the folder is not writable.
    """
    with explained_writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.parent / f".part-{uuid.uuid4().hex}"
        part.mkdir()
        old = path.parent / f".old-{uuid.uuid4().hex}"
        try:
            yield part
            if path.exists():
                path.rename(old)
            part.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            for folder in (part, old):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained_writing(path: Path) -> Iterator[None]:
    """Convert an OSError to a ConfigurationError with one sentence."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or choose another place."
        ) from error


def seconds_text(seconds: float) -> str:
    """Format seconds as the shortest decimal number that parses to the same float, without an exponent."""
    return format(Decimal(repr(float(seconds))), "f")


def one_line(text: str, what: str) -> str:
    """Check that a text fits in one cell of a tab-separated table without escapes, and return it.

    Raises
    ------
    FormatError
        It contains a tab, a line end, a lone surrogate or a NUL.
    """
    storable(text, what)
    if any(character in text for character in "\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\x00"):
        raise FormatError(
            f"{what} {text!r} has a tab or the end of a line, which this format has no place for: "
            "rename it, or use the format csv or jsonl."
        )
    return text


def storable(text: str, what: str) -> str:
    """Check that a text can be encoded in UTF-8, and return it.

    Raises
    ------
    FormatError
        It contains a lone surrogate or a NUL.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(
            f"{what} {text!r} is no valid Unicode: rename it, or use the format jsonl."
        ) from error
    if "\x00" in text:
        raise FormatError(f"{what} {text!r} has a NUL in it: rename it, or use the format jsonl.")
    return text


class FileNames:
    """Names of the files of an export folder, unique and valid on every file system.

    They are those of the sounds, folders included, without characters that some file systems refuse; a
    number distinguishes names that are equal on a file system that ignores case.
    """

    def __init__(self, folder: Path, reserved: Iterable[str]) -> None:
        self._folder = folder
        self._used: set[str] = {folded(name) for name in reserved}
        self._numbers: Counter[str] = Counter()

    def new_path(self, file_name: str, suffix: str, distinction: str = "") -> Path:
        """Return an unused path for a sound, and create its folder."""
        parts = [_sanitize(part) for part in re.split(r"[/\\]", file_name) if part not in ("", ".", "..")]
        *folders, name = parts or ["sound"]
        while any(folded("/".join(folders[:depth])) in self._used for depth in range(1, len(folders) + 1)):
            folders = [f"{folder}_" for folder in folders]  # a folder has the name of another sound's file
        # A stem of dots ("..0") would make the suffix part of a hidden file's name
        stem = "/".join([*folders, Path(name).stem.rstrip(".") or "_"])
        stem += f" ({_sanitize(distinction)[:_DISTINCTION]})" if distinction else ""
        while True:
            self._numbers[folded(stem)] += 1
            number = self._numbers[folded(stem)]
            relative = f"{stem} ({number}){suffix}" if number > 1 else f"{stem}{suffix}"
            path = self._folder / relative
            if folded(relative) not in self._used and not path.is_dir():
                break
        self._used.add(folded(relative))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class LabelFiles:
    """The files of an export folder, at least one for each sound, and their index."""

    def __init__(self, folder: Path, suffix: str, index: TextIO, annotated: AnnotatedTable) -> None:
        self._folder, self._suffix, self.annotated = folder, suffix, annotated
        self._names = FileNames(folder, (INDEX, ANNOTATED))
        self._index = csv.writer(index)
        self._index.writerow(INDEX_COLUMNS)

    def new_path(self, record: ClipRecord, distinction: str = "") -> Path:
        """Return an unused path for a record, and create its folder."""
        return self._names.new_path(record.file_name, self._suffix, distinction)

    def add_to_index(self, path: Path, record: ClipRecord, control: str = "") -> None:
        """Write the index row of a file."""
        values: dict[str, Any] = {
            "label_file": path.relative_to(self._folder).as_posix(),
            "control": control,
            EXPANSION_FIELD: record.data.get(EXPANSION_FIELD, ""),
            **{name: getattr(record, name) for name in INDEX_COLUMNS[1:-2]},
            "duration": "" if record.duration is None else seconds_text(record.duration),
            "ground_truth": json.dumps(record.ground_truth),
        }
        self._index.writerow([values[name] for name in INDEX_COLUMNS])


@contextmanager
def writing_label_files(path: Path, suffix: str) -> Iterator[LabelFiles]:
    """Write a folder of files named after sounds, with its index, atomically."""
    with (
        writing_folder(path) as folder,
        (folder / INDEX).open("w", encoding="utf-8", newline="") as index,
        (folder / ANNOTATED).open("w", encoding="utf-8", newline="") as annotated,
    ):
        yield LabelFiles(folder, suffix, index, AnnotatedTable(annotated))


@dataclass(frozen=True)
class IndexEntry:
    """One row of a folder's index: a file, and its record without the labels."""

    path: Path
    record: ClipRecord
    control: str


def is_index(path: Path) -> bool:
    """Whether a file is the index of an export's folder, by its name and its first line."""
    return path.name == INDEX and has_columns(path, INDEX_COLUMNS[:2])


def read_index(folder: Path) -> list[IndexEntry]:
    """Return the files of an export's folder in the order in which they were written.

    Raises
    ------
    FormatError
        The index is missing or damaged.
    """
    path = folder / INDEX
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [_parse_entry(folder, row) for row in ClosedRows(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path} cannot be read as the index of an export: {error!r}.") from error


def _parse_entry(folder: Path, row: dict[str, str]) -> IndexEntry:
    record = ClipRecord(
        row["file_name"],
        row["sound"],
        int(row["task_id"]) if row["task_id"] else None,
        {EXPANSION_FIELD: float(expansion)} if (expansion := row.get(EXPANSION_FIELD)) else {},
        duration=float(row["duration"]) if row["duration"] else None,
        source="prediction" if row["source"] == "prediction" else "annotation",
        version=row["version"] or None,
        annotator=row["annotator"] or None,
        ground_truth=row["ground_truth"] == "true",
        id=int(row["id"]) if row["id"] else None,
    )
    path = folder / row["label_file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{row['label_file']} leads out of the folder")
    return IndexEntry(path, record, row["control"])


def _sanitize(part: str) -> str:
    """Return a name that is valid on every file system, of at most `_NAME_BYTES`; the suffix is kept."""
    text = _UNSAFE.sub("_", part.encode("utf-8", "replace").decode()).rstrip(" .") or "_"
    suffix = Path(text).suffix[:16]
    stem = text.removesuffix(suffix).encode()[: _NAME_BYTES - len(suffix.encode())]
    return stem.decode("utf-8", "ignore") + suffix


def folded(name: str) -> str:
    """Return a name such that names which a file system may take for the same are equal."""
    return unicodedata.normalize("NFC", name).casefold()


class UniqueNames:
    """Uniqueness check for the names of sounds, in formats that identify a sound by its name alone."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def add(self, name: str) -> None:
        """Add a name.

        Raises
        ------
        FormatError
            Another sound has the same name.
        """
        if name in self._used:
            raise FormatError(
                f"Another sound is called {name!r}, too, and this format tells sounds apart by their names: "
                "give the tasks' data a field fname, or use csv or jsonl."
            )
        self._used.add(name)

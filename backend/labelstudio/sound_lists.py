"""What is to be imported: the sounds of a folder or of a CSV file, with their labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from backend.audio.decode import probe
from backend.errors import ConfigurationError, EarmarkError
from backend.files import sha256_of

AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".mp4", ".webm"}
)


@dataclass(frozen=True)
class Listed:
    """A file that a folder or CSV names: where it is, its name there, and its labels."""

    path: Path
    fname: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sound:
    """A readable sound. ``fname`` is its path relative to the source, ``size`` is in bytes."""

    path: Path
    fname: str
    sha256: str
    size: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A file that is not imported, and why."""

    fname: str
    why: str


def list_folder(folder: Path, patterns: Sequence[str] = ()) -> list[Listed]:
    """List the audio files of a folder and its subfolders, sorted; hidden ones are passed over.

    Parameters
    ----------
    patterns
        Such as ``*.wav`` or ``field/*``, compared with the name and the path relative to the
        folder; empty takes every known audio extension.

    Raises
    ------
    ConfigurationError
        The folder is not there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}.")
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        if _wanted(PurePosixPath(relative.as_posix()), patterns):
            found.append(Listed(path, relative.as_posix()))
    return sorted(found, key=lambda listed: listed.fname)


def list_csv(table: Path, audio_dir: Path | None = None, patterns: Sequence[str] = ()) -> list[Listed]:
    """List the files of a CSV with the columns ``fname`` and ``labels``, as FSDKaggle spells them.

    ``labels`` holds several labels separated by commas, in quotes. Rows of one file are joined.

    Parameters
    ----------
    audio_dir
        Folder that ``fname`` is relative to; None takes the folder of the CSV.

    Raises
    ------
    ConfigurationError
        The file is not there, is not UTF-8 text, or lacks a column.
    """
    base = (audio_dir or table.parent).resolve()
    if not base.is_dir():
        raise ConfigurationError(f"There is no folder {base}: set --audio-dir to where the sounds are.")
    labels_of: dict[str, dict[str, None]] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"fname", "labels"} - set(rows.fieldnames or ())
            if missing:
                raise ConfigurationError(
                    f"{table} has no column {' and '.join(sorted(missing))}: "
                    "its first line must be fname,labels."
                )
            for row in rows:
                fname, labels = (row["fname"] or "").strip(), row["labels"] or ""
                if fname and (not patterns or _wanted(PurePosixPath(fname), patterns)):
                    known = labels_of.setdefault(fname, {})
                    known.update(dict.fromkeys(part.strip() for part in labels.split(",") if part.strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{table} cannot be read as a UTF-8 CSV file: {error}.") from error
    return [Listed(base / fname, fname, tuple(labels)) for fname, labels in labels_of.items()]


def inspect(listed: Iterable[Listed]) -> Iterator[Sound | LeftOut]:
    """Open and digest each file; what is missing, unreadable or badly named is left out."""
    for item in listed:
        try:
            yield _inspect(item)
        except (EarmarkError, OSError) as error:
            yield LeftOut(_printable(item.fname), str(error))


def inspect_all(
    listed: Sequence[Listed], on_file: Callable[[], None] | None = None
) -> tuple[list[Sound], list[LeftOut]]:
    """Open and digest all files; ``on_file`` is called after each."""
    sounds: list[Sound] = []
    left_out: list[LeftOut] = []
    for found in inspect(listed):
        if isinstance(found, Sound):
            sounds.append(found)
        else:
            left_out.append(found)
        if on_file:
            on_file()
    return sounds, left_out


def _inspect(item: Listed) -> Sound | LeftOut:
    printable = _printable(item.fname)
    if printable != item.fname:
        return LeftOut(printable, "The name is not UTF-8: rename the file.")
    if PurePosixPath(item.fname).is_absolute() or ".." in PurePosixPath(item.fname).parts:
        return LeftOut(item.fname, "The path leads out of the source folder: set --audio-dir.")
    probe(item.path)
    return Sound(item.path, item.fname, sha256_of(item.path), item.path.stat().st_size, item.labels)


def _wanted(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    if not patterns:
        return relative.suffix.lower() in AUDIO_EXTENSIONS
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in (relative.name, str(relative)))


def _printable(fname: str) -> str:
    return fname.encode("utf-8", "replace").decode("utf-8")

"""The sounds of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from backend.errors import ConfigurationError
from backend.export.records import ClipRecord
from backend.importing.items import Listed

AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".mp4", ".webm"}
)


def list_folder(
    folder: Path, include: Sequence[str] = (), exclude: Sequence[str] = (), *, labelled: bool = False
) -> list[Listed]:
    """List the audio files of a folder and its subfolders, sorted; hidden ones are passed over.

    Parameters
    ----------
    include, exclude
        Such as ``*.wav`` or ``field/*``, compared with the name and the path relative to the
        folder; an empty ``include`` takes every known audio extension.
    labelled
        Whether the name of the folder that a file lies in is its label; files directly in
        ``folder`` have none.

    Raises
    ------
    ConfigurationError
        The folder is not there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}.")
    found = []
    for path in folder.rglob("*"):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        if wanted(relative, include, exclude):
            fname = str(relative)
            label = relative.parent.name if labelled else ""
            marks = (ClipRecord(fname, tags={"": (label,)}),) if label else ()
            found.append(Listed(path, fname, marks))
    return sorted(found, key=lambda listed: listed.fname)


def wanted(
    relative: PurePosixPath,
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    any_extension: bool = False,
) -> bool:
    """Whether a file fits the patterns; without any to include, whether its extension is of audio."""
    if _fits(relative, exclude):
        return False
    if include:
        return _fits(relative, include)
    return any_extension or relative.suffix.lower() in AUDIO_EXTENSIONS


def _fits(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in (relative.name, str(relative)))

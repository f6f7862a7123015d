"""List the audio files of a folder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from earmark.errors import ConfigurationError
from earmark.export.records import ClipRecord
from earmark.importing.models import Listed

AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".mp4", ".webm"}
)


def list_folder(
    folder: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    labelled: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Listed]:
    """List the audio files of a folder and its subfolders, sorted; hidden ones are skipped.

    Symbolic links are followed. A folder with several paths is listed once, preferably under its real
    path.

    Parameters
    ----------
    include, exclude
        Patterns such as ``*.wav`` or ``field/*``, compared with the name and the path relative to the
        folder; an empty ``include`` selects every known audio extension.
    labelled
        Whether the name of a file's folder is its label; files directly in ``folder`` have none.
    say
        Called with a sentence for each subfolder that cannot be read.

    Raises
    ------
    ConfigurationError
        The folder does not exist.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}.")
    sounds = []
    for path in walk(folder, say):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if wanted(relative, include, exclude):
            fname = str(relative)
            label = relative.parent.name if labelled else ""
            marks = (ClipRecord(fname, tags={"": (label,)}),) if label else ()
            sounds.append(Listed(path, fname, marks))
    return sorted(sounds, key=lambda listed: listed.fname)


def walk(folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, and broken links, which the audio check reports."""
    folders, linked, seen = deque([folder]), deque[Path](), set[Path]()
    while folders or linked:
        current = folders.popleft() if folders else linked.popleft()
        real = current.resolve()
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(current) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            say(f"The folder {current} cannot be read ({error.strerror}): its sounds are not imported.")
            continue
        for entry in sorted(visible, key=lambda entry: entry.name):
            path, link = Path(entry.path), entry.is_symlink()
            if path.is_dir() if link else entry.is_dir():
                (linked if link else folders).append(path)
            elif link or entry.is_file():
                yield path


def wanted(
    relative: PurePosixPath,
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    any_extension: bool = False,
) -> bool:
    """Whether a file matches the patterns; without ``include``, whether it has an audio extension."""
    if _matches(relative, exclude):
        return False
    if include:
        return _matches(relative, include)
    return any_extension or relative.suffix.lower() in AUDIO_EXTENSIONS


def _matches(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in (relative.name, str(relative)))

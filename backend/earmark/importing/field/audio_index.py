"""Find recordings by the names that tables give them: with other folders, or without an extension."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from earmark.importing.folders import AUDIO_EXTENSIONS

_ID = re.compile(r"XC\d+|[A-Za-z0-9_-]{11}")
"""Names that begin a file's name: a recording of xeno-canto, a clip of AudioSet (YouTube's identifier)."""


class AudioIndex:
    """The recordings of a folder, by parts of their paths. Names are relative to the folder, with ``/``."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._by_underscored: dict[str, list[str]] = {}
        for name in self._names:
            path = PurePosixPath(name)
            self._by_name.setdefault(_folded(path.name), []).append(name)
            self._by_stem.setdefault(_folded(path.stem), []).append(name)
            self._by_underscored.setdefault(_folded(path.stem).replace(" ", "_"), []).append(name)

    def find(self, name: str) -> list[str]:
        """Return the recordings that a name may mean, most of whose folders agree with the name's."""
        path = PurePosixPath(name.replace("\\", "/"))
        candidates = self._by_name.get(_folded(path.name), [])
        if not candidates:
            stem = path.stem if path.suffix.lower() in AUDIO_EXTENSIONS else path.name
            candidates = self._by_stem.get(_folded(stem), []) or self._by_underscored.get(_folded(stem), [])
        if not candidates and _ID.fullmatch(path.name):
            pattern = re.compile(rf"Y?{re.escape(path.name)}([^A-Za-z0-9].*)?", re.IGNORECASE)
            candidates = [other for other in self._names if pattern.fullmatch(PurePosixPath(other).stem)]
        return _closest(path, candidates)

    def beside(self, label_file: str) -> list[str]:
        """Return the recordings of a label file by its name: ``night.Table.1.txt`` is of ``night.wav``.

        The longest stem that begins the file's name wins; recordings of the same folder come first.
        """
        path = PurePosixPath(label_file)
        name = _folded(path.name)
        for end in range(len(name), 0, -1):
            if end < len(name) and name[end] not in "._- (":
                continue
            stem = name[:end]
            candidates = self._by_stem.get(stem) or self._by_name.get(stem)
            if candidates:
                same = [other for other in candidates if PurePosixPath(other).parent == path.parent]
                return same or _closest(path, candidates)
        return []


def _closest(path: PurePosixPath, candidates: list[str]) -> list[str]:
    """Return the candidates that share most of the path's last folders."""
    if len(candidates) < 2:
        return candidates
    folders = [_folded(part) for part in path.parent.parts][::-1]

    def shared(name: str) -> int:
        own = [_folded(part) for part in PurePosixPath(name).parent.parts][::-1]
        return next(
            (n for n, (a, b) in enumerate(zip(folders, own, strict=False)) if a != b),
            min(len(folders), len(own)),
        )

    most = max(map(shared, candidates))
    return [name for name in candidates if shared(name) == most]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()

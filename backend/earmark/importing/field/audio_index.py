"""Find recordings by the names that tables give them: with other folders, or without an extension."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from earmark.export.writers import folded
from earmark.importing.folders import AUDIO_EXTENSIONS

_ID = re.compile(r"XC\d+|[A-Za-z0-9_-]{11}")
"""Names that begin a file's name: a recording of xeno-canto, a clip of AudioSet (YouTube's identifier)."""
_LEADING_IDS = (
    re.compile(r"Y?(XC\d+)(?![A-Za-z0-9])", re.IGNORECASE),
    re.compile(r"([A-Za-z0-9_-]{11})(?![A-Za-z0-9])"),
    re.compile(r"Y([A-Za-z0-9_-]{11})(?![A-Za-z0-9])", re.IGNORECASE),
)


class AudioIndex:
    """The recordings of a folder, by parts of their paths. Names are relative to the folder, with ``/``."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_name, self._by_stem = _Lookup(), _Lookup()
        self._by_variant, self._by_id = _Lookup(), _Lookup()
        for name in names:
            path = PurePosixPath(name)
            stem = folded(path.stem)
            self._by_name.add(name, folded(path.name))
            self._by_stem.add(name, stem)
            self._by_variant.add(name, stem.replace(" ", "_"))
            if _LEADING_IDS[2].match(path.stem):
                self._by_variant.add(name, stem[1:])
            matches = (pattern.match(path.stem) for pattern in _LEADING_IDS)
            for identifier in {folded(match[1]) for match in matches if match}:
                self._by_id.add(name, identifier)

    def find(self, name: str) -> list[str]:
        """Return the recordings that a name may mean, most of whose folders agree with the name's."""
        path = PurePosixPath(name.replace("\\", "/"))
        candidates = self._by_name.find(path, folded(path.name))
        if not candidates:
            stem = folded(path.stem if path.suffix.lower() in AUDIO_EXTENSIONS else path.name)
            candidates = self._by_stem.find(path, stem) or self._by_variant.find(path, stem)
        if not candidates:
            number = _LEADING_IDS[0].match(path.name)  # a download has another name after its number
            identifier = number[1] if number else path.name if _ID.fullmatch(path.name) else ""
            candidates = self._by_id.find(path, folded(identifier)) if identifier else []
        return _closest(path, candidates)

    def beside(self, label_file: str) -> list[str]:
        """Return the recordings of a label file by its name: ``night.Table.1.txt`` is of ``night.wav``.

        The longest stem that begins the file's name wins; recordings of the same folder come first.
        """
        path = PurePosixPath(label_file)
        name = folded(path.name)
        for end in range(len(name), 0, -1):
            if end < len(name) and name[end] not in "._- (":
                continue
            stem = name[:end]
            candidates = self._by_stem.find(path, stem) or self._by_name.find(path, stem)
            if candidates:
                same = [other for other in candidates if PurePosixPath(other).parent == path.parent]
                return same or _closest(path, candidates)
        return []


def nearest(label_file: str, candidates: list[str]) -> list[str]:
    """Return the candidates with most of the folders of a label file, whose own name may be one, too.

    Data sets have trees side by side: ``metadata/train/soundscapes.tsv`` is of ``audio/train/soundscapes/``.
    """
    if len(candidates) < 2:
        return candidates
    own = {folded(part) for part in PurePosixPath(label_file).with_suffix("").parts}
    shared = [len(own & {folded(part) for part in PurePosixPath(name).parts[:-1]}) for name in candidates]
    return [name for name, count in zip(candidates, shared, strict=True) if count == max(shared)]


class _Lookup:
    """Recordings by a key, and by their folder's name with it: data sets have a file name in each folder."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, key: str) -> None:
        """Add a recording."""
        for each in (key, f"{folded(PurePosixPath(name).parent.name)}/{key}"):
            self._names.setdefault(each, []).append(name)

    def find(self, path: PurePosixPath, key: str) -> list[str]:
        """Return the recordings of a key: those in a folder of the same name as the path's, else all."""
        return self._names.get(f"{folded(path.parent.name)}/{key}") or self._names.get(key, [])


def _closest(path: PurePosixPath, candidates: list[str]) -> list[str]:
    """Return the candidates that share most of the path's last folders."""
    if len(candidates) < 2:
        return candidates
    folders = [folded(part) for part in path.parent.parts][::-1]

    def shared(name: str) -> int:
        own = [folded(part) for part in PurePosixPath(name).parent.parts][::-1]
        return next(
            (n for n, (a, b) in enumerate(zip(folders, own, strict=False)) if a != b),
            min(len(folders), len(own)),
        )

    most = max(map(shared, candidates))
    return [name for name in candidates if shared(name) == most]

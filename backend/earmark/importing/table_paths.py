"""Find the files that names of a table mean: below a folder, in subfolders, or without an extension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from earmark.importing.field.audio_index import AudioIndex
from earmark.importing.folders import AUDIO_EXTENSIONS, walk
from earmark.importing.table_files import name_below

SHOWN = 3


@dataclass(frozen=True)
class NamedFile:
    """The file of a name, and its name below the folder; ``path`` None where the name leads out of it."""

    name: str
    path: Path | None


class PathFinder:
    """Finds the files of one table.

    Parameters
    ----------
    base
        Folder that the names are relative to.
    table
        Name of the table's file, which names its recording where the rows name none.
    with_parent
        Whether to look in the folder above, too, where nothing of the table is in ``base``.
    """

    def __init__(self, base: Path, table: str, with_parent: bool = False) -> None:
        self._base, self._table, self._with_parent = base, table, with_parent
        self._folders = (base.resolve(), base.absolute())
        self._ambiguous: list[str] = []

    def find(self, name: str) -> NamedFile:
        """Return the file of a name; a path that does not exist where there is none."""
        below = name_below(name, self._folders) if name else None
        exact = None if below is None else self._folders[0] / below
        if exact is not None and exact.is_file():
            return NamedFile(str(below), exact)
        # A whole path below the folder means that file alone; one of another machine is looked for by name.
        exactly = ".." in Path(name).parts or (Path(name).is_absolute() and below is not None)
        for folder, index in () if exactly else self._indexes():
            candidates = index.find(name) if name else index.beside(self._table)
            if len(candidates) == 1:
                return NamedFile(candidates[0], folder / candidates[0])
            if candidates:
                self._ambiguous.append(name)
                break
        return NamedFile(name if below is None else below, exact)

    def notes(self) -> Iterator[str]:
        """Yield a sentence about names that fit several files."""
        if self._ambiguous:
            shown = ", ".join(self._ambiguous[:SHOWN]) + (" …" if len(self._ambiguous) > SHOWN else "")
            yield (
                f"{len(self._ambiguous)} names of {self._table} fit several files ({shown}): give the folder "
                "by --audio-dir, or paths in the table."
            )

    def _indexes(self) -> Iterator[tuple[Path, AudioIndex]]:
        yield self._folders[0], self._index
        if self._with_parent:
            yield self._folders[0].parent, self._parent_index

    @cached_property
    def _index(self) -> AudioIndex:
        return _index_of(self._folders[0])

    @cached_property
    def _parent_index(self) -> AudioIndex:
        return _index_of(self._folders[0].parent)


def _index_of(folder: Path) -> AudioIndex:
    return AudioIndex(
        path.relative_to(folder).as_posix()
        for path in walk(folder, lambda sentence: None)
        if path.suffix.lower() in AUDIO_EXTENSIONS
    )

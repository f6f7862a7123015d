"""Find the files that names of a table mean: below a folder, in subfolders, or without an extension."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.importing.field.audio_index import AudioIndex, nearest
from earmark.importing.folders import AUDIO_EXTENSIONS, walk
from earmark.importing.table_files import name_below

SHOWN = 3
_METADATA_FOLDERS = frozenset({"metadata", "meta"})


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
    further
        Folders above ``base`` to look in for what is not in it, such as that of a data set.
    """

    def __init__(self, base: Path, table: str, further: Sequence[Path] = ()) -> None:
        self._table = table
        self._folders = (base.resolve(), base.absolute())
        self._searched = [self._folders[0], *(folder.resolve() for folder in further)]
        self._indexes: dict[Path, AudioIndex] = {}
        self._ambiguous: list[str] = []
        self._other_suffixes: list[str] = []

    def find(self, name: str) -> NamedFile:
        """Return the file of a name; a path that does not exist where there is none."""
        below = name_below(name, self._folders) if name else None
        exact = None if below is None else self._folders[0] / below
        if exact is not None and exact.is_file():
            return NamedFile(str(below), exact)
        # A whole path below the folder means that file alone; one of another machine is looked for by name.
        exactly = ".." in Path(name).parts or (Path(name).is_absolute() and below is not None)
        for folder in () if exactly else self._searched:
            index = self._index(folder)
            candidates = index.find(name) if name else index.beside(self._table)
            table = (self._folders[0] / self._table).relative_to(folder).as_posix()
            candidates = nearest(table, candidates)
            if len(candidates) == 1:
                if _has_other_suffix(name, candidates[0]):
                    self._other_suffixes.append(f"{name} is {candidates[0]}")
                return NamedFile(candidates[0], folder / candidates[0])
            if candidates:
                self._ambiguous.append(name)
                break
        return NamedFile(name if below is None else below, exact)

    def notes(self) -> Iterator[str]:
        """Yield sentences about names that fit several files, or a file with another extension."""
        if self._other_suffixes:
            shown = ", ".join(self._other_suffixes[:SHOWN]) + (
                " …" if len(self._other_suffixes) > SHOWN else ""
            )
            yield (
                f"Names in {self._table} with another extension than their file: "
                f"{len(self._other_suffixes)} ({shown})."
            )
        if self._ambiguous:
            shown = ", ".join(self._ambiguous[:SHOWN]) + (" …" if len(self._ambiguous) > SHOWN else "")
            yield (
                f"{len(self._ambiguous)} names of {self._table} fit several files ({shown}): give the folder "
                "by --audio-dir, or paths in the table."
            )

    def _index(self, folder: Path) -> AudioIndex:
        if folder not in self._indexes:
            self._indexes[folder] = AudioIndex(
                path.relative_to(folder).as_posix()
                for path in walk(folder, lambda sentence: None)
                if path.suffix.lower() in AUDIO_EXTENSIONS
            )
        return self._indexes[folder]


def _has_other_suffix(name: str, file: str) -> bool:
    """Return whether a name has an extension of a sound that is not its file's, case aside."""
    suffix = Path(name).suffix.lower()
    return suffix in AUDIO_EXTENSIONS and suffix != Path(file).suffix.lower()


def data_set_folders(folder: Path, beside: bool) -> list[Path]:
    """Return the folders above a table's own in which recordings of its data set may lie.

    Where the table is in a folder ``metadata``, at any depth, that is the folder above it; ``beside``: the
    recordings lie beside the table's folder.
    """
    above = [folder.absolute(), *folder.absolute().parents]
    roots = [path.parent for path in above if path.name.lower() in _METADATA_FOLDERS]
    return list(dict.fromkeys([*([folder.absolute().parent] if beside else []), *roots[:1]]))

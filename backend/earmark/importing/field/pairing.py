"""Pair the recordings of a folder with the label files among them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from earmark.errors import EarmarkError, FormatError
from earmark.export import annotated
from earmark.export.records import ClipRecord
from earmark.export.writers import is_index
from earmark.importing.field.annotated_tables import AnnotatedTables
from earmark.importing.field.audio_index import AudioIndex, nearest
from earmark.importing.field.merging import merged, region_count, without_repeated
from earmark.importing.field.recognition import LABEL_SUFFIXES, FieldFormatName, LabelFile, recognise
from earmark.importing.folders import walk
from earmark.importing.models import Listed, Trust
from earmark.importing.table_columns import Columns
from earmark.wording import counted

Say = Callable[[str], None]
SHOWN = 5
_SKIPPED_NAMES = frozenset({"readme.txt", "license.txt", "licence.txt", "config.txt"})


def with_labels(
    folder: Path,
    sounds: Sequence[Listed],
    columns: Columns,
    given: FieldFormatName | None = None,
    *,
    announce: Say = lambda sentence: None,
    say: Say = lambda sentence: None,
) -> list[Listed]:
    """Return the sounds of a folder with the labels of the label files in it.

    A label file is of the recordings that its rows name, else of the recording whose name begins its own.

    Parameters
    ----------
    given
        Format that an option names; None recognises each file by its content.
    announce
        Called with one line that says what was recognised.
    say
        Called with a sentence for each kind of content that is left out, with the reason.
    """
    index = AudioIndex(item.fname for item in sounds)
    by_name = {item.fname: position for position, item in enumerate(sounds)}
    marks: dict[int, list[ClipRecord]] = defaultdict(list)
    fields: dict[int, dict[str, object]] = defaultdict(dict)
    trust: dict[int, Trust] = {}
    titles: Counter[str] = Counter()
    repeated, notes = 0, _Notes()
    annotated_tables = AnnotatedTables(folder, index)
    left_out: dict[str, list[str]] = defaultdict(list)
    unknown = []
    for path in sorted(_label_files(folder)):
        relative = path.relative_to(folder).as_posix()
        label_file = recognise(path, columns, given)
        if label_file is None:
            unknown.append(relative)
            continue
        try:
            listed = label_file.listed(columns, notes.of(path))
        except EarmarkError as error:
            # One sentence for all files that are damaged in the same way
            left_out[str(error).replace(f"{path}, ", "").replace(str(path), "it")].append(relative)
            continue
        titles[label_file.title] += 1
        for name, item in listed:
            recording, why = _recording(index, name, relative, label_file)
            if recording is None:
                left_out[why].append(f"{relative} ({name})" if name else relative)
                continue
            position = by_name[recording]
            records = [replace(record, file_name=recording) for record in item.marks]
            try:
                records = annotated_tables.with_parts(path, records)
            except FormatError as error:
                left_out[str(error)].append(relative)
                break
            new = [without_repeated(record, marks[position]) for record in records]
            repeated += sum(map(region_count, records)) - sum(map(region_count, new))
            marks[position] += new
            fields[position] |= item.fields
            if item.trust:
                trust[position] = item.trust
    if titles:
        kinds = ", ".join(f"{title} ({counted(count, 'file')})" for title, count in titles.most_common())
        labelled = sum(map(bool, marks.values()))
        announce(f"beside {counted(len(sounds), 'recording')}: {kinds}; recordings with labels: {labelled}")
    for sentence in notes.sentences():
        say(sentence)
    if repeated:
        say(f"{counted(repeated, 'region')} in more than one label file of a recording: each comes in once.")
    for sentence in _left_out_sentences(left_out, unknown):
        say(sentence)
    return [
        replace(
            item,
            marks=(*item.marks, *merged(marks[position])),
            fields={**fields[position], **item.fields},
            trust=item.trust or trust.get(position),
        )
        if position in marks or position in fields
        else item
        for position, item in enumerate(sounds)
    ]


class _Notes:
    """Sentences about label files, each once for all files that it is true of."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], list[str]] = {}

    def of(self, path: Path) -> Say:
        """Return a function that notes a sentence about a file, which names it."""

        def note(sentence: str) -> None:
            before, _, after = sentence.partition(path.name)
            self._files.setdefault((before, after), []).append(path.name)

        return note

    def sentences(self) -> Iterator[str]:
        """Yield the sentences, with one of their files and the number of the others."""
        for (before, after), names in self._files.items():
            others = f" and {len(names) - 1} other label files" if len(names) > 1 else ""
            yield f"{before}{names[0]}{others}{after}"


def _label_files(folder: Path) -> list[Path]:
    """Return the files that may hold labels; the list of the sounds has named the folders that are closed."""
    return [
        path
        for path in walk(folder, lambda sentence: None)
        if may_hold_labels(path.name) and path.is_file() and not (annotated.is_table(path) or is_index(path))
    ]


def may_hold_labels(name: str) -> bool:
    """Whether a file of this name is looked at for labels, or for the annotated parts of recordings."""
    path = PurePosixPath(name.lower())
    return path.suffix in LABEL_SUFFIXES and path.name not in _SKIPPED_NAMES


def _recording(index: AudioIndex, name: str, label_file: str, kind: LabelFile) -> tuple[str | None, str]:
    """Return the recording that labels are of; None with the reason where there is not exactly one."""
    candidates = index.find(_in_folder(name, label_file)) if name else index.beside(label_file)
    if not candidates and name and not kind.names_sounds:
        candidates = index.beside(label_file)
    if len(candidates) > 1 and (beside := set(index.beside(label_file)) & set(candidates)):
        candidates = sorted(beside)
    candidates = nearest(label_file, candidates)
    if len(candidates) == 1:
        return candidates[0], ""
    if candidates:
        return None, f"several recordings fit ({', '.join(candidates[:3])})"
    return None, "there is no recording of that name"


def _in_folder(name: str, label_file: str) -> str:
    """Return a bare name as one in the folder of its label file: of recordings alike, that one is meant."""
    bare = "/" not in name.replace("\\", "/")
    parent = PurePosixPath(label_file).parent
    return str(parent / name) if bare else name


def _left_out_sentences(left_out: Mapping[str, Sequence[str]], unknown: Sequence[str]) -> Iterator[str]:
    for why, names in left_out.items():
        yield f"{_some(names)} left out: {why}".rstrip(".") + "."
    if unknown:
        yield f"{_some(unknown)} are not recognised as labels and not imported; --format names the format."


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{len(names)} label files or rows ({shown}{' …' if len(names) > SHOWN else ''})"

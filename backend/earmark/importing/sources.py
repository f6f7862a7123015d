"""Import sources: list the sounds of a folder, bucket, table, export or list of URLs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, cast, get_args
from urllib.parse import quote

from earmark.errors import ConfigurationError
from earmark.export.formats import FORMATS, FormatName
from earmark.export.jsonl import VERSION_KEY
from earmark.export.records import EXPANSION_FIELD, expansion_of, scaled
from earmark.export.writers import INDEX
from earmark.importing.export_sources import (
    annotated_parts,
    annotated_without_a_line,
    list_label_studio_export,
    list_own_export,
)
from earmark.importing.field.pairing import with_labels
from earmark.importing.field.recognition import LABEL_SUFFIXES, FieldFormatName, LabelFile, recognise
from earmark.importing.field.recorder_names import with_recorder_fields
from earmark.importing.folders import list_folder, wanted
from earmark.importing.models import Listed, ReadAs, Trust
from earmark.importing.remote_sources import (
    bucket_objects,
    is_bucket,
    is_remote,
    label_file_copies,
    list_bucket,
    list_urls,
)
from earmark.importing.table_columns import Columns
from earmark.importing.table_files import column_names, json_rows, list_csv, list_json_lines
from earmark.importing.table_paths import PathFinder, data_set_folders

Kind = Literal["folder", "bucket", "table", "json-lines", "label-studio-export", "urls", "labels"]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(LABEL_SUFFIXES, "labels"),
    ".csv": "table",
    ".tsv": "table",
    ".tab": "table",
    ".jsonl": "json-lines",
    ".ndjson": "json-lines",
    ".json": "label-studio-export",
    ".txt": "urls",
}
_FOLDER_FORMATS: dict[str, FormatName] = {
    ".jams": "jams",
    ".selections.txt": "raven",
    ".textgrid": "textgrid",
    ".eaf": "elan",
    ".txt": "audacity",
}
"""Format of an export's folder by the suffix of its files, more specific ones first."""


@dataclass(frozen=True)
class Source:
    """Options of a source: its path or address, and how to read it.

    ``audio_dir`` is the folder that a table's names are relative to; None means the table's own.
    ``trust`` applies to all sounds; a column of a table takes precedence. ``base_url`` is the URL at
    which the same files are served, with the same names. ``format``: None recognises files by content.
    """

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    folder_labels: bool = False
    audio_dir: Path | None = None
    columns: Columns = field(default_factory=Columns)
    trust: Trust | None = None
    base_url: str | None = None
    format: ReadAs | None = None

    @property
    def field_format(self) -> FieldFormatName | None:
        """The format of label files that an option names."""
        return cast(FieldFormatName, self.format) if self.format in get_args(FieldFormatName) else None


def kind_of(name: str) -> Kind:
    """Detect the kind of a source from its path or address.

    Raises
    ------
    ConfigurationError
        The source does not exist, or cannot be imported.
    """
    if is_bucket(name):
        return "bucket"
    path = Path(name)
    if path.is_dir():
        return "folder"
    if not path.is_file():
        raise ConfigurationError(f"There is no folder or file {name}.")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigurationError(
            f"{name} is nothing that can be imported: give a folder, a bucket, or a file that ends in "
            f"{', '.join(sorted(_KINDS))}."
        )
    if kind == "urls" and recognise(path) is not None:
        return "labels"
    return kind


def list_sounds(
    source: Source,
    say: Callable[[str], None] = lambda sentence: None,
    announce: Callable[[str], None] = lambda sentence: None,
) -> list[Listed]:
    """List the sounds of a source that match its patterns.

    Parameters
    ----------
    say
        Called with a sentence for each kind of content that is not imported.
    announce
        Called with a line about what the source was recognised as.

    Raises
    ------
    ConfigurationError
        The source cannot be read, an option does not apply to it, or no sound matches.
    FormatError
        The source is a damaged export of this tool, or a damaged label file.
    """
    kind, path = kind_of(source.name), Path(source.name)
    if source.folder_labels and kind != "folder":
        raise ConfigurationError("--labels-from folder goes with a folder alone.")
    export_format = _export_format(kind, path, source.format)
    if export_format is not None:
        listed = _resolve_rows(source, annotated_parts(path, list_own_export(path, export_format)), say)
    elif kind == "folder":
        listed = _list_folder(source, path, say, announce)
    elif kind == "bucket":
        listed = _list_bucket(source, say, announce)
    elif kind == "json-lines":
        listed = _resolve_rows(source, list_json_lines(path, source.columns, say=say), say)
    elif kind == "label-studio-export":
        listed = _resolve_rows(source, list_label_studio_export(path, say), say)
    else:
        label_file = recognise(path, source.columns, source.field_format)
        if label_file is not None:
            rows = annotated_parts(path, label_file.listed(source.columns, say))
            if label_file.format == "rttm":
                rows += annotated_without_a_line(path, rows)
            listed = _resolve_rows(source, rows, say, label_file)
            announce(f"{path.name} is read as one of the {label_file.title}; --format names another format")
        elif kind == "urls":
            listed = [item for item in list_urls(path) if _matches(source, item.fname)]
        elif kind == "labels":
            raise ConfigurationError(
                f"{path} is not recognised as a file of labels: name its format by --format."
            )
        else:
            listed = _resolve_rows(
                source, annotated_parts(path, list_csv(path, source.columns, say=say)), say
            )
    if kind in ("folder", "bucket", "table", "labels"):
        listed, dated = with_recorder_fields(listed)
        if dated:
            announce(f"{dated} recordings have their time in their names: fields site and recorded_at")
    if not listed:
        raise ConfigurationError(
            f"There is no sound in {source.name} that fits: check it, --include and --exclude."
        )
    return [_with_base_url(_with_trust(item, source.trust), source.base_url) for item in listed]


def _export_format(kind: Kind, path: Path, given: ReadAs | None) -> FormatName | None:
    """Return the format of an export of this tool: the given one, or the one that its content shows."""
    if kind == "folder":
        return _index_format(path) if given is None or given in FORMATS else None
    if given in ("jsonl", "csv", "fsdkaggle"):
        return given
    if given is not None:
        return None
    if kind == "json-lines":
        return "jsonl" if VERSION_KEY in next((row for _, row in json_rows(path)), {}) else None
    if kind != "table":
        return None
    from earmark.export import csv_table

    return "csv" if set(csv_table.COLUMNS) <= set(column_names(path)) else None


def _index_format(folder: Path) -> FormatName | None:
    """Return the format of an export's folder by the files that its index names; None for other folders."""
    try:
        with (folder / INDEX).open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.DictReader(file), {})
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    name = str(first.get("label_file") or "").lower()
    return next((format_ for suffix, format_ in _FOLDER_FORMATS.items() if name.endswith(suffix)), None)


def _list_folder(
    source: Source, folder: Path, say: Callable[[str], None], announce: Callable[[str], None]
) -> list[Listed]:
    sounds = list_folder(folder, source.include, source.exclude, labelled=source.folder_labels, say=say)
    if source.format == "none" or source.folder_labels:
        return sounds
    return with_labels(folder, sounds, source.columns, source.field_format, announce=announce, say=say)


def _list_bucket(source: Source, say: Callable[[str], None], announce: Callable[[str], None]) -> list[Listed]:
    objects = bucket_objects(source.name)
    sounds = list_bucket(source.name, objects, source.include, source.exclude)
    if source.format == "none" or not sounds:
        return sounds
    with label_file_copies(source.name, objects, say) as folder:
        place = source.name.rstrip("/")

        def say_of_bucket(sentence: str) -> None:
            say(sentence.replace(str(folder), place))

        return with_labels(
            folder, sounds, source.columns, source.field_format, announce=announce, say=say_of_bucket
        )


def _resolve_rows(
    source: Source,
    rows: list[tuple[str, Listed]],
    say: Callable[[str], None],
    label_file: LabelFile | None = None,
) -> list[Listed]:
    base = source.audio_dir or Path(source.name).parent
    if not base.is_dir():
        raise ConfigurationError(f"There is no folder {base}: set --audio-dir to where the sounds are.")
    further = [] if label_file is None or source.audio_dir else data_set_folders(base, label_file.folders)
    finder = PathFinder(base, Path(source.name).name, further)
    listed = [
        _resolve(name, item, finder, source.audio_dir is not None)
        for name, item in rows
        if _matches(source, name)
    ]
    for sentence in finder.notes():
        say(sentence)
    # Again by the names of the files: a format such as RTTM holds names without extension and spaces.
    return [item for _, item in annotated_parts(Path(source.name), [(item.fname, item) for item in listed])]


def _matches(source: Source, name: str) -> bool:
    return wanted(PurePosixPath(name), source.include, source.exclude, any_extension=True)


def _resolve(name: str, item: Listed, finder: PathFinder, dir_given: bool) -> Listed:
    """Set the location of a table's sound: a URL, a path below the folder, or the origin in an export."""
    if is_remote(name):
        return replace(item, origin=name, address=name)
    file = finder.find(name)
    if item.origin and not dir_given and not (file.path and file.path.is_file()):
        address = item.origin if is_remote(item.origin) else ""
        # The task's own sound, which may be expanded in time; the labels have the recording's times.
        factor = expansion_of(item.fields)
        return replace(item, address=address, marks=tuple(scaled(record, factor) for record in item.marks))
    # A name that leads out of the folder gets neither path nor origin, which the audio check reports.
    marks = tuple(replace(record, file_name=file.name) for record in item.marks)
    fields = {name: value for name, value in item.fields.items() if name != EXPANSION_FIELD}
    return replace(item, path=file.path, fname=file.name, fields=fields, marks=marks, origin="")


def _with_trust(item: Listed, trust: Trust | None) -> Listed:
    return replace(item, trust=trust) if trust and not item.trust else item


def _with_base_url(item: Listed, base_url: str | None) -> Listed:
    if base_url is None:
        return item
    return replace(item, address=f"{base_url.rstrip('/')}/{quote(item.fname)}")

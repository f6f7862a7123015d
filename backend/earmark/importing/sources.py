"""Import sources: list the sounds of a folder, bucket, table, export or list of URLs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from earmark.errors import ConfigurationError
from earmark.export.formats import FormatName
from earmark.export.jsonl import VERSION_KEY
from earmark.importing.export_sources import annotated_parts, list_label_studio_export, list_own_export
from earmark.importing.folders import list_folder, wanted
from earmark.importing.models import Listed, Trust
from earmark.importing.remote_sources import is_bucket, is_remote, list_bucket, list_urls
from earmark.importing.table_files import column_names, json_rows, list_csv, list_json_lines, name_below
from earmark.importing.table_rows import Columns

Kind = Literal["folder", "bucket", "table", "json-lines", "label-studio-export", "urls"]

_KINDS: dict[str, Kind] = {
    ".csv": "table",
    ".tsv": "table",
    ".tab": "table",
    ".jsonl": "json-lines",
    ".ndjson": "json-lines",
    ".json": "label-studio-export",
    ".txt": "urls",
}


@dataclass(frozen=True)
class Source:
    """Options of a source: its path or address, and how to read it.

    ``audio_dir`` is the folder that a table's names are relative to; None means the table's own.
    ``trust`` applies to all sounds; a column of a table takes precedence. ``base_url`` is the URL at
    which the same files are served, with the same names. ``format`` is the format of an export of this
    tool; None detects those that are a single file.
    """

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    folder_labels: bool = False
    audio_dir: Path | None = None
    columns: Columns = field(default_factory=Columns)
    trust: Trust | None = None
    base_url: str | None = None
    format: FormatName | None = None


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
    return kind


def list_sounds(source: Source, say: Callable[[str], None] = lambda sentence: None) -> list[Listed]:
    """List the sounds of a source that match its patterns.

    Parameters
    ----------
    say
        Called with a sentence for each kind of content that is not imported.

    Raises
    ------
    ConfigurationError
        The source cannot be read, an option does not apply to it, or no sound matches.
    FormatError
        The source is a damaged export of this tool.
    """
    kind, path = kind_of(source.name), Path(source.name)
    if source.folder_labels and kind != "folder":
        raise ConfigurationError("--labels-from folder goes with a folder alone.")
    export_format = source.format or _detect_export_format(kind, path)
    if export_format is not None:
        listed = _resolve_rows(source, annotated_parts(path, list_own_export(path, export_format)))
    elif kind == "folder":
        labelled = source.folder_labels
        listed = list_folder(path, source.include, source.exclude, labelled=labelled, say=say)
    elif kind == "bucket":
        listed = list_bucket(source.name, source.include, source.exclude)
    elif kind == "urls":
        listed = [item for item in list_urls(path) if _matches(source, item.fname)]
    elif kind == "table":
        listed = _resolve_rows(source, annotated_parts(path, list_csv(path, source.columns)))
    elif kind == "json-lines":
        listed = _resolve_rows(source, list_json_lines(path, source.columns))
    else:
        listed = _resolve_rows(source, list_label_studio_export(path, say))
    if not listed:
        raise ConfigurationError(
            f"There is no sound in {source.name} that fits: check it, --include and --exclude."
        )
    return [_with_base_url(_with_trust(item, source.trust), source.base_url) for item in listed]


def _detect_export_format(kind: Kind, path: Path) -> FormatName | None:
    """Return the export format that the first line of a file shows, or None."""
    if kind == "json-lines":
        return "jsonl" if VERSION_KEY in next((row for _, row in json_rows(path)), {}) else None
    if kind != "table":
        return None
    from earmark.export import csv_table, dcase

    names = column_names(path)
    if set(csv_table.COLUMNS) <= set(names):
        return "csv"
    return "dcase" if set(dcase.HEADER) <= set(names) else None


def _resolve_rows(source: Source, rows: list[tuple[str, Listed]]) -> list[Listed]:
    base = source.audio_dir or Path(source.name).parent
    if not base.is_dir():
        raise ConfigurationError(f"There is no folder {base}: set --audio-dir to where the sounds are.")
    folders = (base.resolve(), base.absolute())
    return [
        _resolve(name, item, folders, source.audio_dir is not None)
        for name, item in rows
        if _matches(source, name)
    ]


def _matches(source: Source, name: str) -> bool:
    return wanted(PurePosixPath(name), source.include, source.exclude, any_extension=True)


def _resolve(name: str, item: Listed, folders: tuple[Path, Path], dir_given: bool) -> Listed:
    """Set the location of a table's sound: a URL, a path below the folder, or the origin in an export.

    ``folders``: that folder with its links resolved, and as it was given.
    """
    if is_remote(name):
        return dataclasses.replace(item, origin=name, address=name)
    below = name_below(name, folders)
    path = None if below is None else folders[0] / below
    if item.origin and not dir_given and not (path and path.is_file()):
        address = item.origin if is_remote(item.origin) else ""
        return dataclasses.replace(item, address=address)
    # A name that leads out of the folder gets neither path nor origin, which the audio check reports.
    return dataclasses.replace(item, path=path, fname=name if below is None else below, origin="")


def _with_trust(item: Listed, trust: Trust | None) -> Listed:
    return dataclasses.replace(item, trust=trust) if trust and not item.trust else item


def _with_base_url(item: Listed, base_url: str | None) -> Listed:
    if base_url is None:
        return item
    return dataclasses.replace(item, address=f"{base_url.rstrip('/')}/{quote(item.fname)}")

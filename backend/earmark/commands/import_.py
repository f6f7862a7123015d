"""``earmark import`` command, also ``python scripts/bulk_import.py``: import sounds into a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import httpx
import typer

from earmark.commands.common import ABOUT_PROJECT, DataDir
from earmark.commands.import_help import HELP
from earmark.errors import ConfigurationError
from earmark.importing.models import ReadAs
from earmark.processes.discovery import command_settings
from earmark.processes.loading import loading
from earmark.settings import Settings

_SOURCE, _LABELS, _PLACE = "What to import", "Labels", "Where the sounds go"
_CHECKS, _CONNECTION = "Checks", "Label Studio"


def import_(
    source: Annotated[str, typer.Argument(help="Folder, bucket, CSV, JSON Lines, list of URLs, or export")],
    project: Annotated[str | None, typer.Option(help=ABOUT_PROJECT)] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT",
            help="Make or extend a project in which annotators judge the labels, in place of --project",
        ),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the project when there is none of that title")
    ] = False,
    label_config: Annotated[
        Path | None,
        typer.Option(help="Label config (XML) for a project that is made; else made of the labels"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write the report, and nothing else")
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            "--pattern",
            help='Such as "*.wav" or "field/*"; may be repeated (default: all sounds)',
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Patterns of what stays out; may be repeated", rich_help_panel=_SOURCE),
    ] = None,
    audio_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of a table's files (default: the table's)", rich_help_panel=_SOURCE),
    ] = None,
    file_column: Annotated[
        str | None, typer.Option(help="Column with the files (default: fname)", rich_help_panel=_SOURCE)
    ] = None,
    format_: Annotated[
        ReadAs | None,
        typer.Option(
            "--format",
            help="Format of the labels, where it is not recognised; none: no label files",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Tasks of this length from longer files", rich_help_panel=_SOURCE
        ),
    ] = None,
    time_expansion: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR|auto",
            help="Tasks that play so many times as long, for ultrasound; auto: 10 from 192 kHz on",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    labels_as: Annotated[
        Literal["as-given", "annotations", "ground-truth", "predictions", "none"],
        typer.Option(
            "--labels-as",
            "--as",
            help="What labels become; as-given: what an export says, of tables annotations",
            rich_help_panel=_LABELS,
        ),
    ] = "as-given",
    labels_from: Annotated[
        Literal["folder"] | None,
        typer.Option(help="Take the name of each file's folder as its label", rich_help_panel=_LABELS),
    ] = None,
    labels_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the labels, commas between them (default: labels)", rich_help_panel=_LABELS
        ),
    ] = None,
    label_separator: Annotated[
        str | None,
        typer.Option(
            help="Between labels of a cell (default: a comma, else ; or |)", rich_help_panel=_LABELS
        ),
    ] = None,
    start_column: Annotated[
        str | None,
        typer.Option(
            help="Column with a region's start in seconds, one row a region; none: no regions",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    end_column: Annotated[
        str | None, typer.Option(help="Column with a region's end in seconds", rich_help_panel=_LABELS)
    ] = None,
    duration_column: Annotated[
        str | None,
        typer.Option(help="Column with a region's length in seconds, for its end", rich_help_panel=_LABELS),
    ] = None,
    score_column: Annotated[
        str | None,
        typer.Option(help="Column with a label's score, 0 to 1 (default: score)", rich_help_panel=_LABELS),
    ] = None,
    fold_column: Annotated[
        str | None,
        typer.Option(help="Column that becomes the tasks' field fold", rich_help_panel=_LABELS),
    ] = None,
    curated: Annotated[
        bool,
        typer.Option("--curated", help="The labels were verified: trusted most", rich_help_panel=_LABELS),
    ] = False,
    noisy: Annotated[
        bool, typer.Option("--noisy", help="The labels may be wrong: trusted least", rich_help_panel=_LABELS)
    ] = False,
    trust_column: Annotated[
        str | None,
        typer.Option(help="Column that says curated (1, yes) or noisy (0, no)", rich_help_panel=_LABELS),
    ] = None,
    upload: Annotated[
        bool,
        typer.Option(
            "--upload", help="Send the files (default, but for URLs and buckets)", rich_help_panel=_PLACE
        ),
    ] = False,
    local_files: Annotated[
        bool,
        typer.Option(
            "--local-files", help="Serve them from Label Studio's document root", rich_help_panel=_PLACE
        ),
    ] = False,
    as_urls: Annotated[
        bool,
        typer.Option(
            "--as-urls", help="Leave them where they are; tasks get the address", rich_help_panel=_PLACE
        ),
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(help="Where the same files are served; each must answer", rich_help_panel=_PLACE),
    ] = None,
    document_root: Annotated[
        Path | None,
        typer.Option(
            help="For --local-files (default: LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT)", rich_help_panel=_PLACE
        ),
    ] = None,
    min_seconds: Annotated[
        float, typer.Option(min=0.0, help="Shorter sounds are left out", rich_help_panel=_CHECKS)
    ] = 0.1,
    silent_below: Annotated[
        float, typer.Option(help="Sounds with a lower peak, in dBFS, are left out", rich_help_panel=_CHECKS)
    ] = -60.0,
    keep: Annotated[
        str,
        typer.Option(help="Let these in: some of silent,short,duplicate", rich_help_panel=_CHECKS),
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for the report (default: in DATA_DIR/imports)", rich_help_panel=_CHECKS),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Label Studio's address (default: LABEL_STUDIO_URL)", rich_help_panel=_CONNECTION),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Access token of either kind (default: LABEL_STUDIO_API_KEY)", rich_help_panel=_CONNECTION
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Parse the options, run the import, and exit with its code; the help text is `HELP`."""
    with loading():
        from earmark.importing.import_run import Request, run
        from earmark.importing.quality_rules import Rules, keep_of
        from earmark.importing.sources import Source
        from earmark.importing.table_columns import Columns
        from earmark.importing.time_expansion import parse_expansion

    if curated and noisy:
        raise ConfigurationError("Labels are either --curated or --noisy; --trust-column tells them apart.")
    if (project is None) == (verify is None):
        raise ConfigurationError("Name the project by --project, or by --verify to have its labels judged.")
    where = _destination(upload, local_files, as_urls)
    import_source = Source(
        source,
        tuple(include or ()),
        tuple(exclude or ()),
        labels_from == "folder",
        audio_dir,
        Columns(
            file_column,
            labels_column,
            start_column,
            end_column,
            trust_column,
            duration_column,
            score_column,
            fold_column,
            label_separator,
        ),
        "curated" if curated else "noisy" if noisy else None,
        base_url,
        format_,
    )
    request = Request(
        import_source,
        project or verify or "",
        create or verify is not None,
        label_config,
        labels_as if verify is None else "predictions",
        where,
        split,
        Rules(silent_below, min_seconds, keep_of(keep), parse_expansion(time_expansion)),
        dry_run,
        report,
        verify is not None,
    )
    raise typer.Exit(run(request, _settings(url, api_key, document_root, data_dir)))


def _destination(
    upload: bool, local_files: bool, as_urls: bool
) -> Literal["uploads", "local-files", "urls"] | None:
    if upload + local_files + as_urls > 1:
        raise ConfigurationError("Give one of --upload, --local-files and --as-urls.")
    return "uploads" if upload else "local-files" if local_files else "urls" if as_urls else None


def _settings(
    url: str | None, api_key: str | None, document_root: Path | None, data_dir: Path | None
) -> Settings:
    settings = command_settings(
        data_dir,
        label_studio_url=url or None,
        label_studio_api_key=api_key or None,
        label_studio_local_files_document_root=document_root,
    )
    if settings.label_studio_url and not _is_address(settings.label_studio_url):
        raise ConfigurationError(
            f"'{settings.label_studio_url}' is no address: "
            "it must start with http:// or https://, as in the browser."
        )
    return settings


def _is_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


command_line = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
"""Command line with this command alone, for ``scripts/bulk_import.py``."""


def register(app: typer.Typer) -> None:
    """Add the ``import`` command to a command line."""
    app.command("import", help=HELP.replace("\n    python", "\n\n    python"), no_args_is_help=True)(import_)


register(command_line)

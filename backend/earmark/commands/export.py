"""``earmark export`` command: write a project's labels or embeddings to a file or folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from earmark.commands.common import DataDir, ProjectName
from earmark.export.formats import FORMATS, Add
from earmark.processes.loading import INTERRUPTED, loading
from earmark.wording import counted

if TYPE_CHECKING:
    from earmark.export.export_run import Outcome, RecordFilter
    from earmark.export.label_studio import TaskReader
    from earmark.labels.control import Control
    from earmark.settings import Settings

EXPORTED, SOME_LEFT_OUT = 0, 1
PREDICTED = ("total_predictions", "greater", "Number", 0)
LABELS_AT_MOST = 12
OF_TASKS = ("datasets", "embeddings")
"""Formats of the tasks' own sounds: cut recordings are not put together."""

FormatChoice = Literal[
    "jsonl", "csv", "jams", "raven", "audacity", "textgrid", "elan", "dcase", "rttm", "fsdkaggle",
    "datasets", "embeddings",
]  # fmt: skip

HELP = """Write the labels of a Label Studio project in a format of the field, or its embeddings.

Only finished annotations count, skipped ones and drafts do not. Nothing appears at --out before all is
written, and nothing that is there is replaced without --force.

[bold]Formats[/]

{formats}

[bold]Examples[/]

All annotations of project 3, to read back or to import elsewhere:

    earmark export 3 --format jsonl --out town.jsonl

Selection tables for Raven Pro, from one annotator:

    earmark export "Town sounds" --format raven --out raven/ --annotator anna@example.com

What the model thinks now, as a list of events for sed_eval:

    earmark export 3 --what predictions --format dcase --out estimated.tsv

The ground truth to compare it with:

    earmark export 3 --ground-truth-only --format dcase --out reference.tsv

Embeddings of every region and clip, for a classifier of your own:

    earmark export 3 --format embeddings --out town.parquet

[bold]Long recordings[/]  Tasks that an import has cut out of a longer recording (their data has source,
source_start and source_end) are put together again: one recording, in its own time, and regions with the
same label that touch at a cut become one. --no-unsplit leaves them as they are. Which parts were annotated
is in jsonl, jams and datasets; beside the other formats annotated.csv has it (sound, start, end, annotator),
and the import reads it.

[bold]Exit codes[/]  0 everything was written; 1 some sounds could not be (they are listed); 2 nothing was
done (settings, connection, a format that cannot hold the labels); 130 stopped by Ctrl-C, nothing was
written."""

_ABOUT = {name: format.about for name, format in FORMATS.items()} | {
    "datasets": "a folder for Hugging Face datasets: the sounds, and metadata.csv",
    "embeddings": "a row for each region and clip, with the encoder's embedding: .parquet or .npz",
}
EXPORT_HELP = HELP.format(formats="\n\n".join(f"  {name}: {about}" for name, about in _ABOUT.items()))


def export(
    project: ProjectName,
    form: Annotated[FormatChoice, typer.Option("--format", "-f", help="One of the formats above")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File, or folder for one file a sound")],
    what: Annotated[
        Literal["annotations", "predictions"],
        typer.Option(help="Annotations of people, or predictions of models"),
    ] = "annotations",
    version: Annotated[
        str | None, typer.Option(help="Predictions of this version; without it, the newest of each task")
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(help="E-mail or number of one annotator; without it, all")
    ] = None,
    ground_truth_only: Annotated[
        bool, typer.Option("--ground-truth-only", help="Only annotations marked as ground truth")
    ] = False,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Name of a Labels or Choices tag; may be repeated; without it, all"),
    ] = None,
    unsplit: Annotated[
        bool, typer.Option("--unsplit/--no-unsplit", help="Put cut recordings together again")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --out")] = False,
    data_dir: DataDir = None,
) -> None:
    """Export labels; the help text is `EXPORT_HELP`."""
    with loading():
        from earmark.errors import ConfigurationError
        from earmark.export.export_run import RecordFilter
        from earmark.export.writers import check_target
        from earmark.importing.console import console
        from earmark.processes.discovery import command_settings

    if version is not None and what == "annotations":
        raise ConfigurationError("--version chooses among predictions: add --what predictions.")
    if what == "predictions" and (annotator is not None or ground_truth_only):
        raise ConfigurationError(
            "--annotator and --ground-truth-only choose among annotations: leave out --what predictions."
        )
    if form in FORMATS:
        FORMATS[form].check_installed()
    elif form == "embeddings":
        from earmark.export.embeddings import check_suffix

        check_suffix(out)
    check_target(out, form == "datasets" or (form in FORMATS and FORMATS[form].is_folder), force)
    joined = unsplit and form not in OF_TASKS
    record_filter = RecordFilter(
        what, version, annotator, ground_truth_only, frozenset(control or ()), joined
    )
    try:
        outcome, reader = _export(command_settings(data_dir), project, form, out, record_filter, unsplit)
    except KeyboardInterrupt:
        console.print("[yellow]Stopped: nothing was written.[/]")
        raise typer.Exit(INTERRUPTED) from None
    _summary(form, out, outcome, reader)
    raise typer.Exit(SOME_LEFT_OUT if outcome.failed or outcome.labels_failed else EXPORTED)


def _export(
    settings: Settings,
    name: str,
    form: FormatChoice,
    out: Path,
    record_filter: RecordFilter,
    whole_times: bool,
) -> tuple[Outcome, TaskReader]:
    with loading():
        from earmark.errors import ConfigurationError, ProjectNameError
        from earmark.export.export_run import run
        from earmark.export.label_studio import TaskReader
        from earmark.importing.console import counting
        from earmark.labelstudio.client import client_for, explained
        from earmark.labelstudio.credentials import AccessBook
        from earmark.labelstudio.projects import find_project
        from earmark.labelstudio.task_pages import ANNOTATED, Listing

    client, url = client_for(settings), settings.label_studio_url or ""
    project = find_project(client, url, name)
    if project is None:
        raise ProjectNameError(
            f"Label Studio at {url} has no project '{name}' that this token sees: give its number or title, "
            "or correct LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."
        )
    controls = _controls(project.label_config or "", form, record_filter)
    with explained(url):
        emails = {int(user.id): str(user.email) for user in client.users.list() if user.email}
    if record_filter.annotator is not None and record_filter.annotator.isdecimal():
        record_filter = replace(
            record_filter, annotator=emails.get(int(record_filter.annotator), record_filter.annotator)
        )
    reader = TaskReader(controls, controls[0].data_key, emails)
    access = AccessBook(settings).for_project(None)
    if access is None:
        raise ConfigurationError("Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
    column_filter = ANNOTATED if record_filter.what == "annotations" else PREDICTED
    total = _count(client, url, int(project.id), column_filter[0])
    pages = Listing(access).tasks(int(project.id), column_filter)
    check_label = FORMATS[form].load().check_label if form in FORMATS else lambda label: None
    with (
        _writer(settings, form, out, whole_times) as add,
        counting(f"exporting {record_filter.what}", total, "tasks") as seen,
    ):
        outcome = run(
            (task for page in pages for task in page),
            reader,
            record_filter,
            add,
            seen,
            check_label,
            form == "embeddings" or (form in FORMATS and FORMATS[form].holds_open),
        )
        if not outcome.tasks:
            raise ConfigurationError(
                f"Project {project.id} ({project.title}) has no {record_filter.what} that fit, so "
                "nothing was written: choose others with --what and the options that narrow it."
            )
    return outcome, reader


def _count(client: Any, url: str, project_id: int, column: str) -> int:
    """Count the tasks with at least one annotation or prediction, as the column counts them."""
    from earmark.labelstudio.client import explained

    item = {"filter": f"filter:tasks:{column}", "operator": "greater", "type": "Number", "value": 0}
    query = json.dumps({"filters": {"conjunction": "and", "items": [item]}})
    with explained(url):
        page = client.tasks.list(project=project_id, query=query, fields="task_only", page=1, page_size=1)
    return int(page.response.total)


def _controls(label_config: str, form: FormatChoice, record_filter: RecordFilter) -> tuple[Control, ...]:
    """Return the project's controls to export, all for the same audio field."""
    from earmark.errors import ConfigurationError
    from earmark.labels.label_config import parse_label_config

    available = parse_label_config(label_config)
    names = ", ".join(control.name for control in available)
    missing = sorted(record_filter.controls - {control.name for control in available})
    if missing:
        raise ConfigurationError(
            f"The project has no control {', '.join(missing)}: choose among {names} with --control."
        )
    controls = tuple(c for c in available if not record_filter.controls or c.name in record_filter.controls)
    if len({control.data_key for control in controls}) > 1:
        raise ConfigurationError(
            f"The project's controls are about several sounds of a task ({names}): choose those of one "
            "with --control."
        )
    if form in FORMATS and not FORMATS[form].holds_tags and not any(c.type.draws_regions for c in controls):
        raise ConfigurationError(
            f"The format {form} holds regions, and the project has tags of whole sounds alone: "
            "use fsdkaggle, csv, jsonl or jams."
        )
    return controls


@contextmanager
def _writer(settings: Settings, form: FormatChoice, out: Path, whole_times: bool) -> Iterator[Add]:
    if form in FORMATS:
        with FORMATS[form].load().writing(out) as add:
            yield add
        return
    if form == "datasets":
        from earmark.export import datasets_folder
        from earmark.importing.audio_checks import fetcher

        with datasets_folder.writing(out, fetcher(settings)) as add:
            yield add
        return
    from earmark.export import embeddings
    from earmark.services import Services

    with Services(settings) as services:
        extractor, access, encoder = (
            services.extractor(),
            services.access.for_project(None),
            services.encoder(),
        )
        with embeddings.writing(
            out, encoder, lambda address: extractor.extract_address(address, access), whole_times
        ) as add_rows:
            yield add_rows


def _summary(form: FormatChoice, out: Path, outcome: Outcome, reader: TaskReader) -> None:
    from rich.markup import escape

    from earmark.importing.console import LISTED_AT_MOST, console

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    parts = [
        f"[bold green]{outcome.rows:,} rows of {outcome.sounds:,} sounds[/] from {outcome.tasks:,} tasks "
        f"in {escape(str(out))}"
    ]
    if outcome.failed:
        parts.append(f"[bold red]{len(outcome.failed):,} left out[/]")
    say(", ".join(parts))
    common = outcome.labels.most_common(LABELS_AT_MOST)
    more = len(outcome.labels) - len(common)
    if common:
        listing = ", ".join(f"{escape(label)} {count:,}" for label, count in common)
        say(f"  labels: {listing}" + (f" … and {more:,} more" if more > 0 else ""))
    _warn(say, form, outcome, reader)
    for what, failures in (("left out", outcome.failed), ("one label left out", outcome.labels_failed)):
        for name, why in failures[:LISTED_AT_MOST]:
            say(f"  {what}: {escape(name)}: {escape(why)}")
        if len(failures) > LISTED_AT_MOST:
            say(f"  … and {len(failures) - LISTED_AT_MOST:,} more")


def _warn(say: Callable[[str], None], form: FormatChoice, outcome: Outcome, reader: TaskReader) -> None:
    """Print a warning for each kind of data that the format cannot hold."""
    format_ = FORMATS.get(form)
    if format_ is not None and not format_.holds_tags and outcome.tags:
        say(
            f"  [yellow]![/] {form} has no place for tags of whole sounds ({outcome.tags:,}): "
            "fsdkaggle, csv, jsonl and jams hold them"
        )
    if format_ is not None and not format_.holds_annotators and outcome.several:
        say(
            f"  [yellow]![/] {outcome.several:,} sounds have several annotations, which {form} cannot tell "
            "apart: all of them are in it; choose with --annotator or --ground-truth-only"
        )
    for kind, count in sorted(reader.passed_over.items()):
        results = counted(count, "result")
        say(
            f"  [yellow]![/] {results} of type “{kind}” left out: they are of a control without labels to "
            "learn, such as the tool Suggest"
        )

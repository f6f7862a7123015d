"""Registry of running backends: commands in another terminal take from it the settings they were not given.

Each backend that ``up`` or the demo starts has one JSON file in ``$XDG_STATE_HOME/earmark/running``, with
its settings, tokens included (mode 0600). The file goes when the backend stops; one that a killed backend
left is recognised by process id and start time, and removed.
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

from earmark.processes.supervisor import living_process, process_name
from earmark.settings import Settings, load_settings, plain_values

log = structlog.get_logger(__name__)

CODE_FOLDER = Path(__file__).resolve().parents[1]
_IDENTITY = ("data_dir", "database_url", "redis_url", "port", "label_studio_url", "label_studio_api_key")
"""Settings that belong to one backend: commands take all of them from one place, never a mixture."""


@dataclass(frozen=True)
class RunningBackend:
    """A backend of this machine that runs now.

    ``settings`` holds every setting by field name as a plain value, ``folder`` is its working directory,
    ``code`` the folder that its code lies in, ``started_at`` in seconds since the epoch.
    """

    settings: Mapping[str, Any]
    folder: str
    code: str
    started_at: float

    @property
    def data_dir(self) -> Path:
        """Its data folder, absolute."""
        return Path(self.settings["data_dir"])

    @property
    def address(self) -> str:
        """Where its API listens."""
        return f"{self.settings['bind']}:{self.settings['port']}"

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
    """List this process as a running backend with these settings until the block ends."""
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
    """Return this user's running backends on this machine, the one that started last first."""
    found = []
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
        found.append(backend)
    return sorted(found, key=lambda backend: backend.started_at, reverse=True)


def command_settings(data_dir: Path | None = None, **given: Any) -> Settings:
    """Settings of a command: its options, the environment and ``.env``, then the running backend's.

    A running backend counts when it was started from this folder and nothing that is set names another
    one. The user reads which one was taken where that changes the data folder.

    Parameters
    ----------
    data_dir
        ``--data-dir``. A backend that runs on that folder brings its own Label Studio, whatever the
        environment says.
    given
        Other settings that command-line options give; None leaves one open.

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
        fitting = [backend for backend in running if backend.data_dir == own.data_dir.resolve()]
        if data_dir is None:
            fitting = [backend for backend in fitting if not backend.contradiction(own, explicit)]
    else:
        here = [backend for backend in running if backend.is_from_here]
        fitting = [backend for backend in here if not backend.contradiction(own, explicit)]
        _tell(own, explicit, here, fitting)
    if not fitting:
        return own
    kept = explicit if data_dir is None else (explicit - set(_IDENTITY)) | set(given)
    taken = {name: value for name, value in fitting[0].settings.items() if name not in kept}
    return load_settings(**given | taken)


def _tell(
    own: Settings, explicit: set[str], here: Sequence[RunningBackend], fitting: Sequence[RunningBackend]
) -> None:
    """Print on standard error which backend a command is about, where that is not obvious."""
    from rich.console import Console

    def say(text: str) -> None:
        Console(stderr=True).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    if len(fitting) > 1:
        others = ", ".join(f"--data-dir {_short(backend.data_dir)}" for backend in fitting[1:])
        say(
            f"{len(fitting)} backends run from this folder. Taken: the last one started, at "
            f"{fitting[0].address} ({_short(fitting[0].data_dir)}); choose another with {others}."
        )
    elif fitting and fitting[0].data_dir != own.data_dir.resolve():
        say(f"Backend at {fitting[0].address}, data in {_short(fitting[0].data_dir)}")
    elif here and not fitting:
        name = here[0].contradiction(own, explicit)
        say(
            f"The backend at {here[0].address} was not taken, because {str(name).upper()} is set and names "
            f"another one; --data-dir {_short(here[0].data_dir)} takes it."
        )


def _short(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _registry() -> Path:
    """Folder of the registry, by the XDG Base Directory Specification."""
    state, home = Path(os.environ.get("XDG_STATE_HOME", "")), Path(os.path.expanduser("~"))  # noqa: PTH111
    if state.is_absolute():  # a relative path there is invalid and to be ignored
        base = state
    elif home.is_absolute():
        base = home / ".local" / "state"
    else:  # a user id without a home, as in some containers
        base = Path(tempfile.gettempdir()) / f"earmark-{os.getuid()}"
    return base / "earmark" / "running"


def _write_private(path: Path, text: str) -> None:
    """Write a file that no other user can read at any moment, in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def _read_private(path: Path) -> dict[str, Any] | None:
    """Read a file that this user alone may write and read; None for any other, and for damaged ones."""
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

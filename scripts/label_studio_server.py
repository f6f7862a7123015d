"""A Label Studio of our own on this machine: started, watched and stopped as one child process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from earmark.processes.supervisor import Child, Supervisor, stop_orphans

ADDRESS = "127.0.0.1"
PROBE_TIMEOUT_SECONDS = 2.0

_KEPT_VARIABLES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"}
    | {"LD_LIBRARY_PATH", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""What Label Studio gets from the caller. Everything else stays out, because it also reads names
without its prefix (``HOST``, ``DEBUG``, ``REDIS_…``, ``DATABASE_NAME``) and uses any Redis it finds."""


class LabelStudioServer:
    """One Label Studio with its own data folder and account, on a loopback port.

    Parameters
    ----------
    executable
        The ``label-studio`` of a virtual environment.
    data_dir
        Folder for its database, uploads and ``label-studio.log``; made when missing.
    username, password, token
        The account that is made on the first start: an e-mail address, a password and a legacy
        token of more than 5 characters. A data folder keeps those of its first start.
    document_root
        Folder that local files are served from; a storage's path must be a subfolder of it.
    supervisor
        Group of children that it joins, and that restarts and stops it; None makes one of its own.
    variables
        Further environment variables, as those that name a PostgreSQL database.
    """

    def __init__(
        self,
        executable: Path,
        data_dir: Path,
        port: int,
        username: str,
        password: str,
        token: str,
        document_root: Path,
        supervisor: Supervisor | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._executable, self._port = executable, port
        self._variables = dict(variables or {})
        self._data_dir, self._document_root = data_dir.resolve(), document_root.resolve()
        self._username, self._password, self._token = username, password, token
        self._owns_supervisor = supervisor is None
        self._supervisor = supervisor or Supervisor(self._data_dir / "run")
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{ADDRESS}:{self._port}"

    @property
    def log_path(self) -> Path:
        """The file that takes its output."""
        return self._data_dir / "label-studio.log"

    def command(self) -> list[str]:
        """Return the command line that runs it."""
        address = ("--internal-host", ADDRESS, "--port", str(self._port))
        return [str(self._executable), "start", "--no-browser", *address]

    def environment(self) -> dict[str, str]:
        """Return the whole environment that it runs in."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.startswith("LC_")
        }
        return {
            **inherited,
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._data_dir),
            "LABEL_STUDIO_HOST": self.url,
            "LABEL_STUDIO_USERNAME": self._username,
            "LABEL_STUDIO_PASSWORD": self._password,
            "LABEL_STUDIO_USER_TOKEN": self._token,
            # Read when the organization is made, so only on the first start of a data folder.
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            # Both, or a backend on a loopback address is refused, or connected without its webhook.
            "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self._document_root),
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "True",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "False",
            "COLLECT_ANALYTICS": "False",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "PYTHONUNBUFFERED": "1",
            **self._variables,
        }

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C in the terminal does not reach it.

        One that a killed run left behind on this data folder is stopped first.

        Raises
        ------
        OSError
            The executable is missing, or the folders cannot be made.
        """
        for folder in (self._data_dir, self._document_root):
            folder.mkdir(parents=True, exist_ok=True)
        if self._owns_supervisor:
            stop_orphans(self._data_dir / "run")
        child = Child("label-studio", self.command(), self.environment(), self.log_path)
        self._supervisor.start(child)
        self._child = child

    def is_ready(self) -> bool:
        """Whether it answers ``/health``."""
        try:
            # A proxy of the caller must not stand between this machine and itself.
            with httpx.Client(trust_env=False, timeout=PROBE_TIMEOUT_SECONDS) as client:
                return client.get(f"{self.url}/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def wait_until_ready(self, timeout_seconds: float, on_wait: Callable[[], None] | None = None) -> None:
        """Return when it answers: about 25 s after the first start of a data folder, else 2 to 4 s.

        Parameters
        ----------
        on_wait
            Called before each look, several times a second.

        Raises
        ------
        ChildFailedError
            It ended, or did not answer in time; the end of its log is quoted.
        """
        if self._child is None:
            self.start()
        assert self._child is not None

        def ready() -> bool:
            if on_wait:
                on_wait()
            return self.is_ready()

        self._supervisor.wait_until(self._child, ready, timeout_seconds)

    def stop(self) -> None:
        """End it and whatever it started; a supervisor that was given ends it with its other children."""
        if self._owns_supervisor:
            self._supervisor.stop()
            self._child = None

"""Network reachability: probed within seconds, and failures are cached."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from earmark.storage.atomic_files import atomic_write

FORGET_SECONDS = 600.0
"""Lifetime of a cached failure."""

_in_process: dict[Path, dict[str, str | float]] = {}
"""The same notes, for folders that cannot be written."""


def why_unreachable(url: str, seconds: float) -> str | None:
    """Return why no TCP connection to a server, or its proxy, is possible; None if it is.

    In a thread of its own, because looking up a name without network can outlast every timeout.
    """
    host, port = _first_hop(url)
    faults: list[str] = []
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: a proxy's name that no host can have
            faults.append(str(getattr(error, "strerror", None) or error))
        answered.set()

    threading.Thread(target=connect, name="connect", daemon=True).start()
    if not answered.wait(seconds):
        return f"no connection to {host} within {seconds:g} s"
    return f"no connection to {host}: {faults[0]}" if faults else None


def _first_hop(url: str) -> tuple[str, int]:
    """Return host and port that a request for this URL connects to: the proxy's or its own."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class FailureNote:
    """Cached failure of a download, shared by the processes of a folder.

    Parameters
    ----------
    path
        The note; it is removed when fetching succeeds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self, url: str) -> str | None:
        """Return why fetching this URL failed in the last ``FORGET_SECONDS``, else None."""
        for note in (_in_process.get(self._path), self._read()):
            if not isinstance(note, dict) or note.get("url") != url:
                continue
            at, reason = note.get("at"), note.get("reason")
            if not isinstance(at, int | float) or not isinstance(reason, str):
                continue
            age = time.time() - at
            if 0 <= age < FORGET_SECONDS:  # one from the future was written before a clock was set
                return f"{reason}, {age:.0f} s ago"
        return None

    def write(self, url: str, reason: str) -> None:
        """Keep the failure of this URL."""
        note: dict[str, str | float] = {"url": url, "at": time.time(), "reason": reason}
        _in_process[self._path] = note
        with suppress(OSError), atomic_write(self._path) as part:
            part.write_text(json.dumps(note), encoding="utf-8")

    def remove(self) -> None:
        """Delete the kept failure."""
        _in_process.pop(self._path, None)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _read(self) -> object:
        try:
            return json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None

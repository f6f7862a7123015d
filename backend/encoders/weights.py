"""CNN14's published weights: found here, or fetched once and verified. Nothing happens at import."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import structlog
from filelock import FileLock

from backend.errors import WeightsError
from backend.files import Notes
from backend.settings import Settings

CNN14_FILE = "Cnn14_mAP=0.431.pth"
CNN14_URL = "https://zenodo.org/record/3987831/files/Cnn14_mAP%3D0.431.pth?download=1"
"""Zenodo record 3987831, CC BY 4.0."""
CNN14_BYTES = 327_428_481
CNN14_SHA256 = "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31"

PROBE_SECONDS = 4.0
"""A machine without network learns it within this time."""
_SILENCE_SECONDS = 60.0
_TRIES = 3

_log = structlog.get_logger(__name__)
_failures: dict[tuple[str, Path], str] = {}
"""Why fetching failed in this process, by URL and target: asking again would only make requests wait."""


def cache_path(settings: Settings) -> Path:
    """Where the fetched checkpoint is kept, and where one that is brought by hand belongs."""
    return settings.data_dir.resolve() / "weights" / CNN14_FILE


def identity_of(digest: str) -> str:
    """Identity of the encoder whose checkpoint has this sha256."""
    return f"cnn14-{digest[:12]}"


def find_checkpoint(settings: Settings) -> Path | None:
    """Return the checkpoint that is here: CNN14_CHECKPOINT, else the verified file in the cache.

    A file in the cache whose digest is wrong counts as absent. It is hashed once, about a second,
    and again only when it changes.
    """
    if settings.cnn14_checkpoint is not None:
        return settings.cnn14_checkpoint if settings.cnn14_checkpoint.is_file() else None
    path = cache_path(settings)
    if not path.is_file():
        return None
    if path.stat().st_size == CNN14_BYTES and checkpoint_digest(settings, path) == CNN14_SHA256:
        return path
    _log.warning("checkpoint_damaged", path=str(path), help="it is fetched again, or delete it")
    return None


def checkpoint_digest(settings: Settings, path: Path) -> str:
    """Return the sha256 of a checkpoint, remembered beside the cache by path, size and time.

    Raises
    ------
    WeightsError
        The file cannot be read.
    """
    try:
        return _notes(settings).digest_of(path.resolve())
    except OSError as error:
        raise WeightsError(
            f"The checkpoint {path} cannot be read ({error.strerror or error}): check its permissions."
        ) from error


def cheap_digest(settings: Settings) -> str | None:
    """Return the digest of the checkpoint that is here, reading no large file twice; None without one.

    A file in the cache that was not verified yet is taken at its size; ``find_checkpoint`` decides.
    """
    if settings.cnn14_checkpoint is not None:
        path = settings.cnn14_checkpoint
        return checkpoint_digest(settings, path) if path.is_file() else None
    path = cache_path(settings)
    if not path.is_file() or path.stat().st_size != CNN14_BYTES:
        return None
    known = _notes(settings).known_digest_of(path)
    return CNN14_SHA256 if known in (None, CNN14_SHA256) else None


def fetch_checkpoint(settings: Settings) -> Path:
    """Return the checkpoint, downloading it into the cache when it is not here.

    Two processes download once. A failure is remembered for the life of the process; a file that
    is brought by hand meanwhile is found all the same.

    Raises
    ------
    WeightsError
        CNN14_CHECKPOINT names no file, there is no network (known after ``PROBE_SECONDS``), or what
        the server sent three times is not the checkpoint.
    """
    found = find_checkpoint(settings)
    if found is not None:
        return found
    if settings.cnn14_checkpoint is not None:
        raise no_such_checkpoint(settings.cnn14_checkpoint)
    path = cache_path(settings)
    failure = _failures.get((CNN14_URL, path))
    if failure is None:
        try:
            return _download(settings, path)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch: ValueError
            reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
            failure = (
                f"CNN14's weights cannot be fetched ({reason}): download {CNN14_URL} elsewhere and put it at "
                f"{path}, or set ENCODER=logmel to work without."
            )
            _failures[CNN14_URL, path] = failure
    raise WeightsError(failure)


def no_such_checkpoint(path: Path) -> WeightsError:
    """The error for a CNN14_CHECKPOINT that names no file."""
    return WeightsError(
        f"CNN14_CHECKPOINT is {path}, which is no file: correct it, or unset it to have the weights fetched."
    )


def _download(settings: Settings, path: Path) -> Path:
    """Download and verify; OSError or ValueError says why not."""
    import pooch

    if not _reachable(CNN14_URL):
        host = urlsplit(CNN14_URL).hostname
        raise OSError(f"no connection to {host} within {PROBE_SECONDS:.0f} s")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f"{CNN14_FILE}.lock"):
        found = find_checkpoint(settings)  # another process may have been first
        if found is not None:
            return found
        _log.info("checkpoint_download", url=CNN14_URL, megabytes=CNN14_BYTES // 1_000_000)
        pooch.get_logger().setLevel("ERROR")
        keeper = pooch.create(
            path=path.parent,
            base_url="",
            registry={CNN14_FILE: f"sha256:{CNN14_SHA256}"},
            urls={CNN14_FILE: CNN14_URL},
            retry_if_failed=_TRIES - 1,
        )
        # pooch writes to a temporary file and keeps it only when its digest is right.
        keeper.fetch(CNN14_FILE, downloader=pooch.HTTPDownloader(timeout=_SILENCE_SECONDS))
    checkpoint_digest(settings, path)  # remembered, so that the next start need not hash
    return path


def _reachable(url: str) -> bool:
    """Whether the server, or the proxy that leads there, takes a TCP connection soon.

    In a thread of its own, because looking up a name without network can outlast every timeout.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    target = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    answered = threading.Event()

    def knock() -> None:
        with suppress(OSError):
            socket.create_connection(target, timeout=PROBE_SECONDS).close()
            connected.append(True)
        answered.set()

    connected: list[bool] = []
    threading.Thread(target=knock, daemon=True).start()
    answered.wait(PROBE_SECONDS)
    return bool(connected)


def _notes(settings: Settings) -> Notes:
    return Notes(settings.data_dir.resolve() / "weights" / "digests")

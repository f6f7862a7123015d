"""Sounds that were fetched over HTTP: kept by content, remembered by address, bounded in size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from filelock import FileLock

from earmark.audio.addresses import shown
from earmark.audio.transfer_watch import TransferWatch
from earmark.errors import SoundNotFoundError, SoundTooSlowError, SoundUnreachableError
from earmark.storage.atomic_files import JsonCache, key_of

BACK_OFF_SECONDS = (0.2, 0.8)
"""Pauses before the second and the third try."""

GRACE_SECONDS = 60.0
"""A sound that was asked for this recently is not evicted: somebody may be about to open it."""

_ABANDONED_SECONDS = 3600.0
_MOST_REDIRECTS = 10
_MEGABYTE = 1_000_000

Headers = Callable[[str], Mapping[str, str]]
"""What to send to one URL. Asked again for every redirect, so that a token stays at its origin."""


class Downloads:
    """Fetches sounds into a folder. Threads and processes may share the folder.

    Parameters
    ----------
    folder
        Where everything is kept.
    timeout_seconds
        Longest silence: to connect, and between two pieces of the answer.
    deadline_seconds, least_bytes_per_second
        A try ends unless the sound arrives within this time, or at this rate over each such stretch.
    max_megabytes
        Largest sound that is taken.
    cache_megabytes
        When the folder holds more, the least recently used sounds are removed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        timeout_seconds: float,
        deadline_seconds: float,
        least_bytes_per_second: float,
        max_megabytes: int,
        cache_megabytes: int,
    ) -> None:
        self._folder = folder
        self._most_bytes = max_megabytes * _MEGABYTE
        self._cache_bytes = cache_megabytes * _MEGABYTE
        self._addresses = JsonCache(folder / "addresses")
        self._timeout = httpx.Timeout(timeout_seconds)
        self._deadline_seconds, self._least_rate = deadline_seconds, least_bytes_per_second
        self._held_bytes: int | None = None  # an estimate: what the last look found, plus own downloads
        self._unseen_bytes = 0  # own downloads since that look
        self._client: httpx.Client | None = None
        self._client_lock = threading.Lock()

    def fetch(self, url: str, headers: Headers, *, suffix: str) -> tuple[Path, str]:
        """Return the file and the sha256 of its content; without network when it is still here.

        Parameters
        ----------
        url
            Absolute http or https URL.
        headers
            What to send, asked for each URL on the way.
        suffix
            File name extension to keep, with its dot, or empty.

        Raises
        ------
        SoundNotFoundError
            The server says that there is no such sound.
        SoundUnreachableError
            No network, a timeout, a refusal, an answer that is no file, or a sound over the limit;
            SoundTooSlowError where it arrives below the least rate.
        """
        known = self.still_here(url)
        if known:
            return known
        try:
            locks = self._folder / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            # A bounded number of lock files: two addresses rarely share one, and then only wait.
            with FileLock(locks / f"{key_of(url)[:3]}.lock"):
                known = self.still_here(url)  # another thread or process may have been first
                if known:
                    return known
                path, digest = self._download_with_retries(url, headers, suffix)
                self._addresses.put(url, digest=digest, name=path.name)
                self._make_room(path.stat().st_size)
        except OSError as error:
            raise SoundUnreachableError(
                f"{shown(url)} could not be stored ({error.strerror or error}): check the disk of DATA_DIR."
            ) from error
        return path, digest

    def still_here(self, url: str) -> tuple[Path, str] | None:
        """Return what ``fetch`` would without network, or None."""
        known = self._addresses.get(url)
        digest, name = known.get("digest"), known.get("name")
        if not isinstance(digest, str) or not isinstance(name, str):
            return None
        path = self._files / digest[:2] / name
        try:
            os.utime(path)  # used now, for eviction
        except OSError:
            return None
        return path, digest

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    def _http(self) -> httpx.Client:
        with self._client_lock:
            if self._client is None:
                # Each transfer has a connection of its own, which its watch may cut.
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
                self._client = httpx.Client(timeout=self._timeout, limits=limits, follow_redirects=False)
            return self._client

    def _download_with_retries(self, url: str, headers: Headers, suffix: str) -> tuple[Path, str]:
        client = self._http()  # built outside the watch: the first one reads certificates
        for pause in (*BACK_OFF_SECONDS, None):
            watch = TransferWatch(self._deadline_seconds, self._least_rate)
            try:
                with watch:
                    return self._download(client, url, headers, suffix, watch)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if watch.too_slow:
                    raise self._too_slow(url, watch) from error
                if pause is None:
                    raise _unreachable(url, error) from error
                time.sleep(pause)
            except httpx.RequestError as error:
                raise _unreachable(url, error) from error
            except (httpx.InvalidURL, UnicodeError) as error:
                raise SoundNotFoundError(
                    f"{shown(url)} is not a usable address: correct it in the task."
                ) from error
        raise AssertionError("the last try returns or raises")

    def _too_slow(self, url: str, watch: TransferWatch) -> SoundTooSlowError:
        return SoundTooSlowError(
            f"{shown(url)} arrives too slowly: {watch.received} bytes came, and less than "
            f"{self._least_rate / 1000:g} kB a second over {self._deadline_seconds:g} s: check its server, "
            "or lower DOWNLOAD_LEAST_KILOBYTES_PER_SECOND."
        )

    def _download(
        self, client: httpx.Client, url: str, headers: Headers, suffix: str, watch: TransferWatch
    ) -> tuple[Path, str]:
        """One try: follow redirects, stream to a temporary file, move it into place."""
        target = httpx.URL(url)
        for _ in range(_MOST_REDIRECTS):
            sent = {"Accept-Encoding": "identity", **headers(str(target))}
            traced = {"trace": watch.trace}
            with client.stream("GET", target, headers=sent, extensions=traced) as answer:
                if answer.has_redirect_location:
                    target = target.join(answer.headers["location"])
                    if target.scheme not in ("http", "https") or not target.host:
                        raise SoundUnreachableError(
                            f"{shown(url)} leads to a {target.scheme or 'broken'} address: "
                            "point the task to the sound itself."
                        )
                    continue
                self._refuse(answer, url, authorized="Authorization" in sent)
                return self._store(answer, url, suffix, watch)
        raise SoundUnreachableError(
            f"{shown(url)} is redirected in circles: point the task to the sound itself."
        )

    def _refuse(self, answer: httpx.Response, url: str, *, authorized: bool) -> None:
        """Raise for every answer that is not a sound; HTTPStatusError where a retry may help."""
        status, name = answer.status_code, shown(url)
        if status in (401, 403):
            if authorized or "/data/" in name:
                raise SoundUnreachableError(
                    f"Label Studio refuses {name} (HTTP {status}): check LABEL_STUDIO_API_KEY (the file is "
                    "not the fault: a missing upload would be HTTP 500, a missing local file 404)."
                )
            raise SoundUnreachableError(
                f"The server refuses {name} (HTTP {status}): use an address that needs no login, "
                "or let Label Studio's storage sign it."
            )
        if status in (404, 410):
            raise SoundNotFoundError(
                f"There is no sound at {name} (HTTP {status}): check the task's address and the storage."
            )
        if status == 500 and "/data/upload/" in name:
            raise SoundNotFoundError(
                f"Label Studio has no file for {name} (it answers HTTP 500 for a missing upload, 404 for a "
                "missing local file): upload the sound again."
            )
        if status >= 500 or status == 429:
            raise httpx.HTTPStatusError(f"HTTP {status}", request=answer.request, response=answer)
        if status != 200:
            raise SoundUnreachableError(
                f"{name} answers HTTP {status} instead of a sound: open it in a browser."
            )
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise SoundUnreachableError(
                f"{name} answers with a web page instead of a sound: point the task to the sound itself."
            )

    def _store(self, answer: httpx.Response, url: str, suffix: str, watch: TransferWatch) -> tuple[Path, str]:
        too_large = SoundUnreachableError(
            f"{shown(url)} is larger than {self._most_bytes // _MEGABYTE} MB: "
            "raise MAX_SOUND_MEGABYTES or split it."
        )
        announced = answer.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._most_bytes:
            raise too_large
        incoming = self._folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=incoming)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in answer.iter_bytes():
                    size += len(piece)
                    watch.received = size
                    if size > self._most_bytes:
                        raise too_large
                    digest.update(piece)
                    file.write(piece)
            if watch.too_slow:  # without a length, a cut connection looks like the end of the sound
                raise self._too_slow(url, watch)
            path = self._files / digest.hexdigest()[:2] / f"{digest.hexdigest()}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path, digest.hexdigest()

    def _make_room(self, added_bytes: int) -> None:
        """Evict when the folder may be full; look at most once for each percent that is added."""
        self._unseen_bytes += added_bytes
        full = self._held_bytes is None or self._held_bytes + self._unseen_bytes > self._cache_bytes
        if full or self._unseen_bytes > self._cache_bytes // 100:
            self._unseen_bytes = 0
            self._held_bytes = self._evict()

    def _evict(self) -> int:
        """Remove the least recently used sounds until the rest fits; return the bytes that are left."""
        now = time.time()
        for part in (self._folder / "incoming").glob("*"):  # what killed processes left
            with contextlib.suppress(FileNotFoundError):
                if now - part.stat().st_mtime > _ABANDONED_SECONDS:
                    part.unlink()
        sounds: list[tuple[float, int, Path]] = []
        for path in self._files.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                sounds.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in sounds)
        for used, size, path in sorted(sounds):
            if total <= self._cache_bytes or now - used < GRACE_SECONDS:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total


def _unreachable(url: str, error: httpx.HTTPError) -> SoundUnreachableError:
    reason = str(error) or type(error).__name__
    return SoundUnreachableError(
        f"{shown(url)} cannot be fetched ({reason}): check that its server runs and is reachable from here."
    )

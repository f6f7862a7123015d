"""Download cache for sounds: content-addressed files, an index by URL, LRU eviction by size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from earmark.audio.addresses import shown
from earmark.audio.allowed_hosts import SoundHosts, Trace
from earmark.audio.transfer_watch import TransferWatch
from earmark.errors import SoundNotFoundError, SoundTooSlowError, SoundUnreachableError
from earmark.storage.atomic_files import JsonCache, key_of

BACK_OFF_SECONDS = (0.2, 0.8)
"""Pauses before the second and the third try."""

GRACE_SECONDS = 60.0
"""A sound that was used this recently is not evicted: another thread may be about to open it."""

_ABANDONED_SECONDS = 3600.0
_MOST_REDIRECTS = 10
_MEGABYTE = 1_000_000

Headers = Callable[[str], Mapping[str, str]]
"""Returns the request headers for a URL. Called for every redirect, so that a token stays at its origin."""


class Downloads:
    """Cache of downloaded sounds in a folder, which threads and processes may share.

    Parameters
    ----------
    folder
        Folder of the cache.
    timeout_seconds
        Connect timeout, and longest pause between two chunks of the response.
    deadline_seconds, least_bytes_per_second
        An attempt ends unless the sound arrives within this time, or at this rate in each such period.
    max_megabytes
        Largest sound that is accepted.
    cache_megabytes
        When the folder holds more, the least recently used sounds are deleted.
    hosts
        The hosts that may be requested.
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
        hosts: SoundHosts,
    ) -> None:
        self._folder, self._hosts = folder, hosts
        self._most_bytes = max_megabytes * _MEGABYTE
        self._cache_bytes = cache_megabytes * _MEGABYTE
        self._addresses = JsonCache(folder / "addresses")
        self._timeout = httpx.Timeout(timeout_seconds)
        self._deadline_seconds, self._least_rate = deadline_seconds, least_bytes_per_second
        self._measured_bytes: int | None = None  # as measured at the last eviction; None before
        self._added_bytes = 0  # own downloads since then
        self._client: httpx.Client | None = None
        self._client_lock = threading.Lock()

    def fetch(self, url: str, headers: Headers, *, suffix: str, own_host: str = "") -> tuple[Path, str]:
        """Return the file and the sha256 of its content, from the cache or downloaded.

        Parameters
        ----------
        url
            Absolute http or https URL.
        headers
            Returns the request headers for each URL on the way.
        suffix
            File name extension of the stored file, with its dot, or empty.
        own_host
            Host of the task's Label Studio, which may be in a private network.

        Raises
        ------
        SoundNotFoundError
            The server has no such sound, or is in a private network and not allowed.
        SoundUnreachableError
            No network, a timeout, a refusal, a response that is not a file, or a sound over the limit;
            SoundTooSlowError where it arrives below the least rate.
        """
        cached = self.cached(url)
        if cached:
            return cached
        try:
            locks = self._folder / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            # A bounded number of lock files: where two URLs share one, one of them only waits.
            with FileLock(locks / f"{key_of(url)[:3]}.lock"):
                cached = self.cached(url)  # another thread or process may have downloaded it
                if cached:
                    return cached
                path, digest = self._download_with_retries(url, headers, suffix, own_host)
                self._addresses.put(url, digest=digest, name=path.name)
                self._make_room(path.stat().st_size)
        except OSError as error:
            raise SoundUnreachableError(
                f"{shown(url)} could not be stored ({error.strerror or error}): check the disk of DATA_DIR."
            ) from error
        return path, digest

    def cached(self, url: str) -> tuple[Path, str] | None:
        """Return the cached file and its sha256, or None."""
        entry = self._addresses.get(url)
        digest, name = entry.get("digest"), entry.get("name")
        if not isinstance(digest, str) or not isinstance(name, str):
            return None
        path = self._files / digest[:2] / name
        try:
            os.utime(path)  # last use, for eviction
        except OSError:
            return None
        return path, digest

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    def _http(self) -> httpx.Client:
        with self._client_lock:
            if self._client is None:
                # Each transfer has a separate connection, which its watchdog may shut down.
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
                self._client = httpx.Client(timeout=self._timeout, limits=limits, follow_redirects=False)
            return self._client

    def _download_with_retries(
        self, url: str, headers: Headers, suffix: str, own_host: str
    ) -> tuple[Path, str]:
        client = self._http()  # outside the watchdog: the first call loads certificates
        for pause in (*BACK_OFF_SECONDS, None):
            watch = TransferWatch(self._deadline_seconds, self._least_rate)
            try:
                with watch:
                    return self._download(client, url, headers, suffix, watch, own_host)
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
        self,
        client: httpx.Client,
        url: str,
        headers: Headers,
        suffix: str,
        watch: TransferWatch,
        own_host: str,
    ) -> tuple[Path, str]:
        """Download once: follow redirects, stream to a temporary file, move it into place."""
        target = httpx.URL(url)
        for _ in range(_MOST_REDIRECTS):
            request_headers = {"Accept-Encoding": "identity", **headers(str(target))}
            self._hosts.check_url(str(target), own_host)
            checked = self._hosts.connection_check(str(target), own_host)
            extensions = {"trace": combined(watch.trace, checked)}
            with client.stream("GET", target, headers=request_headers, extensions=extensions) as answer:
                if answer.has_redirect_location:
                    target = target.join(answer.headers["location"])
                    if target.scheme not in ("http", "https") or not target.host:
                        raise SoundUnreachableError(
                            f"{shown(url)} leads to a {target.scheme or 'broken'} address: "
                            "point the task to the sound itself."
                        )
                    continue
                self._refuse(answer, url, authorized="Authorization" in request_headers)
                return self._store(answer, url, suffix, watch)
        raise SoundUnreachableError(
            f"{shown(url)} is redirected in circles: point the task to the sound itself."
        )

    def _refuse(self, answer: httpx.Response, url: str, *, authorized: bool) -> None:
        """Raise for every response that is not a sound; HTTPStatusError where a retry may help."""
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
            if watch.too_slow:  # without Content-Length, a shut-down connection looks like the end
                raise self._too_slow(url, watch)
            path = self._files / digest.hexdigest()[:2] / f"{digest.hexdigest()}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path, digest.hexdigest()

    def _make_room(self, added_bytes: int) -> None:
        """Evict when the folder may be full; measure its size at most once for each percent that is added."""
        self._added_bytes += added_bytes
        full = self._measured_bytes is None or self._measured_bytes + self._added_bytes > self._cache_bytes
        if full or self._added_bytes > self._cache_bytes // 100:
            self._added_bytes = 0
            self._measured_bytes = self._evict()

    def _evict(self) -> int:
        """Delete the least recently used sounds until the rest fits; return the remaining bytes."""
        now = time.time()
        for part in (self._folder / "incoming").glob("*"):  # temporary files of killed processes
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


def combined(*traces: Trace) -> Trace:
    """Return one callback for httpx's ``trace`` extension that calls several in turn."""

    def trace(event: str, info: Mapping[str, Any]) -> None:
        for each in traces:
            each(event, info)

    return trace


def _unreachable(url: str, error: httpx.HTTPError) -> SoundUnreachableError:
    reason = str(error) or type(error).__name__
    return SoundUnreachableError(
        f"{shown(url)} cannot be fetched ({reason}): check that its server runs and is reachable from here."
    )

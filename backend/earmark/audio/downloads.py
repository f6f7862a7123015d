"""Downloads of sounds over HTTP: redirects, retries, a least rate, and hosts that may be reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from earmark.audio.addresses import shown
from earmark.audio.allowed_hosts import SoundHosts, Trace
from earmark.audio.sound_cache import SoundCache
from earmark.audio.transfer_watch import TransferWatch
from earmark.errors import SoundNotFoundError, SoundTooSlowError, SoundUnreachableError
from earmark.tls import tls_context

BACK_OFF_SECONDS = (0.2, 0.8)
"""Pauses before the second and the third try."""

_MOST_REDIRECTS = 10

Headers = Callable[[str], Mapping[str, str]]
"""Returns the request headers for a URL. Called for every redirect, so that a token stays at its origin."""


class Downloads:
    """Downloads sounds over HTTP into the cache.

    Parameters
    ----------
    cache
        Where they are stored.
    timeout_seconds
        Connect timeout, and longest pause between two chunks of the response.
    deadline_seconds, least_bytes_per_second
        An attempt ends unless the sound arrives within this time, or at this rate in each such period.
    hosts
        Hosts that sounds may be fetched from.
    """

    def __init__(
        self,
        cache: SoundCache,
        *,
        timeout_seconds: float,
        deadline_seconds: float,
        least_bytes_per_second: float,
        hosts: SoundHosts,
    ) -> None:
        self._cache, self._hosts = cache, hosts
        self._timeout = httpx.Timeout(timeout_seconds)
        self._deadline_seconds, self._least_rate = deadline_seconds, least_bytes_per_second
        self._client: httpx.Client | None = None
        self._client_lock = threading.Lock()

    def fetch(
        self, url: str, headers: Headers, *, suffix: str, own_host: str = "", address: str = ""
    ) -> tuple[Path, str]:
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
        address
            What the sound is cached as, if not as the URL.

        Raises
        ------
        SoundNotFoundError
            The server has no such sound, or is in a private network and not allowed.
        SoundUnreachableError
            No network, a timeout, a refusal, a response that is not a file, or a sound over the limit;
            SoundTooSlowError where it arrives below the least rate.
        """
        return self._cache.get_or_add(
            address or url, lambda: self._download_with_retries(url, headers, suffix, own_host)
        )

    def _http(self) -> httpx.Client:
        with self._client_lock:
            if self._client is None:
                # Each transfer has a separate connection, which its watchdog may shut down.
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
                self._client = httpx.Client(
                    timeout=self._timeout, limits=limits, follow_redirects=False, verify=tls_context()
                )
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
            extensions = {"trace": _combined(watch.trace, checked)}
            with client.stream("GET", target, headers=request_headers, extensions=extensions) as answer:
                if answer.has_redirect_location:
                    target = target.join(answer.headers["location"])
                    if target.scheme not in ("http", "https") or not target.host:
                        raise SoundUnreachableError(
                            f"{shown(url)} leads to a {target.scheme or 'broken'} address: "
                            "point the task to the sound itself."
                        )
                    continue
                authorization = request_headers.get("Authorization", "")
                self._refuse(answer, url, authorization, own=target.host == own_host)
                return self._store(answer, url, suffix, watch)
        raise SoundUnreachableError(
            f"{shown(url)} is redirected in circles: point the task to the sound itself."
        )

    def _refuse(self, answer: httpx.Response, url: str, authorization: str, *, own: bool) -> None:
        """Raise for every response that is not a sound; HTTPStatusError where a retry may help.

        ``own`` is whether it came from Label Studio's host; ``authorization`` what was sent there.
        """
        status, name = answer.status_code, shown(url)
        if status in (401, 403):
            if authorization.startswith("Basic "):
                raise SoundUnreachableError(
                    f"The server refuses {name} (HTTP {status}) the user and password of the project's data: "
                    "correct task_data_login and task_data_password of the project in Label Studio."
                )
            if authorization or (own and "/data/" in name):
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
        announced = answer.headers.get("content-length", "")
        if announced.isdecimal() and not self._cache.accepts(int(announced)):
            raise self._cache.too_large(url)

        def pieces() -> Iterator[bytes]:
            for piece in answer.iter_bytes():
                watch.received += len(piece)
                yield piece

        def check() -> None:
            if watch.too_slow:  # without Content-Length, a shut-down connection looks like the end
                raise self._too_slow(url, watch)

        return self._cache.store(pieces(), url, suffix, check)


def _unreachable(url: str, error: httpx.HTTPError) -> SoundUnreachableError:
    reason = str(error) or type(error).__name__
    return SoundUnreachableError(
        f"{shown(url)} cannot be fetched ({reason}): check that its server runs and is reachable from here."
    )


def _combined(*traces: Trace) -> Trace:
    """Return one callback for httpx's ``trace`` extension that calls several in turn."""

    def trace(event: str, info: Mapping[str, Any]) -> None:
        for each in traces:
            each(event, info)

    return trace

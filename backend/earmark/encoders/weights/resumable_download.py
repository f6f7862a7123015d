"""Download of a large file over HTTP with a known digest: resumed, retried, verified.

No ETag is kept: a file that changed on the server is no longer the one with this digest, whatever part
of it is here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from earmark.encoders.weights.large_files import remove_if_disk_full, replace_durably, require_space, size_of
from earmark.encoders.weights.transfer_progress import Display
from earmark.storage.atomic_files import sha256_of
from earmark.tls import tls_context

_PROGRESS_SHARE = 0.01
_HEAD_BYTES = 2048


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes
    ----------
    url, name
        Where it is, and what it is called here.
    size, sha256
        In bytes; in hexadecimal.
    """

    url: str
    size: int
    sha256: str
    name: str

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.url).hostname or self.url


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and retry intervals.

    Attributes
    ----------
    probe_seconds
        To find out that there is no network.
    silence_seconds
        Without a byte, before a connection counts as dead.
    least_rate
        Bytes per second, on average over ``silence_seconds``; a connection that brings fewer is as good
        as dead.
    tries
        Failures in a row before giving up; a try that brought 1 % of the file starts a new row.
    first_pause_seconds
        Before the second try; three times as long before each further one.
    longest_pause_seconds
        A server that asks for more (Retry-After) is left alone.
    sleep
        Waits for so many seconds.
    """

    probe_seconds: float = 4.0
    silence_seconds: float = 30.0
    least_rate: float = 4_000.0
    tries: int = 4
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 120.0
    sleep: Callable[[float], None] = time.sleep


class _FailedTryError(Exception):
    """A retryable failure. ``wait_seconds``: the server's Retry-After."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NotConnectedError(_FailedTryError):
    """The server was not reached."""


def part_path(source: Source, target: Path) -> Path:
    """Path of the partial file, named by the digest so that another release's part is never resumed."""
    return target.with_name(f"{target.name}.{source.sha256[:12]}.part")


def download(source: Source, target: Path, shown: Display, patience: RetryPolicy) -> None:
    """Download a file, resuming an earlier attempt. One caller at a time.

    Raises
    ------
    ConnectionError
        The server did not hand the file over; the message says what it did instead.
    OSError
        The disk is full, or the folder may not be written.
    """
    part = part_path(source, target)
    furthest, failures, reached = size_of(part), 0, False
    require_space(target.parent, max(0, source.size - furthest))
    timeout = httpx.Timeout(patience.silence_seconds, connect=patience.probe_seconds)
    with (
        httpx.Client(timeout=timeout, follow_redirects=True, verify=tls_context()) as client,
        remove_if_disk_full(part),
    ):
        while True:
            try:
                _fetch(client, source, part, shown, patience)
                _verify(source, part, shown)
                break
            except _FailedTryError as failure:
                if isinstance(failure, _NotConnectedError) and not reached:
                    raise ConnectionError(str(failure)) from failure  # no network: known soon
                reached = True
                got = size_of(part)
                if got - furthest >= max(1.0, source.size * _PROGRESS_SHARE):
                    furthest, failures = got, 0
                failures += 1
                _wait(failure, failures, shown, patience)
    replace_durably(part, target)


def _wait(failure: _FailedTryError, failures: int, shown: Display, patience: RetryPolicy) -> None:
    """Pause before the next try.

    Raises
    ------
    ConnectionError
        There is none.
    """
    if failures >= patience.tries:
        raise ConnectionError(f"after {failures} tries: {failure}") from failure
    if failure.wait_seconds > patience.longest_pause_seconds:
        raise ConnectionError(f"{failure}, and asks to wait {failure.wait_seconds:.0f} s") from failure
    pause = max(failure.wait_seconds, patience.first_pause_seconds * 3 ** (failures - 1))
    shown.begin(f"{failure}; try {failures + 1} of {patience.tries} in {pause:.0f} s")
    patience.sleep(pause)


def _fetch(client: httpx.Client, source: Source, part: Path, shown: Display, patience: RetryPolicy) -> None:
    """Send one (range) request for the missing bytes."""
    have = size_of(part)
    if have > source.size:
        part.unlink()
        have = 0
    if have == source.size:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with client.stream("GET", source.url, headers=headers) as answer:
            start = _first_byte(answer, source, part, have)
            _store(answer, source, part, start, shown, patience)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _NotConnectedError(f"no connection to {source.host}: {error}") from error
    except httpx.TimeoutException as error:
        seconds = client.timeout.read or 0.0
        raise _FailedTryError(f"nothing came from {source.host} for {seconds:g} s") from error
    except httpx.TransportError as error:
        came = f"{size_of(part):,} of {source.size:,} bytes"
        raise _FailedTryError(f"the connection to {source.host} broke at {came}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(f"{source.host} cannot be asked: {error}") from error


def _first_byte(answer: httpx.Response, source: Source, part: Path, have: int) -> int:
    """Position in the file that an answer starts at; raises for one that is not the file."""
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _FailedTryError(f"{source.host} answers HTTP {status}", _retry_after(answer))
    if status == 416:  # the partial file is no beginning of the server's
        part.unlink(missing_ok=True)
        raise _FailedTryError(f"{source.host} answers HTTP 416")
    if status not in (200, 206):
        raise ConnectionError(f"{source.host} answers HTTP {status}")
    if status == 206:
        matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
        if not matched or int(matched[1]) != have or matched[2] not in ("*", str(source.size)):
            part.unlink(missing_ok=True)
            raise _FailedTryError(f"{source.host} sent another part than was asked for, or its file changed")
        return have
    announced = answer.headers.get("content-length", "")
    wrong_size = announced.isdecimal() and int(announced) != source.size
    if wrong_size or answer.headers.get("content-type", "").startswith("text/html"):
        head = next(answer.iter_raw(_HEAD_BYTES), b"")
        size = f"{int(announced):,} bytes" if announced.isdecimal() else "unknown size"
        raise _FailedTryError(f"{source.host} sent {describe(head)} of {size}, not of {source.size:,}")
    return 0  # the whole file, also when the server ignores Range


def _store(
    answer: httpx.Response, source: Source, part: Path, start: int, shown: Display, patience: RetryPolicy
) -> None:
    """Write a response's body behind the first ``start`` bytes."""
    pieces = answer.iter_raw()
    piece = next(pieces, b"")
    if not start and is_web_page(piece):  # looked at before it takes the place of what is here
        raise _FailedTryError(f"{source.host} sent {describe(piece)}")
    shown.begin(f"{source.name} from {source.host}", start, source.size)
    done = looked_done = start
    looked_at = time.monotonic()
    with part.open("ab" if start else "wb") as file:
        while piece:
            done += len(piece)
            if done > source.size:
                break
            file.write(piece)
            shown.reach(done)
            seconds = time.monotonic() - looked_at
            if seconds >= patience.silence_seconds:
                rate = (done - looked_done) / seconds
                if rate < patience.least_rate and done < source.size:
                    raise _FailedTryError(f"{source.host} sends only {rate:.0f} bytes per second")
                looked_at, looked_done = time.monotonic(), done
            piece = next(pieces, b"")
    if done > source.size:
        part.unlink()
        raise _FailedTryError(f"{source.host} sent more than {source.size:,} bytes")
    if done < source.size:
        raise _FailedTryError(f"{source.host} stopped after {done:,} of {source.size:,} bytes")


def _verify(source: Source, part: Path, shown: Display) -> None:
    """Check the digest; a wrong file is removed."""
    shown.begin(f"verifying {source.name}")
    digest = sha256_of(part)
    if digest == source.sha256:
        return
    with part.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    part.unlink()
    raise _FailedTryError(
        f"{source.host} sent {describe(head)} of the right size with sha256 {digest[:12]}…, "
        f"not {source.sha256[:12]}…"
    )


def is_web_page(head: bytes) -> bool:
    """Whether a file's first bytes are those of a web page."""
    return head.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def describe(head: bytes) -> str:
    """Describe the kind of a file by its first bytes."""
    if not is_web_page(head):
        return "another file"
    title = re.search(rb"<title[^>]*>\s*(.{1,80}?)\s*</title>", head, re.IGNORECASE | re.DOTALL)
    return f"a web page ('{title[1].decode('utf-8', 'replace')}')" if title else "a web page"


def _retry_after(answer: httpx.Response) -> float:
    """Return the seconds of a Retry-After header; 0 without one."""
    header = answer.headers.get("retry-after", "")
    if header.isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())

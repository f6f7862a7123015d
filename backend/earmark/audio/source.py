"""Resolves the address of a sound in a task to a local file and its sha256, downloading it if needed."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import structlog

from earmark.audio.addresses import origin, safe_suffix, shown
from earmark.audio.allowed_folders import AllowedFolders, is_special
from earmark.audio.allowed_hosts import SoundHosts
from earmark.audio.downloads import Downloads
from earmark.concurrency.deadline import Deadline
from earmark.concurrency.fair_pool import FairPool, Ticket
from earmark.errors import (
    ConfigurationError,
    SoundNotFetchedError,
    SoundNotFoundError,
    SoundUnreachableError,
)
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache, sha256_of

_LABEL_STUDIO_PATH = re.compile(
    r"/(data/upload/|data/local-files/?\?|storage-data/|(tasks|projects)/\d+/(resolve|presign)/)"
)
"""Paths that Label Studio serves sounds under; any other absolute path is a file on this machine."""

_THIS_MACHINE = ""
FETCH_THREADS = 64
FETCH_THREADS_A_HOST = 8

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LabelStudioAccess:
    """Address and authorization of one Label Studio.

    ``url`` is its address as seen from this machine. ``headers()`` returns the Authorization header, or
    an empty dict without a token, and may raise LabelStudioError.
    """

    url: str
    headers: Callable[[], dict[str, str]]
    has_token: bool = True


@dataclass(frozen=True)
class LocatedSound:
    """A local file, and the sha256 of its content in hexadecimal."""

    path: Path
    digest: str


class SoundSource:
    """Resolves addresses in tasks to local files. Thread-safe; processes share its folder."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir / "sounds"
        self._document_root = settings.label_studio_local_files_document_root
        self._folders = AllowedFolders(settings)
        self._notes = JsonCache(folder / "local")
        self._pool: FairPool[LocatedSound] = FairPool(FETCH_THREADS, FETCH_THREADS_A_HOST, "fetch")
        self._downloads = Downloads(
            folder,
            timeout_seconds=settings.download_timeout_seconds,
            deadline_seconds=settings.download_deadline_seconds,
            least_bytes_per_second=settings.download_least_kilobytes_per_second * 1000,
            max_megabytes=settings.max_sound_megabytes,
            cache_megabytes=settings.sound_cache_megabytes,
            hosts=SoundHosts(settings.allowed_sound_hosts),
        )

    def request(self, address: str, access: LabelStudioAccess | None) -> Ticket[LocatedSound]:
        """Queue ``locate`` in the thread pool under the sound's host; ``pool.result`` waits for it."""
        host = _host(address.strip(), access)
        return self._pool.submit(host, (address, access), lambda: self.locate(address, access))

    @property
    def pool(self) -> FairPool[LocatedSound]:
        """Thread pool that downloads sounds and hashes local files."""
        return self._pool

    def locate_in_time(
        self, address: str, access: LabelStudioAccess | None, deadline: Deadline
    ) -> LocatedSound:
        """Return ``locate``, fetched by the thread pool if need be.

        Raises
        ------
        OutOfTimeError
            The deadline passed; fetching goes on in the background.
        """
        try:
            return self.locate(address, access, fetch=False)
        except SoundNotFetchedError:
            ticket = self.request(address, access)
        try:
            return self._pool.result(ticket, deadline)
        finally:
            self._pool.release(ticket)

    def locate(self, address: str, access: LabelStudioAccess | None, fetch: bool = True) -> LocatedSound:
        """Return the sound's local file, after downloading it if necessary.

        Parameters
        ----------
        address
            From the task: a path that Label Studio serves, an http(s) URL, a file:// URL or an absolute
            path on this machine.
        access
            The Label Studio that the task came from. Its token is sent to its own origin (scheme,
            host and port, RFC 6454) and to no other, redirects included.

        Raises
        ------
        SoundNotFoundError
            There is no such sound, or it is outside the folders that tasks may point to.
        SoundUnreachableError
            Its server cannot be reached, or refuses it.
        LabelStudioError
            The token could not be exchanged.
        SoundNotFetchedError
            It was not downloaded or hashed yet, and ``fetch`` is False.
        """
        address = address.strip()
        if not address or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in address):
            raise SoundNotFoundError(
                f"{_quoted(address)} is not the address of a sound: correct it in the task."
            )
        base = urlsplit(access.url).path.rstrip("/") if access else ""
        if base and address.startswith(f"{base}/"):  # a Label Studio behind a path prefix
            address = address[len(base) :]
        scheme = address.partition("://")[0].lower() if "://" in address else ""
        if _LABEL_STUDIO_PATH.match(address):
            return self._from_label_studio(address, access, fetch)
        if scheme in ("http", "https"):
            return self._from_url(address, access, fetch)
        if scheme == "file":
            return self._from_disk(_path_of_file_url(address), fetch)
        if address.startswith("/"):
            return self._from_disk(address, fetch)
        if scheme:
            raise SoundNotFoundError(
                f"{scheme}:// addresses cannot be read directly: turn on pre-signed URLs in the settings of "
                "Label Studio's storage."
            )
        raise SoundNotFoundError(
            f"{_quoted(address)} is neither a URL nor an absolute path: correct it in the task."
        )

    def _from_url(self, address: str, access: LabelStudioAccess | None, fetch: bool) -> LocatedSound:
        if access and origin(address) is not None and origin(address) == origin(access.url):
            base = urlsplit(access.url).path.rstrip("/")
            parts = urlsplit(address)
            relative = parts.path.removeprefix(base) + (f"?{parts.query}" if parts.query else "")
            if _LABEL_STUDIO_PATH.match(relative):
                return self._from_label_studio(relative, access, fetch)
        return self._fetch(address, access, fetch)

    def _from_label_studio(self, address: str, access: LabelStudioAccess | None, fetch: bool) -> LocatedSound:
        path, _, query = address.partition("?")
        if path.rstrip("/") == "/data/local-files":
            inside = parse_qs(query).get("d", [""])[0]
            if not inside or "\0" in inside or _is_traversal(inside):
                raise SoundNotFoundError(
                    f"{_quoted(inside)} is no path inside Label Studio's local files: correct the task."
                )
            local = self._in_document_root(inside)
            if local is not None:
                return self._hashed(local, fetch)
        elif _is_traversal(unquote(path).lstrip("/")):
            raise SoundNotFoundError(f"{_quoted(address)} leads out of its folder: correct it in the task.")
        if access is None:
            raise SoundUnreachableError(
                f"{_quoted(address)} is served by a Label Studio not known here: set LABEL_STUDIO_URL."
            )
        return self._fetch(access.url.rstrip("/") + address, access, fetch)

    def _in_document_root(self, inside: str) -> Path | None:
        """Return the local file below the document root, or None if Label Studio must serve it."""
        if self._document_root is None:
            return None
        try:
            root = self._document_root.resolve()
            path = (root / inside).resolve()
            inside_root = path.is_relative_to(root) and not is_special(path)
            return path if inside_root and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # too long, unencodable, or links in a circle
            return None

    def _from_disk(self, name: str, fetch: bool) -> LocatedSound:
        # Addresses written by tools are percent-encoded, those written by people are not.
        for spelling in dict.fromkeys((name, unquote(name))):
            try:
                path = Path(spelling).resolve()
                # The folders are checked first, so that errors do not reveal which files exist outside them.
                self._folders.check(path, _quoted(name))
                if path.is_file():
                    return self._hashed(path, fetch)
            except (OSError, ValueError, RuntimeError):  # too long, unencodable, or links in a circle
                continue
        raise SoundNotFoundError(
            f"There is no file {_quoted(name)} on this machine: check the path, and that it is mounted here."
        )

    def _hashed(self, path: Path, fetch: bool) -> LocatedSound:
        try:
            digest = self._notes.known_digest_of(path)
            if digest is None and not fetch:
                raise SoundNotFetchedError(f"{_quoted(path.name)} was not read yet.")
            return LocatedSound(path, digest or self._digest_of(path))
        except OSError as error:
            raise SoundNotFoundError(
                f"{_quoted(path.name)} cannot be read ({error.strerror or error}): check its permissions."
            ) from error

    def _digest_of(self, path: Path) -> str:
        status = path.stat()
        digest = sha256_of(path)
        try:
            self._notes.put_of(path, status, digest=digest)
        except ConfigurationError as error:  # a full disk: the file is hashed again the next time
            log.warning("digest of a file not stored", detail=str(error))
        return digest

    def _fetch(self, url: str, access: LabelStudioAccess | None, fetch: bool) -> LocatedSound:
        if origin(url) is None:
            raise SoundNotFoundError(f"{_quoted(url)} is not a usable address: correct it in the task.")

        def headers(target: str) -> Mapping[str, str]:
            return access.headers() if access and origin(target) == origin(access.url) else {}

        url = quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # spaces and non-ASCII letters; keeps escapes
        if not fetch:
            cached = self._downloads.cached(url)
            if cached is None:
                raise SoundNotFetchedError(f"{_quoted(url)} was not fetched yet.")
            return LocatedSound(*cached)
        own_host = (urlsplit(access.url).hostname or "") if access else ""
        path, digest = self._downloads.fetch(url, headers, suffix=_suffix_of(url), own_host=own_host)
        return LocatedSound(path, digest)


def _host(address: str, access: LabelStudioAccess | None) -> str:
    """Return ``host:port`` of a sound, its owner in the fetch pool; empty for local files."""
    served = _LABEL_STUDIO_PATH.match(address) or (not address.startswith("/") and "://" not in address)
    server = origin(access.url if access and served else address)
    return f"{server[1]}:{server[2]}" if server else _THIS_MACHINE


def _is_traversal(path: str) -> bool:
    """Whether a relative path leads above its start (path traversal), or is not relative."""
    flat = posixpath.normpath(path.replace("\\", "/"))
    return flat.startswith("/") or flat == ".." or flat.startswith("../")


def _path_of_file_url(address: str) -> str:
    host, slash, rest = address[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost"):
        raise SoundNotFoundError(
            f"{_quoted(address)} names another machine: use file:/// and an absolute path."
        )
    return slash + rest


def _suffix_of(url: str) -> str:
    parts = urlsplit(url)
    parameters = parse_qs(parts.query)
    name = next((parameters[key][0] for key in ("d", "filepath") if key in parameters), parts.path)
    return safe_suffix(unquote(name))


def _quoted(text: str) -> str:
    """Format an address for messages: short, on one line, without a password or a signed query."""
    spelled = "".join(letter if letter.isprintable() else "?" for letter in shown(text))
    return f"'{spelled[:200]}…'" if len(spelled) > 200 else f"'{spelled}'"

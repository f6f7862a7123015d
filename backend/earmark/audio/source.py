"""Resolves the address of a sound in a task to a local file and its sha256, downloading it if needed."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import structlog

from earmark.audio.addresses import (
    basic_authorization,
    is_traversal,
    origin,
    path_of_file_url,
    quoted,
    safe_suffix,
    suffix_of,
)
from earmark.audio.allowed_folders import AllowedFolders, is_special
from earmark.audio.allowed_hosts import SoundHosts
from earmark.audio.bucket_objects import bucket_name, is_bucket_address, object_pieces
from earmark.audio.data_uris import decode_data_uri, is_data_uri, shown_data_uri
from earmark.audio.downloads import Downloads
from earmark.audio.sound_cache import SoundCache
from earmark.concurrency.deadline import Deadline
from earmark.concurrency.fair_pool import FairPool, Ticket
from earmark.errors import (
    ConfigurationError,
    MissingExtraError,
    SoundNotFetchedError,
    SoundNotFoundError,
    SoundUnreachableError,
)
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache, sha256_of
from earmark.storage.object_storage import BUCKETS

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
    an empty dict without a token, and may raise LabelStudioError. ``project_number`` is that of the project
    in it; ``data_login`` user and password for the servers of the project's sounds.
    """

    url: str
    headers: Callable[[], dict[str, str]]
    has_token: bool = True
    project_number: int | None = None
    data_login: tuple[str, str] | None = field(default=None, repr=False)


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
        self._cache = SoundCache(
            folder, max_megabytes=settings.max_sound_megabytes, cache_megabytes=settings.sound_cache_megabytes
        )
        self._hosts = SoundHosts(settings.allowed_sound_hosts)
        self._deadline_seconds = settings.download_deadline_seconds
        self._least_rate = settings.download_least_kilobytes_per_second * 1000
        self._downloads = Downloads(
            self._cache,
            timeout_seconds=settings.download_timeout_seconds,
            deadline_seconds=self._deadline_seconds,
            least_bytes_per_second=self._least_rate,
            hosts=self._hosts,
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
            From the task: a path that Label Studio serves, an http(s) URL, an object in a bucket
            (``s3://``, ``gs://``, ``azure-blob://``), a ``data:`` URI, a file:// URL or an absolute path
            on this machine.
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
        if is_data_uri(address):
            return self._from_data_uri(address)
        if not address or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in address):
            raise SoundNotFoundError(
                f"{quoted(address)} is not the address of a sound: correct it in the task."
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
            return self._from_disk(path_of_file_url(address), fetch)
        if address.startswith("/"):
            return self._from_disk(address, fetch)
        if is_bucket_address(address):
            return self._from_bucket(address, access, fetch)
        if scheme:
            raise SoundNotFoundError(
                f"{scheme}:// addresses cannot be read: point the task to an http(s) address, or to an "
                f"object in a bucket ({', '.join(f'{kind}://' for kind in BUCKETS)})."
            )
        raise SoundNotFoundError(
            f"{quoted(address)} is neither a URL nor an absolute path: correct it in the task."
        )

    def _from_data_uri(self, address: str) -> LocatedSound:
        def store() -> tuple[Path, str]:
            content, suffix = decode_data_uri(address)
            return self._cache.store([content], shown_data_uri(address), suffix)

        return LocatedSound(*self._cache.get_or_add(address, store))

    def _from_bucket(self, address: str, access: LabelStudioAccess | None, fetch: bool) -> LocatedSound:
        """Read an object with this machine's credentials, or through the storage in Label Studio."""
        cached = self._cache.get(address)
        if cached is not None:
            return LocatedSound(*cached)
        if not fetch:
            raise SoundNotFetchedError(f"{quoted(address)} was not fetched yet.")

        def store() -> tuple[Path, str]:
            pieces = object_pieces(address, self._deadline_seconds, self._least_rate)
            return self._cache.store(pieces, address, safe_suffix(address))

        try:
            return LocatedSound(*self._cache.get_or_add(address, store))
        except (MissingExtraError, SoundNotFoundError, SoundUnreachableError) as error:
            if access is None or not access.has_token or access.project_number is None:
                raise
            reason = error
        encoded = base64.urlsafe_b64encode(address.encode()).decode()
        resolve = f"{access.url.rstrip('/')}/projects/{access.project_number}/resolve/?fileuri={encoded}"
        try:
            return self._fetch(resolve, access, fetch, address)
        except (SoundNotFoundError, SoundUnreachableError) as error:
            raise SoundUnreachableError(
                f"{quoted(address)} cannot be read here ({reason}), nor through a storage of the project in "
                f"Label Studio ({error})"
            ) from error

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
            if not inside or "\0" in inside or is_traversal(inside):
                raise SoundNotFoundError(
                    f"{quoted(inside)} is no path inside Label Studio's local files: correct the task."
                )
            local = self._in_document_root(inside)
            if local is not None:
                return self._hashed(local, fetch)
        elif is_traversal(unquote(path).lstrip("/")):
            raise SoundNotFoundError(f"{quoted(address)} leads out of its folder: correct it in the task.")
        if access is None:
            raise SoundUnreachableError(
                f"{quoted(address)} is served by a Label Studio not known here: set LABEL_STUDIO_URL."
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
                self._folders.check(path, quoted(name))
                if path.is_file():
                    return self._hashed(path, fetch)
            except (OSError, ValueError, RuntimeError):  # too long, unencodable, or links in a circle
                continue
        raise SoundNotFoundError(
            f"There is no file {quoted(name)} on this machine: check the path, and that it is mounted here."
        )

    def _hashed(self, path: Path, fetch: bool) -> LocatedSound:
        try:
            digest = self._notes.known_digest_of(path)
            if digest is None and not fetch:
                raise SoundNotFetchedError(f"{quoted(path.name)} was not read yet.")
            return LocatedSound(path, digest or self._digest_of(path))
        except OSError as error:
            raise SoundNotFoundError(
                f"{quoted(path.name)} cannot be read ({error.strerror or error}): check its permissions."
            ) from error

    def _digest_of(self, path: Path) -> str:
        status = path.stat()
        digest = sha256_of(path)
        try:
            self._notes.put_of(path, status, digest=digest)
        except ConfigurationError as error:  # a full disk: the file is hashed again the next time
            log.warning("digest of a file not stored", detail=str(error))
        return digest

    def _fetch(
        self, url: str, access: LabelStudioAccess | None, fetch: bool, address: str = ""
    ) -> LocatedSound:
        """Download a URL, which is cached as ``address`` where that is given."""
        if origin(url) is None:
            raise SoundNotFoundError(f"{quoted(url)} is not a usable address: correct it in the task.")

        url = quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # spaces and non-ASCII letters; keeps escapes
        if not fetch:
            cached = self._cache.get(url)
            if cached is None:
                raise SoundNotFetchedError(f"{quoted(url)} was not fetched yet.")
            return LocatedSound(*cached)
        own_host = (urlsplit(access.url).hostname or "") if access else ""

        def headers(target: str) -> Mapping[str, str]:
            if access is None or origin(target) == origin(access.url):
                return access.headers() if access else {}
            # Who may write tasks may name any server: the login goes to those alone that the operator names
            trusted = origin(target) == origin(url) and self._hosts.names(urlsplit(target).hostname or "")
            return basic_authorization(*access.data_login) if access.data_login and trusted else {}

        path, digest = self._downloads.fetch(
            url, headers, suffix=suffix_of(address or url), own_host=own_host, address=address
        )
        return LocatedSound(path, digest)


def _host(address: str, access: LabelStudioAccess | None) -> str:
    """Return ``host:port`` of a sound, its owner in the fetch pool; empty for local files."""
    if is_bucket_address(address):
        return bucket_name(address)
    served = _LABEL_STUDIO_PATH.match(address) or (not address.startswith("/") and "://" not in address)
    server = origin(access.url if access and served else address)
    return f"{server[1]}:{server[2]}" if server else _THIS_MACHINE

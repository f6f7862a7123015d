"""Destinations of imported sounds: upload to Label Studio, its local files storage, or an external URL."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

import httpx

from earmark.errors import ConfigurationError, LabelStudioError, SoundNotFoundError
from earmark.importing.models import Sound
from earmark.labelstudio.client import explained
from earmark.labelstudio.credentials import Credentials
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, create_one
from earmark.tls import tls_context

UPLOAD_BATCH_FILES = 50
"""Label Studio accepts 100 files a request; smaller requests show progress and end soon after Ctrl-C."""
UPLOAD_BATCH_BYTES = 64 << 20
UPLOAD_MAX_BYTES = 250 << 20
"""DATA_UPLOAD_MAX_MEMORY_SIZE of Label Studio, for the whole request."""
UPLOAD_EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".webm"})
"""The audio formats among Label Studio's SUPPORTED_EXTENSIONS."""
UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
LOCAL_BATCH_FILES = 500

_DIGEST_LETTERS = 16
_UPLOADED = re.compile(rf"-([0-9a-f]{{{_DIGEST_LETTERS}}})(\.\w+)$")


class Destination(Protocol):
    """Gives sounds an address that Label Studio can play.

    For a project that does not exist yet (``project_id`` None), only `refuses` can be called.
    """

    batch_files: int
    batch_bytes: int

    def refuses(self, sound: Sound) -> str | None:
        """Return why a sound cannot be stored there, or None."""

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Prepare the destination for these sounds, once before the first batch."""

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Store the sounds and return their addresses, in order."""


class Uploads:
    """Uploads sounds to Label Studio without creating tasks; the importer creates these afterwards.

    So a task can have more fields than the address, and annotations. A file that an interrupted run
    has uploaded already is recognised by the digest in its name and not uploaded twice.
    """

    batch_files = UPLOAD_BATCH_FILES
    batch_bytes = UPLOAD_BATCH_BYTES

    def __init__(self, url: str, token: str, project_id: int | None) -> None:
        self._url, self._project_id = url, project_id
        self._credentials = Credentials(url, token)
        self._uploaded: dict[tuple[str, int], str] = {}

    def refuses(self, sound: Sound) -> str | None:
        """Return why Label Studio would refuse the upload, or None."""
        if sound.extension not in UPLOAD_EXTENSIONS:
            return (
                f"Label Studio takes no {sound.extension or 'nameless'} uploads: convert it, "
                "or use --local-files."
            )
        # The multipart form around the file counts too.
        if sound.facts.size >= UPLOAD_MAX_BYTES - 4096:
            return "Label Studio takes no uploads of 250 MB: use --local-files, or --split."
        return None

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """List the files that earlier runs have uploaded.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        if sounds:
            self._add_uploads(self._request("GET", "file-uploads", params={"all": "true"}))

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Upload the sounds that are not uploaded yet, in one request; return the addresses of all.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached, refuses, or does not list a file that it accepted.
        SoundNotFoundError
            A file was deleted since it was checked.
        """
        missing = [sound for sound in sounds if self._key(sound) not in self._uploaded]
        if missing:
            self._upload(missing)
        unlisted = [sound.fname for sound in sounds if self._key(sound) not in self._uploaded]
        if unlisted:
            raise LabelStudioError(
                f"Label Studio at {self._url} took {', '.join(unlisted[:3])} but does not list it: "
                "look into its log, then run this again."
            )
        return [self._uploaded[self._key(sound)] for sound in sounds]

    def _upload(self, sounds: Sequence[Sound]) -> None:
        with ExitStack() as open_files:
            # One form field per file: of several files in one field, Label Studio keeps the last.
            files = [
                (
                    f"file{index}",
                    (_upload_name(sound), open_files.enter_context(_open(sound)), _media_type(sound)),
                )
                for index, sound in enumerate(sounds)
            ]
            response = self._request("POST", "import", params={"commit_to_project": "false"}, files=files)
        ids = response.get("file_upload_ids") or []
        self._add_uploads(self._request("GET", "file-uploads", params={"ids": json.dumps(ids)}))

    def _add_uploads(self, uploads: Any) -> None:
        prefix = urlsplit(self._url).path.rstrip("/")
        for upload in uploads:
            match = _UPLOADED.search(upload["file"])
            if match:
                # Percent-encoded, as Label Studio does for its uploads: names may have special characters.
                address = f"{prefix}/data/{quote(upload['file'])}"
                self._uploaded[match[1], int(upload.get("size") or 0)] = address

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        with explained(self._url):
            response = httpx.request(
                method,
                f"{self._url}/api/projects/{self._project_id}/{path}",
                headers=self._credentials.headers(),
                timeout=UPLOAD_TIMEOUT,
                verify=tls_context(),
                **arguments,
            )
        if response.is_success:
            try:
                return response.json()
            except ValueError:
                pass
        raise LabelStudioError(
            f"Label Studio at {self._url} answered HTTP {response.status_code} "
            f"to {method} {path}: {response.text[:300]}"
        )

    @staticmethod
    def _key(sound: Sound) -> tuple[str, int]:
        return sound.content[:_DIGEST_LETTERS], sound.facts.size


class LocalFiles:
    """Leaves sounds in place; Label Studio serves them as local files from its document root.

    Parameters
    ----------
    document_root
        ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` of Label Studio, as mounted on this machine.
    """

    batch_files = LOCAL_BATCH_FILES
    batch_bytes = 1 << 62

    def __init__(self, client: Any, url: str, project_id: int | None, document_root: Path) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._root = document_root.resolve()
        if not self._root.is_dir():
            raise ConfigurationError(
                f"There is no folder {document_root}: set LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT "
                "to the folder that Label Studio serves local files from."
            )

    def refuses(self, sound: Sound) -> str | None:
        """Return why Label Studio would not serve the file, or None."""
        if sound.is_cut:
            return "Stretches and expanded sounds become files that are uploaded: leave --local-files out."
        path = sound.path.resolve()
        if not path.is_relative_to(self._root):
            return f"It is not below the document root {self._root}."
        if path.parent == self._root:
            return f"It lies directly in the document root {self._root}; Label Studio serves subfolders only."
        return None

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Create local storages in the project until each sound is below one: Label Studio serves no others.

        Raises
        ------
        LabelStudioError
            Label Studio refuses a storage, for example because local files are disabled.
        """
        top_folders = sorted({sound.path.resolve().relative_to(self._root).parts[0] for sound in sounds})
        with explained(self._url):
            storage_paths = [
                Path(storage.path)
                for storage in self._client.import_storage.local.list(project=self._project_id)
                if storage.path
            ]
            for name in top_folders:
                folder = self._root / name
                if not any(folder.is_relative_to(path) for path in storage_paths):
                    self._create_storage(folder)

    def _create_storage(self, folder: Path) -> None:
        """Create the storage of one folder, and only one where Label Studio repeats the request."""
        storages = self._client.import_storage.local

        def create() -> Any:
            return storages.create(
                project=self._project_id,
                path=str(folder),
                title=f"Sounds in {folder.name}",
                use_blob_urls=True,
                request_options=PATIENT_ONCE,
            )

        def existing() -> list[Any]:
            return [s for s in storages.list(project=self._project_id) if s.path == str(folder)]

        create_one(create, existing, lambda storage_id: storages.delete(id=storage_id))

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Return the addresses at which Label Studio serves the files."""
        relative = (sound.path.resolve().relative_to(self._root).as_posix() for sound in sounds)
        return [f"/data/local-files/?d={quote(path)}" for path in relative]


class Addresses:
    """Leaves sounds at their URLs, which tasks point to; the audio check has requested each already."""

    batch_files = LOCAL_BATCH_FILES
    batch_bytes = 1 << 62

    def refuses(self, sound: Sound) -> str | None:
        """Return why no task can point to the sound, or None."""
        if sound.is_cut:
            return "Stretches and expanded sounds become files that are uploaded: leave --as-urls out."
        return None if sound.address else "It has no URL: give --base-url, or upload it."

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Do nothing: URLs need no preparation."""

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Return the URLs of the sounds."""
        return [sound.address for sound in sounds]


def _upload_name(sound: Sound) -> str:
    """Return a readable file name that Label Studio does not alter and that fits its 100 characters."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", PurePosixPath(sound.fname).stem)[:40].strip("_") or "sound"
    return f"{stem}-{sound.content[:_DIGEST_LETTERS]}{sound.extension}"


def _open(sound: Sound) -> BinaryIO:
    try:
        return sound.path.open("rb")
    except OSError as error:
        raise SoundNotFoundError(
            f"{sound.fname} cannot be opened any more ({error.strerror or error}): run this again."
        ) from error


def _media_type(sound: Sound) -> str:
    return mimetypes.guess_type(f"sound{sound.extension}")[0] or "application/octet-stream"

"""How a sound gets its address in Label Studio: uploaded to it, served from a folder, or elsewhere."""

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

UPLOAD_BATCH_FILES = 50
"""Label Studio takes 100 files a request; smaller ones show progress and are soon over at Ctrl-C."""
UPLOAD_BATCH_BYTES = 64 << 20
UPLOAD_MAX_BYTES = 250 << 20
"""DATA_UPLOAD_MAX_MEMORY_SIZE of Label Studio, for the whole request."""
UPLOAD_EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".webm"})
"""The sounds among Label Studio's SUPPORTED_EXTENSIONS."""
UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
LOCAL_BATCH_FILES = 500

_DIGEST_LETTERS = 16
_UPLOADED = re.compile(rf"-([0-9a-f]{{{_DIGEST_LETTERS}}})(\.\w+)$")


class Place(Protocol):
    """A way for sounds to get an address that Label Studio can play.

    One for a project that is still to be made (``project_id`` None) can only say what it refuses.
    """

    batch_files: int
    batch_bytes: int

    def refuses(self, sound: Sound) -> str | None:
        """Why a sound cannot be put there, or None."""

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Make ready for these sounds."""

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Put the sounds there and return their addresses, in order."""


class Uploads:
    """Sounds are sent to Label Studio, without tasks; the tasks are made afterwards.

    So a task can carry more than the address, and its annotations. A file that an interrupted run
    has uploaded already is found again by the digest in its name, and not sent twice.
    """

    batch_files = UPLOAD_BATCH_FILES
    batch_bytes = UPLOAD_BATCH_BYTES

    def __init__(self, url: str, token: str, project_id: int | None) -> None:
        self._url, self._project_id = url, project_id
        self._credentials = Credentials(url, token)
        self._uploaded: dict[tuple[str, int], str] = {}

    def refuses(self, sound: Sound) -> str | None:
        """Why Label Studio would refuse the upload, or None."""
        if sound.extension not in UPLOAD_EXTENSIONS:
            return (
                f"Label Studio takes no {sound.extension or 'nameless'} uploads: convert it, "
                "or use --local-files."
            )
        # The form around the file counts too.
        if sound.facts.size >= UPLOAD_MAX_BYTES - 4096:
            return "Label Studio takes no uploads of 250 MB: use --local-files, or --split."
        return None

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Look at what earlier runs have uploaded.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        if sounds:
            self._remember(self._request("GET", "file-uploads", params={"all": "true"}))

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Upload what is not there yet, in one request.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached, refuses, or holds other files afterwards than were sent.
        SoundNotFoundError
            A file went away since it was looked at.
        """
        missing = [sound for sound in sounds if self._key(sound) not in self._uploaded]
        if missing:
            self._upload(missing)
        lost = [sound.fname for sound in sounds if self._key(sound) not in self._uploaded]
        if lost:
            raise LabelStudioError(
                f"Label Studio at {self._url} took {', '.join(lost[:3])} but does not list it: "
                "look into its log, then run this again."
            )
        return [self._uploaded[self._key(sound)] for sound in sounds]

    def _upload(self, sounds: Sequence[Sound]) -> None:
        with ExitStack() as open_files:
            # Different field names: of several files under one name, Label Studio keeps the last.
            files = [
                (
                    f"file{number}",
                    (_upload_name(sound), open_files.enter_context(_opened(sound)), _media_type(sound)),
                )
                for number, sound in enumerate(sounds)
            ]
            answer = self._request("POST", "import", params={"commit_to_project": "false"}, files=files)
        ids = answer.get("file_upload_ids") or []
        self._remember(self._request("GET", "file-uploads", params={"ids": json.dumps(ids)}))

    def _remember(self, uploads: Any) -> None:
        prefix = urlsplit(self._url).path.rstrip("/")
        for upload in uploads:
            match = _UPLOADED.search(upload["file"])
            if match:
                # Percent-encoded as Label Studio's own uploads are, in case a file has an odd name.
                address = f"{prefix}/data/{quote(upload['file'])}"
                self._uploaded[match[1], int(upload.get("size") or 0)] = address

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        with explained(self._url):
            answer = httpx.request(
                method,
                f"{self._url}/api/projects/{self._project_id}/{path}",
                headers=self._credentials.headers(),
                timeout=UPLOAD_TIMEOUT,
                **arguments,
            )
        if answer.is_success:
            try:
                return answer.json()
            except ValueError:
                pass
        raise LabelStudioError(
            f"Label Studio at {self._url} answered HTTP {answer.status_code} "
            f"to {method} {path}: {answer.text[:300]}"
        )

    @staticmethod
    def _key(sound: Sound) -> tuple[str, int]:
        return sound.content[:_DIGEST_LETTERS], sound.facts.size


class LocalFiles:
    """Sounds stay where they are, and Label Studio serves them from its document root.

    Parameters
    ----------
    document_root
        ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` of Label Studio, as this machine sees it.
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
        """Why Label Studio would not serve the file, or None."""
        if sound.stretch:
            return "Stretches are cut into files of their own, which are uploaded: leave --local-files out."
        path = sound.path.resolve()
        if not path.is_relative_to(self._root):
            return f"It is not below the document root {self._root}."
        if path.parent == self._root:
            return f"It lies directly in the document root {self._root}; Label Studio serves subfolders only."
        return None

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Make sure that a local storage of the project covers each sound, as serving them needs.

        Raises
        ------
        LabelStudioError
            Label Studio refuses the storage, for example because local files are switched off.
        """
        tops = sorted({sound.path.resolve().relative_to(self._root).parts[0] for sound in sounds})
        with explained(self._url):
            held = [
                Path(s.path)
                for s in self._client.import_storage.local.list(project=self._project_id)
                if s.path
            ]
            for top in tops:
                folder = self._root / top
                if not any(folder.is_relative_to(path) for path in held):
                    self._serve(folder)

    def _serve(self, folder: Path) -> None:
        """Make the storage of one folder, once."""
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
            return [one for one in storages.list(project=self._project_id) if one.path == str(folder)]

        create_one(create, existing, lambda number: storages.delete(id=number))

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Return the addresses under which Label Studio serves the files."""
        relative = (sound.path.resolve().relative_to(self._root).as_posix() for sound in sounds)
        return [f"/data/local-files/?d={quote(path)}" for path in relative]


class Addresses:
    """Sounds stay where they are, and tasks point to them there; that they answer was checked before."""

    batch_files = LOCAL_BATCH_FILES
    batch_bytes = 1 << 62

    def refuses(self, sound: Sound) -> str | None:
        """Why no task can point to the sound, or None."""
        if sound.stretch:
            return "Stretches are cut into files of their own, which are uploaded: leave --as-urls out."
        return None if sound.address else "It has no URL: give --base-url, or upload it."

    def prepare(self, sounds: Sequence[Sound]) -> None:
        """Nothing is to be made ready."""

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        """Return where the sounds are."""
        return [sound.address for sound in sounds]


def _upload_name(sound: Sound) -> str:
    """A name that says what it is, survives Label Studio's cleaning, and fits its 100 letters."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", PurePosixPath(sound.fname).stem)[:40].strip("_") or "sound"
    return f"{stem}-{sound.content[:_DIGEST_LETTERS]}{sound.extension}"


def _opened(sound: Sound) -> BinaryIO:
    try:
        return sound.path.open("rb")
    except OSError as error:
        raise SoundNotFoundError(
            f"{sound.fname} cannot be opened any more ({error.strerror or error}): run this again."
        ) from error


def _media_type(sound: Sound) -> str:
    return mimetypes.guess_type(f"sound{sound.extension}")[0] or "application/octet-stream"

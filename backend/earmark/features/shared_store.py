"""Shared frame store: machines share frames through a bucket, so each sound is encoded once."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from earmark.errors import BucketError
from earmark.features.store import EncodedSound, FrameStore, frames_from_bytes, frames_path, frames_to_bytes
from earmark.settings import Settings
from earmark.storage.atomic_files import share
from earmark.storage.object_storage import BUCKETS, bucket_faults, bucket_files, in_time

log = structlog.get_logger(__name__)

WARN_EVERY_SECONDS = 60.0
TRANSFER_SECONDS = 30.0
"""Longest wait for a bucket; encoding the sound anew takes less, unless it is very long."""
REST_SECONDS = 30.0
"""A bucket that failed is left alone for this long, so that predictions do not wait for it each time."""


def frame_store(settings: Settings) -> FrameStore:
    """Return the frame store of ``FRAMES_URL``: the data folder, a shared folder, or a bucket.

    Raises
    ------
    MissingExtraError
        The library for its kind of bucket is missing.
    """
    url, local = settings.frames_url, settings.data_dir / "frames"
    if url is None:
        return FrameStore(local)
    scheme = urlsplit(url).scheme
    if scheme in BUCKETS:
        return BucketFrames(local, bucket_files(scheme, fail_fast=True), url.partition("://")[2])
    return SharedFolderFrames(Path(url.removeprefix("file://")))


class SharedFolderFrames(FrameStore):
    """Frame store in a folder that several machines mount, whose processes may run as different users."""

    def save(self, sound: EncodedSound, identity: str) -> None:
        """Store with the user's default permissions, unlike what is in the data folder."""
        made_here = not self._folder.exists()  # else its permissions are the operator's
        super().save(sound, identity)
        path = self._path(sound.digest, identity)
        for part in (path, path.parent, path.parent.parent, *([self._folder] if made_here else [])):
            share(part)


class BucketFrames(FrameStore):
    """Frame store with a local folder in front of a bucket (write-through cache).

    Frames are copied from the bucket to the folder when they are first loaded. A bucket that fails is no
    error: each machine encodes for itself then, and those frames stay local.

    Parameters
    ----------
    files
        An fsspec file system.
    prefix
        Bucket and folder in it, without a scheme.
    """

    def __init__(self, folder: Path, files: Any, prefix: str) -> None:
        super().__init__(folder)
        self._files, self._prefix = files, prefix.rstrip("/")
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self._warned_at = -WARN_EVERY_SECONDS

    def load(self, digest: str, identity: str) -> EncodedSound | None:
        """Return the stored sound from the folder, else from the bucket; see ``FrameStore.load``."""
        sound = super().load(digest, identity)
        if sound is not None or self._resting():
            return sound
        place = f"{self._prefix}/{frames_path(digest, identity)}"
        try:
            with bucket_faults(place):
                content = in_time(lambda: self._files.cat_file(place), TRANSFER_SECONDS)
        except FileNotFoundError:
            return None
        except BucketError as error:
            self._rest(error)
            return None
        sound = frames_from_bytes(content, digest, identity)
        if sound is not None:
            copy, save = sound, super().save
            self._try(lambda: save(copy, identity))
        return sound

    def save(self, sound: EncodedSound, identity: str) -> None:
        """Store in the folder and in the bucket; only the folder's failures are raised."""
        try:
            super().save(sound, identity)
        finally:
            self._send(sound, identity)

    def remove(self, digest: str, identity: str) -> None:
        """Delete from the folder and from the bucket.

        Raises
        ------
        BucketError
            The bucket refuses, or cannot be reached.
        """
        super().remove(digest, identity)
        place = f"{self._prefix}/{frames_path(digest, identity)}"
        with suppress(FileNotFoundError), bucket_faults(place):
            self._files.rm_file(place)

    def _send(self, sound: EncodedSound, identity: str) -> None:
        if self._resting():
            return
        place = f"{self._prefix}/{frames_path(sound.digest, identity)}"
        try:
            with bucket_faults(place):
                content = frames_to_bytes(sound, identity)
                in_time(lambda: self._files.pipe_file(place, content), TRANSFER_SECONDS)
        except (BucketError, FileNotFoundError) as error:  # the second: there is no such bucket
            self._rest(error)

    def _resting(self) -> bool:
        with self._lock:
            return time.monotonic() < self._rest_until

    def _rest(self, error: Exception) -> None:
        with self._lock:
            now = time.monotonic()
            self._rest_until = now + REST_SECONDS
            silent = now - self._warned_at < WARN_EVERY_SECONDS
            if not silent:
                self._warned_at = now
        if not silent:
            log.warning(
                "the bucket of FRAMES_URL cannot be used: each machine encodes for itself", detail=str(error)
            )

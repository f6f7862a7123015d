"""Service container of a process: database, frame extractors, encoder and cached heads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from earmark.audio.source import LabelStudioAccess, LocatedSound, SoundSource
from earmark.concurrency.deadline import Deadline
from earmark.encoders import encoder_identity, get_encoder
from earmark.encoders.background_fetch import require_prepared
from earmark.encoders.base import Encoder
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.registry import class_names, spec_of
from earmark.errors import EarmarkError, OutOfTimeError
from earmark.features.extractor import EncodedSound, FrameExtractor
from earmark.features.priority_lock import PriorityLock
from earmark.features.shared_store import frame_store
from earmark.head.model import Head
from earmark.head.version_fallback import answering_version
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control import Control
from earmark.labelstudio.credentials import AccessBook
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache, ensure_dir, keep_private
from earmark.storage.token_cipher import TokenCipher
from earmark.store.database import ANSWER_SECONDS, BACKGROUND_ANSWER_SECONDS, Database
from earmark.store.models import Version
from earmark.store.registry import active_version, load_head, version_name
from earmark.store.sound_errors import remember_fault

log = structlog.get_logger(__name__)

CACHED_HEADS = 64
COMPUTE_SLOTS = 4
"""Sounds of a process that are decoded, encoded or predicted at once; the encoder serves one at a time."""

_Key = TypeVar("_Key")
_Head = TypeVar("_Head")


class Services:
    """Database, frame extractors and heads of one process. Thread-safe; everything is loaded on first use.

    Parameters
    ----------
    background
        Whether interactive predictions have priority over it, and its encoder loads with the first new sound.
    """

    def __init__(self, settings: Settings, background: bool = False) -> None:
        self.settings, self._background = settings, background
        self.cipher = TokenCipher(settings)
        self.database = Database(
            settings.sqlalchemy_url,
            encrypt=self.cipher.encrypt,
            answer_seconds=BACKGROUND_ANSWER_SECONDS if background else ANSWER_SECONDS,
        )
        with ensure_dir(settings.data_dir):
            keep_private(settings.data_dir, 0o700)
        self.access = AccessBook(settings)
        self._source = SoundSource(settings)
        self._frames = frame_store(settings)
        self._extractors: dict[str, FrameExtractor] = {}
        self._compute_slots = threading.BoundedSemaphore(COMPUTE_SLOTS)
        self._priority_lock = PriorityLock(settings.data_dir / "encoding-priority.lock", background)
        self._heads: dict[int, Head] = {}
        self._reported: set[int] = set()
        self._untrained: dict[tuple[str, tuple[Control, ...]], Head | None] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database connections."""
        self.database.close()

    def encoder(self) -> Encoder:
        """Return the encoder, loaded on the first call (which may read or download its weights)."""
        return get_encoder(self.settings, at_once=not self._background)

    def need_encoder_soon(self) -> None:
        """Refuse to wait for a download of the encoder's weights; see ``require_prepared``."""
        require_prepared(self.settings)

    def encoder_identity(self) -> str:
        """Return the encoder's identity, without loading it."""
        return encoder_identity(self.settings)

    def extractor(self) -> FrameExtractor:
        """Return the frame extractor, one for this process: its locks let each sound be encoded once."""
        encoder = self.encoder()
        identity = encoder.identity
        with self._lock:
            if identity not in self._extractors:
                combination = encoder if isinstance(encoder, CombinedEncoder) else None
                self._extractors[identity] = FrameExtractor(
                    self._source,
                    self._frames,
                    identity,
                    self.encoder,
                    self._priority_lock,
                    combination,
                    JsonCache(self.settings.data_dir / "channels"),
                )
            return self._extractors[identity]

    def extract(
        self,
        address: str,
        access: LabelStudioAccess | None,
        deadline: Deadline,
        channel: int | None = None,
    ) -> EncodedSound:
        """Return the frames of a sound, or of one of its channels, and store its errors for the doctor.

        See ``FrameExtractor``. A file with fewer channels gives its mix.
        """
        with self.faults_of(address):
            located = self.extractor().locate(address, access, deadline)
            with self.compute_slot(deadline):
                extractor = self.extractor()
                if channel is not None:
                    channels = extractor.extract_channels(located, address, deadline)
                    if channel < len(channels):
                        return channels[channel]
                return extractor.extract(located, address, deadline)

    def locate(self, address: str, access: LabelStudioAccess | None, deadline: Deadline) -> LocatedSound:
        """Return a sound's local file, fetched if need be; no encoder is loaded."""
        return self._source.locate_in_time(address, access, deadline)

    def frames_fault(self) -> str:
        """Return one sentence on why the last frames could not be stored; empty if they were."""
        return self._frames.fault

    @contextmanager
    def compute_slot(self, deadline: Deadline) -> Iterator[None]:
        """Hold one of `COMPUTE_SLOTS` for work on a sound (semaphore); downloads need none.

        Raises
        ------
        OutOfTimeError
            No slot is free before the deadline.
        """
        if not self._compute_slots.acquire(timeout=deadline.remaining()):
            raise OutOfTimeError("The time of this request is used up: other sounds are being encoded.")
        try:
            yield
        finally:
            self._compute_slots.release()

    @contextmanager
    def faults_of(self, address: str, key: str | None = None, task: int | None = None) -> Iterator[None]:
        """Store and re-raise errors of a sound, for the doctor; `OutOfTimeError` is not stored.

        ``key``, ``task``: the project and its task that point to the sound, where they are known.
        """
        try:
            yield
        except OutOfTimeError:
            raise
        except EarmarkError as error:
            self.remember_fault(address, error, key, task)
            raise

    def remember_fault(
        self, address: str, error: EarmarkError, key: str | None = None, task: int | None = None
    ) -> None:
        """Store why a sound cannot be used; a failing database is only logged."""
        try:
            with self.database.write() as session:
                remember_fault(session, address, error, key, task)
        except SQLAlchemyError as failure:
            log.warning("fault of a sound not stored", detail=str(error), error=str(failure))

    def serving_version(self, project_key: str) -> Version | None:
        """Return the version that serves a project now, read from the database; see ``serving_for``."""
        return self.serving_for(self.active_version(project_key))

    def active_version(self, project_key: str) -> Version | None:
        """Return the version that was activated last, whether its head can be used or not."""
        with self.database.read() as session:
            return active_version(session, project_key, self.encoder_identity())

    def serving_for(self, active: Version | None) -> Version | None:
        """Return the version that serves for an active one: an earlier version if its head is damaged.

        None if nothing was trained, or no head can be read: then the zero-label head serves.
        """
        if active is None:
            return None
        with self._lock:
            if active.id in self._heads:
                return active
        with self.database.read() as session:
            version, fault = answering_version(session, active, self.head)
        with self._lock:
            new = bool(fault) and active.id not in self._reported
            self._reported.update([active.id] if fault else [])
        if new:
            log.error("active version cannot be used", project=active.project_key, detail=fault)
        return version

    def version_name(self, project_key: str) -> str:
        """Return the name of the serving version, or the untrained name, also if the encoder is faulty."""
        try:
            version = self.serving_version(project_key)
        except EarmarkError as error:
            log.warning("encoder cannot be used", reason=error.reason, detail=str(error))
            version = None
        return self.untrained_name() if version is None else version.name

    def untrained_name(self) -> str:
        """Return the version name before any training, also if the encoder's weights are unusable."""
        try:
            encoder = spec_of(self.encoder_identity()).name
        except EarmarkError:  # weights of a fixed encoder are unusable; auto would fall back to another one
            encoder = self.settings.encoder
        return version_name(encoder, 0)

    def head(self, version: Version) -> Head:
        """Return a version's head, from a cache: heads never change."""
        with self._lock:
            head = self._heads.get(version.id)
        if head is None:
            with self.database.read() as session:
                head = Head.from_bytes(load_head(session, version.id))
            with self._lock:
                _cache_put(self._heads, version.id, head)
        return head

    def zero_shot_head(self, controls: tuple[Control, ...]) -> Head | None:
        """Return the head before any training, cached by label config; None if there is none.

        Loads the encoder only if it can tag.

        Raises
        ------
        WeightsError
            The encoder cannot be loaded.
        """
        identity = self.encoder_identity()
        if not controls or not class_names(identity):
            return None
        key = (identity, controls)
        with self._lock:
            if key in self._untrained:
                return self._untrained[key]
        head = zero_shot_head(self.encoder(), controls)
        with self._lock:
            _cache_put(self._untrained, key, head)
        return head

    def head_for(self, version: Version | None, controls: tuple[Control, ...]) -> Head | None:
        """Return the version's head, or without a version the zero-shot head; raises as these do."""
        return self.head(version) if version is not None else self.zero_shot_head(controls)


def _cache_put(cache: dict[_Key, _Head], key: _Key, value: _Head) -> None:
    """Add to a cache of `CACHED_HEADS`, evicting the oldest entries (FIFO)."""
    while len(cache) >= CACHED_HEADS:
        cache.pop(next(iter(cache)))
    cache[key] = value

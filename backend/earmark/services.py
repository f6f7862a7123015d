"""The parts of the house, put together once for a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from earmark.audio.source import LabelStudioAccess, SoundSource
from earmark.concurrency.deadline import Deadline
from earmark.encoders import encoder_identity, get_encoder
from earmark.encoders.background_fetch import need_prepared
from earmark.encoders.base import Encoder
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.registry import class_names, spec_of
from earmark.errors import EarmarkError, OutOfTimeError
from earmark.features.extractor import FrameExtractor, Sound
from earmark.features.priority_lock import PriorityLock
from earmark.features.shared_store import frame_store
from earmark.head.model import Head
from earmark.head.version_fallback import answering_version
from earmark.head.zero_shot import zero_label_head
from earmark.labels.controls import Control
from earmark.labelstudio.credentials import AccessBook
from earmark.settings import Settings
from earmark.storage.atomic_files import keep_private
from earmark.storage.token_cipher import TokenCipher
from earmark.store.database import Database
from earmark.store.models import Version
from earmark.store.registry import active_version, load_head, version_name
from earmark.store.sound_errors import remember_fault

log = structlog.get_logger(__name__)

CACHED_HEADS = 64
COMPUTE_SLOTS = 4
"""Sounds of one process that are decoded, encoded or predicted at a time; the encoder itself takes turns."""

_Key = TypeVar("_Key")
_Head = TypeVar("_Head")


class Services:
    """Database, frame extractors and heads of one process. Thread-safe; nothing is loaded before it is used.

    Parameters
    ----------
    background
        Whether interactive predictions encode before it, and its encoder starts with the first new sound.
    """

    def __init__(self, settings: Settings, background: bool = False) -> None:
        self.settings, self._background = settings, background
        self.cipher = TokenCipher(settings)
        self.database = Database(settings.sqlalchemy_url, encrypt=self.cipher.encrypt)
        keep_private(settings.data_dir, 0o700)
        self.access = AccessBook(settings)
        self._source = SoundSource(settings)
        self._frames = frame_store(settings)
        self._extractors: dict[str, FrameExtractor] = {}
        self._compute_slots = threading.BoundedSemaphore(COMPUTE_SLOTS)
        self._way = PriorityLock(settings.data_dir / "hearing.lock", background)
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
        """The encoder, loaded on the first call (this may read or fetch its weights)."""
        return get_encoder(self.settings, at_once=not self._background)

    def need_encoder_soon(self) -> None:
        """Refuse to wait for a download of the encoder's weights; see ``need_prepared``."""
        need_prepared(self.settings)

    def encoder_identity(self) -> str:
        """The encoder's identity, without loading it."""
        return encoder_identity(self.settings)

    def extractor(self) -> FrameExtractor:
        """The frame extractor, one for this process: its locks have each sound encoded once."""
        encoder = self.encoder()
        identity = encoder.identity
        with self._lock:
            if identity not in self._extractors:
                combination = encoder if isinstance(encoder, CombinedEncoder) else None
                self._extractors[identity] = FrameExtractor(
                    self._source, self._frames, identity, self.encoder, self._way, combination
                )
            return self._extractors[identity]

    def extract(self, address: str, access: LabelStudioAccess | None, deadline: Deadline) -> Sound:
        """Return the frames of a sound, and store its errors for the doctor; see ``FrameExtractor``."""
        with self.faults_of(address):
            located = self.extractor().locate(address, access, deadline)
            with self.compute_slot(deadline):
                return self.extractor().extract(located, address, deadline)

    def frames_fault(self) -> str:
        """One sentence on why the last frames could not be stored; empty where they were."""
        return self._frames.fault

    @contextmanager
    def compute_slot(self, deadline: Deadline) -> Iterator[None]:
        """Hold one of a few slots for work on a sound; waiting for a sound to arrive takes none.

        Raises
        ------
        OutOfTimeError
            None is free before the deadline.
        """
        if not self._compute_slots.acquire(timeout=deadline.remaining()):
            raise OutOfTimeError("The time of this request is used up: other sounds are being encoded.")
        try:
            yield
        finally:
            self._compute_slots.release()

    @contextmanager
    def faults_of(self, address: str) -> Iterator[None]:
        """Store errors of a sound for the doctor, and raise them; a lack of time is none of them."""
        try:
            yield
        except OutOfTimeError:
            raise
        except EarmarkError as error:
            self.remember_fault(address, error)
            raise

    def remember_fault(self, address: str, error: EarmarkError) -> None:
        """Store why a sound cannot be used; a database that takes nothing spoils no answer."""
        try:
            with self.database.write() as session:
                remember_fault(session, address, error)
        except SQLAlchemyError as failure:
            log.warning("fault of a sound not stored", detail=str(error), error=str(failure))

    def sound_path(self, address: str, access: LabelStudioAccess | None) -> Path:
        """The file of a sound that was fetched before; errors are those of ``SoundSource.locate``."""
        return self._source.locate(address, access, fetch=False).path

    def active(self, project_key: str) -> Version | None:
        """The version that answers for a project now, read anew each time; see ``answering``."""
        return self.answering(self.activated(project_key))

    def activated(self, project_key: str) -> Version | None:
        """The version that was made active last, whether its head can be used or not."""
        with self.database.read() as session:
            return active_version(session, project_key, self.encoder_identity())

    def answering(self, active: Version | None) -> Version | None:
        """The version that answers where one is active: an earlier one where its head is damaged.

        None where nothing was trained, or nothing of it can be read: then the untrained start answers.
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
        """Name of that version, or of the untrained start, which is all that a faulty encoder has."""
        try:
            version = self.active(project_key)
        except EarmarkError as error:
            log.warning("encoder cannot be used", reason=error.reason, detail=str(error))
            version = None
        return self.untrained_name() if version is None else version.name

    def untrained_name(self) -> str:
        """Name under which the encoder answers before any training, also where its weights are no good."""
        try:
            encoder = spec_of(self.encoder_identity()).name
        except EarmarkError:  # its weights are no good, which auto would not have minded
            encoder = self.settings.encoder
        return version_name(encoder, 0)

    def head(self, version: Version) -> Head:
        """A version's head. Heads never change, so a few are kept in memory."""
        with self._lock:
            head = self._heads.get(version.id)
        if head is None:
            with self.database.read() as session:
                head = Head.from_bytes(load_head(session, version.id))
            with self._lock:
                _keep(self._heads, version.id, head)
        return head

    def zero_label_head(self, controls: tuple[Control, ...]) -> Head | None:
        """The head before any training, built once for a label config; None where there is none.

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
        head = zero_label_head(self.encoder(), controls)
        with self._lock:
            _keep(self._untrained, key, head)
        return head

    def head_for(self, version: Version | None, controls: tuple[Control, ...]) -> Head | None:
        """The head that answers: the version's, or the one before any training; errors are its own."""
        return self.head(version) if version is not None else self.zero_label_head(controls)


def _keep(cache: dict[_Key, _Head], key: _Key, value: _Head) -> None:
    """Add to a cache, out of which the oldest goes."""
    while len(cache) >= CACHED_HEADS:
        cache.pop(next(iter(cache)))
    cache[key] = value

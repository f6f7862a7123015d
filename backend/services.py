"""The parts of the house, put together once for a process."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from backend.audio.source import SoundSource
from backend.embeddings import Ear, FrameStore
from backend.encoders import encoder_identity, get_encoder
from backend.encoders.base import Encoder
from backend.head.model import Head
from backend.labelstudio.access import AccessBook
from backend.settings import Settings
from backend.store.database import Database
from backend.store.registry import active_version, load_head, version_name
from backend.store.tables import Version

CACHED_HEADS = 64


class Services:
    """Database, ears and heads of one process. Thread-safe; nothing is loaded before it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.sqlalchemy_url)
        self.access = AccessBook(settings)
        self._source = SoundSource(settings)
        self._frames = FrameStore(settings.data_dir / "frames")
        self._heads: dict[int, Head] = {}
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
        return get_encoder(self.settings)

    def encoder_identity(self) -> str:
        """The encoder's identity, without loading it."""
        return encoder_identity(self.settings)

    def ear(self) -> Ear:
        """What turns an address into frames, stored or fresh."""
        return Ear(self._source, self._frames, self.encoder().identity, self.encoder)

    def active(self, project_key: str) -> Version | None:
        """The version that answers for a project now, read anew each time."""
        with self.database.read() as session:
            return active_version(session, project_key, self.encoder_identity())

    def version_name(self, project_key: str) -> str:
        """Name of that version, or of the untrained start."""
        version = self.active(project_key)
        if version is not None:
            return version.name
        return version_name(self.encoder_identity().partition("-")[0], 0)

    def head(self, version: Version) -> Head:
        """A version's head. Heads never change, so a few are kept in memory."""
        with self._lock:
            head = self._heads.get(version.id)
        if head is None:
            with self.database.read() as session:
                head = Head.from_bytes(load_head(session, version.id))
            with self._lock:
                while len(self._heads) >= CACHED_HEADS:
                    self._heads.pop(next(iter(self._heads)))
                self._heads[version.id] = head
        return head

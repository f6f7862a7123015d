"""Frame extractor: encodes each sound once, and reads its stored frames from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import read_blocks
from earmark.audio.source import LabelStudioAccess, LocatedSound, SoundSource
from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.concurrency.fair_pool import Ticket
from earmark.encoders.base import Encoder
from earmark.errors import OutOfTimeError, SoundNotFetchedError, WeightsError
from earmark.features.priority_lock import PriorityLock
from earmark.features.store import FrameStore, Sound

__all__ = ["FrameExtractor", "FrameStore", "Sound"]

YIELD_EVERY_SECONDS = 30
"""Of sound; an encoder takes a minute or so at a time."""
_LOCKS = 64


class FrameExtractor:
    """Frame extractor: an address in, a ``Sound`` out; each content is decoded and encoded once.

    One for a process, as its locks see to that. Thread-safe.

    Parameters
    ----------
    source
        Finds and fetches files.
    store
        Keeps frames.
    identity
        The encoder's identity; a stored sound is returned without the encoder being built.
    encoder
        Returns the encoder when something new must be encoded.
    way
        Priority lock between processes; None for a process alone.
    """

    def __init__(
        self,
        source: SoundSource,
        store: FrameStore,
        identity: str,
        encoder: Callable[[], Encoder],
        way: PriorityLock | None = None,
    ) -> None:
        self._source, self._store, self._way = source, store, way
        self.identity = identity
        self._encoder = encoder
        # A bounded number of locks; two sounds that share one only wait, as they do for the encoder.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def extract_address(
        self, address: str, access: LabelStudioAccess | None, deadline: Deadline = NO_DEADLINE
    ) -> Sound:
        """Return the frames of the sound at an address in a task.

        Raises
        ------
        SoundNotFoundError, SoundUnreachableError, LabelStudioError
            See ``SoundSource.locate``.
        SoundUnreadableError
            See ``read_blocks``.
        WeightsError
            The encoder cannot be had, or is not the one whose identity was promised.
        OutOfTimeError
            The deadline passed; fetching goes on in the background, encoding does not.
        """
        return self.extract(self.locate(address, access, deadline), address, deadline)

    def locate(self, address: str, access: LabelStudioAccess | None, deadline: Deadline) -> LocatedSound:
        """Return the file of a sound, fetched by the pool where it is not here; same errors."""
        located = self.located(address, access)
        if located is not None:
            return located
        ticket = self.request(address, access)
        try:
            return self._source.pool.result(ticket, deadline)
        finally:
            self.release(ticket)

    def located(self, address: str, access: LabelStudioAccess | None) -> LocatedSound | None:
        """Return the file of a sound that is here and was read before, at once; None for any other."""
        try:
            return self._source.locate(address, access, fetch=False)
        except SoundNotFetchedError:
            return None

    def request(self, address: str, access: LabelStudioAccess | None) -> Ticket[LocatedSound]:
        """Have a sound fetched, or a new file's content read, by the pool; ``release`` it in the end."""
        return self._source.request(address, access)

    def release(self, ticket: Ticket[LocatedSound]) -> None:
        """Wait no longer for what was requested; see ``FairPool.release``."""
        self._source.pool.release(ticket)

    def extract(self, located: LocatedSound, address: str, deadline: Deadline = NO_DEADLINE) -> Sound:
        """Return the frames of a file, stored or fresh; ``address`` names it in messages."""
        stored = self._store.load(located.digest, self.identity)
        if stored is not None:
            return stored
        with _held(self._locks[int(located.digest[:8], 16) % _LOCKS], deadline):
            stored = self._store.load(located.digest, self.identity)  # another thread may have been first
            if stored is not None:
                return stored
            sound = self._encode(located.path, located.digest, _name_in(address), deadline)
            self._store.keep(sound, self.identity)
            return sound

    def holds(self, located: LocatedSound) -> bool:
        """Whether the frames of a file are stored on this machine."""
        return self._store.holds(located.digest, self.identity)

    def _encode(self, path: Path, digest: str, name: str, deadline: Deadline) -> Sound:
        encoder = self._encoder()
        if encoder.identity != self.identity:
            raise WeightsError(
                f"The encoder is now {encoder.identity} and no longer {self.identity}: restart "
                "Earmark, so that everything uses the same one."
            )
        samples = 0

        def counted() -> Iterator[NDArray[np.float32]]:
            nonlocal samples
            asked_at = -encoder.sample_rate * YIELD_EVERY_SECONDS
            for block in read_blocks(path, encoder.sample_rate, name=name):
                deadline.check()
                if self._way and samples - asked_at >= encoder.sample_rate * YIELD_EVERY_SECONDS:
                    self._way.yield_priority()
                    asked_at = samples
                samples += block.size
                yield block

        with self._way.priority() if self._way else nullcontext():
            frames = encoder.frames(counted())
        return Sound(digest, samples / encoder.sample_rate, frames)


@contextmanager
def _held(lock: threading.Lock, deadline: Deadline) -> Iterator[None]:
    """Hold a lock while the block runs; OutOfTimeError where it is not free before the deadline."""
    remaining = deadline.remaining()
    if not lock.acquire(timeout=-1 if remaining is None else remaining):
        raise OutOfTimeError("The time of this request is used up: another one encodes the same sound.")
    try:
        yield
    finally:
        lock.release()


def _name_in(address: str) -> str:
    """The file name that people know a sound by; the file on disk may be named by its digest."""
    parts = urlsplit(address)
    path = parts.query if parts.path.rstrip("/").endswith("/data/local-files") else parts.path
    return unquote(path).rpartition("/")[2] or address

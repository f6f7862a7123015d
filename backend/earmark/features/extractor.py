"""Frame extractor: encodes each sound once, and reads its stored frames from then on.

Frames of a combination of encoders are stored for each of them, under its own identity, and laid side by
side when they are read. So encoders that are used alone as well, or in several combinations, encode a
sound once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earmark.audio.addresses import file_name
from earmark.audio.decode import open_sound
from earmark.audio.resampling import resample_blocks
from earmark.audio.source import LabelStudioAccess, LocatedSound, SoundSource
from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.concurrency.fair_pool import Ticket
from earmark.encoders.base import Encoder
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.fan_out import fan_out
from earmark.errors import OutOfTimeError, SoundNotFetchedError, WeightsError
from earmark.features.band_levels import BandLevelMeter
from earmark.features.priority_lock import PriorityLock
from earmark.features.store import EncodedSound, FrameStore
from earmark.storage.atomic_files import JsonCache

__all__ = ["EncodedSound", "FrameExtractor", "FrameStore"]

YIELD_EVERY_SECONDS = 30
"""Seconds of sound after which background encoding gives way; an encoder takes a minute or so at a time."""
_LOCKS = 64
MOST_CHANNELS = 8
"""Files with more channels are recordings of arrays: their channels hold the same sounds."""


class FrameExtractor:
    """Frame extractor: an address in, an ``EncodedSound`` out; each content is decoded and encoded once.

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
    priority_lock
        Priority lock between processes; None for a process alone.
    combination
        The encoder where it is a combination, whose frames are stored for each member; else None.
    channel_counts
        Stores how many channels of a file are told apart, so that it need not be opened for that again.
    """

    def __init__(
        self,
        source: SoundSource,
        store: FrameStore,
        identity: str,
        encoder: Callable[[], Encoder],
        priority_lock: PriorityLock | None = None,
        combination: CombinedEncoder | None = None,
        channel_counts: JsonCache | None = None,
    ) -> None:
        self._source, self._store, self._priority_lock = source, store, priority_lock
        self.identity = identity
        self._encoder, self._combination, self._channel_counts = encoder, combination, channel_counts
        self._meter = BandLevelMeter()
        encoders = (identity,) if combination is None else tuple(m.identity for m in combination.members)
        self._stored_as = (*encoders, self._meter.identity)
        # A bounded number of locks; two sounds that share one only wait, as they do for the encoder.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def extract_address(
        self, address: str, access: LabelStudioAccess | None, deadline: Deadline = NO_DEADLINE
    ) -> EncodedSound:
        """Return the frames of the sound at an address in a task.

        Raises
        ------
        SoundNotFoundError, SoundUnreachableError, LabelStudioError
            See ``SoundSource.locate``.
        SoundUnreadableError
            See ``read_blocks`` of ``audio/decode.py``.
        WeightsError
            The encoder cannot be had, or is not the one whose identity was promised.
        OutOfTimeError
            The deadline passed; fetching goes on in the background, encoding does not.
        """
        return self.extract(self.locate(address, access, deadline), address, deadline)

    def locate(self, address: str, access: LabelStudioAccess | None, deadline: Deadline) -> LocatedSound:
        """Return a sound's local file, fetched by the pool if need be; errors as in ``extract_address``."""
        return self._source.locate_in_time(address, access, deadline)

    def find_local(self, address: str, access: LabelStudioAccess | None) -> LocatedSound | None:
        """Return a sound's local file at once if it was read before, else None."""
        try:
            return self._source.locate(address, access, fetch=False)
        except SoundNotFetchedError:
            return None

    def request(self, address: str, access: LabelStudioAccess | None) -> Ticket[LocatedSound]:
        """Queue a sound in the pool, to be fetched or hashed; ``release`` the ticket in the end."""
        return self._source.request(address, access)

    def release(self, ticket: Ticket[LocatedSound]) -> None:
        """Give up a ticket; see ``FairPool.release``."""
        self._source.pool.release(ticket)

    def extract(
        self,
        located: LocatedSound,
        address: str,
        deadline: Deadline = NO_DEADLINE,
        channel: int | None = None,
    ) -> EncodedSound:
        """Return the frames of a file, stored or fresh.

        Parameters
        ----------
        address
            Names the file in messages.
        channel
            Which channel of it, from 0; None for the mix of all.
        """
        stored = self._load(located.digest, channel)
        if stored is not None:
            return stored
        with _held(self._locks[int(located.digest[:8], 16) % _LOCKS], deadline):
            return self._encode_absent(located, file_name(address), deadline, channel)

    def extract_channels(
        self, located: LocatedSound, address: str, deadline: Deadline = NO_DEADLINE
    ) -> tuple[EncodedSound, ...]:
        """Return the frames of each channel of a file, in their order; errors as in ``extract_address``.

        Empty where it has one channel, more than `MOST_CHANNELS`, or channels that are all the same.
        """
        key = f"{self.identity} {located.digest}"
        stored = self._channel_counts.get(key).get("distinct") if self._channel_counts else None
        if isinstance(stored, int):
            return tuple(self.extract(located, address, deadline, channel) for channel in range(stored))
        with closing(open_sound(located.path, name=file_name(address))) as sound:
            count = sound.channels if 1 < sound.channels <= MOST_CHANNELS else 0
        sounds = tuple(self.extract(located, address, deadline, channel) for channel in range(count))
        if all(np.array_equal(sounds[0].frames, other.frames) for other in sounds[1:]):
            sounds = ()
        if self._channel_counts:
            with suppress(OSError):  # the file is opened again the next time
                self._channel_counts.put(key, distinct=len(sounds))
        return sounds

    def holds(self, located: LocatedSound) -> bool:
        """Whether the frames of a file are stored on this machine."""
        return all(self._store.holds(located.digest, identity) for identity in self._stored_as)

    def _load(self, digest: str, channel: int | None) -> EncodedSound | None:
        """Load the stored sound; None if frames of an encoder, or band levels, are missing."""
        sounds: list[EncodedSound] = []
        for identity in self._stored_as:
            sound = self._store.load(digest, _of_channel(identity, channel))
            if sound is None:
                return None
            sounds.append(sound)
        return replace(self._joined(sounds), channel=channel)

    def _joined(self, sounds: Sequence[EncodedSound]) -> EncodedSound:
        """Assemble one sound from those of all members; the highest sample rate counts its duration."""
        *encoded, levels = sounds
        if self._combination is None:
            return replace(encoded[0], levels=levels.frames)
        rates = [member.sample_rate for member in self._combination.members]
        frames = self._combination.assemble([sound.frames for sound in encoded])
        duration = encoded[rates.index(max(rates))].duration
        return EncodedSound(encoded[0].digest, duration, frames, levels.frames)

    def _encode_absent(
        self, located: LocatedSound, name: str, deadline: Deadline, channel: int | None
    ) -> EncodedSound:
        """Encode with those encoders whose frames are missing, measure missing levels, and store all that."""
        # Another thread may have been first, with all of them or with some
        sounds = {
            identity: self._store.load(located.digest, _of_channel(identity, channel))
            for identity in self._stored_as
        }
        members: list[Encoder | BandLevelMeter] = [self._meter]
        if any(sounds[identity] is None for identity in self._stored_as[:-1]):
            members += self._members()  # not for levels alone: an encoder takes seconds to build
        absent = [member for member in members if sounds[member.identity] is None]
        encoded = self._encode(located, absent, name, deadline, channel) if absent else []
        for member, sound in zip(absent, encoded, strict=True):
            self._store.try_save(sound, _of_channel(member.identity, channel))
            sounds[member.identity] = sound
        joined = self._joined([sound for sound in sounds.values() if sound is not None])
        return replace(joined, channel=channel)

    def _members(self) -> Sequence[Encoder]:
        """Return the encoder, or the members of the combination.

        Raises
        ------
        WeightsError
            The encoder is not the one whose identity was promised.
        """
        encoder = self._encoder()
        if encoder.identity != self.identity:
            raise WeightsError(
                f"The encoder is now {encoder.identity} and no longer {self.identity}: restart "
                "Earmark, so that everything uses the same one."
            )
        return (encoder,) if self._combination is None else self._combination.members

    def _encode(
        self,
        located: LocatedSound,
        encoders: Sequence[Encoder | BandLevelMeter],
        name: str,
        deadline: Deadline,
        channel: int | None,
    ) -> list[EncodedSound]:
        """Decode a file once, and encode it with each encoder, or measure it, at its own sample rate."""

        def encode(encoder: Encoder | BandLevelMeter, blocks: Iterable[NDArray[np.float32]]) -> EncodedSound:
            samples = 0

            def counted() -> Iterator[NDArray[np.float32]]:
                nonlocal samples
                for block in resample_blocks(blocks, rate, encoder.sample_rate, name=name):
                    deadline.check()
                    samples += block.size
                    yield block

            frames = encoder.frames(counted())
            return EncodedSound(located.digest, samples / encoder.sample_rate, frames)

        sound = open_sound(located.path, name=name, channel=channel)
        rate, native = sound.rate, sound.blocks()
        with (
            closing(sound),
            closing(native),
            self._priority_lock.priority() if self._priority_lock else nullcontext(),
        ):
            blocks = self._paced(native, rate)
            if len(encoders) == 1:
                return [encode(encoders[0], blocks)]
            return fan_out(blocks, [partial(encode, encoder) for encoder in encoders])

    def _paced(self, blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks; in the background, yield priority to predictions now and then."""
        samples, asked_at = 0, -rate * YIELD_EVERY_SECONDS
        for block in blocks:
            if self._priority_lock and samples - asked_at >= rate * YIELD_EVERY_SECONDS:
                self._priority_lock.yield_priority()
                asked_at = samples
            samples += block.size
            yield block


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


def _of_channel(identity: str, channel: int | None) -> str:
    """Return what the frames of one channel are stored as; those of the mix bear the identity alone."""
    return identity if channel is None else f"{identity}.channel{channel}"

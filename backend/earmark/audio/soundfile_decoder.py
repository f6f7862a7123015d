"""libsndfile decoder (soundfile): uncompressed formats, and what FFmpeg does not read."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from earmark.audio.decode_limit import DecodeLimit
from earmark.audio.decoder import Blocks
from earmark.audio.faults import HIGHEST_RATE, LOWEST_RATE, damaged, not_sound

_COMPRESSED = ("FLAC", "OGG", "MP3")


class SoundfileDecoder:
    """Decoder of one file; see ``earmark.audio.decoder.Decoder``.

    Raises
    ------
    SoundUnreadableError
        libsndfile does not support its format.
    """

    inserted_seconds = 0.0

    def __init__(self, path: Path, shown: str) -> None:
        self._shown = shown
        self._limit = DecodeLimit(path, shown)
        try:
            with self._limit:
                # By descriptor, because soundfile treats a name that ends in .raw as headerless samples.
                self._handle = soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raise not_sound(shown) from error
        self.rate: int = self._handle.samplerate
        self.channels: int = self._handle.channels
        self.header_seconds: float | None = self._handle.frames / max(1, self.rate)
        plausible = LOWEST_RATE <= self.rate <= HIGHEST_RATE
        if self._handle.frames <= 0 or not plausible or self._frames_unknown(path):
            self._handle.close()
            raise not_sound(shown)

    @property
    def compressed(self) -> bool:
        """Whether it is in a format whose time stamps and damage only FFmpeg reports."""
        return str(self._handle.format) in _COMPRESSED

    def _frames_unknown(self, path: Path) -> bool:
        """Whether libsndfile counts more frames than any format could hold in the file's bytes."""
        return int(self._handle.frames) > path.stat().st_size * 65536

    def measured_seconds(self) -> float:
        """Return the duration by the header, which libsndfile has compared with the file's bytes."""
        return int(self._handle.frames) / self.rate

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def blocks(self, block_seconds: float) -> Blocks:
        """Yield float32 ``[n, channels]``, and close the file."""
        size, done = max(1, int(block_seconds * self.rate)), 0
        with self._handle:
            while True:
                self._limit.check()
                try:
                    with self._limit:
                        block = self._handle.read(size, dtype="float32", always_2d=True)
                except (soundfile.SoundFileError, MemoryError, ValueError) as error:
                    raise damaged(self._shown, done / self.rate) from error
                if not len(block):
                    return
                done += len(block)
                yield block

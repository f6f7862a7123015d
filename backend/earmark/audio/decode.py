"""Streaming audio decoder to mono float32, in step with what a browser plays.

Uncompressed formats go to libsndfile, all others to FFmpeg (PyAV), and what one of them does not read or
breaks off to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from earmark.audio.channels import Downmix
from earmark.audio.decoder import Blocks, Decoder
from earmark.audio.faults import checked_rate
from earmark.audio.ffmpeg_decoder import FfmpegDecoder
from earmark.audio.resampling import resample_blocks
from earmark.audio.soundfile_decoder import SoundfileDecoder
from earmark.errors import SoundNotFoundError, SoundUnreadableError

BLOCK_SECONDS = 2.0
"""Length of a decoded block; bounds memory, does not change the samples."""
HEADER_TOLERANCE_SECONDS = 0.1
"""A header whose duration differs by more from what was decoded is reported."""

_COMPRESSED_MAGIC = (b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SoundInfo:
    """Format of a sound file, from its header or, where that is not reliable, from its packets."""

    sample_rate: int
    channels: int
    duration_seconds: float


class Decoding:
    """A sound being decoded: its format, its blocks, and then what was found.

    Attributes
    ----------
    rate
        Samples per second of its blocks.
    channels
        Of the file.
    header_seconds
        Duration by the header; None where it has none.
    seconds
        Decoded so far, with inserted silence.
    inserted_seconds
        Silence inserted so far for late starts, gaps in time stamps, and damage.
    """

    def __init__(self, path: Path, shown: str, channel: int | None) -> None:
        self._path, self._shown, self._channel = path, shown, channel
        self._decoder, self._other = _open(path, shown)
        self.rate, self.channels = self._decoder.rate, self._decoder.channels
        self.header_seconds = self._decoder.header_seconds
        self.seconds = 0.0
        self.inserted_seconds = 0.0
        try:
            checked_rate(self.rate, shown)
        except SoundUnreadableError:
            self._decoder.close()
            raise

    @property
    def remark(self) -> str:
        """What differs from the header once all is decoded, in sentences; empty if nothing does."""
        parts: list[str] = []
        header = self.header_seconds
        if header is not None and abs(header - self.seconds) > HEADER_TOLERANCE_SECONDS:
            parts.append(f"Its header says {header:.1f} s, {self.seconds:.1f} s were decoded.")
        if self.inserted_seconds >= HEADER_TOLERANCE_SECONDS:
            parts.append(f"{self.inserted_seconds:.1f} s are missing in it and are taken as silence.")
        return " ".join(parts)

    def close(self) -> None:
        """Close the file, of which nothing more is decoded."""
        self._decoder.close()

    def blocks(self, block_seconds: float = BLOCK_SECONDS) -> Blocks:
        """Yield float32 ``[n]``, mono, n >= 1, at ``rate``; see ``read_blocks``."""
        downmix = Downmix(self.rate, self._channel)
        with closing(self.channel_blocks(block_seconds)) as blocks:
            for block in blocks:
                mono = downmix.mix(block)
                if mono.size:
                    yield mono
        rest = downmix.rest()
        if rest.size:
            yield rest
        if self.remark:
            log.info("sound differs from its header", sound=self._shown, detail=self.remark)

    def channel_blocks(self, block_seconds: float = BLOCK_SECONDS) -> Blocks:
        """Yield float32 ``[n, channels]`` as decoded; where one decoder ends too early, the other goes on."""
        samples = 0
        for block in self._decoder.blocks(block_seconds):
            samples += len(block)
            self.seconds = samples / self.rate
            self.inserted_seconds = self._decoder.inserted_seconds
            yield block
        header = self.header_seconds
        if header is None or header - self.seconds <= HEADER_TOLERANCE_SECONDS:
            return
        try:
            other = self._other()
        except SoundUnreadableError:
            return
        with closing(other), closing(other.blocks(block_seconds)) as blocks:
            if other.rate != self.rate:
                return
            skipped = 0
            try:
                for block in blocks:
                    rest = block[max(0, samples - skipped) :]
                    skipped += min(len(block), samples - skipped)
                    if len(rest):
                        self.seconds += len(rest) / self.rate
                        yield rest
            except SoundUnreadableError:
                return


def probe(path: Path, *, name: str | None = None) -> SoundInfo:
    """Return the format of a sound without decoding it.

    The duration is counted in packets where the header does not tell it reliably; it may differ by some
    frames from what is decoded.

    Parameters
    ----------
    path
        The file.
    name
        Name of the file in messages; ``path.name`` when None.

    Raises
    ------
    SoundNotFoundError
        There is no such file.
    SoundUnreadableError
        The file is empty, is not sound, or holds no samples.
    """
    shown = name or path.name
    decoder, _ = _open(path, shown)
    with closing(decoder):
        rate = checked_rate(decoder.rate, shown)
        measured, header = decoder.measured_seconds(), decoder.header_seconds
        exact = header is not None and abs(header - measured) <= HEADER_TOLERANCE_SECONDS
        seconds = header if header is not None and exact else measured
    return SoundInfo(rate, decoder.channels, seconds)


def read_blocks(
    path: Path, sample_rate: int, block_seconds: float = BLOCK_SECONDS, *, name: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """Decode a file as a stream of consecutive blocks, in memory independent of its length.

    The channels are averaged (``earmark.audio.channels``: where they cancel out, the louder one is taken),
    then resampled with soxr (HQ) as one stream, so the samples do not depend on the block length. Integer
    samples of every width are scaled to full scale 1.0; float samples are unchanged, except that NaN and
    infinite ones become 0 and all are clipped to ±``resampling.LOUDEST``. Nothing is trimmed at either end,
    except the encoder delay that the format itself marks as not part of the sound. Where time stamps begin
    late, have gaps, or packets are lost, silence is inserted (``earmark.audio.timeline``).

    Parameters
    ----------
    path
        The file.
    sample_rate
        Output samples per second.
    block_seconds
        Approximate length of a block in seconds.
    name
        Name of the file in messages; ``path.name`` when None.

    Yields
    ------
    float32 ``[n]``, n >= 1, mono, at ``sample_rate``; at least one block.

    Raises
    ------
    SoundNotFoundError
        There is no such file. Raised, like the next, when the first block is requested.
    SoundUnreadableError
        The file is empty, is not sound, is damaged so that what follows is out of step, holds no samples,
        or takes far longer to decode than its size explains.
    """
    sound = open_sound(path, name=name)
    with closing(sound), closing(sound.blocks(block_seconds)) as native:
        yield from resample_blocks(native, sound.rate, sample_rate, name=name or path.name)


def read(path: Path, sample_rate: int, *, name: str | None = None) -> NDArray[np.float32]:
    """Decode a whole file to float32 ``[n]``, mono, at ``sample_rate``; see ``read_blocks``."""
    return np.concatenate(list(read_blocks(path, sample_rate, name=name)))


def open_sound(path: Path, *, name: str | None = None, channel: int | None = None) -> Decoding:
    """Open a file, to be decoded at its own sample rate, or raise as ``read_blocks`` does.

    Parameters
    ----------
    path, name
        As in ``read_blocks``.
    channel
        Which channel to decode, from 0; None for the mix of all.
    """
    return Decoding(path, name or path.name, channel)


def _open(path: Path, shown: str) -> tuple[Decoder, Callable[[], Decoder]]:
    """Open with the decoder for a file's format; also return how to open it with the other one."""
    try:
        if not path.is_file():
            raise SoundNotFoundError(f"There is no file {shown}: check that it was not moved or deleted.")
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise SoundUnreadableError(
            f"{shown} cannot be opened ({error.strerror}): check its permissions."
        ) from error
    if not head:
        raise SoundUnreadableError(f"{shown} is empty: upload or export the sound again.")

    def soundfile() -> SoundfileDecoder:
        return SoundfileDecoder(path, shown)

    def ffmpeg() -> FfmpegDecoder:
        return FfmpegDecoder(path, shown)

    frames = head[0] == 0xFF and head[1:2] >= b"\xe0"  # the sync word of MPEG audio
    if not (frames or head.startswith(_COMPRESSED_MAGIC) or head[4:8] == b"ftyp"):
        try:
            decoder = soundfile()
        except SoundUnreadableError:
            pass  # FFmpeg may support its format
        else:
            if not decoder.compressed:
                return decoder, ffmpeg
            decoder.close()
    try:
        return ffmpeg(), soundfile
    except SoundUnreadableError as error:
        try:
            return soundfile(), ffmpeg
        except SoundUnreadableError:
            raise error from None

"""Streaming audio decoder to mono float32: libsndfile, or FFmpeg (PyAV) for what it cannot read."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.audio.faults import HIGHEST_RATE, LOWEST_RATE, checked_rate, damaged, no_samples, not_sound
from earmark.audio.resampling import finite, resample_blocks
from earmark.errors import SoundNotFoundError, SoundUnreadableError

BLOCK_SECONDS = 10.0
"""Length of a decoded block; bounds memory, does not change the samples."""

_Blocks = Generator[NDArray[np.float32], None, None]
_AV_FAULTS = (av.FFmpegError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class SoundInfo:
    """Format of a sound file, from its header or, where that is incomplete, from decoding it."""

    sample_rate: int
    channels: int
    duration_seconds: float


def probe(path: Path, *, name: str | None = None) -> SoundInfo:
    """Return the format of a sound without decoding it, unless its header lacks the duration.

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
    handle = _open_soundfile(path, shown)
    if handle is not None:
        with handle:
            return SoundInfo(handle.samplerate, handle.channels, handle.frames / handle.samplerate)
    with _open_av(path, shown) as container:
        stream = container.streams.audio[0]
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        else:
            seconds = (container.duration or 0) / av.time_base
    if rate <= 0 or channels <= 0 or seconds <= 0:  # such as WebM from a browser's recorder
        frames = 0
        for rate, channels, mono in _av_frames(path, shown):  # noqa: B007
            frames += mono.size
        if frames == 0:
            raise no_samples(shown)
        seconds = frames / rate
    return SoundInfo(checked_rate(rate, shown), channels, seconds)


def read_blocks(
    path: Path, sample_rate: int, block_seconds: float = BLOCK_SECONDS, *, name: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """Decode a file as a stream of consecutive blocks, in memory independent of its length.

    The channels are averaged, then resampled with soxr (HQ) as one stream, so the samples do not
    depend on the block length. Integer samples of every width are scaled to full scale 1.0; float
    samples are unchanged, except that NaN and infinite ones become 0 and all are clipped to
    ±``resampling.LOUDEST``. Nothing is trimmed at either end, except the encoder delay that the format
    itself marks as not part of the sound.

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
        The file is empty, is not sound, is damaged, or holds no samples.
    """
    rate, native = native_blocks(path, block_seconds, name=name)
    with closing(native):
        yield from resample_blocks(native, rate, sample_rate, name=name or path.name)


def read(path: Path, sample_rate: int, *, name: str | None = None) -> NDArray[np.float32]:
    """Decode a whole file to float32 ``[n]``, mono, at ``sample_rate``; see ``read_blocks``."""
    return np.concatenate(list(read_blocks(path, sample_rate, name=name)))


def native_blocks(
    path: Path, block_seconds: float = BLOCK_SECONDS, *, name: str | None = None
) -> tuple[int, _Blocks]:
    """Return a file's sample rate, and its sound at that rate for ``resample_blocks``; the caller closes it.

    Parameters and errors are those of ``read_blocks``.
    """
    shown = name or path.name
    handle = _open_soundfile(path, shown)
    if handle is not None:
        return handle.samplerate, _soundfile_blocks(handle, block_seconds, shown)
    frames = _av_frames(path, shown)
    first = next(frames, None)
    if first is None:
        raise no_samples(shown)
    rate = checked_rate(first[0], shown)
    return rate, _av_blocks(first, frames, block_seconds, shown)


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average float32 ``[n, channels]`` over the channels, after replacing non-finite and huge samples."""
    mean: NDArray[np.float32] = finite(samples).mean(axis=1, dtype=np.float32)
    return mean


# --- soundfile ---------------------------------------------------------------------------------


def _open_soundfile(path: Path, shown: str) -> soundfile.SoundFile | None:
    """Open with libsndfile; None when PyAV is to be tried."""
    try:
        if not path.is_file():
            raise SoundNotFoundError(f"There is no file {shown}: check that it was not moved or deleted.")
        if path.stat().st_size == 0:
            raise SoundUnreadableError(f"{shown} is empty: upload or export the sound again.")
        # By descriptor, because soundfile treats a name that ends in .raw as headerless samples.
        handle = soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)
    except soundfile.LibsndfileError:
        return None
    except OSError as error:
        raise SoundUnreadableError(
            f"{shown} cannot be opened ({error.strerror}): check its permissions."
        ) from error
    if handle.frames <= 0 or not LOWEST_RATE <= handle.samplerate <= HIGHEST_RATE:
        handle.close()
        return None
    return handle


def _soundfile_blocks(handle: soundfile.SoundFile, block_seconds: float, shown: str) -> _Blocks:
    size = max(1, int(block_seconds * handle.samplerate))
    done = 0
    with handle:
        while True:
            try:
                block = handle.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise damaged(shown, done / handle.samplerate) from error
            if not len(block):
                return
            done += len(block)
            yield _mono(block)


# --- PyAV --------------------------------------------------------------------------------------

_Frame = tuple[int, int, NDArray[np.float32]]
"""Sample rate, number of channels, and float32 ``[n]`` mono samples."""


@contextmanager
def _open_av(path: Path, shown: str) -> Iterator[av.container.InputContainer]:
    with path.open("rb") as file:
        try:
            # An open file and no protocols: a playlist must not make FFmpeg open other files or URLs.
            container = av.open(
                file, mode="r", options={"protocol_whitelist": "none"}, metadata_errors="replace"
            )
        except (OSError, *_AV_FAULTS) as error:
            raise not_sound(shown) from error
        with container:
            if not container.streams.audio:
                raise SoundUnreadableError(f"{shown} has no audio track: point the task to another file.")
            yield container


def _av_frames(path: Path, shown: str) -> Iterator[_Frame]:
    """Decode the first audio track.

    Damage at the very end is ignored, as recorders that lost power leave it; damage that is followed by
    sound is an error, because all later times would be shifted against the waveform.
    """
    done = 0.0
    fault: Exception | None = None
    with _open_av(path, shown) as container:
        packets = container.demux(container.streams.audio[0])
        while True:
            try:
                packet = next(packets, None)
            except _AV_FAULTS as error:
                fault = error
                break
            if packet is None:
                break
            try:
                frames = packet.decode()
            except _AV_FAULTS as error:
                fault = error
                continue
            for frame in frames:
                if frame.samples == 0:
                    continue
                if fault is not None and packet.size:
                    raise damaged(shown, done) from fault
                done += frame.samples / frame.sample_rate
                yield frame.sample_rate, frame.layout.nb_channels, _frame_to_mono(frame)
    if fault is not None and done == 0:
        raise not_sound(shown) from fault


def _frame_to_mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return the samples of one decoded frame as float32 ``[n]``, full scale 1.0.

    FFmpeg left-aligns narrower integers in the sample format that it chooses, so that format's width is
    the full scale.
    """
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        level = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.integer):
        level = (samples / 2.0 ** (8 * samples.itemsize - 1)).astype(np.float32)
    else:
        with np.errstate(over="ignore"):
            level = samples.astype(np.float32)
    return _mono(level.T)


def _av_blocks(first: _Frame, rest: Iterator[_Frame], block_seconds: float, shown: str) -> _Blocks:
    """Join decoded frames, about 20 ms each, into blocks."""
    rate, _, mono = first
    parts, buffered, done = [mono], mono.size, 0
    for frame_rate, _, mono in rest:
        if frame_rate != rate:
            raise SoundUnreadableError(
                f"{shown} changes its sample rate after {done / rate:.1f} s: convert it to WAV or FLAC first."
            )
        parts.append(mono)
        buffered += mono.size
        if buffered >= block_seconds * rate:
            yield np.concatenate(parts)
            done += buffered
            parts, buffered = [], 0
    if parts:
        yield np.concatenate(parts)

"""FFmpeg decoder (PyAV): all containers, in step with their time stamps, and with what damage leaves."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode_limit import DecodeLimit, LimitedFile
from earmark.audio.decoder import Blocks
from earmark.audio.faults import (
    changed_rate,
    damaged,
    library_errors,
    no_samples,
    no_sound_track,
    not_sound,
    unknown_codec,
)
from earmark.audio.timeline import Timeline
from earmark.errors import EarmarkError, SoundUnreadableError

_BUFFER_BYTES = 1 << 18
"""Read at a time: each read is a call of Python."""
_INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
"""Container whose index has every packet's time."""
_ABSOLUTE_TIMES = ("matroska,webm", _INDEXED)
"""Containers whose time stamps count from the start of the presentation; others start at any time."""
_FRAMES_ONLY = ("mp3", "aac", "ac3", "eac3", "dts", "mp2")
"""Formats without time stamps: how much sound is missing in a hole cannot be determined."""
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"3DI", b"LYRICS")
"""What tags begin with, which stand before and after the frames of an MP3 file, and between joined files."""


class FfmpegDecoder:
    """Decoder of one file's first audio track; see ``earmark.audio.decoder.Decoder``.

    Damage is bridged with silence where time stamps tell its length, and else is an error if sound
    follows it. At the end of a file it ends the sound, as recorders that lost power leave such files.

    Raises
    ------
    SoundUnreadableError
        The file is no sound, has no audio track, none that can be decoded, or no samples.
    """

    def __init__(self, path: Path, shown: str) -> None:
        self._path, self._shown = path, shown
        self._limit = DecodeLimit(path, shown)
        self._file = LimitedFile(path, self._limit)
        self._container: av.container.InputContainer | None = None
        try:
            with self._limit:
                self._open()
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise no_samples(shown)
        except BaseException:
            self.close()
            raise
        self.rate: int = self._first.sample_rate
        self.channels: int = self._first.layout.nb_channels
        base = self._first.time_base or Fraction(1, self.rate)
        self._ticks, self._seconds = base.numerator * self.rate, base.denominator
        self._fifo_channels = self.channels
        self._timeline = self._new_timeline()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def measured_seconds(self) -> float:
        """Return the time of the end by the time stamps of the packets, without decoding them.

        It may lie some frames off, as what a codec adds at both ends is not taken off.
        """
        if self._format == _INDEXED and self.header_seconds:
            return self.header_seconds
        timeline = self._new_timeline()
        with (
            library_errors(lambda: not_sound(self._shown)),
            LimitedFile(self._path, self._limit) as file,
            _container(file, self._shown) as container,
        ):
            packets = container.demux(container.streams[self._stream.index])
            with self._limit:
                for packet in packets:
                    if packet.size and packet.duration:
                        timeline.place(self._samples(packet.pts), self._samples(packet.duration) or 0)
        return timeline.position / self.rate

    @property
    def inserted_seconds(self) -> float:
        """Silence inserted so far for late starts, gaps and damage."""
        return self._timeline.inserted / self.rate

    def _open(self) -> None:
        container = _container(self._file, self._shown)
        self._container = container
        if not container.streams.audio:
            raise no_sound_track(self._shown)
        decodable = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not decodable:
            raise unknown_codec(self._shown, _codec_tag(self._path))
        self._stream = decodable[0]
        self._format = container.format.name
        self.header_seconds = self._header_seconds(container)

    def _header_seconds(self, container: av.container.InputContainer) -> float | None:
        """Return the time of the end that the header names, or None where it names none."""
        if self._format in _FRAMES_ONLY and not _has_length(self._path):
            return None  # FFmpeg's estimate by the bit rate
        stream, start = self._stream, 0.0
        if stream.start_time and stream.time_base and self._format in _ABSOLUTE_TIMES:
            start = float(stream.start_time * stream.time_base)
        if stream.duration and stream.time_base:
            return start + float(stream.duration * stream.time_base)
        return container.duration / av.time_base if container.duration else None

    def _new_timeline(self) -> Timeline:
        origin: int | None = 0 if self._format in _ABSOLUTE_TIMES else None
        assert self._container is not None
        if origin is None and len(self._container.streams) > 1 and self._container.start_time is not None:
            origin = self._container.start_time * self.rate // av.time_base
        vorbis = self._stream.codec_context.name == "vorbis"
        return Timeline(self.rate, origin, self._shown, frame_jitter=vorbis)

    def _decode(self) -> Iterator[av.AudioFrame]:
        """Decode the track frame by frame."""
        assert self._container is not None
        packets = self._container.demux(self._stream)
        fault: Exception | None = None
        hole = False
        done = 0
        while True:
            self._limit.check()
            packet: av.Packet[av.AudioStream] | None = None
            try:
                with self._limit:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    frames = packet.decode()
            except EarmarkError:
                raise
            except Exception as error:  # noqa: BLE001 damaged files make PyAV raise nearly anything
                fault = error
                if packet is None:
                    break
                if self._format not in _FRAMES_ONLY:
                    continue
                if done and bytes(packet)[:8].startswith(_TAGS):
                    self._timeline.restart()
                elif done:
                    hole = True
                continue
            for frame in frames:
                if not frame.samples:
                    continue
                if hole and packet.size:
                    raise damaged(self._shown, self._timeline.position / self.rate) from fault
                done += frame.samples
                yield frame
        if fault is not None and not done:
            raise not_sound(self._shown) from fault

    def blocks(self, block_seconds: float) -> Blocks:
        """Yield float32 ``[n, channels]``, and close the file."""
        size = max(1, round(block_seconds * self.rate))

        def fault() -> SoundUnreadableError:
            return damaged(self._shown, self._timeline.position / self.rate)

        try:
            with library_errors(fault):
                yield from self._joined_frames(size)
        finally:
            self.close()

    def _joined_frames(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples of all frames and the silence between them, joined to blocks."""
        fifo: av.AudioFifo | None = None
        for frame in self._all_frames():
            if frame.sample_rate != self.rate:
                raise changed_rate(self._shown, self._timeline.position / self.rate)
            silence = self._timeline.place(self._samples(frame.pts), frame.samples)
            channels = frame.layout.nb_channels
            if fifo is not None and (silence or channels != self._fifo_channels):
                yield from _drain(fifo)
                fifo = None
            for start in range(0, silence, size):
                yield np.zeros((min(size, silence - start), channels), np.float32)
            frame.pts = None
            try:
                fifo = fifo or av.AudioFifo()
                fifo.write(frame)
            except ValueError:  # another sample format than before
                assert fifo is not None
                yield from _drain(fifo)
                fifo = av.AudioFifo()
                fifo.write(frame)
            self._fifo_channels = channels  # the FIFO itself does not look at their number
            while fifo.samples >= size:
                yield from _drain(fifo, size)
        if fifo is not None:
            yield from _drain(fifo)

    def _samples(self, ticks: int | None) -> int | None:
        """Convert a time of FFmpeg to samples."""
        return None if ticks is None else ticks * self._ticks // self._seconds

    def _all_frames(self) -> Iterator[av.AudioFrame]:
        assert self._first is not None
        first, self._first = self._first, None
        yield first
        yield from self._frames


def _container(file: LimitedFile, shown: str) -> av.container.InputContainer:
    with library_errors(lambda: not_sound(shown)):
        # An open file and no protocols: a playlist must not make FFmpeg open other files or URLs.
        return av.open(
            file,
            mode="r",
            options={"protocol_whitelist": "none"},
            metadata_errors="replace",
            buffer_size=_BUFFER_BYTES,
        )


def _codec_tag(path: Path) -> str:
    """Return the tag of a WAV file's codec for messages, or an empty text."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(b"fmt ")
    return f"WAV tag 0x{int.from_bytes(head[at + 8 : at + 10], 'little'):04X}" if at > 0 else ""


def _has_length(path: Path) -> bool:
    """Whether an MP3 file's first frame has the number of frames (Xing, LAME, VBRI)."""
    with path.open("rb") as file:
        head = file.read(10)
        if head.startswith(b"ID3"):
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte & 0x7F
            file.seek(10 + size)
        else:
            file.seek(0)
        frame = file.read(1500)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _drain(fifo: av.AudioFifo, samples: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield so many samples, or all there are."""
    frame = fifo.read(samples)
    if frame is not None:
        yield _to_samples(frame)


def _to_samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return float32 ``[n, channels]``, full scale 1.0.

    FFmpeg left-aligns narrower integers in the sample format that it chooses, so that format's width is
    the full scale.
    """
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(samples.dtype, np.integer):
        scale = np.float32(2.0 ** -(8 * samples.itemsize - 1))
        levels = np.empty(samples.shape[::-1], np.float32)  # by channel, which mixing is fastest with
        levels[:] = samples.T
        levels *= scale
        return levels.T
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)

"""Split long recordings into stretches, and cut these into FLAC files without loss."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.audio.decode import open_sound
from earmark.audio.resampling import finite
from earmark.errors import SoundNotFoundError, SoundUnreadableError
from earmark.export.records import ClipRecord, RegionRecord, Stretch
from earmark.importing.coverage import annotated_part
from earmark.importing.models import Sound
from earmark.storage.atomic_files import sha256_of

BLOCK_FRAMES = 1 << 18
FLAC_CHANNELS = 8
_FLAC_WIDTHS = {"PCM_S8": "PCM_S8", "PCM_U8": "PCM_S8", "PCM_24": "PCM_24", "PCM_32": "PCM_24"}
_FLAC_WIDTHS |= {"FLOAT": "PCM_24", "DOUBLE": "PCM_24"}
_LOSSY = ("OGG", "MP3")
"""Formats in which libsndfile passes over damage, and over the sound beyond the length in the header."""


def stretches(sound: Sound, seconds: float, least_seconds: float) -> list[Sound]:
    """Split a sound into stretches of ``seconds``; a sound that is not longer stays whole.

    A remainder shorter than ``least_seconds`` is added to the stretch before it. Each stretch gets the
    regions that overlap it, cut at its edges and with shifted times, and all tags of the whole sound.
    """
    rate, total = sound.facts.sample_rate, round(sound.facts.duration * sound.facts.sample_rate)
    step = max(1, round(seconds * rate))
    if total <= step:
        return [annotated_whole(sound)]
    starts = list(range(0, total, step))
    if total - starts[-1] < least_seconds * rate:
        starts.pop()
    return [_stretch(sound, start, end) for start, end in zip(starts, [*starts[1:], total], strict=True)]


def annotated_whole(sound: Sound) -> Sound:
    """Return an unsplit sound without the annotations that cover only a part of it."""
    part = annotated_part(sound.marks, Stretch(sound.fname, 0.0, sound.facts.duration), sound.facts.duration)
    return dataclasses.replace(sound, marks=part.records, lost=part.lost, partly=part.partly)


def _stretch(sound: Sound, first: int, end: int) -> Sound:
    rate = sound.facts.sample_rate
    stretch = Stretch(sound.fname, first / rate, end / rate)
    # Estimated as uncompressed 16-bit samples: the size is not known before the cut.
    size = 2 * (end - first) * sound.facts.channels
    facts = dataclasses.replace(sound.facts, size=size, duration=(end - first) / rate)
    name = f"{sound.fname}#{stretch.start:g}-{stretch.end:g}"
    last = stretch.end >= sound.facts.duration
    part = annotated_part(sound.marks, stretch, sound.facts.duration)
    return dataclasses.replace(
        sound,
        fname=name,
        facts=facts,
        marks=tuple(_cut_record(record, stretch, last) for record in part.records),
        stretch=stretch,
        listed_as=sound.fname,
        address="",
        lost=part.lost,
        partly=part.partly,
    )


def _cut_record(record: ClipRecord, stretch: Stretch, last: bool) -> ClipRecord:
    """Return the record with its regions inside a stretch, in the time of the stretch."""
    length = stretch.end - stretch.start
    regions = {
        control: tuple(
            dataclasses.replace(
                region,
                start=max(0.0, region.start - stretch.start),
                end=min(length, region.end - stretch.start),
            )
            for region in group
            if _overlaps(region, stretch, last)
        )
        for control, group in record.regions.items()
    }
    return dataclasses.replace(record, regions=regions)


def _overlaps(region: RegionRecord, stretch: Stretch, last: bool) -> bool:
    if region.start == region.end:  # an instant belongs to the stretch that starts there, or to the last one
        return stretch.start <= region.start < stretch.end or (last and region.start == stretch.end)
    return region.start < stretch.end and region.end > stretch.start


class Cutter:
    """Cuts stretches into FLAC files, in one pass over each recording if called in order.

    Files that libsndfile reads keep their channels, and their samples exactly up to 24 bits; others
    are cut as the mono mix that models are trained on, in 24 bits. Memory does not depend on the length.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._blocks: Iterator[NDArray[Any]] = iter(())
        self._block: NDArray[Any] = np.empty((0, 1), np.int32)
        self._position = 0
        self._subtype = "PCM_24"

    def cut(self, sound: Sound, number: int) -> Sound:
        """Write one sound as file ``number`` of the folder; return it with its own digest and size.

        A stretch is cut, and an expanded sound gets its own sample rate. The identity stays the same.

        Raises
        ------
        SoundUnreadableError
            The recording changed since it was checked.
        SoundNotFoundError
            The recording was deleted.
        """
        rate, frames = sound.source_rate, round(sound.facts.duration * sound.facts.sample_rate)
        first = round(sound.stretch.start * rate) if sound.stretch else 0
        end = round(sound.stretch.end * rate) if sound.stretch else frames
        if sound.path != self._path or self._position > first:
            self._open(sound)
        path = self._folder / f"{number}.flac"
        self._copy_frames(first - self._position, None, sound)
        with soundfile.SoundFile(
            path, "w", sound.facts.sample_rate, self._block.shape[1], subtype=self._subtype, format="FLAC"
        ) as file:
            self._copy_frames(end - first, file, sound)
        facts = dataclasses.replace(sound.facts, size=path.stat().st_size)
        return dataclasses.replace(sound, path=path, facts=facts, cut_sha256=sha256_of(path))

    def _open(self, sound: Sound) -> None:
        self._path, self._position = sound.path, 0
        self._subtype, self._blocks = _open_blocks(sound)
        self._block = self._next_block(sound)

    def _copy_frames(self, frames: int, file: soundfile.SoundFile | None, sound: Sound) -> None:
        while frames:
            if not len(self._block):
                self._block = self._next_block(sound)
            part = self._block[:frames]
            if file is not None:
                file.write(part)
            self._block = self._block[len(part) :]
            frames -= len(part)
            self._position += len(part)

    def _next_block(self, sound: Sound) -> NDArray[Any]:
        block = next(self._blocks, None)
        if block is None:
            raise SoundUnreadableError(
                f"{sound.listed_name} became shorter since it was checked: run this again."
            )
        return block


def _open_blocks(sound: Sound) -> tuple[str, Iterator[NDArray[Any]]]:
    """Return the FLAC subtype, and blocks ``[n, channels]``: left-aligned int32, or float32 in ±1.0."""
    try:
        # By descriptor: soundfile would read a file whose name ends in .raw as headerless samples.
        handle = soundfile.SoundFile(os.open(sound.path, os.O_RDONLY), closefd=True)
    except OSError as error:
        raise SoundNotFoundError(
            f"{sound.listed_name} cannot be opened any more ({error.strerror}): run this again."
        ) from error
    except soundfile.LibsndfileError:
        handle = None
    if handle is None:
        return "PCM_24", _decoded_blocks(sound)
    usable = handle.frames > 0 and handle.samplerate == sound.source_rate and not sound.facts.remark
    if usable and handle.format not in _LOSSY and handle.channels <= FLAC_CHANNELS:
        return _FLAC_WIDTHS.get(handle.subtype, "PCM_16"), _blocks(handle, sound)
    width = _FLAC_WIDTHS.get(handle.subtype, "PCM_16")
    handle.close()
    return width, _decoded_blocks(sound)


def _decoded_blocks(sound: Sound) -> Iterator[NDArray[Any]]:
    """Decode to float32 ``[n, channels]``, with as many channels as the first block has."""
    decoding = open_sound(sound.path, name=sound.listed_name)
    channels: int | None = None
    with closing(decoding), closing(decoding.channel_blocks()) as blocks:
        for block in blocks:
            channels = channels or (block.shape[1] if block.shape[1] <= FLAC_CHANNELS else 1)
            same = block.shape[1] == channels
            yield finite(block if same else np.repeat(block.mean(axis=1, keepdims=True), channels, axis=1))


def _blocks(handle: soundfile.SoundFile, sound: Sound) -> Iterator[NDArray[Any]]:
    # Integers stay unchanged; floats above full scale are clipped.
    integer = handle.subtype.startswith("PCM") or handle.subtype in ("ULAW", "ALAW")
    with closing(handle):
        while True:
            try:
                block = handle.read(BLOCK_FRAMES, dtype="int32" if integer else "float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise SoundUnreadableError(
                    f"{sound.listed_name} is damaged since it was checked ({error}): run this again."
                ) from error
            if not len(block):
                return
            yield block if integer else np.clip(np.nan_to_num(block, nan=0.0), -1.0, 1.0)

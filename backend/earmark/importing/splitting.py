"""Long recordings cut into stretches: which ones, and the cutting, sample by sample."""

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

from earmark.audio.decode import read_blocks
from earmark.errors import SoundNotFoundError, SoundUnreadableError
from earmark.export.records import ClipRecord, RegionRecord, Stretch
from earmark.importing.coverage import annotated_part
from earmark.importing.models import Sound
from earmark.storage.atomic_files import sha256_of

BLOCK_FRAMES = 1 << 18
FLAC_CHANNELS = 8
_FLAC_WIDTHS = {"PCM_S8": "PCM_S8", "PCM_U8": "PCM_S8", "PCM_24": "PCM_24", "PCM_32": "PCM_24"}
_FLAC_WIDTHS |= {"FLOAT": "PCM_24", "DOUBLE": "PCM_24"}


def stretches(sound: Sound, seconds: float, least_seconds: float) -> list[Sound]:
    """Divide a sound into stretches of ``seconds``; a shorter one stays as it is.

    A rest shorter than ``least_seconds`` joins the stretch before it. Regions go, cut at the edges
    and with shifted times, to every stretch that they reach into; tags of the whole go to each.
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
    """Return a sound that is not divided, without annotations that are about a part of it."""
    part = annotated_part(sound.marks, Stretch(sound.fname, 0.0, sound.facts.duration), sound.facts.duration)
    return dataclasses.replace(sound, marks=part.records, lost=part.lost, partly=part.partly)


def _stretch(sound: Sound, first: int, end: int) -> Sound:
    rate = sound.facts.sample_rate
    place = Stretch(sound.fname, first / rate, end / rate)
    # The size is not known before it is cut: 16-bit samples, uncompressed, are a fair guess.
    size = 2 * (end - first) * sound.facts.channels
    facts = dataclasses.replace(sound.facts, size=size, duration=(end - first) / rate)
    name = f"{sound.fname}#{place.start:g}-{place.end:g}"
    last = place.end >= sound.facts.duration
    part = annotated_part(sound.marks, place, sound.facts.duration)
    return dataclasses.replace(
        sound,
        fname=name,
        facts=facts,
        marks=tuple(_within(record, place, last) for record in part.records),
        stretch=place,
        listed_as=sound.fname,
        address="",
        lost=part.lost,
        partly=part.partly,
    )


def _within(record: ClipRecord, place: Stretch, last: bool) -> ClipRecord:
    """What a record says of a stretch, in its own time."""
    length = place.end - place.start
    regions = {
        control: tuple(
            dataclasses.replace(
                region,
                start=max(0.0, region.start - place.start),
                end=min(length, region.end - place.start),
            )
            for region in found
            if _reaches(region, place, last)
        )
        for control, found in record.regions.items()
    }
    return dataclasses.replace(record, regions=regions)


def _reaches(region: RegionRecord, place: Stretch, last: bool) -> bool:
    if region.start == region.end:  # a moment belongs to the stretch that it begins, or ends with all
        return place.start <= region.start < place.end or (last and region.start == place.end)
    return region.start < place.end and region.end > place.start


class Cutter:
    """Cuts stretches into FLAC files, in one pass over each recording when asked for in order.

    Files that libsndfile reads keep their channels, and their samples exactly up to 24 bits, others
    are cut as the mono mix that heads hear, in 24 bits. Memory does not depend on the length.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._blocks: Iterator[NDArray[Any]] = iter(())
        self._block: NDArray[Any] = np.empty((0, 1), np.int32)
        self._at = 0
        self._subtype = "PCM_24"

    def cut(self, sound: Sound, number: int) -> Sound:
        """Write one stretch as file ``number`` of the folder; return it with its own digest and size.

        Its identity is still that of the stretch.

        Raises
        ------
        SoundUnreadableError
            The recording changed since it was checked.
        SoundNotFoundError
            It is gone.
        """
        assert sound.stretch is not None
        rate = sound.facts.sample_rate
        first, end = round(sound.stretch.start * rate), round(sound.stretch.end * rate)
        if sound.path != self._path or self._at > first:
            self._open(sound)
        path = self._folder / f"{number}.flac"
        self._take(first - self._at, None, sound)
        with soundfile.SoundFile(
            path, "w", rate, self._block.shape[1], subtype=self._subtype, format="FLAC"
        ) as file:
            self._take(end - first, file, sound)
        facts = dataclasses.replace(sound.facts, size=path.stat().st_size)
        return dataclasses.replace(sound, path=path, facts=facts, cut_sha256=sha256_of(path))

    def _open(self, sound: Sound) -> None:
        self._path, self._at = sound.path, 0
        self._subtype, self._blocks = _native(sound)
        self._block = self._next(sound)

    def _take(self, frames: int, file: soundfile.SoundFile | None, sound: Sound) -> None:
        while frames:
            if not len(self._block):
                self._block = self._next(sound)
            part = self._block[:frames]
            if file is not None:
                file.write(part)
            self._block = self._block[len(part) :]
            frames -= len(part)
            self._at += len(part)

    def _next(self, sound: Sound) -> NDArray[Any]:
        block = next(self._blocks, None)
        if block is None:
            raise SoundUnreadableError(
                f"{sound.listed_as} became shorter since it was checked: run this again."
            )
        return block


def _native(sound: Sound) -> tuple[str, Iterator[NDArray[Any]]]:
    """FLAC subtype, and blocks ``[n, channels]``: int32 left-aligned, or float32 with full scale 1.0."""
    try:
        # By descriptor, because soundfile would take a name that ends in .raw for headerless samples.
        handle = soundfile.SoundFile(os.open(sound.path, os.O_RDONLY), closefd=True)
    except OSError as error:
        raise SoundNotFoundError(
            f"{sound.listed_as} cannot be opened any more ({error.strerror}): run this again."
        ) from error
    except soundfile.LibsndfileError:
        handle = None
    usable = handle is not None and handle.frames > 0 and handle.samplerate == sound.facts.sample_rate
    if handle is not None and usable and handle.channels <= FLAC_CHANNELS:
        return _FLAC_WIDTHS.get(handle.subtype, "PCM_16"), _blocks(handle, sound)
    if handle is not None:
        handle.close()
    mono = read_blocks(sound.path, sound.facts.sample_rate, name=sound.listed_as)
    return "PCM_24", (block[:, None] for block in mono)


def _blocks(handle: soundfile.SoundFile, sound: Sound) -> Iterator[NDArray[Any]]:
    # Integers pass unchanged; what libsndfile decodes to numbers above full scale is held within.
    whole = handle.subtype.startswith("PCM") or handle.subtype in ("ULAW", "ALAW")
    with closing(handle):
        while True:
            try:
                block = handle.read(BLOCK_FRAMES, dtype="int32" if whole else "float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise SoundUnreadableError(
                    f"{sound.listed_as} is damaged since it was checked ({error}): run this again."
                ) from error
            if not len(block):
                return
            yield block if whole else np.clip(np.nan_to_num(block, nan=0.0), -1.0, 1.0)

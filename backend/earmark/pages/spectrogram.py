"""Spectrograms of sounds: log-mel levels measured once, and pictures of any stretch drawn from them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from earmark.audio.decode import read_blocks
from earmark.features.band_levels import HOP_SECONDS, BandLevelMeter

BANDS = 48
HEIGHT = 96
"""Pixels of every picture."""
GREYS = 24
"""Colours of a picture: more would double its size and look the same."""
_SPAN_STEPS = 120
"""Levels more than 60 dB below the loudest ones are drawn black."""
_ANCHORS = ("000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf")
"""Colours of the map "magma" (Nathaniel Smith and Stéfan van der Walt, CC0), evenly spaced."""


@dataclass(frozen=True)
class Spectrogram:
    """Levels of a whole sound, uint8 ``[T, BANDS]`` every 10 ms; see `BandLevelMeter`.

    ``loudest``: the level that is drawn brightest, the same in all pictures of the sound.
    """

    levels: NDArray[np.uint8]
    loudest: int

    @property
    def seconds(self) -> float:
        """Length of the sound, rounded up to 10 ms."""
        return len(self.levels) * HOP_SECONDS


def measure(path: Path, name: str, seconds: float | None = None) -> NDArray[np.uint8]:
    """Measure the levels of a sound, ``[T, BANDS]``, or of about its first ``seconds``, decoded as a stream.

    Raises
    ------
    SoundNotFoundError, SoundUnreadableError
        There is no such file, or it is not sound; the message calls it ``name``.
    """
    meter = BandLevelMeter(BANDS)
    with closing(read_blocks(path, meter.sample_rate, name=name)) as blocks:  # type: ignore[type-var]
        return meter.frames(blocks if seconds is None else _first(blocks, round(seconds * meter.sample_rate)))


def _first(blocks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Yield the first samples of a stream of blocks."""
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def loudest_level(levels: NDArray[np.uint8]) -> int:
    """Return the level that all but one in a thousand stay below."""
    counts = np.bincount(np.asarray(levels).ravel(), minlength=256)
    return int(np.searchsorted(np.cumsum(counts), 0.999 * counts.sum()))


def draw(spectrogram: Spectrogram, start: float, end: float, width: int) -> bytes:
    """Draw the stretch from ``start`` to ``end`` (seconds) as PNG, ``width`` pixels wide, low bands below.

    Where the sound ends earlier, the rest is black.
    """
    first, last = round(start / HOP_SECONDS), max(round(end / HOP_SECONDS), round(start / HOP_SECONDS) + 1)
    rows = np.asarray(spectrogram.levels[first:last]).astype(np.float32)
    if len(rows) < last - first:
        rows = np.pad(rows, ((0, last - first - len(rows)), (0, 0)))
    if len(rows) > width:  # the mean over each column; the loudest row alone would blur edges
        edges = np.linspace(0, len(rows), width + 1).astype(int)
        rows = np.add.reduceat(rows, edges[:-1], axis=0) / np.diff(edges)[:, None]
    steps = (rows - (spectrogram.loudest - _SPAN_STEPS)) * ((GREYS - 1) / _SPAN_STEPS)
    greys = np.clip(np.round(steps), 0, GREYS - 1).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(greys.T[::-1]))
    picture = picture.resize((width, HEIGHT), Image.Resampling.BILINEAR)
    picture.putpalette(_palette())
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()


@cache
def _palette() -> bytes:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _ANCHORS], dtype=np.float64)
    places = np.linspace(0, len(anchors) - 1, GREYS)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8).tobytes()

"""Spectrograms of sounds: log-mel levels measured once, and pictures of any stretch drawn from them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
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
"""Colours of a picture: more would double its size and look the same. The next number is transparent."""
_SPAN_STEPS = 120
"""Levels more than 60 dB below the loudest ones are drawn black."""
_ROWS_AT_ONCE = 100_000
"""Levels that are counted together: a day of them would take gigabytes as integers."""
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
    counts = np.zeros(256, np.int64)
    for start in range(0, len(levels), _ROWS_AT_ONCE):
        counts += np.bincount(levels[start : start + _ROWS_AT_ONCE].ravel(), minlength=256)
    return int(np.searchsorted(np.cumsum(counts), 0.999 * counts.sum()))


def draw(spectrogram: Spectrogram, start: float, end: float, width: int) -> bytes:
    """Draw the stretch from ``start`` to ``end`` (seconds) as PNG, ``width`` pixels wide, low bands below.

    Where the sound ends earlier, the rest is transparent: black is silence.
    """
    length = len(spectrogram.levels)
    first, last = round(start / HOP_SECONDS), max(round(end / HOP_SECONDS), round(start / HOP_SECONDS) + 1)
    whole, sounding = last - first, min(max(0, length - first), last - first)
    pixels = round(width * sounding / whole)
    target = Image.new("P", (width, HEIGHT), GREYS)
    target.putpalette(_palette())
    if pixels:
        target.paste(_drawn(spectrogram, first, first + sounding, pixels))
    file = io.BytesIO()
    target.save(file, "PNG", optimize=True, **({"transparency": GREYS} if pixels < width else {}))
    return file.getvalue()


def _drawn(spectrogram: Spectrogram, first: int, last: int, width: int) -> Image.Image:
    """Draw the levels from ``first`` to before ``last``, as numbers of colours."""
    levels = spectrogram.levels
    edges = np.linspace(first, last, min(width, last - first) + 1).astype(int).tolist()
    rows = np.zeros((len(edges) - 1, levels.shape[1]), np.float32)
    for column, (left, right) in enumerate(pairwise(edges)):
        inside = levels[left:right]
        if len(inside):  # the mean; the loudest row alone would blur edges
            rows[column] = inside.mean(axis=0, dtype=np.float32)
    steps = (rows - (spectrogram.loudest - _SPAN_STEPS)) * ((GREYS - 1) / _SPAN_STEPS)
    greys = np.clip(np.round(steps), 0, GREYS - 1).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(greys.T[::-1]))
    return picture.resize((width, HEIGHT), Image.Resampling.BILINEAR)


@cache
def _palette() -> bytes:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _ANCHORS], dtype=np.float64)
    places = np.linspace(0, len(anchors) - 1, GREYS)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    # Browsers ignore a transparent colour that the palette lacks
    return np.round(np.stack(channels, axis=1)).astype(np.uint8).tobytes() + bytes(3)

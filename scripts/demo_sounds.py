"""Six kinds of sound from numpy alone, each different every time: what the demo's clips are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class SoundMaker:
    """A kind of sound: its length in seconds (shortest, longest), and what synthesises it.

    ``make(samples, sample_rate, rng)`` returns float64 [samples], of any level, sounding from the
    first sample to the last.
    """

    seconds: tuple[float, float]
    make: Callable[[int, int, np.random.Generator], Samples]


def bell(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """Strokes of a bell: inharmonic partials (hum, prime, tierce, quint, nominal) that die away.

    Ratios after Lehr, Partial Groups in the Bell Sound (1986), each bell a little out of them.
    """
    seconds = length / rate
    ratios = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.66, 3.01, 4.17, 5.43])
    frequencies = rng.uniform(420, 1300) * ratios * rng.uniform(0.985, 1.015, len(ratios))
    weights = rng.uniform(0.3, 1.0, len(ratios)) / ratios**0.6
    decays = rng.uniform(0.45, 0.8) * seconds / ratios**0.5
    sound = np.zeros(length)
    for stroke in _beats(seconds, rng.uniform(0.55, 1.3), rng):
        start = round(stroke * rate)
        time = np.arange(length - start) / rate
        for frequency, weight, decay in zip(frequencies, weights, decays, strict=True):
            if frequency < 0.45 * rate:
                phase = rng.uniform(0, 2 * np.pi)
                partial = np.exp(-time / decay) * np.sin(2 * np.pi * frequency * time + phase)
                sound[start:] += weight * partial
    return sound


def siren(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """A tone that wails up and down, yelps, or jumps between two notes, with some harmonics."""
    time = np.arange(length) / rate
    low = rng.uniform(450, 750)
    high = low * rng.uniform(1.45, 2.3)
    style = rng.choice(["wail", "yelp", "two-tone"])
    cycles = time * {"wail": rng.uniform(0.3, 0.6), "yelp": rng.uniform(1.8, 3.5)}.get(
        style, rng.uniform(0.8, 1.4)
    )
    cycles += rng.uniform(0, 1)
    if style == "two-tone":
        swing = (np.tanh(18 * np.sin(2 * np.pi * cycles)) + 1) / 2
    else:
        swing = (1 - np.cos(2 * np.pi * cycles)) / 2
    phase = 2 * np.pi * np.cumsum(low * (high / low) ** swing) / rate
    weights = 1 / np.arange(1, 7) ** rng.uniform(1.0, 2.0)
    sound: Samples = sum(
        (weight * np.sin(number * phase) for number, weight in enumerate(weights, 1)), np.zeros(length)
    )
    return sound * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(3, 8) * time))


def drum(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """Hits on a membrane: modes of a circular membrane that drop in pitch, and a noise attack."""
    seconds = length / rate
    modes = np.array([1.0, 1.594, 2.136, 2.296, 2.653])
    pitch = rng.uniform(65, 210)
    ring = rng.uniform(0.09, 0.24)
    snap = rng.uniform(0.25, 0.9)
    sound = np.zeros(length)
    for beat in _beats(seconds, rng.uniform(0.17, 0.42), rng):
        start = round(beat * rate)
        time = np.arange(length - start) / rate
        force = rng.uniform(0.55, 1.0)
        bend = 1 + 0.35 * np.exp(-time / 0.03)
        phase = 2 * np.pi * pitch * np.cumsum(bend) / rate
        skin: Samples = np.zeros(len(time))
        for number, mode in enumerate(modes):
            skin += np.exp(-time * (1 + number) / ring) * np.sin(mode * phase) / (1 + number)
        attack = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.006, 0.02))
        sound[start:] += force * (skin + snap * attack)
    return sound


def rain(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """A hiss of many drops, and single drops that stand out of it."""
    hiss = _band_noise(length, rate, rng.uniform(700, 1800), rng.uniform(6000, 13000), rng)
    time = np.arange(length) / rate
    sound = hiss * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time + rng.uniform(0, 6.28)))
    drop_length = round(0.012 * rate)
    drop_time = np.arange(drop_length) / rate
    for start in rng.integers(0, max(1, length - drop_length), int(rng.uniform(25, 90) * length / rate)):
        frequency = rng.uniform(1500, 6000)
        drop = np.sin(2 * np.pi * frequency * drop_time * (1 + 8 * drop_time)) * np.exp(-drop_time / 0.0025)
        sound[start : start + drop_length] += rng.uniform(0.8, 4.0) * drop
    return sound


def engine(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """A low buzz rich in harmonics that throbs with each turn, its speed wandering."""
    time = np.arange(length) / rate
    base = rng.uniform(35, 85)
    drift = rng.uniform(-0.25, 0.35) * time / time[-1]
    wobble = 0.04 * np.sin(2 * np.pi * rng.uniform(0.3, 1.5) * time + rng.uniform(0, 6.28))
    phase = 2 * np.pi * np.cumsum(base * (1 + drift + wobble)) / rate
    tilt = rng.uniform(0.7, 1.2)
    sound = np.zeros(length)
    for number in range(1, 33):
        sound += rng.uniform(0.4, 1.0) * np.sin(number * phase + rng.uniform(0, 6.28)) / number**tilt
    throb = 1 + rng.uniform(0.3, 0.7) * np.sin(phase / rng.choice([2, 4]))
    exhaust = _band_noise(length, rate, 60, rng.uniform(500, 1500), rng)
    result: Samples = throb * (sound + rng.uniform(0.1, 0.4) * exhaust)
    return result


def bird(length: int, rate: int, rng: np.random.Generator) -> Samples:
    """A phrase of chirps: short tones swept fast over a third to an octave, some of them trilled."""
    seconds = length / rate
    center = rng.uniform(2600, 5600)
    chirp_seconds = rng.uniform(0.05, 0.13)
    sweep = rng.choice([-1, 1]) * rng.uniform(0.25, 0.7)
    trill = rng.uniform(0, 0.12)
    sound = np.zeros(length)
    for beat in _beats(seconds, chirp_seconds * rng.uniform(1.5, 2.6), rng, last=chirp_seconds):
        start = round(beat * rate)
        samples = min(round(chirp_seconds * rng.uniform(0.8, 1.2) * rate), length - start)
        if samples < 16:
            continue
        x = np.linspace(0, 1, samples)
        bend = sweep * (x - 0.5) + trill * np.sin(2 * np.pi * 30 * chirp_seconds * x)
        phase = 2 * np.pi * np.cumsum(center * rng.uniform(0.93, 1.07) * 2**bend) / rate
        tone = np.sin(phase) + 0.15 * np.sin(2 * phase)
        sound[start : start + samples] += rng.uniform(0.6, 1.0) * tone * np.sin(np.pi * x) ** 0.7
    return sound


SOUNDS: dict[str, SoundMaker] = {
    "Bell": SoundMaker((1.4, 3.2), bell),
    "Siren": SoundMaker((1.8, 4.0), siren),
    "Drum": SoundMaker((1.0, 2.6), drum),
    "Rain": SoundMaker((1.6, 4.0), rain),
    "Engine": SoundMaker((1.6, 4.0), engine),
    "Bird chirp": SoundMaker((0.8, 2.2), bird),
}
"""By label, as ``label_config.xml`` spells them."""


def _beats(seconds: float, interval: float, rng: np.random.Generator, last: float = 0.12) -> list[float]:
    """Start times in seconds: the first at 0, about ``interval`` apart, none in the ``last`` seconds."""
    beats, time = [0.0], 0.0
    while (time := time + interval * float(rng.uniform(0.85, 1.15))) < seconds - last:
        beats.append(time)
    return beats


def _band_noise(length: int, rate: int, low: float, high: float, rng: np.random.Generator) -> Samples:
    """Noise of RMS 1 between two frequencies in Hz, with soft edges."""
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    shape = (
        1 / np.sqrt(1 + (low / np.maximum(frequencies, 1.0)) ** 6) / np.sqrt(1 + (frequencies / high) ** 6)
    )
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * shape, length)
    result: Samples = noise / np.sqrt(np.mean(noise**2))
    return result

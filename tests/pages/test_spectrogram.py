"""Spectrograms: measured once, drawn where they are bright, cached by content, evicted by age."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from earmark.audio.source import LocatedSound
from earmark.errors import SoundUnreadableError
from earmark.pages import spectrogram_cache
from earmark.pages.spectrogram import BANDS, HEIGHT, Spectrogram, draw, loudest_level, measure
from earmark.pages.spectrogram_cache import SpectrogramCache
from earmark.storage.atomic_files import sha256_of

RATE = 16_000


@pytest.fixture
def tone(tmp_path: Path) -> LocatedSound:
    """A tone in the middle second of three."""
    time = np.arange(3 * RATE) / RATE
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 2000 * time) * ((time >= 1) & (time < 2)), RATE)
    return LocatedSound(path, sha256_of(path))


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def test_the_tone_is_where_it_sounds(tone: LocatedSound) -> None:
    levels = measure(tone.path, "tone.wav")
    assert levels.shape == (300, BANDS)
    png = draw(Spectrogram(levels, loudest_level(levels)), 0.0, 6.0, 256)
    picture = pixels(png)
    assert picture.shape == (HEIGHT, 256)
    columns = picture.max(axis=0)
    assert columns[50:80].min() > 200
    assert columns[:35].max() == columns[95:128].max() == picture.min(), "silence"
    transparent = Image.open(io.BytesIO(png))
    palette = transparent.getpalette()
    assert palette is not None
    assert len(palette) // 3 > transparent.info["transparency"], "browsers ignore it otherwise"
    opaque = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3]
    assert opaque[:, :128].min() == 255
    assert opaque[:, 128:].max() == 0, "what lies after the end is no silence"


def test_a_stretch_shorter_than_a_column(tone: LocatedSound) -> None:
    levels = measure(tone.path, "tone.wav")
    assert pixels(draw(Spectrogram(levels, 200), 1.5, 1.501, 256)).shape == (HEIGHT, 256)


def test_a_day_is_drawn_in_little_memory(tmp_path: Path) -> None:
    levels = np.memmap(tmp_path / "day", np.uint8, "w+", shape=(8_640_000 // 4, BANDS))
    levels[1000:2000] = 200
    tracemalloc.start()
    assert loudest_level(levels) == 0
    picture = pixels(draw(Spectrogram(levels, 200), 0.0, 2 * 21_600.0, 512))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert picture.shape == (HEIGHT, 512)
    assert peak < levels.nbytes


def test_it_is_measured_and_drawn_once(
    tone: LocatedSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SpectrogramCache(tmp_path / "cache")
    first = cache.picture(tone, "tone.wav", 0.0, 3.0, 256)
    monkeypatch.setattr(spectrogram_cache, "measure", lambda *_: pytest.fail("measured again"))
    assert cache.picture(tone, "tone.wav", 1.0, 2.0, 256) != first
    monkeypatch.setattr(spectrogram_cache, "draw", lambda *_: pytest.fail("drawn again"))
    assert cache.picture(tone, "tone.wav", 0.0, 3.0, 256) == first
    assert cache.spectrogram(tone, "tone.wav").seconds == pytest.approx(3.0)


def test_the_oldest_sounds_are_evicted(tone: LocatedSound, tmp_path: Path) -> None:
    cache = SpectrogramCache(tmp_path / "cache", most_bytes=1)
    cache.picture(tone, "tone.wav", 0.0, 3.0, 256)
    (old,) = (tmp_path / "cache").glob("*/*")
    os.utime(old, (0, 0))
    cache.spectrogram(LocatedSound(tone.path, "ff" * 32), "tone.wav")
    assert [folder.name for folder in (tmp_path / "cache").glob("*/*")] == ["ff" * 32]


def test_what_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("text")
    cache = SpectrogramCache(tmp_path / "cache")
    with pytest.raises(SoundUnreadableError):
        cache.picture(LocatedSound(tmp_path / "a.wav", "00" * 32), "a.wav", 0.0, 1.0, 256)

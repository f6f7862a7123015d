"""Cache of spectrograms on disk: levels of each sound by content, and the pictures drawn from them."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from earmark.audio.source import LocatedSound
from earmark.pages.spectrogram import Spectrogram, draw, loudest_level, measure
from earmark.storage.atomic_files import atomic_write

CACHE_BYTES = 2_000_000_000
"""About 100 hours of sound; what was used least recently is deleted first."""
GRACE_SECONDS = 600.0
"""What was used within this time is not deleted."""
_LOCKS = 16
_LEVELS = "levels.npy"


class SpectrogramCache:
    """Spectrograms of located sounds, measured and drawn once. Thread-safe, also between processes."""

    def __init__(self, folder: Path, most_bytes: int = CACHE_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        # A bounded number of locks; two sounds that share one only wait
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def spectrogram(self, located: LocatedSound, name: str) -> Spectrogram:
        """Return the levels of a sound, measured on the first call; raises as `measure`."""
        path = self._folder_of(located) / _LEVELS
        with self._locks[int(located.digest[:8], 16) % _LOCKS]:
            if not path.exists():
                levels = measure(located.path, name)
                with atomic_write(path) as part, part.open("wb") as file:
                    np.save(
                        file,
                        np.vstack([np.full((1, levels.shape[1]), loudest_level(levels), np.uint8), levels]),
                    )
                self._evict()
        # The first row holds the loudest level
        stored = np.load(path, mmap_mode="r")
        return Spectrogram(stored[1:], int(stored[0, 0]))

    def picture(self, located: LocatedSound, name: str, start: float, end: float, width: int) -> bytes:
        """Return the PNG of a stretch (seconds), drawn on the first call; raises as `measure`."""
        folder = self._folder_of(located)
        path = folder / f"{round(start * 1000)}-{round(end * 1000)}-{width}.png"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        png = draw(self.spectrogram(located, name), start, end, width)
        with atomic_write(path) as part:
            part.write_bytes(png)
        folder.touch()
        return png

    def _folder_of(self, located: LocatedSound) -> Path:
        return self._folder / located.digest[:2] / located.digest

    def _evict(self) -> None:
        """Delete the sounds that were used least recently until the rest fits."""
        sounds = []
        for folder in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):
                size = sum(path.stat().st_size for path in folder.iterdir())
                sounds.append((folder.stat().st_mtime, size, folder))
        total = sum(size for _, size, _ in sounds)
        for used, size, folder in sorted(sounds):
            if total <= self._most_bytes or time.time() - used < GRACE_SECONDS:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= size

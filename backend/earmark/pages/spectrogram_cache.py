"""Cache of spectrograms on disk: levels of each sound by content, and the pictures drawn from them."""

from __future__ import annotations

import os
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
        self._counting, self._unchecked = threading.Lock(), 0

    def spectrogram(self, located: LocatedSound, name: str) -> Spectrogram:
        """Return the levels of a sound, measured on the first call; raises as `measure`."""
        path = self._folder_of(located) / _LEVELS
        with self._locks[int(located.digest[:8], 16) % _LOCKS]:
            if not path.exists():
                levels = measure(located.path, name)
                shape = (len(levels) + 1, levels.shape[1])
                with atomic_write(path) as part:
                    rows = np.lib.format.open_memmap(part, "w+", np.uint8, shape)  # type: ignore[no-untyped-call]
                    rows[0], rows[1:] = loudest_level(levels), levels
                    rows.flush()
                self._evict_at_times(rows.nbytes)
        # The first row holds the loudest level
        stored = np.load(path, mmap_mode="r")
        return Spectrogram(stored[1:], int(stored[0, 0]))

    def picture(self, located: LocatedSound, name: str, start: float, end: float, width: int) -> bytes:
        """Return the PNG of a stretch (seconds), drawn on the first call; raises as `measure`."""
        folder = self._folder_of(located)
        path = folder / f"{round(start * 1000)}-{round(end * 1000)}-{width}.png"
        with suppress(FileNotFoundError):
            png = path.read_bytes()
            os.utime(folder)  # its age decides on eviction
            return png
        png = draw(self.spectrogram(located, name), start, end, width)
        with atomic_write(path) as part:
            part.write_bytes(png)
        return png

    def _folder_of(self, located: LocatedSound) -> Path:
        return self._folder / located.digest[:2] / located.digest

    def _evict_at_times(self, written: int) -> None:
        """Evict once in a while: with ten thousands of sounds in the cache, a look at all takes a second."""
        with self._counting:
            self._unchecked += written
            if self._unchecked < self._most_bytes / 100:
                return
            self._unchecked = 0
        self._evict()

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

"""Fixtures: sounds to import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.export.records import ClipRecord
from earmark.importing.models import Facts, Sound
from earmark.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", label_studio_url=None)


@pytest.fixture
def write_sound() -> Callable[..., Path]:
    def write(path: Path, seed: int = 0, seconds: float = 0.25, rate: int = 8000, level: float = 0.1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
        soundfile.write(path, level * noise, rate)
        return path

    return write


@pytest.fixture
def sound() -> Callable[..., Sound]:
    """Return a factory of sounds whose files do not exist."""

    def make(name: str, *labels: str, digest: str = "", size: int = 10, **fields: Any) -> Sound:
        facts = Facts(digest or name.ljust(64, "0"), size, 4.0, 8000, 1)
        marks = (ClipRecord(name, tags={"": labels}),) if labels else ()
        return Sound(Path("/sounds") / name, name, facts, **{"marks": marks, **fields})

    return make

"""Small packages with entry points, as pip leaves them in a folder of installed packages."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import numpy as np
from earmark.encoders.spec import EncoderSpec

class Level:
    name, identity = "{name}", "{name}-1"
    sample_rate, frame_rate = {rate}, {frame_rate}
    frame_dim = embedding_dim = 1

    def frames(self, blocks):
        wave = np.concatenate(list(blocks))
        size = round(self.sample_rate / self.frame_rate)
        wave = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
        return np.sqrt(np.square(wave).mean(axis=1, keepdims=True)).astype(np.float16)

    def pool(self, frames):
        return frames.mean(axis=-2, dtype=np.float32)

SPEC = EncoderSpec("{name}", lambda settings, at_once: Level(), lambda settings: Level.identity, {rate})
"""


def add_package(folder: Path, package: str, points: dict[str, str], source: str) -> None:
    """Add a package with one module of its name, and these entry points of encoders."""
    (folder / f"{package}.py").write_text(source)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[earmark.encoders]", *lines, ""]))


def add_encoder(
    folder: Path, name: str, package: str = "", rate: int = 8_000, frame_rate: float = 10.0
) -> None:
    """Add a package with an encoder that works: the level of each frame."""
    package = package or f"pack_{name}"
    source = SOURCE.format(name=name, rate=rate, frame_rate=frame_rate)
    add_package(folder, package, {name: f"{package}:SPEC"}, source)

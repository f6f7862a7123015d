"""Generated sounds and annotations of the self-test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE, SECONDS = 48_000, 2.0
HERTZ = {"Low": 300.0, "High": 4000.0}
PROJECT = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "title": "Self-test"}
CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Labels name="label" toName="audio"><Label value="Low"/><Label value="High"/></Labels>'
    '<Choices name="tags" toName="audio"><Choice value="Low"/><Choice value="High"/></Choices></View>'
)
SOUNDFILE_FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
FFMPEG_FORMATS = {"M4A": "aac", "WEBM": "libopus", "OPUS": "libopus"}
"""Formats and their codecs."""


def tone(label: str, seed: int) -> NDArray[np.float32]:
    """Return ``SECONDS`` at ``RATE``: the label's tone from 0.5 s to 1.5 s, in quiet noise."""
    moments = np.arange(int(SECONDS * RATE)) / RATE
    sounding = (moments >= 0.5) & (moments < 1.5)
    noise = 0.005 * np.random.default_rng(seed).standard_normal(moments.size)
    wave: NDArray[np.float32] = (0.3 * np.sin(2 * np.pi * HERTZ[label] * moments) * sounding + noise).astype(
        np.float32
    )
    return wave


def write_formats(folder: Path) -> Iterator[tuple[str, Path | Exception]]:
    """Write a tone in each format; yield its name, and the file or why it cannot be written here."""
    wave = tone("Low", 0)
    for name, codec in (SOUNDFILE_FORMATS | FFMPEG_FORMATS).items():
        path = folder / f"tone.{name.lower()}"
        try:
            if name in SOUNDFILE_FORMATS:
                soundfile.write(path, wave, RATE, format=name, subtype=codec)
            else:
                _write_with_ffmpeg(path, codec, wave)
        except (soundfile.LibsndfileError, av.FFmpegError, ValueError) as error:
            yield name, error
        else:
            yield name, path


def annotated(number: int, path: Path, label: str) -> dict[str, Any]:
    """Return the webhook that annotates a clip with its label."""
    item = {"to_name": "audio", "origin": "manual"}
    result = [
        {
            **item,
            "from_name": "label",
            "type": "labels",
            "value": {"start": 0.5, "end": 1.5, "labels": [label]},
        },
        {**item, "from_name": "tags", "type": "choices", "value": {"choices": [label]}},
    ]
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": number, "task": number, "result": result},
        "task": {"id": number, "data": {"audio": str(path)}},
        "project": {**PROJECT, "label_config": CONFIG},
    }


def _write_with_ffmpeg(path: Path, codec: str, wave: NDArray[np.float32]) -> None:
    with av.open(str(path), "w", format="ogg" if path.suffix == ".opus" else None) as container:
        stream = cast(av.AudioStream, container.add_stream(codec, rate=RATE, layout="mono"))
        size = 960
        for start in range(0, wave.size - size + 1, size):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + size], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

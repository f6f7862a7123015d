"""Sounds with clicks at known times, and their encoding with libsndfile and FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100
OPUS_RATE = 48_000
SECONDS = 12.0
CLICKS = (0.9, 2.3, 4.6, 7.7, 9.1, 11.2)
"""At irregular distances; none in the middle, where damage is done."""

_CLICK_SECONDS = 0.008
Wave = NDArray[np.float32]


def wave(seconds: float = SECONDS, clicks: tuple[float, ...] = CLICKS, rate: int = RATE) -> Wave:
    """Return faint noise, louder in its second half, with clicks: float32 ``[n]``."""
    rng = np.random.default_rng(5)
    samples = 0.002 * rng.standard_normal(round(seconds * rate))
    samples[len(samples) // 2 :] *= 8
    for click in clicks:
        start, size = round(click * rate), round(_CLICK_SECONDS * rate)
        samples[start : start + size] += 0.7 * np.sign(rng.standard_normal(size))
    return np.clip(samples, -0.95, 0.95).astype(np.float32)


def clicks_in(samples: Wave, rate: int) -> list[float]:
    """Return the onsets of clicks in seconds."""
    window = max(1, rate // 1000)
    levels = np.square(samples[: len(samples) // window * window].reshape(-1, window)).mean(axis=1)
    loud = np.flatnonzero(levels > 0.02)
    onsets = [index for before, index in zip([-1000, *loud[:-1]], loud, strict=True) if index - before > 50]
    return [float(index * window / rate) for index in onsets]


def encode(
    container: str,
    codec: str,
    samples: Wave,
    rate: int = RATE,
    *,
    moved: Callable[[float], float | None] = lambda seconds: seconds,
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode mono samples with FFmpeg.

    Parameters
    ----------
    container, codec
        FFmpeg's names.
    moved
        Maps the time stamp of each packet to another one, in seconds, or to None to drop the packet.
    options
        Of the container.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        if codec == "wmav2":
            stream.bit_rate = 128_000  # which it does not choose itself
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(piece):
                seconds = moved(float(packet.pts * packet.time_base))
                if seconds is None:
                    continue
                packet.pts += round((seconds - float(packet.pts * packet.time_base)) / packet.time_base)
                packet.dts = packet.pts
                file.mux(packet)
    return buffer.getvalue()


def written(format: str, subtype: str, samples: Wave, rate: int = RATE, **options: Any) -> bytes:
    """Encode with libsndfile; ``[n]`` or ``[n, channels]``."""
    buffer, channels = io.BytesIO(), samples.shape[1] if samples.ndim > 1 else 1
    with soundfile.SoundFile(buffer, "w", rate, channels, subtype, format=format, **options) as file:
        for start in range(0, len(samples), rate):  # libsndfile crashes on minutes of Vorbis at once
            file.write(samples[start : start + rate])
    return buffer.getvalue()

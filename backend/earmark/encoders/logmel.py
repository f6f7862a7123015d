"""Log-mel encoder: statistics of log-mel bands, without any weights.

The front end is CNN14's (Kong et al., PANNs, 2020): 32 kHz, window 1024, hop 320, 64 mel bands from
50 to 14,000 Hz. Beside the bands, each frame carries how tonal the sound is: spectral flatness and
crest in octaves (MPEG-7, ISO/IEC 15938-4), the highest peaks of autocorrelation and cepstrum, and how
much each band moves inside the frame. Movement over several times, from 10 ms to 0.64 s, tells attacks,
tremolo and steady tones apart, as modulation spectra and the second order of scattering do.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from earmark.encoders.blocks import rechunk

SAMPLE_RATE_HZ = 32_000
WINDOW_SAMPLES = 1024
HOP_SAMPLES = 320
HOPS_PER_FRAME = 8
FRAME_SAMPLES = HOPS_PER_FRAME * HOP_SAMPLES
BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 14_000.0
OCTAVES_HZ = (100, 200, 400, 800, 1600, 3200, 6400, 12_800)
OCTAVES = len(OCTAVES_HZ) - 1
HIGHEST_PITCH_HZ, LOWEST_PITCH_HZ = 1600, 80
"""Where a fundamental is looked for; the window is too short for lower ones."""
PEAKS = 3
"""Autocorrelation, and cepstrum above and below `CEPSTRUM_SPLIT_HZ`."""
CEPSTRUM_SPLIT_HZ = 400
LOWEST_BAND_POWER, LOWEST_BIN_POWER = 1e-8, 1e-7
"""Added before the logarithm; some 30 dB under the dither of 16-bit sound."""
RUN_FLOOR_NATS = 80.0 * np.log(10.0) / 10.0
"""Bands 80 dB under the loudest frame of a run are recording noise and count as equal."""
PERCENTILES = (10.0, 50.0, 90.0)
MOVE_LAGS = (2, 4, 8)
"""Frames over which movement is measured, beside one frame."""
ATTACK_LAGS = (1, 4)
"""Frames over which the greatest rise and fall are measured."""
SMALLEST_SPREAD = 0.23
"""Nats, added to deviations and movements before their logarithm, which makes them comparable: 1 dB, about
the smallest audible change of level, so that features do not depend on how quiet a silence is."""
FRAMES_PER_CHUNK = 64
"""Sound is worked on in chunks of 5 s: small enough for the cache, whatever the file's length."""

TONALITY = 2 * OCTAVES + PEAKS
STATIC_DIM = 2 * BANDS + TONALITY
FRAME_DIM = STATIC_DIM + BANDS
EMBEDDING_DIM = (
    (3 + len(PERCENTILES)) * STATIC_DIM
    + 2 * (BANDS + TONALITY)
    + (1 + len(MOVE_LAGS) + 2 * len(ATTACK_LAGS)) * BANDS
)

_PARAMETERS = {
    "revision": 3,  # raise it whenever the same sound would give other numbers
    "stft": (SAMPLE_RATE_HZ, WINDOW_SAMPLES, HOP_SAMPLES, HOPS_PER_FRAME),
    "mel": (BANDS, LOWEST_HZ, HIGHEST_HZ, LOWEST_BAND_POWER),
    "tonality": (OCTAVES_HZ, LOWEST_BIN_POWER, HIGHEST_PITCH_HZ, LOWEST_PITCH_HZ, CEPSTRUM_SPLIT_HZ),
    "pool": (round(float(RUN_FLOOR_NATS), 6), PERCENTILES, MOVE_LAGS, ATTACK_LAGS, SMALLEST_SPREAD),
}


class LogmelEncoder:
    """Log-mel bands and tonality as frames, their statistics as embeddings; see `Encoder`.

    One frame is 0.08 s: for each of 64 bands the mean and the highest log power over 8 hops, then
    the means of flatness and crest in 7 octaves and of 3 harmonicity peaks, then the mean absolute step
    of each band between hops of the frame: D = 209.
    """

    IDENTITY = "logmel-" + hashlib.sha256(json.dumps(_PARAMETERS).encode()).hexdigest()[:12]

    name = "logmel"
    identity = IDENTITY
    sample_rate = SAMPLE_RATE_HZ
    frame_rate = SAMPLE_RATE_HZ / FRAME_SAMPLES
    frame_dim = FRAME_DIM
    embedding_dim = EMBEDDING_DIM

    def __init__(self) -> None:
        from librosa.filters import mel  # librosa takes a second to import, and only this needs it

        filters = mel(sr=SAMPLE_RATE_HZ, n_fft=WINDOW_SAMPLES, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
        self._mel = np.ascontiguousarray(filters.T, dtype=np.float32)
        phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        self._window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        edges = np.round(np.array(OCTAVES_HZ) * WINDOW_SAMPLES / SAMPLE_RATE_HZ).astype(int)
        self._octaves = list(itertools.pairwise(edges))

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound; see `Encoder.frames`.

        Frame ``i`` holds the hops centred from ``i * 0.08`` up to ``(i + 1) * 0.08`` seconds; the
        last frame may hold fewer than 8. Silence is taken to lie before and after the recording.
        Values that are not finite are taken as silence.
        """
        margin = WINDOW_SAMPLES // 2
        step = FRAMES_PER_CHUNK * FRAME_SAMPLES
        # What is held starts `margin` samples before the first hop that is still to come
        held: NDArray[np.float32] = np.zeros(margin, dtype=np.float32)
        encoded: list[NDArray[np.float16]] = []
        # Chunks of equal length, so that rounding does not depend on how the stream was cut
        for piece in rechunk(blocks, step):
            held = np.concatenate([held, piece])
            if len(held) >= step + 2 * margin:
                encoded.append(self._encode(held[: step + 2 * margin], step))
                held = held[step:]
        left = len(held) - margin
        while left > 0:
            chunk: NDArray[np.float32] = np.zeros(step + 2 * margin, dtype=np.float32)
            usable = held[: len(chunk)]
            chunk[: len(usable)] = usable
            encoded.append(self._encode(chunk, min(left, step)))
            held, left = held[step:], left - step
        if not encoded:
            encoded.append(self._encode(np.zeros(step + 2 * margin, dtype=np.float32), 1))
        return np.concatenate(encoded)

    def _encode(self, chunk: NDArray[np.float32], samples: int) -> NDArray[np.float16]:
        """Frames of the chunk's first ``samples`` samples, float16 ``[ceil(samples / 2560), D]``."""
        windows = sliding_window_view(chunk, WINDOW_SAMPLES)[::HOP_SAMPLES]
        hops = -(-samples // HOP_SAMPLES)
        spectrum = scipy.fft.rfft(windows[:hops] * self._window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        bands = np.log(power @ self._mel + np.float32(LOWEST_BAND_POWER))
        tonality = self._tonality(power + np.float32(LOWEST_BIN_POWER))
        starts = np.arange(0, hops, HOPS_PER_FRAME)
        counts = np.diff(np.append(starts, hops))[:, None]
        steps = np.abs(np.diff(bands, axis=0, append=bands[-1:]))
        steps[starts[1:] - 1] = 0.0  # a step into the next frame belongs to neither
        parts = [
            np.add.reduceat(bands, starts) / counts,
            np.maximum.reduceat(bands, starts),
            np.add.reduceat(tonality, starts) / counts,
            np.add.reduceat(steps, starts) / np.maximum(counts - 1, 1),
        ]
        return np.concatenate(parts, axis=1, dtype=np.float16, casting="same_kind")

    def _tonality(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Flatness and crest in each octave (nats) and harmonicity peaks: ``[hops, TONALITY]``."""
        logs = np.log(power)
        flatness, crest = [], []
        for low, high in self._octaves:
            level = np.log(power[:, low:high].mean(axis=1))
            flatness.append(logs[:, low:high].mean(axis=1) - level)
            crest.append(logs[:, low:high].max(axis=1) - level)
        autocorrelation = scipy.fft.irfft(power, axis=1)
        cepstrum = scipy.fft.irfft(logs, axis=1)
        shortest, split, longest = (
            SAMPLE_RATE_HZ // hz for hz in (HIGHEST_PITCH_HZ, CEPSTRUM_SPLIT_HZ, LOWEST_PITCH_HZ)
        )
        peaks = [
            autocorrelation[:, shortest:longest].max(axis=1) / autocorrelation[:, 0],
            cepstrum[:, shortest:split].max(axis=1),
            cepstrum[:, split:longest].max(axis=1),
        ]
        return np.stack([*flatness, *crest, *peaks], axis=1)

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Statistics of runs of frames: ``[..., n, D]`` with n >= 1 to float32 ``[..., E]``, E = 1544.

        Mean, standard deviation, mean absolute step and percentiles over the run; then mean and
        deviation of the spectrum's shape and of tonality, in which loud frames count for more, so
        that a silent tail changes little; then how much the bands move inside frames and over
        several of them, and their greatest rise and fall. Deviations and movements are logarithms.
        """
        values = np.array(frames[..., :STATIC_DIM], dtype=np.float32)
        bands = values[..., : 2 * BANDS]
        loudness = np.log(np.exp(bands[..., :BANDS]).sum(axis=-1, keepdims=True))
        loudest = loudness.max(axis=-2, keepdims=True)
        np.maximum(bands, loudest - np.float32(RUN_FLOOR_NATS), out=bands)

        parts = [
            values.mean(axis=-2),
            _log(values.std(axis=-2)),
            _log(np.abs(_steps(values, 1)).mean(axis=-2)),
            *_percentiles(values),
        ]

        weights = np.exp(0.5 * (loudness - loudest))  # amplitude, not power: no single frame decides
        weights /= weights.sum(axis=-2, keepdims=True)
        shape = np.concatenate([values[..., :BANDS] - loudness, values[..., 2 * BANDS :]], axis=-1)
        mean = (weights * shape).sum(axis=-2, keepdims=True)
        deviation = np.sqrt((weights * np.square(shape - mean)).sum(axis=-2))
        parts += [mean[..., 0, :], _log(deviation)]

        level = bands[..., :BANDS]
        inside = np.where(level > loudest - np.float32(RUN_FLOOR_NATS), frames[..., STATIC_DIM:], 0.0)
        parts.append(_log(inside.astype(np.float32).mean(axis=-2)))
        parts += [_log(np.abs(_steps(level, lag)).mean(axis=-2)) for lag in MOVE_LAGS]
        for lag in ATTACK_LAGS:
            moves = _steps(level, lag)
            parts += [np.maximum(moves.max(axis=-2), 0.0), np.maximum(-moves.min(axis=-2), 0.0)]
        return np.concatenate(parts, axis=-1, dtype=np.float32)


def _steps(values: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    """Differences over ``lag`` frames of axis -2; one of zero where the run is no longer than that."""
    if values.shape[-2] <= lag:
        return np.zeros_like(values[..., :1, :])
    return np.asarray(values[..., lag:, :] - values[..., :-lag, :])


def _log(spread: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.log(spread + np.float32(SMALLEST_SPREAD)))


def _percentiles(values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """`PERCENTILES` over axis -2, linear; far faster than `numpy.percentile` on many short runs."""
    ordered = np.sort(values, axis=-2)
    percentiles = []
    for percentile in PERCENTILES:
        position = percentile / 100 * (values.shape[-2] - 1)
        low = int(position)
        high = min(low + 1, values.shape[-2] - 1)
        share = np.float32(position - low)
        percentiles.append(ordered[..., low, :] * (1 - share) + ordered[..., high, :] * share)
    return percentiles

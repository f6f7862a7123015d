"""YAMNet as an Encoder: the embedding and the class scores of a patch of 0.96 s around each frame.

Plakal and Ellis, tensorflow/models: a MobileNet v1 that was trained on AudioSet, 521 classes. Its front end
is a magnitude spectrogram at 16 kHz (25 ms windows every 10 ms), 64 mel bands from 125 to 7,500 Hz, and
their logarithm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from earmark.encoders.blocks import sliding_windows

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7_500.0
LOG_OFFSET = 0.001
PATCH_COLUMNS = 96
CLASSES, EMBEDDING_DIM = 521, 1024
PATCHES, EMBEDDING, SCORES = "patches", "embedding", "class_scores"
"""Names of the model's input, float32 ``[n, 1, 96, 64]``, and outputs, ``[n, 1024]`` and ``[n, 521]``."""
MODEL_SHA256 = (
    "6033a308ddfc9e0d8a23d4340bb7cb8fa455a339f3b3497b0585cfaf2bac88ef",
    "c6faf7f7dba0d179293fdcc3468a9a10f54ab8fbc1547218880bae79ff9f8126",
)
"""Of the published graph and of its weights, from which the model is converted."""
FRAME_COLUMNS = 32
"""Spectrogram columns from one frame to the next: 0.32 s."""
FRAME_SAMPLES = FRAME_COLUMNS * HOP_SAMPLES
PATCH_SAMPLES = (PATCH_COLUMNS - 1) * HOP_SAMPLES + WINDOW_SAMPLES
PATCHES_AT_ONCE = 16

FRAME_DIM = EMBEDDING_DIM + CLASSES
POOLED_DIM = EMBEDDING_DIM + FRAME_DIM

_PARAMETERS = {
    "revision": 1,  # raise it whenever the same sound would give other numbers
    "model": MODEL_SHA256,
    "stft": (SAMPLE_RATE_HZ, WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES),
    "mel": (BANDS, LOWEST_HZ, HIGHEST_HZ, LOG_OFFSET),
    "patches": (PATCH_COLUMNS, FRAME_COLUMNS),
}
IDENTITY = "yamnet-" + hashlib.sha256(json.dumps(_PARAMETERS).encode()).hexdigest()[:12]


class YamnetEncoder:
    """See `Encoder`. A frame is the embedding of its patch ``[1024]``, then its class scores ``[521]``.

    Parameters
    ----------
    model
        The float32 ONNX model that `yamnet_model.convert` makes.
    threads
        CPU threads of one pass; several callers may encode at a time.
    """

    name = "yamnet"
    identity = IDENTITY
    sample_rate = SAMPLE_RATE_HZ
    frame_rate = SAMPLE_RATE_HZ / FRAME_SAMPLES
    frame_dim = FRAME_DIM
    embedding_dim = POOLED_DIM
    part_widths = (2 * EMBEDDING_DIM, CLASSES)

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        from earmark.encoders.onnx_session import session  # late: the identity alone needs no onnxruntime

        self._session = session(model, threads)
        self._filters = mel_filters()
        phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        self._window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound; see `Encoder.frames`.

        Frame ``i`` is the patch around its middle, (i + 0.5) · 0.32 s; the last frame may be shorter.
        Silence is taken to lie before and after the recording.
        """
        chunks = sliding_windows(blocks, window=PATCH_SAMPLES, hop=FRAME_SAMPLES, at_once=PATCHES_AT_ONCE)
        return np.concatenate([self._encode(chunk, count) for chunk, count in chunks])

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Mean of the embeddings, then the maximum of all: ``[..., n, 1545]`` to float32 ``[..., 2569]``.

        The maximum of a class score tells whether the class occurs anywhere; its mean ranks clips far worse.
        """
        mean = frames[..., :EMBEDDING_DIM].mean(axis=-2, dtype=np.float32)
        return np.concatenate([mean, frames.max(axis=-2)], axis=-1, dtype=np.float32)

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Its own class scores, which are part of the embedding; see `Tagger.class_layer`."""
        weights = np.zeros((POOLED_DIM, CLASSES), dtype=np.float32)
        weights[-CLASSES:] = np.eye(CLASSES, dtype=np.float32)
        return weights, np.zeros(CLASSES, dtype=np.float32)

    def log_mel(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel columns float32 ``[(n - 400) // 160 + 1, 64]`` of float32 ``[n]``, n >= 400."""
        windows = sliding_window_view(sound, WINDOW_SAMPLES)[::HOP_SAMPLES]
        magnitude = np.abs(scipy.fft.rfft(windows * self._window, FFT_SAMPLES, axis=1))
        return np.asarray(np.log(magnitude @ self._filters + np.float32(LOG_OFFSET)))

    def _encode(self, chunk: NDArray[np.float32], count: int) -> NDArray[np.float16]:
        """Frames float16 ``[count, 1545]`` of the patches that begin every 0.32 s in a chunk."""
        columns = self.log_mel(chunk)
        windows = sliding_window_view(columns, PATCH_COLUMNS, axis=0)[::FRAME_COLUMNS][:count]
        patches = np.ascontiguousarray(windows.transpose(0, 2, 1))[:, None]
        return np.concatenate(
            self._session.run([EMBEDDING, SCORES], {PATCHES: patches}),
            axis=1,
            dtype=np.float16,
            casting="same_kind",
        )


def mel_filters() -> NDArray[np.float32]:
    """Triangles on the HTK mel scale, of height 1: float32 ``[257, 64]``, as TensorFlow makes them."""

    def mel(hertz: NDArray[np.floating] | float) -> NDArray[np.floating]:
        return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))

    bins = mel(np.arange(FFT_SAMPLES // 2 + 1) * (SAMPLE_RATE_HZ / FFT_SAMPLES))[:, None]
    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.maximum(np.minimum(rising, falling), 0.0), dtype=np.float32)

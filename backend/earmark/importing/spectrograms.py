"""Example spectrograms of the import report, as small inline PNG images."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import read_blocks
from earmark.errors import EarmarkError
from earmark.importing.models import clip_labels
from earmark.importing.quality_rules import Verdict

EXAMPLES = 12
SECONDS = 10.0
"""Maximum length shown, from the beginning of a sound."""
RATE = 16_000
_WINDOW, _COLUMNS = 256, 240
_FLOOR_DB, _STEP_DB = -80.0, 4.0
"""Coarse steps make the images a third of the size, without a visible difference."""

Example = tuple[str, str]
"""Title, and the image as a ``data:`` URL."""


def examples(verdicts: Sequence[Verdict]) -> list[Example]:
    """Draw one sound for each of the most frequent labels, or, without labels, an even sample."""
    shown = []
    for title, verdict in _choose(verdicts):
        path = verdict.checked.path
        assert path is not None
        try:
            shown.append((title, _draw(path, verdict.item.fname)))
        except EarmarkError:
            continue  # deleted since the check: the import itself reports it
    return shown


def _choose(verdicts: Sequence[Verdict]) -> list[tuple[str, Verdict]]:
    readable = [v for v in verdicts if v.accepted and v.checked.path and v.checked.path.is_file()]
    by_label: dict[str, Verdict] = {}
    counts: Counter[str] = Counter()
    # Sounds with few labels first: they illustrate a label best.
    for verdict in sorted(readable, key=lambda verdict: len(clip_labels(verdict.item.marks))):
        for label in clip_labels(verdict.item.marks):
            by_label.setdefault(label, verdict)
            counts[label] += 1
    if by_label:
        return [
            (f"{label}: {by_label[label].item.fname}", by_label[label])
            for label, _ in counts.most_common(EXAMPLES)
        ]
    step = max(1, len(readable) // EXAMPLES)
    return [(verdict.item.fname, verdict) for verdict in readable[::step][:EXAMPLES]]


def _draw(path: Path, shown: str) -> str:
    from matplotlib.image import imsave

    image = io.BytesIO()
    imsave(image, _decibels(_read_start(path, shown)), cmap="magma", vmin=_FLOOR_DB, vmax=0.0, origin="lower")
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"


def _read_start(path: Path, shown: str) -> NDArray[np.float32]:
    """Return at least one window of samples, mono, at ``RATE``."""
    parts: list[NDArray[np.float32]] = []
    with closing(read_blocks(path, RATE, SECONDS, name=shown)) as blocks:  # type: ignore[type-var]
        for block in blocks:
            parts.append(block)
            if sum(map(len, parts)) >= SECONDS * RATE:
                break
    samples = np.concatenate(parts)[: int(SECONDS * RATE)]
    return np.pad(samples, (0, max(0, _WINDOW - len(samples))))


def _decibels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the power in dB below its peak, ``[bands, columns]``, the lowest band first."""
    hop = max(1, (len(samples) - _WINDOW) // _COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / max(power.max(), 1e-20), 1e-20)).T
    level = np.round(level / _STEP_DB) * _STEP_DB
    return level

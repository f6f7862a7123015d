"""What a few of the sounds look like: spectrograms small enough for a page to hold."""

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
"""Longer sounds are shown from their beginning."""
RATE = 16_000
_WINDOW, _COLUMNS = 256, 240
_FLOOR_DB, _STEP_DB = -80.0, 4.0
"""Coarse steps make pictures a third the size, and nobody sees them."""

Example = tuple[str, str]
"""What is shown, and the address of its picture, which holds the picture itself."""


def examples(verdicts: Sequence[Verdict]) -> list[Example]:
    """Draw a sound for each of the most frequent labels, or, without labels, some from across the list."""
    shown = []
    for title, verdict in _chosen(verdicts):
        path = verdict.checked.path
        assert path is not None
        try:
            shown.append((title, _drawn(path, verdict.item.fname)))
        except EarmarkError:
            continue  # it went away since it was checked; the import itself says so
    return shown


def _chosen(verdicts: Sequence[Verdict]) -> list[tuple[str, Verdict]]:
    at_hand = [v for v in verdicts if v.let_in and v.checked.path and v.checked.path.is_file()]
    by_label: dict[str, Verdict] = {}
    counts: Counter[str] = Counter()
    # Sounds with few labels first: they show best what the label means.
    for verdict in sorted(at_hand, key=lambda verdict: len(clip_labels(verdict.item.marks))):
        for label in clip_labels(verdict.item.marks):
            by_label.setdefault(label, verdict)
            counts[label] += 1
    if by_label:
        return [
            (f"{label}: {by_label[label].item.fname}", by_label[label])
            for label, _ in counts.most_common(EXAMPLES)
        ]
    step = max(1, len(at_hand) // EXAMPLES)
    return [(verdict.item.fname, verdict) for verdict in at_hand[::step][:EXAMPLES]]


def _drawn(path: Path, shown: str) -> str:
    from matplotlib.image import imsave

    image = io.BytesIO()
    imsave(image, _decibels(_beginning(path, shown)), cmap="magma", vmin=_FLOOR_DB, vmax=0.0, origin="lower")
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"


def _beginning(path: Path, shown: str) -> NDArray[np.float32]:
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
    """Power in dB below its peak, ``[bands, columns]``, the lowest band first."""
    hop = max(1, (len(samples) - _WINDOW) // _COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / max(power.max(), 1e-20), 1e-20)).T
    level = np.round(level / _STEP_DB) * _STEP_DB
    return level

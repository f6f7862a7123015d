"""Example spectrograms of the import report, as small inline PNG images."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from earmark.errors import EarmarkError
from earmark.importing.models import clip_labels
from earmark.importing.quality_rules import Verdict
from earmark.pages.spectrogram import Spectrogram, draw, loudest_level, measure

EXAMPLES = 12
SECONDS = 10.0
"""Maximum length shown, from the beginning of a sound."""
WIDTH = 256
"""Pixels."""

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
    levels = measure(path, shown, SECONDS)
    spectrogram = Spectrogram(levels, loudest_level(levels))
    png = draw(spectrogram, 0.0, min(SECONDS, spectrogram.seconds), WIDTH)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"

"""From frames to what is shown: regions with onset and offset, tags, and how sure all of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.model import ControlHead, Head
from earmark.head.windows import Pool, pool_windows, window_length, window_starts
from earmark.labels.controls import Control

WINDOWS_AT_ONCE = 2048
"""Windows whose embeddings are held at once: 16 MB for CNN14, whatever the recording's length."""
KEEP_SHARE_OF_THRESHOLD = 0.8
"""A region starts at its label's threshold and goes on down to this share of it (hysteresis)."""
CHOICE_MARGIN = 0.1
"""A single choice is shown when its probability is this far on the way from chance to certainty.

A guess costs more than an empty choice: it looks like an answer, tends to be submitted as it is, and
then teaches what was guessed. An empty one takes the same one click as a wrong one.
"""
MERGE_GAP_SECONDS = 0.2
MIN_REGION_SECONDS = 0.15


@dataclass(frozen=True)
class DetectedRegion:
    """One label from ``start`` to ``end`` (seconds); ``score``: mean probability over that time."""

    control: str
    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class ClipPrediction:
    """What a head hears in one recording.

    ``regions``: in order of time. ``tags``: for each control of the whole clip, labels with their
    probability, likeliest first. ``probabilities``: for each control, every learned label's
    probability to be anywhere in the clip. ``score``: certainty in [0, 1], the mean over controls of
    the distance between the two likeliest choices, or between the least certain label and a coin
    toss; 0 where nothing was learned.
    """

    regions: tuple[DetectedRegion, ...]
    tags: dict[str, tuple[tuple[str, float], ...]]
    probabilities: dict[str, dict[str, float]]
    score: float


def predict_clip(
    head: Head,
    controls: Sequence[Control],
    pool: Pool,
    frame_rate: float,
    frames: NDArray[np.floating[Any]],
    duration: float,
) -> ClipPrediction:
    """Everything that ``head`` says about one recording, for ``controls`` as they are now.

    Parameters
    ----------
    head
        Fitted on embeddings of the same encoder. Labels and controls that the label config no
        longer has, or has as another kind, are left out.
    pool, frame_rate
        Of that encoder.
    frames
        ``[T, D]``, T >= 1; an hour needs no more memory than its frames and probabilities.
    duration
        Seconds; regions end there at the latest.
    """
    regions: list[DetectedRegion] = []
    tags: dict[str, tuple[tuple[str, float], ...]] = {}
    probabilities: dict[str, dict[str, float]] = {}
    certainties = []
    known = [
        (control, fitted)
        for control, fitted in ((control, head.controls.get(control.name)) for control in controls)
        if fitted is not None and fitted.kind == control.kind and set(fitted.labels) & set(control.labels)
    ]
    said = _probabilities([fitted for _, fitted in known], pool, frame_rate, frames)
    for (control, fitted), found in zip(known, said, strict=True):
        columns = [i for i, label in enumerate(fitted.labels) if label in control.labels]
        labels = [fitted.labels[column] for column in columns]
        thresholds = fitted.thresholds[columns]
        if control.kind == "regions":
            each = found[:, columns]
            for label, threshold, curve in zip(labels, thresholds, each.T, strict=True):
                regions += [
                    DetectedRegion(control.name, start, end, label, score)
                    for start, end, score in find_regions(curve, float(threshold), frame_rate, duration)
                ]
            whole = each.max(axis=0)
        else:
            whole = found[0, columns]
            if control.kind == "single":
                taken = (np.arange(len(labels)) == whole.argmax()) & _tells_apart(control, fitted, whole)
            else:
                taken = whole >= thresholds
            shown = [(labels[i], float(whole[i])) for i in np.flatnonzero(taken)]
            tags[control.name] = tuple(sorted(shown, key=lambda tag: -tag[1]))
        probabilities[control.name] = dict(zip(labels, whole.tolist(), strict=True))
        certainties.append(_certainty(control, whole))
    regions.sort(key=lambda region: (region.start, region.end, region.control, region.label))
    score = float(np.clip(np.mean(certainties), 0.0, 1.0)) if certainties else 0.0
    return ClipPrediction(tuple(regions), tags, probabilities, score)


def _probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """What each head says of its labels: ``[T, C]`` of every frame, or ``[1, C]`` of the clip for tags.

    Embeddings are the same for all heads, and cost more than all that is said about them.
    """
    with_regions = [head for head in heads if head.kind == "regions"]
    curves = iter(frame_probabilities(with_regions, pool, frame_rate, frames) if with_regions else ())
    clip = pool(frames)[None] if len(with_regions) < len(heads) else np.empty((0, 0), dtype=np.float32)
    return [next(curves) if head.kind == "regions" else head.probabilities(clip) for head in heads]


def frame_probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """For each head, probabilities float32 ``[T, C]`` of its labels in each frame of ``[T, D]``.

    They are means over the windows on a frame, which are pooled once for all heads. A window counts as
    positive in training from half an overlap on, so the mean passes one half where the sound starts and ends.
    """
    count = len(frames)
    length = window_length(frame_rate, count)
    starts = window_starts(frame_rate, count)
    sums = [np.zeros((count + 1, len(head.labels))) for head in heads]
    covered = np.zeros((count + 1, 1))
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        batch = starts[first : first + WINDOWS_AT_ONCE]
        embeddings = pool_windows(pool, frames, batch, length)
        # Each window adds from its first frame on and takes away after its last
        for head, sum_of_head in zip(heads, sums, strict=True):
            found = head.probabilities(embeddings)
            sum_of_head[batch] += found
            sum_of_head[batch + length] -= found
        covered[batch] += 1
        covered[batch + length] -= 1
    windows = np.cumsum(covered, axis=0)[:-1]
    means = [np.cumsum(sum_of_head, axis=0)[:-1] / windows for sum_of_head in sums]
    return [np.clip(mean, 0.0, 1.0).astype(np.float32) for mean in means]


def find_regions(
    curve: NDArray[np.float32], threshold: float, frame_rate: float, duration: float
) -> list[tuple[float, float, float]]:
    """Onset, offset (seconds) and mean probability of each stretch where one label sounds.

    Parameters
    ----------
    curve
        Probabilities ``[T]``.
    threshold
        Probability that a stretch must reach somewhere.
    """
    runs = _runs(curve >= KEEP_SHARE_OF_THRESHOLD * threshold)
    runs = [run for run in runs if curve[slice(*run)].max() >= threshold]
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and (first - merged[-1][1]) / frame_rate <= MERGE_GAP_SECONDS:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    found = []
    for first, last in merged:
        start = max(0.0, first / frame_rate)
        # The last frame may reach past the end, or its rounded-down count end before it
        end = duration if last == len(curve) else min(last / frame_rate, duration)
        if end - start >= min(MIN_REGION_SECONDS, duration) and end > start:
            found.append((start, end, float(curve[first:last].mean())))
    return found


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index and the one after the last of each stretch of true values."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _tells_apart(
    control: Control, fitted: ControlHead, probabilities: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which labels ``[C]`` of a single choice are likely enough to be shown.

    Chance is one of the labels in the label config, whether they were learned or not. A head that
    knows one label alone gives it all of the probability, and tells nothing by it.
    """
    chance = 1 / len(control.labels)
    floor = chance + CHOICE_MARGIN * (1 - chance)
    return (probabilities >= floor) & (len(fitted.labels) > 1)


def _certainty(control: Control, probabilities: NDArray[np.float32]) -> float:
    if control.kind == "single":
        if len(probabilities) < 2:
            return 0.0
        second, first = np.sort(probabilities)[-2:]
        return float(first - second)
    return float(np.abs(2 * probabilities - 1).min())

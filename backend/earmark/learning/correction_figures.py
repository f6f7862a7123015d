"""Correction figures: effort, event F1, edge errors and false alarms of suggestions, over annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from earmark.head.correction_effort import (
    TICK,
    background_seconds,
    drawing_effort,
    edge_errors,
    events_found,
    events_of,
    false_alarms,
    region_effort,
    tag_effort,
)
from earmark.labels.control import Control
from earmark.labels.region import Region


@dataclass
class Correction:
    """Sums over annotations of one control, each against what was suggested for it.

    ``effort``: of correcting the suggestions; ``by_hand``: of annotating without any (see
    `head.correction_effort`). Of regions also ``shown``, ``true`` and ``found`` events, ``false_alarms``,
    ``background_seconds`` without an annotated region, and ``onsets`` and ``offsets``: how many seconds each
    edge of an event that was found is off.
    """

    effort: float = 0.0
    by_hand: float = 0.0
    annotations: int = 0
    shown: int = 0
    true: int = 0
    found: int = 0
    false_alarms: int = 0
    background_seconds: float = 0.0
    onsets: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)

    def add(self, other: Correction) -> None:
        """Add another one's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, which ``Correction(**values)`` reads."""
        return asdict(self)

    def figures(self) -> dict[str, float]:
        """Return the figures that are defined.

        ``annotations``; ``effort_ratio``: of correcting over that of annotating by hand, below 1 where
        suggestions save work; ``event_f1`` within collars of 200 ms; ``onset_error_seconds`` and
        ``offset_error_seconds``, medians; ``false_alarms_per_minute`` of background.
        """
        figures = {"annotations": float(self.annotations)}
        if self.by_hand:
            figures["effort_ratio"] = self.effort / self.by_hand
        if self.shown + self.true:
            figures["event_f1"] = 2 * self.found / (self.shown + self.true)
        if self.onsets:
            figures["onset_error_seconds"] = median(self.onsets)
            figures["offset_error_seconds"] = median(self.offsets)
        if self.background_seconds:
            figures["false_alarms_per_minute"] = 60 * self.false_alarms / self.background_seconds
        return figures

    def mean_edge_error(self) -> float:
        """Return the mean distance of both edges in seconds; 0 where no event was found."""
        return fmean([*self.onsets, *self.offsets]) if self.onsets else 0.0


def region_correction(
    annotated: Iterable[Region], suggested: Iterable[Region], duration: float
) -> Correction:
    """Return the correction of suggested regions to those of one annotation.

    Parameters
    ----------
    duration
        Length of the sound in seconds.
    """
    annotated = list(annotated)
    true = events_of(annotated)
    shown = events_of(region for region in suggested if not is_undecided(region, annotated))
    onsets, offsets = ([round(error, 3) for error in errors] for errors in edge_errors(shown, true))
    return Correction(
        effort=region_effort(shown, true),
        by_hand=drawing_effort(true),
        annotations=1,
        shown=len(shown),
        true=len(true),
        found=events_found(shown, true),
        false_alarms=false_alarms(shown, true),
        background_seconds=round(background_seconds(true, duration), 3),
        onsets=onsets,
        offsets=offsets,
    )


def tag_correction(control: Control, annotated: frozenset[str], suggested: frozenset[str]) -> Correction:
    """Return the correction of suggested tags to those of one annotation."""
    effort = tag_effort(suggested, annotated, control.type.exclusive)
    return Correction(effort=effort, by_hand=TICK * len(annotated), annotations=1)


def region_tags_correction(
    control: Control, annotated: Iterable[Region], suggested: Sequence[Region]
) -> Correction:
    """Return the correction of tags of regions, each compared with those of the suggested region there."""
    total = Correction()
    for region in annotated:
        nearest = max(suggested, key=lambda other: _common(region, other), default=None)
        labels = nearest.labels if nearest is not None and _common(region, nearest) > 0 else frozenset[str]()
        total.add(tag_correction(control, region.labels, labels))
    total.annotations = 1
    return total


def is_undecided(suggested: Region, annotated: Iterable[Region]) -> bool:
    """Return whether a suggested region lies mostly where the annotator left open what sounds."""
    seconds = suggested.end - suggested.start
    return any(
        region.is_open and not suggested.labels & region.absent and 2 * _common(suggested, region) > seconds
        for region in annotated
    )


def _common(first: Region, second: Region) -> float:
    """Return the seconds that both cover; negative where they are apart."""
    return min(first.end, second.end) - max(first.start, second.start)


def summed(corrections: Iterable[Correction]) -> Correction:
    """Return the sums of several."""
    total = Correction()
    for correction in corrections:
        total.add(correction)
    return total


def figures_by_control(corrections: Mapping[str, Mapping[int, Correction]]) -> dict[str, dict[str, float]]:
    """Return the figures of each control, of its corrections by clip."""
    return {name: summed(by_clip.values()).figures() for name, by_clip in corrections.items() if by_clip}

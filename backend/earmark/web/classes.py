"""Classes of a project: examples, quality, threshold, false alarms and confusions of each label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.monitoring.project_status import ProjectState
from earmark.store.models import VersionOutcome
from earmark.store.renames import Names
from earmark.web.version_points import VersionPoint, measured
from earmark.wording import counted

HISTORY = 40
"""Versions of a sparkline."""
CONFUSED_WITH = 2
"""Labels that are named as confused with one."""


@dataclass(frozen=True)
class Confusion:
    """A label that was shown where another one was submitted; ``amount``: seconds, or number of tags."""

    control: str
    submitted: str
    shown: str
    amount: float
    is_seconds: bool

    @property
    def text(self) -> str:
        """The amount with its unit."""
        return f"{self.amount:.1f} s" if self.is_seconds else counted(round(self.amount), "tag")


@dataclass(frozen=True)
class ClassRow:
    """One label, with figures that are None where they are not known.

    ``quality``: F1 on recordings left out. ``threshold``: the probability from which the label is shown,
    where that decides. ``false_alarms``: share of what was shown lately that annotators removed.
    ``history``: quality of the last versions.
    """

    control: str
    label: str
    examples: int
    quality: float | None
    threshold: float | None
    false_alarms: float | None
    confusions: tuple[Confusion, ...]
    history: tuple[float, ...]

    @property
    def sparkline(self) -> str:
        """Points of an SVG polyline in a view box of 100 by 20."""
        step = 100 / max(1, len(self.history) - 1)
        return " ".join(f"{n * step:.1f},{19 - 18 * value:.1f}" for n, value in enumerate(self.history))


def class_rows(
    state: ProjectState,
    points: Sequence[VersionPoint],
    outcomes: Sequence[VersionOutcome],
) -> list[ClassRow]:
    """Return the labels of a project's controls, in the order of the label config.

    What was stored under a former name of a label counts for the present one.
    """
    summary = state.project.annotated or {}
    metrics: Mapping[str, Any] = state.active.metrics if state.active else {}
    qualities = _under_present_names(measured(metrics).classes, state.names)
    confused = confusions(state, outcomes)
    sums = _sums(state.names, outcomes)
    served = [point.measured.classes for point in points if point.state != "rejected"][-HISTORY:]
    history = [_under_present_names(classes, state.names) for classes in served]
    rows = []
    for control in state.controls:
        names = state.names.get(control.name, {})
        counted = _renamed(summary.get("labels", {}).get(control.name, {}), names)
        # What regions and choices are shown does not depend on the thresholds of single labels
        is_by_threshold = not (control.type.draws_regions or control.type.exclusive)
        per_class = (metrics.get(control.name) or {}).get("per_class") or {} if is_by_threshold else {}
        per_class = {**{names.get(label, label): per_class[label] for label in per_class}, **per_class}
        for label in control.labels:
            figures = per_class.get(label, {})
            found, extra = sums[control.name, label]
            place = (control.name, label)
            rows.append(
                ClassRow(
                    control.name,
                    label,
                    counted.get(label, 0),
                    qualities.get(place),
                    control.threshold if control.threshold is not None else figures.get("threshold"),
                    extra / (found + extra) if found + extra else None,
                    tuple(c for c in confused if (c.control, c.submitted) == place)[:CONFUSED_WITH],
                    tuple(classes[place] for classes in history if place in classes),
                )
            )
    return rows


def confusions(state: ProjectState, outcomes: Sequence[VersionOutcome]) -> list[Confusion]:
    """Return which labels were shown in place of which lately, by present names, most frequent first."""
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for outcome in outcomes:
        for control, submitted, shown, amount in outcome.confused:
            names = state.names.get(control, {})
            sums[control, names.get(submitted, submitted), names.get(shown, shown)] += amount
    by_name = {control.name: control for control in state.controls}
    return [
        Confusion(name, submitted, shown, amount, not by_name[name].type.of_clip)
        for (name, submitted, shown), amount in sorted(sums.items(), key=lambda item: -item[1])
        if name in by_name and submitted != shown
    ]


def _sums(names: Names, outcomes: Sequence[VersionOutcome]) -> dict[tuple[str, str], tuple[float, float]]:
    """By control and label what was shown and found right, and what was shown and removed."""
    sums: dict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for outcome in outcomes:
        for control, labels in outcome.labels.items():
            for former, parts in labels.items():
                label = names.get(control, {}).get(former, former)
                found, extra = sums[control, label]
                sums[control, label] = found + parts["found"], extra + parts["extra"]
    return sums


def _under_present_names(
    figures: Mapping[tuple[str, str], float], names: Names
) -> dict[tuple[str, str], float]:
    """Figures by control and label; one under the present name takes precedence over a former name's."""
    renamed = {
        (control, names.get(control, {}).get(label, label)): value
        for (control, label), value in figures.items()
    }
    return renamed | dict(figures)


def _renamed(counts: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Counts under the present names of labels."""
    summed: dict[str, int] = defaultdict(int)
    for label, number in counts.items():
        summed[names.get(label, label)] += number
    return summed

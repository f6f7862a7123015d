"""Control: what a control tag of a label config asks about a sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from earmark.labels.control_types.base import ControlType
from earmark.labels.task_values import resolve
from earmark.labels.verification import VerificationControl
from earmark.labels.visibility import Condition

DEFAULT_FRAME_RATE = 24.0
"""Frames per second of a video whose tag names no rate, as the editor assumes."""


@dataclass(frozen=True)
class Control:
    """One control tag, for one sound of a task.

    ``name`` is unique among a project's controls. ``labels`` are spelled as results spell them, those of
    a hierarchy with the labels above them (``Animal / Dog``).
    """

    name: str
    to_name: str
    type: ControlType
    labels: tuple[str, ...]
    data_key: str
    """Where ``task["data"]`` holds the sound's address: see `task_values.expression`."""
    hints: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Other names of a label: ``predicted_values`` (comma-separated), its shown value, its hint."""
    former: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Former names of a renamed label, the latest first."""
    shown: dict[str, str] = field(default_factory=dict, hash=False)
    """Text that the interface shows for a label whose results are spelled by an alias."""
    from_name: str = ""
    """Name of the tag, as in results: two controls share it where a tag is for several sounds."""
    head_name: str = ""
    """Name under which the control is learned: tags for several sounds, and repeated ones, learn as one."""
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Of each label of a hierarchy, itself and the labels above it, from the top."""
    leaves_only: bool = False
    several: bool = False
    """Whether a region may carry more than one label."""
    options: str = ""
    """Where the task's data holds further labels (``value="$variants"``), if it does."""
    frame_rate: str = ""
    """Frames per second of a video, or where the task's data holds them."""
    conditions: tuple[Condition, ...] = ()
    verification_controls: tuple[VerificationControl, ...] = ()
    """Controls that verify this control's regions."""
    threshold: float | None = None
    """Probability from which a label is shown, if the config sets it (``model_score_threshold``)."""
    trainable: bool = True
    encoder: str = ""
    """Encoder that the config asks for (``model_encoder``); a backend has one for all controls."""
    optional: bool = False
    """Whether a task may lack the sound: copies of a ``Repeater`` are as many as its data has."""

    def __post_init__(self) -> None:
        """Name the tag and the head as the control, where nothing else is said."""
        for name in ("from_name", "head_name"):
            if not getattr(self, name):
                object.__setattr__(self, name, self.name)

    @property
    def result_type(self) -> str:
        """``type`` and value key of this control's results in Label Studio."""
        return self.type.result_type

    def for_task(self, data: object) -> Control:
        """The control as one task shows it: with the labels and the frame rate that its data holds."""
        control = self
        if self.options:
            options = _option_paths(resolve(data, self.options))
            control = control.with_labels(options)
            control = replace(control, options="")
        if self.frame_rate and not _rate(self.frame_rate):
            control = replace(control, frame_rate=str(_rate(resolve(data, self.frame_rate)) or ""))
        return control

    def with_labels(self, paths: Iterable[tuple[str, ...]]) -> Control:
        """The control with further labels, each with those above it, in order."""
        added = {self.type.joined(path): path for path in paths}
        labels = tuple(dict.fromkeys([*self.labels, *added]))
        return replace(self, labels=labels, paths={**added, **self.paths})

    def value(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the part of a result item's value that holds labels; empty where none can be chosen."""
        paths = [self.paths.get(label, (label,)) for label in labels]
        above = {path[:depth] for path in paths for depth in range(1, len(path))}
        inner = self._inner_labels if self.leaves_only else frozenset[str]()
        chosen = [path for path in paths if path not in above and self.type.joined(path) not in inner]
        return self.type.value(chosen) if chosen else {}

    def span_value(self, start: float, end: float) -> dict[str, Any]:
        """Return the part of a result item's value that holds a region's onset and offset (seconds)."""
        return self.type.span_value(start, end, self.frames_per_second)

    def read_span(self, value: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return onset and offset (seconds) in a result item's value; None where they are not usable."""
        return self.type.read_span(value, self.frames_per_second)

    @property
    def frames_per_second(self) -> float:
        """Frame rate of the video, if the control is for one."""
        return _rate(self.frame_rate) or DEFAULT_FRAME_RATE

    def read_labels(self, value: Mapping[str, Any], names: Mapping[str, str]) -> frozenset[str]:
        """Return the labels in a result item's value that the control has, under their present names."""
        labels = set()
        for path in self.type.read_paths(value):
            label = self.type.joined(path)
            label = names.get(label, label)
            if label not in self._label_set:
                label = self._by_leaf(path[-1])
            if label in self._label_set:
                labels.add(label)
        return frozenset(labels)

    def with_ancestors(self, labels: Iterable[str]) -> frozenset[str]:
        """Return labels and those above them: a parent follows from its child."""
        return frozenset(
            above
            for label in labels
            for above in (label, *self._above(label))
            if above == label or above in self._label_set
        )

    def undecided_below(self, labels: frozenset[str]) -> frozenset[str]:
        """Return the labels below a chosen one of which none is chosen: they are left open."""
        deepest = labels - {above for label in labels for above in self._above(label)}
        if not deepest & self._inner_labels:
            return frozenset()
        return frozenset(
            label for label in self.labels if label not in labels and set(self._above(label)) & deepest
        )

    @cached_property
    def _label_set(self) -> frozenset[str]:
        return frozenset(self.labels)

    @cached_property
    def _inner_labels(self) -> frozenset[str]:
        """Labels with others below them."""
        return frozenset(above for label in self.paths for above in self._above(label))

    def _above(self, label: str) -> tuple[str, ...]:
        path = self.paths.get(label, (label,))
        return tuple(self.type.joined(path[:depth]) for depth in range(1, len(path)))

    def _by_leaf(self, leaf: str) -> str:
        """Return the one label whose last part is ``leaf``; empty where none or several have it."""
        labels = [label for label in self.labels if self.paths.get(label, (label,))[-1] == leaf]
        return labels[0] if len(labels) == 1 else ""


def learned_controls(controls: Iterable[Control]) -> tuple[Control, ...]:
    """Return one control for each head, under the head's name: those of several sounds learn as one."""
    by_head: dict[str, Control] = {}
    for control in controls:
        by_head.setdefault(control.head_name, replace(control, name=control.head_name))
    return tuple(by_head.values())


def with_options(controls: Sequence[Control], tasks: Iterable[Mapping[str, Any]]) -> tuple[Control, ...]:
    """Return controls with all labels that tasks' data offers for them."""
    dynamic = {control.name for control in controls if control.options}
    if not dynamic:
        return tuple(controls)
    data = list(tasks)
    return tuple(
        control.with_labels(
            path for task_data in data for path in _option_paths(resolve(task_data, control.options))
        )
        if control.name in dynamic
        else control
        for control in controls
    )


def _option_paths(options: object, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the labels in a task's data: objects with ``value``, ``alias`` and ``children``, or texts."""
    paths: list[tuple[str, ...]] = []
    for option in options if isinstance(options, list) and len(above) < 10 else []:
        if isinstance(option, str):
            option = {"value": option}
        name = option.get("alias") or option.get("value") if isinstance(option, dict) else None
        if isinstance(name, str) and name:
            paths.append((*above, name))
            paths += _option_paths(option.get("children"), paths[-1])
    return paths


def _rate(value: object) -> float | None:
    """Frames per second; numbers below 1 are seconds per frame, as in the editor."""
    try:
        number = float(value) if isinstance(value, str | int | float) else 0.0
    except ValueError:
        return None
    if not 0 < number < 1e6:
        return None
    return 1 / number if number < 1 else number

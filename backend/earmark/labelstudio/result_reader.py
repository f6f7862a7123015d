"""Reader of Label Studio's results: regions and tags of each control, and labels that were left open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from earmark.labels.control import Control
from earmark.labels.region import Region
from earmark.labels.visibility import Chosen
from earmark.labelstudio.region_judgement import chosen_texts, judged_region, judgements

ACCEPTED_WEIGHT = 0.5
"""Weight of a prediction that was submitted unchanged, relative to what an annotator drew or chose.

The annotator may have overlooked it, and its edges are the model's own: with full weight, the model would
be trained on its own output.
"""

Item = dict[str, Any]


@dataclass(frozen=True)
class ReadResult:
    """An annotation's result, by control name.

    No region in a submitted annotation means that nothing sounds. A control without a choice is missing
    from ``tags``: not answered. An empty set means that none of its tags applies.
    """

    regions: dict[str, tuple[Region, ...]]
    """Of controls that draw regions, and of those for each region, whose labels are its choices. One that
    the annotator could not see is missing."""
    tags: dict[str, frozenset[str]]
    tag_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each control's choices in training, from 0 to 1, as `Region.weight` for regions."""
    open_tags: dict[str, frozenset[str]] = field(default_factory=dict)
    """Labels of the whole clip that the annotation leaves open: not offered, or below a chosen one."""
    hidden: frozenset[str] = frozenset()
    """Controls that the annotator could not see (``visibleWhen``): all of their labels are open."""


def read_result(
    result: Iterable[object],
    controls: Sequence[Control],
    names: Mapping[str, Mapping[str, str]] | None = None,
    data: object = None,
) -> ReadResult:
    """Parse an annotation's result, skipping items that are not usable regions or choices.

    Labels that are not (or no longer) in the label config are dropped.

    Parameters
    ----------
    names
        For each control, the current name of each renamed label.
    data
        The task's data, which may hold labels and a video's frame rate.
    """
    items = [item for item in result if isinstance(item, dict) and isinstance(item.get("value"), dict)]
    chosen = _chosen(items, controls)
    hidden = frozenset(
        control.name
        for control in controls
        if any(condition.is_met(chosen) is False for condition in control.conditions)
    )
    of_task = {control.name: control.for_task(data) for control in controls}
    visible = [control for control in of_task.values() if control.name not in hidden]
    by_item = _Lookup(visible)
    tags: dict[str, frozenset[str]] = {}
    tag_weights: dict[str, float] = {}
    for item in items:
        control = by_item.control(item)
        if control is None or not control.type.of_clip:
            continue
        labels = control.read_labels(item["value"], (names or {}).get(control.name, {}))
        if labels:
            tags[control.name] = tags.get(control.name, frozenset()) | labels
            tag_weights[control.name] = max(_weight(item), tag_weights.get(control.name, 0.0))
    open_tags: dict[str, frozenset[str]] = {}
    for control in controls:
        if control.name in tags:
            tags[control.name] = of_task[control.name].with_ancestors(tags[control.name])
        below = of_task[control.name].undecided_below(tags.get(control.name, frozenset()))
        not_offered = frozenset(control.labels) - set(of_task[control.name].labels)
        if control.type.of_clip and (below or not_offered):
            open_tags[control.name] = below | not_offered
    regions = _regions(items, visible, by_item, names or {})
    return ReadResult(regions, tags, tag_weights, open_tags, hidden)


def visible_items(items: list[Item], controls: Sequence[Control]) -> list[Item]:
    """Return a prediction's items without those of controls that its own choices would hide."""
    while True:
        chosen = _chosen(items, controls)
        hidden = {
            (control.from_name, control.to_name)
            for control in controls
            for condition in control.conditions
            if condition.tag in chosen and condition.is_met(chosen) is False
        }
        visible = [item for item in items if (item["from_name"], item["to_name"]) not in hidden]
        if len(visible) == len(items):
            return visible
        items = visible


class _Lookup:
    """Finds the control of a result item, by its tag and its sound."""

    def __init__(self, controls: Sequence[Control]) -> None:
        self._controls: dict[str, list[Control]] = {}
        for control in controls:
            self._controls.setdefault(control.from_name, []).append(control)

    def control(self, item: Item) -> Control | None:
        """Return the item's control; with one that names no known sound, the tag's first."""
        controls = self._controls.get(str(item.get("from_name")), [])
        of_sound = [control for control in controls if control.to_name == item.get("to_name")]
        return next(iter(of_sound or controls), None)


def _chosen(items: Iterable[Item], controls: Sequence[Control]) -> Chosen:
    """Values chosen of each ``Choices`` and ``Taxonomy``, as results spell them and as they are shown."""
    shown = {control.from_name: control.shown for control in controls}
    chosen: dict[str, frozenset[str]] = {}
    for item in items:
        name = str(item.get("from_name"))
        texts = frozenset(chosen_texts(item["value"]))
        texts |= {shown[name][text] for text in texts if name in shown and text in shown[name]}
        if texts:
            chosen[name] = chosen.get(name, frozenset()) | texts
    return chosen


def _regions(
    items: Sequence[Item],
    controls: Sequence[Control],
    by_item: _Lookup,
    names: Mapping[str, Mapping[str, str]],
) -> dict[str, tuple[Region, ...]]:
    """Regions by control: items of one id are one region."""
    regions: dict[str, list[Region]] = {c.name: [] for c in controls if not c.type.of_clip}
    groups: dict[object, list[Item]] = {}
    for place, item in enumerate(items):
        item_id = item.get("id")
        groups.setdefault(item_id if isinstance(item_id, str) and item_id else place, []).append(item)
    for group in groups.values():
        judging = next(iter(judgements(group).values()), {})
        labelled = False
        for item in group:
            control = by_item.control(item)
            if control is None or control.type.of_clip:
                continue
            paths, span = control.type.read_paths(item["value"]), control.read_span(item["value"])
            labels = control.read_labels(item["value"], names.get(control.name, {}))
            labelled = labelled or (control.type.draws_regions and bool(paths))
            if span is None:
                span = _span_of(group, controls, item.get("to_name")) if control.type.per_region else None
            if not labels or span is None:
                continue
            region = Region(*span, control.with_ancestors(labels), _weight(item))
            if control.type.draws_regions:
                region = judged_region(region, control, judging)
            regions[control.name].append(replace(region, channel=_channel_of(group)))
        if not labelled:
            _add_unnamed(regions, group, controls)
    return {name: tuple(spans) for name, spans in regions.items()}


def _add_unnamed(
    regions: dict[str, list[Region]], group: Sequence[Item], controls: Sequence[Control]
) -> None:
    """Add a region without a label to the controls that could have named it: something sounds there."""
    for control in controls:
        if control.type.draws_regions and (span := _span_of(group, [control], control.to_name)):
            channel = _channel_of(group)
            regions[control.name].append(Region(*span, frozenset(), is_open=True, channel=channel))


def _span_of(
    group: Sequence[Item], controls: Sequence[Control], to_name: object
) -> tuple[float, float] | None:
    """Span of a region, from any item of it on a sound."""
    drawing = [c for c in controls if c.to_name == to_name and c.type.draws_regions]
    spans = (
        control.read_span(item["value"])
        for control in drawing
        for item in group
        if item.get("to_name") == to_name
    )
    return next((span for span in spans if span is not None), None)


def _channel_of(group: Sequence[Item]) -> int:
    """Channel that a region was drawn on, from any item of it; 0 where none names one."""
    channels = (item["value"].get("channel") for item in group)
    return next((channel for channel in channels if type(channel) is int and channel > 0), 0)


def _weight(item: Item) -> float:
    """Return an item's weight by its ``origin``: manual, predicted and changed, or predicted.

    Items without an origin come from the API, or are copies of predictions, which keep their score.
    """
    origin = item.get("origin")
    copied = origin is None and item.get("score") is not None
    return ACCEPTED_WEIGHT if origin == "prediction" or copied else 1.0

"""Parser of the interactive context (``params.context``): drawn regions that are still to be answered.

Label Studio's editor sends a request when a region gets a label, is selected, moved or deleted, and on
Submit. It includes every region with the same label, so most were answered or finished long before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.labels.control import Control

MOST_DRAWN_REGIONS = 100
"""Maximum number of regions answered in a request."""
LONGEST_ID = 100


@dataclass(frozen=True)
class DrawnRegion:
    """A region as the editor sent it: ``start`` and ``end`` in seconds, ``start < end``.

    ``control``: whose labels are to be predicted. ``labels``: those of them that the annotator chose.
    """

    id: str
    control: Control
    start: float
    end: float
    channel: int
    labels: frozenset[str]


def interactive_context(params: object) -> object:
    """Return the context of an interactive request; None for a request about whole recordings."""
    return params.get("context") if isinstance(params, dict) else None


def drawn_regions(
    context: object, task: object, controls: Sequence[Control], tools: frozenset[str]
) -> list[DrawnRegion]:
    """Return the regions of a context to be answered, each id once; invalid items are skipped.

    Regions that are answered or finished are left out: those from a prediction or a suggestion (by their
    ``origin``), those in the task's stored annotations or predictions, those with a label in its drafts, and
    those with a label in addition to the mark of a suggestion tool. The editor saves a draft by itself some
    seconds after a region was drawn, so a region in it without a label still waits for one.

    Parameters
    ----------
    controls
        All controls of the label config; those with regions are used.
    tools
        Names of its suggestion tools.
    """
    labelling = {control.from_name: control for control in controls if control.type.draws_regions}
    items = context.get("result") if isinstance(context, dict) else None
    grouped: dict[str, list[dict[str, Any]]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and (item_id := _id(item)):
            grouped.setdefault(item_id, []).append(item)
    finished = set(_stored_ids(task, "annotations", "predictions"))
    drafted = set(_stored_ids(task, "drafts"))
    regions = []
    for item_id, region_items in grouped.items():
        if item_id in finished or any(item.get("origin") not in (None, "manual") for item in region_items):
            continue
        region = _region(item_id, region_items, labelling, tools)
        if region is not None and not (region.labels and item_id in drafted):
            regions.append(region)
    return regions[:MOST_DRAWN_REGIONS]


def _region(
    region_id: str, items: Sequence[dict[str, Any]], labelling: Mapping[str, Control], tools: frozenset[str]
) -> DrawnRegion | None:
    marked, control, labels = False, None, frozenset[str]()
    span, channel = None, 0
    for item in items:
        name, to_name, value = item.get("from_name"), item.get("to_name"), item.get("value")
        if not isinstance(name, str) or not isinstance(value, dict):
            continue
        if name in tools:
            marked = True
            item_control = next((c for c in labelling.values() if c.to_name == to_name), None)
        else:
            item_control = labelling.get(name)
        if item_control is None:
            continue
        control = control or item_control
        span = span or item_control.read_span(value)
        if type(value.get("channel")) is int:
            channel = value["channel"] if 0 <= value["channel"] < 2**15 else 0
        if name not in tools:
            labels |= set(item_control.type.read_labels(value))
    if control is None or span is None or (marked and labels):
        return None
    return DrawnRegion(region_id, control, *span, channel, labels)


def _stored_ids(task: object, *kinds: str) -> Iterator[str]:
    """Yield the ids of all result items that Label Studio has stored for a task, of these kinds."""
    for name in kinds:
        stored = task.get(name) if isinstance(task, dict) else None
        for entry in stored if isinstance(stored, list) else []:
            result = entry.get("result") if isinstance(entry, dict) else None
            for item in result if isinstance(result, list) else []:
                if isinstance(item, dict) and (item_id := _id(item)):
                    yield item_id


def _id(item: Mapping[str, Any]) -> str:
    """Return an item's id; empty where it has no usable one."""
    item_id = item.get("id")
    return item_id if isinstance(item_id, str) and len(item_id) <= LONGEST_ID else ""

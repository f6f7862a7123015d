"""Interactive context: the drawn regions in ``params.context`` that still wait for an answer.

Label Studio's editor asks whenever a region gets a label, is selected, moved or deleted, and on Submit. It
sends every region with the same label, so most of what comes here was answered or finished long before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.labels.controls import Control
from earmark.labelstudio.results import read_span

MOST_REGIONS = 100
"""Regions that one request is answered for."""
LONGEST_ID = 100


@dataclass(frozen=True)
class DrawnRegion:
    """A region as the editor sent it: ``start`` and ``end`` in seconds, ``start < end``.

    ``control``: whose labels are asked for. ``labels``: those of them that the annotator chose.
    """

    id: str
    control: Control
    start: float
    end: float
    channel: int
    labels: frozenset[str]


def interactive_context(params: object) -> object:
    """The context of an interactive request; None for a request that asks for a whole recording."""
    return params.get("context") if isinstance(params, dict) else None


def drawn_regions(
    context: object, task: object, controls: Sequence[Control], tools: frozenset[str]
) -> list[DrawnRegion]:
    """Return the regions of a context to answer, each id once; whatever is not usable is passed over.

    Left out is what has been answered or finished: a region that came from a prediction or a suggestion
    (its ``origin`` says so), one that the task's stored annotations, drafts or predictions hold, and one
    that has a label beside the mark of a suggestion tool.

    Parameters
    ----------
    controls
        Of the label config, of any kind; those with regions are answered for.
    tools
        Names of the suggestion tools in it.
    """
    labelling = {control.name: control for control in controls if control.kind == "regions"}
    items = context.get("result") if isinstance(context, dict) else None
    grouped: dict[str, list[dict[str, Any]]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and (number := _id(item)):
            grouped.setdefault(number, []).append(item)
    finished = set(_stored_ids(task))
    regions = []
    for number, own in grouped.items():
        if number in finished or any(item.get("origin") not in (None, "manual") for item in own):
            continue
        region = _region(number, own, labelling, tools)
        if region is not None:
            regions.append(region)
    return regions[:MOST_REGIONS]


def _region(
    number: str, items: Sequence[dict[str, Any]], labelling: Mapping[str, Control], tools: frozenset[str]
) -> DrawnRegion | None:
    marked, control, labels = False, None, frozenset[str]()
    span, channel = None, 0
    for item in items:
        name, to_name, value = item.get("from_name"), item.get("to_name"), item.get("value")
        if not isinstance(name, str) or not isinstance(value, dict):
            continue
        if name in tools:
            marked = True
            asked = next((c for c in labelling.values() if c.to_name == to_name), None)
        else:
            asked = labelling.get(name)
        if asked is None:
            continue
        control = control or asked
        span = span or read_span(value)
        if type(value.get("channel")) is int:
            channel = value["channel"] if 0 <= value["channel"] < 2**15 else 0
        chosen = value.get("labels")
        if name not in tools and isinstance(chosen, list):
            labels |= {label for label in chosen if isinstance(label, str)}
    if control is None or span is None or (marked and labels):
        return None
    return DrawnRegion(number, control, *span, channel, labels)


def _stored_ids(task: object) -> Iterator[str]:
    """Ids of all items in what Label Studio has stored for a task."""
    for name in ("annotations", "drafts", "predictions"):
        stored = task.get(name) if isinstance(task, dict) else None
        for one in stored if isinstance(stored, list) else []:
            result = one.get("result") if isinstance(one, dict) else None
            for item in result if isinstance(result, list) else []:
                if isinstance(item, dict) and (number := _id(item)):
                    yield number


def _id(item: Mapping[str, Any]) -> str:
    """An item's id, empty where it has none that can be sent back."""
    number = item.get("id")
    return number if isinstance(number, str) and len(number) <= LONGEST_ID else ""

"""True annotations of the demo's clips, in the form of Label Studio's results."""

from __future__ import annotations

from typing import Any

from earmark.labels.control import Control
from earmark.labelstudio.results import choices_item, region_item
from scripts.demo_clips import DemoClip


def true_result(clip: DemoClip, controls: tuple[Control, ...]) -> list[dict[str, Any]]:
    """The result that an annotator who misses nothing would submit for a clip."""
    items: list[dict[str, Any]] = []
    for control in controls:
        if control.type.draws_regions:
            items += [
                region_item(control, e.onset, e.offset, e.label, 1.0, clip.duration, f"{clip.name}-{n}")
                for n, e in enumerate(clip.events)
            ]
        else:
            labels = sorted({event.label for event in clip.events})
            items.append(choices_item(control, labels, 1.0, clip.name))
    for item in items:
        del item["score"]
        item["origin"] = "manual"
    return items

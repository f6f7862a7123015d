"""Denied labels ("not X") and verification projects of an import.

A denied label becomes a region with that label and the verdict that it is wrong, because Label Studio has no
other place for it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earmark.errors import LabelConfigError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.models import Sound
from earmark.labels.control import Control
from earmark.labels.denials import denied_label
from earmark.labels.label_config import read_label_config
from earmark.labels.verification import VerificationControl
from earmark.labelstudio.results import region_item

VERDICT_NAME, CORRECTION_NAME = "verdict", "corrected"


def region_labels(label_config: str) -> set[str]:
    """Return the labels of all controls for regions.

    Raises
    ------
    LabelConfigError
        The label config cannot be read.
    """
    controls = read_label_config(label_config).controls
    return {label for control in controls if control.type.draws_regions for label in control.labels}


def labels_in(sounds: Sequence[Sound]) -> set[str]:
    """Return the labels of sounds for a new label config: all but those that deny another one.

    Where every label begins with "not", each denies what follows.
    """
    texts = {
        text
        for sound in sounds
        for record in sound.marks
        for text in (
            *(tag for tags in record.tags.values() for tag in tags),
            *(region.label for regions in record.regions.values() for region in regions if region.label),
        )
    }
    denied = {text for text in texts if text.lower().startswith("not ")}
    if texts and denied == texts:
        return {text[4:].strip() for text in texts}
    return {text for text in texts if denied_label(text, texts - {text}) is None}


def with_denials(sounds: Sequence[Sound], labels: Collection[str], verify: bool) -> list[Sound]:
    """Return sounds whose denied labels are regions that say so; of a clip's tag, the whole clip.

    ``verify``: tags that are not denied become regions of the whole clip, too, so that each can be judged.
    """
    return [
        replace(
            sound,
            marks=tuple(_record(record, sound.facts.duration, labels, verify) for record in sound.marks),
        )
        for sound in sounds
    ]


def _record(record: ClipRecord, duration: float, labels: Collection[str], verify: bool) -> ClipRecord:
    regions: dict[str, list[RegionRecord]] = {
        name: [_region(region, labels) for region in group] for name, group in record.regions.items()
    }
    tags: dict[str, tuple[str, ...]] = {}
    for name, group in record.tags.items():
        score = record.tag_scores.get(name)
        for tag in group:
            denied = denied_label(tag, labels)
            if denied is not None or verify:
                region = RegionRecord(0.0, duration, denied or tag, score, is_denied=denied is not None)
                regions.setdefault("" if verify or name not in regions else name, []).append(region)
        left = tuple(tag for tag in group if not verify and denied_label(tag, labels) is None)
        if left or (not group and not verify):
            tags[name] = left
    return replace(record, tags=tags, regions={name: tuple(group) for name, group in regions.items()})


def _region(region: RegionRecord, labels: Collection[str]) -> RegionRecord:
    denied = denied_label(region.label, labels)
    return region if denied is None else replace(region, label=denied, is_denied=True)


def has_denials(sounds: Sequence[Sound]) -> bool:
    """Whether any label is denied."""
    return any(
        region.is_denied
        for sound in sounds
        for record in sound.marks
        for regions in record.regions.values()
        for region in regions
    )


def find_verdict(label_config: str, labels: Collection[str]) -> VerificationControl:
    """Return the control of a label config that verifies regions.

    Raises
    ------
    LabelConfigError
        There is none: the message has the lines to add.
    """
    config = read_label_config(label_config)
    for control in config.verification_controls:
        if control.role == "verdict" and control.wrong:
            return control
    view = ElementTree.Element("View")
    target = next((c.to_name for c in config.controls if c.type.draws_regions), "audio")
    add_verification(view, target, labels)
    ElementTree.indent(view)
    lines = "\n".join(ElementTree.tostring(each, encoding="unicode").rstrip() for each in view)
    raise LabelConfigError(
        "The project's label config has no control that judges regions, which denied labels and verification "
        f"need. Nothing was imported: add these lines under Settings, Labeling Interface.\n{lines}"
    )


def add_verification(view: ElementTree.Element, target: str, labels: Collection[str]) -> None:
    """Add a verdict for each region to a label config, and a correction that is shown after a wrong one."""
    verdict = ElementTree.SubElement(
        view,
        "Choices",
        name=VERDICT_NAME,
        toName=target,
        perRegion="true",
        visibleWhen="region-selected",
        earmark_role="verdict",
        showInline="true",
    )
    for value, hotkey in (("Correct", "c"), ("Incorrect", "i"), ("Unsure", "u")):
        ElementTree.SubElement(verdict, "Choice", value=value, hotkey=hotkey)
    correction = ElementTree.SubElement(
        view,
        "Choices",
        name=CORRECTION_NAME,
        toName=target,
        perRegion="true",
        visibleWhen="choice-selected",
        whenTagName=VERDICT_NAME,
        whenChoiceValue="Incorrect",
        earmark_role="correction",
    )
    for label in [*sorted(labels), "something else"]:
        ElementTree.SubElement(correction, "Choice", value=label)


def wrong_item(control: Control, region: Mapping[str, Any], verdict: VerificationControl) -> dict[str, Any]:
    """Return the result item that says of a region that its label is wrong."""
    span = {key: value for key, value in region["value"].items() if key != control.result_type}
    chosen = {"type": "choices", "value": {**span, "choices": sorted(verdict.wrong)[:1]}}
    return {**region, "from_name": verdict.name, **chosen}


def unnamed_item(control: Control, start: float, end: float, sound: Sound) -> dict[str, Any]:
    """Return a region without a label, which leaves open what else sounds there; times in seconds."""
    item = region_item(control, start, end, "", 1.0, sound.facts.duration, sound.identity)
    return {**item, "value": {**control.span_value(start, end), control.result_type: []}}

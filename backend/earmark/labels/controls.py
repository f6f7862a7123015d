"""Label config parser: the controls for sound, with their labels and the data key of their sound."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from functools import lru_cache

from earmark.errors import LabelConfigError
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.registry import type_of_tag

_AUDIO_TAGS = {"Audio", "AudioPlus"}


@dataclass(frozen=True)
class Control:
    """One control tag of a label config that sound can be predicted for.

    ``labels`` are spelled as results spell them.
    """

    name: str
    to_name: str
    type: ControlType
    labels: tuple[str, ...]
    data_key: str
    """Key of ``task["data"]`` that holds the sound's address."""
    hints: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Other names of a label, from ``predicted_values`` (comma-separated) or its shown value."""
    shown: dict[str, str] = field(default_factory=dict, hash=False)
    """Text that the interface shows for a label whose results are spelled by an alias."""

    @property
    def result_type(self) -> str:
        """``type`` and value key of this control's results in Label Studio."""
        return self.type.result_type


@lru_cache(maxsize=256)
def parse_label_config(label_config: str) -> tuple[Control, ...]:
    """Find every control that Earmark can serve, in document order.

    ``Labels`` and ``Choices`` that point to an ``Audio`` tag are taken; a ``Choices`` for each
    region (``perRegion``), suggestion tools and controls of other data are left alone.

    Raises
    ------
    LabelConfigError
        The text is not XML, or no control in it points to audio.
    """
    try:
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise LabelConfigError(
            f"The label config is not valid XML ({error}): correct it under Settings, Labeling Interface."
        ) from error
    sounds = {
        tag.get("name", ""): tag.get("value", "").lstrip("$") for tag in root.iter() if tag.tag in _AUDIO_TAGS
    }
    controls = []
    tools = set(_tools(root))
    for tag in root.iter():
        control_type = type_of_tag(tag) if tag not in tools else None
        to_name = next((name for name in tag.get("toName", "").split(",") if name in sounds), None)
        if control_type is None or to_name is None or not sounds[to_name] or not tag.get("name"):
            continue
        labels, hints = _labels(tag, control_type.label_tag)
        if labels:
            shown = {
                label.get("alias", ""): label.get("value", "") for label in tag.iter(control_type.label_tag)
            }
            shown.pop("", None)
            control = Control(
                tag.get("name", ""), to_name, control_type, labels, sounds[to_name], hints, shown
            )
            controls.append(control)
    if not controls:
        raise LabelConfigError(
            "The label config has no Labels or Choices with at least one label for an Audio tag: "
            "add one, as label_config.xml shows."
        )
    return tuple(controls)


@lru_cache(maxsize=256)
def suggestion_tools(label_config: str) -> frozenset[str]:
    """Names of the ``Labels`` that mark a region only to request its label; see `_tools`."""
    try:
        return frozenset(tag.get("name", "") for tag in _tools(ElementTree.fromstring(label_config)))
    except ElementTree.ParseError:
        return frozenset()  # parse_label_config raises on it


@lru_cache(maxsize=256)
def several_labels(label_config: str) -> frozenset[str]:
    """Names of the ``Labels`` whose regions may carry more than one label (``choice="multiple"``)."""
    try:
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError:
        return frozenset()  # parse_label_config raises on it
    return frozenset(tag.get("name", "") for tag in root.iter("Labels") if tag.get("choice") == "multiple")


def _tools(root: ElementTree.Element) -> list[ElementTree.Element]:
    """``Labels`` with ``smartOnly="true"`` beside others on the same sound: their labels are never learned.

    Label Studio's editor overwrites the label of a backend's answer with the selected one. So the label
    that requests a suggestion must be of another tag than the suggested labels.
    """
    labels = [tag for tag in root.iter("Labels") if tag.get("toName")]
    ordinary = {tag.get("toName") for tag in labels if not _flag(tag, "smartOnly")}
    return [tag for tag in labels if _flag(tag, "smartOnly") and tag.get("toName") in ordinary]


def _flag(tag: ElementTree.Element, name: str) -> bool:
    """Whether an attribute is true; the editor takes attribute names in any case."""
    return any(k.lower() == name.lower() and v.lower() == "true" for k, v in tag.attrib.items())


def _labels(
    control: ElementTree.Element, label_tag: str
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Label names as results spell them (the alias wins over the value), and their other names."""
    hints: dict[str, tuple[str, ...]] = {}
    for tag in control.iter(label_tag):
        value, alias = tag.get("value", ""), tag.get("alias", "")
        name = alias or value
        if name and name not in hints:
            other_names = [part.strip() for part in tag.get("predicted_values", "").split(",")]
            other_names += [value] if alias else []
            hints[name] = tuple(hint for hint in other_names if hint)
    return tuple(hints), {name: other_names for name, other_names in hints.items() if other_names}

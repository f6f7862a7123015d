"""Projects as an import needs them: found by number or title, and with a place for each label."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from typing import Any

from backend.errors import ConfigurationError, LabelConfigError
from backend.labelstudio.client import explained
from backend.labelstudio.config import Control, parse_label_config
from backend.labelstudio.sound_lists import Sound


def find_control(label_config: str, sounds: Sequence[Sound]) -> Control:
    """Find the Choices control that has every label of the sounds.

    Raises
    ------
    LabelConfigError
        There is none: the message lists what is missing, with the number of files of each; or a
        sound has several labels and the control takes one.
    """
    files_of = Counter(label for sound in sounds for label in sound.labels)
    tags = [control for control in parse_label_config(label_config) if control.kind != "regions"]
    if not tags:
        raise LabelConfigError(
            "The project has no Choices for whole sounds, which labels of a table could go to: add one under "
            "Settings, Labeling Interface, or use --as none."
        )
    best = min(tags, key=lambda control: len(files_of.keys() - set(control.labels)))
    missing = sorted(files_of.keys() - set(best.labels))
    if missing:
        listing = ", ".join(f"{label} ({files_of[label]} files)" for label in missing)
        raise LabelConfigError(
            f"{len(missing)} labels are missing from the project's Choices '{best.name}': {listing}. "
            "Add them under Settings, Labeling Interface, or use --as none; nothing was imported."
        )
    crowded = [sound.fname for sound in sounds if len(sound.labels) > 1]
    if crowded and best.kind == "single":
        raise LabelConfigError(
            f"{len(crowded)} files have several labels ({', '.join(crowded[:3])} …), but the "
            f"Choices '{best.name}' take one: "
            'set choice="multiple" there; nothing was imported.'
        )
    return best


def audio_data_key(label_config: str) -> str:
    """Field of a task's data that the first Audio tag reads.

    Raises
    ------
    LabelConfigError
        The label config is not XML or has no Audio tag.
    """
    try:
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise LabelConfigError(f"The label config is not valid XML ({error}).") from error
    for tag in root.iter():
        if tag.tag in ("Audio", "AudioPlus") and tag.get("value", "").startswith("$"):
            return tag.get("value", "").removeprefix("$")
    raise LabelConfigError(
        "The project's label config has no Audio tag: set it up under Settings, Labeling Interface, "
        "as label_config.xml shows."
    )


def make_label_config(labels: Sequence[str]) -> str:
    """Return a label config with these labels as tags of the whole sound."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Audio", name="audio", value="$audio", hotkey="ctrl+enter")
    ElementTree.SubElement(view, "Header", value="What is heard anywhere in the clip?")
    tags = ElementTree.SubElement(
        view, "Choices", name="tags", toName="audio", choice="multiple", showInline="true"
    )
    for label in labels:
        ElementTree.SubElement(tags, "Choice", value=label)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def find_project(client: Any, url: str, wanted: str) -> Any | None:
    """Find a project by its number, else by its exact title.

    Raises
    ------
    ConfigurationError
        Several projects have the title.
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    from label_studio_sdk.core.api_error import ApiError

    with explained(url):
        if wanted.isdecimal():
            try:
                return client.projects.get(id=int(wanted))
            except ApiError as error:
                if error.status_code != 404:
                    raise
        named = [project for project in client.projects.list(title=wanted) if project.title == wanted]
        if len(named) > 1:
            numbers = ", ".join(str(project.id) for project in named)
            raise ConfigurationError(
                f"Projects {numbers} have the title '{wanted}': give --project its number."
            )
        return client.projects.get(id=named[0].id) if named else None


def create_project(client: Any, url: str, title: str, label_config: str) -> Any:
    """Make a project.

    Raises
    ------
    ConfigurationError
        Label Studio would refuse the title.
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    if not 3 <= len(title) <= 50:
        raise ConfigurationError(f"Label Studio takes titles of 3 to 50 letters, '{title}' has {len(title)}.")
    with explained(url):
        return client.projects.create(title=title, label_config=label_config)

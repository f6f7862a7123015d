"""Projects as an import needs them: found by number or title, or made."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from backend.errors import ConfigurationError, LabelConfigError
from backend.labelstudio.client import explained
from backend.labelstudio.once import PATIENT_ONCE, create_one


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

    def create() -> Any:
        return client.projects.create(title=title, label_config=label_config, request_options=PATIENT_ONCE)

    def existing() -> list[Any]:
        # A project with tasks is in use, whoever made it.
        named = [project for project in client.projects.list(title=title) if project.title == title]
        return [project for project in named if not project.task_number]

    with explained(url):
        return create_one(create, existing, lambda number: client.projects.delete(id=number))

"""Projects as an import needs them: found by number or title, or made."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from earmark.errors import ConfigurationError, LabelConfigError
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, create_one
from earmark.store.project_names import Named, folded, matching, only_one


def audio_data_key(label_config: str) -> str:
    """Field of a task's data that the first Audio tag reads.

    Raises
    ------
    LabelConfigError
        The label config is not XML or has no Audio tag.
    """
    for tag in _parsed(label_config).iter():
        if tag.tag in ("Audio", "AudioPlus") and tag.get("value", "").startswith("$"):
            return tag.get("value", "").removeprefix("$")
    raise LabelConfigError(
        "The project's label config has no Audio tag: set it up under Settings, Labeling Interface, "
        "as label_config.xml shows."
    )


def required_fields(label_config: str) -> dict[str, str]:
    """Fields that Label Studio demands of each task's data, with the tag that shows each.

    It demands the first variable in the ``value`` of every tag that has a name; of nested data the
    outermost field is returned.

    Raises
    ------
    LabelConfigError
        The label config is not XML.
    """
    fields: dict[str, str] = {}
    for tag in _parsed(label_config).iter():
        variable = re.search(r"\$(\w+)", tag.get("value", "")) if tag.get("name") else None
        if variable:
            fields.setdefault(variable[1], tag.tag)
    return fields


def _parsed(label_config: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise LabelConfigError(f"The label config is not valid XML ({error}).") from error


def key_of_project(project: Any) -> str:
    """Key ``<id>.<created, epoch seconds>`` of a project that Label Studio's API returned."""
    return f"{project.id}.{int(project.created_at.timestamp())}"


def find_project(client: Any, url: str, wanted: str) -> Any | None:
    """Find a project by its key, its number or its title, letter case aside; None where there is none.

    Raises
    ------
    ProjectNameError
        Several projects have the title.
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    number, _, created = wanted.strip().partition(".")
    with explained(url):
        if number.isdecimal() and (not created or created.isdecimal()):
            project = _project_or_none(client, int(number))
            if project is not None and (not created or key_of_project(project) == wanted.strip()):
                return project
        # Label Studio's own search ignores case by the rules of its database: SQLite's are ASCII's alone.
        search = {"title": wanted.strip()} if wanted.isascii() else {}
        listed = [Named(key_of_project(p), p.title or "", p) for p in client.projects.list(**search)]
        found = [named for named in matching(wanted, listed) if folded(named.title) == folded(wanted)]
        return client.projects.get(id=only_one(wanted, found).id) if found else None


def current_title(client: Any, url: str, key: str) -> str | None:
    """Title that Label Studio has now for the project with a key, None where it has no such project.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    with explained(url):
        project = _project_or_none(client, int(key.partition(".")[0]))
    return project.title if project is not None and key_of_project(project) == key else None


def _project_or_none(client: Any, number: int) -> Any | None:
    from label_studio_sdk.core.api_error import ApiError

    try:
        return client.projects.get(id=number)
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None


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

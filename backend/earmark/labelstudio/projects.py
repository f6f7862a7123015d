"""Label Studio projects: lookup by key, id or title, creation, and fields that the label config requires."""

from __future__ import annotations

import re
from typing import Any

from earmark.errors import ConfigurationError, LabelConfigError
from earmark.labels.config_tree import parse_tree
from earmark.labels.task_values import expression
from earmark.labelstudio.client import explained
from earmark.labelstudio.health import check_label_studio
from earmark.labelstudio.non_idempotent_requests import PATIENT_ONCE, create_one
from earmark.store.project_names import Named, folded, matching, only_one


def audio_data_key(label_config: str) -> str:
    """Return the field of a task's data that the first Audio tag reads.

    Raises
    ------
    LabelConfigError
        The label config cannot be read or has no Audio tag.
    """
    for tag in parse_tree(label_config).walk():
        if tag.name in ("audio", "audioplus", "video") and "$" in tag.get("value"):
            return writable_key(expression(tag.get("value")))
    raise LabelConfigError(
        "The project's label config has no Audio tag: set it up under Settings, Labeling Interface, "
        'such as <Audio name="audio" value="$audio"/>.'
    )


def writable_key(key: str) -> str:
    """Return the field into which an import writes a sound's address.

    Raises
    ------
    LabelConfigError
        The address is part of a longer value, or is in an object or a list.
    """
    if not re.fullmatch(r"\w+", key):
        raise LabelConfigError(
            f"The label config takes a sound's address from '{key}', and an import writes it to one field: "
            'use value="$audio" or another name in the Audio tag.'
        )
    return key


def required_fields(label_config: str) -> dict[str, str]:
    """Return the fields that Label Studio requires in each task's data, with the tag that shows each.

    It requires the first variable in the ``value`` of every tag that has a name; for nested data, the
    outermost field is returned.

    Raises
    ------
    LabelConfigError
        The label config cannot be read.
    """
    fields: dict[str, str] = {}
    for tag in parse_tree(label_config).walk():
        variable = re.search(r"\$(\w+)", tag.get("value")) if tag.get("name") else None
        if variable:
            fields.setdefault(variable[1], tag.name.capitalize())
    return fields


def key_of_project(project: Any) -> str:
    """Return the key ``<id>.<created, epoch seconds>`` of a project from Label Studio's API."""
    return f"{project.id}.{int(project.created_at.timestamp())}"


def find_project(client: Any, url: str, wanted: str) -> Any | None:
    """Find a project by its key, id or title (case-insensitive); return None where there is none.

    Raises
    ------
    ProjectNameError
        Several projects have the title.
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    number, _, created = wanted.strip().partition(".")
    check_label_studio(url)
    with explained(url):
        if number.isdecimal() and (not created or created.isdecimal()):
            project = _project_or_none(client, int(number))
            if project is not None and (not created or key_of_project(project) == wanted.strip()):
                return project
        # Label Studio's own search ignores case as its database does: SQLite for ASCII letters only.
        search = {"title": wanted.strip()} if wanted.isascii() else {}
        listed = [Named(key_of_project(p), p.title or "", p) for p in client.projects.list(**search)]
        matches = [named for named in matching(wanted, listed) if folded(named.title) == folded(wanted)]
        return client.projects.get(id=only_one(wanted, matches).id) if matches else None


def current_title(client: Any, url: str, key: str) -> str | None:
    """Return the current title of the project with a key; None where Label Studio has no such project.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    check_label_studio(url)
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
    """Create a project.

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
        # A project with tasks is in use, so it is not a twin of the new one.
        named = [project for project in client.projects.list(title=title) if project.title == title]
        return [project for project in named if not project.task_number]

    with explained(url):
        return create_one(create, existing, lambda number: client.projects.delete(id=number))

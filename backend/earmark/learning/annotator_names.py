"""Annotator names: read from the annotations that Label Studio lists, kept with the project.

Label Studio names annotators where it lists tasks, and not in webhooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from earmark.store.models import Project


def annotator_names(annotations: Iterable[object]) -> dict[str, str]:
    """Return names by user id, as text, from ``created_username``: ``Ann Lee ann@example.org, 7``."""
    names = {}
    for annotation in annotations:
        if not isinstance(annotation, dict):
            continue
        number, text = annotation.get("completed_by"), annotation.get("created_username")
        if isinstance(number, int) and isinstance(text, str):
            name, _, own_number = text.rpartition(",")
            if name.strip() and own_number.strip() == str(number):
                names[str(number)] = name.strip()
    return names


def remember_names(project: Project, names: Mapping[str, str]) -> None:
    """Add names to the annotation summary of a project."""
    summary = project.annotated or {}
    stored_names = summary.get("annotators", {})
    if names.items() - stored_names.items():
        project.annotated = {**summary, "annotators": {**stored_names, **names}}

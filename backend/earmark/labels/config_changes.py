"""Changes of a project's label config: stored, with renames, as soon as Label Studio sends them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.orm import Session

from earmark.errors import LabelConfigError
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.labels.rename_detection import certain_renames
from earmark.store.events import record_event
from earmark.store.models import Event
from earmark.store.prediction_writes import CLAIM_SECONDS
from earmark.store.projects import (
    UNKNOWN_PROJECT,
    epoch_seconds,
    is_storable,
    lock_project,
    remember_project,
)
from earmark.store.renames import Names, add_rename, current_names, used_names

log = structlog.get_logger(__name__)


def receive_webhook(session: Session, payload: dict[str, Any]) -> Event:
    """Store a webhook that did not arrive by ``POST /webhook``, and at once the label config in it.

    Predictions use the label config before any training. ``api.event_writer`` stores webhooks that did arrive
    there.
    """
    event = record_event(session, payload)
    update_project(session, event)
    return event


def update_project(session: Session, event: Event) -> None:
    """Update a project's row from a webhook; a webhook older than the row's state changes nothing."""
    sent = event.payload.get("project")
    if isinstance(sent, dict) and event.project_key != UNKNOWN_PROJECT:
        remember_project(session, event.project_key, title=sent.get("title")).clear_gone()
        changed_at = epoch_seconds(sent.get("updated_at"))
        update_label_config(
            session, event.project_key, sent.get("label_config"), event.received_at, changed_at
        )


def update_label_config(
    session: Session, key: str, label_config: object, received_at: float, changed_at: float = 0.0
) -> None:
    """Store a project's label config, and which of its labels were renamed.

    Parameters
    ----------
    received_at
        When it was received (seconds since the epoch). A webhook may be handled late, and must not
        restore a config that was replaced since.
    changed_at
        The project's ``updated_at`` (seconds since the epoch by Label Studio's clock), 0 if it was not sent:
        a delayed webhook may arrive after webhooks that were sent after it.
    """
    project = remember_project(session, key)
    project.clear_gone()
    lock_project(session, key)
    if (
        not (is_storable(label_config) and isinstance(label_config, str))
        or received_at < project.label_config_at
        or 0.0 < changed_at < project.changed_at
    ):
        return
    project.changed_at = changed_at or project.changed_at
    old_config, project.label_config_at = project.label_config, received_at
    if label_config == old_config:
        return
    project.label_config = label_config
    session.flush()
    old, new = _controls(old_config), _controls(label_config)
    names = current_names(session, key, labels_of(old))
    if _has_lost_labels(old, new):
        # Open tasks may show these labels: written again once no write of a moment ago is in the way
        project.refreshed_version = ""
        project.refresh_after = max(project.refresh_after, received_at + CLAIM_SECONDS)
    for rename in certain_renames(old, new):
        control = rename.control
        current_by_former_name = names.get(control.name, {})
        names_in_use = used_names(session, key, control.from_name, control.result_type)
        # A name that annotations use is a label of its own, unless it is a former name of this one
        if rename.new in names_in_use and current_by_former_name.get(rename.new) != rename.old:
            log.info("label not taken for a renamed one", control=control.name, label=rename.new)
            continue
        add_rename(session, key, control.name, rename.old, rename.new, received_at)
        log.info("label renamed", project=key, control=control.name, old=rename.old, new=rename.new)


def _has_lost_labels(old: Sequence[Control], new: Sequence[Control]) -> bool:
    """Whether a control of the former config has labels that the new config lacks there."""
    present = labels_of(new)
    return any(set(labels) - set(present.get(name, ())) for name, labels in labels_of(old).items())


def current_label_names(session: Session, key: str, controls: Sequence[Control]) -> Names:
    """Map former names of a project's labels to their present names in ``controls``."""
    return current_names(session, key, labels_of(controls))


def with_former_names(controls: Sequence[Control], names: Names) -> tuple[Control, ...]:
    """Return controls with the former names of their labels, by which these may match an encoder's class."""
    described = []
    for control in controls:
        former: dict[str, tuple[str, ...]] = {}
        for old, label in names.get(control.name, {}).items():
            former[label] = (*former.get(label, ()), old)
        described.append(replace(control, former=former) if former else control)
    return tuple(described)


def labels_of(controls: Sequence[Control]) -> dict[str, tuple[str, ...]]:
    """The labels of each control."""
    return {control.name: control.labels for control in controls}


def config_digest(label_config: str) -> str:
    """Digest of a label config: SHA-256 in hexadecimal."""
    return hashlib.sha256(label_config.encode()).hexdigest()


def _controls(label_config: str) -> tuple[Control, ...]:
    try:
        return parse_label_config(label_config)
    except LabelConfigError:
        return ()  # the training and the doctor report it; such a config renames nothing

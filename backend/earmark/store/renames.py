"""Renamed labels: a table of renames, and the present name of each former one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.store.events import pending_events
from earmark.store.models import Annotation, LabelRename

Names = Mapping[str, Mapping[str, str]]
"""For each control a mapping from former names of its labels to the present ones."""


def add_rename(session: Session, key: str, control: str, old: str, new: str, seen_at: float) -> None:
    """Store that a label was renamed."""
    session.add(LabelRename(project_key=key, control=control, old=old, new=new, seen_at=seen_at))
    session.flush()


def current_names(session: Session, key: str, labels: Mapping[str, Collection[str]]) -> Names:
    """Map every former label name to the present one.

    Parameters
    ----------
    labels
        The labels of each control in the present label config. A name among them stands for itself, as in
        Label Studio, even if it was renamed before.
    """
    query = select(LabelRename).where(LabelRename.project_key == key).order_by(LabelRename.id)
    chains: dict[str, list[tuple[str, str]]] = {}
    for row in session.scalars(query):
        chains.setdefault(row.control, []).append((row.old, row.new))
    return {
        control: follow_chain(renames, labels[control])
        for control, renames in chains.items()
        if control in labels
    }


def follow_chain(renames: Sequence[tuple[str, str]], labels: Collection[str]) -> dict[str, str]:
    """Map each old name that is no label any more to the label that it has become, if any.

    ``renames`` are ``(old, new)`` in order of time. Each step is the last renaming of a name, and
    later than the step before it, so renaming back and forth terminates. The latest renamed name is first.
    """
    present_names = {}
    for old in dict.fromkeys(name for name, _ in reversed(renames)):
        if old in labels:
            continue
        name, after = old, 0
        while name not in labels:
            steps = [i for i in range(after, len(renames)) if renames[i][0] == name]
            if not steps:
                break
            name, after = renames[steps[-1]][1], steps[-1] + 1
        if name in labels:
            present_names[old] = name
    return present_names


def used_names(session: Session, key: str, control: str, result_type: str) -> set[str]:
    """Every label name that a project's annotations have under a control, pending webhooks included."""
    query = select(Annotation.result).where(Annotation.project_key == key, Annotation.deleted.is_(False))
    names = {name for result in session.scalars(query) for name in _names(result, control, result_type)}
    for event in pending_events(session, key):
        for sent in (event.payload.get("annotation"), event.payload.get("annotations")):
            for annotation in sent if isinstance(sent, list) else [sent]:
                result = annotation.get("result") if isinstance(annotation, dict) else None
                names.update(_names(result if isinstance(result, list) else [], control, result_type))
    return names


def _names(result: Iterable[object], control: str, result_type: str) -> Iterable[str]:
    for item in result:
        value = item.get("value") if isinstance(item, dict) and item.get("from_name") == control else None
        labels = value.get(result_type) if isinstance(value, dict) else None
        if isinstance(labels, list):
            yield from (label for label in labels if isinstance(label, str))

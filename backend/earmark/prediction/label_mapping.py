"""A trained head under the label config as it is now: renamed labels follow, removed ones are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from earmark.head.cross_validated_head import Fitted
from earmark.head.model import ControlHead, Head
from earmark.head.zero_shot import NONE_OF_THESE
from earmark.labels.controls import Control
from earmark.store.renames import Names


def as_configured(head: Head, controls: Sequence[Control], names: Names) -> Head:
    """Return the head with its labels as the controls call them, and without those that they lost.

    The removed labels of a single choice leave their share of the probability to the others: the
    softmax is over those that are left. The same head comes back where nothing changed.

    Parameters
    ----------
    names
        For each control what former names are called now.
    """
    by_name = {control.name: control for control in controls}
    changed = {}
    for name, fitted in head.controls.items():
        control = by_name.get(name)
        if control is None or control.kind != fitted.kind:
            continue
        configured = _configured(fitted, control.labels, names.get(name, {}))
        if configured is not None:
            changed[name] = configured
    if changed.keys() == head.controls.keys() and all(changed[n] is head.controls[n] for n in changed):
        return head
    return Head(head.identity, changed)


def fitted_as_configured(fitted: Fitted, controls: Sequence[Control], names: Names) -> Fitted:
    """Return the same of a head and its fold heads."""
    return replace(
        fitted,
        head=as_configured(fitted.head, controls, names),
        folds=tuple(as_configured(head, controls, names) for head in fitted.folds),
    )


def _configured(fitted: ControlHead, labels: tuple[str, ...], names: Mapping[str, str]) -> ControlHead | None:
    """One control's head for ``labels``; None when it knows none of them."""
    places = {
        label: index
        for index, label in enumerate(fitted.labels)
        if label in labels or label == NONE_OF_THESE  # this one competes unseen in a single choice
    }
    if len(places) == len(fitted.labels):
        return fitted
    for index, label in enumerate(fitted.labels):
        if label in names:
            places.setdefault(names[label], index)
    if places.keys() <= {NONE_OF_THESE}:
        return None
    kept = sorted(places.items(), key=lambda place: place[1])
    return fitted.picked([index for _, index in kept], tuple(label for label, _ in kept))

"""Maps a trained head's labels to the current label config: renames labels, drops or hides removed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.model import ControlHead, Head
from earmark.head.zero_shot import NONE_OF_THESE
from earmark.labels.control import Control, learned_controls
from earmark.store.renames import Names


def as_configured(head: Head, controls: Sequence[Control], names: Names) -> Head:
    """Return the head with the labels of the current controls.

    Tags lose the labels that were removed; in a single choice, the softmax is over the remaining ones, so
    that they share the probability of removed ones. Region labels that were removed stay as competitors,
    which predictions do not show: else their sounds would be shown as the likeliest label that is left. The
    same object is returned where nothing changed.

    Parameters
    ----------
    names
        For each control, the current name of each renamed label.
    """
    by_name = {control.head_name: control for control in learned_controls(controls)}
    changed = {}
    for name, fitted in head.controls.items():
        control = by_name.get(name)
        if control is None or control.type is not fitted.type:
            continue
        # Labels that tasks' data holds are known for each task alone
        labels = fitted.labels if control.options else control.labels
        configured = _configured(fitted, labels, names.get(name, {}))
        if configured is not None:
            changed[name] = configured
    if changed.keys() == head.controls.keys() and all(changed[n] is head.controls[n] for n in changed):
        return head
    return Head(head.identity, changed, head.per_channel)


def fitted_as_configured(
    fitted: CrossValidatedHead, controls: Sequence[Control], names: Names
) -> CrossValidatedHead:
    """Return a cross-validated head with its fold heads, mapped as by ``as_configured``."""
    return replace(
        fitted,
        head=as_configured(fitted.head, controls, names),
        folds=tuple(as_configured(head, controls, names) for head in fitted.folds),
    )


def _configured(fitted: ControlHead, labels: tuple[str, ...], names: Mapping[str, str]) -> ControlHead | None:
    """Return one control's head for ``labels``; None when it has learned none of them."""
    columns = {
        label: index
        for index, label in enumerate(fitted.labels)
        if label in labels or label == NONE_OF_THESE  # hidden competitor in a single choice's softmax
    }
    if len(columns) == len(fitted.labels):
        return fitted
    for index, label in enumerate(fitted.labels):
        if label in names:
            columns.setdefault(names[label], index)
    if columns.keys() <= {NONE_OF_THESE}:
        return None
    if fitted.type.draws_regions:
        used = set(columns.values())
        columns |= {label: index for index, label in enumerate(fitted.labels) if index not in used}
    ordered = sorted(columns.items(), key=lambda column: column[1])
    return fitted.picked([index for _, index in ordered], tuple(label for label, _ in ordered))

"""Annotation summary: how often each label was used, and which annotators disagree, kept with the project.

It is computed at each training, which reads every annotation anyway, so that the page, the doctor and
``versions`` need not read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from earmark.labels.control import Control
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.annotator_agreement import annotator_pairs, disagreements, label_agreement
from earmark.learning.annotator_names import annotator_names
from earmark.learning.training_set import TrainingSet
from earmark.store.models import Event

PAIRS_STORED = 100


def summarized(
    training_set: TrainingSet, events: Sequence[Event], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Summarize the annotations of a project as JSON values.

    Parameters
    ----------
    events
        Webhooks since the last training, which may hold names of annotators.
    before
        The summary before this one, whose names are kept.

    Returns
    -------
    ``labels``: for each control the number of annotations with each of its labels, in a sound that can be
    decoded. ``removed``: the same of labels that the label config does not have any more. ``disagreements``:
    see `Disagreement`. ``pairs``: the same of all pairs, at most `PAIRS_STORED`. ``agreement``:
    Krippendorff's alpha by control and label. ``annotators``: number in Label Studio, as text, to name.
    """
    labels: dict[str, Counter[str]] = {control.name: Counter() for control in training_set.controls}
    removed: dict[str, Counter[str]] = {control.name: Counter() for control in training_set.controls}
    for annotated_sound in training_set.annotated:
        for control in training_set.controls:
            if control.data_key in annotated_sound.sounds:
                labels[control.name].update(_used(control, annotated_sound))
                removed[control.name].update(
                    _removed(control, annotated_sound, training_set.names.get(control.name, {}))
                )
    return {
        "labels": labels,
        "removed": {name: counts for name, counts in removed.items() if counts},
        "disagreements": [
            asdict(pair) for pair in disagreements(training_set.controls, training_set.annotated)
        ],
        "pairs": [
            asdict(pair)
            for pair in annotator_pairs(training_set.controls, training_set.annotated)[:PAIRS_STORED]
        ],
        "agreement": label_agreement(training_set.controls, training_set.annotated),
        "annotators": {
            **(before or {}).get("annotators", {}),
            **annotator_names(_sent_annotations(events)),
        },
    }


def _used(control: Control, annotated_sound: AnnotatedSound) -> set[str]:
    if not control.type.of_clip:
        regions = annotated_sound.read.regions.get(control.name, ())
        return {label for region in regions for label in region.labels}
    return set(annotated_sound.read.tags.get(control.name, ()))


def _removed(control: Control, annotated_sound: AnnotatedSound, names: Mapping[str, str]) -> set[str]:
    """Labels of an annotation that the control does not have, under this name or a later one."""
    removed: set[str] = set()
    for item in annotated_sound.annotation.result:
        value = item.get("value")
        if item.get("from_name") == control.from_name and isinstance(value, dict):
            removed.update(
                control.type.joined(path)
                for path in control.type.read_paths(value)
                if not control.read_labels(control.type.value([path]), names)
            )
    return removed


def _sent_annotations(events: Sequence[Event]) -> Iterator[object]:
    """Yield the annotations that webhooks hold, in whatever form they were sent."""
    for event in events:
        for sent in (event.payload.get("annotation"), event.payload.get("annotations")):
            yield from sent if isinstance(sent, list) else [sent]

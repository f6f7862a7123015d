"""Conflicts between annotators of one sound: how far each of them is trusted about each label.

Where annotators disagree about a label, each annotation counts by the share of annotators who agree with it:
two who contradict each other count half each. A ground-truth annotation settles a conflict, else one that a
reviewer accepted: those who differ from it do not count about that label.
"""

from __future__ import annotations

from collections.abc import Sequence

from earmark.labels.control import Control
from earmark.learning.annotated_clips import AnnotatedSound, LabelWeights
from earmark.learning.annotator_agreement import annotators_by_task, differing_labels, settling


def label_weights(controls: Sequence[Control], annotated: Sequence[AnnotatedSound]) -> LabelWeights:
    """Return weights below 1, by annotation, control and label."""
    weights: dict[int, dict[str, dict[str, float]]] = {}
    for annotators in annotators_by_task(annotated).values():
        for control in controls:
            for annotator, factors in zip(annotators, _factors(control, annotators), strict=True):
                if factors:
                    by_control = weights.setdefault(annotator.annotation.annotation_id, {})
                    by_control[control.name] = factors
    return weights


def _factors(control: Control, annotators: Sequence[AnnotatedSound]) -> list[dict[str, float]]:
    """Return the weights of each annotator's labels of one control, those below 1."""
    judges = settling(annotators)
    factors = []
    for annotator in annotators:
        others = [judge for judge in judges if judge is not annotator] if judges else annotators
        differing = [
            differing_labels(control, annotator, other) or [] for other in others if other is not annotator
        ]
        contested = {label for labels in differing for label in labels}
        is_overruled = bool(judges) and all(judge is not annotator for judge in judges)
        of_annotator = {
            label: 0.0
            if is_overruled
            else 1 - sum(label in labels for labels in differing) / (len(differing) + 1)
            for label in contested
        }
        if of_annotator and control.type.exclusive:
            of_annotator = dict.fromkeys(control.labels, min(of_annotator.values()))
        factors.append(of_annotator)
    return factors

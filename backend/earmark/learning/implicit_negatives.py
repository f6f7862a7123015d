"""Implicit negatives: whether an empty multiple choice means "none of these" or "not answered".

Label Studio sends the same for a tag that was removed and for a control that was never answered. Where tags
are all that a project has, an annotation without any means that none applies, as one without regions means
that nothing sounds. Beside other controls it does so where a prediction had set a tag, which the annotator
has removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from earmark.errors import HeadDamagedError
from earmark.labels.control import Control
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.prequential import Scorer
from earmark.prediction.tag_agreement import linked_controls
from earmark.services import Services
from earmark.store.batched_writes import write_in_steps
from earmark.store.models import Annotation
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


def with_implicit_negatives(
    services: Services,
    key: str,
    controls: tuple[Control, ...],
    names: Names,
    annotated: Sequence[AnnotatedSound],
    alone: bool = True,
) -> list[AnnotatedSound]:
    """Read empty multiple choices as "none of these" where they mean that.

    The tags that were shown are determined once for each annotation and stored with it, so that the same
    annotations always give the same training data.

    ``alone``: whether annotators have no controls on sound but these.
    """
    multiple = tuple(control for control in controls if control.type.may_be_empty)
    if not multiple:
        return list(annotated)
    if alone and len(multiple) == len(controls):
        return [_all_empty(annotated_sound, multiple) for annotated_sound in annotated]
    # For the tags and the regions that set them: many annotations may be scored after the new version
    scorer = Scorer(services, key, linked_controls(controls, multiple), names)
    decided: list[tuple[Annotation, list[str]]] = []
    for annotated_sound in annotated:
        annotation = annotated_sound.annotation
        unanswered = [
            c
            for c in multiple
            if c.name not in annotated_sound.read.tags
            and c.name not in annotated_sound.read.hidden
            and c.data_key in annotated_sound.sounds
        ]
        if annotation.cleared is not None or not annotation.shown_at or not unanswered:
            continue
        try:
            shown = scorer.shown(annotated_sound).predicted.tags
        except HeadDamagedError as error:
            log.warning("what was shown is not known", annotation=annotation.annotation_id, detail=str(error))
            continue
        annotation.cleared = [control.name for control in unanswered if shown.get(control.name)]
        decided.append((annotation, annotation.cleared))
    if decided:
        write_in_steps(services.database, decided, _store_cleared)
    return [
        _with_empty_tags(
            annotated_sound,
            [c.name for c in multiple if c.name in (annotated_sound.annotation.cleared or ())],
        )
        for annotated_sound in annotated
    ]


def _store_cleared(session: Session, decided: tuple[Annotation, list[str]]) -> None:
    annotation, cleared = decided
    row = session.get(Annotation, (annotation.project_key, annotation.annotation_id))
    if row is not None:
        row.cleared = cleared


def _all_empty(annotated_sound: AnnotatedSound, multiple: Sequence[Control]) -> AnnotatedSound:
    """For a project of multiple choices alone: if one of several is answered, the others are left open."""
    alone = len(multiple) == 1 or not annotated_sound.read.tags
    return _with_empty_tags(annotated_sound, [control.name for control in multiple] if alone else [])


def _with_empty_tags(annotated_sound: AnnotatedSound, names: Sequence[str]) -> AnnotatedSound:
    answered = annotated_sound.read.tags.keys() | annotated_sound.read.hidden
    added = {name: frozenset[str]() for name in names if name not in answered}
    read = annotated_sound.read
    return (
        replace(annotated_sound, read=replace(read, tags={**read.tags, **added}))
        if added
        else annotated_sound
    )

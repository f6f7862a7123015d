"""What a choice of several tags says that nobody made: none of these, or nothing at all.

Label Studio sends the same for a tag that was taken away and for a control that was never looked at. Where
tags are all that a project has, an annotation without any says that none applies, as one without regions
says that nothing sounds. Beside other controls it does so where a prediction had put a tag there, which
somebody has taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from earmark.errors import HeadDamagedError
from earmark.labels.controls import Control
from earmark.labelstudio.results import ReadResult
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.prequential import Scorer
from earmark.prediction.tag_agreement import linked_controls
from earmark.services import Services
from earmark.store.batched_writes import write_in_steps
from earmark.store.models import Annotation
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


def with_cleared(
    services: Services,
    key: str,
    controls: tuple[Control, ...],
    names: Names,
    annotated: Sequence[AnnotatedSound],
) -> list[AnnotatedSound]:
    """Read empty choices of several tags as none of them, where that is what they say.

    What was shown is found out once for each annotation and kept with it, so that the same annotations
    teach the same for good.
    """
    several = tuple(control for control in controls if control.kind == "multiple")
    if not several:
        return list(annotated)
    if len(several) == len(controls):
        return [_without_any(one, several) for one in annotated]
    # Of the tags, and of the regions that tick them: many annotations may be scored after the new version
    scorer = Scorer(services, key, linked_controls(controls, several), names)
    decided: list[tuple[Annotation, list[str]]] = []
    for one in annotated:
        annotation = one.annotation
        asked = [c for c in several if c.name not in one.read.tags and c.data_key in one.sounds]
        if annotation.cleared is not None or not annotation.shown_at or not asked:
            continue
        try:
            shown = scorer.shown(one).predicted.tags
        except HeadDamagedError as error:
            log.warning("what was shown is not known", annotation=annotation.annotation_id, detail=str(error))
            continue
        annotation.cleared = [control.name for control in asked if shown.get(control.name)]
        decided.append((annotation, annotation.cleared))
    if decided:
        write_in_steps(services.database, decided, _keep)
    return [
        _empty(one, [c.name for c in several if c.name in (one.annotation.cleared or ())])
        for one in annotated
    ]


def _keep(session: Session, found: tuple[Annotation, list[str]]) -> None:
    annotation, cleared = found
    row = session.get(Annotation, (annotation.project_key, annotation.annotation_id))
    if row is not None:
        row.cleared = cleared


def _without_any(one: AnnotatedSound, several: Sequence[Control]) -> AnnotatedSound:
    """Of a project with nothing but choices of several: one that was used leaves the others open."""
    alone = len(several) == 1 or not one.read.tags
    return _empty(one, [control.name for control in several] if alone else [])


def _empty(one: AnnotatedSound, names: Sequence[str]) -> AnnotatedSound:
    added = {name: frozenset[str]() for name in names if name not in one.read.tags}
    read = ReadResult(one.read.regions, {**one.read.tags, **added}, one.read.tag_weights)
    return replace(one, read=read) if added else one

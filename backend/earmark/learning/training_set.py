"""What a project can be taught with now, the head that comes of it, and whether that is a step back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from earmark.errors import HeadDamagedError
from earmark.head.cross_validated_head import Fitted
from earmark.head.examples import AnnotatedClip, Examples, build_all
from earmark.head.fit import FitReport, fit_head
from earmark.head.regression_check import MIN_RECORDINGS, Comparison, compare
from earmark.labels.config_changes import names_now
from earmark.labels.controls import Control, parse_label_config
from earmark.learning.annotated_clips import AnnotatedSound, annotated_clips, load_annotated_sounds
from earmark.learning.annotator_agreement import label_agreement
from earmark.learning.cooccurrence import learn_cooccurrence
from earmark.learning.implicit_negatives import with_cleared
from earmark.prediction.label_mapping import as_configured, fitted_as_configured
from earmark.services import Services
from earmark.store.annotations import live_annotations
from earmark.store.models import Project, Version
from earmark.store.registry import load_folds, load_head
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """A project's controls, its annotations with their sounds, and the clips that they make.

    ``awaited``: tasks whose sounds could not be had now, and why.
    """

    controls: tuple[Control, ...]
    names: Names
    annotated: list[AnnotatedSound]
    clips: list[AnnotatedClip]
    awaited: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A fitted head that nobody is served yet. ``metrics``: by control, as versions keep them.

    ``examples``: of each control, what it was fitted to; comparing takes the same.
    """

    fitted: Fitted
    report: FitReport
    metrics: dict[str, Any]
    examples: Mapping[str, Examples | None]


def load_training_set(services: Services, project: Project) -> TrainingSet:
    """Gather everything that a project's annotations say.

    Raises
    ------
    LabelConfigError
        The label config holds nothing to learn.
    """
    controls = parse_label_config(project.label_config)
    with services.database.read() as session:
        annotations = live_annotations(session, project.key)
        names = names_now(session, project.key, controls)
    annotated, awaited = load_annotated_sounds(services, project, controls, names, annotations)
    annotated = with_cleared(services, project.key, controls, names, annotated)
    return TrainingSet(controls, names, annotated, annotated_clips(annotated, controls), awaited)


def fit_candidate(services: Services, training_set: TrainingSet, active: Version | None) -> Candidate:
    """Fit a head to a training_set, on the folds of the active version.

    Raises
    ------
    NotEnoughAnnotationsError
        There is too little to learn from.
    NotFiniteError
        The fit ended in NaN or infinity; no version is made of it.
    """
    encoder, controls = services.encoder(), training_set.controls
    examples = build_all(encoder.pool, encoder.frame_rate, controls, training_set.clips)
    fitted, report = fit_head(
        encoder.pool,
        encoder.frame_rate,
        encoder.identity,
        controls,
        training_set.clips,
        services.zero_shot_head(controls),
        _fitted_or_none(services, training_set, active),
        examples,
    )
    fitted = learn_cooccurrence(encoder.pool, encoder.frame_rate, controls, training_set.clips, fitted)
    metrics: dict[str, Any] = {
        name: {**_finite(control.metrics), "per_class": {k: _finite(v) for k, v in control.per_class.items()}}
        for name, control in report.controls.items()
    }
    for name, alphas in label_agreement(controls, training_set.annotated).items():
        metrics.setdefault(name, {})["agreement"] = alphas
    return Candidate(fitted, report, metrics, examples)


def compare_with_active(
    services: Services, training_set: TrainingSet, candidate: Candidate, active: Version | None
) -> Comparison:
    """Compare a candidate with what is served now: the active version, or what answers before any training.

    Nothing is compared where nothing answers. With a version whose fold heads cannot be read too few
    recordings are new to both sides, and all that the candidate is said to be is unmeasured.
    """
    before = _fitted_or_none(services, training_set, active)
    if active is None and (head := services.zero_shot_head(training_set.controls)) is not None:
        before = Fitted(head, (), {})  # it was fitted on none of the recordings
    if before is None:
        return Comparison({}, {}, ())
    return compare_fitted(services, training_set, candidate.fitted, before, candidate.examples)


def unmeasured(services: Services, found: Comparison, active: Version | None) -> str:
    """Which controls of a new version were not compared with what was served before, and why; or empty."""
    if not found.unmeasured:
        return ""
    names = ", ".join(f"“{name}”" for name in found.unmeasured)
    served, why = services.untrained_name(), f"fewer than {MIN_RECORDINGS} recordings are new to both"
    if active is not None:
        served = active.name
        with services.database.read() as session:
            if load_folds(session, active.id) is None:
                why = f"{served} has no fold heads any more, by which it could be measured"
    return f"Served without comparing {names} with {served}: {why}."


def compare_fitted(
    services: Services,
    training_set: TrainingSet,
    candidate: Fitted,
    active: Fitted,
    examples: Mapping[str, Examples | None] | None = None,
) -> Comparison:
    """Measure two versions on a training_set's recordings, each by heads that have not heard them.

    ``examples``: those of the training_set, where they are there already.
    """
    encoder = services.encoder()
    return compare(
        encoder.pool,
        encoder.frame_rate,
        training_set.controls,
        training_set.clips,
        candidate,
        active,
        examples,
    )


def load_fitted(services: Services, training_set: TrainingSet, version: Version) -> Fitted:
    """A version's head and fold heads, with its labels as the training_set's controls call them.

    Raises
    ------
    HeadDamagedError
        What is stored cannot be read.
    """
    with services.database.read() as session:
        head, folds = load_head(session, version.id), load_folds(session, version.id)
    return fitted_as_configured(Fitted.from_bytes(head, folds), training_set.controls, training_set.names)


def _finite(figures: dict[str, float]) -> dict[str, float]:
    """What JSON can hold; a figure that is not defined is left out."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _fitted_or_none(services: Services, training_set: TrainingSet, version: Version | None) -> Fitted | None:
    if version is None:
        return None
    try:
        return load_fitted(services, training_set, version)
    except HeadDamagedError as error:
        log.warning("active version cannot be measured", version=version.name, detail=str(error))
        head = as_configured(services.head(version), training_set.controls, training_set.names)
        return Fitted(head, (), None)

"""Training set of a project, the candidate head fitted to it, and its comparison with the active version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from earmark.errors import HeadDamagedError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip, Examples, build_all
from earmark.head.fit import FitReport
from earmark.head.model import Head
from earmark.head.regression_check import MIN_RECORDINGS, Comparison, compare
from earmark.labels.config_changes import current_label_names, with_former_names
from earmark.labels.control import Control, with_options
from earmark.labels.label_config import parse_label_config, read_label_config
from earmark.learning.annotated_clips import AnnotatedSound, annotated_clips, load_annotated_sounds
from earmark.learning.annotator_agreement import label_agreement
from earmark.learning.conflicts import label_weights
from earmark.learning.head_training import train_head
from earmark.learning.implicit_negatives import with_implicit_negatives
from earmark.learning.suggestion_check import (
    Corrections,
    hold_back_costly_tags,
    out_of_fold_corrections,
    with_suggestions,
)
from earmark.prediction.label_mapping import as_configured, fitted_as_configured
from earmark.services import Services
from earmark.store.annotations import live_annotations
from earmark.store.models import Project, Version
from earmark.store.registry import load_folds, load_head
from earmark.store.renames import Names

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """Training set: a project's controls, its annotations with their sounds, and the clips made of them.

    ``awaited``: tasks whose sounds are not available yet, and why.
    """

    controls: tuple[Control, ...]
    names: Names
    annotated: list[AnnotatedSound]
    clips: list[AnnotatedClip]
    awaited: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A fitted head that is not served yet. ``metrics``: by control, as versions store them.

    ``examples``: of each control, those it was fitted to, which the comparison uses again, as it does
    ``corrections`` of what it would suggest.
    """

    fitted: CrossValidatedHead
    report: FitReport
    metrics: dict[str, Any]
    examples: Mapping[str, Examples | None]
    corrections: Corrections


def load_training_set(services: Services, project: Project) -> TrainingSet:
    """Load a project's training set from its annotations and sounds.

    Raises
    ------
    LabelConfigError
        The label config has no control that can be learned.
    """
    controls = parse_label_config(project.label_config)
    with services.database.read() as session:
        annotations = live_annotations(session, project.key)
        names = current_label_names(session, project.key, controls)
    controls = with_former_names(controls, names)
    controls = with_options(controls, (task.data for _, task in annotations))
    config = read_label_config(project.label_config)
    alone = not config.ignored and not config.verification_controls
    annotated, awaited = load_annotated_sounds(services, project, controls, names, annotations)
    annotated = with_implicit_negatives(services, project.key, controls, names, annotated, alone)
    clips = annotated_clips(annotated, controls, label_weights(controls, annotated))
    return TrainingSet(controls, names, annotated, clips, awaited)


def fit_candidate(services: Services, training_set: TrainingSet, active: Version | None) -> Candidate:
    """Fit a head to a training set, on the folds of the active version.

    Raises
    ------
    NotEnoughAnnotationsError
        There are too few examples.
    NotFiniteError
        The fit ended in NaN or infinity; it becomes no version.
    """
    encoder, controls = services.encoder(), training_set.controls
    examples = build_all(encoder.pool, encoder.frame_rate, controls, training_set.clips)
    fitted, report = train_head(
        encoder,
        controls,
        training_set.clips,
        services.zero_shot_head(controls),
        _fitted_or_none(services, training_set, active),
        examples,
    )
    if any(sound.channels for sound in training_set.annotated):
        head = Head(fitted.head.identity, fitted.head.controls, per_channel=True)
        fitted = replace(fitted, head=head)
    metrics: dict[str, Any] = {
        name: {**_finite(control.metrics), "per_class": {k: _finite(v) for k, v in control.per_class.items()}}
        for name, control in report.controls.items()
    }
    for name, alphas in label_agreement(controls, training_set.annotated).items():
        metrics.setdefault(name, {})["agreement"] = alphas
    corrections = _corrections(services, training_set, fitted)
    fitted, corrections = hold_back_costly_tags(controls, training_set.clips, fitted, corrections)
    for name, control in fitted.head.controls.items():
        if control.held_back:
            metrics.setdefault(name, {})["held_back"] = True
    return Candidate(fitted, report, metrics, examples, corrections)


def compare_with_active(
    services: Services, training_set: TrainingSet, candidate: Candidate, active: Version | None
) -> Comparison:
    """Compare a candidate with the head that is served now: the active version's, or the zero-shot head.

    Without either, nothing is compared. With a version whose fold heads cannot be read, too few recordings
    are new to both sides, and every control of the candidate is reported as unmeasured.
    """
    served = _fitted_or_none(services, training_set, active)
    if active is None and (head := services.zero_shot_head(training_set.controls)) is not None:
        served = CrossValidatedHead(head, (), {})  # the zero-shot head was fitted on none of the recordings
    if served is None:
        return Comparison({}, {}, ())
    return compare_fitted(
        services, training_set, candidate.fitted, served, candidate.examples, candidate.corrections
    )


def unmeasured(services: Services, comparison: Comparison, active: Version | None) -> str:
    """A sentence that names the controls that were not compared with the served head, and why; or empty."""
    if not comparison.unmeasured:
        return ""
    names = ", ".join(f"“{name}”" for name in comparison.unmeasured)
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
    candidate: CrossValidatedHead,
    active: CrossValidatedHead,
    examples: Mapping[str, Examples | None] | None = None,
    corrections: Corrections | None = None,
) -> Comparison:
    """Compare two versions on the recordings of a training set, each by heads that were not fitted on them.

    By what they give for windows and clips, and by what correcting their suggestions costs.

    ``examples``: those of the training set, if built already; ``corrections``: the candidate's, likewise.
    """
    encoder = services.encoder()
    comparison = compare(
        encoder.pool,
        encoder.frame_rate,
        training_set.controls,
        training_set.clips,
        candidate,
        active,
        examples,
    )
    if corrections is None:
        corrections = _corrections(services, training_set, candidate)
    return with_suggestions(
        comparison, training_set.clips, corrections, _corrections(services, training_set, active)
    )


def _corrections(services: Services, training_set: TrainingSet, fitted: CrossValidatedHead) -> Corrections:
    encoder = services.encoder()
    return out_of_fold_corrections(
        encoder.pool, encoder.frame_rate, training_set.controls, training_set.clips, fitted
    )


def load_fitted(services: Services, training_set: TrainingSet, version: Version) -> CrossValidatedHead:
    """A version's head and fold heads, with labels renamed as in the training set's controls.

    Raises
    ------
    HeadDamagedError
        The stored arrays cannot be read.
    """
    with services.database.read() as session:
        head, folds = load_head(session, version.id), load_folds(session, version.id)
    return fitted_as_configured(
        CrossValidatedHead.from_bytes(head, folds), training_set.controls, training_set.names
    )


def _finite(figures: dict[str, float]) -> dict[str, float]:
    """The finite figures, as JSON can hold no others."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _fitted_or_none(
    services: Services, training_set: TrainingSet, version: Version | None
) -> CrossValidatedHead | None:
    if version is None:
        return None
    try:
        return load_fitted(services, training_set, version)
    except HeadDamagedError as error:
        log.warning("active version cannot be measured", version=version.name, detail=str(error))
        head = as_configured(services.head(version), training_set.controls, training_set.names)
        return CrossValidatedHead(head, (), None)

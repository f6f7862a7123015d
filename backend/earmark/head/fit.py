"""Fitting a head to annotated clips, and measuring it on recordings that it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from earmark.encoders.base import EmbeddingPart
from earmark.errors import NotEnoughAnnotationsError, NotFiniteError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.evaluation import Data, metrics, metrics_per_class, thresholds
from earmark.head.examples import AnnotatedClip, Examples, build_all
from earmark.head.folds import assign_folds
from earmark.head.model import ControlHead, Head
from earmark.head.model_selection import select_model
from earmark.head.prior import Prior, fold_back
from earmark.head.solver import Array, Linear
from earmark.head.windows import Pool
from earmark.labels.control import Control, learned_controls

FOLDS = 5
MIN_GROUPS_TO_MEASURE = 5
DEFAULT_THRESHOLD = 0.5
MIN_EXAMPLES = 2
"""With a single example, everything that is not silence would get its label."""
COMMON_RECORDINGS = 5


@dataclass(frozen=True)
class ControlReport:
    """How one control's head was measured, on recordings left out of the fit.

    ``metrics``: ``lwlrap``, ``map``, ``auc`` and ``f1`` (means over labels), ``ece`` (expected
    calibration error), all in [0, 1]; for a single choice also ``accuracy``. ``per_class``: for each
    label ``ap``, ``auc``, ``f1``, ``ece``, ``threshold`` and ``recordings`` (that carry it); undefined
    values are left out. Both are empty when there are too few recordings. ``examples``: rows;
    ``groups``: recordings. ``choice``: the learner, in words. ``prior_strength``, ``prior_share``: as in
    `ModelChoice`. ``noise``: share of annotations of a single choice that look wrong.
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    examples: int
    groups: int
    choice: str
    prior_strength: float | None = None
    prior_share: float | None = None
    noise: float = 0.0


@dataclass(frozen=True)
class FitReport:
    """Report of a fit. ``controls``: those fitted; ``skipped``: for each other control a sentence why not."""

    controls: dict[str, ControlReport] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def fit_head(
    pool: Pool,
    frame_rate: float,
    identity: str,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    prior: Head | None = None,
    active: CrossValidatedHead | None = None,
    built: Mapping[str, Examples | None] | None = None,
    parts: Sequence[EmbeddingPart] = (),
) -> tuple[CrossValidatedHead, FitReport]:
    """Fit a head, with every control that has enough examples.

    Parameters
    ----------
    pool, frame_rate, identity
        Of the encoder that the clips' frames come from.
    controls
        The project's controls; the result depends on no order but theirs and that of the clips.
    prior
        A head of the same encoder that was served before the first annotation. A fit starts there
        and is regularised towards it: with few annotations it stays near, with many it moves away.
        Labels and controls without any annotation keep its predictions.
    active
        The version that is served now. Recordings keep its folds, so that both versions can be compared
        on the same ones.
    built
        `build_all` of the same arguments, where the caller has it already.
    parts
        Of the embedding; see `embedding_parts`.

    Raises
    ------
    NotEnoughAnnotationsError
        No control can be fitted.
    NotFiniteError
        The clips' frames, or what was fitted to them, hold NaN or infinity.
    """
    if built is None:
        built = build_all(pool, frame_rate, controls, clips)
    _check_embeddings(built)
    assignment = _assign_shared_folds([examples for examples in built.values() if examples], active)
    count = FOLDS if len(assignment) >= MIN_GROUPS_TO_MEASURE else 0
    served: dict[str, ControlHead] = {}
    folds: list[dict[str, ControlHead]] = [{} for _ in range(count)]
    reports, skipped = {}, {}
    for control in learned_controls(controls):
        before = prior.controls.get(control.name) if prior else None
        try:
            if not control.trainable:
                raise NotEnoughAnnotationsError(f'“{control.name}” is not trained: model_trainable="false".')
            fitted = fit_examples(control, built[control.name], before, assignment, parts)
        except NotEnoughAnnotationsError as error:
            skipped[control.name] = str(error)
            if before is not None:
                served[control.name] = before
            continue
        served[control.name] = fitted.head
        reports[control.name] = fitted.report
        for fold, head in zip(folds, fitted.folds, strict=True):
            if head is not None:
                fold[control.name] = head
    if not reports:
        raise NotEnoughAnnotationsError(" ".join(skipped.values()) or "There is no control to learn.")
    heads = tuple(Head(identity, controls) for controls in folds)
    fitted_heads = CrossValidatedHead(Head(identity, served), heads, assignment)
    _check_heads(fitted_heads, built)
    return fitted_heads, FitReport(reports, skipped)


def _check_embeddings(built: Mapping[str, Examples | None]) -> None:
    for name, examples in built.items():
        if examples is None:
            continue
        finite = np.isfinite(examples.embeddings).all(axis=1)
        if not finite.all():
            raise NotFiniteError(
                f"The frames of “{examples.groups[~finite][0]}”, annotated for “{name}”, hold numbers that "
                "are not finite: check the encoder's weights, or delete that task's annotations."
            )


def _check_heads(fitted: CrossValidatedHead, built: Mapping[str, Examples | None]) -> None:
    """Refuse heads with NaN or infinity in them, or in their predictions for their own examples."""
    for head in (fitted.head, *fitted.folds):
        for control in head.controls.values():
            examples = built.get(control.control)
            if not control.is_finite() or not (
                examples is None or np.isfinite(control.probabilities(examples.embeddings)).all()
            ):
                raise NotFiniteError(
                    f"The fit for “{control.control}” ended in numbers that are not finite, which is a fault "
                    "of Earmark: please report it. The version before goes on answering, and the next "
                    "annotation is trained on as usual."
                )


def _assign_shared_folds(built: Sequence[Examples], active: CrossValidatedHead | None) -> dict[str, int]:
    """One fold for each recording, whatever controls it was annotated for."""
    if not built:
        return {}
    width = sum(len(examples.labels) for examples in built)
    targets, first = [], 0
    for examples in built:
        wide = np.zeros((len(examples.groups), width), dtype=bool)
        wide[:, first : first + len(examples.labels)] = examples.targets
        targets.append(wide)
        first += len(examples.labels)
    groups = np.concatenate([examples.groups for examples in built])
    return assign_folds(groups, np.concatenate(targets), FOLDS, active.assignment if active else None)


@dataclass(frozen=True)
class ControlFit:
    """One control, fitted on everything and without each fold (None where too little was left)."""

    head: ControlHead
    folds: tuple[ControlHead | None, ...]
    report: ControlReport


def fit_examples(
    control: Control,
    examples: Examples | None,
    prior: ControlHead | None = None,
    assignment: dict[str, int] | None = None,
    parts: Sequence[EmbeddingPart] = (),
) -> ControlFit:
    """Fit and measure one control on its examples.

    Labels with neither an example nor a prior are left out of the head.

    Parameters
    ----------
    assignment
        Fold of each recording; assigned anew by default.
    parts
        See `fit_head`.

    Raises
    ------
    NotEnoughAnnotationsError
        There are too few examples.
    """
    before = Prior.of(prior, control)
    learned = _learnable(control, examples, before)
    if examples is None or not learned:
        raise NotEnoughAnnotationsError(_why_not(control, examples))
    if assignment is None:
        assignment = _assign_shared_folds([examples], None)
    # Hundreds of small products: BLAS threads that wait for busy cores made them 18 times slower,
    # and one thread gives the same bits on every machine with the same BLAS kernel
    with _thread_pools().limit(limits=1, user_api="blas"):
        return _fit(control, examples, learned, before, assignment, parts)


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the controller of this process's BLAS libraries, kept because finding them takes time."""
    return ThreadpoolController()


def _fit(
    control: Control,
    examples: Examples,
    learned: tuple[str, ...],
    prior: Prior,
    assignment: dict[str, int],
    parts: Sequence[EmbeddingPart],
) -> ControlFit:
    count = FOLDS if len(assignment) >= MIN_GROUPS_TO_MEASURE else 0
    folds = np.array([assignment[str(group)] for group in examples.groups])
    fitted = prior.softmax_labels(learned) if control.type.exclusive else learned
    columns = [examples.labels.index(label) for label in fitted]
    targets, weights = examples.targets[:, columns], examples.weights[:, columns]
    data = Data(
        control.type,
        targets,
        weights,
        examples.groups,
        folds,
        examples.is_unit,
        prior.logits(fitted, examples.embeddings),
        prior.covers(fitted),
    )
    groups = len(np.unique(examples.groups))
    choice = select_model(
        data, examples.embeddings, prior, fitted, fitted == learned, groups >= MIN_GROUPS_TO_MEASURE, parts
    )
    prior = choice.prior
    calibration, defaults = choice.calibration, _default_thresholds(prior, fitted)
    limits = np.where(np.isfinite(defaults), defaults, DEFAULT_THRESHOLD)
    report = ControlReport(
        metrics={},
        per_class={},
        examples=len(targets),
        groups=groups,
        choice=choice.name,
        prior_strength=choice.prior_strength,
        prior_share=choice.prior_share,
        noise=choice.noise,
    )
    if choice.logits is not None:
        predicted = data.type.probabilities(calibration(choice.logits))
        if not control.type.exclusive:
            limits = thresholds(data, predicted, defaults, DEFAULT_THRESHOLD)
        report = replace(
            report,
            metrics=metrics(data, predicted, limits),
            per_class=metrics_per_class(data, fitted, predicted, limits),
        )

    def head_without(fold: int | None) -> ControlHead | None:
        rows = folds != (-1 if fold is None else fold)
        seen = (targets[rows] & (weights[rows] > 0)).any(axis=0)
        if not seen.any():
            return prior.head
        included = seen | prior.covers(fitted) if data.exclusive else seen
        basis, linear = choice.fit(fold, rows, included)
        calibrated = Linear(
            linear.weights, linear.bias + calibration.temperature * calibration.bias[included]
        )
        names = tuple(np.array(fitted)[included].tolist())
        folded = fold_back(prior, names, basis, calibrated, calibration.temperature, limits[included])
        return replace(folded, landmarks=choice.landmarks)

    head = head_without(None)
    assert head is not None
    return ControlFit(head, tuple(head_without(fold) for fold in range(count)), report)


def _default_thresholds(prior: Prior, labels: tuple[str, ...]) -> Array:
    """Thresholds ``[C]`` of fitted labels with too few recordings for their own; NaN where there is none.

    Regions keep the prior's, which is low because a missed one must be drawn. It is too low for tags, which
    cost the same either way, once their probabilities are fitted to annotations.
    """
    if prior.control.type.draws_regions:
        return prior.thresholds(labels, np.nan)
    return np.full(len(labels), np.nan)


def _learnable(control: Control, examples: Examples | None, prior: Prior) -> tuple[str, ...]:
    """Labels that can be learned, in the control's order; none if there are too few examples.

    A label that every example carries may be common, or the only one annotated so far: with
    `COMMON_RECORDINGS`, or a prior, it counts as common.
    """
    if examples is None or _count(control, examples) < MIN_EXAMPLES:
        return ()
    annotated = examples.weights > 0
    carried = np.any(examples.targets & annotated, axis=0)
    lacked = np.any(~examples.targets & annotated, axis=0) | prior.covers(examples.labels)
    common = len(np.unique(examples.groups)) >= COMMON_RECORDINGS
    learnable = carried if control.type.exclusive or common else carried & lacked
    labels = tuple(
        label for label, is_learnable in zip(examples.labels, learnable, strict=True) if is_learnable
    )
    return () if control.type.exclusive and len(labels) < 2 else labels


def _count(control: Control, examples: Examples) -> int:
    """Number of annotated labels: of each region, or of each clip for tags."""
    annotated = ~examples.is_unit if control.type.draws_regions else examples.is_unit
    return int((examples.targets & (examples.weights > 0))[annotated].sum())


def _why_not(control: Control, examples: Examples | None) -> str:
    if examples is None:
        return f"Nothing was annotated for “{control.name}” yet: annotate a few tasks and submit them."
    count = _count(control, examples)
    if count == 0:
        return f"No annotation of “{control.name}” holds any of its labels: annotate one that does."
    if count < MIN_EXAMPLES:
        return f"There is one example for “{control.name}” so far: annotate one more."
    if control.type.exclusive:
        return f"Every annotation of “{control.name}” has the same choice: annotate one of another choice."
    return (
        f"Every annotation of “{control.name}” holds the same labels, and nothing tells what they are not: "
        "annotate one without them."
    )

"""Model selection: fit a control with each learner, and take the one that ranks held-out recordings best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earmark.encoders.base import EmbeddingPart
from earmark.head.averaged_parts import MAX_ROWS, average, spans
from earmark.head.calibration import OUTLIER_RATES, Calibration, calibrate, left_out_bias
from earmark.head.evaluation import Data, ranking_score
from earmark.head.kernel_selection import choose_landmarks, is_clearly_better, is_worth_trying
from earmark.head.lda import Discriminant
from earmark.head.logistic import CLEARLY_BETTER, PRIOR_STRENGTHS, Logistic, worse_than_alone
from earmark.head.model_choice import ModelChoice
from earmark.head.prior import Prior
from earmark.head.prior_share import BesidePrior, fill_absent
from earmark.head.solver import Array, Basis, Linear

MIN_RECORDINGS = 2
MAX_LOGISTIC_CELLS = 40_000
"""With more rows times labels and no prior, the discriminant alone is fitted, in seconds: it uses all
dimensions, where the logistic regression has a basis of 256."""


def select_model(
    data: Data,
    embeddings: NDArray[np.float32],
    prior: Prior,
    labels: tuple[str, ...],
    allow_dropping_prior: bool,
    measured: bool,
    parts: Sequence[EmbeddingPart] = (),
) -> ModelChoice:
    """Fit with every learner that suits the data, and return the best.

    Parameters
    ----------
    labels
        Names of the C columns.
    allow_dropping_prior
        Whether every label has an example, so that the prior may be dropped.
    measured
        Whether there are enough recordings to measure; otherwise a default logistic regression is taken.
    parts
        Of the embedding; empty if it is of one piece.
    """
    problem = _Problem(data, embeddings, prior, labels, allow_dropping_prior, measured)
    best = _beside_prior(problem) if problem.suits_prior_share else None
    best = best or _best_linear(problem)
    if parts and problem.suits_averaging:
        mean = _mean_of_parts(problem, parts)
        if mean is not None and _score(data, best) <= _score(data, mean) + CLEARLY_BETTER:
            best = mean
    if problem.is_repeated and not data.anchored.any() and is_worth_trying(data, prior, _score(data, best)):
        best = _with_rbf_features(problem, best)
    return best


@dataclass(frozen=True)
class _Problem:
    """What is to be fitted; see `select_model`."""

    data: Data
    embeddings: NDArray[np.float32]
    prior: Prior
    labels: tuple[str, ...]
    allow_dropping_prior: bool
    measured: bool

    @cached_property
    def is_repeated(self) -> bool:
        """Whether a fit without the prior can be measured: most labels have recordings to leave one out."""
        return self.measured and self.allow_dropping_prior and _has_repeated_labels(self.data)

    @property
    def suits_discriminant(self) -> bool:
        """Whether a discriminant is tried.

        Beside a prior of several tags the logistic regression holds and drops it label by label.
        """
        return self.is_repeated and (self.data.exclusive or not self.data.anchored.any())

    @property
    def suits_prior_share(self) -> bool:
        """Whether regions have a prior, and labels with a second recording tell what share of it helps."""
        measurable = self.measured and self.allow_dropping_prior and self.data.type.draws_regions
        return (
            measurable
            and bool(self.data.anchored.any())
            and bool((_recordings_of_labels(self.data) >= MIN_RECORDINGS).any())
        )

    @property
    def suits_averaging(self) -> bool:
        """Whether fits of several parts are averaged: measured for few examples of single choices.

        Before a label has a second recording, averaging is the better guess only where there is no prior.
        """
        few = self.data.exclusive and len(self.embeddings) <= MAX_ROWS
        unrivalled = self.measured and self.allow_dropping_prior and self.data.offset is None
        return few and (self.is_repeated or unrivalled)

    def part(self, span: slice) -> _Problem:
        """The same with one part of the embeddings, and without the prior."""
        data = self.data.without_prior(np.ones_like(self.data.anchored))
        return replace(
            self, data=data, embeddings=self.embeddings[:, span], prior=Prior(self.prior.control, None)
        )


def _best_linear(problem: _Problem) -> ModelChoice:
    """The best of a discriminant and a logistic regression."""
    data, choices = problem.data, []
    if problem.suits_discriminant:
        choices.append(_discriminant(data, problem.embeddings, problem.prior))
    if not choices or data.targets.size <= MAX_LOGISTIC_CELLS:
        choices.append(_logistic(problem))
    best = choices[0]
    for choice in choices[1:]:
        if _score(data, choice) > _score(data, best) + CLEARLY_BETTER:
            best = choice
    return best


def _beside_prior(problem: _Problem) -> ModelChoice | None:
    """Return the best fit without the prior, beside a share of it; None where that was not measured.

    The prior of labels that rank clearly better without is dropped.
    """
    data, prior, embeddings = problem.data, problem.prior, problem.embeddings
    alone = _best_linear(problem.part(slice(None)))
    beside = average(data, prior, [1.0], [embeddings], [alone])
    if beside is None or beside.logits is None or alone.logits is None:
        return beside
    dropped = worse_than_alone(data, beside.logits, alone.logits)
    if not dropped.any():
        return beside
    prior = prior.without(tuple(np.array(problem.labels)[dropped].tolist()))
    return average(data.without_prior(dropped), prior, [1.0], [embeddings], [alone])


def _mean_of_parts(problem: _Problem, parts: Sequence[EmbeddingPart]) -> ModelChoice | None:
    """The mean of fits on each part without the prior, beside a share of the prior."""
    problems = [problem.part(span) for span in spans(parts)]
    embeddings = [part.embeddings for part in problems]
    choices = [_best_linear(part) for part in problems]
    return average(problem.data, problem.prior, [part.weight for part in parts], embeddings, choices)


def _has_repeated_labels(data: Data) -> bool:
    """Whether most labels have enough recordings to leave one out."""
    return float(np.median(_recordings_of_labels(data))) >= MIN_RECORDINGS


def _recordings_of_labels(data: Data) -> NDArray[np.intp]:
    """Return the number of recordings with each label, ``[C]``."""
    carried = data.targets & (data.weights > 0)
    return np.array([len(np.unique(data.groups[column])) for column in carried.T], dtype=np.intp)


def _score(data: Data, choice: ModelChoice) -> float:
    if choice.logits is None:
        return 0.0
    return ranking_score(data, choice.calibration(choice.logits), np.ones(data.targets.shape[1], dtype=bool))


def _with_rbf_features(problem: _Problem, linear: ModelChoice) -> ModelChoice:
    """A discriminant on RBF features where that is clearly better, else ``linear``."""
    data, embeddings = problem.data, problem.embeddings
    landmarks = choose_landmarks(embeddings, data.weights.max(axis=1))
    choice = _discriminant(data, landmarks.features(embeddings), problem.prior)
    assert choice.logits is not None
    assert linear.logits is not None  # there are enough recordings to measure
    if is_clearly_better(data, choice.calibration(choice.logits), linear.calibration(linear.logits)):
        return replace(choice, name="discriminant on landmarks", landmarks=landmarks)
    return linear


def _logistic(problem: _Problem) -> ModelChoice:
    logistic = Logistic.chosen(
        problem.data, problem.embeddings, problem.measured, problem.allow_dropping_prior
    )
    data, prior = logistic.data, problem.prior
    anchored = data.anchored
    if problem.measured and problem.allow_dropping_prior:
        prior = prior.without(tuple(np.array(problem.labels)[~anchored].tolist()))
    bias: Array = np.zeros(len(anchored))
    calibration = Calibration(1.0, bias)
    if logistic.logits is not None:
        if not anchored.any():
            bias = left_out_bias(data, data.type.balanced_weights(data.targets, data.weights))
        calibration = calibrate(data, logistic.logits, bias, outlier_rates=OUTLIER_RATES)
    return ModelChoice(
        "logistic regression",
        prior,
        lambda fold, rows, columns: (logistic.basis, logistic.fit(rows, columns)),
        logistic.logits,
        calibration,
        PRIOR_STRENGTHS[logistic.steps[anchored][0]] if anchored.any() else None,
    )


def _discriminant(data: Data, embeddings: NDArray[np.float32], prior: Prior) -> ModelChoice:
    """A discriminant, beside a share of the prior."""
    discriminant = Discriminant.chosen(data, embeddings)
    beside = BesidePrior.chosen(data, discriminant.logits, left_out_bias(data, None), discriminant.noise)

    def fit(fold: int | None, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> tuple[Basis, Linear]:
        linear, basis = discriminant.fit(fold), discriminant.basis
        linear = Linear(linear.weights[:, columns], linear.bias[columns])
        return basis, linear if beside.share is None else fill_absent(basis, linear, embeddings[rows])

    return ModelChoice(
        beside.named("discriminant"),
        beside.weighted(prior),
        fit,
        beside.logits,
        beside.calibration,
        prior_share=beside.share,
        noise=discriminant.noise,
    )

"""Averaged fits of an embedding's parts, and the share of a prior beside a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.encoders.base import EmbeddingPart
from earmark.head.averaged_parts import spans
from earmark.head.examples import Examples
from earmark.head.fit import ControlFit, fit_examples
from earmark.head.metrics import lwlrap
from earmark.head.model import ControlHead
from earmark.labels.control import Control
from earmark.labels.control_types.choices import SINGLE_CHOICE

LABELS = ("a", "b", "c", "d", "e")
PARTS = (EmbeddingPart(400, 0.5), EmbeddingPart(20, 0.5))
"""The first part is wide and holds little, the second holds nearly everything."""
CONTROL = Control("x", "audio", SINGLE_CHOICE, LABELS, "audio")


def draw(per_label: int, seed: int, spread: float = 0.9) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Embeddings ``[n, 420]`` and classes ``[n]``."""
    centres = np.random.default_rng(1)
    wide, narrow = centres.normal(size=(5, 400)) * 0.15, centres.normal(size=(5, 20)) * 1.5
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(5), per_label)
    first = wide[classes] + rng.normal(size=(len(classes), 400))
    second = narrow[classes] + spread * rng.normal(size=(len(classes), 20))
    return np.concatenate([first, second], axis=1).astype(np.float32), classes


def examples_of(embeddings: NDArray[np.float32], classes: NDArray[np.intp]) -> Examples:
    targets = np.eye(5, dtype=bool)[classes]
    groups = np.array([f"r{index}" for index in range(len(classes))])
    return Examples(
        LABELS, embeddings, targets, np.ones(targets.shape), groups, np.ones(len(classes), dtype=bool)
    )


def fitted(
    per_label: int, seed: int, parts: tuple[EmbeddingPart, ...], prior: ControlHead | None = None
) -> ControlFit:
    return fit_examples(CONTROL, examples_of(*draw(per_label, seed)), prior, None, parts)


def score(head: ControlHead) -> float:
    embeddings, classes = draw(100, 99)
    return lwlrap(np.eye(5, dtype=bool)[classes], head.probabilities(embeddings))


def prior_of(quality: float) -> ControlHead:
    """A head before any label: the right directions in the narrow part, as far as ``quality``."""
    centres = np.random.default_rng(1)
    centres.normal(size=(5, 400))
    narrow = centres.normal(size=(5, 20)) * 1.5
    wrong = np.random.default_rng(7).normal(size=(5, 20)) * 1.5
    weights = np.zeros((420, 5), np.float32)
    weights[400:] = (quality * narrow + (1 - quality) * wrong).T
    zeros = np.zeros(420, np.float32)
    return ControlHead(
        "x",
        SINGLE_CHOICE,
        LABELS,
        zeros,
        zeros + 1,
        weights,
        np.zeros(5, np.float32),
        np.full(5, 0.5, np.float32),
    )


def test_parts_lie_one_after_the_other() -> None:
    assert spans((EmbeddingPart(3, 0.5), EmbeddingPart(2, 0.5))) == [slice(0, 3), slice(3, 5)]
    assert spans(()) == []


@pytest.mark.parametrize("per_label", [1, 3])
def test_a_narrow_part_is_not_drowned_by_a_wide_one(per_label: int) -> None:
    gains = [
        score(fitted(per_label, seed, PARTS).head) - score(fitted(per_label, seed, ()).head)
        for seed in range(4)
    ]
    assert np.mean(gains) > 0.02


def test_the_averaged_head_is_the_mean_of_the_parts_logits() -> None:
    fit = fitted(3, 0, PARTS)
    assert fit.report.choice == "mean of parts"
    embeddings, _ = draw(2, 5)
    split = fit.head.weights.copy()
    split[: PARTS[0].width] = 0
    second = replace(fit.head, weights=split)
    split = fit.head.weights.copy()
    split[PARTS[0].width :] = 0
    first = replace(fit.head, weights=split)
    together = first.logits(embeddings) + second.logits(embeddings) - first.bias
    np.testing.assert_allclose(fit.head.logits(embeddings), together, rtol=1e-4, atol=1e-4)
    assert len(fit.folds) == 5
    assert all(head is None or head.is_finite() for head in fit.folds)


def test_a_good_prior_helps_and_a_wrong_one_is_dropped() -> None:
    helped = fitted(4, 0, PARTS, prior_of(1.0))
    alone = fitted(4, 0, PARTS)
    misled = fitted(4, 0, PARTS, prior_of(0.0))
    assert score(helped.head) >= score(alone.head)
    assert score(misled.head) > score(alone.head) - 0.03
    assert helped.report.prior_share


def test_a_label_with_one_recording_keeps_what_the_prior_says_of_it() -> None:
    embeddings, classes = draw(6, 2)
    rows = np.concatenate([np.flatnonzero(classes < 4), np.flatnonzero(classes == 4)[:1]])
    fit = fit_examples(CONTROL, examples_of(embeddings[rows], classes[rows]), prior_of(1.0), None, PARTS)
    assert fit.head.labels == LABELS
    assert fit.head.is_finite()
    assert all(head is None or head.is_finite() for head in fit.folds)
    new, truth = draw(20, 50)
    assert (fit.head.probabilities(new[truth == 4]).argmax(axis=1) == 4).mean() > 0.8

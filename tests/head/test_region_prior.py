"""Fits of regions that start from a prior: a share of it beside a fit without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.head.examples import Examples
from earmark.head.fit import ControlFit, fit_examples
from earmark.head.metrics import average_precision
from earmark.head.model import ControlHead
from earmark.labels.control import Control
from earmark.labels.control_types.labels import REGION_LABELS

LABELS = ("a", "b", "c", "d")
CONTROL = Control("x", "audio", REGION_LABELS, LABELS, "audio")
WIDTH = 40
CENTRES = np.random.default_rng(1).normal(size=(4, WIDTH)) * 0.45
"""Of the labels; silence lies around zero."""


def draw(recordings: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings ``[8 * recordings, WIDTH]`` of windows, half of which have a label, and their labels."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((recordings, 8, 4), dtype=bool)
    for recording in range(recordings):
        targets[recording, [0, 1], recording % 4] = True
        targets[recording, [2, 3], (recording + 1) % 4] = True
    flat = targets.reshape(-1, 4)
    return (flat @ CENTRES + rng.normal(size=(len(flat), WIDTH))).astype(np.float32), flat


def prior_of(centres: NDArray[np.float64]) -> ControlHead:
    """A head before any label, for the given centres of the labels."""
    zeros = np.zeros(WIDTH, np.float32)
    bias = -0.5 * np.square(centres).sum(axis=1) - 2.0
    thresholds = np.full(4, 0.2, np.float32)
    return ControlHead(
        "x",
        REGION_LABELS,
        LABELS,
        zeros,
        zeros + 1,
        centres.T.astype(np.float32),
        bias.astype(np.float32),
        thresholds,
    )


def fitted(recordings: int, prior: ControlHead | None = None) -> ControlFit:
    embeddings, targets = draw(recordings, 2)
    groups = np.repeat([f"r{index}" for index in range(recordings)], 8)
    is_unit = np.arange(len(targets)) % 2 == 0
    examples = Examples(LABELS, embeddings, targets, np.ones(targets.shape), groups, is_unit)
    return fit_examples(CONTROL, examples, prior)


def precision(head: ControlHead, column: int | None = None) -> float:
    """Mean average precision of the labels, or that of one, on new windows."""
    embeddings, targets = draw(200, 99)
    logits, weights = head.logits(embeddings), np.ones(len(embeddings))
    columns = range(4) if column is None else [column]
    return float(np.mean([average_precision(targets[:, k], logits[:, k], weights) for k in columns]))


def test_few_regions_and_a_right_prior_rank_better_than_either_alone() -> None:
    prior = prior_of(CENTRES + 0.3 * np.random.default_rng(5).normal(size=CENTRES.shape))
    both = fitted(12, prior)
    assert precision(both.head) > precision(fitted(12).head) + 0.05
    assert precision(both.head) > precision(prior) + 0.02
    assert both.report.prior_share is not None
    assert both.report.prior_share > 0.1


def test_the_prior_is_held_while_each_label_has_a_single_recording() -> None:
    prior = prior_of(CENTRES + 0.3 * np.random.default_rng(5).normal(size=CENTRES.shape))
    embeddings, targets = draw(8, 2)
    targets &= np.arange(len(targets))[:, None] // 8 == np.arange(
        4
    )  # one recording each, and four of silence
    groups = np.repeat([f"r{index}" for index in range(8)], 8)
    is_unit = np.arange(len(targets)) % 2 == 0
    examples = Examples(LABELS, embeddings, targets, np.ones(targets.shape), groups, is_unit)
    head = fit_examples(CONTROL, examples, prior).head
    new, _ = draw(50, 99)
    logits, prior_logits = head.logits(new), prior.logits(new)
    assert min(np.corrcoef(logits[:, k], prior_logits[:, k])[0, 1] for k in range(4)) > 0.9


def test_a_wrong_prior_is_left_behind() -> None:
    wrong = prior_of(np.roll(CENTRES, 1, axis=0))
    assert precision(wrong) < 0.3
    assert precision(fitted(40, wrong).head) > precision(fitted(40).head) - 0.02


def test_one_wrong_label_is_let_go_and_the_others_keep_their_prior() -> None:
    centres = CENTRES.copy()
    centres[0] = -CENTRES[0]
    both, alone = fitted(24, prior_of(centres)), fitted(24)
    embeddings, _ = draw(50, 99)
    logits, without = both.head.logits(embeddings), alone.head.logits(embeddings)
    same = [np.corrcoef(logits[:, k], without[:, k])[0, 1] for k in range(4)]
    assert same[0] > 0.999 > max(same[1:])
    assert min(precision(both.head, k) - precision(alone.head, k) for k in range(1, 4)) > 0.03


def test_fold_heads_keep_the_prior_of_a_label_that_their_recordings_lack() -> None:
    prior = prior_of(CENTRES)
    embeddings, targets = draw(12, 2)
    groups = np.repeat([f"r{index}" for index in range(12)], 8)
    targets[8:, 0] = False  # the first label is in the first recording alone
    examples = Examples(
        LABELS, embeddings, targets, np.ones(targets.shape), groups, np.arange(len(targets)) % 2 == 0
    )
    assignment = {f"r{index}": index % 5 for index in range(12)}
    without = fit_examples(CONTROL, examples, prior, assignment).folds[0]
    assert without is not None
    new, _ = draw(5, 7)
    np.testing.assert_allclose(without.logits(new)[:, 0], prior.logits(new)[:, 0], atol=1e-3)

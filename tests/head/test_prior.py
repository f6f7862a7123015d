"""Fits that start from a prior, on data whose best answer is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from earmark.errors import NotEnoughAnnotationsError
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.metrics import lwlrap
from earmark.head.model import ControlHead, Head
from earmark.head.prior import Prior, fold_back
from earmark.head.solver import Basis, Linear
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from tests.head.one_control import fit_control
from tests.pooling import mean_pool as pool

RATE = 12.5
LABELS = ("a", "b", "c", "d")
DIMENSIONS = 60
CENTRES = np.random.default_rng(100).normal(size=(4, DIMENSIONS)) * 0.45


def control(kind: ControlType, *labels: str) -> Control:
    return Control("x", "audio", kind, labels or LABELS, "audio")


def draw(rng: np.random.Generator, count: int, classes: int = 4) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points of equally likely unit Gaussians, and which one each is of."""
    truth = rng.integers(classes, size=count)
    return (CENTRES[truth] + rng.normal(size=(count, DIMENSIONS))).astype(np.float32), truth


def clips(points: NDArray[Any], labels: Iterable[str]) -> list[AnnotatedClip]:
    return [
        AnnotatedClip(point[None], 0.08, f"g{i}", 1.0, {}, {"x": frozenset([label])})
        for i, (point, label) in enumerate(zip(points, labels, strict=True))
    ]


def prior(
    kind: ControlType, centres: NDArray[Any] = CENTRES, labels: tuple[str, ...] = LABELS, bias: float = -3.0
) -> ControlHead:
    """Bayes' own weights for these centres, but sure of little, as AudioSet's classifier is."""
    offsets = bias - np.square(centres).sum(axis=1) / 2
    width = centres.shape[1]
    return ControlHead(
        "x",
        kind,
        labels,
        np.zeros(width, np.float32),
        np.ones(width, np.float32),
        centres.T.astype(np.float32),
        offsets.astype(np.float32),
        np.full(len(labels), 0.2, np.float32),
    )


def scores(kind: ControlType, per_class: int, prior_head: ControlHead, seeds: int = 3) -> NDArray[Any]:
    """Mean lwlrap on new points: of the prior, of a fit without it, and of a fit from it."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        points, truth = draw(rng, 200 * per_class)
        picked = np.concatenate([np.flatnonzero(truth == k)[:per_class] for k in range(4)])
        taught = clips(points[picked], [LABELS[k] for k in truth[picked]])
        new, new_truth = draw(rng, 1500)
        onehot = np.eye(4, dtype=bool)[new_truth]
        without, _ = fit_control(pool, RATE, control(kind), taught)
        with_prior, _ = fit_control(pool, RATE, control(kind), taught, prior_head)
        heads = (prior_head, without, with_prior)
        rows.append([lwlrap(onehot, head.probabilities(new)) for head in heads])
    means: NDArray[Any] = np.mean(rows, axis=0)
    return means


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE])
@pytest.mark.parametrize("per_class", [1, 2, 3])
def test_a_right_prior_is_worth_many_annotations(kind: ControlType, per_class: int) -> None:
    best, without, with_prior = scores(kind, per_class, prior(kind))
    assert with_prior > without + 0.08
    assert with_prior > best - 0.02


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE])
def test_a_helpful_prior_helps_and_is_improved(kind: ControlType) -> None:
    rough = prior(kind, CENTRES + 0.45 * np.random.default_rng(5).normal(size=CENTRES.shape))
    before, without, with_prior = scores(kind, 2, rough)
    assert with_prior > without + 0.05
    assert with_prior > before - 0.03
    before, without, with_prior = scores(kind, 40, rough)
    assert with_prior > before + 0.02
    assert with_prior > without - 0.02


def test_one_wrong_label_is_let_go_and_the_others_stay() -> None:
    centres = CENTRES.copy()
    centres[0] = -CENTRES[1]
    rng = np.random.default_rng(9)
    points, truth = draw(rng, 60)
    taught = clips(points, np.take(LABELS, truth))
    prior_head = prior(MULTIPLE_CHOICE, centres)
    head, report = fit_control(pool, RATE, control(MULTIPLE_CHOICE), taught, prior_head)
    without, _ = fit_control(pool, RATE, control(MULTIPLE_CHOICE), taught)
    assert report.prior_strength is not None
    new, _ = draw(rng, 500)
    same = [np.corrcoef(head.logits(new)[:, k], prior_head.logits(new)[:, k])[0, 1] for k in range(4)]
    assert same[0] < 0.5
    assert min(same[1:]) > 0.7
    assert np.corrcoef(head.logits(new)[:, 0], without.logits(new)[:, 0])[0, 1] > 0.98


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE])
def test_a_wrong_prior_is_left_behind(kind: ControlType) -> None:
    wrong = prior(kind, np.roll(CENTRES, 1, axis=0))
    before, without, with_prior = scores(kind, 100, wrong, seeds=1)
    assert before < 0.5
    assert without > 0.9
    assert with_prior > without - 0.02


def test_few_annotations_stay_near_the_prior_and_many_move_away() -> None:
    rough = prior(MULTIPLE_CHOICE, CENTRES + 0.45 * np.random.default_rng(5).normal(size=CENTRES.shape))
    rng = np.random.default_rng(0)
    new, _ = draw(rng, 300)
    before, best = rough.logits(new)[:, 0], prior(MULTIPLE_CHOICE).logits(new)[:, 0]
    like_prior, like_best = [], []
    for count in (4, 400):
        points, truth = draw(rng, count)
        head, _ = fit_control(
            pool, RATE, control(MULTIPLE_CHOICE), clips(points, np.take(LABELS, truth)), rough
        )
        logits = head.logits(new)[:, head.labels.index("a")]
        like_prior.append(np.corrcoef(logits, before)[0, 1])
        like_best.append(np.corrcoef(logits, best)[0, 1])
    assert like_prior[0] > 0.97
    assert like_prior[1] < like_prior[0] - 0.05
    assert like_best[1] > like_best[0] + 0.01


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE, REGION_LABELS])
@pytest.mark.parametrize("columns", [(), (1, 3, 2, 1)])
def test_folding_back_is_exact(kind: ControlType, columns: tuple[int, ...]) -> None:
    """One head equals prior and difference computed apart, also where a label has several columns."""
    rng = np.random.default_rng(3)
    width = 500
    points = np.maximum(rng.normal(size=(80, width)), 0).astype(np.float32)
    basis = Basis.of(points, np.ones(80))
    prior_head = ControlHead(
        "x",
        kind,
        ("a", "b", "d", "e"),
        rng.normal(size=width).astype(np.float32),
        rng.uniform(0.5, 2.0, width).astype(np.float32),
        rng.normal(0, 0.2, size=(width, sum(columns) or 4)).astype(np.float32),
        rng.normal(-2, 1, sum(columns) or 4).astype(np.float32),
        np.full(4, 0.2, np.float32),
        columns,
    )
    labels = ("b", "c", "e") if kind != SINGLE_CHOICE else ("a", "b", "c", "d", "e")
    before = Prior.of(prior_head, control(kind, "a", "b", "c", "d", "e"))
    assert basis.directions is not None
    rank = basis.directions.shape[1]
    difference = Linear(rng.normal(size=(rank, len(labels))), rng.normal(size=len(labels)))
    head = fold_back(before, labels, basis, difference, 1.7, np.full(len(labels), 0.4))
    assert head.labels == ("a", "b", "c", "d", "e")
    again = Head.from_bytes(Head("e-1", {"x": head}).to_bytes()).controls["x"]

    new = np.maximum(rng.normal(size=(200, width)), 0).astype(np.float32)
    logits = prior_head.logits(new.astype(np.float64))
    expected = np.zeros((200, 5))
    expected[:, [0, 1, 3, 4]] = logits
    moved = difference.logits(basis.coordinates(new))
    fitted = ["abcde".index(label) for label in labels]
    expected[:, fitted] = (expected[:, fitted] + moved) / 1.7
    if kind == SINGLE_CHOICE:
        odds = np.exp(expected)
        wanted = odds / odds.sum(axis=1, keepdims=True)
    else:
        wanted = expit(expected)
    assert np.abs(again.probabilities(new) - wanted).max() < 1e-6
    thresholds = dict(zip(head.labels, head.thresholds.tolist(), strict=True))
    assert thresholds["c"] == pytest.approx(0.4)
    assert thresholds["a"] == pytest.approx(0.4 if kind == SINGLE_CHOICE else 0.2)


def test_labels_without_annotations_keep_the_prior_and_labels_without_either_are_silent() -> None:
    rng = np.random.default_rng(4)
    points, truth = draw(rng, 40, classes=2)
    prior_head = prior(MULTIPLE_CHOICE, CENTRES[:3], LABELS[:3])
    head, _ = fit_control(
        pool,
        RATE,
        control(MULTIPLE_CHOICE, "a", "b", "c", "d"),
        clips(points, np.take(LABELS, truth)),
        prior_head,
    )
    assert head.labels == ("a", "b", "c")
    new, _ = draw(rng, 200)
    assert np.abs(head.probabilities(new)[:, 2] - prior_head.probabilities(new)[:, 2]).max() < 1e-6
    assert head.thresholds[2] == pytest.approx(0.2)


@pytest.mark.parametrize(("count", "share"), [(4, 1.0), (12, 0.8)])
def test_tags_of_few_recordings_are_shown_where_that_costs_fewest_corrections(
    count: int, share: float
) -> None:
    """Without and with folds: the prior's threshold, of probabilities sure of little, shows too many."""
    rng = np.random.default_rng(8)
    new, new_truth = draw(rng, 1000)
    onehot = np.eye(4, dtype=bool)[new_truth]
    wrong, wrong_at_priors = [], []
    for _ in range(5):
        picked = np.arange(count) % 4
        points = (CENTRES[picked] + rng.normal(size=(count, DIMENSIONS))).astype(np.float32)
        head, _ = fit_control(
            pool,
            RATE,
            control(MULTIPLE_CHOICE),
            clips(points, np.take(LABELS, picked)),
            prior(MULTIPLE_CHOICE),
        )
        probabilities = head.probabilities(new)
        wrong.append(((probabilities >= head.thresholds) != onehot).sum(axis=1).mean())
        wrong_at_priors.append(((probabilities >= 0.2) != onehot).sum(axis=1).mean())
    assert np.mean(wrong) < share * np.mean(wrong_at_priors)


def test_a_single_choice_goes_on_offering_what_was_not_annotated_yet() -> None:
    rng = np.random.default_rng(5)
    points, truth = draw(rng, 30, classes=2)
    head, _ = fit_control(
        pool, RATE, control(SINGLE_CHOICE), clips(points, np.take(LABELS, truth)), prior(SINGLE_CHOICE)
    )
    assert head.labels == LABELS
    new, new_truth = draw(rng, 1000)
    chosen = head.probabilities(new).argmax(axis=1)
    for unseen in (2, 3):
        assert (chosen == unseen)[new_truth == unseen].mean() > 0.7
        assert (chosen == unseen)[new_truth < 2].mean() < 0.05


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE])
def test_a_label_that_the_prior_does_not_know_is_learned_beside_it(kind: ControlType) -> None:
    rng = np.random.default_rng(6)
    prior_head = prior(kind, CENTRES[:3], LABELS[:3])
    points, truth = draw(rng, 60)
    head, _ = fit_control(pool, RATE, control(kind), clips(points, np.take(LABELS, truth)), prior_head)
    new, new_truth = draw(rng, 2000)
    onehot = np.eye(4, dtype=bool)[new_truth]
    without, _ = fit_control(pool, RATE, control(kind), clips(points, np.take(LABELS, truth)))
    assert head.labels == LABELS
    assert lwlrap(onehot, head.probabilities(new)) > lwlrap(onehot, without.probabilities(new)) - 0.01
    if kind == MULTIPLE_CHOICE:  # labels without a prior are fitted as without one
        assert np.corrcoef(head.logits(new)[:, 3], without.logits(new)[:, 3])[0, 1] > 0.98


def test_controls_without_annotations_keep_the_prior_but_make_no_version_alone() -> None:
    rng = np.random.default_rng(7)
    other = Control("y", "audio", MULTIPLE_CHOICE, LABELS, "audio")
    prior_head = Head("e-1", {"x": prior(MULTIPLE_CHOICE), "y": prior(MULTIPLE_CHOICE)})
    points, truth = draw(rng, 8)
    taught = clips(points, np.take(LABELS, truth))
    fitted, report = fit_head(pool, RATE, "e-1", [control(MULTIPLE_CHOICE), other], taught, prior_head)
    assert fitted.head.controls["y"] is prior_head.controls["y"]
    assert list(report.controls) == ["x"]
    assert "y" in report.skipped
    with pytest.raises(NotEnoughAnnotationsError):
        fit_head(pool, RATE, "e-1", [other], taught, prior_head)


def test_a_prior_of_another_kind_or_of_other_labels_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    points, truth = draw(rng, 40)
    taught = clips(points, np.take(LABELS, truth))
    plain, report = fit_head(pool, RATE, "e-1", [control(MULTIPLE_CHOICE)], taught)
    assert report.controls["x"].prior_strength is report.controls["x"].prior_share is None
    for useless in (prior(SINGLE_CHOICE), prior(MULTIPLE_CHOICE, labels=("w", "x", "y", "z"))):
        fitted, _ = fit_head(
            pool, RATE, "e-1", [control(MULTIPLE_CHOICE)], taught, Head("e-1", {"x": useless})
        )
        assert fitted.head.to_bytes() == plain.head.to_bytes()


def test_a_prior_of_labels_without_annotations_goes_on_as_it_was() -> None:
    """Beside labels that curved borders would suit, whose features it does not know."""
    rng = np.random.default_rng(5)
    signs = rng.choice([-1, 1], size=(400, 2))
    points = (3 * signs @ np.eye(2, 6) + rng.normal(size=(400, 6))).astype(np.float32)
    labels = np.where(signs.prod(axis=1) > 0, "same", "apart")
    tags = control(MULTIPLE_CHOICE, "same", "apart", "never")
    weights = rng.normal(size=(6, 1)).astype(np.float32)
    ones = np.ones(6, np.float32)
    unmatched = ControlHead(
        "x", MULTIPLE_CHOICE, ("never",), 0 * ones, ones, weights, ones[:1], 0.3 * ones[:1]
    )
    taught = clips(points, labels)
    fitted, report = fit_head(pool, RATE, "e-1", [tags], taught, Head("e-1", {"x": unmatched}))
    head = fitted.head.controls["x"]
    assert head.labels == tags.labels
    assert head.logits(points)[:, 2] == pytest.approx(unmatched.logits(points)[:, 0], abs=1e-4)
    assert head.landmarks is None, report.controls["x"].choice

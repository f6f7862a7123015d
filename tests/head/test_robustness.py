"""Label noise and calibration, on mixtures whose posterior is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from earmark.head.calibration import TEMPERATURES, calibrate, noise_share, refined
from earmark.head.evaluation import Data
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import ControlReport
from earmark.head.lda import Discriminant
from earmark.head.metrics import calibration_error, lwlrap
from earmark.head.model import ControlHead
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from tests.head.one_control import fit_control
from tests.pooling import mean_pool as pool

LABELS = ("a", "b", "c", "d")


def taught(points: NDArray[Any], chosen: Iterable[Iterable[str]]) -> list[AnnotatedClip]:
    return [
        AnnotatedClip(point[None].astype(np.float32), 0.08, f"r{i:04d}", 1.0, {}, {"x": frozenset(labels)})
        for i, (point, labels) in enumerate(zip(points, chosen, strict=True))
    ]


def draw(
    rng: np.random.Generator,
    centres: NDArray[Any],
    count: int,
    frequencies: NDArray[Any] | list[float] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    truth = rng.choice(len(centres), size=count, p=frequencies)
    return centres[truth] + rng.normal(size=(count, centres.shape[1])), truth


def fit(kind: ControlType, clips: list[AnnotatedClip]) -> tuple[ControlHead, ControlReport]:
    return fit_control(pool, 12.5, Control("x", "audio", kind, LABELS, "audio"), clips)


def test_flipped_labels_are_found_and_cost_little() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 40))
    points, truth = draw(rng, centres, 160)
    wrong = truth.copy()
    flipped = rng.permutation(160)[:48]
    wrong[flipped] = (wrong[flipped] + rng.integers(1, 4, size=48)) % 4
    clean, clean_report = fit(SINGLE_CHOICE, taught(points, [[LABELS[k]] for k in truth]))
    noisy, report = fit(SINGLE_CHOICE, taught(points, [[LABELS[k]] for k in wrong]))
    assert clean_report.noise == 0.0
    assert report.noise == pytest.approx(0.3, abs=0.1)
    new, new_truth = draw(rng, centres, 2000)
    onehot = np.eye(4, dtype=bool)[new_truth]
    assert lwlrap(onehot, noisy.probabilities(new)) > lwlrap(onehot, clean.probabilities(new)) - 0.02


def test_a_single_choice_says_how_sure_it_may_be_when_classes_are_rare() -> None:
    rng = np.random.default_rng(1)
    centres, frequencies = 0.8 * rng.normal(size=(4, 6)), np.array([0.6, 0.25, 0.1, 0.05])
    points, truth = draw(rng, centres, 400, frequencies)
    head, _ = fit(SINGLE_CHOICE, taught(points, [[LABELS[k]] for k in truth]))
    new, new_truth = draw(rng, centres, 5000, frequencies)
    probabilities = head.probabilities(new.astype(np.float32))
    ideal = softmax(new @ centres.T - np.square(centres).sum(axis=1) / 2 + np.log(frequencies), axis=1)
    right = probabilities.argmax(axis=1) == new_truth
    assert calibration_error(right, probabilities.max(axis=1)) < 0.05
    assert np.abs(probabilities - ideal).mean() < 0.05
    assert right.mean() > (ideal.argmax(axis=1) == new_truth).mean() - 0.03


def test_several_tags_say_how_sure_they_may_be() -> None:
    rng = np.random.default_rng(2)
    slopes, bias = rng.normal(size=(8, 4)), np.array([-3.0, -1.0, 0.0, 1.0])

    def sample(count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        points = rng.normal(size=(count, 8))
        ideal = expit(points @ slopes + bias)
        return points, rng.uniform(size=ideal.shape) < ideal, ideal

    points, truth, _ = sample(400)
    head, report = fit(
        MULTIPLE_CHOICE, taught(points, [np.take(LABELS, np.flatnonzero(row)) for row in truth])
    )
    new, new_truth, ideal = sample(5000)
    probabilities = head.probabilities(new.astype(np.float32))
    assert calibration_error(new_truth.ravel(), probabilities.ravel()) < 0.04
    assert np.abs(probabilities - ideal).mean() < 0.06
    assert report.metrics["ece"] < 0.08
    assert set(report.per_class["a"]) == {"ap", "auc", "f1", "ece", "threshold", "recordings"}
    assert report.per_class["a"]["recordings"] == truth[:, 0].sum()


def single_choice(chosen: NDArray[Any], folds: NDArray[Any] | None = None) -> Data:
    """Annotations of one recording each, as the fit has them."""
    targets = np.eye(int(max(chosen)) + 1, dtype=bool)[chosen]
    count = len(chosen)
    return Data(
        SINGLE_CHOICE,
        targets,
        np.ones(targets.shape),
        np.array([f"r{index:03d}" for index in range(count)]),
        np.arange(count) % 5 if folds is None else folds,
        np.ones(count, dtype=bool),
        None,
        np.zeros(targets.shape[1], dtype=bool),
    )


def test_answers_that_are_wrong_beyond_all_doubt_count_against_a_calibration() -> None:
    data = single_choice(np.arange(20) % 2)
    logits = np.where(data.targets, 2000.0, 0.0)
    logits[:4] = logits[:4, ::-1]  # the probability of the own label underflows to 0
    assert calibrate(data, logits, np.zeros(2)).temperature > 0.9 * TEMPERATURES[1]
    assert noise_share(data, logits, np.zeros(2)) == pytest.approx(0.2, abs=0.06)


def test_no_label_loses_all_of_its_annotations() -> None:
    data = single_choice(np.arange(18) % 3)
    logits = np.where(np.arange(3) == 1, 3000.0, np.zeros((18, 3)))  # every row sounds like the second label
    logits[0, 0] = -np.inf
    refined_targets = refined(data, logits, np.zeros(3), noise=0.1)
    assert refined_targets.sum(axis=1) == pytest.approx(1)
    assert ((refined_targets >= 0) & (refined_targets <= 1)).all()
    staying = (refined_targets * data.targets).sum(axis=0) / data.targets.sum(axis=0)
    assert staying[1] == pytest.approx(1, abs=1e-3)
    # A prior of 20 annotations, nine tenths of them right, and six that look wrong
    assert staying[[0, 2]] == pytest.approx(0.9 * 20 / 26, abs=1e-3)


def test_wrong_labels_in_one_fold_alone_are_left_as_they_are() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 60))
    points, truth = draw(rng, centres, 60)
    wrong = np.where(np.arange(60) % 3 == 0, (truth + 1) % 3, truth)
    discriminant = Discriminant.chosen(
        single_choice(wrong, np.zeros(60, dtype=np.intp)), points.astype(np.float32)
    )
    assert discriminant.noise == 0
    assert np.isfinite(discriminant.whole.weights).all()


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE])
def test_what_never_varied_tells_nothing_about_a_new_sound(kind: ControlType) -> None:
    rng = np.random.default_rng(4)
    points = np.tile(rng.normal(size=40), (11, 1))
    points[:, :3] += rng.normal(size=(11, 3))
    head, _ = fit(kind, taught(points, [[LABELS[index % 2]] for index in range(11)]))
    new = points + np.where(np.arange(40) < 3, 0.0, 0.1 * rng.normal(size=(11, 40)))
    assert head.probabilities(new.astype(np.float32)) == pytest.approx(
        head.probabilities(points.astype(np.float32)), abs=0.02
    )

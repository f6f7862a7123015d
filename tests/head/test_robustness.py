"""Wrong labels, and probabilities that mean what they say, on mixtures whose posterior is known."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_control
from earmark.head.metrics import calibration_error, lwlrap
from earmark.labels.controls import Control

LABELS = ("a", "b", "c", "d")


def pool(frames):
    return frames.mean(axis=-2).astype(np.float32)


def taught(points, chosen):
    return [
        AnnotatedClip(point[None].astype(np.float32), 0.08, f"r{i:04d}", 1.0, {}, {"x": frozenset(labels)})
        for i, (point, labels) in enumerate(zip(points, chosen, strict=True))
    ]


def draw(rng, centres, count, frequencies=None):
    truth = rng.choice(len(centres), size=count, p=frequencies)
    return centres[truth] + rng.normal(size=(count, centres.shape[1])), truth


def fit(kind, clips):
    return fit_control(pool, 12.5, Control("x", "audio", kind, LABELS, "audio"), clips)


def test_flipped_labels_are_found_and_cost_little():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 40))
    points, truth = draw(rng, centres, 160)
    wrong = truth.copy()
    flipped = rng.permutation(160)[:48]
    wrong[flipped] = (wrong[flipped] + rng.integers(1, 4, size=48)) % 4
    clean, clean_report = fit("single", taught(points, [[LABELS[k]] for k in truth]))
    noisy, report = fit("single", taught(points, [[LABELS[k]] for k in wrong]))
    assert clean_report.noise == 0.0
    assert report.noise == pytest.approx(0.3, abs=0.1)
    new, new_truth = draw(rng, centres, 2000)
    onehot = np.eye(4, dtype=bool)[new_truth]
    assert lwlrap(onehot, noisy.probabilities(new)) > lwlrap(onehot, clean.probabilities(new)) - 0.02


def test_a_single_choice_says_how_sure_it_may_be_when_classes_are_rare():
    rng = np.random.default_rng(1)
    centres, frequencies = 0.8 * rng.normal(size=(4, 6)), np.array([0.6, 0.25, 0.1, 0.05])
    points, truth = draw(rng, centres, 400, frequencies)
    head, _ = fit("single", taught(points, [[LABELS[k]] for k in truth]))
    new, new_truth = draw(rng, centres, 5000, frequencies)
    found = head.probabilities(new.astype(np.float32))
    ideal = softmax(new @ centres.T - np.square(centres).sum(axis=1) / 2 + np.log(frequencies), axis=1)
    right = found.argmax(axis=1) == new_truth
    assert calibration_error(right, found.max(axis=1)) < 0.05
    assert np.abs(found - ideal).mean() < 0.05
    assert right.mean() > (ideal.argmax(axis=1) == new_truth).mean() - 0.03


def test_several_tags_say_how_sure_they_may_be():
    rng = np.random.default_rng(2)
    slopes, bias = rng.normal(size=(8, 4)), np.array([-3.0, -1.0, 0.0, 1.0])

    def sample(count):
        points = rng.normal(size=(count, 8))
        ideal = expit(points @ slopes + bias)
        return points, rng.uniform(size=ideal.shape) < ideal, ideal

    points, truth, _ = sample(400)
    head, report = fit("multiple", taught(points, [np.take(LABELS, np.flatnonzero(row)) for row in truth]))
    new, new_truth, ideal = sample(5000)
    found = head.probabilities(new.astype(np.float32))
    assert calibration_error(new_truth.ravel(), found.ravel()) < 0.04
    assert np.abs(found - ideal).mean() < 0.06
    assert report.metrics["ece"] < 0.08
    assert set(report.per_class["a"]) == {"ap", "auc", "f1", "ece", "threshold", "recordings"}
    assert report.per_class["a"]["recordings"] == truth[:, 0].sum()

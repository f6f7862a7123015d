"""Class frequencies estimated from counts, and calibration of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from earmark.head.calibration import OUTLIER_RATES, calibrate, frequencies
from earmark.head.evaluation import Data
from earmark.labels.control_types.choices import SINGLE_CHOICE


def test_frequencies_that_differ_by_chance_are_taken_as_equal() -> None:
    rng = np.random.default_rng(2)
    even = rng.multinomial(160, np.full(10, 0.1)).astype(float)
    assert frequencies(even) == pytest.approx(np.full(10, 0.1), abs=0.02)
    assert frequencies(np.zeros(4)) == pytest.approx(np.full(4, 0.25))


def test_frequencies_that_differ_by_more_are_believed() -> None:
    counts = np.array([1000.0, 100.0, 10.0, 1.0, 0.0])
    estimates = frequencies(counts)
    assert estimates.sum() == pytest.approx(1.0)
    assert estimates[:3] == pytest.approx(counts[:3] / counts.sum(), rel=0.1)
    assert (estimates > 0).all()


def drawn(odd: float, seed: int = 5, count: int = 600) -> tuple[Data, NDArray[Any]]:
    """A single choice whose logits, given at twice the size, tell the truth but for a share of odd clips."""
    rng = np.random.default_rng(seed)
    logits = 3.0 * rng.normal(size=(count, 4))
    truth = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    annotated = np.where(rng.random(count) < odd, logits.argmin(axis=1), truth)
    names = np.arange(count).astype(str)
    folds, unit = np.zeros(count, dtype=np.intp), np.ones(count, dtype=bool)
    weights = np.ones((count, 4))
    targets = np.eye(4, dtype=bool)[annotated]
    return Data(
        SINGLE_CHOICE, targets, weights, names, folds, unit, None, np.zeros(4, dtype=bool)
    ), 2 * logits


def test_a_temperature_is_found() -> None:
    data, logits = drawn(odd=0.0)
    for shares in ((0.0,), OUTLIER_RATES):
        assert calibrate(data, logits, np.zeros(4), outlier_rates=shares).temperature == pytest.approx(
            2.0, rel=0.2
        )


def test_a_few_odd_clips_do_not_make_all_answers_look_unsure() -> None:
    data, logits = drawn(odd=0.03)
    assert calibrate(data, logits, np.zeros(4)).temperature > 2.5
    assert calibrate(data, logits, np.zeros(4), outlier_rates=OUTLIER_RATES).temperature == pytest.approx(
        2.0, rel=0.2
    )

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from earmark.head.metrics import (
    auc,
    average_precision,
    best_f1,
    calibration_error,
    f1,
    fewest_errors,
    lwlrap,
)
from tests.lazily import Lazy

sklearn = Lazy("sklearn.metrics")


@st.composite
def rankings(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 7)))
    truth = draw(hnp.arrays(bool, shape))
    # Few distinct values, so that ties are common
    values = st.sampled_from([-np.inf, 0.0, 0.25, 0.5, 1.0, 3.0])
    scores = draw(hnp.arrays(np.float64, shape, elements=values))
    return truth, scores


@given(rankings())
def test_lwlrap_is_sklearns_weighted_by_labels(case: tuple[NDArray[Any], NDArray[Any]]) -> None:
    truth, scores = case
    labelled = truth.any(axis=1)
    if not labelled.any():
        assert math.isnan(lwlrap(truth, scores))
        return
    finite = np.where(np.isfinite(scores), scores, -1e6)  # sklearn refuses infinities
    expected = sklearn.label_ranking_average_precision_score(
        truth[labelled], finite[labelled], sample_weight=truth[labelled].sum(axis=1)
    )
    assert lwlrap(truth, scores) == pytest.approx(expected, abs=1e-12)


def test_lwlrap_by_hand() -> None:
    truth = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    scores = [[0.9, 0.5, 0.1], [0.1, 0.2, 0.3], [0.7, 0.7, 0.1]]
    assert lwlrap(truth, scores) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)


@st.composite
def weighted_scores(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    n = draw(st.integers(1, 20))
    return (
        draw(hnp.arrays(bool, n)),
        draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.2, 0.5, 0.9]))),
        draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0]))),
    )


@given(weighted_scores())
def test_average_precision_is_sklearns(case: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> None:
    truth, scores, weights = case
    if not truth[weights > 0].any():
        assert math.isnan(average_precision(truth, scores, weights))
        return
    expected = sklearn.average_precision_score(truth, scores, sample_weight=weights)
    assert average_precision(truth, scores, weights) == pytest.approx(expected, abs=1e-12)


@given(weighted_scores())
def test_no_threshold_decides_fewer_rows_wrongly(
    case: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> None:
    truth, scores, weights = case
    threshold = fewest_errors(truth, scores, weights)
    if not truth[weights > 0].any():
        assert math.isnan(threshold)
        return

    def errors(limit: float) -> float:
        return float((weights * (truth != (scores >= limit))).sum())

    fewest = min(errors(limit) for limit in (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, *scores.tolist()))
    assert errors(threshold) <= fewest + 1e-9


@given(weighted_scores())
def test_no_threshold_beats_the_best_f1(case: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> None:
    truth, scores, weights = case
    threshold, f1 = best_f1(truth, scores, weights)
    if not truth[weights > 0].any():
        assert math.isnan(threshold)
        return
    at = [
        sklearn.f1_score(truth, scores >= candidate, sample_weight=weights, zero_division=0.0)
        for candidate in (threshold, 0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
    ]
    assert f1 == pytest.approx(at[0], abs=1e-12)
    assert f1 >= max(at) - 1e-12


def test_labels_never_seen_rank_last_together() -> None:
    scores = [-np.inf, -np.inf, 0.5, -np.inf]
    assert average_precision([False, True, True, False], scores) == pytest.approx(0.5 + 0.5 * 2 / 4)


@given(st.integers(0, 10_000))
def test_auc_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.append(rng.uniform(size=20) < 0.4, [True, False])
    scores = rng.integers(6, size=22) / 6
    weights = rng.uniform(0.1, 2, size=22)
    assert auc(truth, scores, weights) == pytest.approx(
        sklearn.roc_auc_score(truth, scores, sample_weight=weights)
    )
    taken = scores >= 0.5
    assert f1(truth, taken, weights) == pytest.approx(
        sklearn.f1_score(truth, taken, sample_weight=weights, zero_division=0)
    )


def test_calibration_error_is_nothing_for_the_truth_and_the_distance_for_a_boast() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=100_000)
    truth = rng.uniform(size=100_000) < probabilities
    assert calibration_error(truth, probabilities) < 0.01
    boast = np.where(probabilities > 0.5, 1.0, 0.0)
    assert calibration_error(truth, boast) == pytest.approx(0.25, abs=0.01)
    assert np.isnan(calibration_error([], []))

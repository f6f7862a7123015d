"""The expected saving of candidate regions, and the arrays that a head keeps for it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.head.region_scorer import FEATURES, GAINS, RegionScorer, log_odds

SCORER = RegionScorer.default(3)


def candidate(**features: float) -> NDArray[np.float64]:
    return np.array([[features.get(name, 0.0) for name in FEATURES]])


def gain(**features: float) -> float:
    return float(SCORER.expected_gains(candidate(**features), np.array([0]))[0])


def test_the_expected_gain_lies_between_a_deletion_and_a_whole_region() -> None:
    sure = gain(label_logit=6.0, rival_logit=-6.0, contrast=1.0, rise=2.0, fall=2.0, audible_share=1.0)
    nothing = gain(label_logit=-6.0, rival_logit=2.0, loudness_before=2.0)
    assert -1.0 <= nothing < 0.0 < sure <= GAINS[-1]


def test_a_likelier_label_and_clearer_edges_save_more() -> None:
    assert gain(label_logit=2.0) > gain(label_logit=-2.0)
    assert gain(rise=2.0) > gain()
    assert gain(fall=2.0) > gain()
    assert gain(rival_logit=2.0) < gain(rival_logit=-2.0)


def test_lengths_far_from_those_of_the_label_are_unusual() -> None:
    usual, long = SCORER.unusual_lengths(np.array([1.1, 60.0]), np.array([0, 0]))
    assert usual < 1.0 < long


def test_picked_labels_keep_their_own_numbers() -> None:
    offsets = np.array([0.0, 1.0, 2.0], dtype=np.float32)
    scorer = replace(SCORER, offsets=offsets, gaps=offsets)
    assert scorer.picked([2, 0]).offsets.tolist() == [2.0, 0.0]
    assert scorer.picked([2, 0]).gaps.tolist() == [2.0, 0.0]


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrays = {field.name: getattr(SCORER, field.name) for field in fields(RegionScorer)}
    RegionScorer.checked(3, **arrays)
    with pytest.raises(ValueError, match="fit"):
        RegionScorer.checked(2, **arrays)
    with pytest.raises(ValueError, match="fit"):
        RegionScorer.checked(3, **{**arrays, "cuts": np.full(4, np.nan, dtype=np.float32)})


def test_log_odds_are_finite_everywhere() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 0.5, 1.0], dtype=np.float32))).all()

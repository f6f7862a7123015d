"""How common classes are, told from counts."""

import numpy as np
import pytest

from backend.head.calibration import frequencies


def test_frequencies_that_differ_by_chance_are_taken_as_equal():
    rng = np.random.default_rng(2)
    even = rng.multinomial(160, np.full(10, 0.1)).astype(float)
    assert frequencies(even) == pytest.approx(np.full(10, 0.1), abs=0.02)
    assert frequencies(np.zeros(4)) == pytest.approx(np.full(4, 0.25))


def test_frequencies_that_differ_by_more_are_believed():
    counts = np.array([1000.0, 100.0, 10.0, 1.0, 0.0])
    found = frequencies(counts)
    assert found.sum() == pytest.approx(1.0)
    assert found[:3] == pytest.approx(counts[:3] / counts.sum(), rel=0.1)
    assert (found > 0).all()

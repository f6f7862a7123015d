"""Frame probabilities: windows in batches give what they give together."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.prediction.frame_probabilities import frame_probabilities
from tests.pooling import mean_pool
from tests.prediction.test_postprocessing import RATE, head_of


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float16)
    fitted = head_of().controls["c"]
    [whole] = frame_probabilities([fitted], mean_pool, RATE, frames)
    assert whole.shape == (500, 2)
    monkeypatch.setattr("earmark.prediction.frame_probabilities.WINDOWS_AT_ONCE", 37)
    [cut] = frame_probabilities([fitted], mean_pool, RATE, frames)
    assert cut == pytest.approx(whole, abs=1e-5)

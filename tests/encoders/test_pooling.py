"""Pooling: the equation, in both precisions, over few frames and over very many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.encoders.engines import Plan
from earmark.encoders.engines.cpu_features import has_bf16
from tests.lazily import Lazy

network, pooling = Lazy("earmark.encoders.cnn14_network"), Lazy("earmark.encoders.pooling")

FRAMES = np.maximum(np.random.default_rng(1).normal(0, 1, (40, 7, 2048)), 0).astype(np.float16)


def by_definition(reference: Any, frames: NDArray[Any]) -> NDArray[Any]:
    wide = frames.astype(np.float64)
    weight, bias = (part.detach().numpy().astype(np.float64) for part in reference.fc1.parameters())
    pooled: NDArray[Any] = np.maximum((wide.max(-2) + wide.mean(-2)) @ weight.T + bias, 0)
    return pooled


@pytest.fixture(scope="module")
def exact(reference: Any) -> Any:
    """In float32."""
    return pooling.Pooling(Plan("torch", "fp32", "cpu", 1), network.build(reference.state_dict()))


def test_float32_is_exact(reference: Any, exact: Any) -> None:
    np.testing.assert_allclose(exact(FRAMES), by_definition(reference, FRAMES), atol=1e-5, rtol=1e-5)
    assert exact(FRAMES).dtype == np.float32


def test_half_precision_is_near(reference: Any) -> None:
    pooled = pooling.Pooling(Plan("openvino", "bf16", "cpu", 1), network.build(reference.state_dict()))(
        FRAMES
    )
    expected = by_definition(reference, FRAMES)
    cosines = (
        (pooled * expected).sum(-1) / np.linalg.norm(pooled, axis=-1) / np.linalg.norm(expected, axis=-1)
    )
    assert pooled.dtype == np.float32
    assert cosines.min() >= 0.9999
    if has_bf16():
        assert np.abs(pooled - expected).max() > 1e-4, "it is half precision"


def test_very_many_frames_are_not_widened(exact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that an hour takes gives the same embedding."""
    expected = exact(FRAMES)
    monkeypatch.setattr("earmark.encoders.pooling._WIDENED_AT_ONCE", 0)
    np.testing.assert_allclose(exact(FRAMES), expected, atol=1e-5, rtol=1e-5)


def test_frames_may_be_a_view(exact: Any) -> None:
    np.testing.assert_allclose(exact(FRAMES[::2]), exact(FRAMES)[::2], atol=1e-5, rtol=1e-5)

"""RBF features, and heads on them: selecting labels, storing, and refusing damaged ones."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.errors import HeadDamagedError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.model import ControlHead, Head
from earmark.head.prior import Prior
from earmark.head.rbf_features import Landmarks
from earmark.head.solver import Basis
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.prediction.label_mapping import fitted_as_configured


def control(*labels: str, kind: ControlType = MULTIPLE_CHOICE) -> Control:
    return Control("c", "audio", kind, labels, "audio")


def small(columns: tuple[int, ...] = (), kind: ControlType = MULTIPLE_CHOICE) -> ControlHead:
    """Three labels on 3 directions and 4 points of 6 dimensions."""
    rng = np.random.default_rng(10)
    normal = [rng.normal(size=shape).astype(np.float32) for shape in ((6,), (6, 3), (4, 3), (7,), (7,))]
    count = sum(columns) or 3
    weights, bias = rng.normal(size=(7, count)).astype(np.float32), np.zeros(count, np.float32)
    limits = np.array([0.2, 0.4, 0.6], np.float32)
    landmarks = Landmarks(*normal[:3])
    scale = np.exp(normal[4])
    return ControlHead(
        "c", kind, ("a", "b", "d"), normal[3], scale, weights, bias, limits, columns, landmarks
    )


def test_features_are_coordinates_and_nearness() -> None:
    head = small()
    assert head.landmarks is not None
    points = np.random.default_rng(11).normal(size=(5, 6)).astype(np.float32)
    lying = (points - head.landmarks.mean) @ head.landmarks.directions
    near = [[np.exp(-((place - point) ** 2).sum()) for point in head.landmarks.points] for place in lying]
    features = np.concatenate([lying, near], axis=1)
    assert head.landmarks.features(points) == pytest.approx(features, abs=1e-5)
    expected = (features - head.mean) / head.scale @ head.weights + head.bias
    assert head.logits(points) == pytest.approx(expected, abs=1e-4)
    extreme = np.full((2, 6), 1e30, np.float32)
    assert np.abs(head.landmarks.features(extreme)).max() == 100
    assert np.isfinite(head.probabilities(extreme)).all()


def test_picking_columns_leaves_the_landmarks() -> None:
    points = np.random.default_rng(12).normal(size=(5, 6)).astype(np.float32)
    for columns in ((), (1, 2, 1)):
        head = small(columns)
        logits = head.logits(points)
        fitted = CrossValidatedHead(
            Head("e-1", {"c": head}), (Head("e-1", {"c": head}),) * 2, {"r": 0, "s": 1}
        )
        served = fitted_as_configured(fitted, [control("d", "x", kind=MULTIPLE_CHOICE)], {"c": {"b": "x"}})
        for each in (served.head, *served.folds):
            assert each.controls["c"].labels == ("x", "d")
            assert each.controls["c"].logits(points) == pytest.approx(logits[:, 1:], rel=1e-6)
        assert Head.from_bytes(served.head.to_bytes()).controls["c"].labels == ("x", "d")
        prior = Prior.of(head, control("a", "b", "d", kind=MULTIPLE_CHOICE)).without(("b",))
        assert prior.logits(("a", "d"), points) == pytest.approx(logits[:, [0, 2]], rel=1e-4, abs=1e-4)


def test_a_head_with_landmarks_is_never_taken_for_a_linear_one() -> None:
    prior = Prior.of(small(), control("a", "b", "d", kind=MULTIPLE_CHOICE))
    with pytest.raises(ValueError, match="landmarks"):
        prior.columns("a", ("a",), Basis(np.zeros(7), np.ones(7), None))


def described(data: bytes) -> Any:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["earmark"])


def test_only_heads_with_landmarks_have_another_format() -> None:
    head = small()
    straight = replace(head, landmarks=None)
    assert described(Head("e-1", {"c": straight}).to_bytes()) == {
        "format": 1,
        "identity": "e-1",
        "controls": [{"name": "c", "kind": "multiple", "labels": ["a", "b", "d"]}],
    }
    both = Head("e-1", {"c": head, "s": replace(straight, control="s")})
    assert described(both.to_bytes())["format"] == 2
    again = Head.from_bytes(both.to_bytes())
    assert again.to_bytes() == both.to_bytes()
    assert again.controls["s"].landmarks is None


@pytest.mark.parametrize(
    "damaged",
    [
        {"mean": np.zeros(5, np.float32)},
        {"mean": np.zeros((6, 1), np.float32)},
        {"directions": np.zeros((6, 2), np.float32)},
        {"directions": np.zeros(6, np.float32)},
        {"points": np.zeros((5, 3), np.float32)},
        {"points": np.zeros(3, np.float32)},
        {"points": np.zeros((4, 3, 1), np.float32)},
    ],
)
def test_landmarks_that_do_not_fit_are_refused(damaged: dict[str, NDArray[Any]]) -> None:
    head = small()
    assert head.landmarks is not None
    changes: dict[str, Any] = dict(damaged)
    data = Head("e-1", {"c": replace(head, landmarks=replace(head.landmarks, **changes))}).to_bytes()
    with pytest.raises(HeadDamagedError, match="train the project again"):
        Head.from_bytes(data)


def test_landmarks_that_are_missing_are_refused() -> None:
    data = Head("e-1", {"c": small()}).to_bytes()
    assert data.count(b"0.landmarks.points") == 1
    with pytest.raises(HeadDamagedError):
        Head.from_bytes(data.replace(b"0.landmarks.points", b"0.landmarks.pointz"))

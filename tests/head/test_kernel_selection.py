"""Kernel selection: RBF features are taken where only they separate labels, not where a linear head does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.head import kernel_selection, model_selection
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.evaluation import Data
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import ControlReport, fit_head
from earmark.head.kernel_selection import is_clearly_better, is_worth_trying
from earmark.head.model import ControlHead, Head
from earmark.head.prior import Prior
from earmark.head.regression_check import compare
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.prediction.postprocessing import predict_clip
from tests.head.test_rbf_features import small
from tests.pooling import mean_pool as pool

Diagonals = tuple[list[AnnotatedClip], CrossValidatedHead, ControlReport]
RATE = 12.5
CURVED = "discriminant on landmarks"


def control(*labels: str, kind: ControlType = SINGLE_CHOICE) -> Control:
    return Control("c", "audio", kind, labels, "audio")


def tagged(points: NDArray[Any], labels: Iterable[Iterable[str]]) -> list[AnnotatedClip]:
    return [
        AnnotatedClip(point[None].astype(np.float32), 0.08, f"r{i:04d}", 1.0, {}, {"c": frozenset(each)})
        for i, (point, each) in enumerate(zip(points, labels, strict=True))
    ]


def crossed(seed: int, count: int, dims: int, noise: float = 1.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Four clouds at the corners of a square somewhere in space, and on which diagonal each point is."""
    square = np.linalg.qr(np.random.default_rng(7).normal(size=(dims, 2)))[0].T * np.sqrt(dims) / 2
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], size=(count, 2))
    return signs @ square + noise * rng.normal(size=(count, dims)), signs.prod(axis=1) > 0


def named(same: Iterable[bool]) -> list[list[str]]:
    return [["same" if each else "apart"] for each in same]


def fit(
    learned_control: Control,
    clips: list[AnnotatedClip],
    active: CrossValidatedHead | None = None,
    prior: Head | None = None,
) -> tuple[CrossValidatedHead, ControlReport]:
    fitted, report = fit_head(pool, RATE, "e-1", [learned_control], clips, prior, active)
    return fitted, report.controls["c"]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How many times landmarks were chosen."""
    calls: list[tuple[Any, ...]] = []
    choose = kernel_selection.choose_landmarks

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return choose(*arguments)

    monkeypatch.setattr(model_selection, "choose_landmarks", counted)
    return calls


DIAGONALS = control("same", "apart")


@pytest.fixture(scope="module")
def diagonals() -> Diagonals:
    points, same = crossed(0, 240, 2048)
    clips = tagged(points, named(same))
    return clips, *fit(DIAGONALS, clips)


def test_what_no_straight_border_tells_apart_is_told_by_a_curved_one(
    diagonals: Diagonals, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, fitted, report = diagonals
    assert report.choice == CURVED
    assert report.metrics["accuracy"] >= 0.9
    points, same = crossed(1, 500, 2048)

    def accuracy(head: Head) -> float:
        predicted = head.controls["c"].probabilities(points.astype(np.float32)).argmax(axis=1)
        return float(((predicted == 0) == same).mean())

    assert accuracy(fitted.head) >= 0.9
    monkeypatch.setattr(model_selection, "is_worth_trying", lambda *_: False)
    straight, of_straight = fit(DIAGONALS, clips)
    assert of_straight.choice != CURVED
    assert of_straight.metrics["accuracy"] < 0.6
    assert accuracy(straight.head) < 0.6
    compared = compare(pool, RATE, [DIAGONALS], clips, fitted, straight)
    assert compared.acceptable
    assert compared.candidate["c"]["accuracy"] >= 0.9
    assert not compare(pool, RATE, [DIAGONALS], clips, straight, fitted).acceptable


def test_fold_heads_are_fitted_in_the_same_way(diagonals: Diagonals) -> None:
    clips, fitted, _ = diagonals
    assert len(fitted.folds) == 5
    assert all(head.controls["c"].landmarks is not None for head in fitted.folds)
    right = 0
    for clip in clips:
        assert fitted.assignment is not None
        head = fitted.folds[fitted.assignment[clip.group]].controls["c"]
        predicted = head.labels[head.probabilities(pool(clip.frames)[None])[0].argmax()]
        right += {predicted} == clip.tags["c"]
    assert right / len(clips) >= 0.9


def test_equal_annotations_make_equal_bytes_and_bytes_make_the_head_again(diagonals: Diagonals) -> None:
    clips, fitted, _ = diagonals
    data, folds = fitted.head.to_bytes(), fitted.folds_to_bytes()
    again, _ = fit(DIAGONALS, clips)
    assert again.head.to_bytes() == data
    assert again.folds_to_bytes() == folds
    read = CrossValidatedHead.from_bytes(data, folds)
    assert read.head.to_bytes() == data
    assert read.folds_to_bytes() == folds
    points = crossed(2, 9, 2048)[0].astype(np.float32)
    for restored, other in zip((read.head, *read.folds), (fitted.head, *fitted.folds), strict=True):
        assert np.array_equal(restored.controls["c"].logits(points), other.controls["c"].logits(points))


def test_several_tags_are_told_apart_and_predicted() -> None:
    points, same = crossed(3, 300, 64, 0.5)
    loud = np.random.default_rng(4).uniform(size=300) < 0.4
    points += 3 * loud[:, None]
    labels = [
        [*each, *(["loud"] if is_loud else [])] for each, is_loud in zip(named(same), loud, strict=True)
    ]
    tags = control("same", "apart", "loud", kind=MULTIPLE_CHOICE)
    fitted, report = fit(tags, tagged(points[:240], labels[:240]))
    assert report.choice == CURVED
    assert len(set(fitted.head.controls["c"].thresholds.tolist())) == 3
    right = 0
    for point, each in zip(points[240:], labels[240:], strict=True):
        prediction = predict_clip(fitted.head, [tags], pool, RATE, point[None].astype(np.float32), 0.08)
        right += {label for label, _ in prediction.tags["c"]} == set(each)
    assert right / 60 >= 0.9


def test_regions_are_found_in_new_recordings() -> None:
    rng = np.random.default_rng(5)
    points, same = crossed(6, 100, 64, 0.3)

    def recording(index: int) -> tuple[NDArray[np.float32], tuple[Region, ...]]:
        """Two sounds of 2 s each after 1 s of nothing."""
        frames = 0.3 * rng.normal(size=(75, 64))
        regions = []
        for k, start in ((2 * index, 1.0), (2 * index + 1, 4.0)):
            frames[round(start * RATE) : round((start + 2) * RATE)] += points[k]
            regions.append(Region(start, start + 2, frozenset(*[named(same)[k]])))
        return frames.astype(np.float32), tuple(regions)

    made = [recording(index) for index in range(50)]
    both = control("same", "apart", kind=REGION_LABELS)
    clips = [
        AnnotatedClip(frames, 6.0, f"r{i:02d}", 1.0, {"c": regions}, {})
        for i, (frames, regions) in enumerate(made[:40])
    ]
    fitted, report = fit(both, clips)
    assert report.choice == CURVED
    assert report.metrics["map"] >= 0.9
    hits = total = 0
    for frames, regions in made[40:]:
        detected = predict_clip(fitted.head, [both], pool, RATE, frames, 6.0).regions
        total += len(detected) + len(regions)
        for region in detected:
            ends = [(other.start, other.end) for other in regions if region.label in other.labels]
            hits += any((region.start, region.end) == pytest.approx(other, abs=0.3) for other in ends)
    assert 2 * hits / total >= 0.9


def test_where_a_straight_border_does_as_well_it_stays(tried: list[tuple[Any, ...]]) -> None:
    rng = np.random.default_rng(8)
    truth = rng.integers(4, size=240)
    points = (0.25 * rng.normal(size=(4, 64)))[truth] + rng.normal(size=(240, 64))
    labels = ("a", "b", "c", "d")
    fitted, report = fit(control(*labels), tagged(points, [[labels[k]] for k in truth]))
    assert len(tried) == 1
    assert 0.8 < report.metrics["lwlrap"] < 0.98
    assert report.choice != CURVED
    assert fitted.head.controls["c"].landmarks is None
    assert b"landmarks" not in fitted.head.to_bytes()


def test_pure_noise_has_no_borders_of_any_kind(tried: list[tuple[Any, ...]]) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        clips = tagged(rng.normal(size=(240, 64)), named(rng.uniform(size=240) < 0.5))
        assert fit(DIAGONALS, clips)[1].choice != CURVED
    assert len(tried) == 3


def test_too_few_labels_and_labels_with_a_prior_are_not_tried(tried: list[tuple[Any, ...]]) -> None:
    points, same = crossed(9, 450, 8)
    clips = tagged(points, named(same))
    fit(DIAGONALS, clips[:199])
    few = [index for index, each in enumerate(same) if each][:19]
    fit(DIAGONALS, [clip for index, clip in enumerate(clips) if not same[index] or index in few])
    ones, zeros = np.ones(8, np.float32), np.zeros(2, np.float32)
    prior_head = ControlHead(
        "c", SINGLE_CHOICE, ("same", "apart"), ones, ones, np.eye(8, 2, dtype=np.float32), zeros, zeros
    )
    fit(DIAGONALS, clips, prior=Head("e-1", {"c": prior_head}))
    assert not tried
    fit(DIAGONALS, clips[:200])
    assert len(tried) == 1


def data_of(rows: int, positives: Sequence[int]) -> Data:
    targets = np.arange(rows)[:, None] < np.array(positives)
    names = np.array([f"r{index}" for index in range(rows)])
    folds = np.arange(rows) % 5
    unit, anchored = np.ones(rows, dtype=bool), np.zeros(len(positives), dtype=bool)
    return Data(MULTIPLE_CHOICE, targets, np.ones(targets.shape), names, folds, unit, None, anchored)


def test_what_is_worth_trying() -> None:
    enough = data_of(200, (20, 20, 1))
    tags = control("a", "b", "d", kind=MULTIPLE_CHOICE)
    none = Prior.of(None, tags)
    assert is_worth_trying(enough, none, 0.9)
    assert not is_worth_trying(enough, none, 0.99)
    assert not is_worth_trying(data_of(199, (20, 20, 1)), none, 0.9)
    assert not is_worth_trying(data_of(200, (20, 19, 1)), none, 0.9)
    assert not is_worth_trying(enough, Prior.of(small(), tags), 0.9)
    assert not is_worth_trying(data_of(20_001, (20, 20)), none, 0.9)
    assert not is_worth_trying(replace(enough, is_unit=np.arange(200) > 0), none, 0.9)
    assert not is_worth_trying(replace(enough, weights=np.zeros((200, 3))), none, 0.9)
    assert not is_worth_trying(replace(enough, groups=np.array(["r0"] * 200)), none, 0.9)


def test_a_gain_that_chance_explains_is_none() -> None:
    def answers(right: int, rows: int) -> NDArray[Any]:
        """Logits of two labels; so many rows, evenly spread, have the true one first."""
        first = np.arange(rows) * right % rows < right
        return np.where(first[:, None] == truth[:, :1], [1.0, 0.0], [0.0, 1.0])

    for rows, better in ((40, False), (2000, True)):
        data = data_of(rows, (rows // 2, 0))
        truth = np.stack([data.targets[:, 0], ~data.targets[:, 0]], axis=1)
        data = replace(data, type=SINGLE_CHOICE, targets=truth)
        worse, best = answers(rows * 14 // 20, rows), answers(rows * 16 // 20, rows)
        # Right 80 times of 100 instead of 70, so 0.05 of lwlrap; on 40 rows by chance
        assert is_clearly_better(data, best, worse) == better
        assert not is_clearly_better(data, worse, best)
        slightly = answers(rows * 147 // 200, rows)  # 0.0175, under the margin with any number of rows
        assert not is_clearly_better(data, slightly, worse)


def test_no_label_pays_for_the_others() -> None:
    data = data_of(400, (200, 0, 0))
    halves, thirds = data.targets[:, 0], np.arange(400) % 3 == 0
    data = replace(data, targets=np.stack([halves, ~halves, thirds], axis=1))
    shuffled = np.random.default_rng(13).permutation(400)
    straight = np.where(data.targets, 1.0, -1.0)
    straight[:, :2] = straight[shuffled, :2]  # knows the third alone
    curved = np.where(data.targets, 2.0, -2.0)
    assert is_clearly_better(data, curved, straight)
    curved[:, 2] = curved[shuffled, 2] / 4  # knows the others alone
    assert not is_clearly_better(data, curved, straight)

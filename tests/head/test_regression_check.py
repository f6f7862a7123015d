"""Regression check of two versions on recordings new to both, where it is known which one is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.errors import HeadDamagedError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.evaluation import Data, ranking_score, ranking_scores
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.lda import _hill_climb
from earmark.head.model import Head
from earmark.head.regression_check import Comparison, compare
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from tests.pooling import mean_pool as pool

RATE = 12.5
LABELS = ("a", "b", "c", "d")
CENTRES = 1.5 * np.random.default_rng(100).normal(size=(4, 6))
TAGS = Control("x", "audio", SINGLE_CHOICE, LABELS, "audio")


def draw(seed: int, count: int, prefix: str = "r") -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=count)
    points = CENTRES[truth] + rng.normal(size=(count, 6))
    return points, truth, [f"{prefix}{index:04d}" for index in range(count)]


def clips(
    points: NDArray[Any], truth: Iterable[int], names: list[str], labels: Sequence[str] = LABELS
) -> list[AnnotatedClip]:
    return [
        AnnotatedClip(point[None].astype(np.float32), 0.08, name, 1.0, {}, {"x": frozenset([labels[k]])})
        for point, k, name in zip(points, truth, names, strict=True)
    ]


def fit(annotated: list[AnnotatedClip], active: CrossValidatedHead | None = None) -> CrossValidatedHead:
    return fit_head(pool, RATE, "e-1", [TAGS], annotated, None, active)[0]


def judge(
    annotated: list[AnnotatedClip], candidate: CrossValidatedHead, active: CrossValidatedHead
) -> Comparison:
    return compare(pool, RATE, [TAGS], annotated, candidate, active)


def test_recordings_keep_their_folds_and_new_ones_spread_evenly() -> None:
    points, truth, names = draw(0, 60)
    annotated = clips(points, truth, names)
    first = fit(annotated[:30])
    second = fit(annotated, first)
    assert first.assignment is not None
    assert second.assignment is not None
    assert {name: second.assignment[name] for name in first.assignment} == first.assignment
    for label in range(4):
        held = [second.assignment[name] for name, k in zip(names, truth, strict=True) if k == label]
        counts = np.bincount(held, minlength=5)
        assert counts.max() - counts.min() <= 1
    assert fit(annotated, first).head.to_bytes() == second.head.to_bytes()


def test_a_fold_head_knows_nothing_of_its_recordings() -> None:
    points, truth, names = draw(1, 40)
    before = fit(clips(points, truth, names))
    assert before.assignment is not None
    left_out = [name for name, fold in before.assignment.items() if fold == 2]
    assert left_out
    # What the choices see of other folds changes nothing here; the fit itself must not move
    moved = points.copy()
    moved[[names.index(name) for name in left_out]] *= 1.0001
    after = fit(clips(moved, truth, names), before)
    before_logits = before.folds[2].controls["x"].logits(points)
    after_logits = after.folds[2].controls["x"].logits(points)
    assert after_logits == pytest.approx(before_logits, abs=0.02)


def test_bytes_bring_everything_back_and_damage_is_said() -> None:
    points, truth, names = draw(2, 20)
    fitted = fit(clips(points, truth, names))
    again = CrossValidatedHead.from_bytes(fitted.head.to_bytes(), fitted.folds_to_bytes())
    assert again.assignment == fitted.assignment
    assert [head.to_bytes() for head in again.folds] == [head.to_bytes() for head in fitted.folds]
    assert again.folds_to_bytes() == fitted.folds_to_bytes()
    assert CrossValidatedHead.from_bytes(fitted.head.to_bytes(), None).folds == ()
    stored = fitted.folds_to_bytes()
    for damaged in (b"", stored[:-5], stored[:40], fitted.head.to_bytes()):
        with pytest.raises(HeadDamagedError, match="train the project again"):
            CrossValidatedHead.from_bytes(fitted.head.to_bytes(), damaged)


def test_a_worse_candidate_is_held_back_and_a_better_one_is_not() -> None:
    points, truth, names = draw(3, 120)
    annotated = clips(points, truth, names)
    right = fit(annotated)
    wrong = truth.copy()
    wrong[:100] = np.random.default_rng(4).integers(4, size=100)
    spoiled = fit(clips(points, wrong, names), right)
    comparison = judge(annotated, spoiled, right)
    assert not comparison.acceptable
    assert "“x”" in comparison.reasons[0]
    assert comparison.candidate["x"]["lwlrap"] < comparison.active["x"]["lwlrap"] - 0.1
    assert judge(annotated, right, spoiled).acceptable
    same = judge(annotated, right, right)
    assert same.acceptable
    assert same.candidate == same.active


@pytest.mark.parametrize("labels", [LABELS[:1], LABELS])
@pytest.mark.parametrize("spoil", ["turned", "hushed"])
def test_several_tags_are_held_back_for_their_ranking_and_for_what_would_be_shown(
    labels: tuple[str, ...], spoil: str
) -> None:
    """One label alone is always ranked first, and logits that all sink rank as before."""
    tags = Control("x", "audio", MULTIPLE_CHOICE, labels, "audio")
    points, truth, names = draw(40, 100)
    annotated = clips(points, truth, names)
    if len(labels) == 1:
        annotated = [replace(clip, tags={"x": clip.tags["x"] & set(labels)}) for clip in annotated]
    right = fit_head(pool, RATE, "e-1", [tags], annotated)[0]

    def spoiled(head: Head) -> Head:
        control = head.controls["x"]
        sign = -1 if spoil == "turned" else 1
        bias = sign * control.bias - (8 if spoil == "hushed" else 0)
        return Head("e-1", {"x": replace(control, weights=sign * control.weights, bias=bias)})

    wrong = replace(right, head=spoiled(right.head), folds=tuple(map(spoiled, right.folds)))
    comparison = compare(pool, RATE, [tags], annotated, wrong, right)
    assert not comparison.acceptable
    reasons = " ".join(comparison.reasons)
    assert "F1 of what is shown" in reasons
    assert (("lwlrap" in reasons) or ("map" in reasons)) == (spoil == "turned")
    assert compare(pool, RATE, [tags], annotated, right, wrong).acceptable


def test_what_too_few_recordings_tell_is_named() -> None:
    annotated = clips(*draw(8, 30))
    fitted = fit(annotated)
    comparison = judge(annotated[:4], fitted, fitted)
    assert comparison.acceptable
    assert comparison.unmeasured == ("x",)
    # A control that nobody uses has nothing to compare
    unused = Control("y", "audio", REGION_LABELS, LABELS, "audio")
    empty = [replace(clip, regions={"y": ()}) for clip in annotated]
    assert compare(pool, RATE, [TAGS, unused], empty, fitted, fitted).unmeasured == ()
    assert judge(annotated, fitted, fitted).unmeasured == ()


def test_chance_is_not_worse() -> None:
    """More of the same annotations: some versions are a little worse by chance, nearly none is held back."""
    held_back = 0
    for seed in range(12):
        points, truth, names = draw(10 + seed, 48)
        annotated = clips(points, truth, names)
        first = fit(annotated[:40])
        held_back += not judge(annotated, fit(annotated, first), first).acceptable
    assert held_back <= 1


def test_both_are_judged_by_recordings_they_have_not_seen() -> None:
    """A head that remembers its recordings would win if it were asked about these."""
    rng = np.random.default_rng(5)
    points = rng.normal(size=(60, 200))
    truth = rng.integers(4, size=60)
    names = [f"r{index}" for index in range(60)]
    annotated = clips(points, truth, names)
    first = fit(annotated)
    comparison = judge(annotated, fit(annotated, first), first)
    assert comparison.active["x"]["accuracy"] < 0.5
    # New recordings, which no version was fitted on, are for the served head itself
    new = clips(*draw(6, 20, prefix="new"))
    served = fit(clips(*draw(7, 60)))
    assert judge(new, served, served).active["x"]["accuracy"] > 0.6


def test_without_folds_nothing_is_compared() -> None:
    annotated = clips(*draw(8, 30))
    fitted = fit(annotated)
    unknown = CrossValidatedHead(fitted.head, (), None)
    for pair in ((unknown, fitted), (fitted, unknown)):
        comparison = judge(annotated, *pair)
        assert comparison.acceptable
        assert comparison.candidate == {}
    few = fit(annotated[:4])
    assert few.folds == ()
    assert few.assignment is not None
    assert set(few.assignment) == {clip.group for clip in annotated[:4]}
    # The 26 recordings that the few did not hold are fair
    assert judge(annotated, fitted, few).active["x"]["lwlrap"] > 0


def test_a_label_that_one_side_lacks_is_never_ranked_by_it() -> None:
    points, truth, names = draw(9, 80)
    annotated = clips(points, truth, names)
    without = fit([clip for clip, k in zip(annotated, truth, strict=True) if k != 3])
    everything = fit(annotated, without)
    assert without.head.controls["x"].labels == LABELS[:3]
    comparison = judge(annotated, without, everything)
    assert not comparison.acceptable
    assert judge(annotated, everything, without).acceptable


@pytest.mark.parametrize("kind", [SINGLE_CHOICE, MULTIPLE_CHOICE, REGION_LABELS])
def test_scores_of_several_parts_are_those_of_each_part_alone(kind: ControlType) -> None:
    rng = np.random.default_rng(3)
    n, every = 60, np.ones(4, dtype=bool)
    data = Data(
        kind,
        rng.random((n, 4)) < 0.3,
        rng.random((n, 4)) * (rng.random((n, 4)) < 0.8),
        np.arange(n).astype(str),
        np.zeros(n, dtype=np.intp),
        rng.random(n) < 0.8,
        None,
        ~every,
    )
    logits = rng.normal(size=(n, 4)).round(1)  # some are equal
    parts = rng.random((5, n)) < 0.7
    actual = ranking_scores(data, logits, every, parts)
    alone = [ranking_score(data.of(rows), logits[rows], every) for rows in parts]
    assert actual == pytest.approx(alone, abs=1e-12)
    assert len(set(actual.round(6))) == len(parts)


@pytest.mark.parametrize("best", range(5))
def test_a_shrinkage_is_found_wherever_it_lies_and_not_all_are_tried(best: int) -> None:
    evaluations = _hill_climb(lambda index: (-abs(index - best), 1.0), 5)
    assert max(evaluations, key=lambda index: evaluations[index][0]) == best
    assert len(evaluations) <= 4

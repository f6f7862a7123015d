from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.head import examples as module
from earmark.head.examples import AnnotatedClip, Examples, build_examples
from earmark.head.windows import frames_between, pool_stretches, pool_windows, window_length, window_starts
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from tests.examples import with_examples
from tests.pooling import mean_pool as pool

RATE = 12.5
EVENTS = Control("events", "audio", REGION_LABELS, ("dog", "bell"), "audio")
KIND = Control("kind", "audio", SINGLE_CHOICE, ("indoor", "outdoor"), "audio")
TAGS = Control("tags", "audio", MULTIPLE_CHOICE, ("wind", "rain"), "audio")


def ramp(count: int) -> NDArray[np.float32]:
    """Frames that say where they are, so that a pooled window tells its centre."""
    frames: NDArray[np.float32] = np.stack([np.arange(count), np.ones(count)], axis=1).astype(np.float32)
    return frames


def region(start: float, end: float, *labels: str) -> Region:
    return Region(start, end, frozenset(labels))


def clip(
    regions: dict[str, tuple[Region, ...]] | None = None,
    tags: dict[str, frozenset[str]] | None = None,
    seconds: float = 10.0,
    group: str = "a",
    weight: float = 1.0,
) -> AnnotatedClip:
    return AnnotatedClip(ramp(round(seconds * RATE)), seconds, group, weight, regions or {}, tags or {})


def built(*arguments: Any) -> Examples:
    """What ``build_examples`` returns where there is something to learn from."""
    examples = build_examples(*arguments)
    assert examples is not None
    return examples


def centres(examples: Examples) -> NDArray[Any]:
    """Seconds of the middle of each window of `ramp`."""
    return (examples.embeddings[:, 0] + 0.5) / RATE


def test_windows_inside_are_positive_outside_negative_and_the_edge_unsaid() -> None:
    examples = built(pool, RATE, EVENTS, [clip({"events": (region(4.0, 6.0, "dog"),)})])
    middle, dog = centres(examples), examples.targets[:, 0]
    unit = examples.is_unit
    answered = examples.weights[:, 0] > 0
    assert dog[unit & (middle > 4.2) & (middle < 5.8)].all()
    assert not dog[unit & ((middle < 3.8) | (middle > 6.2))].any()
    assert answered[unit & ((middle < 3.8) | (middle > 6.2))].all()
    edge = unit & (np.abs(middle - 4.0) < 0.04)
    assert not answered[edge].any()
    assert edge.any()
    assert not examples.targets[:, 1].any()


def test_each_region_is_also_an_example_as_a_whole() -> None:
    examples = built(pool, RATE, EVENTS, [clip({"events": (region(4.0, 6.0, "dog"),)})])
    whole = ~examples.is_unit
    assert whole.sum() == 1
    assert centres(examples)[whole] == pytest.approx([5.0], abs=0.05)
    assert examples.targets[whole].tolist() == [[True, False]]


def test_overlapping_regions_give_all_their_labels() -> None:
    regions = (region(2.0, 6.0, "dog"), region(4.0, 8.0, "bell"), region(9.0, 9.8, "dog", "bell"))
    examples = built(pool, RATE, EVENTS, [clip({"events": regions})])
    middle = centres(examples)
    both = examples.is_unit & (middle > 4.3) & (middle < 5.7)
    assert both.any()
    assert examples.targets[both].all()
    assert examples.targets[~examples.is_unit][2].all()


def test_an_empty_submission_is_all_negatives_and_a_missing_one_says_nothing() -> None:
    examples = built(pool, RATE, EVENTS, [clip({"events": ()}), clip({}, group="b")])
    assert not examples.targets.any()
    assert set(examples.groups) == {"a"}
    assert build_examples(pool, RATE, EVENTS, [clip({})]) is None


def test_a_short_region_is_found_by_windows_longer_than_itself() -> None:
    examples = built(pool, RATE, EVENTS, [clip({"events": (region(5.0, 5.1, "dog"),)})])
    positive = centres(examples)[examples.is_unit & examples.targets[:, 0]]
    assert len(positive) >= 3
    assert np.abs(positive - 5.05).max() < 0.4


def test_regions_outside_the_recording_or_without_length_do_no_harm() -> None:
    regions = (region(3.0, 3.0, "dog"), region(50.0, 60.0, "dog"), region(9.0, 99.0, "bell"))
    examples = built(pool, RATE, EVENTS, [clip({"events": regions})])
    assert np.isfinite(examples.embeddings).all()
    assert not examples.targets[examples.is_unit, 0].any()
    assert examples.targets[examples.is_unit, 1].any()


def test_a_region_behind_the_end_is_no_example() -> None:
    examples = built(pool, RATE, EVENTS, [clip({"events": (region(12.0, 20.0, "dog"),)})])
    assert not examples.targets.any()
    assert examples.is_unit.all()


def test_two_annotators_of_one_sound_weigh_as_one() -> None:
    regions: dict[str, tuple[Region, ...]] = {"events": (region(4.0, 6.0, "dog"),)}
    single = built(pool, RATE, EVENTS, [clip(regions)])
    two = built(pool, RATE, EVENTS, [clip(regions), clip(regions)])
    assert len(two.weights) == 2 * len(single.weights)
    assert two.weights.sum() == pytest.approx(single.weights.sum())
    halves = built(pool, RATE, EVENTS, [clip(regions, weight=0.5), clip(regions, weight=0.5)])
    assert halves.weights.sum() == pytest.approx(single.weights.sum())
    other = built(pool, RATE, EVENTS, [clip(regions), clip(regions, seconds=9.0)])
    assert other.weights.sum() > 1.5 * single.weights.sum()
    heavy = built(pool, RATE, EVENTS, [clip(regions, weight=3.0)])
    assert heavy.weights.sum() == pytest.approx(3 * single.weights.sum())


def test_tags_are_one_example_of_the_whole_clip() -> None:
    clips = [
        clip(tags={"kind": frozenset({"indoor"}), "tags": frozenset()}),
        clip(tags={"kind": frozenset(), "tags": frozenset({"wind", "rain", "unknown"})}, group="b"),
        clip(tags={"kind": frozenset({"removed"})}, group="c"),
    ]
    single = built(pool, RATE, KIND, clips)
    assert single.targets.tolist() == [[True, False]]
    assert single.embeddings[0] == pytest.approx(pool(clips[0].frames))
    multiple = built(pool, RATE, TAGS, clips)
    assert multiple.targets.tolist() == [[False, False], [True, True]]


def test_an_hour_stays_small_keeps_every_region_and_its_share_of_weight() -> None:
    regions = tuple(region(60.0 * i, 60.0 * i + 2, "dog" if i % 2 else "bell") for i in range(1, 41))
    long = clip({"events": regions}, seconds=3600.0)
    examples = built(pool, RATE, EVENTS, [long])
    again = built(pool, RATE, EVENTS, [long])
    assert np.array_equal(examples.embeddings, again.embeddings)
    assert examples.is_unit.sum() <= module.MAX_WINDOWS_OF_CLIP
    assert (~examples.is_unit).sum() == 40
    positive = examples.is_unit & examples.targets.any(axis=1)
    assert positive.sum() > 40
    answered = examples.weights.max(axis=1)
    share = answered[positive].sum() / answered[examples.is_unit].sum()
    assert share == pytest.approx(80 / 3600, rel=0.3)


def test_many_clips_share_the_places() -> None:
    clips = [clip({"events": (region(4.0, 6.0, "dog"),)}, group=str(i)) for i in range(200)]
    examples = built(pool, RATE, EVENTS, clips)
    assert examples.is_unit.sum() <= 200 * module.MIN_WINDOWS_OF_CLIP


SECONDS = st.floats(0, 25)


@with_examples(60)
@given(
    st.integers(1, 300),
    st.lists(st.tuples(SECONDS, SECONDS, st.sampled_from(["dog", "bell", "x"])), max_size=6),
    st.sampled_from([3.125, 12.5]),
)
def test_examples_are_always_well_formed(
    count: int, drawn: list[tuple[float, float, str]], rate: float
) -> None:
    regions = tuple(region(min(a, b), max(a, b), label) for a, b, label in drawn)
    annotated = AnnotatedClip(ramp(count), count / rate, "a", 1.0, {"events": regions}, {})
    examples = built(pool, rate, EVENTS, [annotated])
    n = len(examples.embeddings)
    assert n >= 1
    assert examples.targets.shape == examples.weights.shape == (n, 2)
    assert len(examples.groups) == len(examples.is_unit) == n
    assert (examples.weights >= 0).all()
    assert not (examples.targets & (examples.weights == 0)).any()
    assert examples.is_unit.sum() <= module.MAX_WINDOWS_OF_CLIP


@given(st.integers(1, 100), st.floats(-5, 50), st.floats(-5, 50))
def test_a_stretch_of_time_always_holds_a_frame(count: int, start: float, end: float) -> None:
    first, last = frames_between(start, end, RATE, count)
    assert 0 <= first < last <= count


def test_windows_cover_all_frames_and_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from earmark.head import windows

    assert window_length(12.5, 100) == 8
    assert window_length(3.125, 100) == 2
    assert window_length(12.5, 3) == 3
    assert window_starts(12.5, 3).tolist() == [0]
    starts = window_starts(12.5, 100)
    assert (starts[0], starts[-1]) == (0, 92)
    whole = pool_windows(pool, ramp(100), starts, 8)
    monkeypatch.setattr(windows, "BATCH_VALUES", 100)
    assert np.array_equal(pool_windows(pool, ramp(100), starts, 8), whole)
    assert frames_between(0.16, 0.32, 12.5, 100) == (2, 4)


def test_stretches_of_several_sounds_are_pooled_together_and_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from earmark.head import windows

    sounds = [ramp(40), 100 + ramp(7), 200 + ramp(25)]
    stretches = [
        np.array([[3, 11], [0, 40], [5, 6]]),
        np.zeros((0, 2), dtype=int),
        np.array([[9, 17], [1, 2]]),
    ]
    calls = []

    def counted(frames: NDArray[Any]) -> NDArray[np.float32]:
        calls.append(frames.shape)
        return pool(frames)

    pooled = pool_stretches(counted, sounds, stretches)
    alone = [pool(sound[a:b]) for sound, own in zip(sounds, stretches, strict=True) for a, b in own.tolist()]
    assert np.array_equal(pooled, np.stack(alone))
    assert sorted(calls) == [(1, 40, 2), (2, 1, 2), (2, 8, 2)]
    monkeypatch.setattr(windows, "BATCH_VALUES", 16)
    assert np.array_equal(pool_stretches(pool, sounds, stretches), pooled)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from earmark.encoders.logmel import LogmelEncoder
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.model import ControlHead, Head
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.prediction.postprocessing import DetectedRegion, predict_clip
from earmark.prediction.stretches import MIN_REGION_SECONDS, find_stretches, span_seconds
from tests.pooling import mean_pool as pool

RATE = 12.5
SOUNDSCAPES = Path(__file__).parents[3] / "shared" / "audio" / "soundscapes"


def control(
    kind: ControlType = REGION_LABELS, labels: tuple[str, ...] = ("x", "y"), name: str = "c"
) -> Control:
    return Control(name, "audio", kind, labels, "audio")


def head_of(
    kind: ControlType = REGION_LABELS,
    labels: tuple[str, ...] = ("x", "y"),
    name: str = "c",
    gain: float = 10.0,
    bias: float = -5.0,
) -> Head:
    """Label k is likely where dimension k is over one half."""
    count = len(labels)
    return Head(
        "e-1",
        {
            name: ControlHead(
                name,
                kind,
                labels,
                np.zeros(3, dtype=np.float32),
                np.ones(3, dtype=np.float32),
                gain * np.eye(3, count, dtype=np.float32),
                np.full(count, bias, dtype=np.float32),
                np.full(count, 0.5, dtype=np.float32),
            )
        },
    )


def frames_with(seconds: float, *events: tuple[float, float, int]) -> NDArray[np.float16]:
    frames = np.zeros((round(seconds * RATE), 3), dtype=np.float16)
    for start, end, dimension in events:
        frames[round(start * RATE) : round(end * RATE), dimension] = 1
    return frames


def test_known_events_come_back_where_they_are() -> None:
    frames = frames_with(10, (2.0, 4.0, 0), (3.2, 6.0, 1), (8.0, 9.0, 0))
    prediction = predict_clip(head_of(), [control()], pool, RATE, frames, 10.0)
    assert [(region.label, region.control) for region in prediction.regions] == [
        ("x", "c"),
        ("y", "c"),
        ("x", "c"),
    ]
    for region, (start, end) in zip(prediction.regions, [(2.0, 4.0), (3.2, 6.0), (8.0, 9.0)], strict=True):
        assert region.start == pytest.approx(start, abs=0.17)
        assert region.end == pytest.approx(end, abs=0.17)
        assert region.score > 0.7
    assert prediction.tags == {}
    assert set(prediction.probabilities["c"]) == {"x", "y"}
    assert min(prediction.probabilities["c"].values()) > 0.95


def test_silence_has_no_regions_and_low_probabilities() -> None:
    prediction = predict_clip(head_of(), [control()], pool, RATE, frames_with(5), 5.0)
    assert prediction.regions == ()
    assert max(prediction.probabilities["c"].values()) < 0.05
    assert prediction.score > 0.9


def test_sound_to_the_very_end_ends_at_the_end() -> None:
    prediction = predict_clip(head_of(), [control()], pool, RATE, frames_with(5, (3.0, 5.0, 0)), 4.97)
    assert prediction.regions[0].end == 4.97
    # An encoder that rounds its frames down leaves a rest, which belongs to the last frame
    prediction = predict_clip(head_of(), [control()], pool, RATE, frames_with(5, (3.0, 5.0, 0)), 5.03)
    assert prediction.regions[0].end == 5.03


def find_regions(
    curve: NDArray[np.float32], threshold: float, rate: float, duration: float
) -> list[tuple[float, float, float]]:
    """Onset, offset and mean probability of each region of one label."""
    return [
        (*span, float(curve[first:last].mean()))
        for first, last in find_stretches(curve, threshold, rate)
        if (span := span_seconds(first, last, len(curve), rate, duration))
    ]


def test_gaps_are_bridged_and_blips_dropped() -> None:
    curve = np.zeros(100, dtype=np.float32)
    curve[10:20] = curve[22:30] = 0.9  # 0.16 s apart
    curve[60] = 0.9  # 0.08 s long
    assert [(s, e) for s, e, _ in find_regions(curve, 0.5, RATE, 8.0)] == [(0.8, 2.4)]


def test_hysteresis_holds_a_region_but_does_not_start_one() -> None:
    curve = np.array([0, 0.45, 0.45, 0.6, 0.45, 0.45, 0, 0, 0, 0, 0.45, 0.45, 0.45, 0], dtype=np.float32)
    regions = find_regions(curve, 0.5, 10.0, 1.4)
    assert len(regions) == 1
    assert regions[0][:2] == pytest.approx((0.1, 0.6))


def test_single_choice_is_one_tag_and_multiple_those_over_threshold() -> None:
    frames = frames_with(4, (0, 4, 0), (0, 4, 1))
    frames[:, 0] *= np.float16(1.1)
    labels = ("x", "y", "z")
    single = predict_clip(
        head_of(SINGLE_CHOICE, labels), [control(SINGLE_CHOICE, labels)], pool, RATE, frames, 4.0
    )
    assert [label for label, _ in single.tags["c"]] == ["x"]
    assert set(single.probabilities["c"]) == set(labels)
    multiple = predict_clip(
        head_of(MULTIPLE_CHOICE, labels), [control(MULTIPLE_CHOICE, labels)], pool, RATE, frames, 4.0
    )
    assert [label for label, _ in multiple.tags["c"]] == ["x", "y"]
    nothing = predict_clip(
        head_of(MULTIPLE_CHOICE, labels), [control(MULTIPLE_CHOICE, labels)], pool, RATE, frames_with(4), 4.0
    )
    assert nothing.tags == {"c": ()}


@pytest.mark.parametrize("kind", [REGION_LABELS, SINGLE_CHOICE, MULTIPLE_CHOICE])
def test_labels_that_left_the_config_are_never_returned(kind: ControlType) -> None:
    frames = frames_with(4, (0, 4, 0), (0, 4, 1))
    prediction = predict_clip(head_of(kind), [control(kind, ("y", "new"))], pool, RATE, frames, 4.0)
    assert set(prediction.probabilities["c"]) == {"y"}
    assert {region.label for region in prediction.regions} <= {"y"}
    assert {label for tags in prediction.tags.values() for label, _ in tags} <= {"y"}
    odd: Any = "other"
    for other in (control(kind, ("new",)), control(kind, name="renamed"), control(odd, ("x", "y"))):
        empty = predict_clip(head_of(kind), [other], pool, RATE, frames, 4.0)
        assert (empty.regions, empty.tags, empty.probabilities, empty.score) == ((), {}, {}, 0.0)


def test_the_score_is_low_where_the_head_wavers() -> None:
    sure = predict_clip(head_of(), [control()], pool, RATE, frames_with(4, (0, 4, 0)), 4.0)
    unsure_frames = frames_with(4, (0, 4, 0))
    unsure_frames[:, 1] = 0.5
    unsure = predict_clip(head_of(), [control()], pool, RATE, unsure_frames, 4.0)
    assert unsure.score < 0.1 < 0.9 < sure.score
    tied_frames = frames_with(4, (0, 4, 0), (0, 4, 1))
    tied = predict_clip(head_of(SINGLE_CHOICE), [control(SINGLE_CHOICE)], pool, RATE, tied_frames, 4.0)
    assert tied.score == pytest.approx(0.0, abs=1e-6)


@given(
    hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 0.95),
    st.sampled_from([3.125, 12.5]),
    st.floats(-0.3, 0.3),
)
def test_regions_are_always_inside_apart_and_in_order(
    curve: NDArray[np.float32], threshold: float, rate: float, rest: float
) -> None:
    duration = max(0.01, len(curve) / rate + rest)
    regions = find_regions(curve, threshold, rate, duration)
    last_end = -1.0
    for start, end, score in regions:
        assert 0 <= start < end <= duration
        assert end - start >= min(MIN_REGION_SECONDS, duration)
        assert start > last_end
        assert 0 <= score <= 1
        last_end = end
    if not (curve >= threshold).any():
        assert regions == []


@given(
    hnp.arrays(np.float16, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-50, 50, width=16)),
    st.sampled_from([REGION_LABELS, SINGLE_CHOICE, MULTIPLE_CHOICE]),
)
def test_predictions_are_always_finite(frames: NDArray[np.float16], kind: ControlType) -> None:
    prediction = predict_clip(head_of(kind), [control(kind)], pool, RATE, frames, len(frames) / RATE)
    assert 0 <= prediction.score <= 1
    for value in prediction.probabilities["c"].values():
        assert 0 <= value <= 1
    assert list(prediction.regions) == sorted(
        prediction.regions, key=lambda region: (region.start, region.end)
    )


def test_embeddings_are_pooled_once_for_all_controls() -> None:
    names: dict[ControlType, tuple[str, ...]]
    names = {
        REGION_LABELS: ("x", "y"),
        SINGLE_CHOICE: ("p", "q"),
        MULTIPLE_CHOICE: ("u", "v"),
    }  # none is shared
    controls = [control(kind, labels, f"{kind}{n}") for kind, labels in names.items() for n in (1, 2)]
    heads = {item.name: head_of(item.type, item.labels, item.name).controls[item.name] for item in controls}
    pooled = []

    def counted(frames: NDArray[Any]) -> NDArray[np.float32]:
        pooled.append(frames.shape)
        return pool(frames)

    frames = frames_with(5, (1.0, 3.0, 0))
    prediction = predict_clip(Head("e-1", heads), controls, counted, RATE, frames, 5.0)
    alone = [predict_clip(Head("e-1", heads), [item], pool, RATE, frames, 5.0) for item in controls]
    assert len(pooled) == 2, "all windows, and the whole clip"
    assert prediction.probabilities == {
        name: probabilities for each in alone for name, probabilities in each.probabilities.items()
    }
    assert len(prediction.regions) == sum(len(each.regions) for each in alone) == 2
    assert prediction.tags == {name: tags for each in alone for name, tags in each.tags.items()}


def test_an_hour_is_pooled_in_pieces() -> None:
    largest = 0

    def watched(frames: NDArray[Any]) -> NDArray[np.float32]:
        nonlocal largest
        largest = max(largest, frames.size)
        return pool(frames)

    frames = np.zeros((45_000, 3), dtype=np.float16)
    frames[30_000:30_100, 0] = 1
    prediction = predict_clip(head_of(), [control()], watched, RATE, frames, 3600.0)
    assert len(prediction.regions) == 1
    assert prediction.regions[0].start == pytest.approx(2400.0, abs=0.2)
    assert largest <= 2048 * 8 * 3


def scene(rng: np.random.Generator, seconds: float = 8.0) -> tuple[NDArray[np.float32], tuple[Region, ...]]:
    """Quiet noise with tones (two partials) and clicks of louder noise at known times."""
    rate = 32_000
    sound = 0.003 * rng.normal(size=int(seconds * rate))
    regions, start = [], rng.uniform(0.3, 1.0)
    while start < seconds - 1.2:
        label = str(rng.choice(["tone", "hiss"]))
        end = start + rng.uniform(0.7, 1.6)
        first, last = int(start * rate), min(int(end * rate), len(sound))
        time = np.arange(last - first) / rate
        if label == "tone":
            pitch = rng.uniform(300, 900)
            sound[first:last] += 0.1 * np.sin(2 * np.pi * pitch * time) + 0.05 * np.sin(
                4 * np.pi * pitch * time
            )
        else:
            sound[first:last] += 0.08 * rng.normal(size=last - first)
        regions.append(Region(start, min(end, seconds), frozenset([label])))
        start = end + rng.uniform(0.5, 1.2)
    return sound.astype(np.float32), tuple(regions)


def event_f1(
    predicted: Sequence[DetectedRegion], truth: Sequence[Region], collar_seconds: float
) -> tuple[int, int]:
    """F1 of regions whose label, onset and offset match one not yet matched."""
    left = list(truth)
    hits = 0
    for region in predicted:
        for other in left:
            near = abs(region.start - other.start), abs(region.end - other.end)
            if {region.label} == other.labels and max(near) <= collar_seconds:
                left.remove(other)
                hits += 1
                break
    return 2 * hits, len(predicted) + len(truth)


def test_learned_from_sound_and_found_in_new_sound() -> None:
    encoder, rng = LogmelEncoder(), np.random.default_rng(0)
    labels = control(labels=("tone", "hiss"))
    scenes = [scene(rng) for _ in range(20)]
    clips = [
        AnnotatedClip(encoder.frames([sound]), 8.0, str(i), 1.0, {"c": regions}, {})
        for i, (sound, regions) in enumerate(scenes[:12])
    ]
    fitted, report = fit_head(encoder.pool, encoder.frame_rate, encoder.identity, [labels], clips)
    assert report.controls["c"].metrics["map"] > 0.9
    hits = total = 0
    for sound, regions in scenes[12:]:
        prediction = predict_clip(
            fitted.head, [labels], encoder.pool, encoder.frame_rate, encoder.frames([sound]), 8.0
        )
        hit, of = event_f1(prediction.regions, regions, collar_seconds=0.35)
        hits, total = hits + hit, total + of
    assert hits / total > 0.8


@pytest.mark.skipif(not SOUNDSCAPES.is_dir(), reason="the shared soundscapes are not beside this project")
def test_one_corrected_soundscape_teaches_the_reverberant_one() -> None:
    encoder = LogmelEncoder()
    truth = [(2.0, 7.0, "siren"), (5.0, 5.6875, "car_horn"), (7.0, 7.9675, "human_voice")]
    regions = tuple(Region(start, end, frozenset([label])) for start, end, label in truth)
    labels = control(labels=("siren", "car_horn", "human_voice"))

    def frames_of(name: str) -> NDArray[np.float16]:
        sound, rate = soundfile.read(SOUNDSCAPES / name, dtype="float32", always_2d=True)
        return encoder.frames([soxr.resample(sound.mean(axis=1), rate, encoder.sample_rate)])

    dry = AnnotatedClip(frames_of("soundscape_20200501_44100.flac"), 10.0, "dry", 1.0, {"c": regions}, {})
    fitted, _ = fit_head(encoder.pool, encoder.frame_rate, encoder.identity, [labels], [dry])
    wet = frames_of("reverb_soundscape_20200501_44100.flac")
    prediction = predict_clip(fitted.head, [labels], encoder.pool, encoder.frame_rate, wet, 10.0)
    for start, end, label in truth:
        same = [region for region in prediction.regions if region.label == label]
        shared = sum(max(0.0, min(end, r.end) - max(start, r.start)) for r in same)
        assert shared > 0.5 * (end - start), label
        assert sum(r.end - r.start for r in same) < 2.5 * (end - start), label

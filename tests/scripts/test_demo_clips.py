"""The demo's sounds: the same every time, and where ``truth.csv`` says they are."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.labels.label_config import parse_label_config
from scripts.demo_clips import SAMPLE_RATE, DemoClip, load_truth, make_clips, plan_clips
from scripts.demo_sounds import SOUNDS

ROOT = Path(__file__).resolve().parents[2]
COUNT = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DemoClip]]:
    folder = tmp_path_factory.mktemp("clips")
    return folder, make_clips(folder, count=COUNT)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def level(samples: NDArray[Any], start: float, end: float) -> float:
    """RMS in dB between two times in seconds."""
    part = samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return 20 * float(np.log10(np.sqrt(np.mean(part**2)) + 1e-9))


def test_same_seed_gives_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_clips(tmp_path / name, count=3, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    first = "clip-001.wav"
    assert digests(tmp_path / "a")[first] != digests(tmp_path / "c")[first]


def test_a_short_series_is_the_beginning_of_a_longer_one(tmp_path: Path) -> None:
    make_clips(tmp_path, count=2)
    before = digests(tmp_path)
    make_clips(tmp_path, count=4)
    after = digests(tmp_path)
    assert all(after[name] == before[name] for name in ("clip-001.wav", "clip-002.wav"))
    assert load_truth(tmp_path) == plan_clips(4)


def test_what_is_complete_is_kept_and_the_rest_made_again(tmp_path: Path) -> None:
    make_clips(tmp_path, count=3)
    before = digests(tmp_path)
    modified_at = (tmp_path / "clip-003.wav").stat().st_mtime_ns
    (tmp_path / "clip-001.wav").unlink()
    (tmp_path / "clip-002.wav").write_bytes(b"RIFF, cut short")
    make_clips(tmp_path, count=3)
    assert digests(tmp_path) == before
    assert (tmp_path / "clip-003.wav").stat().st_mtime_ns == modified_at


def test_progress_counts_to_the_end(made: tuple[Path, list[DemoClip]]) -> None:
    seen: list[tuple[int, int]] = []
    make_clips(made[0], count=COUNT, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, COUNT) for number in range(1, COUNT + 1)]


def test_files_are_mono_16_bit_and_as_long_as_they_say(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    for clip in clips:
        info = soundfile.info(str(folder / clip.name))
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert info.duration == pytest.approx(clip.duration, abs=1e-6)
        assert 4.0 <= clip.duration <= 8.0


def test_truth_reads_back(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    assert load_truth(folder) == clips


def test_events_lie_inside_their_clip_and_are_of_different_sounds(made: tuple[Path, list[DemoClip]]) -> None:
    for clip in made[1]:
        labels = [event.label for event in clip.events]
        assert len(set(labels)) == len(labels)
        assert all(0 < e.onset < e.offset < clip.duration for e in clip.events)


def test_labels_are_those_of_the_example_label_config() -> None:
    for control in parse_label_config((ROOT / "label_config.xml").read_text()):
        assert control.labels == tuple(SOUNDS)


def test_each_event_stands_out_of_the_background(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    for clip in clips:
        samples, _ = soundfile.read(str(folder / clip.name))
        assert np.abs(samples).max() <= 0.9
        edges = [0.0, clip.duration, *(t for e in clip.events for t in (e.onset, e.offset))]
        edges.sort()
        silent = [
            level(samples, start, end)
            for start, end in itertools.pairwise(edges)
            if end - start > 0.05 and not any(e.onset < (start + end) / 2 < e.offset for e in clip.events)
        ]
        for event in clip.events:
            assert level(samples, event.onset, event.offset) > max(silent) + 8, (clip.name, event)


def test_onset_and_offset_are_where_the_energy_changes(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    alone = [clip for clip in clips if len(clip.events) == 1]
    for clip in alone:
        (event,) = clip.events
        samples, _ = soundfile.read(str(folder / clip.name))
        before = level(samples, event.onset - 0.08, event.onset)
        assert level(samples, event.onset, event.onset + 0.08) > before + 6, (clip.name, event)
        after = level(samples, event.offset + 0.001, event.offset + 0.08)
        assert level(samples, event.onset, event.offset) > after + 8, (clip.name, event)


@pytest.mark.parametrize("count", [6, 12, 18, 24, 60])
def test_any_beginning_of_the_series_is_nearly_balanced(count: int) -> None:
    used = Counter(event.label for clip in plan_clips(count) for event in clip.events)
    assert set(used) == set(SOUNDS)
    assert max(used.values()) - min(used.values()) <= 3


def test_three_of_five_clips_hold_one_event_and_some_of_the_others_overlap() -> None:
    clips = plan_clips(60)
    sizes = Counter(len(clip.events) for clip in clips)
    assert sizes[1] == 36
    assert sizes[2] > 5
    assert sizes[3] > 3
    overlapping = [
        clip
        for clip in clips
        if any(a.offset > b.onset for a, b in zip(clip.events, clip.events[1:], strict=False))
    ]
    assert 5 < len(overlapping) < 24

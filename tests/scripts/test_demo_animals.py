"""The demo's clips of recorded calls: the same every time, and where ``truth.csv`` says they are."""

from __future__ import annotations

import hashlib
import itertools
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.encoders.registry import class_names
from earmark.labels.class_matching import match_labels
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config, suggestion_tools
from scripts.demo_animals import make_animal_clips, plan_animal_clips
from scripts.demo_clips import SAMPLE_RATE, DemoClip, is_for_testing, load_truth
from scripts.demo_recordings import ANIMALS, Calls
from tests.scripts.animal_wheel import tone_bursts

ROOT = Path(__file__).resolve().parents[2]
COUNT = 60
TRAINING_HZ, TESTING_HZ = 1000.0, 3000.0
CALLS = {
    label: Calls(
        tuple(tone_bursts([(0, length)], length, TRAINING_HZ) for length in (0.3, 0.7)),
        tuple(tone_bursts([(0, length)], length, TESTING_HZ) for length in (0.4, 1.5)),
    )
    for label in ANIMALS
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DemoClip]]:
    folder = tmp_path_factory.mktemp("animals")
    return folder, make_animal_clips(folder, CALLS, count=COUNT)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def level(samples: NDArray[Any], start: float, end: float) -> float:
    """RMS in dB between two times in seconds."""
    part = samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return 20 * float(np.log10(np.sqrt(np.mean(part**2)) + 1e-9))


def silent_levels(clip: DemoClip, samples: NDArray[Any]) -> list[float]:
    """Levels in dB of the stretches in which nothing but the background sounds."""
    edges = sorted([0.0, clip.duration, *(edge for e in clip.events for edge in (e.onset, e.offset))])
    return [
        level(samples, start, end)
        for start, end in itertools.pairwise(edges)
        if end - start > 0.1 and not any(e.onset < (start + end) / 2 < e.offset for e in clip.events)
    ]


def test_the_same_calls_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    others = {**CALLS, "Cat": CALLS["Cat"].__class__(CALLS["Cat"].testing, CALLS["Cat"].training)}
    for name, calls, seed in (("a", CALLS, 1), ("b", CALLS, 1), ("c", CALLS, 2), ("d", others, 1)):
        make_animal_clips(tmp_path / name, calls, count=12, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")
    assert digests(tmp_path / "a") != digests(tmp_path / "d")
    make_animal_clips(tmp_path / "a", others, count=12, seed=1)
    assert digests(tmp_path / "a") == digests(tmp_path / "d"), "clips of other calls are made anew"


def test_a_short_series_is_the_beginning_of_a_longer_one(made: tuple[Path, list[DemoClip]]) -> None:
    assert [plan.clip for plan in plan_animal_clips(CALLS, 13)] == made[1][:13]


def test_truth_reads_back_and_clips_are_as_long_as_they_say(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    assert load_truth(folder) == clips
    assert len(clips) == COUNT
    for clip in clips:
        info = soundfile.info(str(folder / clip.name))
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert 4.0 <= clip.duration <= 8.0
        labels = [event.label for event in clip.events]
        assert len(set(labels)) == len(labels)
        assert all(0 < e.onset < e.offset < clip.duration for e in clip.events)


def test_the_background_lies_15_db_below_the_calls(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    distances = []
    for clip in clips:
        samples, _ = soundfile.read(str(folder / clip.name))
        softest = min(level(samples, event.onset, event.offset) for event in clip.events)
        # Over the whole clip at least 15 dB; a swell may reach over that for a moment
        power = np.mean([10 ** (value / 10) for value in silent_levels(clip, samples)])
        distances.append(softest - 10 * np.log10(power))
        assert distances[-1] > 13, clip
    assert max(distances) > 35, "some backgrounds are quiet"


def test_calls_begin_and_end_where_the_truth_says(made: tuple[Path, list[DemoClip]]) -> None:
    folder, clips = made
    for clip in clips:
        samples, _ = soundfile.read(str(folder / clip.name))
        if len(clip.events) > 1:
            continue
        (event,) = clip.events
        for inside, outside in (
            ((event.onset, event.onset + 0.03), (event.onset - 0.03, event.onset)),
            ((event.offset - 0.03, event.offset), (event.offset, event.offset + 0.03)),
        ):
            assert level(samples, *inside) > level(samples, *outside) + 6, clip


def test_calls_for_testing_are_in_every_second_clip_alone() -> None:
    for plan in plan_animal_clips(CALLS, COUNT):
        expected = TESTING_HZ if is_for_testing(plan.clip) else TRAINING_HZ
        for sound in plan.sounds:
            spectrum = np.abs(np.fft.rfft(sound))
            frequency = float(np.argmax(spectrum)) * SAMPLE_RATE / len(sound)
            assert frequency == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("testing", [False, True])
def test_each_half_is_nearly_balanced_and_some_calls_overlap(testing: bool) -> None:
    clips = [plan.clip for plan in plan_animal_clips(CALLS, COUNT) if is_for_testing(plan.clip) == testing]
    assert len(clips) == COUNT // 2
    used = Counter(event.label for clip in clips for event in clip.events)
    assert set(used) == set(ANIMALS)
    assert max(used.values()) - min(used.values()) <= 2
    sizes = Counter(len(clip.events) for clip in clips)
    assert sizes[1] == 18
    assert sizes[2] + sizes[3] == 12
    overlapping = [
        clip for clip in clips if any(a.offset > b.onset for a, b in itertools.pairwise(clip.events))
    ]
    assert 2 < len(overlapping) < 12


def test_the_label_config_differs_from_the_example_in_its_labels_alone() -> None:
    def without_labels(path: Path) -> str:
        root = ElementTree.parse(path).getroot()
        for control in root.iter():
            for tag in list(control):
                if tag.tag in ("Label", "Choice") and tag.get("value") != "Suggest":
                    control.remove(tag)
        return "".join(ElementTree.tostring(root, encoding="unicode").split())

    animals = ROOT / "scripts" / "demo_animals.xml"
    assert without_labels(animals) == without_labels(ROOT / "label_config.xml")
    controls = parse_label_config(animals.read_text())
    assert [(control.type, control.labels) for control in controls] == [
        (REGION_LABELS, tuple(ANIMALS)),
        (MULTIPLE_CHOICE, tuple(ANIMALS)),
    ]
    assert suggestion_tools(animals.read_text()) == {"suggest"}


@pytest.mark.parametrize("encoder", ["yamnet", "yamnet+logmel", "cnn14"])
def test_every_label_is_a_class_of_the_encoders(encoder: str) -> None:
    for control in parse_label_config((ROOT / "scripts" / "demo_animals.xml").read_text()):
        match = match_labels(control, class_names(encoder))
        assert not match.unmatched
        assert all(len(classes) == 1 for classes in match.classes.values())

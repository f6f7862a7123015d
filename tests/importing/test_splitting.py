"""Splitting of long recordings: samples stay exact, and every label stays in place."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import SoundUnreadableError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing import splitting
from earmark.importing.audio_checks import read_facts
from earmark.importing.models import Facts, Sound, part_of
from earmark.importing.splitting import Cutter, stretches


def long_sound(seconds: float, rate: int = 1000, regions: tuple[RegionRecord, ...] = ()) -> Sound:
    facts = Facts("d" * 64, 1, round(seconds * rate) / rate, rate, 1)
    marks = (ClipRecord("long.wav", tags={"": ("night",)}, regions={"": regions}),)
    return Sound(Path("/long.wav"), "long.wav", facts, marks)


@given(st.floats(0.01, 1000), st.floats(0.2, 200), st.floats(0, 5), st.sampled_from([8000, 44100]))
def test_stretches_join_without_gap_or_overlap(seconds: float, about: float, least: float, rate: int) -> None:
    whole, length = long_sound(seconds, rate), max(seconds / about, 0.1)
    parts = stretches(whole, length, least)
    if parts == [whole]:
        assert whole.facts.duration <= length + 1 / rate
        return
    places = [part.stretch for part in parts if part.stretch]
    assert len(places) == len(parts)
    assert places[0].start == 0.0
    assert places[-1].end == pytest.approx(whole.facts.duration, abs=1e-9)
    assert all(a.end == b.start for a, b in itertools.pairwise(places))
    assert len({part.identity for part in parts}) == len({part.fname for part in parts}) == len(parts)
    assert {place.source for place in places} == {"long.wav"}


def test_regions_go_to_every_stretch_they_reach_into() -> None:
    regions = (
        RegionRecord(1.0, 2.0, "inside"),
        RegionRecord(9.0, 21.0, "over"),
        RegionRecord(10.0, 10.0, "moment"),
        RegionRecord(0.0, 10.0, "edge"),
        RegionRecord(25.0, 25.0, "end"),
    )
    first, second, third = stretches(long_sound(25, regions=regions), 10, 1)
    by_part = [
        [(r.label, r.start, r.end) for r in part.marks[0].regions[""]] for part in (first, second, third)
    ]
    assert by_part == [
        [("inside", 1.0, 2.0), ("over", 9.0, 10.0), ("edge", 0.0, 10.0)],
        [("over", 0.0, 10.0), ("moment", 0.0, 0.0)],
        [("over", 0.0, 1.0), ("end", 5.0, 5.0)],
    ]
    assert all(part.marks[0].tags == {"": ("night",)} for part in (first, second, third))
    assert third.facts.duration == 5.0
    data = second.data()
    assert (data["source"], data["source_start"], data["source_end"]) == ("long.wav", 10.0, 20.0)
    assert part_of(data) == second.part


@pytest.mark.parametrize(
    ("name", "subtype", "channels", "width"),
    [
        ("a.wav", "PCM_16", 2, np.int16),
        ("a.flac", "PCM_24", 1, np.int32),
        ("a.wav", "PCM_U8", 1, np.int16),
        ("a.raw", "PCM_16", 1, np.int16),
    ],
)
def test_cut_files_hold_every_sample_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, subtype: str, channels: int, width: type
) -> None:
    monkeypatch.setattr(splitting, "BLOCK_FRAMES", 777)
    rng = np.random.default_rng(0)
    samples = rng.integers(-(2**31), 2**31, (30_500, channels), dtype=np.int64).astype(np.int32)
    path = tmp_path / name
    soundfile.write(tmp_path / "made", samples, 8000, subtype, format="FLAC" if "flac" in name else "WAV")
    (tmp_path / "made").rename(path)
    whole = Sound(path, name, read_facts(path, name))
    cutter = Cutter(tmp_path)
    parts = [cutter.cut(part, n) for n, part in enumerate(stretches(whole, 1.0, 0.1))]
    assert [part.facts.duration for part in parts] == [1.0, 1.0, 1.0, 0.8125]
    wanted = soundfile.read(path.rename(tmp_path / "made"), dtype="int32", always_2d=True)[0]
    cut = [soundfile.read(part.path, dtype="int32", always_2d=True)[0] for part in parts]
    np.testing.assert_array_equal(np.concatenate(cut), wanted)
    assert len({part.content for part in parts}) == 4


def test_what_libsndfile_cannot_read_and_floats_are_cut_too(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 20_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    whole = Sound(tmp_path / "a.wav", "a.wav", read_facts(tmp_path / "a.wav", "a.wav"))
    cutter = Cutter(tmp_path)
    cut = [cutter.cut(part, n) for n, part in enumerate(stretches(whole, 1.0, 0.1))]
    joined = np.concatenate([soundfile.read(part.path)[0] for part in cut])
    np.testing.assert_allclose(joined, samples, atol=2**-23)


def test_earlier_stretches_may_be_missing_or_asked_for_again(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    path = write_sound(tmp_path / "a.wav", seconds=5)
    parts = stretches(Sound(path, "a.wav", read_facts(path, "a.wav")), 1.0, 0.1)
    cutter = Cutter(tmp_path)
    late, early, again = (cutter.cut(parts[n], k) for k, n in enumerate((3, 1, 3)))
    assert late.content == again.content != early.content
    np.testing.assert_array_equal(soundfile.read(late.path)[0], soundfile.read(path)[0][24000:32000])
    write_sound(path, seconds=2)
    with pytest.raises(SoundUnreadableError, match="shorter"):
        Cutter(tmp_path).cut(parts[3], 9)

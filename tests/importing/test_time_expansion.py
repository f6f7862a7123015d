"""Time expansion: what is played slowly is the recording sample by sample, and exports have its own times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.band_energy import outside_band, outside_sentence
from earmark.errors import ConfigurationError
from earmark.export.formats import FORMATS
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.rejoin_splits import rejoin
from earmark.importing.audio_checks import Checked, read_facts
from earmark.importing.labels import Marking, find_controls, groups_of
from earmark.importing.models import Listed, Sound
from earmark.importing.quality_rules import Rules, apply_rules, sounds_of
from earmark.importing.sources import Source, list_sounds
from earmark.importing.splitting import Cutter
from earmark.importing.time_expansion import AUTO, Expansion, parse_expansion
from earmark.labels.label_config import parse_label_config

RATE = 384_000
CONFIG = """<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio"><Label value="Bat"/>
</Labels></View>"""
CALL = RegionRecord(0.105, 0.11, "Bat")
RECORD = ClipRecord("bat.wav", regions={"label": (CALL,)})


@pytest.fixture
def bat(tmp_path: Path) -> Path:
    """0.2 s of quiet noise with a pulse of 60 kHz from 0.105 to 0.11 s."""
    time = np.arange(int(0.2 * RATE)) / RATE
    noise = 1e-4 * np.random.default_rng(0).standard_normal(time.size)
    wave = noise + 0.5 * np.sin(2 * np.pi * 60_000 * time) * ((time >= 0.105) & (time < 0.11))
    soundfile.write(tmp_path / "bat.wav", wave, RATE)
    return tmp_path / "bat.wav"


def sounds(path: Path, expansion: Expansion | None, split: float | None = None) -> list[Sound]:
    item = Listed(path, path.name, (RECORD,))
    rules = Rules(expansion=expansion)
    return sounds_of(apply_rules([Checked(item, read_facts(path, path.name), path)], rules), rules, split)


@pytest.mark.parametrize("split", [None, 0.1])
def test_an_expanded_sound_has_the_samples_of_the_recording(
    bat: Path, tmp_path: Path, split: float | None
) -> None:
    original, _ = soundfile.read(bat, dtype="int16")
    (tmp_path / "cut").mkdir()
    cutter, pieces = Cutter(tmp_path / "cut"), []
    for number, sound in enumerate(sounds(bat, 10.0, split)):
        cut = cutter.cut(sound, number)
        samples, rate = soundfile.read(cut.path, dtype="int16")
        pieces.append(samples)
        data = sound.data()
        assert (rate, sound.extension, data["sample_rate"], data["time_expansion"]) == (
            38_400,
            ".flac",
            38_400,
            10,
        )
        assert data["duration"] == pytest.approx(len(samples) / 38_400)
    assert np.array_equal(np.concatenate(pieces), original)


@pytest.mark.parametrize("split", [None, 0.1])
def test_labels_are_expanded_in_tasks_and_exported_in_their_own_time(bat: Path, split: float | None) -> None:
    made = sounds(bat, AUTO, split)
    controls = find_controls(CONFIG, groups_of(made))
    tasks = []
    for number, sound in enumerate(made, 1):
        part = Marking(controls, "as-given").part(sound)
        tasks.append({"id": number, "data": {**sound.data(), "audio": f"/{number}.flac"}, **part})
    drawn = [i["value"]["start"] for t in tasks for a in t["annotations"] for i in a["result"]]
    assert drawn == [pytest.approx(1.05 if split is None else 0.05)]
    reader = TaskReader(parse_label_config(CONFIG), "audio")
    (records,) = rejoin(reader.annotations(task) for task in tasks)
    assert [(r.start, r.end) for r in records[0].regions["label"]] == [(0.105, 0.11)]
    assert records[0].duration == pytest.approx(0.2)


def test_frequencies_of_an_export_are_those_of_the_recording(tmp_path: Path) -> None:
    record = replace(RECORD, data={"sample_rate": 38_400, "time_expansion": 10.0})
    with FORMATS["raven"].load().writing(tmp_path / "out") as add:
        add([record])
    row = (tmp_path / "out" / "bat.selections.txt").read_text().splitlines()[1].split("\t")
    assert row[3:7] == ["0.105", "0.11", "0.0", "192000.0"]


@pytest.mark.parametrize("name", ["jsonl", "csv", "raven", "jams"])
def test_an_export_comes_back_for_the_recording_and_for_its_expanded_sound(
    tmp_path: Path, bat: Path, name: str
) -> None:
    data = {"sample_rate": 38_400, "time_expansion": 10.0, "audio": "/data/upload/1/01234567-bat.flac"}
    record = replace(RECORD, task_id=1, sound=data["audio"], data=data)  # type: ignore[arg-type]
    export = tmp_path / "export" / ("out" if FORMATS[name].is_folder else f"out.{name}")
    export.parent.mkdir()
    with FORMATS[name].load().writing(export) as add:
        add([record])
    (there,) = list_sounds(Source(str(export)))
    assert there.origin == data["audio"]
    assert [(r.start, r.end) for m in there.marks for r in m.regions["label"]] == [(1.05, 1.1)]
    (here,) = list_sounds(Source(str(export), audio_dir=bat.parent))
    assert here.path == bat
    assert "time_expansion" not in here.fields
    assert [(r.start, r.end) for m in here.marks for r in m.regions["label"]] == [(0.105, 0.11)]


def test_only_fast_recordings_are_expanded_by_themselves(bat: Path, tmp_path: Path) -> None:
    (sound,) = sounds(bat, AUTO)
    assert sound.expansion == 10
    soundfile.write(tmp_path / "bird.wav", 0.1 * np.random.default_rng(0).standard_normal(9600), 96_000)
    (sound,) = sounds(tmp_path / "bird.wav", AUTO)
    assert (sound.expansion, sound.extension) == (1, ".wav")
    assert "time_expansion" not in sound.data()


def test_a_rate_that_does_not_divide_keeps_exact_times(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 0.1 * np.random.default_rng(0).standard_normal(44_100), 44_100)
    (sound,) = sounds(tmp_path / "x.wav", 7.0)
    assert sound.source_rate == 44_100
    assert sound.facts.duration * sound.facts.sample_rate == pytest.approx(44_100)


@pytest.mark.parametrize(("text", "factor"), [("10", 10.0), ("auto", AUTO), ("Auto", AUTO), (None, None)])
def test_factors(text: str | None, factor: Expansion | None) -> None:
    assert parse_expansion(text) == factor


@pytest.mark.parametrize("text", ["0", "-1", "x", "1000", "nan"])
def test_other_factors_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 100"):
        parse_expansion(text)


def test_ultrasound_and_infrasound_are_warned_about(bat: Path, tmp_path: Path) -> None:
    facts = read_facts(bat, "bat.wav")
    assert facts.above_band > 0.9
    (verdict,) = apply_rules([Checked(Listed(bat, "bat.wav"), facts, bat)], Rules())
    assert verdict.accepted
    assert "--time-expansion" in verdict.why
    (expanded,) = apply_rules([Checked(Listed(bat, "bat.wav"), facts, bat)], Rules(expansion=AUTO))
    assert expanded.faults == ()
    time = np.arange(32_000) / 16_000
    assert "below 50 Hz" in outside_sentence(outside_band([np.sin(2 * np.pi * 20 * time)], 16_000))
    assert outside_sentence(outside_band([np.sin(2 * np.pi * 1000 * time) + 0.5], 16_000)) == ""
    assert outside_sentence(outside_band([np.zeros(1000)], 16_000)) == ""
    assert outside_sentence(outside_band([], 16_000)) == ""

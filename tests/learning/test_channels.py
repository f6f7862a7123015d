"""Channels told apart: learned from the channel that a region is on, and predicted on that channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.concurrency.deadline import NO_DEADLINE
from earmark.head.model import Head
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.result_reader import read_result
from earmark.learning.annotated_clips import keys_per_channel
from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.registry import list_versions, load_head
from tests.lessons import HERTZ, KEY, RATE, SECONDS, config, receive, webhook

CONFIG = config("Low", "High")
SPLIT = CONFIG.replace('name="audio" value', 'name="audio" splitChannels="true" value')


def stereo(folder: Path, number: int, left: str, right: str) -> dict[str, Any]:
    """A task whose channels hold a tone each at the same time."""
    random = np.random.default_rng(number)
    time = np.arange(int(SECONDS * RATE)) / RATE
    sounding = (time >= 1) & (time < 2)
    channels = [0.3 * np.sin(2 * np.pi * HERTZ[label] * time) * sounding for label in (left, right)]
    wave = np.stack(channels, axis=1) + 0.002 * random.standard_normal((time.size, 2))
    path = folder / f"stereo{number}.wav"
    soundfile.write(path, wave, RATE)
    return {"id": number, "data": {"audio": str(path)}, "label": left, "labels": (left, right)}


def regions_of(task: dict[str, Any], *, tag: str = "") -> list[dict[str, Any]]:
    """A region on each channel."""
    regions = [
        {
            "id": f"r{channel}",
            "from_name": "label",
            "to_name": "audio",
            "type": "labels",
            "origin": "manual",
            "value": {"start": 1.0, "end": 2.0, "channel": channel, "labels": [label]},
        }
        for channel, label in enumerate(task["labels"])
    ]
    tags = {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": [tag]}}
    return [*regions, tags] if tag else regions


@pytest.fixture
def tasks(tmp_path: Path) -> list[dict[str, Any]]:
    sides = [("Low", "High"), ("High", "Low")] * 4
    return [stereo(tmp_path, number, *pair) for number, pair in enumerate(sides, start=1)]


def teach(services: Services, tasks: list[dict[str, Any]], label_config: str) -> None:
    receive(services, *(webhook(task, label_config, result=regions_of(task)) for task in tasks))
    training = learn(services, KEY)
    assert training is not None
    assert training.version


@pytest.mark.parametrize("label_config", [CONFIG, SPLIT])
def test_each_channel_is_learned_and_predicted_for_itself(
    services: Services, tasks: list[dict[str, Any]], tmp_path: Path, label_config: str
) -> None:
    teach(services, tasks, label_config)
    for number, sides in ((20, ("Low", "High")), (21, ("High", "Low"))):
        task = stereo(tmp_path, number, *sides)
        (item,) = Predictor(services).predict([task], KEY, label_config).items
        predicted = {
            (each["value"]["channel"], *each["value"]["labels"])
            for each in item["result"]
            if each["type"] == "labels"
        }
        assert predicted == {(0, sides[0]), (1, sides[1])}
        assert len({each["id"] for each in item["result"]}) == len(item["result"])


def test_a_version_knows_whether_it_tells_channels_apart(
    services: Services, tasks: list[dict[str, Any]]
) -> None:
    teach(services, tasks, CONFIG)
    with services.database.read() as session:
        (version,) = list_versions(session, KEY)
        assert Head.from_bytes(load_head(session, version.id)).per_channel


def test_where_no_region_is_on_another_channel_the_mix_is_predicted(
    services: Services, tasks: list[dict[str, Any]]
) -> None:
    receive(services, *(webhook(task, CONFIG, result=regions_of(task)[:1]) for task in tasks))
    assert learn(services, KEY)
    (item,) = Predictor(services).predict([tasks[0]], KEY, CONFIG).items
    assert {each["value"].get("channel", 0) for each in item["result"]} <= {0}
    assert not list((services.settings.data_dir / "frames").glob("*.channel*"))


def test_stored_frames_say_which_channel_they_are_of(services: Services, tasks: list[dict[str, Any]]) -> None:
    address = tasks[0]["data"]["audio"]
    extractor = services.extractor()
    located = services.locate(address, None, NO_DEADLINE)
    mix, first = extractor.extract(located, address), extractor.extract(located, address, channel=0)
    channels = extractor.extract_channels(located, address)
    assert (mix.channel, first.channel) == (None, 0)
    assert [sound.channel for sound in channels] == [0, 1]
    assert not np.array_equal(channels[0].frames, channels[1].frames)
    assert not np.array_equal(channels[0].frames, mix.frames)
    again = extractor.extract(located, address, channel=1)
    np.testing.assert_array_equal(again.frames, channels[1].frames)
    folders = {path.name for path in (services.settings.data_dir / "frames").iterdir() if path.is_dir()}
    assert {name for name in folders if name.endswith(".channel1")} == {
        f"{name}.channel1" for name in folders if ".channel" not in name
    }


def test_stored_channels_need_no_file(services: Services, tasks: list[dict[str, Any]]) -> None:
    address = tasks[0]["data"]["audio"]
    located = services.locate(address, None, NO_DEADLINE)
    channels = services.extractor().extract_channels(located, address)
    located.path.unlink()
    again = services.extractor().extract_channels(located, address)
    assert [sound.channel for sound in again] == [0, 1]
    for before, after in zip(channels, again, strict=True):
        np.testing.assert_array_equal(after.frames, before.frames)


@pytest.mark.parametrize("channels", [1, 2])
def test_channels_that_are_alike_are_one(services: Services, tmp_path: Path, channels: int) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 1)).repeat(channels, axis=1)
    soundfile.write(tmp_path / "same.wav", wave, RATE)
    address = str(tmp_path / "same.wav")
    located = services.locate(address, None, NO_DEADLINE)
    assert services.extractor().extract_channels(located, address) == ()
    located.path.unlink()
    assert services.extractor().extract_channels(located, address) == (), "stored, without the file"


def test_annotations_tell_channels_apart_if_any_region_is_on_another_than_the_first() -> None:
    """The editor writes channel 0 for what is drawn over both waveforms of ``splitChannels``."""
    on_one = [{**regions_of({"labels": ("Low", "High")})[1]}]
    on_none = regions_of({"labels": ("Low",)})
    for label_config, result, expected in (
        (CONFIG, on_none, frozenset()),
        (CONFIG, on_one, {"audio"}),
        (SPLIT, on_none, frozenset()),
    ):
        controls = parse_label_config(label_config)
        assert keys_per_channel(controls, [read_result(result, controls)]) == expected

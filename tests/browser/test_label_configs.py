"""Label configs in the real editor: what it writes is read as it was meant, and what we write it shows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.labels import groups_of, make_label_config
from earmark.importing.models import Facts, Sound
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import read_result
from earmark.labelstudio.results import choices_item, region_item
from scripts.demo_clips import DemoClip
from scripts.demo_project import import_clips
from tests.browser.annotator import Annotator
from tests.running import RunningLabelStudio

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

VERSION = "shown"
VERIFIED = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Twitter"/><Label value="Rasp"/></Labels>
<Choices name="correct" toName="audio" perRegion="true" visibleWhen="region-selected">
<Choice value="Correct"/><Choice value="Incorrect"/></Choices>
<Choices name="corrected" toName="audio" perRegion="true" visibleWhen="choice-selected" whenTagName="correct"
 whenChoiceValue="Incorrect"><Choice value="Rasp"/><Choice value="other"/></Choices></View>"""
STEREO = """<View><Labels name="label" toName="audio"><Label value="Owl"/><Label value="Frog"/></Labels>
<Audio name="audio" value="$audio" splitChannels="true"/></View>"""
NESTED = """<View><Audio name="audio" value="$audio"/>
<Choices name="kind" toName="audio" choice="multiple" allowNested="true">
<Choice value="Animal"><Choice value="Dog"/><Choice value="Cat"/></Choice>
<Choice value="Weather"><Choice value="Rain"/><Choice value="Wind"/></Choice></Choices></View>"""


@pytest.fixture
def make_shown(
    label_studio: RunningLabelStudio, clips: tuple[Path, list[DemoClip]]
) -> Callable[[str, Callable[[tuple[Control, ...]], list[dict[str, Any]]]], int]:
    """Make a project of one clip with a prediction that its label stream shows; returns its number."""

    def make(label_config: str, result: Callable[[tuple[Control, ...]], list[dict[str, Any]]]) -> int:
        client, (folder, made) = label_studio.client, clips
        title = f"Shown {uuid.uuid4().hex[:8]}"
        project = client.projects.create(title=title, label_config=label_config)
        (task,) = import_clips(client, label_studio.url, label_studio.token, project.id, folder, made[:1])
        items = result(parse_label_config(label_config))
        client.predictions.create(task=task, result=items, score=0.5, model_version=VERSION)
        client.projects.update(id=project.id, model_version=VERSION)
        return int(project.id)

    return make


def test_a_verified_region_is_read_as_it_was_judged(
    annotator: Annotator, make_shown: Callable[..., int]
) -> None:
    def shown(controls: tuple[Control, ...]) -> list[dict[str, Any]]:
        (label,) = controls
        return [region_item(label, at, at + 0.4, "Twitter", 0.9, 6.0, "1") for at in (0.5, 1.5, 2.5, 3.5)]

    project = make_shown(VERIFIED, shown)
    annotator.open_label_stream(project)
    annotator.wait_for_regions(4)
    annotator.select_region(0)
    annotator.tick("Correct")
    annotator.select_region(1)
    annotator.tick("Incorrect")
    annotator.select_region(2)
    annotator.tick("Incorrect")
    annotator.tick("Rasp")
    annotator.screenshot("verification")
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED
    (regions,) = read_result(submission.answer["result"], parse_label_config(VERIFIED)).regions.values()
    twitter, rasp, nothing = frozenset({"Twitter"}), frozenset({"Rasp"}), frozenset[str]()
    assert sorted(regions, key=lambda region: region.start) == [
        Region(0.5, 0.9, twitter, 1.0),
        Region(1.5, 1.9, nothing, 1.0, twitter, True),
        Region(2.5, 2.9, rasp, 1.0, twitter, False),
        Region(3.5, 3.9, twitter, 0.5),
    ]


def test_the_verification_that_an_import_makes_works(
    annotator: Annotator, make_shown: Callable[..., int]
) -> None:
    record = ClipRecord("x", regions={"": (RegionRecord(0, 1, "Dog"), RegionRecord(1, 2, "Cat"))})
    sound = Sound(Path("x"), "x", Facts("0" * 64, 1, 1.0, 8000, 1), (record,))
    config = make_label_config(groups_of([sound]), verified=True)

    def shown(controls: tuple[Control, ...]) -> list[dict[str, Any]]:
        (label,) = controls
        return [region_item(label, 0.5, 1.0, "Dog", 0.9, 6.0, "1")]

    annotator.open_label_stream(make_shown(config, shown))
    annotator.wait_for_regions(1)
    annotator.select_region(0)
    annotator.tick("Incorrect")
    annotator.tick("Cat")
    submission = annotator.submit()
    (regions,) = read_result(submission.answer["result"], parse_label_config(config)).regions.values()
    assert regions == (Region(0.5, 1.0, frozenset({"Cat"}), 1.0, frozenset({"Dog"})),)


def test_nested_choices_are_shown_and_read(annotator: Annotator, make_shown: Callable[..., int]) -> None:
    def shown(controls: tuple[Control, ...]) -> list[dict[str, Any]]:
        (kind,) = controls
        assert kind.labels[:2] == ("Animal", "Animal / Dog")
        return [choices_item(kind, ["Animal", "Animal / Dog"], 0.9, "1")]

    annotator.open_label_stream(make_shown(NESTED, shown))
    assert annotator.tags() == {"Dog"}
    annotator.tick("Rain")
    annotator.screenshot("nested-choices")
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED
    controls = parse_label_config(NESTED)
    read = read_result(submission.answer["result"], controls)
    assert read.tags == {"kind": {"Animal", "Animal / Dog", "Weather", "Weather / Rain"}}
    (item,) = submission.answer["result"]
    assert item["value"]["choices"] == [["Animal", "Dog"], ["Weather", "Rain"]]


def test_channels_of_regions_are_kept_and_what_is_drawn_is_on_all_of_them(
    annotator: Annotator, label_studio: RunningLabelStudio, tmp_path: Path
) -> None:
    """The editor draws over both waveforms, wherever the drawing begins, and writes channel 0."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (32_000, 2))
    clips = [DemoClip(f"stereo{number}.wav", 4.0, ()) for number in range(2)]  # after a Submit comes the next
    for number, clip in enumerate(clips):
        soundfile.write(tmp_path / clip.name, noise / (1 + number), 8000)
    client = label_studio.client
    project = client.projects.create(title=f"Stereo {uuid.uuid4().hex[:8]}", label_config=STEREO)
    tasks = import_clips(client, label_studio.url, label_studio.token, project.id, tmp_path, clips)
    controls = parse_label_config(STEREO)
    items = [region_item(controls[0], 0.5, 1.0, "Owl", 0.9, 4.0, "1", channel) for channel in (0, 1)]
    for task in tasks:
        client.predictions.create(task=task, result=items, score=0.5, model_version=VERSION)
    client.projects.update(id=project.id, model_version=VERSION)
    annotator.open_label_stream(project.id)
    annotator.wait_for_regions(2)
    annotator.draw("Frog", 0.5, 0.75, height=0.85)
    annotator.wait_for_regions(3)
    annotator.screenshot("stereo")
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED
    (regions,) = read_result(submission.answer["result"], controls).regions.values()
    assert sorted((*region.labels, region.channel) for region in regions) == [
        ("Frog", 0),
        ("Owl", 0),
        ("Owl", 1),
    ]

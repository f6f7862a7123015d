"""Denied labels and verification projects of an import."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.errors import LabelConfigError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.labels import LabelsAs, Marking, find_controls, groups_of, make_label_config
from earmark.importing.models import Sound
from earmark.importing.sources import Source, list_sounds
from earmark.importing.verification import find_verdict, has_denials, labels_in, region_labels, with_denials
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import read_result
from tests.lazily import Lazy

sdk = Lazy("label_studio_sdk.label_interface.interface")
MakeSound = Callable[..., Sound]


def imported(sounds: list[Sound], verify: bool = False) -> tuple[str, Marking, list[Sound]]:
    """A new project for sounds: its label config, and how their labels are written."""
    sounds = with_denials(sounds, labels_in(sounds), verify)
    config = make_label_config(groups_of(sounds), verify or has_denials(sounds))
    verdict = find_verdict(config, region_labels(config))
    labels_as: LabelsAs = "predictions" if verify else "as-given"
    return config, Marking(find_controls(config, groups_of(sounds)), labels_as, verdict=verdict), sounds


def test_a_denied_label_is_a_strong_negative(sound: MakeSound) -> None:
    regions = (RegionRecord(0.1, 0.2, "Dog"), RegionRecord(0.2, 0.3, "not Dog"))
    sounds = [
        sound("1", marks=(ClipRecord("1", regions={"": regions}),)),
        sound("2", marks=(ClipRecord("2", tags={"": ("not Dog",)}),)),
    ]
    config, marking, sounds = imported(sounds)
    controls = parse_label_config(config)
    both, whole = (marking.part(each)["annotations"][0]["result"] for each in sounds)
    nothing = frozenset[str]()
    assert read_result(both, controls).regions["label"] == (
        Region(0.1, 0.2, frozenset({"Dog"})),
        Region(0.2, 0.3, nothing, absent=frozenset({"Dog"}), is_open=True),
    )
    duration = sounds[1].facts.duration
    assert read_result(whole, controls).regions["label"] == (
        Region(0.0, duration, nothing, absent=frozenset({"Dog"}), is_open=True),
        Region(0.0, duration, nothing, is_open=True),
    )
    for result in (both, whole):
        assert sdk.LabelInterface(config).validate_prediction({"result": result}, return_errors=True) == []


def test_predictions_are_to_be_judged(sound: MakeSound) -> None:
    regions = (RegionRecord(0.1, 0.2, "Dog", 0.75),)
    sounds = [
        sound("1", marks=(ClipRecord("1", regions={"": regions}),)),
        sound("2", marks=(ClipRecord("2", tags={"": ("Cat",)}, tag_scores={"": 0.5}),)),
    ]
    config, marking, sounds = imported(sounds, verify=True)
    (label,) = parse_label_config(config)
    assert label.labels == ("Cat", "Dog")
    assert {control.role for control in label.verification_controls} == {"verdict", "correction"}
    predictions = [marking.part(each)["predictions"][0] for each in sounds]
    assert [[item["value"]["labels"] for item in each["result"]] for each in predictions] == [
        [["Dog"]],
        [["Cat"]],
    ]
    assert [each["score"] for each in predictions] == [0.75, 0.5]
    assert predictions[1]["result"][0]["value"]["end"] == pytest.approx(sounds[1].facts.duration)
    for prediction in predictions:
        assert sdk.LabelInterface(config).validate_prediction(prediction, return_errors=True) == []


def test_without_a_place_for_verdicts_the_lines_are_given(sound: MakeSound) -> None:
    labels = '<Labels name="l" toName="a"><Label value="Dog"/></Labels>'
    config = f'<View><Audio name="a" value="$audio"/>{labels}</View>'
    with pytest.raises(LabelConfigError, match='earmark_role="verdict"') as raised:
        find_verdict(config, {"Dog"})
    lines = str(raised.value).partition("\n")[2]
    verdict = find_verdict(config.replace("</View>", f"{lines}</View>"), {"Dog"})
    assert verdict.wrong == {"Incorrect"}


def test_a_label_of_that_name_is_a_label(sound: MakeSound) -> None:
    texts = ("not sure", "Dog")
    sounds = [sound("1", marks=(ClipRecord("1", tags={"": texts}),))]
    assert labels_in(sounds) == set(texts)
    assert with_denials(sounds, {*texts, "sure"}, verify=False)[0].marks[0].tags == {"": texts}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "0.1\t0.2\tDog\n0.2\t0.3\t\n"),
        ("a.csv", "fname,start,end,label\na.wav,0.1,0.2,Dog\na.wav,0.2,0.3,\n"),
    ],
)
def test_a_region_without_a_name_beside_others_leaves_its_time_open(
    sound: MakeSound, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / name).write_text(text)
    sentences: list[str] = []
    (listed,) = list_sounds(Source(str(tmp_path)), sentences.append)
    sounds = [sound("1", marks=listed.marks)]
    config = make_label_config(groups_of(sounds))
    marking = Marking(find_controls(config, groups_of(sounds)), "as-given")
    result = marking.part(sounds[0])["annotations"][0]["result"]
    (regions,) = read_result(result, parse_label_config(config)).regions.values()
    assert set(regions) == {
        Region(0.1, 0.2, frozenset({"Dog"})), Region(0.2, 0.3, frozenset(), is_open=True),
    }  # fmt: skip
    assert sdk.LabelInterface(config).validate_prediction({"result": result}, return_errors=True) == []
    assert any("1 region " in sentence for sentence in sentences)
    predicted = dataclasses.replace(marking, labels_as="predictions").part(sounds[0])["predictions"][0]
    assert [item["value"]["labels"] for item in predicted["result"]] == [["Dog"]]

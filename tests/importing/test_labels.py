"""Label mapping of an import: matching controls, errors for missing labels, and the tasks' results."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from earmark.errors import LabelConfigError
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.labels import Marking, find_controls, groups_of, make_label_config
from earmark.importing.models import Sound
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.projects import audio_data_key

TWO_CHOICES = """<View><Audio name="audio" value="$audio"/>
<Choices name="one" toName="audio"><Choice value="a"/><Choice value="b"/></Choices>
<Choices name="many" toName="audio" choice="multiple">
<Choice value="c"/><Choice value="d"/></Choices></View>"""
MakeSound = Callable[..., Sound]


def test_the_made_label_config_can_be_served(sound: MakeSound) -> None:
    record = ClipRecord(
        "x", tags={"": ("Bark", 'Rain & "wind" <loud>'), "species": ("Owl",)},
        regions={"": (RegionRecord(0, 1, "call"),), "empty": ()},
    )  # fmt: skip
    config = make_label_config(groups_of([sound("x", marks=(record,))]))
    assert {(c.name, c.type, c.labels) for c in parse_label_config(config)} == {
        ("tags", MULTIPLE_CHOICE, ("Bark", 'Rain & "wind" <loud>')),
        ("species", MULTIPLE_CHOICE, ("Owl",)),
        ("label", REGION_LABELS, ("call",)),
    }
    assert audio_data_key(config) == "audio"


def test_a_label_config_without_audio_is_explained() -> None:
    for config in ("<View></View>", "<View"):
        with pytest.raises(LabelConfigError):
            audio_data_key(config)
    assert audio_data_key('<View><Audio name="a" value="$sound"/></View>') == "sound"


def test_the_control_with_all_labels_is_taken_or_the_one_of_that_name(sound: MakeSound) -> None:
    def name_for(*sounds: Sound) -> list[str]:
        return [control.name for control in find_controls(TWO_CHOICES, groups_of(sounds)).values()]

    assert name_for(sound("1", "c", "d")) == ["many"]
    assert name_for(sound("1", "a"), sound("2", "b")) == ["one"]
    with pytest.raises(LabelConfigError, match="lacks c"):
        name_for(sound("1", marks=(ClipRecord("1", tags={"one": ("c",)}),)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([("a", "x"), ("x",)], r"x \(2 files\)"),
        ([("a", "x & y")], '<Choice value="x &amp; y"/>'),
        ([("a", "b")], 'choice="multiple"'),
        ([("a", "c")], "lacks"),
    ],
)
def test_labels_without_a_place_are_refused_with_the_lines_to_add(
    sound: MakeSound, labels: list[tuple[str, ...]], words: str
) -> None:
    sounds = [sound(str(number), *names) for number, names in enumerate(labels)]
    with pytest.raises(LabelConfigError, match=words):
        find_controls(TWO_CHOICES, groups_of(sounds))


def test_the_mark_of_a_suggestion_tool_is_no_label(sound: MakeSound) -> None:
    tool = '<Labels name="suggest" toName="audio" smartOnly="true"><Label value="Suggest"/></Labels>'
    config = (
        f'<View>{tool}<Labels name="label" toName="audio"><Label value="Dog"/></Labels>'
        '<Audio name="audio" value="$audio"/></View>'
    )
    spans = {
        name: (RegionRecord(0.2, 0.6, label),) for name, label in (("label", "Dog"), ("suggest", "Suggest"))
    }
    of_both = sound("a.wav", marks=(ClipRecord("a.wav", regions=spans),))
    controls = find_controls(config, groups_of([of_both]))
    assert {key: control.name for key, control in controls.items()} == {("regions", "label"): "label"}
    (annotation,) = Marking(controls, "annotations").part(of_both)["annotations"]
    assert [item["from_name"] for item in annotation["result"]] == ["label"]


def test_a_missing_control_is_spelled_out_and_its_lines_are_enough(sound: MakeSound) -> None:
    record = ClipRecord("x", regions={"": (RegionRecord(0, 1, "b"), RegionRecord(1, 2, 'a "q"'))})
    groups = groups_of([sound("x", marks=(record,))])
    with pytest.raises(LabelConfigError) as caught:
        find_controls(TWO_CHOICES, groups)
    lines = "\n".join(line for line in str(caught.value).splitlines() if line.startswith(" "))
    assert ElementTree.fromstring(lines).tag == "Labels"
    mended = TWO_CHOICES.replace("</View>", f"{lines}</View>")
    (control,) = find_controls(mended, groups).values()
    assert control.labels == ('a "q"', "b")


CONFIG = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Owl"/><Label value="Wren"/></Labels>
<Choices name="tags" toName="audio" choice="multiple"><Choice value="night"/><Choice value="day"/></Choices>
</View>"""
RECORDS = (
    ClipRecord(
        "x",
        tags={"tags": ("night", "day")},
        regions={
            "label": (
                RegionRecord(0.5, 1.0, "Owl", id="r"),
                RegionRecord(0.5, 1.0, "Wren", id="r"),
                RegionRecord(2.0, 3.0, "Owl", id="s"),
            )
        },
        ground_truth=True,
    ),
    ClipRecord("x", regions={"label": ()}),
    ClipRecord(
        "x",
        tags={"tags": ("day",)},
        tag_scores={"tags": 0.75},
        regions={"label": (RegionRecord(0.5, 1.0, "Owl", 0.25),)},
        source="prediction",
        version="v3",
    ),
)


def made(sound: Sound, labels_as: Any) -> dict[str, Any]:
    return Marking(find_controls(CONFIG, groups_of([sound])), labels_as).part(sound)


def test_records_come_back_as_they_were(sound: MakeSound) -> None:
    task = {"data": {"audio": "a", "fname": "x"}, **made(sound("x", marks=RECORDS), "as-given")}
    reader = TaskReader(parse_label_config(CONFIG), "audio")

    def bare(record: ClipRecord) -> ClipRecord:
        regions = {
            name: tuple(dataclasses.replace(r, id=None) for r in of_control)
            for name, of_control in record.regions.items()
        }
        return ClipRecord(
            "x", tags=record.tags, regions=regions, tag_scores=record.tag_scores, source=record.source,
            version=record.version, ground_truth=record.ground_truth,
        )  # fmt: skip

    read = [*reader.annotations(task), *reader.predictions(task)]
    assert [bare(record) for record in read] == [bare(record) for record in RECORDS]
    assert len(task["annotations"][0]["result"]) == 3, "one region with two labels, another, and the tags"
    ids = [item["id"] for item in task["annotations"][0]["result"]]
    assert len(set(ids)) == len(ids)


def test_labels_become_what_is_asked_for(sound: MakeSound) -> None:
    marked = sound("x", marks=RECORDS)
    assert [a["ground_truth"] for a in made(marked, "ground-truth")["annotations"]] == [True, True]
    assert [a["ground_truth"] for a in made(marked, "annotations")["annotations"]] == [False, False]
    predictions = made(marked, "predictions")
    assert list(predictions) == ["predictions"]
    assert [p["model_version"] for p in predictions["predictions"]] == ["imported", "imported"]
    as_given = made(marked, "as-given")["predictions"]
    assert [(p["model_version"], p["score"]) for p in as_given] == [("v3", 0.25)]
    # Told to make annotations of predictions that nobody looked at, there are no others.
    assert len(made(sound("x", marks=RECORDS[2:]), "annotations")["annotations"]) == 1
    assert made(sound("x"), "annotations") == {}


@pytest.mark.parametrize("tags", [{}, {"tags": ()}])
def test_an_annotation_that_found_nothing_is_one(sound: MakeSound, tags: dict[str, tuple[str, ...]]) -> None:
    task = made(sound("x", marks=(ClipRecord("x", tags=tags, ground_truth=True),)), "as-given")
    assert task == {"annotations": [{"result": [], "ground_truth": True}]}

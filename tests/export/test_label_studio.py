"""Conversion of Label Studio's tasks to records."""

from __future__ import annotations

import math
from typing import Any

import pytest

from earmark.export import jsonl
from earmark.export.export_run import RecordFilter
from earmark.export.label_studio import TaskReader, file_name_of
from earmark.export.records import AnnotatedSpan, RegionRecord
from earmark.labels.label_config import parse_label_config

CONFIG = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Dog"/></Labels>
<Choices name="tags" toName="audio" choice="multiple"><Choice value="A"/></Choices>
<TextArea name="note" toName="audio"/></View>"""


@pytest.fixture
def reader() -> TaskReader:
    return TaskReader(parse_label_config(CONFIG), "audio", {1: "anna@example.com"})


def region(start: Any, end: Any, *labels: str, **changes: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "channel": 0, "labels": list(labels)}
    return {"from_name": "label", "to_name": "audio", "type": "labels", "id": "x", "value": value, **changes}


def task(**changes: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"audio": "/data/upload/3/0a1b2c3d-owl.wav", "site": "pond"}, **changes}


def test_an_annotation_is_read_with_all_it_says(reader: TaskReader) -> None:
    tags = {
        "from_name": "tags",
        "to_name": "audio",
        "type": "choices",
        "id": "y",
        "value": {"choices": ["B", "A"]},
    }
    note = {"from_name": "note", "to_name": "audio", "type": "textarea", "id": "z", "value": {"text": ["hm"]}}
    results = [
        region(2, 2, "Dog", original_length=9.5),
        region(0.5, 1, "Dog", "Gone", score=0.25),
        tags,
        note,
    ]
    annotation = {"id": 5, "completed_by": 1, "ground_truth": True, "was_cancelled": False, "result": results}
    (record,) = reader.annotations(task(annotations=[annotation]))
    who = "anna@example.com"
    assert record.regions == {
        "label": (
            RegionRecord(0.5, 1.0, "Dog", 0.25, who, "x"), RegionRecord(0.5, 1.0, "Gone", 0.25, who, "x"),
            RegionRecord(2.0, 2.0, "Dog", None, who, "x"),
        )
    }  # fmt: skip
    assert record.tags == {"tags": ("B", "A")}
    assert (record.file_name, record.duration, record.annotator, record.id) == ("owl.wav", 9.5, who, 5)
    assert record.ground_truth
    assert reader.passed_over == {"textarea": 1}


def test_skipped_annotations_are_none_and_empty_ones_are(reader: TaskReader) -> None:
    annotations = [{"id": 1, "was_cancelled": True, "result": []}, {"id": 2, "completed_by": 9, "result": []}]
    (record,) = reader.annotations(task(annotations=annotations))
    assert (record.id, record.annotator, record.regions, record.tags) == (2, "9", {"label": ()}, {})


def test_the_newest_prediction_or_that_of_a_version(reader: TaskReader) -> None:
    predictions = [
        {"id": number, "model_version": version, "result": [region(number, number + 1, "Dog", score=0.5)]}
        for number, version in ((3, "v1"), (9, "v2"), (5, "v2"))
    ]
    (newest,) = reader.predictions(task(predictions=predictions))
    assert (newest.id, newest.version, newest.source, newest.annotator) == (9, "v2", "prediction", None)
    (first,) = reader.predictions(task(predictions=predictions), "v1")
    assert first.id == 3
    assert reader.predictions(task(predictions=predictions), "v3") == []


def test_choosing_among_annotators_and_controls(reader: TaskReader) -> None:
    annotations = [
        {"id": 1, "completed_by": 1, "ground_truth": False, "result": [region(0, 1, "Dog")]},
        {"id": 2, "completed_by": {"id": 2, "email": "bo@example.com"}, "ground_truth": True, "result": []},
    ]
    sent = task(annotations=annotations)

    def chosen(**choice: Any) -> list[int | None]:
        return [record.id for record in RecordFilter(**choice).records(reader, sent)]

    assert chosen() == [1, 2]
    assert chosen(annotator="Anna@example.com") == [1]
    assert chosen(ground_truth_only=True) == [2]
    assert chosen(ground_truth_only=True, annotator="anna@example.com") == []
    assert RecordFilter(controls=frozenset({"tags"})).records(reader, sent)[0].regions == {}


def test_a_region_without_a_label_leaves_its_time_open(reader: TaskReader) -> None:
    (record,) = reader.annotations(task(annotations=[{"id": 1, "result": [region(2, 3)]}]))
    assert record.regions == {"label": (RegionRecord(2.0, 3.0, "", id="x"),)}
    assert [(span.start, span.end) for span in record.annotated] == [(0.0, 2.0), (3.0, math.inf)]


@pytest.mark.parametrize(
    "item",
    [None, "x", {}, region("a", 1, "Dog"), region(2, 1, "Dog"), region(True, 2, "Dog"),
     region(0, 1, "Dog", type="brush"), {**region(0, 1, "Dog"), "value": None}],
)  # fmt: skip
def test_what_is_no_region_is_passed_over(reader: TaskReader, item: Any) -> None:
    (record,) = reader.annotations(task(annotations=[{"id": 1, "result": [item]}, "x"], data=None))
    assert record.regions == {"label": ()}


@pytest.mark.parametrize(
    ("data", "address", "name"),
    [({"fname": "sub/a b.wav"}, "/data/upload/1/01234567-x.wav", "sub/a b.wav"),
     ({}, "/data/upload/1/01234567-a%20b.wav", "a b.wav"),
     ({}, "/data/local-files/?d=x/y%20z.wav", "y z.wav"),
     ({}, "https://example.com/a/b.wav?token=1", "b.wav"), ({}, "s3://bucket/a/%C3%BC.wav", "ü.wav"),
     ({"fname": " "}, "", "")],
)  # fmt: skip
def test_sounds_are_called_what_people_call_them(data: dict[str, Any], address: str, name: str) -> None:
    assert file_name_of(data, address) == name


VERIFIED = CONFIG.replace(
    "<TextArea",
    '<Choices name="ok" toName="audio" perRegion="true"><Choice value="Correct"/><Choice value="Wrong"/>'
    "</Choices>"
    '<Choices name="corrected" toName="audio" perRegion="true"><Choice value="Cat"/></Choices><TextArea',
).replace('<Label value="Dog"/>', '<Label value="Dog"/><Label value="Cat"/>')


def chosen(name: str, value: str) -> dict[str, Any]:
    value_of_item = {"start": 1.0, "end": 2.0, "channel": 0, "choices": [value]}
    return {"from_name": name, "to_name": "audio", "type": "choices", "id": "x", "value": value_of_item}


@pytest.mark.parametrize(
    ("judged", "labels", "annotated"),
    [
        ([chosen("ok", "Correct")], [("Dog", False)], ()),
        ([chosen("ok", "Wrong")], [("not Dog", True)], (AnnotatedSpan(0, 1), AnnotatedSpan(2, 9.5))),
        ([chosen("ok", "Wrong"), chosen("corrected", "Cat")], [("Cat", False), ("not Dog", True)], ()),
    ],
    ids=["correct", "wrong", "corrected"],
)
def test_judged_regions_are_exported_as_they_were_judged(
    judged: list[dict[str, Any]], labels: list[tuple[str, bool]], annotated: tuple[AnnotatedSpan, ...]
) -> None:
    reader = TaskReader(parse_label_config(VERIFIED), "audio")
    results = [region(1, 2, "Dog", original_length=9.5), *judged]
    (record,) = reader.annotations(task(annotations=[{"id": 1, "completed_by": 1, "result": results}]))
    assert [(r.label, r.is_denied) for r in record.regions["label"]] == labels
    assert record.annotated == annotated
    assert record.tags == {}
    assert reader.passed_over == {"choices": len(judged)}
    (again,) = jsonl.record_of_line(jsonl.line_of(record)).regions.values()
    assert [r.label for r in again] == [label for label, _ in labels]

"""Exports as import sources, from Label Studio and from this tool: what is imported, and what is skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earmark.errors import ConfigurationError
from earmark.export import jsonl
from earmark.export.formats import FORMATS
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.rejoin_splits import join
from earmark.importing.sources import Source, list_sounds


def test_records_of_one_sound_are_joined_in_an_export_of_ours(tmp_path: Path) -> None:
    table = tmp_path / "export.jsonl"
    data = {
        "audio": "/data/upload/1/x.wav",
        "fname": "x.wav",
        "sha256": "0",
        "label_trust": "noisy",
        "depth": 3,
    }
    first = ClipRecord("x.wav", "/data/upload/1/x.wav", 7, data, tags={"tags": ("Bark",)}, ground_truth=True)
    second = ClipRecord("x.wav", "/data/upload/1/x.wav", 7, data, regions={"label": ()})
    third = ClipRecord("y.wav", "https://x.org/y.wav", 8, tags={"tags": ("Bark",)})
    with jsonl.writing(table) as add:
        add([first, second])
        add([third])
    x, y = list_sounds(Source(str(table)))
    assert x.marks == (first, second)
    assert (x.fields, x.trust, x.origin, x.address) == ({"depth": 3}, "noisy", "/data/upload/1/x.wav", "")
    assert (y.origin, y.address) == ("https://x.org/y.wav", "https://x.org/y.wav")
    # Where the files are at hand, they are taken from there.
    (tmp_path / "x.wav").touch()
    assert [i.path for i in list_sounds(Source(str(table)))] == [tmp_path / "x.wav", None]
    here = list_sounds(Source(str(table), audio_dir=tmp_path))
    assert [item.path for item in here] == [tmp_path / "x.wav", tmp_path / "y.wav"]


def test_an_export_of_label_studio(tmp_path: Path) -> None:
    region = {"from_name": "label", "to_name": "audio", "type": "labels", "id": "r"}
    choice = {"from_name": "tags", "to_name": "audio", "type": "choices", "id": "t"}
    result = [
        {**region, "value": {"start": 1.0, "end": 2.0, "labels": ["Owl"]}},
        {**choice, "value": {"choices": ["night"]}},
    ]
    tasks = [
        {
            "id": 3,
            "data": {"depth": 2, "audio": "/data/upload/1/0123abcd-x.wav"},
            "annotations": [
                {"id": 1, "result": result, "ground_truth": True, "completed_by": 1},
                {"id": 2, "result": [], "was_cancelled": True},
            ],
            "predictions": [{"id": 5, "result": result[1:], "model_version": "v1", "score": 0.5}],
        },
        {"id": 4, "data": {"audio": "s3://calls/y.wav"}},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    x, y = list_sounds(Source(str(tmp_path / "export.json")))
    assert (x.fname, x.origin, x.fields, y.address) == (
        "x.wav", "/data/upload/1/0123abcd-x.wav", {"depth": 2}, "s3://calls/y.wav",
    )  # fmt: skip
    annotation, prediction = x.marks
    assert (annotation.tags, annotation.ground_truth) == ({"tags": ("night",)}, True)
    assert [(r.start, r.end, r.label) for r in annotation.regions["label"]] == [(1.0, 2.0, "Owl")]
    assert (prediction.source, prediction.version, prediction.tags) == (
        "prediction", "v1", {"tags": ("night",)},
    )  # fmt: skip
    assert y.marks == ()
    (tmp_path / "export.json").write_text('{"a": 1}')
    with pytest.raises(ConfigurationError, match="no export"):
        list_sounds(Source(str(tmp_path / "export.json")))


def test_what_an_export_of_label_studio_has_beside_labels_is_told(tmp_path: Path) -> None:
    region = {"from_name": "label", "to_name": "audio", "type": "labels", "id": "r"}
    of_region = {"from_name": "mood", "to_name": "audio", "type": "choices"}
    times = {"start": 1.0, "end": 2.0}
    result = [
        {**region, "value": {**times, "labels": ["Owl"], "channel": 1}},
        {**region, "value": {**times, "labels": ["Owl"], "channel": 0}},
        {**of_region, "value": {**times, "choices": ["calm"]}},
        {"from_name": "note", "to_name": "audio", "type": "textarea", "value": {"text": ["far"]}},
        {"from_name": "stars", "to_name": "audio", "type": "rating", "value": {"rating": 3}},
    ]
    annotations = [{"id": 1, "result": result}, {"id": 2, "result": [], "was_cancelled": True}]
    predictions = [4, 5, {"id": 6, "result": []}, {"id": 7, "result": []}]
    task = {"id": 3, "data": {"audio": "/a.wav"}, "annotations": annotations, "predictions": predictions}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    messages: list[str] = []
    list_sounds(Source(str(tmp_path / "export.json")), messages.append)
    assert [sentence[:60] for sentence in messages] == [
        "Results that are no labels of the sound are not imported: 1 ",
        "1 regions of another channel than the first come in for the ",
        "1 annotations that skip their task are not imported.",
        "1 predictions are not imported, because their task has a new",
        "2 predictions are not imported, because this export has no m",
    ]
    assert messages[0].endswith("1 choices, 1 rating, 1 textarea.")
    odd = {"data": {"audio": "/a.wav"}, "annotations": 7, "predictions": {"id": 1}}
    (tmp_path / "export.json").write_text(json.dumps([odd]))
    assert len(list_sounds(Source(str(tmp_path / "export.json")), messages.append)) == 1


RECORD = ClipRecord(
    "deep/x.wav",
    tags={"tags": ("Owl", "Wren")},
    regions={"label": (RegionRecord(0.5, 1.0, "Owl"),)},
    annotator="a@example.com",
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_is_exported_is_imported(tmp_path: Path, name: str) -> None:
    format_ = FORMATS[name]
    suffix = {"jsonl": ".jsonl", "csv": ".csv", "dcase": ".tsv", "fsdkaggle": ".csv", "rttm": ".rttm"}.get(
        name, ""
    )
    path = tmp_path / f"made{suffix}"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.wav").touch()
    with format_.load().writing(path) as add:
        add([RECORD])
    format_name = format_.name if format_.is_folder else None
    (item,) = list_sounds(Source(str(path), audio_dir=tmp_path, format=format_name))
    assert (item.fname, item.path) == ("deep/x.wav", tmp_path / "deep" / "x.wav")
    regions = [r for mark in item.marks for of_control in mark.regions.values() for r in of_control]
    imported = {label for mark in item.marks for labels in mark.tags.values() for label in labels}
    if format_.holds_regions and name != "fsdkaggle":
        assert [(r.start, r.end, r.label) for r in regions] == [(0.5, 1.0, "Owl")]
    if format_.holds_tags:
        assert imported == {"Owl", "Wren"}


@pytest.mark.parametrize("name", ["jsonl", "csv", "jams"])
def test_a_recording_that_was_joined_again_is_no_stretch(tmp_path: Path, name: str) -> None:
    def stretch(number: int) -> ClipRecord:
        start, end = 10.0 * number, 10.0 * number + 10.0
        place = {"source": "long.wav", "source_start": start, "source_end": end, "source_sha256": "d"}
        data = {"audio": f"/{number}.flac", "fname": f"long.wav#{start:g}-{end:g}", "depth": "3", **place}
        return ClipRecord(str(data["fname"]), str(data["audio"]), number, data, regions={"label": ()})

    whole = ClipRecord("w.wav", "/w.wav", 9, {"audio": "/w.wav", "source": "attic"}, regions={"label": ()})
    path = tmp_path / f"made{'' if name == 'jams' else '.' + name}"
    with FORMATS[name].load().writing(path) as add:
        add(join([stretch(0), stretch(1)]))
        add([whole])
    format_name = FORMATS[name].name if FORMATS[name].is_folder else None
    listed = list_sounds(Source(str(path), audio_dir=tmp_path, format=format_name))
    fields = {item.fname: {**item.fields} for item in listed}
    depth: object = 3 if name == "csv" else "3"  # a CSV has texts alone: what is a number becomes one
    assert fields["long.wav"] == {"depth": depth}, "what the import writes itself is free again"
    assert fields["w.wav"]["source"] == "attic", "a user's own column"


def test_label_studios_export_of_a_project_that_was_split(tmp_path: Path) -> None:
    data = {"source": "long.wav", "source_start": 0.0, "source_end": 10.0, "fname": "long.wav#0-10"}
    task = {"id": 1, "data": {**data, "audio": "/data/upload/1/0123abcd-1.flac"}, "annotations": []}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (item,) = list_sounds(Source(str(tmp_path / "export.json")))
    assert (item.origin, item.fields["source"]) == ("/data/upload/1/0123abcd-1.flac", "long.wav")

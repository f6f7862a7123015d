"""Open and denied labels, and predictions, of whole sounds: what of them an export and an import keep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.export import datasets_folder
from earmark.export.export_run import RecordFilter, What, run
from earmark.export.formats import FORMATS
from earmark.export.label_studio import TaskReader
from earmark.importing.audio_checks import Checked
from earmark.importing.labels import Marking, find_controls, groups_of
from earmark.importing.models import Facts
from earmark.importing.quality_rules import Rules, apply_rules, sounds_of
from earmark.importing.sources import Source, list_sounds
from earmark.importing.verification import find_verdict, with_denials
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import read_result

VERIFIED = """<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio" allowEmpty="true">
<Label value="Owl"/><Label value="Wren"/></Labels>
<Choices name="verdict" toName="audio" perRegion="true" earmark_role="verdict"><Choice value="Correct"/>
<Choice value="Incorrect"/></Choices>
<Choices name="tags" toName="audio" choice="multiple"><Choice value="Owl"/></Choices></View>"""
SUFFIX = {"dcase": "tsv", "fsdkaggle": "csv"}
ALL_FORMATS = [*FORMATS, "datasets"]
OPEN = Region(0.0, 10.0, frozenset(), is_open=True)


def exported(folder: Path, name: str, *results: list[dict[str, Any]], what: What = "annotations") -> Path:
    """An export of sounds of 10 s, with these results of an annotation or prediction each."""
    tasks = []
    for number, result in enumerate(results):
        soundfile.write(folder / f"{number}.wav", np.zeros(80000), 8000)
        data = {"audio": f"/data/{number}.wav", "fname": f"{number}.wav", "duration": 10.0}
        tasks.append({"id": number, "data": data, what: [{"id": 2, "completed_by": 1, "result": result}]})
    path = folder / (
        "out" if name == "datasets" or FORMATS[name].is_folder else f"out.{SUFFIX.get(name, name)}"
    )
    controls = parse_label_config(VERIFIED)
    format_module = None if name == "datasets" else FORMATS[name].load()
    writing = (
        datasets_folder.writing(path, lambda address: folder / Path(address).name)
        if format_module is None
        else format_module.writing(path)
    )
    with writing as add:
        run(
            tasks,
            TaskReader(controls, "audio", {1: "anna@example.com"}),
            RecordFilter(what),
            add,
            lambda n: None,
            lambda label: None if format_module is None else format_module.check_label(label),
            format_module is not None and FORMATS[name].holds_open,
        )
    return path


def imported(folder: Path, path: Path, name: str, split: float | None = None) -> list[dict[str, Any]]:
    """What the import of an export makes of its sounds: ``annotations`` and ``predictions`` of each."""
    source = Source(str(path)) if name == "datasets" else Source(str(path), audio_dir=folder)
    checked = [Checked(item, Facts(item.fname, 9, 10.0, 8000, 1), item.path) for item in list_sounds(source)]
    sounds = with_denials(
        sounds_of(apply_rules(checked, Rules()), Rules(), split), {"Owl", "Wren"}, verify=False
    )
    controls = find_controls(VERIFIED, groups_of(sounds))
    marking = Marking(controls, "as-given", verdict=find_verdict(VERIFIED, {"Owl"}))
    return [marking.part(sound) for sound in sounds]


def drawn(number: int, start: float, end: float, *labels: str, name: str = "label") -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": list(labels)}
    item = {"from_name": name, "to_name": "audio", "type": "labels", "id": f"r{number}", "value": value}
    return item | {"original_length": 10.0}


@pytest.mark.parametrize("name", [name for name in ALL_FORMATS if name != "fsdkaggle"])
def test_what_was_left_open_over_a_whole_sound_stays_open(tmp_path: Path, name: str) -> None:
    path = exported(tmp_path, name, [drawn(1, 1.0, 2.0, "Owl"), drawn(2, 0.0, 10.0)])
    (part,) = imported(tmp_path, path, name)
    (annotation,) = part["annotations"]
    regions = read_result(annotation["result"], parse_label_config(VERIFIED)).regions["label"]
    assert set(regions) == {Region(1.0, 2.0, frozenset({"Owl"})), OPEN}
    parts = imported(tmp_path, path, name, split=2.5)
    assert [bool(each) for each in parts] == [True, False, False, False]


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_a_denied_label_of_a_whole_sound_claims_nothing_of_others(tmp_path: Path, name: str) -> None:
    wrong = drawn(1, 0.0, 10.0) | {"from_name": "verdict", "type": "choices"}
    wrong["value"] = {"start": 0.0, "end": 10.0, "choices": ["Incorrect"]}
    other = [drawn(1, 1.0, 2.0, "Owl")]
    path = exported(tmp_path, name, [drawn(1, 0.0, 10.0, "Owl"), wrong], other)
    parts = imported(tmp_path, path, name)
    assert len(parts[-1]["annotations"]) == 1
    results = [annotation["result"] for part in parts[:-1] for annotation in part.get("annotations", ())]
    assert len(results) == (name in FORMATS and FORMATS[name].holds_open)
    for result in results:
        regions = read_result(result, parse_label_config(VERIFIED)).regions["label"]
        assert replace(OPEN, absent=frozenset({"Owl"})) in regions
        assert all(region.is_open for region in regions)


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_predictions_come_back_as_predictions(tmp_path: Path, name: str) -> None:
    path = exported(tmp_path, name, [drawn(1, 1.0, 2.0, "Owl") | {"score": 0.5}], what="predictions")
    (part,) = imported(tmp_path, path, name)
    assert list(part) == ["predictions"]


@pytest.mark.parametrize("name", [name for name in ALL_FORMATS if name != "fsdkaggle"])
def test_what_was_left_open_in_a_part_is_no_reason_to_lose_labels(tmp_path: Path, name: str) -> None:
    wrong = drawn(3, 8.0, 9.0) | {"from_name": "verdict", "type": "choices"}
    wrong["value"] = {"start": 8.0, "end": 9.0, "choices": ["Incorrect"]}
    tags = {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": ["Owl"]}}
    results = [
        drawn(1, 1.0, 2.0, "Owl"), drawn(2, 5.0, 7.5), drawn(3, 8.0, 9.0, "Owl"), wrong, tags,
    ]  # fmt: skip
    path = exported(tmp_path, name, results)
    parts = imported(tmp_path, path, name, split=2.5)
    if not (name in FORMATS and FORMATS[name].holds_open):
        assert imported(tmp_path, path, name) == [{}], "parts are not annotated, and nothing says why"
        assert [bool(each) for each in parts] == [True, True, False, False]
        return
    (part,) = imported(tmp_path, path, name)
    (annotation,) = part["annotations"]
    read = read_result(annotation["result"], parse_label_config(VERIFIED))
    assert read.regions["label"] == (
        Region(1.0, 2.0, frozenset({"Owl"})),
        Region(5.0, 7.5, frozenset(), is_open=True),
        Region(8.0, 9.0, frozenset(), absent=frozenset({"Owl"}), is_open=True),
    )
    assert read.tags["tags"] == {"Owl"}
    assert [bool(each) for each in parts] == [True, True, False, True]


def test_a_region_without_a_label_comes_back_from_an_export_of_label_studio(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    results = [drawn(1, 1.0, 2.0, "Owl"), drawn(2, 6.0, 7.0)]
    data = {"audio": "/data/upload/1/a.wav", "fname": "a.wav"}
    path = tmp_path / "project.json"
    path.write_text(json.dumps([{"id": 1, "data": data, "annotations": [{"id": 2, "result": results}]}]))
    (part,) = imported(tmp_path, path, "json")
    (annotation,) = part["annotations"]
    regions = read_result(annotation["result"], parse_label_config(VERIFIED)).regions["label"]
    assert regions == (Region(1.0, 2.0, frozenset({"Owl"})), Region(6.0, 7.0, frozenset(), is_open=True))


def test_a_short_time_that_was_left_open_is_no_inaccuracy_of_decoders(tmp_path: Path) -> None:
    path = exported(tmp_path, "raven", [drawn(1, 1.0, 2.0, "Owl"), drawn(2, 5.0, 5.05)])
    assert imported(tmp_path, path, "raven") == [{}]

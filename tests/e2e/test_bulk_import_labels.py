"""``scripts/bulk_import.py`` against a real Label Studio: labels come in with the sounds they are of."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from earmark.export import jsonl
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord
from earmark.labels.label_config import parse_label_config
from tests.e2e import importing
from tests.e2e.importing import CONFIG, ROOT, run, tasks_of, write_sounds

REGIONS = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Owl"/></Labels></View>"""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir
project = importing.project


def test_labels_of_a_csv_become_annotations_of_a_new_project(label_studio: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path / "audio", ["1.wav", "2.wav", "3.wav"])
    table = tmp_path / "train.csv"
    rows = [("1.wav", "Bell,Rain & wind"), ("2.wav", "Bird chirp"), ("3.wav", ""), ("gone.wav", "Bell")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("fname", "labels"), *rows])
    title = f"CSV {time.time_ns()}"
    arguments = [table, "--audio-dir", tmp_path / "audio", "--project", title, "--create"]
    arguments += ["--labels-as", "ground-truth"]
    code, text = run(label_studio, *arguments)
    assert code == 1, text
    assert "gone.wav" in text
    (project,) = [p for p in label_studio.client.projects.list() if p.title == title]
    by_name = {task.data["fname"]: task for task in tasks_of(label_studio, project)}
    assert set(by_name) == {"1.wav", "2.wav", "3.wav"}
    (annotation,) = label_studio.client.annotations.list(id=by_name["1.wav"].id)
    assert annotation.ground_truth
    assert annotation.result[0]["value"] == {"choices": ["Bell", "Rain & wind"]}
    assert label_studio.client.annotations.list(id=by_name["3.wav"].id) == []

    code, text = run(label_studio, *arguments)
    assert "0 imported, 3 already there" in text
    assert len(tasks_of(label_studio, project)) == 3


def test_labels_can_be_predictions(label_studio: Any, project: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path, ["1.wav"])
    (tmp_path / "t.csv").write_text('fname,labels\n1.wav,"Bell,Bird chirp"\n')
    code, text = run(label_studio, tmp_path / "t.csv", "--project", project.id, "--as", "predictions")
    assert code == 0, text
    (task,) = tasks_of(label_studio, project)
    (prediction,) = label_studio.client.predictions.list(task=task.id)
    assert prediction.result[0]["value"]["choices"] == ["Bell", "Bird chirp"]
    assert prediction.score == 1.0
    assert task.total_annotations == 0


def test_unknown_labels_are_refused_before_anything_is_written(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    write_sounds(tmp_path, ["1.wav", "2.wav"])
    (tmp_path / "t.csv").write_text("fname,labels\n1.wav,Bell\n2.wav,Trumpet\n")
    code, text = run(label_studio, tmp_path / "t.csv", "--project", project.id)
    assert code == 2, text
    assert "Trumpet" in text
    assert tasks_of(label_studio, project) == []


def test_a_long_recording_becomes_tasks_that_play_their_own_stretch(
    label_studio: Any, tmp_path: Path
) -> None:
    project = label_studio.client.projects.create(title=f"Split {time.time_ns()}", label_config=REGIONS)
    samples = np.random.default_rng(0).integers(-3000, 3000, 25_000).astype(np.int16)
    soundfile.write(tmp_path / "night.wav", samples, 10_000)
    table = tmp_path / "calls.csv"
    table.write_text("fname,label,from,to\nnight.wav,Owl,0.5,1.25\nnight.wav,Owl,2.25,2.5\n")
    arguments = (
        table,
        "--project",
        project.id,
        "--split",
        "1",
        "--start-column",
        "from",
        "--end-column",
        "to",
    )
    for imported in (3, 0):
        code, text = run(label_studio, *arguments)
        assert code == 0, text
        assert f"{imported} imported" in text
    by_stretch = {}
    tasks = list(label_studio.client.tasks.list(project=project.id, fields="all"))
    for task in tasks:
        answer = httpx.get(
            label_studio.url + task.data["audio"], headers={"Authorization": f"Token {label_studio.token}"}
        )
        sound, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
        start_, end = (float(task.data[key]) for key in ("source_start", "source_end"))
        np.testing.assert_array_equal(sound, samples[round(start_ * rate) : round(end * rate)])
        (annotation,) = task.annotations
        values = [item["value"] for item in annotation["result"]]
        by_stretch[start_, end] = [(value["start"], value["end"]) for value in values]
        assert task.data["source"] == "night.wav"
    assert by_stretch == {(0.0, 1.0): [(0.5, 1.0)], (1.0, 2.0): [(0.0, 0.25)], (2.0, 2.5): [(0.25, 0.5)]}


def test_an_export_of_stretches_can_be_split_again_but_not_otherwise(
    label_studio: Any, tmp_path: Path
) -> None:
    samples = np.random.default_rng(0).integers(-3000, 3000, 25_000).astype(np.int16)
    soundfile.write(tmp_path / "rec.wav", samples, 10_000)
    (tmp_path / "reg.csv").write_text("fname,label,from,to\nrec.wav,Owl,0.5,1.25\nrec.wav,Owl,9,12\n")
    columns = ("--start-column", "from", "--end-column", "to")
    first, second = (f"Split {time.time_ns()} {n}" for n in (1, 2))
    made = ("--project", first, "--create")
    code, text = run(label_studio, tmp_path / "reg.csv", *made, *columns, "--split", "1")
    assert (code, "3 imported" in text, "1 region beyond the end" in text) == (1, True, True), text

    for other in (["--split", "2"], []):
        code, text = run(label_studio, tmp_path / "reg.csv", *made, *columns, *other)
        assert (code, "0 imported" in text) == (1, True), text
        assert "in stretches of 1 s already" in text

    export = tmp_path / "x.jsonl"
    environment = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    environment |= {"NO_PROXY": "127.0.0.1", "PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
    arguments = ["export", first, "--format", "jsonl", "--out", str(export)]
    subprocess.run([sys.executable, "-m", "earmark", *arguments], cwd=ROOT, env=environment, check=True)
    again = (export, "--audio-dir", tmp_path, "--project", second, "--create", "--split", "1")
    for imported in (3, 0):
        code, text = run(label_studio, *again)
        assert (code, f"{imported} imported" in text) == (0, True), text

    def annotations_of(title: str) -> set[tuple[object, ...]]:
        (project,) = [p for p in label_studio.client.projects.list() if p.title == title]
        tasks = label_studio.client.tasks.list(project=project.id, fields="all")
        return {
            (task.data["fname"], item["value"]["start"], item["value"]["end"])
            for task in tasks
            for annotation in task.annotations
            for item in annotation["result"]
        }

    assert (
        annotations_of(first)
        == annotations_of(second)
        == {("rec.wav#0-1", 0.5, 1.0), ("rec.wav#1-2", 0.0, 0.25)}
    )


def test_an_earlier_export_comes_back_with_its_sounds(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    write_sounds(tmp_path / "in", ["1.wav", "2.wav", "3.wav"])
    rows = "1.wav,Bell,roof\n2.wav,Bird chirp,roof\n3.wav,,roof\n"
    (tmp_path / "in" / "t.csv").write_text(f"fname,labels,place\n{rows}")
    assert run(label_studio, tmp_path / "in" / "t.csv", "--project", project.id, "--curated")[0] == 0
    (silent,) = [task for task in tasks_of(label_studio, project) if task.data["fname"] == "3.wav"]
    label_studio.client.annotations.create(id=silent.id, result=[])  # listened, and none of the labels
    export = tmp_path / "out" / "export.jsonl"
    export.parent.mkdir()
    reader = TaskReader(parse_label_config(CONFIG), "audio")

    def records(number: int) -> list[ClipRecord]:
        tasks = label_studio.client.tasks.list(project=number, fields="all")
        return [record for task in tasks for record in reader.annotations(task.model_dump())]

    with jsonl.writing(export) as add:
        for record in records(project.id):
            add([record])
    title = f"Again {time.time_ns()}"
    code, text = run(label_studio, export, "--project", title, "--create")
    assert code == 0, text
    (again,) = [p for p in label_studio.client.projects.list() if p.title == title]

    def contents(number: int) -> list[tuple[object, ...]]:
        field_names = ("fname", "sha256", "place", "label_trust")
        return [(r.file_name, r.tags, [r.data[key] for key in field_names]) for r in records(number)]

    assert contents(again.id) == contents(project.id)
    assert len(contents(again.id)) == 3

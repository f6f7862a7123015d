"""Verification projects and denied labels against a real Label Studio."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from earmark.export import jsonl
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.result_reader import read_result
from tests.command_line import run_command
from tests.e2e import importing
from tests.e2e.importing import DATA, run, tasks_of, write_sounds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir


def test_results_of_a_detector_are_judged_denied_and_exported(label_studio: Any, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    write_sounds(audio, ["1.wav", "2.wav", "3.wav"])
    detected = tmp_path / "detected.csv"
    detected.write_text("fname,start,end,label,score\n1.wav,0.01,0.05,Owl,0.75\n2.wav,0.02,0.06,Crow,0.5\n")
    title = f"Verified {time.time_ns()}"
    code, text = run(label_studio, detected, "--audio-dir", audio, "--verify", title)
    assert code == 0, text
    (project,) = [p for p in label_studio.client.projects.list() if p.title == title]
    controls = parse_label_config(label_studio.client.projects.get(id=project.id).label_config)
    assert [control.labels for control in controls] == [("Crow", "Owl")]
    by_name = {task.data["fname"]: task for task in tasks_of(label_studio, project)}
    (prediction,) = label_studio.client.predictions.list(task=by_name["1.wav"].id)
    (item,) = prediction.result
    assert (item["value"]["labels"], prediction.score) == (["Owl"], 0.75)

    denied = tmp_path / "denied.csv"
    denied.write_text("fname,start,end,label\n3.wav,0.01,0.05,not Owl\n")
    code, text = run(label_studio, denied, "--audio-dir", audio, "--project", title)
    assert code == 0, text
    task = next(task for task in tasks_of(label_studio, project) if task.data["fname"] == "3.wav")
    (annotation,) = label_studio.client.annotations.list(id=task.id)
    regions = read_result(annotation.result, controls).regions["label"]
    assert [(set(region.absent), region.is_open) for region in regions] == [({"Owl"}, True), (set(), True)]

    out = tmp_path / "out.jsonl"
    environment = {**os.environ, "LABEL_STUDIO_URL": label_studio.url, **DATA}
    environment["LABEL_STUDIO_API_KEY"] = label_studio.token
    exported = run_command("export", title, "--format", "jsonl", "--out", out, environment=environment)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    (record,) = jsonl.read(out)
    assert sorted(region.label for region in record.regions["label"]) == ["", "not Owl"]
    assert all(span.end <= 0.01 or span.start >= 0.05 for span in record.annotated)

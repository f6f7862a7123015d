"""Label files of the field, into a real Label Studio and out again."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.command_line import run_command
from tests.e2e import importing
from tests.e2e.importing import DATA, run, write_sounds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation"
BIRDNET = "Start (s),End (s),Scientific name,Common name,Confidence"


def survey(folder: Path) -> Path:
    """Three recordings of 0.125 s: one with a Raven table, one with BirdNET's results, one with neither."""
    write_sounds(folder, ["20240517_043000.WAV", "20240517_053000.WAV", "20240517_063000.WAV"])
    raven = f"{RAVEN}\n1\tSpectrogram 1\t1\t0.02\t0.05\t0\t8000\tOwl\n"
    (folder / "20240517_043000.Table.1.selections.txt").write_text(raven)
    birdnet = f"{BIRDNET}\n0.0,0.1,Strix aluco,Owl,0.8123\n"
    (folder / "20240517_053000.BirdNET.results.csv").write_text(birdnet)
    return folder


def named(label_studio: Any, title: str) -> Any:
    (project,) = [p for p in label_studio.client.projects.list(title=title) if p.title == title]
    return project


def tasks_by_name(label_studio: Any, title: str) -> dict[str, Any]:
    project = named(label_studio, title)
    tasks = label_studio.client.tasks.list(project=project.id, fields="all")
    return {task.data["fname"]: task for task in tasks}


def exported(label_studio: Any, title: str, form: str, out: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LABEL_STUDIO_")}
    environment |= {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token, **DATA}
    done = run_command("export", title, "--format", form, "--out", out, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_survey_comes_in_as_it_lies_on_disk(label_studio: Any, tmp_path: Path) -> None:
    folder = survey(tmp_path / "plot7")
    code, text = run(label_studio, folder, "--project", "Survey", "--create")
    assert code == 0, text
    assert "Raven tables (1 file)" in text
    assert "BirdNET results (1 file)" in text
    tasks = tasks_by_name(label_studio, "Survey")
    counts = {name: (len(task.annotations), len(task.predictions)) for name, task in tasks.items()}
    assert counts == {
        "20240517_043000.WAV": (1, 0), "20240517_053000.WAV": (0, 1), "20240517_063000.WAV": (0, 0),
    }  # fmt: skip
    data = tasks["20240517_043000.WAV"].data
    assert (data["site"], data["recorded_at"]) == ("plot7", "2024-05-17T04:30:00")
    (region,) = tasks["20240517_043000.WAV"].annotations[0]["result"]
    assert (region["value"]["start"], region["value"]["end"], region["value"]["labels"]) == (
        0.02,
        0.05,
        ["Owl"],
    )
    prediction = tasks["20240517_053000.WAV"].predictions[0]
    content = prediction if isinstance(prediction, dict) else prediction.model_dump()
    assert (content["score"], content["model_version"]) == (pytest.approx(0.8123), "BirdNET")
    code, text = run(label_studio, folder, "--project", "Survey")
    assert code == 0, text
    again = tasks_by_name(label_studio, "Survey")
    assert Counter(len(task.annotations) for task in again.values()) == {0: 2, 1: 1}


@pytest.mark.parametrize("form", ["raven", "textgrid", "elan"])
def test_what_is_exported_comes_back(label_studio: Any, tmp_path: Path, form: str) -> None:
    title, again = f"Out and in {form}", f"Back {form}"
    folder = survey(tmp_path / "plot7")
    assert run(label_studio, folder, "--project", title, "--create")[0] == 0
    exported(label_studio, title, form, tmp_path / "out")
    code, text = run(label_studio, tmp_path / "out", "--project", again, "--create", "--audio-dir", folder)
    assert code == 0, text
    (task,) = tasks_by_name(label_studio, again).values()
    ((region,),) = [annotation["result"] for annotation in task.annotations]
    assert (region["value"]["start"], region["value"]["end"], region["value"]["labels"]) == (
        0.02,
        0.05,
        ["Owl"],
    )


def test_bats_are_played_slowly_and_exported_in_their_own_time(label_studio: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bats"
    folder.mkdir()
    time = np.arange(38_400 * 2) / 384_000
    soundfile.write(folder / "bat.wav", 0.5 * np.sin(2 * np.pi * 50_000 * time), 384_000)
    (folder / "bat.txt").write_text("0.105\t0.110\tBat\n")
    arguments = (folder, "--project", "Bats", "--create")
    code, text = run(label_studio, *arguments, "--dry-run")
    assert code == 0, text
    assert "above 16 kHz" in text
    code, text = run(label_studio, *arguments, "--time-expansion", "auto")
    assert code == 0, text
    assert "above 16 kHz" not in text
    (task,) = tasks_by_name(label_studio, "Bats").values()
    assert task.data["time_expansion"] == 10
    (region,) = task.annotations[0]["result"]
    assert region["value"]["start"] == pytest.approx(1.05)
    exported(label_studio, "Bats", "raven", tmp_path / "out")
    with (tmp_path / "out" / "bat.selections.txt").open(newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert (row["Begin Time (s)"], row["End Time (s)"], row["High Freq (Hz)"]) == (
        "0.105",
        "0.11",
        "192000.0",
    )
    exported(label_studio, "Bats", "datasets", tmp_path / "hf")
    with (tmp_path / "hf" / "metadata.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["events"])[0]["start"] == pytest.approx(1.05)
    assert soundfile.info(tmp_path / "hf" / row["file_name"]).samplerate == 38_400


@pytest.mark.parametrize("form", ["jsonl", "raven"])
def test_what_is_left_open_goes_out_and_comes_back(label_studio: Any, tmp_path: Path, form: str) -> None:
    title, again = f"Open in {form}", f"Open again {form}"
    folder = tmp_path / "plot7"
    write_sounds(folder, ["part.wav", "whole.wav"])
    (folder / "part.txt").write_text("0.01\t0.02\tOwl\n0.05\t0.08\t\n")
    (folder / "whole.txt").write_text("0.01\t0.02\tOwl\n0.0\t0.125\t\n")
    code, text = run(label_studio, folder, "--project", title, "--create")
    assert code == 0, text
    out = tmp_path / ("out" if form == "raven" else "out.jsonl")
    exported(label_studio, title, form, out)
    run(label_studio, out, "--project", again, "--create", "--audio-dir", folder)
    made: dict[str, list[list[tuple[Any, ...]]]] = {}
    for name, task in tasks_by_name(label_studio, again).items():
        values = [[item["value"] for item in annotation["result"]] for annotation in task.annotations]
        made[name] = [sorted((v["start"], v["end"], *v["labels"]) for v in each) for each in values]
    owl = (0.01, 0.02, "Owl")
    # A Raven table has no place for what is open in a part, so the sound has no annotation of the whole
    part = [[owl, (0.05, 0.08)]] if form == "jsonl" else []
    assert made == {"part.wav": part, "whole.wav": [[(0.0, 0.125), owl]]}

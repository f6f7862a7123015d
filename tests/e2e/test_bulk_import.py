"""``scripts/bulk_import.py`` against a real Label Studio: nothing twice, nothing lost."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from backend.labelstudio.importing import Importer
from backend.labelstudio.places import Uploads
from backend.labelstudio.sound_lists import inspect_all, list_folder

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("Bell", "Rain & wind", "Bird chirp")
CONFIG = """<View><Audio name="audio" value="$audio"/>
<Choices name="tags" toName="audio" choice="multiple">
<Choice value="Bell"/><Choice value="Rain &amp; wind"/><Choice value="Bird chirp"/></Choices></View>"""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def write_sounds(folder: Path, names: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(2000), 16000)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Six sounds in two folders, some with awkward names, and a file that is no sound."""
    folder = tmp_path / "sounds"
    write_sounds(folder, ["a.wav", "b (1).flac", "c'%41.wav", "sub/a.wav", "sub/ünï 日本.wav", "sub/d.ogg"])
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("no audio extension")
    return folder


@pytest.fixture
def project(label_studio: Any, request: pytest.FixtureRequest) -> Any:
    return label_studio.client.projects.create(title=request.node.name[-50:], label_config=CONFIG)


def start(label_studio: Any, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LABEL_STUDIO_")}
    environment |= {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    environment |= {"NO_PROXY": "127.0.0.1", "COLUMNS": "200", **variables}
    command = [sys.executable, "scripts/bulk_import.py", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def run(label_studio: Any, *arguments: object, **variables: str) -> tuple[int, str]:
    process = start(label_studio, *arguments, **variables)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out + err


def tasks_of(label_studio: Any, project: Any) -> list[Any]:
    return list(label_studio.client.tasks.list(project=project.id))


def test_a_folder_comes_in_once_and_plays(label_studio: Any, project: Any, sounds: Path) -> None:
    code, text = run(label_studio, sounds, "--project", project.id)
    assert code == 1, text
    assert "6 imported" in text
    assert "broken.wav" in text
    tasks = tasks_of(label_studio, project)
    assert sorted(task.data["fname"] for task in tasks) == [
        "a.wav", "b (1).flac", "c'%41.wav", "sub/a.wav", "sub/d.ogg", "sub/ünï 日本.wav",
    ]  # fmt: skip
    for task in tasks:
        answer = httpx.get(
            label_studio.url + task.data["audio"], headers={"Authorization": f"Token {label_studio.token}"}
        )
        assert answer.content == (sounds / task.data["fname"]).read_bytes()

    code, text = run(label_studio, sounds, "--project", project.title)
    assert code == 1, text
    assert "0 imported, 6 already there" in text
    assert len(tasks_of(label_studio, project)) == 6


def test_a_dry_run_writes_nothing(label_studio: Any, project: Any, sounds: Path) -> None:
    code, text = run(label_studio, sounds, "--project", project.id, "--dry-run", "--pattern", "sub/*")
    assert code == 0, text
    assert "3 to import" in text
    assert tasks_of(label_studio, project) == []


def test_labels_of_a_csv_become_annotations_of_a_new_project(label_studio: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path / "audio", ["1.wav", "2.wav", "3.wav"])
    table = tmp_path / "train.csv"
    rows = [("1.wav", "Bell,Rain & wind"), ("2.wav", "Bird chirp"), ("3.wav", ""), ("gone.wav", "Bell")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("fname", "labels"), *rows])
    title = f"CSV {time.time_ns()}"
    arguments = (table, "--audio-dir", tmp_path / "audio", "--project", title, "--create", "--ground-truth")
    code, text = run(label_studio, *arguments)
    assert code == 1, text
    assert "gone.wav" in text
    (project,) = [p for p in label_studio.client.projects.list() if p.title == title]
    found = {task.data["fname"]: task for task in tasks_of(label_studio, project)}
    assert set(found) == {"1.wav", "2.wav", "3.wav"}
    (annotation,) = label_studio.client.annotations.list(id=found["1.wav"].id)
    assert annotation.ground_truth
    assert annotation.result[0]["value"] == {"choices": ["Bell", "Rain & wind"]}
    assert label_studio.client.annotations.list(id=found["3.wav"].id) == []

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


def test_local_files_are_served_from_where_they_are(label_studio: Any, project: Any) -> None:
    folder = label_studio.document_root / f"field {project.id}"
    write_sounds(folder, ["x.wav", "deep/y ü.wav"])
    root = {"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(label_studio.document_root)}
    for imported in (2, 0):
        code, text = run(label_studio, folder, "--project", project.id, "--local-files", **root)
        assert code == 0, text
        assert f"{imported} imported" in text
    tasks = tasks_of(label_studio, project)
    assert len(tasks) == 2
    for task in tasks:
        answer = httpx.get(
            label_studio.url + task.data["audio"], headers={"Authorization": f"Token {label_studio.token}"}
        )
        assert answer.status_code == 200
        assert answer.content == (folder / task.data["fname"]).read_bytes()
    assert len(label_studio.client.import_storage.local.list(project=project.id)) == 1


def test_a_personal_access_token_does_as_well(label_studio: Any, project: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path, ["1.wav"])
    token = label_studio.personal_access_token()
    code, text = run(label_studio, tmp_path, "--project", project.id, LABEL_STUDIO_API_KEY=token)
    assert code == 0, text
    assert len(tasks_of(label_studio, project)) == 1


def test_an_import_stopped_between_uploading_and_making_tasks_goes_on(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    write_sounds(tmp_path, ["1.wav", "2.wav", "3.wav"])
    found, _ = inspect_all(list_folder(tmp_path))
    place = Uploads(label_studio.url, label_studio.token, project.id)
    place.prepare(found)
    first = place.addresses(found[:2])
    code, text = run(label_studio, tmp_path, "--project", project.id)
    assert code == 0, text
    tasks = tasks_of(label_studio, project)
    assert len(tasks) == 3
    assert set(first) < {task.data["audio"] for task in tasks}, "what was uploaded is used"


def test_two_imports_interleaved_make_no_task_twice(label_studio: Any, project: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path, [f"{number:02}.wav" for number in range(12)])
    found, _ = inspect_all(list_folder(tmp_path))

    def importer(batch_files: int) -> Importer:
        place = Uploads(label_studio.url, label_studio.token, project.id)
        place.batch_files = batch_files
        return Importer(label_studio.client, label_studio.url, project.id, "audio", place)

    slow, quick = importer(3), importer(50)
    todo, outcome = slow.plan(found)
    done: list[int] = []

    def other_one_comes_in(count: int) -> None:
        if not done:
            quick.run(*quick.plan(found[6:]))
        done.append(count)

    slow.run(todo, outcome, on_progress=other_one_comes_in)
    assert (outcome.imported, outcome.already_there) == (6, 6)
    assert done == [3, 6, 9, 12]
    assert len(tasks_of(label_studio, project)) == 12


def test_ctrl_c_ends_the_batch_and_the_next_run_goes_on(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    count = 300
    write_sounds(tmp_path, [f"{number:03}.wav" for number in range(count)])
    process = start(label_studio, tmp_path, "--project", project.id)
    deadline = time.monotonic() + 60
    while label_studio.client.projects.get(id=project.id).task_number == 0 and time.monotonic() < deadline:
        assert process.poll() in (None, 0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), out + err
    assert "Traceback" not in err
    held = len(tasks_of(label_studio, project))
    assert f"{held} imported" in out
    assert held % 50 == 0
    code, text = run(label_studio, tmp_path, "--project", project.id)
    assert code == 0, text
    assert f"{count - held} imported, {held} already there" in text
    digests = [task.data["sha256"] for task in tasks_of(label_studio, project)]
    assert len(digests) == len(set(digests)) == count


@pytest.mark.parametrize(
    ("variables", "project_name", "words"),
    [
        ({"LABEL_STUDIO_API_KEY": "wrong-token"}, "1", "refuses the token"),
        ({"LABEL_STUDIO_URL": "http://127.0.0.1:1"}, "1", "cannot be reached"),
        ({"LABEL_STUDIO_URL": "127.0.0.1"}, "1", "must start with http"),
        ({}, "99999", "has no project"),
        ({}, "no such title", "has no project"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    label_studio: Any, sounds: Path, variables: dict[str, str], project_name: str, words: str
) -> None:
    code, text = run(label_studio, sounds, "--project", project_name, **variables)
    assert code == 2
    assert words in text
    assert len(text.strip().splitlines()) == 1

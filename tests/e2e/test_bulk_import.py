"""``scripts/bulk_import.py`` against a real Label Studio: nothing twice, nothing lost."""

from __future__ import annotations

import csv
import io
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

from backend.export import jsonl
from backend.export.label_studio import TaskReader
from backend.export.records import ClipRecord
from backend.importing.checks import hear
from backend.importing.folders import list_folder
from backend.importing.importer import Importer
from backend.importing.items import Sound
from backend.importing.places import Uploads
from backend.labelstudio.config import parse_label_config

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("Bell", "Rain & wind", "Bird chirp")
CONFIG = """<View><Audio name="audio" value="$audio"/>
<Choices name="tags" toName="audio" choice="multiple">
<Choice value="Bell"/><Choice value="Rain &amp; wind"/><Choice value="Bird chirp"/></Choices></View>"""

DATA: dict[str, str] = {}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def write_sounds(folder: Path, names: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(2000), 16000)


def sounds_in(folder: Path) -> list[Sound]:
    return [
        Sound(item.path, item.fname, hear(item.path, item.fname))
        for item in list_folder(folder)
        if item.path is not None
    ]


@pytest.fixture(autouse=True, scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes, locks and reports of this module's imports."""
    folder = tmp_path_factory.mktemp("data")
    DATA["DATA_DIR"] = str(folder)
    return folder


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
    environment |= {"NO_PROXY": "127.0.0.1", "COLUMNS": "200", **DATA, **variables}
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
    assert "3 files to import" in text
    assert tasks_of(label_studio, project) == []


def test_labels_of_a_csv_become_annotations_of_a_new_project(label_studio: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path / "audio", ["1.wav", "2.wav", "3.wav"])
    table = tmp_path / "train.csv"
    rows = [("1.wav", "Bell,Rain & wind"), ("2.wav", "Bird chirp"), ("3.wav", ""), ("gone.wav", "Bell")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("fname", "labels"), *rows])
    title = f"CSV {time.time_ns()}"
    arguments = (table, "--audio-dir", tmp_path / "audio", "--project", title, "--create")
    arguments += ("--labels-as", "ground-truth")
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
    found = sounds_in(tmp_path)
    place = Uploads(label_studio.url, label_studio.token, project.id)
    place.prepare(found)
    first = place.addresses(found[:2])
    code, text = run(label_studio, tmp_path, "--project", project.id)
    assert code == 0, text
    tasks = tasks_of(label_studio, project)
    assert len(tasks) == 3
    assert set(first) < {task.data["audio"] for task in tasks}, "what was uploaded is used"


def test_two_imports_interleaved_make_no_task_twice(
    label_studio: Any, project: Any, tmp_path: Path, data_dir: Path
) -> None:
    write_sounds(tmp_path, [f"{number:02}.wav" for number in range(12)])
    found = sounds_in(tmp_path)

    def importer(batch_files: int) -> Importer:
        place = Uploads(label_studio.url, label_studio.token, project.id)
        place.batch_files = batch_files
        return Importer(label_studio.client, label_studio.url, project.id, "audio", place, data_dir)

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


def test_300_files_with_12_bad_ones_killed_three_times_end_as_288_tasks(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    random = np.random.default_rng(6)
    source = tmp_path / "sounds"
    names = [f"{'odd' if n % 3 else 'even'}/{n:03}.wav" for n in range(288)]
    write_sounds(source, names)
    labels = {name: [label for label in LABELS if random.random() < 0.5] for name in names}
    bad = [f"bad/{kind}{n}.wav" for kind in ("junk", "silent", "short", "again") for n in range(3)]
    (source / "bad").mkdir()
    for n in range(3):
        (source / f"bad/junk{n}.wav").write_bytes(b"no sound %d" % n)
        soundfile.write(source / f"bad/silent{n}.wav", np.zeros(4000 + n), 16000)
        soundfile.write(source / f"bad/short{n}.wav", 0.1 * random.standard_normal(200 + n), 16000)
        (source / f"bad/again{n}.wav").write_bytes((source / names[n]).read_bytes())
    table = tmp_path / "train.csv"
    with table.open("w", newline="") as file:
        rows = [(name, ",".join(labels.get(name, LABELS[:1])), n) for n, name in enumerate(names + bad)]
        csv.writer(file).writerows([("fname", "labels", "number"), *rows])
    report = tmp_path / "report"
    arguments = (table, "--audio-dir", source, "--project", project.id, "--report", report)
    folder = {"DATA_DIR": str(tmp_path / "data")}

    killed_at = []
    for _ in range(3):
        process = start(label_studio, *arguments, **folder)
        # After a whole batch, or so many seconds into a run: while checking, uploading, making tasks.
        wanted = len(tasks_of(label_studio, project)) + int(random.integers(1, 60))
        deadline = time.monotonic() + random.uniform(2, 8)
        while process.poll() is None and time.monotonic() < deadline:
            if label_studio.client.projects.get(id=project.id).task_number >= wanted:
                break
        process.kill()
        process.communicate()
        killed_at.append(len(tasks_of(label_studio, project)))
    assert killed_at == sorted(killed_at)

    code, text = run(label_studio, *arguments, **folder)
    assert code == 1, text
    assert "12 left out" in text
    tasks = tasks_of(label_studio, project)
    assert len(tasks) == 288, killed_at
    assert len({task.data["sha256"] for task in tasks}) == 288
    assert {task.data["fname"]: task.data["number"] for task in tasks} == {
        name: str(n) for n, name in enumerate(names)
    }
    with (report / "report.csv").open(newline="") as file:
        found = {row["file"]: row for row in csv.DictReader(file)}
    assert len(found) == 300
    assert {name for name, row in found.items() if row["state"] == "left out"} == set(bad)
    assert all(row["reason"] for row in found.values() if row["state"] == "left out")
    assert (report / "report.html").read_text().count("<svg") == 6
    reader = TaskReader(parse_label_config(CONFIG), "audio")
    exported = label_studio.client.tasks.list(project=project.id, fields="all", page_size=400)
    tags = {
        record.file_name: record.tags.get("tags", ())
        for task in exported
        for record in reader.annotations(task.model_dump())
    }
    assert tags == {name: tuple(found) for name, found in labels.items() if found}


def test_two_imports_at_once_share_the_work(label_studio: Any, project: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path, [f"{number:02}.wav" for number in range(60)])
    both = [start(label_studio, tmp_path, "--project", project.id) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    digests = [task.data["sha256"] for task in tasks_of(label_studio, project)]
    assert len(digests) == len(set(digests)) == 60


REGIONS = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Owl"/></Labels></View>"""


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
    heard = {}
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
        heard[start_, end] = [(value["start"], value["end"]) for value in values]
        assert task.data["source"] == "night.wav"
    assert heard == {(0.0, 1.0): [(0.5, 1.0)], (1.0, 2.0): [(0.0, 0.25)], (2.0, 2.5): [(0.25, 0.5)]}


def test_an_earlier_export_comes_back_with_its_sounds(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    write_sounds(tmp_path / "in", ["1.wav", "2.wav"])
    (tmp_path / "in" / "t.csv").write_text("fname,labels,place\n1.wav,Bell,roof\n2.wav,Bird chirp,roof\n")
    assert run(label_studio, tmp_path / "in" / "t.csv", "--project", project.id, "--curated")[0] == 0
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

    def said(number: int) -> list[tuple[object, ...]]:
        kept = ("fname", "sha256", "place", "label_trust")
        return [(r.file_name, r.tags, [r.data[key] for key in kept]) for r in records(number)]

    assert said(again.id) == said(project.id)
    assert len(said(again.id)) == 2


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

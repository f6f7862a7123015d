"""``scripts/bulk_import.py``, stopped, killed or run twice at once: nothing twice, nothing lost."""

from __future__ import annotations

import csv
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.export.label_studio import TaskReader
from earmark.importing.audio_checks import read_facts
from earmark.importing.destinations import Uploads
from earmark.importing.folders import list_folder
from earmark.importing.importer import Importer
from earmark.importing.models import Sound
from earmark.labels.label_config import parse_label_config
from tests.e2e import importing
from tests.e2e.importing import CONFIG, run, start, tasks_of, write_sounds

LABELS = ("Bell", "Rain & wind", "Bird chirp")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir
project = importing.project


def sounds_in(folder: Path) -> list[Sound]:
    return [
        Sound(item.path, item.fname, read_facts(item.path, item.fname))
        for item in list_folder(folder)
        if item.path is not None
    ]


def test_an_import_stopped_between_uploading_and_making_tasks_goes_on(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    write_sounds(tmp_path, ["1.wav", "2.wav", "3.wav"])
    sounds = sounds_in(tmp_path)
    place = Uploads(label_studio.url, label_studio.token, project.id)
    place.prepare(sounds)
    first = place.addresses(sounds[:2])
    code, text = run(label_studio, tmp_path, "--project", project.id)
    assert code == 0, text
    tasks = tasks_of(label_studio, project)
    assert len(tasks) == 3
    assert set(first) < {task.data["audio"] for task in tasks}, "what was uploaded is used"


def test_two_imports_interleaved_make_no_task_twice(
    label_studio: Any, project: Any, tmp_path: Path, data_dir: Path
) -> None:
    write_sounds(tmp_path, [f"{number:02}.wav" for number in range(12)])
    sounds = sounds_in(tmp_path)

    def importer(batch_files: int) -> Importer:
        place = Uploads(label_studio.url, label_studio.token, project.id)
        place.batch_files = batch_files
        return Importer(label_studio.client, label_studio.url, project.id, "audio", place, data_dir)

    slow, quick = importer(3), importer(50)
    todo, outcome = slow.plan(sounds)
    done: list[int] = []

    def other_one_comes_in(count: int) -> None:
        if not done:
            quick.run(*quick.plan(sounds[6:]))
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
        name: n for n, name in enumerate(names)
    }
    with (report / "report.csv").open(newline="") as file:
        row_of_file = {row["file"]: row for row in csv.DictReader(file)}
    assert len(row_of_file) == 300
    assert {name for name, row in row_of_file.items() if row["state"] == "left out"} == set(bad)
    assert all(row["reason"] for row in row_of_file.values() if row["state"] == "left out")
    assert (report / "report.html").read_text().count("<svg") == 6
    reader = TaskReader(parse_label_config(CONFIG), "audio")
    exported = label_studio.client.tasks.list(project=project.id, fields="all", page_size=400)
    tags = {
        record.file_name: record.tags.get("tags", ())
        for task in exported
        for record in reader.annotations(task.model_dump())
    }
    assert tags == {name: tuple(tags_of_file) for name, tags_of_file in labels.items() if tags_of_file}


def test_two_imports_at_once_share_the_work(label_studio: Any, project: Any, tmp_path: Path) -> None:
    write_sounds(tmp_path, [f"{number:02}.wav" for number in range(60)])
    both = [start(label_studio, tmp_path, "--project", project.id) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    digests = [task.data["sha256"] for task in tasks_of(label_studio, project)]
    assert len(digests) == len(set(digests)) == 60

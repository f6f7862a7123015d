"""``scripts/bulk_import.py`` against a real Label Studio: sounds come in once, and play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import importing
from tests.e2e.importing import run, tasks_of, write_sounds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

data_dir = importing.data_dir
project = importing.project


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Six sounds in two folders, some with awkward names, and a file that is no sound."""
    folder = tmp_path / "sounds"
    write_sounds(folder, ["a.wav", "b (1).flac", "c'%41.wav", "sub/a.wav", "sub/ünï 日本.wav", "sub/d.ogg"])
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("no audio extension")
    return folder


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
